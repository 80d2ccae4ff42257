package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

// The executor tells by a lock on an inherited file that the runner lives. Whatever shares that file could let go of the
// lock, or keep it for ever.
func TestTerraformInheritsNoneOfTheRunnersFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	release := filepath.Join(w.states, "release")
	fake := terraformtest.New(t, map[string]terraformtest.Act{"plan": {Until: release}})
	w.binary = fake.Path
	task := w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": root("")}), "a")
	task.Launch = "this one"
	data, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	taskFile, resultFile := filepath.Join(dir, "task.json"), filepath.Join(dir, "result.json")
	if err := os.WriteFile(taskFile, data, 0o600); err != nil {
		t.Fatal(err)
	}
	alive, err := os.Create(filepath.Join(dir, "alive"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = alive.Close() }()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, "run", taskFile, resultFile)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	cmd.ExtraFiles = []*os.File{alive, alive}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for pid, want := range map[int]bool{cmd.Process.Pid: true, fake.Await(t, "plan").PID: false} {
		if has := holds(t, pid, alive.Name()); has != want {
			t.Errorf("process %d of the runner's has the file: %v, want %v", pid, has, want)
		}
	}
	if err := os.WriteFile(release, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Fatal(err)
	}
	var result operation.Result
	if data, err = os.ReadFile(resultFile); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &result); err != nil || result.Launch != task.Launch {
		t.Errorf("the result is of launch %q, %v", result.Launch, err)
	}
}

// holds reports whether a process has a file open.
func holds(t *testing.T, pid int, name string) bool {
	t.Helper()
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Skipf("the files of process %d cannot be listed here: %v", pid, err)
	}
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(dir, entry.Name())); err == nil && target == name {
			return true
		}
	}
	return false
}
