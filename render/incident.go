package render

import (
	"fmt"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// IncidentTitle is the title of the issue that has the incidents of an environment.
func IncidentTitle(environment string) string {
	return "Incidents of " + plain(environment, maxTitleName)
}

// maxTitleName is how much of a name is in a title. GitHub takes 256 characters of one.
const maxTitleName = 50

// IncidentMarker is the hidden line by which the open issue of an environment is found again.
func IncidentMarker(environment string) string {
	var name strings.Builder
	for _, b := range []byte(environment) {
		switch {
		case b >= 'a' && b <= 'z', b >= 'A' && b <= 'Z', b >= '0' && b <= '9', b == '.', b == '_':
			name.WriteByte(b)
		default: // also hyphens: two of them could end the comment
			fmt.Fprintf(&name, "%%%02X", b)
		}
	}
	return "<!-- switchyard:incidents:" + name.String() + " -->"
}

// IncidentBody is the text of that issue, with its marker. What happens is in its comments.
func IncidentBody(environment string) string {
	name := prose(environment)
	return "Switchyard writes down here what went wrong with " + name + " and needs a person: state locks that were left behind, " +
		"and what became of them. Each entry is a comment below, with the one command that comes next. Nothing is broken by itself.\n\n" +
		"Commands work in comments on this issue, too. Close it when nothing is left to be done: the next incident of " + name +
		" opens a new one.\n\n" + IncidentMarker(environment) + "\n"
}

// IncidentWithoutIssue is an entry where the repository has no issues, so that it is a comment of a pull request.
func IncidentWithoutIssue(entry, environment string) string {
	return strings.TrimRight(entry, "\n") + "\n\n<sub>This would be an entry of the issue for the incidents of " + prose(environment) +
		", but GitHub takes no issue from Switchyard in this repository. Next: switch on Issues in its settings.</sub>\n"
}

// IncidentUnlooked is the entry about locks that one of our own operations may have left behind, and which nobody could look at, as often
// as it was tried: those of the view's targets.
func IncidentUnlooked(v LockView, dead operation.Operation, tried int) string {
	dead = newMask(v.Mask).operation(dead)
	v = v.masked()
	again := "/break-lease " + v.Environment
	if len(v.Targets) == 1 {
		again = breakCommand(v.Targets[0].Target)
	}
	banner := "**It is not known whether " + what(dead) + " has left a state lock behind.** It ended without giving it back, as far as is " +
		"known, and the lock could not be looked at " + several(tried, "time", "times") + ". It is not tried again."
	pieces := append([]*piece{fixed(banner)}, unlooked(v.Targets)...)
	return fit(maxAnswer, append(pieces, fixed("Next: correct the cause, then comment "+code(again)+" here: it looks again, explains, "+
		"and breaks nothing before somebody confirms."+inRun(v.Run)))...)
}

// IncidentStuck is the entry about a lock that one of our own operations left behind.
func IncidentStuck(v LockView) string {
	v = v.masked()
	if v.Chosen < 0 || v.Chosen >= len(v.Targets) {
		return fit(maxAnswer, fixed("**A state lock of "+prose(v.Environment)+" was left behind.**"),
			fixed("Next: comment "+code(v.next("/break-lease "+v.Environment))+", which explains it before anything is broken."))
	}
	t := v.Targets[v.Chosen]
	banner := "**" + upper(lockOf(t.Target)) + " was left behind,** and until it is released nothing can be applied there."
	if t.Holder.Life != Dead {
		banner = "**" + upper(lockOf(t.Target)) + " seems to be left behind,** and until it is released nothing can be applied there."
	}
	return fit(maxAnswer, fixed(banner), holderPiece(v.links(), t, v.Now),
		fixed("Next: comment "+code(v.next(breakCommand(t.Target)))+" here: it looks again, explains, "+
			"and breaks nothing before somebody confirms."))
}
