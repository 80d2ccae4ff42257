package job

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// The commits of branch main, the oldest first, and one that is on none.
var (
	applied  = strings.Repeat("a", 40)
	reviewed = strings.Repeat("b", 40)
	tip      = strings.Repeat("c", 40)
	stray    = strings.Repeat("e", 40)
	digest   = "7f3a" + strings.Repeat("0", 60)
)

// noon is when the last apply was made.
var noon = time.Date(2026, time.November, 20, 12, 0, 0, 0, time.UTC)

const configured = `version: 1
application: network
environments:
  dev:  { branch: develop }
  prod: { branch: main, approvals: 1 }
roots:
  - dir: infra
    backend: { key: "{application}-{environment}" }
  - dir: dns
    backend: { path: "/states/{environment}.tfstate" }
executor: actions
`

var network = operation.Repository{ID: 7, Owner: "acme", Name: "network"}

// world is what GitHub and git say. A test changes what it is about.
type world struct {
	config      string
	run         hub.Run
	now         time.Time
	let         []string // who let the job begin
	protection  hub.Environment
	others      []hub.Run // of the workflow
	artifacts   map[int64][]hub.Artifact
	identity    map[string]any            // claims; nil: the job has none
	deployed    []hub.Deployed            // newest first
	branched    map[string][]hub.Deployed // of each branch, where a test tells them apart
	runs        map[int64]hub.Run
	attempts    map[int64]hub.Run // first ones
	branches    map[string][]string
	pullHeads   map[int]string
	pulls       map[int]hub.Pull
	commitPulls map[string][]int
	changed     map[string][]string // files of a commit; those of infra where nothing is said
	parents     map[string][]string // of a commit; the one before it on main where nothing is said
	authors     map[int]hub.Authors
	reviews     map[int][]hub.Review
	comments    map[int64]hub.Written
	permissions map[string]string
	machine     Machine
	activities  []hub.Activity // newest first
	quiet       error          // why GitHub does not tell of them
	asked       []string
	endless     error // why no token can be ended
}

// newWorld is one in which an apply of tip to prod may go on: it brings #41 and #42, which cy has approved.
func newWorld() *world {
	run := hub.Run{
		ID: 100, Name: "switchyard apply prod, operation 5.2 launched", Path: ".github/workflows/switchyard.yml", Event: dispatchEvent,
		Branch: "main", SHA: tip, Attempt: 1, Created: noon.Add(time.Hour),
	}
	before := run
	before.ID, before.SHA, before.Created, before.Conclusion = 90, applied, noon, "success"
	return &world{
		config: configured, run: run, now: noon.Add(40 * time.Minute), runs: map[int64]hub.Run{90: before}, attempts: map[int64]hub.Run{},
		identity: map[string]any{"environment": "prod", "run_id": "100"},
		deployed: []hub.Deployed{{SHA: applied, Run: 90}},
		branches: map[string][]string{"main": {applied, reviewed, tip}, "develop": {applied}},
		pulls: map[int]hub.Pull{
			41: {Number: 41, State: hub.Merged, BaseRef: "main", HeadSHA: "h41", Author: "ana"},
			42: {Number: 42, State: hub.Merged, BaseRef: "main", HeadSHA: "h42", Author: "ben"},
		},
		pullHeads:   map[int]string{},
		commitPulls: map[string][]int{reviewed: {41}, tip: {42}},
		authors:     map[int]hub.Authors{41: {Logins: []string{"ana"}}, 42: {Logins: []string{"ben"}}},
		reviews: map[int][]hub.Review{
			41: {{Login: "cy", Type: "User", State: "approved", Commit: "h41", Submitted: noon}},
			42: {{Login: "cy", Type: "User", State: "approved", Commit: "h42", Submitted: noon}},
		},
		comments:    map[int64]hub.Written{},
		permissions: map[string]string{"ana": "maintain", "ben": "write", "cy": "maintain", "eve": "read"},
		machine: Machine{
			Repository: network, Run: 100, Attempt: 1, Event: dispatchEvent, Ref: "refs/heads/main", SHA: tip, Token: "job-token",
			Web: "https://github.com", Identity: Identity{Address: "https://identity.example", Secret: "identity-secret"},
		},
	}
}

// applyTask is the task of that apply.
func applyTask() operation.Task {
	return operation.Task{
		Version: operation.ContractVersion, Operation: 5, Attempt: 2, Launch: "launched-once", Kind: operation.Apply, Repository: network,
		Commit: tip, Environment: "prod", Tree: strings.Repeat("d", 40),
		Targets: []operation.TargetTask{{Target: operation.Target{Root: "infra", Environment: "prod"}}},
		Job: &operation.Job{
			Workflow: "switchyard.yml", Ref: "main", Branch: "main", Environment: "prod", Shards: [][]string{{"infra"}},
		},
	}
}

func (w *world) Repository(context.Context, operation.Repository) (hub.Info, error) {
	return hub.Info{DefaultBranch: "main"}, nil
}

func (w *world) Environment(context.Context, operation.Repository, string) (hub.Environment, bool, error) {
	return w.protection, true, nil
}

func (w *world) LetBegin(context.Context, operation.Repository, int64, string) ([]string, error) {
	return w.let, nil
}

func (w *world) Deployed(_ context.Context, _ operation.Repository, environment string, each func(hub.Deployed) (bool, error)) error {
	w.notef("what was deployed to %s", environment)
	for _, d := range w.deployed {
		if more, err := each(d); err != nil || !more {
			return err
		}
	}
	return nil
}

// DeployedBy gives what others have deployed, too: what counts is not GitHub's search to say.
func (w *world) DeployedBy(
	ctx context.Context, repo operation.Repository, environment, workflow, branch string, each func(hub.Deployed) (bool, error),
) error {
	w.notef("what %s on %s deployed", workflow, branch)
	if w.branched != nil {
		_, err := each(w.branched[branch][0])
		return err
	}
	return w.Deployed(ctx, repo, environment, each)
}

func (w *world) Activities(_ context.Context, _ operation.Repository, branch string, each func(hub.Activity) bool) error {
	w.notef("who moved %s", branch)
	for _, one := range w.activities {
		if !each(one) {
			return nil
		}
	}
	return w.quiet
}

func (w *world) IdentityToken(_ context.Context, _, _, audience string) (string, error) {
	w.notef("an identity for %s", audience)
	return jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims(w.identity)).SignedString([]byte("key"))
}

func (w *world) RevokeToken(_ context.Context, token string) error {
	_, err := os.Stat(filepath.Join(w.machine.Workspace, defaultResultDir, operation.ResultFile))
	w.notef("the end of token %.4s, with the result there: %v", token, err == nil)
	return w.endless
}

func (w *world) Run(_ context.Context, _ operation.Repository, id int64) (hub.Run, error) {
	if id == w.run.ID {
		return w.run, nil
	}
	run, ok := w.runs[id]
	if !ok {
		return run, &hub.Gone{What: "run"}
	}
	return run, nil
}

func (w *world) FirstSucceeded(_ context.Context, _ operation.Repository, id int64) (bool, error) {
	return w.attempts[id].Conclusion == "success", nil
}

func (w *world) Artifacts(_ context.Context, _ operation.Repository, run int64) ([]hub.Artifact, error) {
	return w.artifacts[run], nil
}

func (w *world) RunsAround(context.Context, operation.Repository, string, hub.Run, time.Duration, time.Duration) ([]hub.Run, error) {
	return w.others, nil
}

func (w *world) Pull(_ context.Context, _ operation.Repository, number int) (hub.Pull, error) {
	return w.pulls[number], nil
}

func (w *world) PullsOfCommit(_ context.Context, _ operation.Repository, sha string) ([]hub.Pull, error) {
	var pulls []hub.Pull
	for _, number := range w.commitPulls[sha] {
		pulls = append(pulls, w.pulls[number])
	}
	return pulls, nil
}

func (w *world) PullAuthors(_ context.Context, _ operation.Repository, number int) (hub.Authors, error) {
	return w.authors[number], nil
}

func (w *world) Reviews(_ context.Context, _ operation.Repository, number int) ([]hub.Review, bool, error) {
	return w.reviews[number], false, nil
}

func (w *world) Permission(_ context.Context, _ operation.Repository, login string) (string, error) {
	w.notef("the permission of %s", login)
	return w.permissions[login], nil
}

func (w *world) Comment(_ context.Context, _ operation.Repository, id int64) (hub.Written, error) {
	written, ok := w.comments[id]
	if !ok {
		return written, &hub.Gone{What: "comment"}
	}
	return written, nil
}

func (w *world) Retouched(_ context.Context, _ operation.Repository, node string) (bool, error) {
	return node == "retouched", nil
}

func (w *world) Branch(_ context.Context, _ operation.Repository, name string) (string, bool, error) {
	line := w.branches[name]
	if len(line) == 0 {
		return "", false, nil
	}
	return line[len(line)-1], true, nil
}

func (w *world) Branches(_ context.Context, _ operation.Repository, match func(string) bool) (map[string]string, error) {
	found := map[string]string{}
	for name, line := range w.branches {
		if match(name) {
			found[name] = line[len(line)-1]
		}
	}
	return found, nil
}

func (w *world) PullHead(_ context.Context, _ operation.Repository, number int) (string, bool, error) {
	head, ok := w.pullHeads[number]
	return head, ok, nil
}

func (w *world) IsAncestor(_ context.Context, _ operation.Repository, a, b string) (bool, error) {
	for _, line := range w.branches {
		if at := slices.Index(line, b); at >= 0 && slices.Contains(line[:at+1], a) {
			return true, nil
		}
	}
	return a == b, nil
}

func (w *world) FirstParents(_ context.Context, _ operation.Repository, from, to string, limit int) ([]string, error) {
	if from == "" {
		return []string{to}, nil
	}
	line := w.branches["main"]
	var found []string
	for at := slices.Index(line, to); at > slices.Index(line, from) && len(found) < limit; at-- {
		found = append(found, line[at])
	}
	return found, nil
}

func (w *world) ReadFile(_ context.Context, _ operation.Repository, _, name string) ([]byte, bool, error) {
	switch {
	case name == ".github/switchyard.yml":
		return []byte(w.config), w.config != "", nil
	case strings.HasPrefix(name, "infra/"):
		return []byte("terraform {\n  backend \"azurerm\" {}\n}\n"), true, nil
	default:
		return []byte("terraform {\n  backend \"local\" {}\n}\n"), true, nil
	}
}

func (w *world) Files(context.Context, operation.Repository, string, string) ([]string, error) {
	return []string{"main.tf"}, nil
}

func (w *world) Commit(_ context.Context, _ operation.Repository, sha string) (git.Commit, error) {
	commit := git.Commit{Tree: strings.Repeat("d", 40)}
	if at := slices.Index(w.branches["main"], sha); at > 0 {
		commit.Parents = []string{w.branches["main"][at-1], stray}
	}
	if parents, said := w.parents[sha]; said {
		commit.Parents = parents
	}
	return commit, nil
}

func (w *world) ChangedFiles(_ context.Context, _ operation.Repository, from, to string) ([]string, error) {
	if from == stray {
		return nil, errors.New("a commit is compared with its second parent")
	}
	if files, said := w.changed[to]; said {
		return files, nil
	}
	return []string{"infra/main.tf"}, nil
}

func (w *world) Fetch(context.Context, operation.Repository) error { return nil }

func (w *world) Tree(context.Context, operation.Repository, string) (string, error) {
	return strings.Repeat("d", 40), nil
}

func (w *world) Merge(context.Context, operation.Repository, string, string) (git.MergeResult, error) {
	return git.MergeResult{Tree: strings.Repeat("d", 40)}, nil
}

func (w *world) Prefetch(context.Context, operation.Repository, string, ...string) error { return nil }

func (w *world) Dir(operation.Repository) string { return w.machine.Temp + "/switchyard/mirrors/7.git" }

// planTask makes it a world in which #43, a change of ben's, is planned for prod, and gives the task.
func (w *world) planTask() operation.Task {
	w.run.Branch, w.run.SHA, w.machine.SHA, w.machine.Ref = "switchyard/plans", applied, applied, "refs/heads/switchyard/plans"
	w.run.Name = "switchyard plan prod, operation 5.2 launched"
	w.identity["environment"] = "prod-plan"
	w.branches["feature"] = []string{applied, stray}
	w.pulls[43] = hub.Pull{Number: 43, State: hub.Open, BaseRef: "main", HeadSHA: stray, Author: "ben"}
	w.pullHeads[43] = stray
	task := applyTask()
	task.Kind, task.Commit = operation.Plan, stray
	task.Job.Ref, task.Job.Environment, task.Job.Pull, task.Job.Base = "switchyard/plans", "prod-plan", 43, tip
	return task
}

// say has a person comment.
func (w *world) say(id int64, author, body string, change ...func(*hub.Written)) operation.Word {
	written := hub.Written{Number: 42, Author: author, Body: body, Made: noon.Add(30 * time.Minute)}
	for _, c := range change {
		c(&written)
	}
	w.comments[id] = written
	return operation.Word{Comment: id, Login: author}
}

// refusals are what a job says about a task in this world.
func (w *world) refusals(t *testing.T, task operation.Task) []string {
	t.Helper()
	known, err := (&gatherer{github: w, git: w, repo: network, now: w.now}).gather(t.Context(), w.machine, w.run, task, "main")
	if err != nil {
		return []string{"fault: " + err.Error()}
	}
	return refusals(task, known)
}

func (w *world) notef(format string, args ...any) {
	w.asked = append(w.asked, fmt.Sprintf(format, args...))
}

// packed is a task as it stands in the inputs.
func packed(t testing.TB, task operation.Task) string {
	t.Helper()
	data, err := json.Marshal(task)
	if err != nil {
		t.Fatal(err)
	}
	return zipped(t, data)
}

func zipped(t testing.TB, data []byte) string {
	t.Helper()
	var packed bytes.Buffer
	writer := gzip.NewWriter(&packed)
	if _, err := writer.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(packed.Bytes())
}

// environ has the inputs of a task, and more.
func environ(t testing.TB, task operation.Task, more map[string]string) Environ {
	t.Helper()
	values := map[string]string{
		"INPUT_COMMAND": string(task.Kind), "INPUT_ENVIRONMENT": task.Environment, "INPUT_PROTECTION": task.Job.Environment,
		"INPUT_OPERATION": operation.InputOperationOf(task), "INPUT_LAUNCH": operation.InputLaunchOf(task), "INPUT_SHA": task.Commit,
		"INPUT_DIGEST": task.Confirmed, "INPUT_TASK": packed(t, task), "INPUT_SHARD": "0",
	}
	maps.Copy(values, more)
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}
