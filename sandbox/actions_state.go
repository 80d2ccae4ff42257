package sandbox

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

// The statuses of runs and jobs.
const (
	queued     = "queued"
	pending    = "pending" // waits for its concurrency group
	waiting    = "waiting" // waits at a gate
	inProgress = "in_progress"
	completed  = "completed"
)

// The conclusions of runs, jobs and steps.
const (
	success   = "success"
	failure   = "failure"
	cancelled = "cancelled"
	skipped   = "skipped"
)

// actionsState is what a repository remembers of GitHub Actions. All of it is guarded by the sandbox's mu.
type actionsState struct {
	disabled         bool
	allowed          []string // who may start workflows; empty: everybody
	protected        []string
	immutableSubject *bool
	variables        map[string]string
	secrets          map[string]string
	environments     []*environment
	workflows        []*workflowEntry
	runs             []*run
	artifacts        []*artifact
	groups           map[string]*workflow.Group[*member] // by lower-case name
	installation     *installation                       // of the App that GITHUB_TOKEN is of
}

// environment is one environment of a repository.
type environment struct {
	id                int64
	name              string
	wait              time.Duration
	preventSelfReview bool
	reviewers         []string
	protectedOnly     bool
	custom            bool // only what policies name may deploy
	policies          []branchPolicy
	gates             []int64 // ids of the rules of the App
	variables         map[string]string
	secrets           map[string]string
	created, updated  time.Time
}

type branchPolicy struct {
	id         int64
	name, kind string
}

// workflowEntry is what GitHub remembers of a workflow file as long as the repository lives.
type workflowEntry struct {
	id       int64
	path     string
	name     string
	disabled bool
	runs     int // last number
	created  time.Time
}

// run is one workflow run.
type run struct {
	repository      *Repository
	id              int64
	suite           int64
	number, attempt int
	workflow        *workflowEntry
	file            *workflow.Workflow // nil with a problem
	title           string
	event           string
	payload         any // as expressions see it
	inputs          map[string]any
	ref, branch     string // GITHUB_REF, and the short name of the head
	sha             string
	headRepository  *Repository
	headSHA         string // the head of a pull request, else sha
	headRef         string
	baseRef         string
	commit          object // the head commit in its short form
	pulls           []int
	fork            bool // of a fork's pull request: no secrets, reading only
	actor           *account
	triggeringActor *account
	status          string
	conclusion      string
	problem         string
	begun           bool // workflow_run.in_progress was sent
	cancelling      bool
	kill            context.CancelFunc // ends it at once; nil before it is driven
	forcing         bool
	jobs            []*job
	past            [][]*job // of the attempts before this one
	gates           []*gate
	members         []*member
	created         time.Time
	started         time.Time
	updated         time.Time
}

// job is one job of a run's present attempt.
type job struct {
	id              int64
	run             *run
	key, name       string
	labels          []string
	matrix          map[string]any
	status          string
	conclusion      string
	problem         string
	environmentName string
	deployment      *deployment
	permissions     workflow.Permissions
	steps           []RunStep
	log             bytes.Buffer
	summary         string
	outputs         map[string]string
	member          *member
	check           *check
	cancelling      bool
	gentle          chan struct{}
	lose            context.CancelFunc // ends it as if its machine were gone; nil while it has none
	lost            bool
	token           string
	runtime         string
	calledPath      string // job_workflow_ref without the commit
	calledSHA       string
	created         time.Time
	started         time.Time
	ended           time.Time
}

// member is a run or a job in a concurrency group.
type member struct {
	group string // as it was written first
	run   *run
	job   *job // nil for a run
}

// cancel ends what the member is of.
func (m *member) cancel() {
	if m.job != nil {
		m.job.cancel()
		return
	}
	m.run.cancel(false)
}

func (run *run) cancel(force bool) {
	run.forcing = run.forcing || force
	if run.forcing && run.kill != nil {
		run.kill() // before anything hears of a gentle end
	}
	run.cancelling = true
	for _, j := range run.jobs {
		j.cancel()
	}
}

func (j *job) cancel() {
	if !j.cancelling {
		j.cancelling = true
		close(j.gentle)
	}
}

// newActionsState is of a new repository.
func newActionsState() actionsState {
	return actionsState{
		variables: map[string]string{}, secrets: map[string]string{}, groups: map[string]*workflow.Group[*member]{},
	}
}

// environment finds an environment; GitHub ignores case in their names. The caller holds mu.
func (r *Repository) environment(name string) *environment {
	i := slices.IndexFunc(r.actions.environments, func(e *environment) bool { return strings.EqualFold(e.name, name) })
	if i < 0 {
		return nil
	}
	return r.actions.environments[i]
}

// addEnvironment makes an environment without protection, as GitHub does for one that a workflow names. The caller holds mu.
func (r *Repository) addEnvironment(name string) *environment {
	s := r.sandbox
	e := &environment{id: s.nextID(), name: name, created: s.now(), updated: s.now()}
	r.actions.environments = append(r.actions.environments, e)
	return e
}

// run finds a run. The caller holds mu.
func (r *Repository) run(id int64) *run {
	i := slices.IndexFunc(r.actions.runs, func(run *run) bool { return run.id == id })
	if i < 0 {
		return nil
	}
	return r.actions.runs[i]
}

// workflow finds what is remembered of a file, or begins to. The caller holds mu.
func (r *Repository) workflow(path string, file *workflow.Workflow) *workflowEntry {
	i := slices.IndexFunc(r.actions.workflows, func(w *workflowEntry) bool { return w.path == path })
	if i < 0 {
		r.actions.workflows = append(r.actions.workflows, &workflowEntry{
			id: r.sandbox.nextID(), path: path, name: path, created: r.sandbox.now(),
		})
		i = len(r.actions.workflows) - 1
	}
	w := r.actions.workflows[i]
	if file != nil && file.Name != "" {
		w.name = file.Name
	}
	return w
}

// workflowNamed finds a workflow by its id or the name of its file. The caller holds mu.
func (r *Repository) workflowNamed(name string) *workflowEntry {
	i := slices.IndexFunc(r.actions.workflows, func(w *workflowEntry) bool {
		return strconv.FormatInt(w.id, 10) == name || w.path == workflowsDir+name || w.path == name
	})
	if i < 0 {
		return nil
	}
	return r.actions.workflows[i]
}

// status is of a run whose jobs are as they are now. The caller holds mu.
func (run *run) refresh() {
	if run.status == completed {
		return
	}
	has := func(status string) bool {
		return slices.ContainsFunc(run.jobs, func(j *job) bool { return j.status == status })
	}
	switch {
	case has(inProgress):
		run.status = inProgress
	case has(waiting):
		run.status = waiting
	case run.begun && !has(queued) && !has(pending):
		run.status = inProgress // between two jobs
	default:
		run.status = queued
	}
	run.updated = run.repository.sandbox.now()
}

// waiting is an open gate of the run to that environment; nil is none. The caller holds mu.
func (run *run) waiting(environment string) *gate {
	i := slices.IndexFunc(run.gates, func(g *gate) bool {
		return g.open() && strings.EqualFold(g.environment.name, environment)
	})
	if i < 0 {
		return nil
	}
	return run.gates[i]
}

// enter joins a concurrency group. Whom the newcomer displaces is cancelled. The caller holds mu.
func (r *Repository) enter(m *member, queue string, cancelRunning bool) {
	key := strings.ToLower(m.group)
	group := r.actions.groups[key]
	if group == nil {
		group = &workflow.Group[*member]{}
		r.actions.groups[key] = group
	}
	for _, other := range group.Join(m, queue, cancelRunning) {
		other.cancel()
	}
	m.run.members = append(m.run.members, m)
	r.sandbox.change()
}

// leave ends a membership. The caller holds mu.
func (r *Repository) leave(m *member) {
	key := strings.ToLower(m.group)
	if group := r.actions.groups[key]; group != nil {
		group.Leave(m)
		if group.Empty() {
			delete(r.actions.groups, key)
		}
	}
	m.run.members = slices.DeleteFunc(m.run.members, func(other *member) bool { return other == m })
	r.sandbox.change()
}

// goes reports whether it is the member's turn. The caller holds mu.
func (r *Repository) goes(m *member) bool {
	group := r.actions.groups[strings.ToLower(m.group)]
	return group != nil && group.Goes(m)
}
