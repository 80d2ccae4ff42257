package store

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"strings"

	"github.com/pressly/goose/v3"
)

//go:embed migrations/*.sql
var migrations embed.FS

// migrate brings the tables up to date and refuses a database that a newer version has written.
func migrate(ctx context.Context, d dialect, db *sql.DB) error {
	names, err := migrationNames()
	if err != nil {
		return err
	}
	steps := make([]*goose.Migration, 0, len(names))
	for i, name := range names {
		text, err := migrations.ReadFile(name)
		if err != nil {
			return fmt.Errorf("read migration: %w", err)
		}
		statements := strings.ReplaceAll(string(text), "IDENTITY", d.identity)
		up := func(ctx context.Context, tx *sql.Tx) error {
			_, err := tx.ExecContext(ctx, statements)
			return err //nolint:wrapcheck // goose names the migration
		}
		steps = append(steps, goose.NewGoMigration(int64(i+1), &goose.GoFunc{RunTx: up}, nil))
	}
	provider, err := goose.NewProvider(d.goose, db, nil, goose.WithGoMigrations(steps...),
		goose.WithDisableGlobalRegistry(true), goose.WithLogger(goose.NopLogger()))
	if err != nil {
		return fmt.Errorf("prepare migrations: %w", err)
	}
	if _, err := provider.Up(ctx); err != nil {
		return fmt.Errorf("migrate database: %w", err)
	}
	current, target, err := provider.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("read the database's version: %w", err)
	}
	return refuseNewer(current, target)
}

// migrationNames lists the migrations in their order. The version that the last one leads to is their number.
func migrationNames() ([]string, error) {
	names, err := fs.Glob(migrations, "migrations/*.sql")
	if err != nil {
		return nil, fmt.Errorf("list migrations: %w", err)
	}
	return names, nil
}

func refuseNewer(current, known int64) error {
	if current > known {
		return fmt.Errorf("%w, %d, and this program knows %d: a newer Switchyard has used the database; run that one",
			ErrVersion, current, known)
	}
	return nil
}
