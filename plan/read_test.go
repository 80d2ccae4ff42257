package plan_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// fixtures are the plans of testdata: see README.md there.
var fixtures = []string{
	"create", "change", "reasons", "deposed", "providers", "handmade", "tofu-create", "tofu-change", "tofu-reasons", "tofu-deposed",
}

var update = flag.Bool("update", false, "write golden files")

// read reads a plan of testdata.
func read(t *testing.T, name string) (operation.ChangeSet, []string) {
	t.Helper()
	file, err := os.Open(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	read, err := plan.Read(file, plan.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return read.Set, read.Notes
}

// readSet reads only the change set of a plan that was made in a checkout.
func readSet(from io.Reader, checkout string) (operation.ChangeSet, error) {
	read, err := plan.Read(from, plan.Options{Checkout: checkout})
	return read.Set, err
}

func TestReadIsAsInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	for _, name := range fixtures {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
			if err != nil {
				t.Fatal(err)
			}
			read, err := plan.Read(bytes.NewReader(text), plan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			got := describe(read.Set, read.Notes) + describeRest(read)
			golden := filepath.Join("testdata", name+".golden")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("differs from %s (-want +got):\n%s", golden, diff)
			}
		})
	}
}

// What a configuration changes is the same with both programs, but for the IDs that they give.
func TestOpenTofuPlansReadAsThoseOfTerraform(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"create", "change", "reasons", "deposed"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			theirs, _ := read(t, name+".json")
			ours, _ := read(t, "tofu-"+name+".json")
			if diff := cmp.Diff(deeds(theirs), deeds(ours)); diff != "" {
				t.Errorf("(-Terraform +OpenTofu):\n%s", diff)
			}
		})
	}
}

// deeds lists what is done to which paths, without values.
func deeds(set operation.ChangeSet) []string {
	var list []string
	for _, c := range set.Changes {
		list = append(list, fmt.Sprintf("%s %s %t %s %s %s", c.Action, c.Address, c.Deposed != "", c.PreviousAddress, c.ImportID, c.ReplacePaths))
		for _, a := range c.Attributes {
			list = append(list, fmt.Sprintf("  %s %t %t", a.Path, a.Unknown, a.Sensitive))
		}
	}
	return list
}

// describe writes a change set for people.
func describe(set operation.ChangeSet, notes []string) string {
	var text strings.Builder
	for _, c := range set.Changes {
		fmt.Fprintf(&text, "%s %s", c.Action, c.Address)
		for _, part := range []struct{ name, value string }{
			{"from", c.PreviousAddress},
			{"reason", c.ActionReason},
			{"import", c.ImportID},
			{"deposed", c.Deposed},
			{"replaced by", strings.Join(c.ReplacePaths, " ")},
		} {
			if part.value != "" {
				fmt.Fprintf(&text, " · %s %s", part.name, part.value)
			}
		}
		text.WriteByte('\n')
		for _, a := range c.Attributes {
			fmt.Fprintf(&text, "  %s: %s → %s", a.Path, orNothing(a.Before), orNothing(a.After))
			if a.Unknown {
				text.WriteString(" unknown")
			}
			if a.Sensitive {
				text.WriteString(" sensitive")
			}
			text.WriteByte('\n')
		}
	}
	counts, _ := json.Marshal(set.Counts)
	fmt.Fprintf(&text, "\n%s\n%s\n", counts, set.Digest)
	for _, note := range notes {
		fmt.Fprintf(&text, "note: %s\n", note)
	}
	return text.String()
}

// describeRest writes what a plan tells beside its changes.
func describeRest(read plan.Plan) string {
	var text strings.Builder
	for _, c := range read.Drift {
		fmt.Fprintf(&text, "drift: %s %s\n", c.Action, c.Address)
		for _, a := range c.Attributes {
			fmt.Fprintf(&text, "  %s: %s → %s\n", a.Path, orNothing(a.Before), orNothing(a.After))
		}
	}
	for _, address := range slices.Sorted(maps.Keys(read.Data)) {
		fmt.Fprintf(&text, "data: %s %s\n", address, read.Data[address])
	}
	for _, risk := range plan.Risks(read.Set, nil) {
		fmt.Fprintf(&text, "risk: %s %s: %s\n", risk.Rule, risk.Address, risk.Reason)
	}
	for _, change := range read.Set.Changes {
		for _, attribute := range change.Attributes {
			if attribute.Volatile {
				fmt.Fprintf(&text, "volatile: %s of %s\n", attribute.Path, change.Address)
			}
		}
	}
	return text.String()
}

func orNothing(raw json.RawMessage) string {
	if len(raw) == 0 {
		return "·"
	}
	return string(raw)
}

func TestNothingSensitiveIsRead(t *testing.T) {
	t.Parallel()
	secrets := map[string][]string{
		"create.json": {"correct horse", "hidden-before"},
		"change.json": {"correct horse", "battery staple", "hidden-before", "hidden-after"},
		"handmade.json": {
			"hunter2", "top-secret-name", "sre-secret", "very-secret", "k1", "k2", "k3", "12345", "54321",
			"same-as-before", "same-as-ever", "odd-one", "odd-two", "odd-three",
		},
	}
	for name, hidden := range secrets {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			set, notes := read(t, name)
			set.Digest = "" // hex may hold any digits
			text, err := json.Marshal(struct {
				Set   operation.ChangeSet
				Notes []string
			}{set, notes})
			if err != nil {
				t.Fatal(err)
			}
			for _, secret := range hidden {
				if bytes.Contains(text, []byte(secret)) {
					t.Errorf("%q is in %s", secret, text)
				}
			}
		})
	}
}

// one is a plan with a single resource change.
func one(change string) string {
	return `{"format_version":"1.2","resource_changes":[{"address":"a.b","mode":"managed","type":"a","name":"b","change":` + change + `}]}`
}

func TestAttributesOfOneChange(t *testing.T) {
	t.Parallel()
	tests := map[string]struct {
		before, after, unknown string
		want                   []string
	}{
		"an equal value is left out":                        {`{"a":1,"b":2}`, `{"a":1,"b":3}`, `{}`, []string{`b: 2 → 3`}},
		"null and absent are the same for an attribute":     {`{"a":null}`, `{}`, `{}`, nil},
		"null and absent differ in a map":                   {`{"m":{"a":null,"b":1}}`, `{"m":{"b":1}}`, `{}`, []string{`m["a"]: null → ·`}},
		"a map that becomes empty says so":                  {`{"m":{"a":1}}`, `{"m":{}}`, `{}`, []string{`m: · → {}`, `m["a"]: 1 → ·`}},
		"a map that goes away is not one that is empty":     {`{"m":{"a":1}}`, `{"m":null}`, `{}`, []string{`m["a"]: 1 → ·`}},
		"an empty map that goes away":                       {`{"m":{}}`, `{"m":null}`, `{}`, []string{`m: {} → ·`}},
		"a list is compared index by index, never sorted":   {`{"l":["a","b"]}`, `{"l":["b","a"]}`, `{}`, []string{`l[0]: "a" → "b"`, `l[1]: "b" → "a"`}},
		"a null at the end of a list is an element":         {`{"l":[1]}`, `{"l":[1,null]}`, `{}`, []string{`l[1]: · → null`}},
		"a list that becomes empty says so":                 {`{"l":[1]}`, `{"l":[]}`, `{}`, []string{`l: · → []`, `l[0]: 1 → ·`}},
		"a list that becomes a map is one value":            {`{"l":[1]}`, `{"l":{"a":1}}`, `{}`, []string{`l: [1] → {"a":1}`}},
		"a name in an element of a list has a dot":          {`{"r":[{"p":1}]}`, `{"r":[{"p":2}]}`, `{}`, []string{`r[0].p: 1 → 2`}},
		"a key that is no name is quoted":                   {`{"m":{"a\"]":1}}`, `{"m":{"a\"]":2}}`, `{}`, []string{`m["a\"]"]: 1 → 2`}},
		"a big number keeps its digits":                     {`{"n":12345678901234567890}`, `{"n":12345678901234567891}`, `{}`, []string{`n: 12345678901234567890 → 12345678901234567891`}},
		"an unknown value has its whole value before":       {`{"m":{"a":1}}`, `{}`, `{"m":true}`, []string{`m: {"a":1} → · unknown`}},
		"an unknown element of a list":                      {`{"l":["a","b"]}`, `{"l":["a",null]}`, `{"l":[false,true]}`, []string{`l[1]: "b" → · unknown`}},
		"an unknown key beside known ones":                  {`{"m":{"a":1}}`, `{"m":{"a":2}}`, `{"m":{"b":true}}`, []string{`m["a"]: 1 → 2`, `m["b"]: · → · unknown`}},
		"a map whose only new key is unknown is not empty":  {`{"m":{"a":1}}`, `{"m":{}}`, `{"m":{"b":true}}`, []string{`m["a"]: 1 → ·`, `m["b"]: · → · unknown`}},
		"an unknown part of what is not there is the whole": {`{"m":null}`, `{}`, `{"m":{"b":true}}`, []string{`m: · → · unknown`}},
		"angle brackets are not escaped":                    {`{"a":"<x>"}`, `{"a":"&"}`, `{}`, []string{`a: "<x>" → "&"`}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			input := one(fmt.Sprintf(`{"actions":["update"],"before":%s,"after":%s,"after_unknown":%s}`, test.before, test.after, test.unknown))
			set, err := readSet(strings.NewReader(input), "")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range set.Changes[0].Attributes {
				line := fmt.Sprintf("%s: %s → %s", a.Path, orNothing(a.Before), orNothing(a.After))
				if a.Unknown {
					line += " unknown"
				}
				got = append(got, line)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestReadRefusesWhatItCannotAccountFor(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ input, want string }{
		"nothing":                          {``, "unexpected EOF"},
		"not JSON":                         {`Error: no plan`, "invalid character"},
		"an array":                         {`[]`, `expected "{"`},
		"no format version":                {`{}`, `format_version ""`},
		"a later format":                   {`{"format_version":"2.0"}`, `format_version "2.0"`},
		"an end in the middle":             {`{"format_version":"1.2","resource_changes":[{"address"`, "unexpected EOF"},
		"an end after a change":            {strings.TrimSuffix(one(`{"actions":["create"]}`), "]}"), "EOF"},
		"an errored plan":                  {`{"format_version":"1.2","errored":true}`, "could not finish"},
		"no change in a change":            {`{"format_version":"1.2","resource_changes":[{"address":"a.b"}]}`, "a.b has no change"},
		"an unknown action":                {one(`{"actions":["explode"]}`), `a.b has the actions ["explode"]`},
		"an unknown pair of actions":       {one(`{"actions":["create","forget"]}`), `a.b has the actions ["create" "forget"]`},
		"no actions":                       {one(`{"actions":[]}`), `a.b has the actions []`},
		"an action that a provider runs":   {`{"format_version":"1.2","action_invocations":[{"address":"action.x.y"}]}`, "action.x.y runs an action"},
		"changes that are not an array":    {`{"format_version":"1.2","resource_changes":{"a":1}}`, `expected "["`},
		"outputs that are not an object":   {`{"format_version":"1.2","output_changes":[]}`, `expected "{"`},
		"an output with an unknown action": {`{"format_version":"1.2","output_changes":{"o":{"actions":["read"]}}}`, `actions ["read"]`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := plan.Read(strings.NewReader(test.input), plan.Options{})
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got error %v, want one with %q", err, test.want)
			}
		})
	}
}

func TestNullListsAreEmpty(t *testing.T) {
	t.Parallel()
	read, err := plan.Read(strings.NewReader(`{"format_version":"1.2","resource_changes":null,"output_changes":null}`), plan.Options{})
	set, notes := read.Set, read.Notes
	if err != nil || len(set.Changes) != 0 || len(notes) != 0 || set.Digest != plan.Digest(nil) {
		t.Errorf("got %v, %v, %v", set, notes, err)
	}
}

func TestTheCheckoutDoesNotChangeADigest(t *testing.T) {
	t.Parallel()
	in := func(dir string) string {
		t.Helper()
		input := one(`{"actions":["create"],"before":null,"after":{"file":"` + dir + `/x.json","m":{"` + dir + `":["` + dir + `"]}},"after_unknown":{}}`)
		set, err := readSet(strings.NewReader(input), dir)
		if err != nil {
			t.Fatal(err)
		}
		return set.Digest
	}
	if a, b := in("/srv/work/1"), in("/tmp/other"); a != b {
		t.Errorf("digests differ: %s and %s", a, b)
	}
}

func TestALongValueIsKeptAsItsDigest(t *testing.T) {
	t.Parallel()
	read := func(content string) operation.Attribute {
		t.Helper()
		set, err := readSet(strings.NewReader(one(`{"actions":["create"],"before":null,"after":{"a":"`+content+`"},"after_unknown":{}}`)), "")
		if err != nil {
			t.Fatal(err)
		}
		return set.Changes[0].Attributes[0]
	}
	long := strings.Repeat("x", 100_000)
	first, second := read(long+"1"), read(long+"2")
	if len(first.After) > 200 || !json.Valid(first.After) {
		t.Errorf("kept as %d bytes: %.200s", len(first.After), first.After)
	}
	if string(first.After) == string(second.After) {
		t.Errorf("two values are both kept as %s", first.After)
	}
}

func TestWarningsAreBounded(t *testing.T) {
	t.Parallel()
	drift := strings.Repeat(`{"address":"a.b","change":{"actions":["update"]}},`, 99) + `{"address":"a.b","change":{"actions":["update"]}}`
	read, err := plan.Read(strings.NewReader(`{"format_version":"1.2","resource_drift":[`+drift+`]}`), plan.Options{})
	notes := read.Notes
	if err != nil {
		t.Fatal(err)
	}
	if len(notes) != 21 || notes[20] != "and 80 more notes" {
		t.Errorf("got %d notes, the last %q", len(notes), notes[len(notes)-1])
	}
}

// endless writes a plan of n resources without ever holding it, with much that is to be skipped.
func endless(w io.Writer, n int) error {
	var failed error
	put := func(text string) {
		if _, err := io.WriteString(w, text); err != nil {
			failed = errors.Join(failed, err)
		}
	}
	put(`{"format_version":"1.2","planned_values":[0`)
	for range n {
		put(`,{"filler":["` + strings.Repeat("f", 1000) + `"]}`)
	}
	put(`],"resource_changes":[`)
	for i := range n {
		if i > 0 {
			put(",")
		}
		put(fmt.Sprintf(`{"address":"a.b[%d]","change":{"actions":["update"],"before":{"v":1},"after":{"v":2},"after_unknown":{}}}`, i))
	}
	put(`]}`)
	return failed
}

func TestALargePlanIsStreamed(t *testing.T) {
	t.Parallel()
	pr, pw := io.Pipe()
	go func() { _ = pw.CloseWithError(endless(pw, 5000)) }()
	set, err := readSet(pr, "")
	if err != nil {
		t.Fatal(err)
	}
	if len(set.Changes) != 5000 || set.Counts.Change != 5000 {
		t.Errorf("got %d changes", len(set.Changes))
	}
}

func TestItDoesNotMatterInWhichPiecesAPlanArrives(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"change", "reasons", "providers", "handmade"} {
		text, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			t.Fatal(err)
		}
		whole, err := plan.Read(bytes.NewReader(text), plan.Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range []io.Reader{iotest.OneByteReader(bytes.NewReader(text)), iotest.DataErrReader(bytes.NewReader(text))} {
			pieces, err := plan.Read(r, plan.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(describe(whole.Set, whole.Notes)+describeRest(whole), describe(pieces.Set, pieces.Notes)+describeRest(pieces)); diff != "" {
				t.Errorf("%s: %s", name, diff)
			}
		}
		for _, cut := range []int{1, len(text) / 3, len(text) / 2, len(text) - 3} {
			if _, err := plan.Read(bytes.NewReader(text[:cut]), plan.Options{}); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, cut at byte %d: %v", name, cut, err)
			}
		}
	}
	broken := errors.New("broken pipe")
	if _, err := plan.Read(iotest.ErrReader(broken), plan.Options{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
}

func TestPathsOfOtherCheckoutsAreReplacedToo(t *testing.T) {
	t.Parallel()
	after := func(text string) string {
		t.Helper()
		read, err := plan.Read(strings.NewReader(one(`{"actions":["create"],"before":null,"after":{"v":"`+text+`"},"after_unknown":{}}`)),
			plan.Options{Checkout: "/data/work/7/pull-3/tree", Beside: "/data/work/7"})
		if err != nil {
			t.Fatal(err)
		}
		return string(read.Set.Changes[0].Attributes[0].After)
	}
	for text, want := range map[string]string{
		"/data/work/7/pull-3/tree/a":                             `"{checkout}/a"`,
		"/data/work/7/apply-12-1/tree":                           `"{checkout}"`,
		"x:/data/work/7/a/tree:/data/work/7/b/tree/c":            `"x:{checkout}:{checkout}/c"`,
		"/data/work/7/apply-12-1/treetop":                        `"/data/work/7/apply-12-1/treetop"`,
		"/data/work/7/a/b/tree":                                  `"/data/work/7/a/b/tree"`,
		"/data/work/7//tree":                                     `"/data/work/7//tree"`,
		"/data/work/8/pull-3/tree":                               `"/data/work/8/pull-3/tree"`,
		"/data/work/7/two words/tree":                            `"/data/work/7/two words/tree"`,
		"/data/work/7/":                                          `"/data/work/7/"`,
		"/data/work/7/x/data and then /data/work/7/pull-3/tree/": `"/data/work/7/x/data and then {checkout}/"`,
	} {
		if got := after(text); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	for b.Loop() {
		pr, pw := io.Pipe()
		go func() { _ = pw.CloseWithError(endless(pw, 5000)) }()
		if _, err := plan.Read(pr, plan.Options{}); err != nil {
			b.Fatal(err)
		}
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range fixtures {
		data, err := os.ReadFile(filepath.Join("testdata", name+".json"))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Add([]byte(one(`{"actions":["update"],"before":{"a":[1,{"b":null}]},"after":{"a":[2]},"after_unknown":{"c":true},"after_sensitive":{"a":true}}`)))
	f.Fuzz(func(t *testing.T, data []byte) {
		set, err := readSet(bytes.NewReader(data), "")
		if err != nil {
			return
		}
		if set.Digest != plan.Digest(set.Changes) {
			t.Error("the digest is not that of the changes")
		}
		if unexpected := plan.Unexpected(set, set); len(unexpected) > 0 {
			t.Errorf("a plan does not cover itself: %v", unexpected)
		}
		again, err := plan.Read(bytes.NewReader(data), plan.Options{Reviewed: set})
		if err != nil {
			t.Fatal(err)
		}
		if asked := explain(t, plan.Facts{Expected: set, Data: again.Data}, again, &again).Asked; len(asked) > 0 {
			t.Errorf("a reviewed plan is asked about: %v", asked)
		}
		little, err := plan.Read(bytes.NewReader(data), plan.Options{Reviewed: set, Keep: 1})
		if err != nil || little.Set.Digest != set.Digest || little.Set.Counts != set.Counts {
			t.Errorf("of what is read to keep little, digest or counts are others: %v", err)
		}
		if asked := explain(t, plan.Facts{Expected: set, Data: little.Data}, little, &little).Asked; len(asked) > 0 {
			t.Errorf("a reviewed plan of which little is kept is asked about: %v", asked)
		}
		if _, err := json.Marshal(set); err != nil {
			t.Errorf("cannot be written: %v", err)
		}
	})
}

func TestDeeplyNestedPlansAreRefusedOrRead(t *testing.T) {
	t.Parallel()
	const depth = 100_000
	modules := strings.Repeat(`{"child_modules":[`, depth) + strings.Repeat(`]}`, depth)
	lists := strings.Repeat(`[`, depth) + strings.Repeat(`]`, depth)
	tests := map[string]struct{ input, want string }{
		"modules in the state":         {`{"format_version":"1.2","prior_state":{"values":{"root_module":` + modules + `}}}`, "nested too deeply"},
		"modules in the configuration": {`{"format_version":"1.2","configuration":{"root_module":` + strings.Repeat(`{"module_calls":{"m":{"module":`, depth) + `{}` + strings.Repeat(`}}}`, depth) + `}}`, "nested too deeply"},
		"a value":                      {one(`{"actions":["create"],"before":null,"after":{"v":` + lists + `}}`), "exceeded max depth"},
		"what is passed over":          {`{"format_version":"1.2","planned_values":` + lists + `}`, ""},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := plan.Read(strings.NewReader(test.input), plan.Options{})
			if test.want == "" && err != nil || test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %v, want %q", err, test.want)
			}
		})
	}
}
