//go:build unix

package platform

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// Flags for opening files that others may have put in their place.
const (
	NoFollow = unix.O_NOFOLLOW // a symbolic link is an error
	NonBlock = unix.O_NONBLOCK // a pipe that nobody writes to is no reason to wait
)

// Sessions says that a process can be started so that it outlives its parent, with files that it inherits.
const Sessions = true

// Lock takes an exclusive lock on a file at once, or fails with ErrLocked. The kernel drops it when the last of those dies who
// have the file open. https://man7.org/linux/man-pages/man2/flock.2.html
func Lock(file *os.File) error { return flock(file, unix.LOCK_EX) }

// LockShared takes a lock that others may share at once, or fails with ErrLocked.
func LockShared(file *os.File) error { return flock(file, unix.LOCK_SH) }

// Unlock drops a lock at once. Without it, the lock of a file that was closed lives on for as long as a process takes to start that was
// being started meanwhile: until its program is loaded, it has all our files.
func Unlock(file *os.File) error { return flock(file, unix.LOCK_UN) }

func flock(file *os.File, how int) error {
	for {
		err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case errors.Is(err, unix.EWOULDBLOCK):
			return ErrLocked
		case !errors.Is(err, unix.EINTR):
			return fmt.Errorf("flock: %w", err)
		}
	}
}

// Group starts a process in a group of its own: signals from the terminal do not reach it, and ours reach all of it.
func Group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// Session starts a process in a session of its own, which is a group too: it outlives us and our terminal.
func Session() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setsid: true} }

// SignalGroup sends a signal to the group that a process leads.
func SignalGroup(leader int, signal syscall.Signal) error {
	return syscall.Kill(-leader, signal) //nolint:wrapcheck // os/exec reads it
}

// Kill ends one process at once.
func Kill(process int) error {
	return syscall.Kill(process, syscall.SIGKILL) //nolint:wrapcheck // os/exec reads it
}

// FreeRoom is what is free for this user on the disk of a directory, in bytes.
// https://man7.org/linux/man-pages/man2/statfs.2.html
func FreeRoom(dir string) (int64, error) {
	var stat unix.Statfs_t
	if err := unix.Statfs(dir, &stat); err != nil {
		return 0, fmt.Errorf("statfs: %w", err)
	}
	return int64(stat.Bavail) * int64(stat.Bsize), nil //nolint:gosec,unconvert // no disk is that large; the types differ between systems
}

// IsReadOnly reports whether a file is on a file system that is mounted so.
func IsReadOnly(name string) (bool, error) {
	var mount unix.Statfs_t
	if err := unix.Statfs(name, &mount); err != nil {
		return false, fmt.Errorf("statfs: %w", err)
	}
	return int64(mount.Flags)&readOnlyMount != 0, nil //nolint:unconvert // the types differ between systems
}

// Owner is the user whose file this is; false where the system does not say.
func Owner(info os.FileInfo) (user int, known bool) {
	status, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return 0, false
	}
	return int(status.Uid), true
}

// mostInherited bounds the descriptors that are looked at one by one; who starts us passes on one.
const mostInherited = 64

// closeEach has processes that we start inherit none of the first descriptors after the standard ones.
func closeEach() {
	const first = 3
	for fd := first; fd < mostInherited; fd++ {
		syscall.CloseOnExec(fd)
	}
}
