package actions_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

var errLost = errors.New("POST dispatches: 502 Bad Gateway")

func TestARunIsDispatchedOnceAndItsResultIsTaken(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		var inputs map[string]string
		w.dispatch = func(d hub.Dispatch) (hub.Dispatched, error) {
			inputs = d.Inputs
			return hub.Dispatched{Run: 7}, nil
		}
		result, err := w.start(t).Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(resultOf(w.task, 0), result); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if diff := cmp.Diff([]string{"dispatch switchyard.yml of acme/network at main", "look at run 7"}, w.asked()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if inputs[operation.InputOperation] != "5.2" || inputs[operation.InputRunsOn] != `[["self-hosted","westeurope"]]` {
			t.Errorf("inputs: %v", inputs)
		}
		if _, err := w.exec.Start(t.Context(), w.task); !errors.Is(err, executor.ErrStarted) {
			t.Errorf("a second start gives %v", err)
		}
	})
}

func TestADispatchWithoutAnAnswerIsLookedForBeforeItIsRepeated(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
			other := w.completed()
			other.ID, other.Actor.Login = 3, "mallory"
			w.listed = []hub.Run{w.completed(), other}
			return hub.Dispatched{}, errLost
		}
		if _, err := w.start(t).Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
		want := []string{"dispatch switchyard.yml of acme/network at main", "list runs of switchyard.yml", "look at run 7"}
		if diff := cmp.Diff(want, w.asked()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
}

func TestOfTwoRunsForOneAttemptTheFirstCounts(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		tries := 0
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
			if tries++; tries == 2 {
				second := w.completed()
				second.ID = 9
				third := second
				third.ID = 8
				w.listed = []hub.Run{second, w.completed(), third}
			}
			return hub.Dispatched{}, errLost
		}
		if _, err := w.start(t).Wait(t.Context()); err != nil || tries != 2 {
			t.Fatalf("%d dispatches, %v", tries, err)
		}
		if asked := w.asked(); asked[len(asked)-1] != "look at run 7" {
			t.Errorf("asked: %q", asked)
		}
	})
}

func TestARunThatGitHubNeverMadeIsNotKnown(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) { return hub.Dispatched{}, errLost }
		if _, err := w.exec.Start(t.Context(), w.task); !errors.Is(err, errLost) {
			t.Fatalf("start: %v", err)
		}
		if _, err := w.exec.Resume(t.Context(), 5, 2, launch); err == nil || errors.Is(err, executor.ErrUnknown) {
			t.Errorf("just after it was asked for it is said that there is none: %v", err)
		}
		pass(time.Minute)
		if _, err := w.exec.Resume(t.Context(), 5, 2, launch); !errors.Is(err, executor.ErrUnknown) || !w.rows.empty() {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestAnotherServerFindsARunWhoseIDWasNotKept(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		ctx, cancel := context.WithCancel(t.Context())
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
			cancel() // the server ends just now
			return hub.Dispatched{}, errLost
		}
		if _, err := w.exec.Start(ctx, w.task); !errors.Is(err, context.Canceled) {
			t.Fatalf("start: %v", err)
		}
		w.set(func(g *github) { g.listed = []hub.Run{w.completed()} })
		run, err := w.exec.Resume(t.Context(), 5, 2, launch)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := run.Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAnOlderGitHubDoesNotSayWhichRunItMade(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) { return hub.Dispatched{}, nil }
		run := w.start(t)
		w.set(func(g *github) { g.listed = []hub.Run{w.completed()} })
		if _, err := run.Wait(t.Context()); err != nil {
			t.Error(err)
		}
		if dispatches := slices.DeleteFunc(w.asked(), func(e string) bool { return !strings.HasPrefix(e, "dispatch") }); len(dispatches) != 1 {
			t.Errorf("%d dispatches", len(dispatches))
		}
	})
}

func TestWhatGitHubRefusesIsSaidWithTheNextCommand(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind    operation.Kind
		refused hub.DispatchRefused
		want    []string
	}{
		"no workflow, or Actions is disabled": {
			operation.Apply,
			hub.DispatchRefused{Problem: hub.NoWorkflow, Words: "Not Found"},
			[]string{".github/workflows/switchyard.yml", "default branch", "allow Actions", "comment `/apply prod`"},
		},
		"no branch for plans": {
			operation.Plan,
			hub.DispatchRefused{Problem: hub.NoRef, Words: "No ref found for: switchyard/plans"},
			[]string{"`git push origin origin/HEAD:refs/heads/switchyard/plans`", "comment `/plan`"},
		},
		"the environment's branch is gone": {
			operation.Apply,
			hub.DispatchRefused{Problem: hub.NoRef, Words: "No ref found for: main"},
			[]string{"`main` does not exist", "git push origin " + commit + ":refs/heads/main"},
		},
		"a workflow without workflow_dispatch": {
			operation.Apply,
			hub.DispatchRefused{Problem: hub.NoTrigger, Words: "Workflow does not have 'workflow_dispatch' trigger"},
			[]string{"on: workflow_dispatch", "GitHub says"},
		},
		"a workflow of another release": {
			operation.Apply,
			hub.DispatchRefused{Problem: hub.WrongInputs, Words: `Unexpected inputs provided: ["launch"]`},
			[]string{"server's release", "Unexpected inputs"},
		},
		"a disabled workflow": {
			operation.Apply,
			hub.DispatchRefused{Problem: hub.Disabled, Words: "Cannot trigger a 'workflow_dispatch' on a disabled workflow"},
			[]string{"`gh workflow enable switchyard.yml --repo acme/network`"},
		},
		"a permission that the App lacks": {
			operation.Apply,
			hub.DispatchRefused{Problem: hub.NoPower, Words: "Resource not accessible by integration", Needs: `"Actions: write"`},
			[]string{`"Actions: write"`, "accept it"},
		},
		"a policy that does not let the App start runs": {
			operation.Apply,
			hub.DispatchRefused{Problem: hub.Forbidden, Words: "Event 'workflow_dispatch' is not allowed"},
			[]string{"policy", "is not allowed", "workflow_dispatch"},
		},
		"anything else": {
			operation.Apply, hub.DispatchRefused{Problem: hub.OtherWise, Words: "Teapot"}, []string{"Teapot"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(c.kind)
			w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) { return hub.Dispatched{}, &c.refused }
			_, err := w.exec.Start(t.Context(), w.task)
			person, ok := errors.AsType[*hub.NeedsPerson](err)
			if !ok {
				t.Fatalf("it gives %v", err)
			}
			for _, words := range c.want {
				if !strings.Contains(person.Error(), words) {
					t.Errorf("it lacks %q: %s", words, person)
				}
			}
			if !w.rows.empty() {
				t.Error("it is remembered as if a run could exist")
			}
		})
	}
}

func TestARateLimitIsPassedOnAndNothingIsRemembered(t *testing.T) {
	t.Parallel()
	w := newWorld(operation.Apply)
	wait := &hub.Wait{Until: time.Now().Add(time.Hour), Reason: "the limit"}
	w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) { return hub.Dispatched{}, wait }
	if _, err := w.exec.Start(t.Context(), w.task); !errors.Is(err, wait) || !w.rows.empty() {
		t.Errorf("it gives %v", err)
	}
}

func TestPeopleAreToldWhereARunWaits(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.shows(func(r *hub.Run) { r.Status, r.Conclusion = hub.RunQueued, "" })
		run := w.start(t)
		told := 0
		run.(executor.Teller).Tell(func(context.Context) { told++ }) //nolint:forcetypeassert // that it is one is tested
		done := make(chan error, 1)
		go func() { _, err := run.Wait(t.Context()); done <- err }()
		pass(9 * time.Minute)
		if said := w.rows.words(); len(said) != 0 {
			t.Errorf("said too early: %q", said)
		}
		pass(3 * time.Minute)
		w.shows(func(r *hub.Run) { r.Status, r.Conclusion = hub.RunWaiting, "" })
		pass(2 * time.Minute)
		w.shows(func(r *hub.Run) { r.Status, r.Conclusion = hub.RunInProgress, "" })
		w.set(func(g *github) {
			g.jobs = []hub.WorkflowJob{{Name: "apply (prod)", Status: hub.RunInProgress, Began: true}}
		})
		pass(2 * time.Minute)
		w.shows(func(r *hub.Run) { r.Status, r.Conclusion = hub.RunActionRequired, "" })
		pass(2 * time.Minute)
		w.shows(func(*hub.Run) {})
		if err := <-done; err != nil {
			t.Error(err)
		}
		want := []string{
			"No runner with the labels `self-hosted, westeurope` has taken the workflow run for more than 10 minutes.",
			"The workflow run waits for a reviewer, or for another rule of the GitHub Environment `prod`.",
			"It runs in the job `apply (prod)`.",
			"GitHub asks a person to allow the workflow run first.",
		}
		if diff := cmp.Diff(want, w.rows.words()); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if told < len(want) {
			t.Errorf("it was shown %d times", told)
		}
	})
}

func TestALookComesLessOftenUntilSomethingHappens(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.shows(func(r *hub.Run) { r.Status, r.Conclusion = hub.RunQueued, "" })
		run := w.start(t)
		go func() { _, _ = run.Wait(t.Context()) }()
		looks := func(during time.Duration) int {
			before := len(w.asked())
			pass(during)
			synctest.Wait()
			return len(w.asked()) - before
		}
		if n := looks(5 * time.Minute); n < 8 || n > 12 {
			t.Errorf("%d looks in the first five minutes", n)
		}
		if n := looks(10 * time.Minute); n < 9 || n > 11 {
			t.Errorf("%d looks in ten minutes later", n)
		}
		w.exec.Wake(7)
		if n := looks(time.Second); n != 1 {
			t.Errorf("%d looks after this server was told", n)
		}
		w.rows.hint()
		if n := looks(3 * time.Second); n != 1 {
			t.Errorf("%d looks after another server was told", n)
		}
		w.exec.Wake(8) // nobody's
	})
}

func TestFaultsOfGitHubOnlyDelay(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		run := w.start(t)
		failing := true
		w.set(func(g *github) {
			g.run = func() (hub.Run, error) {
				if failing {
					return hub.Run{}, errLost
				}
				return w.completed(), nil
			}
		})
		done := make(chan error, 1)
		go func() { _, err := run.Wait(t.Context()); done <- err }()
		pass(12 * time.Hour)
		w.set(func(*github) { failing = false })
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

func TestARunThatIsGoneIsInterrupted(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		run := w.start(t)
		w.set(func(g *github) { g.run = func() (hub.Run, error) { return hub.Run{}, &hub.Gone{What: "run 7"} } })
		began := time.Now()
		_, err := run.Wait(t.Context())
		interrupted, ok := errors.AsType[*executor.InterruptedError](err)
		if !ok || interrupted.Untouched || time.Since(began) < 10*time.Minute {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

func TestStopCancelsUntilGitHubHasTakenIt(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.shows(func(r *hub.Run) { r.Status, r.Conclusion = hub.RunInProgress, "" })
		run := w.start(t)
		done := make(chan error, 1)
		var result operation.Result
		go func() {
			var err error
			result, err = run.Wait(t.Context())
			done <- err
		}()
		tries := 0
		w.set(func(g *github) {
			g.cancelled = func(bool) error {
				if tries++; tries < 3 {
					return errLost
				}
				return nil
			}
		})
		run.Stop()
		run.Stop()
		pass(time.Minute)
		stopped := resultOf(w.task, 0)
		stopped.Stopped = "cancelled"
		stopped.Targets[1].Outcome, stopped.Targets[1].Timings.Apply = operation.TargetStopped, 0
		w.leave(0, stopped)
		w.shows(func(r *hub.Run) { r.Conclusion = hub.RunCancelled })
		if err := <-done; err != nil || tries != 3 || result.Stopped != "cancelled" {
			t.Errorf("%d tries, %v, %+v", tries, err, result)
		}
	})
}

func TestAnOrderToStopOutlastsWhateverKeepsItFromGitHub(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		refused func(began time.Time) error
		tries   int // at most
	}{
		"a limit that is used up for an hour": {func(began time.Time) error { return &hub.Wait{Until: began.Add(50 * time.Minute)} }, 2},
		"an outage":                           {func(time.Time) error { return errLost }, 60},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				w.shows(func(r *hub.Run) { r.Status, r.Conclusion = hub.RunInProgress, "" })
				began, tries := time.Now(), 0
				w.set(func(g *github) {
					g.cancelled = func(bool) error {
						if tries++; time.Since(began) < 50*time.Minute {
							return c.refused(began)
						}
						w.run = func() (hub.Run, error) { return w.completed(), nil }
						return nil
					}
				})
				run := w.start(t)
				run.Stop()
				if _, err := run.Wait(t.Context()); err != nil || time.Since(began) > 52*time.Minute || tries > c.tries {
					t.Errorf("after %v and %d tries: %v", time.Since(began), tries, err)
				}
			})
		})
	}
	t.Run("but not the run", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) { // which would not end while somebody goes on trying
			w.set(func(g *github) { g.cancelled = func(bool) error { return errLost } })
			run := w.start(t)
			run.Stop()
			if _, err := run.Wait(t.Context()); err != nil {
				t.Error(err)
			}
		})
	})
}

func TestWhatIsBeingAskedForIsNotTakenForWhatWasNeverMade(t *testing.T) {
	t.Parallel()
	slow := func(w *world) {
		w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
			w.mu.Unlock() // others look meanwhile
			defer w.mu.Lock()
			pass(hub.DefaultTimeout)
			return hub.Dispatched{}, errLost
		}
	}
	t.Run("by another server, while the last dispatch is on its way", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			slow(w)
			done := make(chan error, 1)
			go func() {
				_, err := w.exec.Start(t.Context(), w.task)
				done <- err
			}()
			for range 35 { // it ends after 72 seconds
				pass(2 * time.Second)
				if _, err := w.exec.Resume(t.Context(), 5, 2, launch); err == nil || errors.Is(err, executor.ErrUnknown) {
					t.Fatalf("it is said that there is none: %v", err)
				}
			}
			if err := <-done; !errors.Is(err, errLost) || w.does("dispatch switchyard.yml of acme/network at main") != 3 {
				t.Errorf("start: %v; asked %q", err, w.asked())
			}
			pass(time.Minute)
			if _, err := w.exec.Resume(t.Context(), 5, 2, launch); !errors.Is(err, executor.ErrUnknown) {
				t.Errorf("a minute later: %v", err)
			}
		})
	})
	for what, refusal := range map[string]error{
		"by a person's fault": &hub.NeedsPerson{What: "No.", Remedy: "Ask."},
		"for a while":         &hub.Wait{Until: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)},
		"for good":            &hub.Gone{What: "the workflow"},
		"for its words":       &hub.DispatchRefused{},
	} {
		t.Run("though GitHub refuses the second dispatch "+what, func(t *testing.T) {
			t.Parallel()
			bubble(t, func(t *testing.T, w *world) {
				tries := 0
				w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
					if tries++; tries == 1 {
						return hub.Dispatched{}, errLost
					}
					return hub.Dispatched{}, refusal
				}
				_, err := w.exec.Start(t.Context(), w.task)
				person, gone, wait, waits := (*hub.NeedsPerson)(nil), (*hub.Gone)(nil), (*hub.Wait)(nil), (*hub.Wait)(nil)
				if err == nil || errors.As(err, &person) || errors.As(err, &gone) || errors.As(err, &wait) != errors.As(refusal, &waits) {
					t.Errorf("start: %v", err)
				}
				if _, err := w.exec.Resume(t.Context(), 5, 2, launch); err == nil || errors.Is(err, executor.ErrUnknown) {
					t.Fatalf("it is said that there is none: %v", err)
				}
				w.set(func(g *github) { g.listed = []hub.Run{w.completed()} }) // that of the first one
				run, err := w.exec.Resume(t.Context(), 5, 2, launch)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := run.Wait(t.Context()); err != nil {
					t.Error(err)
				}
			})
		})
	}
	t.Run("and is not asked for again once somebody did", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
				w.rows.lose() // this server was stopped for so long
				return hub.Dispatched{}, errLost
			}
			if _, err := w.exec.Start(t.Context(), w.task); !errors.Is(err, errMoved) {
				t.Errorf("start: %v", err)
			}
			if w.does("dispatch switchyard.yml of acme/network at main") != 1 {
				t.Errorf("asked: %q", w.asked())
			}
		})
	})
	t.Run("and is cancelled where it comes after that", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			w.others = map[int64]hub.Run{9: w.another(9)}
			w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
				w.rows.lose()
				return hub.Dispatched{Run: 9}, nil
			}
			if _, err := w.exec.Start(t.Context(), w.task); !errors.Is(err, executor.ErrUnknown) {
				t.Errorf("start: %v", err)
			}
			if w.does("cancel run 9, by force: false") != 1 {
				t.Errorf("asked: %q", w.asked())
			}
		})
	})
	t.Run("and is cancelled also in a shutdown", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			ctx, shutdown := context.WithCancel(t.Context())
			defer shutdown()
			w.others = map[int64]hub.Run{9: w.another(9)}
			w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) {
				shutdown()
				w.rows.lose()
				return hub.Dispatched{Run: 9}, nil
			}
			if _, err := w.exec.Start(ctx, w.task); !errors.Is(err, executor.ErrUnknown) {
				t.Errorf("start: %v", err)
			}
			if w.does("cancel run 9, by force: false") != 1 {
				t.Errorf("asked: %q", w.asked())
			}
		})
	})
	t.Run("nor waited for", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			w.dispatch = func(hub.Dispatch) (hub.Dispatched, error) { return hub.Dispatched{}, nil }
			run := w.start(t)
			w.rows.lose()
			w.set(func(g *github) { g.listed = []hub.Run{w.completed()} })
			if _, err := run.Wait(t.Context()); err == nil || !strings.Contains(err.Error(), "never made") {
				t.Errorf("it ends with %v", err)
			}
		})
	})
}

func TestKillEndsARunByForce(t *testing.T) {
	t.Parallel()
	bubble(t, func(t *testing.T, w *world) {
		w.start(t)
		if err := w.exec.Kill(t.Context(), 5, 2, launch); err != nil {
			t.Fatal(err)
		}
		if asked := w.asked(); asked[len(asked)-1] != "cancel run 7, by force: true" {
			t.Errorf("asked: %q", asked)
		}
		if err := w.exec.Kill(t.Context(), 6, 1, launch); !errors.Is(err, executor.ErrUnknown) {
			t.Errorf("what was never started: %v", err)
		}
	})
}

func TestARunThatLeavesNoResultSaysHowItEnded(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		conclusion           string
		began                bool
		untouched, cancelled bool
		want                 string
	}{
		"rejected by the gate":           {"failure", false, true, false, "reviewer or a rule"},
		"cancelled while it was queued":  {"cancelled", false, true, true, "cancelled before it began"},
		"a workflow file with a mistake": {"startup_failure", false, true, false, "does not accept the workflow file"},
		"not allowed by a person":        {"action_required", false, true, false, "asks a person"},
		"a machine that died":            {"failure", true, false, false, "left no result"},
		"cancelled while it ran":         {"cancelled", true, false, true, "was cancelled and left no result"},
		"a job that took too long":       {"timed_out", true, false, false, "longer than the workflow allows"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(operation.Apply)
			w.artifacts = nil
			w.jobs = []hub.WorkflowJob{{Name: "apply", Status: hub.RunCompleted, Conclusion: c.conclusion, Began: c.began}}
			w.shows(func(r *hub.Run) { r.Conclusion = c.conclusion })
			_, err := w.start(t).Wait(t.Context())
			interrupted, ok := errors.AsType[*executor.InterruptedError](err)
			if !ok {
				t.Fatalf("it gives %v", err)
			}
			if interrupted.Untouched != c.untouched || interrupted.Cancelled != c.cancelled || !strings.Contains(interrupted.Reason, c.want) {
				t.Errorf("it gives %+v", interrupted)
			}
		})
	}
}
