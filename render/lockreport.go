package render

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// LockReport is the answer to the /confirm that broke a lock: while it works, and how it ended.
func LockReport(v LockReportView) string {
	v = v.masked()
	return fit(maxAnswer, append(v.report(), fixed("<sub>"+v.record()+"</sub>"))...)
}

// IncidentBroken is the entry about the breaking of a lock.
func IncidentBroken(v LockReportView) string {
	v = v.masked()
	when := ""
	if !v.Operation.Ended.IsZero() {
		when = moment(v.Operation.Ended) + ". "
	}
	pieces := append([]*piece{fixed(when + v.record())}, v.report()...)
	return fit(maxAnswer, pieces...)
}

// record is who wanted a lock broken, why, and who confirmed it.
func (v LockReportView) record() string {
	text := "Asked for"
	lock := v.Operation.Lock
	alone := lock != nil && lock.By != "" && strings.EqualFold(lock.By, v.Operation.Actor)
	if alone {
		text += " and confirmed"
	}
	if v.Operation.Actor != "" {
		text += " by " + prose(v.Operation.Actor)
	}
	if lock == nil {
		return text + "."
	}
	if lock.Number != 0 {
		text += " in #" + strconv.Itoa(lock.Number)
	}
	if lock.By != "" && !alone {
		text += ", confirmed by " + prose(lock.By)
		if lock.SaidIn != 0 && lock.SaidIn != lock.Number {
			text += " in #" + strconv.Itoa(lock.SaidIn)
		}
	}
	text += "."
	if lock.Reason != "" {
		text += " Reason: " + sentence(shorten(lock.Reason, maxValue), "")
	}
	return text
}

// target is the one whose lock it is about.
func (v LockReportView) target() operation.Target {
	target := operation.Target{Environment: v.Operation.Environment}
	if len(v.Operation.Roots) > 0 {
		target.Root = v.Operation.Roots[0]
	}
	return target
}

// result is that of the target; empty where there is none.
func (v LockReportView) result() operation.TargetResult {
	if v.Operation.Result == nil || len(v.Operation.Result.Targets) == 0 {
		return operation.TargetResult{}
	}
	return v.Operation.Result.Targets[0]
}

// broken is how far it came; empty where nothing is known of that.
func (v LockReportView) broken() operation.Broken {
	if broken := v.result().Broken; broken != nil {
		return *broken
	}
	return operation.Broken{}
}

// report is everything but who wanted it.
func (v LockReportView) report() []*piece {
	op := v.Operation
	lock := lockOf(v.target())
	result, broken := v.result(), v.broken()
	switch {
	case op.State == operation.Queued || op.State == operation.Unconfirmed:
		return []*piece{fixed("**" + upper(lock) + " is broken next.** It goes before everything else that waits for " +
			prose(op.Environment) + "." + v.heldUp())}
	case !op.State.Ended():
		s := withRun(story{banner: "**Breaking " + lock + ".** " + running(ApplyView{Operation: op, Now: v.Now}) + needless}, v.Run, op.State)
		return []*piece{fixed(s.banner)}
	case result.Outcome == operation.OtherLock:
		return v.otherLock()
	case result.Outcome == operation.Released || broken.How != operation.ReleasedNot:
		return v.released()
	default:
		return v.notReleased()
	}
}

// heldUp says what the breaking of a lock waits for, and what a person can do about that: the hold of an operation that is lost with its
// host is given back by nobody else for a long while.
func (v LockReportView) heldUp() string {
	switch {
	case v.Hold == nil || v.HoldOf == Dead:
		return needless
	case v.HoldOf == Alive:
		return " It waits for " + what(*v.Hold) + ", which works." + needless
	default:
		return " It waits for " + what(*v.Hold) + ", which has " + prose(v.Operation.Environment) + ", and nobody can tell whether that works. " +
			"Next: when you know that nothing of it runs any more, comment " + code("/unlock "+v.Operation.Environment) + "."
	}
}

// otherLock says that the lock had changed, so that nothing was done.
func (v LockReportView) otherLock() []*piece {
	now := v.broken().Now
	text := "**Nothing was broken: " + lockOf(v.target()) + " is not the one that was confirmed any more.**"
	if now == nil || now.Lease != operation.LeaseHeld {
		return []*piece{fixed(text + " " + leaseWords(now)), fixed("Next: comment " + code("/apply "+v.Operation.Environment) +
			" where something is left to be applied.")}
	}
	t := LockedTarget{Target: v.target(), Found: now, Holder: LockHolder{Life: Unknown}}
	return []*piece{
		fixed(text + " Now it is held by " + holderName(t) + sinceWords(t) + describedBy(now, true) + "."),
		fixed("Next: comment " + code(breakCommand(t.Target)) + ", which explains that one."),
	}
}

// leaseWords say what a lock is now.
func leaseWords(now *operation.StateLock) string {
	switch {
	case now == nil:
		return "What the lock is now could not be found out."
	case now.Lease == operation.LeaseFree:
		return "The lock is free now."
	case now.Lease == operation.LeaseBroken:
		return "The lock is broken now, so the next apply can take it."
	}
	t := LockedTarget{Found: now}
	return "The lock is held now, by " + holderName(t) + sinceWords(t) + "."
}

// released tells how a lock came to be free, and what was found after that.
func (v LockReportView) released() []*piece {
	broken, result := v.broken(), v.result()
	text := "**" + upper(lockOf(v.target())) + " is free.** "
	switch broken.How {
	case operation.ReleasedTaken:
		if broken.Now != nil && broken.Now.Backend != "azurerm" {
			text += "It was compared with the one that was explained, and released."
			break
		}
		text += "It was taken over by its id, so that nobody else's lock was touched, and released."
	case operation.ReleasedBroken:
		text += "It had no id by which it could be taken over, so it was broken, as it was explained."
	case operation.ReleasedBefore:
		text += "It was free already: nothing had to be done."
	case operation.ReleasedNot:
		text += "It was released."
	}
	switch {
	case broken.Untried != "":
		text += " " + sentence(shorten(broken.Untried, maxValue), "")
	case !broken.Verified && broken.How != operation.ReleasedBefore:
		text += " Whether the next apply can take it was not tried."
	case broken.Verified:
		text += " It was taken and given back once more, so the next apply can take it."
	}
	if now := broken.Now; now != nil && now.Lease == operation.LeaseHeld {
		text = "**" + upper(lockOf(v.target())) + " was released, and is held again.** " + leaseWords(now)
	}
	pieces := []*piece{fixed(text), bullets(v.copied())}
	pieces = append(pieces, v.leftBehind()...)
	pieces = append(pieces, v.unsaved()...)
	if problem := broken.Problem; problem != "" {
		pieces = append(pieces, explained("What is left behind could not be looked at in full:", problem))
	} else if result.Error != "" {
		pieces = append(pieces, explained("What was reported:", result.Error))
	}
	return append(pieces, fixed(v.afterwards()+inRun(v.Run)))
}

// afterwards is the one next command once a lock is free.
func (v LockReportView) afterwards() string {
	apply := code("/apply " + v.Operation.Environment)
	if now := v.broken().Now; now != nil && now.Lease == operation.LeaseHeld {
		return "Next: wait until that is done, then comment " + apply + "."
	}
	for _, state := range v.errored() {
		if state.Fits {
			return "Next: bring back the state that could not be saved; then comment " + apply + "."
		}
	}
	return "Next: comment " + apply + ": it plans anew and applies only what is still to be done."
}

// copied says who held the lock, which copy was made of the state, and how it is brought back.
func (v LockReportView) copied() []string {
	broken := v.broken()
	var lines []string
	under := " without a description"
	if lock := v.Operation.Lock; lock != nil && lock.Break != nil && lock.Break.ID != "" {
		under = " under the lock id " + code(lock.Break.ID)
	}
	if dead := v.Dead; dead != nil {
		lines = append(lines, "It was held"+under+" by "+what(*dead)+" (operation "+strconv.FormatInt(dead.ID, 10)+", commit "+
			links{v.WebURL, v.Operation.Repository}.commit(dead.Head)+").")
	} else {
		lines = append(lines, "It was held"+under+".")
	}
	switch {
	case broken.Snapshot != "":
		text := "The state was copied before: snapshot " + code(broken.Snapshot) + "."
		if restore := restoreCommand(broken); restore != "" {
			text += " Should it ever have to be brought back: " + code(restore) + "."
		}
		lines = append(lines, text)
	case broken.NoCopy != "":
		lines = append(lines, "No copy was made of the state. "+sentence(broken.NoCopy, ""))
	}
	if broken.How == operation.ReleasedTaken && !broken.Cleared {
		lines = append(lines, "What was written about the holder could not be taken away. It holds nothing up.")
	}
	return lines
}

// restoreCommand makes a snapshot of a blob its content again.
// https://learn.microsoft.com/en-us/cli/azure/storage/blob/copy#az-storage-blob-copy-start
func restoreCommand(broken operation.Broken) string {
	if broken.Now == nil || broken.Now.Backend != "azurerm" {
		return ""
	}
	account, rest, _ := strings.Cut(broken.Now.Place, "/")
	container, blob, ok := strings.Cut(rest, "/")
	if !ok || account == "" || container == "" || blob == "" {
		return ""
	}
	words := []string{
		"az storage blob copy start --auth-mode login --account-name", shellWord(account), "--source-container", shellWord(container),
		"--source-blob", shellWord(blob), "--source-snapshot", shellWord(broken.Snapshot), "--destination-container", shellWord(container),
		"--destination-blob", shellWord(blob),
	}
	if command := strings.Join(words, " "); len(command) <= maxName { // a longer one would be shown with a part left out
		return command
	}
	return ""
}

// shellWord quotes a word of a command line that a person copies, where it has to be.
func shellWord(text string) string {
	const plainly = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:"
	if text != "" && strings.Trim(text, plainly) == "" {
		return text
	}
	return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'"
}

// leftBehind says what the dead apply has left, and what a plan would do now.
func (v LockReportView) leftBehind() []*piece {
	broken, result := v.broken(), v.result()
	var pieces []*piece
	add := func(words string, names []string) {
		if len(names) > 0 {
			pieces = append(pieces, addressList(words, names))
		}
	}
	whose := "that apply"
	if v.Dead != nil {
		whose = what(*v.Dead)
	}
	add("Of what "+whose+" was to do, this is done:", broken.Made)
	if len(broken.Made) > 0 {
		add("And this is left:", broken.Left)
	} else {
		add("Of what "+whose+" was to do, this is left:", broken.Left)
	}
	if broken.Now != nil {
		add("Made only in part, so that the next apply makes it anew:", broken.Now.Tainted)
	}
	drift := make([]string, 0, len(result.Drift))
	for _, change := range result.Drift {
		drift = append(drift, change.Address)
	}
	add("Not as the state has it (found by a plan that only refreshes):", drift)
	if broken.Problem == "" && result.Outcome == operation.Released {
		pieces = append(pieces, fixed("A plan made after that has "+spokenOr(result.ChangeSet.Counts, future, "no changes")+"."))
	}
	return pieces
}

func addressList(words string, names []string) *piece {
	lines := make([]string, 0, min(len(names), maxListed))
	for _, name := range names[:min(len(names), maxListed)] {
		lines = append(lines, "- "+code(name)+"\n")
	}
	show := func(k int) string {
		text := words + "\n\n" + strings.Join(lines[:k], "")
		if k < len(names) {
			text += "- and " + number(len(names)-k) + " more\n"
		}
		return text
	}
	const most = maxAnswer / 8
	return shrinking(rankTable, len(lines), most, show, words+" "+number(len(names))+" of them.")
}

// errored are the states that could not be saved, the first few of them.
func (v LockReportView) errored() []operation.ErroredState {
	var states []operation.ErroredState
	if now := v.broken().Now; now != nil {
		states = append(states, now.Errored...)
	}
	if v.Artifact != nil {
		states = append(states, *v.Artifact)
	}
	return states[:min(len(states), maxErrored)]
}

// unsaved says of each state that could not be saved whether it fits, and how it is brought back.
func (v LockReportView) unsaved() []*piece {
	var pieces []*piece
	for _, state := range v.errored() {
		text := "A state that an apply could not save was found: " + erroredWords(state)
		switch {
		case state.Next != "" && state.Fits:
			text += " In the directory of " + code(v.target().Root) + ", after `terraform init`:"
		case state.Next != "":
			text += " To try it, in the directory of " + code(v.target().Root) + ", after `terraform init`:"
		}
		if state.Next == "" {
			pieces = append(pieces, fixed(text))
			continue
		}
		pieces = append(pieces, fixed(text+"\n\n"+block("console", shorten(state.Next, maxNext))))
	}
	return pieces
}

// maxNext is how much of commands is shown.
const maxNext = 2000

// notReleased says how far it came, what the lock is now, and that it can be repeated.
func (v LockReportView) notReleased() []*piece {
	op, result, broken := v.Operation, v.result(), v.broken()
	lock := lockOf(v.target())
	again := code(breakCommand(v.target()))
	if op.State == operation.Interrupted && result.Broken == nil {
		return []*piece{
			fixed("**It is not known whether " + lock + " was broken.** " + sentence(op.Message, "It was interrupted before it could say so.")),
			fixed("Next: comment " + again + ": it says what the lock is now, and goes on from there." + inRun(v.Run)),
		}
	}
	problem := cmp.Or(broken.Problem, result.Error, op.Message)
	if result.Broken == nil {
		return []*piece{
			explained("**"+upper(lock)+" was not broken.**", cmp.Or(problem, "It ended before that was begun.")),
			fixed("Next: when the cause is gone, comment " + again + "." + inRun(v.Run)),
		}
	}
	verb := "failed"
	if result.Outcome == operation.TargetStopped || op.State == operation.Cancelled {
		verb = "was stopped"
	}
	text := "**Breaking " + lock + " " + verb + " " + brokenStep(broken) + ".** "
	next := "Next: when the cause is gone, comment " + again + "."
	if broken.Taken {
		next += " What is done stays done, and it goes on from there."
	}
	if broken.Taken && broken.Now != nil && broken.Now.Lease == operation.LeaseHeld {
		text += "It is held by Switchyard now, so nobody else can take it."
	} else {
		text += leaseWords(broken.Now)
	}
	pieces := []*piece{fixed(text), bullets(v.copied())}
	if problem != "" {
		pieces = append(pieces, explained("What was reported:", problem))
	}
	return append(pieces, fixed(next+inRun(v.Run)))
}

// brokenStep is the step in which the breaking of a lock ended.
func brokenStep(broken operation.Broken) string {
	switch {
	case !broken.Taken:
		return "before the lock was released"
	case broken.Snapshot == "" && broken.NoCopy == "":
		return "when the state was to be copied"
	case !broken.Cleared:
		return "when what is written about the holder was to be taken away"
	default:
		return "when the lock was to be released"
	}
}

// masked hides what the configuration's patterns match.
func (v LockReportView) masked() LockReportView {
	hide := newMask(v.Mask)
	if hide.idle() {
		return v
	}
	v.Operation = hide.operation(v.Operation)
	if lock := v.Operation.Lock; lock != nil {
		shown := *lock
		shown.Reason = hide.name(lock.Reason)
		v.Operation.Lock = &shown
	}
	if v.Dead != nil {
		dead := hide.operation(*v.Dead)
		v.Dead = &dead
	}
	if v.Hold != nil {
		hold := hide.operation(*v.Hold)
		v.Hold = &hold
	}
	if result := v.Operation.Result; result != nil && len(result.Targets) > 0 && result.Targets[0].Broken != nil {
		broken := *result.Targets[0].Broken
		broken.NoCopy, broken.Untried, broken.Problem = hide.name(broken.NoCopy), hide.name(broken.Untried), hide.text(broken.Problem)
		broken.Made, broken.Left, broken.Now = hide.each(broken.Made, hide.name), hide.each(broken.Left, hide.name), hide.found(broken.Now)
		result.Targets[0].Broken = &broken // the slice is a copy already
	}
	v.Mask = nil
	return v
}
