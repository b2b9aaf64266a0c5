package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/dbtest"
	"doorbuster/app/volume"
)

// Statements that read a whole table, and may: nobody waits for them, or the table
// does not grow with the shop.
var readsAll = regexp.MustCompile(`^(audit\.|volume\.|app\.(schema_version|connection_room)$|(checkout\.forget_lock|cart\.unmark|inventory\.taken_by)$)`)

// small tables don't grow with customers, products or orders.
var small = []string{"category", "sale", "discount", "goose_db_version"}

// D12: no statement of the shop reads more of a large table than it gives out, by
// the plan that PostgreSQL keeps for all parameters. The tables are a thousandth of
// a large shop's; their statistics say that they are large.
func TestPlansAtSize(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	fill(t, pool, volume.Size{Products: 5_000, Orders: 10_000})
	enliven(t, pool)
	pretend(t, pool, 200)
	conn := acquire(t, pool)
	for name, statement := range statementsOf(t, ".") {
		t.Run(name, func(t *testing.T) {
			if readsAll.MatchString(name) {
				t.Skip("it reads all, and may")
			}
			for _, fault := range growing(explain(t, conn, statement)) {
				t.Errorf("%s\n%s", fault, statement)
			}
		})
	}
}

// A release goes on when a newer one adds columns to its tables: each of its statements
// returns what it returned before, also where it is prepared already.
func TestStatementsBearNewColumns(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	conn := acquire(t, pool)
	ctx := t.Context()
	statements := statementsOf(t, ".")
	names := slices.Sorted(maps.Keys(statements))
	arguments := make([]string, len(names))
	for i, name := range names {
		if _, err := conn.Exec(ctx, fmt.Sprintf("PREPARE s%d AS %s", i, statements[name])); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		var n int
		if err := conn.QueryRow(ctx, "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = $1", fmt.Sprintf("s%d", i)).Scan(&n); err != nil {
			t.Fatal(err)
		}
		if n > 0 {
			arguments[i] = "(" + strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ") + ")"
		}
	}
	explainAll := func(when string) {
		for i, name := range names {
			if _, err := conn.Exec(ctx, fmt.Sprintf("EXPLAIN EXECUTE s%d%s", i, arguments[i]), pgx.QueryExecModeSimpleProtocol); err != nil {
				t.Errorf("%s: %s: %v", name, when, err)
			}
		}
	}
	explainAll("before")
	if _, err := conn.Exec(ctx, `DO $$ DECLARE t regclass; BEGIN
    FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' LOOP
        EXECUTE format('ALTER TABLE %s ADD COLUMN new_column text', t);
    END LOOP;
END $$`); err != nil {
		t.Fatal(err)
	}
	explainAll("with a new column")
}

// Lists, searches and pages of all kinds look at a bounded part of the catalogue,
// wherever in it they are: counted in pages of PostgreSQL's, 8 kB each, and in rows
// that were read in vain.
func TestReadsAreBounded(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	const products = 30_000
	fill(t, pool, volume.Size{Products: products})
	conn := acquire(t, pool)
	statements := statementsOf(t, "catalog")
	var last, most int64
	if err := pool.QueryRow(t.Context(), "SELECT max(id), max(category_id) FROM product").Scan(&most, &last); err != nil {
		t.Fatal(err)
	}
	text := func(s string) string { return "'" + s + "'" }
	for _, after := range []int64{0, most / 2, most - 200} {
		for _, c := range []struct{ name, args string }{
			{"catalog.products", fmt.Sprintf("%d, 21", after)},
			{"catalog.products_of_category", fmt.Sprintf("%d, 21, %d", after, last)},                     // the smallest
			{"catalog.products_of_category", fmt.Sprintf("%d, 21, 1", after)},                            // the largest
			{"catalog.search", fmt.Sprintf("%d, 21, '', '', '', '', 'lamp', '', true, 'kettle'", after)}, // common, never together
			{"catalog.search", fmt.Sprintf("%d, 21, '', '', '', '', '', '', true, 'series'", after)},     // nearly all
			{"catalog.search", fmt.Sprintf("%d, 21, %s, '', '', '', '', '', true, 'series'", after, text(fmt.Sprint("@", last)))},
			{"catalog.search", fmt.Sprintf("%d, 21, '', '', '', '', '', '', false, '-lamp'", after)},
			{"catalog.search", fmt.Sprintf("%d, 21, '', '', '', '', '', '', false, 'lamp or kettle or series'", after)},
			{"catalog.search", fmt.Sprintf("%d, 21, '', '', '', '', '', '', true, 'telev'", after)},
			{"catalog.search", fmt.Sprintf("%d, 21, '', '', '', '', '', '', true, 'zeppelin'", after)},
		} {
			sql := strings.Replace(statements[c.name], "-- name: ", "-- bounded: ", 1)
			plan := explainArgs(t, conn, sql, c.args)
			pages, vain := plan.pages(), 0.0
			plan.walk(func(n planNode) { vain += n.RemovedByFilter * n.Loops })
			if pages > 2500 || vain > 5000 {
				t.Errorf("%s(%s) reads %d pages and %.0f rows in vain", c.name, c.args, pages, vain)
			}
		}
	}
}

// fill makes a shop of a size, with statistics.
func fill(t *testing.T, pool *pgxpool.Pool, size volume.Size) {
	t.Helper()
	if err := volume.Fill(t.Context(), pool, size, func(string, ...any) {}); err != nil {
		t.Fatal(err)
	}
}

// enliven adds what a shop that was just made large does not have: accounts, limits
// per customer, sales, and orders that nobody has settled.
func enliven(t *testing.T, pool *pgxpool.Pool) {
	t.Helper()
	for _, sql := range []string{
		`INSERT INTO account SELECT md5('account ' || n)::uuid, 'account-' || n || '@example.com', 'A', 'x' FROM generate_series(1, 5000) AS n`,
		`INSERT INTO allowance SELECT id, c, 1 FROM sku, unnest(ARRAY['ada@example.com', 'bob@example.com']) AS c`,
		`INSERT INTO sale (slug, name, starts_at, ends_at) SELECT 'sale-' || n, 'Sale', now(), now() + '1 day' FROM generate_series(1, 20) AS n`,
		`INSERT INTO sale_price SELECT sku.id, sale.id, 100 FROM sku JOIN sale ON sku.id % 10 = sale.id % 10`,
		`UPDATE orders SET status = 'pending', settled_at = NULL WHERE number % 20 = 0`,
		`UPDATE orders SET account_id = md5('account ' || number % 5000 + 1)::uuid WHERE number % 3 = 0`,
		`INSERT INTO discount (code, percent, currency, starts_at, ends_at, max_uses) SELECT 'CODE' || n, 10, 'USD', now(), now() + '1 day', 9 FROM generate_series(1, 2000) AS n`,
		`VACUUM ANALYZE`,
	} {
		if _, err := pool.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v: %s", err, sql)
		}
	}
}

// pretend multiplies the rows that PostgreSQL believes in.
// https://www.postgresql.org/docs/current/row-estimation-examples.html
func pretend(t *testing.T, pool *pgxpool.Pool, times int) {
	t.Helper()
	_, err := pool.Exec(t.Context(), `UPDATE pg_class SET reltuples = reltuples * $1
 WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'i') AND reltuples > 1000`, times)
	if err != nil {
		t.Fatal(err)
	}
}

// acquire returns a connection on which plans are for all parameters.
func acquire(t *testing.T, pool *pgxpool.Pool) *pgx.Conn {
	t.Helper()
	conn, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Release)
	if _, err := conn.Exec(t.Context(), "SET plan_cache_mode = force_generic_plan; SET jit = off; SET client_min_messages = warning"); err != nil {
		t.Fatal(err)
	}
	return conn.Conn()
}

// planNode is a part of a plan: https://www.postgresql.org/docs/current/using-explain.html
type planNode struct {
	Type            string     `json:"Node Type"`
	Table           string     `json:"Relation Name"`
	Index           string     `json:"Index Name"`
	Condition       string     `json:"Index Cond"`
	Filter          string     `json:"Filter"`
	Rows            float64    `json:"Plan Rows"`
	RemovedByFilter float64    `json:"Rows Removed by Filter"`
	Loops           float64    `json:"Actual Loops"`
	Hit             int        `json:"Shared Hit Blocks"`
	Read            int        `json:"Shared Read Blocks"`
	Plans           []planNode `json:"Plans"`
}

func (n planNode) walk(do func(planNode)) {
	do(n)
	for _, below := range n.Plans {
		below.walk(do)
	}
}

func (n planNode) pages() int { return n.Hit + n.Read }

// growing says what in a plan grows with the shop.
func growing(plan planNode) (faults []string) {
	plan.walk(func(n planNode) {
		if n.Table == "" && n.Index == "" || slices.Contains(small, n.Table) {
			return
		}
		switch {
		case n.Type == "Seq Scan":
			faults = append(faults, fmt.Sprintf("it reads all of %s (filter: %s)", n.Table, n.Filter))
		case strings.HasPrefix(n.Type, "Index") && n.Condition == "" && n.Filter != "":
			faults = append(faults, fmt.Sprintf("it walks all of %s for %s", n.Index, n.Filter))
		}
	})
	return faults
}

func explain(t *testing.T, conn *pgx.Conn, statement string) planNode {
	t.Helper()
	return plan(t, conn, statement, "", "")
}

func explainArgs(t *testing.T, conn *pgx.Conn, statement, args string) planNode {
	t.Helper()
	return plan(t, conn, statement, "ANALYZE, BUFFERS, TIMING OFF, ", args)
}

// plan prepares a statement and explains it, with nulls where there are no arguments.
func plan(t *testing.T, conn *pgx.Conn, statement, options, args string) planNode {
	t.Helper()
	ctx := context.WithoutCancel(t.Context())
	if _, err := conn.Exec(ctx, "PREPARE explained AS "+statement); err != nil {
		t.Fatalf("prepare: %v\n%s", err, statement)
	}
	defer conn.Exec(ctx, "DEALLOCATE explained")
	if args == "" {
		var n int
		if err := conn.QueryRow(ctx, "SELECT cardinality(parameter_types) FROM pg_prepared_statements WHERE name = 'explained'").Scan(&n); err != nil {
			t.Fatal(err)
		}
		args = strings.TrimSuffix(strings.Repeat("NULL, ", n), ", ")
	}
	if args != "" {
		args = "(" + args + ")"
	}
	var raw string
	row := conn.QueryRow(ctx, "EXPLAIN ("+options+"FORMAT JSON) EXECUTE explained"+args, pgx.QueryExecModeSimpleProtocol)
	if err := row.Scan(&raw); err != nil {
		t.Fatalf("explain: %v\n%s", err, statement)
	}
	var plans []struct{ Plan planNode }
	if err := json.Unmarshal([]byte(raw), &plans); err != nil {
		t.Fatal(err)
	}
	return plans[0].Plan
}

// statementsOf finds the statements in the Go files of a folder and all below, by
// their names. A text that begins with "-- name: " is one.
func statementsOf(t *testing.T, folder string) map[string]string {
	t.Helper()
	packages := map[string][]*ast.File{}
	err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], file)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	for _, files := range packages {
		constants := map[string]ast.Expr{}
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				if spec, ok := n.(*ast.ValueSpec); ok {
					for i, value := range spec.Values {
						constants[spec.Names[i].Name] = value
					}
				}
				return true
			})
		}
		for _, f := range files {
			ast.Inspect(f, func(n ast.Node) bool {
				expr, ok := n.(ast.Expr)
				if !ok {
					return true
				}
				text, ok := textOf(expr, constants)
				after, isStatement := strings.CutPrefix(text, "-- name: ")
				if !ok || !isStatement {
					return true
				}
				name, _, _ := strings.Cut(after, "\n")
				if len(text) > len(found[name]) { // not the first part of one
					found[name] = text
				}
				return false
			})
		}
	}
	if len(found) == 0 {
		t.Fatal("there are no statements in " + folder)
	}
	t.Logf("statements: %s", strings.Join(slices.Sorted(maps.Keys(found)), ", "))
	return found
}

// textOf evaluates a constant text.
func textOf(e ast.Expr, constants map[string]ast.Expr) (string, bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", false
		}
		text, err := strconv.Unquote(e.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		left, ok := textOf(e.X, constants)
		right, ok2 := textOf(e.Y, constants)
		return left + right, e.Op == token.ADD && ok && ok2
	case *ast.Ident:
		value, ok := constants[e.Name]
		if !ok {
			return "", false
		}
		return textOf(value, constants)
	default:
		return "", false
	}
}
