// Package plantest writes plans as large as a test wants, as `terraform show -json` prints them. Benchmarks of several
// packages use it; no product code does.
package plantest

import (
	"bufio"
	"fmt"
	"hash/fnv"
	"io"
	"os"
	"strings"
)

// Shape is what a plan does with its resources.
type Shape string

// The shapes.
const (
	// Kept has all resources in the state; every tenth changes a tag, and one in a hundred is made anew.
	Kept Shape = "kept"
	// Created makes all of them; most of their values are the same in each, as they are when a module makes them.
	Created Shape = "created"
	// CreatedUnlike makes all of them, and no two values are the same.
	CreatedUnlike Shape = "created, all values unlike"
)

// attributes is how many attributes a resource has.
const attributes = 40

// WriteFile writes a plan to a file and gives its size in bytes.
func WriteFile(name string, n int, shape Shape) (int64, error) {
	file, err := os.Create(name)
	if err != nil {
		return 0, fmt.Errorf("make plan: %w", err)
	}
	defer func() { _ = file.Close() }() // closed below where it matters
	if err := Write(file, n, shape); err != nil {
		return 0, err
	}
	info, err := file.Stat()
	if err != nil {
		return 0, fmt.Errorf("measure plan: %w", err)
	}
	if err := file.Close(); err != nil {
		return 0, fmt.Errorf("write plan: %w", err)
	}
	return info.Size(), nil
}

// Write writes a plan of n resources of 40 attributes: about 10 KB of JSON for each over planned_values, resource_changes
// and prior_state, or 7 KB where there is no state.
func Write(w io.Writer, n int, shape Shape) error {
	b := big{out: bufio.NewWriterSize(w, 1<<20), n: n, shape: shape}
	b.printf(`{"format_version":"1.2","terraform_version":"1.11.4",`)
	b.state("planned_values")
	b.printf(`"resource_changes":[`)
	b.each(b.change)
	b.printf(`],`)
	if shape == Kept {
		b.state("prior_state")
	}
	b.printf(`"configuration":{"root_module":{}},"timestamp":"2026-11-21T10:00:00Z","errored":false}`)
	if err := b.out.Flush(); err != nil {
		return fmt.Errorf("write plan: %w", err)
	}
	return nil
}

type big struct {
	out   *bufio.Writer // remembers the first error until Flush
	n     int
	shape Shape
}

func (b big) printf(format string, args ...any) { _, _ = fmt.Fprintf(b.out, format, args...) }

func (b big) each(one func(i int)) {
	for i := range b.n {
		if i > 0 {
			b.printf(",")
		}
		one(i)
	}
}

func (b big) state(name string) {
	b.printf(`"%s":{"values":{"root_module":{"resources":[`, name)
	b.each(func(i int) {
		b.printf(`{"address":"azurerm_storage_account.a[%d]","mode":"managed","type":"azurerm_storage_account","name":"a","index":%d,`+
			`"provider_name":"registry.terraform.io/hashicorp/azurerm","schema_version":4,"values":%s,"sensitive_values":{"tags":{}}}`,
			i, i, b.values(i, "dev"))
	})
	b.printf(`]}}},`)
}

func (b big) change(i int) {
	actions, before, tag := `"no-op"`, b.values(i, "dev"), "dev"
	switch {
	case b.shape != Kept:
		actions, before = `"create"`, "null"
	case i%100 == 7: //nolint:mnd // one in a hundred
		actions, tag = `"delete","create"`, "prod"
	case i%10 == 3: //nolint:mnd // one in ten
		actions, tag = `"update"`, "prod"
	}
	b.printf(`{"address":"azurerm_storage_account.a[%d]","mode":"managed","type":"azurerm_storage_account","name":"a","index":%d,`+
		`"provider_name":"registry.terraform.io/hashicorp/azurerm","change":{"actions":[%s],"before":%s,"after":%s,"after_unknown":{"tags":{}},`+
		`"before_sensitive":{"tags":{}},"after_sensitive":{"tags":{}}}}`, i, i, actions, before, b.values(i, tag))
}

// values is one object.
func (b big) values(i int, tag string) string {
	var text strings.Builder
	fmt.Fprintf(&text, `{"id":"/subscriptions/0/resource/%d","tags":{"env":"%s"}`, i, tag)
	for k := range attributes - 2 {
		if b.shape != CreatedUnlike {
			fmt.Fprintf(&text, `,"attribute_%02d":"the value of attribute %d, as long as they are: /subscriptions/0000/%02d"`, k, k, k)
			continue
		}
		hash := fnv.New128a()
		_, _ = fmt.Fprint(hash, i, k)
		sum := hash.Sum(nil)
		fmt.Fprintf(&text, `,"attribute_%02d":"/subscriptions/%x/resourceGroups/%x/%d"`, k, sum, sum[:4], i)
	}
	return text.String() + "}"
}
