package main_test

import (
	"context"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
)

// newGivenUp makes a database in which work was given up, one job a minute. Branches and reasons are as hostile as people
// can make them.
func newGivenUp(t *testing.T) audited {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	dir := t.TempDir()
	clock := clockwork.NewFakeClockAt(then)
	data, err := store.Open(ctx, fileIn(dir), clock)
	if err != nil {
		t.Fatal(err)
	}
	const network = `"repository":{"id":7,"installation":1,"owner":"acme","name":"network"}`
	for _, job := range []struct{ kind, payload, cause, reason string }{
		{"pull", `{` + network + `,"number":41}`, "0f6e2c4a-0000-4000-8000-00000000c0de", "read pull request: GET …: 502 Server Error"},
		{"push", `{` + network + `,"branch":"main\u001b[2J","before":"b"}`, "", "fetch:\n\x1b[31mfatal: " + strings.Repeat("no ", 300)},
		{"environment", `{` + network + `,"environment":"prod"}`, "", "record the start: database is locked"},
		{"plan", `{` + network + `,"operation":12,"environment":"dev","number":40}`, "", "no space left on device"},
		{"installation", `{"installation":3}`, "", "list installations: 401"},
		{"later", `not JSON`, "", "nobody does this kind of job"},
	} {
		if err := data.Enqueue(ctx, queue.Job{
			Class: queue.Quick, Kind: job.kind, Key: job.kind, Payload: []byte(job.payload), Cause: job.cause,
		}); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Minute)
		claim, _, err := data.Claim(ctx, queue.Quick, "w", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		if err := data.Dead(ctx, claim, job.reason); err != nil {
			t.Fatal(err)
		}
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	return audited{dir: dir, env: databaseVariables(fileIn(dir))}
}

func TestWorkThatWasGivenUpIsListed(t *testing.T) {
	t.Parallel()
	made := newGivenUp(t)
	for name, args := range map[string][]string{
		"jobs-dead":          {"dead"},
		"jobs-dead-json":     {"dead", "--json"},
		"jobs-dead-limit":    {"dead", "--limit", "1"},
		"jobs-dead-no-limit": {"dead", "--limit", "0"},
		"jobs-retry-unknown": {"retry", "99"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			same(t, filepath.Join("testdata", name+".golden"), call{env: made.env, args: append([]string{"jobs"}, args...)}.transcript(t))
		})
	}
}

func TestWorkThatWasGivenUpIsDoneAgainByAServerThatRuns(t *testing.T) {
	t.Parallel()
	made := newGivenUp(t)
	ctx := context.WithoutCancel(t.Context())
	server, err := store.Open(ctx, fileIn(made.dir), clockwork.NewFakeClockAt(then))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	same(t, filepath.Join("testdata", "jobs-retry.golden"), call{env: made.env, args: []string{"jobs", "retry", "1"}}.transcript(t))
	same(t, filepath.Join("testdata", "jobs-retry-again.golden"), call{env: made.env, args: []string{"jobs", "retry", "1"}}.transcript(t))
	claim, ok, err := server.Claim(ctx, queue.Quick, "w", time.Hour)
	if err != nil || !ok || claim.Job.Kind != "pull" || claim.Failures != 0 {
		t.Errorf("the server claims %+v, %v, %v", claim, ok, err)
	}
	trail, err := server.AuditTrail(ctx, store.AuditFilter{Repository: 7})
	if err != nil || len(trail) != 1 || trail[0].What != "retried pull" || !strings.HasSuffix(trail[0].Who, "on the server") {
		t.Errorf("recorded: %+v, %v", trail, err)
	}
}

func TestNoWorkWasGivenUp(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := newAudited(t, fileIn(dir), dir, then)
	same(t, filepath.Join("testdata", "jobs-dead-none.golden"), call{env: made.env, args: []string{"jobs", "dead"}}.transcript(t))
}
