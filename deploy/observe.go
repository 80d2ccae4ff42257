package deploy

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/terraform"
)

// configured is what the default branch says about a repository.
type configured struct {
	repoconfig.Config
	Problem string // why the file cannot be used; nothing is applied then
	Commit  string // of the default branch that it was read at; empty where there is none
}

// configuration reads a repository's configuration from its default branch in the mirror.
func (d *Deploy) configuration(ctx context.Context, repo operation.Repository, branch string) (configured, error) {
	tip, ok, err := d.Git.Branch(ctx, repo, branch)
	if err != nil {
		return configured{}, fmt.Errorf("find the default branch: %w", err)
	}
	if !ok {
		return configured{Config: repoconfig.Default()}, nil
	}
	data, ok, err := d.Git.ReadFile(ctx, repo, tip, repoconfig.Path)
	if err != nil {
		return configured{}, fmt.Errorf("read %s: %w", repoconfig.Path, err)
	}
	if !ok {
		return configured{Config: repoconfig.Default(), Commit: tip}, nil
	}
	config, err := repoconfig.Parse(data)
	found := configured{Config: config, Commit: tip}
	if err != nil { // what is wrong with the file is for its readers: it is shown where it matters
		found = configured{Config: repoconfig.Default(), Problem: err.Error(), Commit: tip}
	}
	return found, nil
}

// fetched brings the mirror up to date and reads the repository's configuration from it.
func (d *Deploy) fetched(ctx context.Context, repo operation.Repository) (configured, error) {
	if err := d.Git.Fetch(ctx, repo); err != nil {
		return configured{}, fmt.Errorf("fetch: %w", err)
	}
	return d.known(ctx, repo)
}

// known reads the repository's configuration from the mirror as it is.
func (d *Deploy) known(ctx context.Context, repo operation.Repository) (configured, error) {
	branch, err := d.defaultBranch(ctx, repo)
	if err != nil {
		return configured{}, err
	}
	return d.configuration(ctx, repo, branch)
}

// defaultBranch gives the repository's default branch as it was last seen, else asks GitHub.
func (d *Deploy) defaultBranch(ctx context.Context, repo operation.Repository) (string, error) {
	_, branch, ok, err := d.Store.Repository(ctx, repo.ID)
	if err != nil {
		return "", fmt.Errorf("read repository: %w", err)
	}
	if ok && branch != "" {
		return branch, nil
	}
	info, err := d.Hub.Repository(ctx, repo)
	if err != nil {
		return "", fmt.Errorf("ask for the default branch: %w", err)
	}
	if err := d.Store.SaveRepository(ctx, repo, info.DefaultBranch); err != nil {
		return "", fmt.Errorf("save repository: %w", err)
	}
	return info.DefaultBranch, nil
}

// facts are what gitflow has to know beyond the event.
func (d *Deploy) facts(ctx context.Context, repo operation.Repository) (gitflow.Facts, error) {
	into := "main"
	if _, ok, err := d.Git.Branch(ctx, repo, into); err != nil {
		return gitflow.Facts{}, fmt.Errorf("find main: %w", err)
	} else if !ok {
		into = "master"
	}
	open, err := d.Git.UnmergedBranches(ctx, repo, "release/", into)
	if err != nil {
		return gitflow.Facts{}, fmt.Errorf("find open releases: %w", err)
	}
	return gitflow.Facts{OpenReleases: open}, nil
}

// rootsAt finds the roots of the configuration whose code in a tree is touched by the changed
// files, with the reason for each: its own directory, a variable file, or a local module.
func (d *Deploy) rootsAt(ctx context.Context, repo operation.Repository, config repoconfig.Config,
	environment, tree string, files []string,
) ([]render.RootReason, error) {
	var found []render.RootReason
	for _, root := range config.Roots {
		dirs, err := d.rootDirs(ctx, repo, tree, root.Dir)
		if err != nil {
			return nil, err
		}
		if len(dirs) == 0 {
			continue // not in this tree
		}
		if reason := root.Touched(environment, dirs, files); reason != "" {
			found = append(found, render.RootReason{Root: root.Dir, Reason: reason})
		}
	}
	return found, nil
}

// changed finds the files that differ between two trees or commits while all files of the second are
// brought into the mirror with one request: they are read one by one next, and checked out later.
func (d *Deploy) changed(ctx context.Context, repo operation.Repository, from, to string) ([]string, error) {
	var files []string
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return wrap("fetch files", d.Git.Prefetch(groupCtx, repo, to)) })
	group.Go(func() (err error) {
		files, err = d.Git.ChangedFiles(groupCtx, repo, from, to)
		return wrap("find changed files", err)
	})
	return files, group.Wait() //nolint:wrapcheck // wrapped above
}

// rootDirs are a root's own directory and those of the local modules it uses; none where the root
// is not in the tree.
func (d *Deploy) rootDirs(ctx context.Context, repo operation.Repository, tree, dir string) ([]string, error) {
	read := d.reader(ctx, repo, tree)
	names, err := read(dir)
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", dir, err)
	}
	if len(names) == 0 {
		return nil, nil
	}
	modules, err := terraform.Modules(ctx, read, dir)
	if err != nil {
		return nil, fmt.Errorf("find the modules of %s: %w", dir, err)
	}
	return append([]string{dir}, modules...), nil
}

// reader reads the Terraform files of one directory of a tree.
func (d *Deploy) reader(ctx context.Context, repo operation.Repository, tree string) func(string) (map[string][]byte, error) {
	return func(dir string) (map[string][]byte, error) {
		names, err := d.Git.Files(ctx, repo, tree, dir)
		if err != nil {
			return nil, fmt.Errorf("list files: %w", err)
		}
		files := map[string][]byte{}
		for _, name := range names {
			if !strings.HasSuffix(name, ".tf") && !strings.HasSuffix(name, ".tf.json") {
				continue
			}
			data, ok, err := d.Git.ReadFile(ctx, repo, tree, path.Join(dir, name))
			if err != nil {
				return nil, fmt.Errorf("read file: %w", err)
			}
			if ok {
				files[name] = data
			}
		}
		return files, nil
	}
}

// outstanding is what an apply of a candidate would have to do.
type outstanding struct {
	Roots  []render.RootReason
	Doubts operation.Doubts // why a person must say yes whatever the plan says
	Since  []string         // the applied commits of its roots, each once
}

// outstandingAt finds the roots that differ between what was applied last and the candidate. A root
// that was never applied counts as changed, and so does one whose applied commit is not part of the
// candidate's history: there the candidate would undo something.
func (d *Deploy) outstandingAt(ctx context.Context, repo operation.Repository, config repoconfig.Config,
	environment, candidate string,
) (outstanding, error) {
	states, err := d.Store.Targets(ctx, repo.ID, environment)
	if err != nil {
		return outstanding{}, fmt.Errorf("read targets: %w", err)
	}
	if err := d.Git.Prefetch(ctx, repo, candidate); err != nil { // they are read one by one next
		return outstanding{}, fmt.Errorf("fetch the files of %s: %w", short(candidate), err)
	}
	var result outstanding
	for _, root := range config.Roots {
		from := appliedCommit(states, operation.Target{Root: root.Dir, Environment: environment})
		one, err := d.rootOutstanding(ctx, repo, root, environment, from, candidate)
		if err != nil {
			return outstanding{}, err
		}
		result.Doubts = result.Doubts.With(one.Doubts...)
		result.Roots = append(result.Roots, one.Roots...)
		if len(one.Roots) > 0 && from != "" && !slices.Contains(result.Since, from) {
			result.Since = append(result.Since, from)
		}
	}
	return result, nil
}

func (d *Deploy) rootOutstanding(ctx context.Context, repo operation.Repository, root repoconfig.Root,
	environment, from, candidate string,
) (outstanding, error) {
	dirs, err := d.rootDirs(ctx, repo, candidate, root.Dir)
	if err != nil {
		return outstanding{}, err
	}
	if len(dirs) == 0 || from == candidate {
		return outstanding{}, nil
	}
	if from == "" {
		return outstanding{Roots: []render.RootReason{{Root: root.Dir, Reason: "it was never applied here"}}}, nil
	}
	descends, err := d.Git.IsAncestor(ctx, repo, from, candidate)
	if err != nil {
		if there, failed := d.Git.Has(ctx, repo, from); failed == nil && !there {
			return outstanding{
				Doubts: undoing(root.Dir, from, "The applied commit "+short(from)+
					" is not in the repository any more, so it is not known what this would undo."),
				Roots: []render.RootReason{{Root: root.Dir, Reason: "the applied commit " + short(from) + " is not in the repository any more"}},
			}, nil
		}
		return outstanding{}, fmt.Errorf("compare with the applied commit: %w", err)
	}
	if !descends {
		doubt, err := d.undo(ctx, repo, from, candidate)
		return outstanding{
			Doubts: undoing(root.Dir, from, doubt),
			Roots:  []render.RootReason{{Root: root.Dir, Reason: "the applied commit " + short(from) + " is not part of " + short(candidate)}},
		}, err
	}
	files, err := d.Git.ChangedFiles(ctx, repo, from, candidate)
	if err != nil {
		return outstanding{}, fmt.Errorf("find changed files: %w", err)
	}
	if reason := root.Touched(environment, dirs, files); reason != "" {
		return outstanding{Roots: []render.RootReason{{Root: root.Dir, Reason: reason}}}, nil
	}
	return outstanding{}, nil
}

// undoing is the doubt about a candidate that lacks the commit that was applied to a root.
func undoing(root, applied, text string) operation.Doubts {
	return operation.Doubts{{Key: fmt.Sprintf("undo %s %q", applied, root), Text: text, Undoes: true}}
}

// undo says in words what applying the candidate would take back.
func (d *Deploy) undo(ctx context.Context, repo operation.Repository, applied, candidate string) (string, error) {
	base, _, err := d.Git.MergeBase(ctx, repo, applied, candidate)
	if err != nil {
		return "", fmt.Errorf("find the common commit: %w", err)
	}
	lost, err := d.Git.FirstParents(ctx, repo, base, applied, maxNamedCommits)
	if err != nil {
		return "", fmt.Errorf("list the commits it would undo: %w", err)
	}
	known, err := d.Store.CommitPulls(ctx, repo.ID, lost)
	if err != nil {
		return "", fmt.Errorf("read the pull requests of commits: %w", err)
	}
	var names []string
	for _, commit := range slices.Backward(lost) {
		name := "commit " + short(commit)
		if number := known[commit]; number != 0 {
			name = fmt.Sprintf("#%d", number)
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		names = []string{"commit " + short(applied)}
	}
	return fmt.Sprintf("%s does not contain %s, which was applied last: this would undo %s.",
		short(candidate), short(applied), strings.Join(names, ", ")), nil
}

// maxNamedCommits bounds how many commits are looked up and named for one operation.
const maxNamedCommits = 20

func appliedCommit(states []store.TargetState, target operation.Target) string {
	for _, state := range states {
		if state.Target == target {
			if state.Applied != "" {
				return state.Applied
			}
			return state.Baseline
		}
	}
	return ""
}

// short is a commit as people write it.
func short(sha string) string {
	const length = 7
	if len(sha) <= length {
		return sha
	}
	return sha[:length]
}
