package repoconfig

import (
	"encoding/json"
	"fmt"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
)

// Schema is the JSON Schema of the file, for editors: the same keys, limits and descriptions that
// Parse and Reference use. Parse checks more than a schema can say.
func Schema() ([]byte, error) {
	comments, err := docs()
	if err != nil {
		return nil, err
	}
	reflector := jsonschema.Reflector{
		Anonymous:                  true,
		DoNotReference:             true,
		RequiredFromJSONSchemaTags: true,
		LookupComment: func(t reflect.Type, field string) string {
			if field == "" {
				return comments[t.Name()]
			}
			return comments[t.Name()+"."+field]
		},
		Mapper: func(t reflect.Type) *jsonschema.Schema {
			if t == reflect.TypeFor[Setting]() {
				return &jsonschema.Schema{OneOf: []*jsonschema.Schema{{Type: "string"}, {Type: "number"}, {Type: "boolean"}}}
			}
			return nil
		},
	}
	schema := reflector.Reflect(File{})
	schema.Title = "Switchyard, " + Path
	data, err := json.MarshalIndent(schema, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write schema: %w", err)
	}
	return append(data, '\n'), nil
}

// JSONSchemaExtend lets a schema accept one pattern, and one label, without a list around it, and labels by region.
func (EnvironmentFile) JSONSchemaExtend(schema *jsonschema.Schema) {
	if list, ok := schema.Properties.Get("branch"); ok {
		description := list.Description
		list.Description = ""
		schema.Properties.Set("branch", &jsonschema.Schema{Description: description, OneOf: oneOrMore(list)})
	}
	if machines, ok := schema.Properties.Get("runs_on"); ok {
		k, _ := keysOf(reflect.TypeFor[EnvironmentFile]()).find("runs_on")
		forms := oneOrMore(listOf(k))
		least := uint64(1)
		forms = append(forms, &jsonschema.Schema{Type: "object", MinProperties: &least, AdditionalProperties: &jsonschema.Schema{OneOf: forms}})
		schema.Properties.Set("runs_on", &jsonschema.Schema{Description: machines.Description, OneOf: forms})
	}
}

// oneOrMore are a list, and one of its items without a list around it.
func oneOrMore(list *jsonschema.Schema) []*jsonschema.Schema {
	one := *list.Items
	return []*jsonschema.Schema{&one, list}
}

// listOf is a list of text with the limits of a key.
func listOf(k key) *jsonschema.Schema {
	limit := func(n int) *uint64 { size := uint64(n); return &size } //nolint:gosec // limits are small, and never below 0
	return &jsonschema.Schema{
		Type: "array", MinItems: limit(k.minItems), MaxItems: limit(k.maxItems), Default: []string{k.fallback},
		Items: &jsonschema.Schema{
			Type: "string", MinLength: limit(k.minLength), MaxLength: limit(k.maxLength), Examples: []any{k.example},
		},
	}
}

// JSONSchemaExtend limits the keys that are names of commands.
func (File) JSONSchemaExtend(schema *jsonschema.Schema) {
	if environments, ok := schema.Properties.Get("environments"); ok {
		least, most := uint64(1), uint64(maxEnvironments)
		longest := uint64(maxName)
		environments.MinProperties, environments.MaxProperties = &least, &most
		environments.PropertyNames = &jsonschema.Schema{Pattern: nameForm.String(), MaxLength: &longest}
	}
	if commands, ok := schema.Properties.Get("commands"); ok {
		commands.PropertyNames = &jsonschema.Schema{}
		for _, name := range commandsInEffect() {
			commands.PropertyNames.Enum = append(commands.PropertyNames.Enum, name)
		}
	}
}

// Reference is the reference of the file's keys, in Markdown, for the documentation.
func Reference() (string, error) {
	comments, err := docs()
	if err != nil {
		return "", err
	}
	var page strings.Builder
	page.WriteString("| key | value | meaning |\n| --- | --- | --- |\n")
	reference(&page, comments, reflect.TypeFor[File](), "")
	return page.String(), nil
}

func reference(page *strings.Builder, comments map[string]string, t reflect.Type, before string) {
	for _, k := range keysOf(t) {
		path := join(before, k.name)
		fmt.Fprintf(page, "| `%s` | %s | %s |\n", path, valueOf(k), strings.ReplaceAll(comments[t.Name()+"."+k.field], "|", `\|`))
		inner := k.kind
		switch inner.Kind() {
		case reflect.Map:
			path, inner = path+".NAME", inner.Elem()
		case reflect.Slice:
			path, inner = path+"[]", inner.Elem()
		default:
		}
		if inner.Kind() == reflect.Struct {
			reference(page, comments, inner, path)
		}
	}
}

// valueOf says in a few words what may stand behind a key.
func valueOf(k key) string {
	var words []string
	switch {
	case len(k.enum) > 0 && k.kind.Kind() == reflect.Slice:
		words = append(words, "list of `"+strings.Join(k.enum, "`, `")+"`")
	case k.kind.Kind() == reflect.Bool:
		words = append(words, "`true` or `false`")
	case k.bounded:
		words = append(words, fmt.Sprintf("%d to %d", k.minimum, k.maximum))
	case len(k.enum) > 0:
		words = append(words, "`"+strings.Join(k.enum, "` or `")+"`")
	case k.kind == reflect.TypeFor[Patterns]():
		words = append(words, "text or list of text")
	case k.kind == reflect.TypeFor[Machines]():
		words = append(words, "text or list of text, or a mapping from regions to them")
	case k.kind.Kind() == reflect.Slice:
		words = append(words, "list")
	case k.kind.Kind() == reflect.Map || k.kind.Kind() == reflect.Struct:
		words = append(words, "mapping")
	default:
		words = append(words, "text")
	}
	if k.required {
		words = append(words, "required")
	}
	if k.fallback != "" {
		words = append(words, "default `"+k.fallback+"`")
	}
	if k.example != "" {
		words = append(words, "e.g. `"+k.example+"`")
	}
	return strings.Join(words, ", ")
}
