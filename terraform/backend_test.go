package terraform_test

import (
	"testing"

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
