// Package repoconfig reads a repository's `.github/switchyard.yml`: which branch deploys to which
// environment, which Terraform roots there are, and what the repository asks for beyond the defaults.
// deploy, gitflow, commands and render use the result. It touches no disk and no network, and it
// never fills a gap with a guess: what it does not understand is an error with its place and its fix.
package repoconfig

import (
	"regexp"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Path is where a repository's configuration lies. It is read from the default branch only.
const Path = ".github/switchyard.yml"

// The executors that configuration can name.
const (
	ExecutorLocal   = "local"   // Terraform runs on the server's host
	ExecutorActions = "actions" // Terraform runs in a workflow of the repository
)

// The workflow file and the branch of plans where a file names none.
const (
	defaultWorkflow = "switchyard.yml"
	defaultPlans    = "switchyard/plans"
)

// The Terraform programs that configuration can name.
const (
	BinaryTerraform = "terraform"
	BinaryTofu      = "tofu"
)

// Config is a repository's configuration after validation: every value in it can be relied on.
type Config struct {
	Version        int
	Application    string        // "" when the file does not give it; then no setting uses {application}
	Environments   []Environment // in file order
	Roots          []Root        // in file order, which is the order of applies
	Flow           Flow
	Risk           Risk
	Mask           []string // regular expressions; MaskPatterns compiles them
	MachineAuthors []string // e-mail addresses in commits that are no person's; see People
	Executor       string   // ExecutorLocal, ExecutorActions, or "": as the server has it
	Actions        Actions
	Modules        []string // owner/name of private repositories that modules are fetched from
	Terraform      Terraform
	Commands       map[string]Command // by command name: what it asks for beyond the default
	Default        bool               // there is no file: advice only, nothing is applied
}

// Environment is a name, the branches that deploy to it, and what a change needs to get there.
type Environment struct {
	Name      string
	Branches  []string          // patterns for Match
	After     []string          // names of environments to which the same content must have been applied before
	Approvals int               // people, other than the authors, who must have approved a change
	Binding   operation.Binding // never empty
	Regions   []string          // names as they stand in addresses and values, in file order
	RunsOn    []string          // labels of the runners of workflows; empty: ubuntu-latest, or see RunsOnIn

	// RunsOnIn are the labels of the runners of each of Regions, where they differ; else nil.
	RunsOnIn map[string][]string
}

// Actions says how workflows run Terraform.
type Actions struct {
	Workflow string // file in .github/workflows
	Plans    string // branch on which plans run
}

// Risk is what the repository says about dangerous changes.
type Risk struct {
	Block    []operation.RiskRule // changes with these risks wait for a second person
	Stateful []string             // types of resources that hold data, beyond those that are known
}

// Blocks reports whether a change with this risk waits for a second person.
func (r Risk) Blocks(rule operation.RiskRule) bool { return slices.Contains(r.Block, rule) }

// Root is a Terraform root module with its inputs for each environment.
type Root struct {
	Dir      string            // slash-separated, clean, inside the repository
	VarFiles []string          // relative to Dir, with {environment}; {application} is filled in already
	Backend  map[string]string // with {environment} and {application}
	Region   string            // one of the regions of each environment that has some; "" where it is for no certain one
}

// Flow is what the repository adds to GitFlow's rules.
type Flow struct {
	Allow []Allow
}

// Allow is one pair of branch patterns that may merge although GitFlow's rules do not say so.
type Allow struct {
	From, To string // patterns for Match
}

// Terraform says which program plans and applies.
type Terraform struct {
	Binary  string // BinaryTerraform or BinaryTofu
	Version string // exact; "" accepts what is installed
}

// Command is what the repository asks for, beyond the default, of a person who gives a command.
type Command struct {
	Permission string   // read, triage, write, maintain or admin; "" leaves the default
	Teams      []string // slugs; the person must be in one of them; empty asks for none
	Confirm    *int     // how many other people have to confirm it, 0 or 1; nil leaves the default
	Reason     bool     // it needs a reason
}

// Default is the configuration of a repository without a file: the mapping that GitHub AT-AT sets up.
// It serves for advice; nothing is applied with it.
func Default() Config {
	return Config{
		Version: currentVersion,
		Environments: []Environment{
			{Name: "dev", Branches: []string{"develop"}, Binding: operation.BindNoNewRisk},
			{Name: "test", Branches: []string{"release", "release/*"}, Binding: operation.BindNoNewRisk},
			{Name: "prod", Branches: []string{"main"}, Binding: operation.BindNoNewRisk},
		},
		Roots:     []Root{{Dir: "src/terraform", VarFiles: []string{"env/{environment}.tfvars"}}},
		Actions:   Actions{Workflow: defaultWorkflow, Plans: defaultPlans},
		Terraform: Terraform{Binary: BinaryTerraform},
		Default:   true,
	}
}

// EnvironmentOf finds the environment that a branch deploys to.
func (c Config) EnvironmentOf(branch string) (Environment, bool) {
	for _, environment := range c.Environments {
		if environment.Takes(branch) {
			return environment, true
		}
	}
	return Environment{}, false
}

// Environment finds an environment by its name.
func (c Config) Environment(name string) (Environment, bool) {
	for _, environment := range c.Environments {
		if environment.Name == name {
			return environment, true
		}
	}
	return Environment{}, false
}

// EnvironmentNames lists the names of the environments in file order.
func (c Config) EnvironmentNames() []string {
	names := make([]string, 0, len(c.Environments))
	for _, environment := range c.Environments {
		names = append(names, environment.Name)
	}
	return names
}

// Root finds a root by its directory.
func (c Config) Root(dir string) (Root, bool) {
	for _, root := range c.Roots {
		if root.Dir == dir {
			return root, true
		}
	}
	return Root{}, false
}

// People are the addresses, of some in commits that GitHub knows no account for, that may be of people.
func (c Config) People(addresses []string) []string {
	return slices.DeleteFunc(slices.Clone(addresses), func(address string) bool {
		return slices.ContainsFunc(c.MachineAuthors, func(machine string) bool { return strings.EqualFold(machine, address) })
	})
}

// MaskPatterns compiles Mask. Each call does so anew: keep the result for the texts of one operation.
func (c Config) MaskPatterns() []*regexp.Regexp {
	patterns := make([]*regexp.Regexp, 0, len(c.Mask))
	for _, text := range c.Mask {
		if pattern, err := regexp.Compile(text); err == nil { // Parse refused all others
			patterns = append(patterns, pattern)
		}
	}
	return patterns
}

// Permission is the least permission that a command needs in this repository: the product's own,
// or the higher one that configuration asks for. It is "" for a word that is no command.
func (c Config) Permission(command string) string {
	for _, word := range operation.CommandWords() {
		if word.Name != command {
			continue
		}
		asked := c.Commands[command].Permission
		if operation.PermissionRank(asked) > operation.PermissionRank(word.Permission) {
			return asked
		}
		return word.Permission
	}
	return ""
}

// Takes reports whether a branch deploys to this environment.
func (e Environment) Takes(branch string) bool {
	for _, pattern := range e.Branches {
		if Match(pattern, branch) {
			return true
		}
	}
	return false
}

// VarFilesFor is the root's var files for one environment, relative to its directory.
func (r Root) VarFilesFor(environment string) []string {
	files := make([]string, 0, len(r.VarFiles))
	for _, file := range r.VarFiles {
		files = append(files, strings.ReplaceAll(file, placeholderEnvironment, environment))
	}
	return files
}

// BackendFor is the root's backend settings for one environment of an application.
func (r Root) BackendFor(application, environment string) map[string]string {
	settings := make(map[string]string, len(r.Backend))
	for key, value := range r.Backend {
		settings[key] = fill(value, application, environment)
	}
	return settings
}

// fill puts values in the places of the placeholders, once: a value is never looked at again.
func fill(text, application, environment string) string {
	return strings.NewReplacer(placeholderApplication, application, placeholderEnvironment, environment).Replace(text)
}
