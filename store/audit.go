package store

import (
	"cmp"
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Audit is one line of the record of who did what and why. Lines are only ever added.
type Audit struct {
	At             time.Time // set by Append
	Repository     int64
	Environment    string
	Who, What, Why string
	Delivery       string // GUID of the webhook that led to it; empty: that of the context, see Because
	Operation      int64  // 0 if none
}

// Append adds a line.
func (s *Store) Append(ctx context.Context, a Audit) error {
	return s.change(ctx, "append to the audit", func(t *tx) error { return appendAudit(ctx, t, a) })
}

// causeKey is the key of what Because keeps.
type causeKey struct{}

// Because keeps with a context the GUID of the webhook that led to what is done with it, for the audit.
func Because(ctx context.Context, delivery string) context.Context {
	return context.WithValue(ctx, causeKey{}, delivery)
}

// causeOf is what Because has kept; "" for our own work.
func causeOf(ctx context.Context) string {
	delivery, _ := ctx.Value(causeKey{}).(string)
	return delivery
}

func appendAudit(ctx context.Context, t *tx, a Audit) error {
	a.Delivery = cmp.Or(a.Delivery, causeOf(ctx))
	_, err := exec(ctx, t, `
		INSERT INTO audit (at, repository, environment, who, what, why, delivery, operation) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)`,
		t.now, a.Repository, a.Environment, a.Who, a.What, a.Why, a.Delivery, a.Operation)
	return err
}

// lineOf is the line about something that became of an operation.
func lineOf(op operation.Operation, what, who, why string) Audit {
	return Audit{Repository: op.Repository.ID, Environment: op.Environment, Operation: op.ID, Who: who, What: what, Why: why}
}

// transitionOf is the line for an operation that has come into its state. The job that drives operations
// may have been queued by the webhook of another one, so what becomes of an operation by itself is put
// down to its own webhook, and what somebody does with it to that one's.
func transitionOf(op operation.Operation, who, why string) Audit {
	line := lineOf(op, string(op.Kind)+" "+string(op.State), who, why)
	if who == ourselves && op.State != operation.Gathered && op.State != operation.Superseded && op.State != operation.Cancelled {
		line.Delivery = op.Delivery
	}
	if line.Why == "" {
		line.Why = reasonOf(op)
	}
	return line
}

// reasonOf is why an operation exists, and who asked for it.
func reasonOf(op operation.Operation) string {
	why := op.Reason
	if op.Actor != "" && !strings.Contains(why, op.Actor) {
		why = strings.TrimPrefix(why+", by "+op.Actor, ", ")
	}
	if op.ConfirmedBy != "" {
		why += "; " + op.ConfirmedBy + " said yes to " + op.Confirmed
	}
	return why
}

// The lines about holds.
const (
	holdTaken    = "hold taken"
	holdReleased = "hold released"
)

// AuditFilter selects lines of the audit; a zero field selects all.
type AuditFilter struct {
	Repository  int64
	Environment string
	Operation   int64
	Since       time.Time // this time and later
	Limit       int
	Ascending   bool // oldest first; otherwise newest first
}

// AuditTrail reads the lines that a filter selects.
func (s *Store) AuditTrail(ctx context.Context, f AuditFilter) ([]Audit, error) {
	var where []string
	var args []any
	bind := func(value any) string {
		args = append(args, value)
		return "$" + strconv.Itoa(len(args))
	}
	if f.Repository != 0 {
		where = append(where, "repository = "+bind(f.Repository))
	}
	if f.Environment != "" {
		where = append(where, "environment = "+bind(f.Environment))
	}
	if f.Operation != 0 {
		where = append(where, "operation = "+bind(f.Operation))
	}
	if !f.Since.IsZero() {
		where = append(where, "at >= "+bind(millis(f.Since)))
	}
	query := `SELECT at, repository, environment, who, what, why, delivery, operation FROM audit`
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	query += " ORDER BY id"
	if !f.Ascending {
		query += " DESC"
	}
	if f.Limit > 0 {
		query += " LIMIT " + bind(f.Limit)
	}
	trail, err := list(ctx, s.read, func(row scanner) (Audit, error) {
		var a Audit
		var at int64
		err := row.Scan(&at, &a.Repository, &a.Environment, &a.Who, &a.What, &a.Why, &a.Delivery, &a.Operation)
		a.At = moment(at)
		return a, err //nolint:wrapcheck // list wraps it
	}, query, args...)
	return trail, wrap("read audit", err)
}
