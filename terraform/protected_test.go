package terraform_test

import (
	"io/fs"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/switchyard-dev/switchyard/terraform"
)

func TestProtected(t *testing.T) {
	t.Parallel()
	files := map[string]map[string][]byte{
		"root": {
			"main.tf": []byte(`
resource "azurerm_key_vault" "kept" {
  lifecycle {
    ignore_changes  = [tags]
    prevent_destroy = true
  }
}
resource "azurerm_key_vault" "free" {
  lifecycle {
    prevent_destroy = false
  }
}
resource "azurerm_key_vault" "odd" {
  lifecycle {
    prevent_destroy = var.x
  }
}
resource "azurerm_key_vault" "bare" {}
module "m" {
  source = "../m"
}
module "elsewhere" {
  source = "acme/m/azurerm"
}`),
			"more.tf.json": []byte(`{"resource":{"azurerm_dns_zone":{"main":{"lifecycle":{"prevent_destroy":true}}}}}`),
			"broken.tf":    []byte(`resource "x" {`),
		},
		"m": {"main.tf": []byte("resource \"azurerm_redis_cache\" \"main\" {\n  lifecycle {\n    prevent_destroy = true\n  }\n}\n")},
	}
	read := func(dir string) (map[string][]byte, error) {
		if found, ok := files[dir]; ok {
			return found, nil
		}
		return nil, fs.ErrNotExist
	}
	got, err := terraform.Protected(t.Context(), read, "root")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{"m:azurerm_redis_cache.main", "root:azurerm_dns_zone.main", "root:azurerm_key_vault.kept"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
