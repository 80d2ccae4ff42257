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
	promotion = operation.Promotion{Root: root.Dir, Stage: stage}
	commit := appliedCommit(states, target) // also what was there when the branch was first seen
	if commit == "" {
		return promotion, nil
	}
	if there, err := d.Git.Has(ctx, repo, commit); err != nil || !there {
		return promotion, wrap("look for "+short(commit), err)
	}
	there, err := d.content(ctx, repo, root, commit)
	if err == nil && there == content {
		promotion.Commit = commit
	}
	return promotion, err
}

// unproven says in words which promotions lack their proof; empty when none does.
func unproven(promotions []operation.Promotion) string {
	var words []string
	for _, promotion := range promotions {
		if !promotion.Proven() {
			words = append(words, fmt.Sprintf("This content of %s was not applied in %s before.", promotion.Root, promotion.Stage))
		}
	}
	return strings.Join(words, " ")
}
