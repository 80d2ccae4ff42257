package torture_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// A judge that never finds anything is worth nothing: here each promise is broken once.
func TestABrokenPromiseIsNoticed(t *testing.T) {
	t.Parallel()
	begin := func(operation int64, target string) entry {
		return entry{Target: target, Operation: operation, What: "begin"}
	}
	end := func(operation int64, target string) entry {
		return entry{Target: target, Operation: operation, What: "end"}
	}
	const infra, edge, other = "app02-dev.tfstate", "app02-edge-dev.tfstate", "app02-prod.tfstate"
	const head = "0123456789abcdef"
	plan := func(body string) sandbox.PullView {
		return sandbox.PullView{State: "open", Head: sandbox.Branch{SHA: head}, Comments: []sandbox.Comment{{Bot: true, Body: body}}}
	}
	const marker = "\n<!-- switchyard:pull:1 -->"
	const good = "**Plan for dev:** 1 to add.\n0123456" + marker
	twice, hidden, closed := plan(good), plan(good), plan(good)
	twice.Comments = append(twice.Comments, twice.Comments[0])
	hidden.Comments[0].Minimized = true
	closed.State, closed.Comments = "closed", nil
	planned := func(body string) []string { return planComments("app#1", plan(body), body) }
	command := sandbox.Comment{ID: 7, Body: "/plan", Reactions: map[string]int{"eyes": 1}}
	answer := sandbox.Comment{Bot: true, Body: "Planning.\n<!-- switchyard:answer/7 -->"}
	checks := func(all ...sandbox.Check) sandbox.PullView {
		return sandbox.PullView{State: "open", Head: sandbox.Branch{SHA: head}, Checks: all}
	}
	flow := sandbox.Check{Name: "switchyard / gitflow", HeadSHA: head, Status: "completed", Conclusion: "success"}
	done := sandbox.Check{Name: "switchyard / plan (dev)", HeadSHA: head, Status: "completed", Conclusion: "success"}
	runs := sandbox.Check{Name: done.Name, HeadSHA: head, Status: "in_progress"}
	deployed := func(states ...string) []sandbox.Deployment {
		d := sandbox.Deployment{ID: 1, Environment: "dev", SHA: head}
		for _, state := range states {
			d.States = append(d.States, sandbox.DeploymentStatus{State: state})
		}
		return []sandbox.Deployment{d}
	}
	asking := map[string]bool{"app dev " + head: true}

	for name, c := range map[string]struct {
		found []string
		want  string // in the only fault; empty: there is none
	}{
		"two targets of one operation, and another hold beside them, are no overlap": {overlaps([]entry{
			begin(1, infra), begin(2, other), end(1, infra), begin(1, edge), end(2, other), end(1, edge),
		}), ""},
		"two operations in one target overlap":              {overlaps([]entry{begin(1, infra), begin(2, infra), end(1, infra)}), "operation 2 began while 1"},
		"two operations in two targets of one hold overlap": {overlaps([]entry{begin(1, infra), begin(2, edge), end(1, infra)}), "operation 2 began while 1"},
		"the stand-in itself met another":                   {overlaps([]entry{{Target: infra, Operation: 1, What: "overlap"}}), "operation 1: overlap"},
		"an apply that never ended":                         {overlaps([]entry{begin(1, infra)}), "never ended"},
		"an end without a beginning":                        {overlaps([]entry{end(1, infra)}), "operation 1: end"},
		"an operation applies each of its targets once":     {repeats([]entry{begin(1, infra), begin(1, edge)}), ""},
		"an operation applied a target in two attempts":     {repeats([]entry{begin(1, infra), {Target: infra, Operation: 1, Attempt: 2, What: "begin"}}), "2 times"},

		"the real Terraform where it was not meant to be": {
			reals([]entry{{Target: infra, Real: true}}, []*repository{}), "real Terraform is true, want false",
		},

		"no real Terraform": {reals(nil, nil), "did nothing"},

		"in order":                              {disorder([]turn{{"dev", 20, 1, 10, 100}, {"dev", 20, 2, 11, 101}}), ""},
		"a hotfix may overtake":                 {disorder([]turn{{"dev", 20, 1, 10, 101}, {"dev", 10, 2, 11, 100}}), ""},
		"another hold may be quicker":           {disorder([]turn{{"dev", 20, 1, 10, 101}, {"test", 20, 2, 11, 100}}), ""},
		"it has the arrival of what it carries": {disorder([]turn{{"dev", 20, 1, 11, 100}, {"dev", 20, 2, 10, 101}}), ""},
		"the second overtook the first":         {disorder([]turn{{"dev", 20, 1, 10, 101}, {"dev", 20, 2, 11, 100}}), "operation 2 began before 1"},
		"one that arrived long before two others": {
			disorder([]turn{{"dev", 20, 1, 10, 102}, {"dev", 20, 2, 10, 100}, {"dev", 20, 3, 12, 101}}), "operation 3 began before 1",
		},

		"one plan comment":                        {planned(good), ""},
		"a plan that failed is final":             {planned("**The plan for dev failed.** No.\n0123456" + marker), ""},
		"two plan comments":                       {planComments("app#1", twice, good), "2 plan comments"},
		"only a minimised one":                    {planComments("app#1", hidden, good), "0 plan comments"},
		"closed before there was one":             {planComments("app#1", closed, ""), ""},
		"closed, and the comment was never there": {planComments("app#1", closed, good), "0 plan comments"},
		"an old text":                             {planComments("app#1", plan(good), "**Plan for dev:** 2 to add."+marker), "but should be"},
		"an old head":                             {planned("**Plan for dev:** 1 to add." + marker), "not about 0123456"},
		"it still plans":                          {planned("**Planning dev.** Since long.\n0123456" + marker), "more is to come"},
		"it is about to plan":                     {planned("**The plan for dev is about to begin.**\n0123456" + marker), "more is to come"},
		"it still waits":                          {planned("**Waiting for dev: 2nd in line.**\n0123456" + marker), "more is to come"},
		"it still applies":                        {planned("**Applying to dev.**\n0123456" + marker), "more is to come"},

		"an answer":               {unanswered("app#1", []sandbox.Comment{command, answer}), ""},
		"no answer":               {unanswered("app#1", []sandbox.Comment{command}), "has no answer"},
		"two answers":             {unanswered("app#1", []sandbox.Comment{command, answer, answer}), "an answer too many"},
		"an answer to nothing":    {unanswered("app#1", []sandbox.Comment{answer}), "an answer too many"},
		"no reaction":             {unanswered("app#1", []sandbox.Comment{{ID: 7, Body: "/plan"}, answer}), "0 reactions"},
		"a comment is no command": {unanswered("app#1", []sandbox.Comment{{Body: "hello"}}), ""},

		"both checks":         {missingChecks("app#1", checks(flow, done)), ""},
		"no plan check":       {missingChecks("app#1", checks(flow)), "no check \"switchyard / plan ("},
		"an endless check":    {openChecks("app", []sandbox.Check{flow, runs}), "in_progress"},
		"all checks ended":    {openChecks("app", []sandbox.Check{flow, done}), ""},
		"a deployment":        {openDeployments("app", deployed("in_progress", "success"), nil), ""},
		"an endless one":      {openDeployments("app", deployed("pending", "in_progress"), asking), "in_progress"},
		"one without a state": {openDeployments("app", deployed(), nil), "no status"},
		"one that asks":       {openDeployments("app", deployed("pending"), asking), ""},
		"one that waits":      {openDeployments("app", deployed("pending"), nil), "pending"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := strings.Join(c.found, "\n"); (c.want == "") != (got == "") || !strings.Contains(got, c.want) || len(c.found) > 1 {
				t.Errorf("got %q, want one fault with %q", c.found, c.want)
			}
		})
	}
}
