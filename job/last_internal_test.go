package job

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/hub"
)

func TestABrokenLockIsNothingThatWasApplied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		run  string
		want []string
	}{
		"the breaking of a lock": {"switchyard break-lease prod, operation 4.1 launched", []string{"#41 is not approved"}},
		"an apply":               {"switchyard apply prod, operation 4.1 launched", nil},
		"an apply whose workflow was given another run-name": {"Deploy break-lease prod", nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, task := newWorld(), applyTask()
			w.reviews[41] = nil // nobody approved reviewed, at which that run has worked
			run := like(w, "")
			run.Name = c.run
			w.runs[95], w.deployed = run, append([]hub.Deployed{{SHA: reviewed, Run: 95}}, w.deployed...)
			compare(t, c.want, w.refusals(t, task))
		})
	}
}

func TestWhereWhatWasAppliedIsLookedFor(t *testing.T) {
	t.Parallel()
	const all, main = "what was deployed to prod", "what switchyard.yml on main deployed"
	const hotfix = "what switchyard.yml on hotfix deployed"
	for name, c := range map[string]struct {
		branches string
		asked    []string
	}{
		"by the runs on a branch":                   {"main", []string{main}},
		"by the runs on each of several":            {"[main, hotfix]", []string{main, hotfix}},
		"in all deployments where one is a pattern": {`[main, "hotfix/*"]`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, task := newWorld(), applyTask()
			w.config = strings.Replace(w.config, "branch: main", "branch: "+c.branches, 1)
			compare(t, nil, w.refusals(t, task))
			asked := slices.DeleteFunc(slices.Clone(w.asked), func(one string) bool { return !strings.HasPrefix(one, "what switchyard.yml") })
			compare(t, c.asked, asked)
			if !slices.Contains(w.asked, all) && c.asked == nil {
				t.Errorf("asked: %q", w.asked)
			}
		})
	}
	t.Run("the newest of several branches counts", func(t *testing.T) {
		t.Parallel()
		w := newWorld()
		w.config = strings.Replace(w.config, "branch: main", "branch: [main, hotfix]", 1)
		newer := like(w, "")
		newer.Branch, newer.Created = "hotfix", noon.Add(time.Minute)
		w.runs[95], w.branched = newer, map[string][]hub.Deployed{
			"main": {{SHA: applied, Run: 90}}, "hotfix": {{SHA: reviewed, Run: 95}},
		}
		g := &gatherer{github: w, git: w, repo: network, now: w.now}
		config, err := g.configuration(t.Context(), "main")
		if err != nil {
			t.Fatal(err)
		}
		environment, _ := config.Environment("prod")
		sha, at, err := g.last(t.Context(), environment, "switchyard.yml")
		if err != nil || sha != reviewed || !at.Equal(newer.Created) {
			t.Errorf("%s at %v, %v", sha, at, err)
		}
		slices.Reverse(environment.Branches)
		if sha, _, err = g.last(t.Context(), environment, "switchyard.yml"); err != nil || sha != reviewed {
			t.Errorf("the other way round: %s, %v", sha, err)
		}
	})
}
