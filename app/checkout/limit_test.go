package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// Promise E3: the limit holds for the owner of the cart under any address, at
// once and with what is left; and for the address under any cart, once the
// customer has shown that the order could be paid, and without a word about
// what others have.
func TestLimitPerCustomer(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := s.worker(s.provider, patient)
	first := s.buyer(payment.TokenOK, twoEach, 1)
	s.buy(first)

	s.fill(first.Owner, twoEach, 2)
	again := request(first.Owner, payment.TokenOK)
	again.Email = "other@example.com"
	before := s.snapshot()
	_, err := w.Checkout(t.Context(), again)
	if refusal, ok := errors.AsType[*checkout.LimitReached](err); !ok || *refusal != (checkout.LimitReached{Code: twoEach, Limit: 2, Left: 1}) {
		t.Errorf("same owner, other address: got %v, want a limit of 2 of which 1 is left", err)
	}
	s.unchanged(before)

	other := s.buyer(payment.TokenOK, twoEach, 2)
	other.Email = first.Email
	_, err = w.Checkout(t.Context(), other)
	if refusal, ok := errors.AsType[*checkout.LimitReached](err); !ok || *refusal != (checkout.LimitReached{Code: twoEach, ByAddress: true}) {
		t.Errorf("other owner, same address: got %v, want the limit of the address", err)
	}
	after := s.snapshot()
	for _, table := range []string{"stock", "allowance", "payment", "cart_line"} {
		if diff := cmp.Diff(before[table], after[table]); diff != "" && table != "cart_line" {
			t.Errorf("%s has changed (-before +after):\n%s", table, diff)
		}
	}
	if n := s.lines(other.Owner)[twoEach]; n != 2 {
		t.Errorf("got %d units in the cart, want 2", n)
	}
	s.buy(s.buyer(payment.TokenOK, twoEach, 2)) // a stranger with an address of his own
	s.checkBooks()
}

// D8: who can't pay is told the same of an address that has bought as of one
// that has not, sees the same in the order history, and costs the provider as
// much.
func TestAddressTellsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		token    string
		provider payment.SimulatorConfig
		config   checkout.Config
		pays     bool
	}{
		{payment.TokenDeclined, payment.SimulatorConfig{}, patient, false},
		{"tok_of-nobody", payment.SimulatorConfig{}, patient, false},
		{payment.TokenError, payment.SimulatorConfig{}, patient, false},
		{payment.TokenOK, payment.SimulatorConfig{Outage: true}, patient, false},
		{payment.TokenOK, payment.SimulatorConfig{Hang: true}, impatient, false},
		{payment.TokenOK, payment.SimulatorConfig{}, patient, true},
		{payment.TokenSlow, payment.SimulatorConfig{SlowLatency: time.Millisecond}, patient, true},
		{payment.TokenTimeout, payment.SimulatorConfig{}, checkout.Config{TransactionTimeout: time.Minute, PaymentTimeout: time.Second}, true},
	} {
		t.Run(fmt.Sprint(c.token, c.provider), func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			bought := s.buyer(payment.TokenOK, oneEach, 1)
			s.buy(bought)
			calls := map[string]int{}
			var verified []uuid.UUID
			count := &hooked{
				Gateway: s.bad(c.provider),
				charge: func(_ context.Context, _ payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
					calls["charge"]++
					return next()
				},
				verify: func(_ context.Context, p payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error) {
					calls["verify"]++
					verified = append(verified, p.Order)
					return next()
				},
				cancel: func(_ context.Context, _ uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error) {
					calls["cancel"]++
					return next()
				},
			}
			// try is what a stranger learns who gives an address, asking twice,
			// and what it costs.
			type learned struct {
				First, Again         checkout.Result
				FirstError, AgainErr string
				History              []checkout.Order
				Asked, Cancelled     int
				InCart               int
			}
			try := func(email string) learned {
				clear(calls)
				w := s.worker(count, c.config)
				req := s.buyer(c.token, oneEach, 1)
				req.Email = email
				var l learned
				var err error
				l.First, err = w.Checkout(t.Context(), req)
				l.FirstError = fmt.Sprint(err)
				if l.First.Order.Status == checkout.Pending {
					s.released(l.First.Order.ID) // nobody asks about it any more
				}
				l.Again, err = w.Checkout(t.Context(), req)
				l.AgainErr = fmt.Sprint(err)
				if l.History, err = w.Orders(t.Context(), checkout.Reader{Owner: req.Owner}, checkout.Page{Before: uuid.Max, Limit: 10}); err != nil {
					t.Error(err)
				}
				l.Asked, l.Cancelled = calls["charge"]+calls["verify"], calls["cancel"]
				l.InCart = s.lines(req.Owner)[oneEach]
				return l
			}
			fresh, known := try(uuid.NewString()+"@example.com"), try(bought.Email)
			if len(verified) == 0 {
				t.Error("nothing was verified")
			}
			for _, order := range verified {
				if s.charged(order) {
					t.Errorf("order %s was charged", order)
				}
			}
			told := strings.HasPrefix(known.FirstError, "limit per customer reached")
			switch {
			case c.pays && c.token != payment.TokenTimeout && !told:
				t.Errorf("who could pay is told %+v", known)
			case c.pays && fresh.First.Order.Status != checkout.Confirmed:
				t.Errorf("the address that has bought nothing: got %+v", fresh)
			case !c.pays:
				diff := cmp.Diff(fresh, known, cmpopts.IgnoreFields(checkout.Order{}, "ID", "Number", "Email", "CreatedAt", "OverLimit"))
				if diff != "" {
					t.Errorf("a stranger can tell (-fresh +bought):\n%s", diff)
				}
			}
			s.checkBooks()
		})
	}
}

// An order of an address that has its limit is never charged, whoever comes to
// it: a repeat, a sweeper, or a worker after the one that placed it has died.
// It locks nobody out: neither its address nor, once it is over, its owner.
func TestOverLimitIsNeverCharged(t *testing.T) {
	t.Parallel()
	for _, end := range []string{"repeat", "sweep", "a provider that captures all the same"} {
		t.Run(end, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			w := s.worker(s.provider, patient)
			first := s.buyer(payment.TokenOK, twoEach, 1)
			s.buy(first)
			req := s.buyer(payment.TokenOK, twoEach, 2)
			req.Email = first.Email
			order := s.place(req)
			if order.OverLimit != twoEach {
				t.Fatalf("got %+v, want it over the limit", order)
			}
			s.checkBooks()
			second := s.buyer(payment.TokenOK, twoEach, 1)
			second.Email = first.Email
			s.buy(second) // the address's last one
			switch end {
			case "repeat":
				s.bury(order.ID)
				_, err := w.Checkout(t.Context(), req)
				if refusal, ok := errors.AsType[*checkout.LimitReached](err); !ok || *refusal != (checkout.LimitReached{Code: twoEach, ByAddress: true}) {
					t.Errorf("got %v, want the limit of the address", err)
				}
			case "sweep":
				s.bury(order.ID)
				s.expire(order.ID)
				if n, err := w.Sweep(t.Context()); n != 1 || err != nil {
					t.Errorf("swept %d orders (%v), want 1", n, err)
				}
			default:
				lying := &hooked{Gateway: s.provider, verify: func(_ context.Context, c payment.Charge, _ func() (payment.Receipt, error)) (payment.Receipt, error) {
					return s.provider.Charge(t.Context(), c)
				}}
				s.bury(order.ID)
				if _, err := s.worker(lying, patient).Checkout(t.Context(), req); err == nil {
					t.Error("it was sold")
				}
				var n int
				s.query("SELECT count(*) FROM refund_due WHERE order_id = $1 AND reason = 'captured_after_cancel'", []any{order.ID}, &n)
				if n != 1 {
					t.Errorf("got %d refunds due, want 1", n)
				}
				return // the books tell of it
			}
			if s.charged(order.ID) {
				t.Error("it was charged")
			}
			own := request(req.Owner, payment.TokenOK) // the cart is as it was, and the owner has nothing yet
			s.buy(own)
			s.checkBooks()
		})
	}
}

// Field 2.3: what a guest has counts for the account after a login, paid for or
// not yet. What both had already is nobody's fault.
func TestLimitAfterALogin(t *testing.T) {
	t.Parallel()
	for _, pending := range []bool{false, true} {
		s := newShop(t)
		w := s.worker(s.provider, patient)
		account := uuid.New()
		s.exec("INSERT INTO account (id, email, name, password_hash) VALUES ($1, 'ada@example.com', '', '')", account)
		guest := s.buyer(payment.TokenDeclined, oneEach, 1, mug, 1)
		var order checkout.Order
		if pending {
			order = s.place(guest)
		} else {
			guest.PaymentToken = payment.TokenOK
			s.buy(guest)
		}
		logIn := func(guest uuid.UUID) {
			t.Helper()
			for range 2 { // a repeat changes nothing
				if _, err := s.carts.Merge(t.Context(), guest, account); err != nil {
					t.Fatal(err)
				}
				if err := w.Adopt(t.Context(), guest, account); err != nil {
					t.Fatal(err)
				}
			}
		}
		logIn(guest.Owner)
		s.checkBooks()
		s.fill(account, oneEach, 1)
		_, err := w.Checkout(t.Context(), request(account, payment.TokenOK))
		if refusal, ok := errors.AsType[*checkout.LimitReached](err); !ok || *refusal != (checkout.LimitReached{Code: oneEach, Limit: 1}) {
			t.Errorf("pending %t: got %v, want the limit", pending, err)
		}
		if pending { // and when it comes to nothing, the account may have one
			s.bury(order.ID)
			if result, err := w.Checkout(t.Context(), guest); err == nil && result.Order.Status != checkout.Cancelled {
				t.Errorf("got %+v", result)
			}
			s.exec("UPDATE cart_line SET quantity = 1 WHERE owner_id = $1", account)
			s.buy(request(account, payment.TokenOK))
		}
		late := s.buyer(payment.TokenOK, oneEach, 1)
		s.buy(late)
		logIn(late.Owner) // two of one each now
		s.checkBooks()
		s.fill(account, oneEach, 1)
		if _, err := w.Checkout(t.Context(), request(account, payment.TokenOK)); err == nil {
			t.Error("a third one was sold")
		}
		s.checkBooks()
	}
}

// Field 2.2: who is told that there are not enough units is told how many are
// held by orders that are not paid for, as long as there are such.
func TestHeldIsNotSold(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	s.buy(s.buyer(payment.TokenOK, lastTen, 7))
	order := s.place(s.buyer(payment.TokenOK, lastTen, 2))
	for quantity, want := range map[int]checkout.ShortLine{
		1: {}, 2: {SKU: s.sku[lastTen], Code: lastTen, Requested: 2, Available: 1, Held: 2},
	} {
		_, err := s.worker(s.provider, patient).Checkout(t.Context(), s.buyer(payment.TokenDeclined, lastTen, quantity))
		refusal, ok := errors.AsType[*checkout.OutOfStock](err)
		if ok != (want != checkout.ShortLine{}) || ok && refusal.Lines[0] != want {
			t.Errorf("%d units: got %v %+v, want %+v", quantity, err, refusal, want)
		}
	}
	receipt, err := s.provider.Charge(t.Context(), payment.Charge{Order: order.ID, Amount: order.Total, Token: payment.TokenOK})
	if err != nil {
		t.Fatal(err)
	}
	w := s.worker(s.provider, patient)
	if _, err := w.SettleAll(t.Context(), checkout.Ending{Order: order.ID, Total: order.Total, Receipt: receipt}); err != nil {
		t.Fatal(err)
	}
	s.buy(s.buyer(payment.TokenOK, lastTen, 1))
	for range 2 { // from the books, and from memory
		_, err = w.Checkout(t.Context(), s.buyer(payment.TokenOK, lastTen, 1))
		refusal, ok := errors.AsType[*checkout.OutOfStock](err)
		if !ok || refusal.Lines[0] != (checkout.ShortLine{SKU: s.sku[lastTen], Code: lastTen, Requested: 1}) {
			t.Errorf("all are sold: got %v %+v", err, refusal)
		}
	}
	s.checkBooks()
}
