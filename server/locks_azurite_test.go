package server_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/azure"
	"github.com/switchyard-dev/switchyard/sandbox/azure/azuretest"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

// vault is a shop whose states are blobs of Azure.
type vault struct {
	*shop
	azure *azure.Azure
}

func newVault(t *testing.T) *vault {
	t.Helper()
	options := azuretest.Find(t, "..")
	options.Dir = t.TempDir()
	started, err := azure.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(started.Close)
	kept := kept(story.Prepare, story.Store{Backend: "azurerm", Settings: started.Backend, Env: started.Env()})
	w := newWorldPrepared(t, func(*sandbox.Options) {}, kept, nil, quiet)
	settings, err := json.Marshal(started.Backend("{application}-{environment}"))
	if err != nil {
		t.Fatal(err)
	}
	s := newShopOn(t, w, map[string]string{
		".github/switchyard.yml": strings.ReplaceAll(oneRoot, `{ path: "STATES/{application}-{environment}.tfstate" }`, string(settings)),
		"infra/main.tf":          strings.ReplaceAll(rootFile, `"local"`, `"azurerm"`),
	})
	s.repo.SetRole(story.Cleo, sandbox.Maintain)
	return &vault{shop: s, azure: started}
}

// writes puts the state of an environment, as whoever has the lease does.
func (v *vault) writes(environment string, serial int, id, description string) {
	v.t.Helper()
	options := &blockblob.UploadBufferOptions{}
	if id != "" {
		options.AccessConditions = &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &id}}
		options.Metadata = map[string]*string{"terraformlockid": &description}
	}
	text := fmt.Sprintf(`{"version":4,"terraform_version":"1.11.4","serial":%d,"lineage":"l","outputs":{},"resources":[]}`, serial)
	if _, err := v.azure.Container().NewBlockBlobClient("shop-"+environment).UploadBuffer(v.ctx, []byte(text), options); err != nil {
		v.t.Fatal(err)
	}
}

func (v *vault) lease(environment, id string) *lease.BlobClient {
	v.t.Helper()
	client, err := lease.NewBlobClient(v.azure.Container().NewBlockBlobClient("shop-"+environment), &lease.BlobClientOptions{LeaseID: &id})
	if err != nil {
		v.t.Fatal(err)
	}
	return client
}

// laptop has somebody outside Switchyard hold the lock of an environment's state, and gives how they describe themselves.
func (v *vault) laptop(environment, id string) string {
	v.t.Helper()
	v.writes(environment, 1, "", "")
	if _, err := v.lease(environment, id).AcquireLease(v.ctx, -1, nil); err != nil {
		v.t.Fatal(err)
	}
	info, err := json.Marshal(map[string]string{
		"ID": id, "Operation": "OperationTypeApply", "Who": "mia@laptop", "Version": "1.11.4", "Created": time.Now().UTC().Format(time.RFC3339Nano),
		"Path": azure.Container + "/shop-" + environment,
	})
	if err != nil {
		v.t.Fatal(err)
	}
	description := base64.StdEncoding.EncodeToString(info)
	v.writes(environment, 1, id, description)
	return description
}

// holds reports whether the lock of an environment's state is held under an id.
func (v *vault) holds(environment, id string) bool {
	v.t.Helper()
	_, err := v.lease(environment, id).RenewLease(v.ctx, nil)
	return err == nil
}

// answered waits for an answer on an issue that has all these words.
func (s *shop) answered(number int, words ...string) sandbox.Comment {
	s.t.Helper()
	var found sandbox.Comment
	s.eventually(fmt.Sprintf("an answer on #%d with %q", number, words), func() bool {
		for _, comment := range s.comments(number) {
			all := comment.Bot
			for _, word := range words {
				all = all && strings.Contains(comment.Body, word)
			}
			if all {
				found = comment
				return true
			}
		}
		return false
	})
	return found
}

func (s *shop) issue(title string) int {
	s.t.Helper()
	number, err := s.repo.OpenIssue(s.ctx, story.Ana, title, "Since this morning.")
	if err != nil {
		s.t.Fatal(err)
	}
	return number
}

func TestALeaseThatWasBrokenBeforeIsSaidToHoldNothingUp(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	const id = "aaaaaaaa-1111-2222-3333-444444444444"
	v.laptop("dev", id)
	if _, err := v.lease("dev", "").BreakLease(v.ctx, &lease.BlobBreakOptions{BreakPeriod: new(int32(0))}); err != nil {
		t.Fatal(err)
	}
	number := v.issue("dev is locked")
	v.comment(story.Ana, number, "/break-lease dev")
	answer := v.answered(number, "in dev is free", "its lock was broken already", "mia@laptop", "stale", "holds nothing up")
	if strings.Contains(answer.Body, "/confirm") {
		t.Errorf("there is nothing to do: %s", answer.Body)
	}
}

func TestAYesIsToALeaseAsItWasAndABreakThatBrokeOffIsRepeated(t *testing.T) {
	t.Parallel()
	v := newVault(t)
	const id = "bbbbbbbb-1111-2222-3333-444444444444"
	description := v.laptop("dev", id)
	number := v.issue("dev is locked")
	v.comment(story.Ana, number, "/break-lease dev")
	first := v.code(number)
	v.writes("dev", 2, id, description) // who holds it works after all: the same lock, and another etag
	v.comment(story.Cleo, number, "/confirm "+first)
	v.answered(number, "Nothing was broken", "not the one that was confirmed", "mia@laptop", id)
	if !v.holds("dev", id) {
		t.Fatal("a lock was released whose state was written after it had been explained")
	}

	v.comment(story.Ana, number, "/break-lease dev")
	second := v.code(number, first)
	var refused atomic.Bool
	v.azure.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Ms-Lease-Action") != "release" {
			return false
		}
		refused.Store(true)
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	v.comment(story.Cleo, number, "/confirm "+second)
	v.answered(number, "failed when the lock was to be released", "held by Switchyard now", "`/break-lease dev infra`")
	v.azure.Intercept(nil)
	if !refused.Load() || v.holds("dev", id) {
		t.Fatal("the lock was not taken over")
	}
	v.comment(story.Ana, number, "/break-lease dev infra --lock-id "+id)
	third := v.code(number, first, second)
	v.answered(number, "the breaking of the state lock of `infra` in dev", "had taken over the lock `"+id+"`", "/confirm "+third)
	v.comment(story.Ana, number, "/confirm "+third) // nothing is unknown any more, so one person is enough
	v.answered(number, "in dev is free", "taken over by its id", "under the lock id `"+id+"`")
	if _, err := v.lease("dev", id).AcquireLease(v.ctx, -1, nil); err != nil {
		t.Errorf("it is not free: %v", err)
	}
}
