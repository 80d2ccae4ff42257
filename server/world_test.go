package server_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/runner"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/server"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// TestMain lets the test binary be the runner that the local executor starts, and a server that can be killed.
func TestMain(m *testing.M) {
	if len(os.Args) == 2 && os.Args[1] == "serve" {
		if err := serve(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "version" {
		fmt.Println("switchyard (test)")
		os.Exit(0)
	}
	if len(os.Args) == 2 && os.Args[1] == "action" {
		os.Exit(actInProcess())
	}
	if len(os.Args) > 1 && os.Args[1] == "run" {
		if err := runner.Main(context.Background(), os.Args[3], os.Args[5], os.Stdout); err != nil { // run --task FILE --result FILE
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(pgtest.Main(m))
}

// world is a sandbox with a server of its own that is installed on acme/network.
type world struct {
	*story.Story
	Server *server.Server
	Box    *sandbox.Sandbox
	Repo   *sandbox.Repository
	States string

	t    testing.TB
	ctx  context.Context //nolint:containedctx // the life of the test
	data string
	stop func()

	clock clockwork.Clock // of the server; nil: the real one
}

// quiet logs nothing: a test that fails prints what GitHub got.
var quiet = zerolog.Nop() //nolint:gochecknoglobals // a constant in all but name

// patience is how long a test waits for one thing.
const patience = 60 * time.Second

// newWorld starts a sandbox and a server on it. What the sandbox answers and what the server asks is
// held to GitHub's published descriptions.
func newWorld(t testing.TB, change ...func(*settings.Settings)) *world {
	t.Helper()
	return newWorldThatLogs(t, quiet, change...)
}

// newWorldThatLogs is newWorld with a log that the test reads.
func newWorldThatLogs(t testing.TB, log zerolog.Logger, change ...func(*settings.Settings)) *world {
	t.Helper()
	return newWorldAt(t, nil, log, change...)
}

// newWorldAt is newWorldThatLogs with a clock of the server and of GitHub; nil is the real one.
func newWorldAt(t testing.TB, clock clockwork.Clock, log zerolog.Logger, change ...func(*settings.Settings)) *world {
	t.Helper()
	return newWorldOn(t, func(*sandbox.Options) {}, clock, log, change...)
}

// newWorldOn is newWorldAt with a stand-in that is changed before it starts.
func newWorldOn(t testing.TB, box func(*sandbox.Options), clock clockwork.Clock, log zerolog.Logger,
	change ...func(*settings.Settings),
) *world {
	t.Helper()
	return newWorldPrepared(t, box, story.Prepare, clock, log, change...)
}

// preparer prepares a story, as story.Prepare does.
type preparer func(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer) (*story.Story, error)

// newWorldPrepared is newWorldOn with a story that is prepared otherwise.
func newWorldPrepared(
	t testing.TB, box func(*sandbox.Options), prepare preparer, clock clockwork.Clock, log zerolog.Logger, change ...func(*settings.Settings),
) *world {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	t.Cleanup(cancel)
	held := contract.Watch(t)
	dir := t.TempDir()
	github := sandbox.Options{Dir: filepath.Join(dir, "github"), Observe: held.Observe, Log: quiet}
	if clock != nil {
		github.Now = clock.Now
	}
	box(&github)
	started, err := sandbox.Start(ctx, github)
	if err != nil {
		t.Fatalf("start the sandbox: %v", err)
	}
	t.Cleanup(func() {
		_ = started.Close()
		if unserved := started.Unserved(); len(unserved) > 0 {
			t.Errorf("the sandbox does not serve %s", strings.Join(unserved, ", "))
		}
	})
	w := &world{Box: started, States: filepath.Join(dir, "states"), t: t, ctx: ctx, data: filepath.Join(dir, "data"), clock: clock}
	if w.Story, err = prepare(ctx, started, w.States, io.Discard); err != nil {
		t.Fatalf("prepare the story: %v", err)
	}
	w.Repo = w.Story.Repo
	w.start(log, change...)
	if err := started.Install(ctx, "acme", "network"); err != nil {
		t.Fatalf("install the App: %v", err)
	}
	return w
}

// start starts a server on the world's data directory.
func (w *world) start(log zerolog.Logger, change ...func(*settings.Settings)) {
	w.t.Helper()
	program, err := os.Executable()
	if err != nil {
		w.t.Fatal(err)
	}
	options := server.ForSandbox(w.Box, w.data, program, log)
	options.Clock = w.clock
	options.Env = w.Store.Env
	if err := os.MkdirAll(w.States, 0o700); err != nil {
		w.t.Fatal(err)
	}
	options.Settings.Isolation.Write = []string{w.States}
	for _, c := range change {
		c(&options.Settings)
	}
	if w.Server, err = server.New(w.ctx, options); err != nil {
		w.t.Fatalf("start the server: %v", err)
	}
	w.Box.SetWebhookURL(w.Server.URL() + "/api/github/hook")
	ctx, cancel := context.WithCancel(w.ctx)
	done := make(chan error, 1)
	go func() { done <- w.Server.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			w.t.Errorf("server: %v", err)
		}
	})
	w.t.Cleanup(w.stop)
}

// eventually waits until GitHub shows something.
func (w *world) eventually(what string, shown func() bool) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.ctx, patience)
	defer cancel()
	if err := w.Box.Await(ctx, shown); err != nil {
		w.t.Fatalf("%s: %v\neffects:\n%s", what, err, strings.Join(w.Box.Effects(), "\n"))
	}
}
