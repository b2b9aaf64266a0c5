package app_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/google/go-cmp/cmp"

	"doorbuster/app"
	"doorbuster/app/payment"
)

// set changes one row of the database.
func (s *shop) set(sql string, args ...any) {
	s.t.Helper()
	tag, err := s.pool.Exec(s.t.Context(), sql, args...)
	if err != nil || tag.RowsAffected() != 1 {
		s.t.Fatalf("%s: changed %d rows (%v), want one", sql, tag.RowsAffected(), err)
	}
}

// pay checks out with a key and a token, for the total that the shop has shown.
func (v *visitor) pay(key, token string) reply {
	v.shop.t.Helper()
	return v.buy(key, token, "ada@example.com")
}

// wantTotal checks that a checkout was paid with so much.
func (r reply) wantTotal(minor int64) {
	r.t.Helper()
	var o app.Order
	if r.want(http.StatusCreated, &o); o.Total.Minor != minor || o.Status != "confirmed" {
		r.t.Errorf("%s: got %s with a total of %d, want %d", r.what, o.Status, o.Total.Minor, minor)
	}
}

// wantSurprise checks that a checkout was refused for a total that nobody has
// seen.
func (r reply) wantSurprise(now int64) {
	r.t.Helper()
	if p := r.problem(http.StatusConflict, "price-changed"); p.Total == nil || p.Total.Minor != now {
		r.t.Errorf("%s: told a total of %v, want %d", r.what, p.Total, now)
	}
}

// D9: what is charged is what the customer was last shown, or less. Each case
// begins with a shirt in the cart, shown at 12.00 in its sale, and what was
// 12.00 is 15.00 when the sale ends.
func TestNoSurpriseAtTheTill(t *testing.T) {
	t.Parallel()
	const endSale = "UPDATE sale SET ends_at = now() WHERE slug = 'now'"
	const cheaper = "UPDATE sale_price SET price_minor = 1000 WHERE sku_id = (SELECT id FROM sku WHERE code = 'SHIRT-M')"
	for name, do := range map[string]func(s *shop, v *visitor){
		"as shown": func(_ *shop, v *visitor) { v.pay("k", "tok_ok").wantTotal(1200) },
		"the sale ends, and the customer agrees with a new key": func(s *shop, v *visitor) {
			s.set(endSale)
			v.pay("k", "tok_ok").wantSurprise(1500)
			v.pay("k", "tok_ok").wantSurprise(1500) // the answer may have been lost
			v.pay("new", "tok_ok").wantTotal(1500)
		},
		"the sale ends, and the customer looks at the cart": func(s *shop, v *visitor) {
			s.set(endSale)
			v.pay("k", "tok_ok").wantSurprise(1500)
			v.cart()
			v.pay("k", "tok_ok").wantTotal(1500)
		},
		"the sale ends, and the customer names the new total": func(s *shop, v *visitor) {
			s.set(endSale)
			v.pay("k", "tok_ok").wantSurprise(1500)
			expecting := func(minor int) reply {
				body := map[string]any{"email": "a@example.com", "payment_token": "tok_ok", "expected_total_minor": minor}
				return v.do("POST", "/v1/checkout", body, "Idempotency-Key", "k")
			}
			expecting(1499).wantSurprise(1500)
			expecting(2000).wantTotal(1500)
		},
		"cheaper": func(s *shop, v *visitor) {
			s.set(cheaper)
			v.pay("k", "tok_ok").wantTotal(1000)
		},
		"cheaper, seen, and dear again": func(s *shop, v *visitor) {
			s.set(cheaper)
			v.cart()
			s.set("UPDATE sale_price SET price_minor = 1200 WHERE sku_id = (SELECT id FROM sku WHERE code = 'SHIRT-M')")
			v.pay("k", "tok_ok").wantSurprise(1200)
		},
		"another tab shows more": func(_ *shop, v *visitor) {
			v.add(kettle, 1)
			v.pay("k", "tok_ok").wantTotal(3200)
		},
		"a change whose total nobody was shown": func(s *shop, v *visitor) {
			s.set("UPDATE cart_line SET quantity = 2")
			v.pay("k", "tok_ok").wantSurprise(2400)
		},
		"a cart of a release that did not remember": func(s *shop, v *visitor) {
			s.set("UPDATE cart SET shown_minor = NULL, shown_currency = NULL")
			s.set(endSale)
			v.pay("k", "tok_ok").wantTotal(1500)
		},
		"another currency": func(s *shop, v *visitor) {
			s.set("UPDATE sku SET currency = 'JPY' WHERE code = 'SHIRT-M'")
			v.pay("k", "tok_ok").wantSurprise(1200)
		},
		"declined, and the sale ends": func(s *shop, v *visitor) {
			v.pay("k", "tok_declined").problem(http.StatusPaymentRequired, "payment-declined")
			v.pay("again", "tok_declined").problem(http.StatusPaymentRequired, "payment-declined")
			s.set(endSale)
			v.pay("third", "tok_ok").wantSurprise(1500)
			v.pay("fourth", "tok_ok").wantTotal(1500)
		},
		"emptied, and filled again": func(s *shop, v *visitor) {
			v.do("DELETE", "/v1/cart/items/"+shirtM, nil).want(http.StatusOK, nil)
			if n := one[int](s, "SELECT count(shown_minor)::int FROM cart"); n != 0 {
				v.shop.t.Error("an empty cart has a total that was shown")
			}
			v.add(kettle, 1)
			v.pay("k", "tok_ok").wantTotal(2000)
		},
		"the next cart": func(s *shop, v *visitor) {
			v.pay("k", "tok_ok").wantTotal(1200)
			v.add(shirtM, 2)
			v.pay("next", "tok_ok").wantTotal(2400)
		},
		"a code that ends": func(s *shop, v *visitor) {
			v.do("PUT", "/v1/cart/discount", map[string]string{"code": tenOff}).want(http.StatusOK, nil)
			s.set("UPDATE discount SET ends_at = now() WHERE code = $1", tenOff)
			v.pay("k", "tok_ok").problem(http.StatusConflict, "discount-refused")
			s.set("UPDATE cart SET discount_code = NULL") // as somebody who is not shown the total
			v.pay("k", "tok_ok").wantSurprise(1200)
			v.do("DELETE", "/v1/cart/discount", nil).want(http.StatusOK, nil)
			v.pay("k", "tok_ok").wantTotal(1200)
		},
		"a login that brings nothing": func(s *shop, v *visitor) {
			v.register("ada@example.com")
			v.pay("k", "tok_ok").wantTotal(1200)
		},
		"a login, and the sale ends": func(s *shop, v *visitor) {
			v.register("ada@example.com")
			s.set(endSale)
			v.pay("k", "tok_ok").wantSurprise(1500)
		},
		"a login to an account with a cart": func(s *shop, v *visitor) {
			v.register("ada@example.com")
			v.do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
			v.add(kettle, 1)
			v.logIn("ada@example.com")
			v.pay("k", "tok_ok").wantSurprise(3200)
			v.pay("new", "tok_ok").wantTotal(3200)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			v := s.visitor()
			v.add(shirtM, 1)
			do(s, v)
		})
	}
}

// logInAgain logs in and returns the answer.
func (v *visitor) logInAgain(email string) app.Session {
	v.shop.t.Helper()
	var s app.Session
	v.do("POST", "/v1/session", map[string]string{"email": email, "password": password}).want(http.StatusOK, &s)
	return s
}

// A cart that shows what it has shown before writes nothing.
func TestLookingAtACartWritesNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.add(kettle, 2)
	version := func() string { return one[string](s, "SELECT ctid::text || xmin FROM cart") }
	before := version()
	v.cart()
	if got := version(); got != before {
		t.Errorf("the cart's row is another one: %s, and was %s", got, before)
	}
	s.set("UPDATE sku SET list_price_minor = 1900 WHERE code = $1", kettle)
	v.cart()
	if got := version(); got == before {
		t.Error("a new total was not remembered")
	}
}

// D8: whole answers, and what stands in the history, tell a stranger who can't
// pay nothing about an address. The limit holds all the same, whichever way the
// address is written.
func TestStrangerLearnsNothing(t *testing.T) {
	t.Parallel()
	s := open(t)
	buyer := s.visitor()
	buyer.add(doorbust, 1)
	buyer.buy("bought", "tok_ok", "ren\u00e9@b\u00fccher.example").want(http.StatusCreated, nil)
	for _, token := range []string{payment.TokenDeclined, "tok_of-nobody", payment.TokenError} {
		try := func(email string) string {
			v := s.visitor()
			v.add(doorbust, 1)
			first := v.buy("k", token, email)
			again := v.buy("k", token, email)
			history := v.do("GET", "/v1/orders", nil)
			return anonymous(t, email, first) + anonymous(t, email, again) + anonymous(t, email, history)
		}
		if diff := cmp.Diff(try("nobody@example.com"), try("ren\u00e9@b\u00fccher.example")); diff != "" {
			t.Errorf("%s (-nobody +somebody who has bought):\n%s", token, diff)
		}
	}
	// The same mailbox: composed and decomposed letters, and the ASCII form of
	// the domain.
	for _, email := range []string{"ren\u00e9@b\u00fccher.example", "Rene\u0301@b\u00fccher.example", "ren\u00e9@xn--bcher-kva.example"} {
		v := s.visitor()
		v.add(doorbust, 1)
		p := v.buy("k", "tok_ok", email).problem(http.StatusConflict, "customer-limit")
		if diff := cmp.Diff([]app.ProblemLine{{SKU: doorbust}}, p.Lines); diff != "" {
			t.Errorf("%s: %s", email, diff)
		}
	}
	if n := one[int](s, "SELECT count(*)::int FROM payment"); n != 1 {
		t.Errorf("got %d payments, want 1", n)
	}
}

// anonymous is an answer without what differs each time.
func anonymous(t *testing.T, email string, r reply) string {
	t.Helper()
	var body any
	if err := json.Unmarshal(r.body, &body); err != nil {
		t.Fatal(err)
	}
	drop(body, map[string]bool{"id": true, "number": true, "order_id": true, "created_at": true, "request_id": true, "email": true})
	header := r.header.Clone()
	for _, name := range []string{"Date", "X-Request-Id", "Retry-After", "Ratelimit", "Content-Length"} {
		header.Del(name)
	}
	return fmt.Sprintf("%d %v %v\n", r.status, header, body)
}

// drop takes members out of a JSON value.
func drop(value any, names map[string]bool) {
	switch v := value.(type) {
	case map[string]any:
		for name, member := range v {
			if drop(member, names); names[name] {
				delete(v, name)
			}
		}
	case []any:
		for _, element := range v {
			drop(element, names)
		}
	}
}

// Field 2.2: a refusal tells units that are held by payments from units that
// are sold.
func TestOutOfStockTellsOfHeldUnits(t *testing.T) {
	t.Parallel()
	s := open(t, func(c *app.Config) { c.Payment = payment.SimulatorConfig{Outage: true} })
	v := s.visitor()
	v.add(lastTen, 10)
	v.buy("pending", "tok_ok", "").want(http.StatusAccepted, nil)
	late := s.visitor()
	late.add(lastTen, 1)
	r := late.buy("late", "tok_ok", "")
	p := r.problem(http.StatusConflict, "out-of-stock")
	if diff := cmp.Diff([]app.ProblemLine{{SKU: lastTen, Requested: 1, Available: new(0), Held: 10}}, p.Lines); diff != "" || r.header.Get("Retry-After") == "" {
		t.Errorf("got Retry-After %q and (-want +got):\n%s", r.header.Get("Retry-After"), diff)
	}
	none := s.visitor()
	none.add(soldOut, 1)
	if r := none.buy("none", "tok_ok", ""); r.header.Get("Retry-After") != "" {
		t.Errorf("nothing is held, and Retry-After is %q", r.header.Get("Retry-After"))
	}
}

// E2: a cart is emptied in one request, and an empty one stays empty.
func TestEmptyTheCart(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	var c app.Cart
	v.do("DELETE", "/v1/cart", nil).want(http.StatusOK, &c)
	v.add(kettle, 2)
	v.add(shirtM, 1)
	v.do("PUT", "/v1/cart/discount", map[string]string{"code": tenOff}).want(http.StatusOK, nil)
	for range 2 {
		v.do("DELETE", "/v1/cart", nil).want(http.StatusOK, &c)
		if len(c.Items) != 0 || c.Discount != nil || c.Total.Minor != 0 {
			t.Errorf("got %+v", c)
		}
	}
	v.add(kettle, 1)
	v.pay("k", "tok_ok").wantTotal(2000)
}

// E2: what a login has no room for is named in its answer.
func TestLoginSaysWhatIsLeftOut(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.add(kettle, 900)
	const email = "ada@example.com"
	v.register(email)
	one[int](s, `WITH many AS (INSERT INTO sku (product_id, code, name, position, currency, list_price_minor)
		SELECT product_id, 'MANY-' || n, 'Many', 100 + n, currency, 100 FROM sku, generate_series(1, 98) AS n WHERE code = $1 RETURNING id),
		lines AS (INSERT INTO cart_line (owner_id, sku_id, quantity) SELECT owner_id, many.id, 1 FROM cart, many WHERE merged_into IS NULL RETURNING 1)
		SELECT count(*)::int FROM lines`, kettle)
	v.do("DELETE", "/v1/session", nil).want(http.StatusNoContent, nil)
	v.add(kettle, 150)
	v.add(shirtM, 1)
	v.add(lastTen, 3)
	got := v.logInAgain(email)
	want := []app.LeftOut{{SKU: kettle, Quantity: 50}, {SKU: lastTen, Quantity: 3}}
	if diff := cmp.Diff(want, got.CartLeftOut); diff != "" {
		t.Errorf("left out (-want +got):\n%s", diff)
	}
	if n := len(v.cart().Items); n != 100 {
		t.Errorf("the cart has %d lines, want 100", n)
	}
	if again := v.logInAgain(email); again.CartLeftOut != nil {
		t.Errorf("a login that joins nothing: got %+v", again.CartLeftOut)
	}
}

// E4: the history shows the orders of one status, page by page.
func TestOrderHistoryByStatus(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	v.add(kettle, 1)
	for i := range 6 {
		token := []string{"tok_declined", "tok_ok"}[i%2]
		v.buy(fmt.Sprint("k", i), token, "a@example.com")
		if token == "tok_ok" {
			v.add(kettle, 1)
		}
	}
	for status, want := range map[string]int{"confirmed": 3, "cancelled": 3, "pending": 0} {
		n, path := 0, "/v1/orders?limit=2&status="+status
		for path != "" {
			var page app.OrderList
			v.do("GET", path, nil).want(http.StatusOK, &page)
			for _, o := range page.Items {
				if n++; o.Status != status {
					t.Errorf("%s: got one that is %s", status, o.Status)
				}
			}
			if path = ""; page.NextCursor != nil {
				path = "/v1/orders?limit=2&status=" + status + "&cursor=" + *page.NextCursor
				v.do("GET", "/v1/orders?cursor="+*page.NextCursor, nil).problem(http.StatusUnprocessableEntity, "invalid-request")
			}
		}
		if n != want {
			t.Errorf("%s: got %d orders, want %d", status, n, want)
		}
	}
	v.do("GET", "/v1/orders?status=lost", nil).problem(http.StatusUnprocessableEntity, "invalid-request")
}

// A refusal for the time of a sale says nothing of units.
func TestSaleRefusalsSayNothingOfUnits(t *testing.T) {
	t.Parallel()
	s := open(t)
	for sku, code := range map[string]string{tomorrow: "sale-not-started", yesterday: "sale-ended"} {
		v := s.visitor()
		v.add(sku, 1)
		p := v.buy("k-"+sku, "tok_ok", "").problem(http.StatusConflict, code)
		if diff := cmp.Diff([]app.ProblemLine{{SKU: sku}}, p.Lines); diff != "" {
			t.Error(diff)
		}
	}
}
