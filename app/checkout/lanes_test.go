package checkout_test

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// waiting has patience with rows that are locked.
func waiting() checkout.Config {
	cfg := patient
	cfg.LockPatience = time.Minute
	return cfg
}

// hold locks rows as a psql does that was left open, until the function that it
// returns is called.
func (s *shop) hold(sql string, args ...any) (free func()) {
	s.t.Helper()
	tx, err := s.pool.Begin(s.t.Context())
	if err != nil {
		s.t.Fatal(err)
	}
	tag, err := tx.Exec(s.t.Context(), sql+" FOR UPDATE", args...)
	if err != nil || tag.RowsAffected() == 0 {
		s.t.Fatalf("%s: %v, %v", sql, tag, err)
	}
	return func() { tx.Rollback(context.WithoutCancel(s.t.Context())) }
}

// A row that somebody holds is the trouble of those who need it alone: they wait
// for it, and everybody else's orders are placed, paid and settled meanwhile.
func TestLockedRowIsItsOwnTrouble(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"stock", "cart", "discount"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			w := s.worker(s.provider, waiting())
			needs := s.buyer(payment.TokenOK, mug, 1)
			s.discount(needs.Owner, twice)
			var free func()
			switch name {
			case "stock":
				free = s.hold("SELECT FROM stock WHERE sku_id = $1", s.sku[mug])
			case "cart":
				free = s.hold("SELECT FROM cart WHERE owner_id = $1", needs.Owner)
			case "discount":
				free = s.hold("SELECT FROM discount WHERE code = $1", twice)
			}
			defer free()
			done := make(chan error, 1)
			go func() {
				result, err := w.Checkout(t.Context(), needs)
				if err == nil && result.Order.Status != checkout.Confirmed {
					err = errors.New(string(result.Order.Status))
				}
				done <- err
			}()
			for range 3 { // in the same batches, before and after it is known
				if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenOK, pan, 1)); err != nil || result.Order.Status != checkout.Confirmed {
					t.Errorf("got %+v, %v, want a confirmed order", result, err)
				}
				if result, err := w.Checkout(t.Context(), s.buyer(payment.TokenDeclined, pan, 1)); err != nil || result.Order.CancelReason != checkout.ReasonDeclined {
					t.Errorf("got %+v, %v, want it declined", result, err)
				}
			}
			select {
			case err := <-done:
				t.Errorf("it did not wait for the row: %v", err)
			default:
			}
			free()
			if err := <-done; err != nil {
				t.Errorf("when the row is free: %v", err)
			}
			s.checkBooks()
		})
	}
}

// The third step goes around locked rows, too: what is confirmed needs its order
// alone, and what is cancelled waits for the rows that it gives back to.
func TestLockedRowInSettle(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	w := s.worker(s.provider, waiting())
	var orders []checkout.Order
	for _, code := range []string{mug, mug, pan, pan, pan} {
		orders = append(orders, s.place(s.buyer(payment.TokenOK, code, 1)))
	}
	for _, o := range []checkout.Order{orders[0], orders[2]} {
		if _, err := s.provider.Charge(t.Context(), payment.Charge{Order: o.ID, Amount: o.Total, Token: payment.TokenOK}); err != nil {
			t.Fatal(err)
		}
	}
	captured := func(o checkout.Order) checkout.Ending {
		return checkout.Ending{Order: o.ID, Total: o.Total, Receipt: payment.Receipt{Captured: true, Amount: o.Total, Reference: "ch_" + o.ID.String()}}
	}
	expired := func(o checkout.Order) checkout.Ending {
		return checkout.Ending{Order: o.ID, Reason: checkout.ReasonExpired}
	}
	free := s.hold("SELECT FROM stock WHERE sku_id = $1", s.sku[mug])
	freeOrder := s.hold("SELECT FROM orders WHERE id = $1", orders[4].ID)
	ends := []checkout.Ending{captured(orders[0]), expired(orders[1]), captured(orders[2]), expired(orders[3]), captured(orders[4])}
	want := []checkout.Status{checkout.Confirmed, "", checkout.Confirmed, checkout.Cancelled, ""}
	got, errs := w.SettleBatch(ends...)
	for i := range ends {
		if putOff := errors.Is(errs[i], checkout.ErrPutOff); putOff != (want[i] == "") || !putOff && (errs[i] != nil || got[i].Status != want[i]) {
			t.Errorf("settlement %d: got %s, %v, want %q", i, got[i].Status, errs[i], want[i])
		}
	}
	free()
	freeOrder()
	w = s.worker(s.provider, waiting()) // that suspects nobody
	for i, status := range map[int]checkout.Status{1: checkout.Cancelled, 4: checkout.Confirmed} {
		if got, errs := w.SettleBatch(ends[i]); errs[0] != nil || got[0].Status != status {
			t.Errorf("settlement %d when it is free: got %s, %v, want %s", i, got[0].Status, errs[0], status)
		}
	}
}

// wanderings hears of the batches that have to go around locked rows.
type wanderings struct {
	slog.Handler
	heard func()
}

func (h wanderings) Handle(ctx context.Context, r slog.Record) error {
	if r.Message == "a batch goes around locked rows" {
		h.heard()
	}
	return h.Handler.Handle(ctx, r)
}

// A locked row costs the others one wait, not one for each order that needs it:
// it is remembered.
func TestLockedRowIsRemembered(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	var around atomic.Int32
	s.log = slog.New(wanderings{s.log.Handler(), func() { around.Add(1) }})
	w := s.worker(s.provider, waiting())
	w.Suspect(time.Hour)
	free := s.hold("SELECT FROM stock WHERE sku_id = $1", s.sku[mug])
	defer free()
	for range 5 {
		placed := w.PlaceBatch(s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, pan, 1), s.buyer(payment.TokenOK, mug, 1, pan, 1))
		for i, putOff := range []bool{true, false, true} {
			if errors.Is(placed[i].Err, checkout.ErrPutOff) != putOff || !putOff && placed[i].Err != nil {
				t.Errorf("order %d: got %v, want it put off: %t", i, placed[i].Err, putOff)
			}
		}
	}
	if around.Load() != 1 {
		t.Errorf("%d batches went around the row, want the first alone", around.Load())
	}
	free()
	s.exec("UPDATE stock SET available = available") // it can be had again
	w.Suspect(0)
	w.PlaceBatch(s.buyer(payment.TokenOK, pan, 1))
	for _, p := range w.PlaceBatch(s.buyer(payment.TokenOK, pan, 1)) {
		if p.Err != nil {
			t.Error(p.Err)
		}
	}
}

// The wait for a locked row is bounded, and changes nothing.
func TestLockedRowForTooLong(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	cfg := patient
	cfg.LockPatience = 1
	w := s.worker(s.provider, cfg)
	req, repeat := s.buyer(payment.TokenOK, mug, 1), s.buyer(payment.TokenOK, pan, 1)
	order := s.place(repeat)
	s.bury(order.ID)
	free := s.hold("SELECT FROM stock WHERE sku_id = $1", s.sku[mug])
	freeOrder := s.hold("SELECT FROM orders WHERE id = $1", order.ID)
	before := s.snapshot()
	if result, err := w.Checkout(t.Context(), req); !errors.Is(err, checkout.ErrBusy) {
		t.Errorf("got %+v, %v, want %v", result, err, checkout.ErrBusy)
	}
	if result, err := w.Checkout(t.Context(), repeat); !errors.Is(err, checkout.ErrInFlight) {
		t.Errorf("somebody has the order: got %+v, %v, want %v", result, err, checkout.ErrInFlight)
	}
	s.unchanged(before)
	free()
	freeOrder()
	s.buy(req)
	if result, err := w.Checkout(t.Context(), repeat); err != nil || result.Order.Status != checkout.Confirmed {
		t.Errorf("when it is free: got %+v, %v, want it confirmed", result, err)
	}
	s.checkBooks()
}

// A worker that is stuck in the middle of a transaction loses it, and its locks,
// soon; a whole table that is locked for a moment, as by a migration, is waited
// for.
func TestTransactionsAreSetUp(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for sql, want := range map[string][2]string{checkout.BeginBriefly: {"2s", "250ms"}, checkout.BeginAround: {"2s", ""}} {
		tx, err := s.pool.BeginTx(t.Context(), pgx.TxOptions{BeginQuery: sql})
		if err != nil {
			t.Fatal(err)
		}
		var idle, lock string
		if err := tx.QueryRow(t.Context(), "SELECT current_setting('idle_in_transaction_session_timeout'), current_setting('lock_timeout')").Scan(&idle, &lock); err != nil {
			t.Fatal(err)
		}
		if idle != want[0] || want[1] != "" && lock != want[1] {
			t.Errorf("%s: got %s and %s", sql, idle, lock)
		}
		if err := tx.Rollback(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	around, done := make(chan struct{}, 1), make(chan error, 1)
	s.log = slog.New(wanderings{s.log.Handler(), func() { around <- struct{}{} }})
	tx, err := s.pool.Begin(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Exec(t.Context(), "LOCK TABLE stock IN ACCESS EXCLUSIVE MODE"); err != nil {
		t.Fatal(err)
	}
	req := s.buyer(payment.TokenOK, pan, 1)
	go func() {
		_, err := s.worker(s.provider, waiting()).Checkout(t.Context(), req)
		done <- err
	}()
	reached(t, around, done) // it has waited briefly, and in vain
	s.await("SELECT count(*) > 0 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
	if err := tx.Rollback(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	s.checkBooks()
}

// A row that is busy, and not held, goes on being sold by all workers while another row is held, whatever the order of their
// locks: nobody keeps the one for as long as it waits for the other.
func TestLockedRowBesideABusyOne(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	low, high := mug, pan
	if s.sku[low] > s.sku[high] {
		low, high = high, low
	}
	workers := []*checkout.Service{s.worker(s.provider, waiting()), s.worker(s.provider, waiting())}
	free := s.hold("SELECT FROM stock WHERE sku_id = $1", s.sku[high])
	defer free()
	var both sync.WaitGroup
	for i := range 2 { // who needs both waits for the one that is held
		both.Go(func() {
			if result, err := workers[i].Checkout(t.Context(), s.buyer(payment.TokenOK, low, 1, high, 1)); err != nil || result.Order.Status != checkout.Confirmed {
				t.Errorf("both: got %+v, %v, want a confirmed order", result, err)
			}
		})
	}
	crowd(8, func(i int) {
		for range 3 {
			if result, err := workers[i%2].Checkout(t.Context(), s.buyer(payment.TokenOK, low, 1)); err != nil || result.Order.Status != checkout.Confirmed {
				t.Errorf("got %+v, %v, want a confirmed order", result, err)
			}
		}
	})
	free()
	both.Wait()
	s.checkBooks()
}

// Rows that nobody looks for before a batch, such as allowances and the lines of a cart, are the trouble of one order as well.
func TestLockedRowInAnotherTable(t *testing.T) {
	t.Parallel()
	for name, lock := range map[string]func(s *shop, owner uuid.UUID) func(){
		"allowance": func(s *shop, owner uuid.UUID) func() {
			s.exec("INSERT INTO allowance (sku_id, customer, taken) VALUES ($1, $2, 0)", s.sku[twoEach], "owner:"+owner.String())
			return s.hold("SELECT FROM allowance WHERE customer = $1", "owner:"+owner.String())
		},
		"cart line": func(s *shop, owner uuid.UUID) func() {
			return s.hold("SELECT FROM cart_line WHERE owner_id = $1", owner)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			w := s.worker(s.provider, waiting())
			needs := s.buyer(payment.TokenOK, twoEach, 1)
			free := lock(s, needs.Owner)
			defer free()
			placed := w.PlaceBatch(s.buyer(payment.TokenOK, pan, 1), needs, s.buyer(payment.TokenOK, pan, 1), s.buyer(payment.TokenOK, twoEach, 1))
			for i, p := range placed {
				if putOff := i == 1; errors.Is(p.Err, checkout.ErrPutOff) != putOff || !putOff && p.Err != nil {
					t.Errorf("order %d: got %v, want it put off: %t", i, p.Err, putOff)
				}
			}
			free()
			if result, err := w.Checkout(t.Context(), needs); err != nil || result.Order.Status != checkout.Confirmed {
				t.Errorf("when it is free: got %+v, %v, want a confirmed order", result, err)
			}
			s.checkBooks()
		})
	}
}
