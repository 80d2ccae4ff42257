package sandbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

// ActionsOptions switch GitHub Actions on.
type ActionsOptions struct {
	// Runner runs the steps of a job: package act, or a function of the test. It is asked only after the stand-in has
	// applied concurrency groups, gates and permissions.
	Runner JobRunner
	// Machines bounds how many jobs run at the same time; 2 when 0.
	Machines int
}

// JobRunner runs the steps of one job.
type JobRunner interface {
	// RunJob returns when the job has ended. It ends early, as GitHub's runner would, when job.Cancelled is closed, and at
	// once when ctx ends. What it tells is seen in the job's log and steps.
	RunJob(ctx context.Context, job *Job, tell Tell) JobResult
}

// JobFunc is a JobRunner for tests of what GitHub's server does, without any process.
type JobFunc func(ctx context.Context, job *Job, tell Tell) JobResult

// RunJob calls the function.
func (f JobFunc) RunJob(ctx context.Context, job *Job, tell Tell) JobResult { return f(ctx, job, tell) }

// Tell takes what happens in a job, in order.
type Tell func(StepEvent)

// StepEvent is one line of a log, or the beginning or end of a step.
type StepEvent struct {
	Step       string // its name; empty for lines of the job itself
	Line       string // of the log; empty when the step begins or ends
	Conclusion string // success, failure, skipped or cancelled when the step has ended
	Summary    string // Markdown that the step has written for the job's summary
}

// Job is all that a runner needs to run one job.
type Job struct {
	Repository *Repository
	RunID      int64
	ID         int64
	Key        string // in the workflow file
	Files      workflow.Files
	Outputs    string         // directory that Files names; a runner makes and reads it
	Names      []string       // of the outputs: the value of name N is in file N
	Event      map[string]any // payload
	EventName  string
	Actor      string
	Ref, SHA   string
	Token      string            // GITHUB_TOKEN
	Secrets    map[string]string // without the token
	Variables  map[string]string
	// Environment is what GitHub puts into the environment of each step; Runtime what only actions in JavaScript and
	// containers get, not scripts: the address and token of artifacts.
	Environment map[string]string
	Runtime     map[string]string
	Inputs      map[string]any
	Matrix      map[string]any
	Cancelled   <-chan struct{}
}

// JobResult is how a job ended.
type JobResult struct {
	Conclusion string // success, failure or cancelled
	Outputs    map[string]string
	Problem    string // why it could not be run at all; shown as its annotation
}

// Run is a workflow run as GitHub would show it.
type Run struct {
	ID                     int64
	Number, Attempt        int
	Name, Title, Path      string
	Event                  string
	Branch, Ref, SHA       string
	Status                 string // requested, queued, pending, waiting, in_progress or completed
	Conclusion             string // empty until completed
	Actor, TriggeringActor string
	Inputs                 map[string]any
	Problem                string // why GitHub could not start it
	Jobs                   []RunJob
	CreatedAt, UpdatedAt   time.Time
	HTMLURL                string
}

// RunJob is one job of a run's present attempt.
type RunJob struct {
	ID                     int64
	Key, Name              string
	Status, Conclusion     string
	Environment            string
	Labels                 []string
	Steps                  []RunStep
	Log, Summary, Problem  string
	Outputs                map[string]string
	Permissions            map[string]string
	StartedAt, CompletedAt time.Time
}

// RunStep is one step of a job.
type RunStep struct {
	Number                 int
	Name                   string
	Status, Conclusion     string
	StartedAt, CompletedAt time.Time
}

// Job finds a job by its name.
func (r Run) Job(name string) (RunJob, bool) {
	i := slices.IndexFunc(r.Jobs, func(j RunJob) bool { return j.Name == name })
	if i < 0 {
		return RunJob{}, false
	}
	return r.Jobs[i], true
}

// Environment is an environment of a repository with its protection.
// https://docs.github.com/en/actions/reference/workflows-and-actions/deployments-and-environments
type Environment struct {
	Name              string
	Branches          []string // patterns of branches that may deploy; nil: all
	Tags              []string // patterns of tags that may, too
	ProtectedOnly     bool     // only protected branches may; without any protected branch all may
	Reviewers         []string // logins or org/team slugs, one of whom must approve
	PreventSelfReview bool
	Wait              time.Duration // whole minutes
	Gate              bool          // the App's custom deployment protection rule
	Variables         map[string]string
	Secrets           map[string]string
}

// SetEnvironment makes an environment or changes it to be exactly this. One that it makes is an hour old, like one that people have made
// before they use it: GitHub gives times in whole seconds, so one of this second would look like one that a job has made.
func (r *Repository) SetEnvironment(e Environment) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Name == "" {
		return errors.New("an environment needs a name")
	}
	for _, login := range e.Reviewers {
		if _, err := s.reviewer(login); err != nil {
			return err
		}
	}
	made := r.environment(e.Name)
	if made == nil {
		made = r.addEnvironment(e.Name)
		made.created = made.created.Add(-time.Hour)
	}
	made.wait, made.preventSelfReview, made.reviewers = e.Wait, e.PreventSelfReview, slices.Clone(e.Reviewers)
	made.protectedOnly, made.custom = e.ProtectedOnly, e.Branches != nil || e.Tags != nil
	made.policies, made.gates = nil, nil
	for _, name := range e.Branches {
		made.policies = append(made.policies, branchPolicy{s.nextID(), name, "branch"})
	}
	for _, name := range e.Tags {
		made.policies = append(made.policies, branchPolicy{s.nextID(), name, "tag"})
	}
	if e.Gate {
		made.gates = []int64{s.nextID()}
	}
	made.variables, made.secrets = maps.Clone(e.Variables), maps.Clone(e.Secrets)
	made.updated = s.now()
	s.change()
	return nil
}

// RemoveEnvironment deletes an environment with its protection, as a person does in the settings.
func (r *Repository) RemoveEnvironment(name string) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.actions.environments = slices.DeleteFunc(r.actions.environments, func(e *environment) bool { return strings.EqualFold(e.name, name) })
	r.sandbox.change()
}

// SetVariable sets a variable of the repository, which workflows read as vars.
func (r *Repository) SetVariable(name, value string) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.actions.variables[name] = value
}

// SetSecret sets a secret of the repository.
func (r *Repository) SetSecret(name, value string) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.actions.secrets[name] = value
}

// ProtectBranches says which branches have a protection rule, for environments that only those may deploy to.
func (r *Repository) ProtectBranches(names ...string) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.actions.protected = slices.Clone(names)
}

// SetActions switches Actions of the repository on or off. Switched off, nothing starts and dispatches answer 403.
func (r *Repository) SetActions(on bool) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.actions.disabled = !on
}

// AllowActors is an execution policy: only these may start workflows; without names everybody may.
// https://docs.github.com/en/actions/reference/security/control-workflow-execution
func (r *Repository) AllowActors(logins ...string) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.actions.allowed = slices.Clone(logins)
}

// SetImmutableSubject says whether sub in the repository's OIDC tokens has the ids of owner and repository, as it has by
// default for repositories that were made after 2026-07-15.
// https://docs.github.com/en/actions/reference/security/oidc
func (r *Repository) SetImmutableSubject(on bool) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	r.actions.immutableSubject = &on
}

// SetRunDetails says whether dispatches know return_run_details; older servers refuse it as an unknown field.
func (s *Sandbox) SetRunDetails(on bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.noRunDetails = !on
}

// SetMachines says which labels the machines have; a job that asks for another one stays queued. Without labels there are
// machines for all.
func (s *Sandbox) SetMachines(labels ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.machineLabels = slices.Clone(labels)
	s.change()
}

// NothingToApprove has the coming calls, which answer deployment protection rules, fail as they do on GitHub when they
// come too soon after the webhook.
func (c Coming) NothingToApprove() { c.meet(fault{reply: nothingToApprove()}) }

// Runs are the workflow runs, oldest first.
func (r *Repository) Runs() []Run {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	all := make([]Run, 0, len(r.actions.runs))
	for _, run := range r.actions.runs {
		all = append(all, run.view())
	}
	return all
}

// Run finds a workflow run.
func (r *Repository) Run(id int64) (Run, bool) {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	run := r.run(id)
	if run == nil {
		return Run{}, false
	}
	return run.view(), true
}

// AwaitRun returns the run as it is when done is true of it; nil waits until it is completed.
func (r *Repository) AwaitRun(ctx context.Context, id int64, done func(Run) bool) (Run, error) {
	if done == nil {
		done = func(run Run) bool { return run.Status == "completed" }
	}
	var last Run
	err := r.sandbox.Await(ctx, func() bool {
		run, ok := r.Run(id)
		last = run
		return ok && done(run)
	})
	if err != nil {
		return last, fmt.Errorf("wait for run %d, which is %s %s: %w", id, last.Status, last.Conclusion, err)
	}
	return last, nil
}

// Dispatch starts a workflow by hand, as a person does on its page. The workflow is named by its file.
func (r *Repository) Dispatch(ctx context.Context, as, file, ref string, inputs map[string]any) (int64, error) {
	s := r.sandbox
	s.mu.Lock()
	actor, err := r.actor(as, Write)
	s.mu.Unlock()
	if err != nil {
		return 0, err
	}
	run, refused := r.dispatch(ctx, actor, file, ref, inputs)
	if refused != nil {
		body, _ := refused.body.(object)
		return 0, fmt.Errorf("dispatch %s: %d: %v", file, refused.status, body["message"])
	}
	return run.id, nil
}

// Schedule starts the workflows of the default branch that have this cron line, as the clock would.
func (r *Repository) Schedule(_ context.Context, cron string) {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	s.trigger(r, r.owner, "schedule", "", object{"schedule": cron})
}

// Cancel cancels a run, gently or by force, as a person.
func (r *Repository) Cancel(_ context.Context, as string, id int64, force bool) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := r.actor(as, Write); err != nil {
		return err
	}
	run := r.run(id)
	if run == nil || run.status == completed {
		return fmt.Errorf("%s has no run %d that could be cancelled", r.FullName(), id)
	}
	run.cancel(force)
	s.change()
	return nil
}

// Rerun starts all jobs of a completed run again, as a person. The run keeps its actor.
func (r *Repository) Rerun(_ context.Context, as string, id int64) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	actor, err := r.actor(as, Write)
	if err != nil {
		return err
	}
	run := r.run(id)
	if run == nil || run.status != completed {
		return fmt.Errorf("%s has no completed run %d", r.FullName(), id)
	}
	return s.rerun(run, actor)
}

// LoseMachine has the machines of the run's jobs vanish: what runs there is killed, and the jobs fail.
func (r *Repository) LoseMachine(_ context.Context, id int64) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	run, met := r.run(id), false
	if run == nil {
		return fmt.Errorf("%s has no run %d", r.FullName(), id)
	}
	for _, j := range run.jobs {
		if j.lose != nil {
			j.lost, met = true, true
			j.lose()
		}
	}
	if !met {
		return fmt.Errorf("no job of run %d has a machine", id)
	}
	return nil
}

// ReviewDeployment approves or rejects the jobs of a run that wait for a reviewer of the environment.
func (r *Repository) ReviewDeployment(_ context.Context, as string, id int64, environment string, approve bool) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	actor, err := r.actor(as, Read)
	if err != nil {
		return err
	}
	e := r.environment(environment)
	if e == nil || !s.mayReview(e, actor) {
		return fmt.Errorf("%s is not a reviewer of %s", as, environment)
	}
	run := r.run(id)
	if run == nil || run.waiting(environment) == nil {
		return fmt.Errorf("run %d does not wait for %s", id, environment)
	}
	if e.preventSelfReview && run.triggeringActor == actor {
		return fmt.Errorf("%s started the run: the environment prevents self-review", as)
	}
	for _, g := range run.gates {
		if g.open() && strings.EqualFold(g.environment.name, environment) {
			g.review(actor, approve)
		}
	}
	s.change()
	return nil
}

// BypassGates is what admins may do: start all waiting jobs.
func (r *Repository) BypassGates(_ context.Context, as string, id int64) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, err := r.actor(as, Admin); err != nil {
		return err
	}
	run := r.run(id)
	if run == nil {
		return fmt.Errorf("%s has no run %d", r.FullName(), id)
	}
	for _, g := range run.gates {
		g.bypassed = g.bypassed || g.open()
	}
	s.change()
	return nil
}

// Artifacts are the artifacts of a run, oldest first, each a ZIP archive.
func (r *Repository) Artifacts(id int64) []Artifact {
	r.sandbox.mu.Lock()
	defer r.sandbox.mu.Unlock()
	var all []Artifact
	for _, a := range r.actions.artifacts {
		if a.run.id == id && a.finalized {
			all = append(all, Artifact{ID: a.id, Name: a.name, Archive: slices.Clone(a.content)})
		}
	}
	return all
}

// Artifact is one artifact of a run.
type Artifact struct {
	ID      int64
	Name    string
	Archive []byte
}

// AddArtifact puts an artifact beside those of a run that has not ended, as any job of it could.
func (r *Repository) AddArtifact(id int64, name string, archive []byte) error {
	s := r.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	run := r.run(id)
	if run == nil {
		return fmt.Errorf("%s has no run %d", r.FullName(), id)
	}
	s.addArtifact(run, name, slices.Clone(archive))
	s.change()
	return nil
}

// reviewer finds a login, or a team as org/slug. The caller holds mu.
func (s *Sandbox) reviewer(name string) (*account, error) {
	if t, ok := s.teams[strings.ToLower(name)]; ok {
		return &account{id: t.id, login: t.slug, kind: "Team"}, nil
	}
	return s.account(name)
}

// mayReview reports whether the environment names the person or a team of theirs. The caller holds mu.
func (s *Sandbox) mayReview(e *environment, who *account) bool {
	return slices.ContainsFunc(e.reviewers, func(name string) bool {
		t := s.teams[strings.ToLower(name)]
		return strings.EqualFold(name, who.login) || t != nil && t.members[strings.ToLower(who.login)]
	})
}

// view is a run as a test sees it. The caller holds mu.
func (run *run) view() Run {
	v := Run{
		ID: run.id, Number: run.number, Attempt: run.attempt, Name: run.workflow.name, Title: run.title, Path: run.workflow.path,
		Event: run.event, Branch: run.branch, Ref: run.ref, SHA: run.sha, Status: run.status, Conclusion: run.conclusion,
		Actor: run.actor.login, TriggeringActor: run.triggeringActor.login, Inputs: maps.Clone(run.inputs), Problem: run.problem,
		CreatedAt: run.created, UpdatedAt: run.updated, HTMLURL: run.htmlURL(),
	}
	for _, j := range run.jobs {
		v.Jobs = append(v.Jobs, RunJob{
			ID: j.id, Key: j.key, Name: j.name, Status: j.status, Conclusion: j.conclusion, Environment: cmp.Or(j.environmentName, ""),
			Labels: slices.Clone(j.labels), Steps: slices.Clone(j.steps), Log: j.log.String(), Summary: j.summary, Problem: j.problem,
			Outputs: maps.Clone(j.outputs), Permissions: maps.Clone(j.permissions), StartedAt: j.started, CompletedAt: j.ended,
		})
	}
	return v
}

// Export writes the files of a commit into a directory, without any history.
func (r *Repository) Export(ctx context.Context, sha, dir string) error {
	index := filepath.Join(dir, ".export-index")
	_, err := r.sandbox.git.run(ctx, gitCall{
		dir: r.dir, args: []string{"--work-tree=" + dir, "checkout", "--force", sha, "--", "."}, env: []string{"GIT_INDEX_FILE=" + index},
	})
	if err != nil {
		return err
	}
	if err := os.Remove(index); err != nil {
		return fmt.Errorf("remove the index of the export: %w", err)
	}
	return nil
}
