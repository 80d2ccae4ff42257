package pgtest

import "syscall"

// rights are those of a process that ends with the thread that starts it, and that is nobody's where its parent is root.
func rights(root bool) *syscall.SysProcAttr {
	rights := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGINT}
	if root {
		rights.Credential = &syscall.Credential{Uid: unprivileged, Gid: unprivileged}
	}
	return rights
}
