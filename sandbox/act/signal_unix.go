//go:build unix

package act

import "syscall"

// group has a process lead a group of its own.
func group() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// signal tells a process something; it may have ended.
func signal(pid int, what syscall.Signal) { _ = syscall.Kill(pid, what) }
