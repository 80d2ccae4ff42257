package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

type ledgerCommand struct {
	selection `embed:""`

	Address string `placeholder:"ADDRESS" help:"Only changes of this resource, also under an address that it had before."`
}

// Run prints the changes that applies made, the oldest of them first, with why they were there and who said yes.
func (c ledgerCommand) Run(ctx context.Context) error {
	return c.read(ctx, func(ctx context.Context, data *store.Store, from from) error {
		entries, more, err := c.entries(ctx, data, from, c.Address)
		if err != nil {
			return err
		}
		if err := c.print(ctx, os.Stdout, data, entries); err != nil {
			return fmt.Errorf("print the ledger: %w", err)
		}
		c.remark(from.repo, len(entries), more)
		return nil
	})
}

// entries reads what is selected of the ledger, the oldest first, and reports whether there is more.
func (c selection) entries(ctx context.Context, data *store.Store, from from, address string) ([]operation.Entry, bool, error) {
	entries, err := data.Ledger(ctx, store.LedgerFilter{
		Repository: from.repo.ID, Environment: c.Environment, Address: address, Since: from.since, Limit: c.Limit + 1,
	})
	if err != nil {
		return nil, false, fmt.Errorf("read the ledger: %w", err)
	}
	more := len(entries) > c.Limit
	entries = entries[:min(len(entries), c.Limit)]
	slices.Reverse(entries)
	return entries, more, nil
}

func (c ledgerCommand) print(ctx context.Context, to io.Writer, data *store.Store, entries []operation.Entry) error {
	if c.JSON {
		for _, entry := range entries {
			line, err := json.Marshal(entry)
			if err != nil {
				return err //nolint:wrapcheck // Run wraps it
			}
			if _, err := fmt.Fprintln(to, harmless(string(line))); err != nil {
				return err //nolint:wrapcheck // Run wraps it
			}
		}
		return nil
	}
	if len(entries) == 0 {
		return nil
	}
	views, err := deploy.LedgerViews(ctx, data, entries)
	if err != nil {
		return err //nolint:wrapcheck // Run wraps it
	}
	_, err = io.WriteString(to, render.Ledger(views))
	return err //nolint:wrapcheck // Run wraps it
}

type verifyCommand struct {
	selection `embed:""`

	Git string `placeholder:"DIR" help:"A clone of the repository: the order of the applied commits is checked in it, too."`
}

// Run checks again, without asking anybody, that every change in the ledger has its name.
func (c verifyCommand) Run(ctx context.Context) error {
	return c.read(ctx, func(ctx context.Context, data *store.Store, from from) error {
		entries, more, err := c.entries(ctx, data, from, "")
		if err != nil {
			return err
		}
		applies, err := c.applies(ctx, data, from)
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !slices.Contains(applies, entry.Operation) {
				applies = append(applies, entry.Operation)
			}
		}
		wrong := 0
		for _, id := range applies {
			found, err := c.verify(ctx, data, id)
			if err != nil {
				return err
			}
			wrong += len(found)
			for _, sentence := range found {
				if _, err := fmt.Printf("apply %d: %s\n", id, cell(sentence, maxWhy)); err != nil {
					return fmt.Errorf("print what is wrong: %w", err)
				}
			}
		}
		c.remark(from.repo, len(entries), more)
		if wrong > 0 {
			fmt.Fprintf(os.Stderr, "switchyard: %d things do not hold in %d applies\n", wrong, len(applies))
			return &exitError{code: 1}
		}
		_, err = fmt.Printf("%d changes of %d applies: each is what was reviewed, or what somebody said yes to, or is noted with its cause%s.\n",
			len(entries), len(applies), c.unchecked())
		return err //nolint:wrapcheck // of standard output
	})
}

// applies lists the applies that are selected and that changed something, or may have, the oldest first: also those whose
// lines are all gone from the ledger.
func (c verifyCommand) applies(ctx context.Context, data *store.Store, from from) ([]int64, error) {
	ops, err := data.Operations(ctx, store.Filter{
		Repository: from.repo.ID, Environment: c.Environment, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: c.Limit,
		States: []operation.State{operation.Succeeded, operation.Failed, operation.Interrupted, operation.Cancelled},
	})
	if err != nil {
		return nil, fmt.Errorf("find the applies: %w", err)
	}
	var ids []int64
	for _, op := range slices.Backward(ops) {
		if op.Result != nil && !op.Ended.Before(from.since) && slices.ContainsFunc(op.Result.Targets, func(t operation.TargetResult) bool {
			return t.Outcome == operation.Applied || t.Timings.Apply > 0
		}) {
			ids = append(ids, op.ID)
		}
	}
	return ids, nil
}

// unchecked says what was left out.
func (c verifyCommand) unchecked() string {
	if c.Git == "" {
		return " (the commits were not compared: give a clone with --git)"
	}
	return ""
}

func (c verifyCommand) verify(ctx context.Context, data *store.Store, id int64) ([]string, error) {
	record, err := deploy.RecordOf(ctx, data, id)
	if err != nil {
		return nil, err //nolint:wrapcheck // it says what could not be read
	}
	wrong := plan.Verify(record)
	if c.Git == "" {
		return wrong, nil
	}
	clone, err := git.OpenClone(ctx, c.Git)
	if err != nil {
		return nil, fmt.Errorf("--git: %w", err)
	}
	for _, before := range commitsBefore(record) {
		sentence, err := compare(ctx, clone, record, before)
		if err != nil {
			return nil, fmt.Errorf("compare commits: %w", err)
		}
		if sentence != "" {
			wrong = append(wrong, sentence)
		}
	}
	return wrong, nil
}

// commitsBefore are the commits that were applied before an apply, each once.
func commitsBefore(record plan.Record) []string {
	commits := make([]string, 0, len(record.Evidence.Before))
	for _, commit := range record.Evidence.Before {
		commits = append(commits, commit)
	}
	slices.Sort(commits)
	return slices.Compact(commits)
}

// compare says what is wrong with the order of two applied commits; empty when nothing is.
func compare(ctx context.Context, clone git.Clone, record plan.Record, before string) (string, error) {
	head := record.Operation.Head
	for _, commit := range []string{head, before} {
		if there, err := clone.Has(ctx, commit); err != nil || !there {
			return "The clone lacks the commit " + commit + ": fetch it, or somebody has removed it.", err //nolint:wrapcheck // the caller does
		}
	}
	contains, err := clone.Contains(ctx, head, before)
	if err != nil || contains {
		return "", err //nolint:wrapcheck // the caller does
	}
	if record.Evidence.Doubt != "" && slices.ContainsFunc(record.Yes, func(yes plan.Yes) bool {
		return yes.Question == cmp.Or(record.Operation.Confirmed, "-")
	}) {
		return "", nil // it said so, and somebody said yes to that
	}
	return strings.TrimSpace(fmt.Sprintf("%s does not contain %s, which was applied before, and nobody said yes to that.", head, before)), nil
}
