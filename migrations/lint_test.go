package migrations

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What a migration may not do, because old and new workers serve customers meanwhile.
// Most of it is squawk's list (https://squawkhq.com/docs/rules), as far as this shop
// needs it; the names are squawk's where it has one. A table that the same migration
// has made is nobody's yet, and may be changed in any way.
//
//	no-down                        it can't be taken back
//	adding-not-nullable-field      a column NOT NULL without a default fails on rows, and
//	                               on what the old release inserts
//	volatile-default               a default that differs by row (also serial, identity
//	                               and STORED) rewrites the table under ACCESS EXCLUSIVE
//	constraint-missing-not-valid   a constraint reads all rows under its lock, also one
//	                               that comes with its column; UNIQUE and PRIMARY KEY
//	                               take USING INDEX
//	validate-in-same-transaction   VALIDATE reads all rows, under the lock that ADD
//	                               CONSTRAINT still has
//	setting-not-nullable-field     SET NOT NULL reads all rows under ACCESS EXCLUSIVE,
//	                               unless an earlier migration has validated CHECK (c IS
//	                               NOT NULL)
//	changing-column-type           rewrites the table, and the old release sends the old
//	                               type
//	renaming                       the old release asks for the old name
//	ban-drop                       the old release asks for the column or table: it is
//	                               dropped by a contract, which says so (doc.go)
//	require-concurrent-index       CREATE INDEX and DROP INDEX keep writers waiting
//	concurrently-in-transaction    PostgreSQL refuses it
//	repeatable                     CREATE INDEX CONCURRENTLY that is broken off leaves an
//	                               invalid index, which has to be dropped first, IF
//	                               EXISTS; IF NOT EXISTS would take it for the index
//	waits-without-transaction      a statement outside a transaction waits for as long as
//	                               the patience lasts (doc.go), so it may be only such as
//	                               nobody waits for: CONCURRENTLY, VALIDATE CONSTRAINT, or
//	                               DO with batches that SKIP LOCKED and COMMIT
//	several-tables                 a lock on one table is held while another is waited for
//	unbounded-write                UPDATE or DELETE of a table that is in use keeps its
//	                               rows locked until the end: fill in batches
//	heavy-lock                     LOCK, TRUNCATE, CLUSTER, VACUUM FULL, REINDEX, REFRESH
//	                               MATERIALIZED VIEW, and what moves or rewrites a table
//	own-transaction                BEGIN, COMMIT and lock_timeout are the migrator's
//
// A table's new trigger or foreign key takes SHARE ROW EXCLUSIVE for a moment, which
// is allowed, for one table at a time.
func lint(files []file) (findings []finding) {
	notNulls := map[string]bool{} // "table.column" that is checked, and "pending CONSTRAINT table.column"
	for i := range files {
		l := &linter{file: &files[i], notNulls: notNulls}
		l.run()
		findings = append(findings, l.findings...)
	}
	return findings
}

type finding struct {
	version    int64
	rule, what string
}

func (f finding) String() string { return fmt.Sprintf("%05d: %s: %s", f.version, f.rule, f.what) }

type linter struct {
	*file
	notNulls map[string]bool
	findings []finding
	down     bool

	made    map[string]bool // tables, by this migration
	locked  map[string]bool // tables in use whose lock is held to the end
	added   bool            // a constraint
	dropped map[string]bool // indexes
}

func (l *linter) find(rule, what string) {
	l.findings = append(l.findings, finding{l.version, rule, what})
}

func (l *linter) run() {
	if !l.hasDown {
		l.find("no-down", l.name)
	}
	for _, l.down = range []bool{false, true} {
		l.made, l.locked, l.dropped, l.added = map[string]bool{}, map[string]bool{}, map[string]bool{}, false
		statements := l.up
		if l.down {
			statements = l.file.down
		}
		for _, s := range statements {
			l.statement(s)
		}
		if tables := l.locked; len(tables) > 1 && !l.noTransaction {
			names := make([]string, 0, len(tables))
			for name := range tables {
				names = append(names, name)
			}
			slices.Sort(names)
			l.find("several-tables", strings.Join(names, ", "))
		}
	}
}

// inUse reports whether customers may be using a table.
func (l *linter) inUse(table string) bool { return !l.made[table] && (!l.down || !l.madeHere(table)) }

// madeHere reports whether the migration makes a table that it drops when it is taken back.
func (l *linter) madeHere(table string) bool {
	return slices.ContainsFunc(l.up, func(s string) bool {
		m := createTable.FindStringSubmatch(s)
		return m != nil && m[1] == table
	})
}

var (
	createTable    = regexp.MustCompile(`(?i)^CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?(\w+)`)
	createIndex    = regexp.MustCompile(`(?i)^CREATE (?:UNIQUE )?INDEX (CONCURRENTLY )?(IF NOT EXISTS )?(\w+)?.*? ON (?:ONLY )?(\w+)`)
	dropIndex      = regexp.MustCompile(`(?i)^DROP INDEX (CONCURRENTLY )?(IF EXISTS )?(\w+)`)
	alterTable     = regexp.MustCompile(`(?i)^ALTER TABLE (?:IF EXISTS )?(?:ONLY )?(\w+) (.*)$`)
	onTrigger      = regexp.MustCompile(`(?i)^(?:CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER \w+ .*?|DROP TRIGGER (?:IF EXISTS )?\w+) ON (\w+)`)
	references     = regexp.MustCompile(`(?i)\bREFERENCES (\w+)`)
	volatile       = regexp.MustCompile(`(?i)\b(?:gen_random_uuid|random|clock_timestamp|nextval|uuid_generate\w*)\(|\bSTORED\b|\b(?:small|big)?serial\b|GENERATED (?:ALWAYS|BY DEFAULT) AS IDENTITY`)
	constraint     = regexp.MustCompile(`(?i)\b(?:CHECK|REFERENCES|FOREIGN KEY|UNIQUE|PRIMARY KEY|EXCLUDE)\b`)
	heavy          = regexp.MustCompile(`(?i)^(?:LOCK|TRUNCATE|CLUSTER|VACUUM|REINDEX|REFRESH MATERIALIZED VIEW)\b`)
	heavyAction    = regexp.MustCompile(`(?i)^SET (?:TABLESPACE|LOGGED|UNLOGGED|ACCESS METHOD)\b`)
	ownTransaction = regexp.MustCompile(`(?i)^(?:BEGIN|START TRANSACTION|COMMIT|ROLLBACK|SAVEPOINT)\b|^SET\b.*\block_timeout\b`)
	bigWrite       = regexp.MustCompile(`(?i)^(?:WITH .*)?\b(?:UPDATE|DELETE FROM) (?:ONLY )?(\w+)`)
	concurrent     = regexp.MustCompile(`(?i)\bCONCURRENTLY\b`)
	validate       = regexp.MustCompile(`(?i)^VALIDATE CONSTRAINT (\w+)$`)
	notNullCheck   = regexp.MustCompile(`(?i)^ADD CONSTRAINT \w+ CHECK \( ?(\w+) IS NOT NULL ?\) NOT VALID$`)
	dropTable      = regexp.MustCompile(`(?i)^DROP TABLE (?:IF EXISTS )?(.+?)(?: CASCADE| RESTRICT)?$`)
)

func (l *linter) statement(s string) {
	if l.noTransaction {
		l.alone(s)
	} else if concurrent.MatchString(s) && !strings.HasPrefix(strings.ToUpper(s), "CREATE FUNCTION") {
		l.find("concurrently-in-transaction", s)
	}
	switch {
	case ownTransaction.MatchString(s):
		l.find("own-transaction", s)
	case heavy.MatchString(s) && !concurrent.MatchString(s):
		l.find("heavy-lock", s)
	case createTable.MatchString(s):
		l.made[createTable.FindStringSubmatch(s)[1]] = true
		for _, other := range references.FindAllStringSubmatch(s, -1) {
			l.lock(other[1])
		}
	case createIndex.MatchString(s):
		m := createIndex.FindStringSubmatch(s)
		if m[1] == "" && l.inUse(m[4]) {
			l.find("require-concurrent-index", s)
		}
		if m[1] != "" && (m[2] != "" || !l.dropped[m[3]]) {
			l.find("repeatable", s)
		}
	case dropIndex.MatchString(s):
		m := dropIndex.FindStringSubmatch(s)
		l.dropped[m[3]] = m[2] != ""
		if m[1] == "" {
			l.find("require-concurrent-index", s)
		} else if m[2] == "" {
			l.find("repeatable", s)
		}
	case onTrigger.MatchString(s):
		l.lock(onTrigger.FindStringSubmatch(s)[1])
	case alterTable.MatchString(s):
		m := alterTable.FindStringSubmatch(s)
		if !l.inUse(m[1]) {
			return
		}
		for _, action := range actions(m[2]) {
			l.action(m[1], action)
		}
	case dropTable.MatchString(s):
		for _, table := range tablesOf(dropTable.FindStringSubmatch(s)[1]) {
			if l.inUse(table.table) && !l.down && l.contractOf == 0 {
				l.find("ban-drop", s)
			}
		}
	case bigWrite.MatchString(s) && l.inUse(bigWrite.FindStringSubmatch(s)[1]):
		l.find("unbounded-write", s)
	}
}

// lock notes that the lock of a table in use is taken.
func (l *linter) lock(table string) {
	if l.inUse(table) {
		l.locked[table] = true
	}
}

var (
	aloneAction = regexp.MustCompile(`(?i)^ALTER TABLE \w+ VALIDATE CONSTRAINT \w+$`)
	aloneBlock  = regexp.MustCompile(`(?is)^DO\b.*\bSKIP LOCKED\b.*\bCOMMIT\b`)
)

// alone judges a statement that is a transaction of its own.
func (l *linter) alone(s string) {
	if !concurrent.MatchString(s) && !aloneAction.MatchString(s) && !aloneBlock.MatchString(s) {
		l.find("waits-without-transaction", s)
	}
}

// action judges a part of ALTER TABLE, on a table that is in use.
func (l *linter) action(table, action string) {
	upper := strings.ToUpper(action)
	has := func(prefix string) bool { return strings.HasPrefix(upper, prefix) }
	if !has("VALIDATE") {
		l.lock(table)
	}
	switch {
	case has("ADD CONSTRAINT"), has("ADD CHECK"), has("ADD FOREIGN"), has("ADD UNIQUE"), has("ADD PRIMARY"), has("ADD EXCLUDE"):
		l.addConstraint(table, action, upper)
	case has("ADD "):
		l.addColumn(action, upper)
	case has("VALIDATE"):
		if l.added && !l.noTransaction {
			l.find("validate-in-same-transaction", action)
		}
		l.validated(table, validate.FindStringSubmatch(action))
	case has("RENAME"):
		l.find("renaming", action)
	case has("DROP CONSTRAINT"):
	case has("DROP "):
		if !l.down && l.contractOf == 0 {
			l.find("ban-drop", action)
		}
	case has("ALTER ") && (strings.Contains(upper, " TYPE ") || strings.Contains(upper, " SET DATA ")):
		l.find("changing-column-type", action)
	case has("ALTER ") && strings.HasSuffix(upper, " SET NOT NULL"):
		column := strings.Fields(strings.TrimPrefix(strings.TrimPrefix(action[len("ALTER "):], "COLUMN "), "column "))[0]
		if !l.notNulls[table+"."+column] {
			l.find("setting-not-nullable-field", action)
		}
	case heavyAction.MatchString(action):
		l.find("heavy-lock", action)
	}
}

func (l *linter) addConstraint(table, action, upper string) {
	l.added = true
	if m := notNullCheck.FindStringSubmatch(action); m != nil {
		l.notNulls["pending "+strings.Fields(action)[2]+" "+table+"."+m[1]] = true
	}
	if other := references.FindStringSubmatch(action); other != nil {
		l.lock(other[1])
	}
	if !strings.HasSuffix(upper, " NOT VALID") && !strings.Contains(upper, " USING INDEX ") {
		l.find("constraint-missing-not-valid", action)
	}
}

// validated notes what is known of a table's rows when a constraint was validated.
func (l *linter) validated(table string, m []string) {
	if m == nil {
		return
	}
	for key := range l.notNulls {
		if column, ok := strings.CutPrefix(key, "pending "+m[1]+" "); ok && strings.HasPrefix(column, table+".") {
			l.notNulls[column] = true
		}
	}
}

func (l *linter) addColumn(action, upper string) {
	if strings.Contains(upper, "NOT NULL") && !strings.Contains(upper, "DEFAULT") && !l.down {
		l.find("adding-not-nullable-field", action)
	}
	if volatile.MatchString(action) {
		l.find("volatile-default", action)
	}
	if other := references.FindStringSubmatch(action); other != nil {
		l.lock(other[1])
	}
	if constraint.MatchString(action) {
		l.find("constraint-missing-not-valid", action)
	}
}

// actions divides the rest of ALTER TABLE at the commas that are in no parentheses.
func actions(rest string) (all []string) {
	depth, from := 0, 0
	for i, c := range rest {
		switch c {
		case '(':
			depth++
		case ')':
			depth--
		case ',':
			if depth == 0 {
				all = append(all, strings.TrimSpace(rest[from:i]))
				from = i + 1
			}
		}
	}
	return append(all, strings.TrimSpace(rest[from:]))
}

// exempt are findings of migrations that were released before there was this check,
// by number and rule, with the reason why they stay.
var exempt = map[string]string{
	"00006 several-tables":               "it was made for shops that were not open yet, and a trigger on each table of the catalogue takes its lock for a moment",
	"00009 constraint-missing-not-valid": "it is applied: the check reads order_line, once",
	"00009 several-tables":               "it is applied: three short locks in one transaction",
}

func TestMigrationsGiveWay(t *testing.T) {
	t.Parallel()
	files, err := readFiles(shopFiles)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, f := range lint(files) {
		key := fmt.Sprintf("%05d %s", f.version, f.rule)
		if used[key] = true; exempt[key] == "" {
			t.Error(f)
		}
	}
	for key := range exempt {
		if !used[key] {
			t.Errorf("%s is exempt from what it does not do", key)
		}
	}
}

// The worked example of doc.go keeps to the rules, and its contract says whose it is.
func TestExampleGivesWay(t *testing.T) {
	t.Parallel()
	shop, err := readFiles(shopFiles)
	if err != nil {
		t.Fatal(err)
	}
	names, err := filepath.Glob("testdata/rename/*.sql")
	if err != nil || len(names) != 3 {
		t.Fatal(names, err)
	}
	var contract int64
	for i, name := range names {
		raw, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := parseFile(fmt.Sprintf("%05d_example.sql", Latest+1+i), strings.ReplaceAll(string(raw), "EXPAND", fmt.Sprintf("%05d", Latest+1)))
		if err != nil {
			t.Fatal(err)
		}
		contract = f.contractOf
		shop = append(shop, f)
	}
	if contract != Latest+1 {
		t.Errorf("the contract is of %d, want %d", contract, Latest+1)
	}
	for _, f := range lint(shop) {
		if f.version > Latest {
			t.Error(f)
		}
	}
}

// Each rule finds its fault, and lets the good form pass.
func TestLint(t *testing.T) {
	t.Parallel()
	const down = "\n-- +goose Down\n"
	up := func(sql string) string { return "-- +goose Up\n" + sql + down }
	alone := func(sql string) string { return "-- +goose NO TRANSACTION\n" + up(sql) }
	for _, c := range []struct {
		rule string // "" for none
		text string
	}{
		{"", up("ALTER TABLE t ADD COLUMN c text;")},
		{"no-down", "-- +goose Up\nALTER TABLE t ADD COLUMN c text;"},
		{"adding-not-nullable-field", up("ALTER TABLE t ADD COLUMN c text NOT NULL;")},
		{"", up("ALTER TABLE t ADD COLUMN c text NOT NULL DEFAULT '';")},
		{"", up("ALTER TABLE t ADD COLUMN c timestamptz NOT NULL DEFAULT now();")},
		{"volatile-default", up("ALTER TABLE t ADD COLUMN c uuid DEFAULT gen_random_uuid();")},
		{"volatile-default", up("ALTER TABLE t ADD COLUMN c bigserial;")},
		{"volatile-default", up("ALTER TABLE t ADD COLUMN c text GENERATED ALWAYS AS (a || b) STORED;")},
		{"constraint-missing-not-valid", up("ALTER TABLE t ADD COLUMN c integer CHECK (c > 0);")},
		{"constraint-missing-not-valid", up("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0);")},
		{"constraint-missing-not-valid", up("ALTER TABLE t ADD CONSTRAINT k UNIQUE (a);")},
		{"constraint-missing-not-valid", up("ALTER TABLE t ADD FOREIGN KEY (a) REFERENCES t (b);")},
		{"", up("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT VALID;")},
		{"", up("ALTER TABLE t ADD CONSTRAINT k UNIQUE USING INDEX i;")},
		{"validate-in-same-transaction", up("ALTER TABLE t ADD CONSTRAINT k CHECK (a > 0) NOT VALID;\nALTER TABLE t VALIDATE CONSTRAINT k;")},
		{"", alone("ALTER TABLE t VALIDATE CONSTRAINT k;")},
		{"setting-not-nullable-field", up("ALTER TABLE t ALTER COLUMN a SET NOT NULL;")},
		{"", up("ALTER TABLE t ALTER COLUMN sure SET NOT NULL;")},
		{"changing-column-type", up("ALTER TABLE t ALTER COLUMN a TYPE bigint;")},
		{"changing-column-type", up("ALTER TABLE t ALTER a SET DATA TYPE bigint;")},
		{"renaming", up("ALTER TABLE t RENAME COLUMN a TO b;")},
		{"renaming", up("ALTER TABLE t RENAME TO u;")},
		{"ban-drop", up("ALTER TABLE t DROP COLUMN a;")},
		{"ban-drop", up("DROP TABLE t;")},
		{"", "-- Contract of 00001: a is read by nobody.\n" + up("ALTER TABLE t DROP COLUMN a;")},
		{"", "-- Contract of 00001: t is read by nobody.\n" + up("DROP TABLE t;")},
		{"require-concurrent-index", up("CREATE INDEX i ON t (a);")},
		{"require-concurrent-index", up("DROP INDEX i;")},
		{"", up("CREATE TABLE n (a int);\nCREATE INDEX i ON n (a);\nALTER TABLE n ADD CONSTRAINT k CHECK (a > 0);")},
		{"concurrently-in-transaction", up("DROP INDEX CONCURRENTLY IF EXISTS i;")},
		{"repeatable", alone("CREATE INDEX CONCURRENTLY i ON t (a);")},
		{"repeatable", alone("DROP INDEX CONCURRENTLY IF EXISTS i;\nCREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t (a);")},
		{"repeatable", alone("DROP INDEX CONCURRENTLY i;")},
		{"", alone("DROP INDEX CONCURRENTLY IF EXISTS i;\nCREATE UNIQUE INDEX CONCURRENTLY i ON t (a);")},
		{"waits-without-transaction", alone("ALTER TABLE t ADD COLUMN c text;")},
		{"waits-without-transaction", alone("-- +goose StatementBegin\nDO $$ BEGIN PERFORM 1; COMMIT; END $$;\n-- +goose StatementEnd")},
		{"", alone("-- +goose StatementBegin\nDO $$ BEGIN\n UPDATE t SET a = 1 WHERE a IN (SELECT a FROM t FOR UPDATE SKIP LOCKED);\n COMMIT; END $$;\n-- +goose StatementEnd")},
		{"several-tables", up("ALTER TABLE t ADD COLUMN c text;\nALTER TABLE u ADD COLUMN c text;")},
		{"several-tables", up("ALTER TABLE t ADD CONSTRAINT k FOREIGN KEY (a) REFERENCES u NOT VALID;")},
		{"several-tables", up("CREATE TRIGGER x AFTER INSERT ON t FOR EACH ROW EXECUTE FUNCTION f();\nDROP TRIGGER x ON u;")},
		{"", up("CREATE TABLE n (a int REFERENCES t);")},
		{"unbounded-write", up("UPDATE t SET a = 1;")},
		{"unbounded-write", up("DELETE FROM t WHERE a = 1;")},
		{"heavy-lock", up("LOCK TABLE t IN SHARE MODE;")},
		{"heavy-lock", up("TRUNCATE t;")},
		{"heavy-lock", up("VACUUM FULL t;")},
		{"heavy-lock", up("REINDEX INDEX i;")},
		{"heavy-lock", up("ALTER TABLE t SET TABLESPACE s;")},
		{"own-transaction", up("BEGIN;")},
		{"own-transaction", up("SET LOCAL lock_timeout = '1min';")},
		{"", up("COMMENT ON TABLE t IS 'BEGIN; DROP TABLE t; LOCK TABLE t';")},
		{"", up("ALTER TABLE t ADD COLUMN a text; -- DROP TABLE t;\n/* LOCK t; */")},
	} {
		base := []string{
			"-- +goose Up\nCREATE TABLE t (a int, sure int);\nCREATE TABLE u (a int);" + down,
			"-- +goose Up\nALTER TABLE t ADD CONSTRAINT s CHECK (sure IS NOT NULL) NOT VALID;" + down,
			"-- +goose NO TRANSACTION\n-- +goose Up\nALTER TABLE t VALIDATE CONSTRAINT s;" + down,
		}
		var files []file
		for i, text := range append(base, c.text) {
			f, err := parseFile(fmt.Sprintf("%05d_test.sql", i+1), text)
			if err != nil {
				t.Fatal(err)
			}
			files = append(files, f)
		}
		var got []string
		for _, f := range lint(files) {
			got = append(got, f.rule)
		}
		if c.rule == "" && len(got) > 0 || c.rule != "" && !slices.Contains(got, c.rule) {
			t.Errorf("got %v, want %q:\n%s", got, c.rule, c.text)
		}
	}
}
