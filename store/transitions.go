package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
)

// wholeEnvironment is the scope of a hold on all roots of an environment.
const wholeEnvironment = "*"

// ourselves is who the audit names when no person acted.
const ourselves = "switchyard"

// Finish is how an attempt at an operation ended.
type Finish struct {
	Operation int64
	Attempt   int // the one that was started; of an operation that never was, 0
	State     operation.State
	Result    *operation.Result
	Message   string
	Question  string        // the digest that is asked about, for Unconfirmed
	Doubt     string        // why a yes is needed whatever the plan says, as it was found by this attempt
	Applied   []TargetState // targets that have the operation's commit now
}

// transition moves an operation to another state, or returns ErrTransition. An operation that
// leaves Running gives its hold back in the same transaction, whatever the reason.
func (s *Store) transition(ctx context.Context, tx *sql.Tx, op *operation.Operation, next operation.State, who, why string) error {
	before := op.State
	if !before.CanBecome(next) {
		return fmt.Errorf("%w: %s is %s and cannot become %s", ErrTransition, op, before, next)
	}
	op.State = next
	switch {
	case next == operation.Running:
		op.Attempt++
		op.Started, op.Message = moment(s.now()), ""
	case next.Ended():
		op.Ended = moment(s.now())
	}
	if next != operation.Unconfirmed {
		op.Question = ""
	}
	if err := updateOperation(ctx, tx, *op); err != nil {
		return err
	}
	if before == operation.Running {
		if _, err := exec(ctx, tx, `UPDATE holds SET released = $2 WHERE operation = $1 AND released IS NULL`, op.ID, s.now()); err != nil {
			return err
		}
	}
	return s.appendAudit(ctx, tx, transitionOf(*op, who, why))
}

// SupersedePlans ends the open plans of a pull request but for the one named by except (0: all). It
// returns those that were running, which have to be stopped.
func (s *Store) SupersedePlans(
	ctx context.Context, repository int64, pull int, except int64, message string,
) ([]operation.Operation, error) {
	var running []operation.Operation
	err := s.change(ctx, "supersede plans", func(tx *sql.Tx) error {
		query, args := Filter{
			Repository: repository, Pull: pull, Kinds: []operation.Kind{operation.Plan},
			States: []operation.State{operation.Queued, operation.Running, operation.Unconfirmed},
		}.query()
		plans, err := list(ctx, tx, scanOperation, query, args...)
		if err != nil {
			return err
		}
		for _, op := range plans {
			if op.ID == except {
				continue
			}
			before := op.State
			op.Message = message
			if err := s.transition(ctx, tx, &op, operation.Superseded, ourselves, message); err != nil {
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
// lowest priority of them all, carries all their pull requests, and their doubt where it has none.
// Where an open apply of the same head is there already and op brings no confirmation, that one is
// returned instead and nothing changes: a push that is seen twice is one apply.
func (s *Store) QueueApply(ctx context.Context, op operation.Operation) (operation.Operation, []operation.Operation, error) {
	return s.queueApply(ctx, op, op.Confirmed != "")
}

// QueueApplyAgain is QueueApply for a person who asks for an apply anew, even of the same head.
func (s *Store) QueueApplyAgain(ctx context.Context, op operation.Operation) (operation.Operation, []operation.Operation, error) {
	return s.queueApply(ctx, op, true)
}

func (s *Store) queueApply(
	ctx context.Context, op operation.Operation, again bool,
) (operation.Operation, []operation.Operation, error) {
	if !op.Kind.Exclusive() {
		return op, nil, fmt.Errorf("queue apply: %s needs no hold: it is stored by CreateOperation", op.Kind)
	}
	var gathered []operation.Operation
	err := s.change(ctx, "queue apply", func(tx *sql.Tx) error {
		open, err := list(ctx, tx, scanOperation, selectOperation+`
			WHERE repository = $1 AND environment = $2 AND branch = $3 AND kind = $4 AND state IN ('queued', 'running', 'unconfirmed')
			ORDER BY id`, op.Repository.ID, op.Environment, op.Branch, string(op.Kind))
		if err != nil {
			return err
		}
		same := slices.IndexFunc(open, func(other operation.Operation) bool { return other.Head == op.Head })
		if same >= 0 && !again {
			op = open[same]
			return nil
		}
		gathered = slices.DeleteFunc(open, func(other operation.Operation) bool { return other.State == operation.Running })
		op.Arrived = moment(s.now())
		carry(&op, gathered)
		if err := s.insertOperation(ctx, tx, &op); err != nil {
			return err
		}
		for i := range gathered {
			old := &gathered[i]
			old.GatheredIn = op.ID
			if err := s.transition(ctx, tx, old, operation.Gathered, ourselves, fmt.Sprintf("operation %d carries its commits", op.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	return op, gathered, err
}

// carry gives op the place in line, the pull requests and the doubt of the operations that it gathers.
func carry(op *operation.Operation, gathered []operation.Operation) {
	var pulls []int
	for _, old := range gathered {
		if old.Arrived.Before(op.Arrived) {
			op.Arrived = old.Arrived
		}
		op.Priority = min(op.Priority, old.Priority)
		pulls = append(pulls, old.Pulls...)
		if op.Doubt == "" {
			op.Doubt = old.Doubt // nobody has said yes to it yet
		}
	}
	var all []int
	for _, pull := range append(pulls, op.Pulls...) {
		if !slices.Contains(all, pull) {
			all = append(all, pull)
		}
	}
	op.Pulls = all
}

// Start begins a queued operation that needs no hold; false when it is not queued any more.
func (s *Store) Start(ctx context.Context, id int64) (operation.Operation, bool, error) {
	var op operation.Operation
	var started bool
	err := s.change(ctx, "start operation", func(tx *sql.Tx) (err error) {
		if op, err = findOperation(ctx, tx, id); err != nil {
			return err
		}
		if op.Kind.Exclusive() {
			return fmt.Errorf("%s needs a hold: it is started by TakeHold", op)
		}
		if op.State != operation.Queued {
			return nil
		}
		started = true
		return s.transition(ctx, tx, &op, operation.Running, ourselves, "started")
	})
	return op, started && err == nil, err
}

// TakeHold gives the hold of an environment to the next exclusive operation that waits for it, by
// priority, then arrival, and starts that operation. It reports false when the hold is taken or
// nothing waits.
func (s *Store) TakeHold(ctx context.Context, repository int64, environment string) (operation.Operation, bool, error) {
	var op operation.Operation
	var taken bool
	err := s.change(ctx, "take hold", func(tx *sql.Tx) error {
		next, ok, err := one(ctx, tx, scanOperation, selectOperation+`
			WHERE repository = $1 AND environment = $2 AND exclusive = 1 AND state = 'queued'
			ORDER BY priority, arrived, id LIMIT 1`, repository, environment)
		if err != nil || !ok {
			return err
		}
		// The unique index on holds that are not released decides.
		rows, err := exec(ctx, tx, `
			INSERT INTO holds (repository, environment, scope, operation, taken) VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING`,
			repository, environment, wholeEnvironment, next.ID, s.now())
		if err != nil || rows == 0 {
			return err
		}
		op, taken = next, true
		return s.transition(ctx, tx, &op, operation.Running, ourselves, "took the hold of "+environment)
	})
	return op, taken && err == nil, err
}

// Holder is the operation that has the hold of an environment; false when nobody has.
func (s *Store) Holder(ctx context.Context, repository int64, environment string) (operation.Operation, bool, error) {
	op, held, err := holder(ctx, s.read, repository, environment)
	return op, held, wrap("find who has the hold", err)
}

func holder(ctx context.Context, q querier, repository int64, environment string) (operation.Operation, bool, error) {
	return one(ctx, q, scanOperation, selectOperation+` WHERE operations.id = (
		SELECT operation FROM holds WHERE repository = $1 AND environment = $2 AND released IS NULL LIMIT 1)`, repository, environment)
}

// Finish records how an attempt ended, gives the hold back and updates the targets. It returns
// ErrLost when the attempt is not the newest, and ErrTransition when the operation has ended already.
func (s *Store) Finish(ctx context.Context, f Finish) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, "finish operation", func(tx *sql.Tx) (err error) {
		if op, err = findOperation(ctx, tx, f.Operation); err != nil {
			return err
		}
		if op.Attempt != f.Attempt {
			return fmt.Errorf("%w: %s is at attempt %d, not %d", ErrLost, op, op.Attempt, f.Attempt)
		}
		if f.State != operation.Unconfirmed && !f.State.Ended() || f.State == operation.Gathered {
			return fmt.Errorf("%w: %s cannot finish as %s", ErrTransition, op, f.State)
		}
		op.Message, op.Question, op.Doubt = f.Message, f.Question, f.Doubt
		if f.Result != nil {
			op.Result = f.Result
		}
		if err := s.transition(ctx, tx, &op, f.State, ourselves, f.Message); err != nil {
			return err
		}
		for _, state := range f.Applied {
			if err := saveTarget(ctx, tx, state, s.now()); err != nil {
				return err
			}
		}
		return nil
	})
	return op, err
}

// Confirm queues an unconfirmed operation again, with the digest that somebody said yes to. It
// returns ErrQuestion when the operation asks about another one by now.
func (s *Store) Confirm(ctx context.Context, id int64, question, by string) (operation.Operation, error) {
	return s.moveWaiting(ctx, "confirm operation", id, func(tx *sql.Tx, op *operation.Operation) error {
		if op.State == operation.Unconfirmed && (question == "" || op.Question != question) {
			return fmt.Errorf("%w: %s asks about %q", ErrQuestion, op, op.Question)
		}
		op.Confirmed, op.Message = question, ""
		return s.transition(ctx, tx, op, operation.Queued, by, "said yes to "+question)
	})
}

// Cancel ends an operation that is queued or unconfirmed. One that runs is stopped by its runner
// instead, so here it gets ErrTransition.
func (s *Store) Cancel(ctx context.Context, id int64, message string) (operation.Operation, error) {
	return s.moveWaiting(ctx, "cancel operation", id, func(tx *sql.Tx, op *operation.Operation) error {
		op.Message = message
		return s.transition(ctx, tx, op, operation.Cancelled, ourselves, message)
	})
}

// moveWaiting changes an operation that does not run.
func (s *Store) moveWaiting(
	ctx context.Context, verb string, id int64, move func(*sql.Tx, *operation.Operation) error,
) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, verb, func(tx *sql.Tx) (err error) {
		if op, err = findOperation(ctx, tx, id); err != nil {
			return err
		}
		if op.State == operation.Running {
			return fmt.Errorf("%w: %s is running", ErrTransition, op)
		}
		return move(tx, &op)
	})
	return op, err
}

// ReleaseHold takes the hold of an environment from the operation that has it, which becomes
// interrupted: its outcome is not known. It reports false when nobody has the hold.
func (s *Store) ReleaseHold(ctx context.Context, repository int64, environment, message string) (operation.Operation, bool, error) {
	var op operation.Operation
	var held bool
	err := s.change(ctx, "release hold", func(tx *sql.Tx) (err error) {
		if op, held, err = holder(ctx, tx, repository, environment); err != nil || !held {
			return err
		}
		op.Message = message
		return s.transition(ctx, tx, &op, operation.Interrupted, ourselves, message)
	})
	return op, held && err == nil, err
}

// RequeuePlans queues again the operations without a hold that a dead process left running, and
// returns them. Only for a server that knows itself alone.
func (s *Store) RequeuePlans(ctx context.Context, message string) ([]operation.Operation, error) {
	var ops []operation.Operation
	err := s.change(ctx, "queue plans again", func(tx *sql.Tx) error {
		running, err := list(ctx, tx, scanOperation, selectOperation+` WHERE state = 'running' ORDER BY id`)
		if err != nil {
			return err
		}
		for _, op := range running {
			if op.Kind.Exclusive() {
				continue // its runner may live: its outcome is looked for, never guessed
			}
			if err := s.requeue(ctx, tx, &op, message); err != nil {
				return err
			}
			ops = append(ops, op)
		}
		return nil
	})
	return ops, err
}

// Requeue puts back an operation that was started but whose runner never was, and gives its hold
// back: it keeps its place in line. It is fenced by the attempt.
func (s *Store) Requeue(ctx context.Context, id int64, attempt int, why string) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, "put operation back", func(tx *sql.Tx) (err error) {
		if op, err = findOperation(ctx, tx, id); err != nil {
			return err
		}
		if op.Attempt != attempt || op.State != operation.Running {
			return fmt.Errorf("%w: %s is %s at attempt %d, not running at %d", ErrLost, op, op.State, op.Attempt, attempt)
		}
		if _, err := exec(ctx, tx, `UPDATE holds SET released = $2 WHERE operation = $1 AND released IS NULL`, op.ID, s.now()); err != nil {
			return err
		}
		return s.requeue(ctx, tx, &op, why)
	})
	if err == nil {
		s.wakeUp()
	}
	return op, err
}

// requeue takes back the start of an operation that changes nothing. This is no transition in its
// life, so operation.State does not know it; the attempt rises so that the lost start stays fenced.
func (s *Store) requeue(ctx context.Context, tx *sql.Tx, op *operation.Operation, why string) error {
	op.State, op.Started = operation.Queued, moment(0)
	op.Attempt++
	if err := updateOperation(ctx, tx, *op); err != nil {
		return err
	}
	return s.appendAudit(ctx, tx, transitionOf(*op, ourselves, why))
}
