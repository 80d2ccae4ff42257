package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Record is everything that was kept about one apply, to be checked again later.
type Record struct {
	Operation operation.Operation
	Evidence  operation.Evidence
	Entries   []operation.Entry             // of the ledger
	Plans     map[int64]operation.Operation // the plans that Evidence.Reviews names, by their number
	Yes       []Yes                         // of the audit
}

// Yes is somebody's yes to a question, as the audit has it.
type Yes struct {
	Who, Question string
}

// Verify checks the lines of the ledger about an apply against all else that was kept: that they are what
// the apply did, no more and no less; that each change is covered by what was reviewed where it says so; and
// that somebody said yes to every other one that nobody may leave unasked. It returns what does not hold,
// one sentence each.
func Verify(r Record) []string {
	var wrong []string
	sayf := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	left := slices.Clone(r.Entries)
	for _, target := range applied(r.Operation) {
		if target.ChangeSet.Omitted > 0 {
			sayf("%d changes of %s were too many to be kept, so that nobody can check them.", target.ChangeSet.Omitted, target.Target)
		}
		if target.ChangeSet.Omitted == 0 && Digest(target.ChangeSet.Changes) != target.ChangeSet.Digest {
			sayf("The changes that were kept of %s are not those of its digest.", target.Target)
		}
		for _, change := range target.ChangeSet.Changes {
			if change.Action == operation.Read {
				continue
			}
			i := slices.IndexFunc(left, func(entry operation.Entry) bool {
				return entry.Target == target.Target && encode(entry.Change) == encode(change)
			})
			if i < 0 {
				sayf("%s %s in %s was applied and is not in the ledger.", change.Action, change.Address, target.Target)
				continue
			}
			wrong = append(wrong, verifyEntry(r, target, left[i])...)
			left = slices.Delete(left, i, i+1)
		}
	}
	for _, entry := range left {
		sayf("%s %s in %s is in the ledger, but that apply did not make it.", entry.Change.Action, entry.Change.Address, entry.Target)
	}
	return append(wrong, verifyYes(r)...)
}

func applied(op operation.Operation) []operation.TargetResult {
	if op.Result == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(op.Result.Targets), func(target operation.TargetResult) bool {
		return target.Outcome != operation.Applied && target.Timings.Apply == 0
	})
}

func verifyEntry(r Record, target operation.TargetResult, entry operation.Entry) []string {
	name := fmt.Sprintf("%s %s in %s", entry.Change.Action, entry.Change.Address, entry.Target)
	listed := func(changes []operation.Change) bool {
		return slices.ContainsFunc(changes, func(change operation.Change) bool { return encode(change) == encode(entry.Change) })
	}
	switch {
	case listed(target.Unexpected):
		if entry.ConfirmedBy == "" {
			return []string{name + " was reviewed by nobody, and nobody said yes to it."}
		}
		return nil
	case listed(target.Tolerated):
		return nil
	case entry.Change.Cause == nil:
		return []string{name + " has no cause."}
	case entry.Change.Cause.Kind != operation.CauseReviewed:
		return []string{fmt.Sprintf("%s has the cause %q, but the apply neither asked about it nor noted it.", name, entry.Change.Cause.Kind)}
	}
	return verifyReviewed(r, name, entry)
}

// verifyReviewed checks that the plans of the pull requests that an entry names show it.
func verifyReviewed(r Record, name string, entry operation.Entry) []string {
	var shown []Review
	var approved []string
	for _, review := range r.Evidence.Reviews {
		if !slices.Contains(entry.Change.Cause.Pulls, review.Pull) {
			continue
		}
		approved = append(approved, review.Approved...)
		planned, ok := r.Plans[review.Plan]
		switch {
		case review.Missing != "":
			return []string{fmt.Sprintf("%s says that it was reviewed in #%d, which did not count: %s", name, review.Pull, review.Missing)}
		case !ok:
			return []string{fmt.Sprintf("%s says that it was reviewed in #%d, whose plan %d is not there.", name, review.Pull, review.Plan)}
		case planned.Head != review.Head:
			return []string{fmt.Sprintf("%s says that it was reviewed in #%d, whose plan %d is of another commit.", name, review.Pull, review.Plan)}
		case planned.Result == nil:
			continue
		}
		targets := planned.Result.Targets
		if group := r.Plans[review.Group].Result; group != nil {
			targets = slices.Concat(targets, group.Targets)
		}
		for _, target := range targets {
			if target.Target == entry.Target {
				shown = append(shown, Review{Pull: review.Pull, Set: target.ChangeSet})
			}
		}
	}
	sets := make([]operation.ChangeSet, 0, len(shown))
	for _, review := range shown {
		sets = append(sets, review.Set)
	}
	change := entry.Change
	change.Cause = nil
	if !Shown(Union(sets...), change) {
		return []string{fmt.Sprintf("%s says that it was reviewed in %s, where it was not shown.", name, numbers(entry.Change.Cause.Pulls))}
	}
	for _, who := range entry.ApprovedBy {
		if !slices.Contains(approved, who) {
			return []string{fmt.Sprintf("%s says that %s approved it, which was not seen when it was applied.", name, who)}
		}
	}
	return nil
}

// verifyYes checks that the yes that an apply rests on is in the audit.
func verifyYes(r Record) []string {
	if r.Operation.Result == nil || len(applied(r.Operation)) == 0 || r.Operation.Result.Question == "" {
		return nil
	}
	question := r.Operation.Result.Question
	if r.Operation.Confirmed != question {
		return []string{fmt.Sprintf("It asked about %.7s and was applied, but the yes was to %.7q.", question, r.Operation.Confirmed)}
	}
	if !slices.Contains(r.Yes, Yes{Who: r.Operation.ConfirmedBy, Question: question}) {
		return []string{fmt.Sprintf("The audit has no yes of %s to %.7s.", r.Operation.ConfirmedBy, question)}
	}
	return nil
}

func numbers(pulls []int) string {
	names := make([]string, 0, len(pulls))
	for _, pull := range pulls {
		names = append(names, fmt.Sprintf("#%d", pull))
	}
	return strings.Join(names, ", ")
}
