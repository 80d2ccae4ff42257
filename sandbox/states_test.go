package sandbox_test

import (
	"bufio"
	"bytes"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// asTerraform sends what Terraform's http backend would, and gives the status and the body of the answer.
func asTerraform(t *testing.T, method, address, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer bytes.Buffer
	if _, err := answer.ReadFrom(response.Body); err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", response.StatusCode, answer.String()))
}

func TestStatesAreWrittenByTheHolderOfTheirLock(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	at := w.StateBackend("network-prod")["address"]
	const ours, others = `{"ID":"one","Who":"ana@laptop"}`, `{"ID":"two"}`
	for _, c := range []struct{ name, method, address, body, want string }{
		{"there is no state yet", "GET", at, "", "404"},
		{"a state that nobody holds is written", "POST", at, `{"serial":1}`, "200"},
		{"and read", "GET", at, "", `200 {"serial":1}`},
		{"something that is no state is not", "POST", at, "hello", "400"},
		{"a lock is taken", "LOCK", at, ours, "200"},
		{"once, and who comes later hears who has it", "LOCK", at, others, "423 " + ours},
		{"the holder itself does not get it twice", "LOCK", at, ours, "423 " + ours},
		{"a lock without an id is none", "LOCK", at, `{}`, "400"},
		{"the state can be read", "GET", at, "", `200 {"serial":1}`},
		{"it is not written without the lock's id", "POST", at, `{"serial":2}`, "423 " + ours},
		{"nor with another one", "POST", at + "?ID=two", `{"serial":2}`, "423 " + ours},
		{"nor deleted", "DELETE", at, "", "423 " + ours},
		{"but with the right one", "POST", at + "?ID=one", `{"serial":2}`, "200"},
		{"another lock does not release it", "UNLOCK", at, others, "409 " + ours},
		{"its own does", "UNLOCK", at, ours, "200"},
		{"who had it writes with its old id as everybody may", "POST", at + "?ID=one", `{"serial":3}`, "200"},
		{"it is locked again", "LOCK", at, others, "200"},
		{"and then not by who had it", "POST", at + "?ID=one", `{"serial":4}`, "423 " + others},
		{"force-unlock says no id", "UNLOCK", at, "", "200"},
		{"what is not locked can be released", "UNLOCK", at, "", "200"},
		{"it is deleted", "DELETE", at, "", "200"},
		{"and gone", "GET", at, "", "404"},
		{"no path leads elsewhere", "GET", w.URL() + "/_states/..%2f..%2fetc", "", "404 No state may be called that."},
		{"and there are other methods", "PATCH", at, "", "405"},
		{"what is too large is not kept", "POST", at, `"` + strings.Repeat("x", 17<<20) + `"`, "413 The request is too large."},
		{"nor a holder who says too much", "LOCK", at, `{"ID":"` + strings.Repeat("x", 70_000) + `"}`, "400"},
	} {
		if got := asTerraform(t, c.method, c.address, c.body); got != c.want {
			t.Errorf("%s: %.200s, not %.200s", c.name, got, c.want)
		}
	}
	w.SetStatePassword("terraform", "swordfish")
	if got := asTerraform(t, "GET", at, ""); got != "401 Who is this?" {
		t.Error(got)
	}
	if got := asTerraform(t, "LOCK", strings.Replace(at, "://", "://terraform:swordfish@", 1), ours); got != "200" {
		t.Error(got)
	}
	want := map[string]string{"address": at, "lock_address": at, "unlock_address": at, "username": "terraform", "password": "swordfish"}
	if diff := cmp.Diff(want, w.StateBackend("network-prod")); diff != "" {
		t.Error(diff)
	}
	if content, lock := w.State("network-prod"); content != nil || string(lock) != ours {
		t.Errorf("%s, %s", content, lock)
	}
}

// TestAKilledTerraformLeavesItsStateLocked has Terraform itself keep its state in the stand-in.
func TestAKilledTerraformLeavesItsStateLocked(t *testing.T) {
	t.Parallel()
	program, err := exec.LookPath("terraform")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.SetStatePassword("terraform", "swordfish")
	dir := t.TempDir()
	main := `terraform {
  backend "http" {}
}

resource "terraform_data" "first" {
  input = "one"
}
`
	const begun = "(local-exec): begun"
	hangs := `
resource "terraform_data" "hangs" {
  provisioner "local-exec" {
    command = "echo begun; while kill -0 $PPID 2>/dev/null; do sleep 0.05; done" # until Terraform is gone
  }
}
`
	write := func(text string) { w.must(os.WriteFile(filepath.Join(dir, "main.tf"), []byte(text), 0o600)) }
	terraform := func(args ...string) *exec.Cmd {
		cmd := exec.CommandContext(w.ctx, program, args...) //nolint:gosec // of the test itself
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "CHECKPOINT_DISABLE=1", "TF_IN_AUTOMATION=1", "TF_INPUT=0"}
		return cmd
	}
	run := func(args ...string) (string, error) {
		out, err := terraform(args...).CombinedOutput()
		return string(out), err
	}
	write(main)
	initialise := []string{"init", "-no-color"}
	for key, value := range w.StateBackend("network-prod") {
		initialise = append(initialise, "-backend-config="+key+"="+value)
	}
	for _, args := range [][]string{initialise, {"apply", "-no-color", "-auto-approve"}} {
		if out, err := run(args...); err != nil {
			t.Fatalf("terraform %s: %v\n%s", args[0], err, out)
		}
	}
	if content, lock := w.State("network-prod"); !bytes.Contains(content, []byte(`"name": "first"`)) || lock != nil {
		t.Fatalf("%s, %s", content, lock)
	}

	write(main + hangs)
	killed := terraform("apply", "-no-color", "-auto-approve")
	says, err := killed.StdoutPipe()
	w.must(err)
	w.must(killed.Start())
	lines := bufio.NewScanner(says)
	for !strings.Contains(lines.Text(), begun) && lines.Scan() {
	}
	w.must(killed.Process.Kill())
	_ = killed.Wait()
	_, lock := w.State("network-prod")
	_, id, _ := strings.Cut(string(lock), `"ID":"`)
	id, _, _ = strings.Cut(id, `"`)
	write(main)
	if out, err := run("apply", "-no-color", "-auto-approve"); err == nil || id == "" || !strings.Contains(out, id) || !strings.Contains(out, "OperationTypeApply") {
		t.Errorf("lock %s; the next apply says %v:\n%s", lock, err, out)
	}
	if out, err := run("plan", "-no-color", "-lock=false"); err != nil {
		t.Errorf("a plan says %v:\n%s", err, out)
	}
	if out, err := run("force-unlock", "-force", "another"); err != nil { // Terraform does not compare: whoever breaks a lock has to
		t.Errorf("force-unlock says %v:\n%s", err, out)
	}
	if out, err := run("apply", "-no-color", "-auto-approve"); err != nil {
		t.Errorf("the apply after that says %v:\n%s", err, out)
	}
}
