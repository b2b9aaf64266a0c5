//go:build unix

package devstack_test

import (
	"context"
	"fmt"
	"net/url"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"doorbuster/app/devstack"
)

// asParent makes this test binary play the parent that is killed: it starts a stack, prints what it started, and
// waits for the end.
const asParent = "DEVSTACK_TEST_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(asParent) != "" {
		playParent()
	}
	redis.SetLogger(silence{}) // servers that are stopped on purpose are no news
	goleak.VerifyTestMain(m)
}

type silence struct{}

func (silence) Printf(context.Context, string, ...any) {}

func playParent() {
	s, err := devstack.Start(context.Background(), devstack.Options{Dir: os.Getenv(asParent + "_DIR")})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(s.Postgres.URL())
	select {}
}

// within bounds what a test waits for. It is generous: it only decides how long a broken test hangs.
func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func startPostgres(t *testing.T, o devstack.Options) *devstack.Postgres {
	t.Helper()
	if o.Progress == nil {
		o.Progress = func(msg string) { t.Log(msg) }
	}
	p, err := devstack.StartPostgres(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, p) })
	return p
}

func mustClose(t *testing.T, c interface{ Close() error }) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

// startRedis starts a server program; the tests of what only a program can do are skipped without one.
func startRedis(t *testing.T, o devstack.Options) *devstack.Redis {
	t.Helper()
	r, err := devstack.StartRedis(within(t), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { mustClose(t, r) })
	if strings.HasPrefix(r.Kind(), "miniredis") {
		t.Skip("neither redis-server nor valkey-server is on PATH")
	}
	return r
}

// query runs one statement on a connection of its own and returns the single value of its single row.
func query[T any](t *testing.T, databaseURL, sql string) T {
	t.Helper()
	v, err := tryQuery[T](within(t), databaseURL, sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

func tryQuery[T any](ctx context.Context, databaseURL, sql string) (v T, err error) {
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		return v, err
	}
	defer conn.Close(context.WithoutCancel(ctx))
	err = conn.QueryRow(ctx, sql).Scan(&v)
	return v, err
}

func execute(t *testing.T, databaseURL, sql string) {
	t.Helper()
	conn, err := pgx.Connect(within(t), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	if _, err := conn.Exec(within(t), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

func redisClient(t *testing.T, redisURL string) *redis.Client {
	t.Helper()
	o, err := redis.ParseURL(redisURL)
	if err != nil {
		t.Fatal(err)
	}
	o.MaxRetries = -1
	c := redis.NewClient(o)
	t.Cleanup(func() { c.Close() })
	return c
}

// socketDir is where the server of this URL has its socket.
func socketDir(t *testing.T, databaseURL string) string {
	t.Helper()
	u, err := url.Parse(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	return u.Query().Get("host")
}

// postmaster returns the pid of the server of this URL: it is the parent of whoever serves a connection.
func postmaster(t *testing.T, databaseURL string) int {
	t.Helper()
	raw, err := os.ReadFile(socketDir(t, databaseURL) + "/.s.PGSQL.5432.lock")
	if err != nil {
		t.Fatal(err)
	}
	line, _, _ := strings.Cut(string(raw), "\n")
	pid, err := strconv.Atoi(line)
	if err != nil {
		t.Fatal(err)
	}
	return pid
}

// running reports whether the process exists and is more than a zombie.
func running(pid int) bool { return devstack.Alive(pid) }

// eventually polls cond until it holds.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	ctx := within(t)
	again := time.NewTicker(5 * time.Millisecond)
	defer again.Stop()
	for !cond() {
		select {
		case <-again.C:
		case <-ctx.Done():
			t.Fatalf("not so within a minute: %s", what)
		}
	}
}

func missing(path string) bool {
	_, err := os.Lstat(path)
	return os.IsNotExist(err)
}
