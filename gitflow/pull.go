package gitflow

import (
	"slices"

	"github.com/switchyard-dev/switchyard/repoconfig"
)

// DecidePullRequest decides about a pull request: whether its pair of branches may merge, and whose plan it shows.
func DecidePullRequest(config repoconfig.Config, pull PullRequest, facts Facts) Decision {
	c := asked{config: config, pull: pull, facts: facts}
	environment, ok := config.EnvironmentOf(pull.To)
	c.environment = environment.Name
	if !ok {
		return c.unmapped()
	}
	return advise(config, c.decide())
}

// asked is a pull request that is being decided about.
type asked struct {
	config      repoconfig.Config
	pull        PullRequest
	facts       Facts
	environment string // that the base deploys to
}

// start begins a decision with its headline, a sentence without its capital and its full stop.
func (c asked) start(verdict Verdict, headline string) Decision {
	d := begin(verdict, show(c.pull.From)+" → "+show(c.pull.To), headline)
	d.Deploys = c.environment
	return d
}

// withPlan gives a decision the plan of the base's environment, unless code from a fork would run for it.
func (c asked) withPlan(d Decision) Decision {
	if c.pull.Fork && !c.pull.Lent {
		d.Reasons = append(d.Reasons, "No plan is made for a fork: its code would run with what a plan can read.")
		return d
	}
	return d.forEnvironment(c.environment, c.pull.To)
}

func (c asked) decide() Decision {
	may, ended := mayMerge(c.pull.From, c.pull.To), c.ended()
	switch {
	case c.pull.Fork:
		return c.fromFork(may)
	case c.pull.From == c.pull.To:
		d := c.start(Refused, "a branch cannot merge into itself")
		d.Reasons = append(d.Reasons, "Head and base are the same branch, so there is nothing to merge.")
		d.Remedy = "Change the base branch of this pull request."
		return d
	case may != "" && ended == "":
		return c.allow(may)
	case c.allowedByConfig():
		return c.withPlan(c.start(Allowed, repoconfig.Path+" allows this pair"))
	case may != "":
		return c.refuse(show(c.pull.To)+" has ended",
			"All its commits are in "+mainOf(c.config)+", and "+show(ended)+" is the open release.")
	case kindOf(c.pull.To) == other:
		return c.noRule()
	default:
		return c.refuseKind()
	}
}

func (c asked) allow(headline string) Decision {
	d := c.withPlan(c.start(Allowed, headline))
	from, to := kindOf(c.pull.From), kindOf(c.pull.To)
	if from == hotfixBranch && (to == mainBranch || to == supportBranch) {
		d.Hotfix = true
		d.Reasons = append(d.Reasons, "A hotfix goes before everything else that waits for "+c.environment+".")
	}
	switch {
	case to != mainBranch || !mapped(c.config, develop):
	case from == hotfixBranch:
		d.Later = append(d.Later, show(c.pull.To)+" must be merged back to develop: commits would be in "+c.environment+" but not in develop")
	default:
		d.Later = append(d.Later, show(c.pull.To)+" must be merged back to develop: fixes made on "+show(c.pull.From)+
			" would be missing in the next release")
	}
	if from == hotfixBranch && to == mainBranch {
		for _, open := range c.openReleases() {
			d.Later = append(d.Later, show(c.pull.From)+" must be merged to "+show(open)+
				" too: that release is open, and would be tested without these commits")
		}
	}
	if newer, ok := newest(c.pull.To, c.rivals()); ok && isRelease(to) {
		d.Later = append(d.Later, show(c.pull.To)+" is not applied to "+c.environment+" while "+show(newer)+" is open, because that is newer")
	}
	return d
}

// fromFork lets a fork bring work to develop and nowhere else: the name of a branch in a fork is its
// owner's choice, so it makes no release and no hotfix, and no additions by configuration are meant for it.
func (c asked) fromFork(may string) Decision {
	kind := kindOf(c.pull.From)
	if kindOf(c.pull.To) == developBranch && may != "" && (kind == topicBranch || kind == fixBranch) {
		return c.withPlan(c.start(Allowed, may))
	}
	if kindOf(c.pull.To) == developBranch {
		d := c.start(Refused, "this branch of a fork is neither a feature nor a fix branch")
		d.Reasons = append(d.Reasons, "A fork names its branches as it likes, so they count as work for develop and as nothing else.")
		d.Remedy = "Rename the branch in the fork, for example to feature/" + lastPart(c.pull.From) + ", and open the pull request from it."
		return d
	}
	d := c.start(Refused, "a branch of a fork may merge to develop only")
	d.Reasons = append(d.Reasons, "A fork names its branches as it likes, so they count as work for develop and as nothing else.")
	if mapped(c.config, develop) && (kind == topicBranch || kind == fixBranch) {
		d.Bases = []string{develop}
		d.Remedy = changeBase(d.Bases)
		return d
	}
	d.Remedy = "Push the branch to this repository, and open the pull request from there."
	return d
}

// noRule is about a base branch that deploys to an environment but is no GitFlow branch.
func (c asked) noRule() Decision {
	for _, allow := range c.config.Flow.Allow {
		if repoconfig.Match(allow.To, c.pull.To) {
			d := c.refuse("no rule allows this pair",
				show(c.pull.To)+" is not a GitFlow branch, and "+repoconfig.Path+" says which branches may merge to it.")
			return d
		}
	}
	d := c.withPlan(c.start(Neutral, "GitFlow has no rule for this base branch"))
	d.Reasons = append(d.Reasons, "To have a rule, "+
		"list the branches that may merge to "+show(c.pull.To)+" under flow.allow in "+repoconfig.Path+".")
	return d
}

func (c asked) refuse(headline, why string) Decision {
	d := c.start(Refused, headline)
	d.Reasons = append(d.Reasons, why)
	d.Bases = c.bases()
	if len(d.Bases) > 0 {
		d.Remedy = changeBase(d.Bases)
	} else {
		d.Remedy = "Allow this pair of branches under flow.allow in " + repoconfig.Path + "."
	}
	return d
}

// refuseKind refuses a pair of branches because of what GitFlow says about their kinds.
func (c asked) refuseKind() Decision {
	from := kindOf(c.pull.From)
	if from == other {
		d := c.refuse("no GitFlow branch has a name like "+show(c.pull.From), takes(c.pull.To, c.environment))
		d.Remedy = "Rename the branch, for example to feature/" + lastPart(c.pull.From) + ", or allow this pair under flow.allow in " +
			repoconfig.Path + "."
		return d
	}
	d := c.refuse(a(c.pull.From)+" may not merge to "+a(c.pull.To), takes(c.pull.To, c.environment))
	switch {
	case from == supportBranch:
		d.Remedy = "Copy the commits to a fix branch that begins at develop (git cherry-pick), and open a pull request from it."
	case from == developBranch && len(d.Bases) == 0 && mapped(c.config, release):
		d.Remedy = "Create a branch release/VERSION from develop, or merge develop to release if the repository has that branch, " +
			"and open a pull request from there."
	case from == developBranch && len(d.Bases) == 0:
		d.Remedy = "Create a branch release/VERSION from develop, and open a pull request from there."
	case from == fixBranch && kindOf(c.pull.To) == mainBranch:
		d.Reasons = append(d.Reasons, "What cannot wait for the next release is a hotfix: "+
			"name its branch hotfix/"+lastPart(c.pull.From)+" and begin it at "+
			show(c.pull.To)+".")
	}
	return d
}

// takes says what a base branch is for.
func takes(base, environment string) string {
	switch kindOf(base) {
	case mainBranch:
		return "What merges to " + base + " is applied to " + environment + ", so it takes release and hotfix branches only."
	case developBranch:
		return "develop takes feature, fix and similar branches, and the back-merges of releases and hotfixes."
	case releaseBranch:
		return "A release is only finished, so it takes fix, bugfix and hotfix branches only."
	case singleRelease:
		return "release takes develop, and then fix, bugfix and hotfix branches only."
	case supportBranch:
		return "A support branch takes fix, bugfix and hotfix branches only."
	default:
		return ""
	}
}

// mayMerge is GitFlow itself: the headline that allows a pair of branches, or "".
// https://nvie.com/posts/a-successful-git-branching-model/
func mayMerge(from, to string) string {
	merge, back := a(from)+" may merge to ", a(from)+" may be merged back to "
	f, t := kindOf(from), kindOf(to)
	switch {
	case t == developBranch && (f == topicBranch || f == fixBranch):
		return merge + to
	case t == developBranch && (f == mainBranch || f == hotfixBranch || isRelease(f)):
		return back + to
	case t == mainBranch && (f == hotfixBranch || isRelease(f)):
		return merge + to
	case isRelease(t) && f == fixBranch:
		return merge + "an open release"
	case isRelease(t) && f == hotfixBranch:
		return back + "an open release"
	case t == singleRelease && f == developBranch:
		return merge + "the release branch"
	case t == supportBranch && (f == fixBranch || f == hotfixBranch):
		return merge + "a support branch"
	default:
		return ""
	}
}

func isRelease(k kind) bool { return k == releaseBranch || k == singleRelease }

// allowedByConfig reports whether the repository added this pair.
func (c asked) allowedByConfig() bool {
	return slices.ContainsFunc(c.config.Flow.Allow, func(allow repoconfig.Allow) bool {
		return repoconfig.Match(allow.From, c.pull.From) && repoconfig.Match(allow.To, c.pull.To)
	})
}

// ended gives the open release that has taken the place of a base that is a release; "" if the base
// has not ended. A release that was just created has no commits of its own either, so only a newer
// open one shows that it has.
func (c asked) ended() string {
	if kindOf(c.pull.To) != releaseBranch || slices.Contains(c.facts.OpenReleases, c.pull.To) {
		return ""
	}
	if newer, ok := newest(c.pull.To, c.rivals()); ok {
		return newer
	}
	return ""
}

// rivals are the open releases that deploy to the environment of the base.
func (c asked) rivals() []string {
	return sameEnvironment(c.config, c.environment, c.facts.OpenReleases)
}

// openReleases are the open releases that deploy somewhere, oldest first.
func (c asked) openReleases() []string {
	open := slices.DeleteFunc(slices.Clone(c.facts.OpenReleases), func(branch string) bool {
		return kindOf(branch) != releaseBranch || !mapped(c.config, branch)
	})
	slices.SortFunc(open, compareReleases)
	return slices.Compact(open)
}

// bases are the base branches that would be right for this head: those that deploy somewhere.
func (c asked) bases() []string {
	candidates := []string{develop, mainOf(c.config)}
	if !mapped(c.config, anyRelease) {
		candidates = append(candidates, release) // otherwise nothing shows that the repository has it
	}
	candidates = append(candidates, c.openReleases()...)
	return slices.DeleteFunc(candidates, func(base string) bool {
		allowed := mayMerge(c.pull.From, base) != "" && base != c.pull.From && base != c.pull.To
		return !mapped(c.config, base) || !allowed
	})
}

// anyRelease stands for the branches release/*.
const anyRelease = releasePrefix + "1"

func mapped(config repoconfig.Config, branch string) bool {
	_, ok := config.EnvironmentOf(branch)
	return ok
}

// mainOf is the repository's main branch, as configuration shows it.
func mainOf(config repoconfig.Config) string {
	if !mapped(config, "main") && mapped(config, "master") {
		return "master"
	}
	return "main"
}

// unmapped is about a base branch that deploys to nothing.
func (c asked) unmapped() Decision {
	d := c.start(Neutral, "this base branch deploys to no environment")
	d.Reasons = append(d.Reasons, "There is nothing to plan for "+show(c.pull.To)+", and merging to it applies nothing.")
	if kindOf(c.pull.To) == supportBranch {
		if !c.pull.Fork && mayMerge(c.pull.From, c.pull.To) != "" {
			d.Reasons = append(d.Reasons, "GitFlow agrees with this pair: a support branch takes fix, bugfix and hotfix branches.")
		} else {
			d.Reasons = append(d.Reasons, "GitFlow does not agree with this pair: a support branch takes fix, bugfix and hotfix branches only.")
		}
	}
	if c.config.Default {
		d.Advice = true
		d.Reasons = append(d.Reasons, "To give it an environment, add "+repoconfig.Path+" to the default branch.")
	} else {
		d.Reasons = append(d.Reasons, "To give it an environment, add the branch under environments in "+repoconfig.Path+".")
	}
	return d
}

func changeBase(bases []string) string {
	return "Change the base branch of this pull request to " + showAll(bases) + "."
}

// lastPart is the name of a branch without the folders before it.
func lastPart(branch string) string {
	for i := len(branch) - 1; i > 0; i-- {
		if branch[i-1] == '/' {
			return show(branch[i:])
		}
	}
	return show(branch)
}
