package plan_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// sum makes a change set of changes.
func sum(changes []operation.Change) operation.ChangeSet {
	return operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)}
}

func value(path, before, after string) operation.Attribute {
	attribute := operation.Attribute{Path: path}
	if before != "" {
		attribute.Before = json.RawMessage(before)
	}
	if after != "" {
		attribute.After = json.RawMessage(after)
	}
	return attribute
}

func unknown(path, before string) operation.Attribute {
	attribute := value(path, before, "")
	attribute.Unknown = true
	return attribute
}

func changed(address string, attributes ...operation.Attribute) operation.Change {
	return operation.Change{Address: address, Action: operation.Update, Attributes: attributes}
}

func TestUnexpected(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		expected, actual []operation.Change
		want             int
	}{
		"nothing is covered by nothing": {},
		"a change that nobody reviewed": {nil, []operation.Change{changed("a.a", value("x", `1`, `2`))}, 1},
		"a reviewed change that is not needed any more": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`))}, nil, 0,
		},
		"a reviewed unknown is known now": {
			[]operation.Change{changed("a.a", unknown("x", `1`))},
			[]operation.Change{changed("a.a", value("x", `1`, `2`))},
			0,
		},
		"a reviewed unknown object is known now, in parts": {
			[]operation.Change{changed("a.a", unknown("x", `{"k":1}`))},
			[]operation.Change{changed("a.a", value(`x["k"]`, `1`, `2`), value(`x["l"]`, ``, `3`))},
			0,
		},
		"a reviewed unknown covers no neighbour whose name begins the same": {
			[]operation.Change{changed("a.a", unknown("x", `1`))},
			[]operation.Change{changed("a.a", value("xy", `1`, `2`))},
			1,
		},
		"a reviewed unknown turned out not to change": {
			[]operation.Change{changed("a.a", unknown("x", `1`), value("y", `1`, `2`))},
			[]operation.Change{changed("a.a", value("y", `1`, `2`))},
			0,
		},
		"a reviewed value is unknown now": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`))},
			[]operation.Change{changed("a.a", unknown("x", `1`))},
			1,
		},
		"a reviewed value is missing": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`), value("y", `1`, `2`))},
			[]operation.Change{changed("a.a", value("x", `1`, `2`))},
			1,
		},
		"two pull requests change one object": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`), unknown("o", `1`)), changed("a.a", value("y", `1`, `2`), unknown("o", `1`))},
			[]operation.Change{changed("a.a", value("x", `1`, `2`), value("y", `1`, `2`), unknown("o", `7`))},
			0,
		},
		"two pull requests change one object, and a third one does": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`)), changed("a.a", value("y", `1`, `2`))},
			[]operation.Change{changed("a.a", value("x", `1`, `2`), value("y", `1`, `2`), value("z", `1`, `2`))},
			1,
		},
		"half of one pull request and all of another": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`), value("z", `1`, `2`)), changed("a.a", value("y", `1`, `2`))},
			[]operation.Change{changed("a.a", value("x", `1`, `2`), value("y", `1`, `2`))},
			1,
		},
		"two replacements are not put together": {
			[]operation.Change{
				{Address: "a.a", Action: operation.Replace, ReplacePaths: []string{"x"}, Attributes: []operation.Attribute{value("x", `1`, `2`)}},
				{Address: "a.a", Action: operation.Replace, ReplacePaths: []string{"x"}, Attributes: []operation.Attribute{value("y", `1`, `2`)}},
			},
			[]operation.Change{{
				Address: "a.a", Action: operation.Replace, ReplacePaths: []string{"x"},
				Attributes: []operation.Attribute{value("x", `1`, `2`), value("y", `1`, `2`)},
			}},
			1,
		},
		"a reviewed update is a replacement now": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`))},
			[]operation.Change{{Address: "a.a", Action: operation.Replace, Attributes: []operation.Attribute{value("x", `1`, `2`)}}},
			1,
		},
		"the other order of a replacement": {
			[]operation.Change{{Address: "a.a", Action: operation.Replace}},
			[]operation.Change{{Address: "a.a", Action: operation.ReplaceCreateFirst}},
			1,
		},
		"a destroy of a deposed object is not that of the object": {
			[]operation.Change{{Address: "a.a", Action: operation.Delete, Deposed: "1234"}},
			[]operation.Change{{Address: "a.a", Action: operation.Delete}},
			1,
		},
		"an import of another object": {
			[]operation.Change{{Address: "a.a", Action: operation.Import, ImportID: "x"}},
			[]operation.Change{{Address: "a.a", Action: operation.Import, ImportID: "y"}},
			1,
		},
		"a move from another address": {
			[]operation.Change{{Address: "a.a", Action: operation.Move, PreviousAddress: "a.x"}},
			[]operation.Change{{Address: "a.a", Action: operation.Move, PreviousAddress: "a.y"}},
			1,
		},
		"Terraform gives another reason": {
			[]operation.Change{{Address: "a.a", Action: operation.Delete, ActionReason: "delete_because_no_module"}},
			[]operation.Change{{Address: "a.a", Action: operation.Delete, ActionReason: "delete_because_no_resource_config"}},
			0,
		},
		"an output with another value": {
			[]operation.Change{{Address: "output.a", Action: operation.Output, ActionReason: "update", Attributes: []operation.Attribute{value("value", `1`, `2`)}}},
			[]operation.Change{{Address: "output.a", Action: operation.Output, ActionReason: "update", Attributes: []operation.Attribute{value("value", `1`, `3`)}}},
			0,
		},
		"an output that is dropped": {
			[]operation.Change{{Address: "output.a", Action: operation.Output, ActionReason: "update"}},
			[]operation.Change{{Address: "output.a", Action: operation.Output, ActionReason: "delete"}},
			1,
		},
		"a read with other arguments": {
			[]operation.Change{{Address: "data.a.a", Action: operation.Read, Attributes: []operation.Attribute{value("x", ``, `1`)}}},
			[]operation.Change{{Address: "data.a.a", Action: operation.Read, Attributes: []operation.Attribute{value("x", ``, `2`)}}},
			0,
		},
		"a secret where a value was reviewed": {
			[]operation.Change{changed("a.a", value("x", `1`, `2`))},
			[]operation.Change{changed("a.a", operation.Attribute{Path: "x", Sensitive: true})},
			1,
		},
		"a value where a secret was reviewed": {
			[]operation.Change{changed("a.a", operation.Attribute{Path: "x", Sensitive: true})},
			[]operation.Change{changed("a.a", value("x", `1`, `2`))},
			1,
		},
		"the same value with other escapes": {
			[]operation.Change{changed("a.a", value("x", `"<"`, `{"a":"&","b":1}`))},
			[]operation.Change{changed("a.a", value("x", `"\u003c"`, `{"b":1, "a":"\u0026"}`))},
			0,
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := plan.Unexpected(sum(test.expected), sum(test.actual))
			if len(got) != test.want {
				t.Errorf("got %d unexpected changes %v, want %d", len(got), got, test.want)
			}
		})
	}
}

func TestCappedSetsAreComparedByDigestOnly(t *testing.T) {
	t.Parallel()
	full := sum([]operation.Change{changed("a.a", value("x", `1`, `2`)), changed("a.b", value("x", `1`, `2`)), changed("a.c", value("x", `1`, `2`))})
	other := sum([]operation.Change{changed("a.a", value("x", `1`, `2`)), changed("a.b", value("x", `1`, `2`)), changed("a.c", value("x", `1`, `3`))})
	tests := map[string]struct {
		expected, actual operation.ChangeSet
		want             int
	}{
		"the same plan, reviewed capped":              {plan.Cap(full, 1), full, 0},
		"another plan, reviewed capped":               {plan.Cap(full, 1), other, 2},
		"another plan that was capped":                {full, plan.Cap(other, 1), 1},
		"a plan that was capped to nothing":           {full, operation.ChangeSet{Omitted: 3, Digest: other.Digest}, 1},
		"a plan without a digest that was capped":     {operation.ChangeSet{Omitted: 3}, operation.ChangeSet{Omitted: 3}, 1},
		"a union with a capped set covers its own":    {plan.Union(plan.Cap(full, 1), full), full, 0},
		"a union with a capped set covers no more":    {plan.Union(plan.Cap(full, 2), sum(nil)), full, 1},
		"a digest alone proves nothing of whole sets": {operation.ChangeSet{Digest: full.Digest}, full, 3},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := plan.Unexpected(test.expected, test.actual); len(got) != test.want {
				t.Errorf("got %d unexpected changes, want %d", len(got), test.want)
			}
		})
	}
}

// worlds are change sets to mutate: those of the fixtures.
func worlds(t *testing.T) []operation.ChangeSet {
	t.Helper()
	var sets []operation.ChangeSet
	for _, name := range []string{"create.json", "change.json", "handmade.json"} {
		changes, _ := read(t, name)
		sets = append(sets, changes)
	}
	return sets
}

// clone copies a set so deeply that a mutation does not reach the original.
func clone(t *testing.T, s operation.ChangeSet) operation.ChangeSet {
	t.Helper()
	text, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	var c operation.ChangeSet
	if err := json.Unmarshal(text, &c); err != nil {
		t.Fatal(err)
	}
	return c
}

// mutation changes one thing of one change; false when it cannot.
type mutation struct {
	name string
	make func(r *rand.Rand, c *operation.Change) bool
}

var actions = []operation.Action{
	operation.Create, operation.Update, operation.Delete, operation.Replace, operation.ReplaceCreateFirst,
	operation.Read, operation.Move, operation.Import, operation.Forget, operation.Output,
}

// known picks an attribute whose value was reviewed; nil if there is none.
func known(r *rand.Rand, c *operation.Change) *operation.Attribute {
	if c.Action == operation.Output || c.Action == operation.Read {
		return nil // compared without values
	}
	for _, i := range r.Perm(len(c.Attributes)) {
		if a := &c.Attributes[i]; !a.Unknown && !a.Sensitive {
			return a
		}
	}
	return nil
}

func mutations() []mutation {
	other := func(r *rand.Rand) json.RawMessage { return json.RawMessage(fmt.Sprintf(`"other %d"`, r.IntN(1000))) }
	return []mutation{
		{"address", func(r *rand.Rand, c *operation.Change) bool {
			c.Address = fmt.Sprintf("%s_%d", c.Address, r.IntN(10))
			return true
		}},
		{"action", func(r *rand.Rand, c *operation.Change) bool {
			action := actions[r.IntN(len(actions))]
			same := action == c.Action
			c.Action = action
			return !same
		}},
		{"previous address", func(r *rand.Rand, c *operation.Change) bool {
			c.PreviousAddress += fmt.Sprintf("a.old_%d", r.IntN(10))
			return true
		}},
		{"import", func(r *rand.Rand, c *operation.Change) bool {
			c.ImportID += fmt.Sprintf("/id/%d", r.IntN(10))
			return true
		}},
		{"deposed", func(r *rand.Rand, c *operation.Change) bool {
			c.Deposed += fmt.Sprintf("%08x", r.Uint32())
			return true
		}},
		{"replace path added", func(_ *rand.Rand, c *operation.Change) bool {
			c.ReplacePaths = append(c.ReplacePaths, "zzz")
			return c.Action != operation.Output && c.Action != operation.Read
		}},
		{"replace path dropped", func(r *rand.Rand, c *operation.Change) bool {
			if len(c.ReplacePaths) == 0 {
				return false
			}
			i := r.IntN(len(c.ReplacePaths))
			c.ReplacePaths = slices.Delete(c.ReplacePaths, i, i+1)
			return true
		}},
		{"replace path changed", func(r *rand.Rand, c *operation.Change) bool {
			if len(c.ReplacePaths) == 0 {
				return false
			}
			c.ReplacePaths[r.IntN(len(c.ReplacePaths))] += "x"
			return true
		}},
		{"attribute added", func(r *rand.Rand, c *operation.Change) bool {
			c.Attributes = append(c.Attributes, operation.Attribute{Path: "zzz", After: other(r)})
			return c.Action != operation.Output && c.Action != operation.Read
		}},
		{"attribute dropped", func(r *rand.Rand, c *operation.Change) bool {
			a := known(r, c)
			if a == nil {
				return false
			}
			path := a.Path
			c.Attributes = slices.DeleteFunc(c.Attributes, func(a operation.Attribute) bool { return a.Path == path && !a.Unknown })
			return true
		}},
		{"attribute renamed", func(r *rand.Rand, c *operation.Change) bool {
			a := known(r, c)
			if a == nil {
				return false
			}
			a.Path += "x"
			return true
		}},
		{"value after", func(r *rand.Rand, c *operation.Change) bool {
			a := known(r, c)
			if a == nil {
				return false
			}
			a.After = other(r)
			return true
		}},
		{"value before", func(r *rand.Rand, c *operation.Change) bool {
			a := known(r, c)
			if a == nil {
				return false
			}
			a.Before = other(r)
			return true
		}},
		{"value becomes unknown", func(r *rand.Rand, c *operation.Change) bool {
			a := known(r, c)
			if a == nil {
				return false
			}
			a.After, a.Unknown = nil, true
			return true
		}},
		{"value becomes sensitive", func(r *rand.Rand, c *operation.Change) bool {
			a := known(r, c)
			if a == nil {
				return false
			}
			a.Before, a.After, a.Sensitive = nil, nil, true
			return true
		}},
	}
}

// TestEachSingleMutationIsUnexpected is the heart of the promise that nothing is applied without a
// name: whatever one thing is different from what was reviewed, it is noticed, and it alone.
func TestEachSingleMutationIsUnexpected(t *testing.T) {
	t.Parallel()
	const wanted = 300
	kinds := mutations()
	for _, original := range worlds(t) {
		r := rand.New(rand.NewPCG(1, uint64(len(original.Changes)))) //nolint:gosec // a test that can be repeated
		made := map[string]int{}
		for total := 0; total < wanted; {
			kind := kinds[r.IntN(len(kinds))]
			mutant := clone(t, original)
			change := &mutant.Changes[r.IntN(len(mutant.Changes))]
			if !kind.make(r, change) {
				continue
			}
			total++
			made[kind.name]++
			mutant = sum(mutant.Changes)
			if mutant.Digest == original.Digest {
				t.Errorf("%s of %s: the digest stays the same", kind.name, change.Address)
			}
			got := plan.Unexpected(original, mutant)
			if len(got) != 1 || !cmp.Equal(got[0], *change) {
				t.Errorf("%s of %s: got %d unexpected changes: %v", kind.name, change.Address, len(got), got)
			}
		}
		t.Logf("%d mutations: %v", wanted, made)
	}
}

func TestASetThatWentThroughAResultFileIsTheSame(t *testing.T) {
	t.Parallel()
	for _, original := range worlds(t) {
		copied := clone(t, original)
		if got := plan.Digest(copied.Changes); got != original.Digest {
			t.Errorf("digest %s, was %s", got, original.Digest)
		}
		if got := plan.Unexpected(copied, original); len(got) != 0 {
			t.Errorf("unexpected: %v", got)
		}
	}
}

func TestTheDigestDoesNotDependOnTheOrder(t *testing.T) {
	t.Parallel()
	original := worlds(t)[1]
	shuffled := slices.Clone(original.Changes)
	r := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that can be repeated
	for range 20 {
		r.Shuffle(len(shuffled), func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		if got := plan.Digest(shuffled); got != original.Digest {
			t.Fatalf("digest %s, was %s", got, original.Digest)
		}
	}
}

func TestUnion(t *testing.T) {
	t.Parallel()
	a := sum([]operation.Change{changed("a.b", value("x", `1`, `2`)), {Address: "a.c", Action: operation.Create}})
	b := sum([]operation.Change{changed("a.b", value("x", `1`, `2`)), changed("a.b", value("y", `1`, `2`)), {Address: "a.a", Action: operation.Delete}})
	union := plan.Union(a, b)
	var got []string
	for _, c := range union.Changes {
		got = append(got, string(c.Action)+" "+c.Address)
	}
	if diff := cmp.Diff([]string{"delete a.a", "update a.b", "update a.b", "create a.c"}, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if union.Digest != plan.Digest(union.Changes) || union.Digest != plan.Union(b, a).Digest {
		t.Errorf("the digest is %s", union.Digest)
	}
	if want := (operation.Counts{Add: 1, Change: 2, Destroy: 1}); union.Counts != want {
		t.Errorf("counts %+v, want %+v", union.Counts, want)
	}
	if alone := plan.Union(a); !cmp.Equal(alone, a) {
		t.Errorf("the union of one set is %v", alone)
	}
	if none := plan.Union(); len(none.Changes) != 0 || none.Digest != "" && none.Digest != plan.Digest(nil) {
		t.Errorf("the union of no set is %v", none)
	}
}

func TestCapKeepsWhatDestroys(t *testing.T) {
	t.Parallel()
	var changes []operation.Change
	for i := range 5000 {
		action := operation.Create
		if i%1000 == 999 {
			action = operation.Delete
		}
		changes = append(changes, operation.Change{Address: fmt.Sprintf("a.a[%04d]", i), Action: action})
	}
	whole := sum(changes)
	capped := plan.Cap(whole, 10)
	if len(capped.Changes) != 10 || capped.Omitted != 4990 || capped.Digest != whole.Digest || capped.Counts != whole.Counts {
		t.Errorf("got %d changes, %d left out", len(capped.Changes), capped.Omitted)
	}
	if got := plan.Count(capped.Changes).Destroy; got != 5 {
		t.Errorf("%d of 5 destroys are kept", got)
	}
	if !slices.IsSortedFunc(capped.Changes, func(a, b operation.Change) int { return strings.Compare(a.Address, b.Address) }) {
		t.Error("the kept changes are not sorted")
	}
	if again := plan.Cap(capped, 5); again.Omitted != 4995 {
		t.Errorf("capped twice, %d are left out", again.Omitted)
	}
	if whole.Changes[0].Address != "a.a[0000]" || len(whole.Changes) != 5000 {
		t.Error("the set itself was changed")
	}
	if got := plan.Cap(whole, 0); len(got.Changes) != 1 {
		t.Errorf("capped to nothing it has %d changes", len(got.Changes))
	}
}

func TestQuestion(t *testing.T) {
	t.Parallel()
	target := operation.Target{Root: "a", Environment: "dev"}
	other := operation.Target{Root: "b", Environment: "dev"}
	change := []operation.Change{changed("a.b", value("x", `1`, `2`))}
	type asked = map[operation.Target][]operation.Change
	ask := plan.Question

	if got := ask(nil, "", "c1") + ask(asked{target: nil}, "", "c1"); got != "" {
		t.Errorf("with nothing to ask it is %q", got)
	}
	base := ask(asked{target: change}, "", "c1")
	if len(base) != 64 {
		t.Errorf("it is %q", base)
	}
	if got := ask(asked{target: change, other: nil}, "", "c2"); got != base {
		t.Error("the same changes of a later commit are another question")
	}
	different := map[string]string{
		"another target":            ask(asked{other: change}, "", "c1"),
		"another change":            ask(asked{target: {changed("a.b", value("x", `1`, `3`))}}, "", "c1"),
		"the change in two targets": ask(asked{target: change, other: change}, "", "c1"),
		"a doubt":                   ask(asked{target: change}, "a force-push", "c1"),
		"a doubt and a commit":      ask(asked{target: change}, "a force-push", "c2"),
		"only a doubt":              ask(nil, "a force-push", "c1"),
	}
	seen := map[string]string{base: "the question"}
	for name, question := range different {
		if before, ok := seen[question]; ok {
			t.Errorf("%s is the same question as %s", name, before)
		}
		seen[question] = name
	}
}

// TestDigestAsDocumented writes the documented form by hand.
func TestDigestAsDocumented(t *testing.T) {
	t.Parallel()
	change := operation.Change{
		Address: "a.b", Action: operation.Replace, ActionReason: "replace_because_tainted", ReplacePaths: []string{"x"},
		Attributes: []operation.Attribute{value("x", `1`, `{ "é":"<\u000a", "a":null}`), {Path: "y", Unknown: true, Sensitive: true}},
	}
	text := "switchyard changes 1\n" +
		"3:a.b,0:,7:replace,0:,0:,0:,1:1,1:x,1:2," +
		"1:x,0:,1:1,21:{\"a\":null,\"é\":\"<\\n\"}," +
		"1:y,2:us,0:,0:,"
	if want, got := hexSHA256(text), plan.Digest([]operation.Change{change}); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func hexSHA256(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

func TestShown(t *testing.T) {
	t.Parallel()
	replaced := operation.Change{Address: "a.a", Action: operation.Replace, ReplacePaths: []string{"x"}, Attributes: []operation.Attribute{value("x", `1`, `2`)}}
	other := replaced
	other.ReplacePaths = []string{"y"}
	tests := map[string]struct {
		reviewed []operation.Change
		change   operation.Change
		want     bool
	}{
		"a part of an update":          {[]operation.Change{changed("a.a", value("x", `1`, `2`), value("y", `1`, `2`))}, changed("a.a", value("x", `1`, `2`)), true},
		"more than an update":          {[]operation.Change{changed("a.a", value("x", `1`, `2`))}, changed("a.a", value("x", `1`, `2`), value("y", `1`, `2`)), false},
		"another value":                {[]operation.Change{changed("a.a", value("x", `1`, `2`))}, changed("a.a", value("x", `1`, `3`)), false},
		"another object":               {[]operation.Change{changed("a.b", value("x", `1`, `2`))}, changed("a.a", value("x", `1`, `2`)), false},
		"another action":               {[]operation.Change{changed("a.a", value("x", `1`, `2`))}, replaced, false},
		"the same replacement":         {[]operation.Change{replaced}, replaced, true},
		"another cause of replacement": {[]operation.Change{replaced}, other, false},
		"the rest of a replacement":    {[]operation.Change{replaced}, changed("a.a", value("x", `7`, `2`)), true},
		"nothing was reviewed":         {nil, changed("a.a"), false},
		"an output":                    {[]operation.Change{{Address: "output.a", Action: operation.Output, ActionReason: "update"}}, operation.Change{Address: "output.a", Action: operation.Output, ActionReason: "update", Attributes: []operation.Attribute{value("value", `1`, `2`)}}, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := plan.Shown(sum(test.reviewed), test.change); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
