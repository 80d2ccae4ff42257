package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/settings"
	"github.com/switchyard-dev/switchyard/store"
)

type jobsCommand struct {
	Dead  jobsDeadCommand  `cmd:"" help:"Print the work that was given up: what, why, since when, of which repository and pull request."`
	Retry jobsRetryCommand `cmd:"" help:"Have work done again that was given up. A server that runs finds it within a second."`
}

type jobsDeadCommand struct {
	Config string `placeholder:"FILE" help:"Settings file of the server, for data_dir and database; SWITCHYARD_* variables override it."`
	Limit  int    `default:"200" help:"The newest, at most so many; 1 to 100000."`
	JSON   bool   `name:"json" help:"Print each as a JSON object on a line of its own, with all of its text."`
}

type jobsRetryCommand struct {
	ID     int64  `arg:"" help:"Number of the job, as jobs dead prints it."`
	Config string `placeholder:"FILE" help:"Settings file of the server, for data_dir and database; SWITCHYARD_* variables override it."`
}

// withDatabase opens the database of a server, which may be running, for as long as use takes.
func withDatabase(ctx context.Context, config string, open func(context.Context, string) (*store.Store, error),
	use func(context.Context, *store.Store) error,
) (err error) {
	source, err := settings.LoadDatabase(config, os.LookupEnv)
	if err := errors.Join(settings.CheckNames(os.Environ()), err); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	data, err := openDatabase(ctx, source, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, data.Close()) }()
	return use(ctx, data)
}

// Run prints what was given up, the newest first.
func (c jobsDeadCommand) Run(ctx context.Context) error {
	if c.Limit < 1 || c.Limit > maxLines {
		return fmt.Errorf("--limit %d: write a number from 1 to %d", c.Limit, maxLines)
	}
	return withDatabase(ctx, c.Config, store.OpenToRead, func(ctx context.Context, data *store.Store) error {
		dead, err := data.DeadJobs(ctx, c.Limit)
		if err != nil {
			return fmt.Errorf("read what was given up: %w", err)
		}
		if len(dead) == 0 {
			fmt.Fprintln(os.Stderr, "switchyard: no work was given up")
			return nil
		}
		lines := make([]deadJob, len(dead))
		for i, job := range dead {
			lines[i] = deadLine(job)
		}
		if c.JSON {
			return printDeadJSON(os.Stdout, lines)
		}
		return printDead(os.Stdout, lines)
	})
}

// deadJob is one line as --json prints it.
type deadJob struct {
	ID          int64     `json:"id"`
	Kind        string    `json:"kind"`
	Repository  string    `json:"repository"`
	Pull        int       `json:"pull"` // 0 if none
	Branch      string    `json:"branch"`
	Environment string    `json:"environment"`
	Operation   int64     `json:"operation"` // 0 if none
	Queued      time.Time `json:"queued"`
	GivenUp     time.Time `json:"given_up"`
	Failures    int       `json:"failures"`
	Delivery    string    `json:"delivery"`
	Reason      string    `json:"reason"`

	repository int64
}

func deadLine(job store.DeadJob) deadJob {
	line := deadJob{
		ID: job.ID, Kind: job.Job.Kind, Queued: job.Created, GivenUp: job.Died, Failures: job.Failures,
		Delivery: job.Job.Cause, Reason: job.Reason,
	}
	var about struct {
		Repository  operation.Repository `json:"repository"`
		Number      int                  `json:"number"`
		Branch      string               `json:"branch"`
		Base        string               `json:"base"`
		Environment string               `json:"environment"`
		Operation   int64                `json:"operation"`
	}
	if err := json.Unmarshal(job.Job.Payload, &about); err != nil {
		return line // of a newer version, perhaps; what it is and why is known all the same
	}
	if about.Repository.Name != "" {
		line.Repository = about.Repository.FullName()
	}
	line.repository, line.Pull, line.Environment, line.Operation = about.Repository.ID, about.Number, about.Environment, about.Operation
	if line.Branch = about.Branch; line.Branch == "" {
		line.Branch = about.Base
	}
	return line
}

func printDead(to io.Writer, lines []deadJob) error {
	const gap = 2
	table := tabwriter.NewWriter(to, 0, 0, gap, ' ', 0)
	rows := [][]string{{"ID", "GIVEN UP", "WHAT", "REPOSITORY", "ABOUT", "FAILURES", "DELIVERY", "WHY"}}
	for _, line := range lines {
		rows = append(rows, []string{
			strconv.FormatInt(line.ID, 10), line.GivenUp.Format(time.RFC3339), cell(line.Kind, maxCell), cell(line.Repository, maxCell),
			cell(line.about(), maxCell), strconv.Itoa(line.Failures), cell(line.Delivery, maxCell), cell(line.Reason, maxWhy),
		})
	}
	for _, row := range rows {
		if _, err := fmt.Fprintln(table, strings.Join(row, "\t")); err != nil {
			return fmt.Errorf("print what was given up: %w", err)
		}
	}
	if err := table.Flush(); err != nil {
		return fmt.Errorf("print what was given up: %w", err)
	}
	return nil
}

// about is what a job is about, in its repository.
func (l deadJob) about() string {
	var parts []string
	if l.Pull != 0 {
		parts = append(parts, "#"+strconv.Itoa(l.Pull))
	}
	if l.Branch != "" {
		parts = append(parts, l.Branch)
	}
	if l.Environment != "" {
		parts = append(parts, l.Environment)
	}
	if l.Operation != 0 {
		parts = append(parts, "operation "+strconv.FormatInt(l.Operation, 10))
	}
	return strings.Join(parts, ", ")
}

func printDeadJSON(to io.Writer, lines []deadJob) error {
	for _, line := range lines {
		data, err := json.Marshal(line)
		if err != nil {
			return fmt.Errorf("print what was given up: %w", err)
		}
		if _, err := fmt.Fprintln(to, harmless(string(data))); err != nil {
			return fmt.Errorf("print what was given up: %w", err)
		}
	}
	return nil
}

// Run queues a job again, and records who did.
func (c jobsRetryCommand) Run(ctx context.Context) error {
	return withDatabase(ctx, c.Config, store.OpenBeside, func(ctx context.Context, data *store.Store) error {
		dead, err := data.DeadJobs(ctx, maxLines)
		if err != nil {
			return fmt.Errorf("read what was given up: %w", err)
		}
		for _, job := range dead {
			if job.ID == c.ID {
				return c.retry(ctx, data, deadLine(job))
			}
		}
		return fmt.Errorf("no work with the number %d was given up; `switchyard jobs dead` lists what was", c.ID)
	})
}

func (c jobsRetryCommand) retry(ctx context.Context, data *store.Store, line deadJob) error {
	if err := data.Revive(ctx, c.ID); err != nil {
		return fmt.Errorf("queue it again: %w", err)
	}
	who := "the operator"
	if person, err := user.Current(); err == nil {
		who = person.Username + " on the server"
	}
	if err := data.Append(ctx, store.Audit{
		Repository: line.repository, Environment: line.Environment, Who: who, What: "retried " + line.Kind, Operation: line.Operation,
		Why: fmt.Sprintf("switchyard jobs retry %d; it was given up: %s", c.ID, line.Reason), Delivery: line.Delivery,
	}); err != nil {
		return fmt.Errorf("it is queued again, but that could not be recorded: %w", err)
	}
	words := strings.TrimSpace(cell(line.Kind, maxCell) + " of " + cell(line.Repository, maxCell))
	if about := line.about(); about != "" {
		words += " (" + cell(about, maxCell) + ")"
	}
	if _, err := fmt.Println("queued again: " + words); err != nil {
		return fmt.Errorf("print what was done: %w", err)
	}
	return nil
}
