package deploy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// The deployment gate: the App's word on jobs that name a GitHub Environment whose protection rules have Switchyard's. GitHub sends
// each request once and waits 30 days, so a sweep looks for runs that wait.
// https://docs.github.com/en/actions/how-tos/deploy/configure-and-manage-deployments/create-custom-protection-rules

const (
	// gateAgain is after how long a job is looked at again for which the hold came free while it was looked at.
	gateAgain = time.Second
	// maxMisses is how often an answer is tried again for which GitHub says that nothing waits: it says so, too, for a moment
	// after the webhook. The queue waits longer each time, about a minute in all.
	maxMisses = 6
	// gateMemory is how long the runs of a repository in which one has waited are looked through; longer than a job waits at most.
	// https://docs.github.com/en/actions/reference/limits
	gateMemory = 31 * 24 * time.Hour
	// answeredFor is for how long a sweep takes an answer for heard: a run may go on waiting for a person.
	answeredFor = time.Hour
)

const (
	keyRun    = "run"
	keyAnswer = "answer"
)

// GateAsked says that a job waits for a word on its GitHub Environment.
type GateAsked struct {
	Repository  operation.Repository `json:"repository"`
	Run         int64                `json:"run"`
	Environment string               `json:"environment"`
	API         string               `json:"api,omitempty"` // of GitHub, by the webhook's word; "" where no webhook said it
}

// Job makes the queue's job of what was seen.
func (g GateAsked) Job() queue.Job {
	return job(queue.Quick, KindGate, g.Repository.ID, fmt.Sprintf("%d gate %d %s", g.Repository.ID, g.Run, strings.ToLower(g.Environment)), g)
}

// gatesJob makes the job that looks through the runs of a repository for those that wait.
func gatesJob(repo operation.Repository) queue.Job {
	j := job(queue.Quick, KindGates, repo.ID, fmt.Sprintf("%d gates", repo.ID), RepositorySeen{Repository: repo})
	j.Once = true
	return j
}

// lookAgain says that what a job waits for may be over already.
type lookAgain struct{}

func (lookAgain) Error() string { return "what a job waits for may be over" }

// RetryAt is when it is looked at again.
func (lookAgain) RetryAt(now time.Time) time.Time { return now.Add(gateAgain) }

// gateAsked answers a job that waits. What the webhook said beside the run and the environment is not taken from it.
func (d *Deploy) gateAsked(ctx context.Context, seen GateAsked) error {
	if seen.API != "" && !d.Hub.IsAPI(seen.API) {
		zerolog.Ctx(ctx).Warn().Str("api", seen.API).Msg("a request to deploy names another GitHub, and is not answered")
		return nil
	}
	run, err := d.Hub.Run(ctx, seen.Repository, seen.Run)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) || err == nil && (run.ID != seen.Run || run.Status == hub.RunCompleted) {
		return d.Store.EndGates(ctx, seen.Repository.ID, seen.Run) //nolint:wrapcheck // says what was to be kept
	}
	if err != nil {
		return fmt.Errorf("look at the run that waits: %w", err)
	}
	said, err := d.Store.Gate(ctx, seen.Repository.ID, run.ID, run.Attempt, seen.Environment)
	if err != nil {
		return err //nolint:wrapcheck // says what was read
	}
	facts, line, err := d.gateFacts(ctx, seen, run)
	if err != nil {
		return err
	}
	decision := gitflow.DecideGate(facts)
	if decision.Verdict == gitflow.GateWaits {
		return d.reportGate(ctx, seen, said, decision, facts.Environment)
	}
	return d.answerGate(ctx, seen, said, decision, line)
}

// answerGate gives an answer, and keeps that it did.
func (d *Deploy) answerGate(ctx context.Context, seen GateAsked, said store.Gate, decision gitflow.GateDecision, line store.Audit) error {
	state := hub.GateRejected
	if decision.Verdict == gitflow.GateApproved {
		state = hub.GateApproved
	}
	before := said.Answer
	if state == hub.GateRejected { // the run may have ended, and be told about, before this call has returned
		said.Answer, said.Said = state, decision.Text(gitflow.MaxGateComment)
		if err := d.Store.SaveGate(ctx, said); err != nil {
			return err //nolint:wrapcheck // says what was kept
		}
	}
	err := d.Hub.AnswerGate(ctx, seen.Repository, seen.Run, seen.Environment, state, decision.Comment())
	gone, person := (*hub.Gone)(nil), (*hub.NeedsPerson)(nil)
	switch {
	case errors.Is(err, hub.ErrNothingWaits):
		said.Answer = before
		said.Misses++
		if saveErr := d.Store.SaveGate(ctx, said); saveErr != nil {
			return saveErr //nolint:wrapcheck // says what was kept
		}
		if said.Misses >= maxMisses { // the sweep looks at it again, should it wait all the same
			zerolog.Ctx(ctx).Info().Int64(keyRun, seen.Run).Str(keyAnswer, said.Answer).Msg("nothing waits for an answer")
			return nil
		}
		return fmt.Errorf("answer run %d: %w", seen.Run, err)
	case errors.As(err, &gone):
		return nil
	case errors.As(err, &person):
		zerolog.Ctx(ctx).Error().Err(err).Int64(keyRun, seen.Run).Msg("GitHub takes no answer to a job that waits; the next sweep tries again")
		said.Answer = before
		return wrap("keep that there is no answer", d.Store.SaveGate(ctx, said))
	case err != nil:
		return fmt.Errorf("answer run %d: %w", seen.Run, err)
	}
	known := before == state
	said.Answer, said.Misses = state, 0
	if err := d.Store.SaveGate(ctx, said); err != nil || known {
		return wrap("keep the answer", err)
	}
	zerolog.Ctx(ctx).Info().Int64(keyRun, seen.Run).Str(keyAnswer, state).Msg("a job that waited has its answer")
	line.Repository, line.Who, line.What = seen.Repository.ID, "switchyard", "gate "+state
	line.Why = fmt.Sprintf("run %d, %s: %s", seen.Run, seen.Environment, decision.Whys())
	return wrap("record the answer", d.Store.Append(ctx, line))
}

// reportGate tells why a job goes on waiting, where that is news, as often as GitHub takes it. It is looked at again when the hold
// comes free, and with each sweep.
func (d *Deploy) reportGate(
	ctx context.Context, seen GateAsked, said store.Gate, decision gitflow.GateDecision, environment string,
) error {
	comment := decision.Comment()
	if said.Said == comment || said.Reports >= gitflow.MaxGateReports {
		return nil
	}
	err := d.Hub.AnswerGate(ctx, seen.Repository, seen.Run, seen.Environment, "", comment)
	switch {
	case errors.Is(err, hub.ErrReportsUsedUp):
		said.Reports = gitflow.MaxGateReports
	case err == nil:
		said.Said = comment
		said.Reports++
	case errors.Is(err, hub.ErrNothingWaits):
		said.Misses++
		if err := d.Store.SaveGate(ctx, said); err != nil || said.Misses >= maxMisses {
			return wrap("keep that nothing waits", err)
		}
		return fmt.Errorf("report about run %d: %w", seen.Run, err)
	default:
		return fmt.Errorf("report about run %d: %w", seen.Run, err)
	}
	if err := d.Store.SaveGate(ctx, said); err != nil {
		return fmt.Errorf("keep what was reported: %w", err)
	}
	_, held, err := d.Store.Holder(ctx, seen.Repository.ID, environment)
	if err == nil && !held { // whoever gave it back may not have seen that this job waits
		return lookAgain{}
	}
	return wrap("find who has the hold", err)
}

// wakeGates has the jobs looked at that wait for a hold of a repository, when one came free.
func (d *Deploy) wakeGates(ctx context.Context, repo operation.Repository) error {
	waiting, err := d.Store.WaitingGates(ctx, repo.ID, d.Clock.Now().Add(-gateMemory))
	if err != nil {
		return err //nolint:wrapcheck // says what was looked for
	}
	for _, gate := range waiting {
		if err := d.enqueue(ctx, GateAsked{Repository: repo, Run: gate.Run, Environment: gate.Environment}.Job()); err != nil {
			return fmt.Errorf("queue a look at a job that waits: %w", err)
		}
	}
	return nil
}

// gateFacts finds out what there is to know about a job that waits, and for the audit which operation it is of.
func (d *Deploy) gateFacts(ctx context.Context, seen GateAsked, run hub.Run) (gitflow.Gate, store.Audit, error) {
	facts := gitflow.Gate{Asked: seen.Environment, Run: gitflow.GateRun{
		Event: run.Event, Path: run.Path, Branch: run.Branch, SHA: run.SHA, Attempt: run.Attempt,
		Actor: run.Actor.Login, Triggering: run.Triggering.Login,
	}}
	var err error
	if facts.Bot, err = d.Hub.BotLogin(ctx); err != nil {
		return facts, store.Audit{}, fmt.Errorf("ask for the App's name: %w", err)
	}
	row, known, err := d.runFor(ctx, seen.Repository, run)
	if err != nil {
		return facts, store.Audit{}, err
	}
	if known {
		op, err := d.Store.Operation(ctx, row.Task.Operation)
		if err != nil {
			return facts, store.Audit{}, fmt.Errorf("read operation: %w", err)
		}
		facts.Operation, err = d.gateOperation(ctx, op, row)
		return facts, store.Audit{Environment: op.Environment, Operation: op.ID}, err
	}
	err = d.gateForeign(ctx, seen, run, &facts)
	return facts, store.Audit{Environment: facts.Environment}, err
}

// runFor finds what a run was dispatched for: by its id, or, while that is not known, by its name. Anybody can give a run that
// name, so what else is known of the run has to fit, too.
func (d *Deploy) runFor(ctx context.Context, repo operation.Repository, run hub.Run) (operation.WorkflowRun, bool, error) {
	row, known, err := d.Store.RunNumbered(ctx, repo.ID, run.ID)
	if err != nil || known {
		return row, known, err //nolint:wrapcheck // says what was looked for
	}
	name, ours := operation.ParseRunName(run.Name)
	if !ours {
		return row, false, nil
	}
	rows, err := d.Store.RunsOf(ctx, repo.ID, name.Operation, name.Attempt)
	if err != nil {
		return row, false, err //nolint:wrapcheck // says what was looked for
	}
	bot, err := d.Hub.BotLogin(ctx)
	if err != nil {
		return row, false, fmt.Errorf("ask for the App's name: %w", err)
	}
	row, known = rowOf(rows, run, bot)
	return row, known, nil
}

// rowOf finds the run among those of an attempt: the one whose id has come to be known since it was looked for by that, or the one that
// the App has started whose id is not known yet.
func rowOf(rows []operation.WorkflowRun, run hub.Run, bot string) (operation.WorkflowRun, bool) {
	for _, row := range rows {
		if row.Run == run.ID {
			return row, true
		}
		if row.Run == 0 && operation.RunName(row.Task) == run.Name && strings.EqualFold(run.Actor.Login, bot) {
			row.Run = run.ID
			return row, true
		}
	}
	return operation.WorkflowRun{}, false
}

// gateOperation is what the gate has to know about the operation that a run was dispatched for.
func (d *Deploy) gateOperation(ctx context.Context, op operation.Operation, row operation.WorkflowRun) (*gitflow.GateOperation, error) {
	task := row.Task
	found := &gitflow.GateOperation{
		ID: op.ID, Kind: op.Kind, For: op.Environment, State: op.State, Workflow: task.Job.Workflow, Ref: task.Job.Ref, Commit: task.Commit,
		Pull: op.Pull, Actor: op.Actor, Current: op.Attempt == task.Attempt && op.Launch == task.Launch,
	}
	if !op.Kind.Exclusive() || op.State != operation.Running {
		return found, nil
	}
	holder, held, err := d.Store.Holder(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return nil, fmt.Errorf("find who has the hold: %w", err)
	}
	found.Hold = held && holder.ID == op.ID
	if op.Kind != operation.Apply { // it brings nothing that could be approved
		return found, nil
	}
	found.Missing, err = d.missingApprovals(ctx, op)
	return found, err
}

// missingApprovals says which approvals an apply lacks that its environment asks for. A yes to the apply stands in for none of them: it is
// to what its plan shows beside what was approved. What came without a pull request can have none: the job asks about all of it.
func (d *Deploy) missingApprovals(ctx context.Context, op operation.Operation) ([]string, error) {
	config, err := d.known(ctx, op.Repository)
	if err != nil {
		return nil, err
	}
	environment, known := config.Environment(op.Environment)
	if !known || environment.Approvals == 0 {
		return nil, nil
	}
	evidence, err := d.Store.Evidence(ctx, op.ID, op.Attempt)
	if err != nil {
		return nil, fmt.Errorf("read what was reviewed: %w", err)
	}
	var missing []string
	for _, review := range evidence.Reviews {
		if review.Plan != 0 && review.Missing != "" { // without a plan, nobody can have approved one: the job asks about all of it
			missing = append(missing, review.Missing)
		}
	}
	return missing, nil
}

// gateForeign is what the gate has to know about a run that was not dispatched for an operation.
func (d *Deploy) gateForeign(ctx context.Context, seen GateAsked, run hub.Run, facts *gitflow.Gate) error {
	repo := seen.Repository
	config, err := d.fetched(ctx, repo)
	if err != nil {
		return err
	}
	facts.Problem, facts.Environments = config.Problem, config.EnvironmentNames()
	if config.Default {
		facts.Problem = "there is no such file" // then nothing is applied
	}
	for _, environment := range config.Environments {
		plans := strings.EqualFold(seen.Environment, environment.Name+operation.PlanEnvironment)
		if !plans && !strings.EqualFold(seen.Environment, environment.Name) {
			continue
		}
		if facts.Environment != "" && plans {
			continue // an environment of that very name goes before the plans of a shorter one
		}
		facts.Environment, facts.Plans, facts.Branches, facts.Takes = environment.Name, plans, environment.Branches, environment.Takes(run.Branch)
	}
	if path, _, _ := strings.Cut(run.Path, "@"); facts.Environment == "" || path != gitflow.AloneWorkflow {
		return nil
	}
	if facts.Alone, err = d.gateAlone(ctx, repo, config.Commit, run); err != nil {
		return err
	}
	holder, held, err := d.Store.Holder(ctx, repo.ID, facts.Environment)
	if err != nil || !held {
		return wrap("find who has the hold", err)
	}
	facts.Holder = fmt.Sprintf("%s %d", holder.Kind, holder.ID)
	if holder.Pull != 0 {
		facts.Holder += fmt.Sprintf(" (#%d)", holder.Pull)
	}
	return nil
}

// gateAlone compares a run of the action without the server with the repository. standard is the default branch's commit.
func (d *Deploy) gateAlone(ctx context.Context, repo operation.Repository, standard string, run hub.Run) (*gitflow.GateAlone, error) {
	alone := &gitflow.GateAlone{Fork: run.Head.ID != 0 && run.Head.ID != repo.ID}
	if alone.Fork || standard == "" {
		return alone, nil
	}
	if there, err := d.Git.Has(ctx, repo, run.SHA); err != nil || !there {
		return alone, wrap("look for the run's commit", err)
	}
	ours, known, err := d.Git.ReadFile(ctx, repo, standard, gitflow.AloneWorkflow)
	if err != nil {
		return nil, fmt.Errorf("read the workflow of the default branch: %w", err)
	}
	its, there, err := d.Git.ReadFile(ctx, repo, run.SHA, gitflow.AloneWorkflow)
	if err != nil {
		return nil, fmt.Errorf("read the workflow of the run: %w", err)
	}
	alone.Same = known && there && bytes.Equal(ours, its)
	tip, there, err := d.Git.Branch(ctx, repo, run.Branch)
	if err != nil || !there {
		return alone, wrap("find the run's branch", err)
	}
	alone.On, err = d.Git.IsAncestor(ctx, repo, run.SHA, tip)
	return alone, wrap("look for the run's commit on its branch", err)
}

// sweepGates has the repositories looked through in which runs may wait.
func (d *Deploy) sweepGates(ctx context.Context) error {
	repos, err := d.Store.Gated(ctx, d.Clock.Now().Add(-gateMemory))
	if err != nil {
		return err //nolint:wrapcheck // says what was looked for
	}
	for _, repo := range repos {
		if err := d.enqueue(ctx, gatesJob(repo)); err != nil {
			return fmt.Errorf("queue a look at waiting runs: %w", err)
		}
	}
	return nil
}

// missedGates has the waiting runs of a repository looked through whose workflows Switchyard's action runs in.
func (d *Deploy) missedGates(ctx context.Context, repo operation.Repository, config configured) error {
	if name, err := d.chosen(config.Config); err != nil || name != repoconfig.ExecutorActions {
		if config.Commit == "" {
			return nil
		}
		if _, alone, err := d.Git.ReadFile(ctx, repo, config.Commit, gitflow.AloneWorkflow); err != nil || !alone {
			return wrap("look for the workflow without the server", err)
		}
	}
	return wrap("queue a look at waiting runs", d.enqueue(ctx, gatesJob(repo)))
}

// lookForGates finds the jobs of a repository that wait for an answer which GitHub's webhook did not ask for, or whose answer was lost.
func (d *Deploy) lookForGates(ctx context.Context, seen RepositorySeen) error {
	ctx = hub.Deferrable(ctx) // people's calls go first
	repo := seen.Repository
	runs, err := d.Hub.WaitingRuns(ctx, repo)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("list waiting runs: %w", err)
	}
	for _, run := range runs {
		names, err := d.Hub.PendingEnvironments(ctx, repo, run.ID)
		if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
			continue
		}
		if err != nil {
			return fmt.Errorf("list what a run waits for: %w", err)
		}
		for _, name := range names {
			said, err := d.Store.Gate(ctx, repo.ID, run.ID, run.Attempt, name)
			if err != nil {
				return err //nolint:wrapcheck // says what was read
			}
			if (said.Answer != "" || said.Misses >= maxMisses) && d.Clock.Since(said.At) < answeredFor {
				continue
			}
			if err := d.enqueue(ctx, GateAsked{Repository: repo, Run: run.ID, Environment: name}.Job()); err != nil {
				return fmt.Errorf("queue an answer: %w", err)
			}
		}
	}
	return nil
}

// gateStatus is what GitHub says about the gate of an environment whose applies run in workflows.
func (d *Deploy) gateStatus(
	ctx context.Context, repo operation.Repository, config repoconfig.Config, environment string,
) render.GateStatus {
	if name, err := d.chosen(config); err != nil || name != repoconfig.ExecutorActions {
		return ""
	}
	gone := (*hub.Gone)(nil)
	on, err := d.Hub.Gated(ctx, repo, environment)
	switch {
	case errors.As(err, &gone):
		return render.GateNoEnvironment
	case err != nil:
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not ask whether the deployment gate is on")
		return render.GateNotKnown
	case on:
		return render.GateOn
	default:
		return render.GateOff
	}
}

// sayGate tells with the end of an operation that the gate did not let its job run, and why.
func (d *Deploy) sayGate(ctx context.Context, end store.Finish) store.Finish {
	if end.State != operation.Failed {
		return end
	}
	op, err := d.Store.Operation(ctx, end.Operation)
	if err != nil || op.Host != operation.HostActions || op.Attempt != end.Attempt || end.Result != nil {
		return end
	}
	run, err := d.Store.Run(ctx, op.ID, op.Attempt, op.Launch)
	if err != nil || run.Run == 0 {
		return end
	}
	const first = 1 // attempt of a run: an operation has no other
	gate, err := d.Store.Gate(ctx, op.Repository.ID, run.Run, first, run.Task.Job.Environment)
	if err == nil && gate.Answer == hub.GateRejected && gate.Said != "" {
		end.Message = strings.TrimSpace(end.Message + " The deployment gate did not let it deploy. " + gate.Said)
	}
	return end
}
