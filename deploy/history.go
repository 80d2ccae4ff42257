package deploy

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// history answers what git knows about applies that were made.
type history struct {
	clone  git.Clone
	data   *store.Store
	repo   operation.Repository
	branch string               // the default branch
	undone map[string]time.Time // environment → when somebody last said yes to a candidate that takes commits back

	holds   map[string]bool // commits that the clone has
	ordered map[[2]string]bool
}

// history is nil without a clone.
func (v Verification) history(ctx context.Context, ops []operation.Operation) (*history, error) {
	if v.Clone == nil {
		return nil, nil //nolint:nilnil // there is nothing to compare with
	}
	_, branch, _, err := v.Store.Repository(ctx, v.Repository.ID)
	if err != nil {
		return nil, fmt.Errorf("read repository: %w", err)
	}
	h := &history{
		clone: *v.Clone, data: v.Store, repo: v.Repository, branch: branch, undone: map[string]time.Time{},
		holds: map[string]bool{}, ordered: map[[2]string]bool{},
	}
	for _, op := range ops {
		if len(op.Agreed) > 0 && op.Started.After(h.undone[op.Environment]) {
			h.undone[op.Environment] = op.Started
		}
	}
	return h, nil
}

func (h *history) has(ctx context.Context, commit string) (bool, error) {
	if has, known := h.holds[commit]; known {
		return has, nil
	}
	has, err := h.clone.Has(ctx, commit)
	h.holds[commit] = has
	return has, wrap("look for "+short(commit), err)
}

// contains is false, too, where the clone lacks one of the two.
func (h *history) contains(ctx context.Context, commit, other string) (bool, error) {
	key := [2]string{commit, other}
	if contains, known := h.ordered[key]; known {
		return contains, nil
	}
	for _, sha := range key {
		if has, err := h.has(ctx, sha); err != nil || !has {
			return false, err
		}
	}
	contains, err := h.clone.Contains(ctx, commit, other)
	h.ordered[key] = contains
	return contains, wrap("compare commits", err)
}

// on reports whether a branch has a commit; where the clone has no such branch any more, whether any has.
func (h *history) on(ctx context.Context, branch, commit string) (bool, error) {
	on, known, err := h.clone.OnBranch(ctx, branch, commit)
	if err == nil && !known {
		on, _, err = h.clone.OnBranch(ctx, "", commit)
	}
	return on, wrap("look for "+short(commit)+" on "+branch, err)
}

// rules are what the configuration asked for when an apply was made; nil where that cannot be known.
func (h *history) rules(ctx context.Context, record plan.Record) (*plan.Rules, []plan.Finding, error) {
	op, commit := record.Operation, record.Evidence.Config
	say := func(unchecked bool, format string, args ...any) []plan.Finding {
		return []plan.Finding{{
			Target: operation.Target{Environment: op.Environment}, Unchecked: unchecked, Text: fmt.Sprintf(format, args...),
		}}
	}
	if commit == "" {
		return nil, say(true, "It is not recorded which configuration was in force, so its binding and approvals are not checked."), nil
	}
	if has, err := h.has(ctx, commit); err != nil || !has {
		return nil, say(true, "The clone lacks %s, whose configuration was in force: binding and approvals are not checked; fetch it.",
			commit), err
	}
	var found []plan.Finding
	if on, err := h.on(ctx, h.branch, commit); err != nil {
		return nil, nil, err
	} else if !on && op.Started.After(h.undone[op.Environment]) {
		found = say(false, "The configuration in force is said to be that of %s, which is not on %s, where it is taken from.",
			short(commit), h.branch)
	}
	data, there, err := h.clone.File(ctx, commit, repoconfig.Path)
	if err != nil { // a mirror does not have all files
		found = append(found, say(true, "The clone lacks the file %s of %s: binding and approvals are not checked.",
			repoconfig.Path, short(commit))...)
		return nil, found, nil //nolint:nilerr // the finding tells it
	}
	config, err := repoconfig.Parse(data)
	environment, known := config.Environment(op.Environment)
	switch {
	case there && err != nil: // what was right for an earlier version may not be for this one
		found = append(found, say(true, "The configuration of %s cannot be read by this version of Switchyard: "+
			"binding and approvals are not checked.", short(commit))...)
		return nil, found, nil //nolint:nilerr // the finding tells it
	case !there || !known:
		return nil, append(found, say(false, "The configuration of %s, which is said to have been in force, has no environment %q.",
			short(commit), op.Environment)...), nil
	case !environment.Takes(op.Branch):
		found = append(found, say(false, "%s did not deploy to %s by the configuration of %s.", op.Branch, op.Environment, short(commit))...)
	}
	return &plan.Rules{
		Commit: commit, Binding: environment.Binding, Approvals: environment.Approvals, After: environment.After,
		Stateful: config.Risk.Stateful, Block: config.Risk.Block,
	}, found, nil
}

// commits checks that the candidate was on its branch and contains what was applied before, and that the pull requests that
// were reviewed lie between the two.
func (h *history) commits(ctx context.Context, record plan.Record) ([]plan.Finding, error) {
	op := record.Operation
	if !changed(op) {
		return nil, nil
	}
	taken := op.Started.Before(h.undone[op.Environment]) // somebody said yes later to taking commits back
	whole := operation.Target{Environment: op.Environment}
	if has, err := h.has(ctx, op.Head); err != nil || !has {
		return []plan.Finding{{Target: whole, Unchecked: taken, Text: fmt.Sprintf(
			"The clone lacks %s, which was applied: fetch it, or somebody has removed it from the repository.", op.Head)}}, err
	}
	var found []plan.Finding
	if on, err := h.on(ctx, op.Branch, op.Head); err != nil {
		return nil, err
	} else if !on && !taken {
		found = append(found, plan.Finding{Target: whole, Text: fmt.Sprintf(
			"%s was applied and is not on %s: what was applied is not what was merged.", short(op.Head), op.Branch)})
	}
	for _, root := range slices.Sorted(maps.Keys(record.Evidence.Before)) {
		finding, err := h.order(ctx, record, root, taken)
		if err != nil {
			return nil, err
		}
		found = append(found, finding...)
	}
	pulls, err := h.pulls(ctx, record)
	return append(found, pulls...), err
}

// order checks that a candidate contains what was applied before.
func (h *history) order(ctx context.Context, record plan.Record, root string, taken bool) ([]plan.Finding, error) {
	op, before := record.Operation, record.Evidence.Before[root]
	finding := plan.Finding{Target: operation.Target{Root: root, Environment: op.Environment}}
	yes := slices.ContainsFunc(record.Evidence.Doubts, func(doubt operation.Doubt) bool {
		return doubt.Undoes && slices.Contains(op.Agreed, doubt.Key)
	})
	if has, err := h.has(ctx, before); err != nil || !has {
		finding.Unchecked = yes || taken
		finding.Text = "The clone lacks " + before + ", which was applied before: fetch it, or somebody has removed it from the repository."
		return []plan.Finding{finding}, err
	}
	contains, err := h.contains(ctx, op.Head, before)
	if err != nil || contains || yes {
		return nil, err
	}
	finding.Text = fmt.Sprintf("%s does not contain %s, which was applied before, and nobody said yes to taking that back.",
		short(op.Head), short(before))
	return []plan.Finding{finding}, nil
}

// pulls checks each pull request that a line of the ledger names.
func (h *history) pulls(ctx context.Context, record plan.Record) ([]plan.Finding, error) {
	named := map[int]map[operation.Target]bool{}
	for _, entry := range record.Entries {
		if entry.Change.Cause == nil || entry.Change.Cause.Kind != operation.CauseReviewed {
			continue
		}
		for _, pull := range entry.Change.Cause.Pulls {
			if named[pull] == nil {
				named[pull] = map[operation.Target]bool{}
			}
			named[pull][entry.Target] = true
		}
	}
	var found []plan.Finding
	for _, review := range record.Evidence.Reviews {
		targets := named[review.Pull]
		if len(targets) == 0 || review.Missing != "" {
			continue
		}
		problem, unchecked, err := h.head(ctx, record, review)
		if err != nil {
			return nil, err
		}
		if problem != "" {
			found = append(found, plan.Finding{
				Target: operation.Target{Environment: record.Operation.Environment}, Unchecked: unchecked, Text: problem,
			})
			continue
		}
		for target := range targets {
			text, unchecked, err := h.between(ctx, record, review, record.Evidence.Before[target.Root])
			if err != nil {
				return nil, err
			}
			if text != "" {
				found = append(found, plan.Finding{Target: target, Unchecked: unchecked, Text: text})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b plan.Finding) int { return strings.Compare(a.Target.Root, b.Target.Root) })
	return found, nil
}

// head says what is wrong with the commit of a pull request that was reviewed; empty when nothing is.
func (h *history) head(ctx context.Context, record plan.Record, review operation.Review) (text string, unchecked bool, err error) {
	newest, known, err := h.clone.PullHead(ctx, review.Pull)
	if err != nil {
		return "", false, fmt.Errorf("find the head of #%d: %w", review.Pull, err)
	}
	if known && newest != review.Head {
		return fmt.Sprintf("#%d is said to have been reviewed at %s, but its last commit is %s: what was merged is not what people saw.",
			review.Pull, short(review.Head), short(newest)), false, nil
	}
	if has, err := h.has(ctx, review.Head); err != nil || !has {
		return fmt.Sprintf("The clone lacks %s, the last commit of #%d, so that it is not checked: "+
			"run `git fetch origin refs/pull/%d/head` in it.", short(review.Head), review.Pull, review.Pull), true, err
	}
	planned := record.Plans[review.Plan]
	if planned.Tree == "" || planned.Base == "" || planned.Head != review.Head {
		return "", false, nil // the record says what is wrong
	}
	if has, err := h.has(ctx, planned.Base); err != nil || !has {
		return "", false, err
	}
	tree, merges, err := h.clone.MergeTree(ctx, planned.Base, planned.Head)
	if err != nil || !merges { // a mirror does not have all files
		return "", false, nil //nolint:nilerr // what cannot be merged here cannot be compared
	}
	if tree != planned.Tree {
		return fmt.Sprintf("Plan %d of #%d is not of the merge of its two commits: people saw the plan of something else.",
			planned.ID, review.Pull), false, nil
	}
	return "", false, nil
}

// between says why a pull request that was reviewed does not lie between what was applied before and the candidate;
// empty when it does.
func (h *history) between(ctx context.Context, record plan.Record, review operation.Review, before string,
) (text string, unchecked bool, err error) {
	head := record.Operation.Head
	in, err := h.contains(ctx, head, review.Head)
	if err != nil {
		return "", false, err
	}
	if in {
		if before == "" {
			return "", false, nil
		}
		was, err := h.contains(ctx, before, review.Head)
		if err != nil || !was {
			return "", false, err
		}
		return fmt.Sprintf("#%d was a part of %s already, which was applied before: it cannot be why this apply changed something.",
			review.Pull, short(before)), false, nil
	}
	return h.squashed(ctx, record, review, before)
}

// maxSquashed bounds how many commits of one pull request are compared.
const maxSquashed = 250

// squashed looks for the commits that GitHub made of a pull request by squashing or rebasing it, as it told: they must lie
// between, and together be the merge of what was reviewed.
func (h *history) squashed(ctx context.Context, record plan.Record, review operation.Review, before string,
) (text string, unchecked bool, err error) {
	op := record.Operation
	told, err := h.data.PullCommits(ctx, h.repo.ID, review.Pull)
	if err != nil {
		return "", false, fmt.Errorf("find the commits of #%d: %w", review.Pull, err)
	}
	var between []string // the newest last
	for _, commit := range told[:min(len(told), maxSquashed)] {
		in, err := h.contains(ctx, op.Head, commit)
		if err != nil {
			return "", false, err
		}
		was, err := h.contains(ctx, before, commit)
		if err != nil {
			return "", false, err
		}
		if !in || was {
			continue
		}
		at := len(between)
		for i, other := range between {
			if later, err := h.contains(ctx, other, commit); err != nil {
				return "", false, err
			} else if later {
				at = i
				break
			}
		}
		between = slices.Insert(between, at, commit)
	}
	from := "its beginning"
	if before != "" {
		from = short(before)
	}
	if len(between) == 0 {
		return fmt.Sprintf("Neither %s, the last commit of #%d, nor a commit that GitHub made of it is between %s and %s: "+
			"it cannot be why this apply changed something.", short(review.Head), review.Pull, from, short(op.Head)), false, nil
	}
	same, known, err := h.same(ctx, between, review.Head)
	switch {
	case err != nil || same:
		return "", false, err
	case known && len(between) == 1:
		return fmt.Sprintf("%s, which GitHub is said to have made of #%d, is not the merge of what was reviewed: it has something else in it.",
			short(between[0]), review.Pull), false, nil
	default:
		return fmt.Sprintf("#%d was squashed or rebased into %s, and whether that is what was reviewed cannot be told from this clone.",
			review.Pull, short(between[len(between)-1])), true, nil
	}
}

// same reports whether commits, put upon one another, brought what the merge of a head would have brought in their place.
func (h *history) same(ctx context.Context, commits []string, head string) (same, known bool, err error) {
	parent, has, err := h.clone.FirstParent(ctx, commits[0])
	if err != nil {
		return false, false, fmt.Errorf("find what %s was put upon: %w", short(commits[0]), err)
	}
	if !has {
		return false, false, nil
	}
	merged, merges, err := h.clone.MergeTree(ctx, parent, head)
	if err != nil || !merges {
		return false, false, nil //nolint:nilerr // a mirror does not have all files, and what conflicts here was resolved there
	}
	tree, err := h.clone.Tree(ctx, commits[len(commits)-1])
	if err != nil {
		return false, false, fmt.Errorf("find the tree of %s: %w", short(commits[len(commits)-1]), err)
	}
	return tree == merged, true, nil
}
