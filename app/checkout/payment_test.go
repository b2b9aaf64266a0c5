package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"doorbuster/app/cart"
	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// Promise E3: never charged twice, and no order lost. The provider charged and its answer did not come in time: asked
// to cancel, it says that it has the money.
func TestProviderAnswersTooLate(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	charges := 0
	late := &hooked{
		Gateway: s.provider,
		charge: func(ctx context.Context, c payment.Charge, _ func() (payment.Receipt, error)) (payment.Receipt, error) {
			charges++
			if _, err := s.provider.Charge(context.WithoutCancel(ctx), payment.Charge{Order: c.Order, Amount: c.Amount, Token: payment.TokenOK}); err != nil {
				return payment.Receipt{}, err
			}
			<-ctx.Done()
			return payment.Receipt{}, fmt.Errorf("%w: %w", payment.ErrUnavailable, context.Cause(ctx))
		},
		// The limit of the cancellation is the same one, and it must not pass.
		cancel: func(ctx context.Context, order uuid.UUID, _ func() (payment.Receipt, error)) (payment.Receipt, error) {
			return s.provider.Cancel(context.WithoutCancel(ctx), order)
		},
	}
	result, err := s.worker(late, impatient).Checkout(t.Context(), req)
	if err != nil || result.Order.Status != checkout.Confirmed || result.Replayed {
		t.Fatalf("got %+v, %v, want a confirmed order", result, err)
	}
	if charges != 1 || !s.charged(result.Order.ID) {
		t.Errorf("got %d charges, captured %t, want one that was captured", charges, s.charged(result.Order.ID))
	}
	s.checkBooks()
}

// Promise E3: an order whose payment is unknown keeps its units and is answered as pending. A repeat settles it when the
// provider is back; so does the sweeper when nobody repeats it, but not before the hold has ended.
func TestProviderHangs(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"repeat", "sweep"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(payment.TokenOK, pan, 1, mug, 1)
			hanging := s.worker(s.bad(payment.SimulatorConfig{Hang: true}), impatient)
			first, err := hanging.Checkout(t.Context(), req)
			if err != nil || first.Order.Status != checkout.Pending || first.Replayed {
				t.Fatalf("got %+v, %v, want a pending order", first, err)
			}
			s.released(first.Order.ID) // nobody is paying for it now
			again, err := hanging.Checkout(t.Context(), req)
			if diff := cmp.Diff(checkout.Result{Order: first.Order, Replayed: true}, again); diff != "" || err != nil {
				t.Errorf("repeated while it hangs: error %v and (-want +got):\n%s", err, diff)
			}
			if n, err := s.worker(s.provider, patient).Sweep(t.Context()); n != 0 || err != nil {
				t.Errorf("swept %d orders (%v) before the end of the hold", n, err)
			}
			if n := s.available(mug); n != 999 {
				t.Errorf("got %d units, want 999", n)
			}
			s.checkBooks()
			if name == "repeat" {
				got, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
				if err != nil || got.Order.ID != first.Order.ID || got.Order.Status != checkout.Confirmed || !got.Replayed {
					t.Errorf("repeated when it is back: got %+v, %v, want the order confirmed", got, err)
				}
				s.checkBooks()
				return
			}
			s.released(first.Order.ID)
			s.expire(first.Order.ID)
			if n, err := hanging.Sweep(t.Context()); n != 0 || err != nil {
				t.Errorf("swept %d orders (%v) while it hangs", n, err)
			}
			s.released(first.Order.ID)
			s.expire(first.Order.ID)
			if n, err := s.worker(s.provider, patient).Sweep(t.Context()); n != 1 || err != nil {
				t.Errorf("swept %d orders (%v) when it is back, want 1", n, err)
			}
			got, err := hanging.Order(t.Context(), checkout.Reader{Owner: req.Owner}, first.Order.ID)
			if err != nil || got.Status != checkout.Cancelled || got.CancelReason != checkout.ReasonExpired {
				t.Errorf("got %+v, %v, want it expired", got, err)
			}
			if n := s.lines(req.Owner)[mug]; n != 1 {
				t.Errorf("got %d units in the cart, want 1", n)
			}
			s.checkBooks()
			s.buy(req) // the key is free
			s.checkBooks()
		})
	}
}

// Promise E3: whoever asks for an order that a request is paying for is told so, and changes nothing.
func TestRepeatWhileItIsPaidFor(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	arrived, goOn := make(chan uuid.UUID), make(chan struct{})
	stopped := &hooked{Gateway: s.provider, charge: func(_ context.Context, c payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		arrived <- c.Order
		<-goOn
		return next()
	}}
	done := make(chan checkout.Result)
	go func() {
		result, err := s.worker(stopped, patient).Checkout(t.Context(), req)
		if err != nil {
			t.Errorf("the first: %v", err)
		}
		done <- result
	}()
	order := reached(t, arrived, done)
	before := s.snapshot()
	if result, err := s.worker(s.provider, patient).Checkout(t.Context(), req); !errors.Is(err, checkout.ErrInFlight) {
		t.Errorf("got %+v, %v, want %v", result, err, checkout.ErrInFlight)
	}
	s.unchanged(before)
	if s.charged(order) {
		t.Error("the repeat has charged")
	}
	close(goOn)
	if result := <-done; result.Order.Status != checkout.Confirmed {
		t.Errorf("got %+v, want it confirmed", result)
	}
	s.checkBooks()
}

// Promise E3: a declined payment gives everything back once, also when the customer has gone on shopping meanwhile.
func TestDeclineGivesEverythingBack(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenDeclined, mug, cart.MaxQuantity-5, pan, 1, oneEach, 1)
	s.discount(req.Owner, twice)
	before := s.snapshot()
	shopping := &hooked{Gateway: s.provider, charge: func(_ context.Context, _ payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
		s.fill(req.Owner, mug, 10, lastTen, 2)
		return next()
	}}
	w := s.worker(shopping, patient)
	result, err := w.Checkout(t.Context(), req)
	if err != nil || result.Order.CancelReason != checkout.ReasonDeclined {
		t.Fatalf("got %+v, %v, want it declined", result, err)
	}
	// And once more, as a payer does whom everybody had taken for dead.
	if _, err := w.SettleAll(t.Context(), checkout.Ending{Order: result.Order.ID, Reason: checkout.ReasonFailed}); err != nil {
		t.Fatal(err)
	}
	after := s.snapshot()
	for _, table := range []string{"stock", "discount", "allowance", "payment"} {
		if diff := cmp.Diff(before[table], after[table]); diff != "" {
			t.Errorf("%s has changed (-before +after):\n%s", table, diff)
		}
	}
	// Both fillings together are more than a cart may hold of one SKU.
	if diff := cmp.Diff(map[string]int{mug: cart.MaxQuantity, pan: 1, oneEach: 1, lastTen: 2}, s.lines(req.Owner)); diff != "" {
		t.Errorf("cart (-want +got):\n%s", diff)
	}
	if c, err := s.carts.Get(t.Context(), req.Owner); err != nil || c.Discount != twice {
		t.Errorf("got discount %q on the cart (%v), want %q", c.Discount, err, twice)
	}
	s.checkBooks()
	s.buy(request(req.Owner, payment.TokenOK)) // with another card, under another key
	s.checkBooks()
}

// Promise E3: a code that the customer has chosen meanwhile stays.
func TestDeclineKeepsANewerDiscount(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenDeclined, mug, 1)
	s.discount(req.Owner, twice)
	order := s.place(req)
	s.discount(req.Owner, tenOff)
	if _, err := s.worker(s.provider, patient).SettleAll(t.Context(), checkout.Ending{Order: order.ID, Reason: checkout.ReasonDeclined}); err != nil {
		t.Fatal(err)
	}
	if c, err := s.carts.Get(t.Context(), req.Owner); err != nil || c.Discount != tenOff {
		t.Errorf("got discount %q (%v), want %q", c.Discount, err, tenOff)
	}
	s.checkBooks()
}

// A customer who hangs up has an order all the same (E3): before anything was done, while the provider charges, and while
// the charge is cancelled.
func TestCustomerHangsUp(t *testing.T) {
	t.Parallel()
	for _, when := range []string{"charge", "charged", "cancel", "cancelled"} {
		t.Run(when, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(payment.TokenOK, mug, 1)
			ctx, hangUp := context.WithCancel(t.Context())
			defer hangUp()
			now := func(moment string) {
				if when == moment {
					hangUp()
				}
			}
			failing := when == "cancel" || when == "cancelled"
			gateway := &hooked{
				Gateway: s.provider,
				charge: func(ctx context.Context, c payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
					now("charge")
					receipt, err := next()
					now("charged")
					if failing {
						return payment.Receipt{}, payment.ErrUnavailable // though it has charged
					}
					return receipt, errors.Join(err, ctx.Err())
				},
				cancel: func(ctx context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
					now("cancel")
					receipt, err := next()
					now("cancelled")
					return receipt, errors.Join(err, ctx.Err())
				},
			}
			result, err := s.worker(gateway, patient).Checkout(ctx, req)
			if err != nil || result.Order.Status != checkout.Confirmed {
				t.Errorf("got %+v, %v, want a confirmed order", result, err)
			}
			if ctx.Err() == nil {
				t.Error("nobody hung up")
			}
			s.checkBooks()
		})
	}
}

// A gateway that panics has not answered: what it did is found out by the fence (E3), and a sweeper survives it.
func TestGatewayPanics(t *testing.T) {
	t.Parallel()
	boom := func() (payment.Receipt, error) { panic("boom") }
	for _, charged := range []bool{false, true} {
		s := newShop(t)
		req := s.buyer(payment.TokenOK, mug, 1)
		gateway := &hooked{Gateway: s.provider, charge: func(_ context.Context, _ payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
			if charged {
				if _, err := next(); err != nil {
					return payment.Receipt{}, err
				}
			}
			return boom()
		}}
		result, err := s.worker(gateway, patient).Checkout(t.Context(), req)
		switch {
		case charged && (err != nil || result.Order.Status != checkout.Confirmed):
			t.Errorf("it had charged: got %+v, %v, want a confirmed order", result, err)
		case !charged && !errors.Is(err, checkout.ErrProvider):
			t.Errorf("it had not charged: got %+v, %v, want %v", result, err, checkout.ErrProvider)
		}
		s.checkBooks()

		// And when it always panics.
		gateway.cancel = func(context.Context, uuid.UUID, func() (payment.Receipt, error)) (payment.Receipt, error) {
			return boom()
		}
		next := s.buyer(payment.TokenOK, mug, 1)
		w := s.worker(gateway, patient)
		pending, err := w.Checkout(t.Context(), next)
		if err != nil || pending.Order.Status != checkout.Pending {
			t.Errorf("got %+v, %v, want a pending order", pending, err)
		}
		s.released(pending.Order.ID)
		s.expire(pending.Order.ID)
		if n, err := w.Sweep(t.Context()); n != 0 || err != nil {
			t.Errorf("swept %d orders (%v)", n, err)
		}
		s.released(pending.Order.ID)
		s.checkBooks()
		gateway.charge, gateway.cancel = nil, nil
		if got, err := w.Checkout(t.Context(), next); err != nil || got.Order.Status != checkout.Confirmed {
			t.Errorf("repeated when it is well: got %+v, %v, want it confirmed", got, err)
		}
		s.checkBooks()
	}
}

// Nor is a charge of an order that is confirmed already, under another
// reference, forgotten: in a settlement of its own, and in the same batch. Its
// own reference is no news.
func TestProviderChargesTwice(t *testing.T) {
	t.Parallel()
	for _, together := range []bool{false, true} {
		s := newShop(t)
		order := s.place(s.buyer(payment.TokenOK, mug, 1))
		w := s.worker(s.provider, patient)
		end := func(reference string) checkout.Ending {
			return checkout.Ending{Order: order.ID, Total: order.Total, Receipt: payment.Receipt{Captured: true, Amount: order.Total, Reference: reference}}
		}
		ends := []checkout.Ending{end("ch_1"), end("ch_2"), end("ch_1"), end("ch_2")}
		var errs []error
		if together {
			_, errs = w.SettleBatch(ends...)
		} else {
			for _, e := range ends {
				_, err := w.SettleAll(t.Context(), e)
				errs = append(errs, err)
			}
		}
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		var due, paid string
		s.query("SELECT string_agg(provider_reference || ' ' || reason || ' ' || amount_minor, ', ') FROM refund_due", nil, &due)
		s.query("SELECT string_agg(provider_reference, ', ') FROM payment", nil, &paid)
		if due != "ch_2 charged_twice 1000" || paid != "ch_1" {
			t.Errorf("together %t: got %q due, and paid by %q", together, due, paid)
		}
	}
}

// Money for an order that is not there is an error, and no order.
func TestSettleWithoutAnOrder(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	_, errs := s.worker(s.provider, patient).SettleBatch(checkout.Ending{Order: uuid.New(), Receipt: payment.Receipt{Captured: true}})
	if !errors.Is(errs[0], checkout.ErrNotFound) {
		t.Errorf("got %v, want %v", errs[0], checkout.ErrNotFound)
	}
}

// Should a provider break its promise and capture what it has cancelled, the cancelled order stays cancelled, for there is no
// unit for it any more. Should it capture another amount than it was asked for, nothing is bought. Either way it is written down
// that the money has to go back, once.
func TestProviderBreaksItsPromise(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		reason   string
		captured int64
		cancel   bool
	}{{"captured_after_cancel", price, true}, {"wrong_amount", price - 1, false}, {"wrong_amount", price + 1, false}} {
		s := newShop(t)
		req := s.buyer(payment.TokenOK, mug, 1)
		order := s.place(req)
		w := s.worker(s.provider, patient)
		if c.cancel {
			if _, err := w.SettleAll(t.Context(), checkout.Ending{Order: order.ID, Total: order.Total, Reason: checkout.ReasonExpired}); err != nil {
				t.Fatal(err)
			}
		}
		amount := order.Total
		amount.Minor = c.captured
		for range 2 {
			got, err := w.SettleAll(t.Context(), checkout.Ending{
				Order: order.ID, Total: order.Total, Receipt: payment.Receipt{Captured: true, Amount: amount, Reference: "ch_1"}, Reason: checkout.ReasonFailed,
			})
			if err != nil || got[order.ID].Status != checkout.Cancelled {
				t.Errorf("got %+v, %v, want it cancelled", got, err)
			}
		}
		var n int
		var minor int64
		var reason string
		s.query("SELECT count(*) OVER (), amount_minor, reason FROM refund_due WHERE order_id = $1 AND refunded_at IS NULL", []any{order.ID}, &n, &minor, &reason)
		if n != 1 || minor != c.captured || reason != c.reason {
			t.Errorf("got %d refunds due, of %d for %s; want one of %d for %s", n, minor, reason, c.captured, c.reason)
		}
		if units := s.available(mug); units != 1000 {
			t.Errorf("got %d units, want all back", units)
		}
		if got := s.lines(req.Owner)[mug]; got != 1 {
			t.Errorf("got %d units in the cart, want 1", got)
		}
	}
}
