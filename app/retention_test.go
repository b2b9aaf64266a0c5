package app_test

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"doorbuster/app"
)

const keep = 30 * 24 * time.Hour

// retains opens a shop that keeps carts for 30 days, and in which no sale has just
// begun.
func retains(t *testing.T) *shop {
	t.Helper()
	return open(t, func(c *app.Config) { c.CartRetention = keep })
}

// agedOwner is the id of a guest who came days ago.
func agedOwner(t *testing.T, days int) uuid.UUID {
	t.Helper()
	id := uuid.Must(uuid.NewV7())
	ms := time.Now().Add(-time.Duration(days) * 24 * time.Hour).UnixMilli()
	for i := range 6 {
		id[i] = byte(ms >> (40 - 8*i))
	}
	return id
}

// addCart makes a cart with a line, untouched for days, of an owner who came then.
func (s *shop) addCart(days int) uuid.UUID {
	s.t.Helper()
	owner := agedOwner(s.t.(*testing.T), days)
	s.exec(`INSERT INTO cart (owner_id, updated_at) VALUES ($1, now() - make_interval(days => $2))`, owner, days)
	s.exec(`INSERT INTO cart_line (owner_id, sku_id, quantity) SELECT $1, id, 2 FROM sku WHERE code = $2`, owner, kettle)
	return owner
}

func (s *shop) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.pool.Exec(context.Background(), sql, args...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

func (s *shop) has(owner uuid.UUID) bool {
	s.t.Helper()
	return one[bool](s, "SELECT EXISTS (SELECT FROM cart WHERE owner_id = $1)", owner)
}

// D13: carts of guests that nobody has changed for 30 days are removed with their
// lines, however many; those of accounts stay, and those in use, and what an order
// stands for.
func TestOldCartsAreRemoved(t *testing.T) {
	t.Parallel()
	s := retains(t)
	const many = 2500 // more than two batches
	s.exec(`INSERT INTO cart (owner_id, updated_at)
SELECT (lpad(to_hex((extract(epoch FROM now() - interval '40 days') * 1000)::bigint), 12, '0') || '7' || lpad(to_hex(n), 19, '0'))::uuid, now() - interval '40 days'
  FROM generate_series(1, $1::int) AS n`, many)
	old, young, account := s.addCart(31), s.addCart(29), s.addCart(400)
	s.exec(`INSERT INTO account (id, email, name, password_hash) VALUES ($1, 'old@example.com', '', 'x')`, account)
	touched := s.addCart(50)
	s.exec(`UPDATE cart SET updated_at = now() - interval '1 day' WHERE owner_id = $1`, touched)
	held := s.addCart(60) // by somebody else, who goes on to use it
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback(context.Background())
	if _, err := tx.Exec(t.Context(), `UPDATE cart SET updated_at = now() WHERE owner_id = $1`, held); err != nil {
		t.Fatal(err)
	}
	v := s.visitor()
	v.add(kettle, 1)
	v.buy("kept", "tok_ok", "").want(http.StatusCreated, nil)

	carts, lines, err := s.app.RemoveOldCarts(t.Context())
	if err != nil || carts != many+1 || lines != 1 {
		t.Errorf("removed %d carts and %d lines, %v, want %d and 1", carts, lines, err, many+1)
	}
	if err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		owner uuid.UUID
		stays bool
	}{"old": {old, false}, "young": {young, true}, "of an account": {account, true}, "touched": {touched, true}, "held": {held, true}} {
		if s.has(c.owner) != c.stays {
			t.Errorf("%s: stays %v, want %v", name, !c.stays, c.stays)
		}
	}
	if n := one[int](s, "SELECT count(*) FROM cart_line WHERE owner_id NOT IN (SELECT owner_id FROM cart)"); n != 0 {
		t.Errorf("%d lines without a cart", n)
	}
	if carts, _, err := s.app.RemoveOldCarts(t.Context()); err != nil || carts != 0 {
		t.Errorf("again: removed %d, %v", carts, err)
	}
	v.buy("kept", "tok_ok", "").want(http.StatusCreated, nil) // the order is where it was
}

// Nothing is removed in the first hour of a sale, nor by two at once.
func TestOldCartsWait(t *testing.T) {
	t.Parallel()
	s := retains(t)
	old := s.addCart(31)
	s.exec("UPDATE sale SET starts_at = now() - interval '59 minutes' WHERE slug = 'now'")
	if _, _, err := s.app.RemoveOldCarts(t.Context()); err == nil || !s.has(old) {
		t.Errorf("in a rush: error %v, stays %v", err, s.has(old))
	}
	s.exec("UPDATE sale SET starts_at = now() - interval '61 minutes' WHERE slug = 'now'")
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", app.ExpireLock)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.app.RemoveOldCarts(t.Context()); err == nil || !s.has(old) {
		t.Errorf("beside another: error %v, stays %v", err, s.has(old))
	}
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if carts, _, err := s.app.RemoveOldCarts(t.Context()); err != nil || carts != 1 {
		t.Errorf("afterwards: removed %d, %v, want 1", carts, err)
	}
}

// Of several workers one removes what is due, once an hour, until it leaves; then
// another one is free to begin.
func TestOneWorkerRemovesOldCarts(t *testing.T) {
	t.Parallel()
	s := retains(t)
	old, key := s.addCart(31), "retention-test:"+uuid.NewString()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var runs atomic.Int64
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() { runs.Add(s.app.RunRetention(ctx, key)) })
	}
	await(t, "the old cart is removed", func() bool { return !s.has(old) })
	later := s.addCart(31) // the next run is in an hour
	stop()
	workers.Wait()
	if n := runs.Load(); n != 1 || !s.has(later) {
		t.Errorf("%d runs, and a later cart stays %v; want one run, and that it stays", n, s.has(later))
	}
}

// await returns when something is so that nothing tells of.
func await(t *testing.T, what string, so func() bool) {
	t.Helper()
	for tooLong := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(tooLong) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// A customer who comes back in the moment in which the cart is removed loses nothing
// that was added then: an answer of 200 is a line in the cart.
func TestComingBackInTime(t *testing.T) {
	t.Parallel()
	s := retains(t)
	const customers, rounds = 8, 15
	visitors := make([]*visitor, customers)
	owners := make([]uuid.UUID, customers)
	for i := range visitors {
		visitors[i] = s.visitor()
		visitors[i].add(shirtM, 1)
		owners[i] = one[uuid.UUID](s, "SELECT owner_id FROM cart WHERE owner_id <> ALL ($1)", owners[:i])
	}
	for round := range rounds {
		for _, owner := range owners { // their ids are from today, so the carts are named
			s.exec("UPDATE cart SET updated_at = now() - interval '31 days' WHERE owner_id = $1", owner)
		}
		var all sync.WaitGroup
		for _, v := range visitors {
			all.Go(func() { v.add(kettle, 1) })
		}
		removed := int64(0)
		all.Go(func() {
			for range 3 {
				carts, _, err := s.app.Expire(t.Context(), owners, keep)
				if err != nil {
					t.Error(err)
				}
				removed += carts
			}
		})
		all.Wait()
		for i, v := range visitors {
			found := false
			for _, l := range v.cart().Items {
				found = found || l.SKU == kettle
			}
			if !found {
				t.Errorf("round %d: customer %d has lost a kettle; %d carts were removed", round, i, removed)
			}
			v.do("DELETE", "/v1/cart/items/"+kettle, nil).want(http.StatusOK, nil)
		}
	}
}
