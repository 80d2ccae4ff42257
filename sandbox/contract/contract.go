// Package contract holds the GitHub stand-in and our client to GitHub's published descriptions: every
// REST request and response to the OpenAPI description, every webhook to the webhook schemas. Tests
// give it what the stand-in observes and fail with its violations. It changes no exchange, and the
// product never imports it.
//
// The descriptions are trimmed to the lists operations.txt and webhooks.txt; a call or webhook that is
// not listed is a violation. After a change of a list run go generate (it needs npm).
package contract

import (
	"fmt"
	"slices"
	"strings"
	"sync"
)

//go:generate go run ./trim -out .

// maxShown bounds the violations that a failing test prints.
const maxShown = 40

// Contract collects the violations of one test. It is safe for concurrent use.
type Contract struct {
	rest     *restDescription
	webhooks *webhookSchemas

	mu         sync.Mutex
	violations map[string]int // violation → how often
	order      []string       // as they were first seen
	checked    int
}

// TB is what Watch and Check need of a test; *testing.T has it.
type TB interface {
	Helper()
	Cleanup(cleanup func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// The embedded descriptions never change, and hundreds of tests of one program share them.
//
//nolint:gochecknoglobals // read once, then only read
var (
	readREST     = sync.OnceValues(loadREST)
	readWebhooks = sync.OnceValues(loadWebhooks)
)

// New returns a contract without violations. The first call of a program reads the descriptions, which takes some 20 ms.
func New() (*Contract, error) {
	rest, err := readREST()
	if err != nil {
		return nil, fmt.Errorf("load the REST description: %w", err)
	}
	webhooks, err := readWebhooks()
	if err != nil {
		return nil, fmt.Errorf("load the webhook schemas: %w", err)
	}
	return &Contract{rest: rest, webhooks: webhooks, violations: map[string]int{}}, nil
}

// Watch returns a contract whose violations fail the test at its end. Its Observe goes into the options of the stand-in.
func Watch(t TB) *Contract {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatalf("read GitHub's descriptions: %v", err)
	}
	t.Cleanup(func() { c.Check(t) })
	return c
}

// Check fails the test with all violations so far.
func (c *Contract) Check(t TB) {
	t.Helper()
	violations := c.Violations()
	if len(violations) == 0 {
		return
	}
	shown := violations[:min(len(violations), maxShown)]
	t.Errorf("GitHub's descriptions are violated in %d ways:\n\t%s", len(violations), strings.Join(shown, "\n\t"))
}

// Violations are the distinct violations so far, in the order in which they were first seen, each one line.
func (c *Contract) Violations() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	lines := make([]string, 0, len(c.order))
	for _, violation := range c.order {
		if times := c.violations[violation]; times > 1 {
			violation = fmt.Sprintf("%s (%d times)", violation, times)
		}
		lines = append(lines, violation)
	}
	return lines
}

// Checked is how many exchanges were checked, so that a test can see that it watched anything at all.
func (c *Contract) Checked() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.checked
}

func (c *Contract) record(found []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.checked++
	for _, violation := range found {
		violation = strings.ReplaceAll(violation, "\n", " ")
		if !slices.Contains(c.order, violation) {
			c.order = append(c.order, violation)
		}
		c.violations[violation]++
	}
}
