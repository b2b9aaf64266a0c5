package app_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

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

// Nobody is told more of the process that answers than that it is up, unless the setting says so.
func TestWorkersAreNotRevealed(t *testing.T) {
	t.Parallel()
	v := open(t, func(c *app.Config) { c.Slot, c.Host = 3, new(host) }).visitor()
	for _, path := range []string{"/health", "/livez", "/v1/products/kettle", "/v1/cart", "/nonsense"} {
		r := v.do("GET", path, nil)
		if got := r.header.Get("X-Worker"); got != "" {
			t.Errorf("%s: got X-Worker %q", path, got)
		}
		if path == "/health" && string(r.body) != `{"status":"ok"}`+"\n" {
			t.Errorf("/health: got %s", r.body)
		}
	}
}

// CORS is not offered: a preflight is refused, and no answer names another origin.
func TestOtherOrigins(t *testing.T) {
	t.Parallel()
	v := open(t).visitor()
	r := v.do("OPTIONS", "/v1/cart/items", nil, "Origin", "https://elsewhere.example", "Access-Control-Request-Method", "POST")
	r.problem(http.StatusMethodNotAllowed, "method-not-allowed")
	if got := r.header.Get("Allow"); got != "POST" {
		t.Errorf("got Allow %q", got)
	}
	for _, r := range []reply{r, v.do("GET", "/v1/products", nil, "Origin", "https://elsewhere.example"), v.do("GET", "/v1/cart", nil, "Origin", "https://elsewhere.example")} {
		if got := r.header.Get("Access-Control-Allow-Origin"); got != "" {
			t.Errorf("%s: got Access-Control-Allow-Origin %q", r.what, got)
		}
	}
}

// W5: /health tells which worker answers and how it is, where that is wanted.
func TestHealth(t *testing.T) {
	t.Parallel()
	host := new(host)
	v := open(t, func(c *app.Config) { c.Slot, c.Host, c.RevealWorkers = 3, host, true }).visitor()
	v.do("GET", "/readyz", nil).want(http.StatusOK, nil)
	var h app.Health
	r := v.do("GET", "/health", nil).want(http.StatusOK, &h)
	if h.Status != "ok" || h.PID == 0 || h.Slot != 3 || h.Release != "test" || h.RSSBytes != 1<<20 || h.UptimeSeconds <= 0 || h.InFlight != 7 || h.RequestsTotal != 99 {
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

// host is a server that tells what a test wants.
type host struct {
	unready, draining atomic.Bool
	began             chan struct{}
}

func (h *host) Unready() bool               { return h.unready.Load() }
func (h *host) Draining() bool              { return h.draining.Load() }
func (h *host) DrainBegan() <-chan struct{} { return h.began }
func (h *host) OnDrain(func()) func() bool  { return func() bool { return true } }
func (h *host) InFlight() int               { return 7 }
func (h *host) Requests() int64             { return 99 }
func (h *host) Memory() int64               { return 1 << 20 }

// W2: a worker that was told to stop says so to load balancers and serves on; one that drains asks every client to close
// its connection, also in answers to requests that came before.
func TestUnready(t *testing.T) {
	t.Parallel()
	host := new(host)
	v := open(t, func(c *app.Config) { c.Host = host }).visitor()
	host.unready.Store(true)
	v.do("GET", "/readyz", nil).want(http.StatusServiceUnavailable, nil)
	v.do("GET", "/livez", nil).want(http.StatusOK, nil)
	if r := v.do("GET", "/v1/products/kettle", nil).want(http.StatusOK, nil); r.closes {
		t.Error("connections are closed before the drain")
	}
	host.draining.Store(true)
	if r := v.do("GET", "/v1/products/kettle", nil).want(http.StatusOK, nil); !r.closes {
		t.Error("an answer in the drain keeps its connection")
	}
}
