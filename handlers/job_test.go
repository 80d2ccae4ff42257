package handlers_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/handlers"
)

const identityToken = "eyJ.the-identity-of-a-job.sig"

// jobs answers as it is told.
type jobs struct {
	asked []string
	err   error
}

func (j *jobs) ConfirmApply(_ context.Context, token string, asked deploy.JobAsked) error {
	j.asked = append(j.asked, fmt.Sprintf("confirm %s %+v", token, asked))
	return j.err
}

func (j *jobs) ModuleToken(_ context.Context, token string, asked deploy.JobAsked) (deploy.Modules, error) {
	j.asked = append(j.asked, fmt.Sprintf("modules %s %+v", token, asked))
	return deploy.Modules{Repositories: []string{"acme/stamp"}, Token: "ghs_secret", Expires: time.Unix(1_800_000_000, 0).UTC()}, j.err
}

func ask(path, body string, change ...func(*http.Request)) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+identityToken)
	for _, c := range change {
		c(r)
	}
	return r
}

const rightQuestion = `{"operation":41,"attempt":1,"launch":"x"}`

func TestQuestionsOfJobs(t *testing.T) {
	t.Parallel()
	denied := func(kind deploy.Denial) error { return &deploy.Denied{Kind: kind, Reason: "Because."} }
	set := func(name, value string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set(name, value) }
	}
	for name, c := range map[string]struct {
		request *http.Request
		err     error
		status  int
		body    string
		asked   int
	}{
		"a right question":       {ask(handlers.ConfirmPath, rightQuestion), nil, 200, `{}`, 1},
		"a question for modules": {ask(handlers.ModulesPath, rightQuestion), nil, 200, `{"repositories":["acme/stamp"],"token":"ghs_secret","expires_at":"2027-01-15T08:00:00Z"}`, 1},
		"a job that may not":     {ask(handlers.ConfirmPath, rightQuestion), denied(deploy.NotNow), 409, `{"reason":"Because."}`, 1},
		"a job without identity": {ask(handlers.ConfirmPath, rightQuestion), denied(deploy.NoIdentity), 401, `{"reason":"Because."}`, 1},
		"another job":            {ask(handlers.ConfirmPath, rightQuestion), denied(deploy.NotYours), 403, `{"reason":"Because."}`, 1},
		"an unknown operation":   {ask(handlers.ModulesPath, rightQuestion), denied(deploy.NotKnown), 404, `{"reason":"Because."}`, 1},
		"a fault tells nothing": {
			ask(handlers.ConfirmPath, rightQuestion), errors.New("postgres://me:hush@host: down"), 503,
			`{"reason":"The server cannot tell now: ask again."}`, 1,
		},
		"no token":          {ask(handlers.ConfirmPath, rightQuestion, set("Authorization", "")), nil, 401, `{"reason":"The header Authorization has no token of a job."}`, 0},
		"a password":        {ask(handlers.ConfirmPath, rightQuestion, set("Authorization", "Basic eDp5")), nil, 401, `{"reason":"The header Authorization has no token of a job."}`, 0},
		"a very long one":   {ask(handlers.ConfirmPath, rightQuestion, set("Authorization", "Bearer "+strings.Repeat("x", 20_000))), nil, 401, `{"reason":"The header Authorization has no token of a job."}`, 0},
		"a form":            {ask(handlers.ConfirmPath, rightQuestion, set("Content-Type", "text/plain")), nil, 400, `{"reason":"The content type must be application/json."}`, 0},
		"too much":          {ask(handlers.ConfirmPath, strings.Repeat(" ", 5000)+rightQuestion), nil, 413, `{"reason":"The question is too large."}`, 0},
		"two questions":     {ask(handlers.ConfirmPath, rightQuestion+rightQuestion), nil, 400, `{"reason":"The question must be a JSON object with operation, attempt and launch."}`, 0},
		"an unknown key":    {ask(handlers.ConfirmPath, `{"operation":41,"attempt":1,"launch":"x","force":true}`), nil, 400, `{"reason":"The question must be a JSON object with operation, attempt and launch."}`, 0},
		"operation 0":       {ask(handlers.ConfirmPath, `{"operation":0,"attempt":1,"launch":"x"}`), nil, 400, `{"reason":"The question must be a JSON object with operation, attempt and launch."}`, 0},
		"no launch":         {ask(handlers.ConfirmPath, `{"operation":41,"attempt":1}`), nil, 400, `{"reason":"The question must be a JSON object with operation, attempt and launch."}`, 0},
		"an endless number": {ask(handlers.ConfirmPath, `{"operation":`+strings.Repeat("9", 40)+`,"attempt":1,"launch":"x"}`), nil, 400, `{"reason":"The question must be a JSON object with operation, attempt and launch."}`, 0},
		"another method":    {ask(handlers.ConfirmPath, rightQuestion, func(r *http.Request) { r.Method = http.MethodGet }), nil, 405, "Method Not Allowed", 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			answers := &jobs{err: c.err}
			w := newWorld(t, func(o *handlers.Options) { o.Jobs = answers })
			got := w.serve(c.request)
			if got.Code != c.status || strings.TrimSpace(got.Body.String()) != c.body || len(answers.asked) != c.asked {
				t.Errorf("%d %s, asked %q", got.Code, got.Body, answers.asked)
			}
			if got.Code == http.StatusOK && got.Header().Get("Cache-Control") != "no-store" {
				t.Error("the answer may be kept on the way")
			}
			for _, secret := range []string{identityToken, "ghs_secret"} {
				if strings.Contains(w.log.String(), secret) {
					t.Errorf("the log tells %s: %s", secret, w.log)
				}
			}
		})
	}
}

func TestQuestionsOfJobsAreBounded(t *testing.T) {
	t.Parallel()
	answers, clock := &jobs{}, clockwork.NewFakeClock()
	w := newWorld(t, func(o *handlers.Options) { o.Jobs, o.Clock = answers, clock })
	counts := map[int]int{}
	for range 400 {
		counts[w.serve(ask(handlers.ConfirmPath, rightQuestion)).Code]++
	}
	if counts[http.StatusOK] != 300 || counts[http.StatusTooManyRequests] != 100 {
		t.Errorf("%v", counts)
	}
	clock.Advance(10 * time.Second)
	if got := w.serve(ask(handlers.ConfirmPath, rightQuestion)); got.Code != http.StatusOK {
		t.Errorf("later: %d", got.Code)
	}
}

func TestWithoutAPublicAddressJobsCanAskNothing(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	for _, path := range []string{handlers.ConfirmPath, handlers.ModulesPath} {
		if got := w.serve(ask(path, rightQuestion)); got.Code != http.StatusNotFound {
			t.Errorf("%s: %d", path, got.Code)
		}
	}
}
