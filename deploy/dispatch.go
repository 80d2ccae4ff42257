package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// What runs in workflows of the repository is seen to by any replica: GitHub knows how a run ends.

// maxPast bounds how many plans are read to find out how long roots took.
const maxPast = 3

// RunSeen says that something happened to a workflow run.
type RunSeen struct {
	Repository operation.Repository `json:"repository"`
	Run        int64                `json:"run"`
	Name       string               `json:"name,omitempty"` // where it is one that operation.RunName makes
}

// Job makes the queue's job of what was seen.
func (r RunSeen) Job() queue.Job {
	return job(queue.Quick, KindRun, r.Repository.ID, fmt.Sprintf("%d run %d", r.Repository.ID, r.Run), r)
}

// waker is an executor that can be told that something happened to one of its runs.
type waker interface{ Wake(run int64) }

// runSeen has whoever waits for a run look at it.
func (d *Deploy) runSeen(ctx context.Context, seen RunSeen) error {
	ours, err := d.Store.HintRun(ctx, seen.Repository.ID, seen.Run)
	if err != nil {
		return fmt.Errorf("note that something happened to a run: %w", err)
	}
	if !ours {
		return d.strayRun(ctx, seen)
	}
	if waiting, ok := d.Actions.(waker); ok {
		waiting.Wake(seen.Run)
	}
	return nil
}

// here reports whether this replica can tell what became of an attempt.
func (d *Deploy) here(op operation.Operation) bool {
	return op.Host == d.Host || op.Host == operation.HostActions
}

// executorOf is the executor that an attempt was started with.
func (d *Deploy) executorOf(op operation.Operation) executor.Executor {
	chosen, name := d.Executor, repoconfig.ExecutorLocal
	if op.Host == operation.HostActions {
		chosen, name = d.Actions, repoconfig.ExecutorActions
	}
	if chosen == nil {
		return notAllowed(name)
	}
	return chosen
}

// notAllowed stands for an executor that the settings do not allow (any more).
type notAllowed string

func (n notAllowed) Start(context.Context, operation.Task) (executor.Run, error) {
	return nil, n.refusal()
}

func (n notAllowed) Resume(context.Context, int64, int, string) (executor.Run, error) {
	return nil, n.refusal()
}
func (n notAllowed) Kill(context.Context, int64, int, string) error { return n.refusal() }

func (n notAllowed) refusal() error {
	return &hub.NeedsPerson{
		What:   fmt.Sprintf("This Switchyard server does not allow the executor `%s`.", string(n)),
		Remedy: "Name another one with `executor` in " + repoconfig.Path + ", or have whoever runs the server allow it (setting `executors`).",
	}
}

// chosen is the executor that a repository's configuration asks for, else the first that the settings allow.
func (d *Deploy) chosen(config repoconfig.Config) (string, error) {
	if d.Alone != nil {
		return repoconfig.ExecutorLocal, nil // in this very job
	}
	name := config.Executor
	if name == "" {
		name = d.Standard
	}
	switch {
	case name == repoconfig.ExecutorActions && d.Actions != nil:
		return name, nil
	case name != repoconfig.ExecutorActions && d.Executor != nil:
		return repoconfig.ExecutorLocal, nil
	default:
		return "", notAllowed(name).refusal()
	}
}

// placed says where a task runs: for a workflow run it gets what its runner has to prove, and is made small enough for its inputs.
func (d *Deploy) placed(ctx context.Context, op operation.Operation, config repoconfig.Config, seen reviewed,
	task operation.Task,
) (operation.Task, error) {
	word, fork, err := d.lentBy(ctx, op)
	if err != nil {
		return task, err
	}
	name, err := d.chosen(config)
	if err != nil || name == repoconfig.ExecutorLocal {
		return task, err
	}
	task.Terraform = operation.TerraformTask{Version: config.Terraform.Version} // the server's own is of no use there
	environment, _ := config.Environment(op.Environment)
	placed := operation.Job{
		Workflow: config.Actions.Workflow, Ref: op.Branch,
		Branch: op.Branch, Base: op.Base, Pull: op.Pull, Shards: [][]string{op.Roots}, Server: d.PublicURL,
	}
	if placed.Environment, err = d.protection(ctx, op); err != nil {
		return task, err
	}
	switch {
	case op.Kind == operation.BreakLease:
		placed.Words = []operation.Word{{Comment: op.Lock.Comment, Login: op.Actor}, {Comment: op.Lock.Said, Login: op.Lock.By}}
	case op.Kind == operation.ExplainLock:
		placed.Ref = config.Actions.Plans
	case op.Kind.Exclusive():
		placed.Before, placed.Reviews = seen.evidence.Before, seen.evidence.Reviews
		if placed.Words, err = d.words(ctx, op, seen.evidence); err != nil {
			return task, err
		}
	default:
		placed.Ref = config.Actions.Plans
		if fork {
			placed.Fork, placed.Words = true, []operation.Word{word}
		}
		if placed.Shards, err = d.shards(ctx, op, config.Places(environment, op.Roots)); err != nil {
			return task, err
		}
	}
	for _, roots := range placed.Shards {
		placed.Machines = append(placed.Machines, config.Labels(environment, roots))
	}
	task.Job = &placed
	task, whole, err := executor.Fit(task)
	if err != nil {
		return task, &hub.NeedsPerson{
			What:   fmt.Sprintf("%s has too many roots for the inputs of one workflow run: %s.", op, err),
			Remedy: "Bring them in smaller pull requests.",
		}
	}
	if len(whole) > 0 {
		zerolog.Ctx(ctx).Info().Int("targets", len(whole)).Msg("reviewed changes are too many for the inputs of a run: compared as a whole")
	}
	return task, nil
}

// protection is the GitHub Environment that the job of an operation names: an apply's own, which has to exist, and a plan's where
// it exists. GitHub makes one that a workflow names and that is not there, without any protection.
// https://docs.github.com/en/actions/how-tos/deploy/configure-and-manage-deployments/manage-environments
func (d *Deploy) protection(ctx context.Context, op operation.Operation) (string, error) {
	name := op.Environment
	if !op.Kind.Exclusive() {
		name += operation.PlanEnvironment
	}
	has := d.hasEnvironment
	if op.Kind.Exclusive() { // one that somebody has just deleted would be made anew, and every branch could use its identity
		has = d.Hub.HasEnvironment
	}
	there, err := has(ctx, op.Repository, name)
	switch {
	case err != nil:
		return "", fmt.Errorf("look for the GitHub Environment %s: %w", name, err)
	case there:
		return name, nil
	case op.Kind.Exclusive():
		return "", &hub.NeedsPerson{
			What: fmt.Sprintf("%s has no GitHub Environment `%s`, and a workflow that named it would make it without any protection.",
				op.Repository.FullName(), name),
			Remedy: fmt.Sprintf("Make it at %s/%s/settings/environments, let only the branch `%s` deploy to it, then comment `%s`.",
				d.WebURL, op.Repository.FullName(), op.Branch, op.Kind.Again(op.Environment)),
		}
	default:
		return "", nil
	}
}

// environments remembers which GitHub Environments of plans were there a moment ago, so that a comment need not wait for that answer.
// That one is not there is never remembered: a person makes it and asks again.
type environments struct {
	mu   sync.Mutex
	seen map[string]time.Time
}

const (
	environmentFor  = 10 * time.Minute
	maxEnvironments = 10_000
)

func (d *Deploy) hasEnvironment(ctx context.Context, repo operation.Repository, name string) (bool, error) {
	key, now := fmt.Sprintf("%d/%s", repo.ID, name), d.Clock.Now()
	d.environments.mu.Lock()
	at, known := d.environments.seen[key]
	d.environments.mu.Unlock()
	if known && now.Sub(at) < environmentFor {
		return true, nil
	}
	there, err := d.Hub.HasEnvironment(ctx, repo, name)
	d.environments.mu.Lock()
	defer d.environments.mu.Unlock()
	if err != nil || !there {
		delete(d.environments.seen, key)
		return false, err //nolint:wrapcheck // the caller says what was looked for
	}
	if d.environments.seen == nil || len(d.environments.seen) >= maxEnvironments {
		d.environments.seen = map[string]time.Time{}
	}
	d.environments.seen[key] = now
	return true, nil
}

// words are the comments in which people said yes to an apply.
func (d *Deploy) words(ctx context.Context, op operation.Operation, evidence operation.Evidence) ([]operation.Word, error) {
	heads := []string{op.Head}
	for _, review := range evidence.Reviews {
		heads = append(heads, review.Head)
	}
	words, err := d.Store.Words(ctx, op, heads)
	return words, wrap("find who said yes", err)
}

// shards spreads the roots of a plan over jobs, by how long they took before, each with others of its region only.
func (d *Deploy) shards(ctx context.Context, op operation.Operation, region map[string]string) ([][]string, error) {
	if len(op.Roots) < 2 {
		return executor.Shards(op.Roots, nil, region), nil
	}
	plans, err := d.Store.Operations(ctx, store.Filter{
		Repository: op.Repository.ID, Environment: op.Environment, Newest: true, Limit: maxPast,
		Kinds: []operation.Kind{operation.Plan}, States: []operation.State{operation.Succeeded},
	})
	if err != nil {
		return nil, fmt.Errorf("find how long roots took: %w", err)
	}
	past := map[string]time.Duration{}
	for _, earlier := range plans {
		if earlier.Result == nil {
			continue
		}
		for _, target := range earlier.Result.Targets {
			if _, known := past[target.Target.Root]; !known {
				past[target.Target.Root] = target.Timings.Init + target.Timings.Plan + target.Timings.Show
			}
		}
	}
	return executor.Shards(op.Roots, past, region), nil
}

// unsuccessful is the end of an operation whose runner left no result, in the words of an executor that has some.
func (d *Deploy) unsuccessful(op operation.Operation, err error) store.Finish {
	end := lost(op)
	interrupted := (*executor.InterruptedError)(nil)
	if !errors.As(err, &interrupted) || !interrupted.Words {
		return end
	}
	end.Message = interrupted.Reason
	switch {
	case interrupted.Untouched && interrupted.Cancelled:
		end.State, end.Touched = operation.Cancelled, nil
	case interrupted.Untouched:
		end.State, end.Touched = operation.Failed, nil
	case interrupted.Cancelled && !op.Kind.Exclusive():
		end.State = operation.Cancelled
	}
	if interrupted.Untouched && op.Kind.Exclusive() {
		end.Message += " Nothing was changed."
	}
	return end
}

// annotated adds to the end of an operation what only its dispatch tells: with a question about changes, of which targets the reviewed
// ones did not fit into the inputs of the run; with a plan, that its branch has another workflow file than the default branch.
func (d *Deploy) annotated(ctx context.Context, op operation.Operation, end store.Finish) store.Finish {
	end = d.metLock(ctx, op, end)
	if op.Host != operation.HostActions {
		return end
	}
	if op.Kind == operation.Plan && end.Result != nil && len(end.Result.Targets) > 0 {
		if note := d.otherWorkflow(ctx, op); note != "" {
			end.Result.Targets[0].Notes = append(end.Result.Targets[0].Notes, note)
		}
	}
	if end.State != operation.Unconfirmed {
		return end
	}
	run, err := d.Store.Run(ctx, op.ID, op.Attempt, op.Launch)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not look at what was dispatched")
		return end
	}
	var roots []string
	for _, target := range run.Task.Targets {
		if target.Expected != nil {
			roots = append(roots, target.Target.Root)
		}
	}
	if len(roots) > 0 {
		end.Message += " The reviewed changes of " + strings.Join(roots, ", ") + " are too many for the inputs of a workflow run, " +
			"so its plan was compared with them as a whole, and is another one: every change is asked about."
	}
	return end
}

// otherWorkflow says that plans run another workflow file than the default branch has; empty where they are the same, or where that
// cannot be told.
func (d *Deploy) otherWorkflow(ctx context.Context, op operation.Operation) string {
	run, err := d.Store.Run(ctx, op.ID, op.Attempt, op.Launch)
	if err != nil || run.Head == "" {
		return ""
	}
	config, err := d.known(ctx, op.Repository)
	if err != nil || config.Commit == "" {
		return ""
	}
	path := ".github/workflows/" + run.Task.Job.Workflow
	read := func(commit string) (string, bool) {
		if there, err := d.Git.Has(ctx, op.Repository, commit); err != nil || !there {
			return "", false
		}
		data, ok, err := d.Git.ReadFile(ctx, op.Repository, commit, path)
		return string(data), ok && err == nil
	}
	used, usedKnown := read(run.Head)
	merged, mergedKnown := read(config.Commit)
	if !usedKnown || !mergedKnown || used == merged {
		return ""
	}
	return "Plans run `" + path + "` as it is on the branch `" + run.Task.Job.Ref + "`, which differs from the default branch's."
}

// runView is the workflow run of an operation, where it has one.
func (d *Deploy) runView(ctx context.Context, op operation.Operation) (render.RunView, error) {
	switch {
	case op.Host != operation.HostActions:
		return render.RunView{}, nil
	case d.Alone != nil:
		return render.RunView{URL: d.Alone.RunURL}, nil
	}
	run, err := d.Store.Run(ctx, op.ID, op.Attempt, op.Launch)
	if errors.Is(err, store.ErrNotFound) {
		return render.RunView{}, nil // it was refused
	}
	return render.RunView{ID: run.Run, URL: run.URL, Where: run.Said}, wrap("find its workflow run", err)
}

// tell has what a run says about itself shown while somebody waits for it.
func (d *Deploy) tell(id int64, run executor.Run) {
	teller, ok := run.(executor.Teller)
	if !ok {
		return
	}
	teller.Tell(func(ctx context.Context) {
		op, err := d.Store.Operation(ctx, id)
		if err == nil && op.State == operation.Running {
			if op.Kind.Exclusive() {
				err = d.showHeld(ctx, op)
			} else {
				err = d.show(ctx, op)
			}
		}
		if err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("could not show what a workflow run does")
		}
	})
}
