package render

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// diffLine is one line of a diff: what happens to it and what it is.
type diffLine struct {
	sign string // "+", "-", "!", or " " for one that stays
	text string
}

const (
	// maxLines is how many lines of one value are shown.
	maxLines = 60
	// around is how many lines that stay are shown beside those that change.
	around = 2
	// maxShown is how long a line is shown that was shortened together with another: both, and what is between.
	maxShown = 2 * maxValue
	// maxCells bounds the table by which two lists are compared. Longer ones are shown as wholly replaced.
	maxCells = 250_000
)

// compare lists how one list becomes another, with as many elements kept as possible.
func compare(before, after []string) []diffLine {
	same := 0
	for same < min(len(before), len(after)) && before[same] == after[same] {
		same++
	}
	tail := 0
	for tail < min(len(before), len(after))-same && before[len(before)-1-tail] == after[len(after)-1-tail] {
		tail++
	}
	lines := make([]diffLine, 0, len(after))
	for _, text := range before[:same] {
		lines = append(lines, diffLine{" ", text})
	}
	lines = append(lines, between(before[same:len(before)-tail], after[same:len(after)-tail])...)
	for _, text := range before[len(before)-tail:] {
		lines = append(lines, diffLine{" ", text})
	}
	return lines
}

// between compares what begins and ends differently, by the longest common subsequence.
func between(before, after []string) []diffLine {
	var lines []diffLine
	take := func(sign string, texts []string) {
		for _, text := range texts {
			lines = append(lines, diffLine{sign, text})
		}
	}
	if len(before) == 0 || len(after) == 0 || len(before)*len(after) > maxCells {
		take("-", before)
		take("+", after)
		return lines
	}
	width := len(after) + 1
	kept := make([]int32, (len(before)+1)*width) // kept[i*width+j]: how many are common to before[i:] and after[j:]
	for i, old := range slices.Backward(before) {
		for j, next := range slices.Backward(after) {
			if old == next {
				kept[i*width+j] = kept[(i+1)*width+j+1] + 1
			} else {
				kept[i*width+j] = max(kept[(i+1)*width+j], kept[i*width+j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(before) && j < len(after) {
		switch {
		case before[i] == after[j]:
			take(" ", before[i:i+1])
			i, j = i+1, j+1
		case kept[(i+1)*width+j] >= kept[i*width+j+1]:
			take("-", before[i:i+1])
			i++
		default:
			take("+", after[j:j+1])
			j++
		}
	}
	take("-", before[i:])
	take("+", after[j:])
	return lines
}

// writeLines writes a diff of lines below an attribute. Lines that stay are shown beside those that
// change and counted elsewhere; of very many lines the middle is counted.
func writeLines(text *strings.Builder, lines []diffLine, unit, units string) {
	var shown []diffLine
	quiet := 0
	flush := func() {
		if quiet > 0 {
			shown = append(shown, diffLine{"", "(" + several(quiet, unit, units) + " as before)"})
			quiet = 0
		}
	}
	near := nearChanges(lines)
	for i, line := range lines {
		if line.sign == " " && !near[i] {
			quiet++
			continue
		}
		flush()
		shown = append(shown, line)
	}
	flush()
	pairLines(shown)
	const tail = maxLines / 4
	for i, line := range shown {
		if len(shown) > maxLines && i == maxLines-tail {
			text.WriteString("          (and " + lineCounts(shown[maxLines-tail:len(shown)-tail]) + ")\n")
		}
		if len(shown) > maxLines && i >= maxLines-tail && i < len(shown)-tail {
			continue
		}
		if line.sign == "" {
			line.sign = " "
		}
		text.WriteString(line.sign + "         " + oneLineOf(line.text, maxShown) + "\n")
	}
}

// pairLines shortens long lines together with those that replace them, so that the difference stays.
func pairLines(lines []diffLine) {
	for i := 0; i < len(lines); i++ {
		gone, come := 0, 0
		for i+gone < len(lines) && lines[i+gone].sign == "-" {
			gone++
		}
		for i+gone+come < len(lines) && lines[i+gone+come].sign == "+" {
			come++
		}
		for k := range min(gone, come) {
			old, next := &lines[i+k], &lines[i+gone+k]
			old.text, next.text = cutPair(old.text, next.text)
		}
		i += max(0, gone+come-1)
	}
}

// textLines divides two texts into lines. A line end that both have at the end is no line of its own.
func textLines(before, after string) ([]string, []string) {
	if strings.HasSuffix(before, "\n") && strings.HasSuffix(after, "\n") {
		before, after = strings.TrimSuffix(before, "\n"), strings.TrimSuffix(after, "\n")
	}
	return strings.Split(before, "\n"), strings.Split(after, "\n")
}

// nearChanges marks the lines that stay and are shown all the same.
func nearChanges(lines []diffLine) []bool {
	near := make([]bool, len(lines))
	for i, line := range lines {
		if line.sign == " " {
			continue
		}
		for k := max(0, i-around); k <= min(len(lines)-1, i+around); k++ {
			near[k] = true
		}
	}
	return near
}

// lineCounts says what lines that are not shown do.
func lineCounts(lines []diffLine) string {
	counts := map[string]int{}
	for _, line := range lines {
		counts[line.sign]++
	}
	var words []string
	for _, kind := range []struct{ sign, word string }{{"-", "removed"}, {"+", "added"}, {"!", "changed"}} {
		if n := counts[kind.sign]; n > 0 {
			words = append(words, several(n, "line", "lines")+" more "+kind.word)
		}
	}
	if len(words) == 0 {
		return several(len(lines), "line", "lines") + " more"
	}
	return list(words)
}

// cutPair shortens two values in one line so that what differs between them is still to be seen: first
// what both begin and end with, then the middle of what is left.
func cutPair(before, after string) (string, string) {
	if utf8.RuneCountInString(before) <= maxValue && utf8.RuneCountInString(after) <= maxValue {
		return before, after
	}
	const context = 40
	old, next := []rune(before), []rune(after)
	same := 0
	for same < min(len(old), len(next)) && old[same] == next[same] {
		same++
	}
	tail := 0
	for tail < min(len(old), len(next))-same && old[len(old)-1-tail] == next[len(next)-1-tail] {
		tail++
	}
	return middle(old, max(0, same-context), max(0, tail-context)), middle(next, max(0, same-context), max(0, tail-context))
}

// middle is a text without its first and last characters.
func middle(runes []rune, before, after int) string {
	kept := slices.Clone(runes[before : len(runes)-after])
	text := shorten(string(kept), maxValue)
	if before > 0 {
		text = "…" + text
	}
	if after > 0 {
		text += "…"
	}
	if len(kept) < len(runes) || len(runes) > maxValue {
		text += " (" + number(len(runes)) + " characters)"
	}
	return text
}
