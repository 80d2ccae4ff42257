package main_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/store"
)

// commits are those of an apply.
type commits struct{ before, feature, head string }

// someCommits are in no repository.
var someCommits = commits{strings.Repeat("a", 40), strings.Repeat("f", 40), strings.Repeat("b", 40)}

// newLedger makes a database in which an apply to prod made what #41 showed, destroyed what cy said yes to, and undid drift.
func newLedger(t *testing.T, dir string, of commits) {
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
	must(data.SetBaselines(ctx, []store.TargetState{{Repository: repo.ID, Target: target, Baseline: of.before}}))
	set := func(changes ...operation.Change) operation.ChangeSet {
		return operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)}
	}
	made := operation.Change{
		Address: `module.stamp["westeurope"].terraform_data.gateway`, Action: operation.Update,
		Attributes: []operation.Attribute{{Path: "input.limit", Before: json.RawMessage("100"), After: json.RawMessage("200")}},
	}
	gone := operation.Change{Address: "terraform_data.old\x1b[2J", Action: operation.Delete}
	moved := operation.Change{
		Address: `module.stamp["westeurope"].terraform_data.door`, PreviousAddress: "terraform_data.door", Action: operation.Update,
		Attributes: []operation.Attribute{{Path: "input", Before: json.RawMessage(`"open"`), After: json.RawMessage(`"closed"`)}},
	}
	planned, err := data.CreateOperation(ctx, operation.Operation{
		Kind: operation.Plan, Repository: repo, Environment: "prod", Pull: 41, Pulls: []int{41}, Head: of.feature, Actor: "ana",
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
		Kind: operation.Apply, Repository: repo, Environment: "prod", Branch: "main", Head: of.head, Pull: 41, Pulls: []int{41}, Actor: "ana",
		Reason: "#41 was merged into main",
	})
	must(err)
	question := plan.Question(map[operation.Target][]operation.Change{target: {gone}}, "", "")
	op, _, err := data.TakeHold(ctx, repo.ID, "prod")
	must(err)
	_, err = data.Finish(ctx, store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Unconfirmed, Question: question})
	must(err)
	_, err = data.Confirm(ctx, queued.ID, question, "cy", 5)
	must(err)
	op, _, err = data.TakeHold(ctx, repo.ID, "prod")
	must(err)
	evidence := operation.Evidence{
		Before: map[string]string{target.Root: of.before}, Config: of.before,
		Reviews: []operation.Review{{Pull: 41, Plan: planned.ID, Head: of.feature, Authors: []string{"ana"}, Approved: []string{"bob"}}},
	}
	must(data.SaveEvidence(ctx, op.ID, op.Attempt, evidence))
	because := func(change operation.Change, kind operation.CauseKind, pulls ...int) operation.Change {
		change.Cause = &operation.Cause{Kind: kind, Pulls: pulls}
		return change
	}
	reviewed, asked, drifted := because(made, operation.CauseReviewed, 41), because(gone, operation.CauseUnexplained), because(moved, operation.CauseDrift)
	drifted.Cause.Detail = "changed outside of Terraform: input"
	_, err = data.Finish(ctx, store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded,
		Result: &operation.Result{Question: question, Targets: []operation.TargetResult{{
			Target: target, Outcome: operation.Applied, ChangeSet: set(drifted, reviewed, asked), Unexpected: []operation.Change{asked},
			UnexpectedDigest: plan.Digest([]operation.Change{asked}), Tolerated: []operation.Change{drifted},
		}}},
		Ledger: []operation.Entry{
			{Repository: repo.ID, Target: target, Operation: op.ID, Commit: of.head, Change: reviewed, ApprovedBy: []string{"bob"}},
			{Repository: repo.ID, Target: target, Operation: op.ID, Commit: of.head, Change: asked, ConfirmedBy: "cy"},
			{Repository: repo.ID, Target: target, Operation: op.ID, Commit: of.head, Change: drifted},
		},
		Applied: []store.TargetState{{Repository: repo.ID, Target: target, Applied: of.head, Operation: op.ID}},
	})
	must(err)
}

// newMirror makes the mirror of a server's repository, in which a merge brought #41 to main. https://git-scm.com/docs/git-fast-import
func newMirror(t *testing.T, dir, config string) commits {
	t.Helper()
	mirror := filepath.Join(dir, "mirrors", "7.git")
	git := func(stdin string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), "git", args...)
		cmd.Stdin = strings.NewReader(stdin)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
		}
		return strings.TrimSpace(string(out))
	}
	const author = "committer Ana <ana@example.com> 1700000000 +0000\ndata 0\n"
	git("", "init", "--quiet", "--bare", mirror)
	git(fmt.Sprintf("commit refs/heads/main\nmark :1\n%sM 100644 inline .github/switchyard.yml\ndata %d\n%s\n"+
		"commit refs/pull/41/head\nmark :2\n%sfrom :1\nM 100644 inline a.tf\ndata 1\na\n"+
		"commit refs/heads/main\n%sfrom :1\nmerge :2\nM 100644 inline a.tf\ndata 1\na\n", author, len(config), config, author, author),
		"-C", mirror, "fast-import", "--quiet")
	name := func(revision string) string { return git("", "-C", mirror, "rev-parse", revision) }
	return commits{before: name("main^1"), feature: name("refs/pull/41/head"), head: name("main")}
}

func TestTheLedgerIsReadAndVerified(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newLedger(t, dir, someCommits)
	env := databaseVariables(fileIn(dir))
	ledger := func(args ...string) []string { return append([]string{"ledger", "--repo", "acme/network"}, args...) }
	for name, args := range map[string][]string{
		"ledger":                  ledger("--environment", "prod"),
		"ledger-json":             ledger("--address", `module.stamp["westeurope"].terraform_data.gateway`, "--json"),
		"ledger-moved":            ledger("--address", "terraform_data.door"),
		"ledger-drift-json":       ledger("--address", "terraform_data.door", "--json", "--since", "2026-11-21"),
		"ledger-nothing":          ledger("--environment", "dev"),
		"ledger-nothing-since":    ledger("--environment", "prod", "--since", "2026-11-22"),
		"ledger-limit":            ledger("--limit", "1"),
		"ledger-no-quotes":        ledger("--address", "module.stamp[westeurope].terraform_data.gateway"),
		"ledger-unknown-address":  ledger("--address", "terraform_data.gateway"),
		"ledger-empty-address":    ledger("--address", ""),
		"ledger-hostile-address":  ledger("--address", "a\x1b[2J\nb"),
		"ledger-long-address":     ledger("--address", strings.Repeat("a", 5000)),
		"ledger-empty-env":        ledger("--environment", ""),
		"ledger-bad-since":        ledger("--since", "yesterday"),
		"ledger-since-tomorrow":   ledger("--since", "-1d"),
		"ledger-bad-limit":        ledger("--limit", "0"),
		"ledger-not-a-repository": {"ledger", "--repo", "network"},
		"ledger-unknown":          {"ledger", "--repo", "acme/other"},
		"ledger-no-repository":    {"ledger", "--environment", "prod"},
		"verify":                  {"verify", "--repo", "acme/network"},
		"verify-nothing":          {"verify", "--repo", "acme/network", "--environment", "dev"},
		"verify-not-a-clone":      {"verify", "--repo", "acme/network", "--git", "/nonexistent"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, filepath.Join("testdata", name+".golden"), call{env: env, args: args}.transcript(t))
		})
	}
}

func TestALedgerIsVerifiedInTheServersMirror(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]string{
		"verify-mirror": good, "verify-mirror-strict": strings.Replace(good, "branch: main", "branch: main, approvals: 1", 1),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			newLedger(t, dir, newMirror(t, dir, config))
			env := []string{"SWITCHYARD_DATA_DIR=" + dir}
			got := call{env: env, args: []string{"verify", "--repo", "acme/network"}}.transcript(t) +
				call{env: env, args: []string{"verify", "--repo", "acme/network", "--json"}}.transcript(t)
			same(t, filepath.Join("testdata", name+".golden"), got)
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
			newLedger(t, dir, someCommits)
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
			env := databaseVariables(fileIn(dir))
			got := call{env: env, args: []string{"verify", "--repo", "acme/network"}}.transcript(t)
			got += call{env: env, args: []string{"verify", "--repo", "acme/network", "--json"}}.transcript(t)
			same(t, filepath.Join("testdata", name+".golden"), got)
		})
	}
}
