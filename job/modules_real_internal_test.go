package job

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/jonboulle/clockwork"
	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/hub"
	"github.com/switchyard-dev/switchyard/sandbox"
	"github.com/switchyard-dev/switchyard/terraform"
)

// TestTerraformFetchesAPrivateModule has Terraform itself fetch from the stand-in's git server, which asks for a token.
func TestTerraformFetchesAPrivateModule(t *testing.T) {
	t.Parallel()
	path, err := terraform.Find(t.Context(), terraform.Want{})
	if err != nil {
		t.Fatal(err)
	}
	box, err := sandbox.Start(t.Context(), sandbox.Options{Dir: t.TempDir(), Log: zerolog.Nop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = box.Close() })
	if err := box.CreateOrg("acme"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"stamp", "secret"} {
		if _, err := box.CreateRepository(t.Context(), "acme", name, sandbox.Seed{
			DefaultBranch: "main", Private: true, Branches: []sandbox.SeedBranch{{Name: "main", Files: map[string]string{"main.tf": "# a module\n"}}},
		}); err != nil {
			t.Fatal(err)
		}
	}
	if err := box.Install(t.Context(), "acme", "stamp", "secret"); err != nil {
		t.Fatal(err)
	}
	hubs, err := hub.New(hub.Options{AppID: box.AppID(), PrivateKey: box.PrivateKey(), APIURL: box.APIURL(), GraphQLURL: box.GraphQLURL()})
	if err != nil {
		t.Fatal(err)
	}
	installations, err := hubs.Installations(t.Context())
	if err != nil || len(installations) != 1 {
		t.Fatalf("installations: %v, %v", installations, err)
	}
	token, _, err := hubs.ReadToken(t.Context(), installations[0].ID, []string{"stamp"})
	if err != nil {
		t.Fatal(err)
	}
	task, log := applyTask(), &bytes.Buffer{}
	machine := newWorld().machine
	machine.Web = box.URL()
	p := Parts{
		Env:     func(name string) (string, bool) { return token, name == "INPUT_MODULES_TOKEN" },
		Machine: machine, Clock: clockwork.NewRealClock(), Out: log,
	}
	if err := p.haveModules(t.Context(), &task, []string{"acme/stamp"}); err != nil {
		t.Fatal(err)
	}
	var access []string
	for name, value := range task.InitEnv {
		access = append(access, name+"="+value)
	}
	_, host, _ := strings.Cut(box.URL(), "://")
	for name, c := range map[string]struct {
		source string
		env    []string
		want   bool
	}{
		"with the token":                        {"git::" + box.URL() + "/acme/stamp.git", access, true},
		"with the token, of a source by SSH":    {"git::ssh://git@" + host + "/acme/stamp.git?ref=main", access, true},
		"without the token":                     {"git::" + box.URL() + "/acme/stamp.git", []string{"GIT_TERMINAL_PROMPT=0"}, false},
		"of a repository that is not its own":   {"git::" + box.URL() + "/acme/secret.git", access, false},
		"of a repository with a like beginning": {"git::" + box.URL() + "/acme/stamp-2.git", access, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			if err := os.WriteFile(filepath.Join(dir, "main.tf"), []byte("module \"m\" {\n  source = \""+c.source+"\"\n}\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			tool := terraform.Tool{
				Path: path, InitEnv: c.env,
				Env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "GIT_CONFIG_NOSYSTEM=1", "CHECKPOINT_DISABLE=1"},
			}
			err := tool.Root(dir, "data").Init(t.Context(), nil, "")
			if (err == nil) != c.want {
				t.Errorf("init: %v", err)
			}
			if err != nil && (strings.Contains(err.Error(), token) || strings.Contains(err.Error(), "Basic ")) {
				t.Errorf("the error tells the token: %v", err)
			}
			_ = filepath.WalkDir(dir, func(file string, entry os.DirEntry, err error) error {
				if err != nil || !entry.Type().IsRegular() {
					return err
				}
				data, err := os.ReadFile(file) //nolint:gosec // of the test's own directory
				if bytes.Contains(data, []byte(token)) {
					t.Errorf("%s has the token", file)
				}
				return err
			})
		})
	}
}
