package runner

import (
	"fmt"
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// verdict is whether an apply goes on after all its targets were planned.
type verdict struct {
	proceed  bool
	question string                   // what a person is asked about; empty when there is nothing to ask
	results  []operation.TargetResult // when it does not go on: how each target ends
}

// decide looks at the plans of all targets of an apply. It goes on only when every one could be planned, and when there
// is nothing to ask, or a person has said yes to exactly what would be asked now. Otherwise no target is applied. A yes is
// not enough where a risk is blocked: each such address must be approved.
func decide(task operation.Task, planned []operation.TargetResult) verdict {
	results := append([]operation.TargetResult{}, planned...)
	for _, result := range planned {
		if reason := obstacle(result); reason != "" {
			return verdict{results: stopPlanned(results, "Not applied: "+reason+", and nothing is applied unless every root can be planned.")}
		}
	}
	unexpected, blocked := map[operation.Target][]operation.Change{}, map[operation.Target][]string{}
	for _, result := range planned {
		unexpected[result.Target], blocked[result.Target] = result.Unexpected, result.Blocked
	}
	doubt := task.Doubt
	if !task.Undoes && !slices.ContainsFunc(planned, func(r operation.TargetResult) bool { return r.Outcome != operation.Unchanged }) {
		doubt = "" // a plan without changes asks nothing, unless the candidate takes commits back
	}
	question, stop := plan.Question(unexpected, doubt, task.Commit), plan.BlockedQuestion(blocked)
	if stop == "" && (question == "" || question == task.Confirmed) {
		return verdict{proceed: true, question: question, results: results}
	}
	why := "Not applied: other roots of this operation have changes that nobody reviewed."
	if question == "" {
		why = "Not applied: other roots of this operation have changes that must be approved first."
		question = stop
	}
	if doubt != "" {
		why = "Not applied: a yes is needed first. " + doubt
	}
	for i := range results {
		if len(results[i].Unexpected) > 0 || len(results[i].Blocked) > 0 {
			results[i].Outcome = operation.Different
		}
	}
	return verdict{question: question, results: stopPlanned(results, why)}
}

// obstacle says in words why a target could not be planned; empty when it was.
func obstacle(result operation.TargetResult) string {
	switch result.Outcome {
	case operation.TargetFailed:
		return fmt.Sprintf("%s could not be planned", result.Target)
	case operation.Locked:
		return fmt.Sprintf("the state of %s is locked", result.Target)
	case operation.TargetStopped:
		return "the operation was stopped"
	case operation.Planned, operation.Unchanged, operation.Applied, operation.Different:
		return ""
	default:
		return fmt.Sprintf("%s ended as %q", result.Target, result.Outcome)
	}
}

// stopPlanned marks the targets that were planned as not applied.
func stopPlanned(results []operation.TargetResult, why string) []operation.TargetResult {
	for i := range results {
		if results[i].Outcome == operation.Planned {
			results[i].Outcome = operation.TargetStopped
			results[i].Error = why
		}
	}
	return results
}
