// Package job does one operation in a job of GitHub Actions: it reads what the server's dispatch told it, proves with the job's
// own token what of that can be proven, has room runner do it, and leaves the result where the next step of the workflow
// uploads it. `switchyard action` calls it. It believes none of its inputs, holds no state between two jobs, and applies
// nothing of which GitHub itself does not say that it was merged, approved and asked for.
package job

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/terraform"
)

// Mirrors is the repository as git has it, to plan merges of it and to check them out. *git.Mirrors does.
type Mirrors interface {
	History
	Fetch(ctx context.Context, repo operation.Repository) error
	Tree(ctx context.Context, repo operation.Repository, commit string) (string, error)
	Merge(ctx context.Context, repo operation.Repository, base, head string) (git.MergeResult, error)
	Prefetch(ctx context.Context, repo operation.Repository, tree string, dirs ...string) error
	Dir(repo operation.Repository) string
}

// Parts are what a job works with.
type Parts struct {
	Env     Environ
	All     []string // the job's whole environment, NAME=value
	Machine Machine
	GitHub  GitHub
	Git     func(refs []string) Mirrors // mirrors that fetch these refs only
	Run     func(ctx context.Context, task operation.Task, confirm func(context.Context) error) operation.Result
	Find    func(ctx context.Context, want terraform.Want) (string, error) // of Terraform
	Clock   clockwork.Clock
	Network http.RoundTripper // to the server; nil: the standard one
	Out     io.Writer         // the job's log

	lent *string // the token that a server has lent to this job, once it did; nil: none is given back
}

// ErrNotDone says that the operation did not end well; the result says how. The job has to fail, so that GitHub records no deployment.
var ErrNotDone = errors.New("the operation did not end well")

// ErrOtherRun is an ErrNotDone of a run whose operation another run works on.
var ErrOtherRun = fmt.Errorf("another run has this operation: %w", ErrNotDone)

// How long before and after a run other ones of its operation are looked for. A dispatch that got no answer is repeated within minutes.
const (
	sameOperation = 24 * time.Hour
	laterAttempt  = time.Hour
)

// Dispatched does the task that a dispatch gave to this run. The error is ErrNotDone, or says why not even a result could be left.
func Dispatched(ctx context.Context, p Parts) error {
	begun := p.Clock.Now()
	p.lent = new(string)
	defer p.giveBack(ctx) // when the result is there: it matters more
	task, err := readTask(p.Env)
	if err != nil {
		return err
	}
	number, roots, err := shard(p.Env, task)
	if err != nil {
		return err
	}
	task.Targets = slices.DeleteFunc(task.Targets, func(t operation.TargetTask) bool { return !slices.Contains(roots, t.Target.Root) })
	result, err := p.dispatched(ctx, &task)
	if other := (*otherRunError)(nil); errors.As(err, &other) {
		return p.standBack(task, other)
	}
	if err != nil {
		result = p.nothingBegun(ctx, task, begun, err)
	}
	return p.leave(task, number, result)
}

// Equip gives a task what is of this machine: access to private modules, the settings of its backends, a place for a state that cannot
// be saved, and Terraform.
func (p Parts) Equip(ctx context.Context, task *operation.Task, want repoconfig.Terraform, files Contents, modules Modules) error {
	modules.give(task)
	read := func(dir string) (map[string][]byte, error) {
		return filesOf(ctx, files, p.Machine.Repository, task.Tree, dir)
	}
	if err := withBackend(p.Env, task.Targets, func(dir string) (string, error) { return terraform.Backend(read, dir) }); err != nil {
		return err
	}
	if err := p.keepUnsaved(task); err != nil {
		return err
	}
	return p.terraform(ctx, task, want)
}

// nothingBegun is the result of a job that could not begin its task, or was stopped before it did.
func (p Parts) nothingBegun(ctx context.Context, task operation.Task, started time.Time, err error) operation.Result {
	if ctx.Err() != nil { // whatever failed, failed because of that
		return StoppedBefore(task, started, p.Clock.Now())
	}
	return operation.Result{
		Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch, Commit: task.Commit,
		Error: "Nothing was begun: " + clip(p.withoutToken(err.Error())), Started: started, Ended: p.Clock.Now(),
	}
}

// StoppedBefore is the result of a task that was stopped before it was begun.
func StoppedBefore(task operation.Task, started, ended time.Time) operation.Result {
	result := operation.Result{
		Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch, Commit: task.Commit,
		Stopped: "cancelled", Started: started, Ended: ended,
	}
	for _, target := range task.Targets {
		result.Targets = append(result.Targets, operation.TargetResult{
			Target: target.Target, Outcome: operation.TargetStopped, Error: "Stopped before it was begun.",
		})
	}
	return result
}

// otherRunError says that another run works on the operation.
type otherRunError struct{ run hub.Run }

func (e *otherRunError) Error() string { return "another run works on this operation" }

// dispatched proves the task and does it. An error means that nothing was begun.
func (p Parts) dispatched(ctx context.Context, task *operation.Task) (operation.Result, error) {
	if err := usualConfig(p.Env); err != nil {
		return operation.Result{}, err
	}
	repo := p.Machine.Repository
	if task.Repository.FullName() != repo.FullName() || task.Repository.ID != repo.ID {
		return operation.Result{}, fmt.Errorf("the task is of repository %s (%d), and this job is of %s (%d): was it renamed or transferred?",
			quote(task.Repository.FullName()), task.Repository.ID, quote(repo.FullName()), repo.ID)
	}
	run, err := p.GitHub.Run(ctx, repo, p.Machine.Run)
	if err != nil {
		return operation.Result{}, fmt.Errorf("ask which run this is: %w", err)
	}
	if err := p.alone(ctx, *task, run); err != nil {
		return operation.Result{}, err
	}
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
	known, err := g.gather(ctx, p.Machine, run, *task, info.DefaultBranch)
	if err != nil {
		return operation.Result{}, err
	}
	if said := refusals(*task, known); len(said) > 0 {
		return operation.Result{}, &refusedError{sentences: said, next: again(*task)}
	}
	if err := p.equip(ctx, task, known, mirror); err != nil {
		return operation.Result{}, err
	}
	return p.run(ctx, *task)
}

// run has Terraform run. What is written meanwhile is no command to GitHub's runner: names in it are other people's.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#stopping-and-starting-workflow-commands
func (p Parts) run(ctx context.Context, task operation.Task) (operation.Result, error) {
	confirm, err := p.confirm(task)
	if err != nil {
		return operation.Result{}, err
	}
	return p.running(ctx, task, confirm), nil
}

// running is run once it is known whom to ask.
func (p Parts) running(ctx context.Context, task operation.Task, confirm func(context.Context) error) operation.Result {
	end := uuid.NewString()
	_, _ = fmt.Fprintf(p.Out, "::stop-commands::%s\n", end)
	defer func() { _, _ = fmt.Fprintf(p.Out, "\n::%s::\n", end) }()
	return p.Run(ctx, task, confirm)
}

// startClean removes what an earlier job has left on a machine that is not thrown away: code of a plan may have put it there.
func (p Parts) startClean(mirror string) error {
	if info, err := os.Lstat(p.dir()); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is not a directory: remove it", p.dir())
	}
	work := filepath.Join(p.dir(), "work")
	left, err := os.ReadDir(work)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		if err := os.RemoveAll(work); err != nil { // it is no directory
			return fmt.Errorf("remove what an earlier job left: %w", err)
		}
	}
	remove := []string{mirror}
	for _, entry := range left {
		if entry.Name() != "errored" { // states that could not be saved: a person may still look for them
			remove = append(remove, filepath.Join(work, entry.Name()))
		}
	}
	for _, dir := range remove {
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove what an earlier job left: %w", err)
		}
	}
	return nil
}

// alone makes sure that no older run has this operation: of two runs for one, the first works.
func (p Parts) alone(ctx context.Context, task operation.Task, run hub.Run) error {
	if name := operation.RunName(task); run.Name != name {
		return fmt.Errorf("the run is called %s, not %s: its workflow file needs the `run-name` of the template",
			quote(run.Name), quote(name))
	}
	others, err := p.GitHub.RunsAround(ctx, p.Machine.Repository, task.Job.Workflow, run, sameOperation, laterAttempt)
	if err != nil {
		return fmt.Errorf("look for other runs of this operation: %w", err)
	}
	if other, there := givesWay(run, others); there {
		return &otherRunError{other}
	}
	return p.undone(ctx, task, run, others)
}

// undone makes sure that no newer run of this start of an apply has worked already: GitHub may have shown this one too late to it. A run
// that has worked has left its result. Two of them never run at the same time, because the workflow lets one apply at a time into an
// environment.
func (p Parts) undone(ctx context.Context, task operation.Task, run hub.Run, others []hub.Run) error {
	for _, other := range others {
		same := other.Name == run.Name && strings.EqualFold(other.Actor.Login, run.Actor.Login)
		if !task.Kind.Exclusive() || !same || other.ID < run.ID || other.Status != hub.RunCompleted {
			continue
		}
		left, err := p.GitHub.Artifacts(ctx, p.Machine.Repository, other.ID)
		if err != nil {
			return fmt.Errorf("look whether another run has done this operation: %w", err)
		}
		if slices.ContainsFunc(left, func(a hub.Artifact) bool { return a.Name == operation.ArtifactName(task, 0) }) {
			return &otherRunError{other}
		}
	}
	return nil
}

// givesWay finds the run that works instead of another one: of two for one start of an operation the one that was made first, and for a
// start that the server has given up on, because its run did not turn up, that of a later one.
func givesWay(run hub.Run, others []hub.Run) (hub.Run, bool) {
	mine, _ := operation.ParseRunName(run.Name)
	var found hub.Run
	for _, other := range others {
		theirs, named := operation.ParseRunName(other.Name)
		switch {
		case !named || theirs.Operation != mine.Operation || !strings.EqualFold(other.Actor.Login, run.Actor.Login):
			continue
		case other.Name == run.Name && other.ID < run.ID, theirs.Attempt > mine.Attempt,
			theirs.Attempt == mine.Attempt && theirs.Launch != mine.Launch && other.ID > run.ID:
			if found.ID == 0 || other.ID < found.ID {
				found = other
			}
		}
	}
	return found, found.ID != 0
}

// refsOf are the refs that a task needs.
func refsOf(task operation.Task, defaultBranch string) []string {
	refs := []string{"refs/heads/" + defaultBranch}
	if branch := "refs/heads/" + task.Job.Branch; branch != refs[0] {
		refs = append(refs, branch)
	}
	switch {
	case task.Kind != operation.Plan:
	case task.Job.Pull > 0:
		refs = append(refs, fmt.Sprintf("refs/pull/%d/head", task.Job.Pull))
	default:
		refs = append(refs, "refs/heads/"+mergeQueue+task.Job.Branch+"/*")
	}
	return refs
}

// refusedError is a task that is not done because of what GitHub says about it.
type refusedError struct {
	sentences []string
	next      string // the command
}

func (e *refusedError) Error() string {
	return "this job refuses what it was told to do. " + strings.Join(e.sentences, " ") + " Next: put that right, then comment " +
		code(e.next) + "."
}

// equip gives the task what is of this machine, and replaces whatever configuration says by what the default branch says.
func (p Parts) equip(ctx context.Context, task *operation.Task, known facts, mirror Mirrors) error {
	repo := p.Machine.Repository
	environment, _ := known.config.Environment(task.Environment)
	roots := make([]string, 0, len(task.Targets))
	claimed := map[string]operation.TargetTask{}
	for _, target := range task.Targets {
		roots = append(roots, target.Target.Root)
		claimed[target.Target.Root] = target
	}
	application := cmp.Or(p.Env.get("APPLICATION_NAME"), repo.Name) // where the configuration names none
	unreviewed := task.Kind == operation.Apply && known.apply.unreviewed(environment)
	task.Targets = known.config.Targets(task.Environment, application, roots)
	for i, target := range task.Targets {
		from := claimed[target.Target.Root]
		target.Expected, target.Data, target.Protected, target.Approved = from.Expected, from.Data, from.Protected, from.Approved
		target.Lineage, target.Serial = from.Lineage, from.Serial
		if unreviewed {
			target.Expected, target.Data = nil, nil // nil: nothing was reviewed
		}
		task.Targets[i] = target
	}
	task.Died = "" // no other job's directory is here
	task.Stateful, task.Mask = known.config.Risk.Stateful, known.config.Mask
	if task.Kind == operation.Apply {
		task.Binding, task.Block = environment.Binding, known.config.Risk.Block
		if unreviewed {
			task.Binding = operation.BindStrict
			p.note("notice", known.apply.whose(*task, environment))
		}
	}
	if err := p.tree(ctx, task, mirror); err != nil {
		return err
	}
	var err error
	if task.Env, err = terraformEnv(p.Env, p.All); err != nil {
		return err
	}
	modules, err := p.Modules(ctx, *task, known.config.Modules)
	if err != nil {
		return err
	}
	task.GitDir, task.WorkDir, task.CacheDir = mirror.Dir(repo), filepath.Join(p.dir(), "work"), ""
	return p.Equip(ctx, task, known.config.Terraform, mirror, modules)
}

// filesOf are the files of a directory of a tree, by name.
func filesOf(ctx context.Context, mirror Contents, repo operation.Repository, tree, dir string) (map[string][]byte, error) {
	names, err := mirror.Files(ctx, repo, tree, dir)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what was read
	}
	files := map[string][]byte{}
	for _, name := range names {
		if !strings.HasSuffix(name, ".tf") && !strings.HasSuffix(name, ".tofu") && !strings.HasSuffix(name, ".json") {
			continue
		}
		data, _, err := mirror.ReadFile(ctx, repo, tree, path.Join(dir, name))
		if err != nil {
			return nil, err //nolint:wrapcheck // says what was read
		}
		files[name] = data
	}
	return files, nil
}

// tree makes or finds the tree that Terraform runs on, and has its files.
func (p Parts) tree(ctx context.Context, task *operation.Task, mirror Mirrors) error {
	repo, claimed := p.Machine.Repository, task.Tree
	if task.Kind != operation.Plan || task.Job.Base == "" {
		tree, err := mirror.Tree(ctx, repo, task.Commit)
		if err != nil {
			return fmt.Errorf("find the tree of %s: %w", short(task.Commit), err)
		}
		task.Tree = tree
	} else {
		merge, err := mirror.Merge(ctx, repo, task.Job.Base, task.Commit)
		if err != nil {
			return fmt.Errorf("merge %s into %s: %w", short(task.Commit), short(task.Job.Base), err)
		}
		task.Tree = merge.Tree
	}
	if task.Tree != claimed {
		return fmt.Errorf("the files of %s are another tree here (%s) than at the server (%s)",
			short(task.Commit), short(task.Tree), short(claimed))
	}
	if err := mirror.Prefetch(ctx, repo, task.Tree); err != nil {
		return fmt.Errorf("fetch the files of %s: %w", short(task.Commit), err)
	}
	return nil
}

// terraform finds the program, or downloads it.
func (p Parts) terraform(ctx context.Context, task *operation.Task, configured repoconfig.Terraform) error {
	want := terraform.Want{Binary: configured.Binary, Version: configured.Version, InstallDir: filepath.Join(p.dir(), "tools")}
	if want.Version == "" {
		want.Version = p.Env.input(inputTerraform)
	}
	path, err := p.Find(ctx, want)
	if err != nil {
		return err
	}
	task.Terraform = operation.TerraformTask{Path: path, Version: want.Version}
	return nil
}

// standBack ends a run whose operation another run works on. It leaves no result, so the operation does not see it. The job of an apply
// fails all the same: else GitHub would record that it deployed, and a later one would take the commit for applied.
func (p Parts) standBack(task operation.Task, other *otherRunError) error {
	p.note("notice", "Another run works on this operation, "+other.run.URL+", so this one does nothing.")
	if err := p.outputs(map[string]string{"result": "skipped", "changed": "false"}); err != nil {
		return err
	}
	if task.Kind.Exclusive() {
		return ErrOtherRun
	}
	return nil
}

// leave writes the result, the outputs and the summary of the step.
func (p Parts) leave(task operation.Task, number int, result operation.Result) error {
	dir, err := p.resultDir()
	if err != nil {
		return err
	}
	data, err := json.Marshal(result)
	if err != nil {
		return fmt.Errorf("encode result: %w", err)
	}
	name := filepath.Join(dir, operation.ResultFile)
	// The next step may run as somebody else: a container's user is root.
	if err := os.WriteFile(name, data, 0o644); err != nil { //nolint:gosec // it holds nothing secret
		return fmt.Errorf("write result: %w", err)
	}
	summary, err := p.summary(task, result, dir)
	if err != nil {
		return err
	}
	said := outputsOf(task, result)
	said["unsaved-artifact"] = p.moveUnsaved(dir, result)
	said["result-path"], said["summary-path"], said["artifact"] = name, summary, operation.ArtifactName(task, number)
	if task.Launch == "" { // no server waits for it
		said["artifact"] = ""
	}
	if err := p.outputs(said); err != nil {
		return err
	}
	if !endedWell(task, result) {
		p.note("error", failureOf(task, result))
		return ErrNotDone
	}
	return nil
}
