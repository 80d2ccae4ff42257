package statelock_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox/azure"
	"github.com/switchyard-dev/switchyard/sandbox/azure/azuretest"
	"github.com/switchyard-dev/switchyard/statelock"
)

// cloud is one stand-in for Azure for many tests: each has a blob of its own.
type cloud struct {
	*azure.Azure

	mu       sync.Mutex
	handlers map[string]func(http.ResponseWriter, *http.Request) bool // by path
}

// ownCloud starts one.
func ownCloud(t *testing.T) *cloud {
	t.Helper()
	dir := t.TempDir()
	c := enter(t)(dir)
	t.Cleanup(c.Close)
	return c
}

// one is the cloud that most tests share: each has a blob of its own, and Azurite takes a second to start.
var one struct {
	sync.Once
	cloud *cloud
	dir   string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	start := enter(t)
	one.Do(func() {
		var err error
		if one.dir, err = os.MkdirTemp("", "statelock"); err != nil { //nolint:usetesting // it outlives this test
			t.Fatal(err)
		}
		one.cloud = start(one.dir)
	})
	if one.cloud == nil {
		t.Fatal("it could not be started")
	}
	return one.cloud
}

func TestMain(m *testing.M) {
	status := m.Run()
	if one.cloud != nil {
		one.cloud.Close()
	}
	if one.dir != "" {
		_ = os.RemoveAll(one.dir)
	}
	os.Exit(status)
}

// enter skips a test where no cloud can be started, and gives what starts one with its files in a directory.
func enter(t *testing.T) func(dir string) *cloud {
	t.Helper()
	options := azuretest.Find(t, "..")
	return func(dir string) *cloud {
		options.Dir = dir
		started, err := azure.Start(t.Context(), options)
		if err != nil {
			t.Fatal(err)
		}
		c := &cloud{Azure: started, handlers: map[string]func(http.ResponseWriter, *http.Request) bool{}}
		c.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
			c.mu.Lock()
			handler := c.handlers[r.URL.Path]
			c.mu.Unlock()
			return handler != nil && handler(w, r)
		})
		return c
	}
}

// state is one state in the cloud.
type state struct {
	*testing.T

	cloud *cloud
	key   string
	blob  *blockblob.Client
}

func (c *cloud) state(t *testing.T, key string) *state {
	t.Helper()
	return &state{T: t, cloud: c, key: key, blob: c.Container().NewBlockBlobClient(key)}
}

// on has the requests to the state answered otherwise.
func (s *state) on(handler func(http.ResponseWriter, *http.Request) bool) {
	s.cloud.mu.Lock()
	defer s.cloud.mu.Unlock()
	s.cloud.handlers["/"+azure.Container+"/"+s.key] = handler
}

func (s *state) must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// config is what init notes of the backend.
func (s *state) config() map[string]any {
	config := map[string]any{}
	for name, value := range s.cloud.Backend(s.key) {
		config[name] = value
	}
	return config
}

func (s *state) open() statelock.Lock {
	s.Helper()
	opened, err := statelock.Open(s.Context(), statelock.Azurerm, s.config(), s.cloud.Env())
	s.must(err)
	return opened
}

// hasty opens it so that nothing is repeated, and little waited for.
func (s *state) hasty(patience time.Duration) statelock.Lock {
	s.Helper()
	opened := s.open()
	statelock.Hurry(opened, patience)
	return opened
}

func stateText(serial int) string {
	return fmt.Sprintf(`{
  "version": 4,
  "terraform_version": "1.11.4",
  "serial": %d,
  "lineage": "5b1e3c8e-0000-4000-8000-000000000000",
  "outputs": {"a": {"value": "serial lineage", "type": "string"}},
  "resources": [
    {"mode": "managed", "type": "terraform_data", "name": "gateway", "instances": [
      {"index_key": "westeurope", "status": "tainted", "attributes": {"lineage": "x"}}, {"index_key": "southeastasia", "attributes": {}}]},
    {"module": "module.stamp[\"we\"]", "mode": "managed", "type": "terraform_data", "name": "door", "instances": [
      {"index_key": 0, "status": "tainted"}, {"index_key": 0, "status": "tainted", "deposed": "abcd"}]},
    {"mode": "data", "type": "terraform_remote_state", "name": "other", "instances": [{"status": "tainted"}]}
  ],
  "check_results": null
}
`, serial)
}

// write writes the state, with the metadata that somebody else may have put there.
func (s *state) write(text string) {
	s.Helper()
	_, err := s.blob.UploadBuffer(s.Context(), []byte(text), &blockblob.UploadBufferOptions{Metadata: map[string]*string{"Owner": new("network team")}})
	s.must(err)
}

func (s *state) lease(id string) *lease.BlobClient {
	s.Helper()
	client, err := lease.NewBlobClient(s.blob, &lease.BlobClientOptions{LeaseID: &id})
	s.must(err)
	return client
}

// describe sets the metadata as Terraform does when it has the lease.
func (s *state) describe(id, path string) {
	s.Helper()
	info, err := json.Marshal(map[string]string{
		"ID": id, "Operation": "OperationTypeApply", "Who": "ana@laptop", "Version": "1.11.4", "Created": "2026-11-22T00:00:00Z", "Path": path,
	})
	s.must(err)
	s.annotate(id, map[string]*string{"Owner": new("network team"), "terraformlockid": new(base64.StdEncoding.EncodeToString(info))})
}

func (s *state) annotate(id string, metadata map[string]*string) {
	s.Helper()
	_, err := s.blob.SetMetadata(s.Context(), metadata, &blob.SetMetadataOptions{
		AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &id}},
	})
	s.must(err)
}

// acquire takes an endless lease, as Terraform does, and no more.
func (s *state) acquire(id string) {
	s.Helper()
	_, err := s.lease(id).AcquireLease(s.Context(), -1, nil)
	s.must(err)
}

// locked writes the state and locks it, and gives the id.
func (s *state) locked() string {
	s.Helper()
	s.write(stateText(4))
	id := uuid.NewString()
	s.acquire(id)
	s.describe(id, azure.Container+"/"+s.key)
	return id
}

func (s *state) inspect(lock statelock.Lock) operation.StateLock {
	s.Helper()
	found, err := lock.Inspect(s.Context())
	s.must(err)
	return found
}

// free fails unless the lock is free, nothing says who has it, what others wrote is there, and the state is as it was.
func (s *state) free(text string) {
	s.Helper()
	found, err := s.blob.GetProperties(s.Context(), nil)
	s.must(err)
	names := slices.Sorted(maps.Keys(found.Metadata))
	if *found.LeaseStatus != "unlocked" || !slices.Equal(names, []string{"Owner"}) {
		s.Errorf("lease %s, metadata %v", *found.LeaseStatus, names)
	}
	s.content(s.blob.BlobClient(), text)
}

func (s *state) content(of *blob.Client, text string) {
	s.Helper()
	got, err := of.DownloadStream(s.Context(), nil)
	s.must(err)
	content, err := io.ReadAll(got.Body)
	_ = got.Body.Close()
	if err != nil || !bytes.Equal(content, []byte(text)) {
		s.Errorf("%v: the blob has %q", err, content)
	}
}

// snapshots has how many copies there are.
func (s *state) snapshot(name, text string) {
	s.Helper()
	copied, err := s.blob.BlobClient().WithSnapshot(name)
	s.must(err)
	s.content(copied, text)
}

func task(found operation.StateLock) operation.LockTask {
	task := operation.LockTask{ETag: found.ETag}
	if found.Info != nil {
		task.ID = found.Info.ID
	}
	return task
}

// lost answers a request and has the answer lost.
func (s *state) lost(r *http.Request) {
	s.cloud.Pass(httptest.NewRecorder(), r)
}
