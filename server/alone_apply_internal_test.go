package server

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

func TestAnApplyThatCannotBeComparedWithNewerOnesIsNotApplied(t *testing.T) {
	t.Parallel()
	config := repoconfig.Default()
	environment, mapped := config.EnvironmentOf("develop")
	if !mapped {
		t.Fatal("develop deploys to nothing")
	}
	newer := strings.Repeat("2", 40)
	github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasSuffix(r.URL.Path, "/runs/20"):
			_, _ = fmt.Fprint(w, `{"id":20,"created_at":"2026-11-21T12:00:00Z"}`)
		case strings.HasSuffix(r.URL.Path, "/workflows/switchyard.yml/runs"):
			_, _ = fmt.Fprintf(w, `{"workflow_runs":[{"id":21,"head_branch":"develop","head_sha":%q}]}`, newer)
		default:
			w.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(github.Close)
	repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"}
	a := &alone{AloneOptions: AloneOptions{Machine: job.Machine{Repository: repo, Run: 20}}, workflow: "switchyard.yml", config: config}
	var err error
	if a.Hub, err = hub.New(hub.Options{Bearer: "x", APIURL: github.URL}); err != nil {
		t.Fatal(err)
	}
	token := func(context.Context, operation.Repository) (string, error) { return "x", nil }
	a.git = git.New(t.TempDir(), a.Hub.CloneURL, token, git.Options{}) // with no mirror in it
	t.Cleanup(func() { _ = a.git.Close() })
	_, found, err := a.newer(t.Context(), environment, job.Apply{Commit: strings.Repeat("1", 40), Branch: "develop"})
	if err == nil || found || !strings.Contains(err.Error(), newer) {
		t.Errorf("found %v, %v", found, err)
	}
}
