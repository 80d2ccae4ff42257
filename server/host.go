package server

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/platform"
)

// host is the identity of a data directory: the results of runners are left there, so only the server
// that has it can tell what became of them.
type host struct {
	id   string
	name string // of the machine, for people
	file *os.File
}

// maxHostID bounds what is read of an identity, in bytes.
const maxHostID = 64

// openHost reads the identity of a data directory, or makes one, and keeps a second server away from it.
func openHost(dir string) (*host, error) {
	path := filepath.Join(dir, "host")
	file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600) //nolint:gosec // in our own directory
	if err != nil {
		return nil, fmt.Errorf("open the identity of the data directory: %w", err)
	}
	h := &host{file: file}
	if err := platform.Lock(file); err != nil {
		return nil, errors.Join(fmt.Errorf(
			"another server uses the data directory %s; end it first, or give this one a data directory of its own (data_dir): %w", dir, err),
			file.Close())
	}
	data := make([]byte, maxHostID)
	n, _ := file.ReadAt(data, 0) // at most an end of file, which is an empty identity
	h.id = strings.TrimSpace(string(data[:n]))
	if h.id == "" {
		h.id = uuid.NewString()
		if _, err := file.WriteAt([]byte(h.id+"\n"), 0); err != nil {
			return nil, errors.Join(fmt.Errorf("write the identity of the data directory: %w", err), file.Close())
		}
		if err := file.Sync(); err != nil {
			return nil, errors.Join(fmt.Errorf("write the identity of the data directory: %w", err), file.Close())
		}
	}
	if h.name, err = os.Hostname(); err != nil {
		h.name = h.id
	}
	return h, nil
}

// Close lets another server use the data directory.
func (h *host) Close() error {
	if err := errors.Join(platform.Unlock(h.file), h.file.Close()); err != nil {
		return fmt.Errorf("let go of the data directory: %w", err)
	}
	return nil
}
