package server_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/store"
)

// TestStory plays the story that `make demo` shows: each numbered step is a test, and stands on those before it.
func TestStory(t *testing.T) {
	t.Parallel()
	store := storeOfStory(t)
	playSteps(t, newWorldPrepared(t, func(*sandbox.Options) {}, kept(story.Prepare, store), nil, quiet))
}

// TestTheLockOfTheStoryIsBrokenWithoutAzure plays its last step as on a machine that has no Azurite.
func TestTheLockOfTheStoryIsBrokenWithoutAzure(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	const file = ".github/switchyard.yml"
	config, found, err := w.Repo.ReadFile(w.ctx, "main", file)
	if err != nil || !found {
		t.Fatalf("no configuration: %v", err)
	}
	config = strings.Replace(config, "prod: { branch: main,", "prod: { branch: main, approvals: 1,", 1)
	if _, err := w.Repo.Push(w.ctx, story.Ana, "main", map[string]string{file: config}, "approvals"); err != nil {
		t.Fatal(err)
	}
	w.tellOnFailure()
	steps := w.Steps()
	if err := steps[len(steps)-1].Do(w.ctx); err != nil {
		t.Fatal(err)
	}
	if _, lock := w.Box.State("network-vault-prod"); lock != nil {
		t.Errorf("it is still locked: %s", lock)
	}
}

// storeOfStory is where the story's state is whose lock outlives who took it. In CI that is Azurite.
func storeOfStory(t *testing.T) story.Store {
	t.Helper()
	store, end, err := story.FindStore(t.Context(), "..", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(end)
	if store.Settings == nil && os.Getenv("CI") != "" {
		t.Fatal(store.Why)
	}
	return store
}

// kept prepares a story with such a store.
func kept(prepare preparer, store story.Store) preparer {
	return func(ctx context.Context, box *sandbox.Sandbox, states string, out io.Writer) (*story.Story, error) {
		play, err := prepare(ctx, box, states, out)
		if err == nil {
			play.Store = store
		}
		return play, err
	}
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
	w.tellOnFailure()
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

// tellOnFailure has a test that fails tell what was said last on each pull request: that explains the most.
func (w *world) tellOnFailure() {
	w.t.Cleanup(func() {
		if !w.t.Failed() {
			return
		}
		w.t.Log(strings.Join(w.Box.Effects(), "\n"))
		for _, view := range w.Repo.Pulls() {
			for _, comment := range view.Comments[max(0, len(view.Comments)-2):] {
				w.t.Logf("#%d %s: %s", view.Number, comment.Author, comment.Body)
			}
		}
	})
}
