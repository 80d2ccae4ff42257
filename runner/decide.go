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
// is nothing to ask, or a person has said yes to exactly the changes that would be asked about now and to each doubt.
// Otherwise no target is applied. A yes is not enough where a risk is blocked: each such address must be approved.
func decide(task operation.Task, planned []operation.TargetResult) verdict {
	results := append([]operation.TargetResult{}, planned...)
	for _, result := range planned {
		if reason := obstacle(result); reason != "" {
			return verdict{results: stopPlanned(results, "Not applied: "+reason+", and nothing is applied unless every root can be planned.")}
		}
	}
	unexpected, blocked := map[operation.Target]string{}, map[operation.Target][]string{}
	for _, result := range planned {
		unexpected[result.Target], blocked[result.Target] = result.UnexpectedDigest, result.Blocked
	}
	doubts := task.Doubts
	if !slices.ContainsFunc(planned, func(r operation.TargetResult) bool { return r.Outcome != operation.Unchanged }) {
		// A plan without changes asks nothing, unless the candidate takes commits back.
		doubts = slices.DeleteFunc(slices.Clone(doubts), func(doubt operation.Doubt) bool { return !doubt.Undoes })
	}
	question, stop := ask(task, unexpected, doubts), plan.BlockedQuestion(blocked)
	if stop == "" && (question == "" || question == task.Confirmed) {
		return verdict{proceed: true, question: question, results: results}
	}
	why := "Not applied: other roots of this operation have changes that nobody reviewed."
	if question == "" {
		why = "Not applied: other roots of this operation have changes that must be approved first."
		question = stop
	}
	if left := doubts.Without(task.Agreed); len(left) > 0 {
		why = "Not applied: a yes is needed first. " + left.Text()
	}
	for i := range results {
		if len(results[i].Unexpected) > 0 || len(results[i].Blocked) > 0 {
			results[i].Outcome = operation.Different
		}
	}
	return verdict{question: question, results: stopPlanned(results, why)}
}

// ask is the digest of what a person is asked about: the changes, and the doubts that nobody has said yes to yet. It is that
// of the yes where nothing is left of this but what it was to; empty where nothing needs one.
func ask(task operation.Task, unexpected map[operation.Target]string, doubts operation.Doubts) string {
	left := doubts.Without(task.Agreed)
	changes := plan.QuestionOf(unexpected, "", "")
	switch {
	case len(left) > 0:
	case changes == "" && len(doubts) == 0:
		return ""
	case changes == "", plan.QuestionOf(unexpected, operation.DoubtLines(task.ConfirmedDoubts), task.Commit) == task.Confirmed:
		return task.Confirmed // also where doubts that it was to have gone since
	}
	return plan.QuestionOf(unexpected, operation.DoubtLines(left.Keys()), task.Commit)
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
