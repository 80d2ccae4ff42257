package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// runPlan runs one plan to its end. Plans take no hold: they run beside each other and beside applies.
func (d *Deploy) runPlan(ctx context.Context, what drive) error {
	if resumed, err := d.resumePlan(ctx, what.Operation); err != nil || resumed {
		return err
	}
	if d.Shared {
		if err := d.Git.Fetch(ctx, what.Repository); err != nil { // another replica may have made this plan
			return fmt.Errorf("fetch: %w", err)
		}
	}
	op, started, err := d.Store.Start(ctx, what.Operation)
	if err != nil {
		return fmt.Errorf("start plan %d: %w", what.Operation, err)
	}
	if !started {
		return d.show(ctx, op) // it ended while it waited, or what showed its end broke off
	}
	if err := d.begin(op.ID); err != nil {
		return fmt.Errorf("start %s: %w", op, err)
	}
	defer d.end(op.ID)
	var shown errgroup.Group
	shown.Go(func() error { return d.show(ctx, op) }) // beside the plan, which need not wait for it
	finish, err := d.execute(ctx, op, reviewed{})
	if failed := shown.Wait(); failed != nil {
		zerolog.Ctx(ctx).Warn().Err(failed).Msg("could not show that a plan runs") // its end is shown
	}
	if err != nil {
		return err
	}
	return d.finish(ctx, finish)
}

// advance runs the applies of one environment, one after another, until none waits.
func (d *Deploy) advance(ctx context.Context, what drive) error {
	if err := d.showEnded(ctx, what.Repository.ID, what.Environment); err != nil {
		return err
	}
	if free, err := d.resume(ctx, what); err != nil || !free {
		return err
	}
	for ctx.Err() == nil {
		op, taken, err := d.Store.TakeHold(ctx, what.Repository.ID, what.Environment)
		if err != nil {
			return fmt.Errorf("take the hold of %s: %w", what.Environment, err)
		}
		if !taken {
			return nil
		}
		if err := d.apply(aboutApply(ctx, op), op); err != nil {
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
	ended, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Environment: environment, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: fewNewest,
		States: []operation.State{
			operation.Unconfirmed, operation.Succeeded, operation.Failed, operation.Interrupted, operation.Cancelled, operation.Gathered,
		},
	})
	if err != nil {
		return fmt.Errorf("find what has ended: %w", err)
	}
	for _, op := range slices.Backward(ended) {
		if err := d.show(ctx, op); err != nil {
			return err
		}
	}
	return nil
}

// apply runs the apply that has the hold now. What it covers is observed anew: since it was queued,
// an earlier apply may have brought part of it, or failed.
func (d *Deploy) apply(ctx context.Context, op operation.Operation) error {
	if err := d.begin(op.ID); err != nil {
		return fmt.Errorf("start %s: %w", op, err)
	}
	defer d.end(op.ID)
	finish, err := d.prepareAndApply(ctx, op)
	if err != nil && ctx.Err() != nil {
		return err // the server stops: a runner that was started goes on, and its outcome is looked for at the next start
	}
	if err != nil && passing(err) {
		// No runner was started, so nothing was changed: the job is tried again, and puts the apply back first.
		return err
	}
	if err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("apply could not be started")
		finish = givenUp(op, err.Error())
	}
	return d.finish(context.WithoutCancel(ctx), finish)
}

func (d *Deploy) prepareAndApply(ctx context.Context, op operation.Operation) (store.Finish, error) {
	if err := d.Git.Fetch(ctx, op.Repository); err != nil { // another replica may have seen the push
		return store.Finish{}, fmt.Errorf("fetch: %w", err)
	}
	branch, err := d.defaultBranch(ctx, op.Repository)
	if err != nil {
		return store.Finish{}, err
	}
	config, err := d.configuration(ctx, op.Repository, branch)
	if err != nil {
		return store.Finish{}, err
	}
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt, Doubt: op.Doubt}
	if config.Problem != "" || config.Default {
		end.State = operation.Failed
		end.Message = "Nothing was changed, because " + repoconfig.Path + " on " + branch + " cannot be used."
		return end, nil
	}
	due, err := d.outstandingAt(ctx, op.Repository, config.Config, op.Environment, op.Head)
	if err != nil {
		return store.Finish{}, err
	}
	if len(due.Roots) == 0 {
		end.State = operation.Succeeded
		end.Message = "Nothing was left to apply."
		return end, nil
	}
	op.Roots = op.Roots[:0]
	for _, root := range due.Roots {
		op.Roots = append(op.Roots, root.Root)
	}
	if !strings.Contains(op.Doubt, due.Doubt) {
		op.Doubt = strings.TrimSpace(op.Doubt + " " + due.Doubt)
	}
	expected, err := d.expected(ctx, op)
	if err != nil {
		return store.Finish{}, err
	}
	if op.Tree, err = d.Git.Tree(ctx, op.Repository, op.Head); err != nil {
		return store.Finish{}, fmt.Errorf("find the tree of %s: %w", short(op.Head), err)
	}
	if err := d.show(ctx, op); err != nil { // its end is shown
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not show that an apply runs")
	}
	return d.execute(ctx, op, expected)
}

// reviewed is what people have seen of what an apply would do.
type reviewed struct {
	sets  map[string]operation.ChangeSet // by root
	tools []operation.Tool               // that the plans were made with
}

// expected is, per root, the union of what was reviewed on the pull requests that an apply carries:
// their newest finished plans for this environment, where those planned the head that was merged.
func (d *Deploy) expected(ctx context.Context, op operation.Operation) (reviewed, error) {
	sets := map[string][]operation.ChangeSet{}
	union := reviewed{sets: map[string]operation.ChangeSet{}}
	for _, number := range op.Pulls {
		planned, ok, err := d.reviewedPlan(ctx, op, number)
		if err != nil {
			return reviewed{}, err
		}
		if !ok {
			continue
		}
		for _, target := range planned.Result.Targets {
			sets[target.Target.Root] = append(sets[target.Target.Root], target.ChangeSet)
		}
		for _, tool := range planned.Result.Tools {
			if !slices.Contains(union.tools, tool) {
				union.tools = append(union.tools, tool)
			}
		}
	}
	for root, list := range sets {
		union.sets[root] = plan.Union(list...)
	}
	return union, nil
}

func (d *Deploy) reviewedPlan(ctx context.Context, op operation.Operation, number int) (operation.Operation, bool, error) {
	facts, ok, err := d.pullFacts(ctx, op.Repository, number)
	if err != nil || !ok {
		return operation.Operation{}, false, err
	}
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: op.Repository.ID, Environment: op.Environment, Pull: number, Newest: true, Limit: 1,
		Kinds: []operation.Kind{operation.Plan}, States: []operation.State{operation.Succeeded},
	})
	if err != nil {
		return operation.Operation{}, false, fmt.Errorf("find the reviewed plan of #%d: %w", number, err)
	}
	if len(ops) == 0 || ops[0].Result == nil || ops[0].Head != facts.Head {
		return operation.Operation{}, false, nil
	}
	return ops[0], true, nil
}

// execute gives an operation to the executor and turns its result into an end. An error means that
// the runner was not started; once it is, what it did is told by the end alone.
func (d *Deploy) execute(ctx context.Context, op operation.Operation,
	expected reviewed,
) (store.Finish, error) {
	task, err := d.task(ctx, op, expected)
	if err != nil {
		return store.Finish{}, err
	}
	if err := d.haveTree(ctx, op); err != nil {
		return store.Finish{}, err
	}
	if err := d.Git.Prefetch(ctx, op.Repository, op.Tree); err != nil {
		return store.Finish{}, fmt.Errorf("fetch the files of %s: %w", short(op.Head), err)
	}
	if err := d.Store.Launch(ctx, op.ID, op.Attempt, d.Host); err != nil {
		return store.Finish{}, fmt.Errorf("record the start: %w", err)
	}
	result, err := d.watch(ctx, task)
	if starting := (*startError)(nil); errors.As(err, &starting) {
		return store.Finish{}, err
	}
	if err != nil && ctx.Err() != nil {
		return store.Finish{}, err
	}
	if err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("runner gave no result")
		return lost(op), nil
	}
	return ended(op, result), nil
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
		return end
	}
	end.State = operation.Failed
	end.Message = "Its runner ended without a result. Nothing was changed."
	return end
}

// ended turns a runner's result into the end of its operation.
func ended(op operation.Operation, result operation.Result) store.Finish {
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt, Result: &result, Doubt: op.Doubt}
	outcomes := map[operation.Outcome]int{}
	for _, target := range result.Targets {
		outcomes[target.Outcome]++
		if target.Outcome == operation.Applied || (op.Kind == operation.Apply && target.Outcome == operation.Unchanged) {
			end.Applied = append(end.Applied, store.TargetState{
				Repository: op.Repository.ID, Target: target.Target, Applied: op.Head,
				Lineage: target.Lineage, Serial: target.Serial, Operation: op.ID, At: result.Ended,
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
	case outcomes[operation.TargetFailed] > 0:
		end.State, end.Message = operation.Failed, "Terraform reported an error."
	case outcomes[operation.Locked] > 0:
		end.State, end.Message = operation.Failed, "Somebody else holds the state lock."
	case outcomes[operation.Different] > 0 || result.Question != op.Confirmed && result.Question != "":
		end.State, end.Question = operation.Unconfirmed, result.Question
		end.Message = "The plan has changes that nobody reviewed."
		if outcomes[operation.Different] == 0 {
			end.Message = "A yes is needed first."
		}
	default:
		end.State = operation.Succeeded
	}
	return end
}

// finish records how an operation ended, gives its hold back, and shows it and all that waited for it.
func (d *Deploy) finish(ctx context.Context, end store.Finish) error {
	op, err := d.Store.Finish(ctx, end)
	if errors.Is(err, store.ErrLost) || errors.Is(err, store.ErrTransition) {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("a late result was not taken")
		op, err = d.Store.Operation(ctx, end.Operation)
	}
	if err != nil {
		return fmt.Errorf("finish operation %d: %w", end.Operation, err)
	}
	zerolog.Ctx(ctx).Info().Str(keyState, string(op.State)).Dur(keyTook, d.Clock.Since(op.Started)).Msg(string(op.Kind) + " ended")
	if err := d.show(ctx, op); err != nil {
		return err
	}
	if !op.Kind.Exclusive() {
		return nil
	}
	return d.showWaiting(ctx, op.Repository, op.Environment)
}

// task is what the runner is told.
func (d *Deploy) task(ctx context.Context, op operation.Operation,
	expected reviewed,
) (operation.Task, error) {
	branch, err := d.defaultBranch(ctx, op.Repository)
	if err != nil {
		return operation.Task{}, err
	}
	config, err := d.configuration(ctx, op.Repository, branch)
	if err != nil {
		return operation.Task{}, err
	}
	task := operation.Task{
		Version: operation.ContractVersion, Operation: op.ID, Attempt: op.Attempt, Kind: op.Kind, Repository: op.Repository,
		GitDir: d.Git.Dir(op.Repository), Tree: op.Tree, Commit: op.Head,
		WorkDir: filepath.Join(d.WorkDir, filepath.FromSlash(workKey(op))), CacheDir: d.CacheDir,
		Terraform: d.Terraform, Environment: op.Environment, Env: maps.Clone(d.Env),
		Confirmed: op.Confirmed, Doubt: op.Doubt, Reviewed: expected.tools,
		TimeLimit: d.PlanLimit, LockTimeout: d.LockTimeout, StopGrace: d.StopGrace,
	}
	if op.Kind.Exclusive() {
		task.TimeLimit = d.ApplyLimit
	}
	if config.Terraform.Version != "" {
		task.Terraform.Version = config.Terraform.Version
	}
	application := config.Application
	if application == "" {
		application = op.Repository.Name
	}
	for _, root := range config.Roots {
		if !slices.Contains(op.Roots, root.Dir) {
			continue
		}
		target := operation.TargetTask{
			Target: operation.Target{Root: root.Dir, Environment: op.Environment}, Dir: root.Dir,
			VarFiles: root.VarFilesFor(op.Environment), Backend: root.BackendFor(application, op.Environment),
			Vars: map[string]string{"application_name": application, "environment_name": op.Environment},
		}
		if op.Kind.Exclusive() {
			set := expected.sets[root.Dir]
			target.Expected = &set
		}
		task.Targets = append(task.Targets, target)
	}
	if len(task.Targets) == 0 {
		return operation.Task{}, fmt.Errorf("%w: %s", errNoRoots, strings.Join(op.Roots, ", "))
	}
	return task, nil
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
