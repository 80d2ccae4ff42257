package store_test

import (
	"bytes"
	"database/sql"
	"errors"
	"io"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jonboulle/clockwork"

	"github.com/switchyard-dev/switchyard/operation"
	"github.com/switchyard-dev/switchyard/queue"
	"github.com/switchyard-dev/switchyard/store"
	"github.com/switchyard-dev/switchyard/store/pgtest"
)

// openToRead opens a database only to read it.
func openToRead(t *testing.T, source string) *store.Store {
	t.Helper()
	s, err := store.OpenToRead(t.Context(), source)
	must(t, err)
	t.Cleanup(func() { _ = s.Close() }) // some tests have closed it already
	return s
}

// recorded are the whats of a database's audit.
func recorded(t *testing.T, s *store.Store) []string {
	t.Helper()
	trail, err := s.AuditTrail(t.Context(), store.AuditFilter{Ascending: true})
	must(t, err)
	whats := make([]string, 0, len(trail))
	for _, line := range trail {
		whats = append(whats, line.What)
	}
	return whats
}

// watched reads a file again and again without closing it: that would end the locks that SQLite has on
// it in this process, https://www.sqlite.org/howtocorrupt.html#_posix_advisory_locks_canceled_by_a_separate_thread_doing_close_.
func watched(t *testing.T, path string) (read func() []byte) {
	t.Helper()
	file, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { must(t, file.Close()) })
	return func() []byte {
		info, err := file.Stat()
		must(t, err)
		data, err := io.ReadAll(io.NewSectionReader(file, 0, info.Size()))
		must(t, err)
		return data
	}
}

// filesIn are the names in a directory.
func filesIn(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	must(t, err)
	names := make([]string, 0, len(entries))
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestADatabaseIsReadBesideItsServer(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, server *store.Store, source string) {
		t.Helper()
		must(t, server.Append(t.Context(), store.Audit{What: "first"}))
		reader := openToRead(t, source)
		must(t, server.Append(t.Context(), store.Audit{What: "second"}))
		if diff := cmp.Diff([]string{"first", "second"}, recorded(t, reader)); diff != "" {
			t.Error(diff)
		}
		must(t, reader.Close())
		must(t, server.Append(t.Context(), store.Audit{What: "third"}))
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s.db")
		check(t, open(t, path, clockwork.NewFakeClock()), "sqlite:"+path)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		source := pgtest.New(t)
		check(t, replica(t, source, nil), source)
	})
}

func TestReadingChangesNothing(t *testing.T) {
	t.Parallel()
	unchanged := func(t *testing.T, read func() []byte, before []byte) {
		t.Helper()
		if !bytes.Equal(before, read()) {
			t.Error("the file was changed")
		}
	}
	t.Run("while a server runs, which keeps what it has claimed", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s.db")
		server := open(t, path, clockwork.NewFakeClock())
		must(t, server.Enqueue(t.Context(), queue.Job{Class: queue.Quick, Kind: "pull", Key: "1#1"}))
		claim, ok, err := server.Claim(t.Context(), queue.Quick, "w", time.Hour)
		if err != nil || !ok {
			t.Fatal(ok, err)
		}
		main, wal := watched(t, path), watched(t, path+"-wal")
		mainBefore, walBefore := main(), wal()
		reader := openToRead(t, "sqlite:"+path)
		recorded(t, reader)
		must(t, reader.Close())
		unchanged(t, main, mainBefore)
		unchanged(t, wal, walBefore)
		must(t, server.Done(t.Context(), claim))
	})
	t.Run("after the server has ended", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		path := filepath.Join(dir, "s.db")
		server := open(t, path, clockwork.NewFakeClock())
		must(t, server.Append(t.Context(), store.Audit{What: "first"}))
		must(t, server.Close())
		must(t, os.Remove(path+".lock"))
		read := watched(t, path)
		before := read()
		reader := openToRead(t, "sqlite:"+path)
		if diff := cmp.Diff([]string{"first"}, recorded(t, reader)); diff != "" {
			t.Error(diff)
		}
		must(t, reader.Close())
		unchanged(t, read, before)
		if slices.Contains(filesIn(t, dir), "s.db.lock") {
			t.Error("it made a lock file")
		}
		open(t, path, clockwork.NewFakeClock())
	})
	t.Run("after the server was killed, and its last lines are read all the same", func(t *testing.T) {
		t.Parallel()
		path, left := filepath.Join(t.TempDir(), "s.db"), filepath.Join(t.TempDir(), "s.db")
		server := open(t, path, clockwork.NewFakeClock())
		must(t, server.Append(t.Context(), store.Audit{What: "last"}))
		for _, suffix := range []string{"", "-wal"} {
			must(t, os.WriteFile(left+suffix, watched(t, path+suffix)(), 0o600))
		}
		main, wal := watched(t, left), watched(t, left+"-wal")
		mainBefore, walBefore := main(), wal()
		reader := openToRead(t, "sqlite:"+left)
		if diff := cmp.Diff([]string{"last"}, recorded(t, reader)); diff != "" {
			t.Error(diff)
		}
		must(t, reader.Close())
		unchanged(t, main, mainBefore)
		unchanged(t, wal, walBefore)
	})
	t.Run("of a database in another journal mode", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		path, copied := filepath.Join(dir, "s.db"), filepath.Join(dir, "copy.db")
		server := open(t, path, clockwork.NewFakeClock())
		must(t, server.Append(t.Context(), store.Audit{What: "first"}))
		statement(t, raw(t, path), "VACUUM INTO '"+copied+"'")
		read := watched(t, copied)
		before := read()
		reader := openToRead(t, "sqlite:"+copied)
		if diff := cmp.Diff([]string{"first"}, recorded(t, reader)); diff != "" {
			t.Error(diff)
		}
		must(t, reader.Close())
		unchanged(t, read, before)
	})
	t.Run("and what root leaves beside the file belongs to the server's user, or the server could not start again", func(t *testing.T) {
		t.Parallel()
		if os.Geteuid() != 0 {
			t.Skip("only root can give files away")
		}
		const nobody = 65534
		path := filepath.Join(t.TempDir(), "s.db")
		must(t, open(t, path, clockwork.NewFakeClock()).Close())
		must(t, os.Chown(path, nobody, nobody))
		must(t, openToRead(t, "sqlite:"+path).Close())
		for _, suffix := range []string{"-wal", "-shm"} {
			info, err := os.Stat(path + suffix)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			must(t, err)
			if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != nobody || info.Mode().Perm() != 0o600 {
				t.Errorf("%s belongs to %+v", suffix, info.Sys())
			}
		}
	})
	t.Run("where there is no file", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		_, err := store.OpenToRead(t.Context(), "sqlite:"+filepath.Join(dir, "s.db"))
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
		if names := filesIn(t, dir); len(names) > 0 {
			t.Errorf("it made %v", names)
		}
	})
	t.Run("of a PostgreSQL database without tables", func(t *testing.T) {
		t.Parallel()
		source := pgtest.New(t)
		if _, err := store.OpenToRead(t.Context(), source); err == nil {
			t.Error("it was opened")
		}
		db, err := sql.Open("pgx", source)
		must(t, err)
		defer func() { must(t, db.Close()) }()
		var tables int
		must(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables))
		if tables != 0 {
			t.Errorf("it made %d tables", tables)
		}
	})
}

func TestWhatIsOpenToReadCannotBeWritten(t *testing.T) {
	t.Parallel()
	check := func(t *testing.T, source string) {
		t.Helper()
		s := openToRead(t, source)
		ctx := t.Context()
		for name, write := range map[string]func() error{
			"Append":         func() error { return s.Append(ctx, store.Audit{What: "x"}) },
			"Beat":           func() error { return s.Beat(ctx, "id", "host") },
			"Enqueue":        func() error { return s.Enqueue(ctx, queue.Job{Class: queue.Quick, Kind: "k", Key: "k"}) },
			"Ping":           func() error { return s.Ping(ctx) },
			"SaveRepository": func() error { return s.SaveRepository(ctx, operation.Repository{ID: 1}, "main") },
			"Claim": func() error {
				_, _, err := s.Claim(ctx, queue.Quick, "w", time.Minute)
				return err
			},
		} {
			if err := write(); !errors.Is(err, store.ErrReadOnly) {
				t.Errorf("%s gives %v", name, err)
			}
		}
		err := s.Overwrite(ctx, "DELETE FROM goose_db_version")
		if err == nil || !strings.Contains(strings.ReplaceAll(err.Error(), "-", ""), "readonly") {
			t.Errorf("a connection that writes gives %v", err)
		}
	}
	t.Run("SQLite", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(t.TempDir(), "s.db")
		open(t, path, clockwork.NewFakeClock())
		check(t, "sqlite:"+path)
	})
	t.Run("PostgreSQL", func(t *testing.T) {
		t.Parallel()
		source := pgtest.New(t)
		replica(t, source, nil)
		check(t, source)
	})
}

func TestARoleThatMayOnlySelectReadsPostgreSQL(t *testing.T) {
	t.Parallel()
	source, err := url.Parse(pgtest.New(t))
	must(t, err)
	must(t, replica(t, source.String(), nil).Append(t.Context(), store.Audit{What: "first"}))
	role := "reader_of_" + strings.Trim(source.Path, "/")
	owner, err := sql.Open("pgx", source.String())
	must(t, err)
	t.Cleanup(func() {
		_, err := owner.Exec("DROP OWNED BY " + role + "; DROP ROLE " + role) //nolint:noctx // the test's context has ended
		must(t, errors.Join(err, owner.Close()))
	})
	statement(t, owner, "CREATE ROLE "+role+" LOGIN; GRANT SELECT ON ALL TABLES IN SCHEMA public TO "+role)

	query := source.Query()
	query.Set("user", role)
	source.RawQuery = query.Encode()
	reader := openToRead(t, source.String())
	if diff := cmp.Diff([]string{"first"}, recorded(t, reader)); diff != "" {
		t.Error(diff)
	}
	must(t, reader.Close())
}

func TestOnlyTablesOfTheKnownVersionAreRead(t *testing.T) {
	t.Parallel()
	migrations, err := filepath.Glob("migrations/*.sql")
	must(t, err)
	for name, c := range map[string]struct{ change, want string }{
		"a newer server has used it": {
			"INSERT INTO goose_db_version (version_id, is_applied) VALUES (999, 1)",
			"the tables are of another version, 999, and this program knows KNOWN: a newer Switchyard has used the database; run that one",
		},
		"only an older server has used it": {
			"DELETE FROM goose_db_version WHERE version_id > 0",
			"the tables are of another version, 0, and this program knows KNOWN: it is newer than any server that has used the database; " +
				"run the program that the servers run, or upgrade them first",
		},
		"a server has not got far": {"DELETE FROM goose_db_version", "read its version: latest version not found"},
		"it is another program's":  {"DROP TABLE goose_db_version", "no such table: goose_db_version"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s.db")
			open(t, path, clockwork.NewFakeClock())
			statement(t, raw(t, path), c.change)
			_, err := store.OpenToRead(t.Context(), "sqlite:"+path)
			want := strings.ReplaceAll(c.want, "KNOWN", strconv.Itoa(len(migrations)))
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("got %v, want %s", err, want)
			}
		})
	}
	for name, content := range map[string]string{"an empty file": "", "not a database": strings.Repeat("garbage ", 1000)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "s.db")
			must(t, os.WriteFile(path, []byte(content), 0o600))
			if _, err := store.OpenToRead(t.Context(), "sqlite:"+path); err == nil || !strings.Contains(err.Error(), "read its version") {
				t.Errorf("got %v", err)
			}
			if got := watched(t, path)(); string(got) != content {
				t.Error("the file was changed")
			}
		})
	}
	for _, source := range []string{"", "sqlite:", "/tmp/x.db", "mysql://me:hush@localhost/x", "postgres://me:hush@localhost:port/x"} {
		if _, err := store.OpenToRead(t.Context(), source); err == nil || strings.Contains(err.Error(), "hush") {
			t.Errorf("OpenToRead(%q) says %v", source, err)
		}
	}
}
