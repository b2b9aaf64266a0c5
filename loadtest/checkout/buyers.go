package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"doorbuster/loadtest/internal/client"
	"doorbuster/loadtest/internal/figures"
)

// A buyer has a session and a filled cart, and has not checked out yet.
type buyer struct {
	cookie string
	from   string // header line that says so
	key    string // also of the e-mail address
	sku    string
}

// fill makes a visitor a buyer: a fresh session with one unit in the cart.
func fill(ctx context.Context, c *client.Client, from, key, sku string) (buyer, error) {
	added, err := c.Do(ctx, http.MethodPost, "/v1/cart/items", from, fmt.Sprintf(`{"sku":%q,"quantity":1}`, sku))
	switch {
	case err != nil:
		return buyer{}, err
	case added.Status != http.StatusOK:
		return buyer{}, fmt.Errorf("add %s to the cart: %d, want 200: %s", sku, added.Status, added.Body)
	case added.Cookie == "":
		return buyer{}, errors.New("add to the cart: the answer sets no cookie")
	}
	return buyer{added.Cookie, from, key, sku}, nil
}

// checkOut sends the buyer's one request, the same each time it is called.
func (b *buyer) checkOut(ctx context.Context, c *client.Client) (client.Reply, error) {
	return c.Do(ctx, http.MethodPost, "/v1/checkout", fmt.Sprintf("%sCookie: %s\r\nIdempotency-Key: %s\r\n", b.from, b.cookie, b.key),
		fmt.Sprintf(`{"email":"%s@example.com","payment_token":"tok_ok"}`, b.key))
}

// A queue holds buyers who all want the same thing, or each the next of many.
type queue struct {
	want  func(i int) string // the SKU of the i-th
	name  string             // of this run, so that keys are unique
	made  int
	who   *client.Customers
	ready []buyer
}

func newQueue(want func(int) string) *queue {
	return &queue{want: want, name: fmt.Sprintf("%016x", rand.Uint64()), who: client.NewCustomers()}
}

// fillers fill carts at once: enough for all cores, and not so many that requests run into time limits.
const fillers = 48

// fillUp prepares buyers at a server until n are ready.
func (q *queue) fillUp(ctx context.Context, addr string, n int) error {
	first, missing := q.made, n-len(q.ready)
	if missing <= 0 {
		return nil
	}
	made, errs := make([]buyer, missing), make([]error, fillers)
	var next atomic.Int64
	var wg sync.WaitGroup
	for f := range fillers {
		wg.Go(func() {
			c := client.New(addr)
			defer c.Close()
			for i := int(next.Add(1)) - 1; i < missing && errs[f] == nil && ctx.Err() == nil; i = int(next.Add(1)) - 1 {
				made[i], errs[f] = fill(ctx, c, q.who.Next(), fmt.Sprintf("%s-%d", q.name, first+i), q.want(first+i))
			}
		})
	}
	wg.Wait()
	if err := cmp.Or(errors.Join(errs...), context.Cause(ctx)); err != nil {
		return fmt.Errorf("fill carts: %w", err)
	}
	q.made += missing
	q.ready = append(q.ready, made...)
	return nil
}

// sale is what a crowd did.
type sale struct {
	took  time.Duration
	times []time.Duration // of the orders, sorted
}

// sell lets buyers check out over so many connections, one after the other on each, for some time or until nobody is left.
// Anything but a paid order is an error. Those who have had no turn stay in the queue.
func (q *queue) sell(ctx context.Context, addr string, connections int, d time.Duration) (sale, error) {
	clients := make([]*client.Client, connections)
	for i := range clients {
		c, err := client.Dial(ctx, addr)
		if err != nil {
			return sale{}, err
		}
		defer c.Close()
		if _, err := c.Get(ctx, "/livez"); err != nil { // accepted, and ready to be read from
			return sale{}, err
		}
		clients[i] = c
	}
	times, errs := make([][]time.Duration, connections), make([]error, connections)
	var next atomic.Int64
	var failed atomic.Bool
	var wg sync.WaitGroup
	began := time.Now()
	for i, c := range clients {
		wg.Go(func() {
			for time.Since(began) < d && !failed.Load() && ctx.Err() == nil {
				turn := int(next.Add(1)) - 1
				if turn >= len(q.ready) {
					return
				}
				sent := time.Now()
				if errs[i] = expectOrder(q.ready[turn].checkOut(ctx, c)); errs[i] != nil {
					failed.Store(true)
					return
				}
				times[i] = append(times[i], time.Since(sent))
			}
		})
	}
	wg.Wait()
	did := sale{took: time.Since(began), times: slices.Concat(times...)}
	q.ready = q.ready[min(int(next.Load()), len(q.ready)):]
	slices.Sort(did.times)
	if err := cmp.Or(context.Cause(ctx), errors.Join(errs...)); err != nil {
		return did, err
	}
	if len(did.times) == 0 {
		return did, errors.New("nobody bought anything")
	}
	return did, nil
}

// expectOrder makes everything an error but a new order that is paid.
func expectOrder(r client.Reply, err error) error {
	if err == nil && (r.Status != http.StatusCreated || !bytes.Contains(r.Body, []byte(`"status":"confirmed"`))) {
		return fmt.Errorf("check out: %d, want 201 and a confirmed order: %s", r.Status, r.Body)
	}
	return err
}

func (s *sale) perSecond() float64                 { return float64(len(s.times)) / s.took.Seconds() }
func (s *sale) within(share float64) time.Duration { return figures.Percentile(s.times, share) }
