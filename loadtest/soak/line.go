//go:build linux

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// A dialer connects to the shop.
type dialer func(ctx context.Context) (net.Conn, error)

// A caller is a strict client: it keeps one connection for as long as it is not told otherwise, and sends nothing twice.
// What http.Client does when a connection that it has used before turns out to be closed would hide what is looked for.
type caller struct {
	dial    dialer
	witness *witness
	kind    string
	fresh   bool // every request has a connection of its own
	line    *line
}

// A line is a connection.
type line struct {
	conn    net.Conn
	reader  *bufio.Reader
	dialled time.Time
	used    time.Time // when the last request was about to be sent, or the connection to be made: it was idle from then on at the earliest
	worker  int       // whose answer was the last on it; 0: nobody's yet
	forget  func() bool
}

// A reply is what an answer says.
type reply struct {
	status     int
	worker     int    // pid of the process that answered; 0: it does not say
	code       string // of a problem
	detail     string // of a problem
	retryAfter string
	cookie     string
	body       []byte
}

// A request is what a caller asks for.
type request struct {
	method, path, headers, body string
	read                        func(io.Reader) ([]byte, error) // nil: io.ReadAll
}

// answerLimit is how long a caller waits for an answer. Time limits of the shop itself are shorter.
const answerLimit = 15 * time.Second

// ask sends a request and reads its answer. It reports false if there was none, and has told the witness what became of it.
func (c *caller) ask(ctx context.Context, r request) (reply, bool) {
	if c.line != nil && time.Since(c.line.used) > lameDuck*3/4 {
		c.hangUp() // nobody gave this program a processor in time to be back sooner
	}
	began, idle := time.Now(), time.Duration(0)
	answer, closes, err := c.try(ctx, r, &idle)
	if err == nil {
		if closes || c.fresh {
			c.hangUp()
		}
		c.witness.answered(answered{at: time.Now(), began: began, kind: c.kind, what: r.method + " " + r.path, fresh: c.fresh, reply: answer})
		return answer, true
	}
	if ctx.Err() == nil {
		l := loss{span: span{began, time.Now()}, kind: c.kind, what: r.method + " " + r.path, idle: idle, err: err}
		l.dialled, l.worker = c.line.dialled, c.line.worker
		var timeout net.Error
		l.late = errors.As(err, &timeout) && timeout.Timeout()
		l.refused = c.line.conn == nil && !l.late
		c.witness.lost(l)
	}
	c.hangUp()
	return reply{}, false
}

// try is one request. idle is set to how long its connection may have been idle when the request was sent.
func (c *caller) try(ctx context.Context, r request, idle *time.Duration) (answer reply, closes bool, err error) {
	if c.line == nil {
		if err := c.connect(ctx); err != nil {
			return reply{}, false, err
		}
	}
	l := c.line
	*idle = time.Since(l.used)
	if err := l.conn.SetDeadline(time.Now().Add(answerLimit)); err != nil {
		return reply{}, false, err
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\nHost: shop\r\n%s", r.method, r.path, r.headers)
	if r.body != "" {
		fmt.Fprintf(&text, "Content-Type: application/json\r\nContent-Length: %d\r\n", len(r.body))
	}
	text.WriteString("\r\n" + r.body)
	before := l.used
	l.used = time.Now()
	_, err = io.WriteString(l.conn, text.String())
	*idle = time.Since(before)
	if err != nil {
		return reply{}, false, err
	}
	resp, err := http.ReadResponse(l.reader, &http.Request{Method: r.method})
	if err != nil {
		return reply{}, false, err
	}
	defer resp.Body.Close()
	if pid, err := strconv.Atoi(resp.Header.Get("X-Worker")); err == nil {
		l.worker, answer.worker = pid, pid
	}
	read := r.read
	if read == nil {
		read = io.ReadAll
	}
	if answer.body, err = read(resp.Body); err != nil {
		return reply{}, false, err
	}
	answer.status, answer.retryAfter = resp.StatusCode, resp.Header.Get("Retry-After")
	answer.cookie, _, _ = strings.Cut(resp.Header.Get("Set-Cookie"), ";")
	if resp.StatusCode >= http.StatusBadRequest {
		var problem struct{ Code, Detail string }
		_ = json.Unmarshal(answer.body, &problem) // it may be none, which shows by its code
		answer.code, answer.detail = problem.Code, problem.Detail
	}
	return answer, resp.Close, nil
}

func (c *caller) connect(ctx context.Context) error {
	dialled := time.Now()
	dialing, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	conn, err := c.dial(dialing)
	c.line = &line{dialled: dialled, used: dialled, forget: func() bool { return true }}
	if err != nil {
		return fmt.Errorf("connect: %w", err)
	}
	c.line.conn, c.line.reader = conn, bufio.NewReader(conn)
	c.line.forget = context.AfterFunc(ctx, func() { conn.Close() })
	return nil
}

// hangUp closes the connection, if there is one.
func (c *caller) hangUp() {
	if c.line != nil {
		c.line.forget()
		if c.line.conn != nil {
			c.line.conn.Close()
		}
		c.line = nil
	}
}
