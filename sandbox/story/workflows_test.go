package story_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/sandbox/story"
)

type action struct {
	Inputs  map[string]map[string]any
	Outputs map[string]map[string]any
	Runs    struct {
		Using string
		Steps []map[string]any
	}
}

func read(t *testing.T, files fs.FS, name string) action {
	t.Helper()
	data, err := fs.ReadFile(files, name)
	if err != nil {
		t.Fatal(err)
	}
	var a action
	if err := yaml.Unmarshal(data, &a); err != nil {
		t.Fatal(err)
	}
	return a
}

func names(from map[string]map[string]any) []string { return slices.Sorted(maps.Keys(from)) }

func TestTheContainerActionRunsWithoutDockerAndIsTheSameOtherwise(t *testing.T) {
	t.Parallel()
	sources := os.DirFS("../..")
	served, err := story.Action(sources, "/opt/it's here/switchyard")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"action.yml", "container/action.yml"} {
		own, made := read(t, sources, name), read(t, served, name)
		if diff := cmp.Diff(names(own.Inputs), names(made.Inputs)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if diff := cmp.Diff(names(own.Outputs), names(made.Outputs)); diff != "" {
			t.Errorf("%s: -want +got:\n%s", name, diff)
		}
		if made.Runs.Using != "composite" || made.Inputs["binary"]["default"] != "/opt/it's here/switchyard" {
			t.Errorf("%s: %+v", name, made)
		}
	}
	container := read(t, served, "container/action.yml")
	if got := container.Outputs["artifact"]["value"]; got != "${{ steps.run.outputs.artifact }}" {
		t.Errorf("its output is %q", got)
	}
	for _, step := range container.Runs.Steps {
		if step["uses"] != nil { // a container has no second step: the workflow leaves the result
			t.Errorf("it has the step %v", step)
		}
		if strings.Contains(fmt.Sprint(step["run"]), "ACTION_PATH/container") {
			t.Errorf("it looks for its script beside itself: %v", step)
		}
	}
}

func TestAnActionThatLacksSomethingIsRefused(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]fstest.MapFS{
		"no files":              {},
		"no container":          {"action.yml": {Data: []byte("inputs: {binary: {default: x}}\nruns: {steps: [{run: x}]}")}},
		"no input for a binary": {"action.yml": {Data: []byte("inputs: {}")}},
		"no YAML":               {"action.yml": {Data: []byte("\t:")}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := story.Action(files, "x"); err == nil {
				t.Error("it is taken")
			}
		})
	}
}
