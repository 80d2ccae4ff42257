package runner_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

func TestNotesNameWhatIsNewWithEachPlan(t *testing.T) {
	t.Parallel()
	const onlyAtApply = ", which is known only during the apply: what uses it changes with every apply"
	const atEachPlan = ", which is new with each plan: what uses it is another value when it is applied"
	module := "module \"m\" {\n  source = \"../m\"\n}\n"
	for name, c := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"a resource": {
			map[string]string{"a/main.tf": root("resource \"terraform_data\" \"x\" {\n  input = timestamp()\n}\n")},
			[]string{"`input` of `terraform_data.x` is `timestamp()`" + onlyAtApply},
		},
		"a resource with instances, in a module": {
			map[string]string{
				"a/main.tf": root(module),
				"m/m.tf":    "resource \"terraform_data\" \"x\" {\n  for_each = toset([\"a.b\"])\n  input = \"${each.key} ${plantimestamp()}\"\n}\n",
			},
			[]string{"`input` of `terraform_data.x` in `m` is `plantimestamp()`" + atEachPlan},
		},
		"a local value": {
			map[string]string{"a/main.tf": root(data("x", "1") + "locals {\n  now = plantimestamp()\n}\n")},
			[]string{"`local.now` is `plantimestamp()`" + atEachPlan},
		},
		"a resource that is not made": {
			map[string]string{"a/main.tf": root(data("x", "1") + "resource \"terraform_data\" \"y\" {\n  count = 0\n  input = timestamp()\n}\n")}, nil,
		},
		"a plan without changes": {map[string]string{"a/main.tf": root("locals {\n  now = timestamp()\n}\n")}, nil},
		"a check that does not pass": {
			map[string]string{"a/main.tf": root("resource \"terraform_data\" \"z\" {\n  input = 1\n}\ncheck \"c\" {\n  assert {\n    condition = terraform_data.z.input == 3\n    error_message = \"Too few zones.\"\n  }\n}\n")},
			[]string{"the check `check.c` does not pass: Too few zones."},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			target := w.do(w.task(operation.Plan, w.tree(c.files), "a")).Targets[0]
			if diff := cmp.Diff(c.want, target.Notes); target.Error != "" || diff != "" {
				t.Error(target.Error, diff)
			}
		})
	}
}

func TestAnApplyNotesVersionsThatWereNotReviewed(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reviewed []operation.Tool
		want     []string
	}{
		"another version": {
			[]operation.Tool{{Name: "terraform", Version: "1.11.3"}, {Name: "terraform", Version: "1.10.0"}},
			[]string{"`terraform` is version 1.11.4 here; what was reviewed was planned with 1.11.3 and 1.10.0"},
		},
		"the same version among others": {[]operation.Tool{{Name: "terraform", Version: "1.10.0"}, {Name: "terraform", Version: "1.11.4"}}, nil},
		"versions that are not known":   {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.binary = terraformtest.New(t, nil).Path
			task := w.task(operation.Apply, w.tree(map[string]string{"a/main.tf": root("")}), "a")
			task.Reviewed = c.reviewed
			if target := w.do(task).Targets[0]; target.Error != "" || cmp.Diff(c.want, target.Notes) != "" {
				t.Error(target.Error, cmp.Diff(c.want, target.Notes))
			}
		})
	}
}

func TestNotesAreBoundedAndKeepSecrets(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	var checks []string
	for i := range 100 {
		checks = append(checks, fmt.Sprintf(`{"address":{"kind":"check","name":"c%d","to_display":"check.c%d"},"status":"fail","instances":[`+
			`{"address":{"to_display":"check.c"},"status":"fail","problems":[{"message":"hunter2-secret %s"}]}]}`, i, i, strings.Repeat("x", 5000)))
	}
	w.binary = terraformtest.New(t, map[string]terraformtest.Act{
		"show": {Stdout: `{"format_version":"1.2","checks":[` + strings.Join(checks, ",") + `]}`},
	}).Path
	task := w.task(operation.Plan, w.tree(map[string]string{"a/main.tf": root("")}), "a")
	task.Env = map[string]string{"ARM_CLIENT_SECRET": "hunter2-secret"}
	_, wait := start(t, task)
	target := wait().Targets[0]
	if target.Error != "" || len(target.Notes) != runner.MaxNotes {
		t.Fatalf("%d notes; %s", len(target.Notes), target.Error)
	}
	for _, note := range target.Notes {
		if len(note) > 500 || strings.Contains(note, "hunter2-secret") {
			t.Errorf("%d bytes: %s", len(note), note)
		}
	}
	if last := target.Notes[runner.MaxNotes-1]; !strings.Contains(last, "more notes") {
		t.Errorf("the last is %q", last)
	}
}
