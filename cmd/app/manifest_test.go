package main_test

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// manifest has the keys of https://docs.github.com/en/apps/sharing-github-apps/registering-a-github-app-from-a-manifest#github-app-manifest-parameters
type manifest struct {
	Name           string `yaml:"name"`
	URL            string `yaml:"url"`
	HookAttributes struct {
		URL    string `yaml:"url"`
		Active bool   `yaml:"active"`
	} `yaml:"hook_attributes"`
	RedirectURL         string            `yaml:"redirect_url"`
	CallbackURLs        []string          `yaml:"callback_urls"`
	SetupURL            string            `yaml:"setup_url"`
	Description         string            `yaml:"description"`
	Public              bool              `yaml:"public"`
	DefaultEvents       []string          `yaml:"default_events"`
	DefaultPermissions  map[string]string `yaml:"default_permissions"`
	RequestOAuth        bool              `yaml:"request_oauth_on_install"`
	SetupOnUpdate       bool              `yaml:"setup_on_update"`
	UserTokenExpiration bool              `yaml:"expire_user_tokens"`
}

func readManifest(t *testing.T) manifest {
	t.Helper()
	decoder := yaml.NewDecoder(bytes.NewReader([]byte(page(t, top+"/app.yml"))))
	decoder.KnownFields(true)
	var app manifest
	if err := decoder.Decode(&app); err != nil {
		t.Fatalf("app.yml is no manifest: %v", err)
	}
	return app
}

func TestTheAppIsAManifestThatGitHubTakes(t *testing.T) {
	t.Parallel()
	app := readManifest(t)
	if app.Name == "" || app.URL == "" || app.HookAttributes.URL == "" || !app.HookAttributes.Active || app.Public {
		t.Errorf("app.yml lacks what GitHub requires, or is public: %+v", app)
	}
}

// The stand-in refuses with 403 what the permissions of an installation do not cover. So what all of its tests
// run with is what the App asks for.
func TestTheAppAsksForWhatTheStandInEnforces(t *testing.T) {
	t.Parallel()
	app := readManifest(t)
	if diff := cmp.Diff(sandbox.DefaultPermissions(), app.DefaultPermissions); diff != "" {
		t.Errorf("app.yml and the stand-in differ in permissions (-stand-in +app.yml):\n%s", diff)
	}
	events := slices.Sorted(slices.Values(app.DefaultEvents))
	if diff := cmp.Diff(sandbox.DefaultEvents(), events); diff != "" {
		t.Errorf("app.yml and the stand-in differ in events (-stand-in +app.yml):\n%s", diff)
	}
	for _, never := range []string{"administration", "workflows", "secrets", "organization_administration"} {
		if level, asked := app.DefaultPermissions[never]; asked {
			t.Errorf("app.yml asks for %s: %s", never, level)
		}
	}
}

// key writes a private key, and gives its file.
func key(t *testing.T, dir string) string {
	t.Helper()
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "private-key.pem")
	write(t, file, string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(made)})))
	return file
}
