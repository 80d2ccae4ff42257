package job

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
)

func TestATaskInTheInputsIsReadAsItWasWritten(t *testing.T) {
	t.Parallel()
	got, err := readTask(environ(t, applyTask(), nil))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(applyTask(), got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestBadTasksAreRefused(t *testing.T) {
	t.Parallel()
	good, err := json.Marshal(applyTask())
	if err != nil {
		t.Fatal(err)
	}
	edited := func(from, to string) []byte {
		if !bytes.Contains(good, []byte(from)) {
			t.Fatalf("the task has no %s", from)
		}
		return bytes.Replace(good, []byte(from), []byte(to), 1)
	}
	other := applyTask()
	other.Version++
	future, err := json.Marshal(other)
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ task, want string }{
		"no task":                {"", "input task is empty"},
		"no base64":              {"%%%", "illegal base64"},
		"no gzip":                {"aGVsbG8gd29ybGQsIGhlbGxv", "invalid header"},
		"a cut archive":          {zipped(t, good)[:200], "unexpected EOF"},
		"a bomb":                 {zipped(t, make([]byte, maxTask+1)), "larger than 67108864 bytes"},
		"a too long input":       {strings.Repeat("A", maxTaskInput+1), "longer than 1048576 characters"},
		"an unknown key":         {zipped(t, edited(`"operation":5`, `"operation":5,"shell":"rm"`)), `unknown field "shell"`},
		"a doubled key":          {zipped(t, edited(`"kind":"apply"`, `"kind":"plan","kind":"apply"`)), "with each key once"},
		"a key in large letters": {zipped(t, edited(`"commit"`, `"Commit"`)), "with each key once"},
		"something behind it":    {zipped(t, append(bytes.Clone(good), []byte(`{"version":1}`)...)), "nothing behind it"},
		"two archives":           {packed(t, applyTask()) + packed(t, applyTask()), "illegal base64"},
		"a later version":        {zipped(t, future), "version 2; this action knows version 1"},
		"no job":                 {zipped(t, edited(`"job":{`, `"job":null,"x":{`)), "unknown field"},
		"a number for a name":    {zipped(t, edited(`"kind":"apply"`, `"kind":7`)), "cannot unmarshal"},
		"nothing but an array":   {zipped(t, []byte("[]")), "cannot unmarshal"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readTask(environ(t, applyTask(), map[string]string{"INPUT_TASK": c.task}))
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("it gives %v, not %q", err, c.want)
			}
			if err != nil && len(err.Error()) > 500 {
				t.Errorf("the error has %d characters", len(err.Error()))
			}
		})
	}
}

func TestInputsThatDifferFromTheTaskAreRefused(t *testing.T) {
	t.Parallel()
	for name, value := range map[string]string{
		"command": "plan", "environment": "dev", "protection": "dev", "operation": "5.3", "launch": "launche", "sha": stray, "digest": "7f3a",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := readTask(environ(t, applyTask(), map[string]string{"INPUT_" + strings.ToUpper(name): value}))
			if err == nil || !strings.Contains(err.Error(), "input "+name+" is") {
				t.Errorf("it gives %v", err)
			}
		})
	}
}

func TestAJobOfManyDoesItsOwnRoots(t *testing.T) {
	t.Parallel()
	task := applyTask()
	task.Kind = operation.Plan
	task.Targets = append(task.Targets, operation.TargetTask{Target: operation.Target{Root: "dns", Environment: "prod"}})
	task.Job.Shards = [][]string{{"infra"}, {"dns"}}
	apply := task
	apply.Kind = operation.Apply
	foreign := task
	job := *task.Job
	job.Shards = [][]string{{"infra", "../evil"}}
	foreign.Job = &job
	for name, c := range map[string]struct {
		number string
		task   operation.Task
		roots  []string
		want   string
	}{
		"the second job":                       {"1", task, []string{"dns"}, ""},
		"without a number it is the first":     {"", task, []string{"infra"}, ""},
		"a number that is none":                {"x", task, nil, "not a number"},
		"a job too many":                       {"2", task, nil, "the task has 2 of them"},
		"a negative number":                    {"-1", task, nil, "the task has 2 of them"},
		"an apply is not divided":              {"0", apply, nil, "must not be divided"},
		"a root that is not one of the task's": {"0", foreign, nil, "is not one of the task's"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, roots, err := shard(environ(t, c.task, map[string]string{"INPUT_SHARD": c.number}), c.task)
			if diff := cmp.Diff(c.roots, roots); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("it gives %v, not %q", err, c.want)
			}
		})
	}
}

func TestWhatAnAppDispatchesNeverWorksAlone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"a run with a task":                             {map[string]string{"INPUT_TASK": "x"}, true},
		"a run that an App dispatched without a task":   {map[string]string{"GITHUB_ACTOR": "switchyard[bot]", "GITHUB_EVENT_NAME": "workflow_dispatch"}, true},
		"a run that a workflow dispatched for a person": {map[string]string{"GITHUB_ACTOR": "github-actions[bot]", "GITHUB_EVENT_NAME": "workflow_dispatch"}, false},
		"a run that a person dispatched":                {map[string]string{"GITHUB_ACTOR": "ana", "GITHUB_EVENT_NAME": "workflow_dispatch"}, false},
		"a pull request of a bot":                       {map[string]string{"GITHUB_ACTOR": "renovate[bot]", "GITHUB_EVENT_NAME": "pull_request"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := IsDispatched(lookup(c.env)); got != c.want {
				t.Errorf("it gives %v", got)
			}
		})
	}
}

func lookup(values map[string]string) Environ {
	return func(name string) (string, bool) {
		value, ok := values[name]
		return value, ok
	}
}

func FuzzReadTask(f *testing.F) {
	data, err := json.Marshal(applyTask())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(zipped(f, data))
	f.Add("H4sIAAAAAAAA")
	f.Fuzz(func(t *testing.T, text string) {
		task, err := readTask(lookup(map[string]string{"INPUT_TASK": text}))
		if err == nil && task.Job == nil {
			t.Error("a task without a job is taken")
		}
	})
}
