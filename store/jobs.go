package store

import (
	"context"
	"time"

	"github.com/switchyard-dev/switchyard/queue"
)

// A claim must be the newest of its job to change it.
const newestClaim = ` WHERE id = $1 AND attempt = $2 AND state = 'running'`

const (
	// returns bounds how many jobs one claim brings back that waited for their time or lost their worker.
	returns = 16
	// forgets bounds how many rows one transaction deletes, so that nobody waits long for it.
	forgets = 1000
)

// Delivery is one webhook as it arrived.
type Delivery struct {
	GUID, Event, Action      string
	Installation, Repository int64
	Payload                  []byte // JSON
}

// Accept stores a delivery with the jobs that follow from it. It reports false, and queues nothing,
// when a delivery with the same GUID was accepted before.
func (s *Store) Accept(ctx context.Context, d Delivery, jobs []queue.Job) (bool, error) {
	var fresh bool
	err := s.change(ctx, "accept delivery", func(t *tx) error {
		stored, err := exec(ctx, t, `
			INSERT INTO deliveries (guid, event, action, installation, repository, payload, arrived)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			d.GUID, d.Event, d.Action, d.Installation, d.Repository, string(d.Payload), t.now)
		if fresh = stored > 0; err != nil || !fresh {
			return err
		}
		caused := make([]queue.Job, len(jobs))
		for i, job := range jobs {
			if job.Cause == "" {
				job.Cause = d.GUID
			}
			caused[i] = job
		}
		return insertJobs(ctx, t, caused)
	})
	return fresh && err == nil, err
}

// Forget deletes deliveries that arrived, jobs that were given up, and replicas that were last seen at
// least so long ago, and says how many deliveries; workflow runs and what was said to them later, see runsKept.
// GitHub redelivers for three days,
// https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks,
// and what is forgotten would be accepted again. Operations and the audit stay.
func (s *Store) Forget(ctx context.Context, age time.Duration) (int64, error) {
	gone, err := s.forget(ctx, `DELETE FROM deliveries WHERE guid IN (SELECT guid FROM deliveries WHERE arrived <= $1 LIMIT $2)`, age)
	if err == nil {
		_, err = s.forget(ctx, `DELETE FROM jobs WHERE state = 'dead' AND id IN (
			SELECT id FROM jobs WHERE state = 'dead' AND until <= $1 LIMIT $2)`, age)
	}
	if err == nil {
		_, err = s.forget(ctx, `DELETE FROM redeliveries WHERE delivery IN (
			SELECT delivery FROM redeliveries WHERE arrived <= $1 LIMIT $2)`, age)
	}
	if err == nil {
		_, err = s.forget(ctx, `DELETE FROM replicas WHERE id IN (SELECT id FROM replicas WHERE seen <= $1 LIMIT $2)`, age)
	}
	if err == nil {
		err = s.forgetRuns(ctx, max(age, runsKept))
	}
	if err == nil {
		_, err = s.forget(ctx, `DELETE FROM confirmations WHERE (repository, code) IN (
			SELECT repository, code FROM confirmations WHERE expires <= $1 LIMIT $2)`, max(age, runsKept))
	}
	if err == nil {
		_, err = s.forget(ctx, `DELETE FROM stop_answers WHERE (operation, comment) IN (
			SELECT operation, comment FROM stop_answers WHERE operation NOT IN (SELECT id FROM operations WHERE ended = 0 OR ended > $1)
			LIMIT $2)`, age)
	}
	return gone, err
}

func (s *Store) forget(ctx context.Context, statement string, age time.Duration) (int64, error) {
	var all int64
	for {
		var gone int64
		err := s.change(ctx, "forget what is old", func(t *tx) (err error) {
			gone, err = exec(ctx, t, statement, t.now-age.Milliseconds(), forgets)
			return err
		})
		if all += gone; err != nil || gone < forgets {
			return all, err
		}
	}
}

// Enqueue stores jobs of our own, all or none.
func (s *Store) Enqueue(ctx context.Context, jobs ...queue.Job) error {
	return s.change(ctx, "queue jobs", func(t *tx) error { return insertJobs(ctx, t, jobs) })
}

// insertJobs stores jobs in their order. Whoever adds to a key, or ends what is first of it, has the
// key's lock: so their order is that of the transactions, whatever ids they get, and one is always first.
func insertJobs(ctx context.Context, t *tx, jobs []queue.Job) error {
	if err := t.lock(ctx, locksOf(jobs)...); err != nil {
		return err
	}
	for _, job := range jobs {
		if err := insertJob(ctx, t, job); err != nil {
			return err
		}
	}
	return nil
}

// locksOf are the names that must be locked before jobs are inserted.
func locksOf(jobs []queue.Job) []string {
	locks := make([]string, len(jobs))
	for i, job := range jobs {
		locks[i] = lockOfKey(job.Key)
	}
	return locks
}

func lockOfKey(key string) string { return "jobs of " + key }

// turnOf is the turn of a job that begins to wait now: the one after the last of its lane that waits, but not
// before those that were claimed already. So a lane that has waited for nothing is served next, and one
// with many jobs takes turns with the others: start-time fair queueing, https://doi.org/10.1109/90.649569.
// What reads it must name the class $1 and the lane $2.
const turnOf = `(
	SELECT CASE WHEN tags.last >= tags.next THEN tags.last + 1 ELSE tags.next END FROM (SELECT
		COALESCE((SELECT MAX(turn) FROM jobs WHERE class = CAST($1 AS TEXT) AND lane = CAST($2 AS TEXT) AND state = 'waiting'), 0) AS last,
		COALESCE((SELECT next FROM turns WHERE class = CAST($1 AS TEXT)), 1) AS next) AS tags)`

// insertJob stores a job, unless one waits that will do the same. Of those that are alike, one that rests after a
// failure is not counted on, for it may be given up.
func insertJob(ctx context.Context, t *tx, job queue.Job) error {
	once := 0
	if job.Once {
		once = 1
	}
	alike := 0
	if job.Alike {
		alike = 1
	}
	lane := job.Lane
	if lane == "" {
		lane = job.Key
	}
	// The casts tell PostgreSQL the types of parameters that no column tells it.
	const isBehind = `EXISTS (SELECT 1 FROM jobs WHERE key = CAST($4 AS TEXT) AND state IN ('waiting', 'resting', 'running'))`
	stored, err := exec(ctx, t, `
		INSERT INTO jobs (class, kind, key, lane, payload, cause, once, state, turn, until, attempt, failures, created, worker, reason)
		SELECT CAST($1 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), CAST($2 AS TEXT), CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS BIGINT),
			CASE WHEN `+isBehind+` THEN 'behind' ELSE 'waiting' END,
			CASE WHEN `+isBehind+` THEN (
				SELECT COALESCE(MAX(turn), 0) + 1 FROM jobs WHERE key = CAST($4 AS TEXT) AND state = 'behind') ELSE `+turnOf+` END,
			0, 0, 0, CAST($8 AS BIGINT), '', ''
		WHERE NOT EXISTS (SELECT 1 FROM jobs
			WHERE key = CAST($4 AS TEXT) AND kind = CAST($3 AS TEXT) AND state IN ('behind', 'waiting', 'resting')
				AND (CAST($7 AS BIGINT) = 1 OR CAST($9 AS BIGINT) = 1 AND state <> 'resting' AND payload = CAST($5 AS TEXT)))`,
		string(job.Class), lane, job.Kind, job.Key, string(job.Payload), job.Cause, once, t.now, alike)
	t.due = t.due || stored > 0
	return err
}

// begin lets a job wait for a worker, in the turn that it gets by that.
func begin(ctx context.Context, t *tx, id int64, class, lane string) error {
	_, err := exec(ctx, t, `UPDATE jobs SET state = 'waiting', turn = `+turnOf+` WHERE id = $3`, class, lane, id)
	t.due = true
	return err
}

// place is what begin needs of a job.
type place struct {
	id          int64
	class, lane string
}

func scanPlace(row scanner) (place, error) {
	var p place
	err := row.Scan(&p.id, &p.class, &p.lane)
	return p, err //nolint:wrapcheck // list wraps it
}

// Claim takes the job of a class whose turn is next, of those whose key has no earlier unfinished
// one, for the time of lease. Jobs whose lease has ended count a failure and are free again.
func (s *Store) Claim(ctx context.Context, class queue.Class, worker string, lease time.Duration) (queue.Claim, bool, error) {
	var claim queue.Claim
	var ok bool
	err := s.change(ctx, "claim job", func(t *tx) error {
		if err := bringBack(ctx, t); err != nil {
			return err
		}
		next, found, err := one(ctx, t, scanClaim, `
			UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = $2, until = $3
			WHERE id = (SELECT id FROM jobs WHERE class = $1 AND state = 'waiting' ORDER BY turn, id LIMIT 1`+t.dialect.skipLocked+`)
			RETURNING id, attempt, failures, class, kind, key, lane, payload, cause, once, turn`,
			string(class), worker, t.now+lease.Milliseconds())
		claim, ok = next.Claim, found
		if err != nil || !ok {
			return err
		}
		// Who finds it locked leaves it as it is: another claim is raising it, and the next one raises it again.
		_, err = exec(ctx, t, `
			UPDATE turns SET next = $2 WHERE class = (
				SELECT class FROM turns WHERE class = $1 AND next < $2`+t.dialect.skipLocked+`)`, string(class), next.turn+1)
		return err
	})
	return claim, ok && err == nil, err
}

// bringBack lets jobs wait for a worker again whose time has come or whose worker has lost its lease.
// Those that somebody else is changing now are left to a later claim.
func bringBack(ctx context.Context, t *tx) error {
	places, err := list(ctx, t, scanPlace, `
		SELECT id, class, lane FROM jobs WHERE state IN ('resting', 'running') AND until <= $1
		ORDER BY until, id LIMIT $2`+t.dialect.skipLocked, t.now, returns)
	if err != nil {
		return err
	}
	for _, p := range places {
		if _, err := exec(ctx, t, freeJobs+` AND id = $1`, p.id); err != nil {
			return err
		}
		if err := begin(ctx, t, p.id, p.class, p.lane); err != nil {
			return err
		}
	}
	return nil
}

// freeJobs ends what is running; a job that kills its worker each time must die one day too.
const freeJobs = `
	UPDATE jobs SET state = 'resting', until = 0, failures = failures + 1, reason = 'its worker stopped answering'
	WHERE state = 'running'`

// claimed is a claim with what only the store needs to know.
type claimed struct {
	queue.Claim

	turn int64
}

func scanClaim(row scanner) (claimed, error) {
	var c claimed
	var payload string
	err := row.Scan(&c.ID, &c.Attempt, &c.Failures, &c.Job.Class, &c.Job.Kind, &c.Job.Key, &c.Job.Lane, &payload, &c.Job.Cause,
		&c.Job.Once, &c.turn)
	c.Job.Payload = []byte(payload)
	return c, err //nolint:wrapcheck // list wraps it
}

// Extend gives a claim a new lease, from now on.
func (s *Store) Extend(ctx context.Context, c queue.Claim, lease time.Duration) error {
	return s.change(ctx, "extend lease", func(t *tx) error {
		return settle(ctx, t, c, `UPDATE jobs SET until = $3`+newestClaim, t.now+lease.Milliseconds())
	})
}

// Done removes a job that was done.
func (s *Store) Done(ctx context.Context, c queue.Claim) error {
	return s.change(ctx, "end job", func(t *tx) error {
		return end(ctx, t, c, `DELETE FROM jobs`+newestClaim)
	})
}

// Retry counts a failure of a job and lets it run again after a time.
func (s *Store) Retry(ctx context.Context, c queue.Claim, in time.Duration, reason string) error {
	return s.change(ctx, "retry job", func(t *tx) error { return rest(ctx, t, c, in, reason, 1) })
}

// Wait lets a job run again after a time. It counts no failure.
func (s *Store) Wait(ctx context.Context, c queue.Claim, in time.Duration, reason string) error {
	return s.change(ctx, "put job off", func(t *tx) error { return rest(ctx, t, c, in, reason, 0) })
}

func rest(ctx context.Context, t *tx, c queue.Claim, in time.Duration, reason string, failures int) error {
	t.due = in <= 0
	return settle(ctx, t, c, `UPDATE jobs SET state = 'resting', until = $3, reason = $4, failures = failures + $5`+newestClaim,
		t.now+in.Milliseconds(), reason, failures)
}

// Dead gives a job up and keeps it with the reason. The next one of its key may run.
func (s *Store) Dead(ctx context.Context, c queue.Claim, reason string) error {
	return s.change(ctx, "give up job", func(t *tx) error {
		return end(ctx, t, c, `UPDATE jobs SET state = 'dead', until = $3, reason = $4, failures = failures + 1`+newestClaim, t.now, reason)
	})
}

// settle changes a claimed job, or returns ErrLost when the claim is not its newest.
func settle(ctx context.Context, t *tx, c queue.Claim, statement string, args ...any) error {
	changed, err := exec(ctx, t, statement, append([]any{c.ID, c.Attempt}, args...)...)
	if err == nil && changed == 0 {
		err = ErrLost
	}
	return err
}

// end is settle for a job that is first of its key no more.
func end(ctx context.Context, t *tx, c queue.Claim, statement string, args ...any) error {
	if err := t.lock(ctx, lockOfKey(c.Job.Key)); err != nil {
		return err
	}
	if err := settle(ctx, t, c, statement, args...); err != nil {
		return err
	}
	return letNext(ctx, t, c.Job.Key)
}

// letNext lets the job wait for a worker that is behind the others of its key no more.
func letNext(ctx context.Context, t *tx, key string) error {
	next, ok, err := one(ctx, t, scanPlace,
		`SELECT id, class, lane FROM jobs WHERE key = $1 AND state = 'behind' ORDER BY turn LIMIT 1`, key)
	if err != nil || !ok {
		return err
	}
	return begin(ctx, t, next.id, next.class, next.lane)
}

// Hasten moves the jobs of a key that do not run yet to another class, where the first of them gets the turn that a
// new job would get.
func (s *Store) Hasten(ctx context.Context, key string, class queue.Class) error {
	return s.change(ctx, "move jobs to another class", func(t *tx) error {
		if err := t.lock(ctx, lockOfKey(key)); err != nil {
			return err
		}
		// Who has the row locked is claiming it: it is hastened already.
		first, ok, err := one(ctx, t, scanPlace, `SELECT id, class, lane FROM jobs WHERE key = $1 AND state = 'waiting' AND class <> $2`+
			t.dialect.skipLocked, key, string(class))
		if err != nil {
			return err
		}
		if ok {
			if err := begin(ctx, t, first.id, string(class), first.lane); err != nil {
				return err
			}
			if _, err := exec(ctx, t, `UPDATE jobs SET class = $2 WHERE id = $1`, first.id, string(class)); err != nil {
				return err
			}
		}
		_, err = exec(ctx, t, `UPDATE jobs SET class = $2 WHERE key = $1 AND state IN ('behind', 'resting')`, key, string(class))
		return err
	})
}

// DeadJob is a job that was given up.
type DeadJob struct {
	ID       int64
	Job      queue.Job
	Failures int
	Reason   string    // of the last failure
	Created  time.Time // when it was queued
	Died     time.Time // when it was given up
}

// DeadJobs lists the jobs that were given up, the newest first.
func (s *Store) DeadJobs(ctx context.Context, limit int) ([]DeadJob, error) {
	dead, err := list(ctx, s.read, func(row scanner) (DeadJob, error) {
		var d DeadJob
		var payload string
		var created, died int64
		err := row.Scan(&d.ID, &d.Job.Class, &d.Job.Kind, &d.Job.Key, &d.Job.Lane, &payload, &d.Job.Cause, &d.Job.Once,
			&d.Failures, &d.Reason, &created, &died)
		d.Job.Payload, d.Created, d.Died = []byte(payload), moment(created), moment(died)
		return d, err //nolint:wrapcheck // list wraps it
	}, `SELECT id, class, kind, key, lane, payload, cause, once, failures, reason, created, until FROM jobs
		WHERE state = 'dead' ORDER BY until DESC, id DESC LIMIT $1`, limit)
	return dead, wrap("list the jobs that were given up", err)
}

// Revive queues a job again that was given up, as if it had never failed: next of its key after the
// one that is first of it now. It returns ErrNotFound when no such job was given up.
func (s *Store) Revive(ctx context.Context, id int64) error {
	return s.change(ctx, "revive job", func(t *tx) error {
		key, ok, err := one(ctx, t, scanValue[string], `SELECT key FROM jobs WHERE id = $1 AND state = 'dead'`, id)
		if err != nil {
			return err
		}
		if !ok {
			return ErrNotFound
		}
		if err := t.lock(ctx, lockOfKey(key)); err != nil {
			return err
		}
		revived, err := exec(ctx, t, `
			UPDATE jobs SET state = 'behind', failures = 0, reason = '', turn = (
				SELECT COALESCE(MIN(turn), 1) - 1 FROM jobs WHERE key = CAST($2 AS TEXT) AND state = 'behind')
			WHERE id = $1 AND state = 'dead'`, id, key)
		if err == nil && revived == 0 {
			err = ErrNotFound
		}
		if err != nil {
			return err
		}
		_, taken, err := one(ctx, t, scanValue[int64],
			`SELECT id FROM jobs WHERE key = $1 AND state IN ('waiting', 'resting', 'running')`, key)
		if err != nil || taken {
			return err
		}
		return letNext(ctx, t, key)
	})
}

// Depth is how full the queue of one class is.
type Depth struct {
	Class                  queue.Class
	Waiting, Running, Dead int       // those that wait for others of their key or for their time are Waiting too
	Oldest                 time.Time // when the oldest job that is not done was queued; zero without one
}

// Depths measures the queue, for metrics.
func (s *Store) Depths(ctx context.Context) ([]Depth, error) {
	depths, err := list(ctx, s.read, func(row scanner) (Depth, error) {
		var d Depth
		var oldest int64
		err := row.Scan(&d.Class, &d.Waiting, &d.Running, &d.Dead, &oldest)
		d.Oldest = moment(oldest)
		return d, err //nolint:wrapcheck // list wraps it
	}, `SELECT class, COUNT(CASE WHEN state IN ('behind', 'waiting', 'resting') THEN 1 END), COUNT(CASE WHEN state = 'running' THEN 1 END),
			COUNT(CASE WHEN state = 'dead' THEN 1 END), COALESCE(MIN(CASE WHEN state <> 'dead' THEN created END), 0)
		FROM jobs GROUP BY class ORDER BY class`)
	return depths, wrap("measure the queue", err)
}

// freeClaims gives back everything that is claimed. Only for a process that knows itself alone.
func (s *Store) freeClaims(ctx context.Context) error {
	return s.change(ctx, "free claims of a dead process", func(t *tx) error {
		if _, err := exec(ctx, t, freeJobs); err != nil {
			return err
		}
		_, err := exec(ctx, t, `
			UPDATE surfaces SET claimed = written, claimed_until = 0, claim = claim + 1, attempts = attempts + 1, due = MAX(not_before, retry_at)
			WHERE claimed_until > 0`)
		return err
	})
}
