// Package client is HTTP/1.1 as a measuring program needs it: what a request met is what it says.
package client

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultLimit is how long one request may take.
const DefaultLimit = 10 * time.Second

// A Client is one kept connection. It is not net/http's, which sends some requests a second time when a connection fails:
// here a request that failed has failed. It connects again when the server has said Connection: close.
type Client struct {
	// Limit is how long one request may take; 0: DefaultLimit.
	Limit time.Duration
	// From is the address to connect from; nil: as the kernel likes.
	From net.Addr

	addr   string
	conn   net.Conn
	reader *bufio.Reader
	forget func() bool // ends the watch over the context
}

// Reply is what an answer says.
type Reply struct {
	Status     int
	Worker     string // pid of the process that answered
	Cookie     string // that it wants to have next time
	RetryAfter string
	Body       []byte
}

// New returns a client of the server at addr that has not connected yet.
func New(addr string) *Client { return &Client{addr: addr} }

// Dial returns a client that has connected.
func Dial(ctx context.Context, addr string) (*Client, error) {
	c := New(addr)
	return c, c.Connect(ctx)
}

// Customers are people for a shop that limits how often one address may ask: each
// has an address of its own. They need a shop that trusts the address which they all
// come from (TRUSTED_PROXIES), as it trusts a load balancer. The zero value is not
// ready: use [NewCustomers].
type Customers struct {
	last atomic.Uint32
}

// NewCustomers returns people whom no other program plays.
func NewCustomers() *Customers {
	c := new(Customers)
	c.last.Store(rand.Uint32())
	return c
}

// Next returns the header line of somebody new: an address of the prefix for
// documentation, 2001:db8::/32 (RFC 3849), in a /64 of its own. Of the 2^32 that
// there are, those of two programs may be the same by chance.
func (c *Customers) Next() string {
	n := c.last.Add(1)
	return fmt.Sprintf("X-Forwarded-For: 2001:db8:%x:%x::1\r\n", n>>16, n&0xffff)
}

// Connect opens the connection. It is closed when ctx ends.
func (c *Client) Connect(ctx context.Context) error {
	conn, err := (&net.Dialer{LocalAddr: c.From}).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("connect to the shop: %w", err)
	}
	c.conn, c.reader = conn, bufio.NewReader(conn)
	c.forget = context.AfterFunc(ctx, func() { conn.Close() })
	return nil
}

// Close closes the connection, if there is one.
func (c *Client) Close() {
	if c.conn != nil {
		c.forget()
		c.conn.Close()
		c.conn = nil
	}
}

// Get reads a page.
func (c *Client) Get(ctx context.Context, path string) (Reply, error) {
	return c.Do(ctx, http.MethodGet, path, "", "")
}

// Do sends one request and reads its answer. headers are whole lines. ctx is looked at where it has to connect; the
// connection it keeps belongs to the context that opened it.
func (c *Client) Do(ctx context.Context, method, path, headers, body string) (Reply, error) {
	if c.conn == nil {
		if err := c.Connect(ctx); err != nil {
			return Reply{}, err
		}
	}
	r, keep, err := c.roundTrip(method, path, headers, body)
	if err != nil || !keep {
		c.Close()
	}
	if err != nil {
		return Reply{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return r, nil
}

func (c *Client) roundTrip(method, path, headers, body string) (r Reply, keep bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(cmp.Or(c.Limit, DefaultLimit))); err != nil {
		return Reply{}, false, err
	}
	var request strings.Builder
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, path, c.addr, headers)
	if body != "" {
		fmt.Fprintf(&request, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	request.WriteString("\r\n" + body)
	if _, err := io.WriteString(c.conn, request.String()); err != nil {
		return Reply{}, false, err
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return Reply{}, false, err
	}
	defer resp.Body.Close()
	r = Reply{Status: resp.StatusCode, Worker: resp.Header.Get("X-Worker"), RetryAfter: resp.Header.Get("Retry-After")}
	r.Cookie, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if r.Body, err = io.ReadAll(resp.Body); err != nil {
		return Reply{}, false, err
	}
	return r, !resp.Close, nil
}
