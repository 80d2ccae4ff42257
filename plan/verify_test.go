package plan_test

import (
	"strings"
	"testing"

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
	// An apply that made what #41 showed and bob approved, destroyed what cy said yes to, and undid drift.
	record := func() plan.Record {
		return plan.Record{
			Operation: operation.Operation{ID: 9, Confirmed: "q1", ConfirmedBy: "cy", Result: &operation.Result{
				Question: "q1",
				Targets: []operation.TargetResult{{
					Target: target, Outcome: operation.Applied, ChangeSet: set(drifted, gone, made),
					Unexpected: []operation.Change{gone}, Tolerated: []operation.Change{drifted},
				}},
			}},
			Evidence: operation.Evidence{Reviews: []operation.Review{{Pull: 41, Plan: 5, Head: "h", Approved: []string{"bob"}}}},
			Entries: []operation.Entry{
				{Target: target, Change: because(made, operation.CauseReviewed, 41), ApprovedBy: []string{"bob"}},
				{Target: target, Change: because(gone, operation.CauseUnexplained), ConfirmedBy: "cy"},
				{Target: target, Change: because(drifted, operation.CauseDrift)},
			},
			Plans: map[int64]operation.Operation{5: {ID: 5, Head: "h", Result: &operation.Result{
				Targets: []operation.TargetResult{{Target: target, ChangeSet: set(made)}},
			}}},
			Yes: []plan.Yes{{Who: "cy", Question: "q1"}},
		}
	}
	for _, test := range []struct {
		name  string
		spoil func(*plan.Record)
		want  string // empty: all holds
	}{
		{"all that was kept fits together", func(*plan.Record) {}, ""},
		{
			"a line that is gone is missed", func(r *plan.Record) { r.Entries = r.Entries[1:] },
			"create a.made in net (prod) was applied and is not in the ledger.",
		},
		{"a line that was added is noticed", func(r *plan.Record) {
			r.Entries = append(r.Entries, operation.Entry{Target: target, Change: operation.Change{Address: "a.x", Action: operation.Delete}})
		}, "delete a.x in net (prod) is in the ledger, but that apply did not make it."},
		{
			"a change that was altered is noticed", func(r *plan.Record) { r.Operation.Result.Targets[0].ChangeSet.Digest = "other" },
			"The changes that were kept of net (prod) are not those of its digest.",
		},
		{
			"what nobody reviewed needs a yes", func(r *plan.Record) { r.Entries[1].ConfirmedBy = "" },
			"delete a.gone in net (prod) was reviewed by nobody, and nobody said yes to it.",
		},
		{"the yes must be in the audit", func(r *plan.Record) { r.Yes = nil }, "The audit has no yes of cy to q1."},
		{"somebody else's yes is not his", func(r *plan.Record) { r.Yes[0].Who = "dan" }, "The audit has no yes of cy to q1."},
		{
			"the yes must be to what was asked", func(r *plan.Record) { r.Operation.Confirmed = "q0" },
			`It asked about q1 and was applied, but the yes was to "q0".`,
		},
		{
			"the plan that was reviewed must show it", func(r *plan.Record) { r.Plans[5].Result.Targets[0].ChangeSet = set(gone) },
			"create a.made in net (prod) says that it was reviewed in #41, where it was not shown.",
		},
		{
			"the plan that was reviewed must be there", func(r *plan.Record) { delete(r.Plans, 5) },
			"create a.made in net (prod) says that it was reviewed in #41, whose plan 5 is not there.",
		},
		{
			"the plan must be of the commit that was reviewed", func(r *plan.Record) { r.Evidence.Reviews[0].Head = "other" },
			"create a.made in net (prod) says that it was reviewed in #41, whose plan 5 is of another commit.",
		},
		{
			"a review that did not count covers nothing", func(r *plan.Record) { r.Evidence.Reviews[0].Missing = "#41 is not approved." },
			"create a.made in net (prod) says that it was reviewed in #41, which did not count: #41 is not approved.",
		},
		{
			"nobody approved it whose approval was not seen", func(r *plan.Record) { r.Evidence.Reviews[0].Approved = nil },
			"create a.made in net (prod) says that bob approved it, which was not seen when it was applied.",
		},
		{
			"a change without a cause is noticed", func(r *plan.Record) { r.Entries[0].Change.Cause = nil },
			"create a.made in net (prod) has no cause.",
		},
		{
			"drift that was neither asked about nor noted is noticed", func(r *plan.Record) { r.Operation.Result.Targets[0].Tolerated = nil },
			`update a.drifted in net (prod) has the cause "drift", but the apply neither asked about it nor noted it.`,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			r := record()
			test.spoil(&r)
			if diff := cmp.Diff(test.want, strings.Join(plan.Verify(r), "\n")); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
