package deploy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
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
	Problem  string              `json:"problem,omitempty"`  // of the configuration
	Proposed string              `json:"proposed,omitempty"` // problem of the configuration that it proposes
	Repairs  bool                `json:"repairs,omitempty"`  // it proposes a right configuration where the present one has a problem
	Merge    string              `json:"merge,omitempty"`    // conflicting files, in words
	Roots    []render.RootReason `json:"roots,omitempty"`
	Silent   bool                `json:"silent,omitempty"`   // nothing of it is shown
	Approval *gitflow.Approval   `json:"approval,omitempty"` // where its environment asks for approvals
	Bot      bool                `json:"bot,omitempty"`      // a bot is its author
	Wanted   bool                `json:"wanted,omitempty"`   // a person asked for something of it
	Outdated *outdated           `json:"outdated,omitempty"`
	First    string              `json:"first,omitempty"` // the root that somebody asked to see before the others
	Lent     *lent               `json:"lent,omitempty"`  // the commit of a fork that is planned
}

// onlyForBots reports whether nobody waits for what is shown of a pull request, and for its plan: a bot opened
// it, and no person has wanted anything of it.
func (f pullFacts) onlyForBots() bool { return f.Bot && !f.Wanted }

// lookAtPull brings what is shown about a pull request up to date, and plans it where its head, its
// base or the person who asks make a new plan necessary.
func (d *Deploy) lookAtPull(ctx context.Context, seen PullSeen) error {
	if seen.Number == 0 {
		return d.lookAtHead(ctx, seen)
	}
	if seen.Outdated != nil && !seen.Outdated.Again {
		return d.markOutdated(ctx, seen)
	}
	if seen.Closed {
		if needless, err := d.nothingToEnd(ctx, seen); err != nil || needless {
			return err // its applies are found by the push of the merge
		}
	}
	pull, branch, err := d.fetchPull(ctx, seen.Repository, seen.Number)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		zerolog.Ctx(ctx).Info().Msg("pull request is gone")
		return nil
	}
	if err != nil {
		return err
	}
	if pull.State != "open" {
		return d.pullEnded(ctx, seen.Repository, pull)
	}
	if err := d.reviewPull(ctx, seen, pull, branch); err != nil {
		return err
	}
	return d.lookAtApprovals(ctx, seen.Repository, seen.Number)
}

// lookAtHead has the open pull requests looked at whose head is a commit.
func (d *Deploy) lookAtHead(ctx context.Context, seen PullSeen) error {
	open, err := d.Hub.OpenPulls(ctx, seen.Repository)
	if err != nil {
		return fmt.Errorf("list open pull requests: %w", err)
	}
	for _, pull := range open {
		if pull.HeadSHA != seen.Head {
			continue
		}
		if err := d.enqueue(ctx, PullSeen{Repository: seen.Repository, Number: pull.Number, Again: seen.Again}.Job()); err != nil {
			return fmt.Errorf("queue #%d: %w", pull.Number, err)
		}
	}
	return nil
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

// mergedPull is a pull request that was seen to be merged, with the default branch: nothing of it changes any more, so a command on
// it need not wait for another look at GitHub. It reports false for all others.
func (d *Deploy) mergedPull(ctx context.Context, repo operation.Repository, number int) (hub.Pull, string, bool, error) {
	facts, ok, err := d.pullFacts(ctx, repo, number)
	if err != nil || !ok || facts.State != hub.Merged {
		return hub.Pull{}, "", false, err
	}
	if err := d.Git.Join(ctx, repo); err != nil {
		return hub.Pull{}, "", false, fmt.Errorf("fetch: %w", err)
	}
	branch, err := d.defaultBranch(ctx, repo)
	return hub.Pull{
		Number: number, State: facts.State, Title: facts.Title, Author: facts.Author, HeadRef: facts.HeadRef, HeadSHA: facts.Head,
		BaseRef: facts.Base, Fork: facts.Fork, DefaultBranch: branch,
	}, branch, err == nil, err
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
		if pull.State == "merged" {
			facts.Head = pull.HeadSHA // only a plan of what was really merged counts as reviewed
			facts.Base = pull.BaseRef
		}
		if err := d.savePull(ctx, repo, facts); err != nil {
			return err
		}
		ctx = forWhom(ctx, facts.onlyForBots())
	}
	if err := d.supersede(ctx, repo.ID, pull.Number, operation.Operation{},
		"The pull request was "+pull.State+" before its plan was done."); err != nil {
		return err
	}
	if err := d.wantFlowCheck(ctx, repo, pull.HeadSHA); err != nil { // of the pull requests that have the same head
		return err
	}
	if err := d.approvedMeanwhile(ctx, repo, pull.Number); err != nil {
		return err
	}
	return d.showPull(ctx, repo, pull.Number)
}

// nothingToEnd reports whether nothing waits for the end of a pull request: no plan, and no other pull
// request whose check depends on it.
func (d *Deploy) nothingToEnd(ctx context.Context, seen PullSeen) (bool, error) {
	plans, err := d.openPlans(ctx, seen.Repository.ID, seen.Number)
	if err != nil || len(plans) > 0 {
		return false, err
	}
	facts, ok, err := d.pullFacts(ctx, seen.Repository, seen.Number)
	if err != nil || !ok {
		return !ok, err
	}
	sharing, err := d.openAt(ctx, seen.Repository.ID, facts.Head)
	return !slices.ContainsFunc(sharing, func(other pullFacts) bool { return other.Number != seen.Number }), err
}

// supersede ends the open plans of a pull request but for one, stops those that run, and closes the
// checks that they have for themselves. The checks are closed first: were it to break off between, the
// plans would still be found.
func (d *Deploy) supersede(ctx context.Context, repo int64, pull int, except operation.Operation, why string) error {
	open, err := d.openPlans(ctx, repo, pull)
	if err != nil {
		return err
	}
	for _, op := range open {
		if op.ID == except.ID || op.Head == except.Head && op.Environment == except.Environment {
			continue // the newer plan writes to the same check
		}
		if err := d.endCheck(ctx, op, why); err != nil {
			return err
		}
	}
	stopped, err := d.Store.SupersedePlans(ctx, repo, pull, except.ID, why)
	if err != nil {
		return fmt.Errorf("supersede plans: %w", err)
	}
	for _, op := range stopped {
		if _, err := d.stopAnywhere(ctx, op); err != nil {
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
	if merged, err := d.mergedMeanwhile(ctx, repo, pull); err != nil || merged {
		return err // its end is seen next
	}
	facts := pullFacts{
		Number: pull.Number, Title: pull.Title, Author: pull.Author, State: pull.State, Head: pull.HeadSHA,
		HeadRef: pull.HeadRef, Base: pull.BaseRef, Fork: pull.Fork, Comments: pull.Comments, Problem: config.Problem,
		Bot: pull.AuthorType == hub.Bot,
	}
	old, _, err := d.pullFacts(ctx, repo, pull.Number)
	if err != nil {
		return err
	}
	facts.Wanted, facts.Outdated = old.Wanted || seen.Again != "", old.Outdated
	if facts.First = old.First; seen.Again != "" {
		facts.First = seen.First
	}
	if old.Head == facts.Head {
		facts.Approval = old.Approval // looked at anew once the plan is on its way
		facts.Lent = old.Lent
	}
	if seen.lent != nil {
		facts.Lent = seen.lent
	}
	ctx = forWhom(ctx, facts.onlyForBots())
	known, err := d.facts(ctx, repo)
	if err != nil {
		return err
	}
	facts.Decision = gitflow.DecidePullRequest(config.Config,
		gitflow.PullRequest{From: pull.HeadRef, To: pull.BaseRef, Fork: pull.Fork, Lent: pull.Fork && facts.planned()}, known)
	var tree string
	if facts.Problem == "" {
		if tree, err = d.mergePull(ctx, repo, config, &facts); err != nil {
			return err
		}
	}
	if facts.Proposed, facts.Repairs, err = d.proposed(ctx, repo, facts, tree); err != nil {
		return err
	}
	if err := d.leaveBase(ctx, repo, facts); err != nil {
		return err
	}
	if err := d.keepPull(ctx, repo, facts); err != nil {
		return err
	}
	if tree == "" || len(facts.Roots) == 0 {
		if err := d.supersede(ctx, repo.ID, pull.Number,
			operation.Operation{Head: facts.Head, Environment: facts.Decision.Environment}, unplanned(facts)); err != nil {
			return err
		}
		return d.showPull(ctx, repo, pull.Number)
	}
	return d.planPull(ctx, seen, config, facts, tree)
}

// mergedMeanwhile reports whether the base branch has the head of a pull request that GitHub called open a
// moment ago: to plan that would show that it changes nothing.
func (d *Deploy) mergedMeanwhile(ctx context.Context, repo operation.Repository, pull hub.Pull) (bool, error) {
	base, ok, err := d.Git.Branch(ctx, repo, pull.BaseRef)
	if err != nil || !ok {
		return false, wrap("find the base branch", err)
	}
	merged, err := d.Git.IsAncestor(ctx, repo, pull.HeadSHA, base)
	return merged, wrap("compare head and base", err)
}

// unplanned says why the plans of a pull request end although no newer one takes their place.
func unplanned(facts pullFacts) string {
	if facts.Decision.Verdict == gitflow.Refused {
		return otherBase(facts)
	}
	return "There is nothing to plan for it any more."
}

// keepPull saves what is known of a pull request. Where that is new, those with the same head are
// looked at again.
func (d *Deploy) keepPull(ctx context.Context, repo operation.Repository, facts pullFacts) error {
	old, ok, err := d.pullFacts(ctx, repo, facts.Number)
	if err != nil {
		return err
	}
	if !ok || !sameDecision(old, facts) {
		if err := d.auditDecision(ctx, repo, facts.Decision, facts.Author, pullWords(facts)); err != nil {
			return err
		}
	}
	if !ok || old.Head != facts.Head || old.Base != facts.Base || old.State != facts.State {
		if err := d.lookAtOthers(ctx, repo, facts); err != nil {
			return err
		}
	}
	return d.savePull(ctx, repo, facts)
}

// proposed validates the configuration that a pull request proposes. It has no effect before it is on
// the default branch, but there a broken one would stop everything.
func (d *Deploy) proposed(ctx context.Context, repo operation.Repository, facts pullFacts, tree string) (string, bool, error) {
	base, ok, err := d.Git.Branch(ctx, repo, facts.Base)
	if err != nil || !ok {
		return "", false, wrap("find the base branch", err)
	}
	common, related, err := d.Git.MergeBase(ctx, repo, base, facts.Head)
	if err != nil {
		return "", false, fmt.Errorf("find the common commit: %w", err)
	}
	before := []byte(nil)
	if related {
		if before, _, err = d.Git.ReadFile(ctx, repo, common, repoconfig.Path); err != nil {
			return "", false, fmt.Errorf("read %s: %w", repoconfig.Path, err)
		}
	}
	after, there, err := d.Git.ReadFile(ctx, repo, facts.Head, repoconfig.Path)
	if err != nil {
		if ctx.Err() != nil {
			return "", false, fmt.Errorf("read %s: %w", repoconfig.Path, err)
		}
		return fmt.Sprintf("%s cannot be read: %v", repoconfig.Path, err), false, nil // too large, or a link: told to its author
	}
	if !there || bytes.Equal(before, after) {
		return "", false, nil
	}
	if tree != "" { // what the merge makes of it counts
		if after, _, err = d.Git.ReadFile(ctx, repo, tree, repoconfig.Path); err != nil {
			return "", false, fmt.Errorf("read %s: %w", repoconfig.Path, err)
		}
	}
	if _, err := repoconfig.Parse(after); err != nil {
		return err.Error(), false, nil //nolint:nilerr // told to its author
	}
	return "", facts.Problem != "" && !facts.Fork, nil
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
	if environment == "" || !facts.planned() || facts.Silent || facts.Decision.Verdict == gitflow.Refused {
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
func (d *Deploy) planPull(ctx context.Context, seen PullSeen, config configured, facts pullFacts, tree string) error {
	repo := seen.Repository
	newest, ok, err := d.newestPlan(ctx, repo.ID, facts.Number)
	if err != nil {
		return err
	}
	roots := make([]string, len(facts.Roots))
	for i, root := range facts.Roots {
		roots[i] = root.Root
	}
	same := ok && newest.Head == facts.Head && newest.Environment == facts.Decision.Environment &&
		slices.Equal(newest.Roots, roots) && newest.State != operation.Superseded && newest.State != operation.Cancelled
	if same {
		if same, err = d.sameCode(ctx, repo, config.Config, newest, tree); err != nil {
			return err
		}
	}
	stale := same && seen.Outdated != nil && seen.Outdated.Plan == newest.ID
	if facts.Fork && seen.lent == nil { // its code runs when somebody says so in a comment, and not when its base moves
		if same && !newest.State.Ended() {
			return d.planQueued(ctx, newest)
		}
		return d.showPull(ctx, repo, facts.Number)
	}
	if same && !stale && (seen.Again == "" || !newest.State.Ended()) {
		if err := d.hasten(ctx, newest, facts); err != nil {
			return err
		}
		return d.planQueued(ctx, newest)
	}
	actor, reason := facts.Author, "the pull request has a new head or base"
	switch {
	case seen.Again != "":
		actor, reason = seen.Again, seen.Again+" asked for a new plan"
	case seen.Outdated != nil:
		actor, reason = "switchyard", seen.Outdated.reason(facts.Decision.Environment)
	}
	priority := priorityNormal
	if facts.onlyForBots() {
		priority = priorityBots
	}
	op, err := d.Store.CreateOperation(ctx, operation.Operation{
		Kind: operation.Plan, Repository: repo, Environment: facts.Decision.Environment,
		Pull: facts.Number, Pulls: []int{facts.Number}, Branch: facts.Base, Base: facts.BaseTip, Head: facts.Head,
		Tree: tree, Roots: roots, Actor: actor, Reason: reason, Priority: priority,
	})
	if err != nil {
		return fmt.Errorf("create plan: %w", err)
	}
	return d.planQueued(ctx, op)
}

// hasten has a plan that waits behind those of other bots' pull requests done among those of people, where a person
// wants it now.
func (d *Deploy) hasten(ctx context.Context, plan operation.Operation, facts pullFacts) error {
	if plan.Priority < priorityBots || facts.onlyForBots() || plan.State != operation.Queued {
		return nil
	}
	return wrap("hasten "+plan.String(), d.Store.Hasten(ctx, driveJob(plan).Key, queue.Long))
}

// planQueued has a stored plan driven, ends those before it, and shows it. It may be called again for the same plan.
func (d *Deploy) planQueued(ctx context.Context, op operation.Operation) error {
	why := "A newer plan of this pull request takes its place."
	if facts, ok, err := d.pullFacts(ctx, op.Repository, op.Pull); err != nil {
		return err
	} else if older, err := d.openPlans(ctx, op.Repository.ID, op.Pull); err != nil {
		return err
	} else if ok && slices.ContainsFunc(older, func(o operation.Operation) bool { return o.Environment != op.Environment }) {
		why = otherBase(facts)
	}
	if err := d.supersede(ctx, op.Repository.ID, op.Pull, op, why); err != nil {
		return err
	}
	if op.State == operation.Queued {
		if err := d.enqueue(ctx, driveJob(op)); err != nil {
			return fmt.Errorf("queue %s: %w", op, err)
		}
		if op.Priority < priorityBots { // one for bots may wait before it, of the same pull request
			if err := d.Store.Hasten(ctx, driveJob(op).Key, queue.Long); err != nil {
				return fmt.Errorf("hasten %s: %w", op, err)
			}
		}
	}
	return d.showPull(ctx, op.Repository, op.Pull)
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
	return wrap("save pull request", d.Store.SavePull(ctx, repo.ID, facts.Number, facts.Head, data))
}

// wrap adds what was being done to an error, and leaves nil alone.
func wrap(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
