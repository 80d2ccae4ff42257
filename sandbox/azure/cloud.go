package azure

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// maxForm bounds what is read of a form, in bytes.
const maxForm = 1 << 20

// logIn is the identity platform: it gives a token for a federated assertion. Azurite looks at its audience, issuer and times.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow
func (a *Azure) logIn(w http.ResponseWriter, r *http.Request) {
	const tenant = "https://" + login + "/" + Tenant
	if !strings.HasSuffix(r.URL.Path, "/token") {
		write(w, map[string]any{
			"token_endpoint": tenant + "/oauth2/v2.0/token", "authorization_endpoint": tenant + "/oauth2/v2.0/authorize",
			"issuer": tenant + "/v2.0", "tenant_discovery_endpoint": tenant + "/v2.0/.well-known/openid-configuration", "metadata": []string{},
		})
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		http.Error(w, "{}", http.StatusBadRequest)
		return
	}
	a.mu.Lock()
	a.asserted = r.PostForm.Get("client_assertion")
	a.mu.Unlock()
	scope, _, _ := strings.Cut(r.PostForm.Get("scope"), " ")
	now := time.Now()
	write(w, map[string]any{"token_type": "Bearer", "expires_in": 3600, "access_token": part(map[string]any{"alg": "none", "typ": "JWT"}) +
		"." + part(map[string]any{
		"tid": Tenant, "oid": "00000000-0000-4000-9000-000000000001", "appid": r.PostForm.Get("client_id"),
		"aud": strings.TrimSuffix(scope, "/.default"), "iss": "https://sts.windows.net/" + Tenant + "/",
		"iat": now.Add(-time.Minute).Unix(), "nbf": now.Add(-time.Minute).Unix(), "exp": now.Add(time.Hour).Unix(),
	}) + ".unsigned"})
}

// part is one part of a token.
func part(claims map[string]any) string {
	text, err := json.Marshal(claims)
	if err != nil {
		return "" // no token: claims are strings and numbers
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// manage is the resource manager, which knows one storage account.
// https://learn.microsoft.com/rest/api/storagerp/storage-accounts/list-keys
func (a *Azure) manage(w http.ResponseWriter, r *http.Request) {
	account := "/resourceGroups/" + ResourceGroup + "/providers/Microsoft.Storage/storageAccounts/" + a.options.Account
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ey"):
		http.Error(w, "{}", http.StatusUnauthorized)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, account+"/listKeys"):
		write(w, map[string]any{"keys": []any{map[string]string{"keyName": "key1", "value": a.options.Key, "permissions": "FULL"}}})
	default:
		write(w, map[string]any{
			"id": r.URL.Path, "name": a.options.Account, "location": "westeurope",
			"properties": map[string]any{"primaryEndpoints": map[string]string{"blob": "https://" + a.blobHost() + "/"}},
		})
	}
}

// giveJobToken is what GitHub gives to a job that may have an identity.
// https://docs.github.com/en/actions/reference/security/oidc#methods-for-requesting-the-oidc-token
func giveJobToken(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+jobToken || r.URL.Query().Get("audience") != "api://AzureADTokenExchange" {
		http.Error(w, "{}", http.StatusUnauthorized)
		return
	}
	write(w, map[string]any{"value": "signed by GitHub"})
}

func write(w http.ResponseWriter, value map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(value); err != nil {
		http.Error(w, fmt.Sprintf("{%q:%q}", "error", err), http.StatusInternalServerError)
	}
}
