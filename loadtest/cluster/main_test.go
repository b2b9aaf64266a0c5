package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func TestFlagsAreChecked(t *testing.T) {
	tests := []struct {
		args string
		want string // part of the complaint; none if empty
	}{
		{"", ""},
		{"-rounds 1 -duration 1s -warmup 0s -setups AD -skip wide,hot -spawns 2 -bursts 1", ""},
		{"-skip walks", "no such subject"},
		{"-setups AE", "the setups are A, B, C and D"},
		{"-setups=", "-setups is empty"},
		{"-rounds 0", "-rounds"},
		{"-bursts 0", "-bursts"},
		{"-duration 1500ms", "whole seconds"},
		{"-duration 0s", "whole seconds"},
		{"-duration 2m", "a minute is enough"},
		{"-warmup 1ms", "whole seconds"},
		{"-connections 0", "-connections"},
		{"-connections 100000", "-connections"},
		{"more", "unexpected argument"},
	}
	for _, tt := range tests {
		t.Run(tt.args, func(t *testing.T) {
			_, err := parseFlags(strings.Fields(tt.args), io.Discard)
			switch {
			case tt.want == "" && err != nil:
				t.Errorf("got %v, want no error", err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)):
				t.Errorf("got %v, want an error with %q", err, tt.want)
			}
		})
	}
}

func TestProcessFiles(t *testing.T) {
	var m memoryUse
	rollup := "55d0c0e00000-7ffd6d9f1000 ---p 00000000 00:00 0    [rollup]\nRss:               24300 kB\nPss:               11200 kB\nPss_Anon:           5200 kB\n"
	if err := kilobytes(rollup, map[string]*int64{"Rss": &m.rss, "Pss": &m.pss}); err != nil || m != (memoryUse{24300 << 10, 11200 << 10, 0}) {
		t.Errorf("got %v, %v", m, err)
	}
	if err := kilobytes(rollup, map[string]*int64{"RssAnon": &m.anon}); err == nil {
		t.Error("no error for a missing line")
	}
}

func TestUnevenness(t *testing.T) {
	for _, tt := range []struct {
		counts []int
		want   float64
	}{{[]int{32, 32}, 1}, {[]int{13, 14, 18, 19}, 19.0 / 13}, {[]int{0, 64}, math.Inf(1)}} {
		if got := unevenness(tt.counts); got != tt.want {
			t.Errorf("%v: got %v, want %v", tt.counts, got, tt.want)
		}
	}
}

// fakeShop sells everything to everybody, except where refuse says no.
func fakeShop(t *testing.T, refuse func(order int64) bool) (addr string, carts *atomic.Int64) {
	t.Helper()
	carts = new(atomic.Int64)
	var orders atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("POST /v1/cart/items", func(w http.ResponseWriter, r *http.Request) {
		var in struct {
			SKU      string
			Quantity int
		}
		if err := json.NewDecoder(r.Body).Decode(&in); err != nil || in.SKU == "" || in.Quantity != 1 || r.Header.Get("Cookie") != "" {
			http.Error(w, fmt.Sprint("bad cart ", in, err, r.Header), http.StatusBadRequest)
			return
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: fmt.Sprint(carts.Add(1)), Path: "/", HttpOnly: true})
	})
	mux.HandleFunc("POST /v1/checkout", func(w http.ResponseWriter, r *http.Request) {
		if _, err := r.Cookie("session"); err != nil || r.Header.Get("Idempotency-Key") == "" {
			http.Error(w, "who are you?", http.StatusBadRequest)
			return
		}
		if n := orders.Add(1); refuse(n) {
			http.Error(w, "sold out", http.StatusConflict)
			return
		}
		w.WriteHeader(http.StatusCreated)
	})
	mux.HandleFunc("GET "+readPath, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Worker", "4711")
		fmt.Fprint(w, strings.Repeat("x", 5000)) // chunked
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), carts
}

func TestBuyers(t *testing.T) {
	for _, tt := range []struct {
		name   string
		refuse func(int64) bool
		failed bool
	}{
		{"everything is sold", func(int64) bool { return false }, false},
		{"one order in ten is refused", func(n int64) bool { return n%10 == 0 }, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			addr, carts := fakeShop(t, tt.refuse)
			until, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
			defer cancel()
			did, err := (&buyers{addr: addr, count: 4, skus: []string{"A", "B"}, until: until}).run(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if len(did.checkouts) == 0 || int64(len(did.checkouts)+did.failed) != carts.Load() {
				t.Errorf("%d orders and %d failures of %d carts", len(did.checkouts), did.failed, carts.Load())
			}
			if (did.failed > 0) != tt.failed || (did.complaint != nil) != tt.failed {
				t.Errorf("%d failed: %v", did.failed, did.complaint)
			}
		})
	}
}

func TestBuyersGoHomeWhenTheShopIsGone(t *testing.T) {
	addr, _ := fakeShop(t, func(int64) bool { return true })
	did, err := (&buyers{addr: addr, count: 2, skus: []string{"A"}, until: t.Context()}).run(t.Context())
	if err != nil || did.failed != 2*maxFailures || did.complaint == nil {
		t.Errorf("got %d failures, %v, %v, want %d", did.failed, did.complaint, err, 2*maxFailures)
	}
}

func TestBurstCountsWorkers(t *testing.T) {
	addr, _ := fakeShop(t, nil)
	counts := map[string]int{"4712": 0}
	if err := burst(t.Context(), addr, 16, counts); err != nil || counts["4711"] != 16 || len(counts) != 2 {
		t.Errorf("got %v, %v", counts, err)
	}
}

func TestMissingToolsAreNamed(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	if err := requirements(config{}); err == nil {
		t.Error("no error without wrk")
	}
}
