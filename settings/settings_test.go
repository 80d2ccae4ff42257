package settings_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/settings"
)

var update = flag.Bool("update", false, "write golden files")

// environment is what a server needs at least, changed by some lines of NAME=value.
func environment(t *testing.T, changes ...string) func(string) (string, bool) {
	t.Helper()
	variables := map[string]string{
		"SWITCHYARD_APP_ID": "123456", "SWITCHYARD_PRIVATE_KEY": rsaKey(t), "SWITCHYARD_WEBHOOK_SECRETS": "s3cret",
	}
	for _, change := range changes {
		name, text, _ := strings.Cut(change, "=")
		variables[name] = text
	}
	return func(name string) (string, bool) {
		text, ok := variables[name]
		return text, ok
	}
}

func rsaKey(t *testing.T) string {
	t.Helper()
	key, err := rsa.GenerateKey(rand.Reader, 1024) //nolint:gosec // small, to be fast
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}))
}

func write(t *testing.T, text string) string {
	t.Helper()
	name := filepath.Join(t.TempDir(), "settings.yml")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestAServerNeedsThreeOptions(t *testing.T) {
	t.Parallel()
	got, err := settings.Load("", environment(t))
	if err != nil {
		t.Fatal(err)
	}
	if got.AppID != 123456 || len(got.PrivateKey) == 0 || string(got.WebhookSecrets[0]) != "s3cret" {
		t.Errorf("got %d, %d bytes, %q", got.AppID, len(got.PrivateKey), got.WebhookSecrets)
	}
	want := settings.Defaults()
	want.AppID, want.PrivateKey, want.WebhookSecrets = got.AppID, got.PrivateKey, got.WebhookSecrets
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("the rest differs from the defaults (-want +got):\n%s", diff)
	}
}

func TestACommandThatReadsTheDatabaseNeedsNoneOfThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file      string
		variables []string
		want      string
	}{
		"nothing is set":                       {"", nil, "sqlite:/var/lib/switchyard/switchyard.db"},
		"the directory is in the file":         {"data_dir: /srv/s/", nil, "sqlite:/srv/s/switchyard.db"},
		"the database is in the file":          {"database: sqlite:/srv/db\ndata_dir: /srv/s", nil, "sqlite:/srv/db"},
		"the environment wins":                 {"database: sqlite:/srv/db", []string{"SWITCHYARD_DATABASE=postgres://me@host/s"}, "postgres://me@host/s"},
		"an empty variable is as good as none": {"data_dir: /srv/s", []string{"SWITCHYARD_DATA_DIR="}, "sqlite:/srv/s/switchyard.db"},
		"others' values do not matter": {
			"app_id: mine\nprivate_key_file: /nowhere.pem\nlog: { level: lots }\nisolation: { read: [/] }",
			[]string{"SWITCHYARD_PRIVATE_KEY=hush", "SWITCHYARD_LISTEN=here"},
			"sqlite:/var/lib/switchyard/switchyard.db",
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			given := append([]string{"SWITCHYARD_APP_ID=", "SWITCHYARD_PRIVATE_KEY=", "SWITCHYARD_WEBHOOK_SECRETS="}, c.variables...)
			got, err := settings.LoadDatabase(write(t, c.file), environment(t, given...))
			if got != c.want || err != nil {
				t.Errorf("got %q, %v; want %q", got, err, c.want)
			}
		})
	}
}

func TestWhereTheDatabaseIsIsRefusedInTheWordsOfTheServer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ file, variable string }{
		"a relative directory":        {"data_dir: data", ""},
		"a kind that there is not":    {"", "SWITCHYARD_DATABASE=mysql://me:hush@host/s"},
		"a URL without a database":    {"", "SWITCHYARD_DATABASE=postgres://me:hush@host"},
		"both":                        {"data_dir: data", "SWITCHYARD_DATABASE=mysql://me:hush@host/s"},
		"an option that there is not": {"databse: sqlite:/srv/db", ""},
		"two values":                  {"data_dir: [/a, /b]", ""},
		"no YAML":                     {"data_dir: {", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file, lookup := write(t, c.file), environment(t, c.variable)
			_, want := settings.Load(file, lookup)
			got, err := settings.LoadDatabase(file, lookup)
			if want == nil || err == nil || got != "" || strings.Contains(err.Error(), "hush") {
				t.Fatalf("got %q, %v; a server says %v", got, err, want)
			}
			if diff := cmp.Diff(want.Error(), err.Error()); diff != "" {
				t.Errorf("the words differ (-server +command):\n%s", diff)
			}
		})
	}
	t.Run("a file that is not there", func(t *testing.T) {
		t.Parallel()
		if _, err := settings.LoadDatabase("/nowhere.yml", environment(t)); err == nil || !strings.Contains(err.Error(), "--config /nowhere.yml") {
			t.Errorf("got %v", err)
		}
	})
}

func TestTheEnvironmentWinsOverTheFile(t *testing.T) {
	t.Parallel()
	file := write(t, `
listen: 127.0.0.1:9000
public_url: https://switchyard.example.com/
data_dir: /srv/switchyard
database: sqlite:/srv/db
app_id: 1
webhook_secrets: [new, "old, with a comma"]
github: { url: https://github.example.com }
terraform:
  path: /usr/bin/tofu
  version: 1.11.4
  plugin_cache: /srv/cache
  env: [ARM_CLIENT_ID, TF_TOKEN_app_terraform_io]
network: []
parallel: { plans: 8, applies: 2 }
executors: [actions, local]
limits: { plan: 10m, apply: 1h30m, lock: 90s, stop_grace: 30s, queue: 3m }
drain: 1m
sweep: 2m
replicas: 3
writes: { per_minute: 0, per_hour: 100 }
clients: 7
log: { level: debug, format: text }
`)
	got, err := settings.Load(file, environment(t,
		"SWITCHYARD_WEBHOOK_SECRETS=", "SWITCHYARD_APP_ID=77", "SWITCHYARD_PARALLEL_PLANS=3", "SWITCHYARD_TERRAFORM_ENV=A, B",
		"SWITCHYARD_GITHUB_API=https://api.example.com/", "SWITCHYARD_GITHUB_ISSUER=https://github.example.com/_services/token/acme"))
	if err != nil {
		t.Fatal(err)
	}
	want := settings.Settings{
		Replicas: 3, Writes: settings.Writes{PerMinute: 0, PerHour: 100},
		Listen: "127.0.0.1:9000", PublicURL: "https://switchyard.example.com", DataDir: "/srv/switchyard", Database: "sqlite:/srv/db",
		AppID: 77, PrivateKey: got.PrivateKey, WebhookSecrets: [][]byte{[]byte("new"), []byte("old, with a comma")},
		GitHub: settings.GitHub{
			Web: "https://github.example.com", API: "https://api.example.com", GraphQL: "https://github.example.com/api/graphql",
			Issuer: "https://github.example.com/_services/token/acme",
		},
		Terraform: settings.Terraform{Path: "/usr/bin/tofu", Version: "1.11.4", PluginCache: "/srv/cache", Env: []string{"A", "B"}},
		Parallel:  settings.Parallel{Plans: 3, Applies: 2},
		Executors: []string{settings.ExecutorActions, settings.ExecutorLocal},
		Limits: settings.Limits{
			Plan: 10 * time.Minute, Apply: 90 * time.Minute, Lock: 90 * time.Second, StopGrace: 30 * time.Second, Queue: 3 * time.Minute,
		},
		Replans:   20,
		Retention: 30 * 24 * time.Hour, Drain: time.Minute, Sweep: 2 * time.Minute, Clients: 7, LogLevel: "debug", LogFormat: "text",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

func TestAKeyThatOthersMayReadIsRefusedWithTheCommandThatRepairsIt(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "key.pem")
	if err := os.WriteFile(file, []byte(rsaKey(t)), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(t.TempDir(), "link.pem")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{file, link} {
		for mode, refused := range map[os.FileMode]bool{0o600: false, 0o400: false, 0o640: false, 0o644: true, 0o604: true, 0o606: true} {
			if err := os.Chmod(file, mode); err != nil {
				t.Fatal(err)
			}
			_, err := settings.Load("", environment(t, "SWITCHYARD_PRIVATE_KEY=", "SWITCHYARD_PRIVATE_KEY_FILE="+name))
			if !refused && err != nil {
				t.Errorf("mode %o: %v", mode, err)
			}
			if want := "Run `chmod 600 " + name + "`."; refused && (err == nil || !strings.HasSuffix(err.Error(), want)) {
				t.Errorf("mode %o: got %v, want the end %q", mode, err, want)
			}
		}
	}
}

func TestAddressesFollowFromOne(t *testing.T) {
	t.Parallel()
	for url, want := range map[string]settings.GitHub{
		"https://github.com": {
			Web: "https://github.com", API: "https://api.github.com", GraphQL: "https://api.github.com/graphql",
			Issuer: "https://token.actions.githubusercontent.com",
		},
		"https://octo.ghe.com/": {
			Web: "https://octo.ghe.com", API: "https://api.octo.ghe.com", GraphQL: "https://api.octo.ghe.com/graphql",
			Issuer: "https://token.actions.octo.ghe.com",
		},
		"https://git.example.com": {
			Web: "https://git.example.com", API: "https://git.example.com/api/v3", GraphQL: "https://git.example.com/api/graphql",
			Issuer: "https://git.example.com/_services/token",
		},
		"http://127.0.0.1:8080": {
			Web: "http://127.0.0.1:8080", API: "http://127.0.0.1:8080/api/v3", GraphQL: "http://127.0.0.1:8080/api/graphql",
			Issuer: "http://127.0.0.1:8080/_services/token",
		},
	} {
		t.Run(url, func(t *testing.T) {
			t.Parallel()
			got, err := settings.Load("", environment(t, "SWITCHYARD_GITHUB_URL="+url))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got.GitHub); diff != "" {
				t.Errorf("addresses (-want +got):\n%s", diff)
			}
		})
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	text := rsaKey(t)
	t.Run("a key may come from a file", func(t *testing.T) {
		t.Parallel()
		got, err := settings.Load("", environment(t, "SWITCHYARD_PRIVATE_KEY=", "SWITCHYARD_PRIVATE_KEY_FILE="+write(t, text)))
		if err != nil || string(got.PrivateKey) != text {
			t.Errorf("key has %d bytes, %v", len(got.PrivateKey), err)
		}
	})
	t.Run("a key in one line is read", func(t *testing.T) {
		t.Parallel()
		got, err := settings.Load("", environment(t, "SWITCHYARD_PRIVATE_KEY="+strings.ReplaceAll(text, "\n", `\n`)))
		if err != nil || string(got.PrivateKey) != text {
			t.Errorf("key has %d bytes, %v", len(got.PrivateKey), err)
		}
	})
	t.Run("a key that is not RSA is refused without being shown", func(t *testing.T) {
		t.Parallel()
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		secret := string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
		_, err = settings.Load("", environment(t, "SWITCHYARD_PRIVATE_KEY="+secret))
		if err == nil || !strings.Contains(err.Error(), "no RSA private key") || strings.Contains(err.Error(), secret[30:60]) {
			t.Errorf("error = %v", err)
		}
	})
}

// TestProblems holds each message to a golden file: they are what a person reads first.
func TestProblems(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		file string
		env  []string
	}{
		{name: "nothing is set", env: []string{"SWITCHYARD_APP_ID=", "SWITCHYARD_PRIVATE_KEY=", "SWITCHYARD_WEBHOOK_SECRETS="}},
		{name: "an empty webhook secret", env: []string{"SWITCHYARD_WEBHOOK_SECRETS=hush,"}},
		{name: "an empty list of webhook secrets", file: "webhook_secrets: []", env: []string{"SWITCHYARD_WEBHOOK_SECRETS="}},
		{name: "an empty webhook secret in the file", file: `webhook_secrets: [""]`, env: []string{"SWITCHYARD_WEBHOOK_SECRETS="}},
		{name: "a key that is no key", env: []string{"SWITCHYARD_PRIVATE_KEY=hush_hush"}},
		{name: "a key file that is not there", env: []string{"SWITCHYARD_PRIVATE_KEY=", "SWITCHYARD_PRIVATE_KEY_FILE=/nonexistent/key.pem"}},
		{name: "two keys", env: []string{"SWITCHYARD_PRIVATE_KEY_FILE=/nonexistent/key.pem"}},
		{name: "a key in the file", file: "private_key: hush_hush"},
		{name: "an App ID that is none", env: []string{"SWITCHYARD_APP_ID=Iv1.abc"}},
		{name: "an App ID below one", file: "app_id: -5", env: []string{"SWITCHYARD_APP_ID="}},
		{name: "an address without a port", file: "listen: localhost"},
		{name: "a URL without TLS", env: []string{"SWITCHYARD_GITHUB_URL=http://github.example.com"}},
		{name: "a URL with a query", env: []string{"SWITCHYARD_GITHUB_URL=https://x.example.com/?a=b"}},
		{name: "a URL with a password", env: []string{"SWITCHYARD_GITHUB_URL=https://me:hush@github.example.com"}},
		{name: "a database with a password", file: "database: postgres://me:hush@db"},
		{name: "a database with a password among its parameters", file: "database: postgres:///?host=db&password=hush"},
		{name: "a database without a host", file: "database: postgres:switchyard"},
		{name: "a broken URL with a password", env: []string{"SWITCHYARD_GITHUB_URL=https://me:hush%zz@github.example.com"}},
		{name: "a URL that is none", env: []string{"SWITCHYARD_GITHUB_API=api.github.com"}},
		{name: "a relative path", file: "data_dir: data"},
		{name: "another database", file: "database: mysql://db/switchyard"},
		{name: "a relative database", file: "database: sqlite:switchyard.db"},
		{name: "too many clients", file: "clients: 100001"},
		{name: "an executor that does not exist", file: "executors: [local, jenkins]"},
		{name: "an executor twice", file: "executors: [local, local]"},
		{name: "no executor", file: "executors: []"},
		{name: "no plans at once", file: "parallel: { plans: 0 }"},
		{name: "a time without a unit", file: "limits: { plan: 30 }"},
		{name: "a time below a second", file: "drain: 0s"},
		{name: "a lock awaited for longer than an apply may take", file: "limits: { lock: 3h }"},
		{name: "a version that is a range", file: `terraform: { version: "~> 1.11" }`},
		{name: "an environment name that is none", file: `terraform: { env: ["A=b"] }`},
		{name: "our own secrets for Terraform", env: []string{"SWITCHYARD_TERRAFORM_ENV=SWITCHYARD_PRIVATE_KEY"}},
		{name: "arguments for Terraform", env: []string{"SWITCHYARD_TERRAFORM_ENV=ARM_CLIENT_ID,TF_CLI_ARGS_apply"}},
		{name: "settings for git", file: "network: [GIT_SSH_COMMAND]"},
		{name: "a log level that is none", env: []string{"SWITCHYARD_LOG_LEVEL=verbose"}},
		{name: "an unknown key", file: "github: { ulr: https://github.com }"},
		{name: "an unknown key like no other", file: "colour: blue"},
		{name: "a key twice", file: "listen: :1\nlisten: :2"},
		{name: "a value where a mapping belongs", file: "github: https://github.com"},
		{name: "a mapping where a value belongs", file: "listen: { port: 8080 }"},
		{name: "a list where a value belongs", file: "listen: [a, b]"},
		{name: "an alias", file: "data_dir: &dir /srv\nterraform: { plugin_cache: *dir }"},
		{name: "a key without a value", file: "data_dir:\n"},
		{name: "a file that is no mapping", file: "- listen"},
		{name: "a file that is not YAML", file: "webhook_secrets: hush_hush\n\tx"},
		{name: "two documents", file: "listen: :1\n---\nlisten: :2"},
		{name: "several problems at once", file: "lissten: :1\nclients: x", env: []string{"SWITCHYARD_APP_ID=x"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			file := ""
			if tt.file != "" {
				file = write(t, tt.file)
			}
			_, err := settings.Load(file, environment(t, tt.env...))
			if problems := settings.Problems(nil); !errors.As(err, &problems) {
				t.Fatalf("error = %v; want problems", err)
			}
			got := strings.ReplaceAll(err.Error(), file, "settings.yml") + "\n"
			if file == "" {
				got = err.Error() + "\n"
			}
			if strings.Contains(got, "hush") {
				t.Errorf("a secret is shown: %s", got)
			}
			golden(t, strings.ReplaceAll(tt.name, " ", "-"), got)
		})
	}
	t.Run("a file that is not there", func(t *testing.T) {
		t.Parallel()
		_, err := settings.Load("/nonexistent/settings.yml", environment(t))
		golden(t, "a-file-that-is-not-there", err.Error()+"\n")
	})
}

func TestMisspeltVariablesAreFound(t *testing.T) {
	t.Parallel()
	err := settings.CheckNames([]string{"PATH=/bin", "SWITCHYARD_WEBHOOK_SECRET=hush", "SWITCHYARD_CONFIG=x", "SWITCHYARD_APP_ID=1"}, "SWITCHYARD_CONFIG")
	want := "SWITCHYARD_WEBHOOK_SECRET: there is no such option. Did you mean SWITCHYARD_WEBHOOK_SECRETS?"
	if err == nil || err.Error() != want {
		t.Errorf("error = %v; want %s", err, want)
	}
	if err := settings.CheckNames([]string{"SWITCHYARD_DRAIN=1m", "HOME=/"}); err != nil {
		t.Errorf("error = %v", err)
	}
}

func TestReference(t *testing.T) {
	t.Parallel()
	golden(t, "reference", settings.Reference())
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file) //nolint:gosec // testdata
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", file, diff)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add("listen: :8080\ngithub: { url: https://github.com }")
	f.Add("webhook_secrets: [a, b]\nterraform: { env: [A] }")
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := settings.Load(write(t, text), func(string) (string, bool) { return "", false }); err == nil {
			t.Error("a file alone is enough, although it cannot hold the key")
		}
	})
}

func TestGitMayBeGivenItsOwnCertificates(t *testing.T) {
	t.Parallel()
	got, err := settings.Load(write(t, "network: [GIT_SSL_CAINFO, GIT_SSL_CAPATH]"), environment(t))
	if diff := cmp.Diff([]string{"GIT_SSL_CAINFO", "GIT_SSL_CAPATH"}, got.Network); err != nil || diff != "" {
		t.Errorf("%v; -want +got:\n%s", err, diff)
	}
}
