package deploy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// How long an update that nobody waits for may wait for the next one, so that both are one call.
const (
	soon      = 1500 * time.Millisecond // an apply that may be done in a moment, or a place in the line that may change
	muchLater = time.Minute             // that a plan goes on, where its check says so already
	later     = 10 * time.Second        // a comment that only says "planning", or what is queued with nothing before it
)

// show brings everything up to date that shows an operation, as it is by now: what the caller knows of
// it may be old.
func (d *Deploy) show(ctx context.Context, op operation.Operation) error {
	switch op.Kind {
	case operation.ExplainLock:
		return d.keepShown(ctx, &op, func(ctx context.Context) error { return d.showLocks(ctx, op) })
	case operation.BreakLease:
		return d.keepShown(ctx, &op, func(ctx context.Context) error { return d.showBroken(ctx, op) })
	case operation.Plan:
		return d.showPlan(ctx, op)
	case operation.Apply:
	}
	if err := d.keepShown(ctx, &op, func(ctx context.Context) error { return d.showApply(ctx, op) }); err != nil || !mayOutdate(op) {
		return err
	}
	return wrap("queue a look at plans", d.enqueue(ctx, lookForOutdatedJob(op.Repository, op.Environment)))
}

// keepShown shows an operation until it is shown as it is by now, which it is then too.
func (d *Deploy) keepShown(ctx context.Context, op *operation.Operation, show func(context.Context) error) error {
	return steady(func() (store.Seen, error) {
		seen, err := d.Store.See(ctx, store.Filter{ID: op.ID})
		if err != nil {
			return seen, fmt.Errorf("look at %s: %w", op, err)
		}
		current, err := d.Store.Operation(ctx, op.ID)
		if err == nil && !sameStep(current, *op) {
			*op = current
		}
		return seen, wrap("read "+op.String(), err)
	}, store.Seen.Same, func(seen store.Seen) error { return show(madeFrom(ctx, &seen)) })
}

// sameStep reports whether nothing happened to an operation between two looks at it.
func sameStep(a, b operation.Operation) bool { return a.State == b.State && a.Attempt == b.Attempt }

// showPull wants the comment and the checks of a pull request as the rows are now.
func (d *Deploy) showPull(ctx context.Context, repo operation.Repository, number int) error {
	return steady(func() (store.Seen, error) {
		seen, err := d.Store.See(ctx, store.Filter{Repository: repo.ID, Pull: number})
		return seen, wrap("see how far it is", err)
	}, store.Seen.Same, func(seen store.Seen) error { return d.showPullOnce(madeFrom(ctx, &seen), repo, number) })
}

func (d *Deploy) showPullOnce(ctx context.Context, repo operation.Repository, number int) error {
	facts, ok, err := d.pullFacts(ctx, repo, number)
	if err != nil || !ok || facts.Silent {
		return err
	}
	view, err := d.pullView(ctx, repo, facts)
	if err != nil {
		return err
	}
	// Whoever merged it waits for what becomes of it.
	ctx = forWhom(ctx, facts.onlyForBots() && len(view.Applies) == 0)
	if facts.State == "open" {
		if err := d.wantPullChecks(ctx, repo, facts, view); err != nil {
			return err
		}
	}
	key := commentKey(number)
	if !worthComment(facts, view) {
		// One that is there shows a plan of an earlier head, of which nothing is left.
		if _, commented, err := d.Store.Surface(ctx, repo.ID, key); err != nil || !commented || len(facts.Roots) > 0 {
			return wrap("find the comment", err)
		}
	}
	notBefore := time.Time{}
	switch {
	case facts.State != "open" && len(view.Applies) == 0, planning(view) && len(view.Applies) == 0:
		// The check shows it already, or nobody waits for it. A comment that is there is edited; none is posted for it.
		if _, commented, err := d.Store.Surface(ctx, repo.ID, key); err != nil || !commented {
			return wrap("find the comment", err)
		}
		notBefore = d.Clock.Now().Add(later)
	case slices.ContainsFunc(view.Applies, startsNow):
		notBefore = d.Clock.Now().Add(later)
	case slices.ContainsFunc(view.Applies, running):
		notBefore = d.Clock.Now().Add(soon)
	}
	if err := d.want(ctx, repo, surfaceComment, key, hub.Comment{
		Number: number, Body: render.PullComment(view), Marker: render.Marker(number), Search: facts.Comments > 0,
	}, notBefore); err != nil {
		return err
	}
	return d.wantPages(ctx, repo, facts, view)
}

// worthComment reports whether there is anything to tell on a pull request beyond its checks.
func worthComment(facts pullFacts, view render.PullView) bool {
	return view.Plan != nil || len(view.Applies) > 0 || facts.Problem != "" || facts.Merge != "" ||
		facts.Decision.Verdict == gitflow.Refused
}

func planning(view render.PullView) bool { return view.Plan != nil && !view.Plan.State.Ended() }

// startsNow reports whether an apply is queued with nothing before it.
func startsNow(view render.ApplyView) bool {
	return view.Operation.State == operation.Queued && view.Position <= 1 && view.Ahead == nil
}

func running(view render.ApplyView) bool { return view.Operation.State == operation.Running }

// pullView gathers what the comment of a pull request shows.
func (d *Deploy) pullView(ctx context.Context, repo operation.Repository, facts pullFacts) (render.PullView, error) {
	view := render.PullView{
		Repository: repo, WebURL: d.WebURL, Pull: facts.Number, Gitflow: facts.Decision, Merge: facts.Merge, Roots: facts.Roots,
		ConfigProblem: facts.Problem, Now: d.Clock.Now(),
		ResultURL: fmt.Sprintf("%s/%s/pull/%d/checks", d.WebURL, repo.FullName(), facts.Number),
	}
	config, err := d.present(ctx, repo)
	if err != nil {
		return view, err
	}
	environment, _ := config.Environment(facts.Decision.Environment)
	view.Mask, view.Regions, view.Approval = config.Mask, environment.Regions, facts.Approval
	if newest, ok, err := d.newestPlan(ctx, repo.ID, facts.Number); err != nil {
		return view, err
	} else if ok && (newest.Head == facts.Head || facts.State != "open") && len(facts.Roots) > 0 {
		view.Plan = &newest
		if view.Run, err = d.runView(ctx, newest); err != nil {
			return view, err
		}
		if stale := facts.Outdated; stale != nil && stale.Plan == newest.ID && facts.State == "open" {
			view.Outdated = &stale.Outdated
		}
	}
	applies, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo.ID, Pull: facts.Number, Kinds: []operation.Kind{operation.Apply},
	})
	if err != nil {
		return view, fmt.Errorf("find the applies of #%d: %w", facts.Number, err)
	}
	for _, op := range applies {
		apply, err := d.applyView(ctx, op, facts.Number)
		if err != nil {
			return view, err
		}
		view.Applies = append(view.Applies, apply)
	}
	err = d.addPages(ctx, repo, facts, &view)
	return view, err
}

// withoutErrors is what an earlier attempt planned: why that one ended is no word about the one after it, which left none.
func withoutErrors(result operation.Result) *operation.Result {
	result.Error, result.Targets = "", slices.Clone(result.Targets)
	for i := range result.Targets {
		result.Targets[i].Error = ""
	}
	return &result
}

// applyView gathers what surrounds an apply; pull is the pull request that it is shown on.
func (d *Deploy) applyView(ctx context.Context, op operation.Operation, pull int) (render.ApplyView, error) {
	if op.State == operation.Interrupted && op.Result != nil && op.Result.Attempt != op.Attempt {
		op.Result = withoutErrors(*op.Result)
	}
	view := render.ApplyView{
		Operation: op, Commit: op.Head, Repository: op.Repository, WebURL: d.WebURL, Now: d.Clock.Now(),
		With:      slices.DeleteFunc(slices.Clone(op.Pulls), func(number int) bool { return number == pull }),
		ResultURL: fmt.Sprintf("%s/%s/commit/%s/checks", d.WebURL, op.Repository.FullName(), op.Head),
	}
	config, err := d.present(ctx, op.Repository)
	if err != nil {
		return view, err
	}
	environment, _ := config.Environment(op.Environment)
	view.Mask, view.Regions = config.Mask, environment.Regions
	if view.Run, err = d.runView(ctx, op); err != nil {
		return view, err
	}
	if op.Attempt > 0 {
		evidence, err := d.Store.Evidence(ctx, op.ID, op.Attempt)
		if err != nil {
			return view, fmt.Errorf("read what was known before %s: %w", op, err)
		}
		for _, review := range evidence.Reviews {
			if review.Missing != "" {
				view.Missing = append(view.Missing, review.Missing)
			}
		}
		if view.Promotion, err = d.promotionViews(ctx, op, evidence); err != nil {
			return view, err
		}
	}
	if op.State.Ended() || op.State == operation.Unconfirmed {
		return view, nil
	}
	usually, ok, err := d.Store.UsualDuration(ctx, op.Repository.ID, op.Environment, op.Kind)
	if err != nil {
		return view, fmt.Errorf("find the usual duration: %w", err)
	}
	if ok {
		view.Usually = usually
	}
	if op.State != operation.Queued {
		return view, nil
	}
	holder, held, err := d.Store.Holder(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return view, fmt.Errorf("find who has the hold: %w", err)
	}
	line, err := d.waiting(ctx, op.Repository.ID, op.Environment)
	if err != nil {
		return view, err
	}
	view.Position = 1 + slices.IndexFunc(line, func(other operation.Operation) bool { return other.ID == op.ID })
	if held {
		view.Ahead = &holder
		view.Position++ // the one that runs is first in the line that people see
	}
	return view, nil
}

// waiting lists what is queued for the hold of an environment, in the order in which it will run.
func (d *Deploy) waiting(ctx context.Context, repo int64, environment string) ([]operation.Operation, error) {
	line, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Environment: environment, Kinds: []operation.Kind{operation.Apply, operation.BreakLease},
		States: []operation.State{operation.Queued},
	})
	if err != nil {
		return nil, fmt.Errorf("list what waits for %s: %w", environment, err)
	}
	slices.SortStableFunc(line, func(a, b operation.Operation) int {
		if a.Priority != b.Priority {
			return a.Priority - b.Priority
		}
		if order := a.Arrived.Compare(b.Arrived); order != 0 {
			return order
		}
		return int(a.ID - b.ID)
	})
	return line, nil
}

// showWaiting shows the new positions of the applies that wait for an environment.
func (d *Deploy) showWaiting(ctx context.Context, repo operation.Repository, environment string) error {
	line, err := d.waiting(ctx, repo.ID, environment)
	if err != nil {
		return err
	}
	for _, op := range line {
		if op.Kind != operation.Apply {
			continue // a lock is broken next, whoever waits besides
		}
		if err := d.keepShown(ctx, &op, func(ctx context.Context) error { return d.showApply(ctx, op) }); err != nil {
			return err
		}
	}
	return nil
}

// wantPullChecks wants the two checks on a pull request's head.
func (d *Deploy) wantPullChecks(ctx context.Context, repo operation.Repository, facts pullFacts, view render.PullView) error {
	if err := d.wantFlowCheck(ctx, repo, facts.Head); err != nil {
		return err
	}
	if facts.Decision.Environment == "" || facts.Problem != "" {
		return nil
	}
	return d.wantPlanCheck(ctx, repo, facts, view)
}

func planCheckName(environment string) string  { return "switchyard / plan (" + environment + ")" }
func applyCheckName(environment string) string { return "switchyard / apply (" + environment + ")" }

// checkState is the status and the conclusion of the check that shows an operation.
func checkState(op operation.Operation) (status, conclusion string) {
	switch op.State {
	case operation.Queued:
		return "queued", ""
	case operation.Running:
		return "in_progress", ""
	case operation.Succeeded:
		return "completed", "success"
	case operation.Unconfirmed:
		return "completed", "action_required"
	case operation.Cancelled:
		return "completed", "cancelled"
	case operation.Gathered, operation.Superseded:
		return "completed", "neutral"
	case operation.Failed, operation.Interrupted:
		return "completed", "failure"
	}
	return "completed", "neutral"
}

func check(name, sha string, text render.Check) hub.Check {
	return hub.Check{Name: name, HeadSHA: sha, Title: text.Title, Summary: text.Summary, Text: text.Text}
}

// showApply wants the check and the deployment of an apply, the comments of the pull requests that
// it carries, and a notice where a person is needed.
func (d *Deploy) showApply(ctx context.Context, op operation.Operation) error {
	view, err := d.applyView(ctx, op, op.Pull)
	if err != nil {
		return err
	}
	notBefore := time.Time{}
	switch {
	case startsNow(view):
		notBefore = d.Clock.Now().Add(later)
	case op.State == operation.Queued:
		notBefore = d.Clock.Now().Add(soon)
	}
	applyCheck := check(applyCheckName(op.Environment), op.Head, render.ApplyCheck(view))
	applyCheck.Status, applyCheck.Conclusion = checkState(op)
	applyCheck.ExternalID, applyCheck.Started, applyCheck.Completed = strconv.FormatInt(op.ID, 10), op.Started, op.Ended
	if err := d.wantCheck(ctx, op.Repository, applyCheck, notBefore); err != nil {
		return err
	}
	if err := d.wantDeployment(ctx, op); err != nil {
		return err
	}
	if err := d.wantNotice(ctx, op, view); err != nil {
		return err
	}
	for _, number := range op.Pulls {
		if err := d.showPull(ctx, op.Repository, number); err != nil {
			return err
		}
	}
	return nil
}

// wantDeployment wants GitHub's deployment of an apply, from its first start on.
func (d *Deploy) wantDeployment(ctx context.Context, op operation.Operation) error {
	if op.Attempt == 0 || d.Alone != nil {
		return nil
	}
	if own, err := d.inWorkflow(ctx, op); err != nil || own { // the job of a workflow makes its own
		return err
	}
	states := map[operation.State]string{
		operation.Queued: "queued", operation.Running: "in_progress", operation.Unconfirmed: "pending",
		operation.Succeeded: "success", operation.Failed: "failure", operation.Interrupted: "error",
		operation.Cancelled: "inactive", operation.Gathered: "inactive", operation.Superseded: "inactive",
	}
	return d.want(ctx, op.Repository, surfaceDeployment, fmt.Sprintf("deployment/%d", op.ID), hub.Deployment{
		Ref: op.Head, Environment: op.Environment, Description: render.DeploymentDescription(op),
		Payload: map[string]any{"switchyard_operation": op.ID}, // tells it from another of the same commit
		State:   states[op.State], StatusDescription: render.DeploymentDescription(op),
		LogURL: fmt.Sprintf("%s/%s/commit/%s/checks", d.WebURL, op.Repository.FullName(), op.Head),
	}, time.Time{})
}

// inWorkflow reports whether an apply runs in a workflow, or would, before its runner is started.
func (d *Deploy) inWorkflow(ctx context.Context, op operation.Operation) (bool, error) {
	if op.Host != "" || d.Actions == nil {
		return op.Host == operation.HostActions, nil
	}
	config, err := d.known(ctx, op.Repository)
	if err != nil {
		return false, err
	}
	name, err := d.chosen(config.Config)
	return err == nil && name == repoconfig.ExecutorActions, nil
}

// notice is the wanted state of a comment that calls a person.
type notice struct {
	Comment   hub.Comment `json:"comment"`
	Minimized bool        `json:"minimized"` // it has been answered or overtaken
}

// wantNotice posts a new comment where a person is needed, because an edit notifies nobody, and
// minimises the one before.
func (d *Deploy) wantNotice(ctx context.Context, op operation.Operation, view render.ApplyView) error {
	if op.Pull == 0 {
		return nil
	}
	key := fmt.Sprintf("notice/%s/%d", op.Environment, op.ID)
	if err := d.wantAwayNotice(ctx, op, view, fmt.Sprintf("%s/%d/away", key, op.Attempt)); err != nil {
		return err
	}
	asks := op.State == operation.Unconfirmed || op.State == operation.Failed || op.State == operation.Interrupted
	if asks {
		return d.want(ctx, op.Repository, surfaceNotice, fmt.Sprintf("%s/%d", key, op.Attempt),
			notice{Comment: marked(op.Pull, render.Notice(view), fmt.Sprintf("%s/%d", key, op.Attempt))}, time.Time{})
	}
	if op.Attempt > 0 && op.State != operation.Cancelled {
		if err := d.minimizeNotice(ctx, op.Repository, fmt.Sprintf("%s/%d", key, op.Attempt-1)); err != nil {
			return err
		}
		if err := d.minimizeNotice(ctx, op.Repository, fmt.Sprintf("%s/%d", key, op.Attempt)); err != nil {
			return err
		}
	}
	return nil
}

// marked is a comment with a hidden mark, by which it is found again when the answer to its POST was lost.
func marked(number int, body, key string) hub.Comment {
	marker := "<!-- switchyard:" + key + " -->"
	return hub.Comment{Number: number, Body: body + "\n" + marker, Marker: marker}
}

func (d *Deploy) wantCheck(ctx context.Context, repo operation.Repository, c hub.Check, notBefore time.Time) error {
	return d.want(ctx, repo, surfaceCheck, checkKey(c.HeadSHA, c.Name), c, notBefore)
}

func checkKey(sha, name string) string { return "check/" + sha + "/" + name }

func (d *Deploy) want(ctx context.Context, repo operation.Repository, kind, key string, wanted any, notBefore time.Time) error {
	in := max(0, notBefore.Sub(d.Clock.Now()))
	if background(ctx) {
		in = max(in, soon) // what is done for the same reason comes together
	}
	return wrap("want "+kind+" "+key, d.Store.Want(ctx, store.Wish{
		Repository: repo, Kind: kind, Key: key, Wanted: wanted, In: in, Priority: urgency(ctx),
		Seen: seenOf(ctx),
	}))
}

// botsKey is the key, in a context, of whether only bots want what is shown.
type botsKey struct{}

// forWhom says whether only bots want what is shown with a context. Without it, people do.
func forWhom(ctx context.Context, onlyBots bool) context.Context {
	return context.WithValue(ctx, botsKey{}, onlyBots)
}

// backgroundKey is the key, in a context, of whether nobody waits for what is shown, whoever it is shown to.
type backgroundKey struct{}

// inBackground says that nobody waits for what is shown with a context: what somebody waits for is written first.
func inBackground(ctx context.Context) context.Context {
	return context.WithValue(ctx, backgroundKey{}, true)
}

func background(ctx context.Context) bool {
	nobody, _ := ctx.Value(backgroundKey{}).(bool)
	return nobody
}

// urgency is the priority of what is shown with a context.
func urgency(ctx context.Context) int {
	if onlyBots, _ := ctx.Value(botsKey{}).(bool); onlyBots || background(ctx) {
		return store.ForBots
	}
	return store.ForPeople
}
