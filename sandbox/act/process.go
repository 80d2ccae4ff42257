package act

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// How GitHub's runner ends the step of a cancelled job: SIGINT to the process that it started, SIGTERM to it after 7.5 s,
// and after 2.5 s more all its processes are killed. Steps that run `if: always()` have five minutes.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation
const (
	interruptWait = 7500 * time.Millisecond
	terminateWait = 2500 * time.Millisecond
	cancelledWait = 5 * time.Minute
	look          = 2 * time.Millisecond
)

// isolate has act lead a process group, so that a signal to this program does not reach it.
func isolate(cmd *exec.Cmd) {
	cmd.SysProcAttr = group()
}

// stop waits until the job has ended, or ends it when it is cancelled. It reports whether it did.
func stop(ctx context.Context, pid int, job *sandbox.Job, ended <-chan struct{}) bool {
	select {
	case <-ended:
		return false
	case <-ctx.Done():
		killAll(pid)
		return true
	case <-job.Cancelled:
	}
	if ctx.Err() != nil {
		killAll(pid)
		return true
	}
	for _, child := range children(pid) {
		signal(child, syscall.SIGINT)
		if !gone(ctx, child, interruptWait, ended) {
			signal(child, syscall.SIGTERM)
			if !gone(ctx, child, terminateWait, ended) {
				killAll(child)
			}
		}
	}
	if ctx.Err() == nil {
		// Now act: what still has to run runs. On a busy machine it may have begun a step with `if: failure()` by now, which GitHub's does not.
		signal(pid, syscall.SIGINT)
	}
	select {
	case <-ended:
	case <-ctx.Done():
		killAll(pid)
	case <-after(cancelledWait):
		killAll(pid)
	}
	return true
}

// after is a timer on the machine's clock, which is the one that processes live by.
func after(d time.Duration) <-chan time.Time {
	return time.NewTimer(d).C
}

// gone reports whether a process ends in time.
func gone(ctx context.Context, pid int, within time.Duration, ended <-chan struct{}) bool {
	deadline := after(within)
	for {
		if state(pid) == "" {
			return true
		}
		select {
		case <-after(look):
		case <-ended:
			return true
		case <-ctx.Done():
			return true
		case <-deadline:
			return false
		}
	}
}

// state is the state letter of a process; empty when it is gone or only waits to be reaped.
func state(pid int) string {
	fields := status(pid)
	if len(fields) == 0 || fields[0] == "Z" || fields[0] == "X" {
		return ""
	}
	return fields[0]
}

// status are the fields of /proc/PID/stat behind the name, which may have blanks.
func status(pid int) []string {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return nil
	}
	_, rest, _ := strings.Cut(string(raw), ") ")
	return strings.Fields(rest)
}

// children are the processes that another one started and that still run.
func children(pid int) []int {
	var all []int
	for _, candidate := range processes() {
		fields := status(candidate)
		if len(fields) > 1 && fields[1] == strconv.Itoa(pid) && fields[0] != "Z" {
			all = append(all, candidate)
		}
	}
	return all
}

func processes() []int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var all []int
	for _, entry := range entries {
		if pid, err := strconv.Atoi(entry.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// killAll kills a process and all that it started. A parent is killed before its children, so that it starts no more.
func killAll(pid int) {
	below := children(pid)
	signal(pid, syscall.SIGKILL)
	for _, child := range below {
		killAll(child)
	}
}

// sweep kills what a job left running, as GitHub's runner does: processes that carry the job's tracking id.
func sweep(job *sandbox.Job) {
	mark := "RUNNER_TRACKING_ID=" + job.Environment["RUNNER_TRACKING_ID"]
	for _, pid := range processes() {
		raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "environ"))
		if err != nil {
			continue
		}
		for variable := range strings.SplitSeq(string(raw), "\x00") {
			if variable == mark && pid != os.Getpid() {
				signal(pid, syscall.SIGKILL)
			}
		}
	}
}
