package runner_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
	standin "github.com/switchyard-dev/switchyard/sandbox/azure"
	"github.com/switchyard-dev/switchyard/sandbox/azure/azuretest"
)

// azuriteKey is the blob that has the state.
const azuriteKey = "network-dev"

// storage is Azure as far as the azurerm backend knows it.
type storage struct {
	*standin.Azure

	refuse atomic.Bool // states, but not what is beside them
}

func newStorage(t *testing.T) *storage {
	t.Helper()
	options := azuretest.Find(t, "..")
	options.Dir = t.TempDir()
	started, err := standin.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Close)
	s := &storage{Azure: started}
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !s.refuse.Load() || r.Method != http.MethodPut || r.ContentLength == 0 || r.URL.Query().Get("comp") != "" ||
			r.URL.Path != "/"+standin.Container+"/"+azuriteKey {
			return false
		}
		w.Header().Set("X-Ms-Error-Code", "AuthorizationFailure")
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	return s
}

// read gives the content of a blob.
func (s *storage) read(t *testing.T, name string) string {
	t.Helper()
	got, err := s.Container().NewBlobClient(name).DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatalf("read blob %s: %v", name, err)
	}
	content, err := io.ReadAll(got.Body)
	_ = got.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestAStateIsKeptInABlobBesideIt(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]func(t *testing.T, s *storage, backend map[string]string) (env map[string]string){
		"with the account's key": func(_ *testing.T, s *storage, _ map[string]string) map[string]string { return s.Env() },
		"with a signature in the backend's settings": func(t *testing.T, s *storage, backend map[string]string) map[string]string {
			t.Helper()
			signature, err := s.Signature()
			if err != nil {
				t.Fatal(err)
			}
			backend["sas_token"] = signature
			return s.Proxied()
		},
		"by OIDC, with a key that Azure is asked for": func(_ *testing.T, s *storage, backend map[string]string) map[string]string {
			backend["resource_group_name"] = standin.ResourceGroup
			return s.Federated(false)
		},
		"by OIDC, with the identity itself": func(_ *testing.T, s *storage, _ map[string]string) map[string]string { return s.Federated(true) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := newWorld(t), newStorage(t)
			backend := s.Backend(azuriteKey)
			env := with(t, s, backend)
			attempts := 1
			if name == "with the account's key" {
				attempts = 3 // of one operation: none must write over what another one has left, also of another job with the same numbers
			}
			for attempt := 1; attempt <= attempts; attempt++ {
				s.refuse.Store(false)
				target := w.unsaved(kept("azurerm"), backend, func(task *operation.Task) {
					task.Env, task.Attempt, task.Launch = env, min(attempt, 2), "launch-"+strconv.Itoa(attempt)
					s.refuse.Store(task.Kind == operation.Apply)
				})
				blob := azuriteKey + ".errored-7" + map[int]string{1: "", 2: ".2", 3: ".2.launch-3"}[attempt]
				if target.Unsaved.Kept != operation.KeptBlob || target.Unsaved.Place != standin.Account+"/"+standin.Container+"/"+blob ||
					!strings.Contains(target.Unsaved.Next, "--name "+blob+" --file errored.tfstate\nterraform state push errored.tfstate") ||
					len(w.inClear()) > 0 {
					t.Fatalf("got %+v, in clear %v: %s", target.Unsaved, w.inClear(), target.Error)
				}
				if state := s.read(t, blob); !strings.Contains(state, secretInput) || !strings.Contains(state, `"lineage"`) {
					t.Errorf("the blob has %q", state)
				}
			}
			if strange := s.Strange(); len(strange) > 0 {
				t.Errorf("asked elsewhere: %v", strange)
			}
			if strings.HasPrefix(name, "by OIDC") && s.Asserted() != "signed by GitHub" {
				t.Errorf("proved itself by %q", s.Asserted())
			}
		})
	}
}
