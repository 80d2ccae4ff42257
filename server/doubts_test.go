package server_test

import (
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/sandbox/story"
)

const threeStages = `version: 1
application: shop
environments:
  dev:  { branch: develop }
  test: { branch: testing }
  prod: { branch: main, after: [dev, test] }
roots:
  - dir: infra
    backend: { path: "STATES/{application}-{environment}.tfstate" }
executor: local
`

const asksForPulls = "GET /repos/{owner}/{repo}/commits/{commit_sha}/pulls"

// What was there when Switchyard came proves the promotion, also after the stage has gone on.
func TestABaselineStaysAProof(t *testing.T) {
	t.Parallel()
	s := configured(t, staged, map[string]string{"infra/main.tf": rootFile + sizedFile, "infra/env/prod.tfvars": "size = 10\n"})
	number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(number, "dev")
	s.checkIs(s.merge(number), "switchyard / apply (dev)", "success")

	hotfix := s.open("hotfix/size", "main", map[string]string{"infra/env/prod.tfvars": "size = 30\n"})
	s.planned(hotfix, "prod")
	s.checkIs(s.merge(hotfix), "switchyard / apply (prod)", "success")
	s.verified()
	s.said(hotfix, "Proved in dev", "`infra` had the same content there when Switchyard first saw the branch")
}

// That another stage goes on while somebody says yes takes nothing from it: the yes was to what is missing there.
func TestAYesToAnUnprovenPromotionHoldsWhateverTheStageDoes(t *testing.T) {
	t.Parallel()
	s := configured(t, threeStages, nil)
	s.push("testing", map[string]string{"README.md": "test\n"}, sandbox.PushOptions{From: "develop"})
	hotfix := s.open("hotfix/second", "main", map[string]string{"infra/second.tf": secondFile})
	s.planned(hotfix, "prod")
	sha := s.merge(hotfix)
	s.checkIs(sha, "switchyard / apply (prod)", "action_required")
	s.said(hotfix, "was not applied in dev before", "was not applied in test before")
	digest := s.digest(hotfix, "prod")

	// The same content reaches dev: of what the yes is to, a part is no doubt any more.
	same := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
	s.planned(same, "dev")
	s.checkIs(s.merge(same), "switchyard / apply (dev)", "success")
	s.comment(story.Ana, hotfix, "/apply prod "+digest)
	s.checkIs(sha, "switchyard / apply (prod)", "success")
	if !strings.Contains(s.state("prod"), "second") {
		t.Error("it was not applied")
	}
	s.verified()
}

// GitHub may name the pull request of a commit only a moment after the merge.
func TestAPullRequestThatIsNamedLateIsReviewedAllTheSame(t *testing.T) {
	t.Parallel()
	for name, late := range map[string]int{"when its apply is prepared": 1, "before its apply asks for a yes": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t, nil)
			number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
			s.planned(number, "dev")
			before := s.Box.Calls()[asksForPulls]
			s.Box.Next(late, "GET /repos/{owner}/{repo}/commits/{commit_sha}/pulls").Nothing()
			sha := s.merge(number)
			s.checkIs(sha, "switchyard / apply (dev)", "success")
			s.said(number, "Applied to dev")
			if asked := s.Box.Calls()[asksForPulls] - before; asked != late+1 {
				t.Errorf("GitHub was asked %d times, want %d", asked, late+1)
			}
			for _, effect := range s.Box.Effects() {
				if strings.Contains(effect, "action_required") {
					t.Errorf("somebody was asked: %s", effect)
				}
			}
		})
	}
}
