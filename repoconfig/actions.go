package repoconfig

import (
	"fmt"
	"regexp"
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
	for _, environment := range v.config.Environments {
		for i, label := range environment.RunsOn {
			where := fmt.Sprintf("environments.%s.runs_on[%d]", environment.Name, i)
			if _, listed := v.places[where]; !listed {
				where = fmt.Sprintf("environments.%s.runs_on", environment.Name)
			}
			switch {
			case label == "": // said where it was decoded
			case strings.ContainsFunc(label, invisible) || strings.TrimSpace(label) != label || strings.Contains(label, "${{"):
				v.problemf(v.at(where), "`%s` is %s, which is no label of a runner. Write it as the list of runners shows it.",
					show(where), quote(label))
			}
		}
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
