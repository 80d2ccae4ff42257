package runner_test

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
	"github.com/switchyard-dev/switchyard/runner"
)

// azureBase is what every configuration of azurerm resources has.
const azureBase = `terraform {
  backend "local" {}
  required_providers {
    azurerm = {
      source  = "hashicorp/azurerm"
      version = ">= 4.0.0"
    }
  }
}
provider "azurerm" {
  features {}
}
variable "environment_name" {}
resource "azurerm_resource_group" "main" {
  for_each = toset(["westeurope", "southeastasia"])
  name     = "rg-network-${var.environment_name}-${each.key}"
  location = each.key
  tags     = { environment = var.environment_name }
}
data "azurerm_client_config" "current" {}
`

// azurePart is something that a pull request adds to azureBase.
type azurePart struct {
	name  string
	text  string
	asked []string // what follows who plans, and so is asked about although it was reviewed
}

// azureParts are things that repositories have, with what makes their plans differ: identities, times, paths, unknown values.
// https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs
func azureParts() []azurePart {
	return []azurePart{
		{name: "a storage account in each region", text: `resource "azurerm_storage_account" "main" {
  for_each                 = azurerm_resource_group.main
  name                     = "stnetwork${substr(each.key, 0, 5)}"
  resource_group_name      = each.value.name
  location                 = each.value.location
  account_tier             = "Standard"
  account_replication_type = "ZRS"
  tags                     = { code = path.cwd }
}
`},
		{name: "a key vault of the tenant", text: `resource "azurerm_key_vault" "main" {
  for_each                 = azurerm_resource_group.main
  name                     = "kv-net-${substr(each.key, 0, 5)}"
  resource_group_name      = each.value.name
  location                 = each.value.location
  tenant_id                = data.azurerm_client_config.current.tenant_id
  sku_name                 = "standard"
  purge_protection_enabled = true
}
output "vaults" {
  value = { for region, vault in azurerm_key_vault.main : region => vault.vault_uri }
}
`},
		{name: "a role for an identity that is made", text: `resource "azurerm_user_assigned_identity" "main" {
  name                = "id-network"
  resource_group_name = azurerm_resource_group.main["westeurope"].name
  location            = "westeurope"
}
resource "azurerm_role_assignment" "identity" {
  scope                = azurerm_resource_group.main["westeurope"].id
  role_definition_name = "Reader"
  principal_id         = azurerm_user_assigned_identity.main.principal_id
}
`},
		{
			name: "a role for who plans", text: `resource "azurerm_role_assignment" "planner" {
  scope                = azurerm_resource_group.main["westeurope"].id
  role_definition_name = "Key Vault Administrator"
  principal_id         = data.azurerm_client_config.current.object_id
}
`,
			asked: []string{"create azurerm_role_assignment.planner: identity data.azurerm_client_config.current"},
		},
		{name: "a service plan", text: `resource "azurerm_service_plan" "main" {
  for_each            = azurerm_resource_group.main
  name                = "asp-network-${each.key}"
  resource_group_name = each.value.name
  location            = each.value.location
  os_type             = "Linux"
  sku_name            = "P1v3"
}
`},
		{name: "a network with the time of the apply in its tags", text: `resource "azurerm_virtual_network" "main" {
  name                = "vnet-network"
  resource_group_name = azurerm_resource_group.main["westeurope"].name
  location            = "westeurope"
  address_space       = ["10.0.0.0/16", "10.1.0.0/16"]
  tags                = { applied = timestamp() }
}
resource "azurerm_subnet" "main" {
  count                = 2
  name                 = "snet-${count.index}"
  resource_group_name  = azurerm_resource_group.main["westeurope"].name
  virtual_network_name = azurerm_virtual_network.main.name
  address_prefixes     = [cidrsubnet("10.0.0.0/16", 8, count.index)]
}
`},
	}
}

// azureMirror is the directory that SWITCHYARD_TEST_PROVIDER_MIRROR names, where azurerm is in it.
func azureMirror(t *testing.T) string {
	t.Helper()
	mirror := os.Getenv("SWITCHYARD_TEST_PROVIDER_MIRROR")
	if mirror == "" {
		t.Skip("NO AZURERM RESOURCE IS PLANNED: set SWITCHYARD_TEST_PROVIDER_MIRROR to a directory that `terraform providers mirror` " +
			"has made of a configuration that requires hashicorp/azurerm 4 or later")
	}
	provider := filepath.Join(mirror, "registry.terraform.io", "hashicorp", "azurerm")
	if _, err := os.Stat(provider); err != nil {
		t.Fatalf("SWITCHYARD_TEST_PROVIDER_MIRROR has no azurerm provider: %v", err)
	}
	return mirror
}

// TestReviewedChangesOfAzureAreNotAskedAbout is TestReviewedChangesAreNotAskedAbout with the provider azurerm: two pull requests are
// planned, and planned anew for the apply that carries both, by another identity, in another directory, at another time.
//
// Nothing is applied, and no cloud is needed: to plan what is not there yet, azurerm asks Azure only for a token, which a stand-in for
// the identity service of a virtual machine gives. The configurations keep to what is documented of azurerm 4; where no machine of the
// project reaches a provider registry, this test is skipped, and says so.
func TestReviewedChangesOfAzureAreNotAskedAbout(t *testing.T) {
	t.Parallel()
	mirror := azureMirror(t)
	parts := azureParts()
	for i, first := range parts {
		second := parts[(i+1)%len(parts)]
		t.Run(first.name+" and "+second.name, func(t *testing.T) {
			t.Parallel()
			a := newAzure(t, mirror)
			one, other := a.do(operation.Plan, first.text, operation.TargetTask{}), a.do(operation.Plan, second.text, operation.TargetTask{})
			expected := plan.Expected([]plan.Review{{Pull: 1, Set: one.ChangeSet}, {Pull: 2, Set: other.ChangeSet}})
			target := a.do(operation.Apply, first.text+second.text, operation.TargetTask{Expected: &expected, Data: other.Data})
			if len(target.ChangeSet.Changes) < 4 { // two resource groups, and something of each
				t.Errorf("only %d changes are planned", len(target.ChangeSet.Changes))
			}
			if diff := cmp.Diff(append(first.asked, second.asked...), causes(target.Unexpected)); diff != "" {
				t.Errorf("asked about (-want +got):\n%s", diff)
			}
			t.Logf("%d changes, %d asked about", len(target.ChangeSet.Changes), len(target.Unexpected))
		})
	}
}

// azure is a world in which azurerm can plan.
type azure struct {
	*world
	mirror, endpoint string
	operations       int
}

func newAzure(t *testing.T, mirror string) *azure {
	t.Helper()
	return &azure{world: newWorld(t), mirror: mirror, endpoint: identityService(t)}
}

// do plans a configuration, or plans it for an apply that is stopped by a doubt that nobody has said yes to. known has what is known of reviews.
func (a *azure) do(kind operation.Kind, text string, known operation.TargetTask) operation.TargetResult {
	a.t.Helper()
	a.operations++
	task := a.task(kind, a.tree(map[string]string{"a/main.tf": azureBase + text}), "a")
	task.WorkDir = filepath.Join(a.states, "work", fmt.Sprintf("%s-%d", kind, a.operations))
	task.Commit = fmt.Sprintf("%040x", a.operations)
	client := "00000000-0000-4000-8000-00000000000" + map[operation.Kind]string{operation.Plan: "1", operation.Apply: "2"}[kind]
	task.Env = map[string]string{
		"TF_CLI_CONFIG_FILE":  mirrorConfig(a.t, a.mirror),
		"ARM_USE_MSI":         "true",
		"ARM_MSI_ENDPOINT":    a.endpoint,
		"ARM_USE_CLI":         "false",
		"ARM_CLIENT_ID":       client,
		"ARM_TENANT_ID":       azureTenant,
		"ARM_SUBSCRIPTION_ID": "00000000-0000-4000-8000-0000000000aa",
		// Without these azurerm lists what Azure offers, and registers it, when it starts.
		// https://registry.terraform.io/providers/hashicorp/azurerm/latest/docs#resource_provider_registrations-1
		"ARM_RESOURCE_PROVIDER_REGISTRATIONS": "none",
		"ARM_PROVIDER_ENHANCED_VALIDATION":    "false",
	}
	task.Targets[0].Expected, task.Targets[0].Data = known.Expected, known.Data
	if kind == operation.Apply {
		task.Doubts = operation.Doubts{{Key: "no cloud", Text: "There is no cloud to apply to."}}
	}
	result := runner.Run(a.t.Context(), task, nopWriter{})
	if want := map[operation.Kind]operation.Outcome{operation.Plan: operation.Planned}[kind]; result.Error != "" ||
		want != "" && result.Targets[0].Outcome != want || result.Targets[0].Outcome == operation.TargetFailed {
		a.t.Fatalf("%s of\n%s\n%s: %s %s", kind, text, result.Targets[0].Outcome, result.Error, result.Targets[0].Error)
	}
	return result.Targets[0]
}

const azureTenant = "00000000-0000-4000-8000-0000000000bb"

// identityService stands in for the identity service of a virtual machine: it gives whoever asks a token of the client that is asked for,
// which nobody can do anything with. azurerm reads from it who it is. It gives the URL.
// https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token#get-a-token-using-http
func identityService(t *testing.T) string {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		client := r.URL.Query().Get("client_id")
		if r.Header.Get("Metadata") != "true" || client == "" {
			http.Error(w, "no client", http.StatusBadRequest)
			return
		}
		part := func(value map[string]any) string {
			text, _ := json.Marshal(value)
			return base64.RawURLEncoding.EncodeToString(text)
		}
		token := part(map[string]any{"alg": "none", "typ": "JWT"}) + "." + part(map[string]any{
			"aud": r.URL.Query().Get("resource"), "tid": azureTenant, "appid": client, "idtyp": "app",
			"oid": strings.Replace(client, "8000", "9000", 1), // the principal of that client
		}) + "." + base64.RawURLEncoding.EncodeToString([]byte("unsigned"))
		_ = json.NewEncoder(w).Encode(map[string]string{
			"access_token": token, "client_id": client, "expires_in": "86400", "resource": r.URL.Query().Get("resource"), "token_type": "Bearer",
		})
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// What is skipped everywhere for years must not turn out to be no configuration at all.
func TestConfigurationsOfAzureCanBeRead(t *testing.T) {
	t.Parallel()
	for _, part := range azureParts() {
		if _, problems := hclsyntax.ParseConfig([]byte(azureBase+part.text), "main.tf", hcl.InitialPos); problems.HasErrors() {
			t.Errorf("%s: %v", part.name, problems)
		}
	}
}

func TestTheStandInForTheIdentityServiceSaysWhoPlans(t *testing.T) {
	t.Parallel()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet,
		identityService(t)+"?api-version=2018-02-01&resource=r&client_id=00000000-0000-4000-8000-000000000001", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Metadata", "true")
	response, err := (&http.Client{Timeout: time.Minute}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	var answer struct {
		Token string `json:"access_token"`
	}
	err = json.NewDecoder(response.Body).Decode(&answer)
	_ = response.Body.Close()
	parts := strings.Split(answer.Token, ".")
	if err != nil || len(parts) != 3 {
		t.Fatalf("%v, token %q", err, answer.Token)
	}
	claims, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil || !strings.Contains(string(claims), `"oid":"00000000-0000-4000-9000-000000000001"`) {
		t.Errorf("%v, claims %s", err, claims)
	}
}
