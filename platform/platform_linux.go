package platform

import "golang.org/x/sys/unix"

const readOnlyMount = unix.ST_RDONLY

// KeepToOurselves has processes that we start inherit nothing of what we were started with, beside the three standard files.
// https://man7.org/linux/man-pages/man2/close_range.2.html
func KeepToOurselves() {
	const first, last = 3, 1<<32 - 1
	if unix.CloseRange(first, last, unix.CLOSE_RANGE_CLOEXEC) != nil { // before Linux 5.11
		closeEach()
	}
}
