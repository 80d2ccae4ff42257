package deploy //nolint:testpackage // a hold that changes while it is released cannot be brought about from outside

import (
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/commands"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

func TestUnlockSaysWhoHasTheHoldNowWhereThatHasChangedMeanwhile(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	clock := clockwork.NewFakeClockAt(time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC))
	data, err := store.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "switchyard.db"), clock)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	d := New(Options{Store: data, Clock: clock})
	repo := operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"}
	r := request{CommentMade: CommentMade{Repository: repo, Author: "ana"}, Command: commands.Command{Name: "unlock", Environment: "dev"}}
	answer := func() string {
		t.Helper()
		text, err := d.changedMeanwhile(ctx, r, render.UnlockAnswerView{Environment: "dev", By: "ana", Now: clock.Now()})
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	says := func(text string, words ...string) {
		t.Helper()
		for _, word := range append(words, "changed meanwhile", "nothing was released") {
			if !strings.Contains(text, word) {
				t.Errorf("it does not say %q:\n%s", word, text)
			}
		}
	}
	says(answer(), "dev is not held")
	if _, _, err := data.QueueApply(ctx, operation.Operation{
		Kind: operation.Apply, Repository: repo, Environment: "dev", Branch: "develop", Head: "h", Pull: 41, Pulls: []int{41},
	}); err != nil {
		t.Fatal(err)
	}
	if _, _, err := data.TakeHold(ctx, repo.ID, "dev"); err != nil {
		t.Fatal(err)
	}
	says(answer(), "dev stays held", "#41")
}
