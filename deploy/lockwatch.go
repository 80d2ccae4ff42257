package deploy

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// The watch over locks that our own dead operations may have left behind. It looks, and tells people once. It breaks nothing.

const (
	// stuckAfter is how long an operation must have been over before its lock counts as left behind.
	stuckAfter = 10 * time.Minute
	// stuckUntil is how long ago it may have ended: what nobody has met since then is found by the next apply.
	stuckUntil = 7 * 24 * time.Hour
	// maxWatched bounds the operations that one look goes through, in each environment, and maxWatches how often it is tried.
	maxWatched = 20
	maxWatches = 3
)

// watchLocks has the locks looked at that operations may have left behind which ended without a word, or in the middle of an apply.
func (d *Deploy) watchLocks(ctx context.Context) error {
	now, err := d.Store.Now(ctx)
	if err != nil {
		return fmt.Errorf("ask for the time: %w", err)
	}
	ended, err := d.Store.EndedSince(ctx, now.Add(-stuckUntil))
	if err != nil {
		return err //nolint:wrapcheck // says what was looked for
	}
	for _, op := range ended {
		if now.Sub(op.Ended) < stuckAfter || !mayHaveLeftLock(op) {
			continue
		}
		if err := d.watchLock(ctx, op); err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Int64("operation", op.ID).Msg("could not look for a lock that was left behind")
		}
	}
	return nil
}

// mayHaveLeftLock reports whether nobody knows that an operation has given its locks back.
func mayHaveLeftLock(op operation.Operation) bool {
	if !op.Kind.Exclusive() || op.Attempt == 0 || op.Host == "" {
		return false
	}
	if op.Result == nil {
		return op.State == operation.Interrupted || op.State == operation.Cancelled || op.State == operation.Failed
	}
	for _, target := range op.Result.Targets {
		switch target.Outcome {
		case operation.TargetFailed, operation.TargetStopped:
			if target.Lock != nil || op.Kind == operation.BreakLease {
				return true
			}
		case operation.Planned, operation.Unchanged, operation.Applied, operation.Different, operation.Locked, operation.Looked,
			operation.Released, operation.OtherLock:
		}
	}
	return false
}

// watchLock has the locks of an operation's roots looked at, unless that was done since, or something has worked there since.
func (d *Deploy) watchLock(ctx context.Context, op operation.Operation) error {
	since, err := d.Store.Operations(ctx, store.Filter{
		Repository: op.Repository.ID, Environment: op.Environment, Newest: true, Limit: maxWatched,
		Kinds: []operation.Kind{operation.Apply, operation.BreakLease, operation.ExplainLock},
	})
	if err != nil {
		return fmt.Errorf("find what came after it: %w", err)
	}
	roots := toWatch(op, since)
	if len(roots) == 0 {
		return nil
	}
	if _, _, known, err := d.Store.Repository(ctx, op.Repository.ID); err != nil || !known {
		return wrap("find the repository", err) // the App is not there any more, or not now
	}
	if life, _, err := d.lifeOf(ctx, op); err != nil || life == render.Alive {
		return err // it may be looked at when that is over
	}
	if err := d.Git.Fetch(ctx, op.Repository); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	tree, err := d.Git.Tree(ctx, op.Repository, op.Head)
	if err != nil {
		return fmt.Errorf("find the tree of %s: %w", short(op.Head), err)
	}
	look, err := d.Store.Request(ctx, operation.Operation{
		Kind: operation.ExplainLock, Repository: op.Repository, Environment: op.Environment, Branch: op.Branch, Head: op.Head, Tree: tree,
		Roots: roots, Actor: "switchyard", Reason: fmt.Sprintf("%s ended without giving back its locks, as far as is known", op),
		Lock: &operation.LockRequest{Of: op.ID, Watch: true},
	}, 0)
	if err != nil {
		return fmt.Errorf("ask for a look at locks: %w", err)
	}
	return wrap("queue a look at locks", d.enqueue(ctx, driveJob(look)))
}

// toWatch are the roots of an operation whose locks are still to be looked at, by what came after it: not those in which something has
// worked since, nor those that were looked at. There are none while something is at work there, or after too many tries.
func toWatch(op operation.Operation, since []operation.Operation) []string {
	left, tried := slices.Clone(op.Roots), 0
	for _, later := range since {
		watched := later.Kind == operation.ExplainLock && later.Lock != nil && later.Lock.Of == op.ID
		switch {
		case later.ID <= op.ID:
		case later.Kind.Exclusive() && later.State == operation.Running, watched && !later.State.Ended():
			return nil
		case later.Kind.Exclusive() && later.State == operation.Succeeded:
			left = slices.DeleteFunc(left, func(root string) bool { return slices.Contains(later.Roots, root) })
		case watched:
			tried++
			left = slices.DeleteFunc(left, func(root string) bool { return foundOf(later, root) != nil })
		}
	}
	if tried >= maxWatches {
		return nil
	}
	return left
}

// sayStuck tells of each lock, once, that one of our own operations has left behind. One without a description was taken by an operation
// that was killed right then, as whoever lives writes one at once.
func (d *Deploy) sayStuck(ctx context.Context, op operation.Operation, view render.LockView) error {
	for i, target := range view.Targets {
		if target.Found == nil || target.Found.Lease != operation.LeaseHeld || target.Holder.Life == render.Alive {
			continue
		}
		id := fmt.Sprintf("of %d", op.Lock.Of)
		if target.Found.Info != nil && target.Found.Info.ID != "" {
			if id = target.Found.Info.ID; target.Holder.Operation == nil {
				continue
			}
		}
		one := view
		one.Targets, one.Chosen, one.Command = view.Targets[i:i+1], 0, "/break-lease "+op.Environment+" "+target.Target.Root
		sum := sha256.Sum256([]byte(target.Target.Root + "\x00" + id)) // whoever writes to the store says what the id is
		key := fmt.Sprintf("stuck/%x", sum[:8])
		if _, said, err := d.Store.Surface(ctx, op.Repository.ID, incidentKey(op.Environment, key)); err != nil || said {
			if err != nil {
				return fmt.Errorf("find what was said of the lock: %w", err)
			}
			continue
		}
		if err := d.wantIncident(ctx, op.Repository, op.Environment, key, render.IncidentStuck(one)); err != nil {
			return err
		}
	}
	return nil
}
