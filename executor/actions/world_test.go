package actions_test

import (
	"archive/zip"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/executor/actions"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

const (
	bot    = "switchyard[bot]"
	commit = "c0ffee0000000000000000000000000000000000"
	launch = "5d1b7a30-0000-4000-8000-000000000000"
)

// github is GitHub as far as the executor sees it.
type github struct {
	mu        sync.Mutex
	effects   []string // what it was asked to do, and how often it was looked at
	dispatch  func(d hub.Dispatch) (hub.Dispatched, error)
	run       func() (hub.Run, error)
	listed    []hub.Run
	jobs      []hub.WorkflowJob
	artifacts []hub.Artifact
	archives  map[int64][]byte
	cancelled func(force bool) error
	others    map[int64]hub.Run // beside run 7; they left nothing, and no job of them began
}

func (g *github) Dispatch(_ context.Context, repo operation.Repository, d hub.Dispatch) (hub.Dispatched, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notef("dispatch %s of %s at %s", d.Workflow, repo.FullName(), d.Ref)
	return g.dispatch(d)
}

func (g *github) RunsNamed(_ context.Context, _ operation.Repository, workflow, name string, _ time.Time) ([]hub.Run, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notef("list runs of %s", workflow)
	return slices.DeleteFunc(slices.Clone(g.listed), func(r hub.Run) bool { return r.Name != name }), nil
}

func (g *github) Run(_ context.Context, _ operation.Repository, id int64) (hub.Run, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notef("look at run %d", id)
	if other, known := g.others[id]; known {
		return other, nil
	}
	return g.run()
}

func (g *github) FirstJobs(_ context.Context, _ operation.Repository, run int64) ([]hub.WorkflowJob, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, other := g.others[run]; other {
		return []hub.WorkflowJob{{Name: "apply", Status: hub.RunQueued}}, nil
	}
	return slices.Clone(g.jobs), nil
}

func (g *github) Artifacts(_ context.Context, _ operation.Repository, run int64) ([]hub.Artifact, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if _, other := g.others[run]; other {
		return nil, nil
	}
	return slices.Clone(g.artifacts), nil
}

func (g *github) DownloadArtifact(_ context.Context, _ operation.Repository, id, limit int64) ([]byte, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	archive, ok := g.archives[id]
	if !ok {
		return nil, &hub.Gone{What: "the artifact"}
	}
	if int64(len(archive)) > limit {
		return nil, &hub.NeedsPerson{What: "The artifact is too large.", Remedy: "Look."}
	}
	return archive, nil
}

func (g *github) CancelRun(ctx context.Context, _ operation.Repository, id int64, force bool) error {
	if err := ctx.Err(); err != nil {
		return err //nolint:wrapcheck // as it is
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.notef("cancel run %d, by force: %v", id, force)
	return g.cancelled(force)
}

func (g *github) BotLogin(context.Context) (string, error) { return bot, nil }

func (g *github) notef(format string, args ...any) {
	g.effects = append(g.effects, fmt.Sprintf(format, args...))
}

// asked lists what GitHub was asked.
func (g *github) asked() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.effects)
}

// set changes what GitHub knows.
func (g *github) set(change func(g *github)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	change(g)
}

var errMoved = errors.New("it is not kept as it was read")

// rows keep runs in memory.
type rows struct {
	mu   sync.Mutex
	kept map[string]operation.WorkflowRun
	said []string
}

func key(id int64, attempt int, launch string) string { return fmt.Sprint(id, attempt, launch) }

func (r *rows) AskForRun(_ context.Context, run operation.WorkflowRun) (operation.WorkflowRun, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key(run.Task.Operation, run.Task.Attempt, run.Task.Launch)
	if _, there := r.kept[k]; there {
		return run, executor.ErrStarted
	}
	run.At = time.Now()
	r.kept[k] = run
	return run, nil
}

func (r *rows) AskForRunAgain(_ context.Context, run operation.WorkflowRun) (operation.WorkflowRun, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key(run.Task.Operation, run.Task.Attempt, run.Task.Launch)
	if kept, there := r.kept[k]; !there || kept.Run != 0 {
		return run, errMoved
	}
	run.At = time.Now()
	r.kept[k] = run
	return run, nil
}

func (r *rows) Now(context.Context) (time.Time, error) { return time.Now(), nil }

func (r *rows) SaveRun(_ context.Context, run operation.WorkflowRun) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key(run.Task.Operation, run.Task.Attempt, run.Task.Launch)
	if _, there := r.kept[k]; !there {
		return executor.ErrUnknown
	}
	if run.Said != "" && run.Said != r.kept[k].Said {
		r.said = append(r.said, run.Said)
	}
	run.Hint = r.kept[k].Hint
	r.kept[k] = run
	return nil
}

func (r *rows) ForgetRun(_ context.Context, run operation.WorkflowRun) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	k := key(run.Task.Operation, run.Task.Attempt, run.Task.Launch)
	if kept := r.kept[k]; kept.Run != 0 || !kept.At.Equal(run.At) {
		return errMoved
	}
	delete(r.kept, k)
	return nil
}

func (r *rows) Run(_ context.Context, id int64, attempt int, launch string) (operation.WorkflowRun, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	run, ok := r.kept[key(id, attempt, launch)]
	if !ok {
		return run, executor.ErrUnknown
	}
	return run, nil
}

func (r *rows) hint() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for k, run := range r.kept {
		run.Hint++
		r.kept[k] = run
	}
}

func (r *rows) words() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.said)
}

// lose forgets all, as another server does that found no run.
func (r *rows) lose() {
	r.mu.Lock()
	defer r.mu.Unlock()
	clear(r.kept)
}

func (r *rows) empty() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.kept) == 0
}

// world is an executor on a GitHub that has made run 7 and shows it as completed, with the result that an operation should have.
type world struct {
	*github

	rows *rows
	exec *actions.Actions
	task operation.Task
}

// bubble runs a test in time of its own.
func bubble(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newWorld(operation.Apply)) })
}

// pass lets time pass in a bubble: nobody waits for it.
func pass(d time.Duration) { time.Sleep(d) } //nolint:forbidigo // the clock of a bubble is held

func newWorld(kind operation.Kind) *world {
	w := &world{rows: &rows{kept: map[string]operation.WorkflowRun{}}, task: taskOf(kind)}
	w.github = &github{
		dispatch: func(hub.Dispatch) (hub.Dispatched, error) {
			return hub.Dispatched{Run: 7, URL: "https://github.com/r/7"}, nil
		},
		archives:  map[int64][]byte{},
		cancelled: func(bool) error { return nil },
		jobs:      []hub.WorkflowJob{{Name: "apply", Status: hub.RunCompleted, Began: true}},
	}
	w.run = func() (hub.Run, error) { return w.completed(), nil }
	w.leave(0, resultOf(w.task, 0))
	w.exec = actions.New(actions.Options{GitHub: w.github, Rows: w.rows, Log: zerolog.Nop()})
	return w
}

func taskOf(kind operation.Kind) operation.Task {
	task := operation.Task{
		Version: operation.ContractVersion, Operation: 5, Attempt: 2, Launch: launch, Kind: kind, Commit: commit, Tree: commit,
		Repository: operation.Repository{ID: 1, Installation: 2, Owner: "acme", Name: "network"}, Environment: "prod",
		GitDir: "/secret/mirror", WorkDir: "/secret/work", Env: map[string]string{"ARM_CLIENT_SECRET": "hunter2"},
		Job: &operation.Job{
			Workflow: "switchyard.yml", Ref: "main", Environment: "prod", Branch: "main", Shards: [][]string{{"a", "b"}},
			Machines: [][]string{{"self-hosted", "westeurope"}},
		},
	}
	for _, root := range []string{"a", "b"} {
		task.Targets = append(task.Targets, operation.TargetTask{Target: operation.Target{Root: root, Environment: "prod"}, Dir: root})
	}
	if kind == operation.Plan {
		task.Job.Ref, task.Job.Environment = "switchyard/plans", "prod-plan"
	}
	return task
}

// completed is run 7 as it should be.
func (w *world) completed() hub.Run {
	return hub.Run{
		ID: 7, Name: operation.RunName(w.task), Path: ".github/workflows/switchyard.yml", Event: "workflow_dispatch", Branch: w.task.Job.Ref,
		SHA: commit, Attempt: 1, Status: hub.RunCompleted, Conclusion: "success", URL: "https://github.com/r/7",
		Actor: hub.Account{Login: bot}, Triggering: hub.Account{Login: bot},
	}
}

// shows has GitHub show a run that is changed.
func (w *world) shows(change func(r *hub.Run)) {
	w.set(func(g *github) {
		g.run = func() (hub.Run, error) {
			run := w.completed()
			change(&run)
			return run, nil
		}
	})
}

// resultOf is what the job of a shard leaves.
func resultOf(task operation.Task, shard int) operation.Result {
	began := time.Date(2026, 11, 21, 12, shard, 0, 0, time.UTC)
	result := operation.Result{
		Version: operation.ContractVersion, Operation: task.Operation, Attempt: task.Attempt, Launch: task.Launch, Commit: task.Commit,
		Tools: []operation.Tool{{Name: "terraform", Version: "1.11.4"}}, Started: began, Ended: began.Add(time.Minute),
	}
	for _, target := range task.Targets {
		if !slices.Contains(task.Job.Shards[shard], target.Target.Root) {
			continue
		}
		changes := []operation.Change{{Address: "terraform_data." + target.Target.Root, Action: operation.Create}}
		outcome := operation.Planned
		timings := operation.Timings{Plan: time.Second}
		if task.Kind == operation.Apply {
			outcome, timings.Apply = operation.Applied, time.Second
		}
		result.Targets = append(result.Targets, operation.TargetResult{
			Target: target.Target, Outcome: outcome, Timings: timings, Serial: 3, Lineage: "l",
			ChangeSet: operation.ChangeSet{Changes: changes, Digest: plan.Digest(changes), Counts: plan.Count(changes)},
		})
	}
	return result
}

// leave has the run leave the result of a shard.
func (w *world) leave(shard int, result operation.Result) {
	data, err := json.Marshal(result)
	if err != nil {
		panic(err)
	}
	w.leaveArchive(shard, archive(file{"result.json", data, 0o644}))
}

func (w *world) leaveArchive(shard int, data []byte) {
	w.set(func(g *github) {
		id := int64(100 + shard)
		name := operation.ArtifactName(w.task, shard)
		g.artifacts = slices.DeleteFunc(g.artifacts, func(a hub.Artifact) bool { return a.Name == name })
		g.artifacts = append(g.artifacts, hub.Artifact{ID: id, Name: name, Size: int64(len(data))})
		g.archives[id] = data
	})
}

type file struct {
	name string
	data []byte
	mode fs.FileMode
}

func archive(files ...file) []byte {
	var buffer bytes.Buffer
	writer := zip.NewWriter(&buffer)
	for _, f := range files {
		header := &zip.FileHeader{Name: f.name, Method: zip.Deflate}
		header.SetMode(f.mode)
		entry, err := writer.CreateHeader(header)
		if err == nil {
			_, err = entry.Write(f.data)
		}
		if err != nil {
			panic(err)
		}
	}
	if err := writer.Close(); err != nil {
		panic(err)
	}
	return buffer.Bytes()
}

// start starts the world's task.
func (w *world) start(t *testing.T) executor.Run {
	t.Helper()
	run, err := w.exec.Start(t.Context(), w.task)
	if err != nil {
		t.Fatalf("start: %v", err)
	}
	return run
}
