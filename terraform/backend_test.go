package terraform_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/terraform"
)

func TestTheBackendOfARoot(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  string
	}{
		"azurerm":                      {map[string]string{"main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n"}, "azurerm"},
		"in JSON":                      {map[string]string{"main.tf.json": `{"terraform": {"backend": {"azurerm": {}}}}`}, "azurerm"},
		"none":                         {map[string]string{"main.tf": "terraform {}\nresource \"a\" \"backend\" {}\n"}, ""},
		"Terraform's cloud":            {map[string]string{"main.tf": "terraform {\n  cloud {}\n}\n"}, ""},
		"an override file goes before": {map[string]string{"a_override.tf": "terraform {\n  backend \"local\" {}\n}\n", "main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n"}, "local"},
		"a comment is none":            {map[string]string{"main.tf": "# terraform { backend \"azurerm\" {} }\n"}, ""},
		"a file that cannot be read":   {map[string]string{"main.tf": "terraform { backend \"azurerm\" {"}, ""},
		"a backend without a type":     {map[string]string{"main.tf": "terraform {\n  backend {}\n}\n"}, ""},
		"a backend with two":           {map[string]string{"main.tf": "terraform {\n  backend \"azurerm\" \"x\" {}\n}\n"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := terraform.Backend(func(string) (map[string][]byte, error) {
				files := map[string][]byte{}
				for name, text := range c.files {
					files[name] = []byte(text)
				}
				return files, nil
			}, "infra")
			if err != nil || got != c.want {
				t.Errorf("it gives %q, %v", got, err)
			}
		})
	}
}

func TestTheSettingsOfABackend(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		files map[string]string
		want  map[string]any
	}{
		"strings and booleans": {
			map[string]string{"main.tf": "terraform {\n  backend \"azurerm\" {\n    key = \"n\"\n    use_oidc = true\n  }\n}\n"},
			map[string]any{"key": "n", "use_oidc": true},
		},
		"what has to be worked out is not known": {
			map[string]string{"main.tf": "terraform {\n  backend \"azurerm\" {\n    key = \"n-${var.x}\"\n" +
				"    container_name = join(\"\", [\"a\"])\n    timeout = 3\n    account = var.x\n  }\n}\n"},
			map[string]any{"key": nil, "container_name": nil, "timeout": nil, "account": nil},
		},
		"in JSON":                      {map[string]string{"main.tf.json": `{"terraform": {"backend": {"azurerm": {"key": "n", "use_oidc": true}}}}`}, map[string]any{"key": "n", "use_oidc": true}},
		"none":                         {map[string]string{"main.tf": "terraform {\n  backend \"azurerm\" {}\n}\n"}, map[string]any{}},
		"no backend":                   {map[string]string{"main.tf": "terraform {}\n"}, nil},
		"a block in it is none":        {map[string]string{"main.tf": "terraform {\n  backend \"x\" {\n    key = \"n\"\n    inner {\n      key = \"m\"\n    }\n  }\n}\n"}, map[string]any{"key": "n"}},
		"an override file goes before": {map[string]string{"override.tf": "terraform {\n  backend \"x\" {\n    key = \"o\"\n  }\n}\n", "main.tf": "terraform {\n  backend \"x\" {\n    key = \"n\"\n    path = \"p\"\n  }\n}\n"}, map[string]any{"key": "o"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := terraform.ReadBackend(func(string) (map[string][]byte, error) {
				files := map[string][]byte{}
				for name, text := range c.files {
					files[name] = []byte(text)
				}
				return files, nil
			}, "infra")
			if diff := cmp.Diff(c.want, got.Settings); err != nil || diff != "" {
				t.Errorf("%v, -want +got:\n%s", err, diff)
			}
		})
	}
}
