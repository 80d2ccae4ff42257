package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// unlock explains who has the hold of an environment, and asks for a /confirm where what has it is dead, or may be. It never touches
// Terraform's own lock.
func (d *Deploy) unlock(ctx context.Context, r request) (string, error) {
	view := render.UnlockAnswerView{Environment: r.Command.Environment, Number: r.Number, By: r.Author, Now: d.Clock.Now()}
	holder, held, err := d.Store.Holder(ctx, r.Repository.ID, r.Command.Environment)
	if err != nil {
		return "", fmt.Errorf("find who has the hold: %w", err)
	}
	if !held {
		// Its release may have been recorded before; then whatever followed is made up for.
		return render.UnlockAnswer(view), d.goOn(ctx, r)
	}
	life, because, err := d.lifeOf(ctx, holder)
	if err != nil {
		return "", err
	}
	if life == render.Alive {
		view.Alive = &holder
		return render.UnlockAnswer(view), nil
	}
	two, _ := commands.TwoForUnlock(r.Config.Config, r.Command.Environment, life)
	asked, err := d.Store.Ask(ctx, store.Confirmation{
		Repository: r.Repository.ID, Code: commands.HoldCode(r.Repository.ID, holder.ID, holder.Attempt, r.Comment), Command: commandUnlock,
		Environment: r.Command.Environment, Operation: holder.ID, Attempt: holder.Attempt, Number: r.Number, Comment: r.Comment,
		By: r.Author, Two: two,
	}, confirmFor)
	if err != nil {
		return "", fmt.Errorf("ask for a confirmation: %w", err)
	}
	run, err := d.runView(ctx, holder)
	return render.UnlockAsk(render.UnlockAskView{
		Environment: r.Command.Environment, By: r.Author, Now: d.Clock.Now(), Holder: holder, Run: run, Life: life, Because: because,
		Code: asked.Code, Two: asked.Two, Until: asked.Expires,
	}), err
}

// unlockConfirmed releases the hold of exactly the attempt that was explained, unless it turns out to live.
func (d *Deploy) unlockConfirmed(ctx context.Context, r request, asked store.Confirmation) (string, error) {
	r.Command.Environment = asked.Environment
	view := render.UnlockAnswerView{
		Environment: asked.Environment, Number: r.Number, By: asked.By, Confirmed: r.Author, Now: d.Clock.Now(),
	}
	holder, held, err := d.Store.Holder(ctx, r.Repository.ID, asked.Environment)
	if err != nil {
		return "", fmt.Errorf("find who has the hold: %w", err)
	}
	if !held || holder.ID != asked.Operation || holder.Attempt != asked.Attempt {
		return d.changedMeanwhile(ctx, r, view)
	}
	life, _, err := d.lifeOf(ctx, holder)
	if err != nil {
		return "", err
	}
	if life == render.Alive {
		view.Alive = &holder
		return render.UnlockAnswer(view), nil
	}
	if two, _ := commands.TwoForUnlock(r.Config.Config, asked.Environment, life); two && !asked.Two {
		// A runner was started since, on a server that does not answer now.
		if kind, err := d.another(ctx, r, asked); err != nil {
			return "", err
		} else if kind != "" {
			return "", errAnother
		}
	}
	by := asked.By
	if !strings.EqualFold(by, r.Author) {
		by += ", confirmed by " + r.Author
	}
	released, err := d.Store.ReleaseHold(ctx, holder, asked.Code, r.Comment, r.Author,
		"Its hold was released by "+by+"; it is not known how far it came.")
	if errors.Is(err, store.ErrLost) {
		return d.changedMeanwhile(ctx, r, view)
	}
	if err != nil {
		return "", fmt.Errorf("release the hold: %w", err)
	}
	view.Released = &released
	return render.UnlockAnswer(view), d.goOn(ctx, r)
}

// unlockTaken answers a /confirm that has released a hold already, and whose answer broke off.
func (d *Deploy) unlockTaken(ctx context.Context, r request, asked store.Confirmation) (string, error) {
	r.Command.Environment = asked.Environment
	released, err := d.Store.Operation(ctx, asked.Operation)
	if err != nil {
		return "", fmt.Errorf("read what had the hold: %w", err)
	}
	return render.UnlockAnswer(render.UnlockAnswerView{
		Environment: asked.Environment, By: asked.By, Confirmed: r.Author, Now: d.Clock.Now(), Released: &released,
	}), d.goOn(ctx, r)
}

// changedMeanwhile answers where the hold is not as it was when it was looked at: what has it now was not what the person meant.
func (d *Deploy) changedMeanwhile(ctx context.Context, r request, view render.UnlockAnswerView) (string, error) {
	holder, held, err := d.Store.Holder(ctx, r.Repository.ID, view.Environment)
	if err != nil {
		return "", fmt.Errorf("find who has the hold now: %w", err)
	}
	if held {
		view.Alive = &holder
	}
	return "**It has changed meanwhile, so nothing was released.**\n\n" + render.UnlockAnswer(view), d.goOn(ctx, r)
}

// wantAwayNotice calls people, once, where it is not known whether an apply still runs, and takes that
// back when it is known again: the edit of a comment notifies nobody.
func (d *Deploy) wantAwayNotice(ctx context.Context, op operation.Operation, view render.ApplyView, key string) error {
	if op.State == operation.Running && op.Message != "" {
		return d.want(ctx, op.Repository, surfaceNotice, key, notice{Comment: marked(op.Pull, render.Notice(view), key)}, time.Time{})
	}
	if op.Attempt == 0 {
		return nil // it never ran
	}
	return d.minimizeNotice(ctx, op.Repository, key)
}
