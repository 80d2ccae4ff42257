package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// installed takes in repositories: it makes their mirrors, keeps what their branches hold as the
// baseline of their environments, and looks at their open pull requests.
func (d *Deploy) installed(ctx context.Context, seen Installed) error {
	for _, repo := range seen.Removed {
		if err := d.endWaiting(ctx, repo.ID, "The App was removed from the repository before it ran.",
			func(operation.Operation) bool { return true }); err != nil {
			return fmt.Errorf("end what waits in %s: %w", repo.FullName(), err)
		}
		if err := d.Store.RemoveRepository(ctx, repo.ID); err != nil {
			return fmt.Errorf("remove %s: %w", repo.FullName(), err)
		}
	}
	for _, repo := range seen.Added {
		err := d.adopt(ctx, repo)
		if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
			continue // removed again meanwhile
		}
		if err != nil {
			return fmt.Errorf("take in %s: %w", repo.FullName(), err)
		}
	}
	return nil
}

func (d *Deploy) adopt(ctx context.Context, repo operation.Repository) error {
	info, err := d.Hub.Repository(ctx, repo)
	if err != nil {
		return fmt.Errorf("read the repository: %w", err)
	}
	if err := d.Store.SaveRepository(ctx, repo, info.DefaultBranch); err != nil {
		return fmt.Errorf("save the repository: %w", err)
	}
	if err := d.Store.WriteRefused(ctx, repo.ID); err != nil {
		return fmt.Errorf("write again what was refused: %w", err)
	}
	if err := d.Git.Fetch(ctx, repo); err != nil {
		return fmt.Errorf("fetch: %w", err)
	}
	config, err := d.configuration(ctx, repo, info.DefaultBranch)
	if err != nil {
		return err
	}
	if config.Problem == "" && !config.Default {
		if err := d.takeBaselines(ctx, repo, config); err != nil {
			return err
		}
	}
	pulls, err := d.Hub.OpenPulls(ctx, repo)
	if err != nil {
		return fmt.Errorf("list open pull requests: %w", err)
	}
	for _, pull := range pulls {
		if err := d.enqueue(ctx, PullSeen{Repository: repo, Number: pull.Number, Bot: pull.AuthorType == hub.Bot}.Job()); err != nil {
			return fmt.Errorf("queue #%d: %w", pull.Number, err)
		}
	}
	return nil
}

// takeBaselines keeps what each mapped branch holds now as applied by other means.
func (d *Deploy) takeBaselines(ctx context.Context, repo operation.Repository, config configured) error {
	branches, err := d.Git.Branches(ctx, repo, func(name string) bool {
		_, ok := config.EnvironmentOf(name)
		return ok
	})
	if err != nil {
		return fmt.Errorf("list branches: %w", err)
	}
	known, err := d.facts(ctx, repo)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		tip := branches[name]
		decision := gitflow.DecidePush(config.Config, gitflow.Push{Branch: name}, known)
		if _, known, err := d.Store.BranchTip(ctx, repo.ID, name); err != nil {
			return fmt.Errorf("read the tip of %s: %w", name, err)
		} else if known {
			continue
		}
		if decision.Verdict == gitflow.Allowed { // not of an older release, which another one has overtaken
			if err := d.setBaseline(ctx, repo, config, decision.Environment, tip); err != nil {
				return err
			}
		}
		if err := d.Git.Prefetch(ctx, repo, tip); err != nil { // so that the first plan need not wait for it
			return fmt.Errorf("fetch the files of %s: %w", name, err)
		}
		if err := d.Store.SetBranchTip(ctx, repo.ID, name, tip); err != nil {
			return fmt.Errorf("save the tip of %s: %w", name, err)
		}
	}
	return nil
}

// groupQueued checks and plans the commit of a merge group.
func (d *Deploy) groupQueued(ctx context.Context, seen GroupQueued) error {
	repo := seen.Repository
	config, err := d.fetched(ctx, repo)
	if err != nil {
		return err
	}
	known, err := d.facts(ctx, repo)
	if err != nil {
		return err
	}
	facts := pullFacts{
		Head: seen.Head, Base: seen.Base, Problem: config.Problem, State: "open",
		Decision: gitflow.DecideMergeGroup(config.Config, gitflow.MergeGroup{Base: seen.Base}, known),
	}
	if err := d.wantFlow(ctx, repo, seen.Head, []pullFacts{facts}); err != nil {
		return err
	}
	environment := facts.Decision.Environment
	if environment == "" || facts.Problem != "" {
		return nil
	}
	return d.planGroup(ctx, repo, config, facts)
}

func (d *Deploy) planGroup(ctx context.Context, repo operation.Repository, config configured, facts pullFacts) error {
	base, ok, err := d.Git.Branch(ctx, repo, facts.Base)
	if err != nil || !ok {
		return wrap("find the base of the group", err)
	}
	files, err := d.changed(ctx, repo, base, facts.Head)
	if err != nil {
		return err
	}
	tree, err := d.Git.Tree(ctx, repo, facts.Head)
	if err != nil {
		return fmt.Errorf("find the tree of the group: %w", err)
	}
	roots, err := d.rootsAt(ctx, repo, config.Config, facts.Decision.Environment, tree, files)
	if err != nil {
		return err
	}
	if len(roots) == 0 {
		text := check(planCheckName(facts.Decision.Environment), facts.Head, render.PlanCheck(render.PullView{
			Repository: repo, WebURL: d.WebURL, Gitflow: facts.Decision, Now: d.Clock.Now(),
		}))
		text.Status, text.Conclusion = "completed", "success"
		return d.wantCheck(ctx, repo, text, time.Time{})
	}
	op := operation.Operation{
		Kind: operation.Plan, Repository: repo, Environment: facts.Decision.Environment, Branch: facts.Base, Base: base,
		Head: facts.Head, Tree: tree, Actor: "merge queue", Reason: "a merge group waits for its checks",
	}
	for _, root := range roots {
		op.Roots = append(op.Roots, root.Root)
	}
	if op, err = d.Store.CreateOperation(ctx, op); err != nil {
		return fmt.Errorf("create plan: %w", err)
	}
	if err := d.enqueue(ctx, driveJob(op)); err != nil {
		return fmt.Errorf("queue %s: %w", op, err)
	}
	return d.show(ctx, op)
}

// showPlanCheck wants the check of a plan on its own commit: a merge group's, or a head that is not the newest.
func (d *Deploy) showPlanCheck(ctx context.Context, op operation.Operation) error {
	view := render.PullView{
		Repository: op.Repository, WebURL: d.WebURL, Plan: &op, Now: d.Clock.Now(),
		Gitflow: gitflow.Decision{Environment: op.Environment},
	}
	for _, root := range op.Roots {
		view.Roots = append(view.Roots, render.RootReason{Root: root, Reason: op.Reason})
	}
	text := check(planCheckName(op.Environment), op.Head, render.PlanCheck(view))
	text.Status, text.Conclusion = checkState(op)
	return d.wantCheck(ctx, op.Repository, text, time.Time{})
}
