package deploy

import (
	"context"
	"errors"
	"fmt"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// A dispatch whose answer was lost may make its run after the dispatch was repeated, or even after its operation was given up. Nobody
// waits for such a run, so it is cancelled as soon as it is seen.

// dismisser is an executor that can cancel a run that nobody waits for, unless one of its jobs has begun.
type dismisser interface {
	Dismiss(ctx context.Context, repo operation.Repository, run int64, name string) error
}

// strayRun cancels a run that carries out no attempt although its name says so, or the later one of two.
func (d *Deploy) strayRun(ctx context.Context, seen RunSeen) error {
	named, ok := operation.ParseRunName(seen.Name)
	runs, can := d.Actions.(dismisser)
	if !ok || !can {
		return nil
	}
	op, err := d.Store.Operation(ctx, named.Operation)
	if errors.Is(err, store.ErrNotFound) || err == nil && (op.Repository.ID != seen.Repository.ID || op.Attempt < named.Attempt) {
		return nil // of another database
	}
	if err != nil {
		return fmt.Errorf("read operation: %w", err)
	}
	rows, err := d.Store.RunsOf(ctx, seen.Repository.ID, named.Operation, named.Attempt)
	if err != nil {
		return err //nolint:wrapcheck // says what was looked for
	}
	stray := seen.Run
	for _, row := range rows {
		if operation.RunName(row.Task) != seen.Name {
			continue
		}
		switch row.Run {
		case 0:
			return nil // it is looked for, and of several the first is taken
		case seen.Run:
			return d.runSeen(ctx, seen) // whoever asked for it has come to know its id since
		default:
			stray = max(seen.Run, row.Run) // whoever waits for the later one finds the first when that has ended
		}
	}
	return runs.Dismiss(ctx, seen.Repository, stray, seen.Name) //nolint:wrapcheck // says what failed
}
