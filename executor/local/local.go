// Package local runs operations on this host: each attempt is a `switchyard run` in a session of its own, which goes on
// when the server ends. deploy calls it. It never gives an attempt the server's environment and never starts one twice.
//
// All of it is one trust domain: who may open a pull request that is planned runs code on this host, as this user.
package local

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sync/semaphore"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/platform"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// Bounds of what is read back from an attempt, in bytes.
const (
	maxResult  = 32 << 20
	maxLogTail = 4 << 10
)

// Files in the directory of an attempt.
const (
	taskFile   = "task.json"
	resultFile = "result.json"
	logFile    = "log"
	aliveFile  = "alive" // locked by the runner while it lives; has the identity of its session
)

// How long an attempt may take beyond its own limits before it is taken for dead and killed.
const overtime = time.Minute

// defaultGrace is what a runner takes for stopping when the task does not say.
const defaultGrace = 30 * time.Second

// Options say how attempts run.
type Options struct {
	Binary  string   // absolute path of switchyard
	Args    []string // before --task; empty is `run`
	Dir     string   // absolute; one directory per attempt is made in it
	Env     []string // the whole environment of a runner, NAME=value; PATH should be there
	Plans   int      // at most so many plans at once; 0 is 4
	Applies int      // at most so many applies at once, whatever plans do; 0 is 4
	Keep    int      // at most so many ended attempts keep their directory; 0 is 100

	Isolation operation.Isolation // given to every task
}

// privateDir is the mode of our directories.
const privateDir = 0o700

// defaultBudget and defaultKeep are the numbers for options that are 0.
const (
	defaultBudget = 4
	defaultKeep   = 100
)

// Local starts runners on this host.
type Local struct {
	options Options
	budgets map[budget]*semaphore.Weighted
}

// New checks the options and makes the directory.
func New(o Options) (*Local, error) {
	if !platform.Sessions {
		return nil, errors.New("the executor local cannot be used on Windows, where a runner would not outlive its server; " +
			"run the server on Linux or macOS, or leave Terraform to workflows (executors: actions)")
	}
	if !filepath.IsAbs(o.Binary) || !filepath.IsAbs(o.Dir) {
		return nil, fmt.Errorf("binary %q and directory %q of the local executor must be absolute paths", o.Binary, o.Dir)
	}
	if err := confine.Require(o.Isolation.Missing); err != nil {
		return nil, err //nolint:wrapcheck // says itself what to do
	}
	for _, path := range slices.Concat(o.Isolation.Read, o.Isolation.Write) {
		if _, err := os.Stat(path); err != nil {
			return nil, fmt.Errorf("%s, which the settings open to Terraform (isolation.read, isolation.write): %w", path, err)
		}
	}
	if len(o.Args) == 0 {
		o.Args = []string{"run"}
	}
	for _, number := range []struct {
		value    *int
		standard int
	}{{&o.Plans, defaultBudget}, {&o.Applies, defaultBudget}, {&o.Keep, defaultKeep}} {
		if *number.value <= 0 {
			*number.value = number.standard
		}
	}
	if err := os.MkdirAll(o.Dir, privateDir); err != nil {
		return nil, fmt.Errorf("make directory of the local executor: %w", err)
	}
	return &Local{options: o, budgets: map[budget]*semaphore.Weighted{
		plans: semaphore.NewWeighted(int64(o.Plans)), applies: semaphore.NewWeighted(int64(o.Applies)),
		looks: semaphore.NewWeighted(defaultBudget),
	}}, nil
}

// budget is what operations have in common that wait for one another's end.
type budget int

// The budgets. Looking at a lock takes seconds, and somebody waits for the answer: it waits for no plans.
const (
	plans budget = iota
	applies
	looks
)

// budgetOf is the budget of operations of a kind.
func budgetOf(kind operation.Kind) budget {
	switch {
	case kind.Exclusive():
		return applies
	case kind == operation.ExplainLock:
		return looks
	default:
		return plans
	}
}

// Start waits for room among the operations of its kind, until ctx ends, and starts a runner, which outlives ctx and
// this process. An attempt that was started before, by whichever process, gives executor.ErrStarted.
func (l *Local) Start(ctx context.Context, task operation.Task) (executor.Run, error) {
	room := l.budgets[budgetOf(task.Kind)]
	if err := room.Acquire(ctx, 1); err != nil {
		return nil, fmt.Errorf("wait for room to run: %w", err)
	}
	r, err := l.start(task) //nolint:contextcheck // the attempt outlives ctx
	if err != nil {
		room.Release(1)
		return nil, err
	}
	go func() {
		defer room.Release(1)
		r.wait()
	}()
	return r, nil
}

// attemptDir is the directory of one attempt. launch is in its name, because numbers of operations are given out once more
// by a database that was restored from a backup.
func (l *Local) attemptDir(operationID int64, attempt int, launch string) string {
	name := fmt.Sprintf("%d-%d", operationID, attempt)
	if launch != "" {
		name += "-" + launch
	}
	return filepath.Join(l.options.Dir, name)
}

// start makes the directory and the process.
func (l *Local) start(task operation.Task) (*process, error) {
	if task.Launch != "" && !filepath.IsLocal(task.Launch) {
		return nil, fmt.Errorf("launch %q of the task cannot be part of a file's name", task.Launch)
	}
	dir := l.attemptDir(task.Operation, task.Attempt, task.Launch)
	l.prune()
	if err := os.Mkdir(dir, privateDir); err != nil {
		if errors.Is(err, os.ErrExist) {
			return nil, fmt.Errorf("operation %d, attempt %d: %w", task.Operation, task.Attempt, executor.ErrStarted)
		}
		return nil, fmt.Errorf("make directory of the attempt: %w", err)
	}
	cmd, err := l.launch(dir, task)
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir)) // nothing ran: it may be started again
	}
	grace := task.StopGrace
	if grace <= 0 {
		grace = defaultGrace
	}
	return &process{
		attempt: attempt{dir: dir, operation: task.Operation, number: task.Attempt, launch: task.Launch},
		task:    task, cmd: cmd, grace: grace, ended: make(chan struct{}), stopped: make(chan struct{}),
	}, nil
}

// launch starts the program. Its output goes straight to a file, and it holds a lock on another, so that neither the end
// of this process nor a restart changes anything for it. It passes the lock on to nothing that it starts: code of a pull
// request could let go of it, or keep it for ever. What the runner leaves behind is found by its session.
func (l *Local) launch(dir string, task operation.Task) (cmd *exec.Cmd, err error) {
	task.Isolation = l.options.Isolation
	data, err := json.Marshal(task)
	if err != nil {
		return nil, fmt.Errorf("encode task: %w", err)
	}
	if err := os.WriteFile(filepath.Join(dir, taskFile), data, 0o600); err != nil {
		return nil, fmt.Errorf("write task: %w", err)
	}
	log, err := os.OpenFile(filepath.Join(dir, logFile), os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, 0o600) //nolint:gosec // ours
	if err != nil {
		return nil, fmt.Errorf("make log: %w", err)
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	alive, err := os.OpenFile(filepath.Join(dir, aliveFile), os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600) //nolint:gosec // ours
	if err != nil {
		return nil, fmt.Errorf("make lock: %w", err)
	}
	defer func() { err = errors.Join(err, alive.Close()) }()
	if err := platform.Lock(alive); err != nil {
		return nil, fmt.Errorf("take lock: %w", err)
	}
	args := append(slices.Clone(l.options.Args), "--task", filepath.Join(dir, taskFile), "--result", filepath.Join(dir, resultFile))
	cmd = exec.CommandContext(context.Background(), l.options.Binary, args...) //nolint:gosec // our own program
	cmd.Dir = dir
	cmd.Env = append([]string{}, l.options.Env...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{alive}
	cmd.SysProcAttr = platform.Session()
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", l.options.Binary, err)
	}
	// It runs already, so that this cannot be written is no reason to say that it does not.
	_, _ = alive.WriteString(identify(cmd.Process.Pid))
	return cmd, nil
}

// prune removes directories of attempts that have ended, the oldest first, when there are too many. What counts is when
// something last happened in one, not its number: an operation that has waited for long is old when it begins, and its
// result must not be gone before it is read.
func (l *Local) prune() {
	entries, err := os.ReadDir(l.options.Dir)
	if err != nil || len(entries) <= l.options.Keep {
		return
	}
	changed := map[string]time.Time{} // a directory that is just being removed by another start is the oldest
	for _, entry := range entries {
		if info, err := entry.Info(); err == nil {
			changed[entry.Name()] = info.ModTime()
		}
	}
	slices.SortFunc(entries, func(a, b os.DirEntry) int {
		return cmp.Or(changed[a.Name()].Compare(changed[b.Name()]), number(a.Name())-number(b.Name()))
	})
	for _, entry := range entries[:len(entries)-l.options.Keep] {
		if dir := filepath.Join(l.options.Dir, entry.Name()); !running(dir) {
			_ = os.RemoveAll(dir) // tried again at the next start
		}
	}
}

// number is the operation that a directory's name begins with.
func number(name string) int {
	id, _, _ := strings.Cut(name, "-")
	n, err := strconv.Atoi(id)
	if err != nil {
		return 0
	}
	return n
}

// running reports whether anything of an attempt is still running: the runner, which holds the lock, or what it has left
// behind in its session, as a rule Terraform.
func running(dir string) bool {
	file, err := os.Open(filepath.Join(dir, aliveFile)) //nolint:gosec // ours
	if err != nil {
		return false
	}
	defer func() { _ = file.Close() }() // opened for reading
	if errors.Is(platform.LockShared(file), platform.ErrLocked) {
		return true
	}
	identity, err := io.ReadAll(io.LimitReader(file, maxIdentity))
	return err == nil && sessionLives(string(identity))
}

// attempt is what an attempt leaves on disk.
type attempt struct {
	dir       string
	operation int64
	number    int
	launch    string
}

// result reads the result; reason is what is known about the end when there is none.
func (a attempt) result(reason string) (operation.Result, error) {
	result, err := a.read()
	if err == nil {
		return result, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		reason += "; " + err.Error()
	}
	return operation.Result{}, &executor.InterruptedError{Reason: reason, Log: a.logTail(), Running: lasting(a.dir)}
}

// How long, and how often, an attempt that has ended is asked whether anything of it is left.
const (
	lastingFor   = time.Second
	lastingEvery = 10 * time.Millisecond
)

// lasting reports whether something of an attempt whose runner has ended goes on running. Another process that this one
// was just starting has a copy of the lock until it executes its program, which on a busy host takes a while.
func lasting(dir string) bool {
	late := time.NewTimer(lastingFor)
	defer late.Stop()
	ticker := time.NewTicker(lastingEvery)
	defer ticker.Stop()
	for running(dir) {
		select {
		case <-late.C:
			return true
		case <-ticker.C:
		}
	}
	return false
}

// read reads and checks the result file.
func (a attempt) read() (result operation.Result, err error) {
	data, err := readBounded(filepath.Join(a.dir, resultFile), maxResult)
	if err != nil {
		return operation.Result{}, err
	}
	if err := json.Unmarshal(data, &result); err != nil {
		return operation.Result{}, fmt.Errorf("decode result: %w", err)
	}
	// A runner that could not read its task knows nothing of it; it has begun nothing.
	nameless := result.Error != "" && result.Operation == 0 && result.Attempt == 0 && result.Launch == "" && len(result.Targets) == 0
	if !nameless && (result.Operation != a.operation || result.Attempt != a.number || result.Launch != a.launch) {
		return operation.Result{}, fmt.Errorf("the result is of operation %d, attempt %d, launch %q",
			result.Operation, result.Attempt, result.Launch)
	}
	return result, nil
}

// readBounded reads a file of at most limit bytes.
func readBounded(path string, limit int64) (data []byte, err error) {
	file, err := os.Open(path) //nolint:gosec // ours
	if err != nil {
		return nil, fmt.Errorf("open: %w", err)
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	data, err = io.ReadAll(io.LimitReader(file, limit+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s is larger than %d bytes", filepath.Base(path), limit)
	}
	return data, nil
}

// logTail is the end of what the runner said.
func (a attempt) logTail() string {
	file, err := os.Open(filepath.Join(a.dir, logFile))
	if err != nil {
		return ""
	}
	defer func() { _ = file.Close() }() // opened for reading
	info, err := file.Stat()
	if err != nil {
		return ""
	}
	from := max(0, info.Size()-maxLogTail)
	data, err := io.ReadAll(io.NewSectionReader(file, from, maxLogTail))
	if err != nil {
		return ""
	}
	return strings.ToValidUTF8(string(data), "�")
}

// process is an attempt that this process started.
type process struct {
	attempt

	task    operation.Task
	cmd     *exec.Cmd
	grace   time.Duration
	ended   chan struct{} // closed when the runner has ended
	reason  string        // how it ended; read after ended
	stop    sync.Once
	stopped chan struct{} // closed when somebody asked it to stop
}

// Wait gives the result, see executor.Run.
func (p *process) Wait(ctx context.Context) (operation.Result, error) {
	select {
	case <-p.ended:
	case <-ctx.Done():
		return operation.Result{}, fmt.Errorf("wait for operation %d: %w", p.operation, context.Cause(ctx))
	}
	result, err := p.result(p.reason)
	var interrupted *executor.InterruptedError
	if errors.As(err, &interrupted) && p.stoppedEarly(interrupted) {
		return neverBegun(p.task), nil
	}
	return result, err
}

// Stop sends SIGINT to the runner's group. Terraform is in another one and hears of it from the runner, once.
func (p *process) Stop() {
	p.stop.Do(func() {
		close(p.stopped)
		select {
		case <-p.ended:
		default:
			_ = platform.SignalGroup(p.cmd.Process.Pid, syscall.SIGINT) // that it is gone is no error
		}
	})
}

// wait waits for the runner's end. One that outlives all its limits is killed with everything that it started.
func (p *process) wait() {
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		p.watch()
	}()
	err := p.cmd.Wait()
	p.reason = "the runner ended without a result"
	if err != nil {
		p.reason = "the runner ended: " + err.Error()
	}
	_ = os.Remove(filepath.Join(p.dir, taskFile)) // it may hold values of Terraform's environment
	close(p.ended)
	<-watched
}

// watch kills an attempt that should long have ended: the runner itself keeps the time limit and the grace.
func (p *process) watch() {
	var late <-chan time.Time
	if p.task.TimeLimit > 0 {
		timer := time.NewTimer(p.task.TimeLimit + p.grace + overtime)
		defer timer.Stop()
		late = timer.C
	}
	select {
	case <-p.ended:
		return
	case <-late:
	case <-p.stopped:
		timer := time.NewTimer(p.grace + overtime)
		defer timer.Stop()
		select {
		case <-p.ended:
			return
		case <-timer.C:
		}
	}
	killSession(p.cmd.Process.Pid)
}

// stoppedEarly reports whether SIGINT came before the runner could listen to it: it says a word before it begins anything.
func (p *process) stoppedEarly(interrupted *executor.InterruptedError) bool {
	select {
	case <-p.stopped:
		return interrupted.Log == "" && !interrupted.Running
	default:
		return false
	}
}

// neverBegun is the result of an attempt that was stopped before it began.
func neverBegun(task operation.Task) operation.Result {
	result := operation.Result{
		Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch,
		Commit: task.Commit, Stopped: "cancelled",
	}
	for _, target := range task.Targets {
		result.Targets = append(result.Targets, operation.TargetResult{
			Target: target.Target, Outcome: operation.TargetStopped, Error: "Stopped before it was begun.",
		})
	}
	return result
}

// maxIdentity bounds what is read of the identity of a session, in bytes.
const maxIdentity = 256

// identify names the session that a runner leads in a way that no later one has: by its number, when its leader began, and
// the boot. Empty where that cannot be told.
func identify(leader int) string {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return fmt.Sprintf("%d %d %s", leader, statOf(leader, startField), strings.TrimSpace(string(boot)))
}

// sessionLives reports whether any process of a session lives. Its number is not given out again before that, and what is
// there afterwards under the same number has another leader.
func sessionLives(identity string) bool {
	var session, began int
	var boot string
	if _, err := fmt.Sscanf(identity, "%d %d %s", &session, &began, &boot); err != nil || session <= 0 {
		return false
	}
	now := identify(session)
	if !strings.HasSuffix(now, " "+boot) {
		return false // the machine was started anew
	}
	if leader := statOf(session, startField); leader != 0 && leader != began {
		return false
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return false
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && sessionOf(pid) == session && !dead(pid) {
			return true
		}
	}
	return false
}

// killSession kills every process of a session, which is all that a runner has started.
func killSession(session int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		_ = platform.SignalGroup(session, syscall.SIGKILL)
		return
	}
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err == nil && sessionOf(pid) == session {
			_ = platform.Kill(pid)
		}
	}
}

// Fields of /proc/PID/stat after the name, counted from 0.
// https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html
const (
	sessionField = 3  // after state, parent and group
	startField   = 19 // in ticks since the boot
)

// sessionOf is the session of a process; 0 when there is no such process.
func sessionOf(pid int) int { return statOf(pid, sessionField) }

// dead reports whether a process has ended and only waits for its parent to notice, or is gone.
func dead(pid int) bool {
	fields := fieldsOf(pid)
	return len(fields) == 0 || fields[0] == "Z" || fields[0] == "X"
}

// statOf reads a number that the kernel tells of a process; 0 when there is no such process.
func statOf(pid, field int) int {
	fields := fieldsOf(pid)
	if len(fields) <= field {
		return 0
	}
	value, err := strconv.Atoi(fields[field])
	if err != nil {
		return 0
	}
	return value
}

func fieldsOf(pid int) []string {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return nil
	}
	return strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
}
