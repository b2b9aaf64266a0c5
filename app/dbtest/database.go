package dbtest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"

	"github.com/jackc/pgx/v5"

	"doorbuster/migrations"
)

// createDatabase makes a database for one test. Copying a migrated template takes a fraction of what migrating does.
func (s *Servers) createDatabase(ctx context.Context, test string, migrated bool) (name, databaseURL string, err error) {
	template := "template0"
	if migrated {
		if template, err = s.migratedTemplate(ctx); err != nil {
			return "", "", err
		}
	}
	// The name is for whoever looks at the server while a test hangs; what makes it unique is the random part.
	name = fmt.Sprintf("test_%s_%s", identifier(test, 30), strings.ToLower(rand.Text()[:12]))
	if err := s.execute(ctx, "CREATE DATABASE "+name+" TEMPLATE "+template); err != nil {
		return "", "", fmt.Errorf("create test database: %w", err)
	}
	main, err := s.DatabaseURL(ctx)
	if err != nil {
		return "", "", err
	}
	databaseURL, err = withDatabase(main, name)
	return name, databaseURL, err
}

func (s *Servers) dropDatabase(ctx context.Context, name string) error {
	if err := s.execute(ctx, "DROP DATABASE IF EXISTS "+name+" WITH (FORCE)"); err != nil {
		return fmt.Errorf("drop test database: %w", err)
	}
	return nil
}

// migratedTemplate migrates a database once and returns its name. Several test binaries, perhaps of different
// versions of the schema, may share a server, so each has a template of its own.
func (s *Servers) migratedTemplate(ctx context.Context) (string, error) {
	s.templateMu.Lock()
	defer s.templateMu.Unlock()
	if s.template != "" {
		return s.template, nil
	}
	main, err := s.DatabaseURL(ctx)
	if err != nil {
		return "", err
	}
	name := fmt.Sprintf("template_v%d_%d_%s", migrations.Latest, os.Getpid(), strings.ToLower(rand.Text()[:8]))
	// From template0: nobody is ever connected to it, which is what makes copying fail.
	if err := s.execute(ctx, "CREATE DATABASE "+name+" TEMPLATE template0"); err != nil {
		return "", fmt.Errorf("create template database: %w", err)
	}
	templateURL, err := withDatabase(main, name)
	if err == nil {
		err = migrate(ctx, templateURL)
	}
	if err == nil {
		err = s.execute(ctx, "ALTER DATABASE "+name+" ALLOW_CONNECTIONS false")
	}
	if err != nil {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanupTimeout)
		defer cancel()
		return "", errors.Join(fmt.Errorf("migrate template database: %w", err), s.dropDatabase(ctx, name))
	}
	s.template = name
	return name, nil
}

func migrate(ctx context.Context, databaseURL string) error {
	m, err := migrations.Open(databaseURL, migrations.Options{})
	if err != nil {
		return err
	}
	_, err = m.Up(ctx)
	return errors.Join(err, m.Close())
}

// execute runs one statement on a connection of its own to the main database.
func (s *Servers) execute(ctx context.Context, sql string) error {
	ctx, cancel := context.WithTimeoutCause(ctx, databaseLimit, fmt.Errorf("it took more than %s", databaseLimit))
	defer cancel()
	main, err := s.DatabaseURL(ctx)
	if err != nil {
		return err
	}
	conn, err := pgx.Connect(ctx, main)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	if _, err = conn.Exec(ctx, sql); err != nil && ctx.Err() != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err)
	}
	return err
}

// withDatabase returns the connection string with another database in it. PostgreSQL knows two forms of them.
func withDatabase(dsn, name string) (string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return dsn + " dbname=" + name, nil // keywords and values: the last one wins
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return "", fmt.Errorf("parse database URL: %w", err)
	}
	u.Path, u.RawPath = "/"+name, ""
	return u.String(), nil
}

var notIdentifier = regexp.MustCompile(`[^a-z0-9]+`)

// identifier returns the end of s, at most so many bytes, as a part of an SQL name that needs no quotes.
func identifier(s string, most int) string {
	s = strings.Trim(notIdentifier.ReplaceAllString(strings.ToLower(s), "_"), "_")
	return s[max(0, len(s)-most):]
}
