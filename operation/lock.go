package operation

import "time"

// LeaseState is what the store that has a state says about its lock. Only LeaseHeld is locked, whatever is written beside it.
type LeaseState string

// The states of a lock. Azure calls it a lease: https://learn.microsoft.com/en-us/rest/api/storageservices/lease-blob
const (
	LeaseFree   LeaseState = "free"   // nobody holds it
	LeaseHeld   LeaseState = "held"   // somebody does
	LeaseBroken LeaseState = "broken" // it was broken; the next apply takes it
)

// StateLock is what was found of the state of one target and of its lock, at one moment.
type StateLock struct {
	Backend string     `json:"backend"`           // Terraform's type of it: azurerm, http, local
	Place   string     `json:"place"`             // account/container/key, an address without credentials, or a path
	Lease   LeaseState `json:"lease"`             // free where Missing
	Info    *LockInfo  `json:"info,omitempty"`    // what is written about the holder; nil: nothing. Stale unless Lease is held
	ETag    string     `json:"etag,omitempty"`    // of the state together with Info; empty where the store has none
	Missing string     `json:"missing,omitempty"` // "state" or "container": it is not there; empty: it is

	Size      int64     `json:"size"` // of the state, in bytes
	Modified  time.Time `json:"modified,omitzero"`
	Lineage   string    `json:"lineage,omitempty"` // of the state; empty where it could not be read
	Serial    int64     `json:"serial,omitempty"`
	Resources int       `json:"resources,omitempty"` // instances in the state
	Tainted   []string  `json:"tainted,omitempty"`   // addresses of those that the next apply replaces, sorted, capped

	Errored []ErroredState `json:"errored,omitempty"` // states that applies could not save, found beside it
	Notes   []string       `json:"notes,omitempty"`   // what could not be found out, one sentence each
}

// ErroredState is a state that an apply could not save, kept outside of the backend.
type ErroredState struct {
	Place    string    `json:"place"` // account/container/blob, a path, or the name of an artifact
	Lineage  string    `json:"lineage,omitempty"`
	Serial   int64     `json:"serial,omitempty"`
	Modified time.Time `json:"modified,omitzero"`
	Fits     bool      `json:"fits"`           // `state push` would take it: same lineage, later serial
	Why      string    `json:"why,omitempty"`  // why it does not fit, or why that is not known; one sentence
	Next     string    `json:"next,omitempty"` // the commands that bring it back, one a line; empty where it does not fit
}

// LockTask says which lock is to be broken: exactly the one that was explained.
type LockTask struct {
	ID   string `json:"id"`   // lock id; empty: the lock has no description
	ETag string `json:"etag"` // as it was explained

	Code    string `json:"code"`    // that the confirming comment has; it names all of the above
	Request int64  `json:"request"` // id of the comment that asked
	Reason  string `json:"reason,omitempty"`
	Two     bool   `json:"two,omitempty"` // another person than who asked has to confirm
}

// HowReleased is how a lock came to be free.
type HowReleased string

// The ways in which a lock comes to be free.
const (
	ReleasedTaken  HowReleased = "taken over"   // by its id, then released
	ReleasedBroken HowReleased = "broken"       // it had no description, so no id could be taken over
	ReleasedBefore HowReleased = "free already" // nothing had to be done
	ReleasedNot    HowReleased = ""             // it is still held, by whom Broken.Now says
)

// Broken is how far the breaking of a lock came. Each step that was done stays done, and all can be repeated.
type Broken struct {
	How      HowReleased `json:"how,omitempty"`
	Snapshot string      `json:"snapshot,omitempty"` // name of the copy that was made of the state before; empty: none
	NoCopy   string      `json:"no_copy,omitempty"`  // why there is none; one sentence
	Taken    bool        `json:"taken,omitempty"`    // the lock was ours
	Cleared  bool        `json:"cleared,omitempty"`  // what was written about the holder is gone
	Verified bool        `json:"verified,omitempty"` // it was taken and released once more
	Untried  string      `json:"untried,omitempty"`  // why that could not be tried, though the lock was released; one sentence
	// What an interrupted apply left behind, as a plan shows it afterwards. TargetResult.Drift has what -refresh-only found, and
	// TargetResult.ChangeSet all that a plan would do now.
	Made    []string `json:"made,omitempty"`    // addresses of TargetTask.Expected that no plan has any more: they were applied
	Left    []string `json:"left,omitempty"`    // those that the plan still has
	Problem string   `json:"problem,omitempty"` // why the plan, or a step before it, failed: Terraform's or the store's words, capped

	Now *StateLock `json:"now,omitempty"` // what was found afterwards, or instead of the lock that was meant
}

// LockRequest is what a person, or the watch over stuck locks, wants of locks.
type LockRequest struct {
	Comment int64  `json:"comment,omitempty"` // id of the comment that asked; 0: the watch
	Number  int    `json:"number,omitempty"`  // the issue or pull request that it is in
	ID      string `json:"id,omitempty"`      // the lock id that was named; empty: any
	Reason  string `json:"reason,omitempty"`  // why, in the person's words
	Of      int64  `json:"of,omitempty"`      // the operation that is taken for the holder; 0: none
	Watch   bool   `json:"watch,omitempty"`   // nobody asked: a lock may have been left behind

	Break  *LockTask `json:"break,omitempty"`   // of BreakLease
	By     string    `json:"by,omitempty"`      // of BreakLease: who confirmed
	Said   int64     `json:"said,omitempty"`    // of BreakLease: id of the confirming comment, which has the answer
	SaidIn int       `json:"said_in,omitempty"` // the issue or pull request that Said is in
}
