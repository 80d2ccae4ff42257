package plan

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"hash"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// The first lines of what is hashed. They rise when the form below changes.
const (
	digestForm   = "switchyard changes 1\n"
	questionForm = "switchyard question 1\n"
	blockedForm  = "switchyard blocked 1\n"
)

// Digest names a set of changes: two plans with the same digest do the same. It is the SHA-256, in
// lower-case hex, of the bytes
//
//	"switchyard changes 1\n" change*
//
// with the changes sorted by address, deposed key, action and then their own encoding, all compared
// as bytes. A change is the fields
//
//	address previous_address action import_id deposed reason paths path* attributes attribute*
//
// and an attribute the fields
//
//	path flags before after
//
// Each field is a netstring: its length in bytes in decimal, ":", its bytes, ",". paths and
// attributes are the number of the elements that follow, in decimal. reason is empty but for
// outputs, where it is the action on the output (create, update, delete). flags is "", "u" (unknown
// until applied), "s" (sensitive) or "us". before and after are empty where there is no value, else
// JSON without white space, object keys sorted by bytes, numbers as Terraform wrote them, and in
// strings only `"`, `\`, control characters below U+0020 (\b \f \n \r \t, else \u00XX), U+2028 and
// U+2029 escaped. Outputs and reads have neither paths nor attributes: they change nothing by
// themselves, and their values follow from the other changes.
func Digest(changes []operation.Change) string { return digest(changes, false) }

func digest(changes []operation.Change, asked bool) string {
	sorted := slices.Clone(changes)
	sortChanges(sorted)
	sum := newSum(asked)
	for _, change := range sorted {
		sum.add(change)
	}
	return sum.text()
}

// sum makes a digest of changes that come sorted.
type sum struct {
	hash  hash.Hash
	asked bool
}

func newSum(asked bool) *sum {
	s := sum{hash: sha256.New(), asked: asked}
	_, _ = io.WriteString(s.hash, digestForm) // never fails
	return &s
}

func (s *sum) add(change operation.Change) { _, _ = io.WriteString(s.hash, encodeAs(change, s.asked)) }

func (s *sum) text() string { return hex.EncodeToString(s.hash.Sum(nil)) }

// Question names what a person is asked about: the unexpected changes of all targets, and a doubt.
// A person's yes to it holds as long as exactly the same is asked. With a doubt it holds for that
// commit only, because the doubt is about the commit; without one the same changes of a later commit
// are the same question. It is empty when there is nothing to ask. The hash is, in the form that
// Digest describes, of
//
//	"switchyard question 1\n" doubt commit (environment root digest)*
//
// with commit empty where there is no doubt, and the targets that have changes sorted by environment
// and root. digest is Digest of the changes, but for attributes that are another in each plan: of
// them flags ends in "v" and after is empty, so that a yes still fits the plan that is made after it.
func Question(changes map[operation.Target][]operation.Change, doubt, commit string) string {
	digests := map[operation.Target]string{}
	for target, asked := range changes {
		if len(asked) > 0 {
			digests[target] = digest(asked, true)
		}
	}
	return QuestionOf(digests, doubt, commit)
}

// QuestionOf is Question where of the changes of each target only their digest is known, see Explanation.Digest; it is
// empty for a target that has none to ask about.
func QuestionOf(changes map[operation.Target]string, doubt, commit string) string {
	targets := make([]operation.Target, 0, len(changes))
	for target, asked := range changes {
		if asked != "" {
			targets = append(targets, target)
		}
	}
	if len(targets) == 0 && doubt == "" {
		return ""
	}
	if doubt == "" {
		commit = ""
	}
	sortTargets(targets)
	var text strings.Builder
	text.WriteString(questionForm)
	field(&text, doubt)
	field(&text, commit)
	for _, target := range targets {
		field(&text, target.Environment)
		field(&text, target.Root)
		field(&text, changes[target])
	}
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:])
}

// BlockedQuestion names what stops an apply although there is nothing to say yes to: addresses whose risks must be
// approved one by one. It is the SHA-256 of
//
//	"switchyard blocked 1\n" (environment root addresses address*)*
//
// in the form of Question, with the addresses sorted. It is empty when nothing is blocked.
func BlockedQuestion(blocked map[operation.Target][]string) string {
	var targets []operation.Target
	for target, addresses := range blocked {
		if len(addresses) > 0 {
			targets = append(targets, target)
		}
	}
	if len(targets) == 0 {
		return ""
	}
	sortTargets(targets)
	var text strings.Builder
	text.WriteString(blockedForm)
	for _, target := range targets {
		field(&text, target.Environment)
		field(&text, target.Root)
		addresses := slices.Sorted(slices.Values(blocked[target]))
		field(&text, strconv.Itoa(len(addresses)))
		for _, address := range addresses {
			field(&text, address)
		}
	}
	sum := sha256.Sum256([]byte(text.String()))
	return hex.EncodeToString(sum[:])
}

func sortTargets(targets []operation.Target) {
	slices.SortFunc(targets, func(a, b operation.Target) int {
		return cmp.Or(cmp.Compare(a.Environment, b.Environment), cmp.Compare(a.Root, b.Root))
	})
}

// encode is the form of one change that is hashed.
func encode(change operation.Change) string { return encodeAs(change, false) }

// encodeAs is encode; for a question without the values that are another in each plan.
func encodeAs(change operation.Change, asked bool) string {
	reason := ""
	paths, attributes := change.ReplacePaths, change.Attributes
	switch change.Action {
	case operation.Output:
		reason, paths, attributes = change.ActionReason, nil, nil
	case operation.Read:
		paths, attributes = nil, nil
	default:
	}
	var text strings.Builder
	field(&text, change.Address)
	field(&text, change.PreviousAddress)
	field(&text, string(change.Action))
	field(&text, change.ImportID)
	field(&text, change.Deposed)
	field(&text, reason)
	field(&text, strconv.Itoa(len(paths)))
	for _, path := range paths {
		field(&text, path)
	}
	field(&text, strconv.Itoa(len(attributes)))
	for _, attribute := range attributes {
		encodeAttribute(&text, attribute, asked && attribute.Volatile)
	}
	return text.String()
}

func encodeAttribute(text *strings.Builder, attribute operation.Attribute, volatile bool) {
	flags := ""
	if attribute.Unknown {
		flags += "u"
	}
	if attribute.Sensitive {
		flags += "s"
	}
	if volatile {
		flags += "v"
		attribute.After = nil
	}
	field(text, attribute.Path)
	field(text, flags)
	field(text, canonical(attribute.Before))
	field(text, canonical(attribute.After))
}

// field writes a netstring, so that no content of one field can look like another.
func field(text *strings.Builder, content string) {
	text.WriteString(strconv.Itoa(len(content)))
	text.WriteByte(':')
	text.WriteString(content)
	text.WriteByte(',')
}

// canonical writes a JSON value in the one form that is compared and hashed. A value that went
// through a result file may have got other escapes on its way. What is not JSON stays as it is.
func canonical(raw json.RawMessage) string {
	if len(raw) == 0 {
		return ""
	}
	if simple(raw) {
		return string(raw)
	}
	decoder := json.NewDecoder(bytes.NewReader(raw))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return string(raw)
	}
	if decoder.More() { // two values are not one
		return string(raw)
	}
	text, err := marshal(value)
	if err != nil {
		return string(raw)
	}
	return string(text)
}

// simple reports whether a JSON value is a string of plain ASCII characters, which has one form only.
func simple(raw json.RawMessage) bool {
	return len(raw) >= 2 && raw[0] == '"' && raw[len(raw)-1] == '"' && plain(string(raw[1:len(raw)-1]))
}

// plain reports whether a text is the same in a JSON string.
func plain(text string) bool {
	for i := range len(text) {
		if c := text[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// marshal is compact JSON with sorted keys and without HTML escapes.
func marshal(value any) (json.RawMessage, error) {
	var buffer bytes.Buffer
	encoder := json.NewEncoder(&buffer)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return nil, err //nolint:wrapcheck // the callers say what was written
	}
	return bytes.TrimSuffix(buffer.Bytes(), []byte("\n")), nil
}
