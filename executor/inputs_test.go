package executor_test

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/executor"
	"github.com/switchyard-dev/switchyard/operation"
)

func task(roots ...string) operation.Task {
	made := operation.Task{
		Version: operation.ContractVersion, Operation: 5, Attempt: 2, Launch: "5d1b7a30-0000-4000-8000-000000000000",
		Kind: operation.Apply, Commit: "c0ffee", Tree: "beef", Environment: "prod", Confirmed: "7f3a",
		GitDir: "/secret/mirror", WorkDir: "/secret/work", CacheDir: "/secret/cache", Env: map[string]string{"ARM_CLIENT_SECRET": "hunter2"},
		Terraform: operation.TerraformTask{Path: "/secret/terraform", Version: "1.11.4"},
		Isolation: operation.Isolation{Read: []string{"/secret"}},
		Job:       &operation.Job{Workflow: "switchyard.yml", Ref: "main", Environment: "prod", Machines: [][]string{{"self-hosted"}}, Shards: [][]string{roots}},
	}
	for _, root := range roots {
		made.Targets = append(made.Targets, operation.TargetTask{Target: operation.Target{Root: root, Environment: "prod"}, Dir: root})
	}
	return made
}

// taskIn decodes the task of inputs.
func taskIn(t *testing.T, inputs map[string]string) (operation.Task, string) {
	t.Helper()
	packed, err := base64.StdEncoding.DecodeString(inputs[operation.InputTask])
	if err != nil {
		t.Fatal(err)
	}
	reader, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		t.Fatal(err)
	}
	data, err := io.ReadAll(reader)
	if err != nil {
		t.Fatal(err)
	}
	var got operation.Task
	if err := json.Unmarshal(data, &got); err != nil {
		t.Fatal(err)
	}
	return got, string(data)
}

func TestInputsHaveTheTaskWithoutWhatIsOfThisHost(t *testing.T) {
	t.Parallel()
	inputs, err := executor.Inputs(task("a"))
	if err != nil {
		t.Fatal(err)
	}
	got, text := taskIn(t, inputs)
	for _, secret := range []string{"secret", "hunter2"} {
		if strings.Contains(text, secret) {
			t.Errorf("the task has %q", secret)
		}
	}
	if got.Terraform.Version != "1.11.4" || got.Tree != "beef" || got.Job == nil {
		t.Errorf("the task lacks something: %s", text)
	}
	delete(inputs, operation.InputTask)
	want := map[string]string{
		operation.InputCommand: "apply", operation.InputEnvironment: "prod", operation.InputProtection: "prod", operation.InputOperation: "5.2",
		operation.InputLaunch: "5d1b7a30", operation.InputSHA: "c0ffee", operation.InputDigest: "7f3a",
		operation.InputRunsOn: `[["self-hosted"]]`, operation.InputShards: "[0]",
	}
	if diff := cmp.Diff(want, inputs); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// large is a set of changes that can hardly be compressed.
func large(changes int) *operation.ChangeSet {
	source := rand.New(rand.NewPCG(1, uint64(changes))) //nolint:gosec // the same in each test
	set := &operation.ChangeSet{Digest: fmt.Sprintf("%064x", changes)}
	for i := range changes {
		set.Changes = append(set.Changes, operation.Change{
			Address: fmt.Sprintf("terraform_data.x[%d]", i), Action: operation.Create,
			Attributes: []operation.Attribute{{Path: "input", After: json.RawMessage(fmt.Sprintf(`"%x%x"`, source.Uint64(), source.Uint64()))}},
		})
	}
	return set
}

func TestATaskIsMadeToFitIntoTheInputs(t *testing.T) {
	t.Parallel()
	t.Run("one that fits stays as it is", func(t *testing.T) {
		t.Parallel()
		small := task("a")
		small.Targets[0].Expected, small.Targets[0].Data = large(100), map[string]string{"data.x": "y"}
		got, whole, err := executor.Fit(small)
		if diff := cmp.Diff(small, got); diff != "" || whole != nil || err != nil {
			t.Errorf("%v, %v, -want +got:\n%s", whole, err, diff)
		}
	})
	t.Run("of the largest target nothing is sent but the digest", func(t *testing.T) {
		t.Parallel()
		big := task("a", "b", "c")
		big.Targets[0].Expected, big.Targets[1].Expected, big.Targets[2].Expected = large(300), large(3000), large(20)
		got, whole, err := executor.Fit(big)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]operation.Target{{Root: "b", Environment: "prod"}}, whole); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		want := &operation.ChangeSet{Digest: big.Targets[1].Expected.Digest, Omitted: 3000}
		if diff := cmp.Diff(want, got.Targets[1].Expected); diff != "" {
			t.Errorf("-want +got:\n%s", diff)
		}
		if len(got.Targets[0].Expected.Changes) != 300 || len(big.Targets[1].Expected.Changes) != 3000 {
			t.Error("another target, or the task that was given, lost its changes")
		}
		inputs, err := executor.Inputs(got)
		if err != nil {
			t.Fatal(err)
		}
		size := 0
		for name, value := range inputs {
			size += len(name) + len(value)
		}
		if size > operation.MaxInputs {
			t.Errorf("the inputs have %d characters", size)
		}
	})
	t.Run("what only explains goes first", func(t *testing.T) {
		t.Parallel()
		explained := task("a")
		explained.Targets[0].Expected, explained.Targets[0].Data = large(100), map[string]string{}
		source := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same in each test
		for i := range 3000 {
			explained.Targets[0].Data[fmt.Sprintf("data.x[%d]", i)] = fmt.Sprintf("%x%x", source.Uint64(), source.Uint64())
		}
		got, whole, err := executor.Fit(explained)
		if err != nil || whole != nil || got.Targets[0].Data != nil || len(got.Targets[0].Expected.Changes) != 100 {
			t.Errorf("%v, %v", whole, err)
		}
	})
	t.Run("what does not fit at all is an error", func(t *testing.T) {
		t.Parallel()
		source := rand.New(rand.NewPCG(1, 2)) //nolint:gosec // the same in each test
		var roots []string
		for range 6000 {
			roots = append(roots, fmt.Sprintf("%x%x", source.Uint64(), source.Uint64()))
		}
		if _, _, err := executor.Fit(task(roots...)); err == nil {
			t.Error("it fits")
		}
	})
	t.Run("200 roots fit", func(t *testing.T) {
		t.Parallel()
		var roots []string
		for i := range 200 {
			roots = append(roots, fmt.Sprintf("stamps/region-%03d/network", i))
		}
		made := task(roots...)
		for i := range made.Targets {
			made.Targets[i].Expected = large(5)
			made.Targets[i].Backend = map[string]string{"key": "network-prod-" + roots[i]}
		}
		if _, whole, err := executor.Fit(made); err != nil || whole != nil {
			t.Errorf("%v, %v", whole, err)
		}
	})
}

func TestShards(t *testing.T) {
	t.Parallel()
	minutes := func(of map[string]int) map[string]time.Duration {
		past := map[string]time.Duration{}
		for root, n := range of {
			past[root] = time.Duration(n) * time.Minute
		}
		return past
	}
	var many []string
	long := map[string]int{}
	for i := range 40 {
		root := fmt.Sprintf("r%02d", i)
		many, long[root] = append(many, root), 4
	}
	for name, c := range map[string]struct {
		roots []string
		past  map[string]time.Duration
		want  string
	}{
		"one root is one job":                       {[]string{"a"}, minutes(map[string]int{"a": 60}), "[[a]]"},
		"nothing is known":                          {[]string{"a", "b"}, nil, "[[a b]]"},
		"little work is one job":                    {[]string{"a", "b"}, minutes(map[string]int{"a": 1, "b": 1}), "[[a b]]"},
		"the longest has a job of its own":          {[]string{"a", "b", "c"}, minutes(map[string]int{"a": 2, "b": 8, "c": 2}), "[[a c] [b]]"},
		"what is not known is like the others":      {[]string{"a", "b", "c"}, minutes(map[string]int{"a": 4, "c": 4}), "[[a] [b] [c]]"},
		"roots keep their order":                    {[]string{"z", "y", "x", "w"}, minutes(map[string]int{"z": 1, "y": 3, "x": 2, "w": 4}), "[[z w] [y x]]"},
		"what was planned once and is gone":         {[]string{"a", "b"}, minutes(map[string]int{"c": 60}), "[[a b]]"},
		"never more jobs than roots":                {[]string{"a", "b"}, minutes(map[string]int{"a": 60, "b": 60}), "[[a] [b]]"},
		"a duration that is not one is not counted": {[]string{"a", "b"}, map[string]time.Duration{"a": -time.Hour}, "[[a b]]"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if got := fmt.Sprint(executor.Shards(c.roots, c.past, nil)); got != c.want {
				t.Errorf("it gives %s, not %s", got, c.want)
			}
		})
	}
	t.Run("at most ten jobs, each root once", func(t *testing.T) {
		t.Parallel()
		got := executor.Shards(many, minutes(long), nil)
		seen := map[string]int{}
		for _, shard := range got {
			if len(shard) != 4 {
				t.Errorf("a job has %d roots", len(shard))
			}
			for _, root := range shard {
				seen[root]++
			}
		}
		if len(got) != 10 || len(seen) != 40 {
			t.Errorf("%d jobs have %d roots", len(got), len(seen))
		}
	})
	t.Run("no job has roots of two regions", func(t *testing.T) {
		t.Parallel()
		region := map[string]string{"a": "west", "b": "east", "c": "west", "d": "east"}
		roots := []string{"a", "b", "c", "d", "e"}
		if got, want := fmt.Sprint(executor.Shards(roots, nil, region)), "[[a c] [b d] [e]]"; got != want {
			t.Errorf("it gives %s, not %s", got, want)
		}
		past := minutes(map[string]int{"a": 9, "b": 1, "c": 9, "d": 1, "e": 1})
		if got, want := fmt.Sprint(executor.Shards(roots, past, region)), "[[a] [b d] [c] [e]]"; got != want {
			t.Errorf("it gives %s, not %s", got, want)
		}
	})
	t.Run("regions share the ten jobs, and each has one", func(t *testing.T) {
		t.Parallel()
		region := map[string]string{}
		for i, root := range many {
			region[root] = fmt.Sprintf("region %d", i%3)
		}
		if got := executor.Shards(many, minutes(long), region); len(got) != 9 {
			t.Errorf("three regions have %d jobs", len(got))
		}
		for i, root := range many {
			region[root] = fmt.Sprintf("region %d", i%20)
		}
		if got := executor.Shards(many, minutes(long), region); len(got) != 20 {
			t.Errorf("20 regions have %d jobs", len(got))
		}
	})
}

func TestEachJobHasTheLabelsOfItsMachine(t *testing.T) {
	t.Parallel()
	made := task("a", "b", "c")
	made.Job.Shards = [][]string{{"a"}, {"b"}, {"c"}}
	made.Job.Machines = [][]string{{"self-hosted", "west"}, nil}
	inputs, err := executor.Inputs(made)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := inputs[operation.InputRunsOn], `[["self-hosted","west"],["ubuntu-latest"],["ubuntu-latest"]]`; got != want {
		t.Errorf("it gives %s, not %s", got, want)
	}
}
