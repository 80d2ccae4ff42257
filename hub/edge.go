package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"

	lru "github.com/hashicorp/golang-lru"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Routes that are named in more than one place.
const (
	tokenRoute   = "app/installations/{installation_id}/access_tokens"
	graphQLRoute = "graphql"
)

// The keys of what metrics are labelled with, in a request's context.
type (
	installationKey struct{}
	routeKey        struct{}
)

func withLabels(ctx context.Context, installation int64, route string) context.Context {
	return context.WithValue(context.WithValue(ctx, installationKey{}, installation), routeKey{}, route)
}

// edge is where requests leave the process: the innermost transport, so that what it counts is what
// GitHub counts.
type edge struct {
	next  http.RoundTripper
	hosts map[string]bool // scheme://host of the API; tokens go nowhere else
	agent string
	log   zerolog.Logger

	requests  *prometheus.CounterVec
	remaining *prometheus.GaugeVec
	postponed *prometheus.CounterVec
}

func newEdge(h *Hub, next http.RoundTripper, metrics prometheus.Registerer) (*edge, error) {
	e := &edge{
		next: next, agent: h.agent, log: h.log,
		hosts: map[string]bool{
			h.api.Scheme + "://" + h.api.Host:         true,
			h.graphQL.Scheme + "://" + h.graphQL.Host: true,
		},
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchyard_github_requests_total",
			Help: "Calls of GitHub's API by method, route and status code; code is \"error\" where no answer came.",
		}, []string{"method", "route", "code"}),
		remaining: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "switchyard_github_rate_limit_remaining",
			Help: "Calls that GitHub still allows before the limit is set back, as of the last answer.",
		}, []string{"installation", "resource"}),
		postponed: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchyard_github_postponed_total",
			Help: "Calls that were not made yet: because GitHub wants none (refused), because writes keep a pace (pace), " +
				"or because few calls are left and a read can wait (floor).",
		}, []string{"why"}),
	}
	if metrics == nil {
		return e, nil
	}
	for _, collector := range []prometheus.Collector{e.requests, e.remaining, e.postponed, newBudgets(h)} {
		if err := metrics.Register(collector); err != nil {
			return nil, fmt.Errorf("hub: register metrics: %w", err)
		}
	}
	return e, nil
}

// errElsewhere is a redirect that leads away from GitHub's API.
var errElsewhere = errors.New("GitHub's answer leads to another host, which must not see a token")

// RoundTrip implements http.RoundTripper.
func (e *edge) RoundTrip(original *http.Request) (*http.Response, error) {
	if !e.hosts[original.URL.Scheme+"://"+original.URL.Host] {
		return nil, fmt.Errorf("%w: %s", errElsewhere, original.URL.Host)
	}
	r := original.Clone(original.Context())
	r.Header.Set("X-Github-Api-Version", apiVersion)
	r.Header.Set("User-Agent", e.agent)
	route, _ := r.Context().Value(routeKey{}).(string)
	if strings.HasSuffix(r.URL.Path, "/access_tokens") { // bought on the way to another call
		route = tokenRoute
	}
	response, err := e.next.RoundTrip(r)
	if err != nil {
		e.requests.WithLabelValues(r.Method, route, "error").Inc()
		e.log.Debug().Str("method", r.Method).Str("route", route).Err(err).Msg("called GitHub")
		return nil, err //nolint:wrapcheck // http.Client names the method and the address
	}
	e.requests.WithLabelValues(r.Method, route, strconv.Itoa(response.StatusCode)).Inc()
	e.log.Debug().Str("method", r.Method).Str("route", route).Int("status", response.StatusCode).Msg("called GitHub")
	e.gauge(r, response.Header)
	response.Body = http.MaxBytesReader(nil, response.Body, maxResponse)
	validateAlways(response)
	return response, nil
}

// gauge records what is left of the budget that this answer was taken from.
func (e *edge) gauge(r *http.Request, header http.Header) {
	installation, _ := r.Context().Value(installationKey{}).(int64)
	left, err := strconv.ParseFloat(header.Get("X-Ratelimit-Remaining"), 64)
	if err != nil {
		return
	}
	budget := core
	if header.Get("X-Ratelimit-Resource") == string(graphQL) {
		budget = graphQL
	}
	e.remaining.WithLabelValues(strconv.FormatInt(installation, 10), string(budget)).Set(left)
}

// validateAlways makes the cache ask GitHub each time whether its response still holds, which costs
// nothing of the rate limit when it does, and keep no response that GitHub gives no ETag for. See
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#use-conditional-requests-if-appropriate.
func validateAlways(response *http.Response) {
	header := response.Header
	keep := response.StatusCode == http.StatusNotModified || (response.StatusCode == http.StatusOK && header.Get("ETag") != "")
	if !keep {
		header.Set("Cache-Control", "no-store")
		return
	}
	header.Set("Cache-Control", "private, max-age=0, must-revalidate")
}

// responseCache is what httpcache keeps of one installation's responses. All share one bounded store,
// but no installation finds what another one was answered.
type responseCache struct {
	installation int64
	lru          *lru.Cache
}

type responseKey struct {
	installation int64
	request      string
}

// Get implements httpcache.Cache.
func (c responseCache) Get(key string) ([]byte, bool) {
	kept, ok := c.lru.Get(responseKey{c.installation, key})
	if !ok {
		return nil, false
	}
	response, ok := kept.([]byte)
	return response, ok
}

// Set implements httpcache.Cache.
func (c responseCache) Set(key string, response []byte) {
	if len(response) > maxCachedResponse {
		c.Delete(key)
		return
	}
	c.lru.Add(responseKey{c.installation, key}, response)
}

// Delete implements httpcache.Cache.
func (c responseCache) Delete(key string) { c.lru.Remove(responseKey{c.installation, key}) }
