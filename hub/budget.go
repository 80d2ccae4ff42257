package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// The keys of what a caller says about its calls, in their context.
type (
	botKey   struct{}
	laterKey struct{}
)

// ForBots marks writes that no person waits for. Bots get only a part of the pace, so that people's
// writes find room at any time.
func ForBots(ctx context.Context) context.Context { return context.WithValue(ctx, botKey{}, true) }

// Deferrable marks reads that can wait: polling and sweeps, which only find sooner what comes anyhow. When few
// calls are left of the hour they get a *Wait, so that what is left goes to writes and to reads for people.
func Deferrable(ctx context.Context) context.Context {
	return context.WithValue(ctx, laterKey{}, true)
}

func marked(ctx context.Context, key any) bool {
	is, _ := ctx.Value(key).(bool)
	return is
}

// calls is what GitHub last said about a budget of calls.
type calls struct {
	limit, remaining int
	reset            time.Time // zero when GitHub has not said anything yet
}

// low reports whether so little is left that reads which can wait have to.
func (c calls) low(now time.Time) bool {
	return now.Before(c.reset) && c.remaining*100 < c.limit*callsFloor
}

// readCalls reads GitHub's headers; false where they do not say what is left and until when.
// See https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#checking-the-status-of-your-rate-limit.
func readCalls(now time.Time, header http.Header) (calls, bool) {
	var c calls
	remaining, err := strconv.Atoi(header.Get("X-Ratelimit-Remaining"))
	seconds, resetErr := strconv.ParseInt(header.Get("X-Ratelimit-Reset"), 10, 64)
	if err != nil || resetErr != nil {
		return calls{}, false
	}
	c.remaining = remaining
	if limit, err := strconv.Atoi(header.Get("X-Ratelimit-Limit")); err == nil {
		c.limit = limit // without it nothing counts as low
	}
	c.reset = bounded(now, time.Unix(seconds, 0).Add(time.Second))
	return c, true
}

// deferred is the *Wait of a read that can wait, when it has to.
func (c *client) deferred(now time.Time, budget resource) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	have := c.calls[budget]
	if !have.low(now) {
		return nil
	}
	return &Wait{Until: have.reset, Reason: fmt.Sprintf(
		"%d of %d calls are left until then, and the last %d %% are kept for what people wait for", have.remaining, have.limit, callsFloor)}
}

// Budget is what an installation may still do, as this process knows it.
type Budget struct {
	// Limit and Remaining are the calls of the REST API in this hour, and Resets is when they are set back. All
	// are zero until GitHub has said so.
	Limit, Remaining int
	Resets           time.Time
	// Slowed says that reads which can wait are held back until Resets.
	Slowed bool
	// Refused is GitHub's own wish that no call is made until a time; nil when there is none.
	Refused *Wait
	// People and Bots are how much each may write. A bot's write needs room in both.
	People, Bots Room
}

// Until is when the installation can be written to again, for people or for bots; zero is now.
func (b Budget) Until(bots bool) time.Time {
	until := b.People.Until
	if bots {
		until = b.Bots.Until
	}
	if b.Refused != nil && b.Refused.Until.After(until) {
		until = b.Refused.Until
	}
	return until
}

// Budget says what is left to an installation, and until when. It calls nothing. Every process keeps to its
// own part of the pace (Options.Replicas), so this is the part of this process.
func (h *Hub) Budget(installation int64) Budget {
	now := h.clock.Now()
	c := h.known(installation)
	if c == nil {
		l := &ledger{pace: h.pace}
		return Budget{People: l.look(now, false), Bots: l.look(now, true)}
	}
	b := Budget{People: c.ledger.look(now, false), Bots: c.ledger.look(now, true)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if have := c.calls[core]; now.Before(have.reset) {
		b.Limit, b.Remaining, b.Resets, b.Slowed = have.limit, have.remaining, have.reset, have.low(now)
	}
	if wait := c.until[core]; wait != nil && now.Before(wait.Until) {
		b.Refused = wait
	}
	return b
}

// maxForeseen bounds for how many writes Foresee reckons: more would take days.
const maxForeseen = 20_000

// Foresee is when the last of so many writes to an installation can have been made, people's first, if nothing is
// added. It calls nothing. Where several processes share the pace, they are taken to share the writes too.
func (h *Hub) Foresee(installation int64, people, bots int) time.Time {
	now := h.clock.Now()
	l := &ledger{pace: h.pace}
	if c := h.known(installation); c != nil {
		l = c.ledger
		if wait := (*Wait)(nil); errors.As(c.blocked(now, core), &wait) {
			now = wait.Until
		}
	}
	share := func(writes int) int { return (min(writes, maxForeseen) + h.replicas - 1) / h.replicas }
	return l.foresee(now, share(people), share(bots))
}

// Paused lists the installations that nobody may write to now, not even for people. Where only bots have to wait the
// installation is not among them.
func (h *Hub) Paused() []int64 { return h.paused(false) }

// PausedForBots lists the installations that nothing may be written to now that only bots want: those of Paused too.
func (h *Hub) PausedForBots() []int64 { return h.paused(true) }

func (h *Hub) paused(bot bool) []int64 {
	now := h.clock.Now()
	var paused []int64
	for _, installation := range h.installations() {
		c := h.known(installation)
		if c != nil && (c.blocked(now, core) != nil || c.ledger.look(now, bot).Left == 0) {
			paused = append(paused, installation)
		}
	}
	return paused
}

// known is the client of an installation that was called lately; nil where there is none.
func (h *Hub) known(installation int64) *client {
	kept, _ := h.clients.Peek(installation)
	c, _ := kept.(*client)
	return c
}

// installations are those that were called lately.
func (h *Hub) installations() []int64 {
	var ids []int64
	for _, key := range h.clients.Keys() {
		if id, ok := key.(int64); ok && id != theApp {
			ids = append(ids, id)
		}
	}
	return ids
}

// budgets shows the budgets of all installations at the time of a scrape.
type budgets struct {
	hub    *Hub
	slowed *prometheus.Desc
	writes *prometheus.Desc
}

func newBudgets(h *Hub) *budgets {
	return &budgets{
		hub: h,
		slowed: prometheus.NewDesc("switchyard_github_polling_slowed",
			"1 while polling and sweeps are held back because few calls are left of the rate limit, else 0.", []string{"installation"}, nil),
		writes: prometheus.NewDesc("switchyard_github_writes_left",
			"Writes that may be made now without coming near GitHub's limit of content.", []string{"installation", "for"}, nil),
	}
}

// Describe implements prometheus.Collector.
func (b *budgets) Describe(descriptions chan<- *prometheus.Desc) {
	descriptions <- b.slowed
	descriptions <- b.writes
}

// Collect implements prometheus.Collector.
func (b *budgets) Collect(metrics chan<- prometheus.Metric) {
	for _, id := range b.hub.installations() {
		budget, label := b.hub.Budget(id), strconv.FormatInt(id, 10)
		slowed := 0.0
		if budget.Slowed {
			slowed = 1
		}
		metrics <- prometheus.MustNewConstMetric(b.slowed, prometheus.GaugeValue, slowed, label)
		metrics <- prometheus.MustNewConstMetric(b.writes, prometheus.GaugeValue, float64(budget.People.Left), label, "people")
		metrics <- prometheus.MustNewConstMetric(b.writes, prometheus.GaugeValue, float64(budget.Bots.Left), label, "bots")
	}
}
