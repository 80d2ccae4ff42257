package git_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/git"
)

// TestGitIsFoundAtTheStart changes PATH, which is why it is not parallel.
func TestGitIsFoundAtTheStart(t *testing.T) {
	if _, err := git.Find(t.Context()); err != nil {
		t.Fatalf("the git of this machine: %v", err)
	}
	for name, c := range map[string]struct{ says, want string }{
		"a git that is new enough":           {"git version 2.39.5", ""},
		"a git of another maker":             {"git version 2.50.1 (Apple Git-155)", ""},
		"a git of years to come":             {"git version 3.0.0", ""},
		"a git that is too old":              {"git version 2.30.2", "git 2.30 ("},
		"a git of the last century":          {"git version 1.9.1", "is too old: install git 2.39 or newer"},
		"a program of that name":             {"gitter 7\x1b[2J", "is not git"},
		"a number that no version has":       {"git version 99999999999999999999.1", "is not git"},
		"a program that says nothing at all": {"", "is not git"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			t.Setenv("PATH", dir)
			script := fmt.Sprintf("#!/bin/sh\nprintf '%%s' '%s'\n", c.says)
			if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
				t.Fatal(err)
			}
			path, err := git.Find(t.Context())
			switch {
			case c.want == "" && (err != nil || path != filepath.Join(dir, "git")):
				t.Errorf("got %q, %v", path, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "\x1b")):
				t.Errorf("got %q, %v; want %q", path, err, c.want)
			}
		})
	}
	t.Run("no git", func(t *testing.T) {
		t.Setenv("PATH", t.TempDir())
		if _, err := git.Find(t.Context()); err == nil || !strings.Contains(err.Error(), "git is not on PATH: install git") {
			t.Errorf("got %v", err)
		}
	})
	t.Run("a git that fails", func(t *testing.T) {
		dir := t.TempDir()
		t.Setenv("PATH", dir)
		if err := os.WriteFile(filepath.Join(dir, "git"), []byte("#!/bin/sh\nexit 3\n"), 0o700); err != nil { //nolint:gosec // it is a program
			t.Fatal(err)
		}
		if _, err := git.Find(t.Context()); err == nil || !strings.Contains(err.Error(), "for its version") {
			t.Errorf("got %v", err)
		}
	})
}
