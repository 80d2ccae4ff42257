package deploy

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// Bounds of what is searched for an address.
const (
	maxHistory = 200 // lines of the ledger, or operations
	maxOpen    = 100 // open pull requests, the newest of them
)

// whyAddress answers /why ADDRESS: what was applied to it in each environment, and who would change it next.
func (d *Deploy) whyAddress(ctx context.Context, r request, view render.WhyView) (string, error) {
	entries, older, err := d.ledgerOf(ctx, r, view.Address)
	if err != nil {
		return "", err
	}
	view.Older = older
	if view.Ledger, err = LedgerViews(ctx, d.Store, entries); err != nil {
		return "", err
	}
	if view.Planned, view.Unlooked, err = d.plannedNext(ctx, r.Repository, view.Address); err != nil {
		return "", err
	}
	if len(entries) > 0 {
		return render.Why(view), nil
	}
	ops, err := d.Store.Operations(ctx, store.Filter{Repository: r.Repository.ID, Newest: true, Limit: maxHistory})
	if err != nil {
		return "", fmt.Errorf("search operations: %w", err)
	}
	for _, op := range ops {
		known := slices.ContainsFunc(view.Planned, func(next render.AddressChange) bool { return next.Operation.ID == op.ID })
		if !known {
			view.History = append(view.History, changesOf(op, view.Address)...)
		}
	}
	return render.Why(view), nil
}

// ledgerOf reads the newest lines of the ledger about an address; true where there are more. One environment with many lines
// does not hide the others.
func (d *Deploy) ledgerOf(ctx context.Context, r request, address string) ([]operation.Entry, bool, error) {
	filter := store.LedgerFilter{Repository: r.Repository.ID, Address: address, Limit: maxHistory + 1}
	entries, err := d.Store.Ledger(ctx, filter)
	if err != nil {
		return nil, false, fmt.Errorf("read the ledger: %w", err)
	}
	if len(entries) <= maxHistory {
		return entries, false, nil
	}
	entries = entries[:maxHistory]
	for _, name := range r.Config.EnvironmentNames() {
		if slices.ContainsFunc(entries, func(entry operation.Entry) bool { return entry.Target.Environment == name }) {
			continue
		}
		filter.Environment = name
		more, err := d.Store.Ledger(ctx, filter)
		if err != nil {
			return nil, false, fmt.Errorf("read the ledger of %s: %w", name, err)
		}
		entries = append(entries, more[:min(len(more), maxHistory)]...)
	}
	return entries, true, nil
}

// plannedNext lists what the newest plans of open pull requests, and applies that have not ended, would do to an address, and
// how many open pull requests were not looked at.
func (d *Deploy) plannedNext(ctx context.Context, repo operation.Repository, address string) ([]render.AddressChange, int, error) {
	waiting, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo.ID, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: maxHistory,
		States: []operation.State{operation.Queued, operation.Running, operation.Unconfirmed},
	})
	if err != nil {
		return nil, 0, fmt.Errorf("find what waits to be applied: %w", err)
	}
	var next []render.AddressChange
	for _, op := range waiting {
		next = append(next, changesOf(op, address)...)
	}
	open, err := d.openPulls(ctx, repo.ID)
	if err != nil {
		return nil, 0, err
	}
	looked := open[:min(len(open), maxOpen)]
	for _, facts := range looked {
		plans, err := d.Store.Operations(ctx, store.Filter{
			Repository: repo.ID, Pull: facts.Number, Environment: facts.Decision.Environment, Newest: true, Limit: 1,
			Kinds: []operation.Kind{operation.Plan}, States: []operation.State{operation.Succeeded},
		})
		if err != nil {
			return nil, 0, fmt.Errorf("find the newest plan of #%d: %w", facts.Number, err)
		}
		for _, op := range plans {
			next = append(next, changesOf(op, address)...)
		}
	}
	return next, len(open) - len(looked), nil
}

// openPulls are the open pull requests that go to an environment, the newest first.
func (d *Deploy) openPulls(ctx context.Context, repo int64) ([]pullFacts, error) {
	rows, err := d.Store.Pulls(ctx, repo)
	if err != nil {
		return nil, fmt.Errorf("read pull requests: %w", err)
	}
	var open []pullFacts
	for _, row := range rows {
		var facts pullFacts
		if err := json.Unmarshal(row, &facts); err != nil { //nolint:musttag // see pullFacts
			return nil, fmt.Errorf("read pull request: %w", err)
		}
		if facts.State == "open" && !facts.Silent && facts.Decision.Environment != "" {
			open = append(open, facts)
		}
	}
	slices.SortFunc(open, func(a, b pullFacts) int { return cmp.Compare(b.Number, a.Number) })
	return open, nil
}

// changesOf are the changes of an address that an operation planned.
func changesOf(op operation.Operation, address string) []render.AddressChange {
	if op.Result == nil {
		return nil
	}
	var found []render.AddressChange
	for _, target := range op.Result.Targets {
		for _, change := range target.ChangeSet.Changes {
			if change.Address == address || change.PreviousAddress == address {
				found = append(found, render.AddressChange{Operation: op, Target: target.Target, Change: change})
			}
		}
	}
	return found
}
