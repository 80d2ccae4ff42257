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
	// maxWatched bounds the operations that one look goes through, in each environment, and maxWatches how often it is tried: the second
	// time watchAgain after the first, then each time after twice as long. After the last one people are told that nobody could look.
	maxWatched = 20
	maxWatches = 4
	watchAgain = 15 * time.Minute
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
		if err := d.watchLock(ctx, op, now); err != nil {
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
func (d *Deploy) watchLock(ctx context.Context, op operation.Operation, now time.Time) error {
	since, err := d.lately(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return err
	}
	roots := toWatch(op, since, now)
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

// lately are the newest operations that have to do with the locks of an environment.
func (d *Deploy) lately(ctx context.Context, repo int64, environment string) ([]operation.Operation, error) {
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Environment: environment, Newest: true, Limit: maxWatched,
		Kinds: []operation.Kind{operation.Apply, operation.BreakLease, operation.ExplainLock},
	})
	return ops, wrap("find what came after it", err)
}

// watches reports whether an operation is a look of the watch at the locks of another one.
func watches(look operation.Operation, of int64) bool {
	return look.Kind == operation.ExplainLock && look.Lock != nil && look.Lock.Watch && look.Lock.Of == of
}

// toWatch are the roots of an operation whose locks are still to be looked at, by what came after it: not those in which something has
// worked since, nor those that were looked at. There are none while something is at work there, for a while after a look that failed, or
// after too many of them.
func toWatch(op operation.Operation, since []operation.Operation, now time.Time) []string {
	left, tried, last := slices.Clone(op.Roots), 0, time.Time{}
	for _, later := range since {
		watched := watches(later, op.ID)
		switch {
		case later.ID <= op.ID:
		case later.Kind.Exclusive() && later.State == operation.Running, watched && !later.State.Ended():
			return nil
		case later.Kind.Exclusive() && later.State == operation.Succeeded:
			left = slices.DeleteFunc(left, func(root string) bool { return slices.Contains(later.Roots, root) })
		case watched:
			tried++
			if later.Ended.After(last) {
				last = later.Ended
			}
			left = slices.DeleteFunc(left, func(root string) bool { return foundOf(later, root) != nil })
		}
	}
	if tried >= maxWatches || tried > 0 && now.Sub(last) < watchAgain<<(tried-1) {
		return nil
	}
	return left
}

// sayStuck tells of each lock, once, that one of our own operations has left behind. One without a description was taken by an operation
// that was killed right then, as whoever lives writes one at once.
func (d *Deploy) sayStuck(ctx context.Context, op operation.Operation, view render.LockView) error {
	var unlooked []render.LockedTarget
	for i, target := range view.Targets {
		if target.Found == nil {
			unlooked = append(unlooked, target)
		}
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
		if err := d.sayOnce(ctx, op, key, render.IncidentStuck(one)); err != nil {
			return err
		}
	}
	if len(unlooked) == 0 {
		return nil
	}
	view.Targets, view.Chosen = unlooked, -1
	return d.sayUnlooked(ctx, op, view)
}

// sayUnlooked tells, once, that nobody could look for a lock which one of our own operations may have left behind, and that it is not
// tried any more.
func (d *Deploy) sayUnlooked(ctx context.Context, op operation.Operation, view render.LockView) error {
	since, err := d.lately(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return err
	}
	tried := 0
	for _, look := range since {
		if watches(look, op.Lock.Of) && look.ID <= op.ID {
			tried++
		}
	}
	if tried < maxWatches {
		return nil
	}
	dead, err := d.Store.Operation(ctx, op.Lock.Of)
	if err != nil {
		return fmt.Errorf("read what may have left a lock: %w", err)
	}
	return d.sayOnce(ctx, op, fmt.Sprintf("unlooked/%d", op.Lock.Of), render.IncidentUnlooked(view, dead, tried))
}

// sayOnce wants an entry of a look of the watch, unless it is wanted already. It is about the operation whose locks were looked at.
func (d *Deploy) sayOnce(ctx context.Context, op operation.Operation, key, body string) error {
	if _, said, err := d.Store.Surface(ctx, op.Repository.ID, incidentKey(op.Environment, key)); err != nil || said {
		return wrap("find what was said of the lock", err)
	}
	pull := 0
	if dead, err := d.Store.Operation(ctx, op.Lock.Of); err == nil { // else there is only the issue
		pull = dead.Pull
	}
	return d.wantIncident(ctx, op.Repository, op.Environment, key, body, pull)
}
