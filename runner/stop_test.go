package runner_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/terraform/terraformtest"
)

// lockServer is Terraform's http backend with a lock.
// https://developer.hashicorp.com/terraform/language/backend/http
type lockServer struct {
	*httptest.Server

	mu     sync.Mutex
	state  []byte
	locked bool
	locks  int
}

func newLockServer(t *testing.T) *lockServer {
	t.Helper()
	s := &lockServer{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch r.Method {
		case http.MethodGet:
			if len(s.state) == 0 {
				w.WriteHeader(http.StatusNoContent)
			}
			_, _ = w.Write(s.state)
		case http.MethodPost:
			s.state, _ = io.ReadAll(r.Body)
		case "LOCK":
			s.locked = true
			s.locks++
		case "UNLOCK":
			s.locked = false
		}
	}))
	t.Cleanup(s.Close)
	return s
}

// now gives the state, and whether it is locked.
func (s *lockServer) now() (state string, locked bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.state), s.locked
}

// GitHub's runner sends SIGINT to the step's process alone, SIGTERM 7.5 seconds later, and ends everything 2.5 seconds after that:
// https://github.com/actions/runner/blob/main/src/Runner.Sdk/ProcessInvoker.cs and
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-cancellation.
// Both signals are sent at once here: what has to happen must not rest on how fast this machine is.
func TestAJobThatIsCancelledReleasesTheLockAndKeepsWhatWasDone(t *testing.T) {
	t.Parallel()
	w, server := newWorld(t), newLockServer(t)
	marker := filepath.Join(t.TempDir(), "running")
	w.open = append(w.open, filepath.Dir(marker))
	tree := w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"http\" {}\n}\n" + data("first", "1") +
		"resource \"terraform_data\" \"slow\" {\n  depends_on = [terraform_data.first]\n  provisioner \"local-exec\" {\n" +
		fmt.Sprintf("    command = \"trap '' INT TERM; touch '%s'; sleep 600\"\n  }\n}\n", marker)})
	settings := map[string]string{
		"address": server.URL, "lock_address": server.URL, "unlock_address": server.URL, "retry_max": "0",
	}
	plan := w.task(operation.Plan, tree, "a")
	plan.Targets[0].Backend = settings
	planned := w.do(plan)
	if planned.Targets[0].Outcome != operation.Planned {
		t.Fatalf("plan: %+v", planned)
	}
	task := w.task(operation.Apply, tree, "a")
	task.Targets[0].Backend, task.Targets[0].Expected = settings, &planned.Targets[0].ChangeSet
	cmd, wait := start(t, task)
	if !terraformtest.Eventually(func() bool { return terraformtest.Exists(marker) }) {
		t.Fatal("the apply did not begin")
	}
	if _, locked := server.now(); !locked {
		t.Fatal("an apply that runs holds no lock")
	}
	began := time.Now()
	for _, signal := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM} {
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
	}
	result := wait()
	t.Logf("stopped after %v, of 7.5 s until SIGTERM", time.Since(began).Round(time.Millisecond))
	target := result.Targets[0]
	if result.Stopped != "cancelled" || target.Outcome != operation.TargetStopped ||
		!strings.Contains(target.Error, "saved what it had done and released the state lock") {
		t.Errorf("got %q: %+v", result.Stopped, target)
	}
	state, locked := server.now()
	if locked || !strings.Contains(state, `"name": "first"`) {
		t.Errorf("locked %v, state %s", locked, state)
	}
}

func TestAnApplyThatDoesNotStopSaysWhatTheLockMayBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	fake := terraformtest.New(t, map[string]terraformtest.Act{
		"apply": {Hang: true, Deaf: true}, "show": {Stdout: changedPlan},
	})
	w.binary = fake.Path
	task := w.reviewed(w.tree(map[string]string{"a/main.tf": root("")}), "a")
	task.StopGrace = time.Millisecond
	cmd, wait := start(t, task)
	fake.Await(t, "apply")
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	result := wait()
	if result.Stopped != "cancelled" || result.Targets[0].Lock == nil || !strings.Contains(result.Targets[0].Error, "was killed. The state lock may still be held") {
		t.Errorf("got %+v", result)
	}
}
