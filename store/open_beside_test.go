package store_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

func TestAJobIsRevivedBesideAServerWhichThenFindsIt(t *testing.T) {
	t.Parallel()
	for name, source := range map[string]string{
		"SQLite": "sqlite:" + filepath.Join(t.TempDir(), "switchyard.db"), "PostgreSQL": pgtest.New(t),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx := t.Context()
			server, err := store.Open(ctx, source, nil)
			must(t, err)
			t.Cleanup(func() { _ = server.Close() })
			must(t, server.Enqueue(ctx, queue.Job{Class: queue.Quick, Kind: "push", Key: "k", Payload: []byte("{}")}))
			must(t, server.Enqueue(ctx, queue.Job{Class: queue.Quick, Kind: "push", Key: "busy", Payload: []byte("{}")}))
			claim, _, err := server.Claim(ctx, queue.Quick, "w", time.Hour)
			must(t, err)
			must(t, server.Dead(ctx, claim, "502"))
			busy, _, err := server.Claim(ctx, queue.Quick, "w", time.Hour)
			must(t, err)

			beside, err := store.OpenBeside(ctx, source)
			must(t, err)
			dead, err := beside.DeadJobs(ctx, 10)
			must(t, err)
			if len(dead) != 1 || dead[0].ID != claim.ID {
				t.Fatalf("given up: %+v", dead)
			}
			must(t, beside.Revive(ctx, claim.ID))
			if err := beside.Revive(ctx, claim.ID); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("reviving twice gives %v", err)
			}
			must(t, beside.Close())

			again, ok, err := server.Claim(ctx, queue.Quick, "w", time.Hour)
			if err != nil || !ok || again.ID != claim.ID {
				t.Errorf("then the server claims %+v, %v, %v", again, ok, err)
			}
			must(t, server.Done(ctx, busy)) // what the server has claimed is still its own
		})
	}
}

func TestNoDatabaseIsMadeBesideAServer(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if _, err := store.OpenBeside(t.Context(), "sqlite:"+filepath.Join(dir, "switchyard.db")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("opening nothing gives %v", err)
	}
	if found, err := filepath.Glob(dir + "/*"); err != nil || len(found) > 0 {
		t.Errorf("it left %v, %v", found, err)
	}
	if _, err := store.OpenBeside(t.Context(), "mysql://switchyard"); err == nil {
		t.Error("another kind of database was opened")
	}
}
