package gitflow_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/operation"
)

func TestAnswersOfTheGateReadLikeTheirGoldenFiles(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/gate/*.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file) //nolint:gosec // the names come from Glob
			if err != nil {
				t.Fatal(err)
			}
			var gate gitflow.Gate
			decoder := yaml.NewDecoder(strings.NewReader(string(data)))
			decoder.KnownFields(true)
			if err := decoder.Decode(&gate); err != nil {
				t.Fatal(err)
			}
			decision := gitflow.DecideGate(gate)
			comment := decision.Comment()
			same(t, strings.TrimSuffix(file, ".yaml")+".golden", string(decision.Verdict)+"\n"+comment+"\n")
			if n := len([]rune(comment)); n > gitflow.MaxGateComment {
				t.Errorf("the comment has %d characters", n)
			}
			if len(decision.Reasons) == 0 || (decision.Verdict == gitflow.GateRejected) != (decision.Remedy != "") {
				t.Errorf("an answer says why, and a rejection what next: %+v", decision)
			}
			if strings.Count(comment, "`")%2 != 0 {
				t.Errorf("a code span is open: %s", comment)
			}
		})
	}
}

// TestNothingUnknownIsApproved leaves out one fact after another of what is approved.
func TestNothingUnknownIsApproved(t *testing.T) {
	t.Parallel()
	if decision := gitflow.DecideGate(gitflow.Gate{}); decision.Verdict != gitflow.GateRejected {
		t.Errorf("of nothing: %+v", decision)
	}
	if decision := gitflow.DecideGate(gitflow.Gate{Operation: &gitflow.GateOperation{}}); decision.Verdict != gitflow.GateRejected {
		t.Errorf("of an empty operation: %+v", decision)
	}
	if decision := gitflow.DecideGate(gitflow.Gate{Environment: "prod", Alone: &gitflow.GateAlone{}}); decision.Verdict != gitflow.GateRejected {
		t.Errorf("of an empty run: %+v", decision)
	}
}

func TestAJobIsTheOneThatWasDispatched(t *testing.T) {
	t.Parallel()
	task := operation.Task{
		Kind: operation.Apply, Commit: "c0ffee", Environment: "prod", Repository: operation.Repository{ID: 5, Owner: "acme", Name: "network"},
		Job: &operation.Job{Workflow: "switchyard.yml", Ref: "main", Environment: "prod"},
	}
	right := operation.JobIdentity{
		RepositoryID: 5, Run: 9, Attempt: 1, WorkflowRef: "acme/network/.github/workflows/switchyard.yml@refs/heads/main", Environment: "prod",
		Ref: "refs/heads/main", SHA: "c0ffee", Event: "workflow_dispatch",
	}
	for name, c := range map[string]struct {
		change func(*operation.JobIdentity, *operation.WorkflowRun)
		want   string
	}{
		"the very job":          {func(*operation.JobIdentity, *operation.WorkflowRun) {}, ""},
		"of another repository": {func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.RepositoryID = 6 }, "the job is of another repository"},
		"of another run":        {func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.Run = 10 }, "the job is of another run"},
		"of a run that is not known yet": {func(i *operation.JobIdentity, r *operation.WorkflowRun) {
			i.Run, r.Run = 0, 0
		}, "the job is of another run"},
		"of a run that was started again": {func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.Attempt = 2 }, "the run was started again by hand"},
		"of a push":                       {func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.Event = "push" }, "the run was not dispatched"},
		"of another workflow": {func(i *operation.JobIdentity, _ *operation.WorkflowRun) {
			i.WorkflowRef = "acme/network/.github/workflows/mine.yml@refs/heads/main"
		}, "the run is of another workflow or branch"},
		"on another branch": {func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.Ref = "refs/heads/x" }, "the run is on another branch"},
		"on a tag of that name": {
			func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.Ref = "refs/tags/main" },
			"the run is on another branch",
		},
		"in another environment": {
			func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.Environment = "dev" },
			"the job works in another GitHub Environment",
		},
		"in no environment": {
			func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.Environment = "" },
			"the job works in another GitHub Environment",
		},
		"of another commit": {
			func(i *operation.JobIdentity, _ *operation.WorkflowRun) { i.SHA = "beef" },
			"the branch had moved when the run began",
		},
		"of another commit than before": {
			func(_ *operation.JobIdentity, r *operation.WorkflowRun) { r.Head = "beef" },
			"the run is of another commit than before",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			identity, run := right, operation.WorkflowRun{Task: task, Run: 9}
			c.change(&identity, &run)
			if got := gitflow.DecideJob(identity, run); got != c.want {
				t.Errorf("it says %q, not %q", got, c.want)
			}
		})
	}
}
