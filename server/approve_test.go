package server_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

const blocking = "risk: { block: [destroy-stateful], stateful: [terraform_data] }\n"

// inTwoRoots is a configuration with two roots.
func inTwoRoots(more string) string {
	return strings.Replace(oneRoot, "executor:", `  - dir: dns
    backend: { path: "STATES/dns-{environment}.tfstate" }
executor:`, 1) + more
}

// withTwoRoots is a shop with the same resources in two roots, applied, and a pull request that removes one of each.
func withTwoRoots(t *testing.T) (s *shop, number int) {
	t.Helper()
	s = configured(t, inTwoRoots(blocking), map[string]string{"dns/main.tf": rootFile})
	s.repo.SetRole(story.Cleo, sandbox.Maintain)
	first := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile, "dns/second.tf": secondFile})
	s.planned(first, "dev")
	s.checkIs(s.merge(first), "switchyard / apply (dev)", "success")
	number = s.open("feature/remove", "develop", map[string]string{"infra/second.tf": "# nothing\n", "dns/second.tf": "# nothing\n"})
	s.planned(number, "dev")
	return s, number
}

func TestAnApprovalIsOfOneRoot(t *testing.T) {
	t.Parallel()
	s, number := withTwoRoots(t)
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	const infra, dns = "/approve-replace terraform_data.second infra", "/approve-replace terraform_data.second dns"
	s.said(number, "`"+infra+"`", "`"+dns+"`", "switchyard:notice/")
	s.comment(story.Cleo, number, "/approve-replace terraform_data.second")
	s.said(number, "held back in several roots", "`"+infra+"`", "`"+dns+"`")
	s.comment(story.Cleo, number, infra)
	s.said(number, "`terraform_data.second` in `infra` is approved by cleo", "Still waiting")
	s.comment(story.Cleo, number, dns)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	s.verified()
}

func TestAnEarlyApprovalIsOfOneRootToo(t *testing.T) {
	t.Parallel()
	s, number := withTwoRoots(t)
	s.comment(story.Cleo, number, "/approve-replace terraform_data.second")
	s.said(number, "held back in several roots")
	s.comment(story.Cleo, number, "/approve-replace terraform_data.second dns")
	s.said(number, "`terraform_data.second` in `dns` is approved by cleo", "as long as this pull request gets no new commit")
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.comment(story.Cleo, number, "/approve-replace terraform_data.second") // of one root only it is still held back
	s.checkIs(sha, "switchyard / apply (dev)", "success")
}

// Who merges asks for the apply, and so an approval that the same person gave before is no second person's.
func TestWhoApprovedEarlyAndMergesIsNoSecondPerson(t *testing.T) {
	t.Parallel()
	s := configured(t, oneRoot+blocking, nil)
	s.repo.SetRole(story.Cleo, sandbox.Maintain)
	first := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(first, "dev")
	s.checkIs(s.merge(first), "switchyard / apply (dev)", "success")
	number := s.open("feature/remove", "develop", map[string]string{"infra/second.tf": "# nothing\n"})
	s.planned(number, "dev")
	s.repo.SetRole(story.Ben, sandbox.Maintain)
	s.comment(story.Ben, number, "/approve-replace terraform_data.second")
	s.said(number, "ben wrote or asked for this change")
	s.comment(story.Ana, number, "/approve-replace terraform_data.second")
	s.said(number, "is approved by ana")
	sha := s.merge(number) // ana does
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.comment(story.Cleo, number, "/approve-replace terraform_data.second")
	s.checkIs(sha, "switchyard / apply (dev)", "success")
}

// What cleo approved was to destroy one thing. That the same address does something else at the same head, because the world has
// changed since, is another change.
func TestAnApprovalIsOfTheVeryChange(t *testing.T) {
	t.Parallel()
	s := configured(t, oneRoot+blocking, nil)
	s.repo.SetRole(story.Cleo, sandbox.Maintain)
	first := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(first, "dev")
	s.checkIs(s.merge(first), "switchyard / apply (dev)", "success")
	number := s.open("feature/remove", "develop", map[string]string{"infra/second.tf": "# nothing\n"})
	s.planned(number, "dev")
	s.comment(story.Cleo, number, "/approve-replace terraform_data.second")
	s.said(number, "is approved by cleo")
	s.laptop("dev", `"two"`, `"by hand"`)
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.said(number, "`/approve-replace terraform_data.second`", "switchyard:notice/")
	if !strings.Contains(s.state("dev"), "by hand") {
		t.Fatal("it was destroyed with an approval of another change")
	}
}

// Mallory wrote what waits. That the next pull request, which is not hers, shows it again does not let her approve it there.
func TestAnAuthorDoesNotApproveByWayOfAnotherPullRequest(t *testing.T) {
	t.Parallel()
	s := configured(t, oneRoot+blocking, nil)
	s.repo.SetRole(story.Ben, sandbox.Maintain)
	first := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(first, "dev")
	s.checkIs(s.merge(first), "switchyard / apply (dev)", "success")
	removal := s.open("feature/remove", "develop", map[string]string{"infra/second.tf": "# nothing\n"})
	s.planned(removal, "dev")
	s.checkIs(s.merge(removal), "switchyard / apply (dev)", "action_required")

	if _, err := s.repo.Push(s.ctx, story.Ana, "feature/third", map[string]string{"infra/third.tf": sizedFile}, "third",
		sandbox.PushOptions{From: "develop"}); err != nil {
		t.Fatal(err)
	}
	other, err := s.repo.OpenPull(s.ctx, story.Ana, sandbox.Pull{From: "feature/third", To: "develop", Title: "third"})
	if err != nil {
		t.Fatal(err)
	}
	s.planned(other, "dev")
	s.comment(story.Ben, other, "/approve-replace terraform_data.second")
	s.said(other, "is approved by ben") // he wrote nothing of this pull request
	sha := s.merge(other)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	if !strings.Contains(s.state("dev"), "second") {
		t.Fatal("its author's approval has destroyed it")
	}
	s.repo.SetRole(story.Cleo, sandbox.Maintain)
	s.comment(story.Cleo, other, "/approve-replace terraform_data.second")
	s.checkIs(sha, "switchyard / apply (dev)", "success")
}
