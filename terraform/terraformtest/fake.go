// Package terraformtest is a stand-in for the Terraform binary, for tests of what the real one does rarely: to hang, to
// be killed, to print far too much, to find a lock. Tests of several packages use it; no product code does.
//
// The stand-in is the test's own binary under another name, so that no file that is being executed is ever written.
package terraformtest

import (
	"archive/zip"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Act is what the stand-in does when it is called with one subcommand.
type Act struct {
	Stdout string            `json:"stdout"`
	Stderr string            `json:"stderr"`
	Flood  int64             `json:"flood"`   // so many bytes more, to both outputs, without a newline
	Exit   int               `json:"exit"`    // exit status
	Hang   bool              `json:"hang"`    // until a signal arrives
	Deaf   bool              `json:"deaf"`    // SIGINT does not end it
	Child  bool              `json:"child"`   // leaves a child behind that holds the outputs open
	Files  map[string]string `json:"files"`   // written into the working directory
	Once   bool              `json:"once"`    // only the first time; later calls succeed silently
	Lock   string            `json:"lock"`    // a file that exists while it runs; another call at that time is an error
	Until  string            `json:"until"`   // runs until this file exists
	OnStop string            `json:"on_stop"` // printed to standard error on SIGINT
}

// Call is one call of the stand-in.
type Call struct {
	Args []string `json:"args"`
	Dir  string   `json:"dir"`
	Env  []string `json:"env"`
	PID  int      `json:"pid"`
}

// Fake is a stand-in that a test has made.
type Fake struct {
	Path string // of the binary
	dir  string
}

// Main is to be called first in TestMain. It does not return when the binary was started as the stand-in.
func Main() {
	if filepath.Base(os.Args[0]) == "terraform" {
		os.Exit(play())
	}
}

// New makes a stand-in. Subcommands that acts does not name succeed: plan writes a plan file, show prints an empty plan.
func New(t *testing.T, acts map[string]Act) *Fake {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	fake := &Fake{Path: filepath.Join(dir, "terraform"), dir: dir}
	if err := os.Symlink(self, fake.Path); err != nil {
		t.Fatal(err)
	}
	fake.Change(t, acts)
	return fake
}

// Change makes later calls do something else.
func (f *Fake) Change(t *testing.T, acts map[string]Act) {
	t.Helper()
	data, err := json.Marshal(acts)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.dir, "acts.json"), data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// Calls gives all calls so far, in order.
func (f *Fake) Calls(t *testing.T) []Call {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(f.dir, "calls"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	var calls []Call
	for line := range bytes.Lines(data) {
		var call Call
		if err := json.Unmarshal(line, &call); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, call)
	}
	return calls
}

// Commands gives the subcommands of all calls so far.
func (f *Fake) Commands(t *testing.T) []string {
	t.Helper()
	var commands []string
	for _, call := range f.Calls(t) {
		commands = append(commands, call.Args[0])
	}
	return commands
}

// Await waits until a subcommand was called, and gives the call.
func (f *Fake) Await(t *testing.T, command string) Call {
	t.Helper()
	var found Call
	called := Eventually(func() bool {
		for _, call := range f.Calls(t) {
			if call.Args[0] == command {
				found = call
				return true
			}
		}
		return false
	})
	if !called {
		t.Fatalf("terraform %s was not called", command)
	}
	return found
}

// How often, and for how long at most, Eventually looks.
const (
	lookEvery = 2 * time.Millisecond
	lookFor   = 30 * time.Second
)

// Eventually looks until what another process does is done, and reports whether it was in time. It is for processes that
// give no signal; whatever can be waited for is waited for.
func Eventually(done func() bool) bool {
	ticks := time.NewTicker(lookEvery)
	defer ticks.Stop()
	late := time.NewTimer(lookFor)
	defer late.Stop()
	for !done() {
		select {
		case <-late.C:
			return done()
		case <-ticks.C:
		}
	}
	return true
}

// Exists reports whether there is a file.
func Exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// play does what the test has written down.
func play() int {
	dir := filepath.Dir(os.Args[0])
	act, err := prepare(dir)
	if err != nil {
		fmt.Fprintln(os.Stderr, "stand-in:", err)
		return 99
	}
	if act.Lock != "" {
		if err := os.Mkdir(act.Lock, 0o700); err != nil {
			fmt.Fprintln(os.Stderr, "stand-in: two at once:", err)
			return 98
		}
		defer func() { _ = os.Remove(act.Lock) }()
	}
	for name, content := range act.Files {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			fmt.Fprintln(os.Stderr, "stand-in:", err)
		}
	}
	fmt.Fprint(os.Stdout, act.Stdout)
	fmt.Fprint(os.Stderr, act.Stderr)
	flood(act.Flood)
	if act.Child {
		leaveChild()
	}
	if act.Until != "" && !Eventually(func() bool { return Exists(act.Until) }) {
		fmt.Fprintln(os.Stderr, "stand-in: not told to go on")
		return 97
	}
	return act.Exit
}

// prepare notes the call, listens to signals and gives the act.
func prepare(dir string) (Act, error) {
	data, err := os.ReadFile(filepath.Join(dir, "acts.json")) //nolint:gosec // made by the test
	if err != nil {
		return Act{}, err
	}
	var acts map[string]Act
	if err := json.Unmarshal(data, &acts); err != nil {
		return Act{}, err
	}
	command := os.Args[1]
	act, planned := acts[command]
	if act.Once {
		marker := filepath.Join(dir, "once-"+command)
		if err := os.Mkdir(marker, 0o700); err != nil {
			act, planned = Act{}, false
		}
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT)
	go func() {
		for range signals {
			fmt.Fprint(os.Stderr, act.OnStop)
			if !act.Deaf {
				os.Exit(1)
			}
		}
	}()
	if err := note(dir); err != nil {
		return Act{}, err
	}
	if act.Hang {
		select {}
	}
	if act.Exit == 0 {
		if err := succeed(command, planned); err != nil {
			return Act{}, err
		}
	}
	return act, nil
}

// note appends the call to the list.
func note(dir string) error {
	cwd, err := os.Getwd()
	if err != nil {
		return err
	}
	line, err := json.Marshal(Call{Args: os.Args[1:], Dir: cwd, Env: os.Environ(), PID: os.Getpid()})
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Join(dir, "calls"), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600) //nolint:gosec // the test's
	if err != nil {
		return err
	}
	_, err = file.Write(append(line, '\n'))
	return errors.Join(err, file.Close())
}

// succeed does what the caller relies on.
func succeed(command string, planned bool) error {
	switch command {
	case "init":
		data := os.Getenv("TF_DATA_DIR")
		if err := os.MkdirAll(data, 0o700); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(data, "terraform.tfstate"), []byte(`{"backend":{"type":"azurerm"}}`), 0o600)
	case "plan":
		for _, argument := range os.Args {
			if name, ok := strings.CutPrefix(argument, "-out="); ok {
				return WritePlanFile(name)
			}
		}
	case "show":
		if !planned {
			fmt.Fprint(os.Stdout, `{"format_version":"1.2","terraform_version":"1.11.4"}`)
		}
	case "version":
		if !planned {
			fmt.Fprint(os.Stdout, `{"terraform_version":"1.11.4"}`)
		}
	}
	return nil
}

// WritePlanFile writes what the runner reads of a plan file.
func WritePlanFile(name string) error {
	var buffer bytes.Buffer
	archive := zip.NewWriter(&buffer)
	member, err := archive.Create("tfstate")
	if err != nil {
		return err
	}
	if _, err := member.Write([]byte(`{"version":4,"terraform_version":"1.11.4","serial":7,"lineage":"line"}`)); err != nil {
		return err
	}
	if err := archive.Close(); err != nil {
		return err
	}
	return os.WriteFile(name, buffer.Bytes(), 0o600)
}

// flood writes n bytes to each output.
func flood(n int64) {
	chunk := bytes.Repeat([]byte("x"), 1<<16)
	for ; n > 0; n -= int64(len(chunk)) {
		part := chunk[:min(n, int64(len(chunk)))]
		_, _ = os.Stdout.Write(part)
		_, _ = os.Stderr.Write(part)
	}
}

// leaveChild starts a process that outlives this one and holds its outputs open.
func leaveChild() {
	child := exec.Command("sleep", "60") //nolint:noctx // it is meant to be left behind
	child.Stdout, child.Stderr = os.Stdout, os.Stderr
	if err := child.Start(); err != nil {
		fmt.Fprintln(os.Stderr, "stand-in:", err)
	}
}
