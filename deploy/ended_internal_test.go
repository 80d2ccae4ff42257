package deploy

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
)

func TestAnApplyOfWhichARootWasLeftOutDidNotSucceed(t *testing.T) {
	t.Parallel()
	const no = "Not applied: the server says no: It was cancelled."
	applied := operation.TargetResult{Target: operation.Target{Root: "app"}, Outcome: operation.Applied}
	stopped := operation.TargetResult{Target: operation.Target{Root: "db"}, Outcome: operation.TargetStopped, Error: no}
	for name, c := range map[string]struct {
		result operation.Result
		state  operation.State
		says   string
	}{
		"all were applied":            {operation.Result{Targets: []operation.TargetResult{applied}}, operation.Succeeded, ""},
		"no server confirmed it":      {operation.Result{Targets: []operation.TargetResult{stopped}}, operation.Failed, no},
		"nor the second of its roots": {operation.Result{Targets: []operation.TargetResult{applied, stopped}}, operation.Failed, no},
		"its job was cancelled": {
			operation.Result{Targets: []operation.TargetResult{stopped}, Stopped: "cancelled"}, operation.Cancelled, "It was stopped",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := ended(operation.Operation{Kind: operation.Apply}, c.result, operation.Evidence{})
			if end.State != c.state || !strings.HasPrefix(end.Message, c.says) {
				t.Errorf("%s: %s", end.State, end.Message)
			}
		})
	}
}
