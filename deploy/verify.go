package deploy

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/store"
)

// Verification says which applies are checked again, and with what.
type Verification struct {
	Store       *store.Store
	Clone       *git.Clone // nil: commits and configurations are not compared
	Repository  operation.Repository
	Environment string    // empty: all
	Since       time.Time // only applies that ended then or later
	Limit       int       // only so many of the newest
}

// Finding is one thing about an apply that does not hold, or that cannot be checked.
type Finding struct {
	plan.Finding

	Operation int64 // 0: it is about what all of them left
}

// Verified is what Verify has found.
type Verified struct {
	Findings []Finding
	Applies  int  // that changed something, or may have
	Changes  int  // lines of the ledger
	More     bool // there are older applies, which were not looked at
}

// Verify checks again that every change in the ledger has its name, without asking anybody: from the database, and from a
// clone of the repository where there is one. Nothing is written.
func (v Verification) Verify(ctx context.Context) (Verified, error) {
	ops, err := v.applies(ctx)
	if err != nil {
		return Verified{}, err
	}
	result := Verified{More: len(ops) >= v.Limit}
	chain := newChain(ops, !result.More)
	past, err := v.history(ctx, ops)
	if err != nil {
		return Verified{}, err
	}
	for _, op := range ops {
		record, err := RecordOf(ctx, v.Store, op.ID)
		if err != nil {
			return Verified{}, err
		}
		baseline, err := v.baselines(ctx, op.Environment)
		if err != nil {
			return Verified{}, err
		}
		found := chain.follow(record, baseline)
		if op.Ended.Before(v.Since) || op.State == operation.Running {
			continue // one that runs is still being written down
		}
		more, err := v.one(ctx, past, record)
		if err != nil {
			return Verified{}, err
		}
		for _, finding := range append(more, found...) {
			result.Findings = append(result.Findings, Finding{Finding: finding, Operation: op.ID})
		}
		if len(record.Entries) > 0 || changed(op) {
			result.Applies++
			result.Changes += len(record.Entries)
		}
	}
	left, err := v.left(ctx, chain)
	result.Findings = append(result.Findings, left...)
	return result, err
}

// one checks one apply.
func (v Verification) one(ctx context.Context, past *history, record plan.Record) ([]plan.Finding, error) {
	if past == nil {
		return plan.Verify(record), nil
	}
	var found []plan.Finding
	if changed(record.Operation) {
		rules, problems, err := past.rules(ctx, record)
		if err != nil {
			return nil, err
		}
		record.Rules, found = rules, problems
	}
	found = append(found, plan.Verify(record)...)
	commits, err := past.commits(ctx, record)
	return append(found, commits...), err
}

// changed reports whether an apply changed something, or may have.
func changed(op operation.Operation) bool {
	return op.Result != nil && slices.ContainsFunc(op.Result.Targets, func(t operation.TargetResult) bool {
		return t.Outcome == operation.Applied || t.Timings.Apply > 0
	})
}

// applies lists the applies that are selected and those that the ledger names, in the order in which they ran: also those
// whose lines are all gone from the ledger.
func (v Verification) applies(ctx context.Context) ([]operation.Operation, error) {
	ops, err := v.Store.Operations(ctx, store.Filter{
		Repository: v.Repository.ID, Environment: v.Environment, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: v.Limit,
	})
	if err != nil {
		return nil, fmt.Errorf("find the applies: %w", err)
	}
	known := map[int64]bool{}
	for _, op := range ops {
		known[op.ID] = true
	}
	lines, err := v.Store.Ledger(ctx, store.LedgerFilter{
		Repository: v.Repository.ID, Environment: v.Environment, Since: v.Since, Limit: v.Limit,
	})
	if err != nil {
		return nil, fmt.Errorf("read the ledger: %w", err)
	}
	for _, line := range lines {
		if known[line.Operation] {
			continue
		}
		known[line.Operation] = true
		op, err := v.Store.Operation(ctx, line.Operation)
		if err != nil {
			return nil, fmt.Errorf("read what the ledger names: %w", err)
		}
		ops = append(ops, op)
	}
	slices.SortFunc(ops, func(a, b operation.Operation) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID))
	})
	return ops, nil
}

// baselines are the commits that were there when Switchyard first saw the branch of an environment, by root.
func (v Verification) baselines(ctx context.Context, environment string) (map[string]string, error) {
	states, err := v.Store.Targets(ctx, v.Repository.ID, environment)
	if err != nil {
		return nil, fmt.Errorf("read targets: %w", err)
	}
	found := map[string]string{}
	for _, state := range states {
		found[state.Target.Root] = state.Baseline
	}
	return found, nil
}

// left compares what the targets are said to have with what the applies brought.
func (v Verification) left(ctx context.Context, chain *chain) ([]Finding, error) {
	var found []Finding
	for _, environment := range chain.environments() {
		states, err := v.Store.Targets(ctx, v.Repository.ID, environment)
		if err != nil {
			return nil, fmt.Errorf("read targets: %w", err)
		}
		for _, state := range states {
			if text := chain.end(state); text != "" {
				found = append(found, Finding{Finding: plan.Finding{Target: state.Target, Text: text}})
			}
		}
	}
	return found, nil
}

// chain follows the applied commit of each target from apply to apply.
type chain struct {
	whole bool // from the beginning
	last  map[operation.Target]link
	ops   map[int64]operation.Operation
	// again are commits that were applied in more than one attempt: what an attempt without changes left of one root is not kept.
	again map[string]bool
}

// link is what an apply left.
type link struct {
	commit    string
	operation int64
}

func newChain(ops []operation.Operation, whole bool) *chain {
	c := &chain{whole: whole, last: map[operation.Target]link{}, ops: map[int64]operation.Operation{}, again: map[string]bool{}}
	for _, op := range ops {
		c.ops[op.ID] = op
		if op.Attempt > 1 {
			c.again[op.Head] = true
		}
	}
	return c
}

// follow says where an apply did not begin where the one before it had ended, and notes where it ended.
func (c *chain) follow(record plan.Record, baselines map[string]string) []plan.Finding {
	op := record.Operation
	if op.Result == nil {
		return nil
	}
	var found []plan.Finding
	for _, target := range op.Result.Targets {
		before := record.Evidence.Before[target.Target.Root]
		last, known := c.last[target.Target]
		text := ""
		switch {
		case known && before != last.commit && !c.again[before]:
			text = fmt.Sprintf("It is said to have begun at %s, but apply %d had brought %s: what lies between was looked at by nobody.",
				nameOrNone(before), last.operation, short(last.commit))
		case !known && c.whole && before != "" && before != baselines[target.Target.Root] && !c.again[before]:
			text = fmt.Sprintf("It is said to have begun at %s, which nothing says was ever applied.", short(before))
		}
		if text != "" {
			found = append(found, plan.Finding{Target: target.Target, Text: text})
		}
		if target.Outcome == operation.Applied || target.Outcome == operation.Unchanged {
			c.last[target.Target] = link{op.Head, op.ID}
		}
	}
	return found
}

// end says in what a target differs from what the last apply brought; empty where it does not, or that is not known.
func (c *chain) end(state store.TargetState) string {
	last, known := c.last[state.Target]
	named, there := c.ops[state.Operation]
	switch {
	case there && !named.State.Ended(), state.Operation > last.operation && !there:
		return "" // it has been applied to since the applies were read
	case known && state.Applied != last.commit && !c.again[state.Applied]:
		return fmt.Sprintf("%s counts as applied, but the last apply, %d, brought %s: the next plan would be compared with the wrong commit.",
			nameOrNone(state.Applied), last.operation, short(last.commit))
	case !known && c.whole && state.Applied != "" && !c.again[state.Applied]:
		return short(state.Applied) + " counts as applied, but no apply brought it."
	}
	return ""
}

func (c *chain) environments() []string {
	names := map[string]bool{}
	for _, op := range c.ops {
		names[op.Environment] = true
	}
	return slices.Sorted(maps.Keys(names))
}

func nameOrNone(commit string) string {
	if commit == "" {
		return "nothing"
	}
	return short(commit)
}
