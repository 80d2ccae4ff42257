package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan/plantest"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
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

// BenchmarkBigPlans is what a runner needs for a large plan, beside Terraform: a process of its own that runs a stand-in,
// reads what it shows and writes its result. It names the most memory that the process ever had, and how the time that it
// takes on all processors compares with what json.Decoder needs to read the same bytes as tokens; and then for the comment on
// the pull request, time and size. An apply has nothing reviewed: each change is asked about, and it plans twice.
func BenchmarkBigPlans(b *testing.B) {
	for kind, sizes := range map[operation.Kind][]int{operation.Plan: {100, 10_000, 50_000}, operation.Apply: {10_000}} {
		for _, shape := range []plantest.Shape{plantest.Kept, plantest.Created, plantest.CreatedUnlike} {
			for _, n := range sizes {
				b.Run(fmt.Sprintf("%s, %d %s", kind, n, shape), func(b *testing.B) {
					big := newBigPlan(b, kind, n, shape)
					var result operation.Result
					var most int64
					var took time.Duration
					for b.Loop() {
						var used *os.ProcessState
						result, used = big.run(b)
						most = max(most, peakOf(b, used))
						took += used.UserTime() + used.SystemTime()
					}
					begin := time.Now()
					comment := render.PullComment(render.PullView{Plan: &operation.Operation{
						Kind: kind, State: operation.Succeeded, Environment: "dev", Head: big.task.Commit, Result: &result,
					}})
					b.ReportMetric(float64(time.Since(begin).Milliseconds()), "comment-ms")
					b.ReportMetric(float64(len(comment)), "comment-bytes")
					b.ReportMetric(float64(big.size)/(1<<20), "JSON-MB")
					b.ReportMetric(float64(most)/(1<<20), "peak-MB")
					b.ReportMetric(took.Seconds()/float64(b.N), "processor-s")
					b.ReportMetric(took.Seconds()/float64(b.N)/big.decoder.Seconds(), "×decoder")
				})
			}
		}
	}
}

// bigPlan is a runner with a stand-in for Terraform that shows a large plan.
type bigPlan struct {
	task    operation.Task
	size    int64
	decoder time.Duration
	counts  operation.Counts
}

func newBigPlan(b *testing.B, kind operation.Kind, n int, shape plantest.Shape) bigPlan {
	b.Helper()
	w := newWorld(b)
	dir := b.TempDir()
	shown := filepath.Join(dir, "plan.json")
	size, err := plantest.WriteFile(shown, n, shape)
	if err != nil {
		b.Fatal(err)
	}
	planFile := filepath.Join(dir, "plan.bin")
	if err := terraformtest.WritePlanFile(planFile); err != nil {
		b.Fatal(err)
	}
	w.binary = filepath.Join(dir, "terraform")
	script := `#!/bin/sh
case $1 in
init) mkdir -p "$TF_DATA_DIR" && echo '{"backend":{"type":"azurerm"}}' >"$TF_DATA_DIR/terraform.tfstate" ;;
plan) for argument; do case $argument in -out=*) cat ` + planFile + ` >"${argument#-out=}" ;; esac; done ;;
show) cat ` + shown + ` ;;
esac
`
	if err := os.WriteFile(w.binary, []byte(script), 0o700); err != nil {
		b.Fatal(err)
	}
	big := bigPlan{task: w.task(kind, w.tree(map[string]string{"a/main.tf": root("")}), "a"), size: size}
	file, err := os.Open(shown)
	if err != nil {
		b.Fatal(err)
	}
	begin := processorTime(b)
	for decoder := json.NewDecoder(file); err == nil; {
		_, err = decoder.Token()
	}
	big.decoder = processorTime(b) - begin
	if err := file.Close(); err != nil {
		b.Fatal(err)
	}
	switch {
	case shape != plantest.Kept:
		big.counts = operation.Counts{Add: n}
	default:
		replaced := (n + 92) / 100
		big.counts = operation.Counts{Add: replaced, Destroy: replaced, Replace: replaced, Change: n / 10}
	}
	return big
}

// processorTime is what this process has used so far, on all processors.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
}

// peakOf is the most memory that a process had, in bytes: at least as much as this one had when it started it.
// https://man7.org/linux/man-pages/man2/getrusage.2.html
func peakOf(b *testing.B, process *os.ProcessState) int64 {
	b.Helper()
	usage, ok := process.SysUsage().(*syscall.Rusage)
	if !ok {
		b.Skip("this system does not say how much memory a process had")
	}
	return usage.Maxrss << 10 // Linux counts in KiB
}

// run runs it once, and gives the result and what the process used.
func (p bigPlan) run(b *testing.B) (operation.Result, *os.ProcessState) {
	b.Helper()
	dir := b.TempDir()
	taskFile, resultFile := filepath.Join(dir, "task.json"), filepath.Join(dir, "result.json")
	text, err := json.Marshal(p.task)
	if err != nil {
		b.Fatal(err)
	}
	if err := os.WriteFile(taskFile, text, 0o600); err != nil {
		b.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	cmd := exec.CommandContext(b.Context(), self, "run", taskFile, resultFile)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v\n%s", err, out)
	}
	text, err = os.ReadFile(resultFile)
	if err != nil {
		b.Fatal(err)
	}
	var result operation.Result
	if err := json.Unmarshal(text, &result); err != nil {
		b.Fatal(err)
	}
	if len(result.Targets) != 1 || result.Targets[0].ChangeSet.Counts != p.counts {
		b.Fatalf("%s: got %.2000s", result.Error, text)
	}
	return result, cmd.ProcessState
}
