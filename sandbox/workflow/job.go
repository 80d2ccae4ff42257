package workflow

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"go.yaml.in/yaml/v3"
)

// maxMatrix is how many jobs a matrix may make.
// https://docs.github.com/en/actions/reference/limits
const maxMatrix = 256

// Labels are the labels that the job's machine must have.
func (j Job) Labels(values Values) ([]string, error) {
	value, err := evaluateNode(j.runsOn, values)
	if err != nil {
		return nil, fmt.Errorf("evaluate runs-on: %w", err)
	}
	if group, ok := value.(map[string]any); ok {
		value = property(group, "labels")
	}
	if all, ok := value.([]any); ok {
		labels := make([]string, 0, len(all))
		for _, label := range all {
			labels = append(labels, Text(label))
		}
		return labels, nil
	}
	if Text(value) == "" {
		return nil, errors.New("evaluate runs-on: it is empty")
	}
	return []string{Text(value)}, nil
}

// evaluateNode is a YAML value with its expressions evaluated.
func evaluateNode(node *yaml.Node, values Values) (any, error) {
	switch node.Kind {
	case yaml.ScalarNode:
		if node.Tag != "!!str" {
			var value any
			err := decode(node, &value)
			return plain(value), err
		}
		return Interpolate(node.Value, values)
	case yaml.SequenceNode:
		all := make([]any, 0, len(node.Content))
		for _, element := range node.Content {
			value, err := evaluateNode(resolved(element), values)
			if err != nil {
				return nil, err
			}
			all = append(all, value)
		}
		return all, nil
	case yaml.MappingNode:
		all := map[string]any{}
		for key, element := range pairs(node) {
			value, err := evaluateNode(element, values)
			if err != nil {
				return nil, err
			}
			all[key.Value] = value
		}
		return all, nil
	default:
		return nil, at(node, "a value of this kind is not known here")
	}
}

// Combinations are the values of matrix for each job that this one becomes: one empty one without a matrix, none where the
// matrix is empty.
// https://docs.github.com/en/actions/how-tos/write-workflows/choose-what-workflows-do/run-job-variations
func (j Job) Combinations(values Values) ([]map[string]any, error) {
	if j.matrix == nil {
		return []map[string]any{{}}, nil
	}
	value, err := evaluateNode(j.matrix, values)
	if err != nil {
		return nil, fmt.Errorf("evaluate the matrix: %w", err)
	}
	matrix, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("evaluate the matrix: it is not a mapping")
	}
	all, err := product(matrix, j.axes(matrix))
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(combination map[string]any) bool {
		return slices.ContainsFunc(objects(matrix["exclude"]), func(excluded map[string]any) bool { return agrees(combination, excluded, nil) })
	})
	all = include(all, objects(matrix["include"]))
	if len(all) > maxMatrix {
		return nil, fmt.Errorf("the matrix makes %d jobs; GitHub allows %d", len(all), maxMatrix)
	}
	return all, nil
}

// axes are the keys of a matrix in file order, or in order of name where an expression made it.
func (j Job) axes(matrix map[string]any) []string {
	var keys []string
	for key := range pairs(j.matrix) {
		keys = append(keys, key.Value)
	}
	if len(keys) == 0 {
		keys = sortedKeys(matrix)
	}
	return slices.DeleteFunc(keys, func(key string) bool { return key == "include" || key == "exclude" })
}

func product(matrix map[string]any, axes []string) ([]map[string]any, error) {
	if len(axes) == 0 {
		return nil, nil
	}
	all := []map[string]any{{}}
	for _, axis := range axes {
		choices, ok := matrix[axis].([]any)
		if !ok {
			return nil, fmt.Errorf("evaluate the matrix: %s is not a list", axis)
		}
		var longer []map[string]any
		for _, combination := range all {
			for _, choice := range choices {
				next := maps.Clone(combination)
				next[axis] = choice
				longer = append(longer, next)
			}
		}
		if len(longer) > maxMatrix*maxMatrix {
			return nil, fmt.Errorf("the matrix makes more than %d jobs", maxMatrix)
		}
		all = longer
	}
	return all, nil
}

func objects(list any) []map[string]any {
	elements, _ := list.([]any)
	var all []map[string]any
	for _, element := range elements {
		if object, ok := element.(map[string]any); ok {
			all = append(all, object)
		}
	}
	return all
}

// agrees reports whether a combination has all values of other; of keys only those in among, unless it is nil.
func agrees(combination, other, among map[string]any) bool {
	for key, value := range other {
		if _, known := among[key]; among != nil && !known {
			continue
		}
		mine, ok := combination[key]
		if !ok || Text(mine) != Text(value) {
			return false
		}
	}
	return true
}

// include adds the values of an entry to each combination whose original values it does not overwrite, or else makes one of it.
func include(all, entries []map[string]any) []map[string]any {
	originals := make([]map[string]any, 0, len(all))
	for _, combination := range all {
		originals = append(originals, maps.Clone(combination))
	}
	for _, entry := range entries {
		added := false
		for i, original := range originals {
			if agrees(original, entry, original) {
				maps.Copy(all[i], entry)
				added = true
			}
		}
		if !added {
			all = append(all, maps.Clone(entry))
		}
	}
	return all
}

// Need is how a job ended that another one needs.
type Need struct {
	Result  string // success, failure, cancelled or skipped
	Outputs map[string]string
}

// Context is the needs context.
func Context(needs map[string]Need) map[string]any {
	all := map[string]any{}
	for id, need := range needs {
		outputs := map[string]any{}
		for name, value := range need.Outputs {
			outputs[name] = value
		}
		all[id] = map[string]any{"result": need.Result, "outputs": outputs}
	}
	return all
}

// Grant is what the token of a job may do: what the job asks for, else the workflow, else what the repository gives, and
// never more than cap where that is not nil.
func Grant(job, workflow, repository, limit Permissions) Permissions {
	asked := repository
	if workflow != nil {
		asked = workflow
	}
	if job != nil {
		asked = job
	}
	granted := Permissions{"metadata": "read"}
	for _, name := range permissionNames {
		level := asked.level(name)
		if limit != nil && weaker(limit.level(name), level) {
			level = limit.level(name)
		}
		if level != "none" {
			granted[name] = level
		}
	}
	return granted
}

// permissionNames are those that a workflow may ask for.
// https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-syntax#permissions
var permissionNames = []string{
	"actions", "attestations", "checks", "contents", "deployments", "discussions", "id-token", "issues", "packages", "pages",
	"pull-requests", "security-events", "statuses",
}

func (p Permissions) level(name string) string {
	if level, ok := p[name]; ok {
		return level
	}
	if level, ok := p["*"]; ok {
		if name == "id-token" && level == "read" {
			return "none" // https://docs.github.com/en/actions/reference/security/oidc: it is write or nothing
		}
		return level
	}
	return "none"
}

func weaker(a, b string) bool {
	order := []string{"none", "read", "write"}
	return slices.Index(order, a) < slices.Index(order, b)
}
