// Package platform has what operating systems, and programs on them, do differently: locks on files, groups of processes and signals
// to them, room on disks, trust in certificates.
// Rooms that start processes or keep files call it, so that none of them has build tags. It decides nothing, and starts nothing.
//
// On Windows a process that is killed leaves behind what it has started, and there are no sessions: see Sessions.
package platform

import "errors"

// ErrLocked is the error of a lock that another process has.
var ErrLocked = errors.New("another process has the lock")
