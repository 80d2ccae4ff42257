package runner

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/platform"
	"github.com/switchyard-dev/switchyard/statelock"
	"github.com/switchyard-dev/switchyard/terraform"
)

// Bounds of looking at a lock and of breaking it.
const (
	lookLimit  = time.Minute
	metLimit   = 10 * time.Second // of looking at a lock that an apply met: it is reported in any case
	breakLimit = 5 * time.Minute
	breakGrace = 5 * time.Second // to end what was begun when the task is stopped: GitHub ends a job 10 seconds after the word
	retryEvery = 2 * time.Second // how often something is tried that Terraform does not wait for a lock with
	maxDied    = 20              // states of a dead apply that are looked at
)

// lookTarget finds out what there is to know about the lock of one target. It takes none and changes nothing.
func (j *job) lookTarget(ctx context.Context, task operation.TargetTask, p *planned) {
	p.result.Target = task.Target
	store, err := j.openTarget(ctx, task, p)
	if p.root != nil {
		p.result.Processes = p.root.Processes()
	}
	if err != nil {
		failed(&p.result, err)
		return
	}
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	_, err = j.progress.step(&task.Target, StepLook, func() error {
		found, err := j.inspect(limited, task, store)
		p.result.Found = found
		return err
	})
	if err != nil {
		p.result.Found = nil
		failed(&p.result, err)
		return
	}
	p.result.Outcome, p.result.Lineage, p.result.Serial = operation.Looked, p.result.Found.Lineage, p.result.Found.Serial
}

// openTarget does init for a target and opens the store of the backend that init has noted, before any code of the repository runs.
func (j *job) openTarget(ctx context.Context, task operation.TargetTask, p *planned) (statelock.Lock, error) {
	if ctx.Err() != nil {
		return nil, context.Cause(ctx) //nolint:wrapcheck // ours
	}
	key, err := j.place(task, p)
	if err != nil {
		return nil, err
	}
	if j.task.Kind == operation.ExplainLock {
		if store, is := j.absent(ctx, task); is {
			return store, nil
		}
	}
	// Init notes the backend before it reads the state, which fails where that is empty and locked, and before it asks for providers.
	initErr := j.initBackend(ctx, task, p)
	p.uninit = true
	noted, ok, err := j.noted(key)
	if !ok && err == nil && ctx.Err() == nil { // there is none, or this program notes it later
		initErr = j.initWhole(ctx, task, p)
		p.uninit = initErr != nil
		noted, ok, err = j.noted(key)
	}
	switch {
	case ctx.Err() != nil:
		return nil, cmp.Or(initErr, context.Cause(ctx)) //nolint:wrapcheck // ours
	case initErr != nil && !ok:
		return nil, j.denied(ctx, task, initErr)
	case err != nil:
		return nil, err
	case !ok:
		return nil, errors.New("this root has no backend, so nothing outlives a run that could be locked: add a backend block, " +
			"https://developer.hashicorp.com/terraform/language/backend")
	}
	p.backend = noted
	return j.openLock(ctx, p)
}

// absent reports whether a state is not there, and gives what says so: init would write an empty one, or fail without a container. That is
// known beforehand where task and configuration say in so many words where the state is.
func (j *job) absent(ctx context.Context, task operation.TargetTask) (statelock.Lock, bool) {
	store, found, err := j.given(ctx, task)
	return store, err == nil && found.Missing != ""
}

// given looks at the state by the settings of the task and of the backend block, before init has put them together: the task's go before,
// as they do for init. Only Azure's is asked: an init of the http backend notes it without asking anything.
func (j *job) given(ctx context.Context, task operation.TargetTask) (statelock.Lock, operation.StateLock, error) {
	block, err := terraform.ReadBackend(terraform.TreeReader(j.tree), task.Dir)
	if err != nil {
		return nil, operation.StateLock{}, fmt.Errorf("read which backend it is: %w", err)
	}
	config := map[string]any{}
	maps.Copy(config, block.Settings)
	for name, value := range task.Backend {
		config[name] = value
	}
	for _, name := range []string{"storage_account_name", "container_name", "key"} {
		if value, _ := config[name].(string); block.Type != statelock.Azurerm || value == "" {
			return nil, operation.StateLock{}, errors.New("it is not said where the state is")
		}
	}
	for name, value := range config {
		if value == nil { // it may say as who it is asked
			return nil, operation.StateLock{}, fmt.Errorf("the backend's %s has to be worked out", name)
		}
	}
	limited, cancel := context.WithTimeout(ctx, metLimit)
	defer cancel()
	store, err := statelock.Open(limited, block.Type, config, j.task.Env)
	if err != nil {
		return nil, operation.StateLock{}, err //nolint:wrapcheck // a sentence for people
	}
	found, err := store.Inspect(limited)
	return store, found, err //nolint:wrapcheck // says what is missing
}

// denied is the error of an init, or, where that failed because the storage account lets the identity do nothing, which role is missing:
// Terraform does not say.
func (j *job) denied(ctx context.Context, task operation.TargetTask, initErr error) error {
	exit, ok := errors.AsType[*terraform.Error](initErr)
	if !ok || !strings.Contains(exit.Output, "403") {
		return initErr
	}
	_, _, err := j.given(ctx, task)
	if denied, is := errors.AsType[*statelock.Denied](err); is {
		return denied
	}
	return initErr
}

// openLock opens what has the state of a target.
func (j *job) openLock(ctx context.Context, p *planned) (statelock.Lock, error) {
	config := p.backend.Config
	if state, _ := config["path"].(string); p.backend.Type == statelock.Local && !filepath.IsAbs(state) {
		config = map[string]any{"path": filepath.Join(p.dir, cmp.Or(state, "terraform.tfstate"))}
	}
	return statelock.Open(ctx, p.backend.Type, config, j.task.Env) //nolint:wrapcheck // a sentence for people
}

// inspect looks at a lock, and for states beside it that an apply could not save.
func (j *job) inspect(ctx context.Context, task operation.TargetTask, store statelock.Lock) (*operation.StateLock, error) {
	found, err := store.Inspect(ctx)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what is missing
	}
	found.Errored = append(found.Errored, j.died(task, found)...)
	return &found, nil
}

// met notes what there is to know about a lock that an apply met, where that can be told.
func (j *job) met(ctx context.Context, task operation.TargetTask, p *planned, result *operation.TargetResult) {
	if result.Outcome != operation.Locked || (p.backend.Type != statelock.Azurerm && p.backend.Type != statelock.HTTP) {
		return
	}
	limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), metLimit)
	defer cancel()
	store, err := j.openLock(limited, p)
	if err != nil {
		return // Terraform has said that it is locked
	}
	found, err := j.inspect(limited, task, store)
	if err != nil {
		return
	}
	result.Found = found
	if found.Lease != operation.LeaseHeld || found.Info == nil {
		return
	}
	if result.Lock == nil || result.Lock.ID == "" || result.Lock.ID == found.Info.ID {
		holder := *found.Info
		result.Lock = &holder // Terraform does not always tell all of it
	}
}

// breakTarget breaks the lock of one target, exactly the one that the task names, and finds out what the apply has left that held it.
func (j *job) breakTarget(ctx context.Context, task operation.TargetTask, p *planned) {
	p.result.Target = task.Target
	defer func() {
		if p.root != nil {
			p.result.Processes = p.root.Processes()
		}
	}()
	store, err := j.openTarget(ctx, task, p)
	if err == nil && j.confirm != nil {
		if err := j.confirm(ctx); err != nil {
			p.result.Outcome, p.result.Error = operation.TargetStopped, "Nothing was done to the lock: "+err.Error()
			return
		}
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		failed(&p.result, err)
		return
	}
	finishing, cancel := graceful(ctx)
	defer cancel()
	var broken operation.Broken
	_, err = j.progress.step(&task.Target, StepBreak, func() (err error) {
		broken, err = store.Break(finishing, *j.task.Lock)
		return err //nolint:wrapcheck // says which step failed
	})
	p.result.Broken = &broken
	switch {
	case errors.Is(err, statelock.ErrOther):
		p.result.Outcome = operation.OtherLock
		p.result.Error = "The lock is not the one any more that was explained: nothing was done to it."
	case err != nil && broken.How == operation.ReleasedNot:
		failed(&p.result, err)
		broken.Problem = p.result.Error
		if ctx.Err() != nil {
			p.result.Outcome = operation.TargetStopped
		}
	default:
		if err != nil {
			broken.Problem = err.Error()
		}
		j.aftermath(ctx, task, p, store)
		p.result.Outcome = operation.Released
	}
}

// graceful is a context that outlives ctx by breakGrace: what was begun is ended, as half of it helps nobody.
func graceful(ctx context.Context) (context.Context, context.CancelFunc) {
	finishing, cancel := context.WithTimeout(context.WithoutCancel(ctx), breakLimit)
	stop := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(breakGrace)
		defer timer.Stop()
		select {
		case <-timer.C:
			cancel()
		case <-finishing.Done():
		}
	})
	return finishing, func() { stop(); cancel() }
}

// aftermath finds out what is there now that a lock is free: the state, what differs in the world from it, and what an interrupted
// apply has not done. That this fails makes the release no failure.
func (j *job) aftermath(ctx context.Context, task operation.TargetTask, p *planned, store statelock.Lock) {
	broken := p.result.Broken
	problem := func(err error) {
		if err == nil || broken.Problem != "" {
			return
		}
		var said operation.TargetResult
		failed(&said, err)
		broken.Problem = said.Error
	}
	limited, cancel := context.WithTimeout(ctx, lookLimit)
	defer cancel()
	if now, err := j.inspect(limited, task, store); err == nil {
		broken.Now = now
		p.result.Lineage, p.result.Serial = now.Lineage, now.Serial
	}
	var drift []operation.Change
	var err error
	if p.uninit {
		err = j.initWhole(ctx, task, p)
	}
	if err == nil {
		drift, err = j.refresh(ctx, task, p)
	}
	if err == nil {
		err = j.plan(ctx, task, p)
	}
	if err == nil {
		err = j.read(ctx, task, p)
	}
	if err != nil {
		p.result.ChangeSet, p.result.Risks = operation.ChangeSet{}, nil
		problem(err)
	}
	p.result.Drift = drift
	if err == nil && task.Expected != nil {
		broken.Made, broken.Left = leftOf(*task.Expected, p.result.ChangeSet)
	}
}

// initBackend does so much of init as a look at the backend needs: it takes no time and no network but the backend's.
func (j *job) initBackend(ctx context.Context, task operation.TargetTask, p *planned) error {
	none := j.work.path("home", "no-providers")
	if err := os.MkdirAll(none, privateDir); err != nil {
		return fmt.Errorf("make an empty directory: %w", err)
	}
	if err := j.work.remove(filepath.Join("data", targetKey(task.Target), "terraform.tfstate")); err != nil {
		return err
	}
	took, err := j.progress.step(&task.Target, StepInit, func() error { return p.root.InitBackend(ctx, task.Backend, none) })
	p.result.Timings.Init += took
	return err
}

// initWhole does all of init, as plans need it.
func (j *job) initWhole(ctx context.Context, task operation.TargetTask, p *planned) error {
	if err := j.work.remove(filepath.Join("data", targetKey(task.Target), "plugin_path")); err != nil { // of initBackend
		return err
	}
	setup := initialization{job: j, task: task, planned: p, key: targetKey(task.Target)}
	if _, err := setup.skip(ctx); err != nil {
		return err
	}
	return setup.run(ctx)
}

// refresh plans with -refresh-only, without the lock, and gives what differs in the world from the state.
func (j *job) refresh(ctx context.Context, task operation.TargetTask, p *planned) ([]operation.Change, error) {
	options, err := j.planOptions(ctx, task)
	if err != nil {
		return nil, err
	}
	options.Out, options.RefreshOnly = p.planFile, true
	took, err := j.progress.step(&task.Target, StepPlan, func() error { return p.root.Plan(ctx, options) })
	p.result.Timings.Plan += took
	if err != nil {
		return nil, err
	}
	var read plan.Plan
	took, err = j.progress.step(&task.Target, StepShow, func() error {
		return p.root.Show(ctx, p.planFile, func(r io.Reader) (err error) {
			read, err = plan.Read(r, j.readOptions(task))
			return err //nolint:wrapcheck // the caller says what was read
		})
	})
	p.result.Timings.Show += took
	return read.Drift, err
}

// leftOf tells which of what an apply was to do a plan still has, and which it has not: addresses, sorted. What only reads, and outputs,
// are no part of it. Where the plan is cut, what it does not show may be in it.
func leftOf(expected, now operation.ChangeSet) (made, left []string) {
	there := map[string]bool{}
	for _, change := range now.Changes {
		there[change.Address] = true
	}
	for _, change := range expected.Changes {
		switch {
		case change.Action == operation.Output, change.Action == operation.Read:
		case there[change.Address]:
			left = append(left, change.Address)
		case now.Omitted == 0:
			made = append(made, change.Address)
		}
	}
	slices.Sort(made)
	slices.Sort(left)
	return slices.Compact(made), slices.Compact(left)
}

// whileLocked does what meets a lock for which Terraform itself does not wait again, until the time for locks is over: init waits for
// none, and a plan only for locks that have a description. Neither changes anything, so both can be repeated. Only an apply waits.
func (j *job) whileLocked(ctx context.Context, waitsItself bool, do func(left time.Duration) error) error {
	until := j.clock.Now().Add(j.task.LockTimeout)
	left := j.task.LockTimeout
	for {
		err := do(left)
		exit, ok := errors.AsType[*terraform.Error](err)
		left = until.Sub(j.clock.Now())
		if j.task.Kind != operation.Apply || !ok || exit.Stopped != nil || exit.Lock == nil || left <= 0 || waitsItself && exit.Lock.ID != "" {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx) //nolint:wrapcheck // ours
		case <-j.clock.After(min(retryEvery, left)):
		}
		left = max(0, until.Sub(j.clock.Now()))
	}
}

// died finds the states that the apply could not save which is taken for the lock's holder, in its work directory on this host: where
// Terraform writes such a state, and where a runner keeps one. What is there is nobody's word for anything, so it is only read.
func (j *job) died(task operation.TargetTask, found operation.StateLock) []operation.ErroredState {
	if j.task.Died == "" {
		return nil
	}
	root, err := os.OpenRoot(j.task.Died)
	if err != nil {
		return nil // it was removed, as that of each apply that ends
	}
	defer func() { _ = root.Close() }() // only read from
	kept, _ := fs.Glob(root.FS(), "errored/*-"+targetKey(task.Target)+".tfstate")
	var states []operation.ErroredState
	for _, name := range append([]string{path.Join("tree", task.Dir, erroredState)}, kept...) {
		if state, ok := erroredIn(root, name); ok && len(states) < maxDied {
			state.Place = filepath.Join(j.task.Died, filepath.FromSlash(name))
			statelock.Compare(found, &state, fmt.Sprintf("terraform -chdir=%s state push %s", word(task.Dir), word(state.Place)))
			states = append(states, state)
		}
	}
	return states
}

// erroredIn reads the head of a state that could not be saved.
func erroredIn(root *os.Root, name string) (state operation.ErroredState, ok bool) {
	file, err := root.OpenFile(name, os.O_RDONLY|platform.NonBlock, 0)
	if err != nil {
		return state, false
	}
	defer func() { _ = file.Close() }() // opened for reading
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		return state, false
	}
	state.Modified = info.ModTime().UTC()
	if head, err := terraform.DecodeStateHead(file); err == nil && head.Serial >= 0 {
		state.Lineage, state.Serial = clip(head.Lineage, maxLineage), head.Serial
	}
	return state, true
}

// maxLineage bounds the lineage of a state, in bytes: it is a UUID.
const maxLineage = 64
