package server_test

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
	"github.com/switchyard-dev/switchyard/settings"
)

// before has each Terraform process run a piece of shell first; $1 is the subcommand.
func before(t *testing.T, script string) func(*settings.Settings) {
	t.Helper()
	terraform, err := exec.LookPath("terraform")
	if err != nil {
		t.Skip("terraform is not on PATH")
	}
	program := filepath.Join(t.TempDir(), "terraform")
	text := fmt.Sprintf("#!/bin/sh\n%s\nexec '%s' \"$@\"\n", script, terraform)
	if err := os.WriteFile(program, []byte(text), 0o700); err != nil {
		t.Fatal(err)
	}
	return func(s *settings.Settings) { s.Terraform.Path = program }
}

// barrier is a file that holds Terraform plans back while it exists.
type barrier struct {
	t    *testing.T
	path string
}

func newBarrier(t *testing.T) barrier {
	t.Helper()
	return barrier{t: t, path: filepath.Join(t.TempDir(), "hold")}
}

func (b barrier) script() string {
	return fmt.Sprintf(`if [ "$1" = plan ]; then while [ -e '%s' ]; do sleep 0.05; done; fi`, b.path)
}

func (b barrier) close() {
	b.t.Helper()
	if err := os.WriteFile(b.path, nil, 0o600); err != nil {
		b.t.Fatal(err)
	}
}

func (b barrier) open() {
	b.t.Helper()
	if err := os.Remove(b.path); err != nil {
		b.t.Fatal(err)
	}
}

// checkOf waits until a check of a commit satisfies.
func (s *shop) checkOf(sha, name, what string, satisfies func(sandbox.Check) bool) sandbox.Check {
	s.t.Helper()
	var found sandbox.Check
	s.eventually(fmt.Sprintf("check %q of %s %s", name, sha[:7], what), func() bool {
		for _, check := range s.repo.Checks(sha) {
			if check.Name == name && satisfies(check) {
				found = check
				return true
			}
		}
		return false
	})
	return found
}

// checkSays waits until a check of a commit has ended so and has all these words.
func (s *shop) checkSays(sha, name, conclusion string, words ...string) sandbox.Check {
	s.t.Helper()
	return s.checkOf(sha, name, fmt.Sprintf("is %s and says %q", conclusion, words), func(check sandbox.Check) bool {
		text := check.Title + "\n" + check.Summary + "\n" + check.Text
		for _, word := range words {
			if !strings.Contains(text, word) {
				return false
			}
		}
		return check.Conclusion == conclusion
	})
}

// head is the head commit of a pull request.
func (s *shop) head(number int) string {
	s.t.Helper()
	view, ok := s.repo.PullView(number)
	if !ok {
		s.t.Fatalf("there is no #%d", number)
	}
	return view.Head.SHA
}

func called(name string) string { return strings.ReplaceAll(secondFile, "second", name) }

func TestAPullRequestThatIsMergedBeforeItsPlanHasFinishedIsAskedAbout(t *testing.T) {
	t.Parallel()
	b := newBarrier(t)
	s := newShopOn(t, newWorld(t, before(t, b.script())), nil)
	s.planned(s.open("feature/first", "develop", map[string]string{"infra/first.tf": called("zero")}), "dev") // it is taken in
	b.close()
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.checkOf(s.head(number), "switchyard / plan (dev)", "runs", func(c sandbox.Check) bool { return c.Status == "in_progress" })
	sha := s.merge(number)
	check := s.checkSays(s.head(number), "switchyard / plan (dev)", "neutral", "merged")
	if strings.Contains(check.Title+check.Summary, "newer commit") {
		t.Errorf("the check of the plan that was not finished says: %s\n%s", check.Title, check.Summary)
	}
	b.open()
	s.checkIs(sha, "switchyard / apply (dev)", "action_required")
	s.comment(story.Ana, number, "/apply dev "+s.digest(number, "dev"))
	s.checkIs(sha, "switchyard / apply (dev)", "success")
}

func TestAPullRequestWhoseBaseChangesIsJudgedAndPlannedForTheNewOne(t *testing.T) {
	t.Parallel()
	b := newBarrier(t)
	s := newShopOn(t, newWorld(t, before(t, b.script())), nil)
	number := s.open("hotfix/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.said(number, "Plan for dev")
	if err := s.repo.EditBase(s.ctx, story.Ben, number, "main"); err != nil {
		t.Fatal(err)
	}
	s.planned(number, "prod")
	s.said(number, "Plan for prod")
	s.checkSays(s.head(number), "switchyard / plan (dev)", "neutral", "main")
	// A plan that still runs for the old base ends without a word about the new one.
	b.close()
	s.comment(story.Ben, number, "/plan")
	s.checkOf(s.head(number), "switchyard / plan (prod)", "runs", func(c sandbox.Check) bool { return c.Status == "in_progress" })
	if err := s.repo.EditBase(s.ctx, story.Ben, number, "develop"); err != nil {
		t.Fatal(err)
	}
	s.checkSays(s.head(number), "switchyard / plan (prod)", "neutral", "develop")
	b.open()
	s.planned(number, "dev")
	s.checkSays(s.head(number), "switchyard / plan (prod)", "neutral", "develop")
}

func TestACommitInTwoPullRequestsIsRedWhileOneOfThemMayNotMerge(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	wrong := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(wrong, "dev")
	sha := s.head(wrong)
	s.checkIs(sha, "switchyard / gitflow", "success")
	// The same commit, but now to production: a green check of the first must not let the second through.
	number, err := s.repo.OpenPull(s.ctx, story.Ben, sandbox.Pull{From: "feature/second", To: "main", Title: "straight to main"})
	if err != nil {
		t.Fatal(err)
	}
	s.checkSays(sha, "switchyard / gitflow", "failure", fmt.Sprintf("#%d", number), fmt.Sprintf("#%d", wrong))
	s.comment(story.Ben, wrong, "/plan")
	s.said(wrong, "Planning dev")
	s.planned(wrong, "dev")
	s.checkSays(sha, "switchyard / gitflow", "failure", fmt.Sprintf("#%d", number))
	if err := s.repo.ClosePull(s.ctx, story.Ben, number); err != nil {
		t.Fatal(err)
	}
	s.checkIs(sha, "switchyard / gitflow", "success")
}

func TestTheOlderOfTwoOpenReleasesWaitsVisiblyAndIsNotForgotten(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	first := s.open("feature/first", "develop", map[string]string{"infra/first.tf": called("zero")})
	s.planned(first, "dev") // so the repository is taken in
	old := s.push("release/1.0", map[string]string{"infra/one.tf": called("one")}, sandbox.PushOptions{From: "develop"})
	s.checkIs(old, "switchyard / apply (test)", "action_required")
	newer := s.push("release/2.0", map[string]string{"infra/two.tf": called("two")}, sandbox.PushOptions{From: "develop"})
	s.checkIs(newer, "switchyard / apply (test)", "action_required")

	number := s.open("fix/late", "release/1.0", map[string]string{"infra/late.tf": called("late")})
	s.planned(number, "test")
	sha := s.merge(number)
	s.checkSays(sha, "switchyard / apply (test)", "neutral", "release/2.0")
	notice := s.said(number, "Nothing was applied to test", "release/2.0")
	if strings.Contains(s.state("test"), "late") {
		t.Fatal("the older release was applied")
	}
	if err := s.repo.DeleteBranch(s.ctx, story.Ana, "release/2.0"); err != nil {
		t.Fatal(err)
	}
	s.checkIs(sha, "switchyard / apply (test)", "success") // the plan of the pull request had all of it
	s.eventually("the notice of the refusal is minimised", func() bool {
		view, _ := s.repo.PullView(number)
		for _, comment := range view.Comments {
			if comment.ID == notice.ID {
				return comment.Minimized
			}
		}
		return false
	})
}

func TestWhoHasStolenTheWebhookSecretCannotCommandInAnotherName(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.comment(story.Ben, number, "looks good")
	s.eventually("the comment is delivered", func() bool {
		return slices.ContainsFunc(s.Box.Deliveries(), func(d sandbox.Delivery) bool { return strings.Contains(string(d.Payload), "looks good") })
	})
	for guid, forge := range map[string]func(comment map[string]any){
		"11111111-1111-4111-8111-111111111111": func(c map[string]any) { c["body"] = "/cancel dev"; c["user"].(map[string]any)["login"] = story.Ana },
		"22222222-2222-4222-8222-222222222222": func(c map[string]any) { c["body"] = "/cancel dev" },
		"33333333-3333-4333-8333-333333333333": func(c map[string]any) { c["body"] = "/cancel dev"; c["id"] = 987654 },
	} {
		s.forge("issue_comment", guid, func(payload map[string]any) { forge(payload["comment"].(map[string]any)) })
	}
	s.comment(story.Ben, number, "/cancel test")
	s.said(number, "nothing to cancel in test") // comments on one pull request are seen to in order
	view, _ := s.repo.PullView(number)
	if len(view.Comments) != 4 { // the plan, two of Ben's and one answer
		t.Errorf("%d comments, want 4", len(view.Comments))
	}
}

// forge sends the newest webhook of an event once more, changed, and signed with the right secret.
func (s *shop) forge(event, guid string, change func(payload map[string]any)) {
	s.t.Helper()
	var newest sandbox.Delivery
	for _, delivery := range s.Box.Deliveries() {
		if delivery.Event == event && delivery.Action == "created" && strings.Contains(string(delivery.Payload), "looks good") {
			newest = delivery
		}
	}
	var payload map[string]any
	if err := json.Unmarshal(newest.Payload, &payload); err != nil {
		s.t.Fatal(err)
	}
	change(payload)
	body, err := json.Marshal(payload)
	if err != nil {
		s.t.Fatal(err)
	}
	mac := hmac.New(sha256.New, []byte(s.Box.WebhookSecret()))
	mac.Write(body)
	request, err := http.NewRequestWithContext(s.ctx, http.MethodPost, s.Server.URL()+"/api/github/hook", bytes.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	request.Header = newest.Headers.Clone()
	request.Header.Set("X-Github-Delivery", guid)
	request.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	response, err := (&http.Client{Timeout: patience}).Do(request)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := response.Body.Close(); err != nil || response.StatusCode != http.StatusOK {
		s.t.Fatalf("a forged webhook: %s, %v", response.Status, err)
	}
}

func TestCommandsAreFoundWhereTheyAreMeantAndNowhereElse(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.said(number, "Plan for dev")
	for _, body := range []string{
		"/аpply dev", " /apply dev", "\t/apply dev", "> /apply dev", "```\n/apply dev\n```", "    /apply dev", "\n/apply dev",
		"<!--\n/apply dev\n-->", "see /apply dev",
	} {
		s.comment(story.Ben, number, body)
	}
	s.comment(story.Ben, number, "/apply dev\r\n"+strings.Repeat("words below it\r\n", 3800))
	s.said(number, "not merged yet", "switchyard:answer/")
	issue, err := s.repo.OpenIssue(s.ctx, story.Ben, "a question", "what is where?")
	if err != nil {
		t.Fatal(err)
	}
	for body, words := range map[string]string{"/apply dev": "nothing to apply", "/plan": "pull request", "/apply nowhere": "nowhere"} {
		s.comment(story.Ben, issue, body)
		s.eventually("the answer to "+body+" on an issue", func() bool {
			view, _ := s.repo.Issue(issue)
			for _, comment := range view.Comments {
				if comment.Bot && strings.Contains(comment.Body, words) {
					return true
				}
			}
			return false
		})
	}
	s.merge(number)
	s.said(number, "Applied to dev")
	s.comment(story.Ben, number, "/plan")
	s.said(number, "merged, and only open ones are planned")
	s.comment(story.Ben, number, "/apply dev")
	s.said(number, "nothing to apply to dev")
	view, _ := s.repo.PullView(number)
	answers := 0
	for _, comment := range view.Comments {
		if strings.Contains(comment.Body, "switchyard:answer/") {
			answers++
		}
	}
	if answers != 4 { // the one in Cyrillic was told what is meant, and nothing else
		t.Errorf("%d answers on the pull request, want 4", answers)
	}
}

func TestABranchThatIsDeletedWhileItsApplyRunsIsAppliedToItsEnd(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	g := s.gate(t)
	first := s.open("feature/first", "develop", map[string]string{"infra/first.tf": called("zero")})
	s.planned(first, "dev") // so the repository is taken in
	s.push("release/1.0", nil, sandbox.PushOptions{From: "develop"})
	number := s.open("fix/slow", "release/1.0", g.file())
	s.planned(number, "test")
	sha := s.merge(number)
	g.began()
	waiting := s.push("release/1.0", map[string]string{"infra/later.tf": called("later")})
	s.checkOf(waiting, "switchyard / apply (test)", "waits", func(c sandbox.Check) bool { return c.Status == "queued" })
	if err := s.repo.DeleteBranch(s.ctx, story.Ana, "release/1.0"); err != nil {
		t.Fatal(err)
	}
	s.checkSays(waiting, "switchyard / apply (test)", "cancelled", "deleted")
	g.open()
	s.checkIs(sha, "switchyard / apply (test)", "success")
}

func TestARemovedAppEndsWhatWaitsAndTakesUpAgainWhenItReturns(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	g := s.gate(t)
	number := s.open("feature/slow", "develop", g.file())
	s.planned(number, "dev")
	s.merge(number)
	g.began()
	waiting := s.push("develop", map[string]string{"infra/later.tf": called("later")})
	s.checkOf(waiting, "switchyard / apply (dev)", "waits", func(c sandbox.Check) bool { return c.Status == "queued" })
	if err := s.Box.Uninstall(s.ctx, "acme"); err != nil {
		t.Fatal(err)
	}
	s.eventually("the removal is taken in", func() bool {
		for _, delivery := range s.Box.Deliveries() {
			if delivery.Event == "installation" && delivery.Action == "deleted" && delivery.StatusCode == http.StatusOK {
				return true
			}
		}
		return false
	})
	g.open()
	if err := s.Box.Install(s.ctx, "acme", "network", "shop"); err != nil {
		t.Fatal(err)
	}
	next := s.open("feature/next", "develop", map[string]string{"infra/next.tf": called("next")})
	s.planned(next, "dev")
	if strings.Contains(s.state("dev"), "later") {
		t.Error("what waited was applied although the App had been removed")
	}
	s.checkIs(s.merge(next), "switchyard / apply (dev)", "success")
	if state := s.state("dev"); !strings.Contains(state, "later") || !strings.Contains(state, "next") {
		t.Errorf("what was pushed before the App returned was forgotten:\n%s", state)
	}
}

func TestTerraformThatFailsOrHangsInAnyStepIsReportedAsItIs(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"init", "plan"} {
		t.Run("a failing "+step, func(t *testing.T) {
			t.Parallel()
			script := fmt.Sprintf(`if [ "$1" = %s ]; then echo 'Error: no @ana <!-- luck --> ::error::x' >&2; printf '\\377\\376' >&2; exit 1; fi`, step)
			s := newShopOn(t, newWorld(t, before(t, script)), nil)
			number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
			check := s.checkSays(s.head(number), "switchyard / plan (dev)", "failure", "luck")
			body := s.said(number, "failed", "luck").Body
			for _, text := range []string{body, check.Text} {
				if !utf8.ValidString(text) {
					t.Errorf("not UTF-8: %q", text)
				}
			}
		})
		t.Run("a hanging "+step, func(t *testing.T) {
			t.Parallel()
			impatient := func(s *settings.Settings) { s.Limits.Plan, s.Limits.StopGrace = 2*time.Second, 100*time.Millisecond }
			script := fmt.Sprintf(`if [ "$1" = %s ]; then trap '' INT TERM; while :; do sleep 0.2; done; fi`, step)
			s := newShopOn(t, newWorld(t, before(t, script), impatient), nil)
			number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
			s.checkSays(s.head(number), "switchyard / plan (dev)", "failure", "time limit")
		})
	}
	t.Run("a hanging apply", func(t *testing.T) {
		t.Parallel()
		impatient := func(s *settings.Settings) { s.Limits.Apply, s.Limits.StopGrace = 4*time.Second, 500*time.Millisecond }
		s := newShopOn(t, newWorld(t, impatient), nil)
		number := s.open("feature/slow", "develop", s.gate(t).file())
		s.planned(number, "dev")
		s.checkSays(s.merge(number), "switchyard / apply (dev)", "failure", "time limit")
		s.said(number, "time limit", "/apply dev")
	})
	t.Run("200 MB of output", func(t *testing.T) {
		t.Parallel()
		script := `if [ "$1" = plan ]; then head -c 200000000 /dev/zero | tr '\\0' 'x'; head -c 1000000 /dev/zero | tr '\\0' 'y' >&2; fi`
		s := newShopOn(t, newWorld(t, before(t, script)), nil)
		number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
		s.planned(number, "dev")
		s.said(number, "terraform_data.second")
	})
	t.Run("5,000 resources", func(t *testing.T) {
		t.Parallel()
		s := newShop(t, nil)
		number := s.open("feature/many", "develop", map[string]string{
			"infra/many.tf": "resource \"terraform_data\" \"many\" {\n  count = 5000\n  input = \"@ana ${count.index} ``` <!-- x -->\"\n}\n",
		})
		s.planned(number, "dev")
		if body := s.said(number, "5,001 to add").Body; len(body) > 65_536 {
			t.Errorf("the comment has %d bytes", len(body))
		}
	})
}

func TestAPullRequestThatBreaksTheConfigurationIsRed(t *testing.T) {
	t.Parallel()
	s := newShop(t, nil)
	broken := s.open("feature/config", "develop", map[string]string{
		".github/switchyard.yml": "version: 1\nenvironmnts:\n  dev: { branch: develop }\n", "infra/second.tf": secondFile,
	})
	s.checkSays(s.head(broken), "switchyard / gitflow", "failure", "environmnts", ":2:1", "default branch")
	s.planned(broken, "dev") // by the file that is on the default branch now
	// Pushing a right one makes it green.
	s.push("feature/config", map[string]string{".github/switchyard.yml": strings.ReplaceAll(oneRoot, "STATES", s.States) + "# words\n"})
	s.checkIs(s.head(broken), "switchyard / gitflow", "success")
	// One that does not touch the file is not judged by it.
	other := s.open("feature/other", "develop", map[string]string{"infra/other.tf": called("other")})
	s.checkIs(s.head(other), "switchyard / gitflow", "success")
}

func TestAPullRequestThatRepairsTheConfigurationIsNotRed(t *testing.T) {
	t.Parallel()
	s := newShop(t, map[string]string{".github/switchyard.yml": "version: 1\nenvironmnts: {}\n"})
	repair := s.open("hotfix/config", "main", map[string]string{".github/switchyard.yml": strings.ReplaceAll(oneRoot, "STATES", s.States)})
	s.checkSays(s.head(repair), "switchyard / gitflow", "neutral", "environmnts", "repair")
	other := s.open("feature/other", "develop", map[string]string{"infra/other.tf": called("other")})
	s.checkIs(s.head(other), "switchyard / gitflow", "failure")
	s.merge(repair)
	s.comment(story.Ben, other, "/plan")
	s.planned(other, "dev")
	s.checkIs(s.head(other), "switchyard / gitflow", "success")
}

func TestAClosedPullRequestEndsItsPlanAndAReopenedOneIsPlannedAgain(t *testing.T) {
	t.Parallel()
	b := newBarrier(t)
	s := newShopOn(t, newWorld(t, before(t, b.script())), nil)
	b.close()
	s.push("feature/second", map[string]string{"infra/second.tf": secondFile}, sandbox.PushOptions{From: "develop"})
	number, err := s.repo.OpenPull(s.ctx, story.Ben, sandbox.Pull{From: "feature/second", To: "develop", Title: "a draft", Draft: true})
	if err != nil {
		t.Fatal(err)
	}
	name := "switchyard / plan (dev)"
	s.checkOf(s.head(number), name, "runs", func(c sandbox.Check) bool { return c.Status == "in_progress" })
	if err := s.repo.ClosePull(s.ctx, story.Ben, number); err != nil {
		t.Fatal(err)
	}
	s.checkSays(s.head(number), name, "neutral", "closed")
	s.comment(story.Ben, number, "/plan")
	s.said(number, "closed")
	b.open()
	if err := s.repo.ReopenPull(s.ctx, story.Ben, number); err != nil {
		t.Fatal(err)
	}
	s.planned(number, "dev")
	s.said(number, "Plan for dev")
}
