package hub

import (
	"context"
	"sync/atomic"
	"time"
)

// Stopwatch adds up how long calls of GitHub's API took, with what they waited for before they were made. Those that are made beside each
// other count each.
type Stopwatch struct{ nanoseconds atomic.Int64 }

// Add adds the time of one call.
func (s *Stopwatch) Add(took time.Duration) { s.nanoseconds.Add(int64(took)) }

// Spent is the sum so far.
func (s *Stopwatch) Spent() time.Duration { return time.Duration(s.nanoseconds.Load()) }

type stopwatchKey struct{}

// Timed has a stopwatch take the time of the calls that are made with this context.
func Timed(ctx context.Context, s *Stopwatch) context.Context {
	return context.WithValue(ctx, stopwatchKey{}, s)
}

// timed begins to take the time of one call; what it gives ends that.
func (h *Hub) timed(ctx context.Context) func() {
	s, ok := ctx.Value(stopwatchKey{}).(*Stopwatch)
	if !ok {
		return func() {}
	}
	begun := h.clock.Now()
	return func() { s.Add(h.clock.Since(begun)) }
}
