package main

import (
	"context"
	"fmt"
	"time"

	"doorbuster/app"
	"doorbuster/migrations"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Apply what is missing, while the shop is open: a table that is in use is waited for without keeping customers waiting."`
	Down   migrateDown   `cmd:"" help:"Take the newest migration back, unless workers need it or rows would be lost."`
	Status migrateStatus `cmd:"" help:"List the migrations and whether they are applied."`
}

type migrationFlags struct {
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" help:"PostgreSQL, such as postgres://user@localhost/doorbuster."`
}

// changeFlags say how patient and how careful a change of the schema is.
type changeFlags struct {
	migrationFlags
	Patience     time.Duration `name:"patience" env:"MIGRATE_PATIENCE" default:"60s" help:"How long to try while somebody holds a table that has to be changed."`
	WhileServing bool          `name:"while-serving" help:"Take away what connected workers need."`
}

// options are those of a change, which is told on standard error.
func (f *changeFlags) options(env *environment) (migrations.Options, error) {
	return migrations.Options{
		Patience: f.Patience, WhileServing: f.WhileServing,
		Say: func(sentence string) { fmt.Fprintln(env.stderr, "doorbuster:", sentence) },
	}, atLeast("MIGRATE_PATIENCE", f.Patience, time.Second)
}

// with checks the database and runs fn on its migrator.
func (f *migrationFlags) with(env *environment, o migrations.Options, fn func(context.Context, *migrations.Migrator) error) error {
	ctx := env.signals.stop
	if err := app.CheckDatabase(ctx, f.DatabaseURL); err != nil {
		return err
	}
	m, err := migrations.Open(f.DatabaseURL, o)
	if err != nil {
		return err
	}
	defer m.Close()
	return fn(ctx, m)
}

type migrateUp struct{ changeFlags }

// Run applies what is missing.
func (c *migrateUp) Run(env *environment) error {
	options, err := c.options(env)
	if err != nil {
		return err
	}
	return c.with(env, options, func(ctx context.Context, m *migrations.Migrator) error {
		applied, err := m.Up(ctx)
		if err != nil {
			return err
		}
		version, err := m.Version(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "applied %d migrations; the schema is at version %d\n", len(applied), version)
		return nil
	})
}

type migrateDown struct {
	changeFlags
	LoseRows bool `name:"lose-rows" help:"Drop tables and columns that have rows."`
}

// Run takes the newest migration back.
func (c *migrateDown) Run(env *environment) error {
	options, err := c.options(env)
	if err != nil {
		return err
	}
	options.LoseRows = c.LoseRows
	return c.with(env, options, func(ctx context.Context, m *migrations.Migrator) error {
		version, err := m.Down(ctx)
		switch {
		case err != nil:
			return err
		case version == 0:
			fmt.Fprintln(env.stdout, "nothing is applied")
		default:
			fmt.Fprintf(env.stdout, "took migration %d back\n", version)
		}
		return nil
	})
}

type migrateStatus struct{ migrationFlags }

// Run lists the migrations.
func (c *migrateStatus) Run(env *environment) error {
	return c.with(env, migrations.Options{}, func(ctx context.Context, m *migrations.Migrator) error {
		steps, err := m.Status(ctx)
		if err != nil {
			return err
		}
		for _, s := range steps {
			state := "pending"
			if s.Applied {
				state = "applied"
			}
			fmt.Fprintf(env.stdout, "%-8s %s\n", state, s.File)
		}
		return nil
	})
}
