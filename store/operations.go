package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// operationColumns are what scanOperation reads.
const operationColumns = `operations.id, kind, operations.repository, installation, owner, name, environment, state, attempt,
	operations.pull, pulls, branch, base, head, tree, roots, actor, reason, priority, confirmed, confirmed_by, question, doubt, gathered_in,
	message, host, launch, delivery, warned, doubts, lock_request, arrived, started, ended, result`

const selectOperation = `SELECT ` + operationColumns + ` FROM operations`

// isOpen selects what has not ended, in the words of the index of those.
const isOpen = `state IN ('queued', 'running', 'unconfirmed')`

// Filter selects operations; a zero field selects all.
type Filter struct {
	ID          int64
	Repository  int64
	Environment string
	Pull        int // shown on this pull request, or carries its commits; needs Repository
	Head        string
	Kinds       []operation.Kind
	States      []operation.State
	Newest      bool // newest first; otherwise oldest first
	Limit       int
}

// CreateOperation stores a plan or another operation that needs no hold, as queued.
func (s *Store) CreateOperation(ctx context.Context, op operation.Operation) (operation.Operation, error) {
	if op.Kind.Exclusive() {
		return op, fmt.Errorf("create operation: %s needs a hold: it is queued by QueueApply", op.Kind)
	}
	err := s.change(ctx, "create operation", func(t *tx) error { return insertOperation(ctx, t, &op) })
	return op, err
}

// Request is CreateOperation for a person who asked for it with a comment. Where that comment led to an operation before, that one is
// returned and nothing changes.
func (s *Store) Request(ctx context.Context, op operation.Operation, comment int64) (operation.Operation, error) {
	if op.Kind.Exclusive() {
		return op, fmt.Errorf("request operation: %s needs a hold", op.Kind)
	}
	asked := op
	err := s.change(ctx, "request operation", func(t *tx) error {
		op = asked
		if err := t.lock(ctx, fmt.Sprintf("comment %d %d", op.Repository.ID, comment)); err != nil {
			return err
		}
		before, known, err := one(ctx, t, scanValue[int64],
			`SELECT operation FROM requests WHERE repository = $1 AND comment = $2`, op.Repository.ID, comment)
		if err != nil {
			return err
		}
		if known && comment != 0 {
			op, err = findOperation(ctx, t, before, "")
			return err
		}
		if err := insertOperation(ctx, t, &op); err != nil {
			return err
		}
		return take(ctx, t, op, comment)
	})
	return op, err
}

// Operation reads one operation, or returns ErrNotFound.
func (s *Store) Operation(ctx context.Context, id int64) (operation.Operation, error) {
	return findOperation(ctx, s.read, id, "")
}

// Operations reads all operations that a filter selects.
func (s *Store) Operations(ctx context.Context, f Filter) ([]operation.Operation, error) {
	query, args := f.query()
	ops, err := list(ctx, s.read, scanOperation, query, args...)
	if err != nil {
		return nil, fmt.Errorf("find operations: %w", err)
	}
	return ops, nil
}

// progress is how far an operation is.
type progress struct {
	id      int64
	state   operation.State
	attempt int
}

func (f Filter) query() (string, []any) {
	var where []string
	var args []any
	bind := func(value any) string {
		args = append(args, value)
		return "$" + strconv.Itoa(len(args))
	}
	query := selectOperation
	if f.ID != 0 {
		where = append(where, "operations.id = "+bind(f.ID))
	}
	if f.Repository != 0 {
		where = append(where, "operations.repository = "+bind(f.Repository))
	}
	if f.Environment != "" {
		where = append(where, "environment = "+bind(f.Environment))
	}
	if f.Pull != 0 {
		query += ` JOIN operation_pulls ON operation_pulls.operation = operations.id AND operation_pulls.repository = operations.repository`
		where = append(where, "operation_pulls.pull = "+bind(f.Pull))
	}
	if f.Head != "" {
		where = append(where, "head = "+bind(f.Head))
	}
	if len(f.Kinds) > 0 {
		where = append(where, "kind IN ("+bindAll(bind, f.Kinds)+")")
	}
	if len(f.States) > 0 {
		where = append(where, "state IN ("+bindAll(bind, f.States)+")")
		if !slices.ContainsFunc(f.States, operation.State.Ended) {
			where = append(where, isOpen) // says to the database that the index of the few that are open will do
		}
	}
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY operations.id"
	if f.Newest {
		query += " DESC"
	}
	if f.Limit > 0 {
		query += " LIMIT " + bind(f.Limit)
	}
	return query, args
}

func bindAll[T ~string](bind func(any) string, values []T) string {
	marks := make([]string, len(values))
	for i, value := range values {
		marks[i] = bind(string(value))
	}
	return strings.Join(marks, ", ")
}

// UsualDuration is the median of how long the last ten operations took that succeeded; false
// without any.
func (s *Store) UsualDuration(
	ctx context.Context, repository int64, environment string, kind operation.Kind,
) (time.Duration, bool, error) {
	took, err := list(ctx, s.read, scanValue[int64], `
		SELECT ended - started FROM operations
		WHERE repository = $1 AND environment = $2 AND kind = $3 AND state = 'succeeded' ORDER BY id DESC LIMIT 10`,
		repository, environment, string(kind))
	if err != nil || len(took) == 0 {
		return 0, false, wrap("measure operations", err)
	}
	slices.Sort(took)
	return time.Duration(took[len(took)/2]) * time.Millisecond, true, nil
}

// findOperation reads an operation; in a transaction that decides by it, suffix locks it.
func findOperation(ctx context.Context, q querier, id int64, suffix string) (operation.Operation, error) {
	op, ok, err := one(ctx, q, scanOperation, selectOperation+` WHERE operations.id = $1`+suffix, id)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return op, wrap("find operation "+strconv.FormatInt(id, 10), err)
}

// insertOperation stores a new operation as queued and gives it its number.
func insertOperation(ctx context.Context, t *tx, op *operation.Operation) error {
	op.State, op.Attempt, op.Host, op.Launch = operation.Queued, 0, "", ""
	op.Delivery, op.Doubt = cmp.Or(op.Delivery, causeOf(ctx)), op.Warned.Text()
	if op.Arrived.IsZero() {
		op.Arrived = moment(t.now)
	}
	op.Arrived = moment(millis(op.Arrived))
	exclusive := 0
	if op.Kind.Exclusive() {
		exclusive = 1
	}
	pulls, err := json.Marshal(op.Pulls)
	if err != nil {
		return fmt.Errorf("write pull requests: %w", err)
	}
	roots, err := json.Marshal(op.Roots)
	if err != nil {
		return fmt.Errorf("write roots: %w", err)
	}
	doubts, err := writeDoubts(*op)
	if err != nil {
		return err
	}
	lock := ""
	if op.Lock != nil {
		data, err := json.Marshal(op.Lock)
		if err != nil {
			return fmt.Errorf("write what is wanted of locks: %w", err)
		}
		lock = string(data)
	}
	id, _, err := one(ctx, t, scanValue[int64], `
		INSERT INTO operations (kind, exclusive, repository, installation, owner, name, environment, state, attempt,
			pull, pulls, branch, base, head, tree, roots, actor, reason, priority, confirmed, question, doubt, gathered_in,
			message, host, arrived, started, ended, delivery, doubts, lock_request)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22, 0,
			$23, '', $24, 0, 0, $25, $26, $27)
		RETURNING id`,
		string(op.Kind), exclusive, op.Repository.ID, op.Repository.Installation, op.Repository.Owner, op.Repository.Name,
		op.Environment, string(op.State), op.Attempt, op.Pull, string(pulls), op.Branch, op.Base, op.Head, op.Tree, string(roots),
		op.Actor, op.Reason, op.Priority, op.Confirmed, op.Question, op.Doubt, op.Message, millis(op.Arrived), op.Delivery, doubts, lock)
	if err != nil {
		return err
	}
	op.ID = id
	if err := linkPulls(ctx, t, *op); err != nil {
		return err
	}
	return appendAudit(ctx, t, transitionOf(*op, op.Actor, op.Reason))
}

// linkPulls has an operation be found by the pull requests that it is shown on or carries.
func linkPulls(ctx context.Context, t *tx, op operation.Operation) error {
	shown := op.Pulls
	if op.Pull != 0 {
		shown = append([]int{op.Pull}, shown...)
	}
	for _, pull := range shown {
		if _, err := exec(ctx, t, `INSERT INTO operation_pulls (repository, pull, operation) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
			op.Repository.ID, pull, op.ID); err != nil {
			return err
		}
	}
	return nil
}

// updateOperation stores what may change in the life of an operation. An order to stop it is of one attempt, and ends with that.
func updateOperation(ctx context.Context, t *tx, op operation.Operation) error {
	var result any
	if op.Result != nil {
		data, err := json.Marshal(op.Result)
		if err != nil {
			return fmt.Errorf("write result: %w", err)
		}
		result = string(data)
	}
	doubts, err := writeDoubts(op)
	if err != nil {
		return err
	}
	_, err = exec(ctx, t, `
		UPDATE operations SET state = $2, attempt = $3, confirmed = $4, question = $5, gathered_in = $6, message = $7,
			started = $8, ended = $9, result = $10, doubt = $11, host = $12, confirmed_by = $13,
			launch = $14, delivery = $15, doubts = $16, stop = CASE WHEN attempt = $3 THEN stop ELSE 0 END
		WHERE id = $1`,
		op.ID, string(op.State), op.Attempt, op.Confirmed, op.Question, op.GatheredIn, op.Message,
		millis(op.Started), millis(op.Ended), result, op.Doubt, op.Host, op.ConfirmedBy,
		op.Launch, op.Delivery, doubts)
	return err
}

// doubts is what the row of an operation has of its doubts.
type doubts struct {
	Warned    operation.Doubts `json:"warned,omitempty"`
	Asked     operation.Doubts `json:"asked,omitempty"`
	Confirmed []string         `json:"confirmed,omitempty"`
	Agreed    []string         `json:"agreed,omitempty"`
}

func writeDoubts(op operation.Operation) (string, error) {
	data, err := json.Marshal(doubts{op.Warned, op.Doubts, op.ConfirmedDoubts, op.Agreed})
	if err != nil {
		return "", fmt.Errorf("write doubts: %w", err)
	}
	if string(data) == "{}" {
		return "", nil
	}
	return string(data), nil
}

// readDoubts fills in what writeDoubts wrote. Of a row that is older than that, warned is the sentence of what it was queued with.
func readDoubts(op *operation.Operation, data, warned string) error {
	if data == "" {
		if warned != "" {
			op.Warned = operation.Doubts{{Key: "before " + strings.Join(strings.Fields(warned), " "), Text: warned}}
		}
		return nil
	}
	var read doubts
	if err := json.Unmarshal([]byte(data), &read); err != nil {
		return fmt.Errorf("read doubts: %w", err)
	}
	op.Warned, op.Doubts, op.ConfirmedDoubts, op.Agreed = read.Warned, read.Asked, read.Confirmed, read.Agreed
	return nil
}

func scanOperation(row scanner) (operation.Operation, error) {
	var op operation.Operation
	var pulls, roots, warned, doubts, lock string
	var result sql.NullString
	var arrived, started, ended int64
	err := row.Scan(&op.ID, &op.Kind, &op.Repository.ID, &op.Repository.Installation, &op.Repository.Owner, &op.Repository.Name,
		&op.Environment, &op.State, &op.Attempt, &op.Pull, &pulls, &op.Branch, &op.Base, &op.Head, &op.Tree, &roots,
		&op.Actor, &op.Reason, &op.Priority, &op.Confirmed, &op.ConfirmedBy, &op.Question, &op.Doubt, &op.GatheredIn,
		&op.Message, &op.Host, &op.Launch, &op.Delivery, &warned, &doubts, &lock, &arrived, &started, &ended, &result)
	if err != nil {
		return op, err //nolint:wrapcheck // list wraps it
	}
	op.Arrived, op.Started, op.Ended = moment(arrived), moment(started), moment(ended)
	if err := json.Unmarshal([]byte(pulls), &op.Pulls); err != nil {
		return op, fmt.Errorf("read pull requests: %w", err)
	}
	if err := json.Unmarshal([]byte(roots), &op.Roots); err != nil {
		return op, fmt.Errorf("read roots: %w", err)
	}
	if err := readDoubts(&op, doubts, warned); err != nil {
		return op, err
	}
	if lock != "" {
		op.Lock = new(operation.LockRequest)
		if err := json.Unmarshal([]byte(lock), op.Lock); err != nil {
			return op, fmt.Errorf("read what is wanted of locks: %w", err)
		}
	}
	if result.Valid {
		op.Result = new(operation.Result)
		if err := json.Unmarshal([]byte(result.String), op.Result); err != nil {
			return op, fmt.Errorf("read result: %w", err)
		}
	}
	return op, nil
}

// wrap adds a verb phrase to an error; nil stays nil.
func wrap(verb string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// EndedSince are the exclusive operations that ended at that time or later, oldest first: the newest 1,000 of them.
func (s *Store) EndedSince(ctx context.Context, since time.Time) ([]operation.Operation, error) {
	ops, err := list(ctx, s.read, scanOperation, selectOperation+`
		WHERE exclusive = 1 AND ended >= $1 AND state IN ('interrupted', 'cancelled', 'failed') ORDER BY operations.id DESC LIMIT 1000`,
		millis(since))
	slices.Reverse(ops)
	return ops, wrap("find what ended", err)
}
