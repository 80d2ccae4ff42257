package job

import (
	"context"
	"errors"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// heldLock is a lock as it is found.
func heldLock() *operation.StateLock {
	return &operation.StateLock{
		Backend: "azurerm", Place: "stnetworkstate/states/network-prod", Lease: operation.LeaseHeld, ETag: lockETag,
		Info:     &operation.LockInfo{ID: lockID, Operation: "OperationTypeApply", Who: "ana@`laptop\n::error::x", Created: "2026-11-20 11:00:00 +0000 UTC"},
		Modified: noon, Lineage: "b3c1", Serial: 41, Tainted: []string{`a.b["x"]`},
		Errored: []operation.ErroredState{{Place: "stnetworkstate/states/network-prod.errored-5", Why: "It is of another lineage."}},
		Notes:   []string{"It has 3 more blobs."},
	}
}

// locksStep is a step of the workflow that works on locks without a server: ana started it on main, and cy let its second job begin.
func locksStep(t *testing.T, command string, inputs map[string]string) *step {
	t.Helper()
	s := newStep(t)
	s.run.Actor, s.run.Triggering = hub.Account{Login: "ana"}, hub.Account{Login: "ana"}
	s.let = []string{"cy"}
	s.protection.Limited = true
	s.env["GITHUB_TRIGGERING_ACTOR"] = "ana"
	s.env["INPUT_COMMAND"], s.env["INPUT_ENVIRONMENT"] = command, "prod"
	if command == commandLockShow {
		s.identity["environment"] = "prod-plan"
	} else {
		s.env["INPUT_ROOT"], s.env["INPUT_LOCK_ID"], s.env["INPUT_LOCK_ETAG"], s.env["INPUT_REASON"] = "infra", lockID, lockETag, "the runner died"
	}
	maps.Copy(s.env, inputs)
	s.does = func(_ context.Context, task operation.Task, _ func(context.Context) error) operation.Result {
		if task.Kind == operation.ExplainLock {
			result := resultOf(task, operation.Looked)
			for i := range result.Targets {
				result.Targets[i].ChangeSet, result.Targets[i].Found = operation.ChangeSet{}, &operation.StateLock{Backend: "local", Lease: operation.LeaseFree}
			}
			result.Targets[0].Found = heldLock()
			return result
		}
		result := resultOf(task, operation.Released)
		free := heldLock()
		free.Lease, free.Info = operation.LeaseFree, nil
		result.Targets[0].Broken = &operation.Broken{How: operation.ReleasedTaken, Snapshot: "2026", Taken: true, Cleared: true, Verified: true, Now: free}
		return result
	}
	return s
}

// locks has the step work on locks.
func (s *step) locks(t *testing.T) error {
	t.Helper()
	parts := s.parts(t, applyTask())
	parts.Env = func(name string) (string, bool) {
		value, ok := s.env[name]
		return value, ok
	}
	if IsDispatched(parts.Env) || !IsAboutLocks(parts.Env) {
		t.Error("it is not taken for work on locks without a server")
	}
	return Locks(t.Context(), parts)
}

func TestLocksWithoutAServer(t *testing.T) {
	t.Parallel()
	for name, command := range map[string]string{"lock-show": commandLockShow, "lock-break": commandLockBreak} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := locksStep(t, command, nil)
			if err := s.locks(t); err != nil || len(s.ran) != 1 {
				t.Fatalf("it ends with %v and did %d tasks: %s", err, len(s.ran), s.shown(t))
			}
			task := s.ran[0]
			if command == commandLockShow && (task.Kind != operation.ExplainLock || len(task.Targets) != 2 || task.Lock != nil) {
				t.Errorf("it did %+v", task)
			}
			want := &operation.LockTask{ID: lockID, ETag: lockETag, Reason: "the runner died", Two: true}
			if diff := cmp.Diff(want, task.Lock); command == commandLockBreak && (diff != "" || task.Kind != operation.BreakLease || len(task.Targets) != 1) {
				t.Errorf("it did %+v: %s", task, diff)
			}
			golden(t, name, s.shown(t))
		})
	}
}

func TestALockWithoutADescriptionIsNamedByItsETag(t *testing.T) {
	t.Parallel()
	s := locksStep(t, commandLockBreak, map[string]string{"INPUT_LOCK_ID": noLockID})
	if err := s.locks(t); err != nil || len(s.ran) != 1 {
		t.Fatalf("it ends with %v: %s", err, s.shown(t))
	}
	if lock := s.ran[0].Lock; lock.ID != "" || lock.ETag != lockETag {
		t.Errorf("it breaks %+v", lock)
	}
}

func TestWhatBreakingALockWithoutAServerHasToProve(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		inputs map[string]string
		attack func(s *step)
		want   string
	}{
		"nobody else let it begin":    {nil, func(s *step) { s.let = nil }, "Another person than `ana` has to let it begin"},
		"who started it let it begin": {nil, func(s *step) { s.let = []string{"Ana"} }, "Another person than `ana` has to let it begin"},
		"somebody who may only write": {nil, func(s *step) { s.run.Triggering.Login = "ben" }, "because that needs maintain permission, and `ben` has `write`."},
		"an App":                      {nil, func(s *step) { s.run.Triggering.Login = "evil[bot]" }, "and `evil[bot]` is none."},
		"in another environment":      {nil, func(s *step) { s.identity["environment"] = "prod-plan" }, "has to work in the GitHub Environment of that name, not in `prod-plan`."},
		"in an environment that GitHub made for it": {nil, func(s *step) {
			s.protection = hub.Environment{Made: noon.Add(3 * time.Hour)}
		}, "was not there when this run was made"},
		"without an identity":             {nil, func(s *step) { s.machine.Identity = Identity{} }, "give it the permission `id-token: write`."},
		"on another branch":               {nil, func(s *step) { s.machine.Ref = "refs/heads/develop" }, "Branch `develop` does not deploy to prod"},
		"on a tag":                        {nil, func(s *step) { s.machine.Ref = "refs/tags/v1" }, "start it on the branch of the environment"},
		"by a push":                       {nil, func(s *step) { s.machine.Event = "push" }, "the event `push` started it"},
		"started again":                   {nil, func(s *step) { s.machine.Attempt = 2 }, "this run was started again"},
		"a commit that is gone":           {nil, func(s *step) { s.machine.SHA = stray }, "is not on branch `main` any more."},
		"an environment nobody knows":     {map[string]string{"INPUT_ENVIRONMENT": "qa"}, nil, "knows no environment `qa`. Known: dev, prod."},
		"a root nobody knows":             {map[string]string{"INPUT_ROOT": "../evil"}, nil, "has no root `../evil`."},
		"any root":                        {map[string]string{"INPUT_ROOT": ""}, nil, "the input root says which one is meant."},
		"any lock":                        {map[string]string{"INPUT_LOCK_ID": ""}, nil, "The input lock-id says which lock is broken"},
		"one without description or etag": {map[string]string{"INPUT_LOCK_ID": "none", "INPUT_LOCK_ETAG": ""}, nil, "with its lock-etag."},
		"another configuration":           {map[string]string{"INPUT_CONFIG": "x.yml"}, nil, "input config is `x.yml`"},
		"no reason where one is asked for": {map[string]string{"INPUT_REASON": ""}, func(s *step) {
			s.config += "commands: { break-lease: { reason: true } }\n"
		}, "The input reason is empty, and the configuration asks for one."},
		"no configuration": {map[string]string{"INPUT_ROOT": "src/terraform"}, func(s *step) { s.config = "" }, "without it nothing is applied."},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := locksStep(t, commandLockBreak, c.inputs)
			if c.attack != nil {
				c.attack(s)
			}
			if err := s.locks(t); !errors.Is(err, ErrNotDone) || len(s.ran) != 0 {
				t.Errorf("it ends with %v and did %d tasks", err, len(s.ran))
			}
			compare(t, []string{c.want}, []string{s.result(t).Error})
		})
	}
}

func TestAnAppCannotStartWorkOnLocks(t *testing.T) {
	t.Parallel()
	values := map[string]string{"INPUT_COMMAND": commandLockBreak, "GITHUB_EVENT_NAME": dispatchEvent, "GITHUB_ACTOR": "switchyard[bot]"}
	if !IsDispatched(func(name string) (string, bool) { return values[name], values[name] != "" }) {
		t.Error("who has stolen the App's key needs no task")
	}
}
