package server_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/terraform"
)

// BenchmarkAction compares a job of the action that plans roots with `terraform init` and `terraform plan` of the same roots on the
// same machine, as many at a time. Both take turns. It says when the first Terraform process of the job begins, counted from the start of
// `switchyard action` (what GitHub does before that is not in it, neither the pull of the image nor container/fetch.sh), and what the job
// downloads from the repository, as the size of its mirror (Terraform and its providers are not in it): with a history of few
// commits, and with 200 more.
func BenchmarkAction(b *testing.B) {
	for _, c := range []struct{ roots, commits int }{{1, 0}, {1, 200}, {20, 0}, {200, 0}} {
		b.Run(fmt.Sprintf("roots=%d,commits=%d", c.roots, c.commits), func(b *testing.B) {
			m, roots := newManyRoots(b, c.roots, c.commits)
			var first, whole, bare []time.Duration
			var bytes int64
			m.took = func(began, ended time.Time, log, temp string) {
				whole = append(whole, ended.Sub(began))
				first = append(first, firstTerraform(b, log).Sub(began))
				bytes = sizeOf(b, filepath.Join(temp, "switchyard", "mirrors"))
			}
			task := m.manyRoots(roots)
			for i := 0; b.Loop(); i++ {
				task.Operation, task.Launch = int64(1000+i), fmt.Sprintf("%08d", i)
				if run, log := m.dispatch(task); run.Conclusion != "success" {
					b.Fatalf("the job ended with %s: %s", run.Conclusion, log)
				}
				bare = append(bare, m.bare(b, task.Commit, roots))
			}
			b.ReportMetric(0, "ns/op")
			b.ReportMetric(milliseconds(median(first)), "ms-action-to-first-terraform")
			b.ReportMetric(milliseconds(median(whole)), "ms-job")
			b.ReportMetric(milliseconds(median(bare)), "ms-init-plan")
			b.ReportMetric(ratio(whole, bare), "×-init-plan")
			b.ReportMetric(float64(bytes)/1024, "KiB-of-repository")
		})
	}
}

// newManyRoots is a yard with so many roots, and a pull request that changes all of them.
func newManyRoots(b *testing.B, count, commits int) (*machines, []string) {
	b.Helper()
	m := newMachines(b)
	m.stop() // it would plan and apply, too
	config := strings.Builder{}
	config.WriteString("version: 1\napplication: many\nenvironments:\n  dev: { branch: develop }\nexecutor: actions\nroots:\n")
	files, roots := map[string]string{}, []string{}
	for i := range count {
		root := fmt.Sprintf("infra/r%03d", i)
		roots = append(roots, root)
		fmt.Fprintf(&config, "  - dir: %s\n    backend: { path: %q }\n", root, filepath.Join(m.States, fmt.Sprintf("r%03d-{environment}.tfstate", i)))
		files[root+"/main.tf"] = rootFile
	}
	files[".github/switchyard.yml"] = config.String()
	m.push("main", files)
	m.push("develop", files)
	for i := range commits {
		m.push("develop", map[string]string{"notes.md": fmt.Sprintf("note %d\n", i)})
	}
	return m, roots
}

// manyRoots is a task that plans all roots on the tip of a pull request, without a merge.
func (m *machines) manyRoots(roots []string) operation.Task {
	m.t.Helper()
	head := m.push("feature/many", map[string]string{"README.md": "many\n"}, sandbox.PushOptions{From: "develop"})
	number, err := m.repo.OpenPull(m.ctx, "ben", sandbox.Pull{From: "feature/many", To: "develop", Title: "many"})
	if err != nil {
		m.t.Fatal(err)
	}
	task := operation.Task{
		Version: operation.ContractVersion, Attempt: 1, Kind: operation.Plan, Commit: head, Tree: m.treeOf(head),
		Repository:  operation.Repository{ID: m.repo.ID(), Owner: m.repo.Owner(), Name: m.repo.Name()},
		Environment: "dev",
		Job: &operation.Job{
			Workflow: "switchyard.yml", Ref: "switchyard/plans", Environment: "dev-plan", Branch: "develop", Pull: number, Shards: [][]string{roots},
		},
	}
	for _, root := range roots {
		task.Targets = append(task.Targets, operation.TargetTask{Target: operation.Target{Root: root, Environment: "dev"}})
	}
	return task
}

// treeOf is git's tree of a commit.
func (s *shop) treeOf(sha string) string {
	s.t.Helper()
	files, tree := s.t.TempDir(), []byte(nil)
	if err := s.repo.Export(s.ctx, sha, files); err != nil {
		s.t.Fatal(err)
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"add", "--all", "--force"}, {"write-tree"}} {
		var err error
		if tree, err = exec.CommandContext(s.ctx, "git", append([]string{"-C", files}, args...)...).Output(); err != nil {
			s.t.Fatal(err)
		}
	}
	return strings.TrimSpace(string(tree))
}

// bare is init and plan of all roots of a checkout, as many at a time as there are cores.
func (m *machines) bare(b *testing.B, commit string, roots []string) time.Duration {
	b.Helper()
	dir, home := b.TempDir(), b.TempDir()
	if err := m.repo.Export(m.ctx, commit, dir); err != nil {
		b.Fatal(err)
	}
	path, err := terraform.Find(m.ctx, terraform.Want{})
	if err != nil {
		b.Fatal(err)
	}
	began := time.Now()
	group, ctx := errgroup.WithContext(m.ctx)
	group.SetLimit(max(1, runtime.GOMAXPROCS(0)))
	for i, root := range roots {
		group.Go(func() error {
			for _, args := range [][]string{
				{"init", "-input=false", "-no-color", "-backend-config=path=" + filepath.Join(home, fmt.Sprintf("%d.tfstate", i))},
				{"plan", "-input=false", "-no-color", "-lock=false", "-out=plan"},
			} {
				command := exec.CommandContext(ctx, path, args...)
				command.Dir, command.Env = filepath.Join(dir, root), []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "CHECKPOINT_DISABLE=1"}
				if out, err := command.CombinedOutput(); err != nil {
					return fmt.Errorf("%s: %w: %s", args[0], err, out)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

// firstTerraform is when the runner began the first step that starts Terraform.
func firstTerraform(b *testing.B, log string) time.Time {
	b.Helper()
	lines := bufio.NewScanner(strings.NewReader(log))
	for lines.Scan() {
		var line runner.Progress
		if json.Unmarshal(lines.Bytes(), &line) == nil && (line.Step == runner.StepInit || line.Step == runner.StepPlan) {
			return line.Time
		}
	}
	b.Fatalf("Terraform did not run: %s", log)
	return time.Time{}
}

// sizeOf is how many bytes the files below a directory have.
func sizeOf(b *testing.B, dir string) int64 {
	b.Helper()
	size := int64(0)
	err := filepath.WalkDir(dir, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
	return size
}
