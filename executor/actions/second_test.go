package actions_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// another is a further run for the world's attempt, which no runner has taken.
func (w *world) another(id int64) hub.Run {
	run := w.completed()
	run.ID, run.Status, run.Conclusion, run.URL = id, hub.RunQueued, "", "https://github.com/r/other"
	return run
}

// does counts how often GitHub was asked to do something.
func (w *world) does(what string) int {
	count := 0
	for _, asked := range w.asked() {
		if asked == what {
			count++
		}
	}
	return count
}

func TestASecondRunIsCancelledBeforeItBegins(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		tries := 0
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
			if tries++; tries == 1 {
				return hub.Dispatched{}, errLost // and its run is listed only after the second one was made
			}
			w.others = map[int64]hub.Run{9: w.another(9)}
			w.listed = []hub.Run{w.another(9), w.completed()}
			return hub.Dispatched{Run: 9}, nil
		}
		if _, err := w.start(t).Wait(t.Context()); err != nil || tries != 2 {
			t.Fatalf("%d dispatches, %v", tries, err)
		}
		if w.does("cancel run 9, by force: false") != 1 || w.does("cancel run 7, by force: false") != 0 {
			t.Errorf("asked: %q", w.asked())
		}
	})
}

func TestAnEarlierRunThatTurnsUpLateIsFollowed(t *testing.T) {
	t.Parallel()
	// turnsUp has run 9 recorded, which ends so, and run 7 turn up only then.
	turnsUp := func(w *world, conclusion, actor string) {
		tries := 0
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
			if tries++; tries == 1 {
				return hub.Dispatched{}, errLost
			}
			w.others = map[int64]hub.Run{9: w.another(9)}
			return hub.Dispatched{Run: 9}, nil
		}
		ended := w.another(9)
		ended.Status, ended.Conclusion = hub.RunCompleted, conclusion
		late := w.completed()
		late.Actor.Login = actor
		time.AfterFunc(time.Minute, func() { w.set(func(g *github) { g.others[9], g.listed = ended, []hub.Run{ended, late} }) })
	}
	for name, conclusion := range map[string]string{
		"after the later one gave way to it":    "failure",
		"after the server cancelled the second": "cancelled",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				turnsUp(w, conclusion, bot)
				result, err := w.start(t).Wait(t.Context())
				if err != nil || len(result.Targets) != 2 || result.Targets[0].Outcome != operation.Applied {
					t.Fatalf("it ends with %+v, %v; asked %q", result, err, w.asked())
				}
				if kept, err := w.rows.Run(t.Context(), 5, 2, launch); err != nil || kept.Run != 7 || kept.URL != "https://github.com/r/7" {
					t.Errorf("people are led to %+v, %v", kept, err)
				}
			})
		})
	}
	t.Run("and cancelled, where that was asked for", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			turnsUp(w, "cancelled", bot)
			run := w.start(t)
			run.Stop()
			if _, err := run.Wait(t.Context()); err != nil {
				t.Fatal(err)
			}
			pass(time.Minute)
			if w.does("cancel run 9, by force: false") != 1 || w.does("cancel run 7, by force: false") != 1 {
				t.Errorf("asked: %q", w.asked())
			}
		})
	})
	t.Run("but not one that somebody else gave that name", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			turnsUp(w, "failure", "mallory")
			_, err := w.start(t).Wait(t.Context())
			if interrupted, ok := errors.AsType[*executor.InterruptedError](err); !ok || interrupted.Reason == "" {
				t.Errorf("it ends with %v", err)
			}
		})
	})
}

func TestARunThatNobodyWaitsForIsCancelledOnlyBeforeItBegins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(run *hub.Run, w *world)
		cancel bool
	}{
		"one that is queued":              {func(*hub.Run, *world) {}, true},
		"one whose job a machine has":     {func(_ *hub.Run, w *world) { delete(w.others, 9) }, false},
		"one that has ended":              {func(r *hub.Run, _ *world) { r.Status = hub.RunCompleted }, false},
		"one of a person":                 {func(r *hub.Run, _ *world) { r.Actor.Login = "eve" }, false},
		"one that a person started again": {func(r *hub.Run, _ *world) { r.Triggering.Login = "eve" }, false},
		"one that a push started":         {func(r *hub.Run, _ *world) { r.Event = "push" }, false},
		"one of another name":             {func(r *hub.Run, _ *world) { r.Name = "deploy" }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(operation.Apply)
			run := w.another(9)
			w.others = map[int64]hub.Run{9: {}}
			c.change(&run, w)
			if _, queued := w.others[9]; queued {
				w.others[9] = run
			} else {
				w.shows(func(r *hub.Run) { *r = run })
			}
			if err := w.exec.Dismiss(t.Context(), w.task.Repository, 9, operation.RunName(w.task)); err != nil {
				t.Fatal(err)
			}
			if got := slices.Contains(w.asked(), "cancel run 9, by force: false"); got != c.cancel {
				t.Errorf("cancelled: %v; asked %q", got, w.asked())
			}
		})
	}
	t.Run("and one that is gone is no error", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Apply)
		w.set(func(g *github) { g.run = func() (hub.Run, error) { return hub.Run{}, &hub.Gone{What: "run"} } })
		if err := w.exec.Dismiss(t.Context(), w.task.Repository, 9, operation.RunName(w.task)); err != nil {
			t.Error(err)
		}
	})
}
