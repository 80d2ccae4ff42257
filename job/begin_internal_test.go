package job

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/repoconfig"
	"github.com/switchyard-dev/switchyard/terraform"
)

func TestAJobThatIsCancelledWhileItPreparesWasStoppedAndDidNotFail(t *testing.T) {
	t.Parallel()
	noTerraform := func(err error) error {
		return fmt.Errorf("terraform 1.11.4 is not on PATH, and could not be downloaded: %w", err)
	}
	for name, c := range map[string]struct {
		cancelled bool
		find      func(ctx context.Context) error
	}{
		"cancelled while Terraform is downloaded":   {true, func(ctx context.Context) error { return noTerraform(ctx.Err()) }},
		"however what was broken off says so":       {true, func(context.Context) error { return errors.New("signal: killed") }},
		"what fails without being cancelled failed": {false, func(context.Context) error { return noTerraform(errors.New("no route")) }},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, task := newStep(t), applyTask()
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			parts := s.parts(t, task)
			parts.Find = func(context.Context, terraform.Want) (string, error) {
				if c.cancelled {
					cancel()
				}
				return "", c.find(ctx)
			}
			if err := Dispatched(ctx, parts); !errors.Is(err, ErrNotDone) {
				t.Errorf("it ends with %v", err)
			}
			result, shown := s.result(t), s.shown(t)
			if !c.cancelled {
				if result.Stopped != "" || !strings.Contains(result.Error, "Nothing was begun: terraform 1.11.4 is not on PATH") {
					t.Errorf("%+v", result)
				}
				return
			}
			if result.Stopped != "cancelled" || result.Error != "" || len(result.Targets) != 1 ||
				result.Targets[0].Outcome != operation.TargetStopped || result.Launch != task.Launch {
				t.Errorf("%+v", result)
			}
			if !strings.Contains(shown, "cancelled") || strings.Contains(shown, "not on PATH") || strings.Contains(shown, "killed") {
				t.Errorf("it shows:\n%s", shown)
			}
		})
	}
}

func TestATaskIsEquippedAlikeWithAServerAndWithout(t *testing.T) {
	t.Parallel()
	s := newStep(t)
	s.env["BACKEND_STORAGE_ACCOUNT_NAME"], s.env["INPUT_MODULES_TOKEN"] = "states", moduleToken
	parts := s.parts(t, applyTask())
	files := rootFiles{files: map[string]string{"infra/main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n", "dns/main.tf": "terraform {\n  backend \"http\" {}\n}\n"}}
	task := operation.Task{Targets: []operation.TargetTask{
		{Dir: "infra", Backend: map[string]string{"key": "a"}}, {Dir: "dns", Backend: map[string]string{"address": "https://example"}},
	}}
	modules, err := parts.Modules(t.Context(), task, []string{"acme/stamp"})
	if err == nil {
		err = parts.Equip(t.Context(), &task, repoconfig.Terraform{Version: "1.11.4"}, files, modules)
	}
	if err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{{"key": "a", "storage_account_name": "states"}, {"address": "https://example"}}
	if diff := cmp.Diff(want, []map[string]string{task.Targets[0].Backend, task.Targets[1].Backend}); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if !strings.Contains(task.InitEnv["GIT_CONFIG_VALUE_0"], "Authorization: Basic ") || len(task.Mask) != 2 {
		t.Errorf("init has %v, and %d masks", task.InitEnv, len(task.Mask))
	}
	if task.Terraform.Version != "1.11.4" || task.Terraform.Path == "" || task.UnsavedTo == "" {
		t.Errorf("%+v", task)
	}
}

// rootFiles are the files of a tree.
type rootFiles struct {
	Contents

	files map[string]string
}

func (f rootFiles) ReadFile(_ context.Context, _ operation.Repository, _, name string) ([]byte, bool, error) {
	data, ok := f.files[name]
	return []byte(data), ok, nil
}

func (f rootFiles) Files(_ context.Context, _ operation.Repository, _, dir string) ([]string, error) {
	var names []string
	for name := range f.files {
		if in, file, _ := strings.Cut(name, "/"); in == dir {
			names = append(names, file)
		}
	}
	return names, nil
}
