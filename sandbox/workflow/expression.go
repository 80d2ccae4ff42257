package workflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Values are what an expression may use: contexts by name, e.g. "github", each an object, and how the jobs before it ended.
// Objects are map[string]any, lists []any, numbers float64; names are compared without case.
type Values struct {
	Contexts map[string]any
	Status   Status
}

// Status is what the functions success(), failure() and cancelled() answer by.
type Status struct {
	Failed    bool // a job that this one needs, directly or not, failed
	Skipped   bool // … or was skipped or cancelled
	Cancelled bool // the run was cancelled
}

// Interpolate replaces each ${{ }} of a text. A text that is one expression keeps the expression's type.
// https://docs.github.com/en/actions/reference/workflows-and-actions/expressions
func Interpolate(text string, values Values) (any, error) {
	var out strings.Builder
	rest := text
	for {
		before, after, found := strings.Cut(rest, "${{")
		if !found {
			out.WriteString(rest)
			return out.String(), nil
		}
		expression, length, err := enclosed(after)
		if err != nil {
			return nil, fmt.Errorf("read %q: %w", text, err)
		}
		value, err := Evaluate(expression, values)
		if err != nil {
			return nil, fmt.Errorf("evaluate %q: %w", text, err)
		}
		rest = after[length:]
		if before == "" && rest == "" && out.Len() == 0 {
			return value, nil
		}
		out.WriteString(before)
		out.WriteString(Text(value))
	}
}

// enclosed is the expression up to }}, which may also stand in a string of it.
func enclosed(text string) (expression string, length int, err error) {
	quoted := false
	for i := range len(text) {
		switch {
		case text[i] == '\'':
			quoted = !quoted
		case !quoted && strings.HasPrefix(text[i:], "}}"):
			return text[:i], i + len("}}"), nil
		}
	}
	return "", 0, errors.New("an expression has no end")
}

// Condition evaluates an `if`, with or without ${{ }}; success() is implied where no status function is called.
// https://docs.github.com/en/actions/reference/workflows-and-actions/expressions#status-check-functions
func Condition(text string, values Values) (bool, error) {
	expression := strings.TrimSpace(text)
	if inner, ok := strings.CutPrefix(expression, "${{"); ok && strings.HasSuffix(inner, "}}") && strings.Count(inner, "${{") == 0 {
		expression = strings.TrimSuffix(inner, "}}")
	} else if strings.Contains(expression, "${{") {
		value, err := Interpolate(expression, values)
		if err != nil {
			return false, err
		}
		expression = Text(value)
	}
	if strings.TrimSpace(expression) == "" {
		expression = "success()"
	}
	parsed, err := parse(expression)
	if err != nil {
		return false, fmt.Errorf("read the condition %q: %w", text, err)
	}
	value, err := parsed.eval(values)
	if err != nil {
		return false, fmt.Errorf("evaluate the condition %q: %w", text, err)
	}
	if !parsed.asksStatus() && (values.Status.Failed || values.Status.Skipped || values.Status.Cancelled) {
		return false, nil
	}
	return Truth(value), nil
}

// Evaluate is the value of an expression without ${{ }}. What it does not know is an error, never an empty text.
func Evaluate(expression string, values Values) (any, error) {
	parsed, err := parse(expression)
	if err != nil {
		return nil, err
	}
	return parsed.eval(values)
}

// Truth is whether a value counts as true.
func Truth(value any) bool {
	switch v := value.(type) {
	case nil:
		return false
	case bool:
		return v
	case float64:
		return v != 0 && !math.IsNaN(v)
	case string:
		return v != ""
	default:
		return true
	}
}

// Text is a value as it appears in a text.
func Text(value any) string {
	switch v := value.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		return strconv.FormatBool(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case []any:
		return "Array"
	default:
		return "Object"
	}
}

// number is a value as comparisons see it.
func number(value any) float64 {
	switch v := value.(type) {
	case nil:
		return 0
	case bool:
		if v {
			return 1
		}
		return 0
	case float64:
		return v
	case string:
		if strings.TrimSpace(v) == "" {
			return 0
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
		if err == nil {
			return n
		}
	}
	return math.NaN()
}

// expression is one node of a parsed expression.
type expression struct {
	kind  string // literal, context, property, index, spread, call, not, or the operator itself
	name  string
	value any
	parts []*expression
}

// asksStatus reports whether a function of the status is called anywhere.
func (e *expression) asksStatus() bool {
	if e.kind == "call" {
		switch e.name {
		case "success", "failure", "always", "cancelled":
			return true
		}
	}
	for _, part := range e.parts {
		if part.asksStatus() {
			return true
		}
	}
	return false
}

func (e *expression) eval(values Values) (any, error) {
	switch e.kind {
	case "literal":
		return e.value, nil
	case "context":
		for name, value := range values.Contexts {
			if strings.EqualFold(name, e.name) {
				return value, nil
			}
		}
		return nil, fmt.Errorf("the context %q is not known here", e.name)
	case "call":
		return e.call(values)
	case "&&", "||":
		left, err := e.parts[0].eval(values)
		if err != nil || Truth(left) == (e.kind == "||") {
			return left, err
		}
		return e.parts[1].eval(values)
	}
	operands := make([]any, 0, len(e.parts))
	for _, part := range e.parts {
		value, err := part.eval(values)
		if err != nil {
			return nil, err
		}
		operands = append(operands, value)
	}
	return e.operate(operands), nil
}

// operate applies an operator to the values of its operands.
func (e *expression) operate(operands []any) any {
	switch e.kind {
	case "property":
		return property(operands[0], e.name)
	case "index":
		return index(operands[0], operands[1])
	case "spread":
		return spread(operands[0])
	case "not":
		return !Truth(operands[0])
	case "==":
		return same(operands[0], operands[1])
	case "!=":
		return !same(operands[0], operands[1])
	default:
		return ordered(e.kind, operands[0], operands[1])
	}
}

// filtered is the list that .* makes: a property of it is that of each element.
type filtered []any

func spread(of any) any {
	var all filtered
	switch v := of.(type) {
	case []any:
		all = append(all, v...)
	case map[string]any:
		for _, key := range sortedKeys(v) {
			all = append(all, v[key])
		}
	}
	return all
}

func property(of any, name string) any {
	switch v := of.(type) {
	case map[string]any:
		if value, ok := v[name]; ok {
			return value
		}
		for key, value := range v {
			if strings.EqualFold(key, name) {
				return value
			}
		}
	case filtered:
		var all filtered
		for _, element := range v {
			if value := property(element, name); value != nil {
				all = append(all, value)
			}
		}
		return all
	}
	return nil
}

func index(of, at any) any {
	list, ok := of.([]any)
	if !ok {
		return property(of, Text(at))
	}
	n := number(at)
	if math.IsNaN(n) || n < 0 || int(n) >= len(list) {
		return nil
	}
	return list[int(n)]
}

// same is GitHub's ==, which ignores the case of texts.
func same(a, b any) bool {
	x, textX := a.(string)
	y, textY := b.(string)
	if textX && textY {
		return strings.EqualFold(x, y)
	}
	if isComposite(a) || isComposite(b) {
		return false // only one and the same object is equal, which an expression cannot name twice
	}
	return number(a) == number(b)
}

func isComposite(v any) bool {
	switch v.(type) {
	case map[string]any, []any, filtered:
		return true
	}
	return false
}

func ordered(operator string, a, b any) bool {
	x, textX := a.(string)
	y, textY := b.(string)
	if textX && textY {
		return compared(operator, strings.Compare(strings.ToLower(x), strings.ToLower(y)), 0)
	}
	return compared(operator, number(a), number(b))
}

func compared[T int | float64](operator string, a, b T) bool {
	switch operator {
	case "<":
		return a < b
	case "<=":
		return a <= b
	case ">":
		return a > b
	default:
		return a >= b
	}
}

// call answers GitHub's functions, but for hashFiles, which needs the files of a job.
// https://docs.github.com/en/actions/reference/workflows-and-actions/expressions#functions
func (e *expression) call(values Values) (any, error) {
	arguments := make([]any, 0, len(e.parts))
	for _, part := range e.parts {
		value, err := part.eval(values)
		if err != nil {
			return nil, err
		}
		if all, ok := value.(filtered); ok {
			value = []any(all)
		}
		arguments = append(arguments, value)
	}
	status := values.Status
	function, known := map[string]struct {
		least, most int
		answer      func() (any, error)
	}{
		"always":     {0, 0, func() (any, error) { return true, nil }},
		"cancelled":  {0, 0, func() (any, error) { return status.Cancelled, nil }},
		"success":    {0, 0, func() (any, error) { return !status.Failed && !status.Skipped && !status.Cancelled, nil }},
		"failure":    {0, 0, func() (any, error) { return status.Failed && !status.Cancelled, nil }},
		"contains":   {2, 2, func() (any, error) { return contains(arguments[0], arguments[1]), nil }},
		"startswith": {2, 2, func() (any, error) { return strings.HasPrefix(lower(arguments[0]), lower(arguments[1])), nil }},
		"endswith":   {2, 2, func() (any, error) { return strings.HasSuffix(lower(arguments[0]), lower(arguments[1])), nil }},
		"format":     {1, 100, func() (any, error) { return format(Text(arguments[0]), arguments[1:]) }},
		"join":       {1, 2, func() (any, error) { return join(arguments), nil }},
		"tojson":     {1, 1, func() (any, error) { return toJSON(arguments[0]) }},
		"fromjson":   {1, 1, func() (any, error) { return fromJSON(Text(arguments[0])) }},
	}[e.name]
	switch {
	case !known:
		return nil, fmt.Errorf("the function %s is not known here", e.name)
	case len(arguments) < function.least || len(arguments) > function.most:
		return nil, fmt.Errorf("the function %s does not take %d arguments", e.name, len(arguments))
	}
	return function.answer()
}

func lower(v any) string { return strings.ToLower(Text(v)) }

func contains(in, what any) bool {
	list, ok := in.([]any)
	if !ok {
		return strings.Contains(lower(in), lower(what))
	}
	for _, element := range list {
		if same(element, what) {
			return true
		}
	}
	return false
}

func join(arguments []any) string {
	separator := ","
	if len(arguments) > 1 {
		separator = Text(arguments[1])
	}
	list, ok := arguments[0].([]any)
	if !ok {
		return Text(arguments[0])
	}
	words := make([]string, 0, len(list))
	for _, element := range list {
		words = append(words, Text(element))
	}
	return strings.Join(words, separator)
}

// format replaces {0}; {{ and }} are braces.
func format(text string, arguments []any) (any, error) {
	var out strings.Builder
	for i := 0; i < len(text); i++ {
		switch {
		case strings.HasPrefix(text[i:], "{{"), strings.HasPrefix(text[i:], "}}"):
			out.WriteByte(text[i])
			i++
		case text[i] == '{':
			inside, _, found := strings.Cut(text[i+1:], "}")
			n, err := strconv.Atoi(inside)
			if !found || err != nil || n < 0 || n >= len(arguments) {
				return nil, fmt.Errorf("format has no argument {%s}", inside)
			}
			out.WriteString(Text(arguments[n]))
			i += len(inside) + 1
		default:
			out.WriteByte(text[i])
		}
	}
	return out.String(), nil
}

func toJSON(v any) (any, error) {
	raw, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write JSON: %w", err)
	}
	return string(raw), nil
}

func fromJSON(text string) (any, error) {
	var v any
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		return nil, fmt.Errorf("fromJSON of %.80q: %w", text, err)
	}
	return v, nil
}
