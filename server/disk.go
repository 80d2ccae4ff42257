package server

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/switchyard-dev/switchyard/platform"
)

// A data directory is full where its disk does not take what any work needs: leastRoom bytes that are free for this user,
// and a file of probeSize bytes. Both, because a quota does not show in what is free, and a disk that takes a small file
// yet takes no checkout.
const (
	leastRoom = 32 << 20
	probeSize = 16 << 10
)

// disk is where the server keeps mirrors, work directories and the results of runners.
type disk struct {
	dir  string
	room func(dir string) (int64, error) // bytes that are free
}

// takes reports whether work can be done on the disk. What it returns is for the log.
func (d disk) takes() error {
	free, err := d.room(d.dir)
	if err != nil {
		return fmt.Errorf("ask how full the disk of the data directory %s is: %w", d.dir, err)
	}
	if free < leastRoom {
		return fmt.Errorf("the disk of the data directory %s is full: %d MiB are free, and work needs %d MiB: make room, or enlarge it",
			d.dir, free>>20, leastRoom>>20) //nolint:mnd // bytes to MiB
	}
	if err := d.probe(); err != nil {
		return fmt.Errorf("the data directory %s takes no file, so nothing can be planned or applied: %w", d.dir, err)
	}
	return nil
}

// probe writes a file and removes it again.
func (d disk) probe() (err error) {
	file, err := os.CreateTemp(d.dir, ".probe-*")
	if err != nil {
		return err //nolint:wrapcheck // takes says what it was for
	}
	_, writeErr := file.Write(bytes.Repeat([]byte{'p'}, probeSize))
	return errors.Join(writeErr, file.Close(), os.Remove(filepath.Clean(file.Name())))
}

// freeRoom is what is free for this user on the disk of a directory, in bytes.
// https://man7.org/linux/man-pages/man2/statfs.2.html
func freeRoom(dir string) (int64, error) {
	return platform.FreeRoom(dir) //nolint:wrapcheck // says what was asked
}
