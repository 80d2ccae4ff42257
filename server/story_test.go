package server_test

import (
	"context"
	"path/filepath"
	"testing"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

// TestStory plays the story that `make demo` shows: each numbered step is a test, and stands on those before it.
func TestStory(t *testing.T) {
	t.Parallel()
	playSteps(t, newWorld(t))
}

// playSteps plays the story of a world.
func playSteps(t *testing.T, w *world) {
	t.Helper()
	w.Ledger = func(ctx context.Context, environment, address string) (string, error) {
		data, err := store.OpenToRead(ctx, "sqlite:"+filepath.Join(w.data, "switchyard.db"))
		if err != nil {
			return "", err
		}
		defer func() { _ = data.Close() }()
		entries, err := data.Ledger(ctx, store.LedgerFilter{Repository: w.Repo.ID(), Environment: environment, Address: address})
		if err != nil {
			return "", err
		}
		views, err := deploy.LedgerViews(ctx, data, entries)
		return render.Ledger(views), err
	}
	for _, step := range w.Steps() {
		if !t.Run(step.Name, func(t *testing.T) {
			if err := step.Do(w.ctx); err != nil {
				t.Fatal(err)
			}
		}) {
			t.FailNow()
		}
	}
}
