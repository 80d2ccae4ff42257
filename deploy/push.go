package deploy

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// The priorities of operations; a lower one runs first. Plans of bots' pull
// requests that nobody has asked for are done in a class of their own, see queue.Bots.
const (
	priorityHotfix = 10
	priorityNormal = 20
	priorityBots   = 30
)

const zeroCommit = "0000000000000000000000000000000000000000"

// branchPushed queues an apply of the tip of a branch that deploys to an environment.
func (d *Deploy) branchPushed(ctx context.Context, seen BranchPushed) error {
	repo := seen.Repository
	config, err := d.fetched(ctx, repo)
	if err != nil {
		return err
	}
	if config.Problem != "" || config.Default {
		return nil // nothing is applied; pull requests show why
	}
	tip, exists, err := d.Git.Branch(ctx, repo, seen.Branch)
	if err != nil {
		return fmt.Errorf("find the branch: %w", err)
	}
	if exists && seen.Commit != "" {
		tip = seen.Commit
	}
	last, known, err := d.Store.BranchTip(ctx, repo.ID, seen.Branch)
	if err != nil {
		return fmt.Errorf("read the last tip: %w", err)
	}
	push := gitflow.Push{Branch: seen.Branch, Deleted: !exists, Created: !known && seen.Before == zeroCommit}
	if !known && seen.Before != zeroCommit {
		last = seen.Before
	}
	if push.Forced, err = d.forced(ctx, repo, seen, last, tip); err != nil {
		return err
	}
	facts, err := d.facts(ctx, repo)
	if err != nil {
		return err
	}
	decision := gitflow.DecidePush(config.Config, push, facts)
	switch {
	case !exists:
		if err := d.branchGone(ctx, repo, seen.Branch); err != nil {
			return err
		}
	case decision.Verdict == gitflow.Refused:
		return d.refusePush(ctx, repo, decision, seen, tip, last)
	case decision.Environment != "" && decision.Verdict == gitflow.Allowed:
		if err := d.pushAllowed(ctx, config, decision, seen, tip, last); err != nil {
			return err
		}
	}
	if exists {
		if err := d.Store.SetBranchTip(ctx, repo.ID, seen.Branch, tip); err != nil {
			return fmt.Errorf("save the tip: %w", err)
		}
	}
	if d.Alone != nil { // what is left has a job of its own
		return nil
	}
	return d.takeUpLeft(ctx, repo, config, facts, seen.Actor)
}

// pushAllowed queues the apply of a push to a branch that held the commit last before.
func (d *Deploy) pushAllowed(ctx context.Context, config configured, decision gitflow.Decision, seen BranchPushed, tip, last string) error {
	repo := seen.Repository
	if err := d.setBaseline(ctx, repo, config, decision.Environment, last); err != nil {
		return err
	}
	last, err := d.rewind(ctx, seen, decision.Environment, last)
	if err != nil {
		return err
	}
	return d.queueApply(ctx, repo, config, decision, seen, tip, last)
}

// refusePush shows that a push is not applied, on its commit and on the pull request that brought it.
// The branch keeps the tip that was last decided about, so that it is taken up when the reason has gone.
func (d *Deploy) refusePush(ctx context.Context, repo operation.Repository, decision gitflow.Decision,
	seen BranchPushed, tip, last string,
) error {
	if _, known, err := d.Store.BranchTip(ctx, repo.ID, seen.Branch); err != nil {
		return fmt.Errorf("read the last tip: %w", err)
	} else if !known {
		if last == "" {
			last = zeroCommit
		}
		if err := d.Store.SetBranchTip(ctx, repo.ID, seen.Branch, last); err != nil {
			return fmt.Errorf("save the tip: %w", err)
		}
	}
	if last == tip {
		return nil
	}
	view := render.RefusedView{
		Environment: decision.Deploys, Branch: seen.Branch, Commit: tip, Repository: repo, WebURL: d.WebURL, Gitflow: decision,
	}
	body := render.RefusedNotice(view)
	if err := d.auditRefusedPush(ctx, repo, decision, seen, tip); err != nil {
		return err
	}
	c := hub.Check{
		Name: applyCheckName(decision.Deploys), HeadSHA: tip, Status: "completed", Conclusion: "neutral",
		Title: render.GitflowCheck(decision).Title, Summary: body,
	}
	if err := d.wantCheck(ctx, repo, c, time.Time{}); err != nil {
		return err
	}
	pulls, err := d.pullsBetween(ctx, repo, seen.Branch, last, tip)
	if err != nil || len(pulls.numbers) == 0 {
		return err
	}
	number := pulls.numbers[len(pulls.numbers)-1]
	key := refusedKey(decision.Deploys, number)
	return d.want(ctx, repo, surfaceNotice, key, notice{Comment: marked(number, body, key)}, time.Time{})
}

func refusedKey(environment string, number int) string {
	return fmt.Sprintf("refused/%s/%d", environment, number)
}

// takeUpLeft queues the branches whose newest commit was never decided about: a push was refused while
// another release was open, or came while the configuration could not be used, and now that may be over.
func (d *Deploy) takeUpLeft(ctx context.Context, repo operation.Repository, config configured, facts gitflow.Facts, actor string) error {
	branches, err := d.Git.Branches(ctx, repo, func(name string) bool {
		return gitflow.DecidePush(config.Config, gitflow.Push{Branch: name}, facts).Verdict == gitflow.Allowed
	})
	if err != nil {
		return fmt.Errorf("list branches: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		last, known, err := d.Store.BranchTip(ctx, repo.ID, name)
		if err != nil {
			return fmt.Errorf("read the last tip: %w", err)
		}
		if !known || last == branches[name] {
			continue
		}
		left := BranchPushed{Repository: repo, Branch: name, Before: zeroCommit, Actor: actor}
		if err := d.enqueue(ctx, left.Job()); err != nil {
			return fmt.Errorf("queue %s: %w", name, err)
		}
	}
	return nil
}

// forced reports whether the branch lost commits since it was last seen.
func (d *Deploy) forced(ctx context.Context, repo operation.Repository, seen BranchPushed, last, tip string) (bool, error) {
	if tip == "" || last == "" || last == zeroCommit || last == tip {
		return false, nil
	}
	kept, err := d.Git.IsAncestor(ctx, repo, last, tip)
	if err != nil {
		if seen.Forced {
			return true, nil // the old commit may be gone from the mirror
		}
		return false, fmt.Errorf("compare with the last tip: %w", err)
	}
	return !kept, nil
}

// setBaseline takes what a branch held before Switchyard first saw it as applied: whoever installs
// it on a running repository has applied that by other means.
func (d *Deploy) setBaseline(ctx context.Context, repo operation.Repository, config configured, environment, commit string) error {
	if commit == "" || commit == zeroCommit {
		return nil
	}
	known, err := d.Store.Targets(ctx, repo.ID, environment)
	if err != nil {
		return fmt.Errorf("read targets: %w", err)
	}
	var states []store.TargetState
	for _, root := range config.Roots {
		target := operation.Target{Root: root.Dir, Environment: environment}
		if slices.ContainsFunc(known, func(state store.TargetState) bool { return state.Target == target && state.Baseline != "" }) {
			continue
		}
		states = append(states, store.TargetState{Repository: repo.ID, Baseline: commit, Target: target})
	}
	if len(states) == 0 {
		return nil
	}
	return wrap("save baselines", d.Store.SetBaselines(ctx, states))
}

// rewind puts a baseline back that holds a push of which GitHub has told us: what was pushed after the App was installed, and
// before the branch was first looked at, was not applied by other means. It gives what the branch held before.
func (d *Deploy) rewind(ctx context.Context, seen BranchPushed, environment, last string) (string, error) {
	repo := seen.Repository
	if seen.Forced || slices.Contains([]string{"", zeroCommit}, seen.Before) || slices.Contains([]string{"", zeroCommit}, seen.After) {
		return last, nil
	}
	states, err := d.Store.Targets(ctx, repo.ID, environment)
	if err != nil {
		return last, fmt.Errorf("read targets: %w", err)
	}
	tried := map[string]bool{"": true, seen.Before: true}
	for _, state := range states {
		baseline := state.Baseline
		if tried[baseline] || state.Applied != "" {
			continue
		}
		tried[baseline] = true
		holds, err := d.contains(ctx, repo, baseline, seen.After)
		if err != nil {
			return last, err
		}
		grew, err := d.contains(ctx, repo, seen.After, seen.Before)
		if err != nil {
			return last, err
		}
		if !holds || !grew {
			continue
		}
		if err := d.Store.MoveBaselines(ctx, repo.ID, environment, baseline, seen.Before); err != nil {
			return last, fmt.Errorf("move baselines: %w", err)
		}
		last = seen.Before
	}
	return last, nil
}

// queueApply queues an apply of the tip where roots differ from what was applied last.
func (d *Deploy) queueApply(ctx context.Context, repo operation.Repository, config configured,
	decision gitflow.Decision, seen BranchPushed, tip, last string,
) error {
	due, err := d.outstandingAt(ctx, repo, config.Config, decision.Environment, tip)
	if err != nil {
		return err
	}
	if len(due.Roots) == 0 {
		return nil
	}
	if newest, found, err := d.newestApply(ctx, repo.ID, decision.Environment); err != nil {
		return err
	} else if found && newest.Head == tip && newest.Branch == seen.Branch {
		// A push that is seen twice is one apply, and one that failed is not tried again by itself.
		return d.queuedBefore(ctx, newest)
	}
	since := due.Since
	if len(since) == 0 {
		since = []string{last}
	}
	pulls, err := d.pullsSince(ctx, repo, seen.Branch, since, tip)
	if err != nil {
		return err
	}
	op := operation.Operation{
		Kind: operation.Apply, Repository: repo, Environment: decision.Environment, Branch: seen.Branch,
		Head: tip, Pulls: pulls.numbers, Actor: seen.Actor, Warned: warnedOf(decision, seen.Branch, tip), Priority: priorityNormal,
		Reason: "commits were pushed to " + seen.Branch,
	}
	for _, root := range due.Roots {
		op.Roots = append(op.Roots, root.Root)
	}
	if len(pulls.numbers) > 0 {
		op.Pull = pulls.numbers[len(pulls.numbers)-1]
		op.Reason = fmt.Sprintf("#%d was merged into %s", op.Pull, seen.Branch)
	}
	if decision.Hotfix || slices.ContainsFunc(pulls.branches, func(name string) bool { return strings.HasPrefix(name, "hotfix/") }) {
		op.Priority = priorityHotfix
	}
	return d.enqueueApply(ctx, op)
}

// warnedOf is what a push itself gives a person to say yes to.
func warnedOf(decision gitflow.Decision, branch, tip string) operation.Doubts {
	if decision.Confirm == "" {
		return nil
	}
	return operation.Doubts{{Key: fmt.Sprintf("push %s %q", tip, branch), Text: decision.Confirm}}
}

// enqueueApply stores an apply, with the earlier waiting ones of its branch gathered into it.
func (d *Deploy) enqueueApply(ctx context.Context, op operation.Operation) error {
	stored, gathered, err := d.Store.QueueApply(ctx, op)
	if err != nil {
		return fmt.Errorf("queue apply: %w", err)
	}
	return d.applyQueued(ctx, stored, gathered)
}

// queuedBefore completes what followed from the queueing of an apply, were that broken off.
func (d *Deploy) queuedBefore(ctx context.Context, op operation.Operation) error {
	if op.State != operation.Queued {
		return nil
	}
	ended, err := d.Store.Operations(ctx, store.Filter{
		Repository: op.Repository.ID, Environment: op.Environment, Kinds: []operation.Kind{op.Kind},
		States: []operation.State{operation.Gathered}, Newest: true, Limit: fewNewest,
	})
	if err != nil {
		return fmt.Errorf("find what was gathered: %w", err)
	}
	return d.applyQueued(ctx, op, slices.DeleteFunc(ended, func(old operation.Operation) bool { return old.GatheredIn != op.ID }))
}

// applyQueued has a stored apply driven, and shows it and those that it gathered.
func (d *Deploy) applyQueued(ctx context.Context, stored operation.Operation, gathered []operation.Operation) error {
	if err := d.enqueue(ctx, driveJob(stored)); err != nil {
		return fmt.Errorf("queue %s: %w", stored, err)
	}
	for _, number := range stored.Pulls {
		if err := d.minimizeNotice(ctx, stored.Repository, refusedKey(stored.Environment, number)); err != nil {
			return err
		}
	}
	for _, old := range gathered {
		if err := d.show(ctx, old); err != nil {
			return err
		}
	}
	return d.show(ctx, stored)
}

// mergedPulls are the pull requests whose commits lie in a range.
type mergedPulls struct {
	numbers  []int // oldest first
	branches []string
}

// maxAskedCommits bounds how many commits of one push GitHub is asked about: of an apply that carries more, a person is asked.
const maxAskedCommits = 100

// pullsSince finds the pull requests between each of several commits, which were applied to as many roots, and the tip.
func (d *Deploy) pullsSince(
	ctx context.Context, repo operation.Repository, branch string, since []string, tip string,
) (mergedPulls, error) {
	var all mergedPulls
	for _, from := range since {
		found, err := d.pullsBetween(ctx, repo, branch, from, tip)
		if err != nil {
			return mergedPulls{}, err
		}
		if len(found.numbers) > len(all.numbers) { // of two ranges of one line, the longer has all of the shorter
			all, found = found, all
		}
		for _, number := range slices.Backward(found.numbers) {
			if !slices.Contains(all.numbers, number) {
				all.numbers = slices.Insert(all.numbers, 0, number)
			}
		}
		all.branches = append(all.branches, found.branches...)
	}
	return all, nil
}

// pullsBetween finds the pull requests that brought the commits of a branch, at most
// maxAskedCommits of the newest ones. What GitHub once said of a commit is kept.
func (d *Deploy) pullsBetween(ctx context.Context, repo operation.Repository, branch, from, to string) (mergedPulls, error) {
	if from == zeroCommit {
		from = ""
	}
	commits, err := d.Git.FirstParents(ctx, repo, from, to, maxAskedCommits)
	if err != nil {
		return mergedPulls{}, fmt.Errorf("list new commits: %w", err)
	}
	known, err := d.Store.CommitPulls(ctx, repo.ID, commits)
	if err != nil {
		return mergedPulls{}, fmt.Errorf("read the pull requests of commits: %w", err)
	}
	var found mergedPulls
	for _, commit := range slices.Backward(commits) {
		number, ok := known[commit]
		if !ok {
			if number, err = d.askPullOf(ctx, repo, branch, commit); err != nil {
				return mergedPulls{}, err
			}
		}
		if number == 0 || slices.Contains(found.numbers, number) {
			continue
		}
		found.numbers = append(found.numbers, number)
		if facts, ok, err := d.pullFacts(ctx, repo, number); err != nil {
			return mergedPulls{}, err
		} else if ok {
			found.branches = append(found.branches, facts.HeadRef)
		}
	}
	return found, nil
}

// askPullOf asks GitHub which pull request merged a commit into a branch, and keeps the answer and
// what it says about that pull request. 0: none.
func (d *Deploy) askPullOf(ctx context.Context, repo operation.Repository, branch, commit string) (int, error) {
	pulls, err := d.Hub.PullsOfCommit(ctx, repo, commit)
	if err != nil {
		return 0, fmt.Errorf("ask for the pull request of %s: %w", short(commit), err)
	}
	number := 0
	for _, pull := range pulls {
		if pull.BaseRef != branch || pull.State != "merged" {
			continue
		}
		number = pull.Number
		if err := d.rememberMerged(ctx, repo, pull); err != nil {
			return 0, err
		}
		break
	}
	if number == 0 {
		return 0, nil // not kept: GitHub may only not know it yet
	}
	return number, wrap("save the pull request of a commit",
		d.Store.SaveCommitPulls(ctx, repo.ID, map[string]int{commit: number}))
}

// rememberMerged keeps the head that was really merged: only a plan of that head was reviewed.
func (d *Deploy) rememberMerged(ctx context.Context, repo operation.Repository, pull hub.Pull) error {
	facts, ok, err := d.pullFacts(ctx, repo, pull.Number)
	if err != nil {
		return err
	}
	if !ok {
		facts = pullFacts{
			Number: pull.Number, Title: pull.Title, Author: pull.Author, HeadRef: pull.HeadRef, Base: pull.BaseRef, Fork: pull.Fork,
			Comments: 1, // unknown: an earlier comment is looked for before one is posted
		}
		if err := d.recall(ctx, repo, pull, &facts); err != nil {
			return err
		}
	}
	facts.State, facts.Head = "merged", pull.HeadSHA
	return d.savePull(ctx, repo, facts)
}

// branchGone ends what waits for a branch that was deleted. What runs goes on to its end.
func (d *Deploy) branchGone(ctx context.Context, repo operation.Repository, branch string) error {
	message := "The branch " + branch + " was deleted before it ran."
	if err := d.endWaiting(ctx, repo.ID, message, func(op operation.Operation) bool {
		return op.Kind.Exclusive() && op.Branch == branch
	}); err != nil {
		return err
	}
	return wrap("forget the branch", d.Store.DropBranch(ctx, repo.ID, branch))
}

// endWaiting cancels what waits in a repository and was chosen, and shows that. What it cancelled with the
// same message before is shown again: that may have broken off.
func (d *Deploy) endWaiting(ctx context.Context, repo int64, message string, chosen func(operation.Operation) bool) error {
	waiting, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, States: []operation.State{operation.Queued, operation.Unconfirmed},
	})
	if err != nil {
		return fmt.Errorf("find what waits: %w", err)
	}
	for _, op := range waiting {
		if !chosen(op) {
			continue
		}
		if _, err := d.Store.Cancel(ctx, op.ID, "switchyard", message); err != nil && !errors.Is(err, store.ErrTransition) { // it began meanwhile
			return fmt.Errorf("cancel %s: %w", op, err)
		}
	}
	for _, op := range waiting {
		if !chosen(op) {
			continue
		}
		if err := d.show(ctx, op); err != nil {
			return err
		}
	}
	return d.showCancelled(ctx, store.Filter{Repository: repo}, message)
}
