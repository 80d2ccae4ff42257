package plan

import (
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
)

// Review is what one pull request's newest plan of a target showed.
type Review struct {
	Pull int
	Set  operation.ChangeSet
	// Knew has the earlier ones of the same list whose commits were part of what was planned, by pull request.
	Knew []int
	// Group is what the plan of its merge group showed, where it was merged by one: the same changes with what
	// the other pull requests of the group do to them.
	Group *operation.ChangeSet
}

// Expected is what an apply of a target may do because people reviewed it: the union of what was shown
// on the pull requests that it carries, in the order in which they were merged. Each change has its
// cause: the pull requests that showed it.
//
// Where two of them touch one path of an object, the later counts only when it was planned on what the
// earlier changes: else nobody has seen what both do together. In its place counts the plan of its merge
// group, for those paths that a pull request showed to people.
func Expected(reviews []Review) operation.ChangeSet {
	sets := make([]operation.ChangeSet, 0, len(reviews))
	where := map[string][]int{} // by encoded change: the pull requests that showed it
	add := func(set operation.ChangeSet, pull int) {
		sets = append(sets, set)
		for _, change := range set.Changes {
			if key := encode(change); !slices.Contains(where[key], pull) {
				where[key] = append(where[key], pull)
			}
		}
	}
	for i, review := range reviews {
		set := review.Set
		blind := slices.DeleteFunc(slices.Clone(reviews[:i]), func(earlier Review) bool {
			return earlier.Pull == review.Pull || slices.Contains(review.Knew, earlier.Pull)
		})
		if len(blind) > 0 && set.Omitted == 0 {
			set = without(set, blind)
		}
		add(set, review.Pull)
		if review.Group != nil {
			shown := make([]operation.ChangeSet, 0, i+1)
			for _, other := range reviews[:i+1] {
				shown = append(shown, other.Set)
			}
			add(shownOf(*review.Group, shown), review.Pull)
		}
	}
	union := Union(sets...)
	union.Changes = slices.Clone(union.Changes)
	for i, change := range union.Changes {
		union.Changes[i].Cause = &operation.Cause{Kind: operation.CauseReviewed, Pulls: where[encode(change)]}
	}
	return union
}

// without leaves out what earlier reviews touch that this one did not know of.
func without(set operation.ChangeSet, blind []Review) operation.ChangeSet {
	kept := slices.DeleteFunc(slices.Clone(set.Changes), func(change operation.Change) bool {
		return slices.ContainsFunc(blind, func(earlier Review) bool {
			return slices.ContainsFunc(earlier.Set.Changes, func(other operation.Change) bool { return collide(other, change) })
		})
	})
	if len(kept) == len(set.Changes) {
		return set
	}
	return operation.ChangeSet{Changes: kept, Digest: Digest(kept), Counts: Count(kept)}
}

// collide reports whether two changes of one object say different things about the same part of it. Those
// that say the same do not: one of them will be true already.
func collide(a, b operation.Change) bool {
	if a.Address != b.Address || a.Deposed != b.Deposed || a.Action == operation.Output || a.Action == operation.Read {
		return false
	}
	if Digest([]operation.Change{a}) == Digest([]operation.Change{b}) {
		return false
	}
	if onlyTime(a) || onlyTime(b) {
		return false // it is in every plan, and nobody asked for it
	}
	if a.Action != operation.Update || b.Action != operation.Update {
		return true // one of them makes, removes or moves the whole object
	}
	for _, one := range a.Attributes {
		for _, other := range b.Attributes {
			if one.Volatile && other.Volatile {
				continue
			}
			if (atOrBelow(one.Path, other.Path) || atOrBelow(other.Path, one.Path)) && !sameAttribute(one, other) {
				return true
			}
		}
	}
	return false
}

// onlyTime reports whether an update is there only because a value has the time of its plan in it.
func onlyTime(change operation.Change) bool {
	volatile := false
	for _, attribute := range change.Attributes {
		if !attribute.Volatile && !attribute.Unknown {
			return false
		}
		volatile = volatile || attribute.Volatile
	}
	return volatile && change.Action == operation.Update
}

// shownOf keeps of a merge group's plan what touches only paths that pull requests showed to people, with
// the same action.
func shownOf(group operation.ChangeSet, shown []operation.ChangeSet) operation.ChangeSet {
	if group.Omitted > 0 {
		return operation.ChangeSet{}
	}
	kept := slices.DeleteFunc(slices.Clone(group.Changes), func(change operation.Change) bool { return !pathsShown(change, shown) })
	return operation.ChangeSet{Changes: kept, Digest: Digest(kept), Counts: Count(kept)}
}

func pathsShown(change operation.Change, shown []operation.ChangeSet) bool {
	var seen []operation.Change
	for _, set := range shown {
		for _, other := range set.Changes {
			if other.Address == change.Address && other.Deposed == change.Deposed && sameDeed(other, change) &&
				slices.Equal(other.ReplacePaths, change.ReplacePaths) {
				seen = append(seen, other)
			}
		}
	}
	if len(seen) == 0 {
		return false
	}
	for _, attribute := range change.Attributes {
		if !slices.ContainsFunc(seen, func(other operation.Change) bool {
			return slices.ContainsFunc(other.Attributes, func(a operation.Attribute) bool { return atOrBelow(attribute.Path, a.Path) })
		}) {
			return false
		}
	}
	return true
}
