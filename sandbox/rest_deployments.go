package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"unicode/utf8"
)

// maxDeploymentDescription is in characters, of a deployment and of its statuses.
// https://docs.github.com/en/rest/deployments/statuses#create-a-deployment-status
const maxDeploymentDescription = 140

type deploymentRequest struct {
	Ref              string          `json:"ref"`
	Task             string          `json:"task"`
	AutoMerge        *bool           `json:"auto_merge"`
	RequiredContexts *[]string       `json:"required_contexts"`
	Payload          json.RawMessage `json:"payload"`
	Environment      string          `json:"environment"`
	Description      *string         `json:"description"`
	Transient        bool            `json:"transient_environment"`
	Production       *bool           `json:"production_environment"`
}

// payload is an object or a text; the rest is not taken.
func (q deploymentRequest) payload() (any, bool) {
	if len(q.Payload) == 0 || string(q.Payload) == "null" {
		return object{}, true
	}
	var value any
	if err := json.Unmarshal(q.Payload, &value); err != nil {
		return nil, false
	}
	switch value.(type) {
	case object, string:
		return value, true
	default:
		return nil, false
	}
}

// createDeployment keeps GitHub's traps: without auto_merge=false the default branch is merged into
// the ref first, and without required_contexts=[] every check has to be green.
// https://docs.github.com/en/rest/deployments/deployments#create-a-deployment
func createDeployment(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[deploymentRequest](c)
	if refused != nil {
		return *refused
	}
	payload, ok := asked.payload()
	switch {
	case asked.Ref == "":
		return invalid("Deployment", "ref", "missing_field", "ref can't be blank")
	case !ok:
		return invalid("Deployment", "payload", "invalid", "payload is an object or a string")
	case utf8.RuneCountInString(deref(asked.Description)) > maxDeploymentDescription:
		return invalid("Deployment", "description", "custom", "description is too long (maximum is 140 characters)")
	}
	sha, err := s.git.resolve(c.request.Context(), r.dir, asked.Ref)
	if errors.Is(err, errNoSuchObject) {
		return problem(http.StatusUnprocessableEntity, "No ref found for: "+asked.Ref)
	} else if err != nil {
		return problem(http.StatusInternalServerError, "git failed")
	}
	if asked.AutoMerge == nil || *asked.AutoMerge {
		if answer := r.autoMerge(c.request.Context(), asked.Ref, sha); answer != nil {
			return *answer
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if answer := r.redContexts(sha, asked.RequiredContexts); answer != nil {
		return *answer
	}
	d := r.newDeployment(c.author(), asked, sha, payload)
	return reply{
		status: http.StatusCreated, body: s.deploymentObject(r, d),
		effect: d.Environment + " " + d.SHA[:7],
	}
}

// newDeployment adds a deployment with GitHub's defaults. The caller holds mu.
func (r *Repository) newDeployment(by *account, asked deploymentRequest, sha string, payload any) *deployment {
	s := r.sandbox
	d := &deployment{
		Deployment: Deployment{
			ID: s.nextID(), SHA: sha, Ref: asked.Ref, Environment: asked.Environment, Description: deref(asked.Description),
			Transient: asked.Transient, Creator: by.login, CreatedAt: s.now(), Payload: string(asked.Payload),
		},
		task: asked.Task, creator: by, updated: s.now(), payload: payload, actions: by == s.actionsBot(),
	}
	if d.Environment == "" {
		d.Environment = "production"
	}
	if d.task == "" {
		d.task = "deploy"
	}
	d.Production = d.Environment == "production"
	set(&d.Production, asked.Production)
	r.deployments = append(r.deployments, d)
	return d
}

// autoMerge answers for a branch that lacks commits of the default branch; GitHub leaves SHAs alone.
func (r *Repository) autoMerge(ctx context.Context, ref, sha string) *reply {
	s := r.sandbox
	branches := r.Branches()
	name := r.DefaultBranch()
	if branches[ref] == "" {
		return nil
	}
	behind, err := s.git.isAncestor(ctx, r.dir, branches[name], sha)
	if err == nil && behind {
		return nil
	}
	_, clean, err := s.git.mergeTree(ctx, r.dir, sha, branches[name])
	answer := reply{
		status: http.StatusAccepted, body: object{"message": fmt.Sprintf("Auto-merged %s into %s on deployment.", name, ref)},
		effect: "auto-merge",
	}
	if err != nil || !clean {
		answer = problem(http.StatusConflict, fmt.Sprintf("Conflict merging %s into %s.", name, ref))
	}
	return &answer
}

// redContexts answers where a check that has to be green is not. The caller holds mu.
func (r *Repository) redContexts(sha string, required *[]string) *reply {
	checks := r.newestChecks(sha)
	for _, run := range checks {
		wanted := required == nil || slices.Contains(*required, run.Name)
		green := run.Conclusion == "success" || run.Conclusion == "neutral" || run.Conclusion == "skipped"
		if wanted && !green {
			answer := problem(http.StatusConflict, "Conflict: Commit status checks failed for "+sha+".")
			return &answer
		}
	}
	for _, name := range deref(required) {
		if !slices.ContainsFunc(checks, func(run Check) bool { return run.Name == name }) {
			answer := problem(http.StatusConflict, "Conflict: Commit status checks failed for "+sha+".")
			return &answer
		}
	}
	return nil
}

func listDeployments(c *call) reply {
	s, r := c.sandbox, c.repository
	query := c.request.URL.Query()
	differs := func(key, value string) bool { return query.Get(key) != "" && query.Get(key) != value }
	s.mu.Lock()
	defer s.mu.Unlock()
	var found []*deployment
	for _, d := range slices.Backward(r.deployments) {
		if differs("sha", d.SHA) || differs("ref", d.Ref) || differs("task", d.task) || differs("environment", d.Environment) {
			continue
		}
		found = append(found, d)
	}
	return list(c, found, func(d *deployment) object { return s.deploymentObject(r, d) })
}

// deployment finds the one that the path names. The caller holds mu.
func (c *call) deployment() *deployment {
	id := c.id("deployment_id")
	i := slices.IndexFunc(c.repository.deployments, func(d *deployment) bool { return d.ID == id })
	if i < 0 {
		return nil
	}
	return c.repository.deployments[i]
}

func listDeploymentStatuses(c *call) reply {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	defer s.mu.Unlock()
	d := c.deployment()
	if d == nil {
		return notFound()
	}
	newest := slices.Clone(d.States)
	slices.Reverse(newest)
	return list(c, newest, func(status DeploymentStatus) object { return s.deploymentStatusObject(r, d, status) })
}

func createDeploymentStatus(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[struct {
		State          string `json:"state"`
		Description    string `json:"description"`
		LogURL         string `json:"log_url"`
		TargetURL      string `json:"target_url"`
		EnvironmentURL string `json:"environment_url"`
		AutoInactive   *bool  `json:"auto_inactive"`
	}](c)
	if refused != nil {
		return *refused
	}
	states := []string{"error", "failure", "inactive", "in_progress", "queued", "pending", "success"}
	switch {
	case !slices.Contains(states, asked.State):
		return invalid("DeploymentStatus", "state", "custom", fmt.Sprintf("state must be one of %q", states))
	case utf8.RuneCountInString(asked.Description) > maxDeploymentDescription:
		return invalid("DeploymentStatus", "description", "custom", "description is too long (maximum is 140 characters)")
	}
	if asked.LogURL == "" {
		asked.LogURL = asked.TargetURL
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := c.deployment()
	if d == nil {
		return notFound()
	}
	status := DeploymentStatus{
		ID: s.nextID(), State: asked.State, Description: asked.Description, LogURL: asked.LogURL,
		EnvironmentURL: asked.EnvironmentURL, CreatedAt: s.now(), actions: c.token.job != nil,
	}
	d.States, d.updated = append(d.States, status), status.CreatedAt
	if asked.State == "success" && (asked.AutoInactive == nil || *asked.AutoInactive) {
		r.retire(d)
	}
	body := s.deploymentStatusObject(r, d, status)
	address, _ := body["url"].(string)
	return reply{
		status: http.StatusCreated, body: body, header: http.Header{"Location": {address}},
		effect: d.Environment + ": " + status.State,
	}
}

// retire marks earlier deployments to the same environment inactive. The caller holds mu.
func (r *Repository) retire(newest *deployment) {
	for _, d := range r.deployments {
		if d.ID >= newest.ID || d.Environment != newest.Environment || d.Transient || d.Production || len(d.States) == 0 ||
			d.States[len(d.States)-1].State != "success" {
			continue
		}
		d.States = append(d.States, DeploymentStatus{ID: r.sandbox.nextID(), State: "inactive", CreatedAt: r.sandbox.now(), actions: d.actions})
		d.updated = r.sandbox.now()
	}
}
