package store

import (
	"context"
	"time"
)

// Accepted reports whether a delivery was accepted and is not forgotten yet.
func (s *Store) Accepted(ctx context.Context, guid string) (bool, error) {
	_, ok, err := one(ctx, s.read, scanValue[string], `SELECT guid FROM deliveries WHERE guid = $1`, guid)
	return ok, wrap("look for a delivery", err)
}

// Delivered is the payload of a delivery that was accepted and is not forgotten yet.
func (s *Store) Delivered(ctx context.Context, guid string) ([]byte, bool, error) {
	payload, ok, err := one(ctx, s.read, scanValue[string], `SELECT payload FROM deliveries WHERE guid = $1`, guid)
	return []byte(payload), ok, wrap("read a delivery", err)
}

// Arrived is when a delivery was accepted that is not forgotten yet.
func (s *Store) Arrived(ctx context.Context, guid string) (time.Time, bool, error) {
	at, ok, err := one(ctx, s.read, scanValue[int64], `SELECT arrived FROM deliveries WHERE guid = $1`, guid)
	return time.UnixMilli(at).UTC(), ok, wrap("look for a delivery", err)
}

// AskedAgain reports whether GitHub was asked to make a failed delivery again, by that attempt's id.
func (s *Store) AskedAgain(ctx context.Context, delivery int64) (bool, error) {
	_, ok, err := one(ctx, s.read, scanValue[int64], `SELECT delivery FROM redeliveries WHERE delivery = $1`, delivery)
	return ok, wrap("look for a redelivery", err)
}

// AskAgain remembers that GitHub was asked to make a failed delivery again.
func (s *Store) AskAgain(ctx context.Context, delivery int64) error {
	return s.change(ctx, "remember a redelivery", func(t *tx) error {
		_, err := exec(ctx, t, `INSERT INTO redeliveries (delivery, arrived) VALUES ($1, $2) ON CONFLICT DO NOTHING`, delivery, t.now)
		return err
	})
}

// Pulls lists the saved views of all pull requests of a repository, by number.
func (s *Store) Pulls(ctx context.Context, repository int64) ([][]byte, error) {
	views, err := list(ctx, s.read, scanValue[[]byte], `SELECT data FROM pulls WHERE repository = $1 ORDER BY number`, repository)
	return views, wrap("list pull requests", err)
}
