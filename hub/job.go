package hub

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Deployed is a deployment that a job of a workflow made and that succeeded.
type Deployed struct {
	SHA string // tip of the run's branch when the run began
	Run int64
}

// actionsApp is the App as which GitHub records the deployments of jobs: no other App can make one in its name.
const actionsApp = "github-actions"

// Bounds on what is read of an environment's deployments.
const (
	maxDeploymentPages = 3   // of 100, the newest ones
	maxStatuses        = 100 // of how many of them the statuses are read: one call each
)

// maxListedRuns is how many runs GitHub lists of those that a search finds, and maxListedPages in how many pages.
// See https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-workflow.
const (
	maxListedRuns  = 1000
	maxListedPages = maxListedRuns / perPage
)

// runOfLog finds the run in the address of a deployment's log.
var runOfLog = regexp.MustCompile(`/actions/runs/(\d{1,18})(?:/|$)`)

// Deployed gives the deployments of an environment that jobs of workflows made and that succeeded once, the newest first, to
// each until that returns false. An environment of another name is never among them, whatever GitHub's search takes for equal.
// That there are more than are looked through is an error: what each did not get to see must not be taken for missing.
// See https://docs.github.com/en/rest/deployments/deployments#list-deployments.
func (h *Hub) Deployed(ctx context.Context, repo operation.Repository, environment string, each func(Deployed) (bool, error)) error {
	left := maxStatuses
	_, err := h.deployed(ctx, repo, environment, "", &left, each)
	return err
}

// DeployedBy is Deployed for what the dispatched runs of one workflow file on one branch have deployed, those of the newest run first:
// however often others deploy to that environment, they are not looked through. Of a run that failed at its only attempt nothing is given.
// See https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-workflow.
func (h *Hub) DeployedBy(
	ctx context.Context, repo operation.Repository, environment, workflow, branch string, each func(Deployed) (bool, error),
) error {
	var failed error
	left, seen, done := maxStatuses, 0, false
	more, err := h.dispatchedRuns(ctx, repo, workflow, url.Values{"branch": {branch}}, maxListedPages, func(run Run) bool {
		seen++
		if run.Attempt == 1 && run.Status == RunCompleted && run.Conclusion != RunSucceeded {
			return true
		}
		goOn, err := h.deployed(ctx, repo, environment, run.SHA, &left, func(d Deployed) (bool, error) {
			if d.Run != run.ID {
				return true, nil
			}
			return each(d)
		})
		failed, done = err, !goOn
		return err == nil && goOn
	})
	switch {
	case err != nil:
		return err
	case failed != nil || done:
		return failed
	case more || seen >= maxListedRuns:
		return fmt.Errorf("%s has more runs of %s on branch %s than are looked through: delete those that did not succeed",
			repo.FullName(), harmless(workflow), harmless(branch))
	default:
		return nil
	}
}

// deployed is Deployed, of one commit where sha names one. Of at most left more deployments it reads the statuses, and counts them off.
// goOn is false once each has had enough.
func (h *Hub) deployed(
	ctx context.Context, repo operation.Repository, environment, sha string, left *int, each func(Deployed) (bool, error),
) (goOn bool, err error) {
	var got []deployment
	var failed error
	done, enough := false, false
	look := func() bool {
		page := got
		got = nil
		for _, d := range page {
			if d.Environment != environment || d.App.Slug != actionsApp || sha != "" && d.SHA != sha {
				continue
			}
			if *left--; *left < 0 {
				enough = true
				return false
			}
			if more, err := h.showDeployed(ctx, repo, d, each); err != nil || !more {
				failed, done = err, true
				return false
			}
		}
		return true
	}
	query := url.Values{"environment": {environment}}
	if sha != "" {
		query.Set("sha", sha)
	}
	more, err := h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/deployments", args: []string{repo.Owner, repo.Name},
		query: query, out: &got, do: "list", thing: "the deployments of " + repo.FullName(),
	}, maxDeploymentPages, look)
	switch {
	case err != nil:
		return false, err
	case done:
		return false, failed
	case more || enough:
		return false, fmt.Errorf("%s has more deployments to %s than are looked through for the last apply: "+
			"let other workflows deploy to a GitHub Environment of their own, and delete their deployments to this one",
			repo.FullName(), harmless(environment))
	default:
		return true, nil
	}
}

// deployment is what a list of deployments has of one.
type deployment struct {
	ID          int64  `json:"id"`
	SHA         string `json:"sha"`
	Environment string `json:"environment"`
	App         struct {
		Slug string `json:"slug"`
	} `json:"performed_via_github_app"`
}

// showDeployed gives a deployment to each, if it succeeded.
func (h *Hub) showDeployed(
	ctx context.Context, repo operation.Repository, d deployment, each func(Deployed) (bool, error),
) (more bool, err error) {
	run, succeeded, err := h.succeeded(ctx, repo, d.ID)
	if err != nil || !succeeded || run == 0 {
		return true, err
	}
	return each(Deployed{SHA: d.SHA, Run: run})
}

// succeeded reports whether a deployment has ever had the state success by the job that made it, and which run that was: by the oldest
// status, which nobody can go before, and which cannot be taken away. A newer deployment makes it inactive.
// See https://docs.github.com/en/rest/deployments/statuses#list-deployment-statuses.
func (h *Hub) succeeded(ctx context.Context, repo operation.Repository, id int64) (run int64, succeeded bool, err error) {
	var got []struct {
		State string `json:"state"`
		Log   string `json:"log_url"`
		App   struct {
			Slug string `json:"slug"`
		} `json:"performed_via_github_app"`
	}
	next, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
		args:  []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)},
		query: url.Values{"per_page": {strconv.Itoa(perPage)}}, out: &got,
		do: "list", thing: "the statuses of a deployment of " + repo.FullName(),
	})
	for _, status := range got {
		if status.App.Slug != "" && status.App.Slug != actionsApp {
			continue // whoever may write deployments can call any of them a success
		}
		succeeded = succeeded || status.State == "success"
		if match := runOfLog.FindStringSubmatch(status.Log); match != nil {
			run, _ = strconv.ParseInt(match[1], 10, 64) // 18 digits always fit
		}
	}
	if err == nil && next != (page{}) { // a job gives a handful
		err = fmt.Errorf("deployment %d of %s has more than %d statuses, and a job gives it a handful: find out who did, and delete it; "+
			"then the one before counts",
			id, repo.FullName(), perPage)
	}
	return run, succeeded, err
}

// FirstSucceeded reports whether a run succeeded before anybody started it again: a job did, and none failed.
// See https://docs.github.com/en/rest/actions/workflow-jobs#list-jobs-for-a-workflow-run-attempt.
func (h *Hub) FirstSucceeded(ctx context.Context, repo operation.Repository, id int64) (bool, error) {
	var got struct {
		Jobs []struct {
			Conclusion string `json:"conclusion"`
		} `json:"jobs"`
	}
	succeeded, failed := 0, 0
	_, err := h.list(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/actions/runs/{run_id}/attempts/{attempt_number}/jobs",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10), "1"}, out: &got,
		do: "list", thing: fmt.Sprintf("the jobs of the first attempt of run %d of %s", id, repo.FullName()),
	}, maxJobPages, func() bool {
		for _, job := range got.Jobs {
			switch job.Conclusion {
			case "success":
				succeeded++
			case "skipped":
			default:
				failed++
			}
		}
		got.Jobs = nil
		return true
	})
	return err == nil && succeeded > 0 && failed == 0, err
}

// RunsAround lists the dispatched runs of a workflow file that were made at most so long before or after a run, in no order, without
// that run. Of more than 300 only the newest are looked through.
// See https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-workflow.
func (h *Hub) RunsAround(
	ctx context.Context, repo operation.Repository, workflow string, run Run, before, after time.Duration,
) ([]Run, error) {
	stamp := func(at time.Time) string { return at.UTC().Format(time.RFC3339) }
	var found []Run
	during := url.Values{"created": {stamp(run.Created.Add(-before)) + ".." + stamp(run.Created.Add(after))}}
	_, err := h.dispatchedRuns(ctx, repo, workflow, during, maxRunPages, func(other Run) bool {
		if other.ID != run.ID {
			found = append(found, other)
		}
		return true
	})
	return found, err
}

// RevokeToken ends an installation token before its time. It is asked with that token itself.
// See https://docs.github.com/en/rest/apps/installations#revoke-an-installation-access-token.
func (h *Hub) RevokeToken(ctx context.Context, token string) error {
	const route = "installation/token"
	ctx, cancel := context.WithTimeout(withLabels(ctx, 0, route), h.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodDelete, h.api.JoinPath(route).String(), http.NoBody)
	if err != nil {
		return fmt.Errorf("revoke a token: make the request: %w", err)
	}
	request.Header.Set("Accept", "application/vnd.github+json")
	request.Header.Set("Authorization", "Bearer "+token)
	response, err := (&http.Client{Transport: h.edge, CheckRedirect: stay}).Do(request)
	if err != nil {
		return fmt.Errorf("revoke a token: %w", err)
	}
	defer discard(response)
	if response.StatusCode != http.StatusNoContent {
		return fmt.Errorf("revoke a token: GitHub answers %s", response.Status)
	}
	return nil
}

// maxIdentityToken bounds the answer of the endpoint that gives a job its identity, in bytes.
const maxIdentityToken = 64 << 10

// IdentityToken asks for a token that says which job this is, for one audience. address and secret are what GitHub gives to a job
// with the permission `id-token: write`.
// See https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token.
func (h *Hub) IdentityToken(ctx context.Context, address, secret, audience string) (token string, err error) {
	at, err := url.Parse(address)
	if err != nil || at.Host == "" {
		return "", errors.New("ask for the job's identity: the address is not one") // it may hold a secret: not repeated
	}
	query := at.Query()
	query.Set("audience", audience)
	at.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, h.timeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return "", errors.New("ask for the job's identity: the address is not one")
	}
	request.Header.Set("Authorization", "Bearer "+secret)
	response, err := (&http.Client{Transport: h.plain}).Do(request)
	if failed, ok := errors.AsType[*url.Error](err); ok {
		err = failed.Err // its own words repeat the address
	}
	if err != nil {
		return "", fmt.Errorf("ask %s for the job's identity: %w", at.Host, err)
	}
	defer func() { err = errors.Join(err, response.Body.Close()) }()
	var answer struct {
		Value string `json:"value"`
	}
	if response.StatusCode != http.StatusOK {
		return "", fmt.Errorf("ask %s for the job's identity: it answers %s", at.Host, response.Status)
	}
	if err := json.NewDecoder(io.LimitReader(response.Body, maxIdentityToken)).Decode(&answer); err != nil {
		return "", fmt.Errorf("read the job's identity: %w", err)
	}
	if strings.TrimSpace(answer.Value) == "" {
		return "", errors.New("read the job's identity: it is empty")
	}
	return answer.Value, nil
}
