// Package plan turns what `terraform show -json` says about a saved plan into a change set, names
// change sets by digest, tells which changes of a plan no reviewed change covers, why they are there
// and what is dangerous about them, and finds what targets and regions do alike. The runner reads and
// explains with it, deploy joins reviewed sets with it, render groups with it. docs/change-sets.md
// says how, for a second implementation. It decides nothing, keeps no sensitive value and touches
// nothing but the reader it is given.
package plan

import (
	"cmp"
	"slices"

	"github.com/switchyard-dev/switchyard/operation"
)

// Count sums up changes the way Terraform does. A change that moves or imports an object and also
// changes it counts as both. Reads are not counted: they change nothing.
func Count(changes []operation.Change) operation.Counts {
	var counts operation.Counts
	for _, change := range changes {
		count(&counts, change)
	}
	return counts
}

// count adds one change.
func count(counts *operation.Counts, change operation.Change) {
	switch change.Action {
	case operation.Create:
		counts.Add++
	case operation.Update:
		counts.Change++
	case operation.Delete:
		counts.Destroy++
	case operation.Replace, operation.ReplaceCreateFirst:
		counts.Add++
		counts.Destroy++
		counts.Replace++
	case operation.Forget:
		counts.Forget++
	case operation.Output:
		counts.Outputs++
	case operation.Read, operation.Move, operation.Import:
	}
	if change.ImportID != "" || change.Action == operation.Import {
		counts.Import++
	}
	if change.PreviousAddress != "" || change.Action == operation.Move {
		counts.Move++
	}
}

// Union joins change sets, as an apply needs it that carries several reviewed plans. Changes that
// are the same in several sets are in it once; different changes of one address all stay.
// When one of several sets was capped, the union has no digest: nobody can know it, and what was
// left out is covered by nothing.
func Union(sets ...operation.ChangeSet) operation.ChangeSet {
	if len(sets) == 1 {
		return sets[0]
	}
	var union operation.ChangeSet
	seen := map[string]bool{}
	for _, set := range sets {
		union.Omitted += set.Omitted
		for _, change := range set.Changes {
			if key := encode(change); !seen[key] {
				seen[key] = true
				union.Changes = append(union.Changes, change)
			}
		}
	}
	sortChanges(union.Changes)
	union.Counts = Count(union.Changes)
	if union.Omitted == 0 {
		union.Digest = Digest(union.Changes)
	}
	return union
}

// Cap keeps at most limit changes (at least one), so that a result stays small, and counts the
// others in Omitted. What destroys is kept before what changes, and that before the rest. Digest
// and Counts stay those of the whole set.
func Cap(s operation.ChangeSet, limit int) operation.ChangeSet {
	limit = max(limit, 1)
	if len(s.Changes) <= limit {
		return s
	}
	chosen := kept{limit: limit}
	for _, change := range s.Changes {
		chosen.add(change)
	}
	s.Changes, s.Omitted = chosen.changes(), s.Omitted+chosen.left
	return s
}

// weight orders changes by how much a person needs to see them; lower is more.
func weight(change operation.Change) int {
	switch change.Action {
	case operation.Delete, operation.Replace, operation.ReplaceCreateFirst:
		return 0
	case operation.Forget:
		return 1
	case operation.Create, operation.Update:
		return 2
	case operation.Import, operation.Move:
		return 3
	case operation.Read, operation.Output:
		return 4
	}
	return 0
}

// sortChanges sorts by address, deposed key and action; equal ones by everything else, so that a
// set has one order only.
func sortChanges(changes []operation.Change) {
	slices.SortFunc(changes, func(a, b operation.Change) int {
		if order := cmp.Or(
			cmp.Compare(a.Address, b.Address),
			cmp.Compare(a.Deposed, b.Deposed),
			cmp.Compare(a.Action, b.Action),
		); order != 0 {
			return order
		}
		return cmp.Compare(encode(a), encode(b))
	})
}
