package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// pullFacts is what was last seen and decided about a pull request; its comment is rendered from it.
type pullFacts struct {
	Number   int                 `json:"number"`
	Title    string              `json:"title"`
	Author   string              `json:"author"`
	State    string              `json:"state"`
	Head     string              `json:"head"`     // commit
	HeadRef  string              `json:"head_ref"` // branch
	Base     string              `json:"base"`     // branch
	BaseTip  string              `json:"base_tip"` // commit
	Fork     bool                `json:"fork"`
	Comments int                 `json:"comments"` // how many it had when it was first seen
	Decision gitflow.Decision    `json:"decision"`
	Problem  string              `json:"problem,omitempty"` // of the configuration
	Merge    string              `json:"merge,omitempty"`   // conflicting files, in words
	Roots    []render.RootReason `json:"roots,omitempty"`
	Silent   bool                `json:"silent,omitempty"` // nothing of it is shown
}

// lookAtPull brings what is shown about a pull request up to date, and plans it where its head, its
// base or the person who asks make a new plan necessary.
func (d *Deploy) lookAtPull(ctx context.Context, seen PullSeen) error {
	if seen.Closed {
		open, err := d.openPlans(ctx, seen.Repository.ID, seen.Number)
		if err != nil || len(open) == 0 {
			return err // its applies are found by the push of the merge
		}
	}
	pull, branch, err := d.fetchPull(ctx, seen.Repository, seen.Number)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		d.Log.Info().Str("repository", seen.Repository.FullName()).Int("pull", seen.Number).Msg("pull request is gone")
		return nil
	}
	if err != nil {
		return err
	}
	if pull.State != "open" {
		return d.pullEnded(ctx, seen.Repository, pull)
	}
	return d.reviewPull(ctx, seen, pull, branch)
}

// fetchPull reads a pull request from GitHub while the mirror catches up.
func (d *Deploy) fetchPull(ctx context.Context, repo operation.Repository, number int) (hub.Pull, string, error) {
	var pull hub.Pull
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error {
		var err error
		if pull, err = d.Hub.Pull(groupCtx, repo, number); err != nil {
			return fmt.Errorf("read pull request: %w", err)
		}
		return nil
	})
	group.Go(func() error {
		return wrap("fetch", d.Git.Join(groupCtx, repo))
	})
	if err := group.Wait(); err != nil {
		return hub.Pull{}, "", fmt.Errorf("observe #%d: %w", number, err)
	}
	if err := d.catchUp(ctx, repo, pull); err != nil {
		return hub.Pull{}, "", err
	}
	branch := pull.DefaultBranch
	if branch == "" {
		var err error
		if branch, err = d.defaultBranch(ctx, repo); err != nil {
			return hub.Pull{}, "", err
		}
		return pull, branch, nil
	}
	if err := d.Store.SaveRepository(ctx, repo, branch); err != nil {
		return hub.Pull{}, "", fmt.Errorf("save repository: %w", err)
	}
	return pull, branch, nil
}

// catchUp fetches once more where the mirror lacks the head or the base of a pull request: the fetch
// that was joined may have begun before they were there.
func (d *Deploy) catchUp(ctx context.Context, repo operation.Repository, pull hub.Pull) error {
	head, err := d.Git.Has(ctx, repo, pull.HeadSHA)
	if err != nil {
		return fmt.Errorf("look for the head: %w", err)
	}
	_, base, err := d.Git.Branch(ctx, repo, pull.BaseRef)
	if err != nil {
		return fmt.Errorf("look for the base branch: %w", err)
	}
	if head && base {
		return nil
	}
	return wrap("fetch", d.Git.Fetch(ctx, repo))
}

// pullEnded ends the open plans of a pull request that was merged or closed.
func (d *Deploy) pullEnded(ctx context.Context, repo operation.Repository, pull hub.Pull) error {
	if facts, ok, err := d.pullFacts(ctx, repo, pull.Number); err != nil {
		return err
	} else if ok {
		facts.State = pull.State
		if err := d.savePull(ctx, repo, facts); err != nil {
			return err
		}
	}
	return d.supersede(ctx, repo.ID, pull.Number, operation.Operation{}, "The pull request is "+pull.State+".")
}

// supersede ends the open plans of a pull request but for one, stops those that run, and closes the
// checks that they have on heads of their own.
func (d *Deploy) supersede(ctx context.Context, repo int64, pull int, except operation.Operation, why string) error {
	open, err := d.openPlans(ctx, repo, pull)
	if err != nil {
		return err
	}
	stopped, err := d.Store.SupersedePlans(ctx, repo, pull, except.ID, why)
	if err != nil {
		return fmt.Errorf("supersede plans: %w", err)
	}
	for _, op := range stopped {
		d.stop(op.ID)
	}
	for _, op := range open {
		if op.ID == except.ID || op.Head == except.Head {
			continue // the newer plan writes to the same check
		}
		if op, err = d.Store.Operation(ctx, op.ID); err != nil {
			return fmt.Errorf("read plan: %w", err)
		}
		if err := d.showPlanCheck(ctx, op); err != nil {
			return err
		}
	}
	return nil
}

func (d *Deploy) openPlans(ctx context.Context, repo int64, pull int) ([]operation.Operation, error) {
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Pull: pull, Kinds: []operation.Kind{operation.Plan},
		States: []operation.State{operation.Queued, operation.Running},
	})
	if err != nil {
		return nil, fmt.Errorf("find open plans: %w", err)
	}
	return ops, nil
}

// reviewPull decides about an open pull request, shows the decision, and plans where it is due.
func (d *Deploy) reviewPull(ctx context.Context, seen PullSeen, pull hub.Pull, defaultBranch string) error {
	repo := seen.Repository
	config, err := d.configuration(ctx, repo, defaultBranch)
	if err != nil {
		return err
	}
	facts := pullFacts{
		Number: pull.Number, Title: pull.Title, Author: pull.Author, State: pull.State, Head: pull.HeadSHA,
		HeadRef: pull.HeadRef, Base: pull.BaseRef, Fork: pull.Fork, Comments: pull.Comments, Problem: config.Problem,
	}
	known, err := d.facts(ctx, repo)
	if err != nil {
		return err
	}
	facts.Decision = gitflow.DecidePullRequest(config.Config,
		gitflow.PullRequest{From: pull.HeadRef, To: pull.BaseRef, Fork: pull.Fork}, known)
	var tree string
	if facts.Problem == "" {
		if tree, err = d.mergePull(ctx, repo, config, &facts); err != nil {
			return err
		}
	}
	if err := d.savePull(ctx, repo, facts); err != nil {
		return err
	}
	if tree == "" || len(facts.Roots) == 0 {
		if err := d.supersede(ctx, repo.ID, pull.Number, operation.Operation{Head: facts.Head}, "A newer head changes no root."); err != nil {
			return err
		}
		return d.showPull(ctx, repo, pull.Number)
	}
	return d.planPull(ctx, seen, facts, tree)
}

// mergePull merges head into base in the mirror and finds the roots that this changes. The tree is
// empty where nothing is to be planned.
func (d *Deploy) mergePull(ctx context.Context, repo operation.Repository, config configured, facts *pullFacts) (string, error) {
	base, ok, err := d.Git.Branch(ctx, repo, facts.Base)
	if err != nil {
		return "", fmt.Errorf("find the base branch: %w", err)
	}
	if !ok {
		return "", fmt.Errorf("base branch %q is not in the mirror yet", facts.Base)
	}
	facts.BaseTip = base
	if config.Default {
		adopted, err := d.anyRoot(ctx, repo, config, base, facts.Head)
		if err != nil {
			return "", err
		}
		facts.Silent = !adopted
	}
	environment := facts.Decision.Environment
	if environment == "" || facts.Fork || facts.Silent || facts.Decision.Verdict == gitflow.Refused {
		return "", nil
	}
	merge, err := d.Git.Merge(ctx, repo, base, facts.Head)
	if err != nil {
		return "", fmt.Errorf("merge %s into %s: %w", facts.HeadRef, facts.Base, err)
	}
	if len(merge.Conflicts) > 0 {
		facts.Merge = strings.Join(merge.Conflicts, "\n")
		return "", nil
	}
	files, err := d.changed(ctx, repo, base, merge.Tree)
	if err != nil {
		return "", err
	}
	facts.Roots, err = d.rootsAt(ctx, repo, config.Config, environment, merge.Tree, files)
	return merge.Tree, err
}

// anyRoot reports whether one of the configured roots exists in one of the commits.
func (d *Deploy) anyRoot(ctx context.Context, repo operation.Repository, config configured, commits ...string) (bool, error) {
	for _, root := range config.Roots {
		for _, commit := range commits {
			names, err := d.Git.Files(ctx, repo, commit, root.Dir)
			if err != nil {
				return false, fmt.Errorf("list %s: %w", root.Dir, err)
			}
			if len(names) > 0 {
				return true, nil
			}
		}
	}
	return false, nil
}

// planPull queues a plan of the merged tree, unless the newest one already shows it.
func (d *Deploy) planPull(ctx context.Context, seen PullSeen, facts pullFacts, tree string) error {
	repo := seen.Repository
	newest, ok, err := d.newestPlan(ctx, repo.ID, facts.Number)
	if err != nil {
		return err
	}
	roots := make([]string, len(facts.Roots))
	for i, root := range facts.Roots {
		roots[i] = root.Root
	}
	same := ok && newest.Tree == tree && newest.Head == facts.Head && newest.Environment == facts.Decision.Environment &&
		slices.Equal(newest.Roots, roots) && newest.State != operation.Superseded && newest.State != operation.Cancelled
	if same && (seen.Again == "" || !newest.State.Ended()) {
		if newest.State == operation.Queued {
			if err := d.Store.Enqueue(ctx, driveJob(newest)); err != nil {
				return fmt.Errorf("queue %s: %w", newest, err)
			}
		}
		return d.showPull(ctx, repo, facts.Number)
	}
	actor, reason := facts.Author, "the pull request has a new head or base"
	if seen.Again != "" {
		actor, reason = seen.Again, seen.Again+" asked for a new plan"
	}
	op, err := d.Store.CreateOperation(ctx, operation.Operation{
		Kind: operation.Plan, Repository: repo, Environment: facts.Decision.Environment,
		Pull: facts.Number, Pulls: []int{facts.Number}, Branch: facts.Base, Base: facts.BaseTip, Head: facts.Head,
		Tree: tree, Roots: roots, Actor: actor, Reason: reason,
	})
	if err != nil {
		return fmt.Errorf("create plan: %w", err)
	}
	if err := d.supersede(ctx, repo.ID, facts.Number, op, "A newer plan of this pull request replaces it."); err != nil {
		return err
	}
	if err := d.Store.Enqueue(ctx, driveJob(op)); err != nil {
		return fmt.Errorf("queue %s: %w", op, err)
	}
	return d.showPull(ctx, repo, facts.Number)
}

func (d *Deploy) newestPlan(ctx context.Context, repo int64, pull int) (operation.Operation, bool, error) {
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Pull: pull, Kinds: []operation.Kind{operation.Plan}, Newest: true, Limit: 1,
	})
	if err != nil {
		return operation.Operation{}, false, fmt.Errorf("find the newest plan: %w", err)
	}
	if len(ops) == 0 {
		return operation.Operation{}, false, nil
	}
	return ops[0], true, nil
}

func (d *Deploy) pullFacts(ctx context.Context, repo operation.Repository, number int) (pullFacts, bool, error) {
	data, ok, err := d.Store.Pull(ctx, repo.ID, number)
	if err != nil || !ok {
		return pullFacts{}, false, wrap("read pull request", err)
	}
	var facts pullFacts
	if err := json.Unmarshal(data, &facts); err != nil { //nolint:musttag // our own row: names of fields serve as names of members
		return pullFacts{}, false, fmt.Errorf("read pull request %d: %w", number, err)
	}
	return facts, true, nil
}

func (d *Deploy) savePull(ctx context.Context, repo operation.Repository, facts pullFacts) error {
	data, err := json.Marshal(facts) //nolint:musttag // see pullFacts
	if err != nil {
		return fmt.Errorf("write pull request %d: %w", facts.Number, err)
	}
	return wrap("save pull request", d.Store.SavePull(ctx, repo.ID, facts.Number, data))
}

// wrap adds what was being done to an error, and leaves nil alone.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
