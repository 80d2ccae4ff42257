package store

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/switchyard-dev/switchyard/queue"
)

// A claim must be the newest of its job to change it.
const newestClaim = ` WHERE id = $1 AND attempt = $2 AND state = 'running'`

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
	err := s.change(ctx, "accept delivery", func(tx *sql.Tx) error {
		stored, err := exec(ctx, tx, `
			INSERT INTO deliveries (guid, event, action, installation, repository, payload, arrived)
			VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING`,
			d.GUID, d.Event, d.Action, d.Installation, d.Repository, string(d.Payload), s.now())
		if err != nil || stored == 0 {
			return err
		}
		fresh = true
		for _, job := range jobs {
			if job.Cause == "" {
				job.Cause = d.GUID
			}
			if err := s.insertJob(ctx, tx, job); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return false, err
	}
	if fresh && len(jobs) > 0 {
		s.wakeUp()
	}
	return fresh, nil
}

// Forget deletes deliveries that arrived before a time, and says how many. GitHub redelivers for
// three days, https://docs.github.com/en/webhooks/testing-and-troubleshooting-webhooks/redelivering-webhooks,
// and what is forgotten would be accepted again.
func (s *Store) Forget(ctx context.Context, before time.Time) (int64, error) {
	var gone int64
	err := s.change(ctx, "forget deliveries", func(tx *sql.Tx) (err error) {
		gone, err = exec(ctx, tx, `DELETE FROM deliveries WHERE arrived < $1`, millis(before))
		return err
	})
	return gone, err
}

// Enqueue stores jobs of our own, all or none.
func (s *Store) Enqueue(ctx context.Context, jobs ...queue.Job) error {
	err := s.change(ctx, "queue jobs", func(tx *sql.Tx) error {
		for _, job := range jobs {
			if err := s.insertJob(ctx, tx, job); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		s.wakeUp()
	}
	return err
}

func (s *Store) insertJob(ctx context.Context, tx *sql.Tx, job queue.Job) error {
	once := 0
	if job.Once {
		once = 1
	}
	// The casts tell PostgreSQL the types of parameters that no column tells it.
	_, err := exec(ctx, tx, `
		INSERT INTO jobs (class, kind, key, payload, once, cause, state, attempt, failures, created, due, lease_until, worker, reason)
		SELECT $1, $2, $3, $4, $5, $6, 'waiting', 0, 0, $7, $7, 0, '', ''
		WHERE CAST($5 AS BIGINT) = 0 OR NOT EXISTS (
			SELECT 1 FROM jobs WHERE key = CAST($3 AS TEXT) AND kind = CAST($2 AS TEXT) AND state = 'waiting')`,
		string(job.Class), job.Kind, job.Key, string(job.Payload), once, job.Cause, s.now())
	return err
}

// Claim takes the next due job of a class whose key has no earlier unfinished job, for the time of
// lease. Jobs whose lease has ended count a failure and are free again.
func (s *Store) Claim(ctx context.Context, class queue.Class, worker string, lease time.Duration) (queue.Claim, bool, error) {
	var claim queue.Claim
	var ok bool
	err := s.change(ctx, "claim job", func(tx *sql.Tx) (err error) {
		now := s.now()
		if _, err := exec(ctx, tx, freeJobs+` AND lease_until <= $1`, now); err != nil {
			return err
		}
		claim, ok, err = one(ctx, tx, scanClaim, `
			UPDATE jobs SET state = 'running', attempt = attempt + 1, worker = $3, lease_until = $4
			WHERE state = 'waiting' AND id = (
				SELECT id FROM jobs AS next WHERE class = $1 AND state = 'waiting' AND due <= $2
				AND NOT EXISTS (SELECT 1 FROM jobs AS earlier
					WHERE earlier.key = next.key AND earlier.id < next.id AND earlier.state IN ('waiting', 'running'))
				ORDER BY id LIMIT 1)
			RETURNING id, attempt, failures, class, kind, key, payload, once, cause`,
			string(class), now, worker, now+lease.Milliseconds())
		return err
	})
	return claim, ok && err == nil, err
}

// freeJobs gives back what is running; a job that kills its worker each time must die one day too.
const freeJobs = `
	UPDATE jobs SET state = 'waiting', failures = failures + 1, reason = 'its worker stopped answering'
	WHERE state = 'running'`

func scanClaim(row scanner) (queue.Claim, error) {
	var c queue.Claim
	var payload string
	err := row.Scan(&c.ID, &c.Attempt, &c.Failures, &c.Job.Class, &c.Job.Kind, &c.Job.Key, &payload, &c.Job.Once, &c.Job.Cause)
	c.Job.Payload = []byte(payload)
	return c, err //nolint:wrapcheck // list wraps it
}

// Extend gives a claim a new lease, from now on.
func (s *Store) Extend(ctx context.Context, c queue.Claim, lease time.Duration) error {
	return s.settle(ctx, "extend lease", c, `UPDATE jobs SET lease_until = $3`+newestClaim, s.now()+lease.Milliseconds())
}

// Done removes a job that was done.
func (s *Store) Done(ctx context.Context, c queue.Claim) error {
	return s.settle(ctx, "end job", c, `DELETE FROM jobs`+newestClaim)
}

// Retry counts a failure of a job and lets it run again at a time.
func (s *Store) Retry(ctx context.Context, c queue.Claim, at time.Time, reason string) error {
	return s.settle(ctx, "retry job", c,
		`UPDATE jobs SET state = 'waiting', failures = failures + 1, due = $3, reason = $4`+newestClaim, millis(at), reason)
}

// Wait lets a job run again at a time. It counts no failure.
func (s *Store) Wait(ctx context.Context, c queue.Claim, at time.Time, reason string) error {
	return s.settle(ctx, "put job off", c,
		`UPDATE jobs SET state = 'waiting', due = $3, reason = $4`+newestClaim, millis(at), reason)
}

// Dead gives a job up and keeps it with the reason. The next one of its key may run.
func (s *Store) Dead(ctx context.Context, c queue.Claim, reason string) error {
	return s.settle(ctx, "give up job", c,
		`UPDATE jobs SET state = 'dead', failures = failures + 1, reason = $3`+newestClaim, reason)
}

// settle changes a claimed job, or returns ErrLost when the claim is not its newest.
func (s *Store) settle(ctx context.Context, verb string, c queue.Claim, statement string, args ...any) error {
	err := s.change(ctx, verb, func(tx *sql.Tx) error {
		changed, err := exec(ctx, tx, statement, append([]any{c.ID, c.Attempt}, args...)...)
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

// Depth is how full the queue of one class is.
type Depth struct {
	Class                  queue.Class
	Waiting, Running, Dead int
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
	}, `SELECT class, COUNT(CASE WHEN state = 'waiting' THEN 1 END), COUNT(CASE WHEN state = 'running' THEN 1 END),
			COUNT(CASE WHEN state = 'dead' THEN 1 END), COALESCE(MIN(CASE WHEN state <> 'dead' THEN created END), 0)
		FROM jobs GROUP BY class ORDER BY class`)
	if err != nil {
		return nil, fmt.Errorf("measure the queue: %w", err)
	}
	return depths, nil
}

// freeClaims gives back everything that is claimed. Only for a process that knows itself alone.
func (s *Store) freeClaims(ctx context.Context) error {
	return s.change(ctx, "free claims of a dead process", func(tx *sql.Tx) error {
		if _, err := exec(ctx, tx, freeJobs); err != nil {
			return err
		}
		_, err := exec(ctx, tx, `UPDATE surfaces SET claimed = written, claimed_until = 0, claim = claim + 1 WHERE claimed_until > 0`)
		return err
	})
}
