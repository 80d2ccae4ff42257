package store

import (
	"context"
	"time"
)

// aliveFor is how long a replica counts as alive after its last sign of life.
const aliveFor = 15 * time.Second

// Replica is one server of those that share the database.
type Replica struct {
	ID, Name string    // Name is for people: its host
	Started  time.Time // its first sign of life
	Seen     time.Time // its last
	Alive    bool      // by the database's clock
}

// Beat is a replica's sign of life, to be given every few seconds.
func (s *Store) Beat(ctx context.Context, id, name string) error {
	return s.change(ctx, "give a sign of life", func(t *tx) error {
		_, err := exec(ctx, t, `
			INSERT INTO replicas (id, name, started, seen) VALUES ($1, $2, $3, $3)
			ON CONFLICT (id) DO UPDATE SET name = excluded.name, seen = excluded.seen`, id, name, t.now)
		return err
	})
}

// Replicas lists the replicas that were not forgotten yet, in the order of their start.
func (s *Store) Replicas(ctx context.Context) ([]Replica, error) {
	now, err := s.now(ctx, s.read)
	if err != nil {
		return nil, wrap("list replicas", err)
	}
	replicas, err := list(ctx, s.read, func(row scanner) (Replica, error) {
		var r Replica
		var started, seen int64
		err := row.Scan(&r.ID, &r.Name, &started, &seen)
		r.Started, r.Seen, r.Alive = moment(started), moment(seen), now-seen < aliveFor.Milliseconds()
		return r, err //nolint:wrapcheck // list wraps it
	}, `SELECT id, name, started, seen FROM replicas ORDER BY started, id`)
	return replicas, wrap("list replicas", err)
}
