// Package sandbox is a GitHub stand-in: it holds organisations, people and repositories with real
// git, serves the part of GitHub's API that Switchyard calls, and sends signed webhooks. Tests, the
// story and its page drive it through Go. It imports no other room, listens on loopback only, keeps
// all state but the git repositories in memory, and never answers a path that it does not know: that
// is a 501, remembered by name.
package sandbox

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"github.com/rs/zerolog"
)

const (
	appID   = 4242
	appSlug = "switchyard"
	appName = "Switchyard"

	keyBits           = 2048
	readHeaderTimeout = 10 * time.Second
	shutdownTimeout   = 5 * time.Second
	defaultRateLimit  = 5000 // https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api
)

// DefaultPermissions are those that Switchyard's App asks for.
func DefaultPermissions() map[string]string {
	return map[string]string{
		"metadata": "read", "contents": "read", "pull_requests": "write", "issues": "write",
		"checks": "write", "deployments": "write", "actions": "write", "members": "read", "merge_queues": "read",
	}
}

// DefaultEvents are those that Switchyard's App subscribes to. The events installation,
// installation_repositories and ping are sent to every App.
func DefaultEvents() []string {
	return []string{
		"check_run", "deployment_protection_rule", "issue_comment", "merge_group", "pull_request", "pull_request_review", "push",
		"workflow_job", "workflow_run",
	}
}

// Sandbox is one running stand-in. All its methods are safe for concurrent use.
type Sandbox struct {
	state // guarded by mu

	dir         string
	url         string
	now         func() time.Time
	log         zerolog.Logger
	key         *rsa.PrivateKey
	keyPEM      []byte
	secret      string
	permissions map[string]string
	events      []string
	rateLimit   int
	templates   map[string]object
	actions     *ActionsOptions
	identity    func() (*rsa.PrivateKey, error) // signs OIDC tokens
	git         gitTool
	routes      []route
	server      *http.Server
	stop        context.CancelFunc
	running     sync.WaitGroup

	observing sync.Mutex
	observe   func(Exchange)

	mu sync.Mutex
}

// Start begins to listen and returns at once. The sandbox runs until Close.
func Start(ctx context.Context, o Options) (*Sandbox, error) {
	s, err := newSandbox(ctx, o)
	if err != nil {
		return nil, err
	}
	listener, err := listenLoopback(ctx, o.Addr)
	if err != nil {
		return nil, err
	}
	s.url = "http://" + listener.Addr().String()

	ctx, s.stop = context.WithCancel(context.WithoutCancel(ctx))
	s.server = &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: readHeaderTimeout,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	s.running.Go(func() {
		if err := s.server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			s.log.Error().Err(err).Msg("sandbox stopped serving")
		}
	})
	s.running.Go(func() { s.sendWebhooks(ctx) })
	s.running.Go(func() { s.runActions(ctx) })
	if err := s.prepareActions(ctx); err != nil {
		return nil, errors.Join(err, s.Close()) //nolint:contextcheck // closing takes its own time
	}
	return s, nil
}

// newSandbox makes everything that needs no address.
func newSandbox(ctx context.Context, o Options) (*Sandbox, error) {
	if o.Dir == "" {
		return nil, errors.New("start sandbox: Options.Dir is empty")
	}
	dir, err := filepath.Abs(o.Dir)
	if err != nil {
		return nil, fmt.Errorf("find %s: %w", o.Dir, err)
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("make the sandbox's directory: %w", err)
	}
	git, err := findGit(ctx, dir)
	if err != nil {
		return nil, err
	}
	templates, err := readTemplates()
	if err != nil {
		return nil, err
	}
	key, keyPEM, err := newKey()
	if err != nil {
		return nil, err
	}
	s := &Sandbox{
		dir: dir, now: o.Now, log: o.Log, key: key, keyPEM: keyPEM, secret: randomHex(), git: git, templates: templates,
		permissions: o.Permissions, events: o.Events, rateLimit: o.RateLimit, observe: o.Observe,
		actions: o.Actions, identity: sync.OnceValues(identityKeys),
	}
	if s.now == nil {
		s.now = time.Now
	}
	if s.permissions == nil {
		s.permissions = DefaultPermissions()
	}
	if s.events == nil {
		s.events = DefaultEvents()
	}
	if s.rateLimit == 0 {
		s.rateLimit = defaultRateLimit
	}
	s.routes = routes()
	s.state = newState(o, s.now())
	return s, nil
}

// newKey makes the App's private key, as GitHub hands it out: PKCS #1 in PEM.
func newKey() (*rsa.PrivateKey, []byte, error) {
	key, err := rsa.GenerateKey(rand.Reader, keyBits)
	if err != nil {
		return nil, nil, fmt.Errorf("make the App's key: %w", err)
	}
	block := &pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}
	return key, pem.EncodeToMemory(block), nil
}

// listenLoopback refuses every address that other machines could reach.
func listenLoopback(ctx context.Context, addr string) (net.Listener, error) {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, fmt.Errorf("read sandbox address: %w", err)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return nil, fmt.Errorf("listen on %s: the sandbox listens on loopback only, for example 127.0.0.1:0", addr)
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", addr, err)
	}
	return listener, nil
}

// Close stops to listen and to send, and waits until both have ended. The directory is left as it is.
func (s *Sandbox) Close() error {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), shutdownTimeout)
	defer cancel()
	err := s.server.Shutdown(ctx)
	if err != nil {
		err = s.server.Close()
	}
	s.running.Wait()
	if err != nil {
		return fmt.Errorf("stop the sandbox: %w", err)
	}
	return nil
}

// URL is the address of the stand-in for github.com, without a slash at its end.
func (s *Sandbox) URL() string { return s.url }

// APIURL is where the REST API is served, as on GitHub Enterprise Server.
func (s *Sandbox) APIURL() string { return s.url + "/api/v3" }

// GraphQLURL is where the GraphQL API is served, as on GitHub Enterprise Server.
func (s *Sandbox) GraphQLURL() string { return s.url + "/api/graphql" }

// AppID is the id of the one App that the sandbox knows.
func (s *Sandbox) AppID() int64 { return appID }

// AppSlug is the App's name in addresses; its comments are by {slug}[bot].
func (s *Sandbox) AppSlug() string { return appSlug }

// PrivateKey is the App's key in PEM.
func (s *Sandbox) PrivateKey() []byte { return s.keyPEM }

// WebhookSecret is what webhooks are signed with.
func (s *Sandbox) WebhookSecret() string { return s.secret }

// SetWebhookURL says where webhooks go from now on. Those of the time before are not sent.
func (s *Sandbox) SetWebhookURL(url string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.webhookURL = url
}

// SetLatency says how much later every API call is answered from now on.
func (s *Sandbox) SetLatency(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = d
}

// SetFaultShare says which share of API calls, 0 to 1, answers 502 and does nothing from now on.
func (s *Sandbox) SetFaultShare(share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faultShare = share
}

// SetLostShare says which share of API calls, 0 to 1, does its work and answers 502 from now on.
func (s *Sandbox) SetLostShare(share float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lostShare = share
}

// SetPages has h serve every path that is neither API nor git. Without it they are 501.
func (s *Sandbox) SetPages(h http.Handler) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pages = h
}

// Await returns when done reports true, which is asked now and after every change of state, or with
// the context's error. done is called without a lock, so it may read the sandbox.
func (s *Sandbox) Await(ctx context.Context, done func() bool) error {
	for {
		changed := s.Changed()
		if done() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return fmt.Errorf("wait for the sandbox: %w", context.Cause(ctx))
		}
	}
}

// Changed is closed at the next change of state.
func (s *Sandbox) Changed() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes
}

// change wakes those who wait for a change. The caller holds mu.
func (s *Sandbox) change() {
	close(s.changes)
	s.changes = make(chan struct{})
}

// randomHex is 32 random hex digits.
func randomHex() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails: https://pkg.go.dev/crypto/rand#Read
	return hex.EncodeToString(b[:])
}

// newRand makes the choice of failing calls repeatable.
func newRand(seed int64) *mathrand.Rand {
	return mathrand.New(mathrand.NewPCG(uint64(seed), 0)) //nolint:gosec // repeatable choice, no secret
}

// findGit finds git and the program that serves repositories over HTTP.
func findGit(ctx context.Context, dir string) (gitTool, error) {
	path, err := exec.LookPath("git")
	if err != nil {
		return gitTool{}, fmt.Errorf("find git: %w", err)
	}
	tool := gitTool{path: path, home: dir}
	libexec, err := tool.run(ctx, gitCall{args: []string{"--exec-path"}})
	if err != nil {
		return gitTool{}, err
	}
	tool.backend = filepath.Join(line(libexec), "git-http-backend")
	if _, err := os.Stat(tool.backend); err != nil {
		return gitTool{}, fmt.Errorf("find git-http-backend, which is part of git: %w", err)
	}
	return tool, nil
}
