package checkout_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// Promise E3: no acknowledged order is lost with its worker. The sweeper of another asks the provider what has become of
// it: confirmed if it was charged, else all is given back.
func TestSweepAfterAWorkerDied(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	unpaid, paid := s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, mug, 1)
	before, after := s.place(unpaid), s.place(paid) // died before the charge, and after it
	if _, err := s.provider.Charge(t.Context(), payment.Charge{Order: after.ID, Amount: after.Total, Token: payment.TokenOK}); err != nil {
		t.Fatal(err)
	}
	w := s.worker(s.provider, patient)
	sweep := func(when string, want int) {
		t.Helper()
		if n, err := w.Sweep(t.Context()); n != want || err != nil {
			t.Errorf("%s: swept %d orders (%v), want %d", when, n, err, want)
		}
	}
	sweep("both held and leased", 0)
	s.expire(before.ID)
	s.expire(after.ID)
	sweep("their payers may be alive", 0)
	s.bury(before.ID)
	s.bury(after.ID)
	sweep("dead", 2)
	sweep("settled", 0)
	for id, want := range map[uuid.UUID]checkout.Status{before.ID: checkout.Cancelled, after.ID: checkout.Confirmed} {
		var got checkout.Status
		if s.query("SELECT status FROM orders WHERE id = $1", []any{id}, &got); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
	if n := s.lines(unpaid.Owner)[mug]; n != 1 {
		t.Errorf("got %d units back in the cart, want 1", n)
	}
	s.checkBooks()
	// The customers repeat their requests: one replay, one new order.
	if got, err := w.Checkout(t.Context(), paid); err != nil || got.Order.ID != after.ID || !got.Replayed {
		t.Errorf("got %+v, %v, want a replay", got, err)
	}
	s.buy(unpaid)
	s.checkBooks()
}

// Promise E3: a live payer's order is never swept, however slow the provider is; a dead one's is.
func TestSweepAndASlowPayer(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	arrived, goOn := make(chan uuid.UUID), make(chan struct{})
	slow := &hooked{Gateway: s.provider, charge: func(_ context.Context, c payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		arrived <- c.Order
		<-goOn
		return next()
	}}
	done := make(chan error)
	go func() {
		_, err := s.worker(slow, patient).Checkout(t.Context(), req)
		done <- err
	}()
	order := reached(t, arrived, done)
	s.expire(order)
	w := s.worker(s.provider, patient)
	if n, err := w.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("swept %d orders (%v) of a live payer", n, err)
	}
	// When its lease ends it counts as dead. If it then comes back, it finds the charge fenced off.
	s.bury(order)
	if n, err := w.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("swept %d orders (%v) of a dead payer, want 1", n, err)
	}
	close(goOn)
	if err := <-done; !errors.Is(err, checkout.ErrProvider) {
		t.Errorf("back from the dead: got %v, want %v", err, checkout.ErrProvider)
	}
	if s.charged(order) {
		t.Error("charged after the fence")
	}
	s.checkBooks()
	s.buy(req)
	s.checkBooks()
}

// Promise E3: sweepers share the orders; each is settled once and its units come back once.
func TestSweepersAtOnce(t *testing.T) {
	t.Parallel()
	const orders, sweepers = 12, 4
	s := newShop(t)
	var asked atomic.Int32
	counted := &hooked{Gateway: s.provider, cancel: func(_ context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		asked.Add(1)
		return next()
	}}
	for i := range orders {
		order := s.place(s.buyer(payment.TokenOK, mug, 1, twoEach, 1))
		s.expire(order.ID)
		s.bury(order.ID)
		if i%3 == 0 {
			if _, err := s.provider.Charge(t.Context(), payment.Charge{Order: order.ID, Amount: order.Total, Token: payment.TokenOK}); err != nil {
				t.Fatal(err)
			}
		}
	}
	var swept atomic.Int32
	crowd(sweepers, func(int) {
		n, err := s.worker(counted, patient).Sweep(t.Context())
		if err != nil {
			t.Errorf("sweep: %v", err)
		}
		swept.Add(int32(n))
	})
	if swept.Load() != orders || asked.Load() != orders {
		t.Errorf("settled %d orders and asked %d times, want %d", swept.Load(), asked.Load(), orders)
	}
	if confirmed, cancelled := s.orders(checkout.Confirmed), s.orders(checkout.Cancelled); confirmed != 4 || cancelled != 8 {
		t.Errorf("got %d confirmed and %d cancelled, want 4 and 8", confirmed, cancelled)
	}
	s.checkBooks()
}

// An order that can't be settled keeps the sweeper from none of the others (E3).
func TestSweepPassesTrouble(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var orders []uuid.UUID
	for range 4 {
		orders = append(orders, s.place(s.buyer(payment.TokenOK, mug, 1)).ID)
	}
	for i, id := range orders {
		s.bury(id)
		s.exec("UPDATE orders SET hold_expires_at = now() - make_interval(mins => $2) WHERE id = $1", id, 10-i)
	}
	s.exec("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$")
	s.exec("CREATE TRIGGER refuse BEFORE UPDATE OF status ON orders FOR EACH ROW WHEN (old.id = '" + orders[0].String() + "') EXECUTE FUNCTION refuse()")
	silent := &hooked{Gateway: s.provider, cancel: func(_ context.Context, order uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		if order == orders[1] {
			return payment.Receipt{}, payment.ErrUnavailable
		}
		return next()
	}}
	n, err := s.worker(silent, patient).Sweep(t.Context())
	if n != 2 || err == nil {
		t.Errorf("swept %d orders (%v), want 2 and an error", n, err)
	}
	s.checkBooks()
	s.exec("DROP TRIGGER refuse ON orders")
	s.released(orders[1])
	s.bury(orders[0])
	s.exec("UPDATE orders SET hold_expires_at = '-infinity'")
	if n, err := s.worker(s.provider, patient).Sweep(t.Context()); n != 2 || err != nil {
		t.Errorf("swept %d orders (%v) after that, want 2", n, err)
	}
	s.checkBooks()
}

// A repeat that comes while a sweeper asks the provider waits for the answer: it must not take the sweeper's cancellation
// for a declined card (E3). Nor does a sweeper come between a repeat and the provider.
func TestRepeatWhileItIsSwept(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	order := s.place(req)
	s.expire(order.ID)
	s.bury(order.ID)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	stopped := &hooked{Gateway: s.provider, cancel: func(_ context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		receipt, err := next()
		close(arrived)
		<-goOn
		return receipt, err
	}}
	done := make(chan error)
	go func() { _, err := s.worker(stopped, patient).Sweep(t.Context()); done <- err }()
	reached(t, arrived, done)
	before := s.snapshot()
	result, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
	if !errors.Is(err, checkout.ErrInFlight) {
		t.Errorf("got %+v, %v, want %v", result, err, checkout.ErrInFlight)
	}
	s.unchanged(before)
	close(goOn)
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.buy(req)
	s.checkBooks()
}

// onQuery is a pgx tracer that does something before a statement is sent, once.
type onQuery struct {
	statement string
	do        func()
}

func (q *onQuery) TraceQueryStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceQueryStartData) context.Context {
	q.sends(data.SQL)
	return ctx
}

func (q *onQuery) TraceBatchStart(ctx context.Context, _ *pgx.Conn, data pgx.TraceBatchStartData) context.Context {
	for _, query := range data.Batch.QueuedQueries {
		q.sends(query.SQL)
	}
	return ctx
}

func (q *onQuery) sends(sql string) {
	if q.do != nil && strings.Contains(sql, q.statement) {
		do := q.do
		q.do = nil
		do()
	}
}

func (q *onQuery) TraceBatchQuery(context.Context, *pgx.Conn, pgx.TraceBatchQueryData) {}
func (q *onQuery) TraceBatchEnd(context.Context, *pgx.Conn, pgx.TraceBatchEndData)     {}

func (q *onQuery) TraceQueryEnd(context.Context, *pgx.Conn, pgx.TraceQueryEndData) {}

// traced returns a worker with one connection that has a tracer.
func (s *shop) traced(tracer pgx.QueryTracer, gateway payment.Gateway) *checkout.Service {
	s.t.Helper()
	return s.opened(checkout.New(s.tracedPool(tracer), gateway, s.log, checkout.Config{}))
}

// tracedPool returns a pool of one connection that has a tracer.
func (s *shop) tracedPool(tracer pgx.QueryTracer) *pgxpool.Pool {
	s.t.Helper()
	config := s.pool.Config()
	config.MaxConns = 1
	config.ConnConfig.Tracer = tracer
	pool, err := pgxpool.NewWithConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		if n := pool.Stat().AcquiredConns(); n != 0 {
			s.t.Errorf("%d connections are still in use", n)
			return // closing the pool would wait for them
		}
		pool.Close()
	})
	return pool
}

// Whoever comes between the look at an order and the taking of its lease has it (E3).
func TestLeaseIsTakenOnce(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	order := s.place(req)
	s.bury(order.ID)
	w := s.traced(&onQuery{"checkout.resume", func() {
		s.exec("UPDATE orders SET paying_until = now() + interval '1 hour' WHERE id = $1", order.ID)
	}}, s.provider)
	if result, err := w.Checkout(t.Context(), req); !errors.Is(err, checkout.ErrInFlight) {
		t.Errorf("got %+v, %v, want %v", result, err, checkout.ErrInFlight)
	}
	if s.charged(order.ID) {
		t.Error("charged without the lease")
	}
	s.checkBooks()
}

// A payer that was given up gives back its own lease, not that of the one who took over (E3).
func TestLeaseIsGivenBackByItsHolder(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	away := func(arrived chan<- uuid.UUID, goOn <-chan struct{}) *hooked {
		return &hooked{
			Gateway: s.bad(payment.SimulatorConfig{Outage: true}),
			cancel: func(_ context.Context, order uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
				arrived <- order
				<-goOn
				return next()
			},
		}
	}
	arrived, goOn, done := make(chan uuid.UUID), [2]chan struct{}{make(chan struct{}), make(chan struct{})}, make(chan checkout.Result)
	pay := func(goOn <-chan struct{}) {
		result, err := s.worker(away(arrived, goOn), patient).Checkout(t.Context(), req)
		if err != nil || result.Order.Status != checkout.Pending {
			t.Errorf("got %+v, %v, want a pending order", result, err)
		}
		done <- result
	}
	go pay(goOn[0])
	s.bury(reached(t, arrived, done))
	go pay(goOn[1])
	reached(t, arrived, done)
	close(goOn[0])
	if result := <-done; result.Replayed {
		t.Error("the second ended before the first")
	}
	w := s.worker(s.provider, patient)
	if result, err := w.Checkout(t.Context(), req); !errors.Is(err, checkout.ErrInFlight) {
		t.Errorf("got %+v, %v, want %v", result, err, checkout.ErrInFlight)
	}
	close(goOn[1])
	s.released((<-done).Order.ID)
	if result, err := w.Checkout(t.Context(), req); err != nil || result.Order.Status != checkout.Confirmed {
		t.Errorf("got %+v, %v, want it confirmed", result, err)
	}
	s.checkBooks()
}

// The sweeper works at every tick, goes on after a failure, and ends with its context.
func TestRunSweeper(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	order := s.place(s.buyer(payment.TokenOK, mug, 1))
	s.expire(order.ID)
	s.bury(order.ID)
	// The first two sweeps fail at their claim. A sequence counts on when its transaction is rolled back.
	s.trouble("BEFORE UPDATE ON orders FOR EACH ROW", "22000", 2)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		s.worker(s.provider, patient).RunSweeper(ctx, time.Millisecond)
		close(ended)
	}()
	s.await("SELECT status = 'cancelled' FROM orders")
	stop()
	<-ended
	s.checkBooks()
}

// Promises E2, E3: a guest logs in while an order is pending, and it is cancelled afterwards: its lines go to the account's
// cart, since nobody sees the guest's any more; the units that the guest's allowance lost go back to the guest's.
func TestCancelledAfterLogin(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	account := s.account()
	req := s.buyer(payment.TokenOK, twoEach, 2)
	order := s.place(req)
	if _, err := s.carts.Merge(t.Context(), req.Owner, account); err != nil {
		t.Fatal(err)
	}
	w := s.worker(s.provider, patient)
	if err := w.Adopt(t.Context(), req.Owner, account); err != nil {
		t.Fatal(err)
	}
	s.expire(order.ID)
	s.bury(order.ID)
	if n, err := w.Sweep(t.Context()); n != 1 || err != nil {
		t.Fatalf("swept %d orders (%v), want 1", n, err)
	}
	if got := s.lines(account)[twoEach]; got != 2 {
		t.Errorf("got %d units in the account's cart, want 2", got)
	}
	if got := s.lines(req.Owner); len(got) != 0 {
		t.Errorf("got %v in the guest's cart, want nothing", got)
	}
	s.checkBooks()
}

// Promises E2, E3: no line is lost between guest and account: a payment is declined when a login has merged the carts and has
// not yet handed the orders over.
func TestCancelledDuringLogin(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	account := s.account()
	order := s.place(s.buyer(payment.TokenOK, mug, 3))
	var guest uuid.UUID
	s.query("SELECT owner_id FROM orders", nil, &guest)
	if _, err := s.carts.Merge(t.Context(), guest, account); err != nil {
		t.Fatal(err)
	}
	w := s.worker(s.provider, patient)
	if _, err := w.SettleAll(t.Context(), checkout.Ending{Order: order.ID, Reason: checkout.ReasonDeclined}); err != nil {
		t.Fatal(err)
	}
	if err := w.Adopt(t.Context(), guest, account); err != nil {
		t.Fatal(err)
	}
	if got := s.lines(account)[mug]; got != 3 {
		t.Errorf("got %d units in the account's cart, want 3; the guest has %v", got, s.lines(guest))
	}
	s.checkBooks()
}

// A login that comes between the look at whose cart it is and its lock is found out.
func TestLoginWhileItIsCancelled(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	account := s.account()
	req := s.buyer(payment.TokenOK, mug, 3)
	order := s.place(req)
	w := s.traced(&onQuery{"cart.lock", func() {
		if _, err := s.carts.Merge(t.Context(), req.Owner, account); err != nil {
			t.Error(err)
		}
	}}, s.provider)
	if _, err := w.SettleAll(t.Context(), checkout.Ending{Order: order.ID, Reason: checkout.ReasonDeclined}); err != nil {
		t.Fatal(err)
	}
	if got := s.lines(account)[mug]; got != 3 {
		t.Errorf("got %d units in the account's cart, want 3; the guest has %v", got, s.lines(req.Owner))
	}
	s.checkBooks()
}

// A customer whose cart was cleaned away stops nobody's settlement, and gets the lines back all the same.
func TestCancelledWithoutACart(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	gone := s.buyer(payment.TokenOK, mug, 1)
	orders := []checkout.Order{s.place(gone), s.place(s.buyer(payment.TokenOK, mug, 1))}
	s.exec("DELETE FROM cart WHERE owner_id = $1", gone.Owner)
	got, errs := s.worker(s.provider, patient).SettleBatch(
		checkout.Ending{Order: orders[0].ID, Reason: checkout.ReasonDeclined},
		checkout.Ending{Order: orders[1].ID, Total: orders[1].Total, Receipt: payment.Receipt{Captured: true, Amount: orders[1].Total, Reference: "ch_1"}})
	if errs[0] != nil || errs[1] != nil || got[0].Status != checkout.Cancelled || got[1].Status != checkout.Confirmed {
		t.Errorf("got %+v, %v, want one cancelled and one confirmed", got, errs)
	}
	if n := s.lines(gone.Owner)[mug]; n != 1 {
		t.Errorf("got %d units back, want 1", n)
	}
}

// Promise E3: a charge that somebody else has cancelled is no declined card: the key stays free.
func TestCancelledIsNotDeclined(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	late := &hooked{Gateway: s.provider, charge: func(ctx context.Context, c payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		if _, err := s.provider.Cancel(ctx, c.Order); err != nil {
			return payment.Receipt{}, err
		}
		return next()
	}}
	if _, err := s.worker(late, patient).Checkout(t.Context(), req); !errors.Is(err, checkout.ErrProvider) {
		t.Errorf("got %v, want ErrProvider", err)
	}
	s.buy(req) // with the same key
	s.checkBooks()
}
