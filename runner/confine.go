package runner

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"

	"github.com/switchyard-dev/switchyard/terraform/confine"
)

// confinement is what Terraform and the code of the repository may use: its tree, its data, its plans, its HOME and its
// temporary directory. What init is skipped by, git's index and the lock stay ours, so that code of an earlier plan cannot
// make a later one believe in a tree that it has changed.
func (j *job) confinement(temp string) *confine.Policy {
	policy := confine.Policy{
		Read:     j.task.Isolation.Read,
		Write:    []string{j.work.tree(), j.work.path("data"), j.work.path("plans"), j.work.path("home"), temp},
		Optional: append(j.lent(), j.task.Terraform.Path),
		Accepted: j.task.Isolation.Missing,
	}
	if j.task.CacheDir != "" {
		policy.Optional = append(policy.Optional, j.task.CacheDir)
	}
	policy = policy.With(j.task.Isolation.Write...)
	return &policy
}

// lent are the files that the allow-listed variables name: who gives Terraform the path of a certificate or a token means
// it to be read. Directories are given only by those variables that are known to name one.
func (j *job) lent() []string {
	var paths []string
	for name, value := range j.task.Env {
		switch {
		case name == "SSL_CERT_DIR", name == "GIT_SSL_CAPATH": // https://docs.openssl.org/master/man7/openssl-env/
			paths = append(paths, filepath.SplitList(value)...)
		case filepath.IsAbs(value) && isFile(value):
			paths = append(paths, value)
		}
	}
	return append(paths, quotedPaths(j.task.Env["TF_CLI_CONFIG_FILE"])...)
}

// maxConfigFile bounds Terraform's CLI configuration, in bytes.
const maxConfigFile = 1 << 20

// quotedPath matches an absolute path in Terraform's CLI configuration, in either of its syntaxes.
var quotedPath = regexp.MustCompile(`"(/[^"\\\n]*[^"\\\n/])"`)

// quotedPaths are the directories of providers that the operator's CLI configuration names, such as a mirror.
// https://developer.hashicorp.com/terraform/cli/config/config-file#provider-installation
func quotedPaths(configFile string) []string {
	info, err := os.Stat(configFile)
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxConfigFile {
		return nil
	}
	data, err := os.ReadFile(configFile) //nolint:gosec // the operator's own choice
	if err != nil {
		return nil // Terraform says so
	}
	var paths []string
	for _, match := range quotedPath.FindAllSubmatch(data, -1) {
		paths = append(paths, string(match[1]))
	}
	return paths
}

// isFile reports whether a path leads to a file that has content.
func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode()&fs.ModeType == 0
}
