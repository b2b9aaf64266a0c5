package dbtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"doorbuster/migrations"
)

// asProber makes this test binary ask for a Docker engine and print the answer: testcontainers asks once per
// process, so a test with an engine of its own needs a process of its own. With the value "servers" it starts
// both servers and prints where; "redis" starts one.
const asProber = "DBTEST_TEST_PROBE"

func TestMain(m *testing.M) {
	switch os.Getenv(asProber) {
	case "probe":
		engine, err := probe(context.Background(), imagesFrom(os.Getenv))
		fmt.Printf("%s|%s|%v\n", engine.version, engine.route, err)
		return
	case "servers", "redis":
		s := New(os.Getenv)
		_, err := s.RedisURL(context.Background())
		if err == nil && os.Getenv(asProber) == "servers" {
			_, err = s.DatabaseURL(context.Background())
		}
		fmt.Printf("%s|%v\n", s, err)
		if err := s.Close(); err != nil {
			fmt.Println(err)
		}
		return
	}
	goleak.VerifyTestMain(runner{m})
}

// runner has the servers closed before goleak looks.
type runner struct{ m *testing.M }

func (r runner) Run() int { return Run(r.m) }

func connect(t *testing.T, url string) *pgx.Conn {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func query[T any](t *testing.T, url, sql string, args ...any) (v T) {
	t.Helper()
	if err := connect(t, url).QueryRow(t.Context(), sql, args...).Scan(&v); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return v
}

const countTables = "SELECT count(*) FROM information_schema.tables WHERE table_schema = 'public'"

func TestDatabaseIsMigratedAndOnesOwn(t *testing.T) {
	t.Parallel()
	first, second := Database(t), Database(t)
	if first == second {
		t.Fatal("two calls gave the same database")
	}
	if got := query[int64](t, first, "SELECT max(version_id) FROM goose_db_version"); got != migrations.Latest {
		t.Errorf("schema version: got %d, want %d", got, migrations.Latest)
	}
	tables := query[int](t, first, countTables)
	if _, err := connect(t, first).Exec(t.Context(), "CREATE TABLE only_here ()"); err != nil {
		t.Fatal(err)
	}
	if got := query[int](t, second, countTables); got != tables {
		t.Errorf("tables in the second database: got %d, want %d", got, tables)
	}
	if got := query[int](t, EmptyDatabase(t), countTables); got != 0 {
		t.Errorf("tables in an empty database: got %d, want 0", got)
	}
}

func TestDatabaseIsDroppedWithItsTest(t *testing.T) {
	t.Parallel()
	var url string
	t.Run("user", func(t *testing.T) {
		url = Database(t)
		// Left open on purpose: a test that forgets to close must not keep its database.
		conn, err := pgx.Connect(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		_ = conn
	})
	_, err := pgx.Connect(t.Context(), url)
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != "3D000" {
		t.Errorf("connect after the test: got %v, want that the database does not exist", err)
	}
}

func TestManyDatabasesAtOnce(t *testing.T) {
	t.Parallel()
	for i := range 8 {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			if _, err := Pool(t).Exec(t.Context(), "INSERT INTO category (slug, name) VALUES ('one', 'One')"); err != nil {
				t.Error(err)
			}
		})
	}
}

func TestRedisIsSharedAndAnswers(t *testing.T) {
	t.Parallel()
	if a, b := Redis(t), Redis(t); a != b {
		t.Errorf("got %s and then %s, want the same", a, b)
	}
	o, err := redis.ParseURL(Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	c := redis.NewClient(o)
	defer c.Close()
	if err := c.Ping(t.Context()).Err(); err != nil {
		t.Error(err)
	}
}

// Another test binary on the same server, through TEST_DATABASE_URL: it cleans up what is its own, and no more.
func TestServersByVariable(t *testing.T) {
	t.Parallel()
	main, err := shared.DatabaseURL(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	vars := map[string]string{"TEST_DATABASE_URL": main, "TEST_REDIS_URL": Redis(t), "TEST_SERVERS": "containers"}
	other := New(func(name string) string { return vars[name] })
	name, url, err := other.createDatabase(t.Context(), t.Name(), true)
	if err != nil {
		t.Fatal(err)
	}
	template := other.template
	if got := query[string](t, url, "SELECT current_database()"); got != name {
		t.Errorf("got database %s, want %s", got, name)
	}
	if _, err := other.RedisURL(t.Context()); err != nil {
		t.Error(err)
	}
	if got := other.String(); !strings.Contains(got, "PostgreSQL ") || !strings.Contains(got, "TEST_REDIS_URL") {
		t.Errorf("it says %q", got)
	}
	if err := errors.Join(other.dropDatabase(t.Context(), name), other.Close(), other.Close()); err != nil {
		t.Error(err)
	}
	const there = "SELECT count(*) FROM pg_database WHERE datname = $1"
	if got := query[int](t, main, there, template); got != 0 {
		t.Errorf("template %s is still there after Close", template)
	}
	if _, err := other.DatabaseURL(t.Context()); err == nil {
		t.Error("closed servers gave a URL")
	}
}

func TestServersByVariableThatAreNotThere(t *testing.T) {
	t.Parallel()
	s := New(func(name string) string {
		return map[string]string{"TEST_DATABASE_URL": "postgres://nobody@127.0.0.1:1/x"}[name]
	})
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if _, err := s.DatabaseURL(ctx); err == nil || !strings.HasPrefix(err.Error(), "TEST_DATABASE_URL: ") {
		t.Errorf("got %v, want it to name the variable", err)
	}
}

func TestChoice(t *testing.T) {
	t.Parallel()
	near := route{host: "127.0.0.1"}
	engine := func(context.Context, images) (found, error) { return found{version: "Docker 99", route: near}, nil }
	none := func(context.Context, images) (found, error) { return found{}, errors.New("no Docker engine answered") }
	for _, c := range []struct {
		insist string
		probe  func(context.Context, images) (found, error)
		want   choice
		err    string
	}{
		{"", engine, choice{containers: true, route: near, why: "Docker 99"}, ""},
		{"", none, choice{why: "no Docker engine answered"}, ""},
		{"containers", engine, choice{containers: true, route: near, why: "Docker 99", insisted: true}, ""},
		{"containers", none, choice{}, "TEST_SERVERS=containers: no Docker engine answered"},
		{"private", engine, choice{why: "TEST_SERVERS=private", insisted: true}, ""},
		{"both", engine, choice{}, "TEST_SERVERS=both: it must be containers or private"},
	} {
		got, err := chooseBy(t.Context(), func(string) string { return c.insist }, c.probe)
		if (err == nil) != (c.err == "") || err != nil && err.Error() != c.err {
			t.Errorf("TEST_SERVERS=%s: got error %v, want %q", c.insist, err, c.err)
		}
		if diff := cmp.Diff(c.want, got, cmp.AllowUnexported(choice{}, route{})); diff != "" {
			t.Errorf("TEST_SERVERS=%s (-want +got):\n%s", c.insist, diff)
		}
	}
}

func TestWithDatabase(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"postgres://u:p@h:5432/main?sslmode=disable": "postgres://u:p@h:5432/x?sslmode=disable",
		"postgresql://h": "postgresql://h/x",
		"postgres://u@/main?host=/tmp/a%20b/s&port=5432": "postgres://u@/x?host=/tmp/a%20b/s&port=5432",
		"host=/tmp user=u dbname=main":                   "host=/tmp user=u dbname=main dbname=x",
	} {
		got, err := withDatabase(dsn, "x")
		if err != nil || got != want {
			t.Errorf("%s: got %s, %v, want %s", dsn, got, err, want)
		}
		config, err := pgx.ParseConfig(got)
		if err != nil || config.Database != "x" {
			t.Errorf("%s: pgx reads another database, or fails: %v", got, err)
		}
	}
}

func TestIdentifier(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"TestA/some case#01": "testa_some_case_01", "": "", "Test/日本": "test",
		strings.Repeat("x", 50) + "end": strings.Repeat("x", 27) + "end",
	} {
		if got := identifier(in, 30); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
