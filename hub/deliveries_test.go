package hub_test

import (
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/hub"
)

func TestFailedDeliveriesAreListedOverSeveralPagesAndDeliveredAgain(t *testing.T) {
	t.Parallel()
	const failed = 130 // more than one page
	s := newStandIn(t)
	arrived := make(chan string, 2*failed)
	status := make(chan int, 2*failed)
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(<-status)
		arrived <- r.Header.Get("X-Github-Delivery")
	}))
	t.Cleanup(front.Close)
	s.SetWebhookURL(front.URL)
	for range failed {
		status <- http.StatusServiceUnavailable
		if err := s.Ping(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	guids := map[string]bool{}
	for range failed {
		guids[<-arrived] = true
	}
	if err := s.Await(t.Context(), func() bool { return len(s.Deliveries()) == failed }); err != nil {
		t.Fatal(err)
	}

	listed, err := s.hub.FailedDeliveries(t.Context(), time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(listed) != failed {
		t.Fatalf("%d failed deliveries are listed, want %d", len(listed), failed)
	}
	for _, d := range listed {
		if !guids[d.GUID] || d.Event != "ping" || d.ID == 0 || d.Delivered.IsZero() {
			t.Fatalf("listed %+v", d)
		}
	}
	status <- http.StatusOK
	if err := s.hub.Redeliver(t.Context(), listed[0].ID); err != nil {
		t.Fatal(err)
	}
	if guid := <-arrived; guid != listed[0].GUID {
		t.Errorf("delivered again with the GUID %s, want %s", guid, listed[0].GUID)
	}
	if later, err := s.hub.FailedDeliveries(t.Context(), time.Now().Add(time.Hour)); err != nil || len(later) != 0 {
		t.Errorf("since a time to come: %v, %v", later, err)
	}
	if err := s.hub.Redeliver(t.Context(), 1); !isGone(err) {
		t.Errorf("an unknown delivery: %v", err)
	}
}

func isGone(err error) bool {
	_, gone := err.(*hub.Gone) //nolint:errorlint // not wrapped by the hub
	return gone
}
