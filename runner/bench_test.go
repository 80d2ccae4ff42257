package runner_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
)

// BenchmarkPlan compares a plan by the runner with the bare commands, one root after the other, in the same tree.
func BenchmarkPlan(b *testing.B) {
	for _, roots := range []int{1, 5} {
		files := map[string]string{}
		var dirs []string
		for i := range roots {
			dirs = append(dirs, fmt.Sprintf("r%d", i))
			files[dirs[i]+"/main.tf"] = root(data("x", "1"))
		}
		b.Run(fmt.Sprintf("bare, %d roots", roots), func(b *testing.B) {
			w := newWorld(b)
			tree := w.tree(files)
			for b.Loop() {
				bare(b, w, tree, dirs)
			}
		})
		b.Run(fmt.Sprintf("new directory, %d roots", roots), func(b *testing.B) {
			w := newWorld(b)
			task := w.task(operation.Plan, w.tree(files), dirs...)
			for i := 0; b.Loop(); i++ {
				task.WorkDir = filepath.Join(w.work, strconv.Itoa(i))
				mustPlan(b, task)
			}
		})
		b.Run(fmt.Sprintf("kept directory, %d roots", roots), func(b *testing.B) {
			w := newWorld(b)
			task := w.task(operation.Plan, w.tree(files), dirs...)
			for b.Loop() {
				mustPlan(b, task)
			}
		})
	}
}

func mustPlan(b *testing.B, task operation.Task) {
	b.Helper()
	for _, target := range runner.Run(b.Context(), task, nopWriter{}).Targets {
		if target.Outcome != operation.Planned {
			b.Fatalf("got %+v", target)
		}
	}
}

// bare checks out a tree and runs init, plan and show.
func bare(b *testing.B, w *world, tree string, dirs []string) {
	b.Helper()
	dir := b.TempDir()
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=/dev/null", "GIT_DIR=" + w.git}
	run := func(dir, name string, args ...string) {
		cmd := exec.CommandContext(b.Context(), name, args...)
		cmd.Dir = dir
		cmd.Env = append(slices.Clone(env), "GIT_WORK_TREE="+dir, "GIT_INDEX_FILE="+filepath.Join(dir, "..", filepath.Base(dir)+".index"))
		if out, err := cmd.CombinedOutput(); err != nil {
			b.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
	}
	run(dir, "git", "read-tree", "--reset", "-u", tree)
	for _, root := range dirs {
		run(filepath.Join(dir, root), w.binary, "init", "-input=false", "-backend-config=path="+w.state(root))
		run(filepath.Join(dir, root), w.binary, "plan", "-input=false", "-lock=false", "-out=p")
		run(filepath.Join(dir, root), w.binary, "show", "-json", "p")
	}
}
