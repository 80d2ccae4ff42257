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
			}), evidence.Content).Text()
			continue
		}
		view.Commit = promotion.Commit
		if promotion.Baseline() {
			view.Baseline = append(view.Baseline, promotion.Root)
		}
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
