package server_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

const gateRoute = "POST /repos/{owner}/{repo}/actions/runs/{run_id}/deployment_protection_rule"

// newGatedYard is a yard whose environment dev waits for the App's word.
func newGatedYard(t *testing.T, change ...func(*settings.Settings)) *yard {
	t.Helper()
	y := newYard(t, change...)
	y.environment(sandbox.Environment{Name: "dev", Gate: true})
	return y
}

// applied merges a change to dev, and gives the run that applied it.
func (y *yard) applied() sandbox.Run {
	y.t.Helper()
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	merged := y.merge(pull)
	y.checkIs(merged, "switchyard / apply (dev)", "success")
	runs := y.repo.Runs()
	return runs[len(runs)-1]
}

// ended waits until a run has ended.
func (y *yard) ended(id int64) sandbox.Run {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.ctx, patience)
	defer cancel()
	run, err := y.repo.AwaitRun(ctx, id, nil)
	if err != nil {
		y.t.Fatalf("run %d: %v\neffects:\n%s", id, err, strings.Join(y.Box.Effects(), "\n"))
	}
	return run
}

// answers counts what the App answered about an environment.
func (y *yard) answers(text string) int {
	count := 0
	for _, effect := range y.Box.Effects() {
		if strings.Contains(effect, "deployment_protection_rule") && strings.Contains(effect, text) {
			count++
		}
	}
	return count
}

// runOf waits for the newest run of a workflow file.
func (y *yard) runOf(path string) sandbox.Run {
	y.t.Helper()
	var found sandbox.Run
	y.eventually("a run of "+path, func() bool {
		for _, run := range y.repo.Runs() {
			if run.Path == path {
				found = run
			}
		}
		return found.ID != 0
	})
	return found
}

// pass stands between GitHub and the server, and keeps the webhooks of one event back.
type pass struct {
	mu   sync.Mutex
	kept []func() int // deliver one late; gives the status of the answer
}

func (y *yard) keepBack(event string) *pass {
	y.t.Helper()
	p := &pass{}
	to := y.Server.URL() + "/api/github/hook"
	stand := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		header := r.Header.Clone()
		forward := func() int {
			request, err := http.NewRequestWithContext(y.ctx, http.MethodPost, to, bytes.NewReader(body))
			if err != nil {
				return http.StatusBadGateway
			}
			request.Header = header
			response, err := (&http.Client{Timeout: patience}).Do(request)
			if err != nil { // the server has ended
				return http.StatusBadGateway
			}
			_ = response.Body.Close()
			return response.StatusCode
		}
		if r.Header.Get("X-Github-Event") == event {
			p.mu.Lock()
			p.kept = append(p.kept, forward)
			p.mu.Unlock()
			return
		}
		w.WriteHeader(forward())
	}))
	y.t.Cleanup(stand.Close)
	y.Box.SetWebhookURL(stand.URL)
	return p
}

func (p *pass) late() []func() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.kept
}

func TestTheGateLetsAnApplyDeployThatSwitchyardStarted(t *testing.T) {
	t.Parallel()
	t.Run("once it waits", func(t *testing.T) {
		t.Parallel()
		y := newGatedYard(t)
		run := y.applied()
		if y.answers("approved") != 1 || y.answers("rejected") != 0 {
			t.Errorf("effects:\n%s", strings.Join(y.Box.Effects(), "\n"))
		}
		if err := y.repo.Rerun(y.ctx, story.Ana, run.ID); err != nil {
			t.Fatal(err)
		}
		again := y.ended(run.ID)
		if again.Attempt != 2 || again.Conclusion != "failure" || y.answers("rejected") != 1 {
			t.Errorf("a run that is run again by hand is let in: %+v", again)
		}
		if ran := y.ran(); len(ran) != 2 {
			t.Errorf("jobs did %q", ran)
		}
	})
	t.Run("although GitHub says first that nothing waits", func(t *testing.T) {
		t.Parallel()
		y := newGatedYard(t)
		y.Box.Next(2, "POST /actions/runs/{run_id}/deployment_protection_rule").NothingToApprove()
		y.applied()
		if calls := y.Box.Calls()[gateRoute]; calls != 3 {
			t.Errorf("%d calls", calls)
		}
	})
	t.Run("although its webhook is lost", func(t *testing.T) {
		t.Parallel()
		y := newGatedYard(t, func(s *settings.Settings) { s.Sweep = time.Second })
		kept := y.keepBack("deployment_protection_rule")
		y.applied()
		if late := kept.late(); len(late) != 1 || y.answers("approved") != 1 {
			t.Fatalf("%d webhooks, %d answers", len(late), y.answers("approved"))
		}
		// It comes after all when the run has ended, and twice.
		for range 2 {
			if status := kept.late()[0](); status != http.StatusOK {
				t.Errorf("the late webhook gives %d", status)
			}
		}
		pull := y.open("feature/b", "develop", map[string]string{"infra/b.tf": "# b\n"})
		y.planned(pull, "dev")          // what came before has been looked at
		if y.answers("approved") != 1 { // a sweep that found it meanwhile may have asked whether there is something to approve
			t.Errorf("%d answers, %d calls", y.answers("approved"), y.Box.Calls()[gateRoute])
		}
	})
	t.Run("after the server was started anew", func(t *testing.T) {
		t.Parallel()
		y := newGatedYard(t)
		kept := y.keepBack("deployment_protection_rule")
		pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
		y.planned(pull, "dev")
		merged := y.merge(pull)
		y.eventually("a job waits", func() bool { return len(kept.late()) == 1 })
		y.stop()
		y.start(quiet, func(s *settings.Settings) {
			s.Executors, s.Terraform.Path = []string{settings.ExecutorActions}, ""
		})
		y.checkIs(merged, "switchyard / apply (dev)", "success")
	})
}

func TestTheGateLetsNothingElseDeploy(t *testing.T) {
	t.Parallel()
	t.Run("a hand-written workflow on a feature branch that names environment: prod", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		y.environment(sandbox.Environment{Name: "prod", Gate: true})
		if _, err := y.repo.Push(y.ctx, story.Ben, "feature/mine", map[string]string{".github/workflows/mine.yml": `
name: mine
on: push
jobs:
  deploy:
    runs-on: ubuntu-latest
    environment: prod
    steps:
      - run: terraform apply -auto-approve
`}, "mine", sandbox.PushOptions{From: "main"}); err != nil {
			t.Fatal(err)
		}
		run := y.ended(y.runOf(".github/workflows/mine.yml").ID)
		if run.Conclusion != "failure" || !strings.Contains(run.Jobs[0].Problem, "rejected") || y.answers("prod: rejected") != 1 {
			t.Errorf("%+v\n%s", run, strings.Join(y.Box.Effects(), "\n"))
		}
	})
	t.Run("a run that GitHub lets nobody reject at first", func(t *testing.T) {
		t.Parallel()
		y := newYard(t, func(s *settings.Settings) { s.Sweep = time.Second })
		y.environment(sandbox.Environment{Name: "prod", Gate: true})
		y.Box.Next(2, "POST /actions/runs/{run_id}/deployment_protection_rule").Refuse()
		if _, err := y.repo.Push(y.ctx, story.Ben, "feature/mine", map[string]string{".github/workflows/mine.yml": `
name: mine
on: push
jobs:
  deploy:
    runs-on: ubuntu-latest
    environment: prod
    steps:
      - run: terraform apply -auto-approve
`}, "mine", sandbox.PushOptions{From: "main"}); err != nil {
			t.Fatal(err)
		}
		run := y.ended(y.runOf(".github/workflows/mine.yml").ID) // a sweep tries again
		if run.Conclusion != "failure" || y.answers("prod: rejected") != 1 || y.Box.Calls()[gateRoute] < 3 {
			t.Errorf("%+v after %d calls\n%s", run, y.Box.Calls()[gateRoute], strings.Join(y.Box.Effects(), "\n"))
		}
	})
	t.Run("an apply whose pull request nobody has approved", func(t *testing.T) {
		t.Parallel()
		y := newGatedYard(t)
		if _, err := y.repo.Push(y.ctx, story.Ana, "main", map[string]string{
			".github/switchyard.yml": strings.ReplaceAll(strings.Replace(inWorkflows, "branch: develop,", "branch: develop, approvals: 1,", 1), "STATES", y.States),
		}, "approvals"); err != nil {
			t.Fatal(err)
		}
		pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
		y.planned(pull, "dev")
		merged := y.merge(pull)
		y.checkIs(merged, "switchyard / apply (dev)", "failure")
		y.said(pull, "The deployment gate did not let it deploy", "is not approved", "/apply dev", "Nothing was changed", "/actions/runs/")
		if y.answers("dev: rejected") != 1 || len(y.ran()) != 1 {
			t.Errorf("jobs did %q; effects:\n%s", y.ran(), strings.Join(y.Box.Effects(), "\n"))
		}
	})
	t.Run("a run that was cancelled while it waited", func(t *testing.T) {
		t.Parallel()
		y := newGatedYard(t)
		kept := y.keepBack("deployment_protection_rule")
		pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
		y.planned(pull, "dev")
		y.merge(pull)
		y.eventually("a job waits", func() bool { return len(kept.late()) == 1 })
		y.comment(story.Ana, pull, "/cancel dev")
		y.said(pull, "The apply to dev was cancelled")
		kept.late()[0]()
		other := y.open("feature/b", "develop", map[string]string{"infra/b.tf": "# b\n"})
		y.planned(other, "dev") // the late webhook was looked at
		if calls := y.Box.Calls()[gateRoute]; calls != 0 {
			t.Errorf("%d calls", calls)
		}
	})
}

func TestARunWithoutTheServerWaitsForTheHold(t *testing.T) {
	t.Parallel()
	y := newGatedYard(t)
	const alone = ".github/workflows/switchyard-alone.yml"
	file := map[string]string{alone: `
name: alone
on: workflow_dispatch
jobs:
  apply:
    runs-on: ubuntu-latest
    environment: dev
    steps:
      - run: echo
`}
	for _, branch := range []string{"main", "develop"} {
		if _, err := y.repo.Push(y.ctx, story.Ana, branch, file, "alone"); err != nil {
			t.Fatal(err)
		}
	}
	began, proceed := make(chan struct{}), make(chan struct{})
	y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		if task.Kind == operation.Apply {
			close(began)
			<-proceed
		}
		y.leave(job, task, resultFor(task))
		return "success"
	})
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	y.merge(pull)
	select {
	case <-began:
	case <-time.After(patience): //nolint:forbidigo // how long a test waits
		t.Fatal("no job began")
	}
	id, err := y.repo.Dispatch(y.ctx, story.Ana, "switchyard-alone.yml", "develop", nil)
	if err != nil {
		t.Fatal(err)
	}
	y.eventually("a report", func() bool { return len(y.repo.GateReports(id, "dev")) == 1 })
	if report := y.repo.GateReports(id, "dev")[0]; !strings.Contains(report, "dev is held by apply") {
		t.Errorf("it reports %q", report)
	}
	close(proceed)
	y.ended(id)
	if y.answers("dev: approved") != 2 {
		t.Errorf("effects:\n%s", strings.Join(y.Box.Effects(), "\n"))
	}
}

func TestStatusSaysWhetherTheGateIsOn(t *testing.T) {
	t.Parallel()
	y := newGatedYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	y.comment(story.Ana, pull, "/status")
	y.said(pull, "**dev is free", "The deployment gate is on", "**prod is free", "GitHub has no environment of that name")
	y.environment(sandbox.Environment{Name: "prod"})
	y.comment(story.Ana, pull, "/status prod")
	y.said(pull, "The deployment gate is off")
}
