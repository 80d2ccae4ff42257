package deploy //nolint:testpackage // what ended in the books and still works, or broke off in between, cannot be brought about from outside

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// heldBy is the lock of infra in dev that whoever works on a machine took a second after an apply had begun.
func heldBy(who string) *operation.StateLock {
	return &operation.StateLock{Backend: "azurerm", Lease: operation.LeaseHeld, ETag: "e1", Info: &operation.LockInfo{
		ID: "l1", Who: who, Created: time.Date(2026, 11, 21, 12, 0, 1, 0, time.UTC).Format(time.RFC3339Nano),
	}}
}

// looked is a look at the lock of infra in dev that a comment on a pull request asked for, or the watch, and that is done.
func (w *lockWorld) looked(t *testing.T, request operation.LockRequest, result operation.TargetResult) operation.Operation {
	t.Helper()
	tip, there, err := w.Git.Branch(t.Context(), w.repo, "develop")
	if err != nil || !there {
		t.Fatal(there, err)
	}
	op, err := w.Store.Request(t.Context(), operation.Operation{
		Kind: operation.ExplainLock, Repository: w.repo, Environment: "dev", Branch: "develop", Head: tip, Roots: []string{"infra"}, Actor: "ana",
		Lock: &request,
	}, request.Comment)
	if err != nil {
		t.Fatal(err)
	}
	begun, started, err := w.Store.Start(t.Context(), op.ID)
	if err != nil || !started {
		t.Fatal(started, err)
	}
	result.Target = operation.Target{Root: "infra", Environment: "dev"}
	state := operation.Succeeded
	if result.Found == nil {
		state = operation.Failed
	}
	op, err = w.Store.Finish(t.Context(), store.Finish{
		Operation: begun.ID, Attempt: begun.Attempt, State: state, Result: &operation.Result{Targets: []operation.TargetResult{result}},
	})
	if err != nil {
		t.Fatal(err)
	}
	return op
}

// explained is the answer to a /break-lease on a pull request.
func (w *lockWorld) explained(t *testing.T, number int, comment int64, found *operation.StateLock) string {
	t.Helper()
	op := w.looked(t, operation.LockRequest{Comment: comment, Number: number}, operation.TargetResult{Outcome: operation.Looked, Found: found})
	if err := w.showLocks(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	return w.answerOf(t, comment)
}

func TestCancelIsSuggestedWhereItStopsWhoHoldsTheLock(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", true) // its apply is of #41, and lives
	w.configured(t, locksConfig)
	if _, _, err := w.Store.QueueApply(t.Context(), operation.Operation{
		Kind: operation.Apply, Repository: w.repo, Environment: "dev", Branch: "develop", Head: "h2", Roots: []string{"infra"}, Actor: "ben",
		Pull: 42, Pulls: []int{42},
	}); err != nil {
		t.Fatal(err)
	}
	const there, here = "comment `/cancel dev` in #41", "comment `/cancel dev`:"
	if text := w.explained(t, 42, 5, heldBy("ci@build-1")); !strings.Contains(text, there) {
		t.Errorf("what #42 has itself would be cancelled: %s", text)
	}
	if text := w.explained(t, 41, 6, heldBy("ci@build-1")); !strings.Contains(text, here) {
		t.Error(text)
	}
	if text := w.explained(t, 42, 7, heldBy("mia@laptop")); !strings.Contains(text, "another operation has dev") || !strings.Contains(text, there) {
		t.Errorf("what #42 has itself would be cancelled: %s", text)
	}
	if text, err := w.unlock(t.Context(), w.said(t, 8, "ana", "/unlock dev")); err != nil || !strings.Contains(text, there) {
		t.Errorf("%v: %s", err, text)
	}
	met := w.metLock(t.Context(), operation.Operation{ID: 9, Kind: operation.Apply, Repository: w.repo, Pull: 42}, store.Finish{
		State: operation.Failed, Result: &operation.Result{Targets: []operation.TargetResult{{
			Target: operation.Target{Root: "infra", Environment: "dev"}, Outcome: operation.Locked, Found: heldBy("ci@build-1"),
		}}},
	})
	if !strings.Contains(met.Message, there) {
		t.Error(met.Message)
	}
	r := w.said(t, 10, "ana", "/cancel dev")
	r.Command.Environment, r.Number = "dev", 41
	text, err := w.cancel(t.Context(), r)
	if text += w.answerOf(t, 10); err != nil || !strings.Contains(text, "Stopping the apply to dev of #41") {
		t.Errorf("what was suggested does something else: %v: %s", err, text)
	}
}

// Its hold was released while its server could not be reached, or its time was over: no /cancel reaches it any more.
func TestWhatHasEndedInTheBooksAndStillWorksIsStoppedWhereItRuns(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", true)
	w.configured(t, locksConfig)
	w.ends(t, operation.Interrupted)
	text := w.explained(t, 41, 5, heldBy("ci@build-1"))
	for _, word := range []string{"works.**", "`build-1`", "`kill -INT`", fmt.Sprintf("/%d-%d", w.apply.ID, w.apply.Attempt)} {
		if !strings.Contains(text, word) {
			t.Errorf("it does not say %q: %s", word, text)
		}
	}
	if strings.Contains(text, "/cancel") {
		t.Errorf("there is nothing to cancel: %s", text)
	}
}

func TestTheRunOfAHolderIsNamedByItsNumber(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, operation.HostActions, false)
	run, err := w.Store.AskForRun(t.Context(), operation.WorkflowRun{Task: operation.Task{
		Repository: w.repo, Operation: w.apply.ID, Attempt: w.apply.Attempt, Launch: "launch",
	}})
	if err != nil {
		t.Fatal(err)
	}
	run.Run, run.URL = 77, "https://github.com/acme/network/actions/runs/77"
	if err := w.Store.SaveRun(t.Context(), run); err != nil {
		t.Fatal(err)
	}
	op, err := w.Store.Operation(t.Context(), w.apply.ID)
	if err != nil {
		t.Fatal(err)
	}
	if view, err := w.runView(t.Context(), op); err != nil || view.ID != 77 {
		t.Errorf("%+v, %v", view, err)
	}
}

func TestABreakThatWaitsForALostHoldSaysHowThatIsReleased(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "there", false)
	w.configured(t, locksConfig)
	w.clock.Advance(time.Hour) // the server that has the apply is gone
	op := w.broke(t, 5)
	if err := w.show(t.Context(), op); err != nil {
		t.Fatal(err)
	}
	text := w.answerOf(t, 5)
	if !strings.Contains(text, "comment `/unlock dev`") || strings.Contains(text, "need not do anything") {
		t.Error(text)
	}
}

// breaks has the lock of infra in dev broken, as it was explained, and end so. A result without an outcome is none.
func (w *lockWorld) breaks(t *testing.T, of int64, task operation.LockTask, result operation.TargetResult) operation.Operation {
	t.Helper()
	code := fmt.Sprintf("%08d", task.Request)
	if _, err := w.Store.Ask(t.Context(), store.Confirmation{Repository: w.repo.ID, Code: code, Command: commandBreak}, time.Minute); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Store.QueueConfirmed(t.Context(), operation.Operation{
		Kind: operation.BreakLease, Repository: w.repo, Environment: "dev", Branch: "develop", Head: "h", Roots: []string{"infra"}, Actor: "ana",
		Lock: &operation.LockRequest{Said: task.Request, SaidIn: 42, Of: of, Break: &task},
	}, code, task.Request, "ana"); err != nil {
		t.Fatal(err)
	}
	op, taken, err := w.Store.TakeHold(t.Context(), w.repo.ID, "dev")
	if err != nil || !taken || op.Kind != operation.BreakLease {
		t.Fatal(op, taken, err)
	}
	if err := w.Store.Launch(t.Context(), op.ID, op.Attempt, "here", "launch"); err != nil {
		t.Fatal(err)
	}
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Failed}
	if result.Outcome != "" {
		result.Target = operation.Target{Root: "infra", Environment: "dev"}
		end.Result = &operation.Result{
			Attempt: op.Attempt, Launch: "launch", Targets: []operation.TargetResult{result}, Ended: w.clock.Now(),
		}
	}
	if op, err = w.Store.Finish(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	return op
}

func TestWhoBrokeOffWhileALockWasReleasedIsKnownAgain(t *testing.T) {
	t.Parallel()
	failed := func(broken operation.Broken) operation.TargetResult {
		return operation.TargetResult{Outcome: operation.TargetFailed, Broken: &broken}
	}
	releasing := failed(operation.Broken{Taken: true, Cleared: true})
	for name, test := range map[string]struct {
		id      string
		backend string
		results []operation.TargetResult // of what broke the lock, the oldest first
		want    bool
	}{
		"one that had cleared the description":         {"l1", "azurerm", []operation.TargetResult{releasing}, true},
		"one that cleared it, and does not know that":  {"l1", "azurerm", []operation.TargetResult{failed(operation.Broken{Taken: true})}, true},
		"also after another one that could do nothing": {"l1", "azurerm", []operation.TargetResult{releasing, failed(operation.Broken{})}, true},
		"also after another one that left no word":     {"l1", "azurerm", []operation.TargetResult{releasing, {}}, true},
		"not one that never had the lock":              {"l1", "azurerm", []operation.TargetResult{failed(operation.Broken{})}, false},
		"not one that was followed by one that found another lock": {"l1", "azurerm", []operation.TargetResult{
			releasing, {Outcome: operation.OtherLock, Broken: &operation.Broken{}},
		}, false},
		"not one that was followed by one that released it": {"l1", "azurerm", []operation.TargetResult{
			releasing, {Outcome: operation.Released, Broken: &operation.Broken{How: operation.ReleasedTaken, Taken: true, Cleared: true}},
		}, false},
		"not one that released it, and failed after that": {"l1", "azurerm", []operation.TargetResult{
			failed(operation.Broken{How: operation.ReleasedTaken, Taken: true, Cleared: true}),
		}, false},
		"not one of a lock without an id": {"", "azurerm", []operation.TargetResult{releasing}, false},
		"not in a store without leases":   {"l1", "http", []operation.TargetResult{releasing}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newLockWorld(t, "here", false)
			w.ends(t, operation.Interrupted)
			var broke operation.Operation
			for i, result := range test.results {
				op := w.breaks(t, w.apply.ID, operation.LockTask{ID: test.id, Request: int64(100 + i)}, result)
				if i == 0 {
					broke = op
				}
			}
			holder, err := w.holderOf(t.Context(), w.repo, operation.Target{Root: "infra", Environment: "dev"},
				&operation.StateLock{Backend: test.backend, Lease: operation.LeaseHeld, ETag: "e2"})
			known := err == nil && holder.Operation != nil && holder.Operation.ID == broke.ID && holder.Lock == "l1" && holder.Life == render.Dead
			if err != nil || known != test.want || !test.want && (holder.Lock != "" || holder.Operation != nil || holder.Life != render.Unknown) {
				t.Errorf("%+v, %v", holder, err)
			}
		})
	}
}

// The release was answered by 503: people give the command once more, which looks anew and finds a lock without a description.
func TestABreakThatWasCutOffIsRepeatedByOnePersonUnderTheLocksOldId(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", false)
	w.configured(t, locksConfig)
	w.ends(t, operation.Interrupted)
	w.breaks(t, w.apply.ID, operation.LockTask{ID: "l1", ETag: "e1", Request: 4}, operation.TargetResult{
		Outcome: operation.TargetFailed, Broken: &operation.Broken{Taken: true, Cleared: true, Snapshot: "s"},
	})
	found := &operation.StateLock{Backend: "azurerm", Lease: operation.LeaseHeld, ETag: "e2"}
	op := w.looked(t, operation.LockRequest{Comment: 5, Number: 42, ID: "L1"}, operation.TargetResult{Outcome: operation.Looked, Found: found})
	view, err := w.lockView(t.Context(), op)
	if err != nil || view.Verdict != render.LockAsk || view.Two {
		t.Fatalf("%v: %+v", err, view)
	}
	if text := render.LockAnswer(view); !strings.Contains(text, "the breaking of the state lock of `infra`") || !strings.Contains(text, "`l1`") {
		t.Error(text)
	}
	if text, err := w.confirmed(t.Context(), w.said(t, 6, "ana", "/confirm "+view.Code)); err != nil || text != "" {
		t.Fatalf("%v: %s", err, text)
	}
	id, err := w.Store.Requested(t.Context(), w.repo.ID, 6)
	if err != nil {
		t.Fatal(err)
	}
	queued, err := w.Store.Operation(t.Context(), id)
	if err != nil || queued.Lock == nil || queued.Lock.Break == nil {
		t.Fatal(queued, err)
	}
	if task := queued.Lock.Break; task.ID != "l1" || task.ETag != "e2" || task.Two || queued.Lock.Of != w.apply.ID {
		t.Errorf("%+v, of %d", task, queued.Lock.Of)
	}
}

func TestPeopleAreToldOnceThatNobodyCouldLookForALockThatWasLeftBehind(t *testing.T) {
	t.Parallel()
	w := newLockWorld(t, "here", false)
	w.configured(t, locksConfig)
	w.ends(t, operation.Interrupted)
	for try := 1; try <= maxWatches+1; try++ {
		look := w.looked(t, operation.LockRequest{Of: w.apply.ID, Watch: true}, operation.TargetResult{
			Outcome: operation.TargetFailed, Error: "503 Server Busy",
		})
		if err := w.showLocks(t.Context(), look); err != nil {
			t.Fatal(err)
		}
		surface, told, err := w.Store.Surface(t.Context(), w.repo.ID, incidentKey("dev", fmt.Sprintf("unlooked/%d", w.apply.ID)))
		if err != nil || told != (try >= maxWatches) || surface.Version > 1 {
			t.Fatalf("try %d: told %v, version %d, %v", try, told, surface.Version, err)
		}
		if !told {
			continue
		}
		var entry incident
		if err := json.Unmarshal(surface.Wanted, &entry); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(entry.Body, "Server Busy") || !strings.Contains(entry.Body, "`/break-lease dev infra`") || entry.Pull != 41 {
			t.Errorf("%+v", entry)
		}
	}
}
