package statelock

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/operation"
)

// noted is what `terraform init` notes of a backend, with some more settings.
func noted(more map[string]any) map[string]any {
	config := map[string]any{"storage_account_name": "stnetworkstate", "container_name": "states", "key": "network-dev", "use_oidc": nil}
	maps.Copy(config, more)
	return config
}

func TestSettingsGoBeforeTheEnvironment(t *testing.T) {
	t.Parallel()
	s, err := read(noted(map[string]any{"access_key": "of the backend", "use_oidc": false}),
		map[string]string{"ARM_ACCESS_KEY": "of the environment", "ARM_SAS_TOKEN": "sig", "ARM_USE_OIDC": "true", "ARM_USE_MSI": "true"})
	if err != nil || s.accessKey != "of the backend" || s.sas != "sig" || s.oidc || !s.msi || !s.cli {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestASettingFromACommandLineIsReadAsInitReadsIt(t *testing.T) {
	t.Parallel()
	s, err := read(noted(map[string]any{"use_oidc": "true", "use_msi": "1", "use_cli": "false"}), map[string]string{"ARM_USE_CLI": "true"})
	if err != nil || !s.oidc || !s.msi || s.cli || s.azureAD {
		t.Errorf("%v, %+v", err, s)
	}
}

func TestWhatIsNoAddressInAzureIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config map[string]any
		want   string
	}{
		"an account with a host in it":        {map[string]any{"storage_account_name": "evil.example/"}, "no name of one"},
		"an account with a user":              {map[string]any{"storage_account_name": "a@evil"}, "no name of one"},
		"a container that climbs":             {map[string]any{"container_name": "../other"}, "no name of one"},
		"no key":                              {map[string]any{"key": ""}, "no key"},
		"a cloud of somebody's":               {map[string]any{"environment": "evil"}, "none of public"},
		"a host that says what the cloud is":  {map[string]any{"metadata_host": "evil.example"}, "asks Azure for the address"},
		"an account that has to be looked up": {map[string]any{"lookup_blob_endpoint": true}, "asks Azure for the address"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if _, err := OpenState(t.Context(), noted(c.config), nil); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestWhoTheBackendWorksAs(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"a certificate":           {map[string]string{"ARM_CLIENT_CERTIFICATE_PATH": "/c"}, "client certificate"},
		"nobody":                  {map[string]string{"ARM_USE_CLI": "false"}, "neither key nor signature"},
		"no group for the key":    {map[string]string{"ARM_USE_CLI": "true"}, "neither `use_azuread_auth` nor the resource group"},
		"a key that is no base64": {map[string]string{"ARM_ACCESS_KEY": "secret value!"}, "not base64"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := OpenState(t.Context(), noted(nil), c.env)
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret value") {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A token comes from `az` without a shell, and `az` sees nothing of our environment.
func TestTheCommandLineGivesAToken(t *testing.T) {
	dir := t.TempDir()
	script := "#!/bin/sh\n[ -z \"$SWITCHYARD_PRIVATE_KEY\" ] || exit 1\n[ \"$7\" = 'https://storage.azure.com/.default' ] || [ \"$6\" = 'https://storage.azure.com/.default' ] || exit 2\n" +
		"echo '{\"accessToken\":\"t\",\"expires_on\":2000000000}'\n"
	if err := os.WriteFile(filepath.Join(dir, "az"), []byte(script), 0o700); err != nil { //nolint:gosec // a program
		t.Fatal(err)
	}
	t.Setenv("PATH", dir+":"+os.Getenv("PATH"))
	t.Setenv("SWITCHYARD_PRIVATE_KEY", "secret")
	token, err := commandLine{tenant: "$(touch /tmp/x)", env: map[string]string{"PATH": os.Getenv("PATH")}}.GetToken(t.Context(),
		policy.TokenRequestOptions{Scopes: []string{"https://storage.azure.com/.default"}})
	if err != nil || token.Token != "t" || token.ExpiresOn != time.Unix(2000000000, 0) {
		t.Errorf("%v, %+v", err, token)
	}
}

// transport answers requests in place of Azure.
type transport func(*http.Request) *http.Response

func (f transport) Do(r *http.Request) (*http.Response, error) {
	answer := f(r)
	if answer == nil {
		return nil, errors.New("no connection")
	}
	answer.Request = r
	if answer.Body == nil {
		answer.Body = http.NoBody
	}
	if answer.Header == nil {
		answer.Header = http.Header{}
	}
	return answer, nil
}

// stub gives a token that is none.
type stub struct{}

func (stub) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: "stub", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

func reached(t *testing.T, a access, f transport) *State {
	t.Helper()
	s, err := read(noted(nil), nil)
	if err != nil {
		t.Fatal(err)
	}
	a.options = policy.ClientOptions{Transport: f, Retry: policy.RetryOptions{MaxRetries: -1}}
	return &State{settings: s, access: a, patience: time.Minute}
}

type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func TestAStateIsPutBesideWithTheIdentityItself(t *testing.T) {
	t.Parallel()
	var asked, wrote string
	state := reached(t, access{token: stub{}}, func(r *http.Request) *http.Response {
		asked = r.Method + " " + r.URL.String() + " " + r.Header.Get("Authorization") + " " + r.Header.Get("If-None-Match")
		body, _ := io.ReadAll(r.Body)
		wrote = string(body)
		return &http.Response{StatusCode: http.StatusCreated}
	})
	name, err := state.Keep(t.Context(), ".errored-7", content{bytes.NewReader([]byte("state"))})
	want := "PUT https://stnetworkstate.blob.core.windows.net/states/network-dev.errored-7 Bearer stub *"
	if err != nil || name != "network-dev.errored-7" || asked != want || wrote != "state" {
		t.Errorf("%v, %q, %q, %q", err, name, asked, wrote)
	}
}

func TestNoBlobIsWrittenOverAndNoSignatureIsSaid(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		code int
		says string
		want string
	}{
		"one is there":    {http.StatusConflict, "BlobAlreadyExists", "already"},
		"it is forbidden": {http.StatusForbidden, "AuthorizationPermissionMismatch", "403 AuthorizationPermissionMismatch"},
		"nobody answers":  {0, "", "no connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := reached(t, access{query: "sig=secret"}, func(r *http.Request) *http.Response {
				if c.code == 0 || r.URL.Query().Get("sig") != "secret" {
					return nil
				}
				return &http.Response{StatusCode: c.code, Header: http.Header{"X-Ms-Error-Code": {c.says}}}
			})
			_, err := state.Keep(t.Context(), ".errored-7", content{bytes.NewReader(nil)})
			if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
				t.Errorf("got %v", err)
			}
			if exists := errors.Is(err, ErrExists); exists != (c.code == http.StatusConflict) {
				t.Errorf("exists: %v", exists)
			}
		})
	}
}

func TestTheLeaseIsTheLock(t *testing.T) {
	t.Parallel()
	info := base64.StdEncoding.EncodeToString([]byte(`{"ID":"1","Operation":"OperationTypeApply","Who":"ci@runner","Path":"states/network-dev"}`))
	for name, c := range map[string]struct {
		code   int
		header http.Header
		want   *operation.LockInfo
	}{
		"leased": {
			200,
			http.Header{"X-Ms-Lease-Status": {"locked"}, "X-Ms-Meta-Terraformlockid": {info}},
			&operation.LockInfo{ID: "1", Operation: "OperationTypeApply", Who: "ci@runner", Path: "states/network-dev"},
		},
		"leased, and nobody says by whom":   {200, http.Header{"X-Ms-Lease-Status": {"locked"}}, &operation.LockInfo{}},
		"leased, with something else there": {200, http.Header{"X-Ms-Lease-Status": {"locked"}, "X-Ms-Meta-Terraformlockid": {"?"}}, &operation.LockInfo{}},
		"free, with what was left over":     {200, http.Header{"X-Ms-Lease-Status": {"unlocked"}, "X-Ms-Meta-Terraformlockid": {info}}, nil},
		"no state yet":                      {404, http.Header{"X-Ms-Error-Code": {"BlobNotFound"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			state := reached(t, access{token: stub{}}, func(*http.Request) *http.Response {
				return &http.Response{StatusCode: c.code, Header: c.header}
			})
			got, err := state.Lock(t.Context())
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%v\n%s", err, diff)
			}
		})
	}
}
