//go:build unix

package main_test

import (
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// The crowd of a test, and what there is for it: enough for three workers to be
// full, and for each quarter of the crowd to be sold out.
const saleCustomers, saleUnits = 1000, 250

// E3: four customers for each unit, declines and time-outs mixed in, three
// workers: each unit is sold once, and the books are right.
func TestSale(t *testing.T) {
	t.Parallel()
	c, _ := gather(t, saleUnits)
	c.come(saleCustomers)
	c.balance()
	c.close()
}

// E3: the same while workers are killed, ten times. A reload in between closes the circuit breaker, as an operator's would.
func TestSaleWithKills(t *testing.T) {
	t.Parallel()
	const kills, each = 10, 20
	c, _ := gather(t, saleUnits-kills*each)
	c.units = saleUnits // the rest is delivered with the kills, so that it lasts as long as they do
	done, killed := make(chan struct{}), map[int]bool{}
	go func() {
		defer close(done)
		for n := range kills {
			target := c.orders.Load() + each/2
			c.deliver(each)
			poll(c.t0, "customers buy", func() bool { return c.orders.Load() >= target })
			victim := 0
			poll(c.t0, "a worker serves", func() bool {
				for _, pid := range c.pids() {
					if !killed[pid] {
						victim = pid
					}
				}
				return victim != 0
			})
			killed[victim] = true
			c.kill(victim)
			if n%4 == 3 {
				if err := c.shop.client.Reload(c.t0.Context(), nil); err != nil {
					c.t0.Errorf("reload: %v", err)
				}
			}
		}
	}()
	c.come(saleCustomers)
	<-done
	c.balance()
	c.close()
}

// E3: the payment provider hangs. Nothing else waits for it: orders are placed,
// the catalogue and carts answer, and a stop takes no longer than the drain
// limit, before which all who wait are answered: their orders are pending.
// These are settled later, by whoever comes next.
func TestGatewayHangs(t *testing.T) {
	t.Parallel()
	const customers = 40
	c, _ := gather(t, customers)
	c.close()
	c.open("WORKERS=2", "PAYMENT_HANG=true", "PAYMENT_TIMEOUT=10m", "HOLD_TTL=20m", "DRAIN_TIMEOUT=500ms", "DATABASE_MAX_CONNS=4")
	var wg sync.WaitGroup
	var pending atomic.Int64
	for i := range customers {
		cookie, err := c.fill()
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			status, _, _ := c.post("/v1/checkout", fmt.Sprintf(`{"email":"%d@example.com","payment_token":"tok_ok"}`, i), "Cookie", cookie, "Idempotency-Key", fmt.Sprint(i))
			if status == http.StatusAccepted {
				pending.Add(1)
			}
		})
	}
	poll(t, "all orders are placed", func() bool { return c.count("status = 'pending'") == customers })
	if status, body := get(t, c.client, "GET", c.url("/v1/products/tonquay-hush"), ""); status != http.StatusOK && status != http.StatusNotFound {
		t.Errorf("the catalogue: %d %s", status, body)
	}
	if _, err := c.fill(); err != nil {
		t.Errorf("carts: %v", err)
	}
	c.signal(syscall.SIGTERM)
	if code := c.wait(); code != 0 {
		t.Errorf("the master ended with code %d", code)
	}
	wg.Wait()
	if n := pending.Load(); n != customers {
		t.Errorf("%d of %d customers were told that their orders are pending", n, customers)
	}
	if cut := c.records(0, "drain limit reached, cutting requests"); len(cut) != 0 {
		t.Errorf("requests were cut: %v", cut)
	}
	if n := c.count("status = 'pending'"); n != customers {
		t.Errorf("%d orders are pending", n)
	}
	// Twenty minutes later.
	if _, err := c.books.Exec(t.Context(), "UPDATE orders SET hold_expires_at = '-infinity', paying_until = '-infinity'"); err != nil {
		t.Fatal(err)
	}
	c.open(impatient...)
	poll(t, "the orders are settled", func() bool { return c.count("status = 'cancelled'") == customers })
	c.come(3) // and their units are for sale again
	if n := c.count("status = 'confirmed'"); n != 3 {
		t.Errorf("%d orders are confirmed", n)
	}
	c.close()
}

// E3: the same while PostgreSQL is killed and started again.
func TestSaleWithoutPostgres(t *testing.T) {
	t.Parallel()
	c, postgres := gather(t, saleUnits)
	c.forgetful = true // a killed PostgreSQL may forget the carts of the last moment: see cart's package comment
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 2 {
			target := c.orders.Load() + 50
			poll(c.t0, "customers buy", func() bool { return c.orders.Load() >= target || c.over() })
			postgres.Kill()
			if err := postgres.Start(c.t0.Context()); err != nil {
				c.t0.Errorf("start PostgreSQL again: %v", err)
			}
		}
	}()
	c.come(saleCustomers)
	<-done
	c.balance()
	c.close()
}
