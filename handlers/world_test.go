package handlers_test

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"flag"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/handlers"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

var update = flag.Bool("update", false, "write the golden files")

const guid = "72d3162e-cc78-11e3-81ab-4c9367dc0958"

// inbox keeps what it accepts, like the store: each GUID once.
type inbox struct {
	mu         sync.Mutex
	deliveries []store.Delivery
	jobs       []queue.Job
	accept     func(ctx context.Context) error // nil: no error
}

func (i *inbox) Accept(ctx context.Context, d store.Delivery, jobs []queue.Job) (bool, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.accept != nil {
		if err := i.accept(ctx); err != nil {
			return false, err
		}
	}
	for _, known := range i.deliveries {
		if known.GUID == d.GUID {
			return false, nil
		}
	}
	i.deliveries, i.jobs = append(i.deliveries, d), append(i.jobs, jobs...)
	return true, nil
}

// world is an edge with all that it talks to.
type world struct {
	handler http.Handler
	inbox   *inbox
	metrics *prometheus.Registry
	log     *bytes.Buffer
}

func newWorld(tb testing.TB, change ...func(*handlers.Options)) *world {
	tb.Helper()
	w := &world{inbox: &inbox{}, metrics: prometheus.NewRegistry(), log: &bytes.Buffer{}}
	options := handlers.Options{
		Secrets: [][]byte{[]byte("a secret")}, Inbox: w.inbox, Metrics: w.metrics, Log: zerolog.New(zerolog.SyncWriter(w.log)),
	}
	for _, c := range change {
		c(&options)
	}
	handler, err := handlers.NewEdge(options)
	if err != nil {
		tb.Fatal(err)
	}
	w.handler = handler
	return w
}

func sign(secret string, body []byte) string {
	mac := hmac.New(sha256.New, []byte(secret))
	_, _ = mac.Write(body)
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

func hook(event string, body []byte) *http.Request {
	r := httptest.NewRequestWithContext(context.Background(), http.MethodPost, handlers.HookPath, bytes.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-Github-Event", event)
	r.Header.Set("X-Github-Delivery", guid)
	r.Header.Set("X-Hub-Signature-256", sign("a secret", body))
	return r
}

func (w *world) serve(r *http.Request) *httptest.ResponseRecorder {
	recorder := httptest.NewRecorder()
	w.handler.ServeHTTP(recorder, r)
	return recorder
}

// count is the value of the deliveries counter with these labels.
func (w *world) count(t *testing.T, event, outcome string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		if family.GetName() != "switchyard_webhook_deliveries_total" {
			continue
		}
		for _, metric := range family.GetMetric() {
			labels := map[string]string{}
			for _, label := range metric.GetLabel() {
				labels[label.GetName()] = label.GetValue()
			}
			if labels["event"] == event && labels["outcome"] == outcome {
				return metric.GetCounter().GetValue()
			}
		}
	}
	return 0
}

func (i *inbox) effects() string {
	var out bytes.Buffer
	for _, d := range i.deliveries {
		fmt.Fprintf(&out, "  kept %s %s %s installation %d repository %d\n", d.GUID, d.Event, d.Action, d.Installation, d.Repository)
	}
	for _, j := range i.jobs {
		fmt.Fprintf(&out, "  job %s %s %q %s cause %s\n", j.Class, j.Kind, j.Key, j.Payload, j.Cause)
	}
	return out.String()
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s differs (-want +got):\n%s", path, diff)
	}
}

func mustRead(tb testing.TB, path string) []byte {
	tb.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}
