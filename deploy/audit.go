package deploy

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// sameDecision reports whether a pull request was decided about in the same way before.
func sameDecision(a, b pullFacts) bool {
	return a.Decision.Verdict == b.Decision.Verdict && a.Base == b.Base && a.Problem == b.Problem &&
		slices.Equal(a.Decision.Reasons, b.Decision.Reasons)
}

// pullWords names a pull request and its branches.
func pullWords(facts pullFacts) string {
	return fmt.Sprintf("#%d, %s → %s", facts.Number, facts.HeadRef, facts.Base)
}

// auditDecision records what gitflow decided about something that somebody did.
func (d *Deploy) auditDecision(ctx context.Context, repo operation.Repository, decision gitflow.Decision, who, about string) error {
	if decision.Verdict == "" {
		return nil
	}
	environment := decision.Environment
	if environment == "" {
		environment = decision.Deploys
	}
	why := about
	if len(decision.Reasons) > 0 {
		why += ": " + strings.Join(decision.Reasons, " ")
	}
	return wrap("record the decision", d.Store.Append(ctx, store.Audit{
		Repository: repo.ID, Environment: environment, Who: who, What: "gitflow " + string(decision.Verdict), Why: why,
	}))
}

// auditRefusedPush records that a push is not applied, once for each commit.
func (d *Deploy) auditRefusedPush(
	ctx context.Context, repo operation.Repository, decision gitflow.Decision, seen BranchPushed, tip string,
) error {
	_, shown, err := d.Store.Surface(ctx, repo.ID, checkKey(tip, applyCheckName(decision.Deploys)))
	if err != nil || shown {
		return wrap("find the check of the push", err)
	}
	return d.auditDecision(ctx, repo, decision, seen.Actor, "push of "+short(tip)+" to "+seen.Branch)
}

// auditUnusable records that a command was refused because the configuration cannot be used.
func (d *Deploy) auditUnusable(ctx context.Context, r request) error {
	line := cmp.Or(r.Command.Line, "/"+r.Command.Name)
	return wrap("write audit", d.Store.Append(ctx, store.Audit{
		Repository: r.Repository.ID, Environment: r.Command.Environment, Who: r.Author, What: "refused " + line,
		Why: fmt.Sprintf("comment %d on #%d: the configuration cannot be used: %s", r.Comment, r.Number, r.Config.Problem),
	}))
}
