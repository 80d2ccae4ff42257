package storetest

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

const quarter = 15 * time.Minute

// look is an operation that looks at locks, as a comment asked for it.
func look(comment int64) operation.Operation {
	return operation.Operation{
		Kind: operation.ExplainLock, Repository: acme, Environment: "dev", Branch: "develop", Head: "h", Roots: []string{"infra"}, Actor: "ana",
		Pulls: []int{}, Lock: &operation.LockRequest{Comment: comment, Number: 41, Reason: "stuck"},
	}
}

func breaking(explained operation.Operation) operation.Operation {
	op := explained
	op.Kind, op.Priority = operation.BreakLease, 0
	op.Lock = &operation.LockRequest{
		Comment: 9, Number: 41, By: "ben", Said: 10, SaidIn: 41, Break: &operation.LockTask{ID: "id", ETag: "e", Code: "CODE", Request: 9, Two: true},
	}
	return op
}

func asked(of operation.Operation) store.Confirmation {
	return store.Confirmation{
		Repository: acme.ID, Code: "CODE", Command: "break-lease", Environment: "dev", Root: "infra", Operation: of.ID, Attempt: of.Attempt,
		Number: 41, Comment: 9, By: "ana", Two: true,
	}
}

func requestedOnce(t *testing.T, w *world) {
	first, err := w.Request(t.Context(), look(9), 9)
	if err != nil {
		t.Fatal(err)
	}
	again, err := w.Request(t.Context(), look(9), 9)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(first, again); diff != "" {
		t.Errorf("the same comment led to another operation (-first +again):\n%s", diff)
	}
	read, err := w.Operation(t.Context(), first.ID)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(look(9).Lock, read.Lock); diff != "" {
		t.Errorf("what is wanted of locks (-want +got):\n%s", diff)
	}
	if _, err := w.Request(t.Context(), breaking(first), 10); err == nil {
		t.Error("an operation that needs a hold was stored without one")
	}
	one, err := w.Request(t.Context(), look(0), 0)
	if err != nil {
		t.Fatal(err)
	}
	other, err := w.Request(t.Context(), look(0), 0)
	if err != nil || one.ID == other.ID {
		t.Errorf("two looks that no comment asked for are %d and %d, %v", one.ID, other.ID, err)
	}
}

func confirmedOnce(t *testing.T, w *world) {
	ctx := t.Context()
	explained, err := w.Request(ctx, look(9), 9)
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := w.Ask(ctx, asked(explained), quarter)
	if err != nil {
		t.Fatal(err)
	}
	if got := waiting.Expires.Sub(waiting.Asked); got != quarter || !waiting.Two {
		t.Errorf("it counts for %s, two asked: %v", got, waiting.Two)
	}
	w.clock.Advance(time.Minute)
	if again, err := w.Ask(ctx, asked(explained), quarter); err != nil || !again.Expires.Equal(waiting.Expires) {
		t.Errorf("asked again it counts until %s, not %s: %v", again.Expires, waiting.Expires, err)
	}
	alone := asked(explained)
	alone.Code, alone.Two = "ALONE", false
	for _, two := range []bool{false, true, false} {
		alone.Two = two
		if got, err := w.Ask(ctx, alone, quarter); err != nil || !got.Two && two {
			t.Errorf("two are asked: %v, %v", got.Two, err)
		}
	}
	if got, _, err := w.Confirmation(ctx, acme.ID, "ALONE"); err != nil || !got.Two {
		t.Errorf("once two were asked, one is enough: %v", err)
	}
	if _, err := w.QueueConfirmed(ctx, breaking(explained), "OTHER", 10, "ben"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("a code that nobody asked for: %v", err)
	}
	before, _, err := w.QueueApply(ctx, apply("develop", "a", 41))
	if err != nil {
		t.Fatal(err)
	}
	op, err := w.QueueConfirmed(ctx, breaking(explained), "CODE", 10, "ben")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.QueueConfirmed(ctx, breaking(explained), "CODE", 11, "cleo"); !errors.Is(err, store.ErrTaken) {
		t.Errorf("confirmed twice: %v", err)
	}
	if id, err := w.Requested(ctx, acme.ID, 10); err != nil || id != op.ID {
		t.Errorf("the comment led to %d, %v", id, err)
	}
	if taken, _, err := w.Confirmation(ctx, acme.ID, "CODE"); err != nil || taken.Taken != 10 || taken.TakenBy != "ben" {
		t.Errorf("taken %d by %q, %v", taken.Taken, taken.TakenBy, err)
	}
	next, ok, err := w.TakeHold(ctx, acme.ID, "dev")
	if err != nil || !ok || next.ID != op.ID {
		t.Errorf("%s has the hold, not what breaks the lock, which everything else would meet: %v", next, err)
	}
	if kept, err := w.Operation(ctx, before.ID); err != nil || kept.State != operation.Queued {
		t.Errorf("the apply that waits is %s, %v", kept.State, err)
	}
}

func confirmedLate(t *testing.T, w *world) {
	ctx := t.Context()
	explained, err := w.Request(ctx, look(9), 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Ask(ctx, asked(explained), quarter); err != nil {
		t.Fatal(err)
	}
	w.clock.Advance(quarter + time.Second)
	if _, err := w.QueueConfirmed(ctx, breaking(explained), "CODE", 10, "ben"); !errors.Is(err, store.ErrExpired) {
		t.Errorf("a code whose time is over: %v", err)
	}
	if ops, err := w.Operations(ctx, store.Filter{Kinds: []operation.Kind{operation.BreakLease}}); err != nil || len(ops) != 0 {
		t.Errorf("%d were queued all the same, %v", len(ops), err)
	}
	for _, after := range []struct {
		later time.Duration
		known bool
	}{{80 * 24 * time.Hour, true}, {20 * 24 * time.Hour, false}} {
		w.clock.Advance(after.later)
		if _, err := w.Forget(ctx, 24*time.Hour); err != nil {
			t.Fatal(err)
		}
		if _, known, err := w.Confirmation(ctx, acme.ID, "CODE"); err != nil || known != after.known {
			t.Errorf("%s later it is known: %v, %v", after.later, known, err)
		}
	}
}

func releasedConfirmed(t *testing.T, w *world) {
	ctx := t.Context()
	if _, _, err := w.QueueApply(ctx, apply("develop", "a", 41)); err != nil {
		t.Fatal(err)
	}
	holder, _, err := w.TakeHold(ctx, acme.ID, "dev")
	if err != nil {
		t.Fatal(err)
	}
	waiting := asked(holder)
	waiting.Command = "unlock"
	if _, err := w.Ask(ctx, waiting, quarter); err != nil {
		t.Fatal(err)
	}
	older := holder
	older.Attempt--
	if _, err := w.ReleaseHold(ctx, older, "CODE", 10, "ben", "gone"); !errors.Is(err, store.ErrLost) {
		t.Errorf("the hold of another attempt was released: %v", err)
	}
	released, err := w.ReleaseHold(ctx, holder, "CODE", 10, "ben", "gone")
	if err != nil || released.State != operation.Interrupted {
		t.Fatalf("%s, %v: what could not be released must leave its code as it was", released.State, err)
	}
	if _, held, err := w.Holder(ctx, acme.ID, "dev"); err != nil || held {
		t.Errorf("held: %v, %v", held, err)
	}
	left, err := w.EndedSince(ctx, released.Ended)
	if err != nil || len(left) != 1 || left[0].ID != holder.ID {
		t.Errorf("%d have ended since, %v", len(left), err)
	}
	if left, err = w.EndedSince(ctx, released.Ended.Add(time.Millisecond)); err != nil || len(left) != 0 {
		t.Errorf("%d have ended later, %v", len(left), err)
	}
}

func stopAnswers(t *testing.T, w *world) {
	ctx := t.Context()
	one := store.StopAnswer{Repository: acme.ID, Comment: 9, Number: 41, Environment: "dev", Who: "ana", Operations: []int64{1, 2}}
	other := store.StopAnswer{Repository: acme.ID, Comment: 8, Number: 42, Environment: "", Who: "ben", Operations: []int64{2}}
	for _, answer := range []store.StopAnswer{one, other, one} {
		if err := w.AwaitStop(ctx, answer); err != nil {
			t.Fatal(err)
		}
	}
	defer func() {
		if _, err := w.Forget(ctx, time.Hour); err != nil {
			t.Error(err)
		}
		if left, err := w.StopAnswers(ctx, 2); err != nil || len(left) != 0 {
			t.Errorf("%d answers wait for operations that are not there, %v", len(left), err)
		}
	}()
	for id, want := range map[int64][]store.StopAnswer{1: {one}, 2: {other, one}, 3: nil} {
		got, err := w.StopAnswers(ctx, id)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("operation %d (-want +got):\n%s", id, diff)
		}
	}
}

// release releases a hold as somebody who was asked about exactly that attempt.
func (w *world) release(t *testing.T, seen operation.Operation, by, message string) (operation.Operation, error) {
	t.Helper()
	w.codes++
	code := fmt.Sprintf("CODE%d", w.codes)
	_, err := w.Ask(t.Context(), store.Confirmation{
		Repository: seen.Repository.ID, Code: code, Command: "unlock", Environment: seen.Environment, Operation: seen.ID, Attempt: seen.Attempt,
	}, quarter)
	must(t, err)
	return w.ReleaseHold(t.Context(), seen, code, int64(w.codes), by, message)
}
