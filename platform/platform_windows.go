package platform

import (
	"errors"
	"fmt"
	"math"
	"os"
	"syscall"

	"golang.org/x/sys/windows"
)

// Flags for opening files that others may have put in their place. Windows has neither; who may write into a job's workspace there runs as
// the same user anyway.
const (
	NoFollow = 0
	NonBlock = 0
)

// Sessions says that a process can be started so that it outlives its parent, with files that it inherits.
const Sessions = false

// Lock takes an exclusive lock on a file at once, or fails with ErrLocked. The system drops it when the process dies.
// https://learn.microsoft.com/en-us/windows/win32/api/fileapi/nf-fileapi-lockfileex
func Lock(file *os.File) error { return lock(file, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// Unlock does nothing: the system drops the lock when the file is closed, and processes that are started do not have it.
func Unlock(*os.File) error { return nil }

// LockShared takes a lock that others may share at once, or fails with ErrLocked.
func LockShared(file *os.File) error { return lock(file, 0) }

// lock locks one byte far behind the end of the file: others may still read and write what is in it.
func lock(file *os.File, how uint32) error {
	at := windows.Overlapped{Offset: math.MaxUint32, OffsetHigh: math.MaxInt32}
	err := windows.LockFileEx(windows.Handle(file.Fd()), how|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return ErrLocked
	}
	if err != nil {
		return fmt.Errorf("LockFileEx: %w", err)
	}
	return nil
}

// Group starts a process in a group of its own: Ctrl-C does not reach it, and ours do.
func Group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: windows.CREATE_NEW_PROCESS_GROUP}
}

// Session is Group: see Sessions.
func Session() *syscall.SysProcAttr { return Group() }

// SignalGroup asks the group that a process leads to stop, or ends the process at once if the signal is SIGKILL. Programs made with Go,
// as Terraform is, take CTRL_BREAK for an interrupt. https://pkg.go.dev/os/signal#hdr-Windows
func SignalGroup(leader int, signal syscall.Signal) error {
	if signal == syscall.SIGKILL {
		return Kill(leader)
	}
	if err := windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(leader)); err != nil { //nolint:gosec // a process id
		return fmt.Errorf("GenerateConsoleCtrlEvent: %w", err)
	}
	return nil
}

// Kill ends one process at once.
func Kill(process int) error {
	found, err := os.FindProcess(process)
	if err != nil {
		return fmt.Errorf("find process: %w", err)
	}
	return found.Kill() //nolint:wrapcheck // os/exec reads it
}

// FreeRoom is what is free for this user on the disk of a directory, in bytes.
// https://learn.microsoft.com/en-us/windows/win32/api/fileapi/nf-fileapi-getdiskfreespaceexw
func FreeRoom(dir string) (int64, error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, fmt.Errorf("directory %q: %w", dir, err)
	}
	var free uint64
	if err := windows.GetDiskFreeSpaceEx(name, &free, nil, nil); err != nil {
		return 0, fmt.Errorf("GetDiskFreeSpaceEx: %w", err)
	}
	return int64(min(free, math.MaxInt64)), nil
}

// IsReadOnly is not known on Windows: its modes say nothing about other users.
func IsReadOnly(string) (bool, error) { return false, errors.ErrUnsupported }

// Owner is not known.
func Owner(os.FileInfo) (user int, known bool) { return 0, false }

// KeepToOurselves does nothing: on Windows a process inherits only what it is given.
func KeepToOurselves() {}
