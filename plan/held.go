package plan

import (
	"cmp"
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
)

// Held lists what has to be approved of a plan's changes where some rules are held back: each object with each of these rules
// that it breaks once, sorted by object, then rule.
func Held(risks []operation.Risk, block []operation.RiskRule, changes []operation.Change) []operation.Held {
	there := map[object][]operation.Change{}
	for _, change := range changes {
		there[objectOf(change)] = append(there[objectOf(change)], change)
	}
	return heldBack(risks, block, func(of object) string { return ApprovalDigest(there[of]) })
}

func heldBack(risks []operation.Risk, block []operation.RiskRule, digest func(object) string) []operation.Held {
	var held []operation.Held
	for _, risk := range risks {
		if slices.Contains(block, risk.Rule) {
			held = append(held, operation.Held{
				Address: risk.Address, Deposed: risk.Deposed, Rule: risk.Rule, Change: digest(object{risk.Address, risk.Deposed}),
			})
		}
	}
	slices.SortFunc(held, func(a, b operation.Held) int {
		return cmp.Or(cmp.Compare(a.Address, b.Address), cmp.Compare(a.Deposed, b.Deposed), cmp.Compare(a.Rule, b.Rule))
	})
	return slices.Compact(held)
}

// ApprovalDigest names all that a plan does to one object, for the approval of it: Digest, but of attributes that are another
// in each plan as in Question, so that the approval still fits the plan that is made after it.
func ApprovalDigest(changes []operation.Change) string { return digest(changes, true) }
