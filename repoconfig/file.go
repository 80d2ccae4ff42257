package repoconfig

// The types below are the shape of the file. Their doc comments are the descriptions in the JSON
// Schema and in the reference, and their tags are the limits that Parse enforces: what people read
// and what is checked come from here alone.

// File is the whole configuration of a repository, `.github/switchyard.yml` on its default branch.
type File struct {
	// Version is the version of this format. It is always 1.
	Version int `json:"version" jsonschema:"required,enum=1"`
	// Application is what stands where `{application}` is written in `backend` and `var_files`:
	// letters, digits, dots, dashes and underscores.
	// It must be given where `{application}` is used. The repository's name does not stand in for it,
	// because renaming the repository would then point Terraform to another, empty state.
	Application string `json:"application" jsonschema:"pattern=^[A-Za-z0-9][A-Za-z0-9._-]*$,maxLength=100,example=network"`
	// Environments are the places that branches deploy to, by name.
	// Deployments are shown on the GitHub Environment of the same name.
	Environments map[string]EnvironmentFile `json:"environments" jsonschema:"required"`
	// Roots are the Terraform root modules, in the order in which they are applied.
	Roots []RootFile `json:"roots" jsonschema:"required,minItems=1,maxItems=200"`
	// Flow adds to the GitFlow rules.
	Flow FlowFile `json:"flow"`
	// Risk says which changes are dangerous here, and which of them wait for a second person.
	Risk RiskFile `json:"risk"`
	// Mask lists regular expressions (RE2). What they match is replaced by `***` wherever Switchyard writes output of Terraform:
	// secrets that Terraform does not know to be sensitive. None of them may match where there is no text.
	Mask []string `json:"mask" jsonschema:"maxItems=20,minLength=1,maxLength=200,example=AccountKey=[A-Za-z0-9+/=]{20\\,}"`
	// MachineAuthors lists e-mail addresses in commits, as authors or in `Co-authored-by` lines, that are no person's: those of coding
	// assistants, for example. They need no account at GitHub. Without this, approvals of a pull request with such an address do not count,
	// because anybody may be who it stands for. Whoever commits under one of these is not counted as an author.
	MachineAuthors []string `json:"machine_authors" jsonschema:"maxItems=50,minLength=3,maxLength=254,pattern=^[^@\\s<>]+@[^@\\s<>]+$,example=noreply@assistant.example"` //nolint:lll // one tag
	// Executor is where Terraform runs: with `local` on the host of the Switchyard server, with `actions` in a workflow of this
	// repository. Without it, whoever runs the server decides; one that it does not allow is refused.
	Executor string `json:"executor" jsonschema:"enum=local,enum=actions"`
	// Actions says how workflows run Terraform, where `executor` is `actions`.
	Actions ActionsFile `json:"actions"`
	// Modules lists private repositories of the same owner, as `owner/name`, that modules are fetched from. With `executor: actions`,
	// jobs get a token from Switchyard that reads these and nothing else, where they can reach its server.
	Modules []string `json:"modules" jsonschema:"maxItems=100,minLength=3,maxLength=140,example=acme/terraform-azurerm-stamp"`
	// Terraform says which program plans and applies.
	Terraform TerraformFile `json:"terraform"`
	// Commands asks for more than the default of people who give a slash command.
	// A key is the command's name without the slash.
	Commands map[string]CommandFile `json:"commands"`
}

// EnvironmentFile is one environment.
type EnvironmentFile struct {
	// Branch is the branch that deploys to this environment, or a list of branches.
	// `*` stands for any characters but a slash, `**` for any characters. No branch may belong to two environments.
	Branch Patterns `json:"branch" jsonschema:"required,minItems=1,maxItems=20,minLength=1,maxLength=100,example=release/*"`
	// After lists the environments to which the same content must have been applied successfully before: a gate for promotion.
	// An apply that is ahead of one of them waits for a yes.
	After []string `json:"after" jsonschema:"maxItems=10,minLength=1,maxLength=63,example=test"`
	// Approvals is how many people must have approved a change before it is applied without a question: people who did not write it,
	// who have write permission, and whose latest review is of its newest commit.
	Approvals int `json:"approvals" jsonschema:"minimum=0,maximum=6,default=0"`
	// Binding is how closely an apply keeps to what was reviewed. With `strict` every change that nobody reviewed needs a yes.
	// With `no-new-risk` only those that carry a risk do, and the others are recorded with their cause.
	// Without it, it is `strict` where `approvals` is more than 0, and `no-new-risk` elsewhere.
	Binding string `json:"binding" jsonschema:"enum=strict,enum=no-new-risk"`
	// Regions are the regions that this environment runs in, by the names that stand in addresses and values, e.g. `westeurope`.
	// Plans of copies that differ in nothing but the region are shown once.
	Regions []string `json:"regions" jsonschema:"maxItems=20,minLength=1,maxLength=63,example=westeurope"`
	// RunsOn lists the labels of the runners that plan and apply this environment with `executor: actions`, or is the one label.
	// A runner must have all of them. It can also give each of `regions` labels of its own, by name: a root is then planned
	// in its `region`. An apply is one job: in the region of its roots where that is the same for all, else in the first of `regions`.
	RunsOn Machines `json:"runs_on" jsonschema:"minItems=1,maxItems=20,minLength=1,maxLength=256,default=ubuntu-latest,example=self-hosted"`
}

// ActionsFile says how workflows run Terraform.
type ActionsFile struct {
	// Workflow is the name of the workflow file in `.github/workflows`. It must be on the default branch, on the branch of each
	// environment, and on the branch `plans`.
	Workflow string `json:"workflow" jsonschema:"minLength=1,maxLength=100,default=switchyard.yml"`
	// Plans is the branch on which plans of pull requests run. Nobody who may not change the default branch should be able to push to it.
	Plans string `json:"plans" jsonschema:"minLength=1,maxLength=100,default=switchyard/plans"`
}

// RootFile is one Terraform root module.
type RootFile struct {
	// Dir is the directory of the root module, from the top of the repository, with forward slashes.
	// `.` is the top itself.
	Dir string `json:"dir" jsonschema:"required,minLength=1,maxLength=255,example=src/terraform"`
	// VarFiles are files of variables, relative to `dir`, given to Terraform in this order.
	// One that does not exist is left out. `{environment}` and `{application}` are replaced.
	VarFiles []string `json:"var_files" jsonschema:"maxItems=50,minLength=1,maxLength=255,example=env/{environment}.tfvars"`
	// Backend holds the settings for `terraform init -backend-config`, by name.
	// `{environment}` and `{application}` are replaced. It holds no secrets.
	Backend map[string]Setting `json:"backend" jsonschema:"maxLength=1000,example={application}-{environment}"`
	// Region is the one of `regions` that this root is for: its plans run on the runners of that region, where `runs_on` names some for
	// each. A root without it has the first of `regions`.
	Region string `json:"region" jsonschema:"minLength=1,maxLength=63,example=westeurope"`
}

// FlowFile adds to the GitFlow rules.
type FlowFile struct {
	// Allow lists pairs of branches that may be merged although GitFlow does not say so.
	Allow []AllowFile `json:"allow" jsonschema:"maxItems=100"`
}

// AllowFile is one pair of branches that may be merged. Branches of forks are not meant by it.
type AllowFile struct {
	// From is the branch that is merged, or a pattern of such branches.
	From string `json:"from" jsonschema:"required,minLength=1,maxLength=100,example=release-please--**"`
	// To is the branch that it is merged into, or a pattern of such branches.
	To string `json:"to" jsonschema:"required,minLength=1,maxLength=100,example=develop"`
}

// RiskFile says which changes are dangerous.
type RiskFile struct {
	// Block lists the risks that make an apply wait until a second person approves each such change with `/approve-replace ADDRESS`.
	Block []string `json:"block" jsonschema:"maxItems=8,enum=destroy-stateful,enum=replace-stateful,enum=destroy,enum=replace,enum=unprotected,enum=access,enum=public-access,enum=forget,example=replace-stateful"` //nolint:lll // one tag
	// Stateful adds types of resources that hold data, or that others depend on by name, to those that Switchyard knows.
	Stateful []string `json:"stateful" jsonschema:"maxItems=200,minLength=1,maxLength=100,pattern=^[a-z][a-z0-9_]*$,example=azurerm_search_service"` //nolint:lll // one tag
}

// TerraformFile says which program plans and applies.
type TerraformFile struct {
	// Binary is the program, Terraform or OpenTofu.
	Binary string `json:"binary" jsonschema:"enum=terraform,enum=tofu,default=terraform"`
	// Version is the exact version of the program. Without it, the version that is installed is used.
	Version string `json:"version" jsonschema:"pattern=^[0-9]+\\.[0-9]+\\.[0-9]+(-[0-9A-Za-z.-]+)?$,maxLength=50,example=1.11.4"`
}

// CommandFile asks for more than the default of people who give this command.
type CommandFile struct {
	// Permission is the least permission on the repository. It can be higher than the command's default, never lower.
	Permission string `json:"permission" jsonschema:"enum=read,enum=triage,enum=write,enum=maintain,enum=admin"`
	// Teams are slugs of teams of the organisation.
	// The person must be in one of them, and have the permission as well.
	Teams []string `json:"teams" jsonschema:"minItems=1,maxItems=50,minLength=1,maxLength=100,example=sre"`
	// Confirm is how many other people have to confirm the command, for `break-lease` and `unlock`. Without it, it is 1 for environments
	// with `approvals`, and 0 for others. Where it is not known whether somebody still works, another person always has to confirm.
	Confirm *int `json:"confirm" jsonschema:"minimum=0,maximum=1"`
	// Reason says whether the command is refused without a reason, for `break-lease`.
	Reason bool `json:"reason"`
}

// Patterns is one branch pattern or a list of them.
type Patterns []string

// Labels is one label of a runner or a list of them.
type Labels []string

// Machines are labels of runners by region, or those of all regions, by everyRegion.
type Machines map[string]Labels

// everyRegion stands in Machines where the file names no regions.
const everyRegion = ""

// Setting is text, a number, true or false; it reaches Terraform as it is written.
type Setting string

// later says, for keys that are known but not in effect in this version, what they will be for.
// A key is accepted only once it does something, so that nobody relies on a gate that is not there.
func later(path string) string {
	switch path {
	case "environments.*.hold":
		return "whether an apply holds the whole environment or one root; today it holds the environment"
	case "environments.*.drift":
		return "when to look for drift"
	case "environments.*.failover":
		return "the runbook of a failover"
	default:
		return ""
	}
}
