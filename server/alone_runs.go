package server

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
)

// inJob is the executor of a job that works alone: the runner is in this process, and what it does is in the job's log.
type inJob struct {
	equip func(ctx context.Context, task *operation.Task) error // gives a task what is of this machine
	out   io.Writer
	clock clockwork.Clock

	mu      sync.Mutex
	running map[*inJobRun]bool
	stopped bool
	all     sync.WaitGroup
}

type inJobRun struct {
	cancel context.CancelCauseFunc
	ended  chan struct{}
	result operation.Result
}

func newInJob(out io.Writer, clock clockwork.Clock, equip func(ctx context.Context, task *operation.Task) error) *inJob {
	return &inJob{out: out, clock: clock, equip: equip, running: map[*inJobRun]bool{}}
}

// Start begins a task, which outlives ctx. One that is stopped before it was begun is no failure to begin it: that would be tried again.
func (e *inJob) Start(ctx context.Context, task operation.Task) (executor.Run, error) {
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	run, started := &inJobRun{cancel: cancel, ended: make(chan struct{})}, e.clock.Now()
	e.mu.Lock()
	if e.stopped {
		cancel(runner.ErrCancelled)
	}
	e.running[run] = true
	e.mu.Unlock()
	err := e.equip(ctx, &task)
	if err != nil && ctx.Err() == nil {
		e.end(run)
		return nil, err
	}
	e.all.Go(func() {
		defer e.end(run)
		if err != nil {
			run.result = job.StoppedBefore(task, started, e.clock.Now())
			return
		}
		run.result = runner.Run(ctx, task, e.out)
	})
	return run, nil
}

// Resume finds nothing: a job takes nothing over from an earlier one.
func (e *inJob) Resume(context.Context, int64, int, string) (executor.Run, error) {
	return nil, executor.ErrUnknown
}

// Kill has nothing to end: what runs ends with the process.
func (e *inJob) Kill(context.Context, int64, int, string) error { return nil }

// end forgets a run.
func (e *inJob) end(run *inJobRun) {
	close(run.ended)
	run.cancel(nil)
	e.mu.Lock()
	defer e.mu.Unlock()
	delete(e.running, run)
}

// stop asks all that runs to end gently, and whatever is started later.
func (e *inJob) stop() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.stopped = true
	for run := range e.running {
		run.Stop()
	}
}

// Wait gives the result once there is one.
func (r *inJobRun) Wait(ctx context.Context) (operation.Result, error) {
	select {
	case <-r.ended:
		return r.result, nil
	case <-ctx.Done():
		return operation.Result{}, errors.Join(errors.New("wait for the result"), context.Cause(ctx))
	}
}

// Stop asks the task to end gently.
func (r *inJobRun) Stop() { r.cancel(runner.ErrCancelled) }
