package server

import (
	"context"
	"errors"
	"io"
	"sync"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
)

// inJob is the executor of a job that works alone: the runner is in this process, and what it does is in the job's log.
type inJob struct {
	equip func(ctx context.Context, task *operation.Task) error // gives a task what is of this machine
	out   io.Writer

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

func newInJob(out io.Writer, equip func(ctx context.Context, task *operation.Task) error) *inJob {
	return &inJob{out: out, equip: equip, running: map[*inJobRun]bool{}}
}

// Start begins a task, which outlives ctx.
func (e *inJob) Start(ctx context.Context, task operation.Task) (executor.Run, error) {
	if err := e.equip(ctx, &task); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	run := &inJobRun{cancel: cancel, ended: make(chan struct{})}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.stopped {
		cancel(runner.ErrCancelled)
	}
	e.running[run] = true
	e.all.Go(func() {
		run.result = runner.Run(ctx, task, e.out)
		close(run.ended)
		cancel(nil)
		e.mu.Lock()
		defer e.mu.Unlock()
		delete(e.running, run)
	})
	return run, nil
}

// Resume finds nothing: a job takes nothing over from an earlier one.
func (e *inJob) Resume(context.Context, int64, int, string) (executor.Run, error) {
	return nil, executor.ErrUnknown
}

// Kill has nothing to end: what runs ends with the process.
func (e *inJob) Kill(context.Context, int64, int, string) error { return nil }

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
