package server_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// gate holds what an apply makes until the test lets it through.
type gate struct {
	t    *testing.T
	path string
}

// gate makes one where Terraform may write.
func (w *world) gate(t *testing.T) gate {
	t.Helper()
	g := gate{t: t, path: filepath.Join(w.States, "gate")}
	for _, end := range []string{".began", ".go"} {
		if err := syscall.Mkfifo(g.path+end, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return g
}

// file is a root file with a resource that says that it began and then waits at the gate.
func (g gate) file() map[string]string {
	return map[string]string{"infra/slow.tf": fmt.Sprintf(`resource "terraform_data" "slow" {
  input = "slow"
  provisioner "local-exec" {
    command = "echo began > '%s.began' && cat '%s.go'"
  }
}
`, g.path, g.path)}
}

// began waits until the apply has come to the gate.
func (g gate) began() {
	g.t.Helper()
	g.meet(func() error {
		_, err := os.ReadFile(g.path + ".began")
		return err
	})
}

// meet waits for the other side of a pipe, but not for ever.
func (g gate) meet(open func() error) {
	g.t.Helper()
	met := make(chan error, 1)
	go func() { met <- open() }()
	select {
	case err := <-met:
		if err != nil {
			g.t.Fatal(err)
		}
	case <-time.After(patience):
		g.t.Fatalf("nobody came to %s", g.path)
	}
}

// open lets the apply through.
func (g gate) open() {
	g.t.Helper()
	g.meet(func() error { return os.WriteFile(g.path+".go", nil, 0o600) })
}

func TestADeliveryThatComesTwiceChangesNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	s.said(number, "Applied to dev")
	for _, delivery := range s.Box.Deliveries() {
		if err := s.Box.Redeliver(delivery.ID); err != nil {
			t.Fatal(err)
		}
	}
	// A later pull request is planned after all of them were taken in.
	after := s.open("feature/third", "develop", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	s.planned(after, "dev")
	if got := len(s.repo.Deployments("dev")); got != 1 {
		t.Errorf("%d deployments to dev, want 1", got)
	}
	view, _ := s.repo.PullView(number)
	if len(view.Comments) != 1 {
		t.Errorf("#%d has %d comments, want 1", number, len(view.Comments))
	}
}

func TestANewHeadSupersedesTheOlderPlan(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	old, _ := s.repo.PullView(number)
	s.push("feature/second", map[string]string{"infra/second.tf": strings.ReplaceAll(secondFile, "two", "newer value")})
	s.planned(number, "dev")
	comment := s.said(number, "newer value")
	if strings.Contains(comment.Body, `"two"`) {
		t.Errorf("the comment still shows the old plan:\n%s", comment.Body)
	}
	s.eventually("the old head's check is not left open", func() bool {
		for _, check := range s.repo.Checks(old.Head.SHA) {
			if check.Status != "completed" {
				return false
			}
		}
		return true
	})
	if view, _ := s.repo.PullView(number); len(view.Comments) != 1 {
		t.Errorf("%d comments, want 1", len(view.Comments))
	}
}

func TestAPullRequestThatIsReopenedUnchangedKeepsItsPlan(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.said(number, "Plan for dev")
	f := &fleet{shop: s}
	f.quiet()
	before, _ := s.repo.PullView(number)
	if err := s.repo.ClosePull(s.ctx, story.Ben, number); err != nil {
		t.Fatal(err)
	}
	if err := s.repo.ReopenPull(s.ctx, story.Ben, number); err != nil {
		t.Fatal(err)
	}
	after := s.open("feature/third", "develop", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	s.planned(after, "dev")
	f.quiet()
	view, _ := s.repo.PullView(number)
	if diff := cmp.Diff(before.Checks, view.Checks); diff != "" {
		t.Errorf("its checks have changed (-before +after):\n%s", diff)
	}
}

func TestACancelledApplyEndsGentlyAndCanBeRunAnew(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	g := s.gate(t)
	number := s.open("feature/slow", "develop", g.file())
	s.planned(number, "dev")
	sha := s.merge(number)
	g.began()
	s.comment(story.Ana, number, "/unlock dev")
	s.said(number, "/cancel") // it is alive, so its hold is kept
	s.comment(story.Ben, number, "/cancel dev")
	s.checkIs(sha, "switchyard / apply (dev)", "cancelled")
	s.said(number, "Stopped: the apply to dev", "switchyard:answer/") // the answer to /cancel says when it is done
	// What the first apply had begun is tainted: it is replaced, which nobody reviewed.
	s.comment(story.Ben, number, "/apply dev")
	s.comment(story.Ben, number, "/apply dev "+s.digest(number, "dev"))
	g.began()
	g.open()
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	if !strings.Contains(s.state("dev"), `"slow"`) {
		t.Error("the state lacks what the second apply made")
	}
}

func TestACheckThatIsAskedForAgainPlansAgain(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	view, _ := s.repo.PullView(number)
	check := s.checkIs(view.Head.SHA, "switchyard / plan (dev)", "success")
	updates := check.Updates
	if err := s.repo.ClickCheckAction(s.ctx, story.Ben, check.ID, "plan"); err != nil {
		t.Fatal(err)
	}
	s.eventually("the check is written again", func() bool {
		return s.checkIs(view.Head.SHA, "switchyard / plan (dev)", "success").Updates > updates+1
	})
	if err := s.repo.RerequestCheck(s.ctx, story.Ben, check.ID); err != nil {
		t.Fatal(err)
	}
	s.planned(number, "dev")
}

func TestAMergeGroupIsCheckedAndPlanned(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	group, err := s.repo.QueueMergeGroup(s.ctx, "develop", number)
	if err != nil {
		t.Fatal(err)
	}
	s.checkIs(group.SHA, "switchyard / gitflow", "success")
	s.checkIs(group.SHA, "switchyard / plan (dev)", "success")
}

func TestEditedCommentsAndOrdinaryOnesAreNotAnswered(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.said(number, "Plan for dev")
	id, err := s.repo.Comment(s.ctx, story.Ben, number, "looks good")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.repo.EditComment(s.ctx, story.Ben, id, "/plan"); err != nil {
		t.Fatal(err)
	}
	s.comment(story.Ben, number, "/status")
	s.said(number, "dev")
	s.eventually("only /status was answered", func() bool { // and seen, which may be said after the answer
		view, _ := s.repo.PullView(number)
		reactions := s.Box.Calls()["POST /repos/{owner}/{repo}/issues/comments/{comment_id}/reactions"]
		return len(view.Comments) == 4 && reactions == 1 // the plan, two of Ben's and the answer
	})
}

func TestNamesOfFilesBranchesAndRootsAreOnlyNames(t *testing.T) {
	t.Parallel()
	hostile := "in fra/$(touch x)`;'\"é"
	s := newShop(t, map[string]string{
		".github/switchyard.yml": strings.ReplaceAll(oneRoot, "dir: infra", "dir: '"+strings.ReplaceAll(hostile, "'", "''")+"'"),
		hostile + "/main.tf":     rootFile,
	})
	branch := "feature/$(id)'\"&é-" + strings.Repeat("x", 150)
	number := s.open(branch, "develop", map[string]string{
		hostile + "/second.tf":             secondFile,
		"docs/a\nb @ana <!-- x -->/.. .md": "odd",
	})
	s.planned(number, "dev")
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
}

func TestAFreshServerOnTheSameDataGoesOn(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.said(number, "Plan for dev")
	s.stop()
	sha := s.merge(number) // the webhooks of the merge find nobody
	s.start(quiet)         // it asks GitHub for what it has missed
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	view, _ := s.repo.PullView(number)
	if len(view.Comments) != 1 {
		t.Errorf("%d comments after the restart, want one", len(view.Comments))
	}
}

func TestWithoutAConfigurationThereIsAdviceOnly(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	repo, err := s.Box.CreateRepository(s.ctx, "acme", "plain", sandbox.Seed{
		DefaultBranch: "main",
		Branches: []sandbox.SeedBranch{
			{Name: "main", Files: map[string]string{"src/terraform/main.tf": "resource \"terraform_data\" \"a\" {}\n"}, As: story.Ana},
			{Name: "develop", From: "main"},
		},
		Roles: map[string]sandbox.Role{story.Ana: sandbox.Maintain, story.Ben: sandbox.Write},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Box.Install(s.ctx, "acme", "plain"); err != nil {
		t.Fatal(err)
	}
	plain := &shop{world: s.world, repo: repo}
	number := plain.open("feature/a", "develop", map[string]string{"src/terraform/b.tf": "resource \"terraform_data\" \"b\" {}\n"})
	view, _ := repo.PullView(number)
	plain.checkIs(view.Head.SHA, "switchyard / gitflow", "neutral")
	plain.planned(number, "dev")
	plain.merge(number)
	plain.comment(story.Ana, number, "/apply dev")
	plain.said(number, "switchyard.yml")
	if deployments := repo.Deployments(""); len(deployments) != 0 {
		t.Errorf("%d deployments without a configuration", len(deployments))
	}
}

func TestAnApplyOutlivesItsServerAndItsTrueOutcomeIsRecorded(t *testing.T) {
	t.Parallel()
	impatient := func(s *settings.Settings) { s.Drain = time.Millisecond }
	s := newShopOn(t, newWorld(t, impatient), nil)
	g := s.gate(t)
	number := s.open("feature/slow", "develop", g.file())
	s.planned(number, "dev")
	sha := s.merge(number)
	g.began()
	s.stop()
	s.start(quiet, impatient)
	g.open()
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	if got := strings.Count(s.state("dev"), `"name": "slow"`); got != 1 {
		t.Errorf("the state has %d of what one apply makes", got)
	}
	if got := len(s.repo.Deployments("dev")); got != 1 {
		t.Errorf("%d deployments, want one", got)
	}
}
