//go:build !linux

package confine

import (
	"fmt"
	"os/exec"
)

// landlockVersion is 0: there is no Landlock here.
func landlockVersion() int { return 0 }

// Start starts cmd where the policy accepts that nothing is enforced.
func (p Policy) Start(cmd *exec.Cmd) error {
	if err := Require(p.Accepted); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("start: %w", err)
	}
	return nil
}

// HideProcess does nothing here.
func HideProcess() error { return nil }
