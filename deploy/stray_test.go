package deploy //nolint:testpackage // what is decided between two looks at the database is seen from inside only

import (
	"context"
	"slices"
	"testing"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// strays is an executor that notes which runs it was to cancel, and which it was told of.
type strays struct {
	orphan

	dismissed, woken []int64
}

func (s *strays) Dismiss(_ context.Context, _ operation.Repository, run int64, _ string) error {
	s.dismissed = append(s.dismissed, run)
	return nil
}

func (s *strays) Wake(run int64) { s.woken = append(s.woken, run) }

func TestWhichWorkflowRunIsCancelledBecauseNobodyWaitsForIt(t *testing.T) {
	t.Parallel()
	const first, later = 10, 20
	repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "shop"}
	for name, c := range map[string]struct {
		waits     int64 // the run that the attempt is known to have, 0: none yet; below 0: it is not asked for (any more)
		seen      int64
		attempt   int // of the run's name, beyond the operation's
		dismissed []int64
		woken     []int64
	}{
		"none, whose id came to be known between two looks":            {waits: first, seen: first, woken: []int64{first}},
		"none, while its attempt does not know its run":                {seen: first},
		"the later one, when it is seen":                               {waits: first, seen: later, dismissed: []int64{later}},
		"the later one, though it is waited for, when the first shows": {waits: later, seen: first, dismissed: []int64{later}},
		"one whose attempt was given up":                               {waits: -1, seen: first, dismissed: []int64{first}},
		"none of an attempt that this database does not have":          {waits: -1, seen: first, attempt: 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			db, clock := openData(t)
			op, err := db.CreateOperation(t.Context(), operation.Operation{Repository: repo, Kind: operation.Plan, Environment: "dev"})
			if err != nil {
				t.Fatal(err)
			}
			if op, _, err = db.Start(t.Context(), op.ID); err != nil {
				t.Fatal(err)
			}
			task := operation.Task{Operation: op.ID, Attempt: op.Attempt + c.attempt, Launch: "l", Repository: repo, Environment: "dev", Kind: op.Kind}
			if c.waits >= 0 {
				if err := db.Launch(t.Context(), op.ID, op.Attempt, operation.HostActions, task.Launch); err != nil {
					t.Fatal(err)
				}
				row, err := db.AskForRun(t.Context(), operation.WorkflowRun{Task: task})
				if err != nil {
					t.Fatal(err)
				}
				row.Run = c.waits
				if err := db.SaveRun(t.Context(), row); err != nil {
					t.Fatal(err)
				}
			}
			runs := &strays{}
			d := &Deploy{Options: Options{Store: db, Actions: runs, Clock: clock}}
			if err := d.strayRun(t.Context(), RunSeen{Repository: repo, Run: c.seen, Name: operation.RunName(task)}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(runs.dismissed, c.dismissed) || !slices.Equal(runs.woken, c.woken) {
				t.Errorf("cancelled: %v, want %v; told: %v, want %v", runs.dismissed, c.dismissed, runs.woken, c.woken)
			}
		})
	}
}

func TestWhichRunIsOneThatSwitchyardStarted(t *testing.T) {
	t.Parallel()
	const bot = "switchyard[bot]"
	task := operation.Task{Operation: 5, Attempt: 1, Launch: "launched", Kind: operation.Apply, Environment: "prod"}
	for name, c := range map[string]struct {
		row  int64
		seen hub.Run
		ours bool
	}{
		"one whose id came to be known between two looks":             {10, hub.Run{ID: 10, Name: operation.RunName(task)}, true},
		"one of the App, while its id is not known":                   {0, hub.Run{ID: 10, Name: operation.RunName(task), Actor: hub.Account{Login: bot}}, true},
		"not one of a person who gave it that name":                   {0, hub.Run{ID: 10, Name: operation.RunName(task), Actor: hub.Account{Login: "eve"}}, false},
		"not a second one of the App, once the id of one is known":    {9, hub.Run{ID: 10, Name: operation.RunName(task), Actor: hub.Account{Login: bot}}, false},
		"not one of another attempt, while the ids are not known yet": {0, hub.Run{ID: 10, Name: "another", Actor: hub.Account{Login: bot}}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			row, ours := rowOf([]operation.WorkflowRun{{Task: task, Run: c.row}}, c.seen, bot)
			if ours != c.ours || ours && row.Run != c.seen.ID {
				t.Errorf("%v, run %d", ours, row.Run)
			}
		})
	}
}
