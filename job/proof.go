package job

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/gitflow"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// planEnvironment is appended to the name of an environment for the GitHub Environment of its plans.
const planEnvironment = "-plan"

// facts are what the job found out by itself, with its own token, about what it was told to do.
type facts struct {
	machine Machine
	run     hub.Run
	config  repoconfig.Config // of the default branch

	identity   claims // of the job's own token; only when identified
	identified bool   // GitHub gave the job an identity

	protection hub.Environment // that the job works in; zero where it works in none

	plan  planFacts
	apply applyFacts
	lock  lockFacts
	words []word
}

// claims are what GitHub says about a job in a token.
type claims struct {
	Environment string `json:"environment"`
	Run         string `json:"run_id"`
}

// planFacts are about what a plan runs.
type planFacts struct {
	headed bool // its commit is of the pull request, or of a merge group of the branch
	based  bool // the commit that it merges with is on the branch
	fork   bool // the pull request comes from a fork
}

// applyFacts are about what an apply brings.
type applyFacts struct {
	pushers // of the branch; known only where a yes is claimed to what has no approvals

	tip      string    // of the environment's branch
	contains bool      // the tip contains the commit
	last     string    // what a job has applied there before; "" where GitHub knows of none
	lastAt   time.Time // when that run was made; zero where there is none
	descends bool      // the commit contains last
	pulls    []pull    // that the commit brings, since last
	loose    []string  // commits that it brings without a pull request
	cut      bool      // it brings more than is looked at for approvals
	hidden   bool      // it brings more than is looked at for who wrote it, too
}

// pushers are who pushed to a branch since the last apply.
type pushers struct {
	logins []string
	untold string // why anybody may be one; "" where logins are all of them
}

// pushed says why a person may have pushed what is applied; "" if that person did not.
func (p pushers) pushed(login string) string {
	switch {
	case p.untold != "":
		return p.untold + ", and it may be of who pushed this"
	case slices.ContainsFunc(p.logins, func(pusher string) bool { return strings.EqualFold(pusher, login) }):
		return "it is of somebody who pushed to the branch since the last apply"
	default:
		return ""
	}
}

// unreviewed reports whether an apply takes back what was applied, or brings what nobody could approve, or too much to look for who did,
// into an environment that asks for approvals. Then nothing counts as reviewed, and a person is asked about every change: where approvals
// are asked for, one who neither wrote nor pushed any of it. A yes alters nothing of that: the question is the same in the job that is to
// heed the yes, and so no claim of what was reviewed, which the job cannot prove, takes a change out of what the yes has to be to.
func (f applyFacts) unreviewed(environment repoconfig.Environment) bool {
	return !f.descends || environment.Approvals > 0 && (len(f.loose) > 0 || f.cut)
}

// whose says who has to be asked about every change, and why.
func (f applyFacts) whose(task operation.Task, environment repoconfig.Environment) string {
	text := f.unapproved(task) + " So nothing counts as reviewed, and a yes is needed to every change"
	if environment.Approvals > 0 {
		text += ": of a person who neither wrote nor pushed any of it"
	}
	return text + "."
}

// unapproved says why what an apply does could not be approved.
func (f applyFacts) unapproved(task operation.Task) string {
	if !f.descends {
		return fmt.Sprintf("Commit %s does not contain %s, which was applied to %s before, and nobody has reviewed what that takes back.",
			short(task.Commit), short(f.last), task.Environment)
	}
	if len(f.loose) > 0 {
		return fmt.Sprintf("Commit %s came without a pull request, so nobody could approve it.", short(f.loose[0]))
	}
	return fmt.Sprintf("The apply brings more than %d commits or %d pull requests, which are too many to look for approvals of.",
		maxCommits, maxPulls)
}

// pull is a pull request that is brought, with what people said about it.
type pull struct {
	number   int
	authors  []string
	everyone bool // may be an author: not all of them are known
	approval gitflow.Approval
}

// word is a comment in which a person is said to have said yes.
type word struct {
	operation.Word

	found      bool
	number     int // of the pull request or issue
	author     string
	made       time.Time
	bot        bool
	edited     bool
	permission string
	command    commands.Command
	readable   bool // it is a command
}

// refusals says, in sentences, why a task is not done. None: all that can be proven is proven.
func refusals(task operation.Task, f facts) []string {
	said := runRefusals(task, f)
	environment, known := f.config.Environment(task.Environment)
	switch {
	case !known:
		return append(said, fmt.Sprintf("%s of the default branch knows no environment %s.", repoconfig.Path, quote(task.Environment)))
	case !environment.Takes(task.Job.Branch):
		said = append(said, fmt.Sprintf("%s of the default branch does not let branch %s deploy to %s.",
			repoconfig.Path, quote(task.Job.Branch), environment.Name))
	}
	for _, target := range task.Targets {
		if _, ok := f.config.Root(target.Target.Root); !ok || target.Target.Environment != task.Environment {
			said = append(said, fmt.Sprintf("%s of the default branch has no root %s in %s.",
				repoconfig.Path, quote(target.Target.Root), quote(target.Target.Environment)))
		}
	}
	switch task.Kind {
	case operation.Apply:
		return append(said, applyRefusals(task, f, environment)...)
	case operation.Plan:
		return append(said, planRefusals(task, f)...)
	case operation.ExplainLock:
		return append(said, explainRefusals(task, f)...)
	case operation.BreakLease:
		return append(said, breakRefusals(task, f)...)
	default:
		return append(said, fmt.Sprintf("This job knows plan, apply, explain-lock and break-lease, not %s.", quote(string(task.Kind))))
	}
}

// runRefusals are about the run itself.
func runRefusals(task operation.Task, f facts) []string {
	var said []string
	if f.run.Attempt != 1 || f.machine.Attempt != 1 {
		said = append(said, "This run was started again by hand, long after its operation may have ended. "+
			"Comment "+code(again(task))+" instead.")
	}
	if f.run.Event != dispatchEvent || f.machine.Event != f.run.Event {
		said = append(said, fmt.Sprintf("The run was started by the event %s, not by a dispatch.", quote(f.run.Event)))
	}
	if workflow := f.config.Actions.Workflow; task.Job.Workflow != workflow || !isOf(f.run.Path, workflow) {
		said = append(said, fmt.Sprintf("The run is of %s, and %s of the default branch names %s.",
			quote(f.run.Path), repoconfig.Path, quote(workflow)))
	}
	if f.run.Branch != task.Job.Ref || f.machine.Ref != "refs/heads/"+task.Job.Ref || f.machine.SHA != f.run.SHA {
		said = append(said, fmt.Sprintf("The run is on branch %s, not on %s.", quote(f.run.Branch), quote(task.Job.Ref)))
	}
	if f.identified && f.identity.Environment != task.Job.Environment {
		said = append(said, fmt.Sprintf("GitHub says that this job works in %s, not in %s.",
			cmp.Or(quoted(f.identity.Environment), "no environment"), cmp.Or(quoted(task.Job.Environment), "none")))
	}
	if f.identified && f.identity.Run != strconv.FormatInt(f.machine.Run, 10) {
		said = append(said, fmt.Sprintf("GitHub says that this job is of run %s, not of run %d.", quote(f.identity.Run), f.machine.Run))
	}
	return said
}

// planRefusals are about whose code a plan runs, and what that code could use.
func planRefusals(task operation.Task, f facts) []string {
	said := planPlace(task, f)
	if !f.plan.based {
		said = append(said, fmt.Sprintf("Commit %s, which the plan would be merged with, is not on branch %s.",
			short(task.Job.Base), quote(task.Job.Branch)))
	}
	if !f.plan.headed {
		of := "a merge group of branch " + quote(task.Job.Branch)
		if task.Job.Pull > 0 {
			of = fmt.Sprintf("#%d", task.Job.Pull)
		}
		said = append(said, fmt.Sprintf("Commit %s is not of %s.", short(task.Commit), of))
	}
	if f.plan.fork && (!task.Job.Fork || !f.lets(task)) {
		said = append(said, fmt.Sprintf("#%d comes from a fork, and no comment of a person with %s permission asks for a plan of exactly %s.",
			task.Job.Pull, forkPermission, short(task.Commit)))
	}
	return said
}

// planPlace is about where a job works that changes nothing.
func planPlace(task operation.Task, f facts) []string {
	var said []string
	if own := task.Environment + planEnvironment; task.Job.Environment != "" && task.Job.Environment != own {
		said = append(said, fmt.Sprintf("A plan for %s works in the GitHub Environment %s or in none, not in %s.",
			task.Environment, quote(own), quote(task.Job.Environment)))
	}
	said = append(said, madeAnew(task, f, f.config.Actions.Plans)...)
	if task.Job.Ref != f.config.Actions.Plans {
		said = append(said, fmt.Sprintf("Plans run on branch %s, not on %s.", quote(f.config.Actions.Plans), quote(task.Job.Ref)))
	}
	return said
}

// forkPermission is the least permission of who may have the code of a fork planned.
const forkPermission = "maintain"

// lets reports whether a person who may do so asked for a plan of this very commit of a fork.
func (f facts) lets(task operation.Task) bool {
	return slices.ContainsFunc(f.words, func(w word) bool {
		return w.discount(f.config, "plan") == "" && operation.PermissionRank(w.permission) >= operation.PermissionRank(forkPermission) &&
			w.number == task.Job.Pull && w.command.Fork == task.Commit
	})
}

// applyRefusals are about what an apply brings, and who said yes to it.
func applyRefusals(task operation.Task, f facts, environment repoconfig.Environment) []string {
	said := deployPlace(task, f, "An apply to", "An apply")
	yes, whyNot := f.confirmed(task, environment)
	if task.Confirmed != "" && !yes {
		said = append(said, fmt.Sprintf("No comment counts as a yes to %s%s.", code(task.Confirmed[:min(len(task.Confirmed), shortDigest)]),
			because(whyNot)))
	}
	if environment.Approvals > 0 {
		said = append(said, approvalRefusals(f.apply)...)
	}
	for _, target := range task.Targets {
		for _, held := range target.Approved {
			if yes, whyNot := f.approved(target.Target, held); !yes {
				said = append(said, fmt.Sprintf("No comment counts as an approval of %s%s.", code(held.Address), because(whyNot)))
			}
		}
	}
	return said
}

// deployPlace is about where a job works that changes an environment, and with which commit. into and what name what it does.
func deployPlace(task operation.Task, f facts, into, what string) []string {
	var said []string
	if f.config.Default {
		said = append(said, fmt.Sprintf("The default branch has no %s, and without it nothing is applied.", repoconfig.Path))
	}
	if task.Job.Environment != task.Environment {
		said = append(said, fmt.Sprintf("%s %s has to work in the GitHub Environment of that name, not in %s.",
			into, task.Environment, cmp.Or(quoted(task.Job.Environment), "none")))
	}
	said = append(said, madeAnew(task, f, task.Job.Branch)...)
	if task.Job.Ref != task.Job.Branch {
		said = append(said, fmt.Sprintf("%s runs on the branch of its environment, %s, not on %s.",
			what, quote(task.Job.Branch), quote(task.Job.Ref)))
	}
	switch {
	case task.Commit == f.run.SHA:
	case task.Kind == operation.Apply:
		said = append(said, fmt.Sprintf("The branch was at %s when this run began, so it does not apply %s. "+
			"The apply of the newer commit carries it.", short(f.run.SHA), short(task.Commit)))
	default:
		said = append(said, fmt.Sprintf("The branch was at %s when this run began, not at %s.", short(f.run.SHA), short(task.Commit)))
	}
	if !f.apply.contains {
		said = append(said, fmt.Sprintf("Commit %s is not on branch %s.", short(task.Commit), quote(task.Job.Branch)))
	}
	return said
}

// madeAnew says that the GitHub Environment of the job is one that GitHub has just made, because there was none. branch is what may use it.
func madeAnew(task operation.Task, f facts, branch string) []string {
	if task.Job.Environment == "" || f.protection.Limited || f.protection.Made.Before(f.run.Created) {
		return nil
	}
	return []string{fmt.Sprintf("The GitHub Environment %s was not there when this run was made, so GitHub made it, without the "+
		"protection of the one that somebody has deleted: let only branch %s deploy to it, in the repository's settings.",
		quote(task.Job.Environment), quote(branch))}
}

// because lists reasons behind a sentence.
func because(reasons []string) string {
	if len(reasons) == 0 {
		return ""
	}
	return ": " + strings.Join(reasons[:min(len(reasons), maxReasons)], "; ")
}

// maxReasons bounds how many comments one sentence tells of.
const maxReasons = 5

// approvalRefusals says which of the pull requests that an apply brings lack approvals.
func approvalRefusals(f applyFacts) []string {
	var said []string
	for _, p := range f.pulls {
		switch a := p.approval; {
		case f.cut || a.Approved:
		case len(a.Unknown) > 0:
			said = append(said, fmt.Sprintf("#%d is %s. %s %s", p.number, a.Headline, strings.Join(a.Unknown, " "), a.Remedy))
		default:
			said = append(said, fmt.Sprintf("#%d is %s. A review of it counts after the merge, too.", p.number, a.Headline))
		}
	}
	return said
}

// confirmed reports whether a person who may do so said yes to the digest that the task claims, since the last apply: a yes that was
// given before was to something else. That the plan is the one with this digest is seen when it is made. Else it says why none of
// the comments counts.
func (f facts) confirmed(task operation.Task, environment repoconfig.Environment) (yes bool, whyNot []string) {
	if task.Confirmed == "" {
		return false, nil
	}
	for _, w := range f.words {
		if w.found && w.readable && w.command.Name != "apply" {
			continue
		}
		why := w.discount(f.config, "apply")
		switch {
		case why != "":
		case w.command.Environment != task.Environment:
			why = "it is about " + quote(w.command.Environment)
		case w.command.Digest == "" || !strings.HasPrefix(task.Confirmed, w.command.Digest):
			why = "it names another digest"
		case !w.made.After(f.apply.lastAt):
			why = "it is older than what was applied last"
		case environment.Approvals > 0:
			why = cmp.Or(f.apply.wrote(w.author), f.apply.pushed(w.author))
		}
		if why == "" {
			return true, nil
		}
		whyNot = append(whyNot, w.who()+" does not count, because "+why)
	}
	return false, whyNot
}

// approved reports whether a second person approved a change that configuration holds back: on a pull request that the apply brings,
// or since the last apply. Else it says why none of the comments counts.
func (f facts) approved(target operation.Target, held operation.Held) (yes bool, whyNot []string) {
	for _, w := range f.words {
		if w.found && w.readable && (w.command.Name != "approve-replace" || w.command.Address != held.Address) {
			continue
		}
		why := w.discount(f.config, "approve-replace")
		switch {
		case why != "":
		case w.command.Root != "" && w.command.Root != target.Root:
			why = "it is about root " + quote(w.command.Root)
		case !f.apply.brings(w.number) && !w.made.After(f.apply.lastAt):
			why = "it is about an earlier apply"
		default:
			why = f.apply.wrote(w.author)
		}
		if why == "" {
			return true, nil
		}
		whyNot = append(whyNot, w.who()+" does not count, because "+why)
	}
	return false, whyNot
}

// wrote says why a person may have written a part of what an apply brings; "" if that person wrote none, as far as is known.
func (f applyFacts) wrote(login string) string {
	switch {
	case f.hidden:
		return fmt.Sprintf("the apply brings more than %d commits or %d pull requests, and it may be of an author",
			maxNamedCommits, maxNamedPulls)
	case slices.ContainsFunc(f.pulls, func(p pull) bool {
		return p.everyone || slices.ContainsFunc(p.authors, func(author string) bool { return strings.EqualFold(author, login) })
	}):
		return "it is of an author"
	default:
		return ""
	}
}

func (f applyFacts) brings(number int) bool {
	return slices.ContainsFunc(f.pulls, func(p pull) bool { return p.number == number })
}

// who names a comment in a sentence.
func (w word) who() string {
	if !w.found {
		return fmt.Sprintf("comment %d", w.Comment)
	}
	return fmt.Sprintf("the one of %s on #%d", quote(w.author), w.number)
}

// discount says why a comment is not as it was made, by a person who may give this command; "" if it is.
func (w word) discount(config repoconfig.Config, name string) string {
	return w.discountAs(config, name, name)
}

// discountAs is discount where the person has to be one who may give another command.
func (w word) discountAs(config repoconfig.Config, name, as string) string {
	switch needed := config.Permission(as); {
	case !w.found:
		return "it is not there any more"
	case w.bot:
		return "it is not of a person"
	case w.edited:
		return "it was edited"
	case !w.readable || w.command.Name != name:
		return "it is no " + code("/"+name)
	case operation.PermissionRank(w.permission) < operation.PermissionRank(needed):
		return "that needs " + needed + " permission, and " + quote(w.author) + " has " + cmp.Or(quoted(w.permission), "none")
	default:
		return ""
	}
}

// again is the comment that has an operation done anew.
func again(task operation.Task) string {
	return task.Kind.Again(task.Environment)
}

// shortDigest is how many characters of a digest people are shown.
const shortDigest = 8

// short is a commit as people know it.
func short(sha string) string {
	const length = 7
	if sha == "" {
		return "(none)"
	}
	return quote(sha[:min(len(sha), length)])
}

// quoted is quote, but "" for nothing.
func quoted(text string) string {
	if text == "" {
		return ""
	}
	return quote(text)
}

// quote shows a name of somebody else's.
func quote(text string) string { return code(text) }

// maxQuoted bounds what is repeated of somebody else's words, in bytes.
const maxQuoted = 200

// code shows a text so that nothing in it takes effect in Markdown or in the log of a job.
func code(text string) string {
	text = strings.ToValidUTF8(text[:min(len(text), maxQuoted)], "")
	return "`" + strings.Map(func(r rune) rune {
		if r < ' ' || r == '`' || r == 0x7f {
			return -1
		}
		return r
	}, strings.ReplaceAll(text, "::", ": :")) + "`"
}
