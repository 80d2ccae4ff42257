package plan_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// mutable is a plan's JSON as maps and lists, so that one thing of it can be changed.
type mutable = map[string]any

func readMutable(t *testing.T, text []byte) mutable {
	t.Helper()
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	var document mutable
	if err := decoder.Decode(&document); err != nil {
		t.Fatal(err)
	}
	return document
}

// leafIn picks a place below a value that holds neither a map nor a list, and gives what sets it; nil when there is none.
func leafIn(r *rand.Rand, value any) func(any) {
	switch value := value.(type) {
	case map[string]any:
		keys := slices.Sorted(maps.Keys(value))
		for _, i := range r.Perm(len(keys)) {
			switch value[keys[i]].(type) {
			case map[string]any, []any:
				if set := leafIn(r, value[keys[i]]); set != nil {
					return set
				}
			default:
				return func(v any) { value[keys[i]] = v }
			}
		}
	case []any:
		for _, i := range r.Perm(len(value)) {
			switch value[i].(type) {
			case map[string]any, []any:
				if set := leafIn(r, value[i]); set != nil {
					return set
				}
			default:
				return func(v any) { value[i] = v }
			}
		}
	}
	return nil
}

// jsonMutations change one thing of one resource; false when they cannot.
func jsonMutations() map[string]func(r *rand.Rand, resource, change mutable) bool {
	other := func(r *rand.Rand) any {
		return []any{"another", json.Number(strconv.Itoa(r.IntN(1000))), true, nil, []any{}, map[string]any{"k": "v"}}[r.IntN(6)]
	}
	actions := [][]any{{"create"}, {"update"}, {"delete"}, {"delete", "create"}, {"create", "delete"}, {"forget"}, {"read"}}
	leaf := func(side string) func(r *rand.Rand, resource, change mutable) bool {
		return func(r *rand.Rand, _, change mutable) bool {
			set := leafIn(r, change[side])
			if set != nil {
				set(other(r))
			}
			return set != nil
		}
	}
	return map[string]func(r *rand.Rand, resource, change mutable) bool{
		"action": func(r *rand.Rand, _, change mutable) bool {
			change["actions"] = actions[r.IntN(len(actions))]
			return true
		},
		"address": func(r *rand.Rand, resource, _ mutable) bool {
			resource["address"] = fmt.Sprintf("%s_%d", resource["address"], r.IntN(10))
			return true
		},
		"value after":  leaf("after"),
		"value before": leaf("before"),
		"attribute added": func(r *rand.Rand, _, change mutable) bool {
			after, ok := change["after"].(map[string]any)
			if ok {
				after[fmt.Sprintf("new_%d", r.IntN(10))] = "value"
			}
			return ok
		},
		"attribute dropped": func(r *rand.Rand, _, change mutable) bool {
			after, ok := change["after"].(map[string]any)
			if !ok || len(after) == 0 {
				return false
			}
			keys := slices.Sorted(maps.Keys(after))
			delete(after, keys[r.IntN(len(keys))])
			return true
		},
		"replace path": func(_ *rand.Rand, _, change mutable) bool {
			change["replace_paths"] = []any{[]any{"another"}}
			return true
		},
		"previous address": func(_ *rand.Rand, resource, _ mutable) bool {
			resource["previous_address"] = "a.another"
			return true
		},
		"import": func(_ *rand.Rand, _, change mutable) bool {
			change["importing"] = mutable{"id": "another"}
			return true
		},
		"deposed": func(_ *rand.Rand, resource, _ mutable) bool {
			resource["deposed"] = "0badcafe"
			return true
		},
	}
}

// TestNoMutantOfAPlanPassesAsCovered changes one thing of the JSON of a plan, so that what it shows is another, and
// compares it with the plan as it was reviewed, with all that an apply knows.
func TestNoMutantOfAPlanPassesAsCovered(t *testing.T) {
	t.Parallel()
	const wanted = 500
	names, err := filepath.Glob("testdata/*.json")
	if err != nil || len(names) == 0 {
		t.Fatal(names, err)
	}
	kinds := jsonMutations()
	kindNames := slices.Sorted(maps.Keys(kinds))
	r := rand.New(rand.NewPCG(5, 500)) //nolint:gosec // a test that can be repeated
	made := map[string]int{}
	for total, tries := 0, 0; total < wanted; tries++ {
		if tries > 50*wanted {
			t.Fatalf("only %d mutants in %d tries", total, tries)
		}
		text, err := os.ReadFile(names[tries%len(names)])
		if err != nil {
			t.Fatal(err)
		}
		reviewed, err := plan.Read(bytes.NewReader(text), plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		document := readMutable(t, text)
		resources, _ := document["resource_changes"].([]any)
		if len(resources) == 0 {
			continue
		}
		resource, _ := resources[r.IntN(len(resources))].(map[string]any)
		change, _ := resource["change"].(map[string]any)
		kind := kindNames[r.IntN(len(kindNames))]
		if !kinds[kind](r, resource, change) {
			continue
		}
		mutated, err := json.Marshal(document)
		if err != nil {
			t.Fatal(err)
		}
		actual, err := plan.Read(bytes.NewReader(mutated), plan.Options{Reviewed: reviewed.Set})
		if err != nil || actual.Set.Digest == reviewed.Set.Digest {
			continue // not a plan, or a change of what no review shows: an unknown or sensitive value, one that does not change
		}
		if onlyLess(reviewed.Set, actual.Set) {
			continue // nothing is done that was not reviewed
		}
		total++
		made[kind]++
		facts := plan.Facts{Expected: reviewed.Set, Data: reviewed.Data}
		again := actual
		if explained := explain(t, facts, actual, &again); len(explained.Asked) == 0 {
			t.Errorf("%s: %s of %v passes:\n%s", names[tries%len(names)], kind, resource["address"], cmp.Diff(reviewed.Set.Changes, actual.Set.Changes))
		}
	}
	t.Logf("%d mutants: %v", wanted, made)
}

// onlyLess reports whether each change of actual is one of reviewed, word for word; but for what a value was that
// only the apply will tell, or that has the time of the plan: an earlier apply may have changed it.
func onlyLess(reviewed, actual operation.ChangeSet) bool {
	word := func(change operation.Change) string {
		change.Attributes = slices.Clone(change.Attributes)
		for i, attribute := range change.Attributes {
			if attribute.Unknown || attribute.Volatile {
				change.Attributes[i].Before, change.Attributes[i].Sensitive = nil, false
			}
		}
		return plan.Digest([]operation.Change{change})
	}
	known := map[string]bool{}
	for _, change := range reviewed.Changes {
		known[word(change)] = true
	}
	return !slices.ContainsFunc(actual.Changes, func(change operation.Change) bool { return !known[word(change)] })
}
