package deploy //nolint:testpackage // what keeps an apply from being begun, and what outlives its runner, cannot be brought about from outside

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

var network = operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"}

// newHeld makes a Deploy on a database of its own in which an apply to dev has taken its hold, or waits for it.
func newHeld(t *testing.T, take bool) (*Deploy, *store.Store, operation.Operation) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	data, clock := openData(t)
	if err := data.SaveRepository(ctx, network, "main"); err != nil {
		t.Fatal(err)
	}
	mirrors := git.New(t.TempDir(), func(operation.Repository) string { return "http://127.0.0.1:1/nowhere.git" },
		func(context.Context, operation.Repository) (string, error) { return "", nil }, git.Options{})
	t.Cleanup(func() { _ = mirrors.Close() })
	op, _, err := data.QueueApply(ctx, operation.Operation{
		Kind: operation.Apply, Repository: network, Environment: "dev", Branch: "develop", Head: "h", Actor: "ana",
	})
	if err != nil {
		t.Fatal(err)
	}
	if take {
		if op, _, err = data.TakeHold(ctx, network.ID, "dev"); err != nil {
			t.Fatal(err)
		}
	}
	return New(Options{Store: data, Git: mirrors, Clock: clock, ApplyLimit: time.Hour}), data, op
}

// Each try of one job is counted by the queue, which gives it up in the end: were a new job to go on with the apply, its
// failures would begin from zero for ever, and nobody would be told.
func TestAnApplyThatCannotBeBegunFailsInOneAndTheSameJob(t *testing.T) {
	t.Parallel()
	d, data, op := newHeld(t, false)
	for try := 1; try <= 3; try++ {
		if err := d.advance(t.Context(), drive{Repository: network, Environment: "dev"}); err == nil {
			t.Fatalf("try %d: it was begun", try)
		}
		held, ok, err := data.Holder(t.Context(), network.ID, "dev")
		if err != nil || !ok || held.ID != op.ID || held.Attempt < try || held.Host != "" {
			t.Errorf("after try %d the hold has %s at attempt %d on %q, %v, %v", try, held, held.Attempt, held.Host, ok, err)
		}
	}
	depths, err := data.Depths(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, depth := range depths {
		if depth.Waiting > 0 {
			t.Errorf("%d more jobs wait: %s", depth.Waiting, depth.Class)
		}
	}
}

// orphan is an attempt whose runner is dead while Terraform goes on, until it is killed.
type orphan struct {
	executor.Executor
	killed chan struct{}
}

func (o orphan) Resume(context.Context, int64, int, string) (executor.Run, error) { return o, nil }

func (o orphan) Stop() {}

func (o orphan) Kill(context.Context, int64, int, string) error {
	close(o.killed)
	return nil
}

func (o orphan) Wait(ctx context.Context) (operation.Result, error) {
	select {
	case <-o.killed:
		return operation.Result{}, &executor.InterruptedError{Reason: "signal: killed"}
	case <-ctx.Done():
		return operation.Result{}, context.Cause(ctx)
	}
}

func TestWhatARunnerLeftBehindIsKilledWhenTheTimeLimitOfItsApplyHasPassed(t *testing.T) {
	t.Parallel()
	d, _, op := newHeld(t, true)
	left := orphan{killed: make(chan struct{})}
	d.Executor = left
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	interrupted := &executor.InterruptedError{Reason: "signal: killed", Running: true}
	if err := d.outlast(ctx, op, interrupted); !errors.Is(err, interrupted) {
		t.Errorf("when the server stops: %v", err)
	}
	select {
	case <-left.killed:
		t.Fatal("Terraform was killed before the time limit of its apply")
	default:
	}
	op.Started = op.Started.Add(-2 * time.Hour)
	if err := d.outlast(t.Context(), op, interrupted); !errors.Is(err, interrupted) {
		t.Errorf("after the limit: %v", err)
	}
	select {
	case <-left.killed:
	default:
		t.Error("what is left of it goes on for ever")
	}
}
