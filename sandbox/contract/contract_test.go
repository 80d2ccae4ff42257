package contract_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
)

func TestPublishedExamplesOfWebhooksFitTheSchemas(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/webhooks/*.json")
	if err != nil || len(files) < 20 {
		t.Fatalf("want the examples of the listed webhooks, got %d: %v", len(files), err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".json")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContract(t)
			c.Observe(webhook(t, name, nil))
			if diff := cmp.Diff([]string{}, c.Violations()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongWebhooksAreViolations(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		name   string
		change func(*sandbox.Exchange)
		want   string
	}{
		"an event that is not listed": {
			"push", func(e *sandbox.Exchange) { e.RequestHeader.Set("X-Github-Event", "star") },
			`webhook star: not listed in sandbox/contract/webhooks.txt`,
		},
		"an action that is not listed": {
			"pull_request.opened", replaceInBody(`"action":"opened"`, `"action":"locked"`),
			`webhook pull_request.locked: not listed in sandbox/contract/webhooks.txt`,
		},
		"a number that is a string": {
			"pull_request.opened", replaceInBody(`"number":2,"organization"`, `"number":"2","organization"`),
			`webhook pull_request.opened: /number: got string, want integer`,
		},
		"a missing property": {
			"push", replaceInBody(`"forced":false,`, ``), `webhook push: /: missing property 'forced'`,
		},
		"a property that GitHub does not send": {
			"push", replaceInBody(`"forced":false,`, `"forced":false,"force":true,`),
			`webhook push: /: additional properties 'force' not allowed`,
		},
		"a completed check run without a conclusion": {
			"check_run.completed", replaceInBody(`"completed_at":"2019-05-15T15:21:12Z","conclusion":"success","details_url"`,
				`"completed_at":"2019-05-15T15:21:12Z","conclusion":null,"details_url"`),
			`webhook check_run.completed: a completed check run needs a conclusion`,
		},
		"no signature": {
			"push", func(e *sandbox.Exchange) { e.RequestHeader.Del("X-Hub-Signature-256") },
			`webhook push: header X-Hub-Signature-256 is missing`,
		},
		"a delivery id that is no GUID": {
			"push", func(e *sandbox.Exchange) { e.RequestHeader.Set("X-Github-Delivery", "1") },
			`webhook push: header X-GitHub-Delivery is not a GUID`,
		},
		"a payload that is not JSON": {
			"push", func(e *sandbox.Exchange) { e.RequestBody = []byte("{") }, `webhook push: parse the payload: unexpected EOF`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContract(t)
			c.Observe(webhook(t, test.name, test.change))
			wantViolation(t, c, test.want)
		})
	}
}

// checkRun is a response that fits GitHub's description, with the status and conclusion filled in.
const checkRun = `{"id":4,"head_sha":"ce587453ced02b1526dfb4cb910479d431683101","node_id":"MDg6Q2hlY2tSdW40","external_id":"42",
"url":"https://api.github.com/repos/github/hello-world/check-runs/4","html_url":"https://github.com/github/hello-world/runs/4",
"details_url":"https://example.com","status":%s,"conclusion":%s,"started_at":"2018-05-04T01:14:52Z","completed_at":null,
"output":{"title":"t","summary":"s","text":null,"annotations_count":0,"annotations_url":"https://api.github.com/a"},"name":"plan",
"check_suite":{"id":5},"app":null,"pull_requests":[]}`

func TestCallsThatFitTheDescriptionPass(t *testing.T) {
	t.Parallel()
	tests := map[string]sandbox.Exchange{
		"a check run is created": post("/repos/acme/network/check-runs",
			`{"name":"plan","head_sha":"ce58","status":"in_progress","output":{"title":"t","summary":"s"}}`,
			http.StatusCreated, fmt.Sprintf(checkRun, `"in_progress"`, `null`)),
		"a check run is completed": {
			Method: http.MethodPatch, Path: "/repos/acme/network/check-runs/4", RequestHeader: jsonHeader(), ResponseHeader: jsonHeader(),
			RequestBody: []byte(`{"status":"completed","conclusion":"success"}`), Status: http.StatusOK,
			ResponseBody: fmt.Appendf(nil, checkRun, `"completed"`, `"success"`),
		},
		"a ref with an escaped slash": get("/repos/acme/network/commits/feature%2Fa/check-runs", "check_name=plan",
			http.StatusOK, `{"total_count":1,"check_runs":[`+fmt.Sprintf(checkRun, `"queued"`, `null`)+`]}`),
		"a path with slashes": get("/repos/acme/network/contents/.github/switchyard.yml", "ref=main",
			http.StatusNotFound, `{"message":"Not Found","documentation_url":"https://docs.github.com"}`),
		"an error that the operation does not describe": get("/repos/acme/network/pulls/1", "",
			http.StatusUnauthorized, `{"message":"Bad credentials"}`),
		"options that are nil": post("/app/installations/1/access_tokens", "null\n", http.StatusCreated,
			`{"token":"ghs_x","expires_at":"2018-05-04T01:14:52Z"}`),
		"not modified":               get("/repos/acme/network/pulls/1", "", http.StatusNotModified, ""),
		"a fault that was asked for": {Method: http.MethodGet, Path: "/rate_limit", Status: http.StatusBadGateway, Fault: true},
		"a GraphQL mutation":         post("/graphql", `{"query":"mutation {…}"}`, http.StatusOK, `{"data":{}}`),
		"a wrong request, refused": post("/repos/acme/network/check-runs", `{"name":1}`,
			http.StatusUnprocessableEntity, `{"message":"Invalid"}`),
		"an address with its prefix":  get("/api/v3/app", "", http.StatusUnauthorized, `{"message":"no"}`),
		"a person with an odd name":   get("/users/%22%20$()", "", http.StatusNotFound, `{"message":"Not Found"}`),
		"a team membership, no dash":  get("/orgs/acme/teams/sre/memberships/ana", "", http.StatusNotFound, ``),
		"a missing page of the pulls": get("/repos/acme/network/pulls", "state=open&page=9&per_page=100", http.StatusOK, `[]`),
	}
	for name, exchange := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContract(t)
			c.Observe(exchange)
			if diff := cmp.Diff([]string{}, c.Violations()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestWrongCallsAreViolations(t *testing.T) { //nolint:funlen // a table
	t.Parallel()
	const checkRuns, created = "/repos/acme/network/check-runs", http.StatusCreated
	fine := fmt.Sprintf(checkRun, `"queued"`, `null`)
	tests := map[string]struct {
		exchange sandbox.Exchange
		want     string
	}{
		"an operation that is not listed": {
			get("/repos/acme/network/stargazers", "", http.StatusNotImplemented, `{}`),
			`GET /repos/acme/network/stargazers: not listed in sandbox/contract/operations.txt (answered 501)`,
		},
		"an operation that is not served": {
			get("/app", "", http.StatusNotImplemented, `{}`), `GET /app: response 501: the stand-in does not serve this`,
		},
		"a missing property in the request": {
			post(checkRuns, `{"name":"plan"}`, created, fine),
			`POST /repos/{owner}/{repo}/check-runs: request: /head_sha: property "head_sha" is missing`,
		},
		"a property that GitHub does not know": {
			post(checkRuns, `{"name":"plan","head_sha":"a","titel":"x"}`, created, fine),
			`POST /repos/{owner}/{repo}/check-runs: request: property "titel" is not described`,
		},
		"a query parameter that GitHub does not know": {
			get("/repos/acme/network/pulls", "stat=open", http.StatusOK, `[]`),
			`GET /repos/{owner}/{repo}/pulls: request: query parameter "stat" is not described`,
		},
		"a query parameter with a wrong value": {
			get("/repos/acme/network/pulls", "state=merged", http.StatusOK, `[]`),
			`GET /repos/{owner}/{repo}/pulls: request: parameter state: value is not one of the allowed values ["open","closed","all"]`,
		},
		"a number that is none": {
			get("/repos/acme/network/issues/one/comments", "", http.StatusOK, `[]`),
			`GET /repos/{owner}/{repo}/issues/{issue_number}/comments: request: ` +
				`parameter issue_number: value one: an invalid integer: invalid syntax`,
		},
		"a text beyond the limit": {
			post(checkRuns, `{"name":"p","head_sha":"a","output":{"title":"t","summary":"`+strings.Repeat("x", 65_536)+`"}}`, created, fine),
			`POST /repos/{owner}/{repo}/check-runs: request: /output/summary: maximum string length is 65535`,
		},
		"a fourth action": {
			post(checkRuns, `{"name":"p","head_sha":"a","actions":[`+strings.TrimSuffix(strings.Repeat(
				`{"label":"l","description":"d","identifier":"i"},`, 4), ",")+`]}`, created, fine),
			`POST /repos/{owner}/{repo}/check-runs: request: /actions: maximum number of items is 3`,
		},
		"a comment beyond the limit": {
			post("/repos/acme/network/issues/1/comments", `{"body":"`+strings.Repeat("ä", 65_537)+`"}`, http.StatusBadGateway, ``),
			`POST /repos/{owner}/{repo}/issues/{issue_number}/comments: request: a comment has at most 65536 characters`,
		},
		"a completed check run without a conclusion in the request": {
			post(checkRuns, `{"name":"plan","head_sha":"a","completed_at":"2018-05-04T01:14:52Z"}`, created, fine),
			`POST /repos/{owner}/{repo}/check-runs: request: a completed check run needs a conclusion`,
		},
		"a completed check run without a conclusion in the response": {
			post(checkRuns, `{"name":"plan","head_sha":"a"}`, created, fmt.Sprintf(checkRun, `"completed"`, `null`)),
			`POST /repos/{owner}/{repo}/check-runs: response 201: a completed check run needs a conclusion`,
		},
		"a check run that has a conclusion too early": {
			get("/repos/acme/network/commits/a/check-runs", "", http.StatusOK,
				`{"total_count":1,"check_runs":[`+fmt.Sprintf(checkRun, `"queued"`, `"success"`)+`]}`),
			`GET /repos/{owner}/{repo}/commits/{ref}/check-runs: response 200: a check run that is not completed has a conclusion`,
		},
		"a missing property in the response": {
			post(checkRuns, `{"name":"plan","head_sha":"a"}`, created, strings.Replace(fine, `"head_sha"`, `"sha"`, 1)),
			`POST /repos/{owner}/{repo}/check-runs: response 201: /head_sha: property "head_sha" is missing`,
		},
		"a response that is not JSON": {
			post(checkRuns, `{"name":"plan","head_sha":"a"}`, created, `<html>`),
			`POST /repos/{owner}/{repo}/check-runs: response 201: ` +
				`failed to decode response body: invalid character '<' looking for beginning of value`,
		},
		"a status that GitHub does not answer": {
			post(checkRuns, `{"name":"plan","head_sha":"a"}`, http.StatusOK, fine),
			`POST /repos/{owner}/{repo}/check-runs: response 200: status is not supported`,
		},
		"an error without a message": {
			get("/repos/acme/network/pulls/1", "", http.StatusUnauthorized, `{}`),
			`GET /repos/{owner}/{repo}/pulls/{pull_number}: response 401: an error needs a message`,
		},
		"a GraphQL answer without data": {
			post("/graphql", `{"query":"q"}`, http.StatusOK, `{}`), `POST /graphql: response: neither data nor errors`,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newContract(t)
			c.Observe(test.exchange)
			wantViolation(t, c, test.want)
		})
	}
}

func TestAWatchedTestFailsAtItsEnd(t *testing.T) {
	t.Parallel()
	fake := &fakeTB{}
	c := contract.Watch(fake)
	for range 3 {
		c.Observe(get("/repos/acme/network/pulls", "stat=open", http.StatusOK, `[]`))
	}
	if len(fake.errors) > 0 {
		t.Errorf("the test failed before its end: %q", fake.errors)
	}
	fake.end()
	want := []string{"GitHub's descriptions are violated in 1 ways:\n\t" +
		`GET /repos/{owner}/{repo}/pulls: request: query parameter "stat" is not described (3 times)`}
	if diff := cmp.Diff(want, fake.errors); diff != "" {
		t.Error(diff)
	}
	if c.Checked() != 3 {
		t.Errorf("checked %d exchanges, want 3", c.Checked())
	}
}

type fakeTB struct {
	cleanups []func()
	errors   []string
}

func (f *fakeTB) Helper()                {}
func (f *fakeTB) Cleanup(cleanup func()) { f.cleanups = append(f.cleanups, cleanup) }
func (f *fakeTB) Errorf(format string, args ...any) {
	f.errors = append(f.errors, fmt.Sprintf(format, args...))
}
func (f *fakeTB) Fatalf(format string, args ...any) { f.Errorf(format, args...) }
func (f *fakeTB) end() {
	for _, cleanup := range f.cleanups {
		cleanup()
	}
}

func newContract(t *testing.T) *contract.Contract {
	t.Helper()
	c, err := contract.New()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func wantViolation(t *testing.T, c *contract.Contract, want string) {
	t.Helper()
	if diff := cmp.Diff([]string{want}, c.Violations()); diff != "" {
		t.Error(diff)
	}
}

func jsonHeader() http.Header {
	return http.Header{"Content-Type": {"application/json; charset=utf-8"}}
}

func get(path, query string, status int, response string) sandbox.Exchange {
	return sandbox.Exchange{
		Method: http.MethodGet, Path: path, Query: query, Status: status,
		ResponseHeader: jsonHeader(), ResponseBody: []byte(response),
	}
}

func post(path, request string, status int, response string) sandbox.Exchange {
	return sandbox.Exchange{
		Method: http.MethodPost, Path: path, RequestHeader: jsonHeader(), RequestBody: []byte(request), Status: status,
		ResponseHeader: jsonHeader(), ResponseBody: []byte(response),
	}
}

// webhook is a published example as the stand-in would send it, changed.
func webhook(t *testing.T, name string, change func(*sandbox.Exchange)) sandbox.Exchange {
	t.Helper()
	payload, err := os.ReadFile(filepath.Join("testdata", "webhooks", name+".json")) //nolint:gosec // a test's own file
	if err != nil {
		t.Fatal(err)
	}
	// The published check_run.rerequested was recorded when GitHub wrote these times in another form.
	payload = bytes.ReplaceAll(payload, []byte(`"2018-04-25 20:42:10"`), []byte(`"2018-04-25T20:42:10Z"`))
	event, _, _ := strings.Cut(name, ".")
	exchange := sandbox.Exchange{
		Event: event, Method: http.MethodPost, RequestBody: payload, Status: http.StatusOK,
		RequestHeader: http.Header{},
	}
	for key, value := range map[string]string{
		"Content-Type": "application/json", "User-Agent": "GitHub-Hookshot/044aadd", "X-GitHub-Event": event,
		"X-GitHub-Delivery": "72d3162e-cc78-11e3-81ab-4c9367dc0958", "X-Hub-Signature-256": "sha256=757107ea",
	} {
		exchange.RequestHeader.Set(key, value)
	}
	if change != nil {
		change(&exchange)
	}
	return exchange
}

func replaceInBody(before, after string) func(*sandbox.Exchange) {
	return func(e *sandbox.Exchange) {
		var compacted bytes.Buffer
		_ = json.Compact(&compacted, e.RequestBody) // published JSON
		compact := compacted.String()
		changed := strings.Replace(compact, before, after, 1)
		if changed == compact {
			changed = "the example has no " + before
		}
		e.RequestBody = []byte(changed)
	}
}
