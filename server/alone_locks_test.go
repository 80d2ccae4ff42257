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

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
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

func TestALockIsBrokenWhileTheServerIsDown(t *testing.T) {
	t.Parallel()
	const held = "cccccccc-1111-2222-3333-444444444444"
	workflow, err := os.ReadFile("../workflows-templates/switchyard-break-lease.yml")
	if err != nil {
		t.Fatal(err)
	}
	states := newStates(t)
	address := states.url + "/{environment}"
	l, jobs := &lone{}, &lockJobs{t: t, summaries: map[string]string{}}
	l.begin(t, map[string]string{
		".github/workflows/switchyard-break-lease.yml": string(workflow),
		".github/switchyard.yml": strings.ReplaceAll(oneRoot, `{ path: "STATES/{application}-{environment}.tfstate" }`,
			fmt.Sprintf(`{ address: %q, lock_address: %q, unlock_address: %q }`, address, address, address)),
		"infra/main.tf": strings.ReplaceAll(rootFile, `"local"`, `"http"`),
	}, t.TempDir(), sandbox.JobFunc(jobs.run))
	l.repo.SetRole(story.Cleo, sandbox.Maintain)
	if err := l.repo.SetEnvironment(sandbox.Environment{Name: "dev", Reviewers: []string{story.Cleo, story.Ana}}); err != nil {
		t.Fatal(err)
	}
	states.laptop("dev", held)
	// start starts the workflow, has somebody review its second job, and gives how it ended.
	start := func(by, reviewer, id string) (string, string) {
		t.Helper()
		run, err := l.repo.Dispatch(l.ctx, by, "switchyard-break-lease.yml", "develop", map[string]any{
			"environment": "dev", "root": "infra", "lock-id": id, "reason": "the laptop is lost",
		})
		if err != nil {
			t.Fatal(err)
		}
		if reviewer != "" {
			l.eventually("a job that waits for a reviewer", func() bool {
				return l.repo.ReviewDeployment(l.ctx, reviewer, run, "dev", true) == nil
			})
		}
		ended, err := l.repo.AwaitRun(l.ctx, run, nil)
		if err != nil {
			t.Fatal(err)
		}
		jobs.mu.Lock()
		defer jobs.mu.Unlock()
		return ended.Conclusion, jobs.summaries["show"] + jobs.summaries["break"]
	}
	expect := func(conclusion, said, wantConclusion string, words ...string) {
		t.Helper()
		if conclusion != wantConclusion {
			t.Fatalf("it ends with %s: %s", conclusion, said)
		}
		for _, word := range words {
			if !strings.Contains(said, word) {
				t.Errorf("it does not say %q: %s", word, said)
			}
		}
	}

	end, said := start(story.Ben, "", "")
	expect(end, said, "success", held, "mia@laptop", "OperationTypeApply")
	end, said = start(story.Ana, "", "dddddddd-1111-2222-3333-444444444444")
	expect(end, said, "failure", "is not there")
	end, said = start(story.Ana, story.Ana, held)
	expect(end, said, "failure", "Another person than `ana` has to let it begin")
	end, said = start(story.Ben, story.Cleo, held)
	expect(end, said, "failure", "because that needs maintain permission, and `ben` has `write`.")
	if holder := states.holder("dev"); holder != held {
		t.Fatalf("%q holds the lock", holder)
	}
	end, said = start(story.Ana, story.Cleo, held)
	expect(end, said, "success", "in dev is free")
	if holder := states.holder("dev"); holder != "" {
		t.Errorf("%q still holds the lock", holder)
	}
}
