package plan_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

func TestVerify(t *testing.T) {
	t.Parallel()
	target := operation.Target{Root: "net", Environment: "prod"}
	set := func(changes ...operation.Change) operation.ChangeSet {
		return operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes)}
	}
	made := operation.Change{Address: "a.made", Action: operation.Create}
	gone := operation.Change{Address: "a.gone", Action: operation.Delete}
	drifted := operation.Change{Address: "a.drifted", Action: operation.Update}
	because := func(change operation.Change, kind operation.CauseKind, pulls ...int) operation.Change {
		change.Cause = &operation.Cause{Kind: kind, Pulls: pulls}
		return change
	}
	rested, wrote := "evidence", "lines"
	question := plan.Question(map[operation.Target][]operation.Change{target: {gone}}, "", "")
	// An apply that made what #41 showed and bob approved, destroyed what cy said yes to, and undid drift.
	record := func() plan.Record {
		return plan.Record{
			Operation: operation.Operation{
				ID: 9, Kind: operation.Apply, State: operation.Succeeded, Environment: "prod", Head: "c1", Pulls: []int{41},
				Confirmed: question, ConfirmedBy: "cy", Started: time.Unix(200, 0),
				Result: &operation.Result{
					Question: question,
					Targets: []operation.TargetResult{{
						Target: target, Outcome: operation.Applied,
						ChangeSet: set(
							because(drifted, operation.CauseDrift), because(gone, operation.CauseUnexplained), because(made, operation.CauseReviewed, 41),
						),
						Unexpected: []operation.Change{gone}, UnexpectedDigest: plan.Digest([]operation.Change{gone}),
						Tolerated: []operation.Change{because(drifted, operation.CauseDrift)},
					}},
				},
			},
			Evidence: operation.Evidence{Reviews: []operation.Review{
				{Pull: 41, Plan: 5, Head: "h", Authors: []string{"ana"}, Approved: []string{"bob"}},
			}},
			Entries: []operation.Entry{
				{Target: target, Commit: "c1", Change: because(made, operation.CauseReviewed, 41), ApprovedBy: []string{"bob"}},
				{Target: target, Commit: "c1", Change: because(gone, operation.CauseUnexplained), ConfirmedBy: "cy"},
				{Target: target, Commit: "c1", Change: because(drifted, operation.CauseDrift)},
			},
			Plans: map[int64]operation.Operation{5: {
				ID: 5, Kind: operation.Plan, Pull: 41, Environment: "prod", Head: "h", Ended: time.Unix(100, 0),
				Result: &operation.Result{Targets: []operation.TargetResult{{Target: target, ChangeSet: set(made)}}},
			}},
			Audit: plan.Audited{
				Yes: []plan.Yes{{Who: "cy", Question: question}}, What: []string{"apply running", "apply succeeded"},
				Evidence: []string{rested}, Ledger: []string{wrote},
			},
			Rules:        &plan.Rules{Commit: "cfg", Binding: operation.BindNoNewRisk, Approvals: 1, After: nil},
			EvidenceMark: rested, LedgerMark: wrote,
		}
	}
	volatile := operation.Attribute{Path: "at", After: json.RawMessage(`"now"`), Volatile: true}
	for _, test := range []struct {
		name  string
		spoil func(*plan.Record)
		want  string // empty: all holds
	}{
		{"all that was kept fits together", func(*plan.Record) {}, ""},
		{
			"a line that is gone is missed", func(r *plan.Record) { r.Entries = r.Entries[1:] },
			"create a.made was applied and is not in the ledger: nobody can say why it is there.",
		},
		{"a line that was added is noticed", func(r *plan.Record) {
			r.Entries = append(r.Entries, operation.Entry{Target: target, Change: operation.Change{Address: "a.x", Action: operation.Delete}})
		}, "delete a.x is in the ledger, but that apply did not make it."},
		{
			"a change that was altered in the result is noticed", func(r *plan.Record) { r.Operation.Result.Targets[0].ChangeSet.Digest = "other" },
			"The changes that were kept are not those of their digest: somebody has altered what the apply did.",
		},
		{
			"lines, results and plans that were altered alike are not what the audit says", func(r *plan.Record) { r.LedgerMark = "others" },
			"The lines of the ledger are not those that the audit says were written: somebody has altered one of the two.",
		},
		{
			"an apply that changed nothing has no lines, and the audit says nothing of them", func(r *plan.Record) {
				r.Operation.Result, r.Operation.State, r.Entries, r.LedgerMark, r.Audit.Ledger = nil, operation.Gathered, nil, "of nothing", nil
			}, "",
		},
		{
			"a line of another commit is noticed", func(r *plan.Record) { r.Entries[0].Commit = "c0" },
			"create a.made is of c0 in the ledger, but the apply was of c1.",
		},
		{
			"a line that says only perhaps of what was done is noticed", func(r *plan.Record) { r.Entries[0].Attempted = true },
			`create a.made is not marked in the ledger as what it is: the apply ended as "applied" there.`,
		},
		{
			"a line with another cause than the apply found is noticed",
			func(r *plan.Record) { r.Entries[2].Change = because(drifted, operation.CauseVolatile) },
			"update a.drifted has another cause in the ledger than the apply found: volatile, not drift.",
		},
		{
			"a line with somebody else's yes is noticed", func(r *plan.Record) { r.Entries[1].ConfirmedBy = "mallory" },
			"delete a.gone has the yes of mallory in the ledger, who was not asked.",
		},
		{
			"what nobody reviewed needs a yes", func(r *plan.Record) { r.Entries[1].ConfirmedBy = "" },
			"delete a.gone was reviewed by nobody, and nobody said yes to it.",
		},
		{
			"the yes must be in the audit", func(r *plan.Record) { r.Audit.Yes = nil },
			"The audit has no yes of cy to " + question[:7] + ": nobody can tell that it was given.",
		},
		{
			"somebody else's yes is not his", func(r *plan.Record) { r.Audit.Yes[0].Who = "dan" },
			"The audit has no yes of cy to " + question[:7] + ": nobody can tell that it was given.",
		},
		{
			"the yes must be to what was asked", func(r *plan.Record) { r.Operation.Confirmed = "q0" },
			"It asked about " + question[:7] + ` and was applied, but the yes was to "q0".`,
		},
		{
			"the question must be of the changes", func(r *plan.Record) {
				r.Operation.Confirmed, r.Operation.Result.Question, r.Audit.Yes[0].Question = "q0", "q0", "q0"
			}, "The question q0 is not the one that its changes and doubts ask: the yes was to something else.",
		},
		{
			"what was asked about must be what is kept of it",
			func(r *plan.Record) {
				r.Operation.Result.Targets[0].UnexpectedDigest = plan.Digest([]operation.Change{made})
			},
			"The changes that nobody reviewed are not those that were asked about: the yes was to something else.",
		},
		{
			"each doubt needs a yes", func(r *plan.Record) {
				r.Evidence.Doubts = operation.Doubts{{Key: "undoes c0", Text: "c0 is taken back."}}
			},
			"Nobody said yes to this, which had to be asked about: c0 is taken back.",
		},
		{
			"the plan that was reviewed must show it", func(r *plan.Record) { r.Plans[5].Result.Targets[0].ChangeSet = set(gone) },
			"create a.made says that it was reviewed in #41, where it was not shown.",
		},
		{
			"a plan that was cut cannot be compared", func(r *plan.Record) {
				r.Plans[5].Result.Targets[0].ChangeSet = operation.ChangeSet{Digest: "d", Omitted: 1}
			}, "not checked: create a.made says that it was reviewed in #41, whose plan was too long to be kept whole.",
		},
		{
			"the plan that was reviewed must be there", func(r *plan.Record) { delete(r.Plans, 5) },
			"1 change is said to be reviewed in #41, whose plan 5 is not there: nobody can tell that people saw it.",
		},
		{
			"the plan must be of the commit that was reviewed", func(r *plan.Record) { r.Evidence.Reviews[0].Head = "other" },
			"1 change is said to be reviewed in #41, whose plan 5 is of another commit: nobody can tell that people saw it.",
		},
		{
			"the plan's changes must be those of its digest", func(r *plan.Record) { r.Plans[5].Result.Targets[0].ChangeSet.Digest = "other" },
			"1 change is said to be reviewed in #41, but the changes of its plan 5 are not those of its digest: nobody can tell that people saw it.",
		},
		{
			"the plan must be of that pull request", func(r *plan.Record) {
				r.Evidence.Reviews[0].Pull, r.Operation.Pulls = 40, []int{40}
				r.Entries[0].Change = because(made, operation.CauseReviewed, 40)
				r.Operation.Result.Targets[0].ChangeSet.Changes[2] = because(made, operation.CauseReviewed, 40)
			}, "1 change is said to be reviewed in #40, but operation 5 is not a plan of it: nobody can tell that people saw it.",
		},
		{
			"the plan must be older than the apply", func(r *plan.Record) { r.Operation.Started = time.Unix(50, 0) },
			"1 change is said to be reviewed in #41, whose plan 5 was made after the apply began: nobody can tell that people saw it.",
		},
		{
			"a line that points to another pull request is noticed",
			func(r *plan.Record) { r.Entries[0].Change = because(made, operation.CauseReviewed, 40) },
			"create a.made has another cause in the ledger than the apply found: reviewed in #40, not reviewed in #41.\n" +
				"1 change is said to be reviewed in #40, which the apply did not carry: nobody can tell that people saw it.",
		},
		{
			"a review that did not count covers nothing", func(r *plan.Record) { r.Evidence.Reviews[0].Missing = "#41 is not approved." },
			"1 change is said to be reviewed in #41, which did not count (#41 is not approved): nobody can tell that people saw it.",
		},
		{
			"nobody approved it whose approval was not seen", func(r *plan.Record) { r.Entries[0].ApprovedBy = []string{"bob", "mallory"} },
			"create a.made says that mallory approved it, which was not seen when it was applied.",
		},
		{
			"an approval that was seen must be on the line", func(r *plan.Record) { r.Entries[0].ApprovedBy = nil },
			"create a.made lacks the approval of bob, which was seen when it was applied.",
		},
		{
			"an approval that was added to both is not what the audit says", func(r *plan.Record) {
				r.Entries[0].ApprovedBy, r.Evidence.Reviews[0].Approved = []string{"bob", "mallory"}, []string{"bob", "mallory"}
				r.EvidenceMark = "other"
			}, "Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.",
		},
		{
			"an author's approval does not count", func(r *plan.Record) { r.Evidence.Reviews[0].Authors = []string{"Bob"} },
			"1 change is said to be reviewed in #41, where bob is among those who approved and among its authors: nobody can tell that people saw it.",
		},
		{
			"there must be as many approvals as the configuration asked for", func(r *plan.Record) { r.Rules.Approvals = 2 },
			"1 change is said to be reviewed in #41, which 1 person approved, where prod asked for 2 at cfg: nobody can tell that people saw it.",
		},
		{
			"one person who approved twice is one", func(r *plan.Record) {
				r.Rules.Approvals, r.Evidence.Reviews[0].Approved, r.Entries[0].ApprovedBy = 2, []string{"Bob", "bob"}, []string{"Bob", "bob"}
			}, "1 change is said to be reviewed in #41, which 1 person approved, where prod asked for 2 at cfg: nobody can tell that people saw it.",
		},
		{
			"a change without a cause is noticed", func(r *plan.Record) { r.Entries[0].Change.Cause = nil },
			"create a.made has no cause: nobody can say why it is there.",
		},
		{
			"drift that was neither asked about nor noted is noticed", func(r *plan.Record) { r.Operation.Result.Targets[0].Tolerated = nil },
			`update a.drifted has the cause "drift", but the apply neither asked about it nor noted it.`,
		},
		{
			"drift needs a yes where the binding is strict", func(r *plan.Record) { r.Rules.Binding = operation.BindStrict },
			"update a.drifted was reviewed by nobody and applied without a yes, although the binding of prod was strict at cfg.",
		},
		{
			"without a configuration that is not known", func(r *plan.Record) { r.Rules = nil },
			"not checked: Whether 1 change could be applied without a yes cannot be told: the configuration of that time is not known.",
		},
		{
			"what carries a risk needs a yes whatever the binding",
			func(r *plan.Record) {
				r.Operation.Result.Targets[0].Risks = []operation.Risk{{Rule: operation.RiskPublic, Address: "a.drifted"}}
			},
			"update a.drifted was reviewed by nobody and applied without a yes, although it carries a risk (public-access).",
		},
		{
			"what carries a risk needs a yes although the note of it was removed", noted,
			"delete a.gone was reviewed by nobody and applied without a yes, although it carries a risk (destroy).",
		},
		{
			"a volatile value needs no yes where the binding is strict", func(r *plan.Record) {
				change := drifted
				change.Attributes = []operation.Attribute{volatile}
				r.Rules.Binding = operation.BindStrict
				replaceDrift(r, because(change, operation.CauseVolatile), set)
			}, "",
		},
		{
			"what has no volatile value is not volatile", func(r *plan.Record) { replaceDrift(r, because(drifted, operation.CauseVolatile), set) },
			"update a.drifted was applied without a yes as volatile, but none of its values is.",
		},
		{
			"what is held back needs a second person", func(r *plan.Record) { holdBack(r) },
			"a.gone was applied, and no second person had approved what prod holds back (destroy).",
		},
		{
			"a second person's yes is to that change", func(r *plan.Record) {
				holdBack(r)
				r.Evidence.Seconds = []operation.Second{{Root: "net", Who: "dan", Held: plan.Held(r.Operation.Result.Targets[0].Risks, r.Rules.Block,
					[]operation.Change{gone})[0]}}
				r.Entries[1].ApprovedBy = []string{"dan"}
			}, "",
		},
		{
			"what comes after another environment needs its proof", func(r *plan.Record) {
				r.Rules.After, r.Evidence.Content = []string{"test"}, map[string]string{"net": "c"}
			}, "Nothing says that this content was applied in test before, and nobody was asked about that.",
		},
		{
			"a proof is one", func(r *plan.Record) {
				r.Rules.After, r.Evidence.Content = []string{"test"}, map[string]string{"net": "c"}
				r.Evidence.Promotions = []operation.Promotion{{Root: "net", Stage: "test", Commit: "c1"}}
			}, "",
		},
		{
			"the audit must tell that it ran", func(r *plan.Record) { r.Audit.What = r.Audit.What[1:] },
			`The audit has no line "apply running" about it: lines of the audit are never removed by Switchyard.`,
		},
		{
			"the audit must tell what it rested on", func(r *plan.Record) { r.Audit.Evidence = nil },
			"The audit does not say what it rested on, so that nobody can tell whether reviews and approvals are what they were.",
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := record()
			test.spoil(&r)
			var got []string
			for _, finding := range plan.Verify(r) {
				text := finding.Text
				if finding.Unchecked {
					text = "not checked: " + text
				}
				got = append(got, text)
			}
			if diff := cmp.Diff(test.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// replaceDrift puts another change in the place of what the apply of TestVerify tolerates.
func replaceDrift(r *plan.Record, change operation.Change, set func(...operation.Change) operation.ChangeSet) {
	result := &r.Operation.Result.Targets[0]
	result.ChangeSet = set(change, result.ChangeSet.Changes[1], result.ChangeSet.Changes[2])
	result.Tolerated, r.Entries[2].Change = []operation.Change{change}, change
}

// noted makes what was asked about something that was tolerated, without a note of its risk.
func noted(r *plan.Record) {
	result := &r.Operation.Result.Targets[0]
	result.Tolerated = append(result.Tolerated, r.Entries[1].Change)
	result.Unexpected, result.UnexpectedDigest, result.Risks = nil, "", nil
	r.Operation.Result.Question, r.Entries[1].ConfirmedBy = "", ""
}

// holdBack has the configuration hold back what was destroyed.
func holdBack(r *plan.Record) {
	r.Rules.Block = []operation.RiskRule{operation.RiskDestroy}
	r.Operation.Result.Targets[0].Risks = []operation.Risk{{Rule: operation.RiskDestroy, Address: "a.gone"}}
}
