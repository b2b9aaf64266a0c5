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
