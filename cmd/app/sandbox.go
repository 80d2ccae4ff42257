package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/pages"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/terraform"
	"github.com/switchyard-dev/switchyard/terraform/confine"
)

type sandboxCommand struct {
	Executor string `default:"local" enum:"local,actions" help:"Where Terraform runs: here, or in workflows of the sample repository."`
	Act      string `default:".bin/act" help:"The program that runs workflows; make tools builds it."`
	Action   string `default:"." help:"Directory with action.yml and container: the sources of Switchyard."`

	Keep    bool   `help:"Leave the stand-in and the server running after the story, and print the page's address."`
	Empty   bool   `help:"Play no story; with --keep, to drive everything by hand."`
	Addr    string `default:"127.0.0.1:0" help:"Address of the stand-in; loopback only."`
	Verbose bool   `short:"v" help:"Print the server's log."`
}

// Run plays the story. What it made is removed at the end.
func (c sandboxCommand) Run(ctx context.Context) (err error) {
	if err := findTools(ctx, ""); err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "switchyard-sandbox-")
	if err != nil {
		return fmt.Errorf("make a directory: %w", err)
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	log := zerolog.Nop()
	if c.Verbose {
		log = zerolog.New(textLog()).With().Timestamp().Logger()
	}
	fmt.Println("Starting a stand-in for GitHub and the Switchyard server on this machine.")
	if terraform.Runnable("terraform") != nil {
		fmt.Println("Terraform is not on PATH, so it is downloaded first, for as long as the sandbox runs.")
	}
	states := filepath.Join(dir, "states")
	if err := os.Mkdir(states, 0o700); err != nil {
		return fmt.Errorf("make a directory for Terraform's states: %w", err)
	}
	keeps, end, err := story.FindStore(ctx, c.Action, dir)
	if err != nil {
		return err //nolint:wrapcheck // says what was started
	}
	defer end()
	options := sandbox.Options{Dir: filepath.Join(dir, "github"), Addr: c.Addr, Log: log}
	prepare := story.Prepare
	if c.Executor == settings.ExecutorActions {
		if options.Actions, prepare, err = c.workflows(ctx, dir, states, keeps.Env); err != nil {
			return err
		}
	}
	box, err := sandbox.Start(ctx, options)
	if err != nil {
		return fmt.Errorf("start the stand-in: %w", err)
	}
	defer func() { err = errors.Join(err, box.Close()) }() //nolint:contextcheck // ctx has ended by then, and closing takes its own time
	page, err := pages.Handler(box, pages.Options{})
	if err != nil {
		return fmt.Errorf("make the pages: %w", err)
	}
	box.SetPages(page)
	play, err := prepare(ctx, box, states, os.Stdout)
	if err != nil {
		return fmt.Errorf("prepare the story: %w", err)
	}
	play.Store = keeps
	data := filepath.Join(dir, "data")
	stop, err := c.serve(ctx, play, data, states, log)
	if err != nil {
		return err
	}
	play.Ledger = func(ctx context.Context, environment, address string) (string, error) {
		return ledgerOf(ctx, data, play.Repo, environment, address)
	}
	defer func() { err = errors.Join(err, stop()) }()
	if err := box.Install(ctx, "acme", "network"); err != nil {
		return fmt.Errorf("install the App: %w", err)
	}
	if !c.Empty {
		if err := play.Play(ctx); err != nil {
			return err //nolint:wrapcheck // names the step itself
		}
	}
	if c.Keep {
		fmt.Printf("\nThe repository as GitHub would show it: %s\nPress Ctrl-C to end and remove everything.\n", play.Repo.HTMLURL())
		<-ctx.Done()
	}
	return nil
}

// serve starts the real server on the stand-in, and returns what stops it. Terraform may write to states.
func (c sandboxCommand) serve(
	ctx context.Context, play *story.Story, dataDir, states string, log zerolog.Logger,
) (func() error, error) {
	program, err := self()
	if err != nil {
		return nil, err
	}
	options := server.ForSandbox(play.Sandbox, dataDir, program, log)
	options.Env = play.Store.Env
	options.Settings.Executors = []string{c.Executor}
	options.Settings.Isolation.Write = []string{states}
	options.Settings.Isolation.Missing = confine.Missing() // on an old kernel, too: what is planned here is the story's own code
	if c.Executor == settings.ExecutorActions {
		if options, err = options.Reached(ctx); err != nil {
			return nil, err //nolint:wrapcheck // says what it did
		}
	}
	running, err := server.New(ctx, options)
	if err != nil {
		return nil, fmt.Errorf("start the server: %w", err)
	}
	play.Sandbox.SetWebhookURL(running.URL() + "/api/github/hook")
	serving, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan error, 1)
	go func() { done <- running.Run(serving) }()
	return func() error {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) { // stopped while it was still starting
			return err
		}
		return nil
	}, nil
}

// ledgerOf is what `switchyard ledger` prints of an address, from the database of the server.
func ledgerOf(ctx context.Context, dataDir string, repo *sandbox.Repository, environment, address string) (text string, err error) {
	data, err := store.OpenToRead(ctx, settings.Settings{DataDir: dataDir}.Source())
	if err != nil {
		return "", fmt.Errorf("open the server's database: %w", err)
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	command := ledgerCommand{selection: selection{Environment: &environment, Limit: maxLines}}
	entries, _, err := command.entries(ctx, data, from{repo: operation.Repository{ID: repo.ID()}}, address)
	if err != nil {
		return "", err
	}
	var printed strings.Builder
	err = command.print(ctx, &printed, data, entries)
	return printed.String(), err
}

// removeAll removes a directory whose parts may have been made read-only.
func removeAll(dir string) error {
	_ = filepath.WalkDir(dir, func(path string, entry os.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			_ = os.Chmod(path, 0o700) //nolint:gosec // a directory needs its search bit
		}
		return nil
	})
	if err := os.RemoveAll(dir); err != nil {
		return fmt.Errorf("remove %s: %w", dir, err)
	}
	return nil
}
