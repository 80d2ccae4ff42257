package runner_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

func TestKeptDirectorySkipsInit(t *testing.T) {
	t.Parallel()
	base := func() map[string]string {
		return map[string]string{
			"a/main.tf": root(data("x", "1") + "module \"m\" {\n  source = \"../m\"\n}\n"), "m/main.tf": data("y", "1"), "n/main.tf": data("z", "1"),
			"a/old.tf": data("old", "1"), "README.md": "words",
		}
	}
	for name, c := range map[string]struct {
		edit   func(files map[string]string, task *operation.Task)
		init   bool
		change string
	}{
		"when nothing changed": {func(map[string]string, *operation.Task) {}, false, "terraform_data.x"},
		"when a value changed": {func(f map[string]string, _ *operation.Task) {
			f["a/main.tf"] = strings.Replace(f["a/main.tf"], "= 1", "= 2", 1)
		}, false, "terraform_data.x"},
		"when a resource is new": {
			func(f map[string]string, _ *operation.Task) { f["a/new.tf"] = data("new", "1") }, false, "terraform_data.new",
		},
		"when a module's code changed": {
			func(f map[string]string, _ *operation.Task) { f["m/main.tf"] += data("w", "1") }, false, "module.m.terraform_data.w",
		},
		"not when the backend settings changed": {
			func(_ map[string]string, task *operation.Task) { task.Targets[0].Backend["path"] += ".other" }, true, "terraform_data.x",
		},
		"not when a module is new": {
			func(f map[string]string, _ *operation.Task) { f["a/n.tf"] = "module \"n\" {\n  source = \"../n\"\n}\n" },
			true, "module.n.terraform_data.z",
		},
		"not when the lock file changed": {
			func(f map[string]string, _ *operation.Task) { f["a/.terraform.lock.hcl"] = "# by hand\n" }, true, "terraform_data.x",
		},
		"not when the terraform block changed": {
			func(f map[string]string, _ *operation.Task) {
				f["a/v.tf"] = "terraform {\n  required_version = \">= 1.0\"\n}\n"
			}, true, "terraform_data.x",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			files := base()
			if first := w.do(w.task(operation.Plan, w.tree(files), "a")).Targets[0]; first.Timings.Init == 0 || first.Processes != 3 {
				t.Fatalf("the first time: %+v", first)
			}
			task := w.task(operation.Plan, "", "a")
			delete(files, "a/old.tf")
			c.edit(files, &task)
			task.Tree = w.tree(files)
			got := w.do(task).Targets[0]
			if inited := got.Timings.Init != 0; got.Outcome != operation.Planned || inited != c.init {
				t.Errorf("init %v: %+v", inited, got)
			}
			list := strings.Join(addresses(got.ChangeSet.Changes), "\n")
			if !strings.Contains(list, "create "+c.change) || strings.Contains(list, "old") {
				t.Errorf("planned an old tree: %s", list)
			}
		})
	}
}

func TestKeptDirectoryHasNothingOfEarlierPlans(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	first := w.tree(map[string]string{"a/main.tf": root(data("x", "1")), "a/same.tf": data("same", "1"), "deep/er/file": "x"})
	w.do(w.task(operation.Plan, first, "a"))
	inTree := func(name string) string { return filepath.Join(w.work, "tree", name) }
	for name, content := range map[string]string{
		"a/untracked.tf": data("untracked", "1"), "a/same.tf": data("tampered", "1"), ".gitignore": "*.tf", "a/terraform.tfstate": "{}",
	} {
		if err := os.WriteFile(inTree(name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.MkdirAll(inTree("nested/.git/objects"), 0o700); err != nil {
		t.Fatal(err)
	}
	second := w.tree(map[string]string{"a/main.tf": root(data("x", "1")), "a/same.tf": data("same", "1"), "deep": "now a file"})
	got := w.do(w.task(operation.Plan, second, "a")).Targets[0]
	if diff := cmp.Diff([]string{"create terraform_data.same", "create terraform_data.x"}, addresses(got.ChangeSet.Changes)); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{"nested", ".gitignore", "a/untracked.tf", "a/terraform.tfstate"} {
		if _, err := os.Lstat(inTree(name)); !os.IsNotExist(err) {
			t.Errorf("%s is still there", name)
		}
	}
	if content, err := os.ReadFile(inTree("deep")); err != nil || string(content) != "now a file" {
		t.Errorf("got %q, %v", content, err)
	}
}

func TestKeptDirectoryThatIsBrokenIsMadeAnew(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": root(data("x", "1"))})
	w.do(w.task(operation.Plan, tree, "a"))
	for name, breakIt := range map[string]func() error{
		"a broken index":        func() error { return os.WriteFile(filepath.Join(w.work, "index"), []byte("x"), 0o600) },
		"a lock of a dead git":  func() error { return os.WriteFile(filepath.Join(w.work, "index.lock"), nil, 0o600) },
		"no providers, no data": func() error { return os.RemoveAll(filepath.Join(w.work, "data")) },
		"a tree that is a file": func() error {
			if err := os.RemoveAll(filepath.Join(w.work, "tree")); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(w.work, "tree"), nil, 0o600)
		},
		"data that is a link": func() error {
			return errors.Join(os.RemoveAll(filepath.Join(w.work, "data")), os.Symlink(t.TempDir(), filepath.Join(w.work, "data")))
		},
		"a note that is not readable": func() error {
			return os.WriteFile(filepath.Join(w.work, "kept", "x"), []byte("{"), 0o600)
		},
	} {
		if err := breakIt(); err != nil {
			t.Fatal(err)
		}
		result := w.do(w.task(operation.Plan, tree, "a"))
		if result.Error != "" || result.Targets[0].Outcome != operation.Planned {
			t.Errorf("%s: %+v", name, result)
		}
	}
}

func TestTerraformThatAsksForInitGetsIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fake := terraformtest.New(t, nil)
	w.binary = fake.Path
	tree := w.tree(map[string]string{"a/main.tf": root("")})
	w.do(w.task(operation.Plan, tree, "a"))
	fake.Change(t, map[string]terraformtest.Act{
		"plan": {Exit: 1, Once: true, Stderr: "Error: Module not installed\n\nRun \"terraform init\"."},
	})
	result := w.do(w.task(operation.Plan, tree, "a"))
	if diff := cmp.Diff([]string{"init", "plan", "show", "plan", "init", "plan", "show"}, fake.Commands(t)); diff != "" {
		t.Error(diff)
	}
	if result.Targets[0].Outcome != operation.Unchanged {
		t.Errorf("got %+v", result)
	}
}

func TestLockFileOfInitIsPutBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fake := terraformtest.New(t, map[string]terraformtest.Act{"init": {Files: map[string]string{".terraform.lock.hcl": "# with hashes"}}})
	w.binary = fake.Path
	tree := w.tree(map[string]string{"a/main.tf": root(""), "a/.terraform.lock.hcl": "# committed"})
	for range 3 {
		result := w.do(w.task(operation.Plan, tree, "a"))
		if result.Error != "" {
			t.Fatal(result.Error)
		}
		if kept := result.Targets[0].LockFile; kept == nil || kept.Text != "# with hashes" || len(kept.Hash) != 64 {
			t.Errorf("the result has %+v", kept)
		}
		content, err := os.ReadFile(filepath.Join(w.work, "tree/a/.terraform.lock.hcl"))
		if err != nil || string(content) != "# with hashes" {
			t.Errorf("got %q, %v", content, err)
		}
	}
	if diff := cmp.Diff([]string{"init", "plan", "show", "plan", "show", "plan", "show"}, fake.Commands(t)); diff != "" {
		t.Error(diff)
	}
}

func TestApplyNeverUsesWhatAPlanLeft(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fake := terraformtest.New(t, nil)
	w.binary = fake.Path
	tree := w.tree(map[string]string{"a/main.tf": root("")})
	w.do(w.task(operation.Plan, tree, "a"))
	if err := os.WriteFile(filepath.Join(w.work, "tree/a/left.tf"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	task := w.task(operation.Apply, tree, "a")
	task.WorkDir = w.work
	w.do(task)
	if diff := cmp.Diff([]string{"init", "plan", "show", "init", "plan", "show"}, fake.Commands(t)); diff != "" {
		t.Error(diff)
	}
}
