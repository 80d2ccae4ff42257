package statelock

import "time"

// Hurry has no request repeated, and none waited for longer than that.
func Hurry(lock Lock, patience time.Duration) {
	switch lock := lock.(type) {
	case *State:
		lock.patience, lock.access.options.Retry.MaxRetries = patience, -1
	case *remote:
		lock.patience = patience
	}
}

// Ours is the id of a lease that was taken over.
var Ours = ours

// SummariseUpTo reads a state of so many bytes.
var SummariseUpTo = summariseUpTo
