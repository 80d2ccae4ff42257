package store_test

import (
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// databases opens a store on each database, as it runs in production.
var databases = []struct {
	name string
	open func(b *testing.B) *store.Store
}{
	{"SQLite", func(b *testing.B) *store.Store { return replica(b, "sqlite:"+b.TempDir()+"/s.db", nil) }},
	{"PostgreSQL", func(b *testing.B) *store.Store { return replica(b, pgtest.Durable(b), nil) }},
}

// BenchmarkClaim is a claim and the end of its job while others wait: ready ones of many lanes, ones
// behind a job that runs, and ones whose time has not come. Its ratio is to the same with ten that wait.
func BenchmarkClaim(b *testing.B) {
	for _, database := range databases {
		least := 0.0
		for _, waiting := range []int{10, 1_000, 100_000} {
			b.Run(fmt.Sprintf("%s/waiting=%d", database.name, waiting), func(b *testing.B) {
				s := database.open(b)
				backlog(b, s, waiting)
				var took []time.Duration
				b.ResetTimer()
				for i := range b.N * 100 {
					began := time.Now()
					c, ok, err := s.Claim(b.Context(), queue.Quick, "w", time.Minute)
					if err != nil || !ok {
						b.Fatal(ok, err)
					}
					if err := s.Done(b.Context(), c); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began))
					b.StopTimer()
					enqueue(b, s, ready("again", i)) // as many wait as before
					b.StartTimer()
				}
				p50 := percentile(took, 50)
				if waiting == 10 {
					least = p50
				}
				b.ReportMetric(p50, "p50-ms")
				b.ReportMetric(percentile(took, 99), "p99-ms")
				b.ReportMetric(p50/least, "x-of-10")
				b.ReportMetric(0, "ns/op") // a hundred of them
			})
		}
	}
}

// BenchmarkAccept is 16 webhooks at a time that are stored with the job that follows.
func BenchmarkAccept(b *testing.B) {
	for _, database := range databases {
		b.Run(database.name, func(b *testing.B) {
			s := database.open(b)
			const senders = 16
			total := b.N * 1000
			payload := make([]byte, 8<<10)
			for i := range payload {
				payload[i] = byte('a' + i*i%26)
			}
			var next atomic.Int64
			all := make([][]time.Duration, senders)
			var group sync.WaitGroup
			b.ResetTimer()
			for sender := range senders {
				group.Go(func() {
					for i := int(next.Add(1)); i <= total; i = int(next.Add(1)) {
						began := time.Now()
						if _, err := s.Accept(b.Context(), store.Delivery{GUID: strconv.Itoa(i), Event: "push", Payload: payload},
							[]queue.Job{ready("k", i%500)}); err != nil {
							b.Error(err)
						}
						all[sender] = append(all[sender], time.Since(began))
					}
				})
			}
			group.Wait()
			took := slices.Concat(all...)
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "deliveries/s")
			b.ReportMetric(percentile(took, 50), "p50-ms")
			b.ReportMetric(percentile(took, 99), "p99-ms")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// backlog queues a number of jobs: a third can be claimed, the others are behind one that runs or rest.
func backlog(b *testing.B, s *store.Store, number int) {
	b.Helper()
	enqueue(b, s, queue.Job{Class: queue.Quick, Kind: "k", Key: "blocked"})
	if _, ok, err := s.Claim(b.Context(), queue.Quick, "w", time.Hour); err != nil || !ok {
		b.Fatal(ok, err)
	}
	const batch = 1000
	var jobs []queue.Job
	for i := range number {
		switch i % 3 {
		case 0:
			jobs = append(jobs, ready("k", i))
		case 1:
			jobs = append(jobs, queue.Job{Class: queue.Quick, Kind: "k", Key: "blocked"})
		case 2:
			job := ready("rests", i)
			job.Class = queue.Long
			jobs = append(jobs, job)
		}
		if len(jobs) == batch || i == number-1 {
			enqueue(b, s, jobs...)
			jobs = nil
		}
	}
	if number <= batch { // with more, resting ones would take longer to make than to measure
		for range number / 3 {
			c, ok, err := s.Claim(b.Context(), queue.Long, "w", time.Minute)
			if err != nil || !ok {
				b.Fatal(ok, err)
			}
			if err := s.Wait(b.Context(), c, time.Hour, "a rate limit"); err != nil {
				b.Fatal(err)
			}
		}
	}
}

func ready(key string, i int) queue.Job {
	return queue.Job{Class: queue.Quick, Kind: "k", Key: fmt.Sprint(key, i), Lane: fmt.Sprint("lane", i%20)}
}

func enqueue(b *testing.B, s *store.Store, jobs ...queue.Job) {
	b.Helper()
	if err := s.Enqueue(b.Context(), jobs...); err != nil {
		b.Fatal(err)
	}
}

// percentile is the p-th of the durations, in milliseconds.
func percentile(took []time.Duration, p int) float64 {
	slices.Sort(took)
	return float64(took[len(took)*p/100].Microseconds()) / 1000
}

// BenchmarkWaitingOperation is what one more apply costs that waits, gets its hold and ends, with so many operations in
// the tables: a tenth wait for other environments, the others have ended, half of them in the same environment. Its ratio
// is to the same with ten.
func BenchmarkWaitingOperation(b *testing.B) {
	for _, database := range databases {
		least := 0.0
		for _, rows := range []int{10, 1_000, 100_000} {
			b.Run(fmt.Sprintf("%s/rows=%d", database.name, rows), func(b *testing.B) {
				s := database.open(b)
				history(b, s, rows)
				op := operation.Operation{
					Kind: operation.Apply, Repository: operation.Repository{ID: 7, Installation: 1, Owner: "acme", Name: "network"},
					Environment: "prod", Branch: "main", Pulls: []int{41}, Priority: 20, Actor: "ana",
				}
				var took []time.Duration
				b.ResetTimer()
				for i := range b.N * 100 {
					op.Head = fmt.Sprint("commit", i)
					began := time.Now()
					if _, _, err := s.QueueApply(b.Context(), op); err != nil {
						b.Fatal(err)
					}
					next, ok, err := s.TakeHold(b.Context(), op.Repository.ID, "prod")
					if err != nil || !ok {
						b.Fatal(ok, err)
					}
					end := store.Finish{Operation: next.ID, Attempt: next.Attempt, State: operation.Succeeded}
					if _, err := s.Finish(b.Context(), end); err != nil {
						b.Fatal(err)
					}
					took = append(took, time.Since(began))
				}
				p50 := percentile(took, 50)
				if rows == 10 {
					least = p50
				}
				b.ReportMetric(p50, "p50-ms")
				b.ReportMetric(percentile(took, 99), "p99-ms")
				b.ReportMetric(p50/least, "x-of-10")
				b.ReportMetric(0, "ns/op") // a hundred of them
			})
		}
	}
}

// history fills the table of operations.
func history(b *testing.B, s *store.Store, rows int) {
	b.Helper()
	err := s.Change(b.Context(), func(exec func(string, ...any) error) error {
		return exec(`WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < CAST($1 AS BIGINT))
			INSERT INTO operations (kind, exclusive, repository, installation, owner, name, environment, state, attempt, pull, pulls, branch,
				base, head, tree, roots, actor, reason, priority, confirmed, question, doubt, gathered_in, message, host, arrived, started, ended)
			SELECT 'apply', 1, 7, 1, 'acme', 'network', CASE i % 2 WHEN 0 THEN 'prod' ELSE 'other' || CAST(i % 50 AS TEXT) END,
				CASE i % 10 WHEN 1 THEN 'queued' ELSE 'succeeded' END, 1, 41, '[41]', 'main', '', 'old' || CAST(i AS TEXT), '', '[]', 'ana', '',
				20, '', '', '', 0, '', '', i, i + 1, i + 2 FROM n`, rows)
	})
	if err != nil {
		b.Fatal(err)
	}
}
