package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/jonboulle/clockwork"
	"github.com/pressly/goose/v3"
)

const (
	// connections bounds what one process takes of PostgreSQL's max_connections, 100 by default,
	// https://www.postgresql.org/docs/15/runtime-config-connection.html; one more listens.
	connections = 16
	// idleConnection is how long a connection is kept that nobody uses.
	idleConnection = 5 * time.Minute
	// relisten is how long to wait before listening again after the connection was lost.
	relisten = time.Second
	// notifyLimit bounds how long a word to the other processes may take.
	notifyLimit = 5 * time.Second
	// channel is what processes listen to.
	channel = "switchyard_due"
	// migrating is the lock of the process that changes the tables; any number that nobody else uses.
	migrating = 0x5377697463687964
)

// sessionSettings hold for each connection. A process that stops in the middle of a transaction, or
// whose network is gone, loses its locks before others have to wait long for them: our transactions
// ask nobody but the database. https://www.postgresql.org/docs/15/runtime-config-client.html
const sessionSettings = `
	SET idle_in_transaction_session_timeout = '5s';
	SET default_transaction_isolation = 'read committed';
	SET synchronous_commit = 'on'`

// postgres is the dialect of PostgreSQL 15 and later.
func postgres() dialect {
	return dialect{
		goose:      goose.DialectPostgres,
		identity:   "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
		greatest:   "GREATEST",
		forUpdate:  " FOR UPDATE OF operations",
		skipLocked: " FOR UPDATE SKIP LOCKED",
		lock:       "SELECT pg_advisory_xact_lock($1)",
		now:        "SELECT CAST(FLOOR(EXTRACT(EPOCH FROM clock_timestamp()) * 1000) AS BIGINT)",
		undone:     undone,
	}
}

func openPostgres(ctx context.Context, source string, clock clockwork.Clock) (*Store, error) {
	db, config, err := postgresConnections(source, connections, sessionSettings)
	if err != nil {
		return nil, err
	}
	s := &Store{
		dialect: postgres(), clock: clock, write: db, read: db, id: rand.Text(),
		wake: make(chan struct{}), notify: make(chan struct{}, 1), ends: []func() error{db.Close},
	}
	if err := migrateAlone(ctx, s.dialect, db); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	s.ends = append(s.ends, s.talk(context.WithoutCancel(ctx), config))
	return s, nil
}

// postgresConnections opens a pool of at most so many connections. settings are run in each of them first.
func postgresConnections(source string, most int, settings string) (*sql.DB, *pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(source) // its error hides the password
	if err != nil {
		return nil, nil, fmt.Errorf("open database: %w", err)
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "switchyard"
	}
	db := stdlib.OpenDB(*config, stdlib.OptionAfterConnect(func(ctx context.Context, conn *pgx.Conn) error {
		_, err := conn.Exec(ctx, settings)
		return err //nolint:wrapcheck // pgx says that it is the connection's
	}))
	db.SetMaxOpenConns(most)
	db.SetMaxIdleConns(most)
	db.SetConnMaxIdleTime(idleConnection)
	return db, config, nil
}

// migrateAlone keeps processes that start at the same time from changing the tables at the same time.
func migrateAlone(ctx context.Context, d dialect, db *sql.DB) error {
	conn, err := db.Conn(ctx)
	if err != nil {
		return fmt.Errorf("connect to the database: %w", err)
	}
	defer func() { _ = conn.Close() }() // it goes back to the pool
	if _, err := conn.ExecContext(ctx, `SELECT pg_advisory_lock($1)`, int64(migrating)); err != nil {
		return fmt.Errorf("wait for another process to migrate the database: %w", err)
	}
	err = migrate(ctx, d, db)
	if _, failed := conn.ExecContext(context.WithoutCancel(ctx), `SELECT pg_advisory_unlock($1)`, int64(migrating)); failed != nil {
		err = errors.Join(err, fmt.Errorf("let other processes migrate the database: %w", failed))
	}
	return err
}

// talk hears what other processes make due and tells them what this one does, until the function
// that it returns is called.
func (s *Store) talk(ctx context.Context, config *pgx.ConnConfig) (end func() error) {
	ctx, cancel := context.WithCancel(ctx)
	var group sync.WaitGroup
	group.Go(func() {
		for again := true; again; again = pause(ctx, relisten) {
			s.listen(ctx, config)
		}
	})
	group.Go(func() { s.tell(ctx) })
	return func() error {
		cancel()
		group.Wait()
		return nil
	}
}

// listen wakes who waits here when another process says that something became due. It returns when
// the connection is lost; until there is one again, those who wait look by themselves now and then.
func (s *Store) listen(ctx context.Context, config *pgx.ConnConfig) {
	conn, err := pgx.ConnectConfig(ctx, config.Copy())
	if err != nil {
		return
	}
	defer func() { _ = conn.Close(context.WithoutCancel(ctx)) }() // it is of no more use, lost or not
	if _, err := conn.Exec(ctx, "LISTEN "+channel); err != nil {
		return
	}
	s.wakeUp() // for what was said while nobody listened
	for {
		word, err := conn.WaitForNotification(ctx)
		if err != nil {
			return
		}
		if word.Payload != s.id {
			s.wakeUp()
		}
	}
}

// tell says to other processes that something became due: not in the transaction that did it, because
// PostgreSQL lets transactions with a word in them commit one after another only, and once for all
// that became due while the last word was on its way. When it is lost, they look by themselves.
func (s *Store) tell(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-s.notify:
		}
		limited, cancel := context.WithTimeout(ctx, notifyLimit)
		_, _ = s.write.ExecContext(limited, `SELECT pg_notify($1, $2)`, channel, s.id) // lost, as is said above
		cancel()
	}
}

// undone tells by PostgreSQL's codes, https://www.postgresql.org/docs/15/errcodes-appendix.html, and
// by what becomes of the connection. When a connection is lost in a commit nobody knows what was done.
func undone(err error, commit bool) bool {
	if answer := (*pgconn.PgError)(nil); errors.As(err, &answer) {
		switch answer.Code {
		case "40001", "40P01": // serialization failure, deadlock
			return true
		case "57P01", "57P02", "57P03", "53300", "25P03": // it stops, starts, has too many connections, or we were too slow
			return !commit
		default:
			return len(answer.Code) > 2 && answer.Code[:2] == "08" && !commit
		}
	}
	connecting, network := (*pgconn.ConnectError)(nil), net.Error(nil)
	lost := errors.Is(err, driver.ErrBadConn) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.As(err, &connecting) || errors.As(err, &network) || pgconn.SafeToRetry(err)
	return lost && !commit
}
