package migrations_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/dbtest"
	"doorbuster/migrations"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func open(t *testing.T, databaseURL string) *migrations.Migrator {
	t.Helper()
	return openWith(t, databaseURL, migrations.Options{})
}

func openWith(t *testing.T, databaseURL string, o migrations.Options) *migrations.Migrator {
	t.Helper()
	m, err := migrations.Open(databaseURL, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Close(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// versions of the migration files, oldest first. They must be 1, 2, 3 and so on: a gap is a file that was lost.
func versions(t *testing.T) []int64 {
	t.Helper()
	names, err := filepath.Glob("*.sql")
	if err != nil {
		t.Fatal(err)
	}
	var all []int64
	for i, name := range names {
		prefix, _, _ := strings.Cut(name, "_")
		v, err := strconv.ParseInt(prefix, 10, 64)
		if err != nil || len(prefix) != 5 || v != int64(i+1) {
			t.Fatalf("%s: it must be called %05d_<noun>.sql", name, i+1)
		}
		all = append(all, v)
	}
	return all
}

func TestLatestIsTheNewestFile(t *testing.T) {
	t.Parallel()
	all := versions(t)
	if got := int64(len(all)); migrations.Latest != got {
		t.Errorf("Latest: got %d, want %d as the newest file", migrations.Latest, got)
	}
}

func TestFilesSayWhoOwnsThem(t *testing.T) {
	t.Parallel()
	names, err := filepath.Glob("*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		first, _, _ := strings.Cut(string(raw), "\n")
		if !strings.HasPrefix(first, "-- ") {
			t.Errorf("%s: the first line must say in a comment what it is for", name)
		}
	}
}

func TestUpDownUp(t *testing.T) {
	t.Parallel()
	ctx, databaseURL := t.Context(), dbtest.EmptyDatabase(t)
	m, all := open(t, databaseURL), versions(t)
	empty := schema(t, databaseURL)

	up := func() []int64 {
		t.Helper()
		applied, err := m.Up(ctx)
		if err != nil {
			t.Fatal(err)
		}
		return applied
	}
	if diff := cmp.Diff(all, up()); diff != "" {
		t.Errorf("applied to an empty database (-want +got):\n%s", diff)
	}
	if got := up(); len(got) != 0 {
		t.Errorf("applied again: got %v, want none", got)
	}
	first := schema(t, databaseURL)
	if len(first) == 0 {
		t.Error("the migrated schema is empty")
	}
	checkStatus(t, m, true)

	for _, want := range slices.Backward(all) {
		if got, err := m.Down(ctx); err != nil || got != want {
			t.Fatalf("down: got %d, %v, want %d", got, err, want)
		}
	}
	if got, err := m.Down(ctx); err != nil || got != 0 {
		t.Errorf("down from nothing: got %d, %v, want 0", got, err)
	}
	if diff := cmp.Diff(empty, schema(t, databaseURL)); diff != "" {
		t.Errorf("what all downs leave (-empty +left):\n%s", diff)
	}
	checkStatus(t, m, false)

	up()
	if diff := cmp.Diff(first, schema(t, databaseURL)); diff != "" {
		t.Errorf("schema after up, down and up (-first +second):\n%s", diff)
	}
}

func checkStatus(t *testing.T, m *migrations.Migrator, applied bool) {
	t.Helper()
	steps, err := m.Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if len(steps) != migrations.Latest {
		t.Errorf("status: got %d steps, want %d", len(steps), migrations.Latest)
	}
	for _, s := range steps {
		if s.Applied != applied {
			t.Errorf("status of %s: got applied %v, want %v", s.File, s.Applied, applied)
		}
	}
}

// Two deploys at once: both succeed, and the work is done once.
func TestConcurrentUps(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.EmptyDatabase(t)
	var (
		applied [2][]int64
		wg      sync.WaitGroup
	)
	for i := range applied {
		m := open(t, databaseURL)
		wg.Go(func() {
			var err error
			if applied[i], err = m.Up(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := len(applied[0]) + len(applied[1]); got != migrations.Latest {
		t.Errorf("applied: got %v, want each migration once", applied)
	}
	rows := query(t, databaseURL, `SELECT version_id::text FROM goose_db_version WHERE version_id > 0 ORDER BY id`)
	var want []string
	for _, v := range versions(t) {
		want = append(want, strconv.FormatInt(v, 10))
	}
	if diff := cmp.Diff(want, rows); diff != "" {
		t.Errorf("recorded versions (-want +got):\n%s", diff)
	}
}

// schema lists all that a migration can make, one line each, without goose's own table.
func schema(t *testing.T, databaseURL string) []string {
	t.Helper()
	return query(t, databaseURL, `
		WITH mine AS (
			SELECT c.oid, c.relname, c.relkind, pg_get_userbyid(c.relowner) AS owner
			FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
			WHERE n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relname NOT LIKE 'goose_db_version%'
		)
		SELECT line FROM (
			SELECT format('relation %s %s', relkind, relname) AS line FROM mine
			UNION ALL
			SELECT format('column %s.%s %s %s null:%s default:%s generated:%s identity:%s', relname, attnum, attname,
				format_type(atttypid, atttypmod), NOT attnotnull, pg_get_expr(adbin, adrelid), attgenerated, attidentity)
			FROM mine JOIN pg_attribute ON attrelid = mine.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
			WHERE relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped
			UNION ALL
			SELECT format('constraint %s %s %s', relname, conname, pg_get_constraintdef(k.oid))
			FROM mine JOIN pg_constraint k ON conrelid = mine.oid
			UNION ALL
			SELECT format('index %s', pg_get_indexdef(mine.oid)) FROM mine WHERE relkind = 'i'
			UNION ALL
			SELECT format('trigger %s', pg_get_triggerdef(g.oid)) FROM mine JOIN pg_trigger g ON tgrelid = mine.oid
			WHERE NOT tgisinternal
			UNION ALL
			SELECT format('view %s %s', relname, pg_get_viewdef(oid)) FROM mine WHERE relkind IN ('v', 'm')
			UNION ALL
			SELECT format('function %s', pg_get_functiondef(p.oid)) FROM pg_proc p
			JOIN pg_namespace n ON n.oid = pronamespace AND nspname = 'public' AND prokind IN ('f', 'p')
			UNION ALL
			SELECT format('type %s %s %s', typname, typtype,
				(SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_enum WHERE enumtypid = y.oid))
			FROM pg_type y JOIN pg_namespace n ON n.oid = typnamespace AND nspname = 'public' AND typtype IN ('e', 'd', 'r')
			UNION ALL
			SELECT format('extension %s', extname) FROM pg_extension
		) AS listing ORDER BY line COLLATE "C"`)
}

// query returns the single text column of all rows.
func query(t *testing.T, databaseURL, sql string) []string {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.WithoutCancel(t.Context()))
	rows, err := conn.Query(t.Context(), sql)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		t.Fatal(err)
	}
	return lines
}

// What is broken off in the middle can be repeated, after each statement of each
// migration that has no transaction; to take it back as well.
func TestBrokenOffIsRepeated(t *testing.T) {
	t.Parallel()
	up, down, err := migrations.Alone()
	if err != nil || len(up) == 0 {
		t.Fatal(len(up), err)
	}
	for version, statements := range up {
		before, err := migrations.Until(version - 1)
		if err != nil {
			t.Fatal(err)
		}
		after, err := migrations.Until(version)
		if err != nil {
			t.Fatal(err)
		}
		for n := range len(statements) + 1 {
			t.Run(fmt.Sprintf("%d up %d", version, n), func(t *testing.T) {
				t.Parallel()
				databaseURL := dbtest.EmptyDatabase(t)
				mustUp(t, openWith(t, databaseURL, migrations.Options{Files: before}))
				conn := connect(t, databaseURL, "broken off")
				for _, s := range statements[:n] {
					run(t, conn, s)
				}
				mustUp(t, openWith(t, databaseURL, migrations.Options{Files: after}))
				other := dbtest.EmptyDatabase(t)
				mustUp(t, openWith(t, other, migrations.Options{Files: after}))
				if diff := cmp.Diff(schema(t, other), schema(t, databaseURL)); diff != "" {
					t.Errorf("schema (-want +got):\n%s", diff)
				}
			})
		}
		for n := range len(down[version]) + 1 {
			t.Run(fmt.Sprintf("%d down %d", version, n), func(t *testing.T) {
				t.Parallel()
				databaseURL := dbtest.EmptyDatabase(t)
				m := openWith(t, databaseURL, migrations.Options{Files: after})
				mustUp(t, m)
				conn := connect(t, databaseURL, "broken off")
				for _, s := range down[version][:n] {
					run(t, conn, s)
				}
				if _, err := m.Down(t.Context()); err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func mustUp(t *testing.T, m *migrations.Migrator) {
	t.Helper()
	if _, err := m.Up(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Numbers of orders are given once, whichever migrations are taken back and
// applied again in between.
func TestOrderNumbersAreGivenOnce(t *testing.T) {
	t.Parallel()
	ctx, databaseURL := t.Context(), dbtest.EmptyDatabase(t)
	m, err := migrations.Open(databaseURL, migrations.Options{LoseRows: true, WhileServing: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	seen := map[int64]bool{}
	order := func() {
		t.Helper()
		for range 20 {
			var number int64
			if err := conn.QueryRow(ctx, `INSERT INTO orders (id, owner_id, cart_id, fingerprint, paying_until, email, currency, subtotal_minor, discount_minor, total_minor, hold_expires_at)
				VALUES (gen_random_uuid(), gen_random_uuid(), gen_random_uuid(), '', '-infinity', 'a@example.com', 'USD', 1, 0, 1, now()) RETURNING number`).Scan(&number); err != nil {
				t.Fatal(err)
			}
			if seen[number] {
				t.Errorf("number %d was given twice", number)
			}
			seen[number] = true
		}
	}
	move := func(up bool) {
		t.Helper()
		var err error
		if up {
			_, err = m.Up(ctx)
		} else {
			_, err = m.Down(ctx)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	move(true)
	for range migrations.Latest - 14 { // back to before the numbers
		move(false)
	}
	order()
	for range 2 {
		move(true)
		order()
		for range migrations.Latest - 14 {
			move(false)
		}
		order()
	}
}
