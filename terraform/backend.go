package terraform

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
)

// Backend gives the type of the backend that the root in dir declares: "azurerm", "local"…; "" where it declares none, or where
// that cannot be read. Of several, that of an override file holds, as for Terraform, else the last one.
// https://developer.hashicorp.com/terraform/language/files/override
func Backend(read FileReader, dir string) (string, error) {
	files, err := sources(read, path.Clean(dir))
	if err != nil {
		return "", err
	}
	declared, overridden := "", ""
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, block := range files[name].blocks("terraform") {
			kind := backendOf(block.Body)
			switch stem, _, _ := strings.Cut(name, "."); {
			case kind == "":
			case stem == "override" || strings.HasSuffix(stem, "_override"):
				overridden = kind
			default:
				declared = kind
			}
		}
	}
	if overridden != "" {
		return overridden, nil
	}
	return declared, nil
}

// backendOf is the label of the backend block within a terraform block.
func backendOf(body hcl.Body) string {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "backend", LabelNames: []string{"type"}}}})
	if content == nil {
		return ""
	}
	kind := ""
	for _, block := range content.Blocks {
		kind = block.Labels[0]
	}
	return kind
}
