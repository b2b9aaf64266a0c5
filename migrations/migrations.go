package migrations

import (
	"cmp"
	"context"
	"database/sql"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
)

//go:embed *.sql
var shopFiles embed.FS

// Latest is the version of the newest migration, the one that this binary's SQL is written for.
// A test compares it with the files.
const Latest = 15

// Options say how to migrate. The zero value is how the shop does it.
type Options struct {
	// Files are the migrations. Default: the shop's.
	Files fs.FS
	// Patience is how long a migration is tried that can't have its locks. Default
	// [DefaultPatience].
	Patience time.Duration
	// Say takes in sentences about what is waited for. Default: nobody is told.
	Say func(sentence string)
	// WhileServing lets a migration take away what workers need that are connected.
	WhileServing bool
	// LoseRows lets a migration that is taken back take rows along.
	LoseRows bool
}

// Migrator applies migrations to one database. Close it when done. It belongs to one
// goroutine.
type Migrator struct {
	db          *sql.DB
	application string // what the shop's connections are called
	options     Options
	patience    time.Duration
	source      fs.FS
	files       []file
}

// Open prepares to migrate the database at databaseURL. It does not connect yet.
func Open(databaseURL string, o Options) (*Migrator, error) {
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		return nil, fmt.Errorf("open database for migration: %w", err)
	}
	application := cmp.Or(config.RuntimeParams["application_name"], "doorbuster")
	config.RuntimeParams["application_name"] = application + " migrate"
	source := o.Files
	if source == nil {
		source = shopFiles
	}
	files, err := readFiles(source)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return &Migrator{
		db: stdlib.OpenDB(*config), application: application, options: o, patience: cmp.Or(o.Patience, DefaultPatience),
		source: source, files: files,
	}, nil
}

// say tells a sentence.
func (m *Migrator) say(format string, args ...any) {
	if m.options.Say != nil {
		m.options.Say(fmt.Sprintf(format, args...))
	}
}

// provider returns goose for one turn.
func (m *Migrator) provider(t *turn) (*goose.Provider, error) {
	p, err := goose.NewProvider(goose.DialectPostgres, m.db, m.source, goose.WithSessionLocker(t))
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return p, nil
}

// Up applies all pending migrations and returns their versions, none when the schema
// was current. A migration that can't have its locks is tried again and again within
// [Options].Patience, and nothing is locked meanwhile. What was applied before an
// error stays.
func (m *Migrator) Up(ctx context.Context) ([]int64, error) {
	applied, err := m.up(ctx)
	if err != nil {
		return applied, fmt.Errorf("migrate up: %w", err)
	}
	return applied, nil
}

func (m *Migrator) up(ctx context.Context) (applied []int64, err error) {
	for {
		next, err := m.pending(ctx)
		if err != nil || next == nil {
			return applied, err
		}
		if err := m.mayContract(ctx, next); err != nil {
			return applied, err
		}
		switch err := m.patiently(ctx, next, true); {
		case errors.Is(err, goose.ErrAlreadyApplied): // by another migrate meanwhile
		case err != nil:
			return applied, err
		default:
			applied = append(applied, next.version)
		}
	}
}

// pending returns the next migration to apply, or nil.
func (m *Migrator) pending(ctx context.Context) (*file, error) {
	provider, err := m.provider(&turn{m: m})
	if err != nil {
		return nil, err
	}
	if more, err := provider.HasPending(ctx); err != nil || !more {
		return nil, err
	}
	have, _, err := provider.GetVersions(ctx)
	if err != nil {
		return nil, err
	}
	for i := range m.files {
		if m.files[i].version > have {
			return &m.files[i], nil
		}
	}
	return nil, nil
}

// patiently applies a migration, or takes it back, as soon as it gets its locks.
func (m *Migrator) patiently(ctx context.Context, f *file, up bool) error {
	deadline := time.Now().Add(m.patience)
	for again := firstPause; ; again = min(2*again, longestPause) {
		t := &turn{m: m, patient: f.noTransaction}
		provider, err := m.provider(t)
		if err != nil {
			return err
		}
		_, err = provider.ApplyVersion(ctx, f.version, up)
		left := time.Until(deadline)
		switch {
		case err == nil || ctx.Err() != nil || !inTheWay(err):
			return reason(f, err)
		case left < again:
			return fmt.Errorf("%s was in vain for %v: it needs %v: %s, or run doorbuster migrate again when it is gone",
				f.name, m.patience, t.lastSeen(), remedy(t.lastSeen().holders))
		}
		m.say("%s needs %v; nothing is locked meanwhile, and it is tried again in %v, for %v more: let it end, or %s",
			f.name, t.lastSeen(), again, left.Round(time.Second), remedy(t.lastSeen().holders))
		if err := pause(ctx, again); err != nil {
			return reason(f, err)
		}
	}
}

// reason is why a migration failed, by its file.
func reason(f *file, err error) error {
	if err == nil {
		return nil
	}
	if partial, ok := errors.AsType[*goose.PartialError](err); ok {
		err = partial.Err
	}
	return fmt.Errorf("%s: %w", f.name, err)
}

// Version returns the version of the schema, 0 for none.
func (m *Migrator) Version(ctx context.Context) (int64, error) {
	provider, err := m.provider(&turn{m: m})
	if err != nil {
		return 0, err
	}
	version, _, err := provider.GetVersions(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the version of the schema: %w", err)
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
	provider, err := m.provider(&turn{m: m})
	if err != nil {
		return nil, err
	}
	all, err := provider.Status(ctx)
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
