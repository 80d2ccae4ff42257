package render_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// encodedLength is how long a text is in the body of a request, as go-github writes it.
func encodedLength(t *testing.T, content string) int {
	t.Helper()
	var body bytes.Buffer
	encoder := json.NewEncoder(&body)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(content); err != nil {
		t.Fatal(err)
	}
	return body.Len() - len("\"\"\n")
}

func TestATextIsNoLongerThanTheLimitWhenItIsEncoded(t *testing.T) {
	t.Parallel()
	changes := make([]operation.Change, 3000)
	for i := range changes {
		changes[i] = updated(fmt.Sprintf(`module.x["%d"].y["\\"]`, i), attribute("a", quote(strings.Repeat("\"\n", 20)), quote(strings.Repeat("\\\t", 20))))
	}
	for _, n := range []int{10, 120, 250, 3000} {
		one := target("src/terraform", "dev", operation.Different, changeSet(changes[:n]...))
		one.Unexpected, one.Tolerated = changes[:n], changes[:n]
		for i := range n {
			one.Blocked = append(one.Blocked, changes[i].Address)
			one.Risks = append(one.Risks, operation.Risk{Address: changes[i].Address, Action: operation.Delete, Rule: operation.RiskAccess, Reason: "It \"is\"."})
		}
		v := apply(asking(result(one)))
		check := render.ApplyCheck(v)
		plans := render.PlanCheck(pull(planOperation(operation.Succeeded, result(one))))
		for name, content := range map[string]string{
			"comment": render.PullComment(pull(nil, v)), "plan": render.PullComment(pull(planOperation(operation.Succeeded, result(one)))),
			"notice": render.Notice(v), "summary": check.Summary, "text": check.Text, "plan summary": plans.Summary, "plan text": plans.Text,
		} {
			if got := encodedLength(t, content); got > render.MaxCheckText {
				t.Errorf("with %d changes, %s is %d bytes as JSON and %d as it is", n, name, got, len(content))
			}
			if name == "comment" && n > 1000 && encodedLength(t, content) < render.MaxCheckText/2 {
				t.Errorf("with %d changes, the room of the %s is not used: %d bytes", n, name, encodedLength(t, content))
			}
		}
		if got := len(render.StepSummary(v)); got > render.MaxStepSummary {
			t.Errorf("the summary of a step has %d bytes", got)
		}
	}
}

func TestAShortPlanStaysWholeBesideALongOne(t *testing.T) {
	t.Parallel()
	r := result(
		target("src/huge", "dev", operation.Planned, huge(2000, 0, "x")), target("src/large", "dev", operation.Planned, huge(70, 0, "z")),
		target("src/small", "dev", operation.Planned, added("terraform_data.small")),
		target("src/medium", "dev", operation.Planned, huge(40, 0, "y")),
	)
	comment := render.PullComment(pull(planOperation(operation.Succeeded, r)))
	for _, want := range []string{
		"+ terraform_data.small\n+     input: \"x\"", "terraform_data.r0039y", "+     input: \"vvv",
		"`src/huge` in `dev`: 2,000 to add; too many to list here: [the whole list]",
		"<code>src/large</code> in <code>dev</code>: 70 to add (without values: the plan is too long)",
		"<code>src/medium</code> in <code>dev</code>: 40 to add</summary>",
	} {
		if !strings.Contains(comment, want) {
			t.Errorf("it lacks %q", want)
		}
	}
}

// sized is a plan of n resources as they are in practice: some change, few are destroyed.
func sized(n int) operation.ChangeSet {
	changes := make([]operation.Change, n)
	for i := range changes {
		changes[i] = operation.Change{
			Address: fmt.Sprintf(`module.stamp["westeurope"].azurerm_network_security_rule.rule["%05d"]`, i), Action: operation.Create,
			Attributes: []operation.Attribute{
				attribute("access", "", `"Allow"`), attribute("direction", "", `"Inbound"`), attribute("name", "", `"rule"`), unknown("id", ""),
			},
		}
		switch {
		case i%50 == 0:
			changes[i].Action = operation.Delete
		case i%10 == 0:
			changes[i].Action, changes[i].Attributes = operation.Update, []operation.Attribute{attribute("policy", quote(policy), quote(opened))}
		}
	}
	return changeSet(changes...)
}

func sizedView(n int) render.PullView {
	one := target("src/terraform", "dev", operation.Planned, sized(n))
	for i := 0; i < n; i += 50 {
		one.Risks = append(one.Risks, operation.Risk{
			Address: one.ChangeSet.Changes[i].Address, Action: operation.Delete, Rule: operation.RiskDestroyStateful, Reason: "It holds data.",
		})
	}
	v := pull(planOperation(operation.Succeeded, result(one)))
	v.Regions = []string{"westeurope", "southeastasia"}
	return v
}

func BenchmarkPullComment(b *testing.B) {
	for _, n := range []int{100, 10_000, 50_000} {
		v := sizedView(n)
		b.Run(fmt.Sprintf("%d resources", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				render.PullComment(v)
			}
		})
		v.Mask = []string{`ghp_[0-9a-zA-Z]{36}`, `(?i)password["']?\s*[:=]\s*\S+`}
		b.Run(fmt.Sprintf("%d resources with masks", n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				render.PullComment(v)
			}
		})
	}
}

// It is not parallel, because the allocations of other tests would be counted, too.
func TestTheWorkOfACommentIsLinearInThePlan(t *testing.T) { //nolint:paralleltest // see above
	few, many := sizedView(1_000), sizedView(15_000)
	allocations := func(v render.PullView) float64 {
		return testing.AllocsPerRun(1, func() { render.PullComment(v) })
	}
	if a, b := allocations(few), allocations(many); b > 20*a {
		t.Errorf("%.0f allocations for 1,000 resources, %.0f for 15,000", a, b)
	}
}

func BenchmarkPullCommentOfManyRoots(b *testing.B) {
	var targets []operation.TargetResult
	for i := range 100 {
		targets = append(targets, target(fmt.Sprintf("root%d", i), "dev", operation.Planned, sized(100)))
	}
	v := pull(planOperation(operation.Succeeded, result(targets...)))
	v.Regions = []string{"westeurope", "southeastasia"}
	for b.Loop() {
		render.PullComment(v)
	}
}
