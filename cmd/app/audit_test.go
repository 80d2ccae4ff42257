package main_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// audited is a database with some history.
type audited struct {
	dir    string
	source string
	env    []string
}

// history is written to the databases of these tests. Names and reasons that people chose are as hostile as they can be.
var history = []store.Audit{
	{Repository: 7, Environment: "prod", Who: "ana", What: "apply queued", Why: "commits were pushed to main", Operation: 20},
	{Repository: 7, Environment: "prod", Who: "switchyard", What: "hold taken", Why: "it was next in line", Operation: 20},
	{Repository: 8, Environment: "prod", Who: "ben", What: "/status", Why: "comment 1 on #2: /status", Delivery: "elsewhere"},
	{
		Repository: 7, Environment: "dev", Who: "mallory", What: "refused /apply dev \x1b[2J\u202egnihton\u009b1A\U000e0041",
		Why:      "comment 5 on #41: /apply\r\nTIME  ana  /apply prod\t" + strings.Repeat("long ", 200),
		Delivery: "0f6e2c4a-0000-4000-8000-00000000c0de",
	},
	{Repository: 7, Environment: "prod", Who: "switchyard", What: "apply succeeded", Operation: 20},
}

// newAudited makes a database with history, one line a minute, the last of them now or at a given time.
func newAudited(t *testing.T, source, dir string, last time.Time) audited {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	clock := clockwork.NewFakeClockAt(last.Add(-time.Duration(len(history)-1) * time.Minute))
	data, err := store.Open(ctx, source, clock)
	if err != nil {
		t.Fatal(err)
	}
	for id, name := range map[int64]string{7: "network", 8: "shop"} {
		repo := operation.Repository{ID: id, Installation: 1, Owner: "acme", Name: name}
		if err := data.SaveRepository(ctx, repo, "main"); err != nil {
			t.Fatal(err)
		}
	}
	for _, line := range history {
		if err := data.Append(ctx, line); err != nil {
			t.Fatal(err)
		}
		clock.Advance(time.Minute)
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	return audited{dir: dir, source: source, env: serverVariables(t, source)}
}

// serverVariables are the variables of a server on a database.
func serverVariables(t *testing.T, source string) []string {
	t.Helper()
	return []string{
		"SWITCHYARD_APP_ID=1", "SWITCHYARD_WEBHOOK_SECRETS=hush", "SWITCHYARD_PRIVATE_KEY_FILE=" + key(t, t.TempDir()),
		"SWITCHYARD_DATABASE=" + source,
	}
}

func fileIn(dir string) string { return "sqlite:" + filepath.Join(dir, "switchyard.db") }

var then = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func TestTheAuditReads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	old := newAudited(t, fileIn(dir), dir, then)
	for name, args := range map[string][]string{
		"audit":                {"--repo", "acme/network"},
		"audit-environment":    {"--repo", "ACME/Network", "--environment", "prod"},
		"audit-since":          {"--repo", "acme/network", "--since", "2026-11-21T11:58:30Z"},
		"audit-limit":          {"--repo", "acme/network", "--limit", "2"},
		"audit-json":           {"--repo", "acme/network", "--json"},
		"audit-by-id":          {"--repo", "8", "--json"},
		"audit-by-removed-id":  {"--repo", "9"},
		"audit-nothing":        {"--repo", "acme/network", "--environment", "prd", "--since", "2026-11-21"},
		"audit-unknown":        {"--repo", "acme/netwrk"},
		"audit-not-a-name":     {"--repo", "network"},
		"audit-not-a-time":     {"--repo", "acme/network", "--since", "yesterday"},
		"audit-not-a-number":   {"--repo", "acme/network", "--limit", "0"},
		"audit-of-nothing":     nil,
		"audit-negative-since": {"--repo", "acme/network", "--since=-1h"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// SQLite serves one process at a time, and these run side by side.
			env := append(slices.Clone(old.env), "SWITCHYARD_DATABASE="+copied(t, old.source, t.TempDir())) // the last one counts
			same(t, filepath.Join("testdata", name+".golden"), call{env: env, args: append([]string{"audit"}, args...)}.transcript(t))
		})
	}
}

// copied is a copy of a database that nobody uses.
func copied(t *testing.T, source, dir string) string {
	t.Helper()
	write(t, filepath.Join(dir, "switchyard.db"), page(t, strings.TrimPrefix(source, "sqlite:")))
	return fileIn(dir)
}

func TestTheAuditIsReadFromPostgreSQLWhileServersUseIt(t *testing.T) {
	t.Parallel()
	source := pgtest.New(t)
	made := newAudited(t, source, t.TempDir(), then)
	server, err := store.Open(context.WithoutCancel(t.Context()), source, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	got := call{env: made.env, args: []string{"audit", "--repo", "acme/network"}}.transcript(t)
	same(t, filepath.Join("testdata", "audit.golden"), got)
}

func TestHowLongAgoIsToldByTheDatabasesClock(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := newAudited(t, fileIn(dir), dir, clockwork.NewRealClock().Now().Add(-time.Hour))
	for since, want := range map[string]int{"30m": 0, "7d": 4, "61m30s": 2} {
		stdout, stderr, status := call{env: made.env, args: []string{"audit", "--repo", "acme/network", "--json", "--since", since}}.switchyard(t)
		if got := strings.Count(stdout, "\n"); got != want || status != 0 {
			t.Errorf("--since %s prints %d lines, want %d (status %d): %s", since, got, want, status, stderr)
		}
	}
}

func TestJSONLinesHoldAllOfTheText(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := newAudited(t, fileIn(dir), dir, then)
	stdout, _, _ := call{env: made.env, args: []string{"audit", "--repo", "acme/network", "--environment", "dev", "--json"}}.switchyard(t)
	var line struct{ What, Why string }
	if err := json.Unmarshal([]byte(stdout), &line); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{history[3].What, history[3].Why}, []string{line.What, line.Why}); diff != "" {
		t.Error(diff)
	}
}

// TestTheAuditSaysWhatToDoWhereItCannotBeRead also holds the file that the server uses to the one that is read.
func TestTheAuditSaysWhatToDoWhereItCannotBeRead(t *testing.T) {
	t.Parallel()
	t.Run("a server uses the file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		made := newAudited(t, fileIn(dir), dir, then)
		server, err := store.Open(context.WithoutCancel(t.Context()), made.source, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = server.Close() }()
		made.refused(t, "audit-in-use")
	})
	t.Run("there is no database", func(t *testing.T) {
		t.Parallel()
		made := audited{dir: t.TempDir()}
		made.env = serverVariables(t, fileIn(made.dir))[:3]
		made.env = append(made.env, "SWITCHYARD_DATA_DIR="+made.dir)
		made.refused(t, "audit-no-database")
		if found, err := filepath.Glob(made.dir + "/*"); err != nil || len(found) > 0 {
			t.Errorf("it left %v, %v", found, err)
		}
	})
	t.Run("there are no settings", func(t *testing.T) {
		t.Parallel()
		audited{dir: "/nowhere"}.refused(t, "audit-without-settings")
	})
	t.Run("PostgreSQL does not answer", func(t *testing.T) {
		t.Parallel()
		made := audited{env: serverVariables(t, "postgres://switchyard:sesame@127.0.0.1:1/switchyard?connect_timeout=1")}
		_, stderr, status := call{env: made.env, args: []string{"audit", "--repo", "acme/network"}}.switchyard(t)
		if status == 0 || strings.Contains(stderr, "sesame") || !strings.Contains(stderr, "SWITCHYARD_DATABASE") {
			t.Errorf("status %d: %s", status, stderr)
		}
	})
}

// refused holds what a refusal reads like, whatever the name of the directory.
func (a audited) refused(t *testing.T, name string) {
	t.Helper()
	got := call{env: a.env, args: []string{"audit", "--repo", "acme/network"}}.transcript(t)
	same(t, filepath.Join("testdata", name+".golden"), strings.ReplaceAll(got, a.dir, "/var/lib/switchyard"))
}
