package cart_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
	"doorbuster/app/money"
)

func usd(minor int64) *money.Money { return &money.Money{Minor: minor, Currency: "USD"} }

// show is an answer with the total of a cart as it was read.
func (s shop) show(owner uuid.UUID, c cart.Cart, total int64) {
	s.Helper()
	batch := new(pgx.Batch)
	cart.QueueShown(batch, owner, c, *usd(total))
	if err := s.pool.SendBatch(s.Context(), batch).Close(); err != nil {
		s.Error(err)
	}
}

// tell is a checkout that is refused with a total.
func (s shop) tell(owner uuid.UUID, total int64, key string) {
	s.Helper()
	s.mustTx(func(tx pgx.Tx) error {
		if _, err := cart.LockTx(s.Context(), tx, []uuid.UUID{owner}); err != nil {
			return err
		}
		batch := new(pgx.Batch)
		cart.QueueTold(batch, []cart.Told{{Owner: owner, Total: *usd(total), Key: key}})
		return tx.SendBatch(s.Context(), batch).Close()
	})
}

func (s shop) wantShown(owner uuid.UUID, total *money.Money, refusedKey string) {
	s.Helper()
	got := s.get(owner)
	if diff := cmp.Diff(total, got.Shown); diff != "" || got.RefusedKey != refusedKey {
		s.Errorf("refused under the key %q, want %q; shown (-want +got):\n%s", got.RefusedKey, refusedKey, diff)
	}
}

// D9: the cart remembers what its owner was last shown of it, and of nothing
// else.
func TestShown(t *testing.T) {
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	s.add(owner, 7, 1)
	s.wantShown(owner, nil, "")
	read := s.get(owner)
	s.show(owner, read, 100)
	s.wantShown(owner, usd(100), "")

	s.add(owner, 7, 1) // the other tab
	s.wantShown(owner, usd(100), "")
	s.show(owner, s.get(owner), 200)
	s.show(owner, read, 90) // what was read before the change comes too late
	s.wantShown(owner, usd(200), "")

	s.tell(owner, 300, "k")
	s.wantShown(owner, usd(300), "k")
	s.show(owner, s.get(owner), 300)
	s.wantShown(owner, usd(300), "")

	batch := new(pgx.Batch)
	if cart.QueueShown(batch, owner, s.get(owner), *usd(300)); batch.Len() != 0 {
		t.Error("what was shown before is written again")
	}
	s.mustTx(func(tx pgx.Tx) error { // a checkout has the cart: nobody waits for it
		_, err := cart.LockTx(t.Context(), tx, []uuid.UUID{owner})
		s.show(owner, s.get(owner), 400)
		return err
	})
	s.wantShown(owner, usd(300), "")
	s.remove(owner, 7)
	s.show(owner, s.get(owner), 0)
	s.wantShown(owner, nil, "")

	s.add(owner, 7, 1)
	s.show(owner, s.get(owner), 100)
	s.checkOut(owner)
	s.wantShown(owner, nil, "")
}

// D9: after a login counts what the guest was shown, which was last; without
// it, what the account was.
func TestShownAfterAMerge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		guestHas, guestShown, accountShown, want int64
	}{
		{1, 100, 0, 100}, {1, 100, 500, 100}, {0, 0, 500, 500}, {1, 0, 500, 500}, {1, 0, 0, 0},
	} {
		s := open(t)
		guest, account := uuid.New(), uuid.New()
		s.add(account, 3, 1)
		s.add(guest, 7, 1)
		if c.guestShown > 0 {
			s.show(guest, s.get(guest), c.guestShown)
		}
		if c.guestHas == 0 {
			s.remove(guest, 7)
		}
		if c.accountShown > 0 {
			s.show(account, s.get(account), c.accountShown)
		}
		s.merge(guest, account)
		var want *money.Money
		if c.want > 0 {
			want = usd(c.want)
		}
		s.wantShown(account, want, "")
		s.wantShown(guest, nil, "")
	}
}

// D9: an order that is cancelled brings its total back as shown, where the cart
// has none of its own.
func TestShownAfterARefill(t *testing.T) {
	t.Parallel()
	s := open(t)
	for shown, want := range map[int64]int64{0: 250, 100: 100} {
		owner := uuid.New()
		s.add(owner, 3, 1)
		if shown > 0 {
			s.show(owner, s.get(owner), shown)
		}
		s.mustTx(func(tx pgx.Tx) error {
			if _, err := cart.LockTx(t.Context(), tx, []uuid.UUID{owner}); err != nil {
				return err
			}
			batch := new(pgx.Batch)
			cart.QueueRefill(batch, map[uuid.UUID]cart.Cart{owner: {Lines: []cart.Line{{SKU: 7, Quantity: 1}}, Shown: usd(250)}})
			return tx.SendBatch(t.Context(), batch).Close()
		})
		s.wantShown(owner, usd(want), "")
	}
}

// E2: a cart is emptied as a whole, whoever's it has become.
func TestEmpty(t *testing.T) {
	t.Parallel()
	s := open(t)
	guest, account := uuid.New(), uuid.New()
	s.add(guest, 7, 2)
	s.merge(guest, account)
	s.add(account, 3, 1)
	s.discount(account, "TEN")
	s.show(account, s.get(account), 100)
	for range 2 {
		if err := s.store.Empty(t.Context(), guest); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(cart.Cart{ID: s.get(account).ID}, s.get(account), unchanging); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	if err := s.store.Empty(t.Context(), uuid.New()); err != nil {
		t.Errorf("who never had a cart: %v", err)
	}
}
