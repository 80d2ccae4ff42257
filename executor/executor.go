// Package executor says what every executor offers: it starts the runner for one attempt of one operation and
// hands back the result. deploy calls it. An executor decides nothing about operations and never starts one attempt twice.
package executor

import (
	"context"
	"errors"

	"github.com/switchyard-dev/switchyard/operation"
)

// Executor starts operations.
type Executor interface {
	// Start begins one attempt. It may wait for room, until ctx ends; the attempt itself outlives ctx.
	Start(ctx context.Context, task operation.Task) (Run, error)
	// Resume finds an attempt that an earlier process of the server started: it may still run, or have left its result.
	// launch is that of its task: a database that was restored gives numbers out twice. An attempt that was never started
	// gives ErrUnknown.
	Resume(ctx context.Context, operationID int64, attempt int, launch string) (Run, error)
	// Kill ends at once whatever still runs of an attempt, its runner too. It is for what nothing else ends any more.
	Kill(ctx context.Context, operationID int64, attempt int, launch string) error
}

// Run is one attempt that was started.
type Run interface {
	// Wait gives the result once there is one. When the attempt ended without, the error is an *InterruptedError.
	// When ctx ends first, the attempt goes on and Wait may be called again.
	Wait(ctx context.Context) (operation.Result, error)
	// Stop asks the attempt to end gently, so that Terraform releases its lock. It does not wait. More calls change nothing.
	Stop()
}

// Teller is a Run that knows where it waits and what it does.
type Teller interface {
	// Tell has say called, while somebody waits for the result, whenever there is something else to say than before.
	Tell(say func(ctx context.Context))
}

// ErrStarted is returned for an attempt that was started before.
var ErrStarted = errors.New("this attempt was started before")

// ErrUnknown is returned for an attempt that was never started here.
var ErrUnknown = errors.New("this attempt was never started here")

// InterruptedError is an attempt that left no result: whether it changed anything is not known.
type InterruptedError struct {
	Reason  string // one line, e.g. "signal: killed"
	Log     string // the end of what the runner said
	Running bool   // something that it started, as a rule Terraform, is still running

	Untouched bool // nothing of it began: it has changed nothing
	Cancelled bool // somebody ended it
	Words     bool // Reason is a sentence or two for people
}

// Error is for logs and people.
func (e *InterruptedError) Error() string { return "no result: interrupted: " + e.Reason }
