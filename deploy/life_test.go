package deploy //nolint:testpackage // whether an attempt lives is said in many answers, and decided in one place inside

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

func TestAnAttemptIsDeadOnlyWhenNoRunOfItWorks(t *testing.T) {
	t.Parallel()
	const name = "the name of the run"
	completed := `{"id":20,"status":"completed","conclusion":"failure"}`
	for what, c := range map[string]struct {
		run, listed string // what GitHub says of the run that is known, and of those of the workflow; empty: it does not have them
		life        render.Life
		says        string
	}{
		"its run goes on": {`{"id":20,"status":"in_progress"}`, "", render.Alive, "is in progress"},
		"its run has ended": {
			completed, `{"id":20,"status":"completed","display_title":"` + name + `"},{"id":30,"status":"queued","display_title":"another"}`,
			render.Dead, "has ended (failure).",
		},
		"its run stood back, and another one of it works": {
			completed, `{"id":10,"status":"in_progress","display_title":"` + name + `","html_url":"https://github.com/r/10"}`,
			render.Unknown, "https://github.com/r/10 is another one",
		},
		"its run has ended, as another one of it has": {
			completed, `{"id":10,"status":"completed","display_title":"` + name + `"}`, render.Dead, "has ended",
		},
		"its run has ended, and the workflow is not there any more": {completed, "", render.Unknown, "does not say whether"},
		"its run was deleted": {"", "", render.Unknown, "was deleted"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "shop"}
			clock := clockwork.NewFakeClock()
			db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "switchyard.db"), clock)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			op, err := db.CreateOperation(t.Context(), operation.Operation{Repository: repo, Kind: operation.Plan, Environment: "dev"})
			if err == nil {
				op, _, err = db.Start(t.Context(), op.ID)
			}
			if err == nil {
				err = db.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, "l")
			}
			if err != nil {
				t.Fatal(err)
			}
			op.Host, op.Launch = operation.HostActions, "l"
			task := operation.Task{
				Operation: op.ID, Attempt: op.Attempt, Launch: "l", Repository: repo, Environment: "dev", Kind: op.Kind,
				Job: &operation.Job{Workflow: "switchyard.yml"},
			}
			row, err := db.AskForRun(t.Context(), operation.WorkflowRun{Task: task})
			if err != nil {
				t.Fatal(err)
			}
			row.Run = 20
			if err := db.SaveRun(t.Context(), row); err != nil {
				t.Fatal(err)
			}
			github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				answer := c.run
				if strings.HasSuffix(r.URL.Path, "/workflows/switchyard.yml/runs") && c.listed != "" {
					answer = `{"workflow_runs":[` + strings.ReplaceAll(c.listed, name, operation.RunName(task)) + `]}`
				} else if !strings.HasSuffix(r.URL.Path, "/runs/20") {
					answer = ""
				}
				if answer == "" {
					w.WriteHeader(http.StatusNotFound)
				}
				_, _ = fmt.Fprint(w, answer)
			}))
			t.Cleanup(github.Close)
			d := New(Options{Store: db, Clock: clock})
			if d.Hub, err = hub.New(hub.Options{Bearer: "x", APIURL: github.URL}); err != nil {
				t.Fatal(err)
			}
			life, because, err := d.lifeOf(t.Context(), op)
			if err != nil || life != c.life || !strings.Contains(because, c.says) {
				t.Errorf("%s: %q, %v", life, because, err)
			}
		})
	}
}

func TestAJobWhoseRunHasEndedIsNotLookedAtAgain(t *testing.T) {
	t.Parallel()
	for what, answer := range map[string]string{"it has ended": `{"id":9,"status":"completed"}`, "it was deleted": ""} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			clock := clockwork.NewFakeClock()
			db, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "switchyard.db"), clock)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = db.Close() })
			repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "shop"}
			waits := store.Gate{Repository: repo.ID, Run: 9, Attempt: 1, Environment: "prod", Said: "It waits."}
			if err := db.SaveGate(t.Context(), waits); err != nil {
				t.Fatal(err)
			}
			github := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				if answer == "" {
					w.WriteHeader(http.StatusNotFound)
				}
				_, _ = fmt.Fprint(w, answer)
			}))
			t.Cleanup(github.Close)
			d := New(Options{Store: db, Clock: clock})
			if d.Hub, err = hub.New(hub.Options{Bearer: "x", APIURL: github.URL}); err != nil {
				t.Fatal(err)
			}
			if err := d.gateAsked(t.Context(), GateAsked{Repository: repo, Run: 9, Environment: "prod"}); err != nil {
				t.Fatal(err)
			}
			if waiting, err := db.WaitingGates(t.Context(), repo.ID, clock.Now().Add(-gateMemory)); err != nil || len(waiting) != 0 {
				t.Errorf("each end of an apply has it looked at again: %v, %v", waiting, err)
			}
		})
	}
}
