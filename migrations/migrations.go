// Package migrations holds the schema of the shop and applies it.
//
// A command applies it (doorbuster migrate up), never a worker: workers only compare [Latest] with what the
// database says and refuse to start on an older schema. Concurrent runs are serialised by a PostgreSQL session
// lock, so two deploys that migrate at once are safe.
package migrations

import (
	"context"
	"database/sql"
	"embed"
	"fmt"

	_ "github.com/jackc/pgx/v5/stdlib" // the database/sql driver "pgx" that goose speaks through
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/lock"
)

//go:embed *.sql
var files embed.FS

// Latest is the version of the newest migration, the one that this binary's SQL is written for.
// A test compares it with the files.
const Latest = 11

// Migrator applies migrations to one database. Close it when done.
type Migrator struct {
	db       *sql.DB
	provider *goose.Provider
}

// Open prepares to migrate the database at databaseURL. It does not connect yet.
func Open(databaseURL string) (*Migrator, error) {
	db, err := sql.Open("pgx", databaseURL)
	if err != nil {
		return nil, fmt.Errorf("open database for migration: %w", err)
	}
	locker, err := lock.NewPostgresSessionLocker()
	if err != nil {
		return nil, fmt.Errorf("make migration lock: %w", err)
	}
	provider, err := goose.NewProvider(goose.DialectPostgres, db, files, goose.WithSessionLocker(locker))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return &Migrator{db: db, provider: provider}, nil
}

// Up applies all pending migrations and returns their versions, none when the schema was current.
func (m *Migrator) Up(ctx context.Context) ([]int64, error) {
	results, err := m.provider.Up(ctx)
	if err != nil {
		return nil, fmt.Errorf("migrate up: %w", err)
	}
	applied := make([]int64, len(results))
	for i, r := range results {
		applied[i] = r.Source.Version
	}
	return applied, nil
}

// Down takes back the newest applied migration and returns its version, or 0 when none was applied.
func (m *Migrator) Down(ctx context.Context) (int64, error) {
	version, err := m.provider.GetDBVersion(ctx)
	if err != nil {
		return 0, fmt.Errorf("migrate down: %w", err)
	}
	if version == 0 {
		return 0, nil
	}
	if _, err := m.provider.Down(ctx); err != nil {
		return 0, fmt.Errorf("migrate down: %w", err)
	}
	return version, nil
}

// A Step is one migration and whether it is applied.
type Step struct {
	Version int64
	File    string
	Applied bool
}

// Status lists all known migrations, oldest first.
func (m *Migrator) Status(ctx context.Context) ([]Step, error) {
	all, err := m.provider.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("migration status: %w", err)
	}
	steps := make([]Step, len(all))
	for i, s := range all {
		steps[i] = Step{Version: s.Source.Version, File: s.Source.Path, Applied: s.State == goose.StateApplied}
	}
	return steps, nil
}

// Close releases the connections.
func (m *Migrator) Close() error { return m.db.Close() }
