package job

import (
	"context"
	"fmt"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/terraform"
)

// straight reports whether the first-parent line of what is brought, newest first, begins at what was applied last. Where it does not, as
// after a merge that took the other side's files, or where nothing was applied, what its commits changed is not what the apply changes.
func (g *gatherer) straight(ctx context.Context, last string, commits []string) (bool, error) {
	if last == "" || len(commits) == 0 {
		return false, nil
	}
	oldest, err := g.git.Commit(ctx, g.repo, commits[len(commits)-1])
	if err != nil {
		return false, fmt.Errorf("read commit %s: %w", short(commits[len(commits)-1]), err)
	}
	return len(oldest.Parents) > 0 && oldest.Parents[0] == last, nil
}

// touches reports whether a commit of a straight line changed files of a root of the configuration, or of a module that it uses in what
// is applied: by the same rule as a server plans pull requests. What touches none has changes that nobody could review, so nobody has
// to approve it. Other roots than the task's count, too: what is brought with one is not looked at again when another is applied.
func (g *gatherer) touches(ctx context.Context, task operation.Task, config repoconfig.Config, commit string) (bool, error) {
	at, err := g.git.Commit(ctx, g.repo, commit)
	if err != nil {
		return false, fmt.Errorf("read commit %s: %w", short(commit), err)
	}
	if len(at.Parents) == 0 {
		return true, nil
	}
	files, err := g.git.ChangedFiles(ctx, g.repo, at.Parents[0], commit)
	if err != nil {
		return false, fmt.Errorf("find what commit %s changed: %w", short(commit), err)
	}
	if g.dirs == nil {
		if g.dirs, err = g.rootDirs(ctx, task.Commit, config); err != nil {
			return false, err
		}
	}
	for _, root := range config.Roots {
		if root.Touched(task.Environment, g.dirs[root.Dir], files) != "" {
			return true, nil
		}
	}
	return false, nil
}

// rootDirs are the directories of each root: its own, and those of the modules that it uses in a commit.
func (g *gatherer) rootDirs(ctx context.Context, commit string, config repoconfig.Config) (map[string][]string, error) {
	tree, err := g.git.Commit(ctx, g.repo, commit)
	if err != nil {
		return nil, fmt.Errorf("read commit %s: %w", short(commit), err)
	}
	read := func(dir string) (map[string][]byte, error) { return filesOf(ctx, g.git, g.repo, tree.Tree, dir) }
	all := map[string][]string{}
	for _, root := range config.Roots {
		modules, err := terraform.Modules(ctx, read, root.Dir)
		if err != nil {
			return nil, fmt.Errorf("find the modules of root %s: %w", quote(root.Dir), err)
		}
		all[root.Dir] = append([]string{root.Dir}, modules...)
	}
	return all, nil
}
