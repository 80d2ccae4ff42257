package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

type serveCommand struct {
	Config string `placeholder:"FILE" help:"Settings file, YAML; SWITCHYARD_* variables override it."`
}

// Run serves until SIGINT or SIGTERM, then drains. A second signal ends the process at once.
func (c serveCommand) Run(ctx context.Context) error {
	options, err := settings.Load(c.Config, os.LookupEnv)
	// A misspelt variable is often the reason why another one is missing, so both are told.
	if err := errors.Join(settings.CheckNames(os.Environ()), err); err != nil {
		return err
	}
	log, err := newLog(options.LogLevel, options.LogFormat)
	if err != nil {
		return err
	}
	if err := findTools(ctx, options.Terraform.Path); err != nil {
		return err
	}
	program, err := self()
	if err != nil {
		return err
	}
	if err := confine.HideProcess(); err != nil {
		return fmt.Errorf("hide the server's memory from programs of the same user: %w", err)
	}
	running, err := server.New(ctx, server.Options{Settings: options, Log: log, Program: program})
	if err != nil {
		return err //nolint:wrapcheck // says itself what could not be done
	}
	context.AfterFunc(ctx, func() { endAtSecondSignal(log) })
	return running.Run(ctx) //nolint:wrapcheck // says itself what failed
}

// endAtSecondSignal ends a process that is draining. Runners go on by themselves.
func endAtSecondSignal(log zerolog.Logger) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		log.Error().Msg("second signal: ending now, without waiting for what runs; " +
			"running applies go on, and their outcome is looked for at the next start")
		os.Exit(1)
	}()
}

func newLog(level, format string) (zerolog.Logger, error) {
	parsed, err := zerolog.ParseLevel(level)
	if err != nil {
		return zerolog.Nop(), fmt.Errorf("log level %q: %w", level, err)
	}
	log := zerolog.New(os.Stderr)
	if format == "text" {
		log = zerolog.New(textLog())
	}
	return log.Level(parsed).With().Timestamp().Logger(), nil
}

// textLog writes lines for people to standard error, in colours where that is a terminal and NO_COLOR is not set
// (https://no-color.org).
func textLog() zerolog.ConsoleWriter {
	info, err := os.Stderr.Stat()
	terminal := err == nil && info.Mode()&os.ModeCharDevice != 0
	return zerolog.ConsoleWriter{Out: os.Stderr, NoColor: !terminal || os.Getenv("NO_COLOR") != ""}
}

// self is the path of this binary, which is also the runner.
func self() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	if path, err = filepath.EvalSymlinks(path); err != nil {
		return "", fmt.Errorf("find this program: %w", err)
	}
	return path, nil
}

type runCommand struct {
	Task   string `required:"" help:"File with the task."`
	Result string `required:"" help:"File that the result is written to."`
}

// Run runs one operation. The runner listens to signals itself: it ends gently.
func (c runCommand) Run(ctx context.Context) error {
	return runner.Main(context.WithoutCancel(ctx), c.Task, c.Result, os.Stdout) //nolint:wrapcheck // says itself what failed
}
