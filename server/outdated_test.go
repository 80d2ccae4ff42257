package server_test

import (
	"database/sql"
	"path/filepath"
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

// oneAppliedOfThree has three pull requests planned, two of them of one root, and one of the two applied.
func oneAppliedOfThree(t *testing.T, change ...func(*settings.Settings)) (s *shop, sameRoot, otherRoot int) {
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
	(&fleet{shop: s}).quiet()
	s.checkIs(s.merge(merged), "switchyard / apply (dev)", "success")
	return s, sameRoot, otherRoot
}

func TestAfterAnApplyOnlyWhatItMadeOutOfDateIsPlannedAgain(t *testing.T) {
	t.Parallel()
	s, sameRoot, otherRoot := oneAppliedOfThree(t)
	s.said(sameRoot, "Plan for dev", "has newer code of a root that it plans")
	(&fleet{shop: s}).quiet()
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
	(&fleet{shop: s}).quiet()
	if other := s.plans(otherRoot); other != 1 {
		t.Errorf("it was planned %d times, want once", other)
	}
}

func TestWithoutABudgetAPlanThatIsOutOfDateSaysSoUntilItIsPlannedAgain(t *testing.T) {
	t.Parallel()
	s, sameRoot, otherRoot := oneAppliedOfThree(t, func(s *settings.Settings) { s.Replans = 0 })
	s.said(sameRoot, "This plan is out of date, because `develop` has newer code of `infra/one` since; comment `/plan` to plan again.")
	view, _ := s.repo.PullView(sameRoot)
	s.eventually("the check says so", func() bool {
		for _, check := range s.repo.Checks(view.Head.SHA) {
			if strings.Contains(check.Title, "Out of date") && strings.Contains(check.Summary, "out of date, because `develop`") {
				return true
			}
		}
		return false
	})
	(&fleet{shop: s}).quiet()
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
