package actions_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// lockWorld is a world in which a job has looked at a lock, or broken one.
func lockWorld(kind operation.Kind, change func(*operation.Result)) *world {
	w := newWorld(kind)
	if kind == operation.ExplainLock {
		w.task.Job.Ref, w.task.Job.Environment = "switchyard/plans", "prod-plan"
	} else {
		w.task.Targets, w.task.Job.Shards = w.task.Targets[:1], [][]string{{"a"}}
		w.task.Lock = &operation.LockTask{ID: "1", ETag: "2", Code: "3", Request: 4}
	}
	result := resultOf(w.task, 0)
	for i := range result.Targets {
		target := &result.Targets[i]
		found := &operation.StateLock{Backend: "azurerm", Place: "a/b/c", Lease: operation.LeaseHeld, Info: &operation.LockInfo{ID: "1"}}
		if kind == operation.ExplainLock {
			target.ChangeSet, target.Outcome, target.Found = operation.ChangeSet{}, operation.Looked, found
			continue
		}
		target.Outcome, target.Broken = operation.Released, &operation.Broken{How: operation.ReleasedTaken, Taken: true, Left: []string{"a.b"}}
	}
	if change != nil {
		change(&result)
	}
	w.leave(0, result)
	return w
}

func TestResultsAboutLocksAreTaken(t *testing.T) {
	t.Parallel()
	for _, kind := range []operation.Kind{operation.ExplainLock, operation.BreakLease} {
		w := lockWorld(kind, nil)
		result, err := w.start(t).Wait(t.Context())
		if err != nil || len(result.Targets) != len(w.task.Targets) {
			t.Errorf("%s: %+v, %v", kind, result, err)
		}
	}
	other := lockWorld(operation.BreakLease, func(r *operation.Result) {
		r.Targets[0].Outcome, r.Targets[0].Broken = operation.OtherLock, &operation.Broken{Now: &operation.StateLock{Lease: operation.LeaseHeld}}
	})
	if result, err := other.start(t).Wait(t.Context()); err != nil || result.Targets[0].Outcome != operation.OtherLock {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestResultsAboutLocksThatCannotBeAreNot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		kind   operation.Kind
		change func(*operation.Result)
		want   string
	}{
		"a look that says that it broke a lock": {
			operation.ExplainLock, func(r *operation.Result) { r.Targets[0].Outcome = operation.Released }, "cannot be `released`",
		},
		"a look that has broken one beside it": {
			operation.ExplainLock, func(r *operation.Result) { r.Targets[0].Broken = &operation.Broken{Taken: true} }, "breaks no lock",
		},
		"a look that says that it applied": {
			operation.ExplainLock, func(r *operation.Result) { r.Targets[0].Outcome = operation.Applied }, "cannot be `applied`",
		},
		"a look that found nothing":     {operation.ExplainLock, func(r *operation.Result) { r.Targets[0].Found = nil }, "what was found"},
		"a look that asks something":    {operation.ExplainLock, func(r *operation.Result) { r.Question = "x" }, "asks nothing"},
		"a break that says only that":   {operation.BreakLease, func(r *operation.Result) { r.Targets[0].Broken = nil }, "what was found"},
		"a break that applied":          {operation.BreakLease, func(r *operation.Result) { r.Targets[0].Timings.Apply = 1 }, "applies nothing"},
		"an apply that says it looked":  {operation.Apply, func(r *operation.Result) { r.Targets[0].Outcome = operation.Looked }, "cannot be `looked`"},
		"more notes than anybody makes": {operation.ExplainLock, func(r *operation.Result) { r.Targets[0].Found.Notes = make([]string, 6000) }, "6000 entries"},
		"a size below nothing":          {operation.ExplainLock, func(r *operation.Result) { r.Targets[0].Found.Size = -1 }, "below 0"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var w *world
			if c.kind == operation.Apply {
				w = newWorld(c.kind)
				result := resultOf(w.task, 0)
				c.change(&result)
				w.leave(0, result)
			} else {
				w = lockWorld(c.kind, c.change)
			}
			if found := w.interrupted(t); !strings.Contains(found.Reason, c.want) {
				t.Errorf("it gives %q, not %q", found.Reason, c.want)
			}
		})
	}
	t.Run("a lock that was broken on a branch that had moved", func(t *testing.T) {
		t.Parallel()
		w := lockWorld(operation.BreakLease, nil)
		w.shows(func(r *hub.Run) { r.SHA = strings.Repeat("1", 40) })
		if found := w.interrupted(t); !strings.Contains(found.Reason, "had moved") {
			t.Errorf("it gives %q", found.Reason)
		}
	})
}

func TestAWorkflowFileThatKnowsNoLocksIsNamed(t *testing.T) {
	t.Parallel()
	w := lockWorld(operation.ExplainLock, nil)
	w.set(func(g *github) {
		g.artifacts, g.jobs = nil, []hub.WorkflowJob{{Name: "plan", Status: hub.RunCompleted}, {Name: "apply", Status: hub.RunCompleted}}
	})
	w.shows(func(r *hub.Run) { r.Conclusion = "skipped" })
	const want = "the file `switchyard.yml` on the branch `switchyard/plans` has no job for explain-lock."
	if found := w.interrupted(t); !found.Untouched || !strings.Contains(found.Reason, want) {
		t.Errorf("it gives %+v", found)
	}
}
