//go:build unix

package devstack_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/devstack"
)

func TestPostgresSettings(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, devstack.Options{MaxConnections: 37})
	got := map[string]string{}
	for _, name := range []string{
		"listen_addresses", "max_connections", "fsync", "TimeZone", "server_encoding", "is_superuser", "server_version",
	} {
		got[name] = query[string](t, p.URL(), "SHOW "+name)
	}
	got["server_version"], _, _ = strings.Cut(got["server_version"], " ")
	want := map[string]string{
		"listen_addresses": "", "max_connections": "37", "fsync": "off", "TimeZone": "UTC", "server_encoding": "UTF8",
		"is_superuser": "on", "server_version": p.Version(),
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("settings (-want +got):\n%s", diff)
	}
}

// The standard port may be taken, and libpq's variables may be set: neither concerns a private server.
func TestPostgresIgnoresPortAndEnvironment(t *testing.T) {
	for _, port := range []string{"5432", "6379"} {
		// Taken by us, or else by someone already: both will do.
		if l, err := net.Listen("tcp", "127.0.0.1:"+port); err == nil {
			defer l.Close()
		}
	}
	for name, value := range map[string]string{
		"PGPORT": "1", "PGHOST": "nowhere.invalid", "PGUSER": "x", "PGDATABASE": "x", "PGDATA": "/x", "PGSSLMODE": "require",
		"LC_ALL": "xx_XX", "TZ": "Asia/Tokyo", "PGTZ": "Asia/Tokyo",
	} {
		t.Setenv(name, value)
	}
	s, err := devstack.Start(within(t), devstack.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer mustClose(t, s)
	if got := query[int](t, s.Postgres.URL(), "SELECT 1"); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
	if err := redisClient(t, s.Redis.URL()).Ping(within(t)).Err(); err != nil {
		t.Error(err)
	}
}

func TestPostgresURLIsForPsqlToo(t *testing.T) {
	t.Parallel()
	psql, err := exec.LookPath("psql")
	if err != nil {
		t.Skip("psql is not on PATH")
	}
	dir := filepath.Join(openDir(t), "a dir with spaces, +&=%2F and ü")
	p := startPostgres(t, devstack.Options{Dir: dir})
	out, err := exec.CommandContext(within(t), psql, p.URL(), "-XAtc", "SELECT 'it works'").CombinedOutput()
	if err != nil || strings.TrimSpace(string(out)) != "it works" {
		t.Errorf("psql %s: %v\n%s", p.URL(), err, out)
	}
	if got := query[string](t, p.URL(), "SELECT 'it works'"); got != "it works" {
		t.Errorf("pgx: got %q", got)
	}
}

func TestPostgresKilledAndStartedKeepsURLAndData(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, devstack.Options{})
	url := p.URL()
	execute(t, url, "CREATE TABLE t AS SELECT 42 AS n")
	// An open session is a backend with a process of its own, which must die too.
	conn, err := pgx.Connect(within(t), url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	backend := int(conn.PgConn().PID())

	for _, end := range []struct {
		how string
		do  func() error
	}{
		{"kill", func() error { p.Kill(); return nil }},
		{"stop", p.Stop},
		{"stop while paused", func() error { return errors.Join(p.Pause(), p.Stop()) }},
		{"kill while paused", func() error { err := p.Pause(); p.Kill(); return err }},
	} {
		if err := end.do(); err != nil {
			t.Fatalf("%s: %v", end.how, err)
		}
		if running(backend) {
			t.Errorf("%s: backend %d still runs", end.how, backend)
		}
		if _, err := tryQuery[int](within(t), url, "SELECT n FROM t"); err == nil {
			t.Errorf("%s: it still answers", end.how)
		}
		if err := p.Start(within(t)); err != nil {
			t.Fatalf("start after %s: %v", end.how, err)
		}
		if p.URL() != url {
			t.Errorf("start after %s: got URL %s, want %s", end.how, p.URL(), url)
		}
		if got := query[int](t, url, "SELECT n FROM t"); got != 42 {
			t.Errorf("start after %s: got %d, want 42", end.how, got)
		}
	}
	if err := p.Start(within(t)); err == nil || !strings.Contains(err.Error(), "already runs") {
		t.Errorf("start while running: got %v", err)
	}
}

// A postmaster that is killed from outside leaves backends behind, which hold the shared memory for a moment more.
func TestPostmasterKilledByAnother(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, devstack.Options{})
	execute(t, p.URL(), "CREATE TABLE t AS SELECT 42 AS n")
	for range 3 {
		pid := postmaster(t, p.URL())
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		var err error
		eventually(t, "the server noticed that it is gone", func() bool {
			err = p.Start(within(t))
			return err == nil || !strings.Contains(err.Error(), "already runs")
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := query[int](t, p.URL(), "SELECT n FROM t"); got != 42 {
			t.Errorf("got %d, want 42", got)
		}
	}
}

func TestPostgresPaused(t *testing.T) {
	t.Parallel()
	p := startPostgres(t, devstack.Options{})
	conn, err := pgx.Connect(within(t), p.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if err := p.Pause(); err != nil {
		t.Fatal(err)
	}
	answer := make(chan error, 1)
	ctx := within(t)
	go func() {
		_, err := conn.Exec(ctx, "SELECT 1")
		answer <- err
	}()
	short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
	defer cancel()
	if _, err := tryQuery[int](short, p.URL(), "SELECT 1"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("new connection while paused: got %v, want it to hang", err)
	}
	select {
	case err := <-answer:
		t.Errorf("open connection while paused: got an answer (%v), want it to hang", err)
	default:
	}
	if err := p.Resume(); err != nil {
		t.Fatal(err)
	}
	if err := <-answer; err != nil {
		t.Errorf("open connection after Resume: %v", err)
	}
}

func TestKeptDirectory(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	first := startPostgres(t, devstack.Options{Dir: dir, Durable: true})
	execute(t, first.URL(), "CREATE TABLE t AS SELECT 42 AS n")

	_, err := devstack.StartPostgres(within(t), devstack.Options{Dir: dir})
	if want := fmt.Sprintf("%s is in use by process %d", dir, os.Getpid()); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("second instance: got %v, want %q", err, want)
	}
	if got := query[string](t, first.URL(), "SHOW fsync"); got != "on" {
		t.Errorf("the first one after the second was refused: got fsync %q, want on", got)
	}

	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Start(within(t)); err == nil {
		t.Error("Start after Close: got no error")
	}
	second := startPostgres(t, devstack.Options{Dir: dir})
	if got := query[int](t, second.URL(), "SELECT n FROM t"); got != 42 {
		t.Errorf("got %d, want 42", got)
	}
}

// A postmaster that nobody's lock speaks of, such as an orphan on macOS, is found by PostgreSQL itself.
func TestKeptDirectoryWithOrphan(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	orphan := startPostgres(t, devstack.Options{Dir: dir})
	pid := postmaster(t, orphan.URL())
	for _, ours := range []string{"lock", "pid"} {
		if err := os.Remove(filepath.Join(dir, "postgres", ours)); err != nil {
			t.Fatal(err)
		}
	}
	_, err := devstack.StartPostgres(within(t), devstack.Options{Dir: dir})
	if want := fmt.Sprintf("another PostgreSQL, process %d, runs on %s", pid, dir); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
	if got := query[int](t, orphan.URL(), "SELECT 1"); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
}

func TestKeptDirectoryOfAnotherVersion(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	mustClose(t, startPostgres(t, devstack.Options{Dir: dir}))
	version := filepath.Join(dir, "postgres", "data", "PG_VERSION")
	if err := os.WriteFile(version, []byte("12\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := devstack.StartPostgres(within(t), devstack.Options{Dir: dir})
	if want := "the data in " + dir + " was written by PostgreSQL 12 and only "; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %q", err, want)
	}
}

func TestKeptDirectoryTooLongForASocket(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(openDir(t), strings.Repeat("long/", 30))
	p := startPostgres(t, devstack.Options{Dir: dir})
	sockets := socketDir(t, p.URL())
	if strings.HasPrefix(sockets, dir) {
		t.Errorf("socket in %s, want it elsewhere", sockets)
	}
	if got := query[int](t, p.URL(), "SELECT 1"); got != 1 {
		t.Errorf("got %d, want 1", got)
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	if !missing(sockets) {
		t.Errorf("%s is still there after Close", sockets)
	}
}

func TestStartFailureShowsTheLog(t *testing.T) {
	t.Parallel()
	dir := openDir(t)
	mustClose(t, startPostgres(t, devstack.Options{Dir: dir}))
	conf := filepath.Join(dir, "postgres", "data", "postgresql.conf")
	if err := os.WriteFile(conf, []byte("no_such_setting = on\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := devstack.StartPostgres(within(t), devstack.Options{Dir: dir})
	if err == nil {
		t.Fatal("got no error")
	}
	t.Log(err)
	for _, want := range []string{"start PostgreSQL: it ended at once", "\n  | ", `"no_such_setting"`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("got %v\nwant it to contain %q", err, want)
		}
	}
}

func TestDirectoryThatTheServersUserCannotEnter(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root starts servers as someone else")
	}
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := devstack.StartPostgres(within(t), devstack.Options{Dir: filepath.Join(dir, "data")})
	if want := "who cannot enter " + dir; err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
		t.Errorf("got %v, want one line with %q", err, want)
	}
}

// openDir is a directory that the servers' user can enter too, which t.TempDir under root is not.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "devstack-test-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
