package store

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Now is the time by which the database decides.
func (s *Store) Now(ctx context.Context) (time.Time, error) {
	now, err := s.now(ctx, s.read)
	return moment(now), wrap("ask for the time", err)
}

// OnHost lists the running operations whose runner is, or was, on a host.
func (s *Store) OnHost(ctx context.Context, host string) ([]operation.Operation, error) {
	ops, err := list(ctx, s.read, scanOperation, selectOperation+` WHERE state = 'running' AND host = $1 ORDER BY operations.id`, host)
	return ops, wrap("find what runs on a host", err)
}

// Remark keeps words for people with an operation that runs. It reports false when they are kept
// already, and returns ErrLost when the attempt is not the newest or does not run any more.
func (s *Store) Remark(ctx context.Context, id int64, attempt int, message string) (operation.Operation, bool, error) {
	var op operation.Operation
	var fresh bool
	err := s.change(ctx, "keep a remark", func(t *tx) (err error) {
		if op, err = findRunning(ctx, t, id, attempt); err != nil || op.Message == message {
			return err
		}
		fresh, op.Message = true, message
		return updateOperation(ctx, t, op)
	})
	return op, fresh && err == nil, err
}

// AskToStop asks for an operation to be stopped by the host that its runner is on.
func (s *Store) AskToStop(ctx context.Context, id int64) error {
	return s.put(ctx, "ask to stop an operation", `UPDATE operations SET stop = 1 WHERE id = $1`, id)
}

// ToStop lists the operations on a host that somebody asked to stop and whose end is not recorded yet.
// A plan that was superseded has ended for everybody but its runner.
func (s *Store) ToStop(ctx context.Context, host string) ([]int64, error) {
	ids, err := list(ctx, s.read, scanValue[int64], `SELECT id FROM operations WHERE stop = 1 AND host = $1`, host)
	return ids, wrap("find what has to be stopped", err)
}

// Stopped says that the runner of an operation has been told to stop, or is not there.
func (s *Store) Stopped(ctx context.Context, id int64) error {
	return s.put(ctx, "record that an operation was told to stop", `UPDATE operations SET stop = 0 WHERE id = $1`, id)
}
