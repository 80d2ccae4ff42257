package storetest

import (
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

func gates(t *testing.T, w *world) {
	must(t, w.SaveRepository(t.Context(), acme, "main"))
	gate, err := w.Gate(t.Context(), acme.ID, 7, 1, "Prod")
	must(t, err)
	equal(t, gate, store.Gate{Repository: acme.ID, Run: 7, Attempt: 1, Environment: "Prod"})
	gate.Said, gate.Reports = "It waits.", 1
	must(t, w.SaveGate(t.Context(), gate))
	for since, want := range map[time.Duration]int{-time.Hour: 1, time.Hour: 0} {
		if waiting, err := w.WaitingGates(t.Context(), acme.ID, w.clock.Now().Add(since)); err != nil || len(waiting) != want {
			t.Errorf("waiting since %v: %v, %v", since, waiting, err)
		}
	}
	second := gate
	second.Attempt = 2
	must(t, w.SaveGate(t.Context(), second))
	must(t, w.EndGates(t.Context(), acme.ID+1, 7))
	must(t, w.EndGates(t.Context(), acme.ID, 8))
	if waiting, err := w.WaitingGates(t.Context(), acme.ID, time.Time{}); err != nil || len(waiting) != 2 {
		t.Errorf("waiting although other runs ended: %v, %v", waiting, err)
	}
	must(t, w.EndGates(t.Context(), acme.ID, 7))
	if waiting, err := w.WaitingGates(t.Context(), acme.ID, time.Time{}); err != nil || len(waiting) != 0 {
		t.Errorf("waiting although the run ended: %v, %v", waiting, err)
	}
	gate.Answer, gate.Misses = "approved", 2
	must(t, w.SaveGate(t.Context(), gate))
	got, err := w.Gate(t.Context(), acme.ID, 7, 1, "PROD")
	must(t, err)
	gate.At = w.clock.Now()
	equal(t, got.At.Equal(gate.At), true)
	got.At = gate.At
	equal(t, got, gate)
	if waiting, err := w.WaitingGates(t.Context(), acme.ID, time.Time{}); err != nil || len(waiting) != 0 {
		t.Errorf("waiting although it was answered: %v, %v", waiting, err)
	}
	must(t, w.EndGates(t.Context(), acme.ID, 7))
	if answered, err := w.Gate(t.Context(), acme.ID, 7, 1, "prod"); err != nil || answered.Answer != "approved" {
		t.Errorf("after its end it has the answer %q, %v", answered.Answer, err)
	}
	if other, err := w.Gate(t.Context(), acme.ID, 7, 3, "prod"); err != nil || other.Answer != "" {
		t.Errorf("another attempt: %+v, %v", other, err)
	}
	for since, want := range map[time.Duration]int{-time.Hour: 1, time.Hour: 0} {
		if repos, err := w.Gated(t.Context(), w.clock.Now().Add(since)); err != nil || len(repos) != want {
			t.Errorf("since %v: %v, %v", since, repos, err)
		}
	}
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	must(t, w.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, "nonce"))
	asked, err := w.AskForRun(t.Context(), operation.WorkflowRun{Task: operation.Task{
		Operation: op.ID, Attempt: op.Attempt, Launch: "nonce", Repository: acme, Kind: operation.Apply,
		Job: &operation.Job{Workflow: "switchyard.yml"},
	}})
	must(t, err)
	if repos, err := w.Gated(t.Context(), w.clock.Now().Add(time.Hour)); err != nil || len(repos) != 1 {
		t.Errorf("while an operation runs in a workflow: %v, %v", repos, err)
	}
	if _, known, err := w.RunNumbered(t.Context(), acme.ID, 0); known || err != nil {
		t.Errorf("run 0: %v, %v", known, err)
	}
	asked.Run = 9
	must(t, w.SaveRun(t.Context(), asked))
	if found, known, err := w.RunNumbered(t.Context(), acme.ID, 9); !known || err != nil || found.Task.Launch != "nonce" {
		t.Errorf("run 9: %+v, %v, %v", found, known, err)
	}
	if _, known, err := w.RunNumbered(t.Context(), acme.ID+1, 9); known || err != nil {
		t.Errorf("run 9 of another repository: %v, %v", known, err)
	}
	for repository, want := range map[int64]int{acme.ID: 1, acme.ID + 1: 0} {
		if runs, err := w.RunsOf(t.Context(), repository, op.ID, op.Attempt); err != nil || len(runs) != want {
			t.Errorf("of repository %d: %v, %v", repository, runs, err)
		}
	}
}
