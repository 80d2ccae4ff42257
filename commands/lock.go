package commands

import (
	"crypto/sha256"
	"encoding/base32"
	"fmt"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// codeLength is how many characters a code has: 40 bits, so that nobody hits another one by mistake. It is no secret: who may
// confirm is decided by what GitHub says about the person.
const codeLength = 8

// codeAlphabet has no letter that looks like a figure. https://www.crockford.com/base32.html
const codeAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// LockSubject is what a yes to the breaking of a lock is a yes to.
type LockSubject struct {
	Repository  int64
	Environment string
	Root        string
	ID          string // of the lock
	ETag        string
	Request     int64 // the comment that asked
}

// Code names the subject so that people can say yes to exactly it, and so that a job can tell to what they did.
func (s LockSubject) Code() string {
	return codeOf("break-lease", strconv.FormatInt(s.Repository, 10), s.Environment, s.Root, s.ID, s.ETag, strconv.FormatInt(s.Request, 10))
}

// HoldCode names the hold of one attempt at an operation, as one comment asked about it.
func HoldCode(repository, operation int64, attempt int, request int64) string {
	return codeOf("unlock", strconv.FormatInt(repository, 10), strconv.FormatInt(operation, 10), strconv.Itoa(attempt),
		strconv.FormatInt(request, 10))
}

// codeOf hashes parts so that no two lists of parts are alike.
func codeOf(parts ...string) string {
	var whole strings.Builder
	for _, part := range parts {
		fmt.Fprintf(&whole, "%d:%s,", len(part), part)
	}
	sum := sha256.Sum256([]byte(whole.String()))
	return base32.NewEncoding(codeAlphabet).EncodeToString(sum[:])[:codeLength]
}

// LockFacts are what is known when somebody wants a lock broken.
type LockFacts struct {
	Targets []render.LockedTarget
	Named   string               // the lock id that the person named; empty: none
	Reason  string               // that the person gave
	Hold    *operation.Operation // that has the hold of the environment now; nil: nobody
	HoldOf  render.Life          // of Hold
}

// LockDecision is what follows.
type LockDecision struct {
	Verdict render.LockVerdict
	Chosen  int      // of LockFacts.Targets; -1: none in particular
	Two     bool     // another person has to confirm
	Why     []string // why, sentences
}

// DecideLock decides whether a lock may be broken, and by whose yes.
func DecideLock(cfg repoconfig.Config, environment string, f LockFacts) LockDecision {
	return LockDecision{Verdict: render.LockNothing, Chosen: -1}
}

// TwoForUnlock reports whether another person has to confirm that a hold is released, and why.
func TwoForUnlock(cfg repoconfig.Config, environment string, life render.Life) (bool, []string) {
	return life == render.Unknown, nil
}
