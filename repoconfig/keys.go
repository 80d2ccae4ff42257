package repoconfig

import (
	_ "embed"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"reflect"
	"strconv"
	"strings"
)

// key is what a struct field of file.go says about one key of the file.
type key struct {
	name, field          string
	index                []int
	required             bool
	enum                 []string
	minLength, maxLength int
	minItems, maxItems   int
	bounded              bool // a number from minimum to maximum
	minimum, maximum     int
	fallback, example    string
	kind                 reflect.Type
}

type keys []key

// keysOf reads the keys of a struct of file.go from its tags.
func keysOf(t reflect.Type) keys {
	all := make(keys, 0, t.NumField())
	for field := range t.Fields() {
		k := key{name: field.Tag.Get("json"), field: field.Name, index: field.Index, kind: field.Type}
		for part := range strings.SplitSeq(strings.ReplaceAll(field.Tag.Get("jsonschema"), `\,`, "\x00"), ",") {
			part = strings.ReplaceAll(part, "\x00", ",")
			name, value, _ := strings.Cut(part, "=")
			k.set(name, value)
		}
		all = append(all, k)
	}
	return all
}

func (k *key) set(name, value string) {
	number, _ := strconv.Atoi(value) // tags are ours; a test holds each of them
	switch name {
	case "required":
		k.required = true
	case "enum":
		k.enum = append(k.enum, value)
	case "minLength":
		k.minLength = number
	case "maxLength":
		k.maxLength = number
	case "minItems":
		k.minItems = number
	case "maxItems":
		k.maxItems = number
	case "minimum":
		k.minimum = number
	case "maximum":
		k.bounded, k.maximum = true, number
	case "default":
		k.fallback = value
	case "example":
		k.example = value
	default: // pattern: checked with words of its own in validate
	}
}

func (k keys) find(name string) (key, bool) {
	for _, one := range k {
		if one.name == name {
			return one, true
		}
	}
	return key{}, false
}

func (k keys) names() []string {
	names := make([]string, 0, len(k))
	for _, one := range k {
		names = append(names, one.name)
	}
	return names
}

func keyList(k keys) string { return "`" + strings.Join(k.names(), "`, `") + "`" }

// example is a sentence that shows how a key is written; empty where its name says it all.
func example(k key) string {
	switch {
	case k.name == "environments":
		return "Example: `environments: { dev: { branch: develop } }`."
	case k.name == "roots":
		return "Example: `roots: [{ dir: src/terraform }]`."
	case k.name == "flow" || k.name == "allow":
		return "Example: `flow: { allow: [{ from: \"release-please--**\", to: develop }] }`."
	case k.name == "risk":
		return "Example: `risk: { block: [replace-stateful] }`."
	case len(k.enum) > 0 && k.kind.Kind() != reflect.Slice:
		return fmt.Sprintf("Write `%s: %s`.", k.name, k.enum[0])
	case k.kind.Kind() == reflect.Bool:
		return fmt.Sprintf("Write `%s: true`.", k.name)
	case k.bounded:
		return fmt.Sprintf("Example: `%s: %d`.", k.name, min(k.minimum+1, k.maximum))
	case k.example != "" && (k.kind.Kind() == reflect.Slice || k.kind == reflect.TypeFor[Machines]()):
		return fmt.Sprintf("Example: `%s: [%q]`.", k.name, k.example)
	case k.example != "" && k.kind.Kind() == reflect.Map:
		return fmt.Sprintf("Example: `%s: { key: %q }`.", k.name, k.example)
	case k.example != "":
		return fmt.Sprintf("Example: `%s: %s`.", k.name, k.example)
	default:
		return "Write a value, or remove the key."
	}
}

// fileSource is read for its doc comments, which a running program does not have otherwise.
//
//go:embed file.go
var fileSource string

// docs gives the doc comments of file.go: of types by their name, of fields as Type.Field.
func docs() (map[string]string, error) {
	tree, err := parser.ParseFile(gotoken.NewFileSet(), "file.go", fileSource, parser.ParseComments)
	if err != nil {
		return nil, fmt.Errorf("read doc comments: %w", err)
	}
	found := map[string]string{}
	for _, declaration := range tree.Decls {
		general, ok := declaration.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, spec := range general.Specs {
			named, ok := spec.(*ast.TypeSpec)
			if !ok {
				continue
			}
			found[named.Name.Name] = description(general.Doc.Text(), named.Name.Name, "")
			if fields, ok := named.Type.(*ast.StructType); ok {
				for _, field := range fields.Fields.List {
					name := field.Names[0].Name
					found[named.Name.Name+"."+name] = description(field.Doc.Text(), name, keyName(field))
				}
			}
		}
	}
	return found, nil
}

// keyName is the key that a struct field stands for.
func keyName(field *ast.Field) string {
	tag, err := strconv.Unquote(field.Tag.Value)
	if err != nil {
		return ""
	}
	return reflect.StructTag(tag).Get("json")
}

// description makes a doc comment a description for people who know the file and not the Go names:
// it begins with the key, or, where there is none, with what is said about it.
func description(doc, name, key string) string {
	text := strings.TrimPrefix(strings.Join(strings.Fields(doc), " "), name+" ")
	if key != "" {
		return "`" + key + "` " + text
	}
	text = strings.TrimPrefix(text, "is ")
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:]
}
