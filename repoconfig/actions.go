package repoconfig

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// workflowForm is the name of a file that GitHub reads workflows from.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax
var workflowForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*\.ya?ml$`)

// actions checks what is said about workflows.
func (v *validator) actions() {
	if name := v.file.Actions.Workflow; name != "" && !workflowForm.MatchString(name) {
		v.problemf(v.at("actions.workflow"), "`actions.workflow` is %s. Write only the name of the file in .github/workflows, "+
			"for example `workflow: switchyard.yml`.", quote(name))
	}
	switch branch := v.file.Actions.Plans; {
	case branch != "" && v.pattern("actions.plans", branch):
		v.plansBranch(branch, v.at("actions.plans"))
	case branch == "" && v.file.Executor == ExecutorActions:
		v.plansBranch(defaultPlans, v.at("executor"))
	}
	for i := range v.config.Environments {
		v.machines(&v.config.Environments[i])
	}
}

// machines reads the labels of an environment's runners: the same for all of its regions, or some for each.
func (v *validator) machines(environment *Environment) {
	where := "environments." + environment.Name + ".runs_on"
	given, named := v.file.Environments[environment.Name].RunsOn, v.order[where]
	if len(named) == 0 {
		if given != nil && len(given) == 0 {
			v.problemf(v.at(where), "`%s` is an empty mapping. Example: `runs_on: [self-hosted]`.", show(where))
		}
		environment.RunsOn = given[everyRegion]
		v.labels(where, environment.RunsOn)
		return
	}
	if len(environment.Regions) == 0 {
		v.problemf(v.at(where), "`%s` names regions, but environment %s has no `regions`. Add `regions: [%s]`, or write one list of labels.",
			show(where), quote(environment.Name), chained(named, ", "))
		return
	}
	environment.RunsOnIn = make(map[string][]string, len(named))
	for _, region := range named {
		if !slices.Contains(environment.Regions, region) {
			v.problemf(v.at(where+"."+region), "%s in `%s` is none of its `regions`: %s.%s",
				quote(region), show(where), chained(environment.Regions, ", "), meantName(region, environment.Regions))
		}
		environment.RunsOnIn[region] = given[region]
		v.labels(where+"."+region, given[region])
	}
	for _, region := range environment.Regions {
		if _, known := given[region]; !known && region != "" {
			v.problemf(v.at(where), "`%s` has no labels for the region %s. Give each of `regions` some, or write one list for all of them.",
				show(where), quote(region))
		}
	}
}

// labels checks the labels of runners at one place.
func (v *validator) labels(at string, labels []string) {
	for i, label := range labels {
		where := fmt.Sprintf("%s[%d]", at, i)
		if _, listed := v.places[where]; !listed {
			where = at
		}
		if label == "" {
			continue // said where it was decoded
		}
		if strings.ContainsFunc(label, invisible) || strings.TrimSpace(label) != label || strings.Contains(label, "${{") {
			v.problemf(v.at(where), "`%s` is %s, which is no label of a runner. Write it as the list of runners shows it.",
				show(where), quote(label))
		}
	}
}

// region checks the region of a root against those of the environments.
func (v *validator) region(where, region string) {
	some := false
	for _, environment := range v.config.Environments {
		if len(environment.Regions) == 0 {
			continue
		}
		some = true
		if !slices.Contains(environment.Regions, region) {
			v.problemf(v.at(where), "`%s` is %s, which is none of the regions of environment %s: %s.%s",
				where, quote(region), quote(environment.Name), chained(environment.Regions, ", "), meantName(region, environment.Regions))
			return
		}
	}
	if !some {
		v.problemf(v.at(where), "`%s` is %s, but no environment has `regions`. List them there, for example `regions: [westeurope]`, "+
			"or remove it.", where, quote(region))
	}
}

// plansBranch refuses a branch that would give the code of pull requests what only merged code may have.
func (v *validator) plansBranch(branch string, at place) {
	if strings.Contains(branch, "*") {
		v.problemf(at, "`actions.plans` is %s. It is one branch: it takes no wildcards.", quote(branch))
		return
	}
	if environment, taken := v.config.EnvironmentOf(branch); taken {
		v.problemf(at, "`actions.plans` is %s, a branch that deploys to %s. Code of pull requests runs there, and could use what that "+
			"branch may use. Name another branch with `actions: { plans: BRANCH }`.", quote(branch), quote(environment.Name))
	}
}
