package store

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// TargetState is what is known of one target.
type TargetState struct {
	Repository int64
	Target     operation.Target
	Applied    string // the last commit whose apply succeeded; empty before the first
	Baseline   string // the commit that was there when Switchyard first saw the branch; empty if unknown
	Lineage    string // of the Terraform state that our last apply has left
	Serial     int64  // 0: not known
	Operation  int64  // the one that applied
	At         time.Time
	Content    string // hash of what was applied, or of the baseline, to be found by AppliedContent; not read by Targets
}

// Targets lists what is known of the targets of an environment, by root.
func (s *Store) Targets(ctx context.Context, repository int64, environment string) ([]TargetState, error) {
	states, err := list(ctx, s.read, func(row scanner) (TargetState, error) {
		var t TargetState
		var at int64
		err := row.Scan(&t.Repository, &t.Target.Environment, &t.Target.Root, &t.Applied, &t.Baseline, &t.Lineage, &t.Serial, &t.Operation, &at)
		t.At = moment(at)
		return t, err //nolint:wrapcheck // list wraps it
	}, `SELECT repository, environment, root, applied, baseline, lineage, serial, operation, at
		FROM targets WHERE repository = $1 AND environment = $2 ORDER BY root`, repository, environment)
	return states, wrap("read targets", err)
}

// SetBaselines records baselines, where none is known yet.
func (s *Store) SetBaselines(ctx context.Context, states []TargetState) error {
	return s.change(ctx, "set baselines", func(t *tx) error {
		for _, state := range states {
			if _, err := exec(ctx, t, `
				INSERT INTO targets (repository, environment, root, applied, baseline, lineage, serial, operation, at)
				VALUES ($1, $2, $3, '', $4, '', 0, 0, 0)
				ON CONFLICT (repository, environment, root) DO UPDATE SET baseline = excluded.baseline WHERE targets.baseline = ''`,
				state.Repository, state.Target.Environment, state.Target.Root, state.Baseline); err != nil {
				return err
			}
		}
		return nil
	})
}

// MoveBaselines puts the baseline of those targets of an environment back that have the baseline from, and that nothing was applied to.
func (s *Store) MoveBaselines(ctx context.Context, repository int64, environment, from, to string) error {
	return s.change(ctx, "move baselines", func(t *tx) error {
		_, err := exec(ctx, t, `UPDATE targets SET baseline = $1
			WHERE repository = $2 AND environment = $3 AND baseline = $4 AND applied = ''`, to, repository, environment, from)
		return err
	})
}

// KeepBaselines keeps the contents of baselines, to be found by AppliedContent whatever is applied later.
func (s *Store) KeepBaselines(ctx context.Context, states []TargetState) error {
	if len(states) == 0 {
		return nil
	}
	return s.change(ctx, "keep baselines", func(t *tx) error {
		for _, state := range states {
			state.Applied, state.Operation = state.Baseline, 0
			if err := saveContent(ctx, t, state); err != nil {
				return err
			}
		}
		return nil
	})
}

// saveTarget records an apply; the baseline stays.
func saveTarget(ctx context.Context, t *tx, state TargetState) error {
	at := millis(state.At)
	if at == 0 {
		at = t.now
	}
	_, err := exec(ctx, t, `
		INSERT INTO targets (repository, environment, root, applied, baseline, lineage, serial, operation, at)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
		ON CONFLICT (repository, environment, root) DO UPDATE SET applied = excluded.applied, lineage = excluded.lineage,
			serial = excluded.serial, operation = excluded.operation, at = excluded.at`,
		state.Repository, state.Target.Environment, state.Target.Root, state.Applied, state.Baseline, state.Lineage, state.Serial,
		state.Operation, at)
	return err
}

// touchTarget notes which state an apply has left that did not succeed.
func touchTarget(ctx context.Context, t *tx, state TargetState) error {
	_, err := exec(ctx, t, `UPDATE targets SET lineage = $4, serial = $5 WHERE repository = $1 AND environment = $2 AND root = $3`,
		state.Repository, state.Target.Environment, state.Target.Root, state.Lineage, state.Serial)
	return err
}
