package local_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/executor/local"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

// The executor's program is this test's binary: what it does is in the task's Commit.
func TestMain(m *testing.M) {
	if len(os.Args) == 6 && os.Args[1] == "run" && os.Args[2] == "--task" && os.Args[4] == "--result" {
		play(os.Args[3], os.Args[5])
	}
	os.Exit(m.Run())
}

// play is the runner.
func play(taskFile, resultFile string) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT)
	data, err := os.ReadFile(taskFile) //nolint:gosec // made by the test
	must(err)
	var task operation.Task
	must(json.Unmarshal(data, &task))
	result := operation.Result{Version: 1, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch}
	fmt.Println("begun")
	must(os.WriteFile(filepath.Join(task.WorkDir, fmt.Sprintf("begun-%d", task.Operation)), nil, 0o600))
	switch task.Commit {
	case "die":
		fmt.Println("a last word")
		must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
	case "orphan":
		syscall.CloseOnExec(3) // as the runner does
		child := exec.CommandContext(context.Background(), "/bin/sleep", "600")
		must(child.Start())
		must(os.WriteFile(filepath.Join(task.WorkDir, "orphan"), []byte(strconv.Itoa(child.Process.Pid)), 0o600))
		must(syscall.Kill(os.Getpid(), syscall.SIGKILL))
	case "environ":
		result.Error = strings.Join(os.Environ(), "\n")
	case "garbage":
		must(os.WriteFile(resultFile, []byte("{"), 0o600))
		os.Exit(0)
	case "another":
		result.Attempt++
	case "another launch":
		result.Launch, result.Error = "of a database that was restored", "Nothing was begun."
	case "wait":
		<-signals
		result.Stopped = "cancelled"
	case "release":
		if !terraformtest.Eventually(func() bool { return terraformtest.Exists(filepath.Join(task.WorkDir, "release")) }) {
			panic("not released")
		}
	case "session":
		pid := os.Getpid()
		session, _, _ := syscall.RawSyscall(syscall.SYS_GETSID, uintptr(pid), 0, 0)
		result.Error = fmt.Sprintf("leads its session: %v, its group: %v", int(session) == pid, syscall.Getpgrp() == pid)
	}
	data, err = json.Marshal(result)
	must(err)
	must(os.WriteFile(resultFile+".new", data, 0o600))
	must(os.Rename(resultFile+".new", resultFile))
	os.Exit(0)
}

func must(err error) {
	if err != nil {
		fmt.Println(err)
		os.Exit(9)
	}
}

type world struct {
	*local.Local

	t       *testing.T
	options local.Options
	work    string
}

func newWorld(t *testing.T, change func(*local.Options)) *world {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, work: t.TempDir()}
	w.options = local.Options{Binary: self, Dir: filepath.Join(t.TempDir(), "attempts"), Env: []string{"PATH=/bin"}}
	if change != nil {
		change(&w.options)
	}
	w.Local, err = local.New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *world) task(id int64, kind operation.Kind, what string) operation.Task {
	return operation.Task{
		Version: 1, Operation: id, Attempt: 1, Launch: "a", Kind: kind, Commit: what, WorkDir: w.work, TimeLimit: time.Minute, StopGrace: time.Minute,
		Targets: []operation.TargetTask{{Target: operation.Target{Root: "a", Environment: "dev"}}},
	}
}

func (w *world) start(id int64, kind operation.Kind, what string) executor.Run {
	w.t.Helper()
	run, err := w.Start(w.t.Context(), w.task(id, kind, what))
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

// begun waits until an operation has begun.
func (w *world) begun(id int64) {
	w.t.Helper()
	name := filepath.Join(w.work, fmt.Sprintf("begun-%d", id))
	if !terraformtest.Eventually(func() bool { return terraformtest.Exists(name) }) {
		w.t.Fatalf("operation %d did not begin", id)
	}
}

func (w *world) release() {
	w.t.Helper()
	if err := os.WriteFile(filepath.Join(w.work, "release"), nil, 0o600); err != nil {
		w.t.Fatal(err)
	}
}

func TestResultIsHandedBack(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	result, err := w.start(5, operation.Plan, "").Wait(t.Context())
	if err != nil || result.Operation != 5 || result.Attempt != 1 {
		t.Errorf("got %+v, %v", result, err)
	}
	if _, err := os.Stat(filepath.Join(w.options.Dir, "5-1-a", "task.json")); !os.IsNotExist(err) {
		t.Error("the task is still there")
	}
}

func TestRunnerHasASessionOfItsOwn(t *testing.T) {
	t.Parallel()
	result, err := newWorld(t, nil).start(5, operation.Plan, "session").Wait(t.Context())
	if err != nil || result.Error != "leads its session: true, its group: true" {
		t.Errorf("got %+v, %v", result, err)
	}
}

func TestRunnerDoesNotGetTheServersEnvironment(t *testing.T) {
	t.Setenv("SWITCHYARD_PRIVATE_KEY", "secret")
	for _, env := range [][]string{{"PATH=/bin", "LANG=C"}, {}, nil} {
		w := newWorld(t, func(o *local.Options) { o.Env = env })
		result, err := w.start(5, operation.Plan, "environ").Wait(t.Context())
		if diff := cmp.Diff(strings.Join(env, "\n"), result.Error); err != nil || diff != "" {
			t.Error(err, diff)
		}
	}
}

func TestAttemptWithoutAResultIsInterrupted(t *testing.T) {
	t.Parallel()
	for what, says := range map[string]string{"die": "signal: killed", "garbage": "decode result", "another": "attempt 2", "another launch": "restored"} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			_, err := newWorld(t, nil).start(5, operation.Apply, what).Wait(t.Context())
			var interrupted *executor.InterruptedError
			if !errors.As(err, &interrupted) || !strings.Contains(interrupted.Reason, says) || interrupted.Running {
				t.Fatalf("got %v", err)
			}
			if what == "die" && interrupted.Log != "begun\na last word\n" {
				t.Errorf("its log is %q", interrupted.Log)
			}
		})
	}
}

func TestTerraformThatOutlivesItsRunnerIsNoticed(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	_, err := w.start(5, operation.Apply, "orphan").Wait(t.Context())
	data, readErr := os.ReadFile(filepath.Join(w.work, "orphan"))
	if readErr != nil {
		t.Fatal(readErr)
	}
	pid, convErr := strconv.Atoi(string(data))
	if convErr != nil {
		t.Fatal(convErr)
	}
	killErr := syscall.Kill(pid, syscall.SIGKILL)
	var interrupted *executor.InterruptedError
	if !errors.As(err, &interrupted) || !interrupted.Running || killErr != nil {
		t.Errorf("got %+v, %v", err, killErr)
	}
}

func TestStop(t *testing.T) {
	t.Parallel()
	t.Run("it is gentle", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, nil)
		run := w.start(5, operation.Apply, "wait")
		w.begun(5)
		run.Stop()
		run.Stop()
		if result, err := run.Wait(t.Context()); err != nil || result.Stopped != "cancelled" {
			t.Errorf("got %+v, %v", result, err)
		}
		run.Stop()
	})
	t.Run("before the runner has begun, nothing was changed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, nil)
		for id := range int64(5) {
			run := w.start(id, operation.Apply, "wait")
			run.Stop()
			result, err := run.Wait(t.Context())
			if err != nil || result.Stopped != "cancelled" || result.Operation != id {
				t.Errorf("got %+v, %v", result, err)
			}
		}
	})
}

func TestWaitMayBeGivenUp(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	run := w.start(5, operation.Apply, "release")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.release()
	if result, err := run.Wait(t.Context()); err != nil || result.Stopped != "" {
		t.Errorf("afterwards: %+v, %v", result, err)
	}
}

func TestAttemptIsStartedOnce(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if _, err := w.start(5, operation.Plan, "").Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	again, err := local.New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	for range 10 { // more often than there is room: a refusal gives its room back
		if _, err := again.Start(t.Context(), w.task(5, operation.Plan, "")); !errors.Is(err, executor.ErrStarted) {
			t.Errorf("got %v", err)
		}
	}
}

func TestPlansNeverStarveAppliesOrWorkOnLocks(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *local.Options) { o.Plans, o.Applies = 1, 1 })
	plan := w.start(1, operation.Plan, "release")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := w.Start(ctx, w.task(2, operation.Plan, "")); !errors.Is(err, context.Canceled) {
		t.Errorf("a second plan: %v", err)
	}
	if _, err := w.start(3, operation.Apply, "").Wait(t.Context()); err != nil {
		t.Errorf("an apply: %v", err)
	}
	for number, kind := range map[int64]operation.Kind{5: operation.ExplainLock, 6: operation.BreakLease} {
		if _, err := w.start(number, kind, "").Wait(t.Context()); err != nil {
			t.Errorf("a %s: %v", kind, err)
		}
	}
	w.release()
	if _, err := plan.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := w.start(4, operation.Plan, "").Wait(t.Context()); err != nil {
		t.Errorf("a plan after the first: %v", err)
	}
}

func TestResume(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	first := w.start(5, operation.Apply, "wait")
	w.begun(5)
	again, err := local.New(w.options) // a server that was started anew
	if err != nil {
		t.Fatal(err)
	}
	run, err := again.Resume(t.Context(), 5, 1, "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("while it runs: %v", err)
	}
	run.Stop()
	if result, err := run.Wait(t.Context()); err != nil || result.Stopped != "cancelled" {
		t.Errorf("got %+v, %v", result, err)
	}
	if _, err := first.Wait(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := again.Resume(t.Context(), 6, 1, "a"); !errors.Is(err, executor.ErrUnknown) {
		t.Errorf("never started: %v", err)
	}
	if _, err := w.start(7, operation.Apply, "die").Wait(t.Context()); err == nil {
		t.Error("the one that died has a result")
	}
	run, err = again.Resume(t.Context(), 7, 1, "a")
	if err != nil {
		t.Fatal(err)
	}
	var interrupted *executor.InterruptedError
	if _, err := run.Wait(t.Context()); !errors.As(err, &interrupted) {
		t.Errorf("one that died: %v", err)
	}
}

func TestWhatWasNeverStartedIsUnknown(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if _, err := w.start(5, operation.Apply, "").Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(w.options.Dir, "6-1-a") // the server was killed before it made the lock
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "task.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, resume := range map[string]func() (executor.Run, error){
		"an attempt without its lock":                        func() (executor.Run, error) { return w.Resume(t.Context(), 6, 1, "a") },
		"another start of the same attempt":                  func() (executor.Run, error) { return w.Resume(t.Context(), 5, 1, "b") },
		"an attempt that was recorded before starts had one": func() (executor.Run, error) { return w.Resume(t.Context(), 5, 1, "") },
		"a name that leads elsewhere":                        func() (executor.Run, error) { return w.Resume(t.Context(), 5, 1, "/../5-1-a") },
	} {
		if _, err := resume(); !errors.Is(err, executor.ErrUnknown) {
			t.Errorf("%s: %v", name, err)
		}
	}
	task := w.task(5, operation.Apply, "")
	task.Launch = "b" // the number was given out once more
	run, err := w.Start(t.Context(), task)
	if err != nil {
		t.Fatal(err)
	}
	if result, err := run.Wait(t.Context()); err != nil || result.Launch != "b" {
		t.Errorf("another start of the same number: %+v, %v", result, err)
	}
	task.Launch = "../c"
	if _, err := w.Start(t.Context(), task); err == nil {
		t.Error("a launch that leads elsewhere was started")
	}
}

// What a runner has left behind is found without a lock that it could let go of, also by a server that was started anew.
func TestWhatARunnerLeftBehindIsWaitedForByALaterServer(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	if _, err := w.start(5, operation.Apply, "orphan").Wait(t.Context()); err == nil {
		t.Fatal("it has a result")
	}
	again, err := local.New(w.options)
	if err != nil {
		t.Fatal(err)
	}
	run, err := again.Resume(t.Context(), 5, 1, "a")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := run.Wait(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("while Terraform runs: %v", err)
	}
	if err := again.Kill(t.Context(), 5, 1, "a"); err != nil {
		t.Fatal(err)
	}
	var interrupted *executor.InterruptedError
	if _, err := run.Wait(t.Context()); !errors.As(err, &interrupted) || interrupted.Running {
		t.Errorf("afterwards: %+v", err)
	}
	if err := again.Kill(t.Context(), 5, 1, "a"); err != nil {
		t.Errorf("to kill what is gone: %v", err)
	}
}

func TestOldAttemptsAreRemoved(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *local.Options) { o.Keep = 2 })
	running := w.start(1, operation.Apply, "release")
	w.begun(1)
	for id := range int64(5) {
		if _, err := w.start(id+8, operation.Plan, "").Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(w.options.Dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	if diff := cmp.Diff([]string{"1-1-a", "10-1-a", "11-1-a", "12-1-a"}, names); diff != "" {
		t.Error(diff)
	}
	w.release()
	if _, err := running.Wait(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestAnAttemptThatEndedLastIsNotTheOldest(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(o *local.Options) { o.Keep = 2 })
	for _, id := range []int64{8, 9, 10, 1, 11} { // 1 had to wait for long
		if _, err := w.start(id, operation.Plan, "").Wait(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := filepath.Glob(filepath.Join(w.options.Dir, "1-1*", "result.json")); err != nil || len(left) != 1 {
		t.Errorf("its result is gone: %v, %v", left, err)
	}
}

func TestALockThatAnotherStartHasForAMomentIsNoSignOfLife(t *testing.T) {
	t.Parallel()
	w := newWorld(t, nil)
	run := w.start(5, operation.Apply, "die")
	left, err := filepath.Glob(filepath.Join(w.options.Dir, "5-1*", "alive"))
	if err != nil || len(left) != 1 {
		t.Fatal(left, err)
	}
	lock, err := os.Open(left[0])
	if err != nil {
		t.Fatal(err)
	}
	if !terraformtest.Eventually(func() bool { return syscall.Flock(int(lock.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil }) {
		t.Fatal("the runner did not die")
	}
	released := time.AfterFunc(100*time.Millisecond, func() { _ = lock.Close() })
	defer released.Stop()
	_, err = run.Wait(t.Context())
	var interrupted *executor.InterruptedError
	if !errors.As(err, &interrupted) || interrupted.Running {
		t.Errorf("got %+v", err)
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]local.Options{
		"a relative binary":    {Binary: "switchyard", Dir: t.TempDir()},
		"a relative directory": {Binary: "/bin/true", Dir: "attempts"},
	} {
		if _, err := local.New(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	w := newWorld(t, func(o *local.Options) { o.Binary = "/nonexistent" })
	if _, err := w.Start(t.Context(), w.task(1, operation.Plan, "")); err == nil {
		t.Error("a binary that is not there was started")
	}
	if _, err := w.Start(t.Context(), w.task(1, operation.Plan, "")); errors.Is(err, executor.ErrStarted) {
		t.Error("an attempt that never ran counts as started")
	}
}
