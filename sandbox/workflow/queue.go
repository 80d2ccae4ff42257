package workflow

import "slices"

// maxQueue is how many may wait in a group with `queue: max`.
// https://docs.github.com/en/actions/how-tos/write-workflows/choose-when-workflows-run/control-workflow-concurrency
const maxQueue = 100

// Group is one concurrency group: at most one member goes, the others wait in the order in which they came.
type Group[M comparable] struct {
	Running []M // none or one; more only while a cancelled one has not ended yet
	Pending []M
}

// Join adds a member that wants to go. It returns those that are cancelled for it: waiting ones, whose place it takes, and
// with cancelRunning the one that goes. A member that is not in the group afterwards was refused: the queue is full.
func (g *Group[M]) Join(member M, queue string, cancelRunning bool) (cancelled []M) {
	if cancelRunning {
		cancelled = append(cancelled, g.Running...)
	}
	switch {
	case queue != "max":
		cancelled = append(cancelled, g.Pending...)
		g.Pending = nil
	case len(g.Pending) >= maxQueue:
		return append(cancelled, member)
	}
	g.Pending = append(g.Pending, member)
	g.advance()
	return cancelled
}

// Leave removes a member that has ended or was cancelled; the next one goes.
func (g *Group[M]) Leave(member M) {
	is := func(m M) bool { return m == member }
	g.Running = slices.DeleteFunc(g.Running, is)
	g.Pending = slices.DeleteFunc(g.Pending, is)
	g.advance()
}

// Goes reports whether it is the member's turn.
func (g *Group[M]) Goes(member M) bool { return slices.Contains(g.Running, member) }

// Empty reports whether the group is inactive.
func (g *Group[M]) Empty() bool { return len(g.Running)+len(g.Pending) == 0 }

func (g *Group[M]) advance() {
	if len(g.Running) == 0 && len(g.Pending) > 0 {
		g.Running, g.Pending = g.Pending[:1:1], g.Pending[1:]
	}
}
