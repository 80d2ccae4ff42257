package statelock_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/statelock"
)

func TestALockFileBesideALocalStateIsHarmless(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "network.tfstate")
	for name, text := range map[string]string{path: stateText(4), filepath.Join(filepath.Dir(path), ".network.tfstate.lock.info"): holderInfo} {
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	lock, err := statelock.Open(t.Context(), statelock.Local, map[string]any{"path": path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := lock.Inspect(t.Context())
	if err != nil || found.Lease != operation.LeaseFree || found.Info == nil || found.Info.Who != "ana@laptop" || found.Serial != 4 ||
		len(found.Notes) != 1 || !strings.Contains(found.Notes[0], "locks nothing") {
		t.Errorf("%v, %+v", err, found)
	}
	broken, err := lock.Break(t.Context(), holder)
	if err != nil || broken.How != operation.ReleasedBefore || broken.Now == nil {
		t.Errorf("%v, %+v", err, broken)
	}
}

func TestWhatIsNoLocalState(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]struct{ path, workspace, err, missing string }{
		"no file":                 {path: filepath.Join(dir, "none"), missing: "state"},
		"a directory":             {path: dir, err: "is no file"},
		"a workspace that climbs": {path: dir, workspace: "../../etc", err: "the workspace's name is none"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			lock, err := statelock.Open(t.Context(), statelock.Local, map[string]any{"path": c.path}, map[string]string{"TF_WORKSPACE": c.workspace})
			var found operation.StateLock
			if err == nil {
				found, err = lock.Inspect(t.Context())
			}
			if c.err == "" && (err != nil || found.Missing != c.missing) || c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)) {
				t.Errorf("%v, %+v", err, found)
			}
		})
	}
}

func TestAStateIsReadWhateverIsInIt(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("a", 5000)
	var many strings.Builder
	for i := range 80 {
		fmt.Fprintf(&many, `{"mode":"managed","type":"t","name":"n%03d","instances":[{"status":"tainted"}]},`, i)
	}
	const head = `{"version":4,"serial":3,"lineage":"l",`
	for name, c := range map[string]struct {
		text string
		want operation.StateLock
	}{
		"nothing":           {"", operation.StateLock{}},
		"a list":            {"[]", operation.StateLock{Notes: []string{"What is in the state is not known: it cannot be read as a state."}}},
		"a part":            {head + `"resources":[{"mode":`, operation.StateLock{Notes: []string{"What is in the state is not known: it cannot be read as a state."}}},
		"a negative serial": {`{"serial":-1,"lineage":"l"}`, operation.StateLock{Notes: []string{"What is in the state is not known: it cannot be read as a state."}}},
		"no resources":      {head + `"resources":[]}`, operation.StateLock{Lineage: "l", Serial: 3}},
		"a long lineage":    {`{"serial":1,"lineage":"` + long + `"}`, operation.StateLock{Lineage: long[:512], Serial: 1}},
		"keys that are hostile": {
			head + `"resources":[{"mode":"managed","type":"t","name":"n","instances":[{"index_key":"a\u001b[2J","status":"tainted"}]}]}`,
			operation.StateLock{Lineage: "l", Serial: 3, Resources: 1, Tainted: []string{`t.n["a\x1b[2J"]`}},
		},
		"encrypted by OpenTofu": {
			`{"serial":3,"lineage":"l","meta":{"key_provider.pbkdf2.x":"e30="},"encrypted_data":"xyz","encryption_version":"v0"}`,
			operation.StateLock{Lineage: "l", Serial: 3, Notes: []string{"The state is encrypted: how many instances it has, and which are tainted, is not known."}},
		},
		"deep": {head + `"outputs":` + strings.Repeat("[", 20000) + strings.Repeat("]", 20000) + "}", operation.StateLock{
			Notes: []string{"What is in the state is not known: it cannot be read as a state."},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := fileWith(t, c.text)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
	got := fileWith(t, head+`"resources":[`+strings.TrimSuffix(many.String(), ",")+"]}")
	if len(got.Tainted) != 50 || got.Tainted[49] != "t.n049" || got.Resources != 80 || got.Notes[0] != "30 more instances are tainted." {
		t.Errorf("got %+v", got)
	}
}

// fileWith is what is found of a local state with that text, without what the file system says.
func fileWith(t *testing.T, text string) operation.StateLock {
	t.Helper()
	path := filepath.Join(t.TempDir(), "terraform.tfstate")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	lock, err := statelock.Open(t.Context(), statelock.Local, map[string]any{"path": path}, nil)
	if err != nil {
		t.Fatal(err)
	}
	found, err := lock.Inspect(t.Context())
	if err != nil || found.Size != int64(len(text)) {
		t.Fatalf("%v, %+v", err, found)
	}
	found.Backend, found.Place, found.Lease, found.Size, found.Modified = "", "", "", 0, time.Time{}
	return found
}

// endless has more than may be read, and counts what is.
type endless struct{ read int64 }

func (e *endless) Read(into []byte) (int, error) {
	n := copy(into, bytes.Repeat([]byte(" "), len(into)))
	e.read += int64(n)
	return n, nil
}

func TestAStateThatIsTooLargeIsNotReadToItsEnd(t *testing.T) {
	t.Parallel()
	from := &endless{}
	if _, err := statelock.SummariseUpTo(1<<20, from, false); err == nil || err.Error() != "it is too large to be read here" || from.read > 2<<20 {
		t.Errorf("%v after %d bytes", err, from.read)
	}
}
