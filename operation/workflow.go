package operation

import "time"

// HostActions is Operation.Host of an attempt that a workflow run carries out. GitHub knows how it ends, so any
// server may see to it.
const HostActions = "github-actions"

// WorkflowRun is the workflow run of one attempt, as far as it is known.
type WorkflowRun struct {
	Task Task      // what was dispatched, without what only the runner needs
	Run  int64     // GitHub's id; 0 until it is known
	URL  string    // its page; empty until it is known
	Head string    // the commit of its workflow file, as it was first seen; empty until then
	Said string    // where it waits or what it does, one sentence of plain text; empty: nothing worth telling
	Hint int64     // rises with each sign that something happened to it
	At   time.Time // when it was asked for
}
