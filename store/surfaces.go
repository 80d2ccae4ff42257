package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Surface is something at GitHub that shows what we know: a comment, a check, a deployment.
type Surface struct {
	ID         int64
	Repository operation.Repository
	Key, Kind  string          // Key is unique in its repository
	Wanted     json.RawMessage // what GitHub should show
	Version    int64           // of Wanted
	Written    int64           // the version that GitHub shows; 0 for nothing yet
	External   json.RawMessage // ids that GitHub gave; null before the first write
	NotBefore  time.Time       // when it is due
	Attempts   int             // failed writes since the last one that succeeded
	Problem    string          // of the last failed write

	claim int64 // fences Written and Unwritten
}

const surfaceColumns = `id, repository, installation, owner, name, key, kind, wanted, version, written, external,
	not_before, retry_at, attempts, problem, claim`

func scanSurface(row scanner) (Surface, error) {
	var f Surface
	var wanted, external string
	var notBefore, retryAt int64
	err := row.Scan(&f.ID, &f.Repository.ID, &f.Repository.Installation, &f.Repository.Owner, &f.Repository.Name, &f.Key, &f.Kind,
		&wanted, &f.Version, &f.Written, &external, &notBefore, &retryAt, &f.Attempts, &f.Problem, &f.claim)
	f.Wanted, f.External, f.NotBefore = json.RawMessage(wanted), json.RawMessage(external), moment(max(notBefore, retryAt))
	return f, err //nolint:wrapcheck // list wraps it
}

// Want records what a surface should show, not before a time (zero: at once). Content equal to what
// is wanted already changes nothing. While a change waits to be written, the next one takes its
// place; the earlier of their times counts. A retry that waits for GitHub is not hastened.
func (s *Store) Want(ctx context.Context, repo operation.Repository, kind, key string, wanted any, notBefore time.Time) error {
	data, err := json.Marshal(wanted)
	if err != nil {
		return fmt.Errorf("want %s %s: %w", kind, key, err)
	}
	var changed int64
	err = s.change(ctx, "want "+kind+" "+key, func(tx *sql.Tx) (err error) {
		changed, err = exec(ctx, tx, `
			INSERT INTO surfaces (repository, installation, owner, name, key, kind, wanted, version, written, claimed, claim,
				claimed_until, external, not_before, retry_at, attempts, problem)
			VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 0, 0, 0, 0, 'null', $8, 0, 0, '')
			ON CONFLICT (repository, key) DO UPDATE SET
				installation = excluded.installation, owner = excluded.owner, name = excluded.name,
				kind = excluded.kind, wanted = excluded.wanted,
				version = surfaces.version + CASE WHEN surfaces.wanted = excluded.wanted THEN 0 ELSE 1 END,
				not_before = CASE WHEN surfaces.version > surfaces.claimed AND surfaces.not_before < excluded.not_before
					THEN surfaces.not_before ELSE excluded.not_before END
				WHERE surfaces.wanted <> excluded.wanted
					OR surfaces.version > surfaces.claimed AND surfaces.not_before > excluded.not_before`,
			repo.ID, repo.Installation, repo.Owner, repo.Name, key, kind, string(data), millis(notBefore))
		return err
	})
	if err == nil && changed > 0 {
		s.wakeUp()
	}
	return err
}

// ClaimSurface takes the surface that has been due for longest, for the time of lease; nobody else
// gets it meanwhile. End it with Written or Unwritten.
func (s *Store) ClaimSurface(ctx context.Context, lease time.Duration) (Surface, bool, error) {
	var surface Surface
	var ok bool
	err := s.change(ctx, "claim surface", func(tx *sql.Tx) (err error) {
		now := s.now()
		surface, ok, err = one(ctx, tx, scanSurface, `
			UPDATE surfaces SET claimed = version, claim = claim + 1, claimed_until = $2
			WHERE claimed_until <= $1 AND id = (
				SELECT id FROM surfaces WHERE version > written AND not_before <= $1 AND retry_at <= $1 AND claimed_until <= $1
				ORDER BY not_before, id LIMIT 1)
			RETURNING `+surfaceColumns, now, now+lease.Milliseconds())
		return err
	})
	return surface, ok && err == nil, err
}

// Written records that GitHub shows the version that was claimed, under the ids in external. A newer
// version stays due. It returns ErrLost when the claim ended and somebody else has the surface.
func (s *Store) Written(ctx context.Context, surface Surface, external any) error {
	data, err := json.Marshal(external)
	if err != nil {
		return fmt.Errorf("record surface %s: %w", surface.Key, err)
	}
	return s.endClaim(ctx, surface, `written = $3, external = $4, retry_at = 0, attempts = 0, problem = ''`,
		surface.Version, string(data))
}

// Unwritten records a failed write, which is tried again at a time. It returns ErrLost like Written.
func (s *Store) Unwritten(ctx context.Context, surface Surface, at time.Time, problem string) error {
	return s.endClaim(ctx, surface, `claimed = written, retry_at = $3, attempts = attempts + 1, problem = $4`, millis(at), problem)
}

func (s *Store) endClaim(ctx context.Context, surface Surface, set string, args ...any) error {
	err := s.change(ctx, "record surface "+surface.Key, func(tx *sql.Tx) error {
		changed, err := exec(ctx, tx, `UPDATE surfaces SET claimed_until = 0, `+set+` WHERE id = $1 AND claim = $2`,
			append([]any{surface.ID, surface.claim}, args...)...)
		if err == nil && changed == 0 {
			err = ErrLost
		}
		return err
	})
	if err == nil {
		s.wakeUp()
	}
	return err
}

// Surface reads one surface; false when nobody wants anything of it.
func (s *Store) Surface(ctx context.Context, repository int64, key string) (Surface, bool, error) {
	surface, ok, err := one(ctx, s.read, scanSurface,
		`SELECT `+surfaceColumns+` FROM surfaces WHERE repository = $1 AND key = $2`, repository, key)
	return surface, ok, wrap("read surface", err)
}

// PendingSurfaces counts the surfaces that do not show yet what they should.
func (s *Store) PendingSurfaces(ctx context.Context) (int, error) {
	count, _, err := one(ctx, s.read, scanValue[int], `SELECT COUNT(*) FROM surfaces WHERE version > written`)
	return count, wrap("count surfaces", err)
}
