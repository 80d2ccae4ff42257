package deploy

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// blockedChange is one change that waits for a second person.
type blockedChange struct {
	operation.Held

	root string
}

// named reports whether a command names the change. It may leave out the root.
func (b blockedChange) named(address, root string) bool {
	return b.Address == address && (root == "" || b.root == root)
}

// labels are what a person writes behind /approve-replace for each of some changes: the address, and the root where
// several roots have that address.
func labels(blocked []blockedChange) []string {
	var names []string
	for _, one := range blocked {
		name := one.Address
		if slices.ContainsFunc(blocked, func(other blockedChange) bool { return other.Address == one.Address && other.root != one.root }) {
			name += " " + one.root
		}
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// rootsOf lists the roots of changes, each once.
func rootsOf(blocked []blockedChange) []string {
	var roots []string
	for _, one := range blocked {
		if !slices.Contains(roots, one.root) {
			roots = append(roots, one.root)
		}
	}
	return roots
}

// approveReplace takes a second person's yes to one change that the configuration holds back: of an apply
// that waits for it, or of an open pull request, before it is merged.
func (d *Deploy) approveReplace(ctx context.Context, r request) (string, error) {
	view := render.UnblockAnswerView{Kind: render.UnblockNothing, Address: r.Command.Address, Root: r.Command.Root, By: r.Author}
	waiting, err := d.Store.Operations(ctx, store.Filter{
		Repository: r.Repository.ID, Kinds: []operation.Kind{operation.Apply}, States: []operation.State{operation.Unconfirmed},
	})
	if err != nil {
		return "", fmt.Errorf("find what waits: %w", err)
	}
	ask := d.asking(r.Repository)
	type match struct {
		op      operation.Operation
		changes []blockedChange
	}
	var found []match
	for _, op := range waiting {
		if r.IsPull && !slices.Contains(op.Pulls, r.Number) {
			continue
		}
		blocked, err := d.stillBlocked(ctx, ask, op)
		if err != nil {
			return "", err
		}
		named := slices.DeleteFunc(slices.Clone(blocked), func(one blockedChange) bool { return !one.named(r.Command.Address, r.Command.Root) })
		if len(named) > 0 {
			found = append(found, match{op, named})
		}
		view.Left = append(view.Left, labels(blocked)...)
	}
	switch {
	case len(found) == 0 && r.IsPull && r.Pull.State == "open":
		return d.unblockPull(ctx, ask, r, view)
	case len(found) == 0:
		return render.UnblockAnswer(view), nil
	case len(found) > 1: // only where it was asked on an issue, as a rule: a pull request goes to one environment
		view.Kind = render.UnblockWhich
		for _, one := range found {
			view.Applies = append(view.Applies, one.op)
		}
		return render.UnblockAnswer(view), nil
	}
	if roots := rootsOf(found[0].changes); len(roots) > 1 {
		view.Kind, view.Roots, view.Environment = render.UnblockWhich, roots, found[0].op.Environment
		return render.UnblockAnswer(view), nil
	}
	return d.unblockApply(ctx, ask, r, found[0].op, found[0].changes, view)
}

// blockedIn lists the changes that an apply waits for a second person for.
func blockedIn(op operation.Operation) []blockedChange {
	var blocked []blockedChange
	if op.Result == nil {
		return nil
	}
	for _, target := range op.Result.Targets {
		held := target.Held
		if len(held) == 0 { // of a runner that told no more than the addresses: their approval has it look again
			for _, address := range target.Blocked {
				held = append(held, operation.Held{Address: address})
			}
		}
		for _, one := range held {
			blocked = append(blocked, blockedChange{one, target.Target.Root})
		}
	}
	return blocked
}

// asksForYes reports whether an apply waits for a yes, not only for approvals of blocked changes.
func asksForYes(op operation.Operation) bool {
	return op.Question != "" && op.Question != op.Confirmed
}

// stillBlocked lists the changes that an apply waits for a second person for and that nobody has approved yet.
func (d *Deploy) stillBlocked(ctx context.Context, ask *asking, op operation.Operation) ([]blockedChange, error) {
	blocked := blockedIn(op)
	if len(blocked) == 0 {
		return nil, nil
	}
	approved, err := d.approvedBlocked(ctx, ask, op)
	return slices.DeleteFunc(blocked, func(one blockedChange) bool {
		return slices.ContainsFunc(approved, func(second operation.Second) bool { return second.Root == one.root && second.Held == one.Held })
	}), err
}

// approvedBlocked lists the blocked changes that a second person approved for the candidate of an apply or for the head
// of a pull request that it carries. An approval by one who wrote a part of what is applied, or who asked for the apply, is
// none, also where it was given before that was so.
func (d *Deploy) approvedBlocked(ctx context.Context, ask *asking, op operation.Operation) ([]operation.Second, error) {
	heads := []string{op.Head}
	for _, number := range op.Pulls {
		facts, ok, err := d.pullFacts(ctx, op.Repository, number)
		if err != nil {
			return nil, err
		}
		if ok && facts.Head != "" && !slices.Contains(heads, facts.Head) {
			heads = append(heads, facts.Head)
		}
	}
	approvals, err := d.Store.Unblocked(ctx, op.Repository.ID, op.Environment, heads)
	if err != nil {
		return nil, fmt.Errorf("find which blocked changes were approved: %w", err)
	}
	var approved []operation.Second
	own := map[string]bool{}
	for _, approval := range approvals {
		if _, known := own[approval.Who]; !known {
			if own[approval.Who], err = d.hasPart(ctx, ask, op, approval.Who); err != nil {
				return nil, err
			}
		}
		if !own[approval.Who] {
			approved = append(approved, operation.Second{Root: approval.Target.Root, Held: approval.Held, Who: approval.Who})
		}
	}
	return approved, nil
}

// hasPart reports whether a person wrote a part of what an apply brings, or asked for it.
func (d *Deploy) hasPart(ctx context.Context, ask *asking, op operation.Operation, login string) (bool, error) {
	if strings.EqualFold(op.Actor, login) {
		return true, nil
	}
	return d.isAuthor(ctx, ask, op, login)
}

func (d *Deploy) unblockApply(ctx context.Context, ask *asking, r request, op operation.Operation, changes []blockedChange,
	view render.UnblockAnswerView,
) (string, error) {
	view.Environment, view.Left = op.Environment, nil
	own, err := d.hasPart(ctx, ask, op, r.Author)
	if err != nil {
		return "", err
	}
	if own {
		view.Kind, view.Author = render.UnblockOwn, r.Author
		return render.UnblockAnswer(view), nil
	}
	if err := d.approve(ctx, r, op, changes); err != nil {
		return "", err
	}
	left, err := d.stillBlocked(ctx, ask, op)
	if err != nil {
		return "", err
	}
	view.Left = labels(left)
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

// approve records a person's yes to changes, for the head of an operation.
func (d *Deploy) approve(ctx context.Context, r request, op operation.Operation, changes []blockedChange) error {
	approvals := make([]store.Approval, 0, len(changes))
	for _, change := range changes {
		approvals = append(approvals, store.Approval{
			Repository: r.Repository.ID, Target: operation.Target{Root: change.root, Environment: op.Environment}, Head: op.Head,
			Held: change.Held, Who: r.Author, Comment: r.Comment,
		})
	}
	return wrap("record the approval", d.Store.Unblock(ctx, approvals...))
}

// unblockPull approves a change that the newest plan of an open pull request shows and that its apply would
// wait for. It holds for the commit that was planned, and for that very change.
func (d *Deploy) unblockPull(ctx context.Context, ask *asking, r request, view render.UnblockAnswerView) (string, error) {
	newest, ok, err := d.newestPlan(ctx, r.Repository.ID, r.Number)
	if err != nil {
		return "", err
	}
	if !ok || newest.Result == nil || newest.Head != r.Pull.HeadSHA {
		return render.UnblockAnswer(view), nil
	}
	var blocked []blockedChange
	for _, target := range newest.Result.Targets {
		for _, held := range plan.Held(target.Risks, r.Config.Risk.Block, target.ChangeSet.Changes) {
			blocked = append(blocked, blockedChange{held, target.Target.Root})
		}
	}
	view.Environment, view.Left = newest.Environment, append(view.Left, labels(blocked)...)
	named := slices.DeleteFunc(slices.Clone(blocked), func(one blockedChange) bool { return !one.named(r.Command.Address, r.Command.Root) })
	switch roots := rootsOf(named); {
	case len(roots) == 0:
		return render.UnblockAnswer(view), nil
	case len(roots) > 1:
		view.Kind, view.Roots = render.UnblockWhich, roots
		return render.UnblockAnswer(view), nil
	}
	own, err := d.isAuthor(ctx, ask, newest, r.Author)
	if err != nil {
		return "", err
	}
	if own {
		view.Kind, view.Author = render.UnblockOwn, r.Author
		return render.UnblockAnswer(view), nil
	}
	if err := d.approve(ctx, r, newest, named); err != nil {
		return "", err
	}
	approvals, err := d.Store.Unblocked(ctx, r.Repository.ID, newest.Environment, []string{newest.Head})
	if err != nil {
		return "", fmt.Errorf("find what is approved: %w", err)
	}
	view.Kind = render.UnblockEarly
	view.Left = labels(slices.DeleteFunc(blocked, func(one blockedChange) bool {
		return slices.ContainsFunc(approvals, func(a store.Approval) bool { return a.Target.Root == one.root && a.Held == one.Held })
	}))
	return render.UnblockAnswer(view), nil
}

// ownYes reports whether a person would say yes to their own work in an environment that asks for other
// people's approvals: there, what nobody reviewed needs somebody else's yes, too.
func (d *Deploy) ownYes(ctx context.Context, r request, asked operation.Operation) (bool, error) {
	environment, _ := r.Config.Environment(asked.Environment)
	if environment.Approvals == 0 {
		return false, nil
	}
	return d.isAuthor(ctx, d.asking(r.Repository), asked, r.Author)
}
