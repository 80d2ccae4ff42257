package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
)

// selection says which records of a server's database are read.
type selection struct {
	Config      string  `placeholder:"FILE" help:"Settings file of the server, for data_dir and database; SWITCHYARD_* variables override it."`
	Repo        string  `required:"" placeholder:"OWNER/NAME" help:"Repository; its ID at GitHub where the App was removed from it."`
	Environment *string `placeholder:"ENV" help:"Only lines about this environment."`
	Since       string  `placeholder:"TIME" help:"Only lines since a time (2026-11-21T09:00:00Z, 2026-11-21) or since so long ago (36h, 7d)."`
	Limit       int     `default:"200" help:"The newest lines, at most so many; 1 to 100000."`
	JSON        bool    `name:"json" help:"Print each line as a JSON object, with all of its text."`
}

const (
	// maxLines bounds what is read at once.
	maxLines = 100_000
	// readTime bounds how long the database may take.
	readTime = time.Minute
	// maxNames bounds how many repositories an error names.
	maxNames = 10
)

// from is what a selection's words mean in a database.
type from struct {
	repo  operation.Repository
	since time.Time // zero: from the beginning
}

// read opens the database of a server, which may be running, and reads from it.
func (c selection) read(ctx context.Context, use func(context.Context, *store.Store, from) error) error {
	if c.Limit < 1 || c.Limit > maxLines {
		return fmt.Errorf("--limit %d: write a number from 1 to %d", c.Limit, maxLines)
	}
	if c.Environment != nil && *c.Environment == "" {
		return errors.New("--environment is empty: write the name of an environment, or leave --environment out for all of them")
	}
	return withDatabase(ctx, c.Config, store.OpenToRead, func(ctx context.Context, data *store.Store) (err error) {
		var where from
		if where.repo, err = c.repository(ctx, data); err != nil {
			return err
		}
		if where.since, err = c.sinceTime(ctx, data); err != nil {
			return err
		}
		return use(ctx, data, where)
	})
}

// environment is the one that is asked about; empty: all.
func (c selection) environment() string {
	if c.Environment == nil {
		return ""
	}
	return *c.Environment
}

// remark tells on standard error when nothing was found, and when there is more.
func (c selection) remark(repo operation.Repository, lines int, more bool) {
	switch {
	case lines == 0:
		fmt.Fprintf(os.Stderr, "switchyard: nothing is recorded %s\n", c.words(repo))
	case more:
		fmt.Fprintf(os.Stderr, "switchyard: these are the newest %d lines %s; a higher --limit shows earlier ones\n", c.Limit, c.words(repo))
	}
}

// openDatabase opens the database of a server, which may be running.
func openDatabase(
	ctx context.Context, source string, open func(context.Context, string) (*store.Store, error),
) (*store.Store, error) {
	data, err := open(ctx, source)
	file, isFile := strings.CutPrefix(source, "sqlite:")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no database %s; give the settings that the server has: its --config file, or "+
			"SWITCHYARD_DATA_DIR or SWITCHYARD_DATABASE", file)
	case errors.Is(err, store.ErrVersion):
		return nil, err
	case err != nil && isFile:
		return nil, fmt.Errorf("%w; see that %s is the server's database, and run this as the server's user", err, file)
	case err != nil:
		return nil, fmt.Errorf("%w; see that PostgreSQL runs, and that SWITCHYARD_DATABASE is what the servers have", err)
	}
	return data, nil
}

// repository finds the repository that is asked about.
func (c selection) repository(ctx context.Context, data *store.Store) (operation.Repository, error) {
	known, err := data.Repositories(ctx)
	if err != nil {
		return operation.Repository{}, fmt.Errorf("find the repository: %w", err)
	}
	id, err := strconv.ParseInt(c.Repo, 10, 64)
	isID := err == nil && id > 0
	if _, err := operation.ParseFullName(c.Repo); err != nil && !isID {
		return operation.Repository{}, fmt.Errorf("--repo %q: write it as OWNER/NAME, for example --repo acme/network", c.Repo)
	}
	names := make([]string, 0, len(known))
	for _, repo := range known {
		if isID && repo.ID == id || strings.EqualFold(repo.FullName(), c.Repo) { // GitHub does not tell capitals apart
			return repo, nil
		}
		names = append(names, repo.FullName())
	}
	if isID {
		return operation.Repository{ID: id}, nil
	}
	slices.Sort(names)
	if len(names) > maxNames {
		names = append(names[:maxNames], fmt.Sprintf("and %d more", len(known)-maxNames))
	}
	return operation.Repository{}, fmt.Errorf("--repo %q: the App is not installed on such a repository. Known: %s. "+
		"Where it was removed or renamed, give the repository's ID", c.Repo, cmp.Or(strings.Join(names, ", "), "none"))
}

// nameOf is a repository as people know it, or its ID.
func nameOf(repo operation.Repository) string {
	if repo.Name == "" {
		return strconv.FormatInt(repo.ID, 10)
	}
	return repo.FullName()
}

// sinceTime reads --since. How long ago something was is told by the clock that its time was taken from.
func (c selection) sinceTime(ctx context.Context, data *store.Store) (time.Time, error) {
	if c.Since == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, c.Since); err == nil {
			return at, nil
		}
	}
	ago, err := time.ParseDuration(c.Since)
	if days, isDays := strings.CutSuffix(c.Since, "d"); isDays {
		var number uint64
		number, err = strconv.ParseUint(days, 10, 15) // 89 years
		ago = time.Duration(number) * 24 * time.Hour
	}
	if err != nil || ago <= 0 {
		return time.Time{}, fmt.Errorf("--since %q: write a time such as 2026-11-21T09:00:00Z or 2026-11-21 (UTC), "+
			"or how long ago, such as 36h or 7d", c.Since)
	}
	now, err := data.Now(ctx)
	if err != nil {
		return time.Time{}, fmt.Errorf("ask for the time: %w", err)
	}
	return now.Add(-ago), nil
}

// words say what was asked for.
func (c selection) words(repo operation.Repository) string {
	words := "about " + nameOf(repo)
	if c.environment() != "" {
		words += fmt.Sprintf(", environment %.100q", c.environment())
	}
	if c.Since != "" {
		words += ", since " + c.Since
	}
	return words
}
