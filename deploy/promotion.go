package deploy

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// content is a hash of the files that a root's plan is made of in a commit: its directory, the local
// modules that it uses and its variable files, but for those of one environment only. Where it is equal,
// the same code with the same common variables is planned. It is empty where the root is not in the commit.
func (d *Deploy) content(ctx context.Context, repo operation.Repository, root repoconfig.Root, commit string) (string, error) {
	dirs, err := d.rootDirs(ctx, repo, commit, root.Dir)
	if err != nil || len(dirs) == 0 {
		return "", err
	}
	files := map[string]string{}
	for _, dir := range dirs {
		blobs, err := d.Git.Blobs(ctx, repo, commit, dir)
		if err != nil {
			return "", fmt.Errorf("list the files of %s: %w", dir, err)
		}
		maps.Copy(files, blobs)
	}
	for _, name := range root.VarFiles {
		file := path.Join(root.Dir, name)
		if strings.Contains(name, "{environment}") {
			continue
		}
		blobs, err := d.Git.Blobs(ctx, repo, commit, path.Dir(file))
		if err != nil {
			return "", fmt.Errorf("find %s: %w", file, err)
		}
		if blob, ok := blobs[file]; ok {
			files[file] = blob
		}
	}
	hash := sha256.New()
	for _, file := range slices.Sorted(maps.Keys(files)) {
		if !ofOneEnvironment(root, file) {
			fmt.Fprintf(hash, "%s\x00%s\n", file, files[file]) // paths have no zero byte, and what follows has no line break
		}
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// ofOneEnvironment reports whether a file is one of the root's variable files that each environment has for itself.
func ofOneEnvironment(root repoconfig.Root, file string) bool {
	return slices.ContainsFunc(root.VarFiles, func(pattern string) bool {
		return strings.Contains(pattern, "{environment}") &&
			repoconfig.Match(path.Join(root.Dir, strings.ReplaceAll(pattern, "{environment}", "*")), file)
	})
}

// contents are the contents of an operation's roots at its commit.
func (d *Deploy) contents(ctx context.Context, op operation.Operation, config repoconfig.Config) (map[string]string, error) {
	found := map[string]string{}
	for _, root := range config.Roots {
		if !slices.Contains(op.Roots, root.Dir) {
			continue
		}
		content, err := d.content(ctx, op.Repository, root, op.Head)
		if err != nil {
			return nil, err
		}
		found[root.Dir] = content
	}
	return found, nil
}

// keepBaselines keeps the content of what was there when the branch was first seen, for each root that an operation applies for
// the first time: it stays a proof for the stages that follow, also when its commit is gone.
func (d *Deploy) keepBaselines(ctx context.Context, op operation.Operation, config repoconfig.Config, states []store.TargetState) error {
	var kept []store.TargetState
	for _, state := range states {
		root, known := config.Root(state.Target.Root)
		if !known || state.Applied != "" || state.Baseline == "" || !slices.Contains(op.Roots, root.Dir) {
			continue
		}
		if there, err := d.Git.Has(ctx, op.Repository, state.Baseline); err != nil {
			return fmt.Errorf("look for %s: %w", short(state.Baseline), err)
		} else if !there {
			continue
		}
		var err error
		if state.Content, err = d.content(ctx, op.Repository, root, state.Baseline); err != nil {
			return err
		}
		kept = append(kept, state)
	}
	return wrap("keep baselines", d.Store.KeepBaselines(ctx, kept))
}

// promotions looks for the proof, for each root of an apply and each stage before its environment, that the
// same content was applied there.
func (d *Deploy) promotions(ctx context.Context, op operation.Operation, config repoconfig.Config,
	contents map[string]string,
) ([]operation.Promotion, error) {
	environment, _ := config.Environment(op.Environment)
	var found []operation.Promotion
	for _, stage := range environment.After {
		states, err := d.Store.Targets(ctx, op.Repository.ID, stage)
		if err != nil {
			return nil, fmt.Errorf("read the targets of %s: %w", stage, err)
		}
		for _, root := range config.Roots {
			if content := contents[root.Dir]; content != "" {
				promotion, err := d.promotion(ctx, op.Repository, root, stage, content, states)
				if err != nil {
					return nil, err
				}
				found = append(found, promotion)
			}
		}
	}
	slices.SortStableFunc(found, func(a, b operation.Promotion) int { return strings.Compare(a.Root, b.Root) })
	return found, nil
}

func (d *Deploy) promotion(ctx context.Context, repo operation.Repository, root repoconfig.Root, stage, content string,
	states []store.TargetState,
) (operation.Promotion, error) {
	target := operation.Target{Root: root.Dir, Environment: stage}
	promotion, ok, err := d.Store.AppliedContent(ctx, repo.ID, target, content)
	if err != nil || ok {
		return promotion, wrap("look for the content in "+stage, err)
	}
	// What was kept is of the variable files that were configured then: the commits themselves are read anew.
	for _, state := range states {
		if state.Target != target {
			continue
		}
		for _, proof := range []operation.Promotion{
			{Root: root.Dir, Stage: stage, Commit: state.Applied, Operation: state.Operation, At: state.At},
			{Root: root.Dir, Stage: stage, Commit: state.Baseline},
		} {
			if same, err := d.hasContent(ctx, repo, root, proof.Commit, content); err != nil || same {
				return proof, err
			}
		}
	}
	return operation.Promotion{Root: root.Dir, Stage: stage}, nil
}

// hasContent reports whether a commit has this content of a root; false where the commit is not known.
func (d *Deploy) hasContent(ctx context.Context, repo operation.Repository, root repoconfig.Root, commit, content string) (bool, error) {
	if commit == "" {
		return false, nil
	}
	if there, err := d.Git.Has(ctx, repo, commit); err != nil || !there {
		return false, wrap("look for "+short(commit), err)
	}
	there, err := d.content(ctx, repo, root, commit)
	return err == nil && there == content, err
}

// unproven are the doubts about promotions that lack their proof, with the contents of the roots. Which content it is
// makes the doubt, not what else happened in the stage.
func unproven(promotions []operation.Promotion, contents map[string]string) operation.Doubts {
	var doubts operation.Doubts
	for _, promotion := range promotions {
		if promotion.Proven() {
			continue
		}
		doubts = doubts.With(operation.Doubt{
			Key:  fmt.Sprintf("promotion %s %s %q", promotion.Stage, contents[promotion.Root], promotion.Root),
			Text: fmt.Sprintf("This content of %s was not applied in %s before.", promotion.Root, promotion.Stage),
		})
	}
	return doubts
}
