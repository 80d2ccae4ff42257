package sandbox_test

import (
	"archive/zip"
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/act/acttest"
)

// withAct is a world whose jobs are really run.
func withAct(t *testing.T) *world {
	t.Helper()
	runner := acttest.Runner(t)
	return newWorld(t, func(o *sandbox.Options) { o.Actions = &sandbox.ActionsOptions{Runner: runner} })
}

// commit puts files onto a branch.
func (w *world) commit(branch string, files map[string]string) string {
	w.t.Helper()
	sha, err := w.repo.Push(w.ctx, "ana", branch, files, "Change workflows")
	w.must(err)
	return sha
}

// only waits until exactly one run of that event was started and has completed.
func (w *world) only(event string) sandbox.Run {
	w.t.Helper()
	var found []sandbox.Run
	w.must(w.Await(w.ctx, func() bool {
		found = nil
		for _, run := range w.repo.Runs() {
			if run.Event == event {
				found = append(found, run)
			}
		}
		return w.Started() && len(found) > 0 && found[len(found)-1].Status == "completed"
	}))
	if len(found) != 1 {
		w.t.Fatalf("expected one run of %s, actual %d", event, len(found))
	}
	return found[0]
}

// lines are the log of a run's job without the times.
func logOf(t *testing.T, run sandbox.Run, job string) []string {
	t.Helper()
	j, ok := run.Job(job)
	if !ok {
		t.Fatalf("no job %q in %+v", job, run)
	}
	var lines []string
	for line := range strings.Lines(j.Log) {
		_, words, _ := strings.Cut(strings.TrimSpace(line), " ")
		lines = append(lines, words)
	}
	return lines
}

// steps are the names of a job's steps and how they ended.
func stepsOf(t *testing.T, run sandbox.Run, job string) []string {
	t.Helper()
	j, _ := run.Job(job)
	steps := make([]string, 0, len(j.Steps))
	for _, step := range j.Steps {
		steps = append(steps, step.Name+": "+step.Conclusion)
	}
	return steps
}

func TestWorkflowEchoesUnderAct(t *testing.T) {
	t.Parallel()
	w := withAct(t)
	w.repo.SetVariable("GREETING", "hello")
	w.repo.SetSecret("PASSWORD", "swordfish")
	sha := w.commit("main", map[string]string{".github/workflows/echo.yml": `
name: Echo
on:
  push: { branches: [main] }
  workflow_dispatch:
    inputs:
      name: { required: true }
      loud: { type: boolean, default: false }
run-name: Echo ${{ inputs.name || github.ref_name }}
permissions: { contents: read, id-token: write }
jobs:
  echo:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8 # v6
      - name: Say it
        env:
          PASSWORD: ${{ secrets.PASSWORD }}
          NAME: ${{ inputs.name }}
        run: |
          echo "${{ vars.GREETING }} $NAME loud=${{ inputs.loud }} $PASSWORD"
          echo "at $(git rev-parse HEAD) on $GITHUB_REF of $GITHUB_REPOSITORY by $GITHUB_ACTOR"
          cat README.md
          echo "### done" >> "$GITHUB_STEP_SUMMARY"
          echo "::error title=Oh::it is $PASSWORD"
          echo "::stop-commands::xyz"; echo "::error::no command"; echo "::xyz::"
          echo "runtime=[$ACTIONS_RUNTIME_TOKEN] identity=[${ACTIONS_ID_TOKEN_REQUEST_URL:+there}] home=[${SECRET_OF_THE_HOST}]"
`})
	run := w.only("push")
	want := []string{
		sha, "hello  loud= ***", "at " + sha + " on refs/heads/main of acme/network by ana", "# network",
		"##[error]it is ***", "::error::no command", "runtime=[] identity=[there] home=[]",
	}
	if diff := cmp.Diff(want, logOf(t, run, "echo")); diff != "" {
		t.Error(diff)
	}
	if job, _ := run.Job("echo"); run.Conclusion != "success" || run.Title != "Echo main" || job.Summary != "### done\n" {
		t.Errorf("%+v", run)
	}
	wantSteps := []string{"Set up job: success", "actions/checkout@main: success", "Say it: success", "Complete job: success"}
	if diff := cmp.Diff(wantSteps, stepsOf(t, run, "echo")); diff != "" {
		t.Error(diff)
	}
	id, err := w.repo.Dispatch(w.ctx, "ben", "echo.yml", "main", map[string]any{"name": "$(id) ${{ secrets.PASSWORD }}", "loud": "true"})
	w.must(err)
	if run = w.run(id, nil); run.Conclusion != "success" || run.Title != "Echo $(id) ${{ secrets.PASSWORD }}" ||
		logOf(t, run, "echo")[1] != "hello $(id) ${{ secrets.PASSWORD }} loud=true ***" {
		t.Errorf("%+v", run)
	}
}

const called = `
name: Called
on:
  workflow_call:
    inputs:
      command: { type: string, required: true }
      shards: { type: string, default: '["0"]' }
      protection: { type: string, default: "" }
    outputs:
      said: { value: "${{ jobs.work.outputs.said }}" }
permissions: {}
jobs:
  work:
    runs-on: ${{ fromJSON('["ubuntu-latest","x"]') }}
    environment: ${{ inputs.protection }}
    permissions: { contents: read, id-token: write }
    strategy:
      matrix:
        shard: ${{ fromJSON(inputs.shards) }}
    outputs: { said: "${{ steps.say.outputs.said }}" }
    steps:
      - id: say
        env: { KEY: "${{ secrets.KEY }}" }
        run: |
          echo "${{ inputs.command }} in ${{ vars.REGION }}, shard ${{ matrix.shard }}, a key of ${#KEY}"
          echo "said=shard ${{ matrix.shard }}" >> $GITHUB_OUTPUT
          mkdir -p out/deep; echo "${{ matrix.shard }}" > out/deep/result.txt; echo top > out/top.txt
      - uses: actions/upload-artifact@v6
        with: { name: "result-${{ matrix.shard }}", path: out }
`

const calling = `
name: Main
on:
  workflow_dispatch:
    inputs:
      command: { required: true }
jobs:
  call:
    permissions: { contents: read, id-token: write }
    uses: acme/shared/.github/workflows/called.yml@v1
    with:
      command: ${{ inputs.command }}
      shards: '["1","2"]'
      protection: dev
    secrets: inherit
  after:
    needs: call
    runs-on: ubuntu-latest
    steps:
      - run: echo "after ${{ needs.call.result }} ${{ needs.call.outputs.said }}"
      - uses: actions/download-artifact@v6
        with: { name: result-2, path: got }
      - run: cat got/deep/result.txt got/top.txt
  failing:
    runs-on: ubuntu-latest
    outputs: { x: "${{ steps.a.outputs.x }}" }
    steps:
      - id: a
        run: echo "x=it's \$""{{ secrets.KEY }}" >> $GITHUB_OUTPUT; exit 3
      - run: echo never
      - if: failure()
        run: echo cleaned
  skipped:
    needs: failing
    runs-on: ubuntu-latest
    steps: [{ run: "echo never" }]
  always:
    needs: [failing, skipped]
    if: always()
    runs-on: ubuntu-latest
    steps:
      - env: { X: "${{ needs.failing.outputs.x }}" }
        run: echo 'failing=${{ needs.failing.result }} skipped=${{ needs.skipped.result }}' "$X"
`

func TestJobsThatNeedOthersWithMatrixArtifactsAndReusableWorkflows(t *testing.T) {
	t.Parallel()
	w := withAct(t)
	w.repo.SetSecret("KEY", "of the repository")
	w.must(w.repo.SetEnvironment(sandbox.Environment{
		Name: "dev", Variables: map[string]string{"REGION": "west"}, Secrets: map[string]string{"KEY": "k3y"},
	}))
	w.must(w.RegisterAction(w.ctx, "acme", "shared", fstest.MapFS{".github/workflows/called.yml": {Data: []byte(called)}}, "v1"))
	w.commit("main", map[string]string{".github/workflows/main.yml": calling})
	id, err := w.repo.Dispatch(w.ctx, "ana", "main.yml", "main", map[string]any{"command": "plan"})
	w.must(err)
	run := w.run(id, nil)
	want := map[string][]string{
		"after":   {"after success shard 2", "2", "top"},
		"failing": {"cleaned"},
		"always":  {"failing=failure skipped=skipped it's ${{ secrets.KEY }}"},
	}
	for name, lines := range want {
		if diff := cmp.Diff(lines, logOf(t, run, name)); diff != "" {
			t.Error(name, diff)
		}
	}
	for shard := range 2 {
		name := fmt.Sprintf("call / work (%d)", shard+1)
		if got := logOf(t, run, name)[0]; got != fmt.Sprintf("plan in west, shard %d, a key of 3", shard+1) {
			t.Error(got)
		}
		if job, _ := run.Job(name); job.Environment != "dev" || job.Permissions["id-token"] != "write" {
			t.Errorf("%+v", job)
		}
	}
	if job, _ := run.Job("skipped"); run.Conclusion != "failure" || job.Conclusion != "skipped" || len(w.repo.Artifacts(id)) != 2 {
		t.Errorf("%s %s", run.Conclusion, job.Conclusion)
	}
	z, err := zip.NewReader(bytes.NewReader(w.repo.Artifacts(id)[0].Archive), int64(len(w.repo.Artifacts(id)[0].Archive)))
	w.must(err)
	var names []string
	for _, f := range z.File {
		names = append(names, f.Name)
	}
	if diff := cmp.Diff([]string{"deep/result.txt", "top.txt"}, names); diff != "" {
		t.Error(diff)
	}
}

func TestCancelInterruptsTheStepAndCleansUp(t *testing.T) {
	t.Parallel()
	w := withAct(t)
	w.commit("main", map[string]string{".github/workflows/long.yml": `
on: workflow_dispatch
jobs:
  long:
    runs-on: ubuntu-latest
    steps:
      - name: Work
        run: |
          trap 'echo "interrupted"; kill %1; exit 130' INT
          sleep 300 &
          echo ready
          wait
      - name: Next
        run: echo never
      - name: In any case
        if: always()
        run: echo cleaned
`})
	id, err := w.repo.Dispatch(w.ctx, "ana", "long.yml", "main", nil)
	w.must(err)
	w.run(id, func(run sandbox.Run) bool { return len(run.Jobs) == 1 && strings.Contains(run.Jobs[0].Log, " ready\n") })
	w.must(w.repo.Cancel(w.ctx, "ana", id, false))
	run := w.run(id, nil)
	if diff := cmp.Diff([]string{"ready", "interrupted", "cleaned"}, logOf(t, run, "long")); diff != "" || run.Conclusion != "cancelled" {
		t.Error(run.Conclusion, diff)
	}
}

func TestForceCancelKillsAllProcesses(t *testing.T) {
	t.Parallel()
	w := withAct(t)
	w.commit("main", map[string]string{".github/workflows/long.yml": `
on: workflow_dispatch
jobs:
  long:
    runs-on: ubuntu-latest
    steps:
      - run: |
          trap '' INT TERM
          (trap '' INT TERM; setsid sleep 301) &
          echo "ready $!"
          while :; do wait; done
      - if: always()
        run: echo never
`})
	id, err := w.repo.Dispatch(w.ctx, "ana", "long.yml", "main", nil)
	w.must(err)
	run := w.run(id, func(run sandbox.Run) bool { return len(run.Jobs) == 1 && strings.Contains(run.Jobs[0].Log, " ready ") })
	child := strings.Fields(run.Jobs[0].Log)[2]
	w.must(w.repo.Cancel(w.ctx, "ana", id, true))
	if run = w.run(id, nil); run.Conclusion != "cancelled" || strings.Contains(run.Jobs[0].Log, "never") {
		t.Errorf("%+v", run)
	}
	if _, err := os.Stat("/proc/" + child + "/exe"); err == nil {
		t.Errorf("process %s was left behind", child)
	}
}

func TestPullRequestsAndMergeGroupsCheckOutTheirCommits(t *testing.T) {
	t.Parallel()
	w := withAct(t)
	w.commit("main", map[string]string{
		".github/actions/hi/action.yml": "name: hi\ndescription: hi\ninputs: { who: { default: x } }\n" +
			"runs: { using: composite, steps: [{ shell: bash, run: 'echo hi ${{ inputs.who }}' }] }\n",
		".github/workflows/called.yml": "on: { workflow_call: { inputs: { a: { type: boolean, default: true } } } }\n" +
			"jobs: { in: { runs-on: x, steps: [{ uses: actions/checkout@v6 }, { uses: ./.github/actions/hi, with: { who: \"${{ inputs.a }}\" } }] } }",
		".github/workflows/pull.yml": `
on: [pull_request, merge_group]
jobs:
  a:
    runs-on: ubuntu-latest
    steps:
      - uses: actions/checkout@v6
        with: { ref: "${{ github.event.pull_request.head.sha }}", fetch-depth: 0 }
      - run: |
          echo "$GITHUB_REF $GITHUB_SHA $GITHUB_HEAD_REF $GITHUB_BASE_REF $(git status --short)"
          git fetch -q origin main && echo fetched
  b:
    uses: ./.github/workflows/called.yml
`,
	})
	number := w.open("feature/a", "main", "b.tf", "# b\n")
	pull := w.only("pull_request")
	want := []string{w.pull(number).Head.SHA, "refs/pull/1/merge " + pull.SHA + " feature/a main", "fetched"}
	if diff := cmp.Diff(want, logOf(t, pull, "a")); diff != "" || pull.Conclusion != "success" {
		t.Error(pull.Conclusion, diff)
	}
	if diff := cmp.Diff([]string{pull.SHA, "hi true"}, logOf(t, pull, "b / in")); diff != "" {
		t.Error(diff)
	}
	group, err := w.repo.QueueMergeGroup(w.ctx, "main", number)
	w.must(err)
	queued := w.only("merge_group")
	if diff := cmp.Diff([]string{group.SHA, group.Ref + " " + group.SHA, "fetched"}, logOf(t, queued, "a")); diff != "" || queued.SHA != group.SHA {
		t.Error(diff)
	}
}
