package cart_test

import (
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/cart"
)

// checkOut ends the filling of the owners' carts, as an order does, and returns what was in them.
func (s shop) checkOut(owners ...uuid.UUID) map[uuid.UUID]cart.Cart {
	s.Helper()
	var carts map[uuid.UUID]cart.Cart
	s.mustTx(func(tx pgx.Tx) (err error) {
		if carts, err = cart.LockTx(s.Context(), tx, owners); err != nil {
			return err
		}
		batch := new(pgx.Batch)
		cart.QueueEmpty(batch, slices.Collect(maps.Keys(carts))) // those that are locked
		return tx.SendBatch(s.Context(), batch).Close()
	})
	return carts
}

func (s shop) mustTx(do func(tx pgx.Tx) error) {
	s.Helper()
	if err := pgx.BeginFunc(s.Context(), s.pool, do); err != nil {
		s.Error(err)
	}
}

func (s shop) merge(from, into uuid.UUID) {
	s.Helper()
	if _, err := s.store.Merge(s.Context(), from, into); err != nil {
		s.Error(err)
	}
}

func units(c cart.Cart) (n int) {
	for _, l := range c.Lines {
		n += l.Quantity
	}
	return n
}

func TestCheckoutEndsAFilling(t *testing.T) { // E2, E3
	t.Parallel()
	s := open(t)
	ann, bob, cat, nobody := uuid.New(), uuid.New(), uuid.New(), uuid.New()
	s.add(ann, 7, 2)
	s.add(ann, 3, 1)
	s.discount(ann, "TEN")
	s.add(bob, 7, 5)
	s.add(cat, 7, 1)
	s.remove(cat, 7)
	before := map[uuid.UUID]cart.Cart{ann: s.get(ann), bob: s.get(bob), cat: s.get(cat)}

	if diff := cmp.Diff(before, s.checkOut(bob, nobody, ann, cat)); diff != "" {
		t.Errorf("what was checked out (-want +got):\n%s", diff)
	}
	for owner, was := range before {
		now := s.get(owner)
		if now.ID == was.ID || now.ID == uuid.Nil {
			t.Errorf("id of the next filling: got %s after %s, want a new one", now.ID, was.ID)
		}
		if now.Discount != "" || len(now.Lines) != 0 {
			t.Errorf("after the checkout: got %v, want an empty cart", now)
		}
	}
	s.add(ann, 7, 1)
	s.wantLines(ann, cart.Line{SKU: 7, Quantity: 1})
}

// E2, E3: adds race with checkouts of the same cart. Each unit is sold once: in one of the fillings or in what is left.
func TestEveryUnitIsInOneFilling(t *testing.T) {
	t.Parallel()
	const adders, adds, checkouts = 12, 15, 3
	s := open(t)
	owner := uuid.New()

	var mu sync.Mutex
	sold := 0
	fillings := map[uuid.UUID]int{}
	atOnce(adders+checkouts, func(i int) {
		if i < adders {
			for range adds {
				s.add(owner, int64(i%3), 1)
			}
			return
		}
		for range adds {
			filling, ok := s.checkOut(owner)[owner]
			if !ok {
				continue // before the first add
			}
			mu.Lock()
			sold += units(filling)
			fillings[filling.ID]++
			mu.Unlock()
		}
	})
	left := s.get(owner)
	if got := sold + units(left); got != adders*adds {
		t.Errorf("got %d units in fillings and %d left, want %d together", sold, units(left), adders*adds)
	}
	fillings[left.ID]++
	for id, n := range fillings {
		if n != 1 || id == uuid.Nil {
			t.Errorf("filling %s: got it %d times, want a new id each time", id, n)
		}
	}
}

// E3: a cart that comes into being while others are locked is not among the locked ones, however unlucky the moment.
func TestLockReturnsOnlyWhatItLocked(t *testing.T) {
	t.Parallel()
	s := open(t)
	old, late := uuid.New(), uuid.New()
	s.add(old, 7, 1)
	want := map[uuid.UUID]cart.Cart{old: s.get(old)}
	holder, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(t.Context()) // a second end is no matter
	if _, err := cart.LockTx(t.Context(), holder, []uuid.UUID{old}); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		s.mustTx(func(tx pgx.Tx) error {
			got, err := cart.LockTx(t.Context(), tx, []uuid.UUID{old, late})
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("locked carts (-want +got):\n%s", diff)
			}
			return err
		})
	})
	for waiting := false; !waiting; { // PostgreSQL says when; each question takes its time
		const waits = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"
		if err := s.pool.QueryRow(t.Context(), waits).Scan(&waiting); err != nil {
			t.Fatal(err)
		}
	}
	s.add(late, 7, 1) // after the snapshot of the locks, before that of the lines
	if err := holder.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	s.wantLines(late, cart.Line{SKU: 7, Quantity: 1})
}

func TestRefill(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	ann, bob := uuid.New(), uuid.New()
	for _, owner := range []uuid.UUID{ann, bob} {
		s.add(owner, 7, 2)
		s.discount(owner, "TEN")
	}
	cancelled := s.checkOut(ann, bob)
	s.add(ann, 8, 1) // ann went on shopping, bob did not
	s.add(ann, 7, cart.MaxQuantity-1)
	s.discount(ann, "TWENTY")
	id := s.get(ann).ID

	s.mustTx(func(tx pgx.Tx) error {
		if _, err := cart.LockTx(t.Context(), tx, []uuid.UUID{ann, bob}); err != nil {
			return err
		}
		batch := new(pgx.Batch)
		cart.QueueRefill(batch, cancelled)
		return tx.SendBatch(t.Context(), batch).Close()
	})
	wantAnn := cart.Cart{ID: id, Discount: "TWENTY", Lines: []cart.Line{{SKU: 8, Quantity: 1}, {SKU: 7, Quantity: cart.MaxQuantity}}}
	if diff := cmp.Diff(wantAnn, s.get(ann), unchanging); diff != "" {
		t.Errorf("a cart in use (-want +got):\n%s", diff)
	}
	if got := s.get(bob); got.Discount != "TEN" || !slices.Equal(got.Lines, []cart.Line{{SKU: 7, Quantity: 2}}) {
		t.Errorf("an empty cart: got %v, want what was in it", got)
	}
}

// E2: a guest logs in, and what both carts held is in the account's.
func TestMerge(t *testing.T) {
	t.Parallel()
	full := func(from, n int) (lines []cart.Line) {
		for i := range n {
			lines = append(lines, cart.Line{SKU: int64(from + i), Quantity: 1})
		}
		return lines
	}
	for _, c := range []struct {
		name                        string
		guest, account              []cart.Line
		guestCode, accountCode      string
		want                        []cart.Line
		wantCode                    string
		guestHasCart, accountHasOne bool
	}{
		{name: "neither has one"},
		{name: "guest has none", account: full(1, 2), accountCode: "TEN", want: full(1, 2), wantCode: "TEN"},
		{name: "account has none", guest: full(1, 2), guestCode: "TEN", want: full(1, 2), wantCode: "TEN"},
		{name: "both empty", guestHasCart: true, accountHasOne: true},
		{
			name:    "quantities add up",
			guest:   []cart.Line{{SKU: 1, Quantity: 2}, {SKU: 2, Quantity: 3}},
			account: []cart.Line{{SKU: 2, Quantity: 4}, {SKU: 3, Quantity: 5}},
			want:    []cart.Line{{SKU: 2, Quantity: 7}, {SKU: 3, Quantity: 5}, {SKU: 1, Quantity: 2}},
		},
		{
			name:    "to the limit",
			guest:   []cart.Line{{SKU: 1, Quantity: cart.MaxQuantity}, {SKU: 2, Quantity: cart.MaxQuantity}},
			account: []cart.Line{{SKU: 1, Quantity: 1}},
			want:    []cart.Line{{SKU: 1, Quantity: cart.MaxQuantity}, {SKU: 2, Quantity: cart.MaxQuantity}},
		},
		{
			name: "no line gets lost", guest: full(100, cart.MaxLines), account: full(0, cart.MaxLines),
			want: append(full(0, cart.MaxLines), full(100, cart.MaxLines)...),
		},
		{
			name: "the account's code stays", guest: full(1, 1), account: full(2, 1), guestCode: "TEN", accountCode: "TWENTY",
			want: append(full(2, 1), full(1, 1)...), wantCode: "TWENTY",
		},
		{
			name: "the guest's code comes along", guest: full(1, 1), account: full(2, 1), guestCode: "TEN",
			want: append(full(2, 1), full(1, 1)...), wantCode: "TEN",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := open(t)
			fill := func(lines []cart.Line, code string, evenEmpty bool) uuid.UUID {
				owner := uuid.New()
				if evenEmpty {
					s.remove(owner, 1)
				}
				for _, l := range lines {
					s.add(owner, l.SKU, l.Quantity)
				}
				if code != "" {
					s.discount(owner, code)
				}
				return owner
			}
			guest, account := fill(c.guest, c.guestCode, c.guestHasCart), fill(c.account, c.accountCode, c.accountHasOne)
			guestWas, accountWas := s.get(guest), s.get(account)
			for i := range 3 { // the login is repeated: that changes nothing
				s.merge(guest, account)
				got := s.get(account)
				if got.Discount != c.wantCode {
					t.Errorf("merge %d: got code %q, want %q", i, got.Discount, c.wantCode)
				}
				if diff := cmp.Diff(c.want, got.Lines); diff != "" {
					t.Errorf("merge %d: lines (-want +got):\n%s", i, diff)
				}
				if accountWas.ID != uuid.Nil && got.ID != accountWas.ID {
					t.Errorf("merge %d: got filling %s, want %s still", i, got.ID, accountWas.ID)
				}
				left := s.get(guest)
				if len(left.Lines) != 0 || left.Discount != "" {
					t.Errorf("merge %d: got %v in the guest's cart, want nothing", i, left)
				}
				if len(c.guest) > 0 && left.ID == guestWas.ID {
					t.Errorf("merge %d: got the guest's filling %s still, want it to have ended", i, left.ID)
				}
			}
		})
	}
}

func TestMergeIntoItself(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	s.add(owner, 7, 2)
	s.discount(owner, "TEN")
	s.merge(owner, owner)
	if got := s.get(owner); got.Discount != "TEN" || !slices.Equal(got.Lines, []cart.Line{{SKU: 7, Quantity: 2}}) {
		t.Errorf("got %v, want the cart as it was", got)
	}
}

// E2: logins, adds and checkouts of a few people at once, in all directions: nobody waits for ever, and no unit is lost or
// sold twice.
func TestMergesAndAddsAtOnceLoseNothing(t *testing.T) {
	t.Parallel()
	const workers, steps = 16, 12
	s := open(t)
	owners := []uuid.UUID{uuid.New(), uuid.New(), uuid.New(), uuid.New()}
	var mu sync.Mutex
	added, sold := 0, 0
	atOnce(workers, func(i int) {
		r := rand.New(rand.NewPCG(uint64(i), 0))
		for range steps {
			a, b := owners[r.IntN(len(owners))], owners[r.IntN(len(owners))]
			var nAdded, nSold int
			switch r.IntN(5) {
			case 0:
				s.merge(a, b)
			case 1:
				for _, filling := range s.checkOut(a, b) {
					nSold += units(filling)
				}
			default:
				nAdded = 1 + r.IntN(2)
				s.add(a, int64(r.IntN(3)), nAdded)
			}
			mu.Lock()
			added, sold = added+nAdded, sold+nSold
			mu.Unlock()
		}
	})
	left := 0
	for _, owner := range owners {
		left += units(s.get(owner))
	}
	if added == 0 || sold == 0 || sold+left != added {
		t.Errorf("got %d units sold and %d left, want %d together", sold, left, added)
	}
}

// E2: a cart does not grow without end by logging in again and again: twice the lines of an ordinary cart, and quantities of
// what is there already.
func TestMergesAreBounded(t *testing.T) {
	t.Parallel()
	s := open(t)
	account := uuid.New()
	sku := int64(0)
	for range 4 {
		guest := uuid.New()
		s.add(guest, 1, 1) // the one that every cart has
		for range cart.MaxLines - 1 {
			sku++
			s.add(guest, 1+sku, 1)
		}
		if _, err := s.store.Merge(s.Context(), guest, account); err != nil {
			t.Fatal(err)
		}
	}
	lines := s.get(account).Lines
	if len(lines) != 2*cart.MaxLines {
		t.Errorf("got %d lines, want %d", len(lines), 2*cart.MaxLines)
	}
	if i := slices.IndexFunc(lines, func(l cart.Line) bool { return l.SKU == 1 }); i < 0 || lines[i].Quantity != 4 {
		t.Errorf("got %v, want 4 units of SKU 1", lines)
	}
}

// E2: a guest's request that was under way while the guest logged in is not lost: what it adds is in the account's cart.
func TestAddAfterMergeGoesToTheAccount(t *testing.T) {
	t.Parallel()
	s := open(t)
	guest, account := uuid.New(), uuid.New()
	s.add(guest, 1, 2)
	if _, err := s.store.Merge(s.Context(), guest, account); err != nil {
		t.Fatal(err)
	}
	s.add(guest, 1, 3)
	s.set(guest, 2, 4)
	s.wantLines(account, cart.Line{SKU: 1, Quantity: 5}, cart.Line{SKU: 2, Quantity: 4})
	s.remove(guest, 2)
	s.wantLines(account, cart.Line{SKU: 1, Quantity: 5})
	s.wantLines(guest)
}
