package storetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
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

func baselineContent(t *testing.T, w *world) {
	target := operation.Target{Root: "net", Environment: "dev"}
	at := w.clock.Now()
	for range 2 { // as often as it is looked at
		must(t, w.KeepBaselines(t.Context(), []store.TargetState{
			{Repository: acme.ID, Target: target, Baseline: "b1", Content: "c0"}, {Repository: acme.ID, Target: target, Baseline: "b1"},
		}))
	}
	apply := func(head, content string) operation.Operation {
		t.Helper()
		w.clock.Advance(time.Hour)
		w.queueApply(t, apply("develop", head))
		op := w.takeHold(t)
		_, err := w.Finish(t.Context(), store.Finish{
			Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded,
			Applied: []store.TargetState{{Repository: acme.ID, Target: target, Applied: head, Operation: op.ID, Content: content}},
		})
		must(t, err)
		return op
	}
	found := func(content string) operation.Promotion {
		t.Helper()
		promotion, _, err := w.AppliedContent(t.Context(), acme.ID, target, content)
		must(t, err)
		return promotion
	}
	apply("h1", "c1")
	baseline := operation.Promotion{Root: "net", Stage: "dev", Commit: "b1", At: at}
	if equal(t, found("c0"), baseline); !found("c0").Baseline() || found("never").Proven() {
		t.Errorf("found %+v and %+v", found("c0"), found("never"))
	}
	first := apply("h2", "c0")
	proof := operation.Promotion{Root: "net", Stage: "dev", Commit: "h2", Operation: first.ID, At: w.clock.Now()}
	apply("h3", "c0")
	equal(t, found("c0"), proof) // an apply proves more than a baseline, and the first one stays
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
	one := store.Approval{
		Repository: acme.ID, Target: operation.Target{Root: "net", Environment: "prod"}, Head: "h1", Who: "bob", Comment: 5,
		Held: operation.Held{Address: "b", Deposed: "0123abcd", Rule: operation.RiskReplaceStateful, Change: "d1"},
	}
	with := func(change func(*store.Approval)) store.Approval {
		other := one
		change(&other)
		return other
	}
	all := []store.Approval{
		one,
		with(func(a *store.Approval) { a.Held.Rule = operation.RiskPublic }),
		with(func(a *store.Approval) { a.Held.Change = "d2" }),
		with(func(a *store.Approval) { a.Held.Deposed = "" }),
		with(func(a *store.Approval) { a.Held.Address = "a" }),
		with(func(a *store.Approval) { a.Target.Root = "dns" }),
		with(func(a *store.Approval) { a.Who = "cy" }),
		with(func(a *store.Approval) { a.Head = "h2" }),
	}
	must(t, w.Unblock(t.Context(), all[:3]...))
	must(t, w.Unblock(t.Context(), all...)) // a comment that is done again
	got, err := w.Unblocked(t.Context(), acme.ID, "prod", []string{"h1", "h2", "h3"})
	must(t, err)
	byAll := func(a, b store.Approval) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) }
	slices.SortFunc(got, byAll)
	slices.SortFunc(all, byAll)
	equal(t, got, all)
	for name, read := range map[string]func() ([]store.Approval, error){
		"another commit":      func() ([]store.Approval, error) { return w.Unblocked(t.Context(), acme.ID, "prod", []string{"h3"}) },
		"another environment": func() ([]store.Approval, error) { return w.Unblocked(t.Context(), acme.ID, "test", []string{"h1"}) },
		"no commit":           func() ([]store.Approval, error) { return w.Unblocked(t.Context(), acme.ID, "prod", nil) },
	} {
		if got, err := read(); err != nil || len(got) != 0 {
			t.Errorf("of %s: %v, %v", name, got, err)
		}
	}
	trail, err := w.AuditTrail(t.Context(), store.AuditFilter{Repository: acme.ID, Environment: "prod"})
	if must(t, err); len(trail) != len(all) {
		t.Errorf("%d lines in the audit, want one for each approval that is new", len(trail))
	}
}

func doubted(t *testing.T, w *world) {
	forced := operation.Doubt{Key: "push h1 develop", Text: "develop was force-pushed."}
	undo := operation.Doubt{Key: "undo h0 net", Text: "It would undo #4.", Undoes: true}
	unproven := operation.Doubt{Key: "promotion test c1 net", Text: "It was not applied in test."}
	queued := apply("develop", "h1")
	queued.Warned = operation.Doubts{forced}
	queued = w.queueApply(t, queued)
	equal(t, queued.Doubt, forced.Text)
	asks := func(doubts ...operation.Doubt) operation.Operation {
		t.Helper()
		op := w.takeHold(t)
		op, err := w.Finish(t.Context(), store.Finish{
			Operation: op.ID, Attempt: op.Attempt, State: operation.Unconfirmed, Question: "q", Doubts: doubts, Doubt: operation.Doubts(doubts).Text(),
		})
		must(t, err)
		equal(t, op.Doubts, operation.Doubts(doubts))
		return op
	}
	op := asks(forced, undo)
	op, err := w.Confirm(t.Context(), op.ID, "q", "bob", 0)
	must(t, err)
	equal(t, op.Agreed, []string{forced.Key, undo.Key})
	op, err = w.Confirm(t.Context(), asks(unproven).ID, "q", "cy", 0)
	must(t, err)
	equal(t, op.Agreed, []string{unproven.Key, forced.Key, undo.Key})
	equal(t, op.ConfirmedDoubts, []string{unproven.Key})
	read, err := w.Operation(t.Context(), op.ID)
	must(t, err)
	equal(t, read, op)

	// The yeses were for the commit of the old one; what it was warned of stays, beside what the new one brings.
	forcedAgain := operation.Doubt{Key: "push h2 develop", Text: "develop was force-pushed."}
	newer := apply("develop", "h2")
	newer.Warned = operation.Doubts{forcedAgain}
	newer = w.queueApply(t, newer)
	equal(t, newer.Warned, operation.Doubts{forced, forcedAgain})
	equal(t, newer.Doubt, forced.Text)
	equal(t, newer.Agreed, []string(nil))
}

func carriesPulls(t *testing.T, w *world) {
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	if _, err := w.CarryPulls(t.Context(), op.ID, op.Attempt+1, []int{41}, "#41 was merged"); !errors.Is(err, store.ErrLost) {
		t.Errorf("of another attempt: %v", err)
	}
	for range 2 { // as often as it is looked at
		carried, err := w.CarryPulls(t.Context(), op.ID, op.Attempt, []int{40, 41}, "#41 was merged")
		must(t, err)
		read, err := w.Operation(t.Context(), op.ID)
		must(t, err)
		equal(t, read, carried)
		if read.Pull != 41 || read.Reason != "#41 was merged" || len(read.Pulls) != 2 {
			t.Errorf("it is %+v", read)
		}
	}
	for _, pull := range []int{40, 41} {
		if found, err := w.Operations(t.Context(), store.Filter{Repository: acme.ID, Pull: pull}); err != nil || len(found) != 1 {
			t.Errorf("by #%d: %v, %v", pull, found, err)
		}
	}
	trail, err := w.AuditTrail(t.Context(), store.AuditFilter{Operation: op.ID})
	must(t, err)
	told := slices.DeleteFunc(trail, func(line store.Audit) bool { return line.What != "apply carries more" })
	if len(told) != 1 {
		t.Errorf("the audit tells it %d times", len(told))
	}
	w.finish(t, op, operation.Succeeded)
	if _, err := w.CarryPulls(t.Context(), op.ID, op.Attempt, []int{42}, "late"); !errors.Is(err, store.ErrLost) {
		t.Errorf("of one that has ended: %v", err)
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
