package deploy

import (
	"testing"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/operation"
)

func TestOnlyThePlanOfThatVeryPullRequestIsTakenFromACheck(t *testing.T) {
	t.Parallel()
	repo := operation.Repository{ID: 5}
	pull := hub.Pull{Number: 41, HeadSHA: "head"}
	for name, c := range map[string]struct {
		change func(k *kept)
		check  string
		fits   bool
	}{
		"its own":                            {change: func(*kept) {}, fits: true},
		"of another version":                 {change: func(k *kept) { k.Version++ }},
		"with a result of another version":   {change: func(k *kept) { k.Plan.Result.Version++ }},
		"without a result":                   {change: func(k *kept) { k.Plan.Result = nil }},
		"an apply":                           {change: func(k *kept) { k.Plan.Kind = operation.Apply }},
		"a plan that failed":                 {change: func(k *kept) { k.Plan.State = operation.Failed }},
		"of another repository":              {change: func(k *kept) { k.Plan.Repository.ID++ }},
		"of another pull request":            {change: func(k *kept) { k.Plan.Pull++ }},
		"said to be of another pull request": {change: func(k *kept) { k.Pull.Number++ }},
		"of another commit":                  {change: func(k *kept) { k.Plan.Head = "older" }},
		"of another environment":             {change: func(k *kept) { k.Plan.Environment = "prod" }},
		"in the check of something else":     {change: func(*kept) {}, check: "switchyard / apply (dev)"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := kept{Version: keptVersion, Pull: pullFacts{Number: 41}, Plan: operation.Operation{
				Kind: operation.Plan, State: operation.Succeeded, Repository: repo, Pull: 41, Head: "head", Environment: "dev",
				Result: &operation.Result{Version: operation.ContractVersion},
			}}
			c.change(&k)
			check := "switchyard / plan (dev)"
			if c.check != "" {
				check = c.check
			}
			if err := k.unfit(repo, pull, check); (err == nil) != c.fits {
				t.Errorf("it says %v", err)
			}
		})
	}
}
