package operation

// JobIdentity is what GitHub says, in a token that it has signed, about the job of a workflow that asks for something.
// https://docs.github.com/en/actions/reference/security/oidc#oidc-token-claims
type JobIdentity struct {
	RepositoryID int64
	Run          int64
	Attempt      int    // of the run
	WorkflowRef  string // acme/network/.github/workflows/switchyard.yml@refs/heads/main, of the workflow that was started
	Environment  string // GitHub Environment of the job; empty: none
	Ref          string // refs/heads/main
	SHA          string // tip of Ref when the run was made
	Event        string
}

// PlanEnvironment ends the name of the GitHub Environment of an environment's plans: prod-plan.
const PlanEnvironment = "-plan"
