package actions

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// How a run is watched. GitHub's webhooks are hints; these looks find what they have not told. A look that finds nothing new costs
// nothing of the rate limit.
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate
const (
	firstLook = 5 * time.Second
	lastLook  = time.Minute
	hintEvery = 2 * time.Second // how often a hint is looked for that another server took
	missing   = 10 * time.Minute
	stopEvery = 5 * time.Second // how long after one another an order to stop is given to GitHub at first
	stopLast  = time.Minute     // and in the end
)

// run is the workflow run of one attempt.
type run struct {
	a  *Actions
	id int64 // that it is woken by; 0 until it is known

	mu       sync.Mutex
	row      operation.WorkflowRun
	say      func(ctx context.Context)
	stopped  bool
	stopping bool          // an order to stop is given to GitHub now
	over     chan struct{} // closed when the attempt has ended
}

// follows is the run of an attempt, as far as it is known.
func (a *Actions) follows(row operation.WorkflowRun) *run {
	return &run{a: a, row: row, id: row.Run, over: make(chan struct{})}
}

// Tell implements executor.Teller.
func (r *run) Tell(say func(ctx context.Context)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.say = say
}

// watching is what Wait remembers from one look to the next.
type watching struct {
	delay   time.Duration
	status  string
	gone    time.Time // since when GitHub does not have the run; zero while it does
	unknown time.Time // since when its id is looked for
}

// Wait implements executor.Run. GitHub's refusals and faults only delay it: what a run did is never guessed.
func (r *run) Wait(ctx context.Context) (operation.Result, error) {
	woken, forget := r.a.listen(r.id)
	defer forget()
	now := watching{delay: firstLook}
	for {
		result, ended, err := r.look(ctx, &now)
		if errors.Is(err, executor.ErrUnknown) {
			zerolog.Ctx(ctx).Warn().Err(r.a.tooLate(ctx, r.known(), err)).Msg("nobody waits for a workflow run any more")
			ended, err = true, &executor.InterruptedError{Words: true, Reason: "Its workflow run was taken for one that GitHub never made."}
		}
		if ended {
			r.ended()
			return result, err
		}
		delay := time.Duration(float64(now.delay) * (0.9 + 0.2*r.a.Jitter())) //nolint:mnd // a tenth less to a tenth more
		if wait := (*hub.Wait)(nil); errors.As(err, &wait) {
			delay = max(delay, wait.RetryAt(r.a.Clock.Now()).Sub(r.a.Clock.Now()))
		} else if err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Int64("run", r.id).Msg("could not look at a workflow run; it is looked at again")
		}
		hinted, err := r.sleep(ctx, delay, woken)
		if err != nil {
			return operation.Result{}, err
		}
		now.delay = min(now.delay*3/2, lastLook) //nolint:mnd // by a half
		if hinted {
			now.delay = firstLook
		}
	}
}

// Stop has GitHub cancel the run, until it has taken that or the run has ended. Its jobs are told to stop; what that comes to is in the
// result.
func (r *run) Stop() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped {
		return
	}
	r.stopped, r.stopping = true, true
	go r.cancel()
}

// ended says that nothing is left to be stopped.
func (r *run) ended() {
	r.mu.Lock()
	defer r.mu.Unlock()
	select {
	case <-r.over:
	default:
		close(r.over)
	}
}

// sleep waits until the next look. It reports whether something happened to the run before.
func (r *run) sleep(ctx context.Context, delay time.Duration, woken <-chan struct{}) (bool, error) {
	late := r.a.Clock.NewTimer(delay)
	defer late.Stop()
	ticker := r.a.Clock.NewTicker(hintEvery)
	defer ticker.Stop()
	row := r.known()
	for {
		select {
		case <-ctx.Done():
			return false, fmt.Errorf("wait for operation %d: %w", row.Task.Operation, context.Cause(ctx))
		case <-late.Chan():
			return false, nil
		case <-woken:
			return true, nil
		case <-ticker.Chan():
			kept, err := r.a.Rows.Run(ctx, row.Task.Operation, row.Task.Attempt, row.Task.Launch)
			if err == nil && kept.Hint != row.Hint {
				r.mu.Lock()
				r.row.Hint = kept.Hint
				r.mu.Unlock()
				return true, nil
			}
		}
	}
}

func (r *run) known() operation.WorkflowRun {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.row
}

// keep stores what is new about the run, and has it shown when there is something else to say.
func (r *run) keep(ctx context.Context, row operation.WorkflowRun) error {
	r.mu.Lock()
	before, say := r.row, r.say
	row.Hint = before.Hint
	r.row = row
	r.mu.Unlock()
	if before.Run == row.Run && before.URL == row.URL && before.Head == row.Head && before.Said == row.Said {
		return nil
	}
	if err := r.a.Rows.SaveRun(ctx, row); err != nil {
		return fmt.Errorf("keep what is known of the run: %w", err)
	}
	if say != nil && (before.Said != row.Said || before.URL != row.URL) {
		say(ctx)
	}
	return nil
}

// look looks at the run once. It reports whether that was the last time: with the result, or why there is none.
func (r *run) look(ctx context.Context, now *watching) (operation.Result, bool, error) {
	row := r.known()
	if row.Run == 0 {
		found, there, err := r.a.find(ctx, row)
		if err != nil || !there {
			return operation.Result{}, r.neverCame(now, err), r.orInterrupted(now, err)
		}
		if err := r.keep(ctx, found); err != nil {
			return operation.Result{}, false, err
		}
		row = found
	}
	seen, err := r.a.GitHub.Run(ctx, row.Task.Repository, row.Run)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		if now.gone.IsZero() {
			now.gone = r.a.Clock.Now()
		}
		if r.a.Clock.Since(now.gone) < missing {
			return operation.Result{}, false, fmt.Errorf("look at the run: %w", err)
		}
		return operation.Result{}, true, &executor.InterruptedError{
			Words: true, Reason: "GitHub does not have its workflow run any more: somebody deleted it, or the repository was transferred.",
		}
	}
	if err != nil {
		return operation.Result{}, false, fmt.Errorf("look at the run: %w", err)
	}
	now.gone = time.Time{}
	bot, err := r.a.GitHub.BotLogin(ctx)
	if err != nil {
		return operation.Result{}, false, fmt.Errorf("ask for the App's name: %w", err)
	}
	if why := unfit(seen, row, bot); why != "" {
		return operation.Result{}, true, &executor.InterruptedError{
			Words: true, Reason: "The result of its workflow run is not taken: " + why + ".",
		}
	}
	if seen.Status != now.status {
		now.status, now.delay = seen.Status, firstLook
	}
	row.Head, row.URL = seen.SHA, seen.URL
	if seen.Status == hub.RunCompleted {
		return r.completed(ctx, seen, row, now)
	}
	if row.Said, err = r.words(ctx, seen, row); err != nil {
		return operation.Result{}, false, err
	}
	return operation.Result{}, false, r.keep(ctx, row)
}

// completed takes the result of a run that has ended. Where there is none, another run may have it.
func (r *run) completed(ctx context.Context, seen hub.Run, row operation.WorkflowRun, now *watching) (operation.Result, bool, error) {
	if err := r.keep(ctx, row); err != nil {
		return operation.Result{}, false, err
	}
	result, ended, err := r.collect(ctx, seen, row)
	if interrupted := (*executor.InterruptedError)(nil); ended && errors.As(err, &interrupted) {
		if other, lookErr := r.follow(ctx, now); other || lookErr != nil {
			return operation.Result{}, false, lookErr
		}
	}
	return result, ended, err
}

// neverCame reports whether a run that GitHub said yes to, without saying which it is, has not turned up for too long.
func (r *run) neverCame(now *watching, err error) bool {
	if now.unknown.IsZero() {
		now.unknown = r.a.Clock.Now()
	}
	return err == nil && r.a.Clock.Since(now.unknown) >= missing
}

func (r *run) orInterrupted(now *watching, err error) error {
	if err != nil || !r.neverCame(now, nil) {
		return err
	}
	return &executor.InterruptedError{
		Words: true, Reason: "GitHub took the order for a workflow run and lists none: " +
			"does the workflow file set `run-name` as Switchyard's does?",
	}
}

// words says where the run waits or what it does.
func (r *run) words(ctx context.Context, seen hub.Run, row operation.WorkflowRun) (string, error) {
	long := ""
	if waited := r.a.Clock.Since(row.At); waited >= r.a.QueueLimit {
		long = minutes(r.a.QueueLimit)
	}
	var jobs []hub.WorkflowJob
	waits := seen.Status == hub.RunQueued || seen.Status == hub.RunRequested || seen.Status == hub.RunPending
	if waits && long == "" {
		return "", nil // that it begins in a moment is worth no update
	}
	if seen.Status == hub.RunInProgress || waits {
		var err error
		if jobs, err = r.a.GitHub.FirstJobs(ctx, row.Task.Repository, row.Run); err != nil {
			return "", fmt.Errorf("look at the jobs of the run: %w", err)
		}
	}
	return where(seen, row.Task, jobs, long), nil
}

// minutes says a limit as people do: the time itself would be another one at each look.
func minutes(d time.Duration) string {
	if n := int(d.Minutes()); n > 1 {
		return fmt.Sprintf("more than %d minutes", n)
	}
	return "more than " + d.String()
}

// cancel has GitHub cancel the run that is followed. It is tried for as long as the run goes on: somebody was told that it is stopped.
func (r *run) cancel() {
	ctx := r.a.Log.WithContext(context.Background())
	pause := stopEvery
	for {
		wait := stopEvery // for the id of the run
		if row := r.known(); row.Run != 0 {
			err := r.a.GitHub.CancelRun(ctx, row.Task.Repository, row.Run, false)
			if gone := (*hub.Gone)(nil); err == nil || errors.As(err, &gone) {
				r.a.Wake(row.Run)
				if r.cancelled(row.Run) {
					return
				}
				continue
			}
			r.a.Log.Warn().Err(err).Int64("run", row.Run).Msg("could not cancel a workflow run; it is tried again")
			wait, pause = pause, min(2*pause, stopLast) //nolint:mnd // twice as long
			if limit := (*hub.Wait)(nil); errors.As(err, &limit) {
				now := r.a.Clock.Now()
				wait = max(stopEvery, limit.RetryAt(now).Sub(now))
			}
		}
		select {
		case <-r.over:
			return
		case <-r.a.Clock.After(wait):
		}
	}
}

// cancelled says that GitHub has taken the order to cancel a run. It reports false when another one is followed meanwhile.
func (r *run) cancelled(id int64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.stopping = r.row.Run != id
	return !r.stopping
}
