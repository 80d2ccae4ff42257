package plan_test

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

func TestHeldNamesTheVeryChange(t *testing.T) {
	t.Parallel()
	replaced := func(after string) operation.Change {
		return operation.Change{
			Address: "a.x", Action: operation.Replace, ReplacePaths: []string{"v"},
			Attributes: []operation.Attribute{{Path: "v", Before: json.RawMessage("1"), After: json.RawMessage(after)}},
		}
	}
	deposed := operation.Change{Address: "a.x", Deposed: "0123abcd", Action: operation.Delete}
	other := operation.Change{Address: "a.y", Action: operation.Replace}
	risks := []operation.Risk{
		{Address: "a.y", Rule: operation.RiskReplaceStateful},
		{Address: "a.x", Rule: operation.RiskReplaceStateful},
		{Address: "a.x", Rule: operation.RiskReplaceStateful, Reason: "said twice"},
		{Address: "a.x", Rule: operation.RiskPublic},
		{Address: "a.x", Deposed: "0123abcd", Rule: operation.RiskDestroyStateful},
		{Address: "a.z", Rule: operation.RiskUnprotected}, // nothing is done to it
	}
	block := []operation.RiskRule{operation.RiskReplaceStateful, operation.RiskDestroyStateful, operation.RiskUnprotected}
	held := plan.Held(risks, block, []operation.Change{replaced("2"), deposed, other})
	want := []operation.Held{
		{Address: "a.x", Rule: operation.RiskReplaceStateful, Change: plan.ApprovalDigest([]operation.Change{replaced("2")})},
		{Address: "a.x", Deposed: "0123abcd", Rule: operation.RiskDestroyStateful, Change: plan.ApprovalDigest([]operation.Change{deposed})},
		{Address: "a.y", Rule: operation.RiskReplaceStateful, Change: plan.ApprovalDigest([]operation.Change{other})},
		{Address: "a.z", Rule: operation.RiskUnprotected, Change: plan.ApprovalDigest(nil)},
	}
	if diff := cmp.Diff(want, held); diff != "" {
		t.Error(diff)
	}
	if plan.ApprovalDigest([]operation.Change{replaced("2")}) == plan.ApprovalDigest([]operation.Change{replaced("3")}) {
		t.Error("another value is the same change")
	}
	if found := plan.Held(risks, nil, []operation.Change{other}); found != nil {
		t.Errorf("nothing is held back, and yet %v", found)
	}
}

func TestAnApprovalFitsAPlanWhoseVolatileValuesAreOthers(t *testing.T) {
	t.Parallel()
	at := func(time string) []operation.Change {
		return []operation.Change{{
			Address: "a.x", Action: operation.Replace,
			Attributes: []operation.Attribute{{Path: "at", After: json.RawMessage(time), Volatile: true}},
		}}
	}
	if plan.ApprovalDigest(at("1")) != plan.ApprovalDigest(at("2")) {
		t.Error("an approval is lost with each plan")
	}
}
