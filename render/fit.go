package render

import "strings"

// The order in which pieces of a text give way when it is too long: all of one rank are at their
// shortest before the next rank is touched.
const (
	rankDetails  = iota // the full plan of a target: attributes, then names, then addresses, then counts
	rankWords           // long explanations, errors, lists of reasons
	rankTable           // rows of tables
	rankDestroys        // what is destroyed or replaced: cut last, and then to counts
	rankFixed           // never
)

// piece is a part of a text in forms of falling length.
type piece struct {
	rank  int
	forms []string
	form  int
}

// fixed is a piece that stays as it is. Its length is bounded by what makes it.
func fixed(text string) *piece { return &piece{rank: rankFixed, forms: []string{text}} }

func (p *piece) text() string {
	if len(p.forms) == 0 {
		return ""
	}
	return p.forms[p.form]
}

// canGive reports whether the piece has a shorter form.
func (p *piece) canGive() bool { return p.form+1 < len(p.forms) }

// fit joins pieces, each separated from the next by an empty line, to a text of at most limit bytes.
// A text has never more characters than bytes, so both of GitHub's ways to count are satisfied.
func fit(limit int, pieces ...*piece) string {
	for length(pieces) > limit {
		longest := (*piece)(nil)
		for _, candidate := range pieces {
			if !candidate.canGive() {
				continue
			}
			if longest == nil || candidate.rank < longest.rank ||
				candidate.rank == longest.rank && len(candidate.text()) > len(longest.text()) {
				longest = candidate
			}
		}
		if longest == nil {
			break
		}
		longest.form++
	}
	var texts []string
	for _, p := range pieces {
		if text := strings.TrimRight(p.text(), "\n"); text != "" {
			texts = append(texts, text)
		}
	}
	return strings.Join(texts, "\n\n") + "\n"
}

func length(pieces []*piece) int {
	total := 1
	for _, p := range pieces {
		if text := p.text(); text != "" {
			total += len(text) + len("\n\n")
		}
	}
	return total
}

// steps are how many entries of a list are shown, in falling order, when it has to give way.
var steps = []int{1000, 500, 250, 120, 60, 30, 15, 8, 4, 2, 1}

// shrinking is a piece that shows fewer and fewer of n entries. show writes the first k of them and
// says what is left out; last is the form when none is shown.
func shrinking(rank, n, limit int, show func(k int) string, last string) *piece {
	p := &piece{rank: rank}
	add := func(k int) {
		if text := show(k); len(text) <= limit { // longer than everything may be: not worth keeping
			p.forms = append(p.forms, text)
		}
	}
	if n <= steps[0] {
		add(n)
	}
	for _, k := range steps {
		if k < n {
			add(k)
		}
	}
	p.forms = append(p.forms, last)
	return p
}
