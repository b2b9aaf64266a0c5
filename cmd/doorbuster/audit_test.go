//go:build unix

package main_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"doorbuster/app/devstack"
)

// E3: the audit of a shop whose books are right ends with 0, and with 1 and the reason when they are not; a log that is not
// there is said in a sentence. On a PostgreSQL that flushes its log: any other is a finding of its own.
func TestAudit(t *testing.T) {
	t.Parallel()
	postgres, err := devstack.StartPostgres(t.Context(), devstack.Options{Durable: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { postgres.Close() })
	database := []string{"DATABASE_URL=" + postgres.URL()}
	for _, command := range [][]string{{"migrate", "up"}, {"seed"}} {
		if code, _, stderr := do(t, database, command...); code != 0 {
			t.Fatalf("%v: %s", command, stderr)
		}
	}
	code, stdout, stderr := do(t, database, "audit")
	if code != 0 || !strings.Contains(stdout, "\n0 findings") || strings.Count(stdout, "skipped: ") != 3 {
		t.Errorf("of books that are right: code %d: %s %s", code, stdout, stderr)
	}
	missing := filepath.Join(t.TempDir(), "acks.jsonl")
	if code, _, stderr := do(t, database, "audit", "--acks", missing); code != 1 || !strings.Contains(stderr, "there is no acknowledgement log "+missing) {
		t.Errorf("without the log that was named: code %d: %s", code, stderr)
	}
	conn, err := pgx.Connect(t.Context(), postgres.URL())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(t.Context())
	if _, err := conn.Exec(t.Context(), "UPDATE stock SET available = available + 1 WHERE sku_id IN (SELECT sku_id FROM stock LIMIT 21)"); err != nil {
		t.Fatal(err)
	}
	code, stdout, stderr = do(t, database, "audit")
	if code != 1 || !strings.Contains(stdout, "WRONG: 21") || !strings.Contains(stdout, "\n  and 1 more\n") || !strings.Contains(stdout, "\n21 findings") {
		t.Errorf("of books that are wrong: code %d: %s %s", code, stdout, stderr)
	}
	if code, stdout, _ := do(t, database, "audit", "--json"); code != 1 || !strings.Contains(stdout, `"findings": 21`) {
		t.Errorf("as JSON: code %d: %s", code, stdout)
	}
}
