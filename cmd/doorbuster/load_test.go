//go:build unix

package main_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// crowd is clients that ask a shop one thing after the other, all at the same time, and take note of what fails.
type crowd struct {
	t     *testing.T
	shop  *shop
	stop  chan struct{}
	done  sync.WaitGroup
	kinds []*kind
}

// kind is what clients of one kind have seen.
type kind struct {
	name     string
	answered atomic.Int64
	mu       sync.Mutex
	failures []failure
}

// failure is a request that failed, at the moment at which its client knew.
type failure struct {
	at  time.Time
	err error
}

func newCrowd(s *shop) *crowd {
	c := &crowd{t: s.t, shop: s, stop: make(chan struct{})}
	s.t.Cleanup(func() { c.leave() })
	return c
}

// join adds n clients. Each does what its own function, made by prepare, does, until the crowd leaves; the function returns
// how many answers it got.
func (c *crowd) join(name string, n int, prepare func() func() (int, error)) {
	k := &kind{name: name}
	c.kinds = append(c.kinds, k)
	for range n {
		once := prepare()
		c.done.Go(func() {
			for {
				select {
				case <-c.stop:
					return
				default:
				}
				answered, err := once()
				k.answered.Add(int64(answered))
				if err != nil {
					k.mu.Lock()
					k.failures = append(k.failures, failure{time.Now(), err})
					k.mu.Unlock()
				}
			}
		})
	}
}

// working returns when clients of each kind have got an answer since it was called.
func (c *crowd) working() {
	c.t.Helper()
	tooLong := time.Now().Add(hang)
	for _, k := range c.kinds {
		for before := k.answered.Load(); k.answered.Load() == before; {
			if time.Now().After(tooLong) {
				c.t.Fatalf("%s: no answer for %v", k.name, hang)
			}
			<-time.After(time.Millisecond) // the clients need the processor more
		}
	}
}

// leave stops the clients, after what they are doing.
func (c *crowd) leave() {
	select {
	case <-c.stop:
	default:
		close(c.stop)
	}
	c.done.Wait()
}

// mostReported is how many failures of a kind are written out.
const mostReported = 5

// fewExcused is what part of the requests may be excused, as one of so many.
const fewExcused = 50

// allServed ends the crowd and reports what failed, with what the log says of it. A few failures are excused: see excused.
func (c *crowd) allServed() {
	c.t.Helper()
	c.leave()
	for _, k := range c.kinds {
		var failures, excusable []failure
		for _, f := range k.failures {
			if excused(f.err) {
				excusable = append(excusable, f)
			} else {
				failures = append(failures, f)
			}
		}
		answered := k.answered.Load()
		c.t.Logf("%s: %d answers, %d failures, %d excused", k.name, answered, len(failures), len(excusable))
		if int64(len(excusable)) > max(1, answered/fewExcused) {
			failures = append(failures, excusable...)
		}
		if len(failures) == 0 {
			continue
		}
		c.t.Errorf("%s: %d of %d failed, such as:", k.name, len(failures), answered)
		for _, f := range failures[:min(len(failures), mostReported)] {
			worker := ""
			if bad := new(badAnswer); errors.As(f.err, &bad) {
				worker = bad.worker
			}
			c.t.Logf("at %s: %v\nthe log about it:\n%s", f.at.Format(time.RFC3339Nano), f.err, strings.Join(c.shop.about(worker, f.at), "\n"))
		}
	}
}

// reads asks for a product with the client that each of them is given.
func reads(client func() *http.Client, page string) func() func() (int, error) {
	return func() func() (int, error) {
		c := client()
		return func() (int, error) {
			req, err := http.NewRequest(http.MethodGet, page, nil)
			if err != nil {
				return 0, err
			}
			return send(c, req, http.StatusOK)
		}
	}
}

// send sends a request, and wants to be answered with a status.
func send(client *http.Client, req *http.Request, status int) (answered int, err error) {
	var conn connecting
	began := time.Now()
	resp, err := client.Do(conn.watch(req))
	if err != nil {
		return 0, unlessLate(err, conn.idle())
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return 1, errors.Join(err, unlessLate(wantStatus(resp, status, body, began), conn.idle()))
}

// A step is a request of a customer, and how it is to be answered.
type step struct {
	method, path, body string
	status             int
}

// shopping fills a cart and checks out.
func shopping(sku string) []step {
	return []step{
		{"POST", "/v1/cart/items", `{"sku": "` + sku + `", "quantity": 1}`, http.StatusOK},
		{"POST", checkoutPath, `{"email": "you@example.com", "payment_token": "tok_ok"}`, http.StatusCreated},
	}
}

// buys goes shopping, and counts the orders: see visits.
func buys(s *shop, sku string, keys, orders *atomic.Int64) func() func() (int, error) {
	return visits(s, shopping(sku), keys, orders)
}

// visits takes all steps as somebody new each time, over fresh connections, and
// counts who came to the end.
func visits(s *shop, steps []step, keys, ends *atomic.Int64) func() func() (int, error) {
	return func() func() (int, error) {
		transport := &http.Transport{DisableKeepAlives: true}
		return func() (answered int, err error) {
			jar, err := cookiejar.New(nil)
			if err != nil {
				return 0, err
			}
			client := &http.Client{Transport: transport, Jar: jar}
			key, from := fmt.Sprintf("order-%s-%d", s.addr, keys.Add(1)), newAddress()
			for _, step := range steps {
				req, err := http.NewRequest(step.method, s.url(step.path), strings.NewReader(step.body))
				if err != nil {
					return answered, err
				}
				req.Header.Set("X-Forwarded-For", from)
				req.GetBody = nil // nothing to send it again from
				req.Header.Set("Content-Type", "application/json")
				if step.path == checkoutPath {
					req.Header.Set("Idempotency-Key", key)
				}
				n, err := send(client, req, step.status)
				answered += n
				if err != nil {
					return answered, err
				}
			}
			ends.Add(1)
			return answered, nil
		}
	}
}

// badAnswer is an answer that should have been another. It tells all that the answer says of itself: a drain, a crowd and a
// database that is away have the same status, and differ in the body's code.
type badAnswer struct {
	request    string // "POST /v1/cart/items"
	status     string
	worker     string // pid of the one that gave it, or is known to have the connection; "" if nobody knows
	retryAfter string
	took       time.Duration
	body       string
}

func (e *badAnswer) Error() string {
	return fmt.Sprintf("%s: %s after %v (X-Worker %q, Retry-After %q): %s", e.request, e.status, e.took, e.worker, e.retryAfter, e.body)
}

// shortestLimit is the least that a worker waits for its databases: the time limit of a request.
const shortestLimit = 3 * time.Second

// excused reports whether a failure is one of a machine that has no time, and not of the shop. A worker that drains is no
// excuse for anything that it could know of in time.
func excused(err error) bool {
	bad := new(badAnswer)
	isAnswer := errors.As(err, &bad)
	if late := new(lateRequest); errors.As(err, &late) {
		return !isAnswer || bad.code() == "draining"
	}
	return isAnswer && bad.slow()
}

// slow reports whether this is what a shop in order answers where its databases are slow: that one did not answer in time,
// after that time, and when to come back. A reload is no excuse to answer so any sooner. It does not excuse a checkout.
func (e *badAnswer) slow() bool {
	return e.code() == "unavailable" && strings.Contains(e.body, "did not answer in time") &&
		e.retryAfter != "" && e.took >= shortestLimit && !strings.HasSuffix(e.request, " "+checkoutPath)
}

// code is the problem's, or "".
func (e *badAnswer) code() string {
	var problem struct {
		Code string `json:"code"`
	}
	_ = json.Unmarshal([]byte(e.body), &problem) // the answer may be no problem
	return problem.Code
}

// lateRequest is a request that failed on a connection that had been idle for as long as a drain keeps it, or longer: the
// client was kept off the processor, and its server, which had to leave, could not know that anything would come. idle is at
// least the time from the moment when the server may have begun to wait, to the one when the kernel had the request.
type lateRequest struct {
	idle time.Duration
	err  error
}

func (e *lateRequest) Error() string { return fmt.Sprintf("%v (sent after %v)", e.err, e.idle) }
func (e *lateRequest) Unwrap() error { return e.err }

// unlessLate returns err, and as a *lateRequest where the client was late.
func unlessLate(err error, idle time.Duration) error {
	if err == nil || idle < softPhase {
		return err
	}
	return &lateRequest{idle, err}
}

// connecting measures how long the client of a request leaves a new connection idle. net/http calls it from goroutines of
// its own, also when the request has failed already.
type connecting struct {
	mu          sync.Mutex
	began, sent time.Time
}

func (c *connecting) watch(req *http.Request) *http.Request {
	note := func(at *time.Time) {
		c.mu.Lock()
		defer c.mu.Unlock()
		*at = time.Now()
	}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		ConnectStart: func(string, string) { note(&c.began) },
		WroteRequest: func(httptrace.WroteRequestInfo) { note(&c.sent) },
	}))
}

// idle is 0 when the connection was there before: then net/http repeats what was in vain, or it must not fail.
func (c *connecting) idle() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.began.IsZero():
		return 0
	case c.sent.IsZero():
		return time.Since(c.began)
	}
	return c.sent.Sub(c.began)
}

const checkoutPath = "/v1/checkout"

// Of all that can fail, only what no shop could help is excused.
func TestOnlySlownessIsExcused(t *testing.T) {
	t.Parallel()
	const (
		slow     = `{"code": "unavailable", "detail": "A database of the shop did not answer in time. Try again."}`
		away     = `{"code": "unavailable", "detail": "A database of the shop can't be used right now. Try again."}`
		draining = `{"code": "draining", "detail": "This worker is shutting down"}`
		busy     = `{"code": "busy", "detail": "Too many requests came at once."}`
	)
	const cart = "POST /v1/cart/items"
	for _, test := range []struct {
		name    string
		answer  badAnswer
		excused bool
	}{
		{"slow", badAnswer{request: cart, body: slow, retryAfter: "2", took: shortestLimit}, true},
		{"slow, at once", badAnswer{request: cart, body: slow, retryAfter: "2", took: shortestLimit / 2}, false},
		{"slow, until when?", badAnswer{request: cart, body: slow, took: shortestLimit}, false},
		{"slow checkout", badAnswer{request: "POST " + checkoutPath, body: slow, retryAfter: "2", took: shortestLimit}, false},
		{"away", badAnswer{request: cart, body: away, retryAfter: "2", took: shortestLimit}, false},
		{"draining", badAnswer{request: cart, body: draining, retryAfter: "1", took: shortestLimit}, false},
		{"busy", badAnswer{request: cart, body: busy, retryAfter: "1", took: shortestLimit}, false},
		{"no problem", badAnswer{request: cart, body: "slow", retryAfter: "1", took: shortestLimit}, false},
	} {
		if got := excused(&test.answer); got != test.excused {
			t.Errorf("%s: got %v, want %v", test.name, got, test.excused)
		}
		late := unlessLate(&test.answer, softPhase)
		if got, want := excused(late), strings.Contains(test.answer.body, "draining"); got != want {
			t.Errorf("%s, and late: got %v, want %v", test.name, got, want)
		}
	}
	if excused(unlessLate(io.ErrUnexpectedEOF, softPhase-1)) {
		t.Error("a connection that was closed under a request is excused")
	}
	if !excused(unlessLate(io.ErrUnexpectedEOF, softPhase)) {
		t.Error("a request that came too late is not excused")
	}
}

// wantStatus fails with a *badAnswer. The request was begun at a moment.
func wantStatus(resp *http.Response, status int, body []byte, began time.Time) error {
	if resp.StatusCode == status {
		return nil
	}
	return &badAnswer{
		request: resp.Request.Method + " " + resp.Request.URL.Path, status: resp.Status,
		worker: resp.Header.Get("X-Worker"), retryAfter: resp.Header.Get("Retry-After"), took: time.Since(began), body: string(body),
	}
}

// softPhase is how long a worker that leaves keeps idle connections at least (cluster.Server). Whoever is idle for longer may
// find its connection closed, as on any server.
const softPhase = time.Second

// browses keeps a connection alive, never sends anything twice, and thinks up to a limit between two requests.
func browses(s *shop, method, path, body string, status int, think time.Duration) func() func() (int, error) {
	return func() func() (int, error) {
		c := new(rawClient)
		return func() (int, error) {
			if think > 0 {
				<-time.After(rand.N(think))
			}
			if time.Since(c.used) > softPhase/2 {
				c.close() // this machine was too busy to be back sooner
			}
			sent := time.Now()
			resp, got, err := c.ask(s.addr, method, path, body)
			if err != nil {
				return 0, unlessLate(err, c.idle)
			}
			return 1, unlessLate(wantStatus(resp, status, got, sent), c.idle)
		}
	}
}

// rawClient keeps one connection alive until it is told to close it. It sends nothing twice: what http.Client does when a
// connection that it has used before turns out to be closed would hide what a reload must not do.
type rawClient struct {
	conn   net.Conn
	reader *bufio.Reader
	worker string // X-Worker of the last answer on it
	// used is when the last request was about to be sent, or the connection to be made: it was idle from then on at the
	// earliest. idle is how long that was, when the last request was sent.
	used time.Time
	idle time.Duration
}

// ask sends a request and reads the answer to its end. An answer that does not say which worker gave it, as that of a drain
// that comes too late for the shop's own, is put down to the worker that gave the one before on the same connection.
func (c *rawClient) ask(addr, method, path, body string) (*http.Response, []byte, error) {
	state := "kept-alive"
	if c.conn == nil {
		dialled := time.Now()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		c.conn, c.reader, c.worker, c.used, state = conn, bufio.NewReader(conn), "", dialled, "fresh"
	}
	sending := time.Now()
	_, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: shop\r\nX-Forwarded-For: %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s",
		method, path, newAddress(), len(body), body) // it keeps no cookie: somebody new each time
	c.idle, c.used = time.Since(c.used), sending
	var resp *http.Response
	var got []byte
	if err == nil {
		resp, err = http.ReadResponse(c.reader, &http.Request{Method: method, URL: &url.URL{Path: path}})
	}
	if err == nil {
		got, err = io.ReadAll(resp.Body)
		err = errors.Join(err, resp.Body.Close())
	}
	if err != nil {
		err = fmt.Errorf("%s %s on a %s connection from %v to worker %q: %w", method, path, state, c.conn.LocalAddr(), c.worker, err)
		c.close()
		return nil, nil, err
	}
	if worker := resp.Header.Get("X-Worker"); worker != "" {
		c.worker = worker
	}
	resp.Header.Set("X-Worker", c.worker)
	if resp.Close {
		c.close()
	}
	return resp, got, nil
}

func (c *rawClient) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}
