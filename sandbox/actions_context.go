package sandbox

import (
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

// values are the contexts that GitHub's server evaluates expressions in, for the run as a whole.
// https://docs.github.com/en/actions/reference/workflows-and-actions/contexts#context-availability
func (run *run) values() workflow.Values {
	variables := map[string]any{}
	for name, value := range run.repository.actions.variables {
		variables[name] = value
	}
	inputs := run.inputs
	if inputs == nil {
		inputs = map[string]any{}
	}
	return workflow.Values{Contexts: map[string]any{"github": run.context(), "inputs": inputs, "vars": variables}}
}

// context is the github context.
func (run *run) context() map[string]any {
	r, s := run.repository, run.repository.sandbox
	return map[string]any{
		"event": run.payload, "event_name": run.event, "ref": run.ref, "ref_name": shortRef(run.ref), "ref_type": refType(run.ref),
		"sha": run.sha, "head_ref": run.headRef, "base_ref": run.baseRef, "actor": run.actor.login,
		"actor_id": strconv.FormatInt(run.actor.id, 10), "triggering_actor": run.triggeringActor.login,
		"repository": r.FullName(), "repository_owner": r.owner.login, "repository_id": strconv.FormatInt(r.id, 10),
		"repository_owner_id": strconv.FormatInt(r.owner.id, 10), "run_id": strconv.FormatInt(run.id, 10),
		"run_number": strconv.Itoa(run.number), "run_attempt": strconv.Itoa(run.attempt), "workflow": run.workflow.name,
		"workflow_ref": run.workflowRef(), "workflow_sha": run.sha, "server_url": s.url, "api_url": s.APIURL(),
		"graphql_url": s.GraphQLURL(), "repositoryUrl": r.CloneURL(),
	}
}

// workflowRef names the workflow file: owner/repo/path@ref.
func (run *run) workflowRef() string {
	return run.repository.FullName() + "/" + run.workflow.path + "@" + run.ref
}

// shortRef is GITHUB_REF_NAME.
func shortRef(ref string) string {
	for _, prefix := range []string{"refs/heads/", "refs/tags/", "refs/pull/"} {
		if short, ok := strings.CutPrefix(ref, prefix); ok {
			return short
		}
	}
	return ref
}

func refType(ref string) string {
	if strings.HasPrefix(ref, "refs/tags/") {
		return "tag"
	}
	return "branch"
}

// environmentOf is what GitHub puts into the environment of the steps of every job.
// https://docs.github.com/en/actions/reference/workflows-and-actions/variables#default-environment-variables
func (j *job) environmentOf() map[string]string {
	run := j.run
	r, s := run.repository, run.repository.sandbox
	return map[string]string{
		"CI": "true", "GITHUB_ACTIONS": "true", "GITHUB_ACTOR": run.actor.login, "GITHUB_ACTOR_ID": strconv.FormatInt(run.actor.id, 10),
		"GITHUB_API_URL": s.APIURL(), "GITHUB_BASE_REF": run.baseRef, "GITHUB_EVENT_NAME": run.event, "GITHUB_GRAPHQL_URL": s.GraphQLURL(),
		"GITHUB_HEAD_REF": run.headRef, "GITHUB_REF": run.ref, "GITHUB_REF_NAME": shortRef(run.ref), "GITHUB_REF_PROTECTED": "false",
		"GITHUB_REF_TYPE": refType(run.ref), "GITHUB_REPOSITORY": r.FullName(), "GITHUB_REPOSITORY_ID": strconv.FormatInt(r.id, 10),
		"GITHUB_REPOSITORY_OWNER": r.owner.login, "GITHUB_REPOSITORY_OWNER_ID": strconv.FormatInt(r.owner.id, 10),
		"GITHUB_RETENTION_DAYS": "90", "GITHUB_RUN_ATTEMPT": strconv.Itoa(run.attempt), "GITHUB_RUN_ID": strconv.FormatInt(run.id, 10),
		"GITHUB_RUN_NUMBER": strconv.Itoa(run.number), "GITHUB_SERVER_URL": s.url, "GITHUB_SHA": run.sha,
		"GITHUB_TRIGGERING_ACTOR": run.triggeringActor.login, "GITHUB_WORKFLOW": run.workflow.name,
		"GITHUB_WORKFLOW_REF": run.workflowRef(), "GITHUB_WORKFLOW_SHA": run.sha, "RUNNER_ENVIRONMENT": j.machine(),
		"RUNNER_NAME": "sandbox", "RUNNER_TRACKING_ID": "github_" + newGUID(),
	}
}

// machine is the kind of machine that the job runs on.
func (j *job) machine() string {
	if slices.Contains(j.labels, "self-hosted") {
		return "self-hosted"
	}
	return "github-hosted"
}
