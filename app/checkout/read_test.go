package checkout_test

import (
	"errors"
	"testing"

	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// account registers a customer.
func (s *shop) account() uuid.UUID {
	s.t.Helper()
	id := uuid.New()
	s.exec("INSERT INTO account (id, email, name, password_hash) VALUES ($1, $2, 'A', 'x')", id, id.String()+"@example.com")
	return id
}

// An order is its buyer's: nobody else learns that it exists.
func TestOrderOfAnother(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := s.worker(s.provider, patient)
	req := s.buyer(payment.TokenOK, mug, 1, pan, 2)
	order := s.buy(req)
	got, err := w.Order(t.Context(), checkout.Reader{Owner: req.Owner}, order.ID)
	if err != nil {
		t.Fatal(err)
	}
	same(t, "order", order, got)
	other := s.buyer(payment.TokenOK, mug, 1)
	s.buy(other)
	for name, reader := range map[string]checkout.Reader{
		"another guest":    {Owner: other.Owner},
		"an account":       {Owner: other.Owner, Account: uuid.NullUUID{UUID: s.account(), Valid: true}},
		"nobody":           {},
		"nobody's account": {Account: uuid.NullUUID{Valid: true}},
		"its own id":       {Owner: order.ID, Account: uuid.NullUUID{UUID: order.ID, Valid: true}},
	} {
		if got, err := w.Order(t.Context(), reader, order.ID); !errors.Is(err, checkout.ErrNotFound) {
			t.Errorf("%s: got %+v, %v, want %v", name, got, err, checkout.ErrNotFound)
		}
		list, err := w.Orders(t.Context(), reader, checkout.Page{Before: uuid.Max, Limit: 100})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			if o.ID == order.ID {
				t.Errorf("%s has it in the list", name)
			}
		}
	}
	if _, err := w.Order(t.Context(), checkout.Reader{Owner: req.Owner}, uuid.New()); !errors.Is(err, checkout.ErrNotFound) {
		t.Errorf("no order: got %v, want %v", err, checkout.ErrNotFound)
	}
}

// The history is read page by page, the newest first, with the orders that were placed before logging in among the others,
// and each of them once.
func TestOrdersInPages(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := s.worker(s.provider, patient)
	account, guest, stranger := s.account(), uuid.New(), uuid.New()
	logged := uuid.NullUUID{UUID: account, Valid: true}
	var want []uuid.UUID
	for i := range 11 {
		owner := []uuid.UUID{guest, account, stranger}[i%3]
		s.fill(owner, mug, 1)
		req := request(owner, []string{payment.TokenOK, payment.TokenDeclined}[i%2])
		if owner == account {
			req.Account = logged
		}
		result, err := w.Checkout(t.Context(), req)
		if err != nil {
			t.Fatal(err)
		}
		if owner != stranger {
			want = append([]uuid.UUID{result.Order.ID}, want...)
		}
	}
	pages := func(reader checkout.Reader, limit int) (ids []uuid.UUID) {
		before := uuid.Max
		for range 100 {
			page, err := w.Orders(t.Context(), reader, checkout.Page{Before: before, Limit: limit})
			if err != nil {
				t.Fatal(err)
			}
			if len(page) == 0 {
				return ids
			}
			if len(page) > limit {
				t.Errorf("got a page of %d, want at most %d", len(page), limit)
			}
			for _, o := range page {
				ids = append(ids, o.ID)
			}
			before = ids[len(ids)-1]
		}
		t.Fatal("the pages do not end")
		return nil
	}
	reader := checkout.Reader{Owner: account, Account: logged}
	for range 2 { // a repeat changes nothing
		if err := w.Adopt(t.Context(), guest, account); err != nil {
			t.Fatal(err)
		}
		for _, limit := range []int{1, 2, 3, len(want), 100} {
			same(t, "orders of the account", want, pages(reader, limit))
		}
	}
	// Nobody adopts what another account has.
	thief := s.account()
	if err := w.Adopt(t.Context(), guest, thief); err != nil {
		t.Fatal(err)
	}
	same(t, "orders of the account", want, pages(reader, 2))
	if got := pages(checkout.Reader{Owner: thief, Account: uuid.NullUUID{UUID: thief, Valid: true}}, 2); len(got) != 0 {
		t.Errorf("another account has adopted %v", got)
	}
	// The guest's own orders stay the guest's, with keys and allowances; those of the account do not become so.
	if got := pages(checkout.Reader{Owner: guest}, 3); len(got) != 4 {
		t.Errorf("got %d orders of the guest, want 4", len(got))
	}
	s.checkBooks()
}
