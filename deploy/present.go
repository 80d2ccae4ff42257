package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// present is the repository's configuration as the mirror has it: what is shown is masked and grouped by it.
// A replica that has no mirror yet makes one, because without the patterns nothing may be shown.
func (d *Deploy) present(ctx context.Context, repo operation.Repository) (repoconfig.Config, error) {
	config, err := d.known(ctx, repo)
	if errors.Is(err, git.ErrNoMirror) {
		config, err = d.fetched(ctx, repo)
	}
	return config.Config, err
}

// promotionViews shows, for each stage before an apply's environment, whether the same content was applied
// there, and how what it did there differs.
func (d *Deploy) promotionViews(ctx context.Context, op operation.Operation, evidence operation.Evidence) ([]render.PromotionView, error) {
	var views []render.PromotionView
	for _, promotion := range evidence.Promotions {
		i := slices.IndexFunc(views, func(view render.PromotionView) bool { return view.Stage == promotion.Stage })
		if i < 0 {
			views = append(views, render.PromotionView{Stage: promotion.Stage})
			i = len(views) - 1
		}
		view := &views[i]
		if !promotion.Proven() {
			view.Problem = unproven(slices.DeleteFunc(slices.Clone(evidence.Promotions), func(other operation.Promotion) bool {
				return other.Stage != promotion.Stage
			}))
			continue
		}
		view.Commit = promotion.Commit
		now, planned := resultOf(op, promotion.Root)
		if !planned || promotion.Operation == 0 {
			continue
		}
		stage, err := d.Store.Operation(ctx, promotion.Operation)
		if err != nil {
			return nil, fmt.Errorf("read the apply in %s: %w", promotion.Stage, err)
		}
		then, ok := resultOf(stage, promotion.Root)
		if !ok {
			continue
		}
		same, differs := plan.Promoted(now.ChangeSet, then.ChangeSet, op.Environment, promotion.Stage)
		view.Same += same
		view.Differs = append(view.Differs, differs...)
	}
	return views, nil
}

// stale says that an apply has changed the state of a root since a plan was made; empty where none has. Where that
// apply touched the same objects, or the base has other content by now, the plan is out of date and made anew
// instead. Nobody is written to because of this alone: it is shown with what is written next.
func (d *Deploy) stale(ctx context.Context, planned operation.Operation) (string, error) {
	if planned.Result == nil || planned.State != operation.Succeeded {
		return "", nil
	}
	states, err := d.Store.Targets(ctx, planned.Repository.ID, planned.Environment)
	if err != nil {
		return "", fmt.Errorf("read targets: %w", err)
	}
	for _, state := range states {
		target, ok := resultOf(planned, state.Target.Root)
		if !ok || target.Serial == 0 || state.Serial == 0 || target.Lineage != state.Lineage || target.Serial >= state.Serial {
			continue
		}
		return fmt.Sprintf("An apply has changed the state of %s since it was made: its serial was %d, and is %d. "+
			"The apply of this pull request plans again and compares.", state.Target.Root, target.Serial, state.Serial), nil
	}
	return "", nil
}
