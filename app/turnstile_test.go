package app_test

import (
	"net/http"
	"testing"
	"time"

	"doorbuster/app"
	"doorbuster/app/payment"
)

// checkouts has so many customers check out at once, and returns what they are
// told.
func (s *shop) checkouts(customers int) <-chan reply {
	s.t.Helper()
	done := make(chan reply, customers)
	for i := range customers {
		v := s.visitor()
		v.add(kettle, 1)
		go func() {
			r, err := v.try("POST", "/v1/checkout", map[string]any{"email": "ada@example.com", "payment_token": "tok_ok"},
				"Idempotency-Key", string(rune('a'+i)))
			if err != nil {
				s.t.Error(err)
			}
			done <- r
		}()
	}
	return done
}

// Issue: the gateway hangs, and nothing else waits for it. The checkouts that are at work hold all places; who comes then
// waits for one, and everything else goes on.
func TestCheckoutsWaitForTheirTurn(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) {
		c.CheckoutPlaces = 1
		c.Payment = payment.SimulatorConfig{Hang: true}
		c.Checkout.PaymentTimeout = time.Second
	})
	const customers = 3
	done := s.checkouts(customers)
	for s.app.Waiting() != customers-1 {
		<-time.After(time.Millisecond)
	}
	if waiting := s.gate("shop_waiting_requests", "checkout"); waiting != customers-1 {
		t.Errorf("the metrics tell of %v that wait", waiting)
	}
	other := s.visitor()
	other.add(kettle, 1)
	if got := len(other.cart().Items); got != 1 || s.app.Waiting() == 0 {
		t.Errorf("the cart has %d lines, and %d wait", got, s.app.Waiting())
	}
	for range customers {
		var order app.Order
		if (<-done).want(http.StatusAccepted, &order); order.Status != "pending" {
			t.Errorf("got %+v", order)
		}
	}
	if away := s.gate("shop_turned_away_total", "checkout"); away != 0 {
		t.Errorf("%v were turned away", away)
	}
}

// gauge is the value of a metric without labels.
func (s *shop) gauge(name string) float64 {
	s.t.Helper()
	for _, m := range s.scrape()[name].GetMetric() {
		return m.GetGauge().GetValue() + m.GetCounter().GetValue()
	}
	s.t.Fatalf("there is no %s", name)
	return 0
}

// gate is a value of one of the turnstiles.
func (s *shop) gate(name, gate string) float64 {
	s.t.Helper()
	for _, m := range s.scrape()[name].GetMetric() {
		if labelsOf(m)["gate"] == gate {
			return m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	s.t.Fatalf("there is no %s of %s", name, gate)
	return 0
}

// The time of a checkout counts from its arrival: who waits at the turnstile for
// a place that somebody has whom the provider does not answer is told so before
// a proxy gives up, and so is the other, whose order stands.
func TestCheckoutHasOneTimeLimit(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) {
		c.CheckoutPlaces = 1
		c.Payment = payment.SimulatorConfig{Hang: true}
		c.Checkout.PaymentTimeout = time.Hour
		c.Checkout.TimeLimit = 2 * time.Second
	})
	const customers = 3
	done := s.checkouts(customers)
	pending := 0
	for range customers {
		r := <-done
		if r.status == http.StatusAccepted {
			pending++
		} else if r.status != http.StatusServiceUnavailable || r.header.Get("Retry-After") == "" {
			t.Errorf("got %d, %v: %s", r.status, r.header, r.body)
		}
	}
	if n := one[int](s, "SELECT count(*) FROM orders WHERE status = 'pending'"); n < pending || pending == customers {
		t.Errorf("%d orders are pending, and %d customers were told so", n, pending)
	}
}
