package render

import (
	"bytes"
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Bounds of the patterns under `mask`. Go's patterns take time that is linear in the text
// (https://pkg.go.dev/regexp), so that their number and length bound the time of all of them.
const (
	maxPatterns = 50
	maxPattern  = 1000 // bytes
)

// maskedText stands where a pattern matched.
const maskedText = "***"

// mask hides what matches the patterns of the configuration. It is applied to whole texts, before
// anything is cut or divided, so that no cut shows a half of what it would have hidden.
type mask struct {
	patterns []*regexp.Regexp
	all      bool // a pattern cannot be used: nobody knows what it would have hidden, so every value is
}

func newMask(patterns []string) mask {
	var m mask
	for _, pattern := range patterns {
		compiled, err := regexp.Compile(pattern)
		if err != nil || len(pattern) > maxPattern || len(m.patterns) == maxPatterns {
			return mask{all: true}
		}
		m.patterns = append(m.patterns, compiled)
	}
	return m
}

// idle reports whether nothing is masked.
func (m mask) idle() bool { return !m.all && len(m.patterns) == 0 }

// text masks the words of Terraform or of a provider.
func (m mask) text(text string) string {
	if m.all && text != "" {
		return maskedText
	}
	return m.name(text)
}

// name masks a text that has to be shown even if the patterns cannot be used, such as an address.
func (m mask) name(text string) string {
	spans := m.find(text)
	if len(spans) == 0 {
		return text
	}
	var hidden strings.Builder
	from := 0
	for _, span := range spans {
		hidden.WriteString(text[from:span[0]])
		hidden.WriteString(maskedText)
		from = span[1]
	}
	hidden.WriteString(text[from:])
	return hidden.String()
}

// find lists what the patterns match, each in the text as it is, with what overlaps or touches joined.
func (m mask) find(text string) [][]int {
	var found [][]int
	for _, pattern := range m.patterns {
		for _, span := range pattern.FindAllStringIndex(text, -1) {
			if span[0] < span[1] {
				found = append(found, span)
			}
		}
	}
	slices.SortFunc(found, func(a, b []int) int { return a[0] - b[0] })
	var joined [][]int
	for _, span := range found {
		if last := len(joined) - 1; last >= 0 && span[0] <= joined[last][1] {
			joined[last][1] = max(joined[last][1], span[1])
			continue
		}
		joined = append(joined, span)
	}
	return joined
}

// value masks a value in JSON. What is found in a string is masked there; what is found in anything
// else, or only together with the name of the attribute, masks the whole value.
func (m mask) value(path string, raw json.RawMessage) json.RawMessage {
	if len(raw) == 0 {
		return raw
	}
	whole := json.RawMessage(`"` + maskedText + `"`)
	if m.all || m.named(path, raw) {
		return whole
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var decoded any
	if decoder.Decode(&decoded) != nil {
		return whole
	}
	text, ok := decoded.(string)
	switch {
	case !ok && (m.within(decoded) || len(m.find(string(raw))) > 0):
		return whole
	case !ok || len(m.find(text)) == 0:
		return raw
	}
	encoded, err := json.Marshal(m.name(text))
	if err != nil {
		return whole
	}
	return encoded
}

// named reports whether a pattern matches a value together with its name, as people write it:
// "password: …" or "password = …".
func (m mask) named(path string, raw json.RawMessage) bool {
	text := unescapeHTML(string(raw))
	for _, between := range []string{": ", " = "} {
		line := path + between + text
		for _, span := range m.find(line) {
			if span[0] < len(path)+len(between) && span[1] > len(path)+len(between) {
				return true
			}
		}
	}
	return false
}

// within reports whether a pattern matches a string in a value.
func (m mask) within(value any) bool {
	switch value := value.(type) {
	case string:
		return len(m.find(value)) > 0
	case []any:
		return slices.ContainsFunc(value, m.within)
	case map[string]any:
		for key, element := range value {
			if m.within(key) || m.within(element) {
				return true
			}
		}
	}
	return false
}

// operation is a copy of an operation in which nothing is left to mask.
func (m mask) operation(op operation.Operation) operation.Operation {
	if m.idle() {
		return op
	}
	if told(op) {
		op.Message = m.text(op.Message)
	} else {
		op.Message = m.name(op.Message)
	}
	op.Doubt = m.name(op.Doubt)
	op.Result = m.result(op.Result)
	return op
}

func (m mask) result(result *operation.Result) *operation.Result {
	if result == nil || m.idle() {
		return result
	}
	shown := *result
	shown.Error = m.text(result.Error)
	shown.Targets = make([]operation.TargetResult, len(result.Targets))
	for i, target := range result.Targets {
		shown.Targets[i] = m.target(target)
	}
	if m.all && len(shown.Targets) > 0 {
		const note = "A pattern under `mask` in the configuration cannot be used, so no value is shown"
		shown.Targets[0].Notes = append(shown.Targets[0].Notes, note)
	}
	return &shown
}

func (m mask) target(target operation.TargetResult) operation.TargetResult {
	target.ChangeSet.Changes = m.changes(target.ChangeSet.Changes)
	target.Unexpected, target.Tolerated, target.Drift = m.changes(target.Unexpected), m.changes(target.Tolerated), m.changes(target.Drift)
	target.Blocked, target.Notes, target.Error = m.each(target.Blocked, m.name), m.each(target.Notes, m.text), m.text(target.Error)
	risks := make([]operation.Risk, len(target.Risks))
	for i, risk := range target.Risks {
		risk.Address, risk.Reason = m.name(risk.Address), m.name(risk.Reason)
		risks[i] = risk
	}
	target.Risks = risks
	if target.Lock != nil {
		lock := *target.Lock
		lock.Who, lock.Operation, lock.Path = m.name(lock.Who), m.name(lock.Operation), m.name(lock.Path)
		target.Lock = &lock
	}
	return target
}

func (m mask) each(texts []string, hide func(string) string) []string {
	hidden := make([]string, len(texts))
	for i, text := range texts {
		hidden[i] = hide(text)
	}
	return hidden
}

func (m mask) changes(changes []operation.Change) []operation.Change {
	hidden := make([]operation.Change, len(changes))
	for i, change := range changes {
		hidden[i] = m.change(change)
	}
	return hidden
}

func (m mask) change(change operation.Change) operation.Change {
	change.Address, change.PreviousAddress = m.name(change.Address), m.name(change.PreviousAddress)
	change.ImportID, change.Deposed = m.name(change.ImportID), m.name(change.Deposed)
	change.ReplacePaths = m.each(change.ReplacePaths, m.name)
	attributes := make([]operation.Attribute, len(change.Attributes))
	for i, attribute := range change.Attributes {
		attribute.Before, attribute.After = m.value(attribute.Path, attribute.Before), m.value(attribute.Path, attribute.After)
		attribute.Path = m.name(attribute.Path)
		attributes[i] = attribute
	}
	change.Attributes = attributes
	if change.Cause != nil {
		cause := *change.Cause
		cause.Detail = m.name(cause.Detail)
		change.Cause = &cause
	}
	return change
}
