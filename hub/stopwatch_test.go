package hub_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/hub"
)

func TestAStopwatchTakesTheTimeOfCalls(t *testing.T) {
	t.Parallel()
	var w *world
	w = newWorld(t, func(rw http.ResponseWriter, r *http.Request, nth int) {
		w.clock.Advance(3 * time.Second)
		says(http.StatusOK, `{"id":7}`)(rw, r, nth)
	})
	var first, other hub.Stopwatch
	for range 2 {
		if _, err := w.hub.Run(hub.Timed(t.Context(), &first), network, 7); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.hub.Run(hub.Timed(t.Context(), &other), network, 7); err != nil {
		t.Fatal(err)
	}
	if first.Spent() != 6*time.Second || other.Spent() != 3*time.Second {
		t.Errorf("%v and %v", first.Spent(), other.Spent())
	}
}
