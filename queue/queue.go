// Package queue does durable jobs: it claims them from a store, gives each to the function of its
// kind, keeps its lease alive meanwhile, and records how it ended. The server runs one; deploy
// registers the functions. It never decides what a failure means to people: OnDead tells them.
package queue

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"
)

// ErrLost says that a claim is not the newest of its job: its lease ended and somebody else has it.
var ErrLost = errors.New("claim lost to somebody else")

// errStopped is why a handler's context ends when the queue is stopped hard.
var errStopped = errors.New("the server stops")

const (
	firstBackoff = time.Second
	lastBackoff  = 5 * time.Minute
	settleLimit  = 10 * time.Second // for recording how a job ended, whatever happened to its own context
)

// Claim is the right to do one job until its lease ends.
type Claim struct {
	ID       int64
	Attempt  int // fence: rises with each claim of the job
	Failures int // how often it failed before; waiting is no failure
	Job      Job
}

// Store is what a Queue needs of its database.
type Store interface {
	// Claim takes the next job whose key has no running and no earlier unfinished job: lanes take turns.
	Claim(ctx context.Context, class Class, worker string, lease time.Duration) (Claim, bool, error)
	// Extend gives a claim a new lease from now on. The following four return ErrLost too.
	Extend(ctx context.Context, c Claim, lease time.Duration) error
	Done(ctx context.Context, c Claim) error
	// Retry lets a job run again after a time and counts a failure, Wait counts none. It is a time to
	// wait and no instant, because the store may be of another clock.
	Retry(ctx context.Context, c Claim, in time.Duration, reason string) error
	Wait(ctx context.Context, c Claim, in time.Duration, reason string) error
	// Dead gives up a job; the next one of its key may run.
	Dead(ctx context.Context, c Claim, reason string) error
	// Wake returns a channel that is closed when a job may have become due.
	Wake() <-chan struct{}
}

// Retry is an error that is no failure but a wait: the job runs again at that time.
type Retry interface{ RetryAt(now time.Time) time.Time }

// Handler does one job. It may be called again for a job that it has done, after a crash.
type Handler func(ctx context.Context, job Job, claim Claim) error

// Options say how a Queue works. Zero values get the defaults named here.
type Options struct {
	Workers     map[Class]int // how many jobs of a class run at once; a class without a number is not done here
	Worker      string        // who claims: the replica's id
	Lease       time.Duration // how long a claim lives without a sign of life; 10 s
	MaxAttempts int           // failures after which a job is dead; 8
	Poll        time.Duration // how often to look for work that nobody announced; 1 s
	Jitter      func() float64

	// Before is called before each look for work but that of the class Long, which is rare: it may wait a moment for
	// what is more urgent. nil waits for nothing.
	Before func(ctx context.Context)

	// OnDead is told of each job before it is given up, at least once.
	OnDead func(ctx context.Context, job Job, reason string)
}

// Queue runs jobs. Register handlers first, then Run it once.
type Queue struct {
	store    Store
	clock    clockwork.Clock
	log      zerolog.Logger
	opts     Options
	handlers map[string]Handler
	stop     chan struct{}
	stopOnce sync.Once
}

// New makes a Queue on a store.
func New(store Store, clock clockwork.Clock, log zerolog.Logger, opts Options) *Queue {
	if opts.Lease <= 0 {
		opts.Lease = 10 * time.Second
	}
	if opts.MaxAttempts <= 0 {
		opts.MaxAttempts = 8
	}
	if opts.Poll <= 0 {
		opts.Poll = time.Second
	}
	if opts.Jitter == nil {
		opts.Jitter = rand.Float64
	}
	if opts.OnDead == nil {
		opts.OnDead = func(context.Context, Job, string) {}
	}
	return &Queue{store: store, clock: clock, log: log, opts: opts, handlers: map[string]Handler{}, stop: make(chan struct{})}
}

// Handle says which function does the jobs of a kind.
func (q *Queue) Handle(kind string, h Handler) { q.handlers[kind] = h }

// Run does jobs until ctx ends, then waits for those that are running. Stop cuts that short.
func (q *Queue) Run(ctx context.Context) error {
	hard, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cancel(nil)
	go func() {
		select {
		case <-q.stop:
			cancel(errStopped)
		case <-hard.Done():
		}
	}()
	var classes sync.WaitGroup
	for class, workers := range q.opts.Workers {
		classes.Go(func() { q.dispatch(ctx, hard, class, workers) })
	}
	classes.Wait()
	return nil
}

// Stop ends the contexts of the running handlers. Their jobs go back and count no failure.
func (q *Queue) Stop() { q.stopOnce.Do(func() { close(q.stop) }) }

// dispatch claims jobs of one class while a worker is free, and returns when the last one has ended.
func (q *Queue) dispatch(ctx, hard context.Context, class Class, workers int) {
	slots := make(chan struct{}, workers)
	var running sync.WaitGroup
	defer running.Wait()
	for {
		select {
		case slots <- struct{}{}:
		case <-ctx.Done():
			return
		}
		claim, ok := q.next(ctx, class)
		if !ok {
			return
		}
		running.Go(func() {
			defer func() { <-slots }()
			q.work(hard, claim)
		})
	}
}

// next waits for a job; false when ctx ends first.
func (q *Queue) next(ctx context.Context, class Class) (Claim, bool) {
	for ctx.Err() == nil {
		if q.opts.Before != nil && class != Long {
			q.opts.Before(ctx)
		}
		wake := q.store.Wake()
		claim, ok, err := q.store.Claim(ctx, class, q.opts.Worker, q.opts.Lease)
		if ok {
			return claim, true
		}
		if err != nil {
			if ctx.Err() == nil {
				q.log.Error().Err(err).Str("class", string(class)).Msg("claim job")
			}
			wake = nil // a database in trouble is asked at the pace of Poll
		}
		timer := q.clock.NewTimer(q.opts.Poll)
		select {
		case <-ctx.Done():
		case <-wake:
		case <-timer.Chan():
		}
		timer.Stop()
	}
	return Claim{}, false
}

// work does one job and records how it ended.
func (q *Queue) work(hard context.Context, claim Claim) {
	log := q.log.With().Int64("job", claim.ID).Str("kind", claim.Job.Kind).Str("key", claim.Job.Key).
		Str("delivery", claim.Job.Cause).Int("attempt", claim.Attempt).Logger()
	var err error
	if claim.Failures < q.opts.MaxAttempts { // else its workers died so often that it is not begun again
		ctx, cancel := context.WithCancelCause(log.WithContext(hard))
		beating := make(chan struct{})
		go func() {
			defer close(beating)
			q.keep(ctx, cancel, claim, log)
		}()
		err = q.call(ctx, claim, log)
		cause := context.Cause(ctx)
		cancel(nil)
		<-beating
		if errors.Is(cause, ErrLost) {
			log.Warn().Err(err).Msg("job lost to another worker")
			return
		}
		if err != nil && errors.Is(cause, errStopped) {
			err = stoppedError{err}
		}
	} else {
		err = errors.New("its workers died while they did it")
	}
	ctx, cancel := context.WithTimeout(log.WithContext(context.WithoutCancel(hard)), settleLimit)
	defer cancel()
	if err := q.settle(ctx, claim, err, log); err != nil {
		log.Error().Err(err).Msg("record the end of job")
	}
}

// stoppedError is the error of a handler that was stopped hard: its job waits for the next server.
type stoppedError struct{ error }

func (stoppedError) RetryAt(now time.Time) time.Time { return now }

// call runs the handler and turns a panic into an error.
func (q *Queue) call(ctx context.Context, claim Claim, log zerolog.Logger) (err error) {
	defer func() {
		if r := recover(); r != nil {
			log.Error().Interface("panic", r).Bytes("stack", debug.Stack()).Msg("handler panicked")
			err = fmt.Errorf("handler panicked: %v", r)
		}
	}()
	handler, ok := q.handlers[claim.Job.Kind]
	if !ok {
		return fmt.Errorf("no handler for jobs of kind %q", claim.Job.Kind)
	}
	return handler(ctx, claim.Job, claim)
}

// keep extends the lease until ctx ends. It cancels the handler when the claim is lost, and also
// when the lease ends without word from the store: then another worker may begin.
func (q *Queue) keep(ctx context.Context, cancel context.CancelCauseFunc, claim Claim, log zerolog.Logger) {
	const beatsPerLease = 3
	until := q.clock.Now().Add(q.opts.Lease)
	ticker := q.clock.NewTicker(q.opts.Lease / beatsPerLease)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		}
		now := q.clock.Now()
		err := q.store.Extend(ctx, claim, q.opts.Lease)
		switch {
		case err == nil:
			until = now.Add(q.opts.Lease)
		case ctx.Err() != nil:
			return
		case errors.Is(err, ErrLost):
			cancel(err)
			return
		case !now.Before(until):
			cancel(fmt.Errorf("%w: %w", ErrLost, err))
			return
		default:
			log.Warn().Err(err).Msg("extend lease")
		}
	}
}

// settle records what became of a job.
func (q *Queue) settle(ctx context.Context, claim Claim, err error, log zerolog.Logger) error {
	now := q.clock.Now()
	var wait Retry
	switch {
	case err == nil:
		return q.store.Done(ctx, claim) //nolint:wrapcheck // work says what failed
	case errors.As(err, &wait):
		at := wait.RetryAt(now)
		log.Info().Err(err).Time("at", at).Msg("job waits")
		return q.store.Wait(ctx, claim, at.Sub(now), err.Error()) //nolint:wrapcheck // work says what failed
	case claim.Failures+1 >= q.opts.MaxAttempts:
		log.Error().Err(err).Msg("job given up")
		q.opts.OnDead(ctx, claim.Job, err.Error())
		return q.store.Dead(ctx, claim, err.Error()) //nolint:wrapcheck // work says what failed
	default:
		in := backoff(claim.Failures, q.opts.Jitter())
		log.Warn().Err(err).Dur("in", in).Msg("job failed")
		return q.store.Retry(ctx, claim, in, err.Error()) //nolint:wrapcheck // work says what failed
	}
}

// backoff is how long to wait after the failure that follows so many: it doubles from one second
// to five minutes, less up to half of it by jitter in [0, 1).
func backoff(failures int, jitter float64) time.Duration {
	wait := lastBackoff
	if failures < 9 { // 2⁹ s is past the last one
		wait = min(firstBackoff<<failures, lastBackoff)
	}
	return wait - time.Duration(jitter*float64(wait)/2) //nolint:mnd // half
}
