package server_test

import (
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

const inWorkflows = `version: 1
application: shop
environments:
  dev:  { branch: develop, binding: strict, runs_on: [self-hosted, westeurope] }
  prod: { branch: main, binding: strict }
roots:
  - dir: infra
    backend: { path: "STATES/{application}-{environment}.tfstate" }
executor: actions
`

// yard is a shop whose Terraform runs in workflows; their jobs do what the test says.
type yard struct {
	*shop

	mu   sync.Mutex
	work func(ctx context.Context, job *sandbox.Job, task operation.Task) string // gives the job's conclusion
	done []string                                                                // what jobs were asked to do
}

// newYard is made without Terraform on the server's host.
func newYard(t testing.TB, change ...func(*settings.Settings)) *yard {
	t.Helper()
	return newYardAt(t, nil, change...)
}

// newYardAt is newYard with a clock of its own; nil: the real one.
func newYardAt(t testing.TB, clock clockwork.Clock, change ...func(*settings.Settings)) *yard {
	t.Helper()
	y := &yard{}
	y.work = func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		y.leave(job, task, resultFor(task))
		return "success"
	}
	world := newWorldOn(t, func(o *sandbox.Options) {
		o.Actions = &sandbox.ActionsOptions{Runner: sandbox.JobFunc(y.runJob)}
	}, clock, quiet, append([]func(*settings.Settings){func(s *settings.Settings) {
		s.Executors = []string{settings.ExecutorActions}
		s.Terraform.Path = ""
		s.Drain = 100 * time.Millisecond
	}}, change...)...)
	workflow, err := os.ReadFile("../workflows-templates/switchyard.yml")
	if err != nil {
		t.Fatal(err)
	}
	y.shop = newShopOn(t, world, map[string]string{
		".github/switchyard.yml": inWorkflows, ".github/workflows/switchyard.yml": string(workflow),
	})
	world.Box.SetMachines("ubuntu-latest", "self-hosted", "westeurope")
	y.environment(sandbox.Environment{Name: "dev"})
	y.plansBranch()
	return y
}

func (y *yard) environment(e sandbox.Environment) {
	y.t.Helper()
	if err := y.repo.SetEnvironment(e); err != nil {
		y.t.Fatal(err)
	}
}

func (y *yard) plansBranch() {
	y.t.Helper()
	if _, err := y.repo.Push(y.ctx, story.Ana, "switchyard/plans", map[string]string{"plans.md": "plans run here\n"}, "plans",
		sandbox.PushOptions{From: "main"}); err != nil {
		y.t.Fatal(err)
	}
}

// jobs has the coming jobs do something else.
func (y *yard) jobs(work func(ctx context.Context, job *sandbox.Job, task operation.Task) string) {
	y.mu.Lock()
	defer y.mu.Unlock()
	y.work = work
}

func (y *yard) runJob(ctx context.Context, job *sandbox.Job, _ sandbox.Tell) sandbox.JobResult {
	text, _ := job.Inputs[operation.InputTask].(string)
	packed, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return sandbox.JobResult{Conclusion: "failure", Problem: err.Error()}
	}
	var task operation.Task
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err == nil {
		err = json.NewDecoder(reader).Decode(&task)
	}
	if err != nil {
		return sandbox.JobResult{Conclusion: "failure", Problem: err.Error()}
	}
	y.mu.Lock()
	work := y.work
	y.done = append(y.done, string(task.Kind)+" of "+task.Commit[:7]+" at "+job.Ref+" in "+task.Job.Environment)
	y.mu.Unlock()
	return sandbox.JobResult{Conclusion: work(ctx, job, task)}
}

// ran lists what jobs were asked to do.
func (y *yard) ran() []string {
	y.mu.Lock()
	defer y.mu.Unlock()
	return slices.Clone(y.done)
}

// leave puts a result where the workflow leaves it.
func (y *yard) leave(job *sandbox.Job, task operation.Task, result operation.Result) {
	var archive bytes.Buffer
	writer := zip.NewWriter(&archive)
	file, err := writer.Create(operation.ResultFile)
	if err == nil {
		err = json.NewEncoder(file).Encode(result)
	}
	if err == nil {
		err = writer.Close()
	}
	shard := 0
	if number, ok := job.Matrix["shard"]; ok {
		shard, _ = strconv.Atoi(strings.TrimSuffix(toText(number), ".0"))
	}
	if err == nil {
		err = y.repo.AddArtifact(job.RunID, operation.ArtifactName(task, shard), archive.Bytes())
	}
	if err != nil {
		y.t.Errorf("leave the result: %v", err)
	}
}

func toText(v any) string {
	data, _ := json.Marshal(v)
	return string(data)
}

// await waits for a job to tell something.
func await[T any](y *yard, what string, from <-chan T) T {
	y.t.Helper()
	ctx, cancel := context.WithTimeout(y.ctx, patience)
	defer cancel()
	select {
	case told := <-from:
		return told
	case <-ctx.Done():
		y.t.Fatalf("%s: %v", what, context.Cause(ctx))
		panic("not reached")
	}
}

// resultFor is what a runner makes of a task in whose roots one thing is to be made.
func resultFor(task operation.Task) operation.Result {
	result := operation.Result{
		Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch, Commit: task.Commit,
		Tools: []operation.Tool{{Name: "terraform", Version: "1.11.4"}}, Started: time.Now(), Ended: time.Now(),
	}
	for _, target := range task.Targets {
		changes := []operation.Change{{Address: "terraform_data.first", Action: operation.Create}}
		outcome := operation.Planned
		if task.Kind == operation.Apply {
			outcome = operation.Applied
		}
		result.Targets = append(result.Targets, operation.TargetResult{
			Target: target.Target, Outcome: outcome, Lineage: "l", Serial: 1, Timings: operation.Timings{Plan: time.Second},
			ChangeSet: operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)},
		})
	}
	return result
}

func TestAPlanAndAnApplyRunInWorkflowsOfTheRepository(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	before := y.Box.Calls()
	merged := y.merge(pull)
	y.checkIs(merged, "switchyard / apply (dev)", "success")
	y.said(pull, "Applied to dev")
	view, _ := y.repo.PullView(pull)
	want := []string{
		"plan of " + view.Head.SHA[:7] + " at refs/heads/switchyard/plans in ",
		"apply of " + merged[:7] + " at refs/heads/develop in dev",
	}
	if ran := y.ran(); !slices.Equal(ran, want) {
		t.Errorf("jobs did %q, not %q", ran, want)
	}
	for _, run := range y.repo.Runs() {
		if !strings.HasPrefix(run.Title, "switchyard ") || run.Actor != "switchyard[bot]" {
			t.Errorf("run %q of %s", run.Title, run.Actor)
		}
	}
	t.Logf("calls from merge to applied: %v", counted(before, y.Box.Calls()))
}

func TestAWorkflowThatCannotStartIsSaidWithTheNextCommand(t *testing.T) {
	t.Parallel()
	t.Run("an apply whose GitHub Environment does not exist is refused", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		pull := y.open("hotfix/a", "main", map[string]string{"infra/a.tf": "# a\n"})
		y.planned(pull, "prod")
		merged := y.merge(pull)
		y.checkIs(merged, "switchyard / apply (prod)", "failure")
		y.said(pull, "Nothing was changed", "GitHub Environment", "without any protection", "/apply prod")
		if ran := y.ran(); len(ran) != 1 {
			t.Errorf("jobs did %q", ran)
		}
	})
	t.Run("as is one whose GitHub Environment somebody has just deleted", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
		y.planned(pull, "dev")
		y.checkIs(y.merge(pull), "switchyard / apply (dev)", "success")
		next := y.open("feature/b", "develop", map[string]string{"infra/b.tf": "# b\n"})
		y.planned(next, "dev")
		y.repo.RemoveEnvironment("dev")
		y.checkIs(y.merge(next), "switchyard / apply (dev)", "failure")
		y.said(next, "Nothing was changed", "GitHub Environment", "without any protection", "/apply dev")
		if ran := y.ran(); len(ran) != 3 {
			t.Errorf("jobs did %q", ran)
		}
	})
	t.Run("a plan without the branch of plans", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		if err := y.repo.DeleteBranch(y.ctx, story.Ana, "switchyard/plans"); err != nil {
			t.Fatal(err)
		}
		pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
		y.said(pull, "git push origin origin/HEAD:refs/heads/switchyard/plans")
		y.plansBranch()
		if _, err := y.repo.Comment(y.ctx, story.Ben, pull, "/plan"); err != nil {
			t.Fatal(err)
		}
		y.planned(pull, "dev")
	})
	t.Run("a repository without Actions", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		y.repo.SetActions(false)
		pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
		y.said(pull, "The plan for dev failed", "/plan")
	})
	t.Run("an executor that the server does not allow", func(t *testing.T) {
		t.Parallel()
		y := newYard(t)
		if _, err := y.repo.Push(y.ctx, story.Ana, "main", map[string]string{
			".github/switchyard.yml": strings.ReplaceAll(strings.ReplaceAll(inWorkflows, "executor: actions", "executor: local"), "STATES", y.States),
		}, "local"); err != nil {
			t.Fatal(err)
		}
		pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
		y.said(pull, "does not allow the executor", "local", "executors")
	})
}

// TestWithoutWhatGitHubEnterpriseServerLacks has the workflow file without the keys that such a server does not know, and no dispatch say
// which run it has made. What else is different there, as how artifacts are kept, the stand-in does not show.
func TestWithoutWhatGitHubEnterpriseServerLacks(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.Box.SetRunDetails(false)
	y.environment(sandbox.Environment{Name: "dev-plan"})
	workflow, err := os.ReadFile("../workflows-templates/switchyard.yml")
	if err != nil {
		t.Fatal(err)
	}
	without := regexp.MustCompile(`(?m)^ *(queue: max|deployment: false)( .*)?\n`).ReplaceAll(workflow, nil)
	for _, branch := range []string{"main", "develop", "switchyard/plans"} {
		files := map[string]string{".github/workflows/switchyard.yml": string(without)}
		if _, err := y.repo.Push(y.ctx, story.Ana, branch, files, "for GitHub Enterprise Server"); err != nil {
			t.Fatal(err)
		}
	}
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	merged := y.merge(pull)
	y.checkIs(merged, "switchyard / apply (dev)", "success")
	deployedOnce(t, y.repo, merged)
	if plans := y.repo.Deployments("dev-plan"); len(plans) == 0 {
		t.Error("GitHub records a deployment for a plan there")
	}
}

func TestAPlanSaysThatItsBranchHasAnotherWorkflowFile(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	workflow, err := os.ReadFile("../workflows-templates/switchyard.yml")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := y.repo.Push(y.ctx, story.Ana, "switchyard/plans", map[string]string{
		".github/workflows/switchyard.yml": string(workflow) + "# changed\n",
	}, "another workflow"); err != nil {
		t.Fatal(err)
	}
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	y.said(pull, "differs from the default branch")
}

func TestAForgedResultIsNotTaken(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		result := resultFor(task)
		result.Operation++
		y.leave(job, task, result)
		return "success"
	})
	merged := y.merge(pull)
	y.said(pull, "It is not known whether dev was changed", "result of its workflow run is not taken", "/actions/runs/")
	y.checkIs(merged, "switchyard / apply (dev)", "failure")
}

func TestARunThatWaitsForAReviewerSaysSoAndARejectedOneChangedNothing(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.environment(sandbox.Environment{Name: "dev", Reviewers: []string{story.Ana}})
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	y.merge(pull)
	y.said(pull, "waits for a reviewer", "`dev`", "/actions/runs/")
	runs := y.repo.Runs()
	if err := y.repo.ReviewDeployment(y.ctx, story.Ana, runs[len(runs)-1].ID, "dev", false); err != nil {
		t.Fatal(err)
	}
	y.said(pull, "Nothing was changed", "before a job began")
}

func TestCancelEndsAWorkflowRun(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	began := make(chan struct{})
	y.jobs(func(_ context.Context, works *sandbox.Job, task operation.Task) string {
		close(began)
		<-works.Cancelled // while it prepares
		full := resultFor(task)
		y.leave(works, task, job.StoppedBefore(task, full.Started, full.Ended))
		return "cancelled"
	})
	y.merge(pull)
	await(y, "a job begins", began)
	if _, err := y.repo.Comment(y.ctx, story.Ana, pull, "/cancel dev"); err != nil {
		t.Fatal(err)
	}
	y.said(pull, "The apply to dev was cancelled")
}

func TestAnApplyInAWorkflowOutlivesTheServer(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	began, proceed := make(chan struct{}), make(chan struct{})
	y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		close(began)
		<-proceed
		y.leave(job, task, resultFor(task))
		return "success"
	})
	merged := y.merge(pull)
	await(y, "a job begins", began)
	y.stop()
	y.data += "-of-another-host" // with the same database
	if err := os.Rename(strings.TrimSuffix(y.data, "-of-another-host"), y.data); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(y.data + "/host"); err != nil {
		t.Fatal(err)
	}
	y.start(quiet, func(s *settings.Settings) { s.Executors = []string{settings.ExecutorActions} })
	close(proceed)
	y.checkIs(merged, "switchyard / apply (dev)", "success")
	if ran := y.ran(); len(ran) != 2 {
		t.Errorf("jobs did %q", ran)
	}
}

func TestACommentTakesFewCallsUntilItsWorkflowIsDispatched(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.takenIn()
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		result := resultFor(task)
		result.Targets, result.Error = nil, "No identity."
		y.leave(job, task, result)
		return "failure"
	})
	y.checkIs(y.merge(pull), "switchyard / apply (dev)", "failure")
	y.said(pull, "No identity")
	seen := make(chan map[string]int, 1)
	y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		seen <- y.Box.Calls()
		y.leave(job, task, resultFor(task))
		return "success"
	})
	before, asked := y.Box.Calls(), time.Now()
	if _, err := y.repo.Comment(y.ctx, story.Ana, pull, "/apply dev"); err != nil {
		t.Fatal(err)
	}
	calls := await(y, "a workflow is dispatched", seen)
	t.Logf("from the comment to the job's first step: %v", time.Since(asked)) //nolint:forbidigo // it is measured
	needed := counted(before, calls)
	for route := range needed {
		if !strings.HasPrefix(route, "GET ") && !strings.HasSuffix(route, "/dispatches") || strings.Contains(route, "/runs/") {
			delete(needed, route) // what people read, and what follows the dispatch
		}
	}
	want := map[string]int{ // that the GitHub Environment is still there is answered by 304, which counts for nothing
		"GET /repos/{owner}/{repo}/issues/comments/{comment_id}":                1, // is it there, as the webhook says?
		"GET /repos/{owner}/{repo}/collaborators/{username}/permission":         1,
		"POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches": 1,
	}
	if diff := cmp.Diff(want, needed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAPlanThatIsAskedForTakesFewCallsUntilItsWorkflowIsDispatched(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	y.environment(sandbox.Environment{Name: "dev-plan"})
	y.takenIn()
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	seen := make(chan map[string]int, 1)
	y.jobs(func(_ context.Context, job *sandbox.Job, task operation.Task) string {
		seen <- y.Box.Calls()
		y.leave(job, task, resultFor(task))
		return "success"
	})
	before := y.Box.Calls()
	y.comment(story.Ben, pull, "/plan")
	needed := counted(before, await(y, "a workflow is dispatched", seen))
	for route := range needed {
		if !strings.HasPrefix(route, "GET ") && !strings.HasSuffix(route, "/dispatches") || strings.Contains(route, "/runs/") {
			delete(needed, route) // what people read, and what follows the dispatch
		}
	}
	want := map[string]int{
		"GET /repos/{owner}/{repo}/collaborators/{username}/permission":         1,
		"GET /repos/{owner}/{repo}/pulls/{pull_number}":                         1,
		"POST /repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches": 1,
	}
	if diff := cmp.Diff(want, needed); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
