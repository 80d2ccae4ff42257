package sandbox

import (
	"net/http"
	"slices"
	"time"
)

// Limits of an environment.
// https://docs.github.com/en/rest/deployments/environments#create-or-update-an-environment
// https://docs.github.com/en/actions/how-tos/deploy/configure-and-manage-deployments/configure-custom-protection-rules
const (
	maxReviewers = 6
	maxWait      = 43_200 // minutes
	maxRules     = 6
)

func listEnvironments(c *call) reply {
	s, r := c.sandbox, c.repository
	s.mu.Lock()
	defer s.mu.Unlock()
	return counted(c, "environments", r.actions.environments, func(e *environment) object { return s.environmentObject(r, e) })
}

// environment finds the one that the path names. The caller holds mu.
func (c *call) environment() *environment {
	return c.repository.environment(c.params["environment_name"])
}

func getEnvironment(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	e := c.environment()
	if e == nil {
		return notFound()
	}
	return reply{status: http.StatusOK, body: s.environmentObject(c.repository, e)}
}

type environmentRequest struct {
	Wait              int  `json:"wait_timer"`
	PreventSelfReview bool `json:"prevent_self_review"`
	Reviewers         []struct {
		Type string `json:"type"`
		ID   int64  `json:"id"`
	} `json:"reviewers"`
	Policy *struct {
		Protected bool `json:"protected_branches"`
		Custom    bool `json:"custom_branch_policies"`
	} `json:"deployment_branch_policy"`
}

// putEnvironment makes an environment or replaces its settings.
// https://docs.github.com/en/rest/deployments/environments#create-or-update-an-environment
func putEnvironment(c *call) reply {
	s, r := c.sandbox, c.repository
	asked, refused := decode[environmentRequest](c)
	switch {
	case refused != nil:
		return *refused
	case asked.Policy != nil && asked.Policy.Protected == asked.Policy.Custom:
		return problem(http.StatusUnprocessableEntity, "protected_branches and custom_branch_policies cannot have the same value.")
	case asked.Wait < 0 || asked.Wait > maxWait || len(asked.Reviewers) > maxReviewers:
		return problem(http.StatusUnprocessableEntity, "wait_timer is up to 43,200 minutes, and there are up to six reviewers.")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var reviewers []string
	for _, reviewer := range asked.Reviewers {
		name := s.reviewerByID(reviewer.Type, reviewer.ID)
		if name == "" {
			return problem(http.StatusUnprocessableEntity, "Failed to create the environment protection rule: a reviewer does not exist.")
		}
		reviewers = append(reviewers, name)
	}
	e := c.environment()
	if e == nil {
		e = r.addEnvironment(c.params["environment_name"])
	}
	e.wait, e.preventSelfReview, e.reviewers = time.Duration(asked.Wait)*time.Minute, asked.PreventSelfReview, reviewers
	e.protectedOnly, e.custom = asked.Policy != nil && asked.Policy.Protected, asked.Policy != nil && asked.Policy.Custom
	if !e.custom {
		e.policies = nil
	}
	e.updated = s.now()
	return reply{status: http.StatusOK, body: s.environmentObject(r, e), effect: e.name}
}

func (s *Sandbox) reviewerByID(kind string, id int64) string {
	if kind == "Team" {
		for _, t := range s.teams {
			if t.id == id {
				return t.org.login + "/" + t.slug
			}
		}
		return ""
	}
	for _, a := range s.accounts {
		if a.id == id {
			return a.login
		}
	}
	return ""
}

func policyObject(p branchPolicy) object {
	return object{"id": p.id, "node_id": nodeID("GBP", p.id), "name": p.name, "type": p.kind}
}

func listBranchPolicies(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	e := c.environment()
	if e == nil {
		return notFound()
	}
	return counted(c, "branch_policies", e.policies, policyObject)
}

// createBranchPolicy is 404 where the environment has no custom policies.
// https://docs.github.com/en/rest/deployments/branch-policies#create-a-deployment-branch-policy
func createBranchPolicy(c *call) reply {
	s := c.sandbox
	asked, refused := decode[struct {
		Name string `json:"name"`
		Type string `json:"type"`
	}](c)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := c.environment()
	switch {
	case e == nil || !e.custom:
		return notFound()
	case slices.ContainsFunc(e.policies, func(p branchPolicy) bool { return p.name == asked.Name }):
		return reply{status: http.StatusSeeOther}
	}
	p := branchPolicy{s.nextID(), asked.Name, "branch"}
	if asked.Type == "tag" {
		p.kind = "tag"
	}
	e.policies = append(e.policies, p)
	return reply{status: http.StatusOK, body: policyObject(p), effect: e.name + " " + p.name}
}

// https://docs.github.com/en/rest/deployments/protection-rules
func listRules(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	e := c.environment()
	if e == nil {
		return notFound()
	}
	return counted(c, "custom_deployment_protection_rules", e.gates, s.ruleObject)
}

func createRule(c *call) reply {
	s := c.sandbox
	asked, refused := decode[struct {
		App int64 `json:"integration_id"`
	}](c)
	if refused != nil {
		return *refused
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	e := c.environment()
	switch {
	case e == nil:
		return notFound()
	case asked.App != appID || s.installed(c.repository) == nil:
		return problem(http.StatusUnprocessableEntity, "The App is not installed on this repository.")
	case len(e.gates) > 0 || len(e.gates) >= maxRules:
		return problem(http.StatusUnprocessableEntity, "The rule is enabled already.")
	}
	e.gates = append(e.gates, s.nextID())
	return reply{status: http.StatusCreated, body: s.ruleObject(e.gates[0]), effect: e.name}
}

func listRuleApps(c *call) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.environment() == nil {
		return notFound()
	}
	var apps []int64
	if slices.Contains(s.events, "deployment_protection_rule") && s.installed(c.repository) != nil {
		apps = append(apps, appID)
	}
	return counted(c, "available_custom_deployment_protection_rule_integrations", apps, func(int64) object { return s.ruleApp() })
}
