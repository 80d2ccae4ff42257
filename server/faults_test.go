package server_test

import (
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"github.com/switchyard-dev/switchyard/sandbox"
)

// database opens the server's database beside it, to make it fail.
func (w *world) database() *sql.DB {
	w.t.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(w.data, "switchyard.db")+"?_pragma=busy_timeout(5000)")
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = db.Close() })
	return db
}

// full has each insertion into a table, and each update of it, fail like on a full disk, until what it returns is called.
func (w *world) full(db *sql.DB, table string) (again func()) {
	w.t.Helper()
	run := func(statement string) {
		w.t.Helper()
		if _, err := db.ExecContext(w.ctx, statement); err != nil {
			w.t.Fatal(err)
		}
	}
	for _, verb := range []string{"INSERT", "UPDATE"} {
		run("CREATE TRIGGER full_" + verb + " BEFORE " + verb + " ON " + table + " BEGIN SELECT RAISE(ABORT, 'database or disk is full'); END")
	}
	return func() {
		w.t.Helper()
		run("DROP TRIGGER full_INSERT")
		run("DROP TRIGGER full_UPDATE")
	}
}

// newLoggedShop is a shop whose server's log can be waited for.
func newLoggedShop(t *testing.T) (*shop, *logged) {
	t.Helper()
	log := newLogged()
	return newShopOn(t, newWorldThatLogs(t, zerolog.New(log)), nil), log
}

func TestAFullDatabaseFailsTheDeliveryAndLeavesNothingHalfDone(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"deliveries", "jobs"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			s, _ := newLoggedShop(t)
			s.planned(s.open("feature/first", "develop", map[string]string{"infra/first.tf": called("zero")}), "dev")
			again := s.full(s.database(), table)
			number := s.open("feature/second", "develop", map[string]string{"infra/second.tf": secondFile})
			var failed []int64
			s.eventually("the delivery has failed", func() bool {
				failed = nil
				for _, delivery := range s.Box.Deliveries() {
					if delivery.StatusCode == http.StatusInternalServerError {
						failed = append(failed, delivery.ID)
					}
				}
				return len(failed) >= 2 // the push and the pull request
			})
			again()
			for _, id := range failed {
				if err := s.Box.Redeliver(id); err != nil {
					t.Fatal(err)
				}
			}
			s.planned(number, "dev")
		})
	}
}

func TestWhatCouldNotBeRecordedForAMomentIsShownAfterwardsAndNothingRunsTwice(t *testing.T) {
	t.Parallel()
	for _, table := range []string{"surfaces", "operations", "holds", "targets"} {
		t.Run(table, func(t *testing.T) {
			t.Parallel()
			s, log := newLoggedShop(t)
			g := s.gate(t)
			number := s.open("feature/slow", "develop", g.file())
			s.planned(number, "dev")
			s.said(number, "Plan for dev")
			sha := s.merge(number)
			g.began()
			s.checkOf(sha, "switchyard / apply (dev)", "is shown", func(sandbox.Check) bool { return true })
			again := s.full(s.database(), table)
			g.open()
			log.await(t, "database or disk is full", "job failed", `"kind":"environment"`)
			again()
			s.checkIs(sha, "switchyard / apply (dev)", "success")
			s.said(number, "Applied to dev")
			if got := len(s.repo.Deployments("dev")); got != 1 {
				t.Errorf("%d deployments, want one", got)
			}
			if got := strings.Count(s.state("dev"), `"name": "slow"`); got != 1 {
				t.Errorf("the state has %d of what one apply makes", got)
			}
		})
	}
}
