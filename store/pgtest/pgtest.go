// Package pgtest gives tests a PostgreSQL of their own. The first test that asks starts a server, in a
// temporary directory and reachable by a socket there only; Main or Stop ends it. Each test gets an
// empty database. Only tests call it; where PostgreSQL is not installed they are skipped, and fail in
// continuous integration.
package pgtest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec" //nolint:depguard // the server of a test is a process
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

const (
	user = "switchyard"
	// unprivileged is the uid that the server gets when the test runs as root, whom PostgreSQL refuses:
	// that of nobody.
	unprivileged = 65534
	// startLimit bounds how long a server may take to start or stop.
	startLimit = time.Minute
	advice     = "install PostgreSQL 15 (apt-get install postgresql-15), or put initdb and postgres on PATH"
)

// mode is how a server treats its disk.
type mode bool

const (
	fast    mode = false // a crash of the machine may lose everything
	durable mode = true  // as in production
)

// server is one running PostgreSQL.
type server struct {
	dir     string
	process *exec.Cmd
	ended   chan struct{} // closed when the process has ended
	made    int           // databases
}

// servers are those that run, of this test binary.
var servers = struct {
	sync.Mutex

	running map[mode]*server
}{running: map[mode]*server{}}

// Main runs the tests of a package and ends the servers: func TestMain(m *testing.M) { os.Exit(pgtest.Main(m)) }.
func Main(m *testing.M) int {
	// A test that is interrupted leaves no server behind either.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		<-signals
		Stop()
		os.Exit(1)
	}()
	defer Stop()
	return m.Run()
}

// New makes an empty database that is dropped when the test ends, and returns its URL. The server does
// not wait for its disk: use Durable to measure.
func New(t testing.TB) string {
	t.Helper()
	return database(t, fast)
}

// Durable is New on a server that waits for its disk, as in production.
func Durable(t testing.TB) string {
	t.Helper()
	return database(t, durable)
}

// Stop ends the servers of this process.
func Stop() {
	servers.Lock()
	defer servers.Unlock()
	for mode, s := range servers.running {
		_ = s.process.Process.Signal(syscall.SIGINT) // a fast shutdown
		<-s.ended
		_ = os.RemoveAll(s.dir)
		delete(servers.running, mode)
	}
}

func database(t testing.TB, m mode) string {
	t.Helper()
	bin, err := binaries()
	if err != nil {
		message := fmt.Sprintf("no PostgreSQL here: %v; %s", err, advice)
		if os.Getenv("CI") != "" {
			t.Fatal(message)
		}
		fmt.Fprintln(os.Stderr, "SKIPPED "+t.Name()+": "+message)
		t.Skip(message)
	}
	s, name, err := started(bin, m)
	if err != nil {
		t.Fatalf("start PostgreSQL: %v", err)
	}
	s.admin(t, "CREATE DATABASE "+name)
	t.Cleanup(func() { s.admin(t, "DROP DATABASE "+name+" WITH (FORCE)") })
	return s.url(name)
}

// binaries finds the directory of initdb and postgres: Debian's newest, else the one on PATH.
func binaries() (string, error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL: %w", err)
	}
	if preferred := "/usr/lib/postgresql/15/bin/initdb"; slices.Contains(dirs, preferred) {
		return filepath.Dir(preferred), nil
	}
	if len(dirs) > 0 {
		return filepath.Dir(dirs[len(dirs)-1]), nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", fmt.Errorf("look for PostgreSQL: %w", err)
	}
	return filepath.Dir(initdb), nil
}

// started returns the running server of a mode and the name of a new database.
func started(bin string, m mode) (*server, string, error) {
	servers.Lock()
	defer servers.Unlock()
	s, ok := servers.running[m]
	if !ok {
		var err error
		if s, err = start(bin, m); err != nil {
			return nil, "", err
		}
		servers.running[m] = s
	}
	s.made++
	return s, "t" + strconv.Itoa(s.made), nil
}

func start(bin string, m mode) (*server, error) {
	dir, err := os.MkdirTemp("", "pg") // short: the path of a socket has 107 bytes at most
	if err != nil {
		return nil, fmt.Errorf("make a directory: %w", err)
	}
	s := &server{dir: dir}
	if err := s.start(bin, m); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return s, nil
}

func (s *server) start(bin string, m mode) error {
	if os.Getuid() == 0 {
		if err := os.Chown(s.dir, unprivileged, unprivileged); err != nil {
			return fmt.Errorf("give the directory away: %w", err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	data := filepath.Join(s.dir, "data")
	initdb := exec.CommandContext(ctx, filepath.Join(bin, "initdb"), //nolint:gosec // a program of the system
		"--pgdata="+data, "--username="+user, "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--no-instructions")
	s.confine(initdb)
	if output, err := initdb.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, output)
	}
	args := []string{
		"-D", data, "-c", "listen_addresses=", "-c", "unix_socket_directories=" + s.dir, "-c", "max_connections=300",
		"-c", "logging_collector=off", "-c", "autovacuum_naptime=1s",
	}
	if m == fast {
		args = append(args, "-c", "fsync=off", "-c", "full_page_writes=off")
	}
	log, err := os.Create(filepath.Join(s.dir, "log"))
	if err != nil {
		return fmt.Errorf("make the log: %w", err)
	}
	defer func() { _ = log.Close() }()                                // the server has its own copy
	s.process = exec.Command(filepath.Join(bin, "postgres"), args...) //nolint:gosec,noctx // a program of the system; Stop ends it
	s.process.Stdout, s.process.Stderr = log, log
	s.confine(s.process)
	if err := s.run(); err != nil {
		return fmt.Errorf("start postgres: %w", err)
	}
	if err := s.ready(ctx); err != nil {
		_ = s.process.Process.Kill()
		<-s.ended
		text, _ := os.ReadFile(log.Name())
		return fmt.Errorf("postgres does not answer: %w\n%s", err, text)
	}
	return nil
}

// run starts the server. It ends when the thread ends that started it, so that one is kept: a test that
// panics or is killed leaves no server behind.
func (s *server) run() error {
	s.ended = make(chan struct{})
	began := make(chan error)
	go func() {
		defer close(s.ended)
		runtime.LockOSThread() // never unlocked
		err := s.process.Start()
		began <- err
		if err == nil {
			_ = s.process.Wait() // it ends when it is told to
		}
	}()
	return <-began
}

// confine makes a process one of nobody, if need be, that ends with the thread that starts it.
func (s *server) confine(cmd *exec.Cmd) {
	cmd.Dir, cmd.Env = s.dir, []string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C"}
	cmd.SysProcAttr = rights(os.Getuid() == 0)
}

// ready waits until the server answers.
func (s *server) ready(ctx context.Context) error {
	ticker := time.NewTicker(20 * time.Millisecond) //nolint:forbidigo // a process starts in real time
	defer ticker.Stop()
	for {
		conn, err := pgx.Connect(ctx, s.url("postgres"))
		if err == nil {
			return conn.Close(ctx) //nolint:wrapcheck // start wraps it
		}
		select {
		case <-ctx.Done():
			return err //nolint:wrapcheck // start wraps it
		case <-ticker.C:
		}
	}
}

func (s *server) url(name string) string {
	return (&url.URL{
		Scheme: "postgres", Path: "/" + name, RawQuery: url.Values{"host": {s.dir}, "user": {user}}.Encode(),
	}).String()
}

// admin runs one statement on the server.
func (s *server) admin(t testing.TB, statement string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), startLimit)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.url("postgres"))
	if err != nil {
		t.Errorf("connect to PostgreSQL: %v", err)
		return
	}
	defer func() { _ = conn.Close(ctx) }() // nothing is left to be said
	if _, err := conn.Exec(ctx, statement); err != nil {
		t.Errorf("%s: %v", statement, err)
	}
}
