package hub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/operation"
)

// The states of a check run.
const (
	CheckQueued     = "queued"
	CheckInProgress = "in_progress"
	CheckCompleted  = "completed"
)

// Check is what a check run should show.
type Check struct {
	Name       string
	HeadSHA    string
	Status     string // CheckQueued, CheckInProgress or CheckCompleted
	Conclusion string // when completed: success, failure, neutral, cancelled, skipped, timed_out, action_required
	Title      string
	Summary    string // Markdown
	Text       string // Markdown
	DetailsURL string
	ExternalID string
	Started    time.Time
	Completed  time.Time
	Actions    []CheckAction // buttons; GitHub shows them on completed runs

	// Search says that an earlier create may have succeeded although its answer was lost: one of the same
	// name and ExternalID is looked for first.
	Search bool
}

// CheckAction is a button on a check run.
type CheckAction struct{ Label, Description, Identifier string }

// PutCheck makes the check run with that id show the check, or creates one when id is 0 or when GitHub
// does not have it any more. It returns the id to use the next time.
// See https://docs.github.com/en/rest/checks/runs.
func (h *Hub) PutCheck(ctx context.Context, repo operation.Repository, id int64, c Check) (int64, error) {
	thing := fmt.Sprintf("check run %q of %s", c.Name, repo.FullName())
	update := func(id int64) (int64, error) {
		return h.writeCheck(ctx, repo, request{
			method: http.MethodPatch, route: "repos/{owner}/{repo}/check-runs/{check_run_id}",
			args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)}, body: c.update(),
			do: "update", thing: thing,
		})
	}
	known := id != 0
	if known {
		got, err := update(id)
		if _, gone := errors.AsType[*Gone](err); !gone {
			return got, err
		}
	}
	if c.Search {
		found, err := h.search(ctx, repo, known, func() (int64, error) { return h.findCheck(ctx, repo, c) })
		if err != nil {
			return 0, err
		}
		if found != 0 {
			return update(found)
		}
	}
	return h.writeCheck(ctx, repo, request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/check-runs",
		args: []string{repo.Owner, repo.Name}, body: c.create(),
		do: "create", thing: thing, mustFollow: known,
	})
}

func (h *Hub) writeCheck(ctx context.Context, repo operation.Repository, r request) (int64, error) {
	var got github.CheckRun
	r.out = &got
	if _, err := h.call(ctx, repo.Installation, r); err != nil {
		return 0, err
	}
	return made(r, got.GetID())
}

// errNoID is a success without the id of what was written, e.g. because a proxy answered.
var errNoID = errors.New("the answer has no id")

func made(r request, id int64) (int64, error) {
	if id == 0 {
		return 0, fmt.Errorf("%s %s: %w", r.do, r.thing, errNoID)
	}
	return id, nil
}

// findCheck looks for a check run of ours with the same name and external id; 0 is none.
// See https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference.
func (h *Hub) findCheck(ctx context.Context, repo operation.Repository, c Check) (int64, error) {
	var got github.ListCheckRunsResults
	query := url.Values{"check_name": {c.Name}, "per_page": {strconv.Itoa(perPage)}}
	if h.bearer == "" {
		query.Set("app_id", strconv.FormatInt(h.appID, 10))
	}
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/commits/{ref}/check-runs",
		args: []string{repo.Owner, repo.Name, c.HeadSHA}, query: query,
		out: &got, do: "look for", thing: fmt.Sprintf("check run %q of %s", c.Name, repo.FullName()),
	})
	if _, gone := errors.AsType[*Gone](err); err != nil && !gone {
		return 0, err
	}
	for _, run := range got.CheckRuns {
		if run.GetName() == c.Name && run.GetExternalID() == c.ExternalID && h.ourCheck(run) {
			return run.GetID(), nil
		}
	}
	return 0, nil
}

func (c Check) create() github.CreateCheckRunOptions {
	return github.CreateCheckRunOptions{
		Name: c.Name, HeadSHA: c.HeadSHA, Status: optional(c.Status), Conclusion: c.conclusion(),
		DetailsURL: optional(c.DetailsURL), ExternalID: optional(c.ExternalID),
		StartedAt: timestamp(c.Started), CompletedAt: c.completed(), Output: c.output(), Actions: c.actions(),
	}
}

func (c Check) update() github.UpdateCheckRunOptions {
	return github.UpdateCheckRunOptions{
		Name: c.Name, Status: optional(c.Status), Conclusion: c.conclusion(),
		DetailsURL: optional(c.DetailsURL), ExternalID: optional(c.ExternalID),
		CompletedAt: c.completed(), Output: c.output(), Actions: c.actions(),
	}
}

// conclusion is left out before the end, because GitHub takes one as "completed".
func (c Check) conclusion() *string {
	if c.Status != CheckCompleted {
		return nil
	}
	return optional(c.Conclusion)
}

func (c Check) completed() *github.Timestamp {
	if c.Status != CheckCompleted {
		return nil
	}
	return timestamp(c.Completed)
}

func (c Check) output() *github.CheckRunOutput {
	if c.Title == "" && c.Summary == "" && c.Text == "" {
		return nil
	}
	return &github.CheckRunOutput{
		Title:   new(clip(c.Title, MaxCheckTitle)),
		Summary: new(clip(c.Summary, MaxCheckText)),
		Text:    new(clip(c.Text, MaxCheckText)), // also when empty: it replaces an earlier one
	}
}

func (c Check) actions() []*github.CheckRunAction {
	shown := c.Actions[:min(len(c.Actions), MaxCheckActions)]
	actions := make([]*github.CheckRunAction, 0, len(shown))
	for _, a := range shown {
		actions = append(actions, &github.CheckRunAction{
			Label:       clip(a.Label, MaxCheckActionLabel),
			Description: clip(a.Description, MaxCheckActionDescription),
			Identifier:  clip(a.Identifier, MaxCheckActionIdentifier),
		})
	}
	return actions
}

// optional is nil for the empty string, so that the field is left out.
func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func timestamp(t time.Time) *github.Timestamp {
	if t.IsZero() {
		return nil
	}
	return &github.Timestamp{Time: t.UTC().Truncate(time.Second)}
}
