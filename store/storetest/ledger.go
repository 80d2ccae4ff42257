package storetest

import (
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

func ledgered(t *testing.T, w *world) {
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	target := operation.Target{Root: "net", Environment: "dev"}
	entry := operation.Entry{
		Repository: acme.ID, Target: target, Operation: op.ID, Commit: "h1", ApprovedBy: []string{"bob"}, ConfirmedBy: "cy",
		Change: operation.Change{
			Address: "a.new", PreviousAddress: "a.old", Action: operation.Update,
			Attributes: []operation.Attribute{{Path: "size", Before: json.RawMessage("1"), After: json.RawMessage(`"\u0000"`)}},
			Cause:      &operation.Cause{Kind: operation.CauseReviewed, Pulls: []int{41}},
		},
	}
	other := entry
	other.Change, other.ApprovedBy, other.ConfirmedBy = operation.Change{Address: "a.other", Action: operation.Create}, nil, ""
	_, err := w.Finish(t.Context(), store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded, Ledger: []operation.Entry{entry, other},
		Applied: []store.TargetState{{Repository: acme.ID, Target: target, Applied: "h1", Operation: op.ID, Content: "c1"}},
	})
	must(t, err)
	all, err := w.Ledger(t.Context(), store.LedgerFilter{Repository: acme.ID, Ascending: true})
	must(t, err)
	entry.At, other.At = w.clock.Now(), w.clock.Now()
	entry.ID, other.ID = all[0].ID, all[1].ID
	equal(t, all, []operation.Entry{entry, other})
	for name, filter := range map[string]store.LedgerFilter{
		"the address":     {Address: "a.new"},
		"the old address": {Address: "a.old"},
		"the newest":      {Environment: "dev", Address: "a.new", Operation: op.ID, Since: w.clock.Now(), Limit: 1},
	} {
		found, err := w.Ledger(t.Context(), filter)
		if must(t, err); len(found) != 1 || found[0].Change.Address != "a.new" {
			t.Errorf("by %s: %+v", name, found)
		}
	}
	for name, filter := range map[string]store.LedgerFilter{
		"another repository": {Repository: 1}, "another environment": {Environment: "prod"},
		"later": {Since: w.clock.Now().Add(time.Second)}, "another operation": {Operation: op.ID + 1},
	} {
		if found, err := w.Ledger(t.Context(), filter); err != nil || len(found) != 0 {
			t.Errorf("of %s: %+v, %v", name, found, err)
		}
	}
	w.contentApplied(t, op, target)
}

func (w *world) contentApplied(t *testing.T, first operation.Operation, target operation.Target) {
	t.Helper()
	at := w.clock.Now()
	w.clock.Advance(time.Hour)
	w.queueApply(t, apply("develop", "h2"))
	op := w.takeHold(t)
	_, err := w.Finish(t.Context(), store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded,
		Applied: []store.TargetState{{Repository: acme.ID, Target: target, Applied: "h2", Operation: op.ID, Content: "c1"}},
	})
	must(t, err)
	found, ok, err := w.AppliedContent(t.Context(), acme.ID, target, "c1")
	if must(t, err); !ok {
		t.Fatal("the content is not found")
	}
	equal(t, found, operation.Promotion{Root: "net", Stage: "dev", Commit: "h1", Operation: first.ID, At: at})
	for _, elsewhere := range []operation.Target{{Root: "net", Environment: "prod"}, {Root: "dns", Environment: "dev"}} {
		if _, ok, err := w.AppliedContent(t.Context(), acme.ID, elsewhere, "c1"); ok || err != nil {
			t.Errorf("in %s: %v, %v", elsewhere, ok, err)
		}
	}
}

func evidence(t *testing.T, w *world) {
	queued := w.queueApply(t, apply("develop", "h1"))
	some := operation.Evidence{Before: map[string]string{"net": "h0"}, Reviews: []operation.Review{{Pull: 41, Approved: []string{"bob"}}}}
	if err := w.SaveEvidence(t.Context(), queued.ID, 0, some); !errors.Is(err, store.ErrLost) {
		t.Errorf("of an operation that does not run: %v", err)
	}
	op := w.takeHold(t)
	must(t, w.SaveEvidence(t.Context(), op.ID, op.Attempt, operation.Evidence{}))
	must(t, w.SaveEvidence(t.Context(), op.ID, op.Attempt, some))
	if err := w.SaveEvidence(t.Context(), op.ID, op.Attempt-1, operation.Evidence{}); !errors.Is(err, store.ErrLost) {
		t.Errorf("of an older attempt: %v", err)
	}
	got, err := w.Evidence(t.Context(), op.ID, op.Attempt)
	must(t, err)
	equal(t, got, some)
	if got, err := w.Evidence(t.Context(), op.ID, op.Attempt+1); err != nil || got.Before != nil {
		t.Errorf("of an attempt that was not: %+v, %v", got, err)
	}
}

func unblocks(t *testing.T, w *world) {
	for _, address := range []string{"b", "a", "a"} {
		must(t, w.Unblock(t.Context(), acme.ID, "prod", "h1", address, "bob", 5))
	}
	must(t, w.Unblock(t.Context(), acme.ID, "prod", "h2", "c", "cy", 6))
	got, err := w.Unblocked(t.Context(), acme.ID, "prod", []string{"h1", "h2", "h3"})
	must(t, err)
	equal(t, got, []string{"a", "b", "c"})
	for name, read := range map[string]func() ([]string, error){
		"another commit":      func() ([]string, error) { return w.Unblocked(t.Context(), acme.ID, "prod", []string{"h3"}) },
		"another environment": func() ([]string, error) { return w.Unblocked(t.Context(), acme.ID, "test", []string{"h1"}) },
		"no commit":           func() ([]string, error) { return w.Unblocked(t.Context(), acme.ID, "prod", nil) },
	} {
		if got, err := read(); err != nil || len(got) != 0 {
			t.Errorf("of %s: %v, %v", name, got, err)
		}
	}
	trail, err := w.AuditTrail(t.Context(), store.AuditFilter{Repository: acme.ID, Environment: "prod"})
	if must(t, err); len(trail) != 3 {
		t.Errorf("%d lines in the audit, want one for each approval that is new", len(trail))
	}
}

func reconsidered(t *testing.T, w *world) {
	queued := w.queueApply(t, apply("develop", "h1"))
	if _, err := w.Reconsider(t.Context(), queued.ID, "bob", "approved"); !errors.Is(err, store.ErrTransition) {
		t.Errorf("one that is queued: %v", err)
	}
	w.finish(t, w.takeHold(t), operation.Unconfirmed)
	op, err := w.Reconsider(t.Context(), queued.ID, "bob", "approved")
	must(t, err)
	if op.State != operation.Queued || op.Confirmed != "" {
		t.Errorf("it is %s, confirmed %q", op.State, op.Confirmed)
	}
	if again := w.takeHold(t); again.ID != queued.ID || again.Attempt != 2 {
		t.Errorf("next is %s at attempt %d", again, again.Attempt)
	}
}

func followed(t *testing.T, w *world) {
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt + 1, State: operation.Succeeded, Then: []queue.Job{job("a", "show")}}
	if _, err := w.Finish(t.Context(), end); !errors.Is(err, store.ErrLost) {
		t.Errorf("a late end: %v", err)
	}
	w.claim(t, "") // nothing follows what was not recorded
	end.Attempt = op.Attempt
	_, err := w.Finish(t.Context(), end)
	must(t, err)
	w.claim(t, "show")
}

func refusedSurface(t *testing.T, w *world) {
	must(t, w.Want(t.Context(), check("c", 1)))
	must(t, w.Want(t.Context(), check("d", 1)))
	for range 2 {
		surface, ok, err := w.ClaimSurface(t.Context(), lease)
		if must(t, err); !ok {
			t.Fatal("nothing to write")
		}
		if surface.Key == "c" {
			must(t, w.Refused(t.Context(), surface, map[string]int{"id": 5}, "the App is suspended"))
			continue
		}
		must(t, w.Written(t.Context(), surface, nil))
	}
	must(t, w.Want(t.Context(), check("c", 1)))
	if _, ok, err := w.ClaimSurface(t.Context(), lease); ok || err != nil {
		t.Errorf("what was refused is tried again and again: %v, %v", ok, err)
	}
	must(t, w.WriteRefused(t.Context(), acme.ID))
	surface, ok, err := w.ClaimSurface(t.Context(), lease)
	if must(t, err); !ok || surface.Key != "c" || string(surface.External) != `{"id":5}` {
		t.Errorf("afterwards %q is written, %v, with %s", surface.Key, ok, surface.External)
	}
	must(t, w.Written(t.Context(), surface, nil))
	must(t, w.WriteRefused(t.Context(), acme.ID))
	if _, ok, err := w.ClaimSurface(t.Context(), lease); ok || err != nil {
		t.Errorf("what was written is written again: %v, %v", ok, err)
	}
}
