package store

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jonboulle/clockwork"
)

// OpenBeside opens a database to change single rows of it beside the servers that use it, if any: those
// hear of it when they look next. source is that of Open. Tables are not brought up to date: they must be
// of the version that this program knows, else the error is ErrVersion; where there is no such file, it
// is fs.ErrNotExist. Unlike Open it takes no claim away from a server.
func OpenBeside(ctx context.Context, source string) (*Store, error) {
	s := &Store{wake: make(chan struct{})}
	path, isFile := strings.CutPrefix(source, "sqlite:")
	var err error
	switch {
	case isFile && path != "":
		s.dialect, s.clock = sqlite(), clockwork.NewRealClock()
		err = s.openBesideFile(path)
	case strings.HasPrefix(source, "postgres://"), strings.HasPrefix(source, "postgresql://"):
		s.dialect = postgres()
		if s.write, _, err = postgresConnections(source, 1, sessionSettings); err == nil {
			s.read, s.ends = s.write, []func() error{s.write.Close}
		}
	default:
		err = errSource
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	if err := s.refuseOtherVersions(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), s.Close())
	}
	return s, nil
}

// openBesideFile opens a SQLite file that a server may have open. In WAL mode processes on one machine may
// take turns in writing, https://www.sqlite.org/wal.html#concurrency; the lock beside the file only keeps
// a second server from taking the first one's claims.
func (s *Store) openBesideFile(path string) error {
	path, err := filepath.Abs(path)
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if _, err := os.Stat(path); err != nil { // SQLite does not say why it cannot open a file
		return fmt.Errorf("open database: %w", err)
	}
	options := url.Values{"mode": {"rw"}, "_txlock": {"immediate"}, "_pragma": {"synchronous(FULL)", "foreign_keys(1)"}}
	if s.write, err = sqliteConnections(path, busyTimeout, 1, options); err != nil {
		return err
	}
	s.ends = append(s.ends, s.write.Close)
	if s.read, err = readFile(path); err != nil {
		return err
	}
	s.ends = append(s.ends, s.read.Close)
	return nil
}
