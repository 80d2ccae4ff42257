package confine

import (
	"errors"
	"fmt"
	"io/fs"
	"os/exec"
	"runtime"

	"golang.org/x/sys/unix"
)

// Start starts cmd, confined, as cmd.Start would. Whatever cannot be enforced is an error, and nothing is started.
//
// What confines is a property of a thread, and a child inherits it from the thread that starts it. So a thread is made for
// each start, gives up its rights, starts the program and ends. No second program stands between us and the child.
func (p Policy) Start(cmd *exec.Cmd) error {
	version := landlockVersion()
	if err := require(version, p.Accepted); err != nil {
		return err
	}
	rules := -1
	if version > 0 {
		var err error
		if rules, err = p.ruleset(version); err != nil {
			return err
		}
		defer func() { _ = unix.Close(rules) }() // nothing is written to it
	}
	return start(cmd, rules)
}

// start starts cmd on a thread of its own; rules below 0 are none.
func start(cmd *exec.Cmd, rules int) error {
	failed := make(chan error, 1)
	go onOwnThread(func() {
		err := giveUp(rules)
		if err == nil {
			err = cmd.Start()
		}
		failed <- err
	})
	return <-failed
}

// onOwnThread calls do on a thread that ends afterwards. The process's first thread cannot end, so it is never used:
// the child would be in one domain with it, and could look into our memory.
func onOwnThread(do func()) {
	runtime.LockOSThread() // never unlocked: the thread ends with this goroutine
	if unix.Gettid() != unix.Getpid() {
		do()
		return
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		onOwnThread(do)
	}()
	<-done
	runtime.UnlockOSThread()
}

// giveUp takes from this thread, for good, what the child must not have: gaining rights by executing a file, the files
// outside of the rules, and all capabilities. Root without capabilities cannot look into processes outside of its domain;
// with them it could: https://man7.org/linux/man-pages/man7/capabilities.7.html (CAP_PERFMON, CAP_SYS_ADMIN).
func giveUp(rules int) error {
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("give up gaining rights: %w", err)
	}
	if rules >= 0 {
		if err := restrictThread(rules); err != nil {
			return fmt.Errorf("restrict by Landlock: %w", err)
		}
	}
	for capability := uintptr(0); ; capability++ {
		err := unix.Prctl(unix.PR_CAPBSET_DROP, capability, 0, 0, 0)
		if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.EPERM) { // beyond the last one, or there is nothing to give up
			break
		}
		if err != nil {
			return fmt.Errorf("give up capability %d for programs that are started: %w", capability, err)
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3} // of this thread
	var none [2]unix.CapUserData
	if err := unix.Capset(&header, &none[0]); err != nil {
		return fmt.Errorf("give up capabilities: %w", err)
	}
	return nil
}

// Rights on files, https://docs.kernel.org/userspace-api/landlock.html#filesystem-flags.
const (
	readRights = unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR |
		unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
	writeRights = readRights | sinkRights | unix.LANDLOCK_ACCESS_FS_REFER |
		unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SOCK |
		unix.LANDLOCK_ACCESS_FS_MAKE_FIFO | unix.LANDLOCK_ACCESS_FS_MAKE_SYM
	sinkRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_WRITE_FILE | unix.LANDLOCK_ACCESS_FS_TRUNCATE
	// fileRights are those that mean something for what is not a directory; the kernel refuses others.
	fileRights = sinkRights | unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_IOCTL_DEV | unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX
)

// handled are all rights that a version knows: what is handled and not given is refused.
func handled(version int) unix.LandlockRulesetAttr {
	const refer, truncate, ioctl, scope, resolve = 2, 3, 5, 6, 9
	rights := uint64(unix.LANDLOCK_ACCESS_FS_REFER - 1)
	for _, right := range []struct {
		since int
		right uint64
	}{
		{refer, unix.LANDLOCK_ACCESS_FS_REFER},
		{truncate, unix.LANDLOCK_ACCESS_FS_TRUNCATE},
		{ioctl, unix.LANDLOCK_ACCESS_FS_IOCTL_DEV},
		{resolve, unix.LANDLOCK_ACCESS_FS_RESOLVE_UNIX},
	} {
		if version >= right.since {
			rights |= right.right
		}
	}
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rights}
	if version >= scope {
		attr.Scoped = unix.LANDLOCK_SCOPE_SIGNAL | unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET
	}
	return attr
}

// ruleset makes the rules of a policy. The caller closes them.
func (p Policy) ruleset(version int) (fd int, err error) {
	attr := handled(version)
	if fd, err = createRuleset(&attr); err != nil {
		return -1, fmt.Errorf("make Landlock's rules: %w", err)
	}
	defer func() {
		if err != nil {
			_ = unix.Close(fd) // nothing was written to it
		}
	}()
	for _, group := range []struct {
		paths    []string
		rights   uint64
		optional bool
	}{
		{system(), readRights, true},
		{sinks(), sinkRights, true},
		{p.Optional, readRights, true},
		{p.Read, readRights, false},
		{p.Write, writeRights, false},
	} {
		for _, path := range group.paths {
			err := allow(fd, path, group.rights&attr.Handled_access_fs)
			if group.optional && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission)) {
				continue
			}
			if err != nil {
				return -1, fmt.Errorf("allow %s: %w", path, err)
			}
		}
	}
	return fd, nil
}

// allow gives rights on one file or directory and all below it.
func allow(rules int, path string, rights uint64) error {
	file, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err //nolint:wrapcheck // the caller names the path
	}
	defer func() { _ = unix.Close(file) }() // opened for no access
	var stat unix.Stat_t
	if err := unix.Fstat(file, &stat); err != nil {
		return err //nolint:wrapcheck // the caller names the path
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFDIR {
		rights &= fileRights
	}
	return addPath(rules, &unix.LandlockPathBeneathAttr{Allowed_access: rights, Parent_fd: int32(file)}) //nolint:gosec // a descriptor
}

// HideProcess keeps other processes of the same user from this one's memory, environment and open files, also where
// there is no Landlock. Programs that are started afterwards are not hidden, and this one leaves no core dump.
// https://man7.org/linux/man-pages/man2/PR_SET_DUMPABLE.2const.html
func HideProcess() error {
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return fmt.Errorf("make the process undumpable: %w", err)
	}
	return nil
}
