package migrations_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app/dbtest"
	"doorbuster/migrations"
)

const contract = "-- Contract of 00002: nobody reads note any more.\n-- +goose Up\nALTER TABLE orders DROP COLUMN note;\n" +
	"-- +goose Down\nALTER TABLE orders ADD COLUMN note text;"

// What is taken back is needed by nobody who is connected, and has no rows, unless
// somebody insists on one or the other.
func TestDownRefuses(t *testing.T) {
	t.Parallel()
	const (
		served = "is needed by 1 connected worker (in pg_stat_activity pid "
		rows   = "would lose column orders.note of 1 rows"
	)
	for _, test := range []struct {
		name, connected string // what a connection calls itself
		rows            bool
		options         migrations.Options
		refusal         string // "" for none
	}{
		{name: "nobody there"},
		{name: "a worker that needs it", connected: "doorbuster listener, schema 2, pool of 9", refusal: served},
		{name: "a worker of a newer release", connected: "doorbuster listener, schema 3, pool of 9", refusal: served},
		{name: "a worker of the release before", connected: "doorbuster listener, schema 1, pool of 9"},
		{name: "a worker that does not tell", connected: "doorbuster listener, pool of 9", refusal: served},
		{name: "a connection of the shop", connected: "doorbuster", refusal: served},
		{name: "somebody else", connected: "psql"},
		{name: "rows", rows: true, refusal: rows},
		{name: "insists on the wrong one", rows: true, options: migrations.Options{WhileServing: true}, refusal: rows},
		{name: "insists on the other", connected: "doorbuster", options: migrations.Options{LoseRows: true}, refusal: served},
		{name: "insists on both", connected: "doorbuster", rows: true, options: migrations.Options{LoseRows: true, WhileServing: true}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.EmptyDatabase(t)
			test.options.Files = some(makeOrders, addNote)
			m := listen(t, databaseURL, test.options)
			if _, err := m.Up(t.Context()); err != nil {
				t.Fatal(err)
			}
			conn := connect(t, databaseURL, test.connected)
			if test.rows {
				run(t, conn, "UPDATE orders SET note = 'a present'")
			}
			version, err := m.Down(t.Context())
			if test.refusal == "" && (err != nil || version != 2) {
				t.Errorf("got %d, %v, want 2", version, err)
			}
			if test.refusal != "" && (err == nil || !strings.Contains(err.Error(), test.refusal)) {
				t.Errorf("got %d, %v, want %q", version, err, test.refusal)
			}
			if said := m.next(t); !strings.HasPrefix(said, "00002_some.sql is to be taken back, with column orders.note of ") {
				t.Errorf("said: %s", said)
			}
			want := []string{"1"}
			if test.refusal == "" {
				want = []string{"0"}
			}
			if diff := cmp.Diff(want, query(t, databaseURL, "SELECT count(*)::text FROM information_schema.columns WHERE table_name = 'orders' AND column_name = 'note'")); diff != "" {
				t.Errorf("columns (-want +got):\n%s", diff)
			}
		})
	}
}

// A schema that is newer than the release is not taken back by it.
func TestDownFromTheUnknown(t *testing.T) {
	t.Parallel()
	databaseURL := dbtest.EmptyDatabase(t)
	if _, err := openWith(t, databaseURL, migrations.Options{Files: some(makeOrders, addNote)}).Up(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err := openWith(t, databaseURL, migrations.Options{Files: some(makeOrders)}).Down(t.Context())
	if err == nil || !strings.Contains(err.Error(), "the schema is at version 2, and this release knows none above 1") {
		t.Errorf("got %v", err)
	}
}

// An old form is taken away when no worker is left that may use it.
func TestContractWaitsForOldWorkers(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name, connected string
		insist, refused bool
	}{
		{"nobody there", "", false, false},
		{"an old worker", "doorbuster listener, schema 1, pool of 9", false, true},
		{"an old worker, and somebody insists", "doorbuster listener, schema 1, pool of 9", true, false},
		{"a worker that does not tell", "doorbuster listener, pool of 9", false, true},
		{"a worker that knows the new form", "doorbuster listener, schema 2, pool of 9", false, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			databaseURL := dbtest.EmptyDatabase(t)
			connect(t, databaseURL, test.connected)
			m := openWith(t, databaseURL, migrations.Options{Files: some(makeOrders, addNote, contract), WhileServing: test.insist})
			applied, err := m.Up(t.Context())
			if refused := len(applied) == 2 && err != nil && strings.Contains(err.Error(), "takes away what 1 connected worker"); refused != test.refused {
				t.Errorf("applied %v: %v; want refused %v", applied, err, test.refused)
			}
			if !test.refused && (err != nil || len(applied) != 3) {
				t.Errorf("applied %v: %v", applied, err)
			}
		})
	}
}
