package deploy //nolint:testpackage // two servers that meet between two of their steps are seen from inside only

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// stoppable is an executor of one attempt, which goes on until it ends.
type stoppable struct {
	executor.Executor

	unknown error // why the attempt cannot be found; nil: it can
	told    chan struct{}
	waited  chan struct{} // somebody waits for it
	ends    chan struct{}
}

func newStoppable() *stoppable {
	return &stoppable{told: make(chan struct{}, 10), waited: make(chan struct{}, 10), ends: make(chan struct{})}
}

func (s *stoppable) Resume(context.Context, int64, int, string) (executor.Run, error) {
	return s, s.unknown
}

func (s *stoppable) Stop() { s.told <- struct{}{} }

func (s *stoppable) Wait(ctx context.Context) (operation.Result, error) {
	s.waited <- struct{}{}
	select {
	case <-s.ends:
		return operation.Result{}, &executor.InterruptedError{Reason: "it ended"}
	case <-ctx.Done():
		return operation.Result{}, context.Cause(ctx)
	}
}

// await waits for a signal.
func await(t *testing.T, what string, signal <-chan struct{}) {
	t.Helper()
	select {
	case <-signal:
	case <-time.After(time.Minute): //nolint:forbidigo // how long a test waits
		t.Fatal(what + ": it did not happen")
	}
}

// ordered checks whether an order to stop an operation is kept.
func ordered(t *testing.T, data *store.Store, op operation.Operation, want bool) {
	t.Helper()
	ids, err := data.ToStop(t.Context(), op.Host)
	if got := slices.Contains(ids, op.ID); err != nil || got != want {
		t.Errorf("an order to stop %s at attempt %d is kept: %v, %v", op, op.Attempt, got, err)
	}
}

func TestACancelIsNotLostWithTheServerThatTookIt(t *testing.T) {
	t.Parallel()
	// cancelled has one server take a /cancel of an apply, and look after its runners.
	cancelled := func(t *testing.T, d *Deploy, op operation.Operation) {
		t.Helper()
		if ok, err := d.stopAnywhere(t.Context(), op); err != nil || !ok {
			t.Fatalf("it is said that it is being stopped: %v, %v", ok, err)
		}
		if err := d.stopAsked(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	launched := func(t *testing.T) (*Deploy, *store.Store, operation.Operation) {
		t.Helper()
		d, data, op := newHeld(t, true)
		if err := data.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, "l"); err != nil {
			t.Fatal(err)
		}
		op.Host, op.Launch = operation.HostActions, "l"
		return d, data, op
	}
	t.Run("while another one dispatches its run", func(t *testing.T) {
		t.Parallel()
		d, data, op := launched(t)
		d.Actions = &stoppable{unknown: errors.New("whether GitHub made a run is not known yet")}
		cancelled(t, d, op)
		ordered(t, data, op, true)

		other := New(d.Options) // which has dispatched it by now
		runs := newStoppable()
		other.Actions = runs
		if err := other.begin(op.ID); err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = other.wait(t.Context(), op.ID, runs)
		}()
		for range 2 {
			if err := other.stopAsked(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		await(t, "the other server cancels the run", runs.told)
		ordered(t, data, op, true) // GitHub may not have taken it
		close(runs.ends)
		await(t, "the run ends", done)
		if len(runs.told) > 0 {
			t.Error("it is told twice")
		}
	})
	t.Run("which sees to the apply itself and is killed", func(t *testing.T) {
		t.Parallel()
		d, data, op := launched(t)
		if err := d.begin(op.ID); err != nil {
			t.Fatal(err)
		}
		cancelled(t, d, op)
		ordered(t, data, op, true)
	})
	t.Run("before its runner was started", func(t *testing.T) {
		t.Parallel()
		d, data, op := newHeld(t, true)
		cancelled(t, d, op)
		if free, err := d.resume(t.Context(), drive{Repository: op.Repository, Environment: op.Environment}); !free || err != nil {
			t.Errorf("the next server finds the environment free: %v, %v", free, err)
		}
		now, err := data.Operation(t.Context(), op.ID)
		if err != nil || now.State != operation.Cancelled {
			t.Errorf("then it is %s, %v", now.State, err)
		}
	})
	t.Run("when GitHub never made its run", func(t *testing.T) {
		t.Parallel()
		d, data, op := launched(t)
		d.Actions = &stoppable{unknown: executor.ErrUnknown}
		cancelled(t, d, op)
		if err := d.begin(op.ID); err != nil {
			t.Fatal(err)
		}
		if err := d.takeUp(t.Context(), op); err != nil {
			t.Error(err)
		}
		now, err := data.Operation(t.Context(), op.ID)
		if err != nil || now.State != operation.Cancelled {
			t.Errorf("then it is %s, %v", now.State, err)
		}
	})
	t.Run("and does not stop the next attempt", func(t *testing.T) {
		t.Parallel()
		d, data, op := launched(t)
		read := op
		op, err := data.Requeue(t.Context(), op.ID, op.Attempt, op.Host, "its runner was not started")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := d.stopAnywhere(t.Context(), read); !errors.Is(err, store.ErrLost) {
			t.Errorf("the /cancel of what was put back meanwhile is to be looked at again: %v", err)
		}
		ordered(t, data, op, false)
	})
}

func TestWhatIsLeftOfASupersededPlanIsStopped(t *testing.T) {
	t.Parallel()
	d, data, _ := newHeld(t, false)
	op, err := data.CreateOperation(t.Context(), operation.Operation{Kind: operation.Plan, Repository: network, Environment: "dev", Pull: 7})
	if err == nil {
		op, _, err = data.Start(t.Context(), op.ID)
	}
	if err == nil {
		err = data.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, "l")
	}
	if err != nil {
		t.Fatal(err)
	}
	superseded, err := data.SupersedePlans(t.Context(), network.ID, 7, 0, "a newer head")
	if err != nil || len(superseded) != 1 {
		t.Fatal(superseded, err)
	}
	if _, err := d.stopAnywhere(t.Context(), superseded[0]); err != nil {
		t.Fatal(err)
	}
	runs := newStoppable()
	runs.unknown = errors.New("whether GitHub made a run is not known yet")
	d.Actions = runs
	tick := func() {
		t.Helper()
		if err := d.stopAsked(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	idle := func() {
		t.Helper()
		ticker := time.NewTicker(time.Millisecond) //nolint:forbidigo // the end of its goroutine gives no signal
		defer ticker.Stop()
		tooLong := time.After(time.Minute) //nolint:forbidigo // how long a test waits
		for d.watches(op.ID) {
			select {
			case <-ticker.C:
			case <-tooLong:
				t.Fatal("it is still seen to")
			}
		}
	}
	clock := d.Clock.(*clockwork.FakeClock) //nolint:forcetypeassert // newHeld gives it
	tick()
	idle()
	ordered(t, data, superseded[0], true)
	runs.unknown = nil
	tick() // too early
	idle()
	if len(runs.told) > 0 {
		t.Error("it is tried again at once")
	}
	clock.Advance(tendEvery)
	tick()
	await(t, "its run is cancelled", runs.told)
	await(t, "its end is waited for", runs.waited)
	tick() // once is enough
	ordered(t, data, superseded[0], true)
	close(runs.ends)
	idle()
	ordered(t, data, superseded[0], false)
	if len(runs.told) > 0 {
		t.Error("it is told twice")
	}
}

func TestStoppingWhatIsLeftIsTriedEverMoreSeldom(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	var u unstopped
	now := start
	for _, seconds := range []int{2, 4, 8, 16, 32, 64, 128, 256, 300, 300} {
		want := time.Duration(seconds) * time.Second
		first := u.failed(7, now, errors.New("not known yet"))
		due := now.Add(want)
		if first != now.Equal(start) || !u.waits(7, due.Add(-1)) || u.waits(7, due) || u.waits(8, now) {
			t.Errorf("after %v: first: %v; it does not wait for %v", now.Sub(start), first, want)
		}
		now = due
	}
	later := now.Add(time.Hour)
	u.failed(7, now, fmt.Errorf("find it: %w", &hub.Wait{Until: later}))
	if !u.waits(7, later.Add(-1)) || u.waits(7, later) {
		t.Error("the time that GitHub names is not kept")
	}
	u.keep([]int64{7})
	if !u.waits(7, now) {
		t.Error("what is still to be stopped was forgotten")
	}
	u.keep(nil)
	if u.waits(7, now) || len(u.next) > 0 {
		t.Error("what was stopped is still kept")
	}
}
