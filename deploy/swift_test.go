package deploy //nolint:testpackage // what is told of a dispatch is seen from inside only

import (
	"context"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

func TestHowLongADispatchTookIsToldWithoutTheTimeOfGitHub(t *testing.T) {
	t.Parallel()
	workflow := &operation.Job{Workflow: "switchyard.yml"}
	for name, c := range map[string]struct {
		caused string // which delivery led to the operation
		job    *operation.Job
		want   []time.Duration
	}{
		"once, for the first run":                                {"one", workflow, []time.Duration{2 * time.Second}},
		"not of one that waited until another one's job took it": {"two", workflow, nil},
		"not of one that runs on this host":                      {"one", nil, nil},
		"not of one that nobody's webhook led to":                {"", workflow, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, clock := openData(t)
			if _, err := db.Accept(t.Context(), store.Delivery{GUID: "one", Event: "issue_comment", Payload: []byte("{}")}, nil); err != nil {
				t.Fatal(err)
			}
			op, err := db.CreateOperation(because(t.Context(), c.caused), operation.Operation{
				Repository: operation.Repository{ID: 7}, Kind: operation.Plan, Environment: "dev", Delivery: c.caused,
			})
			if err != nil {
				t.Fatal(err)
			}
			var told []time.Duration
			d := &Deploy{Options: Options{Store: db, Clock: clock, Dispatched: func(_ operation.Kind, own time.Duration) { told = append(told, own.Round(time.Second)) }}}
			clock.Advance(5 * time.Second)
			work := d.timed(func(ctx context.Context, job queue.Job, _ queue.Claim) error {
				d.stopwatches.start(job.Cause).Add(3 * time.Second)
				for range 2 {
					d.noteDispatch(because(ctx, job.Cause), operation.Task{Operation: op.ID, Job: c.job})
				}
				return nil
			})
			if err := work(t.Context(), queue.Job{Cause: "one"}, queue.Claim{}); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, told); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}
