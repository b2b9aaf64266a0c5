package inventory_test

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/catalog"
	"doorbuster/app/dbtest"
	"doorbuster/app/inventory"
	"doorbuster/app/money"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// warehouse is a database with a few SKUs and their stock.
type warehouse struct {
	*testing.T
	pool *pgxpool.Pool
	skus []int64 // ids, ascending
}

// open makes a warehouse with as many SKUs as there are numbers of units, each delivered so many.
func open(t *testing.T, units ...int) warehouse {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(dbtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 25 // transactions that really are at work at once
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	w := warehouse{T: t, pool: pool}

	product := catalog.Product{Slug: "thing", Name: "Thing", Category: "things"}
	var codes []string
	for i := range units {
		codes = append(codes, fmt.Sprintf("THING-%03d", i))
		product.SKUs = append(product.SKUs, catalog.SKU{Code: codes[i], List: money.Money{Minor: 100, Currency: "USD"}})
	}
	w.mustTx(func(tx pgx.Tx) error {
		if err := catalog.PutTx(t.Context(), tx, []catalog.Category{{Slug: "things", Name: "Things"}}, []catalog.Product{product}); err != nil {
			return err
		}
		ids, err := catalog.IDsTx(t.Context(), tx, codes)
		if err != nil {
			return err
		}
		w.skus = slices.Sorted(maps.Values(ids))
		return inventory.ReceiveTx(t.Context(), tx, w.each(units), "delivery")
	})
	return w
}

// each gives numbers to the SKUs, in their order.
func (w warehouse) each(numbers []int) map[int64]int {
	m := map[int64]int{}
	for i, n := range numbers {
		m[w.skus[i]] = n
	}
	return m
}

func (w warehouse) mustTx(do func(tx pgx.Tx) error) {
	w.Helper()
	if err := pgx.BeginFunc(w.Context(), w.pool, do); err != nil {
		w.Error(err)
	}
}

// take tries orders in one transaction, in their order, and returns what became of each. An error of the transaction
// itself is the test's.
func (w warehouse) take(orders ...inventory.Order) []error {
	w.Helper()
	outcomes := make([]error, len(orders))
	w.mustTx(func(tx pgx.Tx) error {
		shelf, err := inventory.LockTx(w.Context(), tx, orders)
		if err != nil {
			return err
		}
		for i, o := range orders {
			outcomes[i] = shelf.Take(o)
		}
		batch := new(pgx.Batch)
		shelf.Queue(batch)
		return tx.SendBatch(w.Context(), batch).Close()
	})
	return outcomes
}

// put gives orders back in one transaction.
func (w warehouse) put(orders ...inventory.Order) {
	w.Helper()
	w.mustTx(func(tx pgx.Tx) error {
		shelf, err := inventory.LockTx(w.Context(), tx, orders)
		if err != nil {
			return err
		}
		for _, o := range orders {
			shelf.Put(o)
		}
		batch := new(pgx.Batch)
		shelf.Queue(batch)
		return tx.SendBatch(w.Context(), batch).Close()
	})
}

// wantStock compares the shelf, in the order of the SKUs, both as the store and as the table tell it.
func (w warehouse) wantStock(units ...int) {
	w.Helper()
	got, err := inventory.NewStore(w.pool).Available(w.Context(), w.skus)
	if err != nil {
		w.Fatal(err)
	}
	if diff := cmp.Diff(w.each(units), got); diff != "" {
		w.Errorf("stock (-want +got):\n%s", diff)
	}
}

// wantTaken compares what each customer has of the first SKU.
func (w warehouse) wantTaken(want map[string]int) {
	w.Helper()
	if diff := cmp.Diff(want, w.taken(w.skus[0])); diff != "" {
		w.Errorf("units taken by customer (-want +got):\n%s", diff)
	}
}

func (w warehouse) taken(sku int64) map[string]int {
	w.Helper()
	rows, err := w.pool.Query(w.Context(), "SELECT customer, taken FROM allowance WHERE sku_id = $1 AND taken <> 0", sku)
	if err != nil {
		w.Fatal(err)
	}
	taken := map[string]int{}
	var customer string
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&customer, &n}, func() error { taken[customer] = n; return nil }); err != nil {
		w.Fatal(err)
	}
	return taken
}

// order returns an order of quantities of the SKUs, in their order; zeroes are left out.
func (w warehouse) order(quantities ...int) inventory.Order {
	var o inventory.Order
	for i, n := range quantities {
		if n > 0 {
			o.Lines = append(o.Lines, inventory.Line{SKU: w.skus[i], Quantity: n})
		}
	}
	return o
}

// limited is [warehouse.order] for a customer who may have so many of each.
func (w warehouse) limited(limit int, customers []string, quantities ...int) inventory.Order {
	o := w.order(quantities...)
	o.Customers = customers
	for i := range o.Lines {
		o.Lines[i].Limit = limit
	}
	return o
}

// atOnce runs do in n goroutines that start together.
func atOnce(n int, do func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	wg.Wait()
}

func TestLevel(t *testing.T) { // E1
	t.Parallel()
	for units, want := range map[int]inventory.Availability{
		-1: inventory.SoldOut, 0: inventory.SoldOut, 1: inventory.Low, 10: inventory.Low, 11: inventory.InStock, 5000: inventory.InStock,
	} {
		if got := inventory.Level(units); got != want {
			t.Errorf("level of %d units: got %s, want %s", units, got, want)
		}
	}
}

// E3: what was ever received is what the books are checked against, so receipts and shelf go together.
func TestReceiptsEqualStock(t *testing.T) {
	t.Parallel()
	w := open(t, 0, 10, 20)
	receive := func(units ...int) {
		t.Helper()
		w.mustTx(func(tx pgx.Tx) error { return inventory.ReceiveTx(t.Context(), tx, w.each(units), "more") })
	}
	receive(5, 0, 7)
	receive() // nothing at all
	w.wantStock(5, 10, 27)
	if units := receipts(w); !maps.Equal(units, w.each([]int{5, 10, 27})) {
		t.Errorf("receipts: got %v, want the same as on the shelf", units)
	}
	w.mustTx(func(tx pgx.Tx) error {
		got, err := inventory.AvailableTx(t.Context(), tx, []int64{w.skus[0], w.skus[2], 1 << 40})
		if diff := cmp.Diff(map[int64]int{w.skus[0]: 5, w.skus[2]: 27}, got); diff != "" {
			t.Errorf("in a transaction, of two SKUs and one that never had stock (-want +got):\n%s", diff)
		}
		return err
	})

	rollback := errors.New("the delivery was a mistake")
	err := pgx.BeginFunc(t.Context(), w.pool, func(tx pgx.Tx) error {
		return errors.Join(inventory.ReceiveTx(t.Context(), tx, w.each([]int{1, 1, 1}), "mistake"), rollback)
	})
	if !errors.Is(err, rollback) {
		t.Fatal(err)
	}
	w.wantStock(5, 10, 27)
	if units := receipts(w); !maps.Equal(units, w.each([]int{5, 10, 27})) {
		t.Errorf("receipts after a rollback: got %v, want those of before", units)
	}
}

// E3: deliveries of the same SKUs at once neither block each other for good nor lose a unit.
func TestDeliveriesAtOnce(t *testing.T) {
	t.Parallel()
	const suppliers, skus = 20, 30
	w := open(t, make([]int, skus)...)
	want := make([]int, skus)
	for i := range want {
		want[i] = suppliers
	}
	atOnce(suppliers, func(int) {
		w.mustTx(func(tx pgx.Tx) error {
			units := map[int64]int{} // its order is another in every goroutine
			for _, sku := range w.skus {
				units[sku] = 1
			}
			return inventory.ReceiveTx(t.Context(), tx, units, "delivery")
		})
	})
	w.wantStock(want...)
	if units := receipts(w); !maps.Equal(units, w.each(want)) {
		t.Errorf("receipts: got %v, want %d of each", units, suppliers)
	}
}

func receipts(w warehouse) map[int64]int {
	w.Helper()
	rows, err := w.pool.Query(w.Context(), "SELECT sku_id, sum(quantity) FROM stock_receipt GROUP BY sku_id")
	if err != nil {
		w.Fatal(err)
	}
	units := map[int64]int{}
	var sku int64
	var n int
	if _, err := pgx.ForEachRow(rows, []any{&sku, &n}, func() error { units[sku] = n; return nil }); err != nil {
		w.Fatal(err)
	}
	return units
}

// E3: the table refuses to oversell even if a program asks for it.
func TestSecondWall(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	_, err := w.pool.Exec(t.Context(), "UPDATE stock SET available = available - 11 WHERE sku_id = $1", w.skus[0])
	pgErr, ok := errors.AsType[*pgconn.PgError](err)
	if !ok || pgErr.ConstraintName != "stock_available_check" {
		t.Errorf("got %v, want a violation of stock_available_check", err)
	}
	w.wantStock(10)
}
