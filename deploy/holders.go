package deploy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// Who holds a lock, and whether that lives, is told from rows, from GitHub and from the processes of this host. What none of them
// tells is said to be unknown, and then two people are asked.

const (
	// clockSkew is how far the clock of a machine that took a lock may be from ours.
	clockSkew = 2 * time.Minute
	// maxHolders bounds the operations that are looked through for the holder of a lock.
	maxHolders = 50
)

// liver is an executor that can tell whether anything of an attempt still runs on this host.
type liver interface {
	Lives(operationID int64, attempt int, launch string) bool
}

// lifeOf says whether anything of the newest attempt at an operation still works, and how that is known.
func (d *Deploy) lifeOf(ctx context.Context, op operation.Operation) (render.Life, string, error) {
	reported := op.Result != nil && op.Result.Launch == op.Launch && op.Result.Attempt == op.Attempt
	switch {
	case op.Host == "" && d.watches(op.ID):
		return render.Alive, "Switchyard is about to start it.", nil
	case op.Host == "" && d.Shared && op.State == operation.Running:
		return render.Unknown, "No runner of it was started yet, and another server may be about to do that.", nil
	case op.Host == "":
		return render.Dead, "Its runner was never started.", nil
	case op.State.Ended() && reported:
		return render.Dead, "Its runner reported at " + clockTime(op.Result.Ended) + " that it had ended.", nil
	case op.Host == operation.HostActions:
		return d.lifeOfRun(ctx, op)
	case d.watches(op.ID):
		return render.Alive, "Switchyard's server sees to it now.", nil
	case op.Host == d.Host:
		if here, ok := d.Executor.(liver); ok && !here.Lives(op.ID, op.Attempt, op.Launch) {
			return render.Dead, "Neither its runner nor Terraform runs on " + d.HostName + " any more.", nil
		} else if ok {
			return render.Alive, "A process of it still runs on " + d.HostName + ".", nil
		}
		return render.Unknown, "Its runner was started on " + d.HostName + ", and left no word.", nil
	}
	return d.lifeElsewhere(ctx, op)
}

func clockTime(t time.Time) string { return t.UTC().Format("15:04 UTC") }

// lifeOfRun asks GitHub for the workflow run of an attempt.
func (d *Deploy) lifeOfRun(ctx context.Context, op operation.Operation) (render.Life, string, error) {
	row, err := d.Store.Run(ctx, op.ID, op.Attempt, op.Launch)
	if errors.Is(err, store.ErrNotFound) {
		row, err = operation.WorkflowRun{}, nil // it was pruned, or never dispatched
	}
	if err != nil {
		return "", "", fmt.Errorf("find its workflow run: %w", err)
	}
	if row.Run == 0 {
		return render.Unknown, "GitHub has not said which workflow run it is.", nil
	}
	run, err := d.Hub.Run(ctx, op.Repository, row.Run)
	gone, person := (*hub.Gone)(nil), (*hub.NeedsPerson)(nil)
	switch {
	case errors.As(err, &gone):
		return render.Unknown, "Its workflow run was deleted.", nil
	case errors.As(err, &person):
		return render.Unknown, "GitHub does not say what its workflow run does.", nil
	case err != nil:
		return "", "", fmt.Errorf("ask what its workflow run does: %w", err)
	case run.Status != hub.RunCompleted:
		return render.Alive, fmt.Sprintf("GitHub says that its workflow run is %s.", strings.ReplaceAll(run.Status, "_", " ")), nil
	}
	because := fmt.Sprintf("GitHub says that its workflow run has ended (%s)", cmp.Or(run.Conclusion, "without a conclusion"))
	twin, err := d.twinOf(ctx, row, run)
	switch {
	case errors.As(err, &gone), errors.As(err, &person):
		return render.Unknown, because + ", and does not say whether there is another one of it.", nil
	case err != nil:
		return "", "", err
	case twin != "":
		return render.Unknown, because + ", but " + twin + " is another one of it, which has not.", nil
	default:
		return render.Dead, because + ".", nil
	}
}

// dispatched is how long before or after a run of an attempt, by GitHub's clock, another one of it may have been made. A dispatch that gets
// no answer is repeated for two minutes.
const dispatched = 5 * time.Minute

// twinOf gives the page of another run for the same attempt that has not ended: one whose dispatch got no answer and was repeated. It may
// be the one that works. Empty where there is none.
func (d *Deploy) twinOf(ctx context.Context, row operation.WorkflowRun, run hub.Run) (string, error) {
	others, err := d.Hub.RunsAround(ctx, row.Task.Repository, row.Task.Job.Workflow, run, dispatched, dispatched)
	if err != nil {
		return "", fmt.Errorf("look for another workflow run of it: %w", err)
	}
	bot, err := d.Hub.BotLogin(ctx)
	if err != nil {
		return "", fmt.Errorf("ask for the App's name: %w", err)
	}
	row.Run = 0
	for _, other := range others {
		if _, same := rowOf([]operation.WorkflowRun{row}, other, bot); same && other.Status != hub.RunCompleted {
			return other.URL, nil
		}
	}
	return "", nil
}

// lifeElsewhere asks the rows about an attempt that another server has started.
func (d *Deploy) lifeElsewhere(ctx context.Context, op operation.Operation) (render.Life, string, error) {
	replica, err := d.replica(ctx, op.Host)
	switch {
	case err != nil:
		return "", "", err
	case replica.Alive && !op.State.Ended():
		return render.Alive, "The server " + replica.Name + " answers, and sees to it.", nil
	case replica.Alive:
		return render.Unknown, "It was started by the server " + replica.Name + ", and its runner left no word.", nil
	case replica.Seen.IsZero():
		return render.Unknown, "The server that started it, " + replica.Name + ", does not answer.", nil
	default:
		return render.Unknown, "The server that started it, " + replica.Name + ", does not answer since " + clockTime(replica.Seen) + ".", nil
	}
}

// holderOf finds out who holds the lock of a target: not the operations that are named by their numbers.
func (d *Deploy) holderOf(
	ctx context.Context, repo operation.Repository, target operation.Target, found *operation.StateLock, but ...int64,
) (render.LockHolder, error) {
	holder := render.LockHolder{Life: render.Unknown}
	if found == nil || found.Lease != operation.LeaseHeld {
		return holder, nil
	}
	if found.Info == nil || found.Info.ID == "" {
		if op, err := d.brokeOff(ctx, repo, target, *found, but); err != nil || op != nil {
			if err != nil {
				return holder, err
			}
			holder.Lock = op.Lock.Break.ID
			return d.withLife(ctx, holder, *op)
		}
		holder.Because = "The lock has no description: whoever took it ended before writing one, or is about to write it."
		return holder, nil
	}
	op, sure, err := d.takerOf(ctx, repo, target, *found.Info, but)
	switch {
	case err != nil:
		return holder, err
	case op == nil:
		holder.Because = "No operation of Switchyard took it, so nothing here can tell whether who did still works."
		return holder, nil
	}
	if holder, err = d.withLife(ctx, holder, *op); err != nil {
		return holder, err
	}
	if !sure && holder.Life == render.Dead {
		holder.Life = render.Unknown
		holder.Because += " It left no word of the lock that it took. This one was taken while it ran, and may be somebody else's all the same."
	}
	return holder, nil
}

// withLife says of an operation that holds a lock whether it lives, and where it runs.
func (d *Deploy) withLife(ctx context.Context, holder render.LockHolder, op operation.Operation) (render.LockHolder, error) {
	holder.Operation = &op
	var err error
	if holder.Life, holder.Because, err = d.lifeOf(ctx, op); err != nil {
		return holder, err
	}
	if holder.Life == render.Alive && op.Host != "" && op.Host == d.Host {
		holder.Machine = d.HostName
	}
	holder.Run, err = d.runView(ctx, op)
	return holder, err
}

// brokeOff finds the operation that had taken a lock over, cleared its description, and ended before it had released it; nil for none. The
// lease has an id then that follows from the one of that lock, so whoever goes on touches nobody else's, should one be taken since.
func (d *Deploy) brokeOff(
	ctx context.Context, repo operation.Repository, target operation.Target, found operation.StateLock, but []int64,
) (*operation.Operation, error) {
	if found.Backend != "azurerm" {
		return nil, nil //nolint:nilnil // that there is none is no error
	}
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo.ID, Environment: target.Environment, Kinds: []operation.Kind{operation.Apply, operation.BreakLease},
		Newest: true, Limit: maxHolders,
	})
	if err != nil {
		return nil, fmt.Errorf("find who broke off: %w", err)
	}
	for _, op := range ops { // the newest first
		if slices.Contains(but, op.ID) || op.Result == nil {
			continue
		}
		i := slices.IndexFunc(op.Result.Targets, func(result operation.TargetResult) bool { return result.Target == target })
		if i < 0 {
			continue
		}
		switch result := op.Result.Targets[i]; {
		case result.Outcome == operation.Applied, result.Outcome == operation.Released, result.Outcome == operation.OtherLock:
			return nil, nil //nolint:nilnil // what was before is over
		case result.Broken == nil:
		case result.Broken.How != operation.ReleasedNot:
			return nil, nil //nolint:nilnil // it was released
		case result.Broken.Taken && op.Lock != nil && op.Lock.Break != nil && op.Lock.Break.ID != "":
			return &op, nil
		}
	}
	return nil, nil //nolint:nilnil // that there is none is no error
}

// takerOf finds the operation of ours that took a lock; nil for none. It is sure where the runner has named the lock, or where the lock
// names the machine of that runner: one environment has one exclusive operation at a time. A lock that was taken when the operation did
// not run, be it for a minute, may be of somebody at that very machine: then it is not sure.
func (d *Deploy) takerOf(
	ctx context.Context, repo operation.Repository, target operation.Target, info operation.LockInfo, but []int64,
) (*operation.Operation, bool, error) {
	ops, err := d.Store.Operations(ctx, store.Filter{
		Repository: repo.ID, Environment: target.Environment, Kinds: []operation.Kind{operation.Apply, operation.BreakLease},
		Newest: true, Limit: maxHolders,
	})
	if err != nil {
		return nil, false, fmt.Errorf("find who took the lock: %w", err)
	}
	ops = slices.DeleteFunc(ops, func(op operation.Operation) bool { return slices.Contains(but, op.ID) })
	created, known := lockTime(info.Created)
	for _, op := range ops {
		if namesLock(op, target, info.ID) {
			return &op, known && offBy(op, created) <= clockSkew, nil
		}
	}
	if !known {
		return nil, false, nil
	}
	op, found := ranClosest(ops, target, created)
	if !found {
		return nil, false, nil
	}
	if op.Host == operation.HostActions {
		return &op, false, nil
	}
	replica, err := d.replica(ctx, op.Host)
	if err != nil {
		return nil, false, err
	}
	if _, machine, _ := strings.Cut(info.Who, "@"); machine != replica.Name {
		return nil, false, nil // it was taken meanwhile on another machine
	}
	return &op, offBy(op, created) == 0, nil
}

// ranClosest finds the operation that ran when a lock was taken: those of one environment run one after another. One whose runner says
// that it was done with the target, or met the lock, did not take it.
func ranClosest(ops []operation.Operation, target operation.Target, taken time.Time) (operation.Operation, bool) {
	var closest operation.Operation
	found, best := false, clockSkew+1
	for _, op := range ops {
		if !slices.Contains(op.Roots, target.Root) || op.Attempt == 0 || op.Host == "" || op.Started.IsZero() || doneWith(op, target) {
			continue
		}
		if off := offBy(op, taken); off < best {
			closest, found, best = op, true, off
		}
	}
	return closest, found
}

// doneWith reports whether the runner of the newest attempt at an operation has said that it holds no lock of a target, or met one. One
// that failed in the middle may have left its lock without knowing its id.
func doneWith(op operation.Operation, target operation.Target) bool {
	return op.Result != nil && op.Result.Attempt == op.Attempt &&
		slices.ContainsFunc(op.Result.Targets, func(result operation.TargetResult) bool {
			return result.Target == target && result.Outcome != operation.TargetFailed && result.Outcome != operation.TargetStopped
		})
}

// namesLock reports whether the runner of an operation has said that it left this lock behind.
func namesLock(op operation.Operation, target operation.Target, id string) bool {
	return op.Result != nil && slices.ContainsFunc(op.Result.Targets, func(result operation.TargetResult) bool {
		return result.Target == target && result.Lock != nil && result.Lock.ID == id &&
			result.Outcome != operation.Locked && result.Outcome != operation.OtherLock
	})
}

// offBy is how far a moment is from the time in which the newest attempt at an operation ran; 0 within it.
func offBy(op operation.Operation, at time.Time) time.Duration {
	switch {
	case at.Before(op.Started):
		return op.Started.Sub(at)
	case !op.Ended.IsZero() && at.After(op.Ended):
		return at.Sub(op.Ended)
	default:
		return 0
	}
}

// lockTime reads when a lock was taken, in the forms in which Terraform writes that.
func lockTime(text string) (time.Time, bool) {
	for _, form := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999 -0700 MST"} {
		if at, err := time.Parse(form, text); err == nil {
			return at, true
		}
	}
	return time.Time{}, false
}

// metLock says of an apply that met a lock who holds it, and what comes next.
func (d *Deploy) metLock(ctx context.Context, op operation.Operation, end store.Finish) store.Finish {
	if op.Kind != operation.Apply || end.Result == nil || end.State != operation.Failed {
		return end
	}
	for _, result := range end.Result.Targets {
		if result.Outcome != operation.Locked {
			continue
		}
		found := result.Found
		if found == nil {
			found = &operation.StateLock{Lease: operation.LeaseHeld, Info: result.Lock}
		}
		holder, err := d.holderOf(ctx, op.Repository, result.Target, found, op.ID) // it met the lock, whenever that was taken
		if err != nil {
			zerolog.Ctx(ctx).Warn().Err(err).Msg("could not find out who holds a lock")
			holder = render.LockHolder{Life: render.Unknown, Because: holderNotKnown}
		}
		end.Message = render.LockMet(render.LockedTarget{Target: result.Target, Found: found, Holder: holder})
		return end
	}
	return end
}
