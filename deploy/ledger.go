package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// entriesOf are the lines of the ledger about an apply: every change that it made, or may have made before it
// failed, with why it was there and who said yes.
func entriesOf(op operation.Operation, result operation.Result, evidence operation.Evidence) []operation.Entry {
	var entries []operation.Entry
	for _, target := range result.Targets {
		if target.Outcome != operation.Applied && target.Timings.Apply == 0 {
			continue // it was not begun
		}
		for _, change := range target.ChangeSet.Changes {
			if change.Action == operation.Read {
				continue // it changes nothing
			}
			asked := explained(&change, target)
			entry := operation.Entry{
				Repository: op.Repository.ID, Target: target.Target, Operation: op.ID, Commit: op.Head, Change: change,
				Attempted: target.Outcome != operation.Applied,
			}
			entry.ApprovedBy = evidence.ApprovedBy(target.Target.Root, change, change.Cause)
			if asked || op.Doubt != "" {
				entry.ConfirmedBy = op.ConfirmedBy
			}
			entries = append(entries, entry)
		}
	}
	return entries
}

// explained gives a change its cause where the runner found one out, and reports whether a person was asked about it.
func explained(change *operation.Change, target operation.TargetResult) bool {
	find := func(changes []operation.Change) bool {
		i := slices.IndexFunc(changes, func(other operation.Change) bool { return sameChange(other, *change) })
		if i >= 0 && changes[i].Cause != nil {
			change.Cause = changes[i].Cause
		}
		return i >= 0
	}
	if find(target.Unexpected) {
		return true
	}
	find(target.Tolerated)
	return false
}

// sameChange compares the two places in a result that name one change.
func sameChange(a, b operation.Change) bool {
	return a.Address == b.Address && a.Deposed == b.Deposed && a.Action == b.Action &&
		plan.Digest([]operation.Change{a}) == plan.Digest([]operation.Change{b})
}

// LedgerViews gives entries of the ledger what people want to know of the applies that made them.
func LedgerViews(ctx context.Context, data *store.Store, entries []operation.Entry) ([]render.LedgerEntry, error) {
	views := make([]render.LedgerEntry, 0, len(entries))
	known := map[int64]operation.Operation{}
	for _, entry := range entries {
		op, ok := known[entry.Operation]
		if !ok {
			var err error
			if op, err = data.Operation(ctx, entry.Operation); err != nil {
				return nil, fmt.Errorf("read the apply of %s: %w", entry.Change.Address, err)
			}
			known[entry.Operation] = op
		}
		view := render.LedgerEntry{
			At: entry.At, Target: entry.Target, Change: entry.Change, Outcome: operation.Applied, Operation: entry.Operation,
			Pull: op.Pull, Commit: entry.Commit, Actor: op.Actor, Approved: entry.ApprovedBy, Confirmed: entry.ConfirmedBy,
		}
		if entry.Attempted {
			view.Outcome = operation.TargetFailed
		}
		if entry.ConfirmedBy != "" {
			view.Digest = op.Confirmed
		}
		views = append(views, view)
	}
	return views, nil
}

// RecordOf gathers everything that was kept about an apply, for plan.Verify.
func RecordOf(ctx context.Context, data *store.Store, id int64) (plan.Record, error) {
	record := plan.Record{Plans: map[int64]operation.Operation{}}
	var err error
	if record.Operation, err = data.Operation(ctx, id); err != nil {
		return record, fmt.Errorf("read apply %d: %w", id, err)
	}
	if record.Evidence, err = data.Evidence(ctx, id, record.Operation.Attempt); err != nil {
		return record, fmt.Errorf("read the evidence of apply %d: %w", id, err)
	}
	if record.Entries, err = data.Ledger(ctx, store.LedgerFilter{Operation: id, Ascending: true}); err != nil {
		return record, fmt.Errorf("read the ledger of apply %d: %w", id, err)
	}
	for _, review := range record.Evidence.Reviews {
		for _, id := range []int64{review.Plan, review.Group} {
			planned, err := data.Operation(ctx, id)
			if errors.Is(err, store.ErrNotFound) {
				continue // that is what there is to be told
			}
			if err != nil {
				return record, fmt.Errorf("read plan %d: %w", id, err)
			}
			record.Plans[id] = planned
		}
	}
	trail, err := data.AuditTrail(ctx, store.AuditFilter{Operation: id, Ascending: true})
	if err != nil {
		return record, fmt.Errorf("read the audit of apply %d: %w", id, err)
	}
	for _, line := range trail {
		record.Audit.What = append(record.Audit.What, line.What)
		if question, ok := strings.CutPrefix(line.Why, store.SaidYes); ok {
			record.Audit.Yes = append(record.Audit.Yes, plan.Yes{Who: line.Who, Question: question})
		}
		if mark, ok := strings.CutPrefix(line.Why, store.RestsOn); ok {
			record.Audit.Evidence = append(record.Audit.Evidence, mark)
		}
		if mark, ok := strings.CutPrefix(line.Why, store.WritesDown); ok {
			record.Audit.Ledger = append(record.Audit.Ledger, mark)
		}
	}
	if record.EvidenceMark, err = store.Fingerprint(record.Evidence); err != nil {
		return record, fmt.Errorf("name the evidence of apply %d: %w", id, err)
	}
	record.LedgerMark, err = store.LedgerFingerprint(record.Entries)
	return record, wrap("name the lines of the ledger", err)
}
