package git

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

const (
	headsPrefix = "refs/heads/"
	// GitHub keeps the head of each pull request, of forks too, in the base repository.
	// https://docs.github.com/en/pull-requests (checking out pull requests locally)
	pullPrefix, pullSuffix = "refs/pull/", "/head"
)

// ErrNoMirror says that the repository was never fetched.
var ErrNoMirror = errors.New("the repository has no mirror yet: fetch it first")

// Branch gives the tip of a branch as of the last fetch. It starts no process.
func (m *Mirrors) Branch(ctx context.Context, repo operation.Repository, name string) (string, bool, error) {
	refs, err := m.refs(ctx, repo)
	if err != nil {
		return "", false, err
	}
	sha, ok := refs[headsPrefix+name]
	return sha, ok, nil
}

// Branches gives the branches whose names match, with their tips as of the last fetch. It starts no
// process.
func (m *Mirrors) Branches(ctx context.Context, repo operation.Repository, match func(name string) bool) (map[string]string, error) {
	refs, err := m.refs(ctx, repo)
	if err != nil {
		return nil, err
	}
	found := map[string]string{}
	for ref, sha := range refs {
		if name, ok := strings.CutPrefix(ref, headsPrefix); ok && match(name) {
			found[name] = sha
		}
	}
	return found, nil
}

// PullHead gives the head of a pull request as of the last fetch. It starts no process.
func (m *Mirrors) PullHead(ctx context.Context, repo operation.Repository, number int) (string, bool, error) {
	refs, err := m.refs(ctx, repo)
	if err != nil {
		return "", false, err
	}
	sha, ok := refs[pullPrefix+strconv.Itoa(number)+pullSuffix]
	return sha, ok, nil
}

// UnmergedBranches gives the branches whose names begin with prefix and whose commits are not all
// in branch into, sorted. It starts no process when there is no such branch.
func (m *Mirrors) UnmergedBranches(ctx context.Context, repo operation.Repository, prefix, into string) ([]string, error) {
	refs, err := m.refs(ctx, repo)
	if err != nil {
		return nil, err
	}
	var candidates []string
	for ref := range refs {
		if strings.HasPrefix(ref, headsPrefix+prefix) && ref != headsPrefix+into {
			candidates = append(candidates, ref)
		}
	}
	slices.Sort(candidates)
	sha, merged := refs[headsPrefix+into]
	if len(candidates) > 0 && merged {
		if candidates, err = m.unmerged(ctx, repo, candidates, sha); err != nil {
			return nil, err
		}
	}
	for i, ref := range candidates {
		candidates[i] = strings.TrimPrefix(ref, headsPrefix)
	}
	return candidates, nil
}

func (m *Mirrors) unmerged(ctx context.Context, repo operation.Repository, refs []string, sha string) ([]string, error) {
	const atOnce = 500 // refs of one process: names are at most 255 bytes a part, an argument list holds 2 MiB
	var found []string
	for some := range slices.Chunk(refs, atOnce) {
		args := []string{"for-each-ref", "--format=%(refname)", "--no-merged=" + sha, "--end-of-options"}
		out, err := m.output(ctx, m.mirror(repo), call{args: append(args, some...)})
		if err != nil {
			return nil, fmt.Errorf("find branches that are not merged: %w", err)
		}
		for ref := range strings.SplitSeq(out, "\n") {
			// A pattern names a whole ref or a directory of refs, so others may be among them.
			if slices.Contains(some, ref) {
				found = append(found, ref)
			}
		}
	}
	return found, nil
}

// refs gives all refs of the last fetch. They are read from disk once after a start.
func (m *Mirrors) refs(ctx context.Context, repo operation.Repository) (map[string]string, error) {
	mir := m.mirror(repo)
	mir.mu.Lock()
	refs := mir.refs
	mir.mu.Unlock()
	if refs != nil {
		return refs, nil
	}
	if _, err := os.Stat(mir.gitDir); errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s: %w", repo.FullName(), ErrNoMirror)
	}
	// A fetch that ends meanwhile sets newer ones.
	if err := mir.fetching.lock(ctx); err != nil {
		return nil, fmt.Errorf("wait for the mirror: %w", err)
	}
	defer mir.fetching.unlock()
	refs, err := m.readRefs(ctx, mir)
	if err != nil {
		return nil, err
	}
	mir.setRefs(refs)
	return refs, nil
}

func (m *Mirrors) readRefs(ctx context.Context, mir *mirror) (map[string]string, error) {
	out, err := m.output(ctx, mir, call{
		args: []string{"for-each-ref", "--format=%(objectname) %(refname)", "--end-of-options", headsPrefix, pullPrefix},
	})
	if err != nil {
		return nil, fmt.Errorf("read refs: %w", err)
	}
	refs := map[string]string{}
	for line := range strings.Lines(out) {
		sha, ref, ok := strings.Cut(strings.TrimSuffix(line, "\n"), " ") // a ref holds neither blanks nor line ends
		if !ok || !isObject(sha) {
			return nil, fmt.Errorf("read refs: unexpected line %q", line)
		}
		refs[ref] = sha
	}
	return refs, nil
}

func (mir *mirror) setRefs(refs map[string]string) {
	mir.mu.Lock()
	defer mir.mu.Unlock()
	mir.refs = refs
}
