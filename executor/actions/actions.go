// Package actions runs operations in workflows of the user's repository: it dispatches a run for each attempt, watches it, and
// takes the result that the run has left. deploy calls it. It holds no credentials but the App's, believes nothing of a run that
// it did not dispatch, and never dispatches a second one for an attempt without having looked for the first.
package actions

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// GitHub is what this package needs of room hub.
type GitHub interface {
	Dispatch(ctx context.Context, repo operation.Repository, d hub.Dispatch) (hub.Dispatched, error)
	RunsNamed(ctx context.Context, repo operation.Repository, workflow, name string, since time.Time) ([]hub.Run, error)
	Run(ctx context.Context, repo operation.Repository, id int64) (hub.Run, error)
	FirstJobs(ctx context.Context, repo operation.Repository, run int64) ([]hub.WorkflowJob, error)
	Artifacts(ctx context.Context, repo operation.Repository, run int64) ([]hub.Artifact, error)
	DownloadArtifact(ctx context.Context, repo operation.Repository, id, limit int64) ([]byte, error)
	CancelRun(ctx context.Context, repo operation.Repository, id int64, force bool) error
	BotLogin(ctx context.Context) (string, error)
}

// Rows are where runs are kept, so that any server may go on with them.
type Rows interface {
	// AskForRun records that a run is about to be asked for; executor.ErrStarted when that was recorded before, and when the attempt is
	// not, or not so, under way any more.
	AskForRun(ctx context.Context, run operation.WorkflowRun) (operation.WorkflowRun, error)
	// AskForRunAgain records that it is about to be asked for once more: an error when it has come to be known, was forgotten, or the
	// attempt is not under way any more.
	AskForRunAgain(ctx context.Context, run operation.WorkflowRun) (operation.WorkflowRun, error)
	// SaveRun keeps what is known of a run; executor.ErrUnknown when it was forgotten.
	SaveRun(ctx context.Context, run operation.WorkflowRun) error
	// ForgetRun forgets a run that was never made: an error when it has come to be known, or was asked for again, since it was read.
	ForgetRun(ctx context.Context, run operation.WorkflowRun) error
	// Run is the run of an attempt; executor.ErrUnknown where none was asked for.
	Run(ctx context.Context, operationID int64, attempt int, launch string) (operation.WorkflowRun, error)
	// Now is the time by the clock that says when a run was asked for.
	Now(ctx context.Context) (time.Time, error)
}

// Options say how runs are watched.
type Options struct {
	GitHub GitHub
	Rows   Rows
	Clock  clockwork.Clock // nil: the real one
	Log    zerolog.Logger

	QueueLimit time.Duration  // after which people are told that no runner takes a run; 0: ten minutes
	Jitter     func() float64 // from 0 to 1, spreads the looks of many; nil: none
}

const standardQueueLimit = 10 * time.Minute

// Actions starts workflow runs.
type Actions struct {
	Options

	mu    sync.Mutex
	waits map[int64][]chan struct{} // of those who wait for a run, by its id
}

// New makes the executor. It calls nothing.
func New(o Options) *Actions {
	if o.Clock == nil {
		o.Clock = clockwork.NewRealClock()
	}
	if o.QueueLimit <= 0 {
		o.QueueLimit = standardQueueLimit
	}
	if o.Jitter == nil {
		o.Jitter = func() float64 { return 0 }
	}
	return &Actions{Options: o, waits: map[int64][]chan struct{}{}}
}

// How often a dispatch is tried whose outcome GitHub does not tell, and how long after one another its run is looked for.
const (
	dispatchTries = 3
	lookTries     = 3
	lookEvery     = 3 * time.Second
	clockSkew     = 2 * time.Minute  // by which GitHub's clock may be behind ours
	asking        = 2 * time.Minute  // from the first dispatch to the last one
	dismissing    = 30 * time.Second // what a run that nobody waits for may take to be cancelled
)

// Start dispatches the run of an attempt. An error that GitHub gives for good is *hub.NeedsPerson, in words; after any other one
// Resume finds out whether there is a run.
func (a *Actions) Start(ctx context.Context, task operation.Task) (executor.Run, error) {
	if task.Job == nil {
		return nil, errors.New("the task does not say in which workflow it runs")
	}
	inputs, err := executor.Inputs(task)
	if err != nil {
		return nil, fmt.Errorf("make the inputs of the workflow: %w", err)
	}
	asked, err := a.Rows.AskForRun(ctx, operation.WorkflowRun{Task: slim(task)})
	if err != nil {
		return nil, fmt.Errorf("record that a run is asked for: %w", err)
	}
	// From here on a run may exist, whatever becomes of ctx.
	found, err := a.dispatch(ctx, asked, hub.Dispatch{Workflow: task.Job.Workflow, Ref: task.Job.Ref, Inputs: inputs})
	if err != nil {
		return nil, err
	}
	err = a.Rows.SaveRun(context.WithoutCancel(ctx), found)
	if errors.Is(err, executor.ErrUnknown) {
		return nil, a.tooLate(ctx, found, err)
	}
	if err != nil {
		// Whoever resumes it finds it by its name.
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not keep which workflow run was started")
	}
	zerolog.Ctx(ctx).Info().Int64("run", found.Run).Str("url", found.URL).Msg("workflow run started")
	return a.follows(found), nil
}

// Resume finds the run of an attempt that another process asked for. Where its id was not kept, it is looked for at GitHub; one
// that is not there was never started.
func (a *Actions) Resume(ctx context.Context, operationID int64, attempt int, launch string) (executor.Run, error) {
	row, err := a.Rows.Run(ctx, operationID, attempt, launch)
	if err != nil {
		return nil, fmt.Errorf("read which run it is: %w", err)
	}
	if row.Run != 0 {
		return a.follows(row), nil
	}
	found, there, err := a.find(ctx, row)
	if err != nil {
		return nil, err
	}
	if !there {
		return nil, a.neverMade(ctx, row)
	}
	err = a.Rows.SaveRun(ctx, found)
	if errors.Is(err, executor.ErrUnknown) {
		return nil, a.tooLate(ctx, found, err)
	}
	if err != nil {
		return nil, fmt.Errorf("keep which run it is: %w", err)
	}
	return a.follows(found), nil
}

// settled is how long after it was last asked for a run that GitHub does not list was never made: that call has ended by then, and GitHub
// has had a while to show the run.
const settled = hub.DefaultTimeout + 20*time.Second

// Kill has GitHub end a run by force.
func (a *Actions) Kill(ctx context.Context, operationID int64, attempt int, launch string) error {
	row, err := a.Rows.Run(ctx, operationID, attempt, launch)
	if err != nil {
		return fmt.Errorf("read which run it is: %w", err)
	}
	if row.Run == 0 {
		return fmt.Errorf("operation %d, attempt %d: %w", operationID, attempt, executor.ErrUnknown)
	}
	if err := a.GitHub.CancelRun(ctx, row.Task.Repository, row.Run, true); err != nil {
		return fmt.Errorf("end the run by force: %w", err)
	}
	a.Wake(row.Run)
	return nil
}

// Wake has those who wait for a run in this process look at it now.
func (a *Actions) Wake(run int64) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, waits := range a.waits[run] {
		select {
		case waits <- struct{}{}:
		default: // it is about to look anyway
		}
	}
}

// neverMade forgets a run that GitHub does not list, once it is certain that it will not. Its error is executor.ErrUnknown then.
func (a *Actions) neverMade(ctx context.Context, row operation.WorkflowRun) error {
	task := row.Task
	now, err := a.Rows.Now(ctx)
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	if now.Sub(row.At) < settled {
		return fmt.Errorf("whether GitHub made a run for operation %d, attempt %d, is not known yet", task.Operation, task.Attempt)
	}
	if err := a.Rows.ForgetRun(ctx, row); err != nil {
		return fmt.Errorf("forget a run that was never made: %w", err)
	}
	return fmt.Errorf("operation %d, attempt %d: %w", task.Operation, task.Attempt, executor.ErrUnknown)
}

// tooLate has a run cancelled that somebody else took for one that was never made: its attempt was given up. It returns err in words. It
// does that in a shutdown, too, as nobody else knows of the run.
func (a *Actions) tooLate(ctx context.Context, found operation.WorkflowRun, err error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), dismissing)
	defer cancel()
	if found.Run != 0 {
		err = errors.Join(err, a.Dismiss(ctx, found.Task.Repository, found.Run, operation.RunName(found.Task)))
	}
	return fmt.Errorf("the run was taken for one that was never made: %w", err)
}

// dispatch asks for a run. It asks again only where GitHub gave no answer and the run did not turn up.
func (a *Actions) dispatch(ctx context.Context, asked operation.WorkflowRun, d hub.Dispatch) (operation.WorkflowRun, error) {
	repo := asked.Task.Repository
	var last error
	for try := range dispatchTries {
		if try > 0 {
			again, err := a.Rows.AskForRunAgain(ctx, asked)
			if err != nil {
				return asked, fmt.Errorf("record that a run is asked for again: %w", err)
			}
			asked = again
		}
		made, err := a.GitHub.Dispatch(ctx, repo, d)
		if err == nil && made.Run != 0 {
			return a.made(ctx, asked, made, try > 0), nil
		}
		if refused := a.refused(err, asked.Task); refused != nil {
			return asked, a.notMade(ctx, asked, refused, try > 0)
		}
		last = err
		for range lookTries { // an older GitHub does not say which run it made, and one whose answer was lost may have made one
			select {
			case <-ctx.Done():
				return asked, fmt.Errorf("look for the run that was asked for: %w", context.Cause(ctx))
			case <-a.Clock.After(lookEvery):
			}
			found, there, err := a.find(ctx, asked)
			if err == nil && there {
				return found, nil
			}
			if err != nil {
				last = err
			}
		}
		if err == nil { // GitHub said yes: it is only slow to show it
			return asked, nil
		}
	}
	return asked, fmt.Errorf("start the workflow: %w", last)
}

// made is the run that GitHub says it has made, or, after a dispatch that was repeated, that of the one before, which was shown too late.
func (a *Actions) made(ctx context.Context, asked operation.WorkflowRun, made hub.Dispatched, repeated bool) operation.WorkflowRun {
	if repeated {
		if found, there, err := a.find(ctx, asked); err == nil && there {
			return found
		}
	}
	asked.Run, asked.URL = made.Run, made.URL
	return asked
}

// refused puts an answer of GitHub into words after which there certainly is no run; nil for other errors.
func (a *Actions) refused(err error, task operation.Task) error {
	wait, person, gone := (*hub.Wait)(nil), (*hub.NeedsPerson)(nil), (*hub.Gone)(nil)
	no := (*hub.DispatchRefused)(nil)
	switch {
	case errors.As(err, &no):
		return inWords(*no, task)
	case errors.As(err, &wait), errors.As(err, &person), errors.As(err, &gone):
		return err
	default:
		return nil
	}
}

// notMade is the error of a dispatch that was refused, whose run is forgotten. After a repeated one it is not, and nothing is said for
// good: the dispatch before may have made a run all the same. Where GitHub only wants none before some time, it still says when.
func (a *Actions) notMade(ctx context.Context, asked operation.WorkflowRun, refused error, repeated bool) error {
	if !repeated {
		return errors.Join(refused, a.Rows.ForgetRun(context.WithoutCancel(ctx), asked))
	}
	const words = "whether GitHub made a run is not known yet; it was asked again, and refused"
	if wait := (*hub.Wait)(nil); errors.As(refused, &wait) {
		return fmt.Errorf("%s: %w", words, wait)
	}
	return errors.New(words + ": " + refused.Error())
}

// find looks for the run of an attempt by its name. Of several, the first counts, and the others are cancelled.
func (a *Actions) find(ctx context.Context, asked operation.WorkflowRun) (operation.WorkflowRun, bool, error) {
	task := asked.Task
	runs, err := a.GitHub.RunsNamed(ctx, task.Repository, task.Job.Workflow, operation.RunName(task), asked.At.Add(-asking-clockSkew))
	if err != nil {
		return asked, false, fmt.Errorf("look for the run: %w", err)
	}
	bot, err := a.GitHub.BotLogin(ctx)
	if err != nil {
		return asked, false, fmt.Errorf("ask for the App's name: %w", err)
	}
	found := asked
	runs = slices.DeleteFunc(runs, func(candidate hub.Run) bool { return unfit(candidate, asked, bot) != "" })
	for _, candidate := range runs {
		if found.Run == 0 || candidate.ID < found.Run {
			found.Run, found.URL = candidate.ID, candidate.URL
		}
	}
	a.dismissAll(ctx, task.Repository, runs, found.Run)
	return found, found.Run != 0, nil
}

// listen registers somebody who waits for a run.
func (a *Actions) listen(run int64) (woken <-chan struct{}, forget func()) {
	waits := make(chan struct{}, 1)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.waits[run] = append(a.waits[run], waits)
	return waits, func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		var left []chan struct{}
		for _, other := range a.waits[run] {
			if other != waits {
				left = append(left, other)
			}
		}
		if len(left) == 0 {
			delete(a.waits, run)
			return
		}
		a.waits[run] = left
	}
}

// slim is what has to be known of a task to watch its run and to check its result. Of the expected changes only remains, without
// them, whose plans are compared as a whole.
func slim(task operation.Task) operation.Task {
	kept := operation.Task{
		Version: task.Version, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch, Kind: task.Kind,
		Repository: task.Repository, Tree: task.Tree, Commit: task.Commit, Environment: task.Environment, Confirmed: task.Confirmed,
		TimeLimit: task.TimeLimit, Lock: task.Lock,
	}
	job := *task.Job
	job.Before, job.Reviews, job.Words = nil, nil, nil
	kept.Job = &job
	for _, target := range task.Targets {
		left := operation.TargetTask{Target: target.Target, Dir: target.Dir}
		if target.Expected != nil && target.Expected.Omitted > 0 && len(target.Expected.Changes) == 0 {
			left.Expected = &operation.ChangeSet{Digest: target.Expected.Digest, Omitted: target.Expected.Omitted}
		}
		kept.Targets = append(kept.Targets, left)
	}
	return kept
}
