package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bradleyfalzon/ghinstallation/v2"
	"github.com/google/go-github/v66/github"
	"github.com/gregjones/httpcache"

	"github.com/switchyard-dev/switchyard/operation"
)

// theApp stands for the App itself where an installation is asked for: calls that are signed with its key.
const theApp int64 = 0

// resource is one of GitHub's budgets of calls. See https://docs.github.com/en/rest/rate-limit/rate-limit.
type resource string

const (
	core    resource = "core"
	graphQL resource = "graphql"
)

// client makes the calls of one installation. REST, GraphQL and all callers share its one token, which
// go-githubapp's client creator would buy once for each kind of client.
type client struct {
	installation int64
	rest         *github.Client // makes requests; it sends none, because it keeps one limit for all budgets
	http         *http.Client

	mu      sync.Mutex
	until   map[resource]*Wait // no call before
	strikes int                // answers in a row that asked to wait without saying how long
}

// client is the one of that installation; theApp is the App itself.
func (h *Hub) client(installation int64) (*client, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if kept, ok := h.clients.Get(installation); ok {
		if c, ok := kept.(*client); ok {
			return c, nil
		}
	}
	cached := &httpcache.Transport{
		Transport: h.edge, Cache: responseCache{installation: installation, lru: h.responses}, MarkCachedResponses: true,
	}
	var auth http.RoundTripper
	if installation == theApp {
		auth = ghinstallation.NewAppsTransportFromPrivateKey(cached, h.appID, h.key)
	} else {
		auth = &renewing{buy: func() *ghinstallation.Transport { return h.installation(cached, installation, nil) }}
	}
	c := &client{installation: installation, http: &http.Client{Transport: auth}, until: map[resource]*Wait{}}
	c.rest = github.NewClient(nil)
	c.rest.BaseURL = h.api
	c.rest.UserAgent = h.agent
	h.clients.Add(installation, c)
	return c, nil
}

// installation makes the transport that buys and keeps the token of an installation. Each has an App's
// transport of its own, because ghinstallation writes to it.
func (h *Hub) installation(next http.RoundTripper, id int64, narrowed *github.InstallationTokenOptions) *ghinstallation.Transport {
	transport := ghinstallation.NewFromAppsTransport(ghinstallation.NewAppsTransportFromPrivateKey(next, h.appID, h.key), id)
	transport.BaseURL = strings.TrimRight(h.api.String(), "/")
	transport.InstallationTokenOptions = narrowed
	return transport
}

type gitKey struct {
	installation, repository int64
	name                     string
}

// gitToken is what buys and keeps the token that can only read the repository's contents.
func (h *Hub) gitToken(repo operation.Repository) *ghinstallation.Transport {
	h.mu.Lock()
	defer h.mu.Unlock()
	key := gitKey{installation: repo.Installation, repository: repo.ID, name: repo.FullName()}
	if kept, ok := h.gitTokens.Get(key); ok {
		if transport, ok := kept.(*ghinstallation.Transport); ok {
			return transport
		}
	}
	narrowed := &github.InstallationTokenOptions{Permissions: &github.InstallationPermissions{Contents: new("read")}}
	if repo.ID != 0 {
		narrowed.RepositoryIDs = []int64{repo.ID}
	} else {
		narrowed.Repositories = []string{repo.Name}
	}
	transport := h.installation(h.edge, repo.Installation, narrowed)
	h.gitTokens.Add(key, transport)
	return transport
}

// renewing sends requests with the installation's token. When GitHub does not accept a token that should
// still be valid (it was revoked, or the clocks differ), it buys a new one and sends the request once more.
type renewing struct {
	buy func() *ghinstallation.Transport

	mu      sync.Mutex
	current *ghinstallation.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *renewing) RoundTrip(r *http.Request) (*http.Response, error) {
	transport := t.without(nil)
	response, err := transport.RoundTrip(r)
	if err != nil || response.StatusCode != http.StatusUnauthorized {
		return response, err //nolint:wrapcheck // a RoundTripper hands on what it got
	}
	again := r.Clone(r.Context())
	if r.Body != nil && r.Body != http.NoBody {
		if r.GetBody == nil {
			return response, nil
		}
		if again.Body, err = r.GetBody(); err != nil {
			return response, nil //nolint:nilerr // the answer stands as it is
		}
	}
	discard(response)
	return t.without(transport).RoundTrip(again) //nolint:wrapcheck // as above
}

// without is the current transport, or a new one when the current one is refused.
func (t *renewing) without(refused *ghinstallation.Transport) *ghinstallation.Transport {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current == nil || t.current == refused {
		t.current = t.buy()
	}
	return t.current
}

// request is one call of the API.
type request struct {
	method string
	route  string   // as in GitHub's documentation, without the leading slash
	args   []string // the values of the route's placeholders, in their order
	query  url.Values
	body   any
	out    any // what a success is decoded into; nil for nothing

	do, thing string // for errors: "read", "pull request #41 of acme/network"
}

// refused is the sentence that GitHub refused the request with these words.
func (r request) refused(words string) string {
	sentence := "GitHub refused to " + r.do + " " + r.thing
	if words == "" {
		return sentence + "."
	}
	return sentence + ": " + strings.TrimRight(words, ".") + "."
}

// page is where a list goes on; 0 is nowhere.
type page int

// call makes one call with a deadline, decodes what it answers, and says by the error's type what
// happens next.
func (h *Hub) call(ctx context.Context, installation int64, r request) (page, error) {
	c, err := h.client(installation)
	if err != nil {
		return 0, err
	}
	budget := core
	if r.route == graphQLRoute {
		budget = graphQL
	}
	if err := c.blocked(h.clock.Now(), budget); err != nil {
		return 0, err
	}
	path, err := expand(r.route, r.args)
	if err != nil {
		return 0, &Gone{What: r.thing}
	}
	if r.route == graphQLRoute {
		path = h.graphQL.String()
	}
	if len(r.query) > 0 {
		path += "?" + r.query.Encode()
	}
	ctx, cancel := context.WithTimeout(withLabels(ctx, installation, r.route), h.timeout)
	defer cancel()
	req, err := c.rest.NewRequest(r.method, path, r.body)
	if err != nil {
		return 0, fmt.Errorf("%s %s: make the request: %w", r.do, r.thing, err)
	}
	response, err := c.http.Do(req.WithContext(ctx))
	if err != nil {
		return 0, h.fault(c, r, err)
	}
	defer discard(response)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, fmt.Errorf("%s %s: read the answer: %w", r.do, r.thing, err)
	}
	c.note(h.clock.Now(), budget, response.Header)
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return 0, h.refusal(c, budget, r, readAnswer(response.StatusCode, response.Header, body))
	}
	c.forgive()
	if r.out != nil {
		if err := json.Unmarshal(body, r.out); err != nil {
			return 0, fmt.Errorf("%s %s: read the answer of %s %s: %w", r.do, r.thing, r.method, r.route, err)
		}
	}
	return nextPage(response.Header), nil
}

// list makes the same call for one page after another. Each is told what the page held; it ends early
// when each returns false. It reports whether the list went on after the last page that was read.
func (h *Hub) list(ctx context.Context, installation int64, r request, pages int, each func() bool) (bool, error) {
	query := url.Values{}
	maps.Copy(query, r.query)
	query.Set("per_page", strconv.Itoa(perPage))
	r.query = query
	for range pages {
		next, err := h.call(ctx, installation, r)
		if err != nil {
			return false, err
		}
		if !each() || next == 0 {
			return false, nil
		}
		query.Set("page", strconv.Itoa(int(next)))
	}
	return true, nil
}

// nextPage reads the header Link. Only the page number is taken from it, so that a list cannot lead to
// another address. See https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api.
func nextPage(header http.Header) page {
	for link := range strings.SplitSeq(header.Get("Link"), ",") {
		address, parameters, ok := strings.Cut(link, ";")
		if !ok || !strings.Contains(parameters, `rel="next"`) {
			continue
		}
		u, err := url.Parse(strings.Trim(strings.TrimSpace(address), "<>"))
		if err != nil {
			return 0
		}
		number, err := strconv.Atoi(u.Query().Get("page"))
		if err != nil || number < 2 {
			return 0
		}
		return page(number)
	}
	return 0
}

// errNoName is a value that cannot be one segment of a path, and no name on GitHub either.
var errNoName = errors.New("not a name")

// expand puts the arguments into the route's placeholders. Each becomes exactly one segment of the path,
// whatever it holds.
func expand(route string, args []string) (string, error) {
	segments := strings.Split(route, "/")
	for i, segment := range segments {
		if !strings.HasPrefix(segment, "{") {
			continue
		}
		if len(args) == 0 || args[0] == "" || args[0] == "." || args[0] == ".." {
			return "", errNoName
		}
		segments[i], args = url.PathEscape(args[0]), args[1:]
	}
	return strings.Join(segments, "/"), nil
}

// fault makes an error of a call that got no answer. Where the token could not be bought, GitHub's answer
// to that says what happens next.
func (h *Hub) fault(c *client, r request, err error) error {
	noToken, ok := errors.AsType[*ghinstallation.HTTPError](err)
	if !ok || noToken.Response == nil {
		return fmt.Errorf("%s %s: %w", r.do, r.thing, err)
	}
	defer discard(noToken.Response)
	body, readErr := io.ReadAll(noToken.Response.Body)
	if readErr != nil {
		return fmt.Errorf("%s %s: read why there is no token: %w", r.do, r.thing, readErr)
	}
	a := readAnswer(noToken.Response.StatusCode, noToken.Response.Header, body)
	if a.status == http.StatusUnauthorized {
		return &NeedsPerson{
			What:   "GitHub does not accept the App's key: " + strings.TrimRight(a.reason("401 Unauthorized"), ".") + ".",
			Remedy: "Check the App's id, its private key and the clock of the server.",
		}
	}
	token := request{
		method: http.MethodPost, route: tokenRoute, do: "give a token of",
		thing: fmt.Sprintf("the App's installation %d (for %s)", c.installation, r.thing),
	}
	return h.refusal(c, core, token, a)
}

// refusal classifies the answer and remembers a Wait for the calls that come after.
func (h *Hub) refusal(c *client, budget resource, r request, a answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	err := a.classify(r, h.clock.Now(), c.strikes)
	if wait, ok := errors.AsType[*Wait](err); ok {
		c.strikes++
		c.until[budget] = wait
	}
	return err
}

// blocked is the *Wait that is in force, so that a limit is not made worse by further calls.
func (c *client) blocked(now time.Time, budget resource) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	wait, ok := c.until[budget]
	if !ok || !now.Before(wait.Until) {
		return nil
	}
	return wait
}

// note remembers that a budget is used up before GitHub has to refuse a call.
func (c *client) note(now time.Time, budget resource, header http.Header) {
	if header.Get("X-Ratelimit-Remaining") != "0" || header.Get(httpcache.XFromCache) != "" {
		return
	}
	seconds, err := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64)
	if err != nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.until[budget] = &Wait{Until: bounded(now, time.Unix(seconds, 0).Add(time.Second)), Reason: "the rate limit is used up"}
}

func (c *client) forgive() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strikes = 0
}

// discard ends a response so that its connection can be used again.
func discard(response *http.Response) {
	_, _ = io.Copy(io.Discard, response.Body) // what is left is not needed
	_ = response.Body.Close()                 // it was only read
}
