package runner

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
)

// maxTaskSize bounds a task file, in bytes. It carries the expected changes of all targets.
const maxTaskSize = 64 << 20

// readTask reads a task file.
func readTask(name string) (task operation.Task, err error) {
	file, err := os.Open(name) //nolint:gosec // the path that the executor gave
	if err != nil {
		return operation.Task{}, fmt.Errorf("open task: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err := io.ReadAll(io.LimitReader(file, maxTaskSize+1))
	if err != nil {
		return operation.Task{}, fmt.Errorf("read task: %w", err)
	}
	if len(data) > maxTaskSize {
		return operation.Task{}, fmt.Errorf("read task: it is larger than %d bytes", maxTaskSize)
	}
	if err := json.Unmarshal(data, &task); err != nil {
		return operation.Task{}, fmt.Errorf("decode task: %w", err)
	}
	return task, nil
}

// objectName matches the full name of a git object.
// https://git-scm.com/docs/hash-function-transition
var objectName = regexp.MustCompile(`^([0-9a-f]{40}|[0-9a-f]{64})$`)

// kinds are the operations that a runner does.
func kinds() []operation.Kind {
	return []operation.Kind{operation.Plan, operation.Apply, operation.ExplainLock, operation.BreakLease}
}

// validate says what a runner cannot work with.
func validate(task operation.Task) error {
	switch {
	case task.Version != operation.ContractVersion:
		return fmt.Errorf("the task has version %d; this runner knows version %d: use the same release for server and runner",
			task.Version, operation.ContractVersion)
	case !slices.Contains(kinds(), task.Kind):
		return fmt.Errorf("the task has kind %q; this runner knows plan, apply, explain-lock and break-lease", task.Kind)
	case task.Kind == operation.BreakLease && (len(task.Targets) != 1 || task.Lock == nil):
		return errors.New("a break-lease has exactly one target, and says which lock is meant")
	case task.Died != "" && (!filepath.IsAbs(task.Died) || filepath.Clean(task.Died) == filepath.Clean(task.WorkDir)):
		return fmt.Errorf("the task's died %q must be an absolute path, and another one than work_dir", task.Died)
	case !objectName.MatchString(task.Tree):
		return fmt.Errorf("the task's tree %q is not the name of a git object", task.Tree)
	case !filepath.IsAbs(task.GitDir), !filepath.IsAbs(task.WorkDir), !filepath.IsAbs(task.Terraform.Path):
		return fmt.Errorf("git_dir %q, work_dir %q and terraform.path %q of the task must be absolute paths",
			task.GitDir, task.WorkDir, task.Terraform.Path)
	case filepath.Clean(task.WorkDir) == "/":
		return errors.New("the task's work_dir must not be the root directory")
	case task.CacheDir != "" && !filepath.IsAbs(task.CacheDir):
		return fmt.Errorf("the task's cache_dir %q must be an absolute path", task.CacheDir)
	case task.TimeLimit < 0 || task.LockTimeout < 0 || task.StopGrace < 0:
		return errors.New("the task has a negative duration")
	}
	if _, err := recipients(task.Recipient); err != nil {
		return err
	}
	return validateTargets(task.Targets)
}

// validateTargets says which targets a runner cannot work with.
func validateTargets(targets []operation.TargetTask) error {
	if len(targets) == 0 {
		return errors.New("the task has no target")
	}
	seen := map[operation.Target]bool{}
	for _, target := range targets {
		if seen[target.Target] {
			return fmt.Errorf("the task has target %q twice", target.Target)
		}
		seen[target.Target] = true
		if path.IsAbs(target.Dir) || !filepath.IsLocal(filepath.FromSlash(path.Clean(target.Dir))) {
			return fmt.Errorf("directory %q of target %q is not within the tree", target.Dir, target.Target)
		}
	}
	return nil
}
