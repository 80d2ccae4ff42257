package hub_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/switchyard-dev/switchyard/hub"
)

// made is an answer to every write.
func made(w http.ResponseWriter, r *http.Request, nth int) { says(201, `{"id":1}`)(w, r, nth) }

// write posts a comment.
func (w *world) write(ctx context.Context) error {
	_, err := w.hub.PutComment(ctx, network, 0, hub.Comment{Number: 1, Body: "x"})
	return err
}

// writes posts comments until one has to wait, and returns how many were posted and until when the next one waits.
func (w *world) writes(ctx context.Context, t *testing.T) (int, time.Time) {
	t.Helper()
	for n := range 1000 {
		err := w.write(ctx)
		if wait, ok := errors.AsType[*hub.Wait](err); ok {
			return n, wait.Until
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("nothing ever waits")
	return 0, time.Time{}
}

func TestWritesKeepAPaceBelowGitHubsLimits(t *testing.T) {
	t.Parallel()
	w := newWorld(t, made)
	perMinute := func(begin time.Time, want int, until time.Time) {
		t.Helper()
		if n, at := w.writes(t.Context(), t); n != want || !at.Equal(until) {
			t.Errorf("%d writes at %v, then a wait until %v; want %d and %v", n, begin.Sub(start), at.Sub(start), want, until.Sub(start))
		}
	}
	asked := 0
	for minute := range 6 {
		now := start.Add(time.Duration(minute) * time.Minute)
		perMinute(now, 72, now.Add(time.Minute))
		asked += 72
		w.clock.Advance(time.Minute)
	}
	perMinute(w.clock.Now(), 450-asked, start.Add(time.Hour))
	if len(w.asked) != 450 {
		t.Errorf("%d calls, want 450: a write that waits is not sent", len(w.asked))
	}
	w.clock.Advance(54*time.Minute - time.Nanosecond)
	perMinute(w.clock.Now(), 0, start.Add(time.Hour))
	w.clock.Advance(time.Nanosecond)
	perMinute(w.clock.Now(), 72, start.Add(61*time.Minute)) // the hour's limit has the same number free
}

func TestAWriteCountsUntilAMinuteAfterItsAnswer(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, func(rw http.ResponseWriter, r *http.Request, nth int) {
		if nth == 1 {
			w.clock.Advance(10 * time.Second) // GitHub may have counted it at any time until now
		}
		made(rw, r, nth)
	}, func(o *hub.Options) { o.Pace = hub.Pace{PerMinute: 1} })
	if err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, until := w.writes(t.Context(), t); !until.Equal(start.Add(70 * time.Second)) {
		t.Errorf("waits %v, want 70 s", until.Sub(start))
	}
}

func TestPeoplesWritesFindRoomWhileBotsWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, made)
	bots := hub.ForBots(t.Context())
	if n, until := w.writes(bots, t); n != 50 || !until.Equal(start.Add(time.Minute)) {
		t.Errorf("bots write %d times and wait until %v", n, until)
	}
	budget := w.hub.Budget(7)
	want := hub.Budget{People: hub.Room{Left: 22}, Bots: hub.Room{Until: start.Add(time.Minute)}}
	if diff := cmp.Diff(want, budget); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !budget.Until(false).IsZero() || !budget.Until(true).Equal(start.Add(time.Minute)) || len(w.hub.Paused()) > 0 {
		t.Errorf("people wait until %v, bots until %v, paused %v", budget.Until(false), budget.Until(true), w.hub.Paused())
	}
	metrics := `
# HELP switchyard_github_postponed_total Calls that were not made yet: because GitHub wants none (refused), because writes keep a pace (pace), or because few calls are left and a read can wait (floor).
# TYPE switchyard_github_postponed_total counter
switchyard_github_postponed_total{why="pace"} 1
# HELP switchyard_github_writes_left Writes that may be made now without coming near GitHub's limit of content.
# TYPE switchyard_github_writes_left gauge
switchyard_github_writes_left{for="bots",installation="7"} 0
switchyard_github_writes_left{for="people",installation="7"} 22
`
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(metrics), "switchyard_github_postponed_total", "switchyard_github_writes_left"); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]int64{7}, w.hub.PausedForBots()); diff != "" {
		t.Errorf("paused for bots (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		people, bots int
		want         time.Duration
	}{
		{0, 0, 0},
		{22, 0, 0},
		{23, 0, time.Minute},
		{0, 1, time.Minute},
		{0, 50, time.Minute},
		{0, 51, 2 * time.Minute},
		{22, 50, time.Minute},
		{72, 1, time.Minute},
		{400, 0, 6 * time.Minute},
		{401, 0, time.Hour},
		{0, 265, 6 * time.Minute},
		{0, 266, time.Hour},
	} {
		if got := w.hub.Foresee(7, c.people, c.bots).Sub(start); got != c.want {
			t.Errorf("%d writes for people and %d for bots take %v, want %v", c.people, c.bots, got, c.want)
		}
	}
	if n, _ := w.writes(t.Context(), t); n != 22 {
		t.Errorf("people write %d times beside the bots, want 22", n)
	}
	if diff := cmp.Diff([]int64{7}, w.hub.Paused()); diff != "" {
		t.Errorf("paused (-want +got):\n%s", diff)
	}
	other := network
	other.Installation = 8
	if _, err := w.hub.PutComment(t.Context(), other, 0, hub.Comment{Number: 1, Body: "x"}); err != nil {
		t.Errorf("another installation has to wait too: %v", err)
	}
	if _, err := w.hub.Repository(t.Context(), network); err != nil {
		t.Errorf("a read has to wait too: %v", err)
	}
}

func TestThePaceIsSharedAmongReplicasAndCanBeLifted(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name     string
		pace     hub.Pace
		replicas int
		want     int
	}{
		{"one of three replicas has a third", hub.Pace{}, 3, 24},
		{"one of a thousand still writes", hub.Pace{}, 1000, 1},
		{"another pace", hub.Pace{PerMinute: 10, PerHour: 30}, 0, 10},
		{"an hour that is shorter than its minutes", hub.Pace{PerMinute: 10, PerHour: 5}, 0, 5},
		{"no limit of minutes", hub.Pace{PerMinute: -1}, 1, 450},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, made, func(o *hub.Options) { o.Pace, o.Replicas = c.pace, c.replicas })
			if n, _ := w.writes(t.Context(), t); n != c.want {
				t.Errorf("%d writes, want %d", n, c.want)
			}
		})
	}
	t.Run("no limit at all", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, made, func(o *hub.Options) { o.Pace = hub.Pace{PerMinute: -1, PerHour: -1} })
		for range 600 {
			if err := w.write(hub.ForBots(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestManyWritersTogetherKeepThePace(t *testing.T) {
	t.Parallel()
	w := newWorld(t, made)
	var group sync.WaitGroup
	for range 8 {
		group.Go(func() {
			for range 20 {
				if wait, ok := errors.AsType[*hub.Wait](w.write(t.Context())); ok && !wait.Until.Equal(start.Add(time.Minute)) {
					t.Errorf("waits until %v", wait.Until)
				}
			}
		})
	}
	group.Wait()
	if len(w.asked) != 72 {
		t.Errorf("%d calls, want 72", len(w.asked))
	}
}

func TestNothingIsLookedForWhenTheWriteHasToWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, made, func(o *hub.Options) { o.Pace = hub.Pace{PerMinute: 1} })
	if err := w.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	puts := map[string]func() error{
		"a comment": func() error {
			_, err := w.hub.PutComment(t.Context(), network, 0, hub.Comment{Number: 1, Body: "m", Marker: "m", Search: true})
			return err
		},
		"a check": func() error {
			_, err := w.hub.PutCheck(t.Context(), network, 0, hub.Check{Name: "n", HeadSHA: "abc", Search: true})
			return err
		},
		"a deployment": func() error {
			_, err := w.hub.PutDeployment(t.Context(), network, 0, "", hub.Deployment{Ref: "abc", Search: true})
			return err
		},
		"a status": func() error {
			_, err := w.hub.PutDeployment(t.Context(), network, 3, "queued", hub.Deployment{Ref: "abc", State: "success", Search: true})
			return err
		},
		"a reaction": func() error { return w.hub.React(t.Context(), network, 1, "eyes") },
		"a minimise": func() error { return w.hub.Minimize(t.Context(), network, "x") },
	}
	for name, put := range puts {
		if _, ok := errors.AsType[*hub.Wait](put()); !ok {
			t.Errorf("%s does not wait", name)
		}
	}
	if len(w.asked) != 1 {
		t.Errorf("calls: %v", w.asked)
	}
}

func TestAWriteThatEndsWhatAnotherBeganDoesNotWait(t *testing.T) {
	t.Parallel()
	w := newWorld(t, made, func(o *hub.Options) { o.Pace = hub.Pace{PerMinute: 1} })
	if _, err := w.hub.PutDeployment(t.Context(), network, 0, "", hub.Deployment{Ref: "abc", State: "queued"}); err != nil {
		t.Errorf("a deployment waits for its own status: %v", err)
	}
	w.clock.Advance(time.Minute)
	w.answer = func(rw http.ResponseWriter, r *http.Request, nth int) {
		if r.Method == http.MethodPatch {
			rw.WriteHeader(http.StatusNotFound)
			return
		}
		made(rw, r, nth)
	}
	if _, err := w.hub.PutComment(t.Context(), network, 3, hub.Comment{Number: 1, Body: "x"}); err != nil {
		t.Errorf("a comment waits in place of a deleted one: %v", err)
	}
	if _, until := w.writes(t.Context(), t); !until.Equal(start.Add(2 * time.Minute)) {
		t.Errorf("the two are not counted: %v", until)
	}
}

// left is an answer that tells what is left of the primary limit.
func left(remaining int, reset time.Time) func(http.ResponseWriter, *http.Request, int) {
	return says(200, `{"number":1,"id":1}`, "X-RateLimit-Limit: 5000", fmt.Sprintf("X-RateLimit-Remaining: %d", remaining),
		fmt.Sprintf("X-RateLimit-Reset: %d", reset.Unix()))
}

func TestReadsThatCanWaitGiveWayBelowTheFloor(t *testing.T) {
	t.Parallel()
	reset := start.Add(20 * time.Minute)
	w := newWorld(t, left(500, reset))
	later := hub.Deferrable(t.Context())
	poll := func() error { _, err := w.hub.Pull(later, network, 1); return err }
	for range 2 {
		if err := poll(); err != nil {
			t.Fatalf("with a tenth left: %v", err)
		}
	}
	w.answer = left(499, reset)
	if err := poll(); err != nil {
		t.Fatal(err)
	}
	want := &hub.Wait{Until: reset.Add(time.Second), Reason: "499 of 5000 calls are left until then, and the last 10 % are kept for what people wait for"}
	if diff := cmp.Diff(error(want), poll()); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
		t.Errorf("a read for a person waits: %v", err)
	}
	if err := w.write(t.Context()); err != nil {
		t.Errorf("a write waits: %v", err)
	}
	budget := w.hub.Budget(7)
	if budget.Remaining != 499 || budget.Limit != 5000 || !budget.Resets.Equal(reset.Add(time.Second)) || !budget.Slowed || len(w.hub.Paused()) > 0 {
		t.Errorf("%+v, paused %v", budget, w.hub.Paused())
	}
	slowed := func(n int) string {
		return fmt.Sprintf(`
# HELP switchyard_github_polling_slowed 1 while polling and sweeps are held back because few calls are left of the rate limit, else 0.
# TYPE switchyard_github_polling_slowed gauge
switchyard_github_polling_slowed{installation="7"} %d
`, n)
	}
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(slowed(1)), "switchyard_github_polling_slowed"); err != nil {
		t.Error(err)
	}
	w.clock.Advance(20*time.Minute + time.Second)
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(slowed(0)), "switchyard_github_polling_slowed"); err != nil {
		t.Error(err)
	}
	if err := poll(); err != nil {
		t.Errorf("in the next hour: %v", err)
	}
	if diff := cmp.Diff(hub.Budget{People: hub.Room{Left: 72}, Bots: hub.Room{Left: 50}}, w.hub.Budget(12345)); diff != "" {
		t.Errorf("an installation that was never called (-want +got):\n%s", diff)
	}
}

func TestAnswersThatOvertakeEachOtherDoNotRaiseTheBudget(t *testing.T) {
	t.Parallel()
	reset := start.Add(20 * time.Minute)
	w := newWorld(t, nil)
	for _, c := range []struct {
		remaining, want int
		reset           time.Time
	}{{300, 300, reset}, {400, 300, reset}, {200, 200, reset}, {5, 200, reset.Add(-time.Minute)}, {5000, 5000, reset.Add(time.Hour)}} {
		w.answer = left(c.remaining, c.reset)
		if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
			t.Fatal(err)
		}
		if got := w.hub.Budget(7).Remaining; got != c.want {
			t.Errorf("after %d: %d are left, want %d", c.remaining, got, c.want)
		}
	}
}

func TestASecondaryLimitHoldsForAllCallsAndCountsOnce(t *testing.T) {
	t.Parallel()
	const callers = 4
	var arrived sync.WaitGroup
	arrived.Add(callers)
	w := newWorld(t, func(rw http.ResponseWriter, r *http.Request, nth int) {
		if nth <= callers {
			arrived.Done()
			arrived.Wait()
		}
		if r.Method == http.MethodGet {
			says(200, `{"number":1}`)(rw, r, nth)
			return
		}
		says(403, `{"message":"You have exceeded a secondary rate limit."}`)(rw, r, nth)
	})
	untils := make([]time.Duration, callers)
	var group sync.WaitGroup
	for i := range callers {
		group.Go(func() {
			if wait, ok := errors.AsType[*hub.Wait](w.write(t.Context())); ok {
				untils[i] = wait.Until.Sub(start)
			}
		})
	}
	group.Wait()
	if slices.Max(untils) != time.Minute || slices.Min(untils) != time.Minute {
		t.Errorf("waits of %v, want a minute each", untils)
	}
	if _, ok := errors.AsType[*hub.Wait](w.hub.Minimize(t.Context(), network, "x")); !ok || len(w.asked) != callers {
		t.Errorf("GraphQL is called while GitHub wants no calls: %v", w.asked)
	}
	if budget := w.hub.Budget(7); budget.Refused == nil || !budget.Until(false).Equal(start.Add(time.Minute)) || len(w.hub.Paused()) != 1 {
		t.Errorf("budget: %+v", budget)
	}
	w.clock.Advance(time.Minute)
	if _, err := w.hub.Pull(t.Context(), network, 1); err != nil {
		t.Fatal(err)
	}
	wait, ok := errors.AsType[*hub.Wait](w.write(t.Context()))
	if !ok || wait.Until.Sub(w.clock.Now()) != 2*time.Minute {
		t.Errorf("%v: a read between two refused writes begins anew", wait)
	}
}
