package job

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
)

func TestWhatTerraformSeesOfAJob(t *testing.T) {
	t.Parallel()
	oidc := []string{"ACTIONS_ID_TOKEN_REQUEST_URL=https://identity", "ACTIONS_ID_TOKEN_REQUEST_TOKEN=secret"}
	for name, c := range map[string]struct {
		all  []string
		more map[string]string // inputs
		want map[string]string
		err  string
	}{
		"nothing that is not on the list": {
			all: []string{
				"GITHUB_TOKEN=x", "INPUT_GITHUB_TOKEN=x", "GITHUB_ENV=/x", "ACTIONS_RUNTIME_TOKEN=x", "PATH=/evil", "LD_PRELOAD=/evil.so", "HOME=/x",
				"TF_CLI_ARGS=-lock=false", "TF_LOG=trace", "AWS_SECRET_ACCESS_KEY=x", "NPM_TOKEN=x", "broken", "=x", "ARM_EMPTY=",
			},
			want: map[string]string{},
		},
		"the network, the registry and the variables of Terraform": {
			all: []string{"HTTPS_PROXY=http://proxy", "TF_VAR_size=3", "TF_TOKEN_app_terraform_io=t", "SSL_CERT_FILE=/ca", "GIT_SSL_CAINFO=/git-ca", "TF_CLI_CONFIG_FILE=/rc"},
			want: map[string]string{
				"HTTPS_PROXY": "http://proxy", "TF_VAR_size": "3", "TF_TOKEN_app_terraform_io": "t", "SSL_CERT_FILE": "/ca", "TF_CLI_CONFIG_FILE": "/rc",
				"GIT_SSL_CAINFO": "/git-ca",
			},
		},
		"the names of GitHub AT-AT, and OIDC where the job may ask for an identity": {
			all: append([]string{"TERRAFORM_ARM_CLIENT_ID=id", "ARM_TENANT_ID=tenant", "ARM_SUBSCRIPTION_ID=sub"}, oidc...),
			want: map[string]string{
				"ARM_CLIENT_ID": "id", "ARM_TENANT_ID": "tenant", "ARM_SUBSCRIPTION_ID": "sub", "ARM_USE_OIDC": "true",
				"ACTIONS_ID_TOKEN_REQUEST_URL": "https://identity", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret",
			},
		},
		"Terraform's own name goes before that of GitHub AT-AT": {
			all: []string{"TERRAFORM_ARM_CLIENT_ID=id", "ARM_CLIENT_ID=own"}, want: map[string]string{"ARM_CLIENT_ID": "own"},
		},
		"an input goes before a variable": {
			all: []string{"ARM_CLIENT_ID=own", "TERRAFORM_ARM_CLIENT_ID=id"}, more: map[string]string{"INPUT_CLIENT-ID": "input"},
			want: map[string]string{"ARM_CLIENT_ID": "input"},
		},
		"who says so needs no OIDC": {
			all:  append([]string{"ARM_CLIENT_ID=id", "ARM_USE_OIDC=false"}, oidc...),
			want: map[string]string{"ARM_CLIENT_ID": "id", "ARM_USE_OIDC": "false", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://identity", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"},
		},
		"a client secret":           {all: []string{"ARM_CLIENT_SECRET=hush"}, err: "ARM_CLIENT_SECRET is set"},
		"a client secret in a file": {all: []string{"ARM_CLIENT_SECRET_FILE_PATH=/secret"}, err: "ARM_CLIENT_SECRET_FILE_PATH is set"},
		"a certificate":             {all: []string{"ARM_CLIENT_CERTIFICATE_PATH=/pfx"}, err: "ARM_CLIENT_CERTIFICATE_PATH is set"},
		"a client secret that is meant": {
			all: append([]string{"ARM_CLIENT_SECRET=hush", "ARM_CLIENT_ID=id"}, oidc...), more: map[string]string{"INPUT_ALLOW_CLIENT_SECRET": "true"},
			want: map[string]string{"ARM_CLIENT_SECRET": "hush", "ARM_CLIENT_ID": "id", "ACTIONS_ID_TOKEN_REQUEST_URL": "https://identity", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "secret"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			values := map[string]string{}
			for _, pair := range c.all {
				if name, value, ok := strings.Cut(pair, "="); ok {
					values[name] = value
				}
			}
			maps.Copy(values, c.more)
			got, err := terraformEnv(lookup(values), c.all)
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) || strings.Contains(err.Error(), "hush") {
					t.Errorf("it gives %v", err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); diff != "" || err != nil {
				t.Errorf("%v; -want +got:\n%s", err, diff)
			}
		})
	}
}

func TestBackendSettingsOfTheJobGoToAzurermOnly(t *testing.T) {
	t.Parallel()
	shared := map[string]string{"key": "network-prod"} // the configuration's own map must not change
	targets := []operation.TargetTask{
		{Dir: "azure", Backend: shared},
		{Dir: "local", Backend: map[string]string{"path": "/x"}},
		{Dir: "none"},
		{Dir: "named", Backend: map[string]string{"container_name": "own"}},
	}
	kinds := map[string]string{"azure": "azurerm", "named": "azurerm", "local": "local"}
	env := lookup(map[string]string{
		"BACKEND_STORAGE_ACCOUNT_NAME": "account", "BACKEND_STORAGE_STATE_CONTAINER_NAME": "tfstate", "BACKEND_RESOURCE_GROUP_NAME": "variable",
		"INPUT_BACKEND-RESOURCE-GROUP-NAME": "input",
	})
	if err := withBackend(env, targets, func(dir string) (string, error) { return kinds[dir], nil }); err != nil {
		t.Fatal(err)
	}
	want := []map[string]string{
		{"key": "network-prod", "storage_account_name": "account", "container_name": "tfstate", "resource_group_name": "input"},
		{"path": "/x"},
		nil,
		{"container_name": "own", "storage_account_name": "account", "resource_group_name": "input"},
	}
	var got []map[string]string
	for _, target := range targets {
		got = append(got, target.Backend)
	}
	if diff := cmp.Diff(want, got); diff != "" || len(shared) != 1 {
		t.Errorf("%v; -want +got:\n%s", shared, diff)
	}
}

func TestWhatAMachineDoesNotSay(t *testing.T) {
	t.Parallel()
	whole := map[string]string{
		"GITHUB_REPOSITORY": "acme/network", "GITHUB_REPOSITORY_ID": "7", "GITHUB_RUN_ID": "100", "GITHUB_RUN_ATTEMPT": "1",
		"GITHUB_WORKSPACE": "/w", "RUNNER_TEMP": "/t", "INPUT_GITHUB-TOKEN": "token",
	}
	if m, err := ReadMachine(lookup(whole)); err != nil || m.Run != 100 || m.Repository.FullName() != "acme/network" || m.Token != "token" {
		t.Errorf("it gives %+v, %v", m, err)
	}
	for name, value := range map[string]string{
		"GITHUB_REPOSITORY": "acme", "GITHUB_REPOSITORY_ID": "-7", "GITHUB_RUN_ID": "99999999999999999999", "GITHUB_RUN_ATTEMPT": "",
		"GITHUB_WORKSPACE": "w", "RUNNER_TEMP": "", "INPUT_GITHUB-TOKEN": " ",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			bad := maps.Clone(whole)
			bad[name] = value
			want := name
			if name == "INPUT_GITHUB-TOKEN" {
				want = "github-token"
			}
			if _, err := ReadMachine(lookup(bad)); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("it gives %v", err)
			}
		})
	}
}
