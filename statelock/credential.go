package statelock

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blob"
)

// accessOf chooses as the backend does: a key, a signature, the identity itself where that is asked for, else a key that is asked for.
func accessOf(ctx context.Context, s settings, options policy.ClientOptions) (access, error) {
	a := access{options: options}
	var err error
	switch {
	case s.accessKey != "":
	case s.sas != "":
		a.query = strings.TrimPrefix(s.sas, "?")
		return a, nil
	default:
		if a.token, err = identity(s, options); err != nil || s.azureAD {
			return a, err
		}
		if s.accessKey, err = listedKey(ctx, s, a.token, options); err != nil {
			return a, err
		}
		a.token = nil
	}
	if a.key, err = blob.NewSharedKeyCredential(s.account, s.accessKey); err != nil {
		return a, errors.New("the account's access key is not base64") // the SDK's error may have a part of it
	}
	return a, nil
}

// identity is who Terraform works as.
func identity(s settings, options policy.ClientOptions) (azcore.TokenCredential, error) {
	var token azcore.TokenCredential
	var err error
	switch {
	case s.certificate:
		return nil, errors.New("the backend works with a client certificate, which Switchyard does not")
	case s.secret != "" && s.client != "":
		token, err = azidentity.NewClientSecretCredential(s.tenant, s.client, s.secret,
			&azidentity.ClientSecretCredentialOptions{ClientOptions: options})
	case s.oidc:
		token, err = azidentity.NewClientAssertionCredential(s.tenant, s.client, s.assert(options.Transport),
			&azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
	case s.msi:
		managed := &azidentity.ManagedIdentityCredentialOptions{ClientOptions: options}
		if s.client != "" {
			managed.ID = azidentity.ClientID(s.client)
		}
		token, err = azidentity.NewManagedIdentityCredential(managed)
	case s.cli:
		return commandLine{tenant: s.tenant, env: s.env}, nil
	default:
		return nil, errors.New("the backend has neither key nor signature nor identity")
	}
	if err != nil {
		return nil, fmt.Errorf("use the identity of the backend: %w", err)
	}
	return token, nil
}

// audience is of the tokens by which workloads elsewhere prove themselves to Entra.
// https://docs.github.com/en/actions/how-tos/secure-your-work/security-harden-deployments/oidc-in-azure
const audience = "api://AzureADTokenExchange"

// maxAnswer bounds what is read of an answer, in bytes.
const maxAnswer = 1 << 20

// assert gives the token by which the workload proves itself: as it is, from a file, or from GitHub.
func (s *settings) assert(client policy.Transporter) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		switch {
		case s.assertion != "":
			return s.assertion, nil
		case s.assertionFile != "":
			text, err := os.ReadFile(s.assertionFile)
			if err != nil {
				return "", fmt.Errorf("read the file with the OIDC token: %w", err)
			}
			return strings.TrimSpace(string(text)), nil
		}
		return s.fromGitHub(ctx, client)
	}
}

// fromGitHub asks for a token of the job.
// https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
func (s *settings) fromGitHub(ctx context.Context, client policy.Transporter) (token string, err error) {
	at, err := url.Parse(s.requestURL)
	if err != nil || s.requestURL == "" || s.requestToken == "" {
		return "", errors.New("the job has no OIDC token: it needs the permission `id-token: write`")
	}
	query := at.Query()
	query.Set("audience", audience)
	at.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), http.NoBody)
	if err != nil {
		return "", fmt.Errorf("ask for an OIDC token: %w", err)
	}
	request.Header.Set("Authorization", "Bearer "+s.requestToken)
	answer, err := client.Do(request)
	if err != nil {
		return "", fmt.Errorf("ask for an OIDC token: %w", brief(err))
	}
	defer func() { err = errors.Join(err, answer.Body.Close()) }()
	var said struct {
		Value string `json:"value"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&said); err != nil || said.Value == "" {
		return "", fmt.Errorf("ask for an OIDC token: %s", answer.Status)
	}
	return said.Value, nil
}

// listedKey asks Azure for a key of the account, as the backend does for an identity that may do that and may not read blobs itself.
// https://learn.microsoft.com/rest/api/storagerp/storage-accounts/list-keys
func listedKey(ctx context.Context, s settings, token azcore.TokenCredential, options policy.ClientOptions) (string, error) {
	if s.group == "" || s.subscription == "" {
		return "", errors.New("the backend names neither `use_azuread_auth` nor the resource group and subscription of the account")
	}
	manager := s.cloud.Services[cloud.ResourceManager]
	pipeline := runtime.NewPipeline("switchyard", "", runtime.PipelineOptions{PerRetry: []policy.Policy{
		runtime.NewBearerTokenPolicy(token, []string{manager.Audience + "/.default"}, nil),
	}}, &options)
	at := manager.Endpoint + "/subscriptions/" + url.PathEscape(s.subscription) + "/resourceGroups/" + url.PathEscape(s.group) +
		"/providers/Microsoft.Storage/storageAccounts/" + s.account + "/listKeys?api-version=2023-01-01"
	request, err := runtime.NewRequest(ctx, http.MethodPost, at)
	if err != nil {
		return "", fmt.Errorf("ask for a key of the account: %w", err)
	}
	answer, err := pipeline.Do(request) //nolint:bodyclose // the pipeline reads the body and closes it
	if err != nil {
		return "", fmt.Errorf("ask for a key of the account: %w", brief(err))
	}
	if runtime.HasStatusCode(answer, http.StatusForbidden) {
		return "", &Denied{
			Doing: fmt.Sprintf("ask for a key of the account: %v", brief(runtime.NewResponseError(answer))),
			Needs: fmt.Sprintf("Give %s the role `%s` on the storage account %s, or set `use_azuread_auth` in the backend and give it `%s`",
				s.who(), toList, s.account, toWrite),
		}
	}
	if !runtime.HasStatusCode(answer, http.StatusOK) {
		return "", fmt.Errorf("ask for a key of the account: %w", brief(runtime.NewResponseError(answer)))
	}
	var said struct {
		Keys []struct {
			Value string `json:"value"`
		} `json:"keys"`
	}
	if err := runtime.UnmarshalAsJSON(answer, &said); err != nil || len(said.Keys) == 0 {
		return "", errors.New("ask for a key of the account: the answer has none")
	}
	return said.Keys[0].Value, nil
}

// commandLine is who is logged in to `az`. The SDK's own way to it goes through a shell, and gives it our whole environment.
type commandLine struct {
	tenant string
	env    map[string]string
}

// patience is how long `az`, a Python program, may take.
const patience = 30 * time.Second

// GetToken asks `az` for a token.
// https://learn.microsoft.com/cli/azure/account#az-account-get-access-token
func (c commandLine) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	args := []string{"account", "get-access-token", "--output", "json", "--scope", strings.Join(o.Scopes, " ")}
	if c.tenant != "" {
		args = append(args, "--tenant", c.tenant)
	}
	var out bytes.Buffer
	az := exec.CommandContext(ctx, "az", args...) //nolint:gosec // argv of ours and of the operator's settings, no shell
	az.Env = []string{}
	for _, name := range []string{"PATH", "AZURE_CONFIG_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "SSL_CERT_FILE"} {
		if value := c.env[name]; value != "" {
			az.Env = append(az.Env, name+"="+value)
		}
	}
	az.Stdout, az.WaitDelay = &out, time.Second
	if err := az.Run(); err != nil {
		return azcore.AccessToken{}, fmt.Errorf("ask `az` for a token: %w", err)
	}
	var said struct {
		Token   string `json:"accessToken"` //nolint:tagliatelle // the name is az's
		Expires int64  `json:"expires_on"`
	}
	if err := json.Unmarshal(out.Bytes(), &said); err != nil || said.Token == "" {
		return azcore.AccessToken{}, errors.New("ask `az` for a token: its answer has none")
	}
	return azcore.AccessToken{Token: said.Token, ExpiresOn: time.Unix(said.Expires, 0)}, nil
}
