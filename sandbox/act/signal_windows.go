package act

import (
	"os"
	"syscall"
)

// group has a process lead a group of its own.
func group() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{CreationFlags: syscall.CREATE_NEW_PROCESS_GROUP}
}

// signal ends a process: Windows has no gentle way to tell one that is not on our console.
func signal(pid int, _ syscall.Signal) {
	if process, err := os.FindProcess(pid); err == nil {
		_ = process.Kill() // it may have ended
	}
}
