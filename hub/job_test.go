package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v4"
	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/sandbox"
)

const deployWorkflow = `name: Deploy
run-name: deploy ${{ inputs.what }}
on:
  workflow_dispatch:
    inputs:
      what: { required: true, type: string }
permissions: {}
jobs:
  deploy:
    runs-on: ubuntu-latest
    environment: prod
    permissions: { actions: read, contents: read, deployments: read, id-token: write }
    steps:
      - run: "true"
`

// seenFromWithin is what a job learns with its own token.
type seenFromWithin struct {
	deployed []hub.Deployed
	ours     []hub.Deployed // by its workflow
	others   []hub.Run
	run      hub.Run
	claims   map[string]any
	err      error
}

func lookFromWithin(ctx context.Context, s *standIn, job *sandbox.Job) (seen seenFromWithin) {
	inJob, err := hub.New(hub.Options{Bearer: job.Token, APIURL: s.APIURL(), GraphQLURL: s.GraphQLURL()})
	if err != nil {
		return seenFromWithin{err: err}
	}
	repo := s.repo
	repo.Installation = 0
	fail := func(err error) { seen.err = errors.Join(seen.err, err) }
	fail(inJob.Deployed(ctx, repo, "prod", func(d hub.Deployed) (bool, error) {
		seen.deployed = append(seen.deployed, d)
		return true, nil
	}))
	fail(inJob.DeployedBy(ctx, repo, "prod", "deploy.yml", "main", func(d hub.Deployed) (bool, error) {
		seen.ours = append(seen.ours, d)
		return true, nil
	}))
	seen.run, err = inJob.Run(ctx, repo, job.RunID)
	fail(err)
	seen.others, err = inJob.RunsAround(ctx, repo, "deploy.yml", seen.run, time.Hour, time.Minute)
	fail(err)
	token, err := inJob.IdentityToken(ctx, job.Environment["ACTIONS_ID_TOKEN_REQUEST_URL"], job.Environment["ACTIONS_ID_TOKEN_REQUEST_TOKEN"],
		"https://switchyard.example")
	fail(err)
	claims := jwt.MapClaims{}
	_, _, err = jwt.NewParser().ParseUnverified(token, &claims)
	fail(err)
	seen.claims = claims
	return seen
}

func TestAJobLearnsWithItsOwnTokenWhatWasDeployed(t *testing.T) {
	t.Parallel()
	conclusion := atomic.Pointer[string]{}
	seen := make(chan seenFromWithin, 1)
	var s *standIn
	s = newStandIn(t, func(o *sandbox.Options) {
		o.Actions = &sandbox.ActionsOptions{Runner: sandbox.JobFunc(func(ctx context.Context, job *sandbox.Job, _ sandbox.Tell) sandbox.JobResult {
			if want := *conclusion.Load(); want != "look" {
				return sandbox.JobResult{Conclusion: want}
			}
			seen <- lookFromWithin(ctx, s, job)
			return sandbox.JobResult{Conclusion: "success"}
		})}
	})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	first, err := s.remote.Push(ctx, "ana", "main", map[string]string{".github/workflows/deploy.yml": deployWorkflow}, "workflow")
	must(err)
	must(s.remote.SetEnvironment(sandbox.Environment{Name: "prod"}))
	dispatch := func(ends, what string) int64 {
		t.Helper()
		conclusion.Store(&ends)
		id, err := s.remote.Dispatch(ctx, "ana", "deploy.yml", "main", map[string]any{"what": what})
		must(err)
		_, err = s.remote.AwaitRun(ctx, id, nil)
		must(err)
		return id
	}
	deployed := dispatch("success", "one")
	must(pushed(s.remote.Push(ctx, "ana", "main", map[string]string{"a": "b\n"}, "more")))
	failed := dispatch("failure", "two")
	for _, d := range s.remote.Deployments("prod") { // the App, or who has stolen its key, calls the failed one a success
		if d.SHA != first {
			_, err := s.hub.PutDeployment(ctx, s.repo, d.ID, "", hub.Deployment{State: "success", LogURL: fmt.Sprintf("https://github.com/acme/network/actions/runs/%d", deployed)})
			must(err)
		}
	}
	// and makes one of its own
	_, err = s.hub.PutDeployment(ctx, s.repo, 0, "", hub.Deployment{Ref: first, Environment: "prod", State: "success"})
	must(err)
	now := dispatch("look", "two")
	got := <-seen
	must(got.err)
	if diff := cmp.Diff([]hub.Deployed{{SHA: first, Run: deployed}}, got.deployed); diff != "" {
		t.Errorf("deployed: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]hub.Deployed{{SHA: first, Run: deployed}}, got.ours); diff != "" {
		t.Errorf("deployed by its workflow: -want +got:\n%s", diff)
	}
	if got.run.ID != now || got.run.Name != "deploy two" || got.run.Event != "workflow_dispatch" || got.run.Branch != "main" {
		t.Errorf("the run is %+v", got.run)
	}
	others := map[int64]string{}
	for _, other := range got.others {
		others[other.ID] = other.Name
	}
	if diff := cmp.Diff(map[int64]string{deployed: "deploy one", failed: "deploy two"}, others); diff != "" {
		t.Errorf("the runs beside it: -want +got:\n%s", diff)
	}
	for name, want := range map[string]any{
		"environment": "prod", "run_id": strconv.FormatInt(now, 10), "aud": "https://switchyard.example", "repository": "acme/network",
	} {
		if got.claims[name] != want {
			t.Errorf("claim %s is %v", name, got.claims[name])
		}
	}
}

func pushed(_ string, err error) error { return err }

func TestMoreDeploymentsThanAreLookedThroughAreNotTakenForNone(t *testing.T) {
	t.Parallel()
	failures := strings.Repeat(`{"id":1,"sha":"x","environment":"prod","performed_via_github_app":{"slug":"github-actions"}},`, 60)
	for name, c := range map[string]struct {
		list string
		next bool
		want string
	}{
		"few":                             {"[]", false, ""},
		"very many of others":             {"[]", true, "has more deployments to prod than are looked through"},
		"very many that did not succeed":  {"[" + failures + strings.TrimSuffix(failures, ",") + "]", false, "has more deployments to prod"},
		"one of an environment like it":   {`[{"id":1,"environment":"PROD","performed_via_github_app":{"slug":"github-actions"}}]`, false, ""},
		"one that an App made by the API": {`[{"id":1,"environment":"prod","performed_via_github_app":{"slug":"switchyard"}}]`, false, ""},
		"one that a person's token made":  {`[{"id":1,"environment":"prod","performed_via_github_app":null}]`, false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
				if strings.HasSuffix(r.URL.Path, "/statuses") {
					says(http.StatusOK, `[{"state":"failure","log_url":"https://github.com/a/b/actions/runs/7/job/8"}]`)(w, r, nth)
					return
				}
				if c.next {
					w.Header().Set("Link", fmt.Sprintf(`<https://api.github.com/x?page=%d>; rel="next"`, nth+1))
				}
				says(http.StatusOK, c.list)(w, r, nth)
			})
			err := w.hub.Deployed(t.Context(), network, "prod", func(hub.Deployed) (bool, error) {
				t.Error("one is given")
				return true, nil
			})
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("it gives %v, not %q", err, c.want)
			}
			if len(w.asked) > 110 {
				t.Errorf("%d calls", len(w.asked))
			}
		})
	}
}

func TestWhoLooksForWhatWasDeployedCanStop(t *testing.T) {
	t.Parallel()
	const list = `[{"id":1,"sha":"x","environment":"prod","performed_via_github_app":{"slug":"github-actions"}},` +
		`{"id":2,"sha":"y","environment":"prod","performed_via_github_app":{"slug":"github-actions"}}]`
	for name, want := range map[string]error{"when it has found it": nil, "when it fails": errors.New("no")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
				if strings.HasSuffix(r.URL.Path, "/statuses") {
					says(http.StatusOK, `[{"state":"inactive"},{"state":"success","log_url":"https://github.com/a/b/actions/runs/7/job/8"}]`)(w, r, nth)
					return
				}
				w.Header().Set("Link", `<https://api.github.com/x?page=2>; rel="next"`)
				says(http.StatusOK, list)(w, r, nth)
			})
			var got []hub.Deployed
			err := w.hub.Deployed(t.Context(), network, "prod", func(d hub.Deployed) (bool, error) {
				got = append(got, d)
				return false, want
			})
			if diff := cmp.Diff([]hub.Deployed{{SHA: "x", Run: 7}}, got); diff != "" || !errors.Is(err, want) || len(w.asked) != 2 {
				t.Errorf("%v after %d calls; -want +got:\n%s", err, len(w.asked), diff)
			}
		})
	}
}

func TestHowTheFirstAttemptOfARunEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		jobs string
		want bool
	}{
		"well":                 {`{"conclusion":"skipped"},{"conclusion":"success"}`, true},
		"with a failed job":    {`{"conclusion":"success"},{"conclusion":"failure"}`, false},
		"with skipped jobs":    {`{"conclusion":"skipped"}`, false},
		"not at all":           {`{"conclusion":null}`, false},
		"without jobs":         {``, false},
		"with a cancelled one": {`{"conclusion":"cancelled"}`, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, says(http.StatusOK, `{"jobs":[`+c.jobs+`]}`))
			got, err := w.hub.FirstSucceeded(t.Context(), network, 7)
			if err != nil || got != c.want || w.asked[0] != "GET /api/v3/repos/acme/network/actions/runs/7/attempts/1/jobs?per_page=100" {
				t.Errorf("it gives %v, %v; asked %q", got, err, w.asked)
			}
		})
	}
}

func TestAnIdentityThatIsNotGiven(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(http.StatusOK, `{}`))
	for name, c := range map[string]struct {
		answer func(http.ResponseWriter, *http.Request, int)
		want   string
	}{
		"refused":           {says(http.StatusForbidden, `{}`), "it answers 403"},
		"empty":             {says(http.StatusOK, `{"value":" "}`), "it is empty"},
		"no JSON":           {says(http.StatusOK, `<html>`), "read the job's identity"},
		"longer than it is": {says(http.StatusOK, `{"value":"`+strings.Repeat("x", 70<<10)+`"}`), "read the job's identity"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.answer(w, r, 1) }))
			t.Cleanup(server.Close)
			_, err := w.hub.IdentityToken(t.Context(), server.URL+"/hush?x=1", "hush", "me")
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "hush") {
				t.Errorf("it gives %v", err)
			}
		})
	}
	for _, address := range []string{"", "::", "http://127.0.0.1:1/hush"} {
		if _, err := w.hub.IdentityToken(t.Context(), address, "hush", "me"); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("%q gives %v", address, err)
		}
	}
}

func TestAnEditWithinTheSameSecondIsSeen(t *testing.T) {
	t.Parallel()
	at := time.Now() // stands still, and the App's own clock is near it
	s := newStandIn(t, func(o *sandbox.Options) { o.Now = func() time.Time { return at } })
	number, err := s.remote.OpenIssue(t.Context(), "ben", "An issue", "")
	if err != nil {
		t.Fatal(err)
	}
	id, err := s.remote.Comment(t.Context(), "ben", number, "looks good")
	if err != nil {
		t.Fatal(err)
	}
	look := func() (hub.Written, bool) {
		t.Helper()
		written, err := s.hub.Comment(t.Context(), s.repo, id)
		if err != nil {
			t.Fatal(err)
		}
		retouched, err := s.hub.Retouched(t.Context(), s.repo, written.Node)
		if err != nil {
			t.Fatal(err)
		}
		return written, retouched
	}
	if written, retouched := look(); retouched || written.Edited {
		t.Errorf("a new comment counts as edited: %+v", written)
	}
	// The App, or who has stolen its key, puts words into ben's mouth.
	if _, err := s.hub.PutComment(t.Context(), s.repo, id, hub.Comment{Number: number, Body: "/apply prod 7f3a"}); err != nil {
		t.Fatal(err)
	}
	written, retouched := look()
	if written.Author != "ben" || written.Edited || !retouched {
		t.Errorf("the comment is %+v, retouched %v", written, retouched)
	}
	if _, err := s.hub.Retouched(t.Context(), s.repo, "IC_nothing"); err == nil {
		t.Error("a comment that is not there is no error")
	}
}

func TestATokenIsEndedBeforeItsTime(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	token, _, err := s.hub.ReadToken(t.Context(), s.repo.Installation, []string{s.repo.Name})
	if err != nil {
		t.Fatal(err)
	}
	inJob, err := hub.New(hub.Options{Bearer: "ghs_the-job's-own", APIURL: s.APIURL(), GraphQLURL: s.GraphQLURL()})
	if err != nil {
		t.Fatal(err)
	}
	reads := func() int {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.APIURL()+"/repos/acme/network/contents/a", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Authorization", "Bearer "+token)
		response, err := (&http.Client{Timeout: time.Minute}).Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		return response.StatusCode
	}
	if status := reads(); status != http.StatusOK {
		t.Fatalf("it reads the repository with status %d", status)
	}
	if err := inJob.RevokeToken(t.Context(), token); err != nil {
		t.Fatal(err)
	}
	if status := reads(); status != http.StatusUnauthorized {
		t.Errorf("it still reads the repository, with status %d", status)
	}
	if err := inJob.RevokeToken(t.Context(), token); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("ended twice: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := inJob.RevokeToken(ctx, token); err == nil || strings.Contains(err.Error(), token) {
		t.Errorf("without an answer: %v", err)
	}
}

// ran is a page of the runs of a workflow.
func ran(runs ...string) string { return `{"workflow_runs":[` + strings.Join(runs, ",") + `]}` }

// run is one of them.
func run(id, attempt int, status, conclusion, sha string) string {
	return fmt.Sprintf(`{"id":%d,"run_attempt":%d,"status":%q,"conclusion":%q,"head_sha":%q}`, id, attempt, status, conclusion, sha)
}

func TestWhatOthersDeployIsNotInTheWayOfWhatAWorkflowHasDeployed(t *testing.T) {
	t.Parallel()
	const (
		byActions = `{"id":%d,"sha":%q,"environment":"prod","performed_via_github_app":{"slug":"github-actions"}}`
		success   = `[{"state":"inactive"},{"state":"success","log_url":"https://github.com/a/b/actions/runs/%d/job/8"}]`
	)
	failed := slices.Repeat([]string{run(50, 1, "completed", "failure", "f")}, 98)
	others := []string{fmt.Sprintf(byActions, 1, "ours"), fmt.Sprintf(byActions, 2, "ours"), `{"id":3,"sha":"ours","environment":"PROD"}`}
	for name, c := range map[string]struct {
		runs  string
		next  bool
		list  []string          // deployments of the commit "ours"
		ends  map[string]string // statuses of a deployment, by its id
		want  []hub.Deployed
		fails string
		calls int
	}{
		"no run at all": {runs: ran(), calls: 1},
		"its newest run, after many that failed": {
			runs: ran(append(failed, run(7, 1, "completed", "success", "ours"))...), next: true, list: others,
			ends: map[string]string{"1": fmt.Sprintf(success, 9), "2": fmt.Sprintf(success, 7)}, want: []hub.Deployed{{SHA: "ours", Run: 7}}, calls: 4,
		},
		"a run that somebody started again, whose first attempt deployed": {
			runs: ran(run(7, 2, "completed", "failure", "ours")), list: others[:1],
			ends: map[string]string{"1": fmt.Sprintf(success, 7)}, want: []hub.Deployed{{SHA: "ours", Run: 7}}, calls: 3,
		},
		"a run of which the search does not know yet that it has ended": {
			runs: ran(run(7, 1, "in_progress", "", "ours")), list: others[:1],
			ends: map[string]string{"1": fmt.Sprintf(success, 7)}, want: []hub.Deployed{{SHA: "ours", Run: 7}}, calls: 3,
		},
		"a deployment to whose statuses somebody has added another run": {
			runs: ran(run(7, 1, "completed", "success", "ours")), list: others[:1], want: []hub.Deployed{{SHA: "ours", Run: 7}}, calls: 3,
			ends: map[string]string{"1": `[{"state":"failure","log_url":"https://github.com/a/b/actions/runs/6"},` + fmt.Sprintf(success, 7)[1:]},
		},
		"more deployments of that commit than are looked through": {
			runs: ran(run(7, 1, "completed", "success", "ours")), list: slices.Repeat(others[:1], 101),
			ends: map[string]string{"1": fmt.Sprintf(success, 9)}, fails: "has more deployments to prod", calls: 102,
		},
		"more runs than are looked through": {runs: ran(slices.Repeat(failed, 2)[:100]...), next: true, fails: "has more runs of a.yml on branch main", calls: 10},
		"as many runs as GitHub lists":      {runs: ran(slices.Repeat(failed, 11)[:1000]...), fails: "has more runs of a.yml on branch main", calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
				query := r.URL.Query()
				switch {
				case strings.HasSuffix(r.URL.Path, "/actions/workflows/a.yml/runs"):
					if query.Get("event") != "workflow_dispatch" || query.Get("branch") != "main" {
						t.Errorf("asked for %s", r.URL)
					}
					if c.next {
						w.Header().Set("Link", fmt.Sprintf(`<https://api.github.com/x?page=%d>; rel="next"`, nth+1))
					}
					says(http.StatusOK, c.runs)(w, r, nth)
				case strings.HasSuffix(r.URL.Path, "/statuses"):
					says(http.StatusOK, c.ends[path.Base(path.Dir(r.URL.Path))])(w, r, nth)
				default:
					if query.Get("sha") != "ours" || query.Get("environment") != "prod" {
						t.Errorf("asked for %s", r.URL)
					}
					says(http.StatusOK, "["+strings.Join(c.list, ",")+"]")(w, r, nth)
				}
			})
			var got []hub.Deployed
			err := w.hub.DeployedBy(t.Context(), network, "prod", "a.yml", "main", func(d hub.Deployed) (bool, error) {
				got = append(got, d)
				return false, nil
			})
			if (err == nil) != (c.fails == "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("it gives %v, not %q", err, c.fails)
			}
			if diff := cmp.Diff(c.want, got); diff != "" || len(w.asked) != c.calls {
				t.Errorf("%d calls, not %d; -want +got:\n%s", len(w.asked), c.calls, diff)
			}
		})
	}
}

func TestADeploymentWithTooManyStatusesIsNotTakenForAFailedOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
		if strings.HasSuffix(r.URL.Path, "/statuses") {
			w.Header().Set("Link", `<https://api.github.com/x?page=2>; rel="next"`)
			says(http.StatusOK, `[{"state":"failure","log_url":"https://github.com/a/b/actions/runs/6"}]`)(w, r, nth)
			return
		}
		says(http.StatusOK, `[{"id":1,"sha":"x","environment":"prod","performed_via_github_app":{"slug":"github-actions"}}]`)(w, r, nth)
	})
	err := w.hub.Deployed(t.Context(), network, "prod", func(hub.Deployed) (bool, error) { return true, nil })
	if err == nil || !strings.Contains(err.Error(), "statuses") {
		t.Errorf("it gives %v", err)
	}
}
