package plan

import (
	"fmt"
	"maps"
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
	Audit     Audited
	Rules     *Rules // what the configuration asked for then; nil: not known

	// What Evidence and Entries are now, to be found in the audit as what they were then. Empty ones are not looked for.
	EvidenceMark, LedgerMark string
}

// Audited is what the audit says of an apply.
type Audited struct {
	Yes      []Yes
	Evidence []string // fingerprints of what each attempt rested on
	Ledger   []string // fingerprints of the lines that were written down
	What     []string // what became of it: "apply running", "apply succeeded"
}

// Yes is somebody's yes to a question, as the audit has it.
type Yes struct {
	Who, Question string
}

// Rules are what a configuration asks for of changes of one environment.
type Rules struct {
	Commit    string // of the default branch
	Binding   operation.Binding
	Approvals int
	After     []string // environments that come before
	Block     []operation.RiskRule
	Stateful  []string // types that hold data, beside those of the table
}

// Finding is one thing about an apply that does not hold, or that cannot be checked.
type Finding struct {
	Target    operation.Target // where; without a root the whole apply is meant
	Unchecked bool             // nothing is known to be wrong
	Text      string           // one sentence: what, and why it matters
}

// Verify checks the lines of the ledger about an apply against all else that was kept: that they are what
// the apply did, no more and no less; that each change is covered by what was reviewed where it says so, and
// the reviews are what they were and enough of them; that somebody said yes to every other one that nobody
// may leave unasked. It returns what does not hold, and what cannot be told.
func Verify(r Record) []Finding {
	v := verifier{Record: r}
	v.lines()
	v.reviews()
	for _, target := range applied(r.Operation) {
		v.target(target)
	}
	v.question()
	v.promotions()
	v.audit()
	return v.found
}

type verifier struct {
	Record

	found []Finding
	where operation.Target
	// lined are the lines of the ledger that an apply's changes have, and broken what is wrong with a pull request's review.
	lined  map[operation.Target][]operation.Entry
	broken map[int]bool
}

func (v *verifier) sayf(format string, args ...any) {
	v.found = append(v.found, Finding{Target: v.where, Text: fmt.Sprintf(format, args...)})
}

func (v *verifier) cannotf(format string, args ...any) {
	v.found = append(v.found, Finding{Target: v.where, Unchecked: true, Text: fmt.Sprintf(format, args...)})
}

// at says where what follows is about.
func (v *verifier) at(root string) {
	v.where = operation.Target{Root: root, Environment: v.Operation.Environment}
}

func applied(op operation.Operation) []operation.TargetResult {
	if op.Result == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(op.Result.Targets), func(target operation.TargetResult) bool {
		return target.Outcome != operation.Applied && target.Timings.Apply == 0
	})
}

func nameOf(change operation.Change) string {
	return fmt.Sprintf("%s %s", change.Action, change.Address)
}

// lines compares the ledger with what the apply did.
func (v *verifier) lines() {
	v.lined = map[operation.Target][]operation.Entry{}
	left := slices.Clone(v.Entries)
	for _, target := range applied(v.Operation) {
		v.where = target.Target
		if target.ChangeSet.Omitted > 0 {
			v.cannotf("%d changes were too many to be kept, so that nobody can check them.", target.ChangeSet.Omitted)
		} else if Digest(target.ChangeSet.Changes) != target.ChangeSet.Digest {
			v.sayf("The changes that were kept are not those of their digest: somebody has altered what the apply did.")
		}
		for _, change := range target.ChangeSet.Changes {
			if change.Action == operation.Read {
				continue
			}
			i := slices.IndexFunc(left, func(entry operation.Entry) bool {
				return entry.Target == target.Target && encode(entry.Change) == encode(change)
			})
			if i < 0 {
				v.sayf("%s was applied and is not in the ledger: nobody can say why it is there.", nameOf(change))
				continue
			}
			v.line(target, change, left[i])
			v.lined[target.Target] = append(v.lined[target.Target], left[i])
			left = slices.Delete(left, i, i+1)
		}
	}
	for _, entry := range left {
		v.where = entry.Target
		v.sayf("%s is in the ledger, but that apply did not make it.", nameOf(entry.Change))
	}
	v.at("")
	written := len(v.Entries)+len(v.Audit.Ledger) > 0
	if len(v.found) == 0 && written && v.LedgerMark != "" && !slices.Contains(v.Audit.Ledger, v.LedgerMark) {
		v.sayf("The lines of the ledger are not those that the audit says were written: somebody has altered one of the two.")
	}
}

// line compares what a line says beside the change.
func (v *verifier) line(target operation.TargetResult, change operation.Change, entry operation.Entry) {
	cause := causeIn(target, change)
	approved := v.Evidence.ApprovedBy(target.Target.Root, change, cause)
	switch {
	case entry.Change.Cause == nil:
		v.sayf("%s has no cause: nobody can say why it is there.", nameOf(change))
	case cause != nil && !sameCause(*cause, *entry.Change.Cause):
		v.sayf("%s has another cause in the ledger than the apply found: %s, not %s.", nameOf(change), why(*entry.Change.Cause), why(*cause))
	case entry.Commit != v.Operation.Head:
		v.sayf("%s is of %.7s in the ledger, but the apply was of %.7s.", nameOf(change), entry.Commit, v.Operation.Head)
	case entry.ConfirmedBy != "" && entry.ConfirmedBy != v.Operation.ConfirmedBy:
		v.sayf("%s has the yes of %s in the ledger, who was not asked.", nameOf(change), entry.ConfirmedBy)
	case entry.Attempted != (target.Outcome != operation.Applied):
		v.sayf("%s is not marked in the ledger as what it is: the apply ended as %q there.", nameOf(change), target.Outcome)
	}
	for _, who := range entry.ApprovedBy {
		if !slices.Contains(approved, who) {
			v.sayf("%s says that %s approved it, which was not seen when it was applied.", nameOf(change), who)
		}
	}
	for _, who := range approved {
		if !slices.Contains(entry.ApprovedBy, who) {
			v.sayf("%s lacks the approval of %s, which was seen when it was applied.", nameOf(change), who)
		}
	}
}

// causeIn is the cause that the apply found for a change.
func causeIn(target operation.TargetResult, change operation.Change) *operation.Cause {
	for _, list := range [][]operation.Change{target.Unexpected, target.Tolerated} {
		if i := indexIn(list, change); i >= 0 && list[i].Cause != nil {
			return list[i].Cause
		}
	}
	return change.Cause
}

func indexIn(changes []operation.Change, change operation.Change) int {
	return slices.IndexFunc(changes, func(other operation.Change) bool { return encode(other) == encode(change) })
}

func sameCause(a, b operation.Cause) bool {
	return a.Kind == b.Kind && a.Detail == b.Detail && slices.Equal(a.Pulls, b.Pulls)
}

// why is a cause in two or three words.
func why(cause operation.Cause) string {
	if len(cause.Pulls) > 0 {
		return string(cause.Kind) + " in " + numbers(cause.Pulls)
	}
	return string(cause.Kind)
}

// reviews checks the reviews that a line of the ledger names, each once.
func (v *verifier) reviews() {
	v.broken = map[int]bool{}
	named := map[int]int{}
	for _, entry := range v.Entries {
		if entry.Change.Cause == nil || entry.Change.Cause.Kind != operation.CauseReviewed {
			continue
		}
		for _, pull := range entry.Change.Cause.Pulls {
			named[pull]++
		}
	}
	v.at("")
	for _, pull := range slices.Sorted(maps.Keys(named)) {
		var problem string
		i := slices.IndexFunc(v.Evidence.Reviews, func(review operation.Review) bool { return review.Pull == pull })
		if i < 0 || !slices.Contains(v.Operation.Pulls, pull) {
			problem = "which the apply did not carry"
		} else {
			problem = v.review(v.Evidence.Reviews[i])
		}
		if problem != "" {
			v.broken[pull] = true
			v.sayf("%s in #%d, %s: nobody can tell that people saw it.",
				counted(named[pull], "change is said to be reviewed", "changes are said to be reviewed"), pull, problem)
		}
	}
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// review says what is wrong with one review; empty when nothing is.
func (v *verifier) review(review operation.Review) string {
	planned, ok := v.Plans[review.Plan]
	switch {
	case review.Missing != "":
		return "which did not count (" + strings.TrimSuffix(review.Missing, ".") + ")"
	case !ok:
		return fmt.Sprintf("whose plan %d is not there", review.Plan)
	case planned.Kind != operation.Plan || planned.Pull != review.Pull:
		return fmt.Sprintf("but operation %d is not a plan of it", review.Plan)
	case planned.Repository.ID != v.Operation.Repository.ID || planned.Environment != v.Operation.Environment:
		return fmt.Sprintf("but plan %d is not of this environment", review.Plan)
	case planned.Head != review.Head:
		return fmt.Sprintf("whose plan %d is of another commit", review.Plan)
	case planned.Ended.After(v.Operation.Started) && !v.Operation.Started.IsZero():
		return fmt.Sprintf("whose plan %d was made after the apply began", review.Plan)
	case planned.Result == nil:
		return fmt.Sprintf("whose plan %d has no result", review.Plan)
	}
	for _, target := range planned.Result.Targets {
		if target.ChangeSet.Omitted == 0 && Digest(target.ChangeSet.Changes) != target.ChangeSet.Digest {
			return fmt.Sprintf("but the changes of its plan %d are not those of its digest", review.Plan)
		}
	}
	return v.approvals(review)
}

// approvals says what is wrong with who approved; empty when nothing is.
func (v *verifier) approvals(review operation.Review) string {
	people := map[string]bool{}
	for _, who := range review.Approved {
		if slices.ContainsFunc(review.Authors, func(author string) bool { return strings.EqualFold(author, who) }) {
			return fmt.Sprintf("where %s is among those who approved and among its authors", who)
		}
		people[strings.ToLower(who)] = true
	}
	if v.Rules != nil && len(people) < v.Rules.Approvals {
		return fmt.Sprintf("which %s approved, where %s asked for %d at %.7s",
			counted(len(people), "person", "people"), v.Operation.Environment, v.Rules.Approvals, v.Rules.Commit)
	}
	return ""
}

// shownTo is what the reviews of an apply showed of a target; false where not all of it was kept.
func (v *verifier) shownTo(target operation.Target, counts func(operation.Review) bool) (operation.ChangeSet, bool) {
	var sets []operation.ChangeSet
	whole := true
	for _, review := range v.Evidence.Reviews {
		if review.Missing != "" || !counts(review) {
			continue
		}
		for _, id := range []int64{review.Plan, review.Group} {
			planned, ok := v.Plans[id]
			if id == 0 || !ok || planned.Result == nil {
				continue
			}
			for _, shown := range planned.Result.Targets {
				if shown.Target == target {
					sets = append(sets, shown.ChangeSet)
					whole = whole && shown.ChangeSet.Omitted == 0
				}
			}
		}
	}
	return Union(sets...), whole
}

// target checks that each change of a target was reviewed, confirmed or rightly tolerated.
func (v *verifier) target(target operation.TargetResult) {
	v.where = target.Target
	rules := v.risksOf(target)
	unruled := 0
	for _, entry := range v.lined[target.Target] {
		name := nameOf(entry.Change)
		switch {
		case entry.Change.Cause == nil: // said already
		case indexIn(target.Unexpected, entry.Change) >= 0:
			if entry.ConfirmedBy == "" {
				v.sayf("%s was reviewed by nobody, and nobody said yes to it.", name)
			}
		case indexIn(target.Tolerated, entry.Change) >= 0:
			change := target.Tolerated[indexIn(target.Tolerated, entry.Change)]
			if v.Rules == nil && !volatileCause(change) {
				unruled++
			}
			v.tolerated(change, rules[objectOf(change)])
		case entry.Change.Cause.Kind != operation.CauseReviewed:
			if target.ChangeSet.Omitted == 0 {
				v.sayf("%s has the cause %q, but the apply neither asked about it nor noted it.", name, entry.Change.Cause.Kind)
			}
		default:
			v.reviewed(entry, name)
		}
	}
	v.held(target)
	if unruled > 0 {
		v.cannotf("Whether %s without a yes cannot be told: the configuration of that time is not known.",
			counted(unruled, "change could be applied", "changes could be applied"))
	}
}

// held checks that a second person approved each change that the configuration holds back.
func (v *verifier) held(target operation.TargetResult) {
	if v.Rules == nil || target.ChangeSet.Omitted > 0 {
		return
	}
	for _, held := range Held(target.Risks, v.Rules.Block, target.ChangeSet.Changes) {
		if !slices.ContainsFunc(v.Evidence.Seconds, func(second operation.Second) bool {
			return second.Root == target.Target.Root && second.Held == held
		}) {
			v.sayf("%s was applied, and no second person had approved what %s holds back (%s).", held.Address, v.Operation.Environment, held.Rule)
		}
	}
}

// reviewed checks that the plans of the pull requests that an entry names show it.
func (v *verifier) reviewed(entry operation.Entry, name string) {
	pulls := entry.Change.Cause.Pulls
	if slices.ContainsFunc(pulls, func(pull int) bool { return v.broken[pull] }) {
		return // said already
	}
	change := entry.Change
	change.Cause = nil
	shown, whole := v.shownTo(entry.Target, func(review operation.Review) bool { return slices.Contains(pulls, review.Pull) })
	switch {
	case Shown(shown, change):
	case !whole:
		v.cannotf("%s says that it was reviewed in %s, whose plan was too long to be kept whole.", name, numbers(pulls))
	default:
		v.sayf("%s says that it was reviewed in %s, where it was not shown.", name, numbers(pulls))
	}
}

func volatileCause(change operation.Change) bool {
	return change.Cause != nil && change.Cause.Kind == operation.CauseVolatile
}

// risksOf are the risks of a target's changes: those that the apply noted, and those that the table knows.
func (v *verifier) risksOf(target operation.TargetResult) map[object][]operation.RiskRule {
	var stateful []string
	if v.Rules != nil {
		stateful = v.Rules.Stateful
	}
	rules := map[object][]operation.RiskRule{}
	for _, risk := range slices.Concat(target.Risks, Risks(target.ChangeSet, stateful)) {
		key := object{risk.Address, risk.Deposed}
		if !slices.Contains(rules[key], risk.Rule) {
			rules[key] = append(rules[key], risk.Rule)
		}
	}
	return rules
}

// tolerated checks that a change which nobody reviewed needed no yes, as Explain decides it.
func (v *verifier) tolerated(change operation.Change, rules []operation.RiskRule) {
	steady := !slices.ContainsFunc(change.Attributes, func(a operation.Attribute) bool { return a.Volatile })
	if volatileCause(change) {
		if steady {
			v.sayf("%s was applied without a yes as volatile, but none of its values is.", nameOf(change))
			return
		}
		if v.onlyValues(change) {
			rules = slices.DeleteFunc(slices.Clone(rules), func(rule operation.RiskRule) bool { return !ofValues(rule) })
		}
	}
	switch {
	case len(rules) > 0:
		v.sayf("%s was reviewed by nobody and applied without a yes, although it carries a risk (%s).", nameOf(change), rules[0])
	case v.Rules != nil && v.Rules.Binding != operation.BindNoNewRisk && !volatileCause(change):
		v.sayf("%s was reviewed by nobody and applied without a yes, although the binding of %s was %s at %.7s.",
			nameOf(change), v.Operation.Environment, v.Rules.Binding, v.Rules.Commit)
	}
}

// onlyValues reports whether a change was reviewed but for volatile values.
func (v *verifier) onlyValues(change operation.Change) bool {
	paths := map[string]bool{}
	for _, attribute := range change.Attributes {
		if attribute.Volatile {
			paths[attribute.Path] = true
		}
	}
	shown, _ := v.shownTo(v.where, func(operation.Review) bool { return true })
	shown.Changes = slices.Clone(shown.Changes)
	for i := range shown.Changes {
		shown.Changes[i].Attributes = omit(shown.Changes[i].Attributes, paths)
	}
	change.Attributes, change.Cause = omit(change.Attributes, paths), nil
	return Shown(shown, change)
}

// question checks that the apply asked what it had to, and that the yes that it rests on is in the audit.
func (v *verifier) question() {
	v.at("")
	if len(applied(v.Operation)) == 0 {
		return
	}
	asked := map[operation.Target]string{}
	for _, target := range v.Operation.Result.Targets {
		if len(target.Unexpected) == 0 {
			continue
		}
		asked[target.Target] = target.UnexpectedDigest
		if target.UnexpectedOmitted == 0 && digest(target.Unexpected, true) != target.UnexpectedDigest {
			v.where = target.Target
			v.sayf("The changes that nobody reviewed are not those that were asked about: the yes was to something else.")
			return
		}
	}
	for _, doubt := range v.Evidence.Doubts {
		if !slices.Contains(v.Operation.Agreed, doubt.Key) {
			v.sayf("Nobody said yes to this, which had to be asked about: %s", doubt.Text)
		}
	}
	question := v.Operation.Result.Question
	switch {
	case question == "" && len(asked) == 0:
	case len(asked) == 0 && len(v.Evidence.Doubts) == 0:
		v.sayf("It asked about %.7s, but nothing is kept that it could have asked about: somebody has removed that.", question)
	case v.Operation.Confirmed != question:
		v.sayf("It asked about %.7s and was applied, but the yes was to %.7q.", question, v.Operation.Confirmed)
	case len(asked) > 0 && QuestionOf(asked, operation.DoubtLines(v.Operation.ConfirmedDoubts), v.Operation.Head) != question:
		v.sayf("The question %.7s is not the one that its changes and doubts ask: the yes was to something else.", question)
	case !slices.Contains(v.Audit.Yes, Yes{Who: v.Operation.ConfirmedBy, Question: question}):
		v.sayf("The audit has no yes of %s to %.7s: nobody can tell that it was given.", v.Operation.ConfirmedBy, question)
	}
}

// promotions checks that what comes after other environments was applied there, or that somebody said yes to that it was not.
// That the yes was to this doubt is in the question.
func (v *verifier) promotions() {
	if v.Rules == nil {
		return
	}
	for _, target := range applied(v.Operation) {
		v.at(target.Target.Root)
		for _, stage := range v.Rules.After {
			i := slices.IndexFunc(v.Evidence.Promotions, func(p operation.Promotion) bool {
				return p.Root == target.Target.Root && p.Stage == stage
			})
			proven := i >= 0 && v.Evidence.Promotions[i].Proven()
			if !proven && v.Evidence.Doubt == "" && v.Evidence.Content[target.Target.Root] != "" {
				v.sayf("Nothing says that this content was applied in %s before, and nobody was asked about that.", stage)
			}
		}
	}
}

// audit checks that the audit tells of the apply and of what it rested on.
func (v *verifier) audit() {
	v.at("")
	if len(applied(v.Operation)) == 0 {
		return
	}
	for _, what := range []string{
		string(v.Operation.Kind) + " " + string(operation.Running), string(v.Operation.Kind) + " " + string(v.Operation.State),
	} {
		if !slices.Contains(v.Audit.What, what) {
			v.sayf("The audit has no line %q about it: lines of the audit are never removed by Switchyard.", what)
		}
	}
	switch {
	case v.EvidenceMark == "" || slices.Contains(v.Audit.Evidence, v.EvidenceMark):
	case len(v.Audit.Evidence) == 0:
		v.sayf("The audit does not say what it rested on, so that nobody can tell whether reviews and approvals are what they were.")
	default:
		v.sayf("Its reviews, approvals or applied commits are not those that the audit says it rested on: somebody has altered them.")
	}
}

func numbers(pulls []int) string {
	names := make([]string, 0, len(pulls))
	for _, pull := range pulls {
		names = append(names, fmt.Sprintf("#%d", pull))
	}
	return strings.Join(names, ", ")
}
