package app_test

import (
	"net/http"
	"sync"
	"testing"

	"doorbuster/app"
)

// E2: what is put into the cart stays, with totals from the server, and every change answers with the whole cart.
func TestCart(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	if c := v.cart(); len(c.Items) != 0 || c.Total.Minor != 0 {
		t.Errorf("a new visitor has %+v", c)
	}
	v.add(kettle, 2)
	c := v.add(shirtM, 1)
	if len(c.Items) != 2 || c.Items[0].Quantity != 2 || c.Items[0].Total.Minor != 4000 || c.Items[1].UnitPrice.Minor != 1200 || c.Total.Minor != 5200 {
		t.Errorf("got %+v", c)
	}
	if got, want := c.Items[1].Name, "Linen Shirt, Size M"; got != want {
		t.Errorf("got name %q, want %q", got, want)
	}
	v.do("PUT", "/v1/cart/items/"+kettle, map[string]int{"quantity": 5}).want(http.StatusOK, &c)
	if c.Items[0].Quantity != 5 {
		t.Errorf("set: got %+v", c.Items)
	}
	v.do("PUT", "/v1/cart/items/"+lastTen, map[string]int{"quantity": 1}).want(http.StatusOK, &c)
	v.do("DELETE", "/v1/cart/items/"+kettle, nil).want(http.StatusOK, nil)
	v.do("DELETE", "/v1/cart/items/"+kettle, nil).want(http.StatusOK, &c)
	if len(c.Items) != 2 || c.Total.Minor != 1700 {
		t.Errorf("removed: got %+v", c)
	}
	if got := v.cart(); len(got.Items) != 2 {
		t.Errorf("read again: got %+v", got)
	}
}

// E2: a code is put on a cart, shows what it takes off, says why it does not apply, and can be taken off.
func TestCartDiscount(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	v.do("PUT", "/v1/cart/discount", map[string]string{"code": tenOff}).problem(http.StatusConflict, "cart-empty")
	v.add(kettle, 2)
	var c app.Cart
	v.do("PUT", "/v1/cart/discount", map[string]string{"code": "ten"}).want(http.StatusOK, &c)
	if c.Discount == nil || c.Discount.Code != tenOff || c.Discount.Amount.Minor != 400 || c.Total.Minor != 3600 {
		t.Errorf("TEN: got %+v", c)
	}
	for code, want := range map[string]string{fromFifty: "needs a subtotal of at least 50.00 USD", oldCode: "has expired"} {
		v.do("PUT", "/v1/cart/discount", map[string]string{"code": code}).want(http.StatusOK, &c)
		if c.Discount == nil || c.Discount.Problem != want || c.Total.Minor != 4000 {
			t.Errorf("%s: got %+v, want problem %q", code, c, want)
		}
		v.buy("with-"+code, "tok_ok", "").problem(http.StatusConflict, "discount-refused")
	}
	v.do("PUT", "/v1/cart/discount", map[string]string{"code": "NONSENSE"}).problem(http.StatusUnprocessableEntity, "invalid-request")
	v.do("DELETE", "/v1/cart/discount", nil).want(http.StatusOK, nil)
	if c := v.cart(); c.Discount != nil {
		t.Errorf("removed: got %+v", c.Discount)
	}
}

// E2: 100 concurrent adds of one SKU to one cart: quantity 100.
func TestConcurrentAdds(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	v.add(kettle, 1)
	var wg sync.WaitGroup
	for range 99 {
		wg.Go(func() {
			if r, err := v.try("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1}); err != nil || r.status != http.StatusOK {
				t.Errorf("add: got %d, %v; body: %s", r.status, err, r.body)
			}
		})
	}
	wg.Wait()
	if c := v.cart(); len(c.Items) != 1 || c.Items[0].Quantity != 100 {
		t.Errorf("got %+v, want 100 units", c.Items)
	}
}

// E2: carts are private: another visitor sees nothing of it and changes nothing in it.
func TestCartsAreApart(t *testing.T) {
	t.Parallel()
	s := open(t)
	a, b := s.visitor(), s.visitor()
	a.add(kettle, 1)
	b.add(kettle, 2)
	b.do("DELETE", "/v1/cart/items/"+kettle, nil).want(http.StatusOK, nil)
	if c := a.cart(); len(c.Items) != 1 || c.Items[0].Quantity != 1 {
		t.Errorf("got %+v", c.Items)
	}
}

// E2: a cart that a login has made longer than a cart may be is not frozen: what is in it can be changed.
func TestLongCartCanBeChanged(t *testing.T) {
	t.Parallel()
	s := open(t)
	v := s.visitor()
	v.add(kettle, 1)
	one[int](s, `WITH many AS (INSERT INTO sku (product_id, code, name, position, currency, list_price_minor)
		SELECT product_id, 'MANY-' || n, 'Many', 100 + n, currency, 100 FROM sku, generate_series(1, 89) AS n WHERE code = $1 RETURNING id),
		lines AS (INSERT INTO cart_line (owner_id, sku_id, quantity) SELECT owner_id, many.id, 1 FROM cart, many RETURNING 1)
		SELECT count(*)::int FROM lines`, kettle)
	if n := len(v.cart().Items); n != 90 {
		t.Fatalf("the cart has %d lines", n)
	}
	v.do("PUT", "/v1/cart/items/"+kettle, map[string]int{"quantity": 2}).want(http.StatusOK, nil)
	v.do("PUT", "/v1/cart/items/MANY-7", map[string]int{"quantity": 3}).want(http.StatusOK, nil)
	for _, item := range v.add(kettle, 1).Items {
		if want := map[string]int{kettle: 3, "MANY-7": 3}[item.SKU]; want != 0 && item.Quantity != want {
			t.Errorf("got %d of %s, want %d", item.Quantity, item.SKU, want)
		}
	}
	v.do("POST", "/v1/cart/items", map[string]any{"sku": shirtM, "quantity": 1}).problem(http.StatusConflict, "cart-full")
}

// E2: a SKU that the shop has no more leaves the carts that hold it; nothing answers 500 meanwhile.
func TestSKUIsGone(t *testing.T) {
	t.Parallel()
	s := open(t)
	v, other := s.visitor(), s.visitor()
	for _, v := range []*visitor{v, other} {
		v.add(kettle, 1)
		v.add(shirtM, 1)
	}
	for _, table := range []string{"stock_receipt", "stock", "sale_price"} {
		one[int](s, "WITH gone AS (DELETE FROM "+table+" WHERE sku_id = (SELECT id FROM sku WHERE code = $1) RETURNING 1) SELECT count(*)::int FROM gone", kettle)
	}
	one[string](s, "DELETE FROM sku WHERE code = $1 RETURNING code", kettle)
	v.buy("too-late", "tok_ok", "").problem(http.StatusConflict, "cart-changed")
	if c := v.cart(); len(c.Items) != 1 || c.Items[0].SKU != shirtM || c.Total.Minor != 1200 {
		t.Errorf("got %+v", c)
	}
	v.do("POST", "/v1/cart/items", map[string]any{"sku": kettle, "quantity": 1}).problem(http.StatusUnprocessableEntity, "invalid-request")
	v.do("PUT", "/v1/cart/items/"+kettle, map[string]any{"quantity": 1}).problem(http.StatusNotFound, "not-found")
	v.buy("now", "tok_ok", "").want(http.StatusCreated, nil)
	if c := other.add(shirtM, 1); len(c.Items) != 1 || c.Items[0].Quantity != 2 {
		t.Errorf("the other's cart: got %+v", c)
	}
}

// E2: an order has one currency. What would make it two is refused; a cart that has them all the same, as after a login, can be
// seen and mended.
func TestTwoCurrencies(t *testing.T) {
	t.Parallel()
	s := open(t)
	one[string](s, "UPDATE sku SET currency = 'JPY' WHERE code = $1 RETURNING code", "PLAIN-07")
	v := s.visitor()
	v.add(kettle, 1)
	v.do("POST", "/v1/cart/items", map[string]any{"sku": "PLAIN-07", "quantity": 1}).problem(http.StatusConflict, "mixed-currencies")
	v.do("PUT", "/v1/cart/items/PLAIN-07", map[string]any{"quantity": 1}).problem(http.StatusConflict, "mixed-currencies")
	if n := len(v.cart().Items); n != 1 {
		t.Errorf("the cart has %d lines", n)
	}
	one[int](s, `INSERT INTO cart_line (owner_id, sku_id, quantity, added_at)
		SELECT owner_id, sku.id, 1, now() + interval '1 s' FROM cart, sku WHERE code = $1 RETURNING quantity`, "PLAIN-07")
	c := v.cart()
	if len(c.Items) != 2 || c.Items[0].Problem != "" || c.Items[1].Problem == "" || c.Total.Minor != 2000 {
		t.Errorf("got %+v", c)
	}
	for _, quantity := range []int{3, 3} { // changed, and set to what it is: it is not taken for a new one
		v.do("PUT", "/v1/cart/items/PLAIN-07", map[string]any{"quantity": quantity}).want(http.StatusOK, &c)
		if len(c.Items) != 2 || c.Items[1].Quantity != quantity {
			t.Errorf("got %+v", c)
		}
	}
	v.buy("both", "tok_ok", "").problem(http.StatusConflict, "mixed-currencies")
	v.do("DELETE", "/v1/cart/items/PLAIN-07", nil).want(http.StatusOK, nil)
	v.buy("one", "tok_ok", "").want(http.StatusCreated, nil)
}

// E2: a cart says what a checkout would refuse, before it does.
func TestCartSaysWhatCannotBeBought(t *testing.T) {
	t.Parallel()
	s := open(t)
	for _, c := range []struct {
		sku      string
		quantity int
		problem  string
	}{
		{kettle, 1, ""},
		{lastTen, 11, "there are only 10 left"},
		{soldOut, 1, "is sold out"},
		{tomorrow, 1, "can be bought when its sale has started, and its price may be another then"},
		{yesterday, 1, "could be bought in a sale that is over"},
		{doorbust, 4, "is limited to 1 for each customer"},
	} {
		got := s.visitor().add(c.sku, c.quantity).Items[0]
		if got.Problem != c.problem || (got.StartsAt != nil) != (c.sku == tomorrow) || (got.MaxPerCustomer != nil) != (c.sku == doorbust) {
			t.Errorf("%d of %s: got %+v, want %q", c.quantity, c.sku, got, c.problem)
		}
	}
}
