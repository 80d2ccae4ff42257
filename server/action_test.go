package server_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// writable names a directory that Terraform may write to in a job of these tests.
const writable = "SWITCHYARD_TEST_WRITABLE"

// actInProcess is `switchyard action`, in a process of its own.
func actInProcess() int {
	unprotect, err := runner.Protect()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer unprotect()
	isolation := operation.Isolation{Missing: confine.Missing(), Write: []string{os.Getenv(writable)}}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err = server.ActionWith(ctx, os.LookupEnv, os.Environ(), os.Stdout, zerolog.Nop(), isolation)
	switch {
	case errors.Is(err, job.ErrNotDone):
		return 1
	case err != nil:
		fmt.Fprintln(os.Stderr, err)
		return 2
	default:
		return 0
	}
}

// machines are where the jobs of a yard really run, each in a process and a directory of its own.
type machines struct {
	*yard

	mu    sync.Mutex
	logs  map[int64]string // by run
	tasks []operation.Task
	took  func(began, ended time.Time, log string, temp string) // told of each job; nil: nobody
}

func newMachines(t testing.TB) *machines {
	t.Helper()
	return newMachinesAt(t, nil)
}

// newMachinesAt is newMachines with a clock of GitHub's and the server's own; nil: the real one.
func newMachinesAt(t testing.TB, clock clockwork.Clock) *machines {
	t.Helper()
	m := &machines{yard: newYardAt(t, clock), logs: map[int64]string{}}
	m.environment(sandbox.Environment{Name: "dev-plan"})
	m.jobs(m.act)
	return m
}

// act does what the template's one step does: it runs the action and leaves its result.
func (m *machines) act(ctx context.Context, run *sandbox.Job, task operation.Task) string {
	dir, program := m.t.TempDir(), ""
	env := maps.Clone(run.Environment)
	for name, value := range run.Inputs {
		env["INPUT_"+strings.ToUpper(name)] = fmt.Sprint(value)
	}
	shard := "0"
	if number, ok := run.Matrix["shard"]; ok {
		shard = fmt.Sprint(number)
	}
	maps.Copy(env, map[string]string{
		"PATH": os.Getenv("PATH"), "HOME": dir, "INPUT_SHARD": shard, "INPUT_GITHUB-TOKEN": run.Token, writable: m.States,
		"GITHUB_WORKSPACE": filepath.Join(dir, "workspace"), "RUNNER_TEMP": filepath.Join(dir, "temp"),
		"GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"),
	})
	err := errors.Join(os.Mkdir(env["GITHUB_WORKSPACE"], 0o750), os.Mkdir(env["RUNNER_TEMP"], 0o750))
	if err == nil {
		program, err = os.Executable()
	}
	if err != nil {
		m.t.Error(err)
		return "failure"
	}
	command := exec.CommandContext(ctx, program, "action")
	for name, value := range env {
		command.Env = append(command.Env, name+"="+value)
	}
	began := time.Now()
	log, failed := command.CombinedOutput()
	if m.took != nil {
		m.took(began, time.Now(), string(log), env["RUNNER_TEMP"])
	}
	summary, _ := os.ReadFile(env["GITHUB_STEP_SUMMARY"])
	m.mu.Lock()
	m.logs[run.RunID] += string(log) + string(summary)
	m.tasks = append(m.tasks, task)
	m.mu.Unlock()
	outputs := outputsIn(m.t, env["GITHUB_OUTPUT"])
	if outputs["artifact"] != "" {
		var result operation.Result
		data, err := os.ReadFile(outputs["result-path"])
		if err == nil {
			err = json.Unmarshal(data, &result)
		}
		if err != nil {
			m.t.Errorf("read the result: %v", err)
		}
		m.leave(run, task, result)
	}
	if failed != nil {
		return "failure"
	}
	return "success"
}

// outputsIn reads what a step wrote to GITHUB_OUTPUT, as GitHub's runner does.
func outputsIn(t testing.TB, name string) map[string]string {
	t.Helper()
	outputs := map[string]string{}
	file, err := os.Open(name)
	if err != nil {
		return outputs
	}
	defer func() { _ = file.Close() }()
	lines := bufio.NewScanner(file)
	for lines.Scan() {
		key, end, ok := strings.Cut(lines.Text(), "<<")
		if !ok {
			t.Errorf("a line of the outputs is %q", lines.Text())
			continue
		}
		var value []string
		for lines.Scan() && lines.Text() != end {
			value = append(value, lines.Text())
		}
		outputs[key] = strings.Join(value, "\n")
	}
	return outputs
}

// dispatch starts the workflow as somebody could who has the App's key, and waits for its end.
func (m *machines) dispatch(task operation.Task) (sandbox.Run, string) {
	m.t.Helper()
	inputs, err := executor.Inputs(task)
	if err != nil {
		m.t.Fatal(err)
	}
	given := map[string]any{}
	for name, value := range inputs {
		given[name] = value
	}
	id, err := m.repo.Dispatch(m.ctx, story.Ben, "switchyard.yml", task.Job.Ref, given)
	if err != nil {
		m.t.Fatal(err)
	}
	run, err := m.repo.AwaitRun(m.ctx, id, nil)
	if err != nil {
		m.t.Fatal(err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return run, m.logs[id]
}

// dispatched is the task of this kind that a job was given.
func (m *machines) dispatched(kind operation.Kind) operation.Task {
	m.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	at := slices.IndexFunc(m.tasks, func(task operation.Task) bool { return task.Kind == kind })
	if at < 0 {
		m.t.Fatalf("no %s was dispatched", kind)
	}
	return m.tasks[at]
}

func TestTheActionPlansAndAppliesWhatWasMergedAndNothingElse(t *testing.T) {
	t.Parallel()
	m := newMachines(t)
	pull := m.open("feature/a", "develop", map[string]string{"infra/a.tf": "resource \"terraform_data\" \"a\" {}\n"})
	m.planned(pull, "dev")
	merged := m.merge(pull)
	m.checkIs(merged, "switchyard / apply (dev)", "success")
	m.said(pull, "Applied to dev")
	if !strings.Contains(m.state("dev"), `"name": "a"`) {
		t.Fatalf("the state is %s", m.state("dev"))
	}
	evil := m.push("feature/evil", map[string]string{"infra/evil.tf": "resource \"terraform_data\" \"evil\" {}\n"}, sandbox.PushOptions{From: "develop"})
	next := 1
	again := func(kind operation.Kind, change func(task *operation.Task)) operation.Task {
		task := m.dispatched(kind)
		placed := *task.Job
		task.Targets = slices.Clone(task.Targets)
		task.Job, task.Operation, task.Launch = &placed, task.Operation+100, fmt.Sprintf("%08d", next)
		next++
		change(&task)
		return task
	}
	for name, c := range map[string]struct {
		task operation.Task
		want string
	}{
		"a commit that nobody merged": {again(operation.Apply, func(task *operation.Task) {
			task.Commit = evil
		}), "is not on branch `develop`"},
		"a plan of that commit with the identity of applies": {again(operation.Plan, func(task *operation.Task) {
			task.Commit, task.Job.Pull, task.Job.Environment, task.Job.Ref = evil, 0, "dev", "develop"
		}), "works in the GitHub Environment `dev-plan` or in none, not in `dev`"},
		"another branch's environment": {again(operation.Apply, func(task *operation.Task) {
			task.Environment, task.Job.Environment = "prod", "prod"
			for i := range task.Targets {
				task.Targets[i].Target.Environment = "prod"
			}
		}), "does not let branch `develop` deploy to prod"},
		"a yes that nobody gave": {again(operation.Apply, func(task *operation.Task) {
			task.Confirmed, task.Job.Words = strings.Repeat("7", 64), []operation.Word{{Comment: 1, Login: "ana"}}
		}), "No comment counts as a yes to `77777777`"},
	} {
		t.Run(name, func(t *testing.T) {
			before := m.state("dev")
			run, log := m.dispatch(c.task)
			if run.Conclusion != "failure" || !strings.Contains(log, c.want) || !strings.Contains(log, "Nothing was begun") {
				t.Errorf("the run ended with %s: %s", run.Conclusion, log)
			}
			if strings.Contains(log, `"step":"init"`) || m.state("dev") != before {
				t.Error("Terraform ran")
			}
		})
	}
	t.Run("the same again is done once, and a second run of it stands back", func(t *testing.T) {
		task := again(operation.Apply, func(*operation.Task) {})
		if run, log := m.dispatch(task); run.Conclusion != "success" {
			t.Errorf("the first ended with %s: %s", run.Conclusion, log)
		}
		if run, log := m.dispatch(task); run.Conclusion != "failure" || !strings.Contains(log, "Another run works on this operation") {
			t.Errorf("the second ended with %s: %s", run.Conclusion, log)
		}
	})
	t.Run("a run started again by hand is refused", func(t *testing.T) {
		runs := m.repo.Runs()
		id := runs[slices.IndexFunc(runs, func(r sandbox.Run) bool { return strings.Contains(r.Title, "apply dev") && r.Conclusion == "success" })].ID
		if err := m.repo.Rerun(m.ctx, story.Ana, id); err != nil {
			t.Fatal(err)
		}
		run, err := m.repo.AwaitRun(m.ctx, id, func(r sandbox.Run) bool { return r.Attempt == 2 && r.Status == "completed" })
		if err != nil || run.Conclusion != "failure" {
			t.Errorf("it ended with %s, %v", run.Conclusion, err)
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		if !strings.Contains(m.logs[id], "started again by hand") {
			t.Errorf("its log is %s", m.logs[id])
		}
	})
}

func TestTheActionAppliesNothingThatNobodyApproved(t *testing.T) {
	t.Parallel()
	m := newMachines(t)
	m.push("main", map[string]string{".github/switchyard.yml": strings.ReplaceAll(strings.ReplaceAll(
		inWorkflows, "branch: develop, ", "branch: develop, approvals: 1, "), "STATES", m.States)})
	pull := m.open("feature/a", "develop", map[string]string{"infra/a.tf": "resource \"terraform_data\" \"a\" {}\n"})
	m.planned(pull, "dev")
	merged := m.merge(pull)
	task := m.dispatched(operation.Plan)
	placed := *task.Job
	placed.Ref, placed.Environment, placed.Pull, placed.Base = "develop", "dev", 0, ""
	placed.Reviews = []operation.Review{{Pull: pull, Approved: []string{story.Ana}}}
	task.Kind, task.Commit, task.Job, task.Operation, task.Launch = operation.Apply, merged, &placed, 999, "stolen-key"
	run, log := m.dispatch(task)
	if run.Conclusion != "failure" || !strings.Contains(log, fmt.Sprintf("#%d is not approved", pull)) {
		t.Errorf("the run ended with %s: %s", run.Conclusion, log)
	}
}
