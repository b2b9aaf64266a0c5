package app_test

import (
	"bytes"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"doorbuster/app"
)

// discard is a ResponseWriter that costs nothing itself.
type discard struct {
	header http.Header
	status int
}

func (w *discard) Header() http.Header         { return w.header }
func (w *discard) Write(b []byte) (int, error) { return len(b), nil }
func (w *discard) WriteHeader(status int)      { w.status = status }

func benchmarkHandler(b *testing.B, h http.Handler, request func() *http.Request) {
	b.Helper()
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		w.status = http.StatusOK
		h.ServeHTTP(w, request())
		if w.status != http.StatusOK {
			b.Fatalf("got status %d", w.status)
		}
	}
}

func quiet(c *app.Config) { c.Log = slog.New(slog.DiscardHandler) }

// busy is quiet, with limits that one customer can't reach, though they are counted.
func busy(b *testing.B) func(*app.Config) {
	return func(c *app.Config) {
		quiet(c)
		const most = "1000000/1s"
		c.Tunables = tunables(b, "limit-requests-session="+most, "limit-requests-address="+most, "limit-requests-client="+most)
	}
}

// BenchmarkProductRead is the handler's part of a product read, from memory, beside a bare handler that writes the same
// bytes. What net/http and the kernel add is the same for both; .ci/bench-reads measures the whole.
func BenchmarkProductRead(b *testing.B) {
	s := open(b, quiet)
	r := httptest.NewRequest(http.MethodGet, "/v1/products/kettle", nil)
	w := httptest.NewRecorder()
	s.app.Handler().ServeHTTP(w, r)
	body := w.Body.Bytes()
	b.Run("shop", func(b *testing.B) {
		benchmarkHandler(b, s.app.Handler(), func() *http.Request { return r })
	})
	b.Run("bare", func(b *testing.B) {
		benchmarkHandler(b, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.Write(body)
		}), func() *http.Request { return r })
	})
}

// session returns the cookie of a visitor with a kettle in the cart.
func session(b *testing.B, s *shop) string {
	b.Helper()
	v := s.visitor()
	v.add(kettle, 1)
	return "session=" + v.cookie().Value
}

// BenchmarkSessionLookup (N4) is a request for the session alone, with a cookie, a look-up in Redis, and without.
func BenchmarkSessionLookup(b *testing.B) {
	s := open(b, busy(b))
	cookie := session(b, s)
	// The operation asks nothing of PostgreSQL for a guest: the answer is "nobody is logged in".
	ask := func(cookie string) func(*testing.B) {
		return func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/v1/session", nil)
			if cookie != "" {
				r.Header.Set("Cookie", cookie)
			}
			w := &discard{header: http.Header{}}
			b.ReportAllocs()
			for b.Loop() {
				clear(w.header)
				if s.app.Handler().ServeHTTP(w, r); w.status != http.StatusUnauthorized {
					b.Fatalf("got status %d", w.status)
				}
			}
		}
	}
	b.Run("with", ask(cookie))
	b.Run("without", ask(""))
}

// BenchmarkAddToCart is a whole add: the session from Redis, the upsert and the priced cart from PostgreSQL.
func BenchmarkAddToCart(b *testing.B) {
	s := open(b, busy(b))
	handler := s.app.Handler()
	body := []byte(`{"sku": "KETTLE", "quantity": 1}`)
	var cookie string
	n := 0
	benchmarkHandler(b, handler, func() *http.Request {
		if n%900 == 0 { // a line holds a thousand
			cookie = session(b, s)
		}
		n++
		r := httptest.NewRequest(http.MethodPost, "/v1/cart/items", io.NopCloser(bytes.NewReader(body)))
		r.Header = http.Header{"Content-Type": {"application/json"}, "Cookie": {cookie}}
		return r
	})
}

// BenchmarkCheckout is an order from an idle shop, one at a time: a cart, an add, and the three steps with the simulated provider.
func BenchmarkCheckout(b *testing.B) {
	s := open(b, busy(b))
	if _, err := s.pool.Exec(b.Context(), "UPDATE stock SET available = 1000000"); err != nil {
		b.Fatal(err)
	}
	handler := s.app.Handler()
	cookie := session(b, s)
	n := 0
	b.ReportAllocs()
	for b.Loop() {
		n++
		for _, step := range []struct{ path, body string }{
			{"/v1/cart/items", `{"sku": "KETTLE", "quantity": 1}`},
			{"/v1/checkout", `{"email": "a@example.com", "payment_token": "tok_ok"}`},
		} {
			w := httptest.NewRecorder()
			r := httptest.NewRequest(http.MethodPost, step.path, strings.NewReader(step.body))
			r.Header = http.Header{"Content-Type": {"application/json"}, "Cookie": {cookie}, "Idempotency-Key": {"bench-" + strconv.Itoa(n)}}
			if handler.ServeHTTP(w, r); w.Code >= 300 {
				b.Fatalf("%s: got %d: %s", step.path, w.Code, w.Body)
			}
		}
	}
}
