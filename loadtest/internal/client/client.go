package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// requestLimit is how long one request may take.
const requestLimit = 10 * time.Second

// A client is one kept connection. It is not net/http's, which sends some requests a second time when a connection fails:
// here a request that failed has failed. It connects again when the server has said Connection: close.
type client struct {
	addr   string
	conn   net.Conn
	reader *bufio.Reader
	forget func() bool // ends the watch over the context
}

// reply is what an answer says.
type reply struct {
	status int
	worker string // pid of the process that answered
	cookie string // that it wants to have next time
	body   []byte
}

func dial(ctx context.Context, addr string) (*client, error) {
	c := &client{addr: addr}
	return c, c.connect(ctx)
}

func (c *client) connect(ctx context.Context) error {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.addr)
	if err != nil {
		return fmt.Errorf("connect to the shop: %w", err)
	}
	c.conn, c.reader = conn, bufio.NewReader(conn)
	c.forget = context.AfterFunc(ctx, func() { conn.Close() })
	return nil
}

func (c *client) close() {
	if c.conn != nil {
		c.forget()
		c.conn.Close()
		c.conn = nil
	}
}

// get reads a page.
func (c *client) get(ctx context.Context, path string) (reply, error) {
	return c.do(ctx, http.MethodGet, path, "", "")
}

// do sends one request and reads its answer. headers are whole lines.
func (c *client) do(ctx context.Context, method, path, headers, body string) (reply, error) {
	if c.conn == nil {
		if err := c.connect(ctx); err != nil {
			return reply{}, err
		}
	}
	r, keep, err := c.roundTrip(method, path, headers, body)
	if err != nil || !keep {
		c.close()
	}
	if err != nil {
		return reply{}, fmt.Errorf("%s %s: %w", method, path, err)
	}
	return r, nil
}

func (c *client) roundTrip(method, path, headers, body string) (r reply, keep bool, err error) {
	if err := c.conn.SetDeadline(time.Now().Add(requestLimit)); err != nil {
		return reply{}, false, err
	}
	var request strings.Builder
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\nHost: %s\r\n%s", method, path, c.addr, headers)
	if body != "" {
		fmt.Fprintf(&request, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(body))
	}
	request.WriteString("\r\n" + body)
	if _, err := io.WriteString(c.conn, request.String()); err != nil {
		return reply{}, false, err
	}
	resp, err := http.ReadResponse(c.reader, nil)
	if err != nil {
		return reply{}, false, err
	}
	defer resp.Body.Close()
	r = reply{status: resp.StatusCode, worker: resp.Header.Get("X-Worker")}
	r.cookie, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if r.body, err = io.ReadAll(resp.Body); err != nil {
		return reply{}, false, err
	}
	return r, !resp.Close, nil
}
