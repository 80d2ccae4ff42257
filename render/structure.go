package render

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// node is a value of JSON or YAML that was found in a string.
type node struct {
	text   string           // all of it as compact JSON: equal nodes have equal texts
	keys   []string         // of an object, sorted; nil otherwise
	fields map[string]*node // of an object
	items  []*node          // of a list
	list   bool
}

const (
	maxDepth = 40  // of embedded values
	maxPath  = 200 // bytes of a path within one
)

// plainKey is a key that is written into a path without quotes.
var plainKey = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]*$`)

// yamlStart is how the first line of a mapping or list begins, as yamlencode writes them and people do.
var yamlStart = regexp.MustCompile(`^("[^"]*"|[A-Za-z0-9_./-]+): *|^- `)

var errNotPlain = errors.New("not plain data")

// embedded reads a string that jsonencode or yamlencode could have made: an object or a list, and
// nothing whose meaning a structure does not show, such as comments or a key that is there twice.
func embedded(text string) (*node, string) {
	trimmed := strings.TrimSpace(text)
	if trimmed == "" {
		return nil, ""
	}
	if trimmed[0] == '{' || trimmed[0] == '[' {
		if parsed, err := readJSON(text); err == nil {
			return parsed, "JSON"
		}
		return nil, ""
	}
	if first, _, ok := strings.Cut(text, "\n"); !ok || !yamlStart.MatchString(first) {
		return nil, ""
	}
	if parsed, err := readYAML(text); err == nil {
		return parsed, "YAML"
	}
	return nil, ""
}

func readJSON(text string) (*node, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	parsed, err := jsonNode(decoder, 0)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errNotPlain
	}
	return parsed, nil
}

func jsonNode(decoder *json.Decoder, depth int) (*node, error) {
	token, err := decoder.Token()
	if err != nil || depth > maxDepth {
		return nil, errNotPlain
	}
	switch token {
	case json.Delim('{'):
		object := &node{fields: map[string]*node{}}
		for decoder.More() {
			key, err := decoder.Token()
			if err != nil {
				return nil, errNotPlain
			}
			name, _ := key.(string)
			child, err := jsonNode(decoder, depth+1)
			if err != nil {
				return nil, err
			}
			if object.fields[name] != nil {
				return nil, errNotPlain
			}
			object.fields[name] = child
		}
		return closed(decoder, object)
	case json.Delim('['):
		array := &node{list: true}
		for decoder.More() {
			child, err := jsonNode(decoder, depth+1)
			if err != nil {
				return nil, err
			}
			array.items = append(array.items, child)
		}
		return closed(decoder, array)
	}
	return scalar(token)
}

// closed ends an object or a list.
func closed(decoder *json.Decoder, parsed *node) (*node, error) {
	if _, err := decoder.Token(); err != nil {
		return nil, errNotPlain
	}
	return parsed.written(), nil
}

func scalar(value any) (*node, error) {
	text, err := compact(value)
	if err != nil {
		return nil, err
	}
	return &node{text: text}, nil
}

// compact writes a value as JSON without escapes for HTML.
func compact(value any) (string, error) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(value); err != nil {
		return "", errNotPlain
	}
	return strings.TrimSuffix(text.String(), "\n"), nil
}

// written notes the text of an object or list whose parts have theirs.
func (n *node) written() *node {
	var text strings.Builder
	if n.list {
		text.WriteByte('[')
		for i, item := range n.items {
			if i > 0 {
				text.WriteByte(',')
			}
			text.WriteString(item.text)
		}
		text.WriteByte(']')
		n.text = text.String()
		return n
	}
	for key := range n.fields {
		n.keys = append(n.keys, key)
	}
	slices.Sort(n.keys)
	text.WriteByte('{')
	for i, key := range n.keys {
		if i > 0 {
			text.WriteByte(',')
		}
		text.WriteString(inQuotes(key) + ":" + n.fields[key].text)
	}
	text.WriteByte('}')
	n.text = text.String()
	return n
}

func inQuotes(key string) string {
	text, err := compact(key)
	if err != nil {
		return strconv.Quote(key)
	}
	return text
}

func readYAML(text string) (*node, error) {
	decoder := yaml.NewDecoder(strings.NewReader(text))
	var document, more yaml.Node
	if err := decoder.Decode(&document); err != nil || document.Kind != yaml.DocumentNode || len(document.Content) != 1 {
		return nil, errNotPlain
	}
	if err := decoder.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errNotPlain
	}
	root := document.Content[0]
	if commented(&document) || root.Kind == yaml.ScalarNode {
		return nil, errNotPlain
	}
	return yamlNode(root, 0)
}

func commented(n *yaml.Node) bool {
	return n.HeadComment != "" || n.LineComment != "" || n.FootComment != ""
}

// plainTags are the types that a value has without a tag of its own.
// https://yaml.org/spec/1.2.2/#103-core-schema
var plainTags = map[string]bool{"!!map": true, "!!seq": true, "!!str": true, "!!int": true, "!!float": true, "!!bool": true, "!!null": true}

func yamlNode(n *yaml.Node, depth int) (*node, error) {
	if depth > maxDepth || commented(n) || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || !plainTags[n.ShortTag()] {
		return nil, errNotPlain
	}
	switch n.Kind {
	case yaml.MappingNode:
		object := &node{fields: map[string]*node{}}
		for i := 0; i+1 < len(n.Content); i += 2 {
			key := n.Content[i]
			child, err := yamlNode(n.Content[i+1], depth+1)
			if err != nil {
				return nil, err
			}
			if key.Kind != yaml.ScalarNode || commented(key) || object.fields[key.Value] != nil {
				return nil, errNotPlain
			}
			object.fields[key.Value] = child
		}
		return object.written(), nil
	case yaml.SequenceNode:
		array := &node{list: true}
		for _, item := range n.Content {
			child, err := yamlNode(item, depth+1)
			if err != nil {
				return nil, err
			}
			array.items = append(array.items, child)
		}
		return array.written(), nil
	case yaml.ScalarNode:
		if n.ShortTag() == "!!str" {
			return scalar(n.Value)
		}
		return &node{text: n.Value}, nil
	case yaml.DocumentNode, yaml.AliasNode:
	}
	return nil, errNotPlain
}

// compareNodes lists how one structure becomes another, a line for each place that changes.
func compareNodes(path string, before, after *node) []diffLine {
	switch {
	case before.text == after.text:
		return nil
	case before.fields != nil && after.fields != nil:
		return compareObjects(path, before, after)
	case before.list && after.list:
		return compareLists(path, before, after)
	case before.fields == nil && after.fields == nil && !before.list && !after.list:
		old, next := cutPair(before.text, after.text)
		return []diffLine{{"!", labelled(path) + old + " → " + next}}
	}
	return []diffLine{{"-", labelled(path) + before.text}, {"+", labelled(path) + after.text}}
}

func labelled(path string) string {
	if path == "" {
		return ""
	}
	return path + ": "
}

func compareObjects(path string, before, after *node) []diffLine {
	keys := slices.Concat(before.keys, after.keys)
	slices.Sort(keys)
	var lines []diffLine
	for _, key := range slices.Compact(keys) {
		step := within(path, key)
		old, next := before.fields[key], after.fields[key]
		switch {
		case old == nil:
			lines = append(lines, diffLine{"+", labelled(step) + next.text})
		case next == nil:
			lines = append(lines, diffLine{"-", labelled(step) + old.text})
		default:
			lines = append(lines, compareNodes(step, old, next)...)
		}
	}
	return lines
}

// compareLists keeps as many elements as possible, and looks into those that stand for one another.
func compareLists(path string, before, after *node) []diffLine {
	steps := compare(texts(before.items), texts(after.items))
	var lines []diffLine
	i, j := 0, 0
	for at := 0; at < len(steps); {
		if steps[at].sign == " " {
			i, j, at = i+1, j+1, at+1
			continue
		}
		gone, come := 0, 0
		for ; at < len(steps) && steps[at].sign != " "; at++ {
			if steps[at].sign == "-" {
				gone++
			} else {
				come++
			}
		}
		pairs := 0
		if gone == come {
			pairs = gone
		}
		for k := range pairs {
			lines = append(lines, compareNodes(path+"["+strconv.Itoa(j+k)+"]", before.items[i+k], after.items[j+k])...)
		}
		for k := pairs; k < gone; k++ {
			lines = append(lines, diffLine{"-", path + "[" + strconv.Itoa(i+k) + "]: " + before.items[i+k].text})
		}
		for k := pairs; k < come; k++ {
			lines = append(lines, diffLine{"+", path + "[" + strconv.Itoa(j+k) + "]: " + after.items[j+k].text})
		}
		i, j = i+gone, j+come
	}
	return lines
}

func texts(nodes []*node) []string {
	all := make([]string, len(nodes))
	for i, one := range nodes {
		all[i] = one.text
	}
	return all
}

// within is the path of a key, written as plan writes paths.
func within(path, key string) string {
	if len(path) > maxPath { // so that the paths of all leaves are not a multiple of the value
		path = shorten(path, maxPath/2)
	}
	if len(key) > maxPath {
		key = shorten(key, maxPath/2)
	}
	if !plainKey.MatchString(key) {
		return path + "[" + inQuotes(key) + "]"
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// outline lists a structure, a line for each of its leaves.
func outline(path string, n *node) []string {
	var lines []string
	switch {
	case len(n.keys) > 0:
		for _, key := range n.keys {
			lines = append(lines, outline(within(path, key), n.fields[key])...)
		}
	case len(n.items) > 0:
		for i, item := range n.items {
			lines = append(lines, outline(path+"["+strconv.Itoa(i)+"]", item)...)
		}
	default:
		lines = append(lines, labelled(path)+n.text)
	}
	return lines
}
