package runner

import (
	"context"
	"os"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/statelock"
)

// heldBy is a store whose lock somebody holds.
type heldBy struct {
	statelock.Lock

	info *operation.LockInfo
}

func (h heldBy) Inspect(context.Context) (operation.StateLock, error) {
	return operation.StateLock{Lease: operation.LeaseHeld, Info: h.info}, nil
}

// What the runner names as its own is taken for dead when it has ended.
func TestAStoppedApplyNamesOnlyALockThatWasTakenOnItsMachine(t *testing.T) {
	t.Parallel()
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		info *operation.LockInfo
		own  bool
	}{
		"its own":                     {&operation.LockInfo{ID: "l1", Who: "ci@" + machine}, true},
		"one without a description":   {nil, true},
		"one of a laptop":             {&operation.LockInfo{ID: "l1", Who: "mia@laptop"}, false},
		"one that does not say whose": {&operation.LockInfo{ID: "l1"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			result := operation.TargetResult{Outcome: operation.TargetStopped}
			said, known := askLockOf(t.Context(), heldBy{info: test.info}, &result)
			if !known || said == "" || (result.Lock != nil) != test.own || result.Found == nil {
				t.Errorf("%q, %+v", said, result)
			}
		})
	}
}
