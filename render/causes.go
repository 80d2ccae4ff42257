package render

import (
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// causeWords says why a change is there, as the end of a sentence that begins with "because"; empty
// where nobody looked into it.
func causeWords(cause *operation.Cause) string {
	if cause == nil {
		return ""
	}
	detail := ""
	if cause.Detail != "" {
		detail = shorten(cause.Detail, maxName)
	}
	switch cause.Kind {
	case operation.CauseReviewed:
		if len(cause.Pulls) == 0 {
			return "it was reviewed"
		}
		return "it was reviewed in " + pulls(cause.Pulls)
	case operation.CauseDrift:
		return "it was changed outside of Terraform" + inBrackets(detail)
	case operation.CauseData:
		if detail == "" {
			return "a data source gives another result than at the review"
		}
		return "the data source " + detail + " gives another result than at the review"
	case operation.CauseProvider:
		return "its provider is another version than at the review" + inBrackets(detail)
	case operation.CauseIdentity:
		return "it depends on who plans, and another identity planned for the review" + inBrackets(detail)
	case operation.CauseVolatile:
		return "its value is another one in each plan" + inBrackets(detail)
	case operation.CauseUnexplained:
		return "nothing that was looked at explains it" + inBrackets(detail)
	}
	return string(cause.Kind) + inBrackets(detail)
}

func inBrackets(detail string) string {
	if detail == "" {
		return ""
	}
	return " (" + detail + ")"
}

// advice is what to do about a cause, where it can be made to go away.
func advice(kind operation.CauseKind) string {
	switch kind {
	case operation.CauseIdentity:
		return "Pass what depends on the identity, such as a principal's ID, as a variable, and both plans agree."
	case operation.CauseProvider:
		return "A lock file in the repository (`.terraform.lock.hcl`) keeps the version of the review."
	case operation.CauseReviewed, operation.CauseDrift, operation.CauseData, operation.CauseVolatile, operation.CauseUnexplained:
	}
	return ""
}

// caused are changes with one cause, or with one thing to say of them.
type caused struct {
	cause   *operation.Cause
	head    string
	changes []operation.Change
}

// maxCauses is how many causes of one target have a heading of their own.
const maxCauses = 8

// byCause groups changes by their cause, in the order in which the causes appear. Where there are very
// many, the last group has all the others, and no cause.
func byCause(changes []operation.Change) ([]caused, bool) {
	var groups []caused
	at := map[string]int{}
	for _, change := range changes {
		words := causeWords(change.Cause)
		i, ok := at[words]
		if !ok {
			if i = len(groups); i == maxCauses {
				i--
			} else {
				groups = append(groups, caused{cause: change.Cause})
			}
			at[words] = i
		}
		groups[i].changes = append(groups[i].changes, change)
	}
	mixed := len(at) > maxCauses
	if mixed {
		groups[maxCauses-1].cause = nil
	}
	return groups, mixed
}

// surprises shows the changes that nobody reviewed and that need a yes, each with its cause: they are
// what a person is asked about, so they are not folded.
func surprises(v ApplyView, limit int) []*piece {
	if v.Operation.State != operation.Unconfirmed {
		return nil
	}
	const most = 50
	var pieces []*piece
	for i, target := range unexpected(v.Operation.Result) {
		if i == most {
			pieces = append(pieces, fixed("More roots have changes that nobody reviewed"+listed(v.ResultURL)+"."))
			break
		}
		pieces = append(pieces, surprise(target, v.ResultURL, limit))
	}
	return pieces
}

func surprise(target operation.TargetResult, resultURL string, limit int) *piece {
	p := &piece{rank: rankTable}
	head := "Not reviewed in " + code(target.Target.Root)
	groups, mixed := byCause(target.Unexpected)
	for _, detail := range []detail{values, names, addresses} {
		if text, ok := askedText(head, groups, mixed, target.UnexpectedOmitted, detail, limit); ok {
			p.forms = append(p.forms, text)
		}
	}
	n := len(target.Unexpected) + target.UnexpectedOmitted
	p.forms = append(p.forms, head+": "+several(n, "change", "changes")+", too many to list here"+listed(resultURL)+".", "")
	return p
}

// askedText writes the groups of one target, each below its cause; ok is false where that is too long.
func askedText(head string, groups []caused, mixed bool, omitted int, shown detail, limit int) (string, bool) {
	var text strings.Builder
	for i, group := range groups {
		last := i == len(groups)-1
		if i > 0 {
			text.WriteString("\n")
		}
		text.WriteString(head)
		switch words := causeWords(group.cause); {
		case last && mixed:
			text.WriteString(", for other causes, which are named with each")
		case words != "" && group.cause.Kind == operation.CauseUnexplained:
			text.WriteString(", and **" + prose(words) + "**")
		case words != "":
			text.WriteString(", because **" + prose(words) + "**")
		}
		text.WriteString(":\n\n")
		parts := []caused{{changes: group.changes}}
		if last && mixed {
			parts = headedByCause(group.changes)
		}
		var after []string
		if last {
			after = omittedWords(omitted)
		}
		written, ok := diffBlock(parts, after, shown, limit-text.Len())
		if !ok {
			return "", false
		}
		text.WriteString(written)
		if group.cause != nil {
			if words := advice(group.cause.Kind); words != "" {
				text.WriteString("\n" + words + "\n")
			}
		}
	}
	return text.String(), true
}

// headedByCause is each change below its own cause.
func headedByCause(changes []operation.Change) []caused {
	parts := make([]caused, len(changes))
	for i, change := range changes {
		parts[i] = caused{changes: []operation.Change{change}}
		if words := causeWords(change.Cause); words != "" {
			parts[i].head = "because " + words
		}
	}
	return parts
}

// tolerated lists, folded, the changes that nobody reviewed and that need no yes.
func tolerated(v ApplyView, limit int) *piece {
	result := v.Operation.Result
	if result == nil {
		return fixed("")
	}
	all := 0
	var lines []string
	for _, target := range result.Targets {
		all += len(target.Tolerated)
		for _, change := range target.Tolerated {
			if len(lines) < maxListed {
				lines = append(lines, toleratedLine(target, change, len(result.Targets) > 1))
			}
		}
	}
	if all == 0 {
		return fixed("")
	}
	head := several(all, "change that nobody reviewed, which carries no risk and needs no yes",
		"changes that nobody reviewed, which carry no risk and need no yes")
	show := func(k int) string {
		text := "<details><summary>" + head + "</summary>\n\n" + strings.Join(lines[:k], "")
		if k < all {
			text += "- and " + number(all-k) + " more" + listed(v.ResultURL) + "\n"
		}
		return text + "\n</details>"
	}
	return shrinking(rankWords, len(lines), limit, show, strings.ToUpper(head[:1])+head[1:]+listed(v.ResultURL)+".")
}

func toleratedLine(target operation.TargetResult, change operation.Change, named bool) string {
	verb, ok := verbs[change.Action]
	if !ok {
		verb = prose(string(change.Action))
	}
	text := "- " + code(change.Address)
	if named {
		text += " in " + code(target.Target.Root)
	}
	text += isOrWas(target.Outcome == operation.Applied) + verb
	if paths := changedPaths(change); paths != "" {
		text += " (" + paths + ")"
	}
	if words := causeWords(change.Cause); words != "" {
		text += ", because " + prose(words)
	}
	return text + ".\n"
}

// changedPaths names the first few attributes of an update.
func changedPaths(change operation.Change) string {
	if change.Action != operation.Update {
		return ""
	}
	const most = 4
	var paths []string
	for i, attribute := range change.Attributes {
		if i == most {
			paths = append(paths, several(len(change.Attributes)-most, "other", "others"))
			break
		}
		paths = append(paths, code(attribute.Path))
	}
	return list(paths)
}

// blocked says what configuration does not let happen without a second person.
func blocked(v ApplyView, limit int) *piece {
	result := v.Operation.Result
	if result == nil || v.Operation.State != operation.Unconfirmed {
		return fixed("")
	}
	var commands []string
	all := 0
	roots := map[string]int{} // address → in how many roots it is blocked
	for _, target := range result.Targets {
		for _, address := range target.Blocked {
			roots[address]++
		}
	}
	for _, target := range result.Targets {
		all += len(target.Blocked)
		for _, address := range target.Blocked {
			if roots[address] > 1 {
				address += " " + target.Target.Root
			}
			if len(commands) < maxListed {
				commands = append(commands, "- "+code("/approve-replace "+address)+"\n")
			}
		}
	}
	if all == 0 {
		return fixed("")
	}
	head := "**Blocked by `risk: block` in the configuration:** " + several(all, "change needs", "changes need") +
		" the approval of a second person. Somebody with the permission maintain, who neither wrote this nor asked for this apply, comments"
	show := func(k int) string {
		text := head + ":\n\n" + strings.Join(commands[:k], "")
		if k < all {
			text += "- and " + number(all-k) + " more" + listed(v.ResultURL) + "\n"
		}
		return text
	}
	return shrinking(rankTable, len(commands), limit, show, head+" "+code("/approve-replace ADDRESS")+listed(v.ResultURL)+".")
}

// blockedIn counts what is blocked.
func blockedIn(result *operation.Result) int {
	n := 0
	if result != nil {
		for _, target := range result.Targets {
			n += len(target.Blocked)
		}
	}
	return n
}

// promotion shows what was applied in the stages before.
func promotion(views []PromotionView) *piece {
	const most = 10
	var lines []string
	for _, v := range views[:min(most, len(views))] {
		lines = append(lines, promotionLine(v))
	}
	return fixed(strings.Join(lines, "\n\n"))
}

func promotionLine(v PromotionView) string {
	stage := prose(v.Stage)
	at := ""
	if v.Commit != "" {
		at = " at " + code(shortSHA(v.Commit))
	}
	if v.Problem != "" {
		return "**Not proved in " + stage + at + ":** " + sentence(v.Problem, "")
	}
	text := "**Proved in " + stage + at + ":** "
	found := ""
	if len(v.Baseline) > 0 {
		found = few(codes(v.Baseline)) + " had the same content there when Switchyard first saw the branch; Switchyard did not apply that"
	}
	switch {
	case found != "" && v.Same == 0 && len(v.Differs) == 0:
		return text + found + "."
	case v.Same == 0 && len(v.Differs) == 0:
		return text + "the same content was applied there."
	case v.Same == 0:
		text += "the same content was applied there, with " + several(len(v.Differs), "change", "changes") + " that " + differ(v.Differs)
	default:
		text += "the same " + several(v.Same, "change", "changes") + " as there"
		if v.Same == 1 {
			text = strings.Replace(text, "the same one change", "the same change", 1)
		}
		if len(v.Differs) > 0 {
			text += ", plus " + number(len(v.Differs)) + " that " + differ(v.Differs)
		}
	}
	if found != "" {
		text += ". " + found
	}
	return text + "."
}

func differ(names []string) string {
	const most = 8
	verb := "differ: "
	if len(names) == 1 {
		verb = "differs: "
	}
	shown := make([]string, 0, most+1)
	for i, name := range names {
		if i == most {
			shown = append(shown, several(len(names)-most, "other", "others"))
			break
		}
		shown = append(shown, code(name))
	}
	return verb + list(shown)
}

// causesOf are the causes of changes in words, each once.
func causesOf(targets []operation.TargetResult) []string {
	var words []string
	for _, target := range targets {
		for _, change := range target.Unexpected {
			if cause := causeWords(change.Cause); cause != "" && !slices.Contains(words, cause) {
				words = append(words, cause)
			}
			if len(words) > 1 {
				return words
			}
		}
	}
	return words
}
