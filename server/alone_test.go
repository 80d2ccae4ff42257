package server_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/act"
	"github.com/switchyard-dev/switchyard/sandbox/act/acttest"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// lone is a repository with nothing but the workflow: no App, no server. The jobs are the action itself, with the environment that
// GitHub gives it.
type lone struct {
	*shop

	mu   sync.Mutex
	jobs []loneJob

	cancelAt string                   // what a job logs when it is cancelled; empty: never
	hold     map[string]chan struct{} // by key of jobs: closed when they may begin
	held     map[string]int           // by key of jobs: how many were held back
	now      aheadClock               // GitHub's
	env      map[string]string        // further variables of jobs
}

// loneJob is a job that has ended.
type loneJob struct {
	Run                  int64
	Key, Event, Log      string
	Summary, Conclusion  string
	Outputs, Environment string
}

func newLone(t *testing.T, files map[string]string) *lone {
	t.Helper()
	l := &lone{now: aheadClock{Clock: clockwork.NewRealClock()}}
	l.begin(t, files, t.TempDir(), sandbox.JobFunc(l.runJob))
	return l
}

// begin makes the repository below a directory.
func (l *lone) begin(t *testing.T, files map[string]string, dir string, runner sandbox.JobRunner) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	held := contract.Watch(t)
	box, err := sandbox.Start(ctx, sandbox.Options{
		Dir: filepath.Join(dir, "github"), Observe: held.Observe, Log: quiet, Now: l.now.Now,
		Actions: &sandbox.ActionsOptions{Runner: runner, Machines: 4},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = box.Close()
		if unserved := box.Unserved(); len(unserved) > 0 {
			t.Errorf("the sandbox does not serve %s", strings.Join(unserved, ", "))
		}
	})
	w := &world{Box: box, States: filepath.Join(dir, "states"), t: t, ctx: ctx}
	if err := os.MkdirAll(w.States, 0o700); err != nil {
		t.Fatal(err)
	}
	if w.Story, err = story.Prepare(ctx, box, w.States, bytes.NewBuffer(nil)); err != nil {
		t.Fatal(err)
	}
	workflow, err := os.ReadFile("../workflows-templates/switchyard-alone.yml")
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{
		".github/switchyard.yml": oneRoot, "infra/main.tf": rootFile, "README.md": "shop\n",
		".github/workflows/switchyard-alone.yml": string(workflow),
	}
	maps.Copy(all, files)
	for path, content := range all {
		all[path] = strings.ReplaceAll(content, "STATES", w.States)
	}
	repo, err := box.CreateRepository(ctx, "acme", "shop", sandbox.Seed{
		DefaultBranch: "main",
		Branches:      []sandbox.SeedBranch{{Name: "main", Files: all, As: story.Ana}, {Name: "develop", From: "main"}},
		Roles:         map[string]sandbox.Role{story.Ana: sandbox.Maintain, story.Ben: sandbox.Write},
	})
	if err != nil {
		t.Fatal(err)
	}
	l.shop = &shop{world: w, repo: repo}
}

// runJob is what GitHub's machine does with one job of the template.
func (l *lone) runJob(ctx context.Context, j *sandbox.Job, tell sandbox.Tell) sandbox.JobResult {
	environment := ""
	branch, _ := j.Event["ref"].(string)
	if pull, ok := j.Event["pull_request"].(map[string]any); ok {
		base, _ := pull["base"].(map[string]any)
		branch, _ = base["ref"].(string)
	}
	switch branch = strings.TrimPrefix(branch, "refs/heads/"); {
	case branch == "develop":
		environment = "dev"
	case branch == "main":
		environment = "prod"
	case strings.HasPrefix(branch, "release"):
		environment = "test"
	}
	text := func(name string) string { value, _ := j.Inputs[name].(string); return value }
	if text("command") == "plan" {
		environment = text("environment")
	}
	l.mu.Lock()
	hold := l.hold[j.Key]
	if hold != nil {
		l.held[j.Key]++
	}
	l.mu.Unlock()
	if hold != nil {
		tell(sandbox.StepEvent{Step: "Held back"}) // whoever waits for that looks again
		<-hold
	}
	if j.Key == "where" {
		return sandbox.JobResult{Conclusion: "success", Outputs: map[string]string{"environment": environment}}
	}
	ended := loneJob{Run: j.RunID, Key: j.Key, Event: j.EventName, Environment: environment}
	env := maps.Clone(j.Environment)
	maps.Copy(env, l.env)
	env["INPUT_GITHUB_TOKEN"] = j.Token
	switch j.Key {
	case "plan":
		maps.Copy(env, map[string]string{
			"INPUT_COMMAND": "plan", "INPUT_ENVIRONMENT": environment, "INPUT_ROOT": text("root"), "INPUT_SHA": text("sha"),
		})
	case "apply":
		maps.Copy(env, map[string]string{
			"INPUT_COMMAND": "apply", "INPUT_ENVIRONMENT": environment, "INPUT_SHA": text("sha"), "INPUT_DIGEST": text("digest"),
		})
	}
	err := l.action(ctx, j, env, &ended)
	ended.Conclusion = "success"
	if err != nil {
		ended.Conclusion = "failure"
	}
	if err != nil && !errors.Is(err, job.ErrNotDone) {
		ended.Log += "error: " + err.Error()
	}
	tell(sandbox.StepEvent{Step: "Switchyard"})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.jobs = append(l.jobs, ended)
	return sandbox.JobResult{Conclusion: ended.Conclusion}
}

func (l *lone) action(ctx context.Context, j *sandbox.Job, env map[string]string, ended *loneJob) error {
	dir, err := os.MkdirTemp(filepath.Dir(l.States), "job")
	if err != nil {
		return err
	}
	event, err := json.Marshal(j.Event)
	if err != nil {
		return err
	}
	for name, file := range map[string]string{
		"GITHUB_WORKSPACE": "workspace", "RUNNER_TEMP": "temp", "GITHUB_EVENT_PATH": "event.json", "GITHUB_OUTPUT": "output",
		"GITHUB_STEP_SUMMARY": "summary.md",
	} {
		env[name] = filepath.Join(dir, file)
	}
	for _, made := range []string{"workspace", "temp"} {
		if err := os.Mkdir(filepath.Join(dir, made), 0o700); err != nil {
			return err
		}
	}
	if err := os.WriteFile(env["GITHUB_EVENT_PATH"], event, 0o600); err != nil {
		return err
	}
	all := []string{}
	for name, value := range env {
		all = append(all, name+"="+value)
	}
	environ := func(name string) (string, bool) { value, ok := env[name]; return value, ok }
	machine, err := job.ReadMachine(environ)
	if err != nil {
		return err
	}
	hubs, err := hub.New(hub.Options{Bearer: machine.Token, APIURL: machine.API, WebURL: machine.Web, GraphQLURL: machine.GraphQL})
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	out := jobLog{at: l.cancelAt, cancel: cancel}
	log := zerolog.New(zerolog.ConsoleWriter{Out: &out, NoColor: true}).Level(zerolog.InfoLevel)
	err = server.Alone(ctx, server.AloneOptions{
		Env: environ, All: all, Machine: machine, Hub: hubs, Out: &out, Log: log, Clock: l.clock,
		Isolation: operation.Isolation{Missing: confine.Missing(), Write: []string{l.States}},
	})
	ended.Log = out.String()
	for into, name := range map[*string]string{&ended.Summary: "GITHUB_STEP_SUMMARY", &ended.Outputs: "GITHUB_OUTPUT"} {
		data, _ := os.ReadFile(env[name]) // it may have written none
		*into = string(data)
	}
	return err
}

// answered waits for a comment on an issue with these words.
func (l *lone) answered(number int, words ...string) {
	l.t.Helper()
	l.eventually(fmt.Sprintf("an answer on #%d with %q", number, words), func() bool {
		view, _ := l.repo.Issue(number)
		return slices.ContainsFunc(view.Comments, func(c sandbox.Comment) bool {
			return !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(c.Body, word) })
		})
	})
}

// holdBack keeps the jobs of that key from beginning until the result is called.
func (l *lone) holdBack(key string) func() {
	release := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold, l.held = map[string]chan struct{}{key: release}, map[string]int{}
	once := sync.OnceFunc(func() { close(release) })
	l.t.Cleanup(once) // before the sandbox is closed, which waits for its jobs
	return once
}

// holdNone lets whatever begins from now on begin.
func (l *lone) holdNone() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = nil
}

// jobLog is the log of a job, which is cancelled when it logs something.
type jobLog struct {
	mu     sync.Mutex
	text   strings.Builder
	at     string
	cancel func()
}

// Write adds to the log.
func (j *jobLog) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.at != "" && strings.Contains(string(p), j.at) {
		j.cancel()
	}
	return j.text.Write(p) //nolint:wrapcheck // it never fails
}

// String is what was logged so far.
func (j *jobLog) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// ran waits for the jobs of that key to be so many, and gives the newest.
func (l *lone) ran(key string, count int) loneJob {
	l.t.Helper()
	var found []loneJob
	defer func() {
		if l.t.Failed() {
			for _, j := range found {
				l.t.Logf("%s of %s: %s\n%s\n%s", j.Key, j.Event, j.Conclusion, j.Log, j.Summary)
			}
		}
	}()
	l.eventually(fmt.Sprintf("%d jobs %q have ended", count, key), func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		found = slices.DeleteFunc(slices.Clone(l.jobs), func(j loneJob) bool { return j.Key != key })
		return len(found) >= count
	})
	return found[count-1]
}

// ends is ran that holds the job to how it ended and what it said.
func (l *lone) ends(key string, count int, conclusion string, words ...string) loneJob {
	l.t.Helper()
	j := l.ran(key, count)
	if j.Conclusion != conclusion {
		l.t.Errorf("the job ended as %s, not %s:\n%s\n%s", j.Conclusion, conclusion, j.Log, j.Summary)
	}
	for _, word := range words {
		if !strings.Contains(j.Summary+j.Log, word) {
			l.t.Errorf("the job does not say %q:\n%s\n%s", word, j.Log, j.Summary)
		}
	}
	return j
}

func TestWithoutAnAppAPullRequestIsPlannedAndItsMergeApplied(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	before := l.Box.Calls()
	pull := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
	l.ends("plan", 1, "success")
	l.planned(pull, "dev")
	l.said(pull, "terraform_data.second")
	t.Logf("calls of a plan: %v", counted(before, l.Box.Calls()))

	before = l.Box.Calls()
	merged := l.merge(pull)
	l.ends("apply", 1, "success")
	l.checkIs(merged, "switchyard / apply (dev)", "success")
	comment := l.said(pull, "Applied to dev")
	if view, _ := l.repo.PullView(pull); len(view.Comments) != 1 {
		t.Errorf("there are %d comments, not one: %s", len(view.Comments), comment.Body)
	}
	t.Logf("calls of an apply: %v", counted(before, l.Box.Calls()))
}

func TestWithoutAnAppNothingIsAppliedThatNobodyReviewed(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	pushed := l.push("develop", map[string]string{"infra/a.tf": secondFile})
	l.ends("apply", 1, "failure", "nobody reviewed", "/apply dev ")
	check := l.checkIs(pushed, "switchyard / apply (dev)", "action_required")
	if !strings.Contains(check.Summary, "could forge") {
		t.Errorf("the check does not say that it does not bind: %s", check.Summary)
	}
	if l.holds("shop-dev.tfstate", "second") {
		t.Fatal("it was applied")
	}
	_, digest, _ := strings.Cut(l.ran("apply", 1).Log, "/apply dev ")
	digest, _, _ = strings.Cut(digest, "`")

	issue, err := l.repo.OpenIssue(l.ctx, story.Ben, "apply", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Run("a yes to something else is none", func(*testing.T) { //nolint:paralleltest // in this order
		l.comment(story.Ben, issue, "/apply dev 0000")
		l.ends("apply", 2, "failure", "nobody reviewed")
	})
	t.Run("nor is one of a person who may not", func(*testing.T) { //nolint:paralleltest // as above
		l.comment(story.Mallory, issue, "/apply dev "+digest)
		l.ends("answer", 2, "success")
		l.answered(issue, "was not carried out")
	})
	t.Run("who may says yes to exactly what is asked", func(t *testing.T) { //nolint:paralleltest // as above
		l.comment(story.Ben, issue, "/apply dev "+digest)
		j := l.ends("apply", 3, "success")
		if j.Event != "workflow_dispatch" || !l.holds("shop-dev.tfstate", "second") {
			t.Errorf("%s: %s", j.Event, l.state("dev"))
		}
		l.answered(issue, "Started the apply of dev on `develop`", "/actions/runs/")
	})
}

func TestWithoutAnAppARunThatIsStartedByHandIsHeldToItsWords(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	issue, err := l.repo.OpenIssue(l.ctx, story.Ben, "apply", "")
	if err != nil {
		t.Fatal(err)
	}
	comment := func(as, body string) string {
		id, err := l.repo.Comment(l.ctx, as, issue, body)
		if err != nil {
			t.Fatal(err)
		}
		return strconv.FormatInt(id, 10)
	}
	edited := comment(story.Ben, "no apply dev 7f3a")
	id, _ := strconv.ParseInt(edited, 10, 64)
	if err := l.repo.EditComment(l.ctx, story.Ben, id, "/apply dev 7f3a"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		inputs map[string]any
		says   string
	}{
		{"for another environment than the branch's", map[string]any{"environment": "prod"}, "`develop` deploys to dev"},
		{"a digest that is none", map[string]any{"environment": "dev", "digest": "$(id)"}, "input digest"},
		{"a comment that is not there", map[string]any{"environment": "dev", "digest": "7f3a", "comment": "1"}, "is said to ask for this is gone"},
		{"a comment that was edited", map[string]any{"environment": "dev", "digest": "7f3a", "comment": edited}, "said to ask for this was edited"},
		{
			"a comment of somebody who may not",
			map[string]any{"environment": "dev", "digest": "7f3a", "comment": comment(story.Mallory, "/apply dev 7f3a")},
			"of a person who may give it",
		},
		{
			"a comment that says something else",
			map[string]any{"environment": "dev", "digest": "7f3a", "comment": comment(story.Ben, "/apply dev 7f3b")},
			"asks for something else",
		},
	} {
		c.inputs["command"] = "apply"
		if _, err := l.repo.Dispatch(l.ctx, story.Ben, "switchyard-alone.yml", "develop", c.inputs); err != nil {
			t.Fatal(err)
		}
		t.Log(c.name)
		l.refused(c.says)
	}
}

// refused waits for an apply that failed with these words.
func (l *lone) refused(words string) {
	l.t.Helper()
	l.eventually("an apply fails and says "+words, func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return slices.ContainsFunc(l.jobs, func(j loneJob) bool {
			return j.Key == "apply" && j.Conclusion == "failure" && strings.Contains(j.Log+j.Summary, words)
		})
	})
}

func TestWithoutAnAppTwoAppliesOfOneEnvironmentTakeTurns(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	one := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
	two := l.open("feature/b", "develop", map[string]string{"infra/b.tf": strings.ReplaceAll(secondFile, "second", "third")})
	l.ends("plan", 2, "success")
	l.planned(one, "dev")
	l.planned(two, "dev")
	release := l.holdBack("apply")
	first, second := l.merge(one), l.merge(two)
	release()
	l.ends("apply", 2, "success")
	l.checkIs(first, "switchyard / apply (dev)", "success")
	l.checkIs(second, "switchyard / apply (dev)", "success")
	if !l.holds("shop-dev.tfstate", "second") || !l.holds("shop-dev.tfstate", "third") {
		t.Error(l.state("dev"))
	}
	l.mu.Lock()
	run := l.jobs[slices.IndexFunc(l.jobs, func(j loneJob) bool { return j.Key == "apply" })].Run
	l.mu.Unlock()
	t.Run("the older one, run once more, changes nothing", func(t *testing.T) { //nolint:paralleltest // after the others
		if err := l.repo.Rerun(l.ctx, story.Ana, run); err != nil {
			t.Fatal(err)
		}
		l.ends("apply", 3, "success", "was applied to dev already")
		l.checkIs(first, "switchyard / apply (dev)", "neutral")
	})
	t.Run("and does not count as what was applied", func(t *testing.T) { //nolint:paralleltest // as above
		three := l.open("feature/c", "develop", map[string]string{"infra/c.tf": strings.ReplaceAll(secondFile, "second", "fourth")})
		l.ends("plan", 3, "success")
		l.merge(three)
		if j := l.ends("apply", 4, "success", "dev has "+second+" applied"); !l.holds("shop-dev.tfstate", "fourth") {
			t.Error(j.Summary)
		}
	})
}

func TestWithoutAnAppEachEventSaysWhatItDid(t *testing.T) {
	t.Parallel()
	t.Run("a comment plans on the pull request's own branch", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, nil)
		pull := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
		l.ends("plan", 1, "success")
		l.comment(story.Ben, pull, "/plan")
		l.ends("answer", 1, "success")
		l.said(pull, "Started the plan of dev on `feature/a`")
		if j := l.ends("plan", 2, "success"); j.Event != "workflow_dispatch" {
			t.Error(j.Event)
		}
		comments := 0
		view, _ := l.repo.PullView(pull)
		for _, comment := range view.Comments {
			if strings.Contains(comment.Body, "terraform_data.second") {
				comments++
			}
		}
		if comments != 1 {
			t.Errorf("%d comments show the plan", comments)
		}
	})
	t.Run("an edited comment asks for nothing", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, nil)
		pull := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
		l.ends("plan", 1, "success")
		release := l.holdBack("answer")
		id, err := l.repo.Comment(l.ctx, story.Ben, pull, "/plan")
		if err == nil {
			err = l.repo.EditComment(l.ctx, story.Ben, id, "/plan dev")
		}
		if err != nil {
			t.Fatal(err)
		}
		release()
		l.ends("answer", 1, "success", "Nothing had to be planned")
	})
	t.Run("a fork gets words and no plan", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, nil)
		fork, err := l.repo.Fork(l.ctx, story.Mallory)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := fork.Push(l.ctx, story.Mallory, "feature/f", map[string]string{"infra/a.tf": secondFile}, "f",
			sandbox.PushOptions{From: "develop"}); err != nil {
			t.Fatal(err)
		}
		if _, err := l.repo.OpenPull(l.ctx, story.Mallory, sandbox.Pull{From: story.Mallory + ":feature/f", To: "develop", Title: "f"}); err != nil {
			t.Fatal(err)
		}
		l.ends("answer", 1, "success", "comes from a fork")
	})
	t.Run("a branch that deploys nowhere", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, nil)
		l.push("docs", map[string]string{"docs.md": "x\n"}, sandbox.PushOptions{From: "develop"})
		l.open("feature/a", "docs", map[string]string{"infra/a.tf": secondFile})
		l.ends("plan", 1, "success", "Nothing had to be planned")
	})
	t.Run("a configuration that cannot be used", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, map[string]string{".github/switchyard.yml": "version: 1\nenvironments: 7\n"})
		l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
		l.ends("plan", 1, "failure", "cannot be used")
		l.push("develop", map[string]string{"infra/a.tf": secondFile})
		l.ends("apply", 1, "failure", "Nothing was applied", "cannot be used")
	})
	t.Run("a job for another environment than the configuration's", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, map[string]string{".github/switchyard.yml": strings.ReplaceAll(oneRoot, "dev:  {", "play: {")})
		l.push("develop", map[string]string{"infra/a.tf": secondFile})
		l.ends("apply", 1, "failure", "This job is for the environment `dev`", "deploys to `play`")
	})
	t.Run("an apply that Terraform refuses fails, and the next takes it up", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, map[string]string{".github/switchyard.yml": strings.ReplaceAll(oneRoot, "strict", "no-new-risk")})
		l.push("develop", map[string]string{"infra/a.tf": "resource \"terraform_data\" \"second\" {\n  input = nonsense\n}\n"})
		l.ends("apply", 1, "failure", "failed")
		l.push("develop", map[string]string{"infra/a.tf": secondFile})
		l.ends("apply", 2, "success")
		if !l.holds("shop-dev.tfstate", "second") {
			t.Error(l.state("dev"))
		}
	})
}

// within is a clock whose waits of some lengths end when somebody lets them.
type within struct {
	clockwork.Clock

	waits map[time.Duration]chan time.Time
	began chan time.Duration
}

// After is that of the clock but for the waits that are held.
func (w *within) After(d time.Duration) <-chan time.Time {
	held, ok := w.waits[d]
	if !ok {
		return w.Clock.After(d)
	}
	w.began <- d
	return held
}

// newLoneWithoutGroup is a repository whose workflow has no concurrency group, as on a server that would drop the second of three runs.
// A job that waits for its turn sends to began, and looks again when again says so.
func newLoneWithoutGroup(t *testing.T) (l *lone, began <-chan time.Duration, again chan<- time.Time) {
	t.Helper()
	workflow, err := os.ReadFile("../workflows-templates/switchyard-alone.yml")
	if err != nil {
		t.Fatal(err)
	}
	before, group, found := strings.Cut(string(workflow), "    concurrency:\n      group: switchyard-${{ needs.where")
	_, after, ends := strings.Cut(group, "    permissions:\n")
	if !found || !ends {
		t.Fatal("the template has no concurrency group")
	}
	const poll = 15 * time.Second
	l = newLone(t, map[string]string{".github/workflows/switchyard-alone.yml": before + "    permissions:\n" + after})
	ticks, waits := make(chan time.Time), make(chan time.Duration)
	l.clock = &within{Clock: clockwork.NewRealClock(), waits: map[time.Duration]chan time.Time{poll: ticks}, began: waits}
	return l, waits, ticks
}

func TestWithoutAnAppAndWithoutAConcurrencyGroupTheNewerApplyWaitsForTheOlder(t *testing.T) {
	t.Parallel()
	l, began, again := newLoneWithoutGroup(t)
	one := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
	l.planned(one, "dev")
	two := l.open("feature/b", "develop", map[string]string{"infra/b.tf": strings.ReplaceAll(secondFile, "second", "third")})
	l.planned(two, "dev")
	release := l.holdBack("apply")
	l.merge(one)
	l.heldBack("apply")
	l.holdNone() // the second goes at once
	l.merge(two)
	l.waited(began)
	if l.holds("shop-dev.tfstate", "third") {
		t.Error("the newer apply did not wait")
	}
	release()
	first := l.ran("apply", 1)
	again <- time.Now()
	second := l.waits(began, again, "apply", 2)
	if first.Run >= second.Run || !strings.Contains(second.Log, "began earlier and works on dev") {
		t.Errorf("run %d, then run %d: %s", first.Run, second.Run, second.Log)
	}
	if !l.holds("shop-dev.tfstate", "second") || !l.holds("shop-dev.tfstate", "third") {
		t.Error(l.state("dev"))
	}
}

func TestWithoutAnAppAndWithoutAConcurrencyGroupAnOlderApplyThatBeginsLaterIsOvertaken(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file       string // of the newer one
		conclusion string
		says       string // the older one
	}{
		"by one that was applied": {strings.ReplaceAll(secondFile, "second", "third"), "success", "was applied to dev already"},
		"by one that failed": {
			"resource \"terraform_data\" \"third\" {\n  provisioner \"local-exec\" {\n    command = \"exit 1\"\n  }\n}\n",
			"failure", "has worked on dev already",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, began, again := newLoneWithoutGroup(t)
			l.merge(l.openPlanned("feature/z", map[string]string{"infra/z.tf": strings.ReplaceAll(secondFile, "second", "zeroth")}))
			l.ends("apply", 1, "success")
			one := l.openPlanned("feature/a", map[string]string{"infra/a.tf": secondFile})
			two := l.openPlanned("feature/b", map[string]string{"infra/b.tf": c.file})
			release := l.holdBack("where") // so that the older run has not begun to apply
			older := l.merge(one)
			l.heldBack("where")
			proceed := l.holdBack("apply")
			newer := l.merge(two)
			l.heldBack("apply")
			l.holdNone()
			l.now.advance(2 * time.Second)
			release()
			l.waited(began)
			if l.holds("shop-dev.tfstate", "second") {
				t.Error("the older apply did not wait")
			}
			proceed()
			first := l.ends("apply", 2, c.conclusion)
			l.checkIs(newer, "switchyard / apply (dev)", c.conclusion)
			again <- time.Now()
			second := l.waits(began, again, "apply", 3)
			if first.Run <= second.Run || second.Conclusion != "success" || !strings.Contains(second.Log, c.says) ||
				!strings.Contains(second.Log, "Nothing was applied to dev by this run") {
				t.Errorf("run %d, then run %d: %s", first.Run, second.Run, second.Log)
			}
			l.checkIs(older, "switchyard / apply (dev)", "neutral")
			if !l.holds("shop-dev.tfstate", "third") { // also of the one that failed
				t.Error(l.state("dev"))
			}
		})
	}
}

// openPlanned opens a pull request to develop and waits for its plan.
func (l *lone) openPlanned(branch string, files map[string]string) int {
	l.t.Helper()
	pull := l.open(branch, "develop", files)
	l.planned(pull, "dev")
	return pull
}

// waited waits until a job waits for its turn.
func (l *lone) waited(began <-chan time.Duration) {
	l.t.Helper()
	select {
	case <-began:
	case <-time.After(patience):
		l.t.Fatal("no apply waits")
	}
}

// waits is ran of a job that may wait a few times more: that a job has ended is seen by GitHub a moment later.
func (l *lone) waits(began <-chan time.Duration, again chan<- time.Time, key string, count int) loneJob {
	l.t.Helper()
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-began:
				select {
				case again <- time.Now():
				case <-done:
				}
			case <-done:
				return
			}
		}
	}()
	return l.ran(key, count)
}

// heldBack waits for a job of that key that began and is held back.
func (l *lone) heldBack(key string) {
	l.t.Helper()
	l.eventually("a job "+key+" is held back", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.held[key] == 1
	})
}

func TestWithoutAnAppAJobThatIsCancelledStopsTerraformAndSaysSo(t *testing.T) {
	t.Parallel()
	l := newLone(t, map[string]string{".github/switchyard.yml": strings.ReplaceAll(oneRoot, "strict", "no-new-risk")})
	l.cancelAt = `"step":"apply"`
	pushed := l.push("develop", map[string]string{"infra/a.tf": `resource "terraform_data" "second" {
  provisioner "local-exec" {
    command = "exec sleep 600"
  }
}
`})
	l.ends("apply", 1, "failure", "stopped")
	l.checkIs(pushed, "switchyard / apply (dev)", "cancelled")
}

func TestWithoutAnAppAJobThatIsCancelledWhileItPreparesDidNotFail(t *testing.T) {
	t.Parallel()
	l := newLone(t, nil)
	l.cancelAt = "No job has applied to dev before"
	l.push("develop", map[string]string{"infra/a.tf": secondFile})
	j := l.ends("apply", 1, "failure", "cancelled before anything was begun")
	if !strings.Contains(j.Outputs, "\ncancelled\n") {
		t.Errorf("the outputs are\n%s", j.Outputs)
	}
}

func TestWithoutAnAppWhatTheMachineGivesReachesEachRootThatTakesIt(t *testing.T) {
	t.Parallel()
	const token = "ghp_0123456789abcdefghijklmnopqrstuvwxyz"
	private := map[string]string{".github/switchyard.yml": oneRoot + "modules: [acme/stamp]\n"}
	given := map[string]string{"BACKEND_STORAGE_ACCOUNT_NAME": "states", "INPUT_MODULES_TOKEN": token} // infra has another backend
	t.Run("a token is masked while GitHub's runner listens, and shown nowhere else", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, private)
		l.env = given
		l.planned(l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile}), "dev")
		j := l.ends("plan", 1, "success")
		basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
		before, after, _ := strings.Cut(j.Log, "::stop-commands::")
		for _, secret := range []string{token, basic} {
			if !strings.Contains(before, "::add-mask::"+secret+"\n") || strings.Contains(after+j.Summary+j.Outputs, secret) {
				t.Errorf("the log is\n%s", j.Log)
			}
		}
	})
	t.Run("that there is none is said", func(t *testing.T) {
		t.Parallel()
		l := newLone(t, private)
		l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
		l.ends("plan", 1, "success", "this job has no token for them")
	})
}

func TestWithoutAnAppApprovalsCountForWhatTheReviewersSaw(t *testing.T) {
	t.Parallel()
	asks := strings.ReplaceAll(oneRoot, "dev:  { branch: develop", "dev:  { branch: develop, approvals: 1")
	l := newLone(t, map[string]string{".github/switchyard.yml": asks})
	approved := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
	l.ends("plan", 1, "success")
	if _, err := l.repo.Review(l.ctx, story.Ana, approved, sandbox.Approved); err != nil {
		t.Fatal(err)
	}
	l.merge(approved)
	l.ends("apply", 1, "success")
	if !l.holds("shop-dev.tfstate", "second") {
		t.Error(l.state("dev"))
	}
	not := l.open("feature/b", "develop", map[string]string{"infra/b.tf": strings.ReplaceAll(secondFile, "second", "third")})
	l.ends("plan", 2, "success")
	l.merge(not)
	l.ends("apply", 2, "failure", "nobody reviewed")
	l.said(not, "approv")
	if l.holds("shop-dev.tfstate", "third") {
		t.Error("it was applied")
	}
}

func TestWithoutAnAppAStageIsProvenByItsNewestDeployment(t *testing.T) {
	t.Parallel()
	after := strings.ReplaceAll(oneRoot, "prod: { branch: main", "prod: { branch: main, after: [dev]") +
		"flow:\n  allow:\n    - { from: develop, to: main }\n"
	l := newLone(t, map[string]string{".github/switchyard.yml": after})
	one := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
	l.ends("plan", 1, "success")
	l.merge(one)
	l.ends("apply", 1, "success")
	two, err := l.repo.OpenPull(l.ctx, story.Ben, sandbox.Pull{From: "develop", To: "main", Title: "to prod"})
	if err != nil {
		t.Fatal(err)
	}
	l.ends("plan", 2, "success")
	l.merge(two)
	if j := l.ends("apply", 2, "success"); j.Environment != "prod" || !l.holds("shop-prod.tfstate", "second") {
		t.Error(j.Summary)
	}
	hotfix := l.open("hotfix/b", "main", map[string]string{"infra/b.tf": strings.ReplaceAll(secondFile, "second", "third")})
	l.ends("plan", 3, "success")
	l.merge(hotfix)
	l.ends("apply", 3, "failure", "was not applied in dev before")
}

func TestWithoutAnAppTheWholeWayInRealJobs(t *testing.T) {
	t.Parallel()
	action := releasedAction(t)
	dir := t.TempDir()
	l := &lone{now: aheadClock{Clock: clockwork.NewRealClock()}}
	l.begin(t, nil, dir, acttest.Runner(t, func(a *act.Options) {
		a.Environment = map[string]string{writable: filepath.Join(dir, "states")}
	}))
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(logsOf(l.repo.Runs()...))
		}
	})
	if err := l.Box.RegisterAction(l.ctx, "switchyard-dev", "switchyard", action, "RELEASE"); err != nil {
		t.Fatal(err)
	}
	pull := l.open("feature/a", "develop", map[string]string{"infra/a.tf": secondFile})
	l.planned(pull, "dev")
	l.said(pull, "terraform_data.second")
	group, err := l.repo.QueueMergeGroup(l.ctx, "develop", pull)
	if err != nil {
		t.Fatal(err)
	}
	if check := l.checkIs(group.SHA, "switchyard / plan (dev)", "success"); !strings.Contains(check.Text+check.Summary, "terraform_data.second") {
		t.Errorf("the merge group's check says %q %q", check.Summary, check.Text)
	}
	l.checkIs(group.SHA, "switchyard / gitflow", "success")
	merged := l.merge(pull)
	l.checkIs(merged, "switchyard / apply (dev)", "success")
	if !l.holds("shop-dev.tfstate", "second") {
		t.Error(l.state("dev"))
	}
	pushed := l.push("develop", map[string]string{"infra/b.tf": strings.ReplaceAll(secondFile, "second", "third")})
	check := l.checkIs(pushed, "switchyard / apply (dev)", "action_required")
	_, digest, _ := strings.Cut(check.Summary, "/apply dev ")
	digest, _, _ = strings.Cut(digest, "`")
	l.comment(story.Ana, pull, "/apply dev "+digest)
	l.said(pull, "Started the apply of dev on `develop`")
	l.checkIs(pushed, "switchyard / apply (dev)", "success")
	if !l.holds("shop-dev.tfstate", "third") {
		t.Error(l.state("dev"))
	}
}
