package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/act"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/terraform"
	templates "github.com/switchyard-dev/switchyard/workflows-templates"
)

// machines is how many jobs of the sandbox run at the same time.
const machines = 2

// preparer makes the people and the repository of the story.
type preparer func(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer) (*story.Story, error)

// workflows are what it takes to play the story in workflows: machines for the stand-in, and who prepares the repository so.
// env is what the machines have besides.
func (c sandboxCommand) workflows(
	ctx context.Context, dir, states string, env map[string]string,
) (*sandbox.ActionsOptions, preparer, error) {
	path, err := terraform.Find(ctx, terraform.Want{InstallDir: filepath.Join(dir, "tools")}) // once, not in each job
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says itself what to do
	}
	runner, err := act.New(act.Options{
		Program: c.Act, Dir: filepath.Join(dir, "jobs"), Environment: env,
		Path: filepath.Dir(path) + string(os.PathListSeparator) + os.Getenv("PATH"),
	})
	if err != nil {
		return nil, nil, fmt.Errorf("workflows cannot be run; `make tools` builds act, or give --act its path: %w", err)
	}
	program, err := jobProgram(dir, states)
	if err != nil {
		return nil, nil, err
	}
	action, err := story.Action(os.DirFS(c.Action), program)
	if err != nil {
		return nil, nil, fmt.Errorf("find the action; give --action the directory of Switchyard's sources: %w", err)
	}
	file, err := templates.Files.ReadFile("switchyard.yml")
	if err != nil {
		return nil, nil, fmt.Errorf("read the workflow: %w", err)
	}
	prepare := func(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer) (*story.Story, error) {
		return story.PrepareInWorkflows(ctx, box, states, out, story.Workflows{File: string(file), Action: action})
	}
	return &sandbox.ActionsOptions{Runner: runner, Machines: machines}, prepare, nil
}

// jobProgram writes the program that jobs take for switchyard: this one, whose Terraform may keep its states where the story has them.
func jobProgram(dir, states string) (string, error) {
	program, err := self()
	if err != nil {
		return "", err
	}
	quoted := func(text string) string { return "'" + strings.ReplaceAll(text, "'", `'\''`) + "'" }
	script := "#!/bin/bash\n[ \"$1\" != action ] || set -- action --write " + quoted(states) + "\nexec " + quoted(program) + " \"$@\"\n"
	name := filepath.Join(dir, "switchyard")
	if err := os.WriteFile(name, []byte(script), 0o700); err != nil { //nolint:gosec // it is a program
		return "", fmt.Errorf("write the program of jobs: %w", err)
	}
	return name, nil
}
