package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// reviewed is what people have seen of what an apply would do.
type reviewed struct {
	targets  map[string]reviewedTarget // by root
	tools    []operation.Tool          // that the plans were made with
	evidence operation.Evidence
	config   *configured // what was in force when it was looked at; nil: what is now
}

type reviewedTarget struct {
	expected operation.ChangeSet
	data     map[string]string // what the data sources gave then: see operation.TargetResult
	lineage  string            // of the state that the last apply has left
	serial   int64             // 0: not known
	approved []operation.Held  // blocked changes that a second person approved
}

// reviewedPull is what was reviewed on one pull request, where that counts.
type reviewedPull struct {
	operation.Review

	plan  operation.Operation
	group *operation.Operation // the plan of its merge group, where it was merged by one
}

// reviewedOf finds, for each root, what was reviewed on the pull requests between its applied commit and
// the candidate, and how many people approved that where the environment asks for it.
func (d *Deploy) reviewedOf(ctx context.Context, ask *asking, op operation.Operation, config repoconfig.Config,
	before map[string]string,
) (reviewed, error) {
	found := reviewed{targets: map[string]reviewedTarget{}}
	pulls := map[int]reviewedPull{}
	for _, number := range op.Pulls {
		pull, err := d.reviewedPull(ctx, ask, op, config, number)
		if err != nil {
			return reviewed{}, err
		}
		pulls[number] = pull
		found.evidence.Reviews = append(found.evidence.Reviews, pull.Review)
		if pull.Missing != "" {
			continue
		}
		for _, tool := range pull.plan.Result.Tools {
			if !slices.Contains(found.tools, tool) {
				found.tools = append(found.tools, tool)
			}
		}
	}
	for _, root := range op.Roots {
		merges, err := d.mergesOf(ctx, op, before[root])
		if err != nil {
			return reviewed{}, err
		}
		target, err := d.reviewedTarget(ctx, op, root, merges, pulls)
		if err != nil {
			return reviewed{}, err
		}
		found.targets[root] = target
	}
	return found, nil
}

// merged is a pull request with the commit that brought it to its branch.
type merged struct {
	pull   int
	commit string
}

// mergesOf lists what an apply brings to a target, in the order of the merges. A target that was never
// applied gets all that the operation carries.
func (d *Deploy) mergesOf(ctx context.Context, op operation.Operation, from string) ([]merged, error) {
	var merges []merged
	commits := []string{op.Head}
	if from != "" {
		var err error
		if commits, err = d.Git.FirstParents(ctx, op.Repository, from, op.Head, maxMerges); err != nil {
			return nil, fmt.Errorf("list the commits since %s: %w", short(from), err)
		}
	}
	known, err := d.Store.CommitPulls(ctx, op.Repository.ID, commits)
	if err != nil {
		return nil, fmt.Errorf("read the pull requests of commits: %w", err)
	}
	for _, commit := range slices.Backward(commits) {
		number := known[commit]
		if !slices.Contains(op.Pulls, number) {
			continue
		}
		// A rebase brings several commits of one pull request: the last of them has all of it.
		merges = slices.DeleteFunc(merges, func(m merged) bool { return m.pull == number })
		merges = append(merges, merged{number, commit})
	}
	if from != "" {
		return merges, nil
	}
	for _, number := range slices.Backward(op.Pulls) {
		if !slices.ContainsFunc(merges, func(m merged) bool { return m.pull == number }) {
			merges = slices.Insert(merges, 0, merged{pull: number})
		}
	}
	return merges, nil
}

// maxMerges bounds how many commits are looked through for pull requests. What older ones showed does not
// count as reviewed, so that a person is asked.
const maxMerges = 500

func (d *Deploy) reviewedTarget(ctx context.Context, op operation.Operation, root string, merges []merged,
	pulls map[int]reviewedPull,
) (reviewedTarget, error) {
	target := reviewedTarget{data: map[string]string{}}
	var reviews []plan.Review
	for i, merge := range merges {
		pull := pulls[merge.pull]
		if pull.Missing != "" {
			continue
		}
		planned, ok := resultOf(pull.plan, root)
		if !ok {
			continue
		}
		maps.Copy(target.data, planned.Data)
		review := plan.Review{Pull: merge.pull, Set: planned.ChangeSet}
		for _, earlier := range merges[:i] {
			knew, err := d.contains(ctx, op.Repository, pull.plan.Base, earlier.commit)
			if err != nil {
				return reviewedTarget{}, err
			}
			if knew {
				review.Knew = append(review.Knew, earlier.pull)
			}
		}
		unseen := slices.ContainsFunc(merges[:i], func(m merged) bool { return pulls[m.pull].Missing != "" })
		if pull.group != nil && !unseen { // it has what the earlier ones do, reviewed or not
			if grouped, ok := resultOf(*pull.group, root); ok {
				review.Group = &grouped.ChangeSet
			}
		}
		reviews = append(reviews, review)
	}
	target.expected = plan.Expected(reviews)
	return target, nil
}

// contains reports whether a commit has another one in its history; false where one of them is not known.
func (d *Deploy) contains(ctx context.Context, repo operation.Repository, commit, other string) (bool, error) {
	for _, sha := range []string{commit, other} {
		if sha == "" {
			return false, nil
		}
		if there, err := d.Git.Has(ctx, repo, sha); err != nil || !there {
			return false, wrap("look for "+short(sha), err)
		}
	}
	contains, err := d.Git.IsAncestor(ctx, repo, other, commit)
	return contains, wrap("compare commits", err)
}

func resultOf(op operation.Operation, root string) (operation.TargetResult, bool) {
	if op.Result == nil {
		return operation.TargetResult{}, false
	}
	i := slices.IndexFunc(op.Result.Targets, func(target operation.TargetResult) bool { return target.Target.Root == root })
	if i < 0 {
		return operation.TargetResult{}, false
	}
	return op.Result.Targets[i], true
}

// reviewedPull finds the plan that people saw on a pull request, and whether enough of them approved it.
func (d *Deploy) reviewedPull(ctx context.Context, ask *asking, op operation.Operation, config repoconfig.Config,
	number int,
) (reviewedPull, error) {
	pull := reviewedPull{Review: operation.Review{Pull: number}}
	facts, ok, err := d.pullFacts(ctx, op.Repository, number)
	if err != nil {
		return pull, err
	}
	if !ok {
		pull.Missing = fmt.Sprintf("Nothing is known about #%d.", number)
		return pull, nil
	}
	pull.Head = facts.Head
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: op.Repository.ID, Environment: op.Environment, Pull: number, Head: facts.Head, Newest: true, Limit: 1,
		Kinds: []operation.Kind{operation.Plan}, States: []operation.State{operation.Succeeded},
	})
	if err != nil {
		return pull, fmt.Errorf("find the reviewed plan of #%d: %w", number, err)
	}
	if len(ops) == 0 || ops[0].Result == nil {
		pull.Missing = fmt.Sprintf("No plan of #%d was shown at its last commit %s.", number, short(facts.Head))
		return pull, nil
	}
	pull.plan, pull.Plan = ops[0], ops[0].ID
	if pull.group, err = d.groupPlan(ctx, op, number); err != nil {
		return pull, err
	}
	if pull.group != nil {
		pull.Group = pull.group.ID
	}
	environment, _ := config.Environment(op.Environment)
	if environment.Approvals == 0 {
		return pull, nil
	}
	approval, err := d.approval(ctx, ask, facts, config, environment.Approvals, pull.plan)
	if err != nil {
		return pull, err
	}
	pull.Authors, pull.Approved = approval.authors, approval.By
	if !approval.Approved {
		pull.Missing = fmt.Sprintf("#%d is %s.", number, approval.Headline)
	}
	if len(approval.Unknown) > 0 {
		pull.Missing += " " + approval.Remedy
	}
	return pull, nil
}

// groupPlan finds the plan of the merge group that brought a pull request.
func (d *Deploy) groupPlan(ctx context.Context, op operation.Operation, number int) (*operation.Operation, error) {
	commits, err := d.Store.PullCommits(ctx, op.Repository.ID, number)
	if err != nil {
		return nil, fmt.Errorf("find the commits of #%d: %w", number, err)
	}
	for _, commit := range commits {
		ops, err := d.Store.Operations(ctx, store.Filter{
			Repository: op.Repository.ID, Environment: op.Environment, Head: commit, Newest: true, Limit: 1,
			Kinds: []operation.Kind{operation.Plan}, States: []operation.State{operation.Succeeded},
		})
		if err != nil {
			return nil, fmt.Errorf("find the plan of the merge group of #%d: %w", number, err)
		}
		if len(ops) > 0 && ops[0].Pull == 0 && ops[0].Result != nil {
			return &ops[0], nil
		}
	}
	return nil, nil //nolint:nilnil // most pull requests are not merged by a group
}

// approved is a decision about approvals with the authors that it was made with.
type approved struct {
	gitflow.Approval

	authors []string
}

// approval asks GitHub who wrote and who reviewed a pull request. A review counts where the plan that was shown when
// it was given, be it of an earlier commit, covers the one that counts now: it approves these very changes.
func (d *Deploy) approval(
	ctx context.Context, ask *asking, facts pullFacts, config repoconfig.Config, needed int, shown operation.Operation,
) (approved, error) {
	authors, err := ask.authorsOf(ctx, facts.Number)
	if err != nil {
		return approved{}, err
	}
	reviews, more, err := ask.reviewsOf(ctx, facts.Number)
	if err != nil {
		return approved{}, err
	}
	known := gitflow.Reviews{
		Needed: needed, Head: facts.Head, Authors: authors.Logins, AuthorsCut: authors.More, ReviewsCut: more,
		AuthorsNoname: config.People(authors.Noname),
	}
	if executor, err := d.chosen(config); err == nil {
		known.Proven = executor == repoconfig.ExecutorActions
	}
	if facts.Author != "" && !slices.Contains(known.Authors, facts.Author) {
		known.Authors = append(known.Authors, facts.Author)
	}
	for _, review := range reviews {
		one := gitflow.Review{
			Login: review.Login, Bot: review.Type != "User", State: review.State, Commit: review.Commit, Submitted: review.Submitted,
		}
		if review.Login != "" && review.State == gitflow.ReviewApproved {
			if _, err := ask.permissionOf(ctx, review.Login); err != nil {
				return approved{}, err
			}
		}
		one.Permission = ask.permissions[review.Login]
		if review.State == gitflow.ReviewApproved {
			covers, err := d.covers(ctx, ask.repo, facts.Number, review, shown)
			if err != nil {
				return approved{}, err
			}
			if covers {
				one.Commit = facts.Head
			}
			one.Unseen = !covers && review.Commit == facts.Head
		}
		known.Reviews = append(known.Reviews, one)
	}
	return approved{Approval: gitflow.DecideApproval(known), authors: known.Authors}, nil
}

// covers reports whether the plan that was there when a review was submitted shows everything that the one shows which
// counts now. GitHub gives the time of a review in whole seconds.
func (d *Deploy) covers(ctx context.Context, repo operation.Repository, number int, review hub.Review,
	shown operation.Operation,
) (bool, error) {
	if review.Commit == "" || shown.Result == nil {
		return false, nil
	}
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo.ID, Environment: shown.Environment, Pull: number, Head: review.Commit, Newest: true, Limit: maxSeen,
		Kinds: []operation.Kind{operation.Plan}, States: []operation.State{operation.Succeeded},
	})
	if err != nil {
		return false, fmt.Errorf("find the plan that was reviewed: %w", err)
	}
	seen := slices.IndexFunc(ops, func(op operation.Operation) bool {
		return op.Result != nil && d.reviewableFrom(op).Before(review.Submitted.Add(time.Second))
	})
	if seen < 0 {
		return false, nil
	}
	for _, target := range shown.Result.Targets {
		earlier, ok := resultOf(ops[seen], target.Target.Root)
		if !ok || len(plan.Unexpected(earlier.ChangeSet, target.ChangeSet)) > 0 {
			return false, nil
		}
	}
	return true, nil
}

// maxSeen bounds how many plans of one commit are looked through for the one that a person saw.
const maxSeen = 50

// lookAtApprovals shows on an open pull request who has approved it, where its environment asks for that.
func (d *Deploy) lookAtApprovals(ctx context.Context, repo operation.Repository, number int) error {
	facts, ok, err := d.pullFacts(ctx, repo, number)
	if err != nil || !ok || len(facts.Roots) == 0 || facts.State != "open" {
		return err
	}
	config, err := d.known(ctx, repo)
	if err != nil {
		return err
	}
	var seen *gitflow.Approval
	if environment, _ := config.Environment(facts.Decision.Environment); environment.Approvals > 0 {
		newest, _, err := d.newestPlan(ctx, repo.ID, number)
		if err != nil {
			return err
		}
		approval, err := d.approval(ctx, d.asking(repo), facts, config.Config, environment.Approvals, newest)
		if err != nil {
			return err
		}
		seen = &approval.Approval
	}
	if reflect.DeepEqual(seen, facts.Approval) {
		return nil
	}
	facts.Approval = seen
	if err := d.savePull(ctx, repo, facts); err != nil {
		return err
	}
	return d.showPull(ctx, repo, number)
}

// isAuthor reports whether a person pushed commits of an apply without a pull request, or wrote one of the pull
// requests that it carries, as far as is known. Where not all authors are known, everybody may be one.
func (d *Deploy) isAuthor(ctx context.Context, ask *asking, op operation.Operation, login string) (bool, error) {
	if pushed, err := d.pushed(ctx, op, login); err != nil || pushed {
		return pushed, err
	}
	for _, number := range op.Pulls {
		facts, ok, err := d.pullFacts(ctx, op.Repository, number)
		if err != nil {
			return false, err
		}
		if ok && strings.EqualFold(facts.Author, login) {
			return true, nil
		}
		authors, err := ask.authorsOf(ctx, number)
		if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
			continue
		}
		if err != nil {
			return false, err
		}
		if authors.More || slices.ContainsFunc(authors.Logins, func(author string) bool { return strings.EqualFold(author, login) }) {
			return true, nil
		}
	}
	return false, nil
}

// pushed reports whether a person made a push without a pull request that led to an apply, or to one that it gathered.
func (d *Deploy) pushed(ctx context.Context, op operation.Operation, login string) (bool, error) {
	if op.Pull == 0 && strings.EqualFold(op.Actor, login) {
		return true, nil
	}
	gathered, err := d.Store.Operations(ctx, store.Filter{
		Repository: op.Repository.ID, Environment: op.Environment, Kinds: []operation.Kind{operation.Apply},
		States: []operation.State{operation.Gathered}, Newest: true, Limit: maxGathered,
	})
	if err != nil {
		return false, fmt.Errorf("find what %s gathered: %w", op, err)
	}
	carried := map[int64]bool{op.ID: true}
	for _, old := range gathered { // newest first: who gathers comes before what it gathered
		if !carried[old.GatheredIn] {
			continue
		}
		carried[old.ID] = true
		if old.Pull == 0 && strings.EqualFold(old.Actor, login) {
			return true, nil
		}
	}
	return false, nil
}

// maxGathered bounds how many gathered applies are looked through for who pushed.
const maxGathered = 200

// approvedMeanwhile has an apply go on that waits for approvals which a merged pull request has got by now.
func (d *Deploy) approvedMeanwhile(ctx context.Context, repo operation.Repository, number int) error {
	waiting, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo.ID, Pull: number, Kinds: []operation.Kind{operation.Apply}, States: []operation.State{operation.Unconfirmed},
	})
	if err != nil || len(waiting) == 0 {
		return wrap("find what waits", err)
	}
	config, err := d.known(ctx, repo)
	if err != nil || config.Problem != "" || config.Default {
		return err
	}
	ask := d.asking(repo)
	for _, op := range waiting {
		evidence, err := d.Store.Evidence(ctx, op.ID, op.Attempt)
		if err != nil {
			return fmt.Errorf("read what %s waits for: %w", op, err)
		}
		if !slices.ContainsFunc(evidence.Reviews, func(review operation.Review) bool { return review.Pull == number && review.Missing != "" }) {
			continue
		}
		pull, err := d.reviewedPull(ctx, ask, op, config.Config, number)
		if err != nil {
			return err
		}
		if pull.Missing != "" {
			continue
		}
		again, err := d.Store.Reconsider(ctx, op.ID, strings.Join(pull.Approved, ", "), fmt.Sprintf("#%d is approved now", number))
		if errors.Is(err, store.ErrTransition) {
			continue // somebody said yes meanwhile
		}
		if err != nil {
			return fmt.Errorf("go on with %s: %w", op, err)
		}
		if err := d.applyQueued(ctx, again, nil); err != nil {
			return err
		}
	}
	return nil
}
