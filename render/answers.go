package render

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
)

// maxAnswer leaves room for what the caller adds to a comment.
const maxAnswer = MaxComment - 500

// PlanAnswer is the answer to /plan.
func PlanAnswer(v PlanAnswerView) string {
	what := prose(v.Environment)
	if v.Root != "" {
		what = code(v.Root) + " in " + what
	}
	if v.Operation != nil && v.All {
		return fit(maxAnswer, fixed("**Planning "+prose(v.Environment)+".** All roots that the pull request changes are planned, because "+
			"they are reviewed together. The comment above shows the plan when it is done. You need not do anything."))
	}
	if v.Operation != nil {
		return fit(maxAnswer, fixed("**Planning "+what+".** The comment above shows the plan when it is done. You need not do anything."))
	}
	return fit(maxAnswer, fixed("**Nothing is planned.** "+sentence(v.Reason, "This pull request changes no root.")))
}

// ApplyAnswer is the answer to /apply.
func ApplyAnswer(v ApplyAnswerView) string {
	environment := prose(v.Environment)
	reason := ""
	if v.Reason != "" {
		reason = " " + sentence(v.Reason, "")
	}
	var now story
	if v.Apply != nil {
		whole := v.Apply.completed("", "", operation.Repository{}, v.Apply.Now).masked()
		v.Apply, now = &whole, applyStory(whole)
	}
	switch v.Kind {
	case ApplyOpen:
		return openAnswer(v, reason)
	case ApplyNothing:
		if reason == "" {
			reason = " Everything that was merged is applied there."
		}
		return fit(maxAnswer, fixed("**There is nothing to apply to "+environment+".**"+reason))
	case ApplyWrongDigest:
		return fit(maxAnswer, fixed("**"+environment+" was not changed.** "+code(v.Digest)+" is not what is being asked about"+
			asked(v)+". What it asks about may have changed since you read it."+reason), fixed(now.next))
	case ApplyNeedsDigest:
		pieces := []*piece{
			fixed("**" + environment + " waits for a yes to exactly what it asks about.** " +
				"A yes without a digest could be to something else." + reason),
			fixed(now.next),
		}
		if v.Apply != nil {
			pieces = append(pieces, blocked(*v.Apply, maxAnswer))
			pieces = append(pieces, surprises(*v.Apply, maxAnswer)...)
		}
		return fit(maxAnswer, pieces...)
	case ApplyConfirmed:
		return fit(maxAnswer, fixed("**Your yes to "+code(v.Digest)+" is taken.**"+reason), fixed(now.banner))
	case ApplyQueued:
		return fit(maxAnswer,
			fixed("**The apply to "+environment+" runs anew.** It brings the newest commit"+ofBranch(v)+"."+reason), fixed(now.banner))
	case ApplyBlocked:
		return fit(maxAnswer, fixed("**"+environment+" was not changed.** A second person must first approve "+few(codes(v.Blocked))+
			", because the configuration holds such changes back."),
			fixed("Next: somebody with maintain permission who wrote none of it comments "+code("/approve-replace ADDRESS")+
				" for each; then say yes again."))
	case ApplyOwn:
		return fit(maxAnswer, fixed("**"+environment+" was not changed.** It asks for other people's approval, "+
			"and you wrote a part of what is applied."),
			fixed("Next: ask somebody else with write permission to comment "+code("/apply "+v.Environment+" "+v.Digest)+"."))
	case ApplyRunning:
		return fit(maxAnswer, fixed("**An apply to "+environment+" is on its way already.**"+reason), fixed(now.banner))
	}
	return fit(maxAnswer, fixed("**"+environment+":**"+reason))
}

func openAnswer(v ApplyAnswerView, reason string) string {
	environment := prose(v.Environment)
	banner := "**Nothing was applied: this pull request is not merged yet.**"
	next := "Next: merge it when its checks are green."
	base := code(v.Base)
	switch {
	case v.Base == "":
	case v.Target == "":
		banner += " Its base branch, " + base + ", deploys to no environment."
		next = ""
	case v.Target == v.Environment || v.Environment == "":
		banner += " Merging it to " + base + " applies it to " + prose(v.Target) + " at once, or as soon as the applies before it are done."
	default:
		banner += " Merging it to " + base + " applies it to " + prose(v.Target) + ", not to " + environment + "."
		next = "Next: merge it when its checks are green; " + environment + " gets it when it reaches a branch that deploys there."
	}
	return fit(maxAnswer, fixed(banner+reason), fixed(next))
}

func asked(v ApplyAnswerView) string {
	if v.Apply == nil || v.Apply.Operation.Question == "" {
		return ""
	}
	return ": that is " + code(digest(v.Apply.Operation.Question))
}

func ofBranch(v ApplyAnswerView) string {
	if v.Branch == "" {
		return ""
	}
	return " of " + code(v.Branch)
}

// CancelAnswer is the answer to /cancel.
func CancelAnswer(v CancelAnswerView) string {
	if len(v.Stopping) == 0 && len(v.Cancelled) == 0 && len(v.Unreachable) == 0 && len(v.Done) == 0 {
		where := ""
		if v.Environment != "" {
			where = " in " + prose(v.Environment)
		}
		return fit(maxAnswer, fixed("**There is nothing to cancel"+where+".** Nothing runs or waits there."))
	}
	var parts []string
	if len(v.Stopping) > 0 {
		shown := "Terraform finishes the step it is in and releases its lock; the comment above shows how it ended."
		if !slices.ContainsFunc(v.Stopping, isForPulls) {
			shown = "It ends after the step it is in; what asked for it shows how it ended."
		}
		parts = append(parts, "**Stopping "+named(v.Stopping)+".** "+shown)
	}
	var locked []operation.Target
	for i, op := range v.Done {
		if i == maxDone {
			parts = append(parts, several(len(v.Done)-i, "other has", "others have")+" ended, too.")
			break
		}
		parts = append(parts, stoppedWords(op))
		locked = append(locked, leftLocked(op)...)
	}
	if len(v.Cancelled) > 0 {
		parts = append(parts, "**Cancelled: "+named(v.Cancelled)+".** It had not begun, so nothing was changed.")
	}
	if len(v.Unreachable) > 0 {
		parts = append(parts, "**Could not reach "+named(v.Unreachable)+".** The server that started it does not answer, "+
			"so it is not known whether it still runs. The comment above says when that ends.")
	}
	if len(locked) > 0 {
		parts = append(parts, "Next: comment "+code(breakCommand(locked[0]))+", which explains the lock before anything is broken.")
	} else if environment, ok := appliesTo(v); ok {
		parts = append(parts, "Next: comment "+code("/apply "+environment)+" to run the apply anew.")
	}
	return fit(maxAnswer, fixed(strings.Join(parts, "\n\n")))
}

// isForPulls reports whether an operation is shown on pull requests.
func isForPulls(op operation.Operation) bool {
	return op.Kind == operation.Plan || op.Kind == operation.Apply
}

// maxDone is how many operations are told of one by one.
const maxDone = 10

// stoppedWords say how an operation ended that a person wanted stopped, and what became of its state locks.
func stoppedWords(op operation.Operation) string {
	switch op.State {
	case operation.Succeeded:
		return "**Done before it could be stopped: " + what(op) + ".**"
	case operation.Interrupted:
		return "**It is not known how " + what(op) + " ended.** " + sentence(op.Message, "It ended without a word.")
	case operation.Unconfirmed:
		return "**It was not stopped: " + what(op) + " waits for a yes.** Nothing was changed."
	case operation.Cancelled, operation.Failed, operation.Superseded, operation.Gathered, operation.Queued, operation.Running:
	}
	text := "**Stopped: " + what(op) + ".**"
	switch {
	case op.Kind != operation.Apply:
		return text
	case op.Result == nil:
		return text + " " + sentence(op.Message, "It left no word of its state lock.")
	case op.State == operation.Failed && op.Result.Stopped == "":
		text = "**Ended before it could be stopped: " + what(op) + ", which failed.**"
	}
	if locked := leftLocked(op); len(locked) > 0 {
		names := make([]string, len(locked))
		for i, target := range locked {
			names[i] = target.Root
		}
		if mayBeLocked(op) {
			return text + " It did not end by itself, so the state lock of " + few(codes(names)) + " may still be held, and what it did last may " +
				"not be in the state."
		}
		return text + " The state lock of " + few(codes(names)) + " is still held."
	}
	if !began(op.Result) {
		return text + " It had not begun to apply, so nothing was changed."
	}
	return text + " Terraform saved what it had done and released its lock." + done(op.Result)
}

// began reports whether Terraform had begun to change something.
func began(result *operation.Result) bool {
	return slices.ContainsFunc(result.Targets, func(target operation.TargetResult) bool {
		return target.Timings.Apply > 0 || target.Outcome == operation.Applied
	})
}

// leftLocked are the targets whose state lock a stopped apply has left behind, or may have.
func leftLocked(op operation.Operation) []operation.Target {
	if op.Result == nil || op.Kind != operation.Apply {
		return nil
	}
	var left []operation.Target
	for _, target := range op.Result.Targets {
		if target.Outcome != operation.Locked && (target.Lock != nil || killed(target)) {
			left = append(left, target.Target)
		}
	}
	return left
}

// mayBeLocked reports whether nobody has looked at the locks that a stopped apply may have left behind.
func mayBeLocked(op operation.Operation) bool {
	return !slices.ContainsFunc(op.Result.Targets, func(target operation.TargetResult) bool {
		return target.Lock != nil && target.Outcome != operation.Locked && !unseen(target)
	})
}

// unseen reports whether a runner names a lock that it could not look at: it may be held.
func unseen(target operation.TargetResult) bool {
	return target.Found == nil && target.Lock != nil && *target.Lock == operation.LockInfo{} && target.Outcome != operation.Locked
}

// killed reports whether a runner says that Terraform may have left its lock. Where the lock was looked at, that counts.
func killed(target operation.TargetResult) bool {
	if target.Found != nil {
		return target.Found.Lease == operation.LeaseHeld
	}
	return target.Outcome == operation.TargetStopped &&
		(strings.Contains(target.Error, "The state lock may still be held") || strings.Contains(target.Error, "could not release the state lock"))
}

// appliesTo is the environment of the first apply that was cancelled or stopped.
func appliesTo(v CancelAnswerView) (string, bool) {
	for _, op := range slices.Concat(v.Stopping, v.Done, v.Cancelled) {
		if op.Kind == operation.Apply && op.State != operation.Succeeded && op.State != operation.Unconfirmed {
			return op.Environment, true
		}
	}
	return "", false
}

// named lists operations: "the apply to dev of #38 by ana".
func named(ops []operation.Operation) string {
	const most = 10
	var words []string
	for i, op := range ops {
		if i == most {
			words = append(words, several(len(ops)-i, "other", "others"))
			break
		}
		words = append(words, what(op))
	}
	return list(words)
}

func what(op operation.Operation) string { return whatOf(op, code) }

// whatOf names an operation. name shows names of others.
func whatOf(op operation.Operation, name func(string) string) string {
	environment := prose(op.Environment)
	by := ""
	if op.Actor != "" {
		by = ", for " + prose(op.Actor)
	}
	switch op.Kind {
	case operation.Plan:
		return "the plan for " + environment
	case operation.ExplainLock:
		return "the look at the state locks of " + environment + by
	case operation.BreakLease:
		locks := "a state lock"
		if len(op.Roots) == 1 {
			locks = "the state lock of " + name(op.Roots[0])
		}
		return "the breaking of " + locks + " in " + environment + by
	case operation.Apply:
	}
	return "the apply to " + environment + " of " + whose(op)
}

// UnlockAnswer is the answer to /unlock.
func UnlockAnswer(v UnlockAnswerView) string {
	environment := prose(v.Environment)
	switch {
	case v.Alive != nil:
		return fit(maxAnswer,
			fixed("**"+environment+" stays held.** "+upper(what(*v.Alive))+" is running"+runningFor(*v.Alive, v)+
				", so releasing it would let two applies meet."),
			fixed("Next: wait for it, or "+cancelling(*v.Alive, v.Number, code)+" to stop it."))
	case v.Released != nil:
		return fit(maxAnswer,
			fixed("**"+environment+" is free.** It was held by "+what(*v.Released)+", of which it is not known how far it came. "+
				"Terraform's own state lock was not touched."+releasedBy(v)),
			fixed("Next: look at "+environment+", then comment "+code("/apply "+v.Environment)+
				": it plans anew and applies only what is still to be done."))
	default:
		return fit(maxAnswer, fixed("**"+environment+" is not held.** Nothing was released."))
	}
}

// releasedBy says whose yes it was, where that was not the one who asked.
func releasedBy(v UnlockAnswerView) string {
	if v.Confirmed == "" || strings.EqualFold(v.Confirmed, v.By) {
		return ""
	}
	return " Asked for by " + prose(v.By) + ", confirmed by " + prose(v.Confirmed) + "."
}

func runningFor(op operation.Operation, v UnlockAnswerView) string {
	if op.Started.IsZero() || v.Now.Before(op.Started) {
		return ""
	}
	return ", for " + since(v.Now, op.Started) + " now"
}

func upper(text string) string { return strings.ToUpper(text[:1]) + text[1:] }

// Status is the answer to /status.
func Status(v StatusView) string {
	l := links{web: v.WebURL, repo: v.Repository}
	pieces := []*piece{fixed(delayed(v))}
	if len(v.Environments) == 0 {
		return fit(maxAnswer, append(pieces, fixed("**No such environment.** The configuration does not name it."))...)
	}
	for _, environment := range v.Environments {
		pieces = append(pieces, fixed(statusHead(v, environment)+statusGate(environment)),
			statusLines(environment), statusRoots(l, v, environment))
	}
	return fit(maxAnswer, pieces...)
}

// delayed says what waits to be written to GitHub, and until when.
func delayed(v StatusView) string {
	d := v.Delay
	if d == nil {
		return ""
	}
	var sentences []string
	add := func(text string) { sentences = append(sentences, text) }
	waiting := waitingUpdates(*d)
	at := func(t time.Time) string { return clock(v.Now, t) }
	switch {
	case !d.PeopleAt.IsZero() && d.Refused:
		add("**GitHub takes no more writes from Switchyard until " + at(d.PeopleAt) + ":** " + waiting + ".")
	case !d.PeopleAt.IsZero():
		add("**Switchyard writes no more to GitHub until " + at(d.PeopleAt) + "**, so as to stay below GitHub's limits: " + waiting + ".")
	case !d.BotsAt.IsZero():
		add("**Switchyard writes no more about bots' pull requests until " + at(d.BotsAt) +
			"**, so as to stay below GitHub's limits: " + waiting + ".")
	case waiting != "":
		add("**Switchyard writes slowly, so as to stay below GitHub's limits:** " + waiting + ".")
	}
	if d.Bots > 0 {
		add("People's go first.")
	}
	if waiting != "" && !d.LastAt.IsZero() {
		add("The last of them is written by about " + at(d.LastAt) + ".")
	}
	if !d.SearchAt.IsZero() {
		add("Few calls are left of this hour's, so webhooks that were missed are not looked for until " + at(d.SearchAt) + ".")
	}
	if len(sentences) == 0 {
		return ""
	}
	return strings.Join(append(sentences, "This was at "+at(v.Now)+"; nothing is lost, and you need not do anything."), " ")
}

// waitingUpdates counts what waits to be written: "3 updates and 212 updates of bots' pull requests wait".
func waitingUpdates(d Delay) string {
	var parts []string
	if d.People > 0 {
		parts = append(parts, several(d.People, "update", "updates"))
	}
	if d.Bots > 0 {
		parts = append(parts, several(d.Bots, "update", "updates")+" of bots' pull requests")
	}
	switch {
	case len(parts) == 0:
		return ""
	case d.People+d.Bots == 1:
		return parts[0] + " waits"
	default:
		return list(parts) + " wait"
	}
}

// clock is a time of this day, 14:05 UTC, or a moment of another one. Who waits until then does not come too early.
func clock(now, t time.Time) string {
	if t.After(now) && !t.Truncate(time.Minute).Equal(t) {
		t = t.Truncate(time.Minute).Add(time.Minute)
	}
	if t.UTC().Format(time.DateOnly) == now.UTC().Format(time.DateOnly) {
		return t.UTC().Format("15:04 UTC")
	}
	return moment(t)
}

// statusHead is the state of an environment in one line.
func statusHead(v StatusView, e EnvironmentStatus) string {
	name := prose(e.Name)
	branches := ""
	if len(e.Branches) > 0 {
		branches = " (from " + list(codes(e.Branches)) + ")"
	}
	switch {
	case e.Holder != nil:
		text := "**" + name + " is being changed" + branches + ".** " + capital(whose(*e.Holder))
		if e.Holder.Kind == operation.BreakLease {
			return "**" + name + " is being worked on" + branches + ".** It is held by " + what(*e.Holder) + "."
		}
		if e.Holder.Started.IsZero() || v.Now.Before(e.Holder.Started) {
			return text + " has just begun to apply" + usual(e.Usually) + "."
		}
		return text + " has been applying for " + since(v.Now, e.Holder.Started) + usual(e.Usually) + "."
	case len(e.Waiting) > 0:
		return "**" + name + " is about to be changed" + branches + ".**"
	case len(e.Unconfirmed) > 0:
		return "**" + name + " waits for a person" + branches + ".**"
	default:
		return "**" + name + " is free" + branches + ".** Nothing runs and nothing waits."
	}
}

// statusGate says whether jobs that deploy wait for Switchyard's word.
func statusGate(e EnvironmentStatus) string {
	switch e.Gate {
	case GateOn:
		return " The deployment gate is on: GitHub lets only jobs deploy that Switchyard approves."
	case GateOff:
		return " The deployment gate is off: GitHub lets every run deploy that is on an admitted branch."
	case GateNoEnvironment:
		return " GitHub has no environment of that name: nothing is applied until somebody makes it."
	case GateNotKnown:
		return " Whether the deployment gate is on, GitHub does not tell."
	default:
		return ""
	}
}

// statusLines are those that wait for an environment, and those that wait for a yes.
func statusLines(e EnvironmentStatus) *piece {
	var lines []string
	for i, op := range e.Waiting {
		place := i + 1
		if e.Holder != nil {
			place++ // the one that runs is the first in the line that people see
		}
		name := whose(op)
		if op.Kind == operation.BreakLease {
			name = what(op)
		}
		lines = append(lines, "- "+ordinal(place)+" in line: "+name+others(op)+"\n")
	}
	for _, op := range e.Unconfirmed {
		lines = append(lines, "- "+whose(op)+" waits for a yes: "+code("/apply "+e.Name+" "+digest(op.Question))+"\n")
	}
	if len(lines) == 0 {
		return fixed("")
	}
	show := func(k int) string {
		text := strings.Join(lines[:k], "")
		if k < len(lines) {
			text += "- and " + number(len(lines)-k) + " more\n"
		}
		return text
	}
	return shrinking(rankWords, len(lines), maxAnswer, show, number(len(lines))+" wait.")
}

// others names what an apply carries beside the pull request that it is shown on.
func others(op operation.Operation) string {
	rest := slices.DeleteFunc(slices.Clone(op.Pulls), func(number int) bool { return number == op.Pull })
	if len(rest) == 0 || op.Pull == 0 {
		return ""
	}
	return ", with " + pulls(rest)
}

func statusRoots(l links, v StatusView, e EnvironmentStatus) *piece {
	if len(e.Roots) == 0 {
		return fixed("")
	}
	lines := make([]string, len(e.Roots))
	for i, root := range e.Roots {
		if root.Commit == "" {
			lines[i] = "| " + cell(root.Root) + " | nothing applied yet | |\n"
			continue
		}
		applied := l.commit(root.Commit)
		if root.Found {
			applied += ", as it was when Switchyard first saw the branch"
		}
		if root.Pull != 0 {
			applied += " from #" + strconv.Itoa(root.Pull)
		}
		when := ""
		if !root.At.IsZero() {
			when = moment(root.At)
			if !v.Now.Before(root.At) {
				when = since(v.Now, root.At) + " ago (" + exact(root.At) + ")"
			}
		}
		lines[i] = "| " + cell(root.Root) + " | " + applied + " | " + when + " |\n"
	}
	show := func(k int) string {
		text := "| root | applied | when |\n| :-- | :-- | :-- |\n" + strings.Join(lines[:k], "")
		if k < len(lines) {
			text += "\nand " + several(len(lines)-k, "root more", "roots more")
		}
		return text
	}
	return shrinking(rankTable, len(lines), maxAnswer, show, several(len(lines), "root", "roots")+".")
}

// stale has the story of a plan that is out of date say so.
func stale(s story, v PullView) story {
	if words := outOfDate(v); words != "" {
		s.title, s.banner = "Out of date: "+s.title, s.banner+" "+words
	}
	return s
}

// outOfDate is the sentence about a plan that is out of date; empty where it is not.
func outOfDate(v PullView) string {
	o := v.Outdated
	if o == nil {
		return ""
	}
	apply := "the apply of commit " + code(shortSHA(o.Commit))
	if o.Pull != 0 {
		apply = "the apply of #" + strconv.Itoa(o.Pull)
	}
	cause := apply + " may have changed what it changes"
	switch {
	case o.To != 0:
		serials := " from serial " + strconv.FormatInt(o.From, 10) + " to " + strconv.FormatInt(o.To, 10)
		cause = mover(v) + " has moved the state of " + code(o.Root) + serials
	case o.Base != "":
		cause = code(o.Base) + " has newer code of " + code(o.Root)
	case o.Address != "":
		cause = apply + " has changed " + code(o.Address)
	}
	return "This plan is out of date, because " + cause + " since; comment " + code("/plan") + " to plan again."
}

// mover names the apply that moved a state, with a link to what it did.
func mover(v PullView) string {
	o := v.Outdated
	if o.Operation == 0 {
		return "an apply"
	}
	name := "operation " + strconv.FormatInt(o.Operation, 10)
	if address := (links{v.WebURL, v.Repository}).checks(o.Commit); address != "" {
		name = "[" + name + "](" + address + ")"
	}
	if o.Pull != 0 {
		name += ", the apply of #" + strconv.Itoa(o.Pull) + ","
	}
	return name
}

// Why is the answer to /why and /why ADDRESS.
func Why(v WhyView) string {
	v = v.masked()
	if v.Address != "" {
		return whyAddress(v)
	}
	if v.Pull == 0 {
		return fit(maxAnswer, fixed("**Why what?** On an issue, name an address: "+code("/why ADDRESS")+"."))
	}
	var parts []string
	if v.Gitflow.Verdict != "" && v.Gitflow.Verdict != gitflow.Silent {
		parts = append(parts, "**GitFlow: "+prose(string(v.Gitflow.Verdict))+".** "+sentences(v.Gitflow.Reasons))
	}
	if v.Plan != nil {
		text := "**Planned for " + prose(v.Plan.Environment) + ".**"
		if v.Plan.Reason != "" {
			text += " Why: " + sentence(v.Plan.Reason, "")
		}
		parts = append(parts, text+rootReasons(v.Roots))
	} else {
		parts = append(parts, "**No plan.** "+planless(v))
	}
	applies := newestFirst(v.Applies)
	for _, apply := range applies {
		op := apply.Operation
		text := "**Apply to " + prose(op.Environment) + ": " + stateWord(op) + ".**"
		if op.Reason != "" {
			text += " Why: " + sentence(op.Reason, "")
		}
		if len(op.Pulls) > 0 {
			text += " It carries " + pulls(op.Pulls) + "."
		}
		if op.Doubt != "" {
			text += " " + sentence(op.Doubt, "")
		}
		parts = append(parts, text)
	}
	pieces := make([]*piece, len(parts))
	for i, part := range parts {
		pieces[i] = &piece{rank: rankWords, forms: []string{part, ""}}
		if i == 0 {
			pieces[i] = fixed(part)
		}
	}
	return fit(maxAnswer, pieces...)
}

// masked hides what the configuration's patterns match.
func (v WhyView) masked() WhyView {
	hide := newMask(v.Mask)
	if hide.idle() {
		return v
	}
	v.Ledger, v.Applies = slices.Clone(v.Ledger), slices.Clone(v.Applies)
	for i := range v.Ledger {
		v.Ledger[i].Change = hide.change(v.Ledger[i].Change)
	}
	for _, changes := range []*[]AddressChange{&v.History, &v.Planned} {
		*changes = slices.Clone(*changes)
		for i := range *changes {
			(*changes)[i].Change = hide.change((*changes)[i].Change)
			(*changes)[i].Operation = hide.operation((*changes)[i].Operation)
		}
	}
	for i := range v.Applies {
		v.Applies[i].Operation = hide.operation(v.Applies[i].Operation)
	}
	v.Address, v.Mask = hide.name(v.Address), nil
	return v
}

// planless says why there is no plan.
func planless(v WhyView) string {
	if v.Gitflow.Environment == "" {
		return "This pull request goes to no environment."
	}
	return "It changes no root, none of its variable files and no module that one uses."
}

func rootReasons(roots []RootReason) string {
	if len(roots) == 0 {
		return ""
	}
	var text strings.Builder
	text.WriteString("\n")
	for _, root := range firstRoots(roots) {
		text.WriteString("\n- " + code(root.Root) + ": " + sentence(root.Reason, "it was asked for."))
	}
	return text.String()
}

// newestFirst is the last few applies.
func newestFirst(applies []ApplyView) []ApplyView {
	const most = 5
	newest := slices.Clone(applies)
	slices.Reverse(newest)
	return newest[:min(most, len(newest))]
}

// verbs are actions as something that was done, or would be.
var verbs = map[operation.Action]string{
	operation.Create: "created", operation.Update: "changed", operation.Delete: "destroyed", operation.Replace: "replaced",
	operation.ReplaceCreateFirst: "replaced", operation.Read: "read", operation.Move: "moved", operation.Import: "imported",
	operation.Forget: "dropped from the state", operation.Output: "changed",
}

// Bounds of the answer about one address.
const (
	mostOfTarget = 20 // lines about one target
	mostTargets  = 20 // targets that have lines of their own
)

// whyAddress tells what was applied to an address, by target where it is in several, and then who plans to change it.
func whyAddress(v WhyView) string {
	if len(v.Ledger) == 0 && len(v.History) == 0 && len(v.Planned) == 0 {
		return fit(maxAnswer, fixed("**Nothing is known about "+code(v.Address)+".** No plan or apply that is remembered here changes it. "+
			"Addresses are written as in the plan, with their quotes."))
	}
	l := links{web: v.WebURL, repo: v.Repository}
	title := "**What changed " + code(v.Address) + ",** the newest first:"
	var groups []linesOf
	switch {
	case len(v.Ledger) > 0:
		for _, entry := range v.Ledger {
			groups = intoGroup(groups, entry.Target, ledgerLine(l, entry))
		}
	case len(v.History) > 0:
		for _, entry := range v.History {
			groups = intoGroup(groups, entry.Target, historyLine(l, entry))
		}
	default:
		title = "**No apply is known that changed " + code(v.Address) + ".**"
	}
	pieces := []*piece{fixed(title)}
	for i, group := range groups {
		if i == mostTargets {
			more := several(len(groups)-i, "more root or environment", "more roots and environments")
			pieces = append(pieces, fixed("It was changed in "+more+", too."))
			break
		}
		heading := ""
		if len(groups) > 1 {
			heading = "In " + prose(group.target.Environment) + " (" + code(group.target.Root) + "):\n\n"
		}
		pieces = append(pieces, linesPiece(heading, group.lines, v.Older, "was changed "+several(len(group.lines), "time", "times")+"."))
	}
	if len(v.Planned) == 0 {
		return fit(maxAnswer, pieces...)
	}
	var lines []string
	for _, entry := range v.Planned {
		lines = append(lines, historyLine(l, entry))
	}
	pieces = append(pieces, fixed("**Who would change it next:**"),
		linesPiece("", lines, false, "is to be changed by "+several(len(lines), "plan or apply", "plans and applies")+"."))
	if v.Unlooked > 0 {
		pieces = append(pieces, fixed("Older open pull requests were not looked at: "+number(v.Unlooked)+"."))
	}
	return fit(maxAnswer, pieces...)
}

// linesOf is what there is to say about one target.
type linesOf struct {
	target operation.Target
	lines  []string
}

// intoGroup adds a line to those of its target; targets are in the order of their first lines.
func intoGroup(groups []linesOf, target operation.Target, line string) []linesOf {
	for i := range groups {
		if groups[i].target == target {
			groups[i].lines = append(groups[i].lines, line)
			return groups
		}
	}
	return append(groups, linesOf{target, []string{line}})
}

// linesPiece is a list that gives way from its end. cut says that not all lines were read.
func linesPiece(heading string, lines []string, cut bool, shortest string) *piece {
	show := func(k int) string {
		k = min(k, mostOfTarget)
		var text strings.Builder
		text.WriteString(heading)
		for _, line := range lines[:k] {
			text.WriteString("- " + line + "\n")
		}
		switch {
		case k < len(lines) && cut:
			text.WriteString("- and more than " + number(len(lines)-k) + ", which are older\n")
		case k < len(lines):
			text.WriteString("- and " + number(len(lines)-k) + " more, which are older\n")
		case cut:
			text.WriteString("- and perhaps more, which are older\n")
		}
		return text.String()
	}
	return shrinking(rankWords, len(lines), maxAnswer, show, heading+"It "+shortest)
}

func historyLine(l links, entry AddressChange) string {
	op := entry.Operation
	verb, ok := verbs[entry.Change.Action]
	if !ok {
		verb = prose(string(entry.Change.Action))
	}
	where := " in " + prose(entry.Target.Environment) + " (" + code(entry.Target.Root) + ")"
	var text string
	switch {
	case op.Kind == operation.Plan:
		text = "to be " + verb + where + " by the plan of " + whose(op)
	case applied(op, entry.Target):
		text = verb + where + " by " + whose(op)
		if op.Confirmed != "" {
			text += "; " + yes(op)
		}
	default:
		text = "not " + verb + where + ": the apply of " + whose(op) + " " + ended(op)
	}
	if op.Head != "" {
		text += ", commit " + l.commit(op.Head)
	}
	if when := latest(op); !when.IsZero() {
		text += ", " + moment(when)
	}
	if words := because(entry.Change); words != "" {
		text += "; because " + prose(words)
	}
	return text
}

// applied reports whether an apply brought what it planned for a target.
func applied(op operation.Operation, target operation.Target) bool {
	if op.Result == nil {
		return op.State == operation.Succeeded
	}
	for _, result := range op.Result.Targets {
		if result.Target == target {
			return result.Outcome == operation.Applied
		}
	}
	return false
}

// ended is how an apply that did not apply something stands.
func ended(op operation.Operation) string {
	switch op.State {
	case operation.Queued:
		return "waits"
	case operation.Running:
		return "is running"
	case operation.Unconfirmed:
		return "waits for a yes"
	case operation.Failed:
		return "failed"
	case operation.Interrupted:
		return "was interrupted"
	case operation.Cancelled:
		return "was cancelled"
	case operation.Gathered, operation.Superseded:
		return "was overtaken"
	case operation.Succeeded:
		return "had nothing to do there"
	}
	return "is " + prose(string(op.State))
}
