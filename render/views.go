package render

import (
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
)

// PullView is everything that the one comment of a pull request shows.
type PullView struct {
	Repository operation.Repository
	WebURL     string // of GitHub itself, e.g. https://github.com; empty leaves links out
	Pull       int
	Gitflow    gitflow.Decision
	Plan       *operation.Operation // the newest plan; nil if there is none; with its Result when it has ended
	Merge      string               // what conflicts, in words, when base and head cannot be merged; else empty
	Roots      []RootReason         // what is planned and why, in configuration order
	Applies    []ApplyView          // the applies that carry this pull request, oldest first

	ConfigProblem string    // what is wrong with the configuration, one problem a line; else empty
	ResultURL     string    // a page with the whole plan; empty if there is none
	Now           time.Time // when the view was made
}

// RootReason is one root and why it is planned, in words: "its directory changed".
type RootReason struct {
	Root   string
	Reason string
}

// ApplyView is one apply with what surrounds it now.
type ApplyView struct {
	Operation operation.Operation
	Position  int                  // place in the line: 1 is next; 0 does not wait
	Ahead     *operation.Operation // the operation that runs now and is waited for; nil if none
	Usually   time.Duration        // how long an apply of this environment usually takes; 0 is unknown
	With      []int                // the other pull requests whose commits it carries
	Commit    string               // the candidate; empty means Operation.Head

	Repository operation.Repository // zero means Operation.Repository
	WebURL     string               // as in PullView; a PullView's own is used when it is empty there
	ResultURL  string               // as in PullView
	Now        time.Time            // as in PullView
}

// StatusView is the answer to /status: the environments in configuration order.
type StatusView struct {
	Repository   operation.Repository
	WebURL       string
	Environments []EnvironmentStatus
	Now          time.Time
}

// EnvironmentStatus is what is known about one environment.
type EnvironmentStatus struct {
	Name        string
	Branches    []string              // patterns of the branches that deploy to it
	Holder      *operation.Operation  // the apply that runs now; nil if none
	Usually     time.Duration         // how long an apply usually takes; 0 is unknown
	Waiting     []operation.Operation // in the order in which they will run
	Unconfirmed []operation.Operation // those that wait for a person's yes
	Roots       []RootStatus          // in configuration order
}

// RootStatus is what is applied of one root.
type RootStatus struct {
	Root   string
	Commit string    // the applied commit; empty when nothing is known to be applied
	At     time.Time // when it was applied; zero is unknown
	Pull   int       // the pull request it came from; 0 is unknown
}

// WhyView is the answer to /why and to /why ADDRESS.
type WhyView struct {
	Repository operation.Repository
	WebURL     string
	Pull       int // 0 on an issue
	Gitflow    gitflow.Decision
	Plan       *operation.Operation
	Roots      []RootReason
	Applies    []ApplyView
	Address    string          // asked about; empty asks about the pull request
	History    []AddressChange // what changed Address, newest first
	Now        time.Time
}

// AddressChange is one change of an address by an operation, planned (kind plan) or applied (kind apply).
type AddressChange struct {
	Operation operation.Operation
	Target    operation.Target
	Change    operation.Change
}

// PlanAnswerView is what /plan led to.
type PlanAnswerView struct {
	Environment string               // that is planned
	Root        string               // asked for; empty means all that changed
	All         bool                 // more than the root that was asked for is planned
	Operation   *operation.Operation // the plan that was started; nil when there is nothing to plan
	Reason      string               // why there is nothing to plan; a sentence
}

// ApplyAnswerKind is what /apply led to.
type ApplyAnswerKind string

// What /apply can lead to.
const (
	ApplyOpen        ApplyAnswerKind = "open"         // the pull request is not merged yet
	ApplyNothing     ApplyAnswerKind = "nothing"      // everything is applied
	ApplyWrongDigest ApplyAnswerKind = "wrong-digest" // a yes to something that is not being asked
	ApplyNeedsDigest ApplyAnswerKind = "needs-digest" // an operation asks a question and the command named no digest
	ApplyConfirmed   ApplyAnswerKind = "confirmed"    // a yes was taken
	ApplyQueued      ApplyAnswerKind = "queued"       // runs anew
	ApplyRunning     ApplyAnswerKind = "running"      // it runs or waits already
)

// ApplyAnswerView is the answer to /apply.
type ApplyAnswerView struct {
	Kind        ApplyAnswerKind
	Environment string // asked for
	Branch      string // the branch that deploys to it
	Base        string // base branch of the pull request, and
	Target      string // the environment that its merge applies to; empty if none
	Digest      string // as the person wrote it
	Apply       *ApplyView
	Reason      string // a sentence that explains Kind further; empty if there is none
}

// CancelAnswerView is the answer to /cancel.
type CancelAnswerView struct {
	Environment string
	Stopping    []operation.Operation // running ones, being stopped
	Cancelled   []operation.Operation // that had not begun
	Unreachable []operation.Operation // running ones whose server does not answer
	By          string
}

// UnlockAnswerView is the answer to /unlock.
type UnlockAnswerView struct {
	Environment string
	Released    *operation.Operation // whose hold was released; nil if nothing was held
	Alive       *operation.Operation // that is known to run, so that its hold was kept; nil if none
	By          string
	Now         time.Time
}

// RefusedView is a push that may not be applied.
type RefusedView struct {
	Environment string
	Branch      string
	Commit      string
	Repository  operation.Repository
	WebURL      string
	Gitflow     gitflow.Decision
}
