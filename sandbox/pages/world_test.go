package pages_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
	"github.com/switchyard-dev/switchyard/sandbox/pages"
)

// world is a sandbox with its pages, and a person's browser.
type world struct {
	t       *testing.T
	sandbox *sandbox.Sandbox
	network *sandbox.Repository
	browser *http.Client
	token   string // of the App's installation
}

func newWorld(t *testing.T) *world {
	t.Helper()
	s, err := sandbox.Start(t.Context(), sandbox.Options{Dir: t.TempDir(), Log: zerolog.Nop(), Observe: contract.Watch(t).Observe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, sandbox: s}
	w.must(s.CreateOrg("acme"))
	for login, name := range map[string]string{"ana": "Ana Acosta", "ben": "Ben Baker", "otto": "Otto Outsider"} {
		w.must(s.AddPerson(sandbox.Person{Login: login, Name: name}))
	}
	w.network, err = s.CreateRepository(t.Context(), "acme", "network", sandbox.Seed{
		Branches: []sandbox.SeedBranch{
			{Name: "develop", Files: map[string]string{"README.md": "# network\n\nThe **network**.\n", "main.tf": "# empty\n"}, As: "ana"},
			{Name: "main", From: "develop"},
		},
		DefaultBranch: "develop",
		Roles:         map[string]sandbox.Role{"ana": sandbox.Maintain, "ben": sandbox.Write, "otto": sandbox.Read},
	})
	w.must(err)
	w.must(s.Install(t.Context(), "acme", "network"))
	handler, err := pages.Handler(s, pages.Options{})
	w.must(err)
	s.SetPages(handler)
	jar, err := cookiejar.New(nil)
	w.must(err)
	w.browser = &http.Client{Jar: jar}
	t.Cleanup(w.browser.CloseIdleConnections)
	return w
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// pull opens a pull request from a new branch.
func (w *world) pull(branch, title, body string) int {
	w.t.Helper()
	_, err := w.network.Push(w.t.Context(), "ben", branch, map[string]string{branch + ".tf": "# new\n"}, "Work on "+branch)
	w.must(err)
	number, err := w.network.OpenPull(w.t.Context(), "ben", sandbox.Pull{From: branch, To: "develop", Title: title, Body: body})
	w.must(err)
	return number
}

// post calls GitHub's API as the App.
func (w *world) post(path string, body map[string]any) map[string]any {
	w.t.Helper()
	if w.token == "" {
		w.token = w.bearer()
		installation := w.call(http.MethodGet, "/api/v3/repos/acme/network/installation", nil)
		path := fmt.Sprintf("/api/v3/app/installations/%d/access_tokens", id(installation))
		w.token = text(w.call(http.MethodPost, path, nil), "token")
	}
	return w.call(http.MethodPost, path, body)
}

// id is the id in an answer of the API; 0 if it has none.
func id(object map[string]any) int64 {
	number, _ := object["id"].(float64)
	return int64(number)
}

// text is a text in an answer of the API; empty if it has none.
func text(object map[string]any, key string) string {
	value, _ := object[key].(string)
	return value
}

func (w *world) bearer() string {
	key, err := jwt.ParseRSAPrivateKeyFromPEM(w.sandbox.PrivateKey())
	w.must(err)
	now := time.Now()
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, jwt.RegisteredClaims{
		Issuer: strconv.FormatInt(w.sandbox.AppID(), 10), IssuedAt: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(now.Add(time.Minute)),
	}).SignedString(key)
	w.must(err)
	return signed
}

func (w *world) call(method, path string, body map[string]any) map[string]any {
	w.t.Helper()
	var sent io.Reader
	if body != nil {
		encoded, err := json.Marshal(body)
		w.must(err)
		sent = bytes.NewReader(encoded)
	}
	request, err := http.NewRequestWithContext(w.t.Context(), method, w.sandbox.URL()+path, sent)
	w.must(err)
	request.Header.Set("Authorization", "Bearer "+w.token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	response, err := w.browser.Do(request)
	w.must(err)
	var answer map[string]any
	w.must(json.NewDecoder(response.Body).Decode(&answer))
	w.must(response.Body.Close())
	if response.StatusCode >= http.StatusBadRequest {
		w.t.Fatalf("%s %s: %d %v", method, path, response.StatusCode, answer)
	}
	return answer
}

// check reports a check run on the head of a pull request, as the App.
func (w *world) check(number int, body map[string]any) int64 {
	w.t.Helper()
	view, ok := w.network.PullView(number)
	if !ok {
		w.t.Fatalf("there is no pull request %d", number)
	}
	body["head_sha"] = view.Head.SHA
	return id(w.post("/api/v3/repos/acme/network/check-runs", body))
}

// comment comments as the App and returns the comment's node id.
func (w *world) comment(number int, body string) string {
	w.t.Helper()
	path := fmt.Sprintf("/api/v3/repos/acme/network/issues/%d/comments", number)
	return text(w.post(path, map[string]any{"body": body}), "node_id")
}

// answer is what the browser got in the end, after redirects.
type answer struct {
	status int
	path   string
	header http.Header
	body   string
}

// get opens a page.
func (w *world) get(path string) answer {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodGet, w.sandbox.URL()+path, http.NoBody)
	w.must(err)
	return w.do(request)
}

func (w *world) do(request *http.Request) answer {
	w.t.Helper()
	response, err := w.browser.Do(request)
	w.must(err)
	body, err := io.ReadAll(response.Body)
	w.must(err)
	w.must(response.Body.Close())
	return answer{status: response.StatusCode, path: response.Request.URL.Path, header: response.Header, body: string(body)}
}

// page opens a page that must exist.
func (w *world) page(path string) string {
	w.t.Helper()
	got := w.get(path)
	if got.status != http.StatusOK {
		w.t.Fatalf("GET %s: %d\n%s", path, got.status, got.body)
	}
	return got.body
}

var formToken = regexp.MustCompile(`name="token" value="([^"]+)"`)

// form is a filled-in form as a browser sends it from a page of ours.
func (w *world) form(path string, fields url.Values) *http.Request {
	w.t.Helper()
	found := formToken.FindStringSubmatch(w.page("/acme/network/pulls"))
	if found == nil {
		w.t.Fatal("the page has no form with a token")
	}
	fields.Set("token", found[1])
	return w.rawForm(path, fields)
}

func (w *world) rawForm(path string, fields url.Values) *http.Request {
	w.t.Helper()
	request, err := http.NewRequestWithContext(w.t.Context(), http.MethodPost, w.sandbox.URL()+path, strings.NewReader(fields.Encode()))
	w.must(err)
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", w.sandbox.URL())
	request.Header.Set("Sec-Fetch-Site", "same-origin")
	return request
}

func wantContains(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(page, part) {
			t.Errorf("the page lacks %q:\n%s", part, page)
		}
	}
}

func wantLacks(t *testing.T, page string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if strings.Contains(page, part) {
			t.Errorf("the page has %q:\n%s", part, page)
		}
	}
}
