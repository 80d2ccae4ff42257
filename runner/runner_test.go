package runner_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

// reviewed plans a tree and gives a task that applies it, expecting just that.
func (w *world) reviewed(tree string, roots ...string) operation.Task {
	w.t.Helper()
	result := w.do(w.task(operation.Plan, tree, roots...))
	task := w.task(operation.Apply, tree, roots...)
	for i, target := range result.Targets {
		if target.Error != "" {
			w.t.Fatalf("plan of %s: %s", target.Target, target.Error)
		}
		task.Targets[i].Expected = &target.ChangeSet
	}
	return task
}

func TestPlanShowsWhatWouldChange(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{
		"src/terraform/main.tf": root(data("a", "var.size") + "module \"m\" {\n  source = \"../modules/m\"\n}\n" +
			"variable \"size\" {}\nvariable \"application_name\" {}\noutput \"app\" {\n  value = var.application_name\n}\n"),
		"src/terraform/env/dev.tfvars": "size = 3\n",
		"src/modules/m/main.tf":        data("inner", "1"),
		"src/empty/main.tf":            root(""),
	})
	result := w.do(w.task(operation.Plan, tree, "src/terraform", "src/empty"))
	if result.Error != "" || result.Stopped != "" || result.Question != "" {
		t.Fatalf("got %+v", result)
	}
	if diff := cmp.Diff([]operation.Outcome{operation.Planned, operation.Unchanged}, outcomes(result)); diff != "" {
		t.Fatal(diff, result.Targets)
	}
	first := result.Targets[0]
	want := []string{"create module.m.terraform_data.inner", "output output.app", "create terraform_data.a"}
	if diff := cmp.Diff(want, addresses(first.ChangeSet.Changes)); diff != "" {
		t.Error(diff)
	}
	if first.Processes != 3 || first.Timings.Init == 0 || first.Timings.Plan == 0 || first.Timings.Show == 0 || first.Timings.Apply != 0 {
		t.Errorf("got %d processes, %+v", first.Processes, first.Timings)
	}
	if diff := cmp.Diff([]operation.Tool{{Name: filepath.Base(w.binary), Version: terraformVersion(t, w)}}, result.Tools); diff != "" {
		t.Error(diff)
	}
	if w.hasState("src/terraform") {
		t.Error("a plan changed the state")
	}
	for _, left := range []string{"plans", "home"} {
		if _, err := os.Stat(filepath.Join(w.work, left)); !os.IsNotExist(err) {
			t.Errorf("%s was left behind", left)
		}
	}
}

// terraformVersion asks by requiring a version that nobody has.
func terraformVersion(t *testing.T, w *world) string {
	t.Helper()
	task := w.task(operation.Plan, w.tree(map[string]string{"v/main.tf": root("")}), "v")
	task.WorkDir = t.TempDir()
	task.Terraform.Version = "0.0.1"
	_, after, found := strings.Cut(w.do(task).Error, "is version ")
	if !found {
		t.Fatal("a wrong version was accepted")
	}
	version, _, _ := strings.Cut(after, ",")
	return version
}

func TestApplyAppliesWhatWasReviewed(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{
		"a/main.tf": root(data("x", "abspath(path.module)")), "b/main.tf": root(data("y", "1")), "c/main.tf": root(""),
	})
	task := w.reviewed(tree, "a", "b", "c")
	result := w.do(task)
	if diff := cmp.Diff([]operation.Outcome{operation.Applied, operation.Applied, operation.Unchanged}, outcomes(result)); diff != "" {
		t.Fatal(diff, result)
	}
	if !w.hasState("a") || !w.hasState("b") {
		t.Error("nothing was applied")
	}
	if result.Question != "" || result.Targets[0].Processes != 5 || result.Targets[0].Timings.Apply == 0 {
		t.Errorf("got %+v", result)
	}
	left, err := os.ReadDir(task.WorkDir)
	if err != nil {
		t.Fatal(err)
	}
	if len(left) != 1 || left[0].Name() != "lock" {
		t.Errorf("the work directory still has %v", left)
	}
	again := w.do(w.reviewed(tree, "b"))
	if again.Targets[0].Outcome != operation.Unchanged || again.Targets[0].Lineage == "" || again.Targets[0].Serial == 0 {
		t.Errorf("the second time: %+v", again.Targets[0])
	}
}

func TestNothingIsAppliedWhenAnyTargetIsDifferent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	before := w.tree(map[string]string{"a/main.tf": root(data("x", "1")), "b/main.tf": root(data("y", "1"))})
	after := w.tree(map[string]string{"a/main.tf": root(data("x", "1")), "b/main.tf": root(data("y", "1") + data("sneaky", "2"))})
	task := w.reviewed(before, "a", "b")
	task.Tree = after
	result := w.do(task)
	if diff := cmp.Diff([]operation.Outcome{operation.TargetStopped, operation.Different}, outcomes(result)); diff != "" {
		t.Fatal(diff)
	}
	if diff := cmp.Diff([]string{"create terraform_data.sneaky"}, addresses(result.Targets[1].Unexpected)); diff != "" {
		t.Error(diff)
	}
	if w.hasState("a") || w.hasState("b") {
		t.Error("something was applied")
	}
	if result.Question == "" || !strings.Contains(result.Targets[0].Error, "changes that nobody reviewed") {
		t.Errorf("got %+v", result)
	}

	t.Run("nor after a yes to something else", func(t *testing.T) {
		w.t = t
		task.Confirmed = strings.Repeat("0", len(result.Question))
		if got := w.do(task); got.Question != result.Question || got.Targets[1].Outcome != operation.Different || w.hasState("a") {
			t.Errorf("got %+v", got)
		}
	})
	t.Run("but after a yes to exactly this", func(t *testing.T) {
		w.t = t
		task.Confirmed = result.Question
		got := w.do(task)
		if diff := cmp.Diff([]operation.Outcome{operation.Applied, operation.Applied}, outcomes(got)); diff != "" || !w.hasState("b") {
			t.Errorf("%s %+v", diff, got)
		}
	})
}

func TestApplyWithoutAReviewIsDifferent(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	result := w.do(w.task(operation.Apply, w.tree(map[string]string{"a/main.tf": root(data("x", "1"))}), "a"))
	if result.Targets[0].Outcome != operation.Different || result.Question == "" || w.hasState("a") {
		t.Errorf("got %+v", result)
	}
}

func TestDoubtNeedsAYesWhateverThePlanSays(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	task := w.reviewed(w.tree(map[string]string{"a/main.tf": root(data("x", "1"))}), "a")
	task.Doubts = operation.Doubts{{Key: "undo 41", Text: "this would undo #41"}}
	result := w.do(task)
	if result.Targets[0].Outcome != operation.TargetStopped || result.Question == "" || w.hasState("a") ||
		!strings.Contains(result.Targets[0].Error, "this would undo #41") {
		t.Fatalf("got %+v", result)
	}
	task.Confirmed = result.Question
	if result := w.do(task); result.Targets[0].Outcome != operation.Applied {
		t.Errorf("after a yes: %+v", result)
	}
}

func TestAYesToDoubtsHoldsWhateverBecomesOfTheOthers(t *testing.T) {
	t.Parallel()
	undo := operation.Doubt{Key: "undo 0a1b net", Text: "This would undo #41.", Undoes: true}
	unproven := operation.Doubt{Key: "promotion test c0ffee net", Text: "This content was not applied in test before."}
	reworded := unproven
	reworded.Text = "This content was still not applied in test."
	other := operation.Doubt{Key: "promotion test beef net", Text: "That content was not applied in test before."}
	for name, c := range map[string]struct {
		said, now operation.Doubts
		asks      string // what is asked about; empty: it is applied
	}{
		"the same":                          {said: operation.Doubts{undo, unproven}, now: operation.Doubts{undo, unproven}},
		"the same in another order":         {said: operation.Doubts{undo, unproven}, now: operation.Doubts{unproven, undo}},
		"the same in other words":           {said: operation.Doubts{undo, unproven}, now: operation.Doubts{undo, reworded}},
		"fewer":                             {said: operation.Doubts{undo, unproven}, now: operation.Doubts{undo}},
		"none":                              {said: operation.Doubts{undo, unproven}},
		"one more":                          {said: operation.Doubts{undo}, now: operation.Doubts{undo, unproven}, asks: unproven.Text},
		"another one in the same sentence":  {said: operation.Doubts{unproven}, now: operation.Doubts{{Key: other.Key, Text: unproven.Text}}, asks: unproven.Text},
		"another one beside what was there": {said: operation.Doubts{undo, unproven}, now: operation.Doubts{undo, other}, asks: other.Text},
	} {
		for _, unreviewed := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, with changes that nobody reviewed: %v", name, unreviewed), func(t *testing.T) {
				t.Parallel()
				w := newWorld(t)
				tree := w.tree(map[string]string{"a/main.tf": root(data("x", "1"))})
				task := w.reviewed(tree, "a")
				if unreviewed {
					task = w.task(operation.Apply, tree, "a")
				}
				task.Doubts = c.said
				asked := w.do(task)
				if asked.Question == "" || w.hasState("a") {
					t.Fatalf("it did not ask: %+v", asked)
				}
				task.Doubts, task.Confirmed, task.ConfirmedDoubts, task.Agreed = c.now, asked.Question, c.said.Keys(), c.said.Keys()
				result := w.do(task)
				if c.asks == "" {
					if result.Targets[0].Outcome != operation.Applied || result.Question != "" && result.Question != task.Confirmed {
						t.Fatalf("after the yes: %+v", result)
					}
					return
				}
				if w.hasState("a") || result.Question == "" || result.Question == asked.Question {
					t.Fatalf("it did not ask again: %+v", result)
				}
				if !unreviewed && result.Targets[0].Error != "Not applied: a yes is needed first. "+c.asks {
					t.Errorf("it asks about more than what is new: %s", result.Targets[0].Error)
				}
				left := c.now.Without(task.Agreed)
				task.Confirmed, task.ConfirmedDoubts, task.Agreed = result.Question, left.Keys(), append(c.said.Keys(), left.Keys()...)
				if result := w.do(task); result.Targets[0].Outcome != operation.Applied {
					t.Errorf("after the second yes: %+v", result)
				}
			})
		}
	}
}

func TestAYesToDoubtsIsNoneToChanges(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": root(data("x", "1"))})
	task := w.reviewed(tree, "a")
	task.Doubts = operation.Doubts{{Key: "undo 0a1b net", Text: "This would undo #41.", Undoes: true}}
	task.Confirmed = w.do(task).Question
	task.ConfirmedDoubts, task.Agreed = task.Doubts.Keys(), task.Doubts.Keys()
	task.Targets[0].Expected = &operation.ChangeSet{}
	if result := w.do(task); result.Targets[0].Outcome != operation.Different || w.hasState("a") {
		t.Errorf("got %+v", result)
	}
}

func TestFailedTargetStopsThoseAfterIt(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	failing := "resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n" +
		"    command = \"echo no quota >&2; exit 1\"\n  }\n}\n"
	tree := w.tree(map[string]string{
		"a/main.tf": root(data("x", "1")), "b/main.tf": root(failing), "c/main.tf": root(data("z", "1")),
	})
	result := w.do(w.reviewed(tree, "a", "b", "c"))
	want := []operation.Outcome{operation.Applied, operation.TargetFailed, operation.TargetStopped}
	if diff := cmp.Diff(want, outcomes(result)); diff != "" {
		t.Fatal(diff)
	}
	if !strings.Contains(result.Targets[1].Error, "no quota") || !strings.Contains(result.Targets[2].Error, "b (dev) came before it") {
		t.Errorf("got %q and %q", result.Targets[1].Error, result.Targets[2].Error)
	}
	if w.hasState("c") || result.Targets[2].Processes != 3 {
		t.Error("the last one was applied")
	}
}

func TestEachTargetIsConfirmedJustBeforeItIsApplied(t *testing.T) {
	t.Parallel()
	no, silent := errors.New("the server says no"), fmt.Errorf("the server is away: %w", operation.ErrNoAnswer)
	const applied, stopped = operation.Applied, operation.TargetStopped
	for name, c := range map[string]struct {
		answers []error
		want    []operation.Outcome
	}{
		"a yes to each":                    {[]error{nil, nil}, []operation.Outcome{applied, applied}},
		"a no to all":                      {[]error{no}, []operation.Outcome{stopped, stopped}},
		"a no to what is left":             {[]error{nil, no}, []operation.Outcome{applied, stopped}},
		"silence begins nothing":           {[]error{silent}, []operation.Outcome{stopped, stopped}},
		"silence leaves nothing half done": {[]error{nil, silent}, []operation.Outcome{applied, applied}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			task := w.reviewed(w.tree(map[string]string{"a/main.tf": root(data("x", "1")), "b/main.tf": root(data("y", "1"))}), "a", "b")
			asked := 0
			result := runner.RunConfirmed(t.Context(), task, io.Discard, func(context.Context) error {
				if w.hasState("a") != (asked > 0) {
					t.Errorf("question %d comes at another time", asked)
				}
				asked++
				return c.answers[asked-1]
			})
			if diff := cmp.Diff(c.want, outcomes(result)); diff != "" || asked != len(c.answers) {
				t.Errorf("asked %d times: %s", asked, diff)
			}
		})
	}
}

func TestAJobThatIsCancelledSaysSoAndNotThatNobodyConfirmedIt(t *testing.T) {
	t.Parallel()
	silent := fmt.Errorf("the server is away: %w", operation.ErrNoAnswer)
	w := newWorld(t)
	task := w.reviewed(w.tree(map[string]string{"a/main.tf": root(data("x", "1")), "b/main.tf": root(data("y", "1"))}), "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	asked := 0
	result := runner.RunConfirmed(ctx, task, io.Discard, func(context.Context) error {
		asked++
		cancel()
		return silent
	})
	if diff := cmp.Diff([]operation.Outcome{operation.TargetStopped, operation.TargetStopped}, outcomes(result)); diff != "" || asked != 1 {
		t.Errorf("asked %d times: %s", asked, diff)
	}
	for _, target := range result.Targets {
		if target.Error != "Not applied: the operation was stopped before." {
			t.Errorf("%s: %s", target.Target, target.Error)
		}
	}
}

func TestFailedPlanStopsTheApplyOfAll(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": root(data("x", "1")), "b/main.tf": root(data("x", "var.missing"))})
	task := w.task(operation.Apply, tree, "a", "b", "gone")
	result := w.do(task)
	want := []operation.Outcome{operation.TargetStopped, operation.TargetFailed, operation.TargetFailed}
	if diff := cmp.Diff(want, outcomes(result)); diff != "" {
		t.Fatal(diff)
	}
	if w.hasState("a") || result.Question != "" ||
		!strings.Contains(result.Targets[1].Error, "Reference to undeclared input variable") ||
		!strings.Contains(result.Targets[2].Error, `root "gone" is not in this commit`) {
		t.Errorf("got %+v", result.Targets)
	}
}

func TestStoppedApplyReleasesTheLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	marker := filepath.Join(t.TempDir(), "running")
	slow := fmt.Sprintf("resource \"terraform_data\" \"x\" {\n  provisioner \"local-exec\" {\n"+
		"    command = \"touch '%s'; sleep 60\"\n  }\n}\n", marker)
	tree := w.tree(map[string]string{"a/main.tf": root(slow), "b/main.tf": root(data("y", "1"))})
	task := w.reviewed(tree, "a", "b")
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	locked := make(chan operation.Result, 1)
	go func() {
		defer cancel()
		terraformtest.Eventually(func() bool { return terraformtest.Exists(marker) || ctx.Err() != nil })
		rival := w.task(operation.Apply, tree, "a")
		locked <- w.doWith(context.WithoutCancel(ctx), rival)
	}()
	result := w.doWith(ctx, task)
	if diff := cmp.Diff([]operation.Outcome{operation.TargetStopped, operation.TargetStopped}, outcomes(result)); diff != "" {
		t.Fatal(diff, result)
	}
	if result.Stopped != "cancelled" || !strings.Contains(result.Targets[0].Error, "Stopped during terraform apply") {
		t.Errorf("got %+v", result)
	}
	rival := (<-locked).Targets[0]
	if rival.Outcome != operation.Locked || rival.Lock == nil || rival.Lock.Operation != "OperationTypeApply" || rival.Lock.Who == "" {
		t.Errorf("meanwhile: %+v", rival)
	}
	if after := w.do(w.task(operation.Apply, tree, "a")).Targets[0]; after.Outcome == operation.Locked {
		t.Errorf("afterwards: %+v", after)
	}
}

func TestTerraformKnowsNothingOfTheServer(t *testing.T) {
	t.Setenv("SWITCHYARD_PRIVATE_KEY", "server-secret")
	w := newWorld(t)
	environ := "output \"environ\" {\n  value = split(\"\\u0000\", file(\"/proc/self/environ\"))\n}\n"
	task := w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": root(environ)}), "a")
	task.Env = map[string]string{"ARM_USE_OIDC": "true"}
	task.Isolation.Read = []string{"/proc"}
	result := w.do(task)
	text, err := json.Marshal(result)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "server-secret") || !strings.Contains(string(text), "ARM_USE_OIDC=true") {
		t.Errorf("got %s", text)
	}
	var values []string
	if err := json.Unmarshal(result.Targets[0].ChangeSet.Changes[0].Attributes[0].After, &values); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, value := range values {
		name, _, _ := strings.Cut(value, "=")
		names = append(names, name)
	}
	want := []string{
		"ARM_USE_OIDC", "CHECKPOINT_DISABLE", "HOME", "PATH", "TF_CLI_CONFIG_FILE", "TF_INPUT", "TF_IN_AUTOMATION", "TMPDIR", "TF_DATA_DIR", "",
	}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Error(diff)
	}
}

func TestErrorsDoNotTellValuesOfTheEnvironment(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fake := terraformtest.New(t, map[string]terraformtest.Act{
		"plan": {Exit: 1, Stderr: "401 for token hunter2hunter2 in " + w.work + "/tree/a/main.tf"},
	})
	w.binary = fake.Path
	task := w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": root("")}), "a")
	task.Env = map[string]string{"TF_TOKEN_example_com": "hunter2hunter2"}
	result := w.do(task)
	if got := result.Targets[0].Error; got != "401 for token (TF_TOKEN_example_com) in a/main.tf" {
		t.Errorf("got %q", got)
	}
}
