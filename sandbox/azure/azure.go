// Package azure stands in for the part of Azure that Terraform's azurerm backend works with: blob storage, which is Azurite behind the
// addresses of Azure, and, made up here, the identity platform, the resource manager's keys of an account, and GitHub's tokens for a
// job. Tests and the sandbox start it. Whoever works with it is configured as in production and finds it by a proxy, which refuses
// every other address and notes it. It checks no signature of a token, and nothing of it is reachable from another machine.
package azure

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/container"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/sas"
	"github.com/Azure/azure-sdk-for-go/sdk/storage/azblob/service"
)

// What there is in the stand-in where Options names nothing else.
const (
	Account       = "stnetworkstate" // not devstoreaccount1, which Azurite's signatures treat otherwise
	Container     = "states"
	ResourceGroup = "rg-state"
	Tenant        = "00000000-0000-4000-8000-0000000000bb"
	Client        = "00000000-0000-4000-8000-000000000001"
	Subscription  = "00000000-0000-4000-8000-0000000000aa"
)

// The addresses that it stands in for, beside those of blobs.
const (
	login   = "login.microsoftonline.com"
	manager = "management.azure.com"
)

// Options say what is started, and where.
type Options struct {
	Node    string // absolute path of Node.js
	Program string // absolute path of Azurite's blob service, main.js
	Dir     string // for its files; it exists, and is the caller's to remove

	Account   string // empty: Account
	Container string // made at the start; empty: Container
	Key       string // of the account, base64; empty: a new one
}

// Find finds Node.js and Azurite: as `make azurite` installs it below root, or else as `azurite-blob` in the PATH. Where one of them is
// missing, reason says so for a person, and is empty otherwise. https://github.com/Azure/Azurite
func Find(root string) (options Options, reason string) {
	node, err := exec.LookPath("node")
	if err != nil {
		return Options{}, "Node.js is not installed, which Azurite needs"
	}
	program := filepath.Join(root, ".bin", "azurite", "node_modules", "azurite", "dist", "src", "blob", "main.js")
	if _, err := os.Stat(program); err != nil {
		if program, err = exec.LookPath("azurite-blob"); err != nil {
			return Options{}, "Azurite is not installed: `make azurite` installs it"
		}
		if program, err = filepath.EvalSymlinks(program); err != nil {
			return Options{}, "Azurite is installed, and its program cannot be found"
		}
	}
	if program, err = filepath.Abs(program); err != nil {
		return Options{}, "Azurite is installed, and its program cannot be found"
	}
	return Options{Node: node, Program: program}, ""
}

// Azure is the stand-in.
type Azure struct {
	options   Options
	authority string // file with the certificate that its addresses are signed by
	service   *service.Client
	blobs     *httputil.ReverseProxy
	proxy     string // URLs
	tokens    string
	close     []func()

	mu        sync.Mutex
	intercept func(http.ResponseWriter, *http.Request) bool
	strange   []string
	asserted  string
}

// jobToken is by what a job of GitHub Actions asks for its token here.
const jobToken = "of the job"

// Start starts the stand-in with an empty container. ctx limits the start only; Close ends it.
func Start(ctx context.Context, options Options) (_ *Azure, err error) {
	if options.Account == "" {
		options.Account = Account
	}
	if options.Container == "" {
		options.Container = Container
	}
	if options.Key == "" {
		const length = 64
		random := make([]byte, length)
		_, _ = rand.Read(random) // never fails: https://pkg.go.dev/crypto/rand#Read
		options.Key = base64.StdEncoding.EncodeToString(random)
	}
	a := &Azure{options: options}
	defer func() {
		if err != nil {
			a.Close()
		}
	}()
	certificate, err := newCertificate(options.Dir, []string{a.blobHost(), login, manager, "127.0.0.1"})
	if err != nil {
		return nil, err
	}
	a.authority = certificate.file
	at, err := a.startAzurite(ctx, certificate)
	if err != nil {
		return nil, err
	}
	direct := &http.Transport{TLSClientConfig: certificate.trust(), ForceAttemptHTTP2: true}
	a.close = append(a.close, direct.CloseIdleConnections)
	if err := a.connect(ctx, at, direct); err != nil {
		return nil, err
	}
	azurite, err := url.Parse(at)
	if err != nil {
		return nil, fmt.Errorf("read the address of Azurite: %w", err)
	}
	a.blobs = &httputil.ReverseProxy{Transport: direct, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(azurite)
		r.Out.Host = r.In.Host // names the account
	}, ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { // whoever asked has gone, or Azurite has
		w.WriteHeader(http.StatusBadGateway)
	}}
	cloud, err := a.serve(ctx, http.HandlerFunc(a.answer), certificate)
	if err != nil {
		return nil, err
	}
	proxy, err := a.serve(ctx, tunnel{to: cloud, known: []string{a.blobHost(), login, manager}, refused: a.note}, nil)
	if err != nil {
		return nil, err
	}
	tokens, err := a.serve(ctx, http.HandlerFunc(giveJobToken), nil)
	if err != nil {
		return nil, err
	}
	a.proxy, a.tokens = "http://"+proxy, "http://"+tokens
	return a, nil
}

// Close ends everything. It may be called more than once.
func (a *Azure) Close() {
	a.mu.Lock()
	all := a.close
	a.close = nil
	a.mu.Unlock()
	for _, one := range slices.Backward(all) {
		one()
	}
}

// Proxied is the environment with which Terraform, and the Azure SDK, find the stand-in. It has no credential.
func (a *Azure) Proxied() map[string]string {
	return map[string]string{"HTTPS_PROXY": a.proxy, "SSL_CERT_FILE": a.authority, "ARM_USE_CLI": "false"}
}

// Env is Proxied with the key of the account.
func (a *Azure) Env() map[string]string {
	env := a.Proxied()
	env["ARM_ACCESS_KEY"] = a.options.Key
	return env
}

// Federated is Proxied with the identity of a job of GitHub Actions: its token is exchanged for one of Client. Where direct, the
// identity itself may use blobs; else the resource manager is asked for the key of the account, in ResourceGroup, which the backend's
// settings have to name.
func (a *Azure) Federated(direct bool) map[string]string {
	env := a.Proxied()
	maps.Copy(env, map[string]string{
		"ARM_USE_OIDC": "true", "ARM_TENANT_ID": Tenant, "ARM_CLIENT_ID": Client, "ARM_SUBSCRIPTION_ID": Subscription,
		"ACTIONS_ID_TOKEN_REQUEST_URL": a.tokens + "?api-version=2.0", "ACTIONS_ID_TOKEN_REQUEST_TOKEN": jobToken,
	})
	if direct {
		env["ARM_USE_AZUREAD"] = "true"
	}
	return env
}

// Signature is a shared access signature, valid for an hour, for all that Terraform does with blobs of the container.
func (a *Azure) Signature() (string, error) {
	all := sas.ContainerPermissions{Read: true, Add: true, Create: true, Write: true, Delete: true, List: true}
	at, err := a.Container().GetSASURL(all, time.Now().Add(time.Hour), nil)
	if err != nil {
		return "", fmt.Errorf("sign: %w", err)
	}
	_, signature, _ := strings.Cut(at, "?")
	return signature, nil
}

// Backend has the settings of a backend whose state is the blob key.
func (a *Azure) Backend(key string) map[string]string {
	return map[string]string{"storage_account_name": a.options.Account, "container_name": a.options.Container, "key": key}
}

// Key is the key of the account, base64.
func (a *Azure) Key() string { return a.options.Key }

// Container is a client for the container that goes to Azurite itself: it is not intercepted.
func (a *Azure) Container() *container.Client {
	return a.service.NewContainerClient(a.options.Container)
}

// Intercept has every request to an address of Azure seen by f before it is answered, several at once, until another f is set; nil is
// none. f reports whether it has answered: with a 503, with what Pass gave, or never, for as long as the request's context lasts.
func (a *Azure) Intercept(f func(http.ResponseWriter, *http.Request) bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.intercept = f
}

// Pass answers a request as if nobody had intercepted it.
func (a *Azure) Pass(w http.ResponseWriter, r *http.Request) {
	switch r.Host {
	case a.blobHost():
		a.blobs.ServeHTTP(w, r)
	case login:
		a.logIn(w, r)
	default:
		a.manage(w, r)
	}
}

// Strange lists the addresses that were asked for and are not Azure's, with the method.
func (a *Azure) Strange() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.strange)
}

// Asserted is by what an identity proved itself last.
func (a *Azure) Asserted() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.asserted
}

func (a *Azure) note(address string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.strange = append(a.strange, address)
}

func (a *Azure) answer(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	intercept := a.intercept
	a.mu.Unlock()
	if intercept == nil || !intercept(w, r) {
		a.Pass(w, r)
	}
}

func (a *Azure) blobHost() string { return a.options.Account + ".blob.core.windows.net" }

// connect makes the client of tests, and the container.
func (a *Azure) connect(ctx context.Context, at string, through *http.Transport) error {
	key, err := service.NewSharedKeyCredential(a.options.Account, a.options.Key)
	if err != nil {
		return errors.New("the key of the account is not base64")
	}
	options := &service.ClientOptions{}
	options.Transport, options.Telemetry = &http.Client{Transport: through}, policy.TelemetryOptions{Disabled: true}
	if a.service, err = service.NewClientWithSharedKeyCredential(at+"/"+a.options.Account, key, options); err != nil {
		return fmt.Errorf("make a client for Azurite: %w", err)
	}
	if _, err := a.Container().Create(ctx, nil); err != nil {
		return fmt.Errorf("make container %s: %w", a.options.Container, err)
	}
	return nil
}

// serve serves on a port of this machine until Close, and gives the address.
func (a *Azure) serve(ctx context.Context, handler http.Handler, certificate *certificate) (string, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("listen: %w", err)
	}
	const patience = time.Minute
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if certificate == nil {
			_ = server.Serve(listener) // ends with Close
			return
		}
		server.TLSConfig = certificate.serve()
		_ = server.ServeTLS(listener, "", "") // as above
	}()
	a.close = append(a.close, func() { _ = server.Close(); <-ended })
	return listener.Addr().String(), nil
}
