package statelock

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/operation"
)

// file is a state of Terraform's local backend. Its lock is one of the operating system and ends with the process; the file beside the
// state, which says who had it, stays when that is killed and stops nobody.
// https://developer.hashicorp.com/terraform/language/backend/local
type file struct{ path string }

// openFile finds the state. https://developer.hashicorp.com/terraform/language/backend/local#configuration-variables
func openFile(config map[string]any, env map[string]string) (Lock, error) {
	v := values{config, env}
	path := cmp.Or(v.text("path"), "terraform.tfstate")
	if name := v.workspace(); name != "" {
		if !filepath.IsLocal(name) {
			return nil, errors.New("the workspace's name is none")
		}
		path = filepath.Join(cmp.Or(v.text("workspace_dir"), "terraform.tfstate.d"), name, "terraform.tfstate")
	}
	return file{path: path}, nil
}

// Inspect reads the state and what is beside it.
func (f file) Inspect(context.Context) (operation.StateLock, error) {
	found := operation.StateLock{Backend: Local, Place: f.path, Lease: operation.LeaseFree}
	if err := f.read(&found); err != nil {
		return found, err
	}
	data, err := readSome(filepath.Join(filepath.Dir(f.path), "."+filepath.Base(f.path)+".lock.info"))
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		found.Notes = append(found.Notes, "The file beside the state that says who has it cannot be read.")
	default:
		if info := describe(data); info.ID != "" {
			found.Info = info
		}
		found.Notes = append(found.Notes, "The file "+filepath.Base(f.path)+".lock.info, hidden beside the state, locks nothing: "+
			"the lock of a local backend ends with the process that took it.")
	}
	return found, nil
}

// Break has nothing to do.
func (f file) Break(ctx context.Context, _ operation.LockTask) (operation.Broken, error) {
	broken := operation.Broken{How: operation.ReleasedBefore, NoCopy: "Nothing was touched."}
	now, err := f.Inspect(ctx)
	if err != nil {
		return operation.Broken{}, err
	}
	broken.Now = &now
	return broken, nil
}

func (f file) read(found *operation.StateLock) error {
	info, err := os.Stat(f.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		found.Missing = noState
		return nil
	case err != nil:
		return fmt.Errorf("read the state: %w", err)
	case !info.Mode().IsRegular(): // to open a pipe would wait for ever
		return fmt.Errorf("read the state: %s is no file", f.path)
	}
	found.Size, found.Modified = info.Size(), info.ModTime().UTC()
	if found.Size == 0 {
		return nil
	}
	opened, err := os.Open(f.path)
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	defer func() { _ = opened.Close() }() // opened for reading
	said, err := summarise(opened, false)
	fill(found, said, err)
	return nil
}

// readSome reads a small file.
func readSome(path string) ([]byte, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err //nolint:wrapcheck // the caller decides by it
	}
	if !info.Mode().IsRegular() || info.Size() > maxInfo {
		return nil, errors.New("it is no small file")
	}
	opened, err := os.Open(path) //nolint:gosec // beside the state
	if err != nil {
		return nil, err //nolint:wrapcheck // as above
	}
	defer func() { _ = opened.Close() }()              // opened for reading
	return io.ReadAll(io.LimitReader(opened, maxInfo)) //nolint:wrapcheck // as above
}
