package workflow

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// maxDepth bounds how deep an expression may be nested.
const maxDepth = 100

// token is one word of an expression.
type token struct {
	kind string // name, number, string, or the operator itself
	text string
}

// operators are longest first, so that <= is not read as <.
var operators = []string{"&&", "||", "==", "!=", "<=", ">=", "<", ">", "!", "(", ")", "[", "]", ",", ".", "*"}

func tokens(text string) ([]token, error) {
	var all []token
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case strings.IndexByte(" \t\r\n", c) >= 0:
			i++
		case c == '\'':
			value, length, err := quoted(text[i:])
			if err != nil {
				return nil, err
			}
			all, i = append(all, token{"string", value}), i+length
		case isLetter(c):
			length := spanOf(text[i:], func(c byte) bool { return isLetter(c) || isDigit(c) || c == '-' })
			all, i = append(all, token{"name", text[i : i+length]}), i+length
		case isDigit(c) || (c == '-' || c == '+') && i+1 < len(text) && isDigit(text[i+1]):
			length := 1 + spanOf(text[i+1:], func(c byte) bool { return isLetter(c) || isDigit(c) || c == '.' })
			all, i = append(all, token{"number", text[i : i+length]}), i+length
		default:
			at := slices.IndexFunc(operators, func(operator string) bool { return strings.HasPrefix(text[i:], operator) })
			if at < 0 {
				return nil, fmt.Errorf("an expression has no place for %q", c)
			}
			all, i = append(all, token{operators[at], operators[at]}), i+len(operators[at])
		}
	}
	return all, nil
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func spanOf(text string, of func(byte) bool) int {
	n := 0
	for n < len(text) && of(text[n]) {
		n++
	}
	return n
}

// quoted reads a string, in which two quotes are one.
func quoted(text string) (value string, length int, err error) {
	var out strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] != '\'':
			out.WriteByte(text[i])
		case i+1 < len(text) && text[i+1] == '\'':
			out.WriteByte('\'')
			i++
		default:
			return out.String(), i + 1, nil
		}
	}
	return "", 0, errors.New("a string of an expression has no end")
}

type parser struct {
	tokens []token
	depth  int
}

func parse(text string) (*expression, error) {
	all, err := tokens(text)
	if err != nil {
		return nil, err
	}
	p := &parser{tokens: all}
	parsed, err := p.binary(0)
	if err == nil && len(p.tokens) > 0 {
		err = fmt.Errorf("%q is not expected", p.tokens[0].text)
	}
	if err != nil {
		return nil, fmt.Errorf("read expression %q: %w", strings.TrimSpace(text), err)
	}
	return parsed, nil
}

// next takes the next token if it is of that kind.
func (p *parser) next(kind string) bool {
	if len(p.tokens) == 0 || p.tokens[0].kind != kind {
		return false
	}
	p.tokens = p.tokens[1:]
	return true
}

func (p *parser) expect(kind string) error {
	if p.next(kind) {
		return nil
	}
	if len(p.tokens) == 0 {
		return fmt.Errorf("%q is missing at the end", kind)
	}
	return fmt.Errorf("%q is expected before %q", kind, p.tokens[0].text)
}

// levels are the binary operators, those that bind weakest first.
var levels = [][]string{{"||"}, {"&&"}, {"==", "!="}, {"<", "<=", ">", ">="}}

func (p *parser) binary(level int) (*expression, error) {
	if level == len(levels) {
		return p.unary()
	}
	left, err := p.binary(level + 1)
	for err == nil {
		at := slices.IndexFunc(levels[level], p.next)
		if at < 0 {
			return left, nil
		}
		var right *expression
		right, err = p.binary(level + 1)
		left = &expression{kind: levels[level][at], parts: []*expression{left, right}}
	}
	return nil, err
}

func (p *parser) unary() (*expression, error) {
	p.depth++
	defer func() { p.depth-- }()
	if p.depth > maxDepth {
		return nil, errors.New("it is nested too deep")
	}
	if p.next("!") {
		operand, err := p.unary()
		return &expression{kind: "not", parts: []*expression{operand}}, err
	}
	value, err := p.primary()
	for err == nil {
		switch {
		case p.next("."):
			value, err = p.member(value)
		case p.next("["):
			value, err = p.element(value)
		default:
			return value, nil
		}
	}
	return nil, err
}

func (p *parser) member(of *expression) (*expression, error) {
	if p.next("*") {
		return &expression{kind: "spread", parts: []*expression{of}}, nil
	}
	if len(p.tokens) == 0 || p.tokens[0].kind != "name" {
		return nil, errors.New("a property has no name")
	}
	name := p.tokens[0].text
	p.tokens = p.tokens[1:]
	return &expression{kind: "property", name: name, parts: []*expression{of}}, nil
}

func (p *parser) element(of *expression) (*expression, error) {
	if p.next("*") {
		return &expression{kind: "spread", parts: []*expression{of}}, p.expect("]")
	}
	at, err := p.binary(0)
	if err != nil {
		return nil, err
	}
	return &expression{kind: "index", parts: []*expression{of, at}}, p.expect("]")
}

func (p *parser) primary() (*expression, error) {
	if p.next("(") {
		inner, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		return inner, p.expect(")")
	}
	if len(p.tokens) == 0 {
		return nil, errors.New("it ends too early")
	}
	first := p.tokens[0]
	p.tokens = p.tokens[1:]
	switch first.kind {
	case "string":
		return &expression{kind: "literal", value: first.text}, nil
	case "number":
		n, err := strconv.ParseFloat(first.text, 64)
		if err != nil {
			whole, wholeErr := strconv.ParseInt(first.text, 0, 64) // 0xff
			if wholeErr != nil {
				return nil, fmt.Errorf("%q is not a number", first.text)
			}
			n = float64(whole)
		}
		return &expression{kind: "literal", value: n}, nil
	case "name":
		return p.named(first.text)
	}
	return nil, fmt.Errorf("%q is not expected", first.text)
}

// named is a word: a literal, a function or a context.
func (p *parser) named(name string) (*expression, error) {
	switch name {
	case "true", "false":
		return &expression{kind: "literal", value: name == "true"}, nil
	case "null":
		return &expression{kind: "literal"}, nil
	}
	if !p.next("(") {
		return &expression{kind: "context", name: name}, nil
	}
	call := &expression{kind: "call", name: strings.ToLower(name)}
	for !p.next(")") {
		if len(call.parts) > 0 {
			if err := p.expect(","); err != nil {
				return nil, err
			}
		}
		argument, err := p.binary(0)
		if err != nil {
			return nil, err
		}
		call.parts = append(call.parts, argument)
	}
	return call, nil
}
