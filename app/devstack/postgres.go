package devstack

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

const (
	databaseName   = "doorbuster" // of the user too
	postgresSocket = ".s.PGSQL.5432"
)

// Postgres is a private PostgreSQL server. Its methods may be called from any goroutine.
type Postgres struct {
	daemon  daemon
	bin     binaries
	options Options
}

// StartPostgres starts PostgreSQL and returns when it answers. ctx bounds the start only.
func StartPostgres(ctx context.Context, o Options) (*Postgres, error) {
	return startPostgres(ctx, o, systemFinder())
}

func startPostgres(ctx context.Context, o Options, f finder) (_ *Postgres, err error) {
	if needsUnix != "" {
		return nil, errors.New(needsUnix)
	}
	home, err := openHome(ctx, o.Dir, "postgres", postgresSocket)
	if err != nil {
		return nil, fmt.Errorf("start PostgreSQL: %w", err)
	}
	p := &Postgres{options: o}
	p.daemon = daemon{
		name: "PostgreSQL", home: home, command: p.command, ready: p.ready,
		// Fast shutdown: sessions are ended, data is written. Then immediate shutdown: recovery at the next start.
		stops: []syscall.Signal{syscall.SIGINT, syscall.SIGQUIT},
		// When we die, immediate shutdown: of the signals, only that one also ends backends that hang.
		death: syscall.SIGQUIT,
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, p.Close())
		}
	}()

	kept := clusterMajor(p.data())
	if p.bin, err = f.find(ctx, home.as, kept, o.say); err != nil {
		return nil, err
	}
	if kept != 0 && kept != p.bin.major {
		return nil, fmt.Errorf("the data in %s was written by PostgreSQL %d and only %s is here (in %s): "+
			"install version %d, or choose an empty data directory", o.Dir, kept, p.bin.version, p.bin.dir, kept)
	}
	if kept == 0 {
		o.say("preparing a PostgreSQL data directory")
		if err := p.initialise(ctx); err != nil {
			return nil, err
		}
	}
	o.say(fmt.Sprintf("starting PostgreSQL %s from %s", p.bin.version, p.bin.dir))
	if err := p.Start(ctx); err != nil {
		return nil, err
	}
	return p, nil
}

// URL is understood by pgx and by psql, and stays the same as long as this Postgres is not closed.
//
// The port is part of the socket's name, and named so that a PGPORT in the environment does not change it.
func (p *Postgres) URL() string { return p.url(databaseName) }

func (p *Postgres) url(database string) string {
	// QueryEscape is for forms: libpq neither reads + as a space nor needs %2F.
	host := strings.NewReplacer("%2F", "/", "+", "%20").Replace(url.QueryEscape(p.daemon.home.sockets))
	return "postgres://" + databaseName + "@/" + database + "?host=" + host + "&port=5432"
}

// Version is that of the server, such as "15.18".
func (p *Postgres) Version() string { return p.bin.version }

// LogFile is where the server writes what it has to say.
func (p *Postgres) LogFile() string { return p.daemon.logName() }

// Start starts the server again after Stop or Kill, on the same data and the same URL.
func (p *Postgres) Start(ctx context.Context) error {
	leaving, cancel := context.WithTimeout(ctx, goneTimeout)
	defer cancel()
	for {
		err := p.daemon.start(ctx)
		failed, ok := errors.AsType[*startError](err)
		switch {
		case ok && strings.Contains(failed.log, `"postmaster.pid" already exists`):
			pid := readPID(filepath.Join(p.data(), "postmaster.pid"))
			return fmt.Errorf("another PostgreSQL, process %d, runs on %s: stop that first", pid, p.data())
		case ok && strings.Contains(failed.log, "pre-existing shared memory block") && leaving.Err() == nil:
			// Somebody killed the postmaster alone. Its backends are noticing that just now; each attempt takes a
			// moment, so there is no need to wait on top.
		default:
			return err
		}
	}
}

// Stop shuts the server down in good order: open sessions are ended, everything is written.
func (p *Postgres) Stop() error { return p.daemon.stop() }

// Kill ends the server and all its backends at once by SIGKILL, as a crash would. Start then recovers.
func (p *Postgres) Kill() { p.daemon.kill() }

// Pause freezes the server: connections stay open, or are still accepted by the kernel, and nobody answers.
func (p *Postgres) Pause() error { return p.daemon.pause() }

// Resume undoes Pause.
func (p *Postgres) Resume() error { return p.daemon.resume() }

// Close stops the server for good and removes its directory if it is temporary. Closing again does nothing.
func (p *Postgres) Close() error { return p.daemon.close() }

func (p *Postgres) data() string { return filepath.Join(p.daemon.home.dir, "data") }

// ready connects once. The first time that works on new data, it creates the database.
func (p *Postgres) ready(ctx context.Context, pid int) error {
	// The socket may still be that of another server on the same data, and ours about to refuse it.
	if owner := readPID(filepath.Join(p.data(), "postmaster.pid")); owner != pid {
		return fmt.Errorf("the data belongs to process %d", owner)
	}
	conn, err := pgx.Connect(ctx, p.URL())
	if err == nil {
		return conn.Close(ctx)
	}
	if noSuch, ok := errors.AsType[*pgconn.PgError](err); !ok || noSuch.Code != "3D000" { // invalid_catalog_name
		return err
	}
	if conn, err = pgx.Connect(ctx, p.url("postgres")); err != nil {
		return err
	}
	_, err = conn.Exec(ctx, "CREATE DATABASE "+databaseName)
	return errors.Join(err, conn.Close(ctx))
}

// serverEnv is our environment without what would change how PostgreSQL behaves or which language it speaks.
func serverEnv() []string {
	env := slices.DeleteFunc(os.Environ(), func(kv string) bool {
		name, _, _ := strings.Cut(kv, "=")
		return strings.HasPrefix(name, "PG") || strings.HasPrefix(name, "LC_") ||
			slices.Contains([]string{"LANG", "LANGUAGE", "TZ", "NOTIFY_SOCKET"}, name)
	})
	return append(env, "LC_ALL=C", "TZ=UTC")
}
