package pricing_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/dbtest"
	"doorbuster/app/pricing"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// inTx runs do in a transaction that must succeed.
func inTx(t *testing.T, pool *pgxpool.Pool, do func(tx pgx.Tx) error) {
	t.Helper()
	if err := pgx.BeginFunc(t.Context(), pool, do); err != nil {
		t.Fatal(err)
	}
}

func put(t *testing.T, pool *pgxpool.Pool, discounts ...pricing.Discount) {
	t.Helper()
	inTx(t, pool, func(tx pgx.Tx) error { return pricing.PutTx(t.Context(), tx, discounts) })
}

// lockTx locks codes in a batch of its own.
func lockTx(ctx context.Context, tx pgx.Tx, codes []string) (map[string]int, error) {
	batch := new(pgx.Batch)
	left := pricing.QueueLock(batch, codes)
	return left, tx.SendBatch(ctx, batch).Close()
}

// discountsTx reads codes in a batch of its own.
func discountsTx(ctx context.Context, tx pgx.Tx, codes []string) (map[string]*pricing.Discount, error) {
	batch := new(pgx.Batch)
	found := pricing.QueueDiscounts(batch, codes)
	return found, tx.SendBatch(ctx, batch).Close()
}

// redeem counts uses of codes in a transaction of its own, after it locked them.
func redeem(t *testing.T, pool *pgxpool.Pool, uses map[string]int) error {
	return pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
		if _, err := lockTx(t.Context(), tx, slices.Collect(maps.Keys(uses))); err != nil {
			return err
		}
		batch := new(pgx.Batch)
		pricing.QueueUses(batch, uses)
		return tx.SendBatch(t.Context(), batch).Close()
	})
}

func usesOf(t *testing.T, pool *pgxpool.Pool, code string) int {
	t.Helper()
	d, err := pricing.NewStore(pool).Discount(t.Context(), code)
	if err != nil || d == nil {
		t.Fatalf("discount %s: got %v, %v", code, d, err)
	}
	return d.Uses
}

var (
	tenPercent = pricing.Discount{
		Code: "TEN", Percent: 10, Amount: usd(0), MinSubtotal: usd(0),
		StartsAt: midnight, EndsAt: midnight.Add(time.Hour),
	}
	fiveOff = pricing.Discount{
		Code: "FIVE", Amount: usd(500), MinSubtotal: usd(2500),
		StartsAt: midnight, EndsAt: midnight.AddDate(1, 0, 0), MaxUses: 3,
	}
)

func TestDiscountsAreWhatWasPut(t *testing.T) { // E3
	t.Parallel()
	pool := dbtest.Pool(t)
	store := pricing.NewStore(pool)
	put(t, pool, tenPercent, fiveOff)

	for _, want := range []pricing.Discount{tenPercent, fiveOff} {
		got, err := store.Discount(t.Context(), want.Code)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", want.Code, diff)
		}
	}
	if got, err := store.Discount(t.Context(), "NOSUCH"); got != nil || err != nil {
		t.Errorf("a code that does not exist: got %v, %v, want nil", got, err)
	}
	inTx(t, pool, func(tx pgx.Tx) error {
		got, err := discountsTx(t.Context(), tx, []string{"TEN", "NOSUCH", "FIVE"})
		if diff := cmp.Diff(map[string]*pricing.Discount{"TEN": &tenPercent, "FIVE": &fiveOff}, got); diff != "" {
			t.Errorf("of three codes (-want +got):\n%s", diff)
		}
		if none, err := discountsTx(t.Context(), tx, nil); len(none) != 0 || err != nil {
			t.Errorf("of no codes: got %v, %v, want none", none, err)
		}
		return err
	})
}

func TestPutChangesADiscountAndKeepsItsUses(t *testing.T) { // E3
	t.Parallel()
	pool := dbtest.Pool(t)
	put(t, pool, fiveOff)
	if err := redeem(t, pool, map[string]int{"FIVE": 2}); err != nil {
		t.Fatal(err)
	}
	changed := pricing.Discount{
		Code: "FIVE", Percent: 5, Amount: usd(0), MinSubtotal: usd(0),
		StartsAt: midnight.Add(-time.Hour), EndsAt: midnight, MaxUses: 9,
	}
	for range 2 { // the second time nothing is left to change
		put(t, pool, changed)
		want := changed
		want.Uses = 2
		got, err := pricing.NewStore(pool).Discount(t.Context(), "FIVE")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(&want, got); diff != "" {
			t.Errorf("changed discount (-want +got):\n%s", diff)
		}
	}
}

func TestUsesAreCountedOnlyWhereLimited(t *testing.T) { // E3
	t.Parallel()
	pool := dbtest.Pool(t)
	put(t, pool, tenPercent, fiveOff)
	inTx(t, pool, func(tx pgx.Tx) error {
		left, err := lockTx(t.Context(), tx, []string{"TEN", "FIVE", "NOSUCH"})
		if diff := cmp.Diff(map[string]int{"FIVE": 3}, left); diff != "" {
			t.Errorf("uses left (-want +got):\n%s", diff)
		}
		return err
	})
	if err := redeem(t, pool, map[string]int{"TEN": 5, "FIVE": 2}); err != nil {
		t.Fatal(err)
	}
	if ten, five := usesOf(t, pool, "TEN"), usesOf(t, pool, "FIVE"); ten != 0 || five != 2 {
		t.Errorf("uses: got %d of TEN and %d of FIVE, want 0 and 2", ten, five)
	}
	if err := redeem(t, pool, map[string]int{"FIVE": -2}); err != nil { // cancelled orders
		t.Fatal(err)
	}
	if got := usesOf(t, pool, "FIVE"); got != 0 {
		t.Errorf("uses after they were given back: got %d, want 0", got)
	}

	// Whoever forgets to ask how many are left runs into the table's constraint.
	pgErr, ok := errors.AsType[*pgconn.PgError](redeem(t, pool, map[string]int{"FIVE": 4}))
	const checkViolation = "23514"
	if !ok || pgErr.Code != checkViolation {
		t.Errorf("a use too many: got %v, want a check violation", pgErr)
	}
}

// E3: two orders want the last use of a code. The second waits for the first, sees what it did, and leaves it.
func TestLastUseIsRedeemedOnce(t *testing.T) {
	t.Parallel()
	pool := dbtest.Pool(t)
	last := fiveOff
	last.MaxUses = 1
	put(t, pool, last)

	first, err := pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer first.Rollback(t.Context()) // a second end is no matter
	left, err := lockTx(t.Context(), first, []string{"FIVE"})
	if err != nil || left["FIVE"] != 1 {
		t.Fatalf("first: got %v, %v, want one use left", left, err)
	}

	var wg sync.WaitGroup
	second := make(chan int, 1)
	wg.Go(func() {
		defer close(second)
		err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
			left, err := lockTx(t.Context(), tx, []string{"FIVE"})
			second <- left["FIVE"]
			return err
		})
		if err != nil {
			t.Error(err)
		}
	})
	for waiting := false; !waiting; { // PostgreSQL says when; each question takes its time
		select {
		case got := <-second:
			t.Fatalf("the second saw %d uses left while the first held the lock, want it to wait", got)
		default:
		}
		err := pool.QueryRow(t.Context(), `SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_stat_activity a USING (pid)
			WHERE NOT l.granted AND a.datname = current_database())`).Scan(&waiting)
		if err != nil {
			t.Fatal(err)
		}
	}
	batch := new(pgx.Batch)
	pricing.QueueUses(batch, map[string]int{"FIVE": 1})
	if err := first.SendBatch(t.Context(), batch).Close(); err != nil {
		t.Fatal(err)
	}
	if err := first.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := <-second; got != 0 {
		t.Errorf("uses left for the second: got %d, want 0", got)
	}
	wg.Wait()
	if got := usesOf(t, pool, "FIVE"); got != 1 {
		t.Errorf("uses: got %d, want 1", got)
	}
}
