package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

// A lock is looked at by an operation that changes nothing, then explained, then broken by another one that a person confirmed, and
// only as it was explained. docs/adr/0012 says why both are operations.

const (
	// confirmFor is for how long a /confirm counts after the explanation.
	confirmFor = 15 * time.Minute
	// commandBreak and commandUnlock are the commands that are confirmed.
	commandBreak  = "break-lease"
	commandUnlock = "unlock"
)

// answerTo wants the answer to a comment.
func (d *Deploy) answerTo(ctx context.Context, repo operation.Repository, number int, comment int64, text string) error {
	return d.answer(ctx, CommentMade{Repository: repo, Number: number, Comment: comment}, text)
}

// breakLease answers /break-lease: the locks are looked at, and the answer is written when that is done. It is empty then.
func (d *Deploy) breakLease(ctx context.Context, r request) (string, error) {
	environment, _ := r.Config.Environment(r.Command.Environment)
	branch, tip, err := d.branchFor(ctx, r.Repository, environment.Name, environment.Takes)
	if err != nil {
		return "", err
	}
	if tip == "" {
		return render.LockAnswer(render.LockView{
			Repository: r.Repository, WebURL: d.WebURL, Environment: environment.Name, By: r.Author, Now: d.Clock.Now(),
			Verdict: render.LockFailed, Chosen: -1,
			Targets: []render.LockedTarget{{
				Target: operation.Target{Root: r.Command.Root, Environment: environment.Name},
				Error:  "No branch that deploys to " + environment.Name + " exists, so it is not known where its states are.",
			}},
		}), nil
	}
	roots := []string{r.Command.Root}
	if r.Command.Root == "" {
		roots = nil
		for _, root := range r.Config.Roots {
			roots = append(roots, root.Dir)
		}
	}
	asked := operation.Operation{
		Kind: operation.ExplainLock, Repository: r.Repository, Environment: environment.Name, Branch: branch, Head: tip, Roots: roots,
		Actor: r.Author, Reason: r.Author + " asked who holds the state lock",
		Lock: &operation.LockRequest{Comment: r.Comment, Number: r.Number, ID: r.Command.LockID, Reason: r.Command.Reason},
	}
	if asked.Tree, err = d.Git.Tree(ctx, r.Repository, tip); err != nil {
		return "", fmt.Errorf("find the tree of %s: %w", short(tip), err)
	}
	op, err := d.Store.Request(ctx, asked, r.Comment)
	if err != nil {
		return "", fmt.Errorf("ask for a look at locks: %w", err)
	}
	if err := d.show(ctx, op); err != nil { // before it can end, and be shown as that
		return "", err
	}
	return "", wrap("queue a look at locks", d.enqueue(ctx, driveJob(op)))
}

// branchFor is the branch that deploys to an environment, and its tip: that of the newest apply, else the first one by name. The tip is
// empty where there is none.
func (d *Deploy) branchFor(
	ctx context.Context, repo operation.Repository, environment string, takes func(string) bool,
) (branch, tip string, err error) {
	newest, found, err := d.newestApply(ctx, repo.ID, environment)
	if err != nil {
		return "", "", err
	}
	branches, err := d.Git.Branches(ctx, repo, takes)
	if err != nil {
		return "", "", fmt.Errorf("list branches: %w", err)
	}
	if found && branches[newest.Branch] != "" {
		return newest.Branch, branches[newest.Branch], nil
	}
	for _, name := range slices.Sorted(maps.Keys(branches)) {
		return name, branches[name], nil
	}
	return "", "", nil
}

// showLocks writes the answer to what asked for a look at locks, as it is by now.
func (d *Deploy) showLocks(ctx context.Context, op operation.Operation) error {
	op, err := d.Store.Operation(ctx, op.ID)
	if err != nil {
		return fmt.Errorf("read %s: %w", op, err)
	}
	if op.Lock == nil {
		return nil
	}
	view, err := d.lockView(ctx, op)
	if err != nil {
		return err
	}
	if op.Lock.Watch {
		return d.sayStuck(ctx, op, view)
	}
	return d.answerTo(ctx, op.Repository, op.Lock.Number, op.Lock.Comment, render.LockAnswer(view))
}

// lockView gathers what the answer to /break-lease shows, and asks for a confirmation where it may be broken.
func (d *Deploy) lockView(ctx context.Context, op operation.Operation) (render.LockView, error) {
	view := render.LockView{
		Repository: op.Repository, WebURL: d.WebURL, Environment: op.Environment, By: op.Actor, Named: op.Lock.ID, Now: d.Clock.Now(),
		Reason: op.Lock.Reason, Number: op.Lock.Number, Chosen: -1, Looking: !op.State.Ended(),
	}
	var err error
	if view.Run, err = d.runView(ctx, op); err != nil || view.Looking {
		return view, err
	}
	view.Targets = d.lockedTargets(ctx, op)
	config, err := d.known(ctx, op.Repository)
	if err != nil {
		return view, err
	}
	view.Mask = config.Mask
	facts := commands.LockFacts{Targets: view.Targets, Named: op.Lock.ID, Reason: op.Lock.Reason}
	if facts.Hold, facts.HoldOf, err = d.holdNow(ctx, op); err != nil {
		return view, err
	}
	decision := decideLock(config, op.Environment, facts)
	view.Targets = facts.Targets
	view.Verdict, view.Chosen, view.Two, view.Why = decision.Verdict, decision.Chosen, decision.Two, decision.Why
	if view.Verdict == render.LockHeldHere {
		view.Holder = facts.Hold
	}
	if view.Verdict == render.LockAsk && !op.Lock.Watch {
		if err := d.askToBreak(ctx, op, &view); err != nil {
			return view, err
		}
	}
	view.Command = lockCommand(view, facts)
	return view, nil
}

// holdNow is what has the environment of an operation, and whether that lives; nil where nothing has it.
func (d *Deploy) holdNow(ctx context.Context, op operation.Operation) (*operation.Operation, render.Life, error) {
	hold, held, err := d.Store.Holder(ctx, op.Repository.ID, op.Environment)
	if err != nil || !held {
		return nil, "", wrap("find who has the hold", err)
	}
	life, _, err := d.lifeOf(ctx, hold)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not find out whether what has the hold lives")
		life = render.Unknown
	}
	return &hold, life, nil
}

// decideLock decides about a lock by the configuration as it is now. One that cannot be used does not say whose yes is needed, so nobody
// is asked for one. The targets then say so.
func decideLock(config configured, environment string, facts commands.LockFacts) commands.LockDecision {
	_, known := config.Environment(environment)
	if config.Problem == "" && !config.Default && known {
		return commands.DecideLock(config.Config, environment, facts)
	}
	for i := range facts.Targets {
		facts.Targets[i].Found = nil
		facts.Targets[i].Error = "The configuration cannot be used, or does not have this environment any more, " +
			"so it does not say who may have a lock broken."
	}
	return commands.LockDecision{Verdict: render.LockFailed, Chosen: -1}
}

// lockedTargets is what was found of each lock, with who holds it.
func (d *Deploy) lockedTargets(ctx context.Context, op operation.Operation) []render.LockedTarget {
	var targets []render.LockedTarget
	looked := map[string]operation.TargetResult{}
	if op.Result != nil {
		for _, result := range op.Result.Targets {
			looked[result.Target.Root] = result
		}
	}
	for _, root := range op.Roots {
		target := render.LockedTarget{Target: operation.Target{Root: root, Environment: op.Environment}}
		result, known := looked[root]
		target.Found, target.Error = result.Found, result.Error
		if !known || result.Found == nil && result.Error == "" {
			target.Error = cmp.Or(op.Message, "It was not looked at.")
		}
		var err error
		if target.Holder, err = d.holderOf(ctx, op.Repository, target.Target, target.Found); err != nil {
			// Somebody waits for this answer, and two people are asked where nothing is known.
			zerolog.Ctx(ctx).Warn().Err(err).Msg("could not find out who holds a lock")
			target.Holder.Life, target.Holder.Because = render.Unknown, holderNotKnown
		}
		targets = append(targets, target)
	}
	return targets
}

// holderNotKnown is why nothing is said of the holder of a lock when GitHub, or something else that knows, gives no answer.
const holderNotKnown = "It could not be found out who holds it."

// askToBreak has the breaking of the chosen lock wait for a /confirm.
func (d *Deploy) askToBreak(ctx context.Context, op operation.Operation, view *render.LockView) error {
	chosen := view.Targets[view.Chosen]
	subject := lockSubject(op, chosen.Target.Root, *chosen.Found, chosen.Holder)
	asked, err := d.Store.Ask(ctx, store.Confirmation{
		Repository: op.Repository.ID, Code: subject.Code(), Command: commandBreak, Environment: op.Environment, Root: chosen.Target.Root,
		Operation: op.ID, Attempt: op.Attempt, Number: op.Lock.Number, Comment: op.Lock.Comment, By: op.Actor, Two: view.Two,
	}, confirmFor)
	if err != nil {
		return fmt.Errorf("ask for a confirmation: %w", err)
	}
	view.Code, view.Two, view.Until = asked.Code, asked.Two, asked.Expires
	return nil
}

func lockSubject(
	op operation.Operation, root string, found operation.StateLock, holder render.LockHolder,
) commands.LockSubject {
	subject := commands.LockSubject{
		Repository: op.Repository.ID, Environment: op.Environment, Root: root, ETag: found.ETag, Request: op.Lock.Comment,
	}
	if subject.ID = holder.Lock; found.Info != nil {
		subject.ID = cmp.Or(found.Info.ID, holder.Lock)
	}
	return subject
}

// lockCommand is what a person writes next.
func lockCommand(view render.LockView, facts commands.LockFacts) string {
	ask := "/break-lease " + view.Environment
	chosen := func() string {
		if view.Chosen < 0 || len(view.Targets) < 2 {
			return ask
		}
		return ask + " " + view.Targets[view.Chosen].Target.Root
	}
	switch view.Verdict {
	case render.LockAsk:
		return "/confirm " + view.Code
	case render.LockAlive:
		if holder := view.Targets[view.Chosen].Holder.Operation; holder == nil || holder.State.Ended() {
			return "" // it is stopped where it runs
		}
		return "/cancel " + view.Environment
	case render.LockHeldHere:
		if facts.HoldOf == render.Alive {
			return "/cancel " + view.Environment
		}
		return "/unlock " + view.Environment
	case render.LockSeveral:
		return ask + " ROOT"
	case render.LockReason:
		return chosen() + " --reason …"
	case render.LockOther:
		return chosen()
	case render.LockNothing, render.LockHarmless, render.LockFailed:
	}
	return ""
}

// confirmed answers /confirm CODE.
func (d *Deploy) confirmed(ctx context.Context, r request) (string, error) {
	asked, known, err := d.Store.Confirmation(ctx, r.Repository.ID, r.Command.Code)
	if err != nil {
		return "", err //nolint:wrapcheck // says what was looked for
	}
	if known && asked.Taken == r.Comment {
		return d.confirmedBefore(ctx, r, asked)
	}
	asked.Two = asked.Two || twoNow(r.Config, asked)
	view := render.ConfirmView{
		Code: r.Command.Code, Command: asked.Command, Asked: asked.By, By: asked.TakenBy, At: asked.Expires, Now: d.Clock.Now(),
		Again: strings.TrimSpace(fmt.Sprintf("/%s %s %s", asked.Command, asked.Environment, asked.Root)),
	}
	if view.Kind, view.Needs, err = d.mayConfirm(ctx, r, asked, known); err != nil {
		return "", err
	}
	if view.Kind != "" {
		return render.ConfirmRefused(view), nil
	}
	text := ""
	if asked.Command == commandUnlock {
		text, err = d.unlockConfirmed(ctx, r, asked)
	} else {
		err = d.breakConfirmed(ctx, r, asked)
	}
	switch {
	case errors.Is(err, store.ErrExpired):
		view.Kind = render.ConfirmExpired
	case errors.Is(err, store.ErrTaken): // meanwhile
		now, _, readErr := d.Store.Confirmation(ctx, r.Repository.ID, r.Command.Code)
		if readErr != nil {
			return "", readErr //nolint:wrapcheck // says what was looked for
		}
		if now.Taken == r.Comment {
			return d.confirmedBefore(ctx, r, now)
		}
		view.Kind, view.By = render.ConfirmTaken, now.TakenBy
	case errors.Is(err, store.ErrNotFound):
		view.Kind = render.ConfirmUnknown
	case errors.Is(err, errAnother):
		view.Kind = render.ConfirmSelf
	default:
		return text, err
	}
	return render.ConfirmRefused(view), nil
}

// confirmedBefore answers a comment whose yes was taken before: its answer broke off, or another worker has begun it.
func (d *Deploy) confirmedBefore(ctx context.Context, r request, asked store.Confirmation) (string, error) {
	if asked.Command == commandUnlock {
		return d.unlockTaken(ctx, r, asked)
	}
	id, err := d.Store.Requested(ctx, r.Repository.ID, r.Comment)
	if err != nil {
		return "", fmt.Errorf("find what the comment confirmed: %w", err)
	}
	op, err := d.Store.Operation(ctx, id)
	if err != nil {
		return "", fmt.Errorf("read what the comment confirmed: %w", err)
	}
	return "", errors.Join(d.show(ctx, op), d.enqueue(ctx, driveJob(op)))
}

// errAnother says that another person than who asked has to confirm.
var errAnother = errors.New("another person has to confirm")

// twoNow reports whether the configuration asks for two people, whatever it asked for when something was explained.
func twoNow(config configured, asked store.Confirmation) bool {
	ask := commands.TwoForBreakLease
	if asked.Command == commandUnlock {
		ask = commands.TwoForUnlock
	}
	two, _ := ask(config.Config, asked.Environment, render.Dead) // of the holder's life it was decided when it was explained
	return two
}

// another says why a person is not another one than who asked, or may not be. Logins can be changed, so GitHub is asked who that is now.
func (d *Deploy) another(ctx context.Context, r request, asked store.Confirmation) (render.ConfirmKind, error) {
	if strings.EqualFold(asked.By, r.Author) {
		return render.ConfirmSelf, nil
	}
	written, err := d.Hub.Comment(ctx, r.Repository, asked.Comment)
	switch gone := (*hub.Gone)(nil); {
	case errors.As(err, &gone): // whoever asked has taken it back
		return render.ConfirmUnknown, nil
	case err != nil:
		return "", fmt.Errorf("read the comment that asked: %w", err)
	case strings.EqualFold(written.Author, r.Author):
		return render.ConfirmSelf, nil
	}
	return "", nil
}

// mayConfirm says why a person may not confirm; empty when they may.
func (d *Deploy) mayConfirm(
	ctx context.Context, r request, asked store.Confirmation, known bool,
) (kind render.ConfirmKind, needs string, err error) {
	now, err := d.Store.Now(ctx)
	if err != nil {
		return "", "", fmt.Errorf("ask for the time: %w", err)
	}
	permission, teams := r.Config.Permission(asked.Command), r.Config.Commands[asked.Command].Teams
	_, there := r.Config.Environment(asked.Environment)
	switch {
	case !known || !there:
		return render.ConfirmUnknown, "", nil
	case operation.PermissionRank(r.Person.Permission) < operation.PermissionRank(permission):
		return render.ConfirmRights, permission + " permission", nil
	}
	if len(teams) > 0 {
		in, err := d.teamsOf(ctx, r.CommentMade, r.Config, asked.Command)
		if err != nil {
			return "", "", err
		}
		if len(in) == 0 {
			return render.ConfirmRights, "a team of " + strings.Join(teams, ", "), nil
		}
	}
	switch {
	case asked.Taken != 0:
		return render.ConfirmTaken, "", nil
	case now.After(asked.Expires):
		return render.ConfirmExpired, "", nil
	case asked.Two:
		kind, err = d.another(ctx, r, asked)
		return kind, "", err
	}
	return "", "", nil
}

// breakConfirmed queues the breaking of a lock that was confirmed, before all that waits for its environment.
func (d *Deploy) breakConfirmed(ctx context.Context, r request, asked store.Confirmation) error {
	looked, err := d.Store.Operation(ctx, asked.Operation)
	if err != nil {
		return fmt.Errorf("read what was explained: %w", err)
	}
	found := foundOf(looked, asked.Root)
	if found == nil || looked.Lock == nil {
		return fmt.Errorf("%s has nothing about %s", looked, asked.Root)
	}
	target := operation.Target{Root: asked.Root, Environment: asked.Environment}
	holder, err := d.holderOf(ctx, looked.Repository, target, found)
	if err != nil {
		return err
	}
	subject := lockSubject(looked, asked.Root, *found, holder)
	if subject.Code() != asked.Code { // what was said of the holder then is not true any more
		return store.ErrNotFound
	}
	op := operation.Operation{
		Kind: operation.BreakLease, Repository: looked.Repository, Environment: asked.Environment, Branch: looked.Branch, Head: looked.Head,
		Tree: looked.Tree, Roots: []string{asked.Root}, Actor: asked.By, Priority: priorityLocks,
		Reason: fmt.Sprintf("%s asked for it, and %s confirmed it", asked.By, r.Author),
		Lock: &operation.LockRequest{
			Comment: asked.Comment, Number: asked.Number, Reason: looked.Lock.Reason, By: r.Author, Said: r.Comment, SaidIn: r.Number,
			Break: &operation.LockTask{
				ID: subject.ID, ETag: subject.ETag, Code: asked.Code, Request: asked.Comment, Reason: looked.Lock.Reason, Two: asked.Two,
			},
		},
	}
	dead := holder.Operation
	if dead != nil && holder.Lock != "" { // who held the lock that it was to release
		if dead, err = d.heldBefore(ctx, *dead); err != nil {
			return err
		}
	}
	if dead != nil {
		op.Lock.Of = dead.ID
		if there, err := d.Git.Has(ctx, op.Repository, dead.Head); err == nil && there && dead.Kind == operation.Apply {
			op.Branch, op.Head = dead.Branch, dead.Head // what it was to do is seen from its own commit
		}
	}
	if op.Tree, err = d.Git.Tree(ctx, op.Repository, op.Head); err != nil {
		return fmt.Errorf("find the tree of %s: %w", short(op.Head), err)
	}
	queued, err := d.Store.QueueConfirmed(ctx, op, asked.Code, r.Comment, r.Author)
	if err != nil {
		return fmt.Errorf("queue the breaking of a lock: %w", err)
	}
	if err := d.show(ctx, queued); err != nil { // before it can end, and be shown as that
		return err
	}
	if err := d.showWaiting(ctx, queued.Repository, queued.Environment); err != nil { // each is one further back
		return err
	}
	return wrap("queue the breaking of a lock", d.enqueue(ctx, driveJob(queued)))
}

// heldBefore is the operation that held the lock which another one was to release; nil where it was none of ours.
func (d *Deploy) heldBefore(ctx context.Context, broke operation.Operation) (*operation.Operation, error) {
	if broke.Lock == nil || broke.Lock.Of == 0 {
		return nil, nil //nolint:nilnil // that nobody is known is no error
	}
	held, err := d.Store.Operation(ctx, broke.Lock.Of)
	if err != nil {
		return nil, fmt.Errorf("read who held the lock: %w", err)
	}
	return &held, nil
}

// priorityLocks is that of breaking a lock: whatever waits for the environment would meet it.
const priorityLocks = 0

func foundOf(looked operation.Operation, root string) *operation.StateLock {
	if looked.Result == nil {
		return nil
	}
	for _, result := range looked.Result.Targets {
		if result.Target.Root == root {
			return result.Found
		}
	}
	return nil
}

// breakLock runs the operation that has the hold now and breaks a lock. An error means that no runner was started.
func (d *Deploy) breakLock(ctx context.Context, op operation.Operation) (store.Finish, error) {
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Failed}
	config, err := d.fetched(ctx, op.Repository)
	if err != nil {
		return end, err
	}
	if config.Problem != "" || config.Default {
		end.Message = "Nothing was done, because the configuration cannot be used."
		return end, nil
	}
	if op, err = d.atTip(ctx, op, config); err != nil {
		return end, err
	}
	seen := reviewed{config: &config}
	if op.Lock.Of != 0 {
		dead, err := d.Store.Operation(ctx, op.Lock.Of)
		if err != nil {
			return end, fmt.Errorf("read who held the lock: %w", err)
		}
		life, because, err := d.lifeOf(ctx, dead)
		if err != nil {
			return end, err
		}
		if life == render.Alive {
			end.Message = fmt.Sprintf("Nothing was done, because %s works after all. %s", dead, because)
			return end, nil
		}
		seen.targets = d.wasToDo(ctx, dead, config)
	}
	if err := d.show(ctx, op); err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not show that a lock is being broken") // its end is shown
	}
	return d.execute(ctx, op, seen)
}

// atTip has the breaking of a lock work with the tip of its branch where it runs in a workflow: a run is always of the tip, and its job
// does nothing with another commit.
func (d *Deploy) atTip(ctx context.Context, op operation.Operation, config configured) (operation.Operation, error) {
	if name, err := d.chosen(config.Config); err != nil || name != repoconfig.ExecutorActions {
		return op, err
	}
	tip, there, err := d.Git.Branch(ctx, op.Repository, op.Branch)
	if err != nil {
		return op, fmt.Errorf("find the branch: %w", err)
	}
	if !there {
		return op, &hub.NeedsPerson{
			What:   "The branch `" + op.Branch + "`, whose workflow would do it, does not exist any more.",
			Remedy: "Make it anew, then comment `" + op.Kind.Again(op.Environment) + "`.",
		}
	}
	if op.Tree, err = d.Git.Tree(ctx, op.Repository, tip); err != nil {
		return op, fmt.Errorf("find the tree of %s: %w", short(tip), err)
	}
	op.Head = tip
	return op, nil
}

// wasToDo is what people had reviewed of a dead apply. Where that cannot be found, what it did of it is not told.
func (d *Deploy) wasToDo(ctx context.Context, dead operation.Operation, config configured) map[string]reviewedTarget {
	if dead.Kind != operation.Apply {
		return nil
	}
	evidence, err := d.Store.Evidence(ctx, dead.ID, dead.Attempt)
	if err == nil {
		var found reviewed
		if found, err = d.reviewedOf(ctx, d.asking(dead.Repository), dead, config.Config, evidence.Before); err == nil {
			return found.targets
		}
	}
	zerolog.Ctx(ctx).Warn().Err(err).Msg("could not find what the holder of a lock was to do")
	return nil
}

// showBroken writes the answer to the /confirm that had a lock broken, and, when that has ended, the entry of the environment's incidents.
func (d *Deploy) showBroken(ctx context.Context, op operation.Operation) error {
	op, err := d.Store.Operation(ctx, op.ID)
	if err != nil {
		return fmt.Errorf("read what breaks a lock: %w", err)
	}
	if op.Lock == nil {
		return nil
	}
	view := render.LockReportView{Repository: op.Repository, WebURL: d.WebURL, Operation: op, Now: d.Clock.Now()}
	if view.Run, err = d.runView(ctx, op); err != nil {
		return err
	}
	config, err := d.known(ctx, op.Repository)
	if err != nil {
		return err
	}
	view.Mask = config.Mask
	if op.State == operation.Queued {
		if view.Hold, view.HoldOf, err = d.holdNow(ctx, op); err != nil {
			return err
		}
	}
	if op.Lock.Of != 0 {
		dead, err := d.Store.Operation(ctx, op.Lock.Of)
		if err != nil {
			return fmt.Errorf("read who held the lock: %w", err)
		}
		view.Dead = &dead
		if op.State.Ended() {
			view.Artifact = d.unsavedArtifact(ctx, dead)
		}
	}
	if err := d.answerTo(ctx, op.Repository, op.Lock.SaidIn, op.Lock.Said, render.LockReport(view)); err != nil {
		return err
	}
	if !op.State.Ended() || op.Attempt == 0 {
		return nil
	}
	pull := 0
	if view.Dead != nil && view.Dead.Pull != op.Lock.SaidIn { // there the answer says it all
		pull = view.Dead.Pull
	}
	return d.wantIncident(ctx, op.Repository, op.Environment, brokenEntry(op), render.IncidentBroken(view), pull)
}

// unsavedArtifact looks for a state that a dead apply left, encrypted, in the artifacts of its run; nil where there is none.
func (d *Deploy) unsavedArtifact(ctx context.Context, dead operation.Operation) *operation.ErroredState {
	if dead.Host != operation.HostActions {
		return nil
	}
	run, err := d.Store.Run(ctx, dead.ID, dead.Attempt, dead.Launch)
	if err != nil || run.Run == 0 {
		return nil
	}
	artifacts, err := d.Hub.Artifacts(ctx, dead.Repository, run.Run)
	if err != nil {
		zerolog.Ctx(ctx).Warn().Err(err).Msg("could not look for a state among the artifacts of a run")
		return nil
	}
	name := operation.UnsavedArtifact(run.Task)
	for _, artifact := range artifacts {
		if artifact.Name == name && !artifact.Expired {
			return &operation.ErroredState{
				Place: name, Why: "It is encrypted, so only `terraform state push` can tell whether it still fits.",
				Next: fmt.Sprintf("gh run download %d --repo %s --name %s\nage --decrypt --identity KEY_FILE --output errored.tfstate %s\n"+
					"terraform state push errored.tfstate", run.Run, dead.Repository.FullName(), name, operation.UnsavedFile),
			}
		}
	}
	return nil
}

// lockTask adds to a task what only work on locks needs.
func (d *Deploy) lockTask(ctx context.Context, op operation.Operation, task *operation.Task) {
	if op.Lock == nil {
		return
	}
	task.Lock = op.Lock.Break
	dead, found, err := d.diedBefore(ctx, op)
	if err == nil && found && dead.Host == d.Host && d.Host != "" {
		task.Died = filepath.Join(d.WorkDir, filepath.FromSlash(workKey(dead)))
	}
}

// diedBefore is the operation whose work directory may have a state that it could not save: the holder of the lock or, before anybody has
// looked who that is, the newest one that may have left its lock in one of the roots.
func (d *Deploy) diedBefore(ctx context.Context, op operation.Operation) (operation.Operation, bool, error) {
	if op.Lock.Of != 0 {
		dead, err := d.Store.Operation(ctx, op.Lock.Of)
		return dead, err == nil, wrap("read who held the lock", err)
	}
	if op.Kind != operation.ExplainLock {
		return operation.Operation{}, false, nil
	}
	newest, err := d.Store.Operations(ctx, store.Filter{
		Repository: op.Repository.ID, Environment: op.Environment, Kinds: []operation.Kind{operation.Apply}, Newest: true, Limit: maxHolders,
	})
	if err != nil {
		return operation.Operation{}, false, fmt.Errorf("find who may have left a lock: %w", err)
	}
	i := slices.IndexFunc(newest, func(one operation.Operation) bool {
		return mayHaveLeftLock(one) && slices.ContainsFunc(op.Roots, func(root string) bool { return slices.Contains(one.Roots, root) })
	})
	if i < 0 {
		return operation.Operation{}, false, nil
	}
	return newest[i], true, nil
}

// brokenEntry is the key of the entry about the breaking of a lock.
func brokenEntry(op operation.Operation) string { return fmt.Sprintf("broken/%d", op.ID) }

// showLastBroken shows the newest that broke a lock, or should have, and have ended: what showed that may have broken off. The last that
// is wanted of each is its entry.
func (d *Deploy) showLastBroken(ctx context.Context, repo int64, environment string) error {
	ended, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo, Environment: environment, Kinds: []operation.Kind{operation.BreakLease}, Newest: true, Limit: fewNewest,
		States: []operation.State{operation.Succeeded, operation.Failed, operation.Interrupted, operation.Cancelled},
	})
	if err != nil {
		return fmt.Errorf("find who broke locks: %w", err)
	}
	for _, op := range slices.Backward(ended) {
		if err := d.sayStopped(ctx, op.ID); err != nil {
			return err
		}
		if _, told, err := d.Store.Surface(ctx, repo, incidentKey(environment, brokenEntry(op))); err != nil || told {
			if err != nil {
				return fmt.Errorf("look for the entry about %s: %w", op, err)
			}
			continue
		}
		if err := d.show(ctx, op); err != nil {
			return err
		}
	}
	return nil
}
