package queue_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// world is a queue on a database of its own, whose clock stands still until it is moved.
type world struct {
	*store.Store

	t       *testing.T
	clock   *clockwork.FakeClock
	queue   *queue.Queue
	settled chan string // how each job ended, after it was recorded
	extend  func(context.Context, queue.Claim, time.Duration) error
	beats   chan error // the result of each Extend
	dead    []string
	drained chan struct{}
	drain   context.CancelFunc
}

const lease = 30 * time.Second

func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }

// each runs a test on each database; source names a new one.
func each(t *testing.T, test func(t *testing.T, source string)) {
	t.Helper()
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		test(t, sqlite(t))
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		test(t, pgtest.New(t))
	})
}

func sqlite(t *testing.T) string {
	t.Helper()
	return "sqlite:" + filepath.Join(t.TempDir(), "q.db")
}

func newWorld(t *testing.T, source string, opts queue.Options) *world {
	t.Helper()
	clock := clockwork.NewFakeClock()
	s, err := store.Open(context.WithoutCancel(t.Context()), source, clock)
	must(t, err)
	w := &world{
		Store: s, t: t, clock: clock, settled: make(chan string, 100), beats: make(chan error, 100), extend: s.Extend,
		drained: make(chan struct{}),
	}
	if opts.Workers == nil {
		opts.Workers = map[queue.Class]int{queue.Quick: 1}
	}
	opts.Lease = lease
	opts.Jitter = func() float64 { return 0 }
	opts.OnDead = func(_ context.Context, job queue.Job, reason string) { w.dead = append(w.dead, job.Key+": "+reason) }
	w.queue = queue.New(w, clock, zerolog.New(zerolog.NewTestWriter(t)), opts)
	return w
}

func (w *world) Done(ctx context.Context, c queue.Claim) error {
	return w.ended("done", w.Store.Done(ctx, c))
}

func (w *world) Dead(ctx context.Context, c queue.Claim, reason string) error {
	return w.ended("dead: "+reason, w.Store.Dead(ctx, c, reason))
}

func (w *world) Retry(ctx context.Context, c queue.Claim, in time.Duration, reason string) error {
	return w.ended("retry in "+in.String()+": "+reason, w.Store.Retry(ctx, c, in, reason))
}

func (w *world) Wait(ctx context.Context, c queue.Claim, in time.Duration, reason string) error {
	return w.ended("wait "+in.String()+": "+reason, w.Store.Wait(ctx, c, in, reason))
}

func (w *world) Extend(ctx context.Context, c queue.Claim, lease time.Duration) error {
	err := w.extend(ctx, c, lease)
	w.beats <- err
	return err
}

// run starts the queue; the test ends by draining it.
func (w *world) run() {
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	w.drain = cancel
	go func() {
		defer close(w.drained)
		if err := w.queue.Run(ctx); err != nil {
			w.t.Errorf("Run gives %v", err)
		}
	}()
	w.t.Cleanup(func() {
		cancel()
		w.queue.Stop()
		<-w.drained
		must(w.t, w.Close())
	})
}

func (w *world) ended(how string, err error) error {
	if err != nil {
		how += ": " + err.Error()
	}
	w.settled <- how
	return err
}

func (w *world) enqueue(keys ...string) {
	w.t.Helper()
	for _, key := range keys {
		must(w.t, w.Enqueue(w.t.Context(), queue.Job{Class: queue.Quick, Kind: "k", Key: key}))
	}
}

// settles waits until a job has ended and fails the test unless it ended so.
func (w *world) settles(want string) {
	w.t.Helper()
	if got := receive(w.t, w.settled); got != want {
		w.t.Fatalf("the job ended as %q, want %q", got, want)
	}
}

// idle waits until one timer runs, that of an idle worker or of a lease, then moves the clock.
func (w *world) idle(d time.Duration) {
	w.t.Helper()
	must(w.t, w.clock.BlockUntilContext(w.t.Context(), 1))
	w.clock.Advance(d)
}

// blocking makes a handler that says which key it has begun and ends when it is let go.
func (w *world) blocking() (begun chan string, release chan error) {
	begun, release = make(chan string, 10), make(chan error)
	w.queue.Handle("k", func(ctx context.Context, job queue.Job, _ queue.Claim) error {
		begun <- job.Key
		select {
		case err := <-release:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})
	return begun, release
}

func TestJobsRunAsSoonAsTheyAreQueued(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{})
		w.queue.Handle("k", func(context.Context, queue.Job, queue.Claim) error { return nil })
		w.run()
		for range 3 { // the clock stands still, so that only a wake can start them
			w.enqueue("a")
			w.settles("done")
		}
	})
}

func TestWorkersRunBesideEachOther(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{Workers: map[queue.Class]int{queue.Quick: 2, queue.Long: 1}})
		begun, release := w.blocking()
		w.run()
		w.enqueue("a", "a", "b")
		must(t, w.Enqueue(t.Context(), queue.Job{Class: queue.Long, Kind: "k", Key: "long"}))
		first := []string{receive(t, begun), receive(t, begun), receive(t, begun)}
		slices.Sort(first)
		if !slices.Equal(first, []string{"a", "b", "long"}) {
			t.Fatalf("%v run beside each other", first)
		}
		for range 3 {
			release <- nil
			w.settles("done")
		}
		if next := receive(t, begun); next != "a" {
			t.Errorf("then %s runs", next)
		}
		release <- nil
		w.settles("done")
	})
}

func TestADrainWaitsForWhatRuns(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, sqlite(t), queue.Options{}) // synctest cannot tell when a server elsewhere is idle
		begun, release := w.blocking()
		w.run()
		w.enqueue("a", "b")
		receive(t, begun)
		w.drain()
		synctest.Wait()
		select {
		case <-w.drained:
			t.Fatal("Run returned while a job was running")
		case release <- nil: // the handler is still there, and its context has not ended
		}
		w.settles("done")
		receive(t, w.drained)
		if len(begun) > 0 {
			t.Errorf("%s was begun after the drain", <-begun)
		}
	})
}

func TestStopPutsJobsBackWithoutAFailure(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{})
		begun, _ := w.blocking()
		w.run()
		w.enqueue("a")
		receive(t, begun)
		w.drain()
		w.queue.Stop()
		w.settles("wait 0s: the server stops")
		receive(t, w.drained)
		claim, ok, err := w.Claim(t.Context(), queue.Quick, "w", lease)
		if err != nil || !ok || claim.Failures != 0 {
			t.Errorf("afterwards: %+v, %v, %v", claim, ok, err)
		}
	})
}

func TestAPoisonedJobDiesAndTheNextOfItsKeyRuns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{MaxAttempts: 3})
		calls := 0
		w.queue.Handle("k", func(_ context.Context, _ queue.Job, claim queue.Claim) error {
			calls++
			switch {
			case claim.ID > 1:
				return nil
			case calls == 2:
				panic("boom")
			default:
				return errors.New("boom")
			}
		})
		w.run()
		w.enqueue("a", "a")
		w.settles("retry in 1s: boom")
		w.idle(time.Second)
		w.settles("retry in 2s: handler panicked: boom")
		w.idle(2 * time.Second)
		w.settles("dead: boom")
		w.settles("done")
		if !slices.Equal(w.dead, []string{"a: boom"}) {
			t.Errorf("OnDead was told %q", w.dead)
		}
	})
}

func TestAJobThatKillsItsWorkersDiesToo(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{MaxAttempts: 2})
		w.queue.Handle("k", func(context.Context, queue.Job, queue.Claim) error {
			t.Error("it was begun a third time")
			return nil
		})
		w.enqueue("a")
		for range 2 {
			_, ok, err := w.Claim(t.Context(), queue.Quick, "died", lease)
			if err != nil || !ok {
				t.Fatal(ok, err)
			}
			w.clock.Advance(lease)
		}
		w.run()
		w.settles("dead: its workers died while they did it")
	})
}

func TestAJobOfAnUnknownKindFails(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{MaxAttempts: 1})
		w.run()
		w.enqueue("a")
		w.settles(`dead: no handler for jobs of kind "k"`)
	})
}

type rateLimit struct{ wait time.Duration }

func (r rateLimit) Error() string                   { return "rate limit" }
func (r rateLimit) RetryAt(now time.Time) time.Time { return now.Add(r.wait) }
func wrapped(err error) error                       { return errors.Join(errors.New("create check run"), err) }

func always(err error) queue.Handler {
	return func(context.Context, queue.Job, queue.Claim) error { return err }
}

func TestAWaitIsNoFailure(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{MaxAttempts: 1})
		w.queue.Handle("k", always(wrapped(rateLimit{time.Hour})))
		w.run()
		w.enqueue("a")
		for range 3 {
			w.settles("wait 1h0m0s: create check run\nrate limit")
			w.idle(time.Hour)
		}
	})
}

func TestALeaseIsExtendedWhileAJobRuns(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{})
		begun, release := w.blocking()
		trouble := false
		w.extend = func(ctx context.Context, c queue.Claim, lease time.Duration) error {
			if trouble {
				return errors.New("disk I/O error")
			}
			return w.Store.Extend(ctx, c, lease)
		}
		w.run()
		w.enqueue("a")
		receive(t, begun)
		for beat := range 8 {
			trouble = beat == 3 || beat == 4 // less than a lease after one that went well: nothing is lost
			w.idle(lease / 3)
			if err := receive(t, w.beats); trouble != (err != nil) {
				t.Fatalf("beat %d gives %v", beat, err)
			}
		}
		if _, ok, err := w.Claim(t.Context(), queue.Quick, "other", lease); ok || err != nil {
			t.Errorf("somebody else could claim it: %v, %v", ok, err)
		}
		release <- nil
		w.settles("done")
	})
}

func TestALostLeaseEndsTheHandler(t *testing.T) {
	t.Parallel()
	for name, extend := range map[string]error{
		"when somebody else has the job":                       queue.ErrLost,
		"when the database does not answer until it has ended": errors.New("disk I/O error"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			each(t, func(t *testing.T, source string) {
				w := newWorld(t, source, queue.Options{})
				w.extend = func(context.Context, queue.Claim, time.Duration) error { return extend }
				begun, ended := make(chan struct{}), make(chan error, 1)
				w.queue.Handle("k", func(ctx context.Context, _ queue.Job, _ queue.Claim) error {
					close(begun)
					<-ctx.Done()
					ended <- context.Cause(ctx)
					return ctx.Err()
				})
				w.run()
				w.enqueue("a")
				receive(t, begun)
				w.drain() // else the job, free again, would be claimed at once
				for range 3 {
					w.idle(lease / 3)
					if err := receive(t, w.beats); errors.Is(err, queue.ErrLost) {
						break
					}
				}
				if err := receive(t, ended); !errors.Is(err, queue.ErrLost) {
					t.Errorf("its context ended because of %v", err)
				}
				receive(t, w.drained)
				if len(w.settled) > 0 {
					t.Errorf("the lost job was recorded as %s", <-w.settled)
				}
			})
		})
	}
}

func TestBackoffDoublesUpToFiveMinutes(t *testing.T) {
	t.Parallel()
	for failures, seconds := range []int{1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		want := time.Duration(seconds) * time.Second
		if got := queue.Backoff(failures, 0); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
		if got := queue.Backoff(failures, 0.999); got < want/2 || got >= want {
			t.Errorf("after %d failures with jitter: %v", failures, got)
		}
	}
	if got := queue.Backoff(1<<40, 0); got != 5*time.Minute {
		t.Errorf("after very many failures: %v", got)
	}
}

func TestADatabaseInTroubleIsAskedAgain(t *testing.T) {
	t.Parallel()
	each(t, func(t *testing.T, source string) {
		w := newWorld(t, source, queue.Options{})
		w.queue.Handle("k", always(nil))
		broken := &brokenOnce{world: w, asked: make(chan struct{}, 1)}
		w.queue = queue.New(broken, w.clock, zerolog.New(zerolog.NewTestWriter(t)),
			queue.Options{Workers: map[queue.Class]int{queue.Quick: 1}})
		w.queue.Handle("k", always(nil))
		w.enqueue("a")
		w.run()
		receive(t, broken.asked)
		w.idle(time.Second)
		w.settles("done")
	})
}

// brokenOnce fails the first Claim.
type brokenOnce struct {
	*world

	asked chan struct{}
	works bool
}

func (b *brokenOnce) Claim(ctx context.Context, class queue.Class, worker string, lease time.Duration) (queue.Claim, bool, error) {
	if !b.works {
		b.works = true
		b.asked <- struct{}{}
		return queue.Claim{}, false, errors.New("disk I/O error")
	}
	return b.world.Claim(ctx, class, worker, lease)
}

// receive waits for a value as long as the test may run.
func receive[T any](t *testing.T, from <-chan T) T {
	t.Helper()
	select {
	case value := <-from:
		return value
	case <-t.Context().Done():
		t.Fatal("the test ended first")
	case <-time.After(20 * time.Second): // only a failing test waits that long
		t.Fatal("nothing happened")
	}
	panic("unreachable")
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
