package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// Checks belong to a commit, and a commit can be the head of several pull requests: what is shown on it
// must be right for each of them. A green check of one must never let another one through.

// maxRounds bounds how often something is shown again because it changed while it was written down.
const maxRounds = 10

// steady shows something until what it was made from is the same before and after: another job may
// change that meanwhile. What show has refused with store.ErrMoved, because it came too late, is shown anew.
func steady[T any](look func() (T, error), same func(a, b T) bool, show func(T) error) error {
	before, err := look()
	if err != nil {
		return err
	}
	for range maxRounds {
		late := show(before)
		if late != nil && !errors.Is(late, store.ErrMoved) {
			return late
		}
		after, err := look()
		if err != nil || late == nil && same(before, after) {
			return err
		}
		before = after
	}
	return fmt.Errorf("it changed %d times while it was shown", maxRounds)
}

// seenKey is the key, in a context, of what the things are made from that are shown with it.
type seenKey struct{}

// madeFrom says what the things are made from that are shown with a context. Where that moves on before one of them is
// recorded, whoever moved it may have shown the newer already: this one is then refused with store.ErrMoved.
func madeFrom(ctx context.Context, seen *store.Seen) context.Context {
	return context.WithValue(ctx, seenKey{}, seen)
}

// seenOf is what the things that are shown with a context are made from; nil is nothing that moves.
func seenOf(ctx context.Context) *store.Seen {
	seen, _ := ctx.Value(seenKey{}).(*store.Seen)
	return seen
}

// openAt reads the open pull requests that have a commit as their head and are shown at all.
func (d *Deploy) openAt(ctx context.Context, repo int64, head string) ([]pullFacts, error) {
	rows, err := d.Store.PullsAt(ctx, repo, head)
	if err != nil {
		return nil, fmt.Errorf("find the pull requests of %s: %w", short(head), err)
	}
	var open []pullFacts
	for _, row := range rows {
		var facts pullFacts
		if err := json.Unmarshal(row, &facts); err != nil { //nolint:musttag // see pullFacts
			return nil, fmt.Errorf("read a pull request of %s: %w", short(head), err)
		}
		if facts.State == "open" && !facts.Silent {
			open = append(open, facts)
		}
	}
	return open, nil
}

// wantFlowCheck wants the gitflow check of a commit: the verdict on the worst of its open pull requests.
func (d *Deploy) wantFlowCheck(ctx context.Context, repo operation.Repository, head string) error {
	ctx = madeFrom(ctx, nil) // it is not about operations
	look := func() ([]pullFacts, error) { return d.openAt(ctx, repo.ID, head) }
	return steady(look, sameFlow, func(open []pullFacts) error {
		if len(open) == 0 {
			return nil
		}
		ctx := forWhom(ctx, !slices.ContainsFunc(open, wantedByPeople))
		worstFirst := slices.SortedStableFunc(slices.Values(open), func(a, b pullFacts) int {
			return severity(flowConclusion(b)) - severity(flowConclusion(a))
		})
		return d.wantFlow(ctx, repo, head, worstFirst)
	})
}

func (d *Deploy) wantFlow(ctx context.Context, repo operation.Repository, head string, worstFirst []pullFacts) error {
	views := make([]render.FlowView, len(worstFirst))
	for i, facts := range worstFirst {
		views[i] = render.FlowView{
			Pull: facts.Number, Gitflow: facts.Decision, Problem: facts.Problem, Proposed: facts.Proposed, Repairs: facts.Repairs,
		}
	}
	flow := check("switchyard / gitflow", head, render.FlowCheck(views))
	flow.Status, flow.Conclusion = "completed", flowConclusion(worstFirst[0])
	return d.wantCheck(ctx, repo, flow, time.Time{})
}

func wantedByPeople(facts pullFacts) bool { return !facts.onlyForBots() }

func sameFlow(a, b []pullFacts) bool {
	return slices.EqualFunc(a, b, func(x, y pullFacts) bool {
		return x.Number == y.Number && x.Base == y.Base && x.Decision.Title == y.Decision.Title && flowConclusion(x) == flowConclusion(y)
	})
}

// severity orders conclusions by how much they hold a merge back; "" is a check that goes on.
func severity(conclusion string) int {
	switch conclusion {
	case "success":
		return 0
	case "neutral":
		return 1
	case "cancelled", "action_required":
		return 2
	case "failure":
		return 3
	default:
		return 4
	}
}

func flowConclusion(facts pullFacts) string {
	switch {
	case facts.Problem != "" && facts.Repairs:
		return "neutral" // else nobody could ever repair it where this check is required
	case facts.Problem != "", facts.Proposed != "":
		return "failure"
	case facts.Decision.Advice, facts.Decision.Verdict == gitflow.Neutral:
		return "neutral"
	case facts.Decision.Verdict == gitflow.Refused:
		return "failure"
	default:
		return "success"
	}
}

// others are the open pull requests, but for one, that a check on a commit for an environment is about too.
func (d *Deploy) others(ctx context.Context, repo int64, head, environment string, but int) ([]pullFacts, error) {
	open, err := d.openAt(ctx, repo, head)
	return slices.DeleteFunc(open, func(facts pullFacts) bool {
		return facts.Number == but || facts.Decision.Environment != environment || facts.Problem != ""
	}), err
}

// wantPlanCheck wants the plan check of a pull request's head, unless another open pull request with
// the same head and environment has a worse one.
func (d *Deploy) wantPlanCheck(ctx context.Context, repo operation.Repository, facts pullFacts, view render.PullView) error {
	wanted := planCheckOf(facts, view)
	others, err := d.others(ctx, repo.ID, facts.Head, facts.Decision.Environment, facts.Number)
	if err != nil {
		return err
	}
	for _, other := range others {
		view, err := d.pullView(ctx, repo, other)
		if err != nil {
			return err
		}
		if c := planCheckOf(other, view); severity(c.Conclusion) > severity(wanted.Conclusion) {
			wanted = c
			wanted.Title = fmt.Sprintf("#%d: %s", other.Number, c.Title)
		}
	}
	ctx = forWhom(ctx, !slices.ContainsFunc(append(others, facts), wantedByPeople))
	notBefore := time.Time{}
	switch wanted.Status {
	case hub.CheckQueued: // no plan waits for another
		notBefore = d.Clock.Now().Add(later)
	case hub.CheckInProgress:
		shown, err := d.shownAsOpen(ctx, repo.ID, checkKey(wanted.HeadSHA, wanted.Name))
		if err != nil {
			return err
		}
		if shown { // that it goes on is worth another write only when it does so for a while
			notBefore = d.Clock.Now().Add(muchLater)
		}
	}
	return d.wantCheck(ctx, repo, wanted, notBefore)
}

// shownAsOpen reports whether GitHub shows, or is about to show, that a check runs, or shows that it waits.
func (d *Deploy) shownAsOpen(ctx context.Context, repo int64, key string) (bool, error) {
	surface, ok, err := d.Store.Surface(ctx, repo, key)
	if err != nil || !ok {
		return false, wrap("find the check", err)
	}
	var shown hub.Check
	if err := json.Unmarshal(surface.Wanted, &shown); err != nil { //nolint:musttag // hub.Check is written and read here only
		return false, fmt.Errorf("read what %s should show: %w", key, err)
	}
	return shown.Status == hub.CheckInProgress || shown.Status == hub.CheckQueued && surface.Written == surface.Version, nil
}

// endCheck ends the check of a plan that nobody waits for any more, in words, unless an open pull
// request with the same head is still about it.
func (d *Deploy) endCheck(ctx context.Context, op operation.Operation, why string) error {
	others, err := d.others(ctx, op.Repository.ID, op.Head, op.Environment, op.Pull)
	if err != nil || len(others) > 0 {
		return err
	}
	return d.showPlanCheck(ctx, operation.Operation{
		ID: op.ID, Kind: operation.Plan, Repository: op.Repository, Environment: op.Environment, Pull: op.Pull, Head: op.Head,
		State: operation.Superseded, Message: why,
	})
}

// showPlan brings everything up to date that shows a plan.
func (d *Deploy) showPlan(ctx context.Context, op operation.Operation) error {
	if op.Pull == 0 {
		return d.keepShown(ctx, &op, func(ctx context.Context) error { return d.showPlanCheck(ctx, op) })
	}
	if err := d.showPull(ctx, op.Repository, op.Pull); err != nil {
		return err
	}
	facts, ok, err := d.pullFacts(ctx, op.Repository, op.Pull)
	if err != nil || !ok || facts.Silent {
		return err
	}
	if err := d.lookIfOutdated(ctx, op); err != nil {
		return err
	}
	ctx = forWhom(ctx, facts.onlyForBots())
	switch {
	case !op.State.Ended():
		return nil
	case op.State == operation.Superseded:
		if facts.Head == op.Head && facts.Decision.Environment == op.Environment && facts.State == "open" {
			return nil // the plan that took its place has the check now
		}
		return d.endCheck(ctx, op, op.Message)
	case facts.Head == op.Head && facts.State == "open" && facts.Decision.Environment != op.Environment:
		return d.endCheck(ctx, op, otherBase(facts))
	case facts.Head != op.Head || facts.State != "open":
		others, err := d.others(ctx, op.Repository.ID, op.Head, op.Environment, op.Pull)
		if err != nil || len(others) > 0 {
			return err
		}
		return d.showPlanCheck(ctx, op) // it ended just before the newer head came
	}
	return nil
}

// otherBase says why a check for another environment is over.
func otherBase(facts pullFacts) string {
	return "The pull request goes to " + facts.Base + " now."
}

// leaveBase ends the plan check for the environment that a pull request went to before its base changed.
func (d *Deploy) leaveBase(ctx context.Context, repo operation.Repository, facts pullFacts) error {
	old, ok, err := d.pullFacts(ctx, repo, facts.Number)
	if err != nil || !ok || old.Silent || old.Decision.Environment == "" || old.Head != facts.Head ||
		old.Decision.Environment == facts.Decision.Environment {
		return err
	}
	if _, shown, err := d.Store.Surface(ctx, repo.ID, checkKey(old.Head, planCheckName(old.Decision.Environment))); err != nil || !shown {
		return wrap("find the check of the old base", err)
	}
	return d.endCheck(ctx, operation.Operation{
		Repository: repo, Environment: old.Decision.Environment, Pull: facts.Number, Head: old.Head,
	}, otherBase(facts))
}

// lookAtOthers has the other pull requests of a head looked at again: one of them may have been closed
// without a word, and what this one shows depends on them.
func (d *Deploy) lookAtOthers(ctx context.Context, repo operation.Repository, facts pullFacts) error {
	open, err := d.openAt(ctx, repo.ID, facts.Head)
	if err != nil {
		return err
	}
	for _, other := range open {
		if other.Number == facts.Number {
			continue
		}
		if err := d.enqueue(ctx, PullSeen{Repository: repo, Number: other.Number, Bot: other.onlyForBots()}.Job()); err != nil {
			return fmt.Errorf("queue #%d: %w", other.Number, err)
		}
	}
	return nil
}

func planCheckOf(facts pullFacts, view render.PullView) hub.Check {
	c := check(planCheckName(facts.Decision.Environment), facts.Head, render.PlanCheck(view))
	c.Status, c.Conclusion = "completed", "neutral"
	if view.Plan != nil {
		c.Status, c.Conclusion = checkState(*view.Plan)
		c.ExternalID = strconv.FormatInt(view.Plan.ID, 10)
		c.Started, c.Completed = view.Plan.Started, view.Plan.Ended
		if view.Plan.State.Ended() {
			c.Actions = []hub.CheckAction{{Label: "Plan again", Description: "Plan this pull request once more.", Identifier: "plan"}}
		}
	} else if facts.Merge == "" && !facts.Fork && facts.Decision.Verdict != gitflow.Refused {
		c.Conclusion = "success" // no root is changed
	}
	return c
}
