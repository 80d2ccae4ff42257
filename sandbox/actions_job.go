package sandbox

import (
	"context"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

// jobTokenLife is how long GITHUB_TOKEN lives at most; it ends with its job.
// https://docs.github.com/en/actions/concepts/security/github_token
const jobTokenLife = 24 * time.Hour

// maxLog bounds what is kept of the log of one job; the rest is lost.
const maxLog = 16 << 20

// jobRateLimit is how many API calls the tokens of all jobs of a repository have in an hour; jobCredential begins the name of
// what counts them.
// https://docs.github.com/en/rest/using-the-rest-api/rate-limits-for-the-rest-api#primary-rate-limit-for-github_token-in-github-actions
const (
	jobRateLimit  = 1000
	jobCredential = "jobs of installation "
)

// lostWords are GitHub's for a machine that went away.
const lostWords = "The self-hosted runner lost communication with the server. Verify the machine is running and has a healthy " +
	"network connection."

// driveJob takes one job from queued to completed: its group, its gate, its machine, its steps.
func (s *Sandbox) driveJob(ctx context.Context, n *node, j *job, values workflow.Values) {
	result := s.prepareJob(ctx, n, j, values)
	if result == nil {
		result = s.runJob(ctx, n, j)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.finish(j, *result)
}

// prepareJob returns when a machine may run the job, or how the job has ended before.
func (s *Sandbox) prepareJob(ctx context.Context, n *node, j *job, values workflow.Values) *JobResult {
	name, deploys, err := s.evaluate(n, j, values)
	if err != nil {
		return &JobResult{Conclusion: failure, Problem: err.Error()}
	}
	if j.member == nil {
		s.announceJob(j, queued)
	}
	if j.member != nil && !s.until(ctx, func() bool { return j.cancelling || j.run.repository.goes(j.member) }) {
		return &JobResult{Conclusion: cancelled}
	}
	if name != "" {
		if ended := s.passGate(ctx, j, name, deploys); ended != nil {
			return ended
		}
	}
	if !s.until(ctx, func() bool { return j.cancelling || s.takeMachine(j) }) {
		return &JobResult{Conclusion: cancelled}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.cancelling {
		return &JobResult{Conclusion: cancelled}
	}
	return nil
}

// evaluate finds out the labels, environment and group of a job, and has it join the group.
func (s *Sandbox) evaluate(n *node, j *job, values workflow.Values) (environment string, deploys bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.problem != "" {
		return "", false, fmt.Errorf("evaluate the name: %s", j.problem)
	}
	if j.labels, err = n.def.Labels(values); err != nil {
		return "", false, err //nolint:wrapcheck // names the key itself
	}
	deploys = true
	if named := n.def.Environment; named != nil {
		name, err := workflow.Interpolate(named.Name, values)
		if err != nil {
			return "", false, fmt.Errorf("evaluate the environment: %w", err)
		}
		deployment, err := workflow.Interpolate(named.Deployment, values)
		if err != nil {
			return "", false, fmt.Errorf("evaluate deployment: %w", err)
		}
		environment, deploys = workflow.Text(name), workflow.Text(deployment) != "false"
	}
	j.environmentName = environment
	if err := s.join(j.run, j, n.def.Concurrency, values); err != nil {
		return "", false, err
	}
	return environment, deploys, nil
}

// announceJob sends workflow_job.
func (s *Sandbox) announceJob(j *job, action string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.emit(j.run.repository, j.run.triggeringActor, "workflow_job", action, s.jobEvent(j))
}

// passGate holds a job to the protection of its environment. It returns nil when the job may go on.
func (s *Sandbox) passGate(ctx context.Context, j *job, name string, deploys bool) *JobResult {
	g, ended := s.openGate(j, name, deploys)
	if ended != nil || g == nil {
		return ended
	}
	if g.environment.wait > 0 {
		stop := s.lookOften(ctx)
		defer stop()
	}
	decided := s.until(ctx, func() bool { return j.cancelling || g.settled(s.now()) != undecided })
	s.mu.Lock()
	defer s.mu.Unlock()
	g.closed = true
	switch {
	case !decided || j.cancelling:
		return &JobResult{Conclusion: cancelled}
	case g.settled(s.now()) == rejected:
		return &JobResult{Conclusion: failure, Problem: "The deployment was rejected or didn't satisfy other protection rules."}
	}
	j.status = queued
	s.progress(j)
	return nil
}

// lookOften has those who wait look again while a timer runs on a clock that tells nobody.
func (s *Sandbox) lookOften(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	s.running.Go(func() {
		for ctx.Err() == nil {
			wait(ctx, timerLook)
			s.mu.Lock()
			s.change()
			s.mu.Unlock()
		}
	})
	return cancel
}

// openGate makes the deployment and, where the environment is protected, the gate with its webhooks.
func (s *Sandbox) openGate(j *job, name string, deploys bool) (*gate, *JobResult) {
	r, run := j.run.repository, j.run
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.cancelling {
		return nil, &JobResult{Conclusion: cancelled}
	}
	e := r.environment(name)
	if e == nil {
		e = r.addEnvironment(name)
	}
	if !e.admits(run.ref, r.actions.protected) {
		return nil, &JobResult{Conclusion: failure, Problem: fmt.Sprintf(
			"%s %q is not allowed to deploy to %s due to environment protection rules.",
			strings.ToUpper(refType(run.ref)[:1])+refType(run.ref)[1:], run.branch, e.name)}
	}
	protected := len(e.reviewers) > 0 || len(e.gates) > 0 || e.wait > 0
	switch {
	case !deploys && len(e.gates) > 0:
		return nil, &JobResult{Conclusion: failure, Problem: fmt.Sprintf(
			"The environment %s has custom deployment protection rules, which need a deployment.", e.name)}
	case deploys:
		s.deployFor(j, e)
	}
	if !protected {
		return nil, nil
	}
	g := newGate(j, e, j.deployment, s.now())
	run.gates = append(run.gates, g)
	j.status = waiting
	s.progress(j)
	s.emit(r, run.triggeringActor, "workflow_job", waiting, s.jobEvent(j))
	for range e.gates {
		s.emit(r, run.triggeringActor, "deployment_protection_rule", "requested", s.gateEvent(g))
	}
	s.change()
	return g, nil
}

// deployFor makes the deployment of a job. The caller holds mu.
func (s *Sandbox) deployFor(j *job, e *environment) {
	r, run := j.run.repository, j.run
	d := &deployment{
		Deployment: Deployment{
			ID: s.nextID(), SHA: run.sha, Ref: run.branch, Environment: e.name, Creator: run.triggeringActor.login, CreatedAt: s.now(),
		},
		task: "deploy", creator: run.triggeringActor, updated: s.now(), payload: object{}, actions: true,
	}
	r.deployments = append(r.deployments, d)
	j.deployment = d
	s.emit(r, run.triggeringActor, "deployment", "created", object{
		"deployment": s.deploymentObject(r, d), "workflow": s.workflowObject(r, run.workflow), "workflow_run": s.deploymentRun(run),
	})
}

// deploymentState adds a status to the job's deployment, if it has one. The caller holds mu.
func (s *Sandbox) deploymentState(j *job, state string) {
	if j.deployment == nil {
		return
	}
	r, run := j.run.repository, j.run
	status := DeploymentStatus{ID: s.nextID(), State: state, LogURL: j.htmlURL(), CreatedAt: s.now(), actions: true}
	j.deployment.States, j.deployment.updated = append(j.deployment.States, status), status.CreatedAt
	if state == success {
		r.retire(j.deployment)
	}
	shown := s.deploymentStatusObject(r, j.deployment, status)
	shown["environment_url"] = ""
	s.emit(r, run.triggeringActor, "deployment_status", "created", object{
		"deployment": s.deploymentObject(r, j.deployment), "deployment_status": shown,
		"workflow": s.workflowObject(r, run.workflow), "workflow_run": s.deploymentRun(run),
	})
}

// takeMachine gives the job a machine, if one with its labels is free. The caller holds mu.
func (s *Sandbox) takeMachine(j *job) bool {
	for _, label := range j.labels {
		if len(s.machineLabels) > 0 && !slices.Contains(s.machineLabels, label) {
			return false
		}
	}
	limit := s.actions.Machines
	if limit == 0 {
		limit = defaultMachines
	}
	if s.busy >= limit {
		return false
	}
	s.busy++
	j.status, j.started = inProgress, s.now()
	return true
}

// runJob has the runner run the steps.
func (s *Sandbox) runJob(ctx context.Context, n *node, j *job) *JobResult {
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.busy--
		delete(s.tokens, j.token)
		delete(s.runtimes, j.runtime)
		s.change()
	}()
	ctx, lose := context.WithCancel(ctx)
	defer lose()
	spec, err := s.jobSpec(ctx, n, j)
	if err != nil {
		return &JobResult{Conclusion: failure, Problem: err.Error()}
	}
	s.mu.Lock()
	run := j.run
	j.lose = lose
	s.progress(j)
	if !run.begun {
		run.begun = true
		run.refresh()
		s.emit(run.repository, run.triggeringActor, "workflow_run", inProgress, s.runEvent(run))
	}
	s.emit(run.repository, run.triggeringActor, "workflow_job", inProgress, s.jobEvent(j))
	s.deploymentState(j, inProgress)
	s.change()
	s.mu.Unlock()
	result := s.actions.Runner.RunJob(ctx, spec, func(e StepEvent) { s.hear(j, e) })
	s.mu.Lock()
	defer s.mu.Unlock()
	j.lose = nil
	if j.lost {
		return &JobResult{Conclusion: failure, Problem: lostWords}
	}
	return &result
}

// jobSpec is what the runner gets.
func (s *Sandbox) jobSpec(ctx context.Context, n *node, j *job) (*Job, error) {
	run, r := j.run, j.run.repository
	outputs := filepath.Join(s.dir, "outputs-"+strconv.FormatInt(j.id, 10))
	s.mu.Lock()
	needs := n.needs()
	s.mu.Unlock()
	files, err := n.scope.file.Single(workflow.Single{
		Job: n.def.ID, Event: run.event, Matrix: j.matrix, Needs: needs, Called: n.scope.called, Inputs: n.scope.inputs, Outputs: outputs,
		Action: func(uses string) string { return s.served(ctx, uses) },
	})
	if err != nil {
		return nil, fmt.Errorf("prepare the job: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	event, _ := run.payload.(map[string]any)
	spec := &Job{
		Repository: r, RunID: run.id, ID: j.id, Key: n.def.ID, Files: files, Outputs: outputs, Names: n.def.OutputNames(),
		Event: event, EventName: run.event, Actor: run.actor.login, Ref: run.ref, SHA: run.sha, Token: s.jobToken(j),
		Secrets: map[string]string{}, Variables: maps.Clone(r.actions.variables), Environment: j.environmentOf(),
		Inputs: maps.Clone(n.scope.inputs), Matrix: maps.Clone(j.matrix), Cancelled: j.gentle,
	}
	secrets := maps.Clone(r.actions.secrets)
	if e := r.environment(j.environmentName); e != nil {
		maps.Copy(spec.Variables, e.variables)
		maps.Copy(secrets, e.secrets)
	}
	if !run.fork {
		spec.Secrets = n.scope.secrets(secrets)
	}
	spec.Runtime = s.runtimeOf(j)
	if j.permissions["id-token"] == "write" {
		maps.Copy(spec.Environment, s.identityOf(j))
	}
	return spec, nil
}

// jobToken makes the job's GITHUB_TOKEN: one of an App that is installed on this one repository. The caller holds mu.
func (s *Sandbox) jobToken(j *job) string {
	r := j.run.repository
	if r.actions.installation == nil {
		r.actions.installation = &installation{id: s.nextID(), account: r.owner, repositories: []*Repository{r}, created: s.now()}
	}
	permissions := map[string]string{}
	for name, level := range j.permissions {
		permissions[strings.ReplaceAll(name, "-", "_")] = level
	}
	j.token = newToken()
	s.tokens[j.token] = &token{
		installation: r.actions.installation, permissions: permissions, repositories: []*Repository{r},
		expires: s.now().Add(jobTokenLife), job: j,
	}
	return j.token
}

// hear writes down what a runner tells.
func (s *Sandbox) hear(j *job, e StepEvent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.change()
	if e.Summary != "" {
		j.summary += e.Summary
	}
	if e.Line != "" && j.log.Len() > maxLog {
		return
	}
	if e.Line != "" {
		fmt.Fprintf(&j.log, "%s %s\n", s.now().UTC().Format("2006-01-02T15:04:05.0000000Z"), e.Line)
		return
	}
	if e.Step == "" || e.Summary != "" && e.Conclusion == "" {
		return
	}
	i := slices.IndexFunc(j.steps, func(step RunStep) bool { return step.Name == e.Step && step.Status != completed })
	if i < 0 {
		j.steps = append(j.steps, RunStep{Number: len(j.steps) + 1, Name: e.Step, Status: inProgress, StartedAt: s.now()})
		i = len(j.steps) - 1
	}
	if e.Conclusion != "" {
		j.steps[i].Status, j.steps[i].Conclusion, j.steps[i].CompletedAt = completed, e.Conclusion, s.now()
	}
}

// progress brings the job's check and run up to date after its status changed. The caller holds mu.
func (s *Sandbox) progress(j *job) {
	if j.status == inProgress {
		j.check.Status, j.check.StartedAt = inProgress, j.started
	}
	j.check.updated = s.now()
	j.run.refresh()
}

// finish ends a job. The caller holds mu.
func (s *Sandbox) finish(j *job, result JobResult) {
	run := j.run
	if j.status == completed {
		return
	}
	if j.cancelling && result.Conclusion == "" {
		result.Conclusion = cancelled
	}
	j.status, j.conclusion, j.outputs, j.ended = completed, result.Conclusion, result.Outputs, s.now()
	if result.Problem != "" {
		j.problem = result.Problem
		fmt.Fprintf(&j.log, "%s ##[error]%s\n", s.now().UTC().Format("2006-01-02T15:04:05.0000000Z"), result.Problem)
	}
	for i := range j.steps {
		if j.steps[i].Status != completed {
			j.steps[i].Status, j.steps[i].Conclusion, j.steps[i].CompletedAt = completed, j.conclusion, s.now()
		}
	}
	for _, g := range run.gates {
		g.closed = g.closed || g.job == j
	}
	if j.member != nil {
		run.repository.leave(j.member)
	}
	j.check.Status, j.check.Conclusion, j.check.CompletedAt, j.check.updated = completed, j.conclusion, j.ended, j.ended
	run.refresh()
	s.emit(run.repository, run.triggeringActor, "workflow_job", completed, s.jobEvent(j))
	s.deploymentState(j, map[string]string{success: success, failure: failure, cancelled: "error", skipped: "error"}[j.conclusion])
	s.change()
}

// checkOf makes the check run that GitHub shows for a job; both have the same id. The caller holds mu.
func (s *Sandbox) checkOf(j *job) {
	r := j.run.repository
	j.check = &check{
		Check: Check{
			ID: j.id, Name: j.name, HeadSHA: j.run.headSHA, Status: queued, DetailsURL: j.htmlURL(), StartedAt: s.now(), App: actionsSlug,
		},
		suite: j.run.suite, created: s.now(), updated: s.now(), actions: true,
	}
	r.checks = append(r.checks, j.check)
}

// rerun starts all jobs of a run again. The caller holds mu.
func (s *Sandbox) rerun(run *run, actor *account) error {
	if run.file == nil {
		return fmt.Errorf("run %d never started", run.id)
	}
	run.attempt++
	run.triggeringActor, run.status, run.conclusion, run.problem = actor, queued, "", ""
	run.begun, run.cancelling, run.forcing = false, false, false
	run.kill = nil
	run.past = append(run.past, run.jobs)
	run.jobs, run.gates, run.started, run.updated = nil, nil, s.now(), s.now()
	s.takeOn(work{run: run})
	s.change()
	return nil
}
