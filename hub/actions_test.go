package hub_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
)

func TestADispatchSaysWhichRunItMade(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(http.StatusOK, `{"workflow_run_id":7,"run_url":"x","html_url":"https://github.com/r/7"}`))
	got, err := w.hub.Dispatch(t.Context(), network, hub.Dispatch{
		Workflow: "switchyard.yml", Ref: "main", Inputs: map[string]string{"command": "apply"},
	})
	if err != nil || got.Run != 7 || got.URL != "https://github.com/r/7" {
		t.Errorf("it gives %+v, %v", got, err)
	}
	want := []string{"POST /api/v3/repos/acme/network/actions/workflows/switchyard.yml/dispatches " +
		`{"inputs":{"command":"apply"},"ref":"main","return_run_details":true}`}
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestAnOlderServerIsAskedWithoutRunDetails(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request, nth int) {
		if nth == 1 {
			says(http.StatusUnprocessableEntity, `{"message":"Invalid request.\n\n\"return_run_details\" is not a permitted key."}`)(w, r, nth)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	got, err := w.hub.Dispatch(t.Context(), network, hub.Dispatch{Workflow: "switchyard.yml", Ref: "main"})
	if err != nil || got.Run != 0 || len(w.asked) != 2 || strings.Contains(w.asked[1], "return_run_details") {
		t.Errorf("it gives %+v, %v; asked %q", got, err, w.asked)
	}
}

func TestWhyADispatchIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		status int
		body   string
		header []string
		want   hub.DispatchRefused
	}{
		"no workflow": {404, `{"message":"Not Found"}`, nil, hub.DispatchRefused{Problem: hub.NoWorkflow, Words: "Not Found"}},
		"no branch": {
			422, `{"message":"No ref found for: switchyard/plans"}`, nil,
			hub.DispatchRefused{Problem: hub.NoRef, Words: "No ref found for: switchyard/plans"},
		},
		"no trigger": {
			422, `{"message":"Workflow does not have 'workflow_dispatch' trigger"}`, nil,
			hub.DispatchRefused{Problem: hub.NoTrigger, Words: "Workflow does not have 'workflow_dispatch' trigger"},
		},
		"other inputs": {
			422, `{"message":"Unexpected inputs provided: [\"launch\"]"}`, nil,
			hub.DispatchRefused{Problem: hub.WrongInputs, Words: `Unexpected inputs provided: ["launch"]`},
		},
		"a disabled workflow": {
			422, `{"message":"Cannot trigger a 'workflow_dispatch' on a disabled workflow"}`, nil,
			hub.DispatchRefused{Problem: hub.Disabled, Words: "Cannot trigger a 'workflow_dispatch' on a disabled workflow"},
		},
		"a missing permission": {
			403, `{"message":"Resource not accessible by integration"}`,
			[]string{"X-Accepted-Github-Permissions: actions=write"},
			hub.DispatchRefused{Problem: hub.NoPower, Words: "Resource not accessible by integration", Needs: `"Actions: write"`},
		},
		"a policy": {
			403, `{"message":"Event 'workflow_dispatch' is not allowed to trigger Actions workflows"}`, nil,
			hub.DispatchRefused{Problem: hub.Forbidden, Words: "Event 'workflow_dispatch' is not allowed to trigger Actions workflows"},
		},
		"a new reason": {422, `{"message":"Teapot"}`, nil, hub.DispatchRefused{Problem: hub.OtherWise, Words: "Teapot"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, says(c.status, c.body, c.header...))
			_, err := w.hub.Dispatch(t.Context(), network, hub.Dispatch{Workflow: "switchyard.yml", Ref: "main"})
			refused, ok := errors.AsType[*hub.DispatchRefused](err)
			if !ok {
				t.Fatalf("it gives %v", err)
			}
			if diff := cmp.Diff(c.want, *refused); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
	t.Run("a rate limit is none", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(http.StatusForbidden, `{"message":"You have exceeded a secondary rate limit"}`, "Retry-After: 60"))
		_, err := w.hub.Dispatch(t.Context(), network, hub.Dispatch{Workflow: "switchyard.yml", Ref: "main"})
		if _, ok := errors.AsType[*hub.Wait](err); !ok {
			t.Errorf("it gives %v", err)
		}
	})
	t.Run("a fault is none", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(http.StatusBadGateway, `<html>`))
		_, err := w.hub.Dispatch(t.Context(), network, hub.Dispatch{Workflow: "switchyard.yml", Ref: "main"})
		if _, ok := errors.AsType[*hub.DispatchRefused](err); ok || err == nil {
			t.Errorf("it gives %v", err)
		}
	})
}

func TestAnArtifactIsFetchedWhereGitHubSaysWithoutAToken(t *testing.T) {
	t.Parallel()
	const secret = "sig=verysecret"
	for name, c := range map[string]struct {
		answer func(w http.ResponseWriter)
		limit  int64
		want   string // of the error
	}{
		"it is given":     {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "zip") }, 3, ""},
		"it is too large": {func(w http.ResponseWriter) { _, _ = io.WriteString(w, "zip!") }, 3, "larger than 3 bytes"},
		"it is gone":      {func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) }, 3, "answers 404"},
		"it leads on": {func(w http.ResponseWriter) {
			w.Header().Set("Location", "http://169.254.169.254/")
			w.WriteHeader(http.StatusFound)
		}, 3, "answers 302"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storage := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "" {
					t.Error("the storage got a token")
				}
				c.answer(w)
			}))
			defer storage.Close()
			w := newWorld(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.Header().Set("Location", storage.URL+"/blob?"+secret)
				w.WriteHeader(http.StatusFound)
			})
			data, err := w.hub.DownloadArtifact(t.Context(), network, 9, c.limit)
			switch {
			case c.want == "" && (err != nil || string(data) != "zip"):
				t.Errorf("it gives %q, %v", data, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("it gives %v", err)
			}
			if strings.Contains(w.log.String()+fmt.Sprint(err), secret) {
				t.Error("the address of the storage is told")
			}
		})
	}
	for name, location := range map[string]string{
		"nowhere": "", "a relative address": "/x", "a file": "file:///etc/passwd", "credentials": "http://a:b@example.com/",
	} {
		t.Run("GitHub leads to "+name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, func(w http.ResponseWriter, _ *http.Request, _ int) {
				w.Header().Set("Location", location)
				w.WriteHeader(http.StatusFound)
			})
			if _, err := w.hub.DownloadArtifact(t.Context(), network, 9, 3); err == nil {
				t.Error("it is followed")
			}
		})
	}
	t.Run("an artifact that GitHub does not have is gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(http.StatusGone, `{"message":"expired"}`))
		_, err := w.hub.DownloadArtifact(t.Context(), network, 9, 3)
		if _, gone := errors.AsType[*hub.Gone](err); !gone {
			t.Errorf("it gives %v", err)
		}
	})
}

func TestCancellingARunThatHasEndedIsNoError(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(http.StatusConflict, `{"message":"Cannot cancel a workflow run that is completed."}`))
	if err := w.hub.CancelRun(t.Context(), network, 7, false); err != nil {
		t.Error(err)
	}
	if err := w.hub.CancelRun(t.Context(), network, 7, true); err != nil {
		t.Error(err)
	}
	want := []string{"POST /api/v3/repos/acme/network/actions/runs/7/cancel", "POST /api/v3/repos/acme/network/actions/runs/7/force-cancel"}
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhichJobsOfARunBegan(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(http.StatusOK, `{"total_count":4,"jobs":[
		{"name":"never taken","status":"completed","conclusion":"cancelled","runner_id":0,"runner_name":"","steps":[],"labels":["self-hosted"]},
		{"name":"skipped","status":"completed","conclusion":"skipped","runner_id":null,"steps":[]},
		{"name":"taken","status":"completed","conclusion":"failure","runner_id":3,"runner_name":"vm","steps":[]},
		{"name":"with a step","status":"completed","runner_id":0,"steps":[{"name":"x","status":"completed"}]}]}`))
	jobs, err := w.hub.FirstJobs(t.Context(), network, 7)
	if err != nil {
		t.Fatal(err)
	}
	if want := "GET /api/v3/repos/acme/network/actions/runs/7/attempts/1/jobs?per_page=100"; w.asked[0] != want {
		t.Errorf("asked %q, want %q: what somebody starts again says nothing of what began before", w.asked[0], want)
	}
	got := map[string]bool{}
	for _, job := range jobs {
		got[job.Name] = job.Began
	}
	want := map[string]bool{"never taken": false, "skipped": false, "taken": true, "with a step": true}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestWhetherAnEnvironmentIsThere(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{http.StatusOK: true, http.StatusNotFound: false} {
		w := newWorld(t, says(status, `{"name":"prod/eu"}`))
		there, err := w.hub.HasEnvironment(t.Context(), network, "prod/eu")
		if there != want || err != nil || w.asked[0] != "GET /api/v3/repos/acme/network/environments/prod%2Feu" {
			t.Errorf("%d gives %v, %v; asked %q", status, there, err, w.asked)
		}
	}
	w := newWorld(t, says(http.StatusBadGateway, ""))
	if _, err := w.hub.HasEnvironment(t.Context(), network, "prod"); err == nil {
		t.Error("a fault is taken for an answer")
	}
}

func TestTheAppsLoginIsAskedForOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(http.StatusOK, `{"id":99,"slug":"switchyard"}`))
	for range 2 {
		if login, err := w.hub.BotLogin(t.Context()); login != "switchyard[bot]" || err != nil {
			t.Errorf("it gives %q, %v", login, err)
		}
	}
	if len(w.asked) != 1 {
		t.Errorf("asked %q", w.asked)
	}
}
