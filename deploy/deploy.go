// Package deploy is the loop for operations: it observes the truth (rows, git, GitHub), asks the
// pure rooms what follows, acts, and records. The queue calls it; it is the only room that both
// knows and does. It never takes a webhook's word for anything that it can read itself.
package deploy

import (
	"context"
	"encoding/json"
	"errors"
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
	Executor executor.Executor // on this host; nil where the settings allow none
	Actions  executor.Executor // in workflows of the repositories; nil where the settings do not allow that
	Standard string            // the executor of repositories that name none: repoconfig.ExecutorLocal, also where empty, or ExecutorActions
	Clock    clockwork.Clock
	Log      zerolog.Logger

	Host     string // identity of this replica: where its runners leave their results
	HostName string // for people
	Shared   bool   // other replicas use the database too, each with mirrors of its own

	WebURL    string // of GitHub, for links: https://github.com
	PublicURL string // of this server, where jobs of workflows can reach it; empty: they cannot
	// Identities verifies who such a job is; nil where none can reach the server.
	Identities Identities
	WorkDir    string // work directories of operations are made below it
	CacheDir   string // Terraform's plugin cache; empty: none
	Terraform  operation.TerraformTask
	Env        map[string]string // allow-listed variables for Terraform

	PlanLimit   time.Duration // a plan that takes longer is stopped
	ApplyLimit  time.Duration // an apply that takes longer is stopped
	LockTimeout time.Duration // how long an apply waits for Terraform's state lock
	StopGrace   time.Duration // between SIGINT and SIGKILL
	// Replans is how many pull requests are planned again after one apply, at most.
	Replans int
	// Overdue is what a runner may take beyond its limits before it is certain that it has ended; the
	// executor kills it earlier than that where it can. 0: two minutes.
	Overdue time.Duration

	Dispatched Dispatched // nil: nobody wants to know

	Alone *Alone // where it works for one event in a job of a workflow, without an App; nil elsewhere
}

// Deploy does the jobs of package deploy's kinds.
type Deploy struct {
	Options

	mu      sync.Mutex
	running map[int64]*watched // operations that this process sees to

	environments environments // that GitHub had a moment ago
	stopwatches  stopwatches
	incidents    sync.Mutex // one entry at a time
	unstopped    unstopped
}

// New makes a Deploy. Register gives its jobs to a queue.
func New(o Options) *Deploy {
	if o.Overdue == 0 {
		o.Overdue = standardOverdue
	}
	return &Deploy{Options: o, running: map[int64]*watched{}}
}

// Register tells the queue which function does which kind of job.
func (d *Deploy) Register(q *queue.Queue) {
	for kind, handler := range d.handlers() {
		q.Handle(kind, d.timed(handler))
	}
}

func handle[T any](kind string, do func(context.Context, T) error) queue.Handler {
	return func(ctx context.Context, job queue.Job, _ queue.Claim) error {
		var payload T
		if err := json.Unmarshal(job.Payload, &payload); err != nil {
			return fmt.Errorf("read %s job: %w", kind, err)
		}
		return do(because(aboutJob(ctx, job), job.Cause), payload)
	}
}

// Recover takes up what an earlier process left behind: plans start anew, the outcome of running
// applies is looked for, and waiting operations get their job back.
func (d *Deploy) Recover(ctx context.Context) error {
	open, err := d.Store.Operations(ctx, store.Filter{States: []operation.State{operation.Queued, operation.Running}})
	if err != nil {
		return fmt.Errorf("find open operations: %w", err)
	}
	for _, op := range open {
		if err := d.enqueue(ctx, driveJob(op)); err != nil {
			return fmt.Errorf("queue %s again: %w", op, err)
		}
	}
	return nil
}

func (d *Deploy) handlers() map[string]queue.Handler {
	return map[string]queue.Handler{
		KindPull:         handle(KindPull, d.lookAtPull),
		KindPush:         handle(KindPush, d.branchPushed),
		KindComment:      handle(KindComment, d.commentMade),
		KindMergeGroup:   handle(KindMergeGroup, d.groupQueued),
		KindInstallation: handle(KindInstallation, d.installed),
		KindPlan:         handle(KindPlan, d.runPlan),
		KindEnvironment:  handle(KindEnvironment, d.advance),
		KindSweep:        handle(KindSweep, d.sweep),
		KindRepository:   handle(KindRepository, d.repositorySeen),
		KindRun:          handle(KindRun, d.runSeen),
		KindOutdated:     handle(KindOutdated, d.lookForOutdated),
		KindPages:        handle(KindPages, d.nextPage),
		KindGate:         handle(KindGate, d.gateAsked),
		KindGates:        handle(KindGates, d.lookForGates),
	}
}

// enqueue stores jobs that follow from the work of a context, and keeps the delivery that led to it.
func (d *Deploy) enqueue(ctx context.Context, jobs ...queue.Job) error {
	for i := range jobs {
		jobs[i].Cause = causeOf(ctx)
	}
	return d.Store.Enqueue(ctx, jobs...) //nolint:wrapcheck // each caller says what it queued
}

// watched is an operation that this process sees to, from before its runner is started until its end is recorded.
type watched struct {
	run  executor.Run // nil until it is started
	stop bool         // somebody asked for it
}

// begin makes this call the only one in the process that sees to an operation, until end.
func (d *Deploy) begin(id int64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if _, ok := d.running[id]; ok {
		return errWatched
	}
	d.running[id] = &watched{}
	return nil
}

func (d *Deploy) end(id int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.running, id)
}

// errWatched says that this process sees to the operation already.
var errWatched = errors.New("it is seen to already")

// stop asks the runner of an operation to stop gently. It reports whether this process sees to it.
func (d *Deploy) stop(id int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.running[id]
	if ok && !w.stop {
		w.stop = true
		if w.run != nil {
			w.run.Stop()
		}
	}
	return ok
}

// watch runs a task to its end. The caller has begun its operation.
func (d *Deploy) watch(ctx context.Context, task operation.Task) (operation.Result, error) {
	started := operation.Operation{Host: d.Host}
	if task.Job != nil {
		started.Host = operation.HostActions
	}
	run, err := d.executorOf(started).Start(ctx, task)
	if err != nil {
		return operation.Result{}, &startError{err}
	}
	d.noteDispatch(ctx, task)
	return d.wait(ctx, task.Operation, run)
}

// wait waits for a runner's result while it can be stopped by its operation's number.
func (d *Deploy) wait(ctx context.Context, id int64, run executor.Run) (operation.Result, error) {
	d.mu.Lock()
	if w, ok := d.running[id]; ok {
		w.run = run
		if w.stop {
			run.Stop()
		}
	}
	d.mu.Unlock()
	d.tell(id, run)
	result, err := run.Wait(ctx)
	if err != nil {
		return operation.Result{}, fmt.Errorf("wait for the runner: %w", err)
	}
	return result, nil
}

// drive is the payload of the jobs that carry operations on.
type drive struct {
	Repository  operation.Repository `json:"repository"`
	Operation   int64                `json:"operation,omitempty"` // a plan; 0: the next apply of the environment
	Environment string               `json:"environment,omitempty"`
	Number      int                  `json:"number,omitempty"` // pull request of a plan, for the log
}

// driveJob makes the job that carries an operation on. Plans of one pull request share a work
// directory, and applies of one environment its hold: so they share a key.
func driveJob(op operation.Operation) queue.Job {
	if op.Kind.Exclusive() {
		j := job(queue.Long, KindEnvironment, op.Repository.ID, fmt.Sprintf("%d:%s", op.Repository.ID, op.Environment),
			drive{Repository: op.Repository, Environment: op.Environment})
		j.Once = true
		return j
	}
	class := queue.Long
	if op.Priority >= priorityBots {
		class = queue.Bots
	}
	return job(class, KindPlan, op.Repository.ID, "plan "+workKey(op),
		drive{Repository: op.Repository, Operation: op.ID, Environment: op.Environment, Number: op.Pull})
}

// workKey names what operations share a work directory.
func workKey(op operation.Operation) string {
	switch {
	case op.Kind == operation.ExplainLock, op.Kind == operation.BreakLease:
		return fmt.Sprintf("%d/lock-%d-%d", op.Repository.ID, op.ID, op.Attempt)
	case op.Kind.Exclusive():
		return fmt.Sprintf("%d/apply-%d-%d", op.Repository.ID, op.ID, op.Attempt)
	case op.Pull == 0:
		return fmt.Sprintf("%d/group-%d", op.Repository.ID, op.ID)
	default:
		return fmt.Sprintf("%d/pull-%d", op.Repository.ID, op.Pull)
	}
}
