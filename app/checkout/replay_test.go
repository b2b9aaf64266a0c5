package checkout_test

import (
	"errors"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// Promise E3: never charged twice. A repeat is answered with the order that the first made, also by another worker and
// after a restart, and also when the cart has been filled again.
func TestReplay(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		token  string
		status checkout.Status
		reason checkout.CancelReason
	}{
		"confirmed": {payment.TokenOK, checkout.Confirmed, ""},
		"declined":  {payment.TokenDeclined, checkout.Cancelled, checkout.ReasonDeclined},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(c.token, pan, 2, mug, 1)
			first, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
			if err != nil || first.Replayed || first.Order.Status != c.status || first.Order.CancelReason != c.reason {
				t.Fatalf("got %+v, %v", first, err)
			}
			s.fill(req.Owner, lastTen, 5)
			before := s.snapshot()
			want := checkout.Result{Order: first.Order, Replayed: true}
			for range 2 {
				// The provider is down: it must not be needed.
				again, err := s.worker(s.bad(payment.SimulatorConfig{Outage: true}), patient).Checkout(t.Context(), req)
				if diff := cmp.Diff(want, again); diff != "" || err != nil {
					t.Errorf("got error %v and (-want +got):\n%s", err, diff)
				}
			}
			s.unchanged(before)
			if got, want := s.charged(first.Order.ID), c.status == checkout.Confirmed; got != want {
				t.Errorf("charged: got %t, want %t", got, want)
			}
			s.checkBooks()
		})
	}
}

// Promise E3: a key stands for one request. Another request under it is refused, whatever became of the first.
func TestKeyReused(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	total, other := int64(price), int64(price+1)
	for _, token := range []string{payment.TokenOK, payment.TokenDeclined, "pending"} {
		first := s.buyer(token, mug, 1)
		first.ExpectedTotalMinor = &total
		if token == "pending" {
			s.place(first)
		} else if _, err := s.worker(s.provider, patient).Checkout(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		s.fill(first.Owner, mug, 1)
		before := s.snapshot()
		for name, change := range map[string]func(*checkout.Request){
			"address":           func(r *checkout.Request) { r.Email = "other@example.com" },
			"token":             func(r *checkout.Request) { r.PaymentToken = payment.TokenSlow },
			"expected total":    func(r *checkout.Request) { r.ExpectedTotalMinor = &other },
			"no expected total": func(r *checkout.Request) { r.ExpectedTotalMinor = nil },
		} {
			req := first
			change(&req)
			if result, err := s.worker(s.provider, patient).Checkout(t.Context(), req); !errors.Is(err, checkout.ErrKeyReused) {
				t.Errorf("first %s, then with another %s: got %+v, %v, want %v", token, name, result, err, checkout.ErrKeyReused)
			}
		}
		s.unchanged(before)
	}
	s.checkBooks()
}

// Promise E3: a repeat is one also where an earlier release, which kept addresses in
// another form, has taken the first request before a deploy.
func TestRepeatAcrossReleases(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	before := s.buyer(payment.TokenOK, mug, 1)
	before.Email = before.Owner.String() + "@b\u00fccher.example"
	first := s.buy(before)
	req := before
	req.Email, req.OldEmail = before.Owner.String()+"@xn--bcher-kva.example", before.Email
	again, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
	if err != nil || !again.Replayed || again.Order.ID != first.ID {
		t.Errorf("got %+v, %v, want a replay of %s", again, err, first.ID)
	}
	req.OldEmail = "another@b\u00fccher.example"
	if got, err := s.worker(s.provider, patient).Checkout(t.Context(), req); !errors.Is(err, checkout.ErrKeyReused) {
		t.Errorf("with another address: got %+v, %v, want %v", got, err, checkout.ErrKeyReused)
	}
	req.OldEmail, req.PaymentToken = before.Email, payment.TokenSlow
	if got, err := s.worker(s.provider, patient).Checkout(t.Context(), req); !errors.Is(err, checkout.ErrKeyReused) {
		t.Errorf("with another token: got %+v, %v, want %v", got, err, checkout.ErrKeyReused)
	}
	s.checkBooks()
}

// Promise E3: one customer's key says nothing about another's.
func TestKeyOfAnotherOwner(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	first, second := s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, mug, 1)
	second.Key = first.Key
	if a, b := s.buy(first), s.buy(second); a.ID == b.ID {
		t.Error("two owners got one order")
	}
	s.checkBooks()
}

// Promise E3: after a failure of the provider all is as before, and the same key buys.
func TestProviderFails(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenError, mug, 2, oneEach, 1)
	s.discount(req.Owner, twice)
	before := s.snapshot()
	for range 2 { // the key is as free after the first as before it
		if result, err := s.worker(s.provider, patient).Checkout(t.Context(), req); !errors.Is(err, checkout.ErrProvider) {
			t.Fatalf("got %+v, %v, want %v", result, err, checkout.ErrProvider)
		}
	}
	after := s.snapshot()
	for _, table := range []string{"cart_line", "stock", "discount", "allowance", "payment"} {
		if diff := cmp.Diff(before[table], after[table]); diff != "" {
			t.Errorf("%s has changed (-before +after):\n%s", table, diff)
		}
	}
	if n := s.orders(checkout.Cancelled); n != 2 {
		t.Errorf("got %d cancelled orders, want 2", n)
	}
	req.PaymentToken = payment.TokenOK
	if order := s.buy(req); order.DiscountCode != twice {
		t.Errorf("got discount code %q, want %q back on the cart", order.DiscountCode, twice)
	}
	s.checkBooks()
}

// Promise E3: concurrent twins make one order and one charge. Every other answer is a replay of it or says that it is
// being worked on.
func TestTwins(t *testing.T) {
	t.Parallel()
	const twins = 20
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	workers := []*checkout.Service{s.worker(s.provider, patient), s.worker(s.provider, patient)}
	var mu sync.Mutex
	made := map[uuid.UUID]int{}
	first := 0
	crowd(twins, func(i int) {
		result, err := workers[i%2].Checkout(t.Context(), req)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case errors.Is(err, checkout.ErrInFlight):
		case err != nil:
			t.Errorf("got %v", err)
		default:
			made[result.Order.ID]++
			if !result.Replayed {
				first++
			}
		}
	})
	if len(made) != 1 || first != 1 {
		t.Errorf("got %d orders, of which %d were new, want one", len(made), first)
	}
	if n := s.orders(checkout.Confirmed); n != 1 || s.available(mug) != 999 {
		t.Errorf("got %d orders and %d units left, want 1 and 999", n, s.available(mug))
	}
	s.checkBooks()
}

// Promise E3: one filling of a cart is sold once, under whatever keys it is asked for.
func TestTwoKeysOneCart(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	w := s.worker(s.provider, patient)
	var mu sync.Mutex
	var answers []error
	crowd(8, func(int) {
		mine := req
		mine.Key = uuid.NewString()
		_, err := w.Checkout(t.Context(), mine)
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			answers = append(answers, err)
		}
	})
	for _, err := range answers {
		if !errors.Is(err, checkout.ErrCartEmpty) {
			t.Errorf("got %v, want %v", err, checkout.ErrCartEmpty)
		}
	}
	if n := s.orders(checkout.Confirmed); n != 1 || len(answers) != 7 {
		t.Errorf("got %d orders and %d refusals, want 1 and 7", n, len(answers))
	}
	s.checkBooks()
}

// Promise E3: a customer who logs in and repeats a request whose answer was lost gets the order that it made, and does not
// buy what is in the account's cart.
func TestReplayAfterLogin(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	account := s.account()
	s.fill(account, pan, 1)
	req := s.buyer(payment.TokenOK, mug, 1)
	w := s.worker(s.provider, patient)
	first, err := w.Checkout(t.Context(), req)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.carts.Merge(t.Context(), req.Owner, account); err != nil {
		t.Fatal(err)
	}
	if err := w.Adopt(t.Context(), req.Owner, account); err != nil {
		t.Fatal(err)
	}
	req.Owner, req.Account = account, uuid.NullUUID{UUID: account, Valid: true}
	again, err := w.Checkout(t.Context(), req)
	if err != nil || again.Order.ID != first.Order.ID || !again.Replayed {
		t.Errorf("got %+v, %v, want a replay of %s", again, err, first.Order.ID)
	}
	req.Email = "another@example.com"
	if _, err := w.Checkout(t.Context(), req); !errors.Is(err, checkout.ErrKeyReused) {
		t.Errorf("got %v, want ErrKeyReused", err)
	}
	if got := s.lines(account)[pan]; got != 1 {
		t.Errorf("got %d pans in the cart, want 1", got)
	}
	s.checkBooks()
}
