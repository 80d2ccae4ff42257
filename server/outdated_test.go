package server_test

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// plans is how often a pull request was planned.
func (s *shop) plans(number int) int {
	s.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(s.data, "switchyard.db")+"?_pragma=query_only(1)&_pragma=busy_timeout(5000)")
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var count int
	if err := db.QueryRowContext(s.ctx, `SELECT COUNT(*) FROM operations WHERE kind = 'plan' AND pull = $1 AND repository = $2`,
		number, s.repo.ID()).Scan(&count); err != nil {
		s.t.Fatal(err)
	}
	return count
}

const emptyRoot = "terraform {\n  backend \"local\" {}\n}\n"

// adds is a file with a resource.
func adds(name string) string { return strings.ReplaceAll(secondFile, "second", name) }

// oneAppliedOfThree has three pull requests planned, two of them of one root, and one of the two applied. It returns
// too how much had been written to GitHub before that.
func oneAppliedOfThree(t *testing.T, change ...func(*settings.Settings)) (s *shop, sameRoot, otherRoot, effects int) {
	t.Helper()
	s = newShopOn(t, newWorld(t, change...), map[string]string{
		".github/switchyard.yml": twoRoots, "infra/one/main.tf": emptyRoot, "infra/two/main.tf": emptyRoot,
	})
	merged := s.open("feature/a", "develop", map[string]string{"infra/one/a.tf": adds("a")})
	sameRoot = s.open("feature/b", "develop", map[string]string{"infra/one/b.tf": adds("b")})
	otherRoot = s.open("feature/c", "develop", map[string]string{"infra/two/c.tf": adds("c")})
	for _, number := range []int{merged, sameRoot, otherRoot} {
		s.planned(number, "dev")
		s.said(number, "Plan for dev")
	}
	s.quiet()
	effects = len(s.Box.Effects())
	s.checkIs(s.merge(merged), "switchyard / apply (dev)", "success")
	return s, sameRoot, otherRoot, effects
}

// showsOutOfDate waits until a pull request's check and comment say why its plan is out of date.
func (s *shop) showsOutOfDate(number int, why string) {
	s.t.Helper()
	s.said(number, "This plan is out of date, because "+why+" since; comment `/plan` to plan again.")
	s.eventually("the check says so", func() bool {
		return slices.ContainsFunc(s.repo.Checks(s.head(number)), func(check sandbox.Check) bool {
			return strings.Contains(check.Title, "Out of date") && strings.Contains(check.Summary, "out of date, because "+why)
		})
	})
}

// planWrites counts the updates of checks and comments that show plans, among what was written to GitHub.
func planWrites(effects []string) (checks, comments int) {
	for _, effect := range effects {
		switch {
		case strings.HasPrefix(effect, "PATCH") && strings.Contains(effect, "switchyard / plan"):
			checks++
		case strings.HasPrefix(effect, "PATCH") && strings.Contains(effect, "Plan for dev"):
			comments++
		}
	}
	return checks, comments
}

// wroteOnce fails the test unless one check and one comment were brought up to date for one plan since so many effects.
func (s *shop) wroteOnce(since int) {
	s.t.Helper()
	s.quiet()
	effects := s.Box.Effects()[since:]
	if checks, comments := planWrites(effects); checks != 1 || comments != 1 {
		s.t.Errorf("%d checks and %d comments were written; want one each:\n%s", checks, comments, strings.Join(effects, "\n"))
	}
}

func TestAPlanWhoseStateAnApplyFromAnotherBranchMovedSaysSo(t *testing.T) {
	t.Parallel()
	s := newShopOn(t, newWorld(t), map[string]string{
		".github/switchyard.yml": strings.Replace(twoRoots, "branch: develop", "branch: [develop, main]", 1),
		"infra/one/main.tf":      rootFile, "infra/two/main.tf": emptyRoot,
	})
	first := s.open("feature/first", "develop", map[string]string{"infra/one/README.md": "first\n"})
	s.planned(first, "dev")
	s.checkIs(s.merge(first), "switchyard / apply (dev)", "success") // from here on the root has a state
	merged := s.open("feature/a", "develop", map[string]string{"infra/one/a.tf": adds("a")})
	sameRoot := s.open("hotfix/b", "main", map[string]string{"infra/one/b.tf": adds("b")})
	otherRoot := s.open("hotfix/c", "main", map[string]string{"infra/two/c.tf": adds("c")})
	for _, number := range []int{merged, sameRoot, otherRoot} {
		s.planned(number, "dev")
		s.said(number, "Plan for dev")
	}
	s.quiet()
	since, from := len(s.Box.Effects()), s.serial("one-dev.tfstate")
	sha := s.merge(merged)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	apply := s.operationOf(sha)
	s.showsOutOfDate(sameRoot, fmt.Sprintf(
		"[operation %d](%s/commit/%s/checks), the apply of #%d, has moved the state of `infra/one` from serial %d to %d",
		apply, s.repo.HTMLURL(), sha, merged, from, s.serial("one-dev.tfstate")))
	s.wroteOnce(since)
	if same, other := s.plans(sameRoot), s.plans(otherRoot); same != 1 || other != 1 {
		t.Errorf("%d and %d plans, want one each: neither changes what was applied", same, other)
	}
}

// serial is the serial of a state file.
func (s *shop) serial(state string) int64 {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.States, state))
	if err != nil {
		s.t.Fatal(err)
	}
	var file struct {
		Serial int64 `json:"serial"`
	}
	if err := json.Unmarshal(data, &file); err != nil {
		s.t.Fatal(err)
	}
	return file.Serial
}

// operationOf is the number of the apply of a commit.
func (s *shop) operationOf(sha string) int64 {
	s.t.Helper()
	var id int64
	if err := s.database().QueryRowContext(s.ctx, `SELECT id FROM operations WHERE kind = 'apply' AND head = $1`, sha).Scan(&id); err != nil {
		s.t.Fatal(err)
	}
	return id
}

func TestAPlanWhoseBaseMovedToWhatWaitsForAYesSaysSoAndIsPlannedAgainOnceThatIsApplied(t *testing.T) {
	t.Parallel()
	s := newShopOn(t, newWorld(t), map[string]string{
		".github/switchyard.yml": strings.Replace(twoRoots, "branch: develop", "branch: develop, binding: strict", 1),
		"infra/one/main.tf":      emptyRoot, "infra/two/main.tf": emptyRoot,
	})
	sameRoot := s.open("feature/b", "develop", map[string]string{"infra/one/b.tf": adds("b")})
	otherRoot := s.open("feature/c", "develop", map[string]string{"infra/two/c.tf": adds("c")})
	for _, number := range []int{sameRoot, otherRoot} {
		s.planned(number, "dev")
		s.said(number, "Plan for dev")
	}
	s.quiet()
	since := len(s.Box.Effects())
	sha := s.push("develop", map[string]string{"infra/one/unreviewed.tf": adds("unreviewed")})
	check := s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.showsOutOfDate(sameRoot, "`develop` has newer code of `infra/one`")
	s.wroteOnce(since)
	if same, other := s.plans(sameRoot), s.plans(otherRoot); same != 1 || other != 1 {
		t.Errorf("%d and %d plans, want one each: nothing was applied", same, other)
	}
	_, digest, _ := strings.Cut(check.Summary, "`/apply dev ")
	digest, _, _ = strings.Cut(digest, "`")
	s.comment(story.Ana, sameRoot, "/apply dev "+digest)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	s.said(sameRoot, "Plan for dev", "has newer code of a root that it plans")
	s.quiet()
	if same, other := s.plans(sameRoot), s.plans(otherRoot); same != 2 || other != 1 {
		t.Errorf("%d and %d plans, want two and one", same, other)
	}
	if comment := s.said(sameRoot, "Plan for dev"); strings.Contains(comment.Body, "out of date") {
		t.Errorf("the new plan is called out of date:\n%s", comment.Body)
	}
}

func TestAfterAnApplyOnlyWhatItMadeOutOfDateIsPlannedAgain(t *testing.T) {
	t.Parallel()
	s, sameRoot, otherRoot, _ := oneAppliedOfThree(t)
	s.said(sameRoot, "Plan for dev", "has newer code of a root that it plans")
	s.quiet()
	if same, other := s.plans(sameRoot), s.plans(otherRoot); same != 2 || other != 1 {
		t.Errorf("the pull request of the same root was planned %d times, want 2; that of another %d, want 1", same, other)
	}
	view, _ := s.repo.PullView(otherRoot)
	for _, comment := range view.Comments {
		if strings.Contains(comment.Body, "out of date") {
			t.Errorf("it is called out of date:\n%s", comment.Body)
		}
	}
	// To look at it again is no reason to plan it: what its root has is the same, although the base has moved.
	if err := s.repo.ClosePull(s.ctx, story.Ben, otherRoot); err != nil {
		t.Fatal(err)
	}
	if err := s.repo.ReopenPull(s.ctx, story.Ben, otherRoot); err != nil {
		t.Fatal(err)
	}
	next := s.open("feature/d", "develop", map[string]string{"infra/two/d.tf": adds("d")})
	s.planned(next, "dev")
	s.quiet()
	if other := s.plans(otherRoot); other != 1 {
		t.Errorf("it was planned %d times, want once", other)
	}
}

func TestWithoutABudgetAPlanThatIsOutOfDateSaysSoUntilItIsPlannedAgain(t *testing.T) {
	t.Parallel()
	s, sameRoot, otherRoot, since := oneAppliedOfThree(t, func(s *settings.Settings) { s.Replans = 0 })
	s.showsOutOfDate(sameRoot, "`develop` has newer code of `infra/one`")
	s.wroteOnce(since)
	if same, other := s.plans(sameRoot), s.plans(otherRoot); same != 1 || other != 1 {
		t.Errorf("%d and %d plans, want one each", same, other)
	}
	s.comment(story.Ben, sameRoot, "/plan")
	s.eventually("the new plan is not out of date", func() bool {
		view, _ := s.repo.PullView(sameRoot)
		comment := planOf(view)
		return comment != "" && !strings.Contains(comment, "out of date")
	})
	if same := s.plans(sameRoot); same != 2 {
		t.Errorf("it was planned %d times, want 2", same)
	}
}

// planOf is the comment that shows a pull request's plan.
func planOf(view sandbox.PullView) string {
	for _, comment := range view.Comments {
		if comment.Bot && strings.Contains(comment.Body, "Plan for dev") {
			return comment.Body
		}
	}
	return ""
}

func TestAPlanThatWasMadeDuringAnApplyOfTheSameAddressIsMadeAgain(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	g := s.gate(t)
	files := g.file()
	files["infra/after.tf"] = "resource \"terraform_data\" \"after\" {\n  depends_on = [terraform_data.slow]\n}\n"
	slow := s.open("feature/slow", "develop", files)
	s.planned(slow, "dev")
	sha := s.merge(slow)
	g.began()
	number := s.open("feature/next", "develop", map[string]string{"infra/next.tf": adds("next")})
	s.planned(number, "dev")
	s.said(number, "terraform_data.after", "terraform_data.next") // what is being applied is still to be done
	g.open()
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	s.eventually("only its own change is planned", func() bool {
		view, _ := s.repo.PullView(number)
		comment := planOf(view)
		return strings.Contains(comment, "terraform_data.next") && !strings.Contains(comment, "terraform_data.after")
	})
	s.said(number, "has changed something in dev that it changes too")
}
