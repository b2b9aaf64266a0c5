package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"

	"doorbuster/loadtest/internal/client"
	"doorbuster/loadtest/internal/wrk"
)

// buyers are a crowd: each keeps one connection, on which one customer after the other, with a fresh cookie, puts one unit
// into the cart and pays.
type buyers struct {
	addr  string
	count int
	skus  []string // to choose from
	until context.Context
}

// bought is what a crowd did.
type bought struct {
	took      time.Duration
	checkouts []time.Duration // of the orders, sorted
	failed    int
	complaint error // the first failure
}

// A shopper is one connection of a crowd.
type shopper struct {
	*buyers
	client *client.Client
	choose *rand.Rand
	name   string // unique, for keys and addresses
	who    *client.Customers
	bought bought
}

// run lets the crowd buy until its time is over or ctx ends. Orders that are under way are waited for.
func (b *buyers) run(ctx context.Context) (bought, error) {
	who := client.NewCustomers()
	shoppers := make([]*shopper, b.count)
	for i := range shoppers {
		c, err := client.Dial(ctx, b.addr)
		if err != nil {
			return bought{}, err
		}
		defer c.Close()
		name := fmt.Sprintf("%x-%d", rand.Uint64(), i)
		shoppers[i] = &shopper{buyers: b, client: c, choose: rand.New(rand.NewPCG(uint64(i), 0)), name: name, who: who}
	}
	began := time.Now()
	var wg sync.WaitGroup
	for _, s := range shoppers {
		wg.Go(func() { s.shop(ctx) })
	}
	wg.Wait()
	all := bought{took: time.Since(began)}
	if ctx.Err() != nil {
		return all, context.Cause(ctx)
	}
	for _, s := range shoppers {
		all.checkouts = append(all.checkouts, s.bought.checkouts...)
		all.failed += s.bought.failed
		if all.complaint == nil {
			all.complaint = s.bought.complaint
		}
	}
	slices.Sort(all.checkouts)
	return all, nil
}

// maxFailures is when somebody goes home: a shop that is gone is not asked as fast as it can refuse.
const maxFailures = 20

// shop buys again and again.
func (s *shopper) shop(ctx context.Context) {
	for n := 0; s.until.Err() == nil && ctx.Err() == nil && s.bought.failed < maxFailures; n++ {
		took, err := s.buy(ctx, n)
		if err == nil {
			s.bought.checkouts = append(s.bought.checkouts, took)
			continue
		}
		s.bought.failed++
		if s.bought.complaint == nil {
			s.bought.complaint = err
		}
	}
}

// buy is one customer; it returns how long the checkout took.
func (s *shopper) buy(ctx context.Context, n int) (time.Duration, error) {
	from := s.who.Next()
	sku := s.skus[s.choose.IntN(len(s.skus))]
	added, err := s.client.Do(ctx, http.MethodPost, "/v1/cart/items", from, fmt.Sprintf(`{"sku":%q,"quantity":1}`, sku))
	switch {
	case err != nil:
		return 0, err
	case added.Status != http.StatusOK:
		return 0, fmt.Errorf("add %s to the cart: %d, want 200: %s", sku, added.Status, added.Body)
	case added.Cookie == "":
		return 0, errors.New("add to the cart: the answer sets no cookie")
	}
	began := time.Now()
	headers := fmt.Sprintf("%sCookie: %s\r\nIdempotency-Key: %s-%d\r\n", from, added.Cookie, s.name, n)
	body := fmt.Sprintf(`{"email":"%s-%d@example.com","payment_token":"tok_ok"}`, s.name, n)
	ordered, err := s.client.Do(ctx, http.MethodPost, "/v1/checkout", headers, body)
	took := time.Since(began)
	switch {
	case err != nil:
		return 0, err
	case ordered.Status != http.StatusCreated:
		return 0, fmt.Errorf("check out: %d, want 201: %s", ordered.Status, ordered.Body)
	}
	return took, nil
}

// buy lets a crowd buy from a server for some time. Anything but 201 fails it, and so does an order that is missing in the
// books: as many units must have left the shelves as were acknowledged.
func (b *bench) buy(ctx context.Context, addr string, skus []string, d time.Duration) (wrk.Sample, error) {
	before, err := b.UnitsLeft(ctx, b.skuIDs)
	if err != nil {
		return wrk.Sample{}, err
	}
	until, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	did, err := (&buyers{addr: addr, count: b.cfg.connections, skus: skus, until: until}).run(ctx)
	if err != nil {
		return wrk.Sample{}, err
	}
	if did.failed > 0 {
		return wrk.Sample{}, fmt.Errorf("%d of %d orders failed: %w", did.failed, did.failed+len(did.checkouts), did.complaint)
	}
	after, err := b.UnitsLeft(ctx, b.skuIDs)
	if err != nil {
		return wrk.Sample{}, err
	}
	if sold := before - after; sold != len(did.checkouts) {
		return wrk.Sample{}, fmt.Errorf("%d units left the shelves, and %d orders were acknowledged", sold, len(did.checkouts))
	}
	return did.sample()
}

// sample sums orders up as wrk does answers, so that both fit the same table.
func (did bought) sample() (wrk.Sample, error) {
	n := len(did.checkouts)
	if n == 0 {
		return wrk.Sample{}, errors.New("nobody bought anything")
	}
	return wrk.Sample{
		PerSecond: float64(n) / did.took.Seconds(), P50: did.checkouts[n/2], P99: did.checkouts[n*99/100], Requests: n,
	}, nil
}
