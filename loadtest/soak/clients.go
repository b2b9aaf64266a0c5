//go:build linux

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/google/uuid"

	"doorbuster/app/audit"
)

// The crowd, small enough to leave the machine to the shop: what is looked for is not throughput.
const (
	readers     = 10
	slowReaders = 2
	buyers      = 3
	pulse       = 100 * time.Millisecond // between two fresh connections
	manyPulses  = 200                    // open at a time at most; more are of no use when nobody answers
)

// Pages that are read.
const (
	smallPage = "/v1/products/aurora-55-oled-tv"
	largePage = "/v1/products?limit=100"
)

// lameDuck is how long a worker that leaves keeps idle connections. Clients are back within half of that.
const lameDuck = 2 * time.Second

// A crowd is all clients of a run.
type crowd struct {
	dial    dialer // for the usual client
	narrow  dialer // for one that takes in little at a time
	witness *witness
	skus    []string // to buy
	seed    uint64
	acks    io.Writer // gets the acknowledgement log
	acksMu  sync.Mutex
}

// run keeps the clients at work until enough ends; they finish what they have begun. When ctx ends they drop it.
func (c *crowd) run(ctx, enough context.Context) {
	var wg sync.WaitGroup
	for i := range readers {
		r := rand.New(rand.NewPCG(c.seed, uint64(i)))
		wg.Go(func() { c.read(ctx, enough, r) })
	}
	for range slowReaders {
		wg.Go(func() { c.readSlowly(ctx, enough) })
	}
	for i := range buyers {
		r := rand.New(rand.NewPCG(c.seed, uint64(readers+i)))
		wg.Go(func() { c.buy(ctx, enough, fmt.Sprintf("%016x-%d", c.seed, i), r) })
	}
	wg.Go(func() { c.knock(ctx, enough, &wg) })
	wg.Wait()
}

// read keeps one connection, and thinks for up to half of the lame duck between two requests.
func (c *crowd) read(ctx, enough context.Context, random *rand.Rand) {
	me := caller{dial: c.dial, witness: c.witness, kind: "kept connections"}
	defer me.hangUp()
	for enough.Err() == nil {
		me.ask(ctx, request{method: http.MethodGet, path: smallPage})
		think(enough, time.Duration(random.Int64N(int64(lameDuck/2))))
	}
}

// readSlowly takes its time over a large page, on a connection whose buffers are small.
func (c *crowd) readSlowly(ctx, enough context.Context) {
	me := caller{dial: c.narrow, witness: c.witness, kind: "long reads"}
	defer me.hangUp()
	for enough.Err() == nil {
		me.ask(ctx, request{method: http.MethodGet, path: largePage, read: func(body io.Reader) ([]byte, error) {
			return readInPieces(ctx, body)
		}})
		think(enough, lameDuck/8)
	}
}

// readInPieces reads so that a page of 60 kB takes about a second.
func readInPieces(ctx context.Context, body io.Reader) ([]byte, error) {
	const piece, pause = 4 << 10, 50 * time.Millisecond
	var all []byte
	buf := make([]byte, piece)
	for {
		n, err := body.Read(buf)
		all = append(all, buf[:n]...)
		if err == io.EOF {
			return all, nil
		}
		if err != nil {
			return all, err
		}
		think(ctx, pause)
	}
}

// knock opens a fresh connection on every pulse, whatever became of those before.
func (c *crowd) knock(ctx, enough context.Context, wg *sync.WaitGroup) {
	ticker := time.NewTicker(pulse)
	defer ticker.Stop()
	free := make(chan struct{}, manyPulses)
	for {
		select {
		case <-enough.Done():
			return
		case <-ticker.C:
		}
		select {
		case free <- struct{}{}:
		default:
			continue
		}
		wg.Go(func() {
			defer func() { <-free }()
			me := caller{dial: c.dial, witness: c.witness, kind: "fresh connections", fresh: true}
			me.ask(ctx, request{method: http.MethodGet, path: smallPage})
			me.hangUp()
		})
	}
}

// buy is one customer after the other, on one connection: a unit into the cart, and a checkout, which is repeated with the
// same key until its outcome is known.
func (c *crowd) buy(ctx, enough context.Context, name string, random *rand.Rand) {
	me := caller{dial: c.dial, witness: c.witness, kind: "orders"}
	defer me.hangUp()
	for n := 0; enough.Err() == nil; n++ {
		sku := c.skus[random.IntN(len(c.skus))]
		added, ok := me.ask(ctx, request{method: http.MethodPost, path: "/v1/cart/items", body: fmt.Sprintf(`{"sku":%q,"quantity":1}`, sku)})
		if ok && added.status == http.StatusOK && added.cookie != "" {
			key := fmt.Sprintf("%s-%d", name, n)
			c.checkOut(ctx, &me, key, sku, added.cookie)
		} else if ok {
			think(enough, comeBack(added.retryAfter))
		}
		think(enough, time.Duration(random.Int64N(int64(lameDuck/2))))
	}
}

// maxTries is when a customer goes home. The longest that there may be nobody to answer is a fraction of that.
const maxTries = 30

func (c *crowd) checkOut(ctx context.Context, me *caller, key, sku, cookie string) {
	for range maxTries {
		r, ok := me.ask(ctx, request{
			method: http.MethodPost, path: "/v1/checkout",
			headers: fmt.Sprintf("Cookie: %s\r\nIdempotency-Key: %s\r\n", cookie, key),
			body:    fmt.Sprintf(`{"email":"%s@example.com","payment_token":"tok_ok"}`, key),
		})
		c.acknowledge(key, sku, r)
		switch {
		case ctx.Err() != nil:
			return
		case !ok:
		case r.status == http.StatusServiceUnavailable, r.status == http.StatusConflict && r.retryAfter != "":
		default:
			return
		}
		think(ctx, comeBack(r.retryAfter))
	}
}

// acknowledge writes down what a customer was told by one try.
func (c *crowd) acknowledge(key, sku string, r reply) {
	var order struct {
		ID     uuid.UUID       `json:"id"`
		Status json.RawMessage `json:"status"` // of an order a text, of a problem a number
		Total  struct {
			AmountMinor int64 `json:"amount_minor"`
		} `json:"total"`
	}
	ack := audit.Ack{Key: key, Status: r.status, Code: r.code, SKU: sku, Quantity: 1}
	switch r.status {
	case http.StatusOK, http.StatusCreated, http.StatusAccepted:
		if json.Unmarshal(r.body, &order) != nil {
			return // the books are judged, and not the JSON
		}
		ack.Order, ack.TotalMinor = order.ID, order.Total.AmountMinor
		_ = json.Unmarshal(order.Status, &ack.OrderStatus) // no text is no order
	}
	line, err := json.Marshal(ack)
	if err != nil {
		panic(err) // texts and numbers can be encoded
	}
	c.acksMu.Lock()
	defer c.acksMu.Unlock()
	c.acks.Write(append(line, '\n')) //nolint:errcheck // the file's Close fails then
}

// comeBack is how long a Retry-After says to wait.
func comeBack(retryAfter string) time.Duration {
	seconds, err := strconv.Atoi(retryAfter)
	if err != nil {
		return time.Second
	}
	return time.Duration(seconds) * time.Second
}

// think waits, unless ctx ends before.
func think(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
