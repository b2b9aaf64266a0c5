package checkout_test

import (
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/checkout"
)

// books are the sums that hold at every moment, whatever has happened (promise E3). Each query returns a line of text for
// every row that is wrong.
var books = map[string]string{
	"received = available + pending + sold": `
SELECT format('SKU %s: received %s, available %s, pending %s, sold %s', k.code, r.n, s.available, coalesce(o.pending, 0), coalesce(o.sold, 0))
  FROM stock s JOIN sku k ON k.id = s.sku_id
  JOIN (SELECT sku_id, sum(quantity) AS n FROM stock_receipt GROUP BY sku_id) r USING (sku_id)
  LEFT JOIN (SELECT sku_id, sum(quantity) FILTER (WHERE status = 'pending') AS pending, sum(quantity) FILTER (WHERE status = 'confirmed') AS sold
               FROM order_line l JOIN orders o ON o.id = l.order_id GROUP BY sku_id) o USING (sku_id)
 WHERE r.n <> s.available + coalesce(o.pending, 0) + coalesce(o.sold, 0)`,
	"each confirmed order is paid once, and nothing else is": `
SELECT format('order %s: %s, total %s, paid %s', coalesce(o.id, p.order_id), o.status, o.total_minor, p.amount_minor)
  FROM orders o FULL JOIN payment p ON p.order_id = o.id
 WHERE (o.status = 'confirmed') <> (p.order_id IS NOT NULL) OR o.total_minor <> p.amount_minor OR o.currency <> p.currency`,
	"allowances are what customers hold": `
SELECT format('SKU %s, %s: taken %s, holds %s', coalesce(a.sku_id, h.sku_id), coalesce(a.customer, h.customer), a.taken, h.n)
  FROM allowance a FULL JOIN (
       SELECT l.sku_id, c.customer, sum(l.quantity) AS n
         FROM order_line l JOIN orders o ON o.id = l.order_id
         CROSS JOIN LATERAL (VALUES ('owner:' || o.owner_id), ('email:' || o.email)) AS c (customer)
        WHERE l.limited AND o.status <> 'cancelled' GROUP BY l.sku_id, c.customer) h USING (sku_id, customer)
 WHERE coalesce(a.taken, 0) <> coalesce(h.n, 0)`,
	"limits per customer are kept": `
SELECT format('SKU %s, %s: %s', k.code, a.customer, a.taken) FROM allowance a JOIN sku k ON k.id = a.sku_id WHERE a.taken > k.max_per_customer`,
	"uses of a code are its orders": `
SELECT format('code %s: %s uses, %s orders', d.code, d.uses, count(o.id))
  FROM discount d LEFT JOIN orders o ON o.discount_code = d.code AND o.status <> 'cancelled'
 WHERE d.max_uses IS NOT NULL GROUP BY d.code HAVING d.uses <> count(o.id)`,
	"an order is the sum of its lines": `
SELECT format('order %s: subtotal %s, lines %s', o.id, o.subtotal_minor, sum(l.quantity * l.unit_price_minor))
  FROM orders o LEFT JOIN order_line l ON l.order_id = o.id
 GROUP BY o.id HAVING o.subtotal_minor IS DISTINCT FROM sum(l.quantity * l.unit_price_minor)`,
}

// checkBooks compares the shop's books with each other and with the provider's: what it has captured is what is
// confirmed; only of a pending order may the shop not know yet. Tests call it when all is done.
func (s *shop) checkBooks() {
	s.t.Helper()
	for rule, sql := range books {
		rows, err := s.pool.Query(s.t.Context(), sql)
		if err != nil {
			s.t.Fatalf("books: %s: %v", rule, err)
		}
		wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			s.t.Fatalf("books: %s: %v", rule, err)
		}
		for _, row := range wrong {
			s.t.Errorf("books: %s: %s", rule, row)
		}
	}
	rows, err := s.pool.Query(s.t.Context(), "SELECT id, status, total_minor FROM orders")
	if err != nil {
		s.t.Fatal(err)
	}
	var id uuid.UUID
	var status checkout.Status
	var total int64
	if _, err := pgx.ForEachRow(rows, []any{&id, &status, &total}, func() error {
		amount, captured, err := s.provider.Captured(s.t.Context(), id)
		if wrong := captured != (status == checkout.Confirmed) && status != checkout.Pending; wrong || captured && amount != total {
			s.t.Errorf("books: order %s is %s with total %d, and the provider has captured: %t, %d", id, status, total, captured, amount)
		}
		return err
	}); err != nil {
		s.t.Fatal(err)
	}
}

// Books that never found anything wrong would be no proof of promise E3.
func TestBooksFindWhatIsWrong(t *testing.T) {
	t.Parallel()
	// Each forgery is undone by the end of its transaction; only the rules in SQL are tried.
	for rule, forgery := range map[string]string{
		"received = available + pending + sold":                  "UPDATE stock SET available = available + 1 WHERE sku_id = (SELECT min(sku_id) FROM order_line)",
		"each confirmed order is paid once, and nothing else is": "DELETE FROM payment",
		"allowances are what customers hold":                     "DELETE FROM allowance WHERE customer LIKE 'email:%'",
		"limits per customer are kept":                           "UPDATE allowance SET taken = taken + 1",
		"uses of a code are its orders":                          "UPDATE discount SET uses = uses + 1 WHERE max_uses IS NOT NULL",
		"an order is the sum of its lines":                       "UPDATE order_line SET quantity = quantity + 1",
	} {
		t.Run(rule, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer("tok_ok", oneEach, 1)
			s.discount(req.Owner, twice)
			s.buy(req)
			s.checkBooks()
			tx, err := s.pool.Begin(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer tx.Rollback(t.Context())
			if _, err := tx.Exec(t.Context(), forgery); err != nil {
				t.Fatal(err)
			}
			rows, err := tx.Query(t.Context(), books[rule])
			if err != nil {
				t.Fatal(err)
			}
			wrong, err := pgx.CollectRows(rows, pgx.RowTo[string])
			if err != nil || len(wrong) == 0 {
				t.Errorf("found nothing wrong (%v)", err)
			}
		})
	}
}

// buy checks out at a worker whose provider works, and wants the order confirmed.
func (s *shop) buy(req checkout.Request) checkout.Order {
	s.t.Helper()
	result, err := s.worker(s.provider, patient).Checkout(s.t.Context(), req)
	if err != nil {
		s.t.Fatalf("checkout: %v", err)
	}
	if result.Order.Status != checkout.Confirmed || result.Replayed {
		s.t.Fatalf("got order %s, replayed %t, want confirmed, and new", result.Order.Status, result.Replayed)
	}
	return result.Order
}
