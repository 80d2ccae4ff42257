package sandbox_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
)

// world is a sandbox with an organisation, a repository, people, an installed App and a receiver of
// webhooks. Everything that it answers and sends is held to GitHub's descriptions.
type world struct {
	*sandbox.Sandbox

	t     *testing.T
	ctx   context.Context //nolint:containedctx // of the test
	repo  *sandbox.Repository
	hooks *receiver
	clock *clock
	token string
}

// receiver is the App's end of the webhooks.
type receiver struct {
	mu     sync.Mutex
	got    []hook
	status int
	secret string
}

type hook struct {
	event, guid string
	valid       bool
	payload     map[string]any
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	body, _ := io.ReadAll(request.Body)
	mac := hmac.New(sha256.New, []byte(r.secret))
	mac.Write(body)
	h := hook{event: request.Header.Get("X-GitHub-Event"), guid: request.Header.Get("X-GitHub-Delivery")}
	h.valid = request.Header.Get("X-Hub-Signature-256") == "sha256="+hex.EncodeToString(mac.Sum(nil))
	_ = json.Unmarshal(body, &h.payload)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.got = append(r.got, h)
	w.WriteHeader(r.status)
}

// clock moves only when a test says so, from a start that real clients find plausible.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func newWorld(t *testing.T, change ...func(*sandbox.Options)) *world {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	w := &world{t: t, ctx: ctx, hooks: &receiver{status: http.StatusOK}, clock: &clock{now: time.Now()}}
	watched := contract.Watch(t)
	options := sandbox.Options{Dir: t.TempDir(), Now: w.clock.Now, Observe: watched.Observe, Log: zerolog.Nop()}
	for _, f := range change {
		f(&options)
	}
	s, err := sandbox.Start(ctx, options)
	w.must(err)
	w.Sandbox = s
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	w.hooks.secret = s.WebhookSecret()
	server := httptest.NewServer(w.hooks)
	t.Cleanup(server.Close)

	w.must(s.CreateOrg("acme"))
	for _, login := range []string{"ana", "ben", "eve"} {
		w.must(s.AddPerson(sandbox.Person{Login: login, Name: strings.ToUpper(login)}))
	}
	w.must(s.CreateTeam("acme", "sre", "ana"))
	w.repo, err = s.CreateRepository(ctx, "acme", "network", sandbox.Seed{
		Branches: []sandbox.SeedBranch{
			{Name: "main", Files: map[string]string{"README.md": "# network\n", "src/terraform/main.tf": "# nothing\n"}},
			{Name: "develop"},
			{Name: "release/1.0"},
		},
		DefaultBranch: "main",
		Roles:         map[string]sandbox.Role{"ana": sandbox.Maintain, "ben": sandbox.Write},
	})
	w.must(err)
	s.SetWebhookURL(server.URL)
	w.must(s.Install(ctx, "acme", "network"))
	w.token = w.newToken(nil)
	return w
}

// in is the same world for a subtest.
func (w *world) in(t *testing.T) *world {
	t.Helper()
	other := *w
	other.t = t
	return &other
}

func (w *world) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// jwt signs the App's own token, changed by change.
func (w *world) jwt(key []byte, change func(*jwt.RegisteredClaims)) string {
	w.t.Helper()
	now := w.clock.Now()
	claims := jwt.RegisteredClaims{
		Issuer: strconv.FormatInt(w.AppID(), 10), IssuedAt: jwt.NewNumericDate(now.Add(-time.Minute)),
		ExpiresAt: jwt.NewNumericDate(now.Add(5 * time.Minute)),
	}
	if change != nil {
		change(&claims)
	}
	parsed, err := jwt.ParseRSAPrivateKeyFromPEM(key)
	w.must(err)
	signed, err := jwt.NewWithClaims(jwt.SigningMethodRS256, claims).SignedString(parsed)
	w.must(err)
	return signed
}

type answer struct {
	status int
	header http.Header
	raw    []byte
}

func (a answer) object() map[string]any {
	var o map[string]any
	_ = json.Unmarshal(a.raw, &o)
	return o
}

func (a answer) list() []map[string]any {
	var l []map[string]any
	_ = json.Unmarshal(a.raw, &l)
	return l
}

// call makes an API call. A header is one "Name: value" each.
func (w *world) call(token, method, path string, body any, headers ...string) answer {
	w.t.Helper()
	var in io.Reader
	if body != nil {
		raw, err := json.Marshal(body)
		w.must(err)
		in = bytes.NewReader(raw)
	}
	address := w.APIURL() + path
	if path == "/graphql" {
		address = w.GraphQLURL()
	}
	request, err := http.NewRequestWithContext(w.ctx, method, address, in)
	w.must(err)
	request.Header.Set("Authorization", "Bearer "+token)
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		request.Header.Set(name, value)
	}
	response, err := http.DefaultClient.Do(request)
	w.must(err)
	defer response.Body.Close() //nolint:errcheck // read to its end
	raw, err := io.ReadAll(response.Body)
	w.must(err)
	return answer{response.StatusCode, response.Header, raw}
}

func (w *world) get(path string, headers ...string) answer {
	w.t.Helper()
	return w.call(w.token, http.MethodGet, path, nil, headers...)
}

// want makes a call as the App and fails unless it answers with the status.
func (w *world) want(status int, method, path string, body any) answer {
	w.t.Helper()
	a := w.call(w.token, method, path, body)
	if a.status != status {
		w.t.Fatalf("%s %s: expected %d, actual %d: %s", method, path, status, a.status, a.raw)
	}
	return a
}

func (w *world) newToken(body any) string {
	w.t.Helper()
	app := w.jwt(w.PrivateKey(), nil)
	installations := w.call(app, http.MethodGet, "/app/installations", nil).list()
	id := int64(installations[0]["id"].(float64))
	a := w.call(app, http.MethodPost, fmt.Sprintf("/app/installations/%d/access_tokens", id), body)
	token, _ := a.object()["token"].(string)
	if a.status != http.StatusCreated || len(token) <= 40 {
		w.t.Fatalf("token: %d, %d characters: %s", a.status, len(token), a.raw)
	}
	return token
}

// hooked waits until n webhooks of an event came and returns them.
func (w *world) hooked(event string, n int) []hook {
	w.t.Helper()
	var found []hook
	err := w.Await(w.ctx, func() bool {
		w.hooks.mu.Lock()
		defer w.hooks.mu.Unlock()
		found = nil
		for _, h := range w.hooks.got {
			if h.event == event {
				found = append(found, h)
			}
		}
		return len(found) >= n
	})
	if err != nil {
		w.t.Fatalf("%d webhooks %s: %v, actual %d", n, event, err, len(found))
	}
	return found
}

// settled waits until every webhook was delivered, with a ping behind them.
func (w *world) settled() []hook {
	w.t.Helper()
	w.hooks.mu.Lock()
	pings := 0
	for _, h := range w.hooks.got {
		if h.event == "ping" {
			pings++
		}
	}
	w.hooks.mu.Unlock()
	w.must(w.Ping(w.ctx))
	w.hooked("ping", pings+1)
	w.hooks.mu.Lock()
	defer w.hooks.mu.Unlock()
	var rest []hook
	for _, h := range w.hooks.got {
		if h.event != "ping" {
			rest = append(rest, h)
		}
	}
	return rest
}

// events are the webhooks so far as "event action".
func (w *world) events() []string {
	w.t.Helper()
	var names []string
	for _, h := range w.settled() {
		action, _ := h.payload["action"].(string)
		names = append(names, strings.TrimSpace(h.event+" "+action))
	}
	return names
}

// open makes a branch with one file and opens a pull request from it.
func (w *world) open(branch, to, path, content string) int {
	w.t.Helper()
	_, err := w.repo.Push(w.ctx, "ana", branch, map[string]string{path: content}, "Change "+path, sandbox.PushOptions{From: to})
	w.must(err)
	number, err := w.repo.OpenPull(w.ctx, "ana", sandbox.Pull{From: branch, To: to, Title: "Title of " + branch})
	w.must(err)
	return number
}

func (w *world) pull(number int) sandbox.PullView {
	w.t.Helper()
	v, ok := w.repo.PullView(number)
	if !ok {
		w.t.Fatalf("no pull request %d", number)
	}
	return v
}

// git runs git like a user without any configuration.
func (w *world) git(dir string, args ...string) (string, error) {
	w.t.Helper()
	cmd := exec.CommandContext(w.ctx, "git", args...) //nolint:gosec // argv of the tests
	cmd.Dir = dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + w.t.TempDir(), "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "LC_ALL=C",
	}
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		w.t.Fatal(err)
	}
	return string(out), err
}

func (w *world) mustGit(dir string, args ...string) string {
	w.t.Helper()
	out, err := w.git(dir, args...)
	if err != nil {
		w.t.Fatalf("git %v: %v: %s", args, err, out)
	}
	return strings.TrimSpace(out)
}

// remote is the address of a repository with a token in it.
func (w *world) remote(r *sandbox.Repository, token string) string {
	w.t.Helper()
	u, err := url.Parse(r.CloneURL())
	w.must(err)
	u.User = url.UserPassword("x-access-token", token)
	return u.String()
}
