package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/jonboulle/clockwork"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

// readingSettings hold for each connection that only reads. https://www.postgresql.org/docs/15/runtime-config-client.html
const readingSettings = sessionSettings + `;
	SET default_transaction_read_only = 'on'`

// OpenToRead opens a database only to read it, beside the servers that use it, if any. source is that
// of Open. Nothing of the database is changed, and nobody has to wait. Its tables must be of the
// version that this program knows, else the error is ErrVersion; where there is no such file, it is
// fs.ErrNotExist. What would write gives ErrReadOnly, and Wake never tells.
func OpenToRead(ctx context.Context, source string) (*Store, error) {
	s := &Store{wake: make(chan struct{})}
	path, isFile := strings.CutPrefix(source, "sqlite:")
	var err error
	switch {
	case isFile && path != "":
		s.dialect, s.clock = sqlite(), clockwork.NewRealClock()
		s.read, err = readFile(path)
	case strings.HasPrefix(source, "postgres://"), strings.HasPrefix(source, "postgresql://"):
		s.dialect = postgres()
		s.read, _, err = postgresConnections(source, readers, readingSettings)
	default:
		err = errSource
	}
	if err != nil {
		return nil, err
	}
	s.ends = []func() error{s.read.Close}
	if err := s.refuseOtherVersions(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("open database: %w", err), s.Close())
	}
	return s, nil
}

// readFile opens a SQLite file without its lock: in WAL mode those who read and the one that writes do
// not meet, https://www.sqlite.org/wal.html#concurrency.
func readFile(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("open database: %w", err)
	}
	if _, err := os.Stat(path); err != nil { // SQLite does not say why it cannot open a file
		return nil, fmt.Errorf("open database: %w", err)
	}
	return sqliteConnections(path, busyTimeout, readers, url.Values{"mode": {"ro"}, "_pragma": {"query_only(1)"}})
}

// refuseOtherVersions holds the version of the tables to the one that this program knows.
func (s *Store) refuseOtherVersions(ctx context.Context) error {
	names, err := migrationNames()
	if err != nil {
		return err
	}
	versions, err := database.NewStore(s.dialect.goose, goose.DefaultTablename)
	if err != nil {
		return fmt.Errorf("prepare to read its version: %w", err)
	}
	current, err := versions.GetLatestVersion(ctx, s.read)
	if err != nil {
		return fmt.Errorf("read its version: %w", err)
	}
	known := int64(len(names))
	if current < known {
		return fmt.Errorf("%w, %d, and this program knows %d: it is newer than any server that has used the database; "+
			"run the program that the servers run, or upgrade them first", ErrVersion, current, known)
	}
	return refuseNewer(current, known)
}
