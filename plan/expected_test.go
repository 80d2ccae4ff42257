package plan_test

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

func TestExpected(t *testing.T) {
	t.Parallel()
	set := func(changes ...operation.Change) operation.ChangeSet {
		return operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)}
	}
	update := func(address string, values ...string) operation.Change { // path, before, after, …
		change := operation.Change{Address: address, Action: operation.Update}
		for part := range slices.Chunk(values, 3) {
			change.Attributes = append(change.Attributes, operation.Attribute{
				Path: part[0], Before: json.RawMessage(part[1]), After: json.RawMessage(part[2]),
			})
		}
		return change
	}
	made := operation.Change{Address: "a.new", Action: operation.Create}
	gone := operation.Change{Address: "a.old", Action: operation.Delete}
	group := set(update("a.x", "size", "1", "5"), update("a.y", "size", "1", "2"))
	type shown map[string][]int // address and values: pull requests
	for _, test := range []struct {
		name    string
		reviews []plan.Review
		want    shown
	}{
		{"nothing was reviewed", nil, shown{}},
		{"two that touch different objects both count", []plan.Review{
			{Pull: 1, Set: set(made)}, {Pull: 2, Set: set(gone)},
		}, shown{"create a.new": {1}, "delete a.old": {2}}},
		{"two that touch different paths of one object both count", []plan.Review{
			{Pull: 1, Set: set(update("a.x", "size", "1", "2"))}, {Pull: 2, Set: set(update("a.x", "tags", `"a"`, `"b"`))},
		}, shown{"update a.x size 1→2": {1}, `update a.x tags "a"→"b"`: {2}}},
		{"what both say counts for both", []plan.Review{
			{Pull: 1, Set: set(made)}, {Pull: 2, Set: set(made, gone)},
		}, shown{"create a.new": {1, 2}, "delete a.old": {2}}},
		{"of two that touch one path, the later does not count when it was planned without the earlier", []plan.Review{
			{Pull: 1, Set: set(update("a.x", "size", "1", "2"))}, {Pull: 2, Set: set(update("a.x", "size", "1", "3"), made)},
		}, shown{"update a.x size 1→2": {1}, "create a.new": {2}}},
		{"a path below the other's is the same path", []plan.Review{
			{Pull: 1, Set: set(update("a.x", "tags", `{}`, `{"a":1}`))}, {Pull: 2, Set: set(update("a.x", "tags.b", "1", "2"))},
		}, shown{`update a.x tags {}→{"a":1}`: {1}}},
		{"the later counts when it was planned with the earlier", []plan.Review{
			{Pull: 1, Set: set(update("a.x", "size", "1", "2"))}, {Pull: 2, Set: set(update("a.x", "size", "1", "3")), Knew: []int{1}},
		}, shown{"update a.x size 1→2": {1}, "update a.x size 1→3": {2}}},
		{"to delete what another one updates does not count when it was planned without that", []plan.Review{
			{Pull: 1, Set: set(update("a.old", "size", "1", "2"))}, {Pull: 2, Set: set(gone)},
		}, shown{"update a.old size 1→2": {1}}},
		{"a merge group counts for the paths that people saw, and for no others", []plan.Review{
			{Pull: 1, Set: set(update("a.x", "size", "1", "2"))},
			{Pull: 2, Set: set(update("a.x", "size", "1", "4")), Group: &group},
		}, shown{"update a.x size 1→2": {1}, "update a.x size 1→5": {2}}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			got := shown{}
			expected := plan.Expected(test.reviews)
			for _, change := range expected.Changes {
				words := []string{string(change.Action), change.Address}
				for _, a := range change.Attributes {
					words = append(words, a.Path, string(a.Before)+"→"+string(a.After))
				}
				name := strings.Join(words, " ")
				if change.Cause == nil || change.Cause.Kind != operation.CauseReviewed {
					t.Errorf("%s has the cause %+v", name, change.Cause)
					continue
				}
				got[name] = change.Cause.Pulls
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if expected.Digest != plan.Digest(expected.Changes) {
				t.Error("the digest is not that of the changes")
			}
		})
	}
	t.Run("the plans that were given are not changed", func(t *testing.T) {
		t.Parallel()
		given := set(made)
		plan.Expected([]plan.Review{{Pull: 1, Set: given}})
		if given.Changes[0].Cause != nil {
			t.Error("a cause was written into the reviewed plan")
		}
	})
}
