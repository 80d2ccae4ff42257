package job

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// What a job proves before it looks at locks, and before it breaks one.

// The commands by which a lock comes to be broken.
const (
	commandBreak   = "break-lease"
	commandConfirm = "confirm"
)

// confirmLasts is how old a yes to the breaking of a lock may be when the job begins: people have a quarter of an hour to say it, and
// the run may wait for a machine or for a reviewer. A yes is to one lock as it was at one moment, so an older one could do no harm either.
const confirmLasts = 45 * time.Minute

// lockFacts are about who asked for a lock to be broken.
type lockFacts struct {
	request word
	now     time.Time
}

// onBranch reports whether the commit of a task is on the branch that it names, and gives its tip.
func (g *gatherer) onBranch(ctx context.Context, task operation.Task) (tip string, contains bool, err error) {
	tip, ok, err := g.git.Branch(ctx, g.repo, task.Job.Branch)
	if err != nil {
		return "", false, fmt.Errorf("find branch %q: %w", task.Job.Branch, err)
	}
	if !ok {
		return tip, false, nil
	}
	if contains, err = g.git.IsAncestor(ctx, g.repo, task.Commit, tip); err != nil {
		return tip, false, fmt.Errorf("look for commit %s: %w", short(task.Commit), err)
	}
	return tip, contains, nil
}

// lock finds out what is known about work on locks, beside the words of Job.
func (g *gatherer) lock(ctx context.Context, task operation.Task, f *facts) (err error) {
	if f.apply.tip, f.apply.contains, err = g.onBranch(ctx, task); err != nil || task.Kind != operation.BreakLease {
		return err
	}
	f.lock.now = g.now
	if task.Lock == nil || task.Lock.Request == 0 {
		return nil
	}
	f.lock.request, err = g.word(ctx, operation.Word{Comment: task.Lock.Request})
	return err
}

// explainRefusals are about whose code runs when locks are looked at: init reads the configuration of the commit.
func explainRefusals(task operation.Task, f facts) []string {
	said := planPlace(task, f)
	if !f.apply.contains {
		said = append(said, fmt.Sprintf("Commit %s is not on branch %s.", short(task.Commit), quote(task.Job.Branch)))
	}
	return said
}

// breakRefusals are about who said yes to the breaking of which lock.
func breakRefusals(task operation.Task, f facts) []string {
	if task.Lock == nil || len(task.Targets) != 1 || task.Lock.ID == "" && task.Lock.ETag == "" {
		return []string{"The task does not say which one lock is meant."}
	}
	said := deployPlace(task, f, "The breaking of a lock of", "The breaking of a lock")
	subject := commands.LockSubject{
		Repository: f.machine.Repository.ID, Environment: task.Environment, Root: task.Targets[0].Target.Root,
		ID: task.Lock.ID, ETag: task.Lock.ETag, Request: task.Lock.Request,
	}
	if why := f.unasked(task); why != "" {
		request := f.lock.request
		request.Comment = task.Lock.Request
		said = append(said, fmt.Sprintf("No comment asks for this lock to be broken: %s does not count, because %s.", request.who(), why))
	}
	if yes, whyNot := f.confirms(task, subject.Code()); !yes {
		said = append(said, fmt.Sprintf("No comment counts as a yes to %s%s.", code("/confirm "+subject.Code()), because(whyNot)))
	}
	return said
}

// unasked says why the comment that is said to have asked for a lock to be broken did not; "" where it did.
func (f facts) unasked(task operation.Task) string {
	w, root := f.lock.request, task.Targets[0].Target.Root
	switch why := w.discount(f.config, commandBreak); {
	case why != "":
		return why
	case w.command.Environment != task.Environment:
		return "it is about " + quote(w.command.Environment)
	case w.command.Root != "" && w.command.Root != root:
		return "it is about root " + quote(w.command.Root)
	case w.command.LockID != "" && !strings.EqualFold(w.command.LockID, task.Lock.ID):
		return "it names another lock"
	case f.config.Commands[commandBreak].Reason && w.command.Reason == "":
		return "it gives no reason"
	default:
		return ""
	}
}

// confirms reports whether a person who may have this lock broken said yes to exactly that, a short while ago, and, where another one
// than who asked has to, another one. Else it says why none of the comments counts.
func (f facts) confirms(task operation.Task, subject string) (yes bool, whyNot []string) {
	// Whether the holder lives only the server knows. What it must be asked about for other reasons is seen here.
	two, _ := commands.TwoForBreakLease(f.config, task.Environment, render.Dead)
	two = two || task.Lock.Two || task.Lock.ID == ""
	for _, w := range f.words {
		why := w.discountAs(f.config, commandConfirm, commandBreak)
		switch {
		case why != "":
		case w.command.Code != subject:
			why = "it is a yes to something else"
		case w.made.Before(f.lock.request.made):
			why = "it is older than what it would be a yes to"
		case f.lock.now.Sub(w.made) > confirmLasts:
			why = fmt.Sprintf("it is older than %d minutes", int(confirmLasts.Minutes()))
		case two && strings.EqualFold(w.author, f.lock.request.author):
			why = "another person than who asked has to confirm it"
		default:
			return true, nil
		}
		whyNot = append(whyNot, w.who()+" does not count, because "+why)
	}
	return false, whyNot
}

// mayBreak says why a person may not have a lock broken; "" where they may.
func mayBreak(config repoconfig.Config, login, permission string) string {
	w := word{found: true, author: login, permission: permission, readable: true, command: commands.Command{Name: commandBreak}}
	return w.discount(config, commandBreak)
}

func aboutLocks(kind operation.Kind) bool {
	return kind == operation.ExplainLock || kind == operation.BreakLease
}

// noLockID is what stands for the id of a lock that is held and has no description.
const noLockID = "none"

// lockOutputs are the outputs of the action about the locks that were looked at: of the first one that is held.
func lockOutputs(result operation.Result) map[string]string {
	said := map[string]string{"lock-id": "", "lock-etag": ""}
	i := slices.IndexFunc(result.Targets, func(t operation.TargetResult) bool {
		return lockOf(t) != nil && lockOf(t).Lease == operation.LeaseHeld
	})
	if i < 0 {
		return said
	}
	found := lockOf(result.Targets[i])
	said["lock-id"], said["lock-etag"] = noLockID, oneLine(found.ETag)
	if found.Info != nil && found.Info.ID != "" {
		said["lock-id"], said["lock-holder"] = oneLine(found.Info.ID), oneLine(found.Info.Who)
	}
	return said
}

// lockOf is what was last found of a target's lock; nil: nothing.
func lockOf(t operation.TargetResult) *operation.StateLock {
	if t.Broken != nil && t.Broken.Now != nil {
		return t.Broken.Now
	}
	return t.Found
}

// oneLine makes a line of somebody else's words.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// lockSummary is what was found of locks, or what became of one, as Markdown for the page of a run.
func (p Parts) lockSummary(task operation.Task, result operation.Result) string {
	if task.Kind == operation.BreakLease {
		by, roots := p.Env.get("GITHUB_TRIGGERING_ACTOR"), []string{}
		if len(task.Job.Words) > 0 {
			by = task.Job.Words[0].Login
		}
		for _, target := range task.Targets {
			roots = append(roots, target.Target.Root)
		}
		return render.LockReport(render.LockReportView{
			Repository: p.Machine.Repository, WebURL: p.Machine.Web, Now: result.Ended, Operation: operation.Operation{
				ID: task.Operation, Kind: task.Kind, Repository: p.Machine.Repository, Environment: task.Environment, Attempt: task.Attempt,
				Head: task.Commit, Started: result.Started, Ended: result.Ended, Result: &result, State: stateOf(task, result), Message: result.Error,
				Roots: roots, Actor: by, Lock: &operation.LockRequest{Break: task.Lock},
			},
		})
	}
	var text strings.Builder
	fmt.Fprintf(&text, "### Locks of %s\n", task.Environment)
	for _, target := range result.Targets {
		fmt.Fprintf(&text, "\n**%s**\n\n", code(target.Target.Root))
		if target.Found == nil {
			fmt.Fprintf(&text, "It could not be looked at: %s\n", code(oneLine(target.Error)))
			continue
		}
		text.WriteString(foundText(*target.Found))
	}
	if result.Error != "" {
		fmt.Fprintf(&text, "\n%s\n", code(oneLine(result.Error)))
	}
	return text.String()
}

// foundText lists what was found of one lock.
func foundText(found operation.StateLock) string {
	var text strings.Builder
	line := func(name, value string) {
		if value != "" {
			fmt.Fprintf(&text, "- %s: %s\n", name, code(value))
		}
	}
	switch {
	case found.Lease == operation.LeaseHeld && (found.Info == nil || found.Info.ID == ""):
		text.WriteString("- It is **locked**, and the lock has no description. " +
			"Whoever took it was interrupted just then, or takes it at this moment.\n")
		line("lock id to give", noLockID)
	case found.Lease == operation.LeaseHeld:
		text.WriteString("- It is **locked**.\n")
		line("lock id", found.Info.ID)
	case found.Lease == operation.LeaseBroken:
		text.WriteString("- It is not locked: an earlier lock was broken. The next apply takes it.\n")
	default:
		text.WriteString("- It is not locked.\n")
	}
	if found.Info != nil && found.Lease == operation.LeaseHeld {
		line("by", found.Info.Who)
		line("doing", found.Info.Operation)
		line("since", found.Info.Created)
	}
	line("state", found.Place)
	line("there is no", found.Missing)
	if !found.Modified.IsZero() {
		line("written last", found.Modified.UTC().Format(time.RFC3339))
	}
	if found.Lineage != "" {
		line("serial", strconv.FormatInt(found.Serial, 10))
		line("lineage", found.Lineage)
	}
	line("tainted", strings.Join(found.Tainted, ", "))
	for _, state := range found.Errored {
		line("a state that could not be saved", state.Place)
		line("it does not fit", state.Why)
		for command := range strings.Lines(state.Next) {
			line("to bring it back", strings.TrimSpace(command))
		}
	}
	for _, note := range found.Notes {
		line("note", note)
	}
	return text.String()
}
