package server

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// How long an apply waits for earlier ones of its environment, and how often it looks. A run that waits costs minutes of a machine; the
// concurrency group of the workflow lets nobody come that far as a rule.
const (
	turnLimit = time.Hour
	turnPoll  = 15 * time.Second
	// turnSince is how far back a run can have been made that still goes on.
	// https://docs.github.com/en/actions/reference/limits
	turnSince = 36 * 24 * time.Hour
)

// apply applies a commit of a branch that deploys to an environment.
func (a *alone) apply(ctx context.Context, wish job.Apply) error {
	environment, err := a.environmentFor(ctx, wish)
	if err != nil {
		return err
	}
	by := wish.Actor
	if wish.Comment != 0 {
		if by, err = job.Confirmed(ctx, a.Hub, a.Machine.Repository, a.config, environment.Name, wish); err != nil {
			return &failedError{"Nothing was applied to " + environment.Name + ": " + err.Error() + "."}
		}
	} else if wish.Digest != "" && strings.HasSuffix(by, "[bot]") {
		return &failedError{"Nothing was applied to " + environment.Name + ": only a person can say yes to changes, and " + by + " is none."}
	}
	if err := a.waitForTurn(ctx, environment); err != nil {
		return err
	}
	if err := a.git.Fetch(ctx, a.Machine.Repository); err != nil { // it may have waited for long
		return err //nolint:wrapcheck // says what was fetched
	}
	if err := a.baselines(ctx, environment, &wish); err != nil {
		return err
	}
	pushed := deploy.BranchPushed{
		Repository: a.Machine.Repository, Branch: wish.Branch, Before: wish.Before, Forced: wish.Forced, Actor: by, Commit: wish.Commit,
	}
	if err := a.store.Enqueue(ctx, pushed.Job()); err != nil {
		return fmt.Errorf("queue the apply: %w", err)
	}
	if wish.Digest == "" {
		return a.finish(ctx)
	}
	if err := a.work(ctx); err != nil {
		return err
	}
	if ctx.Err() == nil { // else what asks has the last word
		if err := a.sayYes(context.WithoutCancel(ctx), environment, wish, by); err != nil {
			return err
		}
	}
	return a.finish(ctx)
}

// environmentFor is the environment that a branch deploys to, where this job may apply to it.
func (a *alone) environmentFor(ctx context.Context, wish job.Apply) (repoconfig.Environment, error) {
	environment, mapped := a.config.EnvironmentOf(wish.Branch)
	switch {
	case a.problem != "":
		return environment, &failedError{"Nothing was applied: " + a.problem}
	case a.config.Default:
		return environment, &nothingError{"This repository has no " + repoconfig.Path + " on its default branch, so nothing is applied."}
	case !mapped:
		return environment, &nothingError{fmt.Sprintf("The branch `%s` deploys to no environment.", wish.Branch)}
	}
	if wish.Environment != "" && wish.Environment != environment.Name {
		return environment, &failedError{fmt.Sprintf("Nothing was applied: `%s` deploys to %s, and this run was started for %q. "+
			"Start it on the branch of that environment.", wish.Branch, environment.Name, wish.Environment)}
	}
	if err := a.isForEnvironment(wish.Branch); err != nil {
		return environment, err
	}
	in, known, err := job.EnvironmentOf(ctx, a.Hub, a.Machine)
	if err != nil {
		return environment, err //nolint:wrapcheck // says what was asked
	}
	if known && in != environment.Name {
		return environment, &failedError{fmt.Sprintf("This job works in the GitHub Environment `%s`, and `%s` deploys to `%s`: "+
			"let the job of %s name `environment: %s`.", in, wish.Branch, environment.Name, a.workflow, environment.Name)}
	}
	return environment, nil
}

// waitForTurn waits until no job of another run of this workflow goes on in an environment that began before this one. Of two, the later
// one sees the earlier one, whichever of the runs is older: a job may have waited long for a machine or for a reviewer.
func (a *alone) waitForTurn(ctx context.Context, environment repoconfig.Environment) error {
	until := a.Clock.Now().Add(turnLimit)
	said := ""
	for {
		why, err := a.beforeTurn(ctx, environment)
		if err != nil || why == "" {
			return err
		}
		if a.Clock.Now().After(until) {
			return &failedError{fmt.Sprintf("Nothing was applied to %s, because after an hour %s. When that has ended, run this one again.",
				environment.Name, why)}
		}
		if said != why {
			_, _ = fmt.Fprintf(a.Out, "Waiting, because %s.\n", why)
			said = why
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait because %s: %w", why, ctx.Err())
		case <-a.Clock.After(turnPoll):
		}
	}
}

// beforeTurn says why it is not the turn of this job; empty when it is.
func (a *alone) beforeTurn(ctx context.Context, environment repoconfig.Environment) (string, error) {
	began, known, err := a.beganAt(ctx)
	if err != nil {
		return "", err
	}
	if !known {
		return "GitHub does not tell yet when this job began", nil
	}
	repo := a.Machine.Repository
	runs, err := a.Hub.RunsGoing(ctx, repo, a.workflow, a.Clock.Now().Add(-turnSince))
	if err != nil {
		return "", fmt.Errorf("look for earlier runs: %w", err)
	}
	for _, run := range runs {
		if run.ID == a.Machine.Run || !slices.Contains(applyEvents(), run.Event) || !a.isOn(environment, run.Branch) {
			continue
		}
		jobs, err := a.Hub.WorkflowJobs(ctx, repo, run.ID)
		if err != nil {
			return "", fmt.Errorf("look at another run: %w", err)
		}
		if slices.ContainsFunc(jobs, func(j hub.WorkflowJob) bool {
			// Times are whole seconds. A job does not come as far as here in the second that it began in.
			return j.Status == hub.RunInProgress && (j.Started.Before(began) || j.Started.Equal(began) && run.ID < a.Machine.Run)
		}) {
			return fmt.Sprintf("the run %s began earlier and works on %s", run.URL, environment.Name), nil
		}
	}
	return "", nil
}

// beganAt is when this job began; not known where GitHub does not tell which of the run's jobs it is, as for a moment after another one.
func (a *alone) beganAt(ctx context.Context) (began time.Time, known bool, err error) {
	jobs, err := a.Hub.WorkflowJobs(ctx, a.Machine.Repository, a.Machine.Run)
	if err != nil {
		return began, false, fmt.Errorf("look at this run: %w", err)
	}
	jobs = slices.DeleteFunc(jobs, func(j hub.WorkflowJob) bool { return j.Status != hub.RunInProgress || j.Started.IsZero() })
	if len(jobs) > 1 { // a workflow of one's own
		runner, _ := a.Env("RUNNER_NAME") // https://docs.github.com/en/actions/reference/workflows-and-actions/variables
		jobs = slices.DeleteFunc(jobs, func(j hub.WorkflowJob) bool { return j.Runner != runner })
	}
	if len(jobs) != 1 {
		return began, false, nil
	}
	return jobs[0].Started, true, nil
}

// applyEvents are those whose runs may apply.
func applyEvents() []string { return []string{"push", "workflow_dispatch"} }

// isOn reports whether a branch deploys to an environment.
func (a *alone) isOn(environment repoconfig.Environment, branch string) bool {
	to, mapped := a.config.EnvironmentOf(branch)
	return mapped && to.Name == environment.Name
}

// baselines has what earlier jobs applied count as applied: to the environment, and to those that come before it. A commit that was
// overtaken is not applied.
func (a *alone) baselines(ctx context.Context, environment repoconfig.Environment, wish *job.Apply) error {
	repo := a.Machine.Repository
	tip, there, err := a.git.Branch(ctx, repo, wish.Branch)
	if err != nil {
		return fmt.Errorf("find the branch: %w", err)
	}
	has := false
	if there {
		if has, err = a.git.IsAncestor(ctx, repo, wish.Commit, tip); err != nil {
			return fmt.Errorf("look for commit %s: %w", wish.Commit, err)
		}
	}
	if !has {
		return a.overtaken(ctx, environment, *wish,
			fmt.Sprintf("The branch `%s` does not have the commit %s any more.", wish.Branch, wish.Commit))
	}
	applied, err := a.baseline(ctx, environment.Name)
	if err != nil {
		return err
	}
	if applied != "" && applied != wish.Commit {
		newer, err := a.isLater(ctx, wish.Commit, applied)
		if err != nil {
			return err
		}
		if newer {
			return a.overtaken(ctx, environment, *wish,
				fmt.Sprintf("%s was applied to %s already, and has the commit %s in it.", applied, environment.Name, wish.Commit))
		}
	}
	newer, found, err := a.newer(ctx, environment, *wish)
	if err != nil {
		return err
	}
	if found {
		return a.overtaken(ctx, environment, *wish, fmt.Sprintf("The run %s has worked on %s already, with the commit %s, which has the commit "+
			"%s in it. What that run has not applied, the next apply brings: comment `/apply %s`, or run that run again.",
			newer.URL, environment.Name, newer.SHA, wish.Commit, environment.Name))
	}
	for _, stage := range environment.After {
		if _, err := a.baseline(ctx, stage); err != nil {
			return err
		}
	}
	return nil
}

// newer finds a newer run that has worked on an environment with a later commit, however it ended: what it changed before it failed
// counts as applied nowhere, and to apply an older commit would take it back.
func (a *alone) newer(ctx context.Context, environment repoconfig.Environment, wish job.Apply) (hub.Run, bool, error) {
	repo := a.Machine.Repository
	this, err := a.Hub.Run(ctx, repo, a.Machine.Run)
	if err != nil {
		return hub.Run{}, false, fmt.Errorf("ask which run this is: %w", err)
	}
	looked := map[string]bool{wish.Commit: true}
	for _, event := range applyEvents() {
		runs, err := a.Hub.RunsFor(ctx, repo, a.workflow, event, this.Created)
		if err != nil {
			return hub.Run{}, false, fmt.Errorf("look for newer runs: %w", err)
		}
		for _, run := range runs {
			if run.ID <= this.ID || looked[run.SHA] || !a.isOn(environment, run.Branch) {
				continue
			}
			looked[run.SHA] = true
			later, err := a.isLater(ctx, wish.Commit, run.SHA)
			if err != nil {
				return hub.Run{}, false, err
			}
			if !later {
				continue
			}
			if worked, err := a.worked(ctx, environment.Name, run.SHA); err != nil || worked {
				return run, worked, err
			}
		}
	}
	return hub.Run{}, false, nil
}

// isLater reports whether a commit that was worked with has another one in it. One that GitHub does not have any more is later than none;
// where that cannot be found out, nothing may be applied.
func (a *alone) isLater(ctx context.Context, commit, other string) (bool, error) {
	later, err := a.git.IsAncestor(ctx, a.Machine.Repository, commit, other)
	if unknown := (*git.UnknownError)(nil); errors.As(err, &unknown) && unknown.Object == other {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("compare with the commit %s: %w", other, err)
	}
	return later, nil
}

// worked reports whether a job may have changed something in an environment with a commit, as the check says of it. One that only asked,
// or was overtaken, has not.
func (a *alone) worked(ctx context.Context, environment, commit string) (bool, error) {
	checks, err := a.Hub.ChecksOfJobs(ctx, a.Machine.Repository, commit)
	if gone := (*hub.Gone)(nil); err != nil && !errors.As(err, &gone) {
		return false, err //nolint:wrapcheck // says what was asked
	}
	return slices.ContainsFunc(checks, func(c hub.Shown) bool {
		return c.Name == applyCheck(environment) && c.Conclusion != "neutral" && c.Conclusion != "action_required"
	}), nil
}

// baseline has what was applied to an environment count as applied, and gives it; empty where nothing is known.
func (a *alone) baseline(ctx context.Context, environment string) (string, error) {
	repo := a.Machine.Repository
	applied, err := a.applied(ctx, environment)
	if err != nil {
		return "", err
	}
	if applied == "" {
		_, _ = fmt.Fprintf(a.Out, "No job has applied to %s before: what the branch had before this push counts as applied.\n", environment)
		return "", nil
	}
	_, _ = fmt.Fprintf(a.Out, "%s has %s applied.\n", environment, applied)
	states := make([]store.TargetState, 0, len(a.config.Roots))
	for _, root := range a.config.Roots {
		states = append(states, store.TargetState{
			Repository: repo.ID, Baseline: applied, Target: operation.Target{Root: root.Dir, Environment: environment},
		})
	}
	if err := a.store.SetBaselines(ctx, states); err != nil {
		return "", fmt.Errorf("save what was applied: %w", err)
	}
	return applied, nil
}

// applied is the commit that the newest job of this workflow applied to an environment: GitHub records a deployment of each job that
// ends well. One that had nothing to do because it was overtaken has said so in its check.
func (a *alone) applied(ctx context.Context, environment string) (string, error) {
	repo, applied := a.Machine.Repository, ""
	err := a.Hub.Deployed(ctx, repo, environment, func(d hub.Deployed) (bool, error) {
		run, err := a.Hub.Run(ctx, repo, d.Run)
		if gone := (*hub.Gone)(nil); err != nil && !errors.As(err, &gone) {
			return false, err //nolint:wrapcheck // says what was asked
		}
		if err == nil && !job.IsOf(run.Path, a.workflow) {
			return true, nil
		}
		checks, err := a.Hub.ChecksOfJobs(ctx, repo, d.SHA)
		if gone := (*hub.Gone)(nil); err != nil && !errors.As(err, &gone) {
			return false, err //nolint:wrapcheck // as above
		}
		for _, check := range checks {
			if check.Name == applyCheck(environment) && check.Conclusion != "success" {
				return true, nil
			}
		}
		applied = d.SHA
		return false, nil
	})
	if err != nil {
		return "", fmt.Errorf("ask what was applied to %s before: %w", environment, err)
	}
	return applied, nil
}

func applyCheck(environment string) string { return "switchyard / apply (" + environment + ")" }

// overtaken shows on a commit that it is not applied because something newer is, or will be.
func (a *alone) overtaken(ctx context.Context, environment repoconfig.Environment, wish job.Apply, why string) error {
	now := a.Clock.Now()
	_, err := a.Hub.PutCheck(ctx, a.Machine.Repository, 0, hub.Check{
		Name: applyCheck(environment.Name), HeadSHA: wish.Commit, Status: hub.CheckCompleted, Conclusion: "neutral",
		Title: "Overtaken: not applied to " + environment.Name, Summary: why + "\n\n" + notBinding, Started: now, Completed: now,
	})
	if err != nil {
		return fmt.Errorf("show that %s is not applied: %w", wish.Commit, err)
	}
	return &nothingError{why + " Nothing was applied to " + environment.Name + " by this run."}
}

// sayYes gives a person's yes to what an apply asks about.
func (a *alone) sayYes(ctx context.Context, environment repoconfig.Environment, wish job.Apply, by string) error {
	ops, err := a.store.Operations(ctx, store.Filter{
		Repository: a.Machine.Repository.ID, Environment: environment.Name, Kinds: []operation.Kind{operation.Apply},
		States: []operation.State{operation.Unconfirmed}, Newest: true, Limit: 1,
	})
	if err != nil || len(ops) == 0 {
		return err //nolint:wrapcheck // says what was read
	}
	on, why, err := a.deploy.SayYes(ctx, ops[0], wish.Digest, by, wish.Comment)
	if err != nil {
		return fmt.Errorf("take the yes to %s: %w", ops[0], err)
	}
	if !on {
		defer a.quiet()()
		_, _ = fmt.Fprintln(a.Out, why)
	}
	return nil
}

// instead carries out what a job alone does in its own way: whatever needs an identity has a run of its own.
func (a *alone) instead(ctx context.Context, asked deploy.Asked) (string, bool, error) {
	switch asked.Do {
	case "plan":
		text, err := a.startPlan(ctx, asked)
		return text, true, err
	case "apply":
		text, err := a.startApply(ctx, asked)
		return text, true, err
	case "status":
		for _, environment := range a.config.Environments {
			if _, err := a.baseline(ctx, environment.Name); err != nil {
				return "", false, err
			}
		}
		return "", false, nil
	case "cancel":
		return fmt.Sprintf("Without the App, `/cancel` cannot stop anything. Cancel the run itself, %s/%s/actions/workflows/%s: "+
			"Terraform is asked to stop, and releases its lock.", a.Machine.Web, asked.Repository.FullName(), a.workflow), true, nil
	case "unlock", "approve-replace":
		return fmt.Sprintf("Without the App, there is nobody who would remember `/%s`. Next: see what `/help` offers.", asked.Do), true, nil
	case "break-lease", "confirm":
		return fmt.Sprintf("Without the App, nobody knows whether the holder of a lock still works, so `/%s` does nothing. "+
			"Next: look whether a run goes on at %s/%s/actions, then start the workflow `switchyard-break-lease.yml`, "+
			"which shows the lock and breaks it once the reviewers of the environment agree.",
			asked.Do, a.Machine.Web, asked.Repository.FullName()), true, nil
	default:
		return "", false, nil
	}
}

// onlyWithApp are the commands that a job answers only with words.
func onlyWithApp() []string {
	return []string{"cancel", "unlock", "approve-replace", "break-lease", "confirm"}
}

// startPlan has a pull request planned by a run on its own branch: what runs there can poison no cache that others restore.
func (a *alone) startPlan(ctx context.Context, asked deploy.Asked) (string, error) {
	pull, err := a.Hub.Pull(ctx, asked.Repository, asked.Number)
	if err != nil {
		return "", fmt.Errorf("read the pull request: %w", err)
	}
	environment, mapped := a.config.EnvironmentOf(pull.BaseRef)
	switch {
	case pull.State != "open":
		return "This pull request is " + pull.State + ", and only open ones are planned.", nil
	case pull.Fork:
		return "This pull request comes from a fork. It gets no plan: its code would run with this repository's credentials. " +
			"A maintainer who has read it can push it to a branch of this repository.", nil
	case !mapped:
		return fmt.Sprintf("`%s` deploys to no environment, so there is nothing to plan.", pull.BaseRef), nil
	case asked.Command.Environment != "" && asked.Command.Environment != environment.Name:
		return fmt.Sprintf("This pull request goes to `%s`, which deploys to %s: only that environment is planned.",
			pull.BaseRef, environment.Name), nil
	}
	return a.start(ctx, asked, pull.HeadRef, map[string]string{
		operation.InputCommand: "plan", operation.InputEnvironment: environment.Name, operation.InputSHA: pull.HeadSHA,
		"root": asked.Command.Root,
	})
}

// startApply has the branch of an environment applied by a run on it.
func (a *alone) startApply(ctx context.Context, asked deploy.Asked) (string, error) {
	name := asked.Command.Environment
	if a.config.Default {
		return "This repository has no " + repoconfig.Path + " on its default branch, so nothing is applied.", nil
	}
	branches, err := a.git.Branches(ctx, asked.Repository, func(branch string) bool {
		environment, mapped := a.config.EnvironmentOf(branch)
		return mapped && environment.Name == name
	})
	if err != nil {
		return "", fmt.Errorf("find the branches of %s: %w", name, err)
	}
	branch := asked.Base
	if _, ok := branches[branch]; !ok {
		if len(branches) != 1 {
			return fmt.Sprintf("%d branches deploy to %s. Next: comment on a pull request that went to the one you mean.", len(branches), name), nil
		}
		for only := range branches {
			branch = only
		}
	}
	return a.start(ctx, asked, branch, map[string]string{
		operation.InputCommand: "apply", operation.InputEnvironment: name, operation.InputDigest: asked.Command.Digest,
		job.InputComment: strconv.FormatInt(asked.Comment, 10),
	})
}

// start dispatches this workflow on a branch, and gives the answer to whoever asked for that.
func (a *alone) start(ctx context.Context, asked deploy.Asked, branch string, inputs map[string]string) (string, error) {
	made, err := a.Hub.Dispatch(ctx, asked.Repository, hub.Dispatch{Workflow: a.workflow, Ref: branch, Inputs: inputs})
	refused := (*hub.DispatchRefused)(nil)
	switch {
	case errors.As(err, &refused) && (refused.Problem == hub.NoTrigger || refused.Problem == hub.WrongInputs || refused.Problem == hub.NoRef):
		return fmt.Sprintf("The workflow could not be started on `%s`: its file there, .github/workflows/%s, is missing or another one than "+
			"on the default branch. Next: merge the default branch into `%s`, then comment `/%s` again.",
			branch, a.workflow, branch, asked.Do), nil
	case errors.As(err, &refused):
		return fmt.Sprintf("GitHub refused to start the workflow on `%s`: %s. Its job needs `actions: write`.", branch,
			strings.TrimSuffix(refused.Words, ".")), nil
	case err != nil:
		return "", fmt.Errorf("start the workflow: %w", err)
	}
	where := made.URL
	if where == "" {
		where = fmt.Sprintf("%s/%s/actions/workflows/%s", a.Machine.Web, asked.Repository.FullName(), a.workflow)
	}
	return fmt.Sprintf("Started the %s of %s on `%s`: %s", asked.Do, inputs[operation.InputEnvironment], branch, where), nil
}

// notBinding is said in each check.
const notBinding = "*Without the Switchyard App, what was reviewed is kept in check runs, which any workflow of this repository with " +
	"`checks: write` could forge: differences are shown and asked about, but nothing is bound to the review.*"

// keep hides in a check what the job that applies needs, and says what does not hold.
func (a *alone) keep(c hub.Check, data []byte) (hub.Check, error) {
	if strings.HasPrefix(c.Name, "switchyard / plan (") || strings.HasPrefix(c.Name, "switchyard / apply (") {
		if room := hub.MaxCheckText - len(notBinding) - 2; len(c.Summary) <= room { //nolint:mnd // two line breaks
			c.Summary += "\n\n" + notBinding
		}
	}
	if c.Status != hub.CheckCompleted || !strings.HasPrefix(c.Name, "switchyard / plan (") {
		return c, nil
	}
	text, whole, err := job.Keep(c.Text, data)
	if err != nil {
		return c, fmt.Errorf("keep a plan: %w", err)
	}
	if c.Text = text; !whole {
		c.Summary += "\n\nThis plan is too large to be kept in its check: the apply will ask about all its changes."
	}
	return c, nil
}

// kept finds what jobs kept in the checks of a commit.
func (a *alone) kept(ctx context.Context, repo operation.Repository, head string) (map[string][]byte, error) {
	checks, err := a.Hub.ChecksOfJobs(ctx, repo, head)
	found := map[string][]byte{}
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		return found, nil
	}
	if err != nil {
		return nil, err //nolint:wrapcheck // says what was asked
	}
	for _, check := range checks {
		if !strings.HasPrefix(check.Name, "switchyard / plan (") || check.Conclusion != "success" {
			continue
		}
		data, err := job.Kept(check.Text)
		if err != nil {
			a.Log.Warn().Err(err).Str("check", check.Name).Msg("what a check keeps cannot be read")
			continue
		}
		if data != nil {
			found[check.Name] = data
		}
	}
	return found, nil
}
