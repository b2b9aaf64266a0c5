package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"doorbuster/loadtest/internal/client"
)

// An attack is what strangers do to a shop, over and over.
type attack struct {
	name string
	next func(r *rand.Rand) request // never the same twice, where that is the point of it
}

type request struct{ method, path, headers, body string }

func get(path string) request { return request{method: http.MethodGet, path: path} }

// attacks by name. None finds anything in a cache.
func attacks() []attack {
	return []attack{
		{"searches", func(r *rand.Rand) request { return get(fmt.Sprintf("/v1/products?q=lamp+kettle+-x%x", r.Uint64())) }},
		{"rare words", func(r *rand.Rand) request { return get(fmt.Sprintf("/v1/products?q=zz%x&limit=1", r.Uint64())) }},
		{"slugs", func(r *rand.Rand) request { return get(fmt.Sprintf("/v1/products/nothing-%x", r.Uint64())) }},
		{"categories", func(r *rand.Rand) request { return get(fmt.Sprintf("/v1/products?category=nothing-%x", r.Uint64())) }},
	}
}

// tally is what came of requests, by status; 0 stands for no answer.
type tally map[int]int

// run attacks a shop over so many connections until ctx ends. Everything that
// strangers are told is fine with them: they come back at once.
func (a attack) run(ctx context.Context, addr string, connections int, seed uint64) tally {
	tallies := make([]tally, connections)
	var wg sync.WaitGroup
	for n := range connections {
		wg.Go(func() {
			random, told := rand.New(rand.NewPCG(seed, uint64(n))), tally{}
			c := client.New(addr)
			defer c.Close()
			for ctx.Err() == nil {
				r := a.next(random)
				reply, err := c.Do(ctx, r.method, r.path, r.headers, r.body)
				if err != nil {
					reply.Status = 0
				}
				if ctx.Err() == nil {
					told[reply.Status]++
				}
			}
			tallies[n] = told
		})
	}
	wg.Wait()
	sum := tally{}
	for _, t := range tallies {
		for status, n := range t {
			sum[status] += n
		}
	}
	return sum
}

// customers are people who buy: a new session, one unit into the cart, and a
// checkout, over and over.
type customers struct {
	skus []string
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
				all[i].buy(ctx, conn, c.skus[(i+n*round)%len(c.skus)], fmt.Sprintf("%s-%d-%d", c.name, i, round))
			}
		})
	}
	wg.Wait()
	sum := bought{failed: tally{}, took: time.Since(began)}
	for _, b := range all {
		sum.orders += b.orders
		sum.times = append(sum.times, b.times...)
		for status, n := range b.failed {
			sum.failed[status] += n
		}
	}
	return sum
}

func (b *bought) buy(ctx context.Context, c *client.Client, sku, key string) {
	added, err := c.Do(ctx, http.MethodPost, "/v1/cart/items", "", fmt.Sprintf(`{"sku":%q,"quantity":1}`, sku))
	if err != nil || added.Status != http.StatusOK {
		b.failed[added.Status]++
		return
	}
	sent := time.Now()
	placed, err := c.Do(ctx, http.MethodPost, "/v1/checkout", fmt.Sprintf("Cookie: %s\r\nIdempotency-Key: %s\r\n", added.Cookie, key),
		fmt.Sprintf(`{"email":"%s@example.com","payment_token":"tok_ok"}`, key))
	if err != nil || placed.Status != http.StatusCreated {
		b.failed[placed.Status]++
		return
	}
	b.orders++
	b.times = append(b.times, time.Since(sent))
}
