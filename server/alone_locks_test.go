package server_test

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/act"
	"github.com/switchyard-dev/switchyard/sandbox/act/acttest"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// The day on which the server is down: a person starts switchyard-break-lease.yml, and another one lets its second job begin.

// lockJobs are the jobs of that workflow, in this process.
type lockJobs struct {
	t testing.TB

	mu        sync.Mutex
	summaries map[string]string // of the newest job of a key
}

// run does what GitHub's machine does with the one step of a job.
func (l *lockJobs) run(ctx context.Context, j *sandbox.Job, _ sandbox.Tell) sandbox.JobResult {
	dir := l.t.TempDir()
	env := maps.Clone(j.Environment)
	command := map[string]string{"show": "lock-show", "break": "lock-break"}[j.Key]
	maps.Copy(env, map[string]string{
		"PATH": os.Getenv("PATH"), "INPUT_GITHUB_TOKEN": j.Token, "INPUT_COMMAND": command, "GITHUB_WORKSPACE": filepath.Join(dir, "workspace"),
		"RUNNER_TEMP": filepath.Join(dir, "temp"), "GITHUB_OUTPUT": filepath.Join(dir, "output"), "GITHUB_STEP_SUMMARY": filepath.Join(dir, "summary"),
	})
	for _, name := range []string{"environment", "root", "lock-id", "reason"} {
		value, _ := j.Inputs[name].(string)
		env["INPUT_"+strings.ToUpper(strings.ReplaceAll(name, "-", "_"))] = value
	}
	for _, name := range []string{"GITHUB_WORKSPACE", "RUNNER_TEMP"} {
		if err := os.Mkdir(env[name], 0o750); err != nil {
			l.t.Error(err)
		}
	}
	all := []string{}
	for name, value := range env {
		all = append(all, name+"="+value)
	}
	var log bytes.Buffer
	lookup := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	err := server.ActionWith(ctx, lookup, all, &log, zerolog.Nop(), operation.Isolation{Missing: confine.Missing()})
	summary, _ := os.ReadFile(env["GITHUB_STEP_SUMMARY"])
	l.mu.Lock()
	l.summaries[j.Key] = log.String() + string(summary)
	l.mu.Unlock()
	if err != nil {
		return sandbox.JobResult{Conclusion: "failure", Outputs: outputsIn(l.t, env["GITHUB_OUTPUT"])}
	}
	return sandbox.JobResult{Conclusion: "success", Outputs: outputsIn(l.t, env["GITHUB_OUTPUT"])}
}

// leaseWorld has a state whose lock a laptop holds, and the workflow that breaks locks.
type leaseWorld struct {
	*lone

	t      *testing.T
	states *states
}

const laptopLock = "cccccccc-1111-2222-3333-444444444444"

func newLeaseWorld(t *testing.T, runner sandbox.JobRunner) *leaseWorld {
	t.Helper()
	w := &leaseWorld{lone: &lone{now: aheadClock{Clock: clockwork.NewRealClock()}}, t: t, states: newStates(t)}
	address := w.states.url + "/{environment}"
	w.begin(t, map[string]string{
		".github/workflows/switchyard-break-lease.yml": template(t, "switchyard-break-lease.yml"),
		".github/switchyard.yml": strings.ReplaceAll(oneRoot, `{ path: "STATES/{application}-{environment}.tfstate" }`,
			fmt.Sprintf(`{ address: %q, lock_address: %q, unlock_address: %q }`, address, address, address)),
		"infra/main.tf": strings.ReplaceAll(rootFile, `"local"`, `"http"`),
	}, t.TempDir(), runner)
	w.repo.SetRole(story.Cleo, sandbox.Maintain)
	if err := w.repo.SetEnvironment(sandbox.Environment{Name: "dev", Reviewers: []string{story.Cleo, story.Ana}}); err != nil {
		t.Fatal(err)
	}
	w.states.laptop("dev", laptopLock)
	return w
}

// runs starts the workflow, has somebody review its second job, and gives how it ended.
func (w *leaseWorld) runs(by, reviewer, id string) sandbox.Run {
	w.t.Helper()
	run, err := w.repo.Dispatch(w.ctx, by, "switchyard-break-lease.yml", "develop", map[string]any{
		"environment": "dev", "root": "infra", "lock-id": id, "reason": "the laptop is lost",
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if reviewer != "" {
		w.eventually("a job that waits for a reviewer", func() bool {
			return w.repo.ReviewDeployment(w.ctx, reviewer, run, "dev", true) == nil
		})
	}
	ended, err := w.repo.AwaitRun(w.ctx, run, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return ended
}

func TestALockIsBrokenWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	jobs := &lockJobs{t: t, summaries: map[string]string{}}
	w := newLeaseWorld(t, sandbox.JobFunc(jobs.run))
	expect := func(by, reviewer, id, conclusion string, words ...string) {
		t.Helper()
		ended := w.runs(by, reviewer, id)
		jobs.mu.Lock()
		defer jobs.mu.Unlock()
		said := jobs.summaries["show"] + jobs.summaries["break"]
		if ended.Conclusion != conclusion {
			t.Fatalf("it ends with %s: %s", ended.Conclusion, said)
		}
		for _, word := range words {
			if !strings.Contains(said, word) {
				t.Errorf("it does not say %q: %s", word, said)
			}
		}
	}
	expect(story.Ben, "", "", "success", laptopLock, "mia@laptop", "OperationTypeApply")
	expect(story.Ana, "", "dddddddd-1111-2222-3333-444444444444", "failure", "is not there")
	expect(story.Ana, story.Ana, laptopLock, "failure", "Another person than `ana` has to let it begin")
	expect(story.Ben, story.Cleo, laptopLock, "failure", "because that needs maintain permission, and `ben` has `write`.")
	if holder := w.states.holder("dev"); holder != laptopLock {
		t.Fatalf("%q holds the lock", holder)
	}
	expect(story.Ana, story.Cleo, laptopLock, "success", "in dev is free")
	if holder := w.states.holder("dev"); holder != "" {
		t.Errorf("%q still holds the lock", holder)
	}
}

// The workflow that people copy, with the action as it is released, in jobs that act runs.
func TestALockIsBrokenInRealJobsWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	action := releasedAction(t)
	w := newLeaseWorld(t, acttest.Runner(t, func(a *act.Options) { a.Environment = map[string]string{writable: t.TempDir()} }))
	if err := w.Box.RegisterAction(w.ctx, "switchyard-dev", "switchyard", action, "RELEASE"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(logsOf(w.repo.Runs()...))
		}
	})
	if run := w.runs(story.Ana, story.Ana, laptopLock); run.Conclusion != "failure" || w.states.holder("dev") != laptopLock {
		t.Fatal("who asked may let it begin")
	}
	run := w.runs(story.Ana, story.Cleo, laptopLock)
	if run.Conclusion != "success" || w.states.holder("dev") != "" {
		t.Errorf("it ends with %s, and %q holds the lock", run.Conclusion, w.states.holder("dev"))
	}
}
