package operation

import (
	"slices"
	"strings"
)

// Doubt is one reason why an apply needs a person's yes whatever its plan shows.
type Doubt struct {
	// Key names what it is about by root, stage, commit and content, without line breaks. It stays the same while that does,
	// however the sentence changes; a yes is to keys.
	Key    string `json:"key"`
	Text   string `json:"text"`             // for people, one sentence
	Undoes bool   `json:"undoes,omitempty"` // the candidate lacks what was applied: it counts for a plan without changes, too
}

// Doubts is a set of doubts, in the order in which people read them: each key is there once.
type Doubts []Doubt

// With adds doubts; of one that is there already the older words stay.
func (d Doubts) With(more ...Doubt) Doubts {
	all := slices.Clone(d)
	for _, doubt := range more {
		if !slices.ContainsFunc(all, func(known Doubt) bool { return known.Key == doubt.Key }) {
			all = append(all, doubt)
		}
	}
	return all
}

// Without leaves out those that people have said yes to.
func (d Doubts) Without(agreed []string) Doubts {
	return slices.DeleteFunc(slices.Clone(d), func(doubt Doubt) bool { return slices.Contains(agreed, doubt.Key) })
}

// Keys lists the keys, sorted.
func (d Doubts) Keys() []string {
	keys := make([]string, 0, len(d))
	for _, doubt := range d {
		keys = append(keys, doubt.Key)
	}
	slices.Sort(keys)
	return keys
}

// Text is what people read: each sentence once.
func (d Doubts) Text() string {
	var sentences []string
	for _, doubt := range d {
		if !slices.Contains(sentences, doubt.Text) {
			sentences = append(sentences, doubt.Text)
		}
	}
	return strings.Join(sentences, " ")
}

// DoubtLines are the keys of doubts as the digest of a question has them: sorted, one a line.
func DoubtLines(keys []string) string {
	return strings.Join(slices.Sorted(slices.Values(keys)), "\n")
}
