package main_test

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"io"
	"math"
	"os"
	"path/filepath"
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
	return audited{dir: dir, source: source, env: databaseVariables(source)}
}

// databaseVariables are the variables that a person has who may read a database, and has no secret of the server.
func databaseVariables(source string) []string { return []string{"SWITCHYARD_DATABASE=" + source} }

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
			same(t, filepath.Join("testdata", name+".golden"), call{env: old.env, args: append([]string{"audit"}, args...)}.transcript(t))
		})
	}
}

func TestTheAuditIsReadFromAFileWhileAServerUsesItAndLeavesItAsItIs(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	made := newAudited(t, fileIn(dir), dir, then)
	// Opened once and before the server opens it: to close a file ends the locks that SQLite has on it in this process.
	file, err := os.Open(filepath.Join(dir, "switchyard.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	content := func() []byte {
		data, err := io.ReadAll(io.NewSectionReader(file, 0, math.MaxInt64))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	ctx := context.WithoutCancel(t.Context())
	server, err := store.Open(ctx, made.source, clockwork.NewFakeClockAt(then))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	before := content()

	got := call{env: made.env, args: []string{"audit", "--repo", "acme/network"}}.transcript(t)
	same(t, filepath.Join("testdata", "audit.golden"), got)
	if !bytes.Equal(before, content()) {
		t.Error("the file was changed")
	}

	if err := server.Append(ctx, store.Audit{Repository: 7, Who: "ana", What: "/why"}); err != nil {
		t.Fatalf("afterwards the server cannot write: %v", err)
	}
	stdout, stderr, _ := call{env: made.env, args: []string{"audit", "--repo", "acme/network", "--limit", "1", "--json"}}.switchyard(t)
	if !strings.Contains(stdout, `"what":"/why"`) {
		t.Errorf("what the server has just written is not shown: %s%s", stdout, stderr)
	}
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

func TestTheAuditSaysWhatToDoWhereItCannotBeRead(t *testing.T) {
	t.Parallel()
	t.Run("a newer server uses the file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		made := newAudited(t, fileIn(dir), dir, then)
		db, err := sql.Open("sqlite", filepath.Join(dir, "switchyard.db"))
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = db.Close() }()
		if _, err := db.ExecContext(t.Context(), "INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)"); err != nil {
			t.Fatal(err)
		}
		made.refused(t, "audit-newer")
	})
	t.Run("the file is not a database", func(t *testing.T) {
		t.Parallel()
		made := audited{dir: t.TempDir()}
		made.env = databaseVariables(fileIn(made.dir))
		write(t, filepath.Join(made.dir, "switchyard.db"), strings.Repeat("garbage ", 1000))
		made.refused(t, "audit-not-a-database")
	})
	t.Run("there is no database", func(t *testing.T) {
		t.Parallel()
		made := audited{dir: t.TempDir()}
		made.env = []string{"SWITCHYARD_DATA_DIR=" + made.dir}
		made.refused(t, "audit-no-database")
		if found, err := filepath.Glob(made.dir + "/*"); err != nil || len(found) > 0 {
			t.Errorf("it left %v, %v", found, err)
		}
	})
	t.Run("the settings are wrong", func(t *testing.T) {
		t.Parallel()
		env := []string{"SWITCHYARD_DATABASE=mysql://switchyard:sesame@host/switchyard", "SWITCHYARD_DATA_DIR=data", "SWITCHYARD_DATABSE=x"}
		audited{dir: "/nowhere", env: env}.refused(t, "audit-wrong-settings")
	})
	t.Run("PostgreSQL does not answer", func(t *testing.T) {
		t.Parallel()
		made := audited{env: databaseVariables("postgres://switchyard:sesame@127.0.0.1:1/switchyard?connect_timeout=1")}
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
