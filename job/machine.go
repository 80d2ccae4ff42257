package job

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/switchyard-dev/switchyard/operation"
)

// Machine is what GitHub's runner says about the job to each of its steps.
// https://docs.github.com/en/actions/reference/workflows-and-actions/variables#default-environment-variables
type Machine struct {
	Repository operation.Repository
	Run        int64
	Attempt    int
	Event      string
	Ref        string // refs/heads/main
	SHA        string
	API, Web   string // addresses of GitHub
	GraphQL    string
	Token      string
	Workspace  string // absolute
	Temp       string // absolute
	Identity   Identity
}

// Identity is where a job with the permission `id-token: write` gets a token that says which job it is.
type Identity struct{ Address, Secret string }

// given reports whether the job can get one.
func (i Identity) given() bool { return i.Address != "" && i.Secret != "" }

// ReadMachine reads what a job needs to know about where it runs. The error names what is missing.
func ReadMachine(env Environ) (Machine, error) {
	repo, err := operation.ParseFullName(env.get("GITHUB_REPOSITORY"))
	if err != nil {
		return Machine{}, fmt.Errorf("GITHUB_REPOSITORY: %w; this command is for a job of GitHub Actions", err)
	}
	m := Machine{
		Repository: repo, Event: env.get("GITHUB_EVENT_NAME"), Ref: env.get("GITHUB_REF"), SHA: env.get("GITHUB_SHA"),
		API: env.get("GITHUB_API_URL"), Web: env.get("GITHUB_SERVER_URL"), GraphQL: env.get("GITHUB_GRAPHQL_URL"),
		Token: env.input(inputToken), Workspace: env.get("GITHUB_WORKSPACE"), Temp: env.get("RUNNER_TEMP"),
		Identity: Identity{Address: env.get("ACTIONS_ID_TOKEN_REQUEST_URL"), Secret: env.get("ACTIONS_ID_TOKEN_REQUEST_TOKEN")},
	}
	for _, number := range []struct {
		name string
		to   *int64
	}{{"GITHUB_REPOSITORY_ID", &m.Repository.ID}, {"GITHUB_RUN_ID", &m.Run}} {
		if *number.to, err = strconv.ParseInt(env.get(number.name), 10, 64); err != nil || *number.to <= 0 {
			return Machine{}, fmt.Errorf("%s is %q, not a number", number.name, env.get(number.name))
		}
	}
	if m.Attempt, err = strconv.Atoi(env.get("GITHUB_RUN_ATTEMPT")); err != nil {
		return Machine{}, fmt.Errorf("GITHUB_RUN_ATTEMPT is %q, not a number", env.get("GITHUB_RUN_ATTEMPT"))
	}
	switch {
	case m.Token == "":
		return Machine{}, errors.New("input github-token is empty: leave it out, or give it `${{ github.token }}`")
	case !filepath.IsAbs(m.Workspace), !filepath.IsAbs(m.Temp):
		return Machine{}, fmt.Errorf("GITHUB_WORKSPACE %q and RUNNER_TEMP %q must be absolute paths", m.Workspace, m.Temp)
	}
	return m, nil
}

// The variables of the job that Terraform and its providers may see, beside those whose names begin with one of passedPrefixes.
var passed = []string{
	"HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
	"GIT_SSL_CAINFO", "GIT_SSL_CAPATH",
	"TF_CLI_CONFIG_FILE", "TF_REGISTRY_DISCOVERY_RETRY", "TF_REGISTRY_CLIENT_TIMEOUT",
	"ACTIONS_ID_TOKEN_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_TOKEN", // by which azurerm proves which job it works for
	"AZURE_CONFIG_DIR", "AZURE_AUTHORITY_HOST", "MSI_ENDPOINT", "IDENTITY_ENDPOINT", "IDENTITY_HEADER",
}

// https://developer.hashicorp.com/terraform/cli/config/environment-variables and
// https://developer.hashicorp.com/terraform/cli/config/config-file#environment-variable-credentials
var passedPrefixes = []string{"ARM_", "TF_VAR_", "TF_TOKEN_"}

// The names of GitHub AT-AT for what the providers and the backend call otherwise.
var renamed = map[string]string{"TERRAFORM_ARM_CLIENT_ID": "ARM_CLIENT_ID"}

// identities are the inputs of the action that go before a variable of the job.
var identities = map[string]string{
	"client-id": "ARM_CLIENT_ID", "tenant-id": "ARM_TENANT_ID", "subscription-id": "ARM_SUBSCRIPTION_ID",
}

// backends are the settings of the azurerm backend, each with the input and the variable that have its value.
var backends = []struct{ setting, input, variable string }{
	{"resource_group_name", "backend-resource-group-name", "BACKEND_RESOURCE_GROUP_NAME"},
	{"storage_account_name", "backend-storage-account-name", "BACKEND_STORAGE_ACCOUNT_NAME"},
	{"container_name", "backend-container-name", "BACKEND_STORAGE_STATE_CONTAINER_NAME"},
}

// lasting are the variables of what proves an identity for months, whoever has read it once. A path of a file is no better.
// https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs#argument-reference
var lasting = []string{
	"ARM_CLIENT_SECRET", "ARM_CLIENT_SECRET_FILE_PATH", "ARM_CLIENT_CERTIFICATE", "ARM_CLIENT_CERTIFICATE_PATH",
}

// terraformEnv is what Terraform sees of the job's variables. all lists them as NAME=VALUE.
func terraformEnv(env Environ, all []string) (map[string]string, error) {
	seen := map[string]string{}
	for _, pair := range all {
		name, value, ok := strings.Cut(pair, "=")
		if !ok || value == "" {
			continue
		}
		if slices.Contains(passed, name) ||
			slices.ContainsFunc(passedPrefixes, func(prefix string) bool { return strings.HasPrefix(name, prefix) }) {
			seen[name] = value
		}
	}
	for name, as := range renamed {
		if value := env.get(name); value != "" && seen[as] == "" {
			seen[as] = value
		}
	}
	for input, as := range identities {
		if value := env.input(input); value != "" {
			seen[as] = value
		}
	}
	kept := ""
	for _, name := range lasting {
		if seen[name] != "" {
			kept = cmp.Or(kept, name)
		}
	}
	if kept != "" && env.input(inputClientKey) != "true" {
		return nil, errors.New(kept + " is set. A client secret is valid for months, and code of a plan can read it: let the job prove " +
			"itself by OIDC instead (`ARM_USE_OIDC`, `id-token: write`), or set the input `allow-client-secret: true`")
	}
	if seen["ACTIONS_ID_TOKEN_REQUEST_URL"] != "" && kept == "" && seen["ARM_CLIENT_ID"] != "" && seen["ARM_USE_OIDC"] == "" {
		seen["ARM_USE_OIDC"] = "true"
	}
	return seen, nil
}

// azurerm is the type of the backend that has these settings.
// https://developer.hashicorp.com/terraform/language/backend/azurerm
const azurerm = "azurerm"

// withBackend adds the backend settings that the job's variables give, where the configuration gives none: to roots whose backend is
// azurerm, as backendOf says of a root's directory. Others would refuse them.
func withBackend(env Environ, targets []operation.TargetTask, backendOf func(dir string) (string, error)) error {
	given := map[string]string{}
	for _, b := range backends {
		if value := cmp.Or(env.input(b.input), env.get(b.variable)); value != "" {
			given[b.setting] = value
		}
	}
	if len(given) == 0 {
		return nil
	}
	for i := range targets {
		kind, err := backendOf(targets[i].Dir)
		if err != nil {
			return fmt.Errorf("find the backend of root %s: %w", quote(targets[i].Dir), err)
		}
		if kind != azurerm {
			continue
		}
		settings := maps.Clone(given)
		maps.Copy(settings, targets[i].Backend) // what the configuration says goes before
		targets[i].Backend = settings
	}
	return nil
}
