package hub

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Run is one run of a workflow.
type Run struct {
	ID         int64     `json:"id"`
	Name       string    `json:"display_title"` // what `run-name` of the workflow gives
	Path       string    `json:"path"`          // of the workflow file: .github/workflows/switchyard.yml
	Event      string    `json:"event"`
	Branch     string    `json:"head_branch"`
	SHA        string    `json:"head_sha"` // tip of the branch when the run was made
	Attempt    int       `json:"run_attempt"`
	Status     string    `json:"status"`     // queued, in_progress, waiting, completed …
	Conclusion string    `json:"conclusion"` // success, failure, cancelled …; "" until it is completed
	URL        string    `json:"html_url"`
	Created    time.Time `json:"created_at"`

	// Head is the repository that SHA is of: another one for the pull request of a fork.
	Head struct {
		ID int64 `json:"id"`
	} `json:"head_repository"`

	Actor      Account `json:"actor"`            // who dispatched it
	Triggering Account `json:"triggering_actor"` // who started this attempt
}

// Account is a person, a bot or an App.
type Account struct {
	Login string `json:"login"`
	Type  string `json:"type"` // User, Bot …
}

// RunCompleted is the status of a run that has ended, and RunSucceeded the conclusion of one that ended well.
const (
	RunCompleted = "completed"
	RunSucceeded = "success"
)

// maxRunPages bounds the runs that are looked through for those of one name: at most 300.
const maxRunPages = 3

// Run reads a run.
// See https://docs.github.com/en/rest/actions/workflow-runs#get-a-workflow-run.
func (h *Hub) Run(ctx context.Context, repo operation.Repository, id int64) (Run, error) {
	var got Run
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/runs/{run_id}",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)}, out: &got,
		do: "read", thing: fmt.Sprintf("run %d of %s", id, repo.FullName()),
	})
	return got, err
}

// RunsNamed lists the dispatched runs of a workflow file with this name that were made since then, in no order.
// See https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-workflow.
func (h *Hub) RunsNamed(ctx context.Context, repo operation.Repository, workflow, name string, since time.Time) ([]Run, error) {
	var found []Run
	created := url.Values{"created": {">=" + since.UTC().Format(time.RFC3339)}}
	_, err := h.dispatchedRuns(ctx, repo, workflow, created, maxRunPages, func(run Run) bool {
		if run.Name == name {
			found = append(found, run)
		}
		return true
	})
	return found, err
}

// dispatchedRuns gives the dispatched runs of a workflow file that a search finds to each, the newest first, until that returns false,
// and reports whether there are more than on so many pages of 100.
func (h *Hub) dispatchedRuns(
	ctx context.Context, repo operation.Repository, workflow string, search url.Values, pages int, each func(Run) bool,
) (more bool, err error) {
	var got struct {
		Runs []Run `json:"workflow_runs"`
	}
	query := url.Values{"event": {"workflow_dispatch"}}
	maps.Copy(query, search)
	return h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/workflows/{workflow_id}/runs",
		args: []string{repo.Owner, repo.Name, workflow}, out: &got, query: query,
		do: "list", thing: "the runs of " + harmless(workflow) + " of " + repo.FullName(),
	}, pages, func() bool {
		runs := got.Runs
		got.Runs = nil
		return !slices.ContainsFunc(runs, func(run Run) bool { return !each(run) })
	})
}

// Artifact is one archive that a run has left.
type Artifact struct {
	ID      int64  `json:"id"`
	Name    string `json:"name"`
	Size    int64  `json:"size_in_bytes"`
	Expired bool   `json:"expired"`
}

// Artifacts lists what a run has left: the first 100.
// See https://docs.github.com/en/rest/actions/artifacts#list-workflow-run-artifacts.
func (h *Hub) Artifacts(ctx context.Context, repo operation.Repository, run int64) ([]Artifact, error) {
	var got struct {
		Artifacts []Artifact `json:"artifacts"`
	}
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/runs/{run_id}/artifacts",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(run, 10)}, out: &got,
		query: url.Values{"per_page": {strconv.Itoa(perPage)}},
		do:    "list", thing: fmt.Sprintf("what run %d of %s has left", run, repo.FullName()),
	})
	return got.Artifacts, err
}
