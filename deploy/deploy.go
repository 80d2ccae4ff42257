// Package deploy is the loop for operations: it observes the truth (rows, git, GitHub), asks the
// pure rooms what follows, acts, and records. The queue calls it; it is the only room that both
// knows and does. It never takes a webhook's word for anything that it can read itself.
package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// Options are the parts that deploy works with and the limits it keeps.
type Options struct {
	Store    *store.Store
	Git      *git.Mirrors
	Hub      *hub.Hub
	Executor executor.Executor
	Clock    clockwork.Clock
	Log      zerolog.Logger

	WebURL    string // of GitHub, for links: https://github.com
	WorkDir   string // work directories of operations are made below it
	CacheDir  string // Terraform's plugin cache; empty: none
	Terraform operation.TerraformTask
	Env       map[string]string // allow-listed variables for Terraform

	PlanLimit   time.Duration // a plan that takes longer is stopped
	ApplyLimit  time.Duration // an apply that takes longer is stopped
	LockTimeout time.Duration // how long an apply waits for Terraform's state lock
	StopGrace   time.Duration // between SIGINT and SIGKILL
}

// Deploy does the jobs of package deploy's kinds.
type Deploy struct {
	Options

	mu      sync.Mutex
	running map[int64]executor.Run // operations whose runner this process watches
}

// New makes a Deploy. Register gives its jobs to a queue.
func New(o Options) *Deploy {
	return &Deploy{Options: o, running: map[int64]executor.Run{}}
}

// Register tells the queue which function does which kind of job.
func (d *Deploy) Register(q *queue.Queue) {
	handle(q, KindPull, d.lookAtPull)
	handle(q, KindPush, d.branchPushed)
	handle(q, KindComment, d.commentMade)
	handle(q, KindMergeGroup, d.groupQueued)
	handle(q, KindInstallation, d.installed)
	handle(q, KindPlan, d.runPlan)
	handle(q, KindEnvironment, d.advance)
}

func handle[T any](q *queue.Queue, kind string, do func(context.Context, T) error) {
	q.Handle(kind, func(ctx context.Context, job queue.Job, _ queue.Claim) error {
		var payload T
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read %s job: %w", kind, err)
		}
		return do(ctx, payload)
	})
}

// Recover takes up what an earlier process left behind: plans start anew, the outcome of running
// applies is looked for, and waiting operations get their job back.
func (d *Deploy) Recover(ctx context.Context) error {
	if _, err := d.Store.RequeuePlans(ctx, "the server stopped while it ran"); err != nil {
		return fmt.Errorf("queue plans again: %w", err)
	}
	open, err := d.Store.Operations(ctx, store.Filter{States: []operation.State{operation.Queued, operation.Running}})
	if err != nil {
		return fmt.Errorf("find open operations: %w", err)
	}
	for _, op := range open {
		if err := d.Store.Enqueue(ctx, driveJob(op)); err != nil {
			return fmt.Errorf("queue %s again: %w", op, err)
		}
	}
	return nil
}

// Dead tells that a job was given up after its attempts; the queue calls it.
func (d *Deploy) Dead(_ context.Context, job queue.Job, reason string) {
	d.Log.Error().Str("kind", job.Kind).Str("key", job.Key).Str("reason", reason).Msg("a job was given up")
}

// stop asks the runner of an operation to stop gently. It reports whether this process watches it.
func (d *Deploy) stop(id int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	run, ok := d.running[id]
	if ok {
		run.Stop()
	}
	return ok
}

// watch runs a task to its end.
func (d *Deploy) watch(ctx context.Context, task operation.Task) (operation.Result, error) {
	run, err := d.Executor.Start(ctx, task)
	if err != nil {
		return operation.Result{}, &startError{err}
	}
	return d.wait(ctx, task.Operation, run)
}

// wait waits for a runner's result while it can be stopped by its operation's number.
func (d *Deploy) wait(ctx context.Context, id int64, run executor.Run) (operation.Result, error) {
	d.mu.Lock()
	d.running[id] = run
	d.mu.Unlock()
	defer func() {
		d.mu.Lock()
		delete(d.running, id)
		d.mu.Unlock()
	}()
	result, err := run.Wait(ctx)
	if err != nil {
		return operation.Result{}, fmt.Errorf("wait for the runner: %w", err)
	}
	return result, nil
}

// drive is the payload of the jobs that carry operations on.
type drive struct {
	Repository  operation.Repository `json:"repository"`
	Operation   int64                `json:"operation,omitempty"`   // a plan
	Environment string               `json:"environment,omitempty"` // whose next apply runs
}

// driveJob makes the job that carries an operation on. Plans of one pull request share a work
// directory, and applies of one environment its hold: so they share a key.
func driveJob(op operation.Operation) queue.Job {
	if op.Kind.Exclusive() {
		j := job(queue.Long, KindEnvironment, fmt.Sprintf("%d:%s", op.Repository.ID, op.Environment),
			drive{Repository: op.Repository, Environment: op.Environment})
		j.Once = true
		return j
	}
	return job(queue.Long, KindPlan, "plan "+workKey(op), drive{Repository: op.Repository, Operation: op.ID})
}

// workKey names what operations share a work directory.
func workKey(op operation.Operation) string {
	switch {
	case op.Kind.Exclusive():
		return fmt.Sprintf("%d/apply-%d-%d", op.Repository.ID, op.ID, op.Attempt)
	case op.Pull == 0:
		return fmt.Sprintf("%d/group-%d", op.Repository.ID, op.ID)
	default:
		return fmt.Sprintf("%d/pull-%d", op.Repository.ID, op.Pull)
	}
}
