package runner_test

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

func TestMain(m *testing.M) {
	terraformtest.Main()
	if len(os.Args) > 3 && os.Args[1] == "run" { // a runner in a process of its own
		if err := runner.Main(context.Background(), os.Args[2], os.Args[3], os.Stdout); err != nil {
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// realBinary names the program that tests take for the real Terraform, where it is not the one on PATH: see TestOpenTofu.
const realBinary = "SWITCHYARD_TEST_REAL_BINARY"

// realTerraform finds the real binary once for all tests.
var realTerraform = sync.OnceValues(func() (string, error) {
	if name := os.Getenv(realBinary); name != "" {
		return name, nil
	}
	return terraform.Find(context.Background(), terraform.Want{})
})

// world is a repository, a place for states and a work directory.
type world struct {
	t      testing.TB
	git    string // bare repository
	states string
	work   string
	binary string
	open   []string // further paths that Terraform may write to
}

func newWorld(t testing.TB) *world {
	t.Helper()
	binary, err := realTerraform()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{
		t: t, git: filepath.Join(t.TempDir(), "mirror.git"), states: t.TempDir(), work: filepath.Join(t.TempDir(), "work dir"), binary: binary,
	}
	w.run(nil, "init", "--quiet", "--bare", w.git)
	return w
}

// run runs git and gives what it printed.
func (w *world) run(stdin []byte, args ...string) string {
	w.t.Helper()
	cmd := exec.CommandContext(w.t.Context(), "git", args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + w.states, "GIT_CONFIG_NOSYSTEM=1", "GIT_DIR=" + w.git}
	cmd.Stdin = bytes.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil {
		w.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// link marks a file as a symbolic link.
const link = "link:"

// tree writes files into the repository and gives the name of their tree.
func (w *world) tree(files map[string]string) string {
	w.t.Helper()
	index := filepath.Join(w.t.TempDir(), "index")
	var list bytes.Buffer
	for name, content := range files {
		mode := "100644"
		if to, ok := strings.CutPrefix(content, link); ok {
			mode, content = "120000", to
		}
		list.WriteString(mode + " " + w.run([]byte(content), "hash-object", "-w", "--stdin") + "\t" + name + "\x00")
	}
	cmd := exec.CommandContext(w.t.Context(), "git", "update-index", "-z", "--index-info")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_DIR=" + w.git, "GIT_INDEX_FILE=" + index}
	cmd.Stdin = &list
	if out, err := cmd.CombinedOutput(); err != nil {
		w.t.Fatalf("git update-index: %v\n%s", err, out)
	}
	write := exec.CommandContext(w.t.Context(), "git", "write-tree")
	write.Env = cmd.Env
	out, err := write.Output()
	if err != nil {
		w.t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// root is a root module of terraform_data with a local backend that is configured from outside.
func root(resources string) string {
	return "terraform {\n  backend \"local\" {}\n}\n" + resources
}

// data is one resource.
func data(name, input string) string {
	return "resource \"terraform_data\" \"" + name + "\" {\n  input = " + input + "\n}\n"
}

// task is a task on one tree for roots in their order.
func (w *world) task(kind operation.Kind, tree string, roots ...string) operation.Task {
	task := operation.Task{
		Version: operation.ContractVersion, Operation: 7, Attempt: 2, Kind: kind, GitDir: w.git, Tree: tree,
		Commit: strings.Repeat("c", 40), WorkDir: w.work, Terraform: operation.TerraformTask{Path: w.binary},
		Environment: "dev", TimeLimit: 5 * time.Minute, StopGrace: time.Minute,
	}
	task.Isolation.Write = append([]string{w.states}, w.open...)
	if found, err := realTerraform(); err == nil && w.binary != found {
		task.Isolation.Write = append(task.Isolation.Write, filepath.Dir(w.binary)) // a stand-in takes notes
	}
	if kind == operation.Apply {
		task.WorkDir = filepath.Join(w.t.TempDir(), "apply")
	}
	for _, dir := range roots {
		task.Targets = append(task.Targets, operation.TargetTask{
			Target: operation.Target{Root: dir, Environment: "dev"}, Dir: dir, VarFiles: []string{"env/dev.tfvars"},
			Backend: map[string]string{"path": w.state(dir)},
			Vars:    map[string]string{"environment_name": "dev", "application_name": "network"},
		})
	}
	return task
}

// state is where the state of a root is kept.
func (w *world) state(dir string) string {
	return filepath.Join(w.states, strings.ReplaceAll(dir, "/", "_")+".tfstate")
}

// hasState reports whether a root was ever applied.
func (w *world) hasState(dir string) bool {
	content, err := os.ReadFile(w.state(dir))
	return err == nil && bytes.Contains(content, []byte(`"terraform_data"`))
}

// do runs a task in this process.
func (w *world) do(task operation.Task) operation.Result {
	w.t.Helper()
	return w.doWith(w.t.Context(), task)
}

func (w *world) doWith(ctx context.Context, task operation.Task) operation.Result {
	w.t.Helper()
	var out bytes.Buffer
	result := runner.Run(ctx, task, &out)
	for line := range bytes.Lines(out.Bytes()) {
		var progress runner.Progress
		if err := json.Unmarshal(line, &progress); err != nil {
			w.t.Errorf("line of progress %q: %v", line, err)
		}
	}
	if result.Operation != task.Operation || result.Attempt != task.Attempt || result.Version != operation.ContractVersion {
		w.t.Errorf("the result is of another task: %+v", result)
	}
	return result
}

// outcomes gives how the targets ended.
func outcomes(result operation.Result) []operation.Outcome {
	var list []operation.Outcome
	for _, target := range result.Targets {
		list = append(list, target.Outcome)
	}
	return list
}

// addresses gives what a target's change set is about.
func addresses(changes []operation.Change) []string {
	var list []string
	for _, change := range changes {
		list = append(list, string(change.Action)+" "+change.Address)
	}
	return list
}
