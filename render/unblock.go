package render

import (
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// UnblockKind is what /approve-replace led to.
type UnblockKind string

// What /approve-replace can lead to.
const (
	UnblockNothing UnblockKind = "nothing" // no such change is held back
	UnblockOwn     UnblockKind = "own"     // whose work it is may not approve it
	UnblockEarly   UnblockKind = "early"   // taken, before the pull request is merged
	UnblockWaits   UnblockKind = "waits"   // taken; the apply waits for more
	UnblockRuns    UnblockKind = "runs"    // taken; the apply goes on
	UnblockWhich   UnblockKind = "which"   // not taken: several changes have that address
)

// UnblockAnswerView is the answer to /approve-replace.
type UnblockAnswerView struct {
	Kind        UnblockKind
	Address     string
	Root        string // that was named; empty where none was
	Environment string
	By          string
	Author      string                // whose work it is
	Left        []string              // what still waits for a second person, as it is named; for UnblockNothing, what could be named
	Roots       []string              // for UnblockWhich: those that have the address
	Applies     []operation.Operation // for UnblockWhich instead of Roots: those that wait for it
	Question    string                // digest of what still needs a yes; empty if nothing does
	Apply       *ApplyView            // that goes on
}

// UnblockAnswer is the answer to /approve-replace.
func UnblockAnswer(v UnblockAnswerView) string {
	address, environment := code(v.Address), prose(v.Environment)
	if v.Root != "" {
		address += " in " + code(v.Root)
	}
	left := ""
	if len(v.Left) > 0 {
		left = "Still waiting for a second person: " + few(codes(v.Left)) + ". Next: one comment " +
			code("/approve-replace ADDRESS") + " for each."
	}
	switch v.Kind {
	case UnblockOwn:
		return fit(maxAnswer, fixed("**"+address+" still waits.** A second person must approve it, and "+prose(v.Author)+
			" wrote or asked for this change."), fixed("Next: ask somebody else with maintain permission to comment "+
			code(strings.TrimSpace("/approve-replace "+v.Address+" "+v.Root))+"."))
	case UnblockWhich:
		return unblockWhich(v, address)
	case UnblockEarly:
		return fit(maxAnswer, fixed("**"+address+" is approved by "+prose(v.By)+"** for "+environment+
			", as long as this pull request gets no new commit."), fixed(left))
	case UnblockWaits:
		asks := ""
		if v.Question != "" {
			asks = "The apply also asks for a yes. Next: read what it asks about, then comment " +
				code("/apply "+v.Environment+" "+digest(v.Question)) + "."
		}
		return fit(maxAnswer, fixed("**"+address+" is approved by "+prose(v.By)+".**"), fixed(left), fixed(asks))
	case UnblockRuns:
		now := ""
		if v.Apply != nil {
			now = applyStory(v.Apply.completed("", "", operation.Repository{}, v.Apply.Now).masked()).banner
		}
		return fit(maxAnswer, fixed("**"+address+" is approved by "+prose(v.By)+", so the apply to "+environment+" goes on.**"), fixed(now))
	case UnblockNothing:
	}
	next := "Nothing here is held back."
	if len(v.Left) > 0 {
		next = "Held back here: " + few(codes(v.Left)) + "."
	}
	return fit(maxAnswer, fixed("**No change of "+address+" is held back.** Nothing was approved."), fixed(next))
}

// unblockWhich asks which of several changes is meant, with the comments to copy.
func unblockWhich(v UnblockAnswerView, address string) string {
	var lines []string
	head := "**Nothing was approved:** a change of " + address + " is held back in several "
	if len(v.Applies) > 0 {
		head += "applies, and a yes is to one of them. Next: comment " + code(strings.TrimSpace("/approve-replace "+v.Address+" "+v.Root)) +
			" on a pull request of the one that you mean:"
		for _, op := range v.Applies {
			lines = append(lines, "- "+prose(op.Environment)+": "+pulls(op.Pulls))
		}
	} else {
		head += "roots, and a yes is to one of them. Next: comment the one that you mean:"
		for _, root := range v.Roots {
			lines = append(lines, "- "+code("/approve-replace "+v.Address+" "+root))
		}
	}
	if more := len(lines) - maxListed; more > 0 {
		lines = append(lines[:maxListed], "- and "+number(more)+" more")
	}
	return fit(maxAnswer, fixed(head+"\n\n"+strings.Join(lines, "\n")))
}

// few lists the first of many names.
func few(names []string) string {
	const most = 10
	if len(names) > most {
		names = append(append([]string{}, names[:most]...), several(len(names)-most, "other", "others"))
	}
	return strings.TrimSpace(list(names))
}
