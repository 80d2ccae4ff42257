//go:build unix

package statelock_test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox/azure"
	"github.com/switchyard-dev/switchyard/statelock"
)

// root is a configuration whose apply says that it has begun and then waits for a word, unless GO is set.
const root = `terraform {
  backend "%s" {}
}
resource "terraform_data" "slow" {
  provisioner "local-exec" {
    command = "[ -n \"$GO\" ] || { echo begun > begun; read word < word; }"
  }
}
`

// program is Terraform, or OpenTofu, at work in a directory.
type program struct {
	*testing.T

	path, dir string
	env       []string
}

func (p *program) command(ctx context.Context, env []string, args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.CommandContext(ctx, p.path, args...)
	cmd.Dir, cmd.Env = p.dir, slices.Concat(p.env, env)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	return cmd, &out
}

// run runs it to its end.
func (p *program) run(env []string, args ...string) (string, error) {
	cmd, out := p.command(p.Context(), env, args...)
	err := cmd.Run()
	return out.String(), err
}

// begin begins an apply and comes back when that is in the middle.
func (p *program) begin() (*exec.Cmd, *bytes.Buffer) {
	p.Helper()
	cmd, out := p.command(p.Context(), nil, "apply", "-auto-approve", "-input=false", "-no-color")
	if err := cmd.Start(); err != nil {
		p.Fatal(err)
	}
	if got := p.pipe("begun", os.O_RDONLY, ""); !strings.Contains(got, "begun") {
		_ = cmd.Cancel()
		_ = cmd.Wait()
		p.Fatalf("the apply has not begun: %s", out)
	}
	return cmd, out
}

// pipe reads from a named pipe, or writes to it; both wait for the other end.
func (p *program) pipe(name string, how int, text string) string {
	p.Helper()
	done := make(chan string, 1)
	go func() {
		file, err := os.OpenFile(filepath.Join(p.dir, name), how, 0)
		if err != nil {
			done <- err.Error()
			return
		}
		defer func() { _ = file.Close() }()
		if how == os.O_WRONLY {
			_, err := file.WriteString(text)
			done <- fmt.Sprint(err)
			return
		}
		line := make([]byte, 64)
		n, _ := file.Read(line)
		done <- string(line[:n])
	}()
	select {
	case said := <-done:
		return said
	case <-time.After(time.Minute):
		return "nobody is there"
	}
}

// installed gives the path of a program.
func installed(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		if name == "terraform" && os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip("NO LOCK OF " + strings.ToUpper(name) + " ITSELF IS TESTED: it is not installed")
	}
	return path
}

func newProgram(t *testing.T, path, kind string, backend, env map[string]string) *program {
	t.Helper()
	p := &program{T: t, path: path, dir: t.TempDir()}
	p.env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "CHECKPOINT_DISABLE=1", "TF_CLI_CONFIG_FILE=" + filepath.Join(p.dir, "none")}
	for name, value := range env {
		p.env = append(p.env, name+"="+value)
	}
	for name, text := range map[string]string{"main.tf": fmt.Sprintf(root, kind), "none": ""} {
		if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"begun", "word"} {
		if err := syscall.Mkfifo(filepath.Join(p.dir, name), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	init := []string{"init", "-input=false", "-no-color"}
	for name, value := range backend {
		init = append(init, "-backend-config="+name+"="+value)
	}
	if out, err := p.run(nil, init...); err != nil {
		t.Fatalf("init: %v: %s", err, out)
	}
	return p
}

// TestALockOfARealApply takes a lock over under a live apply, and after one that was killed.
func TestALockOfARealApply(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"terraform", "tofu"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := installed(t, name)
			c := newCloud(t)
			s, p := c.state(t, "network-"+name), newProgram(t, path, statelock.Azurerm, c.Backend("network-"+name), c.Env())
			lock := s.open()

			live, out := p.begin()
			explained := s.inspect(lock)
			if explained.Lease != operation.LeaseHeld || explained.Info == nil || explained.Info.Operation != "OperationTypeApply" ||
				!strings.HasSuffix(explained.Info.Path, azure.Container+"/"+s.key) {
				t.Fatalf("found %+v %+v", explained, explained.Info)
			}
			broken, err := lock.Break(s.Context(), task(explained))
			if err != nil || broken.How != operation.ReleasedTaken {
				t.Fatalf("%v, %+v", err, broken)
			}
			p.pipe("word", os.O_WRONLY, "go\n")
			if err := live.Wait(); err == nil || !strings.Contains(out.String(), "412") {
				t.Errorf("who had the lock went on: %v: %s", err, out)
			}
			if _, err := os.Stat(filepath.Join(p.dir, "errored.tfstate")); err != nil {
				t.Error(err)
			}
			if now := s.inspect(lock); now.Lease != operation.LeaseFree || now.Serial != explained.Serial {
				t.Errorf("afterwards: %+v", now)
			}

			killed, _ := p.begin()
			_ = killed.Cancel()
			_ = killed.Wait()
			explained = s.inspect(lock)
			if explained.Lease != operation.LeaseHeld || explained.Info == nil {
				t.Fatalf("found %+v", explained)
			}
			if out, err := p.run([]string{"GO=1"}, "apply", "-auto-approve", "-input=false", "-no-color"); err == nil ||
				!strings.Contains(out, explained.Info.ID) {
				t.Errorf("an apply met no lock: %v: %s", err, out)
			}
			broken, err = lock.Break(s.Context(), task(explained))
			if err != nil || broken.How != operation.ReleasedTaken || !broken.Verified {
				t.Fatalf("%v, %+v", err, broken)
			}
			if out, err := p.run([]string{"GO=1"}, "apply", "-auto-approve", "-input=false", "-no-color"); err != nil {
				t.Errorf("the next apply: %v: %s", err, out)
			}
			if now := s.inspect(lock); now.Lease != operation.LeaseFree || now.Resources != 1 {
				t.Errorf("afterwards: %+v", now)
			}
		})
	}
}

// Terraform's http backend stays locked, too, when an apply is killed.
func TestALockOfARealApplyBehindAServer(t *testing.T) {
	t.Parallel()
	server := newServer(t)
	server.state = ""
	backend := map[string]string{}
	for name, value := range server.config() {
		backend[name], _ = value.(string)
	}
	p := newProgram(t, installed(t, "terraform"), statelock.HTTP, backend, nil)
	lock := server.open(t)

	killed, _ := p.begin()
	explained, err := lock.Inspect(t.Context())
	if err != nil || explained.Lease != operation.LeaseHeld || explained.Info.Operation != "OperationTypeApply" || explained.Info.Who == "" {
		t.Fatalf("%v, %+v", err, explained)
	}
	_ = killed.Cancel()
	_ = killed.Wait()
	if server.holder() != explained.Info.ID {
		t.Fatalf("the lock is %q, not %q", server.holder(), explained.Info.ID)
	}
	broken, err := lock.Break(t.Context(), task(explained))
	if err != nil || broken.How != operation.ReleasedTaken {
		t.Fatalf("%v, %+v", err, broken)
	}
	if out, err := p.run([]string{"GO=1"}, "apply", "-auto-approve", "-input=false", "-no-color"); err != nil {
		t.Errorf("the next apply: %v: %s", err, out)
	}
	if now, err := lock.Inspect(t.Context()); err != nil || now.Lease != operation.LeaseFree || now.Resources != 1 {
		t.Errorf("%v, afterwards: %+v", err, now)
	}
}

// To open a pipe would wait for somebody who writes.
func TestAPipeIsNoState(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "terraform.tfstate")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := statelock.Open(t.Context(), statelock.Local, map[string]any{"path": pipe}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Inspect(t.Context()); err == nil || !strings.Contains(err.Error(), "is no file") {
		t.Errorf("got %v", err)
	}
}
