package deploy //nolint:testpackage // who holds a lock is told from rows that only a whole life of operations would write

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// processes is an executor that only knows whether something still runs.
type processes struct {
	executor.Executor

	live bool
}

func (p processes) Lives(int64, int, string) bool { return p.live }

// lockWorld is a Deploy with a database in which one apply of dev has begun on a host.
type lockWorld struct {
	*Deploy

	clock *clockwork.FakeClock
	repo  operation.Repository
	apply operation.Operation
	file  string // of the database
}

func newLockWorld(t *testing.T, host string, live bool) *lockWorld {
	t.Helper()
	ctx := t.Context()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	file := filepath.Join(t.TempDir(), "switchyard.db")
	data, err := store.Open(ctx, "sqlite:"+file, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = data.Close() })
	w := &lockWorld{
		file:   file,
		Deploy: New(Options{Store: data, Clock: clock, Host: "here", HostName: "build-1", Executor: processes{live: live}}), clock: clock,
		repo: operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"},
	}
	for id, name := range map[string]string{"here": "build-1", "there": "build-2"} {
		if err := data.Beat(ctx, id, name); err != nil {
			t.Fatal(err)
		}
	}
	if _, _, err := data.QueueApply(ctx, operation.Operation{
		Kind: operation.Apply, Repository: w.repo, Environment: "dev", Branch: "develop", Head: "h", Pull: 41, Pulls: []int{41},
		Roots: []string{"infra"}, Actor: "ben",
	}); err != nil {
		t.Fatal(err)
	}
	if w.apply, _, err = data.TakeHold(ctx, w.repo.ID, "dev"); err != nil {
		t.Fatal(err)
	}
	if host != "" {
		if err := data.Launch(ctx, w.apply.ID, w.apply.Attempt, host, "launch"); err != nil {
			t.Fatal(err)
		}
	}
	return w
}

// ends records how the apply ended; without an outcome, its runner left no word.
func (w *lockWorld) ends(t *testing.T, state operation.State, results ...operation.TargetResult) {
	t.Helper()
	end := store.Finish{Operation: w.apply.ID, Attempt: w.apply.Attempt, State: state}
	if len(results) > 0 {
		end.Result = &operation.Result{Attempt: w.apply.Attempt, Launch: "launch", Targets: results, Ended: w.clock.Now()}
	}
	if _, err := w.Store.Finish(t.Context(), end); err != nil {
		t.Fatal(err)
	}
}

func TestWhoHoldsALock(t *testing.T) {
	t.Parallel()
	target := operation.Target{Root: "infra", Environment: "dev"}
	own := operation.TargetResult{Target: target, Outcome: operation.TargetFailed, Lock: &operation.LockInfo{ID: "l1"}}
	met := operation.TargetResult{Target: target, Outcome: operation.Locked, Lock: &operation.LockInfo{ID: "l1"}}
	lock := func(who string, after time.Duration) *operation.LockInfo {
		at := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC).Add(after)
		return &operation.LockInfo{ID: "l1", Who: who, Created: at.Format(time.RFC3339Nano)}
	}
	for name, test := range map[string]struct {
		host string
		live bool
		end  func(*testing.T, *lockWorld)
		info *operation.LockInfo
		ours bool
		life render.Life
		says string
		hold bool // it is asked for the life of who has the hold
	}{
		"an apply that runs here holds its lock and lives": {
			host: "here", live: true, info: lock("ci@build-1", time.Second), ours: true, life: render.Alive, says: "still runs on build-1",
		},
		"an apply whose processes have gone left it": {
			host: "here", info: lock("ci@build-1", time.Second), ours: true, life: render.Dead, says: "any more",
			end: func(t *testing.T, w *lockWorld) {
				t.Helper()
				w.clock.Advance(time.Minute)
				w.ends(t, operation.Interrupted)
			},
		},
		"a runner that named the lock and reported its end left it": {
			host: "there", info: lock("somebody@elsewhere", time.Minute), ours: true, life: render.Dead, says: "reported at 12:00 UTC",
			end: func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Failed, own) },
		},
		"a lock that a runner named and that was taken after its end may be somebody else's": {
			host: "there", info: lock("mia@laptop", time.Hour), ours: true, life: render.Unknown, says: "may be somebody else's",
			end: func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Failed, own) },
		},
		"a lock that was taken on the server's machine after an apply had gone may be of somebody who works there": {
			host: "here", info: lock("mia@build-1", time.Minute), ours: true, life: render.Unknown, says: "may be somebody else's",
			end: func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Interrupted) },
		},
		"a lock that an apply only met is not its own": {
			host: "here", info: lock("mia@laptop", time.Second), life: render.Unknown, says: "No operation of Switchyard took it",
			end: func(t *testing.T, w *lockWorld) { t.Helper(); w.ends(t, operation.Failed, met) },
		},
		"a lock that was taken meanwhile on another machine is somebody else's": {
			host: "here", info: lock("mia@laptop", time.Second), life: render.Unknown, says: "No operation of Switchyard took it",
		},
		"a lock from before the apply is somebody else's": {
			host: "here", info: lock("ci@build-1", -time.Hour), life: render.Unknown, says: "No operation of Switchyard took it",
		},
		"an apply on a server that answers lives": {
			host: "there", info: lock("ci@build-2", time.Second), ours: true, life: render.Alive, says: "build-2 answers",
		},
		"of an apply on a server that does not answer nothing is known": {
			host: "there", info: lock("ci@build-2", time.Second), ours: true, life: render.Unknown, says: "does not answer since 12:00 UTC",
			end: func(t *testing.T, w *lockWorld) { t.Helper(); w.clock.Advance(time.Hour) },
		},
		"of an apply that no runner was started for another server may be about to start one": {
			host: "", info: nil, life: render.Unknown, says: "another server may be about to do that", hold: true,
			end: func(t *testing.T, w *lockWorld) { t.Helper(); w.Shared = true },
		},
		"a lock without a description could be anybody's": {
			host: "here", info: nil, life: render.Unknown, says: "no description",
		},
		"a lock whose time cannot be read is not put down to anybody": {
			host: "here", info: &operation.LockInfo{ID: "l1", Who: "ci@build-1", Created: "<today>"}, life: render.Unknown,
			says: "No operation of Switchyard took it",
		},
		"one that a workflow run took, of which GitHub has not said the number": {
			host: operation.HostActions, info: lock("runner@fv-1", time.Second), ours: true, life: render.Unknown, says: "has not said",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLockWorld(t, test.host, test.live)
			if test.end != nil {
				test.end(t, w)
			}
			holder, err := w.holderOf(t.Context(), w.repo, target, &operation.StateLock{Lease: operation.LeaseHeld, Info: test.info})
			if test.hold {
				holder.Life, holder.Because, err = w.lifeOf(t.Context(), w.apply)
			}
			if err != nil {
				t.Fatal(err)
			}
			if (holder.Operation != nil) != test.ours || holder.Life != test.life || !strings.Contains(holder.Because, test.says) {
				t.Errorf("ours: %v, %s: %s", holder.Operation != nil, holder.Life, holder.Because)
			}
		})
	}
}

func TestALockThatNobodyHoldsHasNoHolder(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", true)
	for _, found := range []*operation.StateLock{nil, {Lease: operation.LeaseFree}, {Lease: operation.LeaseBroken, Info: &operation.LockInfo{ID: "l1"}}} {
		holder, err := w.holderOf(context.Background(), w.repo, operation.Target{Root: "infra", Environment: "dev"}, found)
		if err != nil || holder.Operation != nil || holder.Because != "" {
			t.Errorf("%+v, %v", holder, err)
		}
	}
}

func TestWhatMayHaveLeftALock(t *testing.T) {
	t.Parallel()
	ended := func(kind operation.Kind, state operation.State, targets ...operation.TargetResult) operation.Operation {
		op := operation.Operation{Kind: kind, State: state, Attempt: 1, Host: "here"}
		if targets != nil {
			op.Result = &operation.Result{Targets: targets}
		}
		return op
	}
	never := ended(operation.Apply, operation.Cancelled)
	never.Host = ""
	for name, test := range map[string]struct {
		op   operation.Operation
		want bool
	}{
		"an apply that left no word": {ended(operation.Apply, operation.Interrupted), true},
		"an apply whose runner names the lock that it left": {
			ended(operation.Apply, operation.Failed, operation.TargetResult{Outcome: operation.TargetFailed, Lock: &operation.LockInfo{ID: "l1"}}), true,
		},
		"an apply whose runner could not ask for the lock when Terraform was killed": {
			ended(operation.Apply, operation.Failed, operation.TargetResult{Outcome: operation.TargetFailed, Lock: &operation.LockInfo{}}), true,
		},
		"an apply whose Terraform failed by itself, so that it gave the lock back": {
			ended(operation.Apply, operation.Failed, operation.TargetResult{Outcome: operation.TargetFailed}), false,
		},
		"an apply that met one":           {ended(operation.Apply, operation.Failed, operation.TargetResult{Outcome: operation.Locked, Lock: &operation.LockInfo{}}), false},
		"an apply that was never started": {never, false},
		"breaking one, in the middle":     {ended(operation.BreakLease, operation.Failed, operation.TargetResult{Outcome: operation.TargetFailed}), true},
		"a plan takes none":               {ended(operation.Plan, operation.Failed), false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := mayHaveLeftLock(test.op); got != test.want {
				t.Errorf("%v", got)
			}
		})
	}
}
