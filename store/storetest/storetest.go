// Package storetest is the conformance suite of package store: what every database must do alike.
// Only tests call it, and nothing in it waits: its clock stands still until a test moves it.
package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// Open opens a store on an empty database of the test's own, to be closed when the test ends.
type Open func(t *testing.T, clock clockwork.Clock) *store.Store

const lease = time.Minute

// Run runs the suite.
func Run(t *testing.T, open Open) {
	t.Helper()
	for name, test := range map[string]func(*testing.T, *world){
		"the same delivery is accepted once":                                    acceptedOnce,
		"the same delivery is accepted once by many at a time":                  acceptedOnceByMany,
		"jobs of one key run in order, one at a time":                           orderOfKey,
		"concurrent claims keep the order of each key":                          concurrentClaims,
		"a job that waits for its time holds back those of its key":             waitingJob,
		"a dead job lets the next of its key run":                               deadJob,
		"a once-job is left out while one waits, but not while one runs":        onceJob,
		"a job like one that waits is left out, but not while that runs":        sameJob,
		"an attempt whose lease has ended is fenced":                            fencedJob,
		"a claim that is extended is kept":                                      extendedJob,
		"forgotten deliveries are new again":                                    forgotten,
		"an operation is read as it was stored":                                 readBack,
		"operations are found by what a filter names":                           filters,
		"a newer plan supersedes the open ones of its pull request":             superseded,
		"the newest apply gathers those that wait":                              gathers,
		"a push that is seen twice is one apply":                                sameHead,
		"a hold is taken by one of many":                                        holdOfMany,
		"a hold goes by priority, then arrival":                                 holdOrder,
		"the end of an apply gives the hold back and saves its targets":         finishes,
		"a late attempt cannot finish":                                          fencedFinish,
		"what is confirmed is what was asked":                                   confirmed,
		"impossible transitions are refused":                                    refused,
		"a hold can be released by a person":                                    released,
		"a plan that runs when its job is claimed begins anew":                  startedAnew,
		"an apply is launched by its newest attempt, on one host":               launched,
		"what was said to a waiting run is kept, and its repository looked at":  gates,
		"a workflow run is asked for once and found again":                      workflowRuns,
		"who asks for a workflow run and who looks for it never both go on":     fencedRuns,
		"an order to stop is of one attempt and stays until that has ended":     stopOrders,
		"what was to be stopped is not begun anew":                              stoppedUnbegun,
		"workflow runs of ended operations are forgotten after 90 days":         forgottenRuns,
		"the comments in which people said yes are found":                       wordsOfPeople,
		"lanes take turns, whatever their number of jobs":                       lanes,
		"a lane that failed for a while takes turns when it comes back":         lanesComeBack,
		"a job that was given up can be revived":                                revived,
		"a job that a person wants now is done in another class":                hastened,
		"what people wait for is written first":                                 peopleFirst,
		"installations whose budget is used up are passed over":                 pausedInstallations,
		"replicas are alive for fifteen seconds after a sign of life":           replicas,
		"the audit is read by what a filter names":                              auditFilters,
		"holds taken and released are in the audit":                             auditedHolds,
		"each step of an operation names the webhook that led to it":            auditedDeliveries,
		"text that a database cannot hold is stored all the same":               unstorable,
		"a database that takes deliveries says so and keeps nothing of it":      pings,
		"a baseline is set once and an apply keeps it":                          baselines,
		"the usual duration is the median of the last ten that succeeded":       duration,
		"facts are remembered and forgotten":                                    facts,
		"operations and surfaces follow a rename":                               rename,
		"a name is just a name":                                                 names,
		"ten wants before one write are one write":                              coalesced,
		"what is wanted while a surface is written stays due":                   wantedMeanwhile,
		"what shows operations as they were before is not wanted":               wantedTooLate,
		"a failed write is retried no earlier, whatever is wanted meanwhile":    unwritten,
		"what was refused is written again when that is asked for":              refusedSurface,
		"what follows the end of an apply is queued with it":                    followed,
		"a writer whose claim has ended is fenced":                              fencedSurface,
		"each surface is claimed by one of many":                                surfacesOfMany,
		"every transition is in the audit, with who and why":                    audited,
		"the ledger is read by what a filter names":                             ledgered,
		"evidence is kept for the attempt that runs":                            evidence,
		"a blocked change is approved for one commit, root, danger and content": unblocks,
		"a yes to a doubt stays, and a newer apply asks about its own":          doubted,
		"pull requests that are named late are carried":                         carriesPulls,
		"a baseline stays a proof until the same content is applied":            baselineContent,
		"an operation that waited for something is considered again":            reconsidered,
		"a comment leads to one look at locks":                                  requestedOnce,
		"what was explained is confirmed once, and goes first":                  confirmedOnce,
		"what was explained is not confirmed when its time is over":             confirmedLate,
		"a hold is released by who confirmed, of the attempt that was meant":    releasedConfirmed,
		"answers to a cancel are found by what they wait for":                   stopAnswers,
		"waiters are woken by what becomes due, and not by what is no change":   wakes,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			clock := clockwork.NewFakeClockAt(time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC))
			test(t, &world{Store: open(t, clock), clock: clock})
		})
	}
}

// world is a store whose clock stands still until it is moved.
type world struct {
	*store.Store

	clock *clockwork.FakeClock
	codes int // that were given out
}

var acme = operation.Repository{ID: 7, Installation: 70, Owner: "acme", Name: "network"}

func job(key, payload string) queue.Job {
	return queue.Job{Class: queue.Quick, Kind: "k", Key: key, Payload: []byte(payload)}
}

func apply(branch, head string, pulls ...int) operation.Operation {
	return operation.Operation{
		Kind: operation.Apply, Repository: acme, Environment: "dev", Branch: branch, Head: head, Pulls: pulls, Priority: 20, Actor: "ana",
	}
}

func plan(pull int) operation.Operation {
	return operation.Operation{
		Kind: operation.Plan, Repository: acme, Environment: "dev", Pull: pull, Pulls: []int{pull}, Head: "h", Actor: "ana",
	}
}

// claim takes the next job and fails the test unless its payload is want; "" wants none.
func (w *world) claim(t *testing.T, want string) queue.Claim {
	t.Helper()
	c, ok, err := w.Claim(t.Context(), queue.Quick, "w", lease)
	must(t, err)
	if ok != (want != "") || string(c.Job.Payload) != want {
		t.Fatalf("claimed %q (%v), want %q", c.Job.Payload, ok, want)
	}
	return c
}

func (w *world) queueApply(t *testing.T, op operation.Operation) operation.Operation {
	t.Helper()
	op, _, err := w.QueueApply(t.Context(), op)
	must(t, err)
	return op
}

func (w *world) takeHold(t *testing.T) operation.Operation {
	t.Helper()
	op, ok, err := w.TakeHold(t.Context(), acme.ID, "dev")
	must(t, err)
	if !ok {
		t.Fatal("the hold was not taken")
	}
	return op
}

func (w *world) finish(t *testing.T, op operation.Operation, state operation.State) operation.Operation {
	t.Helper()
	f := store.Finish{Operation: op.ID, Attempt: op.Attempt, State: state}
	if state == operation.Unconfirmed {
		f.Question = "7f3a"
	}
	op, err := w.Finish(t.Context(), f)
	must(t, err)
	return op
}

func (w *world) held(t *testing.T) bool {
	t.Helper()
	_, held, err := w.Holder(t.Context(), acme.ID, "dev")
	must(t, err)
	return held
}

func acceptedOnce(t *testing.T, w *world) {
	d := store.Delivery{GUID: "g", Event: "push", Action: "", Installation: 1, Repository: 2, Payload: []byte(`{"a":1}`)}
	for i, want := range []bool{true, false, false} {
		fresh, err := w.Accept(t.Context(), d, []queue.Job{job("a", "1"), job("b", "2")})
		must(t, err)
		if fresh != want {
			t.Errorf("delivery number %d is fresh: %v", i+1, fresh)
		}
	}
	if c := w.claim(t, "1"); c.Job.Cause != "g" {
		t.Errorf("the job's cause is %q", c.Job.Cause)
	}
	w.claim(t, "2")
	w.claim(t, "")
}

func acceptedOnceByMany(t *testing.T, w *world) {
	fresh := together(t, 20, func() (bool, error) {
		return w.Accept(t.Context(), store.Delivery{GUID: "g"}, []queue.Job{job("a", "1")})
	})
	if fresh != 1 {
		t.Errorf("fresh %d times", fresh)
	}
	must(t, w.Done(t.Context(), w.claim(t, "1")))
	w.claim(t, "")
}

func orderOfKey(t *testing.T, w *world) {
	must(t, w.Enqueue(t.Context(), job("a", "a1"), job("a", "a2"), job("b", "b1")))
	a1 := w.claim(t, "a1")
	w.claim(t, "b1")
	w.claim(t, "")
	must(t, w.Done(t.Context(), a1))
	w.claim(t, "a2")

	long := job("c", "long")
	long.Class = queue.Long
	must(t, w.Enqueue(t.Context(), long, job("c", "quick")))
	w.claim(t, "") // one of its key and another class is earlier
}

// concurrentClaims lets many workers do jobs of few keys while they are being queued.
func concurrentClaims(t *testing.T, w *world) {
	const keys, each, workers = 4, 12, 8
	var mu sync.Mutex
	running, done := map[string]bool{}, map[string][]string{}
	var group sync.WaitGroup
	for key := range keys {
		group.Go(func() {
			for i := range each {
				fail(t, w.Enqueue(t.Context(), job(fmt.Sprint("k", key), strconv.Itoa(i))))
			}
		})
	}
	left := make(chan struct{}, keys*each)
	for range keys * each {
		left <- struct{}{}
	}
	for range workers {
		group.Go(func() {
			for range left {
				c, ok, err := w.Claim(t.Context(), queue.Quick, "w", lease)
				fail(t, err)
				if !ok {
					left <- struct{}{} // somebody has to come again
					continue
				}
				mu.Lock()
				if running[c.Job.Key] {
					t.Errorf("two jobs of %s run", c.Job.Key)
				}
				running[c.Job.Key] = true
				done[c.Job.Key] = append(done[c.Job.Key], string(c.Job.Payload))
				mu.Unlock()
				mu.Lock()
				delete(running, c.Job.Key)
				count := 0
				for _, list := range done {
					count += len(list)
				}
				mu.Unlock()
				fail(t, w.Done(t.Context(), c))
				if count == keys*each {
					close(left)
				}
			}
		})
	}
	group.Wait()
	for key, list := range done {
		for i, payload := range list {
			if payload != strconv.Itoa(i) {
				t.Errorf("%s ran in the order %v", key, list)
				break
			}
		}
	}
}

func waitingJob(t *testing.T, w *world) {
	must(t, w.Enqueue(t.Context(), job("a", "a1"), job("a", "a2")))
	must(t, w.Retry(t.Context(), w.claim(t, "a1"), time.Hour, "boom"))
	w.claim(t, "")
	w.clock.Advance(time.Hour)
	c := w.claim(t, "a1")
	if c.Attempt != 2 || c.Failures != 1 {
		t.Errorf("after a failure the claim is %+v", c)
	}
	must(t, w.Wait(t.Context(), c, 0, "a rate limit"))
	if c = w.claim(t, "a1"); c.Attempt != 3 || c.Failures != 1 {
		t.Errorf("after a wait the claim is %+v", c)
	}
}

func deadJob(t *testing.T, w *world) {
	must(t, w.Enqueue(t.Context(), job("a", "poison"), job("a", "a2")))
	must(t, w.Dead(t.Context(), w.claim(t, "poison"), "boom"))
	w.claim(t, "a2")
	w.claim(t, "")
	depths, err := w.Depths(t.Context())
	must(t, err)
	equal(t, depths, []store.Depth{{Class: queue.Quick, Running: 1, Dead: 1, Oldest: w.clock.Now()}})
}

func onceJob(t *testing.T, w *world) {
	once := job("a", "once")
	once.Once = true
	must(t, w.Enqueue(t.Context(), once, once))
	must(t, w.Enqueue(t.Context(), once))
	first := w.claim(t, "once")
	must(t, w.Enqueue(t.Context(), once, once)) // what it is about may have changed since the first one looked
	must(t, w.Done(t.Context(), first))
	must(t, w.Done(t.Context(), w.claim(t, "once")))
	w.claim(t, "")
}

func sameJob(t *testing.T, w *world) {
	alike := func(key, payload string) queue.Job {
		j := job(key, payload)
		j.Alike = true
		return j
	}
	must(t, w.Enqueue(t.Context(), alike("a", "1"), alike("a", "2"), alike("a", "1"), alike("a", "2"), alike("b", "1")))
	first := w.claim(t, "1")
	must(t, w.Enqueue(t.Context(), alike("a", "1"), alike("a", "1"))) // what runs may have looked already
	must(t, w.Done(t.Context(), w.claim(t, "1")))                     // of b
	must(t, w.Done(t.Context(), first))
	must(t, w.Retry(t.Context(), w.claim(t, "2"), time.Minute, "later"))
	must(t, w.Enqueue(t.Context(), alike("a", "2"), job("a", "2")))
	w.clock.Advance(time.Minute)
	for _, want := range []string{"2", "1", "2", "2", ""} {
		if c := w.claim(t, want); want != "" {
			must(t, w.Done(t.Context(), c))
		}
	}
}

func fencedJob(t *testing.T, w *world) {
	must(t, w.Enqueue(t.Context(), job("a", "1")))
	old := w.claim(t, "1")
	w.clock.Advance(lease - time.Second)
	w.claim(t, "")
	w.clock.Advance(time.Second)
	c := w.claim(t, "1")
	if c.Attempt != old.Attempt+1 || c.Failures != 1 {
		t.Errorf("the second claim is %+v", c)
	}
	for name, err := range map[string]error{
		"Extend": w.Extend(t.Context(), old, lease),
		"Done":   w.Done(t.Context(), old),
		"Retry":  w.Retry(t.Context(), old, 0, ""),
		"Wait":   w.Wait(t.Context(), old, 0, ""),
		"Dead":   w.Dead(t.Context(), old, ""),
	} {
		if !errors.Is(err, store.ErrLost) {
			t.Errorf("%s of the old claim gives %v", name, err)
		}
	}
	must(t, w.Done(t.Context(), c))
}

func extendedJob(t *testing.T, w *world) {
	must(t, w.Enqueue(t.Context(), job("a", "1")))
	c := w.claim(t, "1")
	for range 5 {
		w.clock.Advance(lease / 2)
		must(t, w.Extend(t.Context(), c, lease))
		w.claim(t, "")
	}
	must(t, w.Done(t.Context(), c))
}

func forgotten(t *testing.T, w *world) {
	for _, guid := range []string{"old", "new"} {
		_, err := w.Accept(t.Context(), store.Delivery{GUID: guid}, nil)
		must(t, err)
		w.clock.Advance(time.Hour)
	}
	gone, err := w.Forget(t.Context(), 90*time.Minute)
	must(t, err)
	again, err := w.Accept(t.Context(), store.Delivery{GUID: "new"}, nil)
	must(t, err)
	if gone != 1 || again {
		t.Errorf("%d forgotten; a remembered one is fresh: %v", gone, again)
	}
}

func readBack(t *testing.T, w *world) {
	op := plan(41)
	op.Base, op.Tree, op.Roots, op.Reason = "b", "t", []string{"src/terraform", "src/dns"}, "a new head"
	op.Warned = operation.Doubts{{Key: "push h", Text: "a force-push"}}
	op, err := w.CreateOperation(t.Context(), op)
	must(t, err)
	op, _, err = w.Start(t.Context(), op.ID)
	must(t, err)
	result := &operation.Result{Version: 1, Operation: op.ID, Attempt: 1, Targets: []operation.TargetResult{{Outcome: operation.Planned}}}
	w.clock.Advance(time.Minute)
	ended, err := w.Finish(t.Context(), store.Finish{
		Operation: op.ID, Attempt: 1, State: operation.Succeeded, Result: result, Message: "m", Doubt: "it would undo #41",
	})
	must(t, err)
	op.State, op.Result, op.Message, op.Doubt, op.Ended = operation.Succeeded, result, "m", "it would undo #41", w.clock.Now()
	equal(t, ended, op)
	read, err := w.Operation(t.Context(), op.ID)
	must(t, err)
	equal(t, read, op)
	if _, err := w.Operation(t.Context(), 999); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("an unknown operation gives %v", err)
	}
}

func filters(t *testing.T, w *world) {
	p, err := w.CreateOperation(t.Context(), plan(41))
	must(t, err)
	a := w.queueApply(t, apply("develop", "h1", 41, 42))
	other := apply("main", "h2", 43)
	other.Environment, other.Pull = "prod", 44
	b := w.queueApply(t, other)
	elsewhere := plan(41)
	elsewhere.Repository.ID = 8
	e, err := w.CreateOperation(t.Context(), elsewhere)
	must(t, err)
	for _, c := range []struct {
		filter store.Filter
		want   []int64
	}{
		{store.Filter{}, []int64{p.ID, a.ID, b.ID, e.ID}},
		{store.Filter{ID: a.ID}, []int64{a.ID}},
		{store.Filter{Repository: acme.ID}, []int64{p.ID, a.ID, b.ID}},
		{store.Filter{Repository: acme.ID, Environment: "prod"}, []int64{b.ID}},
		{store.Filter{Repository: acme.ID, Pull: 41}, []int64{p.ID, a.ID}},
		{store.Filter{Repository: acme.ID, Pull: 44}, []int64{b.ID}},
		{store.Filter{Repository: acme.ID, Pull: 41, Kinds: []operation.Kind{operation.Apply}}, []int64{a.ID}},
		{store.Filter{States: []operation.State{operation.Running, operation.Failed}}, nil},
		{store.Filter{Repository: acme.ID, Newest: true, Limit: 2}, []int64{b.ID, a.ID}},
	} {
		ops, err := w.Operations(t.Context(), c.filter)
		must(t, err)
		var ids []int64
		for _, op := range ops {
			ids = append(ids, op.ID)
		}
		equal(t, ids, c.want)
	}
}

func superseded(t *testing.T, w *world) {
	var ops []operation.Operation
	for _, pull := range []int{1, 1, 1, 2} {
		op, err := w.CreateOperation(t.Context(), plan(pull))
		must(t, err)
		ops = append(ops, op)
	}
	running, _, err := w.Start(t.Context(), ops[0].ID)
	must(t, err)
	stop, err := w.SupersedePlans(t.Context(), acme.ID, 1, ops[2].ID, "a newer head")
	must(t, err)
	if len(stop) != 1 || stop[0].ID != running.ID || stop[0].State != operation.Superseded {
		t.Errorf("to be stopped: %v", stop)
	}
	for i, want := range []operation.State{operation.Superseded, operation.Superseded, operation.Queued, operation.Queued} {
		op, err := w.Operation(t.Context(), ops[i].ID)
		must(t, err)
		if op.State != want {
			t.Errorf("plan %d is %s", i, op.State)
		}
	}
	_, err = w.Finish(t.Context(), store.Finish{Operation: running.ID, Attempt: running.Attempt, State: operation.Succeeded})
	if !errors.Is(err, store.ErrTransition) {
		t.Errorf("the end of a superseded plan gives %v", err)
	}
}

func gathers(t *testing.T, w *world) {
	start := w.clock.Now()
	w.queueApply(t, apply("develop", "h1", 1))
	asks := w.takeHold(t)
	w.clock.Advance(time.Minute)
	hotfix := apply("develop", "h2", 2)
	hotfix.Priority, hotfix.Warned = 10, operation.Doubts{{Key: "push h2 develop", Text: "develop was force-pushed"}}
	hotfix = w.queueApply(t, hotfix)
	w.clock.Advance(time.Minute)
	elsewhere := w.queueApply(t, apply("release/1.0", "h9", 9))
	asks = w.finish(t, asks, operation.Unconfirmed)
	w.clock.Advance(time.Minute)
	newest, gathered, err := w.QueueApply(t.Context(), apply("develop", "h3", 3, 2))
	must(t, err)
	if len(gathered) != 2 || gathered[0].ID != asks.ID || gathered[1].ID != hotfix.ID {
		t.Fatalf("gathered %v", gathered)
	}
	for _, old := range gathered {
		read, err := w.Operation(t.Context(), old.ID)
		must(t, err)
		equal(t, read, old)
		if old.State != operation.Gathered || old.GatheredIn != newest.ID || old.Ended.IsZero() {
			t.Errorf("the gathered one is %+v", old)
		}
	}
	read, err := w.Operation(t.Context(), newest.ID)
	must(t, err)
	equal(t, read, newest)
	equal(t, newest.Pulls, []int{1, 2, 3})
	if !newest.Arrived.Equal(start) || newest.Priority != 10 || newest.Doubt != hotfix.Doubt {
		t.Errorf("the newest is %+v", newest)
	}
	if other, err := w.Operation(t.Context(), elsewhere.ID); err != nil || other.State != operation.Queued {
		t.Errorf("the apply of another branch is %s, %v", other.State, err)
	}
}

func sameHead(t *testing.T, w *world) {
	first := w.queueApply(t, apply("develop", "h1", 1))
	for _, state := range []operation.State{operation.Queued, operation.Running, operation.Unconfirmed} {
		again, gathered, err := w.QueueApply(t.Context(), apply("develop", "h1", 1))
		must(t, err)
		if again.ID != first.ID || again.State != state || gathered != nil {
			t.Errorf("while %s: %v, gathered %v", state, again, gathered)
		}
		switch state { //nolint:exhaustive // the states of the loop
		case operation.Queued:
			first = w.takeHold(t)
		case operation.Running:
			first = w.finish(t, first, operation.Unconfirmed)
		}
	}
	anew, gathered, err := w.QueueApplyAgain(t.Context(), apply("develop", "h1", 1), 901)
	must(t, err)
	if anew.ID == first.ID || len(gathered) != 1 {
		t.Errorf("asked for anew: %v, gathered %v", anew, gathered)
	}
	if id, err := w.Requested(t.Context(), anew.Repository.ID, 901); err != nil || id != anew.ID {
		t.Errorf("the comment led to %d, %v, want %d", id, err, anew.ID)
	}
	if _, _, err := w.QueueApplyAgain(t.Context(), apply("develop", "h1", 1), 901); err == nil {
		t.Error("a comment is taken twice")
	}
	yes := apply("develop", "h1", 1)
	yes.Confirmed = "7f3a"
	if confirmed := w.queueApply(t, yes); confirmed.ID == anew.ID || confirmed.Confirmed != "7f3a" {
		t.Errorf("with a yes: %+v", confirmed)
	}
}

func holdOfMany(t *testing.T, w *world) {
	for i := range 3 {
		w.queueApply(t, apply(fmt.Sprint("branch-", i), "h"))
	}
	for range 3 {
		taken := together(t, 10, func() (bool, error) {
			_, ok, err := w.TakeHold(t.Context(), acme.ID, "dev")
			return ok, err
		})
		if taken != 1 {
			t.Fatalf("taken %d times", taken)
		}
		op, _, err := w.Holder(t.Context(), acme.ID, "dev")
		must(t, err)
		w.finish(t, op, operation.Failed)
	}
	if _, ok, err := w.TakeHold(t.Context(), acme.ID, "dev"); ok || err != nil {
		t.Errorf("with nothing in line: %v, %v", ok, err)
	}
}

func holdOrder(t *testing.T, w *world) {
	hotfix := apply("c", "h")
	hotfix.Priority = 10
	var want []int64
	for _, op := range []operation.Operation{apply("a", "h"), apply("b", "h"), hotfix} {
		want = append(want, w.queueApply(t, op).ID)
		w.clock.Advance(time.Second)
	}
	elsewhere := apply("a", "h")
	elsewhere.Environment = "test"
	w.queueApply(t, elsewhere)
	if _, ok, err := w.TakeHold(t.Context(), acme.ID, "test"); !ok || err != nil {
		t.Errorf("the hold of another environment: %v, %v", ok, err)
	}
	for _, id := range []int64{want[2], want[0], want[1]} {
		op := w.takeHold(t)
		if op.ID != id || op.State != operation.Running || op.Attempt != 1 {
			t.Errorf("%+v has the hold, want operation %d", op, id)
		}
		w.finish(t, op, operation.Succeeded)
	}
}

func finishes(t *testing.T, w *world) {
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	state := store.TargetState{
		Repository: acme.ID, Target: operation.Target{Root: "src/terraform", Environment: "dev"},
		Applied: "h1", Lineage: "l", Serial: 3, Operation: op.ID, At: w.clock.Now(),
	}
	_, err := w.Finish(t.Context(), store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded, Applied: []store.TargetState{state},
	})
	must(t, err)
	if w.held(t) {
		t.Error("the hold is still taken")
	}
	states, err := w.Targets(t.Context(), acme.ID, "dev")
	must(t, err)
	equal(t, states, []store.TargetState{state})
}

func fencedFinish(t *testing.T, w *world) {
	w.queueApply(t, apply("develop", "h1"))
	old := w.finish(t, w.takeHold(t), operation.Unconfirmed)
	_, err := w.Confirm(t.Context(), old.ID, "7f3a", "ana", 0)
	must(t, err)
	op := w.takeHold(t)
	if op.Attempt != old.Attempt+1 {
		t.Errorf("attempt %d follows %d", op.Attempt, old.Attempt)
	}
	late := store.Finish{
		Operation: old.ID, Attempt: old.Attempt, State: operation.Succeeded, Applied: []store.TargetState{{Repository: acme.ID}},
	}
	if _, err := w.Finish(t.Context(), late); !errors.Is(err, store.ErrLost) {
		t.Errorf("the end of an old attempt gives %v", err)
	}
	if !w.held(t) {
		t.Error("a late attempt gave the hold back")
	}
}

func confirmed(t *testing.T, w *world) {
	arrived := w.queueApply(t, apply("develop", "h1")).Arrived
	op := w.finish(t, w.takeHold(t), operation.Unconfirmed)
	if op.Question != "7f3a" || w.held(t) {
		t.Errorf("unconfirmed: %+v, held: %v", op, w.held(t))
	}
	w.clock.Advance(time.Hour)
	for _, wrong := range []string{"beef", ""} {
		if _, err := w.Confirm(t.Context(), op.ID, wrong, "ana", 0); !errors.Is(err, store.ErrQuestion) {
			t.Errorf("a yes to %q gives %v", wrong, err)
		}
	}
	op, err := w.Confirm(t.Context(), op.ID, "7f3a", "ana", 0)
	must(t, err)
	if op.State != operation.Queued || op.Confirmed != "7f3a" || op.ConfirmedBy != "ana" || op.Question != "" || !op.Arrived.Equal(arrived) {
		t.Errorf("confirmed: %+v", op)
	}
	if _, err := w.Confirm(t.Context(), op.ID, "7f3a", "ana", 0); !errors.Is(err, store.ErrTransition) {
		t.Errorf("a second yes gives %v", err)
	}
}

func refused(t *testing.T, w *world) {
	end := func(op operation.Operation, state operation.State) error {
		_, err := w.Finish(t.Context(), store.Finish{Operation: op.ID, Attempt: op.Attempt, State: state})
		return err
	}
	cancel := func(op operation.Operation) error {
		_, err := w.Cancel(t.Context(), op.ID, "ana", "no")
		return err
	}
	queued := w.queueApply(t, apply("develop", "h1"))
	refuse := func(name string, err error) {
		t.Helper()
		if !errors.Is(err, store.ErrTransition) {
			t.Errorf("%s gives %v", name, err)
		}
	}
	refuse("succeeding without a start", end(queued, operation.Succeeded))
	refuse("starting by Finish", end(queued, operation.Running))
	refuse("gathering by Finish", end(queued, operation.Gathered))
	running := w.takeHold(t)
	refuse("cancelling what runs", cancel(running))
	refuse("finishing as queued", end(running, operation.Queued))
	refuse("finishing as nothing", end(running, ""))
	asks := w.finish(t, running, operation.Unconfirmed)
	refuse("succeeding while it asks", end(asks, operation.Succeeded))
	refuse("queueing by Finish", end(asks, operation.Queued))
	must(t, cancel(asks))
	refuse("cancelling twice", cancel(asks))
	refuse("failing after the end", end(asks, operation.Failed))
	if _, err := w.Cancel(t.Context(), 999, "ana", ""); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("cancelling nothing gives %v", err)
	}
}

// Whoever releases a hold has looked at who has it, and that may be somebody else by now.
func released(t *testing.T, w *world) {
	lost := func(name string, seen operation.Operation) {
		t.Helper()
		if _, err := w.release(t, seen, "ana", "m"); !errors.Is(err, store.ErrLost) {
			t.Errorf("%s gives %v", name, err)
		}
		if !w.held(t) {
			t.Errorf("%s released the hold", name)
		}
	}
	w.queueApply(t, apply("develop", "h1"))
	seen := w.takeHold(t)
	_, err := w.Requeue(t.Context(), seen.ID, seen.Attempt, "", "the server stopped")
	must(t, err)
	next := w.takeHold(t)
	lost("releasing an attempt that was put back", seen)
	must(t, w.Launch(t.Context(), next.ID, next.Attempt, "one", "nonce"))
	lost("releasing what was not launched when it was seen", next)
	next.Host = "one"
	op, err := w.release(t, next, "ana", "ana unlocked dev")
	must(t, err)
	if op.ID != next.ID || op.State != operation.Interrupted || op.Message != "ana unlocked dev" || w.held(t) {
		t.Errorf("released: %+v", op)
	}
	_, err = w.Finish(t.Context(), store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded})
	if !errors.Is(err, store.ErrTransition) {
		t.Errorf("its end afterwards gives %v", err)
	}
	w.queueApply(t, apply("develop", "h2"))
	w.takeHold(t)
	lost("releasing twice", next)
}

// A plan that is running when its job is claimed lost its worker: nobody else could have claimed it.
func startedAnew(t *testing.T, w *world) {
	p, err := w.CreateOperation(t.Context(), plan(1))
	must(t, err)
	old, _, err := w.Start(t.Context(), p.ID)
	must(t, err)
	must(t, w.Launch(t.Context(), p.ID, old.Attempt, "one", "nonce"))
	w.clock.Advance(time.Minute)
	p, ok, err := w.Start(t.Context(), p.ID)
	must(t, err)
	if !ok || p.Attempt != old.Attempt+1 || p.State != operation.Running || p.Host != "" || !p.Started.Equal(w.clock.Now()) {
		t.Errorf("started anew: %v, %+v", ok, p)
	}
	for _, state := range []operation.State{operation.Succeeded, operation.Failed} {
		if _, err := w.Finish(t.Context(), store.Finish{Operation: p.ID, Attempt: old.Attempt, State: state}); !errors.Is(err, store.ErrLost) {
			t.Errorf("the end of the lost attempt gives %v", err)
		}
	}
	if err := w.Launch(t.Context(), p.ID, old.Attempt, "one", "nonce"); !errors.Is(err, store.ErrLost) {
		t.Errorf("the launch of the lost attempt gives %v", err)
	}
	w.finish(t, p, operation.Succeeded)
	if again, ok, err := w.Start(t.Context(), p.ID); err != nil || ok {
		t.Errorf("started after its end: %v, %v, %v", again, ok, err)
	}
	if _, _, err := w.Start(t.Context(), w.queueApply(t, apply("develop", "h")).ID); err == nil {
		t.Error("an apply was started without a hold")
	}
}

func launched(t *testing.T, w *world) {
	queued := w.queueApply(t, apply("develop", "h1"))
	if err := w.Launch(t.Context(), queued.ID, queued.Attempt, "one", "nonce"); !errors.Is(err, store.ErrLost) {
		t.Errorf("launching what waits gives %v", err)
	}
	op := w.takeHold(t)
	if op.Host != "" {
		t.Errorf("before its launch it is on %q", op.Host)
	}
	must(t, w.Launch(t.Context(), op.ID, op.Attempt, "one", "nonce"))
	holder, _, err := w.Holder(t.Context(), acme.ID, "dev")
	must(t, err)
	if holder.Host != "one" || holder.Launch != "nonce" {
		t.Errorf("the holder is on %q, launched as %q", holder.Host, holder.Launch)
	}
	if err := w.Launch(t.Context(), op.ID, op.Attempt, "one", "another"); !errors.Is(err, store.ErrLost) {
		t.Errorf("launching twice gives %v", err)
	}
	// Somebody read it before the launch, and would put back what runs.
	if _, err := w.Requeue(t.Context(), op.ID, op.Attempt, "", "it was never started"); !errors.Is(err, store.ErrLost) {
		t.Errorf("Requeue by who does not know the host gives %v", err)
	}
	back, err := w.Requeue(t.Context(), op.ID, op.Attempt, "one", "the runner could not be started")
	must(t, err)
	if back.State != operation.Queued || back.Host != "" || w.held(t) || !back.Arrived.Equal(queued.Arrived) {
		t.Errorf("put back: %+v, held: %v", back, w.held(t))
	}
	if err := w.Launch(t.Context(), op.ID, op.Attempt, "two", "nonce"); !errors.Is(err, store.ErrLost) {
		t.Errorf("launching what was put back gives %v", err)
	}
	if again := w.takeHold(t); again.ID != op.ID || again.Attempt <= op.Attempt {
		t.Errorf("then %+v has the hold", again)
	}
}

func baselines(t *testing.T, w *world) {
	target := operation.Target{Root: "src/terraform", Environment: "dev"}
	for _, baseline := range []string{"b1", "b2"} {
		must(t, w.SetBaselines(t.Context(), []store.TargetState{{Repository: acme.ID, Target: target, Baseline: baseline}}))
	}
	w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	_, err := w.Finish(t.Context(), store.Finish{
		Operation: op.ID, Attempt: 1, State: operation.Succeeded,
		Applied: []store.TargetState{{Repository: acme.ID, Target: target, Applied: "h1", Operation: op.ID}},
	})
	must(t, err)
	states, err := w.Targets(t.Context(), acme.ID, "dev")
	must(t, err)
	equal(t, states, []store.TargetState{{
		Repository: acme.ID, Target: target, Applied: "h1", Baseline: "b1", Operation: op.ID, At: w.clock.Now(),
	}})
}

func duration(t *testing.T, w *world) {
	if _, ok, err := w.UsualDuration(t.Context(), acme.ID, "dev", operation.Apply); ok || err != nil {
		t.Errorf("without any: %v, %v", ok, err)
	}
	for i, minutes := range []int{90, 90, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10} {
		w.queueApply(t, apply("develop", strconv.Itoa(i)))
		op := w.takeHold(t)
		w.clock.Advance(time.Duration(minutes) * time.Minute)
		w.finish(t, op, operation.Succeeded)
	}
	w.queueApply(t, apply("develop", "fails"))
	w.finish(t, w.takeHold(t), operation.Failed)
	usually, ok, err := w.UsualDuration(t.Context(), acme.ID, "dev", operation.Apply)
	must(t, err)
	if !ok || usually != 6*time.Minute {
		t.Errorf("usually %v, %v", usually, ok)
	}
}

func facts(t *testing.T, w *world) {
	ctx := t.Context()
	for _, sha := range []string{"s1", "s2"} {
		must(t, w.SetBranchTip(ctx, 7, "develop", sha))
		must(t, w.SavePull(ctx, 7, 41, sha, []byte(`{"head":"`+sha+`"}`)))
		must(t, w.SavePull(ctx, 7, 40, "s2", []byte(`{}`)))
		must(t, w.SavePull(ctx, 8, 40, "s2", []byte(`{}`)))
		must(t, w.SaveCommitPulls(ctx, 7, map[string]int{"c1": 0, "c2": len(sha), sha: 41}))
	}
	must(t, w.SaveRepository(ctx, acme, "develop"))
	tip, ok, err := w.BranchTip(ctx, 7, "develop")
	equal(t, []any{tip, ok, err}, []any{"s2", true, nil})
	data, ok, err := w.Pull(ctx, 7, 41)
	equal(t, []any{string(data), ok, err}, []any{`{"head":"s2"}`, true, nil})
	for head, want := range map[string][][]byte{"s1": nil, "s2": {[]byte(`{}`), []byte(`{"head":"s2"}`)}} {
		views, err := w.PullsAt(ctx, 7, head)
		must(t, err)
		equal(t, views, want)
	}
	many := []string{"c1", "c2", "s1"}
	for i := range 1200 {
		many = append(many, fmt.Sprint("unknown-", i))
	}
	pulls, err := w.CommitPulls(ctx, 7, append(many, "s2"))
	must(t, err)
	equal(t, pulls, map[string]int{"c1": 0, "c2": 2, "s1": 41, "s2": 41})
	repo, branch, ok, err := w.Repository(ctx, 7)
	equal(t, []any{repo, branch, ok, err}, []any{acme, "develop", true, nil})

	must(t, w.DropBranch(ctx, 7, "develop"))
	_, ok, err = w.BranchTip(ctx, 7, "develop")
	equal(t, []any{ok, err}, []any{false, nil})
	must(t, w.Want(ctx, check("c", 1)))
	must(t, w.RemoveRepository(ctx, 7))
	_, _, ok, err = w.Repository(ctx, 7)
	equal(t, []any{ok, err}, []any{false, nil})
	_, ok, err = w.Pull(ctx, 7, 41)
	equal(t, []any{ok, err}, []any{false, nil})
	if pending, err := w.PendingSurfaces(ctx); err != nil || len(pending) != 0 {
		t.Errorf("%v wait for a repository that is gone, %v", pending, err)
	}
}

func rename(t *testing.T, w *world) {
	must(t, w.SaveRepository(t.Context(), acme, "develop"))
	op := w.queueApply(t, apply("develop", "h"))
	must(t, w.Want(t.Context(), check("c", 1)))
	renamed := operation.Repository{ID: acme.ID, Installation: 71, Owner: "apex", Name: "net"}
	must(t, w.SaveRepository(t.Context(), renamed, "develop"))
	op, err := w.Operation(t.Context(), op.ID)
	must(t, err)
	equal(t, op.Repository, renamed)
	surface, _, err := w.Surface(t.Context(), acme.ID, "c")
	must(t, err)
	equal(t, surface.Repository, renamed)
	repos, err := w.Repositories(t.Context())
	must(t, err)
	equal(t, repos, []operation.Repository{renamed})
}

func names(t *testing.T, w *world) {
	for _, name := range []string{"a'b", `"; DROP TABLE jobs; --`, "$(id)", "../..", "ünï\n$1?2", string(slices.Repeat([]byte("x"), 300))} {
		must(t, w.SetBranchTip(t.Context(), 7, name, "s"))
		if tip, ok, err := w.BranchTip(t.Context(), 7, name); err != nil || !ok || tip != "s" {
			t.Errorf("the tip of %q: %q, %v, %v", name, tip, ok, err)
		}
		must(t, w.Enqueue(t.Context(), job(name, "p")))
		if c := w.claim(t, "p"); c.Job.Key != name {
			t.Errorf("key %q came back as %q", name, c.Job.Key)
		}
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fail is must for goroutines.
func fail(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func equal(t *testing.T, got, want any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("not as expected (-want +got):\n%s", diff)
	}
}

// together does the same in several goroutines at once and counts how many of them it succeeded for.
func together(t *testing.T, times int, do func() (bool, error)) int {
	t.Helper()
	var group sync.WaitGroup
	begin := make(chan struct{})
	successes := make(chan struct{}, times)
	for range times {
		group.Go(func() {
			<-begin
			ok, err := do()
			fail(t, err)
			if ok {
				successes <- struct{}{}
			}
		})
	}
	close(begin)
	group.Wait()
	return len(successes)
}
