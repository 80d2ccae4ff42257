package render

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Bounds of what is told of one lock.
const (
	maxErrored = 5 // states that could not be saved
	maxNotes   = 5
)

// lockOf names the lock of a target.
func lockOf(target operation.Target) string {
	return "the state lock of " + code(target.Root) + " in " + prose(target.Environment)
}

// described reports whether a lock says who holds it, by an id.
func described(found *operation.StateLock) bool {
	return found != nil && found.Info != nil && found.Info.ID != ""
}

// holderName names who holds a lock, in a few words.
func holderName(t LockedTarget) string {
	switch {
	case t.Holder.Operation != nil:
		return what(*t.Holder.Operation)
	case described(t.Found) && t.Found.Info.Who != "":
		return code(t.Found.Info.Who)
	default:
		return "somebody who left no description"
	}
}

// lifeWords says whether a holder lives.
func lifeWords(life Life) string {
	switch life {
	case Alive:
		return "it works"
	case Dead:
		return "it is dead"
	case Unknown:
	}
	return "nobody can tell whether it works"
}

// lockTime reads when a lock was taken: as Terraform writes it into the lock, and as it prints it.
// https://github.com/hashicorp/terraform/blob/v1.11.4/internal/states/statemgr/locker.go
func lockTime(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -0700 MST", "2006-01-02 15:04:05 MST"} {
		if at, err := time.Parse(form, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// sinceWords says since when a lock is held; empty where it does not say so.
func sinceWords(t LockedTarget) string {
	if t.Found == nil || t.Found.Info == nil || t.Found.Info.Created == "" {
		return ""
	}
	if at, known := lockTime(t.Found.Info.Created); known {
		return " since " + moment(at)
	}
	return " since " + code(t.Found.Info.Created)
}

// holderPiece has all that is known of a lock that is held, and of its state.
func holderPiece(l links, t LockedTarget, now time.Time) *piece {
	lines := append(holderLines(t, now), lostLine(t.Holder))
	return bullets(append(lines, foundLines(l, t, now)...))
}

func bullets(lines []string) *piece {
	if len(lines) == 0 {
		return fixed("")
	}
	return fixed("- " + strings.Join(lines, "\n- "))
}

// holderLines say who holds a lock, since when, and whether that lives.
func holderLines(t LockedTarget, now time.Time) []string {
	var lines []string
	op := t.Holder.Operation
	switch {
	case op != nil:
		who := "Held by " + what(*op) + " (operation " + strconv.FormatInt(op.ID, 10)
		if safeAddress(t.Holder.Run.URL) != "" {
			who += ", " + linkTo("its workflow run", t.Holder.Run.URL)
		}
		who += ")"
		if info := lockInfo(t.Found); info.Who != "" {
			who += " as " + code(info.Who)
		}
		lines = append(lines, who+describedBy(t.Found, false)+".")
	case described(t.Found):
		lines = append(lines, "Held by "+holderName(t)+describedBy(t.Found, true)+". It is no operation of Switchyard, as far as can be told.")
	default:
		lines = append(lines, "Held by somebody unknown: the lock has no description. Who takes a lock writes one right after that, so whoever "+
			"took this one was stopped in between, or is just about to write it.")
	}
	lines = append(lines, heldSince(t, now))
	because := ""
	if t.Holder.Because != "" {
		because = " " + sentence(t.Holder.Because, "")
	}
	switch t.Holder.Life {
	case Alive:
		return append(lines, "It works."+because)
	case Dead:
		return append(lines, "It is dead."+because)
	case Unknown:
	}
	return append(lines, "Whether it works is not known."+because)
}

// describedBy is what Terraform has written into the lock, beside who holds it.
func describedBy(found *operation.StateLock, kind bool) string {
	info := lockInfo(found)
	var words []string
	if name := lockOperation(info.Operation); kind && name != "" {
		words = append(words, "for "+name)
	}
	if info.Version != "" {
		words = append(words, "with version "+code(info.Version))
	}
	if info.ID != "" {
		words = append(words, "under the lock id "+code(info.ID))
	}
	if len(words) == 0 {
		return ""
	}
	return " " + strings.Join(words, ", ")
}

// lockOperation says for what Terraform took a lock.
// https://github.com/hashicorp/terraform/blob/v1.11.4/internal/backend/backendrun/operation_type.go
func lockOperation(word string) string {
	switch word {
	case "":
		return ""
	case "OperationTypeApply":
		return "an apply"
	case "OperationTypePlan":
		return "a plan"
	case "OperationTypeRefresh":
		return "a refresh"
	case "OperationTypeDestroy":
		return "a destroy"
	}
	return code(word)
}

func heldSince(t LockedTarget, now time.Time) string {
	if t.Found != nil && t.Found.Info != nil && t.Found.Info.Created != "" {
		text := "Held" + sinceWords(t)
		if at, known := lockTime(t.Found.Info.Created); known && !now.Before(at) {
			text += ", for " + since(now, at) + " now"
		}
		return text + "."
	}
	if op := t.Holder.Operation; op != nil && !op.Started.IsZero() {
		return "Held since " + moment(op.Started) + " at the earliest, when that operation began."
	}
	return "Since when is not known."
}

// lostLine says what breaking the lock would cost.
func lostLine(holder LockHolder) string {
	const lost = "the state of what it did would be only in a file `errored.tfstate` on its machine, " +
		"and the next apply would begin from an old one."
	if holder.Lock != "" && holder.Life == Dead {
		return "Nothing more comes from it. It was to release a lock, and changes nothing else."
	}
	switch holder.Life {
	case Alive:
		return "Without its lock it would go on, and its last save would be refused: " + lost
	case Dead:
		return "Nothing more comes from it. What it made after it last saved the state is there and not in the state: the next plan may want " +
			"to make it once more."
	case Unknown:
	}
	return "If it works, it goes on without its lock, and its last save is refused: " + lost
}

// foundLines say what is known of the state.
func foundLines(l links, t LockedTarget, now time.Time) []string {
	f := t.Found
	if f == nil {
		return nil
	}
	var lines []string
	switch f.Missing {
	case "container":
		lines = append(lines, "There is no state: what should have it does not exist ("+code(f.Place)+").")
	case "":
		lines = append(lines, "The state "+code(f.Place)+stateWords(f, now)+".")
	default:
		lines = append(lines, "There is no state yet at "+code(f.Place)+".")
	}
	for i, state := range f.Errored {
		if i == maxErrored {
			lines = append(lines, "And "+several(len(f.Errored)-i, "state more", "states more")+" that could not be saved.")
			break
		}
		lines = append(lines, "A state that an apply could not save was found: "+erroredWords(state))
	}
	if op := t.Holder.Operation; op != nil && op.Head != "" {
		lines = append(lines, "That operation worked at "+l.commit(op.Head)+".")
	}
	for i, note := range f.Notes {
		if i == maxNotes {
			break
		}
		lines = append(lines, sentence(shorten(note, maxValue), ""))
	}
	return lines
}

// stateWords are the numbers of a state.
func stateWords(f *operation.StateLock, now time.Time) string {
	var words []string
	if f.Serial != 0 {
		words = append(words, "serial "+strconv.FormatInt(f.Serial, 10))
	}
	if f.Resources > 0 {
		words = append(words, several(f.Resources, "resource", "resources"))
	}
	if f.Size > 0 {
		words = append(words, bytesWords(f.Size))
	}
	written := ""
	if !f.Modified.IsZero() {
		written = " was last written on " + moment(f.Modified)
		if !now.Before(f.Modified) {
			written += ", " + since(now, f.Modified) + " ago"
		}
	}
	switch {
	case len(words) > 0 && written != "":
		return " has " + list(words) + ", and" + written
	case len(words) > 0:
		return " has " + list(words)
	case written != "":
		return written
	}
	return " is there"
}

// bytesWords is a size as people say it.
func bytesWords(size int64) string {
	const thousand = 1000
	switch {
	case size < thousand:
		return strconv.FormatInt(size, 10) + " bytes"
	case size < thousand*thousand:
		return strconv.FormatInt((size+thousand/2)/thousand, 10) + " kB"
	default:
		return strconv.FormatFloat(float64(size)/(thousand*thousand), 'f', 1, 64) + " MB"
	}
}

// erroredWords name a state that could not be saved, and say whether it fits: sentences, of which the first is begun already.
func erroredWords(state operation.ErroredState) string {
	text := code(state.Place)
	if state.Serial != 0 {
		text += ", serial " + strconv.FormatInt(state.Serial, 10)
	}
	if !state.Modified.IsZero() {
		text += ", of " + moment(state.Modified)
	}
	if state.Fits {
		return text + ". It fits the one that is there."
	}
	return text + ". " + sentence(state.Why, "Whether it fits is not known.")
}

// lockNext begins the last sentence of LockMet.
const lockNext = " Next: "

// metExplained reports whether LockMet says of an apply which lock it met.
func metExplained(op operation.Operation) bool {
	counted := tally(op.Result)
	return counted[operation.Locked] > 0 && counted[operation.TargetFailed] == 0 && strings.Contains(op.Message, lockNext) && !told(op)
}

// LockMet is what an apply says that met a lock: who holds it, whether that lives, and the one command to use. Plain text and
// Markdown code spans, a few sentences.
func LockMet(t LockedTarget) string {
	held := "The state lock of " + tick(t.Target.Root) + " is held by "
	switch info := lockInfo(t.Found); {
	case t.Holder.Operation != nil:
		held += whatOf(*t.Holder.Operation, tick)
	case info.Who != "":
		held += tick(info.Who)
	default:
		held += "somebody who left no description"
	}
	if created := lockInfo(t.Found).Created; created != "" {
		if at, known := lockTime(created); known {
			held += " since " + moment(at)
		} else {
			held += " since " + tick(created)
		}
	}
	environment := t.Target.Environment
	because := ""
	if t.Holder.Because != "" {
		because = " " + sentence(t.Holder.Because, "")
	}
	ask := tick(breakCommand(t.Target))
	switch {
	case t.Holder.Life == Alive && t.Holder.Operation != nil:
		return held + ". It works." + because + lockNext + "wait until it is done, or " + t.Holder.stopping(0, tick) + "."
	case t.Holder.Life == Alive:
		return held + ". It works." + because + lockNext + "wait until it is done, then comment " + tick("/apply "+environment) + "."
	case t.Holder.Life == Dead:
		return held + ". It is not running any more." + because + lockNext + "comment " + ask +
			", which explains the lock before anything is broken."
	case !described(t.Found):
		return held + "." + because + lockNext + "wait a minute and comment " + tick("/apply "+environment) +
			"; where the lock is still there, " + ask + " explains it before anything is broken."
	default:
		return held + "." + because + lockNext + "wait until it is done; if it is dead, comment " + ask +
			", which explains the lock before anything is broken."
	}
}

// cancelling says with which comment a running operation is stopped, asked about in a pull request or issue: there it would stop what
// that one has itself, so it is given where the operation is shown. name shows names of others.
func cancelling(op operation.Operation, in int, name func(string) string) string {
	text := "comment " + name("/cancel "+op.Environment)
	numbers := append([]int{op.Pull}, op.Pulls...)
	if lock := op.Lock; lock != nil {
		numbers = append(numbers, lock.SaidIn, lock.Number)
	}
	numbers = slices.DeleteFunc(numbers, func(number int) bool { return number == 0 })
	switch {
	case len(numbers) == 0:
		return text + " in an issue, where it stops all that runs or waits for " + prose(op.Environment)
	case slices.Contains(numbers, in):
		return text
	default:
		return text + " in #" + strconv.Itoa(numbers[0])
	}
}

// stopping says how a holder is stopped that works. What has ended in the books is not reached by any command any more, so it is
// stopped where it runs.
func (h LockHolder) stopping(in int, name func(string) string) string {
	switch op := h.Operation; {
	case op == nil:
		return "stop it where it runs"
	case !op.State.Ended():
		return cancelling(*op, in, name)
	case h.Run.ID != 0:
		return "stop its workflow run with " + name(fmt.Sprintf("gh run cancel %d --repo %s", h.Run.ID, h.repoOfGH())) +
			", as no comment reaches it any more"
	case h.Machine != "":
		return fmt.Sprintf("stop it on %s, as no comment reaches it any more, with %s of its `switchyard run` (%s), or of Terraform where "+
			"only that is left", name(h.Machine), name("kill -INT"), name(fmt.Sprintf("pgrep -af '/%d-%d[-/]'", op.ID, op.Attempt)))
	default:
		return "stop it where it runs, as no comment reaches it any more"
	}
}

// repoOfGH is the holder's repository as `gh --repo` takes it: with its host where that is not github.com, which gh means otherwise.
// See https://cli.github.com/manual/gh_run_cancel.
func (h LockHolder) repoOfGH() string {
	name := h.Operation.Repository.FullName()
	if at, err := url.Parse(h.Run.URL); err == nil && at.Host != "" && at.Host != "github.com" {
		return at.Host + "/" + name
	}
	return name
}

func lockInfo(found *operation.StateLock) operation.LockInfo {
	if found == nil || found.Info == nil {
		return operation.LockInfo{}
	}
	return *found.Info
}

// tick is a foreign name between single backticks, as prose reads it again.
func tick(text string) string {
	text = shorten(strings.ReplaceAll(clean(text, false), "`", "'"), maxName)
	if strings.TrimSpace(text) == "" {
		text = "(empty)"
	}
	return "`" + text + "`"
}
