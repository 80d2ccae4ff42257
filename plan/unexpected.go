package plan

import (
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Unexpected returns the changes of actual that nobody reviewed: those that expected does not cover.
// A reviewed change covers one with the same address, deposed key, action, earlier address, import
// and replace paths, when both change the same attributes from the same values to the same values.
// Three things more are covered:
//
//   - what was reviewed as unknown until applied and is known now, or turned out not to change;
//   - an update that consists of several reviewed updates of one object, each wholly in it: what two
//     pull requests do to one object, applied together;
//   - outputs by name and action, and reads of data sources by address: their values follow from the
//     other changes.
//
// Reviewed changes that actual lacks are nobody's surprise: less is done than was said.
// A set that was capped is compared by its digest only, because what it left out cannot be compared:
// without the same digest, everything in it is unexpected.
func Unexpected(expected, actual operation.ChangeSet) []operation.Change {
	if actual.Omitted > 0 || expected.Omitted > 0 {
		if actual.Digest != "" && actual.Digest == expected.Digest {
			return nil
		}
	}
	if actual.Omitted > 0 {
		return unknowable(actual)
	}
	type object struct{ address, deposed string }
	reviewed := map[object][]operation.Change{}
	for _, change := range expected.Changes {
		key := object{change.Address, change.Deposed}
		reviewed[key] = append(reviewed[key], change)
	}
	var unexpected []operation.Change
	for _, change := range actual.Changes {
		if !covered(change, reviewed[object{change.Address, change.Deposed}]) {
			unexpected = append(unexpected, change)
		}
	}
	return unexpected
}

// unknowable is what is unexpected in a capped set: all of it, and never nothing.
func unknowable(actual operation.ChangeSet) []operation.Change {
	if len(actual.Changes) > 0 {
		return actual.Changes
	}
	return []operation.Change{{Address: "(changes that were left out)", Action: operation.Delete}}
}

// covered reports whether one reviewed change of the same object covers change, or, for an update,
// several together.
func covered(change operation.Change, reviewed []operation.Change) bool {
	var parts []operation.Attribute // of all reviewed changes that are wholly in change
	for _, candidate := range reviewed {
		if !sameDeed(candidate, change) {
			continue
		}
		if change.Action == operation.Output || change.Action == operation.Read {
			return true
		}
		if !slices.Equal(candidate.ReplacePaths, change.ReplacePaths) || !within(candidate.Attributes, change.Attributes) {
			continue
		}
		if allCovered(change.Attributes, candidate.Attributes) {
			return true
		}
		parts = append(parts, candidate.Attributes...)
	}
	return change.Action == operation.Update && len(parts) > 0 && allCovered(change.Attributes, parts)
}

// sameDeed compares everything but attributes and replace paths. Terraform's reason for an action is
// for display only (https://developer.hashicorp.com/terraform/internals/json-format#plan-representation)
// and does not count, but for outputs, where it is the action.
func sameDeed(a, b operation.Change) bool {
	return a.Action == b.Action && a.PreviousAddress == b.PreviousAddress && a.ImportID == b.ImportID &&
		(a.Action != operation.Output || a.ActionReason == b.ActionReason)
}

// within reports whether everything known that was reviewed is in actual, unchanged.
func within(reviewed, actual []operation.Attribute) bool {
	for _, attribute := range reviewed {
		if attribute.Unknown {
			continue // may have turned out to be as before
		}
		if !slices.ContainsFunc(actual, func(a operation.Attribute) bool { return sameAttribute(attribute, a) }) {
			return false
		}
	}
	return true
}

// allCovered reports whether each attribute of actual was reviewed.
func allCovered(actual, reviewed []operation.Attribute) bool {
	for _, attribute := range actual {
		if !slices.ContainsFunc(reviewed, func(r operation.Attribute) bool { return attributeCovered(attribute, r) }) {
			return false
		}
	}
	return true
}

func attributeCovered(actual, reviewed operation.Attribute) bool {
	if reviewed.Unknown && atOrBelow(actual.Path, reviewed.Path) {
		return true
	}
	return sameAttribute(actual, reviewed)
}

func sameAttribute(a, b operation.Attribute) bool {
	return a.Path == b.Path && a.Unknown == b.Unknown && a.Sensitive == b.Sensitive &&
		canonical(a.Before) == canonical(b.Before) && canonical(a.After) == canonical(b.After)
}

// atOrBelow reports whether path is parent, or an element of it.
func atOrBelow(path, parent string) bool {
	rest, ok := strings.CutPrefix(path, parent)
	return ok && (rest == "" || rest[0] == '.' || rest[0] == '[')
}
