package sandbox

import (
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox/workflow"
)

// Limits of answers to a custom deployment protection rule: status reports for each deployment, and characters of a comment.
// https://docs.github.com/en/actions/how-tos/deploy/configure-and-manage-deployments/create-custom-protection-rules
const (
	maxGateReports = 10
	maxGateComment = 1024
)

// decision is what became of something that was asked for.
type decision int

const (
	undecided decision = iota
	approved
	rejected
)

// gate is one job that wants to deploy to a protected environment.
type gate struct {
	job         *job
	environment *environment
	deployment  *deployment
	since       time.Time
	reviewers   decision
	reviewer    *account           // whose decision that is; nil: nobody's
	rules       map[int64]decision // of custom rules
	reports     []string
	bypassed    bool
	closed      bool // the job goes on, or has ended
}

// newGate is of an environment as it is now.
func newGate(j *job, e *environment, d *deployment, now time.Time) *gate {
	g := &gate{job: j, environment: e, deployment: d, since: now, rules: map[int64]decision{}}
	if len(e.reviewers) == 0 {
		g.reviewers = approved
	}
	for _, rule := range e.gates {
		g.rules[rule] = undecided
	}
	return g
}

// open reports whether anybody's answer still matters.
func (g *gate) open() bool { return !g.closed && !g.bypassed && g.verdict() == undecided }

// review is the word of a required reviewer.
func (g *gate) review(by *account, approve bool) {
	g.reviewers, g.reviewer = rejected, by
	if approve {
		g.reviewers = approved
	}
}

// verdict is what people and rules said, without the timer.
func (g *gate) verdict() decision {
	decided := []decision{g.reviewers}
	for _, rule := range g.rules {
		decided = append(decided, rule)
	}
	switch {
	case slices.Contains(decided, rejected):
		return rejected
	case slices.Contains(decided, undecided):
		return undecided
	default:
		return approved
	}
}

// settled is the verdict, with the timer.
func (g *gate) settled(now time.Time) decision {
	switch verdict := g.verdict(); {
	case g.bypassed:
		return approved
	case verdict == approved && now.Before(g.since.Add(g.environment.wait)):
		return undecided
	default:
		return verdict
	}
}

// admits reports whether a run with this GITHUB_REF may deploy to the environment.
// https://docs.github.com/en/actions/reference/workflows-and-actions/deployments-and-environments#deployment-branches-and-tags
func (e *environment) admits(ref string, protected []string) bool {
	branch, isBranch := strings.CutPrefix(ref, "refs/heads/")
	tag, isTag := strings.CutPrefix(ref, "refs/tags/")
	switch {
	case e.protectedOnly:
		return len(protected) == 0 || isBranch && slices.Contains(protected, branch)
	case !e.custom:
		return true
	}
	return slices.ContainsFunc(e.policies, func(p branchPolicy) bool {
		switch {
		case isTag:
			return p.kind == "tag" && workflow.MatchPolicy(p.name, tag)
		case isBranch:
			return p.kind != "tag" && workflow.MatchPolicy(p.name, branch)
		default: // refs/pull/N/merge
			return p.kind != "tag" && workflow.MatchPolicy(p.name, ref)
		}
	})
}
