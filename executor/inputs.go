package executor

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"

	"github.com/switchyard-dev/switchyard/operation"
)

// standardLabel is of the machines that GitHub has for everybody.
// https://docs.github.com/en/actions/reference/runners/github-hosted-runners
const standardLabel = "ubuntu-latest"

// errTooLarge says that a task does not fit into the inputs of a workflow run.
var errTooLarge = errors.New("the task does not fit into the inputs of a workflow run")

// Inputs are the inputs of the workflow run that carries out a task with a Job. They are refused where GitHub would refuse them
// for their size: see Fit.
func Inputs(task operation.Task) (map[string]string, error) {
	task = portable(task)
	data, err := json.Marshal(task)
	if err != nil {
		return nil, fmt.Errorf("encode task: %w", err)
	}
	var packed bytes.Buffer
	writer, err := gzip.NewWriterLevel(&packed, gzip.BestCompression)
	if err != nil {
		return nil, fmt.Errorf("compress task: %w", err)
	}
	_, err = writer.Write(data)
	if err := errors.Join(err, writer.Close()); err != nil {
		return nil, fmt.Errorf("compress task: %w", err)
	}
	shards := make([]int, len(task.Job.Shards))
	for i := range shards {
		shards[i] = i
	}
	numbers, err := json.Marshal(shards)
	if err != nil {
		return nil, fmt.Errorf("encode the numbers of the jobs: %w", err)
	}
	inputs := map[string]string{
		operation.InputCommand:     string(task.Kind),
		operation.InputEnvironment: task.Environment,
		operation.InputProtection:  task.Job.Environment,
		operation.InputOperation:   operation.InputOperationOf(task),
		operation.InputLaunch:      operation.InputLaunchOf(task),
		operation.InputSHA:         task.Commit,
		operation.InputDigest:      task.Confirmed,
		operation.InputShards:      string(numbers),
		operation.InputTask:        base64.StdEncoding.EncodeToString(packed.Bytes()),
	}
	if inputs[operation.InputRunsOn], err = labelsOf(*task.Job); err != nil {
		return nil, err
	}
	if size := sizeOf(inputs); size > operation.MaxInputs {
		return nil, fmt.Errorf("%w: they have %s characters, and at most %s are sent",
			errTooLarge, strconv.Itoa(size), strconv.Itoa(operation.MaxInputs))
	}
	return inputs, nil
}

// labelsOf are the labels of the runner of each job, as JSON.
func labelsOf(job operation.Job) (string, error) {
	machines := make([][]string, len(job.Shards))
	for i := range machines {
		machines[i] = []string{standardLabel}
		if i < len(job.Machines) && len(job.Machines[i]) > 0 {
			machines[i] = job.Machines[i]
		}
	}
	labels, err := json.Marshal(machines)
	if err != nil {
		return "", fmt.Errorf("encode labels: %w", err)
	}
	return string(labels), nil
}

func sizeOf(inputs map[string]string) int {
	size := 0
	for name, value := range inputs {
		size += len(name) + len(value)
	}
	return size
}

// portable is a task without what is of one host only.
func portable(task operation.Task) operation.Task {
	task.GitDir, task.WorkDir, task.CacheDir, task.Env = "", "", "", nil
	task.Terraform.Path = ""
	task.Isolation, task.Died = operation.Isolation{}, ""
	return task
}

// Fit makes a task small enough for the inputs of a workflow run, where it can: first without what only explains changes,
// then without the expected changes of one target after another, the largest first. It lists those targets: of them an apply
// asks about every change, so somebody has to be told why. What does not even fit so is an error.
func Fit(task operation.Task) (operation.Task, []operation.Target, error) {
	// The name of the start is not known yet; any has the same length.
	probe := func(task operation.Task) error {
		task.Launch = "00000000-0000-0000-0000-000000000000"
		_, err := Inputs(task)
		return err
	}
	err := probe(task)
	if !errors.Is(err, errTooLarge) {
		return task, nil, err
	}
	task.Targets = slices.Clone(task.Targets)
	for i := range task.Targets {
		task.Targets[i].Data = nil
	}
	task.Reviewed = nil
	var dropped []operation.Target
	for {
		err := probe(task)
		if !errors.Is(err, errTooLarge) {
			return task, dropped, err
		}
		largest, size := -1, 0
		for i, target := range task.Targets {
			if target.Expected == nil {
				continue
			}
			data, encodeErr := json.Marshal(target.Expected)
			if encodeErr != nil {
				return task, nil, fmt.Errorf("encode expected changes: %w", encodeErr)
			}
			if len(data) > size && len(target.Expected.Changes) > 0 {
				largest, size = i, len(data)
			}
		}
		if largest < 0 {
			return task, nil, err
		}
		set := *task.Targets[largest].Expected
		set.Changes, set.Omitted = nil, set.Omitted+len(set.Changes)
		task.Targets[largest].Expected = &set
		dropped = append(dropped, task.Targets[largest].Target)
	}
}
