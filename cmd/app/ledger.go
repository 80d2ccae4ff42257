package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/render"
	"github.com/switchyard-dev/switchyard/store"
)

type ledgerCommand struct {
	selection `embed:""`

	Address *string `placeholder:"ADDRESS" help:"Only changes of this resource, also under an address that it had before."`
}

// maxAddress bounds an address, in bytes.
const maxAddress = 4096

// Run prints the changes that applies made, the oldest of them first, with why they were there and who said yes.
func (c ledgerCommand) Run(ctx context.Context) error {
	address, err := c.address()
	if err != nil {
		return err
	}
	return c.read(ctx, func(ctx context.Context, data *store.Store, from from) error {
		entries, more, err := c.entries(ctx, data, from, address)
		if err != nil {
			return err
		}
		if err := c.print(ctx, os.Stdout, data, entries); err != nil {
			return fmt.Errorf("print the ledger: %w", err)
		}
		c.remark(from.repo, len(entries), more)
		if len(entries) > 0 {
			return nil
		}
		if address != "" {
			fmt.Fprintf(os.Stderr, "switchyard: no change of %.200q; write the address as the plan does, with its quotes, and "+
				"the whole of it in single "+
				"quotes: 'module.stamp[\"westeurope\"].azurerm_subnet.main'\n", address)
		}
		return c.otherEnvironments(ctx, data, from.repo)
	})
}

func (c ledgerCommand) address() (string, error) {
	switch {
	case c.Address == nil:
		return "", nil
	case *c.Address == "":
		return "", errors.New("--address is empty: write the address of a resource as the plan does, or leave --address out")
	case len(*c.Address) > maxAddress:
		return "", fmt.Errorf("--address has %d bytes, and no address has more than %d: write the address of one resource",
			len(*c.Address), maxAddress)
	}
	return *c.Address, nil
}

// otherEnvironments tells which environments there are, when nothing was found in the one that was asked for.
func (c selection) otherEnvironments(ctx context.Context, data *store.Store, repo operation.Repository) error {
	if c.environment() == "" {
		return nil
	}
	ops, err := data.Operations(ctx, store.Filter{Repository: repo.ID, Newest: true, Limit: maxLooked})
	if err != nil {
		return fmt.Errorf("find the environments: %w", err)
	}
	var names []string
	for _, op := range ops {
		if op.Environment == c.environment() {
			return nil
		}
		if !slices.Contains(names, op.Environment) {
			names = append(names, op.Environment)
		}
	}
	slices.Sort(names)
	if len(names) > 0 {
		fmt.Fprintf(os.Stderr, "switchyard: there are no plans and applies for %q; there are for %s\n",
			c.environment(), cell(strings.Join(names, ", "), maxWhy))
	}
	return nil
}

// maxLooked is how many of the newest operations are looked at for the names of environments.
const maxLooked = 200

// entries reads what is selected of the ledger, the oldest first, and reports whether there is more.
func (c selection) entries(ctx context.Context, data *store.Store, from from, address string) ([]operation.Entry, bool, error) {
	entries, err := data.Ledger(ctx, store.LedgerFilter{
		Repository: from.repo.ID, Environment: c.environment(), Address: address, Since: from.since, Limit: c.Limit + 1,
	})
	if err != nil {
		return nil, false, fmt.Errorf("read the ledger: %w", err)
	}
	more := len(entries) > c.Limit
	entries = entries[:min(len(entries), c.Limit)]
	slices.Reverse(entries)
	return entries, more, nil
}

func (c ledgerCommand) print(ctx context.Context, to io.Writer, data *store.Store, entries []operation.Entry) error {
	if c.JSON {
		for _, entry := range entries {
			line, err := json.Marshal(entry)
			if err != nil {
				return err //nolint:wrapcheck // Run wraps it
			}
			if _, err := fmt.Fprintln(to, harmless(string(line))); err != nil {
				return err //nolint:wrapcheck // Run wraps it
			}
		}
		return nil
	}
	if len(entries) == 0 {
		return nil
	}
	views, err := deploy.LedgerViews(ctx, data, entries)
	if err != nil {
		return err //nolint:wrapcheck // Run wraps it
	}
	_, err = io.WriteString(to, render.Ledger(views))
	return err //nolint:wrapcheck // Run wraps it
}
