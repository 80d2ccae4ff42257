package render

import (
	"cmp"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// dangers orders the rules of the risk table, the most dangerous first. What is not in it comes last.
var dangers = map[operation.RiskRule]int{
	operation.RiskReplaceStateful: 1, operation.RiskDestroyStateful: 2, operation.RiskUnprotected: 3, operation.RiskPublic: 4,
	operation.RiskAccess: 5, operation.RiskForget: 6, operation.RiskReplace: 7, operation.RiskDestroy: 8,
}

// ordinary reports whether a risk is only what the list of destroyed and replaced objects says already.
func ordinary(risk operation.Risk) bool {
	return risk.Rule == operation.RiskDestroy || risk.Rule == operation.RiskReplace
}

// object is one object of one target: a deposed one beside the current one of the same address.
type object struct {
	target           operation.Target
	address, deposed string
}

// danger is a risk with the target that it is in.
type danger struct {
	operation.Risk

	target operation.Target
	done   bool // it is applied
}

// maxListed is how many entries of one list are ever written out. A text has room for fewer.
const maxListed = 1000

// dangersOf lists the risks of all targets that are more than a destroy or a replacement, the worst
// first, and how many there are of them and of those that were left out before.
func dangersOf(result *operation.Result) ([]danger, int) {
	var found []danger
	omitted := 0
	for _, target := range result.Targets {
		omitted += target.RisksOmitted
		for _, risk := range target.Risks {
			if !ordinary(risk) {
				found = append(found, danger{risk, target.Target, target.Outcome == operation.Applied})
			}
		}
	}
	rank := func(d danger) int {
		if at, ok := dangers[d.Rule]; ok {
			return at
		}
		return len(dangers) + 1
	}
	slices.SortStableFunc(found, func(a, b danger) int { return cmp.Compare(rank(a), rank(b)) })
	return found, omitted
}

// risks lists what is dangerous in a plan. It is never folded, and cut last of all.
func risks(result *operation.Result, resultURL string, limit int) *piece {
	if result == nil {
		return fixed("")
	}
	found, omitted := dangersOf(result)
	all := len(found) + omitted
	if len(found) == 0 {
		return fixed("")
	}
	changes := changesOf(result, found)
	lines := make([]string, 0, min(len(found), maxListed))
	for _, one := range found[:min(len(found), maxListed)] {
		lines = append(lines, riskLine(one, changes, len(result.Targets) > 1))
	}
	show := func(k int) string {
		text := "**Risks:**\n\n" + strings.Join(lines[:k], "")
		if k < all {
			text += "- and " + number(all-k) + " more" + listed(resultURL) + "\n"
		}
		return text
	}
	return shrinking(rankRisks, len(lines), limit, show, riskCounts(found, omitted, resultURL))
}

// changesOf finds the changes that the risks are about.
func changesOf(result *operation.Result, found []danger) map[object]operation.Change {
	wanted := map[object]bool{}
	for _, one := range found[:min(len(found), maxListed)] {
		wanted[object{one.target, one.Address, one.Deposed}] = true
	}
	changes := map[object]operation.Change{}
	for _, target := range result.Targets {
		for _, change := range target.ChangeSet.Changes {
			if key := (object{target.Target, change.Address, change.Deposed}); wanted[key] {
				changes[key] = change
			}
		}
	}
	return changes
}

func riskLine(risk danger, changes map[object]operation.Change, named bool) string {
	verb, ok := verbs[risk.Action]
	if !ok {
		verb = prose(string(risk.Action))
	}
	text := "- "
	switch {
	case risk.Action == operation.Delete:
		text += "− "
	case risk.Action.Destroys():
		text += "± "
	}
	text += code(risk.Address)
	if named {
		text += " in " + code(risk.target.Root)
	}
	if risk.Deposed != "" {
		text += " (only the old object " + code(risk.Deposed) + " of an unfinished replacement)"
	}
	text += isOrWas(risk.done) + verb
	change := changes[object{risk.target, risk.Address, risk.Deposed}]
	if risk.Action.Destroys() {
		if words := destroyReason(change); words != "" {
			text += " (" + words + ")"
		}
	}
	text += "."
	if risk.Reason != "" {
		text += " " + sentence(risk.Reason, "")
	}
	return text + "\n"
}

func isOrWas(done bool) string {
	if done {
		return " was "
	}
	return " is "
}

// kinds names the rules of the risk table, for one and for many.
var kinds = map[operation.RiskRule][2]string{
	operation.RiskDestroyStateful: {"thing that holds data is destroyed", "things that hold data are destroyed"},
	operation.RiskReplaceStateful: {"thing that holds data is replaced", "things that hold data are replaced"},
	operation.RiskUnprotected:     {"protection goes away", "protections go away"},
	operation.RiskAccess:          {"change of who may do what", "changes of who may do what"},
	operation.RiskPublic:          {"thing can be reached from the public network", "things can be reached from the public network"},
	operation.RiskForget:          {"object is not looked after any more", "objects are not looked after any more"},
}

// riskCounts is the shortest form of the list.
func riskCounts(found []danger, omitted int, resultURL string) string {
	counts := map[operation.RiskRule]int{}
	for _, one := range found {
		counts[one.Rule]++
	}
	var words []string
	for _, one := range found { // they are in order of danger
		n := counts[one.Rule]
		delete(counts, one.Rule)
		if kind, ok := kinds[one.Rule]; ok && n > 0 {
			words = append(words, several(n, kind[0], kind[1]))
		} else if n > 0 {
			words = append(words, several(n, "other risk", "other risks"))
		}
	}
	if omitted > 0 {
		words = append(words, number(omitted)+" more risks are not listed")
	}
	return "**Risks:** " + strings.Join(words, "; ") + ". They are too many to list here" + listed(resultURL) + "."
}

// questioned is a result with only the risks of what a person is asked about; with all where the
// question is about the whole plan.
func questioned(result *operation.Result) *operation.Result {
	if len(unexpected(result)) == 0 {
		return result
	}
	narrowed := *result
	narrowed.Targets = slices.Clone(result.Targets)
	for i, target := range narrowed.Targets {
		asked := map[string]bool{}
		for _, change := range target.Unexpected {
			asked[change.Address] = true
		}
		for _, address := range target.Blocked {
			asked[address] = true
		}
		narrowed.Targets[i].Risks = slices.DeleteFunc(slices.Clone(target.Risks), func(risk operation.Risk) bool { return !asked[risk.Address] })
		narrowed.Targets[i].RisksOmitted = 0
		if target.UnexpectedOmitted > 0 {
			narrowed.Targets[i].RisksOmitted = target.RisksOmitted
		}
	}
	return &narrowed
}
