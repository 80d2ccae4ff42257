package gitflow_test

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

func usualConfig(tb testing.TB) repoconfig.Config {
	tb.Helper()
	config, err := repoconfig.Parse([]byte(usual))
	if err != nil {
		tb.Fatal(err)
	}
	return config
}

// TestEveryPairOfBranches shows GitFlow as a whole: each kind of branch into each other.
func TestEveryPairOfBranches(t *testing.T) {
	t.Parallel()
	heads := []string{
		"main", "master", "develop", "release", "release/1.0", "hotfix/a", "support/1.x", "fix/a", "bugfix/a",
		"feature/a", "feat/a", "chore/a", "docs/a", "refactor/a", "test/a", "dependabot/a", "renovate/a", "patch-1",
	}
	bases := []string{"main", "develop", "release", "release/1.0", "support/1.x"}
	config := usualConfig(t)
	config.Environments = append(config.Environments, repoconfig.Environment{Name: "legacy", Branches: []string{"support/*"}})
	var table strings.Builder
	for _, base := range bases {
		for _, head := range heads {
			d := gitflow.DecidePullRequest(config, gitflow.PullRequest{From: head, To: base}, gitflow.Facts{OpenReleases: []string{"release/1.0"}})
			holds(t, d)
			fmt.Fprintf(&table, "%-9s %s\n", d.Verdict, d.Title)
		}
		table.WriteString("\n")
	}
	same(t, "testdata/pairs.txt", table.String())
}

func TestReleasesAreOrderedByVersion(t *testing.T) {
	t.Parallel()
	config := usualConfig(t)
	for _, pair := range []struct{ older, newer string }{
		{"release/1.9", "release/1.10"},
		{"release/1.0", "release/1.0.1"},
		{"release/1.0", "release/v1.1"},
		{"release/1.0-rc1", "release/1.0"},
		{"release/1.0-rc1", "release/1.0-rc2"},
		{"release/2025-9", "release/2025-10"},
		{"release/2025", "release/2025-01"},
		{"release/99999999999999999999", "release/100000000000000000000"},
		{"release/alpha", "release/beta"},
		{"release/01.0", "release/1.0"},
		{"release", "release/0.1"},
	} {
		t.Run(pair.older+" is older than "+pair.newer, func(t *testing.T) {
			t.Parallel()
			open := gitflow.Facts{OpenReleases: []string{pair.newer, pair.older}}
			if d := gitflow.DecidePush(config, gitflow.Push{Branch: pair.older}, open); d.Verdict != gitflow.Refused {
				t.Errorf("the older one is not refused:\n%s", d)
			}
			if d := gitflow.DecidePush(config, gitflow.Push{Branch: pair.newer}, open); d.Verdict != gitflow.Allowed {
				t.Errorf("the newer one is not applied:\n%s", d)
			}
		})
	}
}

func TestARefusalNamesTheBaseBranchesThatWouldDo(t *testing.T) {
	t.Parallel()
	config := usualConfig(t)
	d := gitflow.DecidePullRequest(config, gitflow.PullRequest{From: "fix/a", To: "main"},
		gitflow.Facts{OpenReleases: []string{"release/1.10", "release/1.9", "release/1.9"}})
	if got, want := strings.Join(d.Bases, " "), "develop release/1.9 release/1.10"; got != want {
		t.Errorf("bases: %s, want %s", got, want)
	}
	for _, base := range d.Bases {
		again := gitflow.DecidePullRequest(config, gitflow.PullRequest{From: "fix/a", To: base}, gitflow.Facts{})
		if again.Verdict != gitflow.Allowed {
			t.Errorf("%s was offered, but: %s", base, again)
		}
	}
}

// flow is GitFlow once more, as text: FROM>TO.
var flow = regexp.MustCompile(`^(` +
	`(feature|feat|chore|docs|refactor|test|dependabot|renovate|fix|bugfix|hotfix|release)/(?s:.)+>develop|` +
	`(main|master|release)>develop|` +
	`((release|hotfix)/(?s:.)+|release)>main|` +
	`(fix|bugfix|hotfix)/(?s:.)+>release(/[^/]+)?|` +
	`develop>release)$`)

var deploying = regexp.MustCompile(`^(develop|release|release/[^/]*|main)$`)

func FuzzDecisions(f *testing.F) {
	for _, seed := range [][3]string{
		{"feature/a", "develop", "release/1.0"},
		{"release/", "main", "release/"},
		{"main\n", "develop", "release/-"},
		{"hotfix/\u202e", "main ", "release/1-"},
		{"", "", ""},
		{"release/9", "release/v", "release/0"},
		{strings.Repeat("feature/", 100), "release/1\xff", "\x00"},
	} {
		f.Add(seed[0], seed[1], seed[2], false)
		f.Add(seed[0], seed[1], seed[2], true)
	}
	config := usualConfig(f)
	f.Fuzz(func(t *testing.T, from, to, open string, fork bool) {
		facts := gitflow.Facts{OpenReleases: []string{open, "release/1.0"}}
		pull := gitflow.DecidePullRequest(config, gitflow.PullRequest{From: from, To: to, Fork: fork}, facts)
		push := gitflow.DecidePush(config, gitflow.Push{Branch: to}, facts)
		group := gitflow.DecideMergeGroup(config, gitflow.MergeGroup{Base: "refs/heads/" + to}, facts)
		for _, d := range []gitflow.Decision{pull, push, group} {
			holds(t, d)
			if (d.Deploys != "") != deploying.MatchString(to) {
				t.Errorf("%q deploys to %q", to, d.Deploys)
			}
		}
		if pull.Verdict == gitflow.Allowed && !flow.MatchString(from+">"+to) {
			t.Errorf("%q → %q is allowed by accident: %s", from, to, pull)
		}
		if fork && (pull.Environment != "" || pull.Verdict == gitflow.Allowed && to != "develop") {
			t.Errorf("a fork got too much: %s", pull)
		}
	})
}
