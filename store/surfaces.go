package store

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
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
	Priority   int             // ForPeople or ForBots

	claim int64 // fences Written and Unwritten
}

const surfaceColumns = `id, repository, installation, owner, name, key, kind, wanted, version, written, external,
	not_before, retry_at, attempts, problem, priority, claim`

func scanSurface(row scanner) (Surface, error) {
	var f Surface
	var wanted, external string
	var notBefore, retryAt int64
	err := row.Scan(&f.ID, &f.Repository.ID, &f.Repository.Installation, &f.Repository.Owner, &f.Repository.Name, &f.Key, &f.Kind,
		&wanted, &f.Version, &f.Written, &external, &notBefore, &retryAt, &f.Attempts, &f.Problem, &f.Priority, &f.claim)
	f.Wanted, f.External, f.NotBefore = json.RawMessage(wanted), json.RawMessage(external), moment(max(notBefore, retryAt))
	return f, err //nolint:wrapcheck // list wraps it
}

// The priorities of surfaces: all that are due of one come before any of the next.
const (
	ForPeople = 0 // somebody waits for it
	ForBots   = 1
)

// Wish is what a surface should show.
type Wish struct {
	Repository operation.Repository
	Kind, Key  string        // Key is unique in its repository
	Wanted     any           // marshalled to JSON
	In         time.Duration // how long it may wait for the next change, which is then written with it; 0: not at all
	Priority   int           // ForPeople or ForBots
	Seen       *Seen         // what Wanted was made from; nil: nothing that moves
}

// Seen is how far the operations of a filter were when somebody looked, and what SavePull had saved of its pull request.
type Seen struct {
	filter   Filter
	progress []progress
	pull     string
}

// Same reports whether nothing has moved between two looks with one filter.
func (s Seen) Same(other Seen) bool {
	return s.pull == other.pull && slices.Equal(s.progress, other.progress)
}

// See looks at what a filter selects, for a Wish that is made from it.
func (s *Store) See(ctx context.Context, f Filter) (Seen, error) {
	seen, err := see(ctx, s.read, f)
	return seen, wrap("see how far operations are", err)
}

func see(ctx context.Context, q querier, f Filter) (Seen, error) {
	seen := Seen{filter: f}
	var err error
	if f.Pull != 0 {
		if seen.pull, _, err = one(ctx, q, scanValue[string], selectPull, f.Repository, f.Pull); err != nil {
			return seen, err
		}
	}
	query, args := f.query()
	query = `SELECT operations.id, state, attempt` + strings.TrimPrefix(query, `SELECT `+operationColumns)
	seen.progress, err = list(ctx, q, func(row scanner) (p progress, err error) {
		err = row.Scan(&p.id, &p.state, &p.attempt)
		return p, err //nolint:wrapcheck // list wraps it
	}, query, args...)
	return seen, err
}

// Want records what a surface should show. Content equal to what is wanted already changes nothing
// but makes it more urgent. While a change waits to be written, the next one takes its place; the
// earlier of their times and the more urgent of their priorities count. A retry that waits for GitHub
// is not hastened. A wish that would show operations as they were before is not recorded; Want returns ErrMoved then.
func (s *Store) Want(ctx context.Context, w Wish) error {
	data, err := json.Marshal(w.Wanted)
	if err != nil {
		return fmt.Errorf("want %s %s: %w", w.Kind, w.Key, err)
	}
	// A change of the version that is written or being written begins anew; one that still waits is replaced.
	const pending = `surfaces.version > surfaces.claimed`
	const notBefore = `CASE WHEN ` + pending + ` AND surfaces.not_before < excluded.not_before
		THEN surfaces.not_before ELSE excluded.not_before END`
	return s.change(ctx, "want "+w.Kind+" "+w.Key, func(t *tx) error {
		changed, err := exec(ctx, t, `
			INSERT INTO surfaces (repository, installation, owner, name, key, kind, priority, wanted, version, written, claimed, claim,
				claimed_until, external, not_before, retry_at, due, attempts, problem)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 1, 0, 0, 0, 0, 'null', $9, 0, $9, 0, '')
			ON CONFLICT (repository, key) DO UPDATE SET
				installation = excluded.installation, owner = excluded.owner, name = excluded.name,
				kind = excluded.kind, wanted = excluded.wanted,
				version = surfaces.version + CASE WHEN surfaces.wanted = excluded.wanted THEN 0 ELSE 1 END,
				priority = CASE WHEN `+pending+` AND surfaces.priority < excluded.priority
					THEN surfaces.priority ELSE excluded.priority END,
				not_before = `+notBefore+`,
				due = `+t.dialect.greatest+`(`+notBefore+`, surfaces.retry_at, surfaces.claimed_until)
				WHERE surfaces.wanted <> excluded.wanted OR `+pending+` AND
					(surfaces.not_before > excluded.not_before OR surfaces.priority > excluded.priority)`,
			w.Repository.ID, w.Repository.Installation, w.Repository.Owner, w.Repository.Name, w.Key, w.Kind, w.Priority,
			string(data), t.now+w.In.Milliseconds())
		t.due = changed > 0
		if err != nil || changed == 0 || w.Seen == nil {
			return err
		}
		// Looked at when the surface is locked: who moves it later, and wants that shown, waits for this and has the last word.
		now, err := see(ctx, t, w.Seen.filter)
		if err == nil && !now.Same(*w.Seen) {
			err = ErrMoved
		}
		return err
	})
}

// Pause is an installation of which no surface is to be claimed now, because its budget of calls is used up.
type Pause struct {
	Installation int64
	Bots         bool // only those ForBots; what people wait for may be claimed
}

// surfaceArgs is how many parameters ClaimSurface has beside the installations that it passes over.
const surfaceArgs = 3

// ClaimSurface takes the surface of the most urgent priority that has been due for longest, for the
// time of lease; nobody else gets it meanwhile. Surfaces of the installations that pause are passed over.
// End it with Written or Unwritten. A claim that ended with neither counts as a failed write, because
// GitHub may have got it.
func (s *Store) ClaimSurface(ctx context.Context, lease time.Duration, pauses ...Pause) (Surface, bool, error) {
	var surface Surface
	var ok bool
	err := s.change(ctx, "claim surface", func(t *tx) (err error) {
		for _, priority := range []int{ForPeople, ForBots} {
			passed, args := passedOver(priority, pauses)
			args[0], args[1], args[2] = t.now, t.now+lease.Milliseconds(), priority
			surface, ok, err = one(ctx, t, scanSurface, `
				UPDATE surfaces SET claimed = version, claim = claim + 1, due = $2,
					attempts = CASE WHEN claimed_until > 0 THEN attempts + 1 ELSE attempts END, claimed_until = $2
				WHERE id = (
					SELECT id FROM surfaces WHERE version > written AND priority = $3 AND due <= $1`+passed+`
					ORDER BY due, id LIMIT 1`+t.dialect.skipLocked+`)
				RETURNING `+surfaceColumns, args...)
			if err != nil || ok {
				return err
			}
		}
		return nil
	})
	return surface, ok && err == nil, err
}

// passedOver is the condition that leaves out the installations that pause for a priority, and the parameters of
// ClaimSurface with them, of which the first ones are still to be set.
func passedOver(priority int, pauses []Pause) (string, []any) {
	args := make([]any, surfaceArgs, surfaceArgs+len(pauses))
	var marks []string
	for _, pause := range pauses {
		if pause.Bots && priority == ForPeople {
			continue
		}
		args = append(args, pause.Installation)
		marks = append(marks, "$"+strconv.Itoa(len(args)))
	}
	if len(marks) == 0 {
		return "", args
	}
	return " AND installation NOT IN (" + strings.Join(marks, ", ") + ")", args
}

// Written records that GitHub shows the version that was claimed, under the ids in external. A newer
// version stays due. It returns ErrLost when the claim ended and somebody else has the surface.
func (s *Store) Written(ctx context.Context, surface Surface, external any) error {
	data, err := json.Marshal(external)
	if err != nil {
		return fmt.Errorf("record surface %s: %w", surface.Key, err)
	}
	return s.change(ctx, "record surface "+surface.Key, func(t *tx) error {
		return endClaim(ctx, t, surface, `written = $3, external = $4, retry_at = 0, due = not_before, attempts = 0, problem = ''`,
			surface.Version, string(data))
	})
}

// Refused records that GitHub does not take a version, as long as something there stays as it is: WriteRefused has it
// tried again. It returns ErrLost like Written.
func (s *Store) Refused(ctx context.Context, surface Surface, external any, problem string) error {
	data, err := json.Marshal(external)
	if err != nil {
		return fmt.Errorf("record surface %s: %w", surface.Key, err)
	}
	return s.change(ctx, "record surface "+surface.Key, func(t *tx) error {
		return endClaim(ctx, t, surface, `written = $3, external = $4, retry_at = 0, due = not_before, attempts = 0, problem = $5`,
			surface.Version, string(data), problem)
	})
}

// WriteRefused makes the surfaces of a repository due again whose newest version GitHub has refused.
func (s *Store) WriteRefused(ctx context.Context, repository int64) error {
	return s.change(ctx, "write again what was refused", func(t *tx) error {
		changed, err := exec(ctx, t, `
			UPDATE surfaces SET version = version + 1, problem = '', due = not_before
			WHERE repository = $1 AND version = written AND problem <> ''`, repository)
		t.due = t.due || changed > 0
		return err
	})
}

// Postpone puts off a write that was not tried, because GitHub wants no call before. It returns ErrLost like Written.
func (s *Store) Postpone(ctx context.Context, surface Surface, in time.Duration, why string) error {
	return s.change(ctx, "put off surface "+surface.Key, func(t *tx) error {
		return endClaim(ctx, t, surface, `claimed = written, retry_at = $3, due = `+t.dialect.greatest+`(not_before, $3), problem = $4`,
			t.now+in.Milliseconds(), why)
	})
}

// Unwritten records a failed write, which is tried again after a time, with what surface.External knows of
// it now: a part of it may have been made. It returns ErrLost like Written.
func (s *Store) Unwritten(ctx context.Context, surface Surface, in time.Duration, problem string) error {
	external := string(surface.External)
	if external == "" {
		external = "null"
	}
	return s.change(ctx, "record surface "+surface.Key, func(t *tx) error {
		return endClaim(ctx, t, surface, `claimed = written, retry_at = $3, due = `+t.dialect.greatest+`(not_before, $3),
			attempts = attempts + 1, problem = $4, external = $5`, t.now+in.Milliseconds(), problem, external)
	})
}

func endClaim(ctx context.Context, t *tx, surface Surface, set string, args ...any) error {
	due, ok, err := one(ctx, t, scanValue[int64], `
		UPDATE surfaces SET claimed_until = 0, `+set+` WHERE id = $1 AND claim = $2
		RETURNING CASE WHEN version > written THEN due ELSE -1 END`, append([]any{surface.ID, surface.claim}, args...)...)
	if err == nil && !ok {
		err = ErrLost
	}
	t.due = due >= 0 && due <= t.now
	return err
}

// DueSurfaces counts the surfaces that could be written now or are being written.
func (s *Store) DueSurfaces(ctx context.Context) (int, error) {
	now, err := s.now(ctx, s.read)
	if err != nil {
		return 0, wrap("count due surfaces", err)
	}
	due, _, err := one(ctx, s.read, scanValue[int],
		`SELECT COUNT(*) FROM surfaces WHERE version > written AND (due <= $1 OR claimed_until > 0)`, now)
	return due, wrap("count due surfaces", err)
}

// Surface reads one surface; false when nobody wants anything of it.
func (s *Store) Surface(ctx context.Context, repository int64, key string) (Surface, bool, error) {
	surface, ok, err := one(ctx, s.read, scanSurface,
		`SELECT `+surfaceColumns+` FROM surfaces WHERE repository = $1 AND key = $2`, repository, key)
	return surface, ok, wrap("read surface", err)
}

// Pending is how many surfaces of one installation do not show yet what they should.
type Pending struct {
	Installation int64
	Surfaces     int
	Bots         int       // of Surfaces, those that nobody but bots waits for
	Oldest       time.Time // when the one that has been due for longest was or will be due
}

// PendingSurfaces counts the surfaces that do not show yet what they should, by installation.
func (s *Store) PendingSurfaces(ctx context.Context) ([]Pending, error) {
	pending, err := list(ctx, s.read, func(row scanner) (Pending, error) {
		var p Pending
		var oldest int64
		err := row.Scan(&p.Installation, &p.Surfaces, &p.Bots, &oldest)
		p.Oldest = moment(oldest)
		return p, err //nolint:wrapcheck // list wraps it
	}, `SELECT installation, COUNT(*), COUNT(CASE WHEN priority > 0 THEN 1 END), MIN(not_before) FROM surfaces
		WHERE version > written GROUP BY installation ORDER BY installation`)
	return pending, wrap("count surfaces", err)
}
