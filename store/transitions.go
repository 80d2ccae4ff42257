package store

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
)

// wholeEnvironment is the scope of a hold on all roots of an environment.
const wholeEnvironment = "*"

// SaidYes begins the reason of the audit's line about a yes; the digest that it was to follows.
const SaidYes = "said yes to "

// What the audit has about an apply so that its evidence and its lines of the ledger can be held to it: these words begin the
// reasons of the lines, and a Fingerprint follows.
const (
	RestsOn    = "it rests on evidence "
	WritesDown = "its lines of the ledger are "
)

// ourselves is who the audit names when no person acted.
const ourselves = "switchyard"

// Finish is how an attempt at an operation ended.
type Finish struct {
	Operation int64
	Attempt   int // the one that was started; of an operation that never was, 0
	State     operation.State
	Result    *operation.Result
	Message   string
	Question  string           // the digest that is asked about, for Unconfirmed
	Doubt     string           // why a yes is needed whatever the plan says, as it was found by this attempt
	Doubts    operation.Doubts // those of it that Question has, for Unconfirmed
	Applied   []TargetState    // targets that have the operation's commit now
	Touched   []TargetState    // targets whose state it may have written to all the same: only Lineage and Serial count
	Ledger    []operation.Entry
	Then      []queue.Job // what has to follow, queued with the end: nothing between is lost
}

// transition moves an operation to another state, or returns ErrTransition. An operation that
// leaves Running gives its hold back in the same transaction, whatever the reason.
func transition(ctx context.Context, t *tx, op *operation.Operation, next operation.State, who, why string) error {
	before := op.State
	if !before.CanBecome(next) {
		return fmt.Errorf("%w: %s is %s and cannot become %s", ErrTransition, op, before, next)
	}
	op.State = next
	switch {
	case next == operation.Running:
		op.Attempt++
		op.Started, op.Message, op.Host, op.Launch = moment(t.now), "", "", ""
	case next.Ended():
		op.Ended = moment(t.now)
	}
	if next != operation.Unconfirmed {
		op.Question, op.Doubts = "", nil
	}
	if err := updateOperation(ctx, t, *op); err != nil {
		return err
	}
	if err := appendAudit(ctx, t, transitionOf(*op, who, why)); err != nil || before != operation.Running {
		return err
	}
	return releaseHold(ctx, t, *op, who, why)
}

// releaseHold gives back the hold of an operation, if it has one.
func releaseHold(ctx context.Context, t *tx, op operation.Operation, who, why string) error {
	released, err := exec(ctx, t, `UPDATE holds SET released = $2 WHERE operation = $1 AND released IS NULL`, op.ID, t.now)
	if err != nil || released == 0 {
		return err
	}
	switch {
	case why == "" && op.State == operation.Unconfirmed:
		why = "it waits for a yes"
	case why == "":
		why = "it ended as " + string(op.State)
	}
	line := lineOf(op, holdReleased, who, why)
	if who == ourselves {
		line.Delivery = op.Delivery
	}
	return appendAudit(ctx, t, line)
}

// lockOfLine is the name of what decides who is next in an environment.
func lockOfLine(repository int64, environment string) string {
	return fmt.Sprintf("line of %d %s", repository, environment)
}

// SupersedePlans ends the open plans of a pull request but for the one named by except (0: all). It
// returns those that were running, which have to be stopped.
func (s *Store) SupersedePlans(
	ctx context.Context, repository int64, pull int, except int64, message string,
) ([]operation.Operation, error) {
	var running []operation.Operation
	err := s.change(ctx, "supersede plans", func(t *tx) error {
		query, args := Filter{
			Repository: repository, Pull: pull, Kinds: []operation.Kind{operation.Plan},
			States: []operation.State{operation.Queued, operation.Running, operation.Unconfirmed},
		}.query()
		plans, err := list(ctx, t, scanOperation, query+t.dialect.forUpdate, args...)
		if err != nil {
			return err
		}
		running = nil
		for _, op := range plans {
			if op.ID == except {
				continue
			}
			before := op.State
			op.Message = message
			if err := transition(ctx, t, &op, operation.Superseded, ourselves, message); err != nil {
				return err
			}
			if before == operation.Running {
				running = append(running, op)
			}
		}
		return nil
	})
	return running, err
}

// QueueApply queues an apply and gathers into it the waiting ones of the same branch and
// environment, which it returns as they are now. The new one has the earliest arrival and the
// lowest priority of them all, carries all their pull requests, and what they were warned of beside what it is.
// Where an open apply of the same head is there already and op brings no confirmation, that one is
// returned instead and nothing changes: a push that is seen twice is one apply.
func (s *Store) QueueApply(ctx context.Context, op operation.Operation) (operation.Operation, []operation.Operation, error) {
	return s.queueApply(ctx, op, op.Confirmed != "", 0)
}

// QueueApplyAgain is QueueApply for a person who asks for an apply anew with a comment, even of the same
// head. A comment that was taken before changes nothing: Requested tells what it led to.
func (s *Store) QueueApplyAgain(
	ctx context.Context, op operation.Operation, comment int64,
) (operation.Operation, []operation.Operation, error) {
	return s.queueApply(ctx, op, true, comment)
}

// Requested is the operation that a comment asked for or said yes to; 0 for none.
func (s *Store) Requested(ctx context.Context, repository, comment int64) (int64, error) {
	id, _, err := one(ctx, s.read, scanValue[int64],
		`SELECT operation FROM requests WHERE repository = $1 AND comment = $2`, repository, comment)
	return id, wrap("find what a comment asked for", err)
}

// take remembers that a comment led to an operation. Two of the same comment do not both get so far.
func take(ctx context.Context, t *tx, op operation.Operation, comment int64) error {
	if comment == 0 {
		return nil
	}
	_, err := exec(ctx, t, `INSERT INTO requests (repository, comment, operation) VALUES ($1, $2, $3)`, op.Repository.ID, comment, op.ID)
	return err
}

func (s *Store) queueApply(
	ctx context.Context, op operation.Operation, again bool, comment int64,
) (operation.Operation, []operation.Operation, error) {
	if !op.Kind.Exclusive() {
		return op, nil, fmt.Errorf("queue apply: %s needs no hold: it is stored by CreateOperation", op.Kind)
	}
	asked := op
	var gathered []operation.Operation
	err := s.change(ctx, "queue apply", func(t *tx) error {
		op, gathered = asked, nil
		if err := t.lock(ctx, lockOfLine(op.Repository.ID, op.Environment)); err != nil {
			return err
		}
		open, err := list(ctx, t, scanOperation, selectOperation+`
			WHERE repository = $1 AND environment = $2 AND branch = $3 AND kind = $4 AND state IN ('queued', 'running', 'unconfirmed')
			ORDER BY operations.id`+t.dialect.forUpdate, op.Repository.ID, op.Environment, op.Branch, string(op.Kind))
		if err != nil {
			return err
		}
		same := slices.IndexFunc(open, func(other operation.Operation) bool { return other.Head == op.Head })
		if same >= 0 && !again {
			op = open[same]
			return nil
		}
		gathered = slices.DeleteFunc(open, func(other operation.Operation) bool { return other.State == operation.Running })
		op.Arrived = moment(t.now)
		carry(&op, gathered)
		if err := insertOperation(ctx, t, &op); err != nil {
			return err
		}
		if err := take(ctx, t, op, comment); err != nil {
			return err
		}
		for i := range gathered {
			old := &gathered[i]
			old.GatheredIn = op.ID
			if err := transition(ctx, t, old, operation.Gathered, ourselves, fmt.Sprintf("operation %d carries its commits", op.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	return op, gathered, err
}

// carry gives op the place in line, the pull requests and the warnings of the operations that it gathers.
func carry(op *operation.Operation, gathered []operation.Operation) {
	var pulls []int
	var warned operation.Doubts
	for _, old := range gathered {
		if old.Arrived.Before(op.Arrived) {
			op.Arrived = old.Arrived
		}
		op.Priority = min(op.Priority, old.Priority)
		pulls = append(pulls, old.Pulls...)
		warned = warned.With(old.Warned...) // a yes to it was for the commit of the older one
	}
	var all []int
	for _, pull := range append(pulls, op.Pulls...) {
		if !slices.Contains(all, pull) {
			all = append(all, pull)
		}
	}
	op.Pulls, op.Warned = all, warned.With(op.Warned...)
}

// Start begins an operation that needs no hold; false when it has ended. Only who has the claim of its
// job may call it: then one that runs already has lost its worker, whose attempt is thereby fenced off,
// and begins anew, or ends as cancelled where somebody asked to stop it.
func (s *Store) Start(ctx context.Context, id int64) (operation.Operation, bool, error) {
	var op operation.Operation
	var started bool
	err := s.change(ctx, "start operation", func(t *tx) (err error) {
		started = false
		if op, err = findOperation(ctx, t, id, t.dialect.forUpdate); err != nil {
			return err
		}
		if op.Kind.Exclusive() {
			return fmt.Errorf("%s needs a hold: it is started by TakeHold", op)
		}
		switch op.State {
		case operation.Queued:
			started = true
			return transition(ctx, t, &op, operation.Running, ourselves, "started")
		case operation.Running:
			if stopped, err := endStopped(ctx, t, &op); err != nil || stopped {
				return err
			}
			started = true
			op.Attempt++
			op.Started, op.Host, op.Launch = moment(t.now), "", ""
			if err := updateOperation(ctx, t, op); err != nil {
				return err
			}
			return appendAudit(ctx, t, transitionOf(op, ourselves, "started anew, because its worker stopped answering"))
		default:
			return nil
		}
	})
	return op, started && err == nil, err
}

// Launch records on which host the runner of an attempt is about to be started, and the name of that
// start, by which its result is known. It returns ErrLost when the attempt is not the newest, does not
// run any more, or was launched before: then no runner may be started.
func (s *Store) Launch(ctx context.Context, id int64, attempt int, host, launch string) error {
	return s.change(ctx, "launch operation", func(t *tx) error {
		op, err := findRunning(ctx, t, id, attempt)
		if err != nil {
			return err
		}
		if op.Host != "" {
			return fmt.Errorf("%w: %s was launched before, on host %q", ErrLost, op, op.Host)
		}
		op.Host, op.Launch = host, launch
		if err := updateOperation(ctx, t, op); err != nil {
			return err
		}
		name, known, err := one(ctx, t, scanValue[string], `SELECT name FROM replicas WHERE id = $1`, host)
		if err != nil {
			return err
		}
		if !known {
			name = host
		}
		line := lineOf(op, string(op.Kind)+" launched", ourselves, "its runner is started on "+name)
		line.Delivery = op.Delivery
		return appendAudit(ctx, t, line)
	})
}

// findRunning reads and locks an operation, or returns ErrLost unless this attempt is running.
func findRunning(ctx context.Context, t *tx, id int64, attempt int) (operation.Operation, error) {
	op, err := findOperation(ctx, t, id, t.dialect.forUpdate)
	if err == nil && (op.Attempt != attempt || op.State != operation.Running) {
		err = fmt.Errorf("%w: %s is %s at attempt %d, not running at %d", ErrLost, op, op.State, op.Attempt, attempt)
	}
	return op, err
}

// TakeHold gives the hold of an environment to the next exclusive operation that waits for it, by
// priority, then arrival, and starts that operation. It reports false when the hold is taken or
// nothing waits.
func (s *Store) TakeHold(ctx context.Context, repository int64, environment string) (operation.Operation, bool, error) {
	var op operation.Operation
	var taken bool
	err := s.change(ctx, "take hold", func(t *tx) error {
		taken = false
		if err := t.lock(ctx, lockOfLine(repository, environment)); err != nil {
			return err
		}
		next, ok, err := one(ctx, t, scanOperation, selectOperation+`
			WHERE repository = $1 AND environment = $2 AND exclusive = 1 AND state = 'queued'
			ORDER BY priority, arrived, operations.id LIMIT 1`+t.dialect.forUpdate, repository, environment)
		if err != nil || !ok {
			return err
		}
		// The unique index on holds that are not released decides.
		rows, err := exec(ctx, t, `
			INSERT INTO holds (repository, environment, scope, operation, taken) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			repository, environment, wholeEnvironment, next.ID, t.now)
		if err != nil || rows == 0 {
			return err
		}
		op, taken = next, true
		if err := transition(ctx, t, &op, operation.Running, ourselves, "took the hold of "+environment); err != nil {
			return err
		}
		line := lineOf(op, holdTaken, ourselves, "it was next in line")
		line.Delivery = op.Delivery
		return appendAudit(ctx, t, line)
	})
	return op, taken && err == nil, err
}

// Holder is the operation that has the hold of an environment; false when nobody has.
func (s *Store) Holder(ctx context.Context, repository int64, environment string) (operation.Operation, bool, error) {
	op, held, err := holder(ctx, s.read, repository, environment, "")
	return op, held, wrap("find who has the hold", err)
}

func holder(
	ctx context.Context, q querier, repository int64, environment, suffix string,
) (operation.Operation, bool, error) {
	return one(ctx, q, scanOperation, selectOperation+` WHERE operations.id = (
		SELECT operation FROM holds WHERE repository = $1 AND environment = $2 AND released IS NULL LIMIT 1)`+suffix, repository, environment)
}

// Finish records how an attempt ended, gives the hold back and updates the targets. It returns
// ErrLost when the attempt is not the newest, and ErrTransition when the operation has ended already.
func (s *Store) Finish(ctx context.Context, f Finish) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, "finish operation", func(t *tx) (err error) {
		if err := t.lock(ctx, locksOf(f.Then)...); err != nil {
			return err
		}
		if op, err = findOperation(ctx, t, f.Operation, t.dialect.forUpdate); err != nil {
			return err
		}
		if op.Attempt != f.Attempt {
			return fmt.Errorf("%w: %s is at attempt %d, not %d", ErrLost, op, op.Attempt, f.Attempt)
		}
		if f.State != operation.Unconfirmed && !f.State.Ended() || f.State == operation.Gathered {
			return fmt.Errorf("%w: %s cannot finish as %s", ErrTransition, op, f.State)
		}
		op.Message, op.Question, op.Doubt, op.Doubts = f.Message, f.Question, f.Doubt, f.Doubts
		if f.Result != nil {
			op.Result = f.Result
		}
		if err := transition(ctx, t, &op, f.State, ourselves, f.Message); err != nil {
			return err
		}
		if err := forgetOrder(ctx, t, op); err != nil {
			return err
		}
		return follow(ctx, t, op, f)
	})
	return op, err
}

// follow records what an attempt has left behind, and queues what has to follow.
func follow(ctx context.Context, t *tx, op operation.Operation, f Finish) error {
	for _, state := range f.Applied {
		if err := saveTarget(ctx, t, state); err != nil {
			return err
		}
		if err := saveContent(ctx, t, state); err != nil {
			return err
		}
	}
	for _, state := range f.Touched {
		if err := touchTarget(ctx, t, state); err != nil {
			return err
		}
	}
	if err := appendLedger(ctx, t, op, f.Ledger); err != nil {
		return err
	}
	for _, job := range f.Then {
		if err := insertJob(ctx, t, job); err != nil {
			return err
		}
	}
	return nil
}

// Confirm queues an unconfirmed operation again, with the digest that somebody said yes to. It
// returns ErrQuestion when the operation asks about another one by now.
func (s *Store) Confirm(ctx context.Context, id int64, question, by string, comment int64) (operation.Operation, error) {
	return s.moveWaiting(ctx, "confirm operation", id, func(t *tx, op *operation.Operation) error {
		if op.State == operation.Unconfirmed && (question == "" || op.Question != question) {
			return fmt.Errorf("%w: %s asks about %q", ErrQuestion, op, op.Question)
		}
		op.Confirmed, op.ConfirmedBy, op.Message = question, by, ""
		op.ConfirmedDoubts = op.Doubts.Keys()
		op.Agreed = slices.Concat(op.Agreed, op.ConfirmedDoubts) // a yes to a doubt holds, whatever else is asked about later
		slices.Sort(op.Agreed)
		op.Agreed = slices.Compact(op.Agreed)
		op.Delivery = cmp.Or(causeOf(ctx), op.Delivery)
		if err := take(ctx, t, *op, comment); err != nil {
			return err
		}
		return transition(ctx, t, op, operation.Queued, by, SaidYes+question)
	})
}

// CarryPulls has a running attempt at an apply carry pull requests, oldest first, that GitHub named only after it was queued. One
// that was on no pull request is shown on the newest of them from now on. It returns ErrLost when the attempt does not run any more.
func (s *Store) CarryPulls(ctx context.Context, id int64, attempt int, pulls []int, why string) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, "carry pull requests", func(t *tx) (err error) {
		if op, err = findRunning(ctx, t, id, attempt); err != nil {
			return err
		}
		if slices.Equal(op.Pulls, pulls) {
			return nil
		}
		op.Pulls = pulls
		if op.Pull == 0 && len(pulls) > 0 {
			op.Pull, op.Reason = pulls[len(pulls)-1], why
		}
		data, err := json.Marshal(op.Pulls)
		if err != nil {
			return fmt.Errorf("write pull requests: %w", err)
		}
		if _, err := exec(ctx, t, `UPDATE operations SET pull = $2, pulls = $3, reason = $4 WHERE id = $1`,
			op.ID, op.Pull, string(data), op.Reason); err != nil {
			return err
		}
		if err := linkPulls(ctx, t, op); err != nil {
			return err
		}
		return appendAudit(ctx, t, lineOf(op, string(op.Kind)+" carries more", ourselves, why))
	})
	return op, err
}

// Cancel ends an operation that is queued or unconfirmed, for somebody. One that runs is stopped by its runner
// instead, so here it gets ErrTransition.
func (s *Store) Cancel(ctx context.Context, id int64, by, message string) (operation.Operation, error) {
	return s.moveWaiting(ctx, "cancel operation", id, func(t *tx, op *operation.Operation) error {
		op.Message = message
		return transition(ctx, t, op, operation.Cancelled, by, message)
	})
}

// moveWaiting changes an operation that does not run.
func (s *Store) moveWaiting(
	ctx context.Context, verb string, id int64, move func(*tx, *operation.Operation) error,
) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, verb, func(t *tx) (err error) {
		if op, err = findOperation(ctx, t, id, t.dialect.forUpdate); err != nil {
			return err
		}
		if op.State == operation.Running {
			return fmt.Errorf("%w: %s is running", ErrTransition, op)
		}
		return move(t, &op)
	})
	return op, err
}

// releaseSeen takes the hold, for somebody, from the operation that they have seen to have it. It returns ErrLost when that is not so
// any more: the operation ended, is at another attempt, or its runner was started meanwhile.
func releaseSeen(ctx context.Context, t *tx, seen operation.Operation, by, message string) (operation.Operation, error) {
	op, err := findRunning(ctx, t, seen.ID, seen.Attempt)
	if err != nil {
		return op, err
	}
	if op.Host != seen.Host {
		return op, fmt.Errorf("%w: the runner of %s is on host %q, not %q", ErrLost, op, op.Host, seen.Host)
	}
	op.Message = message
	err = transition(ctx, t, &op, operation.Interrupted, by, message)
	return op, err
}

// Requeue puts back an operation that was started but whose runner never was, and gives its hold
// back: it keeps its place in line, unless somebody asked to stop it: then it is cancelled. It returns
// ErrLost when the attempt is not running any more, and when its host is not the one that the caller has
// read: then a runner may have been started since.
func (s *Store) Requeue(ctx context.Context, id int64, attempt int, host, why string) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, "put operation back", func(t *tx) (err error) {
		if op, err = findRunning(ctx, t, id, attempt); err != nil {
			return err
		}
		if op.Host != host {
			return fmt.Errorf("%w: the runner of %s is on host %q, not %q", ErrLost, op, op.Host, host)
		}
		op.Host, op.Launch = "", ""
		if stopped, err := endStopped(ctx, t, &op); err != nil || stopped {
			return err
		}
		// This is no transition in its life, so operation.State does not know it; the attempt rises so
		// that the lost start stays fenced.
		op.State, op.Started = operation.Queued, moment(0)
		op.Attempt++
		if err := updateOperation(ctx, t, op); err != nil {
			return err
		}
		if err := appendAudit(ctx, t, transitionOf(op, ourselves, why)); err != nil {
			return err
		}
		t.due = true
		return releaseHold(ctx, t, op, ourselves, why)
	})
	return op, err
}

// endStopped cancels a running attempt that nobody goes on with, if somebody asked to stop it. It reports whether that is so. The order
// stays for what may be left of it on a host.
func endStopped(ctx context.Context, t *tx, op *operation.Operation) (bool, error) {
	asked, _, err := one(ctx, t, scanValue[int64], `SELECT stop FROM operations WHERE id = $1`, op.ID)
	if err != nil || asked == 0 {
		return false, err
	}
	op.Message = "It was cancelled."
	if op.Kind.Exclusive() {
		op.Message = "It was cancelled before it was begun. Nothing was changed."
	}
	t.due = true
	if err := transition(ctx, t, op, operation.Cancelled, ourselves, op.Message); err != nil {
		return false, err
	}
	return true, forgetOrder(ctx, t, *op)
}

// forgetOrder takes back the order to stop an operation that does not run any more, where nothing of it can be left.
func forgetOrder(ctx context.Context, t *tx, op operation.Operation) error {
	reported := op.Result != nil && op.Result.Attempt == op.Attempt && op.Result.Launch == op.Launch
	if op.Host != "" && !reported {
		return nil
	}
	_, err := exec(ctx, t, `UPDATE operations SET stop = 0 WHERE id = $1`, op.ID)
	return err
}
