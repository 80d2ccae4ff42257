package terraform

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// MaxClockCalls bounds how many calls ClockCalls lists of one root.
const MaxClockCalls = 20

// ClockCall is a place in configuration where the time is asked for, so that no two plans are the same.
type ClockCall struct {
	Function string // timestamp or plantimestamp
	Dir      string // of the root or of the local module, relative to the tree
	Address  string // within that module: azurerm_resource_group.main, local.now, module.stamp
	Argument string // of a block; empty for locals
}

// clockFunctions are those of Terraform's functions that give the time.
// https://developer.hashicorp.com/terraform/language/functions/timestamp
// https://developer.hashicorp.com/terraform/language/functions/plantimestamp
var clockFunctions = []string{"timestamp", "plantimestamp"}

// ClockCalls lists where the root in dir and its local modules ask for the time, in the order of files and lines, at most
// MaxClockCalls of them. Files in JSON syntax, and modules from elsewhere, are not looked into.
func ClockCalls(ctx context.Context, read FileReader, dir string) ([]ClockCall, error) {
	var found []ClockCall
	_, err := walk(ctx, read, dir, func(dir string, files map[string]source) {
		for _, name := range slices.Sorted(maps.Keys(files)) {
			body, native := files[name].body.(*hclsyntax.Body)
			if !native {
				continue
			}
			for _, block := range body.Blocks {
				for _, call := range clockCallsOf(block) {
					call.Dir = dir
					found = append(found, call)
				}
			}
		}
	})
	return found[:min(len(found), MaxClockCalls)], err
}

// clockCallsOf lists the calls in one block, each argument and function once.
func clockCallsOf(block *hclsyntax.Block) []ClockCall {
	var found []ClockCall
	add := func(argument string, node hclsyntax.Node) {
		for _, function := range clocksIn(node) {
			call := ClockCall{Function: function, Address: addressOf(block), Argument: argument}
			if block.Type == "locals" {
				call.Address, call.Argument = "local."+argument, ""
			}
			if !slices.Contains(found, call) {
				found = append(found, call)
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(block.Body.Attributes)) {
		add(name, block.Body.Attributes[name].Expr)
	}
	for _, nested := range block.Body.Blocks {
		add(nested.Type, nested.Body)
	}
	return found
}

// addressOf is the address of what a block declares, within its module.
// https://developer.hashicorp.com/terraform/cli/state/resource-addressing
func addressOf(block *hclsyntax.Block) string {
	parts := append([]string{block.Type}, block.Labels...)
	if block.Type == "resource" {
		parts = block.Labels
	}
	return strings.Join(parts, ".")
}

// clocksIn lists which of the functions are called anywhere in a node, sorted.
func clocksIn(node hclsyntax.Node) []string {
	called := map[string]bool{}
	_ = hclsyntax.VisitAll(node, func(node hclsyntax.Node) hcl.Diagnostics {
		if call, is := node.(*hclsyntax.FunctionCallExpr); is {
			if name := strings.TrimPrefix(call.Name, "core::"); slices.Contains(clockFunctions, name) {
				called[name] = true
			}
		}
		return nil
	}) // the visit itself finds nothing wrong
	return slices.Sorted(maps.Keys(called))
}
