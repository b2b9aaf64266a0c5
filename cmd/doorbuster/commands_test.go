//go:build unix

package main_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"doorbuster/app/dbtest"
	"doorbuster/migrations"
)

// ask runs a query that returns one text.
func ask(t *testing.T, databaseURL, query string) string {
	t.Helper()
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, databaseURL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	var s string
	if err := conn.QueryRow(ctx, query).Scan(&s); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return s
}

// E1: migrate and seed fill an empty database with a catalogue that is worth browsing, the same for the same number, and
// a second seed moves the sale and delivers nothing again.
func TestMigrateAndSeed(t *testing.T) {
	t.Parallel()
	database := dbtest.EmptyDatabase(t)
	env := []string{"DATABASE_URL=" + database}
	run := func(args ...string) string {
		t.Helper()
		code, stdout, stderr := do(t, env, args...)
		if code != 0 {
			t.Fatalf("%v: got exit code %d: %s", args, code, stderr)
		}
		return stdout
	}
	if out := run("migrate", "status"); !strings.Contains(out, "pending") || strings.Contains(out, "applied") {
		t.Errorf("status of an empty database: %s", out)
	}
	if out := run("migrate", "up"); !strings.Contains(out, fmt.Sprintf("applied %d migrations", migrations.Latest)) {
		t.Errorf("up: %s", out)
	}
	if out := run("migrate", "status"); strings.Contains(out, "pending") {
		t.Errorf("status afterwards: %s", out)
	}
	run("seed", "--sale-starts", "+2m")
	const catalogue = `SELECT md5(string_agg(p.slug || p.name || p.description || s.code || s.list_price_minor || st.available, ',' ORDER BY s.code))
	                     FROM product p JOIN sku s ON s.product_id = p.id JOIN stock st ON st.sku_id = s.id`
	first := ask(t, database, catalogue)
	for query, want := range map[string]string{
		"SELECT (count(*) >= 1000)::text FROM product": "true",
		"SELECT (count(*) >= 8)::text FROM category":   "true",
		"SELECT (count(*) >= 12)::text FROM product p JOIN category c ON c.id = category_id WHERE c.slug = 'doorbusters'":                         "true",
		"SELECT (count(*) > count(DISTINCT product_id))::text FROM sku":                                                                           "true",
		"SELECT count(*)::text FROM sku LEFT JOIN stock ON sku.id = sku_id WHERE sku_id IS NULL":                                                  "0",
		"SELECT count(*)::text FROM sku LEFT JOIN sale_price ON sku.id = sku_id WHERE sale_only AND (sku_id IS NULL OR max_per_customer IS NULL)": "0",
		"SELECT (starts_at BETWEEN now() + interval '1 min' AND now() + interval '2 min')::text FROM sale":                                        "true",
		"SELECT (ends_at = starts_at + interval '24 hours')::text FROM sale":                                                                      "true",
	} {
		if got := ask(t, database, query); got != want {
			t.Errorf("%s: got %s, want %s", query, got, want)
		}
	}
	received := ask(t, database, "SELECT sum(quantity)::text FROM stock_receipt")
	run("seed", "--sale-starts", "2030-11-29T00:00:00Z", "--sale-lasts", "1h")
	if got := ask(t, database, "SELECT to_char(starts_at AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') FROM sale"); got != "2030-11-29 00:00" {
		t.Errorf("the sale was not moved: it starts %s", got)
	}
	if got := ask(t, database, catalogue); got != first {
		t.Error("the same number made another catalogue")
	}
	if got := ask(t, database, "SELECT sum(quantity)::text FROM stock_receipt"); got != received {
		t.Errorf("stock was delivered twice: %s units, then %s", received, got)
	}
	if code, _, stderr := do(t, env, "seed", "--seed", "2"); code != 1 || !strings.Contains(stderr, "another catalogue") {
		t.Errorf("another number: got exit code %d: %s", code, stderr)
	}
	if out := run("migrate", "down"); !strings.Contains(out, fmt.Sprintf("took migration %d back", migrations.Latest)) {
		t.Errorf("down: %s", out)
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		args           []string
		code           int
		stdout, stderr string
	}{
		{"nothing", nil, 0, "doorbuster dev", ""},
		{"help", []string{"--help"}, 0, "Run one worker", ""},
		{"exit codes", []string{"--help"}, 0, "Exit codes: 0 done; 1 refused", ""},
		{"version", []string{"version"}, 0, "(commit ", ""},
		{"Go version", []string{"version"}, 0, ", " + runtime.Version() + ")", ""},
		{"unknown command", []string{"sell"}, 2, "", "Try doorbuster --help"},
		{"unknown flag", []string{"worker", "--fast"}, 2, "", "--fast"},
		{"bad duration", []string{"worker", "--drain-timeout", "soon"}, 2, "", "drain-timeout"},
		{"bad sale", []string{"seed", "--sale-starts", "soon"}, 2, "", "neither now, nor a time from now"},
		{"no database", []string{"seed"}, 1, "", "DATABASE_URL is empty"},
		{"no database to migrate", []string{"migrate", "up"}, 1, "", "DATABASE_URL is empty"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			code, stdout, stderr := do(t, nil, c.args...)
			if code != c.code || !strings.Contains(stdout, c.stdout) || !strings.Contains(stderr, c.stderr) {
				t.Errorf("got exit code %d, output %q, errors %q; want %d, %q, %q", code, stdout, stderr, c.code, c.stdout, c.stderr)
			}
		})
	}
}
