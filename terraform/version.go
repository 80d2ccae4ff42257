package terraform

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/hashicorp/terraform-exec/tfexec"
)

// Version asks the binary for its version, e.g. "1.11.4". It is asked in an empty directory: the answer is then about the
// binary alone, whatever lies in the directory of this program.
// https://developer.hashicorp.com/terraform/cli/commands/version
func (t Tool) Version(ctx context.Context) (version string, err error) {
	dir, err := os.MkdirTemp("", "switchyard-version-")
	if err != nil {
		return "", fmt.Errorf("make an empty directory: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	tool, err := tfexec.NewTerraform(dir, t.Path)
	if err != nil {
		return "", fmt.Errorf("use %s: %w", t.Path, err)
	}
	if err := tool.SetEnv(t.environment()); err != nil {
		return "", fmt.Errorf("set the environment of %s: %w", t.Path, err)
	}
	if err := tool.SetWaitDelay(t.grace()); err != nil {
		return "", fmt.Errorf("set how long %s may take to stop: %w", t.Path, err)
	}
	answer, _, err := tool.Version(ctx, true)
	if err != nil {
		return "", fmt.Errorf("read the version of %s: %w", t.Path, err)
	}
	return answer.String(), nil
}

// environment is Env as terraform-exec takes it: without the variables that it sets itself, and without input variables,
// which it refuses. It is never nil, because terraform-exec would then give the environment of this program.
// https://pkg.go.dev/github.com/hashicorp/terraform-exec/tfexec#Terraform.SetEnv
func (t Tool) environment() map[string]string {
	env := make(map[string]string, len(t.Env))
	for _, variable := range t.Env {
		name, value, _ := strings.Cut(variable, "=")
		env[name] = value
	}
	return tfexec.CleanEnv(env)
}
