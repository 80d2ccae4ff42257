package runner_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// needIsolation ends a test where it cannot say anything.
func needIsolation(t *testing.T) {
	t.Helper()
	if missing := confine.Missing(); len(missing) > 0 {
		t.Skipf("THIS KERNEL CANNOT ENFORCE %v: what they close is not tested here", missing)
	}
}

// serverFiles are what a server has beside the work directory of one operation, by what they are.
var serverFiles = map[string]string{
	"key": "app.pem", "settings": "settings.yml", "database": "data/switchyard.db", "mirror": "data/mirrors/acme/other.git/packed-refs",
	"other work": "data/work/acme/other/tree/main.tf", "other plan": "data/work/acme/other/plans/x.tfplan",
	"other task": "data/runs/8-1/task.json", "other result": "data/runs/8-1/result.json", "cache": "data/cache/provider",
}

// machine is a server's directory, with the work directory of one operation among the others.
type machine struct {
	*world

	dir    string
	script string // tries what hostile code would, and prints a line for each attempt
}

// newMachine makes one. This very process is the server.
func newMachine(t *testing.T) *machine {
	t.Helper()
	m := &machine{world: newWorld(t), dir: t.TempDir()}
	m.work = m.at("data/work/acme/network")
	var script strings.Builder
	script.WriteString(`try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name: open"; else echo "$name: closed"; fi; }` + "\n")
	add := func(name, command string) {
		fmt.Fprintf(&script, "try '%s' sh -c '%s'\n", name, command)
	}
	for name, file := range serverFiles {
		if err := errors.Join(os.MkdirAll(filepath.Dir(m.at(file)), 0o700), os.WriteFile(m.at(file), []byte("secret"), 0o600)); err != nil {
			t.Fatal(err)
		}
		if name != "cache" {
			add("read "+name, "cat "+m.at(file))
		}
		add("write "+name, "echo x >>"+m.at(file))
		add("replace "+name, "mv "+m.at(file)+" "+m.at(file)+".old && mv "+m.at(file)+".old "+m.at(file))
	}
	add("list the work directories", "ls "+m.at("data/work/acme"))
	add("environment of the server", fmt.Sprintf(`tr "\0" "\n" </proc/%d/environ | grep -q PATH=`, os.Getpid()))
	add("signal to the server", fmt.Sprintf("kill -0 %d", os.Getpid()))
	m.script = script.String()
	return m
}

func (m *machine) at(name string) string { return filepath.Join(m.dir, filepath.FromSlash(name)) }

// attempts are the lines of the script's output that end in a word.
func attempts(output, word string) []string {
	var found []string
	for line := range strings.Lines(output) {
		if name, ok := strings.CutSuffix(strings.TrimSpace(line), ": "+word); ok {
			found = append(found, name)
		}
	}
	return found
}

func TestProvisionersOfAnApplyAreConfined(t *testing.T) {
	t.Parallel()
	needIsolation(t)
	m := newMachine(t)
	unconfined, err := exec.CommandContext(t.Context(), "sh", "-c", m.script).CombinedOutput()
	if err != nil || len(attempts(string(unconfined), "closed")) > 0 {
		t.Errorf("not everything is open for a program that is not confined: %v\n%s", err, unconfined)
	}
	all := attempts(string(unconfined), "open")
	answer := filepath.Join(m.states, "answer")
	code := root("resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"sh ./probe.sh >" + answer + "\"\n  }\n}\n")
	ours := `try "what init was done for" sh -c "echo x >../../kept/x"` + "\n" + `try "index of the tree" sh -c "echo x >>../../index"` + "\n" +
		// Of the processes around it the script finds the runner by its environment.
		`for p in $(seq $(($$ > 200 ? $$ - 200 : 1)) $$); do cat /proc/$p/environ /proc/$p/cmdline; done 2>/dev/null | grep -q . && ` +
		`echo "other processes: open" || echo "other processes: closed"` + "\n"
	task := m.reviewed(m.tree(map[string]string{"a/main.tf": code, "a/probe.sh": m.script + ours}), "a")
	task.WorkDir, task.CacheDir = m.at("data/work/acme/network-apply"), m.at("data/cache")
	if result := m.runApart(task); result.Error != "" || result.Targets[0].Outcome != operation.Applied {
		t.Fatalf("got %+v", result)
	}
	said, err := os.ReadFile(answer) //nolint:gosec // made by the test
	if err != nil {
		t.Fatal(err)
	}
	want := slices.Concat(all, []string{"what init was done for", "index of the tree", "other processes"})
	if diff := cmp.Diff(want, attempts(string(said), "closed")); diff != "" {
		t.Errorf("closed (-want +got):\n%s\n%s", diff, said)
	}
}

// Terraform's own functions read files while it plans: no provider is needed for an attack.
func TestFunctionsOfAPlanAreConfined(t *testing.T) {
	t.Parallel()
	needIsolation(t)
	m := newMachine(t)
	var code strings.Builder
	count := 0
	output := func(expression string) {
		fmt.Fprintf(&code, "output \"o%d\" {\n  value = try(%s, \"closed\")\n}\n", count, expression)
		count++
	}
	for _, file := range serverFiles {
		if file != serverFiles["cache"] {
			output(fmt.Sprintf("file(%q)", m.at(file)))
		}
	}
	output(fmt.Sprintf("filesha256(\"/proc/%d/environ\")", os.Getpid()))
	output("file(\"/etc/shadow\")")
	output("file(\"./link\")")
	tree := m.tree(map[string]string{"a/main.tf": root(code.String()), "a/link": link + m.at("app.pem")})
	task := m.task(operation.Plan, tree, "a")
	result := m.runApart(task)
	if result.Error != "" || len(result.Targets) != 1 || len(result.Targets[0].ChangeSet.Changes) != count {
		t.Fatalf("got %+v", result)
	}
	for _, change := range result.Targets[0].ChangeSet.Changes {
		if value := string(change.Attributes[0].After); value != `"closed"` {
			t.Errorf("%s: %s", change.Address, value)
		}
	}
	if os.Geteuid() == 0 { // what is opened by name is open, so the above shows something
		task.Isolation.Read = []string{"/"}
		open := 0
		for _, change := range m.runApart(task).Targets[0].ChangeSet.Changes {
			if string(change.Attributes[0].After) == `"secret"` {
				open++
			}
		}
		if open != len(serverFiles) { // all but the cache, and the link
			t.Errorf("with everything opened, %d files were read", open)
		}
	}
}

// runApart runs a task in a process of its own, as the executor does.
func (m *machine) runApart(task operation.Task) operation.Result {
	m.t.Helper()
	data, err := json.Marshal(task)
	if err != nil {
		m.t.Fatal(err)
	}
	runs := m.at("data/runs/9-1")
	if err := errors.Join(os.MkdirAll(runs, 0o700), os.WriteFile(filepath.Join(runs, "task.json"), data, 0o600)); err != nil {
		m.t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	cmd := exec.CommandContext(m.t.Context(), self, "run", filepath.Join(runs, "task.json"), filepath.Join(runs, "result.json"))
	cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + os.TempDir(), "RUNNER_SECRET=secret"}, runs
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Fatalf("%v: %s", err, out)
	}
	data, err = os.ReadFile(filepath.Join(runs, "result.json")) //nolint:gosec // made by the test
	if err != nil {
		m.t.Fatal(err)
	}
	var result operation.Result
	if err := json.Unmarshal(data, &result); err != nil {
		m.t.Fatal(err)
	}
	return result
}

func TestConfinementHoldsForAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the tests run as an ordinary user already")
	}
	dir, err := os.MkdirTemp("/tmp", "runner-user-") //nolint:usetesting // the other user must get into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const nobody = 65534
	temp, program := filepath.Join(dir, "tmp"), filepath.Join(dir, "runner.test")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(temp, 0o700), os.Chown(temp, nobody, nobody)); err != nil { //nolint:gosec // others must enter
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// Another program copies it: a file that we have open for writing while a parallel test forks cannot be executed.
	if out, err := exec.CommandContext(t.Context(), "cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run=Confined$")
	cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + temp, "HOME=" + temp}, temp
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	if err != nil || bytes.Count(out, []byte("--- PASS")) != 2 && len(confine.Missing()) == 0 {
		t.Errorf("as user %d: %v\n%s", nobody, err, out)
	}
}

func TestProtectionThatIsMissingIsRefused(t *testing.T) {
	t.Parallel()
	if len(confine.Missing()) == 0 {
		t.Skip("this kernel enforces everything")
	}
	w := newWorld(t)
	result := runner.Run(t.Context(), w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": root("")}), "a"), nopWriter{})
	if !strings.Contains(result.Error, "isolation.missing") {
		t.Errorf("got %+v", result)
	}
}
