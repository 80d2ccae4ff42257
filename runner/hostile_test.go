package runner_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

func TestNamesAreJustNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	names := []string{"my root", `quo"te's`, "$(touch pwned)", "-lock", "line\nbreak", "räume/österreich", "..a", strings.Repeat("n", 200)}
	files := map[string]string{}
	for _, name := range names {
		files[name+"/main.tf"] = root(data("x", "var.v") + "variable \"v\" {}\n")
		files[name+"/-var-file=; id.tfvars"] = "v = 1\n"
	}
	task := w.task(operation.Plan, w.tree(files), names...)
	for i := range task.Targets {
		task.Targets[i].VarFiles = []string{"-var-file=; id.tfvars"}
		task.Targets[i].Backend["path"] = filepath.Join(w.states, "$(x) \"y\" "+string(rune('a'+i)))
	}
	result := w.do(task)
	for i, target := range result.Targets {
		if target.Outcome != operation.Planned {
			t.Errorf("%q: %+v", names[i], target)
		}
	}
	for i := range task.Targets {
		task.Targets[i].Expected = &result.Targets[i].ChangeSet
	}
	task.Kind, task.WorkDir = operation.Apply, filepath.Join(t.TempDir(), "apply")
	for i, target := range w.do(task).Targets {
		if target.Outcome != operation.Applied {
			t.Errorf("%q: %+v", names[i], target)
		}
	}
}

func TestRootsOutsideOfTheTreeAreRefused(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "main.tf"), []byte(root("")), 0o600); err != nil {
		t.Fatal(err)
	}
	tree := w.tree(map[string]string{
		"real/main.tf": root(""), "inner": link + "real", "outer": link + outside, "up": link + "../../..", "file": "x",
		"loop": link + "loop",
	})
	result := w.do(w.task(operation.Plan, tree, "inner", "outer", "up", "file", "loop"))
	refused := operation.TargetFailed
	want := []operation.Outcome{operation.Unchanged, refused, refused, refused, refused}
	if diff := cmp.Diff(want, outcomes(result)); diff != "" {
		t.Error(diff, result.Targets)
	}
	for i, says := range []string{"", "leads out of the repository", "leads out of the repository", "not a directory", "not in this commit"} {
		if !strings.Contains(result.Targets[i].Error, says) {
			t.Errorf("got %q", result.Targets[i].Error)
		}
	}
	for _, dir := range []string{"../x", "/etc", "a/../../b", ".."} {
		if result := w.do(w.task(operation.Plan, tree, dir)); !strings.Contains(result.Error, "not within the tree") {
			t.Errorf("%s: %+v", dir, result)
		}
	}
}

func TestLinksAreNotFollowedForWrites(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	outside := t.TempDir()
	w.open = []string{outside} // following a link would work
	victims := map[string]string{}
	for _, name := range []string{"lock", "errored", "sub/file", "data"} {
		victim := filepath.Join(outside, name)
		if err := os.MkdirAll(filepath.Dir(victim), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(victim, []byte("# precious"), 0o600); err != nil {
			t.Fatal(err)
		}
		victims[name] = victim
	}
	links := map[string]string{
		"a/main.tf":             root(data("x", "1")),
		"a/.terraform.lock.hcl": link + victims["lock"],
		"a/errored.tfstate":     link + victims["errored"],
		"a/.terraform":          link + outside,
		"b":                     link + filepath.Join(outside, "sub"),
	}
	first := w.tree(links)
	if result := w.do(w.task(operation.Plan, first, "a")); len(result.Targets) != 1 || result.Targets[0].LockFile != nil {
		t.Errorf("got %+v", result)
	}
	delete(links, "b") // what was a link becomes a directory, in a work directory that is kept
	links["b/file"] = "from the repository"
	second := w.tree(links)
	w.do(w.task(operation.Plan, second, "a"))
	w.do(w.reviewed(second, "a"))
	w.do(w.task(operation.Plan, first, "a"))
	for name, victim := range victims {
		if content, err := os.ReadFile(victim); err != nil || string(content) != "# precious" {
			t.Errorf("%s: %q, %v", name, content, err)
		}
	}
	entries, err := os.ReadDir(outside)
	if err != nil || len(entries) != len(victims) {
		t.Errorf("outside there is %v, %v", entries, err)
	}
}

func TestFilesNamedLikeOursAreJustFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	files := map[string]string{
		"a/main.tf": root(data("x", "1")), "a/.terraform/environment": "other", "a/.terraform/terraform.tfstate": "{broken",
	}
	for _, name := range []string{
		"lock", "index", "index.lock", "plans", "home", "data", "kept", "errored", "tree/x", "task.json", "result.json",
	} {
		files[name] = "of the repository"
		files["a/"+name] = "of the repository"
	}
	task := w.reviewed(w.tree(files), "a")
	if result := w.do(task); result.Targets[0].Outcome != operation.Applied {
		t.Errorf("got %+v", result)
	}
	if content, err := os.ReadFile(filepath.Join(w.work, "tree", "index")); err != nil || string(content) != "of the repository" {
		t.Errorf("got %q, %v", content, err)
	}
}

func TestCommittedErroredStateIsNotTakenForTerraforms(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failing := root("resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n    command = \"exit 1\"\n  }\n}\n")
	result := w.do(w.reviewed(w.tree(map[string]string{"a/main.tf": failing, "a/errored.tfstate": "{}"}), "a"))
	if result.Targets[0].Outcome != operation.TargetFailed || strings.Contains(result.Targets[0].Error, "state push") {
		t.Errorf("got %+v", result.Targets[0])
	}
}

func TestUnsavedStateIsKeptAndNamed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fake := terraformtest.New(t, map[string]terraformtest.Act{
		"apply": {Exit: 1, Stderr: "Error: Failed to save state", Files: map[string]string{"errored.tfstate": "the only copy"}},
		"show":  {Stdout: changedPlan},
		"state": {Exit: 1, Stderr: "Error: Failed to write state: cannot import state with serial 1"},
	})
	w.binary = fake.Path
	task := w.reviewed(w.tree(map[string]string{"a/main.tf": root("")}), "a")
	for attempt := range 3 { // a second attempt in the same place loses nothing, nor does another job with the same numbers
		task.Attempt, task.Launch = min(attempt+1, 2), fmt.Sprintf("launch-%d", attempt)
		result := w.do(task)
		_, after, found := strings.Cut(result.Targets[0].Error, "It is kept in ")
		kept, _, _ := strings.Cut(after, " on the machine")
		if content, err := os.ReadFile(kept); !found || err != nil || string(content) != "the only copy" {
			t.Fatalf("got %q, %q, %v", result.Targets[0].Error, content, err)
		}
	}
	kept, err := os.ReadDir(filepath.Join(task.WorkDir, "errored"))
	if err != nil || len(kept) != 3 {
		t.Errorf("kept %v, %v", kept, err)
	}
}

// changedPlan is the JSON of a plan with one change.
const changedPlan = `{"format_version":"1.2","terraform_version":"1.11.4",` +
	`"resource_changes":[{"address":"terraform_data.x","mode":"managed",` +
	`"type":"terraform_data","name":"x","provider_name":"terraform.io/builtin/terraform","change":{"actions":["create"],"before":null,` +
	`"after":{"input":1},"after_unknown":{"id":true},"before_sensitive":false,"after_sensitive":{}}}]}`

// localBackend is a backend with its path in the code.
func localBackend(path string) string {
	return "terraform {\n  backend \"local\" {\n    path = \"" + path + "\"\n  }\n}\n"
}

func TestStateThatWouldBeLostIsNotApplied(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ files, want string }{
		"without a backend":                     {data("x", "1"), "has no backend"},
		"with a local one in the checkout":      {root(data("x", "1")), "into the checkout"},
		"with a path that climbs in the work":   {localBackend("../../kept/s") + data("x", "1"), "into the checkout"},
		"with an absolute path in the checkout": {localBackend("WORK/tree/s") + data("x", "1"), "into the checkout"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			task := w.task(operation.Apply, "", "a")
			task.Tree = w.tree(map[string]string{"a/main.tf": strings.ReplaceAll(c.files, "WORK", task.WorkDir)})
			task.Targets[0].Backend = nil
			result := w.do(task)
			if result.Targets[0].Outcome != operation.TargetFailed || !strings.Contains(result.Targets[0].Error, c.want) {
				t.Errorf("got %+v", result)
			}
		})
	}
}
