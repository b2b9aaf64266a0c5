package cluster_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"doorbuster/cluster"
)

func sameError(got, want error) bool {
	if want == nil {
		return got == nil
	}
	return errors.Is(got, want)
}

func (p *workplace) wantInFlight(want int) {
	p.t.Helper()
	if got := p.InFlight(); got != want {
		p.t.Errorf("got %d in flight, want %d", got, want)
	}
}

// W1: requests are counted exactly, concurrent and streaming ones included, from the moment a handler runs until the client
// can have the whole answer.
func TestInFlightIsExact(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	const each = 20
	var clients []*patron
	for range each {
		waiting, streaming := p.patron(), p.patron()
		waiting.get("/wait")
		streaming.get("/stream")
		clients = append(clients, waiting, streaming)
	}
	for range clients {
		<-p.entered
	}
	p.wantInFlight(2 * each)
	if got := p.Connections(); got != 2*each {
		t.Errorf("got %d connections, want %d", got, 2*each)
	}
	for range clients {
		p.release <- struct{}{}
	}
	for i, c := range clients {
		c.answer(http.StatusOK, []string{"hello", "begun and ended"}[i%2], false)
	}
	p.wantInFlight(0)
	for _, c := range clients {
		c.get("/hello")
		c.answer(http.StatusOK, "hello", false)
		c.Close()
	}
	if got := p.Requests(); got != 4*each {
		t.Errorf("got %d requests, want %d", got, 4*each)
	}
	until(t, func() bool { return p.Connections() == 0 })
}

// W1, W8: a panic kills its request and nothing else, and the count stays exact.
func TestInFlightAfterPanic(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	other := p.patron()
	other.get("/wait")
	<-p.entered
	for range 10 {
		v := p.patron()
		v.get("/panic")
		v.gone()
		p.wantInFlight(1)
	}
	p.release <- struct{}{}
	other.answer(http.StatusOK, "hello", false)
	p.wantInFlight(0)
	if got := p.Requests(); got != 11 {
		t.Errorf("got %d requests, want 11", got)
	}
}

// W1: a hijacked connection is in flight until it is closed, and counts once, whether its handler has returned or not.
func TestInFlightHijacked(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	v := p.patron()
	v.get("/hold")
	<-p.entered
	p.wantInFlight(1)
	p.release <- struct{}{}
	io.ReadAll(v)
	<-p.entered
	p.wantInFlight(1) // the handler is still at work
	if got := p.Connections(); got != 0 {
		t.Errorf("got %d connections, want 0", got)
	}
	p.release <- struct{}{}
	until(t, func() bool { return p.InFlight() == 0 })

	v = p.patron()
	v.get("/hijack")
	<-p.entered
	conn := <-p.taken
	v.get("/") // no request any more, but bytes for whoever hijacked it
	if _, err := io.ReadFull(conn, make([]byte, 3)); err != nil {
		t.Error(err)
	}
	p.regular()
	p.wantInFlight(1)
	if got := p.Connections(); got != 2 {
		t.Errorf("got %d connections, want 2", got)
	}
	conn.Close()
	until(t, func() bool { return p.InFlight() == 0 }) // the handler may just be returning
	conn.Close()
	p.wantInFlight(0)
}

// The hooks of the caller go on to work, and handlers get all of net/http's ResponseWriter.
func TestHooksAreKept(t *testing.T) {
	t.Parallel()
	type key string
	var mu sync.Mutex
	states := map[http.ConnState]int{}
	p := openWorkplace(t, func(p *workplace) {
		p.HTTP.BaseContext = func(net.Listener) context.Context { return context.WithValue(context.Background(), key("base"), "b") }
		p.HTTP.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			return context.WithValue(ctx, key("conn"), c.RemoteAddr().String())
		}
		p.HTTP.ConnState = func(_ net.Conn, s http.ConnState) {
			mu.Lock()
			defer mu.Unlock()
			states[s]++
		}
		p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Context().Value(key("base")) != "b" || r.Context().Value(key("conn")) != r.RemoteAddr {
				t.Error("the contexts of the caller got lost")
			}
			_, flusher := w.(http.Flusher)
			_, hijacker := w.(http.Hijacker)
			_, readerFrom := w.(io.ReaderFrom)
			if !flusher || !hijacker || !readerFrom {
				t.Errorf("Flusher %v, Hijacker %v, ReaderFrom %v", flusher, hijacker, readerFrom)
			}
			greet(w, r)
		})
	})
	p.regular().Close()
	until(t, func() bool {
		mu.Lock()
		defer mu.Unlock()
		return states[http.StateNew] == 1 && states[http.StateActive] == 1 && states[http.StateIdle] == 1 && states[http.StateClosed] == 1
	})
}

// A Server serves once: its http.Server can't be used again.
func TestServesOnce(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	p.regular()
	if err := p.Serve(t.Context(), t.Context(), nil); err == nil {
		t.Error("it served twice")
	}
}

// failing is a listener of some other kind, whose Accept can be made to fail.
type failing struct {
	net.Listener
	errs chan error
}

func (l *failing) Accept() (net.Conn, error) {
	select {
	case err := <-l.errs:
		return nil, err
	default:
		return l.Listener.Accept()
	}
}

// Running out of descriptors does not end a worker.
func TestTemporaryAcceptError(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 1)
	errs <- &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
	p := openWorkplaceOn(t, &failing{inner, errs}, nil)
	p.regular()
	if len(errs) > 0 {
		t.Error("the error was never met")
	}
}

// A listener that fails for good ends Serve with its error; what is in flight is finished first.
func TestListenerFails(t *testing.T) {
	t.Parallel()
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 1)
	p := openWorkplaceOn(t, &failing{inner, errs}, func(p *workplace) { p.ShutdownDelay = time.Hour })
	v := p.patron()
	v.get("/wait")
	<-p.entered
	broken := errors.New("the card fell out")
	errs <- broken
	p.patron()
	until(t, p.Draining)
	p.release <- struct{}{}
	v.answer(http.StatusOK, "hello", false)
	p.mustEnd(broken)
}

// W2: told to stop, a server is unready first, and goes on as before for ShutdownDelay; whoever is in a hurry ends that, and
// everything else.
func TestUnreadyFirst(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, func(p *workplace) { p.ShutdownDelay = time.Hour })
	v := p.regular()
	if p.Unready() {
		t.Error("unready before anybody said so")
	}
	p.stop(nil)
	until(t, p.Unready)
	if p.Draining() {
		t.Error("draining during the delay")
	}
	v.get("/hello")
	v.answer(http.StatusOK, "hello", false)
	p.regular() // it still accepts
	v.get("/wait")
	<-p.entered
	p.hurry()
	p.mustEnd(cluster.ErrCut)
	v.gone()
}

// W2: the delay of a master's order replaces the server's own.
func TestDrainOrder(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, func(p *workplace) { p.ShutdownDelay = time.Hour })
	p.regular().Close()
	p.stop(cluster.DrainOrder(0))
	p.mustEnd(nil)

	p = openWorkplace(t, nil)
	p.stop(cluster.DrainOrder(time.Hour))
	until(t, p.Unready)
	p.regular()
	if p.Draining() {
		t.Error("the order's delay was not kept")
	}
	until(t, p.Quiet)
	p.hurry()
	p.mustEnd(nil)
}

// W3: nothing to wait for, nothing waited for: with no connection not even for the soft phase, which would take a second.
func TestDrainOfNothing(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	p.regular().Close()
	until(t, func() bool { return p.Connections() == 0 })
	start := time.Now()
	p.stop(nil)
	p.mustEnd(nil)
	if took := time.Since(start); took > 900*time.Millisecond {
		t.Errorf("a drain of nothing took %v", took)
	}
	if lines := p.log.with(`"msg":"drained"`); len(lines) != 1 {
		t.Errorf("got log lines %s", strings.Join(p.log.with(), ""))
	}
}
