package deploy //nolint:testpackage // what overlaps is decided within

import (
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

func TestOnlyWhatBothChangeMakesAPlanOutOfDate(t *testing.T) {
	t.Parallel()
	set := func(changes ...operation.Change) operation.ChangeSet { return operation.ChangeSet{Changes: changes} }
	update := func(address string) operation.Change {
		return operation.Change{Address: address, Action: operation.Update}
	}
	read := operation.Change{Address: "data.x.y", Action: operation.Read}
	moved := operation.Change{Address: "a.new", PreviousAddress: "a.old", Action: operation.Move}
	of := func(root string, outcome operation.Outcome, changes operation.ChangeSet) *operation.Result {
		return &operation.Result{Targets: []operation.TargetResult{{
			Target: operation.Target{Root: root, Environment: "dev"}, Outcome: outcome, ChangeSet: changes,
		}}}
	}
	for name, c := range map[string]struct {
		plan, apply *operation.Result
		state       operation.State // of the apply; succeeded if empty
		address     string
		overlap     bool
	}{
		"the same address":                  {of("r", "planned", set(update("a.b"))), of("r", "applied", set(update("a.c"), update("a.b"))), "", "a.b", true},
		"another instance of a resource":    {of("r", "planned", set(update("a.b[0]"))), of("r", "applied", set(update("a.b[1]"))), "", "", false},
		"the same address of another root":  {of("r", "planned", set(update("a.b"))), of("s", "applied", set(update("a.b"))), "", "", false},
		"an address that was moved away":    {of("r", "planned", set(update("a.old"))), of("r", "applied", set(moved)), "", "a.old", true},
		"two moves to different addresses":  {of("r", "planned", set(update("a.b"))), of("r", "applied", set(moved)), "", "", false},
		"data that both read":               {of("r", "planned", set(read)), of("r", "applied", set(read)), "", "", false},
		"an apply that failed half-way":     {of("r", "planned", set(update("a.b"))), of("r", "failed", set(update("a.b"))), operation.Failed, "a.b", true},
		"an apply that changed nothing":     {of("r", "planned", set(update("a.b"))), of("r", "unchanged", set()), "", "", false},
		"an apply that found a lock":        {of("r", "planned", set(update("a.b"))), of("r", "locked", set(update("a.b"))), operation.Failed, "", false},
		"a plan without changes":            {of("r", "unchanged", set()), of("r", "applied", set(update("a.b"))), "", "", false},
		"more changes than were kept":       {of("r", "planned", set(update("a.b"))), of("r", "applied", operation.ChangeSet{Omitted: 9}), "", "", true},
		"an apply that was lost":            {of("r", "planned", set(update("a.b"))), nil, operation.Interrupted, "", true},
		"an apply that had nothing to do":   {of("r", "planned", set(update("a.b"))), nil, operation.Succeeded, "", false},
		"an apply that could not be begun":  {of("r", "planned", set(update("a.b"))), nil, operation.Failed, "", false},
		"an apply with words but no target": {of("r", "planned", set(update("a.b"))), &operation.Result{Error: "x"}, operation.Failed, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := operation.Operation{Kind: operation.Plan, State: operation.Succeeded, Roots: []string{"r"}, Result: c.plan}
			apply := operation.Operation{Kind: operation.Apply, State: c.state, Roots: []string{"r", "s"}, Result: c.apply}
			address, overlap := overlapping(plan, apply)
			if address != c.address || overlap != c.overlap {
				t.Errorf("%q, %v; want %q, %v", address, overlap, c.address, c.overlap)
			}
		})
	}
}

func TestAPlanIsNotOfTheStateThatOurOwnAppliesHaveLeft(t *testing.T) {
	t.Parallel()
	target := operation.Target{Root: "r", Environment: "dev"}
	of := func(lineage string, serial int64) *operation.Result {
		return &operation.Result{Targets: []operation.TargetResult{{Target: target, Lineage: lineage, Serial: serial}}}
	}
	plan := operation.Operation{Kind: operation.Plan, State: operation.Succeeded, Result: of("l", 5)}
	apply := operation.Operation{
		ID: 9, Kind: operation.Apply, State: operation.Failed, Attempt: 1, Pull: 41, Head: "c", Result: of("l", 7),
	}
	unconfirmed := apply
	unconfirmed.ID, unconfirmed.State = 10, operation.Unconfirmed
	by := render.Outdated{Root: "r", From: 5, To: 7, Operation: 9, Pull: 41, Commit: "c"}
	unchanged := apply
	unchanged.Result = of("l", 7)
	unchanged.Result.Targets[0].Outcome = operation.Unchanged
	made := by
	made.From = 0
	unknown := render.Outdated{Root: "r", From: 5, To: 7}
	for name, c := range map[string]struct {
		plan  *operation.Result
		state store.TargetState
		since []operation.Operation
		want  render.Outdated
	}{
		"moved by an apply":                  {of("l", 5), store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{apply}, by},
		"moved by an apply, not by the next": {of("l", 5), store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{unconfirmed, apply}, by},
		"moved by an unknown apply":          {of("l", 5), store.TargetState{Lineage: "l", Serial: 7}, nil, unknown},
		"not moved":                          {of("l", 7), store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{apply}, render.Outdated{}},
		"moved by somebody else since":       {of("l", 8), store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{apply}, render.Outdated{}},
		"another lineage":                    {of("m", 5), store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{apply}, render.Outdated{}},
		"a state that was not there yet":     {of("", 0), store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{apply}, made},
		"a plan of a serial nobody knows":    {of("", 0), store.TargetState{Lineage: "l", Serial: 7}, nil, render.Outdated{}},
		"an apply that changed nothing":      {of("", 0), store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{unchanged}, render.Outdated{}},
		"a state that is not known":          {of("l", 5), store.TargetState{}, []operation.Operation{apply}, render.Outdated{}},
		"a plan without a result":            {nil, store.TargetState{Lineage: "l", Serial: 7}, []operation.Operation{apply}, render.Outdated{}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			plan := plan
			plan.Result, c.state.Target = c.plan, target
			got, ok := stateMoved(plan, []store.TargetState{c.state}, c.since)
			if got != c.want || ok != (c.want.Root != "") {
				t.Errorf("%+v, %v; want %+v", got, ok, c.want)
			}
		})
	}
}

func TestJobsForBotsTakeTurnsWithThoseForPeople(t *testing.T) {
	t.Parallel()
	repo := operation.Repository{ID: 7}
	person, bot := PullSeen{Repository: repo, Number: 1}.Job(), PullSeen{Repository: repo, Number: 1, Bot: true}.Job()
	asked := PullSeen{Repository: repo, Number: 1, Bot: true, Again: "ana"}.Job()
	if person.Key != bot.Key || person.Lane == bot.Lane || asked.Lane != person.Lane {
		t.Errorf("a person's job is %+v, a bot's %+v, and that of a bot's that a person asked for %+v", person, bot, asked)
	}
	plan := operation.Operation{ID: 3, Kind: operation.Plan, Repository: repo, Pull: 1, Priority: priorityNormal}
	forPerson := driveJob(plan)
	plan.Priority = priorityBots
	if forBot := driveJob(plan); forBot.Key != forPerson.Key || forBot.Class != queue.Bots || forPerson.Class != queue.Long {
		t.Errorf("a plan for a person is %+v, one for a bot %+v", forPerson, forBot)
	}
}
