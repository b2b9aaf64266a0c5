package main

import (
	"context"
	"fmt"

	"doorbuster/app"
	"doorbuster/migrations"
)

type migrateCommand struct {
	Up     migrateUp     `cmd:"" help:"Apply what is missing."`
	Down   migrateDown   `cmd:"" help:"Take the newest migration back."`
	Status migrateStatus `cmd:"" help:"List the migrations and whether they are applied."`
}

type migrationFlags struct {
	DatabaseURL string `name:"database-url" env:"DATABASE_URL" help:"PostgreSQL, such as postgres://user@localhost/doorbuster."`
}

// with checks the database and runs fn on its migrator.
func (f *migrationFlags) with(env *environment, fn func(context.Context, *migrations.Migrator) error) error {
	ctx := env.signals.stop
	if err := app.CheckDatabase(ctx, f.DatabaseURL); err != nil {
		return err
	}
	m, err := migrations.Open(f.DatabaseURL)
	if err != nil {
		return err
	}
	defer m.Close()
	return fn(ctx, m)
}

type migrateUp struct{ migrationFlags }

func (c *migrateUp) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, m *migrations.Migrator) error {
		applied, err := m.Up(ctx)
		if err != nil {
			return err
		}
		fmt.Fprintf(env.stdout, "applied %d migrations; the schema is at version %d\n", len(applied), migrations.Latest)
		return nil
	})
}

type migrateDown struct{ migrationFlags }

func (c *migrateDown) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, m *migrations.Migrator) error {
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

func (c *migrateStatus) Run(env *environment) error {
	return c.with(env, func(ctx context.Context, m *migrations.Migrator) error {
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
