package operation_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
)

func TestWhoApprovedAChange(t *testing.T) {
	t.Parallel()
	held := func(address, deposed string) operation.Held {
		return operation.Held{Address: address, Deposed: deposed, Rule: "replace-stateful"}
	}
	evidence := operation.Evidence{
		Reviews: []operation.Review{{Pull: 41, Approved: []string{"cy", "bob"}}, {Pull: 42, Approved: []string{"ana"}}},
		Seconds: []operation.Second{
			{Root: "infra", Held: held("a.cache", ""), Who: "dora"},
			{Root: "infra", Held: held("a.cache", ""), Who: "bob"},
			{Root: "dns", Held: held("a.zone", ""), Who: "eve"},
			{Root: "infra", Held: held("a.disk", "d1"), Who: "fay"},
		},
	}
	reviewed := &operation.Cause{Kind: operation.CauseReviewed, Pulls: []int{41}}
	for name, c := range map[string]struct {
		root   string
		change operation.Change
		cause  *operation.Cause
		want   []string
	}{
		"people of the pull request":                      {"infra", operation.Change{Address: "a.plain"}, reviewed, []string{"bob", "cy"}},
		"they and the second person, each once":           {"infra", operation.Change{Address: "a.cache"}, reviewed, []string{"bob", "cy", "dora"}},
		"the second people alone, of what nobody planned": {"infra", operation.Change{Address: "a.cache"}, nil, []string{"bob", "dora"}},
		"nobody of another root":                          {"infra", operation.Change{Address: "a.zone"}, nil, nil},
		"nobody of the object that replaces it":           {"infra", operation.Change{Address: "a.disk"}, nil, nil},
		"the second person of a deposed object":           {"infra", operation.Change{Address: "a.disk", Deposed: "d1"}, nil, []string{"fay"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, evidence.ApprovedBy(c.root, c.change, c.cause)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
