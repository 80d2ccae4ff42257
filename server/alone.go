package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/handlers"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/terraform"
)

// AloneOptions are what a job needs that works without an App.
type AloneOptions struct {
	Env     job.Environ
	All     []string // the job's whole environment, NAME=value
	Machine job.Machine
	Hub     *hub.Hub
	Clock   clockwork.Clock
	Out     io.Writer // the job's log
	Log     zerolog.Logger

	Isolation operation.Isolation
}

// alone is a server for one event, in a job of a workflow: the same parts on a database of its own, with the job's token.
type alone struct {
	AloneOptions

	parts     job.Parts
	event     job.Event
	workflow  string // file of the job's own workflow
	store     *store.Store
	git       *git.Mirrors
	deploy    *deploy.Deploy
	runs      *inJob
	config    repoconfig.Config
	problem   string // of the configuration
	modules   job.Modules
	begun     bool // to work on what is queued
	accepted  bool // the event led to something
	publisher publisher
}

// publisher writes to GitHub what its checks and comments should show.
type publisher struct {
	group  errgroup.Group
	cancel context.CancelFunc
}

// showLimit bounds how long a job shows what it has done after it has ended, stopLimit the same where GitHub is about to kill it.
// See https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation.
const (
	showLimit = 2 * time.Minute
	stopLimit = 5 * time.Second
)

// aloneAttempts is after how many failures a piece of work is given up: a job that waits costs minutes.
const aloneAttempts = 6

// Alone does what the event of a job asks for, without a server. The error is job.ErrNotDone where the log, the checks and the summary
// say what happened.
func Alone(ctx context.Context, o AloneOptions) error {
	a := &alone{AloneOptions: o}
	if a.Clock == nil {
		a.Clock = clockwork.NewRealClock()
	}
	a.parts = job.Parts{
		Env: o.Env, All: o.All, Machine: o.Machine, GitHub: o.Hub, Clock: a.Clock, Out: o.Out, Find: terraform.Find,
	}
	err := a.do(ctx)
	if nothing := (*nothingError)(nil); errors.As(err, &nothing) {
		return a.parts.TellNothing(nothing.words) //nolint:wrapcheck // says itself what failed
	}
	if err != nil && ctx.Err() != nil && !a.begun { // whatever failed, failed because of that
		return a.parts.TellStopped("The job was cancelled before anything was begun.") //nolint:wrapcheck // as above
	}
	if failed := (*failedError)(nil); errors.As(err, &failed) {
		return a.parts.TellFailed(failed.words) //nolint:wrapcheck // as above
	}
	if err == nil || errors.Is(err, job.ErrNotDone) {
		return err
	}
	return a.parts.TellFailed("Nothing was begun: " + err.Error()) //nolint:wrapcheck // as above
}

// failedError ends a job in words; nothingError ends it well, because there is nothing to do.
type (
	failedError  struct{ words string }
	nothingError struct{ words string }
)

func (e *failedError) Error() string  { return e.words }
func (e *nothingError) Error() string { return e.words }

func (a *alone) do(ctx context.Context) error {
	var err error
	if a.event, err = job.ReadEvent(a.Env); err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	if a.workflow, err = job.WorkflowFile(a.Env); err != nil {
		return err //nolint:wrapcheck // as above
	}
	a.Machine.Repository.Installation = thisJob
	repo := a.Machine.Repository
	wish, err := a.event.Wish(repo)
	if err != nil {
		return err //nolint:wrapcheck // as above
	}
	if wish.Nothing != "" {
		return &nothingError{wish.Nothing}
	}
	if err := a.open(ctx); err != nil {
		return errors.Join(err, a.close())
	}
	defer func() {
		if err := a.close(); err != nil {
			a.Log.Warn().Err(err).Msg("could not close cleanly")
		}
	}()
	stopping := context.AfterFunc(ctx, func() { a.runs.stop() })
	defer stopping()
	if a.event.Name != "issue_comment" { // which starts others, that run Terraform
		if a.modules, err = a.parts.Modules(ctx, operation.Task{}, a.config.Modules); err != nil {
			return err //nolint:wrapcheck // says what is wrong
		}
	}
	switch {
	case wish.Apply != nil:
		return a.apply(ctx, *wish.Apply)
	case wish.Plan != "":
		return a.planAgain(ctx, wish.Plan)
	default:
		return a.look(ctx)
	}
}

// thisJob is the installation that rows name where there is none.
const thisJob = 1

// applicationName is what the repository's variables call the application; empty where they do not.
func (a *alone) applicationName() string {
	name, _ := a.Env("APPLICATION_NAME")
	return name
}

// open makes the parts of a server, fetches the repository and reads its configuration.
func (a *alone) open(ctx context.Context) error {
	repo, dir := a.Machine.Repository, a.parts.Dir()
	database := filepath.Join(dir, "alone")
	if err := os.RemoveAll(database); err != nil { // of an earlier job on this machine
		return fmt.Errorf("remove an earlier database: %w", err)
	}
	if err := os.MkdirAll(database, dirMode); err != nil {
		return fmt.Errorf("make a directory for the database: %w", err)
	}
	var err error
	if a.store, err = store.Open(ctx, "sqlite:"+filepath.Join(database, databaseURL), nil); err != nil {
		return fmt.Errorf("open the database: %w", err)
	}
	a.git = git.New(filepath.Join(dir, dirMirrors), a.Hub.CloneURL, a.Hub.Token, git.Options{Log: a.Log, Env: networkOf(a.Env)})
	env, err := job.TerraformEnv(a.Env, a.All)
	if err != nil {
		return err //nolint:wrapcheck // says what is wrong
	}
	limits := settings.Defaults().Limits
	a.runs = newInJob(a.Out, a.Clock, a.equip)
	a.deploy = deploy.New(deploy.Options{
		Store: a.store, Git: a.git, Hub: a.Hub, Executor: a.runs, Actions: a.runs, Clock: a.Clock, Log: a.Log,
		Host: operation.HostActions, HostName: "a job of a workflow", WebURL: a.Machine.Web, WorkDir: filepath.Join(dir, dirWork), Env: env,
		PlanLimit: limits.Plan, ApplyLimit: limits.Apply, LockTimeout: limits.Lock, StopGrace: limits.StopGrace,
		Alone: &deploy.Alone{
			RunURL: a.runURL(), Without: onlyWithApp(), Application: a.applicationName(), Instead: a.instead, Keep: a.keep, Kept: a.kept,
		},
	})
	info, err := a.Hub.Repository(ctx, repo)
	if err != nil {
		return fmt.Errorf("ask for the default branch: %w", err)
	}
	if err := a.store.SaveRepository(ctx, repo, info.DefaultBranch); err != nil {
		return fmt.Errorf("save the repository: %w", err)
	}
	if err := a.git.Fetch(ctx, repo); err != nil {
		return err //nolint:wrapcheck // says what was fetched
	}
	return a.configure(ctx, info.DefaultBranch)
}

// runURL is the page of the job's own run.
func (a *alone) runURL() string {
	return fmt.Sprintf("%s/%s/actions/runs/%d", a.Machine.Web, a.Machine.Repository.FullName(), a.Machine.Run)
}

// configure reads the configuration of the default branch.
func (a *alone) configure(ctx context.Context, branch string) error {
	a.config = repoconfig.Default()
	tip, ok, err := a.git.Branch(ctx, a.Machine.Repository, branch)
	if err != nil || !ok {
		return errors.Join(fmt.Errorf("find the default branch %q", branch), err)
	}
	data, ok, err := a.git.ReadFile(ctx, a.Machine.Repository, tip, repoconfig.Path)
	if err != nil || !ok {
		return err //nolint:wrapcheck // says what was read
	}
	config, err := repoconfig.Parse(data)
	if err != nil {
		a.problem = fmt.Sprintf("%s of %s cannot be used: %v", repoconfig.Path, branch, err)
		return nil
	}
	a.config = config
	return nil
}

func (a *alone) close() error {
	var all []error
	if a.publisher.cancel != nil {
		a.publisher.cancel()
		all = append(all, a.publisher.group.Wait())
	}
	if a.git != nil {
		all = append(all, a.git.Close())
	}
	if a.store != nil {
		all = append(all, a.store.Close())
	}
	return errors.Join(all...)
}

// equip gives a task what is of this machine.
func (a *alone) equip(ctx context.Context, task *operation.Task) error {
	task.Isolation = a.Isolation
	return a.parts.Equip(ctx, task, a.config.Terraform, a.git, a.modules) //nolint:wrapcheck // says what failed
}

// look does what a server does when it gets this event as a webhook.
func (a *alone) look(ctx context.Context) error {
	if err := a.isForEnvironment(a.baseOfEvent()); err != nil {
		return err
	}
	payload, err := withInstallation(a.event.Payload)
	if err != nil {
		return err
	}
	for _, handler := range handlers.All(&inboxOf{a}) {
		if !slices.Contains(handler.Handles(), a.event.Name) {
			continue
		}
		if err := handler.Handle(ctx, a.event.Name, fmt.Sprintf("run-%d-%d", a.Machine.Run, a.Machine.Attempt), payload); err != nil {
			return fmt.Errorf("read the event: %w", err)
		}
	}
	if !a.accepted {
		return &nothingError{"This event changes nothing that is deployed."}
	}
	return a.finish(ctx)
}

// baseOfEvent is the branch that a pull request or a group of the merge queue goes to; empty for other events.
func (a *alone) baseOfEvent() string {
	var event struct {
		PullRequest struct {
			Base struct {
				Ref string `json:"ref"`
			} `json:"base"`
		} `json:"pull_request"`
		MergeGroup struct {
			Base string `json:"base_ref"`
		} `json:"merge_group"`
	}
	if err := json.Unmarshal(a.event.Payload, &event); err != nil {
		return "" // the handler says what is wrong with it
	}
	if base := event.PullRequest.Base.Ref; base != "" {
		return base
	}
	return strings.TrimPrefix(event.MergeGroup.Base, "refs/heads/")
}

// isForEnvironment refuses a job that has the identity of another environment than the one that a branch belongs to.
func (a *alone) isForEnvironment(branch string) error {
	environment, mapped := a.config.EnvironmentOf(branch)
	if branch == "" || a.problem != "" || !mapped || a.event.Environment == "" || a.event.Environment == environment.Name {
		return nil
	}
	return &failedError{fmt.Sprintf("This job is for the environment `%s`, but %s of the default branch says that `%s` deploys to `%s`. "+
		"Make the workflow file %s say the same.", a.event.Environment, repoconfig.Path, branch, environment.Name, a.workflow)}
}

// withInstallation is the payload as a webhook of an App has it.
func withInstallation(payload []byte) ([]byte, error) {
	var event map[string]json.RawMessage
	if err := json.Unmarshal(payload, &event); err != nil {
		return nil, fmt.Errorf("read the event: %w", err)
	}
	event["installation"] = json.RawMessage(fmt.Sprintf(`{"id": %d}`, thisJob))
	data, err := json.Marshal(event)
	if err != nil {
		return nil, fmt.Errorf("write the event: %w", err)
	}
	return data, nil
}

// inboxOf notes whether an event led to anything.
type inboxOf struct{ a *alone }

// Accept stores the event and its jobs.
func (i *inboxOf) Accept(ctx context.Context, delivery store.Delivery, jobs []queue.Job) (bool, error) {
	i.a.accepted = true
	return i.a.store.Accept(ctx, delivery, jobs) //nolint:wrapcheck // the handler says what failed
}

// planAgain plans the open pull requests with a head.
func (a *alone) planAgain(ctx context.Context, head string) error {
	repo := a.Machine.Repository
	pulls, err := a.Hub.PullsOfCommit(ctx, repo, head)
	if err != nil {
		return fmt.Errorf("ask for the pull requests of %s: %w", head, err)
	}
	var jobs []queue.Job
	for _, pull := range pulls {
		if pull.State != "open" || pull.HeadSHA != head || pull.Fork {
			continue
		}
		if err := a.isForEnvironment(pull.BaseRef); err != nil {
			return err
		}
		jobs = append(jobs, deploy.PullSeen{
			Repository: repo, Number: pull.Number, Again: a.event.Actor, First: job.FirstRoot(a.Env),
		}.Job())
	}
	if len(jobs) == 0 {
		return &nothingError{fmt.Sprintf("No open pull request of this repository has %s as its head. A plan is made of a pull request: "+
			"open one, or comment `/plan` on it.", head)}
	}
	if err := a.store.Enqueue(ctx, jobs...); err != nil {
		return fmt.Errorf("queue: %w", err)
	}
	return a.finish(ctx)
}

// finish does what is queued, shows it, and says how it ended.
func (a *alone) finish(ctx context.Context) error {
	a.publish(ctx)
	if err := a.work(ctx); err != nil {
		return err
	}
	return a.tell(ctx)
}

// tell waits until GitHub shows what happened, and says how it ended.
func (a *alone) tell(ctx context.Context) error {
	a.publish(ctx)
	unshown := a.shown(ctx)
	dead, err := a.store.DeadJobs(context.WithoutCancel(ctx), 1)
	if err != nil {
		return fmt.Errorf("find what was given up: %w", err)
	}
	ops, err := a.ran(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	var end error
	for _, op := range ops {
		end = errors.Join(end, a.parts.TellEnd(op, a.config.Mask))
	}
	switch {
	case end != nil:
		if errors.Is(end, job.ErrNotDone) {
			return job.ErrNotDone
		}
		return end
	case len(dead) > 0:
		return &failedError{"It was tried several times and given up: " + dead[0].Reason}
	case unshown != nil:
		return &failedError{"GitHub does not show all of it: " + unshown.Error()}
	case len(ops) > 0:
		return nil
	case a.problem != "":
		return &failedError{a.problem}
	default:
		return &nothingError{"Nothing had to be planned or applied. The checks and comments of the pull request, if there is one, say why."}
	}
}

// ran lists the operations of this job, but for those that end because a newer one takes their place.
func (a *alone) ran(ctx context.Context) ([]operation.Operation, error) {
	ops, err := a.store.Operations(ctx, store.Filter{Repository: a.Machine.Repository.ID})
	if err != nil {
		return nil, fmt.Errorf("find what ran: %w", err)
	}
	return slices.DeleteFunc(ops, func(op operation.Operation) bool {
		recalled := op.Kind == operation.Plan && op.State == operation.Succeeded && op.Launch == ""
		return recalled || op.State == operation.Superseded || op.State == operation.Gathered
	}), nil
}

// publish begins to write to GitHub what its checks and comments should show. Again changes nothing.
func (a *alone) publish(ctx context.Context) {
	if a.publisher.cancel != nil {
		return
	}
	ctx, a.publisher.cancel = context.WithCancel(context.WithoutCancel(ctx))
	a.publisher.group.Go(func() error { return a.deploy.Publish(ctx) })
}

// shown waits until GitHub shows all that it should, but not for ever. The error says what is missing.
func (a *alone) shown(ctx context.Context) error {
	limit := showLimit
	if ctx.Err() != nil {
		limit = stopLimit
	}
	whole, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	for {
		wake := a.store.Wake()
		pending, err := a.store.PendingSurfaces(whole)
		if err != nil {
			return fmt.Errorf("count what is not shown: %w", err)
		}
		if len(pending) == 0 {
			return nil
		}
		select {
		case <-whole.Done():
			return fmt.Errorf("%d checks or comments could not be written", pending[0].Surfaces)
		case <-wake:
		case <-a.Clock.After(flushPoll):
		}
	}
}

// flushPoll is how often it is looked whether all is shown: that something is written wakes nobody.
const flushPoll = 50 * time.Millisecond

// work does the jobs of the queue until none is left.
func (a *alone) work(ctx context.Context) error {
	a.begun = true
	running, done := context.WithCancel(context.WithoutCancel(ctx))
	defer done()
	counted := &untilIdle{Store: a.store, depths: a.store.Depths, idle: done}
	q := queue.New(counted, a.Clock, a.Log, queue.Options{
		Workers:     map[queue.Class]int{queue.Quick: 2, queue.Long: 2, queue.Bots: 1},
		MaxAttempts: aloneAttempts, OnDead: a.deploy.Dead, Worker: "job",
	})
	a.deploy.Register(q)
	for _, kind := range []string{deploy.KindOutdated, deploy.KindSweep} { // other pull requests have jobs of their own
		q.Handle(kind, func(context.Context, queue.Job, queue.Claim) error { return nil })
	}
	counted.look(running)
	defer a.quiet()()
	if err := q.Run(running); err != nil {
		return fmt.Errorf("work: %w", err)
	}
	return nil
}

// quiet has nothing that is written until the result is called taken for a command to GitHub's runner: names in it are other people's.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
func (a *alone) quiet() func() {
	end := uuid.NewString()
	_, _ = fmt.Fprintf(a.Out, "::stop-commands::%s\n", end)
	return func() { _, _ = fmt.Fprintf(a.Out, "\n::%s::\n", end) }
}

// untilIdle is a store that tells when no job is left.
type untilIdle struct {
	*store.Store

	depths func(ctx context.Context) ([]store.Depth, error)
	idle   func()
}

// Done ends a job.
func (u *untilIdle) Done(ctx context.Context, c queue.Claim) error {
	err := u.Store.Done(ctx, c)
	u.look(ctx)
	return err //nolint:wrapcheck // it is the store's own answer
}

// Dead gives a job up.
func (u *untilIdle) Dead(ctx context.Context, c queue.Claim, reason string) error {
	err := u.Store.Dead(ctx, c, reason)
	u.look(ctx)
	return err //nolint:wrapcheck // as above
}

// look tells whether no job is left. What follows from a job is queued before the job ends.
func (u *untilIdle) look(ctx context.Context) {
	depths, err := u.depths(context.WithoutCancel(ctx))
	if err != nil {
		return // it is looked again after the next job
	}
	if !slices.ContainsFunc(depths, func(d store.Depth) bool { return d.Waiting+d.Running > 0 }) {
		u.idle()
	}
}
