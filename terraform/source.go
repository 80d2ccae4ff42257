package terraform

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	hcljson "github.com/hashicorp/hcl/v2/json"
	"github.com/zclconf/go-cty/cty"
)

// FileReader gives the files of one directory of a tree, by name; dir is slash-separated and relative to the tree,
// "." is the tree itself. A directory that does not exist has no files, or gives fs.ErrNotExist.
type FileReader func(dir string) (map[string][]byte, error)

// Bounds of what is read from configuration that somebody else wrote.
const (
	MaxModules    = 500       // local module directories of one root
	MaxSourceSize = 512 << 10 // one configuration file, in bytes; larger ones are taken as unreadable
	maxNesting    = 250       // brackets, operators and conditions within each other: the parser recurses
)

// module is one call of a module.
type module struct {
	name    string
	source  string
	version string
	literal bool // source and version are plain strings
}

// local reports whether the module is a directory of the same tree.
// https://developer.hashicorp.com/terraform/language/modules/sources#local-paths
func (m module) local() bool {
	return m.literal && (strings.HasPrefix(m.source, "./") || strings.HasPrefix(m.source, "../"))
}

// Modules lists the local module directories that the root in dir uses, also through other modules: sorted, relative
// to the tree, without dir itself. What lies beyond the tree, or cannot be parsed, is left out: Terraform will say so.
func Modules(ctx context.Context, read FileReader, dir string) ([]string, error) {
	directories, err := walk(ctx, read, dir, func(string, map[string]source) {})
	if err != nil {
		return nil, err
	}
	delete(directories, path.Clean(dir))
	return slices.Sorted(maps.Keys(directories)), nil
}

// Variables lists the names of the input variables that the root in dir declares, sorted.
func Variables(_ context.Context, read FileReader, dir string) ([]string, error) {
	files, err := sources(read, path.Clean(dir))
	if err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, file := range files {
		for _, block := range file.blocks("variable") {
			names[block.Labels[0]] = true
		}
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// walk visits dir and all local modules below it once, and returns the directories it visited.
func walk(ctx context.Context, read FileReader, dir string, visit func(dir string, files map[string]source)) (map[string]bool, error) {
	seen := map[string]bool{path.Clean(dir): true}
	for queue := []string{path.Clean(dir)}; len(queue) > 0; queue = queue[1:] {
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("read modules: %w", err)
		}
		files, err := sources(read, queue[0])
		if err != nil {
			return nil, err
		}
		visit(queue[0], files)
		for _, call := range modulesOf(files) {
			next := path.Join(queue[0], call.source)
			if !call.local() || !insideTree(next) || seen[next] {
				continue
			}
			if len(seen) > MaxModules {
				return nil, fmt.Errorf("root %s uses more than %d local modules", dir, MaxModules)
			}
			seen[next] = true
			queue = append(queue, next)
		}
	}
	return seen, nil
}

// insideTree reports whether a cleaned relative path stays within the tree.
func insideTree(p string) bool {
	return p != ".." && !strings.HasPrefix(p, "../") && !path.IsAbs(p)
}

// source is one configuration file. body is nil when it cannot be parsed.
type source struct {
	data []byte
	body hcl.Body
	json bool
}

// sources reads and parses the configuration files of one directory.
// https://developer.hashicorp.com/terraform/language/files
func sources(read FileReader, dir string) (map[string]source, error) {
	files, err := read(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]source{}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read directory %s: %w", dir, err)
	}
	parsed := map[string]source{}
	for name, data := range files {
		switch {
		case strings.HasSuffix(name, ".tf"), strings.HasSuffix(name, ".tofu"):
			parsed[name] = source{data: data, body: parseNative(name, data)}
		case strings.HasSuffix(name, ".tf.json"), strings.HasSuffix(name, ".tofu.json"):
			parsed[name] = source{data: data, body: parseJSON(name, data), json: true}
		}
	}
	return parsed, nil
}

// parseNative parses a file; nil when that is impossible. A file with a mistake gives what could be read.
func parseNative(name string, data []byte) hcl.Body {
	if len(data) > MaxSourceSize || nestedTooDeeply(data) {
		return nil
	}
	file, _ := hclsyntax.ParseConfig(data, name, hcl.InitialPos) // mistakes are Terraform's to report
	if file == nil {
		return nil
	}
	return file.Body
}

// parseJSON parses a file in JSON syntax; nil when that is impossible.
func parseJSON(name string, data []byte) hcl.Body {
	if len(data) > MaxSourceSize || !json.Valid(data) { // json.Valid also bounds the nesting
		return nil
	}
	file, _ := hcljson.Parse(data, name)
	if file == nil {
		return nil
	}
	return file.Body
}

// labels says how many labels the blocks have that are looked at.
var labels = map[string][]string{
	"terraform": nil,
	"module":    {"name"},
	"variable":  {"name"},
	"provider":  {"name"},
	"resource":  {"type", "name"},
	"data":      {"type", "name"},
	"ephemeral": {"type", "name"},
}

// blocks lists the blocks of one type.
func (s source) blocks(blockType string) hcl.Blocks {
	if s.body == nil {
		return nil
	}
	schema := &hcl.BodySchema{Blocks: []hcl.BlockHeaderSchema{{Type: blockType, LabelNames: labels[blockType]}}}
	content, _, _ := s.body.PartialContent(schema)
	if content == nil {
		return nil
	}
	return content.Blocks
}

// modulesOf lists the module calls of one directory, in order of file name.
func modulesOf(files map[string]source) []module {
	var calls []module
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, block := range files[name].blocks("module") {
			call := module{name: block.Labels[0], literal: true}
			for _, attribute := range []struct {
				name  string
				value *string
			}{{"source", &call.source}, {"version", &call.version}} {
				value, literal := literalOf(block.Body, attribute.name)
				*attribute.value = value
				call.literal = call.literal && literal
			}
			calls = append(calls, call)
		}
	}
	return calls
}

// literalOf reads an attribute that must be a plain string; one that is absent is an empty one.
func literalOf(body hcl.Body, name string) (value string, literal bool) {
	content, _, _ := body.PartialContent(&hcl.BodySchema{Attributes: []hcl.AttributeSchema{{Name: name}}})
	if content == nil || content.Attributes[name] == nil {
		return "", true
	}
	result, diagnostics := content.Attributes[name].Expr.Value(nil)
	if diagnostics.HasErrors() || !result.IsWhollyKnown() || result.IsNull() || result.Type() != cty.String {
		return "", false
	}
	return result.AsString(), true
}
