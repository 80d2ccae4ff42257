package deploy

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// A plan that neither the comment of its pull request nor the text of its check has room for is shown by further comments.
// They are posted one after the other, so that they stand in their order, and behind the first, to which they lead; what
// leads to them from there is written once they are all there. From then on they are edited like any other surface. Only a
// plan that has ended changes them: that it is stale, or that another is made, is said by the first comment.

// How long a further comment waits for the one before it. At first a second, which is what GitHub asks for between requests
// that change something, and longer where GitHub cannot be written to.
// https://docs.github.com/en/rest/using-the-rest-api/best-practices-for-using-the-rest-api#pause-between-mutative-requests
const (
	pagePace    = time.Second
	pageLongest = time.Minute
)

// page is the wanted state of a further comment.
type page struct {
	hub.Comment

	Minimized bool `json:"minimized,omitempty"` // the newest plan does not need it
}

// minimized is the state of what GitHub shows folded away.
const minimized = "minimized"

func commentKey(pull int) string { return fmt.Sprintf("pull/%d/comment", pull) }

func pageKey(pull, number int) string { return fmt.Sprintf("pull/%d/page/%d", pull, number) }

// firstPage is the number of the first of the further comments: the one comment is the first of all.
const firstPage = 2

// addPages adds to the view of a pull request what further comments show of its plan, and where those are.
func (d *Deploy) addPages(ctx context.Context, repo operation.Repository, facts pullFacts, view *render.PullView) error {
	view.First = facts.First
	if !settled(facts, *view) {
		return nil
	}
	if view.Pages = render.PlanPages(*view); view.Pages == nil {
		return nil
	}
	comment, err := d.shownAt(ctx, repo.ID, commentKey(facts.Number))
	if err != nil {
		return err
	}
	view.CommentURL = comment.ids.URL
	view.Pages = render.PlanPages(*view)
	for i := range view.Pages.Bodies {
		at, err := d.shownAt(ctx, repo.ID, pageKey(facts.Number, firstPage+i))
		if err != nil || at.ids.ID == 0 {
			return err
		}
		view.Pages.URLs = append(view.Pages.URLs, at.ids.URL)
	}
	return nil
}

// settled reports whether it is known what further comments a pull request needs: not while a plan is made, and not where
// none can be made for now.
func settled(facts pullFacts, view render.PullView) bool {
	if facts.State != hub.Open || facts.Merge != "" || facts.Problem != "" || len(view.Applies) > 0 {
		return false
	}
	return len(facts.Roots) == 0 || view.Plan != nil && view.Plan.State.Ended() && view.Plan.Result != nil
}

// shown is a surface and what GitHub called it.
type shown struct {
	store.Surface

	known bool // there is such a surface
	ids   external
}

// pending reports whether it is wanted and not at GitHub yet, and may still come there.
func (s shown) pending() bool {
	refused := s.Written == s.Version && s.Problem != ""
	return s.known && s.ids.ID == 0 && !refused
}

func (d *Deploy) shownAt(ctx context.Context, repo int64, key string) (shown, error) {
	surface, ok, err := d.Store.Surface(ctx, repo, key)
	at := shown{Surface: surface, known: ok}
	if err != nil || !ok || len(surface.External) == 0 {
		return at, wrap("find "+key, err)
	}
	err = json.Unmarshal(surface.External, &at.ids)
	return at, wrap("read what GitHub called "+key, err)
}

// pageShown is what a further comment should show by now.
func (d *Deploy) pageShown(ctx context.Context, repo int64, pull, number int) (shown, page, error) {
	at, err := d.shownAt(ctx, repo, pageKey(pull, number))
	var wanted page
	if err != nil || !at.known {
		return at, wanted, err
	}
	err = json.Unmarshal(at.Wanted, &wanted) //nolint:musttag // as it was written
	return at, wanted, wrap("read what "+at.Key+" should show", err)
}

// wantPages wants the further comments of a pull request: those that are there as they have to be, and the next one.
func (d *Deploy) wantPages(ctx context.Context, repo operation.Repository, facts pullFacts, view render.PullView) error {
	if !settled(facts, view) {
		return nil
	}
	ctx = forWhom(ctx, true) // what the first comments and the checks of others say comes before it
	n := 0
	if view.Pages != nil {
		n = len(view.Pages.Bodies)
	}
	there := view.CommentURL != ""
	for i := range n {
		if !there {
			return wrap("queue the next comment", d.enqueue(ctx, nextPageJob(repo, facts.Number, d.Clock.Now())))
		}
		at, err := d.shownAt(ctx, repo.ID, pageKey(facts.Number, firstPage+i))
		if err != nil {
			return err
		}
		marker := render.PageMarker(facts.Number, firstPage+i)
		wanted := page{Comment: hub.Comment{Number: facts.Number, Body: view.Pages.Bodies[i], Marker: marker}}
		if err := d.want(ctx, repo, surfacePage, pageKey(facts.Number, firstPage+i), wanted, time.Time{}); err != nil {
			return err
		}
		there = at.ids.ID != 0
	}
	if n > 0 && !there {
		return wrap("queue what leads to the comments", d.enqueue(ctx, nextPageJob(repo, facts.Number, d.Clock.Now())))
	}
	return d.retirePages(ctx, repo, facts, view, firstPage+n)
}

// retirePages wants it said of the further comments from a number on that nobody needs them.
func (d *Deploy) retirePages(ctx context.Context, repo operation.Repository, facts pullFacts, view render.PullView, from int) error {
	for number := from; number <= render.MaxPages+1; number++ {
		at, wanted, err := d.pageShown(ctx, repo.ID, facts.Number, number)
		if err != nil || !at.known {
			return err
		}
		if wanted.Minimized {
			continue
		}
		if view.CommentURL == "" {
			first, err := d.shownAt(ctx, repo.ID, commentKey(facts.Number))
			if err != nil {
				return err
			}
			view.CommentURL = first.ids.URL
		}
		wanted = page{Minimized: true, Comment: hub.Comment{
			Number: facts.Number, Body: render.RetiredPage(view, number), Marker: render.PageMarker(facts.Number, number),
		}}
		if err := d.want(ctx, repo, surfacePage, at.Key, wanted, time.Time{}); err != nil {
			return err
		}
	}
	return nil
}

// nextPage is the payload of the job that sees to the next further comment.
type nextPage struct {
	Repository operation.Repository `json:"repository"`
	Number     int                  `json:"number"`
	Since      time.Time            `json:"since"` // when it was queued
}

func nextPageJob(repo operation.Repository, number int, now time.Time) queue.Job {
	j := job(queue.Quick, KindPages, repo.ID, fmt.Sprintf("pages %d#%d", repo.ID, number),
		nextPage{Repository: repo, Number: number, Since: now})
	j.Once = true
	return j
}

// follows says that a further comment waits for the one before it.
type follows struct {
	key string
	at  time.Time
}

func (f *follows) Error() string               { return "it comes after " + f.key }
func (f *follows) RetryAt(time.Time) time.Time { return f.at }

// nextPage shows a pull request again once all the comments that are wanted of it are there.
func (d *Deploy) nextPage(ctx context.Context, what nextPage) error {
	first, err := d.shownAt(ctx, what.Repository.ID, commentKey(what.Number))
	if err != nil {
		return err
	}
	pending := first.pending()
	before := first
	for number := firstPage; number <= render.MaxPages+1 && !pending; number++ {
		at, wanted, err := d.pageShown(ctx, what.Repository.ID, what.Number, number)
		if err != nil {
			return err
		}
		if !at.known {
			break
		}
		before, pending = at, at.pending() && !wanted.Minimized
		if !pending && !wanted.Minimized && at.ids.ID == 0 {
			return nil // GitHub does not take it, and what follows would stand alone
		}
	}
	if !pending {
		return d.showPull(ctx, what.Repository, what.Number)
	}
	const share = 4 // of the time that it has waited already
	now := d.Clock.Now()
	return &follows{before.Key, now.Add(min(max(now.Sub(what.Since)/share, pagePace), pageLongest))}
}

// putPage brings a further comment to GitHub. It is folded away where it is not needed, and unfolded where it is again.
func (d *Deploy) putPage(ctx context.Context, surface store.Surface, ids external, wanted page) (external, error) {
	if wanted.Minimized && ids.ID == 0 && surface.Attempts == 0 {
		return ids, nil // it was never posted
	}
	wanted.Search = surface.Attempts > 0 || ids.ID != 0
	written, err := d.putComment(ctx, surface.Repository, ids, wanted.Comment)
	if written.ID == ids.ID {
		written.State = ids.State // else it was posted anew, in place of one that somebody deleted
	}
	if err != nil {
		return written, err
	}
	folded := written.State == minimized
	switch {
	case wanted.Minimized == folded:
		return written, nil
	case wanted.Minimized:
		written.State = minimized
		err = d.Hub.Minimize(ctx, surface.Repository, written.Node)
	default:
		written.State = ""
		err = d.Hub.Unminimize(ctx, surface.Repository, written.Node)
	}
	if err != nil {
		written.State = ""
		if folded {
			written.State = minimized
		}
		return written, fmt.Errorf("fold a comment: %w", err)
	}
	return written, nil
}

var _ queue.Retry = (*follows)(nil)
