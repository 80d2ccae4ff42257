package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// The kinds of surface.
const (
	surfaceComment    = "comment"
	surfacePage       = "page"
	surfaceNotice     = "notice"
	surfaceCheck      = "check"
	surfaceDeployment = "deployment"
	surfaceReaction   = "reaction"
	surfaceIncident   = "incident"
)

// How the publisher works: how many surfaces it writes at once, how long it owns one, how often it
// looks when nobody wakes it, and how long it waits after a fault, doubled each time up to a bound.
const (
	publishers     = 4
	surfaceLease   = 40 * time.Second
	surfaceLimit   = 30 * time.Second // for one write, so that it has ended before somebody else may begin
	publishPoll    = time.Second
	publishDelay   = 2 * time.Second
	publishLongest = 5 * time.Minute
)

// external is what GitHub called the things that a surface made.
type external struct {
	ID    int64  `json:"id,omitempty"`
	Node  string `json:"node,omitempty"`
	URL   string `json:"url,omitempty"`
	State string `json:"state,omitempty"`
	Issue int    `json:"issue,omitempty"` // that a comment is in, where it was opened for that
}

// reaction is the wanted state of a reaction to a comment.
type reaction struct {
	Comment int64  `json:"comment"`
	Content string `json:"content"`
}

// Publish writes to GitHub what its surfaces should show, until ctx ends. Each surface is written by
// one writer at a time; what changed while it was written is written next.
func (d *Deploy) Publish(ctx context.Context) error {
	group, ctx := errgroup.WithContext(d.Log.WithContext(ctx))
	for range publishers {
		group.Go(func() error {
			for ctx.Err() == nil {
				wake := d.Store.Wake() // taken before looking, so that nothing is missed between
				busy, err := d.publishOne(ctx)
				if err != nil && ctx.Err() == nil {
					zerolog.Ctx(ctx).Error().Err(err).Msg("could not take a surface to write")
				}
				if busy {
					continue
				}
				select {
				case <-ctx.Done():
				case <-wake:
				case <-d.Clock.After(publishPoll):
				}
			}
			return nil
		})
	}
	return wrap("publish", group.Wait())
}

// flushPoll is how often Flush looks whether everything is written.
const flushPoll = 20 * time.Millisecond

// Flush waits until the publishers have written all that is due, at most until ctx ends: what ended while the
// server drains should be shown before it is gone.
func (d *Deploy) Flush(ctx context.Context) {
	ticker := d.Clock.NewTicker(flushPoll)
	defer ticker.Stop()
	for {
		due, err := d.Store.DueSurfaces(ctx)
		if err != nil || due == 0 {
			return // what is not written now is written by the next server
		}
		select {
		case <-ctx.Done():
			return
		case <-ticker.Chan():
		}
	}
}

// pauses are the installations that have used up what may be written to them, for bots or at all. To claim what
// would only be put off again costs a transaction for each of the thousands of surfaces that a storm leaves waiting.
func (d *Deploy) pauses() []store.Pause {
	var pauses []store.Pause
	for _, installation := range d.Hub.Paused() {
		pauses = append(pauses, store.Pause{Installation: installation})
	}
	for _, installation := range d.Hub.PausedForBots() {
		pauses = append(pauses, store.Pause{Installation: installation, Bots: true})
	}
	return pauses
}

// publishOne writes the next due surface. It reports whether there was one.
func (d *Deploy) publishOne(ctx context.Context) (bool, error) {
	surface, ok, err := d.Store.ClaimSurface(ctx, surfaceLease, d.pauses()...)
	if err != nil || !ok {
		return false, wrap("claim a surface", err)
	}
	writing := ctx
	if surface.Priority == store.ForBots {
		writing = hub.ForBots(ctx)
	}
	writing, cancel := context.WithTimeout(writing, surfaceLimit)
	defer cancel()
	ids, err := d.write(writing, surface)
	keep := context.WithoutCancel(ctx)
	if err == nil {
		return true, wrap("record what was written", d.Store.Written(keep, surface, ids))
	}
	log := zerolog.Ctx(ctx).Warn().Err(err).Str(keyRepository, surface.Repository.FullName()).Str(keySurface, surface.Key)
	gone, person := (*hub.Gone)(nil), (*hub.NeedsPerson)(nil)
	if errors.As(err, &gone) || errors.As(err, &person) {
		// Trying again changes nothing; the next change of this surface tries anew, and so does the App when it is let in again.
		log.Msg("GitHub does not take this")
		return true, wrap("record what was refused", d.Store.Refused(keep, surface, ids, err.Error()))
	}
	problem := err.Error()
	if wait := (*hub.Wait)(nil); errors.As(err, &wait) {
		at := wait.RetryAt(d.Clock.Now())
		log.Time(keyAgain, at).Msg("GitHub is written to later")
		return true, wrap("put a write off", d.Store.Postpone(keep, surface, at.Sub(d.Clock.Now()), problem))
	}
	at := d.Clock.Now().Add(min(publishDelay<<min(surface.Attempts, 10), publishLongest))
	log.Time(keyAgain, at).Msg("could not write to GitHub yet")
	if surface.External, err = json.Marshal(ids); err != nil {
		return true, fmt.Errorf("keep what was written: %w", err)
	}
	return true, wrap("record a failed write", d.Store.Unwritten(keep, surface, at.Sub(d.Clock.Now()), problem))
}

// write brings one surface to GitHub and returns what GitHub called it.
func (d *Deploy) write(ctx context.Context, surface store.Surface) (external, error) {
	var ids external
	if len(surface.External) > 0 {
		if err := json.Unmarshal(surface.External, &ids); err != nil {
			return ids, fmt.Errorf("read what was written before: %w", err)
		}
	}
	repo := surface.Repository
	switch surface.Kind {
	case surfaceComment:
		return writeAs(surface, func(c hub.Comment) (external, error) {
			c.Search = c.Search || surface.Attempts > 0 // an attempt whose answer was lost may have posted it
			return d.putComment(ctx, repo, ids, c)
		})
	case surfacePage:
		return writeAs(surface, func(p page) (external, error) { return d.putPage(ctx, surface, ids, p) })
	case surfaceNotice:
		return writeAs(surface, func(n notice) (external, error) {
			if n.Minimized {
				if ids.Node == "" {
					return ids, nil
				}
				return ids, wrap("minimise", d.Hub.Minimize(ctx, repo, ids.Node))
			}
			n.Comment.Search = surface.Attempts > 0
			return d.putComment(ctx, repo, ids, n.Comment)
		})
	case surfaceCheck:
		return writeAs(surface, func(c hub.Check) (external, error) {
			c.Search = surface.Attempts > 0
			c, err := d.keep(ctx, repo, c)
			if err != nil {
				return ids, err
			}
			id, err := d.Hub.PutCheck(ctx, repo, ids.ID, c)
			if err != nil {
				return ids, fmt.Errorf("write check: %w", err)
			}
			return external{ID: id}, nil
		})
	case surfaceDeployment:
		return writeAs(surface, func(wanted hub.Deployment) (external, error) {
			wanted.Search = surface.Attempts > 0
			id, err := d.Hub.PutDeployment(ctx, repo, ids.ID, ids.State, wanted)
			if id != 0 {
				ids.ID = id
			}
			if err != nil {
				return ids, fmt.Errorf("write deployment: %w", err)
			}
			return external{ID: id, State: wanted.State}, nil
		})
	case surfaceIncident:
		return writeAs(surface, func(wanted incident) (external, error) {
			return d.writeIncident(ctx, repo, surface.Key, surface.Attempts > 0, ids, wanted)
		})
	case surfaceReaction:
		return writeAs(surface, func(r reaction) (external, error) {
			return ids, wrap("react", d.Hub.React(ctx, repo, r.Comment, r.Content))
		})
	default:
		return ids, fmt.Errorf("surface %q is of the unknown kind %q", surface.Key, surface.Kind)
	}
}

func writeAs[T any](surface store.Surface, put func(T) (external, error)) (external, error) {
	var wanted T
	if err := json.Unmarshal(surface.Wanted, &wanted); err != nil {
		return external{}, fmt.Errorf("read what %s should show: %w", surface.Key, err)
	}
	return put(wanted)
}

func (d *Deploy) putComment(ctx context.Context, repo operation.Repository, ids external, c hub.Comment) (external, error) {
	ref, err := d.Hub.PutComment(ctx, repo, ids.ID, c)
	if err != nil {
		return ids, fmt.Errorf("write comment: %w", err)
	}
	return external{ID: ref.ID, Node: ref.NodeID, URL: ref.URL, Issue: ids.Issue}, nil
}

// minimizeNotice wants a notice minimised, if there is one.
func (d *Deploy) minimizeNotice(ctx context.Context, repo operation.Repository, key string) error {
	surface, ok, err := d.Store.Surface(ctx, repo.ID, key)
	if err != nil || !ok {
		return wrap("find the notice", err)
	}
	return writeBack(surface, func(n notice) error {
		n.Minimized = true
		return d.want(ctx, repo, surfaceNotice, key, n, time.Time{})
	})
}

func writeBack[T any](surface store.Surface, change func(T) error) error {
	var wanted T
	if err := json.Unmarshal(surface.Wanted, &wanted); err != nil {
		return fmt.Errorf("read what %s should show: %w", surface.Key, err)
	}
	return change(wanted)
}
