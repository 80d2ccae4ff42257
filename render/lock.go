package render

import (
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Life says whether the holder of a lock still works.
type Life string

// The lives of a holder.
const (
	Alive   Life = "alive"
	Dead    Life = "dead"
	Unknown Life = "unknown" // it may work: nothing that can be asked tells
)

// LockHolder is who holds the lock of one target, as far as that can be told.
type LockHolder struct {
	Operation *operation.Operation // ours; nil: of somebody outside Switchyard, or not known
	Run       RunView              // its workflow run, where it has one
	Machine   string               // the name of the host that it runs on, where it is known to run there; else empty
	Life      Life
	Because   string // how that is known: one sentence of plain text
	// Lock is the id of the lock that Operation was breaking when it ended: it had taken that over, and cleared its description. Breaking
	// it goes on under that id. Empty: Operation took the lock to change the state, or none is known.
	Lock string
}

// LockedTarget is what was found of the lock of one target.
type LockedTarget struct {
	Target operation.Target
	Found  *operation.StateLock // nil: it could not be looked at
	Error  string               // why not; plain text
	Holder LockHolder           // where Found.Lease is held
}

// LockVerdict is what follows from what was found.
type LockVerdict string

// The verdicts about a lock.
const (
	LockNothing  LockVerdict = "nothing"   // no lock is held
	LockHarmless LockVerdict = "harmless"  // what is left of it holds nothing up: broken already, or a file of a local backend
	LockAlive    LockVerdict = "alive"     // its holder works
	LockOther    LockVerdict = "other"     // it is not the lock that was named
	LockSeveral  LockVerdict = "several"   // more than one target is locked, and none was named
	LockReason   LockVerdict = "reason"    // a reason is asked for and none was given
	LockFailed   LockVerdict = "failed"    // it could not be looked at
	LockAsk      LockVerdict = "ask"       // it may be broken, when somebody confirms
	LockHeldHere LockVerdict = "held-here" // an operation of ours that may live has the environment: /unlock or /cancel comes first
)

// LockView is the answer to /break-lease once the locks were looked at.
type LockView struct {
	Repository  operation.Repository
	WebURL      string
	Environment string
	By          string   // who asked
	Named       string   // the lock id that was named
	Reason      string   // why, in the words of By; empty: none was given
	Number      int      // the pull request or issue that it was asked in; 0: in none
	Mask        []string // as in PullView
	Now         time.Time

	Looking bool // the locks are being looked at: nothing is known yet
	Run     RunView
	Verdict LockVerdict
	Targets []LockedTarget       // that were looked at
	Chosen  int                  // index of the one that the verdict is about; -1: none in particular
	Holder  *operation.Operation // LockHeldHere: that has the hold

	Code    string    // LockAsk: what has to be confirmed
	Two     bool      // LockAsk: by another person than By
	Why     []string  // LockAsk: why two are asked, sentences
	Until   time.Time // LockAsk: until when
	Command string    // what the person writes next, without quotes; empty: nothing
}

// LockReportView is what the breaking of a lock came to.
type LockReportView struct {
	Repository operation.Repository
	WebURL     string
	Operation  operation.Operation // break-lease, with its result where it has ended
	Run        RunView
	Mask       []string // as in PullView
	Now        time.Time
	Hold       *operation.Operation    // that has the environment while Operation waits for it; nil: none
	HoldOf     Life                    // of Hold
	Dead       *operation.Operation    // that held it, where it was ours
	Artifact   *operation.ErroredState // a state that it could not save, in an artifact of its run; nil: none
}

// ConfirmKind is what became of a /confirm.
type ConfirmKind string

// The answers to /confirm.
const (
	ConfirmUnknown ConfirmKind = "unknown" // nothing asks for that code
	ConfirmExpired ConfirmKind = "expired"
	ConfirmTaken   ConfirmKind = "taken"  // somebody confirmed it before
	ConfirmSelf    ConfirmKind = "self"   // another person has to
	ConfirmRights  ConfirmKind = "rights" // who may give the command that is confirmed may confirm it
)

// ConfirmView is the answer to a /confirm that does nothing.
type ConfirmView struct {
	Kind    ConfirmKind
	Code    string
	Command string    // that the code belongs to, for example "break-lease"
	Again   string    // what to write to get a new code: "/break-lease prod src/terraform"
	Needs   string    // ConfirmRights: which permission or team
	Asked   string    // ConfirmSelf: who asked
	By      string    // ConfirmTaken: who confirmed
	At      time.Time // ConfirmExpired: when
	Now     time.Time
}

// UnlockAskView is the answer to /unlock before it is confirmed.
type UnlockAskView struct {
	Environment string
	By          string
	Now         time.Time
	Holder      operation.Operation
	Run         RunView
	Life        Life   // Dead or Unknown
	Because     string // how that is known: one sentence of plain text
	Code        string
	Two         bool
	Until       time.Time
}
