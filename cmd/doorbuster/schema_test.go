//go:build unix

package main_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"

	"doorbuster/migrations"
)

// The worked example of migrations/doc.go: order_line.name becomes title.
const example = "../../migrations/testdata/rename"

// rewritten are the places where the new release reads and writes the new form.
var rewritten = map[string][]string{"../../app/checkout/store.go": {
	"INSERT INTO order_line (order_id, sku_id, sku_code, name, ", "INSERT INTO order_line (order_id, sku_id, sku_code, title, ",
	"'name', l.name,", "'name', l.title,",
}}

// buildRelease builds a release that has some migrations of the example besides, and
// reads and writes the new form. It is built beside the source, which stays as it is:
// https://pkg.go.dev/cmd/go (-overlay).
func buildRelease(t *testing.T, name string, files ...string) string {
	t.Helper()
	dir := t.TempDir()
	overlay := struct{ Replace map[string]string }{map[string]string{}}
	replace := func(path, text string) {
		absolute, err := filepath.Abs(path)
		if err != nil {
			t.Fatal(err)
		}
		with := filepath.Join(dir, fmt.Sprintf("%d_%s", len(overlay.Replace), filepath.Base(path)))
		if err := os.WriteFile(with, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[absolute] = with
	}
	read := func(path string) string {
		raw, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return string(raw)
	}
	for i, file := range files {
		text := strings.ReplaceAll(read(filepath.Join(example, file)), "EXPAND", fmt.Sprintf("%05d", migrations.Latest+1))
		_, noun, _ := strings.Cut(file, "_")
		replace(fmt.Sprintf("../../migrations/%05d_%s", migrations.Latest+1+i, noun), text)
	}
	for path, edits := range rewritten {
		replace(path, edited(t, path, read(path), edits))
	}
	const version = "../../migrations/migrations.go"
	replace(version, edited(t, version, read(version), []string{
		fmt.Sprintf("const Latest = %d\n", migrations.Latest), fmt.Sprintf("const Latest = %d\n", migrations.Latest+len(files)),
	}))
	raw, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "doorbuster")
	build := exec.CommandContext(t.Context(), "go", "build", "-overlay", list, "-ldflags", "-X main.version="+name, "-o", program, "doorbuster/cmd/doorbuster")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build release %s: %v\n%s", name, err, out)
	}
	return program
}

// edited returns a text with edits, each of which has to be possible: from, to, from, to ...
func edited(t *testing.T, path, text string, edits []string) string {
	t.Helper()
	for i := 0; i < len(edits); i += 2 {
		if strings.Count(text, edits[i]) != 1 {
			t.Fatalf("%s has %q not once: change the example of a schema change together with it", path, edits[i])
		}
		text = strings.Replace(text, edits[i], edits[i+1], 1)
	}
	return text
}

// reviews buys something and reads its order. A line without its name fails to be
// read, whichever release has written it and whichever reads it.
func reviews(s *shop, keys, orders *atomic.Int64) func() func() (int, error) {
	return visits(s, append(shopping(sku), step{"GET", "/v1/orders", "", http.StatusOK}), keys, orders)
}

// N2, D4: the schema changes while the shop is open. A long report holds the table that
// is to be changed, and keeps neither customers nor, once it has ended, the migration.
// The old release serves on the new schema, beside the new one, for as long as it
// likes; the old form is taken away when nobody needs it. No request fails.
func TestSchemaChangesUnderLoad(t *testing.T) {
	t.Parallel()
	setting := catalogue(t)
	database := strings.TrimPrefix(setting, "DATABASE_URL=")
	ask(t, database, "WITH much AS (UPDATE stock SET available = 1000000 RETURNING 1) SELECT count(*)::text FROM much")
	program := deploy(t)
	s := launchShop(t, []string{setting}, program.path, "serve")
	s.await(&s.at, "all workers are ready", nil)
	expanded := buildRelease(t, "expanded", "1_expand.sql", "2_fill.sql")
	contracted := buildRelease(t, "contracted", "1_expand.sql", "2_fill.sql", "3_contract.sql")

	var keys, bought atomic.Int64
	c := newCrowd(s)
	c.join("customers of the shop", 3, reviews(s, &keys, &bought))
	c.working()

	// A new release says what it needs before it serves.
	if code, _, stderr := do(t, []string{setting, "REDIS_URL=redis://127.0.0.1:1"}, "worker", "--addr", "127.0.0.1:0"); code != 1 || strings.Contains(stderr, "schema") {
		t.Errorf("a worker of the schema: got exit code %d: %s", code, stderr)
	}
	early := startProgram(t, []string{setting, "REDIS_URL=redis://127.0.0.1:1"}, expanded, "worker", "--addr", "127.0.0.1:0")
	if code := early.wait(); code != 1 || !strings.Contains(early.stderr.String(), fmt.Sprintf("this release needs %d: run doorbuster migrate up first", migrations.Latest+2)) {
		t.Errorf("a worker before its schema: got exit code %d: %s", code, early.stderr)
	}

	// Expand, behind a long report.
	ctx := t.Context()
	report, err := pgx.Connect(ctx, database)
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close(ctx)
	for _, sql := range []string{"BEGIN ISOLATION LEVEL REPEATABLE READ", "SELECT count(*) FROM orders JOIN order_line ON id = order_id"} {
		if _, err := report.Exec(ctx, sql); err != nil {
			t.Fatal(err)
		}
	}
	migrate := startProgram(t, []string{setting}, expanded, "migrate", "up")
	at := position(0)
	for range 2 {
		waits := func(line string) bool {
			return strings.Contains(line, "_expand.sql needs order_line, held by") && strings.Contains(line, fmt.Sprint("pid ", report.PgConn().PID()))
		}
		if !migrate.stderr.await(&at, waits) {
			t.Fatalf("it is not said who is in the way: %s", migrate.stderr)
		}
		c.working()
	}
	if _, err := report.Exec(ctx, "COMMIT"); err != nil {
		t.Fatal(err)
	}
	if code := migrate.wait(); code != 0 {
		t.Fatalf("migrate up: got exit code %d: %s", code, migrate.stderr)
	}
	if n := ask(t, database, "SELECT count(*)::text FROM order_line WHERE title IS DISTINCT FROM name"); n != "0" {
		t.Errorf("%s lines without their title", n)
	}
	c.working() // the old release, on the new schema

	// Old and new side by side, on one database.
	second := launchShop(t, []string{setting}, expanded, "serve")
	second.await(&second.at, "all workers are ready", nil)
	beside := newCrowd(second)
	beside.join("customers of the new release beside it", 3, reviews(second, &keys, &bought))
	beside.working()
	c.working()

	// Nothing that either needs is taken away.
	for args, want := range map[string]string{"migrate up": "takes away what 2 connected workers", "migrate down": "is needed by 2 connected workers"} {
		release := contracted
		if args == "migrate down" {
			release = expanded
		}
		refused := startProgram(t, []string{setting}, append([]string{release}, strings.Fields(args)...)...)
		if code := refused.wait(); code != 1 || !strings.Contains(refused.stderr.String(), want) {
			t.Errorf("%s: got exit code %d: %s; want %q", args, code, refused.stderr, want)
		}
	}

	// The shop itself, and then the contract.
	program.replace(expanded, "")
	s.reload()
	c.working()
	last := startProgram(t, []string{setting}, contracted, "migrate", "up")
	if code := last.wait(); code != 0 {
		t.Fatalf("the contract: got exit code %d: %s", code, last.stderr)
	}
	beside.working()
	c.working()
	program.replace(contracted, "")
	s.reload()
	c.working()
	beside.allServed()
	c.allServed()
	if got := ask(t, database, "SELECT count(*)::text FROM orders WHERE status = 'confirmed'"); got != fmt.Sprint(bought.Load()) {
		t.Errorf("%s orders are confirmed; %d were told", got, bought.Load())
	}
	second.close()
	s.close()
}
