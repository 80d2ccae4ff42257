package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Why a confirmation is not taken.
var (
	// ErrExpired says that its time is over.
	ErrExpired = errors.New("its time is over")
	// ErrTaken says that somebody confirmed before.
	ErrTaken = errors.New("somebody confirmed before")
)

// Confirmation is a command that was explained and waits for a person's /confirm.
type Confirmation struct {
	Repository  int64
	Code        string
	Command     string // without the slash
	Environment string
	Root        string
	Operation   int64 // that was explained
	Attempt     int   // of it
	Number      int   // of the issue or pull request where it was asked for
	Comment     int64 // that asked
	By          string
	Two         bool // somebody else than By has to confirm
	Asked       time.Time
	Expires     time.Time
	Taken       int64 // comment that confirmed; 0: none yet
	TakenBy     string
}

const selectConfirmation = `SELECT repository, code, command, environment, root, operation, attempt, number, comment, who, two, asked,
	expires, taken, taken_by FROM confirmations WHERE repository = $1 AND code = $2`

func scanConfirmation(row scanner) (Confirmation, error) {
	var c Confirmation
	var asked, expires int64
	err := row.Scan(&c.Repository, &c.Code, &c.Command, &c.Environment, &c.Root, &c.Operation, &c.Attempt, &c.Number, &c.Comment, &c.By,
		&c.Two, &asked, &expires, &c.Taken, &c.TakenBy)
	c.Asked, c.Expires = moment(asked), moment(expires)
	return c, err //nolint:wrapcheck // list wraps it
}

// Ask has a command wait for a /confirm for so long. Where its code waits already, that one is returned: to explain something twice gives
// no more time, and can only have two people asked where it was one.
func (s *Store) Ask(ctx context.Context, c Confirmation, valid time.Duration) (Confirmation, error) {
	wanted := c
	err := s.change(ctx, "ask for a confirmation", func(t *tx) error {
		c = wanted
		two := 0
		if c.Two {
			two = 1
		}
		if _, err := exec(ctx, t, `
			INSERT INTO confirmations (repository, code, command, environment, root, operation, attempt, number, comment, who, two, asked,
				expires, taken, taken_by)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 0, '')
			ON CONFLICT (repository, code) DO UPDATE SET two = 1 WHERE excluded.two = 1 AND confirmations.taken = 0`,
			c.Repository, c.Code, c.Command, c.Environment, c.Root, c.Operation, c.Attempt, c.Number, c.Comment, c.By, two, t.now,
			t.now+valid.Milliseconds()); err != nil {
			return err
		}
		var err error
		c, _, err = one(ctx, t, scanConfirmation, selectConfirmation, c.Repository, c.Code)
		return err
	})
	return c, err
}

// Confirmation is what a code stands for; false where nothing was ever asked with it.
func (s *Store) Confirmation(ctx context.Context, repository int64, code string) (Confirmation, bool, error) {
	c, known, err := one(ctx, s.read, scanConfirmation, selectConfirmation, repository, code)
	return c, known, wrap("find what a code stands for", err)
}

// takeConfirmation marks that a comment confirmed. It returns ErrExpired, ErrTaken, or ErrNotFound.
func takeConfirmation(ctx context.Context, t *tx, repository int64, code string, comment int64, by string) error {
	c, known, err := one(ctx, t, scanConfirmation, selectConfirmation, repository, code)
	switch {
	case err != nil:
		return err
	case !known:
		return ErrNotFound
	case c.Taken != 0:
		return fmt.Errorf("%w: %s", ErrTaken, c.TakenBy)
	case t.now > millis(c.Expires):
		return ErrExpired
	}
	rows, err := exec(ctx, t, `UPDATE confirmations SET taken = $3, taken_by = $4 WHERE repository = $1 AND code = $2 AND taken = 0`,
		repository, code, comment, by)
	if err == nil && rows == 0 {
		err = ErrTaken
	}
	return err
}

// QueueConfirmed queues an exclusive operation that a person confirmed with a comment. Nothing is gathered into it. It returns
// ErrExpired, ErrTaken or ErrNotFound where the code cannot be confirmed, and then queues nothing.
func (s *Store) QueueConfirmed(
	ctx context.Context, op operation.Operation, code string, comment int64, by string,
) (operation.Operation, error) {
	if !op.Kind.Exclusive() {
		return op, fmt.Errorf("queue confirmed: %s needs no hold", op.Kind)
	}
	asked := op
	err := s.change(ctx, "queue what was confirmed", func(t *tx) error {
		op = asked
		if err := t.lock(ctx, lockOfLine(op.Repository.ID, op.Environment)); err != nil {
			return err
		}
		if err := takeConfirmation(ctx, t, op.Repository.ID, code, comment, by); err != nil {
			return err
		}
		if err := insertOperation(ctx, t, &op); err != nil {
			return err
		}
		if err := take(ctx, t, op, comment); err != nil {
			return err
		}
		return appendAudit(ctx, t, lineOf(op, "confirmed "+code, by, fmt.Sprintf("comment %d", comment)))
	})
	return op, err
}

// ReleaseHold takes the hold from the operation that was explained to a person, who confirmed with a comment; it becomes interrupted, as
// its outcome is not known. It returns ErrExpired, ErrTaken or ErrNotFound where the code cannot be confirmed, and ErrLost where the hold
// is not that operation's any more: it ended, is at another attempt, or its runner was started meanwhile. Then nothing happens.
func (s *Store) ReleaseHold(
	ctx context.Context, seen operation.Operation, code string, comment int64, by, message string,
) (operation.Operation, error) {
	var op operation.Operation
	err := s.change(ctx, "release hold", func(t *tx) (err error) {
		if err := t.lock(ctx, lockOfLine(seen.Repository.ID, seen.Environment)); err != nil {
			return err
		}
		if err := takeConfirmation(ctx, t, seen.Repository.ID, code, comment, by); err != nil {
			return err
		}
		op, err = releaseSeen(ctx, t, seen, by, message)
		return err
	})
	return op, err
}

// StopAnswer is the answer to a /cancel that says when it is done.
type StopAnswer struct {
	Repository  int64
	Comment     int64 // that asked
	Number      int   // of the issue or pull request
	Environment string
	Who         string
	Operations  []int64 // that were running then
}

// AwaitStop keeps what an answer to /cancel waits for. To do it again changes nothing.
func (s *Store) AwaitStop(ctx context.Context, a StopAnswer) error {
	return s.change(ctx, "wait for what is being stopped", func(t *tx) error {
		for _, id := range a.Operations {
			if _, err := exec(ctx, t, `INSERT INTO stop_answers (operation, repository, comment, number, environment, who)
				VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT DO NOTHING`, id, a.Repository, a.Comment, a.Number, a.Environment, a.Who); err != nil {
				return err
			}
		}
		return nil
	})
}

// StopAnswers are the answers to /cancel that wait for an operation.
func (s *Store) StopAnswers(ctx context.Context, id int64) ([]StopAnswer, error) {
	rows, err := list(ctx, s.read, scanStopAnswer, `SELECT operation, repository, comment, number, environment, who FROM stop_answers
		WHERE (repository, comment) IN (SELECT repository, comment FROM stop_answers WHERE operation = $1) ORDER BY comment, operation`, id)
	var answers []StopAnswer
	for _, row := range rows {
		if last := len(answers) - 1; last >= 0 && answers[last].Comment == row.Comment && answers[last].Repository == row.Repository {
			answers[last].Operations = append(answers[last].Operations, row.Operations...)
			continue
		}
		answers = append(answers, row)
	}
	return answers, wrap("find the answers that wait for an operation", err)
}

func scanStopAnswer(row scanner) (StopAnswer, error) {
	var a StopAnswer
	var id int64
	err := row.Scan(&id, &a.Repository, &a.Comment, &a.Number, &a.Environment, &a.Who)
	a.Operations = []int64{id}
	return a, err //nolint:wrapcheck // list wraps it
}
