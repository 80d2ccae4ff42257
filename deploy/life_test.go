package deploy //nolint:testpackage // whether an attempt lives is said in many answers, and decided in one place inside

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// openData opens a database that is empty.
func openData(t *testing.T) (*store.Store, *clockwork.FakeClock) {
	t.Helper()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	data, err := store.Open(context.WithoutCancel(t.Context()), "sqlite:"+filepath.Join(t.TempDir(), "switchyard.db"), clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	return data, clock
}

// hubAt asks a GitHub that answers so.
func hubAt(t *testing.T, answer http.HandlerFunc) *hub.Hub {
	t.Helper()
	github := httptest.NewServer(answer)
	t.Cleanup(github.Close)
	asked, err := hub.New(hub.Options{Bearer: "x", APIURL: github.URL})
	if err != nil {
		t.Fatal(err)
	}
	return asked
}

func TestAnAttemptIsDeadOnlyWhenNoRunOfItWorks(t *testing.T) {
	t.Parallel()
	const name = "the name of the run"
	completed := `{"id":20,"status":"completed","conclusion":"failure","created_at":"2026-11-21T12:00:00Z"}`
	const around = "2026-11-21T11:55:00Z..2026-11-21T12:05:00Z"
	for what, c := range map[string]struct {
		run, listed string // what GitHub says of the run that is known, and of those of the workflow; empty: it does not have them
		life        render.Life
		says        string
	}{
		"its run goes on": {`{"id":20,"status":"in_progress"}`, "", render.Alive, "is in progress"},
		"its run has ended": {
			completed, `{"id":20,"status":"completed","display_title":"` + name + `"},{"id":30,"status":"queued","display_title":"another","actor":{"login":"switchyard[bot]"}}`,
			render.Dead, "has ended (failure).",
		},
		"its run stood back, and another one of it works": {
			completed,
			`{"id":10,"status":"in_progress","display_title":"` + name + `","html_url":"https://github.com/r/10","actor":{"login":"switchyard[bot]"}}`,
			render.Unknown, "https://github.com/r/10 is another one",
		},
		"its run has ended, and a person gave another one its name": {
			completed, `{"id":10,"status":"in_progress","display_title":"` + name + `","html_url":"https://github.com/r/10","actor":{"login":"eve"}}`,
			render.Dead, "has ended (failure).",
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
			db, clock := openData(t)
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
			github := hubAt(t, func(w http.ResponseWriter, r *http.Request) {
				answer := c.run
				switch {
				case strings.HasSuffix(r.URL.Path, "/app"):
					answer = `{"slug":"switchyard"}`
				case strings.HasSuffix(r.URL.Path, "/workflows/switchyard.yml/runs") && c.listed != "":
					if created := r.URL.Query().Get("created"); created != around {
						t.Errorf("runs of %s are looked through", created)
					}
					answer = `{"workflow_runs":[` + strings.ReplaceAll(c.listed, name, operation.RunName(task)) + `]}`
				case !strings.HasSuffix(r.URL.Path, "/runs/20"):
					answer = ""
				}
				if answer == "" {
					w.WriteHeader(http.StatusNotFound)
				}
				_, _ = fmt.Fprint(w, answer)
			})
			d := New(Options{Store: db, Clock: clock, Hub: github})
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
			db, clock := openData(t)
			repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "shop"}
			waits := store.Gate{Repository: repo.ID, Run: 9, Attempt: 1, Environment: "prod", Said: "It waits."}
			if err := db.SaveGate(t.Context(), waits); err != nil {
				t.Fatal(err)
			}
			github := hubAt(t, func(w http.ResponseWriter, _ *http.Request) {
				if answer == "" {
					w.WriteHeader(http.StatusNotFound)
				}
				_, _ = fmt.Fprint(w, answer)
			})
			d := New(Options{Store: db, Clock: clock, Hub: github})
			if err := d.gateAsked(t.Context(), GateAsked{Repository: repo, Run: 9, Environment: "prod"}); err != nil {
				t.Fatal(err)
			}
			if waiting, err := db.WaitingGates(t.Context(), repo.ID, clock.Now().Add(-gateMemory)); err != nil || len(waiting) != 0 {
				t.Errorf("each end of an apply has it looked at again: %v, %v", waiting, err)
			}
		})
	}
}
