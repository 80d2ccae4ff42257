package story

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"strings"
	"testing/fstest"

	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// Workflows have the story's Terraform run in workflows of its repository: in jobs that a stand-in with Actions runs.
type Workflows struct {
	File   string // the workflow that people copy, switchyard.yml
	Action fs.FS  // the action, as Action gives it
}

// add adds what of them is in the repository to its files.
func (w Workflows) add(files map[string]string) {
	const config = ".github/switchyard.yml"
	files[config] = strings.Replace(files[config], "executor: local", "executor: actions", 1)
	files[".github/workflows/switchyard.yml"] = w.File
}

// prepare makes the action, and the repository's branch of plans and its GitHub Environments.
func (w Workflows) prepare(ctx context.Context, as string, box *sandbox.Sandbox, repo *sandbox.Repository) error {
	if err := box.RegisterAction(ctx, "switchyard-dev", "switchyard", w.Action, "RELEASE"); err != nil {
		return fmt.Errorf("make the action: %w", err)
	}
	if _, err := repo.Push(ctx, as, "switchyard/plans", nil, "", sandbox.PushOptions{From: "main"}); err != nil {
		return fmt.Errorf("make the branch of plans: %w", err)
	}
	for _, name := range []string{"dev", "test", "prod"} {
		for _, one := range []string{name, name + "-plan"} { // of its applies, and of its plans, whose identity can only read
			if err := repo.SetEnvironment(sandbox.Environment{Name: one}); err != nil {
				return fmt.Errorf("make the GitHub Environment %s: %w", one, err)
			}
		}
	}
	return nil
}

// Action gives the files of our action as they can be run on a machine without Docker and without a release: both actions run binary,
// and the container action is a composite one with the same inputs and outputs. The workflow that repositories call is beside them.
func Action(files fs.FS, binary string) (fs.FS, error) {
	composite, err := readAction(files, "action.yml")
	if err != nil {
		return nil, err
	}
	container, err := readAction(files, "container/action.yml")
	if err != nil {
		return nil, err
	}
	steps, _ := composite.Runs["steps"].([]any)
	var own []any
	for _, step := range steps {
		fields, _ := step.(map[string]any)
		copied := maps.Clone(fields)
		if script, ok := copied["run"].(string); ok {
			copied["run"] = strings.ReplaceAll(script, "$GITHUB_ACTION_PATH/container/", "$GITHUB_ACTION_PATH/")
		}
		own = append(own, copied)
	}
	if len(own) == 0 {
		return nil, errors.New("action.yml has no steps of its own")
	}
	container.Runs = map[string]any{"using": "composite", "steps": own}
	for name, output := range container.Outputs {
		output["value"] = "${{ steps.run.outputs." + name + " }}"
	}
	served := fstest.MapFS{}
	for _, name := range []string{"container/fetch.sh", "container/checksums.txt", ".github/workflows/run.yml"} {
		data, err := fs.ReadFile(files, name)
		if err != nil {
			return nil, fmt.Errorf("read the action: %w", err)
		}
		served[name] = &fstest.MapFile{Data: data}
	}
	for name, action := range map[string]*actionFile{"action.yml": composite, "container/action.yml": container} {
		action.Inputs["binary"]["default"] = binary
		data, err := yaml.Marshal(action)
		if err != nil {
			return nil, fmt.Errorf("write %s: %w", name, err)
		}
		served[name] = &fstest.MapFile{Data: data}
	}
	return served, nil
}

// actionFile is an action.yml.
// https://docs.github.com/en/actions/reference/workflows-and-actions/metadata-syntax
type actionFile struct {
	Name        string                    `yaml:"name"`
	Description string                    `yaml:"description"`
	Inputs      map[string]map[string]any `yaml:"inputs"`
	Outputs     map[string]map[string]any `yaml:"outputs"`
	Runs        map[string]any            `yaml:"runs"`
}

func readAction(files fs.FS, name string) (*actionFile, error) {
	data, err := fs.ReadFile(files, name)
	if err != nil {
		return nil, fmt.Errorf("read the action: %w", err)
	}
	var action actionFile
	if err := yaml.Unmarshal(data, &action); err != nil {
		return nil, fmt.Errorf("read %s: %w", name, err)
	}
	if action.Inputs["binary"] == nil {
		return nil, fmt.Errorf("read %s: it has no input `binary`", name)
	}
	return &action, nil
}
