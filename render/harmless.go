package render

import (
	"fmt"
	"html"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// joiner is put between characters that would mean something together. It is invisible.
const joiner = "\u200d"

// How many characters of one foreign text are shown.
const (
	maxName  = 400
	maxValue = 300
	maxProse = 1200
	maxBlock = 8000
	maxFence = 20 // backticks around a name
)

// clean makes a foreign text safe to be shown as it is in a code span or a code block: valid UTF-8,
// one line unless lines is set, everything invisible (controls, bidirectional overrides, zero-width
// characters) written out, and nothing in it that a program would take for a command of ours or of
// a workflow (https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands).
func clean(text string, lines bool) string {
	if simple(text, lines) {
		return text
	}
	text = strings.ReplaceAll(text, "\r\n", "\n")
	var safe strings.Builder
	safe.Grow(len(text))
	for _, r := range text {
		switch {
		case r >= ' ' && r < '\x7f':
			safe.WriteByte(byte(r))
		case r == '\n' || r == '\r':
			if lines {
				safe.WriteByte('\n')
			} else {
				safe.WriteByte(' ')
			}
		case r == '\t':
			safe.WriteString("  ")
		case invisible(r):
			fmt.Fprintf(&safe, `\u%04x`, r)
		default:
			safe.WriteRune(r) // an invalid byte was read as U+FFFD
		}
	}
	text = safe.String()
	text = strings.ReplaceAll(text, "<!--", "<"+joiner+"!--")
	text = strings.ReplaceAll(text, "##[", "#"+joiner+"#[")
	if !strings.Contains(text, "::") {
		return text
	}
	return lineCommand.ReplaceAllString(text, "${1}:"+joiner+":")
}

// simple reports whether there is nothing to clean, as in nearly all texts.
func simple(text string, lines bool) bool {
	for i := range len(text) {
		if c := text[i]; (c < ' ' || c >= utf8.RuneSelf || c == '\x7f') && (!lines || c != '\n') {
			return false
		}
	}
	return !strings.Contains(text, "<!--") && !strings.Contains(text, "##[") && !strings.Contains(text, "::")
}

// lineCommand is how a line of a log has to begin to be a workflow command.
var lineCommand = regexp.MustCompile(`(?m)^([ ]*)::`)

// invisible reports whether a character cannot be seen, or changes the order or look of others.
func invisible(r rune) bool {
	switch r {
	case '\u034f', '\u115f', '\u1160', '\u17b4', '\u17b5', '\u2028', '\u2029', '\u2800', '\u3164', '\uffa0':
		return true
	}
	return unicode.Is(unicode.Cc, r) || unicode.Is(unicode.Cf, r)
}

// shorten keeps the beginning and the end of a text that is longer than most characters.
func shorten(text string, most int) string {
	if len(text) <= most || utf8.RuneCountInString(text) <= most {
		return text
	}
	runes := []rune(text)
	end := most / 4 //nolint:mnd // a quarter of it for the end
	return string(runes[:most-end-1]) + "…" + string(runes[len(runes)-end:])
}

// code is a foreign name as a code span: no mention, link or markup works in it.
func code(text string) string {
	text = shorten(clean(text, false), maxName)
	if strings.TrimSpace(text) == "" {
		return "`(empty)`"
	}
	run := longestRun(text)
	if run > maxFence {
		return htmlCode(text)
	}
	fence := strings.Repeat("`", run+1)
	if strings.HasPrefix(text, "`") || strings.HasSuffix(text, "`") || strings.HasPrefix(text, " ") && strings.HasSuffix(text, " ") {
		text = " " + text + " "
	}
	return fence + text + fence
}

// longestRun is the length of the longest run of backticks.
func longestRun(text string) int {
	longest, run := 0, 0
	for _, r := range text {
		if r != '`' {
			run = 0
			continue
		}
		run++
		longest = max(longest, run)
	}
	return longest
}

// cell is a foreign name as code in a cell of a table, where a code span cannot hold a bar.
func cell(text string) string {
	if strings.ContainsAny(text, `|\`) {
		return htmlCode(text)
	}
	return code(text)
}

// htmlCode is a foreign name as code where Markdown is not read (in a summary) or not enough.
func htmlCode(text string) string {
	text = shorten(clean(text, false), maxName)
	if strings.TrimSpace(text) == "" {
		text = "(empty)"
	}
	var safe strings.Builder
	for _, r := range text {
		if strings.ContainsRune("\\`|*_{}[]()#+!~$@:^", r) {
			fmt.Fprintf(&safe, "&#%d;", r)
			continue
		}
		safe.WriteString(html.EscapeString(string(r)))
	}
	return "<code>" + safe.String() + "</code>"
}

var (
	// quoted is a part of a text that its writer marked as code.
	quoted = regexp.MustCompile("`[^`]+`")
	// reference is a pull request or issue of this repository, as people write it.
	reference = regexp.MustCompile(`^#[1-9][0-9]{0,9}('s)?$`)
	// plainWord is a word that means nothing to Markdown, wherever it is in a line but at its start.
	plainWord = regexp.MustCompile(`^[\p{L}\p{N}][\p{L}\p{N}\p{M}'’"./,;%()?!…–—→-]*$`)
	// linked is a word that GitHub turns into a link ("autolinked references and URLs" in
	// https://docs.github.com/en/get-started/writing-on-github/working-with-advanced-formatting).
	linked = regexp.MustCompile(`(?i)^gh-[0-9]|www\.`)
	// bullet is what would begin a list, were it the first word of a line.
	bullet = regexp.MustCompile(`^[0-9]+[.)]*$`)
	// sign is punctuation that may stand alone.
	sign = regexp.MustCompile(`^(→|–|—|-|=|…|/|·)$`)
)

// prose is a foreign text as part of a sentence. Words that are only words stay as they are; names
// with other characters in them, and what is between backticks, become code.
func prose(text string) string {
	text = shorten(clean(text, false), maxProse)
	var words []string
	from := 0
	for _, span := range quoted.FindAllStringIndex(text, -1) {
		words = joinWords(words, text[from:span[0]])
		inside := code(text[span[0]+1 : span[1]-1])
		if span[0] > 0 && text[span[0]-1] != ' ' && len(words) > 0 {
			words[len(words)-1] += glue(words[len(words)-1]) + inside
		} else {
			words = append(words, inside)
		}
		from = span[1]
		if rest := text[from:]; rest != "" && rest[0] != ' ' { // the comma after a name
			stop := strings.IndexAny(rest, " `")
			if stop < 0 {
				stop = len(rest)
			}
			if tail := rest[:stop]; strings.Trim(tail, `.,;:!?)'"s`) == "" {
				words[len(words)-1] += tail
				from += stop
			}
		}
	}
	return strings.Join(joinWords(words, text[from:]), " ")
}

// glue separates two code spans, which would otherwise become one.
func glue(word string) string {
	if strings.HasSuffix(word, "`") {
		return " "
	}
	return ""
}

func joinWords(words []string, text string) []string {
	for word := range strings.FieldsSeq(text) {
		words = append(words, harmlessWord(word, len(words) == 0))
	}
	return words
}

// harmlessWord is one word of a foreign text, with the punctuation around it left alone.
func harmlessWord(word string, first bool) string {
	core := strings.TrimLeft(word, `("'`)
	before := word[:len(word)-len(core)]
	trimmed := strings.TrimRight(core, `.,;:!?)"'…`)
	after := core[len(trimmed):]
	switch {
	case trimmed == "":
		return word
	case sign.MatchString(trimmed) && !first, reference.MatchString(trimmed):
	case !plainWord.MatchString(trimmed) || linked.MatchString(trimmed) || first && before == "" && bullet.MatchString(trimmed):
		trimmed = code(trimmed)
	}
	return before + trimmed + after
}

// block is a foreign text of several lines as a code block, whose fence nothing in it can close.
func block(language, text string) string {
	text = strings.TrimRight(clean(text, true), "\n ")
	fence := strings.Repeat("`", max(3, longestRun(text)+1)) //nolint:mnd // the shortest fence
	return fence + language + "\n" + text + "\n" + fence + "\n"
}

// plain is a foreign text as one line that nothing reads as Markdown: titles and descriptions.
func plain(text string, most int) string {
	return shorten(strings.Join(strings.Fields(clean(text, false)), " "), most)
}
