package story

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/sandbox"
)

const (
	addRegion = "feature/add-region"
	oops      = "feature/oops"
	scaleOut  = "feature/scale-out"
	alerts    = "feature/alerts"
	records   = "feature/records"
	limits    = "fix/limits"
	release   = "release/1.0"
	hotfix    = "hotfix/gateway"
	rules     = "hotfix/rules"
	premium   = "hotfix/premium-cache"
	metrics   = "feature/metrics"
	mail      = "feature/mail"
)

func tfvars(first, instances, limit, rollout int, second bool) string {
	var b strings.Builder
	fmt.Fprintf(&b, "regions = {\n  westeurope = {\n    address_space = \"10.%d0.0.0/16\"\n    instances     = %d\n  }\n", first, instances)
	if second {
		fmt.Fprintf(&b, "  southeastasia = {\n    address_space = \"10.%d1.0.0/16\"\n    instances     = %d\n  }\n", first, first)
	}
	fmt.Fprintf(&b, "}\n\nrequest_limit = %d\n", limit)
	if rollout > 0 {
		fmt.Fprintf(&b, "rollout_seconds = %d\n", rollout)
	}
	return b.String()
}

func (s *Story) featureToDevelop(ctx context.Context) error {
	err := s.open(ctx, Ben, addRegion, "develop", "develop", "Add southeastasia to dev", map[string]string{
		"src/terraform/env/dev.tfvars": tfvars(1, 1, 100, 0, true),
	})
	if err != nil {
		return err
	}
	return s.expectAll(ctx,
		s.check(s.head(addRegion), "switchyard / gitflow", "success"),
		s.comment(addRegion, "one comment shows the real plan", `module.stamp["southeastasia"].terraform_data.network`, "10.11.0.0/16"),
		s.check(s.head(addRegion), "switchyard / plan (dev)", "success"),
	)
}

func (s *Story) featureToMain(ctx context.Context) error {
	err := s.open(ctx, Cleo, oops, "main", "develop", "Straight to main", map[string]string{
		"src/terraform/env/prod.tfvars": tfvars(3, 9, 100, 0, false),
	})
	if err != nil {
		return err
	}
	return s.expectAll(ctx,
		s.check(s.head(oops), "switchyard / gitflow", "failure"),
		s.comment(oops, "a comment says what is wrong, why, and which base branch to choose",
			"feature branch may not merge to main", "it takes release and hotfix branches only",
			"hange the base branch of this pull request to develop"),
	)
}

func (s *Story) mergeApplies(ctx context.Context) error {
	if err := s.merge(ctx, addRegion); err != nil {
		return err
	}
	err := s.expectAll(ctx,
		s.check(s.merged(addRegion), "switchyard / apply (dev)", "success"),
		s.deployment("dev", s.merged(addRegion)),
		s.comment(addRegion, "the same comment says that it was applied to dev", "pplied", "dev"),
	)
	if err != nil {
		return err
	}
	return s.expect(ctx, expectation{what: "there is one comment, edited in place", shown: func() bool {
		view, _ := s.Repo.PullView(s.pulls[addRegion])
		return len(view.Comments) == 1 && view.Comments[0].Edits > 0 && strings.Contains(view.Comments[0].Body, "pplied")
	}})
}

// threeMerges opens three pull requests, waits for their plans, and merges them one second apart.
func (s *Story) threeMerges(ctx context.Context) error {
	for _, pull := range []struct {
		as, branch, title string
		files             map[string]string
	}{
		{Ana, scaleOut, "Scale westeurope out", map[string]string{"src/terraform/env/dev.tfvars": tfvars(1, 3, 100, 6, true)}},
		{Ben, alerts, "Alert on latency", map[string]string{"src/terraform/alerts.tf": alertsFile}},
		{Cleo, records, "Name the status page", map[string]string{"src/dns/env/dev.tfvars": recordsFile}},
	} {
		if err := s.open(ctx, pull.as, pull.branch, "develop", "develop", pull.title, pull.files); err != nil {
			return err
		}
	}
	for _, branch := range []string{scaleOut, alerts, records} {
		if err := s.expectAll(ctx, s.check(s.head(branch), "switchyard / plan (dev)", "success")); err != nil {
			return err
		}
	}
	for i, branch := range []string{scaleOut, alerts, records} {
		if i > 0 {
			select {
			case <-ctx.Done():
				return fmt.Errorf("wait a second: %w", ctx.Err())
			case <-time.After(time.Second):
			}
		}
		if err := s.merge(ctx, branch); err != nil {
			return err
		}
		if branch == scaleOut && len(s.Repo.Runs()) > 0 { // a run that is dispatched later would meet the second's commit on the branch
			if err := s.expect(ctx, s.runs(scaleOut)); err != nil {
				return err
			}
		}
		if branch != alerts {
			continue
		}
		if err := s.expectAll(ctx, s.comment(alerts, "the second waits and shows its position", "Waiting for dev", "in line")); err != nil {
			return err
		}
	}
	return s.gathered(ctx)
}

// runs expects a workflow run of the merge of a branch.
func (s *Story) runs(branch string) expectation {
	return expectation{what: s.merged(branch).name + " is being applied in a workflow run", shown: func() bool {
		return slices.ContainsFunc(s.Repo.Runs(), func(run sandbox.Run) bool { return run.SHA == s.merges[branch] })
	}}
}

// gathered expects one apply of what the second and the third merge brought, covered by the reviews of both.
func (s *Story) gathered(ctx context.Context) error {
	err := s.expectAll(ctx,
		s.check(s.merged(alerts), "switchyard / apply (dev)", "neutral"),
		s.check(s.merged(scaleOut), "switchyard / apply (dev)", "success"),
		s.check(s.merged(records), "switchyard / apply (dev)", "success"),
		s.deployment("dev", s.merged(records)),
		s.comment(alerts, "the second says that the third's apply carries it", "Applied to dev", fmt.Sprintf("#%d", s.pulls[records])),
		s.comment(records, "the third names the second", "Applied to dev", fmt.Sprintf("#%d", s.pulls[alerts])),
		expectation{what: "no deployment was made for the gathered commit", shown: func() bool {
			for _, d := range s.Repo.Deployments("dev") {
				if d.SHA == s.merges[alerts] {
					return false
				}
			}
			return true
		}},
		expectation{what: "nobody was asked for a yes: that one apply made what was reviewed in both", shown: func() bool {
			return len(s.commentsWith(alerts, "/apply dev ")) == 0 && len(s.commentsWith(records, "/apply dev ")) == 0
		}},
	)
	if err != nil {
		return err
	}
	for _, made := range []struct{ address, branch string }{
		{"terraform_data.alert", alerts}, {`terraform_data.record["status"]`, records},
	} {
		reviewed := fmt.Sprintf("reviewed in #%d", s.pulls[made.branch])
		err := s.ask(ctx, records, Ben, "/why "+made.address, "that apply is covered by what was "+reviewed,
			[]string{fmt.Sprintf("by #%d", s.pulls[records]), reviewed})
		if err != nil {
			return err
		}
	}
	return nil
}

const alertsFile = `# Stands for an alert rule.
resource "terraform_data" "alert" {
  input = {
    name      = "latency-${var.environment_name}"
    threshold = "250ms"
  }
}
`

const recordsFile = `records = {
  www    = "network-dev.acme.example"
  status = "status-dev.acme.example"
}
`

func (s *Story) promotion(ctx context.Context) error {
	err := s.open(ctx, Ben, limits, release, release, "Raise the request limit", map[string]string{
		"src/terraform/env/test.tfvars": tfvars(2, 2, 200, 0, false),
		"src/terraform/env/prod.tfvars": tfvars(3, 3, 200, 0, false),
	})
	if err != nil {
		return err
	}
	if err := s.planThenMerge(ctx, limits, "test"); err != nil {
		return err
	}
	number, err := s.openExisting(ctx, Ana, release, "main", "Release 1.0")
	if err != nil {
		return err
	}
	s.sayf("%s opens #%d: %s → main", Ana, number, release)
	if err := s.planThenMerge(ctx, release, "prod"); err != nil {
		return err
	}
	err = s.expectAll(ctx, s.comment(release, "a proof says that the same content was applied in test", "Proved in test"))
	if err != nil {
		return err
	}
	err = s.open(ctx, Cleo, hotfix, "main", "main", "Halve the load on the gateway", map[string]string{
		"src/terraform/env/prod.tfvars": tfvars(3, 3, 150, 0, false),
	})
	if err != nil {
		return err
	}
	return s.expectAll(ctx,
		s.check(s.head(hotfix), "switchyard / gitflow", "success"),
		s.check(s.head(hotfix), "switchyard / plan (prod)", "success"),
		s.comment(hotfix, "the hotfix shows what it changes in prod", "request_limit"),
	)
}

func (s *Story) planThenMerge(ctx context.Context, branch, environment string) error {
	err := s.expectAll(ctx,
		s.check(s.head(branch), "switchyard / gitflow", "success"),
		s.check(s.head(branch), "switchyard / plan ("+environment+")", "success"),
	)
	if err != nil {
		return err
	}
	if err := s.merge(ctx, branch); err != nil {
		return err
	}
	return s.expectAll(ctx,
		s.check(s.merged(branch), "switchyard / apply ("+environment+")", "success"),
		s.deployment(environment, s.merged(branch)),
	)
}

func (s *Story) comments(ctx context.Context) error {
	for _, ask := range []struct {
		as, says, what string
		words          []string
	}{
		{Cleo, "/plan", "/plan plans again", []string{"prod"}},
		{Ana, "/apply prod", "/apply on an open pull request says that merging applies", []string{"merge", "prod"}},
		{Ana, "/apply dev", "/apply of another environment says where this pull request goes", []string{"prod"}},
		{Ben, "/status", "/status shows each environment", []string{"dev", "test", "prod"}},
		{Ben, "/why", "/why gives the reasons", []string{"prod"}},
		{Ben, "/help", "/help lists the commands", []string{"/plan", "/apply"}},
		{Ben, "/aply prod", "a typo gets the nearest command", []string{"/apply"}},
		{Mallory, "/apply dev", "an outsider is refused, with the reason", []string{"write"}},
	} {
		if err := s.ask(ctx, hotfix, ask.as, ask.says, ask.what, ask.words); err != nil {
			return err
		}
	}
	return nil
}

// ask comments on the pull request of a branch and expects one answer.
func (s *Story) ask(ctx context.Context, branch, as, says, what string, words []string) error {
	number := s.pulls[branch]
	before := len(s.commentsWith(branch))
	id, err := s.Repo.Comment(ctx, as, number, says)
	if err != nil {
		return fmt.Errorf("comment %q: %w", says, err)
	}
	s.sayf("%s comments %s", as, says)
	newest := func() string {
		all := s.commentsWith(branch)
		return all[len(all)-1].Body
	}
	return s.expectAll(ctx, expectation{
		what:  "a reaction says at once that " + says + " was seen",
		shown: func() bool { return s.seen(number, id) },
	}, expectation{
		what:  what,
		shown: func() bool { return len(s.commentsWith(branch)) == before+1 && containsAll(newest(), words) },
		words: func() string { return brief(newest(), words[len(words)-1]) },
	})
}

// seen reports whether the App reacted to a comment.
func (s *Story) seen(number int, comment int64) bool {
	view, _ := s.Repo.PullView(number)
	for _, c := range view.Comments {
		if c.ID == comment {
			return c.Reactions["eyes"] == 1
		}
	}
	return false
}

// drift has somebody change prod past Switchyard after the hotfix was planned, and merges the hotfix.
func (s *Story) drift(ctx context.Context) error {
	if err := s.byHand("network-prod.tfstate", "10.30.0.0/16", "10.99.0.0/16"); err != nil {
		return err
	}
	s.sayf("%s changes the address space of prod by hand, past Switchyard", Cleo)
	if err := s.merge(ctx, hotfix); err != nil {
		return err
	}
	const command = "comment `/apply prod "
	err := s.expectAll(ctx,
		s.check(s.merged(hotfix), "switchyard / apply (prod)", "action_required"),
		s.comment(hotfix, "a new comment asks about that change alone, with its cause", command, "10.99.0.0/16", "outside of"),
	)
	if err != nil {
		return err
	}
	asked := s.commentsWith(hotfix, command, "10.99.0.0/16")
	if strings.Contains(asked[len(asked)-1].Body, "request_limit") {
		return fmt.Errorf("the comment asks about what was reviewed, too:\n%s", asked[len(asked)-1].Body)
	}
	_, digest, _ := strings.Cut(asked[len(asked)-1].Body, command)
	digest, _, _ = strings.Cut(digest, "`")
	err = s.ask(ctx, hotfix, Ana, "/apply prod 000000", "a yes to something else is refused", []string{"000000", "not what is being asked"})
	if err != nil {
		return err
	}
	err = s.ask(ctx, hotfix, Ana, "/apply prod "+digest, "a yes to exactly this change is taken", []string{"yes", "is taken"})
	if err != nil {
		return err
	}
	err = s.expectAll(ctx,
		s.check(s.merged(hotfix), "switchyard / apply (prod)", "success"),
		s.deployment("prod", s.merged(hotfix)),
	)
	if err != nil {
		return err
	}
	return s.ask(ctx, hotfix, Ben, `/why module.stamp["westeurope"].terraform_data.network`, "/why names who said yes to it",
		[]string{"ana said yes to"})
}

// secondPerson has prod ask for an approval, and for a second person before what holds data is replaced, and merges such a replacement.
func (s *Story) secondPerson(ctx context.Context) error {
	if err := s.askForMore(ctx); err != nil {
		return err
	}
	err := s.open(ctx, Ana, premium, "main", "main", "A premium cache in prod", map[string]string{
		"src/terraform/env/prod.tfvars": tfvars(3, 3, 150, 0, false) + "cache_tier = \"premium\"\n",
	})
	if err != nil {
		return err
	}
	err = s.expectAll(ctx,
		s.check(s.head(premium), "switchyard / plan (prod)", "success"),
		s.comment(premium, "the plan names what is replaced and holds data", cache, "holds data"),
		s.comment(premium, "nobody has approved it yet, and somebody must", "must approve"),
	)
	if err != nil {
		return err
	}
	if _, err := s.Repo.Review(ctx, Ben, s.pulls[premium], sandbox.Approved); err != nil {
		return fmt.Errorf("approve #%d: %w", s.pulls[premium], err)
	}
	s.sayf("%s approves #%d", Ben, s.pulls[premium])
	if err := s.expect(ctx, s.comment(premium, "the approval is shown", "pproved by")); err != nil {
		return err
	}
	if err := s.merge(ctx, premium); err != nil {
		return err
	}
	err = s.expectAll(ctx,
		s.check(s.merged(premium), "switchyard / apply (prod)", "action_required"),
		s.comment(premium, "the apply waits for a second person", "/approve-replace "+cache),
	)
	if err != nil {
		return err
	}
	err = s.ask(ctx, premium, Ana, "/approve-replace "+cache, "the author's own yes is refused", []string{"wrote or asked for this change"})
	if err != nil {
		return err
	}
	if err := s.ask(ctx, premium, Dora, "/approve-replace "+cache, "a second person's yes is taken", []string{"dora"}); err != nil {
		return err
	}
	err = s.expectAll(ctx,
		s.check(s.merged(premium), "switchyard / apply (prod)", "success"),
		s.deployment("prod", s.merged(premium)),
	)
	if err != nil {
		return err
	}
	both := []string{fmt.Sprintf("#%d", s.pulls[premium]), "approved by ben and dora"}
	if err := s.ask(ctx, premium, Cleo, "/why "+cache, "/why names who approved it and the second person", both); err != nil {
		return err
	}
	return s.ledger(ctx, "`switchyard ledger` names them, too", "prod", cache, "replaced", "ben, dora")
}

// cache is what step 8 replaces.
const cache = `module.stamp["westeurope"].terraform_data.cache`

// mergeQueue has a merge queue test two pull requests together.
func (s *Story) mergeQueue(ctx context.Context) error {
	err := s.open(ctx, Ben, metrics, "develop", "develop", "Measure latency", map[string]string{
		"src/terraform/metrics.tf": strings.ReplaceAll(alertsFile, "alert", "metric"),
	})
	if err != nil {
		return err
	}
	err = s.open(ctx, Cleo, mail, "develop", "develop", "Name the mail server", map[string]string{
		"src/dns/env/dev.tfvars": strings.Replace(recordsFile, "{\n", "{\n  mail   = \"mail-dev.acme.example\"\n", 1),
	})
	if err != nil {
		return err
	}
	err = s.expectAll(ctx,
		s.check(s.head(metrics), "switchyard / plan (dev)", "success"),
		s.check(s.head(mail), "switchyard / plan (dev)", "success"),
	)
	if err != nil {
		return err
	}
	group, err := s.Repo.QueueMergeGroup(ctx, "develop", s.pulls[metrics], s.pulls[mail])
	if err != nil {
		return fmt.Errorf("queue #%d and #%d: %w", s.pulls[metrics], s.pulls[mail], err)
	}
	s.sayf("the merge queue puts #%d and #%d onto develop", s.pulls[metrics], s.pulls[mail])
	commit := place{name: "the merge group", sha: func() string { return group.SHA }}
	return s.expectAll(ctx,
		s.check(commit, "switchyard / gitflow", "success"),
		s.check(commit, "switchyard / plan (dev)", "success"),
	)
}

// askForMore merges a configuration that asks for more in prod.
func (s *Story) askForMore(ctx context.Context) error {
	const file = ".github/switchyard.yml"
	config, found, err := s.Repo.ReadFile(ctx, "main", file)
	if err != nil || !found {
		return errors.Join(errors.New("read the configuration of the sample repository"), err)
	}
	config = strings.Replace(config, "prod: { branch: main,", "prod: { branch: main, approvals: 1,", 1) +
		"risk: { block: [replace-stateful], stateful: [terraform_data] }\n"
	err = s.open(ctx, Ben, rules, "main", "main", "Ask for a second person in prod", map[string]string{file: config})
	if err != nil {
		return err
	}
	if err := s.expectAll(ctx, s.check(s.head(rules), "switchyard / gitflow", "success")); err != nil {
		return err
	}
	return s.merge(ctx, rules)
}

// ledger expects the ledger of an environment to have a line with these words.
func (s *Story) ledger(ctx context.Context, what, environment, address string, words ...string) error {
	if s.Ledger == nil {
		return nil
	}
	text, err := s.Ledger(ctx, environment, address)
	if err != nil {
		return fmt.Errorf("read the ledger: %w", err)
	}
	for line := range strings.Lines(text) {
		if containsAll(line, words) {
			return s.expect(ctx, expectation{
				what: what, shown: func() bool { return true },
				words: func() string { return brief(line, words[len(words)-1]) },
			})
		}
	}
	return fmt.Errorf("the ledger has no line with %q:\n%s", words, text)
}

// byHand changes a state as somebody does who applies from elsewhere: its serial rises.
func (s *Story) byHand(name, old, replacement string) error {
	file := filepath.Join(s.states, name)
	data, err := os.ReadFile(file) //nolint:gosec // of the story's own directory
	if err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	var state map[string]any
	if err := json.Unmarshal([]byte(strings.ReplaceAll(string(data), old, replacement)), &state); err != nil {
		return fmt.Errorf("read the state: %w", err)
	}
	serial, _ := state["serial"].(float64)
	state["serial"] = serial + 1
	if data, err = json.MarshalIndent(state, "", "  "); err != nil {
		return fmt.Errorf("write the state: %w", err)
	}
	if err := os.WriteFile(file, data, 0o600); err != nil { //nolint:mnd // only the owner
		return fmt.Errorf("write the state: %w", err)
	}
	return nil
}
