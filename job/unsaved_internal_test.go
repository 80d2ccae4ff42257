package job

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
)

func TestARecipientIsTheWorkflowFilesAndNotTheTasks(t *testing.T) {
	t.Parallel()
	inputs := map[string]string{"INPUT_AGE_RECIPIENT": " age1ours "}
	p := Parts{
		Env:     func(name string) (string, bool) { value, ok := inputs[name]; return value, ok },
		Machine: Machine{Temp: t.TempDir()},
	}
	task := operation.Task{Recipient: "age1theirs", UnsavedTo: "/etc/passwd"}
	if err := p.keepUnsaved(&task); err != nil {
		t.Fatal(err)
	}
	if task.Recipient != "age1ours" || !strings.HasPrefix(task.UnsavedTo, p.Machine.Temp) || !task.Passing {
		t.Errorf("got %q, %q, %v", task.Recipient, task.UnsavedTo, task.Passing)
	}
}

func TestAnEncryptedStateIsLeftBesideTheResult(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	p := Parts{Env: func(string) (string, bool) { return "", false }, Machine: Machine{Temp: t.TempDir()}, Out: &out}
	task := operation.Task{}
	result := operation.Result{Targets: []operation.TargetResult{{Unsaved: &operation.Unsaved{Kept: operation.KeptArtifact, Place: "errored-state-7"}}}}
	dir := t.TempDir()
	if err := p.keepUnsaved(&task); err != nil {
		t.Fatal(err)
	}
	if artifact := p.moveUnsaved(dir, result); artifact != "" || !strings.Contains(out.String(), "in no artifact") {
		t.Errorf("without a file: %q, %s", artifact, out.String())
	}
	if err := os.WriteFile(task.UnsavedTo, []byte("sealed"), 0o600); err != nil {
		t.Fatal(err)
	}
	if artifact := p.moveUnsaved(dir, operation.Result{}); artifact != "" {
		t.Errorf("of a result without one: %q", artifact)
	}
	if artifact := p.moveUnsaved(dir, result); artifact != "errored-state-7" {
		t.Errorf("got %q", artifact)
	}
	if content, err := os.ReadFile(filepath.Join(dir, operation.UnsavedFile)); err != nil || string(content) != "sealed" {
		t.Errorf("got %q, %v", content, err)
	}
	if err := p.keepUnsaved(&task); err != nil { // the next job on this machine
		t.Fatal(err)
	}
	if _, err := os.Stat(task.UnsavedTo); !os.IsNotExist(err) {
		t.Errorf("an earlier state is still there: %v", err)
	}
}
