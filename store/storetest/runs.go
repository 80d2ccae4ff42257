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
	must(t, w.ForgetRun(t.Context(), asked))
	if _, err := w.Run(t.Context(), op.ID, op.Attempt, "nonce"); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("after it was forgotten: %v", err)
	}
}

func forgottenRuns(t *testing.T, w *world) {
	const month = 30 * 24 * time.Hour
	must(t, w.SaveRepository(t.Context(), acme, "main"))
	ran := func(op operation.Operation, run int64) {
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
