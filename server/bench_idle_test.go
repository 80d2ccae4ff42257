package server_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// BenchmarkIdle measures the stripped binary, and the memory of `switchyard serve` when it has begun, and
// when it has taken in a repository and has nothing to do.
func BenchmarkIdle(b *testing.B) {
	program := filepath.Join(b.TempDir(), "switchyard")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", program, "../cmd/app")
	if out, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v: %s", err, out)
	}
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	var began, idle []float64
	for b.Loop() {
		s := startServe(b, program)
		began = append(began, s.memory(b))
		if err := s.box.Install(b.Context(), "acme", "fleet"); err != nil {
			b.Fatal(err)
		}
		s.eventually("the repository is taken in", func() bool { return s.box.Calls()["GET /repos/{owner}/{repo}/pulls"] > 0 })
		s.quiet()
		idle = append(idle, s.memory(b))
		s.end(b)
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(float64(info.Size())/(1<<20), "MiB-binary")
	b.ReportMetric(median(began), "MiB-begun")
	b.ReportMetric(median(idle), "MiB-idle")
}

// served is a `switchyard serve` of its own process, beside a sandbox.
type served struct {
	*fleet
	box *sandbox.Sandbox
	cmd *exec.Cmd
}

func startServe(b *testing.B, program string) *served {
	b.Helper()
	dir := b.TempDir()
	box, err := sandbox.Start(b.Context(), sandbox.Options{Dir: filepath.Join(dir, "github"), Log: zerolog.Nop()})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = box.Close() })
	w := &world{Box: box, States: filepath.Join(dir, "states"), t: b, ctx: b.Context(), data: filepath.Join(dir, "data")}
	files, _ := fleetFiles(1)
	for path, content := range files {
		files[path] = strings.ReplaceAll(content, "STATES", w.States)
	}
	s := &served{box: box, fleet: &fleet{shop: &shop{world: w, repo: seedFleet(b, box, files)}}}
	address := freeAddress(b)
	s.cmd = exec.CommandContext(b.Context(), program, "serve") //nolint:gosec // built above
	s.cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "SWITCHYARD_LISTEN=" + address, "SWITCHYARD_DATA_DIR=" + w.data,
		"SWITCHYARD_APP_ID=" + strconv.FormatInt(box.AppID(), 10), "SWITCHYARD_PRIVATE_KEY=" + string(box.PrivateKey()),
		"SWITCHYARD_WEBHOOK_SECRETS=" + box.WebhookSecret(), "SWITCHYARD_GITHUB_URL=" + box.URL(),
	}
	log, err := s.cmd.StderrPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = s.cmd.Process.Kill() }) // it has ended, as a rule
	lines := bufio.NewScanner(log)
	for lines.Scan() && !bytes.Contains(lines.Bytes(), []byte(`"serving"`)) {
		b.Log(lines.Text())
	}
	go func() { _, _ = io.Copy(io.Discard, log) }()
	box.SetWebhookURL("http://" + address + "/api/github/hook")
	return s
}

// freeAddress is one that nobody listens on.
func freeAddress(b *testing.B) string {
	b.Helper()
	listener, err := (&net.ListenConfig{}).Listen(b.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	return listener.Addr().String()
}

// memory is the resident memory of the server in MiB.
// https://man7.org/linux/man-pages/man5/proc_pid_status.5.html
func (s *served) memory(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		b.Skipf("this system does not say how much memory a process has: %v", err)
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	var kib float64
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		b.Fatal(err)
	}
	return kib / (1 << 10)
}

func (s *served) end(b *testing.B) {
	b.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		b.Fatal(err)
	}
	if err := s.cmd.Wait(); err != nil {
		b.Fatalf("the server did not end well: %v", err)
	}
}
