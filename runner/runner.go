// Package runner does one operation on one machine: it checks out a tree, runs init and plan for each target, and for
// an apply compares the plans with what was reviewed and applies exactly these plan files. It also looks at the locks of
// states, and breaks one where it is told to. `switchyard run` calls it,
// under every executor. It always leaves a result, decides nothing that the server decides, talks to no service but
// through Terraform, and never applies a target when any target of the task has a change without a name.
package runner

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/jonboulle/clockwork"
	"golang.org/x/sync/errgroup"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/platform"
	"github.com/switchyard-dev/switchyard/terraform"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// Why a runner was stopped; the words are those of Result.Stopped.
var (
	ErrCancelled = errors.New("cancelled")
	ErrTimeLimit = errors.New("time limit")
)

// Main is `switchyard run`: it reads the task from a file, runs it until it is done or SIGINT or SIGTERM arrives, and writes
// the result to another file. out gets one line of JSON per step. The error says that no result could be written.
func Main(ctx context.Context, taskFile, resultFile string, out io.Writer) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	defer signal.Stop(signals)
	unprotect, err := Protect()
	if err != nil {
		return err
	}
	defer unprotect()
	go func() {
		select {
		case <-signals:
			cancel(ErrCancelled)
		case <-ctx.Done():
		}
	}()
	task, err := readTask(taskFile)
	if err != nil {
		now := clockwork.NewRealClock().Now()
		return writeResult(resultFile, operation.Result{
			Version: operation.ContractVersion, Error: "Nothing was begun: " + err.Error(), Started: now, Ended: now,
		})
	}
	return writeResult(resultFile, Run(ctx, task, out))
}

// Protect keeps what runs in this process from what it will start, and from whoever reads its output and goes away. It is to be called
// before Run by whoever has the process to itself. The result takes back what can be taken back.
func Protect() (func(), error) {
	platform.KeepToOurselves()
	broken := make(chan os.Signal, 1)
	signal.Notify(broken, syscall.SIGPIPE) // who reads our progress may go away: that must not end us
	if err := confine.HideProcess(); err != nil {
		signal.Stop(broken)
		return nil, fmt.Errorf("hide this process from what it starts: %w", err)
	}
	spread := staySmall()
	return func() { signal.Stop(broken); spread() }, nil
}

// softMemory is how much memory this process takes before it collects what it does not need any more as soon as it can, in bytes.
// It stands beside Terraform, which needs a multiple of it for a plan that is large enough to matter here. What is needed is never
// refused. https://go.dev/doc/gc-guide#Memory_limit
const softMemory = 160 << 20

// staySmall makes softMemory the limit, unless GOMEMLIMIT says another. The result takes it back.
func staySmall() func() {
	if debug.SetMemoryLimit(-1) != math.MaxInt64 {
		return func() {}
	}
	before := debug.SetMemoryLimit(softMemory)
	return func() { debug.SetMemoryLimit(before) }
}

// Run does one task. When ctx ends, Terraform is asked to stop and releases its lock; the result says how far it came.
func Run(ctx context.Context, task operation.Task, out io.Writer) operation.Result {
	return RunConfirmed(ctx, task, out, nil)
}

// RunConfirmed is Run for who can be told until the last moment that nothing may be changed: confirm is called when all targets are
// planned and nothing speaks against it, just before each is applied, and just before a lock is broken. Its error is why that is not
// done; once one is applied, operation.ErrNoAnswer is no reason any more. It may be nil.
func RunConfirmed(ctx context.Context, task operation.Task, out io.Writer, confirm func(context.Context) error) operation.Result {
	return run(ctx, task, out, confirm, clockwork.NewRealClock())
}

// job is one task while it runs.
type job struct {
	task     operation.Task
	clock    clockwork.Clock
	confirm  func(context.Context) error // nil: nobody is asked
	progress *progress
	work     *workDir
	tree     *os.Root
	path     string // PATH of the programs that are started
	tool     terraform.Tool
	asked    bool // the binary was asked for its version
	keepTree bool // a state that could not be saved is still in the tree
	mask     mask
}

// run is Run with a clock. Whatever goes wrong, there is a result.
func run(ctx context.Context, task operation.Task, out io.Writer, confirm func(context.Context) error, clock clockwork.Clock,
) (result operation.Result) {
	result = operation.Result{
		Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch,
		Commit: task.Commit, Started: clock.Now(),
	}
	j := &job{
		task: task, clock: clock, confirm: confirm, mask: newMask(task.Mask),
		progress: &progress{out: out, clock: clock, task: task},
	}
	defer func() {
		if fault := recover(); fault != nil {
			result.Error = faultText(fault)
		}
		result.Error = j.tidy(result.Error)
		for i := range result.Targets {
			result.Targets[i].Error = j.tidy(result.Targets[i].Error)
			for k, note := range result.Targets[i].Notes {
				result.Targets[i].Notes[k] = j.tidy(note)
			}
			j.tidyLock(&result.Targets[i])
		}
		result.Ended = clock.Now()
	}()
	if err := errors.Join(validate(task), confine.Require(task.Isolation.Missing)); err != nil {
		result.Error = "Nothing was begun: " + err.Error()
		return result
	}
	if task.TimeLimit > 0 {
		limited, cancel := context.WithTimeoutCause(ctx, task.TimeLimit, ErrTimeLimit)
		defer cancel()
		ctx = limited
	}
	err := j.do(ctx, &result)
	switch {
	case err != nil && ctx.Err() != nil:
		result.Targets = stoppedBefore(task)
		result.Stopped = stopWord(ctx)
	case err != nil:
		result.Error = "Nothing was begun: " + err.Error()
	case ctx.Err() != nil && anyStopped(result.Targets):
		result.Stopped = stopWord(ctx)
	}
	return result
}

// do prepares the work directory, does the task and removes what must not stay. An error means that no target was begun.
func (j *job) do(ctx context.Context, result *operation.Result) (err error) {
	if j.work, err = openWorkDir(ctx, j.task.WorkDir); err != nil {
		return err
	}
	temp, err := os.MkdirTemp("", "switchyard-") // short: sockets of providers are made in it
	if err != nil {
		return errors.Join(fmt.Errorf("make temporary directory: %w", err), j.work.unlock())
	}
	defer func() {
		cleaned := errors.Join(j.clean(), os.RemoveAll(temp), j.work.unlock())
		if cleaned != nil && err == nil && len(result.Targets) == 0 {
			err = cleaned
		}
	}()
	if err := j.prepare(ctx, temp); err != nil {
		return err
	}
	defer func() { _ = j.tree.Close() }() // only read from
	planned := j.doAll(ctx)
	result.Tools = tools(planned, j.task.Terraform.Path)
	for _, target := range planned {
		result.Targets = append(result.Targets, target.result)
	}
	if j.task.Kind == operation.Apply {
		result.Question = j.apply(ctx, planned, result.Targets)
	}
	if j.asked {
		result.Targets[0].Processes++
	}
	return nil
}

// prepare makes everything that all targets share: directories, environment, checkout.
func (j *job) prepare(ctx context.Context, temp string) error {
	if err := j.startClean(); err != nil {
		return err
	}
	j.path = j.task.Env["PATH"]
	if j.path == "" {
		j.path = os.Getenv("PATH")
	}
	env, err := terraform.Environ(terraform.Environment{
		Path: j.path, Home: j.work.path("home"), Temp: temp, ConfigFile: j.work.configFile(),
		Extra: platform.WithGitTrust(j.task.Env), // init has git fetch modules
	})
	if err != nil {
		return fmt.Errorf("make Terraform's environment: %w", err)
	}
	j.tool = terraform.Tool{Path: j.task.Terraform.Path, Env: env, StopGrace: j.task.StopGrace}
	for _, name := range slices.Sorted(maps.Keys(j.task.InitEnv)) {
		j.tool.InitEnv = append(j.tool.InitEnv, name+"="+j.task.InitEnv[name])
	}
	group, groupCtx := errgroup.WithContext(ctx)
	group.Go(func() error { return j.checkVersion(groupCtx) })
	group.Go(func() error {
		_, err := j.progress.step(nil, StepCheckout, func() error {
			return j.work.checkOut(groupCtx, j.task.GitDir, j.task.Tree, j.path)
		})
		return err
	})
	if err := group.Wait(); err != nil {
		return err //nolint:wrapcheck // ours
	}
	if j.tree, err = os.OpenRoot(j.work.tree()); err != nil {
		return fmt.Errorf("open the tree: %w", err)
	}
	j.tool.Confine = j.confinement(temp) // from here on, code of the repository runs
	return nil
}

// startClean removes what earlier runs left: all of it but before a plan, plan files in any case.
func (j *job) startClean() error {
	remove := j.work.sweep
	if j.task.Kind != operation.Plan { // what plans have left may be their code's work
		remove = j.work.clear
	}
	if err := remove(); err != nil {
		return err
	}
	return j.work.makeDirs()
}

// clean removes what nobody needs afterwards. Only plans use a directory again.
func (j *job) clean() error {
	if j.task.Kind != operation.Plan && !j.keepTree {
		return j.work.clear()
	}
	return j.work.sweep()
}

// checkVersion compares the binary with the version that the task requires. Without a requirement no process is started:
// plan files name the version.
func (j *job) checkVersion(ctx context.Context) error {
	if j.task.Terraform.Version == "" {
		return nil
	}
	version, err := j.tool.Version(ctx)
	if err != nil {
		return fmt.Errorf("ask %s for its version: %w", j.tool.Path, err)
	}
	if version != strings.TrimPrefix(j.task.Terraform.Version, "v") {
		return fmt.Errorf("%s is version %s, but the configuration requires %s: install that version, or change `terraform.version`",
			j.tool.Path, version, j.task.Terraform.Version)
	}
	j.asked = true
	return nil
}

// doAll does for all targets beside each other, as many at a time as there are cores, what comes first for an operation of this kind,
// and gives them in their order.
func (j *job) doAll(ctx context.Context) []planned {
	do := map[operation.Kind]func(context.Context, operation.TargetTask, *planned){
		operation.ExplainLock: j.lookTarget, operation.BreakLease: j.breakTarget,
	}[j.task.Kind]
	if do == nil {
		do = j.planTarget
	}
	all := make([]planned, len(j.task.Targets))
	var group errgroup.Group
	group.SetLimit(max(1, runtime.GOMAXPROCS(0)))
	for i, target := range j.task.Targets {
		group.Go(func() error {
			defer func() {
				if fault := recover(); fault != nil {
					all[i].result.Target = target.Target
					all[i].result.Outcome = operation.TargetFailed
					all[i].result.Error = faultText(fault)
				}
			}()
			do(ctx, target, &all[i])
			return nil
		})
	}
	_ = group.Wait() // no function returns an error
	return all
}

// stoppedBefore gives a result for targets that were not begun.
func stoppedBefore(task operation.Task) []operation.TargetResult {
	results := make([]operation.TargetResult, 0, len(task.Targets))
	for _, target := range task.Targets {
		results = append(results, operation.TargetResult{
			Target: target.Target, Outcome: operation.TargetStopped, Error: "Stopped before it was begun.",
		})
	}
	return results
}

// stopWord is why the context ended, as Result.Stopped says it.
func stopWord(ctx context.Context) string {
	if errors.Is(context.Cause(ctx), ErrTimeLimit) {
		return ErrTimeLimit.Error()
	}
	return ErrCancelled.Error()
}

// anyStopped reports whether a target was stopped.
func anyStopped(results []operation.TargetResult) bool {
	for _, result := range results {
		if result.Outcome == operation.TargetStopped {
			return true
		}
	}
	return false
}

// leastSecret is the length from which the value of an allow-listed variable is taken out of texts.
const leastSecret = 6

// tidy makes an error fit for a result: plain text, without values of Terraform's environment and without paths of this machine.
func (j *job) tidy(text string) string {
	text = terraform.Clean(text)
	for name, value := range j.task.Env {
		if name != "PATH" && len(value) >= leastSecret {
			text = strings.ReplaceAll(text, value, "("+name+")")
		}
	}
	if j.work != nil {
		text = strings.ReplaceAll(text, j.work.tree()+string(filepath.Separator), "")
	}
	return clip(j.mask.text(text), MaxError)
}

// tidyLock does so for what was found out about a lock.
func (j *job) tidyLock(result *operation.TargetResult) {
	found := []*operation.StateLock{result.Found}
	if broken := result.Broken; broken != nil {
		broken.Problem, broken.NoCopy, broken.Untried = j.tidy(broken.Problem), j.tidy(broken.NoCopy), j.tidy(broken.Untried)
		found = append(found, broken.Now)
	}
	for _, lock := range found {
		if lock == nil {
			continue
		}
		for i, note := range lock.Notes {
			lock.Notes[i] = j.tidy(note)
		}
	}
}

// faultText describes a fault of ours, with the place where it happened.
func faultText(fault any) string {
	return fmt.Sprintf("A fault in Switchyard itself: %v\n%s", fault, clip(string(debug.Stack()), MaxError/2)) //nolint:mnd // half of it
}
