package client_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"doorbuster/loadtest/internal/client"
)

// shop answers as it is told, and counts connections and requests.
func shop(t *testing.T, answer func(w http.ResponseWriter, r *http.Request)) (addr string, connections, requests *atomic.Int64) {
	t.Helper()
	connections, requests = new(atomic.Int64), new(atomic.Int64)
	srv := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		answer(w, r)
	}))
	srv.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	srv.Start()
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), connections, requests
}

func TestReply(t *testing.T) {
	addr, connections, requests := shop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || r.Header.Get("Content-Type") != "application/json" || r.Header.Get("Cookie") != "session=1" {
			t.Errorf("got %s with %v", r.Method, r.Header)
		}
		w.Header().Set("X-Worker", "4711")
		w.Header().Set("Retry-After", "3")
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "2", Path: "/"})
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprint(w, "busy")
	})
	c, err := client.Dial(t.Context(), addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 3 {
		r, err := c.Do(t.Context(), http.MethodPost, "/", "Cookie: session=1\r\n", "{}")
		if err != nil || r.Status != 503 || r.Worker != "4711" || r.RetryAfter != "3" || r.Cookie != "session=2" || string(r.Body) != "busy" {
			t.Errorf("got %+v, %v", r, err)
		}
	}
	if connections.Load() != 1 || requests.Load() != 3 {
		t.Errorf("%d requests over %d connections, want 3 over 1", requests.Load(), connections.Load())
	}
}

// A request that failed has failed: net/http's client would send it again. The next one has a new connection.
func TestNothingIsSentTwice(t *testing.T) {
	addr, connections, requests := shop(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cut" {
			panic(http.ErrAbortHandler)
		}
	})
	c := client.New(addr)
	defer c.Close()
	for i, path := range []string{"/", "/cut", "/"} {
		if _, err := c.Get(t.Context(), path); (err != nil) != (path == "/cut") {
			t.Errorf("request %d: got %v", i, err)
		}
	}
	if connections.Load() != 2 || requests.Load() != 3 {
		t.Errorf("%d requests over %d connections, want 3 over 2", requests.Load(), connections.Load())
	}
}

func TestCloseIsObeyed(t *testing.T) {
	addr, connections, _ := shop(t, func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Connection", "close") })
	c := client.New(addr)
	defer c.Close()
	for range 3 {
		if _, err := c.Get(t.Context(), "/"); err != nil {
			t.Fatal(err)
		}
	}
	if connections.Load() != 3 {
		t.Errorf("%d connections, want 3", connections.Load())
	}
}

func TestLimit(t *testing.T) {
	release := make(chan struct{})
	addr, _, _ := shop(t, func(http.ResponseWriter, *http.Request) { <-release })
	defer close(release)
	c := client.New(addr)
	c.Limit = 10 * time.Millisecond
	if _, err := c.Get(t.Context(), "/"); err == nil {
		t.Error("no error though nobody answers")
	}
}

func TestFrom(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("127.0.0.2 is not an address of this machine by itself")
	}
	from := make(chan string, 1)
	addr, _, _ := shop(t, func(_ http.ResponseWriter, r *http.Request) { from <- r.RemoteAddr })
	c := client.New(addr)
	c.From = &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}
	defer c.Close()
	if _, err := c.Get(t.Context(), "/"); err != nil {
		t.Fatal(err)
	}
	if host, _, _ := net.SplitHostPort(<-from); host != "127.0.0.2" {
		t.Errorf("the shop saw %s", host)
	}
}
