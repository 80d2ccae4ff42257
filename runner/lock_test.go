package runner_test

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/bloberror"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/lease"
	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/runner"
	standin "github.com/switchyard-dev/switchyard/sandbox/azure"
)

// lockedBlob makes the blob of a state and takes its lease, and describes nothing: as Terraform does until it is killed.
func lockedBlob(t *testing.T, a *standin.Azure, key string) *lease.BlobClient {
	t.Helper()
	client := a.Container().NewBlockBlobClient(key)
	_, err := client.UploadBuffer(t.Context(), nil, &blockblob.UploadBufferOptions{AccessConditions: &blob.AccessConditions{
		ModifiedAccessConditions: &blob.ModifiedAccessConditions{IfNoneMatch: new(azcore.ETagAny)},
	}})
	if err != nil && !bloberror.HasCode(err, bloberror.BlobAlreadyExists, bloberror.ConditionNotMet) {
		t.Fatal(err)
	}
	leases, err := lease.NewBlobClient(client, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := leases.AcquireLease(t.Context(), -1, nil); err != nil {
		t.Fatal(err)
	}
	return leases
}

func TestALockWithoutADescription(t *testing.T) {
	t.Parallel()
	a := newStorage(t)
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n" + data("x", "1")})
	task := func(key string, timeout time.Duration) operation.Task {
		task := w.task(operation.Apply, tree, "a")
		task.Targets[0].Backend, task.Env, task.LockTimeout = a.Backend(key), a.Env(), timeout
		return task
	}
	t.Run("is recognised", func(t *testing.T) {
		lockedBlob(t, a.Azure, "bare")
		target := w.do(task("bare", 0)).Targets[0]
		t.Logf("%+v\n%s", target, target.Error)
		if target.Outcome != operation.Locked || target.Lock == nil || *target.Lock != (operation.LockInfo{}) {
			t.Fatalf("got %+v", target)
		}
	})
	for name, prepare := range map[string]func(key string) *lease.BlobClient{
		"is waited for by init, where there is no state yet": func(key string) *lease.BlobClient { return lockedBlob(t, a.Azure, key) },
		"is waited for by the plan, where there is one": func(key string) *lease.BlobClient {
			if target := w.do(task(key, 0)).Targets[0]; target.Outcome != operation.Different { // init writes the first state
				t.Fatalf("got %+v", target)
			}
			return lockedBlob(t, a.Azure, key)
		},
	} {
		t.Run(name, func(t *testing.T) {
			key := strings.ReplaceAll(name, " ", "-")
			leases := prepare(key)
			var looks atomic.Int64
			a.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodHead && strings.HasSuffix(r.URL.Path, "/"+key) && looks.Add(1) == 3 {
					if _, err := leases.BreakLease(r.Context(), &lease.BlobBreakOptions{BreakPeriod: new(int32(0))}); err != nil {
						t.Error(err)
					}
				}
				return false
			})
			target := w.do(task(key, time.Minute)).Targets[0]
			if target.Outcome != operation.Different || looks.Load() < 3 || target.Processes < 3 {
				t.Fatalf("looked %d times with %d processes: %+v", looks.Load(), target.Processes, target)
			}
		})
	}
}

// killed is a root whose apply kills its own Terraform in the middle, after it has made what comes before.
func killed(backend string) string {
	return "terraform {\n  backend \"" + backend + "\" {}\n}\n" + data("first", "1") +
		"resource \"terraform_data\" \"slow\" {\n  depends_on = [terraform_data.first]\n" +
		"  provisioner \"local-exec\" {\n    command = \"kill -9 $PPID\"\n  }\n}\n"
}

// leftBehind is the state of one root whose lock an apply has left that was killed.
type leftBehind struct {
	*world

	backend map[string]string
	env     map[string]string
	kind    string
	killed  string // tree whose apply kills itself
	next    string // tree that can be applied
}

// leaveLock applies a root until its Terraform is killed.
func leaveLock(t *testing.T, kind string, backend, env map[string]string) *leftBehind {
	t.Helper()
	w := newWorld(t)
	l := &leftBehind{world: w, backend: backend, env: env, kind: kind}
	l.killed = w.tree(map[string]string{"a/main.tf": killed(kind)})
	l.next = w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"" + kind + "\" {}\n}\n" + data("first", "1") + data("slow", "null")})
	task := l.of(operation.Apply, l.killed)
	task.Targets[0].Expected = l.plan(l.killed)
	target := w.do(task).Targets[0]
	if target.Outcome != operation.TargetFailed || target.Timings.Apply == 0 {
		t.Fatalf("the apply that kills itself: %+v", target)
	}
	if target.Lock == nil || target.Lock.ID == "" || target.Found == nil || target.Found.Lease != operation.LeaseHeld {
		t.Errorf("the lock that it leaves is not named: %+v", target)
	}
	if begin := "Terraform was killed (signal: killed) during terraform apply, and not by Switchyard.\nMost often that is the system, because memory " +
		"ran out"; !strings.HasPrefix(target.Error, begin) || !strings.Contains(target.Error, "The state lock is still held by ") ||
		!strings.Contains(target.Error, "Next, when nothing works on the state any more: `/break-lease dev a`.\n\n") {
		t.Errorf("it says %q", target.Error)
	}
	return l
}

func (l *leftBehind) of(kind operation.Kind, tree string) operation.Task {
	task := l.task(kind, tree, "a")
	task.Targets[0].Backend, task.Env = l.backend, l.env
	if kind != operation.Plan {
		task.WorkDir = filepath.Join(l.t.TempDir(), string(kind))
	}
	return task
}

func (l *leftBehind) plan(tree string) *operation.ChangeSet {
	l.t.Helper()
	target := l.do(l.of(operation.Plan, tree)).Targets[0]
	if target.Outcome != operation.Planned && target.Outcome != operation.Unchanged {
		l.t.Fatalf("plan: %+v", target)
	}
	return &target.ChangeSet
}

// explain looks at the lock.
func (l *leftBehind) explain() operation.StateLock {
	l.t.Helper()
	target := l.do(l.of(operation.ExplainLock, l.next)).Targets[0]
	if target.Outcome != operation.Looked || target.Found == nil {
		l.t.Fatalf("explain: %+v", target)
	}
	return *target.Found
}

// breaking is the task that breaks a lock as it was found.
func (l *leftBehind) breaking(found operation.StateLock) operation.Task {
	task := l.of(operation.BreakLease, l.next)
	task.Lock = &operation.LockTask{ETag: found.ETag}
	if found.Info != nil {
		task.Lock.ID = found.Info.ID
	}
	return task
}

// free applies the root, which shows that its lock is free.
func (l *leftBehind) free() {
	l.t.Helper()
	task := l.of(operation.Apply, l.next)
	task.Targets[0].Expected = l.plan(l.next)
	if target := l.do(task).Targets[0]; target.Outcome != operation.Applied && target.Outcome != operation.Unchanged {
		l.t.Errorf("the next apply: %+v", target)
	}
}

func TestALockThatAKilledApplyHasLeft(t *testing.T) {
	t.Parallel()
	for kind, stored := range map[string]func(t *testing.T) (backend, env map[string]string){
		"azurerm": func(t *testing.T) (map[string]string, map[string]string) {
			t.Helper()
			s := newStorage(t)
			return s.Backend("network"), s.Env()
		},
		"http": func(t *testing.T) (map[string]string, map[string]string) {
			t.Helper()
			at := newInfoServer(t)
			return map[string]string{"address": at, "lock_address": at, "unlock_address": at, "retry_max": "0"}, nil
		},
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			backend, env := stored(t)
			l := leaveLock(t, kind, backend, env)

			task := l.of(operation.Apply, l.next)
			task.Targets[0].Expected = l.plan(l.next) // a plan takes no lock
			met := l.do(task).Targets[0]
			if met.Outcome != operation.Locked || met.Lock == nil || met.Lock.ID == "" || met.Found == nil || met.Found.Lease != operation.LeaseHeld {
				t.Fatalf("the apply that meets it: %+v", met)
			}
			found := l.explain()
			if found.Lease != operation.LeaseHeld || found.Info == nil || found.Info.ID != met.Lock.ID || found.Info.Operation != "OperationTypeApply" {
				t.Fatalf("found %+v by %+v, met %+v: %s", found, found.Info, met.Lock, met.Error)
			}
			other := l.breaking(found)
			other.Lock.ID = "00000000-0000-4000-8000-000000000000"
			if target := l.do(other).Targets[0]; target.Outcome != operation.OtherLock || target.Broken == nil || target.Broken.How != operation.ReleasedNot {
				t.Fatalf("another lock: %+v", target)
			}

			task = l.breaking(found)
			task.Targets[0].Expected = &operation.ChangeSet{Changes: []operation.Change{
				{Address: "terraform_data.before", Action: operation.Create},
				{Address: "terraform_data.slow", Action: operation.Create},
				{Address: "output.x", Action: operation.Output},
			}}
			var asked atomic.Int64
			result := runner.RunConfirmed(t.Context(), task, io.Discard, func(context.Context) error { asked.Add(1); return nil })
			target := result.Targets[0]
			if target.Outcome != operation.Released || target.Broken == nil || asked.Load() != 1 || target.Error != "" {
				t.Fatalf("asked %d times: %+v", asked.Load(), target)
			}
			broken := *target.Broken
			now := broken.Now
			broken.Now, broken.Snapshot, broken.NoCopy = nil, "", ""
			want := operation.Broken{
				How: operation.ReleasedTaken, Taken: kind == "azurerm", Cleared: true, Verified: true,
				Made: []string{"terraform_data.before"}, Left: []string{"terraform_data.slow"},
			}
			if diff := cmp.Diff(want, broken); diff != "" {
				t.Errorf("broken (-want +got):\n%s", diff)
			}
			if now == nil || now.Lease == operation.LeaseHeld {
				t.Errorf("now: %+v", now)
			}
			if kind == "azurerm" && target.Broken.Snapshot == "" || kind == "http" && target.Broken.NoCopy == "" {
				t.Errorf("of the state before: %+v", target.Broken)
			}
			if !slices.Contains(addresses(target.ChangeSet.Changes), "create terraform_data.slow") {
				t.Errorf("a plan would do %v", addresses(target.ChangeSet.Changes))
			}
			l.free()
			if again := l.do(l.breaking(found)).Targets[0]; again.Outcome != operation.Released || again.Broken.How != operation.ReleasedBefore {
				t.Errorf("once more: %+v", again)
			}
		})
	}
}

// A Terraform that leaves its lock says so, whatever ended it, and whether or not the lock can be looked at.
func TestALockThatIsLeftIsNamed(t *testing.T) {
	t.Parallel()
	const twice = "(trap '' INT; while kill -INT $PPID; do sleep 0.05; done) >/dev/null 2>&1 & wait"
	for name, c := range map[string]struct {
		command string
		silent  bool // nobody is told who has the lock
		want    string
	}{
		"killed":                                 {"kill -9 $PPID", false, "The state lock is still held by "},
		"killed, with a server that is gone":     {"kill -9 $PPID", true, "The state lock may still be held. Next, when nothing works on the state any more: `/break-lease dev a`"},
		"told twice to stop":                     {twice, false, "The state lock is still held by "},
		"told twice, with a server that is gone": {twice, true, "Terraform was told twice to stop, and left at once. The state lock may still be held"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var applying, locked atomic.Bool
			inner := newInfoServer(t)
			to, err := url.Parse(inner)
			if err != nil {
				t.Fatal(err)
			}
			proxy := httputil.NewSingleHostReverseProxy(to)
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				switch {
				case !applying.Load():
				case r.Method == "LOCK" && locked.Swap(true) && c.silent: // by whoever looks at it afterwards
					rw.WriteHeader(http.StatusServiceUnavailable)
					return
				case r.Method == http.MethodPost && c.command == twice: // it could stop by itself otherwise
					_, _ = io.Copy(io.Discard, r.Body)
					<-r.Context().Done()
					return
				}
				proxy.ServeHTTP(rw, r)
			}))
			t.Cleanup(server.Close)
			tree := w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"http\" {}\n}\n" +
				"resource \"terraform_data\" \"slow\" {\n  provisioner \"local-exec\" {\n    command = \"" + c.command + "\"\n  }\n}\n"})
			l := &leftBehind{world: w, kind: "http", backend: map[string]string{
				"address": server.URL, "lock_address": server.URL, "unlock_address": server.URL, "retry_max": "0",
			}}
			task := l.of(operation.Apply, tree)
			task.Targets[0].Expected = l.plan(tree)
			target := runner.RunConfirmed(t.Context(), task, io.Discard, func(context.Context) error { applying.Store(true); return nil }).Targets[0]
			if target.Outcome != operation.TargetFailed || target.Lock == nil || (target.Lock.ID == "") != c.silent || (target.Found == nil) != c.silent ||
				!strings.Contains(target.Error, c.want) {
				t.Errorf("got %+v, %+v: %s", target, target.Lock, target.Error)
			}
		})
	}
}

// killing is Terraform, which is killed when a server that it asks says so.
func (w *world) killing() (kill func()) {
	w.t.Helper()
	dir := w.t.TempDir()
	binary, err := realTerraform()
	if err != nil {
		w.t.Fatal(err)
	}
	w.binary = filepath.Join(dir, "terraform")
	script := "#!/bin/sh\ncase \"$1\" in plan) echo $$ > '" + filepath.Join(dir, "pid") + "' ;; esac\nexec '" + binary + "' \"$@\"\n"
	if err := os.WriteFile(w.binary, []byte(script), 0o700); err != nil { //nolint:gosec // a program
		w.t.Fatal(err)
	}
	return func() {
		text, err := os.ReadFile(filepath.Join(dir, "pid")) //nolint:gosec // of this test
		if err != nil {
			return // it is not a plan that asks
		}
		if pid, err := strconv.Atoi(strings.TrimSpace(string(text))); err == nil && pid > 1 {
			_ = syscall.Kill(pid, syscall.SIGKILL)
		}
	}
}

func TestATerraformThatIsKilledInAPlan(t *testing.T) {
	t.Parallel()
	for kind, locks := range map[operation.Kind]bool{operation.Plan: false, operation.Apply: true} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			kill := w.killing()
			to, err := url.Parse(newInfoServer(t))
			if err != nil {
				t.Fatal(err)
			}
			proxy := httputil.NewSingleHostReverseProxy(to)
			server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodGet {
					kill()
				}
				proxy.ServeHTTP(rw, r)
			}))
			t.Cleanup(server.Close)
			tree := w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"http\" {}\n}\n" + data("first", "1")})
			l := &leftBehind{world: w, kind: "http", backend: map[string]string{
				"address": server.URL, "lock_address": server.URL, "unlock_address": server.URL, "retry_max": "0",
			}}
			target := l.do(l.of(kind, tree)).Targets[0]
			if target.Outcome != operation.TargetFailed || (target.Lock != nil) != locks || (target.Found != nil) != locks ||
				!strings.HasPrefix(target.Error, "Terraform was killed (signal: killed) during terraform plan, and not by Switchyard.") ||
				strings.Contains(target.Error, "The state lock is still held") != locks {
				t.Errorf("got %+v: %s", target, target.Error)
			}
		})
	}
}

// newInfoServer is Terraform's http backend, which says who holds the lock, and gives its address.
// https://developer.hashicorp.com/terraform/language/backend/http
func newInfoServer(t *testing.T) string {
	t.Helper()
	var mu sync.Mutex
	var state, holder []byte
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		body, _ := io.ReadAll(r.Body)
		switch {
		case r.Method == http.MethodGet && state == nil:
			w.WriteHeader(http.StatusNoContent)
		case r.Method == http.MethodGet:
			_, _ = w.Write(state)
		case r.Method == http.MethodPost:
			state = body
		case r.Method == "LOCK" && holder != nil:
			w.WriteHeader(http.StatusLocked)
			_, _ = w.Write(holder)
		case r.Method == "LOCK":
			holder = body
		case r.Method == "UNLOCK":
			holder = nil
		}
	}))
	t.Cleanup(server.Close)
	return server.URL
}

func TestALockIsNotBroken(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	l := leaveLock(t, "azurerm", s.Backend("network"), s.Env())
	found := l.explain()
	t.Run("where the last word says no", func(t *testing.T) {
		result := runner.RunConfirmed(t.Context(), l.breaking(found), io.Discard, func(context.Context) error { return errors.New("it was cancelled") })
		target := result.Targets[0]
		if target.Outcome != operation.TargetStopped || target.Broken != nil || !strings.Contains(target.Error, "Nothing was done to the lock: it was cancelled") {
			t.Errorf("got %+v", target)
		}
	})
	t.Run("by a task that was stopped before", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		result := l.doWith(ctx, l.breaking(found))
		if result.Stopped == "" || result.Targets[0].Outcome != operation.TargetStopped {
			t.Errorf("got %+v", result)
		}
	})
	t.Run("without a lock that is meant, or for two roots at once", func(t *testing.T) {
		none := l.breaking(found)
		none.Lock = nil
		two := l.breaking(found)
		second := two.Targets[0]
		second.Target.Root, second.Dir = "b", "b"
		two.Targets = append(two.Targets, second)
		for _, task := range []operation.Task{none, two} {
			if result := l.do(task); !strings.Contains(result.Error, "exactly one target") || len(result.Targets) > 0 {
				t.Errorf("got %+v", result)
			}
		}
	})
	t.Run("and it is still held", func(t *testing.T) {
		if now := l.explain(); now.Lease != operation.LeaseHeld || now.ETag != found.ETag {
			t.Errorf("found %+v, before %+v", now, found)
		}
	})
}

func TestABreakThatIsStoppedInTheMiddleSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	l := leaveLock(t, "azurerm", s.Backend("network"), s.Env())
	found := l.explain()
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	s.Intercept(func(_ http.ResponseWriter, r *http.Request) bool {
		if r.Header.Get("X-Ms-Lease-Action") != "release" {
			return false
		}
		cancel(runner.ErrCancelled)
		<-r.Context().Done() // no answer
		return true
	})
	result := l.doWith(ctx, l.breaking(found))
	s.Intercept(nil)
	target := result.Targets[0]
	if target.Outcome != operation.TargetStopped || result.Stopped != "cancelled" || target.Broken == nil || !target.Broken.Taken ||
		!target.Broken.Cleared || target.Broken.How != operation.ReleasedNot {
		t.Fatalf("got %+v, %+v", target, target.Broken)
	}
	if again := l.do(l.breaking(found)).Targets[0]; again.Outcome != operation.Released || !again.Broken.Verified {
		t.Errorf("once more: %+v, %+v", again, again.Broken)
	}
	l.free()
}

func TestStatesOfADeadApplyAreFound(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n" + data("first", "1")})
	l := &leftBehind{world: w, backend: s.Backend("network"), env: s.Env(), kind: "azurerm", next: tree}
	l.free()
	found := l.explain()
	died := filepath.Join(t.TempDir(), "it's dead")
	write := func(name, content string) {
		name = filepath.Join(died, name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	sum := sha256.Sum256([]byte("a\x00dev"))
	key := hex.EncodeToString(sum[:8])
	write("tree/a/errored.tfstate", fmt.Sprintf(`{"version":4,"serial":%d,"lineage":%q}`, found.Serial+1, found.Lineage))
	write("errored/6-1-"+key+".tfstate", fmt.Sprintf(`{"version":4,"serial":%d,"lineage":%q}`, found.Serial, found.Lineage))
	write("errored/6-2-"+key+".tfstate", `{"version":4,"serial":9,"lineage":"another"}`)
	write("errored/6-3-"+key+".tfstate", "no state")
	write("errored/6-1-0000000000000000.tfstate", "of another target")
	if err := os.Symlink("/etc/passwd", filepath.Join(died, "errored", "6-4-"+key+".tfstate")); err != nil {
		t.Fatal(err)
	}
	task := l.of(operation.ExplainLock, tree)
	task.Died = died
	target := l.do(task).Targets[0]
	if target.Outcome != operation.Looked {
		t.Fatalf("got %+v", target)
	}
	var got []string
	for _, state := range target.Found.Errored {
		got = append(got, fmt.Sprintf("%s fits: %t %s%s", strings.ReplaceAll(strings.TrimPrefix(state.Place, died), key, "KEY"), state.Fits, state.Why,
			strings.ReplaceAll(state.Next, strings.ReplaceAll(died, "'", `'\''`), "DIED")))
	}
	want := []string{
		"/tree/a/errored.tfstate fits: true terraform -chdir=a state push 'DIED/tree/a/errored.tfstate'",
		fmt.Sprintf("/errored/6-1-KEY.tfstate fits: false The state that is there has serial %d and this one %[1]d: "+
			"that was written later, so compare the two by hand.", found.Serial),
		"/errored/6-2-KEY.tfstate fits: false It is of another lineage than the state that is there.",
		"/errored/6-3-KEY.tfstate fits: false It cannot be read as a state.",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestALockThatCannotBeLookedAt(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	s.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.Host, ".blob.core.windows.net") {
			return false
		}
		w.Header().Set("X-Ms-Error-Code", "AuthorizationPermissionMismatch")
		w.WriteHeader(http.StatusForbidden)
		return true
	})
	w := newWorld(t)
	tree := w.tree(map[string]string{
		"a/main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n", "b/main.tf": data("x", "1"), "c/main.tf": "terraform {\n  backend \"nosuch\" {}\n}\n",
	})
	task := w.task(operation.ExplainLock, tree, "a", "b", "c")
	task.Env = s.Federated(true)
	task.Targets[0].Backend, task.Targets[1].Backend, task.Targets[2].Backend = s.Backend("network"), nil, nil
	result := w.do(task)
	for i, want := range []string{"Storage Blob Data", "has no backend", "nosuch"} {
		if target := result.Targets[i]; target.Outcome != operation.TargetFailed || !strings.Contains(target.Error, want) || target.Found != nil {
			t.Errorf("got %+v, not %q", target, want)
		}
	}
}

func TestALockThatAnApplyItselfMeets(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n" + data("first", "1")})
	l := &leftBehind{world: w, backend: s.Backend("network"), env: s.Env(), kind: "azurerm", next: tree}
	task := l.of(operation.Apply, tree)
	task.Targets[0].Expected = l.plan(tree)
	task.LockTimeout = time.Minute
	between := func(context.Context) error { lockedBlob(t, s.Azure, "network"); return nil } //nolint:contextcheck // between plan and apply
	target := runner.RunConfirmed(t.Context(), task, io.Discard, between).Targets[0]
	if target.Outcome != operation.Locked || target.Lock == nil || target.Found == nil || target.Found.Lease != operation.LeaseHeld || target.Found.Info != nil {
		t.Fatalf("got %+v", target)
	}
	if target.Timings.Apply > 30*time.Second {
		t.Errorf("it was tried again for %s: an apply never is", target.Timings.Apply)
	}
}

func TestALockIsBrokenWhereNothingCanBeFetched(t *testing.T) {
	t.Parallel()
	const holder = `{"ID":"11111111-0000-4000-8000-000000000000","Operation":"OperationTypeApply","Who":"ana@laptop"}`
	at := newInfoServer(t)
	request, err := http.NewRequestWithContext(t.Context(), "LOCK", at, strings.NewReader(holder))
	if err != nil {
		t.Fatal(err)
	}
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": `terraform {
  backend "http" {}
  required_providers {
    none = { source = "127.0.0.1:1/none/none" }
  }
}
module "private" {
  source = "https://127.0.0.1:1/private.zip"
}
`})
	l := &leftBehind{world: w, kind: "http", next: tree, backend: map[string]string{
		"address": at, "lock_address": at, "unlock_address": at, "retry_max": "0",
	}}
	found := l.explain()
	if found.Lease != operation.LeaseHeld || found.Info == nil || found.Info.Who != "ana@laptop" {
		t.Fatalf("found %+v", found)
	}
	target := l.do(l.breaking(found)).Targets[0]
	if target.Outcome != operation.Released || target.Broken == nil || !target.Broken.Verified || !strings.Contains(target.Broken.Problem, "127.0.0.1:1") {
		t.Errorf("got %+v, %+v", target, target.Broken)
	}
	if now := l.explain(); now.Lease != operation.LeaseFree {
		t.Errorf("found %+v", now)
	}
}

func TestLookingAtAStateThatIsNotThereMakesNone(t *testing.T) {
	t.Parallel()
	s := newStorage(t)
	w := newWorld(t)
	tree := w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n" + data("first", "1")})
	l := &leftBehind{world: w, backend: s.Backend("gone"), env: s.Env(), kind: "azurerm", next: tree}
	for range 2 {
		if found := l.explain(); found.Missing != "state" || found.Lease != operation.LeaseFree {
			t.Errorf("found %+v", found)
		}
	}
	l.backend["container_name"] = "nosuchcontainer"
	if found := l.explain(); found.Missing != "container" {
		t.Errorf("found %+v", found)
	}
}

// Where the configuration itself says in its backend block where the state is, as examples do, that counts as well.
func TestABackendWhoseBlockSaysWhereTheStateIs(t *testing.T) {
	t.Parallel()
	inBlock := func(s *storage, change map[string]string) string {
		block := s.Backend("")
		delete(block, "key")
		maps.Copy(block, change)
		var text strings.Builder
		for name, value := range block {
			fmt.Fprintf(&text, "    %s = %q\n", name, value)
		}
		return "terraform {\n  backend \"azurerm\" {\n" + text.String() + "  }\n}\n" + data("first", "1")
	}
	t.Run("an account that lets nobody in", func(t *testing.T) {
		t.Parallel()
		s, w := newStorage(t), newWorld(t)
		s.Intercept(func(rw http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.Host, ".blob.core.windows.net") {
				return false
			}
			rw.Header().Set("X-Ms-Error-Code", "AuthorizationPermissionMismatch")
			rw.WriteHeader(http.StatusForbidden)
			return true
		})
		env := s.Federated(true)
		delete(env, "ARM_USE_AZUREAD")
		l := &leftBehind{world: w, backend: map[string]string{"key": "fresh", "use_azuread_auth": "true"}, env: env}
		target := l.do(l.of(operation.ExplainLock, w.tree(map[string]string{"a/main.tf": inBlock(s, nil)}))).Targets[0]
		if target.Outcome != operation.TargetFailed || target.Found != nil ||
			!strings.Contains(target.Error, "the role `Storage Blob Data Reader` on the container "+standin.Container+" of the storage account "+standin.Account) {
			t.Errorf("got %+v", target)
		}
	})
	t.Run("a state or a container that is not there", func(t *testing.T) {
		t.Parallel()
		s, w := newStorage(t), newWorld(t)
		l := &leftBehind{world: w, backend: map[string]string{"key": "fresh"}, env: s.Env()}
		for name, c := range map[string]struct {
			block, given map[string]string
			missing      string
		}{
			"no state":                              {nil, nil, "state"},
			"no container":                          {map[string]string{"container_name": "nosuchcontainer"}, nil, "container"},
			"what is given goes before the block":   {map[string]string{"container_name": "nosuchcontainer"}, map[string]string{"container_name": standin.Container}, "state"},
			"and so does a container that is given": {nil, map[string]string{"container_name": "nosuchcontainer"}, "container"},
			"a key in the block":                    {map[string]string{"key": "other"}, nil, "state"},
		} {
			l.next, l.backend = w.tree(map[string]string{"a/main.tf": inBlock(s, c.block)}), map[string]string{"key": "fresh"}
			maps.Copy(l.backend, c.given)
			for range 2 { // the first look has made none
				if found := l.explain(); found.Missing != c.missing || found.Lease != operation.LeaseFree || !strings.HasSuffix(found.Place, "/fresh") {
					t.Errorf("%s: found %+v", name, found)
				}
			}
		}
	})
	t.Run("an http server that lets nobody in", func(t *testing.T) {
		t.Parallel()
		server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusForbidden) }))
		t.Cleanup(server.Close)
		w := newWorld(t)
		l := &leftBehind{world: w}
		target := l.do(l.of(operation.ExplainLock, w.tree(map[string]string{"a/main.tf": "terraform {\n  backend \"http\" {\n    address = \"" + server.URL + "\"\n  }\n}\n"}))).Targets[0]
		if target.Outcome != operation.TargetFailed || !strings.Contains(target.Error, "Give the backend a username and password") {
			t.Errorf("got %+v", target)
		}
	})
}
