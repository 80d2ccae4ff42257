package runner

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/platform"
	"github.com/switchyard-dev/switchyard/terraform"
)

// planned is a target after its plan.
type planned struct {
	task      operation.TargetTask
	result    operation.TargetResult
	root      *terraform.Root
	dir       string // of the root, absolute
	planFile  string
	backend   backend // apply, and work on locks: as init has noted it
	uninit    bool    // init has only noted the backend
	version   string  // of Terraform
	read      plan.Plan
	providers map[string]string // source address → version
}

// planTarget does init, plan and show for one target.
func (j *job) planTarget(ctx context.Context, task operation.TargetTask, p *planned) {
	p.task, p.result.Target = task, task.Target
	err := j.initAndPlan(ctx, task, p)
	if p.root != nil {
		p.result.Processes = p.root.Processes()
	}
	if err != nil {
		p.result = operation.TargetResult{Target: task.Target, Timings: p.result.Timings, Processes: p.result.Processes}
		failedWith(&p.result, err, j.lockAfterPlan(ctx, p, err))
		j.met(ctx, task, p, &p.result)
	}
}

// lockAfterPlan is lockAfter of the plan of an apply, which has taken the lock, too.
func (j *job) lockAfterPlan(ctx context.Context, p *planned, err error) string {
	if exit, ok := errors.AsType[*terraform.Error](err); !ok || !exit.MayKeepLock() {
		return "" // it had nothing to save, and gave its lock back
	}
	return j.lockAfter(ctx, p, &p.result, err)
}

// failed notes why a target did not come to its end.
func failed(result *operation.TargetResult, err error) { failedWith(result, err, "") }

// failedWith is failed where something is to be said of the state lock.
func failedWith(result *operation.TargetResult, err error, lock string) {
	result.Outcome = operation.TargetFailed
	result.Error = err.Error()
	var exit *terraform.Error
	if !errors.As(err, &exit) {
		if errors.Is(err, ErrCancelled) || errors.Is(err, ErrTimeLimit) ||
			errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
			result.Outcome = operation.TargetStopped
		}
		return
	}
	if exit.Output != "" {
		result.Error = exit.Output
	}
	switch {
	case exit.Stopped != nil:
		result.Outcome = operation.TargetStopped
		result.Error = paragraphs(lock, fmt.Sprintf("Stopped during terraform %s (%v).", exit.Command, exit.Stopped), exit.Output)
	case exit.Lock != nil:
		result.Outcome = operation.Locked
		result.Lock = exit.Lock
	case exit.Killed() != "":
		result.Error = paragraphs(killedWords(exit), lock, exit.Output)
	default:
		result.Error = paragraphs(lock, result.Error)
	}
}

// killedWords say that Terraform was killed by somebody else, and what the reason may be: one sentence a line.
func killedWords(exit *terraform.Error) string {
	signal := exit.Killed()
	text := fmt.Sprintf("Terraform was killed (signal: %s) during terraform %s, and not by Switchyard.", signal, exit.Command)
	if signal == syscall.SIGKILL.String() {
		text += "\nMost often that is the system, because memory ran out: `journalctl -k` on that machine says so.\n" +
			"Then it needs more, or fewer operations at once."
	}
	if exit.Command == "apply" {
		text += "\nWhat it did last may not be in the state."
	}
	return text
}

// paragraphs are texts below each other, without those that are empty.
func paragraphs(parts ...string) string {
	return strings.TrimSpace(strings.Join(slices.DeleteFunc(parts, func(part string) bool { return part == "" }), "\n\n"))
}

// initAndPlan leaves a plan file and its change set, or says why not.
func (j *job) initAndPlan(ctx context.Context, task operation.TargetTask, p *planned) error {
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx) //nolint:wrapcheck // ours
	}
	key, err := j.place(task, p)
	if err != nil {
		return err
	}
	if err := j.planWithInit(ctx, task, p, key); err != nil {
		return err
	}
	return j.read(ctx, task, p)
}

// place says where everything of a target is, and gives the name of what is its own.
func (j *job) place(task operation.TargetTask, p *planned) (key string, err error) {
	dir, err := j.work.rootDir(task.Dir)
	if err != nil {
		return "", err
	}
	key = targetKey(task.Target)
	dataDir, err := filepath.Rel(dir, j.work.path("data", key))
	if err != nil {
		return "", fmt.Errorf("place Terraform's data: %w", err)
	}
	p.dir, p.root, p.planFile = dir, j.tool.Root(dir, dataDir), j.work.path("plans", key+".tfplan")
	return key, nil
}

// planWithInit does init, unless the one of an earlier plan still holds, and plan. When Terraform asks for an init that was
// left out, it gets it.
func (j *job) planWithInit(ctx context.Context, task operation.TargetTask, p *planned, key string) error {
	setup := initialization{job: j, task: task, planned: p, key: key}
	skipped, err := setup.skip(ctx)
	if err != nil {
		return err
	}
	if skipped {
		if err := j.plan(ctx, task, p); !wantsInit(err) {
			return err
		}
	}
	err = j.whileLocked(ctx, false, func(time.Duration) error { return setup.run(ctx) })
	if err != nil {
		p.backend, _, _ = j.noted(key) // to look at the lock that was met, if that was it
		return err
	}
	if j.task.Kind == operation.Apply {
		if p.backend, err = j.stateStays(key, p.dir); err != nil {
			return err
		}
	}
	return j.plan(ctx, task, p)
}

// wantsInit reports whether a plan failed because init must be done, which only Terraform can know for sure.
func wantsInit(err error) bool {
	var exit *terraform.Error
	return errors.As(err, &exit) && exit.Stopped == nil &&
		(strings.Contains(exit.Output, "terraform init") || strings.Contains(exit.Output, "tofu init"))
}

// plan writes the plan file. The plan of an apply takes the state lock: it waits for others, and learns before
// anything is applied that a state is locked. A plan that only shows must work while somebody else applies.
func (j *job) plan(ctx context.Context, task operation.TargetTask, p *planned) error {
	options, err := j.planOptions(ctx, task)
	if err != nil {
		return err
	}
	options.Out = p.planFile
	took, err := j.progress.step(&task.Target, StepPlan, func() error {
		return j.whileLocked(ctx, true, func(left time.Duration) error {
			options.LockTimeout = left
			return p.root.Plan(ctx, options)
		})
	})
	p.result.Timings.Plan += took
	return err
}

// planOptions is what a target is planned with, but for the plan file.
func (j *job) planOptions(ctx context.Context, task operation.TargetTask) (terraform.PlanOptions, error) {
	vars, err := j.variables(ctx, task)
	if err != nil {
		return terraform.PlanOptions{}, err
	}
	return terraform.PlanOptions{
		VarFiles: j.varFiles(task), Vars: vars, Lock: j.task.Kind == operation.Apply, LockTimeout: j.task.LockTimeout,
	}, nil
}

// variables are those that the root declares: Terraform refuses a -var for any other.
func (j *job) variables(ctx context.Context, task operation.TargetTask) (map[string]string, error) {
	declared, err := terraform.Variables(ctx, terraform.TreeReader(j.tree), task.Dir)
	if err != nil {
		return nil, fmt.Errorf("read variables of the root: %w", err)
	}
	vars := map[string]string{}
	for name, value := range task.Vars {
		if slices.Contains(declared, name) {
			vars[name] = value
		}
	}
	return vars, nil
}

// varFiles are those that exist within the tree.
func (j *job) varFiles(task operation.TargetTask) []string {
	var files []string
	for _, file := range task.VarFiles {
		info, err := j.tree.Stat(path.Join(task.Dir, file))
		if err == nil && info.Mode().IsRegular() {
			files = append(files, file)
		}
	}
	return files
}

// read takes change set, lineage and versions from the plan file, and compares with what was reviewed.
func (j *job) read(ctx context.Context, task operation.TargetTask, p *planned) error {
	took, err := j.progress.step(&task.Target, StepShow, func() error {
		return p.root.Show(ctx, p.planFile, func(r io.Reader) (err error) {
			p.read, err = plan.Read(r, j.readOptions(task))
			return err //nolint:wrapcheck // the caller says what was read
		})
	})
	p.result.Timings.Show += took
	if err != nil {
		return err
	}
	p.result.ChangeSet, p.result.Notes = p.read.Set, p.read.Notes
	p.result.Drift, p.result.Data = p.read.Drift, p.read.Data
	head, err := terraform.ReadStateHead(p.planFile)
	if err != nil {
		return fmt.Errorf("read the plan file: %w", err)
	}
	p.result.Lineage, p.result.Serial, p.version = head.Lineage, head.Serial, head.Version
	if lock := j.lockFile(task); len(lock) > 0 {
		p.providers = terraform.LockedProviders(lock)
		if hash := sha256.Sum256(lock); j.task.Kind == operation.Plan {
			p.result.LockFile = &operation.LockFile{Hash: hex.EncodeToString(hash[:]), Text: strings.ToValidUTF8(string(lock), "\uFFFD")}
		}
	}
	p.result.Notes = append(p.result.Notes, j.clockNotes(ctx, task, p.result.ChangeSet.Changes)...)
	p.result.Outcome = operation.Planned
	if len(p.result.ChangeSet.Changes) == 0 {
		p.result.Outcome = operation.Unchanged
	}
	if j.task.Kind == operation.Apply {
		p.result.Notes = append(p.result.Notes, versionNotes(j.task.Reviewed, p, j.task.Terraform.Path)...)
		return j.explain(ctx, task, p)
	}
	if p.result.Risks, err = p.read.Risks(j.task.Stateful, j.lost(ctx, task)); err != nil {
		return fmt.Errorf("find the risks of changes: %w", err)
	}
	return nil
}

// lockFile reads the dependency lock file that a plan was made with. What plan code has put in its place (a link out of
// the tree, a pipe, something endless) is none.
// https://developer.hashicorp.com/terraform/language/files/dependency-lock
func (j *job) lockFile(task operation.TargetTask) []byte {
	file, err := j.tree.OpenFile(path.Join(task.Dir, terraform.LockFile), os.O_RDONLY|platform.NonBlock, 0)
	if err != nil {
		return nil
	}
	defer func() { _ = file.Close() }() // opened for reading
	if info, err := file.Stat(); err != nil || !info.Mode().IsRegular() {
		return nil
	}
	text, err := io.ReadAll(io.LimitReader(file, maxLockFile+1))
	if err != nil || len(text) > maxLockFile {
		return nil
	}
	return text
}

// tools lists the programs that took part, each once.
func tools(all []planned, binary string) []operation.Tool {
	name := "terraform"
	if strings.HasPrefix(filepath.Base(binary), "tofu") {
		name = "tofu"
	}
	var list []operation.Tool
	add := func(tool operation.Tool) {
		if tool.Version != "" && !slices.Contains(list, tool) {
			list = append(list, tool)
		}
	}
	for _, p := range all {
		add(operation.Tool{Name: name, Version: p.version})
	}
	var providers []operation.Tool
	for _, p := range all {
		for source, version := range p.providers {
			providers = append(providers, operation.Tool{Name: source, Version: version})
		}
	}
	slices.SortFunc(providers, func(a, b operation.Tool) int {
		return strings.Compare(a.Name+"\x00"+a.Version, b.Name+"\x00"+b.Version)
	})
	for _, provider := range providers {
		add(provider)
	}
	return list
}
