package platform

import (
	"maps"
	"os"
	"path/filepath"
)

// WithGitTrust gives the variables of a process with those by which git trusts the certificates that SSL_CERT_FILE and SSL_CERT_DIR
// name. Programs in Go, Terraform among them, read these two; git reads its own only, and where both are set, its own stay. A path that
// leads nowhere is left out, as Go passes it over. Of several directories git takes one: the first.
// See https://pkg.go.dev/crypto/x509#SystemCertPool and https://git-scm.com/docs/git#_networking.
func WithGitTrust(env map[string]string) map[string]string {
	env = maps.Clone(env)
	if env == nil {
		return nil
	}
	dir := ""
	if dirs := filepath.SplitList(env["SSL_CERT_DIR"]); len(dirs) > 0 {
		dir = dirs[0]
	}
	for name, path := range map[string]string{"GIT_SSL_CAINFO": env["SSL_CERT_FILE"], "GIT_SSL_CAPATH": dir} {
		if _, err := os.Stat(path); env[name] == "" && filepath.IsAbs(path) && err == nil {
			env[name] = path
		}
	}
	return env
}
