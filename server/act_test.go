package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/act"
	"github.com/switchyard-dev/switchyard/sandbox/act/acttest"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// realOptions say how a world with real jobs differs from the ordinary one.
type realOptions struct {
	machine  func(*act.Options)                        // how its jobs are run
	watch    func(sandbox.JobRunner) sandbox.JobRunner // who looks on
	settings func(*settings.Settings)                  // of its server
	files    map[string]string                         // of its shop
	log      zerolog.Logger                            // of its server
	store    story.Store                               // of its story
}

// newRealWorld is a world whose Terraform runs in jobs that act runs: of the workflow that people copy, with the action as it is released,
// but for its binary, which is this test's.
func newRealWorld(t testing.TB, change ...func(*realOptions)) *world {
	t.Helper()
	options := realOptions{
		machine: func(*act.Options) {}, watch: func(r sandbox.JobRunner) sandbox.JobRunner { return r }, settings: func(*settings.Settings) {},
		log: quiet,
	}
	for _, c := range change {
		c(&options)
	}
	action := releasedAction(t)
	box := func(o *sandbox.Options) {
		runner := acttest.Runner(t, func(a *act.Options) {
			a.Environment = map[string]string{writable: filepath.Join(filepath.Dir(o.Dir), "states")}
			options.machine(a)
		})
		o.Actions = &sandbox.ActionsOptions{Runner: options.watch(runner), Machines: 2}
	}
	prepare := func(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer) (*story.Story, error) {
		return story.PrepareInWorkflows(ctx, box, states, out, story.Workflows{File: template(t, "switchyard.yml"), Action: action})
	}
	return newWorldPrepared(t, box, kept(prepare, options.store), nil, options.log, func(s *settings.Settings) {
		s.Executors = []string{settings.ExecutorActions}
		s.Terraform.Path = ""
		s.Drain = 100 * time.Millisecond
		options.settings(s)
	})
}

// releasedAction is the action as it is released, but for its binary, which is this test's.
func releasedAction(t testing.TB) fs.FS {
	t.Helper()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	action, err := story.Action(os.DirFS(".."), program)
	if err != nil {
		t.Fatal(err)
	}
	return action
}

// template is a workflow that people copy.
func template(t testing.TB, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "workflows-templates", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// reality is a shop in such a world.
type reality struct{ *shop }

func newReality(t testing.TB, change ...func(*realOptions)) *reality {
	t.Helper()
	w := newRealWorld(t, change...)
	options := realOptions{files: map[string]string{
		".github/switchyard.yml":           strings.ReplaceAll(oneRoot, "executor: local", "executor: actions"),
		".github/workflows/switchyard.yml": template(t, "switchyard.yml"),
	}}
	for _, c := range change {
		c(&options)
	}
	r := &reality{newShopOn(t, w, options.files)}
	for _, name := range []string{"dev", "dev-plan", "prod", "prod-plan"} {
		if err := r.repo.SetEnvironment(sandbox.Environment{Name: name}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.repo.Push(r.ctx, story.Ana, "switchyard/plans", nil, "", sandbox.PushOptions{From: "main"}); err != nil {
		t.Fatal(err)
	}
	// What jobs say is the first thing that one wants to see of a test that failed.
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(logsOf(r.repo.Runs()...))
		}
	})
	return r
}

// logsOf is what the jobs of runs said.
func logsOf(runs ...sandbox.Run) string {
	var text strings.Builder
	for _, run := range runs {
		fmt.Fprintf(&text, "%s: %s, %s %s\n", run.Title, run.Status, run.Conclusion, run.Problem)
		for _, job := range run.Jobs {
			fmt.Fprintf(&text, "%s: %s %s\n%s\n%s\n", job.Name, job.Conclusion, job.Problem, job.Log, job.Summary)
		}
	}
	return text.String()
}

// asked is the newest run of a command that was asked for by somebody.
func (r *reality) asked(command, actor string) sandbox.Run {
	r.t.Helper()
	runs := r.repo.Runs()
	for _, run := range slices.Backward(runs) {
		if strings.HasPrefix(run.Title, "switchyard "+command+" ") && run.Actor == actor {
			return run
		}
	}
	r.t.Fatalf("no run of %s by %s", command, actor)
	return sandbox.Run{}
}

const theApp = "switchyard[bot]"

func TestARealJobPlansAndAppliesWhatWasMerged(t *testing.T) {
	t.Parallel()
	r := newReality(t)
	pull := r.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	r.planned(pull, "dev")
	r.said(pull, "terraform_data.second")
	if r.state("dev") != "" {
		t.Error("a plan changed the state")
	}
	merged := r.merge(pull)
	r.checkIs(merged, "switchyard / apply (dev)", "success")
	r.said(pull, "Applied to dev")
	if !strings.Contains(r.state("dev"), `"name": "second"`) {
		t.Fatalf("the state is %s", r.state("dev"))
	}
	deployedOnce(t, r.repo, merged)
	for _, want := range []struct{ command, job, environment, ref string }{
		{"plan", "plan dev", "dev-plan", "refs/heads/switchyard/plans"}, {"apply", "apply dev", "dev", "refs/heads/develop"},
	} {
		run := r.asked(want.command, theApp)
		job, ok := run.Job(want.job)
		if !ok && len(run.Jobs) > 0 {
			job = run.Jobs[0]
		}
		if run.Conclusion != "success" || run.Ref != want.ref || job.Environment != want.environment {
			t.Errorf("the %s ran %s on %s in %q, not on %s in %q", want.command, run.Conclusion, run.Ref, job.Environment, want.ref, want.environment)
		}
		if !strings.Contains(job.Summary, "terraform_data.second") {
			t.Errorf("the summary of the %s is %q", want.command, job.Summary)
		}
		t.Logf("%s: job %v, its own steps %v", want.command, job.CompletedAt.Sub(job.StartedAt), took(job.Steps))
	}
}

// deployedOnce expects the deployment that GitHub makes for the job of an apply, and none of ours beside it.
func deployedOnce(t *testing.T, repo *sandbox.Repository, sha string) {
	t.Helper()
	deployments := repo.Deployments("dev")
	if len(deployments) != 1 || deployments[0].SHA != sha || deployments[0].Payload != "" {
		t.Errorf("the deployments to dev are %+v", deployments)
	}
}

func TestAnApplyInAWorkflowHasTheDeploymentOfItsJobOnly(t *testing.T) {
	t.Parallel()
	y := newYard(t)
	pull := y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	merged := y.merge(pull)
	y.checkIs(merged, "switchyard / apply (dev)", "success")
	y.said(pull, "Applied to dev")
	deployedOnce(t, y.repo, merged)
}

// terraformIn is when the first Terraform process of a job began, and how long all of them took.
func terraformIn(t *testing.T, log string) (began time.Time, took time.Duration) {
	t.Helper()
	for line := range strings.Lines(log) {
		_, words, _ := strings.Cut(line, " ")
		var progress struct {
			Time time.Time     `json:"time"`
			Step string        `json:"step"`
			Took time.Duration `json:"took"`
		}
		if json.Unmarshal([]byte(words), &progress) != nil || progress.Step == "" || progress.Step == "checkout" {
			continue
		}
		if began.IsZero() {
			began = progress.Time
		}
		took += progress.Took
	}
	if began.IsZero() {
		t.Error("no Terraform ran")
	}
	return began, took
}

// took are the steps of a job with what each took.
func took(steps []sandbox.RunStep) []string {
	all := make([]string, 0, len(steps))
	for _, step := range steps {
		all = append(all, fmt.Sprintf("%s %v", step.Name, step.CompletedAt.Sub(step.StartedAt)))
	}
	return all
}

func TestARealJobAsksAboutWhatNobodyReviewedAndTakesAPersonsYes(t *testing.T) {
	t.Parallel()
	r := newReality(t)
	pull := r.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	r.planned(pull, "dev")
	// Nobody reviewed what is pushed straight to develop; it is merged together with what somebody did.
	pushed := r.push("develop", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	r.checkIs(pushed, "switchyard / apply (dev)", "action_required")
	merged := r.merge(pull)
	r.checkIs(merged, "switchyard / apply (dev)", "action_required")
	digest := r.digest(pull, "dev")
	if strings.Contains(r.state("dev"), "third") {
		t.Fatal("it was applied without a yes")
	}
	said := time.Now()
	r.comment(story.Ana, pull, "/apply dev "+digest)
	r.checkIs(merged, "switchyard / apply (dev)", "success")
	job, _ := r.asked("apply", theApp).Job("apply dev")
	began, worked := terraformIn(t, job.Log)
	t.Logf("from the comment to the job's start: %v, to its first Terraform process: %v; in the job before that: %v; the job: %v, Terraform: %v",
		job.StartedAt.Sub(said), began.Sub(said), began.Sub(job.StartedAt), job.CompletedAt.Sub(job.StartedAt), worked)
	if !strings.Contains(r.state("dev"), `"name": "third"`) || !strings.Contains(r.state("dev"), `"name": "second"`) {
		t.Errorf("the state is %s", r.state("dev"))
	}
	before := r.state("dev")

	t.Run("the same task for a commit that nobody merged is refused by the job", func(t *testing.T) {
		evil := r.push("feature/evil", map[string]string{"infra/evil.tf": strings.ReplaceAll(secondFile, "second", "evil")},
			sandbox.PushOptions{From: "develop"})
		r.refused(t, before, "is not on branch `develop`", func(task *operation.Task) { task.Commit = evil })
	})
	t.Run("as is one for another environment's branch", func(t *testing.T) {
		r.refused(t, before, "does not let branch `develop` deploy to prod", func(task *operation.Task) {
			task.Environment, task.Job.Environment = "prod", "prod"
			for i := range task.Targets {
				task.Targets[i].Target.Environment = "prod"
			}
		})
	})
}

// refused dispatches what a server could ask for, changed as somebody could who has the App's key. The job refuses it.
func (r *reality) refused(t *testing.T, before, words string, change func(task *operation.Task)) {
	t.Helper()
	task := r.forged()
	change(&task)
	run := r.dispatchAsThief(t, task)
	log := logsOf(run)
	if run.Conclusion != "failure" || run.Actor != theApp || !strings.Contains(log, words) || !strings.Contains(log, "Nothing was begun") {
		t.Errorf("the run ended so: %s", log)
	}
	if strings.Contains(log, `"step":"init"`) || r.state("dev") != before || r.state("prod") != "" {
		t.Errorf("Terraform ran: %s", log)
	}
}

// dispatchAsThief dispatches a task with the App's key, past its server, and waits for the end of its run.
func (r *reality) dispatchAsThief(t *testing.T, task operation.Task) sandbox.Run {
	t.Helper()
	inputs, err := executor.Inputs(task)
	if err != nil {
		t.Fatal(err)
	}
	thief, err := hub.New(hub.Options{
		AppID: r.Box.AppID(), PrivateKey: r.Box.PrivateKey(), APIURL: r.Box.APIURL(), WebURL: r.Box.URL(), GraphQLURL: r.Box.GraphQLURL(),
	})
	if err != nil {
		t.Fatal(err)
	}
	made, err := thief.Dispatch(r.ctx, task.Repository, hub.Dispatch{Workflow: "switchyard.yml", Ref: task.Job.Ref, Inputs: inputs})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(r.ctx, patience)
	defer cancel()
	run, err := r.repo.AwaitRun(ctx, made.Run, nil)
	if err != nil {
		t.Fatal(err)
	}
	return run
}

// forged is an apply of what is on develop, as nobody asked for it.
func (r *reality) forged() operation.Task {
	tip := r.repo.Branches()["develop"]
	return operation.Task{
		Version: operation.ContractVersion, Operation: 999, Attempt: 1, Launch: "stolen-key", Kind: operation.Apply, Commit: tip, Tree: tip,
		Repository: operation.Repository{ID: r.repo.ID(), Installation: r.installation(), Owner: "acme", Name: "shop"}, Environment: "dev",
		Job: &operation.Job{
			Workflow: "switchyard.yml", Ref: "develop", Environment: "dev", Branch: "develop", Shards: [][]string{{"infra"}},
			Machines: [][]string{{"ubuntu-latest"}},
		},
		Targets: []operation.TargetTask{{Target: operation.Target{Root: "infra", Environment: "dev"}, Dir: "infra"}},
	}
}

func TestCancelStopsTerraformInARealJobGently(t *testing.T) {
	t.Parallel()
	r := newReality(t)
	begun := filepath.Join(r.States, "begun")
	pull := r.open("feature/slow", "develop", map[string]string{"infra/slow.tf": fmt.Sprintf(`resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "echo begun > '%s'; exec sleep 600"
  }
}
`, begun)})
	r.planned(pull, "dev")
	merged := r.merge(pull)
	r.file("Terraform is in the middle of it", begun, 1)
	lock := filepath.Join(r.States, ".shop-dev.tfstate.lock.info")
	if _, err := os.Stat(lock); err != nil {
		t.Errorf("Terraform holds no lock: %v", err)
	}
	said := time.Now()
	r.comment(story.Ana, pull, "/cancel dev")
	r.checkIs(merged, "switchyard / apply (dev)", "cancelled")
	job, _ := r.asked("apply", theApp).Job("apply dev")
	t.Logf("from the comment to the end of the job: %v of %v", job.CompletedAt.Sub(said), took(job.Steps))
	r.said(pull, "The apply to dev was cancelled")
	if _, err := os.Stat(lock); !os.IsNotExist(err) {
		t.Errorf("the lock is still there: %v", err)
	}
}

// TestStoryInWorkflows plays the story that `make demo EXECUTOR=actions` shows.
func TestStoryInWorkflows(t *testing.T) {
	t.Parallel()
	store := storeOfStory(t)
	w := newRealWorld(t, func(o *realOptions) {
		o.store = store
		o.machine = func(a *act.Options) { maps.Copy(a.Environment, store.Env) }
	})
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(logsOf(w.Repo.Runs()...))
		}
	})
	playSteps(t, w)
	ended := map[string]int{}
	for _, run := range w.Repo.Runs() {
		words := strings.Fields(run.Title)
		ended[words[1]+" "+run.Conclusion]++
	}
	t.Logf("runs: %v", ended)
	if ended["plan success"] < 10 || ended["apply success"] < 5 {
		t.Errorf("the story was not played in workflows: %v", ended)
	}
}
