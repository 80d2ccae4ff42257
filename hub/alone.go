package hub

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/operation"
)

// actionsBot is who acts with the token of a workflow's job.
// See https://docs.github.com/en/actions/concepts/security/github_token.
const actionsBot = actionsApp + "[bot]"

// ourComment reports whether a comment was written by whom this hub acts as. The App's number differs between GitHub's servers where
// that is the job of a workflow.
func (h *Hub) ourComment(c comment) bool {
	if c.User.Type != Bot {
		return false
	}
	if h.bearer != "" {
		return c.User.Login == actionsBot
	}
	return c.App.ID == h.appID
}

// ourCheck is the same of a check run.
func (h *Hub) ourCheck(run *github.CheckRun) bool {
	if h.bearer != "" {
		return run.GetApp().GetSlug() == actionsApp
	}
	return run.GetApp().GetID() == h.appID
}

// Shown is a check run as GitHub shows it.
type Shown struct {
	Name       string
	Conclusion string // empty until it is completed
	Text       string
}

// ChecksOfJobs lists the check runs on a commit that jobs of workflows made, the newest of each name: at most 100.
// See https://docs.github.com/en/rest/checks/runs#list-check-runs-for-a-git-reference.
func (h *Hub) ChecksOfJobs(ctx context.Context, repo operation.Repository, sha string) ([]Shown, error) {
	var got github.ListCheckRunsResults
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/commits/{ref}/check-runs", args: []string{repo.Owner, repo.Name, sha},
		query: url.Values{"filter": {"latest"}, "per_page": {strconv.Itoa(perPage)}},
		out:   &got, do: "list", thing: fmt.Sprintf("the check runs of %s of %s", harmless(sha), repo.FullName()),
	})
	if err != nil {
		return nil, err
	}
	var all []Shown
	for _, run := range got.CheckRuns {
		if run.GetApp().GetSlug() == actionsApp {
			all = append(all, Shown{Name: run.GetName(), Conclusion: run.GetConclusion(), Text: run.GetOutput().GetText()})
		}
	}
	return all, nil
}

// RunsGoing lists the runs of a workflow file that have begun and not ended: the newest 100 of those that were made since then.
func (h *Hub) RunsGoing(ctx context.Context, repo operation.Repository, workflow string, since time.Time) ([]Run, error) {
	return h.runsSince(ctx, repo, workflow, since, url.Values{"status": {RunInProgress}})
}

// RunsFor lists the runs of a workflow file for an event: the newest 100 of those that were made since then.
func (h *Hub) RunsFor(ctx context.Context, repo operation.Repository, workflow, event string, since time.Time) ([]Run, error) {
	return h.runsSince(ctx, repo, workflow, since, url.Values{"event": {event}})
}

// See https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-workflow.
func (h *Hub) runsSince(ctx context.Context, repo operation.Repository, workflow string, since time.Time, only url.Values) ([]Run, error) {
	var got struct {
		Runs []Run `json:"workflow_runs"`
	}
	only.Set("created", ">="+since.UTC().Format(time.RFC3339))
	only.Set("per_page", strconv.Itoa(perPage))
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs",
		args: []string{repo.Owner, repo.Name, workflow}, out: &got, query: only,
		do: "list", thing: "the runs of " + harmless(workflow) + " of " + repo.FullName(),
	})
	return got.Runs, err
}
