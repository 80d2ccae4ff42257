package plan_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/plan"
)

func TestRisks(t *testing.T) {
	t.Parallel()
	type changes = []operation.Change
	act := func(action operation.Action, address string, attributes ...operation.Attribute) changes {
		return changes{{Address: address, Action: action, Attributes: attributes}}
	}
	nsg := func(action operation.Action, attributes ...operation.Attribute) changes {
		return act(action, "azurerm_network_security_rule.r", attributes...)
	}
	const in, allow = `"Inbound"`, `"Allow"`
	tests := map[string]struct {
		changes changes
		want    []operation.RiskRule
	}{
		"a storage account is destroyed":            {act(operation.Delete, `module.stamp["west.europe"].azurerm_storage_account.a[0]`), []operation.RiskRule{operation.RiskDestroyStateful}},
		"a database is replaced":                    {act(operation.Replace, "azurerm_mssql_database.a"), []operation.RiskRule{operation.RiskReplaceStateful}},
		"a cluster is replaced, created first":      {act(operation.ReplaceCreateFirst, "azurerm_kubernetes_cluster.a"), []operation.RiskRule{operation.RiskReplaceStateful}},
		"a record is destroyed":                     {act(operation.Delete, `azurerm_private_dns_a_record.a["x"]`), []operation.RiskRule{operation.RiskDestroyStateful}},
		"a password is replaced":                    {act(operation.Replace, "random_password.a"), []operation.RiskRule{operation.RiskReplaceStateful}},
		"a type of the configuration":               {act(operation.Delete, "acme_ledger.a"), []operation.RiskRule{operation.RiskDestroyStateful}},
		"terraform_data holds nothing":              {act(operation.Replace, "terraform_data.a"), []operation.RiskRule{operation.RiskReplace}},
		"anything else is destroyed":                {act(operation.Delete, "azurerm_monitor_action_group.a"), []operation.RiskRule{operation.RiskDestroy}},
		"an object is let go of":                    {act(operation.Forget, "azurerm_storage_account.a"), []operation.RiskRule{operation.RiskForget}},
		"a creation, a move, an import, a read":     {changes{{Address: "azurerm_storage_account.a", Action: operation.Create}, {Address: "azurerm_storage_account.b", Action: operation.Move}, {Address: "azurerm_key_vault.c", Action: operation.Import}, {Address: "data.azurerm_key_vault.c", Action: operation.Read}, {Address: "output.a", Action: operation.Output}}, nil},
		"a role is assigned":                        {act(operation.Create, "azurerm_role_assignment.a"), []operation.RiskRule{operation.RiskAccess}},
		"a role is taken away":                      {act(operation.Delete, "azurerm_role_assignment.a"), []operation.RiskRule{operation.RiskAccess, operation.RiskDestroy}},
		"a federated credential":                    {act(operation.Update, "azurerm_federated_identity_credential.a"), []operation.RiskRule{operation.RiskAccess}},
		"a policy assignment":                       {act(operation.Update, "azurerm_resource_group_policy_assignment.a"), []operation.RiskRule{operation.RiskAccess}},
		"a member of a project":                     {act(operation.Create, "google_project_iam_member.a"), []operation.RiskRule{operation.RiskAccess}},
		"a lock is set":                             {act(operation.Create, "azurerm_management_lock.a"), nil},
		"a lock is taken away":                      {act(operation.Delete, "azurerm_management_lock.a"), []operation.RiskRule{operation.RiskUnprotected, operation.RiskDestroy}},
		"an identity of an app changes":             {act(operation.Update, "azurerm_linux_web_app.a", value("identity[0].type", `"SystemAssigned"`, `"UserAssigned"`)), []operation.RiskRule{operation.RiskAccess}},
		"a protection is turned off":                {act(operation.Update, "azurerm_key_vault.a", value("purge_protection_enabled", `true`, `false`)), []operation.RiskRule{operation.RiskUnprotected}},
		"a protection is turned on":                 {act(operation.Update, "azurerm_key_vault.a", value("purge_protection_enabled", `false`, `true`)), nil},
		"public access is turned on":                {act(operation.Update, "azurerm_key_vault.a", value("public_network_access_enabled", `false`, `true`)), []operation.RiskRule{operation.RiskPublic}},
		"public access is turned on by a word":      {act(operation.Update, "azurerm_x.a", value("public_network_access", `"Disabled"`, `"Enabled"`)), []operation.RiskRule{operation.RiskPublic}},
		"public access is turned off":               {act(operation.Update, "azurerm_key_vault.a", value("public_network_access_enabled", `true`, `false`)), nil},
		"public blobs":                              {act(operation.Update, "azurerm_storage_account.a", value("allow_nested_items_to_be_public", `false`, `true`)), []operation.RiskRule{operation.RiskPublic}},
		"a public container":                        {act(operation.Update, "azurerm_storage_container.a", value("container_access_type", `"private"`, `"blob"`)), []operation.RiskRule{operation.RiskPublic}},
		"network rules that allow":                  {act(operation.Update, "azurerm_storage_account.a", value("network_rules[0].default_action", `"Deny"`, `"Allow"`)), []operation.RiskRule{operation.RiskPublic}},
		"network rules that deny":                   {act(operation.Update, "azurerm_storage_account.a", value("network_rules[0].default_action", `"Allow"`, `"Deny"`)), nil},
		"a firewall rule from 0.0.0.0":              {act(operation.Create, "azurerm_mssql_firewall_rule.a", value("start_ip_address", ``, `"0.0.0.0"`)), []operation.RiskRule{operation.RiskPublic}},
		"a firewall rule from somewhere":            {act(operation.Create, "azurerm_mssql_firewall_rule.a", value("start_ip_address", ``, `"192.0.2.1"`)), nil},
		"a rule lets in everybody":                  {nsg(operation.Create, value("access", ``, allow), value("direction", ``, in), value("source_address_prefix", ``, `"*"`)), []operation.RiskRule{operation.RiskPublic}},
		"a rule lets in the Internet":               {nsg(operation.Create, value("access", ``, allow), value("direction", ``, in), value("source_address_prefix", ``, `"Internet"`)), []operation.RiskRule{operation.RiskPublic}},
		"a rule lets in everybody, among others":    {nsg(operation.Create, value("access", ``, allow), value("direction", ``, in), value("source_address_prefixes[0]", ``, `"10.0.0.0/8"`), value("source_address_prefixes[1]", ``, `"0.0.0.0/0"`)), []operation.RiskRule{operation.RiskPublic}},
		"a rule lets out":                           {nsg(operation.Create, value("access", ``, allow), value("direction", ``, `"Outbound"`), value("source_address_prefix", ``, `"*"`)), nil},
		"a rule keeps out":                          {nsg(operation.Create, value("access", ``, `"Deny"`), value("direction", ``, in), value("source_address_prefix", ``, `"*"`)), nil},
		"a rule is widened":                         {nsg(operation.Update, value("source_address_prefix", `"10.0.0.0/8"`, `"*"`)), []operation.RiskRule{operation.RiskPublic}},
		"a rule is narrowed":                        {nsg(operation.Update, value("source_address_prefix", `"*"`, `"10.0.0.0/8"`)), nil},
		"a rule that kept out lets in":              {nsg(operation.Update, value("access", `"Deny"`, allow)), []operation.RiskRule{operation.RiskPublic}},
		"a rule's name changes":                     {nsg(operation.Update, value("description", `"a"`, `"b"`)), nil},
		"a rule within its group":                   {act(operation.Update, "azurerm_network_security_group.a", value("security_rule[3].access", ``, allow), value("security_rule[3].direction", ``, in), value("security_rule[3].source_address_prefix", ``, `"*"`)), []operation.RiskRule{operation.RiskPublic}},
		"a rule of another cloud":                   {act(operation.Create, "aws_security_group_rule.a", value("type", ``, `"ingress"`), value("cidr_blocks[0]", ``, `"0.0.0.0/0"`)), []operation.RiskRule{operation.RiskPublic}},
		"a sensitive value tells nothing":           {act(operation.Update, "azurerm_x.a", operation.Attribute{Path: "public_network_access_enabled", Sensitive: true}), nil},
		"a type that only looks like a data source": {act(operation.Delete, "data_lake.a"), []operation.RiskRule{operation.RiskDestroy}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []operation.RiskRule
			for _, risk := range plan.Risks(sum(test.changes), []string{"acme_ledger"}) {
				got = append(got, risk.Rule)
				if !strings.HasSuffix(risk.Reason, ".") || risk.Address != test.changes[0].Address {
					t.Errorf("got %+v", risk)
				}
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRisksAreSortedByRuleThenAddress(t *testing.T) {
	t.Parallel()
	set := sum([]operation.Change{
		{Address: "terraform_data.a", Action: operation.Delete},
		{Address: "azurerm_key_vault.b", Action: operation.Delete},
		{Address: "azurerm_key_vault.a", Action: operation.Delete, Deposed: "1"},
		{Address: "azurerm_role_assignment.a", Action: operation.Create},
	})
	var got []string
	for _, risk := range plan.Risks(set, nil) {
		got = append(got, string(risk.Rule)+" "+risk.Address)
	}
	want := []string{
		"destroy-stateful azurerm_key_vault.a", "destroy-stateful azurerm_key_vault.b", "access azurerm_role_assignment.a", "destroy terraform_data.a",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestGroupTargets(t *testing.T) {
	t.Parallel()
	regions := []string{"westeurope", "southeastasia", "eastus", "eastus2"}
	target := func(root string, changes ...operation.Change) operation.TargetResult {
		return operation.TargetResult{Target: operation.Target{Root: root, Environment: "prod"}, ChangeSet: sum(changes)}
	}
	in := func(region, after string) operation.Change {
		return changed(`module.stamp["`+region+`"].azurerm_x.a`, value("name", `"old"`, `"`+after+`"`))
	}
	tests := map[string]struct {
		targets []operation.TargetResult
		regions []string
		want    []string
	}{
		"two roots do the same": {
			[]operation.TargetResult{target("a", changed("a.a", value("x", `1`, `2`))), target("b", changed("a.a", value("x", `1`, `2`))), target("c", changed("a.a", value("x", `1`, `3`)))},
			nil,
			[]string{"1 alike: a, b", "1 alike: c"},
		},
		"two stamps do the same but for their names": {
			[]operation.TargetResult{target("a", in("southeastasia", "kv-southeastasia-1"), in("westeurope", "kv-westeurope-1"), changed("a.a"))},
			regions[:2],
			[]string{"1 alike: a module.stamp[\"westeurope\"], a module.stamp[\"southeastasia\"]", "1 alike: a"},
		},
		"the placeholder itself is no region's name": {
			[]operation.TargetResult{target("a", in("southeastasia", "kv-{region}"), in("westeurope", "kv-westeurope"))},
			regions[:2],
			[]string{
				`1 alike: a module.stamp["westeurope"]`, `1 alike: a module.stamp["southeastasia"]`,
				`only westeurope, not southeastasia: update module.stamp["{region}"].azurerm_x.a`,
				`only southeastasia, not westeurope: update module.stamp["{region}"].azurerm_x.a`,
			},
		},
		"two stamps differ": {
			[]operation.TargetResult{target("a", in("southeastasia", "x"), in("westeurope", "y"))},
			regions[:2],
			[]string{
				`1 alike: a module.stamp["westeurope"]`, `1 alike: a module.stamp["southeastasia"]`,
				`only westeurope, not southeastasia: update module.stamp["{region}"].azurerm_x.a`,
				`only southeastasia, not westeurope: update module.stamp["{region}"].azurerm_x.a`,
			},
		},
		"a region's name that is the beginning of another's": {
			[]operation.TargetResult{target("a", in("eastus", "x-eastus2"), in("eastus2", "x-eastus2"))},
			regions[2:],
			[]string{
				`1 alike: a module.stamp["eastus"]`, `1 alike: a module.stamp["eastus2"]`,
				`only eastus, not eastus2: update module.stamp["{region}"].azurerm_x.a`,
				`only eastus2, not eastus: update module.stamp["{region}"].azurerm_x.a`,
			},
		},
		"a root for each region": {
			[]operation.TargetResult{
				target("stamps/westeurope", changed("a.a", value("x", `1`, `"westeurope"`))),
				target("stamps/southeastasia", changed("a.a", value("x", `1`, `"southeastasia"`)), changed("a.b")),
			},
			regions[:2],
			[]string{
				"1 alike: stamps/westeurope", "2 alike: stamps/southeastasia",
				"only southeastasia, not westeurope: update a.b",
			},
		},
		"a key that only contains a region": {
			[]operation.TargetResult{target("a", changed(`module.stamp["x-westeurope"].a.a`), changed(`a.a["westeurope"]`))},
			regions[:2],
			[]string{"2 alike: a"},
		},
		"what was capped is compared as a whole": {
			[]operation.TargetResult{
				{Target: operation.Target{Root: "a"}, ChangeSet: plan.Cap(sum([]operation.Change{in("westeurope", "x"), in("southeastasia", "y")}), 1)},
				{Target: operation.Target{Root: "b"}, ChangeSet: plan.Cap(sum([]operation.Change{in("westeurope", "x"), in("southeastasia", "y")}), 1)},
			},
			regions[:2],
			[]string{"1 alike: a, b"},
		},
		"nothing changes": {[]operation.TargetResult{target("a"), target("b")}, regions, nil},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var got []string
			grouping := plan.GroupTargets(test.targets, test.regions)
			for _, group := range grouping.Groups {
				var names []string
				for _, member := range group.Members {
					names = append(names, strings.TrimSpace(member.Target.Root+" "+member.Stamp))
				}
				got = append(got, string(rune('0'+len(group.Changes)))+" alike: "+strings.Join(names, ", "))
			}
			for _, d := range grouping.Differences {
				got = append(got, "only "+strings.Join(d.Regions, ", ")+", not "+strings.Join(d.Missing, ", ")+": "+string(d.Change.Action)+" "+d.Change.Address)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
