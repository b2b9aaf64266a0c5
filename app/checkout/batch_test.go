package checkout_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
	"doorbuster/app/pricing"
)

// placeAll places requests in one transaction and returns what each is told, in one word or few.
func (s *shop) placeAll(reqs ...checkout.Request) (answers []string, placed []checkout.Placement) {
	s.t.Helper()
	placed, err := s.worker(s.provider, patient).PlaceAll(s.t.Context(), reqs...)
	if err != nil {
		s.t.Fatalf("place %d requests: %v", len(reqs), err)
	}
	for _, p := range placed {
		answers = append(answers, answer(p))
	}
	return answers, placed
}

func answer(p checkout.Placement) string {
	short, isShort := errors.AsType[*checkout.OutOfStock](p.Err)
	limit, isLimit := errors.AsType[*checkout.LimitReached](p.Err)
	discount, isDiscount := errors.AsType[*pricing.RefusedDiscount](p.Err)
	_, isPrice := errors.AsType[*checkout.PriceChanged](p.Err)
	switch {
	case isShort:
		return fmt.Sprintf("%s: %d of %d", short.Lines[0].Code, short.Lines[0].Available, short.Lines[0].Requested)
	case isLimit:
		return fmt.Sprintf("%s: limit %d, left %d", limit.Code, limit.Limit, limit.Left)
	case isDiscount:
		return discount.Error()
	case isPrice:
		return "price changed"
	case p.Err != nil:
		return p.Err.Error()
	case p.Order.OverLimit != "":
		return p.Order.OverLimit + ": over the limit"
	case p.Resumed:
		return "resumed"
	}
	return string(p.Order.Status)
}

func same(t *testing.T, what string, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

var (
	inFlight = checkout.ErrInFlight.Error()
	reused   = checkout.ErrKeyReused.Error()
	empty    = checkout.ErrCartEmpty.Error()
)

// Promise E3, many in one transaction: arrival decides who gets the last units, and a refused order takes nothing from
// those after it.
func TestBatchAllotsByArrival(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	reqs := []checkout.Request{
		s.buyer(payment.TokenOK, lastTen, 4),
		s.buyer(payment.TokenOK, mug, 2, lastTen, 7), // one too many, so its mugs stay too
		s.buyer(payment.TokenOK, pan, 1),
		s.buyer(payment.TokenOK, yesterday, 1),
		request(uuid.New(), payment.TokenOK), // has no cart
		s.buyer(payment.TokenOK, lastTen, 5),
		s.buyer(payment.TokenOK, lastTen, 2),
		s.buyer(payment.TokenOK, pan, 1, lastTen, 1),
		s.buyer(payment.TokenOK, lastTen, 1),
	}
	got, placed := s.placeAll(reqs...)
	same(t, "answers", []string{
		"pending", "LAST-TEN: 6 of 7", "pending", "YESTERDAY is not on sale now", empty, "pending", "LAST-TEN: 1 of 2", "pending", "LAST-TEN: 0 of 1",
	}, got)
	for code, want := range map[string]int{lastTen: 0, mug: 1000, pan: 998} {
		same(t, "units of "+code, want, s.available(code))
	}
	for i := 1; i < len(placed); i++ {
		if a, b := placed[0].Order, placed[i].Order; b.Number == a.Number || b.Number != 0 && b.ID == a.ID {
			t.Errorf("order %d has number %d, the first %d", i, b.Number, a.Number)
		}
	}
	same(t, "cart of a refused one", map[string]int{mug: 2, lastTen: 7}, s.lines(reqs[1].Owner))
	same(t, "cart of a served one", map[string]int{}, s.lines(reqs[7].Owner))
	s.checkBooks()
}

// Promise E3: twins in one transaction are still one order, and requests for one cart are served in turn: a refused one
// leaves the cart to the next.
func TestBatchOfOneOwner(t *testing.T) {
	t.Parallel()
	wrong := int64(1)
	s := newShop(t)
	first := s.buyer(payment.TokenOK, mug, 1)
	otherToken, otherKey := first, first
	otherToken.PaymentToken = payment.TokenSlow
	otherKey.Key = "another"
	got, placed := s.placeAll(first, first, otherToken, otherKey, first)
	same(t, "answers", []string{"pending", inFlight, reused, empty, inFlight}, got)
	same(t, "units", 999, s.available(mug))
	s.checkBooks()

	got, _ = s.placeAll(first, otherToken, otherKey) // in a later transaction too
	same(t, "answers later", []string{inFlight, reused, empty}, got)
	s.bury(placed[0].Order.ID)
	got, _ = s.placeAll(first, first, otherToken)
	same(t, "answers when the payer is dead", []string{"resumed", inFlight, reused}, got)

	refused := s.buyer(payment.TokenOK, mug, 1)
	good := refused
	refused.ExpectedTotalMinor = &wrong
	good.Key = "good"
	got, _ = s.placeAll(refused, refused, good, good)
	same(t, "answers after a refused one", []string{"price changed", "price changed", "pending", inFlight}, got)

	short := s.buyer(payment.TokenOK, lastTen, 8)
	taker := s.buyer(payment.TokenOK, lastTen, 3)
	again := short
	again.Key = "again"
	got, _ = s.placeAll(taker, short, again)
	same(t, "answers when short", []string{"pending", "LAST-TEN: 7 of 8", "LAST-TEN: 7 of 8"}, got)
	same(t, "units", 998, s.available(mug))
	s.checkBooks()
}

// Promise E3: limits per customer count within a transaction as they do across them.
func TestBatchKeepsLimits(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	email := "one@example.com"
	guest := func(quantity int) checkout.Request {
		req := s.buyer(payment.TokenOK, twoEach, quantity)
		req.Email = email
		return req
	}
	got, placed := s.placeAll(guest(1), guest(2), guest(1), guest(1), s.buyer(payment.TokenOK, twoEach, 2), s.buyer(payment.TokenOK, twoEach, 3))
	same(t, "answers", []string{
		"pending", "TWO-EACH: over the limit", "pending", "TWO-EACH: over the limit", "pending", "TWO-EACH: limit 2, left 2",
	}, got)
	s.checkBooks()
	w := s.worker(s.provider, patient)
	if _, err := w.SettleAll(t.Context(), checkout.Ending{Order: placed[0].Order.ID, Reason: checkout.ReasonDeclined}); err != nil {
		t.Fatal(err)
	}
	got, _ = s.placeAll(guest(1), guest(1))
	same(t, "answers after one was declined", []string{"pending", "TWO-EACH: over the limit"}, got)
	s.checkBooks()
}

// A use of a limited code goes to those who get their units, in the order of arrival (E3).
func TestBatchOfDiscounts(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	with := func(code string, fill ...any) checkout.Request {
		req := s.buyer(payment.TokenOK, fill...)
		s.discount(req.Owner, code)
		return req
	}
	got, placed := s.placeAll(
		with(twice, mug, 1), with(tenOff, mug, 1), with(twice, twoEach, 3), with(oldCode, mug, 1), with(noSuch, mug, 1),
		with(twice, mug, 1), with(twice, mug, 1), s.buyer(payment.TokenOK, mug, 1))
	same(t, "answers", []string{
		"pending", "pending", "TWO-EACH: limit 2, left 2", "discount OLD has expired", "discount NOSUCH does not exist",
		"pending", "discount TWICE has been used up", "pending",
	}, got)
	for i, want := range map[int]int64{0: 900, 1: 900, 5: 900, 7: 1000} {
		same(t, fmt.Sprint("total of order ", i), want, placed[i].Order.Total.Minor)
	}
	s.checkBooks()
	if _, err := s.worker(s.provider, patient).SettleAll(t.Context(),
		checkout.Ending{Order: placed[0].Order.ID, Reason: checkout.ReasonDeclined}, checkout.Ending{Order: placed[1].Order.ID, Reason: checkout.ReasonFailed},
	); err != nil {
		t.Fatal(err)
	}
	s.checkBooks()
	got, _ = s.placeAll(with(twice, mug, 1), with(twice, mug, 1))
	same(t, "answers when one use came back", []string{"pending", "discount TWICE has been used up"}, got)
	s.checkBooks()
}

// Promise E3: one transaction settles what was captured, declined, failed and settled before, each once, even when it is
// asked twice.
func TestBatchSettles(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	owner := uuid.New()
	s.fill(owner, mug, 2, oneEach, 1)
	s.discount(owner, twice)
	ofOwner := s.place(request(owner, payment.TokenOK))
	s.fill(owner, mug, 3)
	alsoOfOwner := s.place(request(owner, payment.TokenOK))
	_, placed := s.placeAll(s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, pan, 1))
	paid, declined, before := placed[0].Order, placed[1].Order, placed[2].Order
	capture := func(o checkout.Order) checkout.Ending {
		receipt, err := s.provider.Charge(t.Context(), payment.Charge{Order: o.ID, Amount: o.Total, Token: payment.TokenOK})
		if err != nil || !receipt.Captured {
			t.Fatalf("charge: %+v, %v", receipt, err)
		}
		return checkout.Ending{Order: o.ID, Receipt: receipt}
	}
	cancel := func(o checkout.Order, reason checkout.CancelReason) checkout.Ending {
		return checkout.Ending{Order: o.ID, Reason: reason}
	}
	w := s.worker(s.provider, patient)
	if _, err := w.SettleAll(t.Context(), capture(before)); err != nil {
		t.Fatal(err)
	}
	ends := []checkout.Ending{
		capture(paid), cancel(declined, checkout.ReasonDeclined), capture(paid), capture(before), cancel(ofOwner, checkout.ReasonFailed),
		cancel(alsoOfOwner, checkout.ReasonExpired), cancel(declined, checkout.ReasonFailed), cancel(before, checkout.ReasonExpired),
	}
	for range 2 {
		orders, err := w.SettleAll(t.Context(), ends...)
		if err != nil {
			t.Fatal(err)
		}
		got := map[uuid.UUID]string{}
		for id, o := range orders {
			got[id] = string(o.Status) + " " + string(o.CancelReason)
		}
		same(t, "orders", map[uuid.UUID]string{
			paid.ID: "confirmed ", before.ID: "confirmed ", declined.ID: "cancelled declined",
			ofOwner.ID: "cancelled payment_failed", alsoOfOwner.ID: "cancelled expired",
		}, got)
		same(t, "cart", map[string]int{mug: 5, oneEach: 1}, s.lines(owner))
		same(t, "mugs", 999, s.available(mug))
		if c, err := s.carts.Get(t.Context(), owner); err != nil || c.Discount != twice {
			t.Errorf("got discount %q on the cart (%v), want %q", c.Discount, err, twice)
		}
		s.checkBooks()
	}
}

// Package documentation: what PostgreSQL refuses because of one order, or what makes us panic, fails that one alone. No request
// that comes over HTTP can be like this: it is the third wall.
func TestBatchWithPoison(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := s.worker(s.provider, patient)
	var reqs []checkout.Request
	for range 9 {
		reqs = append(reqs, s.buyer(payment.TokenOK, mug, 1))
	}
	reqs[3].Email = "nul\x00@example.com"
	reqs[8].Key = string(make([]byte, 300))
	placed := w.PlaceBatch(reqs...)
	var ends []checkout.Ending
	for i, p := range placed {
		if bad := i == 3 || i == 8; bad != (p.Err != nil) || !bad && p.Order.Status != checkout.Pending {
			t.Errorf("order %d: %s, %v", i, p.Order.Status, p.Err)
		}
		if p.Err == nil {
			receipt, err := s.provider.Charge(t.Context(), payment.Charge{Order: p.Order.ID, Amount: p.Order.Total, Token: payment.TokenOK})
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, checkout.Ending{Order: p.Order.ID, Receipt: receipt})
		}
	}
	good := ends[2].Receipt.Reference
	ends[2].Receipt.Reference = "nul\x00"
	orders, errs := w.SettleBatch(ends...)
	for i := range ends {
		if bad := i == 2; bad != (errs[i] != nil) || !bad && orders[i].Status != checkout.Confirmed {
			t.Errorf("settlement %d: %s, %v", i, orders[i].Status, errs[i])
		}
	}
	ends[2].Receipt.Reference = good
	if _, errs := w.SettleBatch(ends[2]); errs[0] != nil {
		t.Error(errs[0])
	}
	s.checkBooks()
}
