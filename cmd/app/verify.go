package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/switchyard-dev/switchyard/deploy"
	"github.com/switchyard-dev/switchyard/git"
	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store"
)

type verifyCommand struct {
	selection `embed:""`

	Git string `placeholder:"DIR" help:"A clone; without it the server's mirror in its data directory, where this is its host."`
}

// verifyTime bounds how long a ledger is checked: some commands of git for each apply.
const verifyTime = time.Hour

// Run checks again, without asking anybody, that every change in the ledger has its name.
func (c verifyCommand) Run(ctx context.Context) error {
	long, cancel := context.WithTimeout(ctx, verifyTime)
	defer cancel()
	return c.read(ctx, func(_ context.Context, data *store.Store, from from) error {
		clone, err := c.clone(long, from.repo)
		if err != nil {
			return err
		}
		result, err := deploy.Verification{
			Store: data, Clone: clone, Repository: from.repo, Environment: c.environment(), Since: from.since, Limit: c.Limit,
		}.Verify(long)
		if err != nil {
			return fmt.Errorf("verify the ledger: %w", err)
		}
		if result.Applies == 0 {
			if err := c.otherEnvironments(long, data, from.repo); err != nil {
				return err
			}
		}
		return c.print(from.repo, result, clone != nil)
	})
}

// clone opens what commits are compared in; nil where there is none.
func (c verifyCommand) clone(ctx context.Context, repo operation.Repository) (*git.Clone, error) {
	if c.Git != "" {
		clone, err := git.OpenClone(ctx, c.Git)
		if err != nil {
			return nil, fmt.Errorf("--git: %w", err)
		}
		return &clone, nil
	}
	_, dir, err := settings.LoadData(c.Config, os.LookupEnv)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the option
	}
	mirror := filepath.Join(dir, "mirrors", strconv.FormatInt(repo.ID, 10)+".git") // as the server and package git name it
	if _, err := os.Stat(mirror); errors.Is(err, fs.ErrNotExist) {
		return nil, nil //nolint:nilnil // it is said what is not checked
	}
	clone, err := git.OpenClone(ctx, mirror)
	if err != nil {
		return nil, fmt.Errorf("%w; run this as the server's user, or give a clone with --git", err)
	}
	return &clone, nil
}

// finding is one line as --json prints it.
type finding struct {
	Operation   int64  `json:"operation"` // 0: what all of them left
	Environment string `json:"environment"`
	Root        string `json:"root"`      // empty: the whole apply
	Unchecked   bool   `json:"unchecked"` // nothing is known to be wrong
	Text        string `json:"text"`
}

// print tells what was found, and sets the exit status.
func (c verifyCommand) print(repo operation.Repository, result deploy.Verified, compared bool) error {
	wrong, unchecked := 0, 0
	for _, found := range result.Findings {
		if found.Unchecked {
			unchecked++
		} else {
			wrong++
		}
		line, err := c.line(found)
		if err != nil {
			return fmt.Errorf("print what was found: %w", err)
		}
		if _, err := fmt.Println(line); err != nil {
			return fmt.Errorf("print what was found: %w", err)
		}
	}
	if result.Applies == 0 {
		c.remark(repo, 0, false)
	}
	if result.More {
		fmt.Fprintf(os.Stderr, "switchyard: only the newest %d applies %s were checked; a higher --limit checks earlier ones\n",
			c.Limit, c.words(repo))
	}
	if !compared {
		fmt.Fprintln(os.Stderr, "switchyard: commits, bindings and approvals were not compared with git, because the server's mirror "+
			"is not here; "+
			"give a clone with --git")
	}
	if wrong > 0 {
		fmt.Fprintf(os.Stderr, "switchyard: %s, of %s that %s checked\n", counted(wrong, "thing does not hold", "things do not hold"),
			counted(result.Applies, "apply", "applies"), wasOrWere(result.Applies))
		return &exitError{code: 1}
	}
	if c.JSON {
		return nil
	}
	if result.Applies == 0 {
		return nil // that was said
	}
	rest := ""
	if unchecked > 0 {
		rest = ", but for what is said above not to be checked"
	}
	_, err := fmt.Printf("%s of %s: each is what was reviewed, or what somebody said yes to, or is noted with its cause%s.\n",
		counted(result.Changes, "change", "changes"), counted(result.Applies, "apply", "applies"), rest)
	return err //nolint:wrapcheck // of standard output
}

// line is a finding as it is printed.
func (c verifyCommand) line(found deploy.Finding) (string, error) {
	if c.JSON {
		data, err := json.Marshal(finding{
			Operation: found.Operation, Environment: found.Target.Environment, Root: found.Target.Root, Unchecked: found.Unchecked, Text: found.Text,
		})
		return harmless(string(data)), err
	}
	where := found.Target.Environment
	if found.Target.Root != "" {
		where = found.Target.String()
	}
	text := where + ": " + found.Text
	if found.Operation != 0 {
		text = "apply " + strconv.FormatInt(found.Operation, 10) + ", " + text
	}
	if found.Unchecked {
		text = "not checked: " + text
	}
	return cell(text, maxWhy), nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.Itoa(n) + " " + many
}

func wasOrWere(n int) string {
	if n == 1 {
		return "was"
	}
	return "were"
}
