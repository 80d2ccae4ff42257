package contract

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/santhosh-tekuri/jsonschema/v6/kind"
)

//go:embed webhooks.json
var webhooksJSON []byte

// webhooksURL names the schemas inside the compiler; nothing is fetched.
const webhooksURL = "mem:///webhooks.json"

// CheckWebhook records how a webhook violates GitHub's schemas, and the headers that GitHub sends with each.
// https://docs.github.com/en/webhooks/webhook-events-and-payloads#delivery-headers
func (c *Contract) CheckWebhook(header http.Header, payload []byte) {
	event := header.Get("X-Github-Event")
	found := headerViolations(header)
	name, body, err := webhookName(event, payload)
	if err != nil {
		c.record(append(found, fmt.Sprintf("webhook %s: %v", event, err)))
		return
	}
	found = append(found, c.webhooks.violations(name, body)...)
	if run, ok := body["check_run"].(map[string]any); ok && run["status"] == "completed" && run["conclusion"] == nil {
		found = append(found, "a completed check run needs a conclusion")
	}
	for i := range found {
		found[i] = "webhook " + name + ": " + found[i]
	}
	c.record(found)
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

func headerViolations(header http.Header) []string {
	var found []string
	if !guid.MatchString(header.Get("X-Github-Delivery")) {
		found = append(found, "header X-GitHub-Delivery is not a GUID")
	}
	if !strings.HasPrefix(header.Get("X-Hub-Signature-256"), "sha256=") {
		found = append(found, "header X-Hub-Signature-256 is missing")
	}
	if !strings.HasPrefix(header.Get("User-Agent"), "GitHub-Hookshot/") {
		found = append(found, "header User-Agent does not start with GitHub-Hookshot/")
	}
	if header.Get("Content-Type") != "application/json" {
		found = append(found, "header Content-Type is not application/json")
	}
	return found
}

// webhookName is the name of a webhook in webhooks.txt: the event, and the action where the payload has one.
func webhookName(event string, payload []byte) (string, map[string]any, error) {
	decoded, err := jsonschema.UnmarshalJSON(bytes.NewReader(payload))
	if err != nil {
		return "", nil, fmt.Errorf("parse the payload: %w", err)
	}
	body, ok := decoded.(map[string]any)
	if !ok {
		return "", nil, errors.New("the payload is not an object")
	}
	if action, ok := body["action"].(string); ok {
		return event + "." + action, body, nil
	}
	return event, body, nil
}

// webhookSchemas compiles a schema when it is first used: a test meets few of them.
type webhookSchemas struct {
	mu       sync.Mutex
	compiler *jsonschema.Compiler
	known    map[string]json.RawMessage
	compiled map[string]*jsonschema.Schema
}

func loadWebhooks() (*webhookSchemas, error) {
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(webhooksJSON))
	if err != nil {
		return nil, fmt.Errorf("parse webhooks.json: %w", err)
	}
	var names struct {
		Definitions map[string]json.RawMessage `json:"definitions"`
	}
	if err := json.Unmarshal(webhooksJSON, &names); err != nil {
		return nil, fmt.Errorf("parse webhooks.json: %w", err)
	}
	compiler := jsonschema.NewCompiler()
	// GitHub's addresses with {placeholders} are not all valid templates.
	compiler.RegisterFormat(&jsonschema.Format{Name: "uri-template", Validate: func(any) error { return nil }})
	if err := compiler.AddResource(webhooksURL, document); err != nil {
		return nil, fmt.Errorf("add webhooks.json: %w", err)
	}
	return &webhookSchemas{compiler: compiler, known: names.Definitions, compiled: map[string]*jsonschema.Schema{}}, nil
}

func (s *webhookSchemas) violations(name string, payload map[string]any) []string {
	schema, err := s.schema(name)
	if err != nil {
		return []string{err.Error()}
	}
	var invalid *jsonschema.ValidationError
	if err := schema.Validate(payload); errors.As(err, &invalid) {
		return leaves(invalid)
	} else if err != nil {
		return []string{err.Error()}
	}
	return nil
}

func (s *webhookSchemas) schema(name string) (*jsonschema.Schema, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if schema, ok := s.compiled[name]; ok {
		return schema, nil
	}
	event, action, ok := strings.Cut(name, ".")
	if !ok {
		action = "event"
	}
	definition := event + "$" + action
	if _, ok := s.known[definition]; !ok {
		return nil, errors.New("not listed in sandbox/contract/webhooks.txt")
	}
	schema, err := s.compiler.Compile(webhooksURL + "#/definitions/" + definition)
	if err != nil {
		return nil, fmt.Errorf("compile the schema: %w", err)
	}
	s.compiled[name] = schema
	return schema, nil
}

// reason is what is wrong at one place, in the words of the library.
func reason(err *jsonschema.ValidationError) string {
	if unit := err.DetailedOutput(); unit.Error != nil {
		return unit.Error.String()
	}
	return err.Error()
}

// leaves are the innermost causes of an invalid payload, each with its place.
func leaves(err *jsonschema.ValidationError) []string {
	if len(err.Causes) == 0 {
		return []string{"/" + strings.Join(err.InstanceLocation, "/") + ": " + reason(err)}
	}
	var found []string
	for _, cause := range err.Causes {
		for _, leaf := range leaves(cause) {
			if !slices.Contains(found, leaf) {
				found = append(found, leaf)
			}
		}
	}
	if _, choice := err.ErrorKind.(*kind.OneOf); choice {
		return []string{"/" + strings.Join(err.InstanceLocation, "/") + ": none of its variants fits: " + strings.Join(found, "; ")}
	}
	return found
}
