package handlers_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/handlers"
	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/contract"
)

// TestTheStandInsWebhooks drives each event through the stand-in as people would cause it.
func TestTheStandInsWebhooks(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	s, err := sandbox.Start(ctx, sandbox.Options{Dir: t.TempDir(), Observe: contract.Watch(t).Observe, Log: zerolog.Nop()})
	must(err)
	defer func() { _ = s.Close() }()
	w := newWorld(t, func(o *handlers.Options) { o.Secrets = [][]byte{[]byte("next"), []byte(s.WebhookSecret())} })
	server := httptest.NewServer(w.handler)
	defer server.Close()
	s.SetWebhookURL(server.URL + handlers.HookPath)

	must(s.CreateOrg("acme"))
	must(s.AddPerson(sandbox.Person{Login: "ana"}))
	must(s.AddPerson(sandbox.Person{Login: "ben"}))
	repo, err := s.CreateRepository(ctx, "acme", "network", sandbox.Seed{
		Branches: []sandbox.SeedBranch{{Name: "main", Files: map[string]string{"a": "a\n"}}, {Name: "develop"}},
		Roles:    map[string]sandbox.Role{"ana": sandbox.Admin},
	})
	must(err)
	must(s.Ping(ctx))
	must(s.Install(ctx, "acme", "network"))
	github, err := hub.New(hub.Options{AppID: s.AppID(), PrivateKey: s.PrivateKey(), APIURL: s.APIURL()})
	must(err)
	installed := func() operation.Repository {
		installations, err := github.Installations(ctx)
		must(err)
		return operation.Repository{ID: repo.ID(), Installation: installations[0].ID, Owner: "acme", Name: "network"}
	}
	_, err = repo.Push(ctx, "ana", "feature/a", map[string]string{"b": "b"}, "add b", sandbox.PushOptions{From: "develop"})
	must(err)
	number, err := repo.OpenPull(ctx, "ana", sandbox.Pull{From: "feature/a", To: "main"})
	must(err)
	must(repo.EditBase(ctx, "ana", number, "develop"))
	_, err = repo.Comment(ctx, "ana", number, "/plan")
	must(err)
	comment, err := repo.Comment(ctx, "ana", number, "thanks")
	must(err)
	must(repo.EditComment(ctx, "ana", comment, "/apply dev"))
	must(repo.PushTag(ctx, "ana", "v1", "main"))
	view, _ := repo.PullView(number)
	check, err := github.PutCheck(ctx, installed(), 0, hub.Check{
		Name: "switchyard / plan (dev)", HeadSHA: view.Head.SHA, Status: hub.CheckCompleted, Conclusion: "success", Title: "t", Summary: "s",
		Actions: []hub.CheckAction{{Label: "Plan again", Description: "Plans again.", Identifier: "plan"}},
	})
	must(err)
	must(repo.RerequestCheck(ctx, "ana", check))
	must(repo.ClickCheckAction(ctx, "ana", check, "plan"))
	_, err = repo.QueueMergeGroup(ctx, "develop", number)
	must(err)
	approved, err := repo.Review(ctx, "ben", number, sandbox.Approved)
	must(err)
	_, err = repo.Review(ctx, "ben", number, sandbox.Commented, "/apply dev")
	must(err)
	must(repo.DismissReview(ctx, "ana", number, approved, "not yet"))
	_, err = repo.Merge(ctx, "ana", number, sandbox.Squash)
	must(err)
	must(repo.DeleteBranch(ctx, "ana", "feature/a"))
	must(s.Uninstall(ctx, "acme"))

	must(s.Await(ctx, func() bool { // the last event is the last to be delivered
		deliveries := s.Deliveries()
		return slices.ContainsFunc(deliveries, func(d sandbox.Delivery) bool {
			return d.Event == "installation" && d.Action == "deleted" && d.StatusCode != 0
		})
	}))
	for _, d := range s.Deliveries() {
		if d.StatusCode != http.StatusOK {
			t.Errorf("%s %s: %d %s", d.Event, d.Action, d.StatusCode, d.Response)
		}
	}
	w.inbox.mu.Lock()
	defer w.inbox.mu.Unlock()
	got := make([]string, 0, len(w.inbox.deliveries))
	for _, d := range w.inbox.deliveries {
		got = append(got, fmt.Sprintf("%s %s", d.Event, d.Action))
	}
	slices.Sort(got)
	want := []string{
		"check_run requested_action", "check_run rerequested",
		"installation created", "installation deleted", "issue_comment created", "merge_group checks_requested",
		"pull_request closed", "pull_request edited", "pull_request opened",
		"pull_request_review dismissed", "pull_request_review submitted",
		"push ", "push ", "push ", // new, merged into, deleted
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
