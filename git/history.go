package git

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// MergeResult is what merging two commits gives.
type MergeResult struct {
	Tree      string   // the merged tree; empty when there are conflicts
	Conflicts []string // paths that conflict, or one line that says why the two cannot be merged at all
}

// Merge merges head into base in the mirror, as the merge button would, and touches no branch.
func (m *Mirrors) Merge(ctx context.Context, repo operation.Repository, base, head string) (MergeResult, error) {
	if err := m.haveCommits(ctx, repo, base, head); err != nil {
		return MergeResult{}, err
	}
	out, err := m.output(ctx, m.mirror(repo), call{
		remote: &repo, // contents that both changed are fetched
		args:   []string{"merge-tree", "--write-tree", "-z", "--name-only", "--no-messages", "--end-of-options", base, head},
	})
	failure := (*CommandError)(nil)
	if errors.As(err, &failure) && strings.Contains(failure.Text, "refusing to merge unrelated histories") {
		return MergeResult{Conflicts: []string{"the two branches have no commit in common"}}, nil
	}
	conflicts := failure != nil && failure.Code == 1 // https://git-scm.com/docs/git-merge-tree#_exit_status
	tree, names, _ := strings.Cut(out, "\x00")
	switch {
	case err != nil && !conflicts:
		return MergeResult{}, fmt.Errorf("merge %s into %s: %w", head, base, err)
	case !isObject(tree):
		return MergeResult{}, fmt.Errorf("merge %s into %s: git answered no tree", head, base)
	case conflicts:
		return MergeResult{Conflicts: splitNUL(names)}, nil
	default:
		return MergeResult{Tree: tree}, nil
	}
}

// ChangedFiles gives the paths that differ between two commits or trees: changed, added and
// removed ones; of a rename both.
func (m *Mirrors) ChangedFiles(ctx context.Context, repo operation.Repository, from, to string) ([]string, error) {
	if err := m.haveObjects(ctx, repo, from, to); err != nil {
		return nil, err
	}
	out, err := m.output(ctx, m.mirror(repo), call{
		args: []string{"diff-tree", "-r", "-z", "--name-only", "--no-renames", "--no-ext-diff", "--end-of-options", from, to},
	})
	if err != nil {
		return nil, fmt.Errorf("compare %s with %s: %w", from, to, err)
	}
	return splitNUL(out), nil
}

// MergeBase gives the newest commit that both contain; false when there is none.
func (m *Mirrors) MergeBase(ctx context.Context, repo operation.Repository, a, b string) (string, bool, error) {
	if err := m.haveCommits(ctx, repo, a, b); err != nil {
		return "", false, err
	}
	out, err := m.output(ctx, m.mirror(repo), call{args: []string{"merge-base", "--end-of-options", a, b}})
	if failure := (*CommandError)(nil); errors.As(err, &failure) && failure.Code == 1 && failure.Text == "" {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("find the merge base of %s and %s: %w", a, b, err)
	}
	return strings.TrimSpace(out), true, nil
}

// IsAncestor reports whether commit b contains commit a. A commit contains itself.
func (m *Mirrors) IsAncestor(ctx context.Context, repo operation.Repository, a, b string) (bool, error) {
	if a == b && isObject(a) {
		return true, nil
	}
	if err := m.haveCommits(ctx, repo, a, b); err != nil {
		return false, err
	}
	_, err := m.output(ctx, m.mirror(repo), call{args: []string{"merge-base", "--is-ancestor", "--end-of-options", a, b}})
	if failure := (*CommandError)(nil); errors.As(err, &failure) && failure.Code == 1 && failure.Text == "" {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compare %s with %s: %w", a, b, err)
	}
	return true, nil
}

// FirstParents gives the commits of to's first-parent line that from does not contain, newest
// first, at most limit. An empty from gives to alone.
func (m *Mirrors) FirstParents(ctx context.Context, repo operation.Repository, from, to string, limit int) ([]string, error) {
	if from == "" {
		return []string{to}, m.haveCommits(ctx, repo, to)
	}
	if err := m.haveCommits(ctx, repo, from, to); err != nil {
		return nil, err
	}
	out, err := m.output(ctx, m.mirror(repo), call{
		args: []string{"rev-list", "--first-parent", "--max-count=" + strconv.Itoa(limit), "--end-of-options", to, "^" + from},
	})
	if err != nil {
		return nil, fmt.Errorf("list commits from %s to %s: %w", from, to, err)
	}
	return strings.Fields(out), nil
}

// splitNUL splits what git wrote with -z.
func splitNUL(out string) []string {
	var names []string
	for name := range strings.SplitSeq(out, "\x00") {
		if name != "" {
			names = append(names, name)
		}
	}
	return names
}
