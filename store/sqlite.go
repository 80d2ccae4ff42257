package store

import (
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/pressly/goose/v3"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	// busyTimeout is how long a writer waits for another program, such as a backup, to let go of the file.
	busyTimeout = 5 * time.Second
	// readers is how many connections read beside the one that writes.
	readers = 4
	// sqliteIdentity is a key that is never given twice, https://www.sqlite.org/autoinc.html.
	sqliteIdentity = "INTEGER PRIMARY KEY AUTOINCREMENT"
)

//go:embed migrations/*.sql
var migrations embed.FS

func openSQLite(ctx context.Context, path string, busy time.Duration, clock clockwork.Clock) (*Store, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	guard, err := lockFile(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	s := &Store{clock: clock, guard: guard, wake: make(chan struct{})}
	// Made here so that only its owner can read it: payloads name private repositories.
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600) //nolint:gosec // the operator names the file
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), guard.Close())
	}
	if err := file.Close(); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), guard.Close())
	}
	if s.write, err = sqliteConnections(path, busy, 1, url.Values{"_txlock": {"immediate"}}); err != nil {
		return nil, errors.Join(err, guard.Close())
	}
	if s.read, err = sqliteConnections(path, busy, readers, url.Values{"_pragma": {"query_only(1)"}}); err != nil {
		return nil, errors.Join(err, s.write.Close(), guard.Close())
	}
	if err := migrate(ctx, goose.DialectSQLite3, s.write, sqliteIdentity); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	// No other process has the file, so whatever is claimed was claimed by one that is gone.
	if err := s.freeClaims(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// sqliteConnections opens a pool. The pragmas are explained at https://www.sqlite.org/pragma.html;
// with synchronous(FULL) a committed transaction survives a loss of power in WAL mode too.
func sqliteConnections(path string, busy time.Duration, connections int, more url.Values) (*sql.DB, error) {
	values := url.Values{"_pragma": append([]string{
		"busy_timeout(" + strconv.FormatInt(busy.Milliseconds(), 10) + ")",
		"journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)",
	}, more["_pragma"]...)}
	if lock := more.Get("_txlock"); lock != "" {
		values.Set("_txlock", lock)
	}
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
	err = syscall.Flock(int(file.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) //nolint:gosec // a file descriptor fits an int
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = fmt.Errorf("%s is in use by another Switchyard process, and SQLite serves one; stop that process or name another file", path)
	}
	if err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// migrate brings the tables up to date and refuses a database that a newer version has written.
func migrate(ctx context.Context, dialect goose.Dialect, db *sql.DB, identity string) error {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return fmt.Errorf("list migrations: %w", err)
	}
	steps := make([]*goose.Migration, 0, len(names))
	for i, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		statements := strings.ReplaceAll(string(text), "IDENTITY", identity)
		up := func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statements)
			return err //nolint:wrapcheck // goose names the migration
		}
		steps = append(steps, goose.NewGoMigration(int64(i+1), &goose.GoFunc{RunTx: up}, nil))
	}
	provider, err := goose.NewProvider(dialect, db, nil, goose.WithGoMigrations(steps...),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	if current > target {
		return fmt.Errorf("the database has version %d and this program knows %d: a newer Switchyard has used it; run that one",
			current, target)
	}
	return nil
}
