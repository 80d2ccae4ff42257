package confine //nolint:testpackage // gives tests what is ours

import "os/exec"

// StartWithoutLandlock starts cmd as a kernel without Landlock would.
func StartWithoutLandlock(cmd *exec.Cmd) error { return start(cmd, -1) }

// MissingIn and RequireIn answer for a kernel of another age.
var (
	MissingIn = missing
	RequireIn = require
)
