package sandbox

import (
	"archive/zip"
	"bytes"
	"cmp"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

// actionsRoutes are those of Actions, environments and artifacts.
func actionsRoutes(accept func(keys ...string) func(level string) []permission) []route {
	const (
		repo       = "/repos/{owner}/{repo}"
		runs       = repo + "/actions/runs/{run_id}"
		named      = repo + "/actions/workflows/{workflow_id}"
		protection = repo + "/environments/{environment_name}"
		read       = "read"
		write      = "write"
	)
	actions, administration, deployments := accept("actions"), accept("administration"), accept("deployments")
	return []route{
		{http.MethodGet, repo + "/actions/workflows", asInstallation, actions(read), listWorkflows},
		{http.MethodGet, named, asInstallation, actions(read), getWorkflow},
		{http.MethodPost, named + "/dispatches", asInstallation, actions(write), createDispatch},
		{http.MethodPut, named + "/disable", asInstallation, actions(write), disableWorkflow},
		{http.MethodPut, named + "/enable", asInstallation, actions(write), enableWorkflow},
		{http.MethodGet, named + "/runs", asInstallation, actions(read), listRuns},
		{http.MethodGet, repo + "/actions/runs", asInstallation, actions(read), listRuns},
		{http.MethodGet, runs, asInstallation, actions(read), getRun},
		{http.MethodGet, runs + "/jobs", asInstallation, actions(read), listJobs},
		{http.MethodGet, runs + "/attempts/{attempt_number}/jobs", asInstallation, actions(read), listJobs},
		{http.MethodGet, runs + "/logs", asInstallation, actions(read), getRunLogs},
		{http.MethodGet, repo + "/actions/jobs/{job_id}", asInstallation, actions(read), getJob},
		{http.MethodGet, repo + "/actions/jobs/{job_id}/logs", asInstallation, actions(read), getJobLogs},
		{http.MethodPost, runs + "/cancel", asInstallation, actions(write), cancelRun(false)},
		{http.MethodPost, runs + "/force-cancel", asInstallation, actions(write), cancelRun(true)},
		{http.MethodPost, runs + "/rerun", asInstallation, actions(write), rerunRun},
		{http.MethodGet, runs + "/pending_deployments", asInstallation, actions(read), listPendingDeployments},
		{http.MethodGet, runs + "/approvals", asInstallation, actions(read), listGateReviews},
		{http.MethodPost, runs + "/deployment_protection_rule", asInstallation, deployments(write), reviewGate},
		{http.MethodGet, runs + "/concurrency_groups", asInstallation, actions(read), listGroupsOfRun},
		{http.MethodGet, repo + "/actions/concurrency_groups/{concurrency_group_name}", asInstallation, actions(read), getGroup},
		{http.MethodGet, runs + "/artifacts", asInstallation, actions(read), listRunArtifacts},
		{http.MethodGet, repo + "/actions/artifacts", asInstallation, actions(read), listRunArtifacts},
		{http.MethodGet, repo + "/actions/artifacts/{artifact_id}", asInstallation, actions(read), getArtifact},
		{http.MethodGet, repo + "/actions/artifacts/{artifact_id}/{archive_format}", asInstallation, actions(read), downloadArtifact},

		{http.MethodGet, repo + "/environments", asInstallation, actions(read), listEnvironments},
		{http.MethodGet, protection, asInstallation, actions(read), getEnvironment},
		{http.MethodPut, protection, asInstallation, administration(write), putEnvironment},
		{http.MethodGet, protection + "/deployment-branch-policies", asInstallation, actions(read), listBranchPolicies},
		{http.MethodPost, protection + "/deployment-branch-policies", asInstallation, administration(write), createBranchPolicy},
		{http.MethodGet, protection + "/deployment_protection_rules", asInstallation, actions(read), listRules},
		{http.MethodPost, protection + "/deployment_protection_rules", asInstallation, administration(write), createRule},
		{http.MethodGet, protection + "/deployment_protection_rules/apps", asInstallation, administration(read), listRuleApps},
	}
}

// counted is a list with its total, as most lists of Actions are.
func counted[T any](c *call, key string, items []T, show func(T) object) reply {
	answer := list(c, items, show)
	answer.body = object{"total_count": len(items), key: answer.body}
	return answer
}

func listWorkflows(c *call) reply {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	sha := r.branches[r.defaultBranch]
	s.mu.Unlock()
	files, err := r.learn(c.request.Context(), sha)
	if err != nil {
		return problem(http.StatusInternalServerError, "git failed")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	present := slices.DeleteFunc(slices.Clone(r.actions.workflows), func(w *workflowEntry) bool { return files[path.Base(w.path)] == nil })
	return counted(c, "workflows", present, func(w *workflowEntry) object { return s.workflowObject(r, w) })
}

// entry finds the workflow that the path names on the default branch.
func (c *call) entry() *workflowEntry {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	sha := r.branches[r.defaultBranch]
	s.mu.Unlock()
	if _, err := r.learn(c.request.Context(), sha); err != nil {
		return nil
	}
	s.mu.Lock()
	w := r.workflowNamed(c.params["workflow_id"])
	s.mu.Unlock()
	if w == nil || !r.has(c.request.Context(), sha, w.path) {
		return nil
	}
	return w
}

func getWorkflow(c *call) reply {
	w := c.entry()
	if w == nil {
		return notFound()
	}
	c.sandbox.mu.Lock()
	defer c.sandbox.mu.Unlock()
	return reply{status: http.StatusOK, body: c.sandbox.workflowObject(c.repository, w)}
}

func disableWorkflow(c *call) reply { return c.switchWorkflow(true) }
func enableWorkflow(c *call) reply  { return c.switchWorkflow(false) }

func (c *call) switchWorkflow(off bool) reply {
	w := c.entry()
	if w == nil {
		return notFound()
	}
	c.sandbox.mu.Lock()
	defer c.sandbox.mu.Unlock()
	w.disabled = off
	return reply{status: http.StatusNoContent, effect: w.path}
}

// createDispatch answers with the run where the server knows how to and was asked to.
// https://docs.github.com/en/rest/actions/workflows#create-a-workflow-dispatch-event
func createDispatch(c *call) reply {
	s := c.sandbox
	asked, refused := decode[struct {
		Ref     *string        `json:"ref"`
		Inputs  map[string]any `json:"inputs"`
		Details *bool          `json:"return_run_details"`
	}](c)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	older := s.noRunDetails
	actor := c.author()
	s.mu.Unlock()
	switch {
	case older && asked.Details != nil:
		return problem(http.StatusUnprocessableEntity, "Invalid request.\n\n\"return_run_details\" is not a permitted key.")
	case asked.Ref == nil:
		return problem(http.StatusUnprocessableEntity, "Invalid request.\n\n\"ref\" wasn't supplied.")
	}
	run, refused := c.repository.dispatch(c.request.Context(), actor, c.params["workflow_id"], *asked.Ref, asked.Inputs)
	if refused != nil {
		return *refused
	}
	effect := path.Base(run.workflow.path) + " on " + run.branch
	if asked.Details == nil || !*asked.Details {
		return reply{status: http.StatusNoContent, effect: effect}
	}
	return reply{status: http.StatusOK, effect: effect, body: object{
		"workflow_run_id": run.id, "run_url": run.apiURL(), "html_url": run.htmlURL(),
	}}
}

// listRuns lists runs of the repository or of one workflow, newest first.
// https://docs.github.com/en/rest/actions/workflow-runs#list-workflow-runs-for-a-repository
func listRuns(c *call) reply {
	s, r := c.sandbox, c.repository
	query := c.request.URL.Query()
	created, err := createdFilter(query.Get("created"))
	if err != nil {
		return problem(http.StatusUnprocessableEntity, "Invalid value for parameter 'created'")
	}
	differs := func(key string, values ...string) bool {
		return query.Get(key) != "" && !slices.Contains(values, query.Get(key))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var only *workflowEntry
	if name, ok := c.params["workflow_id"]; ok {
		if only = r.workflowNamed(name); only == nil {
			return notFound()
		}
	}
	var found []*run
	for _, run := range slices.Backward(r.actions.runs) {
		if only != nil && run.workflow != only || differs("event", run.event) || differs("branch", run.branch) ||
			differs("head_sha", run.headSHA) || differs("status", run.status, run.conclusion) || differs("actor", run.actor.login) ||
			differs("check_suite_id", strconv.FormatInt(run.suite, 10)) || !created(run.created) {
			continue
		}
		found = append(found, run)
	}
	return counted(c, "workflow_runs", found, s.runObject)
}

// createdFilter reads GitHub's syntax for dates: >=TIME, <TIME, FROM..TO, or one day.
// https://docs.github.com/en/search-github/getting-started-with-searching-on-github/understanding-the-search-syntax#query-for-dates
func createdFilter(text string) (func(time.Time) bool, error) {
	if text == "" {
		return func(time.Time) bool { return true }, nil
	}
	from, to, ranged := strings.Cut(text, "..")
	operator := ""
	for _, known := range []string{">=", "<=", ">", "<"} {
		if rest, ok := strings.CutPrefix(text, known); ok && operator == "" {
			operator, from = known, rest
		}
	}
	start, length, err := dateOf(from)
	if err != nil {
		return nil, err
	}
	if ranged {
		end, endLength, err := dateOf(to)
		return func(t time.Time) bool { return !t.Before(start) && t.Before(end.Add(endLength)) }, err
	}
	switch operator {
	case ">=":
		return func(t time.Time) bool { return !t.Before(start) }, nil
	case ">":
		return func(t time.Time) bool { return !t.Before(start.Add(length)) }, nil
	case "<=":
		return func(t time.Time) bool { return t.Before(start.Add(length)) }, nil
	case "<":
		return func(t time.Time) bool { return t.Before(start) }, nil
	default:
		return func(t time.Time) bool { return !t.Before(start) && t.Before(start.Add(length)) }, nil
	}
}

// dateOf is a second or a day.
func dateOf(text string) (time.Time, time.Duration, error) {
	if t, err := time.Parse(time.RFC3339, text); err == nil {
		return t, time.Second, nil
	}
	t, err := time.Parse(time.DateOnly, text)
	return t, 24 * time.Hour, err //nolint:wrapcheck // only whether it is one matters
}

// run finds the run that the path names. The caller holds mu.
func (c *call) run() *run { return c.repository.run(c.id("run_id")) }

// job finds the job that the path names. The caller holds mu.
func (c *call) job() *job {
	for _, run := range c.repository.actions.runs {
		for _, j := range run.jobs {
			if j.id == c.id("job_id") {
				return j
			}
		}
	}
	return nil
}

func getRun(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	if run == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.runObject(run)}
}

func listJobs(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	if run == nil {
		return notFound()
	}
	jobs := run.jobs
	if asked := c.params["attempt_number"]; asked != "" && asked != strconv.Itoa(run.attempt) {
		number := int(c.id("attempt_number"))
		if number < 1 || number > len(run.past) {
			return notFound()
		}
		jobs = run.past[number-1]
	}
	return counted(c, "jobs", jobs, s.jobObject)
}

func getJob(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	j := c.job()
	if j == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.jobObject(j)}
}

// redirect answers with an address that needs no credentials and soon expires.
func (s *Sandbox) redirect(content []byte, kind string) reply {
	return reply{status: http.StatusFound, header: http.Header{"Location": {s.offer(content, kind)}}}
}

func getJobLogs(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	j := c.job()
	if j == nil {
		return notFound()
	}
	return s.redirect(bytes.Clone(j.log.Bytes()), "text/plain; charset=utf-8")
}

func getRunLogs(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	if run == nil {
		return notFound()
	}
	var archive bytes.Buffer
	files := zip.NewWriter(&archive)
	for i, j := range run.jobs {
		name := strconv.Itoa(i) + "_" + strings.NewReplacer("/", "_", ":", "_").Replace(j.name) + ".txt"
		f, err := files.Create(name)
		if err == nil {
			_, err = f.Write(j.log.Bytes())
		}
		if err != nil {
			return problem(http.StatusInternalServerError, "the archive cannot be written")
		}
	}
	if err := files.Close(); err != nil {
		return problem(http.StatusInternalServerError, "the archive cannot be written")
	}
	return s.redirect(archive.Bytes(), "application/zip")
}

func cancelRun(force bool) func(*call) reply {
	return func(c *call) reply {
		s := c.sandbox
		s.mu.Lock()
		defer s.mu.Unlock()
		run := c.run()
		switch {
		case run == nil:
			return notFound()
		case run.status == completed:
			return problem(http.StatusConflict, "Cannot cancel a workflow run that is completed.")
		}
		run.cancel(force)
		return reply{status: http.StatusAccepted, body: object{}, effect: "run " + strconv.Itoa(run.number)}
	}
}

func rerunRun(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	switch {
	case run == nil:
		return notFound()
	case run.status != completed:
		return problem(http.StatusForbidden, "This workflow is already running")
	}
	if err := s.rerun(run, c.author()); err != nil {
		return problem(http.StatusForbidden, "Unable to retry this workflow run because it was created over a month ago")
	}
	return reply{status: http.StatusCreated, body: object{}, effect: "run " + strconv.Itoa(run.number)}
}

func listPendingDeployments(c *call) reply {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	if run == nil {
		return notFound()
	}
	open := []object{}
	for _, g := range run.gates {
		if g.closed || g.settled(s.now()) != undecided {
			continue
		}
		e := g.environment
		o := object{
			"environment": object{
				"id": e.id, "node_id": nodeID("EN", e.id), "name": e.name, "url": r.environmentURL(e),
				"html_url": r.HTMLURL() + "/deployments/activity_log?environments_filter=" + url.QueryEscape(e.name),
			},
			"wait_timer": int(e.wait.Minutes()), "wait_timer_started_at": nil, "current_user_can_approve": false,
			"reviewers": s.reviewerObjects(e),
		}
		if e.wait > 0 {
			o["wait_timer_started_at"] = stamp(g.since)
		}
		open = append(open, o)
	}
	return reply{status: http.StatusOK, body: open}
}

// listGateReviews is what people said about the jobs of a run that waited for them.
// https://docs.github.com/en/rest/actions/workflow-runs#get-the-review-history-for-a-workflow-run
func listGateReviews(c *call) reply {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	if run == nil {
		return notFound()
	}
	reviews := []object{}
	for _, g := range run.gates {
		if g.reviewer == nil {
			continue
		}
		e, state := g.environment, "rejected"
		if g.reviewers == approved {
			state = "approved"
		}
		reviews = append(reviews, object{
			"state": state, "comment": "", "user": s.accountObject(g.reviewer), "environments": []object{{
				"id": e.id, "node_id": nodeID("EN", e.id), "name": e.name, "url": r.environmentURL(e),
				"html_url":   r.HTMLURL() + "/deployments/activity_log?environments_filter=" + url.QueryEscape(e.name),
				"created_at": stamp(e.created), "updated_at": stamp(e.updated),
			}},
		})
	}
	return reply{status: http.StatusOK, body: reviews}
}

func nothingToApprove() reply {
	return problem(http.StatusUnprocessableEntity, "No pending deployment requests to approve or reject")
}

// reviewGate takes the App's answer, or its report, to its custom deployment protection rule.
// https://docs.github.com/en/rest/actions/workflow-runs#review-custom-deployment-protection-rules-for-a-workflow-run
func reviewGate(c *call) reply {
	s := c.sandbox
	asked, refused := decode[struct {
		Environment string `json:"environment_name"`
		State       string `json:"state"`
		Comment     string `json:"comment"`
	}](c)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	answer := map[string]decision{"approved": approved, "rejected": rejected}[asked.State]
	switch {
	case run == nil:
		return notFound()
	case c.token.job != nil:
		return problem(http.StatusForbidden, "Resource not accessible by integration")
	case len([]rune(asked.Comment)) > maxGateComment:
		return problem(http.StatusUnprocessableEntity, "comment is too long (maximum is 1024 characters)")
	case asked.State != "" && answer == undecided || asked.State == "" && asked.Comment == "":
		return problem(http.StatusUnprocessableEntity, "Invalid request.\n\nstate is approved or rejected, or there is a comment.")
	}
	effect := asked.Environment + ": " + cmp.Or(asked.State, "report")
	met := false
	for _, g := range run.gates {
		if !g.open() || !strings.EqualFold(g.environment.name, asked.Environment) {
			continue
		}
		for id, said := range g.rules {
			switch {
			case said != undecided:
				continue
			case answer == undecided && len(g.reports) >= maxGateReports:
				return problem(http.StatusUnprocessableEntity, "The maximum number of status reports for this deployment was reached.")
			case answer == undecided:
				g.reports = append(g.reports, asked.Comment)
			default:
				g.rules[id] = answer
			}
			met = true
		}
	}
	if !met {
		return nothingToApprove()
	}
	return reply{status: http.StatusNoContent, effect: effect}
}

// GateReports are what the App reported while the run waited for the environment, oldest first.
func (r *Repository) GateReports(id int64, environment string) []string {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	var all []string
	if run := r.run(id); run != nil {
		for _, g := range run.gates {
			if strings.EqualFold(g.environment.name, environment) {
				all = append(all, g.reports...)
			}
		}
	}
	return all
}

// groupMember is a member of a concurrency group as the API shows it.
func groupMember(m *member, status string) object {
	o := object{
		"run_id": m.run.id, "run_name": m.run.title, "run_url": m.run.apiURL(), "run_html_url": m.run.htmlURL(), "status": status,
	}
	if m.job != nil {
		o["job_id"], o["job_name"], o["job_url"], o["job_html_url"] = m.job.id, m.job.name, m.job.apiURL(), m.job.htmlURL()
	}
	return o
}

// listed are the members in their order, each with its status.
func listed(group *workflow.Group[*member]) (members []*member, statusOf func(*member) string) {
	members = slices.Concat(group.Running, group.Pending)
	return members, func(m *member) string {
		if group.Goes(m) {
			return inProgress
		}
		return pending
	}
}

func (r *Repository) groupURL(name string) string {
	return r.apiURL() + "/actions/concurrency_groups/" + url.PathEscape(name)
}

// getGroup is 404 for an inactive group. It can be cut to those that are ahead of a run or job.
// https://docs.github.com/en/rest/actions/concurrency-groups
func getGroup(c *call) reply {
	s, r := c.sandbox, c.repository
	query := c.request.URL.Query()
	s.mu.Lock()
	defer s.mu.Unlock()
	group := r.actions.groups[strings.ToLower(c.params["concurrency_group_name"])]
	if group == nil {
		return notFound()
	}
	members, statusOf := listed(group)
	name := members[0].group
	shown := []object{}
	for _, m := range members {
		if query.Get("ahead_of_run") == strconv.FormatInt(m.run.id, 10) ||
			m.job != nil && query.Get("ahead_of_job") == strconv.FormatInt(m.job.id, 10) {
			break
		}
		shown = append(shown, groupMember(m, statusOf(m)))
	}
	return reply{status: http.StatusOK, body: object{
		"group_name": name, "group_url": r.groupURL(name), "total_count": len(shown), "group_members": shown,
	}}
}

func listGroupsOfRun(c *call) reply {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	defer s.mu.Unlock()
	run := c.run()
	if run == nil {
		return notFound()
	}
	active := slices.DeleteFunc(slices.Clone(run.members), func(m *member) bool { // one that was displaced has not left yet
		group := r.actions.groups[strings.ToLower(m.group)]
		return group == nil || !group.Goes(m) && !slices.Contains(group.Pending, m)
	})
	return counted(c, "concurrency_groups", active, func(m *member) object {
		members, statusOf := listed(r.actions.groups[strings.ToLower(m.group)])
		shown := groupMember(m, statusOf(m))
		shown["position"] = slices.Index(members, m)
		shown["position_url"] = r.groupURL(m.group) + "?ahead_of_run=" + strconv.FormatInt(run.id, 10)
		return object{"group_name": m.group, "group_url": r.groupURL(m.group), "group_members": []object{shown}}
	})
}
