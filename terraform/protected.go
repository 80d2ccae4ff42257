package terraform

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/zclconf/go-cty/cty"
)

// Protected lists the resources that the root in dir and its local modules keep from being destroyed by prevent_destroy,
// sorted: the directory of the module, relative to the tree, a colon, and TYPE.NAME. Terraform takes only a constant there.
// https://developer.hashicorp.com/terraform/language/meta-arguments/lifecycle#prevent_destroy
func Protected(ctx context.Context, read FileReader, dir string) ([]string, error) {
	found := map[string]bool{}
	_, err := walk(ctx, read, dir, func(dir string, files map[string]source) {
		for _, file := range files {
			for _, block := range file.blocks("resource") {
				if preventsDestroy(block.Body) {
					found[dir+":"+strings.Join(block.Labels, ".")] = true
				}
			}
		}
	})
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// preventsDestroy reports whether the body of a resource has prevent_destroy = true.
func preventsDestroy(body hcl.Body) bool {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: "lifecycle"}}})
	if content == nil {
		return false
	}
	for _, lifecycle := range content.Blocks {
		inner, _, _ := lifecycle.Body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: "prevent_destroy"}}})
		if inner == nil || inner.Attributes["prevent_destroy"] == nil {
			continue
		}
		value, problems := inner.Attributes["prevent_destroy"].Expr.Value(nil)
		if !problems.HasErrors() && value.IsWhollyKnown() && !value.IsNull() && value.Type() == cty.Bool && value.True() {
			return true
		}
	}
	return false
}
