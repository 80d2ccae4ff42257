package actions

import (
	"context"
	"errors"
	"fmt"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// GitHub may make two runs for one attempt: one whose dispatch got no answer, and that of the dispatch that was repeated. Of these the
// one that was made first works. The other one is cancelled, as long as none of its jobs has begun; where one has, it finds out by
// itself that another run works.

// Dismiss cancels a run of this name because nobody waits for it, unless one of its jobs has begun. It does nothing to a run that is
// not Switchyard's own, whatever its name is.
func (a *Actions) Dismiss(ctx context.Context, repo operation.Repository, id int64, name string) error {
	seen, err := a.GitHub.Run(ctx, repo, id)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("look at a run that nobody waits for: %w", err)
	}
	bot, err := a.GitHub.BotLogin(ctx)
	if err != nil {
		return fmt.Errorf("ask for the App's name: %w", err)
	}
	if seen.ID != id || seen.Name != name || !madeBy(seen, bot) {
		return nil
	}
	return a.dismiss(ctx, repo, seen)
}

func (a *Actions) dismiss(ctx context.Context, repo operation.Repository, seen hub.Run) error {
	if seen.Status == hub.RunCompleted {
		return nil
	}
	jobs, err := a.GitHub.FirstJobs(ctx, repo, seen.ID)
	if err != nil {
		return fmt.Errorf("look at the jobs of a run that nobody waits for: %w", err)
	}
	log := zerolog.Ctx(ctx).With().Int64("run", seen.ID).Str("name", seen.Name).Logger()
	if anyBegan(jobs) {
		log.Warn().Msg("a second workflow run of one operation has begun: its job finds that out by itself")
		return nil
	}
	err = a.GitHub.CancelRun(ctx, repo, seen.ID, false)
	if gone := (*hub.Gone)(nil); err != nil && !errors.As(err, &gone) {
		return fmt.Errorf("cancel a run that nobody waits for: %w", err)
	}
	log.Info().Msg("a second workflow run of one operation was cancelled")
	return nil
}

// dismissAll cancels all runs but the one that counts. That it cannot is no reason not to go on: their jobs do nothing.
func (a *Actions) dismissAll(ctx context.Context, repo operation.Repository, runs []hub.Run, but int64) {
	for _, run := range runs {
		if run.ID == but {
			continue
		}
		if err := a.dismiss(ctx, repo, run); err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Int64("run", run.ID).Msg("could not cancel a second workflow run of one operation")
		}
	}
}

// follow goes on with the run that was made for the attempt before the one that has ended without a result, where GitHub shows one by
// now: the job of the later one did nothing because of it.
func (r *run) follow(ctx context.Context, now *watching) (bool, error) {
	row := r.known()
	fresh := row
	fresh.Run, fresh.Head, fresh.URL, fresh.Said = 0, "", "", ""
	found, there, err := r.a.find(ctx, fresh)
	if err != nil || !there || found.Run >= row.Run {
		return false, err
	}
	zerolog.Ctx(ctx).Info().Int64("run", found.Run).Int64("instead of", row.Run).Msg("an earlier workflow run of this operation turned up")
	if err := r.keep(ctx, found); err != nil {
		return false, err
	}
	now.status, now.delay = "", firstLook
	r.stopAgain() //nolint:contextcheck // the order to stop outlives whoever waits
	return true, nil
}

// stopAgain has GitHub cancel the run that is followed now, where the one before was to be stopped.
func (r *run) stopAgain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.stopped && !r.stopping {
		r.stopping = true
		go r.cancel()
	}
}
