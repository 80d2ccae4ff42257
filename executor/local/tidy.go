package local

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

// Tidy removes what attempts left that nothing has changed since a time, and says how many. It keeps those that something
// still runs of, and those that keep names, because nobody has taken their result yet.
func (l *Local) Tidy(before time.Time, keep func(operationID int64, attempt int) bool) (int, error) {
	entries, err := os.ReadDir(l.options.Dir)
	if err != nil {
		return 0, fmt.Errorf("list attempts: %w", err)
	}
	removed := 0
	var all []error
	for _, entry := range entries {
		var id int64
		var attempt int
		if _, err := fmt.Sscanf(entry.Name(), "%d-%d", &id, &attempt); err != nil || !entry.IsDir() {
			continue // not ours
		}
		dir := filepath.Join(l.options.Dir, entry.Name())
		if touched(dir, before) || running(dir) || keep(id, attempt) {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			all = append(all, fmt.Errorf("remove an old attempt: %w", err))
			continue
		}
		removed++
	}
	return removed, errors.Join(all...)
}

// touched reports whether an attempt was begun, ended or said anything since a time, or whether that is not known.
func touched(dir string, since time.Time) bool {
	for _, path := range []string{dir, filepath.Join(dir, logFile), filepath.Join(dir, resultFile)} {
		info, err := os.Stat(path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil || !info.ModTime().Before(since) {
			return true
		}
	}
	return false
}
