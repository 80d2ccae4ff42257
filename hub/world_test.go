package hub_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

var privateKey = sync.OnceValue(func() []byte {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
})

var (
	network = operation.Repository{ID: 5, Installation: 7, Owner: "acme", Name: "network"}
	start   = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
)

// github is a server that answers as it is told, and remembers what it was asked.
type github struct {
	mu     sync.Mutex
	asked  []string // "GET /repos/acme/network/pulls/1 BODY", as on the wire; without tokens
	tokens int      // how many were sold
	header []http.Header
	life   time.Duration // of a token
	sell   func(w http.ResponseWriter) bool
	answer func(w http.ResponseWriter, r *http.Request, nth int) // nth call without tokens, from 1
}

func (g *github) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	g.mu.Lock()
	if strings.HasSuffix(r.URL.Path, "/access_tokens") {
		g.tokens++
		token := fmt.Sprintf("ghs_secret%d", g.tokens)
		g.mu.Unlock()
		if g.sell != nil && !g.sell(w) {
			return
		}
		w.WriteHeader(http.StatusCreated)
		_, _ = fmt.Fprintf(w, `{"token":%q,"expires_at":%q}`, token, time.Now().Add(g.life).Format(time.RFC3339))
		return
	}
	g.asked = append(g.asked, strings.TrimSpace(r.Method+" "+r.RequestURI+" "+string(bytes.TrimSpace(body))))
	g.header = append(g.header, r.Header.Clone())
	nth := len(g.asked)
	g.mu.Unlock()
	g.answer(w, r, nth)
}

type world struct {
	*github

	hub     *hub.Hub
	clock   *clockwork.FakeClock
	metrics *prometheus.Registry
	log     *bytes.Buffer
	url     string
}

func newWorld(t *testing.T, answer func(w http.ResponseWriter, r *http.Request, nth int), change ...func(*hub.Options)) *world {
	t.Helper()
	w := &world{
		github: &github{answer: answer, life: time.Hour}, clock: clockwork.NewFakeClockAt(start),
		metrics: prometheus.NewRegistry(), log: &bytes.Buffer{},
	}
	server := httptest.NewServer(w.github)
	t.Cleanup(server.Close)
	w.url = server.URL
	options := hub.Options{
		AppID: 99, PrivateKey: privateKey(), APIURL: server.URL + "/api/v3", Clock: w.clock,
		Transport: server.Client().Transport, Metrics: w.metrics, Log: zerolog.New(zerolog.SyncWriter(w.log)),
	}
	for _, c := range change {
		c(&options)
	}
	made, err := hub.New(options)
	if err != nil {
		t.Fatal(err)
	}
	w.hub = made
	t.Cleanup(func() {
		if strings.Contains(w.log.String(), "ghs_") {
			t.Errorf("the log tells a token: %s", w.log)
		}
	})
	return w
}

// says is an answer with that status, body and header lines "Name: value".
func says(status int, body string, header ...string) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, _ *http.Request, _ int) {
		for _, line := range header {
			name, value, _ := strings.Cut(line, ": ")
			w.Header().Set(name, value)
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// first is one answer for the first call, and another one after it.
func first(a, b func(http.ResponseWriter, *http.Request, int)) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, nth int) {
		if nth == 1 {
			a(w, r, nth)
			return
		}
		b(w, r, nth)
	}
}

// first2 is one answer for the second call, and another one after it.
func first2(a, b func(http.ResponseWriter, *http.Request, int)) func(http.ResponseWriter, *http.Request, int) {
	return func(w http.ResponseWriter, r *http.Request, nth int) {
		if nth == 2 {
			a(w, r, nth)
			return
		}
		b(w, r, nth)
	}
}
