package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/platform"
)

// resumePoll is how often an attempt of an earlier process is looked at.
const resumePoll = 200 * time.Millisecond

// Resume finds an attempt that an earlier process of the server started: its runner may still be at work, or have left
// its result. An attempt that was never started gives executor.ErrUnknown: one without a directory, and one whose directory
// has no lock, which is made before the runner is started and stays.
func (l *Local) Resume(_ context.Context, operationID int64, number int, launch string) (executor.Run, error) {
	if launch != "" && !filepath.IsLocal(launch) {
		return nil, fmt.Errorf("operation %d, attempt %d, launch %q: %w", operationID, number, launch, executor.ErrUnknown)
	}
	dir := l.attemptDir(operationID, number, launch)
	if _, err := os.Stat(filepath.Join(dir, aliveFile)); err != nil {
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("operation %d, attempt %d: %w", operationID, number, executor.ErrUnknown)
		}
		return nil, fmt.Errorf("look for the attempt: %w", err)
	}
	return &resumed{attempt: attempt{dir: dir, operation: operationID, number: number, launch: launch}}, nil
}

// Kill kills every process of the session of an attempt.
func (l *Local) Kill(_ context.Context, operationID int64, number int, launch string) error {
	if launch != "" && !filepath.IsLocal(launch) {
		return fmt.Errorf("operation %d, attempt %d, launch %q: %w", operationID, number, launch, executor.ErrUnknown)
	}
	identity, err := readBounded(filepath.Join(l.attemptDir(operationID, number, launch), aliveFile), maxIdentity)
	if err != nil {
		return fmt.Errorf("read whose session it is: %w", err)
	}
	var session int
	if _, err := fmt.Sscanf(string(identity), "%d", &session); err == nil && session > 1 && sessionLives(string(identity)) {
		killSession(session)
	}
	return nil
}

// resumed is an attempt that another process started.
type resumed struct{ attempt }

// Wait gives the result, see executor.Run.
func (r *resumed) Wait(ctx context.Context) (operation.Result, error) {
	ticker := time.NewTicker(resumePoll)
	defer ticker.Stop()
	for running(r.dir) {
		if result, err := r.read(); err == nil {
			return result, nil
		}
		select {
		case <-ctx.Done():
			return operation.Result{}, fmt.Errorf("wait for operation %d: %w", r.operation, context.Cause(ctx))
		case <-ticker.C:
		}
	}
	_ = os.Remove(filepath.Join(r.dir, taskFile)) // it may hold values of Terraform's environment
	return r.result("the runner ended without a result while the server was away")
}

// Stop sends SIGINT to the runner, if it lives.
func (r *resumed) Stop() {
	if pid := r.runner(); pid > 0 {
		_ = platform.SignalGroup(pid, syscall.SIGINT) // that it is gone is no error
	}
}

// runner finds the process of the runner: the one that leads a session and was given our result file; 0 when it is gone.
func (r *resumed) runner() int {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return 0
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || sessionOf(pid) != pid {
			continue
		}
		argv, err := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		if err == nil && strings.Contains(string(argv), "\x00--result\x00"+filepath.Join(r.dir, resultFile)+"\x00") {
			return pid
		}
	}
	return 0
}
