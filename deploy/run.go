package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// runPlan runs one plan to its end. Plans take no hold: they run beside each other and beside applies.
func (d *Deploy) runPlan(ctx context.Context, what drive) error {
	if resumed, err := d.resumePlan(ctx, what.Operation); err != nil || resumed {
		return err
	}
	if d.Shared {
		if err := d.Git.Fetch(ctx, what.Repository); err != nil { // another replica may have made this plan
			return d.unlessFinal(ctx, what.Operation, fmt.Errorf("fetch: %w", err))
		}
	}
	op, started, err := d.Store.Start(ctx, what.Operation)
	if err != nil {
		return fmt.Errorf("start plan %d: %w", what.Operation, err)
	}
	if !started {
		return d.showEnd(ctx, op) // it ended while it waited, or what showed its end broke off
	}
	if err := d.begin(op.ID); err != nil {
		return fmt.Errorf("start %s: %w", op, err)
	}
	defer d.end(op.ID)
	var shown errgroup.Group
	shown.Go(func() error { return d.show(ctx, op) }) // beside the plan, which need not wait for it
	states, err := d.Store.Targets(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return fmt.Errorf("read targets: %w", err)
	}
	finish, err := d.execute(ctx, op, reviewed{evidence: operation.Evidence{Before: appliedBefore(op, states)}})
	if failed := shown.Wait(); failed != nil {
		zerolog.Ctx(ctx).Warn().Err(failed).Msg("could not show that a plan runs") // its end is shown
	}
	if err != nil {
		return d.unlessFinal(ctx, op.ID, err)
	}
	if err := d.finish(ctx, finish); err != nil || op.Pull == 0 {
		return err
	}
	return d.lookAtApprovals(ctx, op.Repository, op.Pull) // they are of what the plan shows now
}

// unlessFinal passes on what kept a plan from being started, so that it is tried again; but where that would not help, because a
// person has to do something first, it is the end of the plan, in words.
func (d *Deploy) unlessFinal(ctx context.Context, id int64, err error) error {
	if passing(err) {
		return err
	}
	zerolog.Ctx(ctx).Error().Err(err).Msg("a plan could not be started")
	op, readErr := d.Store.Operation(ctx, id)
	if readErr != nil || op.State.Ended() {
		return wrap("find the plan", readErr)
	}
	return d.finish(ctx, refusedStart(op, err))
}

// advance runs the applies of one environment, one after another, until none waits.
func (d *Deploy) advance(ctx context.Context, what drive) error {
	if err := d.showEnded(ctx, what.Repository.ID, what.Environment); err != nil {
		return err
	}
	if free, err := d.resume(ctx, what); err != nil || !free {
		return err
	}
	var shown errgroup.Group
	return errors.Join(d.applyAll(ctx, what, &shown), shown.Wait())
}

// applyAll runs what waits for an environment. What shows how each apply ended goes on in shown.
func (d *Deploy) applyAll(ctx context.Context, what drive, shown *errgroup.Group) error {
	for ctx.Err() == nil {
		op, taken, err := d.Store.TakeHold(ctx, what.Repository.ID, what.Environment)
		if err != nil {
			return fmt.Errorf("take the hold of %s: %w", what.Environment, err)
		}
		if !taken {
			return nil
		}
		if err := d.apply(aboutApply(ctx, op), op, shown); err != nil {
			return err
		}
	}
	return nil
}

// fewNewest is how many of the newest operations are shown again where one of them may have been left out.
const fewNewest = 5

// showEnded shows the newest applies of an environment that have ended or wait for a person: what
// showed that may have broken off after it was recorded.
func (d *Deploy) showEnded(ctx context.Context, repo int64, environment string) error {
	if err := d.showLastBroken(ctx, repo, environment); err != nil {
		return err
	}
	for _, states := range [][]operation.State{
		{operation.Gathered}, // of these there may be many to one of the others
		{operation.Unconfirmed, operation.Succeeded, operation.Failed, operation.Interrupted, operation.Cancelled},
	} {
		ended, err := d.Store.Operations(ctx, store.Filter{
			Repository: repo, Environment: environment, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: fewNewest,
			States: states,
		})
		if err != nil {
			return fmt.Errorf("find what has ended: %w", err)
		}
		for _, op := range slices.Backward(ended) {
			if err := d.sayStopped(ctx, op.ID); err != nil { // by what the rows have alone
				return err
			}
			if err := d.show(ctx, op); err != nil {
				return err
			}
		}
	}
	return nil
}

// How often it is tried to show how an apply ended while the next one runs, and how long after one another.
const (
	showTries = 10
	showAgain = 5 * time.Second
)

// apply runs the apply that has the hold now. What it covers is observed anew: since it was queued,
// an earlier apply may have brought part of it, or failed.
func (d *Deploy) apply(ctx context.Context, op operation.Operation, shown *errgroup.Group) error {
	if err := d.begin(op.ID); err != nil {
		return fmt.Errorf("start %s: %w", op, err)
	}
	defer d.end(op.ID)
	do := d.prepareAndApply
	if op.Kind == operation.BreakLease {
		do = d.breakLock
	}
	finish, err := do(ctx, op)
	if err != nil && ctx.Err() != nil {
		return err // the server stops: a runner that was started goes on, and its outcome is looked for at the next start
	}
	if err != nil && passing(err) {
		// No runner was started, so nothing was changed: the job is tried again, and puts the apply back first.
		return err
	}
	if err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("apply could not be started")
		finish = refusedStart(op, err)
	}
	whole := context.WithoutCancel(ctx)
	ended, err := d.record(whole, finish)
	if err != nil {
		return err
	}
	shown.Go(func() error { // beside the next apply, which need not wait for what GitHub shows of this one
		var err error
		for range showTries {
			if err = d.showEnd(whole, ended); err == nil {
				return nil
			}
			zerolog.Ctx(whole).Error().Err(err).Msg("could not show how an apply ended yet")
			select {
			case <-ctx.Done():
				return err
			case <-d.Clock.After(showAgain):
			}
		}
		return err // it is shown once more when the job is done again
	})
	return nil
}

// execute gives an operation to the executor and turns its result into an end. An error means that
// the runner was not started; once it is, what it did is told by the end alone.
func (d *Deploy) execute(ctx context.Context, op operation.Operation, seen reviewed) (store.Finish, error) {
	task, err := d.task(ctx, op, seen)
	if err != nil {
		return store.Finish{}, err
	}
	if err := d.haveTree(ctx, op); err != nil {
		return store.Finish{}, err
	}
	op.Host = d.Host
	if task.Job != nil {
		op.Host = operation.HostActions // where the files are fetched by the runner
	} else if err := d.Git.Prefetch(ctx, op.Repository, op.Tree); err != nil {
		return store.Finish{}, fmt.Errorf("fetch the files of %s: %w", short(op.Head), err)
	}
	if op.Lock == nil { // to look at a lock, or to break one, rests on no review
		if err := d.Store.SaveEvidence(ctx, op.ID, op.Attempt, seen.evidence); err != nil {
			return store.Finish{}, fmt.Errorf("record what was reviewed: %w", err)
		}
	}
	task.Launch = uuid.NewString()
	if err := d.Store.Launch(ctx, op.ID, op.Attempt, op.Host, task.Launch); err != nil {
		return store.Finish{}, fmt.Errorf("record the start: %w", err)
	}
	result, err := d.watch(ctx, task)
	op.Launch = task.Launch
	err = d.outlast(ctx, op, err)
	if starting := (*startError)(nil); errors.As(err, &starting) {
		return store.Finish{}, err
	}
	if err != nil && ctx.Err() != nil {
		return store.Finish{}, err
	}
	if err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("runner gave no result")
		return d.unsuccessful(op, err), nil
	}
	return d.annotated(ctx, op, ended(op, result, seen.evidence)), nil
}

// haveTree makes the merge anew that a plan is of where another replica has made it: the same two
// commits always give the same tree.
func (d *Deploy) haveTree(ctx context.Context, op operation.Operation) error {
	there, err := d.Git.Has(ctx, op.Repository, op.Tree)
	if err != nil || there {
		return wrap("look for the tree", err)
	}
	merge, err := d.Git.Merge(ctx, op.Repository, op.Base, op.Head)
	if err != nil {
		return fmt.Errorf("merge %s into %s: %w", short(op.Head), short(op.Base), err)
	}
	if merge.Tree != op.Tree {
		return fmt.Errorf("the merge of %s into %s gives %s, not %s: do all replicas have the same git?",
			short(op.Head), short(op.Base), short(merge.Tree), short(op.Tree))
	}
	return nil
}

// lost is the end of an operation whose runner left no result.
func lost(op operation.Operation) store.Finish {
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt, Doubt: op.Doubt}
	if op.Kind.Exclusive() {
		end.State = operation.Interrupted
		end.Message = "Its runner ended without a result, so it is not known how far it came."
		if op.Kind == operation.BreakLease {
			return end // which writes to no state
		}
		for _, root := range op.Roots {
			end.Touched = append(end.Touched, store.TargetState{
				Repository: op.Repository.ID, Target: operation.Target{Root: root, Environment: op.Environment},
			})
		}
		return end
	}
	end.State = operation.Failed
	end.Message = "Its runner ended without a result. Nothing was changed."
	return end
}

// endedBefore is ended for a runner that an earlier process started.
func (d *Deploy) endedBefore(ctx context.Context, op operation.Operation, result operation.Result) (store.Finish, error) {
	evidence, err := d.Store.Evidence(ctx, op.ID, op.Attempt)
	return ended(op, result, evidence), wrap("read what was known when it began", err)
}

// ended turns a runner's result into the end of its operation.
func ended(op operation.Operation, result operation.Result, evidence operation.Evidence) store.Finish {
	op.Doubt = evidence.Doubt
	end := store.Finish{
		Operation: op.ID, Attempt: op.Attempt, Result: &result, Doubt: op.Doubt, Ledger: entriesOf(op, result, evidence),
	}
	outcomes := map[operation.Outcome]int{}
	blocked := false
	for _, target := range result.Targets {
		outcomes[target.Outcome]++
		blocked = blocked || len(target.Blocked) > 0
		if target.Outcome == operation.Applied || (op.Kind == operation.Apply && target.Outcome == operation.Unchanged) {
			end.Applied = append(end.Applied, store.TargetState{
				Repository: op.Repository.ID, Target: target.Target, Applied: op.Head,
				Lineage: target.Lineage, Serial: target.Serial, Operation: op.ID, At: result.Ended,
				Content: evidence.Content[target.Target.Root],
			})
		} else if op.Kind == operation.Apply && target.Timings.Apply > 0 {
			end.Touched = append(end.Touched, store.TargetState{
				Repository: op.Repository.ID, Target: target.Target, Lineage: target.Lineage, Serial: target.Serial,
			})
		}
	}
	switch {
	case result.Stopped == "cancelled":
		end.State, end.Message = operation.Cancelled, "It was stopped before it was done."
	case result.Stopped != "":
		end.State, end.Message = operation.Failed, "It was stopped because it reached its time limit."
	case result.Error != "":
		end.State, end.Message = operation.Failed, result.Error
	case op.Lock != nil:
		end.State, end.Message = lockEnd(op, outcomes)
	case outcomes[operation.TargetFailed] > 0:
		end.State, end.Message = operation.Failed, "Terraform reported an error."
	case outcomes[operation.Locked] > 0:
		end.State, end.Message = operation.Failed, "Somebody else holds the state lock."
	case outcomes[operation.Different] > 0 || result.Question != op.Confirmed && result.Question != "":
		end.State = operation.Unconfirmed
		end.Doubts = evidence.Doubts.Without(op.Agreed)
		end.Doubt = end.Doubts.Text()
		if asksAbout(result) || len(end.Doubts) > 0 { // what only a second person's approval is needed for has no yes
			end.Question = result.Question
		}
		end.Message = unconfirmedBecause(result, blocked)
	case outcomes[operation.TargetStopped] > 0:
		end.State, end.Message = operation.Failed, notConfirmed(result)
	default:
		end.State = operation.Succeeded
	}
	return end
}

// notConfirmed is why not all of an apply was done that nobody stopped and that asks nothing: its job was told not to, or got no answer.
func notConfirmed(result operation.Result) string {
	for _, target := range result.Targets {
		if target.Outcome == operation.TargetStopped && target.Error != "" {
			return target.Error
		}
	}
	return "Not all of it was applied."
}

// lockEnd is how a look at locks, or the breaking of one, ended. A look counts where any of the locks could be looked at.
func lockEnd(op operation.Operation, outcomes map[operation.Outcome]int) (operation.State, string) {
	switch {
	case op.Kind == operation.ExplainLock && outcomes[operation.Looked] > 0, outcomes[operation.Released] > 0:
		return operation.Succeeded, ""
	case op.Kind == operation.ExplainLock:
		return operation.Failed, "No lock could be looked at."
	case outcomes[operation.OtherLock] > 0:
		return operation.Failed, "The lock is not the one any more that was explained, so nothing was done."
	default:
		return operation.Failed, "The lock could not be released."
	}
}

// asksAbout reports whether a plan has changes that a yes is needed to.
func asksAbout(result operation.Result) bool {
	return slices.ContainsFunc(result.Targets, func(target operation.TargetResult) bool {
		return len(target.Unexpected)+target.UnexpectedOmitted > 0
	})
}

// unconfirmedBecause says in a sentence or two what an apply waits for.
func unconfirmedBecause(result operation.Result, blocked bool) string {
	switch {
	case asksAbout(result):
		return "The plan has changes that nobody reviewed."
	case blocked:
		return "The plan has changes that a second person must approve."
	default:
		return "A yes is needed first."
	}
}

// finish records how an operation ended, gives its hold back, and shows it and all that waited for it.
func (d *Deploy) finish(ctx context.Context, end store.Finish) error {
	op, err := d.record(ctx, end)
	if err != nil {
		return err
	}
	return d.showEnd(ctx, op)
}

// record stores how an operation ended, and gives its hold back.
func (d *Deploy) record(ctx context.Context, end store.Finish) (operation.Operation, error) {
	more, end := d.namedSince(ctx, end), d.sayGate(ctx, end)
	op, err := d.Store.Finish(ctx, end)
	if err == nil && more != "" {
		if again, failed := d.Store.Reconsider(ctx, op.ID, "switchyard", more); failed == nil {
			return again, nil // it takes its turn again at once, and nobody is asked yet
		}
	}
	if errors.Is(err, store.ErrLost) || errors.Is(err, store.ErrTransition) {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("a late result was not taken")
		op, err = d.Store.Operation(ctx, end.Operation)
	}
	if err != nil {
		return op, fmt.Errorf("finish operation %d: %w", end.Operation, err)
	}
	zerolog.Ctx(ctx).Info().Str(keyState, string(op.State)).Dur(keyTook, d.Clock.Since(op.Started)).Msg(string(op.Kind) + " ended")
	return op, nil
}

// showEnd shows how an operation ended, and all that waited for it.
func (d *Deploy) showEnd(ctx context.Context, op operation.Operation) error {
	if err := d.show(ctx, op); err != nil {
		return err
	}
	if err := d.sayStopped(ctx, op.ID); err != nil {
		return err
	}
	if !op.Kind.Exclusive() {
		return nil
	}
	if err := d.wakeGates(ctx, op.Repository); err != nil {
		return err
	}
	return d.showWaiting(ctx, op.Repository, op.Environment)
}

// task is what the runner is told.
func (d *Deploy) task(ctx context.Context, op operation.Operation,
	seen reviewed,
) (operation.Task, error) {
	config := seen.config
	if config == nil {
		now, err := d.known(ctx, op.Repository)
		if err != nil {
			return operation.Task{}, err
		}
		config = &now
	}
	task := operation.Task{
		Version: operation.ContractVersion, Operation: op.ID, Attempt: op.Attempt, Kind: op.Kind, Repository: op.Repository,
		GitDir: d.Git.Dir(op.Repository), Tree: op.Tree, Commit: op.Head,
		WorkDir: filepath.Join(d.WorkDir, filepath.FromSlash(workKey(op))), CacheDir: d.CacheDir,
		Terraform: d.Terraform, Environment: op.Environment, Env: maps.Clone(d.Env),
		Confirmed: op.Confirmed, ConfirmedDoubts: op.ConfirmedDoubts, Agreed: op.Agreed, Doubts: seen.evidence.Doubts, Reviewed: seen.tools,
		TimeLimit: d.PlanLimit, LockTimeout: d.LockTimeout, StopGrace: d.StopGrace,
	}
	task.Stateful, task.Mask = config.Risk.Stateful, config.Mask
	if op.Kind.Exclusive() {
		environment, _ := config.Environment(op.Environment)
		task.TimeLimit, task.Binding, task.Block = d.ApplyLimit, environment.Binding, config.Risk.Block
	}
	if config.Terraform.Version != "" {
		task.Terraform.Version = config.Terraform.Version
	}
	d.lockTask(ctx, op, &task)
	for _, target := range config.Targets(op.Environment, d.application(op.Repository), op.Roots) {
		root := target.Target.Root
		if op.Lock != nil {
			if what, known := seen.targets[root]; known && len(what.expected.Changes) > 0 {
				target.Expected = &what.expected
			}
			task.Targets = append(task.Targets, target)
			continue
		}
		from := op.Base
		if op.Kind.Exclusive() {
			from = seen.evidence.Before[root]
			what := seen.targets[root]
			target.Expected, target.Data, target.Lineage, target.Serial = &what.expected, what.data, what.lineage, what.serial
			target.Approved = what.approved
		}
		target.Protected = d.protected(ctx, op.Repository, root, from)
		task.Targets = append(task.Targets, target)
	}
	if len(task.Targets) == 0 {
		return operation.Task{}, fmt.Errorf("%w: %s", errNoRoots, strings.Join(op.Roots, ", "))
	}
	return d.placed(ctx, op, config.Config, seen, task)
}

// errNoRoots says that nothing is left to run.
var errNoRoots = errors.New("none of its roots is configured any more")

// startError says that a runner was not started.
type startError struct{ err error }

func (e *startError) Error() string { return "start the runner: " + e.err.Error() }
func (e *startError) Unwrap() error { return e.err }

// plainError is the innermost message of an error, for a person: the way there is for the log.
func plainError(err error) string {
	const most = 300
	message := strings.TrimSuffix(err.Error(), ".")
	if len(message) > most {
		message = strings.ToValidUTF8(message[:most], "") + " …"
	}
	return message
}
