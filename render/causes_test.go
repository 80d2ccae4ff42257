package render_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

func because(change operation.Change, kind operation.CauseKind, detail string) operation.Change {
	change.Cause = &operation.Cause{Kind: kind, Detail: detail}
	return change
}

func updated(address string, attributes ...operation.Attribute) operation.Change {
	return operation.Change{Address: address, Action: operation.Update, Attributes: attributes}
}

// explained is the result of an apply of whose plan every change has a cause.
func explained() *operation.Result {
	reviewed := added("terraform_data.a", "terraform_data.b").Changes
	asked := []operation.Change{
		because(updated(`module.stamp["westeurope"].azurerm_redis_cache.main`, attribute("capacity", "2", "1")), operation.CauseDrift, ""),
		because(updated(`azurerm_dns_a_record.api`, attribute("records[0]", `"10.0.0.4"`, `"10.0.0.5"`)), operation.CauseData, "data.azurerm_lb.main"),
		because(operation.Change{
			Address: `azurerm_storage_account.logs`, Action: operation.Replace, ActionReason: "replace_because_cannot_update", ReplacePaths: []string{"kind"},
			Attributes: []operation.Attribute{attribute("kind", `"Storage"`, `"StorageV2"`)},
		}, operation.CauseProvider, "registry.terraform.io/hashicorp/azurerm 4.1.0 → 4.2.0"),
		because(operation.Change{
			Address: `azurerm_key_vault_access_policy.deploy`, Action: operation.Update,
			Attributes: []operation.Attribute{attribute("object_id", `"1111"`, `"2222"`)},
		}, operation.CauseIdentity, "data.azurerm_client_config.current"),
		because(updated("terraform_data.odd", attribute("input", `"1"`, `"2"`)), operation.CauseUnexplained, ""),
	}
	volatile := because(updated("terraform_data.clock", operation.Attribute{
		Path: "input", Before: raw(`"2026-11-21T11:00:00Z"`), After: raw(`"2026-11-21T12:00:00Z"`), Volatile: true,
	}), operation.CauseVolatile, "")
	spread := because(updated(`azurerm_monitor_action_group.main`, attribute(`tags["team"]`, "", `"sre"`)), operation.CauseDrift, "")
	t := target("src/terraform", "prod", operation.Different, changeSet(append(append(reviewed, asked...), volatile, spread)...))
	t.Unexpected, t.Tolerated = asked, []operation.Change{volatile, spread}
	t.Risks = []operation.Risk{
		{Address: "azurerm_storage_account.logs", Action: operation.Replace, Rule: operation.RiskReplaceStateful, Reason: "A storage account holds data, and the new one is empty."},
		{Address: "azurerm_key_vault_access_policy.deploy", Action: operation.Update, Rule: operation.RiskAccess, Reason: "It changes who may read the key vault."},
	}
	return result(t)
}

func asking(r *operation.Result) operation.Operation {
	op := unconfirmed()
	op.Result = r
	return op
}

// dangerous is a plan with risks of every rule.
func dangerous() operation.TargetResult {
	gone := operation.Change{Address: "terraform_data.gone", Action: operation.Delete, ActionReason: "delete_because_no_resource_config"}
	account := operation.Change{
		Address: `module.stamp["westeurope"].azurerm_storage_account.main`, Action: operation.Replace, ActionReason: "replace_because_cannot_update",
		ReplacePaths: []string{"location"}, Attributes: []operation.Attribute{attribute("location", `"westeurope"`, `"northeurope"`)},
	}
	database := operation.Change{Address: "azurerm_mssql_database.orders", Action: operation.Delete, ActionReason: "delete_because_no_resource_config"}
	open := updated("azurerm_key_vault.main", attribute("public_network_access_enabled", "false", "true"))
	role := operation.Change{Address: "azurerm_role_assignment.ops", Action: operation.Create, Attributes: []operation.Attribute{
		attribute("role_definition_name", "", `"Owner"`),
	}}
	left := operation.Change{Address: "azurerm_public_ip.old", Action: operation.Forget}
	t := target("src/terraform", "prod", operation.Planned, changeSet(gone, account, database, open, role, left))
	t.Risks = []operation.Risk{
		{Address: role.Address, Action: role.Action, Rule: operation.RiskAccess, Reason: "It says who may do what."},
		{Address: gone.Address, Action: gone.Action, Rule: operation.RiskDestroy, Reason: "It is destroyed."},
		{Address: left.Address, Action: left.Action, Rule: operation.RiskForget, Reason: "Terraform does not look after it any more."},
		{Address: database.Address, Action: database.Action, Rule: operation.RiskDestroyStateful, Reason: "A database holds data."},
		{Address: account.Address, Action: account.Action, Rule: operation.RiskReplaceStateful, Reason: "A storage account holds data, and the new one is empty."},
		{Address: open.Address, Action: open.Action, Rule: operation.RiskPublic, Reason: "`public_network_access_enabled` is turned on."},
	}
	t.RisksOmitted = 2
	return t
}

func proof() []render.PromotionView {
	return []render.PromotionView{{Stage: "test", Commit: base, Same: 4, Differs: []string{"sku_name"}}}
}

func causeTexts() map[string]string {
	blocked := dangerous()
	blocked.Outcome, blocked.Blocked = operation.Different, []string{`module.stamp["westeurope"].azurerm_storage_account.main`}
	blockedToo := blocked
	blockedToo.Target.Root = "src/dns"
	both := explained()
	both.Targets[0].Blocked = []string{"azurerm_storage_account.logs"}
	onlyBlocked := changed(asking(result(blocked)), func(op *operation.Operation) { op.Question, op.Message = "", "" })
	applied := explained()
	applied.Targets[0].Outcome, applied.Targets[0].Unexpected = operation.Applied, nil
	one := explained()
	one.Targets[0].Unexpected = one.Targets[0].Unexpected[:1]
	risky := planOperation(operation.Succeeded, result(dangerous()))
	risky.Environment = "prod"
	plain := planOperation(operation.Succeeded, result(target("src/terraform", "dev", operation.Planned, added("terraform_data.a"))))
	failing := []render.PromotionView{{
		Stage: "test", Commit: base, Problem: "The module modules/stamp has another content than what was applied there.",
	}}
	return map[string]string{
		"notice causes":            render.Notice(apply(asking(explained()))),
		"notice drift":             render.Notice(apply(asking(one))),
		"notice blocked":           render.Notice(apply(onlyBlocked)),
		"notice asked and blocked": render.Notice(apply(asking(both))),
		"notice promotion": render.Notice(apply(changed(asking(result(target("src/terraform", "prod", operation.Different, added("terraform_data.a")))),
			func(op *operation.Operation) { op.Message = "" }), func(v *render.ApplyView) { v.Promotion = failing })),
		"check apply causes":    joined(render.ApplyCheck(apply(asking(explained())))),
		"apply tolerated":       render.PullComment(pull(plain, apply(applyOperation("prod", operation.Succeeded, applied)))),
		"plan with risks":       render.PullComment(pull(risky)),
		"check plan with risks": joined(render.PlanCheck(pull(risky))),
		"plan promotion": render.PullComment(with(pull(plain), func(v *render.PullView) {
			v.Promotion = append(proof(), render.PromotionView{Stage: "dev", Commit: head, Same: 5}, render.PromotionView{Stage: "lab", Commit: head, Differs: []string{"a", "b"}},
				failing[0])
		})),
		"step summary": render.StepSummary(apply(asking(explained()))),
		"plan not approved": render.PullComment(with(pull(plain), func(v *render.PullView) {
			v.Approval = &gitflow.Approval{
				Needed: 2, By: []string{"cyn"}, Headline: "not approved yet: 2 people must approve, and only cyn did",
				Reasons: []string{"The approval of ana does not count: ana is an author."},
				Remedy:  "Ask one more person with write permission, and not an author, to approve its newest commit.",
			}
		})),
		"plan approved": render.PullComment(with(pull(plain), func(v *render.PullView) {
			v.Approval = &gitflow.Approval{Approved: true, Needed: 1, By: []string{"cyn"}, Headline: "approved by cyn"}
		})),
		"notice not approved": render.Notice(apply(asking(one), func(v *render.ApplyView) {
			v.Missing = []string{"#41 is not approved: one person must approve, and nobody has."}
		})),
		"apply blocked": render.ApplyAnswer(render.ApplyAnswerView{
			Kind: render.ApplyBlocked, Environment: "prod", Blocked: []string{"azurerm_redis_cache.main", "azurerm_storage_account.a"},
		}),
		"apply own":       render.ApplyAnswer(render.ApplyAnswerView{Kind: render.ApplyOwn, Environment: "prod", Digest: "7f3a"}),
		"unblock nothing": unblocked(render.UnblockNothing, "a.held"), "unblock own": unblocked(render.UnblockOwn),
		"unblock early": unblocked(render.UnblockEarly, "a.other"), "unblock waits": unblocked(render.UnblockWaits, "a.other"),
		"unblock runs": unblocked(render.UnblockRuns),
		"unblock which root": render.UnblockAnswer(render.UnblockAnswerView{
			Kind: render.UnblockWhich, Address: "azurerm_storage_account.logs", Environment: "prod", Roots: []string{"src/terraform", "src/dns"},
		}),
		"unblock which apply": render.UnblockAnswer(render.UnblockAnswerView{
			Kind: render.UnblockWhich, Address: "azurerm_storage_account.logs", Root: "src/dns", Applies: []operation.Operation{
				{Environment: "test", Pulls: []int{40, 41}}, {Environment: "prod", Pulls: []int{44}},
			},
		}),
		"notice blocked in two roots": render.Notice(apply(changed(asking(result(blocked, blockedToo)),
			func(op *operation.Operation) { op.Question, op.Message = "", "" }))),
		"plan promotion of a baseline": render.PullComment(with(pull(plain), func(v *render.PullView) {
			v.Promotion = []render.PromotionView{
				{Stage: "test", Commit: base, Baseline: []string{"src/terraform"}},
				{Stage: "dev", Commit: head, Same: 5, Baseline: []string{"src/dns"}},
			}
		})),
	}
}

func ledgerEntries() []render.LedgerEntry {
	where := operation.Target{Root: "src/terraform", Environment: "prod"}
	reviewed := updated(`module.stamp["westeurope"].azurerm_redis_cache.main`, attribute("capacity", "1", "2"))
	reviewed.Cause = &operation.Cause{Kind: operation.CauseReviewed, Pulls: []int{40, 41}}
	drifted := because(updated(reviewed.Address, attribute("capacity", "2", "1")), operation.CauseDrift, "")
	made := operation.Change{Address: reviewed.Address, PreviousAddress: "azurerm_redis_cache.main", Action: operation.Create}
	return []render.LedgerEntry{
		{At: noon, Target: where, Change: drifted, Outcome: operation.Applied, Operation: 23, Pull: 44, Commit: head, Actor: "ana", Confirmed: "cyn", Digest: "7f3a0123"},
		{At: noon.Add(-time.Hour), Target: where, Change: drifted, Outcome: operation.Different, Operation: 22, Pull: 44, Commit: head, Actor: "ana"},
		{At: noon.Add(-2 * time.Hour), Target: where, Change: drifted},
		{
			At: noon.Add(-50 * time.Hour), Target: where, Change: reviewed, Outcome: operation.Applied, Operation: 20, Pull: 41, Commit: base, Actor: "ana",
			Approved: []string{"ben", "cyn"},
		},
		{At: noon.Add(-60 * time.Hour), Target: where, Change: made, Outcome: operation.TargetFailed, Operation: 18, Commit: base},
	}
}

// ledgerAndPlans is asked about an address that two environments have, which an open pull request and a waiting apply would change.
func ledgerAndPlans(entries []render.LedgerEntry) render.WhyView {
	other := entries[3]
	other.Target.Environment, other.At, other.Operation = "test", noon.Add(-70*time.Hour), 17
	dev := operation.Target{Root: "src/terraform", Environment: "dev"}
	planned := planOperation(operation.Succeeded, nil)
	planned.Pull, planned.Pulls = 51, []int{51}
	waits := unconfirmed()
	return render.WhyView{
		Repository: network, WebURL: web, Address: other.Change.Address, Now: noon, Unlooked: 3,
		Ledger: append(slices.Clone(entries), other),
		Planned: []render.AddressChange{
			{Operation: *planned, Target: dev, Change: entries[0].Change}, {Operation: waits, Target: other.Target, Change: entries[4].Change},
		},
	}
}

func ledgerTexts() map[string]string {
	entries := ledgerEntries()
	return map[string]string{
		"ledger":       render.Ledger(entries),
		"ledger empty": render.Ledger(nil),
		"why ledger": render.Why(render.WhyView{
			Repository: network, WebURL: web, Address: entries[0].Change.Address, Ledger: entries, Now: noon,
		}),
		"why ledger and plans": render.Why(ledgerAndPlans(entries)),
		"why only plans": func() string {
			v := ledgerAndPlans(entries)
			v.Ledger, v.Older, v.Planned = nil, false, v.Planned[:1]
			return render.Why(v)
		}(),
		"why much": func() string {
			v := ledgerAndPlans(entries)
			for range 30 {
				v.Ledger = append(v.Ledger, entries[3])
			}
			v.Older = true
			return render.Why(v)
		}(),
	}
}

func TestEachEntryThatIsAskedAboutHasItsCauseAndNoOtherIsShown(t *testing.T) {
	t.Parallel()
	notice := render.Notice(apply(asking(explained())))
	for _, want := range []string{
		"it was changed outside of Terraform", "the data source `data.azurerm_lb.main` gives another result", "4.1.0 → 4.2.0",
		"another identity planned", "nothing that was looked at explains it", "`/apply prod 7f3a`",
	} {
		if !strings.Contains(notice, want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if strings.Contains(notice, "terraform_data.a") {
		t.Error("it shows what was reviewed")
	}
	asked, _, _ := strings.Cut(notice, "<details>")
	if strings.Contains(asked, "terraform_data.clock") {
		t.Error("what needs no yes is not folded")
	}
}

func TestTheMostDangerousIsFirst(t *testing.T) {
	t.Parallel()
	op := planOperation(operation.Succeeded, result(dangerous()))
	comment := render.PullComment(pull(op))
	last := 0
	for _, address := range []string{"azurerm_storage_account.main", "azurerm_mssql_database.orders", "azurerm_key_vault.main", "azurerm_role_assignment.ops", "azurerm_public_ip.old"} {
		at := strings.Index(comment, address)
		if at < last {
			t.Errorf("%s is at %d, before what is less dangerous", address, at)
		}
		last = at
	}
	if folded := strings.Index(comment, "<details>"); folded < last {
		t.Error("risks are below the fold")
	}
	risks, _, _ := strings.Cut(comment, "<details>")
	if strings.Count(risks, "azurerm_mssql_database.orders") != 1 || strings.Count(risks, "terraform_data.gone") != 1 {
		t.Error("an object is not listed exactly once")
	}
}

func TestATerminalGetsNoControlCharacters(t *testing.T) {
	t.Parallel()
	for _, foreign := range hostile {
		entries := ledgerEntries()
		for i := range entries {
			entries[i].Target.Root, entries[i].Change.Address, entries[i].Actor, entries[i].Commit = foreign, foreign, foreign, foreign
			entries[i].Approved, entries[i].Confirmed, entries[i].Digest = []string{foreign}, foreign, foreign
			entries[i].Change.Cause = &operation.Cause{Kind: operation.CauseData, Detail: foreign}
		}
		table := render.Ledger(entries)
		if got := strings.Count(table, "\n"); got != len(entries)+1 {
			t.Errorf("with %q it has %d lines", foreign, got)
		}
		for _, r := range table {
			if r != '\n' && (r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 || r == 0x202e) {
				t.Errorf("with %q it has %U", foreign, r)
			}
		}
	}
}

func unblocked(kind render.UnblockKind, left ...string) string {
	view := render.UnblockAnswerView{
		Kind: kind, Address: `module.stamp["westeurope"].azurerm_redis_cache.main`, Environment: "prod", By: "cyn", Author: "ana", Left: left,
	}
	if kind == render.UnblockWaits {
		view.Question = "7f3a5e"
	}
	return render.UnblockAnswer(view)
}
