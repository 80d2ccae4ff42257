package main_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/store"
)

// newLedger makes a database in which an apply to prod made what #41 showed, and destroyed what cy said yes to.
// before and head are the commits.
func newLedger(t *testing.T, dir, before, head string) {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	clock := clockwork.NewFakeClockAt(then)
	data, err := store.Open(ctx, fileIn(dir), clock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"}
	target := operation.Target{Root: "src/terraform", Environment: "prod"}
	must(data.SaveRepository(ctx, repo, "main"))
	set := func(changes ...operation.Change) operation.ChangeSet {
		return operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)}
	}
	made := operation.Change{
		Address: `module.stamp["westeurope"].terraform_data.gateway`, Action: operation.Update,
		Attributes: []operation.Attribute{{Path: "input.limit", Before: json.RawMessage("100"), After: json.RawMessage("200")}},
	}
	gone := operation.Change{Address: "terraform_data.old\x1b[2J", Action: operation.Delete}
	planned, err := data.CreateOperation(ctx, operation.Operation{
		Kind: operation.Plan, Repository: repo, Environment: "prod", Pull: 41, Pulls: []int{41}, Head: "feature", Actor: "ana",
	})
	must(err)
	planned, _, err = data.Start(ctx, planned.ID)
	must(err)
	_, err = data.Finish(ctx, store.Finish{
		Operation: planned.ID, Attempt: planned.Attempt, State: operation.Succeeded,
		Result: &operation.Result{Targets: []operation.TargetResult{{Target: target, Outcome: operation.Planned, ChangeSet: set(made)}}},
	})
	must(err)
	clock.Advance(time.Hour)
	queued, _, err := data.QueueApply(ctx, operation.Operation{
		Kind: operation.Apply, Repository: repo, Environment: "prod", Branch: "main", Head: head, Pull: 41, Pulls: []int{41}, Actor: "ana",
		Reason: "#41 was merged into main",
	})
	must(err)
	question := strings.Repeat("7f3a", 16)
	op, _, err := data.TakeHold(ctx, repo.ID, "prod")
	must(err)
	_, err = data.Finish(ctx, store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Unconfirmed, Question: question})
	must(err)
	_, err = data.Confirm(ctx, queued.ID, question, "cy", 5)
	must(err)
	op, _, err = data.TakeHold(ctx, repo.ID, "prod")
	must(err)
	evidence := operation.Evidence{
		Before:  map[string]string{target.Root: before},
		Reviews: []operation.Review{{Pull: 41, Plan: planned.ID, Head: "feature", Approved: []string{"bob"}}},
	}
	must(data.SaveEvidence(ctx, op.ID, op.Attempt, evidence))
	because := func(change operation.Change, kind operation.CauseKind, pulls ...int) operation.Change {
		change.Cause = &operation.Cause{Kind: kind, Pulls: pulls}
		return change
	}
	reviewed, asked := because(made, operation.CauseReviewed, 41), because(gone, operation.CauseUnexplained)
	_, err = data.Finish(ctx, store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded,
		Result: &operation.Result{Question: question, Targets: []operation.TargetResult{{
			Target: target, Outcome: operation.Applied, ChangeSet: set(reviewed, asked), Unexpected: []operation.Change{asked},
		}}},
		Ledger: []operation.Entry{
			{Repository: repo.ID, Target: target, Operation: op.ID, Commit: head, Change: reviewed, ApprovedBy: []string{"bob"}},
			{Repository: repo.ID, Target: target, Operation: op.ID, Commit: head, Change: asked, ConfirmedBy: "cy"},
		},
	})
	must(err)
}

func TestTheLedgerIsReadAndVerified(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newLedger(t, dir, strings.Repeat("a", 40), strings.Repeat("b", 40))
	env := databaseVariables(fileIn(dir))
	for name, args := range map[string][]string{
		"ledger":             {"ledger", "--repo", "acme/network", "--environment", "prod"},
		"ledger-json":        {"ledger", "--repo", "acme/network", "--address", `module.stamp["westeurope"].terraform_data.gateway`, "--json"},
		"ledger-nothing":     {"ledger", "--repo", "acme/network", "--environment", "dev"},
		"ledger-limit":       {"ledger", "--repo", "acme/network", "--limit", "1"},
		"verify":             {"verify", "--repo", "acme/network"},
		"verify-nothing":     {"verify", "--repo", "acme/network", "--environment", "dev"},
		"verify-not-a-clone": {"verify", "--repo", "acme/network", "--git", "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, filepath.Join("testdata", name+".golden"), call{env: env, args: args}.transcript(t))
		})
	}
}

func TestALedgerThatSomebodyChangedIsNotVerified(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]string{
		"verify-line-removed": `DELETE FROM ledger WHERE confirmed_by = 'cy'`,
		"verify-all-removed":  `DELETE FROM ledger`,
		"verify-yes-removed":  `DELETE FROM audit WHERE who = 'cy'`,
		"verify-line-added": `INSERT INTO ledger (at, repository, environment, root, operation, head, address, previous, change, approved_by, confirmed_by, attempted)
			SELECT at, repository, environment, root, operation, head, 'x', '', '{"address":"x","action":"delete"}', 'null', '', 0 FROM ledger LIMIT 1`,
		"verify-plan-changed": `UPDATE operations SET result = '{}' WHERE kind = 'plan'`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			newLedger(t, dir, strings.Repeat("a", 40), strings.Repeat("b", 40))
			db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "switchyard.db"))
			if err != nil {
				t.Fatal(err)
			}
			if _, err := db.ExecContext(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			got := call{env: databaseVariables(fileIn(dir)), args: []string{"verify", "--repo", "acme/network"}}.transcript(t)
			same(t, filepath.Join("testdata", name+".golden"), got)
		})
	}
}
