package storetest

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// many queues jobs of a lane, each of its own key.
func (w *world) many(t *testing.T, lane string, number int) {
	t.Helper()
	jobs := make([]queue.Job, number)
	for i := range jobs {
		jobs[i] = job(fmt.Sprint(lane, w.clock.Now().UnixMilli(), i), lane)
		jobs[i].Lane = lane
	}
	must(t, w.Enqueue(t.Context(), jobs...))
}

// served claims and does jobs, and says of which lanes they were.
func (w *world) served(t *testing.T, number int) string {
	t.Helper()
	var lanes []string
	for range number {
		c, ok, err := w.Claim(t.Context(), queue.Quick, "w", lease)
		must(t, err)
		if !ok {
			return strings.Join(append(lanes, "none"), " ")
		}
		lanes = append(lanes, c.Job.Lane)
		must(t, w.Done(t.Context(), c))
	}
	return strings.Join(lanes, " ")
}

func lanes(t *testing.T, w *world) {
	w.many(t, "a", 50)
	equal(t, w.served(t, 2), "a"+" a")
	w.many(t, "b", 3)
	equal(t, w.served(t, 6), "a b a b a b")
	w.clock.Advance(time.Second)
	w.many(t, "c", 1)
	w.many(t, "b", 2)
	equal(t, w.served(t, 6), "a c b a b a") // what comes later takes the next turn, not the turns of the past
	long := job("long", "long")
	long.Class, long.Lane = queue.Long, "a"
	must(t, w.Enqueue(t.Context(), long))
	c, ok, err := w.Claim(t.Context(), queue.Long, "w", lease)
	must(t, err)
	if !ok || string(c.Job.Payload) != "long" {
		t.Errorf("the other class has %+v, %v", c, ok)
	}

	// One job at a time never holds up those that wait: the place of who comes again and again is behind them.
	for i := range 4 {
		w.clock.Advance(time.Second)
		w.many(t, "d", 1)
		got := w.served(t, 2)
		if got != "d a" && got != "a d" {
			t.Errorf("round %d: %s", i, got)
		}
	}
}

func lanesComeBack(t *testing.T, w *world) {
	w.many(t, "a", 20)
	for range 20 {
		c, _, err := w.Claim(t.Context(), queue.Quick, "w", lease)
		must(t, err)
		must(t, w.Retry(t.Context(), c, time.Minute, "502"))
	}
	w.many(t, "b", 10)
	equal(t, w.served(t, 10), strings.TrimSpace(strings.Repeat("b ", 10)))
	w.clock.Advance(time.Minute)
	w.many(t, "b", 5)
	got := w.served(t, 10)
	if strings.Count(got, "b") != 5 {
		t.Errorf("after the outage the turns are %s", got)
	}
	equal(t, w.served(t, 16), strings.Repeat("a ", 15)+"none")
}

func revived(t *testing.T, w *world) {
	ctx := t.Context()
	first := job("a", "poison")
	first.Lane, first.Cause = "lane", "guid"
	must(t, w.Enqueue(ctx, first, job("a", "a2"), job("a", "a3"), job("b", "b1")))
	must(t, w.Dead(ctx, w.claim(t, "poison"), "boom"))
	w.clock.Advance(time.Minute)
	b := w.claim(t, "b1")
	must(t, w.Dead(ctx, b, "bang"))
	dead, err := w.DeadJobs(ctx, 10)
	must(t, err)
	now := w.clock.Now()
	other := job("b", "b1")
	other.Lane = "b"
	equal(t, dead, []store.DeadJob{
		{ID: b.ID, Job: other, Failures: 1, Reason: "bang", Created: now.Add(-time.Minute), Died: now},
		{ID: dead[1].ID, Job: first, Failures: 1, Reason: "boom", Created: now.Add(-time.Minute), Died: now.Add(-time.Minute)},
	})
	must(t, w.Revive(ctx, dead[1].ID))
	if err := w.Revive(ctx, dead[1].ID); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("reviving twice gives %v", err)
	}
	for _, want := range []string{"a2", "poison", "a3"} { // after the one that is first of its key now
		c := w.claim(t, want)
		if c.Failures != 0 {
			t.Errorf("%s has failed %d times", want, c.Failures)
		}
		w.claim(t, "")
		must(t, w.Done(ctx, c))
	}
	must(t, w.Revive(ctx, b.ID)) // nothing else of its key is left
	must(t, w.Dead(ctx, w.claim(t, "b1"), "again"))

	w.clock.Advance(time.Hour)
	if _, err := w.Forget(ctx, time.Minute); err != nil {
		t.Error(err)
	}
	if dead, err = w.DeadJobs(ctx, 10); err != nil || len(dead) != 0 {
		t.Errorf("after they were forgotten: %v, %v", dead, err)
	}
}

func hastened(t *testing.T, w *world) {
	ctx := t.Context()
	of := func(key string, class queue.Class) queue.Job {
		j := job(key, key)
		j.Class, j.Lane = class, "repository"
		return j
	}
	must(t, w.Enqueue(ctx, of("b1", queue.Bots), of("b2", queue.Bots), of("b3", queue.Bots), of("b3", queue.Bots), of("p1", queue.Long)))
	claim := func(class queue.Class, want string) queue.Claim {
		t.Helper()
		c, ok, err := w.Claim(ctx, class, "w", lease)
		must(t, err)
		if ok != (want != "") || c.Job.Key != want {
			t.Fatalf("claimed %q of %s, want %q", c.Job.Key, class, want)
		}
		return c
	}
	running := claim(queue.Bots, "b1")
	for _, key := range []string{"b1", "b3", "b3", "nothing"} { // one that runs stays, and twice is as good as once
		must(t, w.Hasten(ctx, key, queue.Long))
	}
	claim(queue.Long, "p1")
	must(t, w.Done(ctx, claim(queue.Long, "b3")))
	must(t, w.Done(ctx, claim(queue.Long, "b3"))) // the one behind it too
	claim(queue.Long, "")
	must(t, w.Done(ctx, running))
	claim(queue.Bots, "b2")
	claim(queue.Bots, "")
}

func peopleFirst(t *testing.T, w *world) {
	ctx := t.Context()
	for i := range 20 {
		wish := check(fmt.Sprint("bot", i), i)
		wish.Priority = store.ForBots
		must(t, w.Want(ctx, wish))
	}
	w.clock.Advance(time.Second)
	must(t, w.Want(ctx, check("person", "p")))
	must(t, w.Want(ctx, check("bot3", 3))) // the same, but now a person waits for it
	for _, want := range []string{"3", `"p"`, "0", "1", "2", "4"} {
		if surface := w.claimSurface(t, want); surface.Priority != store.ForPeople && want == "3" {
			t.Errorf("its priority is %d", surface.Priority)
		}
	}
}

func pausedInstallations(t *testing.T, w *world) {
	ctx := t.Context()
	for installation := range int64(3) {
		for i := range 2 {
			wish := check(fmt.Sprint("c", i), fmt.Sprint(installation, i))
			wish.Repository = operation.Repository{ID: installation, Installation: installation}
			must(t, w.Want(ctx, wish))
		}
	}
	pending, err := w.PendingSurfaces(ctx)
	must(t, err)
	now := w.clock.Now()
	equal(t, pending, []store.Pending{
		{Installation: 0, Surfaces: 2, Oldest: now}, {Installation: 1, Surfaces: 2, Oldest: now}, {Installation: 2, Surfaces: 2, Oldest: now},
	})
	for range 2 {
		surface, ok, err := w.ClaimSurface(ctx, lease, store.Pause{Installation: 0}, store.Pause{Installation: 2})
		must(t, err)
		if !ok || surface.Repository.Installation != 1 {
			t.Errorf("claimed %+v, %v", surface, ok)
		}
	}
	if surface, ok, err := w.ClaimSurface(ctx, lease, store.Pause{Installation: 0}, store.Pause{Installation: 2}); ok || err != nil {
		t.Errorf("claimed of a paused installation: %+v, %v", surface, err)
	}
	w.claimSurface(t, `"0 0"`)

	wish := check("by a bot", "bot")
	wish.Repository, wish.Priority = operation.Repository{ID: 9, Installation: 9}, store.ForBots
	must(t, w.Want(ctx, wish))
	wish.Key, wish.Wanted, wish.Priority = "by a person", "person", store.ForPeople
	must(t, w.Want(ctx, wish))
	pauses := []store.Pause{{Installation: 0}, {Installation: 2}, {Installation: 9, Bots: true}}
	if surface, ok, err := w.ClaimSurface(ctx, lease, pauses...); !ok || err != nil || string(surface.Wanted) != `"person"` {
		t.Errorf("claimed %s, %v", surface.Wanted, err)
	}
	if surface, ok, err := w.ClaimSurface(ctx, lease, pauses...); ok || err != nil {
		t.Errorf("claimed for a bot that has to wait: %s, %v", surface.Wanted, err)
	}
}

func replicas(t *testing.T, w *world) {
	ctx := t.Context()
	start := w.clock.Now()
	must(t, w.Beat(ctx, "r1", "one"))
	w.clock.Advance(10 * time.Second)
	must(t, w.Beat(ctx, "r2", "two"))
	must(t, w.Beat(ctx, "r1", "one, renamed"))
	w.clock.Advance(15*time.Second - time.Millisecond)
	seen := start.Add(10 * time.Second)
	want := []store.Replica{
		{ID: "r1", Name: "one, renamed", Started: start, Seen: seen, Alive: true},
		{ID: "r2", Name: "two", Started: seen, Seen: seen, Alive: true},
	}
	all, err := w.Replicas(ctx)
	must(t, err)
	equal(t, all, want)
	must(t, w.Beat(ctx, "r2", "two"))
	w.clock.Advance(time.Millisecond)
	all, err = w.Replicas(ctx)
	must(t, err)
	if all[0].Alive || !all[1].Alive {
		t.Errorf("15 s after the first one's last sign of life: %+v", all)
	}
	_, err = w.Forget(ctx, time.Second)
	must(t, err)
	if all, err = w.Replicas(ctx); err != nil || len(all) != 1 || all[0].ID != "r2" {
		t.Errorf("after one was forgotten: %+v, %v", all, err)
	}
}

func auditFilters(t *testing.T, w *world) {
	ctx := t.Context()
	start := w.clock.Now()
	for i, environment := range []string{"dev", "prod", "dev"} {
		must(t, w.Append(ctx, store.Audit{Repository: acme.ID, Environment: environment, What: strconv.Itoa(i)}))
		w.clock.Advance(time.Minute)
	}
	must(t, w.Append(ctx, store.Audit{Repository: 8, Environment: "dev", What: "elsewhere"}))
	for _, c := range []struct {
		filter store.AuditFilter
		want   string
	}{
		{store.AuditFilter{}, "elsewhere 2 1 0"},
		{store.AuditFilter{Ascending: true, Limit: 3}, "0 1 2"},
		{store.AuditFilter{Repository: acme.ID}, "2 1 0"},
		{store.AuditFilter{Repository: acme.ID, Environment: "dev"}, "2 0"},
		{store.AuditFilter{Environment: "dev", Limit: 1}, "elsewhere"},
		{store.AuditFilter{Repository: acme.ID, Since: start.Add(time.Minute), Ascending: true}, "1 2"},
	} {
		trail, err := w.AuditTrail(ctx, c.filter)
		must(t, err)
		var what []string
		for _, line := range trail {
			what = append(what, line.What)
		}
		equal(t, strings.Join(what, " "), c.want)
	}
}

// A hold can be followed from who took it to who gave it back, and why.
func auditedHolds(t *testing.T, w *world) {
	ctx := t.Context()
	lines := func() string {
		t.Helper()
		trail, err := w.AuditTrail(ctx, store.AuditFilter{Repository: acme.ID, Ascending: true})
		must(t, err)
		var all []string
		for _, line := range trail {
			if strings.HasPrefix(line.What, "hold") || strings.HasSuffix(line.What, "launched") || strings.HasSuffix(line.What, "cancelled") {
				all = append(all, fmt.Sprintf("%d %s by %s: %s", line.Operation, line.What, line.Who, line.Why))
			}
		}
		return strings.Join(all, "\n")
	}
	first := w.queueApply(t, apply("develop", "h1"))
	op := w.takeHold(t)
	must(t, w.Beat(ctx, "id-of-host-1", "host-1"))
	must(t, w.Launch(ctx, op.ID, op.Attempt, "id-of-host-1", "a"))
	op.Host = "id-of-host-1"
	_, err := w.release(t, op, "ana", "unlocked by ana")
	must(t, err)
	second := w.queueApply(t, apply("main", "h2"))
	op = w.takeHold(t)
	_, err = w.Requeue(ctx, op.ID, op.Attempt, "", "the server stopped")
	must(t, err)
	_, err = w.Cancel(ctx, op.ID, "bob", "not today")
	must(t, err)
	equal(t, lines(), fmt.Sprintf(`%[1]d hold taken by switchyard: it was next in line
%[1]d apply launched by switchyard: its runner is started on host-1
%[1]d hold released by ana: unlocked by ana
%[2]d hold taken by switchyard: it was next in line
%[2]d hold released by switchyard: the server stopped
%[2]d apply cancelled by bob: not today`, first.ID, second.ID))
}

// The job that drives an environment may have been queued by the webhook of another operation.
func auditedDeliveries(t *testing.T, w *world) {
	merged := func(head string) operation.Operation {
		op := apply("develop", head)
		op.Reason = "#41 was merged"
		return op
	}
	merge := store.Because(t.Context(), "merge")
	op, _, err := w.QueueApply(merge, merged("h1"))
	must(t, err)
	other := store.Because(t.Context(), "another one's")
	step := func() operation.Operation {
		t.Helper()
		op, _, err := w.TakeHold(other, acme.ID, "dev")
		must(t, err)
		must(t, w.Launch(other, op.ID, op.Attempt, "one", "nonce"))
		return op
	}
	running := step()
	_, err = w.Finish(other, store.Finish{Operation: op.ID, Attempt: running.Attempt, State: operation.Unconfirmed, Question: "7f3a"})
	must(t, err)
	_, err = w.Confirm(store.Because(t.Context(), "comment"), op.ID, "7f3a", "bob", 1)
	must(t, err)
	running = step()
	_, err = w.Finish(other, store.Finish{Operation: op.ID, Attempt: running.Attempt, State: operation.Succeeded})
	must(t, err)
	_, _, err = w.QueueApply(merge, merged("h2"))
	must(t, err)
	_, _, err = w.QueueApply(store.Because(t.Context(), "later merge"), merged("h3"))
	must(t, err)
	trail, err := w.AuditTrail(t.Context(), store.AuditFilter{Repository: acme.ID, Ascending: true})
	must(t, err)
	var lines []string
	for _, line := range trail {
		lines = append(lines, fmt.Sprintf("%s: %s (%s)", line.What, line.Delivery, line.Why))
	}
	equal(t, lines, []string{
		"apply queued: merge (#41 was merged)",
		"apply running: merge (took the hold of dev)",
		"hold taken: merge (it was next in line)",
		"apply launched: merge (its runner is started on one)",
		"apply unconfirmed: merge (#41 was merged, by ana)",
		"hold released: merge (it waits for a yes)",
		"apply queued: comment (said yes to 7f3a)",
		"apply running: comment (took the hold of dev)",
		"hold taken: comment (it was next in line)",
		"apply launched: comment (its runner is started on one)",
		"apply succeeded: comment (#41 was merged, by ana; bob said yes to 7f3a)",
		"hold released: comment (it ended as succeeded)",
		"apply queued: merge (#41 was merged)",
		"apply queued: later merge (#41 was merged)",
		"apply gathered: later merge (operation 3 carries its commits)",
	})
}

// What a hostile plan prints must not keep the end of its operation from being recorded.
func unstorable(t *testing.T, w *world) {
	ctx := t.Context()
	op, err := w.CreateOperation(ctx, plan(1))
	must(t, err)
	op, _, err = w.Start(ctx, op.ID)
	must(t, err)
	ended, err := w.Finish(ctx, store.Finish{
		Operation: op.ID, Attempt: op.Attempt, State: operation.Failed, Message: "a\x00b\xff\xfec",
		Result: &operation.Result{Error: "a\x00b\xffc"},
	})
	must(t, err)
	read, err := w.Operation(ctx, op.ID)
	must(t, err)
	if ended.State != operation.Failed || read.Message != "a�b�c" {
		t.Errorf("ended as %s with %q", ended.State, read.Message)
	}
	_, err = w.Accept(ctx, store.Delivery{GUID: "g", Payload: []byte("{\"a\":\"\xff\x00\"}")}, []queue.Job{job("k\x00", "p\xff")})
	must(t, err)
	if c, ok, err := w.Claim(ctx, queue.Quick, "w", lease); err != nil || !ok || c.Job.Key != "k�" {
		t.Errorf("claimed %+v, %v, %v", c, ok, err)
	} else {
		must(t, w.Done(ctx, c))
	}
}

func pings(t *testing.T, w *world) {
	for range 3 {
		must(t, w.Ping(t.Context()))
	}
	w.clock.Advance(time.Hour)
	gone, err := w.Forget(t.Context(), 0)
	must(t, err)
	if gone != 0 {
		t.Errorf("pings left %d deliveries", gone)
	}
}
