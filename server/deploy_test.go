package server_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

const oneRoot = `version: 1
application: shop
environments:
  dev:  { branch: develop, binding: strict }
  test: { branch: [release, "release/*"], binding: strict }
  prod: { branch: main, binding: strict }
roots:
  - dir: infra
    backend: { path: "STATES/{application}-{environment}.tfstate" }
executor: local
`

const rootFile = `terraform {
  backend "local" {}
}

resource "terraform_data" "first" {
  input = "one"
}
`

// shop is a small repository of its own in a world: one root, nothing applied yet.
type shop struct {
	*world
	repo *sandbox.Repository
}

// newShop makes acme/shop with these files beside the configuration, and installs the App on it.
func newShop(t testing.TB, files map[string]string) *shop {
	t.Helper()
	return newShopOn(t, newWorld(t), files)
}

func newShopOn(t testing.TB, w *world, files map[string]string) *shop {
	t.Helper()
	all := map[string]string{".github/switchyard.yml": oneRoot, "infra/main.tf": rootFile, "README.md": "shop\n"}
	maps.Copy(all, files)
	for path, content := range all {
		all[path] = strings.ReplaceAll(content, "STATES", w.States)
	}
	repo, err := w.Box.CreateRepository(w.ctx, "acme", "shop", sandbox.Seed{
		DefaultBranch: "main",
		Branches:      []sandbox.SeedBranch{{Name: "main", Files: all, As: story.Ana}, {Name: "develop", From: "main"}},
		Roles:         map[string]sandbox.Role{story.Ana: sandbox.Maintain, story.Ben: sandbox.Write},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Box.Install(w.ctx, "acme", "shop"); err != nil {
		t.Fatal(err)
	}
	return &shop{world: w, repo: repo}
}

// open pushes files to a branch from develop and opens a pull request.
func (s *shop) open(branch, base string, files map[string]string) int {
	s.t.Helper()
	start := base
	if _, err := s.repo.Push(s.ctx, story.Ben, branch, files, "change "+branch, sandbox.PushOptions{From: start}); err != nil {
		s.t.Fatalf("push: %v", err)
	}
	number, err := s.repo.OpenPull(s.ctx, story.Ben, sandbox.Pull{From: branch, To: base, Title: "change " + branch})
	if err != nil {
		s.t.Fatalf("open: %v", err)
	}
	return number
}

// planned waits until a pull request's plan of an environment has succeeded.
func (s *shop) planned(number int, environment string) {
	s.t.Helper()
	view, _ := s.repo.PullView(number)
	s.checkIs(view.Head.SHA, "switchyard / plan ("+environment+")", "success")
}

func (s *shop) merge(number int) string {
	s.t.Helper()
	sha, err := s.repo.Merge(s.ctx, story.Ana, number, "merge")
	if err != nil {
		s.t.Fatalf("merge: %v", err)
	}
	return sha
}

// checkIs waits until a check of a commit has ended so.
func (s *shop) checkIs(sha, name, conclusion string) sandbox.Check {
	s.t.Helper()
	var found sandbox.Check
	s.eventually(fmt.Sprintf("check %q of %s is %s", name, sha[:7], conclusion), func() bool {
		for _, check := range s.repo.Checks(sha) {
			if check.Name == name && check.Conclusion == conclusion {
				found = check
				return true
			}
		}
		return false
	})
	return found
}

// said waits for a comment of the App on a pull request that is not minimised and has all these words.
func (s *shop) said(number int, words ...string) sandbox.Comment {
	s.t.Helper()
	var found sandbox.Comment
	s.eventually(fmt.Sprintf("a comment on #%d with %q", number, words), func() bool {
		view, _ := s.repo.PullView(number)
		for _, comment := range view.Comments {
			if !comment.Bot || comment.Minimized {
				continue
			}
			all := true
			for _, word := range words {
				all = all && strings.Contains(comment.Body, word)
			}
			if all {
				found = comment
				return true
			}
		}
		return false
	})
	return found
}

func (s *shop) comment(as string, number int, body string) {
	s.t.Helper()
	if _, err := s.repo.Comment(s.ctx, as, number, body); err != nil {
		s.t.Fatalf("comment: %v", err)
	}
}

// digest waits for the comment that asks about unreviewed changes, and gives the digest it asks for.
func (s *shop) digest(number int, environment string) string {
	s.t.Helper()
	command := "comment `/apply " + environment + " "
	body := s.said(number, command, "switchyard:notice/").Body
	_, digest, _ := strings.Cut(body, command)
	digest, _, _ = strings.Cut(digest, "`")
	return digest
}

// state is what Terraform's state file of an environment says.
func (s *shop) state(environment string) string {
	s.t.Helper()
	data, err := os.ReadFile(filepath.Join(s.States, "shop-"+environment+".tfstate"))
	if err != nil && !os.IsNotExist(err) {
		s.t.Fatal(err)
	}
	return string(data)
}

func (s *shop) push(branch string, files map[string]string, o ...sandbox.PushOptions) string {
	s.t.Helper()
	sha, err := s.repo.Push(s.ctx, story.Ben, branch, files, "push to "+branch, o...)
	if err != nil {
		s.t.Fatalf("push: %v", err)
	}
	return sha
}

const secondFile = `resource "terraform_data" "second" {
  input = "two"
}
`

func TestAnUnreviewedPushWaitsForAYesToExactlyItsChanges(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	first := s.merge(number)
	s.checkIs(first, "switchyard / apply (dev)", "success")

	number = s.open("feature/fourth", "develop", map[string]string{"infra/fourth.tf": strings.ReplaceAll(secondFile, "second", "fourth")})
	s.planned(number, "dev")
	// Nobody reviewed what is pushed straight to develop.
	sha := s.push("develop", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	if strings.Contains(s.state("dev"), "third") {
		t.Fatal("an unreviewed change was applied without a yes")
	}
	// The question is asked on a pull request that is merged next, together with its own changes.
	s.merge(number)
	digest := s.digest(number, "dev")
	notice := s.said(number, "terraform_data.third", "/apply dev "+digest, "notice/dev")

	s.comment(story.Ana, number, "/apply dev 000000")
	s.said(number, "000000")
	s.comment(story.Ana, number, "/apply dev "+digest)
	s.checkIs(s.repo.Branches()["develop"], "switchyard / apply (dev)", "success")
	if state := s.state("dev"); !strings.Contains(state, "third") || !strings.Contains(state, "fourth") {
		t.Fatalf("after the yes the state lacks a change:\n%s", state)
	}
	s.eventually("the notice is minimised once it is answered", func() bool {
		view, _ := s.repo.PullView(number)
		for _, comment := range view.Comments {
			if comment.ID == notice.ID {
				return comment.Minimized
			}
		}
		return false
	})
}

func TestAForcePushThatDropsAnAppliedCommitAsksBeforeItUndoesIt(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.push("chore/before", nil, sandbox.PushOptions{From: "develop"})
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.checkIs(s.merge(number), "switchyard / apply (dev)", "success")

	sha := s.push("develop", map[string]string{"README.md": "another history\n"}, sandbox.PushOptions{From: "chore/before", Force: true})
	check := s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	if !strings.Contains(check.Summary+check.Text, fmt.Sprintf("#%d", number)) {
		t.Errorf("the check does not say that #%d would be undone:\n%s\n%s", number, check.Summary, check.Text)
	}
	if !strings.Contains(s.state("dev"), "second") {
		t.Error("the force-push was applied without a yes")
	}
}

func TestAFailedApplyReleasesItsEnvironmentAndIsNeverSkipped(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	broken := `resource "terraform_data" "broken" {
  input = "x"
  provisioner "local-exec" {
    command = "echo this rollout is broken >&2; exit 3"
  }
}
`
	number := s.open("feature/broken", "develop", map[string]string{"infra/broken.tf": broken})
	s.planned(number, "dev")
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "failure")
	s.said(number, "this rollout is broken", "/apply dev")

	// The next merge touches another file; the root whose apply failed is applied with it.
	next := s.open("feature/fix", "develop", map[string]string{"infra/broken.tf": strings.ReplaceAll(broken, "exit 3", "exit 0")})
	s.planned(next, "dev")
	s.checkIs(s.merge(next), "switchyard / apply (dev)", "success")
	s.said(next, fmt.Sprintf("#%d", number))
}

const twoRoots = `version: 1
application: shop
environments:
  dev:  { branch: develop }
roots:
  - dir: infra/one
    backend: { path: "STATES/one-{environment}.tfstate" }
  - dir: infra/two
    backend: { path: "STATES/two-{environment}.tfstate" }
executor: local
`

// newPair makes a shop with two roots; both use the module outer, which uses the module inner, but for the second.
func newPair(t *testing.T) *shop {
	t.Helper()
	return newShop(t, map[string]string{
		".github/switchyard.yml": twoRoots,
		"infra/one/main.tf":      rootFile + "module \"outer\" {\n  source = \"../../modules/outer\"\n}\n",
		"infra/two/main.tf":      rootFile,
		"modules/outer/main.tf":  "module \"inner\" {\n  source = \"../inner\"\n}\n",
		"modules/inner/main.tf":  "resource \"terraform_data\" \"inner\" {\n  input = \"a\"\n}\n",
	})
}

// holds reports whether a state file has a resource of this name.
func (s *shop) holds(state, name string) bool {
	data, err := os.ReadFile(filepath.Join(s.States, state))
	return err == nil && strings.Contains(string(data), `"name": "`+name+`"`)
}

func TestARootIsPlannedForAModuleThatItsModuleUsesAndNoOther(t *testing.T) {
	t.Parallel()
	s := newPair(t)
	number := s.open("feature/inner", "develop", map[string]string{"modules/inner/more.tf": "resource \"terraform_data\" \"more\" {}\n"})
	s.planned(number, "dev")
	comment := s.said(number, "Plan for dev", "module.outer.module.inner.terraform_data.more")
	if strings.Contains(comment.Body, "infra/two") {
		t.Errorf("a root is planned that does not use the module:\n%s", comment.Body)
	}
	s.comment(story.Ben, number, "/why")
	s.said(number, "infra/one", "its module modules/inner changed")
}

func TestARootWhoseApplyFailedIsAppliedWithTheNextMergeOfAnotherRoot(t *testing.T) {
	t.Parallel()
	s := newPair(t)
	gate := filepath.Join(s.States, "mended")
	broken := fmt.Sprintf("resource \"terraform_data\" \"fragile\" {\n  provisioner \"local-exec\" {\n    command = \"test -e %s\"\n  }\n}\n", gate)
	first := s.open("feature/one", "develop", map[string]string{"infra/one/fragile.tf": broken})
	s.planned(first, "dev")
	s.checkIs(s.merge(first), "switchyard / apply (dev)", "failure")
	if err := os.WriteFile(gate, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	second := s.open("feature/two", "develop", map[string]string{"infra/two/second.tf": secondFile})
	s.planned(second, "dev")
	sha := s.merge(second)
	// The failed one is tainted: its replacement was not reviewed, so a person is asked, about both roots together.
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.comment(story.Ben, second, "/apply dev "+s.digest(second, "dev"))
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	if !s.holds("one-dev.tfstate", "fragile") || !s.holds("two-dev.tfstate", "second") {
		t.Error("one of the two roots was not applied")
	}
}

func TestARootOfAGatheredMergeIsAppliedWithTheOther(t *testing.T) {
	t.Parallel()
	s := newPair(t)
	g := s.gate(t)
	slow := s.open("feature/slow", "develop", map[string]string{"infra/one/slow.tf": g.file()["infra/slow.tf"]})
	one := s.open("feature/one", "develop", map[string]string{"infra/one/first.tf": strings.ReplaceAll(secondFile, "second", "gathered")})
	two := s.open("feature/two", "develop", map[string]string{"infra/two/second.tf": secondFile})
	for _, number := range []int{slow, one, two} {
		s.planned(number, "dev")
	}
	s.merge(slow)
	g.began()
	s.merge(one)
	s.said(one, "in line")
	sha := s.merge(two)
	s.said(two, "in line")
	g.open()
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	if !s.holds("one-dev.tfstate", "gathered") || !s.holds("two-dev.tfstate", "second") {
		t.Error("one of the two roots was not applied")
	}
}

func TestAMergeThatTouchesNoRootAppliesNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("docs/readme", "develop", map[string]string{"README.md": "words\n"})
	view, _ := s.repo.PullView(number)
	s.checkIs(view.Head.SHA, "switchyard / plan (dev)", "success")
	s.merge(number)
	after := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(after, "dev")
	if deployments := s.repo.Deployments(""); len(deployments) != 0 {
		t.Errorf("%d deployments were made", len(deployments))
	}
}

func TestAPullRequestIntoAnUnmappedBranchGetsANeutralCheckAndNoComment(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	s.push("sandbox-area", nil, sandbox.PushOptions{From: "develop"})
	number := s.open("feature/x", "sandbox-area", map[string]string{"infra/second.tf": secondFile})
	view, _ := s.repo.PullView(number)
	s.checkIs(view.Head.SHA, "switchyard / gitflow", "neutral")
	if view, _ = s.repo.PullView(number); len(view.Comments) != 0 {
		t.Errorf("it has comments: %v", view.Comments)
	}
}

func TestABrokenConfigurationMakesTheCheckRedWithItsPositionAndAppliesNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t, map[string]string{".github/switchyard.yml": "version: 1\nenvironmnts:\n  dev: { branch: develop }\n"})
	number := s.open("feature/x", "develop", map[string]string{"infra/second.tf": secondFile})
	view, _ := s.repo.PullView(number)
	check := s.checkIs(view.Head.SHA, "switchyard / gitflow", "failure")
	if !strings.Contains(check.Summary, "environmnts") || !strings.Contains(check.Summary, ":2:1") {
		t.Errorf("the check does not name the key and its position:\n%s", check.Summary)
	}
	sha := s.merge(number)
	(&fleet{shop: s}).settled("push", sha)
	if deployments := s.repo.Deployments(""); len(deployments) != 0 {
		t.Errorf("%d deployments were made", len(deployments))
	}
	if _, err := os.Stat(filepath.Join(s.States, "shop-dev.tfstate")); !os.IsNotExist(err) {
		t.Errorf("something was applied: %v", err)
	}
}

func TestAForkIsNeverPlanned(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	fork, err := s.repo.Fork(s.ctx, story.Mallory)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fork.Push(s.ctx, story.Mallory, "feature/evil", map[string]string{"infra/second.tf": secondFile}, "evil",
		sandbox.PushOptions{From: "develop"}); err != nil {
		t.Fatal(err)
	}
	number, err := s.repo.OpenPull(s.ctx, story.Mallory, sandbox.Pull{From: story.Mallory + ":feature/evil", To: "develop", Title: "evil"})
	if err != nil {
		t.Fatal(err)
	}
	view, _ := s.repo.PullView(number)
	s.eventually("the fork's checks are there", func() bool { return len(s.repo.Checks(view.Head.SHA)) > 0 })
	s.comment(story.Ana, number, "/plan")
	s.said(number, "fork")
	for _, check := range s.repo.Checks(view.Head.SHA) {
		if strings.Contains(check.Name, "plan") && check.Conclusion == "success" {
			t.Errorf("check %q of a fork succeeded", check.Name)
		}
	}
}
