package server

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// backlog tells Prometheus what waits in the database, asked anew at each scrape.
type backlog struct {
	store    *store.Store
	jobs     *prometheus.Desc
	oldest   *prometheus.Desc
	surfaces *prometheus.Desc
	errors   *prometheus.Desc
}

// newDispatches makes the histogram of how long it takes from a webhook to the dispatch of a workflow.
func newDispatches() *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "switchyard_dispatch_seconds",
		Help:    "From the acceptance of a webhook until a workflow was dispatched because of it, without the time of GitHub's API.",
		Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
	}, []string{"kind"})
}

// scrapeLimit bounds the questions of one scrape.
const scrapeLimit = 2 * time.Second

func newBacklog(s *store.Store) *backlog {
	return &backlog{
		store: s,
		jobs: prometheus.NewDesc("switchyard_jobs",
			"Jobs in the queue, by class and state; dead ones were given up after their attempts.", []string{"class", "state"}, nil),
		oldest: prometheus.NewDesc("switchyard_oldest_job_timestamp_seconds",
			"When the oldest job that is not done was queued, as Unix time.", []string{"class"}, nil),
		surfaces: prometheus.NewDesc("switchyard_surfaces_pending",
			"Comments, checks and deployments that GitHub does not show yet as they should be.", nil, nil),
		errors: prometheus.NewDesc("switchyard_backlog_errors", "1 when the database could not be asked for the backlog.", nil, nil),
	}
}

// Describe names the metrics.
func (b *backlog) Describe(descs chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{b.jobs, b.oldest, b.surfaces, b.errors} {
		descs <- desc
	}
}

// Collect asks the database.
func (b *backlog) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), scrapeLimit)
	defer cancel()
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		metrics <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	depths, err := b.store.Depths(ctx)
	pending, errPending := b.store.PendingSurfaces(ctx)
	if err != nil || errPending != nil {
		gauge(b.errors, 1)
		return
	}
	gauge(b.errors, 0)
	surfaces := 0
	for _, installation := range pending {
		surfaces += installation.Surfaces
	}
	gauge(b.surfaces, float64(surfaces))
	for _, class := range []queue.Class{queue.Quick, queue.Long, queue.Bots} {
		depth := store.Depth{Class: class} // a class without jobs has no row
		for _, found := range depths {
			if found.Class == class {
				depth = found
			}
		}
		class := string(class)
		gauge(b.jobs, float64(depth.Waiting), class, "waiting")
		gauge(b.jobs, float64(depth.Running), class, "running")
		gauge(b.jobs, float64(depth.Dead), class, "dead")
		if !depth.Oldest.IsZero() {
			gauge(b.oldest, float64(depth.Oldest.Unix()), class)
		}
	}
}
