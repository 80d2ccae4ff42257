package torture_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// Each function here is one promise: it says what is wrong with what it is given, and nothing when it was kept.

// overlaps: no two exclusive operations of one hold overlapped, and each apply that began has ended.
func overlaps(journal []entry) (faults []string) {
	busy := map[string]entry{}
	for _, e := range journal {
		other, taken := busy[e.hold()]
		switch {
		case e.What == "begin" && taken:
			faults = append(faults, fmt.Sprintf("%s: operation %d began while %d was applying", e.hold(), e.Operation, other.Operation))
		case e.What == "begin":
			busy[e.hold()] = e
		case e.What == "end" && taken && other.Operation == e.Operation:
			delete(busy, e.hold())
		default:
			faults = append(faults, fmt.Sprintf("%s: operation %d: %s", e.hold(), e.Operation, e.What))
		}
	}
	for _, hold := range slices.Sorted(maps.Keys(busy)) {
		faults = append(faults, fmt.Sprintf("%s: operation %d began and never ended", hold, busy[hold].Operation))
	}
	return faults
}

// repeats: no operation ran its apply of a target twice, in whatever attempt.
func repeats(journal []entry) (faults []string) {
	begun := map[string]int{}
	for _, e := range journal {
		if e.What == "begin" {
			begun[fmt.Sprintf("operation %d applied %s", e.Operation, e.Target)]++
		}
	}
	for _, what := range slices.Sorted(maps.Keys(begun)) {
		if begun[what] > 1 {
			faults = append(faults, fmt.Sprintf("%s %d times", what, begun[what]))
		}
	}
	return faults
}

// reals: the real Terraform did some of the work, where it was meant to, and nowhere else.
func reals(journal []entry, repos []*repository) (faults []string) {
	meant := map[string]bool{}
	for _, r := range repos {
		meant[r.Name()] = r.real
	}
	if !slices.ContainsFunc(journal, func(e entry) bool { return e.Real }) {
		faults = append(faults, "the real Terraform did nothing")
	}
	for _, e := range journal {
		name, _, _ := strings.Cut(e.Target, "-")
		if e.Real != meant[name] {
			faults = append(faults, fmt.Sprintf("%s: real Terraform is %v, want %v", e.Target, e.Real, meant[name]))
		}
	}
	return faults
}

// turn is when an apply arrived and when it began.
type turn struct {
	hold               string
	priority           int
	id, arrived, began int64
}

// disorder: the applies of one hold began in the order of their arrival within their priority. A later one may have
// the arrival of what it gathered, so it is out of order only when it is the younger one by its number too.
func disorder(turns []turn) (faults []string) {
	type line struct {
		hold     string
		priority int
	}
	lines := map[line][]turn{}
	for _, t := range turns {
		l := line{t.hold, t.priority}
		lines[l] = append(lines[l], t)
	}
	for l, all := range lines {
		slices.SortFunc(all, func(a, b turn) int { return cmp.Or(cmp.Compare(a.began, b.began), cmp.Compare(a.id, b.id)) })
		for i, late := range all {
			for _, early := range all[:i] {
				if late.arrived < early.arrived && late.id < early.id {
					faults = append(faults, fmt.Sprintf("%s: operation %d began before %d, which had arrived earlier", l.hold, early.id, late.id))
				}
			}
		}
	}
	return faults
}

// unfinished are the beginnings of a comment of which something more is to come.
var unfinished = []string{"**Planning ", "**The plan for ", "**Waiting for ", "**Applying to ", "**About to be applied "} //nolint:gochecknoglobals // a constant in all but name

// ending are the words of those of them that are final all the same.
var ending = []string{" failed.**", " was ended.**", " was cancelled.**"} //nolint:gochecknoglobals // a constant in all but name

// planComments: a pull request has exactly one plan comment that is not minimised, or none where it was closed before
// there was one; it shows what it should, which is final, and about the head.
func planComments(name string, pull sandbox.PullView, wanted string) (faults []string) {
	var plans []sandbox.Comment
	for _, comment := range pull.Comments {
		if comment.Bot && !comment.Minimized && strings.Contains(comment.Body, "<!-- switchyard:pull:") {
			plans = append(plans, comment)
		}
	}
	if len(plans) > 1 || len(plans) == 0 && (pull.State == "open" || wanted != "") {
		return []string{fmt.Sprintf("%s, %s: %d plan comments", name, pull.State, len(plans))}
	}
	if len(plans) == 0 {
		return nil
	}
	body := plans[0].Body
	if body != wanted {
		faults = append(faults, fmt.Sprintf("%s: the plan comment is\n%s\nbut should be\n%s", name, body, wanted))
	}
	if pull.State == "open" && !strings.Contains(body, pull.Head.SHA[:7]) {
		faults = append(faults, fmt.Sprintf("%s: the plan comment is not about %s:\n%s", name, pull.Head.SHA[:7], body))
	}
	banner, _, _ := strings.Cut(body, "\n")
	begins := func(words string) bool { return strings.HasPrefix(banner, words) }
	if slices.ContainsFunc(unfinished, begins) && !strings.HasPrefix(banner, "**Plan for ") &&
		!slices.ContainsFunc(ending, func(words string) bool { return strings.Contains(banner, words) }) {
		faults = append(faults, fmt.Sprintf("%s: the plan comment says that more is to come: %s", name, banner))
	}
	return faults
}

// commandsOf are the comments of people that begin with a slash.
func commandsOf(comments []sandbox.Comment) (commands []sandbox.Comment) {
	for _, comment := range comments {
		if !comment.Bot && strings.HasPrefix(comment.Body, "/") {
			commands = append(commands, comment)
		}
	}
	return commands
}

// unanswered: each command has exactly one answer and one reaction, and nothing else has either.
func unanswered(name string, comments []sandbox.Comment) (faults []string) {
	open := map[string]sandbox.Comment{} // by what marks the answer
	for _, command := range commandsOf(comments) {
		open[fmt.Sprintf("<!-- switchyard:answer/%d -->", command.ID)] = command
		if command.Reactions["eyes"] != 1 {
			faults = append(faults, fmt.Sprintf("%s: %q has %d reactions", name, command.Body, command.Reactions["eyes"]))
		}
	}
	for _, comment := range comments {
		i := strings.Index(comment.Body, "<!-- switchyard:answer/")
		if !comment.Bot || i < 0 {
			continue
		}
		if _, ok := open[comment.Body[i:]]; !ok {
			faults = append(faults, fmt.Sprintf("%s: an answer too many: %s", name, comment.Body))
		}
		delete(open, comment.Body[i:])
	}
	for _, marker := range slices.Sorted(maps.Keys(open)) {
		faults = append(faults, fmt.Sprintf("%s: %q has no answer", name, open[marker].Body))
	}
	return faults
}

// missingChecks: the head of an open pull request has both of its checks, with a conclusion.
func missingChecks(name string, pull sandbox.PullView) (faults []string) {
	if pull.State != "open" {
		return nil
	}
	for _, wanted := range []string{"switchyard / gitflow", "switchyard / plan ("} {
		if !slices.ContainsFunc(pull.Checks, func(c sandbox.Check) bool { return strings.HasPrefix(c.Name, wanted) && c.Conclusion != "" }) {
			faults = append(faults, fmt.Sprintf("%s: %s has no check %q with a conclusion", name, pull.Head.SHA[:7], wanted))
		}
	}
	return faults
}

// openChecks: no check is left open.
func openChecks(repo string, checks []sandbox.Check) (faults []string) {
	for _, check := range checks {
		if check.Status != "completed" {
			faults = append(faults, fmt.Sprintf("%s: check %q of %s is %s", repo, check.Name, check.HeadSHA[:7], check.Status))
		}
	}
	return faults
}

// openDeployments: no deployment is left open, but for those that wait for a person.
func openDeployments(repo string, deployments []sandbox.Deployment, asking map[string]bool) (faults []string) {
	for _, d := range deployments {
		if len(d.States) == 0 {
			faults = append(faults, fmt.Sprintf("%s: deployment %d to %s has no status", repo, d.ID, d.Environment))
			continue
		}
		state := d.States[len(d.States)-1].State
		waits := state == "pending" && asking[repo+" "+d.Environment+" "+d.SHA]
		if (state == "pending" || state == "queued" || state == "in_progress") && !waits {
			faults = append(faults, fmt.Sprintf("%s: deployment %d to %s is %s", repo, d.ID, d.Environment, state))
		}
	}
	return faults
}
