package actions_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

// interrupted is what waiting for the world's run gives where its result must not be taken.
func (w *world) interrupted(t *testing.T) *executor.InterruptedError {
	t.Helper()
	result, err := w.start(t).Wait(t.Context())
	found, ok := errors.AsType[*executor.InterruptedError](err)
	if !ok {
		t.Fatalf("it gives %+v, %v", result, err)
	}
	return found
}

func TestTheResultOfAnotherRunIsNotTaken(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(r *hub.Run){
		"of another id":                              func(r *hub.Run) { r.ID = 8 },
		"of another workflow file":                   func(r *hub.Run) { r.Path = ".github/workflows/evil.yml" },
		"of a file of the same name elsewhere":       func(r *hub.Run) { r.Path = "x/.github/workflows/switchyard.yml" },
		"on another branch":                          func(r *hub.Run) { r.Branch = "feature/x" },
		"on a branch that looks like ours":           func(r *hub.Run) { r.Branch = "refs/heads/main" },
		"by another event":                           func(r *hub.Run) { r.Event = "push" },
		"started by a person":                        func(r *hub.Run) { r.Actor.Login, r.Triggering.Login = "ana", "ana" },
		"started again by a person weeks later":      func(r *hub.Run) { r.Triggering.Login, r.Attempt = "ana", 2 },
		"started again by an App with the same name": func(r *hub.Run) { r.Attempt = 2 },
		"of somebody who calls himself like the App": func(r *hub.Run) { r.Actor.Login, r.Triggering.Login = "switchyard", "switchyard" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(operation.Apply)
			w.shows(change)
			if found := w.interrupted(t); found.Untouched || !strings.Contains(found.Reason, "not taken") {
				t.Errorf("it gives %+v", found)
			}
		})
	}
	t.Run("whose commit is another one than at first", func(t *testing.T) {
		t.Parallel()
		bubble(t, func(t *testing.T, w *world) {
			w.shows(func(r *hub.Run) { r.Status = hub.RunQueued })
			run := w.start(t)
			done := make(chan error, 1)
			go func() { _, err := run.Wait(t.Context()); done <- err }()
			pass(time.Minute)
			w.shows(func(r *hub.Run) { r.SHA = strings.Repeat("1", 40) })
			if err := <-done; err == nil || !strings.Contains(err.Error(), "commit is another one") {
				t.Errorf("it gives %v", err)
			}
		})
	})
	t.Run("that applied another commit than the one of its branch", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Apply)
		w.shows(func(r *hub.Run) { r.SHA = strings.Repeat("1", 40) })
		if found := w.interrupted(t); !strings.Contains(found.Reason, "branch had moved") {
			t.Errorf("it gives %+v", found)
		}
	})
	t.Run("but what a job says that refused because the branch had moved", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Apply)
		w.shows(func(r *hub.Run) { r.SHA = strings.Repeat("1", 40) })
		refused := resultOf(w.task, 0)
		refused.Targets, refused.Error = nil, "The branch had moved."
		w.leave(0, refused)
		if result, err := w.start(t).Wait(t.Context()); err != nil || result.Error != refused.Error {
			t.Errorf("it gives %+v, %v", result, err)
		}
	})
}

func TestAnArchiveThatNoRunnerMakesIsNotTaken(t *testing.T) {
	t.Parallel()
	ordinary, err := json.Marshal(resultOf(taskOf(operation.Apply), 0))
	if err != nil {
		t.Fatal(err)
	}
	lying := archive(file{"result.json", ordinary, 0o644})
	// The uncompressed size in the central directory is the second of two that are equal.
	if at := bytes.LastIndex(lying, []byte("PK\x01\x02")); at > 0 {
		lying[at+24]++
	}
	for name, c := range map[string]struct {
		data []byte
		want string
	}{
		"no archive":                   {[]byte("hello"), "no archive"},
		"an empty one":                 {archive(), "0 files"},
		"two files":                    {archive(file{"result.json", ordinary, 0o644}, file{"x", nil, 0o644}), "2 files"},
		"the same name twice":          {archive(file{"result.json", ordinary, 0o644}, file{"result.json", ordinary, 0o644}), "2 files"},
		"a name that leads elsewhere":  {archive(file{"../../result.json", ordinary, 0o644}), "not `result.json`"},
		"an absolute name":             {archive(file{"/result.json", ordinary, 0o644}), "not `result.json`"},
		"a name with a backslash":      {archive(file{`..\result.json`, ordinary, 0o644}), "not `result.json`"},
		"a symbolic link":              {archive(file{"result.json", []byte("/etc/passwd"), fs.ModeSymlink | 0o777}), "no ordinary file"},
		"a directory":                  {archive(file{"result.json/", nil, fs.ModeDir | 0o755}), "not `result.json`"},
		"a bomb":                       {archive(file{"result.json", bytes.Repeat([]byte(" "), 8<<20), 0o644}), "compressed more"},
		"a large file":                 {archive(file{"result.json", bytes.Repeat([]byte(" "), 10<<20), 0o644}), "at most"},
		"a size that is not true":      {lying, "damaged"},
		"an archive that is too large": {bytes.Repeat([]byte("x"), 11<<20), "at most"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(operation.Apply)
			w.leaveArchive(0, c.data)
			if found := w.interrupted(t); !strings.Contains(found.Reason, c.want) {
				t.Errorf("it gives %q, not %q", found.Reason, c.want)
			}
		})
	}
	t.Run("two artifacts of one name", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Apply)
		w.artifacts = append(w.artifacts, w.artifacts[0])
		if found := w.interrupted(t); !strings.Contains(found.Reason, "there are 2") {
			t.Errorf("it gives %q", found.Reason)
		}
	})
	t.Run("one of another attempt beside it is not looked at", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Apply)
		w.artifacts = append(w.artifacts, hub.Artifact{ID: 1, Name: "switchyard-5.1-0"}, hub.Artifact{ID: 2, Name: "logs"})
		if _, err := w.start(t).Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("one that says in its list that it is small", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Apply)
		w.leaveArchive(0, bytes.Repeat([]byte("x"), 11<<20))
		w.artifacts[0].Size = 1
		if found := w.interrupted(t); !strings.Contains(found.Reason, "too large") {
			t.Errorf("it gives %q", found.Reason)
		}
	})
}

func TestAResultThatContradictsItselfOrItsTaskIsNotTaken(t *testing.T) {
	t.Parallel()
	many := make([]operation.Change, 6000)
	for i := range many {
		many[i] = operation.Change{Address: "a", Action: operation.Create}
	}
	for name, c := range map[string]struct {
		kind   operation.Kind
		change func(r *operation.Result)
		want   string
	}{
		"another version":     {operation.Apply, func(r *operation.Result) { r.Version = 2 }, "version 2"},
		"another operation":   {operation.Apply, func(r *operation.Result) { r.Operation = 4 }, "operation 4"},
		"an earlier attempt":  {operation.Apply, func(r *operation.Result) { r.Attempt = 1 }, "attempt 1"},
		"another start":       {operation.Apply, func(r *operation.Result) { r.Launch = "x" }, "another start"},
		"another commit":      {operation.Apply, func(r *operation.Result) { r.Commit = strings.Repeat("1", 40) }, "of commit"},
		"a wrong end":         {operation.Apply, func(r *operation.Result) { r.Stopped = "aliens" }, "aliens"},
		"an end before it":    {operation.Apply, func(r *operation.Result) { r.Ended = r.Started.Add(-time.Hour) }, "before it began"},
		"a foreign target":    {operation.Apply, func(r *operation.Result) { r.Targets[0].Target.Root = "c" }, "not asked for"},
		"another environment": {operation.Apply, func(r *operation.Result) { r.Targets[0].Target.Environment = "dev" }, "not asked for"},
		"a doubled target":    {operation.Apply, func(r *operation.Result) { r.Targets[1] = r.Targets[0] }, "twice"},
		"a missing target":    {operation.Apply, func(r *operation.Result) { r.Targets = r.Targets[:1] }, "1 of 2"},
		"an outcome that does not exist": {
			operation.Apply, func(r *operation.Result) { r.Targets[0].Outcome = "perfect" }, "perfect",
		},
		"a plan that says that it applied": {
			operation.Plan, func(r *operation.Result) { r.Targets[0].Outcome = operation.Applied }, "cannot be `applied`",
		},
		"a plan that took time for applying": {
			operation.Plan, func(r *operation.Result) { r.Targets[0].Timings.Apply = 1 }, "applies nothing",
		},
		"a plan that asks something": {operation.Plan, func(r *operation.Result) { r.Question = "x" }, "asks nothing"},
		"a time below nothing":       {operation.Apply, func(r *operation.Result) { r.Targets[0].Timings.Init = -1 }, "below 0"},
		"an action that does not exist": {
			operation.Apply, func(r *operation.Result) {
				r.Targets[0].Unexpected = []operation.Change{{Address: "a", Action: "explode"}}
			}, "explode",
		},
		"wrong counts":   {operation.Apply, func(r *operation.Result) { r.Targets[0].ChangeSet.Counts.Destroy = 9 }, "counts"},
		"a wrong digest": {operation.Apply, func(r *operation.Result) { r.Targets[0].ChangeSet.Digest = strings.Repeat("0", 64) }, "digest"},
		"no digest":      {operation.Apply, func(r *operation.Result) { r.Targets[0].ChangeSet.Digest = "" }, "digest"},
		"fewer than no changes left out": {
			operation.Apply, func(r *operation.Result) { r.Targets[0].ChangeSet.Omitted = -1 }, "below 0",
		},
		"fewer changes than it has": {
			operation.Apply, func(r *operation.Result) {
				r.Targets[0].ChangeSet.Omitted, r.Targets[0].ChangeSet.Counts = 3, operation.Counts{}
			}, "fewer",
		},
		"too many changes": {operation.Apply, func(r *operation.Result) { r.Targets[0].Drift = many }, "6000 entries"},
		"too long a text":  {operation.Apply, func(r *operation.Result) { r.Targets[0].Error = strings.Repeat("x", 70_000) }, "70000 bytes"},
		"too long a value": {
			operation.Apply, func(r *operation.Result) {
				value, _ := json.Marshal(strings.Repeat("x", 70_000))
				r.Targets[0].Drift = []operation.Change{{Address: "a", Action: operation.Update, Attributes: []operation.Attribute{{Path: "p", After: value}}}}
			}, "entries",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(c.kind)
			result := resultOf(w.task, 0)
			c.change(&result)
			w.leave(0, result)
			if found := w.interrupted(t); !strings.Contains(found.Reason, c.want) {
				t.Errorf("it gives %q, not %q", found.Reason, c.want)
			}
		})
	}
	t.Run("a whole lock file is taken", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Plan)
		result := resultOf(w.task, 0)
		result.Targets[0].LockFile = &operation.LockFile{Text: hashes(256 << 10)}
		w.leave(0, result)
		if _, err := w.start(t).Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
	t.Run("a capped set of changes is taken", func(t *testing.T) {
		t.Parallel()
		w := newWorld(operation.Plan)
		result := resultOf(w.task, 0)
		var all []operation.Change
		for _, address := range []string{"a", "b", "c"} {
			all = append(all, operation.Change{Address: address, Action: operation.Create})
		}
		result.Targets[0].ChangeSet = plan.Cap(operation.ChangeSet{Changes: all, Digest: plan.Digest(all), Counts: plan.Count(all)}, 2)
		w.leave(0, result)
		if _, err := w.start(t).Wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// hashes is a text of that many bytes that compresses as badly as a lock file does.
func hashes(size int) string {
	var text strings.Builder
	for i := 0; text.Len() < size; i++ {
		sum := sha256.Sum256([]byte{byte(i), byte(i >> 8)})
		text.WriteString(hex.EncodeToString(sum[:]) + "\n")
	}
	return text.String()[:size]
}

func TestJSONThatNoRunnerWritesIsNotTaken(t *testing.T) {
	t.Parallel()
	ordinary, err := json.Marshal(resultOf(taskOf(operation.Apply), 0))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ text, want string }{
		"an unknown field":       {strings.Replace(string(ordinary), "{", `{"approved":true,`, 1), "unknown field"},
		"an unknown field below": {strings.Replace(string(ordinary), `"outcome"`, `"trusted":1,"outcome"`, 1), "unknown field"},
		"a second document":      {string(ordinary) + "{}", "follows"},
		"nothing":                {"", "form"},
		"a list":                 {"[]", "form"},
		"deep nesting":           {strings.Repeat(`[`, 20_000), "form"},
		"not UTF-8":              {strings.Replace(string(ordinary), "terraform", "\xff", 1), "UTF-8"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(operation.Apply)
			w.leaveArchive(0, archive(file{"result.json", []byte(c.text), 0o644}))
			if found := w.interrupted(t); !strings.Contains(found.Reason, c.want) {
				t.Errorf("it gives %q, not %q", found.Reason, c.want)
			}
		})
	}
}

func TestTheResultsOfSeveralJobsAreOneInTheOrderOfTheConfiguration(t *testing.T) {
	t.Parallel()
	newSharded := func() *world {
		w := newWorld(operation.Plan)
		w.task.Job.Shards = [][]string{{"b"}, {"a"}}
		w.leave(0, resultOf(w.task, 0))
		w.leave(1, resultOf(w.task, 1))
		return w
	}
	t.Run("all of them", func(t *testing.T) {
		t.Parallel()
		w := newSharded()
		result, err := w.start(t).Wait(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		first, second := resultOf(w.task, 0), resultOf(w.task, 1)
		want := first
		want.Targets = append(second.Targets, first.Targets...) //nolint:gocritic // a comes before b
		want.Ended = second.Ended
		if diff := cmp.Diff(want, result); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
	})
	t.Run("a job of a plan that left none fails its roots alone", func(t *testing.T) {
		t.Parallel()
		w := newSharded()
		w.artifacts = w.artifacts[:1]
		result, err := w.start(t).Wait(t.Context())
		if err != nil || len(result.Targets) != 2 || result.Targets[0].Outcome != operation.TargetFailed ||
			result.Targets[1].Outcome != operation.Planned || !strings.Contains(result.Targets[0].Error, "left none") {
			t.Errorf("it gives %+v, %v", result, err)
		}
	})
	t.Run("a job that tells of another one's root is not believed", func(t *testing.T) {
		t.Parallel()
		w := newSharded()
		w.leave(0, resultOf(w.task, 1))
		result, err := w.start(t).Wait(t.Context())
		if err != nil || result.Targets[1].Outcome != operation.TargetFailed || !strings.Contains(result.Targets[1].Error, "not asked for") {
			t.Errorf("it gives %+v, %v", result, err)
		}
	})
	t.Run("none of them", func(t *testing.T) {
		t.Parallel()
		w := newSharded()
		w.artifacts = nil
		if found := w.interrupted(t); found.Untouched || !strings.Contains(found.Reason, "left no result") {
			t.Errorf("it gives %+v", found)
		}
	})
}
