package render

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/operation"
)

// signs stand in the first column of a plan, as Terraform writes them, but for what changes in place:
// GitHub colours lines of a diff by their first character, and knows "!" for that, not "~".
var signs = map[operation.Action]string{
	operation.Create: "+", operation.Update: "!", operation.Delete: "-", operation.Replace: "-/+",
	operation.ReplaceCreateFirst: "+/-", operation.Read: "<=", operation.Move: "=", operation.Import: "=",
	operation.Forget: ".", operation.Output: "!",
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

// omittedWords says how many changes a result left out.
func omittedWords(omitted int) []string {
	if omitted == 0 {
		return nil
	}
	return []string{"and " + several(omitted, "change", "changes") + " more, which are counted above but not listed"}
}

// diffBlock is groups of changes as one code block, each below its head, with words after all of them; ok
// is false when it would be longer than limit.
func diffBlock(groups []caused, after []string, detail detail, limit int) (string, bool) {
	var text strings.Builder
	for _, group := range groups {
		if group.head != "" {
			text.WriteString("# " + oneLine(group.head) + ":\n")
		}
		for _, change := range group.changes {
			writeChange(&text, change, detail)
			if text.Len() > limit {
				return "", false
			}
		}
	}
	for _, words := range after {
		text.WriteString("# " + oneLine(words) + "\n")
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
	writeAttributes(text, change, shown)
}

// writeAttributes writes attributes one by one, but for the elements of a list of plain values, of which
// an insertion at the beginning would change every one.
func writeAttributes(text *strings.Builder, change operation.Change, attributes []operation.Attribute) {
	for len(attributes) > 0 {
		if n, elements := listRun(attributes); n > 1 && writeList(text, change, elements) {
			attributes = attributes[n:]
			continue
		}
		writeAttribute(text, change, attributes[0])
		attributes = attributes[1:]
	}
}

// element is an element of a list: its index and how it changes.
type element struct {
	list      string // the path of the list
	index     int
	attribute operation.Attribute
}

// indexed is the path of an element of a list.
var indexed = regexp.MustCompile(`^(.+)\[([0-9]{1,6})\]$`)

// listRun is how many of the first attributes are elements of one list with values that are known, and
// these in their order.
func listRun(attributes []operation.Attribute) (int, []element) {
	var elements []element
	for _, attribute := range attributes {
		match := indexed.FindStringSubmatch(attribute.Path)
		if match == nil || attribute.Sensitive || attribute.Unknown || attribute.Volatile ||
			len(elements) > 0 && elements[0].list != match[1] {
			break
		}
		index, err := strconv.Atoi(match[2])
		if err != nil {
			break
		}
		elements = append(elements, element{list: match[1], index: index, attribute: attribute})
	}
	slices.SortFunc(elements, func(a, b element) int { return a.index - b.index })
	return len(elements), elements
}

// writeList shows how a list changes, where elements that follow one another move or stay; false when
// nothing is gained by it.
func writeList(text *strings.Builder, change operation.Change, elements []element) bool {
	first, last := elements[0], elements[len(elements)-1]
	if last.index-first.index != len(elements)-1 { // those between stay, and their values are not known here
		return false
	}
	var before, after []string
	for _, one := range elements {
		if forces(change, one.attribute.Path) {
			return false
		}
		if len(one.attribute.Before) > 0 {
			before = append(before, unescapeHTML(string(one.attribute.Before)))
		}
		if len(one.attribute.After) > 0 {
			after = append(after, unescapeHTML(string(one.attribute.After)))
		}
	}
	lines := compare(before, after)
	if !slices.ContainsFunc(lines, func(line diffLine) bool { return line.sign == " " }) {
		return false
	}
	fmt.Fprintf(text, "!     %s[%d…%d]:\n", oneLine(first.list), first.index, last.index)
	writeLines(text, lines, "element", "elements")
	return true
}

// writeAttribute writes one attribute, with the sign of what happens to it in the first column.
func writeAttribute(text *strings.Builder, change operation.Change, attribute operation.Attribute) {
	before, after := sidesOf(attribute)
	name := oneLine(attribute.Path)
	note := ""
	if forces(change, attribute.Path) {
		note = "  # forces the replacement"
	}
	if attribute.Volatile {
		note += "  # another value in each plan"
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
		fmt.Fprintf(text, "!     %s: %s%s\n", name, after, note)
	case writeText(text, name, note, attribute):
	case before == "":
		fmt.Fprintf(text, "+     %s: %s%s\n", name, after, note)
	case after == "":
		fmt.Fprintf(text, "-     %s: %s%s\n", name, before, note)
	default:
		writePair(text, name, note, before, after)
	}
}

// writePair writes two values, one below the other where they are long.
func writePair(text *strings.Builder, name, note, before, after string) {
	const short = 80
	if len(before)+len(after) > short && !strings.HasPrefix(after, "(") {
		fmt.Fprintf(text, "-     %s: %s\n+     %s: %s%s\n", name, before, name, after, note)
		return
	}
	fmt.Fprintf(text, "!     %s: %s → %s%s\n", name, before, after, note)
}

// writeText shows a string with a structure of its own, JSON, YAML or lines; false when it has none.
func writeText(text *strings.Builder, name, note string, attribute operation.Attribute) bool {
	var before, after string
	if attribute.Sensitive || attribute.Unknown || json.Unmarshal(attribute.After, &after) != nil {
		return false
	}
	if len(attribute.Before) == 0 {
		return writeNewText(text, name, note, after)
	}
	if json.Unmarshal(attribute.Before, &before) != nil {
		return false
	}
	old, kind := embedded(before)
	next, nextKind := embedded(after)
	if old != nil && next != nil && kind == nextKind {
		if lines := compareNodes("", old, next); len(lines) > 0 {
			fmt.Fprintf(text, "!     %s: (%s)%s\n", name, kind, note)
			writeLines(text, lines, "place", "places")
			return true
		}
		note = "  # the same " + kind + ", written differently" + note
	}
	if !strings.Contains(before, "\n") && !strings.Contains(after, "\n") {
		if old == nil || next == nil || kind != nextKind {
			return false
		}
		short, shorter := cutPair(before, after)
		writePair(text, name, note, oneLineOf(short, maxShown), oneLineOf(shorter, maxShown))
		return true
	}
	fmt.Fprintf(text, "!     %s:%s\n", name, note)
	writeLines(text, compare(textLines(before, after)), "line", "lines")
	return true
}

// writeNewText shows a string that was not there before.
func writeNewText(text *strings.Builder, name, note, value string) bool {
	var lines []string
	if parsed, kind := embedded(value); parsed != nil {
		lines = outline("", parsed)
		note = " (" + kind + ")" + note
	} else {
		lines = strings.Split(strings.TrimSuffix(value, "\n"), "\n")
	}
	if len(lines) < 2 {
		return false
	}
	fmt.Fprintf(text, "+     %s:%s\n", name, note)
	writeLines(text, compare(nil, lines), "line", "lines")
	return true
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
	case len(attribute.Before) > 0 && len(attribute.After) > 0:
		before, after := cutPair(unescapeHTML(string(attribute.Before)), unescapeHTML(string(attribute.After)))
		return lineEnds.Replace(before), lineEnds.Replace(after)
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
