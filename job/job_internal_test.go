package job

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform"
)

var update = flag.Bool("update", false, "write the golden files")

// step is one step of a workflow, with what it leaves.
type step struct {
	*world

	env   map[string]string
	log   bytes.Buffer
	ran   []operation.Task
	does  func(ctx context.Context, task operation.Task, confirm func(context.Context) error) operation.Result
	clock clockwork.Clock
}

func newStep(t *testing.T) *step {
	t.Helper()
	dir := t.TempDir()
	s := &step{world: newWorld(), clock: clockwork.NewFakeClockAt(noon.Add(2 * time.Hour)), env: map[string]string{
		"GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"),
	}}
	s.machine.Workspace, s.machine.Temp = filepath.Join(dir, "workspace"), filepath.Join(dir, "temp")
	for _, made := range []string{s.machine.Workspace, s.machine.Temp} {
		if err := os.Mkdir(made, 0o750); err != nil {
			t.Fatal(err)
		}
	}
	s.does = func(_ context.Context, task operation.Task, _ func(context.Context) error) operation.Result {
		return resultOf(task, operation.Applied)
	}
	return s
}

// resultOf is a result in which each target ended so.
func resultOf(task operation.Task, outcome operation.Outcome) operation.Result {
	result := operation.Result{
		Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch, Commit: task.Commit,
		Started: noon, Ended: noon.Add(90 * time.Second), Tools: []operation.Tool{{Name: "terraform", Version: "1.11.4"}},
	}
	for _, target := range task.Targets {
		result.Targets = append(result.Targets, operation.TargetResult{Target: target.Target, Outcome: outcome, ChangeSet: operation.ChangeSet{
			Changes: []operation.Change{{Address: "terraform_data.first", Action: operation.Create}}, Digest: strings.Repeat("9", 64),
			Counts: operation.Counts{Add: 1},
		}})
	}
	return result
}

// dispatched has the step do a task.
func (s *step) dispatched(t *testing.T, task operation.Task) error {
	t.Helper()
	parts := s.parts(t, task)
	return Dispatched(t.Context(), parts)
}

func (s *step) parts(t *testing.T, task operation.Task) Parts {
	t.Helper()
	return Parts{
		Env: environ(t, task, s.env), Machine: s.machine, GitHub: s.world, Git: func([]string) Mirrors { return s.world },
		Find:  func(context.Context, terraform.Want) (string, error) { return "/bin/terraform", nil },
		Clock: s.clock, Out: &s.log,
		Run: func(ctx context.Context, task operation.Task, confirm func(context.Context) error) operation.Result {
			s.ran = append(s.ran, task)
			return s.does(ctx, task, confirm)
		},
	}
}

// result is what the step has left for the server.
func (s *step) result(t *testing.T) (result operation.Result) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(s.machine.Workspace, defaultResultDir, operation.ResultFile))
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &result); err != nil {
		t.Fatal(err)
	}
	return result
}

// shown is all that people and other steps see of the step.
func (s *step) shown(t *testing.T) string {
	t.Helper()
	var text strings.Builder
	text.WriteString("# log\n" + s.log.String())
	for _, name := range []string{"GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"} {
		data, err := os.ReadFile(s.env[name])
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
		text.WriteString("\n# " + name + "\n" + string(data))
	}
	random := regexp.MustCompile(`[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}`)
	return strings.ReplaceAll(random.ReplaceAllString(text.String(), "RANDOM"), filepath.Dir(s.machine.Workspace), "MACHINE")
}

// golden holds a text to a file.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // ours
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhatAJobShows(t *testing.T) {
	t.Parallel()
	outcome := func(o operation.Outcome, change ...func(*operation.Result)) func(*step, *operation.Task) {
		return func(s *step, _ *operation.Task) {
			s.does = func(_ context.Context, task operation.Task, _ func(context.Context) error) operation.Result {
				result := resultOf(task, o)
				for _, c := range change {
					c(&result)
				}
				return result
			}
		}
	}
	for name, c := range map[string]struct {
		change func(*step, *operation.Task)
		fails  bool
	}{
		"applied": {func(*step, *operation.Task) {}, false},
		"unconfirmed": {outcome(operation.Different, func(r *operation.Result) {
			r.Question, r.Targets[0].Unexpected = digest, r.Targets[0].ChangeSet.Changes
		}), true},
		"failed": {outcome(operation.TargetFailed, func(r *operation.Result) {
			r.Targets[0].Error = "Error: no\n::set-output name=result::succeeded\n##[set-output name=result;]succeeded"
		}), true},
		"locked": {outcome(operation.Locked, func(r *operation.Result) {
			r.Targets[0].Lock = &operation.LockInfo{ID: "1", Who: "eve\nresult<<x\nsucceeded\nx"}
		}), true},
		"stopped": {outcome(operation.TargetStopped, func(r *operation.Result) { r.Stopped = "cancelled" }), true},
		"not-confirmed": {outcome(operation.TargetStopped, func(r *operation.Result) {
			r.Targets[0].Error = "Not applied: the server says no: It was cancelled."
		}), true},
		"refused": {func(s *step, task *operation.Task) {
			s.reviews[42] = nil
			task.Confirmed = digest
			task.Job.Words = []operation.Word{s.say(1, "eve", "/apply prod 7f3a"), s.say(2, "x`::error::y", "/apply prod 7f3a")}
		}, true},
		"refused-with-the-token": {func(s *step, _ *operation.Task) { s.config = "version: job-token" }, true},
		"another-run": {func(s *step, _ *operation.Task) {
			s.others = []hub.Run{{ID: 99, Name: s.run.Name, URL: "https://github.com/acme/network/actions/runs/99"}}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, task := newStep(t), applyTask()
			c.change(s, &task)
			err := s.dispatched(t, task)
			if !errors.Is(err, ErrNotDone) && (err != nil || c.fails) {
				t.Errorf("it ends with %v", err)
			}
			shown := s.shown(t)
			if strings.Contains(shown, "job-token") || strings.Contains(shown, "identity-secret") {
				t.Error("a secret is shown")
			}
			golden(t, name, shown)
		})
	}
}

func TestThePlanOfASecondRunEndsWell(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	task := s.planTask()
	s.others = []hub.Run{{ID: 99, Name: s.run.Name, URL: "https://github.com/acme/network/actions/runs/99"}}
	if err := s.dispatched(t, task); err != nil || len(s.ran) != 0 {
		t.Errorf("it ends with %v and did %d tasks", err, len(s.ran))
	}
}

func TestWhichOfSeveralRunsWorks(t *testing.T) {
	t.Parallel()
	app, eve := hub.Account{Login: "switchyard[bot]"}, hub.Account{Login: "eve"}
	const name, later = "switchyard apply prod, operation 5.2 launched", "switchyard apply prod, operation 5.3 again"
	left := []hub.Artifact{{Name: "switchyard-5.2-0"}}
	for title, c := range map[string]struct {
		others []hub.Run
		left   []hub.Artifact // of run 101
		gives  int64          // the run that works instead; 0: none
	}{
		"the only one":                         {nil, nil, 0},
		"the second one gives way":             {[]hub.Run{{ID: 99, Name: name, Actor: app}}, nil, 99},
		"the third one gives way to the first": {[]hub.Run{{ID: 99, Name: name, Actor: app}, {ID: 98, Name: name, Actor: app}}, nil, 98},
		"the first one does not":               {[]hub.Run{{ID: 101, Name: name, Actor: app}}, left, 0},
		"but where the second one has done it": {[]hub.Run{{ID: 101, Name: name, Actor: app, Status: hub.RunCompleted}}, left, 101},
		"and not where that one gave way":      {[]hub.Run{{ID: 101, Name: name, Actor: app, Status: hub.RunCompleted}}, nil, 0},
		"one that the server has given up on":  {[]hub.Run{{ID: 101, Name: later, Actor: app}}, nil, 101},
		"one that was started anew since": {
			[]hub.Run{{ID: 101, Name: strings.Replace(name, "launched", "anew", 1), Actor: app}}, nil, 101,
		},
		"the new start of one":                                {[]hub.Run{{ID: 99, Name: strings.Replace(name, "launched", "before", 1), Actor: app}}, nil, 0},
		"a later attempt does not give way to an earlier one": {[]hub.Run{{ID: 99, Name: strings.Replace(name, "5.2", "5.1", 1), Actor: app}}, nil, 0},
		"one of another operation":                            {[]hub.Run{{ID: 99, Name: strings.Replace(name, "5.2", "4.2", 1), Actor: app}}, nil, 0},
		"one that a person has given that name":               {[]hub.Run{{ID: 99, Name: name, Actor: eve}, {ID: 102, Name: later, Actor: eve}}, nil, 0},
		"the repository's own":                                {[]hub.Run{{ID: 99, Name: "deploy", Actor: app}}, nil, 0},
	} {
		t.Run(title, func(t *testing.T) {
			t.Parallel()
			s := newStep(t)
			s.run.Actor, s.others, s.artifacts = app, c.others, map[int64][]hub.Artifact{101: c.left}
			for i := range s.others {
				s.others[i].URL = fmt.Sprintf("https://github.com/acme/network/actions/runs/%d", s.others[i].ID)
			}
			err := s.dispatched(t, applyTask())
			if c.gives == 0 {
				if err != nil || len(s.ran) != 1 {
					t.Errorf("it does not work: %v: %s", err, s.log.String())
				}
				return
			}
			// It must neither succeed, since GitHub would record a deployment, nor leave a result, which would be taken for the operation's.
			_, left := os.Stat(filepath.Join(s.machine.Workspace, defaultResultDir, operation.ResultFile))
			if !errors.Is(err, ErrOtherRun) || len(s.ran) != 0 || left == nil {
				t.Errorf("it ends with %v, did %d tasks, and left a result: %v", err, len(s.ran), left == nil)
			}
			if want := fmt.Sprintf("/actions/runs/%d,", c.gives); !strings.Contains(s.log.String(), want) {
				t.Errorf("it does not lead to run %d: %s", c.gives, s.log.String())
			}
		})
	}
}

func TestATaskOfAnotherRepositoryIsNotDone(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*operation.Repository){
		"renamed while it ran":     func(r *operation.Repository) { r.Name = "net" },
		"transferred while it ran": func(r *operation.Repository) { r.Owner = "umbrella" },
		"another of the same name": func(r *operation.Repository) { r.ID = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newStep(t)
			change(&s.machine.Repository)
			if err := s.dispatched(t, applyTask()); !errors.Is(err, ErrNotDone) {
				t.Errorf("it ends with %v", err)
			}
			if result := s.result(t); !strings.Contains(result.Error, "renamed or transferred") || len(s.ran)+len(s.asked) != 0 {
				t.Errorf("%q, after asking %q", result.Error, s.asked)
			}
		})
	}
}

func TestAnotherConfigurationIsNotRead(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	s.env["INPUT_CONFIG"] = "infra/switchyard.yml"
	if err := s.dispatched(t, applyTask()); !errors.Is(err, ErrNotDone) {
		t.Errorf("it ends with %v", err)
	}
	if result := s.result(t); !strings.Contains(result.Error, "input config is `infra/switchyard.yml`") || len(s.ran)+len(s.asked) != 0 {
		t.Errorf("%q, after asking %q", result.Error, s.asked)
	}
	s.env["INPUT_CONFIG"] = ".github/switchyard.yml"
	if err := s.dispatched(t, applyTask()); err != nil || len(s.ran) != 1 {
		t.Errorf("with the usual one it ends with %v", err)
	}
}

func TestARunMustBeCalledAsItsTaskSays(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	s.run.Name = "Switchyard"
	if err := s.dispatched(t, applyTask()); !errors.Is(err, ErrNotDone) || !strings.Contains(s.result(t).Error, "`run-name`") {
		t.Errorf("it ends with %v: %s", err, s.result(t).Error)
	}
}

func TestATaskIsDoneAsTheDefaultBranchSays(t *testing.T) {
	t.Parallel()
	s, task := newStep(t), applyTask()
	s.env["BACKEND_STORAGE_ACCOUNT_NAME"] = "account"
	task.Env = map[string]string{"LD_PRELOAD": "/evil.so"}
	task.GitDir, task.WorkDir, task.CacheDir = "/evil", "/", "/evil"
	task.Terraform = operation.TerraformTask{Path: "/evil", Version: "0.1.0"}
	task.Mask, task.Stateful, task.Block, task.Binding = nil, []string{"x"}, nil, operation.BindNoNewRisk
	target := &task.Targets[0]
	target.Dir, target.VarFiles, target.Vars = "../../evil", []string{"/etc/passwd"}, map[string]string{"size": "9"}
	target.Backend = map[string]string{"key": "evil", "storage_account_name": "evil"}
	s.config = strings.Replace(configured, "approvals: 1", "approvals: 1, binding: strict", 1) + "risk: { block: [destroy-stateful] }\n"
	if err := s.dispatched(t, task); err != nil {
		t.Fatal(err, s.log.String())
	}
	done := s.ran[0]
	want := operation.TargetTask{
		Target: target.Target, Dir: "infra", VarFiles: []string{},
		Backend: map[string]string{"key": "network-prod", "storage_account_name": "account"},
		Vars:    map[string]string{"application_name": "network", "environment_name": "prod"},
	}
	if diff := cmp.Diff([]operation.TargetTask{want}, done.Targets); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	work := filepath.Join(s.machine.Temp, "switchyard", "work")
	if done.WorkDir != work || done.GitDir != s.Dir(network) || done.CacheDir != "" || done.Terraform.Path != "/bin/terraform" || len(done.Env) != 0 {
		t.Errorf("%+v", done)
	}
	if done.Binding != operation.BindStrict || len(done.Block) != 1 || len(done.Stateful) != 0 {
		t.Errorf("binding %q, blocked %q, stateful %q", done.Binding, done.Block, done.Stateful)
	}
}

func TestAnotherTreeThanTheServersIsNotDone(t *testing.T) {
	t.Parallel()
	s, task := newStep(t), applyTask()
	task.Tree = strings.Repeat("1", 40)
	if err := s.dispatched(t, task); !errors.Is(err, ErrNotDone) || len(s.ran) != 0 || !strings.Contains(s.result(t).Error, "another tree here") {
		t.Errorf("it ends with %v: %s", err, s.result(t).Error)
	}
}

func TestTheResultIsLeftBelowTheWorkspaceOnly(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		dir     string
		prepare func(t *testing.T, s *step, elsewhere string)
		want    string // of the error; empty: it is left
	}{
		"a directory of the workspace":     {"out/result", nil, ""},
		"outside by dots":                  {"../elsewhere", nil, "must be a directory below the workspace"},
		"an absolute path":                 {"/tmp/elsewhere", nil, "must be a directory below the workspace"},
		"the workspace itself":             {"./x/..", nil, "must be a directory below the workspace"},
		"a link that an earlier step left": {"result", link("result"), ""},
		"a linked parent":                  {"parent/result", link("parent"), "escapes"},
		"a file that an earlier step left": {"result", func(t *testing.T, s *step, _ string) { write(t, filepath.Join(s.machine.Workspace, "result")) }, ""},
		"what an earlier job left is gone": {"result", func(t *testing.T, s *step, _ string) {
			if err := os.Mkdir(filepath.Join(s.machine.Workspace, "result"), 0o750); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(s.machine.Workspace, "result", "old"))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, elsewhere := newStep(t), t.TempDir()
			kept := filepath.Join(elsewhere, "kept")
			write(t, kept)
			if c.prepare != nil {
				c.prepare(t, s, elsewhere)
			}
			s.env["INPUT_RESULT-DIR"] = c.dir
			dir, err := s.parts(t, applyTask()).resultDir()
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Fatalf("it gives %q, %v", dir, err)
			}
			if _, statErr := os.Stat(kept); statErr != nil {
				t.Errorf("a file elsewhere is gone: %v", statErr)
			}
			if err == nil {
				if left, readErr := os.ReadDir(dir); readErr != nil || len(left) != 0 {
					t.Errorf("%q has %v, %v", dir, left, readErr)
				}
			}
		})
	}
}

func link(name string) func(t *testing.T, s *step, elsewhere string) {
	return func(t *testing.T, s *step, elsewhere string) {
		t.Helper()
		if err := os.Symlink(elsewhere, filepath.Join(s.machine.Workspace, name)); err != nil {
			t.Fatal(err)
		}
	}
}

func write(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(name, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestWhatAnEarlierJobLeftIsNotUsed(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	old := filepath.Join(s.machine.Temp, "switchyard", "mirrors", "7.git", "hooks")
	if err := os.MkdirAll(old, 0o750); err != nil {
		t.Fatal(err)
	}
	if err := s.dispatched(t, applyTask()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
	linked := newStep(t)
	if err := os.Symlink(t.TempDir(), filepath.Join(linked.machine.Temp, "switchyard")); err != nil {
		t.Fatal(err)
	}
	if err := linked.dispatched(t, applyTask()); !errors.Is(err, ErrNotDone) || !strings.Contains(linked.result(t).Error, "is not a directory") {
		t.Errorf("it ends with %v", err)
	}
}
