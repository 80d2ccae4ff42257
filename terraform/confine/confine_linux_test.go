package confine_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// TestMain lets the test's own binary be the program that is confined, and the server that it attacks.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 && os.Args[1] == "probe" {
		os.Exit(playProbe(os.Args[2]))
	}
	if len(os.Args) == 3 && os.Args[1] == "victim" {
		os.Exit(playVictim(os.Args[2]))
	}
	os.Exit(m.Run())
}

// beVictim opens what an attacker would like to have.
func beVictim(dir string) (s scene, stop func(), err error) {
	signal.Notify(make(chan os.Signal, 1), unix.SIGUSR1) // being hit must not end the test
	if os.Getenv("HIDE") != "" {
		if err := confine.HideProcess(); err != nil {
			return scene{}, nil, err
		}
	}
	key, err := os.Open(filepath.Join(dir, "app.pem")) //nolint:gosec // made by the test
	if err != nil {
		return scene{}, nil, err
	}
	s = scene{Victim: os.Getpid(), Address: uint64(uintptr(unsafe.Pointer(&held[0]))), Fd: int(key.Fd()), Host: dir} //nolint:gosec // an address
	s.Socket, s.Path = fmt.Sprintf("@switchyard-test-%d", s.Victim), filepath.Join(dir, "socket")
	for _, listen := range []struct{ network, address string }{{"unix", s.Socket}, {"unix", s.Path}, {"tcp", "127.0.0.1:0"}} {
		listener, err := net.Listen(listen.network, listen.address) //nolint:noctx // at once
		if err != nil {
			return scene{}, nil, err
		}
		s.TCP = listener.Addr().String() // the last one
	}
	return s, func() { _ = key.Close() }, nil
}

// host is a server's directory and process.
type host struct {
	scene
	t    *testing.T
	self string
}

// newHost makes one. Its secret is in files, in memory and in the environment of a process.
func newHost(t *testing.T, env ...string) *host {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := shortDir(t)
	at := func(name string) string { return filepath.Join(dir, "data", name) }
	files := slices.Concat(hostFiles(), []string{"empty.db", "work/other/old.tf", "modes"})
	for _, name := range files {
		if err := errors.Join(os.MkdirAll(filepath.Dir(at(name)), 0o700), os.WriteFile(at(name), []byte(secret), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	own, lent := at("work/mine"), at("cache")
	err = errors.Join(os.Mkdir(own, 0o700), os.Mkdir(lent, 0o700), os.WriteFile(filepath.Join(lent, "provider"), nil, 0o600))
	if err != nil {
		t.Fatal(err)
	}
	victim := exec.CommandContext(t.Context(), self, "victim", filepath.Join(dir, "data"))
	victim.Env = append([]string{"SECRET=" + secret}, env...)
	victim.Stderr = os.Stderr
	in, err := victim.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = in.Close(), victim.Wait() })
	h := &host{t: t, self: self}
	if err := json.NewDecoder(out).Decode(&h.scene); err != nil {
		t.Fatal(err)
	}
	h.Own, h.Lent = own, lent
	return h
}

// shortDir is a temporary directory with a path that is short enough for a socket.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "confine-") //nolint:usetesting // a socket in it needs a short path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// policy is what Terraform gets, and the test's own binary.
func (h *host) policy() confine.Policy {
	return confine.Policy{Read: []string{h.Lent, h.self}, Write: []string{h.Own}}
}

// probe runs the attempts in a program that start starts.
func (h *host) probe(start func(*exec.Cmd) error) answer {
	h.t.Helper()
	argument, err := json.Marshal(h.scene)
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(h.t.Context(), h.self, "probe", string(argument))
	cmd.Env, cmd.Dir = []string{"PATH=/bin:/usr/bin", "TMPDIR=" + h.Own}, h.Own
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	if err := start(cmd); err != nil {
		h.t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		h.t.Fatalf("%v: %s", err, said.String())
	}
	var found answer
	if err := json.Unmarshal(out.Bytes(), &found); err != nil {
		h.t.Fatal(err)
	}
	return found
}

// need ends a test where it cannot say anything.
func need(t *testing.T) {
	t.Helper()
	if lacking := confine.Missing(); len(lacking) > 0 {
		t.Skipf("THIS KERNEL CANNOT ENFORCE %v: what they close is not tested here", lacking)
	}
}

func TestPlanCodeCannotReachTheServer(t *testing.T) {
	t.Parallel()
	need(t)
	h := newHost(t)
	found := h.probe(h.policy().Start)
	for _, p := range forbidden() {
		if found.Tried[p.name] == "" {
			t.Errorf("it could: %s", p.name)
		}
	}
	for _, p := range allowed() {
		if problem := found.Tried[p.name]; problem != "" {
			t.Errorf("it could not: %s: %s", p.name, problem)
		}
	}
	for _, p := range known() {
		t.Logf("%s: %q", p.name, found.Tried[p.name])
	}
	want := "effective 000000000, permitted 000000000, no new privileges 1"
	if got := strings.Join(found.Rights, ", "); got != want {
		t.Errorf("its rights: %s, want %s", got, want)
	}
}

// What is refused above must work for a program that is not confined, or nothing was shown.
func TestPlanCodeThatIsNotConfinedReachesTheServer(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	found := h.probe((*exec.Cmd).Start)
	scope, err := os.ReadFile("/proc/sys/kernel/yama/ptrace_scope")
	restricted := err == nil && strings.TrimSpace(string(scope)) != "0"
	for _, p := range slices.Concat(forbidden(), allowed(), known()) {
		problem := found.Tried[p.name]
		if problem == "" {
			continue
		}
		if restricted && strings.Contains(p.name, "memory") || strings.Contains(p.name, "pidfd") && restricted {
			t.Logf("this machine closes it by itself: %s: %s", p.name, problem)
			continue
		}
		t.Errorf("it could not: %s: %s", p.name, problem)
	}
}

// Without Landlock the memory and environment of a hidden process are closed all the same.
func TestHiddenProcessIsClosedWithoutLandlock(t *testing.T) {
	t.Parallel()
	h := newHost(t, "HIDE=1")
	found := h.probe(func(cmd *exec.Cmd) error {
		if os.Geteuid() == 0 { // root is kept out only once its capabilities are gone
			return confine.StartWithoutLandlock(cmd)
		}
		return cmd.Start()
	})
	for _, p := range forbidden() {
		if strings.Contains(p.name, "memory") || strings.Contains(p.name, "environment") || strings.Contains(p.name, "open file") {
			if found.Tried[p.name] == "" {
				t.Errorf("it could: %s", p.name)
			}
		}
	}
}

// The same again as a user without rights, who is the one that a server should run as.
func TestAllOfItAsAnOrdinaryUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("the tests run as an ordinary user already")
	}
	dir, err := os.MkdirTemp("/tmp", "confine-user-") //nolint:usetesting // the other user must get into it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	const nobody = 65534
	temp := filepath.Join(dir, "tmp")
	if err := errors.Join(os.Chmod(dir, 0o755), os.Mkdir(temp, 0o700), os.Chown(temp, nobody, nobody)); err != nil { //nolint:gosec // others must enter
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "confine.test")
	// Another program copies it: a file that we have open for writing while a parallel test forks cannot be executed.
	if out, err := exec.CommandContext(t.Context(), "cp", self, program).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), program, "-test.v", "-test.run=^Test")
	cmd.Env, cmd.Dir = []string{"PATH=" + os.Getenv("PATH"), "TMPDIR=" + temp}, temp
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
	out, err := cmd.CombinedOutput()
	t.Logf("as user %d:\n%s", nobody, out)
	if err != nil || !bytes.Contains(out, []byte("--- PASS: TestPlanCodeThatIsNotConfinedReachesTheServer")) {
		t.Errorf("as an ordinary user: %v", err)
	}
}

func TestStartSaysWhichPathIsNotThere(t *testing.T) {
	t.Parallel()
	need(t)
	cmd := exec.CommandContext(t.Context(), "/bin/true")
	err := confine.Policy{Write: []string{"/nonexistent/states"}}.Start(cmd)
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/states") || cmd.Process != nil {
		t.Errorf("got %v", err)
	}
}

// The threads that confine themselves must not be used again: whatever runs later has all its rights.
func TestOurselvesAreNotConfined(t *testing.T) {
	t.Parallel()
	need(t)
	outside := filepath.Join(t.TempDir(), "x")
	for range 50 {
		cmd := exec.CommandContext(t.Context(), "/bin/true")
		if err := (confine.Policy{}).Start(cmd); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 8)
		for range cap(done) {
			go func() { done <- os.WriteFile(outside, nil, 0o600) }()
		}
		for range cap(done) {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
	}
	status, err := os.ReadFile("/proc/self/status") // of the first thread
	if err != nil || !bytes.Contains(status, []byte("NoNewPrivs:\t0")) {
		t.Errorf("%v\n%s", err, status)
	}
}

func BenchmarkStart(b *testing.B) {
	for name, start := range map[string]func(*exec.Cmd) error{"confined": confine.Policy{}.Start, "not confined": (*exec.Cmd).Start} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				cmd := exec.CommandContext(b.Context(), "/bin/true")
				if err := errors.Join(start(cmd), cmd.Wait()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
