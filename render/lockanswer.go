package render

import (
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// LockAnswer is the answer to /break-lease: who holds the lock, since when, whether that lives, what would be lost, and the one
// command that comes next.
func LockAnswer(v LockView) string {
	v = v.masked()
	if v.Looking {
		s := withRun(story{banner: "**Looking at the state locks of " + prose(v.Environment) + ".** That changes nothing. This answer is " +
			"written anew when it is known who holds them." + needless}, v.Run, operation.Running)
		return fit(maxAnswer, fixed(s.banner))
	}
	switch v.Verdict {
	case LockFailed:
		return fit(maxAnswer, lockFailed(v)...)
	case LockOther:
		return fit(maxAnswer, lockOther(v)...)
	case LockSeveral:
		return fit(maxAnswer, lockSeveral(v)...)
	case LockAlive, LockHeldHere, LockReason, LockAsk:
		if v.Chosen >= 0 && v.Chosen < len(v.Targets) && v.Targets[v.Chosen].Found != nil {
			return fit(maxAnswer, lockHeld(v)...)
		}
		return fit(maxAnswer, lockFailed(v)...)
	case LockNothing, LockHarmless:
	}
	return fit(maxAnswer, lockFree(v)...)
}

// next is the command that comes next: as the caller has it, else another one.
func (v LockView) next(otherwise string) string {
	if v.Command != "" {
		return v.Command
	}
	return otherwise
}

// breakCommand asks for the lock of one target to be broken.
func breakCommand(target operation.Target) string {
	return strings.TrimSpace("/break-lease " + target.Environment + " " + target.Root)
}

// lockFailed says that nobody could look at a lock, and why.
func lockFailed(v LockView) []*piece {
	again := "/break-lease " + v.Environment
	if v.Chosen >= 0 && v.Chosen < len(v.Targets) {
		again = breakCommand(v.Targets[v.Chosen].Target)
	}
	banner := "**The state locks of " + prose(v.Environment) + " could not be looked at.** Nothing was changed."
	if len(v.Targets) == 1 {
		banner = "**" + upper(lockOf(v.Targets[0].Target)) + " could not be looked at.** Nothing was changed."
	}
	pieces := append([]*piece{fixed(banner)}, unlooked(v.Targets)...)
	return append(pieces, fixed("Next: correct the cause, then comment "+code(v.next(again))+"."+inRun(v.Run)))
}

// inRun leads to the workflow run in which something was done.
func inRun(run RunView) string {
	if safeAddress(run.URL) == "" {
		return ""
	}
	return " What happened is in " + linkTo("its workflow run", run.URL) + "."
}

// maxUnlooked is how many targets are named that could not be looked at.
const maxUnlooked = 10

// unlooked says of each target that could not be looked at why not.
func unlooked(targets []LockedTarget) []*piece {
	var pieces []*piece
	for _, t := range targets {
		switch {
		case t.Found != nil:
		case len(pieces) == maxUnlooked:
			return append(pieces, fixed("There are more that could not be looked at."))
		default:
			pieces = append(pieces, explained("Could not be looked at: "+code(t.Target.Root)+".", t.Error))
		}
	}
	return pieces
}

// explained is words with a reason of others: a sentence, or a block where it is longer, which gives way.
func explained(words, reason string) *piece {
	if reason == "" {
		return fixed(words)
	}
	if len(reason) > maxProse || strings.Contains(strings.TrimSpace(reason), "\n") {
		return shortening(words, reason)
	}
	return fixed(words + " " + sentence(reason, ""))
}

// lockOther says that the lock which was named is not the one that is held.
func lockOther(v LockView) []*piece {
	held := heldTargets(v.Targets)
	if len(held) == 0 {
		pieces := []*piece{fixed("**Nothing was broken: nobody holds the lock " + code(v.Named) + ".** No state of " + prose(v.Environment) +
			" that could be looked at is locked.")}
		pieces = append(pieces, leftovers(v.Targets)...)
		pieces = append(pieces, unlooked(v.Targets)...)
		return append(pieces, fixed("Next: comment "+code("/apply "+v.Environment)+" where something is left to be applied."))
	}
	pieces := []*piece{fixed("**Nothing was broken: the lock is another one than " + code(v.Named) + ".** The one that you named is not " +
		"held any more, and whoever holds this one may be at work.")}
	next := "Next: read who holds it; if that is the one that you mean, comment "
	if v.Chosen >= 0 && v.Chosen < len(v.Targets) && v.Targets[v.Chosen].Found != nil {
		t := v.Targets[v.Chosen]
		pieces = append(pieces, holderPiece(v.links(), t, v.Now))
		pieces = append(pieces, unlooked(v.Targets)...)
		return append(pieces, fixed(next+code(v.next(breakCommand(t.Target)))+"."))
	}
	pieces = append(pieces, heldList(held))
	pieces = append(pieces, unlooked(v.Targets)...)
	return append(pieces, fixed(next+code(v.next("/break-lease "+v.Environment+" ROOT"))+"."))
}

// lockSeveral asks which of several locks is meant.
func lockSeveral(v LockView) []*piece {
	held := heldTargets(v.Targets)
	pieces := []*piece{
		fixed("**Nothing was broken: " + number(len(held)) + " states of " + prose(v.Environment) + " are locked,** " +
			"and a yes is to one of them."),
		heldList(held),
	}
	pieces = append(pieces, unlooked(v.Targets)...)
	return append(pieces, fixed("Next: comment "+code(v.next("/break-lease "+v.Environment+" ROOT"))+" with the root that you mean."))
}

func heldTargets(targets []LockedTarget) []LockedTarget {
	var held []LockedTarget
	for _, t := range targets {
		if t.Found != nil && t.Found.Lease == operation.LeaseHeld {
			held = append(held, t)
		}
	}
	return held
}

// heldList has a line for each lock that is held.
func heldList(held []LockedTarget) *piece {
	lines := make([]string, 0, len(held))
	for _, t := range held {
		line := "- " + code(t.Target.Root) + ": held by " + holderName(t) + sinceWords(t) + "; " + lifeWords(t.Holder.Life)
		if described(t.Found) {
			line += "; lock id " + code(t.Found.Info.ID)
		}
		lines = append(lines, line+"\n")
	}
	return lineList(lines)
}

// lineList is a list of lines of which those at the end give way.
func lineList(lines []string) *piece {
	show := func(k int) string {
		text := strings.Join(lines[:k], "")
		if k < len(lines) {
			text += "- and " + number(len(lines)-k) + " more\n"
		}
		return text
	}
	return shrinking(rankWords, len(lines), maxAnswer, show, number(len(lines))+" of them.")
}

// lockFree says that nothing is locked, and what may look as if it were.
func lockFree(v LockView) []*piece {
	banner := "**" + prose(v.Environment) + " is not locked.** Nobody holds the lock of any of its states, so there is no lock to break."
	if len(v.Targets) == 1 {
		banner = "**" + upper(lockOf(v.Targets[0].Target)) + " is free.** Nobody holds it, so there is no lock to break."
	}
	pieces := append([]*piece{fixed(banner)}, leftovers(v.Targets)...)
	pieces = append(pieces, unlooked(v.Targets)...)
	if len(v.Targets) == 1 {
		pieces = append(pieces, bullets(foundLines(v.links(), v.Targets[0], v.Now)))
	}
	return append(pieces, fixed("Next: comment "+code(v.next("/apply "+v.Environment))+" where something is left to be applied."))
}

// leftovers says what is left of locks that hold nothing up.
func leftovers(targets []LockedTarget) []*piece {
	var lines []string
	for _, t := range targets {
		f := t.Found
		if f == nil || f.Lease == operation.LeaseHeld || f.Lease != operation.LeaseBroken && f.Info == nil {
			continue
		}
		who := ""
		if described(f) && f.Info.Who != "" {
			who = " of " + code(f.Info.Who)
		}
		line := "- " + code(t.Target.Root) + ": "
		switch {
		case f.Backend == "local":
			line += "a note" + who + " lies beside the state. It holds nothing up: the lock of a local state ends with its process. " +
				"The next apply takes the note away."
		case f.Lease == operation.LeaseBroken && f.Info != nil:
			line += "its lock was broken already. The description" + who + " that is still there is stale, and holds nothing up: " +
				"the next apply takes the lock, and writes its own."
		case f.Lease == operation.LeaseBroken:
			line += "its lock was broken already. The next apply takes it."
		default:
			line += "a stale description" + who + " is still there. It holds nothing up: the next apply writes its own."
		}
		lines = append(lines, line+"\n")
	}
	if len(lines) == 0 {
		return nil
	}
	return []*piece{lineList(lines)}
}

// lockHeld is the answer about one lock that is held.
func lockHeld(v LockView) []*piece {
	t := v.Targets[v.Chosen]
	var banner, next string
	var after []string
	switch v.Verdict {
	case LockAlive:
		banner = "**Nothing was broken: the holder of " + lockOf(t.Target) + " works.**"
		next = v.waitOrStop()
	case LockHeldHere:
		banner = "**Nothing was broken: another operation has " + prose(v.Environment) + ".** " + v.heldHere()
		next = v.afterHold()
	case LockReason:
		banner = "**Nothing was broken yet: a reason is needed.** The configuration asks for one (`commands.break-lease.reason`)."
		next = "Next: comment " + code(v.next(breakCommand(t.Target)+" --reason WHY")) + " with the reason."
	case LockAsk, LockNothing, LockHarmless, LockOther, LockSeveral, LockFailed:
		banner, next = v.askBanner(t), v.asks()
		after = append(after, breaking(t))
		if len(v.Why) > 0 {
			after = append(after, "Another person has to confirm. "+sentences(v.Why))
		}
	}
	others := heldTargets(slices.Concat(v.Targets[:v.Chosen], v.Targets[v.Chosen+1:]))
	if len(others) > 0 {
		after = append(after, "Also locked: "+few(codes(rootsOf(others)))+".")
	}
	pieces := []*piece{fixed(banner), holderPiece(v.links(), t, v.Now)}
	for _, text := range after {
		pieces = append(pieces, fixed(text))
	}
	return append(append(pieces, unlooked(v.Targets)...), fixed(next))
}

func rootsOf(targets []LockedTarget) []string {
	names := make([]string, len(targets))
	for i, t := range targets {
		names[i] = t.Target.Root
	}
	return names
}

// waitOrStop is the next step where somebody works.
func (v LockView) waitOrStop() string {
	next := "Next: wait until it is done, or " + v.Targets[v.Chosen].Holder.stopping(v.Number, code)
	if v.Targets[v.Chosen].Holder.Operation == nil {
		return next + "."
	}
	return next + ": Terraform then stops, and gives the lock back by itself."
}

// heldHere says which operation has the environment.
func (v LockView) heldHere() string {
	if v.Holder == nil {
		return "Two operations must not meet there."
	}
	text := upper(what(*v.Holder)) + " has it"
	if op := *v.Holder; !op.Started.IsZero() && !v.Now.Before(op.Started) {
		text += ", for " + since(v.Now, op.Started) + " now"
	}
	return text + ", and two operations must not meet there."
}

func (v LockView) afterHold() string {
	const after = "; after that, ask for this lock again."
	switch command := v.next("/cancel " + v.Environment); {
	case strings.HasPrefix(command, "/unlock"):
		return "Next: when you know that nothing of it runs any more, comment " + code(command) + after
	case v.Holder != nil:
		return "Next: wait until it is done, or " + cancelling(*v.Holder, v.Number, code) + after
	default:
		return "Next: wait until it is done, or comment " + code(command) + after
	}
}

// askBanner says whether the holder is dead, and why somebody wants its lock broken.
func (v LockView) askBanner(t LockedTarget) string {
	banner := "**" + upper(lockOf(t.Target)) + " can be released: its holder is dead.**"
	if t.Holder.Life != Dead {
		banner = "**Is the holder of " + lockOf(t.Target) + " dead?** From here nobody can tell, so find out before you say yes."
	}
	if v.Reason != "" {
		banner += " " + prose(v.By) + " says why: " + sentence(v.Reason, "")
	}
	return banner
}

// breaking says what is done to a lock that is broken.
func breaking(t LockedTarget) string {
	switch found := t.Found; {
	case t.Holder.Lock != "":
		return "That operation had taken over the lock " + code(t.Holder.Lock) + ", and ended before it had released it. It goes on from " +
			"there, by the same id, so that nobody else's lock is touched: the state is copied once more, and the lock released."
	case !described(found):
		return "The lock has no id by which it could be taken over, so it is broken: only if nothing has changed since this was written. " +
			"A newcomer who takes it at that very moment fails before writing any state."
	case found.Backend == "azurerm":
		return "The lock is taken over by its id, so that nobody else's is touched; then the state is copied, and the lock released."
	default:
		return "The lock is compared with this one, then released. This kind of backend keeps no copy of the state."
	}
}

// asks is the one next command, by whom and until when.
func (v LockView) asks() string {
	who := "read this, then comment "
	if v.Two {
		who = "another person than " + prose(v.By) + ", who may give " + code("/break-lease") + " as well, reads this and comments "
	}
	return "Next: " + who + code(v.next("/confirm "+v.Code)) + untilWords(v.Now, v.Until) + ". " +
		"The code is for exactly this lock as it is now: one that changes meanwhile is not broken."
}

// untilWords says until when something can be done. Seconds are left away, so that nobody comes too late.
func untilWords(now, until time.Time) string {
	if until.IsZero() {
		return ""
	}
	until = until.Truncate(time.Minute)
	text := " until " + clock(now, until)
	if until.After(now) {
		text += " (" + lasted(until.Sub(now)) + ")"
	}
	return text
}

func (v LockView) links() links { return links{web: v.WebURL, repo: v.Repository} }

// masked hides what the configuration's patterns match.
func (v LockView) masked() LockView {
	hide := newMask(v.Mask)
	if hide.idle() {
		return v
	}
	targets := make([]LockedTarget, len(v.Targets))
	for i, t := range v.Targets {
		targets[i] = hide.locked(t)
	}
	v.Targets, v.Reason, v.Why = targets, hide.name(v.Reason), hide.each(v.Why, hide.name)
	if v.Holder != nil {
		holder := hide.operation(*v.Holder)
		v.Holder = &holder
	}
	v.Mask = nil
	return v
}

func (m mask) locked(t LockedTarget) LockedTarget {
	t.Found, t.Error, t.Holder.Because = m.found(t.Found), m.text(t.Error), m.name(t.Holder.Because)
	if t.Holder.Operation != nil {
		op := m.operation(*t.Holder.Operation)
		t.Holder.Operation = &op
	}
	return t
}

func (m mask) found(found *operation.StateLock) *operation.StateLock {
	if found == nil {
		return nil
	}
	shown := *found
	if found.Info != nil {
		info := *found.Info
		info.Who, info.Operation, info.Path = m.name(info.Who), m.name(info.Operation), m.name(info.Path)
		shown.Info = &info
	}
	shown.Place, shown.Tainted, shown.Notes = m.name(found.Place), m.each(found.Tainted, m.name), m.each(found.Notes, m.name)
	shown.Errored = make([]operation.ErroredState, len(found.Errored))
	for i, state := range found.Errored {
		state.Place, state.Why, state.Next = m.name(state.Place), m.name(state.Why), m.text(state.Next)
		shown.Errored[i] = state
	}
	return &shown
}
