package plan_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

func TestPromoted(t *testing.T) {
	t.Parallel()
	update := func(address, path, before, after string) operation.Change {
		return operation.Change{Address: address, Action: operation.Update, Attributes: []operation.Attribute{
			{Path: path, Before: json.RawMessage(before), After: json.RawMessage(after)},
		}}
	}
	for _, test := range []struct {
		name      string
		now, then []operation.Change
		same      int
		differs   []string
	}{
		{"nothing is as nothing", nil, nil, 0, nil},
		{
			"the same value is the same, whatever was before",
			[]operation.Change{update("a.x", "size", "1", "3")},
			[]operation.Change{update("a.x", "size", "2", "3")},
			1, nil,
		},
		{
			"a value with the stage's name in it is the same",
			[]operation.Change{update("a.x", "name", `"old"`, `"net-prod-we"`)},
			[]operation.Change{update("a.x", "name", `"old"`, `"net-test-we"`)},
			1, nil,
		},
		{
			"another value differs",
			[]operation.Change{update("a.x", "sku_name", `"s"`, `"P1"`)},
			[]operation.Change{update("a.x", "sku_name", `"s"`, `"B1"`)},
			0,
			[]string{"a.x.sku_name"},
		},
		{
			"another action differs",
			[]operation.Change{{Address: "a.x", Action: operation.Delete}},
			[]operation.Change{{Address: "a.x", Action: operation.Update}},
			0,
			[]string{"a.x"},
		},
		{"a change that the stage did not have differs", []operation.Change{{Address: "a.x", Action: operation.Create}}, nil, 0, []string{"a.x"}},
		{
			"a change that only the stage had is no difference: it may be true here already", nil,
			[]operation.Change{{Address: "a.x", Action: operation.Create}},
			0, nil,
		},
		{
			"outputs and reads do not count",
			[]operation.Change{{Address: "output.a", Action: operation.Output}, {Address: "data.a", Action: operation.Read}},
			nil, 0, nil,
		},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			same, differs := plan.Promoted(operation.ChangeSet{Changes: test.now}, operation.ChangeSet{Changes: test.then}, "prod", "test")
			if same != test.same {
				t.Errorf("%d are the same, want %d", same, test.same)
			}
			if diff := cmp.Diff(test.differs, differs); diff != "" {
				t.Errorf("differs (-want +got):\n%s", diff)
			}
		})
	}
}
