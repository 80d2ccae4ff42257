package store

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// SaveEvidence keeps what was found out for an attempt before its runner is started; of an apply the audit gets its
// Fingerprint. It returns ErrLost when the attempt is not the newest or does not run any more.
func (s *Store) SaveEvidence(ctx context.Context, id int64, attempt int, evidence operation.Evidence) error {
	data, err := json.Marshal(evidence)
	if err != nil {
		return fmt.Errorf("save evidence: %w", err)
	}
	mark, err := Fingerprint(evidence)
	if err != nil {
		return fmt.Errorf("save evidence: %w", err)
	}
	return s.change(ctx, "save evidence", func(t *tx) error {
		op, err := findRunning(ctx, t, id, attempt)
		if err != nil {
			return err
		}
		if _, err := exec(ctx, t, `
			INSERT INTO evidence (operation, attempt, data) VALUES ($1, $2, $3)
			ON CONFLICT (operation, attempt) DO UPDATE SET data = excluded.data`, id, attempt, string(data)); err != nil || !op.Kind.Exclusive() {
			return err
		}
		return appendAudit(ctx, t, lineOf(op, "evidence", ourselves, RestsOn+mark))
	})
}

// Evidence is what was found out for an attempt at an operation; nothing where that was not kept.
func (s *Store) Evidence(ctx context.Context, id int64, attempt int) (operation.Evidence, error) {
	var evidence operation.Evidence
	data, ok, err := one(ctx, s.read, scanValue[string],
		`SELECT data FROM evidence WHERE operation = $1 AND attempt = $2`, id, attempt)
	if err == nil && ok {
		err = json.Unmarshal([]byte(data), &evidence)
	}
	return evidence, wrap("read evidence", err)
}

// Fingerprint tells whether values are what they were: the SHA-256, in hex, of their JSON, each on a line of its own, without
// white space and with the names of members sorted.
func Fingerprint[T any](values ...T) (string, error) {
	hash := sha256.New()
	lines := json.NewEncoder(hash)
	lines.SetEscapeHTML(false)
	for _, value := range values {
		data, err := json.Marshal(value)
		if err != nil {
			return "", fmt.Errorf("write as JSON: %w", err)
		}
		reader := json.NewDecoder(bytes.NewReader(data))
		reader.UseNumber()
		var plain any // as it is read again later, whatever it was made of
		if err := reader.Decode(&plain); err != nil {
			return "", fmt.Errorf("read JSON: %w", err)
		}
		if err := lines.Encode(plain); err != nil {
			return "", fmt.Errorf("write as JSON: %w", err)
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// LedgerFingerprint is the Fingerprint of lines of the ledger but for their numbers and times, which the database gave.
func LedgerFingerprint(entries []operation.Entry) (string, error) {
	lines := slices.Clone(entries)
	for i := range lines {
		lines[i].ID, lines[i].At = 0, time.Time{}
	}
	return Fingerprint(lines...)
}

// appendLedger adds the entries of an apply, and their fingerprint to the audit. Their number and time are set here.
func appendLedger(ctx context.Context, t *tx, op operation.Operation, entries []operation.Entry) error {
	if len(entries) == 0 {
		return nil
	}
	mark, err := LedgerFingerprint(entries)
	if err != nil {
		return fmt.Errorf("write the ledger: %w", err)
	}
	if err := appendAudit(ctx, t, lineOf(op, "ledger", ourselves, WritesDown+mark)); err != nil {
		return err
	}
	for _, entry := range entries {
		change, err := json.Marshal(entry.Change)
		if err != nil {
			return fmt.Errorf("write %s: %w", entry.Change.Address, err)
		}
		approved, err := json.Marshal(entry.ApprovedBy)
		if err != nil {
			return fmt.Errorf("write who approved %s: %w", entry.Change.Address, err)
		}
		attempted := 0
		if entry.Attempted {
			attempted = 1
		}
		if _, err := exec(ctx, t, `
			INSERT INTO ledger (at, repository, environment, root, operation, head, address, previous, change, approved_by, confirmed_by, attempted)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			t.now, entry.Repository, entry.Target.Environment, entry.Target.Root, entry.Operation, entry.Commit, entry.Change.Address,
			entry.Change.PreviousAddress, string(change), string(approved), entry.ConfirmedBy, attempted); err != nil {
			return err
		}
	}
	return nil
}

// LedgerFilter selects entries of the ledger; a zero field selects all.
type LedgerFilter struct {
	Repository  int64
	Environment string
	Address     string // also of what moved away from it
	Operation   int64
	Since       time.Time // this time and later
	Limit       int
	Ascending   bool // oldest first; otherwise newest first
}

// Ledger reads the entries that a filter selects.
func (s *Store) Ledger(ctx context.Context, f LedgerFilter) ([]operation.Entry, error) {
	var where []string
	var args []any
	bind := func(condition string, value any) {
		args = append(args, value)
		where = append(where, strings.ReplaceAll(condition, "?", "$"+strconv.Itoa(len(args))))
	}
	if f.Repository != 0 {
		bind("repository = ?", f.Repository)
	}
	if f.Environment != "" {
		bind("environment = ?", f.Environment)
	}
	if f.Address != "" {
		bind("(address = ? OR previous = ?)", f.Address)
	}
	if f.Operation != 0 {
		bind("operation = ?", f.Operation)
	}
	if !f.Since.IsZero() {
		bind("at >= ?", millis(f.Since))
	}
	query := `SELECT id, at, repository, environment, root, operation, head, change, approved_by, confirmed_by, attempted = 1 FROM ledger`
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY id"
	if !f.Ascending {
		query += " DESC"
	}
	if f.Limit > 0 {
		query += " LIMIT " + strconv.Itoa(f.Limit)
	}
	entries, err := list(ctx, s.read, scanEntry, query, args...)
	return entries, wrap("read the ledger", err)
}

func scanEntry(row scanner) (operation.Entry, error) {
	var entry operation.Entry
	var at int64
	var change, approved string
	if err := row.Scan(&entry.ID, &at, &entry.Repository, &entry.Target.Environment, &entry.Target.Root, &entry.Operation,
		&entry.Commit, &change, &approved, &entry.ConfirmedBy, &entry.Attempted); err != nil {
		return entry, err //nolint:wrapcheck // list wraps it
	}
	entry.At = moment(at)
	if err := json.Unmarshal([]byte(change), &entry.Change); err != nil {
		return entry, fmt.Errorf("read a change: %w", err)
	}
	if err := json.Unmarshal([]byte(approved), &entry.ApprovedBy); err != nil {
		return entry, fmt.Errorf("read who approved: %w", err)
	}
	return entry, nil
}

// saveContent notes that the content of a target was applied, or was its baseline where no operation applied it. The first apply
// that brought it stays; a baseline proves less.
func saveContent(ctx context.Context, t *tx, state TargetState) error {
	if state.Content == "" {
		return nil
	}
	_, err := exec(ctx, t, `
		INSERT INTO contents (repository, environment, root, content, head, operation, at) VALUES ($1, $2, $3, $4, $5, $6, $7)
		ON CONFLICT (repository, environment, root, content) DO UPDATE SET head = excluded.head, operation = excluded.operation, at = excluded.at
			WHERE contents.operation = 0 AND excluded.operation <> 0`,
		state.Repository, state.Target.Environment, state.Target.Root, state.Content, state.Applied, state.Operation, t.now)
	return err
}

// AppliedContent tells by which apply a content was first applied to a target, or that it was its baseline; false when it never was.
func (s *Store) AppliedContent(
	ctx context.Context, repository int64, target operation.Target, content string,
) (operation.Promotion, bool, error) {
	promotion, ok, err := one(ctx, s.read, func(row scanner) (operation.Promotion, error) {
		found := operation.Promotion{Root: target.Root, Stage: target.Environment}
		var at int64
		err := row.Scan(&found.Commit, &found.Operation, &at)
		found.At = moment(at)
		return found, err //nolint:wrapcheck // list wraps it
	}, `SELECT head, operation, at FROM contents WHERE repository = $1 AND environment = $2 AND root = $3 AND content = $4`,
		repository, target.Environment, target.Root, content)
	return promotion, ok, wrap("find where a content was applied", err)
}

// Approval is a person's yes to one change that the configuration holds back.
type Approval struct {
	Repository int64
	Target     operation.Target
	Head       string // the commit that it holds for: the head of a pull request, or a candidate
	Held       operation.Held
	Who        string
	Comment    int64
}

// Unblock records approvals. The audit gets a line for each that is new.
func (s *Store) Unblock(ctx context.Context, approvals ...Approval) error {
	return s.change(ctx, "approve a blocked change", func(t *tx) error {
		for _, a := range approvals {
			rows, err := exec(ctx, t, `
				INSERT INTO unblocked (repository, environment, head, root, address, deposed, rule, change, who, comment, at)
				VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT DO NOTHING`,
				a.Repository, a.Target.Environment, a.Head, a.Target.Root, a.Held.Address, a.Held.Deposed, string(a.Held.Rule), a.Held.Change,
				a.Who, a.Comment, t.now)
			if err != nil {
				return err
			}
			if rows == 0 {
				continue
			}
			if err := appendAudit(ctx, t, Audit{
				Repository: a.Repository, Environment: a.Target.Environment, Who: a.Who, What: "approved a blocked change",
				Why: fmt.Sprintf("comment %d: %s of %s in %s (change %s) at %s",
					a.Comment, a.Held.Rule, a.Held.Address, a.Target.Root, a.Held.Change, a.Head),
			}); err != nil {
				return err
			}
		}
		return nil
	})
}

// Unblocked lists the approvals of blocked changes in an environment that hold for one of some commits, in the order in which
// they came.
func (s *Store) Unblocked(ctx context.Context, repository int64, environment string, heads []string) ([]Approval, error) {
	var approvals []Approval
	for _, head := range heads {
		found, err := list(ctx, s.read, func(row scanner) (Approval, error) {
			a := Approval{Repository: repository, Target: operation.Target{Environment: environment}, Head: head}
			err := row.Scan(&a.Target.Root, &a.Held.Address, &a.Held.Deposed, &a.Held.Rule, &a.Held.Change, &a.Who, &a.Comment)
			return a, err //nolint:wrapcheck // list wraps it
		}, `SELECT root, address, deposed, rule, change, who, comment FROM unblocked
			WHERE repository = $1 AND environment = $2 AND head = $3 ORDER BY at, comment, root, address, deposed, rule, change, who`,
			repository, environment, head)
		if err != nil {
			return nil, wrap("read approvals of blocked changes", err)
		}
		approvals = append(approvals, found...)
	}
	return approvals, nil
}

// Reconsider queues an unconfirmed operation again because what it waited for has come: an approval, or
// somebody's yes to what was blocked. It brings no confirmation, and returns ErrTransition when the
// operation does not wait any more.
func (s *Store) Reconsider(ctx context.Context, id int64, who, why string) (operation.Operation, error) {
	return s.moveWaiting(ctx, "consider again", id, func(t *tx, op *operation.Operation) error {
		if op.State != operation.Unconfirmed {
			return fmt.Errorf("%w: %s is %s, not unconfirmed", ErrTransition, op, op.State)
		}
		return transition(ctx, t, op, operation.Queued, who, why)
	})
}
