package hub_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/sandbox"
)

func TestReviews(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request, nth int) {
		if nth == 1 {
			rw.Header().Set("Link", `<https://example.com/x?page=2>; rel="next"`)
			_, _ = io.WriteString(rw, `[
			  {"id":1,"user":{"login":"ben","type":"User"},"state":"APPROVED","commit_id":"abc","submitted_at":"2026-11-21T12:00:00Z"},
			  {"id":2,"user":null,"state":"APPROVED","commit_id":null,"submitted_at":"2026-11-21T12:01:00Z"},
			  {"id":3,"user":{"login":"dan","type":"User"},"state":"PENDING","commit_id":"abc"}]`)
			return
		}
		_, _ = io.WriteString(rw, `[
		  {"id":1,"user":{"login":"ben","type":"User"},"state":"APPROVED","commit_id":"abc","submitted_at":"2026-11-21T12:00:00Z"},
		  {"id":4,"user":{"login":"ci[bot]","type":"Bot"},"state":"CHANGES_REQUESTED","commit_id":"abc","submitted_at":"2026-11-21T12:02:00Z"}]`)
	})
	got, more, err := w.hub.Reviews(t.Context(), network, 3)
	if err != nil || more {
		t.Fatal(more, err)
	}
	at := func(minute int) time.Time { return time.Date(2026, 11, 21, 12, minute, 0, 0, time.UTC) }
	want := []hub.Review{
		{ID: 1, Login: "ben", Type: "User", State: "approved", Commit: "abc", Submitted: at(0)},
		{ID: 2, State: "approved", Submitted: at(1)},
		{ID: 4, Login: "ci[bot]", Type: "Bot", State: "changes_requested", Commit: "abc", Submitted: at(2)},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	asked := []string{
		"GET /api/v3/repos/acme/network/pulls/3/reviews?per_page=100", "GET /api/v3/repos/acme/network/pulls/3/reviews?page=2&per_page=100",
	}
	if diff := cmp.Diff(asked, w.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestReviewsWithoutEndAreBoundedAndSaidToBe(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request, nth int) {
		rw.Header().Set("Link", `<https://example.com/x?page=2>; rel="next"`)
		_, _ = fmt.Fprintf(rw, `[{"id":%d,"user":{"login":"eve"},"state":"COMMENTED"}]`, nth)
	})
	got, more, err := w.hub.Reviews(t.Context(), network, 3)
	if err != nil || !more || len(got) != 10 || len(w.asked) != 10 {
		t.Errorf("%d, %v, %v after %d calls", len(got), more, err, len(w.asked))
	}
	if !strings.Contains(w.log.String(), "more reviews than are read") {
		t.Error("the log does not say that the list was cut")
	}
}

func TestReviewsAndAuthorsOfWhatIsGone(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(404, `{"message":"Not Found"}`))
	var gone *hub.Gone
	if _, _, err := w.hub.Reviews(t.Context(), network, 3); !errors.As(err, &gone) {
		t.Errorf("reviews: %v", err)
	}
	if _, err := w.hub.PullAuthors(t.Context(), network, 3); !errors.As(err, &gone) {
		t.Errorf("authors: %v", err)
	}
	w = newWorld(t, says(500, ``))
	if got, more, err := w.hub.Reviews(t.Context(), network, 3); err == nil || got != nil || more {
		t.Errorf("reviews of a fault: %v, %v, %v", got, more, err)
	}
	if got, err := w.hub.PullAuthors(t.Context(), network, 3); err == nil || len(got.Logins) != 0 {
		t.Errorf("authors of a fault: %v, %v", got, err)
	}
}

// commit is one of GitHub's list. A login of "" is an account that GitHub does not know.
func commit(author, authorEmail, committer, committerEmail, message string) string {
	account := func(login string) string {
		if login == "" {
			return "null"
		}
		return fmt.Sprintf(`{"login":%q}`, login)
	}
	return fmt.Sprintf(`{"sha":"abc","author":%s,"committer":%s,"commit":{"message":%q,"author":{"email":%q},"committer":{"email":%q}}}`,
		account(author), account(committer), message, authorEmail, committerEmail)
}

func TestPullAuthors(t *testing.T) {
	t.Parallel()
	const anaMail = "ana@acme.example"
	plain := func(message string) string { return commit("ana", anaMail, "ana", anaMail, message) }
	cases := []struct {
		name           string
		commits        []string
		logins, noname []string
	}{
		{"one author", []string{plain("add a")}, []string{"ana"}, nil},
		{"who committed somebody else's work counts too", []string{commit("ana", anaMail, "ben", "ben@acme.example", "")}, []string{"ana", "ben"}, nil},
		{"GitHub's own committer is nobody", []string{commit("ana", anaMail, "web-flow", "noreply@github.com", "")}, []string{"ana"}, nil},
		{
			"GitHub's own committer as an author is somebody unknown",
			[]string{commit("web-flow", "noreply@github.com", "", "noreply@github.com", "")},
			nil,
			[]string{"noreply@github.com"},
		},
		{"an author without an account is named", []string{commit("", "Eve@home.example", "", "eve@home.example", "")}, nil, []string{"eve@home.example"}},
		{"an address without an account is matched in another commit", []string{
			commit("", anaMail, "", anaMail, ""), commit("ana", "ANA@acme.example", "ana", anaMail, ""),
		}, []string{"ana"}, nil},
		{
			"a co-author with GitHub's address counts",
			[]string{plain("a\n\nCo-authored-by: Ben <123+ben@users.noreply.github.com>\nco-authored-by: C <cleo@users.noreply.github.com>\r\n")},
			[]string{"ana", "ben", "cleo"},
			nil,
		},
		{
			"a co-author with another address is matched or named",
			[]string{plain("a\n\nCo-Authored-By: X <x@example.com>\nCo-authored-by: Ana A <" + anaMail + ">")},
			[]string{"ana"},
			[]string{"x@example.com"},
		},
		{
			"another domain's address is no account",
			[]string{plain("a\n\nCo-authored-by: B <1+ben@users.noreply.github.com.evil.example>")},
			[]string{"ana"},
			[]string{"1+ben@users.noreply.github.com.evil.example"},
		},
		{"a co-author in the middle of a message counts", []string{plain("a\n\n Co-authored-by: B <1+ben@users.noreply.github.com>\n\nmore")}, []string{"ana", "ben"}, nil},
		{"talk about a trailer is none", []string{plain("a\n\nadd co-authored-by: B <1+ben@users.noreply.github.com>")}, []string{"ana"}, nil},
		{"one address that belongs to two accounts is both", []string{plain("a"), commit("ben", anaMail, "ben", anaMail, "")}, []string{"ana", "ben"}, nil},
		{"a commit without addresses", []string{commit("ana", "", "", "", "")}, []string{"ana"}, nil},
		{"a login in two spellings is one", []string{plain("a\n\nCo-authored-by: A <1+ANA@users.noreply.github.com>")}, []string{"ana"}, nil},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, says(200, "["+strings.Join(c.commits, ",")+"]"))
			got, err := w.hub.PullAuthors(t.Context(), network, 3)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(hub.Authors{Logins: c.logins, Noname: c.noname, Commits: len(c.commits)}, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAuthorsOfVeryManyCommitsAreNotAllKnown(t *testing.T) {
	t.Parallel()
	of := func(pages ...int) func(http.ResponseWriter, *http.Request, int) {
		return func(rw http.ResponseWriter, _ *http.Request, nth int) {
			if nth < len(pages) {
				rw.Header().Set("Link", fmt.Sprintf(`<https://example.com/x?page=%d>; rel="next"`, nth+1))
			}
			one := commit("ana", "ana@acme.example", "ana", "ana@acme.example", "a")
			_, _ = io.WriteString(rw, "["+strings.Join(slices.Repeat([]string{one}, pages[min(nth, len(pages))-1]), ",")+"]")
		}
	}
	for _, c := range []struct {
		name  string
		pages []int
		more  bool
	}{
		{"249 commits are all", []int{100, 100, 49}, false},
		{"250 commits may not be all", []int{100, 100, 50}, true},
		{"a list that goes on is not all", []int{1, 1, 1, 1}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, of(c.pages...))
			got, err := w.hub.PullAuthors(t.Context(), network, 3)
			if err != nil || got.More != c.more || len(w.asked) != 3 {
				t.Errorf("%+v, %v after %d calls", got, err, len(w.asked))
			}
		})
	}
}

func TestACommitThatNamesVeryManyPeopleIsBounded(t *testing.T) {
	t.Parallel()
	var message strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&message, "Co-authored-by: x <x%d@example.com>\n", i)
	}
	w := newWorld(t, says(200, "["+commit("ana", "ana@acme.example", "ana", "ana@acme.example", message.String())+"]"))
	got, err := w.hub.PullAuthors(t.Context(), network, 3)
	if err != nil || !got.More || len(got.Noname) > 500 || !slices.Equal(got.Logins, []string{"ana"}) {
		t.Errorf("%d addresses, %v, %v", len(got.Noname), got.More, err)
	}
}

func TestReviewsAndAuthorsOfTheStandIn(t *testing.T) {
	t.Parallel()
	s := newStandIn(t)
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	number, sha := s.open(t, "feature/a")
	id, err := s.remote.Review(ctx, "ana", number, sandbox.Approved)
	must(err)
	_, err = s.remote.Review(ctx, "tom", number, sandbox.ChangesRequested, "no")
	must(err)
	must(s.remote.DismissReview(ctx, "ben", number, id, "too early"))
	_, err = s.remote.Push(ctx, "ana", "feature/a", map[string]string{"c": "c"}, "add c\n\nCo-authored-by: Eve <7+eve@users.noreply.github.com>")
	must(err)
	_, err = s.remote.Push(ctx, "ana", "feature/a", map[string]string{"d": "d"}, "add d", sandbox.PushOptions{Email: "build@acme.example"})
	must(err)

	reviews, more, err := s.hub.Reviews(ctx, s.repo, number)
	if err != nil || more || len(reviews) != 2 {
		t.Fatalf("reviews: %+v, %v, %v", reviews, more, err)
	}
	for i, want := range []hub.Review{
		{ID: id, Login: "ana", Type: "User", State: "dismissed", Commit: sha},
		{ID: reviews[1].ID, Login: "tom", Type: "User", State: "changes_requested", Commit: sha},
	} {
		if reviews[i].Submitted.IsZero() {
			t.Errorf("review %d has no time", i)
		}
		reviews[i].Submitted = time.Time{}
		if diff := cmp.Diff(want, reviews[i]); diff != "" {
			t.Errorf("review %d (-want +got):\n%s", i, diff)
		}
	}
	authors, err := s.hub.PullAuthors(ctx, s.repo, number)
	must(err)
	want := hub.Authors{Logins: []string{"ana", "ben", "eve"}, Noname: []string{"build@acme.example"}, Commits: 3}
	if diff := cmp.Diff(want, authors); diff != "" {
		t.Errorf("authors (-want +got):\n%s", diff)
	}
	calls := s.Calls()
	if calls["GET /repos/{owner}/{repo}/pulls/{pull_number}/reviews"] != 1 || calls["GET /repos/{owner}/{repo}/pulls/{pull_number}/commits"] != 1 {
		t.Errorf("calls: %v", calls)
	}
	var gone *hub.Gone
	if _, _, err := s.hub.Reviews(ctx, s.repo, 999); !errors.As(err, &gone) {
		t.Errorf("reviews of nothing: %v", err)
	}
	if _, err := s.hub.PullAuthors(ctx, s.repo, 999); !errors.As(err, &gone) {
		t.Errorf("authors of nothing: %v", err)
	}
}
