package operation

import (
	"slices"
	"time"
)

// Evidence is what was found out for an attempt before its runner was started: the explanation of its
// changes rests on it, and it can be checked again later.
type Evidence struct {
	Before     map[string]string `json:"before,omitempty"`     // root → applied commit at that time; absent before the first apply
	Content    map[string]string `json:"content,omitempty"`    // root → hash of what its plan is made of, but for files of one environment
	Reviews    []Review          `json:"reviews,omitempty"`    // apply: the pull requests that it carries, in the order of their merges
	Promotions []Promotion       `json:"promotions,omitempty"` // apply: by root, then stage
	Doubt      string            `json:"doubt,omitempty"`      // apply: why a yes was needed whatever the plan said
	Doubts     Doubts            `json:"doubts,omitempty"`     // apply: the same one by one, also those that people had said yes to
	Config     string            `json:"config,omitempty"`     // apply: the commit whose configuration was in force
	Seconds    []Second          `json:"seconds,omitempty"`    // apply: second people's yes to what the configuration holds back
}

// Second is a second person's yes to a change that the configuration holds back.
type Second struct {
	Root string `json:"root"`
	Held Held   `json:"held"`
	Who  string `json:"who"`
}

// ApprovedBy lists who approved a change in a root, sorted, each once: on the pull requests of its cause, or as a second person
// where the configuration holds it back.
func (e Evidence) ApprovedBy(root string, change Change, cause *Cause) []string {
	var who []string
	for _, review := range e.Reviews {
		if cause != nil && slices.Contains(cause.Pulls, review.Pull) {
			who = append(who, review.Approved...)
		}
	}
	for _, second := range e.Seconds {
		if second.Root == root && second.Held.Address == change.Address && second.Held.Deposed == change.Deposed {
			who = append(who, second.Who)
		}
	}
	slices.Sort(who)
	return slices.Compact(who)
}

// Review is what people said about one pull request that an apply carries.
type Review struct {
	Pull     int      `json:"pull"`
	Plan     int64    `json:"plan,omitempty"`     // the operation whose changes they saw; 0: there is none
	Group    int64    `json:"group,omitempty"`    // the plan of its merge group; 0: there is none
	Head     string   `json:"head,omitempty"`     // the commit that was planned and merged
	Authors  []string `json:"authors,omitempty"`  // whose approvals do not count
	Approved []string `json:"approved,omitempty"` // logins
	Missing  string   `json:"missing,omitempty"`  // why its changes do not count as reviewed, one sentence; empty when they do
}

// Promotion is the proof that what an apply brings was applied in an earlier stage.
type Promotion struct {
	Root      string    `json:"root"`
	Stage     string    `json:"stage"`               // the environment that comes before
	Commit    string    `json:"commit,omitempty"`    // with which the same content was applied there; empty when it was not
	Operation int64     `json:"operation,omitempty"` // that applied it; 0 where Baseline
	At        time.Time `json:"at,omitzero"`         // of that apply; where Baseline, when the branch was first seen, if that is known
}

// Proven reports whether the content was applied in the stage.
func (p Promotion) Proven() bool { return p.Commit != "" }

// Baseline reports whether the proof is what was there when Switchyard first saw the stage's branch: somebody else has
// applied it, if anybody.
func (p Promotion) Baseline() bool { return p.Proven() && p.Operation == 0 }

// Entry is one change that an apply made, with why it was there and who said yes: a line of the ledger.
type Entry struct {
	ID          int64     `json:"id"` // rises with each entry
	At          time.Time `json:"at"`
	Repository  int64     `json:"repository"`
	Target      Target    `json:"target"`
	Operation   int64     `json:"operation"`
	Commit      string    `json:"commit"`
	Attempted   bool      `json:"attempted,omitempty"`    // the apply did not succeed: whether it made this change is not known
	Change      Change    `json:"change"`                 // with its cause
	ApprovedBy  []string  `json:"approved_by,omitempty"`  // see Evidence.ApprovedBy
	ConfirmedBy string    `json:"confirmed_by,omitempty"` // who said yes to it although nobody had reviewed it
}
