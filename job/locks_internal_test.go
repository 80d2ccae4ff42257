package job

import (
	"strings"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// The lock that is broken in these tests.
const (
	lockID   = "ea30e008-945c-b5fa-058a-2c29d033c701"
	lockETag = `"0x8DE2A3F"`
)

// lockCode names that lock, as the comment 21 asked about it.
func lockCode(change ...func(*commands.LockSubject)) string {
	subject := commands.LockSubject{Repository: 7, Environment: "prod", Root: "infra", ID: lockID, ETag: lockETag, Request: 21}
	for _, c := range change {
		c(&subject)
	}
	return subject.Code()
}

// breakTask makes it a world in which ana has asked for a lock of prod to be broken and cy has said yes, ten minutes ago.
func (w *world) breakTask() operation.Task {
	w.run.Name = "switchyard break-lease prod, operation 5.2 launched"
	w.say(21, "ana", "/break-lease prod infra --reason the runner was killed")
	task := applyTask()
	task.Kind = operation.BreakLease
	task.Lock = &operation.LockTask{ID: lockID, ETag: lockETag, Code: lockCode(), Request: 21, Reason: "the runner was killed"}
	task.Job.Words = []operation.Word{w.say(22, "cy", "/confirm "+lockCode(), func(c *hub.Written) { c.Made = c.Made.Add(time.Minute) })}
	return task
}

func TestWhatTheBreakingOfALockHasToProve(t *testing.T) {
	t.Parallel()
	request := func(change func(*hub.Written)) attack {
		return func(w *world, _ *operation.Task) {
			written := w.comments[21]
			change(&written)
			w.comments[21] = written
		}
	}
	yes := func(change func(*hub.Written)) attack {
		return func(w *world, _ *operation.Task) {
			written := w.comments[22]
			change(&written)
			w.comments[22] = written
		}
	}
	itself := yes(func(c *hub.Written) { c.Author = "Ana" })
	rights := func(w *world, _ *operation.Task) { w.permissions["Ana"] = "maintain" }
	alone := func(w *world, _ *operation.Task) { w.config += "commands: { break-lease: { confirm: 0 } }\n" }
	for name, c := range map[string]struct {
		attack []attack
		want   []string
	}{
		"what one person asked for and another one confirmed": {nil, nil},
		"a reviewer took half an hour to let the job begin": {
			[]attack{func(w *world, _ *operation.Task) { w.now = w.now.Add(30 * time.Minute) }}, nil,
		},
		"an id that was named in another case": {
			[]attack{request(func(c *hub.Written) { c.Body = "/break-lease prod --lock-id " + strings.ToUpper(lockID) })}, nil,
		},

		// Somebody has the App's key.
		"another lock than people said yes to": {[]attack{func(_ *world, task *operation.Task) {
			task.Lock.ID = "00000000-0000-4000-8000-000000000000"
		}}, []string{"does not count, because it is a yes to something else."}},
		"the same lock after it changed": {[]attack{func(_ *world, task *operation.Task) { task.Lock.ETag = `"0x1"` }}, []string{
			"because it is a yes to something else.",
		}},
		"the lock of another root": {[]attack{func(_ *world, task *operation.Task) {
			task.Targets[0].Target.Root, task.Job.Shards = "dns", [][]string{{"dns"}}
		}}, []string{"because it is about root `infra`.", "because it is a yes to something else."}},
		"nobody asked": {[]attack{func(_ *world, task *operation.Task) { task.Lock.Request = 0 }}, []string{
			"No comment asks for this lock to be broken: comment 0 does not count, because it is not there any more.",
			"because it is a yes to something else.",
		}},
		"nobody confirmed": {[]attack{func(_ *world, task *operation.Task) { task.Job.Words = nil }}, []string{"No comment counts as a yes to `/confirm "}},
		"somebody's old /confirm of another lock": {[]attack{yes(func(c *hub.Written) {
			c.Body = "/confirm " + lockCode(func(s *commands.LockSubject) { s.ID = "another" })
		})}, []string{"because it is a yes to something else."}},
		"a /confirm of an hour ago": {
			[]attack{func(w *world, _ *operation.Task) { w.now = w.now.Add(time.Hour) }}, []string{"because it is older than 45 minutes."},
		},
		"a /confirm that is older than what it would be a yes to": {
			[]attack{yes(func(c *hub.Written) { c.Made = c.Made.Add(-2 * time.Minute) })},
			[]string{"because it is older than what it would be a yes to."},
		},
		"an /apply instead of a /confirm": {[]attack{yes(func(c *hub.Written) { c.Body = "/apply prod 7f3a" })}, []string{"because it is no `/confirm`."}},
		"a code that the task names and nobody said": {
			[]attack{func(_ *world, task *operation.Task) { task.Lock.Code = "00000000"; task.Lock.ETag = "x" }},
			[]string{"because it is a yes to something else."},
		},
		"the request as the yes": {[]attack{func(_ *world, task *operation.Task) {
			task.Job.Words = []operation.Word{{Comment: 21, Login: "ana"}}
		}}, []string{"because it is no `/confirm`."}},
		"a yes of the App": {[]attack{yes(func(c *hub.Written) { c.Bot = true })}, []string{"because it is not of a person."}},
		"a request of the App": {[]attack{request(func(c *hub.Written) { c.Bot = true })}, []string{
			"No comment asks for this lock to be broken: the one of `ana` on #42 does not count, because it is not of a person.",
		}},
		"a yes that was put into a person's mouth":     {[]attack{yes(func(c *hub.Written) { c.Node = "retouched" })}, []string{"because it was edited."}},
		"a request that was put into a person's mouth": {[]attack{request(func(c *hub.Written) { c.Edited = true })}, []string{"because it was edited."}},
		"a yes of who may only write": {[]attack{yes(func(c *hub.Written) { c.Author = "ben" })}, []string{
			"because that needs maintain permission, and `ben` has `write`.",
		}},
		"a request of who may only write": {[]attack{request(func(c *hub.Written) { c.Author = "ben" })}, []string{
			"because that needs maintain permission, and `ben` has `write`.",
		}},
		"a request for another environment": {
			[]attack{request(func(c *hub.Written) { c.Body = "/break-lease dev" })}, []string{"because it is about `dev`."},
		},
		"a request for another lock": {
			[]attack{request(func(c *hub.Written) { c.Body = "/break-lease prod --lock-id 00000000-0000-4000-8000-000000000000" })},
			[]string{"because it names another lock."},
		},
		"a request without the reason that the configuration asks for": {[]attack{
			request(func(c *hub.Written) { c.Body = "/break-lease prod" }),
			func(w *world, _ *operation.Task) { w.config += "commands: { break-lease: { reason: true } }\n" },
		}, []string{"because it gives no reason."}},
		"the same person where approvals are asked for": {
			[]attack{itself, rights}, []string{"because another person than who asked has to confirm it."},
		},
		"the same person where the configuration asks for one": {[]attack{itself, rights, alone}, nil},
		"the same person where the holder may live": {
			[]attack{itself, rights, alone, func(_ *world, task *operation.Task) { task.Lock.Two = true }},
			[]string{"because another person than who asked has to confirm it."},
		},
		"the same person where the lock has no description": {[]attack{itself, rights, alone, func(w *world, task *operation.Task) {
			task.Lock.ID = ""
			written := w.comments[22]
			written.Body = "/confirm " + lockCode(func(s *commands.LockSubject) { s.ID = "" })
			w.comments[22] = written
		}}, []string{"because another person than who asked has to confirm it."}},
		"no lock at all": {[]attack{func(_ *world, task *operation.Task) { task.Lock = nil }}, []string{"The task does not say which one lock is meant."}},
		"any lock": {
			[]attack{func(_ *world, task *operation.Task) { task.Lock.ID, task.Lock.ETag = "", "" }},
			[]string{"The task does not say which one lock is meant."},
		},
		"two roots": {[]attack{func(_ *world, task *operation.Task) {
			task.Targets = append(task.Targets, operation.TargetTask{Target: operation.Target{Root: "dns", Environment: "prod"}})
		}}, []string{"The task does not say which one lock is meant."}},

		// The run itself, as for an apply.
		"code that is not merged": {
			[]attack{func(w *world, task *operation.Task) { task.Commit, w.run.SHA, w.machine.SHA = stray, stray, stray }},
			[]string{"Commit `eeeeeee` is not on branch `main`."},
		},
		"another commit than the run's": {[]attack{func(_ *world, task *operation.Task) { task.Commit = reviewed }}, []string{
			"The branch was at `ccccccc` when this run began, not at `bbbbbbb`.",
		}},
		"in the environment of plans": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Environment, w.identity["environment"] = "prod-plan", "prod-plan"
		}}, []string{"The breaking of a lock of prod has to work in the GitHub Environment of that name, not in `prod-plan`."}},
		"on the branch of plans": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Ref, w.run.Branch, w.machine.Ref = "switchyard/plans", "switchyard/plans", "refs/heads/switchyard/plans"
		}}, []string{"The breaking of a lock runs on the branch of its environment, `main`, not on `switchyard/plans`."}},
		"by hand, weeks later": {[]attack{func(w *world, _ *operation.Task) { w.run.Attempt, w.machine.Attempt = 2, 2 }}, []string{
			"This run was started again by hand, long after its operation may have ended. Comment `/break-lease prod` instead.",
		}},
		"without a configuration": {[]attack{func(w *world, task *operation.Task) {
			w.config = ""
			task.Targets[0].Target.Root = "src/terraform"
		}}, []string{
			"The default branch has no .github/switchyard.yml, and without it nothing is applied.", "because it is about root `infra`.",
			"because it is a yes to something else.",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			task := w.breakTask()
			for _, a := range c.attack {
				a(w, &task)
			}
			compare(t, c.want, w.refusals(t, task))
		})
	}
}

func TestWhatLookingAtALockHasToProve(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		attack attack
		want   []string
	}{
		"a merged commit on the branch of plans": {func(*world, *operation.Task) {}, nil},
		"without an environment": {func(w *world, task *operation.Task) {
			task.Job.Environment = ""
			delete(w.identity, "environment")
		}, nil},
		"an older commit of the branch": {func(_ *world, task *operation.Task) { task.Commit = reviewed }, nil},
		"a commit that nobody merged": {
			func(_ *world, task *operation.Task) { task.Commit = stray }, []string{"Commit `eeeeeee` is not on branch `main`."},
		},
		"in the environment of applies": {func(w *world, task *operation.Task) {
			task.Job.Environment, w.identity["environment"] = "prod", "prod"
		}, []string{"A plan for prod works in the GitHub Environment `prod-plan` or in none, not in `prod`."}},
		"on the environment's branch": {func(w *world, task *operation.Task) {
			task.Job.Ref, w.run.Branch, w.machine.Ref = "main", "main", "refs/heads/main"
		}, []string{"Plans run on branch `switchyard/plans`, not on `main`."}},
		"a branch that does not deploy there": {func(w *world, task *operation.Task) {
			task.Job.Branch = "feature/evil"
			w.branches["feature/evil"] = []string{applied, tip}
		}, []string{".github/switchyard.yml of the default branch does not let branch `feature/evil` deploy to prod."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			task := w.planTask()
			w.run.Name = "switchyard explain-lock prod, operation 5.2 launched"
			task.Kind, task.Commit, task.Job.Pull, task.Job.Base = operation.ExplainLock, tip, 0, ""
			c.attack(w, &task)
			compare(t, c.want, w.refusals(t, task))
		})
	}
}
