package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/store/pgtest"
	"github.com/switchyard-dev/switchyard/store/storetest"
)

func TestSQLite(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, clock clockwork.Clock) *store.Store {
		t.Helper()
		return open(t, filepath.Join(t.TempDir(), "s.db"), clock)
	})
}

func TestPostgreSQL(t *testing.T) {
	t.Parallel()
	storetest.Run(t, func(t *testing.T, clock clockwork.Clock) *store.Store {
		t.Helper()
		return replica(t, pgtest.New(t), clock)
	})
}

func TestOpenRefusesASecondProcess(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "s.db")
	first := open(t, path, clockwork.NewFakeClock())
	_, err := store.Open(t.Context(), "sqlite:"+path, clockwork.NewFakeClock())
	if err == nil || !strings.Contains(err.Error(), path+" is in use by another Switchyard process") ||
		!strings.Contains(err.Error(), "PostgreSQL") {
		t.Fatalf("a second Open says %v", err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	open(t, path, clockwork.NewFakeClock())
}

func TestOpenRefusesWhatItDoesNotKnow(t *testing.T) {
	t.Parallel()
	for _, source := range []string{"", "sqlite:", "/tmp/x.db", "mysql://me:hush@localhost/x", "postgres://me:hush@localhost:port/x"} {
		if _, err := store.Open(t.Context(), source, clockwork.NewFakeClock()); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("Open(%q) says %v", source, err)
		}
	}
	t.Run("a database that a newer version has used", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s.db")
		if err := open(t, path, clockwork.NewFakeClock()).Close(); err != nil {
			t.Fatal(err)
		}
		statement(t, raw(t, path), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)")
		_, err := store.Open(t.Context(), "sqlite:"+path, clockwork.NewFakeClock())
		if err == nil || !strings.Contains(err.Error(), "newer Switchyard") {
			t.Fatalf("Open says %v", err)
		}
	})
}

func TestAFileNameIsJustAName(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "a b?mode=memory&x=%41#$(id)'\".db")
	open(t, path, clockwork.NewFakeClock())
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Size() == 0 || info.Mode().Perm() != 0o600 {
		t.Errorf("the file has %d bytes and mode %v", info.Size(), info.Mode())
	}
}

func TestOpenFreesWhatADeadProcessHadClaimed(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "s.db")
	clock := clockwork.NewFakeClock()
	s := open(t, path, clock)
	must(t, s.Enqueue(ctx, queue.Job{Class: queue.Quick, Kind: "pull", Key: "1#1"}))
	must(t, s.Want(ctx, store.Wish{Repository: operation.Repository{ID: 1}, Kind: "comment", Key: "c", Wanted: "text"}))
	lost, ok, err := s.Claim(ctx, queue.Quick, "w", time.Hour)
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	if _, ok, err := s.ClaimSurface(ctx, time.Hour); err != nil || !ok {
		t.Fatal(ok, err)
	}
	must(t, s.Close())

	s = open(t, path, clock)
	claim, ok, err := s.Claim(ctx, queue.Quick, "w", time.Hour)
	if err != nil || !ok || claim.Attempt != lost.Attempt+1 || claim.Failures != 1 {
		t.Errorf("Claim gives %+v, %v, %v", claim, ok, err)
	}
	if _, ok, err := s.ClaimSurface(ctx, time.Hour); err != nil || !ok {
		t.Errorf("ClaimSurface gives %v, %v", ok, err)
	}
}

// A database in trouble refuses a delivery as a whole: afterwards it is as fresh as before.
func TestTroubleLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	delivery := store.Delivery{GUID: "g-1", Event: "push", Payload: []byte(`{}`)}
	jobs := []queue.Job{
		{Class: queue.Quick, Kind: "push", Key: "1@a"},
		{Class: queue.Quick, Kind: "push", Key: "1@b", Payload: bytes.Repeat([]byte(" "), 1<<20)},
	}
	check := func(t *testing.T, s *store.Store, trouble, relief func()) {
		t.Helper()
		trouble()
		fresh, err := s.Accept(t.Context(), delivery, jobs)
		if err == nil || fresh {
			t.Errorf("Accept in trouble gives %v, %v", fresh, err)
		}
		relief()
		if _, ok, err := s.Claim(t.Context(), queue.Quick, "w", time.Minute); ok || err != nil {
			t.Errorf("after trouble there is a job: %v, %v", ok, err)
		}
		if fresh, err := s.Accept(t.Context(), delivery, jobs); err != nil || !fresh {
			t.Errorf("Accept after trouble gives %v, %v", fresh, err)
		}
	}
	t.Run("a full database", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "s.db"), clockwork.NewFakeClock())
		check(t, s, func() { must(t, s.Fill(t.Context(), 1)) }, func() { must(t, s.Fill(t.Context(), 0)) })
	})
	t.Run("a database that another program has locked", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s.db")
		s, err := store.OpenBusy(t.Context(), path, time.Millisecond, clockwork.NewFakeClock())
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		other := raw(t, path)
		check(t, s, func() { statement(t, other, "BEGIN IMMEDIATE") }, func() { statement(t, other, "ROLLBACK") })
	})
	t.Run("a caller that gives up", func(t *testing.T) {
		t.Parallel()
		s := open(t, filepath.Join(t.TempDir(), "s.db"), clockwork.NewFakeClock())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Accept(ctx, delivery, jobs); err == nil {
			t.Error("Accept gives no error")
		}
		check(t, s, func() { must(t, s.Fill(t.Context(), 1)) }, func() { must(t, s.Fill(t.Context(), 0)) })
	})
}

// The new state, the hold and the targets are one transaction: the last statement that fails undoes all.
func TestAnEndThatCannotBeSavedKeepsTheHold(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	path := filepath.Join(t.TempDir(), "s.db")
	s := open(t, path, clockwork.NewFakeClock())
	_, _, err := s.QueueApply(ctx, operation.Operation{Kind: operation.Apply, Repository: operation.Repository{ID: 7}, Environment: "dev"})
	must(t, err)
	op, _, err := s.TakeHold(ctx, 7, "dev")
	must(t, err)
	other := raw(t, path)
	statement(t, other, "CREATE TRIGGER no BEFORE INSERT ON targets BEGIN SELECT RAISE(ABORT, 'no'); END")
	end := store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded, Applied: []store.TargetState{{Repository: 7}}}
	if _, err := s.Finish(ctx, end); err == nil {
		t.Fatal("Finish gives no error")
	}
	holder, held, err := s.Holder(ctx, 7, "dev")
	if err != nil || !held || holder.ID != op.ID || holder.State != operation.Running {
		t.Errorf("afterwards the holder is %+v, %v, %v", holder, held, err)
	}
	statement(t, other, "DROP TRIGGER no")
	if _, err := s.Finish(ctx, end); err != nil {
		t.Errorf("a second Finish gives %v", err)
	}
}

func open(t *testing.T, path string, clock clockwork.Clock) *store.Store {
	t.Helper()
	s, err := store.Open(context.WithoutCancel(t.Context()), "sqlite:"+path, clock)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() }) // some tests have closed it already
	return s
}

// replica is one server on a PostgreSQL.
func replica(t testing.TB, url string, clock clockwork.Clock) *store.Store {
	t.Helper()
	s, err := store.Open(context.WithoutCancel(t.Context()), url, clock)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() }) // some tests have closed it already
	return s
}

// raw is another program's connection to a database.
func raw(t *testing.T, path string) *sql.DB {
	t.Helper()
	db, err := sql.Open("sqlite", path)
	must(t, err)
	db.SetMaxOpenConns(1)
	t.Cleanup(func() { must(t, db.Close()) })
	return db
}

func statement(t *testing.T, db *sql.DB, text string) {
	t.Helper()
	_, err := db.ExecContext(t.Context(), text)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
