package server_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/settings"
)

// Most calls of GitHub's API that a pull request may take from opened to plan shown, and a merge to applied when nothing waits.
const (
	mostForPlan  = 5
	mostForApply = 8 // 7 where it is done before the comment would say that it runs
)

// atMost fails the test where more calls were made than may be.
func atMost(t *testing.T, most int, calls map[string]int, effects []string) {
	t.Helper()
	if total(calls) > most {
		t.Errorf("%d calls; at most %d may be made: %v\n%s", total(calls), most, calls, strings.Join(effects, "\n"))
	}
}

func TestAPullRequestTakesTheSameFewCallsWhateverTheNumberOfItsRoots(t *testing.T) { //nolint:paralleltest,tparallel // what goes on for long is told in further calls: the others must not slow it down
	want := map[string]int{
		"GET /repos/{owner}/{repo}/pulls/{pull_number}":             1,
		"POST /repos/{owner}/{repo}/check-runs":                     2, // gitflow, and the plan when it begins
		"PATCH /repos/{owner}/{repo}/check-runs/{check_run_id}":     1, // the plan when it ends
		"POST /repos/{owner}/{repo}/issues/{issue_number}/comments": 1,
	}
	for _, roots := range []int{1, 5, 20} {
		t.Run(fmt.Sprintf("%d roots", roots), func(t *testing.T) {
			f := newFleet(t, roots)
			before := f.Box.Calls()
			f.openAll()
			f.quiet()
			calls := counted(before, f.Box.Calls())
			if diff := cmp.Diff(want, calls); diff != "" {
				t.Errorf("other calls were made (-want +got):\n%s\n%s", diff, strings.Join(f.Box.Effects(), "\n"))
			}
			atMost(t, mostForPlan, calls, f.Box.Effects())
		})
	}
}

func TestAnotherPushToAPullRequestTakesNoMoreCalls(t *testing.T) { //nolint:paralleltest,tparallel // what goes on for long is told in further calls: the others must not slow it down
	f := newFleet(t, 1)
	pull := f.openAll()
	f.quiet()
	before := f.Box.Calls()
	f.pushAgain(pull)
	f.quiet()
	atMost(t, mostForPlan, counted(before, f.Box.Calls()), f.Box.Effects())
}

func TestAMergeTakesFewCalls(t *testing.T) { //nolint:paralleltest,tparallel // what goes on for long is told in further calls: the others must not slow it down
	t.Run("when its apply is done in a moment", func(t *testing.T) {
		f := newFleet(t, 5)
		pull := f.openAll()
		f.quiet()
		before := f.Box.Calls()
		f.applied(pull, f.merge(pull.number))
		f.quiet()
		atMost(t, mostForApply, counted(before, f.Box.Calls()), f.Box.Effects())
	})
	t.Run("when its apply lasts until everything that says so is shown", func(t *testing.T) {
		f := newFleet(t, 1)
		calls := f.slowMerge()
		atMost(t, mostForApply, calls, f.Box.Effects())
	})
}

// applied waits until GitHub shows that a merge was applied: check, deployment and comment.
func (f *fleet) applied(pull opened, sha string) {
	f.t.Helper()
	f.checkIs(sha, "switchyard / apply (dev)", "success")
	f.eventually("the deployment has succeeded", func() bool { return f.deploymentState(sha) == "success" })
	f.said(pull.number, "Applied to dev")
}

// deploymentState is the newest state of the deployment of a commit.
func (f *fleet) deploymentState(sha string) string {
	for _, deployment := range f.repo.Deployments("dev") {
		if deployment.SHA == sha && len(deployment.States) > 0 {
			return deployment.States[len(deployment.States)-1].State
		}
	}
	return ""
}

// slowMerge merges a pull request whose apply goes on until its check, its deployment and the comment
// say that it runs. It returns the calls that this took.
func (f *fleet) slowMerge() map[string]int {
	f.t.Helper()
	f.pulls++
	gate := filepath.Join(f.t.TempDir(), "go")
	branch := fmt.Sprintf("feature/slow-%d", f.pulls)
	slow := fmt.Sprintf(`resource "terraform_data" "slow_%d" {
  provisioner "local-exec" {
    command = "until [ -e %s ]; do sleep 0.05; done"
  }
}
`, f.pulls, gate)
	pull := opened{branch: branch, number: f.open(branch, "develop", map[string]string{f.roots[0] + "/slow.tf": slow})}
	f.shown(pull)
	f.quiet()
	before := f.Box.Calls()
	sha := f.merge(pull.number)
	f.said(pull.number, "Applying to dev")
	f.eventually("the deployment is in progress", func() bool { return f.deploymentState(sha) == "in_progress" })
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		f.t.Fatal(err)
	}
	f.applied(pull, sha)
	f.quiet()
	return counted(before, f.Box.Calls())
}

func TestAPlanTakesThreeTerraformProcessesAndTheNextOneTwo(t *testing.T) { //nolint:paralleltest,tparallel // what goes on for long is told in further calls: the others must not slow it down
	f := newFleet(t, 1)
	pull := f.openAll()
	if got := f.processes(); got != 3 {
		t.Errorf("the first plan took %d processes; want init, plan and show", got)
	}
	f.quiet()
	f.pushAgain(pull)
	if got := f.processes(); got != 2 {
		t.Errorf("the second plan took %d processes; want plan and show", got)
	}
}

// TestTwoCallsStandOnTheWayToThePlanComment lets GitHub answer nothing but the two calls that a plan
// comment cannot do without. That it comes nevertheless shows that it waits for no other.
func TestTwoCallsStandOnTheWayToThePlanComment(t *testing.T) { //nolint:paralleltest,tparallel // what goes on for long is told in further calls: the others must not slow it down
	for _, roots := range []int{1, 5} {
		t.Run(fmt.Sprintf("%d roots", roots), func(t *testing.T) {
			gate := &callGate{open: regexp.MustCompile(`^(GET .*/pulls/\d+|POST .*/issues/\d+/comments)$`)}
			f := newFleet(t, roots, gate.before(t))
			t.Cleanup(gate.release)
			gate.hold()
			f.pulls++
			pull := opened{branch: "feature/limits", number: f.open("feature/limits", "develop", f.change("one"))}
			f.eventually("the plan comment is there", func() bool {
				view, _ := f.repo.PullView(pull.number)
				_, ok := planComment(view)
				return ok
			})
			view, _ := f.repo.PullView(pull.number)
			if len(view.Checks) > 0 {
				t.Errorf("checks were written although GitHub did not answer: %v", view.Checks)
			}
			if through := gate.through(); len(through) != 2 {
				t.Errorf("the plan comment took %d calls: %q", len(through), through)
			}
			gate.release()
			f.shown(pull)
		})
	}
}

// callGate stands before GitHub's API and can hold calls back.
type callGate struct {
	open *regexp.Regexp // calls that are never held back, as "METHOD /path"

	mu     sync.Mutex
	held   chan struct{} // closed when calls may go on; nil: none is held
	passed []string      // since hold
}

// before has the server ask the gate instead of GitHub.
func (g *callGate) before(t *testing.T) func(*settings.Settings) {
	t.Helper()
	return func(s *settings.Settings) {
		target, err := url.Parse(s.GitHub.API)
		if err != nil {
			t.Fatal(err)
		}
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: target.Scheme, Host: target.Host})
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			g.pass(r)
			proxy.ServeHTTP(w, r)
		}))
		t.Cleanup(server.Close)
		s.GitHub.API = server.URL + target.Path
	}
}

// pass waits where a call is held back.
func (g *callGate) pass(r *http.Request) {
	call := r.Method + " " + r.URL.Path
	g.mu.Lock()
	held := g.held
	if held != nil && g.open.MatchString(call) {
		g.passed = append(g.passed, call)
		held = nil
	}
	g.mu.Unlock()
	if held == nil {
		return
	}
	select {
	case <-held:
	case <-r.Context().Done():
	}
}

func (g *callGate) hold() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.held, g.passed = make(chan struct{}), nil
}

func (g *callGate) release() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.held != nil {
		close(g.held)
		g.held = nil
	}
}

func (g *callGate) through() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.passed)
}
