package render

import (
	"cmp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/operation"
)

// Ledger is a table of changes for a terminal, in the order given: plain text without Markdown, in
// which no control character of a foreign text is left. It ends with a line end.
func Ledger(entries []LedgerEntry) string {
	if len(entries) == 0 {
		return "No change is known.\n"
	}
	rows := [][]string{{"WHEN", "TARGET", "CHANGE", "ADDRESS", "WHY", "APPROVED BY", "APPLIED BY"}}
	for _, entry := range entries {
		rows = append(rows, []string{
			when(entry), plain(entry.Target.String(), maxName), plain(verbOf(entry.Change), maxName), plain(ledgerAddress(entry.Change), maxName),
			plain(ledgerWhy(entry.Change.Cause), maxName), plain(strings.Join(approvals(entry, plainName), ", "), maxName),
			plain(appliedBy(entry), maxName),
		})
	}
	return columns(rows)
}

// columns writes rows with their cells below one another.
func columns(rows [][]string) string {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			if cell == "" {
				row[i] = "-"
			}
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	var text strings.Builder
	for _, row := range rows {
		var line strings.Builder
		for i, cell := range row {
			line.WriteString(cell)
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)+2)) //nolint:mnd // between columns
		}
		text.WriteString(strings.TrimRight(line.String(), " ") + "\n")
	}
	return text.String()
}

func when(entry LedgerEntry) string {
	if entry.At.IsZero() {
		return ""
	}
	return entry.At.UTC().Format("2006-01-02 15:04 UTC")
}

// verbOf is what happened to an object.
func verbOf(change operation.Change) string {
	if verb, ok := verbs[change.Action]; ok {
		return verb
	}
	return string(change.Action)
}

func ledgerAddress(change operation.Change) string {
	switch {
	case change.PreviousAddress != "":
		return change.Address + " (was " + change.PreviousAddress + ")"
	case change.Deposed != "":
		return change.Address + " (old object " + change.Deposed + ")"
	}
	return change.Address
}

// ledgerCause is a cause without the words that a sentence needs.
func ledgerCause(cause *operation.Cause) string {
	if cause == nil {
		return ""
	}
	return strings.TrimPrefix(causeWords(cause), "it was ")
}

// ledgerWhy is ledgerCause by the name that the ledger has for drift.
func ledgerWhy(cause *operation.Cause) string {
	if cause != nil && cause.Kind == operation.CauseDrift {
		return "drift: " + cmp.Or(cause.Detail, ledgerCause(cause))
	}
	return ledgerCause(cause)
}

// approvals names who approved a change, and who said yes to it unreviewed.
func approvals(entry LedgerEntry, name func(string) string) []string {
	const most = 10
	var words []string
	for i, login := range entry.Approved {
		if i == most {
			words = append(words, several(len(entry.Approved)-most, "other", "others"))
			break
		}
		words = append(words, name(login))
	}
	if entry.Confirmed != "" {
		text := name(entry.Confirmed) + " said yes"
		if entry.Digest != "" {
			text += " to " + name(digest(entry.Digest))
		}
		words = append(words, text)
	}
	return words
}

func plainName(name string) string { return plain(name, maxName) }

// appliedBy names the operation that brought a change, or says that none did.
func appliedBy(entry LedgerEntry) string {
	if entry.Operation == 0 {
		return "nobody: it was only seen"
	}
	text := "operation " + strconv.FormatInt(entry.Operation, 10)
	if entry.Pull != 0 {
		text += " for #" + strconv.Itoa(entry.Pull)
	}
	if entry.Actor != "" {
		text += " by " + entry.Actor
	}
	if entry.Commit != "" {
		text += " at " + shortSHA(entry.Commit)
	}
	switch entry.Outcome {
	case operation.Applied:
		return text
	case operation.Different:
		return "nobody: " + text + " asked for a yes"
	case operation.TargetFailed, operation.Locked:
		return "perhaps " + text + ", which failed"
	case operation.TargetStopped:
		return "perhaps " + text + ", which was stopped"
	case operation.Planned, operation.Unchanged:
		return "nobody: " + text + " planned it"
	case operation.Looked, operation.Released, operation.OtherLock: // of work on locks, which the ledger does not have
	}
	return "nobody: it was only seen by " + text
}

// ledgerLine is an entry as an item of a list in Markdown.
func ledgerLine(l links, entry LedgerEntry) string {
	verb := prose(verbOf(entry.Change))
	where := " in " + prose(entry.Target.Environment) + " (" + code(entry.Target.Root) + ")"
	var text string
	switch {
	case entry.Operation == 0 || entry.Outcome == "":
		text = "seen to be " + verb + where
	case entry.Outcome == operation.Applied:
		text = "**" + verb + "**" + where + " by " + bringer(entry)
	case entry.Outcome == operation.TargetFailed || entry.Outcome == operation.Locked || entry.Outcome == operation.TargetStopped:
		text = "perhaps " + verb + where + ": the apply of " + bringer(entry) + " did not succeed"
	case entry.Outcome == operation.Different:
		text = "not " + verb + where + ": the apply of " + bringer(entry) + " asked for a yes"
	default:
		text = "to be " + verb + where + " by the plan of " + bringer(entry)
	}
	if cause := ledgerWhy(entry.Change.Cause); cause != "" {
		text += "; " + prose(cause)
	}
	if entry.Change.PreviousAddress != "" {
		text += "; it was " + code(entry.Change.PreviousAddress) + " before"
	}
	if names := approvals(entry, prose); len(names) > 0 {
		if len(entry.Approved) > 0 {
			text += "; approved by " + list(names[:len(names)-confirmations(entry)])
		}
		if entry.Confirmed != "" {
			text += "; " + names[len(names)-1]
		}
	}
	if entry.Operation != 0 {
		text += "; operation " + strconv.FormatInt(entry.Operation, 10)
	}
	if entry.Commit != "" {
		text += ", commit " + l.commit(entry.Commit)
	}
	if !entry.At.IsZero() {
		text += ", " + moment(entry.At)
	}
	return text
}

// confirmations is how many names of approvals say yes to something unreviewed.
func confirmations(entry LedgerEntry) int {
	if entry.Confirmed != "" {
		return 1
	}
	return 0
}

// bringer is for whom an operation of the ledger ran.
func bringer(entry LedgerEntry) string {
	what := "a push"
	if entry.Pull != 0 {
		what = pulls([]int{entry.Pull})
	}
	if entry.Actor == "" {
		return what
	}
	return what + " by " + prose(entry.Actor)
}
