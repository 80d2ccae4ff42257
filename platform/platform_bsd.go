//go:build unix && !linux

package platform

import "golang.org/x/sys/unix"

const readOnlyMount = unix.MNT_RDONLY

// KeepToOurselves has processes that we start inherit nothing of what we were started with, beside the three standard files.
func KeepToOurselves() { closeEach() }
