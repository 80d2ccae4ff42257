package store

import (
	"context"
	"strconv"
	"time"

	"github.com/jonboulle/clockwork"
)

// OpenBusy is Open with another time to wait for a locked file.
func OpenBusy(ctx context.Context, path string, busy time.Duration, clock clockwork.Clock) (*Store, error) {
	return openSQLite(ctx, path, busy, clock)
}

// Fill leaves the database no room to grow; 0 gives it room again.
func (s *Store) Fill(ctx context.Context, pages int) error {
	var now int
	query := "PRAGMA max_page_count = " + strconv.Itoa(pages)
	if pages == 0 {
		query = "PRAGMA max_page_count = 1000000"
	}
	return s.write.QueryRowContext(ctx, query).Scan(&now)
}

// Change is one transaction of statements.
func (s *Store) Change(ctx context.Context, do func(exec func(statement string, args ...any) error) error) error {
	return s.change(ctx, "change", func(t *tx) error {
		return do(func(statement string, args ...any) error {
			_, err := exec(ctx, t, statement, args...)
			return err
		})
	})
}

// Undone is for tests.
var Undone = undone

// Overwrite runs a statement on a connection that is there to read.
func (s *Store) Overwrite(ctx context.Context, statement string) error {
	_, err := exec(ctx, s.read, statement)
	return err
}
