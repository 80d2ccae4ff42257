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
// Explain covers more, because it has the plan: what was reviewed and is true already.
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
	reviewed := byObject(expected.Changes)
	var unexpected []operation.Change
	for _, change := range actual.Changes {
		if ok, _ := covered(change, reviewed[objectOf(change)], nil); !ok {
			unexpected = append(unexpected, change)
		}
	}
	return unexpected
}

// Shown reports whether reviewed changes show all that a change does. Unlike Explain it does not ask whether something
// else that they show will be true, which only the plan tells; so it holds for each change that Explain finds reviewed.
func Shown(reviewed operation.ChangeSet, change operation.Change) bool {
	var parts []operation.Attribute
	found := false
	for _, candidate := range byObject(reviewed.Changes)[objectOf(change)] {
		switch {
		case sameDeed(candidate, change):
			if change.Action == operation.Output || change.Action == operation.Read {
				return true
			}
			if !slices.Equal(candidate.ReplacePaths, change.ReplacePaths) {
				continue
			}
			if change.Action == operation.Update {
				found = true
				parts = append(parts, candidate.Attributes...)
			} else if allCovered(change.Attributes, candidate.Attributes) {
				return true
			}
		case canBegin(change, candidate) && endsIn(change, candidate):
			return true
		}
	}
	return found && allCovered(change.Attributes, parts)
}

func objectOf(change operation.Change) object { return object{change.Address, change.Deposed} }

func byObject(changes []operation.Change) map[object][]operation.Change {
	objects := map[object][]operation.Change{}
	for _, change := range changes {
		key := objectOf(change)
		objects[key] = append(objects[key], change)
	}
	return objects
}

// unknowable is what is unexpected in a capped set: all of it, and never nothing.
func unknowable(actual operation.ChangeSet) []operation.Change {
	all := slices.Clone(actual.Changes)
	if len(all) == 0 {
		all = []operation.Change{{Address: "(changes that were left out)", Action: operation.Delete}}
	}
	for i := range all {
		all[i].Cause = &operation.Cause{Kind: operation.CauseUnexplained}
	}
	return all
}

// covered reports whether one reviewed change of the same object covers change, or, for an update,
// several together; and which of them. stands has values that do not change, where they are known: a
// reviewed one that is there already is no contradiction.
func covered(change operation.Change, reviewed []operation.Change, stands map[string]text) (bool, []operation.Change) {
	var parts []operation.Attribute // of all reviewed changes that are wholly in change
	var by []operation.Change
	for _, candidate := range reviewed {
		if !sameDeed(candidate, change) {
			continue
		}
		if change.Action == operation.Output || change.Action == operation.Read {
			by = append(by, candidate)
			continue
		}
		if !slices.Equal(candidate.ReplacePaths, change.ReplacePaths) || !within(candidate.Attributes, change.Attributes, stands) {
			continue
		}
		if change.Action != operation.Update && !allCovered(change.Attributes, candidate.Attributes) {
			continue
		}
		by = append(by, candidate)
		parts = append(parts, candidate.Attributes...)
	}
	if len(by) == 0 || change.Action == operation.Update && !allCovered(change.Attributes, parts) {
		return begun(change, reviewed, stands)
	}
	return true, by
}

// begun reports whether an update is the rest of a reviewed creation or replacement, of which an earlier apply has done a part:
// it makes the object just what was reviewed, and something of that is there already.
func begun(change operation.Change, reviewed []operation.Change, stands map[string]text) (bool, []operation.Change) {
	for _, candidate := range reviewed {
		if canBegin(change, candidate) && endsIn(change, candidate) && partlyThere(change, candidate, stands) {
			return true, []operation.Change{candidate}
		}
	}
	return false, nil
}

// canBegin reports whether a change can be the rest of a reviewed one.
func canBegin(change, reviewed operation.Change) bool {
	makes := reviewed.Action == operation.Create || reviewed.Action == operation.Replace || reviewed.Action == operation.ReplaceCreateFirst
	return makes && change.Action == operation.Update && change.ImportID == "" && change.PreviousAddress == ""
}

// endsIn reports whether each value that a change sets is the reviewed one, whatever it was before.
func endsIn(change, reviewed operation.Change) bool {
	return !slices.ContainsFunc(change.Attributes, func(a operation.Attribute) bool {
		return !slices.ContainsFunc(reviewed.Attributes, func(r operation.Attribute) bool {
			return r.Unknown && atOrBelow(a.Path, r.Path) || sameEnd(a, r)
		})
	})
}

// partlyThere reports whether each reviewed value is set by the change or there already, and one at least is there.
func partlyThere(change, reviewed operation.Change, stands map[string]text) bool {
	done := false
	for _, attribute := range reviewed.Attributes {
		set := slices.ContainsFunc(change.Attributes, func(a operation.Attribute) bool { return sameEnd(a, attribute) })
		if set || attribute.Unknown || attribute.Volatile || attribute.Sensitive {
			continue
		}
		if !there(attribute, change.Attributes, stands) {
			return false
		}
		done = true
	}
	return done
}

// sameEnd is sameAttribute whatever the value was before.
func sameEnd(a, b operation.Attribute) bool {
	a.Before, b.Before = nil, nil
	return sameAttribute(a, b)
}

// sameDeed compares everything but attributes and replace paths. Terraform's reason for an action is
// for display only (https://developer.hashicorp.com/terraform/internals/json-format#plan-representation)
// and does not count, but for outputs, where it is the action.
func sameDeed(a, b operation.Change) bool {
	return a.Action == b.Action && a.PreviousAddress == b.PreviousAddress && a.ImportID == b.ImportID &&
		(a.Action != operation.Output || a.ActionReason == b.ActionReason)
}

// within reports whether everything known that was reviewed is in actual, or stands there already.
func within(reviewed, actual []operation.Attribute, stands map[string]text) bool {
	for _, attribute := range reviewed {
		if attribute.Unknown || attribute.Volatile {
			continue // may have turned out to be as before
		}
		kept := slices.ContainsFunc(actual, func(a operation.Attribute) bool { return sameAttribute(attribute, a) })
		if !kept && !there(attribute, actual, stands) {
			return false
		}
	}
	return true
}

// there reports whether a reviewed value does not change any more because it is what it was to become. Of a sensitive
// one nothing but that it changes was reviewed.
func there(reviewed operation.Attribute, actual []operation.Attribute, stands map[string]text) bool {
	if stands == nil || slices.ContainsFunc(actual, func(a operation.Attribute) bool { return atOrBelow(reviewed.Path, a.Path) }) {
		return false
	}
	value, known := stands[reviewed.Path]
	switch {
	case reviewed.Sensitive:
		return true
	case known:
		return string(value) == canonical(reviewed.After)
	default:
		return len(reviewed.After) == 0 // it was to go away, and there is no such place any more
	}
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
