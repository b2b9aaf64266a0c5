package checkout_test

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// counter is a pgx tracer that counts the statements of a name.
type counter struct {
	statement string
	n         atomic.Int32
}

func (c *counter) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	if strings.Contains(data.SQL, c.statement) {
		c.n.Add(1)
	}
	return ctx
}

func (*counter) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// All orders of an outage end unknown at once: nobody's answer waits for the
// connection that gives the leases back, a few statements are enough for all of
// them, and the sweeper, which has the same connection, goes on.
func TestManyLeasesEndAtOnce(t *testing.T) {
	t.Parallel()
	const orders, swept = 1024, 32
	s := newShop(t)
	reqs := make([]checkout.Request, orders)
	for i := range reqs {
		code := []string{mug, pan}[i%2]
		reqs[i] = s.buyer(payment.TokenOK, code, 1)
	}
	var all sync.WaitGroup
	all.Add(orders)
	gateway := &hooked{
		Gateway: s.provider,
		charge: func(context.Context, payment.Charge, func() (payment.Receipt, error)) (payment.Receipt, error) {
			all.Done()
			all.Wait() // all are let in before the provider is found to be away
			return payment.Receipt{}, payment.ErrUnavailable
		},
		cancel: func(context.Context, uuid.UUID, func() (payment.Receipt, error)) (payment.Receipt, error) {
			return payment.Receipt{}, payment.ErrUnavailable
		},
	}
	statements := &counter{statement: "checkout.release_leases"}
	cfg := never()
	cfg.Background = s.tracedPool(statements)
	w := s.worker(gateway, cfg)
	busy, err := cfg.Background.Acquire(t.Context()) // the one connection
	if err != nil {
		t.Fatal(err)
	}
	crowd(orders, func(i int) {
		if result, err := w.Checkout(t.Context(), reqs[i]); err != nil || result.Order.Status != checkout.Pending {
			t.Errorf("got %+v, %v, want a pending order", result, err)
		}
	})
	busy.Release()
	s.await("SELECT count(*) = 0 FROM orders WHERE paying_until > now()")
	if n := statements.n.Load(); n > 4 {
		t.Errorf("%d leases were given back in %d statements, want a few", orders, n)
	}
	s.exec("UPDATE orders SET hold_expires_at = '-infinity' WHERE id IN (SELECT id FROM orders LIMIT $1)", swept)
	good := never()
	good.Background = cfg.Background
	if n, err := s.worker(s.provider, good).Sweep(t.Context()); n != swept || err != nil {
		t.Errorf("swept %d orders (%v), want %d", n, err, swept)
	}
	s.checkBooks()
}

// A lease that can't be given back ends by itself; nobody else's waits for it.
func TestLeaseOfALockedOrder(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var free func()
	w := s.worker(&hooked{
		Gateway: s.provider,
		charge: func(_ context.Context, c payment.Charge, _ func() (payment.Receipt, error)) (payment.Receipt, error) {
			if free == nil {
				free = s.hold("SELECT FROM orders WHERE id = $1", c.Order)
			}
			return payment.Receipt{}, payment.ErrUnavailable
		},
		cancel: func(context.Context, uuid.UUID, func() (payment.Receipt, error)) (payment.Receipt, error) {
			return payment.Receipt{}, payment.ErrUnavailable
		},
	}, never())
	var orders []uuid.UUID
	for range 2 { // the second lease is given back after the first, or with it
		result, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, mug, 1))
		if err != nil {
			t.Fatal(err)
		}
		orders = append(orders, result.Order.ID)
	}
	defer free()
	s.released(orders[1])
	free()
	var leased bool
	if s.query("SELECT paying_until > now() FROM orders WHERE id = $1", []any{orders[0]}, &leased); !leased {
		t.Error("a locked order's lease was given back")
	}
	s.checkBooks()
}
