package sandbox

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// serveGraphQL knows two mutations, minimizeComment and unminimizeComment, in the form that clients write: one input, as
// a variable or in the text, and a selection of fields, which decides what the answer holds; and the query of one comment by its node id.
// https://docs.github.com/en/graphql/reference/mutations#minimizecomment
// https://docs.github.com/en/graphql/reference/mutations#unminimizecomment
func serveGraphQL(c *call) reply {
	asked, refused := decode[struct {
		Query     string         `json:"query"`
		Variables map[string]any `json:"variables"`
	}](c)
	if refused != nil {
		return *refused
	}
	document, err := parseGraphQL(asked.Query)
	if err != nil {
		return graphError("PARSE_ERROR", err.Error())
	}
	if document.kind == "query" && len(document.fields) == 1 && document.fields[0].name == "node" {
		id, _ := resolveArgument(document.fields[0].arguments["id"], asked.Variables).(string)
		return c.commentNode(document.fields[0], id)
	}
	if document.kind != "mutation" || len(document.fields) != 1 ||
		document.fields[0].name != "minimizeComment" && document.fields[0].name != "unminimizeComment" {
		return c.sandbox.refuseGraphQL(document)
	}
	mutation := document.fields[0]
	input, ok := resolveArgument(mutation.arguments["input"], asked.Variables).(object)
	if !ok {
		return graphError("INVALID", "Field '"+mutation.name+"' is missing required arguments: input")
	}
	subject, _ := input["subjectId"].(string)
	if mutation.name == "unminimizeComment" {
		return c.fold(mutation, input, subject, "")
	}
	classifier, _ := input["classifier"].(string)
	return c.minimize(mutation, input, subject, classifier)
}

// commentNode answers with a comment.
// https://docs.github.com/en/graphql/reference/objects#issuecomment
func (c *call) commentNode(query graphField, id string) reply {
	c.sandbox.mu.Lock()
	defer c.sandbox.mu.Unlock()
	for _, r := range c.token.installation.repositories {
		if !c.token.covers(r) || !c.token.may("issues", "read") && !c.token.may("pull_requests", "read") {
			continue
		}
		for _, t := range r.threads {
			i := slices.IndexFunc(t.comments, func(m *comment) bool { return nodeID("IC", m.id) == id })
			if i < 0 {
				continue
			}
			var edited any // null while it is as it was made
			if m := t.comments[i]; m.edits > 0 {
				edited = stamp(m.updated)
			}
			shown := query.answer(object{"__typename": "IssueComment", "id": id, "body": t.comments[i].body, "lastEditedAt": edited})
			return reply{status: http.StatusOK, body: object{"data": object{query.alias: shown}}}
		}
	}
	return graphError("NOT_FOUND", fmt.Sprintf("Could not resolve to a node with the global id of '%s'", id))
}

// refuseGraphQL remembers what was asked by the names of its fields.
func (s *Sandbox) refuseGraphQL(document graphDocument) reply {
	names := []string{"POST /api/graphql", document.kind}
	for _, f := range document.fields {
		names = append(names, f.name)
	}
	name := strings.Join(names, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unserved[name] = true
	return problem(http.StatusNotImplemented, "The sandbox does not serve "+name)
}

func graphError(kind, message string) reply {
	return reply{status: http.StatusOK, body: object{
		"data": nil, "errors": []object{{"type": kind, "message": message}},
	}}
}

func (c *call) minimize(mutation graphField, input object, subject, classifier string) reply {
	reasons := []string{"ABUSE", "DUPLICATE", "OFF_TOPIC", "OUTDATED", "RESOLVED", "SPAM"}
	if !slices.Contains(reasons, classifier) {
		return graphError("INVALID", fmt.Sprintf("Expected %q to be one of: %s", classifier, strings.Join(reasons, ", ")))
	}
	return c.fold(mutation, input, subject, classifier)
}

// fold minimizes a comment for a reason, or unminimizes it where classifier is empty.
func (c *call) fold(mutation graphField, input object, subject, classifier string) reply {
	s := c.sandbox
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range c.token.installation.repositories {
		if !c.token.covers(r) {
			continue
		}
		for _, t := range r.threads {
			i := slices.IndexFunc(t.comments, func(m *comment) bool { return nodeID("IC", m.id) == subject })
			if i < 0 {
				continue
			}
			if !c.token.may("issues", "write") && !c.token.may("pull_requests", "write") {
				return graphError("FORBIDDEN", "Resource not accessible by integration")
			}
			m := t.comments[i]
			m.minimized = strings.ReplaceAll(strings.ToLower(classifier), "_", "-")
			var reason any // null while it is not minimized
			if m.minimized != "" {
				reason = m.minimized
			}
			answer := mutation.answer(object{
				"clientMutationId": input["clientMutationId"],
				strings.Replace(mutation.name, "minimize", "minimized", 1): object{
					"__typename": "IssueComment", "id": subject, "isMinimized": m.minimized != "", "minimizedReason": reason,
					"viewerCanMinimize": true, "viewerCanUnminimize": true,
				},
			})
			return reply{
				status: http.StatusOK, body: object{"data": object{mutation.alias: answer}},
				effect: strings.TrimSpace(mutation.name + " " + classifier),
			}
		}
	}
	return graphError("NOT_FOUND", fmt.Sprintf("Could not resolve to a node with the global id of '%s'", subject))
}

// graphDocument is one operation.
type graphDocument struct {
	kind   string // query or mutation
	fields []graphField
}

type graphField struct {
	alias, name string
	arguments   object
	fields      []graphField
}

// graphVariable is $name.
type graphVariable string

// answer picks the selected fields out of value.
func (f graphField) answer(value object) object {
	picked := object{}
	for _, inner := range f.fields {
		v := value[inner.name]
		if o, ok := v.(object); ok {
			v = inner.answer(o)
		}
		picked[inner.alias] = v
	}
	return picked
}

// resolveArgument puts variables in their places.
func resolveArgument(value any, variables map[string]any) any {
	switch v := value.(type) {
	case graphVariable:
		return variables[string(v)]
	case object:
		resolved := object{}
		for key, inner := range v {
			resolved[key] = resolveArgument(inner, variables)
		}
		return resolved
	default:
		return v
	}
}

// graphTokens splits a GraphQL text: names, variables, strings, spreads, punctuation.
// https://spec.graphql.org/October2021/#sec-Language.Source-Text
func graphTokens(text string) []string {
	return regexp.MustCompile(`\.\.\.|\$?[A-Za-z_][A-Za-z0-9_]*|"(?:[^"\\]|\\.)*"|-?[0-9][0-9.eE+-]*|[{}()\[\]:!=|@&]`).FindAllString(text, -1)
}

// graphParser reads the part of GraphQL that has fields, arguments and inline fragments.
type graphParser struct {
	tokens []string
	depth  int
}

const maxGraphDepth = 20

func parseGraphQL(text string) (graphDocument, error) {
	p := &graphParser{tokens: graphTokens(text)}
	d := graphDocument{kind: "query"}
	if p.peek() != "{" {
		d.kind = p.next()
		for p.peek() != "{" && p.peek() != "" { // the operation's name and its variables' types
			p.next()
		}
	}
	fields, err := p.selection()
	d.fields = fields
	return d, err
}

func (p *graphParser) peek() string {
	if len(p.tokens) == 0 {
		return ""
	}
	return p.tokens[0]
}

func (p *graphParser) next() string {
	token := p.peek()
	if token != "" {
		p.tokens = p.tokens[1:]
	}
	return token
}

// selection reads { field … }.
func (p *graphParser) selection() ([]graphField, error) {
	if p.depth++; p.depth > maxGraphDepth {
		return nil, fmt.Errorf("more than %d levels", maxGraphDepth)
	}
	defer func() { p.depth-- }()
	if token := p.next(); token != "{" {
		return nil, fmt.Errorf("expected {, actual: %q", token)
	}
	var fields []graphField
	for p.peek() != "}" {
		if p.peek() == "" {
			return nil, errors.New("expected }, actual: end of the text")
		}
		if p.peek() == "..." { // an inline fragment: ... on Type { fields }
			for p.peek() != "{" && p.peek() != "" {
				p.next()
			}
			inner, err := p.selection()
			if err != nil {
				return nil, err
			}
			fields = append(fields, inner...)
			continue
		}
		f, err := p.field()
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	p.next()
	return fields, nil
}

func (p *graphParser) field() (graphField, error) {
	f := graphField{alias: p.next(), arguments: object{}}
	f.name = f.alias
	if p.peek() == ":" {
		p.next()
		f.name = p.next()
	}
	if p.peek() == "(" {
		p.next()
		arguments, err := p.pairs(")")
		if err != nil {
			return f, err
		}
		f.arguments = arguments
	}
	if p.peek() != "{" {
		return f, nil
	}
	fields, err := p.selection()
	f.fields = fields
	return f, err
}

// pairs reads name: value … up to the closing token.
func (p *graphParser) pairs(closing string) (object, error) {
	if p.depth++; p.depth > maxGraphDepth {
		return nil, fmt.Errorf("more than %d levels", maxGraphDepth)
	}
	defer func() { p.depth-- }()
	pairs := object{}
	for p.peek() != closing {
		name := p.next()
		if colon := p.next(); colon != ":" {
			return nil, fmt.Errorf("expected : after %q, actual: %q", name, colon)
		}
		switch value := p.next(); {
		case value == "{":
			inner, err := p.pairs("}")
			if err != nil {
				return nil, err
			}
			pairs[name] = inner
		case strings.HasPrefix(value, "$"):
			pairs[name] = graphVariable(value[1:])
		default:
			pairs[name] = strings.Trim(value, `"`)
		}
	}
	p.next()
	return pairs, nil
}
