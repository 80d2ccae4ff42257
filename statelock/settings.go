package statelock

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"golang.org/x/net/http/httpproxy"
)

// settings are those of Terraform's azurerm backend, resolved as the backend does: its own configuration before the environment.
// https://developer.hashicorp.com/terraform/language/backend/azurerm#configuration-variables
type settings struct {
	account, container, key string
	group, subscription     string
	tenant, client          string

	accessKey, sas, secret string

	azureAD, oidc, msi, cli bool

	assertion, assertionFile    string // OIDC: a token, or the file that has it
	requestURL, requestToken    string // OIDC: where a job of GitHub Actions gets one
	certificate, endpointLookup bool   // known, and not supported here

	cloud   cloud.Configuration
	storage string // the domain of storage accounts
	env     map[string]string
}

// names of accounts and containers, which become parts of an address.
// https://learn.microsoft.com/azure/azure-resource-manager/management/resource-name-rules#microsoftstorage
var (
	accountName   = regexp.MustCompile(`^[a-z0-9]{3,24}$`)
	containerName = regexp.MustCompile(`^(\$root|[a-z0-9](-?[a-z0-9]){2,62})$`)
)

// read resolves the settings.
func read(config map[string]any, env map[string]string) (settings, error) {
	v := values{config, env}
	text, flag := v.text, v.flag
	s := settings{
		account: text("storage_account_name"), container: text("container_name"), key: text("key"),
		group: text("resource_group_name"), subscription: text("subscription_id", "ARM_SUBSCRIPTION_ID"),
		tenant: text("tenant_id", "ARM_TENANT_ID"), client: text("client_id", "ARM_CLIENT_ID"),
		accessKey: text("access_key", "ARM_ACCESS_KEY"), sas: text("sas_token", "ARM_SAS_TOKEN"),
		secret:  text("client_secret", "ARM_CLIENT_SECRET"),
		azureAD: flag("use_azuread_auth", "ARM_USE_AZUREAD", false), oidc: flag("use_oidc", "ARM_USE_OIDC", false),
		msi: flag("use_msi", "ARM_USE_MSI", false), cli: flag("use_cli", "ARM_USE_CLI", true),
		assertion: text("oidc_token", "ARM_OIDC_TOKEN"), assertionFile: text("oidc_token_file_path", "ARM_OIDC_TOKEN_FILE_PATH"),
		requestURL:     text("oidc_request_url", "ARM_OIDC_REQUEST_URL", "ACTIONS_ID_TOKEN_REQUEST_URL"),
		requestToken:   text("oidc_request_token", "ARM_OIDC_REQUEST_TOKEN", "ACTIONS_ID_TOKEN_REQUEST_TOKEN"),
		certificate:    text("client_certificate", "ARM_CLIENT_CERTIFICATE")+text("client_certificate_path", "ARM_CLIENT_CERTIFICATE_PATH") != "",
		endpointLookup: flag("lookup_blob_endpoint", "ARM_USE_DNS_ZONE_ENDPOINT", false),
		env:            env,
	}
	if s.endpointLookup || text("metadata_host", "ARM_METADATA_HOSTNAME", "ARM_METADATA_HOST") != "" {
		return settings{}, errors.New("the backend asks Azure for the address of the account, which Switchyard does not")
	}
	if s.key != "" && v.workspace() != "" {
		s.key += "env:" + v.workspace() // https://developer.hashicorp.com/terraform/language/state/workspaces
	}
	return s, errors.Join(s.place(), s.inCloud(text("environment", "ARM_ENVIRONMENT")))
}

// place checks what becomes an address.
func (s *settings) place() error {
	switch {
	case !accountName.MatchString(s.account):
		return fmt.Errorf("the backend's storage account %q is no name of one", s.account)
	case !containerName.MatchString(s.container):
		return fmt.Errorf("the backend's container %q is no name of one", s.container)
	case s.key == "":
		return errors.New("the backend has no key")
	}
	return nil
}

// inCloud says which of Azure's clouds is meant.
func (s *settings) inCloud(name string) error {
	switch strings.ToLower(name) {
	case "", "public":
		s.cloud, s.storage = cloud.AzurePublic, "core.windows.net"
	case "usgovernment":
		s.cloud, s.storage = cloud.AzureGovernment, "core.usgovcloudapi.net"
	case "china":
		s.cloud, s.storage = cloud.AzureChina, "core.chinacloudapi.cn"
	default:
		return fmt.Errorf("the backend's environment %q is none of public, usgovernment and china", name)
	}
	return nil
}

// Timeouts of a connection.
const (
	handshake = 10 * time.Second
	wholeCall = time.Minute
)

// clientOf makes the client that Terraform would have in this environment: its proxies, its certificates.
// https://pkg.go.dev/golang.org/x/net/http/httpproxy#FromEnvironment and https://pkg.go.dev/crypto/x509#SystemCertPool
func clientOf(env map[string]string) (*http.Client, error) {
	transport, err := transportOf(env)
	if err != nil {
		return nil, err
	}
	return stationary(transport), nil
}

// stationary follows no redirect: a credential goes to no other place.
func stationary(transport *http.Transport) *http.Client {
	return &http.Client{Transport: transport, Timeout: wholeCall, CheckRedirect: func(*http.Request, []*http.Request) error {
		return http.ErrUseLastResponse
	}}
}

func transportOf(env map[string]string) (*http.Transport, error) {
	proxies := httpproxy.Config{
		HTTPProxy:  cmp.Or(env["HTTP_PROXY"], env["http_proxy"]),
		HTTPSProxy: cmp.Or(env["HTTPS_PROXY"], env["https_proxy"]),
		NoProxy:    cmp.Or(env["NO_PROXY"], env["no_proxy"]),
	}
	choose := proxies.ProxyFunc()
	transport := &http.Transport{
		Proxy:               func(r *http.Request) (*url.URL, error) { return choose(r.URL) },
		TLSHandshakeTimeout: handshake, ForceAttemptHTTP2: true,
	}
	if name := env["SSL_CERT_FILE"]; name != "" {
		text, err := os.ReadFile(name) //nolint:gosec // the operator names it
		if err != nil {
			return nil, fmt.Errorf("read SSL_CERT_FILE: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, errors.New("SSL_CERT_FILE has no certificate")
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return transport, nil
}
