package store

import (
	"context"
	"fmt"
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
	query := "PRAGMA max_page_count = " + fmt.Sprint(pages)
	if pages == 0 {
		query = "PRAGMA max_page_count = 1000000"
	}
	return s.write.QueryRowContext(ctx, query).Scan(&now)
}
