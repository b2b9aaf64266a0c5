package checkout_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// never is a Config whose breaker makes no trial during a test.
func never() checkout.Config {
	cfg := patient
	cfg.ProviderPause = time.Hour
	return cfg
}

// A provider that is away does not sell the shop out: after three orders that
// nobody can settle, the next one is refused before it has taken a unit. What
// needs no provider goes on.
func TestProviderIsAway(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	paid, unpaid := s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, lastTen, 1)
	order := s.buy(paid)
	w := s.worker(s.bad(payment.SimulatorConfig{Outage: true}), never())
	for i := range 3 {
		req := unpaid
		if i > 0 {
			req = s.buyer(payment.TokenOK, lastTen, 1)
		}
		if result, err := w.Checkout(t.Context(), req); err != nil || result.Order.Status != checkout.Pending {
			t.Fatalf("got %+v, %v, want a pending order", result, err)
		}
	}
	late, free := s.buyer(payment.TokenOK, lastTen, 1), s.buyer(payment.TokenOK, mug, 1)
	before := s.snapshot()
	for range 8 {
		_, err := w.Checkout(t.Context(), late)
		away, ok := errors.AsType[*checkout.ProviderAway](err)
		if !ok || !errors.Is(err, checkout.ErrProvider) || away.RetryIn <= 0 || away.RetryIn > time.Hour {
			t.Fatalf("got %v, want that the provider is away", err)
		}
	}
	if result, err := w.Checkout(t.Context(), paid); err != nil || result.Order.ID != order.ID || !result.Replayed {
		t.Errorf("got %+v, %v, want a replay", result, err)
	}
	if result, err := w.Checkout(t.Context(), unpaid); err != nil || result.Order.Status != checkout.Pending || !result.Replayed {
		t.Errorf("got %+v, %v, want it pending as before", result, err)
	}
	s.unchanged(before)
	s.exec("UPDATE discount SET percent = 100, amount_minor = NULL WHERE code = $1", tenOff)
	s.discount(free.Owner, tenOff)
	if result, err := w.Checkout(t.Context(), free); err != nil || result.Order.Status != checkout.Confirmed {
		t.Errorf("for nothing: got %+v, %v, want it confirmed", result, err)
	}
	if got := w.Stats(); !got.ProviderAway || got.ProviderLost != 1 {
		t.Errorf("got %+v", got)
	}
	if n := s.available(lastTen); n != 7 {
		t.Errorf("got %d units, want 7", n)
	}
	s.checkBooks()
}

// switched is the provider with a switch, and counts the charges that it was asked for.
func (s *shop) switched() (gateway *hooked, away *atomic.Bool, charges *atomic.Int32) {
	away, charges = new(atomic.Bool), new(atomic.Int32)
	away.Store(true)
	return &hooked{
		Gateway: s.provider,
		charge: func(_ context.Context, _ payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
			if charges.Add(1); away.Load() {
				return payment.Receipt{}, payment.ErrUnavailable
			}
			return next()
		},
		cancel: func(_ context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
			if away.Load() {
				return payment.Receipt{}, payment.ErrUnavailable
			}
			return next()
		},
	}, away, charges
}

// Trials ask about the orders that are unknown already: an outage costs the
// units of three, however long it is and however many come. One of the three
// finds out that the provider is back, and all others follow.
func TestOutageCostsThreeOrders(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	gateway, away, charges := s.switched()
	cfg := patient
	cfg.ProviderPause = time.Millisecond
	w := s.worker(gateway, cfg)
	for range 3 {
		if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, lastTen, 1)); err != nil || result.Order.Status != checkout.Pending {
			t.Fatalf("got %+v, %v, want a pending order", result, err)
		}
	}
	late := s.buyer(payment.TokenOK, lastTen, 1)
	for w.Stats().SweptLeft < 5 { // the prober has been told nothing, five times
		if _, err := w.Checkout(t.Context(), late); !errors.Is(err, checkout.ErrProvider) {
			t.Fatalf("got %v, want %v", err, checkout.ErrProvider)
		}
	}
	if n := s.available(lastTen); n != 7 || charges.Load() != 3 {
		t.Errorf("%d units are left and %d charges were asked for, want 7 and 3", n, charges.Load())
	}
	away.Store(false)
	s.await("SELECT count(*) = 1 FROM orders WHERE status = 'cancelled' AND cancel_reason = 'payment_failed'")
	for range 2 {
		if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, lastTen, 1)); err != nil || result.Order.Status != checkout.Confirmed {
			t.Errorf("got %+v, %v, want a confirmed order", result, err)
		}
	}
	if w.Stats().ProviderAway {
		t.Error("it is still away")
	}
	s.checkBooks()
}

// Where nobody remembers an unknown order, one new order finds out: of a batch
// one goes, and one that does not come to ask the provider lets another try.
func TestNewOrderIsATrial(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	gateway, away, charges := s.switched()
	away.Store(false)
	cfg := patient
	cfg.ProviderPause = 1 // a nanosecond
	w := s.worker(gateway, cfg)
	w.LoseProvider()
	if _, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, lastTen, 11)); err == nil { // ends on the shelf
		t.Error("sold 11 of 10")
	}
	refused := 0
	for _, p := range w.PlaceBatch(s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, mug, 1)) {
		if errors.Is(p.Err, checkout.ErrProvider) {
			refused++
		} else if p.Err != nil {
			t.Error(p.Err)
		}
	}
	if refused != 2 || charges.Load() != 0 {
		t.Errorf("refused %d of 3, want 2; asked %d times", refused, charges.Load())
	}
	w = s.worker(gateway, cfg)
	w.LoseProvider()
	for range 3 {
		if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, mug, 1)); err != nil || result.Order.Status != checkout.Confirmed {
			t.Errorf("got %+v, %v, want a confirmed order", result, err)
		}
	}
	if w.Stats().ProviderAway {
		t.Error("it is still away")
	}
	s.checkBooks()
}

// A sweep takes no trial from anybody: while the provider is away it leaves
// expired orders to the prober, and where there are none, an order may find out.
func TestSweepTakesNoTrial(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	gateway, away, charges := s.switched()
	cfg := patient
	cfg.ProviderPause = 1
	w := s.worker(gateway, cfg)
	w.LoseProvider()
	for range 3 {
		if n, err := w.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("swept %d orders (%v) of none", n, err)
		}
	}
	if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, mug, 1)); err != nil || result.Order.Status != checkout.Pending {
		t.Errorf("got %+v, %v, want a pending order: it may find out", result, err)
	}
	if err := w.Close(t.Context()); err != nil { // its prober takes the lease again and again
		t.Fatal(err)
	}
	other := s.worker(gateway, cfg) // that remembers nothing
	other.LoseProvider()
	s.await("SELECT paying_until < now() FROM orders")
	s.exec("UPDATE orders SET hold_expires_at = '-infinity'")
	if _, err := other.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if _, err := other.Checkout(t.Context(), s.buyer(payment.TokenOK, mug, 1)); !errors.Is(err, checkout.ErrProvider) {
		t.Errorf("got %v, want %v: the expired order finds out", err, checkout.ErrProvider)
	}
	away.Store(false)
	s.await("SELECT status = 'cancelled' FROM orders")
	if charges.Load() != 1 {
		t.Errorf("got %d charges", charges.Load())
	}
	s.checkBooks()
}

// No customer closes the checkout for others: bad cards, and tokens that make
// the provider fail, are answers.
func TestBadCardsDoNotCloseTheCheckout(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := s.worker(s.provider, never())
	for range 5 {
		if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenDeclined, mug, 1)); err != nil || result.Order.Status != checkout.Cancelled {
			t.Errorf("got %+v, %v, want it declined", result, err)
		}
		if _, err := w.Checkout(t.Context(), s.buyer(payment.TokenError, mug, 1)); !errors.Is(err, checkout.ErrProvider) {
			t.Errorf("got %v, want %v", err, checkout.ErrProvider)
		}
	}
	if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, mug, 1)); err != nil || result.Order.Status != checkout.Confirmed {
		t.Errorf("got %+v, %v, want a confirmed order", result, err)
	}
	s.checkBooks()
}

// The provider goes away between the first step of an order and the second: it
// is not asked any more, and the units go back at once.
func TestProviderGoesAwayInBetween(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, lastTen, 10)
	silent := &hooked{Gateway: s.provider, charge: func(context.Context, payment.Charge, func() (payment.Receipt, error)) (payment.Receipt, error) {
		t.Error("the provider was asked")
		return payment.Receipt{}, payment.ErrUnavailable
	}}
	var w *checkout.Service
	w = s.traced(&onQuery{"checkout.insert_orders", func() { w.LoseProvider() }}, silent)
	if _, err := w.Checkout(t.Context(), req); !errors.Is(err, checkout.ErrProvider) {
		t.Errorf("got %v, want %v", err, checkout.ErrProvider)
	}
	if n := s.available(lastTen); n != 10 {
		t.Errorf("got %d units, want all 10 back", n)
	}
	s.checkBooks()
	s.buy(req)
	s.checkBooks()
}

// Where somebody else has taken the payment lease over, who may be asking the
// provider, an order that was not asked about stays as it is.
func TestUnaskedOrderOfAnother(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	order := s.place(s.buyer(payment.TokenOK, mug, 1))
	w := s.worker(s.provider, patient)
	var lease time.Time
	s.query("SELECT paying_until FROM orders WHERE id = $1", []any{order.ID}, &lease)
	for _, c := range []struct {
		lease time.Time
		want  checkout.Status
	}{{lease.Add(time.Microsecond), checkout.Pending}, {lease, checkout.Cancelled}} {
		got, err := w.SettleAll(t.Context(), checkout.Ending{Order: order.ID, Reason: checkout.ReasonFailed, Unasked: c.lease})
		if err != nil || got[order.ID].Status != c.want {
			t.Errorf("got %+v, %v, want it %s", got, err, c.want)
		}
	}
	s.checkBooks()
}

// expired places n orders whose payers have died and whose holds have ended.
func (s *shop) expired(n int) {
	s.t.Helper()
	var reqs []checkout.Request
	for range n {
		reqs = append(reqs, s.buyer(payment.TokenOK, mug, 1))
	}
	s.placeAll(reqs...)
	s.exec("UPDATE orders SET hold_expires_at = now() - interval '1 minute', paying_until = '-infinity' WHERE status = 'pending'")
}

// A sweeper asks about many orders at once, and about no more than it says.
func TestSweepAsksAboutManyAtOnce(t *testing.T) {
	t.Parallel()
	const atOnce = 32
	s := newShop(t)
	s.expired(2*atOnce + 3)
	var asking, most atomic.Int32
	var once sync.Once
	together := make(chan struct{})
	crowded := &hooked{Gateway: s.provider, cancel: func(ctx context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		n := asking.Add(1)
		defer asking.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == atOnce { // all of the first claim are here
			once.Do(func() { close(together) })
		}
		select {
		case <-together:
		case <-ctx.Done():
		}
		return next()
	}}
	w := s.worker(crowded, patient)
	if n, err := w.Sweep(t.Context()); n != 2*atOnce+3 || err != nil {
		t.Errorf("swept %d orders (%v), want %d", n, err, 2*atOnce+3)
	}
	if most.Load() != atOnce {
		t.Errorf("asked about %d at once, want %d", most.Load(), atOnce)
	}
	if got := w.Stats(); got.SweptCancelled != 2*atOnce+3 || got.SweptConfirmed != 0 || got.SweptLeft != 0 {
		t.Errorf("got %+v", got)
	}
	s.checkBooks()
}

// Sweepers do not run against a provider that is away: they ask about what they
// have claimed, and then no more until it may be back.
func TestSweepWhileTheProviderIsAway(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.expired(40)
	var asked atomic.Int32
	away := &hooked{Gateway: s.provider, cancel: func(context.Context, uuid.UUID, func() (payment.Receipt, error)) (payment.Receipt, error) {
		asked.Add(1)
		return payment.Receipt{}, payment.ErrUnavailable
	}}
	w := s.worker(away, never())
	for range 3 {
		if n, err := w.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("swept %d orders (%v), want none", n, err)
		}
	}
	if asked.Load() != 32 {
		t.Errorf("asked %d times, want once for each of a claim of 32", asked.Load())
	}
	if got := w.Stats(); !got.ProviderAway || got.SweptLeft != 32 {
		t.Errorf("got %+v", got)
	}
	s.await("SELECT count(*) = 0 FROM orders WHERE paying_until > now()")
	s.exec("UPDATE orders SET hold_expires_at = now() - interval '1 minute' WHERE status = 'pending'")
	if n, err := s.worker(s.provider, patient).Sweep(t.Context()); n != 40 || err != nil {
		t.Errorf("swept %d orders (%v) when it was back, want 40", n, err)
	}
	s.checkBooks()
}
