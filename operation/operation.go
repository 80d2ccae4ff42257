// Package operation holds the words of Switchyard as types: repositories, targets, operations
// with their states, and the contract between the server and the runner. Every room imports it;
// it imports nothing of ours and touches nothing.
package operation

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// Kind is what an operation was asked to do.
type Kind string

// The kinds of operation.
const (
	Plan        Kind = "plan"
	Apply       Kind = "apply"
	ExplainLock Kind = "explain-lock" // looks at state locks, and changes nothing
	BreakLease  Kind = "break-lease"  // breaks one state lock
)

// Exclusive reports whether operations of this kind may change an environment, and so need its hold.
func (k Kind) Exclusive() bool { return k == Apply || k == BreakLease }

// Again is the command by which a person has an operation of this kind done anew.
func (k Kind) Again(environment string) string {
	switch k {
	case Apply:
		return "/apply " + environment
	case ExplainLock, BreakLease:
		return "/break-lease " + environment
	case Plan:
	}
	return "/plan"
}

// State is where an operation is in its life.
type State string

// The states of an operation. Queued, Running and Unconfirmed are open; the others are ends.
const (
	Queued      State = "queued"
	Running     State = "running"
	Unconfirmed State = "unconfirmed" // waits for a person's yes, without a hold
	Succeeded   State = "succeeded"
	Failed      State = "failed"
	Interrupted State = "interrupted" // the server lost sight of it: its outcome is not known
	Cancelled   State = "cancelled"   // a person stopped it
	Gathered    State = "gathered"    // a newer operation carries its commits
	Superseded  State = "superseded"  // a newer head made its plan pointless
)

// transitions lists for each open state the states that may follow it.
var transitions = map[State][]State{
	Queued:      {Running, Unconfirmed, Cancelled, Gathered, Superseded, Failed},
	Running:     {Unconfirmed, Succeeded, Failed, Interrupted, Cancelled, Superseded},
	Unconfirmed: {Queued, Cancelled, Gathered, Superseded},
}

// Ended reports whether nothing more will happen to an operation in this state.
func (s State) Ended() bool { return len(transitions[s]) == 0 }

// CanBecome reports whether an operation may go from state s to state next.
func (s State) CanBecome(next State) bool {
	return slices.Contains(transitions[s], next)
}

// Repository names one repository of one installation of the App.
type Repository struct {
	ID           int64  `json:"id"`
	Installation int64  `json:"installation"`
	Owner        string `json:"owner"`
	Name         string `json:"name"`
}

// FullName is owner/name, as GitHub shows it.
func (r Repository) FullName() string { return r.Owner + "/" + r.Name }

// ParseFullName splits "owner/name". Only the two names of the result are set.
func ParseFullName(s string) (Repository, error) {
	owner, name, ok := strings.Cut(s, "/")
	if !ok || owner == "" || name == "" || strings.Contains(name, "/") {
		return Repository{}, fmt.Errorf("repository %q is not of the form owner/name", s)
	}
	return Repository{Owner: owner, Name: name}, nil
}

// Target is one root in one environment: one Terraform state.
type Target struct {
	Root        string `json:"root"`
	Environment string `json:"environment"`
}

// String is the target as people read it: root (environment).
func (t Target) String() string { return t.Root + " (" + t.Environment + ")" }

// Operation is one request to do something, as it is stored.
type Operation struct {
	ID          int64      `json:"id"`
	Kind        Kind       `json:"kind"`
	Repository  Repository `json:"repository"`
	Environment string     `json:"environment"`
	State       State      `json:"state"`
	Attempt     int        `json:"attempt"` // rises with each start; fences results of older starts

	Pull   int    `json:"pull,omitempty"` // the pull request that it is shown on; 0 for a push without one
	Pulls  []int  `json:"pulls"`          // all pull requests whose commits it carries, oldest first
	Branch string `json:"branch"`         // the branch that maps to the environment
	Base   string `json:"base,omitempty"` // plan: tip of the base branch that was merged with
	Head   string `json:"head"`           // plan: head of the pull request; apply: the candidate
	Tree   string `json:"tree,omitempty"` // the git tree that Terraform runs on

	Roots     []string `json:"roots"`     // directories of the roots it covers, in configuration order
	Actor     string   `json:"actor"`     // login of the person (or App) who asked
	Reason    string   `json:"reason"`    // why it exists, one sentence
	Priority  int      `json:"priority"`  // lower runs earlier: 0 break-lease, 10 hotfix, 20 the rest
	Confirmed string   `json:"confirmed"` // digest that a person said yes to; empty without one

	ConfirmedBy string `json:"confirmed_by,omitempty"` // login of that person
	Question    string `json:"question"`               // digest that is being asked about while unconfirmed
	Doubt       string `json:"doubt"`                  // why a yes is needed whatever the plan says, e.g. a force-push; empty if none
	GatheredIn  int64  `json:"gathered_in"`            // the operation that carries its commits now; 0 if none
	Message     string `json:"message,omitempty"`      // how it ended, one or two sentences for a person

	Warned          Doubts   `json:"warned,omitempty"`           // that it was queued with; others are found anew by each attempt
	Doubts          Doubts   `json:"doubts,omitempty"`           // that it asks about while unconfirmed, in Question beside its changes
	ConfirmedDoubts []string `json:"confirmed_doubts,omitempty"` // keys of those that the yes to Confirmed was to
	Agreed          []string `json:"agreed,omitempty"`           // keys of all that people said yes to, sorted

	// Host is the machine on which the runner of this attempt was started, or is about to be: only that
	// one can tell what became of it. Empty while none was: a runner can have changed nothing yet.
	Host string `json:"host,omitempty"`

	Launch   string `json:"launch,omitempty"`   // names that start of a runner: no other one may be taken for it
	Delivery string `json:"delivery,omitempty"` // GUID of the webhook that led to it, or to the yes to it; empty if none

	Lock *LockRequest `json:"lock,omitempty"` // of ExplainLock and BreakLease

	Arrived time.Time `json:"arrived"` // decides the order; kept by the operation that gathers
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`

	Result *Result `json:"result,omitempty"` // of the newest attempt
}

// String names an operation in logs and messages.
func (o Operation) String() string { return fmt.Sprintf("%s %d (%s)", o.Kind, o.ID, o.Environment) }
