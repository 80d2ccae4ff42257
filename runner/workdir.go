package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/operation"
)

// workDir is the directory that a runner works in. Nothing of ours is inside of tree, so no file of the repository
// can stand where we write.
//
//	tree      the checkout, and nothing else
//	index     git's index of it
//	data      what Terraform calls .terraform, per target
//	kept      what init was done for, per target
//	plans     plan files and output, removed at the end
//	home      HOME of Terraform
//	errored   states that Terraform could not save: never removed
type workDir struct {
	dir    string // without symbolic links
	unlock func() error
}

// privateDir is the mode of all our directories.
const privateDir = 0o700

// openWorkDir makes the work directory and waits until no other runner uses it.
func openWorkDir(ctx context.Context, dir string) (*workDir, error) {
	if err := os.MkdirAll(dir, privateDir); err != nil {
		return nil, fmt.Errorf("make work directory: %w", err)
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return nil, fmt.Errorf("resolve work directory: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Join(resolved, "lock"))
	if err != nil {
		return nil, fmt.Errorf("take work directory: %w", err)
	}
	return &workDir{dir: resolved, unlock: unlock}, nil
}

// path gives the path of something of ours.
func (w *workDir) path(parts ...string) string {
	return filepath.Join(append([]string{w.dir}, parts...)...)
}

// tree is the checkout.
func (w *workDir) tree() string { return w.path("tree") }

// hasTree reports whether an earlier plan left a checkout that can be updated.
func (w *workDir) hasTree() bool {
	tree, treeErr := os.Lstat(w.tree())
	index, indexErr := os.Lstat(w.path("index"))
	return treeErr == nil && indexErr == nil && tree.IsDir() && index.Mode().IsRegular()
}

// clear removes everything but states that could not be saved.
func (w *workDir) clear() error {
	return w.remove("tree", "index", "index.lock", "data", "kept", "plans", "home")
}

// sweep removes what no later run may find: plan files hold secrets in clear.
func (w *workDir) sweep() error { return w.remove("plans", "home") }

// makeDirs makes the directories that each run needs. What is not a directory is made one.
func (w *workDir) makeDirs() error {
	for _, name := range []string{"data", "kept", "plans", "home"} {
		if info, err := os.Lstat(w.path(name)); err == nil && !info.IsDir() {
			if err := w.remove(name); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(w.path(name), privateDir); err != nil {
			return fmt.Errorf("make directory: %w", err)
		}
	}
	if err := os.WriteFile(w.configFile(), []byte("disable_checkpoint = true\n"), 0o600); err != nil {
		return fmt.Errorf("write Terraform's settings: %w", err)
	}
	return nil
}

// configFile is Terraform's CLI configuration, which keeps the machine's away.
// https://developer.hashicorp.com/terraform/cli/config/config-file
func (w *workDir) configFile() string { return w.path("home", "switchyard.tfrc") }

// remove removes trees, also those with directories that cannot be written to.
func (w *workDir) remove(names ...string) error {
	var all error
	for _, name := range names {
		if os.RemoveAll(w.path(name)) == nil {
			continue
		}
		_ = filepath.WalkDir(w.path(name), func(path string, entry fs.DirEntry, err error) error {
			if err == nil && entry.IsDir() {
				_ = os.Chmod(path, privateDir) //nolint:gosec // a directory must be entered
			}
			return nil
		})
		if err := os.RemoveAll(w.path(name)); err != nil {
			all = errors.Join(all, fmt.Errorf("remove: %w", err))
		}
	}
	return all
}

// targetKey names what belongs to a target in our directories: a root may have any name.
func targetKey(target operation.Target) string {
	sum := sha256.Sum256([]byte(target.Root + "\x00" + target.Environment))
	return hex.EncodeToString(sum[:8])
}

// keptInit is what init of a target was done for, and the lock file that it left.
type keptInit struct {
	Fingerprint string `json:"fingerprint"`
	LockFile    []byte `json:"lock_file"` // nil when there was none
}

// readKept reads what init was last done for. Nothing, or nothing readable, means that init must be done.
func (w *workDir) readKept(key string) keptInit {
	var kept keptInit
	data, err := os.ReadFile(w.path("kept", key))
	if err != nil || json.Unmarshal(data, &kept) != nil {
		return keptInit{}
	}
	return kept
}

// writeKept notes what init was done for.
func (w *workDir) writeKept(key string, kept keptInit) error {
	data, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("encode what init was done for: %w", err)
	}
	if err := os.WriteFile(w.path("kept", key), data, 0o600); err != nil {
		return fmt.Errorf("note what init was done for: %w", err)
	}
	return nil
}

// forgetKept makes the next run do init.
func (w *workDir) forgetKept(key string) error {
	if err := os.RemoveAll(w.path("kept", key)); err != nil {
		return fmt.Errorf("forget what init was done for: %w", err)
	}
	return nil
}
