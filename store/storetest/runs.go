package storetest

import (
	"errors"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

func workflowRuns(t *testing.T, w *world) {
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	task := operation.Task{
		Operation: op.ID, Attempt: op.Attempt, Launch: "nonce", Repository: acme, Kind: operation.Apply,
		Job: &operation.Job{Workflow: "switchyard.yml", Shards: [][]string{{"a"}}},
	}
	if _, err := w.Run(t.Context(), op.ID, op.Attempt, "nonce"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("before it was asked for: %v", err)
	}
	must(t, w.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, "nonce"))
	asked, err := w.AskForRun(t.Context(), operation.WorkflowRun{Task: task})
	must(t, err)
	if asked.At.IsZero() {
		t.Error("it has no time")
	}
	if _, err := w.AskForRun(t.Context(), operation.WorkflowRun{Task: task}); !errors.Is(err, store.ErrLost) {
		t.Errorf("asking twice gives %v", err)
	}
	if ours, err := w.HintRun(t.Context(), acme.ID, 0); ours || err != nil {
		t.Errorf("a hint about no run: %v, %v", ours, err)
	}
	asked.Run, asked.URL, asked.Head, asked.Said = 7, "https://github.com/7", "c0ffee", "It runs."
	must(t, w.SaveRun(t.Context(), asked))
	for repository, want := range map[int64]bool{acme.ID: true, acme.ID + 1: false} {
		if ours, err := w.HintRun(t.Context(), repository, 7); ours != want || err != nil {
			t.Errorf("a hint of repository %d: %v, %v", repository, ours, err)
		}
	}
	if ours, err := w.HintRun(t.Context(), acme.ID, 8); ours || err != nil {
		t.Errorf("a hint about another run: %v, %v", ours, err)
	}
	got, err := w.Run(t.Context(), op.ID, op.Attempt, "nonce")
	must(t, err)
	asked.Hint = 1
	equal(t, got, asked)
}

// fencedRuns: whoever looks for a run that may never have been made, and whoever asks for it, never both go on.
func fencedRuns(t *testing.T, w *world) {
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	of := func(attempt int, launch string) operation.WorkflowRun {
		return operation.WorkflowRun{Task: operation.Task{
			Operation: op.ID, Attempt: attempt, Launch: launch, Repository: acme, Kind: operation.Apply, Job: &operation.Job{},
		}}
	}
	lost := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrLost) {
			t.Errorf("%s: %v", what, err)
		}
	}
	ask := func(what string, run operation.WorkflowRun) {
		t.Helper()
		_, err := w.AskForRun(t.Context(), run)
		lost(what, err)
	}
	ask("asking before it is launched", of(op.Attempt, "nonce"))
	must(t, w.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, "nonce"))
	ask("asking for another launch", of(op.Attempt, "another"))
	ask("asking for another attempt", of(op.Attempt+1, "nonce"))
	first, err := w.AskForRun(t.Context(), of(op.Attempt, "nonce"))
	must(t, err)

	w.clock.Advance(time.Minute)
	again, err := w.AskForRunAgain(t.Context(), first)
	must(t, err)
	if kept, err := w.Run(t.Context(), op.ID, op.Attempt, "nonce"); err != nil || !kept.At.Equal(w.clock.Now()) || !again.At.Equal(kept.At) {
		t.Errorf("asked for again, it has the time %v, %v, %v", kept.At, again.At, err)
	}
	lost("forgetting what was asked for again", w.ForgetRun(t.Context(), first))
	known := again
	known.Run = 7
	must(t, w.SaveRun(t.Context(), known))
	lost("forgetting what is known", w.ForgetRun(t.Context(), again))
	_, err = w.AskForRunAgain(t.Context(), again)
	lost("asking again for what is known", err)
	must(t, w.SaveRun(t.Context(), again)) // as it was
	must(t, w.ForgetRun(t.Context(), again))
	if _, err := w.Run(t.Context(), op.ID, op.Attempt, "nonce"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after it was forgotten: %v", err)
	}
	lost("keeping what was forgotten", w.SaveRun(t.Context(), known))
	_, err = w.AskForRunAgain(t.Context(), again)
	lost("asking again for what was forgotten", err)

	_, err = w.Requeue(t.Context(), op.ID, op.Attempt, operation.HostActions, "it was never made")
	must(t, err)
	ask("asking after it was put back", of(op.Attempt, "nonce"))
	w.takeHold(t)
	ask("asking while the next attempt runs", of(op.Attempt, "nonce"))
}

// stopOrders: an order to stop is of one attempt, and stays until that has ended.
func stopOrders(t *testing.T, w *world) {
	stopping := func(host string, want ...int64) {
		t.Helper()
		got, err := w.ToStop(t.Context(), host)
		must(t, err)
		equal(t, got, want)
	}
	queued := w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	if err := w.AskToStop(t.Context(), op.ID, queued.Attempt); !errors.Is(err, store.ErrLost) {
		t.Errorf("an order to stop an earlier attempt: %v", err)
	}
	must(t, w.AskToStop(t.Context(), op.ID, op.Attempt))
	stopping("", op.ID)
	must(t, w.Launch(t.Context(), op.ID, op.Attempt, "one", "nonce"))
	stopping("one", op.ID)
	stopping("two")
	// It came too late, and somebody says yes to what the runner asked about.
	_, err := w.Finish(t.Context(), store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Unconfirmed, Question: "q",
		Result: &operation.Result{Attempt: op.Attempt, Launch: "nonce"},
	})
	must(t, err)
	stopping("one")
	must(t, w.AskToStop(t.Context(), op.ID, op.Attempt)) // by who had read it before
	_, err = w.Confirm(t.Context(), op.ID, "q", "ana", 12)
	must(t, err)
	next := w.takeHold(t)
	must(t, w.Launch(t.Context(), next.ID, next.Attempt, "one", "nonce"))
	stopping("one")
	// Its runner left no word: something of it may be left.
	must(t, w.AskToStop(t.Context(), next.ID, next.Attempt))
	w.finish(t, next, operation.Interrupted)
	stopping("one", next.ID)
	must(t, w.Stopped(t.Context(), next.ID, next.Attempt-1))
	stopping("one", next.ID)
	must(t, w.Stopped(t.Context(), next.ID, next.Attempt))
	stopping("one")
}

// stoppedUnbegun: what somebody asked to stop is not begun anew when whoever was to start its runner is gone.
func stoppedUnbegun(t *testing.T, w *world) {
	queued := w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	must(t, w.AskToStop(t.Context(), op.ID, op.Attempt))
	ended, err := w.Requeue(t.Context(), op.ID, op.Attempt, "", "its runner was not started")
	must(t, err)
	if ended.State != operation.Cancelled || ended.ID != queued.ID || w.held(t) {
		t.Errorf("put back: %s is %s, held: %v", ended, ended.State, w.held(t))
	}
	planned, err := w.CreateOperation(t.Context(), plan(41))
	must(t, err)
	planned, _, err = w.Start(t.Context(), planned.ID)
	must(t, err)
	must(t, w.Launch(t.Context(), planned.ID, planned.Attempt, "one", "nonce"))
	must(t, w.AskToStop(t.Context(), planned.ID, planned.Attempt))
	again, started, err := w.Start(t.Context(), planned.ID)
	must(t, err)
	if started || again.State != operation.Cancelled {
		t.Errorf("begun anew: %v, it is %s", started, again.State)
	}
	left, err := w.ToStop(t.Context(), "one") // where its first runner may still be at work
	must(t, err)
	equal(t, left, []int64{planned.ID})
}

func forgottenRuns(t *testing.T, w *world) {
	const month = 30 * 24 * time.Hour
	must(t, w.SaveRepository(t.Context(), acme, "main"))
	ran := func(op operation.Operation, run int64) {
		must(t, w.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, "nonce"))
		asked, err := w.AskForRun(t.Context(), operation.WorkflowRun{Task: operation.Task{
			Operation: op.ID, Attempt: op.Attempt, Launch: "nonce", Repository: acme, Kind: op.Kind, Job: &operation.Job{},
		}})
		must(t, err)
		asked.Run = run
		must(t, w.SaveRun(t.Context(), asked))
		must(t, w.SaveGate(t.Context(), store.Gate{Repository: acme.ID, Run: run, Attempt: 1, Environment: "dev", Answer: "approved"}))
	}
	left := func(want ...int64) {
		t.Helper()
		var runs, gates []int64
		for run := range int64(10) {
			if _, known, err := w.RunNumbered(t.Context(), acme.ID, run); err != nil || known {
				must(t, err)
				runs = append(runs, run)
			}
			gate, err := w.Gate(t.Context(), acme.ID, run, 1, "dev")
			must(t, err)
			if gate.Answer != "" {
				gates = append(gates, run)
			}
		}
		equal(t, runs, want)
		equal(t, gates, want)
	}
	w.queueApply(t, apply("develop", "h1"))
	old := w.takeHold(t)
	ran(old, 1)
	w.finish(t, old, operation.Succeeded)
	w.queueApply(t, apply("develop", "h2"))
	open := w.takeHold(t)
	ran(open, 2)
	w.clock.Advance(month)
	_, err := w.Forget(t.Context(), time.Minute)
	must(t, err)
	left(1, 2)
	w.clock.Advance(2 * month)
	planned, err := w.CreateOperation(t.Context(), plan(41))
	must(t, err)
	planned, _, err = w.Start(t.Context(), planned.ID)
	must(t, err)
	ran(planned, 3)
	w.finish(t, planned, operation.Succeeded)
	_, err = w.Forget(t.Context(), 4*month) // the server keeps things longer than that
	must(t, err)
	left(1, 2, 3)
	_, err = w.Forget(t.Context(), month)
	must(t, err)
	left(2, 3)
	w.finish(t, open, operation.Failed)
	_, err = w.Forget(t.Context(), month)
	must(t, err)
	left(3)
}

func wordsOfPeople(t *testing.T, w *world) {
	queued, _, err := w.QueueApplyAgain(t.Context(), apply("develop", "h1"), 11)
	must(t, err)
	op := w.takeHold(t)
	words, err := w.Words(t.Context(), op, []string{"h1"})
	must(t, err)
	equal(t, words, []operation.Word(nil))
	_, err = w.Finish(t.Context(), store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Unconfirmed, Question: "q"})
	must(t, err)
	_, err = w.Confirm(t.Context(), queued.ID, "q", "ana", 12)
	must(t, err)
	held := store.Approval{
		Repository: acme.ID, Target: operation.Target{Root: "a", Environment: "dev"}, Head: "h0", Who: "ben", Comment: 9,
		Held: operation.Held{Address: "x", Rule: operation.RiskReplace, Change: "c"},
	}
	other, elsewhere := held, held
	other.Held.Address, elsewhere.Head, elsewhere.Comment = "y", "h9", 10
	must(t, w.Unblock(t.Context(), held, other, elsewhere))
	words, err = w.Words(t.Context(), w.takeHold(t), []string{"h1", "h0"})
	must(t, err)
	equal(t, words, []operation.Word{{Comment: 12, Login: "ana"}, {Comment: 9, Login: "ben"}})
}
