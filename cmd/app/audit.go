package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store"
)

type auditCommand struct {
	Config      string `placeholder:"FILE" help:"Settings file of the server, for data_dir and database; SWITCHYARD_* variables override it."`
	Repo        string `required:"" placeholder:"OWNER/NAME" help:"Repository; its ID at GitHub where the App was removed from it."`
	Environment string `placeholder:"ENV" help:"Only lines about this environment."`
	Since       string `placeholder:"TIME" help:"Only lines since a time (2026-11-21T09:00:00Z, 2026-11-21) or since so long ago (36h, 7d)."`
	Limit       int    `default:"200" help:"The newest lines, at most so many; 1 to 100000."`
	JSON        bool   `name:"json" help:"Print each line as a JSON object, with all of its text."`
}

const (
	// maxAudit bounds what is read at once.
	maxAudit = 100_000
	// auditTime bounds how long the database may take.
	auditTime = time.Minute
	// maxCell and maxWhy bound what is printed of one text, in characters; --json prints all of it.
	maxCell = 100
	maxWhy  = 500
	// maxNames bounds how many repositories an error names.
	maxNames = 10
)

// Run prints the lines, the oldest of them first.
func (c auditCommand) Run(ctx context.Context) (err error) {
	if c.Limit < 1 || c.Limit > maxAudit {
		return fmt.Errorf("--limit %d: write a number from 1 to %d", c.Limit, maxAudit)
	}
	source, err := settings.LoadDatabase(c.Config, os.LookupEnv)
	if err := errors.Join(settings.CheckNames(os.Environ()), err); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, auditTime)
	defer cancel()
	data, err := openDatabase(ctx, source)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	filter := store.AuditFilter{Environment: c.Environment, Limit: c.Limit + 1} // one more tells whether there are more
	repo, err := c.repository(ctx, data)
	if err != nil {
		return err
	}
	filter.Repository = repo.ID
	if filter.Since, err = c.since(ctx, data); err != nil {
		return err
	}
	lines, err := data.AuditTrail(ctx, filter)
	if err != nil {
		return fmt.Errorf("read the audit: %w", err)
	}
	more := len(lines) > c.Limit
	lines = lines[:min(len(lines), c.Limit)]
	slices.Reverse(lines)
	if err := c.print(os.Stdout, nameOf(repo), lines); err != nil {
		return fmt.Errorf("print the audit: %w", err)
	}
	switch {
	case len(lines) == 0:
		fmt.Fprintf(os.Stderr, "switchyard: nothing is recorded %s\n", c.selection(repo))
	case more:
		fmt.Fprintf(os.Stderr, "switchyard: these are the newest %d lines %s; a higher --limit shows earlier ones\n", c.Limit, c.selection(repo))
	}
	return nil
}

// openDatabase opens the database of a server, which may be running.
func openDatabase(ctx context.Context, source string) (*store.Store, error) {
	data, err := store.OpenToRead(ctx, source)
	file, isFile := strings.CutPrefix(source, "sqlite:")
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("there is no database %s; give the settings that the server has: its --config file, or "+
			"SWITCHYARD_DATA_DIR or SWITCHYARD_DATABASE", file)
	case errors.Is(err, store.ErrVersion):
		return nil, err //nolint:wrapcheck // it says what to do
	case err != nil && isFile:
		return nil, fmt.Errorf("%w; see that %s is the server's database, and run this as the server's user", err, file)
	case err != nil:
		return nil, fmt.Errorf("%w; see that PostgreSQL runs, and that SWITCHYARD_DATABASE is what the servers have", err)
	}
	return data, nil
}

// repository finds the repository that is asked about.
func (c auditCommand) repository(ctx context.Context, data *store.Store) (operation.Repository, error) {
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

// since reads --since. How long ago something was is told by the clock that its time was taken from.
func (c auditCommand) since(ctx context.Context, data *store.Store) (time.Time, error) {
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

// selection says what was asked for.
func (c auditCommand) selection(repo operation.Repository) string {
	words := "about " + nameOf(repo)
	if c.Environment != "" {
		words += fmt.Sprintf(", environment %q", c.Environment)
	}
	if c.Since != "" {
		words += ", since " + c.Since
	}
	return words
}

// auditLine is one line as --json prints it.
type auditLine struct {
	Time        time.Time `json:"time"`
	Who         string    `json:"who"`
	What        string    `json:"what"`
	Why         string    `json:"why"`
	Repository  string    `json:"repository"`
	Environment string    `json:"environment"`
	Operation   int64     `json:"operation"` // 0 if none
	Delivery    string    `json:"delivery"`
}

func (c auditCommand) print(to io.Writer, repo string, lines []store.Audit) error {
	if c.JSON {
		return printJSON(to, repo, lines)
	}
	if len(lines) == 0 {
		return nil
	}
	const gap = 2
	table := tabwriter.NewWriter(to, 0, 0, gap, ' ', 0)
	rows := [][]string{{"TIME", "WHO", "WHAT", "ENVIRONMENT", "OPERATION", "DELIVERY", "WHY"}}
	for _, line := range lines {
		id := ""
		if line.Operation != 0 {
			id = strconv.FormatInt(line.Operation, 10)
		}
		rows = append(rows, []string{
			line.At.Format(time.RFC3339), cell(line.Who, maxCell), cell(line.What, maxCell), cell(line.Environment, maxCell),
			cell(id, maxCell), cell(line.Delivery, maxCell), cell(line.Why, maxWhy),
		})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintln(table, strings.Join(row, "\t")); err != nil {
			return err //nolint:wrapcheck // Run wraps it
		}
	}
	return table.Flush() //nolint:wrapcheck // Run wraps it
}

func printJSON(to io.Writer, repo string, lines []store.Audit) error {
	for _, line := range lines {
		data, err := json.Marshal(auditLine{
			Time: line.At, Who: line.Who, What: line.What, Why: line.Why, Repository: repo,
			Environment: line.Environment, Operation: line.Operation, Delivery: line.Delivery,
		})
		if err != nil {
			return err //nolint:wrapcheck // Run wraps it
		}
		if _, err := fmt.Fprintln(to, harmless(string(data))); err != nil {
			return err //nolint:wrapcheck // Run wraps it
		}
	}
	return nil
}

// harmless is the same JSON without what a terminal would obey: json.Marshal escapes only a part of that.
func harmless(text string) string {
	var shown strings.Builder
	for _, letter := range text {
		if strconv.IsPrint(letter) {
			shown.WriteRune(letter)
			continue
		}
		for _, unit := range utf16.Encode([]rune{letter}) { // https://www.rfc-editor.org/rfc/rfc8259#section-7
			fmt.Fprintf(&shown, `\u%04x`, unit)
		}
	}
	return shown.String()
}

// cell is a text as a terminal may show it: authors of pull requests and comments chose parts of it, so what
// would move the cursor or turn the writing around is written out.
func cell(text string, most int) string {
	var shown strings.Builder
	length := 0
	for _, letter := range text {
		if length++; length > most {
			shown.WriteString("…")
			break
		}
		if strconv.IsPrint(letter) {
			shown.WriteRune(letter)
			continue
		}
		quoted := strconv.QuoteRuneToASCII(letter)
		shown.WriteString(quoted[1 : len(quoted)-1])
	}
	return cmp.Or(shown.String(), "-")
}
