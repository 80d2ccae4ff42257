package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/handlers"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// public is the server's address as jobs know it; the tests ask it at the one that it has.
const public = "https://switchyard.example.com"

// newReachedYard is a yard whose jobs can reach the server.
func newReachedYard(t *testing.T) *yard {
	t.Helper()
	y := newYard(t, func(s *settings.Settings) {
		s.PublicURL = public
		s.GitHub.Issuer = strings.TrimSuffix(s.GitHub.API, "/api/v3") + "/_services/oidc"
	})
	if issuer := y.Box.IssuerURL(); issuer != strings.TrimSuffix(y.Box.APIURL(), "/api/v3")+"/_services/oidc" {
		t.Fatalf("the issuer is %s", issuer)
	}
	return y
}

// identity is the token by which a job says to somebody who it is.
func (y *yard) identity(works *sandbox.Job, audience string) string {
	request, err := http.NewRequestWithContext(y.ctx, http.MethodGet,
		works.Environment["ACTIONS_ID_TOKEN_REQUEST_URL"]+"&audience="+audience, http.NoBody)
	if err != nil {
		y.t.Error(err)
		return ""
	}
	request.Header.Set("Authorization", "Bearer "+works.Environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"])
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		y.t.Error(err)
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil || answer.Value == "" {
		y.t.Errorf("no identity: %v, %s", err, response.Status)
	}
	return answer.Value
}

// ask asks the server as a job does, and gives its answer: status and body.
func (y *yard) ask(path, token, body string) string {
	request, err := http.NewRequestWithContext(y.ctx, http.MethodPost, y.Server.URL()+path, strings.NewReader(body))
	if err != nil {
		return err.Error()
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%d %s", response.StatusCode, strings.TrimSpace(string(data)))
}

// question is what a job asks, in the job's own words.
func question(task operation.Task) string {
	data, err := json.Marshal(job.Confirmation{Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch})
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// other is a question with something else in it.
func other(task operation.Task, change func(*operation.Task)) string {
	change(&task)
	return question(task)
}

func TestAJobAsksWhetherItsApplyMayBegin(t *testing.T) {
	t.Parallel()
	y := newReachedYard(t)
	asked := make(chan struct{})
	var planned, token, last string
	var pull int
	y.jobs(func(_ context.Context, works *sandbox.Job, task operation.Task) string {
		if task.Job.Server != public {
			t.Errorf("the job is told that the server is at %q", task.Job.Server)
		}
		if task.Kind == operation.Plan {
			planned = y.identity(works, public)
			if got := y.ask(handlers.ConfirmPath, planned, question(task)); !strings.HasPrefix(got, "409 ") {
				t.Errorf("a plan is told %s", got)
			}
			y.leave(works, task, resultFor(task))
			return "success"
		}
		defer close(asked)
		token, last = y.identity(works, public), question(task)
		forged := token[:len(token)-6] + strings.Map(func(r rune) rune { return 'A' + (r+1)%26 }, token[len(token)-6:])
		for name, c := range map[string]struct{ token, body, want string }{
			"without a token":            {"", last, "401 "},
			"with a forged token":        {forged, last, "401 "},
			"with no token at all":       {"hello", last, "401 "},
			"with a token for another":   {y.identity(works, "https://other.example.com"), last, "401 "},
			"with the token of a plan":   {planned, last, "403 "},
			"of another operation":       {token, other(task, func(t *operation.Task) { t.Operation += 100 }), "404 "},
			"of another attempt":         {token, other(task, func(t *operation.Task) { t.Attempt++ }), "404 "},
			"of another launch":          {token, other(task, func(t *operation.Task) { t.Launch += "x" }), "404 "},
			"about nothing":              {token, `{}`, "400 "},
			"with a key of its own":      {token, `{"operation":1,"attempt":1,"launch":"x","force":true}`, "400 "},
			"with very many words":       {token, `{"launch":"` + strings.Repeat("x", 5000) + `"}`, "413 "},
			"with a very long token":     {strings.Repeat("x", 17_000), last, "401 "},
			"as it is":                   {token, last, "200 "},
			"as it is, once more (lost)": {token, last, "200 "},
		} {
			if got := y.ask(handlers.ConfirmPath, c.token, c.body); !strings.HasPrefix(got, c.want) {
				t.Errorf("%s: %s", name, got)
			}
		}
		y.comment(story.Ana, pull, "/cancel dev")
		<-works.Cancelled
		if got := y.ask(handlers.ConfirmPath, token, last); !strings.HasPrefix(got, "409 ") || !strings.Contains(got, "cancelled") {
			t.Errorf("while it is cancelled: %s", got)
		}
		result := resultFor(task)
		result.Stopped, result.Targets[0].Outcome = "cancelled", operation.TargetStopped
		y.leave(works, task, result)
		return "cancelled"
	})
	pull = y.open("feature/a", "develop", map[string]string{"infra/a.tf": "# a\n"})
	y.planned(pull, "dev")
	y.merge(pull)
	select {
	case <-asked:
	case <-time.After(patience): //nolint:forbidigo // how long a test waits
		t.Fatal("no job asked")
	}
	y.said(pull, "The apply to dev was cancelled")
	if got := y.ask(handlers.ConfirmPath, token, last); !strings.HasPrefix(got, "409 ") || !strings.Contains(got, "cancelled") {
		t.Errorf("after the end: %s", got)
	}
}

func TestAJobGetsATokenForPrivateModules(t *testing.T) {
	t.Parallel()
	y := newReachedYard(t)
	for _, name := range []string{"stamp", "secret"} {
		if _, err := y.Box.CreateRepository(y.ctx, "acme", name, sandbox.Seed{
			DefaultBranch: "main", Branches: []sandbox.SeedBranch{{Name: "main", Files: map[string]string{"main.tf": "# " + name + "\n"}, As: story.Ana}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	modules := func(list string) {
		t.Helper()
		file := strings.ReplaceAll(inWorkflows, "STATES", y.States) + "modules: " + list + "\n"
		if _, err := y.repo.Push(y.ctx, story.Ana, "main", map[string]string{".github/switchyard.yml": file}, "modules "+list); err != nil {
			t.Fatal(err)
		}
	}
	type answer struct{ answer, token string }
	answers := make(chan answer, 1)
	y.jobs(func(_ context.Context, works *sandbox.Job, task operation.Task) string {
		token := y.identity(works, public)
		answers <- answer{y.ask(handlers.ModulesPath, token, question(task)), token}
		if got := y.ask(handlers.ModulesPath, token, other(task, func(t *operation.Task) { t.Launch = "another" })); !strings.HasPrefix(got, "404 ") {
			t.Errorf("another launch: %s", got)
		}
		y.leave(works, task, resultFor(task))
		return "success"
	})
	plan := func(branch string) answer {
		t.Helper()
		pull := y.open(branch, "develop", map[string]string{"infra/" + strings.ReplaceAll(branch, "/", "-") + ".tf": "# a\n"})
		select {
		case got := <-answers:
			y.planned(pull, "dev")
			return got
		case <-time.After(patience): //nolint:forbidigo // how long a test waits
			t.Fatal("no job asked")
			return answer{}
		}
	}
	if got := plan("feature/none").answer; got != "200 {\"repositories\":null}" {
		t.Errorf("where none are listed: %s", got)
	}
	modules("[acme/stamp]")
	if got := plan("feature/not-installed").answer; !strings.HasPrefix(got, "409 ") || !strings.Contains(got, "Install the App") {
		t.Errorf("where the App is not installed on it: %s", got)
	}
	if err := y.Box.Install(y.ctx, "acme", "stamp", "secret"); err != nil {
		t.Fatal(err)
	}
	got := plan("feature/installed").answer
	var given job.ModuleToken
	if err := json.Unmarshal([]byte(strings.TrimPrefix(got, "200 ")), &given); err != nil || given.Token == "" || len(given.Repositories) != 1 {
		t.Fatalf("it is given %s, %v", got, err)
	}
	for path, want := range map[string]int{
		"GET /repos/acme/stamp/contents/main.tf":  http.StatusOK,
		"GET /repos/acme/secret/contents/main.tf": http.StatusNotFound,
		"GET /repos/acme/shop/contents/README.md": http.StatusNotFound,
		"POST /repos/acme/stamp/issues":           http.StatusForbidden,
	} {
		method, path, _ := strings.Cut(path, " ")
		var body io.Reader
		if method == http.MethodPost {
			body = strings.NewReader("{\"title\":\"x\"}")
		}
		request, err := http.NewRequestWithContext(y.ctx, method, y.Box.APIURL()+path, body)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+given.Token)
		response, err := (&http.Client{Timeout: patience}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != want {
			t.Errorf("%s %s: %s", method, path, response.Status)
		}
	}
	modules("[elsewhere/stamp]")
	if got := plan("feature/elsewhere").answer; !strings.HasPrefix(got, "409 ") || !strings.Contains(got, "not of acme") {
		t.Errorf("of another owner: %s", got)
	}
}
