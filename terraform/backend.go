package terraform

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
)

// BackendBlock is the backend that a root declares.
type BackendBlock struct {
	Type string // "azurerm", "local"…; empty: none, or it cannot be read
	// Settings are the attributes of the block: strings and booleans; nil for what is something else, or no literal.
	Settings map[string]any
}

// Backend gives the type of the backend that the root in dir declares: see ReadBackend.
func Backend(read FileReader, dir string) (string, error) {
	block, err := ReadBackend(read, dir)
	return block.Type, err
}

// ReadBackend reads the backend that the root in dir declares. Of several, that of an override file holds, as for Terraform, else the
// last one. What init is told beside it (-backend-config) goes before its settings.
// https://developer.hashicorp.com/terraform/language/files/override
func ReadBackend(read FileReader, dir string) (BackendBlock, error) {
	files, err := sources(read, path.Clean(dir))
	if err != nil {
		return BackendBlock{}, err
	}
	var declared, overridden BackendBlock
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, block := range files[name].blocks("terraform") {
			found := backendOf(block.Body)
			switch stem, _, _ := strings.Cut(name, "."); {
			case found.Type == "":
			case stem == "override" || strings.HasSuffix(stem, "_override"):
				overridden = found
			default:
				declared = found
			}
		}
	}
	if overridden.Type != "" {
		return overridden, nil
	}
	return declared, nil
}

// backendOf is the backend block within a terraform block.
func backendOf(body hcl.Body) (found BackendBlock) {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "backend", LabelNames: []string{"type"}}}})
	if content == nil {
		return found
	}
	for _, block := range content.Blocks {
		found = BackendBlock{Type: block.Labels[0], Settings: map[string]any{}}
		attributes, _ := block.Body.JustAttributes() // mistakes are Terraform's to report
		for name, attribute := range attributes {
			found.Settings[name] = settingOf(attribute.Expr)
		}
	}
	return found
}

// settingOf is a literal string or boolean; nil for anything else, which is not worked out: an expression may take its time.
func settingOf(expression hcl.Expression) any {
	switch native := expression.(type) {
	case *hclsyntax.LiteralValueExpr:
	case *hclsyntax.TemplateExpr:
		if !native.IsStringLiteral() {
			return nil
		}
	case hclsyntax.Expression:
		return nil
	}
	value, diagnostics := expression.Value(nil)
	switch {
	case diagnostics.HasErrors() || !value.IsWhollyKnown() || value.IsNull():
		return nil
	case value.Type() == cty.String:
		return value.AsString()
	case value.Type() == cty.Bool:
		return value.True()
	}
	return nil
}
