package plan_test

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// mixed is a plan of n objects of each kind of change. It has deposed objects, secrets that are known only once the last
// object was read, values with the time of the plan in them, and enough text to fill many blocks. salt makes its values others.
func mixed(n int, salt string) []string {
	var changes []string
	for i := range n {
		long := fmt.Sprintf("%x", sha256.Sum256(fmt.Append(nil, salt, i)))
		address := fmt.Sprintf("azurerm_storage_account.a[%d]", i)
		old := fmt.Sprintf(`{"id":"%d","text":"%s","nested":[{"k":"%s"},null]}`, i, strings.Repeat("x", i%7), long[:8])
		next := fmt.Sprintf(`{"id":"%d","text":"%s","nested":[{"k":1.50}],"made":"2026-11-21T10:00:00Z %d","key%d":"the-secret-of-%d","<é>":"\u2028"}`,
			i, strings.Repeat(long, 40), i, i, i%3)
		switch i % 6 {
		case 0:
			changes = append(changes, resourceChange(address, `"create"`, `null`, next, `{"later":true}`))
		case 1:
			changes = append(changes, resourceChange(address, `"update"`, old, next, `{}`))
		case 2:
			changes = append(changes, resourceChange(address, `"delete"`, old, `null`, `{}`))
		case 3:
			replaced := resourceChange(address, `"delete","create"`, old, next, `{}`)
			changes = append(changes, strings.Replace(replaced, `"actions":`, `"replace_paths":[["text"],["nested",0,"k"]],"actions":`, 1))
		case 4:
			changes = append(changes, strings.Replace(resourceChange(address, `"delete"`, old, `null`, `{}`), `"mode"`, `"deposed":"00","mode"`, 1),
				resourceChange(address, `"create","delete"`, old, next, `{}`))
		default:
			changes = append(changes, strings.Replace(resourceChange(address, `"no-op"`, old, old, `{}`), `"mode"`,
				fmt.Sprintf(`"previous_address":"a.b[%d]","mode"`, i), 1))
		}
	}
	for i := range 3 {
		secret := fmt.Sprintf(`{"value":"the-secret-of-%d"}`, i)
		last := resourceChange(fmt.Sprintf("azurerm_key_vault_secret.z[%d]", i), `"create"`, `null`, secret, `{}`)
		changes = append(changes, strings.Replace(last, `"after_sensitive":{}`, `"after_sensitive":{"value":true}`, 1))
	}
	return changes
}

func readKept(t *testing.T, changes []string, reviewed operation.ChangeSet, keep int) plan.Plan {
	t.Helper()
	read, err := plan.Read(strings.NewReader(document{changes: changes}.String()), plan.Options{Reviewed: reviewed, Keep: keep})
	if err != nil {
		t.Fatal(err)
	}
	return read
}

func TestTheOrderInWhichChangesComeDoesNotCount(t *testing.T) {
	t.Parallel()
	changes := mixed(700, "")
	inOrder := readKept(t, changes, operation.ChangeSet{}, 0).Set
	random := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // a test that can be repeated
	random.Shuffle(len(changes), func(i, j int) { changes[i], changes[j] = changes[j], changes[i] })
	shuffled := readKept(t, changes, operation.ChangeSet{}, 0).Set
	if !reflect.DeepEqual(inOrder, shuffled) {
		t.Errorf("%d changes, %s in order, and %d, %s shuffled", len(inOrder.Changes), inOrder.Digest, len(shuffled.Changes), shuffled.Digest)
	}
	if inOrder.Digest != plan.Digest(inOrder.Changes) || inOrder.Counts != plan.Count(inOrder.Changes) {
		t.Error("digest or counts are not those of the changes")
	}
	for _, change := range inOrder.Changes {
		for _, attribute := range change.Attributes {
			if strings.Contains(string(attribute.Before)+string(attribute.After), "the-secret") {
				t.Fatalf("%s shows a secret", change.Address)
			}
		}
	}
}

// What a plan's set leaves out is looked at all the same.
func TestAPlanOfWhichLittleIsKeptSaysTheSameAsAWholeOne(t *testing.T) {
	t.Parallel()
	const few = 10
	changes := mixed(60, "")
	covering := readKept(t, changes, operation.ChangeSet{}, 0).Set
	other := readKept(t, mixed(60, "x"), operation.ChangeSet{}, 0).Set
	half := operation.ChangeSet{Changes: covering.Changes[:len(covering.Changes)/2]}
	none := operation.ChangeSet{}
	capped := plan.Cap(covering, 20)
	block := []operation.RiskRule{operation.RiskReplaceStateful, operation.RiskUnprotected}
	for name, facts := range map[string]plan.Facts{
		"nothing was reviewed":                             {Expected: none, Block: block},
		"nothing was reviewed, and only risks count":       {Expected: none, Binding: operation.BindNoNewRisk},
		"all was reviewed":                                 {Expected: covering, Block: block},
		"half was reviewed":                                {Expected: half},
		"something else was reviewed":                      {Expected: other},
		"all was reviewed, and little of it was kept":      {Expected: capped},
		"something else was reviewed and little was kept":  {Expected: plan.Cap(other, 20)},
		"protection is lost, of what changes and what not": {Expected: half, Lost: []string{"azurerm_storage_account.a", "azurerm_x.y"}, Block: block},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole, little := readKept(t, changes, facts.Expected, 0), readKept(t, changes, facts.Expected, few)
			if diff := cmp.Diff(plan.Cap(whole.Set, few), little.Set); diff != "" {
				t.Errorf("the set (-whole +little):\n%s", diff)
			}
			for name, again := range map[string][]string{"no second plan": nil, "the same again": changes, "another second plan": mixed(60, "y")} {
				want, got := explainWith(t, facts, whole, again, 0), explainWith(t, facts, little, again, few)
				want.Changes = plan.Cap(operation.ChangeSet{Changes: want.Changes}, few).Changes
				want.Tolerated = plan.Cap(operation.ChangeSet{Changes: want.Tolerated}, few).Changes
				asked := plan.Cap(operation.ChangeSet{Changes: want.Asked}, few)
				want.Asked, want.Omitted = asked.Changes, asked.Omitted
				if !reflect.DeepEqual(want, got) {
					t.Errorf("%s: the explanation (-whole +little):\n%.3000s", name, cmp.Diff(want, got))
				}
			}
			all, err := whole.Risks(nil, facts.Lost)
			kept, keptErr := little.Risks(nil, facts.Lost)
			if err != nil || keptErr != nil || !slices.Equal(all, kept) || len(all) == 0 {
				t.Errorf("%d risks of the whole, %d of the little one, %v, %v", len(all), len(kept), err, keptErr)
			}
		})
	}
}

// explainWith explains with a second plan, where there is one.
func explainWith(t *testing.T, facts plan.Facts, actual plan.Plan, again []string, keep int) plan.Explanation {
	t.Helper()
	if again == nil {
		return explain(t, facts, actual, nil)
	}
	second := readKept(t, again, facts.Expected, keep)
	explained := explain(t, facts, actual, &second)
	if target := (operation.Target{Root: "a"}); explained.Omitted == 0 &&
		explained.Digest != "" && plan.QuestionOf(map[operation.Target]string{target: explained.Digest}, "", "") !=
		plan.Question(map[operation.Target][]operation.Change{target: explained.Asked}, "", "") {
		t.Error("the digest is not that of what is asked about")
	}
	return explained
}

func TestOneMoreChangeBeyondWhatIsKeptIsAskedAbout(t *testing.T) {
	t.Parallel()
	changes := mixed(100, "")
	reviewed := readKept(t, changes, operation.ChangeSet{}, 0).Set
	more := append(slices.Clone(changes), resourceChange("zz.last", `"create"`, `null`, `{"v":1}`, `{}`))
	read := readKept(t, more, reviewed, 5)
	if slices.ContainsFunc(read.Set.Changes, func(c operation.Change) bool { return c.Address == "zz.last" }) {
		t.Fatal("it is kept: the test tests nothing")
	}
	explained := explain(t, plan.Facts{Expected: reviewed}, read, nil)
	if len(explained.Asked) != 1 || explained.Asked[0].Address != "zz.last" || explained.Digest == "" {
		t.Errorf("asked about %d changes", len(explained.Asked)+explained.Omitted)
	}
}
