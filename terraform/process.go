package terraform

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/platform"
)

// drainTime is how long output is still read after Terraform itself has ended: something that it started may hold its pipes open.
const drainTime = 2 * time.Second

// Error is a Terraform process that did not end well.
type Error struct {
	Command string              // e.g. "plan"
	Code    int                 // exit status; -1 when a signal ended it or it never started
	Output  string              // what it said: head and tail, without colours and control characters
	Stopped error               // why we stopped it; nil when we did not
	Lock    *operation.LockInfo // set when somebody else holds the state lock
	Err     error               // what the operating system said
}

// Error is one line for logs; Output is for people.
func (e *Error) Error() string {
	switch {
	case e.Stopped != nil:
		return fmt.Sprintf("terraform %s: stopped: %v", e.Command, e.Stopped)
	case e.Lock != nil:
		return fmt.Sprintf("terraform %s: the state is locked by %s", e.Command, e.Lock.Who)
	default:
		return fmt.Sprintf("terraform %s: %v", e.Command, e.Err)
	}
}

// Unwrap gives both why it was stopped and what the operating system said.
func (e *Error) Unwrap() []error {
	causes := make([]error, 0, 2) //nolint:mnd // the two below
	for _, err := range []error{e.Stopped, e.Err} {
		if err != nil {
			causes = append(causes, err)
		}
	}
	return causes
}

// Killed is the signal that ended the process, in the operating system's words: "killed"; empty when none did. One that died of our
// closing what it wrote to was not killed.
func (e *Error) Killed() string {
	exit, ok := errors.AsType[*exec.ExitError](e.Err)
	if !ok || exit.ExitCode() >= 0 {
		return ""
	}
	signal, _ := strings.CutPrefix(exit.String(), "signal: ")
	if strings.HasPrefix(signal, syscall.SIGPIPE.String()) {
		return ""
	}
	return signal
}

// LeftAtOnce reports whether the process was told twice to stop, on which it leaves without having saved anything.
// https://github.com/hashicorp/terraform/blob/v1.11.4/internal/command/views/operation.go
func (e *Error) LeftAtOnce() bool { return strings.Contains(e.Output, "Two interrupts received") }

// MayKeepLock reports whether the process ended without having given back the state lock that it may have had.
func (e *Error) MayKeepLock() bool {
	return e.Killed() != "" || e.LeftAtOnce() || strings.Contains(e.Output, "Error releasing the state lock")
}

// command is one process to run.
type command struct {
	args   []string
	dir    string
	env    []string  // beside the tool's
	write  []string  // paths that it may write to beside the tool's
	stdout io.Writer // nil: kept for messages
	file   *os.File  // when set, takes both outputs
}

// run starts a process in a group of its own, waits for it and stops it gently when ctx ends: SIGINT once, on
// which Terraform finishes what it has begun and releases its lock (a second one would make it leave at once),
// and SIGKILL to what is left of the group after the grace.
func (t Tool) run(ctx context.Context, c command) error {
	if ctx.Err() != nil {
		return &Error{Command: c.args[0], Code: -1, Stopped: context.Cause(ctx)}
	}
	var stdout, stderr bounded
	cmd := exec.CommandContext(context.WithoutCancel(ctx), t.Path, c.args...) //nolint:gosec // argv of ours, no shell
	cmd.Dir = c.dir
	cmd.Env = append(append([]string{}, t.Env...), c.env...)
	cmd.SysProcAttr = platform.Group()
	cmd.WaitDelay = drainTime
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if c.stdout != nil {
		cmd.Stdout = c.stdout
	}
	if c.file != nil {
		cmd.Stdout, cmd.Stderr = c.file, c.file
	}
	if err := t.start(cmd, c.write); err != nil {
		return &Error{Command: c.args[0], Code: -1, Err: err, Output: err.Error()}
	}
	err := t.wait(ctx, cmd)
	if err == nil {
		return nil
	}
	result := &Error{Command: c.args[0], Code: cmd.ProcessState.ExitCode(), Err: err}
	if ctx.Err() != nil {
		result.Stopped = context.Cause(ctx)
	}
	if c.file != nil {
		stderr.readEnds(c.file)
	}
	result.Output = Clean(stderr.String())
	if strings.TrimSpace(result.Output) == "" {
		result.Output = Clean(stdout.String())
	}
	result.Lock = ParseLock(result.Output)
	return result
}

// start starts cmd with no more rights than it is to have.
func (t Tool) start(cmd *exec.Cmd, write []string) error {
	if t.Confine == nil {
		return cmd.Start() //nolint:wrapcheck // the caller wraps it
	}
	return t.Confine.With(write...).Start(cmd) //nolint:wrapcheck // the caller wraps it
}

// wait waits for the end of cmd and of its group.
func (t Tool) wait(ctx context.Context, cmd *exec.Cmd) error {
	ended, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		select {
		case <-ended:
			return
		case <-ctx.Done():
		}
		signalGroup(cmd, syscall.SIGINT)
		timer := time.NewTimer(t.grace())
		defer timer.Stop()
		select {
		case <-ended:
		case <-timer.C:
			signalGroup(cmd, syscall.SIGKILL)
		}
	}()
	err := cmd.Wait()
	close(ended)
	<-stopped
	signalGroup(cmd, syscall.SIGKILL) // what Terraform has left behind; nothing, as a rule
	if errors.Is(err, exec.ErrWaitDelay) {
		return nil // it ended well; only something it left behind held its output open
	}
	if err != nil {
		return fmt.Errorf("wait: %w", err)
	}
	return nil
}

// grace is how long a process may take to stop.
func (t Tool) grace() time.Duration {
	if t.StopGrace <= 0 {
		return DefaultStopGrace
	}
	return t.StopGrace
}

// signalGroup sends a signal to the whole group; that the group is gone is no error.
func signalGroup(cmd *exec.Cmd, signal syscall.Signal) {
	_ = platform.SignalGroup(cmd.Process.Pid, signal)
}
