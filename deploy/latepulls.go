package deploy

import (
	"context"
	"fmt"
	"slices"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// maxAskedAgain bounds how many commits GitHub is asked about once more, the newest ones, when an apply is prepared and when it is
// about to ask for a yes. Commits that were pushed without a pull request are among them each time.
const maxAskedAgain = 10

// nameLate has an apply carry the pull requests of its commits that GitHub did not name when they were pushed: it may know
// them only a moment after a merge. Where every commit has its pull request, nobody is asked.
func (d *Deploy) nameLate(ctx context.Context, ask *asking, op operation.Operation, since []string) (operation.Operation, error) {
	commits, err := d.commitsOf(ctx, op, since)
	if err != nil {
		return op, err
	}
	known, err := d.Store.CommitPulls(ctx, op.Repository.ID, commits)
	if err != nil {
		return op, fmt.Errorf("read the pull requests of commits: %w", err)
	}
	asked := 0
	for _, commit := range commits {
		if _, ok := known[commit]; ok || asked == maxAskedAgain {
			continue
		}
		asked++
		if known[commit], err = d.askAgain(ctx, ask, op, commit); err != nil {
			return op, err
		}
	}
	var numbers []int
	for _, commit := range slices.Backward(commits) {
		if number := known[commit]; number != 0 && !slices.Contains(numbers, number) {
			numbers = append(numbers, number)
		}
	}
	late := slices.DeleteFunc(slices.Clone(numbers), func(number int) bool { return slices.Contains(op.Pulls, number) })
	if len(late) == 0 {
		return op, nil
	}
	earlier := slices.DeleteFunc(slices.Clone(op.Pulls), func(number int) bool { return slices.Contains(numbers, number) })
	named, err := d.Store.CarryPulls(ctx, op.ID, op.Attempt, slices.Concat(earlier, numbers),
		fmt.Sprintf("#%d was merged into %s", late[len(late)-1], op.Branch))
	if err != nil {
		return op, fmt.Errorf("note the pull requests of %s: %w", op, err)
	}
	op.Pull, op.Pulls, op.Reason = named.Pull, named.Pulls, named.Reason
	return op, nil
}

// commitsOf lists the commits that an apply brings to roots at some commits, newest first, each once; of roots that were never
// applied the candidate alone.
func (d *Deploy) commitsOf(ctx context.Context, op operation.Operation, since []string) ([]string, error) {
	var commits []string
	for _, from := range since {
		if there, err := d.Git.Has(ctx, op.Repository, from); err != nil {
			return nil, fmt.Errorf("look for %s: %w", short(from), err)
		} else if !there {
			continue
		}
		found, err := d.Git.FirstParents(ctx, op.Repository, from, op.Head, maxAskedCommits)
		if err != nil {
			return nil, fmt.Errorf("list the commits since %s: %w", short(from), err)
		}
		if len(found) > len(commits) { // of two ranges of one line, the longer has all of the shorter
			commits, found = found, commits
		}
		for _, commit := range found {
			if !slices.Contains(commits, commit) {
				commits = append(commits, commit)
			}
		}
	}
	if len(commits) == 0 {
		commits = []string{op.Head}
	}
	return commits, nil
}

func (d *Deploy) askAgain(ctx context.Context, ask *asking, op operation.Operation, commit string) (int, error) {
	if number, ok := ask.pulls[commit]; ok {
		return number, nil
	}
	number, err := d.askPullOf(ctx, op.Repository, op.Branch, commit)
	if err == nil {
		ask.pulls[commit] = number
	}
	return number, err
}

// namedSince says in words that GitHub names pull requests by now which an apply carries that is about to ask for a yes: what
// was reviewed there counts when it is looked at again. It is empty where there is nothing new, or that cannot be told.
func (d *Deploy) namedSince(ctx context.Context, end store.Finish) string {
	if end.State != operation.Unconfirmed || end.Question == "" {
		return ""
	}
	op, err := d.Store.Operation(ctx, end.Operation)
	if err != nil || op.State != operation.Running || op.Attempt != end.Attempt {
		return "" // the end of this attempt is not taken
	}
	evidence, err := d.Store.Evidence(ctx, op.ID, op.Attempt)
	if err != nil {
		return ""
	}
	var since []string
	for _, root := range op.Roots {
		if from := evidence.Before[root]; from != "" && !slices.Contains(since, from) {
			since = append(since, from)
		}
	}
	named, err := d.nameLate(ctx, d.asking(op.Repository), op, since)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not ask once more for the pull requests of commits")
		return ""
	}
	if len(named.Pulls) == len(op.Pulls) {
		return ""
	}
	return fmt.Sprintf("#%d is known by now to have brought its commits", named.Pulls[len(named.Pulls)-1])
}
