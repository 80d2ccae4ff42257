// Command switchyard is the server, the runner and the tools of Switchyard in one binary. This
// package reads flags and signals, and calls the room that does the work.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/alecthomas/kong"
)

// version is set by the release's linker flags.
var version = "" //nolint:gochecknoglobals // the linker can set nothing else

type cli struct {
	Serve   serveCommand   `cmd:"" help:"Run the server: webhooks in, checks, comments and applies out."`
	Sandbox sandboxCommand `cmd:"" help:"Play the main job against a stand-in for GitHub on this machine."`
	Check   checkCommand   `cmd:"" help:"Validate a configuration offline, and say what would happen."`
	Audit   auditCommand   `cmd:"" help:"Print who did what and why in a repository, from the server's database."`
	Jobs    jobsCommand    `cmd:"" help:"List the work that was given up, and have it done again."`
	Ledger  ledgerCommand  `cmd:"" help:"Print the changes that applies made, with why each was there and who said yes to it."`
	Verify  verifyCommand  `cmd:"" help:"Check the ledger again, offline: that every change was reviewed, or that somebody said yes to it."`
	Lock    lockCommand    `cmd:"" help:"Look at Terraform's lock of a state, and break it; for the day when the App is down."`
	Schema  schemaCommand  `cmd:"" help:"Print the JSON Schema of .github/switchyard.yml."`
	Action  actionCommand  `cmd:"" hidden:"" help:"Do the work of a job of GitHub Actions; action.yml calls this."`
	Run     runCommand     `cmd:"" hidden:"" help:"Run one operation; the executor calls this."`
	Version versionCommand `cmd:"" help:"Print the version."`

	PrintVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:])
	stop()
	if exit := (*exitError)(nil); errors.As(err, &exit) {
		os.Exit(exit.code)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "switchyard: "+err.Error())
		os.Exit(1)
	}
}

// exitError ends the process with a code and no words: they have been printed already.
type exitError struct{ code int }

func (e *exitError) Error() string { return fmt.Sprintf("exit status %d", e.code) }

func run(ctx context.Context, args []string) error {
	var commands cli
	parser, err := kong.New(&commands,
		kong.Name("switchyard"),
		kong.Description("Runs Terraform for teams that use GitFlow and more than one Azure region."),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.UsageOnError(),
		kong.Vars{"version": "switchyard " + buildVersion()},
	)
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("%w; `switchyard --help` lists the commands", err)
	}
	return chosen.Run() //nolint:wrapcheck // a command's own words are for the person as they are
}

type versionCommand struct{}

// Run prints the version of the release, or of the module that was built.
func (versionCommand) Run() error {
	if _, err := fmt.Println("switchyard " + buildVersion()); err != nil {
		return fmt.Errorf("print the version: %w", err)
	}
	return nil
}

func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
