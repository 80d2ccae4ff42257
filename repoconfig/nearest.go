package repoconfig

import "strings"

// longestTypo is the longest word that is compared: what is longer is no slip of the fingers.
const longestTypo = 64

// Nearest finds the candidate that somebody who wrote word most likely meant: one slip (a letter
// more, less, wrong, or two swapped) in a word of up to five letters, two in a longer one, whatever
// the case. It is "" where none is near enough.
func Nearest(word string, candidates []string) string {
	best, fewest := "", 3
	for _, candidate := range candidates {
		allowed := 2
		if max(len(word), len(candidate)) <= 5 {
			allowed = 1
		}
		if len(word) > longestTypo {
			continue
		}
		if slips := distance(strings.ToLower(word), strings.ToLower(candidate)); slips <= allowed && slips < fewest {
			best, fewest = candidate, slips
		}
	}
	return best
}

// distance counts the slips between two words (optimal string alignment).
func distance(a, b string) int {
	beforeLast, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], beforeLast[j-2]+1)
			}
		}
		beforeLast, last = last, row
	}
	return last[len(b)]
}
