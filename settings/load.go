package settings

import (
	"cmp"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxFile bounds the settings file and the key file, in bytes.
const maxFile = 1 << 20

// Problems are all that is wrong with the settings.
type Problems []string

// Error has one line for each problem.
func (p Problems) Error() string { return strings.Join(p, "\n") }

// value is what was given for one option.
type value struct {
	where  string // the variable, or file:line:column and the key
	values []string
	empty  bool // the file has the key with nothing behind it
}

// Load reads the settings from a YAML file, which may be "", and from the environment, which wins.
// lookup is os.LookupEnv. The error is Problems: every problem, not just the first.
func Load(file string, lookup func(name string) (string, bool)) (Settings, error) {
	known := options()
	given, problems := collect(file, lookup, known)
	s := Defaults()
	problems = append(problems, set(&s, known, given)...)
	problems = append(problems, together(s, given, problems)...)
	if len(problems) > 0 {
		return Settings{}, problems
	}
	return s, nil
}

// LoadDatabase reads where the database of a server is, as Load does, for a command that needs no more:
// of the file's other options only the names are looked at. The source is one that store.Open takes.
func LoadDatabase(file string, lookup func(name string) (string, bool)) (source string, err error) {
	source, _, err = LoadData(file, lookup)
	return source, err
}

// LoadData is LoadDatabase for a command that needs the server's data directory, too.
func LoadData(file string, lookup func(name string) (string, bool)) (source, dir string, err error) {
	known := options()
	given, problems := collect(file, lookup, known)
	s := Defaults()
	problems = append(problems, set(&s, slices.DeleteFunc(known, func(o option) bool {
		return o.key != "data_dir" && o.key != "database"
	}), given)...)
	if len(problems) > 0 {
		return "", "", problems
	}
	return s.Source(), s.DataDir, nil
}

// collect takes what is given for options, unread.
func collect(file string, lookup func(name string) (string, bool), known []option) (map[string]value, Problems) {
	given := map[string]value{}
	var problems Problems
	if file != "" {
		problems = fromFile(file, known, given)
	}
	for _, o := range known {
		if text, _ := lookup(o.variable()); text != "" { // an empty one is as good as none
			given[o.key] = fromVariable(o, text)
		}
	}
	return given, problems
}

// set reads what is given for some options.
func set(s *Settings, options []option, given map[string]value) Problems {
	var problems Problems
	for _, o := range options {
		v, ok := given[o.key]
		if !ok {
			continue
		}
		if err := o.set(s, v.values); err != nil {
			problems = append(problems, describe(o, v, err))
		}
	}
	return problems
}

// describe says where a value is, what it is, what is wrong with it, and what would be right.
func describe(o option, v value, err error) string {
	shown := "the value"
	switch {
	case len(v.values) == 0 || v.empty:
		shown = "it"
	case !o.secret:
		shown = fmt.Sprintf("%q", withoutPassword(strings.Join(v.values, ",")))
	}
	if own := (*remedy)(nil); errors.As(err, &own) {
		return fmt.Sprintf("%s: %s %s", v.where, shown, own)
	}
	return fmt.Sprintf("%s: %s %s. %s", v.where, shown, err, o.fix)
}

// withoutPassword hides the password of a URL, whatever option it was given for.
func withoutPassword(text string) string {
	if parsed, err := url.Parse(text); err == nil {
		query := parsed.Query()
		if query.Has("password") { // as PostgreSQL accepts it
			query.Set("password", "xxxxx")
			parsed.RawQuery = query.Encode()
		}
		if parsed.User == nil && !query.Has("password") {
			return text
		}
		return parsed.Redacted()
	}
	if _, rest, ok := strings.Cut(text, "@"); ok && strings.Contains(text, "://") {
		return "…@" + rest
	}
	return text
}

// together checks what no single option can tell.
func together(s Settings, given map[string]value, problems Problems) []string {
	var found []string
	required := func(what string, keys ...string) {
		var names []string
		for _, o := range options() {
			if !slices.Contains(keys, o.key) {
				continue
			}
			if _, ok := given[o.key]; ok {
				return
			}
			names = append(names, o.variable())
		}
		found = append(found, fmt.Sprintf("%s: not set. %s", strings.Join(names, " or "), what))
	}
	required("Set the App ID from the App's settings page on GitHub.", "app_id")
	required("Set the App's private key: its text, or the path of its PEM file.", "private_key", "private_key_file")
	required("Set the secret of the App's webhook; without one anybody could send webhooks.", "webhook_secrets")
	key, hasKey := given["private_key"]
	file, hasFile := given["private_key_file"]
	if hasKey && hasFile {
		found = append(found, fmt.Sprintf("%s and %s: both are set. Remove one of them.", key.where, file.where))
	}
	found = append(found, opened(s, file.values)...)
	if len(problems) == 0 && s.Limits.Lock >= s.Limits.Apply {
		found = append(found, fmt.Sprintf("limits.lock (%s) is not shorter than limits.apply (%s). Make it shorter, "+
			"or an apply that waits for the lock has no time left.", people(s.Limits.Lock), people(s.Limits.Apply)))
	}
	return found
}

// opened says which paths would give plan code what it must not have: the data directory holds the database, the
// mirrors and the work of others.
func opened(s Settings, keyFile []string) []string {
	type part struct{ what, path string }
	closed := []part{{"data_dir", s.DataDir}}
	for _, path := range keyFile {
		closed = append(closed, part{"private_key_file", path})
	}
	if path, ok := strings.CutPrefix(s.Database, "sqlite:"); ok {
		closed = append(closed, part{"database", path})
	}
	var found []string
	check := func(option string, paths []string, closed []part) {
		for _, path := range paths {
			for _, c := range closed {
				if within(c.path, path) || (c.what == "data_dir" && within(path, c.path)) {
					found = append(found, fmt.Sprintf("%s: %q would open %s (%s) to the code of pull requests. Name a path beside it.",
						option, path, c.what, c.path))
				}
			}
		}
	}
	check("isolation.read", s.Isolation.Read, closed)
	if s.Terraform.PluginCache != "" {
		closed = append(closed, part{"terraform.plugin_cache", s.Terraform.PluginCache})
	}
	check("isolation.write", s.Isolation.Write, closed)
	return found
}

// within reports whether a path is a directory or below it.
func within(path, dir string) bool {
	relative, err := filepath.Rel(dir, path)
	return err == nil && filepath.IsLocal(relative)
}

func fromVariable(o option, text string) value {
	v := value{where: o.variable(), values: []string{text}}
	if o.list {
		v.values = nil
		for part := range strings.SplitSeq(text, ",") {
			v.values = append(v.values, strings.TrimSpace(part))
		}
	}
	return v
}

// CheckNames looks for variables that begin with Prefix and are no option, such as misspelt ones:
// they would be ignored in silence. environ is os.Environ(); also are further names that are known.
func CheckNames(environ []string, also ...string) error {
	names := slices.Clone(also)
	for _, o := range options() {
		names = append(names, o.variable())
	}
	var problems Problems
	for _, variable := range slices.Sorted(slices.Values(environ)) {
		name, _, _ := strings.Cut(variable, "=")
		if strings.HasPrefix(name, Prefix) && !slices.Contains(names, name) {
			problems = append(problems, fmt.Sprintf("%s: there is no such option. %s", name, suggest(name, names)))
		}
	}
	if len(problems) > 0 {
		return problems
	}
	return nil
}

// fromFile takes the options of a YAML file.
func fromFile(name string, known []option, given map[string]value) []string {
	data, err := readBounded(name)
	if err != nil {
		return []string{fmt.Sprintf("--config %s: %v. Name a file that can be read, or leave it out and use variables.", name, err)}
	}
	decoder := yaml.NewDecoder(strings.NewReader(string(data)))
	var document yaml.Node
	if err := decoder.Decode(&document); errors.Is(err, io.EOF) {
		return nil // an empty file
	} else if err != nil {
		// yaml's messages quote what they do not understand, which may be a secret.
		return []string{fmt.Sprintf("%s: not YAML%s. Write `key: value` lines, indented with blanks.", name, yamlLine(err))}
	}
	if err := decoder.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		return []string{name + ": more than one YAML document. Leave one."}
	}
	f := &fileReader{name: name, known: known, given: given}
	f.mapping(document.Content[0], "")
	return f.problems
}

// yamlLine finds the line in an error of the YAML library, which has no other place for it.
func yamlLine(err error) string {
	_, rest, ok := strings.Cut(err.Error(), "line ")
	if !ok {
		return ""
	}
	line, _, ok := strings.Cut(rest, ":")
	if !ok || strings.Trim(line, "0123456789") != "" {
		return ""
	}
	return " (line " + line + ")"
}

// fileReader walks the nodes of one file.
type fileReader struct {
	name     string
	known    []option
	given    map[string]value
	problems []string
}

func (f *fileReader) problemf(node *yaml.Node, format string, args ...any) {
	f.problems = append(f.problems, fmt.Sprintf("%s:%d:%d: ", f.name, node.Line, node.Column)+fmt.Sprintf(format, args...))
}

// mapping reads the keys of one mapping; prefix is its own key with a dot.
func (f *fileReader) mapping(node *yaml.Node, prefix string) {
	if node.Kind != yaml.MappingNode {
		f.problemf(node, "%s is not a mapping. Write `key: value` lines.", cmp.Or(strings.TrimSuffix(prefix, "."), "the file"))
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, content := node.Content[i], node.Content[i+1]
		full := prefix + key.Value
		if seen[key.Value] {
			f.problemf(key, "%s is there twice. Remove one.", full)
			continue
		}
		seen[key.Value] = true
		if i := slices.IndexFunc(f.known, func(o option) bool { return o.key == full }); i >= 0 {
			f.option(f.known[i], key, content)
		} else if slices.ContainsFunc(f.known, func(o option) bool { return strings.HasPrefix(o.key, full+".") }) {
			f.mapping(content, full+".")
		} else {
			var keys []string
			for _, o := range f.known {
				keys = append(keys, o.key)
			}
			f.problemf(key, "there is no option %q. %s", full, suggest(full, keys))
		}
	}
}

func (f *fileReader) option(o option, key, content *yaml.Node) {
	if o.onlyEnv {
		f.problemf(key, "%s does not belong into a file with other options. Set %s, or use %s_file.", o.key, o.variable(), o.key)
		return
	}
	v := value{where: fmt.Sprintf("%s:%d:%d: %s", f.name, content.Line, content.Column, o.key)}
	nodes := []*yaml.Node{content}
	if o.list && content.Kind == yaml.SequenceNode {
		nodes = content.Content
	}
	for _, node := range nodes {
		switch {
		case node.Kind == yaml.AliasNode:
			f.problemf(node, "%s is an alias. Write the value itself.", o.key)
			return
		case node.Kind != yaml.ScalarNode && o.list:
			f.problemf(node, "%s is neither a value nor a list of values. %s", o.key, o.fix)
			return
		case node.Kind != yaml.ScalarNode:
			f.problemf(node, "%s is not one value. %s", o.key, o.fix)
			return
		}
		v.empty = v.empty || node.Tag == "!!null"
		v.values = append(v.values, node.Value)
	}
	f.given[o.key] = v
}

// suggest names the nearest name, or all of them.
func suggest(name string, names []string) string {
	nearest, distance := "", len(name)/3+1
	for _, other := range names {
		if d := editDistance(name, other); d < distance {
			nearest, distance = other, d
		}
	}
	if nearest == "" {
		return "Known: " + strings.Join(names, ", ") + "."
	}
	return fmt.Sprintf("Did you mean %s?", nearest)
}

// editDistance counts the letters to add, remove or change between two names.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(b)]
}

func readPrivateKey(s *Settings, name string) error {
	if err := refuseMode(name); err != nil {
		return err
	}
	data, err := readBounded(name)
	if err != nil {
		return wrong(fmt.Sprintf("cannot be read (%v)", err))
	}
	return setPrivateKey(s, data)
}

// setPrivateKey takes an RSA key, the kind that GitHub makes for Apps.
func setPrivateKey(s *Settings, data []byte) error {
	block, _ := pem.Decode(data)
	if block == nil {
		return wrong("holds no PEM block")
	}
	if _, err := x509.ParsePKCS1PrivateKey(block.Bytes); err == nil {
		s.PrivateKey = data
		return nil
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if _, isRSA := key.(*rsa.PrivateKey); err != nil || !isRSA {
		return wrong(fmt.Sprintf("holds a PEM block %q that is no RSA private key", block.Type))
	}
	s.PrivateKey = data
	return nil
}

func readBounded(name string) ([]byte, error) {
	file, err := os.Open(name) //nolint:gosec // the operator's own choice
	if err != nil {
		if path := (*os.PathError)(nil); errors.As(err, &path) {
			return nil, path.Err // the name is said already
		}
		return nil, fmt.Errorf("open: %w", err)
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("read: %w", err)
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("it has more than %d bytes", maxFile)
	}
	return data, nil
}
