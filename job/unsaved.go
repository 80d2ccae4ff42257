package job

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/operation"
)

// inputRecipient is the age recipient of states that could not be saved. It is an input of the workflow file and no part of the task: who
// dispatches a run must not choose who can read a state.
const inputRecipient = "age-recipient"

// unsaved is the file that such a state is encrypted to.
func (p Parts) unsaved() string { return filepath.Join(p.dir(), "unsaved", operation.UnsavedFile) }

// keepUnsaved tells a task what is done with a state that Terraform cannot save. What an earlier job has left in its place is removed.
func (p Parts) keepUnsaved(task *operation.Task) error {
	task.Recipient, task.UnsavedTo = p.Env.input(inputRecipient), p.unsaved()
	task.Passing = p.Env.input(inputDirectories) == "" // GitHub's runner empties RUNNER_TEMP
	dir := filepath.Dir(task.UnsavedTo)
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove what an earlier job left: %w", err)
	}
	const mode = 0o700
	if err := os.MkdirAll(dir, mode); err != nil {
		return fmt.Errorf("make a directory for a state that cannot be saved: %w", err)
	}
	return nil
}

// moveUnsaved puts an encrypted state beside the result, from where the next step uploads it, and gives the name of the artifact; empty
// where there is none. That it cannot be put there is said in the log, and is no reason to leave no result.
func (p Parts) moveUnsaved(dir string, result operation.Result) string {
	artifact := ""
	for _, target := range result.Targets {
		if target.Unsaved != nil && target.Unsaved.Kept == operation.KeptArtifact {
			artifact = target.Unsaved.Place
		}
	}
	if artifact == "" {
		return ""
	}
	if err := copyFile(filepath.Join(dir, operation.UnsavedFile), p.unsaved()); err != nil {
		p.note("error", fmt.Sprintf("The state that could not be saved is encrypted in %s on this machine, and in no artifact: %v",
			p.unsaved(), err))
		return ""
	}
	return artifact
}

func copyFile(name, source string) (err error) {
	from, err := os.Open(source) //nolint:gosec // a path of ours
	if err != nil {
		return fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	// The next step may run as somebody else: a container's user is root.
	to, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644) //nolint:gosec // it is encrypted
	if err != nil {
		return fmt.Errorf("make: %w", err)
	}
	_, err = io.Copy(to, from)
	if err := errors.Join(err, to.Close()); err != nil {
		return fmt.Errorf("copy: %w", err)
	}
	return nil
}
