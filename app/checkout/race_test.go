package checkout_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/jackc/pgx/v5"

	"doorbuster/app/checkout"
	"doorbuster/app/payment"
)

// Promise E3: never oversold, never undersold. The crowd is larger than the pool, and comes to two workers.
func TestLastUnits(t *testing.T) {
	t.Parallel()
	const buyers, units = 50, 10
	s := newShop(t).through(3)
	s.dawdle("stock")
	workers := []*checkout.Service{s.worker(s.provider, patient), s.worker(s.provider, patient)}
	var reqs []checkout.Request
	for range buyers {
		reqs = append(reqs, s.buyer(payment.TokenOK, lastTen, 1))
	}
	var confirmed, soldOut atomic.Int32
	crowd(buyers, func(i int) {
		result, err := workers[i%2].Checkout(t.Context(), reqs[i])
		switch _, short := errors.AsType[*checkout.OutOfStock](err); {
		case short:
			soldOut.Add(1)
		case err == nil && result.Order.Status == checkout.Confirmed && !result.Replayed:
			confirmed.Add(1)
		default:
			t.Errorf("got %+v, %v", result, err)
		}
	})
	if confirmed.Load() != units || soldOut.Load() != buyers-units {
		t.Errorf("got %d orders and %d sold out, want %d and %d", confirmed.Load(), soldOut.Load(), units, buyers-units)
	}
	if n := s.orders(checkout.Confirmed); n != units || s.available(lastTen) != 0 {
		t.Errorf("got %d orders and %d units left, want %d and 0", n, s.available(lastTen), units)
	}
	s.checkBooks()
}

// Promise E3: the limit per customer holds for two guests with one address who come together.
func TestLimitPerCustomerInACrowd(t *testing.T) {
	t.Parallel()
	const guests = 12
	s := newShop(t).through(8)
	s.dawdle("stock")
	workers := []*checkout.Service{s.worker(s.provider, patient), s.worker(s.provider, patient)}
	var reqs []checkout.Request
	for range guests {
		req := s.buyer(payment.TokenOK, mug, 1, oneEach, 1)
		req.Email = "one@example.com"
		reqs = append(reqs, req)
	}
	var bought atomic.Int32
	crowd(guests, func(i int) {
		_, err := workers[i%2].Checkout(t.Context(), reqs[i])
		if _, refused := errors.AsType[*checkout.LimitReached](err); err == nil {
			bought.Add(1)
		} else if !refused {
			t.Errorf("got %v", err)
		}
	})
	if bought.Load() != 1 {
		t.Errorf("got %d orders, want 1", bought.Load())
	}
	s.checkBooks()
}

// A code with two uses is used twice, whoever comes together (E3).
func TestLimitedDiscountInACrowd(t *testing.T) {
	t.Parallel()
	const buyers = 10
	s := newShop(t).through(8)
	s.dawdle("stock")
	w := s.worker(s.provider, patient)
	var reqs []checkout.Request
	for range buyers {
		req := s.buyer(payment.TokenOK, mug, 1)
		s.discount(req.Owner, twice)
		reqs = append(reqs, req)
	}
	crowd(buyers, func(i int) {
		if _, err := w.Checkout(t.Context(), reqs[i]); err != nil && err.Error() != "discount TWICE has been used up" {
			t.Errorf("got %v", err)
		}
	})
	if n := s.orders(checkout.Confirmed); n != 2 {
		t.Errorf("got %d orders, want 2", n)
	}
	s.checkBooks()
}

// Locks are taken in one order everywhere, so carts with the same SKUs in different orders, logins, repeats, sweeps and
// cancellations at once never deadlock (E3). A deadlock would be repeated, so it is the repeats that are counted.
func TestNoDeadlocks(t *testing.T) {
	t.Parallel()
	const goroutines, rounds = 12, 12
	s := newShop(t).through(goroutines)
	s.dawdle("orders")
	workers := []*checkout.Service{s.worker(s.provider, patient), s.worker(s.provider, patient)}
	codes := []string{mug, pan, twoEach, open}
	tokens := []string{payment.TokenOK, payment.TokenDeclined, payment.TokenError}
	account := s.account()
	for _, code := range []string{"ALFA", "BETA"} { // limited, so that they are locked
		s.exec(`INSERT INTO discount (code, percent, currency, starts_at, ends_at, max_uses) VALUES ($1, 5, 'USD', now() - interval '1 day', now() + interval '1 day', 100000)`, code)
	}
	// So many that most meet at the stock and not at a cart before it, and so few that some meet there.
	owners := []uuid.UUID{account}
	for range 2 * goroutines {
		owners = append(owners, uuid.New())
	}
	expected := func(err error) bool {
		_, limit := errors.AsType[*checkout.LimitReached](err)
		return err == nil || limit || errors.Is(err, checkout.ErrCartEmpty) || errors.Is(err, checkout.ErrProvider) || errors.Is(err, checkout.ErrInFlight)
	}
	crowd(goroutines, func(i int) {
		random, w := rand.New(rand.NewPCG(uint64(i), 1)), workers[i%2]
		for range rounds {
			owner := owners[random.IntN(len(owners))]
			var batch []checkout.Request
			for _, k := range random.Perm(len(owners))[:2] {
				for _, code := range random.Perm(len(codes))[:2] {
					if _, err := s.carts.Add(t.Context(), owners[k], s.sku[codes[code]], 1); err != nil {
						t.Errorf("add: %v", err)
					}
				}
				if err := s.carts.SetDiscount(t.Context(), owners[k], []string{"ALFA", "BETA", ""}[random.IntN(3)]); err != nil {
					t.Errorf("discount: %v", err)
				}
				batch = append(batch, atAnyPrice(owners[k], payment.TokenOK))
			}
			var err error
			switch random.IntN(8) {
			case 0:
				_, err = s.carts.Merge(t.Context(), owners[1+random.IntN(len(owners)-1)], account)
			case 1:
				err = w.Adopt(t.Context(), owner, account)
			case 2:
				s.exec("UPDATE orders SET hold_expires_at = '-infinity', paying_until = '-infinity' WHERE id = (SELECT id FROM orders WHERE status = 'pending' LIMIT 1)")
				_, err = w.Sweep(t.Context())
			case 3:
				_, err = w.Checkout(t.Context(), atAnyPrice(owner, tokens[random.IntN(len(tokens))]))
			default:
				var all []checkout.Placement
				all, err = w.PlaceAll(t.Context(), batch...)
				for _, p := range all {
					if !expected(p.Err) && !errors.Is(p.Err, checkout.ErrPutOff) {
						t.Errorf("place: %v", p.Err)
					}
				}
				if err == nil {
					_, err = w.SettleAll(t.Context(), s.endings(random, 4)...)
				}
			}
			if !expected(err) {
				t.Errorf("got %v", err)
			}
		}
	})
	if n := s.repeats.Load(); n != 0 {
		t.Errorf("%d transactions were run again", n)
	}
	s.checkBooks()
}

// endings decides how the payments of the oldest pending orders end, in no
// order. Others may do the same at the same time: the provider tells all of
// them the same. Nobody pays for an order whose address has its limit: a sweep
// ends it.
func (s *shop) endings(random *rand.Rand, most int) (ends []checkout.Ending) {
	rows, err := s.pool.Query(s.t.Context(), "SELECT * FROM (SELECT id, total_minor FROM orders WHERE status = 'pending' AND over_limit IS NULL ORDER BY id LIMIT $1) AS o ORDER BY random()", most)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	charges, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (c payment.Charge, err error) {
		c.Token, c.Amount.Currency = payment.TokenOK, "USD"
		return c, row.Scan(&c.Order, &c.Amount.Minor)
	})
	if err != nil {
		s.t.Error(err)
	}
	paid := random.IntN(2) == 0
	for _, c := range charges {
		ask := func() (payment.Receipt, error) { return s.provider.Cancel(s.t.Context(), c.Order) }
		if paid {
			ask = func() (payment.Receipt, error) { return s.provider.Charge(s.t.Context(), c) }
		}
		receipt, err := ask()
		if err != nil {
			s.t.Error(err)
		}
		ends = append(ends, checkout.Ending{Order: c.Order, Receipt: receipt, Reason: checkout.ReasonFailed})
	}
	return ends
}

// Promise E3: whoever is late or comes twice, the fence keeps the books right: requests and their repeats, payers that
// were given up, and sweepers of several workers, in any order.
func TestAnyInterleaving(t *testing.T) {
	t.Parallel()
	const orders, goroutines, steps = 12, 8, 25
	for _, seed := range []uint64{1, 2, rand.Uint64()} {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			s := newShop(t)
			cfg := patient
			cfg.HoldTTL = time.Microsecond
			workers := []*checkout.Service{s.worker(s.provider, cfg), s.worker(s.provider, cfg), s.worker(s.bad(payment.SimulatorConfig{Outage: true}), cfg)}
			var reqs []checkout.Request
			var placed []checkout.Order
			for i := range orders {
				req := s.buyer([]string{payment.TokenOK, payment.TokenDeclined, payment.TokenError}[i%3], mug, 1, lastTen, i%2+1, oneEach, 1)
				if i%4 == 0 {
					s.discount(req.Owner, twice)
				}
				all, err := workers[0].PlaceAll(t.Context(), req)
				if err != nil {
					t.Fatal(err)
				}
				if all[0].Err == nil {
					reqs, placed = append(reqs, req), append(placed, all[0].Order)
				}
			}
			crowd(goroutines, func(g int) {
				random := rand.New(rand.NewPCG(seed, uint64(g)))
				for range steps {
					k := random.IntN(len(placed))
					order, req, w := placed[k], reqs[k], workers[random.IntN(len(workers))]
					settle := func(receipt payment.Receipt, err error, reason checkout.CancelReason) {
						if err == nil {
							_, err = w.SettleAll(t.Context(), checkout.Ending{Order: order.ID, Receipt: receipt, Reason: reason})
						}
						if err != nil && !errors.Is(err, payment.ErrUnavailable) {
							t.Errorf("settle: %v", err)
						}
					}
					switch random.IntN(5) {
					case 0: // a payer that everybody took for dead
						receipt, err := s.provider.Charge(t.Context(), payment.Charge{Order: order.ID, Amount: order.Total, Token: req.PaymentToken})
						settle(receipt, err, checkout.ReasonDeclined)
					case 1: // and one that was given up
						receipt, err := s.provider.Cancel(t.Context(), order.ID)
						settle(receipt, err, checkout.ReasonFailed)
					case 2:
						s.exec("UPDATE orders SET paying_until = '-infinity', hold_expires_at = '-infinity' WHERE id IN (SELECT id FROM orders WHERE status = 'pending' ORDER BY id FOR UPDATE)")
					case 3:
						if _, err := w.Sweep(t.Context()); err != nil {
							t.Errorf("sweep: %v", err)
						}
					case 4:
						// A repeat buys again where the first attempt left the key free.
						_, err := w.Checkout(t.Context(), req)
						_, short := errors.AsType[*checkout.OutOfStock](err)
						_, refused := errors.AsType[*checkout.LimitReached](err)
						if err != nil && !short && !refused && !errors.Is(err, checkout.ErrInFlight) && !errors.Is(err, checkout.ErrProvider) && err.Error() != "discount TWICE has been used up" {
							t.Errorf("repeat: %v", err)
						}
					}
				}
			})
			s.checkBooks()
			s.exec("UPDATE orders SET paying_until = '-infinity', hold_expires_at = '-infinity' WHERE status = 'pending'")
			if _, err := workers[0].Sweep(t.Context()); err != nil {
				t.Error(err)
			}
			if n := s.orders(checkout.Pending); n != 0 {
				t.Errorf("%d orders are still pending", n)
			}
			s.checkBooks()
		})
	}
}

// Promise E3: what is added while an order is being placed is the next filling of the cart; nothing gets lost.
func TestAddDuringCheckout(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	req := s.buyer(payment.TokenOK, mug, 1)
	w := s.worker(s.provider, patient)
	var mu sync.Mutex
	bought := 0
	crowd(10, func(i int) {
		if i%2 == 0 {
			if _, err := s.carts.Add(context.WithoutCancel(t.Context()), req.Owner, s.sku[mug], 1); err != nil {
				t.Errorf("add: %v", err)
			}
			return
		}
		result, err := w.Checkout(t.Context(), request(req.Owner, payment.TokenOK))
		if err != nil && !errors.Is(err, checkout.ErrCartEmpty) {
			t.Errorf("checkout: %v", err)
		}
		mu.Lock()
		defer mu.Unlock()
		for _, l := range result.Order.Lines {
			bought += l.Quantity
		}
	})
	if left := s.lines(req.Owner)[mug]; bought+left != 6 {
		t.Errorf("bought %d and %d left in the cart, want 6 together", bought, left)
	}
	s.checkBooks()
}
