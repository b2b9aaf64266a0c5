package checkout_test

import (
	"log/slog"
	"sync"
	"testing"

	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// What an order costs PostgreSQL, from the cart to the payment, with 64
// customers at once: bytes of its log, and how many of the updates leave the
// indexes alone (HOT). The carts are filled beforehand. The servers of the tests
// write no full pages; with full_page_writes on, and many orders in the table,
// it shows how far apart the pages are that an order touches.
//
//	go test -run '^$' -bench Orders -benchtime 20000x ./app/checkout
func BenchmarkOrders(b *testing.B) {
	const customers = 64
	s := newShop(b)
	s.log = slog.New(slog.DiscardHandler)
	w := s.worker(s.provider, patient)
	s.exec("UPDATE stock SET available = 1000000000")
	reqs := make([]checkout.Request, b.N)
	owners, carts := make([]uuid.UUID, b.N), make([]uuid.UUID, b.N)
	for i := range reqs {
		owners[i], carts[i] = uuid.Must(uuid.NewV7()), uuid.Must(uuid.NewV7())
		reqs[i] = request(owners[i], payment.TokenOK)
	}
	s.exec("INSERT INTO cart (owner_id, id) SELECT * FROM unnest($1::uuid[], $2::uuid[])", owners, carts)
	s.exec("INSERT INTO cart_line (owner_id, sku_id, quantity) SELECT unnest($1::uuid[]), $2, 1", owners, s.sku[mug])
	s.exec("CHECKPOINT")
	var before, after int64
	const written = "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint"
	s.query(written, nil, &before)
	b.ResetTimer()
	var wg sync.WaitGroup
	next := make(chan checkout.Request, b.N)
	for _, req := range reqs {
		next <- req
	}
	close(next)
	for range customers {
		wg.Go(func() {
			for req := range next {
				if result, err := w.Checkout(b.Context(), req); err != nil || result.Order.Status != checkout.Confirmed {
					b.Errorf("got %+v, %v", result, err)
				}
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	s.query(written, nil, &after)
	b.ReportMetric(float64(after-before)/float64(b.N), "wal_B/order")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "orders/s")
	for _, table := range []string{"orders", "cart"} {
		var updates, hot int64
		s.exec("SELECT pg_stat_force_next_flush()")
		s.query("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1", []any{table}, &updates, &hot)
		b.ReportMetric(100*float64(hot)/float64(max(updates, 1)), table+"_hot_%")
	}
}
