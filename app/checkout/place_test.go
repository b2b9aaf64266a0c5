package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/checkout"
	"doorbuster/app/money"
	"doorbuster/app/payment"
	"doorbuster/app/pricing"
)

// Promise E3: inventory, discounts, payment and order belong together.
func TestCheckout(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, pan, 3, mug, 1, open, 1)
	s.discount(req.Owner, tenOff)
	total := int64(4140) // 3 * 10.00 + 10.00 + 6.00 on sale, less 10 %
	req.ExpectedTotalMinor = &total
	got := s.buy(req)

	usd := func(minor int64) money.Money { return money.Money{Minor: minor, Currency: "USD"} }
	line := func(code string, quantity int, each int64) checkout.OrderLine {
		return checkout.OrderLine{SKU: s.sku[code], Code: code, Name: code, Quantity: quantity, UnitPrice: usd(each)}
	}
	want := checkout.Order{
		ID: got.ID, Number: got.Number, Email: req.Email, Status: checkout.Confirmed, CreatedAt: got.CreatedAt,
		Lines:    []checkout.OrderLine{line(mug, 1, price), line(pan, 3, price), line(open, 1, offPrice)},
		Subtotal: usd(4600), Discount: usd(460), Total: usd(total), DiscountCode: tenOff,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("order (-want +got):\n%s", diff)
	}
	if got.ID.Version() != 7 || got.Number < 1e9 {
		t.Errorf("got id %s and number %d, want version 7 and ten digits", got.ID, got.Number)
	}
	if left := s.lines(req.Owner); len(left) != 0 {
		t.Errorf("the cart still holds %v", left)
	}
	if n := s.available(pan); n != 997 {
		t.Errorf("got %d units on the shelf, want 997", n)
	}
	s.checkBooks()
}

// Promise E3: a refusal changes nothing, charges nothing and leaves the key free.
func TestRefusalChangesNothing(t *testing.T) {
	t.Parallel()
	asked := int64(1)
	for name, c := range map[string]struct {
		fill     []any
		discount string
		expected *int64
		want     error
		repair   func(s *shop, req *checkout.Request) // what makes the same key work
	}{
		"empty cart": {
			want:   checkout.ErrCartEmpty,
			repair: func(s *shop, req *checkout.Request) { s.fill(req.Owner, mug, 1) },
		},
		"sold out": {
			fill: []any{mug, 1, lastTen, 11},
			want: &checkout.OutOfStock{Lines: []checkout.ShortLine{{Code: lastTen, Requested: 11, Available: 10}}},
			repair: func(s *shop, req *checkout.Request) {
				s.exec("UPDATE stock SET available = available + 1 WHERE sku_id = $1", s.sku[lastTen])
				s.exec("INSERT INTO stock_receipt (sku_id, quantity, note) VALUES ($1, 1, 'one more')", s.sku[lastTen])
			},
		},
		"price changed": {
			fill: []any{mug, 1}, expected: &asked,
			want: &checkout.PriceChanged{Expected: money.Money{Minor: 1, Currency: "USD"}, Now: money.Money{Minor: price, Currency: "USD"}},
			repair: func(s *shop, req *checkout.Request) {
				s.exec("UPDATE sku SET list_price_minor = 1 WHERE code = $1", mug)
			},
		},
		"limit": {
			fill: []any{mug, 1, oneEach, 2}, want: &checkout.LimitReached{Code: oneEach, Limit: 1, Left: 1},
			repair: func(s *shop, req *checkout.Request) {
				if _, err := s.carts.Set(s.t.Context(), req.Owner, s.sku[oneEach], 1); err != nil {
					s.t.Fatal(err)
				}
			},
		},
		"sale is over": {
			fill: []any{mug, 1, yesterday, 1}, want: &checkout.NotForSale{Code: yesterday},
			repair: func(s *shop, req *checkout.Request) {
				s.exec("UPDATE sale SET ends_at = now() + interval '1 hour' WHERE name = $1", yesterday)
			},
		},
		"discount has expired": {
			fill: []any{mug, 1}, discount: oldCode, want: &pricing.RefusedDiscount{Code: oldCode, Reason: "has expired"},
			repair: func(s *shop, req *checkout.Request) { s.discount(req.Owner, tenOff) },
		},
		"discount is unknown": {
			fill: []any{mug, 1}, discount: noSuch, want: &pricing.RefusedDiscount{Code: noSuch, Reason: "does not exist"},
			repair: func(s *shop, req *checkout.Request) { s.discount(req.Owner, "") },
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(payment.TokenOK, c.fill...)
			if c.discount != "" {
				s.discount(req.Owner, c.discount)
			}
			req.ExpectedTotalMinor = c.expected
			if short, ok := c.want.(*checkout.OutOfStock); ok { //nolint:errorlint // it is the table's own
				short.Lines[0].SKU = s.sku[short.Lines[0].Code]
			}
			before := s.snapshot()
			result, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
			if diff := cmp.Diff(c.want, err, cmp.Comparer(sameError)); diff != "" {
				t.Errorf("got %+v and error (-want +got):\n%s", result, diff)
			}
			s.unchanged(before)
			s.checkBooks()
			c.repair(s, &req)
			s.buy(req)
			s.checkBooks()
		})
	}
}

// sameError compares refusals by what they say, in all their fields.
func sameError(a, b error) bool {
	return errors.Is(b, a) || fmt.Sprintf("%T%+v", a, a) == fmt.Sprintf("%T%+v", b, b) && cmp.Equal(deref(a), deref(b))
}

// deref returns the struct behind one of this package's refusals.
func deref(err error) any {
	switch e := err.(type) { //nolint:errorlint // refusals come unwrapped
	case *checkout.OutOfStock:
		return *e
	case *checkout.NotForSale:
		return *e
	case *checkout.LimitReached:
		return *e
	case *checkout.PriceChanged:
		return *e
	case *pricing.RefusedDiscount:
		return *e
	default:
		return nil
	}
}

// Promise E3: a sale starts by the database's clock, and whoever comes too early is told when to come back.
func TestSaleHasNotStarted(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, tomorrow, 1)
	var starts, before, after time.Time
	unchanged := s.snapshot()
	s.query("SELECT starts_at, clock_timestamp() FROM sale WHERE name = $1", []any{tomorrow}, &starts, &before)
	_, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
	s.query("SELECT clock_timestamp()", nil, &after)
	refusal, ok := errors.AsType[*checkout.NotForSale](err)
	if !ok {
		t.Fatalf("got error %v, want NotForSale", err)
	}
	if refusal.Code != tomorrow || !refusal.StartsAt.Equal(starts) {
		t.Errorf("got %s at %s, want %s at %s", refusal.Code, refusal.StartsAt, tomorrow, starts)
	}
	if most, least := starts.Sub(before), starts.Sub(after); refusal.StartsIn > most || refusal.StartsIn < least {
		t.Errorf("got starts in %s, want %s to %s", refusal.StartsIn, least, most)
	}
	s.unchanged(unchanged)

	s.exec("UPDATE sale SET starts_at = now() WHERE name = $1", tomorrow)
	if order := s.buy(req); order.Total.Minor != offPrice {
		t.Errorf("got total %d once the sale is open, want %d", order.Total.Minor, offPrice)
	}
	s.checkBooks()
}

// A checkout that waits for its turn for too long is ErrBusy, and nothing has happened (E3).
func TestBusyCheckoutChangesNothing(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	slow, other := s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, pan, 1)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	w := s.traced(&onQuery{"checkout.prior", func() { close(arrived); <-goOn }}, s.provider)
	before := s.snapshot()
	first := make(chan error)
	go func() { _, err := w.Checkout(t.Context(), slow); first <- err }()
	reached(t, arrived, first)
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	if _, err := w.Checkout(ctx, other); !errors.Is(err, checkout.ErrBusy) {
		t.Errorf("got %v, want %v", err, checkout.ErrBusy)
	}
	s.unchanged(before)
	close(goOn)
	if err := <-first; err != nil {
		t.Errorf("who is being placed: %v", err)
	}
	s.buy(other)
	s.checkBooks()
}

// A pool that can't be used is no answer about the order (E3).
func TestDatabaseAway(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	pool, err := pgxpool.New(t.Context(), s.pool.Config().ConnString())
	if err != nil {
		t.Fatal(err)
	}
	pool.Close()
	before := s.snapshot()
	if result, err := checkout.New(pool, s.provider, s.log, patient).Checkout(t.Context(), req); err == nil {
		t.Errorf("got %+v from a closed pool", result)
	}
	s.unchanged(before)
	s.buy(req)
	s.checkBooks()
}

// Nobody is bought for who hung up before it was their turn: the units are for those who still wait.
func TestHangingUpInTheQueue(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	before := s.snapshot()
	ctx, hangUp := context.WithCancel(t.Context())
	hangUp()
	if _, err := s.worker(s.provider, patient).Checkout(ctx, req); !errors.Is(err, checkout.ErrBusy) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want ErrBusy because of the hang-up", err)
	}
	s.unchanged(before)
}

// Promise E3: what costs nothing is not charged for: providers refuse that.
func TestFreeOrder(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.exec("UPDATE discount SET percent = 100 WHERE code = $1", tenOff)
	req := s.buyer(payment.TokenDeclined, mug, 1)
	s.discount(req.Owner, tenOff)
	result, err := s.worker(s.bad(payment.SimulatorConfig{Outage: true}), patient).Checkout(t.Context(), req)
	if err != nil || result.Order.Status != checkout.Confirmed || result.Order.Total.Minor != 0 {
		t.Errorf("got %+v, %v, want a confirmed order for nothing", result, err)
	}
}

// PostgreSQL keeps the plan of a prepared statement for good after some uses, and a young database has no statistics: the
// statements of every checkout must have plans then that do not grow with the number of orders.
func TestPlansOfAYoungDatabase(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	conn, err := s.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Release()
	for name, c := range map[string]struct{ types, sql, args, bound string }{
		"prior": {"uuid[], text[]", checkout.SelectPrior, "'{}', '{}'", "Index Cond: (owner_id = u.owner_id)"},
		"claim": {"interval, integer", checkout.ClaimExpired, "'1 s', 32", "Index Cond: (hold_expires_at < statement_timestamp())"},
	} {
		for _, sql := range []string{
			"SET plan_cache_mode = force_generic_plan", "SET enable_bitmapscan = off", "PREPARE young_" + name + " (" + c.types + ") AS " + c.sql,
		} {
			if _, err := conn.Exec(t.Context(), sql); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := conn.Query(t.Context(), "EXPLAIN EXECUTE young_"+name+" ("+c.args+")", pgx.QueryExecModeSimpleProtocol)
		if err != nil {
			t.Fatal(err)
		}
		lines, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		plan := strings.Join(lines, "\n")
		if strings.Contains(plan, "Seq Scan on orders") || !strings.Contains(plan, c.bound) {
			t.Errorf("%s: the plan has no %s:\n%s", name, c.bound, plan)
		}
	}
}
