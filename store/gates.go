package store

import (
	"context"
	"strings"
	"time"

	"github.com/switchyard-dev/switchyard/operation"
)

// Gate is what was said to a job that waited for a word on its GitHub Environment.
type Gate struct {
	Repository  int64
	Run         int64     // GitHub's id
	Attempt     int       // of the run
	Environment string    // of GitHub; large and small letters are the same to it
	Answer      string    // approved, rejected, or GateOver; empty while it waits
	Said        string    // the newest report while it waited
	Reports     int       // how many there were
	Misses      int       // how often since the last answer GitHub had nothing that waited
	At          time.Time // of the newest change; set by SaveGate
}

// GateOver is the Answer to a job whose run ended before there was any.
const GateOver = "over"

func scanGate(row scanner) (Gate, error) {
	var g Gate
	var at int64
	err := row.Scan(&g.Repository, &g.Run, &g.Attempt, &g.Environment, &g.Answer, &g.Said, &g.Reports, &g.Misses, &at)
	g.At = moment(at)
	return g, err //nolint:wrapcheck // list wraps it
}

const selectGate = `SELECT repository, run, attempt, name, answer, said, reports, misses, at FROM gates`

// WaitingGates are those of a repository about which was reported since then and not answered.
func (s *Store) WaitingGates(ctx context.Context, repository int64, since time.Time) ([]Gate, error) {
	gates, err := list(ctx, s.read, scanGate, selectGate+` WHERE repository = $1 AND at >= $2 AND answer = '' AND said <> ''
		ORDER BY run, attempt, environment`, repository, millis(since))
	return gates, wrap("list what waits for a word", err)
}

// Gate is what was said about one environment to an attempt of a run; only its key where nothing was.
func (s *Store) Gate(ctx context.Context, repository, run int64, attempt int, environment string) (Gate, error) {
	gate, ok, err := one(ctx, s.read, scanGate, selectGate+` WHERE repository = $1 AND run = $2 AND attempt = $3 AND environment = $4`,
		repository, run, attempt, strings.ToLower(environment))
	if !ok {
		gate = Gate{Repository: repository, Run: run, Attempt: attempt, Environment: environment}
	}
	return gate, wrap("read what was said to a run", err)
}

// SaveGate keeps what was said.
func (s *Store) SaveGate(ctx context.Context, g Gate) error {
	return s.change(ctx, "keep what was said to a run", func(t *tx) error {
		_, err := exec(ctx, t, `
			INSERT INTO gates (repository, run, attempt, environment, name, answer, said, reports, misses, at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
			ON CONFLICT (repository, run, attempt, environment) DO UPDATE SET
				answer = excluded.answer, said = excluded.said, reports = excluded.reports, misses = excluded.misses, at = excluded.at`,
			g.Repository, g.Run, g.Attempt, strings.ToLower(g.Environment), g.Environment, g.Answer, g.Said, g.Reports, g.Misses, t.now)
		return err
	})
}

// EndGates notes that a run has ended: nothing of it waits for a word any more.
func (s *Store) EndGates(ctx context.Context, repository, run int64) error {
	return s.put(ctx, "note that nothing of a run waits any more",
		`UPDATE gates SET answer = $3 WHERE repository = $1 AND run = $2 AND answer = ''`, repository, run, GateOver)
}

// Gated lists the repositories in which runs may wait for a word now: those in whose workflows an operation runs, and those in
// which a run has waited since then.
func (s *Store) Gated(ctx context.Context, since time.Time) ([]operation.Repository, error) {
	known, err := list(ctx, s.read, scanRepository, selectRepository+` WHERE id IN (SELECT repository FROM gates WHERE at >= $1)
		OR id IN (SELECT runs.repository FROM runs JOIN operations ON operations.id = runs.operation WHERE operations.state = $2)
		ORDER BY id`, millis(since), string(operation.Running))
	repos := make([]operation.Repository, len(known))
	for i, r := range known {
		repos[i] = r.Repository
	}
	return repos, wrap("find repositories whose runs may wait", err)
}

// RunNumbered is the attempt at an operation that a workflow run carries out, by GitHub's id of the run; false where it carries out none.
func (s *Store) RunNumbered(ctx context.Context, repository, run int64) (operation.WorkflowRun, bool, error) {
	if run == 0 {
		return operation.WorkflowRun{}, false, nil
	}
	found, ok, err := one(ctx, s.read, scanRun, selectRun+` WHERE repository = $1 AND run = $2`, repository, run)
	return found, ok, wrap("find what a workflow run is for", err)
}

// RunsOf are the workflow runs that were asked for of one attempt at an operation of a repository.
func (s *Store) RunsOf(ctx context.Context, repository, id int64, attempt int) ([]operation.WorkflowRun, error) {
	runs, err := list(ctx, s.read, scanRun, selectRun+` WHERE repository = $1 AND operation = $2 AND attempt = $3`, repository, id, attempt)
	return runs, wrap("find the workflow runs of an operation", err)
}
