package runner_test

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"filippo.io/age"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
)

// stateServer is Terraform's http backend. It refuses the next so many states that it is given.
// https://developer.hashicorp.com/terraform/language/backend/http
type stateServer struct {
	*httptest.Server

	mu      sync.Mutex
	state   []byte
	refuse  int
	instead []byte // somebody else's state, which is there from the first refusal on
	puts    int
}

func newStateServer(t *testing.T, refuse int) *stateServer {
	t.Helper()
	s := &stateServer{refuse: refuse}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		switch r.Method {
		case http.MethodGet:
			if len(s.state) == 0 {
				w.WriteHeader(http.StatusNoContent)
				return
			}
			_, _ = w.Write(s.state)
		case http.MethodPost:
			body, _ := io.ReadAll(r.Body)
			s.puts++
			if s.refuse > 0 {
				s.refuse--
				if s.instead != nil {
					s.state = s.instead
				}
				http.Error(w, "not now", http.StatusConflict) // an answer that Terraform does not repeat by itself
				return
			}
			s.state = body
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *stateServer) saved() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.state)
}

// secretInput is what no one may read but in the state.
const secretInput = "correct horse battery staple"

// kept is a configuration whose state has a secret.
func kept(backend string) string {
	return "terraform {\n  backend \"" + backend + "\" {}\n}\n" +
		"resource \"terraform_data\" \"x\" {\n  input = sensitive(\"" + secretInput + "\")\n}\n"
}

// unsaved plans and applies a root whose backend has these settings.
func (w *world) unsaved(text string, backend map[string]string, change func(*operation.Task)) operation.TargetResult {
	w.t.Helper()
	tree := w.tree(map[string]string{"a/main.tf": text})
	task := w.task(operation.Plan, tree, "a")
	task.Targets[0].Backend = backend
	change(&task)
	planned := w.do(task)
	if len(planned.Targets) != 1 || planned.Targets[0].Outcome != operation.Planned {
		w.t.Fatalf("plan: %+v", planned)
	}
	task = w.task(operation.Apply, tree, "a")
	task.Targets[0].Backend, task.Targets[0].Expected = backend, &planned.Targets[0].ChangeSet
	task.Repository = operation.Repository{Owner: "acme", Name: "network"}
	change(&task)
	w.work = task.WorkDir
	result := w.do(task)
	if len(result.Targets) != 1 {
		w.t.Fatalf("apply: %+v", result)
	}
	target := result.Targets[0]
	if target.Outcome != operation.TargetFailed || target.Unsaved == nil {
		w.t.Fatalf("apply: %+v", target)
	}
	if strings.Contains(fmt.Sprintf("%+v", result), secretInput) {
		w.t.Error("the result has the secret of the state")
	}
	return target
}

// inClear lists the files of the work directory that have the secret.
func (w *world) inClear() []string {
	var found []string
	_ = filepath.WalkDir(w.work, func(name string, entry fs.DirEntry, err error) error {
		if err == nil && entry.Type().IsRegular() {
			if content, _ := os.ReadFile(name); bytes.Contains(content, []byte(secretInput)) {
				found = append(found, name)
			}
		}
		return nil
	})
	return found
}

func TestAStateThatCouldNotBeSavedIsPushedAgain(t *testing.T) {
	t.Parallel()
	w, server := newWorld(t), newStateServer(t, 1)
	target := w.unsaved(kept("http"), map[string]string{"address": server.URL, "retry_max": "0"}, func(*operation.Task) {})
	if target.Unsaved.Kept != operation.KeptPushed || target.Unsaved.Next != "/apply dev" || target.Serial == 0 ||
		!strings.Contains(target.Error, "nothing is lost. Next: `/apply dev`") {
		t.Errorf("got %+v, serial %d: %s", target.Unsaved, target.Serial, target.Error)
	}
	if !strings.Contains(server.saved(), secretInput) || len(w.inClear()) > 0 {
		t.Errorf("saved %q, in clear %v", server.saved(), w.inClear())
	}
}

func TestAStateThatCannotBePushedStaysOnTheMachine(t *testing.T) {
	t.Parallel()
	w, server := newWorld(t), newStateServer(t, 100)
	target := w.unsaved(kept("http"), map[string]string{"address": server.URL, "retry_max": "0"}, func(*operation.Task) {})
	at := w.inClear()
	if target.Unsaved.Kept != operation.KeptMachine || len(at) != 1 || at[0] != target.Unsaved.Place ||
		!strings.Contains(target.Error, "terraform state push "+target.Unsaved.Place) {
		t.Errorf("got %+v, in clear %v: %s", target.Unsaved, at, target.Error)
	}
	if server.puts != 4 {
		t.Errorf("%d states were sent, not 1 by the apply and 3 after it", server.puts)
	}
}

func TestAStateIsNotPushedOverSomebodyElses(t *testing.T) {
	t.Parallel()
	w, server := newWorld(t), newStateServer(t, 1)
	server.instead = []byte(`{"version":4,"terraform_version":"1.11.4","serial":99,"lineage":"5b1e3c8e-0000-4000-8000-000000000000",` +
		`"outputs":{"a":{"value":"theirs","type":"string"}},"resources":[]}`)
	target := w.unsaved(kept("http"), map[string]string{"address": server.URL, "retry_max": "0"}, func(*operation.Task) {})
	if target.Unsaved.Kept != operation.KeptMachine || server.puts != 1 || server.saved() != string(server.instead) ||
		!strings.Contains(target.Error, "compare the two") {
		t.Errorf("got %+v after %d states: %s", target.Unsaved, server.puts, target.Error)
	}
}

func TestAStateIsEncryptedForAnArtifact(t *testing.T) {
	t.Parallel()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	w, server := newWorld(t), newStateServer(t, 100)
	file := filepath.Join(t.TempDir(), operation.UnsavedFile)
	target := w.unsaved(kept("http"), map[string]string{"address": server.URL, "retry_max": "0"}, func(task *operation.Task) {
		task.Recipient, task.UnsavedTo, task.Passing = identity.Recipient().String(), file, true
	})
	next := "gh run download --name errored-state-7.2-cccccccccccc --repo acme/network\n" +
		"age --decrypt --identity KEY_FILE --output errored.tfstate errored.tfstate.age\nterraform state push errored.tfstate"
	if target.Unsaved.Kept != operation.KeptArtifact || target.Unsaved.Next != next || len(w.inClear()) > 0 {
		t.Errorf("got %+v, in clear %v: %s", target.Unsaved, w.inClear(), target.Error)
	}
	sealed, err := os.ReadFile(file)
	if err != nil || bytes.Contains(sealed, []byte(secretInput)) {
		t.Fatalf("%v, %q", err, sealed)
	}
	opened, err := age.Decrypt(bytes.NewReader(sealed), identity)
	if err != nil {
		t.Fatal(err)
	}
	if state, err := io.ReadAll(opened); err != nil || !bytes.Contains(state, []byte(secretInput)) || !bytes.Contains(state, []byte(`"lineage"`)) {
		t.Errorf("%v, %q", err, state)
	}
}

func TestAWrongRecipientIsRefusedBeforeAnythingIsBegun(t *testing.T) {
	t.Parallel()
	for name, recipient := range map[string]string{
		"no key": "somebody", "a private key": "AGE-SECRET-KEY-1QQQQ", "an option": "--output=/etc/passwd",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			task := w.task(operation.Apply, strings.Repeat("a", 40), "a")
			task.Recipient = recipient
			result := runner.Run(t.Context(), task, nopWriter{})
			if !strings.Contains(result.Error, "Nothing was begun") || !strings.Contains(result.Error, "age-recipient") ||
				strings.Contains(result.Error, recipient) {
				t.Errorf("got %q", result.Error)
			}
		})
	}
}
