package hub

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strconv"

	"github.com/google/go-github/v66/github"

	"github.com/switchyard-dev/switchyard/operation"
)

// Deployment is what a deployment should show.
type Deployment struct {
	Ref         string // a commit or branch
	Environment string
	Description string
	Production  bool
	Payload     any // for other tools; JSON

	State             string // queued, pending, in_progress, success, failure, error or inactive; empty for none
	StatusDescription string
	LogURL            string

	// Search says that an earlier create may have succeeded although its answer was lost: one with the
	// same environment, ref and payload is looked for first.
	Search bool
}

// PutDeployment makes the deployment with that id show the state, or creates one when id is 0 or when it
// was deleted. A status is added only when State differs from written, the state that GitHub shows already.
// The id that it returns is valid also beside an error: then the deployment exists and its status is missing.
// See https://docs.github.com/en/rest/deployments/deployments#create-a-deployment.
func (h *Hub) PutDeployment(ctx context.Context, repo operation.Repository, id int64, written string, d Deployment) (int64, error) {
	if id == 0 {
		return h.makeDeployment(ctx, repo, d, false)
	}
	if d.State == "" || d.State == written {
		return id, nil
	}
	err := h.addStatus(ctx, repo, id, d)
	if _, gone := errors.AsType[*Gone](err); gone {
		return h.makeDeployment(ctx, repo, d, true)
	}
	return id, err
}

// makeDeployment finds the lost one or creates one, and adds its status.
func (h *Hub) makeDeployment(ctx context.Context, repo operation.Repository, d Deployment, begun bool) (int64, error) {
	if d.Search {
		found, err := h.search(ctx, repo, begun, func() (int64, error) { return h.findDeployment(ctx, repo, d) })
		if err != nil {
			return 0, err
		}
		if found != 0 && d.State != "" {
			return found, h.addStatus(ctx, repo, found, d)
		}
		if found != 0 {
			return found, nil
		}
	}
	id, err := h.createDeployment(ctx, repo, d, begun)
	if err != nil || d.State == "" {
		return id, err
	}
	return id, h.createStatus(ctx, repo, id, d, true)
}

// createDeployment creates one. GitHub's defaults would merge the default branch into the ref, and refuse while
// any check has not passed: neither is wanted.
func (h *Hub) createDeployment(ctx context.Context, repo operation.Repository, d Deployment, begun bool) (int64, error) {
	var got github.Deployment
	r := request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/deployments", args: []string{repo.Owner, repo.Name},
		body: github.DeploymentRequest{
			Ref: &d.Ref, AutoMerge: new(false), RequiredContexts: &[]string{}, Payload: d.Payload,
			Environment: &d.Environment, Description: new(clip(d.Description, MaxDeploymentDescription)),
			ProductionEnvironment: &d.Production,
		},
		out: &got, do: "create", thing: d.name(repo), mustFollow: begun,
	}
	if _, err := h.call(ctx, repo.Installation, r); err != nil {
		return 0, err
	}
	return made(r, got.GetID())
}

func (d Deployment) name(repo operation.Repository) string {
	return fmt.Sprintf("a deployment of %s to %s", repo.FullName(), harmless(d.Environment))
}

// findDeployment looks among the newest deployments of the ref to the environment; 0 is none.
// See https://docs.github.com/en/rest/deployments/deployments#list-deployments.
func (h *Hub) findDeployment(ctx context.Context, repo operation.Repository, d Deployment) (int64, error) {
	var got []*github.Deployment
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/deployments", args: []string{repo.Owner, repo.Name},
		query: url.Values{"ref": {d.Ref}, "environment": {d.Environment}, "per_page": {strconv.Itoa(perPage)}},
		out:   &got, do: "look for", thing: d.name(repo),
	})
	if err != nil {
		return 0, err
	}
	for _, candidate := range got {
		if candidate.GetEnvironment() == d.Environment && candidate.GetRef() == d.Ref && samePayload(candidate.Payload, d.Payload) {
			return candidate.GetID(), nil
		}
	}
	return 0, nil
}

// samePayload compares as JSON. GitHub gives no payload as {} or "".
func samePayload(got json.RawMessage, wanted any) bool {
	data, err := json.Marshal(wanted)
	if err != nil {
		return false
	}
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal(data, &b) != nil {
		return false
	}
	return reflect.DeepEqual(a, b)
}

// addStatus adds a status to a deployment that was there before, unless an earlier write whose answer was lost did.
func (h *Hub) addStatus(ctx context.Context, repo operation.Repository, id int64, d Deployment) error {
	if d.Search {
		shown, err := h.search(ctx, repo, false, func() (int64, error) { return h.findStatus(ctx, repo, id, d) })
		if shown != 0 || err != nil {
			return err
		}
	}
	return h.createStatus(ctx, repo, id, d, false)
}

// findStatus is the newest status of a deployment where it shows what is wanted; else 0.
// See https://docs.github.com/en/rest/deployments/statuses#list-deployment-statuses.
func (h *Hub) findStatus(ctx context.Context, repo operation.Repository, id int64, d Deployment) (int64, error) {
	var got []*github.DeploymentStatus
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodGet, route: "repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
		args:  []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)},
		query: url.Values{"per_page": {strconv.Itoa(perPage)}}, out: &got,
		do: "list the statuses of", thing: d.name(repo),
	})
	if err != nil || len(got) == 0 {
		return 0, err
	}
	newest := slices.MaxFunc(got, func(a, b *github.DeploymentStatus) int { return cmp.Compare(a.GetID(), b.GetID()) })
	if newest.GetState() != d.State || newest.GetDescription() != clip(d.StatusDescription, MaxDeploymentDescription) {
		return 0, nil
	}
	return newest.GetID(), nil
}

// createStatus adds a status. See https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status.
func (h *Hub) createStatus(ctx context.Context, repo operation.Repository, id int64, d Deployment, begun bool) error {
	_, err := h.call(ctx, repo.Installation, request{
		method: http.MethodPost, route: "repos/{owner}/{repo}/deployments/{deployment_id}/statuses",
		args: []string{repo.Owner, repo.Name, strconv.FormatInt(id, 10)},
		body: github.DeploymentStatusRequest{
			State: &d.State, LogURL: optional(d.LogURL),
			Description: new(clip(d.StatusDescription, MaxDeploymentDescription)),
		},
		do: "write the status " + d.State + " of", thing: d.name(repo), mustFollow: begun,
	})
	return err
}
