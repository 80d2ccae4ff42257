package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/switchyard-dev/switchyard/platform"
)

const (
	// busyTimeout is how long a writer waits for another program, such as a backup, to let go of the file.
	busyTimeout = 5 * time.Second
	// readers is how many connections read beside the one that writes.
	readers = 4
)

// sqlite needs no locks: a transaction that may write is the only one.
func sqlite() dialect {
	return dialect{
		goose:    goose.DialectSQLite3,
		identity: "INTEGER PRIMARY KEY AUTOINCREMENT", // https://www.sqlite.org/autoinc.html
		greatest: "MAX",
		undone:   func(error, bool) bool { return false },
	}
}

func openSQLite(ctx context.Context, path string, busy time.Duration, clock clockwork.Clock) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	guard, err := lockFile(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{dialect: sqlite(), clock: clock, wake: make(chan struct{}), ends: []func() error{guard.Close}}
	if err := s.openFile(ctx, path, busy); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Store) openFile(ctx context.Context, path string, busy time.Duration) error {
	// Made here so that only its owner can read it: payloads name private repositories.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	if err := file.Close(); err != nil {
		return fmt.Errorf("open database: %w", err)
	}
	// With synchronous(FULL) a committed transaction survives a loss of power in WAL mode too.
	pragmas := []string{"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)"}
	if s.write, err = sqliteConnections(path, busy, 1, url.Values{"_txlock": {"immediate"}, "_pragma": pragmas}); err != nil {
		return err
	}
	s.ends = append(s.ends, s.write.Close)
	if s.read, err = sqliteConnections(path, busy, readers, url.Values{"_pragma": append(pragmas, "query_only(1)")}); err != nil {
		return err
	}
	s.ends = append(s.ends, s.read.Close)
	if err := migrate(ctx, s.dialect, s.write); err != nil {
		return err
	}
	// No other process has the file, so whatever is claimed was claimed by one that is gone.
	return s.freeClaims(ctx)
}

// sqliteConnections opens a pool. options are those of https://pkg.go.dev/modernc.org/sqlite#Driver.Open and of
// https://www.sqlite.org/uri.html; the pragmas are explained at https://www.sqlite.org/pragma.html.
func sqliteConnections(path string, busy time.Duration, connections int, options url.Values) (*sql.DB, error) {
	values := maps.Clone(options)
	values["_pragma"] = append([]string{"busy_timeout(" + strconv.FormatInt(busy.Milliseconds(), 10) + ")"}, options["_pragma"]...)
	db, err := sql.Open("sqlite", (&url.URL{Scheme: "file", Path: path, RawQuery: values.Encode()}).String())
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	db.SetMaxOpenConns(connections)
	db.SetMaxIdleConns(connections)
	return db, nil
}

// lockFile takes the lock beside the database. The kernel drops it when the process dies.
func lockFile(path string) (*os.File, error) {
	file, err := os.OpenFile(path+".lock", os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, fmt.Errorf("make lock file: %w", err)
	}
	err = platform.Lock(file)
	if errors.Is(err, platform.ErrLocked) {
		err = fmt.Errorf("%s is in use by another Switchyard process, and SQLite serves one: "+
			"stop that process, name another file, or let both share a PostgreSQL (database: postgres://…)", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}
