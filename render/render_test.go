package render_test

import (
	"encoding/json"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/render"
)

var update = flag.Bool("update", false, "write golden files")

var (
	noon    = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	network = operation.Repository{ID: 1, Owner: "acme", Name: "network"}
)

const (
	web  = "https://github.com"
	head = "4f3a2b1c9d8e7f6a5b4c3d2e1f0a9b8c7d6e5f4a"
	base = "0a1b2c3d4e5f60718293a4b5c6d7e8f901234567"
)

func raw(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	return json.RawMessage(text)
}

func attribute(path, before, after string) operation.Attribute {
	return operation.Attribute{Path: path, Before: raw(before), After: raw(after)}
}

func unknown(path, before string) operation.Attribute {
	return operation.Attribute{Path: path, Before: raw(before), Unknown: true}
}

func changeSet(changes ...operation.Change) operation.ChangeSet {
	return operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)}
}

// everything is a plan with every kind of change.
func everything() operation.ChangeSet {
	return changeSet(
		operation.Change{
			Address: `data.azurerm_client_config.main`, Action: operation.Read, ActionReason: "read_because_dependency_pending",
			Attributes: []operation.Attribute{unknown("id", "")},
		},
		operation.Change{
			Address: `module.stamp["northeurope"].azurerm_redis_cache.main`, Action: operation.Create,
			Attributes: []operation.Attribute{
				unknown("id", ""), attribute("capacity", "", "2"), attribute(`tags["env"]`, "", `"dev"`), attribute("zones[0].note", "", "null"),
				{Path: "primary_key", Sensitive: true, Unknown: true},
			},
		},
		operation.Change{
			Address: `module.stamp["westeurope"].azurerm_redis_cache.main`, Action: operation.Update,
			Attributes: []operation.Attribute{
				attribute("capacity", "1", "2"), attribute(`tags["owner"]`, "", `"sre"`), attribute(`tags["temp"]`, `"yes"`, ""),
				{Path: "password", Sensitive: true},
				unknown("hostname", `"a.example"`),
				attribute("policy", `"{\n  \"a\": 1,\n  \"b\": 2\n}"`, `"{\n  \"a\": 1,\n  \"b\": 3\n}"`),
			},
		},
		operation.Change{
			Address: `module.stamp["westeurope"].azurerm_storage_account.main`, Action: operation.Replace, ActionReason: "replace_because_cannot_update",
			ReplacePaths: []string{"location"},
			Attributes:   []operation.Attribute{unknown("id", `"/old"`), attribute("location", `"westeurope"`, `"northeurope"`)},
		},
		operation.Change{
			Address: `terraform_data.certificate`, Action: operation.ReplaceCreateFirst, ActionReason: "replace_by_triggers",
			Attributes: []operation.Attribute{attribute("triggers_replace", `"1"`, `"2"`)},
		},
		operation.Change{
			Address: `terraform_data.gone`, Action: operation.Delete, ActionReason: "delete_because_no_resource_config",
			Attributes: []operation.Attribute{attribute("input", `"old"`, ""), {Path: "secret", Sensitive: true}},
		},
		operation.Change{Address: `terraform_data.gone`, Action: operation.Delete, Deposed: "12ab34cd"},
		operation.Change{Address: `terraform_data.new_name`, Action: operation.Move, PreviousAddress: "terraform_data.old_name"},
		operation.Change{Address: `terraform_data.taken`, Action: operation.Import, ImportID: "/subscriptions/0/x"},
		operation.Change{Address: `terraform_data.left`, Action: operation.Forget},
		operation.Change{
			Address: `output.url`, Action: operation.Output, ActionReason: "create", Attributes: []operation.Attribute{unknown("value", "")},
		},
	)
}

// added is a plan that only adds n resources.
func added(addresses ...string) operation.ChangeSet {
	var changes []operation.Change
	for _, address := range addresses {
		changes = append(changes, operation.Change{
			Address: address, Action: operation.Create, Attributes: []operation.Attribute{attribute("input", "", `"x"`), unknown("id", "")},
		})
	}
	return changeSet(changes...)
}

func target(root, environment string, outcome operation.Outcome, set operation.ChangeSet) operation.TargetResult {
	return operation.TargetResult{Target: operation.Target{Root: root, Environment: environment}, Outcome: outcome, ChangeSet: set}
}

func result(targets ...operation.TargetResult) *operation.Result {
	return &operation.Result{
		Version: 1, Operation: 12, Attempt: 1, Commit: head, Targets: targets,
		Tools: []operation.Tool{{Name: "terraform", Version: "1.11.4"}}, Started: noon.Add(-12 * time.Second), Ended: noon,
	}
}

func planOperation(state operation.State, r *operation.Result) *operation.Operation {
	op := operation.Operation{
		ID: 12, Kind: operation.Plan, Repository: network, Environment: "dev", State: state, Attempt: 1, Pull: 41, Pulls: []int{41},
		Branch: "develop", Base: base, Head: head, Roots: []string{"src/terraform"}, Actor: "ana", Reason: "a new head was pushed",
		Arrived: noon.Add(-20 * time.Second), Result: r,
	}
	if state != operation.Queued {
		op.Started = noon.Add(-12 * time.Second)
	}
	if state.Ended() {
		op.Ended = noon
	}
	return &op
}

func applyOperation(environment string, state operation.State, r *operation.Result) operation.Operation {
	op := operation.Operation{
		ID: 20, Kind: operation.Apply, Repository: network, Environment: environment, State: state, Attempt: 1, Pull: 41, Pulls: []int{41},
		Branch: "develop", Head: head, Roots: []string{"src/terraform"}, Actor: "ana", Reason: "commits were pushed to develop",
		Arrived: noon.Add(-time.Minute), Result: r,
	}
	if state != operation.Queued && state != operation.Gathered {
		op.Started = noon.Add(-40 * time.Second)
	}
	if state.Ended() {
		op.Ended = noon
	}
	return op
}

func allowed() gitflow.Decision {
	return gitflow.Decision{
		Verdict: gitflow.Allowed, Environment: "dev", Deploys: "dev", Title: "feature/add-region → develop: a feature branch may merge to develop",
		Reasons: []string{"A feature branch may merge to develop.", "It plans dev, because develop deploys to dev."},
	}
}

func refused() gitflow.Decision {
	return gitflow.Decision{
		Verdict: gitflow.Refused, Deploys: "prod", Title: "feature/oops → main: a feature branch may not merge to main",
		Reasons: []string{"A feature branch may not merge to main: it would skip dev and test."},
		Remedy:  "Change the base branch of this pull request to develop.", Bases: []string{"develop"},
	}
}

// pull is a view of pull request 41 with a plan.
func pull(p *operation.Operation, applies ...render.ApplyView) render.PullView {
	return render.PullView{
		Repository: network, WebURL: web, Pull: 41, Gitflow: allowed(), Plan: p, Applies: applies, Now: noon,
		Roots:     []render.RootReason{{Root: "src/terraform", Reason: "its directory changed"}},
		ResultURL: "https://github.com/acme/network/pull/41/checks",
	}
}

func with(v render.PullView, change func(*render.PullView)) render.PullView {
	change(&v)
	return v
}

func apply(op operation.Operation, change ...func(*render.ApplyView)) render.ApplyView {
	v := render.ApplyView{
		Operation: op, Commit: op.Head, Repository: network, WebURL: web, Now: noon,
		ResultURL: "https://github.com/acme/network/commit/" + head + "/checks",
	}
	for _, one := range change {
		one(&v)
	}
	return v
}

func changed(op operation.Operation, change func(*operation.Operation)) operation.Operation {
	change(&op)
	return op
}

// ahead is the apply of #38 that runs now.
func ahead() *operation.Operation {
	op := applyOperation("dev", operation.Running, nil)
	op.ID, op.Pull, op.Pulls = 19, 38, []int{38}
	return &op
}

const terraformError = "Error: creating Redis Cache: unexpected status 409 (409 Conflict) with error: NameNotAvailable\n\n" +
	"  with module.stamp[\"westeurope\"].azurerm_redis_cache.main,\n  on modules/stamp/main.tf line 12, in resource \"azurerm_redis_cache\" \"main\":\n" +
	"  12: resource \"azurerm_redis_cache\" \"main\" {\n"

func failedTarget(outcome operation.Outcome) operation.TargetResult {
	t := target("src/terraform", "dev", outcome, added("terraform_data.a"))
	t.Error, t.Timings.Apply = terraformError, time.Second
	return t
}

// killedTarget is what a runner reports of a Terraform that the system has killed; lock is what it says of the lock.
func killedTarget(lock string, change func(*operation.TargetResult)) operation.TargetResult {
	t := failedTarget(operation.TargetFailed)
	t.Error = "Terraform was killed (signal: killed) during terraform apply, and not by Switchyard.\nMost often that is the system, because memory ran " +
		"out: `journalctl -k` on that machine says so.\nThen it needs more, or fewer operations at once.\nWhat it did last may not be in the state." +
		"\n\n" + lock + "\n\nterraform_data.a: Creating..."
	change(&t)
	return t
}

func lockedTarget() operation.TargetResult {
	t := target("src/terraform", "dev", operation.Locked, operation.ChangeSet{})
	t.Error = "Error: Error acquiring the state lock"
	t.Lock = &operation.LockInfo{
		ID: "9db590f1-b6fe-c5f2-2678-8804f089deba", Who: "ana@laptop", Operation: "OperationTypeApply", Created: "2026-11-21 11:58:03 UTC",
	}
	return t
}

// surprising is the result of the apply to prod that nobody reviewed in full.
func surprising() *operation.Result {
	reviewed := added("terraform_data.a", "terraform_data.b").Changes
	strange := operation.Change{
		Address: `module.stamp["westeurope"].azurerm_redis_cache.main`, Action: operation.Delete, ActionReason: "delete_because_no_resource_config",
		Attributes: []operation.Attribute{attribute("name", `"redis"`, "")},
	}
	t := target("src/terraform", "prod", operation.Different, changeSet(append(reviewed, strange)...))
	t.Unexpected = []operation.Change{strange}
	return result(t)
}

func unconfirmed() operation.Operation {
	op := applyOperation("prod", operation.Unconfirmed, surprising())
	op.Question = "7f3a0123456789abcdef0123456789abcdef0123456789abcdef0123456789ab"
	op.Branch, op.Message = "main", "The plan has changes that nobody reviewed."
	return op
}

// noted is a target with notes, one of them with what a hostile check could say.
func noted(t operation.TargetResult) operation.TargetResult {
	t.Notes = []string{
		"`now` of `terraform_data.x` is `plantimestamp()`, which is new with each plan: what uses it is another value when it is applied",
		"`terraform` is version 1.11.4 here; what was reviewed was planned with 1.11.3",
		"the check `check.c` does not pass: ::error::x @acme/owners <!-- switchyard:pull:41 --> [x](https://evil.example)\n# heading",
	}
	return t
}

// shouts finds exclamation marks, but for those in the first column of a diff.
var shouts = regexp.MustCompile(`(?m)[^\n]!( |$)`)

func TestTextsAreAsInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	cases := map[string]string{}
	for _, texts := range []map[string]string{
		planTexts(), applyTexts(), checkTexts(), noticeTexts(), answerTexts(), statusTexts(), whyTexts(), causeTexts(), valueTexts(), ledgerTexts(), parityTexts(), pageTexts(), lockTexts(),
	} {
		maps.Copy(cases, texts)
	}
	for name, got := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			golden := filepath.Join("testdata", strings.ReplaceAll(name, " ", "-")+".md")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got):\n%s", golden, diff)
			}
			if shouts.MatchString(got) || strings.Contains(strings.ToLower(got), "sorry") {
				t.Error("it shouts or says sorry")
			}
		})
	}
	files, err := filepath.Glob(filepath.Join("testdata", "*.md"))
	if err != nil {
		t.Fatal(err)
	}
	if len(files) != len(cases) {
		t.Errorf("%d golden files for %d texts", len(files), len(cases))
	}
}

func planTexts() map[string]string {
	planned := target("src/terraform", "dev", operation.Planned, everything())
	dns := target("src/dns", "dev", operation.Planned, added("terraform_data.zone"))
	same := target("src/monitoring", "dev", operation.Unchanged, operation.ChangeSet{})
	twoRoots := func(v *render.PullView) {
		v.Roots = append(v.Roots, render.RootReason{Root: "src/dns", Reason: "the module `modules/zone` that it uses changed"})
	}
	return map[string]string{
		"plan queued":      render.PullComment(pull(planOperation(operation.Queued, nil))),
		"plan running":     render.PullComment(pull(planOperation(operation.Running, nil))),
		"plan everything":  render.PullComment(pull(planOperation(operation.Succeeded, result(planned)))),
		"plan three roots": render.PullComment(with(pull(planOperation(operation.Succeeded, result(planned, dns, same))), twoRoots)),
		"plan out of date": render.PullComment(func() render.PullView {
			v := pull(planOperation(operation.Succeeded, result(dns)))
			v.Outdated = &render.Outdated{Pull: 43, Commit: head, Address: `azurerm_dns_zone.x["<b>"]`}
			return v
		}()),
		"plan out of date by its base": render.PullComment(func() render.PullView {
			v := pull(planOperation(operation.Succeeded, result(same)))
			v.Outdated = &render.Outdated{Base: "develop", Root: "src/terraform"}
			return v
		}()),
		"plan out of date by an unknown apply": render.PullComment(func() render.PullView {
			v := pull(planOperation(operation.Succeeded, result(dns)))
			v.Outdated = &render.Outdated{Commit: head}
			return v
		}()),
		"plan out of date by its state": render.PullComment(func() render.PullView {
			v := pull(planOperation(operation.Succeeded, result(dns)))
			v.Outdated = &render.Outdated{Root: "src/dns", From: 12, To: 13, Operation: 14, Pull: 43, Commit: head}
			return v
		}()),
		"plan out of date by its state and a push": render.PullComment(func() render.PullView {
			v := pull(planOperation(operation.Succeeded, result(dns)))
			v.Outdated = &render.Outdated{Root: "src/dns", From: 12, To: 13, Operation: 14, Commit: head}
			return v
		}()),
		"check plan out of date by its state": joined(render.PlanCheck(func() render.PullView {
			v := pull(planOperation(operation.Succeeded, result(dns)))
			v.Outdated = &render.Outdated{Root: "src/dns", From: 12, To: 13}
			return v
		}())),
		"plan adds":       render.PullComment(pull(planOperation(operation.Succeeded, result(dns)))),
		"plan with notes": render.PullComment(pull(planOperation(operation.Succeeded, result(noted(dns))))),
		"plan no changes": render.PullComment(pull(planOperation(operation.Succeeded, result(same)))),
		"plan failed":     render.PullComment(pull(planOperation(operation.Failed, result(failedTarget(operation.TargetFailed))))),
		"plan failed before it began": render.PullComment(pull(func() *operation.Operation {
			op := planOperation(operation.Failed, nil)
			op.Message = "Terraform 1.11.4 is not installed on this server."
			return op
		}())),
		"plan superseded": render.PullComment(pull(planOperation(operation.Superseded, nil))),
		"plan cancelled": render.PullComment(pull(func() *operation.Operation {
			op := planOperation(operation.Cancelled, nil)
			op.Message = "Cancelled by ana before it ran."
			return op
		}())),
		"plan of a hotfix": render.PullComment(with(pull(planOperation(operation.Succeeded, result(dns))), func(v *render.PullView) {
			v.Gitflow.Later = []string{"main must be merged back to develop: commits would be in prod but not in develop."}
		})),
		"plan as advice": render.PullComment(with(pull(planOperation(operation.Succeeded, result(dns))), func(v *render.PullView) {
			v.Gitflow.Advice, v.Gitflow.Verdict = true, gitflow.Neutral
		})),
		"no root changed": render.PullComment(with(pull(nil), func(v *render.PullView) { v.Roots = nil })),
		"refused":         render.PullComment(with(pull(nil), func(v *render.PullView) { v.Gitflow, v.Roots = refused(), nil })),
		"refused with a plan": render.PullComment(with(pull(planOperation(operation.Succeeded, result(dns))), func(v *render.PullView) {
			v.Gitflow = refused()
		})),
		"conflict": render.PullComment(with(pull(nil), func(v *render.PullView) {
			v.Merge = "src/terraform/main.tf\nsrc/terraform/env/dev.tfvars"
		})),
		"configuration problem": render.PullComment(with(pull(nil), func(v *render.PullView) {
			v.ConfigProblem = "`.github/switchyard.yml:7:12`: environment \"prd\" in `flow` is not defined. Defined: dev, test, prod. Did you mean \"prod\"?\n" +
				"`.github/switchyard.yml:9:3`: unknown key \"rots\". Did you mean \"roots\"?"
		})),
	}
}

func applyTexts() map[string]string {
	planned := planOperation(operation.Succeeded, result(target("src/terraform", "dev", operation.Planned, added("terraform_data.a", "terraform_data.b"))))
	applied := result(target("src/terraform", "dev", operation.Applied, added("terraform_data.a", "terraform_data.b")))
	comment := func(op operation.Operation, change ...func(*render.ApplyView)) string {
		return render.PullComment(pull(planned, apply(op, change...)))
	}
	second := func(v *render.ApplyView) { v.Position, v.Ahead, v.Usually = 2, ahead(), 2*time.Minute }
	gathered := func(op *operation.Operation) { op.Pulls = []int{39, 41, 42} }
	others := func(v *render.ApplyView) { v.With = []int{39, 42} }
	older := func(op *operation.Operation) { op.ID = 18 }
	away := func(op *operation.Operation) {
		op.Message = "The server that started it, runner-1, does not answer since 09:12 UTC. When it is back it tells how the apply ended; " +
			"without it, the hold ends at 11:16 UTC, when the time limit of the apply has passed."
	}
	stopped := target("src/dns", "dev", operation.TargetStopped, operation.ChangeSet{})
	elsewhere, unbegun := failedTarget(operation.TargetFailed), failedTarget(operation.TargetFailed)
	elsewhere.Target.Root, unbegun.Timings.Apply = "src/dns", 0
	first := target("src/base", "dev", operation.Applied, added("terraform_data.base"))
	return map[string]string{
		"apply next":    comment(applyOperation("dev", operation.Queued, nil), func(v *render.ApplyView) { v.Position = 1 }),
		"apply waiting": comment(applyOperation("dev", operation.Queued, nil), second),
		"apply unknown": comment(changed(applyOperation("dev", operation.Running, nil), away)),
		"apply waiting for unknown": comment(applyOperation("dev", operation.Queued, nil), second, func(v *render.ApplyView) {
			away(v.Ahead)
		}),
		"apply gathering": comment(changed(applyOperation("dev", operation.Queued, nil), gathered), second, others),
		"apply gathered": render.PullComment(pull(planned,
			apply(applyOperation("dev", operation.Gathered, nil)))),
		"apply gathered and applied": render.PullComment(pull(planned,
			apply(changed(applyOperation("dev", operation.Gathered, nil), older)),
			apply(changed(applyOperation("dev", operation.Succeeded, applied), gathered), others))),
		"apply running": comment(applyOperation("dev", operation.Running, nil), func(v *render.ApplyView) { v.Usually = 2 * time.Minute }),
		"apply applied": comment(applyOperation("dev", operation.Succeeded, applied)),
		"apply nothing left": comment(changed(applyOperation("dev", operation.Succeeded, nil), func(op *operation.Operation) {
			op.Message = "Nothing was left to apply."
		})),
		"apply failed": comment(applyOperation("dev", operation.Failed, result(first, failedTarget(operation.TargetFailed), stopped))),
		"apply killed and locked": comment(applyOperation("dev", operation.Failed, result(killedTarget(
			"The state lock is still held by ci@build-1. Next, when nothing works on the state any more: `/break-lease dev src/terraform`.",
			func(t *operation.TargetResult) {
				t.Lock = &operation.LockInfo{ID: "9db590f1-b6fe-c5f2-2678-8804f089deba", Who: "ci@build-1", Operation: "OperationTypeApply"}
				t.Found = &operation.StateLock{Lease: operation.LeaseHeld, Info: t.Lock}
			})))),
		"apply killed and perhaps locked": comment(applyOperation("dev", operation.Failed, result(killedTarget(
			"The state lock may still be held. Next, when nothing works on the state any more: `/break-lease dev src/terraform`, which says who holds it.",
			func(t *operation.TargetResult) { t.Lock = &operation.LockInfo{} })))),
		"apply killed": comment(applyOperation("dev", operation.Failed, result(killedTarget(
			"The state lock is free. Next, when the cause is gone: `/apply dev`.", func(*operation.TargetResult) {})))),
		"apply killed beside an error": comment(applyOperation("dev", operation.Failed, result(killedTarget(
			"The state lock is free. Next, when the cause is gone: `/apply dev`.", func(*operation.TargetResult) {}), elsewhere))),
		"apply killed while it planned": comment(applyOperation("dev", operation.Failed, result(killedTarget(
			"The state lock may still be held. Next, when nothing works on the state any more: `/break-lease dev src/terraform`, which says who holds it.",
			func(t *operation.TargetResult) {
				t.Timings.Apply, t.Lock = 0, &operation.LockInfo{}
				t.Error = strings.NewReplacer("terraform apply", "terraform plan", "\nWhat it did last may not be in the state.", "").Replace(t.Error)
			})))),
		"apply failed while it planned": comment(applyOperation("dev", operation.Failed, result(unbegun))),
		"apply locked":                  comment(applyOperation("dev", operation.Failed, result(lockedTarget()))),
		"apply not started": comment(changed(applyOperation("dev", operation.Failed, nil), func(op *operation.Operation) {
			op.Message = "It could not be started, and nothing was changed: fetch the files: exit status 128."
		})),
		"apply unconfirmed": comment(unconfirmed()),
		"apply unconfirmed and capped": comment(changed(unconfirmed(), func(op *operation.Operation) {
			op.Result.Targets[0] = noted(op.Result.Targets[0])
			op.Result.Targets[0].UnexpectedOmitted = 3000
		})),
		"apply in doubt": comment(changed(applyOperation("dev", operation.Unconfirmed, result(target("src/terraform", "dev", operation.Different, added("terraform_data.a")))), func(op *operation.Operation) {
			op.Doubt, op.Question = "This would undo #41: the applied commit 0a1b2c3 is not part of develop any more.", "c0ffee00"
		})),
		"apply interrupted": comment(changed(applyOperation("dev", operation.Interrupted, nil), func(op *operation.Operation) {
			op.Message = "Its runner ended without a result, so it is not known how far it came."
		})),
		"apply cancelled": comment(changed(applyOperation("dev", operation.Cancelled, nil), func(op *operation.Operation) {
			op.Message = "Cancelled by ben before it ran."
		})),
		"apply again after a failure": render.PullComment(pull(planned,
			apply(changed(applyOperation("dev", operation.Failed, result(failedTarget(operation.TargetFailed))), older)),
			apply(applyOperation("dev", operation.Succeeded, applied)))),
	}
}

func joined(c render.Check) string {
	return c.Title + "\n\n=== summary\n" + c.Summary + "\n=== text\n" + c.Text
}

func checkTexts() map[string]string {
	planned := target("src/terraform", "dev", operation.Planned, everything())
	return map[string]string{
		"check gitflow allowed": joined(render.GitflowCheck(allowed())),
		"check gitflow refused": joined(render.GitflowCheck(refused())),
		"check gitflow neutral": joined(render.GitflowCheck(gitflow.Decision{
			Verdict: gitflow.Neutral, Title: "feature/a → spike: spike deploys to no environment",
			Reasons: []string{"No environment has the branch spike, so nothing is planned or applied."},
		})),
		"check gitflow advice": joined(render.GitflowCheck(func() gitflow.Decision { d := allowed(); d.Advice = true; return d }())),
		"check plan":           joined(render.PlanCheck(pull(planOperation(operation.Succeeded, result(planned))))),
		"check plan failed":    joined(render.PlanCheck(pull(planOperation(operation.Failed, result(failedTarget(operation.TargetFailed)))))),
		"check plan nothing":   joined(render.PlanCheck(with(pull(nil), func(v *render.PullView) { v.Roots = nil }))),
		"check apply running":  joined(render.ApplyCheck(apply(applyOperation("dev", operation.Running, nil)))),
		"check apply applied": joined(render.ApplyCheck(apply(applyOperation("dev", operation.Succeeded,
			result(target("src/terraform", "dev", operation.Applied, everything())))))),
		"check apply unconfirmed": joined(render.ApplyCheck(apply(unconfirmed()))),
		"deployments": strings.Join([]string{
			render.DeploymentDescription(applyOperation("dev", operation.Queued, nil)),
			render.DeploymentDescription(applyOperation("dev", operation.Running, nil)),
			render.DeploymentDescription(applyOperation("dev", operation.Succeeded, result(planned))),
			render.DeploymentDescription(unconfirmed()),
			render.DeploymentDescription(applyOperation("dev", operation.Failed, nil)),
			render.DeploymentDescription(applyOperation("dev", operation.Interrupted, nil)),
			render.DeploymentDescription(applyOperation("dev", operation.Cancelled, nil)),
			render.DeploymentDescription(applyOperation("dev", operation.Gathered, nil)),
		}, "\n") + "\n",
	}
}

func noticeTexts() map[string]string {
	first := target("src/base", "dev", operation.Applied, added("terraform_data.base"))
	return map[string]string{
		"notice failed":      render.Notice(apply(applyOperation("dev", operation.Failed, result(first, failedTarget(operation.TargetFailed))))),
		"notice locked":      render.Notice(apply(applyOperation("dev", operation.Failed, result(lockedTarget())))),
		"notice unconfirmed": render.Notice(apply(unconfirmed())),
		"notice doubt": render.Notice(apply(changed(applyOperation("dev", operation.Unconfirmed,
			result(target("src/terraform", "dev", operation.Different, everything()))), func(op *operation.Operation) {
			op.Doubt, op.Question = "This would undo #41: the applied commit 0a1b2c3 is not part of develop any more.", "c0ffee00"
		}))),
		"notice interrupted": render.Notice(apply(changed(applyOperation("dev", operation.Interrupted, nil), func(op *operation.Operation) {
			op.Message = "Its runner ended without a result, so it is not known how far it came."
		}))),
		"notice gave up": render.GaveUpNotice("observe #41: read pull request: GET repos/{owner}/{repo}/pulls/{pull_number}: 502 Server Error"),
		"notice refused": render.RefusedNotice(render.RefusedView{
			Environment: "test", Branch: "release/1.0", Commit: head, Repository: network, WebURL: web,
			Gitflow: gitflow.Decision{
				Verdict: gitflow.Refused, Reasons: []string{"release/1.1 is open too, and the newer release has test until it ends."},
				Remedy: "Finish release/1.1 (merge it to main, or delete it); then release/1.0 is applied by itself.",
			},
		}),
		"notice configuration": render.ConfigProblem("`.github/switchyard.yml:9:3`: unknown key \"rots\". Did you mean \"roots\"?"),
	}
}

func answerTexts() map[string]string {
	queued := apply(applyOperation("dev", operation.Queued, nil), func(v *render.ApplyView) { v.Position, v.Ahead, v.Usually = 2, ahead(), 2*time.Minute })
	asks := apply(unconfirmed())
	running := applyOperation("dev", operation.Running, nil)
	return map[string]string{
		"answer plan":      render.PlanAnswer(render.PlanAnswerView{Environment: "dev", Operation: planOperation(operation.Queued, nil)}),
		"answer plan root": render.PlanAnswer(render.PlanAnswerView{Environment: "dev", Root: "src/dns", Operation: planOperation(operation.Queued, nil)}),
		"answer plan all": render.PlanAnswer(render.PlanAnswerView{
			Environment: "dev", Root: "src/dns", All: true, Operation: planOperation(operation.Queued, nil),
		}),
		"answer plan nothing": render.PlanAnswer(render.PlanAnswerView{Environment: "dev", Reason: "It changes no root."}),
		"answer apply open":   render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyOpen, Environment: "dev", Base: "develop", Target: "dev"}),
		"answer apply open elsewhere": render.ApplyAnswer(render.ApplyAnswerView{
			Kind: render.ApplyOpen, Environment: "prod", Base: "develop", Target: "dev",
		}),
		"answer apply open nowhere": render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyOpen, Environment: "dev", Base: "spike"}),
		"answer apply nothing":      render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyNothing, Environment: "dev"}),
		"answer apply wrong digest": render.ApplyAnswer(render.ApplyAnswerView{
			Kind: render.ApplyWrongDigest, Environment: "prod", Digest: "abcd", Apply: &asks,
		}),
		"answer apply needs digest": render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyNeedsDigest, Environment: "prod", Apply: &asks}),
		"answer apply confirmed":    render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyConfirmed, Environment: "dev", Digest: "7f3a", Apply: &queued}),
		"answer apply queued":       render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyQueued, Environment: "dev", Branch: "develop", Apply: &queued}),
		"answer apply running": render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyRunning, Environment: "dev", Apply: func() *render.ApplyView {
			v := apply(running)
			return &v
		}()}),
		"answer cancel": render.CancelAnswer(render.CancelAnswerView{
			Environment: "dev", By: "ana", Stopping: []operation.Operation{running}, Cancelled: []operation.Operation{*planOperation(operation.Cancelled, nil)},
		}),
		"answer cancel nothing": render.CancelAnswer(render.CancelAnswerView{Environment: "dev", By: "ana"}),
		"answer unlock":         render.UnlockAnswer(render.UnlockAnswerView{Environment: "dev", By: "ana", Released: &running, Now: noon}),
		"answer unlock alive":   render.UnlockAnswer(render.UnlockAnswerView{Environment: "dev", By: "ana", Alive: &running, Now: noon}),
		"answer unlock nothing": render.UnlockAnswer(render.UnlockAnswerView{Environment: "dev", By: "ana", Now: noon}),
	}
}

func statusTexts() map[string]string {
	waiting := applyOperation("dev", operation.Queued, nil)
	waiting.Pull, waiting.Pulls = 42, []int{39, 42}
	return map[string]string{
		"status": render.Status(render.StatusView{Repository: network, WebURL: web, Now: noon, Environments: []render.EnvironmentStatus{
			{
				Name: "dev", Branches: []string{"develop"}, Holder: ahead(), Usually: 2 * time.Minute, Waiting: []operation.Operation{waiting},
				Roots: []render.RootStatus{
					{Root: "src/terraform", Commit: head, At: noon.Add(-3 * time.Hour), Pull: 37},
					{Root: "src/dns"},
					{Root: "src/old", Commit: base, Found: true},
				},
			},
			{
				Name: "test", Branches: []string{"release", "release/*"}, Gate: render.GateOn,
				Roots: []render.RootStatus{{Root: "src/terraform", Commit: base, At: noon.Add(-50 * time.Hour)}},
			},
			{Name: "prod", Branches: []string{"main"}, Unconfirmed: []operation.Operation{unconfirmed()}, Gate: render.GateOff},
			{Name: "uat", Gate: render.GateNoEnvironment},
			{Name: "lab", Gate: render.GateNotKnown},
		}}),
		"status delayed for bots": render.Status(render.StatusView{Now: noon, Delay: &render.Delay{
			Bots: 212, BotsAt: noon.Add(65*time.Minute + time.Second), LastAt: noon.Add(3 * time.Hour),
		}, Environments: []render.EnvironmentStatus{{Name: "dev"}}}),
		"status delayed by GitHub": render.Status(render.StatusView{Now: noon, Delay: &render.Delay{
			People: 3, Bots: 212, PeopleAt: noon.Add(65 * time.Minute), BotsAt: noon.Add(65 * time.Minute), LastAt: noon.Add(13 * time.Hour),
			Refused: true, SearchAt: noon.Add(40 * time.Minute),
		}, Environments: []render.EnvironmentStatus{{Name: "dev"}}}),
		"status delayed by the pace": render.Status(render.StatusView{Now: noon, Delay: &render.Delay{
			People: 1, PeopleAt: noon.Add(30 * time.Second), LastAt: noon.Add(30 * time.Second),
		}, Environments: []render.EnvironmentStatus{{Name: "dev"}}}),
		"status writes slowly": render.Status(render.StatusView{Now: noon, Delay: &render.Delay{
			Bots: 90, LastAt: noon.Add(time.Minute),
		}, Environments: []render.EnvironmentStatus{{Name: "dev"}}}),
		"status does not search": render.Status(render.StatusView{
			Now: noon, Delay: &render.Delay{SearchAt: noon.Add(40 * time.Minute)}, Environments: []render.EnvironmentStatus{{Name: "dev"}},
		}),
		"status unknown environment": render.Status(render.StatusView{Repository: network, WebURL: web, Now: noon}),
	}
}

func whyTexts() map[string]string {
	strange := surprising().Targets[0]
	applied := applyOperation("dev", operation.Succeeded, result(target("src/terraform", "dev", operation.Applied, added("terraform_data.a"))))
	planned := planOperation(operation.Succeeded, result(target("src/terraform", "dev", operation.Planned, added("terraform_data.a"))))
	return map[string]string{
		"why": render.Why(render.WhyView{
			Repository: network, WebURL: web, Pull: 41, Gitflow: allowed(), Plan: planned, Now: noon,
			Roots:   []render.RootReason{{Root: "src/terraform", Reason: "its directory changed"}},
			Applies: []render.ApplyView{apply(applied)},
		}),
		"why without a plan": render.Why(render.WhyView{Repository: network, WebURL: web, Pull: 41, Gitflow: refused(), Now: noon}),
		"why on an issue":    render.Why(render.WhyView{Repository: network, WebURL: web, Now: noon}),
		"why address": render.Why(render.WhyView{
			Repository: network, WebURL: web, Pull: 41, Address: strange.Unexpected[0].Address, Now: noon,
			History: []render.AddressChange{
				{Operation: unconfirmed(), Target: strange.Target, Change: strange.Unexpected[0]},
				{Operation: applied, Target: operation.Target{Root: "src/terraform", Environment: "dev"}, Change: added("a.b").Changes[0]},
				{Operation: *planned, Target: operation.Target{Root: "src/terraform", Environment: "dev"}, Change: everything().Changes[3]},
			},
		}),
		"why unknown address": render.Why(render.WhyView{Repository: network, WebURL: web, Pull: 41, Address: "terraform_data.nowhere", Now: noon}),
	}
}
