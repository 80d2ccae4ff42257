package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform"
)

// initialization decides whether one target needs `terraform init`, and does it.
type initialization struct {
	job     *job
	task    operation.TargetTask
	planned *planned
	key     string

	inputs      terraform.InitInputs
	fingerprint string // empty when a later run must not rely on this one
}

// skip reports whether the init of an earlier plan still holds, and then puts its lock file back. An apply never skips.
func (i *initialization) skip(ctx context.Context) (bool, error) {
	inputs, err := terraform.ReadInitInputs(ctx, terraform.TreeReader(i.job.tree), i.task.Dir)
	if err != nil {
		return false, fmt.Errorf("read what init reads: %w", err)
	}
	i.inputs = inputs
	if i.job.task.Kind != operation.Plan || !inputs.Repeatable {
		return false, nil
	}
	if i.fingerprint, err = i.sum(); err != nil {
		return false, err
	}
	kept := i.job.work.readKept(i.key)
	if kept.Fingerprint != i.fingerprint {
		return false, nil
	}
	if kept.LockFile == nil {
		return true, nil
	}
	return true, i.putLockFile(kept.LockFile)
}

// sum is over everything that init depends on: configuration, backend settings, the binary and its settings.
func (i *initialization) sum() (string, error) {
	binary, err := os.Stat(i.job.tool.Path)
	if err != nil {
		return "", fmt.Errorf("look at Terraform's binary: %w", err)
	}
	config, err := configContent(i.job.task.Env["TF_CLI_CONFIG_FILE"])
	if err != nil {
		return "", err
	}
	data, err := json.Marshal(struct { //nolint:musttag // nobody reads it: it is summed up
		Inputs, Dir, Path, Cache, Config string
		Size, Changed                    int64
		Backend                          map[string]string
	}{
		i.inputs.Fingerprint, i.planned.dir, i.job.tool.Path, i.job.task.CacheDir, config,
		binary.Size(), binary.ModTime().UnixNano(), i.task.Backend,
	})
	if err != nil {
		return "", fmt.Errorf("sum up what init depends on: %w", err)
	}
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:]), nil
}

// maxConfig bounds how much of Terraform's own configuration is read, in bytes.
const maxConfig = 1 << 20

// configContent is what Terraform's configuration file says about where providers come from; "" without one.
// https://developer.hashicorp.com/terraform/cli/config/config-file
func configContent(name string) (content string, err error) {
	if name == "" {
		return "", nil
	}
	file, err := os.Open(name) //nolint:gosec // the operator names it
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("open Terraform's configuration: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err := io.ReadAll(io.LimitReader(file, maxConfig))
	if err != nil {
		return "", fmt.Errorf("read Terraform's configuration: %w", err)
	}
	return string(data), nil
}

// run does init and notes what for. Providers that are there already are kept, modules are fetched anew.
func (i *initialization) run(ctx context.Context) error {
	work := i.job.work
	if err := work.forgetKept(i.key); err != nil {
		return err
	}
	if err := work.remove(filepath.Join("data", i.key, "modules"), filepath.Join("data", i.key, "terraform.tfstate")); err != nil {
		return err
	}
	took, err := i.job.progress.step(&i.task.Target, StepInit, func() error {
		if i.job.task.CacheDir == "" || !i.inputs.Downloads {
			return i.planned.root.Init(ctx, i.task.Backend, "")
		}
		return withCache(ctx, i.job.task.CacheDir, func() error {
			return i.planned.root.Init(ctx, i.task.Backend, i.job.task.CacheDir)
		})
	})
	i.planned.result.Timings.Init += took
	if err != nil {
		return err
	}
	if i.fingerprint == "" {
		return nil
	}
	lockFile, err := i.job.tree.ReadFile(i.lockFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil // e.g. a link out of the tree: the next plan does init again
	}
	return work.writeKept(i.key, keptInit{Fingerprint: i.fingerprint, LockFile: lockFile})
}

// lockFile is the path of the root's lock file within the tree.
func (i *initialization) lockFile() string { return path.Join(i.task.Dir, terraform.LockFile) }

// putLockFile writes the lock file that init left: the checkout has brought back the committed one, which may lack
// hashes for this platform. What stands there is removed first, so that nothing is written through a link.
func (i *initialization) putLockFile(data []byte) (err error) {
	if err := i.job.tree.Remove(i.lockFile()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove lock file: %w", err)
	}
	file, err := i.job.tree.OpenFile(i.lockFile(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("make lock file: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if _, err := file.Write(data); err != nil {
		return fmt.Errorf("write lock file: %w", err)
	}
	return nil
}

// withCache does an init that may write to the plugin cache: alone among all processes, as Terraform asks, and with the
// cache writable only meanwhile, so that code of a plan finds it read-only.
// https://developer.hashicorp.com/terraform/cli/config/config-file#provider-plugin-cache
func withCache(ctx context.Context, dir string, do func() error) (err error) {
	if err := os.MkdirAll(dir, privateDir); err != nil {
		return fmt.Errorf("make plugin cache: %w", err)
	}
	unlock, err := lockFile(ctx, filepath.Clean(dir)+".lock")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := changeModes(dir, true); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, changeModes(dir, false)) }()
	return do()
}

// changeModes makes directories of the cache writable for us, or everything in it read-only. Links are left alone.
func changeModes(dir string, writable bool) error {
	const write, owner = 0o222, 0o200
	err := filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.Type()&fs.ModeSymlink != 0 || (writable && !entry.IsDir()) {
			return err
		}
		info, err := entry.Info()
		if err != nil {
			return err //nolint:wrapcheck // wrapped below
		}
		mode := info.Mode().Perm() &^ write
		if writable {
			mode |= owner
		}
		if mode == info.Mode().Perm() {
			return nil
		}
		return os.Chmod(path, mode) //nolint:gosec // in a cache that only we write to
	})
	if err != nil {
		return fmt.Errorf("change modes in the plugin cache: %w", err)
	}
	return nil
}
