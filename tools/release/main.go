// Command release makes the files of a release: archives of the binary for each platform, their bills of materials, their checksums; and
// writes into the repository what pins them. `make release` and the release workflow call it. It publishes nothing and signs nothing.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"

	"github.com/alecthomas/kong"
)

type cli struct {
	Build  buildCommand  `cmd:"" help:"Build the archives, the bills of materials and checksums.txt."`
	Stamp  stampCommand  `cmd:"" help:"Write checksums and the image's digest into the files of the action."`
	Commit commitCommand `cmd:"" help:"Stamp, pin our own workflows to that commit, and tag the result. Pushes nothing."`
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, os.Args[1:])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "release: "+err.Error())
		os.Exit(1) //nolint:forbidigo // a program of its own
	}
}

func run(ctx context.Context, args []string) error {
	var commands cli
	parser, err := kong.New(&commands, kong.Name("release"), kong.BindTo(ctx, (*context.Context)(nil)))
	if err != nil {
		return fmt.Errorf("build the command line: %w", err)
	}
	chosen, err := parser.Parse(args)
	if err != nil {
		return fmt.Errorf("read the command line: %w", err)
	}
	return chosen.Run() //nolint:wrapcheck // a command's own words are for the person as they are
}

var (
	versionForm = regexp.MustCompile(`^v\d+\.\d+\.\d+(-[0-9A-Za-z.]+)?$`) // container/fetch.sh reads the same
	digestForm  = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)
)

func checkVersion(version string) error {
	if !versionForm.MatchString(version) {
		return fmt.Errorf("version %q is none: write v1.2.3 or v1.2.3-rc.1", version)
	}
	return nil
}

var errNoDigest = errors.New("the image's digest must be sha256: and 64 hexadecimal digits")
