package render

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// total adds up the counts of all targets of a result.
func total(result *operation.Result) operation.Counts {
	var sum operation.Counts
	if result == nil {
		return sum
	}
	for _, target := range result.Targets {
		sum = plus(sum, target.ChangeSet.Counts)
	}
	return sum
}

// outcomes are how targets ended, in a word or two.
var outcomes = map[operation.Outcome]string{
	operation.Planned: "", operation.Unchanged: "no changes", operation.Applied: "applied",
	operation.Different: "not applied", operation.TargetFailed: "**failed**", operation.Locked: "**locked**",
	operation.TargetStopped: "not done",
}

// table is one row for each target, with replacements apart from what is only added or destroyed.
func table(result *operation.Result, limit int) *piece {
	if result == nil || len(result.Targets) == 0 {
		return fixed("")
	}
	rows := make([]string, len(result.Targets))
	for i, target := range result.Targets {
		rows[i] = tableRow(target)
	}
	show := func(k int) string {
		text := "| environment | root | + | ~ | ± | − | |\n| :-- | :-- | --: | --: | --: | --: | :-- |\n" + strings.Join(rows[:k], "")
		if k < len(rows) {
			text += "\nand " + several(len(rows)-k, "root more", "roots more") + ", " +
				spokenOr(total(result), future, "without changes") + " in all"
		}
		return text
	}
	return shrinking(rankTable, len(rows), limit, show, spokenOr(total(result), future, "No changes")+" in "+number(len(rows))+" roots.")
}

// tenseOf says how to speak of what a target's changes do.
func tenseOf(target operation.TargetResult) tense {
	if target.Outcome == operation.Applied {
		return past
	}
	return future
}

func spokenOr(counts operation.Counts, when tense, none string) string {
	if words := spoken(counts, when); words != "" {
		return words
	}
	return none
}

func tableRow(target operation.TargetResult) string {
	counts := target.ChangeSet.Counts
	rest := spoken(operation.Counts{Import: counts.Import, Move: counts.Move, Forget: counts.Forget, Outputs: counts.Outputs}, tenseOf(target))
	var notes []string
	if outcome, ok := outcomes[target.Outcome]; !ok {
		notes = append(notes, "unknown outcome")
	} else if outcome != "" && (target.Outcome != operation.Unchanged || rest == "") {
		notes = append(notes, outcome)
	}
	if rest != "" {
		notes = append(notes, rest)
	}
	return fmt.Sprintf("| %s | %s | %s | %s | %s | %s | %s |\n", cell(target.Target.Environment), cell(target.Target.Root),
		amount(counts.Add-counts.Replace), amount(counts.Change), bold(counts.Replace), bold(counts.Destroy-counts.Replace),
		strings.Join(notes, "; "))
}

// amount is a number in a table, where nothing is easier to pass over than a zero.
func amount(n int) string {
	if n <= 0 {
		return ""
	}
	return number(n)
}

func bold(n int) string {
	if n <= 0 {
		return ""
	}
	return "**" + number(n) + "**"
}

// destroys lists what is destroyed or replaced and was not named among the risks. It is never folded.
func destroys(result *operation.Result, resultURL string, limit int) *piece {
	if result == nil {
		return fixed("")
	}
	named := namedAsRisks(result)
	all, found := 0, 0
	var lines []string
	for _, target := range result.Targets {
		all += target.ChangeSet.Counts.Destroy
		for _, change := range target.ChangeSet.Changes {
			if !change.Action.Destroys() {
				continue
			}
			found++
			if named[object{target.Target, change.Address, change.Deposed}] {
				all--
				found--
				continue
			}
			if len(lines) < maxListed {
				lines = append(lines, destroyLine(target.Target, change, len(result.Targets) > 1))
			}
		}
	}
	all = max(all, found)
	if all == 0 {
		return fixed("")
	}
	head := "**Destroyed or replaced:**"
	if len(named) > 0 {
		head = "**Also destroyed or replaced:**"
	}
	show := func(k int) string {
		text := head + "\n\n" + strings.Join(lines[:k], "")
		if k < all {
			text += "- and " + number(all-k) + " more" + listed(resultURL) + "\n"
		}
		return text
	}
	return shrinking(rankDestroys, len(lines), limit, show, destroyCounts(result, resultURL))
}

// namedAsRisks are the objects whose destruction the list of risks says.
func namedAsRisks(result *operation.Result) map[object]bool {
	named := map[object]bool{}
	found, _ := dangersOf(result)
	for _, one := range found[:min(len(found), maxListed)] {
		if one.Action.Destroys() {
			named[object{one.target, one.Address, one.Deposed}] = true
		}
	}
	return named
}

func destroyLine(target operation.Target, change operation.Change, named bool) string {
	sign := "−"
	if change.Action != operation.Delete {
		sign = "±"
	}
	text := "- " + sign + " " + code(change.Address)
	if named {
		text += " in " + code(target.Root)
	}
	if words := destroyReason(change); words != "" {
		text += ": " + words
	}
	switch change.Action {
	case operation.Replace:
		text += " (destroyed, then created)"
	case operation.ReplaceCreateFirst:
		text += " (created anew, then the old one destroyed)"
	case operation.Delete:
		if change.Deposed != "" {
			text += " (only the old object " + code(change.Deposed) + " of an unfinished replacement)"
		}
	default:
	}
	return text + "\n"
}

// destroyReason is why Terraform destroys or replaces an object; empty where it gives no reason.
func destroyReason(change operation.Change) string {
	if len(change.ReplacePaths) == 0 {
		return reasons[change.ActionReason]
	}
	paths := make([]string, 0, len(change.ReplacePaths))
	for i, path := range change.ReplacePaths {
		const most = 3
		if i == most {
			paths = append(paths, number(len(change.ReplacePaths)-most)+" more")
			break
		}
		paths = append(paths, code(path))
	}
	return list(paths) + " cannot be changed in place"
}

func listed(resultURL string) string {
	if link := whole(resultURL); link != "" {
		return ": " + link
	}
	return ""
}

// destroyCounts is the shortest form of the list: numbers for each target, and where to look.
func destroyCounts(result *operation.Result, resultURL string) string {
	const most = 8
	var words []string
	left := 0
	for _, target := range result.Targets {
		counts := target.ChangeSet.Counts
		if counts.Destroy == 0 {
			continue
		}
		if len(words) == most {
			left += counts.Destroy
			continue
		}
		only := operation.Counts{Add: counts.Replace, Destroy: counts.Destroy, Replace: counts.Replace}
		words = append(words, spoken(only, future)+" in "+code(target.Target.Root))
	}
	if left > 0 {
		words = append(words, number(left)+" in other roots")
	}
	return "**Destroyed or replaced:** " + strings.Join(words, "; ") + ". They are too many to list here" + listed(resultURL) + "."
}

// maxPlans is how many targets have a plan of their own. In one text there is room for fewer.
const maxPlans = 200

// plans is the plan of each target, folded, in less and less detail. What several of them do alike is
// shown once.
func plans(result *operation.Result, grouping plan.Grouping, resultURL string, limit int) []*piece {
	if result == nil {
		return nil
	}
	shownIn := repeatsIn(grouping)
	var pieces []*piece
	for _, target := range result.Targets {
		set := target.ChangeSet
		if len(set.Changes) == 0 && set.Omitted == 0 {
			continue
		}
		if len(pieces) == maxPlans {
			more := fixed("The plans of more roots are not shown here" + listed(resultURL) + ".")
			more.lacks = true
			pieces = append(pieces, more)
			break
		}
		if other, ok := shownIn.same(target); ok {
			text := code(target.Target.Root) + " in " + code(target.Target.Environment) + ": the same as " + code(other.Root) + "."
			pieces = append(pieces, &piece{rank: rankDetails, forms: []string{text, ""}})
			continue
		}
		p := &piece{rank: rankDetails}
		groups, after := shownIn.once(target)
		after = append(after, omittedWords(set.Omitted)...)
		for _, detail := range []detail{values, names, addresses} {
			if text, ok := diffBlock(groups, after, detail, limit); ok {
				p.forms = append(p.forms, folded(target, detail, text))
			} else if detail == values {
				p.lacks = true
			}
		}
		p.forms = append(p.forms,
			fmt.Sprintf("%s in %s: %s; too many to list here%s.", code(target.Target.Root), code(target.Target.Environment),
				spokenOr(set.Counts, tenseOf(target), strconv.Itoa(len(set.Changes)+set.Omitted)+" entries"), listed(resultURL)),
			"")
		pieces = append(pieces, p)
	}
	return pieces
}

func folded(target operation.TargetResult, detail detail, text string) string {
	note := ""
	switch detail {
	case names:
		note = " (without values: the plan is too long)"
	case addresses:
		note = " (addresses only: the plan is too long)"
	case values:
	}
	return "<details><summary>" + htmlCode(target.Target.Root) + " in " + htmlCode(target.Target.Environment) + ": " +
		spokenOr(target.ChangeSet.Counts, tenseOf(target), "nothing but reads") + note + "</summary>\n\n" + text + "\n</details>"
}

// notes are what a person should know of the plans beside their changes.
func notes(result *operation.Result) *piece {
	if result == nil {
		return fixed("")
	}
	var lines []string
	for _, target := range result.Targets {
		for _, note := range target.Notes {
			line := "- " + strings.TrimSuffix(sentence(note, ""), ".")
			if len(result.Targets) > 1 {
				line += " (" + code(target.Target.Root) + ")"
			}
			lines = append(lines, line+".\n")
		}
	}
	if len(lines) == 0 {
		return fixed("")
	}
	show := func(k int) string {
		text := "Worth knowing:\n\n" + strings.Join(lines[:k], "")
		if k < len(lines) {
			text += "- and " + several(len(lines)-k, "note more", "notes more") + "\n"
		}
		return text
	}
	const most = MaxComment / 8
	return shrinking(rankDetails, len(lines), most, show, "There are "+several(len(lines), "note", "notes")+" on these plans.")
}

// failures are Terraform's words about the targets that failed, and who holds a lock. Where that is explained already, Terraform's words
// about it are left out: they name the one who met the lock beside the one who holds it.
func failures(result *operation.Result, met bool) []*piece {
	if result == nil {
		return nil
	}
	const most = 10
	var pieces []*piece
	for _, target := range result.Targets {
		if target.Error == "" && target.Lock == nil {
			continue
		}
		if len(pieces) == most {
			pieces = append(pieces, fixed("More roots failed: the table shows them."))
			break
		}
		text := code(target.Target.Root) + ":"
		if target.Lock != nil {
			text = lockWords(target) + " What Terraform says:"
		}
		if met && target.Outcome == operation.Locked {
			target.Error = ""
		}
		pieces = append(pieces, shortening(text, target.Error))
	}
	return pieces
}

// shortening is words with a foreign text below them that gives way.
func shortening(words, text string) *piece {
	p := &piece{rank: rankWords}
	if text == "" {
		return fixed(strings.TrimSuffix(words, " What Terraform says:"))
	}
	for _, most := range []int{maxBlock, maxBlock / 4, maxBlock / 16} {
		p.forms = append(p.forms, words+"\n\n"+block("", shorten(text, most)))
	}
	return p
}

func lockWords(target operation.TargetResult) string {
	lock := *target.Lock
	if unseen(target) {
		return "The state of " + code(target.Target.Root) + " may be locked."
	}
	text := "The state of " + code(target.Target.Root) + " is locked"
	if lock.Who != "" {
		text += " by " + code(lock.Who)
	}
	if lock.Created != "" {
		text += " since " + code(lock.Created)
	}
	if lock.Operation != "" {
		text += ", for " + code(lock.Operation)
	}
	if lock.ID != "" {
		text += " (lock " + code(lock.ID) + ")"
	}
	return text + "."
}
