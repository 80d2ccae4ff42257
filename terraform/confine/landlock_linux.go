package confine

import (
	"unsafe"

	"golang.org/x/sys/unix"
)

// The calls of Landlock. Libraries for it confine a whole program; ours must go on, so only one thread may be confined.
// https://docs.kernel.org/userspace-api/landlock.html#kernel-interface

// landlockVersion is the version that this kernel enforces; 0 when it enforces none.
func landlockVersion() int {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 {
		return 0
	}
	return int(version)
}

// createRuleset makes empty rules and gives their descriptor, which programs that are started do not inherit.
func createRuleset(attr *unix.LandlockRulesetAttr) (int, error) {
	fd, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET,
		uintptr(unsafe.Pointer(attr)), unsafe.Sizeof(*attr), 0) //nolint:gosec // the call takes an address
	if errno != 0 {
		return -1, errno //nolint:wrapcheck // the caller says what was tried
	}
	return int(fd), nil
}

// addPath allows something below an open file or directory.
func addPath(rules int, attr *unix.LandlockPathBeneathAttr) error {
	_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, uintptr(rules), unix.LANDLOCK_RULE_PATH_BENEATH,
		uintptr(unsafe.Pointer(attr)), 0, 0, 0) //nolint:gosec // the call takes an address
	if errno != 0 {
		return errno //nolint:wrapcheck // the caller names the path
	}
	return nil
}

// restrictThread holds this thread, and what it starts from now on, to the rules.
func restrictThread(rules int) error {
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, uintptr(rules), 0, 0); errno != 0 {
		return errno //nolint:wrapcheck // the caller says what was tried
	}
	return nil
}
