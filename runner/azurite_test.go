package runner_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"

	"github.com/switchyard-dev/switchyard/operation"
)

// The storage account of these tests; the key is nobody's.
const (
	azuriteAccount   = "stnetworkstate"
	azuriteContainer = "states"
	azuriteKey       = "network-dev"
)

// storage is Azurite behind what stands in for Azure's addresses: a proxy that ends TLS for them and refuses every other one.
type storage struct {
	key     string // of the account, base64
	service *service.Client
	env     map[string]string // with which Terraform finds it

	refuse   atomic.Bool // states, but not what is beside them
	mu       sync.Mutex
	strange  []string // addresses that were asked for and are not Azure's
	asserted string   // what the identity proved itself by
}

// newStorage starts Azurite. https://github.com/Azure/Azurite
func newStorage(t *testing.T) *storage {
	t.Helper()
	program := filepath.Join("..", ".bin", "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
	node, err := exec.LookPath("node")
	if _, missing := os.Stat(program); missing != nil || err != nil {
		const text = "NO BLOB BESIDE A STATE IS TESTED: this needs node, and Azurite, which `make azurite` installs"
		if os.Getenv("CI") != "" {
			t.Fatal(text)
		}
		t.Skip(text)
	}
	random := make([]byte, 64)
	_, _ = rand.Read(random)
	s := &storage{key: base64.StdEncoding.EncodeToString(random)}
	at := startAzurite(t, node, program, azuriteAccount+":"+s.key)
	shared, err := service.NewSharedKeyCredential(azuriteAccount, s.key)
	if err != nil {
		t.Fatal(err)
	}
	if s.service, err = service.NewClientWithSharedKeyCredential(at+"/"+azuriteAccount, shared, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := s.container().Create(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	s.startProxy(t, at)
	return s
}

// startAzurite starts the blob service and gives its address.
func startAzurite(t *testing.T, node, program, accounts string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.Context()), 2*time.Minute)
	cmd := exec.CommandContext(ctx, node, program, "--blobHost", "127.0.0.1", "--blobPort", "0", "--inMemoryPersistence", "--disableTelemetry", "--silent")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "AZURITE_ACCOUNTS=" + accounts}
	cmd.Dir = t.TempDir()
	var problems bytes.Buffer
	cmd.Stderr = &problems
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.Args[1], _ = filepath.Abs(program)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if _, at, found := strings.Cut(lines.Text(), "listens on "); found {
			go func() { _, _ = io.Copy(io.Discard, out) }()
			return strings.TrimSpace(at)
		}
	}
	t.Fatalf("Azurite does not listen: %s", problems.String())
	return ""
}

func (s *storage) container() *container.Client {
	return s.service.NewContainerClient(azuriteContainer)
}

// startProxy starts the proxy, with a certificate for the addresses that it stands in for.
func (s *storage) startProxy(t *testing.T, azurite string) {
	t.Helper()
	hosts := []string{azuriteAccount + ".blob.core.windows.net", "login.microsoftonline.com", "management.azure.com"}
	certificate, authority := certificateFor(t, hosts)
	target, err := url.Parse(azurite)
	if err != nil {
		t.Fatal(err)
	}
	blobs := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(target)
		r.Out.Host = r.In.Host
	}}
	azure := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.Host {
		case hosts[0]:
			if s.refuse.Load() && r.Method == http.MethodPut && r.ContentLength != 0 && r.URL.Query().Get("comp") == "" &&
				r.URL.Path == "/"+azuriteContainer+"/"+azuriteKey {
				w.Header().Set("X-Ms-Error-Code", "AuthorizationFailure")
				w.WriteHeader(http.StatusForbidden)
				return
			}
			blobs.ServeHTTP(w, r)
		case hosts[1]:
			s.logIn(w, r)
		default:
			s.listKeys(w, r)
		}
	}))
	azure.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	azure.StartTLS()
	t.Cleanup(azure.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.Host)
		if r.Method != http.MethodConnect || !strings.Contains(strings.Join(hosts, " "), host) {
			s.mu.Lock()
			s.strange = append(s.strange, r.Method+" "+r.Host)
			s.mu.Unlock()
			http.Error(w, "not Azure", http.StatusBadGateway)
			return
		}
		connect(w, azure.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	s.env = map[string]string{"HTTPS_PROXY": proxy.URL, "SSL_CERT_FILE": authority, "ARM_USE_CLI": "false"}
}

// connect joins a connection to a proxy with one to an address.
func connect(w http.ResponseWriter, address string) {
	there, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	here, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = io.WriteString(here, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(there, buffered); _ = there.Close() }()
	go func() { _, _ = io.Copy(here, there); _ = here.Close() }()
}

// certificateFor makes a certificate for some hosts, and a file with the authority that signed it.
func certificateFor(t *testing.T, hosts []string) (tls.Certificate, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "tests"}, DNSNames: hosts, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, file
}

// logIn is the identity platform: it gives a token for a federated assertion.
// https://learn.microsoft.com/entra/identity-platform/v2-oauth2-client-creds-grant-flow#third-case-access-token-request-with-a-federated-credential
func (s *storage) logIn(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	const tenant = "https://login.microsoftonline.com/" + azureTenant
	if !strings.HasSuffix(r.URL.Path, "/token") {
		_, _ = fmt.Fprintf(w, `{"token_endpoint":"%[1]s/oauth2/v2.0/token","authorization_endpoint":"%[1]s/oauth2/v2.0/authorize",`+
			`"issuer":"%[1]s/v2.0","tenant_discovery_endpoint":"%[1]s/v2.0/.well-known/openid-configuration","metadata":[]}`, tenant)
		return
	}
	_ = r.ParseForm()
	s.mu.Lock()
	s.asserted = r.PostForm.Get("client_assertion")
	s.mu.Unlock()
	claims := base64.RawURLEncoding.EncodeToString([]byte(`{"tid":"` + azureTenant + `","oid":"00000000-0000-4000-9000-000000000001"}`))
	_, _ = fmt.Fprintf(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"e30.%s.unsigned"}`, claims)
}

// listKeys is Azure's resource manager.
func (s *storage) listKeys(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch {
	case !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer e30."):
		http.Error(w, "{}", http.StatusUnauthorized)
	case r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/resourceGroups/rg-state/providers/Microsoft.Storage/storageAccounts/"+
		azuriteAccount+"/listKeys"):
		_, _ = fmt.Fprintf(w, `{"keys":[{"keyName":"key1","value":"%s","permissions":"FULL"}]}`, s.key)
	default:
		_, _ = fmt.Fprintf(w, `{"id":"%s","name":"%s","location":"westeurope","properties":{"primaryEndpoints":{"blob":"https://%s.blob.core.windows.net/"}}}`,
			r.URL.Path, azuriteAccount, azuriteAccount)
	}
}

// read gives the content of a blob.
func (s *storage) read(t *testing.T, name string) string {
	t.Helper()
	got, err := s.container().NewBlobClient(name).DownloadStream(t.Context(), nil)
	if err != nil {
		t.Fatalf("read blob %s: %v", name, err)
	}
	content, err := io.ReadAll(got.Body)
	_ = got.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestAStateIsKeptInABlobBesideIt(t *testing.T) {
	t.Parallel()
	for name, with := range map[string]func(t *testing.T, s *storage, backend, env map[string]string){
		"with the account's key": func(_ *testing.T, s *storage, _, env map[string]string) { env["ARM_ACCESS_KEY"] = s.key },
		"with a signature in the backend's settings": func(t *testing.T, s *storage, backend, _ map[string]string) {
			t.Helper()
			at, err := s.container().GetSASURL(sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true},
				time.Now().Add(time.Hour), nil)
			if err != nil {
				t.Fatal(err)
			}
			_, backend["sas_token"], _ = strings.Cut(at, "?")
		},
		"by OIDC, with a key that Azure is asked for": func(t *testing.T, _ *storage, backend, env map[string]string) {
			t.Helper()
			tokens := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Authorization") != "Bearer of the job" || r.URL.Query().Get("audience") != "api://AzureADTokenExchange" {
					http.Error(w, "{}", http.StatusUnauthorized)
					return
				}
				_, _ = io.WriteString(w, `{"value":"signed by GitHub"}`)
			}))
			t.Cleanup(tokens.Close)
			env["ARM_USE_OIDC"], env["ARM_TENANT_ID"], env["ARM_CLIENT_ID"] = "true", azureTenant, "00000000-0000-4000-8000-000000000001"
			env["ARM_SUBSCRIPTION_ID"] = "00000000-0000-4000-8000-0000000000aa"
			env["ACTIONS_ID_TOKEN_REQUEST_URL"], env["ACTIONS_ID_TOKEN_REQUEST_TOKEN"] = tokens.URL+"?api-version=2.0", "of the job"
			backend["resource_group_name"] = "rg-state"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w, s := newWorld(t), newStorage(t)
			backend := map[string]string{"storage_account_name": azuriteAccount, "container_name": azuriteContainer, "key": azuriteKey}
			env := s.env
			with(t, s, backend, env)
			attempts := 1
			if name == "with the account's key" {
				attempts = 2 // of one operation: the second must not write over what the first has left
			}
			for attempt := 1; attempt <= attempts; attempt++ {
				s.refuse.Store(false)
				target := w.unsaved(kept("azurerm"), backend, func(task *operation.Task) {
					task.Env, task.Attempt = env, attempt
					s.refuse.Store(task.Kind == operation.Apply)
				})
				blob := azuriteKey + ".errored-7" + map[int]string{1: "", 2: ".2"}[attempt]
				if target.Unsaved.Kept != operation.KeptBlob || target.Unsaved.Place != azuriteAccount+"/"+azuriteContainer+"/"+blob ||
					!strings.Contains(target.Unsaved.Next, "--name "+blob+" --file errored.tfstate\nterraform state push errored.tfstate") ||
					len(w.inClear()) > 0 {
					t.Fatalf("got %+v, in clear %v: %s", target.Unsaved, w.inClear(), target.Error)
				}
				if state := s.read(t, blob); !strings.Contains(state, secretInput) || !strings.Contains(state, `"lineage"`) {
					t.Errorf("the blob has %q", state)
				}
			}
			if len(s.strange) > 0 {
				t.Errorf("asked elsewhere: %v", s.strange)
			}
			if strings.HasPrefix(name, "by OIDC") && s.asserted != "signed by GitHub" {
				t.Errorf("proved itself by %q", s.asserted)
			}
		})
	}
}
