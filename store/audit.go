package store

import (
	"context"
	"database/sql"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Audit is one line of the record of who did what and why. Lines are only ever added.
type Audit struct {
	At             time.Time // set by Append
	Repository     int64
	Environment    string
	Who, What, Why string
	Delivery       string // GUID of the webhook that led to it; empty if none
	Operation      int64  // 0 if none
}

// Append adds a line.
func (s *Store) Append(ctx context.Context, a Audit) error {
	return s.change(ctx, "append to the audit", func(tx *sql.Tx) error { return s.appendAudit(ctx, tx, a) })
}

func (s *Store) appendAudit(ctx context.Context, tx *sql.Tx, a Audit) error {
	_, err := exec(ctx, tx, `
		INSERT INTO audit (at, repository, environment, who, what, why, delivery, operation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		s.now(), a.Repository, a.Environment, a.Who, a.What, a.Why, a.Delivery, a.Operation)
	return err
}

// transitionOf is the line for an operation that has come into its state.
func transitionOf(op operation.Operation, who, why string) Audit {
	return Audit{
		Repository: op.Repository.ID, Environment: op.Environment, Operation: op.ID,
		Who: who, What: string(op.Kind) + " " + string(op.State), Why: why,
	}
}

// AuditTrail reads the newest lines, newest first: of one environment, or of all when it is empty.
func (s *Store) AuditTrail(ctx context.Context, repository int64, environment string, limit int) ([]Audit, error) {
	trail, err := list(ctx, s.read, func(row scanner) (Audit, error) {
		var a Audit
		var at int64
		err := row.Scan(&at, &a.Repository, &a.Environment, &a.Who, &a.What, &a.Why, &a.Delivery, &a.Operation)
		a.At = moment(at)
		return a, err //nolint:wrapcheck // list wraps it
	}, `SELECT at, repository, environment, who, what, why, delivery, operation FROM audit
		WHERE repository = $1 AND (CAST($2 AS TEXT) = '' OR environment = $2) ORDER BY id DESC LIMIT $3`, repository, environment, limit)
	return trail, wrap("read audit", err)
}
