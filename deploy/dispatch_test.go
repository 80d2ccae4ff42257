package deploy //nolint:testpackage // which executor is chosen, and how an operation ends, are seen from inside only

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/store"
)

func TestWhichExecutorRunsARepository(t *testing.T) {
	t.Parallel()
	const local, actions = repoconfig.ExecutorLocal, repoconfig.ExecutorActions
	for name, c := range map[string]struct {
		allowed  []string
		asked    string
		want     string
		refusals string
	}{
		"as it always was":                                  {[]string{local}, "", local, ""},
		"what the repository asks for":                      {[]string{local, actions}, actions, actions, ""},
		"the first that is allowed, where it asks for none": {[]string{actions, local}, "", actions, ""},
		"what it asks for, though another one is the first": {[]string{actions, local}, local, local, ""},
		"one that is not allowed":                           {[]string{local}, actions, "", "`actions`"},
		"the host, where that is not allowed":               {[]string{actions}, local, "", "`local`"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := &Deploy{}
			for _, allowed := range c.allowed {
				if d.Standard == "" {
					d.Standard = allowed
				}
				if allowed == local {
					d.Executor = orphan{}
				} else {
					d.Actions = orphan{}
				}
			}
			got, err := d.chosen(repoconfig.Config{Executor: c.asked})
			person, refused := errors.AsType[*hub.NeedsPerson](err)
			if got != c.want || refused != (c.refusals != "") || refused && !strings.Contains(person.What, c.refusals) {
				t.Errorf("it gives %q, %v", got, err)
			}
		})
	}
	t.Run("an attempt stays with the executor that it was started with", func(t *testing.T) {
		t.Parallel()
		host, workflows := orphan{killed: make(chan struct{})}, orphan{killed: make(chan struct{})}
		d := &Deploy{Options: Options{Executor: host, Actions: workflows, Standard: local}}
		if got := d.executorOf(operation.Operation{Host: operation.HostActions}); got != executor.Executor(workflows) {
			t.Error("one in a workflow is looked for on the host")
		}
		if got := d.executorOf(operation.Operation{Host: "a"}); got != executor.Executor(host) {
			t.Error("one on the host is looked for in workflows")
		}
		d.Actions = nil
		_, err := d.executorOf(operation.Operation{Host: operation.HostActions}).Resume(t.Context(), 1, 1, "")
		if _, refused := errors.AsType[*hub.NeedsPerson](err); !refused {
			t.Errorf("one in a workflow, where the settings do not allow them any more: %v", err)
		}
	})
}

func TestHowAnOperationEndsWhoseRunLeftNoResult(t *testing.T) {
	t.Parallel()
	apply := operation.Operation{ID: 5, Attempt: 2, Kind: operation.Apply, Environment: "prod", Roots: []string{"a"}}
	plan := apply
	plan.Kind = operation.Plan
	d := &Deploy{}
	for name, c := range map[string]struct {
		op      operation.Operation
		err     error
		state   operation.State
		words   string
		touched bool
	}{
		"an apply that may have changed something": {
			apply, &executor.InterruptedError{Words: true, Reason: "It left none."}, operation.Interrupted, "It left none.", true,
		},
		"an apply that a reviewer rejected": {
			apply, &executor.InterruptedError{Words: true, Untouched: true, Reason: "Rejected."}, operation.Failed, "Nothing was changed.", false,
		},
		"an apply that was cancelled before it began": {
			apply, &executor.InterruptedError{Words: true, Untouched: true, Cancelled: true, Reason: "Cancelled."},
			operation.Cancelled, "Nothing was changed.", false,
		},
		"an apply that was cancelled while it ran": {
			apply, &executor.InterruptedError{Words: true, Cancelled: true, Reason: "Cancelled."}, operation.Interrupted, "Cancelled.", true,
		},
		"a plan that was cancelled": {
			plan, &executor.InterruptedError{Words: true, Cancelled: true, Reason: "Cancelled."}, operation.Cancelled, "Cancelled.", false,
		},
		"a plan that left none": {
			plan, &executor.InterruptedError{Words: true, Reason: "It left none."}, operation.Failed, "It left none.", false,
		},
		"a runner on this host": {
			apply, &executor.InterruptedError{Reason: "signal: killed"}, operation.Interrupted, "not known how far", true,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			end := d.unsuccessful(c.op, c.err)
			if end.State != c.state || !strings.Contains(end.Message, c.words) || (len(end.Touched) > 0) != c.touched {
				t.Errorf("it gives %+v", end)
			}
		})
	}
}

func TestWhatAPersonHasToDoIsToldWhole(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("why ", 100)
	err := &startError{&hub.NeedsPerson{What: long + ".", Remedy: "Run `git push`."}}
	end := refusedStart(operation.Operation{ID: 5, Attempt: 2, Kind: operation.Apply}, err)
	want := store.Finish{
		Operation: 5, Attempt: 2, State: operation.Failed, Message: "Nothing was changed. " + long + ". Run `git push`.",
	}
	if diff := cmp.Diff(want, end); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
