package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// request is a command with everything that is known about where and by whom it was given.
type request struct {
	CommentMade
	Command commands.Command
	Config  configured
	Person  commands.Person
	Pull    hub.Pull // zero on an issue
	Branch  string   // default branch
}

// commentMade answers one slash command: a reaction at once, then one comment.
func (d *Deploy) commentMade(ctx context.Context, seen CommentMade) error {
	command, ours, parseErr := commands.Parse(seen.Body)
	if !ours || seen.Bot {
		return nil
	}
	answered, err := d.answered(ctx, seen)
	if err != nil || answered {
		return err
	}
	if d.Alone != nil && changes(command.Name) || speaksForItself(command) {
		if genuine, err := d.genuine(ctx, seen); err != nil || !genuine {
			return err
		}
	}
	if err := d.want(ctx, seen.Repository, surfaceReaction, fmt.Sprintf("reaction/%d", seen.Comment),
		reaction{Comment: seen.Comment, Content: "eyes"}, time.Time{}); err != nil {
		return err
	}
	r, thread, err := d.observeCommand(ctx, seen, command)
	if err != nil {
		return err
	}
	if r.Config.Problem != "" && changes(command.Name) {
		if err := d.auditUnusable(ctx, r); err != nil {
			return err
		}
		return d.answer(ctx, seen, render.ConfigProblem(r.Config.Problem))
	}
	decision := commands.Decide(r.Config.Config, command, parseErr, r.Person, thread)
	r.Command = decision.Command
	if err := d.audit(ctx, r, decision); err != nil {
		return err
	}
	switch {
	case decision.Ignore:
		return nil
	case decision.Refusal != "":
		return d.answer(ctx, seen, decision.Refusal)
	}
	if changes(decision.Do) {
		if err := d.personWants(ctx, seen); err != nil {
			return err
		}
	}
	text, err := d.carryOut(ctx, r, decision.Do)
	if err != nil || text == "" { // it has its answer already, which goes on to change
		return err
	}
	return d.answer(ctx, seen, text)
}

// changes reports whether a command needs a configuration that can be used. The others only tell.
func changes(command string) bool {
	return command != "help" && command != "status" && command != "why"
}

// speaksForItself reports whether what a command does rests on the person's word. A plan of this repository's own code does not: a webhook
// that says that a branch was pushed has the same one made, and whoever waits for it gets it a call earlier.
func speaksForItself(command commands.Command) bool {
	return changes(command.Name) && (command.Name != "plan" || command.Fork != "")
}

// genuine reports whether a comment is at GitHub as the webhook told it: who has stolen the webhook's
// secret must not be able to command in anybody's name. One that was edited or deleted since asks for nothing.
func (d *Deploy) genuine(ctx context.Context, seen CommentMade) (bool, error) {
	written, err := d.Hub.Comment(ctx, seen.Repository, seen.Comment)
	if gone := (*hub.Gone)(nil); errors.As(err, &gone) {
		zerolog.Ctx(ctx).Warn().Int64(keyComment, seen.Comment).Msg("a command is ignored: there is no such comment")
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("read the comment: %w", err)
	}
	if written.Author == seen.Author && written.Body == seen.Body && written.Number == seen.Number && !written.Bot {
		return true, nil
	}
	zerolog.Ctx(ctx).Warn().Int64(keyComment, seen.Comment).Str("author", written.Author).
		Msg("a command is ignored: the comment at GitHub is not the one that the webhook told of")
	return false, nil
}

// answered reports whether a comment has its answer already: a job that is done again after a crash
// must not carry the command out twice.
func (d *Deploy) answered(ctx context.Context, seen CommentMade) (bool, error) {
	_, ok, err := d.Store.Surface(ctx, seen.Repository.ID, answerKey(seen))
	return ok, wrap("look for the answer", err)
}

// personWants has a pull request of a bot treated as a person's from now on, because a person who may do so has
// asked for something there. What it waits to show is hastened.
func (d *Deploy) personWants(ctx context.Context, seen CommentMade) error {
	facts, ok, err := d.pullFacts(ctx, seen.Repository, seen.Number)
	if err != nil || !ok || !facts.onlyForBots() {
		return err
	}
	facts.Wanted = true
	if err := d.savePull(ctx, seen.Repository, facts); err != nil {
		return err
	}
	return d.showPull(ctx, seen.Repository, seen.Number)
}

func answerKey(seen CommentMade) string { return fmt.Sprintf("answer/%d", seen.Comment) }

func (d *Deploy) answer(ctx context.Context, seen CommentMade, text string) error {
	return d.want(ctx, seen.Repository, surfaceNotice, answerKey(seen),
		notice{Comment: marked(seen.Number, text, answerKey(seen))}, time.Time{})
}

func (d *Deploy) audit(ctx context.Context, r request, decision commands.Decision) error {
	what := "/" + r.Command.Name
	if decision.Refusal != "" {
		what = "refused " + r.Command.Line
	}
	return wrap("write audit", d.Store.Append(ctx, store.Audit{
		Repository: r.Repository.ID, Environment: r.Command.Environment, Who: r.Author, What: what,
		Why: fmt.Sprintf("comment %d on #%d: %s", r.Comment, r.Number, r.Command.Line), Delivery: causeOf(ctx),
	}))
}

// observeCommand asks GitHub who the person is and what the thread is, and reads the configuration.
func (d *Deploy) observeCommand(ctx context.Context, seen CommentMade, command commands.Command) (request, commands.Thread, error) {
	r := request{CommentMade: seen, Command: command, Person: commands.Person{Login: seen.Author}}
	thread := commands.Thread{Pull: seen.Number, Issue: !seen.IsPull}
	var err error
	if r.Person.Permission, err = d.Hub.Permission(ctx, seen.Repository, seen.Author); err != nil {
		return r, thread, fmt.Errorf("ask for the permission of %s: %w", seen.Author, err)
	}
	if seen.IsPull {
		var merged bool
		if r.Pull, r.Branch, merged, err = d.mergedPull(ctx, seen.Repository, seen.Number); err == nil && !merged {
			r.Pull, r.Branch, err = d.fetchPull(ctx, seen.Repository, seen.Number)
		}
		if err != nil {
			return r, thread, err
		}
		thread.State, thread.Fork, thread.Base = r.Pull.State, r.Pull.Fork, r.Pull.BaseRef
	} else {
		if err := d.Git.Fetch(ctx, seen.Repository); err != nil {
			return r, thread, fmt.Errorf("fetch: %w", err)
		}
		if r.Branch, err = d.defaultBranch(ctx, seen.Repository); err != nil {
			return r, thread, err
		}
	}
	if r.Config, err = d.configuration(ctx, seen.Repository, r.Branch); err != nil {
		return r, thread, err
	}
	if environment, ok := r.Config.EnvironmentOf(thread.Base); ok && seen.IsPull {
		thread.Environment = environment.Name
	}
	if r.Person.Teams, err = d.teamsOf(ctx, seen, r.Config, command.Name); err != nil {
		return r, thread, err
	}
	return r, thread, nil
}

// teamsOf asks, of the teams that a command is reserved for, which ones the person is in.
func (d *Deploy) teamsOf(ctx context.Context, seen CommentMade, config configured, command string) ([]string, error) {
	asked := config.Commands[command].Teams
	if command == "help" { // it shows what the person may do with every command
		for _, rule := range config.Commands {
			asked = append(asked, rule.Teams...)
		}
	}
	var teams []string
	for _, team := range asked {
		if slices.Contains(teams, team) {
			continue
		}
		in, err := d.Hub.InTeam(ctx, seen.Repository, team, seen.Author)
		if err != nil {
			return nil, fmt.Errorf("ask whether %s is in the team %s: %w", seen.Author, team, err)
		}
		if in {
			teams = append(teams, team)
		}
	}
	return teams, nil
}

// carryOut does what a command asks for, and returns the answer; empty where it was wanted already.
func (d *Deploy) carryOut(ctx context.Context, r request, do string) (string, error) {
	if text, done, err := d.instead(ctx, r, do); err != nil || done {
		return text, err
	}
	switch do {
	case "help":
		return commands.Help(r.Config.Config, r.Person, d.without()...), nil
	case "status":
		return d.status(ctx, r)
	case "why":
		return d.why(ctx, r)
	case "plan":
		if r.Command.Fork != "" {
			return d.planFork(ctx, r)
		}
		return d.planAgain(ctx, r)
	case "apply":
		return d.applyAsked(ctx, r)
	case "cancel":
		return d.cancel(ctx, r)
	case "unlock":
		return d.unlock(ctx, r)
	case "approve-replace":
		return d.approveReplace(ctx, r)
	case commandBreak:
		return d.breakLease(ctx, r)
	case "confirm":
		return d.confirmed(ctx, r)
	default:
		return "", fmt.Errorf("command %q is decided but not known here", do)
	}
}

func (d *Deploy) planAgain(ctx context.Context, r request) (string, error) {
	view := render.PlanAnswerView{Environment: r.Command.Environment, Root: r.Command.Root}
	if r.Pull.State != "open" {
		view.Reason = "This pull request is " + r.Pull.State + ", and only open ones are planned."
		return render.PlanAnswer(view), nil
	}
	seen := PullSeen{Repository: r.Repository, Number: r.Number}
	if err := d.reviewPull(ctx, seen, r.Pull, r.Branch); err != nil {
		return "", err
	}
	facts, ok, err := d.pullFacts(ctx, r.Repository, r.Number)
	if err != nil {
		return "", err
	}
	switch {
	case !ok || facts.Silent:
		view.Reason = "This repository has no root that Switchyard knows."
	case facts.Merge != "":
		view.Reason = "It cannot be merged: " + strings.ReplaceAll(facts.Merge, "\n", ", ") + "."
	case facts.Decision.Environment == "" || facts.Decision.Verdict == gitflow.Refused && !facts.Decision.Advice:
		view.Reason = strings.Join(append(facts.Decision.Reasons[:min(1, len(facts.Decision.Reasons))], facts.Decision.Remedy), " ")
	case view.Environment != "" && view.Environment != facts.Decision.Environment:
		view.Reason = fmt.Sprintf("This pull request goes to %s, which deploys to %s: only that environment is planned.",
			facts.Base, facts.Decision.Environment)
	case len(facts.Roots) == 0:
		view.Reason = "It changes no root."
	case view.Root != "" && !slices.ContainsFunc(facts.Roots, func(root render.RootReason) bool { return root.Root == view.Root }):
		view.Reason = "It does not change " + view.Root + "; a plan is made of what a pull request changes."
	default:
		seen.Again, seen.First = r.Author, view.Root
		if err := d.reviewPull(ctx, seen, r.Pull, r.Branch); err != nil {
			return "", err
		}
		view.All = view.Root != "" && len(facts.Roots) > 1 // the roots of a pull request are reviewed together
		view.Environment = facts.Decision.Environment
		if op, ok, err := d.newestPlan(ctx, r.Repository.ID, r.Number); err != nil {
			return "", err
		} else if ok {
			view.Operation = &op
		}
	}
	return render.PlanAnswer(view), nil
}

// applyAsked answers /apply. Merging is what applies; the command says yes to a question, or runs an
// apply anew that did not succeed, always at the tip of the branch.
func (d *Deploy) applyAsked(ctx context.Context, r request) (string, error) {
	view := render.ApplyAnswerView{Environment: r.Command.Environment, Base: r.Pull.BaseRef, Digest: r.Command.Digest}
	if environment, ok := r.Config.EnvironmentOf(r.Pull.BaseRef); ok {
		view.Target = environment.Name
	}
	if id, err := d.Store.Requested(ctx, r.Repository.ID, r.Comment); err != nil || id != 0 {
		return d.applyTaken(ctx, r, view, id, err) // its answer broke off
	}
	newest, found, err := d.newestApply(ctx, r.Repository.ID, r.Command.Environment)
	if err != nil {
		return "", err
	}
	if found {
		view.Branch = newest.Branch
	}
	switch {
	case r.Config.Default:
		view.Kind = render.ApplyNothing
		view.Reason = "This repository has no .github/switchyard.yml, so Switchyard only gives advice here."
	case r.IsPull && r.Pull.State == "open" && (!found || newest.State != operation.Unconfirmed || r.Command.Digest == ""):
		view.Kind = render.ApplyOpen
	case !found:
		view.Kind = render.ApplyNothing
	case newest.State == operation.Unconfirmed:
		return d.confirm(ctx, r, newest, view)
	case newest.State == operation.Queued || newest.State == operation.Running:
		view.Kind = render.ApplyRunning
		if err := d.queuedBefore(ctx, newest); err != nil {
			return "", err
		}
		view.Apply, err = d.pointApplyView(ctx, newest, r.Number)
	default:
		return d.applyAnew(ctx, r, newest, view)
	}
	if err != nil {
		return "", err
	}
	return render.ApplyAnswer(view), nil
}

// applyTaken answers a comment that has led to an apply already.
func (d *Deploy) applyTaken(ctx context.Context, r request, view render.ApplyAnswerView, id int64, err error) (string, error) {
	if err != nil {
		return "", fmt.Errorf("find what the comment asked for: %w", err)
	}
	op, err := d.Store.Operation(ctx, id)
	if err != nil {
		return "", fmt.Errorf("read what the comment asked for: %w", err)
	}
	if !op.State.Ended() {
		if err := d.applyQueued(ctx, op, nil); err != nil {
			return "", err
		}
	}
	view.Kind = render.ApplyRunning
	if view.Apply, err = d.pointApplyView(ctx, op, r.Number); err != nil {
		return "", err
	}
	return render.ApplyAnswer(view), nil
}

func (d *Deploy) pointApplyView(ctx context.Context, op operation.Operation, pull int) (*render.ApplyView, error) {
	view, err := d.applyView(ctx, op, pull)
	return &view, err
}

func (d *Deploy) newestApply(ctx context.Context, repo int64, environment string) (operation.Operation, bool, error) {
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Environment: environment, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: 1,
	})
	if err != nil {
		return operation.Operation{}, false, fmt.Errorf("find the newest apply of %s: %w", environment, err)
	}
	if len(ops) == 0 {
		return operation.Operation{}, false, nil
	}
	return ops[0], true, nil
}

// confirm takes a person's yes to exactly what is being asked.
func (d *Deploy) confirm(ctx context.Context, r request, asked operation.Operation, view render.ApplyAnswerView) (string, error) {
	blocked, err := d.stillBlocked(ctx, d.asking(r.Repository), asked)
	if err != nil {
		return "", err
	}
	left := labels(blocked)
	switch {
	case len(left) > 0 && !asksForYes(asked):
		view.Kind, view.Blocked = render.ApplyBlocked, left
	case r.Command.Digest == "":
		view.Kind = render.ApplyNeedsDigest
		view.Apply, err = d.pointApplyView(ctx, asked, r.Number)
	case !strings.HasPrefix(asked.Question, r.Command.Digest):
		view.Kind = render.ApplyWrongDigest
		view.Apply, err = d.pointApplyView(ctx, asked, r.Number)
	case len(left) > 0:
		view.Kind, view.Blocked = render.ApplyBlocked, left
	default:
		own, ownErr := d.ownYes(ctx, r, asked)
		if ownErr != nil {
			return "", ownErr
		}
		if own {
			view.Kind = render.ApplyOwn
			return render.ApplyAnswer(view), nil
		}
		var op operation.Operation
		if op, err = d.Store.Confirm(ctx, asked.ID, asked.Question, r.Author, r.Comment); err != nil {
			return "", fmt.Errorf("take the yes to %s: %w", asked, err)
		}
		if err := d.applyQueued(ctx, op, nil); err != nil {
			return "", err
		}
		view.Kind = render.ApplyConfirmed
		view.Apply, err = d.pointApplyView(ctx, op, r.Number)
	}
	if err != nil {
		return "", err
	}
	return render.ApplyAnswer(view), nil
}

// applyAnew queues an apply of the branch's tip where something is not applied.
func (d *Deploy) applyAnew(ctx context.Context, r request, ended operation.Operation, view render.ApplyAnswerView) (string, error) {
	tip, ok, err := d.Git.Branch(ctx, r.Repository, ended.Branch)
	if err != nil {
		return "", fmt.Errorf("find the branch: %w", err)
	}
	view.Kind = render.ApplyNothing
	if !ok {
		view.Reason = "The branch " + ended.Branch + " does not exist any more."
		return render.ApplyAnswer(view), nil
	}
	due, err := d.outstandingAt(ctx, r.Repository, r.Config.Config, ended.Environment, tip)
	if err != nil {
		return "", err
	}
	if len(due.Roots) == 0 {
		return render.ApplyAnswer(view), nil
	}
	pulls, err := d.pullsSince(ctx, r.Repository, ended.Branch, due.Since, tip)
	if err != nil {
		return "", err
	}
	numbers := pulls.numbers
	for _, number := range slices.Backward(ended.Pulls) {
		if !slices.Contains(numbers, number) {
			numbers = append([]int{number}, numbers...)
		}
	}
	op := operation.Operation{
		Kind: operation.Apply, Repository: r.Repository, Environment: ended.Environment, Branch: ended.Branch, Head: tip,
		Pulls: numbers, Pull: ended.Pull, Actor: r.Author, Priority: ended.Priority, Warned: ended.Warned,
		Reason: fmt.Sprintf("%s asked for it again after %s %s", r.Author, ended, ended.State),
	}
	for _, root := range due.Roots {
		op.Roots = append(op.Roots, root.Root)
	}
	stored, gathered, err := d.Store.QueueApplyAgain(ctx, op, r.Comment)
	if err != nil {
		return "", fmt.Errorf("queue apply: %w", err)
	}
	if err := d.applyQueued(ctx, stored, gathered); err != nil {
		return "", err
	}
	view.Kind = render.ApplyQueued
	if view.Apply, err = d.pointApplyView(ctx, stored, r.Number); err != nil {
		return "", err
	}
	return render.ApplyAnswer(view), nil
}

// cancel stops what runs and what waits: of the named environment, else of the pull request.
func (d *Deploy) cancel(ctx context.Context, r request) (string, error) {
	filter := store.Filter{
		Repository: r.Repository.ID, Environment: r.Command.Environment,
		States: []operation.State{operation.Queued, operation.Running, operation.Unconfirmed},
	}
	if r.IsPull {
		filter.Pull = r.Number
	}
	ops, err := d.toCancel(ctx, r, filter)
	if err != nil {
		return "", err
	}
	view := render.CancelAnswerView{Environment: r.Command.Environment, By: r.Author}
	awaited := store.StopAnswer{
		Repository: r.Repository.ID, Comment: r.Comment, Number: r.Number, Environment: r.Command.Environment, Who: r.Author,
	}
	message := "Cancelled by " + r.Author + " before it ran."
	if err := d.showCancelled(ctx, filter, message); err != nil {
		return "", err
	}
	for _, op := range ops {
		if op.State == operation.Running {
			stopping, err := d.stopAnywhere(ctx, op)
			if err != nil {
				return "", err
			}
			if stopping {
				view.Stopping = append(view.Stopping, op)
				awaited.Operations = append(awaited.Operations, op.ID)
			} else {
				view.Unreachable = append(view.Unreachable, op)
			}
			continue
		}
		ended, err := d.Store.Cancel(ctx, op.ID, r.Author, message)
		if errors.Is(err, store.ErrTransition) {
			continue // it began or ended meanwhile
		}
		if err != nil {
			return "", fmt.Errorf("cancel %s: %w", op, err)
		}
		view.Cancelled = append(view.Cancelled, ended)
		if err := d.show(ctx, ended); err != nil {
			return "", err
		}
	}
	if len(awaited.Operations) == 0 {
		return render.CancelAnswer(view), nil
	}
	// First, because a comment that has an answer is not seen to again: whoever ends them knows of it, should this break off here.
	if err := d.Store.AwaitStop(ctx, awaited); err != nil {
		return "", err //nolint:wrapcheck // says what was to be kept
	}
	if err := d.answer(ctx, r.CommentMade, render.CancelAnswer(view)); err != nil {
		return "", err
	}
	for _, op := range view.Stopping { // one may have ended before that was written
		if err := d.sayStopped(ctx, op.ID); err != nil {
			return "", err
		}
	}
	return "", nil
}

// toCancel lists what a /cancel is about. On a pull request that is what is shown there, and the work on locks that was asked for there;
// where it names an environment in which nothing of the pull request runs or waits, it is what has the environment.
func (d *Deploy) toCancel(ctx context.Context, r request, filter store.Filter) ([]operation.Operation, error) {
	ops, err := d.Store.Operations(ctx, filter)
	if err != nil || filter.Pull == 0 {
		return ops, wrap("find what to cancel", err)
	}
	whole := filter
	whole.Pull, whole.Kinds = 0, []operation.Kind{operation.ExplainLock, operation.BreakLease}
	locks, err := d.Store.Operations(ctx, whole)
	if err != nil {
		return nil, fmt.Errorf("find what to cancel: %w", err)
	}
	for _, op := range locks {
		if op.Lock != nil && !op.Lock.Watch && (op.Lock.Number == r.Number || op.Lock.SaidIn == r.Number) {
			ops = append(ops, op)
		}
	}
	if len(ops) > 0 || !slices.Contains(strings.Fields(r.Command.Line), r.Command.Environment) {
		return ops, nil
	}
	holder, held, err := d.Store.Holder(ctx, r.Repository.ID, r.Command.Environment)
	if err != nil || !held {
		return nil, wrap("find who has the hold", err)
	}
	return []operation.Operation{holder}, nil
}

// sayStopped brings the answers to /cancel up to date that wait for an operation, when that has ended.
func (d *Deploy) sayStopped(ctx context.Context, id int64) error {
	answers, err := d.Store.StopAnswers(ctx, id)
	if err != nil {
		return err //nolint:wrapcheck // says what was looked for
	}
	for _, answer := range answers {
		// Two of its operations may end at once: who writes last has looked again after that.
		look := func() ([]operation.Operation, error) { return d.readAll(ctx, answer.Operations) }
		same := func(a, b []operation.Operation) bool { return slices.EqualFunc(a, b, sameStep) }
		if err := steady(look, same, func(ops []operation.Operation) error { return d.answerStopped(ctx, answer, ops) }); err != nil {
			return err
		}
	}
	return nil
}

func (d *Deploy) readAll(ctx context.Context, ids []int64) ([]operation.Operation, error) {
	ops := make([]operation.Operation, 0, len(ids))
	for _, id := range ids {
		op, err := d.Store.Operation(ctx, id)
		if err != nil {
			return nil, fmt.Errorf("read operation %d: %w", id, err)
		}
		ops = append(ops, op)
	}
	return ops, nil
}

// answerStopped writes the answer to a /cancel anew, as soon as something that it stops has ended.
func (d *Deploy) answerStopped(ctx context.Context, answer store.StopAnswer, ops []operation.Operation) error {
	view := render.CancelAnswerView{Environment: answer.Environment, By: answer.Who}
	for _, op := range ops {
		if op.State.Ended() || op.State == operation.Unconfirmed {
			view.Done = append(view.Done, op)
		} else {
			view.Stopping = append(view.Stopping, op)
		}
	}
	if len(view.Done) == 0 {
		return nil
	}
	return d.answerTo(ctx, ops[0].Repository, answer.Number, answer.Comment, render.CancelAnswer(view))
}

// showCancelled shows what was cancelled with a message before: that may have broken off.
func (d *Deploy) showCancelled(ctx context.Context, filter store.Filter, message string) error {
	filter.States, filter.Newest, filter.Limit = []operation.State{operation.Cancelled}, true, fewNewest
	ended, err := d.Store.Operations(ctx, filter)
	if err != nil {
		return fmt.Errorf("find what was cancelled: %w", err)
	}
	for _, op := range slices.Backward(ended) {
		if op.Message != message {
			continue
		}
		if err := d.show(ctx, op); err != nil {
			return err
		}
	}
	return nil
}

// goOn has the next apply of an environment run, and the newest that ended be shown.
func (d *Deploy) goOn(ctx context.Context, r request) error {
	return wrap("go on with "+r.Command.Environment, d.enqueue(ctx, driveJob(operation.Operation{
		Kind: operation.Apply, Repository: r.Repository, Environment: r.Command.Environment,
	})))
}

func (d *Deploy) watches(id int64) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, ok := d.running[id]
	return ok
}

func (d *Deploy) status(ctx context.Context, r request) (string, error) {
	view := render.StatusView{Repository: r.Repository, WebURL: d.WebURL, Now: d.Clock.Now()}
	for _, environment := range r.Config.Environments {
		if r.Command.Environment != "" && r.Command.Environment != environment.Name {
			continue
		}
		status := render.EnvironmentStatus{Name: environment.Name, Branches: environment.Branches}
		if holder, held, err := d.Store.Holder(ctx, r.Repository.ID, environment.Name); err != nil {
			return "", fmt.Errorf("find who has the hold: %w", err)
		} else if held {
			status.Holder = &holder
		}
		var err error
		if status.Waiting, err = d.waiting(ctx, r.Repository.ID, environment.Name); err != nil {
			return "", err
		}
		if status.Unconfirmed, err = d.Store.Operations(ctx, store.Filter{
			Repository: r.Repository.ID, Environment: environment.Name, States: []operation.State{operation.Unconfirmed},
		}); err != nil {
			return "", fmt.Errorf("find what waits for a yes: %w", err)
		}
		if status.Usually, _, err = d.Store.UsualDuration(ctx, r.Repository.ID, environment.Name, operation.Apply); err != nil {
			return "", fmt.Errorf("find the usual duration: %w", err)
		}
		if status.Roots, err = d.rootStatus(ctx, r, environment.Name); err != nil {
			return "", err
		}
		status.Gate = d.gateStatus(ctx, r.Repository, r.Config.Config, environment.Name)
		view.Environments = append(view.Environments, status)
	}
	var err error
	if view.Delay, err = d.delay(ctx, r.Repository.Installation); err != nil {
		return "", err
	}
	return render.Status(view), nil
}

// delay is what of an installation waits because of GitHub's limits; nil where what waits is written in a moment.
func (d *Deploy) delay(ctx context.Context, installation int64) (*render.Delay, error) {
	pending, err := d.Store.PendingSurfaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("count what waits to be written: %w", err)
	}
	now, budget := d.Clock.Now(), d.Hub.Budget(installation)
	delay := render.Delay{PeopleAt: budget.Until(false), BotsAt: budget.Until(true), Refused: budget.Refused != nil}
	for _, of := range pending {
		if of.Installation == installation {
			delay.People, delay.Bots = of.Surfaces-of.Bots, of.Bots
		}
	}
	if delay.Bots == 0 {
		delay.BotsAt = time.Time{}
	}
	if budget.Slowed {
		delay.SearchAt = budget.Resets
	}
	delay.LastAt = d.Hub.Foresee(installation, delay.People, delay.Bots)
	if !delay.LastAt.After(now.Add(publishPoll)) && delay.PeopleAt.IsZero() && delay.BotsAt.IsZero() {
		if delay.SearchAt.IsZero() {
			return nil, nil //nolint:nilnil // no delay is no error
		}
		delay.People, delay.Bots = 0, 0
	}
	return &delay, nil
}

func (d *Deploy) rootStatus(ctx context.Context, r request, environment string) ([]render.RootStatus, error) {
	states, err := d.Store.Targets(ctx, r.Repository.ID, environment)
	if err != nil {
		return nil, fmt.Errorf("read targets: %w", err)
	}
	roots := make([]render.RootStatus, 0, len(r.Config.Roots))
	for _, root := range r.Config.Roots {
		status := render.RootStatus{Root: root.Dir}
		for _, state := range states {
			if state.Target.Root != root.Dir {
				continue
			}
			if state.Applied == "" {
				status.Commit, status.Found = state.Baseline, state.Baseline != ""
				continue
			}
			status.Commit, status.At = state.Applied, state.At
			if op, err := d.Store.Operation(ctx, state.Operation); err == nil {
				status.Pull = op.Pull
			}
		}
		roots = append(roots, status)
	}
	return roots, nil
}

func (d *Deploy) why(ctx context.Context, r request) (string, error) {
	view := render.WhyView{
		Repository: r.Repository, WebURL: d.WebURL, Address: r.Command.Address, Mask: r.Config.Mask, Now: d.Clock.Now(),
	}
	if r.IsPull {
		view.Pull = r.Number
		if facts, ok, err := d.pullFacts(ctx, r.Repository, r.Number); err != nil {
			return "", err
		} else if ok {
			pull, err := d.pullView(ctx, r.Repository, facts)
			if err != nil {
				return "", err
			}
			view.Gitflow, view.Plan, view.Roots, view.Applies = facts.Decision, pull.Plan, facts.Roots, pull.Applies
		}
	}
	if view.Address == "" {
		return render.Why(view), nil
	}
	return d.whyAddress(ctx, r, view)
}
