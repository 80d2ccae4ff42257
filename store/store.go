// Package store keeps what Switchyard must not forget: deliveries and jobs, operations and holds,
// targets, facts seen at GitHub, and what GitHub should show. Handlers, deploy, hub and the queue
// call it. Every method is one transaction: it happens as a whole or not at all. It never calls
// anything but its database, and decides nothing that operation.State.CanBecome does not allow.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/queue"
)

// What callers tell apart, with errors.Is.
var (
	// ErrNotFound says that there is no such row.
	ErrNotFound = errors.New("not found")
	// ErrLost says that somebody else has taken over: the caller's attempt or claim is not the newest.
	ErrLost = queue.ErrLost
	// ErrTransition says that an operation cannot go from its state to the one asked for.
	ErrTransition = errors.New("transition refused")
	// ErrQuestion says that an operation is asking about something else than what was confirmed.
	ErrQuestion = errors.New("not the question that is asked")
)

// Store is the database of one server. It may be used by many goroutines.
type Store struct {
	clock clockwork.Clock
	write *sql.DB // one connection: writers queue up here, so that none ever finds the database locked
	read  *sql.DB
	guard io.Closer // keeps a second process away

	mu   sync.Mutex
	wake chan struct{}
}

// Open opens the database that dataSource names ("sqlite:/path/file.db"; the directory must exist),
// brings its tables up to date, and frees the jobs and surfaces that a dead process had claimed.
// It fails when another process has the same SQLite file open.
func Open(ctx context.Context, dataSource string, clock clockwork.Clock) (*Store, error) {
	path, ok := strings.CutPrefix(dataSource, "sqlite:")
	if !ok || path == "" {
		return nil, fmt.Errorf("open database: %q is not of the form sqlite:/path/file.db", dataSource)
	}
	return openSQLite(ctx, path, busyTimeout, clock)
}

// Close ends all connections. Nobody may use the Store afterwards.
func (s *Store) Close() error {
	return errors.Join(s.read.Close(), s.write.Close(), s.guard.Close())
}

// Ping reports whether the database can be read and written.
func (s *Store) Ping(ctx context.Context) error {
	return s.change(ctx, "ping database", func(tx *sql.Tx) error {
		_, err := tx.ExecContext(ctx, `UPDATE repositories SET name = name WHERE id = 0`)
		return err
	})
}

// Wake returns a channel that is closed by the next write of this process that makes a job or a
// surface due. Take it before looking for work, wait on it after finding none.
func (s *Store) Wake() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wake
}

func (s *Store) wakeUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wake)
	s.wake = make(chan struct{})
}

// change runs do in one transaction that may write. What do returns is wrapped by the verb phrase.
func (s *Store) change(ctx context.Context, verb string, do func(tx *sql.Tx) error) error {
	tx, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	if err := do(tx); err != nil {
		_ = tx.Rollback() // the database may have rolled back by itself already; err says why
		return fmt.Errorf("%s: %w", verb, err)
	}
	if err := tx.Commit(); err != nil {
		return fmt.Errorf("%s: %w", verb, err)
	}
	return nil
}

// now is the current time as it is stored.
func (s *Store) now() int64 { return s.clock.Now().UnixMilli() }

// millis is t as it is stored; the zero time is 0.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// moment is the opposite of millis.
func moment(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms).UTC()
}

// querier is what *sql.DB and *sql.Tx have in common.
type querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}

// scanner is one row.
type scanner interface{ Scan(columns ...any) error }

// list reads all rows of a query.
func list[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, fmt.Errorf("query: %w", err)
	}
	defer func() { _ = rows.Close() }() // its error, if any, is also in rows.Err
	var all []T
	for rows.Next() {
		item, err := scan(rows)
		if err != nil {
			return nil, fmt.Errorf("read row: %w", err)
		}
		all = append(all, item)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("read rows: %w", err)
	}
	return all, nil
}

// one reads the only row of a query; false when there is none.
func one[T any](ctx context.Context, q querier, scan func(scanner) (T, error), query string, args ...any) (T, bool, error) {
	var none T
	all, err := list(ctx, q, scan, query, args...)
	if err != nil || len(all) == 0 {
		return none, false, err
	}
	return all[0], true, nil
}

// exec runs a statement and counts the rows that it changed.
func exec(ctx context.Context, q querier, statement string, args ...any) (int64, error) {
	result, err := q.ExecContext(ctx, statement, args...)
	if err != nil {
		return 0, fmt.Errorf("execute: %w", err)
	}
	changed, err := result.RowsAffected()
	if err != nil {
		return 0, fmt.Errorf("count changed rows: %w", err)
	}
	return changed, nil
}

// scanValue reads a row of one column.
func scanValue[T any](row scanner) (T, error) {
	var value T
	err := row.Scan(&value)
	return value, err //nolint:wrapcheck // list wraps it
}
