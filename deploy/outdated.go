package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// After an apply, the plans of open pull requests can be out of date: where it changed what they change too, or where
// their base branch has other code of the roots that they plan. Those are planned again, people's first, so many for each
// apply as the budget allows; the others say that they are out of date. So do those, without being planned again, of which
// an apply only moved the state of a root, and those whose base branch has moved to what waits for a yes: what it will
// change is not known yet. All others stay as they are.

// fewApplies is how many of the newest applies are compared with plans: each of them was looked at when it ended, so
// only those are new that ended close together.
const fewApplies = 10

// outdated says since when, and why, a plan shows not what an apply would do.
type outdated struct {
	render.Outdated

	Plan  int64     `json:"plan"`            // that is out of date
	Since time.Time `json:"since"`           // when the newest apply ended that was compared with it
	Again bool      `json:"again,omitempty"` // it is to be planned again; before the budget is asked: it is worth that
}

// lookForOutdatedJob is the job that looks at the plans for an environment after an apply.
func lookForOutdatedJob(repo operation.Repository, environment string) queue.Job {
	j := job(queue.Quick, KindOutdated, repo.ID, fmt.Sprintf("outdated %d:%s", repo.ID, environment),
		drive{Repository: repo, Environment: environment})
	j.Once = true
	return j
}

// mayHaveChanged reports whether an apply has ended and may have changed its environment.
func mayHaveChanged(op operation.Operation) bool {
	switch op.State {
	case operation.Succeeded, operation.Failed, operation.Interrupted, operation.Cancelled:
		return op.Kind.Exclusive() && op.Attempt > 0
	case operation.Queued, operation.Running, operation.Unconfirmed, operation.Gathered, operation.Superseded:
	}
	return false
}

// mayOutdate reports whether plans may be out of date because of where an apply has come to.
func mayOutdate(op operation.Operation) bool {
	return mayHaveChanged(op) || op.Kind.Exclusive() && op.State == operation.Unconfirmed && op.Attempt > 0
}

// lookForOutdated finds the open pull requests whose plans for an environment are out of date. To do it again
// changes nothing until the next apply.
func (d *Deploy) lookForOutdated(ctx context.Context, what drive) error {
	repo := what.Repository
	if d.Shared {
		if err := d.Git.Fetch(ctx, repo); err != nil { // another replica may have run the apply
			return fmt.Errorf("fetch: %w", err)
		}
	}
	config, err := d.known(ctx, repo)
	if err != nil || config.Problem != "" || config.Default {
		return err
	}
	applies, err := d.newestEnds(ctx, repo.ID, what.Environment)
	if err != nil || len(applies) == 0 {
		return err
	}
	states, err := d.Store.Targets(ctx, repo.ID, what.Environment)
	if err != nil {
		return fmt.Errorf("read targets: %w", err)
	}
	open, err := d.openFor(ctx, repo.ID, what.Environment)
	if err != nil {
		return err
	}
	look := comparison{
		Deploy: d, repo: repo, config: config.Config, environment: what.Environment, applies: applies, states: states,
		moved: map[string][]string{},
	}
	left, found := d.Replans, 0
	for _, facts := range open {
		stale, err := look.outdated(ctx, facts)
		if err != nil && ctx.Err() != nil {
			return fmt.Errorf("compare the plan of #%d: %w", facts.Number, err)
		}
		if err != nil { // what is wrong with one must not keep the others from being looked at
			zerolog.Ctx(ctx).Warn().Err(err).Int("number", facts.Number).Msg("could not compare a plan with what was applied")
		}
		if err != nil || stale == nil {
			continue
		}
		found++
		if stale.Again = stale.Again && left > 0; stale.Again {
			left--
		}
		seen := PullSeen{Repository: repo, Number: facts.Number, Bot: facts.onlyForBots(), Outdated: stale}
		if err := d.enqueue(ctx, seen.Job()); err != nil {
			return fmt.Errorf("queue #%d: %w", facts.Number, err)
		}
	}
	if found > 0 {
		zerolog.Ctx(ctx).Info().Int("outdated", found).Int("planned_again", d.Replans-left).Int("open", len(open)).
			Msg("plans are out of date after an apply")
	}
	return nil
}

// newestEnds are the newest applies of an environment by which plans may be out of date, newest first.
func (d *Deploy) newestEnds(ctx context.Context, repo int64, environment string) ([]operation.Operation, error) {
	applies, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Environment: environment, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: fewApplies,
		States: []operation.State{
			operation.Succeeded, operation.Failed, operation.Interrupted, operation.Cancelled, operation.Unconfirmed,
		},
	})
	if err != nil {
		return nil, fmt.Errorf("find the newest applies of %s: %w", environment, err)
	}
	return slices.DeleteFunc(applies, func(op operation.Operation) bool { return !mayOutdate(op) }), nil
}

// openFor are the open pull requests that are planned for an environment, those that people wait for first, then the newest.
func (d *Deploy) openFor(ctx context.Context, repo int64, environment string) ([]pullFacts, error) {
	open, err := d.openPulls(ctx, repo)
	if err != nil {
		return nil, err
	}
	open = slices.DeleteFunc(open, func(facts pullFacts) bool {
		return facts.Decision.Environment != environment || len(facts.Roots) == 0
	})
	slices.SortFunc(open, func(a, b pullFacts) int {
		if a.onlyForBots() != b.onlyForBots() {
			if b.onlyForBots() {
				return -1
			}
			return 1
		}
		return cmp.Compare(b.Number, a.Number)
	})
	return open, nil
}

// comparison compares plans with what was applied since.
type comparison struct {
	*Deploy

	repo        operation.Repository
	config      repoconfig.Config
	environment string
	applies     []operation.Operation // newest first
	states      []store.TargetState   // as they have left them
	moved       map[string][]string   // "from..to": the files that differ
}

// outdated says why the newest plan of a pull request is out of date; nil where it is not, or is known to be.
func (c *comparison) outdated(ctx context.Context, facts pullFacts) (*outdated, error) {
	plan, ok, err := c.newestPlan(ctx, c.repo.ID, facts.Number)
	if err != nil || !ok || plan.State != operation.Succeeded || plan.Head != facts.Head || plan.Environment != c.environment {
		return nil, err // one that has not ended is looked at when it does
	}
	since := slices.DeleteFunc(slices.Clone(c.applies), func(op operation.Operation) bool { return !endedSince(op, plan) })
	if len(since) == 0 {
		return nil, nil //nolint:nilnil // nothing has happened since
	}
	stale := outdated{Plan: plan.ID}
	for _, apply := range since {
		at := apply.Ended
		if apply.State == operation.Unconfirmed {
			at = apply.Started
		}
		if at.After(stale.Since) {
			stale.Since = at
		}
	}
	if told := facts.Outdated; told != nil && told.Plan == plan.ID && !told.Since.Before(stale.Since) {
		return nil, nil //nolint:nilnil // it is known to be
	}
	for _, apply := range since {
		if address, overlap := overlapping(plan, apply); overlap {
			stale.Outdated, stale.Again = render.Outdated{Pull: apply.Pull, Commit: apply.Head, Address: address}, true
			return &stale, nil
		}
	}
	root, err := c.baseChanged(ctx, facts, plan)
	if err != nil {
		return nil, err
	}
	if root != "" {
		stale.Outdated, stale.Again = render.Outdated{Base: facts.Base, Root: root}, slices.ContainsFunc(since, mayHaveChanged)
		return &stale, nil
	}
	if moved, ok := stateMoved(plan, c.states, since); ok {
		stale.Outdated = moved
		return &stale, nil
	}
	return nil, nil //nolint:nilnil // it shows what an apply would do
}

// endedSince reports whether an apply has ended since a plan began. One that waits for a yes has not, but the plan may
// have been made from a base branch without the commits that it waits with.
func endedSince(apply, plan operation.Operation) bool {
	if apply.State == operation.Unconfirmed {
		return apply.Head != plan.Base
	}
	return apply.Ended.After(plan.Started)
}

// stateMoved finds a root of a plan whose state our own applies have moved on from the serial that the plan was made on.
// The applies are those since, newest first. Another lineage is another state, and is not compared; a plan without one
// was made before there was a state.
func stateMoved(plan operation.Operation, states []store.TargetState, since []operation.Operation) (render.Outdated, bool) {
	for _, state := range states {
		planned, ok := resultOf(plan, state.Target.Root)
		if !ok || state.Serial <= planned.Serial || planned.Lineage != state.Lineage && planned.Lineage != "" {
			continue
		}
		moved := render.Outdated{Root: state.Target.Root, From: planned.Serial, To: state.Serial}
		by := slices.IndexFunc(since, func(apply operation.Operation) bool {
			left, ok := resultOf(apply, state.Target.Root)
			return ok && mayHaveChanged(apply) && left.Outcome != operation.Unchanged &&
				left.Lineage == state.Lineage && left.Serial == state.Serial
		})
		if by < 0 && planned.Lineage == "" {
			continue // it may be that nobody knows what it was made on
		}
		if by >= 0 {
			moved.Operation, moved.Pull, moved.Commit = since[by].ID, since[by].Pull, since[by].Head
		}
		return moved, true
	}
	return render.Outdated{}, false
}

// overlapping finds an address that a plan and an apply both change. It is empty where it is not known what the
// apply, or all that the plan, changes of a root of both: then they overlap too.
func overlapping(plan, apply operation.Operation) (string, bool) {
	if apply.Result == nil || len(apply.Result.Targets) == 0 {
		lost := apply.State == operation.Interrupted
		return "", lost && slices.ContainsFunc(plan.Roots, func(root string) bool { return slices.Contains(apply.Roots, root) })
	}
	if plan.Result == nil {
		return "", false
	}
	for _, changed := range apply.Result.Targets {
		switch changed.Outcome {
		case operation.Applied, operation.TargetFailed, operation.TargetStopped: // the latter two may have come part of the way
		case operation.Planned, operation.Unchanged, operation.Different, operation.Locked, operation.Looked, operation.Released,
			operation.OtherLock:
			continue
		}
		for _, planned := range plan.Result.Targets {
			if planned.Target != changed.Target {
				continue
			}
			if address, overlap := overlap(planned.ChangeSet, changed.ChangeSet); overlap {
				return address, true
			}
		}
	}
	return "", false
}

// overlap finds an address that is in both sets. What the cap of a set left out could be any.
func overlap(planned, changed operation.ChangeSet) (string, bool) {
	addresses := map[string]bool{}
	for _, change := range changed.Changes {
		if change.Action != operation.Read { // to read something changes nothing
			addresses[change.Address], addresses[change.PreviousAddress] = true, true
		}
	}
	delete(addresses, "")
	for _, change := range planned.Changes {
		for _, address := range []string{change.Address, change.PreviousAddress} {
			if addresses[address] && change.Action != operation.Read {
				return address, true
			}
		}
	}
	some := func(set operation.ChangeSet) bool { return len(set.Changes)+set.Omitted > 0 }
	return "", planned.Omitted > 0 && some(changed) || changed.Omitted > 0 && some(planned)
}

// baseChanged finds a root that a merge of head and base would plan with other code now than the plan did; "" is none.
func (c *comparison) baseChanged(ctx context.Context, facts pullFacts, plan operation.Operation) (string, error) {
	tip, ok, err := c.Git.Branch(ctx, c.repo, facts.Base)
	if err != nil || !ok || tip == plan.Base {
		return "", wrap("find the base branch", err)
	}
	if there, err := c.Git.Has(ctx, c.repo, plan.Base); err != nil || !there {
		return firstRoot(plan), wrap("look for the old base", err) // the branch was pushed by force
	}
	if err := c.haveTree(ctx, plan); err != nil {
		return "", err
	}
	// Cheap first: what has moved is the same for all pull requests that were planned on one commit.
	if root, err := c.differs(ctx, plan, plan.Base, tip); err != nil || root == "" {
		return "", err
	}
	merge, err := c.Git.Merge(ctx, c.repo, tip, facts.Head)
	if err != nil {
		return "", fmt.Errorf("merge %s into %s: %w", facts.HeadRef, facts.Base, err)
	}
	if len(merge.Conflicts) > 0 {
		return firstRoot(plan), nil // to plan it again tells so
	}
	return c.differs(ctx, plan, plan.Tree, merge.Tree)
}

func firstRoot(plan operation.Operation) string {
	if len(plan.Roots) == 0 {
		return ""
	}
	return plan.Roots[0]
}

func (c *comparison) differs(ctx context.Context, plan operation.Operation, from, to string) (string, error) {
	files, ok := c.moved[from+".."+to]
	if !ok {
		var err error
		if files, err = c.Git.ChangedFiles(ctx, c.repo, from, to); err != nil {
			return "", fmt.Errorf("find changed files: %w", err)
		}
		c.moved[from+".."+to] = files
	}
	return c.touchedRoot(ctx, c.repo, c.config, plan, files)
}

// touchedRoot finds a root of a plan whose code is among the changed files; "" is none. How roots are planned is
// in the configuration: where that changed, all of them are.
func (d *Deploy) touchedRoot(ctx context.Context, repo operation.Repository, config repoconfig.Config,
	plan operation.Operation, files []string,
) (string, error) {
	if len(files) == 0 {
		return "", nil
	}
	if slices.Contains(files, repoconfig.Path) {
		return firstRoot(plan), nil
	}
	for _, root := range config.Roots {
		if !slices.Contains(plan.Roots, root.Dir) {
			continue
		}
		dirs, err := d.rootDirs(ctx, repo, plan.Tree, root.Dir)
		if err != nil {
			return "", err
		}
		if root.Touched(plan.Environment, dirs, files) != "" {
			return root.Dir, nil
		}
	}
	return "", nil
}

// sameCode reports whether a plan shows what a merged tree would: the code of its roots is the same in both.
func (d *Deploy) sameCode(ctx context.Context, repo operation.Repository, config repoconfig.Config,
	plan operation.Operation, tree string,
) (bool, error) {
	if plan.Tree == tree {
		return true, nil
	}
	if plan.State != operation.Succeeded {
		return false, nil
	}
	if there, err := d.Git.Has(ctx, repo, plan.Tree); err != nil || !there {
		return false, wrap("look for the planned tree", err) // the mirror is new, or another replica planned it
	}
	files, err := d.Git.ChangedFiles(ctx, repo, plan.Tree, tree)
	if err != nil {
		return false, fmt.Errorf("find changed files: %w", err)
	}
	root, err := d.touchedRoot(ctx, repo, config, plan, files)
	return root == "", err
}

// markOutdated has a pull request say that its plan is out of date. Nobody waits for that.
func (d *Deploy) markOutdated(ctx context.Context, seen PullSeen) error {
	facts, ok, err := d.pullFacts(ctx, seen.Repository, seen.Number)
	if err != nil || !ok || facts.State != "open" {
		return err
	}
	stale := *seen.Outdated
	if told := facts.Outdated; told != nil && told.Plan == stale.Plan {
		stale.Outdated = told.Outdated // the reason that is shown already is as good, and costs no write
	}
	facts.Outdated = &stale
	if err := d.savePull(ctx, seen.Repository, facts); err != nil {
		return err
	}
	return d.showPull(inBackground(ctx), seen.Repository, seen.Number)
}

// reason is why a plan is made again, in words of ours only.
func (o outdated) reason(environment string) string {
	switch {
	case o.Base != "":
		return "its base branch has newer code of a root that it plans"
	case o.Pull != 0:
		return fmt.Sprintf("the apply of #%d has changed something in %s that it changes too", o.Pull, environment)
	default:
		return fmt.Sprintf("the apply of %s has changed something in %s that it changes too", short(o.Commit), environment)
	}
}

// lookIfOutdated has the plans for an environment looked at where an apply has ended, or its base branch has moved to what
// waits for a yes, while this one was made.
func (d *Deploy) lookIfOutdated(ctx context.Context, plan operation.Operation) error {
	if plan.State != operation.Succeeded || plan.Pull == 0 {
		return nil
	}
	applies, err := d.newestEnds(ctx, plan.Repository.ID, plan.Environment)
	if err != nil || !slices.ContainsFunc(applies, func(apply operation.Operation) bool { return endedSince(apply, plan) }) {
		return err
	}
	return wrap("queue a look at plans", d.enqueue(ctx, lookForOutdatedJob(plan.Repository, plan.Environment)))
}
