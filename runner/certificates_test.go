package runner_test

import (
	"encoding/pem"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/operation"
)

// TestAModuleOfAServerWithACertificateOfItsOwn has Terraform fetch a module from a git server whose certificate no public authority
// has signed.
func TestAModuleOfAServerWithACertificateOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	execPath, err := exec.CommandContext(t.Context(), "git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewTLSServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(execPath)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + filepath.Dir(w.git), "GIT_HTTP_EXPORT_ALL=1"}, InheritEnv: []string{"PATH"},
	})
	t.Cleanup(server.Close)
	authorities := filepath.Join(t.TempDir(), "authorities.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	if err := os.WriteFile(authorities, certificate, 0o600); err != nil {
		t.Fatal(err)
	}
	commit := w.run(nil, "-c", "user.name=Ana", "-c", "user.email=ana@example.com", "commit-tree", "-m", "module",
		w.tree(map[string]string{"main.tf": data("stamp", "1")}))
	w.run(nil, "update-ref", "refs/heads/main", commit)
	tree := w.tree(map[string]string{
		"infra/main.tf": root("module \"stamp\" {\n  source = \"git::" + server.URL + "/" + filepath.Base(w.git) + "?ref=main\"\n}\n"),
	})
	for name, c := range map[string]struct {
		env  map[string]string
		want operation.Outcome
	}{
		"which nobody trusts":         {nil, operation.TargetFailed},
		"which Go programs trust":     {map[string]string{"SSL_CERT_FILE": authorities}, operation.Planned},
		"which git alone is to trust": {map[string]string{"GIT_SSL_CAINFO": authorities}, operation.Planned},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			task := w.task(operation.Plan, tree, "infra")
			task.Env, task.WorkDir = c.env, filepath.Join(t.TempDir(), "work")
			result := w.do(task)
			if len(result.Targets) != 1 || result.Targets[0].Outcome != c.want {
				t.Fatalf("got %+v", result)
			}
			if said := result.Targets[0].Error; c.want == operation.TargetFailed && !strings.Contains(said, "certificate") {
				t.Errorf("it says %q", said)
			}
		})
	}
}
