package deploy

import (
	"context"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

// changedMeanwhile answers /unlock where the hold is not as it was when it was looked at: what has it
// now was not what the person meant.
func (d *Deploy) changedMeanwhile(ctx context.Context, r request, view render.UnlockAnswerView) (string, error) {
	holder, held, err := d.Store.Holder(ctx, r.Repository.ID, r.Command.Environment)
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
