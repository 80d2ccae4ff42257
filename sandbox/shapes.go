package sandbox

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// object is a JSON object as GitHub sends it.
type object = map[string]any

// templateJSON holds, per kind of object, the properties that are constant or made of names only.
// Shapes: https://github.com/github/rest-api-description and https://github.com/octokit/webhooks
//
//go:embed templates.json
var templateJSON []byte

func readTemplates() (map[string]object, error) {
	var templates map[string]object
	if err := json.Unmarshal(templateJSON, &templates); err != nil {
		return nil, fmt.Errorf("read templates: %w", err)
	}
	return templates, nil
}

// fill copies a template with <names> replaced by values, which come in pairs, and adds more.
func (s *Sandbox) fill(template string, pairs []string, more object) object {
	replaced := make([]string, 0, len(pairs)+4) //nolint:mnd // two pairs that every template has
	replaced = append(replaced, "<api>", s.APIURL(), "<web>", s.url)
	for pair := range slices.Chunk(pairs, 2) { //nolint:mnd // a name and its value
		replaced = append(replaced, "<"+pair[0]+">", pair[1])
	}
	filled, _ := fillValue(s.templates[template], strings.NewReplacer(replaced...)).(object)
	maps.Copy(filled, more)
	return filled
}

func fillValue(value any, names *strings.Replacer) any {
	switch v := value.(type) {
	case string:
		return names.Replace(v)
	case object:
		filled := make(object, len(v))
		for key, inner := range v {
			filled[key] = fillValue(inner, names)
		}
		return filled
	case []any:
		filled := make([]any, len(v))
		for i, inner := range v {
			filled[i] = fillValue(inner, names)
		}
		return filled
	default:
		return v
	}
}

func nodeID(prefix string, id int64) string { return prefix + "_kwDO" + strconv.FormatInt(id, 36) }

// stamp is a time as GitHub writes it.
func stamp(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// stampOrNull is null for a time that has not come.
func stampOrNull(t time.Time) any {
	if t.IsZero() {
		return nil
	}
	return stamp(t)
}

// orNull is null for an empty string.
func orNull(text string) any {
	if text == "" {
		return nil
	}
	return text
}

func (s *Sandbox) accountObject(a *account) object {
	return s.fill("account", []string{"login", url.PathEscape(a.login)}, object{
		"login": a.login, "id": a.id, "node_id": nodeID("U", a.id), "type": a.kind,
	})
}

func (s *Sandbox) accountOrNull(a *account) any {
	if a == nil {
		return nil
	}
	return s.accountObject(a)
}

func (s *Sandbox) organizationObject(a *account) object {
	return s.fill("organization", []string{"login", url.PathEscape(a.login)}, object{
		"login": a.login, "id": a.id, "node_id": nodeID("O", a.id),
	})
}

func (s *Sandbox) appObject() object {
	created := stamp(s.bot().created)
	return s.fill("app", []string{"slug", appSlug, "name", appName}, object{
		"id": appID, "node_id": nodeID("A", appID), "owner": s.accountObject(s.accounts["github"]),
		"created_at": created, "updated_at": created, "permissions": s.permissions, "events": s.events,
	})
}

// appOf is the App, or GitHub's own one for Actions.
func (s *Sandbox) appOf(actions bool) object {
	if actions {
		return s.actionsAppObject()
	}
	return s.appObject()
}

func (s *Sandbox) appOrNull(via bool, by *account) any {
	if !via {
		return nil
	}
	return s.appOf(by == s.actionsBot())
}

func (s *Sandbox) installationObject(i *installation) object {
	shown := s.fill("installation", []string{"id", strconv.FormatInt(i.id, 10), "login", url.PathEscape(i.account.login)}, object{
		"id": i.id, "account": s.accountObject(i.account), "app_id": appID, "app_slug": appSlug,
		"target_id": i.account.id, "target_type": i.account.kind, "permissions": s.permissions, "events": s.events,
		"created_at": stamp(i.created), "updated_at": stamp(i.created),
	})
	if !i.suspended.IsZero() {
		shown["suspended_at"], shown["suspended_by"] = stamp(i.suspended), s.accountObject(i.account)
	}
	return shown
}

// repositoryName is the short form that webhooks about installations carry.
func (s *Sandbox) repositoryName(r *Repository) object {
	return object{
		"id": r.id, "node_id": nodeID("R", r.id), "name": r.name, "full_name": r.FullName(), "private": r.private,
	}
}

func (s *Sandbox) repositoryObject(r *Repository) object {
	visibility := "public"
	if r.private {
		visibility = "private"
	}
	open := r.openThreads()
	more := s.repositoryName(r)
	maps.Copy(more, object{
		"owner": s.accountObject(r.owner), "description": orNull(r.about), "fork": r.parent != nil,
		"default_branch": r.defaultBranch, "open_issues": open, "open_issues_count": open, "visibility": visibility,
		"pushed_at": stamp(r.pushed), "created_at": stamp(r.created), "updated_at": stamp(r.pushed),
		"forks": len(r.forks), "forks_count": len(r.forks),
	})
	return s.fill("repository", []string{"url", r.apiURL(), "html", r.HTMLURL()}, more)
}

func (r *Repository) openThreads() int {
	open := 0
	for _, t := range r.threads {
		if !t.closed {
			open++
		}
	}
	return open
}

func (s *Sandbox) fullRepositoryObject(r *Repository) object {
	full := s.repositoryObject(r)
	maps.Copy(full, s.fill("full_repository", nil, object{"network_count": len(r.forks)}))
	if r.parent != nil {
		full["parent"], full["source"] = s.repositoryObject(r.parent), s.repositoryObject(r.parent)
	}
	return full
}

func (s *Sandbox) labelObjects(r *Repository, labels []*label) []object {
	list := make([]object, 0, len(labels))
	for _, l := range labels {
		list = append(list, object{
			"id": l.id, "node_id": nodeID("LA", l.id), "url": r.apiURL() + "/labels/" + url.PathEscape(l.name),
			"name": l.name, "description": orNull(l.description), "color": l.color, "default": false,
		})
	}
	return list
}

func (s *Sandbox) sideObject(e side) object {
	return object{
		"label": e.repository.owner.login + ":" + e.branch, "ref": e.branch, "sha": e.sha,
		"user": s.accountObject(e.repository.owner), "repo": s.repositoryObject(e.repository),
	}
}

// association is what GitHub calls a person in a repository. Switchyard never decides by it.
func association(r *Repository, a *account) string {
	switch {
	case a == r.owner:
		return "OWNER"
	case r.role(a.login).atLeast(Triage):
		return "MEMBER"
	default:
		return "NONE"
	}
}

func threadState(t *thread) string {
	if t.closed {
		return "closed"
	}
	return "open"
}

func (r *Repository) issueURL(number int) string {
	return r.apiURL() + "/issues/" + strconv.Itoa(number)
}

func (t *thread) htmlURL(r *Repository) string {
	kind := "/issues/"
	if t.pull != nil {
		kind = "/pull/"
	}
	return r.HTMLURL() + kind + strconv.Itoa(t.number)
}

// pullSimpleObject is a pull request as lists show it.
func (s *Sandbox) pullSimpleObject(r *Repository, t *thread) object {
	p := t.pull
	pairs := []string{
		"url", r.apiURL() + "/pulls/" + strconv.Itoa(t.number), "html", t.htmlURL(r), "issue", r.issueURL(t.number),
		"repo", r.apiURL(), "sha", p.head.sha,
	}
	return s.fill("pull", pairs, object{
		"id": p.id, "node_id": nodeID("PR", p.id), "number": t.number, "state": threadState(t), "title": t.title,
		"user": s.accountObject(t.author), "body": orNull(t.body), "labels": s.labelObjects(r, t.labels), "draft": p.draft,
		"created_at": stamp(t.created), "updated_at": stamp(t.updated), "closed_at": stampOrNull(t.closedAt),
		"merged_at": stampOrNull(p.mergedAt), "merge_commit_sha": orNull(p.mergeSHA),
		"head": s.sideObject(p.head), "base": s.sideObject(p.base), "author_association": association(r, t.author),
	})
}

// pullObject is a pull request with what GitHub computes for a single one.
func (s *Sandbox) pullObject(r *Repository, t *thread) object {
	p := t.pull
	full := s.pullSimpleObject(r, t)
	var mergeable any
	mergeableState := "unknown"
	if !t.closed {
		mergeable, mergeableState = p.facts.testMerge != "", "clean"
		if p.facts.testMerge == "" {
			mergeableState = "dirty"
		}
	}
	maps.Copy(full, s.fill("full_pull", nil, object{
		"merged": p.merged, "mergeable": mergeable, "mergeable_state": mergeableState,
		"merged_by": s.accountOrNull(p.mergedBy), "comments": len(t.comments), "commits": len(p.facts.commits),
		"additions": p.facts.additions, "deletions": p.facts.deletions, "changed_files": p.facts.files,
	}))
	return full
}

// issueObject is an issue, or the issue half of a pull request.
func (s *Sandbox) issueObject(r *Repository, t *thread) object {
	more := object{
		"id": t.id, "node_id": nodeID("I", t.id), "number": t.number, "title": t.title, "user": s.accountObject(t.author),
		"labels": s.labelObjects(r, t.labels), "state": threadState(t), "state_reason": orNull(t.reason),
		"comments": len(t.comments), "created_at": stamp(t.created), "updated_at": stamp(t.updated),
		"closed_at": stampOrNull(t.closedAt), "author_association": association(r, t.author), "body": orNull(t.body),
		"performed_via_github_app": s.appOrNull(t.viaApp, t.author),
		"reactions":                s.fill("reactions", []string{"url", r.issueURL(t.number)}, nil),
	}
	if t.pull != nil {
		html := t.htmlURL(r)
		more["draft"] = t.pull.draft
		more["pull_request"] = object{
			"url": r.apiURL() + "/pulls/" + strconv.Itoa(t.number), "html_url": html, "diff_url": html + ".diff",
			"patch_url": html + ".patch", "merged_at": stampOrNull(t.pull.mergedAt),
		}
	}
	return s.fill("issue", []string{"url", r.issueURL(t.number), "html", t.htmlURL(r), "repo", r.apiURL()}, more)
}

func (r *Repository) commentURL(c *comment) string {
	return r.apiURL() + "/issues/comments/" + strconv.FormatInt(c.id, 10)
}

func (s *Sandbox) commentObject(r *Repository, t *thread, c *comment) object {
	reactions := s.fill("reactions", []string{"url", r.commentURL(c)}, object{"total_count": len(c.reactions)})
	for content, n := range c.counts() {
		reactions[content] = n
	}
	return object{
		"id": c.id, "node_id": nodeID("IC", c.id), "url": r.commentURL(c), "issue_url": r.issueURL(t.number),
		"html_url": t.htmlURL(r) + "#issuecomment-" + strconv.FormatInt(c.id, 10), "user": s.accountObject(c.author),
		"created_at": stamp(c.created), "updated_at": stamp(c.updated), "author_association": association(r, c.author),
		"body": c.body, "reactions": reactions, "performed_via_github_app": s.appOrNull(c.viaApp, c.author),
	}
}

func (c *comment) counts() map[string]int {
	counts := map[string]int{}
	for _, reaction := range c.reactions {
		counts[reaction.content]++
	}
	return counts
}

func (s *Sandbox) reactionObject(reaction *reaction) object {
	return object{
		"id": reaction.id, "node_id": nodeID("REA", reaction.id), "user": s.accountObject(reaction.user),
		"content": reaction.content, "created_at": stamp(reaction.created),
	}
}

// pullsOfHead lists the open pull requests of a repository whose head is sha, in the short form of checks.
func (s *Sandbox) pullsOfHead(r *Repository, sha string) []object {
	short := func(e side) object {
		return object{
			"ref": e.branch, "sha": e.sha,
			"repo": object{"id": e.repository.id, "url": e.repository.apiURL(), "name": e.repository.name},
		}
	}
	list := []object{}
	for _, t := range r.pulls() {
		if t.closed || t.pull.head.sha != sha || t.pull.head.repository != r {
			continue // GitHub leaves heads in forks out
		}
		list = append(list, object{
			"id": t.pull.id, "number": t.number, "url": r.apiURL() + "/pulls/" + strconv.Itoa(t.number),
			"head": short(t.pull.head), "base": short(t.pull.base),
		})
	}
	return list
}

func (s *Sandbox) checkObject(r *Repository, c *check) object {
	url := r.apiURL() + "/check-runs/" + strconv.FormatInt(c.ID, 10)
	return object{
		"id": c.ID, "node_id": nodeID("CR", c.ID), "head_sha": c.HeadSHA, "external_id": c.ExternalID, "url": url,
		"html_url": r.HTMLURL() + "/runs/" + strconv.FormatInt(c.ID, 10), "details_url": c.DetailsURL,
		"status": c.Status, "conclusion": orNull(c.Conclusion), "started_at": stamp(c.StartedAt),
		"completed_at": stampOrNull(c.CompletedAt),
		"output": object{
			"title": orNull(c.Title), "summary": orNull(c.Summary), "text": orNull(c.Text), "annotations_count": 0,
			"annotations_url": url + "/annotations",
		},
		"name": c.Name, "check_suite": object{"id": c.suite}, "app": s.appOf(c.actions),
		"pull_requests": s.pullsOfHead(r, c.HeadSHA),
	}
}

// checkEventObject is a check run in a webhook, where it carries its whole suite.
func (s *Sandbox) checkEventObject(r *Repository, c *check) object {
	run := s.checkObject(r, c)
	var branch any
	for name, sha := range r.branches {
		if sha == c.HeadSHA {
			branch = name
		}
	}
	run["check_suite"] = object{
		"id": c.suite, "node_id": nodeID("CS", c.suite), "head_branch": branch, "head_sha": c.HeadSHA, "status": c.Status,
		"conclusion": orNull(c.Conclusion), "url": r.apiURL() + "/check-suites/" + strconv.FormatInt(c.suite, 10),
		"before": nil, "after": c.HeadSHA, "pull_requests": run["pull_requests"], "app": s.appOf(c.actions),
		"created_at": stamp(c.created), "updated_at": stamp(c.updated),
	}
	if c.Conclusion == "skipped" { // a suite has no such conclusion
		run["check_suite"].(object)["conclusion"] = "neutral" //nolint:forcetypeassert // made four lines above
	}
	return run
}

func (r *Repository) deploymentURL(id int64) string {
	return r.apiURL() + "/deployments/" + strconv.FormatInt(id, 10)
}

func (s *Sandbox) deploymentObject(r *Repository, d *deployment) object {
	return object{
		"url": r.deploymentURL(d.ID), "id": d.ID, "node_id": nodeID("DE", d.ID), "sha": d.SHA, "ref": d.Ref, "task": d.task,
		"payload": d.payload, "original_environment": d.Environment, "environment": d.Environment,
		"description": orNull(d.Description), "creator": s.accountObject(d.creator), "created_at": stamp(d.CreatedAt),
		"updated_at": stamp(d.updated), "statuses_url": r.deploymentURL(d.ID) + "/statuses", "repository_url": r.apiURL(),
		"transient_environment": d.Transient, "production_environment": d.Production, "performed_via_github_app": s.appOf(d.actions),
	}
}

func (s *Sandbox) deploymentStatusObject(r *Repository, d *deployment, status DeploymentStatus) object {
	return object{
		"url": r.deploymentURL(d.ID) + "/statuses/" + strconv.FormatInt(status.ID, 10), "id": status.ID,
		"node_id": nodeID("DES", status.ID), "state": status.State, "creator": s.accountObject(d.creator),
		"description": status.Description, "target_url": status.LogURL, "log_url": status.LogURL,
		"environment_url": status.EnvironmentURL, "environment": d.Environment,
		"created_at": stamp(status.CreatedAt), "updated_at": stamp(status.CreatedAt),
		"deployment_url": r.deploymentURL(d.ID), "repository_url": r.apiURL(), "performed_via_github_app": s.appOf(status.actions),
	}
}
