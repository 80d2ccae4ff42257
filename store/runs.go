package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

const selectRun = `SELECT task, run, url, head, said, hint, at FROM runs`

func scanRun(row scanner) (operation.WorkflowRun, error) {
	var run operation.WorkflowRun
	var task string
	var at int64
	if err := row.Scan(&task, &run.Run, &run.URL, &run.Head, &run.Said, &run.Hint, &at); err != nil {
		return run, err //nolint:wrapcheck // list wraps it
	}
	run.At = moment(at)
	if err := json.Unmarshal([]byte(task), &run.Task); err != nil {
		return run, fmt.Errorf("read task: %w", err)
	}
	return run, nil
}

// AskForRun records that the workflow run of an attempt is about to be asked for, and gives it back with the time. It returns
// ErrLost when that was recorded before: then nobody may ask for one without looking whether it is there. It also does when the
// attempt does not run any more, or was launched otherwise: somebody else may have begun it anew.
func (s *Store) AskForRun(ctx context.Context, run operation.WorkflowRun) (operation.WorkflowRun, error) {
	task, err := json.Marshal(run.Task)
	if err != nil {
		return run, fmt.Errorf("record a workflow run: %w", err)
	}
	err = s.change(ctx, "record a workflow run", func(t *tx) error {
		if err := findLaunched(ctx, t, run.Task); err != nil {
			return err
		}
		run.At = moment(t.now)
		rows, err := exec(ctx, t, `
			INSERT INTO runs (operation, attempt, launch, repository, task, run, url, head, said, hint, at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10) ON CONFLICT DO NOTHING`,
			run.Task.Operation, run.Task.Attempt, run.Task.Launch, run.Task.Repository.ID, string(task), run.Run, run.URL, run.Head, run.Said,
			t.now)
		if err == nil && rows == 0 {
			err = fmt.Errorf("%w: operation %d, attempt %d, was asked for before", ErrLost, run.Task.Operation, run.Task.Attempt)
		}
		return err
	})
	return run, err
}

// AskForRunAgain records that a run is about to be asked for once more, because nobody knows whether the last time led to one, and gives it
// back with the time. It returns ErrLost as AskForRun does, and when the run has come to be known, or was forgotten, meanwhile.
func (s *Store) AskForRunAgain(ctx context.Context, run operation.WorkflowRun) (operation.WorkflowRun, error) {
	err := s.change(ctx, "record a workflow run again", func(t *tx) error {
		if err := findLaunched(ctx, t, run.Task); err != nil {
			return err
		}
		run.At = moment(t.now)
		rows, err := exec(ctx, t, `UPDATE runs SET at = $4 WHERE operation = $1 AND attempt = $2 AND launch = $3 AND run = 0`,
			run.Task.Operation, run.Task.Attempt, run.Task.Launch, t.now)
		return theirs(rows, err, run)
	})
	return run, err
}

// findLaunched returns ErrLost unless the attempt of a task is running and was launched as the task says.
func findLaunched(ctx context.Context, t *tx, task operation.Task) error {
	op, err := findRunning(ctx, t, task.Operation, task.Attempt)
	if err == nil && op.Launch != task.Launch {
		err = fmt.Errorf("%w: %s was launched as %q, not %q", ErrLost, op, op.Launch, task.Launch)
	}
	return err
}

// theirs is ErrLost where a change of a run's row has met none.
func theirs(rows int64, err error, run operation.WorkflowRun) error {
	if err == nil && rows == 0 {
		err = fmt.Errorf("%w: the run of operation %d, attempt %d, is not kept as it was read", ErrLost, run.Task.Operation, run.Task.Attempt)
	}
	return err
}

// SaveRun keeps what became known of a run: its id, page and commit, and what there is to say of it. It returns ErrLost when the run was
// forgotten: somebody took it for one that was never made.
func (s *Store) SaveRun(ctx context.Context, run operation.WorkflowRun) error {
	return s.change(ctx, "keep a workflow run", func(t *tx) error {
		rows, err := exec(ctx, t,
			`UPDATE runs SET run = $4, url = $5, head = $6, said = $7 WHERE operation = $1 AND attempt = $2 AND launch = $3`,
			run.Task.Operation, run.Task.Attempt, run.Task.Launch, run.Run, run.URL, run.Head, run.Said)
		return theirs(rows, err, run)
	})
}

// ForgetRun takes back that a run was asked for: there is none. It returns ErrLost when the run has come to be known, or was asked for
// again, since it was read.
func (s *Store) ForgetRun(ctx context.Context, run operation.WorkflowRun) error {
	return s.change(ctx, "forget a workflow run", func(t *tx) error {
		rows, err := exec(ctx, t, `DELETE FROM runs WHERE operation = $1 AND attempt = $2 AND launch = $3 AND run = 0 AND at = $4`,
			run.Task.Operation, run.Task.Attempt, run.Task.Launch, millis(run.At))
		return theirs(rows, err, run)
	})
}

// Run is the workflow run of an attempt; ErrNotFound where none was asked for.
func (s *Store) Run(ctx context.Context, id int64, attempt int, launch string) (operation.WorkflowRun, error) {
	run, ok, err := one(ctx, s.read, scanRun, selectRun+` WHERE operation = $1 AND attempt = $2 AND launch = $3`, id, attempt, launch)
	if err == nil && !ok {
		err = ErrNotFound
	}
	return run, wrap("read a workflow run", err)
}

// HintRun notes that something happened to a run. It reports false for a run that carries out no attempt.
func (s *Store) HintRun(ctx context.Context, repository, run int64) (bool, error) {
	known, _, err := one(ctx, s.read, scanValue[int64], `SELECT COUNT(*) FROM runs WHERE repository = $1 AND run = $2`, repository, run)
	if err != nil || known == 0 || run == 0 {
		return false, wrap("look for a workflow run", err)
	}
	return true, s.put(ctx, "note that something happened to a workflow run",
		`UPDATE runs SET hint = hint + 1 WHERE repository = $1 AND run = $2`, repository, run)
}

// runsKept is how long it is known at least which workflow run carried out an attempt. GitHub keeps what a run has said and left as long
// by default, and a job that waits for a word on its GitHub Environment for 30 days.
// https://docs.github.com/en/actions/reference/limits, and "Artifact and log retention" in the settings of a repository
const runsKept = 90 * 24 * time.Hour

// forgetRuns deletes the workflow runs of operations that have ended, and what was said to those that nothing is known of any more.
func (s *Store) forgetRuns(ctx context.Context, age time.Duration) error {
	_, err := s.forget(ctx, `DELETE FROM runs WHERE (operation, attempt, launch) IN (
		SELECT runs.operation, runs.attempt, runs.launch FROM runs JOIN operations ON operations.id = runs.operation
		WHERE runs.at <= $1 AND NOT operations.`+isOpen+` LIMIT $2)`, age)
	if err == nil {
		_, err = s.forget(ctx, `DELETE FROM gates WHERE (repository, run, attempt, environment) IN (
			SELECT repository, run, attempt, environment FROM gates WHERE at <= $1 AND NOT EXISTS (
				SELECT 1 FROM runs WHERE runs.repository = gates.repository AND runs.run = gates.run) LIMIT $2)`, age)
	}
	return err
}

// Words are the comments in which people said yes to an operation: to what it asked about, and to changes that the configuration
// holds back, at one of some commits.
func (s *Store) Words(ctx context.Context, op operation.Operation, heads []string) ([]operation.Word, error) {
	var words []operation.Word
	if op.Confirmed != "" {
		comment, ok, err := one(ctx, s.read, scanValue[int64], // of those that asked for it and said yes, the newest is the yes
			`SELECT COALESCE(MAX(comment), 0) FROM requests WHERE operation = $1`, op.ID)
		if err != nil {
			return nil, wrap("find the comment that said yes", err)
		}
		if ok && comment != 0 {
			words = append(words, operation.Word{Comment: comment, Login: op.ConfirmedBy})
		}
	}
	approvals, err := s.Unblocked(ctx, op.Repository.ID, op.Environment, heads)
	if err != nil {
		return nil, err
	}
	for _, approval := range approvals {
		word := operation.Word{Comment: approval.Comment, Login: approval.Who}
		if word.Comment != 0 && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words, nil
}
