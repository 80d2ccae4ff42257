package server

import (
	"context"
	"errors"
	"io"
	"testing"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
)

func TestATaskThatIsStoppedWhileItIsEquippedIsNotStartedAgain(t *testing.T) {
	t.Parallel()
	began := make(chan struct{}, 1)
	task := operation.Task{Operation: 3, Launch: "launch", Targets: []operation.TargetTask{{Dir: "infra"}}}
	e := newInJob(io.Discard, clockwork.NewRealClock(), func(ctx context.Context, _ *operation.Task) error {
		began <- struct{}{}
		<-ctx.Done() // as a download
		return errors.New("signal: killed")
	})
	go func() {
		<-began
		e.stop()
	}()
	for _, when := range []string{"while", "before"} {
		run, err := e.Start(t.Context(), task)
		if err != nil {
			t.Fatalf("stopped %s: %v", when, err)
		}
		result, err := run.Wait(t.Context())
		if err != nil || result.Stopped != "cancelled" || result.Error != "" || result.Launch != "launch" || len(result.Targets) != 1 {
			t.Errorf("stopped %s: %+v, %v", when, result, err)
		}
	}
	failed := errors.New("no route")
	e = newInJob(io.Discard, clockwork.NewRealClock(), func(context.Context, *operation.Task) error { return failed })
	if _, err := e.Start(t.Context(), task); !errors.Is(err, failed) {
		t.Errorf("it fails with %v", err)
	}
}
