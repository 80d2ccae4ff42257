package repoconfig

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// maxMaskSize bounds how much work one expression can make for each character of a text, in steps of its compiled form:
// `.{1000}` written often enough would otherwise cost more than the plan that it is to mask.
const maxMaskSize = 2_000

var typeForm = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)

// promotion checks the environments that an environment comes after: each exists, and no chain of them comes back.
func (v *validator) promotion() {
	names := v.config.EnvironmentNames()
	for _, environment := range v.config.Environments {
		for i, name := range environment.After {
			where := fmt.Sprintf("environments.%s.after[%d]", environment.Name, i)
			switch {
			case name == "": // said where it was decoded
			case name == environment.Name:
				v.problemf(v.at(where), "`%s` is %s itself. Name the environment that comes before it, or remove it.", show(where), quote(name))
			case !slices.Contains(names, name):
				v.problemf(v.at(where), "environment %s in `after` is not defined. Defined: %s.%s",
					quote(name), chained(names, ", "), meantName(name, names))
			case slices.Contains(environment.After[:i], name):
				v.problemf(v.at(where), "`%s` is %s, which stands in the list already. Keep one.", show(where), quote(name))
			default:
				v.cycle(where, environment.Name, name)
			}
		}
	}
}

// cycle refuses a chain of `after` that comes back to where it began: none of its environments could ever be applied.
func (v *validator) cycle(where, environment, first string) {
	chain := v.chain(first, environment, map[string]bool{})
	if chain == nil {
		return
	}
	for _, name := range chain {
		if slices.Index(v.order["environments"], name) < slices.Index(v.order["environments"], environment) {
			return // said at the environment of the circle that stands first in the file
		}
	}
	v.problemf(v.at(where), "`%s` makes a circle: %s. Each would wait for the other, so remove one of these `after`.",
		show(where), chained(append([]string{environment}, chain...), " after "))
}

// chain is the way over `after` from one environment to another, with both; nil if there is none.
func (v *validator) chain(from, to string, seen map[string]bool) []string {
	if from == to {
		return []string{to}
	}
	environment, ok := v.config.Environment(from)
	if !ok || seen[from] {
		return nil
	}
	seen[from] = true
	for _, next := range environment.After {
		if rest := v.chain(next, to, seen); rest != nil {
			return append([]string{from}, rest...)
		}
	}
	return nil
}

// regions checks names that will be looked for in addresses and values.
func (v *validator) regions() {
	for _, environment := range v.config.Environments {
		for i, region := range environment.Regions {
			where := fmt.Sprintf("environments.%s.regions[%d]", environment.Name, i)
			twice := slices.ContainsFunc(environment.Regions[:i], func(other string) bool { return strings.EqualFold(other, region) })
			switch {
			case region == "": // said where it was decoded
			case !nameForm.MatchString(region):
				v.problemf(v.at(where), "`%s` is %s. Write the region's name as Terraform gets it, for example `westeurope`: "+
					"letters, digits, dots, dashes and underscores.", show(where), quote(region))
			case twice:
				v.problemf(v.at(where), "`%s` is %s, which stands in the list already. Keep one.", show(where), quote(region))
			}
		}
	}
}

func (v *validator) risk() {
	for i, rule := range v.file.Risk.Block {
		if where := fmt.Sprintf("risk.block[%d]", i); rule != "" && slices.Contains(v.file.Risk.Block[:i], rule) {
			v.problemf(v.at(where), "`%s` is %s, which stands in the list already. Keep one.", where, quote(rule))
		}
		v.config.Risk.Block = append(v.config.Risk.Block, operation.RiskRule(rule))
	}
	for i, name := range v.file.Risk.Stateful {
		where := fmt.Sprintf("risk.stateful[%d]", i)
		switch {
		case name == "": // said where it was decoded
		case !typeForm.MatchString(name):
			v.problemf(v.at(where), "`%s` is %s. Write the type of a resource, for example `azurerm_search_service`: "+
				"no address, and no wildcards.", where, quote(name))
		case slices.Contains(v.file.Risk.Stateful[:i], name):
			v.problemf(v.at(where), "`%s` is %s, which stands in the list already. Keep one.", where, quote(name))
		}
	}
	v.config.Risk.Stateful = v.file.Risk.Stateful
}

// addressForm is an e-mail address as it stands in a commit, without what is around it.
var addressForm = regexp.MustCompile(`^[^@\s<>]+@[^@\s<>]+$`)

// machineAuthors checks the addresses that are no person's.
func (v *validator) machineAuthors() {
	for i, address := range v.file.MachineAuthors {
		where := fmt.Sprintf("machine_authors[%d]", i)
		switch {
		case address == "": // said where it was decoded
		case !addressForm.MatchString(address):
			v.problemf(v.at(where), "`%s` is %s. Write one e-mail address, as it stands between < and > in the commit.", where, quote(address))
		case slices.ContainsFunc(v.file.MachineAuthors[:i], func(other string) bool { return strings.EqualFold(other, address) }):
			v.problemf(v.at(where), "`%s` %s is there twice. Remove one.", where, quote(address))
		}
	}
	v.config.MachineAuthors = v.file.MachineAuthors
}

func (v *validator) mask() {
	for i, text := range v.file.Mask {
		if text == "" {
			continue // said where it was decoded
		}
		where := fmt.Sprintf("mask[%d]", i)
		if wrong := wrongMask(text); wrong != "" {
			v.problemf(v.at(where), "`%s` is %s. %s.", where, quote(text), wrong)
		}
	}
	v.config.Mask = v.file.Mask
}

// wrongMask says what is wrong with an expression of `mask`; "" if nothing is.
func wrongMask(text string) string {
	tree, err := syntax.Parse(text, syntax.Perl)
	if err != nil {
		// The library's words quote the expression, which the message does already.
		if wrong, ok := errors.AsType[*syntax.Error](err); ok {
			return "It is no regular expression: " + wrong.Code.String() + ". Write one in the syntax of RE2"
		}
		return "It is no regular expression. Write one in the syntax of RE2"
	}
	program, err := syntax.Compile(tree.Simplify())
	if err != nil || len(program.Inst) > maxMaskSize {
		return "It repeats too much to be matched quickly. Write smaller numbers in { }, or * instead"
	}
	if shortest(tree) == 0 {
		return "It also matches where there is no text, so it would put *** between all characters. Write + instead of *"
	}
	return ""
}

// shortest is how many characters a match has at least; a match of none would be found between any two characters.
func shortest(tree *syntax.Regexp) int {
	switch tree.Op {
	case syntax.OpLiteral:
		return len(tree.Rune)
	case syntax.OpCharClass, syntax.OpAnyChar, syntax.OpAnyCharNotNL, syntax.OpNoMatch:
		return 1
	case syntax.OpCapture, syntax.OpPlus:
		return shortest(tree.Sub[0])
	case syntax.OpRepeat:
		return tree.Min * shortest(tree.Sub[0])
	case syntax.OpConcat:
		sum := 0
		for _, part := range tree.Sub {
			sum += shortest(part)
		}
		return sum
	case syntax.OpAlternate:
		least := shortest(tree.Sub[0])
		for _, part := range tree.Sub[1:] {
			least = min(least, shortest(part))
		}
		return least
	default: // *, ?, and what asserts a place without taking a character
		return 0
	}
}

// chained lists names with words between them, the first of very many.
func chained(names []string, between string) string {
	const most = 20
	shown := make([]string, 0, min(len(names), most))
	for _, name := range names[:min(len(names), most)] {
		shown = append(shown, show(name))
	}
	text := strings.Join(shown, between)
	if len(names) > most {
		text += fmt.Sprintf(" and %d more", len(names)-most)
	}
	return text
}

// meantName asks whether the nearest of the names was meant; "" if none is near.
func meantName(name string, names []string) string {
	if nearest := Nearest(name, names); nearest != "" {
		return fmt.Sprintf(" Did you mean %s?", quote(nearest))
	}
	return ""
}
