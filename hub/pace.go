package hub

import (
	"fmt"
	"slices"
	"sync"
	"time"
)

// Pace is how many writes of one installation this process makes at most. A negative number is no limit,
// for a GitHub Enterprise Server, whose rate limits are off by default.
// See https://docs.github.com/en/enterprise-server@latest/rest/using-the-rest-api/rate-limits-for-the-rest-api.
type Pace struct {
	PerMinute int // 0 is DefaultPerMinute
	PerHour   int // 0 is DefaultPerHour
}

// String is the pace in words.
func (p Pace) String() string {
	switch {
	case p.PerMinute < 0:
		return fmt.Sprintf("%d times an hour", p.PerHour)
	case p.PerHour < 0:
		return fmt.Sprintf("%d times a minute", p.PerMinute)
	default:
		return fmt.Sprintf("%d times a minute and %d times an hour", p.PerMinute, p.PerHour)
	}
}

// among is the pace of one of several processes; 0 counts as one.
func (p Pace) among(processes int) Pace {
	p.PerMinute = portion(p.PerMinute, DefaultPerMinute, processes)
	p.PerHour = portion(p.PerHour, DefaultPerHour, processes)
	return p
}

func portion(limit, otherwise, processes int) int {
	switch {
	case limit == 0:
		limit = otherwise
	case limit < 0:
		return limit
	}
	return max(limit/max(processes, 1), 1)
}

// ledger remembers the writes of one installation in the last hour, so that none goes over the pace. A write
// counts from when it is sent until a minute, and an hour, after it was answered: whenever GitHub counted
// it, it is no longer in GitHub's window when it has left ours.
type ledger struct {
	pace Pace

	mu     sync.Mutex
	writes []*written
}

type written struct {
	bot      bool
	answered time.Time // zero while under way
}

// take counts a write that is about to be sent, or returns the *Wait until there is room for it. A write
// that must follow is counted and never refused. The caller calls the function when the write was answered.
func (l *ledger) take(now time.Time, bot, mustFollow bool) (func(time.Time), error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !mustFollow {
		if room := l.room(now, bot); room.Left == 0 {
			return nil, &Wait{Until: room.Until, Reason: l.reason(bot)}
		}
	}
	w := &written{bot: bot}
	l.writes = append(l.writes, w)
	return func(answered time.Time) {
		l.mu.Lock()
		defer l.mu.Unlock()
		w.answered = answered
	}, nil
}

// look is how much room there is.
func (l *ledger) look(now time.Time, bot bool) Room {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.room(now, bot)
}

// foresee is when the last of so many writes can have been made, people's first, from a time on.
func (l *ledger) foresee(now time.Time, people, bots int) time.Time {
	ahead := &ledger{pace: l.pace}
	l.mu.Lock()
	for _, w := range l.writes {
		made := *w
		if made.answered.IsZero() {
			made.answered = now
		}
		ahead.writes = append(ahead.writes, &made)
	}
	l.mu.Unlock()
	for people+bots > 0 {
		waiting, bot := &people, false
		if people == 0 {
			waiting, bot = &bots, true
		}
		room := ahead.room(now, bot)
		if room.Left == 0 {
			now = room.Until
			continue
		}
		for range min(room.Left, *waiting) {
			ahead.writes = append(ahead.writes, &written{bot: bot, answered: now})
			*waiting--
		}
	}
	return now
}

// reason is why a write waits, for people.
func (l *ledger) reason(bot bool) string {
	words := fmt.Sprintf("Switchyard keeps below GitHub's limit of content and writes at most %s", l.pace)
	if bot {
		words += fmt.Sprintf(", of which bots get %d %%", botsShare)
	}
	return words
}

// room counts what is left. The caller holds mu.
func (l *ledger) room(now time.Time, bot bool) Room {
	l.writes = slices.DeleteFunc(l.writes, func(w *written) bool { return left(w, now, time.Hour) })
	room := Room{Left: unlimited}
	for _, window := range []struct {
		length time.Duration
		limit  int
	}{{time.Minute, l.pace.PerMinute}, {time.Hour, l.pace.PerHour}} {
		if window.limit < 0 {
			continue
		}
		room = room.and(l.within(now, window.length, window.limit, false))
		if bot {
			room = room.and(l.within(now, window.length, max(window.limit*botsShare/100, 1), true))
		}
	}
	return room
}

// within is the room of one limit, of all writes or of the bots' only.
func (l *ledger) within(now time.Time, window time.Duration, limit int, bots bool) Room {
	var ends []time.Time
	for _, w := range l.writes {
		if (bots && !w.bot) || left(w, now, window) {
			continue
		}
		answered := w.answered
		if answered.IsZero() {
			answered = now
		}
		ends = append(ends, answered.Add(window))
	}
	if len(ends) < limit {
		return Room{Left: limit - len(ends)}
	}
	slices.SortFunc(ends, time.Time.Compare)
	return Room{Until: ends[len(ends)-limit]}
}

// left reports whether a write has left the window.
func left(w *written, now time.Time, window time.Duration) bool {
	return !w.answered.IsZero() && now.Sub(w.answered) >= window
}

// Room is how many writes may be made now.
type Room struct {
	Left  int
	Until time.Time // when there is room again; zero while some is left
}

// unlimited is the room of a pace without limits.
const unlimited = 1 << 20

// and is the room that both leave.
func (r Room) and(other Room) Room {
	if other.Until.After(r.Until) {
		r.Until = other.Until
	}
	r.Left = min(r.Left, other.Left)
	return r
}
