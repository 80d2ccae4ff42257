package sandbox_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox"
)

func TestPeopleReviewAndTheAppIsTold(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	head := w.pull(number).Head.SHA
	approved, err := w.repo.Review(w.ctx, "ben", number, sandbox.Approved)
	w.must(err)
	_, err = w.repo.Review(w.ctx, "eve", number, sandbox.ChangesRequested, "The name is wrong.")
	w.must(err)
	_, err = w.repo.Push(w.ctx, "ana", "feature/a", map[string]string{"a.tf": "# b\n"}, "again")
	w.must(err)
	_, err = w.repo.Review(w.ctx, "ana", number, sandbox.Commented)
	w.must(err)
	w.must(w.repo.DismissReview(w.ctx, "ana", number, approved, "It was of an older commit."))

	var got [][3]any
	for _, r := range w.get(fmt.Sprintf("%s/pulls/%d/reviews", repoPath, number)).list() {
		user, _ := r["user"].(map[string]any)
		got = append(got, [3]any{user["login"], r["state"], r["commit_id"] == head})
	}
	want := [][3]any{{"ben", "DISMISSED", true}, {"eve", "CHANGES_REQUESTED", true}, {"ana", "COMMENTED", false}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("reviews (-expected +actual):\n%s", diff)
	}
	w.want(http.StatusOK, http.MethodGet, fmt.Sprintf("%s/pulls/%d/reviews/%d", repoPath, number, approved), nil)
	if v := w.pull(number).Reviews; len(v) != 3 || v[0].State != sandbox.Dismissed || v[1].Body != "The name is wrong." || v[2].SubmittedAt.IsZero() {
		t.Errorf("view: %+v", v)
	}
	var told []string
	for _, h := range w.settled() {
		if review, ok := h.payload["review"].(map[string]any); ok {
			sender, _ := h.payload["sender"].(map[string]any)
			told = append(told, fmt.Sprint(h.payload["action"], ": ", review["state"], " by ", sender["login"]))
		}
	}
	events := []string{"submitted: approved by ben", "submitted: changes_requested by eve", "submitted: commented by ana", "dismissed: dismissed by ana"}
	if diff := cmp.Diff(events, told); diff != "" {
		t.Errorf("webhooks (-expected +actual):\n%s", diff)
	}
}

func TestReviewsThatGitHubRefuses(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	commented, err := w.repo.Review(w.ctx, "ben", number, sandbox.Commented)
	w.must(err)
	for name, do := range map[string]func() error{
		"one's own pull request is not approved": func() error { _, err := w.repo.Review(w.ctx, "ana", number, sandbox.Approved); return err },
		"nor are changes requested of oneself": func() error {
			_, err := w.repo.Review(w.ctx, "ana", number, sandbox.ChangesRequested)
			return err
		},
		"a state that does not exist":          func() error { _, err := w.repo.Review(w.ctx, "ben", number, "fine"); return err },
		"a review of nothing":                  func() error { _, err := w.repo.Review(w.ctx, "ben", 9, sandbox.Approved); return err },
		"nobody reviews":                       func() error { _, err := w.repo.Review(w.ctx, "nobody", number, sandbox.Approved); return err },
		"a comment is not dismissed":           func() error { return w.repo.DismissReview(w.ctx, "ana", number, commented, "x") },
		"a reader dismisses nothing":           func() error { return w.repo.DismissReview(w.ctx, "eve", number, commented, "x") },
		"what does not exist is not dismissed": func() error { return w.repo.DismissReview(w.ctx, "ana", number, 1, "x") },
	} {
		if err := do(); err == nil {
			t.Errorf("%s, but it was", name)
		}
	}
	if v := w.pull(number).Reviews; len(v) != 1 {
		t.Errorf("reviews: %+v", v)
	}
}

func TestTheAppReviews(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	path := fmt.Sprintf("%s/pulls/%d/reviews", repoPath, number)
	w.want(http.StatusOK, http.MethodPost, path, map[string]any{"body": "for later"})
	w.want(http.StatusUnprocessableEntity, http.MethodPost, path, map[string]any{"body": "for later too"})
	made := w.want(http.StatusOK, http.MethodPost, path, map[string]any{"event": "REQUEST_CHANGES", "body": "no"}).object()
	for _, body := range []map[string]any{
		{"event": "REQUEST_CHANGES"},
		{"event": "COMMENT", "body": " "},
		{"event": "LIKE", "body": "x"},
		{"event": "APPROVE", "commit_id": strings.Repeat("a", 40)},
		{"event": 1},
	} {
		w.want(http.StatusUnprocessableEntity, http.MethodPost, path, body)
	}
	w.want(http.StatusNotFound, http.MethodPost, repoPath+"/pulls/9/reviews", map[string]any{"event": "APPROVE"})
	dismissal := fmt.Sprintf("%s/%.0f/dismissals", path, made["id"])
	w.want(http.StatusUnprocessableEntity, http.MethodPut, dismissal, map[string]any{"message": ""})
	w.want(http.StatusOK, http.MethodPut, dismissal, map[string]any{"message": "It is fine now.", "event": "DISMISS"})
	w.want(http.StatusUnprocessableEntity, http.MethodPut, dismissal, map[string]any{"message": "Once more."})
	w.want(http.StatusNotFound, http.MethodPut, path+"/1/dismissals", map[string]any{"message": "x"})
	w.want(http.StatusNotFound, http.MethodGet, path+"/1", nil)
	weak := w.newToken(map[string]any{"permissions": map[string]string{"pull_requests": "read", "metadata": "read"}})
	if a := w.call(weak, http.MethodPost, path, map[string]any{"event": "APPROVE"}); a.status != http.StatusForbidden {
		t.Errorf("a review without permission: %d", a.status)
	}
	want := []string{"POST " + path + " pending", "POST " + path + " changes_requested", "PUT " + dismissal + " It is fine now."}
	if diff := cmp.Diff(want, w.Effects()); diff != "" {
		t.Errorf("effects (-expected +actual):\n%s", diff)
	}
	if v := w.pull(number).Reviews; len(v) != 1 || !v[0].Bot || v[0].State != sandbox.Dismissed {
		t.Errorf("view: %+v", v)
	}
	w.settled()
}

func TestCommitsOfAPullRequestSayWhoWroteThem(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	number := w.open("feature/a", "develop", "a.tf", "# a\n")
	_, err := w.repo.Push(w.ctx, "ben", "feature/a", map[string]string{"b.tf": "# b\n"}, "b\n\nCo-authored-by: Eve <1+eve@users.noreply.github.com>")
	w.must(err)
	_, err = w.repo.Push(w.ctx, "ben", "feature/a", map[string]string{"c.tf": "# c\n"}, "c", sandbox.PushOptions{Email: "ben@home.example"})
	w.must(err)
	path := fmt.Sprintf("%s/pulls/%d/commits", repoPath, number)
	authors := func() (all []any) {
		for _, c := range w.get(path).list() {
			author, _ := c["author"].(map[string]any)
			all = append(all, author["login"])
		}
		return all
	}
	if diff := cmp.Diff([]any{"ana", "ben", nil}, authors()); diff != "" {
		t.Errorf("authors (-expected +actual):\n%s", diff)
	}
	_, err = w.repo.Merge(w.ctx, "ana", number, sandbox.Squash)
	w.must(err)
	if diff := cmp.Diff([]any{"ana", "ben", nil}, authors()); diff != "" {
		t.Errorf("authors after the merge (-expected +actual):\n%s", diff)
	}
	page := w.get(path + "?per_page=2")
	if len(page.list()) != 2 || !strings.Contains(page.header.Get("Link"), `rel="next"`) {
		t.Errorf("page: %s", page.raw)
	}
	w.want(http.StatusNotFound, http.MethodGet, repoPath+"/pulls/9/commits", nil)
}
