//go:build !linux

package pgtest

import (
	"syscall"

	"github.com/switchyard-dev/switchyard/platform"
)

// rights are those of any process: elsewhere a test that is killed leaves its server running.
func rights(bool) *syscall.SysProcAttr { return platform.Group() }
