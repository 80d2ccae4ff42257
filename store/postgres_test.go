package store_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// together is how many servers or connections do the same thing at once.
const together = 8

// replicasOf opens servers on one database, which have nothing else in common.
func replicasOf(t *testing.T, url string) []*store.Store {
	t.Helper()
	all := make([]*store.Store, together)
	var group sync.WaitGroup
	for i := range all {
		group.Go(func() { all[i] = replica(t, url, nil) }) // at once, as after an upgrade: one migrates, the others wait
	}
	group.Wait()
	return all
}

// each does something in all replicas at once.
func each(t *testing.T, all []*store.Store, do func(i int, s *store.Store) error) {
	t.Helper()
	var group sync.WaitGroup
	begin := make(chan struct{})
	for i, s := range all {
		group.Go(func() {
			<-begin
			if err := do(i, s); err != nil {
				t.Errorf("replica %d: %v", i, err)
			}
		})
	}
	close(begin)
	group.Wait()
}

// Jobs are queued for few keys by all replicas while all replicas claim them; some fail, some lose their worker.
func TestReplicasKeepTheOrderOfEachKey(t *testing.T) {
	t.Parallel()
	const keys, jobs = 50, 2000
	all := replicasOf(t, pgtest.New(t))
	var mu sync.Mutex
	running, order := map[string]bool{}, map[string][]string{}
	var done, queued atomic.Int32
	each(t, append(all, all...), func(i int, s *store.Store) error {
		if i < together { // this one queues the jobs of its keys, in batches that share keys with others' in time
			for n := range jobs / keys {
				for key := i; key < keys; key += together {
					if err := s.Enqueue(t.Context(), queue.Job{
						Class: queue.Quick, Kind: "k", Key: fmt.Sprint("k", key), Lane: strconv.Itoa(key % 3), Payload: []byte(strconv.Itoa(n)),
					}); err != nil {
						return err
					}
					queued.Add(1)
				}
			}
			return nil
		}
		for done.Load() < jobs {
			c, ok, err := s.Claim(t.Context(), queue.Quick, strconv.Itoa(i), time.Minute)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			mu.Lock()
			if running[c.Job.Key] {
				t.Errorf("two jobs of %s run", c.Job.Key)
			}
			running[c.Job.Key] = true
			fails := c.Failures == 0 && len(order[c.Job.Key])%7 == 3
			if !fails {
				order[c.Job.Key] = append(order[c.Job.Key], string(c.Job.Payload))
			}
			mu.Unlock()
			mu.Lock()
			delete(running, c.Job.Key)
			mu.Unlock()
			if fails {
				err = s.Retry(t.Context(), c, 0, "boom")
			} else {
				err = s.Done(t.Context(), c)
				done.Add(1)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if len(order) != keys {
		t.Errorf("%d keys were served", len(order))
	}
	for key, list := range order {
		for i, payload := range list {
			if payload != strconv.Itoa(i) {
				t.Errorf("%s ran in the order %v", key, list)
				break
			}
		}
	}
}

// All replicas add to one key at once. What one has queued before another began stays before it.
func TestIdsOfAKeyBecomeVisibleInTheirOrder(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, pgtest.New(t))
	each(t, all, func(i int, s *store.Store) error {
		for n := range 20 {
			once := queue.Job{Class: queue.Quick, Kind: "once", Key: "k", Once: true}
			job := queue.Job{Class: queue.Quick, Kind: "k", Key: "k", Payload: []byte(fmt.Sprint(i, " ", n))}
			if err := s.Enqueue(t.Context(), job, once); err != nil {
				return err
			}
		}
		return nil
	})
	next, onces := map[int]int{}, 0
	for range together*20 + 1 {
		c, ok, err := all[0].Claim(t.Context(), queue.Quick, "w", time.Minute)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		must(t, all[0].Done(t.Context(), c))
		if c.Job.Kind == "once" {
			onces++
			continue
		}
		var i, n int
		if _, err := fmt.Sscan(string(c.Job.Payload), &i, &n); err != nil || n != next[i] {
			t.Errorf("job %d of replica %d runs where %d should, %v", n, i, next[i], err)
		}
		next[i]++
	}
	if _, ok, err := all[0].Claim(t.Context(), queue.Quick, "w", time.Minute); ok || err != nil || onces != 1 {
		t.Errorf("one more job: %v, %v; %d once-jobs", ok, err, onces)
	}
}

func TestReplicasAcceptADeliveryOnce(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, pgtest.New(t))
	for n := range 20 {
		var fresh atomic.Int32
		each(t, all, func(_ int, s *store.Store) error {
			ok, err := s.Accept(t.Context(), store.Delivery{GUID: strconv.Itoa(n)}, []queue.Job{{Class: queue.Quick, Kind: "k", Key: "k"}})
			if ok {
				fresh.Add(1)
			}
			return err
		})
		if fresh.Load() != 1 {
			t.Errorf("delivery %d is fresh %d times", n, fresh.Load())
		}
	}
	depths, err := all[0].Depths(t.Context())
	must(t, err)
	if len(depths) != 1 || depths[0].Waiting != 20 {
		t.Errorf("queued: %+v", depths)
	}
}

// While replicas queue applies of one branch, others take the hold, end what runs, and say yes to what asks.
func TestOneExclusiveOperationPerHoldAcrossReplicas(t *testing.T) {
	t.Parallel()
	const pushes = 12
	repo := operation.Repository{ID: 7, Installation: 70, Owner: "acme", Name: "network"}
	all := replicasOf(t, pgtest.New(t))
	var inside, ran atomic.Int32
	each(t, append(all, all...), func(i int, s *store.Store) error {
		if i < together {
			for n := range pushes {
				if _, _, err := s.QueueApply(t.Context(), operation.Operation{
					Kind: operation.Apply, Repository: repo, Environment: "dev", Branch: "develop", Head: fmt.Sprint(i, "-", n),
					Pulls: []int{i*pushes + n + 1}, Priority: 20,
				}); err != nil {
					return err
				}
			}
			return nil
		}
		for range 4 * pushes {
			op, taken, err := s.TakeHold(t.Context(), repo.ID, "dev")
			if err != nil {
				return err
			}
			if !taken {
				continue
			}
			if inside.Add(1) != 1 {
				t.Errorf("%s runs beside another", op)
			}
			inside.Add(-1)
			end := store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Succeeded}
			if ran.Add(1)%2 == 0 {
				end.State, end.Question = operation.Unconfirmed, "7f3a"
			}
			if _, err := s.Finish(t.Context(), end); err != nil {
				return err
			}
			if end.State == operation.Unconfirmed { // unless a newer one has gathered it meanwhile
				if _, err := s.Confirm(t.Context(), op.ID, "7f3a", "ana", 0); err != nil && !errors.Is(err, store.ErrTransition) {
					return err
				}
			}
		}
		return nil
	})
	holdsEveryPush(t, all[0], pushes*together)
}

// holdsEveryPush checks that each pull request is carried by what ran or waits, and that what waits is one.
func holdsEveryPush(t *testing.T, s *store.Store, pushes int) {
	t.Helper()
	ops, err := s.Operations(t.Context(), store.Filter{Repository: 7})
	must(t, err)
	carried := map[int]bool{}
	waiting := 0
	for _, op := range ops {
		switch op.State { //nolint:exhaustive // no others come about here
		case operation.Gathered:
			into, err := s.Operation(t.Context(), op.GatheredIn)
			must(t, err)
			for _, pull := range op.Pulls {
				if !strings.Contains(fmt.Sprint(into.Pulls), strconv.Itoa(pull)) {
					t.Errorf("%s does not carry #%d of %s", into, pull, op)
				}
			}
			continue
		case operation.Queued, operation.Unconfirmed:
			waiting++
		case operation.Running:
			t.Errorf("%s is running", op)
		}
		for _, pull := range op.Pulls {
			carried[pull] = true
		}
	}
	if len(carried) != pushes || waiting > 1 {
		t.Errorf("%d of %d pushes are carried; %d operations wait", len(carried), pushes, waiting)
	}
}

func TestPushesThatAreQueuedAtOnceAreGathered(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, pgtest.New(t))
	for n := range 10 {
		each(t, all, func(i int, s *store.Store) error {
			_, _, err := s.QueueApply(t.Context(), operation.Operation{
				Kind: operation.Apply, Repository: operation.Repository{ID: 7}, Environment: "dev", Branch: "develop",
				Head: fmt.Sprint(n, "-", i/2), Pulls: []int{n*together + i/2 + 1}, // each push is seen by two of them
			})
			return err
		})
		open, err := all[0].Operations(t.Context(), store.Filter{Repository: 7, States: []operation.State{operation.Queued}})
		must(t, err)
		if len(open) != 1 || len(open[0].Pulls) != (n+1)*together/2 {
			t.Fatalf("round %d: %d wait: %+v", n, len(open), open)
		}
	}
}

func TestEightReplicasTakeOneHold(t *testing.T) {
	t.Parallel()
	all := replicasOf(t, pgtest.New(t))
	for n := range 10 {
		for _, branch := range []string{"a", "b", "c"} { // the unique index decides even where the next in line are different ones
			_, _, err := all[0].QueueApply(t.Context(), operation.Operation{
				Kind: operation.Apply, Repository: operation.Repository{ID: 7}, Environment: "dev", Branch: branch, Head: strconv.Itoa(n),
			})
			must(t, err)
		}
		var taken atomic.Int32
		each(t, all, func(_ int, s *store.Store) error {
			_, ok, err := s.TakeHold(t.Context(), 7, "dev")
			if ok {
				taken.Add(1)
			}
			return err
		})
		if taken.Load() != 1 {
			t.Fatalf("taken %d times", taken.Load())
		}
		var ended atomic.Int32
		op, _, err := all[0].Holder(t.Context(), 7, "dev")
		must(t, err)
		each(t, all, func(_ int, s *store.Store) error {
			_, err := s.Finish(t.Context(), store.Finish{Operation: op.ID, Attempt: op.Attempt, State: operation.Failed})
			if err == nil {
				ended.Add(1)
			} else if !errors.Is(err, store.ErrTransition) {
				return err
			}
			return nil
		})
		if ended.Load() != 1 {
			t.Fatalf("ended %d times", ended.Load())
		}
	}
}

func TestReplicasWriteEachSurfaceOnce(t *testing.T) {
	t.Parallel()
	const surfaces = 200
	all := replicasOf(t, pgtest.New(t))
	for i := range surfaces {
		must(t, all[0].Want(t.Context(), store.Wish{Repository: operation.Repository{ID: 7}, Kind: "check", Key: strconv.Itoa(i), Wanted: i}))
	}
	var seen sync.Map
	var written atomic.Int32
	each(t, all, func(_ int, s *store.Store) error {
		for written.Load() < surfaces {
			surface, ok, err := s.ClaimSurface(t.Context(), time.Minute)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if _, twice := seen.LoadOrStore(surface.Key, true); twice {
				t.Errorf("surface %s was claimed twice", surface.Key)
			}
			if err := s.Written(t.Context(), surface, nil); err != nil {
				return err
			}
			written.Add(1)
		}
		return nil
	})
}

// A replica's clock decides nothing: not when a lease ends, nor when a job is due.
func TestTheClockOfPostgreSQLDecides(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := replica(t, url, nil)
	must(t, s.Beat(t.Context(), "r", "one"))
	replicas, err := s.Replicas(t.Context())
	must(t, err)
	var now time.Time
	must(t, postgres(t, url).QueryRowContext(t.Context(), "SELECT clock_timestamp()").Scan(&now))
	if age := now.Sub(replicas[0].Seen); age < 0 || age > time.Minute || !replicas[0].Alive {
		t.Errorf("seen %v before the database's time: %+v", age, replicas[0])
	}
	op, err := s.CreateOperation(t.Context(), operation.Operation{Kind: operation.Plan, Repository: operation.Repository{ID: 7}})
	must(t, err)
	if age := now.Sub(op.Arrived); age > time.Minute || age < -time.Minute {
		t.Errorf("it arrived %v before the database's time", age)
	}
}

func TestAnotherReplicaIsWoken(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	one, two := replica(t, url, nil), replica(t, url, nil)
	woken := func(name string, do func() error) {
		t.Helper()
		deadline := time.After(20 * time.Second) // only a failing test waits that long
		for done := false; ; {
			wake := two.Wake()
			if !done {
				must(t, do())
				done = true
			}
			select {
			case <-wake: // or by the beginning of listening, which happens once
				_, job, err := two.Claim(t.Context(), queue.Quick, "w", time.Minute)
				must(t, err)
				_, surface, err := two.ClaimSurface(t.Context(), time.Minute)
				must(t, err)
				if job || surface {
					return
				}
			case <-deadline:
				t.Fatal(name + " wakes nobody")
			}
		}
	}
	for i := range 3 {
		woken("a job", func() error {
			return one.Enqueue(t.Context(), queue.Job{Class: queue.Quick, Kind: "k", Key: strconv.Itoa(i)})
		})
	}
	woken("a surface", func() error { return one.Want(t.Context(), store.Wish{Kind: "check", Key: "c", Wanted: 1}) })

	t.Run("also after its connection was lost", func(t *testing.T) {
		_, err := postgres(t, url).ExecContext(t.Context(),
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'switchyard' AND datname = current_database()")
		must(t, err)
		woken("a job", func() error { // its own connection is gone too, which it notices and tries again
			return one.Enqueue(t.Context(), queue.Job{Class: queue.Quick, Kind: "k", Key: "after"})
		})
	})
}

func TestLostConnectionsAreTriedAgain(t *testing.T) {
	t.Parallel()
	url := pgtest.New(t)
	s := replica(t, url, nil)
	other := postgres(t, url)
	for i := range 20 {
		_, err := other.ExecContext(t.Context(),
			"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'switchyard' AND datname = current_database()")
		must(t, err)
		fresh, err := s.Accept(t.Context(), store.Delivery{GUID: strconv.Itoa(i)}, nil)
		if err != nil || !fresh {
			t.Fatalf("Accept gives %v, %v", fresh, err)
		}
	}
}

func TestWhatTheDatabaseUndidIsTriedAgain(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		err          error
		again, after bool // before the commit, and in it
	}{
		{"a serialization failure", &pgconn.PgError{Code: "40001"}, true, true},
		{"a deadlock", &pgconn.PgError{Code: "40P01"}, true, true},
		{"a server that stops", &pgconn.PgError{Code: "57P01"}, true, false},
		{"a lost connection, whose commit may have been done", fmt.Errorf("x: %w", &pgconn.ConnectError{}), true, false},
		{"a unique violation", &pgconn.PgError{Code: "23505"}, false, false},
		{"a read-only database", &pgconn.PgError{Code: "25006"}, false, false},
		{"our own refusal", store.ErrLost, false, false},
	} {
		if again, after := store.Undone(c.err, false), store.Undone(c.err, true); again != c.again || after != c.after {
			t.Errorf("%s: %v, in a commit %v", c.name, again, after)
		}
	}
	t.Run("a deadlock that happens", func(t *testing.T) {
		t.Parallel()
		url := pgtest.New(t)
		s := replica(t, url, nil)
		for _, guid := range []string{"a", "b"} {
			_, err := s.Accept(t.Context(), store.Delivery{GUID: guid}, nil)
			must(t, err)
		}
		var ran atomic.Int32
		var group sync.WaitGroup
		barrier := make(chan struct{})
		for i, order := range [][]string{{"a", "b"}, {"b", "a"}} {
			group.Go(func() {
				err := s.Change(t.Context(), func(exec func(string, ...any) error) error {
					ran.Add(1)
					if err := exec("UPDATE deliveries SET event = 'x' WHERE guid = $1", order[0]); err != nil {
						return err
					}
					if ran.Load() <= 2 { // both have their first row
						if i == 0 {
							barrier <- struct{}{}
						} else {
							<-barrier
						}
					}
					return exec("UPDATE deliveries SET event = 'x' WHERE guid = $1", order[1])
				})
				if err != nil {
					t.Errorf("it gives %v", err)
				}
			})
		}
		group.Wait()
		if ran.Load() != 3 {
			t.Errorf("%d transactions ran", ran.Load())
		}
	})
}

// A ping says what a delivery would meet.
func TestPingTellsTheTruth(t *testing.T) {
	t.Parallel()
	t.Run("a PostgreSQL that became read-only", func(t *testing.T) {
		t.Parallel()
		url := pgtest.New(t)
		must(t, replica(t, url, nil).Ping(t.Context()))
		s := replica(t, url+"&default_transaction_read_only=on", nil)
		if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "read-only transaction") {
			t.Errorf("Ping says %v", err)
		}
	})
	t.Run("a PostgreSQL where the right to write was taken", func(t *testing.T) {
		t.Parallel()
		url := pgtest.New(t)
		owner := postgres(t, url)
		role := "r" + strings.ToLower(strings.ReplaceAll(url[strings.LastIndex(url, "/t")+1:strings.Index(url, "?")], "-", ""))
		must(t, replica(t, url, nil).Ping(t.Context()))
		statement(t, owner, "CREATE ROLE "+role+" LOGIN")
		t.Cleanup(func() {
			_, err := owner.ExecContext(context.WithoutCancel(t.Context()), "DROP OWNED BY "+role+"; DROP ROLE "+role)
			must(t, err)
		})
		statement(t, owner, "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO "+role)
		s := replica(t, strings.Replace(url, "user=switchyard", "user="+role, 1), nil)
		must(t, s.Ping(t.Context()))
		statement(t, owner, "REVOKE INSERT ON deliveries FROM "+role)
		if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "permission denied") {
			t.Errorf("Ping says %v", err)
		}
		must(t, s.Close())
	})
	t.Run("a PostgreSQL that is gone", func(t *testing.T) {
		t.Parallel()
		s := replica(t, pgtest.New(t), nil)
		must(t, s.Close())
		if err := s.Ping(t.Context()); err == nil {
			t.Error("Ping says nothing")
		}
	})
	t.Run("a SQLite whose disk is full", func(t *testing.T) {
		t.Parallel()
		s := open(t, t.TempDir()+"/s.db", clockwork.NewFakeClock())
		must(t, s.Fill(t.Context(), 1))
		if err := s.Ping(t.Context()); err == nil || !strings.Contains(err.Error(), "full") {
			t.Errorf("Ping says %v", err)
		}
		must(t, s.Fill(t.Context(), 0))
		must(t, s.Ping(t.Context()))
		must(t, s.Fill(t.Context(), 1)) // what the last ping took is free again, so the database is not quite full
		must(t, s.Ping(t.Context()))
		for i := range 100 {
			if _, err := s.Accept(t.Context(), store.Delivery{GUID: strconv.Itoa(i), Payload: make([]byte, 1<<10)}, nil); err != nil {
				break
			}
		}
		if err := s.Ping(t.Context()); err == nil {
			t.Error("Ping says nothing once deliveries are refused")
		}
	})
}

// Both databases find the next job, its lane, and the next surface by an index.
func TestClaimsGoByIndex(t *testing.T) {
	t.Parallel()
	path, url := t.TempDir()+"/s.db", pgtest.New(t)
	open(t, path, clockwork.NewFakeClock())
	replica(t, url, nil)
	lite, pg := raw(t, path), postgres(t, url)
	fill(t, lite)
	fill(t, pg)
	for _, c := range []struct{ name, query, index string }{
		{"the next job", "SELECT id FROM jobs WHERE class = 'quick' AND state = 'waiting' ORDER BY turn, id LIMIT 1", "jobs_turn"},
		{"the last turn of a lane", "SELECT MAX(turn) FROM jobs WHERE class = 'quick' AND lane = 'l7' AND state = 'waiting'", "jobs_lane"},
		{"what comes back", "SELECT id FROM jobs WHERE state IN ('resting', 'running') AND until <= 5 ORDER BY until, id LIMIT 16", "jobs_until"},
		{"the next of a key", "SELECT id FROM jobs WHERE key = 'k7' AND state = 'behind' ORDER BY turn LIMIT 1", "jobs_behind"},
		{"the first of a key", "SELECT 1 FROM jobs WHERE key = 'k7' AND state IN ('waiting', 'resting', 'running')", "jobs_first"},
		{
			"the next surface",
			"SELECT id FROM surfaces WHERE version > written AND priority = 1 AND due <= 5 AND installation NOT IN (1) ORDER BY due, id LIMIT 1",
			"surfaces_due",
		},
		{"the first in line", "SELECT id FROM operations WHERE repository = 7 AND environment = 'dev' AND exclusive = 1 AND state = 'queued' " +
			"ORDER BY priority, arrived, id LIMIT 1", "operations_line"},
		{"what is open in an environment", "SELECT id FROM operations WHERE repository = 7 AND environment = 'dev' " +
			"AND state IN ('queued') AND state IN ('queued', 'running', 'unconfirmed') ORDER BY id", "operations_open"},
	} {
		t.Run(c.name, func(t *testing.T) {
			if plan := explain(t, lite, "EXPLAIN QUERY PLAN "+c.query, 4); !strings.Contains(plan, "INDEX "+c.index) || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("SQLite: %s", plan)
			}
			if plan := explain(t, pg, "EXPLAIN "+c.query, 1); !strings.Contains(plan, c.index) || strings.Contains(plan, "Seq Scan") {
				t.Errorf("PostgreSQL: %s", plan)
			}
		})
	}
}

// fill stores many jobs of all states and many surfaces, and lets the database count them.
func fill(t *testing.T, db *sql.DB) {
	t.Helper()
	statement(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
		INSERT INTO jobs (class, kind, key, lane, payload, cause, once, state, turn, until, attempt, failures, created, worker, reason)
		SELECT 'quick', 'k', CASE WHEN i % 2 = 0 THEN 'k7' ELSE 'key' || i END, 'l' || (i % 10), '', '', 0,
			CASE WHEN i % 2 = 0 THEN 'behind' WHEN i % 11 = 0 THEN 'resting' ELSE 'waiting' END, i, i + 1, 0, 0, 0, '', '' FROM n`)
	statement(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
		INSERT INTO surfaces (repository, installation, owner, name, key, kind, priority, wanted, version, written, claimed, claim,
			claimed_until, external, not_before, retry_at, due, attempts, problem)
		SELECT 7, i % 3, '', '', 'key' || i, '', i % 2, '', 1, i % 4 / 3, 0, 0, 0, 'null', i, 0, i, 0, '' FROM n`)
	statement(t, db, `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
		INSERT INTO operations (kind, exclusive, repository, installation, owner, name, environment, state, attempt, pull, pulls, branch, base,
			head, tree, roots, actor, reason, priority, confirmed, question, doubt, gathered_in, message, host, arrived, started, ended)
		SELECT 'apply', 1, 7, 7, '', '', 'dev', CASE WHEN i % 100 = 0 THEN 'queued' ELSE 'succeeded' END, 0, 0, '[]', '', '',
			'', '', '[]', '', '', 20, '', '', '', 0, '', '', i, 0, 0 FROM n`)
	statement(t, db, "ANALYZE")
}

// explain gives the plan of a query, one of whose columns has the words.
func explain(t *testing.T, db *sql.DB, query string, columns int) string {
	t.Helper()
	rows, err := db.QueryContext(t.Context(), query)
	must(t, err)
	defer func() { must(t, rows.Close()) }()
	var plan []string
	for rows.Next() {
		row := make([]any, columns)
		for i := range row {
			row[i] = new(any)
		}
		must(t, rows.Scan(row...))
		plan = append(plan, fmt.Sprint(*row[columns-1].(*any)))
	}
	must(t, rows.Err())
	return strings.Join(plan, "\n")
}

// postgres is another program's connection to a database.
func postgres(t testing.TB, url string) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}
