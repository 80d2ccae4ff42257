package deploy //nolint:testpackage // who is dead is told from rows that only a whole life of operations would write

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/operation"
)

// looking is an executor whose runner finds what lies in the work directory of a dead apply.
type looking struct {
	processes

	died *string // what it was told
}

func (l looking) Start(_ context.Context, task operation.Task) (executor.Run, error) {
	*l.died = task.Died
	result := operation.Result{Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch}
	for _, target := range task.Targets {
		found := &operation.StateLock{Backend: "azurerm", Place: "acmestate/tfstate/dev", Lease: operation.LeaseFree}
		if task.Died != "" {
			place := filepath.Join(task.Died, "tree", target.Dir, "errored.tfstate")
			found.Errored = []operation.ErroredState{{Place: place, Serial: 5, Fits: true, Next: "terraform state push " + place}}
		}
		result.Targets = append(result.Targets, operation.TargetResult{Target: target.Target, Outcome: operation.Looked, Found: found})
	}
	return looked{result: result}, nil
}

type looked struct{ result operation.Result }

func (l looked) Wait(context.Context) (operation.Result, error) { return l.result, nil }
func (looked) Stop()                                            {}

// What a dead apply left in its work directory is looked for by every look at its lock: one that a person asked for, and one of the watch.
func TestALookAtALockGoesThroughTheWorkDirectoryOfTheDead(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		host string
		end  func(*testing.T, *lockWorld)
		of   bool // it is known whose lock it is
		want bool
	}{
		"asked for by a person, after an apply that left no word": {
			"here", func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Interrupted) }, false, true,
		},
		"asked for by the watch": {
			"here", func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Interrupted) }, true, true,
		},
		"after an apply whose Terraform was killed": {
			"here", func(t *testing.T, w *lockWorld) {
				t.Helper()
				w.ends(t, operation.Failed, operation.TargetResult{
					Target: operation.Target{Root: "infra", Environment: "dev"}, Outcome: operation.TargetFailed, Lock: &operation.LockInfo{},
				})
			}, false, true,
		},
		"after an apply that works":                   {"here", func(*testing.T, *lockWorld) {}, false, false},
		"after an apply that ended well":              {"here", func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Succeeded) }, false, false},
		"after one whose directory is another host's": {"there", func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Interrupted) }, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLockWorld(t, c.host, false)
			w.configured(t, locksConfig)
			died := ""
			w.Executor, w.WorkDir, w.PlanLimit = looking{died: &died}, t.TempDir(), time.Minute
			c.end(t, w)
			if text, err := w.breakLease(t.Context(), w.said(t, 5, "ana", "/break-lease dev infra")); err != nil || text != "" {
				t.Fatalf("%v: %s", err, text)
			}
			id, err := w.Store.Requested(t.Context(), w.repo.ID, 5)
			if err != nil {
				t.Fatal(err)
			}
			look, err := w.Store.Operation(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			if c.of { // as the watch asks
				look.Lock.Of, look.Lock.Watch = w.apply.ID, true
				if look, err = w.Store.Request(t.Context(), operation.Operation{
					Kind: look.Kind, Repository: w.repo, Environment: "dev", Branch: look.Branch, Head: look.Head, Tree: look.Tree, Roots: look.Roots,
					Lock: look.Lock,
				}, 0); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.runPlan(t.Context(), drive{Repository: w.repo, Environment: "dev", Operation: look.ID}); err != nil {
				t.Fatal(err)
			}
			want := ""
			if c.want {
				want = filepath.Join(w.WorkDir, filepath.FromSlash(workKey(w.apply)))
			}
			if died != want {
				t.Errorf("it looked in %q, not %q", died, want)
			}
			if text := w.answerOf(t, 5); !c.of && strings.Contains(text, "errored.tfstate") != c.want {
				t.Errorf("it says %s", text)
			}
		})
	}
}
