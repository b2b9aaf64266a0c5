package checkout_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/redis/go-redis/v9"

	"doorbuster/app/cart"
	"doorbuster/app/catalog"
	"doorbuster/app/checkout"
	"doorbuster/app/dbtest"
	"doorbuster/app/inventory"
	"doorbuster/app/money"
	"doorbuster/app/payment"
	"doorbuster/app/pricing"
)

func TestMain(m *testing.M) { dbtest.Main(m) }

// What the shop of these tests sells. Everything costs 10.00, a sale price is 6.00.
const (
	lastTen   = "LAST-TEN" // 10 units, all others have 1000
	mug       = "MUG"
	pan       = "PAN"
	oneEach   = "ONE-EACH"  // 1 per customer
	twoEach   = "TWO-EACH"  // 2 per customer
	open      = "OPEN"      // a doorbuster, on sale now
	tomorrow  = "TOMORROW"  // a doorbuster, on sale from tomorrow
	yesterday = "YESTERDAY" // a doorbuster that was on sale yesterday

	tenOff   = "TEN"   // 10 %
	twice    = "TWICE" // 1.00 off, two uses
	oldCode  = "OLD"   // was valid yesterday
	noSuch   = "NOSUCH"
	price    = 1000
	offPrice = 600
)

// shop is a database with a small catalogue and the provider's books.
type shop struct {
	t     testing.TB
	pool  *pgxpool.Pool
	redis *redis.Client
	carts *cart.Store
	sku   map[string]int64
	// provider is the simulated provider as it is when it works; others on the same redis share its books.
	provider *payment.Simulator
	repeats  *atomic.Int64 // transactions that were run again
	log      *slog.Logger
}

func newShop(t testing.TB) *shop {
	t.Helper()
	options, err := redis.ParseURL(dbtest.Redis(t))
	if err != nil {
		t.Fatal(err)
	}
	client := redis.NewClient(options)
	t.Cleanup(func() { client.Close() })
	s := &shop{t: t, pool: dbtest.Pool(t), redis: client, provider: payment.NewSimulator(client, payment.SimulatorConfig{}), repeats: new(atomic.Int64)}
	s.log = slog.New(repeatCounter{slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}), s.repeats})
	s.carts = cart.NewStore(s.pool)
	usd := func(minor int64) money.Money { return money.Money{Minor: minor, Currency: "USD"} }
	codes := []string{lastTen, mug, pan, oneEach, twoEach, open, tomorrow, yesterday}
	limits := map[string]int{oneEach: 1, twoEach: 2}
	err = pgx.BeginFunc(t.Context(), s.pool, func(tx pgx.Tx) error {
		var now time.Time
		if err := tx.QueryRow(t.Context(), "SELECT now()").Scan(&now); err != nil {
			return err
		}
		var products []catalog.Product
		for _, code := range codes {
			products = append(products, catalog.Product{
				Slug: strings.ToLower(code), Name: code, Description: code, Category: "all", SKUs: []catalog.SKU{{
					Code: code, Name: "Standard", List: usd(price), MaxPerCustomer: limits[code],
					SaleOnly: code == open || code == tomorrow || code == yesterday,
				}},
			})
		}
		if err := catalog.PutTx(t.Context(), tx, []catalog.Category{{Slug: "all", Name: "All"}}, products); err != nil {
			return err
		}
		for code, start := range map[string]time.Time{
			open: now.Add(-time.Hour), tomorrow: now.Add(24 * time.Hour), yesterday: now.Add(-24 * time.Hour),
		} {
			sale := catalog.SaleWindow{
				Slug: strings.ToLower(code), Name: code, StartsAt: start, EndsAt: start.Add(12 * time.Hour),
				PriceMinor: map[string]int64{code: offPrice},
			}
			if err := catalog.PutSaleTx(t.Context(), tx, sale); err != nil {
				return err
			}
		}
		if s.sku, err = catalog.IDsTx(t.Context(), tx, codes); err != nil {
			return err
		}
		units := map[int64]int{}
		for code, id := range s.sku {
			units[id] = 1000
			if code == lastTen {
				units[id] = 10
			}
		}
		if err := inventory.ReceiveTx(t.Context(), tx, units, "opening"); err != nil {
			return err
		}
		from, to := now.Add(-48*time.Hour), now.Add(48*time.Hour)
		return pricing.PutTx(t.Context(), tx, []pricing.Discount{
			{Code: tenOff, Percent: 10, Amount: usd(0), StartsAt: from, EndsAt: to},
			{Code: twice, Amount: usd(100), StartsAt: from, EndsAt: to, MaxUses: 2},
			{Code: oldCode, Percent: 50, Amount: usd(0), StartsAt: from, EndsAt: now.Add(-24 * time.Hour)},
		})
	})
	if err != nil {
		t.Fatalf("open the shop: %v", err)
	}
	return s
}

// repeatCounter counts the transactions that were run again because PostgreSQL asked for it (40P01, 40001).
type repeatCounter struct {
	slog.Handler
	n *atomic.Int64
}

func (c repeatCounter) Handle(ctx context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok && r.Message == "transaction is run again" {
			if pgErr, ok := errors.AsType[*pgconn.PgError](err); ok && (pgErr.Code == "40P01" || pgErr.Code == "40001") {
				c.n.Add(1)
			}
		}
		return true
	})
	return c.Handler.Handle(ctx, r)
}

// worker returns a Service as one worker has it, on the shop's own pool.
func (s *shop) worker(gateway payment.Gateway, cfg checkout.Config) *checkout.Service {
	return s.opened(checkout.New(s.pool, gateway, s.log, cfg))
}

// opened closes a worker at the end of the test.
func (s *shop) opened(w *checkout.Service) *checkout.Service {
	s.t.Cleanup(func() {
		if err := w.Close(context.Background()); err != nil {
			s.t.Error(err)
		}
	})
	return w
}

// bad returns the provider in a bad state, with the same books.
func (s *shop) bad(cfg payment.SimulatorConfig) *payment.Simulator {
	return payment.NewSimulator(s.redis, cfg)
}

// patient is for tests with many transactions at once on a slow machine: no time limit is what they are about.
var patient = checkout.Config{TransactionTimeout: time.Minute, PaymentTimeout: time.Minute, TimeLimit: time.Hour}

// impatient is for providers that never answer. It leaves the database time
// enough, and has no trials during a test.
var impatient = checkout.Config{
	TransactionTimeout: time.Minute, TimeLimit: time.Hour, PaymentTimeout: 20 * time.Millisecond, ProviderPause: time.Hour,
}

// fill puts units into an owner's cart: code, quantity, code, quantity … No
// total is a surprise afterwards: the tests of package app are about those.
func (s *shop) fill(owner uuid.UUID, codesAndQuantities ...any) {
	s.t.Helper()
	for i := 0; i < len(codesAndQuantities); i += 2 {
		code, quantity := fmt.Sprint(codesAndQuantities[i]), codesAndQuantities[i+1].(int)
		if _, err := s.carts.Add(s.t.Context(), owner, s.sku[code], quantity); err != nil {
			s.t.Fatalf("fill the cart: %v", err)
		}
	}
	s.exec("UPDATE cart SET shown_minor = $2, shown_currency = 'USD', refused_key = NULL WHERE owner_id = $1", owner, int64(math.MaxInt64))
}

func (s *shop) discount(owner uuid.UUID, code string) {
	s.t.Helper()
	if err := s.carts.SetDiscount(s.t.Context(), owner, code); err != nil {
		s.t.Fatal(err)
	}
}

// lines returns an owner's cart by code.
func (s *shop) lines(owner uuid.UUID) map[string]int {
	s.t.Helper()
	c, err := s.carts.Get(s.t.Context(), owner)
	if err != nil {
		s.t.Fatal(err)
	}
	lines := map[string]int{}
	for code, id := range s.sku {
		for _, l := range c.Lines {
			if l.SKU == id {
				lines[code] = l.Quantity
			}
		}
	}
	return lines
}

// buyer returns a request of a new owner who has units in the cart.
func (s *shop) buyer(token string, codesAndQuantities ...any) checkout.Request {
	s.t.Helper()
	owner := uuid.New()
	s.fill(owner, codesAndQuantities...)
	return request(owner, token)
}

// request returns a request with a new key and the owner's own address.
func request(owner uuid.UUID, token string) checkout.Request {
	return checkout.Request{Owner: owner, Key: uuid.NewString(), Email: owner.String() + "@example.com", PaymentToken: token}
}

// atAnyPrice is a request of a customer whom no total surprises.
func atAnyPrice(owner uuid.UUID, token string) checkout.Request {
	req := request(owner, token)
	req.ExpectedTotalMinor = new(int64(math.MaxInt64))
	return req
}

// place leaves an order as a worker does that dies after the first step.
func (s *shop) place(req checkout.Request) checkout.Order {
	s.t.Helper()
	all, err := s.worker(s.provider, patient).PlaceAll(s.t.Context(), req)
	if err != nil || all[0].Err != nil {
		s.t.Fatalf("place: %v, %v", err, all)
	}
	return all[0].Order
}

func (s *shop) available(code string) (n int) {
	s.t.Helper()
	s.query("SELECT available FROM stock WHERE sku_id = $1", []any{s.sku[code]}, &n)
	return n
}

// orders counts the orders in a state.
func (s *shop) orders(status checkout.Status) (n int) {
	s.t.Helper()
	s.query("SELECT count(*) FROM orders WHERE status = $1", []any{status}, &n)
	return n
}

// charged reports whether the provider has captured an order's charge.
func (s *shop) charged(order uuid.UUID) bool {
	s.t.Helper()
	amounts, err := s.provider.Captured(s.t.Context(), []uuid.UUID{order})
	if err != nil {
		s.t.Fatal(err)
	}
	_, captured := amounts[order]
	return captured
}

// expire ends the hold of an order, as if its time had gone by.
func (s *shop) expire(order uuid.UUID) {
	s.t.Helper()
	s.exec("UPDATE orders SET hold_expires_at = '-infinity' WHERE id = $1", order)
}

// released waits until a payment lease is given back, which nobody waits for otherwise.
func (s *shop) released(order uuid.UUID) {
	s.t.Helper()
	s.await("SELECT paying_until < now() FROM orders WHERE id = '" + order.String() + "'")
}

// bury ends the payment lease of an order, as if its payer had died some time ago.
func (s *shop) bury(order uuid.UUID) {
	s.t.Helper()
	s.exec("UPDATE orders SET paying_until = '-infinity' WHERE id = $1", order)
}

// exec runs a statement. It may be called by any goroutine.
func (s *shop) exec(sql string, args ...any) {
	s.t.Helper()
	if _, err := s.pool.Exec(s.t.Context(), sql, args...); err != nil {
		s.t.Errorf("%s: %v", sql, err)
	}
}

func (s *shop) query(sql string, args []any, into ...any) {
	s.t.Helper()
	if err := s.pool.QueryRow(s.t.Context(), sql, args...).Scan(into...); err != nil {
		s.t.Fatalf("%s: %v", sql, err)
	}
}

// await waits until a query is true. It waits in the database, and gives up with the test.
func (s *shop) await(sql string) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	for {
		var ok bool
		if err := s.pool.QueryRow(ctx, "SELECT ("+sql+") FROM pg_sleep(0.005)").Scan(&ok); err != nil {
			s.t.Fatalf("wait until %s: %v", sql, err)
		}
		if ok {
			return
		}
	}
}

// lockWaiters is how many transactions of this database wait for another's lock.
const lockWaiters = "(SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock')"

// tables is all that a checkout may write, without what carries no meaning,
// such as allowances of nothing and leases, and without what a customer was
// shown.
var tables = map[string]string{
	"orders":    "SELECT to_jsonb(t) - 'paying_until' - 'hold_expires_at' AS row FROM orders t",
	"lines":     "SELECT to_jsonb(t) AS row FROM order_line t",
	"payment":   "SELECT to_jsonb(t) AS row FROM payment t",
	"cart":      "SELECT to_jsonb(t) - 'updated_at' - 'shown_minor' - 'shown_currency' - 'refused_key' AS row FROM cart t",
	"cart_line": "SELECT to_jsonb(t) - 'added_at' AS row FROM cart_line t",
	"stock":     "SELECT to_jsonb(t) AS row FROM stock t",
	"discount":  "SELECT to_jsonb(t) AS row FROM discount t",
	"allowance": "SELECT to_jsonb(t) AS row FROM allowance t WHERE taken <> 0",
}

// snapshot reads all tables, each as sorted JSON.
func (s *shop) snapshot() map[string][]string {
	s.t.Helper()
	all := map[string][]string{}
	for table, rows := range tables {
		var text []byte
		s.query("SELECT coalesce(jsonb_agg(row ORDER BY row::text), '[]') FROM ("+rows+") AS t", nil, &text)
		var list []json.RawMessage
		if err := json.Unmarshal(text, &list); err != nil {
			s.t.Fatal(err)
		}
		for _, row := range list {
			all[table] = append(all[table], string(row))
		}
	}
	return all
}

// unchanged fails the test when a table is not as it was.
func (s *shop) unchanged(before map[string][]string) {
	s.t.Helper()
	if diff := cmp.Diff(before, s.snapshot()); diff != "" {
		s.t.Errorf("tables have changed (-before +after):\n%s", diff)
	}
}

// dawdle makes every transaction that writes to a table a little longer, so that those who race for its rows meet.
func (s *shop) dawdle(tables ...string) {
	s.t.Helper()
	s.exec("CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.004); RETURN NULL; END $$")
	for _, table := range tables {
		s.exec("CREATE TRIGGER dawdle BEFORE INSERT OR UPDATE ON " + table + " FOR EACH STATEMENT EXECUTE FUNCTION dawdle()")
	}
}

// through returns the shop on a pool of its own with so many connections.
func (s *shop) through(connections int32) *shop {
	s.t.Helper()
	config := s.pool.Config()
	config.MaxConns = connections
	pool, err := pgxpool.NewWithConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(pool.Close)
	other := *s
	other.pool, other.carts = pool, cart.NewStore(pool)
	return &other
}

// crowd runs fn n times at once: all start together.
func crowd(n int, fn func(i int)) {
	var ready, done sync.WaitGroup
	start := make(chan struct{})
	ready.Add(n)
	for i := range n {
		done.Go(func() {
			ready.Done()
			<-start
			fn(i)
		})
	}
	ready.Wait()
	close(start)
	done.Wait()
}

// reached waits until a goroutine has come to a barrier, and fails the test when it ends instead.
func reached[T, R any](t *testing.T, barrier <-chan T, ended <-chan R) (v T) {
	t.Helper()
	select {
	case v = <-barrier:
	case result := <-ended:
		t.Fatalf("it ended before it came to the barrier: %+v", result)
	}
	return v
}

// hooked is the real simulated provider, with a word before and after: to stop at a barrier, to panic, to lie.
type hooked struct {
	payment.Gateway
	charge func(ctx context.Context, c payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error)
	verify func(ctx context.Context, c payment.Charge, next func() (payment.Receipt, error)) (payment.Receipt, error)
	cancel func(ctx context.Context, order uuid.UUID, next func() (payment.Receipt, error)) (payment.Receipt, error)
}

func (h *hooked) Charge(ctx context.Context, c payment.Charge) (payment.Receipt, error) {
	next := func() (payment.Receipt, error) { return h.Gateway.Charge(ctx, c) }
	if h.charge == nil {
		return next()
	}
	return h.charge(ctx, c, next)
}

func (h *hooked) Verify(ctx context.Context, c payment.Charge) (payment.Receipt, error) {
	next := func() (payment.Receipt, error) { return h.Gateway.Verify(ctx, c) }
	if h.verify == nil {
		return next()
	}
	return h.verify(ctx, c, next)
}

func (h *hooked) Cancel(ctx context.Context, order uuid.UUID) (payment.Receipt, error) {
	next := func() (payment.Receipt, error) { return h.Gateway.Cancel(ctx, order) }
	if h.cancel == nil {
		return next()
	}
	return h.cancel(ctx, order, next)
}
