package platform_test

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/platform"
)

func TestGitTrustsWhatOtherProgramsTrust(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file, missing := filepath.Join(dir, "authorities.pem"), filepath.Join(dir, "none")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	list := dir + string(filepath.ListSeparator) + missing
	for name, c := range map[string]struct{ env, more map[string]string }{
		"nothing is said":       {nil, nil},
		"something else":        {map[string]string{"HTTPS_PROXY": "http://proxy"}, nil},
		"a file":                {map[string]string{"SSL_CERT_FILE": file}, map[string]string{"GIT_SSL_CAINFO": file}},
		"directories":           {map[string]string{"SSL_CERT_DIR": list}, map[string]string{"GIT_SSL_CAPATH": dir}},
		"a file of git's own":   {map[string]string{"SSL_CERT_FILE": file, "GIT_SSL_CAINFO": "/own"}, nil},
		"a directory of git's":  {map[string]string{"SSL_CERT_DIR": dir, "GIT_SSL_CAPATH": "/own"}, nil},
		"what is not there":     {map[string]string{"SSL_CERT_FILE": missing, "SSL_CERT_DIR": missing}, nil},
		"a path from somewhere": {map[string]string{"SSL_CERT_FILE": "certificates_test.go"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := map[string]string{}
			for _, part := range []map[string]string{c.env, c.more} {
				maps.Copy(want, part)
			}
			before := len(c.env)
			got := platform.WithGitTrust(c.env)
			if got == nil {
				got = map[string]string{}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if len(c.env) != before {
				t.Error("it changes what it was given")
			}
		})
	}
}
