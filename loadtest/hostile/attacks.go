package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"doorbuster/loadtest/internal/client"
)

// An attack is what strangers do to a shop, over and over.
type attack struct {
	name string
	what string
	// strike is one stranger, who ends when ctx does.
	strike func(ctx context.Context, s *stranger)
}

// attacks lists all of them. None finds anything in a cache.
func attacks() []attack {
	return []attack{
		{"searches", "two common words, without a match", asking(func(s *stranger) request {
			return get(fmt.Sprintf("/v1/products?q=lamp+kettle+-x%x", s.random.Uint64()))
		})},
		{"rare words", "one that is nowhere", asking(func(s *stranger) request {
			return get(fmt.Sprintf("/v1/products?q=zz%x&limit=1", s.random.Uint64()))
		})},
		{"slugs", "products that don't exist", asking(func(s *stranger) request {
			return get(fmt.Sprintf("/v1/products/nothing-%x", s.random.Uint64()))
		})},
		{"categories", "categories that don't exist", asking(func(s *stranger) request {
			return get(fmt.Sprintf("/v1/products?category=nothing-%x", s.random.Uint64()))
		})},
		{"passwords", "wrong ones, for addresses without an account", asking(func(s *stranger) request {
			return post("/v1/session", fmt.Sprintf(`{"email":"%x@example.com","password":"wrong password"}`, s.random.Uint32()))
		})},
		{"registrations", "of new addresses", asking(func(s *stranger) request {
			return post("/v1/account", fmt.Sprintf(`{"email":"%x@example.com","password":"correct horse %x"}`, s.random.Uint64(), s.random.Uint32()))
		})},
		{"codes", "discount codes that don't exist", guessing},
		{"guests", "carts without a cookie", asking(func(s *stranger) request {
			return post("/v1/cart/items", fmt.Sprintf(`{"sku":%q,"quantity":1}`, s.sku()))
		})},
		{"trickle", "bodies of a byte a second", trickling},
		{"unread", "200 lists of 100 products in a row, and no answer is read", notReading},
		{"hot cart", "all strangers in one cart", sharing},
	}
}

// A crowd are strangers who strike one shop.
type crowd struct {
	addr    string
	skus    []string
	rate    int
	from    *client.Customers // where their addresses are from
	address string            // header lines of all of them; "": they have their own

	scattered bool // each has an address of his own, and not each attack one

	cart sync.Once // the one that all of them share
	key  string    // its cookie
}

// A stranger is one connection of an attack. It belongs to one goroutine.
type stranger struct {
	*crowd
	random  *rand.Rand
	address string // header lines
	told    tally
}

// tally is what came of requests, by status; 0 stands for no answer.
type tally map[int]int

func (t tally) add(other tally) {
	for status, n := range other {
		t[status] += n
	}
}

func (t tally) total() (n int) {
	for _, v := range t {
		n += v
	}
	return n
}

type request struct{ method, path, body string }

func get(path string) request        { return request{http.MethodGet, path, ""} }
func post(path, body string) request { return request{http.MethodPost, path, body} }
func put(path, body string) request  { return request{http.MethodPut, path, body} }

func (s *stranger) sku() string { return s.skus[s.random.IntN(len(s.skus))] }

// wait keeps a stranger to its rate, and returns whether it goes on.
func (s *stranger) wait(ctx context.Context, since time.Time) bool {
	if s.rate == 0 {
		return ctx.Err() == nil
	}
	select {
	case <-time.After(time.Until(since.Add(time.Second / time.Duration(s.rate)))):
		return true
	case <-ctx.Done():
		return false
	}
}

// ask sends a request and counts its answer. Everything that strangers are told
// is fine with them.
func (s *stranger) ask(ctx context.Context, c *client.Client, r request, cookie string) client.Reply {
	headers := s.address
	if cookie != "" {
		headers += "Cookie: " + cookie + "\r\n"
	}
	reply, err := c.Do(ctx, r.method, r.path, headers, r.body)
	if err != nil {
		reply.Status = 0
	}
	if ctx.Err() == nil {
		s.told[reply.Status]++
	}
	return reply
}

// asking sends one request after the other without a cookie.
func asking(next func(s *stranger) request) func(context.Context, *stranger) {
	return func(ctx context.Context, s *stranger) {
		c := client.New(s.addr)
		defer c.Close()
		for began := time.Now(); s.wait(ctx, began); {
			began = time.Now()
			s.ask(ctx, c, next(s), "")
		}
	}
}

// guessing fills a cart and tries codes on it.
func guessing(ctx context.Context, s *stranger) {
	c := client.New(s.addr)
	defer c.Close()
	cookie := ""
	for began := time.Now(); s.wait(ctx, began); {
		began = time.Now()
		if cookie == "" {
			cookie = s.ask(ctx, c, post("/v1/cart/items", fmt.Sprintf(`{"sku":%q,"quantity":1}`, s.sku())), "").Cookie
			continue
		}
		s.ask(ctx, c, put("/v1/cart/discount", fmt.Sprintf(`{"code":"GUESS%X"}`, s.random.Uint32())), cookie)
	}
}

// sharing changes one cart from everywhere.
func sharing(ctx context.Context, s *stranger) {
	c := client.New(s.addr)
	defer c.Close()
	s.cart.Do(func() {
		s.key = s.ask(ctx, c, post("/v1/cart/items", fmt.Sprintf(`{"sku":%q,"quantity":1}`, s.sku())), "").Cookie
	})
	for began := time.Now(); s.wait(ctx, began); {
		began = time.Now()
		s.ask(ctx, c, post("/v1/cart/items", fmt.Sprintf(`{"sku":%q,"quantity":1}`, s.sku())), s.key)
	}
}

// dial opens a connection that its context closes.
func (s *stranger) dial(ctx context.Context) (net.Conn, func(), error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", s.addr)
	if err != nil {
		s.told[0]++
		return nil, nil, err
	}
	forget := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { forget(); conn.Close() }, nil
}

// trickling sends the body of a request a byte a second, until it is cut off.
func trickling(ctx context.Context, s *stranger) {
	for began := time.Now(); s.wait(ctx, began); {
		began = time.Now()
		conn, closeIt, err := s.dial(ctx)
		if err != nil {
			continue
		}
		_, err = fmt.Fprintf(conn, "POST /v1/cart/items HTTP/1.1\r\nHost: %s\r\n%sContent-Type: application/json\r\nContent-Length: 8000\r\n\r\n{", s.addr, s.address)
		for err == nil && pause(ctx, time.Second) {
			_, err = conn.Write([]byte(" "))
		}
		s.cut(ctx)
		closeIt()
	}
}

// notReading asks for much in a row and reads nothing, until it is cut off.
func notReading(ctx context.Context, s *stranger) {
	const inARow = 200
	one := fmt.Sprintf("GET /v1/products?limit=100 HTTP/1.1\r\nHost: %s\r\n%s\r\n", s.addr, s.address)
	for began := time.Now(); s.wait(ctx, began); {
		began = time.Now()
		conn, closeIt, err := s.dial(ctx)
		if err != nil {
			continue
		}
		if tcp, ok := conn.(*net.TCPConn); ok {
			err = tcp.SetReadBuffer(4096)
		}
		if err == nil {
			_, err = conn.Write([]byte(strings.Repeat(one, inARow)))
		}
		for err == nil && pause(ctx, time.Second) {
			_, err = conn.Write([]byte("\r\n")) // fails once the shop has closed it
		}
		s.cut(ctx)
		closeIt()
	}
}

// cut counts a connection that the shop has closed.
func (s *stranger) cut(ctx context.Context) {
	if ctx.Err() == nil {
		s.told[0]++
	}
}

func pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// strike has strangers attack a shop until ctx ends, by turns where there is
// more than one attack.
func (c *crowd) strike(ctx context.Context, attacks []attack, strangers int, seed uint64) tally {
	addresses := make([]string, strangers)
	for n := range addresses {
		switch {
		case c.address != "":
			addresses[n] = c.address
		case n < len(attacks) || c.scattered:
			addresses[n] = c.from.Next()
		default:
			addresses[n] = addresses[n%len(attacks)]
		}
	}
	tallies := make([]tally, strangers)
	var wg sync.WaitGroup
	for n := range strangers {
		tallies[n] = tally{}
		s := &stranger{crowd: c, random: rand.New(rand.NewPCG(seed, uint64(n))), address: addresses[n], told: tallies[n]}
		wg.Go(func() { attacks[n%len(attacks)].strike(ctx, s) })
	}
	wg.Wait()
	sum := tally{}
	for _, t := range tallies {
		sum.add(t)
	}
	return sum
}
