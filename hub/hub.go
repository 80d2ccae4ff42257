// Package hub is the only caller of GitHub's API. Others ask it for facts (a pull request, a permission)
// and tell it what a surface should show (a check run, a comment, a deployment). Its errors say by their
// type what happens next: *Wait, *Gone, *NeedsPerson; every other error is a fault, which the caller
// tries again. It decides nothing, keeps nothing but tokens and validated responses, and never lets a
// secret into an error or a log line.
package hub

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v4"
	lru "github.com/hashicorp/golang-lru"
	"github.com/jonboulle/clockwork"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
)

// Defaults of Options.
const (
	DefaultAPIURL    = "https://api.github.com"
	DefaultWebURL    = "https://github.com"
	DefaultTimeout   = 15 * time.Second
	DefaultClients   = 256
	DefaultUserAgent = "switchyard"
)

// Options says where GitHub is and as which App to call it.
type Options struct {
	AppID      int64
	PrivateKey []byte // PEM, PKCS #1 or PKCS #8
	// Bearer is the token of a workflow's job, with which everything is called instead of as an App.
	// See https://docs.github.com/en/actions/concepts/security/github_token.
	Bearer string

	// APIURL is the root of the REST API: https://api.github.com, or https://HOST/api/v3 on GitHub
	// Enterprise Server. Empty is DefaultAPIURL.
	// See https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/getting-started-with-the-rest-api.
	APIURL string
	// WebURL is where people look at repositories, and git's root. Empty is derived from APIURL.
	WebURL string
	// GraphQLURL is the address of the GraphQL API. Empty is derived from APIURL.
	GraphQLURL string

	Timeout   time.Duration     // of one call, with the purchase of a token where it needs one; 0 is DefaultTimeout
	Transport http.RoundTripper // nil is one like http.DefaultTransport, with connections of its own
	Clients   int               // installations whose tokens and budgets are kept; 0 is DefaultClients
	Clock     clockwork.Clock   // nil is the real one
	Metrics   prometheus.Registerer
	Log       zerolog.Logger
	UserAgent string // empty is DefaultUserAgent

	// Pace is how much all processes together write to one installation.
	Pace Pace
	// Replicas is how many processes share the pace; each keeps to an equal part of it without asking the
	// others. 0 is one. Where it is too small, GitHub's secondary limit is the safety net: who meets it waits.
	Replicas int
}

// Hub calls GitHub's API. It is safe for concurrent use.
type Hub struct {
	appID   int64
	key     *rsa.PrivateKey
	bearer  string   // instead of both
	api     *url.URL // with a trailing slash
	web     *url.URL
	graphQL *url.URL
	timeout time.Duration
	pace    Pace // of this process
	// replicas is how many processes share the pace.
	replicas int
	agent    string
	clock    clockwork.Clock
	log      zerolog.Logger
	edge     *edge
	plain    http.RoundTripper // for what is not GitHub's API

	mu        sync.Mutex // guards the making of clients, so that one installation never buys two tokens at once
	bot       string     // login under which the App acts; empty until GitHub was asked
	clients   *lru.Cache // installation → *client; 0 is the App itself
	gitTokens *lru.Cache // gitKey → *ghinstallation.Transport
	responses *lru.Cache // responses with an ETag; the keys begin with the installation
}

// New makes a Hub. It calls nothing. The error names the option that is wrong.
func New(options Options) (*Hub, error) {
	key, err := options.identity()
	if err != nil {
		return nil, err
	}
	h := &Hub{
		appID: options.AppID, key: key, bearer: options.Bearer, timeout: options.Timeout, agent: options.UserAgent,
		clock: options.Clock, log: options.Log, pace: options.Pace.among(options.Replicas),
		replicas: max(options.Replicas, 1),
	}
	if h.timeout <= 0 {
		h.timeout = DefaultTimeout
	}
	if h.agent == "" {
		h.agent = DefaultUserAgent
	}
	if h.clock == nil {
		h.clock = clockwork.NewRealClock()
	}
	if err := h.addresses(options); err != nil {
		return nil, err
	}
	if err := h.caches(options.Clients); err != nil {
		return nil, err
	}
	if options.Transport == nil {
		options.Transport = ownTransport()
	}
	h.plain = options.Transport
	h.edge, err = newEdge(h, options.Transport, options.Metrics)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// identity reads the key that the App's calls are signed with; there is none where a token is given.
func (o Options) identity() (*rsa.PrivateKey, error) {
	if o.Bearer != "" {
		return nil, nil //nolint:nilnil // nothing is signed
	}
	if o.AppID <= 0 {
		return nil, fmt.Errorf("hub: the App's id is %d; it must be the positive number that GitHub shows on the App's page", o.AppID)
	}
	key, err := jwt.ParseRSAPrivateKeyFromPEM(o.PrivateKey)
	if err != nil {
		return nil, fmt.Errorf("hub: read the App's private key (it must be the PEM file that GitHub made): %w", err)
	}
	return key, nil
}

// CloneURL is the address that git fetches the repository from. It holds no credentials.
func (h *Hub) CloneURL(repo operation.Repository) string {
	return h.WebURL(repo) + ".git"
}

// WebURL is the page of the repository.
func (h *Hub) WebURL(repo operation.Repository) string {
	return strings.TrimRight(h.web.String(), "/") + "/" + url.PathEscape(repo.Owner) + "/" + url.PathEscape(repo.Name)
}

// Token is an installation token with which git can read this one repository and do nothing else. It is
// valid for at least one more minute, usually for an hour. In a workflow's job it is the job's own token.
// See https://docs.github.com/en/rest/apps/apps#create-an-installation-access-token-for-an-app.
func (h *Hub) Token(ctx context.Context, repo operation.Repository) (string, error) {
	if h.bearer != "" {
		return h.bearer, nil
	}
	client, err := h.client(repo.Installation)
	if err != nil {
		return "", err
	}
	call := request{method: http.MethodPost, route: tokenRoute, do: "get a git token for", thing: repo.FullName()}
	if err := client.blocked(h.clock.Now(), core); err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(withLabels(ctx, repo.Installation, tokenRoute), h.timeout)
	defer cancel()
	token, err := h.gitToken(repo).Token(ctx)
	if err != nil {
		return "", h.fault(client, call, err)
	}
	return token, nil
}

// addresses parses the three roots and derives those that are not given.
func (h *Hub) addresses(options Options) error {
	api := strings.TrimRight(options.APIURL, "/")
	if api == "" {
		api = DefaultAPIURL
	}
	var err error
	if h.api, err = root("API URL", api+"/"); err != nil {
		return err
	}
	host, enterprise := strings.CutSuffix(api, "/api/v3")

	graphQL := strings.TrimRight(options.GraphQLURL, "/")
	switch {
	case graphQL != "":
	case enterprise:
		graphQL = host + "/api/graphql"
	default:
		graphQL = api + "/graphql"
	}
	if h.graphQL, err = root("GraphQL URL", graphQL); err != nil {
		return err
	}

	web := strings.TrimRight(options.WebURL, "/")
	switch {
	case web != "":
	case enterprise:
		web = host
	case api == DefaultAPIURL:
		web = DefaultWebURL
	default: // GitHub Enterprise Cloud with data residency: api.TENANT.ghe.com and TENANT.ghe.com
		web = strings.Replace(api, "://api.", "://", 1)
	}
	h.web, err = root("web URL", web)
	return err
}

func root(what, address string) (*url.URL, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, fmt.Errorf("hub: read the %s: %w", what, err)
	}
	if (u.Scheme != "https" && u.Scheme != "http") || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return nil, fmt.Errorf("hub: the %s is %q; it must be like https://HOST/PATH, without user, query or fragment", what, u.Redacted())
	}
	return u, nil
}

func (h *Hub) caches(clients int) error {
	if clients <= 0 {
		clients = DefaultClients
	}
	var errs [3]error
	h.clients, errs[0] = lru.New(clients)
	h.gitTokens, errs[1] = lru.New(4 * clients)
	h.responses, errs[2] = lru.New(maxCachedResponses)
	if err := errors.Join(errs[:]...); err != nil {
		return fmt.Errorf("hub: make caches: %w", err)
	}
	return nil
}

// ownTransport is one whose connections nobody else closes: any user of http.DefaultTransport may close its idle ones, and with them
// one that a call is about to use.
func ownTransport() http.RoundTripper {
	if shared, ok := http.DefaultTransport.(*http.Transport); ok {
		return shared.Clone()
	}
	return http.DefaultTransport
}
