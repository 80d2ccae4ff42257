package settings

import "os"

// NetworkEnv is what git and the runner get of the server's environment.
func (s Settings) NetworkEnv() map[string]string { return pick(s.Network) }

// TerraformEnv is what Terraform gets of the server's environment.
func (s Settings) TerraformEnv() map[string]string {
	return pick(append(append([]string(nil), s.Network...), s.Terraform.Env...))
}

func pick(names []string) map[string]string {
	picked := map[string]string{}
	for _, name := range names {
		if value, ok := os.LookupEnv(name); ok {
			picked[name] = value
		}
	}
	return picked
}
