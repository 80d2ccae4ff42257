package azure_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/blockblob"

	"github.com/switchyard-dev/switchyard/sandbox/azure"
	"github.com/switchyard-dev/switchyard/sandbox/azure/azuretest"
)

func start(t *testing.T) *azure.Azure {
	t.Helper()
	options := azuretest.Find(t, "../..")
	options.Dir = t.TempDir()
	a, err := azure.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(a.Close)
	return a
}

// through is a client that has an environment of the stand-in.
func through(t *testing.T, env map[string]string) *http.Client {
	t.Helper()
	authority, err := os.ReadFile(env["SSL_CERT_FILE"])
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	proxy, err := url.Parse(env["HTTPS_PROXY"])
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{Proxy: http.ProxyURL(proxy), TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: time.Minute}
}

func TestAJobOfGitHubReachesABlobByItsIdentity(t *testing.T) {
	t.Parallel()
	a := start(t)
	env := a.Federated(true)
	options := policy.ClientOptions{Transport: through(t, env), Retry: policy.RetryOptions{MaxRetries: -1}}
	credential, err := azidentity.NewClientAssertionCredential(env["ARM_TENANT_ID"], env["ARM_CLIENT_ID"],
		func(context.Context) (string, error) { return "of the job itself", nil },
		&azidentity.ClientAssertionCredentialOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	const address = "https://" + azure.Account + ".blob.core.windows.net/" + azure.Container + "/network-dev"
	client, err := blockblob.NewClient(address, credential, &blockblob.ClientOptions{ClientOptions: options})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.UploadBuffer(t.Context(), []byte("state"), nil); err != nil {
		t.Fatal(err)
	}
	got, err := a.Container().NewBlobClient("network-dev").DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(got.Body)
	if _ = got.Body.Close(); err != nil || string(content) != "state" || a.Asserted() != "of the job itself" {
		t.Errorf("%v, %q, asserted %q", err, content, a.Asserted())
	}
	if strange := a.Strange(); len(strange) > 0 {
		t.Errorf("asked elsewhere: %v", strange)
	}
}

func TestARequestIsInterceptedAndAnotherAddressRefused(t *testing.T) {
	t.Parallel()
	a := start(t)
	client := through(t, a.Env())
	get := func(address string) string {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		answer, err := client.Do(request)
		if err != nil {
			return err.Error()
		}
		_ = answer.Body.Close()
		return answer.Status
	}
	a.Intercept(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Path == "/answered" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return true
		}
		return false
	})
	for address, want := range map[string]string{
		"https://" + azure.Account + ".blob.core.windows.net/answered": "503 Service Unavailable",
		"https://" + azure.Account + ".blob.core.windows.net/states/x": "403", // nobody is logged in
		"https://evil.example/":                         "Bad Gateway",
		"https://other.blob.core.windows.net/":          "Bad Gateway",
		"https://login.microsoftonline.com:8443/common": "Bad Gateway",
	} {
		if got := get(address); !strings.Contains(got, want) {
			t.Errorf("%s: %s, not %s", address, got, want)
		}
	}
	strange := a.Strange()
	slices.Sort(strange)
	want := []string{"CONNECT evil.example:443", "CONNECT login.microsoftonline.com:8443", "CONNECT other.blob.core.windows.net:443"}
	if !slices.Equal(strange, want) {
		t.Errorf("noted %v", strange)
	}
	a.Close()
	a.Close()
}
