package statelock_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox/azure"
	"github.com/switchyard-dev/switchyard/statelock"
)

const place = azure.Account + "/" + azure.Container + "/"

// TestLeases tests with one Azurite, for each case in a blob of its own.
func TestLeases(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for name, test := range map[string]func(*state){
		"what is found of a held lock":                                    found,
		"a path that OpenTofu wrote":                                      foundOfTofu,
		"a lock is taken over by its id":                                  takenOver,
		"a snapshot has the state byte for byte":                          restored,
		"who had the lock writes nothing any more":                        lateWrite,
		"a lease without a description is broken":                         withoutDescription,
		"a description that cannot be read is none":                       unreadable,
		"a lease that is broken already is only reported":                 brokenBefore,
		"a free lock is only reported":                                    freeBefore,
		"another holder came before the yes":                              anotherHolder,
		"the holder wrote meanwhile":                                      holderWrote,
		"a wrong id":                                                      wrongID,
		"a lease without a description that has one now":                  describedMeanwhile,
		"a newcomer who has written nothing about themselves":             newcomer,
		"there is no state":                                               noState,
		"there is no container":                                           noContainer,
		"states that could not be saved are found beside it":              besides,
		"two break the same lock at once":                                 twoBreakers,
		"the account makes no copies":                                     noCopies,
		"an empty state":                                                  emptyState,
		"a workspace of its own":                                          workspace,
		"somebody is quicker when it is tried whether the lock is free":   quicker,
		"a lock is taken over although the copy was refused and repeated": cutOff,
		"the holder writes just before it is taken over":                  wroteInBetween,
		"a description comes just before a lease is broken":               describedInBetween,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(c.state(t, strings.ReplaceAll(t.Name()[len("TestLeases/"):], "_", "-")))
		})
	}
	t.Cleanup(func() {
		if strange := c.Strange(); len(strange) > 0 {
			t.Errorf("asked elsewhere: %v", strange)
		}
	})
}

func found(s *state) {
	id := s.locked()
	got := s.inspect(s.open())
	if time.Since(got.Modified).Abs() > time.Hour || got.ETag == "" || strings.Contains(got.ETag, `"`) {
		s.Errorf("modified %v, etag %q", got.Modified, got.ETag)
	}
	got.Modified, got.ETag = time.Time{}, ""
	want := operation.StateLock{
		Backend: "azurerm", Place: place + s.key, Lease: operation.LeaseHeld, Size: int64(len(stateText(4))),
		Info: &operation.LockInfo{
			ID: id, Operation: "OperationTypeApply", Who: "ana@laptop", Version: "1.11.4", Created: "2026-11-22T00:00:00Z",
			Path: azure.Container + "/" + s.key,
		},
		Lineage: "5b1e3c8e-0000-4000-8000-000000000000", Serial: 4, Resources: 4,
		Tainted: []string{`module.stamp["we"].terraform_data.door[0]`, `terraform_data.gateway["westeurope"]`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		s.Error(diff)
	}
}

func foundOfTofu(s *state) {
	s.write(stateText(4))
	id := uuid.NewString()
	s.acquire(id)
	path := "https://" + azure.Account + ".blob.core.windows.net/" + azure.Container + "/" + s.key
	s.describe(id, path)
	if got := s.inspect(s.open()); got.Info == nil || got.Info.Path != path || got.Info.ID != id {
		s.Errorf("found %+v", got.Info)
	}
}

func takenOver(s *state) {
	s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	broken, err := lock.Break(s.Context(), task(explained))
	s.must(err)
	if broken.Now == nil || broken.Now.Lease != operation.LeaseFree || broken.Now.Info != nil || broken.Snapshot == "" {
		s.Fatalf("broken %+v", broken)
	}
	s.snapshot(broken.Snapshot, stateText(4))
	broken.Now, broken.Snapshot = nil, ""
	if diff := cmp.Diff(operation.Broken{How: operation.ReleasedTaken, Taken: true, Cleared: true, Verified: true}, broken); diff != "" {
		s.Error(diff)
	}
	s.free(stateText(4))
}

func restored(s *state) {
	s.locked()
	lock := s.open()
	broken, err := lock.Break(s.Context(), task(s.inspect(lock)))
	s.must(err)
	s.write(stateText(9))
	copied, err := s.blob.BlobClient().WithSnapshot(broken.Snapshot)
	s.must(err)
	_, err = s.blob.BlobClient().CopyFromURL(s.Context(), copied.URL(), nil)
	if err != nil { // as `az storage blob copy start` does
		_, err = s.blob.BlobClient().StartCopyFromURL(s.Context(), copied.URL(), nil)
	}
	s.must(err)
	s.content(s.blob.BlobClient(), stateText(4))
	if now := s.inspect(lock); now.Lease != operation.LeaseFree || now.Serial != 4 {
		s.Errorf("after that: %+v", now)
	}
}

func lateWrite(s *state) {
	id := s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	var late, newcomer error
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("comp") == "snapshot" { // it was taken over
			_, late = s.blob.UploadBuffer(r.Context(), []byte("late"), &blockblob.UploadBufferOptions{
				AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &id}},
			})
			_, newcomer = s.lease(uuid.NewString()).AcquireLease(r.Context(), -1, nil)
		}
		return false
	})
	broken, err := lock.Break(s.Context(), task(explained))
	s.must(err)
	if late == nil || newcomer == nil || broken.How != operation.ReleasedTaken {
		s.Errorf("the late write: %v; a newcomer: %v; broken %+v", late, newcomer, broken)
	}
	s.free(stateText(4))
}

func withoutDescription(s *state) {
	s.write(stateText(4))
	s.acquire(uuid.NewString())
	lock := s.open()
	explained := s.inspect(lock)
	if explained.Lease != operation.LeaseHeld || explained.Info != nil {
		s.Fatalf("found %+v", explained)
	}
	broken, err := lock.Break(s.Context(), task(explained))
	s.must(err)
	if broken.How != operation.ReleasedBroken || broken.Taken || !broken.Verified || broken.Snapshot == "" || broken.Now.Lease == operation.LeaseHeld {
		s.Errorf("broken %+v", broken)
	}
	s.snapshot(broken.Snapshot, stateText(4))
	s.free(stateText(4))
}

func unreadable(s *state) {
	s.write(stateText(4))
	id := uuid.NewString()
	s.acquire(id)
	s.annotate(id, map[string]*string{"terraformlockid": new("eyJJRCI6Ii")})
	lock := s.open()
	explained := s.inspect(lock)
	if explained.Info != nil || len(explained.Notes) != 1 {
		s.Fatalf("found %+v", explained)
	}
	broken, err := lock.Break(s.Context(), task(explained))
	if err != nil || broken.How != operation.ReleasedBroken {
		s.Errorf("%v, %+v", err, broken)
	}
}

func brokenBefore(s *state) {
	id := s.locked()
	_, err := s.lease(id).BreakLease(s.Context(), &lease.BlobBreakOptions{BreakPeriod: new(int32(0))})
	s.must(err)
	lock := s.open()
	explained := s.inspect(lock)
	if explained.Lease != operation.LeaseBroken || explained.Info == nil || explained.Info.ID != id {
		s.Fatalf("found %+v", explained)
	}
	var writes atomic.Int32
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			writes.Add(1)
		}
		return false
	})
	broken, err := lock.Break(s.Context(), task(explained))
	s.must(err)
	if broken.How != operation.ReleasedBefore || broken.Cleared || writes.Load() != 0 || broken.Now == nil || broken.Now.Lease != operation.LeaseBroken {
		s.Errorf("%d writes, %+v", writes.Load(), broken)
	}
}

func freeBefore(s *state) {
	s.write(stateText(4))
	lock := s.open()
	broken, err := lock.Break(s.Context(), operation.LockTask{ID: uuid.NewString(), ETag: "x"})
	if err != nil || broken.How != operation.ReleasedBefore || broken.Now.Lease != operation.LeaseFree {
		s.Errorf("%v, %+v", err, broken)
	}
}

// other fails unless nothing was done and the holder that is there now is shown.
func (s *state) other(broken operation.Broken, err error, holder string) {
	s.Helper()
	now := broken.Now
	if !errors.Is(err, statelock.ErrOther) || broken.How != operation.ReleasedNot || broken.Cleared || now == nil ||
		now.Lease != operation.LeaseHeld {
		s.Fatalf("%v, %+v", err, broken)
	}
	if holder == "" && now.Info != nil || holder != "" && (now.Info == nil || now.Info.ID != holder) {
		s.Errorf("it is held by %+v, not %q", now.Info, holder)
	}
}

func anotherHolder(s *state) {
	first := s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	s.annotate(first, map[string]*string{})
	_, err := s.lease(first).ReleaseLease(s.Context(), nil)
	s.must(err)
	second := uuid.NewString()
	s.acquire(second)
	s.describe(second, s.key)
	broken, err := lock.Break(s.Context(), task(explained))
	s.other(broken, err, second)
}

func holderWrote(s *state) {
	id := s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	_, err := s.blob.UploadBuffer(s.Context(), []byte(stateText(5)), &blockblob.UploadBufferOptions{
		AccessConditions: &blob.AccessConditions{LeaseAccessConditions: &blob.LeaseAccessConditions{LeaseID: &id}},
	})
	s.must(err)
	s.describe(id, s.key)
	broken, err := lock.Break(s.Context(), task(explained))
	s.other(broken, err, id)
}

func wrongID(s *state) {
	id := s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	for _, wrong := range []string{uuid.NewString(), "'; rm -rf /", strings.Repeat("a", 5000), "a\r\nb"} {
		broken, err := lock.Break(s.Context(), operation.LockTask{ID: wrong, ETag: explained.ETag})
		if err == nil || broken.How != operation.ReleasedNot {
			s.Errorf("%.20q: %v, %+v", wrong, err, broken)
		}
	}
	broken, err := lock.Break(s.Context(), operation.LockTask{ID: uuid.NewString(), ETag: explained.ETag})
	s.other(broken, err, id)
}

func describedMeanwhile(s *state) {
	s.write(stateText(4))
	id := uuid.NewString()
	s.acquire(id)
	lock := s.open()
	explained := s.inspect(lock)
	s.describe(id, s.key)
	broken, err := lock.Break(s.Context(), task(explained))
	s.other(broken, err, id)
	explained = s.inspect(lock) // as if somebody had named no id although there is one
	broken, err = lock.Break(s.Context(), operation.LockTask{ETag: explained.ETag})
	s.other(broken, err, id)
}

// Between the look and the change the holder released it and another took it, whose description is not there yet.
func newcomer(s *state) {
	first := s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	second := uuid.NewString()
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Ms-Lease-Action") == "change" {
			s.on(nil)
			_, err := s.lease(first).ReleaseLease(r.Context(), nil)
			if err == nil {
				_, err = s.lease(second).AcquireLease(r.Context(), -1, nil)
			}
			if err != nil {
				s.Error(err)
			}
		}
		return false
	})
	broken, err := lock.Break(s.Context(), task(explained))
	s.other(broken, err, first) // what is written is the first's still
	_, err = s.lease(second).RenewLease(s.Context(), nil)
	s.must(err) // and the second has its lock
}

// The etag that was looked at is the one that the lease is changed under.
func wroteInBetween(s *state) {
	id := s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Ms-Lease-Action") == "change" {
			s.on(nil)
			s.describe(id, "elsewhere")
		}
		return false
	})
	broken, err := lock.Break(s.Context(), task(explained))
	s.other(broken, err, id)
	_, err = s.lease(id).RenewLease(s.Context(), nil)
	s.must(err)
}

func describedInBetween(s *state) {
	s.write(stateText(4))
	id := uuid.NewString()
	s.acquire(id)
	lock := s.open()
	explained := s.inspect(lock)
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Ms-Lease-Action") == "break" {
			s.on(nil)
			s.describe(id, s.key)
		}
		return false
	})
	broken, err := lock.Break(s.Context(), task(explained))
	s.other(broken, err, id)
}

func noState(s *state) {
	lock := s.open()
	found := s.inspect(lock)
	if diff := cmp.Diff(operation.StateLock{Backend: "azurerm", Place: place + s.key, Lease: operation.LeaseFree, Missing: "state"}, found); diff != "" {
		s.Error(diff)
	}
	broken, err := lock.Break(s.Context(), operation.LockTask{ID: uuid.NewString()})
	if err != nil || broken.How != operation.ReleasedBefore || broken.Now.Missing != "state" {
		s.Errorf("%v, %+v", err, broken)
	}
}

func noContainer(s *state) {
	config := s.config()
	config["container_name"] = "elsewhere"
	lock, err := statelock.Open(s.Context(), statelock.Azurerm, config, s.cloud.Env())
	s.must(err)
	found := s.inspect(lock)
	want := operation.StateLock{Backend: "azurerm", Place: azure.Account + "/elsewhere/" + s.key, Lease: operation.LeaseFree, Missing: "container"}
	if diff := cmp.Diff(want, found); diff != "" {
		s.Error(diff)
	}
	broken, err := lock.Break(s.Context(), operation.LockTask{})
	if err != nil || broken.How != operation.ReleasedBefore || broken.Now.Missing != "container" {
		s.Errorf("%v, %+v", err, broken)
	}
}

func besides(s *state) {
	s.locked()
	for suffix, text := range map[string]string{
		"7": stateText(5), "8": stateText(4), "9": strings.Replace(stateText(6), "5b1e3c8e", "ffffffff", 1), "10": "no state",
	} {
		_, err := s.cloud.Container().NewBlockBlobClient(s.key+".errored-"+suffix).UploadBuffer(s.Context(), []byte(text), nil)
		s.must(err)
	}
	found := s.inspect(s.open())
	slices.SortFunc(found.Errored, func(a, b operation.ErroredState) int { return strings.Compare(a.Place, b.Place) })
	for i := range found.Errored {
		if found.Errored[i].Modified.IsZero() {
			s.Error("no time")
		}
		found.Errored[i].Modified = time.Time{}
	}
	lineage := "5b1e3c8e-0000-4000-8000-000000000000"
	errored := place + s.key + ".errored-"
	want := []operation.ErroredState{
		{Place: errored + "10", Why: "It cannot be read as a state."},
		{
			Place: errored + "7", Lineage: lineage, Serial: 5, Fits: true, Next: "az storage blob download --auth-mode login --account-name " +
				azure.Account + " --container-name states --name " + s.key + ".errored-7 --file errored.tfstate\nterraform state push errored.tfstate",
		},
		{
			Place: errored + "8", Lineage: lineage, Serial: 4,
			Why: "The state that is there has serial 4 and this one 4: that was written later, so compare the two by hand.",
		},
		{Place: errored + "9", Lineage: "ffffffff" + lineage[8:], Serial: 6, Why: "It is of another lineage than the state that is there."},
	}
	if diff := cmp.Diff(want, found.Errored); diff != "" {
		s.Error(diff)
	}
}

func twoBreakers(s *state) {
	s.locked()
	explained := s.inspect(s.open())
	var wait sync.WaitGroup
	results := make([]operation.Broken, 2)
	for i := range results {
		lock := s.open()
		wait.Go(func() {
			var err error
			if results[i], err = lock.Break(s.Context(), task(explained)); err != nil {
				s.Error(err)
			}
		})
	}
	wait.Wait()
	for _, broken := range results {
		if broken.How == operation.ReleasedNot {
			s.Errorf("broken %+v", broken)
		}
	}
	s.free(stateText(4))
}

func noCopies(s *state) {
	s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("comp") != "snapshot" {
			return false
		}
		w.Header().Set("X-Ms-Error-Code", "SnapshotCountExceeded")
		w.WriteHeader(http.StatusConflict)
		return true
	})
	broken, err := lock.Break(s.Context(), task(explained))
	if err != nil || broken.How != operation.ReleasedTaken || broken.Snapshot != "" || !strings.Contains(broken.NoCopy, "SnapshotCountExceeded") {
		s.Errorf("%v, %+v", err, broken)
	}
	s.free(stateText(4))
}

func emptyState(s *state) {
	s.write("")
	id := uuid.NewString()
	s.acquire(id)
	s.describe(id, s.key)
	lock := s.open()
	explained := s.inspect(lock)
	if explained.Size != 0 || explained.Missing != "" || len(explained.Notes) > 0 {
		s.Errorf("found %+v", explained)
	}
	broken, err := lock.Break(s.Context(), task(explained))
	if err != nil || broken.How != operation.ReleasedTaken || broken.Snapshot != "" || broken.NoCopy == "" {
		s.Errorf("%v, %+v", err, broken)
	}
	s.free("")
}

func workspace(s *state) {
	env := s.cloud.Env()
	env["TF_WORKSPACE"] = "blue"
	lock, err := statelock.Open(s.Context(), statelock.Azurerm, s.config(), env)
	s.must(err)
	if found := s.inspect(lock); found.Place != place+s.key+"env:blue" {
		s.Errorf("found %+v", found)
	}
}

func quicker(s *state) {
	s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	next := uuid.NewString()
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Ms-Lease-Action") == "acquire" {
			s.on(nil)
			s.acquire(next)
		}
		return false
	})
	broken, err := lock.Break(s.Context(), task(explained))
	if err != nil || broken.How != operation.ReleasedTaken || !broken.Verified || broken.Now.Lease != operation.LeaseHeld {
		s.Errorf("%v, %+v", err, broken)
	}
	_, err = s.lease(next).RenewLease(s.Context(), nil)
	s.must(err)
}

// The request for a copy is answered once with words that say to come again: the client does.
func cutOff(s *state) {
	s.locked()
	lock := s.open()
	explained := s.inspect(lock)
	var once sync.Once
	s.on(func(w http.ResponseWriter, r *http.Request) (answered bool) {
		if r.URL.Query().Get("comp") == "snapshot" {
			once.Do(func() { w.WriteHeader(http.StatusServiceUnavailable); answered = true })
		}
		return answered
	})
	broken, err := lock.Break(s.Context(), task(explained))
	if err != nil || broken.How != operation.ReleasedTaken || broken.Snapshot == "" {
		s.Errorf("%v, %+v", err, broken)
	}
	s.free(stateText(4))
}

// TestABreakThatIsCutOffEndsInAKnownStateAndIsRepeated cuts off each request of a Break, before it does something and after.
func TestABreakThatIsCutOffEndsInAKnownStateAndIsRepeated(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for _, described := range []bool{true, false} {
		calls := map[bool]int{true: 7, false: 5}[described] // look, change, copy, clear, release; look, copy, break; and both try
		for nth := 1; nth <= calls; nth++ {
			for _, how := range []string{"refused", "lost", "stopped", "stopped after it was done"} {
				for _, anew := range []bool{false, true} { // repeated as it was explained first, and as it is explained then
					name := fmt.Sprintf("described=%v call %d %s anew=%v", described, nth, how, anew)
					t.Run(name, func(t *testing.T) {
						t.Parallel()
						cut(c.state(t, strings.Map(func(r rune) rune {
							if r == ' ' || r == '=' {
								return '-'
							}
							return r
						}, name)), described, nth, how, anew)
					})
				}
			}
		}
	}
}

func cut(s *state, described bool, nth int, how string, anew bool) {
	if described {
		s.locked()
	} else {
		s.write(stateText(4))
		s.acquire(uuid.NewString())
	}
	explained := s.inspect(s.open())
	ctx, stop := context.WithCancel(s.Context())
	defer stop()
	var calls atomic.Int32
	s.on(func(w http.ResponseWriter, r *http.Request) bool {
		if int(calls.Add(1)) != nth {
			return false
		}
		if how == "lost" || how == "stopped after it was done" {
			s.lost(r)
		}
		if strings.HasPrefix(how, "stopped") {
			stop()
			<-r.Context().Done()
			return true
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})
	broken, err := s.hasty(time.Minute).Break(ctx, task(explained))
	if int(calls.Load()) < nth {
		s.Fatalf("only %d calls", calls.Load())
	}
	if broken.Now == nil {
		s.Fatalf("what is there now is not known: %v, %+v", err, broken)
	}
	tried := broken.Untried != "" // it is free, and only whether it can be taken is not known
	switch {
	case err == nil && (!tried || broken.How == operation.ReleasedNot || broken.Verified):
		s.Errorf("%+v", broken)
	case err != nil && (tried || broken.How != operation.ReleasedNot):
		s.Errorf("%v, %+v", err, broken)
	}
	s.on(nil)
	repeated := task(explained)
	if anew {
		repeated = asPeopleDo(repeated, broken, s.inspect(s.open()))
	}
	again, err := s.open().Break(s.Context(), repeated)
	if err != nil || again.How == operation.ReleasedNot || again.Now.Lease == operation.LeaseHeld {
		s.Errorf("again: %v, %+v", err, again)
	}
	if described && again.How == operation.ReleasedBroken && broken.How == operation.ReleasedNot {
		s.Errorf("a lease was broken whose id was known: %+v", again)
	}
	s.free(stateText(4))
}

// asPeopleDo is the task that a new look leads to: with the id of the lock that was taken over, where it has no description any more.
func asPeopleDo(first operation.LockTask, broken operation.Broken, found operation.StateLock) operation.LockTask {
	repeated := task(found)
	if found.Info == nil && broken.Taken && broken.How == operation.ReleasedNot {
		repeated.ID = first.ID
	}
	return repeated
}

// A server that takes a request and says nothing is waited for as long as one call may take.
func TestAServerThatSaysNothingIsNotWaitedForForever(t *testing.T) {
	t.Parallel()
	s := newCloud(t).state(t, "silent")
	s.locked()
	explained := s.inspect(s.open())
	s.on(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("comp") == "snapshot" {
			<-r.Context().Done()
			return true
		}
		return false
	})
	broken, err := s.hasty(2*time.Second).Break(s.Context(), task(explained))
	if err == nil || err.Error() != "copy the state: no answer in time: context deadline exceeded" || !broken.Taken || broken.Cleared ||
		broken.Now == nil || broken.Now.Lease != operation.LeaseHeld {
		t.Errorf("%v, %+v", err, broken)
	}
}

// Whoever may not look, or may not break, learns which role is missing and where.
func TestWhatIsMissingIsNamed(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for name, test := range map[string]struct {
		code string
		env  func(s *state) map[string]string
		want [2]string // to look, to break
	}{
		"an identity": {
			"AuthorizationPermissionMismatch", func(s *state) map[string]string { return s.cloud.Federated(true) }, [2]string{
				"read the state: 403 AuthorizationPermissionMismatch. Give the identity with the client id " + azure.Client +
					" the role `Storage Blob Data Reader` on the container states of the storage account " + azure.Account,
				"take the lease over: 403 AuthorizationPermissionMismatch. Give the identity with the client id " + azure.Client +
					" the role `Storage Blob Data Contributor` on the container states of the storage account " + azure.Account,
			},
		},
		"a network": {
			"AuthorizationFailure", func(s *state) map[string]string { return s.cloud.Federated(true) }, [2]string{
				"read the state: 403 AuthorizationFailure. The network rules of the storage account " + azure.Account + " let nobody in from here",
				"take the lease over: 403 AuthorizationFailure. The network rules of the storage account " + azure.Account + " let nobody in from here",
			},
		},
		"a key": {
			"AuthenticationFailed", func(s *state) map[string]string { return s.cloud.Env() }, [2]string{
				"read the state: 403 AuthenticationFailed. The access key is not one of the storage account " + azure.Account +
					", or keys may not be used there any more",
				"take the lease over: 403 AuthenticationFailed. The access key is not one of the storage account " + azure.Account +
					", or keys may not be used there any more",
			},
		},
		"a signature": {
			"AuthorizationPermissionMismatch", func(s *state) map[string]string {
				env := s.cloud.Proxied()
				signature, err := s.cloud.Signature()
				s.must(err)
				env["ARM_SAS_TOKEN"] = signature
				return env
			}, [2]string{
				"read the state: 403 AuthorizationPermissionMismatch. Give the backend a SAS that has not expired and that may read and list " +
					"blobs in the container states of the storage account " + azure.Account,
				"take the lease over: 403 AuthorizationPermissionMismatch. Give the backend a SAS that has not expired and that may read, list, " +
					"create and write blobs in the container states of the storage account " + azure.Account,
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.state(t, "missing-"+strings.ReplaceAll(name, " ", "-"))
			s.locked()
			lock, err := statelock.Open(s.Context(), statelock.Azurerm, s.config(), test.env(s))
			s.must(err)
			explained := s.inspect(lock)
			for i, method := range []string{http.MethodGet, http.MethodPut} {
				s.on(func(w http.ResponseWriter, r *http.Request) bool {
					if r.Method != method {
						return false
					}
					w.Header().Set("X-Ms-Error-Code", test.code)
					w.WriteHeader(http.StatusForbidden)
					return true
				})
				var err error
				if i == 0 {
					_, err = lock.Inspect(s.Context())
				} else {
					_, err = lock.Break(s.Context(), task(explained))
				}
				denied := (*statelock.Denied)(nil)
				if !errors.As(err, &denied) || err.Error() != test.want[i] {
					t.Errorf("got %v, not %s", err, test.want[i])
				}
			}
		})
	}
}

// Each way to prove oneself is one that Terraform has, too.
func TestEachCredentialLooksAndBreaks(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for name, with := range map[string]func(s *state, config map[string]any) map[string]string{
		"a key": func(s *state, _ map[string]any) map[string]string { return s.cloud.Env() },
		"a key of config": func(s *state, config map[string]any) map[string]string {
			config["access_key"] = s.cloud.Key()
			return s.cloud.Proxied()
		},
		"a signature": func(s *state, config map[string]any) map[string]string {
			signature, err := s.cloud.Signature()
			s.must(err)
			config["sas_token"] = "?" + signature
			return s.cloud.Proxied()
		},
		"oidc": func(s *state, _ map[string]any) map[string]string { return s.cloud.Federated(true) },
		"oidc of a key": func(s *state, config map[string]any) map[string]string {
			config["resource_group_name"] = azure.ResourceGroup
			return s.cloud.Federated(false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.state(t, "credential-"+strings.ReplaceAll(name, " ", "-"))
			id := s.locked()
			config := s.config()
			env := with(s, config)
			lock, err := statelock.Open(s.Context(), statelock.Azurerm, config, env)
			s.must(err)
			explained := s.inspect(lock)
			if explained.Info == nil || explained.Info.ID != id || explained.Serial != 4 || len(explained.Notes) > 0 {
				t.Errorf("found %+v", explained)
			}
			broken, err := lock.Break(s.Context(), task(explained))
			if err != nil || broken.How != operation.ReleasedTaken || broken.Snapshot == "" || !broken.Verified {
				t.Errorf("%v, %+v", err, broken)
			}
			s.free(stateText(4))
		})
	}
}

// What a real signature lacks is refused by the storage itself.
func TestASignatureThatMayTooLittle(t *testing.T) {
	t.Parallel()
	c := newCloud(t)
	for name, test := range map[string]struct {
		may   sas.ContainerPermissions
		until time.Duration
		want  [2]string // that fails: to look, to break
		note  string
	}{
		"it may read and list": {sas.ContainerPermissions{Read: true, List: true}, time.Hour, [2]string{
			"", "take the lease over: 403 AuthorizationPermissionMismatch. Give the backend a SAS that has not expired and that may read, list, create",
		}, ""},
		"it may read": {sas.ContainerPermissions{Read: true, Write: true}, time.Hour, [2]string{}, "Whether states that could not be saved are beside it is not known"},
		"it has expired": {sas.ContainerPermissions{Read: true, List: true}, -time.Minute, [2]string{
			// Azure itself says AuthenticationFailed.
			"read the state: 403 AuthorizationFailure. Give the backend a SAS that has not expired", "ask for the lease: 403 AuthorizationFailure",
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := c.state(t, "little-"+strings.ReplaceAll(name, " ", "-"))
			s.locked()
			explained := s.inspect(s.open())
			at, err := s.cloud.Container().GetSASURL(test.may, time.Now().Add(test.until), &container.GetSASURLOptions{StartTime: new(time.Now().Add(-time.Hour))})
			s.must(err)
			env := s.cloud.Proxied()
			_, env["ARM_SAS_TOKEN"], _ = strings.Cut(at, "?")
			lock, err := statelock.Open(s.Context(), statelock.Azurerm, s.config(), env)
			s.must(err)
			found, err := lock.Inspect(s.Context())
			s.denied(err, test.want[0], env["ARM_SAS_TOKEN"])
			if test.note != "" && (len(found.Notes) != 1 || !strings.HasPrefix(found.Notes[0], test.note)) {
				s.Errorf("notes %v", found.Notes)
			}
			_, err = lock.Break(s.Context(), task(explained))
			s.denied(err, test.want[1], env["ARM_SAS_TOKEN"])
		})
	}
}

// denied fails unless the error begins so, and has no part of a secret.
func (s *state) denied(err error, want, secret string) {
	s.Helper()
	denied := (*statelock.Denied)(nil)
	switch {
	case want == "":
		s.must(err)
	case !errors.As(err, &denied) || !strings.HasPrefix(err.Error(), want):
		s.Errorf("got %v, not %s", err, want)
	}
	if err == nil {
		return
	}
	for part := range strings.SplitSeq(secret, "&") {
		if strings.HasPrefix(part, "sig=") && strings.Contains(err.Error(), part[4:]) {
			s.Errorf("the signature is said: %v", err)
		}
	}
}

// Before there is a lock to be looked at, there is who asks.
func TestWhoAsksIsRefused(t *testing.T) {
	t.Parallel()
	c := ownCloud(t)
	answer := func(path string, status int, text string) {
		c.mu.Lock()
		defer c.mu.Unlock()
		clear(c.handlers)
		c.handlers[path] = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(status)
			_, _ = io.WriteString(w, text)
			return true
		}
	}
	config := c.state(t, "network").config()
	config["resource_group_name"] = azure.ResourceGroup
	answer("/subscriptions/"+azure.Subscription+"/resourceGroups/"+azure.ResourceGroup+"/providers/Microsoft.Storage/storageAccounts/"+azure.Account+"/listKeys",
		http.StatusForbidden, `{"error":{"code":"AuthorizationFailed"}}`)
	_, err := statelock.Open(t.Context(), statelock.Azurerm, config, c.Federated(false))
	want := "ask for a key of the account: 403 AuthorizationFailed. Give the identity with the client id " + azure.Client +
		" the role `Storage Account Key Operator Service Role` on the storage account " + azure.Account + ", or set `use_azuread_auth`"
	if err == nil || !strings.HasPrefix(err.Error(), want) {
		t.Errorf("got %v", err)
	}
	answer("/"+azure.Tenant+"/oauth2/v2.0/token", http.StatusUnauthorized,
		`{"error":"invalid_client","error_description":"AADSTS700213: No matching federated identity record found for presented assertion subject 'repo:acme'"}`)
	lock, err := statelock.Open(t.Context(), statelock.Azurerm, config, c.Federated(true))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := lock.Inspect(t.Context()); err == nil || err.Error() != "read the state: the identity platform gave no token AADSTS700213" {
		t.Errorf("got %v", err)
	}
}
