package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// A runner outlives the server that started it, and only its host can tell what became of it. So each
// replica tends the runners of its own host, whoever has the jobs; another replica may start nothing
// under a hold until the host has answered, the runner's time limit has passed, or a person has used /unlock.

const (
	// tendEvery is how often a replica gives its sign of life and looks after the runners of its host.
	tendEvery = 2 * time.Second
	// standardOverdue is Options.Overdue where it is not given.
	standardOverdue = 2 * time.Minute
)

// Tend gives signs of life and looks after the runners on this host, until ctx ends.
func (d *Deploy) Tend(ctx context.Context) {
	ctx = d.Log.WithContext(ctx)
	ticker := d.Clock.NewTicker(tendEvery)
	defer ticker.Stop()
	for {
		if err := d.tend(ctx); err != nil && ctx.Err() == nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("could not look after the runners of this host")
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		}
	}
}

func (d *Deploy) tend(ctx context.Context) error {
	if err := d.Store.Beat(ctx, d.Host, d.HostName); err != nil {
		return fmt.Errorf("give a sign of life: %w", err)
	}
	own, err := d.Store.OnHost(ctx, d.Host)
	if err != nil {
		return fmt.Errorf("find the runners of this host: %w", err)
	}
	for _, op := range own {
		if !op.Kind.Exclusive() || d.begin(op.ID) != nil {
			continue // a plan is taken up by who has its job, and the others are seen to already
		}
		go func() {
			defer d.end(op.ID)
			ctx := aboutJob(ctx, driveJob(op))
			if err := d.takeUp(ctx, op); err != nil && ctx.Err() == nil {
				zerolog.Ctx(ctx).Warn().Err(err).Msg("could not take up what an earlier process started")
			}
		}()
	}
	if err := d.stopAsked(ctx); err != nil { // last, so that what was just taken up hears of it
		return err
	}
	return d.lookElsewhere(ctx)
}

// stopAsked stops what somebody asked to stop and this process sees to. The order is kept until the attempt has ended: whoever goes on
// with it after this process gives it again, and a job that asks whether it may begin is told.
func (d *Deploy) stopAsked(ctx context.Context) error {
	var asked []int64
	for _, host := range []string{d.Host, operation.HostActions} {
		ids, err := d.Store.ToStop(ctx, host)
		if err != nil {
			return fmt.Errorf("find what has to be stopped: %w", err)
		}
		asked = append(asked, ids...)
	}
	d.unstopped.keep(asked)
	for _, id := range asked {
		if d.stop(id) || d.unstopped.waits(id, d.Clock.Now()) {
			continue
		}
		if err := d.stopUnwatched(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// stopUnwatched sees to an order to stop an operation that nobody here sees to.
func (d *Deploy) stopUnwatched(ctx context.Context, id int64) error {
	op, err := d.Store.Operation(ctx, id)
	if err != nil {
		return fmt.Errorf("read operation %d: %w", id, err)
	}
	switch {
	case op.State == operation.Running: // whoever takes it up stops it then
	case !op.State.Ended(): // it asks for a yes by now: its runner has reported
		return wrap("take back the order to stop "+op.String(), d.Store.Stopped(ctx, op.ID, op.Attempt))
	case d.begin(op.ID) == nil:
		go func() {
			defer d.end(op.ID)
			if err := d.stopLeft(ctx, op); err != nil && ctx.Err() == nil && d.unstopped.failed(op.ID, d.Clock.Now(), err) {
				zerolog.Ctx(ctx).Warn().Err(err).Int64(keyOperation, op.ID).Msg("could not stop what is left of an operation; it is tried again")
			}
		}()
	}
	return nil
}

// unstopped are the operations of which this process could not stop what is left, and when it tries that again: GitHub may refuse for
// hours, and is not to be asked each time that somebody looks.
type unstopped struct {
	mu   sync.Mutex
	next map[int64]nextStop
}

type nextStop struct {
	at   time.Time
	wait time.Duration // how long after the try before it
}

const lastStopWait = 5 * time.Minute

// keep forgets all operations but these.
func (u *unstopped) keep(ids []int64) {
	u.mu.Lock()
	defer u.mu.Unlock()
	maps.DeleteFunc(u.next, func(id int64, _ nextStop) bool { return !slices.Contains(ids, id) })
}

// waits reports whether it is too early for the next try.
func (u *unstopped) waits(id int64, now time.Time) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return now.Before(u.next[id].at)
}

// failed notes a try: each one is twice as late as the one before, and none is before the time that the error names. It reports whether
// it was the first.
func (u *unstopped) failed(id int64, now time.Time, err error) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	last, again := u.next[id]
	next := nextStop{wait: min(max(2*last.wait, tendEvery), lastStopWait)} //nolint:mnd // it doubles
	next.at = now.Add(next.wait)
	if wait := queue.Retry(nil); errors.As(err, &wait) && wait.RetryAt(now).After(next.at) {
		next.at = wait.RetryAt(now)
	}
	if u.next == nil {
		u.next = map[int64]nextStop{}
	}
	u.next[id] = next
	return !again
}

// stopLeft stops what still runs of an operation that has ended for everybody else, as a plan that was superseded, and waits until
// nothing of it is left. The caller has begun it.
func (d *Deploy) stopLeft(ctx context.Context, op operation.Operation) error {
	run, err := d.executorOf(op).Resume(ctx, op.ID, op.Attempt, op.Launch)
	if err != nil && passing(err) && !errors.Is(err, executor.ErrUnknown) {
		return fmt.Errorf("find what is left of %s: %w", op, err)
	}
	if err == nil {
		d.stop(op.ID)
		if _, err := d.wait(ctx, op.ID, run); err != nil && ctx.Err() != nil {
			return fmt.Errorf("wait for what is left of %s: %w", op, context.Cause(ctx))
		}
	}
	return wrap("record that nothing is left of "+op.String(), d.Store.Stopped(ctx, op.ID, op.Attempt))
}

// lookElsewhere has those applies seen to whose server does not answer: once when that is found, so
// that people are told, and again when their time is up. No job of theirs may be left that would.
func (d *Deploy) lookElsewhere(ctx context.Context) error {
	running, err := d.Store.Operations(ctx, store.Filter{States: []operation.State{operation.Running}})
	if err != nil {
		return fmt.Errorf("find what runs: %w", err)
	}
	for _, op := range running {
		if !op.Kind.Exclusive() || op.Host == "" || d.here(op) {
			continue
		}
		replica, err := d.replica(ctx, op.Host)
		if err != nil {
			return err
		}
		now, err := d.Store.Now(ctx)
		if err != nil {
			return fmt.Errorf("ask for the time: %w", err)
		}
		if replica.Alive || op.Message != "" && now.Before(d.certain(op, replica)) {
			continue
		}
		if err := d.enqueue(ctx, driveJob(op)); err != nil {
			return fmt.Errorf("queue %s again: %w", op, err)
		}
	}
	return nil
}

// certain is when the runner of an apply must have ended whose server does not answer. It may have
// waited for room after the apply had begun, but was not started after the server's last sign of life;
// Overdue covers the seconds by which a server may be slow to notice that it lost its job.
func (d *Deploy) certain(op operation.Operation, replica store.Replica) time.Time {
	from := op.Started
	if replica.Seen.After(from) {
		from = replica.Seen
	}
	return from.Add(d.ApplyLimit + d.StopGrace + d.Overdue)
}

// stopAnywhere has an operation stopped, on whichever host its runner is. The order is kept before anybody acts on it, so that it is not
// lost with this process. It reports false when that host does not answer.
func (d *Deploy) stopAnywhere(ctx context.Context, op operation.Operation) (bool, error) {
	answers, err := d.answers(ctx, op.Host)
	if err != nil || !answers {
		return false, err
	}
	if err := d.Store.AskToStop(ctx, op.ID, op.Attempt); err != nil {
		return false, fmt.Errorf("ask to stop %s: %w", op, err)
	}
	d.stop(op.ID) // else whoever sees to it does that in a moment
	return true, nil
}

// answers reports whether a host is alive; a runner that was not started yet is on none.
func (d *Deploy) answers(ctx context.Context, host string) (bool, error) {
	if host == "" || host == d.Host || host == operation.HostActions {
		return true, nil
	}
	replica, err := d.replica(ctx, host)
	return replica.Alive, err
}

func (d *Deploy) replica(ctx context.Context, host string) (store.Replica, error) {
	replicas, err := d.Store.Replicas(ctx)
	if err != nil {
		return store.Replica{}, fmt.Errorf("find the replica: %w", err)
	}
	for _, replica := range replicas {
		if replica.ID == host {
			return replica, nil
		}
	}
	return store.Replica{ID: host, Name: host}, nil
}

// takeUp finds out what became of an apply that this host started in an earlier process, and of which
// nobody else here knows. Its true outcome is what its runner says. The caller has begun it.
func (d *Deploy) takeUp(ctx context.Context, read operation.Operation) error {
	op, err := d.Store.Operation(ctx, read.ID) // it may have ended between when it was read and begun
	if err != nil {
		return fmt.Errorf("read %s: %w", read, err)
	}
	if op.State != operation.Running || op.Attempt != read.Attempt || !d.here(op) {
		return nil
	}
	run, err := d.executorOf(op).Resume(ctx, op.ID, op.Attempt, op.Launch)
	if errors.Is(err, executor.ErrUnknown) {
		back, err := d.putBack(ctx, op)
		if err != nil || !back {
			return err
		}
		return wrap("go on", d.enqueue(ctx, driveJob(op)))
	}
	if err != nil {
		return fmt.Errorf("take up %s: %w", op, err)
	}
	if err := d.answerAgain(ctx, op); err != nil {
		return err
	}
	result, err := d.waitUntilCertain(ctx, op, run)
	if ctx.Err() != nil {
		return fmt.Errorf("wait for %s: %w", op, context.Cause(ctx))
	}
	end, known := d.endedBefore(ctx, op, result)
	if known != nil {
		return known
	}
	if err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("runner gave no result")
		end = d.unsuccessful(op, err)
	}
	end = d.annotated(ctx, op, end)
	end.Then = d.following(ctx, op) // shows the end again, were that to break off here
	return d.finish(ctx, end)
}

// following are the jobs that go on with an environment after an apply.
func (d *Deploy) following(ctx context.Context, op operation.Operation) []queue.Job {
	next := driveJob(op)
	next.Cause = causeOf(ctx)
	return []queue.Job{next}
}

// outlast waits, where the runner of an apply has ended without a result and Terraform goes on without it,
// until that has ended, too: nothing may be begun under its hold before. When the time limit of the apply has
// passed, which its runner would have kept, Terraform is killed. It returns the error that it was given.
func (d *Deploy) outlast(ctx context.Context, op operation.Operation, ended error) error {
	interrupted := (*executor.InterruptedError)(nil)
	if !op.Kind.Exclusive() || !errors.As(ended, &interrupted) || !interrupted.Running {
		return ended
	}
	if err := d.sayHeld(ctx, op, "Its runner was killed, and Terraform goes on without it. "+
		"The hold ends when Terraform has ended, at the latest at "+d.certain(op, store.Replica{}).UTC().Format("15:04 UTC")+
		"; how far it came will not be known."); err != nil {
		zerolog.Ctx(ctx).Error().Err(err).Msg("could not say that Terraform goes on without its runner")
	}
	run, err := d.executorOf(op).Resume(ctx, op.ID, op.Attempt, op.Launch)
	if err != nil {
		return ended
	}
	if _, err := d.waitUntilCertain(ctx, op, run); err != nil && ctx.Err() == nil {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("what a runner left behind has ended")
	}
	return ended
}

// waitUntilCertain waits for an attempt that another process started. What still runs of it when it must have ended is killed.
func (d *Deploy) waitUntilCertain(ctx context.Context, op operation.Operation, run executor.Run) (operation.Result, error) {
	if op.Host == operation.HostActions {
		return d.wait(ctx, op.ID, run) // it may have waited for a machine, or for a reviewer, longer than any limit of ours
	}
	now, err := d.Store.Now(ctx)
	if err != nil {
		return operation.Result{}, fmt.Errorf("ask for the time: %w", err)
	}
	limited, cancel := context.WithTimeout(ctx, max(d.certain(op, store.Replica{}).Sub(now), time.Second))
	defer cancel()
	result, err := d.wait(limited, op.ID, run)
	if limited.Err() == nil || ctx.Err() != nil {
		return result, err
	}
	zerolog.Ctx(ctx).Error().Msg("the time limit of an apply has passed, and something of it still runs: it is killed")
	if err := d.executorOf(op).Kill(ctx, op.ID, op.Attempt, op.Launch); err != nil {
		return operation.Result{}, fmt.Errorf("kill what is left of it: %w", err)
	}
	return d.wait(ctx, op.ID, run)
}

// sayHeld keeps words with an apply that runs, and shows them.
func (d *Deploy) sayHeld(ctx context.Context, op operation.Operation, words string) error {
	op, _, err := d.Store.Remark(ctx, op.ID, op.Attempt, words)
	if errors.Is(err, store.ErrLost) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("keep a remark: %w", err)
	}
	return d.showHeld(ctx, op)
}

// answerAgain takes back what people were told while this server did not answer.
func (d *Deploy) answerAgain(ctx context.Context, op operation.Operation) error {
	op, fresh, err := d.Store.Remark(ctx, op.ID, op.Attempt, "")
	if errors.Is(err, store.ErrLost) || err == nil && !fresh {
		return nil // what it became is found out next
	}
	if err != nil {
		return fmt.Errorf("say that %s is known again: %w", op, err)
	}
	return d.showHeld(ctx, op)
}

// showHeld shows an apply that runs, and those that wait for it.
func (d *Deploy) showHeld(ctx context.Context, op operation.Operation) error {
	if err := d.show(ctx, op); err != nil {
		return err
	}
	return d.showWaiting(ctx, op.Repository, op.Environment)
}

// putBack has an apply begin anew whose runner was never started; one that somebody asked to stop ends instead. It reports false when
// somebody else was quicker.
func (d *Deploy) putBack(ctx context.Context, op operation.Operation) (bool, error) {
	back, err := d.Store.Requeue(ctx, op.ID, op.Attempt, op.Host, "its runner was not started")
	if errors.Is(err, store.ErrLost) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("put back %s: %w", op, err)
	}
	if back.State.Ended() { // which the next job of its environment shows
		return true, wrap("go on", d.enqueue(ctx, driveJob(op)))
	}
	return true, nil
}

// resumePlan takes up a plan that this host started in an earlier process. It reports false when there
// is none, so that the plan is begun anew.
func (d *Deploy) resumePlan(ctx context.Context, id int64) (bool, error) {
	op, err := d.Store.Operation(ctx, id)
	if err != nil {
		return false, fmt.Errorf("read plan %d: %w", id, err)
	}
	if op.State != operation.Running || !d.here(op) {
		return false, nil
	}
	if err := d.begin(op.ID); err != nil {
		return false, err
	}
	defer d.end(op.ID)
	run, err := d.executorOf(op).Resume(ctx, op.ID, op.Attempt, op.Launch)
	inWorkflow := op.Host == operation.HostActions // where another run would cost minutes, and may wait for the first
	if err != nil {
		if inWorkflow && !errors.Is(err, executor.ErrUnknown) {
			return false, fmt.Errorf("take up %s: %w", op, err)
		}
		return false, nil // whatever it is, a plan can be begun anew
	}
	result, err := d.wait(ctx, op.ID, run)
	if ctx.Err() != nil {
		return false, fmt.Errorf("wait for %s: %w", op, context.Cause(ctx))
	}
	if err != nil && inWorkflow {
		return true, d.finish(ctx, d.unsuccessful(op, err))
	}
	if err != nil {
		return false, nil // as above
	}
	end, err := d.endedBefore(ctx, op, result)
	if err != nil {
		return false, err
	}
	return true, d.finish(ctx, d.annotated(ctx, op, end))
}

// resume sees to the apply that has the hold of an environment. It reports whether the hold is free.
func (d *Deploy) resume(ctx context.Context, what drive) (bool, error) {
	op, held, err := d.Store.Holder(ctx, what.Repository.ID, what.Environment)
	if err != nil {
		return false, fmt.Errorf("find who has the hold of %s: %w", what.Environment, err)
	}
	if !held {
		return true, nil
	}
	ctx = aboutApply(ctx, op)
	switch {
	case d.watches(op.ID) && op.Host == "":
		return false, fmt.Errorf("start %s: %w", op, errWatched) // by a job that lost its claim: it may give up now
	case op.Host == "":
		return d.putBack(ctx, op) // and go on in this job: so failures to start it are counted, and have an end
	case d.here(op):
		if d.begin(op.ID) != nil {
			return false, nil // who watches it goes on afterwards
		}
		defer d.end(op.ID)
		return false, d.takeUp(ctx, op) // goes on with the job that follows
	default:
		return false, d.elsewhere(ctx, op)
	}
}

// elsewhere sees to an apply whose runner is on another host. Where that does not answer, people are
// told, and nothing is begun under its hold until its runner must have ended.
func (d *Deploy) elsewhere(ctx context.Context, op operation.Operation) error {
	replica, err := d.replica(ctx, op.Host)
	if err != nil || replica.Alive {
		return err
	}
	now, err := d.Store.Now(ctx)
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	until := d.certain(op, replica)
	if !now.Before(until) {
		end := lost(op)
		end.Message = "The server that started it, " + replica.Name + ", never answered again, and its time limit has passed. " +
			"It is not known how far it came."
		end.Then = d.following(ctx, op)
		return d.finish(ctx, end)
	}
	message := "The server that started it, " + replica.Name + ", does not answer"
	if !replica.Seen.IsZero() {
		message += " since " + replica.Seen.UTC().Format("15:04 UTC")
	}
	message += ". When it is back it tells how the apply ended; without it, the hold ends at " + until.UTC().Format("15:04 UTC") +
		", when the time limit of the apply has passed. Where Terraform still runs, its state lock is held from " + replica.Name + "."
	op, fresh, err := d.Store.Remark(ctx, op.ID, op.Attempt, message)
	if errors.Is(err, store.ErrLost) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("say that %s cannot be reached: %w", op, err)
	}
	if fresh {
		zerolog.Ctx(ctx).Warn().Str(keyHost, replica.Name).Msg("not known whether an apply still runs: its server does not answer")
	}
	return d.showHeld(ctx, op) // also where it was kept before: what showed it may have broken off
}
