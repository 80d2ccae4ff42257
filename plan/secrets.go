package plan

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	tfjson "github.com/hashicorp/terraform-json"

	"github.com/switchyard-dev/switchyard/operation"
)

// How long a sensitive text must be to be looked for outside of its own object. Shorter ones
// ("dev", "admin") would hide values that are nobody's secret.
const minSecret = 8

// secrets is a set of sensitive texts and numbers. A provider may copy a sensitive value to an
// attribute that Terraform does not mark, as terraform_data copies its input to its output, and
// Terraform then shows it. What is marked in one place is therefore hidden in all. The set lives as
// long as one plan is read and leaves this package nowhere.
type secrets map[string]bool

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
			s[value] = true
		}
	case json.Number:
		if len(value) > 2 { // one or two digits are everywhere
			s[value.String()] = true
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
	for secret := range other {
		s[secret] = true
	}
}

// in reports whether a value is, or has in it, one of the secrets as a whole.
func (s secrets) in(value any) bool {
	if len(s) == 0 {
		return false
	}
	switch value := value.(type) {
	case string:
		return s[value] || s.within(value)
	case json.Number:
		return s[value.String()]
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
	for secret := range s {
		if len(secret) >= minSecret && strings.Contains(text, secret) {
			return true
		}
	}
	return false
}

// hide makes sensitive every attribute of changes in which one of the longer secrets is.
func (s secrets) hide(changes []operation.Change) {
	long := secrets{}
	for secret := range s {
		if len(secret) >= minSecret {
			long[secret] = true
		}
	}
	if len(long) == 0 {
		return
	}
	for _, change := range changes {
		for i, attribute := range change.Attributes {
			if long.inJSON(attribute.Before) || long.inJSON(attribute.After) {
				change.Attributes[i] = operation.Attribute{Path: attribute.Path, Sensitive: true, Unknown: attribute.Unknown}
			}
		}
	}
}

// inJSON is in for a value that was written as JSON already.
func (s secrets) inJSON(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return false
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return true // not ours: hide it
	}
	return s.in(value)
}
