package render

import (
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
)

// planResult is the result of the newest plan; nil while there is none.
func planResult(v PullView) *operation.Result {
	if v.Plan == nil || v.ConfigProblem != "" || v.Merge != "" {
		return nil
	}
	return v.Plan.Result
}

// planStory tells the plan of a pull request, or why there is none.
func planStory(v PullView) story {
	switch {
	case v.ConfigProblem != "":
		return story{
			title:  "The configuration cannot be used",
			banner: "**Nothing is planned or applied:** " + code(configPath) + " on the default branch cannot be used.",
			next:   configNext,
		}
	case v.Merge != "":
		return story{
			title:  "No plan: the branches cannot be merged",
			banner: "**No plan: the branches conflict.** " + conflicts(v.Merge),
			next:   "Next: merge the base branch into yours and push; the plan follows by itself.",
		}
	case v.Plan == nil:
		return unplannedStory(v)
	}
	switch v.Plan.State {
	case operation.Queued, operation.Running, operation.Unconfirmed:
		return withRun(planningStory(v), v.Run, v.Plan.State)
	case operation.Succeeded:
		return plannedStory(v)
	case operation.Failed, operation.Interrupted, operation.Cancelled, operation.Superseded, operation.Gathered:
	}
	return withRun(planEndedStory(v), v.Run, v.Plan.State)
}

func conflicts(merge string) string {
	const most = 10
	var files []string
	lines := strings.FieldsFunc(merge, func(r rune) bool { return r == '\n' })
	if len(lines) < 2 {
		return sentence(merge, "")
	}
	for i, line := range lines {
		if i == most {
			files = append(files, several(len(lines)-i, "other", "others"))
			break
		}
		files = append(files, prose(line))
	}
	return "Both change: " + list(files) + "."
}

// unplannedStory is told where there is nothing to plan.
func unplannedStory(v PullView) story {
	d := v.Gitflow
	switch {
	case d.Verdict == gitflow.Refused:
		title := plain(d.Title, MaxTitle)
		return story{title: title, banner: "**Not planned.** " + sentences(d.Reasons), next: remedy(d)}
	case d.Environment == "":
		return story{title: "Nothing to plan", banner: "**Nothing to plan.** " + sentences(firstOf(d.Reasons))}
	case len(v.Roots) > 0:
		return story{
			title:  "The plan for " + plain(d.Environment, maxName) + " has not begun",
			banner: "**The plan for " + prose(d.Environment) + " has not begun.** You need not do anything.",
		}
	default:
		return story{
			title: "No root is changed: nothing to plan",
			banner: "**Nothing to plan for " + prose(d.Environment) +
				".** This pull request changes no root, none of its variable files and no module that one uses.",
		}
	}
}

func firstOf(texts []string) []string { return texts[:min(1, len(texts))] }

func remedy(d gitflow.Decision) string {
	if d.Remedy == "" {
		return ""
	}
	return afterNext(d.Remedy)
}

func planningStory(v PullView) story {
	environment := prose(v.Plan.Environment)
	name := plain(v.Plan.Environment, maxName)
	if v.Plan.State == operation.Queued {
		return story{
			title:  "The plan for " + name + " is about to begin",
			banner: "**The plan for " + environment + " is about to begin.** You need not do anything.",
		}
	}
	since := ""
	if !v.Plan.Started.IsZero() { // when, not for how long: each look at it would then be worth a write
		since = " It began at " + clock(v.Now, v.Plan.Started) + "."
	}
	return story{title: "Planning " + name, banner: "**Planning " + environment + ".**" + since + " You need not do anything."}
}

func plannedStory(v PullView) story {
	environment := prose(v.Plan.Environment)
	name := plain(v.Plan.Environment, maxName)
	counts := total(v.Plan.Result)
	words := spoken(counts, future)
	if words == "" {
		return stale(story{
			title:  "No changes in " + name,
			banner: "**No changes in " + environment + ".** The plan has nothing to do there.",
			next:   mergeNext(v, "", "there is nothing to apply to "+environment+" then"),
		}, v)
	}
	s := story{title: name + ": " + words, banner: "**Plan for " + environment + ":** " + words + "."}
	careful := dangerWords(v.Plan.Result, counts)
	if careful != "" {
		s.banner = "⚠️ " + s.banner
	}
	s.next = mergeNext(v, careful, "the merge applies this to "+environment)
	return stale(s, v)
}

// dangerWords names the lists that have to be read before a merge; empty where there are none.
func dangerWords(result *operation.Result, counts operation.Counts) string {
	var words []string
	if found, _ := dangersOf(result); len(found) > 0 {
		words = append(words, "the risks")
	}
	if counts.Destroy > 0 {
		words = append(words, "what is destroyed or replaced")
	}
	return list(words)
}

// mergeNext is what to do with a plan that is there.
func mergeNext(v PullView, careful, then string) string {
	d := v.Gitflow
	switch {
	case d.Advice:
		return "Next: nothing is applied here, because the repository has no " + code(configPath) + "; this plan is advice."
	case d.Verdict == gitflow.Refused:
		return remedy(d)
	case careful != "":
		return "Next: read " + careful + ", then merge; " + then + "."
	default:
		return "Next: merge when you are ready; " + then + "."
	}
}

func planEndedStory(v PullView) story {
	op := *v.Plan
	environment := prose(op.Environment)
	name := plain(op.Environment, maxName)
	again := "comment " + code("/plan") + " to plan again"
	switch op.State {
	case operation.Superseded, operation.Gathered:
		return story{
			title: "The plan for " + name + " was ended",
			banner: "**The plan for " + environment + " was ended.** " +
				sentence(op.Message, "A newer commit is planned instead.") + " You need not do anything.",
		}
	case operation.Cancelled:
		return story{
			title:  "The plan for " + name + " was cancelled",
			banner: "**The plan for " + environment + " was cancelled.** " + sentence(op.Message, "A person stopped it.") + " Nothing was changed.",
			next:   "Next: " + again + ".",
		}
	default:
		cause := ""
		switch counted := tally(op.Result); {
		case counted[operation.TargetFailed] > 0:
			cause = " Terraform reported an error in " + roots(op.Result, operation.TargetFailed) + "."
		case counted[operation.Locked] > 0:
			cause = " The state of " + roots(op.Result, operation.Locked) + " is locked."
		case op.Message != "":
			cause = " " + sentence(op.Message, "")
		}
		return story{
			title:  "The plan for " + name + " failed",
			banner: "**The plan for " + environment + " failed.**" + cause + " Nothing was changed.",
			next:   "Next: correct it and push, or " + again + ".",
		}
	}
}

// planErrors are the errors of a plan, or the problems of the configuration.
func planErrors(v PullView) []*piece {
	if v.ConfigProblem != "" {
		return []*piece{problemList(v.ConfigProblem)}
	}
	if v.Plan == nil || v.Merge != "" {
		return nil
	}
	return errorsOf(*v.Plan)
}

func applyErrors(v ApplyView) []*piece { return errorsOf(v.Operation) }

// errorsOf are the words of Terraform and of the runner about what went wrong.
func errorsOf(op operation.Operation) []*piece {
	pieces := failures(op.Result, metExplained(op))
	if told(op) {
		pieces = append(pieces, shortening("What was reported:", op.Message))
	} else if op.Result != nil && op.Result.Error != "" && op.Result.Error != op.Message {
		pieces = append(pieces, shortening("What was reported:", op.Result.Error))
	}
	return pieces
}

// newestApply is the apply that a comment tells: the newest that was not gathered into another.
func newestApply(v PullView) (ApplyView, bool) {
	for _, apply := range slices.Backward(v.Applies) {
		if apply.Operation.State != operation.Gathered {
			return apply.completed(v.WebURL, v.ResultURL, v.Repository, v.Now), true
		}
	}
	if len(v.Applies) == 0 {
		return ApplyView{}, false
	}
	return v.Applies[len(v.Applies)-1].completed(v.WebURL, v.ResultURL, v.Repository, v.Now), true
}

// otherApplies are the applies before the one that is told, in a line each.
func otherApplies(v PullView) *piece {
	newest, _ := newestApply(v)
	var lines []string
	for _, apply := range slices.Backward(v.Applies) {
		if apply.Operation.ID == newest.Operation.ID {
			continue
		}
		lines = append(lines, "- "+earlierLine(apply.completed(v.WebURL, v.ResultURL, v.Repository, v.Now))+"\n")
	}
	if len(lines) == 0 {
		return fixed("")
	}
	show := func(k int) string {
		text := "Before that:\n\n" + strings.Join(lines[:k], "")
		if k < len(lines) {
			text += "- and " + several(len(lines)-k, "apply more", "applies more") + "\n"
		}
		return text
	}
	const most = MaxComment / 4
	return shrinking(rankWords, len(lines), most, show, "Before that: "+several(len(lines), "apply", "applies")+".")
}

// earlierLine is an apply in a line.
func earlierLine(v ApplyView) string {
	op := v.Operation
	l := links{web: v.WebURL, repo: v.Repository}
	text := prose(op.Environment) + ": " + stateWord(op)
	if op.Head != "" {
		text += " at " + l.commit(op.Head)
	}
	if when := latest(op); !when.IsZero() {
		text += ", " + moment(when)
	}
	return text
}

// latest is the last time at which something is known to have happened to an operation.
func latest(op operation.Operation) time.Time {
	for _, at := range []time.Time{op.Ended, op.Started, op.Arrived} {
		if !at.IsZero() {
			return at
		}
	}
	return time.Time{}
}

// stateWord is a state in a word or two.
func stateWord(op operation.Operation) string {
	switch op.State {
	case operation.Queued:
		return "waiting"
	case operation.Running:
		return "running"
	case operation.Unconfirmed:
		return "waits for a yes to " + code(digest(op.Question))
	case operation.Succeeded:
		if op.Kind == operation.Plan {
			return "planned"
		}
		return "applied"
	case operation.Failed:
		return "failed"
	case operation.Interrupted:
		return "interrupted"
	case operation.Cancelled:
		return "cancelled"
	case operation.Gathered:
		return "gathered into a newer apply"
	case operation.Superseded:
		return "overtaken by a newer commit"
	}
	return prose(string(op.State))
}

// refusal goes before a plan that may not be merged. Where there is no plan, the story tells it.
func refusal(v PullView) *piece {
	if v.Gitflow.Verdict != gitflow.Refused || v.Plan == nil && v.Merge == "" || v.ConfigProblem != "" || len(v.Applies) > 0 {
		return fixed("")
	}
	return fixed("**This may not be merged.** " + sentences(firstOf(v.Gitflow.Reasons)))
}

// approval says who has approved an open pull request, and who must yet.
func approval(v PullView) *piece {
	if v.Approval == nil || len(v.Applies) > 0 {
		return fixed("")
	}
	text := "**" + upper(prose(v.Approval.Headline)) + ".**"
	if len(v.Approval.Reasons) > 0 {
		text += " " + sentences(v.Approval.Reasons)
	}
	if v.Approval.Remedy != "" {
		text += " " + afterNext(v.Approval.Remedy)
	}
	return fixed(text)
}

// afterwards is what gitflow says has to happen later.
func afterwards(v PullView) *piece {
	if len(v.Gitflow.Later) == 0 || v.Gitflow.Verdict == gitflow.Refused {
		return fixed("")
	}
	return fixed("Afterwards: " + sentences(v.Gitflow.Later))
}

// planFooter is who asked for the plan and when, small; why each root is planned and the exact times
// are inside.
func planFooter(v PullView) *piece {
	if v.Plan == nil {
		return fixed("")
	}
	op := *v.Plan
	l := links{web: v.WebURL, repo: v.Repository}
	head := "Plan"
	if op.Actor != "" {
		head += " for " + htmlName(op.Actor)
	}
	if op.Head != "" {
		head += " at " + htmlCode(shortSHA(op.Head))
	}
	switch {
	case !op.Ended.IsZero() && op.Ended.After(op.Started) && !op.Started.IsZero():
		head += ", on " + moment(op.Ended) + " in " + lasted(op.Ended.Sub(op.Started))
	case !op.Arrived.IsZero():
		head += ", asked for on " + moment(op.Arrived)
	}
	var lines []string
	for _, root := range firstRoots(v.Roots) {
		lines = append(lines, code(root.Root)+" is planned because "+strings.TrimSuffix(sentence(root.Reason, "it was asked for"), ".")+".")
	}
	if op.Head != "" && op.Base != "" {
		lines = append(lines, "Planned on "+l.commit(op.Head)+" merged with "+l.commit(op.Base)+branchWords(op.Branch)+".")
	}
	if op.Reason != "" {
		lines = append(lines, "Why: "+sentence(op.Reason, ""))
	}
	return footer(head, append(lines, timesAndTools(op)...))
}

// firstRoots bounds how many roots are explained.
func firstRoots(roots []RootReason) []RootReason {
	const most = 30
	return roots[:min(most, len(roots))]
}
