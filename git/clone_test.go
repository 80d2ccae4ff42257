package git_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/git"
)

func TestAClone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.commit("refs/heads/main", "one", files{"a": "1"})
	second := w.commit("refs/heads/main", "two", files{"a": "2"}, first)
	clone, err := git.OpenClone(t.Context(), w.origin)
	if err != nil {
		t.Fatal(err)
	}
	yes := func(got bool, err error) bool {
		t.Helper()
		if err != nil {
			t.Error(err)
		}
		return got
	}
	if !yes(clone.Has(t.Context(), first)) || yes(clone.Has(t.Context(), strings.Repeat("0", 40))) || yes(clone.Has(t.Context(), "--help")) {
		t.Error("what it has is not told")
	}
	if !yes(clone.Contains(t.Context(), second, first)) || yes(clone.Contains(t.Context(), first, second)) {
		t.Error("what contains what is not told")
	}
	if _, err := clone.Contains(t.Context(), second, strings.Repeat("0", 40)); err == nil {
		t.Error("a commit that it lacks is compared")
	}
	if _, err := clone.Contains(t.Context(), second, "--all"); err == nil {
		t.Error("an option passes for a commit")
	}
	if _, err := git.OpenClone(t.Context(), t.TempDir()); err == nil || !strings.Contains(err.Error(), "not in a clone") {
		t.Errorf("a directory without a clone: %v", err)
	}
}

func TestAShallowCloneCannotTellWhatContainsWhat(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.commit("refs/heads/main", "one", files{"a": "1"})
	w.commit("refs/heads/main", "two", files{"a": "2"}, first)
	dir := filepath.Join(t.TempDir(), "shallow")
	w.run("", "clone", "--quiet", "--depth=1", "file://"+w.origin, dir)
	_, err := git.OpenClone(t.Context(), dir)
	if shallow := (*git.ShallowError)(nil); !errors.As(err, &shallow) || !strings.Contains(err.Error(), "--unshallow") {
		t.Errorf("a shallow clone: %v", err)
	}
}

// cloned is a repository with a branch of one pull request, which was merged, squashed and, in other words, conflicts.
type cloned struct {
	*world
	git.Clone

	base, head, tip string
}

func newCloned(t *testing.T) cloned {
	t.Helper()
	w := newWorld(t)
	c := cloned{world: w}
	c.base = w.commit("refs/heads/main", "base", files{"a": "1\n", "b/c": "1\n"})
	c.head = w.commit("refs/pull/41/head", "feature", files{"a": "1\n", "b/c": "2\n"}, c.base)
	c.tip = w.commit("refs/heads/main", "other", files{"a": "2\n", "b/c": "1\n"}, c.base)
	var err error
	if c.Clone, err = git.OpenClone(t.Context(), w.origin); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACloneMergesWithoutBeingWrittenTo(t *testing.T) {
	t.Parallel()
	c := newCloned(t)
	squash := c.commit("", "squash", files{"a": "2\n", "b/c": "2\n"}, c.tip)
	before := objectsOf(t, c.origin)
	// What a clone's own configuration would have done in a merge, it does not do here.
	c.run(c.origin, "config", "merge.own.driver", "touch "+filepath.Join(c.dir, "was-run"))
	if err := os.WriteFile(filepath.Join(c.origin, "info", "attributes"), []byte("* merge=own\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	tree, merges, err := c.MergeTree(t.Context(), c.tip, c.head)
	if want := must[string](t)(c.Tree(t.Context(), squash)); err != nil || !merges || tree != want {
		t.Errorf("the merge is %s, %v, %v; the squash is %s", tree, merges, err, want)
	}
	if diff := cmp.Diff(before, objectsOf(t, c.origin)); diff != "" {
		t.Errorf("it was written to (-before +after):\n%s", diff)
	}
	rival := c.commit("", "rival", files{"a": "1\n", "b/c": "3\n"}, c.base)
	if _, merges, err := c.MergeTree(t.Context(), rival, c.head); err != nil || merges {
		t.Errorf("a merge with conflicts: %v, %v", merges, err)
	}
	if _, err := os.Stat(filepath.Join(c.dir, "was-run")); err == nil {
		t.Error("a program that the clone names was run")
	}
	if _, _, err := c.MergeTree(t.Context(), c.tip, "--help"); err == nil {
		t.Error("an option passes for a commit")
	}
}

// objectsOf lists the files of a repository's objects.
func objectsOf(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(filepath.Join(dir, "objects"), func(name string, _ os.DirEntry, err error) error {
		names = append(names, name)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

func TestACloneTellsWhatIsOnABranch(t *testing.T) {
	t.Parallel()
	c := newCloned(t)
	for name, test := range map[string]struct {
		branch, commit string
		on, known      bool
	}{
		"the tip is on its branch":                        {"main", c.tip, true, true},
		"what was merged into nothing is on no branch":    {"main", c.head, false, true},
		"a branch that is gone is not known":              {"release/1.0", c.tip, false, false},
		"without a name any branch will do":               {"", c.base, true, true},
		"a pattern is no branch":                          {"ma*", c.tip, false, false},
		"an option is no branch":                          {"--all", c.tip, false, false},
		"the first part of a branch's name is no branch":  {"mai", c.tip, false, false},
		"what leads out of the branches is no branch":     {"../pull/41/head", c.head, false, false},
		"what leads out and back is no branch's own name": {"../heads/main", c.tip, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			on, known, err := c.OnBranch(t.Context(), test.branch, test.commit)
			if err != nil || on != test.on || known != test.known {
				t.Errorf("%v, %v, %v", on, known, err)
			}
		})
	}
}

func TestACloneReadsFilesParentsAndPullRequests(t *testing.T) {
	t.Parallel()
	c := newCloned(t)
	for name, want := range map[string]string{"b/c": "2\n", "b": "", "nothing": "", "../a": "", ":(glob)**": "", "": ""} {
		data, there, err := c.File(t.Context(), c.head, name)
		if string(data) != want || there != (want != "") || (err != nil && want != "") {
			t.Errorf("the file %q is %q, %v, %v", name, data, there, err)
		}
	}
	if parent, has, err := c.FirstParent(t.Context(), c.head); err != nil || !has || parent != c.base {
		t.Errorf("its parent is %s, %v, %v", parent, has, err)
	}
	if _, has, err := c.FirstParent(t.Context(), c.base); err != nil || has {
		t.Errorf("the first commit has a parent: %v, %v", has, err)
	}
	if head, known, err := c.PullHead(t.Context(), 41); err != nil || !known || head != c.head {
		t.Errorf("the head of #41 is %s, %v, %v", head, known, err)
	}
	if _, known, err := c.PullHead(t.Context(), 4); err != nil || known {
		t.Errorf("#4 is known: %v, %v", known, err)
	}
}

func TestACloneBelievesNoReplacedCommit(t *testing.T) {
	t.Parallel()
	c := newCloned(t)
	c.run(c.origin, "replace", "--graft", c.base, c.head) // makes it look as if the feature was there from the start
	if contains, err := c.Contains(t.Context(), c.tip, c.head); err != nil || contains {
		t.Errorf("a graft is believed: %v, %v", contains, err)
	}
}
