package hub_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
)

// standIn is a hub on the GitHub stand-in, every exchange of which is held to GitHub's own description.
type standIn struct {
	*sandbox.Sandbox

	hub    *hub.Hub
	remote *sandbox.Repository
	repo   operation.Repository
}

func newStandIn(t *testing.T, change ...func(*sandbox.Options)) *standIn {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	options := sandbox.Options{Dir: t.TempDir(), Observe: contract.Watch(t).Observe, Log: zerolog.Nop()}
	for _, c := range change {
		c(&options)
	}
	s := &standIn{}
	var err error
	s.Sandbox, err = sandbox.Start(ctx, options)
	must(err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	must(s.CreateOrg("acme"))
	for _, login := range []string{"ana", "ben", "tom", "eve"} {
		must(s.AddPerson(sandbox.Person{Login: login}))
	}
	must(s.CreateTeam("acme", "sre", "ana"))
	s.remote, err = s.CreateRepository(ctx, "acme", "network", sandbox.Seed{
		Branches:      []sandbox.SeedBranch{{Name: "main", Files: map[string]string{"a": "a\n"}}, {Name: "develop"}},
		DefaultBranch: "main", Private: true,
		Roles: map[string]sandbox.Role{"ana": sandbox.Maintain, "ben": sandbox.Write, "tom": sandbox.Triage},
	})
	must(err)
	must(s.Install(ctx, "acme", "network"))
	s.hub, err = hub.New(hub.Options{AppID: s.AppID(), PrivateKey: s.PrivateKey(), APIURL: s.APIURL(), GraphQLURL: s.GraphQLURL()})
	must(err)
	installations, err := s.hub.Installations(ctx)
	must(err)
	if len(installations) != 1 || installations[0].Account != "acme" {
		t.Fatalf("installations: %+v", installations)
	}
	repositories, err := s.hub.Repositories(ctx, installations[0].ID)
	must(err)
	if len(repositories) != 1 || repositories[0].FullName() != "acme/network" {
		t.Fatalf("repositories: %+v", repositories)
	}
	s.repo = repositories[0].Repository
	return s
}

// open opens a pull request from a branch of its own.
func (s *standIn) open(t *testing.T, branch string) (int, string) {
	t.Helper()
	sha, err := s.remote.Push(t.Context(), "ben", branch, map[string]string{"b": branch}, "add b", sandbox.PushOptions{From: "develop"})
	if err != nil {
		t.Fatal(err)
	}
	number, err := s.remote.OpenPull(t.Context(), "ben", sandbox.Pull{From: branch, To: "develop", Title: "add b"})
	if err != nil {
		t.Fatal(err)
	}
	return number, sha
}

func TestFactsOfTheStandIn(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	ctx := t.Context()
	const branch = "feature/a b%2f ü"
	number, sha := s.open(t, strings.ReplaceAll(branch, " ", "-"))

	app, err := s.hub.App(ctx)
	if err != nil || app.ID != s.AppID() || app.Slug != s.AppSlug() {
		t.Errorf("app: %+v, %v", app, err)
	}
	info, err := s.hub.Repository(ctx, s.repo)
	if diff := cmp.Diff(hub.Info{Repository: s.repo, DefaultBranch: "main", Private: true}, info); diff != "" || err != nil {
		t.Error(diff, err)
	}
	pull, err := s.hub.Pull(ctx, s.repo, number)
	if err != nil || pull.State != hub.Open || pull.HeadSHA != sha || pull.Fork || pull.HeadRef != strings.ReplaceAll(branch, " ", "-") || pull.Author != "ben" {
		t.Errorf("pull: %+v, %v", pull, err)
	}
	open, err := s.hub.OpenPulls(ctx, s.repo)
	if err != nil || len(open) != 1 || open[0].Number != number {
		t.Errorf("open: %+v, %v", open, err)
	}
	merged, err := s.remote.Merge(ctx, "ana", number, sandbox.MergeCommit)
	if err != nil {
		t.Fatal(err)
	}
	pulls, err := s.hub.PullsOfCommit(ctx, s.repo, merged)
	if err != nil || len(pulls) != 1 || pulls[0].State != hub.Merged || pulls[0].Number != number {
		t.Errorf("pulls of the merge: %+v, %v", pulls, err)
	}
	for login, want := range map[string]string{"ana": "maintain", "ben": "write", "tom": "triage", "eve": "none", "nobody": "none", "../ana": "none"} {
		if got, err := s.hub.Permission(ctx, s.repo, login); err != nil || got != want {
			t.Errorf("permission of %s: %s, %v, want %s", login, got, err, want)
		}
	}
	for login, want := range map[string]bool{"ana": true, "ben": false, "nobody": false} {
		if got, err := s.hub.InTeam(ctx, s.repo, "sre", login); err != nil || got != want {
			t.Errorf("%s in sre: %v, %v", login, got, err)
		}
	}
	var gone *hub.Gone
	if _, err := s.hub.Pull(ctx, s.repo, 999); !errors.As(err, &gone) {
		t.Errorf("no such pull request: %v", err)
	}
	if unserved := s.Unserved(); len(unserved) > 0 {
		t.Errorf("unserved: %v", unserved)
	}
}

func TestWritesToTheStandIn(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	ctx := t.Context()
	number, sha := s.open(t, "feature/a")
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}

	check := hub.Check{Name: "switchyard / plan (dev)", HeadSHA: sha, Status: hub.CheckInProgress, Title: "Planning", Summary: "s", ExternalID: "plan 1", Started: time.Now()}
	id, err := s.hub.PutCheck(ctx, s.repo, 0, check)
	must(err)
	check.Search = true
	again, err := s.hub.PutCheck(ctx, s.repo, 0, check)
	must(err)
	check.Status, check.Conclusion, check.Completed = hub.CheckCompleted, "success", time.Now()
	check.Actions = []hub.CheckAction{{Label: "Plan again", Description: "Plans again.", Identifier: "plan"}}
	_, err = s.hub.PutCheck(ctx, s.repo, id, check)
	must(err)
	if checks := s.remote.Checks(sha); again != id || len(checks) != 1 || checks[0].Conclusion != "success" || len(checks[0].Actions) != 1 {
		t.Errorf("check runs %d, %d: %+v", id, again, checks)
	}

	comment := hub.Comment{Number: number, Body: "one <!-- m -->", Marker: "<!-- m -->", Search: true}
	_, err = s.remote.Comment(ctx, "tom", number, "<!-- m --> mine")
	must(err)
	ref, err := s.hub.PutComment(ctx, s.repo, 0, comment)
	must(err)
	comment.Body = "two <!-- m -->"
	found, err := s.hub.PutComment(ctx, s.repo, 0, comment)
	must(err)
	must(s.hub.Minimize(ctx, s.repo, found.NodeID))
	must(s.hub.React(ctx, s.repo, ref.ID, "eyes"))
	must(s.hub.React(ctx, s.repo, ref.ID, "eyes"))
	view, _ := s.remote.PullView(number)
	if len(view.Comments) != 2 || view.Comments[0].Body != "<!-- m --> mine" || view.Comments[1].Body != "two <!-- m -->" ||
		!view.Comments[1].Minimized || view.Comments[1].Reactions["eyes"] != 1 || ref != found {
		t.Errorf("comments: %+v", view.Comments)
	}

	deployment := hub.Deployment{Ref: sha, Environment: "dev", Description: "apply 1", Payload: map[string]any{"operation": 1}, State: "queued", Search: true}
	deployed, err := s.hub.PutDeployment(ctx, s.repo, 0, "", deployment)
	must(err)
	deployment.State = "success"
	same, err := s.hub.PutDeployment(ctx, s.repo, 0, "", deployment)
	must(err)
	shown := s.remote.Deployments("dev")
	if same != deployed || len(shown) != 1 || len(shown[0].States) != 2 || shown[0].States[1].State != "success" {
		t.Errorf("deployments: %+v", shown)
	}
	if unserved := s.Unserved(); len(unserved) > 0 {
		t.Errorf("unserved: %v", unserved)
	}
}

func TestALostAnswerMakesNoSecondComment(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	number, _ := s.open(t, "feature/a")
	comment := hub.Comment{Number: number, Body: "one <!-- m -->", Marker: "<!-- m -->"}
	if _, err := s.hub.Token(t.Context(), s.repo); err != nil {
		t.Fatal(err)
	}
	s.SetLostShare(1)
	if _, err := s.hub.PutComment(t.Context(), s.repo, 0, comment); err == nil || typed(err) {
		t.Fatalf("%v, want a fault", err)
	}
	s.SetLostShare(0)
	comment.Search = true
	if _, err := s.hub.PutComment(t.Context(), s.repo, 0, comment); err != nil {
		t.Fatal(err)
	}
	if view, _ := s.remote.PullView(number); len(view.Comments) != 1 {
		t.Errorf("%d comments, want 1", len(view.Comments))
	}
}

func TestTheStandInNamesTheMissingPermission(t *testing.T) {
	t.Parallel()
	s := newStandIn(t, func(o *sandbox.Options) {
		o.Permissions = map[string]string{"metadata": "read", "contents": "read", "pull_requests": "read", "issues": "read"}
	})
	_, sha := s.open(t, "feature/a")
	_, err := s.hub.PutCheck(t.Context(), s.repo, 0, hub.Check{Name: "n", HeadSHA: sha, Status: hub.CheckQueued})
	var person *hub.NeedsPerson
	if !errors.As(err, &person) || !strings.Contains(person.Remedy, `"Checks: write"`) {
		t.Errorf("%v", err)
	}
}

func TestGitReadsWithATokenThatCanDoNothingElse(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	token, err := s.hub.Token(t.Context(), s.repo)
	if err != nil {
		t.Fatal(err)
	}
	address := strings.Replace(s.remote.CloneURL(), "://", "://x-access-token:"+token+"@", 1)
	git := exec.CommandContext(t.Context(), "git", "ls-remote", address, "refs/heads/main")
	git.Env = append(os.Environ(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_GLOBAL=/dev/null")
	if out, err := git.CombinedOutput(); err != nil || !strings.Contains(string(out), "refs/heads/main") {
		t.Errorf("%s %v", out, err)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, s.APIURL()+"/repos/acme/network/issues/1/comments", strings.NewReader(`{"body":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "token "+token)
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Github-Api-Version", "2022-11-28")
	response, err := (&http.Client{}).Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusForbidden {
		t.Errorf("git's token may write comments: %d", response.StatusCode)
	}
}

func TestAnUninstalledAppIsGone(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	if err := s.Uninstall(t.Context(), "acme"); err != nil {
		t.Fatal(err)
	}
	var gone *hub.Gone
	if _, err := s.hub.Repository(t.Context(), s.repo); !errors.As(err, &gone) {
		t.Errorf("%v", err)
	}
}

func TestAnUnchangedAnswerCostsNothing(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	number, _ := s.open(t, "feature/a")
	for range 3 {
		if _, err := s.hub.Pull(t.Context(), s.repo, number); err != nil {
			t.Fatal(err)
		}
	}
	calls := s.Calls()
	if got := calls["GET /repos/{owner}/{repo}/pulls/{pull_number}"]; got != 1 {
		t.Errorf("%d calls that were not a 304, want 1: %v", got, calls)
	}
	if slices.Contains(s.Unserved(), "") {
		t.Error("unserved")
	}
}
