package plan

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Bounds of what is kept of data sources.
const (
	maxDepth    = 1000    // modules within each other
	maxResult   = 1 << 20 // of one result that is taken apart into texts, in bytes of JSON; a hash is made of any
	maxTexts    = 50_000  // texts and numbers of all results
	shortText   = 4       // shorter ones occur everywhere
	longestText = 1 << 10
	hashLength  = 32 // digits of a result's hash: 128 bits
)

// sources are the data sources of a plan until everything that is sensitive in it is known.
type sources []source

type source struct {
	address   string
	values    any
	sensitive any
}

// priorState reads the state before the changes, where Terraform keeps the results of the data sources that it has read
// for the plan. Managed resources, the bulk of it, are passed over.
func (r *reader) priorState() error {
	return r.json.object(func(key string) error {
		if key != "values" {
			return r.json.skip()
		}
		return r.json.object(func(key string) error {
			if key != "root_module" {
				return r.json.skip()
			}
			return r.stateModule(0)
		})
	})
}

func (r *reader) stateModule(depth int) error {
	if depth > maxDepth {
		return errors.New("modules are nested too deeply")
	}
	return r.json.object(func(key string) error {
		switch key {
		case "resources":
			return r.json.array(r.stateResource)
		case "child_modules":
			return r.json.array(func() error { return r.stateModule(depth + 1) })
		default:
			return r.json.skip()
		}
	})
}

func (r *reader) stateResource() error {
	var found source
	var mode string
	var values, sensitive []byte
	err := r.json.object(func(key string) error {
		switch key {
		case "address":
			return r.json.decode(&found.address)
		case "mode":
			return r.json.decode(&mode)
		case "values", "sensitive_values":
			if mode != "data" && mode != "" { // mode comes first
				return r.json.skip()
			}
			raw, err := r.json.value()
			if key == "values" {
				values = slices.Clone(raw)
			} else {
				sensitive = slices.Clone(raw)
			}
			return err
		default:
			return r.json.skip()
		}
	})
	if err != nil || mode != "data" {
		return err
	}
	if len(values) > 0 {
		err = decode(values, &found.values)
	}
	if len(sensitive) > 0 {
		err = errors.Join(err, decode(sensitive, &found.sensitive))
	}
	if err != nil {
		return fmt.Errorf("%s: decode: %w", found.address, err)
	}
	r.secrets.under(found.values, found.sensitive)
	r.sources = append(r.sources, found)
	return nil
}

// finish gives each data source the hash of its result, and keeps the texts and numbers in it.
func (s sources) finish(r *reader) {
	left := maxTexts
	for _, found := range s {
		address := r.checkout.placed(found.address)
		open := r.checkout.placedIn(r.secrets.without(found.values, found.sensitive))
		written, err := marshal(open)
		if err != nil { // what was decoded can be written
			continue
		}
		sum := sha256.Sum256(written)
		r.plan.Data[address] = hex.EncodeToString(sum[:])[:hashLength]
		if len(written) > maxResult {
			continue
		}
		texts := map[string]bool{}
		textsIn(open, texts)
		for text := range texts {
			if left > 0 {
				left--
				r.plan.results[address] = append(r.plan.results[address], text)
			}
		}
		slices.Sort(r.plan.results[address])
	}
}

// without gives value with null in place of what its mask covers, and of what is sensitive elsewhere.
func (s secrets) without(value, mask any) any {
	if isTrue(mask) || marked(mask) && !fits(mask, value) {
		return nil
	}
	switch value := value.(type) {
	case map[string]any:
		open := make(map[string]any, len(value))
		for key, element := range value {
			if !s.within(key) {
				open[key] = s.without(element, maskKey(mask, key))
			}
		}
		return open
	case []any:
		open := make([]any, len(value))
		for i, element := range value {
			open[i] = s.without(element, maskIndex(mask, i))
		}
		return open
	case string:
		if s.within(value) {
			return nil
		}
	case json.Number:
		if len(value) >= minSecret && s.exact[value.String()] {
			return nil
		}
	}
	return value
}

// textsIn collects the texts and numbers that are long enough to be recognised elsewhere.
func textsIn(value any, into map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for _, element := range value {
			textsIn(element, into)
		}
	case []any:
		for _, element := range value {
			textsIn(element, into)
		}
	case string:
		if len(value) >= shortText && len(value) <= longestText {
			into[value] = true
		}
	case json.Number:
		if len(value) >= shortText {
			into[value.String()] = true
		}
	}
}

// moduleConfig is what matters of the configuration of one module: what its parts refer to. Local values are not part
// of the JSON, so what goes through one is not known.
type moduleConfig struct {
	resources map[string]resourceConfig // by TYPE.NAME
	outputs   map[string][]string
	calls     map[string]moduleCall
}

type resourceConfig struct {
	references []string
	arguments  []string // names of those that are set; the others are the provider's to know
}

type moduleCall struct {
	inputs   map[string][]string
	repeated []string // references of for_each and count
	module   *moduleConfig
}

// configuration reads what each resource refers to.
// https://developer.hashicorp.com/terraform/internals/json-format#configuration-representation
func (r *reader) configuration() error {
	return r.json.object(func(key string) error {
		if key != "root_module" {
			return r.json.skip()
		}
		var err error
		r.plan.references, err = r.moduleConfig(0)
		return err
	})
}

func (r *reader) moduleConfig(depth int) (*moduleConfig, error) {
	if depth > maxDepth {
		return nil, errors.New("modules are nested too deeply")
	}
	config := &moduleConfig{resources: map[string]resourceConfig{}, outputs: map[string][]string{}, calls: map[string]moduleCall{}}
	err := r.json.object(func(key string) error {
		switch key {
		case "resources":
			return r.json.array(func() error { return r.resourceConfig(config) })
		case "outputs":
			return r.json.object(func(name string) error {
				references, err := r.referencesIn()
				config.outputs[name] = references
				return err
			})
		case "module_calls":
			return r.json.object(func(name string) error {
				call, err := r.callConfig(depth)
				config.calls[name] = call
				return err
			})
		default:
			return r.json.skip()
		}
	})
	return config, err
}

func (r *reader) resourceConfig(into *moduleConfig) error {
	var address string
	var config resourceConfig
	err := r.json.object(func(key string) error {
		switch key {
		case "address":
			return r.json.decode(&address)
		case "expressions":
			return r.json.object(func(name string) error {
				found, err := r.referencesIn()
				config.references = append(config.references, found...)
				config.arguments = append(config.arguments, name)
				return err
			})
		case "for_each_expression", "count_expression":
			found, err := r.referencesIn()
			config.references = append(config.references, found...)
			return err
		default:
			return r.json.skip()
		}
	})
	into.resources[address] = config
	return err
}

func (r *reader) callConfig(depth int) (moduleCall, error) {
	call := moduleCall{inputs: map[string][]string{}}
	err := r.json.object(func(key string) (err error) {
		switch key {
		case "expressions":
			return r.json.object(func(name string) error {
				call.inputs[name], err = r.referencesIn()
				return err
			})
		case "for_each_expression", "count_expression":
			call.repeated, err = r.referencesIn()
		case "module":
			call.module, err = r.moduleConfig(depth + 1)
		default:
			return r.json.skip()
		}
		return err
	})
	return call, err
}

// referencesIn reads a value and lists what every expression in it refers to that can lead to a data source: data.TYPE.NAME,
// var.NAME and module.CALL.OUTPUT.
func (r *reader) referencesIn() ([]string, error) {
	var value any
	if err := r.json.decode(&value); err != nil {
		return nil, err
	}
	found := map[string]bool{}
	referencesUnder(value, found)
	var list []string
	for reference := range found {
		list = append(list, reference)
	}
	slices.Sort(list)
	return list, nil
}

func referencesUnder(value any, into map[string]bool) {
	switch value := value.(type) {
	case map[string]any:
		for key, element := range value {
			if list, ok := element.([]any); ok && key == "references" {
				for _, reference := range list {
					if text, ok := reference.(string); ok && leads(text) != "" {
						into[leads(text)] = true
					}
				}
				continue
			}
			referencesUnder(element, into)
		}
	case []any:
		for _, element := range value {
			referencesUnder(element, into)
		}
	}
}

// leads is a reference without keys of instances and without what is within the thing; empty for what
// cannot lead to a data source.
func leads(reference string) string {
	parts := steps(reference)
	switch {
	case len(parts) >= 3 && (parts[0] == "data" || parts[0] == "module"):
		return strings.Join(parts[:3], ".")
	case len(parts) >= 2 && parts[0] == "var":
		return strings.Join(parts[:2], ".")
	default:
		return ""
	}
}

// steps splits an address or a reference at its dots, without the keys of instances. A key may hold anything.
func steps(address string) []string {
	var parts []string
	var part strings.Builder
	quoted, escaped, depth := false, false, 0
	for _, c := range address {
		switch {
		case escaped:
			escaped = false
		case quoted && c == '\\':
			escaped = true
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '[':
			depth++
		case c == ']':
			depth--
		case depth > 0:
		case c == '.':
			parts = append(parts, part.String())
			part.Reset()
		default:
			part.WriteRune(c)
		}
	}
	return append(parts, part.String())
}

// find goes to the module of the resource at address: it and those around it, outermost first; and its configuration.
func (m *moduleConfig) find(address string) ([]placedModule, resourceConfig, bool) {
	if m == nil {
		return nil, resourceConfig{}, false
	}
	parts := steps(address)
	at := []placedModule{{config: m}}
	for len(parts) >= 4 && parts[0] == "module" {
		last := at[len(at)-1]
		call, known := last.config.calls[parts[1]]
		if !known || call.module == nil {
			return nil, resourceConfig{}, false
		}
		at = append(at, placedModule{config: call.module, call: call, prefix: last.prefix + "module." + parts[1] + "."})
		parts = parts[2:]
	}
	config, known := at[len(at)-1].config.resources[strings.Join(parts, ".")]
	return at, config, known
}

// sourcesOf lists the data sources that the resource at address refers to, directly or through variables and outputs of
// modules: addresses without keys of instances.
func (m *moduleConfig) sourcesOf(address string) map[string]bool {
	found, seen := map[string]bool{}, map[string]bool{}
	at, config, _ := m.find(address)
	for _, reference := range config.references {
		follow(at, reference, found, seen)
	}
	return found
}

// computed reports whether the value at a path is the provider's to know: no argument in the configuration sets it.
func (m *moduleConfig) computed(address, path string) bool {
	_, config, known := m.find(address)
	name, _, _ := strings.Cut(path, "[")
	name, _, _ = strings.Cut(name, ".")
	return known && name != "" && !slices.Contains(config.arguments, name)
}

// placedModule is a module with how it is called and the beginning of its addresses.
type placedModule struct {
	config *moduleConfig
	call   moduleCall
	prefix string
}

// follow goes where a reference in the last of these modules leads to.
func follow(at []placedModule, reference string, found, seen map[string]bool) {
	here := at[len(at)-1]
	if seen[here.prefix+reference] {
		return
	}
	seen[here.prefix+reference] = true
	parts := strings.Split(reference, ".")
	switch parts[0] {
	case "data":
		found[here.prefix+reference] = true
	case "var":
		if len(at) == 1 {
			return
		}
		for _, next := range slices.Concat(here.call.inputs[parts[1]], here.call.repeated) {
			follow(at[:len(at)-1], next, found, seen)
		}
	case "module":
		call, known := here.config.calls[parts[1]]
		if !known || call.module == nil {
			return
		}
		inner := placedModule{config: call.module, call: call, prefix: here.prefix + "module." + parts[1] + "."}
		for _, next := range call.module.outputs[parts[2]] {
			follow(append(slices.Clone(at), inner), next, found, seen)
		}
	}
}

// typeOf is the type of the resource at an address; dataType says whether it is a data source.
func typeOf(address string) (kind string, data bool) {
	parts := steps(address)
	for len(parts) >= 4 && parts[0] == "module" {
		parts = parts[2:]
	}
	if len(parts) == 3 && parts[0] == "data" {
		return parts[1], true
	}
	if len(parts) == 2 {
		return parts[0], false
	}
	return "", false
}

// unkeyed is an address without the keys of instances.
func unkeyed(address string) string { return strings.Join(steps(address), ".") }
