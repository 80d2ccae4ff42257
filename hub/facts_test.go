package hub_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

func TestPull(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name, answer string
		want         hub.Pull
	}{
		{
			"an open one",
			`{"number":3,"state":"open","title":"t","user":{"login":"ana","type":"User"},"draft":true,"comments":4,"html_url":"h","merge_commit_sha":"tentative",
			  "head":{"ref":"feature/a","sha":"s","repo":{"id":5,"full_name":"acme/network"}},"base":{"ref":"develop","repo":{"id":5,"default_branch":"main"}}}`,
			hub.Pull{Number: 3, State: hub.Open, Title: "t", Author: "ana", AuthorType: "User", HeadRef: "feature/a", HeadSHA: "s", HeadRepository: "acme/network", BaseRef: "develop", DefaultBranch: "main", Draft: true, Comments: 4, HTMLURL: "h"},
		},
		{
			"a merged one from a fork",
			`{"number":3,"state":"closed","merged":true,"merge_commit_sha":"m","user":{"login":"dependabot[bot]","type":"Bot"},"head":{"ref":"a","sha":"s","repo":{"id":6,"full_name":"eve/network"}},"base":{"ref":"main","repo":{"id":5}}}`,
			hub.Pull{Number: 3, State: hub.Merged, Author: "dependabot[bot]", AuthorType: "Bot", HeadRef: "a", HeadSHA: "s", HeadRepository: "eve/network", BaseRef: "main", Fork: true, MergeCommit: "m"},
		},
		{
			"a closed one whose fork and author are gone counts as a fork",
			`{"number":3,"state":"closed","user":null,"head":{"ref":"a","sha":"s","repo":null},"base":{"ref":"main","repo":{"id":5}}}`,
			hub.Pull{Number: 3, State: hub.Closed, Author: "ghost", HeadRef: "a", HeadSHA: "s", BaseRef: "main", Fork: true},
		},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, says(200, c.answer))
			got, err := w.hub.Pull(t.Context(), network, 3)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestAPullRequestWithoutRepositoriesCountsAsAFork(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `{"number":3}`))
	repo := network
	repo.ID = 0
	if got, err := w.hub.Pull(t.Context(), repo, 3); err != nil || !got.Fork {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestListsGoOnToTheirEnd(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(rw http.ResponseWriter, _ *http.Request, nth int) {
		if nth < 3 { // the address in Link is not believed, its page is
			rw.Header().Set("Link", fmt.Sprintf(`<https://example.com/x?page=%d>; rel="next", <https://example.com/x?page=3>; rel="last"`, nth+1))
		}
		_, _ = fmt.Fprintf(rw, `[{"number":%d,"merged_at":"2026-01-01T00:00:00Z"},{"number":%d}]`, nth*10, nth*10+1)
	})
	got, err := w.hub.PullsOfCommit(t.Context(), network, "abc")
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 6 || got[0].State != hub.Merged || got[5].Number != 31 {
		t.Errorf("%+v", got)
	}
	want := []string{
		"GET /api/v3/repos/acme/network/commits/abc/pulls?per_page=100",
		"GET /api/v3/repos/acme/network/commits/abc/pulls?page=2&per_page=100",
		"GET /api/v3/repos/acme/network/commits/abc/pulls?page=3&per_page=100",
	}
	if diff := cmp.Diff(want, w.asked); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestListsWithoutEndAreBounded(t *testing.T) {
	t.Parallel()
	w := newWorld(t, says(200, `[{"number":1},{"number":1}]`, `Link: <https://example.com/x?page=2>; rel="next"`))
	got, err := w.hub.OpenPulls(t.Context(), network)
	if err != nil || len(got) != 1 || len(w.asked) != 10 {
		t.Errorf("%v, %v after %d calls", got, err, len(w.asked))
	}
	if w.asked[0] != "GET /api/v3/repos/acme/network/pulls?per_page=100&state=open" {
		t.Error(w.asked[0])
	}
	if !strings.Contains(w.log.String(), "more pull requests than are read") {
		t.Error("the log does not say that the list was cut")
	}
}

func TestPermission(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name   string
		answer func(http.ResponseWriter, *http.Request, int)
		want   string
	}{
		{"GitHub's own role is taken", says(200, `{"permission":"write","role_name":"maintain"}`), "maintain"},
		{"triage is not write", says(200, `{"permission":"read","role_name":"triage"}`), "triage"},
		{"a custom role is what it was made from", says(200, `{"permission":"write","role_name":"Deployer"}`), "write"},
		{"a custom role named like ours in capitals is not ours", says(200, `{"permission":"read","role_name":"Admin"}`), "read"},
		{"an old server gives no role", says(200, `{"permission":"admin"}`), "admin"},
		{"nonsense is none", says(200, `{"permission":"root","role_name":"root"}`), "none"},
		{"nothing is none", says(200, `{}`), "none"},
		{"an unknown login has none", says(404, `{"message":"Not Found"}`), "none"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, c.answer)
			got, err := w.hub.Permission(t.Context(), network, "ana")
			if err != nil || got != c.want {
				t.Errorf("%s %v, want %s", got, err, c.want)
			}
		})
	}
	t.Run("a fault is no permission", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, says(500, ``))
		if got, err := w.hub.Permission(t.Context(), network, "ana"); err == nil || got != "" {
			t.Errorf("%q %v", got, err)
		}
	})
}

func TestInTeam(t *testing.T) {
	t.Parallel()
	for answer, want := range map[string]bool{
		`{"state":"active"}`: true, `{"state":"pending"}`: false, `{}`: false,
	} {
		w := newWorld(t, says(200, answer))
		if got, err := w.hub.InTeam(t.Context(), network, "sre", "ana"); err != nil || got != want {
			t.Errorf("%s: %v %v", answer, got, err)
		}
	}
	w := newWorld(t, says(404, ``))
	if got, err := w.hub.InTeam(t.Context(), network, "sre", "ana"); err != nil || got {
		t.Errorf("404: %v %v", got, err)
	}
}

func TestInstallationsAndRepositories(t *testing.T) {
	t.Parallel()
	w := newWorld(t, func(w http.ResponseWriter, r *http.Request, _ int) {
		switch r.URL.Path {
		case "/api/v3/app":
			_, _ = io.WriteString(w, `{"id":99,"slug":"switchyard","name":"Switchyard"}`)
		case "/api/v3/app/installations":
			_, _ = io.WriteString(w, `[{"id":7,"account":{"login":"acme"}},{"id":8,"account":{"login":"eve"},"suspended_at":"2026-01-01T00:00:00Z"}]`)
		default:
			_, _ = io.WriteString(w, `{"total_count":1,"repositories":[{"id":5,"name":"network","owner":{"login":"acme"},"default_branch":"develop","private":true,"archived":true}]}`)
		}
	})
	app, err := w.hub.App(t.Context())
	if err != nil || app != (hub.App{ID: 99, Slug: "switchyard", Name: "Switchyard"}) {
		t.Error(app, err)
	}
	installations, err := w.hub.Installations(t.Context())
	if diff := cmp.Diff([]hub.Installation{{ID: 7, Account: "acme"}, {ID: 8, Account: "eve", Suspended: true}}, installations); diff != "" || err != nil {
		t.Error(diff, err)
	}
	repositories, err := w.hub.Repositories(t.Context(), 7)
	want := []hub.Info{{
		Repository:    operation.Repository{ID: 5, Installation: 7, Owner: "acme", Name: "network"},
		DefaultBranch: "develop", Private: true, Archived: true,
	}}
	if diff := cmp.Diff(want, repositories); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for i, header := range w.header[:2] {
		if !strings.HasPrefix(header.Get("Authorization"), "Bearer ") {
			t.Errorf("%s is not signed with the App's key", w.asked[i])
		}
	}
}
