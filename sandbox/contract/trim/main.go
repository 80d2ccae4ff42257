// Command trim cuts GitHub's published descriptions down to what the tests of Switchyard hold the
// GitHub stand-in to: the REST operations of operations.txt and the webhooks of webhooks.txt. Run it
// with `go generate ./sandbox/contract` after a change of these lists or of a version below. It takes
// the npm packages from -packages (a node_modules directory), or installs them into a temporary
// directory with npm. Nothing of the product calls it.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// The packages that the descriptions are taken from; all are published under the MIT licence.
const (
	openapiPackage  = "@octokit/openapi"
	openapiVersion  = "23.0.2"
	schemasPackage  = "@octokit/webhooks-schemas"
	schemasVersion  = "7.6.1"
	examplesPackage = "@octokit/webhooks-examples"
	examplesVersion = "7.6.1"
)

// dropped are the keys that only people read, or that validation does not use.
var dropped = []string{ //nolint:gochecknoglobals // a constant list
	"default", "deprecated", "description", "example", "examples", "externalDocs", "headers", "links",
	"summary", "tags", "title", "tsAdditionalProperties", "$schema", "readOnly",
}

// names are the keys whose object maps free names to nodes: such names are kept whatever they are.
var names = []string{"properties", "definitions", "responses", "content"} //nolint:gochecknoglobals // a constant list

// literals are the keys whose values are data, not nodes.
var literals = []string{"enum", "const", "required"} //nolint:gochecknoglobals // a constant list

func main() {
	packages := flag.String("packages", "", "node_modules directory that has the packages; empty installs them with npm")
	out := flag.String("out", ".", "directory of the package contract")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *packages, *out)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "trim:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, packages, out string) error {
	if packages == "" {
		dir, err := os.MkdirTemp("", "trim")
		if err != nil {
			return fmt.Errorf("make a directory for the packages: %w", err)
		}
		defer func() { _ = os.RemoveAll(dir) }() // a temporary directory
		if err := install(ctx, dir); err != nil {
			return err
		}
		packages = filepath.Join(dir, "node_modules")
	}
	if err := trimREST(packages, out); err != nil {
		return fmt.Errorf("trim the REST description: %w", err)
	}
	if err := trimWebhooks(packages, out); err != nil {
		return fmt.Errorf("trim the webhook schemas: %w", err)
	}
	if err := copyExamples(packages, out); err != nil {
		return fmt.Errorf("copy the example payloads: %w", err)
	}
	return nil
}

func install(ctx context.Context, dir string) error {
	cmd := exec.CommandContext(ctx, "npm", "install", "--prefix", dir, //nolint:gosec // our own temporary directory
		"--no-save", "--ignore-scripts", "--no-audit", "--no-fund",
		openapiPackage+"@"+openapiVersion, schemasPackage+"@"+schemasVersion, examplesPackage+"@"+examplesVersion)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("install the packages with npm: %w", err)
	}
	return nil
}

// trimREST writes rest.json: the listed operations and the components that they reach.
func trimREST(packages, out string) error {
	var source map[string]any
	if err := read(packages, openapiPackage, openapiVersion, "generated/api.github.com.json", &source); err != nil {
		return err
	}
	operations, err := lines(filepath.Join(out, "operations.txt"))
	if err != nil {
		return err
	}
	paths := map[string]any{}
	for _, operation := range operations {
		method, path, _ := strings.Cut(operation, " ")
		node, ok := dig(source, "paths", path, strings.ToLower(method))
		if !ok {
			return fmt.Errorf("%s is not in the description", operation)
		}
		child(paths, path)[strings.ToLower(method)] = trim(node)
	}
	components := map[string]any{}
	err = follow(paths, func(ref string) (any, error) { return addComponent(components, source, ref) })
	if err != nil {
		return err
	}
	// It takes ranges, as its own description says, e.g. >=2026-11-21T12:00:00Z, which are no times.
	delete(child(child(child(components, "parameters"), "created"), "schema"), "format")
	// The filter takes a date or a range of dates, as its description says, though not its format.
	if filter, ok := dig(components, "parameters", "created", "schema"); ok {
		delete(filter.(map[string]any), "format") //nolint:forcetypeassert // a schema is an object
	}
	return write(filepath.Join(out, "rest.json"), map[string]any{
		"openapi":    source["openapi"],
		"info":       map[string]any{"title": "GitHub REST API, trimmed from " + openapiPackage + " (MIT)", "version": openapiVersion},
		"paths":      paths,
		"components": components,
	})
}

// addComponent copies a referenced component and returns it to be followed; nil if it is there already.
func addComponent(components, source map[string]any, ref string) (any, error) {
	parts := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	node, ok := dig(source, parts...)
	if !ok || len(parts) != 3 { //nolint:mnd // components/schemas/name
		return nil, fmt.Errorf("%s is not in the description", ref)
	}
	kind := child(components, parts[1])
	if _, known := kind[parts[2]]; known {
		return nil, nil //nolint:nilnil // already followed
	}
	kind[parts[2]] = trim(node)
	return kind[parts[2]], nil
}

// child returns the object under a key, made if it is not there.
func child(node map[string]any, key string) map[string]any {
	object, ok := node[key].(map[string]any)
	if !ok {
		object = map[string]any{}
		node[key] = object
	}
	return object
}

// trimWebhooks writes webhooks.json: one definition for each listed event and action, and what they reach.
func trimWebhooks(packages, out string) error {
	var source map[string]any
	if err := read(packages, schemasPackage, schemasVersion, "schema.json", &source); err != nil {
		return err
	}
	webhooks, err := lines(filepath.Join(out, "webhooks.txt"))
	if err != nil {
		return err
	}
	definitions := map[string]any{}
	add := func(ref string) (any, error) {
		name := strings.TrimPrefix(ref, "#/definitions/")
		if _, known := definitions[name]; known {
			return nil, nil //nolint:nilnil // already followed
		}
		node, ok := dig(source, "definitions", name)
		if !ok {
			return nil, fmt.Errorf("%s is not in the schemas", ref)
		}
		definitions[name] = trim(node)
		return definitions[name], nil
	}
	for _, webhook := range webhooks {
		event, action, ok := strings.Cut(webhook, ".")
		if !ok {
			action = "event"
		}
		node, err := add("#/definitions/" + event + "$" + action)
		if err != nil {
			return err
		}
		if err := follow(node, add); err != nil {
			return err
		}
	}
	addGate(definitions)
	return write(filepath.Join(out, "webhooks.json"), map[string]any{
		"$schema":     source["$schema"],
		"$comment":    "GitHub webhooks, trimmed from " + schemasPackage + " " + schemasVersion + " (MIT)",
		"definitions": definitions,
	})
}

// addGate adds the event that the schemas know, but not their list of the events that an App subscribes to.
func addGate(node any) {
	switch node := node.(type) {
	case map[string]any:
		events, _ := node["enum"].([]any)
		if slices.Contains(events, any("workflow_dispatch")) && !slices.Contains(events, any("deployment_protection_rule")) {
			node["enum"] = append(slices.Clone(events), "deployment_protection_rule")
		}
		for _, inner := range node {
			addGate(inner)
		}
	case []any:
		for _, inner := range node {
			addGate(inner)
		}
	}
}

// copyExamples writes the last published example of each listed webhook to testdata/webhooks: older ones lack newer properties.
func copyExamples(packages, out string) error {
	var events []struct {
		Name     string           `json:"name"`
		Examples []map[string]any `json:"examples"`
	}
	if err := read(packages, examplesPackage, examplesVersion, "api.github.com/index.json", &events); err != nil {
		return err
	}
	webhooks, err := lines(filepath.Join(out, "webhooks.txt"))
	if err != nil {
		return err
	}
	dir := filepath.Join(out, "testdata", "webhooks")
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return fmt.Errorf("make the directory of the examples: %w", err)
	}
	for _, event := range events {
		for _, example := range event.Examples {
			name := event.Name
			if action, ok := example["action"].(string); ok {
				name += "." + action
			}
			if !slices.Contains(webhooks, name) {
				continue
			}
			if err := write(filepath.Join(dir, name+".json"), example); err != nil {
				return err
			}
		}
	}
	return nil
}

// trim returns a copy of a node without the keys that validation does not use.
func trim(node any) any {
	switch node := node.(type) {
	case map[string]any:
		kept := make(map[string]any, len(node))
		for key, value := range node {
			if slices.Contains(dropped, key) || strings.HasPrefix(key, "x-") {
				continue
			}
			kept[key] = trimValue(key, value)
		}
		return kept
	case []any:
		kept := make([]any, len(node))
		for i, value := range node {
			kept[i] = trim(value)
		}
		return kept
	default:
		return node
	}
}

func trimValue(key string, value any) any {
	if slices.Contains(literals, key) {
		return value
	}
	named, ok := value.(map[string]any)
	if !ok || !slices.Contains(names, key) {
		return trim(value)
	}
	kept := make(map[string]any, len(named))
	for name, node := range named {
		kept[name] = trim(node)
	}
	return kept
}

// follow calls add for every reference in a node, and follows what add returns.
func follow(node any, add func(ref string) (any, error)) error {
	switch node := node.(type) {
	case map[string]any:
		if ref, ok := node["$ref"].(string); ok {
			next, err := add(ref)
			if err != nil || next == nil {
				return err
			}
			return follow(next, add)
		}
		for _, value := range node {
			if err := follow(value, add); err != nil {
				return err
			}
		}
	case []any:
		for _, value := range node {
			if err := follow(value, add); err != nil {
				return err
			}
		}
	}
	return nil
}

// dig returns the node at a path of keys.
func dig(node any, keys ...string) (any, bool) {
	for _, key := range keys {
		object, ok := node.(map[string]any)
		if !ok {
			return nil, false
		}
		if node, ok = object[key]; !ok {
			return nil, false
		}
	}
	return node, true
}

// read decodes a file of a package, after a look at the package's version.
func read(packages, name, version, file string, into any) error {
	var manifest struct {
		Version string `json:"version"`
	}
	if err := decode(filepath.Join(packages, name, "package.json"), &manifest); err != nil {
		return err
	}
	if manifest.Version != version {
		return fmt.Errorf("%s is %s: want %s", name, manifest.Version, version)
	}
	return decode(filepath.Join(packages, name, file), into)
}

func decode(path string, into any) error {
	data, err := os.ReadFile(path) //nolint:gosec // a path that the developer gives
	if err != nil {
		return fmt.Errorf("read a package: %w", err)
	}
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(into); err != nil {
		return fmt.Errorf("decode %s: %w", path, err)
	}
	return nil
}

// lines returns the lines of a list, which must be sorted and without doubles.
func lines(path string) ([]string, error) {
	data, err := os.ReadFile(path) //nolint:gosec // a path that the developer gives
	if err != nil {
		return nil, fmt.Errorf("read a list: %w", err)
	}
	list := strings.Fields(strings.ReplaceAll(string(data), " ", "\x00"))
	for i, line := range list {
		list[i] = strings.ReplaceAll(line, "\x00", " ")
	}
	if len(slices.Compact(slices.Sorted(slices.Values(list)))) != len(list) || !slices.IsSorted(list) {
		return nil, errors.New(filepath.Base(path) + " is not sorted, or has a line twice")
	}
	return list, nil
}

// write writes a node as JSON, one line for each member at the third level, so that a diff of two
// versions shows which operation or component changed.
func write(path string, node any) error {
	var b bytes.Buffer
	if err := render(&b, node, 3); err != nil { //nolint:mnd // explained above
		return fmt.Errorf("encode %s: %w", path, err)
	}
	b.WriteByte('\n')
	if err := os.WriteFile(path, b.Bytes(), 0o600); err != nil {
		return fmt.Errorf("write a description: %w", err)
	}
	return nil
}

func render(b *bytes.Buffer, node any, levels int) error {
	object, ok := node.(map[string]any)
	if !ok || levels == 0 {
		encoder := json.NewEncoder(b)
		encoder.SetEscapeHTML(false)
		if err := encoder.Encode(node); err != nil {
			return fmt.Errorf("encode a node: %w", err)
		}
		b.Truncate(b.Len() - 1) // the newline that Encode adds
		return nil
	}
	b.WriteByte('{')
	for i, key := range slices.Sorted(maps.Keys(object)) {
		if i > 0 {
			b.WriteByte(',')
		}
		name, err := json.Marshal(key)
		if err != nil {
			return fmt.Errorf("encode a name: %w", err)
		}
		fmt.Fprintf(b, "\n%s: ", name)
		if err := render(b, object[key], levels-1); err != nil {
			return err
		}
	}
	b.WriteString("\n}")
	return nil
}
