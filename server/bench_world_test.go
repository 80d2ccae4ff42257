package server_test

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// fleet is a repository with a number of roots that all use one local module.
type fleet struct {
	*shop
	roots []string // directories
	pulls int
}

// fleetFiles are the files of a repository with so many roots.
func fleetFiles(roots int) (files map[string]string, dirs []string) {
	config := strings.Builder{}
	config.WriteString("version: 1\napplication: fleet\nenvironments:\n  dev: { branch: develop }\n  prod: { branch: main }\nexecutor: local\nroots:\n")
	files = map[string]string{
		"README.md": "fleet\n",
		"modules/stamp/main.tf": `variable "region" {
  type = string
}

resource "terraform_data" "address" {
  input = "10.0.0.0/16 in ${var.region}"
}

output "address" {
  value = terraform_data.address.output
}
`,
	}
	for i := range roots {
		dir := fmt.Sprintf("infra/r%02d", i+1)
		dirs = append(dirs, dir)
		fmt.Fprintf(&config, "  - dir: %s\n    var_files: [\"env/{environment}.tfvars\"]\n", dir)
		fmt.Fprintf(&config, "    backend: { path: \"STATES/r%02d-{environment}.tfstate\" }\n", i+1)
		files[dir+"/main.tf"] = `terraform {
  backend "local" {}
}

variable "regions" {
  type = set(string)
}

module "stamp" {
  for_each = var.regions
  source   = "../../modules/stamp"
  region   = each.key
}
`
		files[dir+"/env/dev.tfvars"] = "regions = [\"westeurope\", \"southeastasia\"]\n"
		files[dir+"/env/prod.tfvars"] = files[dir+"/env/dev.tfvars"]
	}
	files[".github/switchyard.yml"] = config.String()
	return files, dirs
}

// change is a change of every root, in a file of its own.
func (f *fleet) change(text string) map[string]string {
	files := map[string]string{}
	for _, dir := range f.roots {
		files[dir+"/limits.tf"] = fmt.Sprintf("resource \"terraform_data\" \"limits\" {\n  input = %q\n}\n", text)
	}
	return files
}

// newFleet makes a fleet in a world that is held to GitHub's descriptions.
func newFleet(t testing.TB, roots int, change ...func(*settings.Settings)) *fleet {
	t.Helper()
	files, dirs := fleetFiles(roots)
	f := &fleet{shop: newShopOn(t, newWorld(t, change...), files), roots: dirs}
	f.takenIn()
	return f
}

// newBenchFleet makes a fleet in a world that is not: checking the descriptions takes time of its own.
func newBenchFleet(b *testing.B, roots int) *fleet {
	b.Helper()
	ctx, cancel := context.WithCancel(b.Context())
	b.Cleanup(cancel)
	dir := b.TempDir()
	log := zerolog.New(zerolog.NewTestWriter(b)).Level(zerolog.WarnLevel)
	box, err := sandbox.Start(ctx, sandbox.Options{Dir: filepath.Join(dir, "github"), Log: log})
	if err != nil {
		b.Fatalf("start the sandbox: %v", err)
	}
	b.Cleanup(func() { _ = box.Close() })
	w := &world{Box: box, States: filepath.Join(dir, "states"), t: b, ctx: ctx, data: filepath.Join(dir, "data")}
	files, dirs := fleetFiles(roots)
	for path, content := range files {
		files[path] = strings.ReplaceAll(content, "STATES", w.States)
	}
	f := &fleet{shop: &shop{world: w, repo: seedFleet(b, box, files)}, roots: dirs}
	w.start(log)
	if err := box.Install(ctx, "acme", "fleet"); err != nil {
		b.Fatalf("install the App: %v", err)
	}
	f.eventually("the repository is taken in", func() bool { return box.Calls()["GET /repos/{owner}/{repo}/pulls"] > 0 })
	f.quiet()
	return f
}

// seedFleet makes acme/fleet and its people.
func seedFleet(t testing.TB, box *sandbox.Sandbox, files map[string]string) *sandbox.Repository {
	t.Helper()
	if err := box.CreateOrg("acme"); err != nil {
		t.Fatal(err)
	}
	for _, login := range []string{story.Ana, story.Ben} {
		if err := box.AddPerson(sandbox.Person{Login: login}); err != nil {
			t.Fatal(err)
		}
	}
	repo, err := box.CreateRepository(t.Context(), "acme", "fleet", sandbox.Seed{
		DefaultBranch: "main",
		Branches:      []sandbox.SeedBranch{{Name: "main", Files: files, As: story.Ana}, {Name: "develop", From: "main"}},
		Roles:         map[string]sandbox.Role{story.Ana: sandbox.Maintain, story.Ben: sandbox.Write},
	})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// takenIn waits until Switchyard has looked at everything of both repositories for the first time.
func (s *shop) takenIn() {
	s.t.Helper()
	s.eventually("both repositories are taken in", func() bool {
		calls := s.Box.Calls()
		return calls["GET /repos/{owner}/{repo}/pulls"] >= 2 && calls["GET /app/hook/deliveries"] >= 1
	})
	s.quiet()
}

// quiet waits until the server has nothing left to do: no job, and nothing that GitHub does not show
// yet. Neither gives a signal when it is recorded as done, so the database is asked.
func (s *shop) quiet() {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "switchyard.db")+"?_pragma=query_only(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx, cancel := context.WithTimeout(s.ctx, patience)
	defer cancel()
	ticker := time.NewTicker(5 * time.Millisecond) //nolint:forbidigo // another process gives no signal
	defer ticker.Stop()
	for {
		var open int
		err := db.QueryRowContext(ctx, `SELECT (SELECT COUNT(*) FROM jobs WHERE state <> 'dead')
			+ (SELECT COUNT(*) FROM surfaces WHERE version > written OR claimed_until > 0)`).Scan(&open)
		if err != nil {
			s.t.Fatalf("ask whether the server is done: %v", err)
		}
		if open == 0 {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			s.t.Fatalf("the server is not done: %d things are left", open)
		}
	}
}

// settled waits until a webhook of this event that names a commit was delivered, and all that follows from it is done.
func (f *fleet) settled(event, sha string) {
	f.t.Helper()
	f.eventually(event+" of "+sha[:7]+" is delivered", func() bool {
		return slices.ContainsFunc(f.Box.Deliveries(), func(d sandbox.Delivery) bool {
			return d.Event == event && strings.Contains(string(d.Payload), sha)
		})
	})
	f.quiet()
}

// opened is a pull request that changes every root.
type opened struct {
	number int
	branch string
}

// openAll opens a pull request that changes every root, and returns when its plan is shown.
func (f *fleet) openAll() opened {
	f.t.Helper()
	f.pulls++
	pull := opened{branch: fmt.Sprintf("feature/limits-%d", f.pulls)}
	sha, err := f.repo.Push(f.ctx, story.Ben, pull.branch, f.change(pull.branch), "Change the limits", sandbox.PushOptions{From: "develop"})
	if err != nil {
		f.t.Fatalf("push: %v", err)
	}
	f.settled("push", sha)
	if pull.number, err = f.repo.OpenPull(f.ctx, story.Ben, sandbox.Pull{From: pull.branch, To: "develop", Title: "Limits"}); err != nil {
		f.t.Fatalf("open: %v", err)
	}
	f.shown(pull)
	return pull
}

// pushAgain pushes another change of every root to a pull request, and returns when its plan is shown.
func (f *fleet) pushAgain(pull opened) {
	f.t.Helper()
	if _, err := f.repo.Push(f.ctx, story.Ben, pull.branch, f.change(pull.branch+" again"), "Change them again"); err != nil {
		f.t.Fatalf("push: %v", err)
	}
	f.shown(pull)
}

// shown waits until the plan of a pull request's head is shown in its comment and its check.
func (f *fleet) shown(pull opened) {
	f.t.Helper()
	f.eventually(fmt.Sprintf("the plan of #%d is shown", pull.number), func() bool {
		view, _ := f.repo.PullView(pull.number)
		_, commented := planComment(view)
		return commented && slices.ContainsFunc(view.Checks, func(c sandbox.Check) bool {
			return strings.HasPrefix(c.Name, "switchyard / plan") && c.Conclusion == "success"
		})
	})
}

// planComment is the App's comment once it shows the plan of the newest head.
func planComment(view sandbox.PullView) (sandbox.Comment, bool) {
	for _, comment := range view.Comments {
		if comment.Bot && strings.Contains(comment.Body, view.Head.SHA[:7]) && strings.Contains(comment.Body, "```diff") {
			return comment, true
		}
	}
	return sandbox.Comment{}, false
}

// wayToComment is the time from when the newest webhook of this action was sent to when the plan comment was there.
func (f *fleet) wayToComment(action string, pull opened) time.Duration {
	f.t.Helper()
	view, _ := f.repo.PullView(pull.number)
	comment, ok := planComment(view)
	if !ok {
		f.t.Fatalf("#%d shows no plan", pull.number)
	}
	for _, delivery := range slices.Backward(f.Box.Deliveries()) {
		if delivery.Event == "pull_request" && delivery.Action == action {
			return comment.UpdatedAt.Sub(delivery.DeliveredAt)
		}
	}
	f.t.Fatalf("no webhook pull_request.%s was sent", action)
	return 0
}

// counted is the number of API calls of each kind since before.
func counted(before, after map[string]int) map[string]int {
	calls := map[string]int{}
	for name, count := range after {
		if count > before[name] {
			calls[name] = count - before[name]
		}
	}
	return calls
}

func total(calls map[string]int) int {
	sum := 0
	for count := range maps.Values(calls) {
		sum += count
	}
	return sum
}

// results are what the runners of this world have left, the newest last.
func (f *fleet) results() []operation.Result {
	f.t.Helper()
	files, err := filepath.Glob(filepath.Join(f.data, "runs", "*", "result.json"))
	if err != nil {
		f.t.Fatal(err)
	}
	results := make([]operation.Result, 0, len(files))
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.t.Fatal(err)
		}
		var result operation.Result
		if err := json.Unmarshal(data, &result); err != nil {
			f.t.Fatal(err)
		}
		results = append(results, result)
	}
	slices.SortFunc(results, func(a, b operation.Result) int { return cmp.Compare(a.Operation, b.Operation) })
	return results
}

// processes are the Terraform processes of the newest run, all targets together.
func (f *fleet) processes() int {
	f.t.Helper()
	results := f.results()
	if len(results) == 0 {
		f.t.Fatal("no runner has left a result")
	}
	sum := 0
	for _, target := range results[len(results)-1].Targets {
		sum += target.Processes
	}
	return sum
}
