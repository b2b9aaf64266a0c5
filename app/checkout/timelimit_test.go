package checkout_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// What a checkout may take is counted from its arrival, and bounds what it asks
// of the provider, whatever else is allowed to take.
func TestTimeLimitBoundsAllSteps(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	cfg := checkout.Config{TransactionTimeout: time.Minute, PaymentTimeout: time.Hour, TimeLimit: 10 * time.Minute}
	for name, arrived := range map[string]time.Duration{"just now": 0, "a while ago": 4 * time.Minute} {
		began := time.Now()
		end := began.Add(cfg.TimeLimit - arrived)
		ctx, cancel := context.WithDeadline(t.Context(), end)
		bounded := func(ctx context.Context) {
			if got, ok := ctx.Deadline(); !ok || got.After(end) {
				t.Errorf("%s: the provider has until %v, want %v at the latest", name, got.Sub(began), end.Sub(began))
			}
		}
		w := s.worker(&hooked{
			Gateway: s.provider,
			charge: func(ctx context.Context, _ payment.Charge, _ func() (payment.Receipt, error)) (payment.Receipt, error) {
				bounded(ctx)
				return payment.Receipt{}, payment.ErrUnavailable
			},
			cancel: func(ctx context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
				bounded(ctx)
				return next()
			},
		}, cfg)
		if _, err := w.Checkout(ctx, s.buyer(payment.TokenOK, mug, 1)); !errors.Is(err, checkout.ErrProvider) {
			t.Errorf("%s: got %v, want %v", name, err, checkout.ErrProvider)
		}
		cancel()
	}
	s.checkBooks()
}

var errLeaves = errors.New("the worker leaves")

// A worker that leaves, or a time limit, ends the waiting at once, in whichever
// step: before an order is placed the answer is to repeat, and after that the
// order is pending. Nothing is lost: a repeat finds it, and pays.
func TestLateAnswers(t *testing.T) {
	t.Parallel()
	for _, step := range []string{"place", "charge", "cancel", "settle"} {
		t.Run(step, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(payment.TokenOK, lastTen, 10)
			arrived, goOn := make(chan struct{}), make(chan struct{})
			stop := func() { close(arrived); <-goOn }
			gateway := &hooked{Gateway: s.provider}
			var w *checkout.Service
			switch step {
			case "place":
				w = s.traced(&onQuery{"checkout.insert_orders", stop}, gateway)
			case "settle":
				w = s.traced(&onQuery{"checkout.confirm", stop}, gateway)
			case "charge", "cancel":
				gateway.charge = func(ctx context.Context, _ payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
					if step == "charge" {
						close(arrived)
						<-ctx.Done()
					}
					return payment.Receipt{}, payment.ErrUnavailable
				}
				gateway.cancel = func(ctx context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
					if step == "cancel" {
						close(arrived)
						<-ctx.Done()
					}
					return payment.Receipt{}, payment.ErrUnavailable
				}
				w = s.worker(gateway, patient)
			}
			ctx, cancel := context.WithCancelCause(t.Context())
			type answer struct {
				result checkout.Result
				err    error
			}
			done := make(chan answer)
			go func() {
				result, err := w.Checkout(ctx, req)
				done <- answer{result, err}
			}()
			reached(t, arrived, done)
			cancel(errLeaves)
			got := <-done
			close(goOn)
			if step == "place" {
				if !errors.Is(got.err, checkout.ErrBusy) || !errors.Is(got.err, errLeaves) {
					t.Errorf("got %+v, want %v", got, checkout.ErrBusy)
				}
			} else if got.err != nil || got.result.Order.Status != checkout.Pending {
				t.Errorf("got %+v, want a pending order", got)
			}
			if w.Stats().ProviderAway {
				t.Error("it counts as the provider's fault")
			}
			if err := w.Close(t.Context()); err != nil { // what is at work goes on to its end
				t.Fatal(err)
			}
			if step != "settle" {
				s.await("SELECT paying_until < now() FROM orders")
			}
			gateway.charge, gateway.cancel = nil, nil
			again, err := s.worker(gateway, patient).Checkout(t.Context(), req)
			if err != nil || again.Order.Status != checkout.Confirmed || !again.Replayed {
				t.Errorf("repeated: got %+v, %v, want the order, confirmed", again, err)
			}
			if n := s.available(lastTen); n != 0 {
				t.Errorf("%d units are left, want none", n)
			}
			s.checkBooks()
		})
	}
}

// A customer who hangs up is no reason to stop.
func TestHangingUpIsNotLate(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	arrived, goOn := make(chan struct{}), make(chan struct{})
	w := s.traced(&onQuery{"checkout.insert_orders", func() { close(arrived); <-goOn }}, s.provider)
	ctx, hangUp := context.WithCancel(t.Context())
	done := make(chan checkout.Result)
	go func() {
		result, err := w.Checkout(ctx, s.buyer(payment.TokenOK, mug, 1))
		if err != nil {
			t.Error(err)
		}
		done <- result
	}()
	reached(t, arrived, done)
	hangUp()
	close(goOn)
	if result := <-done; result.Order.Status != checkout.Confirmed {
		t.Errorf("got %+v, want a confirmed order", result)
	}
	s.checkBooks()
}
