package repoconfig

import (
	"cmp"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// place is where something stands in the file.
type place struct{ line, column int }

func placeOf(node *yaml.Node) place { return place{node.Line, node.Column} }

// decoder fills File from YAML nodes. It enforces the shape and the limits in the struct tags,
// and remembers where everything stood and in which order keys came.
type decoder struct {
	problems Problems
	places   map[string]place    // by path, e.g. roots[0].dir; of a map's key where the path ends in one
	order    map[string][]string // keys of a map in file order, by its path
}

func (d *decoder) problemf(at place, format string, args ...any) {
	d.problems = append(d.problems, Problem{Line: max(at.line, 1), Column: max(at.column, 1), Message: fmt.Sprintf(format, args...)})
}

// inOrder sorts problems by their place.
func inOrder(p Problems) {
	slices.SortStableFunc(p, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

func (d *decoder) file(node *yaml.Node) File {
	var file File
	d.value(node, "", key{}, reflect.ValueOf(&file).Elem())
	return file
}

// value decodes one node of any kind. k has the limits of the key that it is the value of.
func (d *decoder) value(node *yaml.Node, path string, k key, into reflect.Value) {
	if _, known := d.places[path]; !known {
		d.places[path] = placeOf(node)
	}
	if node.Kind == yaml.AliasNode || node.Anchor != "" {
		d.problemf(placeOf(node), "anchors (&) and aliases (*) are not read. Write the value itself%s.", in(path))
		return
	}
	if strings.HasPrefix(node.Tag, "!") && !strings.HasPrefix(node.Tag, "!!") || node.Style&yaml.TaggedStyle != 0 {
		d.problemf(placeOf(node), "the tag %s is not read. Remove it.", quote(node.Tag))
		return
	}
	switch into.Kind() {
	case reflect.Struct:
		d.mapping(node, path, into)
	case reflect.Map:
		if into.Type() == reflect.TypeFor[Machines]() && node.Kind != yaml.MappingNode {
			d.everywhere(node, path, k, into)
			return
		}
		d.table(node, path, k, into)
	case reflect.Slice:
		d.list(node, path, k, into)
	case reflect.Int:
		d.number(node, path, k, into)
	case reflect.Bool:
		d.truth(node, path, k, into)
	case reflect.Pointer: // a value that may be missing
		given, before := reflect.New(into.Type().Elem()), len(d.problems)
		d.value(node, path, k, given.Elem())
		if len(d.problems) == before {
			into.Set(given)
		}
	default:
		d.text(node, path, k, into)
	}
}

// mapping decodes a mapping whose keys are fixed.
func (d *decoder) mapping(node *yaml.Node, path string, into reflect.Value) {
	keys := keysOf(into.Type())
	given := d.pairs(node, path, "a mapping with "+keyList(keys), keys[0])
	if given == nil {
		return
	}
	for _, pair := range given {
		child := join(path, pair.name)
		k, known := keys.find(pair.name)
		if !known {
			d.unknown(pair, path, keys)
			continue
		}
		d.value(pair.value, child, k, into.FieldByIndex(k.index))
	}
	for _, k := range keys {
		if k.required && !slices.ContainsFunc(given, func(p pair) bool { return p.name == k.name }) {
			d.problemf(placeOf(node), "`%s` is missing%s. %s", k.name, in(path), example(k))
		}
	}
}

func (d *decoder) unknown(pair pair, path string, keys keys) {
	if purpose := later(join(general(path), pair.name)); purpose != "" {
		d.problemf(pair.place, "`%s` is known, but it is not in effect in this version of Switchyard (%s). Remove it%s.",
			pair.name, purpose, in(path))
		return
	}
	hint := ""
	if nearest := Nearest(pair.name, keys.names()); nearest != "" {
		hint = fmt.Sprintf(" Did you mean `%s`?", nearest)
	}
	d.problemf(pair.place, "unknown key %s%s.%s Known here: %s.", quote(pair.name), in(path), hint, keyList(keys))
}

// table decodes a mapping whose keys are names that people choose.
func (d *decoder) table(node *yaml.Node, path string, k key, into reflect.Value) {
	given := d.pairs(node, path, "a mapping by name", k)
	if given == nil {
		return
	}
	into.Set(reflect.MakeMapWithSize(into.Type(), len(given)))
	for _, pair := range given {
		child := join(path, pair.name)
		d.places[child] = pair.place
		d.order[path] = append(d.order[path], pair.name)
		element := reflect.New(into.Type().Elem()).Elem()
		d.value(pair.value, child, k, element)
		into.SetMapIndex(reflect.ValueOf(pair.name), element)
	}
}

// everywhere decodes labels of runners that are the same for all regions.
func (d *decoder) everywhere(node *yaml.Node, path string, k key, into reflect.Value) {
	var labels Labels
	d.list(node, path, k, reflect.ValueOf(&labels).Elem())
	into.Set(reflect.ValueOf(Machines{everyRegion: labels}))
}

func (d *decoder) list(node *yaml.Node, path string, k key, into reflect.Value) {
	single := into.Type() == reflect.TypeFor[Patterns]() || into.Type() == reflect.TypeFor[Labels]()
	if single && node.Kind == yaml.ScalarNode && node.Tag != "!!null" {
		element := reflect.New(into.Type().Elem()).Elem()
		d.value(node, path, k, element)
		into.Set(reflect.Append(into, element))
		return
	}
	if node.Kind != yaml.SequenceNode {
		d.wrong(node, path, "a list", k)
		return
	}
	if k.maxItems > 0 && len(node.Content) > k.maxItems {
		d.problemf(placeOf(node), "`%s` has %d entries. At most %d are allowed.", show(path), len(node.Content), k.maxItems)
		return
	}
	if len(node.Content) < k.minItems {
		d.problemf(placeOf(node), "`%s` is an empty list. %s", show(path), example(k))
		return
	}
	into.Set(reflect.MakeSlice(into.Type(), len(node.Content), len(node.Content)))
	for i, item := range node.Content {
		d.value(item, path+"["+strconv.Itoa(i)+"]", k, into.Index(i))
	}
}

func (d *decoder) number(node *yaml.Node, path string, k key, into reflect.Value) {
	number, err := strconv.ParseInt(node.Value, 10, 32)
	if node.Kind != yaml.ScalarNode || node.Tag != "!!int" || err != nil {
		d.wrong(node, path, "a number", k)
		return
	}
	if len(k.enum) > 0 && !slices.Contains(k.enum, strconv.FormatInt(number, 10)) {
		d.problemf(placeOf(node), "`%s` is %d. Possible: %s.", show(path), number, strings.Join(k.enum, ", "))
		return
	}
	if k.bounded && (number < int64(k.minimum) || number > int64(k.maximum)) {
		d.problemf(placeOf(node), "`%s` is %d. Possible: %d to %d.", show(path), number, k.minimum, k.maximum)
		return
	}
	into.SetInt(number)
}

func (d *decoder) truth(node *yaml.Node, path string, k key, into reflect.Value) {
	value, err := strconv.ParseBool(node.Value)
	if node.Kind != yaml.ScalarNode || node.Tag != "!!bool" || err != nil {
		d.wrong(node, path, "true or false", k)
		return
	}
	into.SetBool(value)
}

func (d *decoder) text(node *yaml.Node, path string, k key, into reflect.Value) {
	literal := node.Tag == "!!str"
	if into.Type() == reflect.TypeFor[Setting]() {
		literal = literal || node.Tag == "!!bool" || node.Tag == "!!int" || node.Tag == "!!float"
	}
	if node.Kind != yaml.ScalarNode || !literal {
		d.wrong(node, path, "text", k)
		return
	}
	value := node.Value
	switch length := utf8.RuneCountInString(value); {
	case length < k.minLength:
		d.problemf(placeOf(node), "`%s` is empty. %s", show(path), example(k))
		return
	case k.maxLength > 0 && length > k.maxLength:
		d.problemf(placeOf(node), "`%s` has %d characters. At most %d are allowed.", show(path), length, k.maxLength)
		return
	}
	if len(k.enum) > 0 && !slices.Contains(k.enum, value) {
		d.notInEnum(node, path, k)
		return
	}
	into.SetString(value)
}

func (d *decoder) notInEnum(node *yaml.Node, path string, k key) {
	hint := ""
	if nearest := Nearest(node.Value, k.enum); nearest != "" {
		hint = fmt.Sprintf(" Did you mean %q?", nearest)
	}
	d.problemf(placeOf(node), "%s is no value for `%s`. Possible: %s.%s", quote(node.Value), show(path), strings.Join(k.enum, ", "), hint)
}

// wrong says that a value is of another kind than it should be.
func (d *decoder) wrong(node *yaml.Node, path, expected string, k key) {
	at := placeOf(node)
	where := "`" + show(path) + "`"
	if path == "" {
		where = "the file"
	}
	if node.Kind == yaml.ScalarNode && expected == "text" && node.Tag != "!!null" && k.name != "version" {
		d.problemf(at, "%s is %s, which YAML does not read as text. Write it in quotes: %q.", where, describe(node), shorten(node.Value))
		return
	}
	d.problemf(at, "%s is %s. Expected: %s. %s", where, describe(node), expected, example(k))
}

// pair is one key with its value in a mapping.
type pair struct {
	name  string
	place place
	value *yaml.Node
}

// pairs reads the keys of a mapping. It is nil where the node is none.
func (d *decoder) pairs(node *yaml.Node, path, expected string, k key) []pair {
	if node.Kind != yaml.MappingNode {
		d.wrong(node, path, expected, k)
		return nil
	}
	pairs := make([]pair, 0, len(node.Content)/2)
	first := make(map[string]place, len(node.Content)/2)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		if name.Kind != yaml.ScalarNode || name.Tag == "!!merge" || name.Anchor != "" {
			d.problemf(placeOf(name), "this key%s is not plain text. Write the name of a key.", in(path))
			continue
		}
		if before, twice := first[name.Value]; twice {
			d.problemf(placeOf(name), "%s is given twice%s, first in line %d. Keep one.", quote(name.Value), in(path), before.line)
			continue
		}
		first[name.Value] = placeOf(name)
		pairs = append(pairs, pair{name.Value, placeOf(name), value})
	}
	return pairs
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	default:
	}
	switch node.Tag {
	case "!!null":
		return "empty"
	case "!!bool":
		return "the truth value " + quote(node.Value)
	case "!!int", "!!float":
		return "the number " + quote(node.Value)
	case "!!timestamp":
		return "the date " + quote(node.Value)
	default:
		return "the text " + quote(node.Value)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// general is a path with the name that people chose replaced by *.
func general(path string) string {
	top, _, ok := strings.Cut(path, ".")
	if ok && (top == "environments" || top == "commands") {
		return top + ".*"
	}
	return path
}

// show is a path as a message shows it. The names in it may be anything, also a line break.
func show(path string) string {
	quoted := quote(path)
	return strings.ReplaceAll(quoted[1:len(quoted)-1], "`", "'")
}

// in says where a key is, for the middle of a sentence.
func in(path string) string {
	if path == "" {
		return ""
	}
	return " in `" + show(path) + "`"
}
