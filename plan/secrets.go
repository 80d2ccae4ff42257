package plan

import (
	"encoding/binary"
	"encoding/json"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/switchyard-dev/switchyard/operation"
)

// How long a sensitive text must be to be looked for outside of its own object. Shorter ones
// ("dev", "admin") would hide values that are nobody's secret.
const minSecret = 8

// maxAlike is how many secrets with the same first minSecret bytes are told apart. More than that would make
// looking for them slow; then whatever has those bytes in it is hidden.
const maxAlike = 64

// secrets is a set of sensitive texts and numbers. A provider may copy a sensitive value to an
// attribute that Terraform does not mark, as terraform_data copies its input to its output, and
// Terraform then shows it. What is marked in one place is therefore hidden in all. The set lives as
// long as one plan is read and leaves this package nowhere.
type secrets struct {
	exact  map[string]bool
	starts map[uint64][]string // the longer ones, by their first minSecret bytes
}

func newSecrets() secrets {
	return secrets{exact: map[string]bool{}, starts: map[uint64][]string{}}
}

// add adds one secret.
func (s secrets) add(secret string) {
	if s.exact[secret] {
		return
	}
	s.exact[secret] = true
	if len(secret) < minSecret {
		return
	}
	start := binary.LittleEndian.Uint64([]byte(secret[:minSecret]))
	alike := s.starts[start]
	switch {
	case len(alike) < maxAlike:
		s.starts[start] = append(alike, secret)
	case len(alike) == maxAlike:
		s.starts[start] = append(alike[:0], secret[:minSecret])
	}
}

// collect adds what the masks of a change cover.
func (s secrets) collect(change *tfjson.Change) {
	before, after := sides(change)
	s.under(before.value, before.sensitive)
	s.under(after.value, after.sensitive)
}

// under adds the texts and numbers of value that mask covers.
func (s secrets) under(value, mask any) {
	if !marked(mask) {
		return
	}
	if !fits(mask, value) {
		mask = true
	}
	switch value := value.(type) {
	case string:
		if value != "" {
			s.add(value)
		}
	case json.Number:
		if len(value) > 2 { // one or two digits are everywhere
			s.add(value.String())
		}
	case map[string]any:
		for key, element := range value {
			s.under(element, maskKey(mask, key))
		}
	case []any:
		for i, element := range value {
			s.under(element, maskIndex(mask, i))
		}
	}
}

func (s secrets) merge(other secrets) {
	for secret := range other.exact {
		s.add(secret)
	}
}

// in reports whether a value is, or has in it, one of the secrets as a whole.
func (s secrets) in(value any) bool {
	if len(s.exact) == 0 {
		return false
	}
	switch value := value.(type) {
	case string:
		return s.exact[value] || s.within(value)
	case json.Number:
		return s.exact[value.String()]
	case map[string]any:
		for key, element := range value {
			if s.within(key) || s.in(element) {
				return true
			}
		}
	case []any:
		return slices.ContainsFunc(value, s.in)
	}
	return false
}

// within reports whether a text has one of the longer secrets as a part, as a connection string has
// a password.
func (s secrets) within(text string) bool {
	if len(s.starts) == 0 || len(text) < minSecret {
		return false
	}
	var start uint64
	const top = 8 * (minSecret - 1) // bits
	for i := range len(text) {
		start = start>>8 | uint64(text[i])<<top
		if i < minSecret-1 {
			continue
		}
		for _, secret := range s.starts[start] {
			if strings.HasPrefix(text[i-minSecret+1:], secret) {
				return true
			}
		}
	}
	return false
}

// hidden are the longer secrets as they stand in JSON.
type hidden struct{ secrets }

// written gives the longer secrets as they stand in JSON.
func (s secrets) written() hidden {
	written := newSecrets()
	for secret := range s.exact {
		if len(secret) >= minSecret {
			quoted := quote(secret)
			written.add(quoted[1 : len(quoted)-1])
		}
	}
	return hidden{written}
}

// hide makes sensitive every attribute of changes in which one of them is.
func (h hidden) hide(changes []operation.Change) {
	if len(h.starts) == 0 {
		return
	}
	for _, change := range changes {
		for i, attribute := range change.Attributes {
			if h.within(string(attribute.Before)) || h.within(string(attribute.After)) {
				change.Attributes[i] = operation.Attribute{Path: attribute.Path, Sensitive: true, Unknown: attribute.Unknown}
			}
		}
	}
}
