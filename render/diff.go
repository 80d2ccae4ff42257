package render

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/operation"
)

// signs stand in the first column of a plan, as Terraform writes them.
var signs = map[operation.Action]string{
	operation.Create: "+", operation.Update: "~", operation.Delete: "-", operation.Replace: "-/+",
	operation.ReplaceCreateFirst: "+/-", operation.Read: "<=", operation.Move: "=", operation.Import: "=",
	operation.Forget: ".", operation.Output: "~",
}

func signOf(change operation.Change) string {
	if change.Action == operation.Output {
		switch change.ActionReason {
		case "create":
			return "+"
		case "delete":
			return "-"
		}
	}
	if sign, ok := signs[change.Action]; ok {
		return sign
	}
	return "?"
}

// reasons are Terraform's reasons in words: https://developer.hashicorp.com/terraform/internals/json-format
// lists them as action_reason. Others are left out.
var reasons = map[string]string{
	"replace_because_cannot_update":     "it cannot be changed in place",
	"replace_because_tainted":           "it is marked as tainted",
	"replace_by_request":                "somebody asked for it",
	"replace_by_triggers":               "something in its replace_triggered_by changes",
	"delete_because_no_resource_config": "it is no longer in the configuration",
	"delete_because_no_module":          "its module is no longer in the configuration",
	"delete_because_wrong_repetition":   "it is no longer made by the same count or for_each",
	"delete_because_count_index":        "count is lower now",
	"delete_because_each_key":           "its key is no longer in for_each",
	"delete_because_no_move_target":     "it was moved to an address that is not in the configuration",
	"read_because_config_unknown":       "its arguments are known only then",
	"read_because_dependency_pending":   "it depends on something that changes",
	"read_because_check_nested":         "it belongs to a check",
}

// fate says in words what happens to an object, for the actions that are not plain from the sign.
func fate(change operation.Change) string {
	var words []string
	switch change.Action {
	case operation.Replace:
		words = append(words, "destroyed, then created")
	case operation.ReplaceCreateFirst:
		words = append(words, "created anew, then the old one destroyed")
	case operation.Read:
		words = append(words, "read during the apply")
	case operation.Forget:
		words = append(words, "dropped from the state, stays in the world")
	case operation.Delete:
		if change.Deposed != "" {
			words = append(words, "the old object "+change.Deposed+" of an unfinished replacement")
		}
	case operation.Create, operation.Update, operation.Move, operation.Import, operation.Output:
	}
	if change.PreviousAddress != "" {
		words = append(words, "moved from "+change.PreviousAddress)
	}
	if change.ImportID != "" {
		words = append(words, "imported, ID "+change.ImportID)
	}
	return strings.Join(words, "; ")
}

// because is Terraform's reason for a change in words; with what forces a replacement.
func because(change operation.Change) string {
	reason := reasons[change.ActionReason]
	if len(change.ReplacePaths) == 0 {
		return reason
	}
	return strings.Join(change.ReplacePaths, ", ") + " cannot be changed in place"
}

// diffBlock is the plan of one target as a code block; ok is false when it would be longer than limit.
func diffBlock(set operation.ChangeSet, detail detail, limit int) (string, bool) {
	var text strings.Builder
	for _, change := range set.Changes {
		writeChange(&text, change, detail)
		if text.Len() > limit {
			return "", false
		}
	}
	if set.Omitted > 0 {
		fmt.Fprintf(&text, "# and %s more, which are counted above but not listed\n", several(set.Omitted, "change", "changes"))
	}
	return block("diff", text.String()), true
}

// detail is how much of a plan is shown.
type detail int

const (
	values    detail = iota // every attribute with its old and new value
	names                   // the names of the attributes that change
	addresses               // the addresses only
)

func writeChange(text *strings.Builder, change operation.Change, detail detail) {
	fmt.Fprintf(text, "%s %s", signOf(change), oneLine(change.Address))
	if words := fate(change); words != "" {
		text.WriteString("  # " + oneLine(words))
		if reason := because(change); reason != "" {
			text.WriteString(", because " + oneLine(reason))
		}
	} else if reason := because(change); reason != "" {
		text.WriteString("  # " + oneLine(reason))
	}
	shown := change.Attributes
	if change.Action == operation.Read || change.Action == operation.Forget {
		shown = nil // nothing is done to them
	}
	if detail == names && len(shown) > 0 && change.Action != operation.Output {
		const most = 12
		var paths []string
		for i, attribute := range shown {
			if i == most {
				paths = append(paths, "and "+number(len(shown)-most)+" more")
				break
			}
			paths = append(paths, oneLine(attribute.Path))
		}
		text.WriteString(": " + strings.Join(paths, ", "))
	}
	if change.Action == operation.Output {
		if detail == values {
			writeOutput(text, shown)
		}
		text.WriteByte('\n')
		return
	}
	text.WriteByte('\n')
	if detail != values {
		return
	}
	for _, attribute := range shown {
		writeAttribute(text, change, attribute)
	}
}

// writeAttribute writes one attribute, with the sign of what happens to it in the first column.
func writeAttribute(text *strings.Builder, change operation.Change, attribute operation.Attribute) {
	before, after := sidesOf(attribute)
	name := oneLine(attribute.Path)
	force := ""
	if forces(change, attribute.Path) {
		force = "  # forces the replacement"
	}
	switch {
	case change.Action == operation.Delete:
		if attribute.Sensitive {
			before = "(sensitive)"
		}
		if before != "" && before != "null" {
			fmt.Fprintf(text, "-     %s: %s\n", name, before)
		}
	case before == "" && after == "null":
		// nothing becomes nothing: of no interest to a reader
	case attribute.Sensitive && change.Action != operation.Create:
		fmt.Fprintf(text, "~     %s: %s%s\n", name, after, force)
	case before == "":
		fmt.Fprintf(text, "+     %s: %s%s\n", name, after, force)
	case after == "":
		fmt.Fprintf(text, "-     %s: %s%s\n", name, before, force)
	case writeLines(text, name, force, attribute):
	default:
		fmt.Fprintf(text, "~     %s: %s → %s%s\n", name, before, after, force)
	}
}

// sidesOf are the old and the new value of an attribute as they are shown; empty where there is none.
func sidesOf(attribute operation.Attribute) (string, string) {
	switch {
	case attribute.Sensitive && attribute.Unknown:
		return "", "(sensitive, known after the apply)"
	case attribute.Sensitive:
		return "", "(sensitive)"
	case attribute.Unknown:
		return shown(attribute.Before), "(known after the apply)"
	default:
		return shown(attribute.Before), shown(attribute.After)
	}
}

// writeOutput writes the value of an output behind its name.
func writeOutput(text *strings.Builder, attributes []operation.Attribute) {
	for _, attribute := range attributes {
		before, after := sidesOf(attribute)
		switch {
		case before == "":
			text.WriteString(": " + after)
		case after == "":
			text.WriteString(": " + before)
		default:
			text.WriteString(": " + before + " → " + after)
		}
	}
}

// forces reports whether an attribute is one that forces the replacement, or a part of one.
func forces(change operation.Change, path string) bool {
	return slices.ContainsFunc(change.ReplacePaths, func(forcing string) bool {
		rest, ok := strings.CutPrefix(path, forcing)
		return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
	})
}

// shown is a value in one line, shortened.
func shown(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	return oneLineOf(unescapeHTML(string(raw)), maxValue)
}

// unescapeHTML takes back what encoding/json does to < > and & on the way through a result file.
func unescapeHTML(text string) string {
	return htmlEscape.ReplaceAllStringFunc(text, func(found string) string {
		if strings.HasPrefix(found, `\\`) {
			return found // a backslash of the value itself, and what follows it
		}
		return unescaped[found]
	})
}

// unescaped are the characters that encoding/json escapes for HTML's sake.
var unescaped = map[string]string{`\u003c`: "<", `\u003e`: ">", `\u0026`: "&"}

// htmlEscape finds these escapes, and escaped backslashes, which may stand before what looks like one.
var htmlEscape = regexp.MustCompile(`\\\\|\\u00(3c|3e|26)`)

func oneLine(text string) string { return oneLineOf(text, maxName) }

// lineEnds are written out where a text has to stay in its line.
var lineEnds = strings.NewReplacer("\r", `\r`, "\n", `\n`)

// oneLineOf makes sure that a foreign text stays in its line of a block, and is not too long.
func oneLineOf(text string, most int) string {
	if size := utf8.RuneCountInString(text); size > most {
		text = fmt.Sprintf("%s (%s characters)", shorten(text, most), number(size))
	}
	return lineEnds.Replace(text)
}

// maxLines is how many lines of a text of many lines are shown on each side.
const maxLines = 40

// writeLines shows how a text of several lines changes, line by line; false when it is not one.
func writeLines(text *strings.Builder, name, force string, attribute operation.Attribute) bool {
	var before, after string
	if json.Unmarshal(attribute.Before, &before) != nil || json.Unmarshal(attribute.After, &after) != nil ||
		!strings.Contains(before, "\n") && !strings.Contains(after, "\n") {
		return false
	}
	old, next := strings.Split(before, "\n"), strings.Split(after, "\n")
	same := 0
	for same < min(len(old), len(next)) && old[same] == next[same] {
		same++
	}
	tail := 0
	for tail < min(len(old), len(next))-same && old[len(old)-1-tail] == next[len(next)-1-tail] {
		tail++
	}
	fmt.Fprintf(text, "~     %s:%s\n", name, force)
	if same > 0 {
		fmt.Fprintf(text, "          (%s as before)\n", several(same, "line", "lines"))
	}
	writeSide(text, "-", old[same:len(old)-tail])
	writeSide(text, "+", next[same:len(next)-tail])
	if tail > 0 {
		fmt.Fprintf(text, "          (%s as before)\n", several(tail, "line", "lines"))
	}
	return true
}

func writeSide(text *strings.Builder, sign string, lines []string) {
	for i, line := range lines {
		if i == maxLines {
			fmt.Fprintf(text, "%s         (and %s)\n", sign, several(len(lines)-i, "line more", "lines more"))
			return
		}
		fmt.Fprintf(text, "%s         %s\n", sign, oneLineOf(line, maxValue))
	}
}
