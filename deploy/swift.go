package deploy

import (
	"context"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
)

// stopwatches are how long GitHub took to answer what was asked because of a webhook, by the webhook's delivery. They are forgotten all at
// once when they are many: nothing but a metric is made of them.
type stopwatches struct {
	mu sync.Mutex
	of map[string]*stopwatch
}

type stopwatch struct {
	hub.Stopwatch

	told bool // of a dispatch
}

const maxStopwatches = 10_000

// start gives the stopwatch of a delivery.
func (s *stopwatches) start(delivery string) *hub.Stopwatch {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil || len(s.of) >= maxStopwatches {
		s.of = map[string]*stopwatch{}
	}
	if s.of[delivery] == nil {
		s.of[delivery] = &stopwatch{}
	}
	return &s.of[delivery].Stopwatch
}

// first gives what the stopwatch of a delivery shows, when it is asked for the first time.
func (s *stopwatches) first(delivery string) (spent time.Duration, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := s.of[delivery]
	if found == nil || found.told {
		return 0, false
	}
	found.told = true
	return found.Spent(), true
}

// timed has the time taken of what is asked of GitHub in the jobs of a webhook.
func (d *Deploy) timed(next queue.Handler) queue.Handler {
	if d.Dispatched == nil {
		return next
	}
	return func(ctx context.Context, job queue.Job, claim queue.Claim) error {
		if job.Cause != "" {
			ctx = hub.Timed(ctx, d.stopwatches.start(job.Cause))
		}
		return next(ctx, job, claim)
	}
}

// noteDispatch tells how long it took from a webhook to the first run that was dispatched because of it, without the time that GitHub took.
// An operation that waited behind another one is carried on by that one's job, and is not told of.
func (d *Deploy) noteDispatch(ctx context.Context, task operation.Task) {
	delivery := causeOf(ctx)
	if d.Dispatched == nil || task.Job == nil || delivery == "" {
		return
	}
	now := d.Clock.Now()
	op, err := d.Store.Operation(ctx, task.Operation)
	if err != nil || op.Delivery != delivery {
		return
	}
	spent, ok := d.stopwatches.first(delivery)
	if !ok {
		return
	}
	at, ok, err := d.Store.Arrived(ctx, delivery)
	if err != nil || !ok {
		zerolog.Ctx(ctx).Debug().Err(err).Msg("it is not known when a webhook arrived")
		return
	}
	d.Dispatched(op.Kind, max(now.Sub(at)-spent, 0))
}

// Dispatched is told how long it took from the acceptance of a webhook until GitHub was asked for the run of an operation.
type Dispatched func(kind operation.Kind, own time.Duration)
