package runner

import "regexp"

// mask hides what the repository's patterns match in the words of Terraform and of providers, before they are cut:
// where a cut goes through a secret, no pattern finds its halves. Changes are masked where they are shown, because
// they are compared as they are.
type mask []*regexp.Regexp

func newMask(patterns []string) mask {
	m := make(mask, 0, len(patterns))
	for _, pattern := range patterns {
		compiled, err := regexp.Compile(pattern)
		if err != nil {
			compiled = regexp.MustCompile(`(?s).+`) // nobody knows what it would have hidden
		}
		m = append(m, compiled)
	}
	return m
}

func (m mask) text(words string) string {
	for _, pattern := range m {
		words = pattern.ReplaceAllLiteralString(words, "***")
	}
	return words
}
