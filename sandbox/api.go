package sandbox

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

const (
	apiPrefix      = "/api/v3"
	maxAPIRequest  = 10 << 20
	defaultPerPage = 30  // https://docs.github.com/en/rest/using-the-rest-api/using-pagination-in-the-rest-api
	maxPerPage     = 100 // same page
	apiVersion     = "2022-11-28"
	documentation  = "https://docs.github.com/rest"
	jsonType       = "application/json; charset=utf-8"
)

// route is one operation of GitHub's API, named as in GitHub's OpenAPI description.
type route struct {
	method   string
	pattern  string
	auth     auth
	accepted []permission // any one of them suffices
	handle   func(*call) reply
}

func (r route) name() string { return r.method + " " + r.pattern }

// auth says whose credentials a route takes.
type auth int

const (
	asInstallation auth = iota
	asApp
	asAnybody
)

// permission is one that a token may have, e.g. checks=write.
type permission struct{ key, level string }

// call is one API call on its way.
type call struct {
	sandbox    *Sandbox
	request    *http.Request
	path       string // escaped, without the prefix
	params     map[string]string
	body       []byte
	token      *token
	repository *Repository // where the route names one
}

// reply is the answer to a call.
type reply struct {
	status int
	body   any
	raw    []byte // instead of body
	kind   string // content type of raw
	header http.Header
	effect string // what was written, in a few words; empty for reads
	ending ending // how it ends where it is not answered
}

// problem is an error as GitHub words it.
func problem(status int, message string) reply {
	return reply{status: status, body: object{
		"message": message, "documentation_url": documentation, "status": strconv.Itoa(status),
	}}
}

func notFound() reply { return problem(http.StatusNotFound, "Not Found") }

// invalid is a 422 that names the field.
func invalid(resource, field, code, message string) reply {
	return reply{status: http.StatusUnprocessableEntity, body: object{
		"message": "Validation Failed", "documentation_url": documentation, "status": "422",
		"errors": []object{{"resource": resource, "field": field, "code": code, "message": message}},
	}}
}

func (s *Sandbox) handler() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		escaped := r.URL.EscapedPath()
		if strings.HasPrefix(escaped, apiPrefix+"/") || strings.HasPrefix(escaped, "/api/") {
			s.serveAPI(w, r)
			return
		}
		if s.serveServices(w, r) {
			return
		}
		if name, ok := strings.CutPrefix(r.URL.Path, statesPath); ok {
			s.serveState(w, r, name)
			return
		}
		if owner, name, rest, ok := gitPath(escaped); ok {
			s.serveGit(w, r, owner, name, rest)
			return
		}
		s.mu.Lock()
		pages := s.pages
		s.mu.Unlock()
		if pages != nil {
			pages.ServeHTTP(w, r)
			return
		}
		answer := s.refuseUnserved(r)
		answer.write(w)
	})
}

// refuseUnserved remembers a request that no route takes.
func (s *Sandbox) refuseUnserved(r *http.Request) reply {
	name := r.Method + " " + r.URL.Path
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unserved[name] = true
	s.log.Warn().Str("request", name).Msg("sandbox does not serve this")
	return problem(http.StatusNotImplemented, "The sandbox does not serve "+name)
}

// serveAPI answers one call, tells the observer, counts it, and only then writes the answer, so that
// whoever has the answer sees everything that it caused.
func (s *Sandbox) serveAPI(w http.ResponseWriter, r *http.Request) {
	c := &call{sandbox: s, request: r, path: strings.TrimPrefix(r.URL.EscapedPath(), apiPrefix)}
	if r.URL.Path == "/api/graphql" {
		c.path = "/graphql"
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxAPIRequest))
	if err != nil {
		tooLarge := problem(http.StatusRequestEntityTooLarge, "The request is too large.")
		tooLarge.write(w)
		return
	}
	c.body = body

	matched, ok := s.match(c)
	var answer reply
	var fault bool
	if ok {
		answer, fault = s.answer(c, matched) //nolint:contextcheck // the call carries its request
	} else {
		answer = s.refuseUnserved(r)
	}
	answer.finish(r)
	s.record(c, matched, answer, ok, fault)
	if !answer.end(r.Context(), w) {
		answer.write(w)
	}
}

// match finds the route of a call and its parameters.
func (s *Sandbox) match(c *call) (route, bool) {
	segments := strings.Split(strings.TrimPrefix(c.path, "/"), "/")
	for i, segment := range segments {
		plain, err := url.PathUnescape(segment)
		if err != nil {
			return route{}, false
		}
		segments[i] = plain
	}
	for _, candidate := range s.routes {
		if candidate.method != c.request.Method {
			continue
		}
		params := map[string]string{}
		if matchSegments(strings.Split(strings.TrimPrefix(candidate.pattern, "/"), "/"), segments, params) {
			c.params = params
			return candidate, true
		}
	}
	return route{}, false
}

// matchSegments matches a pattern. {path} and {ref} take as many segments as they need.
func matchSegments(pattern, segments []string, params map[string]string) bool {
	if len(pattern) == 0 {
		return len(segments) == 0
	}
	name, isParam := strings.CutPrefix(pattern[0], "{")
	name = strings.TrimSuffix(name, "}")
	if isParam && (name == "path" || name == "ref") {
		for n := len(segments); n >= 0; n-- {
			if matchSegments(pattern[1:], segments[n:], params) {
				params[name] = strings.Join(segments[:n], "/")
				return true
			}
		}
		return false
	}
	if len(segments) == 0 || !isParam && segments[0] != pattern[0] {
		return false
	}
	if isParam {
		params[name] = segments[0]
	}
	return matchSegments(pattern[1:], segments[1:], params)
}

// answer goes through what every call meets: latency, faults, credentials, limits, permissions, work.
func (s *Sandbox) answer(c *call, matched route) (answer reply, fault bool) {
	s.mu.Lock()
	latency, roll := s.latency, s.chance.Float64()
	faulty, lost := roll < s.faultShare, roll >= s.faultShare && roll < s.faultShare+s.lostShare
	met := s.takeFault(matched)
	s.mu.Unlock()
	wait(c.request.Context(), latency)
	switch {
	case met != nil && !met.works:
		return met.answer(), true
	case faulty:
		return problem(http.StatusBadGateway, "Server Error"), true
	}
	limits, refused := s.authorize(c, matched)
	if refused == nil {
		answer = matched.handle(c)
	} else {
		answer = *refused
	}
	if answer.header == nil {
		answer.header = http.Header{}
	}
	if answer.status == http.StatusOK && c.request.Method == http.MethodGet {
		answer.revalidate(c.request)
	}
	// A 304 is free: https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api
	free := answer.status == http.StatusNotModified || matched.pattern == "/rate_limit" || limits == nil
	s.mu.Lock()
	maps.Copy(answer.header, limits.spend(!free))
	s.mu.Unlock()
	if accepted := acceptedHeader(matched.accepted); accepted != "" {
		answer.header.Set("X-Accepted-Github-Permissions", accepted)
	}
	if met != nil {
		answer.ending = met.kind
		return answer, true
	}
	if lost {
		return reply{
			status: http.StatusBadGateway, body: object{"message": "Server Error"}, effect: answer.effect, header: answer.header,
		}, true
	}
	return answer, false
}

func wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// encode writes the body down once.
func (a *reply) encode() {
	if a.raw != nil || a.body == nil {
		return
	}
	raw, err := json.Marshal(a.body)
	if err != nil {
		a.status, raw = http.StatusInternalServerError, []byte(`{"message":"the sandbox cannot write its answer"}`)
	}
	a.raw, a.kind = raw, jsonType
}

// revalidate adds the ETag and turns the answer into 304 where the caller has it already.
func (a *reply) revalidate(r *http.Request) {
	a.encode()
	sum := sha256.Sum256(a.raw)
	tag := `W/"` + hex.EncodeToString(sum[:]) + `"`
	a.header.Set("ETag", tag)
	a.header.Set("Cache-Control", "private, max-age=60, s-maxage=60")
	a.header.Set("Vary", "Accept, Authorization, Cookie, X-GitHub-OTP,Accept-Encoding, Accept, X-Requested-With")
	for known := range strings.SplitSeq(r.Header.Get("If-None-Match"), ",") {
		if known = strings.TrimSpace(known); known == "*" || strings.TrimPrefix(known, "W/") == strings.TrimPrefix(tag, "W/") {
			a.status, a.raw, a.body = http.StatusNotModified, nil, nil
			return
		}
	}
}

// finish adds the headers that every answer has.
func (a *reply) finish(r *http.Request) {
	a.encode()
	if a.header == nil {
		a.header = http.Header{}
	}
	a.header.Set("X-Github-Request-Id", randomHex())
	a.header.Set("X-Github-Api-Version-Selected", apiVersion)
	a.header.Set("X-Github-Media-Type", "github.v3; format=json")
	if len(a.raw) > 0 {
		a.header.Set("Content-Type", a.kind)
		a.header.Set("Content-Length", strconv.Itoa(len(a.raw)))
	}
	if r.Method == http.MethodHead {
		a.raw = nil
	}
}

func (a *reply) write(w http.ResponseWriter) {
	a.encode()
	maps.Copy(w.Header(), a.header)
	if a.kind != "" && w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", a.kind)
	}
	w.WriteHeader(a.status)
	_, _ = w.Write(a.raw) //nolint:gosec // JSON, never HTML; and when the caller is gone there is nobody to tell
}

// record counts a call, notes its effect and tells the observer.
func (s *Sandbox) record(c *call, matched route, answer reply, served, fault bool) {
	e := Exchange{
		Method: c.request.Method, Path: c.path, Query: c.request.URL.RawQuery, Fault: fault,
		RequestHeader: c.request.Header.Clone(), RequestBody: c.body,
	}
	if answer.ending == answered {
		e.Status, e.ResponseHeader, e.ResponseBody = answer.status, answer.header.Clone(), answer.raw
	}
	if e.RequestHeader.Get("Authorization") != "" {
		e.RequestHeader.Set("Authorization", "Bearer blanked")
	}
	if served {
		e.Route = matched.name()
	}
	if matched.pattern == tokensPattern && answer.status == http.StatusCreated {
		e.ResponseBody = blankToken(e.ResponseBody)
	}
	s.tell(e)

	s.mu.Lock()
	defer s.mu.Unlock()
	if served && matched.pattern != tokensPattern && answer.status != http.StatusNotModified {
		s.calls[matched.name()]++
	}
	if answer.effect != "" {
		path, err := url.PathUnescape(c.path)
		if err != nil {
			path = c.path
		}
		s.effects = append(s.effects, c.request.Method+" "+path+" "+answer.effect)
	}
	s.change()
}

func blankToken(body []byte) []byte {
	var o object
	if json.Unmarshal(body, &o) != nil {
		return nil
	}
	o["token"] = "ghs_blanked"
	blanked, err := json.Marshal(o)
	if err != nil {
		return nil
	}
	return blanked
}

// decode reads the body of a call. The reply is for the caller when there is one.
func decode[T any](c *call) (T, *reply) {
	var into T
	body := c.body
	if len(body) == 0 {
		body = []byte("{}")
	}
	err := json.Unmarshal(body, &into)
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType):
		p := problem(http.StatusUnprocessableEntity, fmt.Sprintf("Invalid request.\n\nFor 'properties/%s', %s is not a %s.",
			wrongType.Field, wrongType.Value, wrongType.Type))
		return into, &p
	case err != nil:
		p := problem(http.StatusBadRequest, "Problems parsing JSON")
		return into, &p
	}
	return into, nil
}

// page cuts the page out of items that a call asks for, and says in Link where the others are.
func page[T any](c *call, items []T) ([]T, http.Header) {
	query := c.request.URL.Query()
	perPage := min(positive(query.Get("per_page"), defaultPerPage), maxPerPage)
	number := positive(query.Get("page"), 1)
	last := max((len(items)+perPage-1)/perPage, 1)

	var links []string
	link := func(rel string, to int) {
		query.Set("page", strconv.Itoa(to))
		links = append(links, fmt.Sprintf(`<%s%s?%s>; rel="%s"`, c.sandbox.APIURL(), c.path, query.Encode(), rel))
	}
	if number > 1 {
		link("prev", number-1)
	}
	if number < last {
		link("next", number+1)
		link("last", last)
	}
	if number > 1 {
		link("first", 1)
	}
	header := http.Header{}
	if len(links) > 0 {
		header.Set("Link", strings.Join(links, ", "))
	}
	from := min((number-1)*perPage, len(items))
	return items[from:min(from+perPage, len(items))], header
}

func positive(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil && n > 0 {
		return min(n, 1<<20) //nolint:mnd // keeps the product of two within an int
	}
	return otherwise
}

// list answers with one page of items.
func list[T any](c *call, items []T, show func(T) object) reply {
	cut, header := page(c, items)
	body := make([]object, 0, len(cut))
	for _, item := range cut {
		body = append(body, show(item))
	}
	return reply{status: http.StatusOK, body: body, header: header}
}

// id reads a numeric parameter of the path; 0 finds nothing.
func (c *call) id(name string) int64 {
	n, err := strconv.ParseInt(c.params[name], 10, 64)
	if err != nil {
		return 0
	}
	return n
}

func acceptedHeader(accepted []permission) string {
	words := make([]string, 0, len(accepted))
	for _, p := range accepted {
		words = append(words, p.key+"="+p.level)
	}
	slices.Sort(words)
	return strings.Join(words, "; ")
}
