package commands

import (
	"cmp"
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// codeLength is how many characters a code has: 40 bits, so that nobody hits another one by mistake. It is no secret: who may
// confirm is decided by what GitHub says about the person.
const codeLength = 8

// codeAlphabet has no letter that looks like a figure. https://www.crockford.com/base32.html
const codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// LockSubject is what a yes to the breaking of a lock is a yes to.
type LockSubject struct {
	Repository  int64
	Environment string
	Root        string
	ID          string // of the lock
	ETag        string
	Request     int64 // the comment that asked
}

// Code names the subject so that people can say yes to exactly it, and so that a job can tell to what they did.
func (s LockSubject) Code() string {
	return codeOf("break-lease", strconv.FormatInt(s.Repository, 10), s.Environment, s.Root, s.ID, s.ETag, strconv.FormatInt(s.Request, 10))
}

// HoldCode names the hold of one attempt at an operation, as one comment asked about it.
func HoldCode(repository, operation int64, attempt int, request int64) string {
	return codeOf("unlock", strconv.FormatInt(repository, 10), strconv.FormatInt(operation, 10), strconv.Itoa(attempt),
		strconv.FormatInt(request, 10))
}

// codeOf hashes parts so that no two lists of parts are alike.
func codeOf(parts ...string) string {
	var whole strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&whole, "%d:%s,", len(part), part)
	}
	sum := sha256.Sum256([]byte(whole.String()))
	return base32.NewEncoding(codeAlphabet).EncodeToString(sum[:])[:codeLength]
}

// LockFacts are what is known when somebody wants a lock broken.
type LockFacts struct {
	Targets []render.LockedTarget
	Named   string               // the lock id that the person named; empty: none
	Reason  string               // that the person gave
	Hold    *operation.Operation // that has the hold of the environment now; nil: nobody
	HoldOf  render.Life          // of Hold
}

// LockDecision is what follows.
type LockDecision struct {
	Verdict render.LockVerdict
	Chosen  int      // of LockFacts.Targets; -1: none in particular
	Two     bool     // another person has to confirm
	Why     []string // why, sentences
}

// DecideLock decides whether a lock may be broken, and by whose yes. What comes first is what a person has to deal with first:
// a lock that nobody could look at, or that is not the one that was meant, is never a reason to ask for anything else.
func DecideLock(cfg repoconfig.Config, environment string, f LockFacts) LockDecision {
	held, missed := heldOf(f.Targets)
	switch {
	case len(f.Targets) == 0, len(held) == 0 && missed:
		return LockDecision{Verdict: render.LockFailed, Chosen: only(indices(len(f.Targets)))}
	case f.Named != "":
		named := slices.DeleteFunc(slices.Clone(held), func(i int) bool { return !hasID(f.Targets[i], f.Named) })
		if len(named) == 0 {
			return LockDecision{Verdict: render.LockOther, Chosen: only(held)}
		}
		held = named
	case len(held) == 0:
		return notHeld(f.Targets)
	}
	if len(held) > 1 {
		return LockDecision{Verdict: render.LockSeveral, Chosen: -1}
	}
	return decideHeld(cfg, environment, f, held[0])
}

// heldOf lists the targets whose lock is held, and reports whether one could not be looked at.
func heldOf(targets []render.LockedTarget) (held []int, missed bool) {
	for i, target := range targets {
		switch {
		case target.Found == nil:
			missed = true
		case target.Found.Lease == operation.LeaseHeld:
			held = append(held, i)
		}
	}
	return held, missed
}

// notHeld tells locks of which nothing is left from those of which something is that holds nothing up.
func notHeld(targets []render.LockedTarget) LockDecision {
	var left []int
	for i, target := range targets {
		if target.Found.Lease == operation.LeaseBroken || target.Found.Info != nil {
			left = append(left, i)
		}
	}
	if len(left) == 0 {
		return LockDecision{Verdict: render.LockNothing, Chosen: only(indices(len(targets)))}
	}
	return LockDecision{Verdict: render.LockHarmless, Chosen: only(left)}
}

// decideHeld decides about one lock that is held.
func decideHeld(cfg repoconfig.Config, environment string, f LockFacts, chosen int) LockDecision {
	target := f.Targets[chosen]
	d := LockDecision{Chosen: chosen}
	switch {
	case f.Hold != nil && f.HoldOf != render.Dead && (target.Holder.Operation == nil || target.Holder.Operation.ID != f.Hold.ID):
		d.Verdict = render.LockHeldHere
	case target.Holder.Life == render.Alive:
		d.Verdict = render.LockAlive
	case cfg.Commands["break-lease"].Reason && f.Reason == "":
		d.Verdict = render.LockReason
	default:
		d.Verdict = render.LockAsk
		d.Two, d.Why = TwoForBreakLease(cfg, environment, target.Holder.Life)
		if (target.Found.Info == nil || target.Found.Info.ID == "") && target.Holder.Lock == "" && !slices.Contains(d.Why, lifeUnknown) {
			d.Two, d.Why = true, append(d.Why, "The lock has no description, so nothing proves whose it is.")
		}
	}
	return d
}

// TwoForBreakLease reports whether another person has to confirm that a lock is broken, and why.
func TwoForBreakLease(cfg repoconfig.Config, environment string, life render.Life) (bool, []string) {
	return two(cfg, "break-lease", environment, life)
}

// TwoForUnlock reports whether another person has to confirm that a hold is released, and why.
func TwoForUnlock(cfg repoconfig.Config, environment string, life render.Life) (bool, []string) {
	return two(cfg, "unlock", environment, life)
}

const lifeUnknown = "It is not known whether the holder still works."

// two reports whether another person has to confirm a command, and why. Whoever is not known to be dead may live.
func two(cfg repoconfig.Config, command, environment string, life render.Life) (bool, []string) {
	var why []string
	confirm := cfg.Commands[command].Confirm
	where, _ := cfg.Environment(environment)
	switch {
	case confirm != nil && *confirm > 0:
		why = append(why, fmt.Sprintf("The configuration asks for it: `commands.%s.confirm` is %d.", command, *confirm))
	case confirm == nil && where.Approvals > 0:
		why = append(why, fmt.Sprintf("Changes of `%s` need approvals there.", where.Name))
	}
	if life != render.Dead {
		why = append(why, lifeUnknown)
	}
	return len(why) > 0, why
}

func hasID(target render.LockedTarget, id string) bool {
	held := target.Holder.Lock
	if target.Found.Info != nil {
		held = cmp.Or(target.Found.Info.ID, held)
	}
	return strings.EqualFold(held, id)
}

// only is the one of some indices; -1 where there is none, or more than one.
func only(some []int) int {
	if len(some) == 1 {
		return some[0]
	}
	return -1
}

func indices(n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	return all
}
