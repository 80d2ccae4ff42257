package job

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
)

// Environ looks up a variable of the process: os.LookupEnv.
type Environ func(name string) (string, bool)

// get is a variable's value; "" where it is not set.
func (e Environ) get(name string) string {
	value, _ := e(name)
	return value
}

// input is an input of the action. GitHub gives those of a container action as INPUT_NAME, with hyphens kept; a composite
// action sets them itself.
// https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax#inputs
func (e Environ) input(name string) string {
	upper := "INPUT_" + strings.ToUpper(name)
	for _, variable := range []string{upper, strings.ReplaceAll(upper, "-", "_")} {
		if value := strings.TrimSpace(e.get(variable)); value != "" {
			return value
		}
	}
	return ""
}

// The inputs of the action beside those of operation.
const (
	inputShard       = "shard"             // number of this job among those that work beside each other; empty is 0
	inputToken       = "github-token"      // of the job
	inputTerraform   = "terraform-version" // empty: what the configuration says, or what is installed
	inputResultDir   = "result-dir"        // relative to the workspace
	inputClientKey   = "allow-client-secret"
	inputServer      = "server"   // address of the server that has to confirm an apply; empty: what the dispatch says
	inputDirectories = "work-dir" // where checkouts and mirrors are made; empty: RUNNER_TEMP
	inputConfig      = "config"   // nothing but repoconfig.Path
)

// usualConfig is an error where somebody expects that the job reads another configuration: it never does, as the one of the default branch
// is what people have reviewed and a server goes by.
func usualConfig(env Environ) error {
	if config := env.input(inputConfig); config != "" && config != repoconfig.Path {
		return fmt.Errorf("input config is %s, and the configuration is always %s of the default branch: leave the input out",
			quote(config), repoconfig.Path)
	}
	return nil
}

// IsDispatched reports whether a server dispatched this run; else the action works alone. What an App dispatches is a server's: whoever
// has stolen an App's key must not get by without a task what a task has to prove.
func IsDispatched(env Environ) bool {
	if env.input(operation.InputTask) != "" {
		return true
	}
	actor := env.get("GITHUB_ACTOR")
	return env.get("GITHUB_EVENT_NAME") == dispatchEvent && strings.HasSuffix(actor, "[bot]") && actor != ownDispatches
}

// ownDispatches is who dispatches where a workflow does so with its own token.
const ownDispatches = "github-actions[bot]"

// Bounds of the task in the inputs, in bytes.
const (
	maxTaskInput = 1 << 20
	maxTask      = 64 << 20
)

// readTask decodes the task and compares it with what people see of it.
func readTask(env Environ) (operation.Task, error) {
	encoded := env.input(operation.InputTask)
	if encoded == "" {
		return operation.Task{}, errors.New("input task is empty, and an App has dispatched this run: without a task nothing is done")
	}
	if len(encoded) > maxTaskInput {
		return operation.Task{}, fmt.Errorf("input task is longer than %d characters", maxTaskInput)
	}
	packed, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		return operation.Task{}, fmt.Errorf("input task: %w", err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return operation.Task{}, fmt.Errorf("input task: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(unpacked, maxTask+1))
	if err != nil {
		return operation.Task{}, fmt.Errorf("input task: %w", err)
	}
	if len(data) > maxTask {
		return operation.Task{}, fmt.Errorf("input task is larger than %d bytes", maxTask)
	}
	var task operation.Task
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&task); err != nil {
		return operation.Task{}, fmt.Errorf("input task: %w; use the same release for server and action", err)
	}
	if again, err := json.Marshal(task); err != nil || !bytes.Equal(again, data) {
		return operation.Task{}, errors.New("input task is not as a server writes it, with each key once and nothing behind it: " +
			"use the same release for server and action")
	}
	if task.Version != operation.ContractVersion || task.Job == nil {
		return operation.Task{}, fmt.Errorf("input task has version %d; this action knows version %d: use the same release for server and action",
			task.Version, operation.ContractVersion)
	}
	return task, matches(env, task)
}

// matches says where the inputs that people read differ from the task that is done.
func matches(env Environ, task operation.Task) error {
	for _, pair := range []struct{ name, says string }{
		{operation.InputCommand, string(task.Kind)},
		{operation.InputEnvironment, task.Environment},
		{operation.InputProtection, task.Job.Environment},
		{operation.InputOperation, operation.InputOperationOf(task)},
		{operation.InputLaunch, operation.InputLaunchOf(task)},
		{operation.InputSHA, task.Commit},
		{operation.InputDigest, task.Confirmed},
	} {
		if got := env.input(pair.name); got != pair.says {
			return fmt.Errorf("input %s is %q, but the task says %q", pair.name, got, pair.says)
		}
	}
	return nil
}

// shard is the number of this job among those of its run, with the roots that are its own.
func shard(env Environ, task operation.Task) (int, []string, error) {
	number := 0
	if text := env.input(inputShard); text != "" {
		var err error
		if number, err = strconv.Atoi(text); err != nil {
			return 0, nil, fmt.Errorf("input shard is %q, not a number", text)
		}
	}
	if number < 0 || number >= len(task.Job.Shards) {
		return 0, nil, fmt.Errorf("input shard is %d, but the task has %d of them", number, len(task.Job.Shards))
	}
	if task.Kind.Exclusive() && len(task.Job.Shards) != 1 {
		return 0, nil, fmt.Errorf("an operation of kind %s must not be divided between jobs", task.Kind)
	}
	roots := task.Job.Shards[number]
	for _, root := range roots {
		if !slices.ContainsFunc(task.Targets, func(t operation.TargetTask) bool { return t.Target.Root == root }) {
			return 0, nil, fmt.Errorf("root %q of job %d is not one of the task's", root, number)
		}
	}
	return number, roots, nil
}
