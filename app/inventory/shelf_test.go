package inventory_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"doorbuster/app/inventory"
)

// count sorts outcomes of orders: how many went through, and how many were refused for want of units and by a limit. Any
// other error fails the test.
func (w warehouse) count(outcomes []error) (ok, short, limited int) {
	w.Helper()
	for _, err := range outcomes {
		_, isShort := errors.AsType[*inventory.Shortage](err)
		_, isLimited := errors.AsType[*inventory.LimitReached](err)
		switch {
		case err == nil:
			ok++
		case isShort:
			short++
		case isLimited:
			limited++
		default:
			w.Error(err)
		}
	}
	return ok, short, limited
}

// E3: never oversold, never undersold.
func TestLastUnitsAreSoldExactly(t *testing.T) {
	t.Parallel()
	w := open(t, 10)
	outcomes := make([]error, 50)
	atOnce(len(outcomes), func(i int) { outcomes[i] = w.take(w.order(1))[0] })
	if ok, short, _ := w.count(outcomes); ok != 10 || short != 40 {
		t.Errorf("got %d orders of a unit and %d refused, want 10 and 40", ok, short)
	}
	w.wantStock(0)
}

// E3: in a batch, those who came first get the last units; who gets none takes none and stops nobody behind.
func TestArrivalDecides(t *testing.T) {
	t.Parallel()
	w := open(t, 5, 1)
	got := w.take(
		w.order(2),    // leaves 3
		w.order(4),    // too many
		w.order(1, 2), // the second line is too many, so not even the first is taken
		w.order(2, 1), // leaves 1 and 0
		w.order(2, 1), // both lines are too many
		w.order(1),    // the last one
		w.order(1),
		w.order(0, 0), // wants nothing and gets it
	)
	short := func(lines ...inventory.Short) error { return &inventory.Shortage{Lines: lines} }
	a, b := w.skus[0], w.skus[1]
	want := []error{
		nil,
		short(inventory.Short{SKU: a, Requested: 4, Available: 3}),
		short(inventory.Short{SKU: b, Requested: 2, Available: 1}),
		nil,
		short(inventory.Short{SKU: a, Requested: 2, Available: 1}, inventory.Short{SKU: b, Requested: 1, Available: 0}),
		nil,
		short(inventory.Short{SKU: a, Requested: 1, Available: 0}),
		nil,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("outcomes (-want +got):\n%s", diff)
	}
	w.wantStock(0, 0)
}

func TestRefusedOrdersWriteNothing(t *testing.T) { // E3
	t.Parallel()
	w := open(t, 5)
	w.mustTx(func(tx pgx.Tx) error {
		neverStocked := inventory.Order{Lines: []inventory.Line{{SKU: 1 << 40, Quantity: 1}}}
		refused := []inventory.Order{w.order(6), w.limited(2, []string{"ann"}, 3), neverStocked}
		shelf, err := inventory.LockTx(t.Context(), tx, refused)
		if err != nil {
			return err
		}
		for _, o := range refused {
			if shelf.Take(o) == nil {
				t.Errorf("%v: got its units, want it refused", o)
			}
		}
		batch := new(pgx.Batch)
		shelf.Queue(batch)
		if batch.Len() != 0 {
			t.Errorf("got %d statements to write, want none", batch.Len())
		}
		return nil
	})
	if none, err := inventory.LockTx(t.Context(), mustBegin(w), nil); err != nil || none == nil {
		t.Errorf("locks of no orders: got %v, %v, want an empty shelf", none, err)
	}
}

func mustBegin(w warehouse) pgx.Tx {
	w.Helper()
	tx, err := w.pool.Begin(w.Context())
	if err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { tx.Rollback(context.WithoutCancel(w.Context())) }) // a second end is no matter
	return tx
}

// E3: a customer is known by two names, and neither may go beyond the limit.
func TestLimitHoldsForBothNames(t *testing.T) {
	t.Parallel()
	w := open(t, 100, 100)
	sku := w.skus[0]
	reached := func(left int, customer string) error {
		return &inventory.LimitReached{SKU: sku, Limit: 3, Left: left, Customer: customer}
	}
	steps := []struct {
		customers []string
		quantity  int
		want      error
	}{
		{[]string{"owner-1", "ann@example.com"}, 2, nil},
		{[]string{"owner-1", "bob@example.com"}, 2, reached(1, "owner-1")},         // the same cart, another address
		{[]string{"owner-2", "ann@example.com"}, 2, reached(1, "ann@example.com")}, // another cart, the same address
		{[]string{"owner-2", "bob@example.com"}, 4, reached(3, "owner-2")},         // never seen, but too many
		{[]string{"owner-2", "bob@example.com"}, 2, nil},
		{[]string{"owner-1", "bob@example.com"}, 1, nil}, // one left for either
		{[]string{"owner-1", "cat@example.com"}, 1, reached(0, "owner-1")},
		{[]string{"owner-2", "owner-1"}, 3, reached(1, "owner-2")}, // 1 and 0 left: the first counts
		{[]string{"owner-1", "owner-2"}, 3, reached(0, "owner-1")},
		{[]string{"dan@example.com", "owner-2"}, 3, reached(1, "owner-2")},
	}
	var orders []inventory.Order
	var want []error
	for _, s := range steps {
		orders, want = append(orders, w.limited(3, s.customers, s.quantity)), append(want, s.want)
	}
	taken := map[string]int{"owner-1": 3, "ann@example.com": 2, "owner-2": 2, "bob@example.com": 3}

	t.Run("in one batch", func(t *testing.T) {
		if diff := cmp.Diff(want, w.take(orders...)); diff != "" {
			t.Errorf("outcomes (-want +got):\n%s", diff)
		}
		w.wantTaken(taken)
		w.wantStock(95, 100)
	})
	w.put(orders[0], orders[4], orders[5])
	w.wantTaken(map[string]int{})
	t.Run("one after the other", func(t *testing.T) {
		for i, o := range orders {
			if diff := cmp.Diff(want[i:i+1], w.take(o)); diff != "" {
				t.Errorf("%v: outcome (-want +got):\n%s", o, diff)
			}
		}
		w.wantTaken(taken)
		w.wantStock(95, 100)
	})
	t.Run("another SKU counts for itself", func(t *testing.T) {
		if got := w.take(w.limited(3, []string{"owner-1", "ann@example.com"}, 0, 3)); got[0] != nil {
			t.Errorf("got %v, want the units", got[0])
		}
	})
	t.Run("no limit, no count", func(t *testing.T) {
		o := w.order(50)
		o.Customers = []string{"owner-1", "ann@example.com"}
		if got := w.take(o); got[0] != nil {
			t.Errorf("got %v, want the units", got[0])
		}
		w.wantTaken(taken)
	})
}

// E3: orders of a customer whom nobody has seen meet on a row that is not there yet. Each order has one of the two names in
// common with the others.
func TestLimitHoldsForNewCustomersAtOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		names func(i int) []string
	}{
		{"both names", func(int) []string { return []string{"owner", "ann@example.com"} }},
		{"same cart", func(i int) []string { return []string{"owner", fmt.Sprintf("%d@example.com", i)} }},
		{"same address", func(i int) []string { return []string{fmt.Sprintf("owner-%d", i), "ann@example.com"} }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := open(t, 100)
			const limit = 3
			outcomes := make([]error, 20)
			atOnce(len(outcomes), func(i int) { outcomes[i] = w.take(w.limited(limit, c.names(i), 1))[0] })
			if ok, _, refused := w.count(outcomes); ok != limit || refused != len(outcomes)-limit {
				t.Errorf("got %d orders of a unit and %d refused, want %d and %d", ok, refused, limit, len(outcomes)-limit)
			}
			w.wantStock(100 - limit)
			want := map[string]int{}
			for i, err := range outcomes {
				for _, name := range c.names(i) {
					if err == nil {
						want[name]++
					}
				}
			}
			w.wantTaken(want)
		})
	}
}

// E3: what is given back can be bought again, by others and by the one who had it.
func TestPutRestoresExactly(t *testing.T) {
	t.Parallel()
	w := open(t, 5, 7, 9)
	ann, bob := []string{"owner-1", "ann@example.com"}, []string{"owner-2", "bob@example.com"}
	first, second := w.limited(5, ann, 5, 0, 2), w.limited(7, bob, 0, 7, 3)
	slices.Reverse(second.Lines)
	for range 2 {
		if ok, _, _ := w.count(w.take(first, second)); ok != 2 {
			t.Fatal("the orders did not get their units")
		}
		w.wantStock(0, 0, 4)
		w.wantTaken(map[string]int{"owner-1": 5, "ann@example.com": 5})
		w.put(second, first)
		w.wantStock(5, 7, 9)
		for _, sku := range w.skus {
			if got := w.taken(sku); len(got) != 0 {
				t.Errorf("units taken of %d: got %v, want none", sku, got)
			}
		}
	}

	// In one transaction: a cancelled order makes room for the next in line, and nothing is left over.
	w.mustTx(func(tx pgx.Tx) error {
		shelf, err := inventory.LockTx(t.Context(), tx, []inventory.Order{first})
		if err != nil {
			return err
		}
		for range 3 {
			if err := shelf.Take(first); err != nil {
				t.Errorf("after it was put back: got %v, want the units", err)
			}
			if shelf.Take(first) == nil {
				t.Error("twice: got the units, want a refusal")
			}
			shelf.Put(first)
		}
		batch := new(pgx.Batch)
		shelf.Queue(batch)
		return tx.SendBatch(t.Context(), batch).Close()
	})
	w.wantStock(5, 7, 9)
	w.wantTaken(map[string]int{})
}

// E3: whatever orders come at once, in whatever order their lines are, no two transactions wait for each other (40P01), and
// afterwards the books balance: received = available + taken, for each SKU and for each customer.
func TestBooksBalanceAfterACrowd(t *testing.T) {
	t.Parallel()
	const buyers, rounds, skus, limit = 20, 15, 6, 12
	received := []int{40, 60, 80, 100, 120, 140}
	w := open(t, received...)

	var mu sync.Mutex
	sold, held := make([]int, skus), make([]map[string]int, skus)
	for i := range held {
		held[i] = map[string]int{}
	}
	book := func(o inventory.Order, sign int) {
		mu.Lock()
		defer mu.Unlock()
		for _, l := range o.Lines {
			i := slices.Index(w.skus, l.SKU)
			sold[i] += sign * l.Quantity
			for _, name := range o.Customers {
				if l.Limit > 0 {
					held[i][name] += sign * l.Quantity
				}
			}
		}
	}
	random := func(r *rand.Rand) inventory.Order {
		o := inventory.Order{Customers: []string{fmt.Sprintf("owner-%d", r.IntN(6)), fmt.Sprintf("%d@example.com", r.IntN(6))}}
		for _, i := range r.Perm(skus)[:1+r.IntN(4)] { // neither sorted nor the same twice
			o.Lines = append(o.Lines, inventory.Line{SKU: w.skus[i], Quantity: 1 + r.IntN(3), Limit: limit * (i % 2)})
		}
		return o
	}
	atOnce(buyers, func(buyer int) {
		r := rand.New(rand.NewPCG(uint64(buyer), 0))
		var mine []inventory.Order
		for range rounds {
			orders := make([]inventory.Order, 1+r.IntN(3))
			for i := range orders {
				orders[i] = random(r)
			}
			for i, err := range w.take(orders...) {
				if err == nil {
					mine = append(mine, orders[i])
					book(orders[i], 1)
				}
			}
			if len(mine) > 0 && r.IntN(3) == 0 { // somebody's card was declined
				book(mine[0], -1)
				w.put(mine[0])
				mine = mine[1:]
			}
		}
	})

	available := make([]int, skus)
	for i := range available {
		available[i] = received[i] - sold[i]
		for name, n := range held[i] {
			if n == 0 {
				delete(held[i], name)
			}
			if n > limit {
				t.Errorf("SKU %d: %s got %d units, want %d at most", i, name, n, limit)
			}
		}
		if diff := cmp.Diff(held[i], w.taken(w.skus[i])); diff != "" {
			t.Errorf("SKU %d: units taken by customer (-bought +table):\n%s", i, diff)
		}
	}
	w.wantStock(available...)
}

// E3: the order of the locks is what keeps a crowd from a deadlock. Two transactions, held in the middle of theirs by hand,
// show that it is the same for both: who has the first SKU gets the second.
func TestLocksAreTakenInOneOrder(t *testing.T) {
	t.Parallel()
	w := open(t, 10, 10)
	holder := mustBegin(w)
	if _, err := holder.Exec(t.Context(), "SELECT FROM stock WHERE sku_id = $1 FOR UPDATE", w.skus[0]); err != nil {
		t.Fatal(err)
	}
	backwards := w.order(1, 1)
	slices.Reverse(backwards.Lines)
	done := make(chan error, 1)
	go func() { done <- w.take(backwards)[0] }()
	for waiting := false; !waiting; {
		select {
		case err := <-done:
			t.Fatalf("got %v while another held a stock row, want it to wait", err)
		default:
		}
		if err := w.pool.QueryRow(t.Context(), waitsForLock).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	// It waits for the first row and so cannot have the second.
	_, err := holder.Exec(t.Context(), "SELECT FROM stock WHERE sku_id = $1 FOR UPDATE NOWAIT", w.skus[1])
	if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok {
		t.Errorf("the second row, for the one who has the first: got %s, want it free", pgErr.Message)
	} else if err != nil {
		t.Error(err)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after the other left: got %v, want the units", err)
	}
	w.wantStock(9, 9)
}

const waitsForLock = `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
	WHERE NOT l.granted AND a.datname = current_database())`
