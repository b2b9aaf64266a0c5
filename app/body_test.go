package app_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"doorbuster/app"
)

// trickler sends a request whose body comes byte by byte.
type trickler struct {
	net.Conn
	what string
}

func trickle(t *testing.T, addr, method, path string) *trickler {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nX-Forwarded-For: %s\r\nContent-Length: 1000\r\n\r\n{", method, path, newAddress())
	return &trickler{conn, method + " " + path}
}

// answer goes on with a byte every now and then until there is an answer.
func (c *trickler) answer() (*http.Response, error) {
	answered := make(chan struct{})
	defer close(answered)
	go func() {
		ticker := time.NewTicker(200 * time.Millisecond)
		defer ticker.Stop()
		for {
			select {
			case <-ticker.C:
				io.WriteString(c, " ")
			case <-answered:
				return
			}
		}
	}()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	resp.Body = io.NopCloser(strings.NewReader(string(body)))
	return resp, err
}

// A body that trickles ends with 408 at its deadline, whatever it is sent to, and its
// connection with it. Until then it holds no place: more of them than there are
// places at the turnstiles change nothing for others.
func TestTricklingBodies(t *testing.T) {
	t.Parallel()
	s := open(t)
	addr := strings.TrimPrefix(s.url, "http://")
	var all []*trickler
	for _, target := range []string{
		"POST /v1/checkout", "POST /v1/cart/items", "PUT /v1/cart/items/KETTLE", "DELETE /v1/cart/items/KETTLE", "PUT /v1/cart/discount",
		"POST /v1/account", "POST /v1/session", "GET /v1/session", "DELETE /v1/session", "GET /v1/cart", "GET /v1/orders",
		"GET /v1/products", "GET /v1/products/kettle", "GET /v1/categories", "GET /livez", "GET /readyz", "GET /health",
		"GET /openapi.json", "GET /docs", "GET /nonsense", "PATCH /v1/cart",
	} {
		method, path, _ := strings.Cut(target, " ")
		all = append(all, trickle(t, addr, method, path))
	}
	for range 300 {
		all = append(all, trickle(t, addr, "POST", "/v1/cart/items"))
	}
	v := s.visitor()
	v.add(kettle, 1)
	v.buy("while-they-trickle", "tok_ok", "").want(http.StatusCreated, nil)
	v.do("GET", "/v1/products/kettle", nil).want(http.StatusOK, nil)
	var wg sync.WaitGroup
	for _, c := range all {
		wg.Go(func() {
			resp, err := c.answer()
			if err != nil {
				t.Errorf("%s: %v", c.what, err)
				return
			}
			body, _ := io.ReadAll(resp.Body)
			if resp.StatusCode != http.StatusRequestTimeout || !resp.Close || !strings.Contains(string(body), "3276 bytes a second") {
				t.Errorf("%s: got %d, closing %v: %s", c.what, resp.StatusCode, resp.Close, body)
			}
		})
	}
	wg.Wait()
}

// drainable is a host whose drain a test begins.
type drainable struct {
	host
	mu sync.Mutex
	f  []func()
}

func (d *drainable) OnDrain(f func()) func() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.f = append(d.f, f)
	return func() bool { return true }
}

func (d *drainable) waiting() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.f)
}

// A body that trickles into a drain ends with 408 as well: see TestBodyDeadlines for when.
func TestTricklingBodiesInADrain(t *testing.T) {
	t.Parallel()
	host := new(drainable)
	s := open(t, func(c *app.Config) { c.Host = host })
	c := trickle(t, strings.TrimPrefix(s.url, "http://"), "POST", "/v1/cart/items")
	for host.waiting() == 0 {
		runtime.Gosched() // nothing tells
	}
	for _, f := range host.f {
		f()
	}
	resp, err := c.answer()
	if err != nil || resp.StatusCode != http.StatusRequestTimeout {
		t.Fatalf("got %+v, %v, want 408", resp, err)
	}
}

// What kind of body it is, and what may stand in it.
func TestBodies(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	for _, c := range []struct {
		name, body string
		types      []string
		status     int
		detail     string // part of
	}{
		{"JSON", `{"sku": "KETTLE", "quantity": 1}`, []string{"application/json"}, 200, ""},
		{"in any case", `{"sku": "KETTLE", "quantity": 1}`, []string{`Application/JSON; Charset="UTF-8"`}, 200, ""},
		{"no type", `{"sku": "KETTLE", "quantity": 1}`, nil, 415, "Send one Content-Type"},
		{"short", `{"sku": "KETTLE", "quantity": 1}`, []string{"json"}, 415, "Send application/json"},
		{"problem", `{"sku": "KETTLE", "quantity": 1}`, []string{"application/problem+json"}, 415, "Send application/json"},
		{"malformed", `{"sku": "KETTLE", "quantity": 1}`, []string{"application/json; ;"}, 415, "Send application/json"},
		{"another charset", `{"sku": "KETTLE", "quantity": 1}`, []string{"application/json; charset=utf-16"}, 415, "UTF-8"},
		{"two types", `{"sku": "KETTLE", "quantity": 1}`, []string{"application/json", "text/plain"}, 415, "Send one Content-Type"},
		{"twice", `{"sku": "KETTLE", "quantity": -5, "quantity": 7}`, []string{"application/json"}, 422, "quantity: is given more than once"},
		{"twice, escaped", `{"sku": "KETTLE", "quantity": 7, "quan\u0074ity": 7}`, []string{"application/json"}, 422, "quantity: is given more than once"},
		{"twice, deeper", `{"sku": {"a": [{"b": 1, "b": 2}]}, "quantity": 7}`, []string{"application/json"}, 422, "b: is given more than once"},
		{"a whole number with a fraction", `{"sku": "KETTLE", "quantity": 1.0}`, []string{"application/json"}, 200, ""},
		{"a whole number with an exponent", `{"quantity": 20e-1, "sku": "KETTLE"}`, []string{"application/json"}, 200, ""},
		{"not whole", `{"sku": "KETTLE", "quantity": 1.5}`, []string{"application/json"}, 422, "quantity"},
		{"beyond everything", `{"sku": "KETTLE", "quantity": 1e400}`, []string{"application/json"}, 422, "quantity: is a number out of range"},
		{"whole, and too large", `{"sku": "KETTLE", "quantity": 1e20}`, []string{"application/json"}, 422, "quantity"},
	} {
		r := v.typed("POST", "/v1/cart/items", c.body, c.types)
		if r.status != c.status {
			t.Errorf("%s: got %d, want %d: %s", c.name, r.status, c.status, r.body)
			continue
		}
		if c.detail != "" && !strings.Contains(strings.ReplaceAll(string(r.body), `"`, ""), c.detail) {
			t.Errorf("%s: got %s, want %q in it", c.name, r.body, c.detail)
		}
	}
	for _, path := range []string{"/v1/products", "/v1/orders"} {
		for _, limit := range []string{"", "+5", "05", "5.0", "0", "101", "%205"} {
			p := v.do("GET", path+"?limit="+limit, nil).problem(http.StatusUnprocessableEntity, "invalid-request")
			if len(p.Errors) != 1 || p.Errors[0].Field != "limit" || !strings.Contains(p.Detail, "from 1 to 100, such as 20") {
				t.Errorf("%s?limit=%s: got %+v", path, limit, p)
			}
		}
	}
}

// typed sends a body with any number of Content-Type fields.
func (v *visitor) typed(method, path, body string, types []string) reply {
	v.shop.t.Helper()
	req, err := http.NewRequest(method, v.shop.url+path, strings.NewReader(body))
	if err != nil {
		v.shop.t.Fatal(err)
	}
	req.Header = http.Header{"X-Forwarded-For": {v.from}, "Content-Type": types}
	resp, err := v.client.Do(req)
	if err != nil {
		v.shop.t.Fatal(err)
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(resp.Body)
	if err != nil {
		v.shop.t.Fatal(err)
	}
	return reply{v.shop.t, method + " " + path, resp.StatusCode, resp.Header, raw, resp.Close}
}

// A body that says that it is too large is not waited for: net/http would read it
// to its end before it answers, and outside of the limits of bodies.
func TestTooLargeIsNotWaitedFor(t *testing.T) {
	t.Parallel()
	s := open(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(15 * time.Second)); err != nil { // net/http would wait for 30 s
		t.Fatal(err)
	}
	fmt.Fprintf(conn, "POST /v1/cart/items HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: 20000\r\n\r\n{")
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusRequestEntityTooLarge || !resp.Close {
		t.Errorf("got %d, closing %v, want 413 on a connection that ends", resp.StatusCode, resp.Close)
	}
}
