package devstack

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// clusterMajor returns the major version that wrote the data directory, 0 if there is none yet.
func clusterMajor(data string) int { return readPID(filepath.Join(data, "PG_VERSION")) }

// initialise makes the data directory. initdb works beside its final name and the result is renamed, so a start
// that was interrupted leaves nothing that the next one takes for data.
func (p *Postgres) initialise(ctx context.Context) error {
	unfinished := p.data() + ".new"
	// Not every system has C.UTF-8 (musl and older macOS do not); C sorts the same and only knows less of letters.
	for _, locale := range []string{"C.UTF-8", "C"} {
		if err := os.RemoveAll(unfinished); err != nil {
			return fmt.Errorf("prepare PostgreSQL: %w", err)
		}
		out, err := p.initdb(ctx, unfinished, locale)
		if err == nil {
			if err := os.Rename(unfinished, p.data()); err != nil {
				return fmt.Errorf("prepare PostgreSQL: %w", err)
			}
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("prepare PostgreSQL: %w", context.Cause(ctx))
		}
		if !strings.Contains(out, "invalid locale name") {
			return &startError{name: "PostgreSQL", cause: fmt.Errorf("initdb: %w", err), log: lastLines(out)}
		}
	}
	return errors.New("prepare PostgreSQL: initdb knows neither of the locales C.UTF-8 and C")
}

func (p *Postgres) initdb(ctx context.Context, data, locale string) (output string, err error) {
	args := []string{
		"--pgdata", data, "--username", databaseName, "--auth", "trust", "--encoding", "UTF8", "--locale", locale,
		"--no-instructions",
	}
	if !p.options.Durable {
		args = append(args, "--no-sync")
	}
	log, err := os.Create(filepath.Join(p.daemon.home.dir, "initdb.log"))
	if err != nil {
		return "", err
	}
	defer os.Remove(log.Name())
	defer log.Close()
	cmd := exec.Command(p.bin.path("initdb"), args...) //nolint:noctx // killed below, with its children
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = p.daemon.home.dir, serverEnv(), log, log
	proc, err := spawn(cmd, p.daemon.home.as, syscall.SIGKILL)
	if err != nil {
		return "", err
	}
	select {
	case <-proc.exited:
	case <-ctx.Done():
		proc.killTree()
	}
	return tail(log.Name(), 0), proc.err
}

// command is the server with all its settings. They are arguments and not in postgresql.conf, so that kept data
// takes today's settings and what the user writes into that file is left alone.
func (p *Postgres) command() *exec.Cmd {
	settings := []string{
		"listen_addresses=",
		"unix_socket_directories=" + quoteList(p.daemon.home.sockets),
		"unix_socket_permissions=0700",
		"port=5432",
		"max_connections=" + strconv.Itoa(cmp.Or(p.options.MaxConnections, 100)),
		"timezone=UTC",
		"log_timezone=UTC",
		"logging_collector=off",
		"log_destination=stderr",
	}
	if !p.options.Durable {
		// Nothing but this: with synchronous_commit or full_page_writes off, a commit would not survive Kill.
		settings = append(settings, "fsync=off")
	}
	args := []string{"-D", p.data()}
	for _, s := range settings {
		args = append(args, "-c", s)
	}
	cmd := exec.Command(p.bin.path("postgres"), args...) //nolint:noctx // it outlives the context of Start
	cmd.Env = serverEnv()
	return cmd
}

// quoteList quotes one element of a comma-separated setting.
func quoteList(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }
