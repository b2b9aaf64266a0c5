package main

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"doorbuster/loadtest/internal/client"
)

// customers are people who buy: a new session, one unit into the cart, and a
// checkout, over and over, each time as somebody else from somewhere else.
type customers struct {
	skus []string
	from *client.Customers
	name string // of this run, so that keys are unique
}

// bought is what customers got.
type bought struct {
	orders int
	times  []time.Duration // of the checkouts that made an order
	failed tally           // carts and checkouts that were refused
	took   time.Duration
}

func (b *bought) perSecond() float64 { return float64(b.orders) / b.took.Seconds() }

// run lets so many customers buy for a time.
func (c customers) run(ctx context.Context, addr string, n int, d time.Duration) bought {
	all := make([]bought, n)
	began := time.Now()
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			conn := client.New(addr)
			defer conn.Close()
			all[i].failed = tally{}
			for round := 0; time.Since(began) < d && ctx.Err() == nil; round++ {
				all[i].buy(ctx, conn, c.from.Next(), c.skus[(i+n*round)%len(c.skus)], fmt.Sprintf("%s-%d-%d", c.name, i, round))
			}
		})
	}
	wg.Wait()
	sum := bought{failed: tally{}, took: time.Since(began)}
	for _, b := range all {
		sum.orders += b.orders
		sum.times = append(sum.times, b.times...)
		sum.failed.add(b.failed)
	}
	return sum
}

func (b *bought) buy(ctx context.Context, c *client.Client, from, sku, key string) {
	added, err := c.Do(ctx, http.MethodPost, "/v1/cart/items", from, fmt.Sprintf(`{"sku":%q,"quantity":1}`, sku))
	if err != nil || added.Status != http.StatusOK {
		b.failed[added.Status]++
		return
	}
	sent := time.Now()
	placed, err := c.Do(ctx, http.MethodPost, "/v1/checkout", fmt.Sprintf("%sCookie: %s\r\nIdempotency-Key: %s\r\n", from, added.Cookie, key),
		fmt.Sprintf(`{"email":"%s@example.com","payment_token":"tok_ok"}`, key))
	if err != nil || placed.Status != http.StatusCreated {
		b.failed[placed.Status]++
		return
	}
	b.orders++
	b.times = append(b.times, time.Since(sent))
}
