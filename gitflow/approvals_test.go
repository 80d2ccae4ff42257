package gitflow_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/gitflow"
)

func TestApprovalsReadLikeTheirGoldenFiles(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/approvals/*.yaml")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			t.Parallel()
			data, err := os.ReadFile(file) //nolint:gosec // the names come from Glob
			if err != nil {
				t.Fatal(err)
			}
			var facts gitflow.Reviews
			decoder := yaml.NewDecoder(strings.NewReader(string(data)))
			decoder.KnownFields(true)
			if err := decoder.Decode(&facts); err != nil {
				t.Fatal(err)
			}
			decision := gitflow.DecideApproval(facts)
			same(t, strings.TrimSuffix(file, ".yaml")+".golden", decision.String())
			counts(t, facts, decision)
		})
	}
}

// counts checks what every decision about approvals must be, by the rule once more.
func counts(t *testing.T, facts gitflow.Reviews, d gitflow.Approval) {
	t.Helper()
	for _, login := range d.By {
		approved := slices.ContainsFunc(facts.Reviews, func(r gitflow.Review) bool {
			return r.Login == login && r.State == gitflow.ReviewApproved && r.Commit == facts.Head && r.Commit != "" && !r.Unseen && !r.Bot &&
				slices.Contains([]string{"write", "maintain", "admin"}, r.Permission)
		})
		author := slices.ContainsFunc(facts.Authors, func(a string) bool { return strings.EqualFold(a, login) })
		if !approved || author {
			t.Errorf("%q counts, and must not: %+v", login, d)
		}
	}
	folded := make([]string, 0, len(d.By))
	for _, login := range d.By {
		folded = append(folded, strings.ToLower(login))
	}
	slices.Sort(folded)
	if len(slices.Compact(folded)) != len(d.By) {
		t.Errorf("somebody counts twice: %q", d.By)
	}
	known := !facts.AuthorsCut && !facts.ReviewsCut && len(facts.AuthorsNoname) == 0
	if want := facts.Needed <= 0 || len(d.By) >= facts.Needed && known; d.Approved != want {
		t.Errorf("approved: %v, want %v: %+v", d.Approved, want, d)
	}
	if d.Approved == (d.Remedy != "") || d.Headline == "" {
		t.Errorf("a refusal, and nothing else, has a next step: %+v", d)
	}
	text := d.String()
	if len(text) > 8<<10 || strings.ContainsFunc(strings.ReplaceAll(text, "\n", ""), func(r rune) bool { return r < ' ' || r == 0x202E }) ||
		strings.Count(text, "\n") != 1+len(d.Reasons)+len(strings.Fields(d.Remedy))/max(len(strings.Fields(d.Remedy)), 1) {
		t.Errorf("endless, or with invisible characters: %q", text)
	}
}

func TestVeryManyReviewsAreAShortAnswer(t *testing.T) {
	t.Parallel()
	facts := gitflow.Reviews{Needed: 1, Head: "a"}
	for i := range 5_000 {
		facts.Reviews = append(facts.Reviews, gitflow.Review{
			Login: fmt.Sprintf("%s%d", strings.Repeat("x", 200), i), Permission: "read", State: gitflow.ReviewApproved, Commit: "a",
		})
	}
	counts(t, facts, gitflow.DecideApproval(facts))
	for i := range facts.Reviews {
		facts.Reviews[i].Permission = "write"
	}
	counts(t, facts, gitflow.DecideApproval(facts))
}

func FuzzApprovals(f *testing.F) {
	f.Add("ana", "approved", "write", "aaaa", "ANA", "changes_requested", "admin", "aaaa", 1, true)
	f.Add("", "approved", "write", "", "", "approved", "write", "", 1, false)
	f.Add("a\u202eb", "APPROVED", "owner", "\n", "b\x00", "dismissed", "Write", "aaaa", -1, false)
	f.Fuzz(func(t *testing.T, login, state, permission, commit, login2, state2, permission2, commit2 string, needed int, later bool) {
		facts := gitflow.Reviews{Needed: needed % 7, Head: "aaaa", Authors: []string{"eve"}, Reviews: []gitflow.Review{
			{Login: login, State: state, Permission: permission, Commit: commit},
			{Login: login2, State: state2, Permission: permission2, Commit: commit2},
		}}
		if later {
			facts.Reviews[0].Submitted = time.Unix(1, 0)
		}
		counts(t, facts, gitflow.DecideApproval(facts))
	})
}
