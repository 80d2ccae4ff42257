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
	Run        RunView              // of Plan, where a workflow carries it out
	Merge      string               // what conflicts, in words, when base and head cannot be merged; else empty
	Roots      []RootReason         // what is planned and why, in configuration order
	Applies    []ApplyView          // the applies that carry this pull request, oldest first
	Outdated   *Outdated            // why Plan is out of date and is not made again by itself; nil where it is not

	Approval *gitflow.Approval // whether enough people have approved it; nil where nobody needs to

	ConfigProblem string          // what is wrong with the configuration, one problem a line; else empty
	Promotion     []PromotionView // what was applied in the stages before, in configuration order
	Regions       []string        // the regions of the environment, by which stamps are compared
	Mask          []string        // patterns of what is never shown, from configuration
	ResultURL     string          // a page with the whole plan; empty if there is none
	CommentURL    string          // of the one comment; empty until it is there
	First         string          // a root whose plan comes before the others in the further comments; empty: as configured
	Pages         *Pages          // the further comments that show the plan in full; nil where there are none
	Now           time.Time       // when the view was made
}

// PromotionView is the proof that a stage before applied the same content.
type PromotionView struct {
	Stage    string   // an environment
	Commit   string   // the commit that was applied there; empty where none was
	Baseline []string // roots whose content was there when Switchyard first saw the branch: nothing is known of an apply
	Same     int      // how many changes are the same as there
	Differs  []string // addresses or attributes that differ from there
	Problem  string   // why the proof fails, a sentence; empty where it holds
}

// Outdated is why a plan does not show any more what an apply would do.
type Outdated struct {
	Pull    int    `json:"pull,omitempty"`    // the pull request whose apply changed something since; 0 is none
	Commit  string `json:"commit,omitempty"`  // that it applied
	Address string `json:"address,omitempty"` // what both change; empty where that is not known
	Base    string `json:"base,omitempty"`    // the branch that has newer code since, of
	Root    string `json:"root,omitempty"`    // this root

	Operation int64 `json:"operation,omitempty"` // the apply, where its number is known
	From      int64 `json:"from,omitempty"`      // serial of the state of Root that the plan was made on; 0: there was none
	To        int64 `json:"to,omitempty"`        // serial of that state now; 0: it is not because of that
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
	Run       RunView              // where a workflow carries it out

	Promotion []PromotionView // as in PullView
	Missing   []string        // why pull requests that it carries do not count as reviewed, a sentence each

	Repository operation.Repository // zero means Operation.Repository
	WebURL     string               // as in PullView; a PullView's own is used when it is empty there
	ResultURL  string               // as in PullView
	Regions    []string             // as in PullView
	Mask       []string             // as in PullView
	Now        time.Time            // as in PullView
}

// StatusView is the answer to /status: the environments in configuration order.
type StatusView struct {
	Repository   operation.Repository
	WebURL       string
	Environments []EnvironmentStatus
	Delay        *Delay // of what Switchyard writes to GitHub; nil if there is none
	Now          time.Time
}

// Delay is what cannot be written to GitHub at once, because of its limits.
type Delay struct {
	People, Bots     int       // updates that wait: of people's pull requests and commands, and of bots' pull requests
	PeopleAt, BotsAt time.Time // when the next of each may be written; zero is now
	LastAt           time.Time // about when the last of all of them is written
	Refused          bool      // GitHub itself has refused more; otherwise Switchyard keeps below its limits
	SearchAt         time.Time // when webhooks that were missed are looked for again; zero is as always
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
	Gate        GateStatus            // where applies run in workflows
}

// GateStatus is what GitHub says about the deployment gate of an environment.
type GateStatus string

// The answers about a gate; "" where it was not asked.
const (
	GateOn            GateStatus = "on"
	GateOff           GateStatus = "off"
	GateNoEnvironment GateStatus = "no environment" // GitHub has none of that name
	GateNotKnown      GateStatus = "not known"
)

// RootStatus is what is applied of one root.
type RootStatus struct {
	Root   string
	Commit string    // the applied commit; empty when nothing is known to be applied
	At     time.Time // when it was applied; zero is unknown
	Pull   int       // the pull request it came from; 0 is unknown
	Found  bool      // nothing was applied since Switchyard first saw the branch at Commit: what was there counts as applied
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
	Ledger     []LedgerEntry   // the same with causes and approvals, newest first; shown instead of History where it is known
	Older      bool            // there is more of the one that is shown, which was not read
	Planned    []AddressChange // what open pull requests, and applies that wait, would do to Address, newest first
	Unlooked   int             // how many open pull requests were not looked at
	Mask       []string        // as in PullView
	Now        time.Time
}

// AddressChange is one change of an address by an operation, planned (kind plan) or applied (kind apply).
type AddressChange struct {
	Operation operation.Operation
	Target    operation.Target
	Change    operation.Change
}

// LedgerEntry is one change of one target that was applied, or was asked to be, or that somebody made
// outside of Terraform: what came when, reviewed where, approved by whom, applied by which operation.
type LedgerEntry struct {
	At        time.Time         // when it was applied, refused or seen
	Target    operation.Target  // where
	Change    operation.Change  // what, with its Cause; CauseReviewed names the pull requests
	Outcome   operation.Outcome // how the target ended; empty for drift that was only seen
	Operation int64             // that applied it; 0 if none did
	Pull      int               // the pull request that brought it to the environment; 0 for a push without one
	Commit    string            // the candidate that was applied
	Actor     string            // login of who merged or pushed, or asked for the apply
	Approved  []string          // logins of who approved what was reviewed
	Confirmed string            // login of who said yes to it although nobody had reviewed it; empty if nobody had to
	Digest    string            // of what that yes was to
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
	ApplyBlocked     ApplyAnswerKind = "blocked"      // a second person must approve changes first
	ApplyOwn         ApplyAnswerKind = "own"          // whose work it is may not say yes to it
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
	Reason      string   // a sentence that explains Kind further; empty if there is none
	Blocked     []string // for ApplyBlocked: the addresses
}

// CancelAnswerView is the answer to /cancel.
type CancelAnswerView struct {
	Environment string
	Stopping    []operation.Operation // running ones, being stopped
	Done        []operation.Operation // that were being stopped and have ended since
	Cancelled   []operation.Operation // that had not begun
	Unreachable []operation.Operation // running ones whose server does not answer
	By          string
}

// UnlockAnswerView is the answer to /unlock.
type UnlockAnswerView struct {
	Environment string
	Released    *operation.Operation // whose hold was released; nil if nothing was held
	Confirmed   string               // login of who confirmed that; empty: nobody but By
	Alive       *operation.Operation // that is known to run, so that its hold was kept; nil if none
	Number      int                  // the pull request or issue that it was asked in; 0: in none
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
