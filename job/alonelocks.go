package job

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// Without a server, a person starts a workflow that looks at the locks of an environment and, when another person has let its second
// job begin, breaks one of them.

// The commands of the action for that.
const (
	commandLockShow  = "lock-show"
	commandLockBreak = "lock-break"
)

// The inputs of the action for that, beside environment and root.
const (
	inputLockID   = "lock-id"   // that the outputs of lock-show have; noLockID for a lock without a description
	inputLockETag = "lock-etag" // likewise
	inputReason   = "reason"    // why the lock is broken
)

// How long work on locks may take without a server that says so, and between its two signals.
const (
	locksLimit = 30 * time.Minute
	locksGrace = 5 * time.Second // GitHub ends a job 10 seconds after the word
)

// IsAboutLocks reports whether a job that no server has dispatched is to look at locks, or to break one.
func IsAboutLocks(env Environ) bool {
	command := env.input(operation.InputCommand)
	return command == commandLockShow || command == commandLockBreak
}

// Locks looks at the locks of an environment, or breaks one, as the inputs of the action say. The error is ErrNotDone where the log and the
// summary say what happened.
func Locks(ctx context.Context, p Parts) error {
	begun := p.Clock.Now()
	task := operation.Task{
		Version: operation.ContractVersion, Operation: p.Machine.Run, Attempt: p.Machine.Attempt, Kind: operation.ExplainLock,
		Repository: p.Machine.Repository, Commit: p.Machine.SHA, Environment: p.Env.input(operation.InputEnvironment),
		TimeLimit: locksLimit, StopGrace: locksGrace, Job: &operation.Job{},
	}
	if p.Env.input(operation.InputCommand) == commandLockBreak {
		task.Kind = operation.BreakLease
	}
	result, err := p.locks(ctx, &task)
	if err != nil {
		result = p.nothingBegun(ctx, task, begun, err)
	}
	if err := p.leave(task, 0, result); err != nil {
		return err
	}
	found := lockOutputs(result)["lock-id"]
	if meant := p.Env.input(inputLockID); task.Kind == operation.ExplainLock && meant != "" && !strings.EqualFold(meant, found) {
		p.note("error", fmt.Sprintf("The lock %s is not there: it is %s. Nothing is broken. "+
			"Where several roots are locked, the input root says which is meant.", quote(meant), cmp.Or(quoted(found), "free")))
		return ErrNotDone
	}
	return nil
}

// locks does so; an error means that nothing was begun.
func (p Parts) locks(ctx context.Context, task *operation.Task) (operation.Result, error) {
	branch, isBranch := strings.CutPrefix(p.Machine.Ref, "refs/heads/")
	switch {
	case p.Machine.Event != dispatchEvent:
		return operation.Result{}, fmt.Errorf("a person starts this by hand, and the event %s started it", quote(p.Machine.Event))
	case p.Machine.Attempt != 1 && task.Kind == operation.BreakLease:
		return operation.Result{}, errors.New("this run was started again: start the workflow anew, which looks at the lock again")
	case !isBranch:
		return operation.Result{}, fmt.Errorf("this run was started on %s: start it on the branch of the environment", quote(p.Machine.Ref))
	}
	if err := usualConfig(p.Env); err != nil {
		return operation.Result{}, err
	}
	task.Job.Ref, task.Job.Branch = branch, branch
	repo := p.Machine.Repository
	info, err := p.GitHub.Repository(ctx, repo)
	if err != nil {
		return operation.Result{}, fmt.Errorf("ask for the default branch: %w", err)
	}
	mirror := p.Git(refsOf(*task, info.DefaultBranch))
	if err := p.startClean(mirror.Dir(repo)); err != nil {
		return operation.Result{}, err
	}
	if err := mirror.Fetch(ctx, repo); err != nil {
		return operation.Result{}, err //nolint:wrapcheck // says what was fetched
	}
	g := &gatherer{github: p.GitHub, git: mirror, repo: repo, now: p.Clock.Now()}
	f, err := p.locksFacts(ctx, g, task, info.DefaultBranch)
	if err != nil {
		return operation.Result{}, err
	}
	if said, err := p.locksRefusals(ctx, g, *task, f); err != nil || len(said) > 0 {
		return operation.Result{}, errors.Join(err, joined(said))
	}
	if task.Tree, err = mirror.Tree(ctx, repo, task.Commit); err != nil {
		return operation.Result{}, fmt.Errorf("find the tree of %s: %w", short(task.Commit), err)
	}
	if err := p.equip(ctx, task, f, mirror); err != nil {
		return operation.Result{}, err
	}
	return p.running(ctx, *task, nil), nil
}

func joined(sentences []string) error {
	if len(sentences) == 0 {
		return nil
	}
	return errors.New(strings.Join(sentences, " ")) //nolint:err113 // for people
}

// locksFacts finds out what a job needs to know that works on locks alone, and completes its task.
func (p Parts) locksFacts(ctx context.Context, g *gatherer, task *operation.Task, defaultBranch string) (facts, error) {
	f := facts{machine: p.Machine, run: hub.Run{SHA: p.Machine.SHA}}
	var err error
	if f.identity, f.identified, err = g.identity(ctx, p.Machine.Identity); err != nil {
		return f, err
	}
	if f.config, err = g.configuration(ctx, defaultBranch); err != nil {
		return f, err
	}
	if f.apply.tip, f.apply.contains, err = g.onBranch(ctx, *task); err != nil {
		return f, err
	}
	for _, root := range f.config.Roots {
		if only := p.Env.input(inputRoot); only == "" || only == root.Dir {
			task.Targets = append(task.Targets, operation.TargetTask{Target: operation.Target{Root: root.Dir, Environment: task.Environment}})
		}
	}
	if task.Kind != operation.BreakLease {
		return f, nil
	}
	task.Job.Environment = f.identity.Environment
	task.Lock = &operation.LockTask{
		ID: p.Env.input(inputLockID), ETag: p.Env.input(inputLockETag), Reason: p.Env.input(inputReason), Two: true,
	}
	if f.run, err = g.github.Run(ctx, g.repo, p.Machine.Run); err != nil {
		return f, fmt.Errorf("ask which run this is: %w", err)
	}
	f.protection, _, err = g.github.Environment(ctx, g.repo, task.Environment)
	return f, wrap("look at the job's GitHub Environment", err)
}

// locksRefusals says, in sentences, why a job alone does nothing about locks.
func (p Parts) locksRefusals(ctx context.Context, g *gatherer, task operation.Task, f facts) ([]string, error) {
	environment, known := f.config.Environment(task.Environment)
	switch {
	case !known:
		return []string{fmt.Sprintf("%s of the default branch knows no environment %s. Known: %s.",
			repoconfig.Path, quote(task.Environment), strings.Join(f.config.EnvironmentNames(), ", "))}, nil
	case !environment.Takes(task.Job.Branch):
		return []string{fmt.Sprintf("Branch %s does not deploy to %s: start this workflow on the branch that does.",
			quote(task.Job.Branch), environment.Name)}, nil
	case len(task.Targets) == 0:
		return []string{fmt.Sprintf("%s of the default branch has no root %s.", repoconfig.Path, quote(p.Env.input(inputRoot)))}, nil
	case !f.apply.contains:
		return []string{fmt.Sprintf("Commit %s is not on branch %s any more.", short(task.Commit), quote(task.Job.Branch))}, nil
	case task.Kind != operation.BreakLease:
		return nil, nil
	case len(task.Targets) != 1:
		return []string{"More than one root has a lock: the input root says which one is meant."}, nil
	case !f.identified:
		return []string{"This job cannot prove in which GitHub Environment it works: give it the permission `id-token: write`."}, nil
	case task.Lock.ID == "" || task.Lock.ID == noLockID && task.Lock.ETag == "":
		return []string{"The input lock-id says which lock is broken: the one that `lock-show` has found, with its lock-etag."}, nil
	case f.config.Commands[commandBreak].Reason && task.Lock.Reason == "":
		return []string{"The input reason is empty, and the configuration asks for one."}, nil
	}
	if task.Lock.ID == noLockID {
		task.Lock.ID = ""
	}
	said := deployPlace(task, f, "The breaking of a lock of", "The breaking of a lock")
	more, err := p.lockPeople(ctx, g, task, f)
	return append(said, more...), err
}

// lockPeople says who is missing: the person who started the workflow must be one who may have a lock broken, and another one must have
// let this job begin. Whether the holder of the lock still works nobody tells here, and then two people are asked.
func (p Parts) lockPeople(ctx context.Context, g *gatherer, task operation.Task, f facts) ([]string, error) {
	by := cmp.Or(f.run.Triggering.Login, f.run.Actor.Login)
	if by == "" || strings.HasSuffix(by, "[bot]") {
		return []string{"Only a person can have a lock broken, and " + quote(by) + " is none."}, nil
	}
	permission, err := g.permission(ctx, by)
	if err != nil {
		return nil, err
	}
	var said []string
	if why := mayBreak(f.config, by, permission); why != "" {
		said = append(said, "It is not for "+quote(by)+" to have a lock broken, because "+why+".")
	}
	others, err := g.github.LetBegin(ctx, g.repo, p.Machine.Run, task.Environment)
	if err != nil {
		return nil, fmt.Errorf("ask who let this job begin: %w", err)
	}
	others = slices.DeleteFunc(others, func(login string) bool { return strings.EqualFold(login, by) })
	if len(others) == 0 {
		said = append(said, fmt.Sprintf("Another person than %s has to let it begin, as a required reviewer of the GitHub Environment %s, "+
			"and nobody did. Without reviewers there, `switchyard lock break` in a terminal is the way.", quote(by), quote(task.Environment)))
	}
	return said, nil
}
