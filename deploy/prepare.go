package deploy

import (
	"context"
	"fmt"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/terraform"
)

// prepareAndApply observes anew what an apply covers, what of it people reviewed and what speaks against it,
// and has it run. An error means that no runner was started.
func (d *Deploy) prepareAndApply(ctx context.Context, op operation.Operation) (store.Finish, error) {
	ready, err := d.prepare(ctx, op)
	switch {
	case err != nil:
		return store.Finish{}, err
	case ready.end != nil:
		return *ready.end, nil
	}
	var shown errgroup.Group
	shown.Go(func() error { return d.show(ctx, ready.op) }) // beside the apply, which need not wait for it
	finish, err := d.execute(ctx, ready.op, ready.seen)
	if failed := shown.Wait(); failed != nil { // its end is shown
		zerolog.Ctx(ctx).Warn().Err(failed).Msg("could not show that an apply runs")
	}
	return finish, err
}

// prepared is an apply that can be run, or how it ends without that.
type prepared struct {
	op   operation.Operation
	seen reviewed
	end  *store.Finish
}

// prepare looks at an apply in the mirror while that is fetched, because another replica may have seen the push and
// somebody may have changed the configuration. Where the fetch brought anything that the look depends on, it is
// made again: what waits for its turn need not wait for the network as a rule.
func (d *Deploy) prepare(ctx context.Context, op operation.Operation) (prepared, error) {
	branch, err := d.defaultBranch(ctx, op.Repository)
	if err != nil {
		return prepared{}, err
	}
	var fetch errgroup.Group
	fetch.Go(func() error { return wrap("fetch", d.Git.Fetch(ctx, op.Repository)) })
	before, there, lookErr := d.Git.Branch(ctx, op.Repository, branch)
	ask := d.asking(op.Repository)
	var early prepared
	if lookErr == nil && there {
		early, lookErr = d.look(ctx, ask, op, branch)
	}
	if err := fetch.Wait(); err != nil {
		return prepared{}, err //nolint:wrapcheck // wrapped above
	}
	after, _, err := d.Git.Branch(ctx, op.Repository, branch)
	if err != nil {
		return prepared{}, fmt.Errorf("find the default branch: %w", err)
	}
	if lookErr == nil && there && before == after {
		return early, nil
	}
	return d.look(ctx, ask, op, branch)
}

// look observes an apply in the mirror as it is.
func (d *Deploy) look(ctx context.Context, ask *asking, op operation.Operation, branch string) (prepared, error) {
	config, err := d.configuration(ctx, op.Repository, branch)
	if err != nil {
		return prepared{}, err
	}
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt, Doubt: op.Doubt}
	if config.Problem != "" || config.Default {
		end.State = operation.Failed
		end.Message = "Nothing was changed, because " + repoconfig.Path + " on " + branch + " cannot be used."
		return prepared{end: &end}, nil
	}
	due, err := d.outstandingAt(ctx, op.Repository, config.Config, op.Environment, op.Head)
	if err != nil {
		return prepared{}, err
	}
	if len(due.Roots) == 0 {
		end.State = operation.Succeeded
		end.Message = "Nothing was left to apply."
		return prepared{end: &end}, nil
	}
	op.Roots = make([]string, 0, len(due.Roots))
	for _, root := range due.Roots {
		op.Roots = append(op.Roots, root.Root)
	}
	if op, err = d.nameLate(ctx, ask, op, due.Since); err != nil {
		return prepared{}, err
	}
	seen, err := d.evidence(ctx, ask, &op, config.Config, due)
	if err != nil {
		return prepared{}, err
	}
	seen.config, seen.evidence.Config = &config, config.Commit
	if op.Tree, err = d.Git.Tree(ctx, op.Repository, op.Head); err != nil {
		return prepared{}, fmt.Errorf("find the tree of %s: %w", short(op.Head), err)
	}
	return prepared{op: op, seen: seen}, nil
}

// evidence gathers what the explanation of an apply's changes rests on, and says in the operation's doubts
// what a yes is needed for whatever its plan shows.
func (d *Deploy) evidence(ctx context.Context, ask *asking, op *operation.Operation, config repoconfig.Config,
	due outstanding,
) (reviewed, error) {
	states, err := d.Store.Targets(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return reviewed{}, fmt.Errorf("read targets: %w", err)
	}
	before := appliedBefore(*op, states)
	found, err := d.reviewedOf(ctx, ask, *op, config, before)
	if err != nil {
		return reviewed{}, err
	}
	found.evidence.Before = before
	for _, state := range states {
		if target, ok := found.targets[state.Target.Root]; ok {
			target.lineage, target.serial = state.Lineage, state.Serial
			found.targets[state.Target.Root] = target
		}
	}
	if err := d.keepBaselines(ctx, *op, config, states); err != nil {
		return reviewed{}, err
	}
	if found.evidence.Content, err = d.contents(ctx, *op, config); err != nil {
		return reviewed{}, err
	}
	if found.evidence.Promotions, err = d.promotions(ctx, *op, config, found.evidence.Content); err != nil {
		return reviewed{}, err
	}
	doubts := op.Warned.With(due.Doubts...).With(unproven(found.evidence.Promotions, found.evidence.Content)...)
	found.evidence.Doubts, found.evidence.Doubt = doubts, doubts.Text()
	op.Doubt = doubts.Without(op.Agreed).Text()
	if found.evidence.Seconds, err = d.approvedBlocked(ctx, ask, *op); err != nil {
		return reviewed{}, err
	}
	for _, second := range found.evidence.Seconds {
		if target, ok := found.targets[second.Root]; ok {
			target.approved = append(target.approved, second.Held)
			found.targets[second.Root] = target
		}
	}
	return found, nil
}

// appliedBefore is the applied commit of each root of an operation.
func appliedBefore(op operation.Operation, states []store.TargetState) map[string]string {
	before := map[string]string{}
	for _, root := range op.Roots {
		if commit := appliedCommit(states, operation.Target{Root: root, Environment: op.Environment}); commit != "" {
			before[root] = commit
		}
	}
	return before
}

// protected lists what prevent_destroy kept in a root at a commit. What cannot be read there protected nothing
// that could be planned.
func (d *Deploy) protected(ctx context.Context, repo operation.Repository, root, commit string) []string {
	if commit == "" {
		return nil
	}
	if there, err := d.Git.Has(ctx, repo, commit); err != nil || !there {
		return nil
	}
	kept, err := terraform.Protected(ctx, d.reader(ctx, repo, commit), root)
	if err != nil {
		zerolog.Ctx(ctx).Debug().Err(err).Str("root", root).Msg("what prevent_destroy kept before is not known")
		return nil
	}
	return kept
}
