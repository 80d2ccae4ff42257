package git

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
)

// Clone is somebody's own clone of a repository, which is only read and never fetched.
type Clone struct{ dir string }

// OpenClone opens the clone in or above a directory.
func OpenClone(ctx context.Context, dir string) (Clone, error) {
	clone := Clone{dir}
	if _, err := clone.run(ctx, "rev-parse", "--git-dir"); err != nil {
		return Clone{}, fmt.Errorf("%s is not in a clone of a repository: %w", dir, err)
	}
	return clone, nil
}

// Has reports whether the clone has a commit.
func (c Clone) Has(ctx context.Context, commit string) (bool, error) {
	if !isObject(commit) {
		return false, nil
	}
	return c.run(ctx, "cat-file", "-e", commit+"^{commit}")
}

// Contains reports whether a commit has another one in its history. Both must be in the clone.
func (c Clone) Contains(ctx context.Context, commit, other string) (bool, error) {
	if !isObject(commit) || !isObject(other) {
		return false, fmt.Errorf("%q and %q are not full names of commits", commit, other)
	}
	return c.run(ctx, "merge-base", "--is-ancestor", other, commit)
}

// run reports whether git says yes; what it says beyond no is an error.
func (c Clone) run(ctx context.Context, args ...string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, localLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", c.dir}, args...)...) //nolint:gosec // no shell, and objects are checked
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "GIT_TERMINAL_PROMPT=0", "GIT_NO_LAZY_FETCH=1", "LC_ALL=C"}
	stderr := &limited{max: maxErrorText, cut: true}
	cmd.Stderr = stderr
	err := cmd.Run()
	exit := (*exec.ExitError)(nil)
	switch {
	case err == nil:
		return true, nil
	case errors.As(err, &exit) && exit.ExitCode() == 1 || args[0] == "cat-file" && errors.As(err, &exit):
		return false, nil
	default:
		return false, &CommandError{Command: args[0], Code: cmd.ProcessState.ExitCode(), Text: stderr.String(), Err: err}
	}
}
