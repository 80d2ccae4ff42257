package render_test

import (
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
)

func TestAnOperationInAWorkflowLeadsToItsRun(t *testing.T) {
	t.Parallel()
	const page = "https://github.com/acme/network/actions/runs/7"
	op := operation.Operation{
		ID: 5, Kind: operation.Apply, Environment: "prod", State: operation.Running, Attempt: 1,
		Started: time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC), Repository: operation.Repository{Owner: "acme", Name: "network"},
	}
	shown := func(state operation.State, run render.RunView) string {
		op := op
		op.State = state
		return render.ApplyCheck(render.ApplyView{Operation: op, Run: run, Now: op.Started.Add(time.Minute), WebURL: "https://github.com"}).Summary
	}
	waits := shown(operation.Running, render.RunView{URL: page, Where: "The workflow run waits for a reviewer, or for another rule of the GitHub Environment `prod`."})
	for _, words := range []string{"waits for a reviewer", "`prod`", "](" + page + ")"} {
		if !strings.Contains(waits, words) {
			t.Errorf("it lacks %q:\n%s", words, waits)
		}
	}
	if strings.Contains(waits, "need not do anything") {
		t.Errorf("a run that waits for a person needs one:\n%s", waits)
	}
	if going := shown(operation.Running, render.RunView{URL: page}); !strings.Contains(going, "need not do anything") {
		t.Errorf("one that goes on needs nobody:\n%s", going)
	}
	for _, state := range []operation.State{operation.Failed, operation.Interrupted, operation.Cancelled} {
		if ended := shown(state, render.RunView{URL: page}); !strings.Contains(ended, "]("+page+")") {
			t.Errorf("%s: it lacks the link:\n%s", state, ended)
		}
	}
	if evil := shown(operation.Failed, render.RunView{URL: "javascript:alert(1)"}); strings.Contains(evil, "javascript") {
		t.Errorf("an address that is none is a link:\n%s", evil)
	}
	if hostile := shown(operation.Running, render.RunView{Where: "It runs in the job `x` @everyone [y](http://evil)."}); strings.Contains(hostile, "](http://evil)") {
		t.Errorf("words become a link:\n%s", hostile)
	}
}
