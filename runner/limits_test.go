package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

func TestBadTasksGetAResult(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": root("")})
	for name, c := range map[string]struct {
		spoil func(*operation.Task)
		want  string
	}{
		"another version":          {func(k *operation.Task) { k.Version = 9 }, "this runner knows version 1"},
		"another kind":             {func(k *operation.Task) { k.Kind = "destroy" }, `kind "destroy"`},
		"an option for a tree":     {func(k *operation.Task) { k.Tree = "--help" }, "not the name of a git object"},
		"a tree that is not there": {func(k *operation.Task) { k.Tree = strings.Repeat("0", 39) + "1" }, "git read-tree"},
		"a relative directory":     {func(k *operation.Task) { k.WorkDir = "work" }, "absolute"},
		"the whole machine":        {func(k *operation.Task) { k.WorkDir = "/." }, "root directory"},
		"no target":                {func(k *operation.Task) { k.Targets = nil }, "no target"},
		"a target twice":           {func(k *operation.Task) { k.Targets = append(k.Targets, k.Targets[0]) }, "twice"},
		"a repository that is not": {func(k *operation.Task) { k.GitDir = "/nonexistent" }, "git read-tree"},
		"a reserved variable":      {func(k *operation.Task) { k.Env = map[string]string{"TF_CLI_ARGS": "-lock=false"} }, "TF_CLI_ARGS"},
		"no Terraform":             {func(k *operation.Task) { k.Terraform.Path, k.Terraform.Version = "/no/tf", "1" }, "no such file"},
		"a negative time":          {func(k *operation.Task) { k.TimeLimit = -1 }, "negative"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			task := w.task(operation.Plan, tree, "a")
			task.WorkDir = filepath.Join(t.TempDir(), "w")
			c.spoil(&task)
			result := runner.Run(t.Context(), task, nopWriter{})
			if !strings.Contains(result.Error, c.want) || len(result.Targets) != 0 || result.Ended.IsZero() {
				t.Errorf("got %+v", result)
			}
		})
	}
}

type nopWriter struct{}

func (nopWriter) Write([]byte) (int, error) { return 0, errors.New("nobody reads this") }

func TestTimeLimitStopsTerraform(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.binary = terraformtest.New(t, map[string]terraformtest.Act{"plan": {Hang: true, OnStop: "gently"}}).Path
	task := w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": root("")}), "a")
	task.TimeLimit = 300 * time.Millisecond
	result := w.do(task)
	if result.Stopped != "time limit" || result.Targets[0].Outcome != operation.TargetStopped {
		t.Errorf("got %+v", result)
	}
}

func TestStoppedBeforeItBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	result := w.doWith(ctx, w.task(operation.Apply, w.tree(map[string]string{"a/main.tf": root("")}), "a"))
	if result.Stopped != "cancelled" || result.Error != "" || result.Targets[0].Outcome != operation.TargetStopped {
		t.Errorf("got %+v", result)
	}
}

func TestWorkDirectoryIsUsedByOneAtATime(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := filepath.Join(t.TempDir(), "release")
	busy := filepath.Join(w.states, "busy")
	fake := terraformtest.New(t, map[string]terraformtest.Act{"plan": {Lock: busy, Until: release}})
	w.binary = fake.Path
	tree := w.tree(map[string]string{"a/main.tf": root("")})
	results := make(chan operation.Result, 2)
	for range 2 {
		go func() { results <- runner.Run(t.Context(), w.task(operation.Plan, tree, "a"), nopWriter{}) }()
	}
	fake.Await(t, "plan")
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if result := <-results; result.Error != "" || result.Targets[0].Outcome != operation.Unchanged {
			t.Errorf("got %+v", result)
		}
	}
}

func TestInitsThatFillTheCacheRunAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	cache := filepath.Join(t.TempDir(), "cache")
	if err := os.MkdirAll(filepath.Join(cache, "registry"), 0o700); err != nil {
		t.Fatal(err)
	}
	provider := filepath.Join(cache, "registry", "provider")
	if err := os.WriteFile(provider, nil, 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	fake := terraformtest.New(t, map[string]terraformtest.Act{"init": {Lock: filepath.Join(w.states, "busy")}})
	w.binary = fake.Path
	files := map[string]string{}
	var roots []string
	for i := range 6 {
		roots = append(roots, fmt.Sprintf("r%d", i))
		files[roots[i]+"/main.tf"] = root("resource \"random_pet\" \"x\" {}\n")
	}
	tree := w.tree(files)
	results := make(chan operation.Result, 2)
	for i := range 2 {
		go func() {
			task := w.task(operation.Plan, tree, roots...)
			task.WorkDir, task.CacheDir = filepath.Join(w.work, strconv.Itoa(i)), cache
			results <- runner.Run(t.Context(), task, nopWriter{})
		}()
	}
	for range 2 {
		for _, target := range (<-results).Targets {
			if target.Outcome != operation.Unchanged {
				t.Errorf("got %+v", target)
			}
		}
	}
	for _, call := range fake.Calls(t) {
		if has := slices.Contains(call.Env, "TF_PLUGIN_CACHE_DIR="+cache); has != (call.Args[0] == "init") {
			t.Errorf("%s knows the cache: %v", call.Args[0], has)
		}
	}
	for name, want := range map[string]os.FileMode{provider: 0o500, filepath.Dir(provider): 0o500} {
		if info, err := os.Stat(name); err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v", name, info.Mode(), err)
		}
	}
	if err := os.Chmod(cache, 0o700); err != nil { //nolint:gosec // to be removed
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(provider), 0o700); err != nil { //nolint:gosec // to be removed
		t.Fatal(err)
	}
}

// start runs a runner in a process of its own.
func start(t *testing.T, task any) (cmd *exec.Cmd, wait func() operation.Result) {
	t.Helper()
	dir := t.TempDir()
	text, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	if raw, ok := task.(string); ok {
		text = []byte(raw)
	}
	taskFile, resultFile := filepath.Join(dir, "task.json"), filepath.Join(dir, "result.json")
	if err := os.WriteFile(taskFile, text, 0o600); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd = exec.CommandContext(t.Context(), self, "run", taskFile, resultFile)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, func() operation.Result {
		t.Helper()
		if err := cmd.Wait(); err != nil {
			t.Errorf("the runner ended with %v", err)
		}
		var result operation.Result
		data, err := os.ReadFile(resultFile)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(data, &result); err != nil {
			t.Fatal(err)
		}
		return result
	}
}

func TestSignalsStopGently(t *testing.T) {
	t.Parallel()
	for name, signal := range map[string]syscall.Signal{"SIGINT": syscall.SIGINT, "SIGTERM": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			fake := terraformtest.New(t, map[string]terraformtest.Act{"plan": {Hang: true, OnStop: "released"}})
			w.binary = fake.Path
			cmd, wait := start(t, w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": root("")}), "a"))
			fake.Await(t, "plan")
			for range 3 { // impatience changes nothing: Terraform hears of it once
				if err := cmd.Process.Signal(signal); err != nil {
					t.Fatal(err)
				}
			}
			result := wait()
			if result.Stopped != "cancelled" || strings.Count(result.Targets[0].Error, "released") != 1 {
				t.Errorf("got %+v", result)
			}
		})
	}
}

func TestUnreadableTaskGetsAResult(t *testing.T) {
	t.Parallel()
	_, wait := start(t, `{"version": "one"`)
	if result := wait(); !strings.Contains(result.Error, "decode task") || result.Version != operation.ContractVersion {
		t.Errorf("got %+v", result)
	}
}

func TestResultOfAHugePlanIsCapped(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var changes []string
	for i := range 5000 {
		action := "create"
		if i%100 == 0 {
			action = "delete"
		}
		changes = append(changes, fmt.Sprintf(`{"address":"a.b[%d]","mode":"managed","type":"a","name":"b","provider_name":"p",`+
			`"change":{"actions":[%q],"before":%s,"after":%s,"after_unknown":{}}}`,
			i, action, value(action == "delete", i), value(action == "create", i)))
	}
	fake := terraformtest.New(t, map[string]terraformtest.Act{
		"show": {Stdout: `{"format_version":"1.2","resource_changes":[` + strings.Join(changes, ",") + `]}`},
	})
	w.binary = fake.Path
	_, wait := start(t, w.task(operation.Apply, w.tree(map[string]string{"a/main.tf": root(""), "b/main.tf": root("")}), "a", "b"))
	result := wait()
	if diff := cmp.Diff([]operation.Outcome{operation.Different, operation.Different}, outcomes(result)); diff != "" {
		t.Fatal(diff)
	}
	for _, target := range result.Targets {
		destroys := 0
		for _, change := range target.ChangeSet.Changes {
			if change.Action == operation.Delete {
				destroys++
			}
		}
		if target.ChangeSet.Counts.Add != 4950 || len(target.ChangeSet.Changes)+target.ChangeSet.Omitted != 5000 || destroys != 50 {
			t.Errorf("kept %d, left out %d, destroys %d", len(target.ChangeSet.Changes), target.ChangeSet.Omitted, destroys)
		}
		if len(target.ChangeSet.Changes) > runner.MaxChanges || len(target.Unexpected) > runner.MaxChanges {
			t.Errorf("kept %d and %d", len(target.ChangeSet.Changes), len(target.Unexpected))
		}
		if len(target.Unexpected)+target.UnexpectedOmitted != 5000 {
			t.Errorf("kept %d unexpected ones, left out %d", len(target.Unexpected), target.UnexpectedOmitted)
		}
	}
	if data, err := json.Marshal(result); err != nil || len(data) > runner.MaxResultSize {
		t.Errorf("%d bytes, %v", len(data), err)
	}
}

// value is an object of about 4 KB, or null.
func value(exists bool, i int) string {
	if !exists {
		return "null"
	}
	return fmt.Sprintf(`{"n":%d,"text":%q}`, i, strings.Repeat("x", 4000))
}
