package job

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

// attack changes what a task claims, or what GitHub says.
type attack func(w *world, task *operation.Task)

func TestWhatAnApplyHasToProve(t *testing.T) {
	t.Parallel()
	yes := func(change ...func(*hub.Written)) attack { // ana says yes to the digest
		return func(w *world, task *operation.Task) {
			task.Confirmed = digest
			task.Job.Words = append(task.Job.Words, w.say(1, "dana", "/apply prod 7f3a", change...))
			w.permissions["dana"] = "write"
		}
	}
	unapproved := func(w *world, _ *operation.Task) { w.reviews[42] = nil }
	for name, c := range map[string]struct {
		attack []attack
		want   []string
	}{
		"what was merged and approved is applied": {nil, nil},
		"another SHA than the tip of the branch": {[]attack{func(_ *world, task *operation.Task) { task.Commit = reviewed }}, []string{
			"The branch was at `ccccccc` when this run began, so it does not apply `bbbbbbb`. The apply of the newer commit carries it.",
		}},
		"a SHA that is on no branch": {[]attack{func(_ *world, task *operation.Task) { task.Commit = stray }}, []string{
			"The branch was at `ccccccc` when this run began, so it does not apply `eeeeeee`. The apply of the newer commit carries it.",
			"Commit `eeeeeee` is not on branch `main`.",
		}},
		"a branch that was moved back between dispatch and checkout": {[]attack{func(w *world, _ *operation.Task) {
			w.branches["main"] = []string{applied}
		}}, []string{
			"Commit `ccccccc` is not on branch `main`.",
		}},
		"a branch that moved on between dispatch and checkout does no harm": {[]attack{func(w *world, _ *operation.Task) {
			w.branches["main"] = append(w.branches["main"], stray)
		}}, nil},
		"the branch of another environment": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Branch, task.Job.Ref, w.run.Branch, w.machine.Ref = "develop", "develop", "develop", "refs/heads/develop"
			w.branches["develop"] = w.branches["main"]
		}}, []string{
			".github/switchyard.yml of the default branch does not let branch `develop` deploy to prod.",
		}},
		"a run on another branch than it claims": {[]attack{func(w *world, _ *operation.Task) { w.run.Branch = "feature/evil" }}, []string{
			"The run is on branch `feature/evil`, not on `main`.",
		}},
		"a job that claims another environment than GitHub says": {
			[]attack{func(w *world, _ *operation.Task) { w.identity["environment"] = "dev" }},
			[]string{"GitHub says that this job works in `dev`, not in `prod`."},
		},
		"a job in no environment": {
			[]attack{func(w *world, _ *operation.Task) { delete(w.identity, "environment") }},
			[]string{"GitHub says that this job works in no environment, not in `prod`."},
		},
		"an identity of another run": {
			[]attack{func(w *world, _ *operation.Task) { w.identity["run_id"] = "99" }},
			[]string{"GitHub says that this job is of run `99`, not of run 100."},
		},
		"an apply in the environment of plans": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Environment, w.identity["environment"] = "prod-plan", "prod-plan"
		}}, []string{"An apply to prod has to work in the GitHub Environment of that name, not in `prod-plan`."}},
		"an environment that GitHub made for this run, because somebody has deleted it": {[]attack{func(w *world, _ *operation.Task) {
			w.protection.Made = w.run.Created.Add(time.Second)
		}}, []string{
			"The GitHub Environment `prod` was not there when this run was made, so GitHub made it, without the protection of the one that somebody " +
				"has deleted: let only branch `main` deploy to it, in the repository's settings.",
		}},
		"one that somebody has made anew since, and protected": {[]attack{func(w *world, _ *operation.Task) {
			w.protection = hub.Environment{Made: w.run.Created.Add(time.Second), Limited: true}
		}}, nil},
		"one without a protection that was there before": {[]attack{func(w *world, _ *operation.Task) {
			w.protection.Made = w.run.Created.Add(-time.Second)
		}}, nil},
		"an apply without an environment where the job has no identity": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Environment, w.machine.Identity = "", Identity{}
		}}, []string{"An apply to prod has to work in the GitHub Environment of that name, not in none."}},
		"a run that was started again by hand weeks later": {[]attack{func(w *world, _ *operation.Task) {
			w.run.Attempt, w.machine.Attempt = 2, 2
		}}, []string{"This run was started again by hand, long after its operation may have ended. Comment `/apply prod` instead."}},
		"a run that a push started": {
			[]attack{func(w *world, _ *operation.Task) { w.run.Event = "push" }},
			[]string{"The run was started by the event `push`, not by a dispatch."},
		},
		"another workflow file that calls the same action": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Workflow, w.run.Path = "evil.yml", ".github/workflows/evil.yml@refs/heads/main"
		}}, []string{"The run is of `.github/workflows/evil.yml@refs/heads/main`, and .github/switchyard.yml of the default branch names `switchyard.yml`."}},
		"another workflow file than it claims": {[]attack{func(_ *world, task *operation.Task) { task.Job.Workflow = "evil.yml" }}, []string{
			"The run is of `.github/workflows/switchyard.yml`, and .github/switchyard.yml of the default branch names `switchyard.yml`.",
		}},
		"an environment that the configuration does not know": {
			[]attack{func(_ *world, task *operation.Task) { task.Environment = "qa`s" }},
			[]string{".github/switchyard.yml of the default branch knows no environment `qas`."},
		},
		"a root that the configuration does not know": {[]attack{func(_ *world, task *operation.Task) {
			task.Targets = []operation.TargetTask{{Target: operation.Target{Root: "../evil", Environment: "prod"}}}
		}}, []string{".github/switchyard.yml of the default branch has no root `../evil` in `prod`."}},
		"no configuration": {[]attack{func(w *world, task *operation.Task) {
			w.config = ""
			task.Targets[0].Target.Root = "src/terraform"
		}}, []string{"The default branch has no .github/switchyard.yml, and without it nothing is applied."}},
		"a configuration that cannot be read": {[]attack{func(w *world, _ *operation.Task) { w.config = "version: 9" }}, []string{"fault: "}},
		"a kind that it does not know": {
			[]attack{func(_ *world, task *operation.Task) { task.Kind = "destroy" }},
			[]string{"This job knows plan, apply, explain-lock and break-lease, not `destroy`."},
		},

		"no approvals": {[]attack{unapproved}, []string{
			"#42 is not approved: one person must approve, and nobody has. A review of it counts after the merge, too.",
		}},
		"an approval of who may only read": {[]attack{func(w *world, _ *operation.Task) { w.reviews[42][0].Login = "eve" }}, []string{"#42 is not approved"}},
		"an approval by its author":        {[]attack{func(w *world, _ *operation.Task) { w.reviews[42][0].Login = "ben" }}, []string{"#42 is not approved"}},
		"an approval by an App":            {[]attack{func(w *world, _ *operation.Task) { w.reviews[42][0].Type = "Bot" }}, []string{"#42 is not approved"}},
		"an approval of an earlier commit that nobody claims to be of the same changes": {
			[]attack{func(w *world, _ *operation.Task) { w.reviews[42][0].Commit = "h40" }}, []string{"#42 is not approved"},
		},
		"an approval of an earlier commit that the server says was of the same changes": {[]attack{func(w *world, task *operation.Task) {
			w.reviews[42][0].Commit = "h40"
			task.Job.Reviews = []operation.Review{{Pull: 42, Approved: []string{"cy"}}}
		}}, nil},
		"claimed approvals that nobody gave": {[]attack{unapproved, func(_ *world, task *operation.Task) {
			task.Job.Reviews = []operation.Review{{Pull: 42, Approved: []string{"cy", "root"}}}
		}}, []string{"#42 is not approved"}},
		"a pull request that touches no root needs no approval": {[]attack{unapproved, func(w *world, _ *operation.Task) {
			w.changed = map[string][]string{tip: {".github/switchyard.yml", "docs/infra.md"}}
		}}, nil},
		"as does a push that touches none": {[]attack{func(w *world, _ *operation.Task) {
			delete(w.commitPulls, tip)
			w.changed = map[string][]string{tip: {"README.md"}}
		}}, nil},
		"one that touches a root of which the task says nothing": {[]attack{unapproved, func(w *world, _ *operation.Task) {
			w.changed = map[string][]string{tip: {"dns/main.tf"}}
		}}, []string{"#42 is not approved"}},
		"one of whose commits only the first touches a root": {[]attack{unapproved, func(w *world, _ *operation.Task) {
			w.commitPulls[reviewed] = []int{42}
			w.changed = map[string][]string{tip: {"README.md"}}
		}}, []string{"#42 is not approved"}},
		"one of whose commits only the last touches a root": {[]attack{unapproved, func(w *world, _ *operation.Task) {
			w.commitPulls[reviewed] = []int{42}
			w.changed = map[string][]string{reviewed: {"README.md"}}
		}}, []string{"#42 is not approved"}},
		"one that touches none, before which nothing is known to be applied": {[]attack{unapproved, func(w *world, _ *operation.Task) {
			w.deployed = nil
			w.changed = map[string][]string{tip: {"README.md"}}
		}}, []string{"#42 is not approved"}},
		"one that touches none, by a merge that took the files of its own side": {[]attack{unapproved, func(w *world, _ *operation.Task) {
			w.changed = map[string][]string{tip: {}}
			w.parents = map[string][]string{reviewed: {stray, applied}}
		}}, []string{"#42 is not approved"}},
		"a yes of a person who may say so":                         {[]attack{yes()}, nil},
		"a yes of a person who may say so to what nobody approved": {[]attack{unapproved, yes()}, []string{"#42 is not approved"}},
		"one whose author GitHub does not know": {[]attack{func(w *world, _ *operation.Task) {
			w.authors[42] = hub.Authors{Logins: []string{"ben"}, Noname: []string{"who@acme.example"}}
		}}, []string{
			"#42 is not approved: not all of its authors are known. GitHub knows no account for who@acme.example, so each of its reviewers may have " +
				"written these commits. Have them add these addresses to their accounts at GitHub, list those that are no person's under " +
				"machine_authors in .github/switchyard.yml, or set approvals to 0 for this apply: a yes does not stand in for them in a workflow.",
		}},
		"one whose author is no person, as the configuration says": {[]attack{func(w *world, _ *operation.Task) {
			w.authors[42] = hub.Authors{Logins: []string{"ben"}, Noname: []string{"Bot@acme.example"}}
			w.config += "machine_authors: [bot@acme.example]\n"
		}}, nil},
		"a yes that nobody is named for": {
			[]attack{func(_ *world, task *operation.Task) { task.Confirmed = digest }},
			[]string{"No comment counts as a yes to `7f3a0000`."},
		},
		"a yes that is gone": {[]attack{func(_ *world, task *operation.Task) {
			task.Confirmed, task.Job.Words = digest, []operation.Word{{Comment: 9, Login: "ana"}}
		}}, []string{"No comment counts as a yes to `7f3a0000`: comment 9 does not count, because it is not there any more."}},
		"a yes of a bot, such as the App itself": {[]attack{yes(func(c *hub.Written) { c.Bot = true })}, []string{"because it is not of a person."}},
		"a yes that was edited":                  {[]attack{yes(func(c *hub.Written) { c.Edited = true })}, []string{"because it was edited."}},
		"a yes that was put into a person's mouth within the second": {
			[]attack{yes(func(c *hub.Written) { c.Node = "retouched" })}, []string{"because it was edited."},
		},
		"a yes to another environment": {
			[]attack{yes(func(c *hub.Written) { c.Body = "/apply dev 7f3a" })},
			[]string{"because it is about `dev`."},
		},
		"a yes to another digest": {[]attack{yes(func(c *hub.Written) { c.Body = "/apply prod 7f3b" })}, []string{"because it names another digest."}},
		"a comment that only asks for the apply again": {
			[]attack{yes(func(c *hub.Written) { c.Body = "/apply prod" })},
			[]string{"because it names another digest."},
		},
		"a comment that talks about the command": {
			[]attack{yes(func(c *hub.Written) { c.Body = "just say `/apply prod 7f3a`" })},
			[]string{"because it is no `/apply`."},
		},
		"a yes of somebody whose permission was taken away": {
			[]attack{yes(), func(w *world, _ *operation.Task) { w.permissions["dana"] = "none" }},
			[]string{"because that needs write permission, and `dana` has `none`."},
		},
		"a yes to an earlier apply, with a digest that begins like it": {
			[]attack{unapproved, yes(func(c *hub.Written) { c.Made = noon.Add(-time.Hour) })},
			[]string{"because it is older than what was applied last.", "#42 is not approved"},
		},
		"a yes of an author where approvals are asked for": {[]attack{yes(func(c *hub.Written) { c.Author = "BEN" }), func(w *world, _ *operation.Task) {
			w.permissions["BEN"] = "write"
		}}, []string{"the one of `BEN` on #42 does not count, because it is of an author."}},
		"a yes where the configuration asks for more than write permission": {[]attack{yes(), func(w *world, _ *operation.Task) {
			w.config += "commands: { apply: { permission: admin } }\n"
		}}, []string{"because that needs admin permission, and `dana` has `write`."}},

		"an approval of a replacement by a second person": {[]attack{held("dana", "/approve-replace a.b")}, nil},
		"an approval of a replacement by an author": {
			[]attack{held("ana", "/approve-replace a.b")},
			[]string{"No comment counts as an approval of `a.b`: the one of `ana` on #42 does not count, because it is of an author."},
		},
		"an approval of a replacement that needs more permission": {
			[]attack{held("eve", "/approve-replace a.b")},
			[]string{"because that needs maintain permission, and `eve` has `read`."},
		},
		"an approval of another replacement": {[]attack{held("dana", "/approve-replace a.c")}, []string{"No comment counts as an approval of `a.b`."}},
		"an approval of a replacement in another root": {
			[]attack{held("dana", "/approve-replace a.b dns")},
			[]string{"because it is about root `dns`."},
		},
		"an approval of a replacement for an earlier pull request": {[]attack{held("dana", "/approve-replace a.b", func(c *hub.Written) {
			c.Number, c.Made = 12, noon.Add(-time.Hour)
		})}, []string{"because it is about an earlier apply."}},
		"more comments than are read": {[]attack{func(_ *world, task *operation.Task) {
			task.Job.Words = make([]operation.Word, maxWords+1)
		}}, []string{"fault: the task names 51 comments; at most 50 are read"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, task := newWorld(), applyTask()
			for _, a := range c.attack {
				a(w, &task)
			}
			compare(t, c.want, w.refusals(t, task))
		})
	}
}

// held has a change be held back by the configuration, and somebody approve it.
func held(author, body string, change ...func(*hub.Written)) attack {
	return func(w *world, task *operation.Task) {
		task.Targets[0].Approved = []operation.Held{{Address: "a.b"}}
		task.Job.Words = append(task.Job.Words, w.say(2, author, body, change...))
		if w.permissions["dana"] = "maintain"; w.permissions[author] == "" {
			w.permissions[author] = "maintain"
		}
	}
}

// compare holds sentences to what they begin with, contain or are.
func compare(t *testing.T, want, got []string) {
	t.Helper()
	fits := func(want, got string) bool { return strings.Contains(got, want) }
	if !slices.EqualFunc(want, got, fits) {
		t.Errorf("-want +got:\n%s", cmp.Diff(want, got))
	}
}

func TestWhatCountsAsAppliedBefore(t *testing.T) {
	t.Parallel()
	// Who stole the App's key wants reviewed, which nobody approved, to count as applied, so that tip alone has to be approved.
	unapproved := "#41 is not approved"
	for name, c := range map[string]struct {
		attack attack
		want   []string
	}{
		"a deployment of another workflow":   {func(w *world, _ *operation.Task) { w.runs[95] = like(w, ".github/workflows/app.yml") }, []string{unapproved}},
		"a deployment whose run was deleted": {func(*world, *operation.Task) {}, []string{unapproved}},
		"a failed run whose deployment was called a success": {func(w *world, _ *operation.Task) {
			failed := like(w, "")
			failed.Conclusion = "failure"
			w.runs[95] = failed
		}, []string{unapproved}},
		"a run of another commit than was deployed": {func(w *world, _ *operation.Task) {
			other := like(w, "")
			other.SHA = applied
			w.runs[95] = other
		}, []string{unapproved}},
		"a run on a feature branch": {func(w *world, _ *operation.Task) {
			other := like(w, "")
			other.Branch = "feature/evil"
			w.runs[95] = other
		}, []string{unapproved}},
		"a run that a push started": {func(w *world, _ *operation.Task) {
			other := like(w, "")
			other.Event = "push"
			w.runs[95] = other
		}, []string{unapproved}},
		"a run that failed, and was started again by hand": {func(w *world, _ *operation.Task) {
			again := like(w, "")
			again.Attempt = 2
			w.runs[95] = again
			again.Conclusion = "failure"
			w.attempts[95] = again
		}, []string{unapproved}},
		"a run that applied, and was refused when somebody started it again": {func(w *world, _ *operation.Task) {
			again := like(w, "")
			w.attempts[95] = again
			again.Attempt, again.Conclusion = 2, "failure"
			w.runs[95] = again
		}, nil},
		"a run that applied": {func(w *world, _ *operation.Task) { w.runs[95] = like(w, "") }, nil},
		"no deployment any more, and commits that the server says were applied": {func(w *world, task *operation.Task) {
			w.deployed = nil
			task.Job.Before = map[string]string{"infra": applied}
		}, []string{unapproved}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, task := newWorld(), applyTask()
			w.reviews[41] = nil
			w.deployed = append([]hub.Deployed{{SHA: reviewed, Run: 95}}, w.deployed...)
			c.attack(w, &task)
			compare(t, c.want, w.refusals(t, task))
		})
	}
}

// like is a run that has applied reviewed, of a workflow file.
func like(w *world, path string) hub.Run {
	run := w.runs[90]
	run.ID, run.SHA = 95, reviewed
	if path != "" {
		run.Path = path
	}
	return run
}

func TestThePermissionOfAPersonIsAskedForOnce(t *testing.T) {
	t.Parallel()
	w, task := newWorld(), applyTask() // cy has approved two pull requests
	compare(t, nil, w.refusals(t, task))
	permissions := 0
	for _, asked := range w.asked {
		if asked == "the permission of cy" {
			permissions++
		}
	}
	if permissions != 1 {
		t.Errorf("the permission of one person was asked for %d times", permissions)
	}
}

func TestWhatAPlanHasToProve(t *testing.T) {
	t.Parallel()
	fork := func(w *world, _ *operation.Task) {
		pull := w.pulls[43]
		pull.Fork = true
		w.pulls[43] = pull
	}
	asks := func(body string, change ...func(*hub.Written)) attack {
		return func(w *world, task *operation.Task) {
			task.Job.Fork = true
			task.Job.Words = []operation.Word{w.say(3, "cy", body, append([]func(*hub.Written){func(c *hub.Written) { c.Number = 43 }}, change...)...)}
		}
	}
	noWord := "#43 comes from a fork, and no comment of a person with maintain permission asks for a plan of exactly `eeeeeee`."
	for name, c := range map[string]struct {
		attack []attack
		want   []string
	}{
		"a pull request of the repository is planned": {nil, nil},
		"a plan in the environment of applies": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Environment, w.identity["environment"] = "prod", "prod"
			task.Job.Ref, w.run.Branch, w.machine.Ref = "main", "main", "refs/heads/main"
		}}, []string{
			"A plan for prod works in the GitHub Environment `prod-plan` or in none, not in `prod`.",
			"Plans run on branch `switchyard/plans`, not on `main`.",
		}},
		"a plan in another environment's": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Environment, w.identity["environment"] = "dev-plan", "dev-plan"
		}}, []string{"A plan for prod works in the GitHub Environment `prod-plan` or in none, not in `dev-plan`."}},
		"a plan in an environment that GitHub made for this run": {[]attack{func(w *world, _ *operation.Task) {
			w.protection.Made = w.run.Created.Add(time.Second)
		}}, []string{
			"The GitHub Environment `prod-plan` was not there when this run was made, so GitHub made it, without the protection of the one that " +
				"somebody has deleted: let only branch `switchyard/plans` deploy to it, in the repository's settings.",
		}},
		"a plan without an environment": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Environment = ""
			delete(w.identity, "environment")
		}}, nil},
		"a commit that is not of the pull request": {
			[]attack{func(_ *world, task *operation.Task) { task.Commit = strings.Repeat("f", 40) }},
			[]string{"Commit `fffffff` is not of #43."},
		},
		"an older commit of the pull request": {[]attack{func(w *world, _ *operation.Task) {
			w.pullHeads[43] = strings.Repeat("9", 40)
			w.branches["feature"] = append(w.branches["feature"], w.pullHeads[43])
		}}, nil},
		"a merge with a commit that is not on the branch": {
			[]attack{func(_ *world, task *operation.Task) { task.Job.Base = strings.Repeat("f", 40) }},
			[]string{"Commit `fffffff`, which the plan would be merged with, is not on branch `main`."},
		},
		"a commit of nobody's that claims to be a merge group": {
			[]attack{func(_ *world, task *operation.Task) { task.Job.Pull = 0 }},
			[]string{"Commit `eeeeeee` is not of a merge group of branch `main`."},
		},
		"a merge group": {[]attack{func(w *world, task *operation.Task) {
			task.Job.Pull = 0
			w.branches["gh-readonly-queue/main/pr-43-abc"] = []string{applied, stray}
		}}, nil},
		"a fork by itself":                                     {[]attack{fork}, []string{noWord}},
		"a fork that a maintainer asked for":                   {[]attack{fork, asks("/plan --fork " + stray)}, nil},
		"a fork that a maintainer asked for at another commit": {[]attack{fork, asks("/plan --fork " + tip)}, []string{noWord}},
		"a fork that a maintainer asked for on another pull request": {[]attack{fork, asks("/plan --fork "+stray, func(c *hub.Written) {
			c.Number = 44
		})}, []string{noWord}},
		"a fork that a writer asked for":  {[]attack{fork, asks("/plan --fork "+stray, func(c *hub.Written) { c.Author = "ben" })}, []string{noWord}},
		"a fork whose comment was edited": {[]attack{fork, asks("/plan --fork "+stray, func(c *hub.Written) { c.Edited = true })}, []string{noWord}},
		"a fork that claims to be none": {[]attack{fork, asks("/plan --fork " + stray), func(_ *world, task *operation.Task) {
			task.Job.Fork = false
		}}, []string{noWord}},
		"a run started again by hand": {[]attack{func(w *world, _ *operation.Task) { w.run.Attempt = 2 }}, []string{"Comment `/plan` instead."}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld()
			task := w.planTask()
			for _, a := range c.attack {
				a(w, &task)
			}
			compare(t, c.want, w.refusals(t, task))
		})
	}
}
