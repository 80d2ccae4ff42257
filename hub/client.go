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
	ledger       *ledger

	mu      sync.Mutex
	until   map[resource]*Wait // no call before
	calls   map[resource]calls // what GitHub last said
	strikes map[bool]int       // of writes and of reads: answers in a row that asked to wait without saying how long
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
	switch {
	case h.bearer != "":
		auth = bearer{token: h.bearer, next: cached}
	case installation == theApp:
		auth = ghinstallation.NewAppsTransportFromPrivateKey(cached, h.appID, h.key)
	default:
		auth = &renewing{buy: func() *ghinstallation.Transport { return h.installation(cached, installation, nil) }}
	}
	c := &client{
		installation: installation, http: &http.Client{Transport: auth}, ledger: &ledger{pace: h.pace},
		until: map[resource]*Wait{}, calls: map[resource]calls{}, strikes: map[bool]int{},
	}
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

// bearer sends requests with one token that cannot be renewed.
type bearer struct {
	token string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t bearer) RoundTrip(r *http.Request) (*http.Response, error) {
	with := r.Clone(r.Context())
	with.Header.Set("Authorization", "Bearer "+t.token)
	return t.next.RoundTrip(with) //nolint:wrapcheck // a RoundTripper hands on what it got
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

	mustFollow bool // a write that ends what another one began: it does not wait for room

	location *string              // where the answer leads to, which is not followed; nil: it leads nowhere
	explain  func(a answer) error // what a refusal means that is no rate limit; nil, or a nil error, for the usual meaning

	do, thing string // for errors: "read", "pull request #41 of acme/network"
}

// writes reports whether the request changes something at GitHub. All that goes to GraphQL does.
func (r request) writes() bool { return r.method != http.MethodGet }

// budget is what the request is counted in.
func (r request) budget() resource {
	if r.route == graphQLRoute {
		return graphQL
	}
	return core
}

// refused is the sentence that GitHub refused the request with these words.
func (r request) refused(words string) string {
	sentence := "GitHub refused to " + r.do + " " + r.thing
	if words == "" {
		return sentence + "."
	}
	return sentence + ": " + strings.TrimRight(words, ".") + "."
}

// page is where a list goes on: a parameter of its next call; the zero value is nowhere.
type page struct{ key, value string }

// maxCursor bounds what is taken for a cursor.
const maxCursor = 256

// call makes one call with a deadline, decodes what it answers, and says by the error's type what
// happens next.
func (h *Hub) call(ctx context.Context, installation int64, r request) (page, error) {
	defer h.timed(ctx)()
	c, err := h.client(installation)
	if err != nil {
		return page{}, err
	}
	answered, err := h.admit(ctx, c, r)
	if err != nil {
		return page{}, err
	}
	defer func() { answered(h.clock.Now()) }()
	path, err := expand(r.route, r.args)
	if err != nil {
		return page{}, &Gone{What: r.thing}
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
		return page{}, fmt.Errorf("%s %s: make the request: %w", r.do, r.thing, err)
	}
	response, err := c.send(req.WithContext(ctx), r.location != nil)
	if err != nil {
		return page{}, h.fault(c, r, err)
	}
	defer discard(response)
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return page{}, fmt.Errorf("%s %s: read the answer: %w", r.do, r.thing, err)
	}
	c.note(h.clock.Now(), r.budget(), response.Header)
	if r.location != nil && response.StatusCode == http.StatusFound {
		*r.location = response.Header.Get("Location")
		return page{}, nil
	}
	if response.StatusCode < 200 || response.StatusCode > 299 {
		return page{}, h.refusal(c, r, readAnswer(response.StatusCode, response.Header, body))
	}
	c.forgive(r)
	if r.out != nil && response.StatusCode != http.StatusNoContent {
		if err := json.Unmarshal(body, r.out); err != nil {
			return page{}, fmt.Errorf("%s %s: read the answer of %s %s: %w", r.do, r.thing, r.method, r.route, err)
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
		if !each() || next == (page{}) {
			return false, nil
		}
		query.Set(next.key, next.value)
	}
	return true, nil
}

// nextPage reads the header Link. Only the page number or the cursor is taken from it, so that a list cannot
// lead to another address. See https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api.
func nextPage(header http.Header) page {
	for link := range strings.SplitSeq(header.Get("Link"), ",") {
		address, parameters, ok := strings.Cut(link, ";")
		if !ok || !strings.Contains(parameters, `rel="next"`) {
			continue
		}
		u, err := url.Parse(strings.Trim(strings.TrimSpace(address), "<>"))
		if err != nil {
			return page{}
		}
		query := u.Query()
		if number, err := strconv.Atoi(query.Get("page")); err == nil && number > 1 {
			return page{key: "page", value: strconv.Itoa(number)}
		}
		for _, key := range []string{"cursor", "after"} {
			if cursor := query.Get(key); cursor != "" && len(cursor) <= maxCursor {
				return page{key: key, value: cursor}
			}
		}
		return page{}
	}
	return page{}
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
	return h.refusal(c, token, a)
}

// admit lets a call through or says with a *Wait when it may be made. The caller calls the function when
// the call was answered.
func (h *Hub) admit(ctx context.Context, c *client, r request) (func(time.Time), error) {
	now := h.clock.Now()
	if err := c.blocked(now, r.budget()); err != nil {
		h.edge.postponed.WithLabelValues("refused").Inc()
		return nil, err
	}
	if !r.writes() {
		if marked(ctx, laterKey{}) {
			if err := c.deferred(now, r.budget()); err != nil {
				h.edge.postponed.WithLabelValues("floor").Inc()
				return nil, err
			}
		}
		return func(time.Time) {}, nil
	}
	if c.installation == theApp { // redeliveries are no content
		return func(time.Time) {}, nil
	}
	answered, err := c.ledger.take(now, marked(ctx, botKey{}), r.mustFollow)
	if err != nil {
		h.edge.postponed.WithLabelValues("pace").Inc()
		return nil, err
	}
	return answered, nil
}

// mayWrite is the *Wait of a write, so that nothing is read for one that has to wait.
func (h *Hub) mayWrite(ctx context.Context, installation int64) error {
	c, err := h.client(installation)
	if err != nil {
		return err
	}
	now, bot := h.clock.Now(), marked(ctx, botKey{})
	if err := c.blocked(now, core); err != nil {
		h.edge.postponed.WithLabelValues("refused").Inc()
		return err
	}
	if room := c.ledger.look(now, bot); room.Left == 0 {
		h.edge.postponed.WithLabelValues("pace").Inc()
		return &Wait{Until: room.Until, Reason: c.ledger.reason(bot)}
	}
	return nil
}

// search looks for what an earlier write whose answer was lost may have made, unless the write that comes after has
// to wait anyhow. One that has begun goes on.
func (h *Hub) search(ctx context.Context, repo operation.Repository, begun bool, find func() (int64, error)) (int64, error) {
	if !begun {
		if err := h.mayWrite(ctx, repo.Installation); err != nil {
			return 0, err
		}
	}
	return find()
}

// refusal classifies the answer and remembers a Wait for the calls that come after. A secondary limit is one for
// REST and GraphQL together; what many calls at once are told about it counts once.
func (h *Hub) refusal(c *client, r request, a answer) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	now, budget := h.clock.Now(), r.budget()
	strikes := c.strikes[r.writes()]
	known := c.until[budget] != nil && now.Before(c.until[budget].Until)
	if known && strikes > 0 {
		strikes--
	}
	err := a.classify(r, now, strikes)
	wait, ok := errors.AsType[*Wait](err)
	if !ok {
		return err
	}
	switch a.limit(now) {
	case primaryLimit:
		c.until[budget] = later(c.until[budget], wait)
		return err
	case secondaryLimit:
		c.strikes[r.writes()] = strikes + 1
	case timeGiven, noLimit:
	}
	for _, each := range []resource{core, graphQL} {
		c.until[each] = later(c.until[each], wait)
	}
	return err
}

// later is the one of two waits that ends later.
func later(a, b *Wait) *Wait {
	if a != nil && a.Until.After(b.Until) {
		return a
	}
	return b
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

// note remembers what is left of a budget, and that it is used up before GitHub has to refuse a call. Answers
// can overtake each other: of one hour the smaller number counts.
func (c *client) note(now time.Time, budget resource, header http.Header) {
	if header.Get(httpcache.XFromCache) != "" {
		return
	}
	got, ok := readCalls(now, header)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.calls[budget]
	if got.reset.Equal(have.reset) {
		got.remaining = min(got.remaining, have.remaining)
	}
	if !got.reset.Before(have.reset) {
		c.calls[budget] = got
	}
	if got.remaining == 0 {
		c.until[budget] = later(c.until[budget], &Wait{Until: got.reset, Reason: usedUp})
	}
}

// forgive forgets the strikes of calls of this kind: a read that succeeds does not prove that a write would.
func (c *client) forgive(r request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.strikes[r.writes()] = 0
}

// discard ends a response so that its connection can be used again.
func discard(response *http.Response) {
	_, _ = io.Copy(io.Discard, response.Body) // what is left is not needed
	_ = response.Body.Close()                 // it was only read
}
