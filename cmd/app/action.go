package main

import (
	"context"
	"errors"
	"os"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/job"
	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/server"
)

// otherRunStatus is the exit status of a job that did nothing because another workflow run has its operation.
const otherRunStatus = 3

type actionCommand struct {
	Write []string `help:"Directory that Terraform may change beside its own: where a local backend keeps states."`
}

// Run does what a job of GitHub Actions is there for. Its inputs come from the environment: nothing that somebody else
// wrote is an argument.
func (c actionCommand) Run(ctx context.Context) error {
	unprotect, err := runner.Protect()
	if err != nil {
		return err //nolint:wrapcheck // says itself what failed
	}
	defer unprotect()
	log := zerolog.New(zerolog.ConsoleWriter{Out: os.Stderr, NoColor: true}).Level(zerolog.WarnLevel)
	err = server.Action(ctx, os.LookupEnv, os.Environ(), os.Stdout, log, c.Write...)
	if errors.Is(err, job.ErrOtherRun) {
		return &exitError{otherRunStatus} // the log has said which
	}
	if errors.Is(err, job.ErrNotDone) {
		return &exitError{1} // the log has said why
	}
	return err //nolint:wrapcheck // says itself what failed
}
