package git_test

import (
	"context"
	"encoding/pem"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
)

// TestAServerWithACertificateOfItsOwn has git itself fetch from a server whose certificate no public authority has signed.
func TestAServerWithACertificateOfItsOwn(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	tip := w.commit("refs/heads/main", "first", files{"a": "1"})
	server := httptest.NewTLSServer(w.server.Config.Handler)
	t.Cleanup(server.Close)
	authorities, other := filepath.Join(t.TempDir(), "authorities.pem"), filepath.Join(t.TempDir(), "other.pem")
	certificate := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	for path, data := range map[string][]byte{authorities: certificate, other: nil} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want bool
	}{
		"is not trusted when nobody says so":       {nil, false},
		"is trusted by the file for Go programs":   {map[string]string{"SSL_CERT_FILE": authorities}, true},
		"is trusted by git's own file":             {map[string]string{"GIT_SSL_CAINFO": authorities}, true},
		"git's own file goes before that of Go":    {map[string]string{"GIT_SSL_CAINFO": authorities, "SSL_CERT_FILE": other}, true},
		"a file that is not there changes nothing": {map[string]string{"SSL_CERT_FILE": authorities + ".none"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mirrors := git.New(t.TempDir(), func(r operation.Repository) string {
				return server.URL + "/" + r.Owner + "/" + strings.ReplaceAll(r.Name, " ", "%20") + ".git"
			}, func(context.Context, operation.Repository) (string, error) { return token, nil }, git.Options{Env: c.env})
			t.Cleanup(func() { _ = mirrors.Close() })
			err := mirrors.Fetch(t.Context(), repo)
			if (err == nil) != c.want || err != nil && !strings.Contains(err.Error(), "certificate") {
				t.Fatalf("the fetch gives %v", err)
			}
			if !c.want {
				return
			}
			if sha, ok, err := mirrors.Branch(t.Context(), repo, "main"); err != nil || !ok || sha != tip {
				t.Errorf("main = %q, %v, %v; want %s", sha, ok, err, tip)
			}
		})
	}
}
