package plan_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// asking is one line of what the second implementation is asked, with our own answer.
type asking struct {
	name, digest string
	line         any
}

// The digests are documented so that anybody can compute them. testdata/digest.py does, from the documentation alone.
func TestASecondImplementationGetsTheSameDigests(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("THE DIGESTS ARE NOT COMPARED WITH A SECOND IMPLEMENTATION: python3 is not on PATH")
	}
	var all []asking
	for _, name := range fixtures {
		set, _ := read(t, name+".json")
		all = append(all, setAsking(name, set.Changes))
	}
	all = append(all, setAsking("nothing", nil), setAsking("hostile", hostileChanges()))
	question := map[operation.Target][]operation.Change{
		{Environment: "prod", Root: "b"}: hostileChanges(), {Environment: "prod", Root: "a"}: hostileChanges()[:1], {Environment: "dev", Root: "z"}: nil,
		{Environment: "dev", Root: "é"}: hostileChanges()[2:],
	}
	doubts := []string{"promotion net test 9f", "Undoes 1a2b", "é"}
	all = append(
		all, asking{"a question", plan.Question(question, "", "c1"), questionOf(question, []string{}, "c1")},
		asking{"a question with doubts", plan.Question(question, operation.DoubtLines(doubts), "c1"), questionOf(question, doubts, "c1")},
		asking{"doubts alone", plan.Question(nil, operation.DoubtLines(doubts), "c1"), questionOf(nil, doubts, "c1")},
	)
	held := map[operation.Target][]string{{Environment: "prod", Root: "b"}: {"z", "a"}, {Environment: "prod", Root: "a"}: {"é", "f"}}
	all = append(all, asking{"what is blocked", plan.BlockedQuestion(held), map[string]any{"blocked": map[string]any{"targets": []any{
		map[string]any{"environment": "prod", "root": "b", "addresses": held[operation.Target{Environment: "prod", Root: "b"}]},
		map[string]any{"environment": "prod", "root": "a", "addresses": held[operation.Target{Environment: "prod", Root: "a"}]},
	}}}})
	var lines bytes.Buffer
	var want strings.Builder
	for _, one := range all {
		if err := json.NewEncoder(&lines).Encode(one.line); err != nil {
			t.Fatal(err)
		}
		want.WriteString(one.digest + "\n")
	}
	script, err := os.ReadFile(filepath.Join("testdata", "digest.py"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, "-c", string(script)) //nolint:gosec // a file of ours
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + os.Getenv("HOME"), "PYTHONDONTWRITEBYTECODE=1"}
	cmd.Stdin = &lines
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	got, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	theirs, ours := strings.Split(string(got), "\n"), strings.Split(want.String(), "\n")
	if len(theirs) != len(ours) {
		t.Fatalf("%d answers to %d", len(theirs), len(ours))
	}
	for i, one := range all {
		if diff := cmp.Diff(ours[i], theirs[i]); diff != "" {
			t.Errorf("%s (-ours +theirs):\n%s", one.name, diff)
		}
	}
}

// setAsking asks about a change set, whose changes come in another order than they are hashed.
func setAsking(name string, changes []operation.Change) asking {
	turned := make([]operation.Change, 0, len(changes))
	for i := range changes {
		turned = append(turned, changes[len(changes)-1-i])
	}
	return asking{name, plan.Digest(changes), map[string]any{"changes": turned}}
}

func questionOf(changes map[operation.Target][]operation.Change, doubts []string, commit string) any {
	var targets []any
	for target, asked := range changes {
		targets = append(targets, map[string]any{"environment": target.Environment, "root": target.Root, "changes": asked})
	}
	if targets == nil {
		targets = []any{}
	}
	return map[string]any{"question": map[string]any{"doubts": doubts, "commit": commit, "targets": targets}}
}

// hostileChanges have in them what two implementations could read in two ways.
func hostileChanges() []operation.Change {
	raw := func(text string) json.RawMessage { return json.RawMessage(text) }
	return []operation.Change{
		{Address: `a["3:x,"]`, Action: operation.Replace, ReplacePaths: []string{"x", "y[0]"}, Attributes: []operation.Attribute{
			{Path: "numbers", Before: raw(`[1, 1.0, 1e2, 1E+2, -0, 12345678901234567890123, 0.1]`), After: raw(`null`)},
			{Path: "text", Before: raw(`"<&>\u2028\u2029\u007f\u0000\u0008\u000c\/\ud83d\ude00 é 😀"`), After: raw(`"\ud800 \"\\\n\r\t"`)},
			{Path: "object", Before: raw(`{ "b": 1, "a": {"é": true, "z": false, "\ue000": 1, "😀": 2, "": []}, "B": {} }`)},
			{Path: "twice", After: raw(`{"a":1,"a":2}`)},
			{Path: "u", Unknown: true},
			{Path: "s", Sensitive: true},
			{Path: "us", Unknown: true, Sensitive: true},
			{Path: "v", Before: raw(`"a"`), After: raw(`"b"`), Volatile: true},
		}},
		{Address: "a", Deposed: "1", Action: operation.Delete},
		{Address: "a", Action: operation.Delete},
		{Address: "a", Action: operation.Create},
		{Address: "a", Action: operation.Create, Attributes: []operation.Attribute{{Path: "b", After: raw("1")}}},
		{Address: "B", PreviousAddress: "A", ImportID: "id\nwith line", Action: operation.Move, ActionReason: "not hashed"},
		{Address: "output.x", Action: operation.Output, ActionReason: "update", Attributes: []operation.Attribute{{Path: "", After: raw("1")}}},
		{Address: "data.x.y", Action: operation.Read, Attributes: []operation.Attribute{{Path: "z", Unknown: true}}},
		{Address: "é", Action: operation.Update},
		{Address: "\U0001f600", Action: operation.Update},
		{Address: "\ue000", Action: operation.Update},
	}
}
