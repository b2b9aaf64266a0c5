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

// fewAreSlow is what part of the answers may say that the shop is slow, as one of so many.
const fewAreSlow = 50

// allServed ends the crowd and reports what failed, with what the log says of it. A few answers may say that a database did
// not answer in time, where that is true; any other failure, and that of a drain above all, is a fault.
func (c *crowd) allServed() {
	c.t.Helper()
	c.leave()
	for _, k := range c.kinds {
		var failures, slow []failure
		for _, f := range k.failures {
			if bad := new(badAnswer); errors.As(f.err, &bad) && bad.slow() {
				slow = append(slow, f)
			} else {
				failures = append(failures, f)
			}
		}
		answered := k.answered.Load()
		c.t.Logf("%s: %d answers, %d failures, %d too slow", k.name, answered, len(failures), len(slow))
		if int64(len(slow)) > answered/fewAreSlow {
			failures = append(failures, slow...)
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
			began := time.Now()
			resp, err := c.Get(page)
			if err != nil {
				return 0, err
			}
			defer resp.Body.Close()
			body, err := io.ReadAll(resp.Body)
			return 1, errors.Join(err, wantStatus(resp, http.StatusOK, body, began))
		}
	}
}

// buys fills a cart and checks out, as somebody new each time, over a fresh connection each time. It counts the orders.
func buys(s *shop, sku string, keys, orders *atomic.Int64) func() func() (int, error) {
	return func() func() (int, error) {
		transport := &http.Transport{DisableKeepAlives: true}
		return func() (answered int, err error) {
			jar, err := cookiejar.New(nil)
			if err != nil {
				return 0, err
			}
			client := &http.Client{Transport: transport, Jar: jar}
			key := fmt.Sprintf("order-%d", keys.Add(1))
			for _, step := range []struct {
				path, body string
				status     int
			}{
				{"/v1/cart/items", `{"sku": "` + sku + `", "quantity": 1}`, http.StatusOK},
				{checkoutPath, `{"email": "you@example.com", "payment_token": "tok_ok"}`, http.StatusCreated},
			} {
				req, err := http.NewRequest(http.MethodPost, s.url(step.path), strings.NewReader(step.body))
				if err != nil {
					return answered, err
				}
				req.GetBody = nil // nothing to send it again from
				req.Header.Set("Content-Type", "application/json")
				if step.path == checkoutPath {
					req.Header.Set("Idempotency-Key", key)
				}
				began := time.Now()
				resp, err := client.Do(req)
				if err != nil {
					return answered, err
				}
				body, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				answered++
				if err := errors.Join(err, wantStatus(resp, step.status, body, began)); err != nil {
					return answered, err
				}
			}
			orders.Add(1)
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

// shortestLimit is the least that a worker waits for its databases: for Redis, a second, and once more.
const shortestLimit = 2 * time.Second

// slow reports whether this is what a shop in order answers on a machine that has no time for it: that a database did not
// answer in time, after that time, and when to come back. A reload is no excuse to answer so any sooner; and a drain has
// a code of its own. Nor does it excuse a checkout.
func (e *badAnswer) slow() bool {
	var problem struct {
		Code   string `json:"code"`
		Detail string `json:"detail"`
	}
	return json.Unmarshal([]byte(e.body), &problem) == nil && problem.Code == "unavailable" && strings.Contains(problem.Detail, "did not answer in time") &&
		e.retryAfter != "" && e.took >= shortestLimit && !strings.HasSuffix(e.request, " "+checkoutPath)
}

const checkoutPath = "/v1/checkout"

// Of all that can be answered with 503, only one thing is excused.
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
		if got := test.answer.slow(); got != test.excused {
			t.Errorf("%s: got %v, want %v", test.name, got, test.excused)
		}
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

// softPhase is how long a worker that leaves keeps idle connections at least (cluster.Server). Whoever thinks longer may
// find its connection closed, as on any server.
const softPhase = time.Second

// browses keeps a connection alive, never sends anything twice, and thinks up to a limit between two requests.
func browses(s *shop, method, path, body string, status int, think time.Duration) func() func() (int, error) {
	return func() func() (int, error) {
		c := new(rawClient)
		return func() (int, error) {
			began := time.Now()
			if think > 0 {
				<-time.After(rand.N(think))
			}
			if time.Since(began) > softPhase/2 {
				c.close() // this machine was too busy to think no longer than that
			}
			sent := time.Now()
			resp, got, err := c.ask(s.addr, method, path, body)
			if err != nil {
				return 0, err
			}
			return 1, wantStatus(resp, status, got, sent)
		}
	}
}

// rawClient keeps one connection alive until it is told to close it. It sends nothing twice: what http.Client does when a
// connection that it has used before turns out to be closed would hide what a reload must not do.
type rawClient struct {
	conn   net.Conn
	reader *bufio.Reader
	worker string // X-Worker of the last answer on it
}

// ask sends a request and reads the answer to its end. An answer that does not say which worker gave it, as that of a drain
// that comes too late for the shop's own, is put down to the worker that gave the one before on the same connection.
func (c *rawClient) ask(addr, method, path, body string) (*http.Response, []byte, error) {
	state := "kept-alive"
	if c.conn == nil {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			return nil, nil, err
		}
		c.conn, c.reader, c.worker, state = conn, bufio.NewReader(conn), "", "fresh"
	}
	_, err := fmt.Fprintf(c.conn, "%s %s HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
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
