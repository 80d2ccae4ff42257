package storetest

import (
	"errors"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// claimSurface takes the next surface and fails the test unless it wants to show want; "" wants none.
func (w *world) claimSurface(t *testing.T, want string) store.Surface {
	t.Helper()
	surface, ok, err := w.ClaimSurface(t.Context(), lease)
	must(t, err)
	if ok != (want != "") || string(surface.Wanted) != want {
		t.Fatalf("claimed %s (%v), want %s", surface.Wanted, ok, want)
	}
	return surface
}

func (w *world) want(t *testing.T, wanted any, in time.Duration) {
	t.Helper()
	must(t, w.Want(t.Context(), store.Wish{Repository: acme, Kind: "comment", Key: "c", Wanted: wanted, In: in}))
}

func check(key string, wanted any) store.Wish {
	return store.Wish{Repository: acme, Kind: "check", Key: key, Wanted: wanted}
}

func coalesced(t *testing.T, w *world) {
	for i := range 10 {
		w.want(t, i, time.Duration(5+i)*time.Second) // the first time counts, else nothing would ever be due
	}
	w.claimSurface(t, "")
	w.clock.Advance(5 * time.Second)
	surface := w.claimSurface(t, "9")
	if string(surface.External) != "null" || surface.Kind != "comment" || surface.Repository != acme {
		t.Errorf("claimed %+v", surface)
	}
	must(t, w.Written(t.Context(), surface, map[string]int{"id": 5}))
	w.claimSurface(t, "")

	w.want(t, 9, 0)
	w.claimSurface(t, "") // it shows that already
	w.want(t, 10, time.Hour)
	w.want(t, 10, 0) // the same, but urgent
	if surface = w.claimSurface(t, "10"); string(surface.External) != `{"id":5}` {
		t.Errorf("its ids are %s", surface.External)
	}
}

func wantedMeanwhile(t *testing.T, w *world) {
	w.want(t, 1, 0)
	surface := w.claimSurface(t, "1")
	w.want(t, 2, time.Second)
	w.claimSurface(t, "") // one writer at a time
	must(t, w.Written(t.Context(), surface, nil))
	if pending, err := w.PendingSurfaces(t.Context()); err != nil || len(pending) != 1 || pending[0].Surfaces != 1 {
		t.Errorf("%v pending, %v", pending, err)
	}
	w.claimSurface(t, "") // its own time counts, not that of what was written
	w.clock.Advance(time.Second)
	must(t, w.Written(t.Context(), w.claimSurface(t, "2"), nil))
	read, ok, err := w.Surface(t.Context(), acme.ID, "c")
	must(t, err)
	if !ok || read.Version != 2 || read.Written != 2 {
		t.Errorf("written: %v, %+v", ok, read)
	}
}

func wantedTooLate(t *testing.T, w *world) {
	op, err := w.CreateOperation(t.Context(), plan(1))
	must(t, err)
	must(t, w.SavePull(t.Context(), acme.ID, 1, "h", []byte(`{"a":1}`)))
	of := store.Filter{Repository: acme.ID, Pull: 1}
	see := func() *store.Seen {
		t.Helper()
		seen, err := w.See(t.Context(), of)
		must(t, err)
		return &seen
	}
	wish := func(wanted any, seen *store.Seen) error {
		return w.Want(t.Context(), store.Wish{Repository: acme, Kind: "comment", Key: "c", Wanted: wanted, Seen: seen})
	}
	tooLate := func(what string, seen *store.Seen, wanted string) {
		t.Helper()
		if err := wish("late", seen); !errors.Is(err, store.ErrMoved) {
			t.Errorf("after %s: %v, want ErrMoved", what, err)
		}
		if seen.Same(*see()) {
			t.Errorf("after %s nothing has moved", what)
		}
		if surface, _, err := w.Surface(t.Context(), acme.ID, "c"); err != nil || string(surface.Wanted) != wanted {
			t.Errorf("after %s: %s, %v, want %s", what, surface.Wanted, err, wanted)
		}
	}
	queued := see()
	must(t, wish("queued", queued))
	_, _, err = w.Start(t.Context(), op.ID)
	must(t, err)
	tooLate("it was started", queued, `"queued"`)
	running := see()
	must(t, wish("running", running))
	tooLate("it was shown to run", queued, `"running"`)
	must(t, wish("running", queued)) // what is wanted already shows nothing past
	must(t, w.SavePull(t.Context(), acme.ID, 1, "h", []byte(`{"a":2}`)))
	tooLate("its pull request was seen anew", running, `"running"`)
	known := see()
	_, err = w.CreateOperation(t.Context(), plan(1))
	must(t, err)
	tooLate("another one was stored", known, `"running"`)
	_, err = w.CreateOperation(t.Context(), plan(2))
	must(t, err)
	must(t, wish("newest", see()))
}

func unwritten(t *testing.T, w *world) {
	w.want(t, 1, 0)
	must(t, w.Unwritten(t.Context(), w.claimSurface(t, "1"), time.Minute, "502"))
	w.want(t, 2, 0)
	w.claimSurface(t, "")
	w.clock.Advance(time.Minute)
	surface := w.claimSurface(t, "2")
	if surface.Attempts != 1 || surface.Problem != "502" {
		t.Errorf("after a failure: %+v", surface)
	}
	must(t, w.Written(t.Context(), surface, nil))
	if surface, _, err := w.Surface(t.Context(), acme.ID, "c"); err != nil || surface.Attempts != 0 || surface.Problem != "" {
		t.Errorf("after a success: %+v, %v", surface, err)
	}
}

func fencedSurface(t *testing.T, w *world) {
	w.want(t, 1, 0)
	old := w.claimSurface(t, "1")
	w.clock.Advance(lease)
	surface := w.claimSurface(t, "1")
	if err := w.Written(t.Context(), old, nil); !errors.Is(err, store.ErrLost) {
		t.Errorf("Written by the old claim gives %v", err)
	}
	if err := w.Unwritten(t.Context(), old, 0, ""); !errors.Is(err, store.ErrLost) {
		t.Errorf("Unwritten by the old claim gives %v", err)
	}
	must(t, w.Written(t.Context(), surface, nil))
}

func surfacesOfMany(t *testing.T, w *world) {
	const surfaces = 10
	for i := range surfaces {
		must(t, w.Want(t.Context(), check(strconv.Itoa(i), i)))
	}
	var seen sync.Map
	claimed := together(t, 2*surfaces, func() (bool, error) {
		surface, ok, err := w.ClaimSurface(t.Context(), lease)
		if _, twice := seen.LoadOrStore(surface.Key, true); ok && twice {
			t.Errorf("surface %s was claimed twice", surface.Key)
		}
		return ok, err
	})
	if claimed != surfaces {
		t.Errorf("%d claimed", claimed)
	}
}

func audited(t *testing.T, w *world) {
	op := apply("develop", "h1")
	op.Reason = "#41 was merged"
	w.queueApply(t, op)
	op = w.finish(t, w.takeHold(t), operation.Unconfirmed)
	_, err := w.Confirm(t.Context(), op.ID, "7f3a", "bob", 0)
	must(t, err)
	must(t, w.Append(t.Context(), store.Audit{
		Repository: acme.ID, Environment: "prod", Who: "eve", What: "/apply", Why: "refused", Delivery: "g",
	}))
	trail, err := w.AuditTrail(t.Context(), store.AuditFilter{Repository: acme.ID, Environment: "dev", Limit: 10})
	must(t, err)
	at := w.clock.Now()
	equal(t, trail, []store.Audit{
		{At: at, Repository: 7, Environment: "dev", Who: "bob", What: "apply queued", Why: "said yes to 7f3a", Operation: op.ID},
		{At: at, Repository: 7, Environment: "dev", Who: "switchyard", What: "hold released", Why: "it waits for a yes", Operation: op.ID},
		{At: at, Repository: 7, Environment: "dev", Who: "switchyard", What: "apply unconfirmed", Why: "#41 was merged, by ana", Operation: op.ID},
		{At: at, Repository: 7, Environment: "dev", Who: "switchyard", What: "hold taken", Why: "it was next in line", Operation: op.ID},
		{At: at, Repository: 7, Environment: "dev", Who: "switchyard", What: "apply running", Why: "took the hold of dev", Operation: op.ID},
		{At: at, Repository: 7, Environment: "dev", Who: "ana", What: "apply queued", Why: "#41 was merged", Operation: op.ID},
	})
	if all, err := w.AuditTrail(t.Context(), store.AuditFilter{Repository: acme.ID, Limit: 2}); err != nil || len(all) != 2 || all[0].Delivery != "g" {
		t.Errorf("of all environments: %+v, %v", all, err)
	}
}

func wakes(t *testing.T, w *world) {
	wakesBy := func(do func() error) bool {
		wake := w.Wake()
		must(t, do())
		select {
		case <-wake:
			return true
		default:
			return false
		}
	}
	woken := func(name string, want bool, do func() error) {
		t.Helper()
		got := wakesBy(do)
		for range 3 { // a store that begins to listen to others wakes everybody once, whenever that is
			got = got && (want || wakesBy(do))
		}
		if got != want {
			t.Errorf("%s wakes: %t", name, got)
		}
	}
	accept := func() error {
		_, err := w.Accept(t.Context(), store.Delivery{GUID: "g"}, []queue.Job{job("a", "2")})
		return err
	}
	woken("a job", true, func() error { return w.Enqueue(t.Context(), job("a", "1")) })
	woken("a delivery", true, accept)
	woken("a known delivery", false, accept)
	woken("the end of a job, for the next of its key", true, func() error { return w.Done(t.Context(), w.claim(t, "1")) })
	want := func() error { return w.Want(t.Context(), check("c", 1)) }
	woken("a surface", true, want)
	woken("a surface that wants the same", false, want)
}
