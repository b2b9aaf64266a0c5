package cluster_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"doorbuster/cluster"
)

var quietLog = slog.New(slog.DiscardHandler)

// until waits for what has no event of its own to wait for. It never gives up: the test binary's time limit does.
func until(tb testing.TB, happened func() bool) {
	tb.Helper()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for !happened() {
		<-ticker.C
	}
}

func greet(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello") }

// logLines is a log to look things up in.
type logLines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *logLines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

// with returns the lines that contain all parts.
func (l *logLines) with(parts ...string) (found []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
next:
	for line := range strings.Lines(l.buf.String()) {
		for _, part := range parts {
			if !strings.Contains(line, part) {
				continue next
			}
		}
		found = append(found, line)
	}
	return found
}

// workplace is a Server under test, with handlers that the test holds up:
//
//	/hello     answers at once
//	/wait      says that it was entered, and answers when it is let go
//	/stream    sends "begun", and then the same
//	/upload    says that it was entered, and answers with the length of the body
//	/careless  says that it was entered, and answers without reading the body
//	/panic     panics
//	/hijack    takes the connection, says that it was entered, sends "hijacked" and returns
//	/hold      the same, but closes the connection when it is let go, and returns when it is let go again
type workplace struct {
	*cluster.Server
	t       testing.TB
	addr    string
	stop    context.CancelCauseFunc
	hurry   context.CancelFunc
	close   func() // ends it at once
	result  chan error
	log     *logLines
	entered chan string
	release chan struct{} // closed by letGo, or one token for each
	taken   chan net.Conn // hijacked connections
}

// open starts a Server on a port of its own.
func openWorkplace(t testing.TB, change func(*workplace)) *workplace {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return openWorkplaceOn(t, listener, change)
}

func openWorkplaceOn(t testing.TB, listener net.Listener, change func(*workplace)) *workplace {
	t.Helper()
	stop, stopNow := context.WithCancelCause(context.Background())
	hurry, hurryNow := context.WithCancel(context.Background())
	p := &workplace{
		t: t, addr: listener.Addr().String(), stop: stopNow, hurry: hurryNow, result: make(chan error, 1), log: new(logLines),
		entered: make(chan string, 1000), release: make(chan struct{}, 1000), taken: make(chan net.Conn, 100),
	}
	p.Server = &cluster.Server{HTTP: &http.Server{Handler: p.handlers(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}, DrainTimeout: time.Hour}
	p.Log = slog.New(slog.NewJSONHandler(p.log, nil))
	p.LameDuck = time.Second // the default is longer than most tests should take
	if change != nil {
		change(p)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.result <- p.Serve(stop, hurry, listener)
	}()
	p.close = func() {
		stopNow(nil)
		hurryNow()
		<-ended
	}
	t.Cleanup(p.close)
	return p
}

func (p *workplace) handlers() http.Handler {
	wait := func(r *http.Request) {
		p.entered <- r.URL.Path
		<-p.release
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", greet)
	mux.HandleFunc("/wait", func(w http.ResponseWriter, r *http.Request) {
		wait(r)
		greet(w, r)
	})
	mux.HandleFunc("/stream", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, "begun")
		w.(http.Flusher).Flush()
		wait(r)
		io.WriteString(w, " and ended")
	})
	mux.HandleFunc("/upload", func(w http.ResponseWriter, r *http.Request) {
		p.entered <- r.URL.Path
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		fmt.Fprint(w, n)
	})
	mux.HandleFunc("/careless", func(_ http.ResponseWriter, r *http.Request) { p.entered <- r.URL.Path })
	mux.HandleFunc("/panic", func(http.ResponseWriter, *http.Request) { panic("kettle exploded") })
	hijack := func(w http.ResponseWriter) net.Conn {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			p.t.Error(err)
			panic(http.ErrAbortHandler)
		}
		io.WriteString(conn, "hijacked")
		return conn
	}
	mux.HandleFunc("/hijack", func(w http.ResponseWriter, r *http.Request) {
		conn := hijack(w)
		p.taken <- conn
		p.entered <- r.URL.Path
	})
	mux.HandleFunc("/hold", func(w http.ResponseWriter, r *http.Request) {
		conn := hijack(w)
		wait(r)
		conn.Close()
		wait(r)
	})
	return mux
}

// mustEnd waits for Serve's result.
func (p *workplace) mustEnd(want error) {
	p.t.Helper()
	if err := <-p.result; !sameError(err, want) {
		p.t.Errorf("Serve: got %v, want %v; log:\n%s", err, want, strings.Join(p.log.with(), ""))
	}
}

// tellToStop begins the drain and waits until it has begun.
func (p *workplace) tellToStop() {
	p.t.Helper()
	p.stop(nil)
	until(p.t, p.Draining)
}

// patron is a client that speaks raw HTTP/1.1 and never repeats a request.
type patron struct {
	net.Conn
	t   testing.TB
	buf *bufio.Reader
}

func (p *workplace) patron() *patron {
	p.t.Helper()
	c, err := net.Dial("tcp", p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return &patron{c, p.t, bufio.NewReader(c)}
}

// regular is a patron whose connection is kept alive after a first request.
func (p *workplace) regular() *patron {
	p.t.Helper()
	v := p.patron()
	v.get("/hello")
	v.answer(http.StatusOK, "hello", false)
	return v
}

func (v *patron) send(s string) {
	v.t.Helper()
	if _, err := io.WriteString(v, s); err != nil {
		v.t.Errorf("send %q: %v", s, err)
	}
}

func (v *patron) get(path string) {
	v.t.Helper()
	v.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n")
}

// answer reads an answer and checks it.
func (v *patron) answer(status int, body string, closes bool) *http.Response {
	v.t.Helper()
	resp, err := http.ReadResponse(v.buf, nil)
	if err != nil {
		v.t.Fatalf("no answer: %v", err)
	}
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		v.t.Errorf("half an answer: %q, %v", got, err)
	}
	if resp.StatusCode != status || body != "" && string(got) != body || resp.Close != closes {
		v.t.Errorf("got %d %q, closing %v, want %d %q, closing %v", resp.StatusCode, got, resp.Close, status, body, closes)
	}
	resp.Body = io.NopCloser(bytes.NewReader(got))
	return resp
}

// gone waits for the end of the connection.
func (v *patron) gone() {
	v.t.Helper()
	if rest, _ := io.ReadAll(v.buf); len(rest) > 0 {
		v.t.Errorf("got %q, want the end of the connection", rest)
	}
}

// refused reads the answer of the last call.
func (v *patron) refused(requestID string) {
	v.t.Helper()
	resp := v.answer(http.StatusServiceUnavailable, "", true)
	body, _ := io.ReadAll(resp.Body)
	const want = `{"type":"/problems/draining","title":"Service Unavailable","status":503,` +
		`"detail":"This worker is shutting down and has not begun the request: send it again on a new connection.","code":"draining","request_id":"%s"}`
	if string(body) != fmt.Sprintf(want, requestID) {
		v.t.Errorf("got body %s", body)
	}
	for name, want := range map[string]string{"Content-Type": "application/problem+json", "Retry-After": "1", "Cache-Control": "no-store"} {
		if got := resp.Header.Get(name); got != want {
			v.t.Errorf("got %s: %q, want %q", name, got, want)
		}
	}
}

func boardFor(tb testing.TB, places int) *cluster.Board {
	tb.Helper()
	b, err := cluster.NewBoard(places)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Close() })
	return b
}
