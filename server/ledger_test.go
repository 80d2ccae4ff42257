package server_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/store"
)

const staged = `version: 1
application: shop
environments:
  dev:  { branch: develop }
  prod: { branch: main, after: [dev] }
roots:
  - dir: infra
    var_files: ["env/{environment}.tfvars"]
    backend: { path: "STATES/{application}-{environment}.tfstate" }
executor: local
`

const sizedFile = `variable "size" {
  type    = number
  default = 1
}

resource "terraform_data" "sized" {
  input = var.size
}
`

func configured(t *testing.T, config string, files map[string]string) *shop {
	t.Helper()
	all := map[string]string{".github/switchyard.yml": config}
	maps.Copy(all, files)
	return newShop(t, all)
}

func with(old, replacement string) string { return strings.Replace(oneRoot, old, replacement, 1) }

func TestApprovalsAreOfThePlanAndOfOtherPeople(t *testing.T) {
	t.Parallel()
	s := configured(t, with("branch: develop, binding: strict", "branch: develop, approvals: 1"), nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	head := func() string { view, _ := s.repo.PullView(number); return view.Head.SHA }()

	// Nobody but its author has approved it, so what it shows counts as reviewed by nobody.
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	digest := s.digest(number, "dev")
	s.said(number, "terraform_data.second", fmt.Sprintf("#%d is not approved", number))
	s.comment(story.Ben, number, "/apply dev "+digest)
	s.said(number, "ask somebody else")
	if strings.Contains(s.state("dev"), "second") {
		t.Fatal("it was applied with its author's yes alone")
	}

	if _, err := s.repo.Review(s.ctx, story.Ana, number, "approved"); err != nil {
		t.Fatal(err)
	}
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	s.comment(story.Ana, number, "/why terraform_data.second")
	s.said(number, "terraform_data.second", fmt.Sprintf("#%d", number), "ana")
	if entries := s.ledger(store.LedgerFilter{}); len(entries) != 2 || strings.Join(entries[1].ApprovedBy, " ") != story.Ana {
		t.Errorf("the ledger has %+v, want two changes, approved by ana (head %s)", entries, head)
	}
	s.verified()
}

// aheadClock is the real clock, or one that is ahead of it.
type aheadClock struct {
	clockwork.Clock

	ahead atomic.Int64
}

func (c *aheadClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.ahead.Load())) }

func (c *aheadClock) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *aheadClock) Until(t time.Time) time.Duration { return t.Sub(c.Now()) }

func (c *aheadClock) advance(d time.Duration) { c.ahead.Add(int64(d)) }

func TestAPullRequestThatWasApprovedIsAppliedWithoutAQuestion(t *testing.T) {
	t.Parallel()
	s := configured(t, with("branch: develop, binding: strict", "branch: develop, approvals: 1"), nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	if _, err := s.repo.Review(s.ctx, story.Ana, number, "approved"); err != nil {
		t.Fatal(err)
	}
	s.checkIs(s.merge(number), "switchyard / apply (dev)", "success")
	s.verified()
}

// Who approved #1 has not seen what #2 does: that it shows up in a newer plan of #1 makes it no more reviewed.
func TestAnApprovalIsOfThePlanThatWasThereThen(t *testing.T) {
	t.Parallel()
	clock := &aheadClock{Clock: clockwork.NewRealClock()}
	s := newShopOn(t, newWorldAt(t, clock, quiet), map[string]string{
		".github/switchyard.yml": with("branch: develop, binding: strict", "branch: develop, approvals: 1"),
	})
	first := s.open("feature/first", "develop", map[string]string{"infra/second.tf": secondFile})
	second := s.open("feature/other", "develop", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	s.planned(first, "dev")
	s.planned(second, "dev")
	if _, err := s.repo.Review(s.ctx, story.Ana, first, "approved"); err != nil {
		t.Fatal(err)
	}
	s.said(first, "Approved by ana")
	s.checkIs(s.merge(second), "switchyard / apply (dev)", "action_required") // nobody approved it
	clock.advance(2 * time.Second)                                            // a review carries a time in whole seconds: the plan that follows is of a later one
	s.comment(story.Ben, first, "/plan")
	s.said(first, "Plan for dev", "terraform_data.third")
	s.said(first, "shows more by now")
	sha := s.merge(first)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	if strings.Contains(s.state("dev"), "third") {
		t.Fatal("what nobody approved was applied")
	}
	digest := s.digest(first, "dev")
	s.comment(story.Ben, first, "/apply dev "+digest) // he wrote both
	s.said(first, "ask somebody else")
	s.comment(story.Ana, first, "/apply dev "+digest)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	s.verified()
}

func TestWhoPushesWithoutAPullRequestCannotSayYesToItWhereApprovalsAreNeeded(t *testing.T) {
	t.Parallel()
	s := configured(t, with("branch: develop, binding: strict", "branch: develop, approvals: 1"), nil)
	thread := s.open("feature/talk", "develop", map[string]string{"README.md": "words\n"})
	sha := s.push("develop", map[string]string{"infra/second.tf": secondFile})
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.comment(story.Ben, thread, "/status")
	body := s.said(thread, "/apply dev ").Body
	_, digest, _ := strings.Cut(body, "/apply dev ")
	digest, _, _ = strings.Cut(digest, "`")
	s.comment(story.Ben, thread, "/apply dev "+digest)
	s.said(thread, "ask somebody else")
	s.comment(story.Ana, thread, "/apply dev "+digest)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	s.verified()
}

func TestAContentIsPromotedOnlyAfterItWasAppliedInTheStageBefore(t *testing.T) {
	t.Parallel()
	s := configured(t, staged, map[string]string{
		"infra/main.tf": rootFile + sizedFile, "infra/env/dev.tfvars": "size = 1\n", "infra/env/prod.tfvars": "size = 10\n",
	})
	// It goes to dev with a value for dev and one for prod.
	number := s.open("feature/second", "develop", map[string]string{
		"infra/second.tf": secondFile, "infra/env/dev.tfvars": "size = 2\n", "infra/env/prod.tfvars": "size = 20\n",
	})
	s.planned(number, "dev")
	s.checkIs(s.merge(number), "switchyard / apply (dev)", "success")

	// What prod alone has does not count: the content is what was applied in dev.
	s.push("release/1.0", map[string]string{"infra/env/prod.tfvars": "size = 30\n"}, sandbox.PushOptions{From: "develop"})
	release, err := s.repo.OpenPull(s.ctx, story.Ben, sandbox.Pull{From: "release/1.0", To: "main", Title: "Release 1.0"})
	if err != nil {
		t.Fatal(err)
	}
	s.planned(release, "prod")
	s.checkIs(s.merge(release), "switchyard / apply (prod)", "success")
	s.said(release, "Proved in dev")

	// A hotfix was never in dev: it waits for a yes that names that.
	hotfix := s.open("hotfix/third", "main", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	s.planned(hotfix, "prod")
	sha := s.merge(hotfix)
	s.checkIs(sha, "switchyard / apply (prod)", "action_required")
	digest := s.digest(hotfix, "prod")
	s.said(hotfix, "was not applied in dev before")
	s.comment(story.Ana, hotfix, "/apply prod "+digest)
	s.checkIs(sha, "switchyard / apply (prod)", "success")
	s.verified()
}

func TestABlockedChangeWaitsForASecondPerson(t *testing.T) {
	t.Parallel()
	s := configured(t, oneRoot+"risk: { block: [destroy-stateful], stateful: [terraform_data] }\n", nil)
	first := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(first, "dev")
	s.checkIs(s.merge(first), "switchyard / apply (dev)", "success")

	number := s.open("feature/remove", "develop", map[string]string{"infra/second.tf": "# nothing\n"})
	s.planned(number, "dev")
	sha := s.merge(number)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.said(number, "/approve-replace terraform_data.second")
	s.comment(story.Ben, number, "/approve-replace terraform_data.second")
	s.said(number, "needs maintain")
	s.comment(story.Ana, number, "/approve-replace terraform_data.first")
	s.said(number, "No change of `terraform_data.first` is held back")
	if !strings.Contains(s.state("dev"), "second") {
		t.Fatal("it was destroyed without a second person")
	}
	s.comment(story.Ana, number, "/approve-replace terraform_data.second") // she merged it
	s.said(number, "wrote or asked for this change")
	s.repo.SetRole(story.Cleo, sandbox.Maintain)
	s.comment(story.Cleo, number, "/approve-replace terraform_data.second")
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	if strings.Contains(s.state("dev"), "second") {
		t.Error("it was not destroyed")
	}
	s.verified()
}

func TestWhatSomebodyChangedInTheStateIsAskedAboutAlone(t *testing.T) {
	t.Parallel()
	s := newShop(t, map[string]string{"infra/main.tf": rootFile + sizedFile})
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.checkIs(s.merge(number), "switchyard / apply (dev)", "success")

	next := s.open("feature/third", "develop", map[string]string{"infra/third.tf": strings.ReplaceAll(secondFile, "second", "third")})
	s.planned(next, "dev")
	s.laptop("dev", `"two"`, `"by hand"`)
	sha := s.merge(next)
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	digest := s.digest(next, "dev")
	notice := s.said(next, "/apply dev "+digest, "by hand", "notice/dev")
	if strings.Contains(notice.Body, "terraform_data.third`") && !strings.Contains(notice.Body, "terraform_data.second") {
		t.Errorf("it asks about what was reviewed:\n%s", notice.Body)
	}
	s.comment(story.Ana, next, "/apply dev "+digest)
	s.checkIs(sha, "switchyard / apply (dev)", "success")
	if state := s.state("dev"); strings.Contains(state, "by hand") || !strings.Contains(state, "third") {
		t.Errorf("the state after the yes:\n%s", state)
	}
	s.verified()
}

// ledger reads the ledger of the server's database.
func (s *shop) ledger(filter store.LedgerFilter) []operation.Entry {
	s.t.Helper()
	data, err := store.OpenToRead(s.ctx, "sqlite:"+filepath.Join(s.data, "switchyard.db"))
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = data.Close() }()
	filter.Ascending = true
	entries, err := data.Ledger(s.ctx, filter)
	if err != nil {
		s.t.Fatal(err)
	}
	return entries
}

// laptop changes a state as somebody does who applies from elsewhere: its serial rises.
func (s *shop) laptop(environment, old, replacement string) {
	s.t.Helper()
	file := filepath.Join(s.States, "shop-"+environment+".tfstate")
	state := strings.ReplaceAll(s.state(environment), old, replacement)
	var serial int
	_, rest, _ := strings.Cut(state, `"serial": `)
	if _, err := fmt.Sscanf(rest, "%d", &serial); err != nil {
		s.t.Fatal(err)
	}
	state = strings.Replace(state, fmt.Sprintf(`"serial": %d`, serial), fmt.Sprintf(`"serial": %d`, serial+1), 1)
	if err := os.WriteFile(file, []byte(state), 0o600); err != nil {
		s.t.Fatal(err)
	}
}
