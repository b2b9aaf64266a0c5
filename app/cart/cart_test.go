package cart_test

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/cart"
	"doorbuster/app/dbtest"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// shop is a database in which nobody has a cart yet.
type shop struct {
	*testing.T
	pool  *pgxpool.Pool
	store *cart.Store
}

// open makes a shop. The options change the connections.
func open(t *testing.T, options ...func(*pgxpool.Config)) shop {
	t.Helper()
	cfg, err := pgxpool.ParseConfig(dbtest.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	cfg.MaxConns = 25 // changes that really are at work at once
	for _, change := range options {
		change(cfg)
	}
	pool, err := pgxpool.NewWithConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pool.Close)
	return shop{t, pool, cart.NewStore(pool)}
}

// unchanging leaves out when a cart was changed.
var unchanging = cmpopts.IgnoreFields(cart.Cart{}, "Changed")

func (s shop) get(owner uuid.UUID) cart.Cart {
	s.Helper()
	c, err := s.store.Get(s.Context(), owner)
	if err != nil {
		s.Fatal(err)
	}
	return c
}

func (s shop) add(owner uuid.UUID, sku int64, quantity int) {
	s.Helper()
	if _, err := s.store.Add(s.Context(), owner, sku, quantity); err != nil {
		s.Errorf("add %d of %d: %v", quantity, sku, err)
	}
}

func (s shop) set(owner uuid.UUID, sku int64, quantity int) {
	s.Helper()
	if _, err := s.store.Set(s.Context(), owner, sku, quantity); err != nil {
		s.Errorf("set %d of %d: %v", quantity, sku, err)
	}
}

func (s shop) remove(owner uuid.UUID, sku int64) {
	s.Helper()
	if err := s.store.Remove(s.Context(), owner, sku); err != nil {
		s.Errorf("remove %d: %v", sku, err)
	}
}

func (s shop) discount(owner uuid.UUID, code string) {
	s.Helper()
	if err := s.store.SetDiscount(s.Context(), owner, code); err != nil {
		s.Errorf("discount %q: %v", code, err)
	}
}

func (s shop) wantLines(owner uuid.UUID, want ...cart.Line) {
	s.Helper()
	if diff := cmp.Diff(want, s.get(owner).Lines); diff != "" {
		s.Errorf("lines (-want +got):\n%s", diff)
	}
}

// atOnce runs do in n goroutines that start together.
func atOnce(n int, do func(i int)) {
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-start
			do(i)
		})
	}
	close(start)
	wg.Wait()
}

func TestChanges(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	owner, other := uuid.New(), uuid.New()
	if diff := cmp.Diff(cart.Cart{}, s.get(owner)); diff != "" {
		t.Errorf("a cart that was never used (-want +got):\n%s", diff)
	}
	s.add(other, 7, 1)

	s.add(owner, 7, 2)
	id := s.get(owner).ID
	s.add(owner, 3, 1)
	s.add(owner, 9, 4)
	s.add(owner, 7, 3)
	s.wantLines(owner, cart.Line{SKU: 7, Quantity: 5}, cart.Line{SKU: 3, Quantity: 1}, cart.Line{SKU: 9, Quantity: 4})
	s.set(owner, 7, 2)
	s.set(owner, 7, 2)
	s.set(owner, 1, 8)
	s.remove(owner, 3)
	s.remove(owner, 3)
	s.remove(owner, 12345)
	s.wantLines(owner, cart.Line{SKU: 7, Quantity: 2}, cart.Line{SKU: 9, Quantity: 4}, cart.Line{SKU: 1, Quantity: 8})
	if got := s.get(owner).ID; id == uuid.Nil || got != id {
		t.Errorf("id of the filling: got %s, want %s still", got, id)
	}
	for _, sku := range []int64{7, 9, 1} {
		s.remove(owner, sku)
	}
	if diff := cmp.Diff(cart.Cart{ID: id}, s.get(owner), unchanging); diff != "" {
		t.Errorf("after all was removed (-want +got):\n%s", diff)
	}
	s.wantLines(other, cart.Line{SKU: 7, Quantity: 1})
	s.remove(uuid.New(), 7) // who never had a cart
}

func TestDiscountCode(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	if err := s.store.SetDiscount(t.Context(), owner, "TEN"); !errors.Is(err, cart.ErrNoCart) {
		t.Errorf("without a cart: got %v, want ErrNoCart", err)
	}
	s.add(owner, 7, 1)
	for _, code := range []string{"TEN", "TWENTY", "", ""} {
		s.discount(owner, code)
		got := s.get(owner)
		if got.Discount != code || len(got.Lines) != 1 {
			t.Errorf("got code %q and lines %v, want %q and the line", got.Discount, got.Lines, code)
		}
	}
}

// E2: adds of two browser tabs, or of a finger that shakes, add up.
func TestAddsAtOnceAddUp(t *testing.T) {
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	atOnce(100, func(int) { s.add(owner, 7, 1) })
	s.wantLines(owner, cart.Line{SKU: 7, Quantity: 100})
}

// E2: different SKUs and different ways to change them do not disturb each other.
func TestChangesAtOnceStayApart(t *testing.T) {
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	s.add(owner, 4, 1)
	atOnce(40, func(i int) {
		switch sku := int64(i % 4); sku {
		case 0, 1:
			s.add(owner, sku, 2)
		case 2:
			s.set(owner, sku, 5)
		case 3:
			s.remove(owner, 4)
		}
	})
	got := s.get(owner).Lines
	slices.SortFunc(got, func(a, b cart.Line) int { return int(a.SKU - b.SKU) })
	if diff := cmp.Diff([]cart.Line{{SKU: 0, Quantity: 20}, {SKU: 1, Quantity: 20}, {SKU: 2, Quantity: 5}}, got); diff != "" {
		t.Errorf("lines (-want +got):\n%s", diff)
	}
}

func TestQuantityIsLimited(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	wants := func(what string, err, want error) {
		t.Helper()
		if !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", what, err, want)
		}
	}
	wants("add too many to nothing", failed(s.store.Add(t.Context(), owner, 7, cart.MaxQuantity+1)), cart.ErrTooMany)
	wants("set too many", failed(s.store.Set(t.Context(), owner, 7, cart.MaxQuantity+1)), cart.ErrTooMany)
	s.wantLines(owner)
	s.set(owner, 7, cart.MaxQuantity)
	wants("add one to a full line", failed(s.store.Add(t.Context(), owner, 7, 1)), cart.ErrTooMany)
	s.wantLines(owner, cart.Line{SKU: 7, Quantity: cart.MaxQuantity})
	s.add(owner, 8, 1) // another SKU

	for _, quantity := range []int{0, -1} { // the HTTP edge refuses these before
		if _, err := s.store.Add(t.Context(), owner, 8, quantity); err == nil {
			t.Errorf("add %d: got no error, want one", quantity)
		}
		if _, err := s.store.Set(t.Context(), owner, 8, quantity); err == nil {
			t.Errorf("set %d: got no error, want one", quantity)
		}
	}
	s.wantLines(owner, cart.Line{SKU: 7, Quantity: cart.MaxQuantity}, cart.Line{SKU: 8, Quantity: 1})

	// Of 30 at once, as many succeed as there is room for.
	s.set(owner, 7, cart.MaxQuantity-10)
	outcomes := make([]error, 30)
	atOnce(len(outcomes), func(i int) { outcomes[i] = failed(s.store.Add(t.Context(), owner, 7, 1)) })
	added := 0
	for _, err := range outcomes {
		if err == nil {
			added++
		} else if !errors.Is(err, cart.ErrTooMany) {
			t.Error(err)
		}
	}
	if added != 10 {
		t.Errorf("adds that succeeded: got %d, want 10", added)
	}
	s.wantLines(owner, cart.Line{SKU: 7, Quantity: cart.MaxQuantity}, cart.Line{SKU: 8, Quantity: 1})
}

// The constant and the table's constraint are one limit.
func TestTableKnowsMaxQuantity(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	s.add(owner, 7, 1)
	for quantity, allowed := range map[int]bool{0: false, 1: true, cart.MaxQuantity: true, cart.MaxQuantity + 1: false} {
		_, err := s.pool.Exec(t.Context(), "UPDATE cart_line SET quantity = $1", quantity)
		pgErr, ok := errors.AsType[*pgconn.PgError](err)
		if allowed && err != nil || !allowed && (!ok || pgErr.ConstraintName != "cart_line_quantity_check") {
			t.Errorf("quantity %d: got %v, want allowed %v", quantity, err, allowed)
		}
	}
}

func TestLinesAreLimited(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	for sku := range int64(cart.MaxLines) {
		s.add(owner, sku, 1)
	}
	const another = 1000
	for range 2 { // refused changes change nothing
		if _, err := s.store.Add(t.Context(), owner, another, 1); !errors.Is(err, cart.ErrTooManyLines) {
			t.Errorf("add a line to a full cart: got %v, want ErrTooManyLines", err)
		}
		if _, err := s.store.Set(t.Context(), owner, another, 1); !errors.Is(err, cart.ErrTooManyLines) {
			t.Errorf("set a line in a full cart: got %v, want ErrTooManyLines", err)
		}
	}
	s.add(owner, 7, 1) // what is there may grow
	s.set(owner, 8, 2)
	if _, err := s.store.Add(t.Context(), owner, 7, cart.MaxQuantity); !errors.Is(err, cart.ErrTooMany) {
		t.Errorf("too many units in a full cart: got %v, want ErrTooMany", err)
	}
	s.remove(owner, 0)
	s.add(owner, another, 1)

	var want []cart.Line
	for sku := range int64(cart.MaxLines - 1) {
		want = append(want, cart.Line{SKU: sku + 1, Quantity: 1})
	}
	want[6].Quantity, want[7].Quantity = 2, 2
	s.wantLines(owner, append(want, cart.Line{SKU: another, Quantity: 1})...)
}

// E2: the limit of lines holds for changes at once too, and none is refused while there is room.
func TestLinesAreLimitedAtOnce(t *testing.T) {
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	outcomes := make([]error, cart.MaxLines+20)
	atOnce(len(outcomes), func(i int) {
		change := s.store.Add
		if i%2 == 0 {
			change = s.store.Set
		}
		outcomes[i] = failed(change(t.Context(), owner, int64(i), 1))
	})
	added := 0
	for _, err := range outcomes {
		if err == nil {
			added++
		} else if !errors.Is(err, cart.ErrTooManyLines) {
			t.Error(err)
		}
	}
	if got := len(s.get(owner).Lines); got != cart.MaxLines || added != cart.MaxLines {
		t.Errorf("got %d lines of %d changes that succeeded, want %d", got, added, cart.MaxLines)
	}
}

// E2: a commit of a cart change does not wait for the disk; every other commit does. A deferred trigger notes the setting at
// the moment that counts, which is the commit.
func TestOnlyCartChangesCommitWithoutWaiting(t *testing.T) {
	t.Parallel()
	s := open(t, func(cfg *pgxpool.Config) {
		cfg.MaxConns = 1                                                      // so that a setting that stays behind is seen by what comes next
		cfg.ConnConfig.RuntimeParams["synchronous_commit"] = "on"             // whatever the server says
		cfg.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeCacheStatement // as the shop does
	})
	const watch = `
		CREATE TABLE noted (setting text NOT NULL);
		CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$
			BEGIN INSERT INTO noted VALUES (current_setting('synchronous_commit')); RETURN NULL; END $$;
		CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON cart
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();
		CREATE CONSTRAINT TRIGGER note AFTER INSERT OR UPDATE OR DELETE ON cart_line
			DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION note();`
	if _, err := s.pool.Exec(t.Context(), watch); err != nil {
		t.Fatal(err)
	}
	guest, owner := uuid.New(), uuid.New()
	empty := func(ctx context.Context) error {
		return pgx.BeginFunc(ctx, s.pool, func(tx pgx.Tx) error {
			if _, err := cart.LockTx(ctx, tx, []uuid.UUID{owner}); err != nil {
				return err
			}
			batch := new(pgx.Batch)
			cart.QueueEmpty(batch, []uuid.UUID{owner})
			return tx.SendBatch(ctx, batch).Close()
		})
	}
	for _, step := range []struct {
		name    string
		do      func(ctx context.Context) error
		setting string
	}{
		{"first add", func(ctx context.Context) error { return failed(s.store.Add(ctx, guest, 7, 1)) }, "off"},
		{"add", func(ctx context.Context) error { return failed(s.store.Add(ctx, guest, 7, 1)) }, "off"},
		{"set", func(ctx context.Context) error { return failed(s.store.Set(ctx, guest, 8, 2)) }, "off"},
		{"discount", func(ctx context.Context) error { return s.store.SetDiscount(ctx, guest, "TEN") }, "off"},
		{"remove", func(ctx context.Context) error { return s.store.Remove(ctx, guest, 8) }, "off"},
		{"merge", func(ctx context.Context) error { _, err := s.store.Merge(ctx, guest, owner); return err }, "on"},
		{"checkout", empty, "on"},
	} {
		if err := step.do(t.Context()); err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		rows, err := s.pool.Query(t.Context(), "WITH taken AS (DELETE FROM noted RETURNING setting) SELECT DISTINCT setting FROM taken")
		if err != nil {
			t.Fatal(err)
		}
		got, err := pgx.CollectRows(rows, pgx.RowTo[string])
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{step.setting}, got); diff != "" {
			t.Errorf("synchronous_commit at the commit of %s (-want +got):\n%s", step.name, diff)
		}
		var after string
		if err := s.pool.QueryRow(t.Context(), "SHOW synchronous_commit").Scan(&after); err != nil || after != "on" {
			t.Errorf("synchronous_commit after %s: got %s, %v, want on", step.name, after, err)
		}
	}
}

// failed is the error of a change alone.
func failed(_ bool, err error) error { return err }

// What a change has made new is told from what was there, whatever it was set to.
func TestNewLines(t *testing.T) { // E2
	t.Parallel()
	s := open(t)
	owner := uuid.New()
	for i, change := range []func() (bool, error){
		func() (bool, error) { return s.store.Add(t.Context(), owner, 7, 1) },
		func() (bool, error) { return s.store.Add(t.Context(), owner, 7, 1) },
		func() (bool, error) { return s.store.Set(t.Context(), owner, 7, 2) },
		func() (bool, error) { return s.store.Set(t.Context(), owner, 8, 1) },
	} {
		if got, err := change(); err != nil || got != (i == 0 || i == 3) {
			t.Errorf("change %d: new: %t, %v", i, got, err)
		}
	}
}
