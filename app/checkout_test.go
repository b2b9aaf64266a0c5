package app_test

import (
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app"
	"doorbuster/app/payment"
)

// E3, E4: from the cart to an order that can be seen afterwards, by its buyer alone.
func TestBuy(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.add(kettle, 2)
	v.add(shirtM, 1)
	v.do("PUT", "/v1/cart/discount", map[string]string{"code": tenOff}).want(http.StatusOK, nil)
	r := v.do("POST", "/v1/checkout", map[string]any{"email": "Ada@Example.com", "payment_token": "tok_ok", "expected_total_minor": 4680},
		"Idempotency-Key", `"quoted-key"`)
	var o app.Order
	r.want(http.StatusCreated, &o)
	if o.Status != "confirmed" || o.Total.Minor != 4680 || o.Subtotal.Minor != 5200 || o.Discount.Minor != 520 || o.Discount.Code != tenOff ||
		len(o.Lines) != 2 || o.Email != "ada@example.com" {
		t.Errorf("got %+v", o)
	}
	if got, want := r.header.Get("Location"), "/v1/orders/"+o.ID.String(); got != want {
		t.Errorf("got Location %q, want %q", got, want)
	}
	if got := r.header.Get("Cache-Control"); got != "private, no-store" {
		t.Errorf("got Cache-Control %q", got)
	}
	var again, read app.Order
	replay := v.do("POST", "/v1/checkout", map[string]any{"email": "ada@example.com", "payment_token": "tok_ok", "expected_total_minor": 4680},
		"Idempotency-Key", "quoted-key").want(http.StatusCreated, &again)
	v.do("GET", r.header.Get("Location"), nil).want(http.StatusOK, &read)
	if replay.header.Get("Idempotent-Replayed") != "true" || r.header.Get("Idempotent-Replayed") != "" {
		t.Errorf("Idempotent-Replayed: got %q, then %q", r.header.Get("Idempotent-Replayed"), replay.header.Get("Idempotent-Replayed"))
	}
	if diff := cmp.Diff(o, again) + cmp.Diff(o, read); diff != "" {
		t.Errorf("the replayed or the stored order differs: %s", diff)
	}
	if c := v.cart(); len(c.Items) != 0 || c.Discount != nil {
		t.Errorf("the cart still has %+v", c)
	}
	if got := s.units(kettle); got != 98 {
		t.Errorf("got %d kettles left, want 98", got)
	}
	stranger := s.visitor()
	stranger.do("GET", r.header.Get("Location"), nil).problem(http.StatusNotFound, "not-found")
	stranger.add(kettle, 1) // with a session of one's own, too
	stranger.do("GET", r.header.Get("Location"), nil).problem(http.StatusNotFound, "not-found")
	stranger.do("GET", "/v1/orders/not-a-uuid", nil).problem(http.StatusNotFound, "not-found")
}

// E3: what can stop a checkout, how it is answered, and that the cart is as it was.
func TestCheckoutRefusals(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, c := range []struct {
		name, sku, token string
		quantity         int
		expected         any
		status           int
		code             string
		check            func(t *testing.T, r reply, p app.Problem)
	}{
		{"sold out", soldOut, "tok_ok", 1, nil, 409, "out-of-stock", func(t *testing.T, _ reply, p app.Problem) {
			if diff := cmp.Diff([]app.ProblemLine{{SKU: soldOut, Requested: 1, Available: new(0)}}, p.Lines); diff != "" {
				t.Error(diff)
			}
		}},
		{"short", "SHIRT-S", "tok_ok", 4, nil, 409, "out-of-stock", func(t *testing.T, _ reply, p app.Problem) {
			if diff := cmp.Diff([]app.ProblemLine{{SKU: "SHIRT-S", Requested: 4, Available: new(3)}}, p.Lines); diff != "" {
				t.Error(diff)
			}
		}},
		{"not started", tomorrow, "tok_ok", 1, nil, 409, "sale-not-started", func(t *testing.T, r reply, p app.Problem) {
			if seconds, err := strconv.Atoi(r.header.Get("Retry-After")); err != nil || seconds < 3600 || p.StartsAt == nil {
				t.Errorf("got Retry-After %q, starts_at %v", r.header.Get("Retry-After"), p.StartsAt)
			}
		}},
		{"ended", yesterday, "tok_ok", 1, nil, 409, "sale-ended", nil},
		{"dearer", shirtM, "tok_ok", 1, 1199, 409, "price-changed", func(t *testing.T, _ reply, p app.Problem) {
			if p.Total == nil || p.Total.Minor != 1200 {
				t.Errorf("got total %v, want 1200", p.Total)
			}
		}},
		{"limit", doorbust, "tok_ok", 2, nil, 409, "customer-limit", nil},
		{"declined", kettle, "tok_declined", 1, nil, 402, "payment-declined", func(t *testing.T, _ reply, p app.Problem) {
			if p.OrderID == "" {
				t.Error("no order_id")
			}
		}},
		{"provider fails", kettle, "tok_error", 1, nil, 503, "payment-unavailable", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			v := s.visitor()
			before := v.add(c.sku, c.quantity)
			units := s.units(c.sku)
			body := map[string]any{"email": "a@example.com", "payment_token": c.token}
			if c.expected != nil {
				body["expected_total_minor"] = c.expected
			}
			r := v.do("POST", "/v1/checkout", body, "Idempotency-Key", "key")
			p := r.problem(c.status, c.code)
			if c.check != nil {
				c.check(t, r, p)
			}
			if diff := cmp.Diff(before, v.cart()); diff != "" {
				t.Errorf("the cart has changed: %s", diff)
			}
			if got := s.units(c.sku); got != units {
				t.Errorf("got %d units, want %d", got, units)
			}
			if n := one[int](s, "SELECT count(*) FROM payment"); n != 0 {
				t.Errorf("got %d payments, want none", n)
			}
		})
	}
	s.visitor().buy("key", "tok_ok", "").problem(http.StatusConflict, "cart-empty")
}

// E3: when the provider answers neither the charge nor its cancellation, the order stands as pending, and that is not a
// failure.
func TestUnknownOutcome(t *testing.T) {
	t.Parallel()
	v := open(t, func(c *app.Config) { c.Checkout.PaymentTimeout = 1 }).visitor() // a nanosecond: over at once
	v.add(kettle, 1)
	var o, read app.Order
	r := v.buy("late", "tok_timeout", "").want(http.StatusAccepted, &o)
	v.do("GET", r.header.Get("Location"), nil).want(http.StatusOK, &read)
	if o.Status != "pending" || read.Status != "pending" || r.header.Get("Retry-After") == "" {
		t.Errorf("got status %q, then %q, Retry-After %q, want pending and a time to come back at", o.Status, read.Status, r.header.Get("Retry-After"))
	}
}

// A payment provider that is away takes three orders with it, not the shop's whole stock: the fourth customer is told to come
// back, and everything that needs no provider goes on.
func TestProviderAway(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) {
		c.Payment = payment.SimulatorConfig{Outage: true}
		c.Checkout.ProviderPause = time.Hour
	})
	for range 3 {
		v := s.visitor()
		v.add(kettle, 1)
		v.buy("away", "tok_ok", "").want(http.StatusAccepted, nil)
	}
	units := s.units(kettle)
	v := s.visitor()
	v.add(kettle, 1)
	r := v.buy("away", "tok_ok", "")
	if r.problem(http.StatusServiceUnavailable, "payment-unavailable"); r.header.Get("Retry-After") == "" {
		t.Error("nobody says when to come back")
	}
	if n, items := s.units(kettle), v.cart().Items; n != units || len(items) != 1 {
		t.Errorf("got %d units and the cart %+v, want %d units and the cart as it was", n, items, units)
	}
	if got := s.gauge("shop_payment_provider_away"); got != 1 {
		t.Errorf("the metrics say %v", got)
	}
}

// E3: a charge whose answer came too late is found out: the order is confirmed.
func TestLateCapture(t *testing.T) {
	t.Parallel()
	v := open(t).visitor() // with the default limit, which the questions to the simulated provider have, too
	v.add(kettle, 1)
	var o app.Order
	v.buy("late", "tok_timeout", "").want(http.StatusCreated, &o)
	if o.Status != "confirmed" {
		t.Errorf("got status %q, want confirmed", o.Status)
	}
}

// E3: 50 concurrent checkouts of the last 10 units: exactly 10 orders, 40 clear refusals, stock 0.
func TestLastTenUnits(t *testing.T) {
	t.Parallel()
	s := open(t)
	var confirmed, refused atomic.Int32
	var ready, wg sync.WaitGroup
	fire := make(chan struct{})
	for i := range 50 {
		v := s.visitor()
		ready.Add(1)
		wg.Go(func() {
			v.add(lastTen, 1)
			ready.Done()
			<-fire
			switch r := v.buy("k"+strconv.Itoa(i), "tok_ok", ""); r.status {
			case http.StatusCreated:
				confirmed.Add(1)
			case http.StatusConflict:
				r.problem(http.StatusConflict, "out-of-stock")
				refused.Add(1)
			default:
				t.Errorf("got %d: %s", r.status, r.body)
			}
		})
	}
	ready.Wait()
	close(fire)
	wg.Wait()
	if confirmed.Load() != 10 || refused.Load() != 40 {
		t.Errorf("got %d orders and %d refusals, want 10 and 40", confirmed.Load(), refused.Load())
	}
	if got := s.units(lastTen); got != 0 {
		t.Errorf("got %d units left, want 0", got)
	}
	if n := one[int](s, "SELECT count(*) FROM payment"); n != 10 {
		t.Errorf("got %d payments, want 10", n)
	}
}

// E3: the same key sent 20 times at once: one order, one charge.
func TestTwentyTwins(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.add(kettle, 1)
	var mu sync.Mutex
	var wg sync.WaitGroup
	orders := map[string]int{}
	for range 20 {
		wg.Go(func() {
			r := v.buy("twin", "tok_ok", "")
			mu.Lock()
			defer mu.Unlock()
			switch r.status {
			case http.StatusCreated:
				orders[r.header.Get("Location")]++
			case http.StatusConflict:
				r.problem(http.StatusConflict, "request-in-flight")
			default:
				t.Errorf("got %d: %s", r.status, r.body)
			}
		})
	}
	wg.Wait()
	if len(orders) != 1 {
		t.Errorf("got orders %v, want one", orders)
	}
	if o, p := one[int](s, "SELECT count(*) FROM orders"), one[int](s, "SELECT count(*) FROM payment"); o != 1 || p != 1 {
		t.Errorf("got %d orders and %d payments, want 1 and 1", o, p)
	}
}

// E4: the history has all orders, the newest first, page by page.
func TestOrderHistory(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	var numbers []string
	for i := range 5 {
		v.add(kettle, 1)
		var o app.Order
		v.buy("h"+strconv.Itoa(i), "tok_ok", "").want(http.StatusCreated, &o)
		numbers = append([]string{o.Number}, numbers...)
	}
	var got []string
	path := "/v1/orders?limit=2"
	for path != "" {
		var page app.OrderList
		v.do("GET", path, nil).want(http.StatusOK, &page)
		for _, o := range page.Items {
			got = append(got, o.Number)
		}
		path = ""
		if page.NextCursor != nil {
			path = "/v1/orders?limit=2&cursor=" + url.QueryEscape(*page.NextCursor)
		}
	}
	if diff := cmp.Diff(numbers, got); diff != "" {
		t.Error(diff)
	}
	var none app.OrderList
	s.visitor().do("GET", "/v1/orders", nil).want(http.StatusOK, &none)
	if len(none.Items) != 0 {
		t.Errorf("a stranger sees %d orders", len(none.Items))
	}
}
