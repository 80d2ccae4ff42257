package render

import (
	"fmt"
	"strings"
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
