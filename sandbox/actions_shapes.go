package sandbox

import (
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

func (run *run) apiURL() string {
	return run.repository.apiURL() + "/actions/runs/" + strconv.FormatInt(run.id, 10)
}

func (run *run) htmlURL() string {
	return run.repository.HTMLURL() + "/actions/runs/" + strconv.FormatInt(run.id, 10)
}

func (j *job) apiURL() string {
	return j.run.repository.apiURL() + "/actions/jobs/" + strconv.FormatInt(j.id, 10)
}

func (j *job) htmlURL() string { return j.run.htmlURL() + "/job/" + strconv.FormatInt(j.id, 10) }

// runObject is a run as the API shows it. The caller holds mu.
func (s *Sandbox) runObject(run *run) object {
	r := run.repository
	o := s.deploymentRun(run)
	for key, path := range map[string]string{
		"jobs_url": "/jobs", "logs_url": "/logs", "artifacts_url": "/artifacts", "cancel_url": "/cancel", "rerun_url": "/rerun",
	} {
		o[key] = run.apiURL() + path
	}
	o["status"] = run.status
	o["head_commit"] = run.commit
	o["repository"], o["head_repository"] = s.briefRepository(r), s.briefRepository(run.headRepository)
	o["check_suite_url"] = r.apiURL() + "/check-suites/" + strconv.FormatInt(run.suite, 10)
	o["workflow_url"] = r.apiURL() + "/actions/workflows/" + strconv.FormatInt(run.workflow.id, 10)
	o["previous_attempt_url"] = nil
	if run.attempt > 1 {
		o["previous_attempt_url"] = run.apiURL() + "/attempts/" + strconv.Itoa(run.attempt-1)
	}
	o["referenced_workflows"] = []object{}
	return o
}

// cloneAddresses are the addresses that runs do not show of a repository.
var cloneAddresses = []string{"clone_url", "git_url", "ssh_url", "svn_url", "mirror_url"}

// briefRepository is a repository as runs show it. The caller holds mu.
func (s *Sandbox) briefRepository(r *Repository) object {
	full := s.repositoryObject(r)
	brief := object{}
	for key, value := range full {
		_, address := value.(string)
		if address && strings.HasSuffix(key, "_url") && !slices.Contains(cloneAddresses, key) {
			brief[key] = value
		}
	}
	for _, key := range []string{"id", "node_id", "name", "full_name", "private", "owner", "description", "fork", "url"} {
		brief[key] = full[key]
	}
	return brief
}

// deploymentRun is a run in its short form. The caller holds mu.
func (s *Sandbox) deploymentRun(run *run) object {
	pulls := []object{}
	for _, number := range run.pulls {
		if t := run.repository.threads[number]; t != nil && t.pull.head.repository == run.repository {
			pulls = append(pulls, s.shortPull(run.repository, t))
		}
	}
	status := run.status
	if status == waiting || status == pending {
		status = queued // the short form knows no others
	}
	return object{
		"id": run.id, "name": run.workflow.name, "node_id": nodeID("WFR", run.id), "check_suite_id": run.suite,
		"check_suite_node_id": nodeID("CS", run.suite), "head_branch": run.branch, "head_sha": run.headSHA, "path": run.workflow.path,
		"run_number": run.number, "run_attempt": run.attempt, "event": run.event, "display_title": run.title,
		"status": status, "conclusion": orNull(run.conclusion), "workflow_id": run.workflow.id,
		"url": run.apiURL(), "html_url": run.htmlURL(), "pull_requests": pulls, "created_at": stamp(run.created),
		"updated_at": stamp(run.updated), "actor": s.accountObject(run.actor), "triggering_actor": s.accountObject(run.triggeringActor),
		"run_started_at": stamp(run.started),
	}
}

// shortPull is a pull request as checks and runs name it.
func (s *Sandbox) shortPull(r *Repository, t *thread) object {
	short := func(e side) object {
		return object{
			"ref": e.branch, "sha": e.sha,
			"repo": object{"id": e.repository.id, "url": e.repository.apiURL(), "name": e.repository.name},
		}
	}
	return object{
		"id": t.pull.id, "number": t.number, "url": r.apiURL() + "/pulls/" + strconv.Itoa(t.number),
		"head": short(t.pull.head), "base": short(t.pull.base),
	}
}

// runEvent is the payload of workflow_run. The caller holds mu.
func (s *Sandbox) runEvent(run *run) object {
	shown := s.runObject(run)
	if shown["status"] == pending {
		shown["status"] = queued // the webhook's schema knows no other
	}
	return object{"workflow": s.workflowObject(run.repository, run.workflow), "workflow_run": shown}
}

func (s *Sandbox) workflowObject(r *Repository, w *workflowEntry) object {
	state := "active"
	if w.disabled {
		state = "disabled_manually"
	}
	return object{
		"id": w.id, "node_id": nodeID("W", w.id), "name": w.name, "path": w.path, "state": state, "created_at": stamp(w.created),
		"updated_at": stamp(w.created), "url": r.apiURL() + "/actions/workflows/" + strconv.FormatInt(w.id, 10),
		"html_url":  r.HTMLURL() + "/blob/" + url.PathEscape(r.defaultBranch) + "/" + w.path,
		"badge_url": r.HTMLURL() + "/workflows/" + url.PathEscape(w.name) + "/badge.svg",
	}
}

// jobObject is a job as the API shows it. The caller holds mu.
func (s *Sandbox) jobObject(j *job) object {
	steps := make([]object, 0, len(j.steps))
	for _, step := range j.steps {
		steps = append(steps, object{
			"name": step.Name, "number": step.Number, "status": step.Status, "conclusion": orNull(step.Conclusion),
			"started_at": stampOrNull(step.StartedAt), "completed_at": stampOrNull(step.CompletedAt),
		})
	}
	o := object{
		"id": j.id, "node_id": nodeID("CR", j.id), "run_id": j.run.id, "run_url": j.run.apiURL(), "run_attempt": j.run.attempt,
		"head_sha": j.run.headSHA, "head_branch": j.run.branch, "url": j.apiURL(), "html_url": j.htmlURL(), "status": j.status,
		"conclusion": orNull(j.conclusion), "created_at": stamp(j.created), "started_at": stamp(j.started),
		"completed_at": stampOrNull(j.ended), "name": j.name, "steps": steps, "labels": append([]string{}, j.labels...),
		"check_run_url": j.run.repository.apiURL() + "/check-runs/" + strconv.FormatInt(j.id, 10), "workflow_name": j.run.workflow.name,
		"runner_id": nil, "runner_name": nil, "runner_group_id": nil, "runner_group_name": nil,
	}
	if j.status == inProgress || j.status == completed && len(j.steps) > 0 {
		o["runner_id"], o["runner_name"], o["runner_group_id"], o["runner_group_name"] = 1, "sandbox", 1, "Default"
	}
	return o
}

// jobEvent is the payload of workflow_job. The caller holds mu.
func (s *Sandbox) jobEvent(j *job) object {
	shown := s.jobObject(j)
	if shown["status"] == pending {
		shown["status"] = queued
	}
	payload := object{"workflow_job": shown}
	if j.deployment != nil {
		payload["deployment"] = s.deploymentObject(j.run.repository, j.deployment)
	}
	return payload
}

// gateEvent is the payload of deployment_protection_rule, which has no id of the run but in the address. The caller holds mu.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#deployment_protection_rule
func (s *Sandbox) gateEvent(g *gate) object {
	run := g.job.run
	pulls := []object{}
	for _, number := range run.pulls {
		if t := run.repository.threads[number]; t != nil {
			pulls = append(pulls, s.pullObject(run.repository, t))
		}
	}
	return object{
		"environment": g.environment.name, "event": run.event, "deployment": s.deploymentObject(run.repository, g.deployment),
		"deployment_callback_url": run.apiURL() + "/deployment_protection_rule", "pull_requests": pulls,
	}
}

// environmentObject is an environment as the API shows it. The caller holds mu.
func (s *Sandbox) environmentObject(r *Repository, e *environment) object {
	rules := []object{}
	rule := func(kind string, more object) {
		o := object{"id": e.id*10 + int64(len(rules)), "node_id": nodeID("GA", e.id*10+int64(len(rules))), "type": kind}
		maps.Copy(o, more)
		rules = append(rules, o)
	}
	if e.wait > 0 {
		rule("wait_timer", object{"wait_timer": int(e.wait.Minutes())})
	}
	if len(e.reviewers) > 0 {
		rule("required_reviewers", object{"prevent_self_review": e.preventSelfReview, "reviewers": s.reviewerObjects(e)})
	}
	if e.protectedOnly || e.custom {
		rule("branch_policy", nil)
	}
	o := object{
		"id": e.id, "node_id": nodeID("EN", e.id), "name": e.name, "url": r.environmentURL(e),
		"html_url":   r.HTMLURL() + "/deployments/activity_log?environments_filter=" + url.QueryEscape(e.name),
		"created_at": stamp(e.created), "updated_at": stamp(e.updated), "protection_rules": rules, "deployment_branch_policy": nil,
	}
	if e.protectedOnly || e.custom {
		o["deployment_branch_policy"] = object{"protected_branches": e.protectedOnly, "custom_branch_policies": e.custom}
	}
	return o
}

func (s *Sandbox) reviewerObjects(e *environment) []object {
	reviewers := []object{}
	for _, name := range e.reviewers {
		a, err := s.reviewer(name)
		if err != nil {
			continue
		}
		shown := s.accountObject(a)
		kind := "User"
		if a.kind == "Team" {
			kind = "Team"
			shown = s.teamObject(a)
		}
		reviewers = append(reviewers, object{"type": kind, "reviewer": shown})
	}
	return reviewers
}

func (s *Sandbox) teamObject(a *account) object {
	address := s.APIURL() + "/teams/" + strconv.FormatInt(a.id, 10)
	return object{
		"id": a.id, "node_id": nodeID("T", a.id), "url": address, "html_url": s.url + "/teams/" + url.PathEscape(a.login),
		"name": a.login, "slug": a.login, "description": nil, "privacy": "closed", "notification_setting": "notifications_enabled",
		"permission": "pull", "members_url": address + "/members{/member}", "repositories_url": address + "/repos", "parent": nil,
		"type": "organization", "organization_id": a.id,
	}
}

func (r *Repository) environmentURL(e *environment) string {
	return r.apiURL() + "/environments/" + url.PathEscape(e.name)
}

// ruleObject is the App's custom rule of an environment.
func (s *Sandbox) ruleObject(id int64) object {
	return object{"id": id, "node_id": nodeID("GA", id), "enabled": true, "app": s.ruleApp()}
}

func (s *Sandbox) ruleApp() object {
	return object{"id": appID, "slug": appSlug, "integration_url": s.APIURL() + "/apps/" + appSlug, "node_id": nodeID("A", appID)}
}

// artifactObject is an artifact as the API shows it. The caller holds mu.
func (s *Sandbox) artifactObject(a *artifact) object {
	r := a.run.repository
	address := r.apiURL() + "/actions/artifacts/" + strconv.FormatInt(a.id, 10)
	return object{
		"id": a.id, "node_id": nodeID("ART", a.id), "name": a.name, "size_in_bytes": len(a.content), "url": address,
		"archive_download_url": address + "/zip", "expired": false, "created_at": stamp(a.created), "updated_at": stamp(a.created),
		"expires_at": stamp(a.created.Add(artifactLife)), "digest": a.digest(),
		"workflow_run": object{
			"id": a.run.id, "repository_id": r.id, "head_repository_id": a.run.headRepository.id, "head_branch": a.run.branch,
			"head_sha": a.run.headSHA,
		},
	}
}
