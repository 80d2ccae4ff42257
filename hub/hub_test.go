package hub_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// TestErrorsSayWhatHappensNext is one call that GitHub refuses in each of its ways.
func TestErrorsSayWhatHappensNext(t *testing.T) {
	t.Parallel()
	at := func(d time.Duration) string { return strconv.FormatInt(start.Add(d).Unix(), 10) }
	wait := func(d time.Duration, reason string) error { return &hub.Wait{Until: start.Add(d), Reason: reason} }
	const secondary = `{"message":"You have exceeded a secondary rate limit.","documentation_url":"https://docs.github.com/rest/overview/rate-limits-for-the-rest-api#about-secondary-rate-limits"}`
	cases := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, int)
		want   error
	}{
		{"404 is gone", says(404, `{"message":"Not Found"}`), &hub.Gone{What: "pull request #1 of acme/network"}},
		{"410 is gone", says(410, `{"message":"Gone"}`), &hub.Gone{What: "pull request #1 of acme/network"}},
		{"451 is gone", says(451, `{}`), &hub.Gone{What: "pull request #1 of acme/network"}},
		{
			"a suspended installation is gone", says(403, `{"message":"This installation has been suspended"}`),
			&hub.Gone{What: "the App's installation for pull request #1 of acme/network (it is suspended)"},
		},
		{
			"422 needs a person", says(422, `{"message":"Validation Failed","errors":[{"resource":"Issue","field":"body","code":"too_long"},{"field":"title","message":"is too short"},"words",7]}`),
			&hub.NeedsPerson{What: "GitHub refused to read pull request #1 of acme/network: Validation Failed; Issue body too_long; title is too short; words.", Remedy: "Change what GitHub names, then ask again."},
		},
		{"422 about a commit is gone", says(422, `{"message":"No commit found for SHA: abc"}`), &hub.Gone{What: "the commit of pull request #1 of acme/network"}},
		{
			"403 names the missing permission", says(403, `{"message":"Resource not accessible by integration"}`, "X-Accepted-GitHub-Permissions: pull_requests=read"),
			&hub.NeedsPerson{
				What:   "GitHub refused to read pull request #1 of acme/network: Resource not accessible by integration.",
				Remedy: `Give the App the permission "Pull requests: read", and accept it in the installation's settings.`,
			},
		},
		{
			"403 names alternatives", says(403, `{}`, "X-Accepted-GitHub-Permissions: issues=write,contents=read; pull_requests=write; $(x)=y"),
			&hub.NeedsPerson{
				What:   "GitHub refused to read pull request #1 of acme/network.",
				Remedy: `Give the App the permission "Issues: write" and "Contents: read" or "Pull requests: write", and accept it in the installation's settings.`,
			},
		},
		{
			"403 of an archived repository", says(403, `{"message":"Repository was archived so is read-only."}`, "X-Accepted-GitHub-Permissions: pull_requests=read"),
			&hub.NeedsPerson{
				What:   "GitHub refused to read pull request #1 of acme/network: Repository was archived so is read-only.",
				Remedy: "Unarchive the repository, or remove it from the App's installation.",
			},
		},
		{"403 with Retry-After waits", says(403, secondary, "Retry-After: 90"), wait(90*time.Second, "You have exceeded a secondary rate limit.")},
		{"429 with Retry-After waits", says(429, ``, "Retry-After: 90"), wait(90*time.Second, "it sent Retry-After")},
		{"429 with a date waits", says(429, ``, "Retry-After: "+start.Add(time.Minute).Format(http.TimeFormat)), wait(time.Minute, "it sent Retry-After")},
		{"503 with Retry-After waits", says(503, `<html>`, "Retry-After: 90"), wait(90*time.Second, "it sent Retry-After")},
		{
			"403 with nothing left waits until the reset", says(403, `{"message":"API rate limit exceeded"}`, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: "+at(20*time.Minute)),
			wait(20*time.Minute+time.Second, "API rate limit exceeded"),
		},
		{
			"429 with nothing left waits until the reset", says(429, `{}`, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: "+at(20*time.Minute)),
			wait(20*time.Minute+time.Second, "the rate limit is used up"),
		},
		{"a reset in the past waits a moment", says(403, `{}`, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: "+at(-time.Hour)), wait(time.Second, "the rate limit is used up")},
		{"a reset next year waits two hours", says(403, `{}`, "X-RateLimit-Remaining: 0", "X-RateLimit-Reset: "+at(9000*time.Hour)), wait(2*time.Hour, "the rate limit is used up")},
		{"403 of a secondary limit waits a minute", says(403, secondary), wait(time.Minute, "You have exceeded a secondary rate limit.")},
		{"429 waits a minute", says(429, ``), wait(time.Minute, "a secondary rate limit")},
		{"500 is a fault", says(500, `{"message":"Server Error"}`), nil},
		{"502 with a page is a fault", says(502, `<html>ghs_x</html>`), nil},
		{"503 is a fault", says(503, ``), nil},
		{"409 is a fault", says(409, `{"message":"Conflict"}`), nil},
		{"200 with half a document is a fault", says(200, `{"number":`), nil},
		{"200 with a page is a fault", says(200, `<html>`), nil},
		{"401 with each token is a fault", says(401, `{"message":"Bad credentials"}`), nil},
		{"a reset connection is a fault", func(w http.ResponseWriter, _ *http.Request, _ int) { hangUp(w) }, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.answer)
			_, err := w.hub.Pull(t.Context(), network, 1)
			if err == nil {
				t.Fatal("no error")
			}
			if strings.Contains(err.Error(), "ghs_") {
				t.Errorf("the error tells a token: %v", err)
			}
			if c.want != nil {
				if diff := cmp.Diff(c.want, err); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
				return
			}
			if typed(err) {
				t.Errorf("a fault has a type: %#v", err)
			}
			if !strings.HasPrefix(err.Error(), "read pull request #1 of acme/network: ") {
				t.Errorf("the fault does not say what was tried: %v", err)
			}
		})
	}
}

func typed(err error) bool {
	var wait *hub.Wait
	var gone *hub.Gone
	var person *hub.NeedsPerson
	return errors.As(err, &wait) || errors.As(err, &gone) || errors.As(err, &person)
}

// hangUp resets the connection.
func hangUp(w http.ResponseWriter) {
	connection, _, err := http.NewResponseController(w).Hijack()
	if err == nil {
		_ = connection.Close()
	}
}

func TestNoCallIsMadeWhileGitHubWantsNone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, first(says(403, `{}`, "Retry-After: 60"), says(200, `{"number":1}`)))
	for range 3 {
		var wait *hub.Wait
		if _, err := w.hub.Pull(t.Context(), network, 1); !errors.As(err, &wait) || !wait.RetryAt(start).Equal(start.Add(time.Minute)) {
			t.Fatalf("%v, want a wait of a minute", err)
		}
		if _, err := w.hub.Token(t.Context(), network); !errors.As(err, &wait) {
			t.Fatalf("%v, want a wait for tokens too", err)
		}
	}
	if len(w.asked) != 1 {
		t.Errorf("%d calls while GitHub wanted none: %v", len(w.asked)-1, w.asked)
	}
	w.clock.Advance(time.Minute)
	if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
		t.Error(err)
	}
}

func TestAUsedUpBudgetIsNotOverdrawn(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"number":1}`, "X-RateLimit-Remaining: 0", fmt.Sprintf("X-RateLimit-Reset: %d", start.Add(time.Minute).Unix())))
	if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
		t.Fatal(err)
	}
	var wait *hub.Wait
	if _, err := w.hub.Pull(t.Context(), network, 1); !errors.As(err, &wait) {
		t.Errorf("%v, want a wait", err)
	}
	other := network
	other.Installation = 8
	if _, err := w.hub.Pull(t.Context(), other, 1); err != nil {
		t.Errorf("another installation has to wait too: %v", err)
	}
}

func TestSecondaryLimitsWaitLongerEachTime(t *testing.T) {
	t.Parallel()
	const success = 7
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
		if nth == success {
			says(200, `{"number":1}`)(w, r, nth)
			return
		}
		says(429, ``)(w, r, nth)
	})
	for i, minutes := range []int{1, 2, 4, 8, 16, 16, 0, 1, 2} {
		if i+1 == success {
			if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
				t.Fatal(err)
			}
			continue
		}
		var wait *hub.Wait
		if _, err := w.hub.Pull(t.Context(), network, 1); !errors.As(err, &wait) {
			t.Fatal(err)
		}
		now := w.clock.Now()
		if got := wait.Until.Sub(now); got != time.Duration(minutes)*time.Minute {
			t.Errorf("waits %v, want %d minutes", got, minutes)
		}
		w.clock.Advance(wait.Until.Sub(now))
	}
}

func TestDeadlines(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	w := newWorld(t, func(http.ResponseWriter, *http.Request, int) { <-release }, func(o *hub.Options) { o.Timeout = 20 * time.Millisecond })
	_, err := w.hub.Pull(t.Context(), network, 1)
	if !errors.Is(err, context.DeadlineExceeded) || typed(err) {
		t.Errorf("%v, want a deadline", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.hub.Pull(ctx, network, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want that it was cancelled", err)
	}
}

func TestTokens(t *testing.T) {
	t.Parallel()
	t.Run("one is shared by all calls at once", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(200, `{"number":1}`))
		var group sync.WaitGroup
		for range 10 {
			group.Go(func() {
				if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		if err := w.hub.Minimize(t.Context(), network, "x"); err != nil {
			t.Error(err)
		}
		if w.tokens != 1 {
			t.Errorf("%d tokens bought, want 1", w.tokens)
		}
	})
	t.Run("an expired one is replaced", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(200, `{"number":1}`))
		w.life = 30 * time.Second // less than the minute that is kept in reserve
		for range 2 {
			if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
				t.Fatal(err)
			}
		}
		if w.tokens != 2 {
			t.Errorf("%d tokens bought, want 2", w.tokens)
		}
	})
	t.Run("a revoked one is replaced, and the call made again with its body", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
			if r.Header.Get("Authorization") == "token ghs_secret1" {
				says(401, `{"message":"Bad credentials"}`)(w, r, nth)
				return
			}
			says(201, `{"id":3}`)(w, r, nth)
		})
		if _, err := w.hub.PutComment(t.Context(), network, 0, hub.Comment{Number: 1, Body: "hello"}); err != nil {
			t.Fatal(err)
		}
		call := `POST /api/v3/repos/acme/network/issues/1/comments {"body":"hello"}`
		if diff := cmp.Diff([]string{call, call}, w.asked); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("git's can only read this repository", func(t *testing.T) {
		t.Parallel()
		var body string
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			body = strings.TrimSpace(string(data))
			says(201, `{"token":"ghs_git","expires_at":"2999-01-01T00:00:00Z"}`)(w, r, 1)
		}))
		defer server.Close()
		h, err := hub.New(hub.Options{AppID: 99, PrivateKey: privateKey(), APIURL: server.URL})
		if err != nil {
			t.Fatal(err)
		}
		token, err := h.Token(t.Context(), network)
		if err != nil || token != "ghs_git" {
			t.Fatal(token, err)
		}
		if want := `{"repository_ids":[5],"permissions":{"contents":"read"}}`; body != want {
			t.Errorf("asked for %s, want %s", body, want)
		}
	})
}

func TestNoTokenSaysWhy(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, int)
		check  func(error) bool
	}{
		{"the installation is gone", says(404, `{"message":"Not Found"}`), func(err error) bool {
			var gone *hub.Gone
			return errors.As(err, &gone) && strings.Contains(gone.What, "installation 7")
		}},
		{"the installation is suspended", says(403, `{"message":"This installation has been suspended"}`), func(err error) bool {
			var gone *hub.Gone
			return errors.As(err, &gone) && strings.Contains(gone.What, "suspended")
		}},
		{"the key is wrong", says(401, `{"message":"A JSON web token could not be decoded"}`), func(err error) bool {
			var person *hub.NeedsPerson
			return errors.As(err, &person) && strings.Contains(person.Remedy, "private key")
		}},
		{"the App lacks what is asked for", says(422, `{"message":"The permissions requested are not granted to this installation."}`), func(err error) bool {
			var person *hub.NeedsPerson
			return errors.As(err, &person) && strings.Contains(person.What, "not granted")
		}},
		{"the limit is reached", says(429, ``, "Retry-After: 5"), func(err error) bool {
			var wait *hub.Wait
			return errors.As(err, &wait)
		}},
		{"GitHub is down", says(502, `<html>`), func(err error) bool { return !typed(err) }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, nil)
			w.sell = func(rw http.ResponseWriter) bool { c.answer(rw, nil, 1); return false }
			if _, err := w.hub.Pull(t.Context(), network, 1); !c.check(err) {
				t.Errorf("for a call: %#v", err)
			}
			w.clock.Advance(time.Hour)
			if _, err := w.hub.Token(t.Context(), network); !c.check(err) {
				t.Errorf("for git: %#v", err)
			}
		})
	}
}

func TestNamesAreJustNames(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"role_name":"write","state":"active"}`))
	odd := operation.Repository{ID: 5, Installation: 7, Owner: "a/b", Name: "c d%2f?x#y"}
	calls := []func() error{
		func() error { _, err := w.hub.Permission(t.Context(), odd, "../../ä"); return err },
		func() error { _, err := w.hub.Permission(t.Context(), network, "switchyard[bot]"); return err },
		func() error { _, err := w.hub.InTeam(t.Context(), network, "sre/../x", "a?b=c"); return err },
		func() error { _, err := w.hub.Repository(t.Context(), odd); return err },
	}
	for _, call := range calls {
		if err := call(); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"GET /api/v3/repos/a%2Fb/c%20d%252f%3Fx%23y/collaborators/..%2F..%2F%C3%A4/permission",
		"GET /api/v3/repos/acme/network/collaborators/switchyard%5Bbot%5D/permission",
		"GET /api/v3/orgs/acme/teams/sre%2F..%2Fx/memberships/a%3Fb=c",
		"GET /api/v3/repos/a%2Fb/c%20d%252f%3Fx%23y",
	}
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestNamesThatWouldLeadElsewhereAreNotAsked(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"role_name":"admin","state":"active"}`))
	for _, name := range []string{"", ".", ".."} {
		if role, err := w.hub.Permission(t.Context(), network, name); err != nil || role != "none" {
			t.Errorf("%q has permission %s, %v", name, role, err)
		}
		if member, err := w.hub.InTeam(t.Context(), network, name, "ana"); err != nil || member {
			t.Errorf("team %q: %v, %v", name, member, err)
		}
		var gone *hub.Gone
		if _, err := w.hub.Repository(t.Context(), operation.Repository{Installation: 7, Owner: "acme", Name: name}); !errors.As(err, &gone) {
			t.Errorf("repository %q: %v", name, err)
		}
	}
	if len(w.asked) > 0 {
		t.Errorf("asked %v", w.asked)
	}
}

func TestResponsesAreValidatedAndNotShared(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		etag := strconv.Quote(r.Header.Get("Authorization"))
		w.Header().Set("ETag", etag)
		w.Header().Set("Cache-Control", "private, max-age=60, s-maxage=60")
		w.Header().Set("Expires", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
		if r.Header.Get("If-None-Match") == etag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
		_, _ = fmt.Fprintf(w, `{"number":1,"title":%q}`, r.Header.Get("Authorization"))
	})
	ask := func(installation int64) string {
		repo := network
		repo.Installation = installation
		pull, err := w.hub.Pull(t.Context(), repo, 1)
		if err != nil {
			t.Fatal(err)
		}
		return pull.Title
	}
	got := []string{ask(7), ask(8), ask(7), ask(8)}
	if diff := cmp.Diff([]string{"token ghs_secret1", "token ghs_secret2", "token ghs_secret1", "token ghs_secret2"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	counted := `
# HELP switchyard_github_requests_total Calls of GitHub's API by method, route and status code; code is "error" where no answer came.
# TYPE switchyard_github_requests_total counter
switchyard_github_requests_total{code="200",method="GET",route="repos/{owner}/{repo}/pulls/{pull_number}"} 2
switchyard_github_requests_total{code="201",method="POST",route="app/installations/{installation_id}/access_tokens"} 2
switchyard_github_requests_total{code="304",method="GET",route="repos/{owner}/{repo}/pulls/{pull_number}"} 2
`
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(counted), "switchyard_github_requests_total"); err != nil {
		t.Error(err)
	}
}

func TestEachCallSaysWhoAsksAndInWhichVersion(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"number":1}`, "X-RateLimit-Remaining: 4999"))
	if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
		t.Fatal(err)
	}
	if err := w.hub.Minimize(t.Context(), network, "x"); err != nil {
		t.Fatal(err)
	}
	for i, header := range w.header {
		if header.Get("X-Github-Api-Version") != "2022-11-28" || header.Get("User-Agent") != "switchyard" {
			t.Errorf("%s: %v", w.asked[i], header)
		}
	}
	remaining := `
# HELP switchyard_github_rate_limit_remaining Calls that GitHub still allows before the limit is set back, as of the last answer.
# TYPE switchyard_github_rate_limit_remaining gauge
switchyard_github_rate_limit_remaining{installation="7",resource="core"} 4999
`
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(remaining), "switchyard_github_rate_limit_remaining"); err != nil {
		t.Error(err)
	}
}

func TestARedirectIsFollowedOnlyWithinTheAPI(t *testing.T) {
	t.Parallel()
	var stolen atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen.Add(1) }))
	defer elsewhere.Close()
	w := newWorld(t, first(says(301, ``, "Location: /api/v3/repositories/5"), first(says(500, ``), says(200, `{"id":5,"name":"renamed","owner":{"login":"acme"}}`))))
	if got, err := w.hub.Repository(t.Context(), network); err != nil || got.Name != "renamed" {
		t.Errorf("a renamed repository: %+v, %v", got, err)
	}
	w = newWorld(t, says(301, ``, "Location: "+elsewhere.URL+"/api/v3/repositories/5"))
	if _, err := w.hub.Repository(t.Context(), network); err == nil || typed(err) || stolen.Load() > 0 {
		t.Errorf("%v, want a fault; %d calls with our token elsewhere", err, stolen.Load())
	}
}

func TestAHugeAnswerIsAFault(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
		block := bytes.Repeat([]byte(" "), 1<<20)
		for range 40 {
			if _, err := w.Write(block); err != nil {
				return
			}
		}
	})
	var large *http.MaxBytesError
	if _, err := w.hub.Pull(t.Context(), network, 1); !errors.As(err, &large) || typed(err) {
		t.Errorf("%v, want a fault about the size", err)
	}
}

func TestOptionsThatAreWrongAreNamed(t *testing.T) {
	t.Parallel()
	key := privateKey()
	cases := []struct {
		name    string
		options hub.Options
		words   string
	}{
		{"no id", hub.Options{PrivateKey: key}, "App's id"},
		{"no key", hub.Options{AppID: 1, PrivateKey: []byte("ghs_x")}, "private key"},
		{"an address without a scheme", hub.Options{AppID: 1, PrivateKey: key, APIURL: "github.example.com/api/v3"}, "API URL"},
		{"an address with a password", hub.Options{AppID: 1, PrivateKey: key, APIURL: "https://ana:ghs_x@github.example.com/api/v3"}, "API URL"},
		{"a web address of another kind", hub.Options{AppID: 1, PrivateKey: key, WebURL: "ssh://github.com"}, "web URL"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := hub.New(c.options)
			if err == nil || !strings.Contains(err.Error(), c.words) || strings.Contains(err.Error(), "ghs_x") {
				t.Errorf("%v, want words about %s and no secret", err, c.words)
			}
		})
	}
}

func TestAddressesAreDerived(t *testing.T) {
	t.Parallel()
	for api, want := range map[string]string{
		"":                                  "https://github.com/a%2Fb/c%20d.git",
		"https://github.example.com/api/v3": "https://github.example.com/a%2Fb/c%20d.git",
		"https://api.acme.ghe.com/":         "https://acme.ghe.com/a%2Fb/c%20d.git",
	} {
		h, err := hub.New(hub.Options{AppID: 1, PrivateKey: privateKey(), APIURL: api})
		if err != nil {
			t.Fatal(err)
		}
		if got := h.CloneURL(operation.Repository{Owner: "a/b", Name: "c d"}); got != want {
			t.Errorf("%q: %s, want %s", api, got, want)
		}
	}
}
