package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
	"unicode/utf16"

	"github.com/switchyard-dev/switchyard/store"
)

type auditCommand struct {
	selection `embed:""`
}

const (
	// maxCell and maxWhy bound what is printed of one text, in characters; --json prints all of it.
	maxCell = 100
	maxWhy  = 500
)

// Run prints the lines, the oldest of them first.
func (c auditCommand) Run(ctx context.Context) error {
	return c.read(ctx, func(ctx context.Context, data *store.Store, from from) error {
		lines, err := data.AuditTrail(ctx, store.AuditFilter{
			Repository: from.repo.ID, Environment: c.environment(), Since: from.since, Limit: c.Limit + 1, // one more tells whether there are more
		})
		if err != nil {
			return fmt.Errorf("read the audit: %w", err)
		}
		more := len(lines) > c.Limit
		lines = lines[:min(len(lines), c.Limit)]
		slices.Reverse(lines)
		if err := c.print(os.Stdout, nameOf(from.repo), lines); err != nil {
			return fmt.Errorf("print the audit: %w", err)
		}
		c.remark(from.repo, len(lines), more)
		return nil
	})
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
