package repoconfig

import (
	"slices"
	"strings"
)

// Match reports whether a name matches a pattern: * stands for any characters but a slash, ** for
// any characters, both also for none; everything else for itself. These are the rules of GitHub's
// branch filters without the characters that Switchyard has no use for.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#filter-pattern-cheat-sheet
func Match(pattern, name string) bool {
	tokens := tokensOf(pattern)
	at := make([]bool, len(tokens)+1) // positions in the pattern that the name so far can have reached
	at[0] = true
	skipStars(tokens, at)
	for i := range len(name) {
		next := make([]bool, len(tokens)+1)
		for j, token := range tokens {
			if !at[j] || !token.takes(name[i]) {
				continue
			}
			next[token.after(j)] = true
		}
		skipStars(tokens, next)
		at = next
	}
	return at[len(tokens)]
}

// token is one part of a pattern: a byte that stands for itself, or a star.
type token int

const (
	inSegment token = 256 + iota // *
	anything                     // **
)

func (t token) star() bool { return t >= inSegment }

func (t token) takes(c byte) bool {
	switch t {
	case anything:
		return true
	case inSegment:
		return c != '/'
	default:
		return t == token(c)
	}
}

func tokensOf(pattern string) []token {
	tokens := make([]token, 0, len(pattern))
	for i := 0; i < len(pattern); i++ {
		switch {
		case pattern[i] != '*':
			tokens = append(tokens, token(pattern[i]))
		case i+1 < len(pattern) && pattern[i+1] == '*':
			tokens = append(tokens, anything)
			i++
		default:
			tokens = append(tokens, inSegment)
		}
	}
	return tokens
}

// skipStars adds the positions that are reached by letting stars stand for nothing.
func skipStars(tokens []token, at []bool) {
	for j, token := range tokens {
		if at[j] && token.star() {
			at[j+1] = true
		}
	}
}

// overlap finds a name that both patterns match, where there is one a name in which no star stands
// for nothing: people recognise "release/x" rather than "release/".
func overlap(a, b string) (string, bool) {
	name, both := common(tokensOf(a), tokensOf(b))
	if !both {
		return "", false
	}
	filled := strings.NewReplacer("**", "x**", "*", "x*")
	if better, ok := common(tokensOf(filled.Replace(a)), tokensOf(filled.Replace(b))); ok {
		return better, true
	}
	return name, true
}

// common walks the pairs of positions that some name can reach in both patterns, so it takes at most
// the product of their lengths.
func common(left, right []token) (string, bool) {
	width := len(right) + 1
	steps := make([]step, (len(left)+1)*width) // by pair of positions, as one number: i*width+j
	steps[0].reached = true
	queue := []int{0}
	visit := func(from, i, j int, with byte) {
		if to := i*width + j; !steps[to].reached {
			steps[to] = step{reached: true, from: from, with: with}
			queue = append(queue, to)
		}
	}
	for len(queue) > 0 {
		at := queue[0]
		queue = queue[1:]
		i, j := at/width, at%width
		if i == len(left) && j == len(right) {
			return spell(steps, at), true
		}
		if i < len(left) && left[i].star() {
			visit(at, i+1, j, 0)
		}
		if j < len(right) && right[j].star() {
			visit(at, i, j+1, 0)
		}
		if i == len(left) || j == len(right) {
			continue
		}
		if c, ok := both(left[i], right[j]); ok {
			visit(at, left[i].after(i), right[j].after(j), c)
		}
	}
	return "", false
}

// step is how a pair of positions was reached first.
type step struct {
	reached bool
	from    int
	with    byte // 0 where a star stood for nothing
}

// spell gives the name whose bytes lead to a pair of positions.
func spell(steps []step, at int) string {
	var name []byte
	for ; at != 0; at = steps[at].from {
		if steps[at].with != 0 {
			name = append(name, steps[at].with)
		}
	}
	slices.Reverse(name)
	return string(name)
}

// after is the position that a token at position i leads to when it takes a byte.
func (t token) after(i int) int {
	if t.star() {
		return i
	}
	return i + 1
}

// both finds a byte that two tokens take. Two stars take what brings neither further, so none is needed.
func both(a, b token) (byte, bool) {
	switch {
	case a.star() && b.star():
		return 0, false
	case a.star():
		return byte(b), a.takes(byte(b)) //nolint:gosec // a token that is no star is a byte
	default:
		return byte(a), b.takes(byte(a)) //nolint:gosec // a token that is no star is a byte
	}
}
