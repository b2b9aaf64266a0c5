package checkout_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// trouble makes PostgreSQL raise an error in the first n events of a trigger on orders.
func (s *shop) trouble(event, code string, n int) {
	s.t.Helper()
	s.exec("CREATE SEQUENCE troubles")
	s.exec(fmt.Sprintf(`CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
		IF nextval('troubles') <= %d THEN RAISE EXCEPTION 'injected' USING ERRCODE = '%s'; END IF;
		RETURN new; END $$`, n, code))
	kind := ""
	if event[:5] == "AFTER" {
		kind = "CONSTRAINT"
	}
	s.exec("CREATE " + kind + " TRIGGER trouble " + event + " EXECUTE FUNCTION trouble()")
}

// troubles is how many events the trigger of trouble has seen.
func (s *shop) troubles() (n int) {
	s.t.Helper()
	s.query("SELECT last_value FROM troubles WHERE is_called", nil, &n)
	return n
}

// A transaction that PostgreSQL wants repeated is repeated, at its COMMIT too, and not for ever; settling that is given
// up gives the payment lease back (E3).
func TestTransactionsAreRunAgain(t *testing.T) {
	t.Parallel()
	const deadlock, serialization, other = "40P01", "40001", "22000"
	place, settle, commit := "BEFORE INSERT ON orders FOR EACH ROW", "BEFORE UPDATE OF status ON orders FOR EACH ROW",
		"AFTER INSERT ON orders DEFERRABLE INITIALLY DEFERRED FOR EACH ROW"
	for name, c := range map[string]struct {
		event, code string
		failures    int
		tries       int
		want        checkout.Status // "": an error, and nothing has changed
	}{
		"place, deadlock":              {place, deadlock, checkout.MaxTries - 1, checkout.MaxTries, checkout.Confirmed},
		"place, serialization":         {place, serialization, checkout.MaxTries - 1, checkout.MaxTries, checkout.Confirmed},
		"place, deadlocks for ever":    {place, deadlock, 1000, checkout.MaxTries, ""},
		"place, another error":         {place, other, 1000, 1, ""},
		"commit, serialization":        {commit, serialization, checkout.MaxTries - 1, checkout.MaxTries, checkout.Confirmed},
		"commit, another error":        {commit, other, 1000, 1, ""},
		"settle, deadlock":             {settle, deadlock, checkout.MaxTries - 1, checkout.MaxTries, checkout.Confirmed},
		"settle, another error, twice": {settle, other, 2, 3, checkout.Confirmed},
		"settle, deadlocks for ever":   {settle, deadlock, 1000, checkout.MaxTries, checkout.Pending},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(payment.TokenOK, mug, 1)
			s.trouble(c.event, c.code, c.failures)
			before := s.snapshot()
			result, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
			switch {
			case c.want == "":
				if pgErr, ok := errors.AsType[*pgconn.PgError](err); !ok || pgErr.Code != c.code {
					t.Errorf("got %+v, %v, want PostgreSQL's %s", result, err, c.code)
				}
				s.unchanged(before)
			case err != nil || result.Order.Status != c.want:
				t.Errorf("got %+v, %v, want %s", result, err, c.want)
			}
			if n := s.troubles(); n != c.tries {
				t.Errorf("tried %d times, want %d", n, c.tries)
			}
			s.checkBooks()
			if c.failures < 1000 {
				return
			}
			s.exec("DROP TRIGGER trouble ON orders")
			s.await("SELECT count(*) = 0 FROM orders WHERE paying_until > now()")
			again, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
			if err != nil || again.Order.Status != checkout.Confirmed || again.Replayed != (c.want == checkout.Pending) {
				t.Errorf("repeated: got %+v, %v, want a confirmed order", again, err)
			}
			s.checkBooks()
		})
	}
}

// wire is the network between a worker and PostgreSQL. It dies in the middle of a COMMIT, once, in one of these ways.
type wire struct {
	mu   sync.Mutex
	nth  int // the COMMIT that is cut, from 1
	cut  func(*wireConn, []byte) (int, error)
	done bool
	held chan func() error // sends a COMMIT that was held back
	mute net.Conn          // that was silenced
	dial pgconn.DialFunc
}

// The COMMIT never gets there.
func cutBefore(c *wireConn, _ []byte) (int, error) {
	return 0, errors.Join(net.ErrClosed, c.Conn.Close())
}

// The COMMIT is carried out; its answer never comes.
func cutAfter(c *wireConn, b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		_, err = c.Conn.Read(make([]byte, 4096)) // the answer: now it has happened
	}
	c.dead = true
	return n, errors.Join(err, c.Conn.Close())
}

// The COMMIT is answered with what a pooler says whose server has died: a message, and no answer all the same.
func cutAfterWithMessage(c *wireConn, b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		_, err = c.Conn.Read(make([]byte, 4096))
	}
	fields := "SFATAL\x00VFATAL\x00C08P01\x00Mserver conn crashed?\x00\x00"
	c.instead = bytes.NewReader(append([]byte{'E', 0, 0, 0, byte(len(fields) + 4)}, fields...))
	return n, errors.Join(err, c.Conn.Close())
}

// The worker's side is dead while the COMMIT is still on its way.
func (w *wire) holdBack(c *wireConn, b []byte) (int, error) {
	c.dead = true
	message := bytes.Clone(b)
	w.held <- func() error {
		_, err := c.Conn.Write(message)
		if err == nil {
			_, err = c.Conn.Read(make([]byte, 4096))
		}
		return errors.Join(err, c.Conn.Close())
	}
	return len(b), nil
}

// The COMMIT is carried out; its answer never comes, and nothing says that the connection is lost.
func cutSilently(c *wireConn, b []byte) (int, error) {
	n, err := c.Conn.Write(b)
	if err == nil {
		_, err = c.Conn.Read(make([]byte, 4096))
	}
	c.mute, c.wire.mute = true, c.Conn
	return n, err
}

// wireConn is one connection. pgx uses it from one goroutine at a time.
type wireConn struct {
	net.Conn
	wire    *wire
	dead    bool
	mute    bool
	instead io.Reader
}

var commitMessage = []byte("Q\x00\x00\x00\x0bcommit\x00")

func (c *wireConn) Write(b []byte) (int, error) {
	if c.dead {
		return 0, net.ErrClosed
	}
	if c.mute {
		return len(b), nil
	}
	if bytes.Equal(b, commitMessage) && c.wire.due() {
		return c.wire.cut(c, b)
	}
	return c.Conn.Write(b)
}

func (c *wireConn) Read(b []byte) (int, error) {
	switch {
	case c.dead:
		return 0, io.ErrUnexpectedEOF
	case c.instead != nil:
		return c.instead.Read(b)
	}
	return c.Conn.Read(b)
}

func (c *wireConn) Close() error {
	if c.dead {
		return nil // the far end does not know yet
	}
	return c.Conn.Close()
}

// due counts COMMITs and reports whether this is the one.
func (w *wire) due() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.nth--
	if w.nth == 0 {
		w.done = true
	}
	return w.nth == 0
}

// workerOn returns a worker whose network cuts the nth COMMIT.
func (s *shop) workerOn(w *wire, cfg checkout.Config) *checkout.Service {
	s.t.Helper()
	return s.workerOnOf(w, cfg, s.pool.Config().MaxConns)
}

// workerOnOf is workerOn with so many connections for batches.
func (s *shop) workerOnOf(w *wire, cfg checkout.Config, connections int32) *checkout.Service {
	s.t.Helper()
	config := s.pool.Config()
	config.MaxConns = connections
	config.ConnConfig.TLSConfig, config.ConnConfig.Fallbacks = nil, nil // to see what is said
	w.dial, w.held = config.ConnConfig.DialFunc, make(chan func() error, 1)
	config.ConnConfig.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := w.dial(ctx, network, addr)
		if err != nil {
			return nil, err
		}
		return &wireConn{Conn: conn, wire: w}, nil
	}
	pool, err := pgxpool.NewWithConfig(s.t.Context(), config)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() {
		pool.Close()
		if !w.done {
			s.t.Error("no COMMIT was cut")
		}
	})
	return s.opened(checkout.New(pool, s.provider, s.log, cfg))
}

// Promise E3: no acknowledged order is lost and none is charged twice when the connection dies in the middle of COMMIT.
// An order that was committed is answered as such; of one that was not, nothing is left, and a repeat buys.
func TestCommitWithoutAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cut   func(*wireConn, []byte) (int, error)
		token string
		nth   int // 1: Place, 2: Settle
		want  error
	}{
		"place, committed":                         {cutAfter, payment.TokenOK, 1, nil},
		"place, committed, with a message":         {cutAfterWithMessage, payment.TokenOK, 1, nil},
		"place, not committed":                     {cutBefore, payment.TokenOK, 1, checkout.ErrBusy},
		"settle, committed":                        {cutAfter, payment.TokenOK, 2, nil},
		"settle, not committed":                    {cutBefore, payment.TokenOK, 2, nil},
		"settle of a declined card, committed":     {cutAfter, payment.TokenDeclined, 2, nil},
		"settle of a declined card, not committed": {cutBefore, payment.TokenDeclined, 2, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(c.token, mug, 1, oneEach, 1)
			before := s.snapshot()
			w := s.workerOn(&wire{nth: c.nth, cut: c.cut}, patient)
			status := checkout.Confirmed
			if c.token == payment.TokenDeclined {
				status = checkout.Cancelled
			}
			first, err := w.Checkout(t.Context(), req)
			switch {
			case !errors.Is(err, c.want) || c.want == nil && err != nil:
				t.Errorf("got %+v, %v, want error %v", first, err, c.want)
			case err == nil && (first.Order.Status != status || first.Order.Number == 0 || first.Replayed):
				t.Errorf("got %+v, want a new order, %s", first, status)
			case err != nil:
				s.unchanged(before)
			}
			s.checkBooks()
			again, err := w.Checkout(t.Context(), req)
			if err != nil || again.Order.Status != status || again.Replayed != (c.want == nil) {
				t.Errorf("repeated: got %+v, %v, want %s, and a replay of what was answered", again, err, status)
			}
			var orders int
			if s.query("SELECT count(*) FROM orders", nil, &orders); orders != 1 {
				t.Errorf("got %d orders, want 1", orders)
			}
			s.checkBooks()
		})
	}
}

// Promise E3: "not committed" is said only of what never will be. Here the COMMIT is still on its way when the worker
// looks the order up.
func TestCommitStillOnItsWay(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	network := &wire{nth: 1}
	network.cut = network.holdBack
	w := s.workerOn(network, patient)
	done := make(chan checkout.Result)
	go func() {
		result, err := w.Checkout(t.Context(), req)
		if err != nil {
			t.Errorf("got %v, want a confirmed order", err)
		}
		done <- result
	}()
	deliver := reached(t, network.held, done)
	// The look-up waits for the transaction to end, or has been answered too early.
	early := func() bool {
		for {
			var waiting bool
			s.query("SELECT "+lockWaiters+" = 1 FROM pg_sleep(0.005)", nil, &waiting)
			if waiting {
				return false
			}
			select {
			case <-done:
				return true
			default:
			}
		}
	}()
	if err := deliver(); err != nil {
		t.Fatal(err)
	}
	if early {
		t.Fatal("answered while the COMMIT was on its way")
	}
	if result := <-done; result.Order.Status != checkout.Confirmed || result.Replayed {
		t.Errorf("got %+v, want a confirmed order", result)
	}
	s.checkBooks()
}

// A worker whose batches have one connection, as with three or four in all,
// looks an order up on one of another class: it can't wait for the one that is
// lost.
func TestLookUpHasAConnection(t *testing.T) {
	t.Parallel()
	for name, background := range map[string]bool{"3 connections": false, "4 connections": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			req := s.buyer(payment.TokenOK, mug, 1)
			network := &wire{nth: 1, cut: cutSilently}
			cfg := checkout.Config{
				TransactionTimeout: 3 * time.Second, PaymentTimeout: time.Minute,
				Reads: s.tracedPool(&onQuery{"checkout.committed", func() { network.mute.Close() }}), // the loss is noticed at last
			}
			if background {
				cfg.Background = s.through(1).pool
			}
			result, err := s.workerOnOf(network, cfg, 1).Checkout(t.Context(), req)
			if err != nil || result.Order.ID == uuid.Nil {
				t.Errorf("got %+v, %v, want the order", result, err)
			}
			s.exec("UPDATE orders SET paying_until = '-infinity'")
			got, err := s.worker(s.provider, patient).Checkout(t.Context(), req)
			if err != nil || got.Order.ID != result.Order.ID || got.Order.Status != checkout.Confirmed {
				t.Errorf("repeated: got %+v, %v, want it confirmed", got, err)
			}
			s.checkBooks()
		})
	}
}

// When the database can't be asked either, the answer is that nobody knows: repeat with the same key (E3).
func TestCommitWithoutAnswerAndNobodyToAsk(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	network := &wire{nth: 1, cut: cutAfter}
	w := s.workerOn(network, patient)
	dial := network.dial
	network.dial = func(ctx context.Context, netw, addr string) (net.Conn, error) {
		network.mu.Lock()
		defer network.mu.Unlock()
		if network.done {
			return nil, errors.New("no route")
		}
		return dial(ctx, netw, addr)
	}
	if result, err := w.Checkout(t.Context(), req); !errors.Is(err, checkout.ErrBusy) {
		t.Errorf("got %+v, %v, want %v", result, err, checkout.ErrBusy)
	}
	other := s.worker(s.provider, patient)
	if _, err := other.Checkout(t.Context(), req); !errors.Is(err, checkout.ErrInFlight) {
		t.Errorf("repeated at once: got %v, want %v", err, checkout.ErrInFlight)
	}
	s.exec("UPDATE orders SET paying_until = '-infinity'") // time goes by
	got, err := other.Checkout(t.Context(), req)
	if err != nil || got.Order.Status != checkout.Confirmed || got.Order.ID == uuid.Nil {
		t.Errorf("repeated later: got %+v, %v, want it confirmed", got, err)
	}
	s.checkBooks()
}

// Time limits end a wait for a lock; nothing is left of the order (E3).
func TestPlaceTimesOut(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	before := s.snapshot()
	holder, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback(t.Context())
	if _, err := holder.Exec(t.Context(), "SELECT FROM stock FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	_, err = s.worker(s.provider, checkout.Config{TransactionTimeout: 100 * time.Millisecond}).Checkout(t.Context(), req)
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want %v", err, context.DeadlineExceeded)
	}
	if err := holder.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	s.unchanged(before)
	s.buy(req)
	s.checkBooks()
}

// A panic in the middle of a transaction keeps neither the connection nor a lock, and others out of nothing: the shop goes on.
// An order that is placed is answered as such (E3, W8).
func TestPanicInATransaction(t *testing.T) {
	t.Parallel()
	for statement, panics := range map[string]bool{"checkout.prior": true, "checkout.lock_orders": false} {
		s := newShop(t)
		w := s.traced(&onQuery{statement, func() { panic("boom") }}, s.provider)
		req := s.buyer(payment.TokenOK, mug, 1)
		func() {
			defer func() {
				if cause := recover(); (cause != nil) != panics {
					t.Errorf("%s: panic: %v", statement, cause)
				}
			}()
			if result, err := w.Checkout(t.Context(), req); err != nil || result.Order.Status != checkout.Pending {
				t.Errorf("%s: got %+v, %v", statement, result, err)
			}
		}()
		s.exec("UPDATE orders SET paying_until = '-infinity'")
		if got, err := w.Checkout(t.Context(), req); err != nil || got.Order.Status != checkout.Confirmed {
			t.Errorf("%s: repeated: got %+v, %v, want a confirmed order", statement, got, err)
		}
		s.checkBooks()
	}
}
