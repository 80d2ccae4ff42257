package server_test

import (
	"archive/zip"
	"bytes"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/handlers"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/act"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// besideEachOther are planned beside each other where they take long, use a private module, and deploy behind the gate.
const besideEachOther = `version: 1
application: shop
environments:
  dev:  { branch: develop, binding: strict }
  prod: { branch: main, binding: strict }
roots:
  - dir: infra
    backend: { path: "STATES/{application}-{environment}.tfstate" }
  - dir: net
    backend: { path: "STATES/net-{environment}.tfstate" }
modules: [acme/stamp]
executor: actions
`

// What is secret in the jobs of these tests, beside what GitHub and the server give them.
const (
	varSecret    = "hush-of-a-variable-7181"
	clientSecret = "hush-of-an-identity-2718"
)

// reached is a reality whose jobs reach the server, which is behind an address that stays the same. It remembers what jobs are given that
// nobody may read, and how their Terraform was started.
type reached struct {
	*reality
	front   string // address of the server, for jobs
	started string // directory with a file of each Terraform process

	log *logged // of the server

	mu      sync.Mutex
	secrets map[string]string // value → what it is
	asked   []string          // paths of the server, each with its status
}

func newReached(t testing.TB, files map[string]string) *reached {
	t.Helper()
	r := &reached{log: newLogged(), secrets: map[string]string{varSecret: "TF_VAR_password", clientSecret: "ARM_CLIENT_SECRET"}}
	front := httptest.NewServer(http.HandlerFunc(r.forward))
	t.Cleanup(front.Close)
	r.front = front.URL
	r.reality = newReality(t, func(o *realOptions) {
		o.settings = func(s *settings.Settings) { s.PublicURL = front.URL }
		o.watch = r.watch
		o.machine = func(a *act.Options) {
			r.started = filepath.Join(a.Environment[writable], "started") // Terraform may write there
			a.Path = r.wrapTerraform(t, filepath.Join(filepath.Dir(a.Dir), "bin")) + string(os.PathListSeparator) + os.Getenv("PATH")
		}
		o.files, o.log = files, zerolog.New(r.log)
	})
	return r
}

// withSecrets is the workflow as a repository has it whose Terraform needs a secret variable, and an identity's secret.
func withSecrets(t testing.TB) string {
	t.Helper()
	own := strings.NewReplacer(
		"      ARM_USE_OIDC: \"true\"\n", "      ARM_CLIENT_SECRET: ${{ secrets.CLIENT_SECRET }}\n      TF_VAR_password: ${{ secrets.PASSWORD }}\n",
		"          task: ${{ inputs.task }}\n", "          task: ${{ inputs.task }}\n          allow-client-secret: \"true\"\n",
	).Replace(template(t, "switchyard.yml"))
	if strings.Count(own, "secrets.PASSWORD") != 2 || strings.Count(own, "allow-client-secret") != 2 {
		t.Fatal("the template has other lines now")
	}
	return own
}

// forward hands on what a job asks, and remembers the tokens in it.
func (r *reached) forward(w http.ResponseWriter, asked *http.Request) {
	r.remember(strings.TrimPrefix(asked.Header.Get("Authorization"), "Bearer "), "a token that proves who a job is")
	to, err := url.Parse(r.Server.URL())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	proxy := httputil.NewSingleHostReverseProxy(to)
	proxy.ModifyResponse = func(response *http.Response) error {
		r.mu.Lock()
		r.asked = append(r.asked, fmt.Sprintf("%s %d", asked.URL.Path, response.StatusCode))
		r.mu.Unlock()
		data, err := io.ReadAll(response.Body)
		if err != nil {
			return fmt.Errorf("read the answer: %w", err)
		}
		response.Body = io.NopCloser(bytes.NewReader(data))
		var given job.ModuleToken
		if json.Unmarshal(data, &given) == nil && given.Token != "" {
			r.remember(given.Token, "the token for modules")
			r.remember(base64.StdEncoding.EncodeToString([]byte("x-access-token:"+given.Token)), "the token for modules, as git sends it")
		}
		return nil
	}
	proxy.ServeHTTP(w, asked)
}

func (r *reached) remember(secret, what string) {
	if secret == "" {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.secrets[secret] == "" {
		r.secrets[secret] = what
	}
}

// watch remembers what GitHub gives to jobs.
func (r *reached) watch(runner sandbox.JobRunner) sandbox.JobRunner {
	return sandbox.JobFunc(func(ctx context.Context, run *sandbox.Job, tell sandbox.Tell) sandbox.JobResult {
		r.remember(run.Token, "the token of a job")
		r.remember(run.Environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"], "what a job asks for identities with")
		for name, value := range run.Runtime {
			if strings.HasSuffix(name, "TOKEN") {
				r.remember(value, name)
			}
		}
		return runner.RunJob(ctx, run, tell)
	})
}

// wrapTerraform makes a program `terraform` that writes down its arguments and its environment, and is Terraform then.
func (r *reached) wrapTerraform(t testing.TB, dir string) string {
	t.Helper()
	path, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatal(err)
	}
	script := fmt.Sprintf("#!/bin/sh\n{ echo \"$*\"; env; } > '%s'/$$ 2>/dev/null\nexec '%s' \"$@\"\n", r.started, path)
	for _, made := range []string{dir, r.started} {
		if err := os.MkdirAll(made, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "terraform"), []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
		t.Fatal(err)
	}
	return dir
}

// answered counts what the server answered so to jobs that asked it there.
func (r *reached) answered(path string, status int) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	count := 0
	for _, asked := range r.asked {
		if asked == fmt.Sprintf("%s %d", path, status) {
			count++
		}
	}
	return count
}

// processes are how Terraform was started so far: arguments, then variables, one a line.
func (r *reached) processes() []string {
	r.t.Helper()
	var all []string
	entries, err := os.ReadDir(r.started)
	if err != nil {
		r.t.Fatal(err)
	}
	for _, entry := range entries {
		data, err := os.ReadFile(filepath.Join(r.started, entry.Name()))
		if err != nil {
			r.t.Fatal(err)
		}
		all = append(all, string(data))
	}
	return all
}

// tokenLike finds tokens of GitHub, and signed tokens, whoever made them.
var tokenLike = regexp.MustCompile(`\bgh[a-z]_[A-Za-z0-9]{16,}|eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.`)

// told expects no secret in what people can read.
func (r *reached) told(place, text string) {
	r.t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	for secret, what := range r.secrets {
		if at := strings.Index(text, secret); at >= 0 {
			r.t.Errorf("%s tells %s: …%s", place, what, text[max(0, at-200):at])
		}
	}
	if found := tokenLike.FindStringIndex(text); found != nil {
		r.t.Errorf("%s has a token: …%s", place, text[max(0, found[0]-200):found[0]])
	}
}

// readAll reads all that people can: comments, checks, logs, summaries, artifacts, deployments.
func (r *reached) readAll(commits ...string) {
	r.t.Helper()
	for _, view := range r.repo.Pulls() {
		commits = append(commits, view.Head.SHA)
		for _, comment := range view.Comments {
			r.told(fmt.Sprintf("a comment on #%d", view.Number), comment.Body)
		}
	}
	for _, sha := range commits {
		for _, check := range r.repo.Checks(sha) {
			r.told("check "+check.Name, check.Title+check.Summary+check.Text+check.ExternalID+check.DetailsURL)
		}
	}
	for _, run := range r.repo.Runs() {
		r.told("run "+run.Title, logsOf(run))
		for name, content := range r.left(run.ID) {
			r.told(run.Title+", "+name, content)
		}
	}
	r.told("what GitHub got", strings.Join(r.Box.Effects(), "\n"))
	r.log.mu.Lock()
	said := r.log.data.String()
	r.log.mu.Unlock()
	if !strings.Contains(said, "operation") {
		r.t.Error("the server logs nothing: nothing is shown by this test")
	}
	r.told("the server's log", said)
}

// left are the files that a run has left in artifacts, by name.
func (r *reached) left(run int64) map[string]string {
	r.t.Helper()
	files := map[string]string{}
	for _, artifact := range r.repo.Artifacts(run) {
		archive, err := zip.NewReader(bytes.NewReader(artifact.Archive), int64(len(artifact.Archive)))
		if err != nil {
			r.t.Fatal(err)
		}
		for _, file := range archive.File {
			opened, err := file.Open()
			if err != nil {
				r.t.Fatal(err)
			}
			data, err := io.ReadAll(opened)
			if err != nil {
				r.t.Fatal(err)
			}
			files[file.Name] += string(data) // jobs beside each other leave files of one name
		}
	}
	return files
}

// takeLong has what was planned so far have taken so long that its roots are given to jobs of their own.
func (r *reached) takeLong() {
	r.t.Helper()
	data, err := sql.Open("sqlite", "file:"+filepath.Join(r.data, "switchyard.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		r.t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	_, err = data.ExecContext(r.ctx, `UPDATE operations SET result = json_set(result,
		'$.targets[0].timings.plan', 400000000000, '$.targets[1].timings.plan', 400000000000)
		WHERE kind = 'plan' AND json_array_length(result, '$.targets') = 2`)
	if err != nil {
		r.t.Fatal(err)
	}
}

const moduleRoot = `terraform {
  backend "local" {}
}

variable "password" {
  type      = string
  sensitive = true
}

module "stamp" {
  source = "git::GITHUB/acme/stamp.git?ref=main"
}

resource "terraform_data" "secret" {
  input = var.password
}
`

const loudFile = `resource "terraform_data" "loud" {
  provisioner "local-exec" {
    command = "env; echo Goodbye; exit 3"
  }
}
`

func TestRealJobsReachTheServer(t *testing.T) {
	t.Parallel()
	r := newReached(t, map[string]string{".github/switchyard.yml": besideEachOther, ".github/workflows/switchyard.yml": withSecrets(t)})
	if _, err := r.Box.CreateRepository(r.ctx, "acme", "stamp", sandbox.Seed{
		DefaultBranch: "main", Private: true,
		Branches: []sandbox.SeedBranch{{Name: "main", Files: map[string]string{"main.tf": strings.ReplaceAll(secondFile, "second", "stamp")}, As: story.Ana}},
	}); err != nil {
		t.Fatal(err)
	}
	if err := r.Box.Install(r.ctx, "acme", "stamp"); err != nil {
		t.Fatal(err)
	}
	r.repo.SetSecret("PASSWORD", varSecret)
	r.repo.SetSecret("CLIENT_SECRET", clientSecret)
	for _, name := range []string{"dev", "prod"} {
		if err := r.repo.SetEnvironment(sandbox.Environment{Name: name, Gate: true}); err != nil {
			t.Fatal(err)
		}
	}
	own := strings.ReplaceAll(moduleRoot, "GITHUB", r.Box.URL())
	pull := r.open("feature/two", "develop", map[string]string{"infra/main.tf": own, "net/main.tf": rootFile})
	r.planned(pull, "dev")
	r.said(pull, "module.stamp.terraform_data.stamp", "terraform_data.secret")

	r.takeLong()
	if _, err := r.repo.Push(r.ctx, story.Ben, "feature/two", map[string]string{
		"infra/second.tf": secondFile, "net/third.tf": strings.ReplaceAll(secondFile, "second", "third"),
	}, "more"); err != nil {
		t.Fatal(err)
	}
	r.planned(pull, "dev")
	r.said(pull, "terraform_data.second", "terraform_data.third")
	sharded := r.reality.asked("plan", theApp)
	if jobs := worked(sharded); len(jobs) != 2 || len(r.repo.Artifacts(sharded.ID)) != 2 {
		t.Errorf("two roots are planned by %d jobs, which leave %d results", len(jobs), len(r.repo.Artifacts(sharded.ID)))
	}

	merged := r.merge(pull)
	r.checkIs(merged, "switchyard / apply (dev)", "success")
	r.said(pull, "Applied to dev")
	if r.answered(handlers.ConfirmPath, http.StatusOK) != 2 || r.answered(handlers.ModulesPath, http.StatusOK) != 4 { // once for each root
		t.Errorf("the server answered %q", r.asked)
	}
	if r.gate("dev: approved") != 1 || r.gate("rejected") != 0 {
		t.Errorf("effects:\n%s", strings.Join(r.Box.Effects(), "\n"))
	}

	t.Run("a hand-written workflow on a feature branch that names environment: prod does not begin", func(t *testing.T) {
		evil := filepath.Join(r.States, "evil")
		r.push("feature/mine", map[string]string{".github/workflows/mine.yml": fmt.Sprintf(`
name: mine
on: push
jobs:
  deploy:
    runs-on: ubuntu-latest
    environment: prod
    steps:
      - run: echo > '%s'
`, evil)}, sandbox.PushOptions{From: "develop"})
		var run sandbox.Run
		r.eventually("its run has ended", func() bool {
			for _, run = range r.repo.Runs() {
				if run.Path == ".github/workflows/mine.yml" {
					return run.Status == "completed"
				}
			}
			return false
		})
		_, err := os.Stat(evil)
		if run.Conclusion != "failure" || !strings.Contains(run.Jobs[0].Problem, "rejected") || r.gate("prod: rejected") != 1 || !os.IsNotExist(err) {
			t.Errorf("%s; %v; effects:\n%s", logsOf(run), err, strings.Join(r.Box.Effects(), "\n"))
		}
	})
	t.Run("a fork's commit is planned where a maintainer says so", func(t *testing.T) { r.plansFork(t) })
	t.Run("what fails and prints its whole environment tells no secret", func(*testing.T) {
		failing := r.open("feature/loud", "develop", map[string]string{"net/loud.tf": loudFile})
		r.planned(failing, "dev")
		merged := r.merge(failing)
		r.checkIs(merged, "switchyard / apply (dev)", "failure")
		r.said(failing, "Goodbye")
		r.readAll(merged)
	})
	r.readAll(merged)
	r.sawNoMore(t)
}

// gate counts what the App answered about deployments.
func (r *reached) gate(text string) int {
	count := 0
	for _, effect := range r.Box.Effects() {
		if strings.Contains(effect, "deployment_protection_rule") && strings.Contains(effect, text) {
			count++
		}
	}
	return count
}

// deniesThief has somebody who stole the App's key start an apply, and say that what it does was reviewed. Everything about it fits, so that
// only the server's word is missing, which the repository's variable asks for whatever the dispatch says.
func (r *reached) deniesThief(t *testing.T, pull int, reviewed operation.ChangeSet) {
	t.Helper()
	if err := r.repo.SetEnvironment(sandbox.Environment{Name: "dev"}); err != nil { // without the gate, which would not let it begin
		t.Fatal(err)
	}
	r.repo.SetVariable("SWITCHYARD_SERVER", r.front)
	task := r.forged()
	task.Tree = r.treeOf(task.Commit)
	task.Job.Pull = pull
	task.Targets[0].Expected = &reviewed
	run := r.dispatchAsThief(t, task)
	log := logsOf(run)
	if run.Conclusion != "failure" || !strings.Contains(log, "no such operation") || r.answered(handlers.ConfirmPath, http.StatusNotFound) != 1 {
		t.Errorf("the server answered %q; the run ended so: %s", r.asked, log)
	}
	for _, process := range r.processes() {
		if strings.HasPrefix(process, "apply") && strings.Contains(process, "jobs/"+strconv.FormatInt(worked(run)[0].ID, 10)+"/") {
			t.Errorf("the thief's job ran terraform %s", process)
		}
	}
}

// worked are the jobs of a run that were not skipped.
func worked(run sandbox.Run) []sandbox.RunJob {
	return slices.DeleteFunc(slices.Clone(run.Jobs), func(job sandbox.RunJob) bool { return job.Conclusion == "skipped" })
}

// plansFork has a stranger open a pull request, and a maintainer lend it a plan.
func (r *reached) plansFork(t *testing.T) {
	fork, err := r.repo.Fork(r.ctx, story.Mallory)
	if err != nil {
		t.Fatal(err)
	}
	head, err := fork.Push(r.ctx, story.Mallory, "feature/gift", map[string]string{
		"net/gift.tf": strings.ReplaceAll(secondFile, "second", "gift"), ".github/workflows/switchyard.yml": "on: push\n",
	}, "gift", sandbox.PushOptions{From: "develop"})
	if err != nil {
		t.Fatal(err)
	}
	number, err := r.repo.OpenPull(r.ctx, story.Mallory, sandbox.Pull{From: story.Mallory + ":feature/gift", To: "develop", Title: "gift"})
	if err != nil {
		t.Fatal(err)
	}
	r.eventually("the fork's checks are there", func() bool { return len(r.repo.Checks(head)) > 0 })
	before := len(r.repo.Runs())
	r.comment(story.Ben, number, "/plan --fork "+head)
	r.said(number, "`/plan --fork` needs maintain permission")
	if runs := r.repo.Runs(); len(runs) != before {
		t.Fatalf("a run was started: %s", runs[before].Title)
	}
	r.comment(story.Ana, number, "/plan --fork "+head)
	r.checkIs(head, "switchyard / plan (dev)", "success")
	r.said(number, "terraform_data.gift")
	run := r.reality.asked("plan", theApp)
	if jobs := worked(run); len(jobs) != 1 || jobs[0].Environment != "dev-plan" || run.Ref != "refs/heads/switchyard/plans" {
		t.Errorf("it was planned by %+v on %s", jobs, run.Ref)
	}
}

// mayHave are the variables that Terraform is given; init has those of git, too.
var mayHave = regexp.MustCompile(`^(PATH|HOME|TMPDIR|PWD|LANG|CHECKPOINT_DISABLE|TF_\w+|ARM_\w+|ACTIONS_ID_TOKEN_REQUEST_(URL|TOKEN)|GIT_CONFIG_NOSYSTEM)$`)

// sawNoMore expects Terraform to have been started with no more than it needs, and with none of it in its arguments.
func (r *reached) sawNoMore(t *testing.T) {
	t.Helper()
	may := map[string]bool{"TF_VAR_password": true, "ARM_CLIENT_SECRET": true, "what a job asks for identities with": true}
	processes, fetched := r.processes(), 0
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, process := range processes {
		arguments, variables, _ := strings.Cut(process, "\n")
		for secret, what := range r.secrets {
			if strings.Contains(arguments, secret) {
				t.Errorf("terraform %s has %s in its arguments", arguments, what)
			}
			if !strings.Contains(variables, secret) || may[what] {
				continue
			}
			if strings.HasPrefix(arguments, "init") && what == "the token for modules, as git sends it" {
				fetched++
				continue
			}
			t.Errorf("terraform %s is given %s", arguments, what)
		}
		for line := range strings.Lines(variables) {
			name, _, _ := strings.Cut(line, "=")
			init := strings.HasPrefix(name, "GIT_") && strings.HasPrefix(arguments, "init")
			if !init && !mayHave.MatchString(name) {
				t.Errorf("terraform %s is given the variable %s", arguments, name)
			}
		}
	}
	if len(processes) < 10 || fetched == 0 {
		t.Errorf("%d processes, %d of them fetched modules", len(processes), fetched)
	}
	if !strings.Contains(strings.Join(processes, ""), "TF_VAR_password="+varSecret) {
		t.Error("the variable did not reach Terraform: nothing is shown by this test")
	}
}

func TestAWorkflowOfThreeLinesDoesTheSameInRealJobs(t *testing.T) {
	t.Parallel()
	r := newReached(t, map[string]string{
		".github/switchyard.yml":           strings.ReplaceAll(oneRoot, "executor: local", "executor: actions"),
		".github/workflows/switchyard.yml": template(t, "switchyard-short.yml"),
	})
	if err := r.repo.SetEnvironment(sandbox.Environment{Name: "dev", Gate: true}); err != nil {
		t.Fatal(err)
	}
	pull := r.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	r.planned(pull, "dev")
	r.said(pull, "terraform_data.second")
	merged := r.merge(pull)
	r.checkIs(merged, "switchyard / apply (dev)", "success")
	r.said(pull, "Applied to dev")
	jobs := worked(r.reality.asked("apply", theApp))
	if len(jobs) != 1 || jobs[0].Name != "run / apply dev" || jobs[0].Environment != "dev" {
		t.Errorf("it was applied by %+v", jobs)
	}
	if r.answered(handlers.ConfirmPath, http.StatusOK) != 1 || r.gate("dev: approved") != 1 {
		t.Errorf("the server answered %q", r.asked)
	}
	r.readAll(merged)

	next := r.open("feature/third", "develop", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	r.planned(next, "dev")
	r.repo.SetActions(false)
	r.checkIs(r.merge(next), "switchyard / apply (dev)", "failure")
	r.repo.SetActions(true)
	var planned operation.Result
	if err := json.Unmarshal([]byte(r.left(r.reality.asked("plan", theApp).ID)[operation.ResultFile]), &planned); err != nil {
		t.Fatal(err)
	}
	r.deniesThief(t, next, planned.Targets[0].ChangeSet)
}
