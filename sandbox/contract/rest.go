package contract

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"

	"github.com/getkin/kin-openapi/openapi3"
	"github.com/getkin/kin-openapi/openapi3filter"
	"github.com/getkin/kin-openapi/routers"
)

//go:embed rest.json
var restJSON []byte

// Prefixes of the addresses of a GitHub Enterprise Server, which the stand-in has.
// https://docs.github.com/en/enterprise-server@3.19/rest/using-the-rest-api/getting-started-with-the-rest-api
const (
	restPrefix  = "/api/v3"
	graphQLPath = "/graphql"
)

// maxComment is GitHub's limit of a comment's body in characters. The description does not have it.
const maxComment = 65_536

// Call is one REST or GraphQL request with its response.
type Call struct {
	Method         string
	URL            string // path and query, with or without scheme and host; the path as it was escaped on the wire
	RequestHeader  http.Header
	RequestBody    []byte
	Status         int
	ResponseHeader http.Header
	ResponseBody   []byte
	Fault          bool // the response is a fault that a test asked for: only the request is looked at
}

// CheckCall records how a call violates GitHub's REST description.
func (c *Contract) CheckCall(ctx context.Context, call Call) {
	address, err := url.Parse(call.URL)
	if err != nil {
		c.record([]string{fmt.Sprintf("%s %s: %v", call.Method, call.URL, err)})
		return
	}
	if strings.TrimPrefix(address.Path, "/api") == graphQLPath {
		c.record(graphQLViolations(call))
		return
	}
	if bytes.Equal(bytes.TrimSpace(call.RequestBody), []byte("null")) {
		call.RequestBody = nil // how go-github sends options that are nil; GitHub takes it for no body
	}
	path := strings.TrimPrefix(address.EscapedPath(), restPrefix)
	route, params, ok := c.rest.find(call.Method, path)
	if !ok {
		c.record([]string{fmt.Sprintf("%s %s: not listed in sandbox/contract/operations.txt (answered %d)", call.Method, path, call.Status)})
		return
	}
	check := restCheck{route: route, params: params, address: address, call: call}
	found := check.request(ctx)
	if !call.Fault {
		found = append(found, check.response(ctx)...)
	}
	for i := range found {
		found[i] = route.Method + " " + route.Path + ": " + found[i]
	}
	c.record(found)
}

// restDescription is GitHub's description, ready to be matched.
type restDescription struct {
	operations []operation
	spec       *openapi3.T
}

type operation struct {
	segments []string
	route    *routers.Route
}

func loadREST() (*restDescription, error) {
	spec, err := openapi3.NewLoader().LoadFromData(restJSON)
	if err != nil {
		return nil, fmt.Errorf("parse rest.json: %w", err)
	}
	description := &restDescription{spec: spec}
	for path, item := range spec.Paths.Map() {
		for method, op := range item.Operations() {
			description.operations = append(description.operations, operation{
				segments: strings.Split(path, "/"),
				route:    &routers.Route{Spec: spec, Path: path, PathItem: item, Method: method, Operation: op},
			})
		}
	}
	return description, nil
}

// find returns the operation of an escaped path, the most literal one where several match, with its unescaped parameters.
func (d *restDescription) find(method, path string) (*routers.Route, map[string]string, bool) {
	var (
		best     *routers.Route
		params   map[string]string
		literals = -1
	)
	segments := strings.Split(path, "/")
	for _, operation := range d.operations {
		if operation.route.Method != method {
			continue
		}
		found, n, ok := match(operation.segments, segments)
		if ok && n > literals {
			best, params, literals = operation.route, found, n
		}
	}
	return best, params, best != nil
}

// match compares a path with a template and counts the literal segments. The parameter {path}, of contents, takes the rest.
func match(template, segments []string) (map[string]string, int, bool) {
	params, literals := map[string]string{}, 0
	for i, part := range template {
		if i >= len(segments) {
			return nil, 0, false
		}
		name, isParam := strings.CutPrefix(part, "{")
		if !isParam {
			if part != segments[i] {
				return nil, 0, false
			}
			literals++
			continue
		}
		name = strings.TrimSuffix(name, "}")
		value := segments[i]
		if name == "path" {
			value, segments = strings.Join(segments[i:], "/"), segments[:i+1]
		}
		unescaped, err := url.PathUnescape(value)
		if err != nil || unescaped == "" {
			return nil, 0, false
		}
		params[name] = unescaped
	}
	return params, literals, len(template) == len(segments)
}

// restCheck is the look at one call of a known operation.
type restCheck struct {
	route   *routers.Route
	params  map[string]string
	address *url.URL
	call    Call
}

func (r restCheck) input() (*openapi3filter.RequestValidationInput, error) {
	request, err := http.NewRequest(r.call.Method, r.address.String(), bytes.NewReader(r.call.RequestBody)) //nolint:noctx // never sent
	if err != nil {
		return nil, fmt.Errorf("rebuild the request: %w", err)
	}
	request.Header = r.call.RequestHeader.Clone()
	if request.Header == nil {
		request.Header = http.Header{}
	}
	return &openapi3filter.RequestValidationInput{
		Request: request, PathParams: r.params, QueryParams: r.address.Query(), Route: r.route,
		Options: &openapi3filter.Options{
			MultiError: true, SkipSettingDefaults: true, IncludeResponseStatus: true,
			AuthenticationFunc: openapi3filter.NoopAuthenticationFunc,
		},
	}, nil
}

// request holds what our client sent to the description.
func (r restCheck) request(ctx context.Context) []string {
	if r.call.Status >= http.StatusBadRequest && r.call.Status < http.StatusInternalServerError {
		return nil // the stand-in refused it: tests send wrong requests on purpose
	}
	input, err := r.input()
	if err != nil {
		return []string{err.Error()}
	}
	found := describe("request", openapi3filter.ValidateRequest(ctx, input))
	for name := range r.address.Query() {
		if r.route.Operation.Parameters.GetByInAndName(openapi3.ParameterInQuery, name) == nil {
			found = append(found, fmt.Sprintf("request: query parameter %q is not described", name))
		}
	}
	if len(r.call.RequestBody) > 0 && r.route.Operation.RequestBody == nil {
		found = append(found, "request: a body is not described")
	}
	return append(found, r.requestRules()...)
}

// requestRules are GitHub's rules for request bodies that the description does not have.
func (r restCheck) requestRules() []string {
	var body map[string]any
	if json.Unmarshal(r.call.RequestBody, &body) != nil {
		return nil
	}
	found := unknownProperties(r.route.Operation, body)
	switch {
	case strings.Contains(r.route.Path, "/check-runs"):
		// https://docs.github.com/en/rest/checks/runs#create-a-check-run
		if (body["status"] == "completed" || body["completed_at"] != nil) && body["conclusion"] == nil {
			found = append(found, "request: a completed check run needs a conclusion")
		}
	case strings.Contains(r.route.Path, "/issues/"):
		if text, _ := body["body"].(string); utf8.RuneCountInString(text) > maxComment {
			found = append(found, fmt.Sprintf("request: a comment has at most %d characters", maxComment))
		}
	}
	return found
}

// unknownProperties are those at the top of a body that the description lacks: GitHub ignores them, so they are typing errors.
func unknownProperties(operation *openapi3.Operation, body map[string]any) []string {
	known := bodyProperties(operation)
	var found []string
	for name := range body {
		if len(known) > 0 && !known[name] {
			found = append(found, fmt.Sprintf("request: property %q is not described", name))
		}
	}
	return found
}

// bodyProperties are the names at the top of the request body, in all its variants; nil where it has none or allows all.
func bodyProperties(operation *openapi3.Operation) map[string]bool {
	if operation.RequestBody == nil || operation.RequestBody.Value == nil {
		return nil
	}
	media := operation.RequestBody.Value.Content.Get("application/json")
	if media == nil {
		return nil
	}
	known := map[string]bool{}
	var collect func(ref *openapi3.SchemaRef)
	collect = func(ref *openapi3.SchemaRef) {
		if ref == nil || ref.Value == nil {
			return
		}
		for name := range ref.Value.Properties {
			known[name] = true
		}
		for _, variants := range []openapi3.SchemaRefs{ref.Value.AllOf, ref.Value.AnyOf, ref.Value.OneOf} {
			for _, variant := range variants {
				collect(variant)
			}
		}
	}
	collect(media.Schema)
	return known
}

// response holds what the stand-in answered to the description.
func (r restCheck) response(ctx context.Context) []string {
	status := r.call.Status
	what := fmt.Sprintf("response %d", status)
	if status == http.StatusNotImplemented {
		return []string{what + ": the stand-in does not serve this"}
	}
	if status >= http.StatusInternalServerError || status == http.StatusNotModified {
		return nil // GitHub describes neither its faults nor conditional requests
	}
	if r.route.Operation.Responses.Status(status) == nil && status >= http.StatusBadRequest {
		return basicError(what, r.call.ResponseBody) // 401, 403, 404 and 429 come from every operation, described or not
	}
	input, err := r.input()
	if err != nil {
		return []string{err.Error()}
	}
	header := r.call.ResponseHeader
	if header == nil {
		header = http.Header{}
	}
	found := describe(what, openapi3filter.ValidateResponse(ctx, &openapi3filter.ResponseValidationInput{
		RequestValidationInput: input, Status: status, Header: header,
		Body: io.NopCloser(bytes.NewReader(r.call.ResponseBody)), Options: input.Options,
	}))
	if strings.Contains(r.route.Path, "/check-runs") {
		found = append(found, checkRunRules(what, r.call.ResponseBody)...)
	}
	return found
}

// checkRunRules holds check runs, one or a list, to the rule that exactly the completed ones have a conclusion.
func checkRunRules(what string, body []byte) []string {
	type checkRun struct {
		Status     string  `json:"status"`
		Conclusion *string `json:"conclusion"`
	}
	var answer struct {
		checkRun

		CheckRuns []checkRun `json:"check_runs"`
	}
	if json.Unmarshal(body, &answer) != nil {
		return nil
	}
	for _, run := range append(answer.CheckRuns, answer.checkRun) {
		if run.Status == "completed" && run.Conclusion == nil {
			return []string{what + ": a completed check run needs a conclusion"}
		}
		if run.Status != "" && run.Status != "completed" && run.Conclusion != nil {
			return []string{what + ": a check run that is not completed has a conclusion"}
		}
	}
	return nil
}

// basicError holds an error that the operation does not describe to the form that all of GitHub's errors have.
func basicError(what string, body []byte) []string {
	var answer struct {
		Message *string `json:"message"`
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return []string{what + ": the body of an error is not JSON"}
	}
	if answer.Message == nil {
		return []string{what + ": an error needs a message"}
	}
	return nil
}

// graphQLViolations looks at the envelope only: https://docs.github.com/en/graphql/guides/forming-calls-with-graphql
func graphQLViolations(call Call) []string {
	const what = "POST /graphql: "
	if call.Fault || (call.Status >= http.StatusInternalServerError && call.Status != http.StatusNotImplemented) {
		return nil
	}
	if call.Status != http.StatusOK {
		return basicError(what+fmt.Sprintf("response %d", call.Status), call.ResponseBody)
	}
	var found []string
	var request struct {
		Query string `json:"query"`
	}
	if json.Unmarshal(call.RequestBody, &request) != nil || request.Query == "" {
		found = append(found, what+"request: no query")
	}
	var response map[string]json.RawMessage
	if json.Unmarshal(call.ResponseBody, &response) != nil || (response["data"] == nil && response["errors"] == nil) {
		found = append(found, what+"response: neither data nor errors")
	}
	return found
}

// describe turns the error of a validation into one line for each thing that is wrong.
func describe(where string, err error) []string {
	switch e := err.(type) { //nolint:errorlint // the tree of errors is walked level by level
	case nil:
		return nil
	case openapi3.MultiError:
		return describeAll(where, e)
	case *openapi3filter.RequestError:
		if e.Parameter != nil {
			where += ": parameter " + e.Parameter.Name
		}
		return describeCause(where, e.Reason, e.Err)
	case *openapi3filter.ResponseError:
		return describeCause(where, e.Reason, e.Err)
	case *openapi3.SchemaError:
		return describeSchema(where, e)
	default:
		return []string{where + ": " + err.Error()}
	}
}

// describeCause leaves out a reason that only announces what the cause says in detail.
func describeCause(where, reason string, cause error) []string {
	switch cause.(type) { //nolint:errorlint // as in describe
	case nil:
		return []string{where + ": " + reason}
	case openapi3.MultiError, *openapi3.SchemaError:
		return describe(where, cause)
	default:
		return []string{where + ": " + strings.TrimPrefix(reason+": "+cause.Error(), ": ")}
	}
}

func describeAll(where string, errs openapi3.MultiError) []string {
	found := make([]string, 0, len(errs))
	for _, err := range errs {
		found = append(found, describe(where, err)...)
	}
	return found
}

// describeSchema names the place and the reason. For a value that fits none of several variants, the reasons of each variant follow.
func describeSchema(where string, err *openapi3.SchemaError) []string {
	place := where
	if pointer := err.JSONPointer(); len(pointer) > 0 {
		place += ": /" + strings.Join(pointer, "/")
	}
	line := place + ": " + err.Reason
	if err.Origin != nil {
		line += " [" + strings.Join(describe("", err.Origin), "; ") + "]"
	}
	return []string{line}
}
