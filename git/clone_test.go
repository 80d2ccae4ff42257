package git_test

import (
	"strings"
	"testing"

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
