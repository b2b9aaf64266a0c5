package volume_test

import (
	"testing"

	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/audit"
	"doorbuster/app/dbtest"
	"doorbuster/app/volume"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

func count(t *testing.T, pool *pgxpool.Pool, table string) (n int) {
	t.Helper()
	if err := pool.QueryRow(t.Context(), "SELECT count(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

// There is as much as was asked for, also when it is asked for in steps, and the
// books balance.
func TestFill(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	for _, size := range []volume.Size{{Products: 2000, Orders: 500}, {Products: 2000, Orders: 500}, {Products: 3000, Orders: 21_000}} {
		said := 0
		if err := volume.Fill(t.Context(), pool, size, func(string, ...any) { said++ }); err != nil {
			t.Fatal(err)
		}
		for table, want := range map[string]int{"product": size.Products, "sku": size.Products, "stock": size.Products, "orders": size.Orders, "payment": size.Orders, "order_line": size.Orders} {
			if got := count(t, pool, table); got != want {
				t.Errorf("%+v: there are %d of %s, want %d", size, got, table, want)
			}
		}
		if carts := count(t, pool, "cart"); carts < size.Orders/2 || carts > size.Orders/2+1 {
			t.Errorf("%+v: there are %d carts", size, carts)
		}
	}
	if err := volume.Fill(t.Context(), pool, volume.Size{Orders: 1}, nil); err == nil {
		t.Error("orders of nothing were made")
	}
	report, err := audit.Run(t.Context(), pool, audit.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, check := range report.Checks {
		if check.Findings != 0 && check.Name != "durable" { // that one is about the server of the tests
			t.Errorf("the audit has found %+v", check)
		}
	}
}
