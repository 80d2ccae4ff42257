package gitflow

import (
	"strings"

	"github.com/switchyard-dev/switchyard/repoconfig"
)

// DecidePush decides about a push: whether it is applied, to which environment, and whether a person
// must say yes first.
func DecidePush(config repoconfig.Config, push Push, facts Facts) Decision {
	silent := func(why string) Decision { return begin(Silent, show(push.Branch), why) }
	environment, ok := config.EnvironmentOf(push.Branch)
	switch {
	case push.Tag:
		return silent("tags deploy nothing")
	case strings.HasPrefix(push.Branch, queuePrefix):
		return silent("a branch of the merge queue deploys nothing")
	case !ok:
		return silent("this branch deploys to no environment")
	}
	var d Decision
	newer, rivalled := newest(push.Branch, sameEnvironment(config, environment.Name, facts.OpenReleases))
	switch {
	case push.Deleted:
		d = silent("the branch was deleted, so nothing is applied")
		d.Reasons = append(d.Reasons, "What it applied to "+environment.Name+" stays there.")
	case config.Default:
		d = silent("nothing is applied without " + repoconfig.Path)
		d.Advice = true
	case rivalled && isRelease(kindOf(push.Branch)):
		d = olderRelease(config, push.Branch, newer, environment.Name)
	default:
		d = applied(push, environment.Name)
	}
	d.Deploys = environment.Name
	return d
}

func applied(push Push, environment string) Decision {
	headline := "a push to this branch is applied"
	if push.Created {
		headline = "a new branch is applied like a push"
	}
	d := begin(Allowed, show(push.Branch), headline).forEnvironment(environment, push.Branch)
	d.Applies = true
	if kindOf(push.Branch) == hotfixBranch {
		d.Hotfix = true
		d.Reasons = append(d.Reasons, "A hotfix goes before everything else that waits for "+environment+".")
	}
	if push.Forced {
		d.Confirm = show(push.Branch) + " was force-pushed: commits that were applied to " + environment +
			" may be gone from it, and an apply would undo them."
	}
	return d
}

// olderRelease refuses one of two open releases by name: applied in turn, each would undo the other.
func olderRelease(config repoconfig.Config, branch, newer, environment string) Decision {
	d := begin(Refused, show(branch), "not applied to "+environment+" while "+show(newer)+" is open")
	d.Reasons = append(d.Reasons,
		"Both releases deploy to "+environment+", and applied in turn each would undo the other; "+show(newer)+" is the newer one.")
	d.Remedy = "Finish " + show(newer) + " (merge it to " + mainOf(config) + ", or delete it); then " + show(branch) + " is applied by itself."
	return d
}

// sameEnvironment keeps those branches that deploy to an environment.
func sameEnvironment(config repoconfig.Config, environment string, branches []string) []string {
	var same []string
	for _, branch := range branches {
		if found, ok := config.EnvironmentOf(branch); ok && found.Name == environment {
			same = append(same, branch)
		}
	}
	return same
}

// DecideMergeGroup decides about a group of the merge queue. Each of its pull requests was decided
// about on its own before it entered, so only the base counts here.
func DecideMergeGroup(config repoconfig.Config, group MergeGroup, _ Facts) Decision {
	base := strings.TrimPrefix(group.Base, "refs/heads/")
	subject := "merge queue → " + show(base)
	environment, ok := config.EnvironmentOf(base)
	if !ok {
		d := begin(Neutral, subject, "this base branch deploys to no environment")
		d.Advice = config.Default
		return d
	}
	d := begin(Allowed, subject, "each pull request was checked before it entered the queue").forEnvironment(environment.Name, base)
	d.Deploys = environment.Name
	return advise(config, d)
}
