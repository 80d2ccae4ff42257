package store

import (
	"context"
	"fmt"
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

// AskToStop asks for an attempt at an operation to be stopped by whoever sees to its runner, or is about to start it. The order is of
// that attempt only, and stays until its end is recorded, or Stopped. It returns ErrLost when the attempt is not the newest.
func (s *Store) AskToStop(ctx context.Context, id int64, attempt int) error {
	return s.change(ctx, "ask to stop an operation", func(t *tx) error {
		rows, err := exec(ctx, t, `UPDATE operations SET stop = 1 WHERE id = $1 AND attempt = $2`, id, attempt)
		if err == nil && rows == 0 {
			err = fmt.Errorf("%w: operation %d is not at attempt %d any more", ErrLost, id, attempt)
		}
		return err
	})
}

// ToStop lists the operations on a host that somebody asked to stop and whose runner may not have ended yet; those on no host are about
// to be started. One that was superseded, or whose hold was released, has ended for everybody but its runner.
func (s *Store) ToStop(ctx context.Context, host string) ([]int64, error) {
	ids, err := list(ctx, s.read, scanValue[int64], `SELECT id FROM operations WHERE stop = 1 AND host = $1 ORDER BY id`, host)
	return ids, wrap("find what has to be stopped", err)
}

// Stopped says that nothing is left to be stopped of an attempt at an operation.
func (s *Store) Stopped(ctx context.Context, id int64, attempt int) error {
	return s.put(ctx, "record that nothing of an operation is left to be stopped",
		`UPDATE operations SET stop = 0 WHERE id = $1 AND attempt = $2`, id, attempt)
}
