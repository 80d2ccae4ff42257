package job

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// pushers finds out who pushed to the branch since it was at the commit that was applied last. Nobody's word is taken for when that was:
// the moves of the branch, of which GitHub says who made them, lead from the commit that is applied to the one that was.
// See https://docs.github.com/en/rest/repos/repos#list-repository-activities.
func (g *gatherer) pushers(ctx context.Context, task operation.Task, last string) (pushers, error) {
	if last == "" {
		return pushers{untold: "GitHub knows of no apply before this one"}, nil
	}
	var found pushers
	var arrived, traced, nameless bool
	err := g.github.Activities(ctx, g.repo, task.Job.Branch, func(moved hub.Activity) bool {
		if moved.After == last {
			traced = true
			return false
		}
		arrived = arrived || moved.After == task.Commit
		switch moved.Kind {
		case hub.ActivityMerge, hub.ActivityQueueMerge, hub.ActivityDeletion: // who wrote a pull request is asked of it
		default: // also kinds that GitHub may come to have
			found.logins = append(found.logins, moved.Actor.Login)
			nameless = nameless || moved.Actor.Login == ""
		}
		traced = moved.Before == last
		return !traced
	})
	if ctx.Err() != nil {
		return found, fmt.Errorf("ask who pushed: %w", context.Cause(ctx))
	}
	switch {
	case err != nil:
		found.untold = "GitHub does not tell who pushed to the branch"
	case !arrived || !traced:
		found.untold = "GitHub does not tell how the branch came here from what was applied last"
	case nameless:
		found.untold = "GitHub does not tell who made one of the pushes since the last apply"
	}
	return found, nil
}
