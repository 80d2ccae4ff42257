package deploy_test

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

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"
	_ "modernc.org/sqlite" // somebody's own way into the database

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/store"
)

const lenient = `version: 1
environments:
  prod: { branch: main }
roots:
  - dir: infra
    backend: { key: "{environment}" }
executor: local
`

var (
	acme  = operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"}
	infra = operation.Target{Root: "infra", Environment: "prod"}
)

// past is a repository and the database of a server that has applied two pull requests of it, #41 by a merge and #42 by a
// squash. The second apply also undid drift, which it tolerated, and destroyed what cy said yes to.
type past struct {
	t           *testing.T
	clone, file string
	commits     map[string]string // by name
}

// newPast makes the two. config is in force; squashed is what the squash of #42 has in the place of what was reviewed.
func newPast(t *testing.T, config, squashed string) past {
	t.Helper()
	p := past{t: t, clone: t.TempDir(), file: filepath.Join(t.TempDir(), "switchyard.db")}
	p.git("", "init", "--quiet", "--bare", "--initial-branch=main")
	p.commits = p.imported(
		commit{"c0", config, "1", "1", nil}, commit{"f", config, "2", "1", []int{1}}, commit{"c1", config, "2", "1", []int{1, 2}},
		commit{"g", config, "1", "2", []int{1}}, commit{"c2", config, "2", squashed, []int{3}}, commit{"elsewhere", config, "9", "9", []int{3}},
	)
	p.git("", "update-ref", "refs/heads/main", p.commits["c2"])
	p.git("", "update-ref", "refs/heads/other", p.commits["elsewhere"])
	p.git("", "update-ref", "refs/pull/41/head", p.commits["f"])
	p.git("", "update-ref", "refs/pull/42/head", p.commits["g"])
	p.serve()
	return p
}

// copied is a past of its own like p.
func (p past) copied(t *testing.T) past {
	t.Helper()
	other := past{t: t, clone: filepath.Join(t.TempDir(), "clone"), file: filepath.Join(t.TempDir(), "switchyard.db"), commits: p.commits}
	if err := os.CopyFS(other.clone, os.DirFS(p.clone)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(p.file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(other.file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return other
}

func (p past) git(stdin string, args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "git", args...)
	cmd.Dir, cmd.Stdin = p.clone, strings.NewReader(stdin)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_CONFIG_NOSYSTEM=1"}
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("git %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit is a commit with the configuration and two files. Parents are the places of commits before it, from 1.
type commit struct {
	name, config, a, b string
	parents            []int
}

// imported makes commits, and gives their names at git by ours. https://git-scm.com/docs/git-fast-import
func (p past) imported(commits ...commit) map[string]string {
	p.t.Helper()
	var stream strings.Builder
	data := func(text string) { fmt.Fprintf(&stream, "data %d\n%s\n", len(text), text) }
	for i, c := range commits {
		fmt.Fprintf(&stream, "commit refs/scratch/%s\nmark :%d\ncommitter Ana <ana@example.com> 1700000000 +0000\n", c.name, i+1)
		data(c.name)
		for n, parent := range c.parents {
			fmt.Fprintf(&stream, "%s :%d\n", []string{"from", "merge"}[n], parent)
		}
		stream.WriteString("deleteall\n")
		for _, file := range [][2]string{{".github/switchyard.yml", c.config}, {"infra/a.tf", c.a}, {"infra/b.tf", c.b}} {
			stream.WriteString("M 100644 inline " + file[0] + "\n")
			data(file[1])
		}
	}
	marks := filepath.Join(p.t.TempDir(), "marks")
	p.git(stream.String(), "fast-import", "--quiet", "--export-marks="+marks)
	text, err := os.ReadFile(marks)
	if err != nil {
		p.t.Fatal(err)
	}
	names := map[string]string{}
	for line := range strings.Lines(string(text)) {
		var mark int
		var sha string
		if _, err := fmt.Sscanf(line, ":%d %s", &mark, &sha); err != nil {
			p.t.Fatal(err)
		}
		names[commits[mark-1].name] = sha
		p.git("", "update-ref", "-d", "refs/scratch/"+commits[mark-1].name)
	}
	return names
}

// changes of the two applies.
func sized(address string) operation.Change {
	return operation.Change{Address: address, Action: operation.Update, Attributes: []operation.Attribute{
		{Path: "size", Before: json.RawMessage("100"), After: json.RawMessage("200")},
	}}
}

func caused(change operation.Change, kind operation.CauseKind, pulls ...int) operation.Change {
	change.Cause = &operation.Cause{Kind: kind, Pulls: pulls}
	return change
}

func setOf(changes ...operation.Change) operation.ChangeSet {
	return operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)}
}

// serve does with the database what a server would have done.
func (p past) serve() {
	p.t.Helper()
	ctx := context.WithoutCancel(p.t.Context())
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	data, err := store.Open(ctx, "sqlite:"+p.file, clock)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	s := server{past: p, Store: data, ctx: ctx, clock: clock}
	s.must(data.SaveRepository(ctx, acme, "main"))
	s.must(data.SetBaselines(ctx, []store.TargetState{{Repository: acme.ID, Target: infra, Baseline: p.commits["c0"]}}))
	s.must(data.SaveCommitPulls(ctx, acme.ID, map[string]int{p.commits["c1"]: 41, p.commits["c2"]: 42}))
	first, second, gone, drifted := sized("a.first"), sized("a.second"), operation.Change{Address: "a.gone", Action: operation.Delete}, sized("a.third")

	planned := s.plan(41, "c0", "f", "c1", first)
	s.apply(41, "c1", "c0", planned, nil, setOf(caused(first, operation.CauseReviewed, 41)), nil)
	planned = s.plan(42, "c1", "g", "", second)
	asked, tolerated := caused(gone, operation.CauseUnexplained), caused(drifted, operation.CauseDrift)
	s.apply(42, "c2", "c1", planned, []operation.Change{asked},
		setOf(asked, caused(second, operation.CauseReviewed, 42), tolerated), []operation.Change{tolerated})
}

// server is a database while it is written to.
type server struct {
	past
	*store.Store

	ctx   context.Context //nolint:containedctx // of a test
	clock *clockwork.FakeClock
}

func (s server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// plan is that of a pull request. Its tree is that of merged, or not known.
func (s server) plan(number int, base, head, merged string, change operation.Change) operation.Operation {
	s.t.Helper()
	op := operation.Operation{
		Kind: operation.Plan, Repository: acme, Environment: "prod", Pull: number, Pulls: []int{number},
		Base: s.commits[base], Head: s.commits[head], Actor: "ana",
	}
	if merged != "" {
		op.Tree = s.git("", "rev-parse", s.commits[merged]+"^{tree}")
	}
	op, err := s.CreateOperation(s.ctx, op)
	s.must(err)
	op, _, err = s.Start(s.ctx, op.ID)
	s.must(err)
	op, err = s.Finish(s.ctx, store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded,
		Result: &operation.Result{Targets: []operation.TargetResult{{Target: infra, Outcome: operation.Planned, ChangeSet: setOf(change)}}},
	})
	s.must(err)
	s.clock.Advance(time.Hour)
	return op
}

func (s server) apply(number int, head, before string, planned operation.Operation, asked []operation.Change, all operation.ChangeSet,
	tolerated []operation.Change,
) {
	s.t.Helper()
	queued, _, err := s.QueueApply(s.ctx, operation.Operation{
		Kind: operation.Apply, Repository: acme, Environment: "prod", Branch: "main", Head: s.commits[head], Pull: number, Pulls: []int{number}, Actor: "ana",
	})
	s.must(err)
	result := operation.TargetResult{Target: infra, Outcome: operation.Applied, ChangeSet: all, Unexpected: asked, Tolerated: tolerated}
	question := ""
	if len(asked) > 0 {
		question = plan.Question(map[operation.Target][]operation.Change{infra: asked}, "", "")
		result.UnexpectedDigest = plan.Digest(asked)
		op, _, err := s.TakeHold(s.ctx, acme.ID, "prod")
		s.must(err)
		_, err = s.Finish(s.ctx, store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Unconfirmed, Question: question})
		s.must(err)
		_, err = s.Confirm(s.ctx, queued.ID, question, "cy", int64(number))
		s.must(err)
	}
	op, _, err := s.TakeHold(s.ctx, acme.ID, "prod")
	s.must(err)
	s.must(s.SaveEvidence(s.ctx, op.ID, op.Attempt, operation.Evidence{
		Before: map[string]string{"infra": s.commits[before]}, Config: s.commits["c0"],
		Reviews: []operation.Review{{Pull: number, Plan: planned.ID, Head: planned.Head, Authors: []string{"ana"}, Approved: []string{"bob"}}},
	}))
	var lines []operation.Entry
	for _, change := range all.Changes {
		entry := operation.Entry{Repository: acme.ID, Target: infra, Operation: op.ID, Commit: op.Head, Change: change}
		switch change.Cause.Kind {
		case operation.CauseReviewed:
			entry.ApprovedBy = []string{"bob"}
		case operation.CauseUnexplained:
			entry.ConfirmedBy = "cy"
		default:
		}
		lines = append(lines, entry)
	}
	_, err = s.Finish(s.ctx, store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded, Ledger: lines,
		Result:  &operation.Result{Question: question, Targets: []operation.TargetResult{result}},
		Applied: []store.TargetState{{Repository: acme.ID, Target: infra, Applied: op.Head, Operation: op.ID}},
	})
	s.must(err)
	s.clock.Advance(time.Hour)
}

// verify checks it all, and gives what was found, a line each.
func (p past) verify(options func(*deploy.Verification)) string {
	p.t.Helper()
	data, err := store.OpenToRead(p.t.Context(), "sqlite:"+p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	clone, err := git.OpenClone(p.t.Context(), p.clone)
	if err != nil {
		p.t.Fatal(err)
	}
	v := deploy.Verification{Store: data, Clone: &clone, Repository: acme, Limit: 100}
	if options != nil {
		options(&v)
	}
	result, err := v.Verify(p.t.Context())
	if err != nil {
		p.t.Fatal(err)
	}
	var text strings.Builder
	for _, found := range result.Findings {
		if found.Unchecked {
			text.WriteString("not checked: ")
		}
		fmt.Fprintf(&text, "%d %s: %s\n", found.Operation, found.Target.Root, found.Text)
	}
	line := text.String()
	for name, sha := range p.commits { // their names depend on the time
		line = strings.ReplaceAll(strings.ReplaceAll(line, sha, name), sha[:7], name)
	}
	return line
}

func (p past) tamper(statements ...string) {
	p.t.Helper()
	db, err := sql.Open("sqlite", "file:"+p.file)
	if err != nil {
		p.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	for _, statement := range statements {
		for name, sha := range p.commits {
			statement = strings.ReplaceAll(statement, "{"+name+"}", sha)
		}
		done, err := db.ExecContext(p.t.Context(), statement)
		if err != nil {
			p.t.Fatal(err)
		}
		if rows, err := done.RowsAffected(); err != nil || rows == 0 {
			p.t.Fatalf("%s: %d rows, %v", statement, rows, err)
		}
	}
}

// asks puts the beginning of the question of the second apply into a text.
func asks(text string) string {
	question := plan.Question(map[operation.Target][]operation.Change{infra: {{Address: "a.gone", Action: operation.Delete}}}, "", "")
	return strings.NewReplacer("{question}", question[:7], "{questio}", question[:6]).Replace(text)
}

func TestAnHonestPastIsVerified(t *testing.T) {
	t.Parallel()
	if found := newPast(t, lenient, "2").verify(nil); found != "" {
		t.Errorf("it finds:\n%s", found)
	}
}

// Operation 2 is the apply of #41, and 4 that of #42.
func TestWhoAltersARowIsFoundOut(t *testing.T) {
	t.Parallel()
	made := newPast(t, lenient, "2")
	for name, test := range map[string]struct {
		statements []string
		want       string
	}{
		"a change in the ledger": {
			[]string{`UPDATE ledger SET change = replace(change, '200', '300') WHERE address = 'a.first'`},
			"2 infra: update a.first was applied and is not in the ledger: nobody can say why it is there.\n" +
				"2 infra: update a.first is in the ledger, but that apply did not make it.\n",
		},
		"a change in the ledger and in the result": {
			[]string{`UPDATE ledger SET change = replace(change, '200', '300')`, `UPDATE operations SET result = replace(result, '200', '300') WHERE id = 2`},
			"2 infra: The changes that were kept are not those of their digest: somebody has altered what the apply did.\n" +
				"2 infra: update a.first says that it was reviewed in #41, where it was not shown.\n" +
				"4 infra: update a.second was applied and is not in the ledger: nobody can say why it is there.\n" +
				"4 infra: update a.third was applied and is not in the ledger: nobody can say why it is there.\n" +
				"4 infra: update a.second is in the ledger, but that apply did not make it.\n" +
				"4 infra: update a.third is in the ledger, but that apply did not make it.\n",
		},
		"an approval on a line": {
			[]string{`UPDATE ledger SET approved_by = '["bob","mallory"]' WHERE address = 'a.first'`},
			"2 infra: update a.first says that mallory approved it, which was not seen when it was applied.\n",
		},
		"an approval on a line and in the evidence": {
			[]string{
				`UPDATE ledger SET approved_by = '["bob","mallory"]' WHERE address = 'a.first'`,
				`UPDATE evidence SET data = replace(data, '"bob"', '"bob","mallory"') WHERE operation = 2`,
			},
			"2 : The lines of the ledger are not those that the audit says were written: somebody has altered one of the two.\n" +
				"2 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n",
		},
		"a review of another pull request on a line": {
			[]string{`UPDATE ledger SET change = replace(change, '[42]', '[41]') WHERE address = 'a.second'`},
			"4 infra: update a.second has another cause in the ledger than the apply found: reviewed in #41, not reviewed in #42.\n" +
				"4 : 1 change is said to be reviewed in #41, which the apply did not carry: nobody can tell that people saw it.\n",
		},
		"a review of another pull request everywhere": {
			[]string{
				`UPDATE ledger SET change = replace(change, '[42]', '[41]') WHERE address = 'a.second'`,
				`UPDATE operations SET result = replace(result, '[42]', '[41]'), pulls = '[41]' WHERE id = 4`,
				`UPDATE evidence SET data = replace(data, '"pull":42', '"pull":41') WHERE operation = 4`,
			},
			"4 : The lines of the ledger are not those that the audit says were written: somebody has altered one of the two.\n" +
				"4 : 1 change is said to be reviewed in #41, but operation 3 is not a plan of it: nobody can tell that people saw it.\n" +
				"4 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n" +
				"4 : #41 is said to have been reviewed at g, but its last commit is f: what was merged is not what people saw.\n",
		},
		"a line is removed": {
			[]string{`DELETE FROM ledger WHERE address = 'a.gone'`},
			"4 infra: delete a.gone was applied and is not in the ledger: nobody can say why it is there.\n",
		},
		"the whole ledger is removed": {
			[]string{`DELETE FROM ledger`},
			"2 infra: update a.first was applied and is not in the ledger: nobody can say why it is there.\n" +
				"4 infra: delete a.gone was applied and is not in the ledger: nobody can say why it is there.\n" +
				"4 infra: update a.second was applied and is not in the ledger: nobody can say why it is there.\n" +
				"4 infra: update a.third was applied and is not in the ledger: nobody can say why it is there.\n",
		},
		"a line is added to a plan": {
			[]string{`INSERT INTO ledger (at, repository, environment, root, operation, head, address, previous, change, approved_by, confirmed_by, attempted)
				SELECT at, repository, environment, root, 1, head, 'x', '', '{"address":"x","action":"delete"}', 'null', '', 0 FROM ledger LIMIT 1`},
			"1 infra: delete x is in the ledger, but that apply did not make it.\n",
		},
		"the applied commit of the target": {
			[]string{`UPDATE targets SET applied = '{c1}'`},
			"0 infra: c1 counts as applied, but the last apply, 4, brought c2: the next plan would be compared with the wrong commit.\n",
		},
		"the applied commit in the evidence": {
			[]string{`UPDATE evidence SET data = replace(data, '{c1}', '{c0}') WHERE operation = 4`},
			"4 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n" +
				"4 infra: It is said to have begun at c0, but apply 2 had brought c1: what lies between was looked at by nobody.\n",
		},
		"the candidate": {
			[]string{`UPDATE operations SET head = '{elsewhere}' WHERE id = 4`, `UPDATE ledger SET head = '{elsewhere}' WHERE operation = 4`, `UPDATE targets SET applied = '{elsewhere}'`},
			"4 : The lines of the ledger are not those that the audit says were written: somebody has altered one of the two.\n" +
				"4 : elsewhere was applied and is not on main: what was applied is not what was merged.\n" +
				"4 infra: Neither g, the last commit of #42, nor a commit that GitHub made of it is between c1 and elsewhere: " +
				"it cannot be why this apply changed something.\n",
		},
		"the configuration in force": {
			[]string{`UPDATE evidence SET data = replace(data, '"config":"{c0}"', '"config":"{elsewhere}"') WHERE operation = 4`},
			"4 : The configuration in force is said to be that of elsewhere, which is not on main, where it is taken from.\n" +
				"4 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n",
		},
		"the tree that was planned": {
			[]string{`UPDATE operations SET tree = '{c2}' WHERE id = 1`},
			"2 : Plan 1 of #41 is not of the merge of its two commits: people saw the plan of something else.\n",
		},
		"the line of the audit about the yes is removed": {
			[]string{`DELETE FROM audit WHERE who = 'cy'`}, "4 : The audit has no yes of cy to {question}: nobody can tell that it was given.\n",
		},
		"the line of the audit about the end is removed": {
			[]string{`DELETE FROM audit WHERE what = 'apply succeeded' AND operation = 2`},
			"2 : The audit has no line \"apply succeeded\" about it: lines of the audit are never removed by Switchyard.\n",
		},
		"the line of the audit about the evidence is removed": {
			[]string{`DELETE FROM audit WHERE what = 'evidence' AND operation = 2`},
			"2 : The audit does not say what it rested on, so that nobody can tell whether reviews and approvals are what they were.\n",
		},
		"the line of the audit about the ledger is removed": {
			[]string{`DELETE FROM audit WHERE what = 'ledger' AND operation = 2`},
			"2 : The lines of the ledger are not those that the audit says were written: somebody has altered one of the two.\n",
		},
		"the question": {
			[]string{`UPDATE operations SET result = replace(result, '"question":"', '"question":"0') WHERE id = 4`},
			"4 : It asked about 0{questio} and was applied, but the yes was to \"{question}\".\n",
		},
		"what was asked about is noted as tolerated": {
			[]string{`UPDATE operations SET result = replace(result, '"unexpected":', '"elsewhere":') WHERE id = 4`},
			"4 infra: delete a.gone has the cause \"unexplained\", but the apply neither asked about it nor noted it.\n" +
				"4 : It asked about {question}, but nothing is kept that it could have asked about: somebody has removed that.\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := made.copied(t)
			p.tamper(test.statements...)
			if diff := cmp.Diff(asks(test.want), p.verify(nil)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestWhatGitSaysOtherwiseIsFoundOut(t *testing.T) {
	t.Parallel()
	made := newPast(t, lenient, "2")
	for name, test := range map[string]struct {
		config, squashed string
		change           func(past)
		want             string
	}{
		"a branch was pushed by force": {
			lenient, "2", func(p past) { p.git("", "update-ref", "refs/heads/main", p.commits["c1"]) },
			"4 : c2 was applied and is not on main: what was applied is not what was merged.\n",
		},
		"the candidate lacks what was applied before": {
			lenient, "2", func(p past) {
				p.tamper(`UPDATE evidence SET data = replace(data, '{c1}', '{elsewhere}') WHERE operation = 4`)
			},
			"4 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n" +
				"4 infra: c2 does not contain elsewhere, which was applied before, and nobody said yes to taking that back.\n" +
				"4 infra: It is said to have begun at elsewhere, but apply 2 had brought c1: what lies between was looked at by nobody.\n",
		},
		"somebody said yes to that": {
			lenient, "2", func(p past) {
				p.tamper(
					`UPDATE evidence SET data = replace(data, '{c1}', '{elsewhere}') WHERE operation = 4`,
					`UPDATE evidence SET data = substr(data, 1, length(data) - 1) || ',"doubts":[{"key":"k","text":"It lacks elsewhere.","undoes":true}]}' WHERE operation = 4`,
					`UPDATE operations SET doubts = '{"agreed":["k"],"confirmed":["k"]}' WHERE id = 4`,
				)
			},
			"4 : The question {question} is not the one that its changes and doubts ask: the yes was to something else.\n" +
				"4 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n" +
				"4 infra: It is said to have begun at elsewhere, but apply 2 had brought c1: what lies between was looked at by nobody.\n",
		},
		"a branch that was merged and deleted is no fault": {
			lenient, "2", func(p past) {
				p.git("", "update-ref", "refs/heads/trunk", p.commits["c2"])
				p.git("", "update-ref", "-d", "refs/heads/main")
			}, "",
		},
		"a pull request has another last commit": {
			lenient, "2", func(p past) { p.git("", "update-ref", "refs/pull/41/head", p.commits["elsewhere"]) },
			"2 : #41 is said to have been reviewed at f, but its last commit is elsewhere: what was merged is not what people saw.\n",
		},
		"a clone without pull requests cannot compare what was squashed": {
			lenient, "2", func(p past) {
				p.git("", "update-ref", "-d", "refs/pull/42/head")
				p.git("", "gc", "--quiet", "--prune=now")
			},
			"not checked: 4 : The clone lacks g, the last commit of #42, so that it is not checked: " +
				"run `git fetch origin refs/pull/42/head` in it.\n",
		},
		"the squash has something else in it": {
			lenient, "3", func(past) {},
			"4 infra: c2, which GitHub is said to have made of #42, is not the merge of what was reviewed: it has something else in it.\n",
		},
		"the squash is not known": {
			lenient, "2", func(p past) { p.tamper(`DELETE FROM commit_pulls WHERE pull = 42`) },
			"4 infra: Neither g, the last commit of #42, nor a commit that GitHub made of it is between c1 and c2: " +
				"it cannot be why this apply changed something.\n",
		},
		"what was applied before had the pull request already": {
			lenient, "2", func(p past) {
				p.tamper(`UPDATE evidence SET data = replace(data, '{c0}"},"rev', '{c1}"},"rev') WHERE operation = 2`)
			},
			"2 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n" +
				"2 infra: #41 was a part of c1 already, which was applied before: it cannot be why this apply changed something.\n" +
				"2 infra: It is said to have begun at c1, which nothing says was ever applied.\n",
		},
		"the binding was strict": {
			strings.Replace(lenient, "main }", "main, binding: strict }", 1), "2", func(past) {},
			"4 infra: update a.third was reviewed by nobody and applied without a yes, although the binding of prod was strict at c0.\n",
		},
		"more approvals were asked for": {
			strings.Replace(lenient, "main }", "main, approvals: 2 }", 1), "2", func(past) {},
			"2 : 1 change is said to be reviewed in #41, which 1 person approved, where prod asked for 2 at c0: nobody can tell that people saw it.\n" +
				"4 : 1 change is said to be reviewed in #42, which 1 person approved, where prod asked for 2 at c0: nobody can tell that people saw it.\n" +
				"4 infra: update a.third was reviewed by nobody and applied without a yes, although the binding of prod was strict at c0.\n",
		},
		"the configuration is of another version": {
			strings.Replace(lenient, "version: 1", "version: 2", 1), "2", func(past) {},
			"not checked: 2 : The configuration of c0 cannot be read by this version of Switchyard: binding and approvals are not checked.\n" +
				"not checked: 4 : The configuration of c0 cannot be read by this version of Switchyard: binding and approvals are not checked.\n" +
				"not checked: 4 infra: Whether 1 change could be applied without a yes cannot be told: the configuration of that time is not known.\n",
		},
		"there was no such environment": {
			strings.Replace(lenient, "prod:", "test:", 1), "2", func(past) {},
			"2 : The configuration of c0, which is said to have been in force, has no environment \"prod\".\n" +
				"4 : The configuration of c0, which is said to have been in force, has no environment \"prod\".\n" +
				"not checked: 4 infra: Whether 1 change could be applied without a yes cannot be told: the configuration of that time is not known.\n",
		},
		"the branch did not deploy there": {
			strings.Replace(lenient, "branch: main", "branch: trunk", 1), "2", func(past) {},
			"2 : main did not deploy to prod by the configuration of c0.\n4 : main did not deploy to prod by the configuration of c0.\n",
		},
		"the configuration is not recorded": {
			lenient, "2", func(p past) {
				p.tamper(`UPDATE evidence SET data = replace(data, ',"config":"{c0}"', '')`, `DELETE FROM audit WHERE what = 'evidence' AND operation = 2`)
			},
			"not checked: 2 : It is not recorded which configuration was in force, so its binding and approvals are not checked.\n" +
				"2 : The audit does not say what it rested on, so that nobody can tell whether reviews and approvals are what they were.\n" +
				"not checked: 4 : It is not recorded which configuration was in force, so its binding and approvals are not checked.\n" +
				"not checked: 4 infra: Whether 1 change could be applied without a yes cannot be told: the configuration of that time is not known.\n" +
				"4 : Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := made.copied(t)
			if test.config != lenient || test.squashed != "2" {
				p = newPast(t, test.config, test.squashed)
			}
			test.change(p)
			if diff := cmp.Diff(asks(test.want), p.verify(nil)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPartOfTheAppliesIsVerified(t *testing.T) {
	t.Parallel()
	p := newPast(t, lenient, "2")
	p.tamper(`DELETE FROM ledger WHERE address IN ('a.first', 'a.gone')`)
	first := "2 infra: update a.first was applied and is not in the ledger: nobody can say why it is there.\n"
	second := "4 infra: delete a.gone was applied and is not in the ledger: nobody can say why it is there.\n"
	for name, test := range map[string]struct {
		options func(*deploy.Verification)
		want    string
	}{
		"the newest":          {func(v *deploy.Verification) { v.Limit = 1 }, second},
		"since a time":        {func(v *deploy.Verification) { v.Since = time.Date(2026, 11, 21, 14, 0, 0, 0, time.UTC) }, second},
		"another environment": {func(v *deploy.Verification) { v.Environment = "test" }, ""},
		"without a clone": {func(v *deploy.Verification) { v.Clone = nil }, first + second +
			"not checked: 4 infra: Whether 1 change could be applied without a yes cannot be told: the configuration of that time is not known.\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(test.want, p.verify(test.options)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
