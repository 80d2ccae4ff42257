package render_test

import (
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// huge is a plan of n resources with names of 300 characters; every one in destroyed is destroyed.
func huge(n, destroyed int, letter string) operation.ChangeSet {
	changes := make([]operation.Change, n)
	for i := range changes {
		changes[i] = operation.Change{
			Address: fmt.Sprintf("terraform_data.r%04d%s", i, strings.Repeat(letter, 280)), Action: operation.Create,
			Attributes: []operation.Attribute{attribute("input", "", `"`+strings.Repeat("v", 500)+`"`), attribute("tags", "", `"x"`)},
		}
		if i < destroyed {
			changes[i].Action, changes[i].Attributes = operation.Delete, []operation.Attribute{attribute("input", `"v"`, "")}
		}
	}
	return operation.ChangeSet{Changes: changes, Counts: operation.Counts{Add: n - destroyed, Destroy: destroyed}}
}

func TestHugePlansFit(t *testing.T) {
	t.Parallel()
	manyRoots := func(n int) *operation.Result {
		var targets []operation.TargetResult
		for i := range n {
			one := target(fmt.Sprintf("root%d%s", i, strings.Repeat("é", 290)), "dev", operation.Planned, huge(100, 20, "x"))
			one.Error = strings.Repeat("e", 20_000)
			targets = append(targets, one)
		}
		return result(targets...)
	}
	tests := map[string]*operation.Result{
		"names and errors that are all too long":            result(awful()...),
		"5,000 resources":                                   result(target("src/terraform", "dev", operation.Planned, huge(5000, 0, "x"))),
		"5,000 resources whose names have bytes of four":    result(target("src/terraform", "dev", operation.Planned, huge(5000, 10, "🚀"))),
		"5,000 resources that are destroyed":                result(target("src/terraform", "dev", operation.Planned, huge(5000, 5000, "x"))),
		"20 roots with everything":                          manyRoots(20),
		"120 roots":                                         manyRoots(120),
		"names of a thousand backticks":                     result(target(strings.Repeat("`", 1000), "dev", operation.Planned, huge(500, 500, "`"))),
		"a plan that was capped before":                     result(target("src/terraform", "dev", operation.Planned, capped())),
		"an error of a megabyte of characters of two bytes": result(failedWith(strings.Repeat("é", 1<<20))),
	}
	for name, r := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			v := pull(planOperation(operation.Succeeded, r))
			applied := applyOperation("dev", operation.Unconfirmed, withSurprises(r))
			plans := render.PlanCheck(v)
			applies := render.ApplyCheck(apply(applied))
			texts := map[string]string{
				"comment": render.PullComment(v), "plan summary": plans.Summary, "plan text": plans.Text,
				"apply summary": applies.Summary, "apply text": applies.Text, "notice": render.Notice(apply(applied)),
				"comment of an apply": render.PullComment(pull(nil, apply(applied))),
			}
			for where, content := range texts {
				if size := len(content); size > render.MaxCheckText {
					t.Errorf("%s has %d bytes and %d characters", where, size, utf8.RuneCountInString(content))
				}
				if !utf8.ValidString(content) {
					t.Errorf("%s is cut within a character", where)
				}
				if open, closed := strings.Count(content, "<details>"), strings.Count(content, "</details>"); open != closed {
					t.Errorf("%s has %d details, of which %d end", where, open, closed)
				}
				for _, harm := range harms(content) {
					t.Errorf("%s has %.200s", where, harm)
				}
			}
		})
	}
}

// awful are targets of which even the shortest forms are long.
func awful() []operation.TargetResult {
	var targets []operation.TargetResult
	for i := range 100 {
		one := target(fmt.Sprintf("%d%s", i, strings.Repeat("🚀", 500)), strings.Repeat("🚀", 500), operation.Locked, huge(3, 3, "🚀"))
		one.Error = strings.Repeat("🚀", 10_000)
		long := strings.Repeat("🚀", 1000)
		one.Lock = &operation.LockInfo{ID: long, Who: long, Created: long, Operation: long}
		targets = append(targets, one)
	}
	return targets
}

func capped() operation.ChangeSet {
	set := huge(5000, 3000, "x")
	set.Changes, set.Omitted = set.Changes[:1000], 4000
	return set
}

func failedWith(words string) operation.TargetResult {
	one := failedTarget(operation.TargetFailed)
	one.Error = words
	return one
}

func withSurprises(r *operation.Result) *operation.Result {
	c := *r
	c.Targets = nil
	for _, one := range r.Targets {
		one.Unexpected = one.ChangeSet.Changes
		c.Targets = append(c.Targets, one)
	}
	return &c
}

func TestWhatIsDestroyedIsCutLast(t *testing.T) {
	t.Parallel()
	r := result(target("src/terraform", "dev", operation.Planned, huge(5000, 100, "x")))
	comment := render.PullComment(pull(planOperation(operation.Succeeded, r)))
	for i := range 100 {
		if address := fmt.Sprintf("terraform_data.r%04d", i); !strings.Contains(comment, "− `"+address) {
			t.Fatalf("%s is destroyed and not listed", address)
		}
	}
	if strings.Contains(comment, "```diff") {
		t.Error("the plan is still there")
	}
	if !strings.Contains(comment, "4,900 to add, 100 to destroy; too many to list here: [the whole list](https://github.com/acme/network/pull/41/checks).") {
		t.Errorf("the plan did not give way to its counts:\n%.2000s", comment)
	}
}

func TestWhatIsDestroyedIsAtLastCountedWithALink(t *testing.T) {
	t.Parallel()
	r := result(target("src/terraform", "dev", operation.Planned, huge(5000, 5000, "x")))
	comment := render.PullComment(pull(planOperation(operation.Succeeded, r)))
	if !strings.Contains(comment, "more: [the whole list](https://github.com/acme/network/pull/41/checks)") {
		t.Errorf("it does not say how many more and where:\n%s", comment[len(comment)-2000:])
	}
	if !strings.Contains(comment, "5,000 to destroy") {
		t.Error("it does not say how many there are")
	}
}

func TestAPlanGivesWayStepByStep(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		resources int
		want      string
		not       string
	}{
		"with its values":           {50, "+     input: \"vvv", "too long"},
		"with the names only":       {150, "(without values: the plan is too long)", "+     input"},
		"with the addresses only":   {211, "(addresses only: the plan is too long)", ": input, tags"},
		"with nothing but a number": {400, "400 to add; too many to list here", "```diff"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := result(target("src/terraform", "dev", operation.Planned, huge(test.resources, 0, "x")))
			comment := render.PullComment(pull(planOperation(operation.Succeeded, r)))
			if !strings.Contains(comment, test.want) || strings.Contains(comment, test.not) {
				t.Errorf("want %q and not %q in\n%.1500s", test.want, test.not, comment)
			}
		})
	}
}

func BenchmarkPullCommentOf5000(b *testing.B) {
	v := pull(planOperation(operation.Succeeded, result(target("src/terraform", "dev", operation.Planned, huge(5000, 500, "x")))))
	for b.Loop() {
		render.PullComment(v)
	}
}
