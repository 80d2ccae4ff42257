package sandbox_test

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// jobs are jobs without steps: each waits until the test lets it go, unless it is to pass at once.
type jobs struct {
	mu      sync.Mutex
	passing bool
	seen    []*sandbox.Job
	verdict map[int64]chan string
}

func (j *jobs) RunJob(ctx context.Context, job *sandbox.Job, tell sandbox.Tell) sandbox.JobResult {
	tell(sandbox.StepEvent{Step: "Work"})
	tell(sandbox.StepEvent{Step: "Work", Line: "working"})
	j.mu.Lock()
	j.seen = append(j.seen, job)
	end := make(chan string, 1)
	j.verdict[job.ID] = end
	if j.passing {
		end <- "success"
	}
	j.mu.Unlock()
	tell(sandbox.StepEvent{Step: "Work", Line: "waiting"}) // wakes the test
	conclusion := "cancelled"
	select {
	case conclusion = <-end:
	case <-job.Cancelled:
	case <-ctx.Done():
	}
	tell(sandbox.StepEvent{Step: "Work", Conclusion: conclusion})
	return sandbox.JobResult{Conclusion: conclusion}
}

// running is the job of a run, as soon as it runs.
func (w *world) running(j *jobs, run int64) *sandbox.Job {
	w.t.Helper()
	var found *sandbox.Job
	err := w.Await(w.ctx, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		for _, job := range j.seen {
			if job.RunID == run {
				found = job
			}
		}
		return found != nil
	})
	if err != nil {
		run, _ := w.repo.Run(run)
		w.t.Fatalf("no job of the run runs: %v: %+v", err, run)
	}
	return found
}

// end ends the job of a run.
func (w *world) end(j *jobs, run int64, conclusion string) {
	w.t.Helper()
	job := w.running(j, run)
	j.mu.Lock()
	end := j.verdict[job.ID]
	j.mu.Unlock()
	end <- conclusion
}

// withJobs is a world with Actions whose jobs are only waited for, and with one workflow.
func withJobs(t *testing.T, passing bool, workflow string) (*world, *jobs) {
	t.Helper()
	j := &jobs{passing: passing, verdict: map[int64]chan string{}}
	w := newWorld(t, func(o *sandbox.Options) {
		o.Actions = &sandbox.ActionsOptions{Runner: j, Machines: 8}
		o.Permissions = sandbox.DefaultPermissions()
		o.Permissions["administration"] = "write"
		o.Events = append(sandbox.DefaultEvents(), "deployment", "deployment_status")
	})
	w.commit("main", map[string]string{".github/workflows/deploy.yml": workflow})
	w.must(w.Await(w.ctx, w.Started))
	return w, j
}

const deployable = `
name: Deploy
run-name: Deploy ${{ inputs.operation }}
on:
  workflow_dispatch:
    inputs:
      operation: { required: true }
      environment: { type: choice, options: [dev, prod], default: dev }
      dry: { type: boolean }
permissions: { contents: read, id-token: write }
jobs:
  deploy:
    runs-on: ubuntu-latest
    environment: ${{ inputs.environment }}
    steps: [{ run: deploy }]
`

const dispatches = "/repos/acme/network/actions/workflows/deploy.yml/dispatches"

// dispatch starts the workflow as the App and returns the run.
func (w *world) dispatch(inputs map[string]any) int64 {
	w.t.Helper()
	a := w.want(http.StatusOK, http.MethodPost, dispatches, map[string]any{"ref": "main", "inputs": inputs, "return_run_details": true})
	return int64(a.object()["workflow_run_id"].(float64))
}

func (w *world) run(id int64, done func(sandbox.Run) bool) sandbox.Run {
	w.t.Helper()
	run, err := w.repo.AwaitRun(w.ctx, id, done)
	w.must(err)
	return run
}

func status(want string) func(sandbox.Run) bool {
	return func(run sandbox.Run) bool { return run.Status == want }
}

func TestDispatchStartsTheWorkflowOfItsRef(t *testing.T) {
	t.Parallel()
	w, _ := withJobs(t, true, deployable)
	id := w.dispatch(map[string]any{"operation": "17.1"})
	run := w.run(id, nil)
	if run.Conclusion != "success" || run.Title != "Deploy 17.1" || run.Actor != "switchyard[bot]" || run.Event != "workflow_dispatch" ||
		run.Ref != "refs/heads/main" || run.SHA != w.repo.Branches()["main"] {
		t.Errorf("%+v", run)
	}
	if diff := cmp.Diff(map[string]any{"operation": "17.1", "environment": "dev", "dry": false}, run.Inputs); diff != "" {
		t.Error(diff)
	}
	a := w.want(http.StatusNoContent, http.MethodPost, dispatches, map[string]any{"ref": "main", "inputs": map[string]any{"operation": "18"}})
	if len(a.raw) != 0 {
		t.Errorf("want no body, got %s", a.raw)
	}
	w.SetRunDetails(false)
	w.want(http.StatusUnprocessableEntity, http.MethodPost, dispatches,
		map[string]any{"ref": "main", "inputs": map[string]any{"operation": "19"}, "return_run_details": true})
	w.want(http.StatusNoContent, http.MethodPost, dispatches, map[string]any{"ref": "main", "inputs": map[string]any{"operation": "19"}})
	if got := len(w.repo.Runs()); got != 3 {
		t.Errorf("want 3 runs, got %d", got)
	}
	got := w.get("/repos/acme/network/actions/runs?event=workflow_dispatch&branch=main&per_page=2&created=" +
		url.QueryEscape(">=2026-01-01")).object()
	first := got["workflow_runs"].([]any)[0].(map[string]any)
	if got["total_count"] != 3.0 || first["display_title"] != "Deploy 19" {
		t.Errorf("%v %v", got["total_count"], first["display_title"])
	}
}

func TestDispatchesThatGitHubRefuses(t *testing.T) {
	t.Parallel()
	many := map[string]any{}
	for i := range 26 {
		many["i"+strconv.Itoa(i)] = "x"
	}
	fine := map[string]any{"operation": "1"}
	tests := map[string]struct {
		before func(*world)
		path   string
		body   map[string]any
		status int
		words  string
	}{
		"a workflow that is not on the default branch": {
			func(w *world) { w.commit("develop", map[string]string{".github/workflows/other.yml": deployable}) },
			"/repos/acme/network/actions/workflows/other.yml/dispatches",
			map[string]any{"ref": "develop", "inputs": fine},
			404, "Not Found",
		},
		"a ref that does not exist": {nil, dispatches, map[string]any{"ref": "nowhere", "inputs": fine}, 422, "No ref found for: nowhere"},
		"a commit instead of a ref": {nil, dispatches, map[string]any{"ref": strings.Repeat("a", 40), "inputs": fine}, 422, "No ref found for"},
		"a ref without the trigger": {
			func(w *world) {
				w.commit("develop", map[string]string{".github/workflows/deploy.yml": "on: push\njobs: { a: { runs-on: x, steps: [{ run: x }] } }"})
			},
			dispatches,
			map[string]any{"ref": "develop", "inputs": fine},
			422, "Workflow does not have 'workflow_dispatch' trigger",
		},
		"an input that the workflow does not have": {
			nil, dispatches, map[string]any{"ref": "main", "inputs": map[string]any{"operation": "1", "evil": "x"}}, 422, `Unexpected inputs provided: ["evil"]`,
		},
		"a required input that is missing": {nil, dispatches, map[string]any{"ref": "main"}, 422, "Required input 'operation' not provided"},
		"a choice that there is not": {
			nil, dispatches, map[string]any{"ref": "main", "inputs": map[string]any{"operation": "1", "environment": "qa"}}, 422, "not in the list of allowed values",
		},
		"switched off Actions": {func(w *world) { w.repo.SetActions(false) }, dispatches, map[string]any{"ref": "main", "inputs": fine}, 403, "disabled"},
		"an actor that a policy does not allow": {
			func(w *world) { w.repo.AllowActors("ana") }, dispatches, map[string]any{"ref": "main", "inputs": fine}, 403, "switchyard[bot] is not allowed",
		},
		"a disabled workflow": {
			func(w *world) {
				w.want(http.StatusNoContent, http.MethodPut, "/repos/acme/network/actions/workflows/deploy.yml/disable", nil)
			}, dispatches, map[string]any{"ref": "main", "inputs": fine}, 422, "disabled workflow",
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, _ := withJobs(t, true, deployable)
			if test.before != nil {
				test.before(w)
			}
			a := w.want(test.status, http.MethodPost, test.path, test.body)
			if message, _ := a.object()["message"].(string); !strings.Contains(message, test.words) {
				t.Errorf("want %q, got %q", test.words, message)
			}
			for _, run := range w.repo.Runs() {
				if run.Event == "workflow_dispatch" {
					t.Errorf("a run was started: %+v", run)
				}
			}
		})
	}
}

func TestConcurrencyGroups(t *testing.T) {
	t.Parallel()
	const group = "\nconcurrency: { group: \"apply-${{ inputs.environment }}\", queue: %s, cancel-in-progress: %s }"
	start := func(t *testing.T, queue, cancel string) (*world, *jobs, []int64) {
		t.Helper()
		w, j := withJobs(t, false, deployable+fmt.Sprintf(group, queue, cancel))
		var ids []int64
		for i := range 4 {
			ids = append(ids, w.dispatch(map[string]any{"operation": strconv.Itoa(i)}))
			if i == 0 {
				w.running(j, ids[0])
				continue
			}
			// The order in a group is that of joining it, which is not that of starting.
			w.run(ids[i], func(run sandbox.Run) bool { return run.Status != "queued" })
		}
		return w, j, ids
	}
	t.Run("queue max runs them in the order in which they came", func(t *testing.T) {
		t.Parallel()
		w, j, ids := start(t, "max", "false")
		shown := w.get("/repos/acme/network/actions/concurrency_groups/apply-dev").object()
		var order []any
		for _, m := range shown["group_members"].([]any) {
			order = append(order, m.(map[string]any)["run_id"], m.(map[string]any)["status"])
		}
		want := []any{
			float64(ids[0]), "in_progress", float64(ids[1]), "pending", float64(ids[2]), "pending", float64(ids[3]), "pending",
		}
		if diff := cmp.Diff(want, order); diff != "" {
			t.Error(diff)
		}
		for i, id := range ids {
			w.running(j, id)
			for _, later := range ids[i+1:] {
				if run, _ := w.repo.Run(later); run.Status != "pending" {
					t.Errorf("%d is %s while %d runs", later, run.Status, id)
				}
			}
			w.end(j, id, "success")
			w.run(id, nil)
		}
		w.want(http.StatusNotFound, http.MethodGet, "/repos/acme/network/actions/concurrency_groups/apply-dev", nil)
	})
	t.Run("queue single keeps only the newest of those that wait", func(t *testing.T) {
		t.Parallel()
		w, j, ids := start(t, "single", "false")
		for _, id := range ids[1:3] {
			if run := w.run(id, nil); run.Conclusion != "cancelled" || len(run.Jobs) != 0 {
				t.Errorf("want a cancelled run without jobs, got %+v", run)
			}
		}
		w.end(j, ids[0], "success")
		w.end(j, ids[3], "success")
		if run := w.run(ids[3], nil); run.Conclusion != "success" {
			t.Errorf("%+v", run)
		}
	})
	t.Run("cancel-in-progress cancels the one that goes", func(t *testing.T) {
		t.Parallel()
		w, j := withJobs(t, false, deployable+fmt.Sprintf(group, "single", "true"))
		first := w.dispatch(map[string]any{"operation": "1"})
		w.running(j, first)
		second := w.dispatch(map[string]any{"operation": "2"})
		if run := w.run(first, nil); run.Conclusion != "cancelled" {
			t.Errorf("%+v", run)
		}
		groups := w.get(fmt.Sprintf("/repos/acme/network/actions/runs/%d/concurrency_groups", second)).object()
		if groups["total_count"] != 1.0 {
			t.Errorf("%v", groups)
		}
		w.end(j, second, "success")
		w.run(second, nil)
	})
}

// gated has an environment that the App guards.
func gated(t *testing.T) (*world, *jobs, int64) {
	t.Helper()
	w, j := withJobs(t, true, deployable)
	w.must(w.repo.SetEnvironment(sandbox.Environment{Name: "prod", Branches: []string{"main"}, Gate: true}))
	id := w.dispatch(map[string]any{"operation": "1", "environment": "prod"})
	w.run(id, status("waiting"))
	return w, j, id
}

func gatePath(id int64) string {
	return fmt.Sprintf("/repos/acme/network/actions/runs/%d/deployment_protection_rule", id)
}

func TestGateWaitsForTheApp(t *testing.T) {
	t.Parallel()
	t.Run("approved, after reports and the race", func(t *testing.T) {
		t.Parallel()
		w, _, id := gated(t)
		hook := w.hooked("deployment_protection_rule", 1)[0].payload
		address, _ := hook["deployment_callback_url"].(string)
		if hook["environment"] != "prod" || address != w.APIURL()+gatePath(id) {
			t.Errorf("%v %v", hook["environment"], address)
		}
		waiting := w.get(fmt.Sprintf("/repos/acme/network/actions/runs/%d/pending_deployments", id)).list()
		if len(waiting) != 1 || waiting[0]["current_user_can_approve"] != false {
			t.Errorf("%v", waiting)
		}
		w.Next(1, "POST /actions/runs/{run_id}/deployment_protection_rule").NothingToApprove()
		yes := map[string]any{"environment_name": "prod", "state": "approved", "comment": "covered"}
		w.want(http.StatusUnprocessableEntity, http.MethodPost, gatePath(id), yes)
		for i := range 10 {
			w.want(http.StatusNoContent, http.MethodPost, gatePath(id), map[string]any{"environment_name": "prod", "comment": strconv.Itoa(i)})
		}
		w.want(http.StatusUnprocessableEntity, http.MethodPost, gatePath(id), map[string]any{"environment_name": "prod", "comment": "the eleventh"})
		w.want(http.StatusUnprocessableEntity, http.MethodPost, gatePath(id), map[string]any{
			"environment_name": "prod", "state": "approved", "comment": strings.Repeat("é", 1025),
		})
		w.want(http.StatusUnprocessableEntity, http.MethodPost, gatePath(id), map[string]any{"environment_name": "dev", "state": "approved"})
		w.want(http.StatusNoContent, http.MethodPost, gatePath(id), yes)
		if run := w.run(id, nil); run.Conclusion != "success" || run.Jobs[0].Environment != "prod" {
			t.Errorf("%+v", run)
		}
		w.want(http.StatusUnprocessableEntity, http.MethodPost, gatePath(id), yes)
		if got := len(w.repo.GateReports(id, "prod")); got != 10 {
			t.Errorf("want 10 reports, got %d", got)
		}
		states := w.repo.Deployments("prod")[0].States
		if len(states) != 2 || states[0].State != "in_progress" || states[1].State != "success" {
			t.Errorf("%+v", states)
		}
		want := []string{
			"workflow_run requested", "deployment created", "workflow_job queued", "workflow_job waiting", "deployment_protection_rule requested",
			"workflow_run in_progress", "workflow_job in_progress", "workflow_job completed", "workflow_run completed", "deployment_status created",
		}
		events := w.events()
		for _, event := range want {
			if !slices.Contains(events, event) {
				t.Errorf("want %s in %v", event, events)
			}
		}
	})
	t.Run("rejected", func(t *testing.T) {
		t.Parallel()
		w, j, id := gated(t)
		w.want(http.StatusNoContent, http.MethodPost, gatePath(id), map[string]any{"environment_name": "prod", "state": "rejected", "comment": "no hold"})
		run := w.run(id, nil)
		if run.Conclusion != "failure" || !strings.Contains(run.Jobs[0].Problem, "rejected") || len(j.seen) != 0 {
			t.Errorf("%+v", run)
		}
	})
	t.Run("cancelled while it waits", func(t *testing.T) {
		t.Parallel()
		w, j, id := gated(t)
		w.want(http.StatusAccepted, http.MethodPost, fmt.Sprintf("/repos/acme/network/actions/runs/%d/cancel", id), nil)
		if run := w.run(id, nil); run.Conclusion != "cancelled" || len(j.seen) != 0 {
			t.Errorf("%+v", run)
		}
		w.want(http.StatusConflict, http.MethodPost, fmt.Sprintf("/repos/acme/network/actions/runs/%d/force-cancel", id), nil)
	})
	t.Run("an admin starts it anyway", func(t *testing.T) {
		t.Parallel()
		w, _, id := gated(t)
		if err := w.repo.BypassGates(w.ctx, "ana", id); err == nil {
			t.Error("ana maintains the repository: only admins may")
		}
		w.repo.SetRole("ana", sandbox.Admin)
		w.must(w.repo.BypassGates(w.ctx, "ana", id))
		if run := w.run(id, nil); run.Conclusion != "success" {
			t.Errorf("%+v", run)
		}
	})
	t.Run("the token of a job cannot answer", func(t *testing.T) {
		t.Parallel()
		w, j := withJobs(t, false, strings.Replace(deployable, "contents: read", "deployments: write", 1))
		w.must(w.repo.SetEnvironment(sandbox.Environment{Name: "prod", Gate: true}))
		guarded := w.dispatch(map[string]any{"operation": "1", "environment": "prod"})
		w.run(guarded, status("waiting"))
		thief := w.running(j, w.dispatch(map[string]any{"operation": "2"}))
		a := w.call(thief.Token, http.MethodPost, gatePath(guarded), map[string]any{"environment_name": "prod", "state": "approved"})
		if run, _ := w.repo.Run(guarded); a.status != http.StatusForbidden || run.Status != "waiting" {
			t.Errorf("%d %s", a.status, run.Status)
		}
	})
}

func TestEnvironmentsDecideWhoDeploys(t *testing.T) {
	t.Parallel()
	deploy := func(w *world, ref string) sandbox.Run {
		w.t.Helper()
		id, err := w.repo.Dispatch(w.ctx, "ben", "deploy.yml", ref, map[string]any{"operation": "1", "environment": "prod"})
		w.must(err)
		return w.run(id, func(run sandbox.Run) bool { return run.Status == "completed" || run.Status == "waiting" })
	}
	t.Run("a branch that the policy does not name is refused", func(t *testing.T) {
		t.Parallel()
		w, _ := withJobs(t, true, deployable)
		w.must(w.repo.SetEnvironment(sandbox.Environment{Name: "prod", Branches: []string{"release/*"}}))
		w.commit("feature/x", map[string]string{"a": "b"})
		if run := deploy(w, "feature/x"); run.Conclusion != "failure" ||
			run.Jobs[0].Problem != `Branch "feature/x" is not allowed to deploy to prod due to environment protection rules.` {
			t.Errorf("%+v", run)
		}
		if got := w.repo.Deployments("prod"); len(got) != 0 {
			t.Errorf("%+v", got)
		}
	})
	t.Run("a missing one is made without protection", func(t *testing.T) {
		t.Parallel()
		w, _ := withJobs(t, true, deployable)
		w.want(http.StatusNotFound, http.MethodGet, "/repos/acme/network/environments/prod", nil)
		if run := deploy(w, "main"); run.Conclusion != "success" {
			t.Errorf("%+v", run)
		}
		shown := w.want(http.StatusOK, http.MethodGet, "/repos/acme/network/environments/prod", nil).object()
		if rules, _ := shown["protection_rules"].([]any); len(rules) != 0 {
			t.Errorf("%v", shown)
		}
	})
	t.Run("a reviewer approves, who is not who started it", func(t *testing.T) {
		t.Parallel()
		w, _ := withJobs(t, true, deployable)
		w.must(w.repo.SetEnvironment(sandbox.Environment{Name: "prod", Reviewers: []string{"acme/sre", "ben"}, PreventSelfReview: true}))
		run := deploy(w, "main")
		for _, as := range []string{"ben", "eve"} {
			if err := w.repo.ReviewDeployment(w.ctx, as, run.ID, "prod", true); err == nil {
				t.Errorf("%s may not", as)
			}
		}
		w.must(w.repo.ReviewDeployment(w.ctx, "ana", run.ID, "prod", true))
		if run = w.run(run.ID, nil); run.Conclusion != "success" {
			t.Errorf("%+v", run)
		}
		reviews := w.get(fmt.Sprintf("/repos/acme/network/actions/runs/%d/approvals", run.ID)).list()
		if len(reviews) != 1 || !strings.Contains(fmt.Sprint(reviews[0]), "state:approved") || !strings.Contains(fmt.Sprint(reviews[0]), "login:ana") {
			t.Errorf("the reviews are %v", reviews)
		}
	})
	t.Run("set up by the API, with everything", func(t *testing.T) {
		t.Parallel()
		w, _ := withJobs(t, true, deployable)
		const path = "/repos/acme/network/environments/prod"
		w.want(http.StatusUnprocessableEntity, http.MethodPut, path, map[string]any{
			"deployment_branch_policy": map[string]any{"protected_branches": true, "custom_branch_policies": true},
		})
		w.want(http.StatusOK, http.MethodPut, path, map[string]any{
			"wait_timer": 30, "deployment_branch_policy": map[string]any{"protected_branches": false, "custom_branch_policies": true},
		})
		w.want(http.StatusOK, http.MethodPost, path+"/deployment-branch-policies", map[string]any{"name": "main"})
		w.want(http.StatusSeeOther, http.MethodPost, path+"/deployment-branch-policies", map[string]any{"name": "main"})
		w.want(http.StatusOK, http.MethodGet, path+"/deployment-branch-policies", nil)
		w.want(http.StatusOK, http.MethodGet, path+"/deployment_protection_rules/apps", nil)
		w.want(http.StatusCreated, http.MethodPost, path+"/deployment_protection_rules", map[string]any{"integration_id": w.AppID()})
		w.want(http.StatusOK, http.MethodGet, path+"/deployment_protection_rules", nil)
		w.want(http.StatusOK, http.MethodGet, "/repos/acme/network/environments", nil)
		run := deploy(w, "main")
		w.want(http.StatusNoContent, http.MethodPost, gatePath(run.ID), map[string]any{"environment_name": "prod", "state": "approved"})
		if run, _ = w.repo.Run(run.ID); run.Status != "waiting" {
			t.Errorf("want it to wait for the timer: %+v", run)
		}
		w.clock.advance(31 * time.Minute)
		if run = w.run(run.ID, nil); run.Conclusion != "success" {
			t.Errorf("%+v", run)
		}
	})
}

func TestTokenOfAJob(t *testing.T) {
	t.Parallel()
	w, j := withJobs(t, false, strings.Replace(deployable, "contents: read", "contents: read, checks: write, issues: write, actions: write", 1)+`
  listen:
    if: false
    runs-on: ubuntu-latest
    steps: [{ run: x }]
`)
	w.commit("main", map[string]string{".github/workflows/comments.yml": "on: issue_comment\njobs: { a: { runs-on: x, steps: [{ run: x }] } }"})
	number := w.open("feature/a", "main", "a.tf", "# a\n")
	run := w.dispatch(map[string]any{"operation": "1"})
	token := w.running(j, run).Token
	as := func(status int, method, path string, body any) answer {
		t.Helper()
		a := w.call(token, method, path, body)
		if a.status != status {
			t.Errorf("%s %s: want %d, got %d: %s", method, path, status, a.status, a.raw)
		}
		return a
	}
	made := as(http.StatusCreated, http.MethodPost, fmt.Sprintf("/repos/acme/network/issues/%d/comments", number), map[string]any{"body": "hello"}).object()
	if made["user"].(map[string]any)["login"] != "github-actions[bot]" || made["performed_via_github_app"].(map[string]any)["slug"] != "github-actions" {
		t.Errorf("%v", made["user"])
	}
	sha := w.repo.Branches()["main"]
	check := map[string]any{"name": "switchyard / plan (dev)", "head_sha": sha}
	mine := as(http.StatusCreated, http.MethodPost, "/repos/acme/network/check-runs", check).object()
	if mine["app"].(map[string]any)["slug"] != "github-actions" {
		t.Errorf("%v", mine["app"])
	}
	apps := w.want(http.StatusCreated, http.MethodPost, "/repos/acme/network/check-runs", check).object()
	as(http.StatusForbidden, http.MethodPatch, fmt.Sprintf("/repos/acme/network/check-runs/%.0f", apps["id"]), map[string]any{"status": "in_progress"})
	as(http.StatusForbidden, http.MethodGet, "/orgs/acme/teams/sre/memberships/ana", nil)
	as(http.StatusForbidden, http.MethodPost, "/repos/acme/network/deployments", map[string]any{"ref": "main"})
	second := as(http.StatusOK, http.MethodPost, dispatches, map[string]any{
		"ref": "main", "inputs": map[string]any{"operation": "2"}, "return_run_details": true,
	}).object()
	if out, err := w.git(t.TempDir(), "clone", "-q", strings.TrimSuffix(w.remote(w.repo, token), ".git")); err != nil {
		t.Error(out)
	}
	w.must(w.Await(w.ctx, w.Started))
	for _, r := range w.repo.Runs() {
		if r.Event == "issue_comment" {
			t.Errorf("what a job's token writes starts nothing: %+v", r)
		}
	}
	w.end(j, int64(second["workflow_run_id"].(float64)), "success")
	w.end(j, run, "success")
	w.run(run, nil)
	as(http.StatusUnauthorized, http.MethodGet, "/repos/acme/network", nil)
}

// identity asks for the job's OIDC token and verifies it with what the issuer publishes.
func (w *world) identity(job *sandbox.Job, audience string) jwt.MapClaims {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.ctx, http.MethodGet,
		job.Environment["ACTIONS_ID_TOKEN_REQUEST_URL"]+"&audience="+url.QueryEscape(audience), http.NoBody)
	w.must(err)
	request.Header.Set("Authorization", "bearer "+job.Environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
	var token struct {
		Value string `json:"value"`
	}
	w.fetch(request, &token)
	var discovery struct {
		Issuer string `json:"issuer"`
		Keys   string `json:"jwks_uri"`
	}
	w.fetch(w.getRequest(w.IssuerURL()+"/.well-known/openid-configuration"), &discovery)
	var keys struct {
		Keys []struct{ Kid, N, E, Alg string }
	}
	w.fetch(w.getRequest(discovery.Keys), &keys)
	claims := jwt.MapClaims{}
	parser := jwt.NewParser(jwt.WithValidMethods([]string{"RS256"}))
	_, err = parser.ParseWithClaims(token.Value, claims, func(t *jwt.Token) (any, error) {
		if t.Header["kid"] != keys.Keys[0].Kid {
			return nil, fmt.Errorf("kid %v", t.Header["kid"])
		}
		n, _ := base64.RawURLEncoding.DecodeString(keys.Keys[0].N)
		e, _ := base64.RawURLEncoding.DecodeString(keys.Keys[0].E)
		return &rsa.PublicKey{N: new(big.Int).SetBytes(n), E: int(new(big.Int).SetBytes(e).Int64())}, nil
	})
	w.must(err)
	if claims["iss"] != discovery.Issuer {
		w.t.Errorf("issuer %v, discovery %v", claims["iss"], discovery.Issuer)
	}
	return claims
}

func (w *world) getRequest(address string) *http.Request {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.ctx, http.MethodGet, address, http.NoBody)
	w.must(err)
	return request
}

func (w *world) fetch(request *http.Request, into any) {
	w.t.Helper()
	response, err := http.DefaultClient.Do(request)
	w.must(err)
	defer response.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(response.Body)
	w.must(err)
	if response.StatusCode != http.StatusOK {
		w.t.Fatalf("%s: %d: %s", request.URL.Path, response.StatusCode, raw)
	}
	w.must(json.Unmarshal(raw, into))
}

func TestIdentitiesAreVerifiedWithPublishedKeys(t *testing.T) {
	t.Parallel()
	w, j := withJobs(t, false, deployable)
	id := w.dispatch(map[string]any{"operation": "1", "environment": "prod"})
	job := w.running(j, id)
	w.repo.SetImmutableSubject(true)
	claims := w.identity(job, "api://AzureADTokenExchange")
	ownerID, _ := claims["repository_owner_id"].(string)
	immutable := fmt.Sprintf("repo:acme@%s/network@%d:environment:prod", ownerID, w.repo.ID())
	want := map[string]any{
		"sub": immutable, "aud": "api://AzureADTokenExchange", "repository": "acme/network", "repository_id": strconv.FormatInt(w.repo.ID(), 10),
		"ref": "refs/heads/main", "sha": w.repo.Branches()["main"], "event_name": "workflow_dispatch", "environment": "prod",
		"job_workflow_ref": "acme/network/.github/workflows/deploy.yml@refs/heads/main", "run_id": strconv.FormatInt(id, 10), "run_attempt": "1",
		"workflow_ref": "acme/network/.github/workflows/deploy.yml@refs/heads/main", "actor": "switchyard[bot]", "runner_environment": "github-hosted",
	}
	got := map[string]any{}
	for name := range want {
		got[name] = claims[name]
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	w.repo.SetImmutableSubject(false)
	if sub := w.identity(job, "")["sub"]; sub != "repo:acme/network:environment:prod" {
		t.Errorf("sub %v", sub)
	}
	request := w.getRequest(strings.Replace(job.Environment["ACTIONS_ID_TOKEN_REQUEST_URL"], strconv.FormatInt(job.ID, 10), "1", 1))
	request.Header.Set("Authorization", "bearer "+job.Environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
	if a := w.raw(request); a.status != http.StatusForbidden {
		t.Errorf("the identity of another job: %d", a.status)
	}
	request = w.getRequest(job.Environment["ACTIONS_ID_TOKEN_REQUEST_URL"])
	request.Header.Set("Authorization", "bearer "+job.Token)
	if a := w.raw(request); a.status != http.StatusForbidden {
		t.Errorf("with GITHUB_TOKEN: %d", a.status)
	}
	w.end(j, id, "success")
}

// raw sends a request that is none of the API.
func (w *world) raw(request *http.Request) answer {
	w.t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := client.Do(request)
	w.must(err)
	defer response.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(response.Body)
	w.must(err)
	return answer{response.StatusCode, response.Header, raw}
}

// results calls the service of artifacts as a job.
func (w *world) results(job *sandbox.Job, method string, body map[string]any) answer {
	w.t.Helper()
	scope := strings.Split(job.Runtime["ACTIONS_RUNTIME_TOKEN"], ".")[1]
	raw, err := base64.RawURLEncoding.DecodeString(scope)
	w.must(err)
	var claims struct{ Scp string }
	w.must(json.Unmarshal(raw, &claims))
	_, ids1, _ := strings.Cut(claims.Scp, "Actions.Results:")
	ids := strings.Split(":"+ids1, ":")
	if body["workflow_run_backend_id"] == nil {
		body["workflow_run_backend_id"] = ids[1]
	}
	body["workflow_job_run_backend_id"] = ids[2]
	sent, err := json.Marshal(body)
	w.must(err)
	request, err := http.NewRequestWithContext(w.ctx, http.MethodPost,
		job.Runtime["ACTIONS_RESULTS_URL"]+"twirp/github.actions.results.api.v1.ArtifactService/"+method, bytes.NewReader(sent))
	w.must(err)
	request.Header.Set("Authorization", "Bearer "+job.Runtime["ACTIONS_RUNTIME_TOKEN"])
	return w.raw(request)
}

func (w *world) put(address string, body []byte, blob string) int {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.ctx, http.MethodPut, address, bytes.NewReader(body))
	w.must(err)
	if blob != "" {
		request.Header.Set("X-Ms-Blob-Type", blob)
	}
	return w.raw(request).status
}

func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for name, content := range files {
		f, err := z.Create(name)
		if err == nil {
			_, err = f.Write([]byte(content))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestArtifactsOfARun(t *testing.T) {
	t.Parallel()
	w, j := withJobs(t, false, deployable)
	id := w.dispatch(map[string]any{"operation": "1"})
	job := w.running(j, id)
	content := archive(t, map[string]string{"result.json": `{"version":1}`})

	created := w.results(job, "CreateArtifact", map[string]any{"name": "result", "version": 4})
	address, _ := created.object()["signed_upload_url"].(string)
	first, second := base64.StdEncoding.EncodeToString([]byte("a")), base64.StdEncoding.EncodeToString([]byte("b"))
	list := "<BlockList><Latest>" + first + "</Latest><Latest>" + second + "</Latest></BlockList>"
	statuses := []int{
		w.put(address+"&comp=block&blockid="+url.QueryEscape(second), content[10:], ""),
		w.put(address+"&comp=blocklist", []byte(list), ""), // a block is missing
		w.put(address+"&comp=block&blockid="+url.QueryEscape(first), content[:10], ""),
		w.put(address+"&comp=blocklist", []byte(list), ""),
		w.put(address+"1", content, "BlockBlob"), // not the address that was signed
		w.results(job, "FinalizeArtifact", map[string]any{"name": "result", "size": "1"}).status,
		w.results(job, "FinalizeArtifact", map[string]any{"name": "result", "size": strconv.Itoa(len(content))}).status,
		w.results(job, "CreateArtifact", map[string]any{"name": "result", "version": 4}).status,
		w.results(job, "CreateArtifact", map[string]any{"name": "../result", "version": 4}).status,
		w.results(job, "CreateArtifact", map[string]any{"name": "other", "workflow_run_backend_id": "run-1-1"}).status,
		w.put(address, content, "BlockBlob"), // after the end
	}
	if diff := cmp.Diff([]int{201, 400, 201, 201, 403, 400, 200, 409, 400, 403, 403}, statuses); diff != "" {
		t.Error(diff)
	}
	listed := w.results(job, "ListArtifacts", map[string]any{"name_filter": "result"}).object()
	if found, _ := listed["artifacts"].([]any); len(found) != 1 {
		t.Errorf("%v", listed)
	}
	w.must(w.repo.AddArtifact(id, "result", content)) // two of one name, as no client can make them
	w.end(j, id, "success")
	w.run(id, nil)

	shown := w.want(http.StatusOK, http.MethodGet, fmt.Sprintf("/repos/acme/network/actions/runs/%d/artifacts?name=result", id), nil).object()
	if shown["total_count"] != 2.0 {
		t.Errorf("%v", shown)
	}
	mine := shown["artifacts"].([]any)[1].(map[string]any)
	path := fmt.Sprintf("/repos/acme/network/actions/artifacts/%.0f", mine["id"])
	w.want(http.StatusOK, http.MethodGet, path, nil)
	request := w.getRequest(w.APIURL() + path + "/zip")
	request.Header.Set("Authorization", "Bearer "+w.token)
	redirect := w.raw(request)
	got := w.raw(w.getRequest(redirect.header.Get("Location")))
	if redirect.status != http.StatusFound || !bytes.Equal(got.raw, content) {
		t.Errorf("%d, then %d bytes", redirect.status, len(got.raw))
	}
	w.clock.advance(61 * time.Second)
	if a := w.raw(w.getRequest(redirect.header.Get("Location"))); a.status != http.StatusForbidden {
		t.Errorf("after a minute: %d", a.status)
	}
	if a := w.results(job, "ListArtifacts", map[string]any{}); a.status != http.StatusUnauthorized {
		t.Errorf("after the job: %d", a.status)
	}
}

func TestEventsStartWorkflowsOfTheRightCommit(t *testing.T) {
	t.Parallel()
	const all = `
name: All
on:
  push: { branches: [main, "release/**"], paths: ["src/**"] }
  pull_request:
  issue_comment: { types: [created] }
  merge_group:
  schedule: [{ cron: "0 6 * * 1" }]
permissions: { contents: write, id-token: write }
jobs: { a: { runs-on: ubuntu-latest, steps: [{ run: x }] } }
`
	w, j := withJobs(t, true, all)
	w.repo.SetSecret("KEY", "value")
	runs := func() (names []string) {
		w.must(w.Await(w.ctx, func() bool {
			names = nil
			for _, run := range w.repo.Runs() {
				names = append(names, fmt.Sprintf("%s %s %s %s", run.Event, run.Ref, run.SHA[:7], run.Actor))
				if run.Status != "completed" {
					return false
				}
			}
			return w.Started()
		}))
		return names
	}
	main := w.commit("main", map[string]string{"src/a.tf": "# a\n"})
	w.commit("main", map[string]string{"README.md": "no path that matters\n"})
	number := w.open("feature/a", "main", "b.tf", "# b\n")
	merge := w.mustGit(t.TempDir(), "ls-remote", w.remote(w.repo, w.token), fmt.Sprintf("refs/pull/%d/merge", number))[:7]
	_, err := w.repo.Comment(w.ctx, "ben", number, "/plan")
	w.must(err)
	group, err := w.repo.QueueMergeGroup(w.ctx, "main", number)
	w.must(err)
	w.repo.Schedule(w.ctx, "0 6 * * 1")
	w.repo.Schedule(w.ctx, "0 7 * * 1")
	fork, err := w.repo.Fork(w.ctx, "eve")
	w.must(err)
	_, err = fork.Push(w.ctx, "eve", "evil", map[string]string{"src/c.tf": "# c\n"}, "Evil")
	w.must(err)
	_, err = w.repo.OpenPull(w.ctx, "eve", sandbox.Pull{From: "eve:evil", To: "main"})
	w.must(err)
	forked := w.mustGit(t.TempDir(), "ls-remote", w.remote(w.repo, w.token), fmt.Sprintf("refs/pull/%d/merge", number+1))[:7]
	tip := w.repo.Branches()["main"][:7]
	want := []string{
		"push refs/heads/main " + main[:7] + " ana", fmt.Sprintf("pull_request refs/pull/%d/merge %s ana", number, merge),
		"issue_comment refs/heads/main " + tip + " ben", "merge_group " + group.Ref + " " + group.SHA[:7] + " switchyard[bot]",
		"schedule refs/heads/main " + tip + " acme", fmt.Sprintf("pull_request refs/pull/%d/merge %s eve", number+1, forked),
	}
	if diff := cmp.Diff(want, runs()); diff != "" {
		t.Error(diff)
	}
	last := j.seen[len(j.seen)-1]
	run, _ := w.repo.Run(last.RunID)
	if diff := cmp.Diff(map[string]string{"contents": "read", "metadata": "read"}, run.Jobs[0].Permissions); diff != "" || len(last.Secrets) != 0 ||
		last.Environment["ACTIONS_ID_TOKEN_REQUEST_URL"] != "" {
		t.Errorf("a fork gets no secrets and no identity, and may only read: %s %v", diff, last.Secrets)
	}
}

func TestBrokenWorkflowIsAFailedRun(t *testing.T) {
	t.Parallel()
	w, _ := withJobs(t, true, deployable)
	w.commit("main", map[string]string{".github/workflows/broken.yml": "on: push\njobs: { a: { needs: b, runs-on: x } }"})
	run := w.only("push")
	if run.Conclusion != "failure" || !strings.Contains(run.Problem, "needs jobs that are not there") || run.Name != ".github/workflows/broken.yml" {
		t.Errorf("%+v", run)
	}
}

func TestRunsAreCancelledAndRunAgain(t *testing.T) {
	t.Parallel()
	w, j := withJobs(t, false, deployable)
	id := w.dispatch(map[string]any{"operation": "1"})
	first := w.running(j, id)
	path := fmt.Sprintf("/repos/acme/network/actions/runs/%d", id)
	w.want(http.StatusForbidden, http.MethodPost, path+"/rerun", nil)
	w.want(http.StatusAccepted, http.MethodPost, path+"/cancel", nil)
	if run := w.run(id, nil); run.Conclusion != "cancelled" || run.Jobs[0].Conclusion != "cancelled" {
		t.Errorf("%+v", run)
	}
	w.must(w.repo.Rerun(w.ctx, "ben", id))
	w.must(w.Await(w.ctx, func() bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		return len(j.seen) == 2
	}))
	second := w.running(j, id)
	if second.ID == first.ID || second.Environment["GITHUB_RUN_ATTEMPT"] != "2" || second.Environment["GITHUB_ACTOR"] != "switchyard[bot]" ||
		second.Environment["GITHUB_TRIGGERING_ACTOR"] != "ben" {
		t.Errorf("%v", second.Environment)
	}
	w.end(j, id, "failure")
	if run := w.run(id, nil); run.Conclusion != "failure" || run.Attempt != 2 || run.Number != 1 || run.TriggeringActor != "ben" {
		t.Errorf("%+v", run)
	}
	w.want(http.StatusOK, http.MethodGet, path, nil)
	listed := w.want(http.StatusOK, http.MethodGet, path+"/jobs", nil).object()["jobs"].([]any)[0].(map[string]any)
	w.want(http.StatusOK, http.MethodGet, fmt.Sprintf("/repos/acme/network/actions/jobs/%.0f", listed["id"]), nil)
	w.want(http.StatusOK, http.MethodGet, "/repos/acme/network/actions/workflows", nil)
	w.want(http.StatusOK, http.MethodGet, "/repos/acme/network/actions/workflows/deploy.yml/runs", nil)
	for _, logs := range []string{path + "/logs", fmt.Sprintf("/repos/acme/network/actions/jobs/%.0f/logs", listed["id"])} {
		request := w.getRequest(w.APIURL() + logs)
		request.Header.Set("Authorization", "Bearer "+w.token)
		got := w.raw(w.getRequest(w.raw(request).header.Get("Location")))
		if got.status != http.StatusOK || len(got.raw) == 0 {
			t.Errorf("%s: %d", logs, got.status)
		}
	}
	w.must(w.Await(w.ctx, w.Started))
}

func TestJobStaysQueuedWithoutAMachine(t *testing.T) {
	t.Parallel()
	w, j := withJobs(t, true, strings.Replace(deployable, "runs-on: ubuntu-latest", "runs-on: [self-hosted, westeurope]", 1))
	w.SetMachines("ubuntu-latest")
	id := w.dispatch(map[string]any{"operation": "1"})
	w.hooked("workflow_job", 1)
	if run, _ := w.repo.Run(id); run.Status != "queued" || run.Jobs[0].Status != "queued" || len(j.seen) != 0 {
		t.Errorf("%+v", run)
	}
	w.SetMachines("self-hosted", "westeurope")
	if run := w.run(id, nil); run.Conclusion != "success" {
		t.Errorf("%+v", run)
	}
}

func TestMachineIsLost(t *testing.T) {
	t.Parallel()
	w, j := withJobs(t, false, deployable)
	id := w.dispatch(map[string]any{"operation": "1"})
	w.running(j, id)
	w.must(w.repo.LoseMachine(w.ctx, id))
	if run := w.run(id, nil); run.Conclusion != "failure" || !strings.Contains(run.Jobs[0].Problem, "lost communication") {
		t.Errorf("%+v", run)
	}
	if err := w.repo.LoseMachine(w.ctx, id); err == nil {
		t.Error("a job that has ended has no machine")
	}
}
