package app_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"doorbuster/app"
)

// W8: a panic kills its request, not the worker: 500 problem+json, the stack and the request's name in the log.
func TestPanic(t *testing.T) {
	t.Parallel()
	s := open(t)
	mux := http.NewServeMux()
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("kettle exploded") })
	mux.HandleFunc("/late", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(w, "half an ans")
		http.NewResponseController(w).Flush()
		panic("kettle exploded late")
	})
	server := httptest.NewServer(s.app.Edge(mux))
	t.Cleanup(server.Close)
	resp, err := server.Client().Get(server.URL + "/panic")
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	id := resp.Header.Get("X-Request-Id")
	reply{t, "GET /panic", resp.StatusCode, resp.Header, body, resp.Close}.problem(http.StatusInternalServerError, "internal")
	if strings.Contains(string(body), "exploded") || strings.Contains(string(body), ".go") {
		t.Errorf("the client is told too much: %s", body)
	}
	if line := s.log.line(`"panic":"kettle exploded"`, id, "server_test.go"); line == "" {
		t.Errorf("no log line with the panic, the stack and request %s: %s", id, s.log)
	}
	// An answer that has begun can't be mended: the connection is cut, so that nobody takes the half for the whole.
	resp, err = server.Client().Get(server.URL + "/late")
	if err == nil {
		_, err = io.ReadAll(resp.Body)
		resp.Body.Close()
	}
	if err == nil {
		t.Error("half an answer was taken for a whole one")
	}
	s.visitor().do("GET", "/livez", nil).want(http.StatusOK, nil)
}

// W5: /health tells which worker answers and how it is.
func TestHealth(t *testing.T) {
	t.Parallel()
	v := open(t, func(c *app.Config) { c.Slot = 3 }).visitor()
	v.do("GET", "/readyz", nil).want(http.StatusOK, nil)
	var h app.Health
	r := v.do("GET", "/health", nil).want(http.StatusOK, &h)
	if h.Status != "ok" || h.PID == 0 || h.Slot != 3 || h.Release != "test" || h.RSSBytes < 1<<20 || h.UptimeSeconds <= 0 || h.InFlight != 1 || h.RequestsTotal < 2 {
		t.Errorf("got %+v", h)
	}
	if got := r.header.Get("X-Worker"); got != fmt.Sprint(h.PID) {
		t.Errorf("got X-Worker %q, want %d", got, h.PID)
	}
	if got := v.do("GET", "/livez", nil, "X-Request-Id", "from-the-client.1").header.Get("X-Request-Id"); got != "from-the-client.1" {
		t.Errorf("got X-Request-Id %q, want the client's", got)
	}
	if got := v.do("GET", "/livez", nil, "X-Request-Id", "forged log line").header.Get("X-Request-Id"); strings.Contains(got, " ") {
		t.Errorf("got X-Request-Id %q", got)
	}
}

// served is a worker on a listener of its own, that can be told to stop.
type served struct {
	*shop
	addr        string
	stop, hurry context.CancelFunc
	result      chan error
	info        *logBuffer
}

func serve(t *testing.T, change func(*app.Config)) *served {
	t.Helper()
	info := new(logBuffer)
	s := open(t, change, func(c *app.Config) { c.Log = slog.New(slog.NewJSONHandler(info, nil)) })
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	stop, stopNow := context.WithCancel(context.Background())
	hurry, hurryNow := context.WithCancel(context.Background())
	d := &served{s, listener.Addr().String(), stopNow, hurryNow, make(chan error, 1), info}
	d.url = "http://" + d.addr
	go func() { d.result <- s.app.Serve(stop, listener, hurry) }()
	t.Cleanup(func() { stopNow(); hurryNow() })
	return d
}

// upload begins a request whose body the test ends when it likes.
func (d *served) upload() (conn net.Conn, finish func() *http.Response) {
	d.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	body := `{"sku": "KETTLE", "quantity": 1}`
	fmt.Fprintf(conn, "POST /v1/cart/items HTTP/1.1\r\nHost: shop\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body[:5])
	return conn, func() *http.Response {
		io.WriteString(conn, body[5:])
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			d.t.Fatalf("the request in flight was not answered: %v", err)
		}
		resp.Body.Close()
		return resp
	}
}

// inFlight waits until n requests, the asking one not counted, are being worked on.
func (d *served) inFlight(client *visitor, n int) {
	d.t.Helper()
	for {
		var h app.Health
		client.do("GET", "/health", nil).want(http.StatusOK, &h)
		if h.InFlight == n+1 {
			return
		}
	}
}

// W2: told to stop, a worker is unready first, and goes on as before for ShutdownDelay; whoever is in a hurry ends both that
// and the drain.
func TestShutdownDelay(t *testing.T) {
	t.Parallel()
	d := serve(t, func(c *app.Config) { c.ShutdownDelay = time.Hour; c.DrainTimeout = time.Minute })
	v := d.visitor()
	d.upload()
	d.inFlight(v, 1)
	d.stop()
	for v.do("GET", "/readyz", nil).status != http.StatusServiceUnavailable { //nolint:revive // the event is the answer
	}
	if r := v.do("GET", "/v1/products/kettle", nil).want(http.StatusOK, nil); r.closes {
		t.Error("the delay before the drain closes connections already")
	}
	v.do("GET", "/livez", nil).want(http.StatusOK, nil)
	d.hurry()
	if err := <-d.result; !errors.Is(err, app.ErrCut) {
		t.Errorf("got %v, want ErrCut", err)
	}
}

// W2, W3: in a drain nothing new is accepted; what is in flight and what still comes on open connections is answered, each
// with Connection: close; and the end is clean.
func TestDrainFinishes(t *testing.T) {
	t.Parallel()
	d := serve(t, func(c *app.Config) { c.DrainTimeout = time.Minute })
	v := d.visitor()
	_, finish := d.upload()
	d.inFlight(v, 1)
	d.stop()
	for { // the connection of v is kept alive: it is answered, and asked to close
		r, err := v.try("GET", "/readyz", nil)
		if err != nil {
			t.Fatalf("a kept connection was not answered: %v", err)
		}
		if r.closes {
			if r.status != http.StatusServiceUnavailable {
				t.Errorf("got %d from /readyz while draining, want 503", r.status)
			}
			break
		}
	}
	for { // nothing new is accepted
		conn, err := net.Dial("tcp", d.addr)
		if err != nil {
			break
		}
		conn.Close()
	}
	if resp := finish(); resp.StatusCode != http.StatusOK || !resp.Close {
		t.Errorf("the request in flight: got %d, close %v, want 200 and Connection: close", resp.StatusCode, resp.Close)
	}
	if err := <-d.result; err != nil {
		t.Errorf("got %v, want a clean end", err)
	}
}

// W3: the drain ends at its limit; what is cut is in the log, and the result says so.
func TestDrainLimit(t *testing.T) {
	t.Parallel()
	d := serve(t, func(c *app.Config) { c.DrainTimeout = 50 * time.Millisecond })
	conn, _ := d.upload()
	d.inFlight(d.visitor(), 1)
	d.stop()
	if err := <-d.result; !errors.Is(err, app.ErrCut) {
		t.Errorf("got %v, want ErrCut", err)
	}
	if d.info.line("drain limit reached", "POST /v1/cart/items") == "" {
		t.Errorf("no log line says what was cut: %s", d.info)
	}
	if n, err := io.Copy(io.Discard, conn); n != 0 {
		t.Errorf("the cut request was answered with %d bytes, %v", n, err)
	}
}
