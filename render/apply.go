package render

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/switchyard-dev/switchyard/operation"
)

// story is a state in words: what happened and why in banner, what to do in next.
type story struct {
	title  string // one plain line, for a check
	banner string
	next   string
}

// whose says for whom an operation runs: "#38 by ana", "a push to develop by ana".
func whose(op operation.Operation) string {
	what := "a push"
	switch {
	case op.Pull != 0:
		what = pulls([]int{op.Pull})
	case len(op.Pulls) > 0:
		what = pulls(op.Pulls)
	case op.Branch != "":
		what = "a push to " + prose(op.Branch)
	}
	if op.Actor == "" {
		return what
	}
	return what + " by " + prose(op.Actor)
}

// usual is how long it usually takes, in brackets.
func usual(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	return " (usually " + lasted(d) + ")"
}

// digest is as much of a digest as people have to type.
func digest(question string) string {
	const digits = 4
	if len(question) < digits {
		return question
	}
	return question[:digits]
}

// together names the other pull requests of an apply.
func together(v ApplyView) string {
	if len(v.With) == 0 {
		return ""
	}
	return " It carries " + pulls(v.With) + " as well."
}

// yes tells who agreed to what an apply asked about: "ana said yes to `7f3a`".
func yes(op operation.Operation) string {
	who := "a person"
	if op.ConfirmedBy != "" {
		who = prose(op.ConfirmedBy)
	}
	return who + " said yes to " + code(digest(op.Confirmed))
}

// applyStory tells one apply.
func applyStory(v ApplyView) story { return withRun(wholeApplyStory(v), v.Run, v.Operation.State) }

func wholeApplyStory(v ApplyView) story {
	op := v.Operation
	environment := prose(op.Environment)
	name := plain(op.Environment, maxName)
	switch op.State {
	case operation.Queued:
		return queuedStory(v)
	case operation.Running:
		if op.Message != "" {
			return story{
				title:  "It is not known whether the apply to " + name + " still runs",
				banner: "**It is not known whether the apply to " + environment + " still runs.** " + sentence(op.Message, "") + together(v),
				next:   unreachable(op),
			}
		}
		return story{
			title:  "Applying to " + name,
			banner: "**Applying to " + environment + ".** " + running(v) + together(v) + " You need not do anything.",
		}
	case operation.Unconfirmed:
		return unconfirmedStory(v)
	case operation.Succeeded:
		return succeededStory(v)
	case operation.Failed:
		return failedStory(v)
	case operation.Interrupted:
		return story{
			title: "It is not known whether " + name + " was changed",
			banner: "**It is not known whether " + environment + " was changed.** " +
				sentence(op.Message, "The apply was interrupted before it could say how it ended.") + together(v),
			next: "Next: look at " + environment + ", then comment " + code("/apply "+op.Environment) +
				": it plans anew and applies only what is still to be done.",
		}
	case operation.Cancelled:
		return story{
			title: "The apply to " + name + " was cancelled",
			banner: "**The apply to " + environment + " was cancelled.** " + sentence(op.Message, "A person stopped it.") +
				done(op.Result) + together(v),
			next: "Next: comment " + code("/apply "+op.Environment) + " to run it anew, at the newest commit of its branch.",
		}
	case operation.Gathered:
		return story{
			title: "Gathered into a newer apply to " + name,
			banner: "**Gathered into a newer apply to " + environment + ".** A later merge waits for " + environment +
				" too; one apply brings both. You need not do anything.",
		}
	case operation.Superseded:
		return story{
			title:  "Overtaken by a newer commit",
			banner: "**Not applied to " + environment + ".** A newer commit made it pointless. You need not do anything.",
		}
	}
	return story{title: plain(string(op.State), maxName), banner: "**" + prose(string(op.State)) + "**"}
}

// running says when an apply began. It says not how long ago that was: each look at it would then be worth a write.
func running(v ApplyView) string {
	op := v.Operation
	if op.Started.IsZero() {
		return "It has just begun" + usual(v.Usually) + "."
	}
	return "It began at " + clock(v.Now, op.Started) + usual(v.Usually) + "."
}

// unreachable is what a person can do about an apply whose server does not answer.
func unreachable(op operation.Operation) string {
	return "Next: bring that server back; or make sure that nothing of it runs any more, then comment " +
		code("/unlock "+op.Environment) + "."
}

func queuedStory(v ApplyView) story {
	op := v.Operation
	environment := prose(op.Environment)
	name := plain(op.Environment, maxName)
	place := ordinal(max(v.Position, 1)) + " in line"
	s := story{title: "Waiting for " + name + ": " + place}
	switch {
	case v.Ahead != nil && v.Ahead.State == operation.Running && v.Ahead.Message != "":
		s.banner = "**Waiting for " + environment + ": " + place + ".** It is not known whether the apply of " + whose(*v.Ahead) +
			" still runs. " + sentence(v.Ahead.Message, "") + together(v)
		s.next = unreachable(*v.Ahead)
		return s
	case v.Ahead != nil && v.Ahead.Kind == operation.BreakLease:
		s.banner = "**Waiting for " + environment + ": " + place + ".** " + upper(what(*v.Ahead)) + " comes first."
	case v.Ahead != nil:
		ahead := ApplyView{Operation: *v.Ahead, Now: v.Now, Usually: v.Usually}
		working := "has just begun to apply" + usual(ahead.Usually)
		if started := ahead.Operation.Started; !started.IsZero() && !v.Now.Before(started) {
			working = "has been applying for " + since(v.Now, started) + usual(ahead.Usually)
		}
		s.banner = "**Waiting for " + environment + ": " + place + ".** " + capital(whose(*v.Ahead)) + " " + working + "."
	case v.Position > 1:
		s.banner = "**Waiting for " + environment + ": " + place + ".** Those before it are about to start."
	default:
		s.title = "About to be applied to " + name
		s.banner = "**About to be applied to " + environment + ".** It starts in a moment."
	}
	s.banner += together(v) + " You need not do anything."
	return s
}

func succeededStory(v ApplyView) story {
	op := v.Operation
	environment := prose(op.Environment)
	name := plain(op.Environment, maxName)
	words := spoken(total(op.Result), past)
	took := ""
	if !op.Started.IsZero() && op.Ended.After(op.Started) {
		took = " It took " + lasted(op.Ended.Sub(op.Started)) + "."
	}
	if words == "" {
		return story{
			title:  "Nothing to change in " + name,
			banner: "**" + environment + " is up to date.** " + sentence(op.Message, "There was nothing to change.") + together(v),
		}
	}
	return story{
		title:  "Applied to " + name + ": " + words,
		banner: "**Applied to " + environment + ":** " + words + "." + took + together(v),
	}
}

func failedStory(v ApplyView) story {
	op := v.Operation
	environment := prose(op.Environment)
	name := plain(op.Environment, maxName)
	s := story{
		title: "The apply to " + name + " failed",
		next: "Next: correct the cause and merge that, which applies it; or comment " + code("/apply "+op.Environment) +
			" to try the same again. Other applies to " + environment + " are not held up.",
	}
	cause := ""
	if op.Message != "" && !told(op) {
		cause = " " + sentence(op.Message, "")
	}
	switch counted := tally(op.Result); {
	case counted[operation.TargetFailed] > 0:
		cause = " Terraform " + failedIn(op.Result) + "."
	case counted[operation.Locked] > 0:
		cause = " Somebody else holds the state lock of " + roots(op.Result, operation.Locked) + "."
		s.next = "Next: wait until the lock is released, then comment " + code("/apply "+op.Environment) + "."
		if metExplained(op) {
			at := strings.LastIndex(op.Message, lockNext)
			cause, s.next = " "+sentence(op.Message[:at], ""), sentence(op.Message[at:], "")
		}
	}
	if left := leftLocked(op); len(left) > 0 {
		cause += " " + stillLocked(op, left)
		s.next = "Next: comment " + code(breakCommand(left[0])) + ", which explains the lock before anything is broken; then " +
			code("/apply "+op.Environment) + "."
	}
	s.banner = "**The apply to " + environment + " failed.**" + cause + done(op.Result) + together(v)
	return s
}

// failedIn names the roots in which Terraform was killed, and those in which it reported an error: "reported an error in `a`".
func failedIn(result *operation.Result) string {
	var how []string
	if was := rootsThat(result, wasKilled); was != "" {
		how = append(how, "was killed in "+was)
	}
	reported := func(t operation.TargetResult) bool { return t.Outcome == operation.TargetFailed && !wasKilled(t) }
	if did := rootsThat(result, reported); did != "" {
		how = append(how, "reported an error in "+did)
	}
	return strings.Join(how, ", and ")
}

// stillLocked names the state locks that an apply has left behind, or may have.
func stillLocked(op operation.Operation, left []operation.Target) string {
	names := make([]string, len(left))
	for i, target := range left {
		names[i] = target.Root
	}
	if mayBeLocked(op) {
		return "The state lock of " + few(codes(names)) + " may still be held."
	}
	return "The state lock of " + few(codes(names)) + " is still held."
}

// brokenOff reports whether an apply that had begun did not come to its end, so that Terraform has not saved what it did last.
func brokenOff(target operation.TargetResult) bool {
	return target.Outcome == operation.TargetFailed && target.Timings.Apply > 0 && (target.Lock != nil || wasKilled(target))
}

// wasKilled reports whether a runner says that something else than itself has killed Terraform.
func wasKilled(target operation.TargetResult) bool {
	return target.Outcome == operation.TargetFailed && strings.Contains(target.Error, "Terraform was killed (signal: ")
}

// told reports whether the message of an operation is a long text that is shown below.
func told(op operation.Operation) bool {
	return len(op.Message) > maxProse || strings.Contains(strings.TrimSpace(op.Message), "\n")
}

// done says what was applied although the operation did not succeed.
func done(result *operation.Result) string {
	counted := tally(result)
	if counted[operation.Applied] == 0 {
		switch {
		case counted[operation.TargetFailed] == 0:
			return ""
		case !began(result): // only plans failed
			return " Nothing was changed."
		case slices.ContainsFunc(result.Targets, brokenOff):
			return " What it did last may not be in the state."
		default:
			return " What it had changed until then is in the state; the next plan shows what is left."
		}
	}
	text := " Applied before that: " + roots(result, operation.Applied) + "."
	if counted[operation.TargetStopped] > 0 {
		text += " Not begun: " + roots(result, operation.TargetStopped) + "."
	}
	return text
}

func tally(result *operation.Result) map[operation.Outcome]int {
	counted := map[operation.Outcome]int{}
	if result != nil {
		for _, target := range result.Targets {
			counted[target.Outcome]++
		}
	}
	return counted
}

// roots names the roots that ended in one way.
func roots(result *operation.Result, outcome operation.Outcome) string {
	return rootsThat(result, func(target operation.TargetResult) bool { return target.Outcome == outcome })
}

// rootsThat names the roots that are chosen; empty for none.
func rootsThat(result *operation.Result, chosen func(operation.TargetResult) bool) string {
	const most = 5
	var names []string
	left := 0
	for _, target := range result.Targets {
		switch {
		case !chosen(target):
		case len(names) == most:
			left++
		default:
			names = append(names, code(target.Target.Root))
		}
	}
	if left > 0 {
		names = append(names, several(left, "other", "others"))
	}
	return list(names)
}

// unconfirmedStory tells what nobody reviewed, beside what was reviewed.
func unconfirmedStory(v ApplyView) story {
	op := v.Operation
	environment := prose(op.Environment)
	name := plain(op.Environment, maxName)
	surprise := unexpected(op.Result)
	n := 0
	for _, target := range surprise {
		n += len(target.Unexpected) + target.UnexpectedOmitted
	}
	command := code("/apply " + op.Environment + " " + digest(op.Question))
	s := story{title: name + " was not changed: a person has to say yes"}
	var why []string
	switch held := blockedIn(op.Result); {
	case n > 0:
		s.title = name + " was not changed: " + several(n, "change", "changes") + " that nobody reviewed"
		why = append(why, "The plan has "+several(n, "change", "changes")+" that nobody reviewed.", comparison(v, surprise))
		if len(v.Missing) > 0 {
			why = append(why, sentences(v.Missing))
		}
		s.next = "Next: read " + thatChange(n) + ", then comment " + command + "; or correct the cause in a new pull request."
		if held > 0 {
			s.next += " What is blocked needs the approval of a second person, too."
		}
	case held > 0 && op.Question == "":
		s.title = name + " was not changed: a second person has to approve " + several(held, "change", "changes")
		s.next = "Next: have a second person approve what is blocked; or undo it in a new pull request."
	default:
		s.next = "Next: read the plan, then comment " + command + " if that is what you want."
	}
	if held := blockedIn(op.Result); held > 0 {
		why = append(why, "The configuration blocks "+several(held, "change", "changes")+" until a second person approves.")
	}
	for _, proof := range v.Promotion {
		if proof.Problem != "" && n == 0 {
			why = append(why, "It is not proved in "+prose(proof.Stage)+".")
			break
		}
	}
	if op.Doubt != "" {
		why = append(why, sentence(op.Doubt, ""))
	}
	if len(why) == 0 {
		why = append(why, sentence(op.Message, "A person has to say yes to this apply."))
	}
	if other := together(v); other != "" {
		why = append(why, strings.TrimSpace(other))
	}
	s.banner = "**" + environment + " was not changed.** " + strings.Join(why, " ")
	return s
}

func thatChange(n int) string {
	if n == 1 {
		return "that change"
	}
	return "these changes"
}

// comparison sets what was reviewed against what was not, with the single surprising object by name.
func comparison(v ApplyView, surprise []operation.TargetResult) string {
	op := v.Operation
	var strange operation.Counts
	var changes []operation.Change
	omitted := 0
	for _, target := range surprise {
		omitted += target.UnexpectedOmitted
		for _, change := range target.Unexpected {
			changes = append(changes, change)
			strange = plus(strange, countOne(change))
		}
	}
	if omitted > 0 { // nobody can tell by kind what was left out from what was reviewed
		return "Not reviewed: **" + spokenOr(strange, future, several(len(changes), "read", "reads")) + "**, and " +
			number(omitted) + " more that are not listed."
	}
	text := ""
	if known := spoken(minus(minus(total(op.Result), strange), toleratedCounts(op.Result)), future); known != "" {
		text = "Reviewed"
		if len(op.Pulls) > 0 {
			text += " in " + pulls(op.Pulls)
		}
		text += ": " + known + ". "
	}
	words := spoken(strange, future)
	if words == "" {
		words = several(len(changes), "read", "reads")
	}
	text += "Not reviewed: **" + words + "**"
	if len(changes) == 1 {
		text += " (" + code(changes[0].Address) + ")"
	}
	switch causes := causesOf(surprise); {
	case len(causes) == 1 && changes[0].Cause.Kind == operation.CauseUnexplained:
		text += ", and " + prose(causes[0])
	case len(causes) == 1:
		text += ", because " + prose(causes[0])
	case len(causes) == 0 && len(changes) == 1 && reasons[changes[0].ActionReason] != "":
		text += ", because " + reasons[changes[0].ActionReason]
	}
	return text + "."
}

// toleratedCounts counts the changes that nobody reviewed and that need no yes.
func toleratedCounts(result *operation.Result) operation.Counts {
	var counts operation.Counts
	for _, target := range result.Targets {
		for _, change := range target.Tolerated {
			counts = plus(counts, countOne(change))
		}
	}
	return counts
}

// countOne counts one change, as plan.Count does for a set.
func countOne(change operation.Change) operation.Counts {
	var counts operation.Counts
	switch change.Action {
	case operation.Create:
		counts.Add = 1
	case operation.Update:
		counts.Change = 1
	case operation.Delete:
		counts.Destroy = 1
	case operation.Replace, operation.ReplaceCreateFirst:
		counts = operation.Counts{Add: 1, Destroy: 1, Replace: 1}
	case operation.Import:
		counts.Import = 1
	case operation.Move:
		counts.Move = 1
	case operation.Forget:
		counts.Forget = 1
	case operation.Output:
		counts.Outputs = 1
	case operation.Read:
	}
	return counts
}

// unexpected are the targets with changes that nobody reviewed.
func unexpected(result *operation.Result) []operation.TargetResult {
	if result == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(result.Targets), func(target operation.TargetResult) bool { return len(target.Unexpected) == 0 })
}

// sentence is a foreign sentence with a full stop, or another where there is none.
func sentence(text, otherwise string) string {
	text = strings.TrimSpace(text)
	if text == "" {
		return otherwise
	}
	if len(text) > maxProse || strings.Contains(text, "\n") { // shown as a block elsewhere
		first, _, _ := strings.Cut(text, "\n")
		text = shorten(first, maxValue)
	}
	text = prose(text)
	if !strings.ContainsAny(text[len(text)-1:], ".?!") {
		text += "."
	}
	return text
}

// afterNext is a foreign sentence that goes on after "Next:".
func afterNext(text string) string {
	runes := []rune(sentence(text, ""))
	if len(runes) > 1 && unicode.IsUpper(runes[0]) && unicode.IsLower(runes[1]) {
		runes[0] = unicode.ToLower(runes[0])
	}
	return "Next: " + string(runes)
}

// capital makes the first letter of a sentence a capital one, unless a name begins it.
func capital(text string) string {
	for _, beginning := range []string{"a push", "an apply"} {
		if strings.HasPrefix(text, beginning) {
			return strings.ToUpper(text[:1]) + text[1:]
		}
	}
	return text
}

// applyFooter is who asked and when, small; the exact times are inside.
func applyFooter(v ApplyView) *piece {
	op := v.Operation
	if op.ID == 0 && op.Actor == "" {
		return fixed("")
	}
	l := links{web: v.WebURL, repo: v.Repository}
	head := "Apply"
	if op.Actor != "" {
		head += " for " + htmlName(op.Actor)
	}
	commit := v.Commit
	if commit == "" {
		commit = op.Head
	}
	if commit != "" {
		head += " at " + htmlCode(shortSHA(commit))
	}
	if !op.Arrived.IsZero() {
		head += ", asked for on " + moment(op.Arrived)
	}
	var lines []string
	if op.Reason != "" {
		lines = append(lines, "Why: "+sentence(op.Reason, ""))
	}
	if commit != "" {
		lines = append(lines, "Commit "+l.commit(commit)+branchWords(op.Branch)+".")
	}
	if len(op.Pulls) > 0 {
		lines = append(lines, "Carries "+pulls(op.Pulls)+".")
	}
	if op.Confirmed != "" {
		text := yes(op)
		if op.ConfirmedBy == "" {
			text = "A" + text[1:]
		}
		lines = append(lines, text+".")
	}
	return footer(head, append(lines, timesAndTools(op)...))
}

func branchWords(branch string) string {
	if branch == "" {
		return ""
	}
	return " on " + code(branch)
}

// timesAndTools are the exact times of an operation and the programs that took part.
func timesAndTools(op operation.Operation) []string {
	var times []string
	for _, at := range []struct {
		word string
		time time.Time
	}{{"Arrived", op.Arrived}, {"began", op.Started}, {"ended", op.Ended}} {
		if !at.time.IsZero() {
			times = append(times, at.word+" "+exact(at.time))
		}
	}
	var lines []string
	if len(times) > 0 {
		line := strings.Join(times, ", ")
		lines = append(lines, strings.ToUpper(line[:1])+line[1:]+".")
	}
	if op.Result != nil && len(op.Result.Tools) > 0 {
		const most = 20
		var tools []string
		for i, tool := range op.Result.Tools {
			if i == most {
				tools = append(tools, several(len(op.Result.Tools)-i, "other", "others"))
				break
			}
			tools = append(tools, code(tool.Name+" "+tool.Version))
		}
		lines = append(lines, "Made with "+list(tools)+".")
	}
	if op.ID != 0 {
		lines = append(lines, fmt.Sprintf("Operation %d, attempt %d.", op.ID, op.Attempt))
	}
	return lines
}

// footer is small text with details that unfold.
func footer(head string, lines []string) *piece {
	text := "<details><summary><sub>" + head + "</sub></summary>\n\n- " + strings.Join(lines, "\n- ") + "\n\n</details>"
	return &piece{rank: rankWords, forms: []string{text, "<sub>" + head + "</sub>"}}
}

// htmlName is a login where Markdown is not read.
func htmlName(login string) string {
	if plainWord.MatchString(login) && !strings.ContainsAny(login, `"'/`) {
		return login
	}
	return htmlCode(login)
}
