package job

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// loosened has eve push reviewed without a pull request; #42 was merged after that.
func loosened(w *world, _ *operation.Task) {
	delete(w.commitPulls, reviewed)
	w.permissions["eve"], w.permissions["dana"] = "write", "write"
	w.activities = []hub.Activity{
		{Kind: hub.ActivityMerge, Before: reviewed, After: tip, Actor: hub.Account{Login: "cy"}},
		{Kind: "push", Before: applied, After: reviewed, Actor: hub.Account{Login: "eve"}},
		{Kind: "push", Before: stray, After: applied, Actor: hub.Account{Login: "dana"}}, // was applied
	}
}

// rewound has eve move the branch to the tip, from what was applied there, which the tip does not contain.
func rewound(w *world, _ *operation.Task) {
	last := w.runs[90]
	last.SHA = stray
	w.runs[90], w.deployed = last, []hub.Deployed{{SHA: stray, Run: 90}}
	w.commitPulls[applied] = []int{41}
	w.permissions["eve"] = "write"
	w.activities = []hub.Activity{{Kind: "force_push", Before: stray, After: tip, Actor: hub.Account{Login: "eve"}}}
}

// lengthened puts commits of #41, as many as it says, between what was applied and the tip.
func lengthened(commits int) attack {
	return func(w *world, _ *operation.Task) {
		line := []string{applied}
		for i := range commits {
			line = append(line, fmt.Sprintf("%040x", i+1))
			w.commitPulls[line[len(line)-1]] = []int{41}
		}
		w.branches["main"] = append(line, tip)
		w.activities = []hub.Activity{{Kind: hub.ActivityMerge, Before: applied, After: tip, Actor: hub.Account{Login: "cy"}}}
		w.permissions["eve"], w.permissions["dana"] = "write", "write"
	}
}

// merged brings pull requests of ana's, as many as it says, that cy has approved.
func merged(pulls int) attack {
	return func(w *world, _ *operation.Task) {
		for i := range pulls {
			number := 1000 + i
			w.pulls[number] = hub.Pull{Number: number, State: hub.Merged, BaseRef: "main", HeadSHA: "x", Author: "ana"}
			w.reviews[number] = []hub.Review{{Login: "cy", Type: "User", State: "approved", Commit: "x", Submitted: noon}}
			w.commitPulls[reviewed] = append(w.commitPulls[reviewed], number)
		}
		w.activities = []hub.Activity{{Kind: hub.ActivityMerge, Before: applied, After: tip, Actor: hub.Account{Login: "cy"}}}
	}
}

func TestWhatNobodyCouldApproveIsAskedAbout(t *testing.T) {
	t.Parallel()
	said := func(who string) attack {
		return func(w *world, task *operation.Task) {
			task.Confirmed = digest
			task.Job.Words = append(task.Job.Words, w.say(1, who, "/apply prod 7f3a"))
		}
	}
	moved := func(change func(w *world)) attack { return func(w *world, _ *operation.Task) { change(w) } }
	const untraced = "because GitHub does not tell how the branch came here from what was applied last, and it may be of who pushed this."
	for name, c := range map[string]struct {
		attack []attack
		want   string // why it is refused; "": it is not
		asked  bool   // about everything
		looked bool   // who pushed
	}{
		"what was approved is not asked about":           {nil, "", false, false},
		"a yes to what was approved is not looked at so": {[]attack{said("cy")}, "", false, false},
		"a commit without a pull request":                {[]attack{loosened}, "", true, false},
		"one beside a pull request that nobody approved": {[]attack{loosened, moved(func(w *world) { w.reviews[42] = nil })}, "#42 is not approved", false, false},
		"a pull request into another branch is not one": {[]attack{loosened, func(w *world, _ *operation.Task) {
			other := w.pulls[41]
			other.BaseRef = "develop"
			w.pulls[41], w.commitPulls[reviewed] = other, []int{41}
		}}, "", true, false},
		"one where no approvals are asked for": {[]attack{loosened, said("eve"), moved(func(w *world) {
			w.config = strings.Replace(w.config, ", approvals: 1", "", 1)
		})}, "", false, false},
		"one that touches no root": {[]attack{loosened, moved(func(w *world) {
			w.changed = map[string][]string{reviewed: {"README.md"}}
		})}, "", false, false},

		"a commit that lacks what was applied": {[]attack{rewound}, "", true, false},
		"one where no approvals are asked for, which lacks what was applied": {[]attack{rewound, moved(func(w *world) {
			w.config = strings.Replace(w.config, ", approvals: 1", "", 1)
		})}, "", true, false},
		"a yes to it, where none are asked for": {[]attack{rewound, said("eve"), moved(func(w *world) {
			w.config = strings.Replace(w.config, ", approvals: 1", "", 1)
		})}, "", true, false},
		"the yes of who took it back":                  {[]attack{rewound, said("eve")}, "of somebody who pushed", false, true},
		"the yes of another person to what lacks it":   {[]attack{rewound, said("cy")}, "", true, true},
		"a yes to what lacks it and nobody approved":   {[]attack{rewound, said("cy"), moved(func(w *world) { w.reviews[42] = nil })}, "#42 is not approved", false, true},
		"the yes of who pushed it":                     {[]attack{loosened, said("eve")}, "because it is of somebody who pushed to the branch since the last apply.", false, true},
		"the yes of who pushed it, in other letters":   {[]attack{loosened, said("EVE"), moved(func(w *world) { w.permissions["EVE"] = "write" })}, "of somebody who pushed", false, true},
		"the yes of who wrote a part of it":            {[]attack{loosened, said("ben")}, "because it is of an author.", false, true},
		"the yes of another person":                    {[]attack{loosened, said("cy")}, "", true, true},
		"the yes of who pushed what was applied":       {[]attack{loosened, said("dana")}, "", true, true},
		"the yes of who pushed by force":               {[]attack{loosened, said("eve"), moved(func(w *world) { w.activities[1].Kind = "force_push" })}, "of somebody who pushed", false, true},
		"the yes of who made the branch anew":          {[]attack{loosened, said("eve"), moved(func(w *world) { w.activities[1].Kind = "branch_creation" })}, "of somebody who pushed", false, true},
		"the yes of who moved it as GitHub cannot yet": {[]attack{loosened, said("eve"), moved(func(w *world) { w.activities[1].Kind = "moved" })}, "of somebody who pushed", false, true},
		"the yes of who pushed after the job began": {[]attack{loosened, said("dana"), moved(func(w *world) {
			later := hub.Activity{Kind: "push", Before: tip, After: stray, Actor: hub.Account{Login: "dana"}}
			w.activities = slices.Insert(w.activities, 0, later)
		})}, "of somebody who pushed", false, true},
		"a push without a name": {
			[]attack{loosened, said("cy"), moved(func(w *world) { w.activities[1].Actor = hub.Account{} })},
			"because GitHub does not tell who made one of the pushes since the last apply, and it may be of who pushed this.", false, true,
		},
		"pushes that cannot be read": {[]attack{loosened, said("cy"), moved(func(w *world) {
			w.activities, w.quiet = nil, errors.New("403")
		})}, "because GitHub does not tell who pushed to the branch, and it may be of who pushed this.", false, true},
		"pushes that are cut off": {[]attack{loosened, said("cy"), moved(func(w *world) { w.activities = w.activities[:1] })}, untraced, false, true},
		"pushes that GitHub does not tell of yet": {
			[]attack{loosened, said("cy"), moved(func(w *world) { w.activities = w.activities[2:] })}, untraced, false, true,
		},
		"a branch of which nothing was applied": {
			[]attack{loosened, said("cy"), moved(func(w *world) { w.deployed, w.commitPulls = nil, nil })},
			"because GitHub knows of no apply before this one, and it may be of who pushed this.", false, false,
		},
		"a change held back, with an approval by an author of more than is looked at": {
			[]attack{lengthened(maxCommits), said("dana"), held("ana", "/approve-replace a.b")},
			"No comment counts as an approval of `a.b`", false, true,
		},
		"a change held back, of which not all authors are known": {
			[]attack{lengthened(maxNamedCommits), held("cy", "/approve-replace a.b")}, "and it may be of an author.", false, false,
		},

		"more commits than are looked at":              {[]attack{lengthened(maxCommits)}, "", true, false},
		"more pull requests than are looked at":        {[]attack{merged(maxPulls)}, "", true, false},
		"as many as are looked at":                     {[]attack{merged(maxPulls - 2)}, "", false, false},
		"an author's yes to more commits":              {[]attack{lengthened(maxCommits), said("ana")}, "because it is of an author.", false, true},
		"an author's yes to more pull requests":        {[]attack{merged(maxPulls), said("ana")}, "because it is of an author.", false, true},
		"another's yes to more commits":                {[]attack{lengthened(maxCommits), said("dana")}, "", true, true},
		"another's yes to more pull requests":          {[]attack{merged(maxPulls), said("cy")}, "", true, true},
		"a yes to more commits than authors are known": {[]attack{lengthened(maxNamedCommits), said("dana")}, "more than 300 commits or 100 pull requests, and it may be of an author.", false, true},
		"a yes to more pull requests than that":        {[]attack{merged(maxNamedPulls), said("cy")}, "more than 300 commits or 100 pull requests, and it may be of an author.", false, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, task := newStep(t), applyTask()
			s.config = strings.Replace(s.config, "branch: main", "branch: main, binding: strict", 1)
			s.env["BACKEND_STORAGE_ACCOUNT_NAME"] = "account"
			task.Targets[0].Expected = &operation.ChangeSet{Changes: []operation.Change{{Address: "a.b", Action: operation.Create}}}
			task.Targets[0].Data = map[string]string{"data.x": "1"}
			for _, a := range c.attack {
				a(s.world, &task)
			}
			err := s.dispatched(t, task)
			if looked := slices.Contains(s.asked, "who moved main"); looked != c.looked {
				t.Errorf("who pushed was looked at: %v", looked)
			}
			if c.want != "" {
				if why := s.result(t).Error; !errors.Is(err, ErrNotDone) || !strings.Contains(why, c.want) || len(s.ran) > 0 {
					t.Errorf("it ends with %v: %s", err, why)
				}
				return
			}
			if err != nil || len(s.ran) != 1 {
				t.Fatalf("it ends with %v: %s", err, s.result(t).Error)
			}
			did := s.ran[0]
			if asked := did.Targets[0].Expected == nil; asked != c.asked || (did.Targets[0].Data == nil) != asked || did.Confirmed != task.Confirmed {
				t.Errorf("nothing counts as reviewed: %v, want %v: %+v", asked, c.asked, did)
			}
			if said := strings.Contains(s.log.String(), "So nothing counts as reviewed"); said != c.asked {
				t.Errorf("the log says so: %v: %s", said, s.log.String())
			}
		})
	}
}
