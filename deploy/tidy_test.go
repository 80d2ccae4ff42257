package deploy_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/executor/local"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// retention is for how long the tests keep what nobody uses.
const retention = 30 * 24 * time.Hour

// disk is a data directory with a Deploy that keeps it tidy.
type disk struct {
	*deploy.Deploy

	t          *testing.T
	clock      *clockwork.FakeClock
	store      *store.Store
	work, runs string
}

func newDisk(t *testing.T) *disk {
	t.Helper()
	dir := t.TempDir()
	d := &disk{
		t: t, clock: clockwork.NewFakeClockAt(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)),
		work: filepath.Join(dir, "work"), runs: filepath.Join(dir, "runs"),
	}
	var err error
	if d.store, err = store.Open(t.Context(), "sqlite:"+filepath.Join(dir, "switchyard.db"), d.clock); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.store.Close() })
	runs, err := local.New(local.Options{Binary: "/bin/true", Dir: d.runs})
	if err != nil {
		t.Skip(err) // this host cannot confine Terraform
	}
	d.Deploy = deploy.New(deploy.Options{
		Store: d.store, Executor: runs, Clock: d.clock, Log: zerolog.Nop(), Host: "here", HostName: "here", WorkDir: d.work,
	})
	return d
}

// put makes a file of the data directory.
func (d *disk) put(parts ...string) {
	d.t.Helper()
	path := filepath.Join(parts...)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		d.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
		d.t.Fatal(err)
	}
}

// unused has everything be as old as that.
func (d *disk) unused(age time.Duration) {
	d.t.Helper()
	at := d.clock.Now().Add(-age)
	for _, dir := range []string{d.work, d.runs} {
		if err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
			if err != nil {
				return err
			}
			return os.Chtimes(path, at, at)
		}); err != nil && !os.IsNotExist(err) {
			d.t.Fatal(err)
		}
	}
}

// left are the directories that are there.
func (d *disk) left() []string {
	d.t.Helper()
	found, err := filepath.Glob(filepath.Join(filepath.Dir(d.work), "*", "*", "*"))
	if err != nil {
		d.t.Fatal(err)
	}
	var names []string
	for _, path := range found {
		if name, ok := strings.CutPrefix(path, d.work+"/"); ok {
			names = append(names, name)
		}
	}
	attempts, err := os.ReadDir(d.runs)
	if err != nil {
		d.t.Fatal(err)
	}
	for _, entry := range attempts {
		names = append(names, "runs/"+entry.Name())
	}
	slices.Sort(names)
	return names
}

func (d *disk) tidy() int {
	d.t.Helper()
	removed, err := d.Tidy(d.t.Context(), retention)
	if err != nil {
		d.t.Fatal(err)
	}
	return removed
}

var network = operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"}

// apply takes an apply as far as a state.
func (d *disk) apply(environment string, state operation.State) operation.Operation {
	d.t.Helper()
	ctx := context.WithoutCancel(d.t.Context())
	if _, _, err := d.store.QueueApply(ctx, operation.Operation{
		Kind: operation.Apply, Repository: network, Environment: environment, Branch: environment, Head: "h",
	}); err != nil {
		d.t.Fatal(err)
	}
	op, _, err := d.store.TakeHold(ctx, network.ID, environment)
	if err != nil {
		d.t.Fatal(err)
	}
	if err := d.store.Launch(ctx, op.ID, op.Attempt, "here", "nonce"); err != nil {
		d.t.Fatal(err)
	}
	if state != operation.Running {
		if op, err = d.store.Finish(ctx, store.Finish{Operation: op.ID, Attempt: op.Attempt, State: state, Question: "q"}); err != nil {
			d.t.Fatal(err)
		}
	}
	return op
}

func TestWhatNobodyUsesIsRemovedAfterATime(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	for number, state := range map[int]string{40: "open", 41: "merged", 42: "closed"} {
		if err := d.store.SavePull(t.Context(), network.ID, number, "h", fmt.Appendf(nil, `{"number":%d,"state":%q}`, number, state)); err != nil {
			t.Fatal(err)
		}
		d.put(d.work, "7", fmt.Sprintf("pull-%d", number), "tree/main.tf")
		d.put(d.work, "7", fmt.Sprintf("pull-%d", number), "lock")
	}
	d.put(d.work, "7", "pull-43", "lock") // of a repository that was removed: nothing is known of it
	ended, runs, asks := d.apply("dev", operation.Succeeded), d.apply("test", operation.Running), d.apply("prod", operation.Unconfirmed)
	for _, op := range []operation.Operation{ended, runs, asks} {
		d.put(d.work, "7", fmt.Sprintf("apply-%d-%d", op.ID, op.Attempt), "lock")
		d.put(d.runs, fmt.Sprintf("%d-%d-nonce", op.ID, op.Attempt), "result.json")
		d.put(d.runs, fmt.Sprintf("%d-%d-nonce", op.ID, op.Attempt), "log")
	}
	d.put(d.work, "7", ".gone-pull-9", "tree/main.tf") // a removal that broke off
	d.put(d.work, "7", "pull-42.bak", "lock")          // somebody's
	d.put(d.work, "notes", "pull-42", "lock")
	d.unused(retention - time.Hour)
	if removed := d.tidy(); removed != 1 {
		t.Errorf("%d were removed before their time: %v", removed, d.left())
	}
	d.clock.Advance(2 * time.Hour)
	if removed := d.tidy(); removed != 6 {
		t.Errorf("%d were removed", removed)
	}
	want := []string{
		"7/apply-2-1", // it runs
		"7/apply-3-1", // it waits for a yes
		"7/pull-40", "7/pull-42.bak", "notes/pull-42", "runs/2-1-nonce",
	}
	if diff := cmp.Diff(want, d.left()); diff != "" {
		t.Error(diff)
	}
}

func TestWhatARunnerUsesAndStatesThatNobodyHasPickedUpAreNeverRemoved(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	d.put(d.work, "7", "pull-1", "lock")
	d.put(d.work, "7", "pull-2", "lock")
	d.put(d.work, "7", "apply-1-1", "lock")
	d.put(d.work, "7", "apply-1-1", "errored/1-1-abc.tfstate")
	d.put(d.work, "7", "apply-2-1", "lock")
	d.put(d.work, "7", "apply-2-1", "tree/stacks/infra/errored.tfstate") // its runner was killed, too
	d.put(d.work, "7", "apply-3-1", "tree/stacks/infra/main.tf")
	d.put(d.work, "7", "apply-4-1", "tree/errored.tfstate") // came with the commit
	d.put(d.work, "7", "apply-4-1", "index")
	d.put(d.work, "7", "apply-5-1", "tree/errored.tfstate") // the apply wrote it, after the checkout
	d.put(d.work, "7", "apply-5-1", "index")
	d.put(d.work, "7", "pull-2", "tree/errored.tfstate") // a pull request has it among its files
	d.put(d.runs, "9-1-a", "alive")
	for _, path := range []string{filepath.Join(d.work, "7", "pull-1", "lock"), filepath.Join(d.runs, "9-1-a", "alive")} {
		lock, err := os.OpenFile(path, os.O_RDWR, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = lock.Close() })
		if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	}
	d.unused(10 * retention)
	checkedOut := d.clock.Now().Add(-10*retention - time.Second)
	if err := os.Chtimes(filepath.Join(d.work, "7", "apply-5-1", "index"), checkedOut, checkedOut); err != nil {
		t.Fatal(err)
	}
	d.tidy()
	if diff := cmp.Diff([]string{"7/apply-1-1", "7/apply-2-1", "7/apply-5-1", "7/pull-1", "runs/9-1-a"}, d.left()); diff != "" {
		t.Error(diff)
	}
	for _, name := range []string{
		"apply-1-1/errored/1-1-abc.tfstate", "apply-2-1/tree/stacks/infra/errored.tfstate", "apply-5-1/tree/errored.tfstate",
	} {
		if err := os.Remove(filepath.Join(d.work, "7", name)); err != nil { // picked up
			t.Fatal(err)
		}
	}
	d.unused(10 * retention)
	d.tidy()
	if diff := cmp.Diff([]string{"7/pull-1", "runs/9-1-a"}, d.left()); diff != "" {
		t.Error(diff)
	}
}

// The code of a pull request may write to its tree, and a runner that it has left behind may do so at any time.
func TestNothingOutsideIsRemovedThroughLinks(t *testing.T) {
	t.Parallel()
	d := newDisk(t)
	d.put(d.work, "8", "pull-1", "lock")
	treasure := filepath.Join(filepath.Dir(d.work), "treasure")
	d.put(treasure, "gold")
	d.put(d.work, "7", "pull-1", "tree/main.tf")
	for name, target := range map[string]string{
		"7/pull-1/tree/link": treasure, "7/pull-1/lock": filepath.Join(treasure, "gold"), "7/pull-1/errored": treasure, "7/pull-2": treasure,
		"9": treasure,
	} {
		if err := os.Symlink(target, filepath.Join(d.work, name)); err != nil {
			t.Fatal(err)
		}
	}
	d.unused(10 * retention)
	if _, err := d.Tidy(t.Context(), retention); err == nil {
		t.Error("a lock that is a link elsewhere was taken")
	}
	if err := os.Remove(filepath.Join(d.work, "7/pull-1/lock")); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(d.work, "7/pull-1/errored")); err != nil {
		t.Fatal(err)
	}
	d.unused(10 * retention)
	d.tidy()
	if diff := cmp.Diff([]string{"7/pull-2"}, slices.DeleteFunc(d.left(), func(name string) bool { return strings.HasPrefix(name, "9/") })); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(treasure, "gold")); err != nil {
		t.Error(err)
	}
}
