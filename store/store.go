// Package store keeps what Switchyard must not forget: deliveries and jobs, operations and holds,
// targets, facts seen at GitHub, and what GitHub should show. Handlers, deploy, hub and the queue
// call it. Every method is one transaction: it happens as a whole or not at all. It never calls
// anything but its database, and decides nothing that operation.State.CanBecome does not allow.
//
// Transactions run beside each other, on PostgreSQL in READ COMMITTED, so each one locks what it
// decides by before it reads it: an operation by its row, the line of an environment and the jobs of
// a key by a lock of their name. Names are locked before rows. docs/adr/0006 says why.
package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"hash/fnv"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/jonboulle/clockwork"
	"github.com/pressly/goose/v3"

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
	// ErrMoved says that what a wish was made from has moved on since: it would show what is past.
	ErrMoved = errors.New("what it was made from has moved on")
	// ErrVersion says that the tables are not of the version that this program knows.
	ErrVersion = errors.New("the tables are of another version")
	// ErrReadOnly says that the Store was opened only to read.
	ErrReadOnly = errors.New("the database was opened only to read")
)

// tries is how often a transaction is tried that the database undid for reasons of its own. The waits
// between, from firstWait doubled up to lastWait, add up to the time in which a PostgreSQL restarts.
const (
	tries     = 9
	firstWait = 10 * time.Millisecond
	lastWait  = 500 * time.Millisecond
)

// Store is the database of a server, which other servers may share. It may be used by many goroutines.
type Store struct {
	dialect dialect
	clock   clockwork.Clock // nil: the database's clock decides
	write   *sql.DB         // of SQLite one connection: writers queue up here, so that none finds the database locked; nil: none may write
	read    *sql.DB
	id      string         // tells this Store from others on the same database
	ends    []func() error // what Close does
	notify  chan struct{}  // asks for a word to the other processes; nil where there are none

	mu   sync.Mutex
	wake chan struct{}
}

// dialect is what the databases do not have in common.
type dialect struct {
	goose      goose.Dialect
	identity   string // type of a key that the database gives, and never twice
	greatest   string // function that gives the greatest of its arguments
	forUpdate  string // locks the operations that a query reads
	skipLocked string // locks the rows that a query reads, and passes over those that are locked
	lock       string // statement that takes the lock of a number until the transaction ends; empty: all writers have one already
	now        string // query for the database's clock, in milliseconds; empty: it has none but ours

	// undone reports whether an error of a transaction says that nothing of it was done and that it
	// may go well another time. An error of a commit leaves that open more often.
	undone func(err error, commit bool) bool
}

// Open opens a database and brings its tables up to date. source is sqlite:/path/file.db, whose
// directory must exist and which must not be open in another process, or the URL of a PostgreSQL
// database, https://www.postgresql.org/docs/15/libpq-connect.html#LIBPQ-CONNSTRING, which any number
// of processes may share. clock may be nil: then the clock of PostgreSQL decides, or with SQLite, the
// machine's.
func Open(ctx context.Context, source string, clock clockwork.Clock) (*Store, error) {
	path, isFile := strings.CutPrefix(source, "sqlite:")
	switch {
	case isFile && path != "":
		if clock == nil {
			clock = clockwork.NewRealClock()
		}
		return openSQLite(ctx, path, busyTimeout, clock)
	case strings.HasPrefix(source, "postgres://"), strings.HasPrefix(source, "postgresql://"):
		return openPostgres(ctx, source, clock)
	default:
		return nil, errSource
	}
}

// errSource does not repeat the source, which may hold a password.
var errSource = errors.New("open database: the source is not of the form sqlite:/path/file.db or postgres://user@host/database")

// Close ends all connections. Nobody may use the Store afterwards.
func (s *Store) Close() error {
	var all []error
	for _, end := range slices.Backward(s.ends) {
		all = append(all, end())
	}
	return errors.Join(all...)
}

// Ping reports whether the database takes a new delivery: one that needs more room than any page
// that is in use has left is written and removed again.
func (s *Store) Ping(ctx context.Context) error {
	return s.change(ctx, "ping database", func(t *tx) error {
		guid := "ping " + s.id
		if _, err := exec(ctx, t, `
			INSERT INTO deliveries (guid, event, action, installation, repository, payload, arrived) VALUES ($1, 'ping', '', 0, 0, $2, $3)`,
			guid, strings.Repeat("ping", pingSize/len("ping")), t.now); err != nil {
			return err
		}
		_, err := exec(ctx, t, `DELETE FROM deliveries WHERE guid = $1`, guid)
		return err
	})
}

// pingSize is more than a page of SQLite (4 KiB) or of PostgreSQL (8 KiB) holds.
const pingSize = 16 << 10

// Wake returns a channel that is closed by the next write that makes a job or a surface due, of this
// process at once and of others after a moment. Take it before looking for work, wait on it after
// finding none, and look now and then all the same: what another process says can be lost.
func (s *Store) Wake() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wake
}

// wakeUp wakes who waits in this process.
func (s *Store) wakeUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.wake)
	s.wake = make(chan struct{})
}

// tx is a transaction that may write.
type tx struct {
	*sql.Tx

	dialect dialect
	now     int64 // the time that counts in it
	due     bool  // it makes a job or a surface due
}

// change runs do in one transaction that may write. What do returns is wrapped by the verb phrase.
// do runs again when the database undid the transaction, so it must not build on what it left behind.
func (s *Store) change(ctx context.Context, verb string, do func(t *tx) error) error {
	if s.write == nil {
		return fmt.Errorf("%s: %w", verb, ErrReadOnly)
	}
	var err error
	for try := range tries {
		if try > 0 && !pause(ctx, min(firstWait<<try, lastWait)) {
			break
		}
		var due, again bool
		if due, again, err = s.try(ctx, do); err == nil {
			if due {
				s.announce()
			}
			return nil
		}
		if !again || ctx.Err() != nil {
			break
		}
	}
	return fmt.Errorf("%s: %w", verb, err)
}

// try runs one transaction. It reports whether it made something due, and, with an error, whether it
// may be tried again.
func (s *Store) try(ctx context.Context, do func(t *tx) error) (due, again bool, err error) {
	inner, err := s.write.BeginTx(ctx, nil)
	if err != nil {
		return false, s.dialect.undone(err, false), fmt.Errorf("begin: %w", err)
	}
	t := &tx{Tx: inner, dialect: s.dialect}
	if t.now, err = s.now(ctx, t); err == nil {
		err = do(t)
	}
	if err != nil {
		_ = inner.Rollback() // the database may have rolled back by itself already; err says why
		return false, s.dialect.undone(err, false), err
	}
	if err := inner.Commit(); err != nil {
		return false, s.dialect.undone(err, true), fmt.Errorf("commit: %w", err)
	}
	return t.due, false, nil
}

// announce wakes who waits for work, here and elsewhere.
func (s *Store) announce() {
	s.wakeUp()
	select {
	case s.notify <- struct{}{}:
	default: // one word is on its way already, or nobody else is there
	}
}

// pause waits in real time, as the database lives in it; false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := clockwork.NewRealClock().NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.Chan():
		return true
	case <-ctx.Done():
		return false
	}
}

// lock takes the locks of names until the transaction ends, so that what they name is read as the
// last one left it.
func (t *tx) lock(ctx context.Context, names ...string) error {
	if t.dialect.lock == "" {
		return nil
	}
	numbers := make([]int64, len(names))
	for i, name := range names {
		hash := fnv.New64a()
		_, _ = hash.Write([]byte(name))  // never fails
		numbers[i] = int64(hash.Sum64()) //nolint:gosec // any number does; that two names share one only makes them wait
	}
	slices.Sort(numbers) // everyone in one order, so that no two wait for each other
	for _, number := range slices.Compact(numbers) {
		if _, err := exec(ctx, t, t.dialect.lock, number); err != nil {
			return err
		}
	}
	return nil
}

// now is the current time as it is stored.
func (s *Store) now(ctx context.Context, q querier) (int64, error) {
	if s.clock != nil {
		return s.clock.Now().UnixMilli(), nil
	}
	now, _, err := one(ctx, q, scanValue[int64], s.dialect.now)
	return now, err
}

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
	rows, err := q.QueryContext(ctx, query, storable(args)...)
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
	result, err := q.ExecContext(ctx, statement, storable(args)...)
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

// storable replaces what PostgreSQL has no text for, a zero byte and invalid UTF-8, so that the words
// of a program that fails cannot keep its end from being recorded.
// https://www.postgresql.org/docs/15/datatype-character.html
func storable(args []any) []any {
	for i, arg := range args {
		if text, ok := arg.(string); ok && (!utf8.ValidString(text) || strings.ContainsRune(text, 0)) {
			args[i] = strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
		}
	}
	return args
}
