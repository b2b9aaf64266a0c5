package migrations_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/dbtest"
	"doorbuster/migrations"
)

// some are migrations of a shop of one table, in order.
func some(texts ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i, text := range texts {
		files[fmt.Sprintf("%05d_some.sql", i+1)] = &fstest.MapFile{Data: []byte(text)}
	}
	return files
}

const (
	makeOrders = "-- +goose Up\nCREATE TABLE orders (id int PRIMARY KEY);\nINSERT INTO orders VALUES (1);\n-- +goose Down\nDROP TABLE orders;"
	addNote    = "-- +goose Up\nALTER TABLE orders ADD COLUMN note text;\n-- +goose Down\nALTER TABLE orders DROP COLUMN note;"
	addIndex   = "-- +goose NO TRANSACTION\n-- +goose Up\nDROP INDEX CONCURRENTLY IF EXISTS orders_other;\n" +
		"CREATE INDEX CONCURRENTLY orders_other ON orders (id);\n-- +goose Down\nDROP INDEX CONCURRENTLY IF EXISTS orders_other;"
)

// listened is a migrator that tells what it waits for.
type listened struct {
	*migrations.Migrator
	said chan string
}

func listen(t *testing.T, databaseURL string, o migrations.Options) listened {
	t.Helper()
	said := make(chan string, 100)
	o.Say = func(sentence string) { said <- sentence }
	return listened{openWith(t, databaseURL, o), said}
}

// hang is how long a test waits for what has to come.
const hang = time.Minute

// next is the next sentence.
func (m listened) next(t *testing.T) string {
	t.Helper()
	select {
	case sentence := <-m.said:
		return sentence
	case <-time.After(hang):
		t.Fatal("nothing is said")
		return ""
	}
}

// up begins to apply what is missing. What becomes of it comes later.
func (m listened) up(t *testing.T) <-chan result {
	t.Helper()
	done := make(chan result, 1)
	go func() {
		applied, err := m.Up(t.Context())
		done <- result{applied, err}
	}()
	return done
}

type result struct {
	applied []int64
	err     error
}

// connect opens a connection under a name.
func connect(t *testing.T, databaseURL, name string) *pgx.Conn {
	t.Helper()
	config, err := pgx.ParseConfig(databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	config.RuntimeParams["application_name"] = name
	conn, err := pgx.ConnectConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.WithoutCancel(t.Context())) })
	return conn
}

func run(t *testing.T, conn *pgx.Conn, sql string) {
	t.Helper()
	if _, err := conn.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}

// readLong reads orders in a transaction that stays open, as an audit or pg_dump does.
func readLong(t *testing.T, databaseURL string) *pgx.Conn {
	t.Helper()
	reader := connect(t, databaseURL, "long report")
	run(t, reader, "BEGIN ISOLATION LEVEL REPEATABLE READ")
	run(t, reader, "SELECT count(*) FROM orders")
	return reader
}

// D4: a migration that finds its table in use gives way again and again, says to whom,
// and is applied when that is gone. Customers get through meanwhile.
func TestUpGivesWay(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.EmptyDatabase(t)
	if _, err := openWith(t, databaseURL, migrations.Options{Files: some(makeOrders)}).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader, customer := readLong(t, databaseURL), connect(t, databaseURL, "customer")
	m := listen(t, databaseURL, migrations.Options{Files: some(makeOrders, addNote)})
	done := m.up(t)
	for try := range 2 {
		sentence := m.next(t)
		for _, part := range []string{
			"00002_some.sql needs orders, held by", fmt.Sprintf("pid %d (long report, user ", reader.PgConn().PID()), " since ",
			`with "SELECT count(*) FROM orders"`, "nothing is locked meanwhile", fmt.Sprintf("pg_terminate_backend(%d)", reader.PgConn().PID()),
		} {
			if !strings.Contains(sentence, part) {
				t.Errorf("it is not told %q: %s", part, sentence)
			}
		}
		// Longer than a statement of ours waits, and shorter than the reader reads.
		run(t, customer, fmt.Sprintf("SET lock_timeout = '5s'; INSERT INTO orders VALUES (%d)", 10+try))
	}
	run(t, reader, "COMMIT")
	r := <-done
	if diff := cmp.Diff([]int64{2}, r.applied); r.err != nil || diff != "" {
		t.Errorf("error %v, applied (-want +got):\n%s", r.err, diff)
	}
}

// A migration that never gets its table changes nothing, and says what to do.
func TestUpGivesUp(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.EmptyDatabase(t)
	readers := func() *pgx.Conn { return readLong(t, databaseURL) }
	files := some(makeOrders, addNote)
	if _, err := openWith(t, databaseURL, migrations.Options{Files: some(makeOrders)}).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := readers()
	m := openWith(t, databaseURL, migrations.Options{Files: files, Patience: time.Second})
	_, err := m.Up(t.Context())
	want := fmt.Sprintf("migrate up: 00002_some.sql was in vain for 1s: it needs orders, held by pid %d (long report, user ", reader.PgConn().PID())
	if err == nil || !strings.HasPrefix(err.Error(), want) || !strings.Contains(err.Error(), "run doorbuster migrate again") {
		t.Errorf("got %v, want %s...", err, want)
	}
	run(t, reader, "COMMIT")
	if applied, err := m.Up(t.Context()); err != nil || len(applied) != 1 {
		t.Errorf("afterwards: got %v, %v, want one", applied, err)
	}
	reader = readers()
	down := openWith(t, databaseURL, migrations.Options{Files: files, Patience: time.Second})
	if _, err := down.Down(t.Context()); err == nil || !strings.Contains(err.Error(), "00002_some.sql was in vain") {
		t.Errorf("down: got %v", err)
	}
	run(t, reader, "COMMIT")
}

// Who holds an index that is made without locks up is told, and it goes on when that
// is gone: it is not begun again.
func TestIndexesWait(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.EmptyDatabase(t)
	if _, err := openWith(t, databaseURL, migrations.Options{Files: some(makeOrders)}).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	reader := readLong(t, databaseURL)
	m := listen(t, databaseURL, migrations.Options{Files: some(makeOrders, addIndex)})
	done := m.up(t)
	if sentence := m.next(t); !strings.Contains(sentence, fmt.Sprintf("pid %d (long report", reader.PgConn().PID())) {
		t.Errorf("got %s", sentence)
	}
	run(t, reader, "COMMIT")
	if r := <-done; r.err != nil {
		t.Error(r.err)
	}
	if got := query(t, databaseURL, "SELECT indisvalid::text FROM pg_index WHERE indexrelid = 'orders_other'::regclass"); !cmp.Equal(got, []string{"true"}) {
		t.Errorf("valid: got %v", got)
	}
}

// The second migrate waits for the first, and says for whom.
func TestUpWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.EmptyDatabase(t)
	first := connect(t, databaseURL, "the other migrate")
	run(t, first, "SELECT pg_advisory_lock(4097083626)") // goose's own key, of releases before
	m := listen(t, databaseURL, migrations.Options{Files: some(makeOrders)})
	done := m.up(t)
	if sentence := m.next(t); !strings.Contains(sentence, fmt.Sprintf("the turn to migrate, held by pid %d (the other migrate, user ", first.PgConn().PID())) {
		t.Errorf("got %s", sentence)
	}
	run(t, first, "SELECT pg_advisory_unlock_all()")
	if r := <-done; r.err != nil || len(r.applied) != 1 {
		t.Errorf("got %v, %v, want one applied", r.applied, r.err)
	}
}

// A migration whose connection is lost has not happened, holds no turn, and can be
// repeated.
func TestUpLosesItsConnection(t *testing.T) {
	t.Parallel()
	for name, files := range map[string]fstest.MapFS{"transaction": some(makeOrders, addNote), "no transaction": some(makeOrders, addIndex)} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.EmptyDatabase(t)
			if _, err := openWith(t, databaseURL, migrations.Options{Files: some(makeOrders)}).Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			reader := readLong(t, databaseURL)
			operator := connect(t, databaseURL, "operator")
			m := listen(t, databaseURL, migrations.Options{Files: files})
			done := m.up(t)
			m.next(t)
			var ended bool
			for !ended { // it is in the way of itself only while it tries
				err := operator.QueryRow(t.Context(), `SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_locks
 WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) OR NOT granted AND locktype = 'virtualxid'
   AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())`).Scan(&ended)
				if err != nil {
					t.Fatal(err)
				}
			}
			if r := <-done; r.err == nil || !strings.Contains(r.err.Error(), "terminating connection") {
				t.Errorf("got %v", r.err)
			}
			run(t, reader, "COMMIT")
			again := openWith(t, databaseURL, migrations.Options{Files: files})
			if applied, err := again.Up(t.Context()); err != nil || !cmp.Equal(applied, []int64{2}) {
				t.Errorf("again: got %v, %v", applied, err)
			}
		})
	}
}
