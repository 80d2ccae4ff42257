package story_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox/story"
)

func TestWithoutAzuriteItIsSaidWhyTheStandInKeepsTheState(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	store, end, err := story.FindStore(t.Context(), t.TempDir(), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	end()
	if store.Settings != nil || store.Backend != "" || len(store.Env) > 0 || !strings.Contains(store.Why, "Node.js is not installed") {
		t.Errorf("%+v", store)
	}
}
