package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// approveReplace takes a second person's yes to one change that the configuration holds back: of an apply
// that waits for it, or of an open pull request, before it is merged.
func (d *Deploy) approveReplace(ctx context.Context, r request) (string, error) {
	view := render.UnblockAnswerView{Kind: render.UnblockNothing, Address: r.Command.Address, By: r.Author}
	waiting, err := d.Store.Operations(ctx, store.Filter{
		Repository: r.Repository.ID, Kinds: []operation.Kind{operation.Apply}, States: []operation.State{operation.Unconfirmed},
	})
	if err != nil {
		return "", fmt.Errorf("find what waits: %w", err)
	}
	for _, op := range waiting {
		if r.IsPull && !slices.Contains(op.Pulls, r.Number) {
			continue
		}
		held, err := d.stillBlocked(ctx, op)
		if err != nil {
			return "", err
		}
		if slices.Contains(held, r.Command.Address) {
			return d.unblockApply(ctx, r, op, view)
		}
		view.Left = append(view.Left, held...)
	}
	if r.IsPull && r.Pull.State == "open" {
		return d.unblockPull(ctx, r, view)
	}
	return render.UnblockAnswer(view), nil
}

// blockedIn lists the addresses that an apply waits for a second person for.
func blockedIn(op operation.Operation) []string {
	var addresses []string
	if op.Result != nil {
		for _, target := range op.Result.Targets {
			addresses = append(addresses, target.Blocked...)
		}
	}
	return addresses
}

// asksForYes reports whether an apply waits for a yes, not only for approvals of blocked changes.
func asksForYes(op operation.Operation) bool {
	return op.Question != "" && op.Question != op.Confirmed
}

// stillBlocked lists the addresses that an apply waits for a second person for and that nobody has approved yet.
func (d *Deploy) stillBlocked(ctx context.Context, op operation.Operation) ([]string, error) {
	approved, err := d.Store.Unblocked(ctx, op.Repository.ID, op.Environment, []string{op.Head})
	if err != nil {
		return nil, fmt.Errorf("find which blocked changes were approved: %w", err)
	}
	return slices.DeleteFunc(blockedIn(op), func(address string) bool { return slices.Contains(approved, address) }), nil
}

func (d *Deploy) unblockApply(ctx context.Context, r request, op operation.Operation,
	view render.UnblockAnswerView,
) (string, error) {
	view.Environment = op.Environment
	own, err := d.isAuthor(ctx, op, r.Author)
	if err != nil {
		return "", err
	}
	if own || strings.EqualFold(op.Actor, r.Author) {
		view.Kind, view.Author = render.UnblockOwn, r.Author
		return render.UnblockAnswer(view), nil
	}
	if err := d.Store.Unblock(ctx, r.Repository.ID, op.Environment, op.Head, r.Command.Address, r.Author, r.Comment); err != nil {
		return "", fmt.Errorf("record the approval: %w", err)
	}
	if view.Left, err = d.stillBlocked(ctx, op); err != nil {
		return "", err
	}
	if asksForYes(op) {
		view.Question = op.Question
	}
	if len(view.Left) > 0 || view.Question != "" {
		view.Kind = render.UnblockWaits
		return render.UnblockAnswer(view), nil
	}
	again, err := d.Store.Reconsider(ctx, op.ID, r.Author, "approved the change of "+r.Command.Address)
	if err != nil && !errors.Is(err, store.ErrTransition) {
		return "", fmt.Errorf("go on with %s: %w", op, err)
	}
	if err != nil { // it went on before the answer was written
		if again, err = d.Store.Operation(ctx, op.ID); err != nil {
			return "", fmt.Errorf("read %s: %w", op, err)
		}
	}
	if err := d.applyQueued(ctx, again, nil); err != nil {
		return "", err
	}
	view.Kind = render.UnblockRuns
	view.Apply, err = d.pointApplyView(ctx, again, r.Number)
	return render.UnblockAnswer(view), err
}

// unblockPull approves a change that the newest plan of an open pull request shows and that its apply would
// wait for. It holds for the commit that was planned.
func (d *Deploy) unblockPull(ctx context.Context, r request, view render.UnblockAnswerView) (string, error) {
	newest, ok, err := d.newestPlan(ctx, r.Repository.ID, r.Number)
	if err != nil {
		return "", err
	}
	if !ok || newest.Result == nil || newest.Head != r.Pull.HeadSHA {
		return render.UnblockAnswer(view), nil
	}
	var held []string
	for _, target := range newest.Result.Targets {
		for _, risk := range target.Risks {
			if r.Config.Risk.Blocks(risk.Rule) && !slices.Contains(held, risk.Address) {
				held = append(held, risk.Address)
			}
		}
	}
	view.Environment, view.Left = newest.Environment, append(view.Left, held...)
	if !slices.Contains(held, r.Command.Address) {
		return render.UnblockAnswer(view), nil
	}
	own, err := d.isAuthor(ctx, newest, r.Author)
	if err != nil {
		return "", err
	}
	if own {
		view.Kind, view.Author = render.UnblockOwn, r.Author
		return render.UnblockAnswer(view), nil
	}
	if err := d.Store.Unblock(ctx, r.Repository.ID, newest.Environment, newest.Head, r.Command.Address, r.Author, r.Comment); err != nil {
		return "", fmt.Errorf("record the approval: %w", err)
	}
	approved, err := d.Store.Unblocked(ctx, r.Repository.ID, newest.Environment, []string{newest.Head})
	view.Kind = render.UnblockEarly
	view.Left = slices.DeleteFunc(held, func(address string) bool { return slices.Contains(approved, address) })
	return render.UnblockAnswer(view), wrap("find what is approved", err)
}

// ownYes reports whether a person would say yes to their own work in an environment that asks for other
// people's approvals: there, what nobody reviewed needs somebody else's yes, too.
func (d *Deploy) ownYes(ctx context.Context, r request, asked operation.Operation) (bool, error) {
	environment, _ := r.Config.Environment(asked.Environment)
	if environment.Approvals == 0 {
		return false, nil
	}
	return d.isAuthor(ctx, asked, r.Author)
}
