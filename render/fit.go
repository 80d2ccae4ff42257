package render

import "strings"

// The order in which pieces of a text give way when it is too long: all of one rank are at their
// shortest before the next rank is touched.
const (
	rankDetails  = iota // the full plan of a target: attributes, then names, then addresses, then counts
	rankWords           // long explanations, errors, lists of reasons
	rankTable           // rows of tables
	rankDestroys        // what is destroyed or replaced: cut late, and then to counts
	rankRisks           // what is dangerous: cut last
	rankFixed           // never
)

// piece is a part of a text in forms of falling length.
type piece struct {
	rank  int
	forms []string
	form  int
	lacks bool // even its longest form leaves out what only a text with more room can show
}

// fixed is a piece that stays as it is. Its length is bounded by what makes it.
func fixed(text string) *piece { return &piece{rank: rankFixed, forms: []string{text}} }

func (p *piece) text() string {
	if len(p.forms) == 0 {
		return ""
	}
	return p.forms[p.form]
}

// whole reports whether the piece shows all that it is about.
func (p *piece) whole() bool { return p.form == 0 && !p.lacks }

// canGive reports whether the piece has a shorter form.
func (p *piece) canGive() bool { return p.form+1 < len(p.forms) }

// fit joins pieces, each separated from the next by an empty line, to a text that weighs at most limit.
// The targets share one budget: the longest of them gives way first, so that a short plan stays whole
// beside a long one. A piece is shown as a whole or not at all: what does not fit even in the shortest forms is left out
// from the first piece on that is too long, and that is said.
func fit(limit int, pieces ...*piece) string {
	giveWay(limit, pieces)
	const rest = "The rest is too long to be shown here.\n"
	used := 0
	var text strings.Builder
	for i, p := range pieces {
		part := strings.TrimRight(p.text(), "\n")
		if part == "" {
			continue
		}
		room := limit - used
		if i < len(pieces)-1 {
			room -= weight(rest) + weight(gap)
		}
		if weight(part)+weight(gap) > room {
			text.WriteString(rest)
			break
		}
		text.WriteString(part)
		text.WriteString(gap)
		used += weight(part) + weight(gap)
	}
	return strings.TrimRight(text.String(), "\n") + "\n"
}

// giveWay has pieces take shorter forms until they weigh at most limit, or no piece has a shorter one.
func giveWay(limit int, pieces []*piece) {
	for total := length(pieces); total > limit; {
		longest := next(pieces)
		if longest == nil {
			return
		}
		total -= longest.size()
		longest.form++
		total += longest.size()
	}
}

// weight is how long a text is as a JSON string, as it is sent to GitHub: what is escaped counts as its
// escape. It is never less than the bytes of the text, and those never less than its characters, so
// that a limit on any of the three is kept by keeping it on the weight.
func weight(text string) int {
	sum := len(text)
	for i := range len(text) {
		switch c := text[i]; {
		case c == '"' || c == '\\' || c == '\n' || c == '\t':
			sum++
		case c < ' ':
			sum += len(`\u0000`) - 1
		}
	}
	return sum
}

// gap is between two pieces.
const gap = "\n\n"

// next is the piece that gives way next: the longest of the lowest rank; nil when none can.
func next(pieces []*piece) *piece {
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
	return longest
}

// size is what the piece weighs with what separates it.
func (p *piece) size() int {
	if text := p.text(); text != "" {
		return weight(text) + weight(gap)
	}
	return 0
}

func length(pieces []*piece) int {
	const slack = 64 // for the words that say that something is left out
	total := slack
	for _, p := range pieces {
		total += p.size()
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
