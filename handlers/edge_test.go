package handlers_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/handlers"
)

const opened = `{"action":"opened","number":3,` + head + `}`

func TestWebhook(t *testing.T) {
	t.Parallel()
	request := func(change func(*http.Request)) *http.Request {
		r := hook("pull_request", []byte(opened))
		change(r)
		return r
	}
	cases := []struct {
		name    string
		request *http.Request
		status  int
		event   string
		outcome string
	}{
		{"a signed delivery is accepted", request(func(*http.Request) {}), 200, "pull_request", "accepted"},
		{"a missing signature is refused", request(func(r *http.Request) { r.Header.Del("X-Hub-Signature-256") }), 401, "other", "unsigned"},
		{"another secret's signature is refused", request(func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("another", []byte(opened))) }), 401, "other", "unsigned"},
		{"an empty secret's signature is refused", request(func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("", []byte(opened))) }), 401, "other", "unsigned"},
		{"a signature of another body is refused", request(func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", sign("a secret", []byte("{}"))) }), 401, "other", "unsigned"},
		{"a short signature is refused", request(func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", "sha256=") }), 401, "other", "unsigned"},
		{"a signature that is not hex is refused", request(func(r *http.Request) { r.Header.Set("X-Hub-Signature-256", "sha256="+strings.Repeat("z", 64)) }), 401, "other", "unsigned"},
		{"a SHA-1 signature is refused", request(func(r *http.Request) {
			r.Header.Del("X-Hub-Signature-256")
			r.Header.Set("X-Hub-Signature", "sha1="+strings.Repeat("0", 40))
		}), 401, "other", "unsigned"},
		{"a missing event is malformed", request(func(r *http.Request) { r.Header.Del("X-Github-Event") }), 400, "other", "malformed"},
		{"a missing delivery is malformed", request(func(r *http.Request) { r.Header.Del("X-Github-Delivery") }), 400, "pull_request", "malformed"},
		{"a delivery that is no GUID is malformed", request(func(r *http.Request) { r.Header.Set("X-Github-Delivery", "a b") }), 400, "pull_request", "malformed"},
		{"a form is malformed", request(func(r *http.Request) { r.Header.Set("Content-Type", "application/x-www-form-urlencoded") }), 400, "pull_request", "malformed"},
		{"half a document is malformed", hook("pull_request", []byte(`{"action":"opened"`)), 400, "pull_request", "malformed"},
		{"nothing is malformed", hook("pull_request", nil), 400, "pull_request", "malformed"},
		{"deep nesting is malformed", hook("push", []byte(strings.Repeat("[", 1_000_000))), 400, "push", "malformed"},
		{"an unknown event is taken note of", hook("star", []byte(`{"action":"created"}`)), 202, "other", "unknown"},
		{"a known event that changes nothing is ignored", hook("pull_request", []byte(`{"action":"labeled"}`)), 200, "pull_request", "ignored"},
		{"a ping is answered", hook("ping", []byte(`{}`)), 200, "ping", "ignored"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			answer := w.serve(c.request)
			if answer.Code != c.status {
				t.Errorf("status %d, want %d: %s", answer.Code, c.status, answer.Body)
			}
			if w.count(t, c.event, c.outcome) != 1 {
				t.Errorf("not counted as %s %s", c.event, c.outcome)
			}
			if kept := len(w.inbox.deliveries); (kept == 1) != (c.outcome == "accepted") {
				t.Errorf("%d deliveries kept", kept)
			}
		})
	}
}

func TestSecretsTakeTurns(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *handlers.Options) { o.Secrets = [][]byte{[]byte("new"), []byte("old")} })
	for i, secret := range []string{"new", "old"} {
		r := hook("pull_request", []byte(opened))
		r.Header.Set("X-Hub-Signature-256", sign(secret, []byte(opened)))
		r.Header.Set("X-Github-Delivery", string(rune('a'+i)))
		if answer := w.serve(r); answer.Code != http.StatusOK {
			t.Errorf("signed with the %s secret: %d", secret, answer.Code)
		}
	}
	if len(w.inbox.deliveries) != 2 {
		t.Errorf("%d deliveries kept, want 2", len(w.inbox.deliveries))
	}
}

func TestAnEdgeWithoutASecretIsRefused(t *testing.T) {
	t.Parallel()
	for name, secrets := range map[string][][]byte{
		"none": nil, "an empty one": {{}}, "an empty one beside a real one": {[]byte("a secret"), {}},
	} {
		if _, err := handlers.NewEdge(handlers.Options{Secrets: secrets, Inbox: &inbox{}}); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestTheSameDeliveryIsAcceptedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for range 2 {
		if answer := w.serve(hook("pull_request", []byte(opened))); answer.Code != http.StatusOK {
			t.Fatalf("status %d", answer.Code)
		}
	}
	if len(w.inbox.jobs) != 1 || w.count(t, "pull_request", "duplicate") != 1 {
		t.Errorf("%d jobs, %v duplicates", len(w.inbox.jobs), w.count(t, "pull_request", "duplicate"))
	}
}

func TestAFailureIsGitHubsFailedDelivery(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		accept func(context.Context) error
	}{
		{"the database is full", func(context.Context) error { return errors.New("database or disk is full") }},
		{"the database hangs", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }},
		{"a handler panics", func(context.Context) error { panic("nil pointer") }},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(o *handlers.Options) { o.Deadline = 20 * time.Millisecond })
			w.inbox.accept = c.accept
			answer := w.serve(hook("pull_request", []byte(opened)))
			if answer.Code != http.StatusInternalServerError || w.count(t, "pull_request", "failed") != 1 {
				t.Errorf("status %d, counted %v", answer.Code, w.count(t, "pull_request", "failed"))
			}
			if strings.Contains(answer.Body.String(), "disk") || strings.Contains(answer.Body.String(), "pointer") {
				t.Errorf("the answer tells a stranger too much: %s", answer.Body)
			}
			if !strings.Contains(w.log.String(), `"level":"error"`) {
				t.Errorf("not logged as an error: %s", w.log)
			}
		})
	}
}

func TestABodyOverGitHubsLimitIsRefusedBeforeItIsRead(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	server := httptest.NewServer(w.handler)
	defer server.Close()
	conn, err := net.Dial("tcp", server.Listener.Addr().String()) //nolint:noctx // on loopback, to a server that listens
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: ping\r\nX-GitHub-Delivery: 1\r\n"+
		"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n", handlers.HookPath, 25<<20+1); err != nil {
		t.Fatal(err)
	}
	response, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("status %s, want 413", response.Status)
	}
}

func TestLargeBodies(t *testing.T) {
	t.Parallel()
	const most = 1000
	small := func(o *handlers.Options) { o.MaxBody = most }
	pad := func(size int) []byte { // a document of exactly that size
		return []byte(`{"action":"opened","number":3,` + head + `,"pad":"` + strings.Repeat("x", size-len(opened)-len(`,"pad":""`)) + `"}`)
	}
	cases := []struct {
		name    string
		size    int
		chunked bool
		status  int
	}{
		{"the largest one is accepted", most, false, 200},
		{"the largest one in chunks is accepted", most, true, 200},
		{"one byte more is too large", most + 1, false, 413},
		{"one byte more in chunks is too large", most + 1, true, 413},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, small)
			server := httptest.NewServer(w.handler)
			defer server.Close()
			body := pad(c.size)
			made := hook("pull_request", body)
			var content io.Reader = bytes.NewReader(body)
			if c.chunked {
				content = io.MultiReader(content) // of unknown length
			}
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+handlers.HookPath, content)
			if err != nil {
				t.Fatal(err)
			}
			r.Header = made.Header
			response, err := server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != c.status {
				t.Errorf("status %d, want %d", response.StatusCode, c.status)
			}
			if c.status == http.StatusRequestEntityTooLarge && w.count(t, "pull_request", "too_large") != 1 {
				t.Error("not counted")
			}
		})
	}
}

func TestABodyThatNeverEndsIsCutOff(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *handlers.Options) { o.Deadline = 20 * time.Millisecond })
	server := httptest.NewServer(w.handler)
	defer server.Close()
	reader, writer := io.Pipe()
	defer func() { _ = writer.Close() }()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+handlers.HookPath, reader)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = hook("pull_request", nil).Header
	response, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusBadRequest {
		t.Errorf("status %d, want 400", response.StatusCode)
	}
}

func TestALogLineSaysWhatCameAndNoSecret(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.serve(hook("pull_request", []byte(opened)))
	var line map[string]any
	if err := json.Unmarshal(w.log.Bytes(), &line); err != nil {
		t.Fatalf("not one line: %v: %s", err, w.log)
	}
	want := map[string]any{
		"level": "info", "delivery": guid, "event": "pull_request", "action": "opened",
		"repository": "acme/network", "outcome": "accepted", "status": 200.0,
	}
	for key, value := range want {
		if line[key] != value {
			t.Errorf("%s is %v, want %v", key, line[key], value)
		}
	}
	if strings.Contains(w.log.String(), "a secret") || strings.Contains(w.log.String(), "sha256=") {
		t.Errorf("the log tells a secret: %s", w.log)
	}
}

func TestTheOtherPages(t *testing.T) {
	t.Parallel()
	broken := func(o *handlers.Options) {
		o.Ready = func(context.Context) error { return errors.New("open /var/lib/switchyard.db: permission denied") }
	}
	cases := []struct {
		name, method, path string
		world              *world
		status             int
		contains           string
	}{
		{"health", http.MethodGet, handlers.HealthPath, newWorld(t, broken), 200, "ok"},
		{"ready", http.MethodGet, handlers.ReadyPath, newWorld(t), 200, "ready"},
		{"not ready", http.MethodGet, handlers.ReadyPath, newWorld(t, broken), 503, "not ready"},
		{"metrics", http.MethodGet, handlers.MetricsPath, newWorld(t), 200, "switchyard_webhook_seconds"},
		{"a webhook is a POST", http.MethodGet, handlers.HookPath, newWorld(t), 405, ""},
		{"anything else", http.MethodGet, "/", newWorld(t), 404, ""},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			answer := c.world.serve(httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil))
			if answer.Code != c.status || !strings.Contains(answer.Body.String(), c.contains) {
				t.Errorf("%d %s", answer.Code, answer.Body)
			}
			if strings.Contains(answer.Body.String(), "/var/lib") {
				t.Errorf("the answer tells a stranger too much: %s", answer.Body)
			}
		})
	}
}

// FuzzWebhook: whatever a sender with the secret sends, the edge neither panics nor blames itself.
func FuzzWebhook(f *testing.F) {
	for _, event := range []string{"pull_request", "push", "issue_comment", "check_run", "merge_group", "installation", "installation_repositories", "ping", "star", ""} {
		f.Add(event, guid, []byte(opened))
		f.Add(event, guid, []byte(`{"action":"created","installation":{"id":7},"repositories":[null,{"full_name":"a/b","id":1}]}`))
		f.Add(event, guid, []byte(`{"action":"rerequested","check_run":{"pull_requests":[null]},`+head+`}`))
		f.Add(event, "", []byte(comment("created", "User", "/\x00\xff", "", "")))
	}
	f.Fuzz(func(t *testing.T, event, delivery string, body []byte) {
		w := newWorld(t)
		r := hook(event, body)
		r.Header.Set("X-Github-Delivery", delivery)
		answer := w.serve(r)
		if answer.Code >= http.StatusInternalServerError {
			t.Errorf("%s %q: %d %s %s", event, body, answer.Code, answer.Body, w.log)
		}
		if len(w.inbox.deliveries) > 0 && answer.Code != http.StatusOK {
			t.Errorf("%s %q: kept, and answered with %d", event, body, answer.Code)
		}
		for _, job := range w.inbox.jobs {
			if !json.Valid(job.Payload) || strings.ContainsFunc(job.Key, func(r rune) bool { return r < ' ' }) {
				t.Errorf("%s %q: job %q %s", event, body, job.Key, job.Payload)
			}
		}
	})
}
