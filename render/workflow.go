package render

import (
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// RunView is the workflow run that carries out an operation.
type RunView struct {
	ID    int64  // GitHub's number of it; 0 where that is not known
	URL   string // its page; empty where that is not known
	Where string // where it waits or what it does, a sentence; empty where that is not worth telling
}

// needless ends the words about what goes on by itself.
const needless = " You need not do anything."

// withRun adds to a story where the operation runs, and where to look when it did not end well.
func withRun(s story, run RunView, state operation.State) story {
	switch state {
	case operation.Running:
		if run.Where != "" {
			s.banner = strings.TrimSuffix(s.banner, needless) + " " + sentence(run.Where, "")
		}
		if run.URL != "" {
			s.banner += " It is carried out by " + linkTo("this workflow run", run.URL) + "."
		}
	case operation.Failed, operation.Interrupted, operation.Cancelled:
		if run.URL != "" {
			s.banner += " What happened is in " + linkTo("its workflow run", run.URL) + "."
		}
	case operation.Queued, operation.Unconfirmed, operation.Succeeded, operation.Gathered, operation.Superseded:
	}
	return s
}
