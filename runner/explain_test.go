package runner_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

// causes gives changes with why they are there.
func causes(changes []operation.Change) []string {
	var list []string
	for _, change := range changes {
		list = append(list, strings.TrimSpace(fmt.Sprintf("%s %s: %s %s", change.Action, change.Address, change.Cause.Kind, change.Cause.Detail)))
	}
	return list
}

// earlier makes a task's expected changes those of a plan that was made at another time.
func earlier(task operation.Task) operation.Task {
	for _, change := range task.Targets[0].Expected.Changes {
		for i, attribute := range change.Attributes {
			if attribute.Path == `input["at"]` {
				change.Attributes[i].After = json.RawMessage(`"some time ago"`)
			}
		}
	}
	return task
}

func TestAValueThatIsAnotherInEachPlanIsToleratedAndThePlanIsApplied(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": root(data("x", "{ at = formatdate(\"hh.mm.ss\", plantimestamp()), b = 1 }"))})
	target := w.do(earlier(w.reviewed(tree, "a"))).Targets[0]
	if target.Outcome != operation.Applied || target.Processes != 7 { // init, twice plan and show, apply, and reading the state
		t.Fatalf("%s after %d processes: %s", target.Outcome, target.Processes, target.Error)
	}
	want := []string{`create terraform_data.x: volatile input["at"]`}
	if diff := cmp.Diff(want, causes(target.Tolerated)); diff != "" || len(target.Unexpected) > 0 {
		t.Error(diff, target.Unexpected)
	}
	for _, attribute := range target.Tolerated[0].Attributes {
		if attribute.Volatile != (attribute.Path == `input["at"]`) {
			t.Errorf("got %+v", attribute)
		}
	}
	target = w.do(w.task(operation.Apply, tree, "a")).Targets[0] // nobody reviewed that it is there again
	if target.Outcome != operation.Applied || cmp.Diff([]string{`update terraform_data.x: volatile input["at"]`}, causes(target.Tolerated)) != "" {
		t.Errorf("got %s, %v, %s", target.Outcome, causes(target.Tolerated), target.Error)
	}
}

func TestTheTimeOfAPlanNeedsNoSecondOne(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": root(data("x", "{ at = plantimestamp(), b = 1 }"))})
	target := w.do(earlier(w.reviewed(tree, "a"))).Targets[0]
	if diff := cmp.Diff([]string{`create terraform_data.x: volatile input["at"]`}, causes(target.Tolerated)); diff != "" {
		t.Error(diff)
	}
	if target.Outcome != operation.Applied || target.Processes != 5 {
		t.Errorf("%s after %d processes: %s", target.Outcome, target.Processes, target.Error)
	}
}

func TestADataSourceThatChangedIsTheCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.open = []string{w.states}
	other := filepath.Join(w.states, "other.tfstate")
	set := func(value string) {
		text := `{"version":4,"terraform_version":"1.11.4","serial":1,"lineage":"x","outputs":{"v":{"value":"` + value + `","type":"string"}},"resources":[]}`
		if err := os.WriteFile(other, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	source := "data \"terraform_remote_state\" \"other\" {\n  backend = \"local\"\n  config  = { path = \"" + other + "\" }\n}\n"
	tree := w.tree(map[string]string{"a/main.tf": root(source + data("x", "data.terraform_remote_state.other.outputs.v") + data("y", "2"))})
	set("first")
	reviewed := w.do(w.task(operation.Plan, tree, "a")).Targets[0]
	set("second")
	task := w.task(operation.Apply, tree, "a")
	task.Targets[0].Expected, task.Targets[0].Data = &reviewed.ChangeSet, reviewed.Data
	result := w.do(task)
	want := []string{"create terraform_data.x: data data.terraform_remote_state.other"}
	if diff := cmp.Diff(want, causes(result.Targets[0].Unexpected)); diff != "" || result.Targets[0].Outcome != operation.Different {
		t.Fatal(diff, result.Targets[0].Outcome, result.Targets[0].Error)
	}
	if diff := cmp.Diff(append(want, "create terraform_data.y: reviewed"), causes(result.Targets[0].ChangeSet.Changes)); diff != "" {
		t.Error(diff)
	}
	task.WorkDir = filepath.Join(t.TempDir(), "again")
	task.Confirmed = result.Question
	if again := w.do(task); again.Targets[0].Outcome != operation.Applied {
		t.Errorf("confirmed: %+v", again)
	}
}

func TestDriftIsTheCause(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	entry := `{"address":"azurerm_x.a","provider_name":"p","change":{"actions":["update"],"before":{"sku":%q},"after":{"sku":%q}}}`
	w.binary = terraformtest.New(t, map[string]terraformtest.Act{
		"show": {Stdout: `{"format_version":"1.2","resource_drift":[` + fmt.Sprintf(entry, "a", "b") + `],"resource_changes":[` + fmt.Sprintf(entry, "b", "a") + `]}`},
	}).Path
	tree := w.tree(map[string]string{"a/main.tf": root("")})
	planned := w.do(w.task(operation.Plan, tree, "a")).Targets[0]
	if len(planned.Drift) != 1 || planned.Drift[0].Attributes[0].Path != "sku" {
		t.Errorf("got %+v", planned)
	}
	task := w.task(operation.Apply, tree, "a")
	result := w.do(task)
	if diff := cmp.Diff([]string{"update azurerm_x.a: drift changed outside of Terraform: sku"}, causes(result.Targets[0].Unexpected)); diff != "" {
		t.Error(diff, result.Targets[0].Error)
	}
	task.Binding = operation.BindNoNewRisk
	result = w.do(task)
	if result.Targets[0].Outcome != operation.Applied || result.Question != "" || len(result.Targets[0].Tolerated) != 1 {
		t.Errorf("no-new-risk: %+v", result)
	}
}

func TestABlockedRiskWaitsForItsApproval(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	replaced := func(version string) string {
		return "resource \"terraform_data\" \"x\" {\n  triggers_replace = " + version + "\n}\n"
	}
	first := w.tree(map[string]string{"a/main.tf": root(replaced("1")), "b/main.tf": root("")})
	if target := w.do(w.reviewed(first, "a")).Targets[0]; target.Outcome != operation.Applied {
		t.Fatalf("got %+v", target)
	}
	second := w.tree(map[string]string{"a/main.tf": root(replaced("2")), "b/main.tf": root(data("y", "1"))})
	task := w.reviewed(second, "a", "b")
	task.Block = []operation.RiskRule{operation.RiskReplaceStateful}
	task.Stateful = []string{"terraform_data"}
	result := w.do(task)
	if diff := cmp.Diff([]operation.Outcome{operation.Different, operation.TargetStopped}, outcomes(result)); diff != "" {
		t.Fatal(diff, result)
	}
	target := result.Targets[0]
	if cmp.Diff([]string{"terraform_data.x"}, target.Blocked) != "" || result.Question == "" || w.hasState("b") ||
		len(target.Unexpected) > 0 || len(target.Risks) != 1 || target.Risks[0].Rule != operation.RiskReplaceStateful {
		t.Errorf("got %+v", result)
	}
	task.Confirmed = result.Question // a yes is no approval
	if again := w.do(task); again.Targets[0].Outcome != operation.Different {
		t.Errorf("confirmed: %+v", again.Targets[0])
	}
	held := target.Held
	for what, other := range map[string]func(*operation.Held){
		"another danger":  func(h *operation.Held) { h.Rule = operation.RiskDestroyStateful },
		"another change":  func(h *operation.Held) { h.Change = strings.Repeat("0", 64) },
		"another address": func(h *operation.Held) { h.Address = "terraform_data.y" },
	} {
		approved := held[0]
		other(&approved)
		task.Targets[0].Approved = []operation.Held{approved}
		if again := w.do(task); again.Targets[0].Outcome != operation.Different {
			t.Errorf("with %s approved: %+v", what, again.Targets[0])
		}
	}
	task.Targets[0].Approved, task.Targets[1].Approved = nil, held // of another root
	if again := w.do(task); again.Targets[0].Outcome != operation.Different {
		t.Errorf("approved in another root: %+v", again.Targets[0])
	}
	task.Targets[0].Approved = held
	if diff := cmp.Diff([]operation.Outcome{operation.Applied, operation.Applied}, outcomes(w.do(task))); diff != "" {
		t.Error(diff)
	}
}

func TestALostProtectionIsARisk(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	protected := "resource \"terraform_data\" \"kept\" {\n  lifecycle {\n    prevent_destroy = true\n  }\n}\n"
	tree := w.tree(map[string]string{"a/main.tf": root(protected + data("free", "1"))})
	task := w.task(operation.Plan, tree, "a")
	task.Targets[0].Protected = []string{"a:terraform_data.kept", "a:terraform_data.free", "m:terraform_data.gone"}
	target := w.do(task).Targets[0]
	var got []string
	for _, risk := range target.Risks {
		got = append(got, strings.TrimSpace(fmt.Sprintf("%s %s %s", risk.Rule, risk.Address, risk.Action)))
	}
	if diff := cmp.Diff([]string{"unprotected terraform_data.free create", "unprotected terraform_data.gone"}, got); diff != "" || target.Error != "" {
		t.Error(diff, target.Error)
	}
}

func TestResultsOfHugePlansStaySmall(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var changes, drift, sources []string
	for i := range 3000 {
		entry := fmt.Sprintf(`{"address":"azurerm_key_vault.a[%d]","provider_name":"p","change":{"actions":["delete"],"before":{"n":%d,"v":%q},"after":null}}`,
			i, i, strings.Repeat("x", 4000))
		changes = append(changes, entry)
		drift = append(drift, strings.Replace(entry, `"delete"`, `"update"`, 1))
		sources = append(sources, fmt.Sprintf(`{"address":"data.a.a[%d]","mode":"data","values":{"v":%d}}`, i, i))
	}
	fake := terraformtest.New(t, nil)
	fake.Change(t, map[string]terraformtest.Act{"show": {Stdout: `{"format_version":"1.2","resource_drift":[` + strings.Join(drift, ",") +
		`],"resource_changes":[` + strings.Join(changes, ",") + `],"prior_state":{"values":{"root_module":{"resources":[` + strings.Join(sources, ",") + `]}}}}`}})
	w.binary = fake.Path
	task := w.task(operation.Apply, w.tree(map[string]string{"a/main.tf": root("")}), "a")
	task.Block = []operation.RiskRule{operation.RiskDestroyStateful}
	_, wait := start(t, task)
	result := wait()
	target := result.Targets[0]
	if target.Outcome != operation.Different || target.ChangeSet.Counts.Destroy != 3000 || len(target.Blocked) == 0 || result.Question == "" {
		t.Fatalf("got %s with %d destroys: %s", target.Outcome, target.ChangeSet.Counts.Destroy, target.Error)
	}
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	if len(text) > runner.MaxResultSize || len(target.Risks)+target.RisksOmitted != 3000 || len(target.Unexpected)+target.UnexpectedOmitted != 3000 ||
		len(target.Drift) > runner.MaxDrift || len(target.Data) > runner.MaxChanges {
		t.Errorf("%d bytes, %d risks, %d left out, %d in drift, %d hashes", len(text), len(target.Risks), target.RisksOmitted, len(target.Drift), len(target.Data))
	}
}
