package main_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
)

// served is a `switchyard serve` of its own process.
type served struct {
	*exec.Cmd

	address string
	lines   chan string // of its log
}

func startServe(t *testing.T) served {
	t.Helper()
	box, err := sandbox.Start(t.Context(), sandbox.Options{Dir: t.TempDir(), Log: zerolog.Nop(), Observe: contract.Watch(t).Observe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := served{address: listener.Addr().String(), lines: make(chan string, 1000)}
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.Cmd = exec.CommandContext(ctx, program, "serve")
	s.Env = append(s.Env, beSwitchyard+"=1", "PATH="+os.Getenv("PATH"), "SWITCHYARD_LISTEN="+s.address, "SWITCHYARD_DATA_DIR="+filepath.Join(t.TempDir(), "data"),
		"SWITCHYARD_APP_ID="+strconv.FormatInt(box.AppID(), 10), "SWITCHYARD_PRIVATE_KEY="+string(box.PrivateKey()),
		"SWITCHYARD_WEBHOOK_SECRETS="+box.WebhookSecret(), "SWITCHYARD_GITHUB_URL="+box.URL(), "SWITCHYARD_DRAIN=1m")
	log, err := s.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(s.lines)
		for scanner := bufio.NewScanner(log); scanner.Scan(); {
			s.lines <- scanner.Text()
		}
	}()
	s.says(t, `"serving"`)
	return s
}

// says waits for a line of the log.
func (s served) says(t *testing.T, words string) {
	t.Helper()
	for line := range s.lines {
		if strings.Contains(line, words) {
			return
		}
	}
	t.Fatalf("the server ended without a line with %q", words)
}

func (s served) signal(t *testing.T) {
	t.Helper()
	if err := s.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
}

func TestAServerThatIsToldToEndDrainsAndEndsWell(t *testing.T) {
	t.Parallel()
	s := startServe(t)
	s.signal(t)
	s.says(t, "draining")
	for range s.lines { // until it ends
	}
	if err := s.Wait(); err != nil {
		t.Errorf("it ended with %v", err)
	}
}

func TestASecondSignalIsLoudAndEndsAServerAtOnce(t *testing.T) {
	t.Parallel()
	s := startServe(t)
	conn, err := net.Dial("tcp", s.address) //nolint:noctx // on loopback, to a server that listens
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	// A request whose body never comes keeps the server draining.
	if _, err := fmt.Fprint(conn, "POST /api/github/hook HTTP/1.1\r\nHost: x\r\nX-GitHub-Event: ping\r\nContent-Length: 10\r\n\r\n{"); err != nil {
		t.Fatal(err)
	}
	s.signal(t)
	s.says(t, "draining")
	s.signal(t)
	s.says(t, "second signal")
	for range s.lines { // until it ends
	}
	if err := s.Wait(); err == nil || s.ProcessState.ExitCode() != 1 {
		t.Errorf("it ended with %v", err)
	}
}
