package terraform

import (
	"fmt"
	"slices"
	"strings"
)

// Environment is what a Terraform process may know about the machine.
type Environment struct {
	Path       string            // PATH
	Home       string            // a private directory
	Temp       string            // a private directory with a short path: providers make sockets in it
	ConfigFile string            // Terraform's CLI configuration, never the machine's
	Extra      map[string]string // the allow-list
}

// reserved are variables that are ours, because another value would break how Terraform is run here.
// https://developer.hashicorp.com/terraform/cli/config/environment-variables
var reserved = []string{
	"HOME", "TMPDIR", "CHECKPOINT_DISABLE", "TF_IN_AUTOMATION", "TF_INPUT", "TF_DATA_DIR", "TF_WORKSPACE",
	"TF_PLUGIN_CACHE_DIR", "TF_REATTACH_PROVIDERS", "TF_LOG", "TF_LOG_CORE", "TF_LOG_PATH", "TF_LOG_PROVIDER",
}

// Environ lists the whole environment of a Terraform process. A name that Switchyard sets itself is an error;
// PATH and TF_CLI_CONFIG_FILE may be given.
func Environ(e Environment) ([]string, error) {
	env := map[string]string{
		"PATH":               e.Path,
		"HOME":               e.Home,
		"TMPDIR":             e.Temp,
		"CHECKPOINT_DISABLE": "1",
		"TF_IN_AUTOMATION":   "1",
		"TF_INPUT":           "0",
		"TF_CLI_CONFIG_FILE": e.ConfigFile,
	}
	for _, name := range sortedKeys(e.Extra) {
		value := e.Extra[name]
		switch {
		case name == "" || strings.ContainsAny(name, "=\x00"):
			return nil, fmt.Errorf("environment variable %q: not a name", name)
		case strings.Contains(value, "\x00"):
			return nil, fmt.Errorf("environment variable %s: its value has a NUL", name)
		case slices.Contains(reserved, name) || strings.HasPrefix(name, "TF_CLI_ARGS"):
			return nil, fmt.Errorf("environment variable %s: Switchyard sets it itself; remove it from the list of variables for Terraform", name)
		}
		env[name] = value
	}
	list := make([]string, 0, len(env))
	for _, name := range sortedKeys(env) {
		list = append(list, name+"="+env[name])
	}
	return list, nil
}
