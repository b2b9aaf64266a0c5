package cluster_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"doorbuster/cluster"
)

// W2, W3: in a drain nothing new is accepted, what is in flight is finished, and the end is clean.
func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	waiting, streaming, uploading := p.patron(), p.patron(), p.patron()
	waiting.get("/wait")
	streaming.get("/stream")
	uploading.send("POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nslow")
	for range 3 {
		<-p.entered
	}
	p.tellToStop()
	until(t, func() bool {
		c, err := net.Dial("tcp", p.addr)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	uploading.send(" bytes")
	uploading.answer(http.StatusOK, "10", true)
	uploading.gone()
	close(p.release)
	waiting.answer(http.StatusOK, "hello", true)
	waiting.gone()
	// The head of this answer had left before the drain, and so its client does not know.
	streaming.answer(http.StatusOK, "begun and ended", false)
	streaming.get("/hello")
	streaming.answer(http.StatusOK, "hello", true)
	streaming.gone()
	p.mustEnd(nil)
}

// W1, W3: a request is waited for until its answer is sent, though its handler has returned: net/http reads the rest of a
// body before it answers.
func TestDrainWaitsForTheAnswer(t *testing.T) {
	t.Parallel()
	begin := func(timeout time.Duration) (*workplace, *patron) {
		p := openWorkplace(t, func(p *workplace) { p.DrainTimeout = timeout })
		v := p.patron()
		v.send("POST /careless HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nhal")
		<-p.entered
		until(t, func() bool { return p.InFlight() == 0 })
		p.tellToStop()
		return p, v
	}
	p, v := begin(time.Hour)
	until(t, func() bool { return len(p.log.with("draining", `"in_flight":1`, "POST /careless")) >= 2 }) // after the soft phase
	v.send("f a cup")
	v.answer(http.StatusOK, "", true)
	p.mustEnd(nil)

	p, v = begin(50 * time.Millisecond)
	p.mustEnd(cluster.ErrCut)
	v.gone()
	if p.log.with("cutting", "POST /careless") == nil {
		t.Errorf("no log line says what was cut: %s", p.log.with())
	}
}

// W2: a connection that was accepted before the drain is served in it: a first request, one on a kept connection, one
// whose head has half arrived. Each answer closes its connection.
func TestSoftPhase(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	first, dribbling, kept, silent := p.patron(), p.patron(), p.regular(), p.regular()
	dribbling.send("GET /hello HTTP/1.1\r\nHo")
	until(t, func() bool { return p.Connections() == 4 })
	p.tellToStop()
	kept.get("/hello")
	kept.answer(http.StatusOK, "hello", true)
	kept.gone()
	first.get("/hello")
	first.answer(http.StatusOK, "hello", true)
	dribbling.send("st: shop\r\n\r\n")
	dribbling.answer(http.StatusOK, "hello", true)
	silent.gone()
	p.mustEnd(nil)
}

// W2, W4: as long as something is in flight, what arrives on open connections is served, also after the soft phase; and
// once a second the log says what is waited for.
func TestServesOnWhileSomethingIsInFlight(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	slow, kept, late, dribbling := p.patron(), p.regular(), p.patron(), p.patron()
	dribbling.send("GET /hel")
	until(t, func() bool { return p.Connections() == 4 })
	slow.get("/wait")
	<-p.entered
	p.tellToStop()
	until(t, func() bool { return len(p.log.with("draining", `"in_flight":1`, `"waiting_for":["GET /wait"]`)) >= 2 })
	kept.get("/hello")
	kept.answer(http.StatusOK, "hello", true)
	late.get("/hello")
	late.answer(http.StatusOK, "hello", true)
	dribbling.send("lo HTTP/1.1\r\nHost: shop\r\n\r\n")
	dribbling.answer(http.StatusOK, "hello", true)
	p.release <- struct{}{}
	slow.answer(http.StatusOK, "hello", true)
	p.mustEnd(nil)
}

// W3: at the limit what is in flight is cut, hijacked connections included, and the log says what that was.
func TestDrainLimit(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, func(p *workplace) { p.DrainTimeout = 100 * time.Millisecond })
	uploading, downloading, hijacked, kept := p.patron(), p.patron(), p.patron(), p.regular()
	uploading.send("POST /upload HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nslow")
	downloading.get("/stream")
	hijacked.get("/hijack")
	for range 3 {
		<-p.entered
	}
	p.stop(nil)
	p.mustEnd(cluster.ErrCut)
	uploading.gone()
	kept.gone()
	if rest, err := http.ReadResponse(downloading.buf, nil); err == nil {
		if _, err = rest.Body.Read(make([]byte, 100)); err == nil {
			_, err = rest.Body.Read(make([]byte, 100))
		}
		if err == nil {
			t.Error("the download was not cut")
		}
	}
	if n, _ := hijacked.buf.Discard(100); n != len("hijacked") {
		t.Errorf("got %d bytes from the hijacked connection", n)
	}
	if p.log.with(`"level":"ERROR"`, `"in_flight":3`, "POST /upload", "GET /stream", "GET /hijack", `"hijacked":1`) == nil {
		t.Errorf("no log line says what was cut: %s", p.log.with())
	}
	close(p.release)
	until(t, func() bool { return p.InFlight() == 0 })
	if got := p.Connections(); got != 0 {
		t.Errorf("%d connections are left", got)
	}
}

// W2, W3: who only waits for a turn is told in time that it will not come, instead of being cut.
func TestLastCallForThoseWhoWait(t *testing.T) {
	t.Parallel()
	for name, base := range map[string]func(net.Listener) context.Context{
		"no base": nil, "a base": func(net.Listener) context.Context { return context.Background() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := openWorkplace(t, func(p *workplace) {
				p.DrainTimeout = 5 * time.Second
				p.HTTP.BaseContext = base
				p.HTTP.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					p.entered <- r.URL.Path
					<-r.Context().Done()
					w.WriteHeader(http.StatusServiceUnavailable)
					io.WriteString(w, context.Cause(r.Context()).Error())
				})
			})
			waiting := p.patron()
			waiting.get("/turn")
			<-p.entered
			p.tellToStop()
			waiting.answer(http.StatusServiceUnavailable, cluster.ErrLastCall.Error(), true)
			p.mustEnd(nil)
		})
	}
}

// W3: a hijacked connection is waited for, and its end is the end of the drain.
func TestDrainWaitsForHijacked(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	p.patron().get("/hijack")
	<-p.entered
	p.stop(nil)
	until(t, func() bool { return p.log.with("draining", "GET /hijack") != nil })
	(<-p.taken).Close()
	p.mustEnd(nil)
}

// W3: hurry ends a drain at once, and cleanly when only idle connections are left.
func TestHurry(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, nil)
	v := p.patron()
	v.get("/wait")
	<-p.entered
	p.tellToStop()
	p.hurry()
	p.mustEnd(cluster.ErrCut)
	v.gone()

	p = openWorkplace(t, nil)
	v = p.regular()
	p.tellToStop()
	until(t, p.Quiet)
	p.hurry()
	p.mustEnd(nil)
	v.gone()
}

// W2: the first answer of a drain is the last on its connection: it says so, and arrives whole although the requests that
// were pipelined behind it are never read, and none of them begins. An answer that had begun before the drain can't say so,
// and the next one does.
func TestPipelined(t *testing.T) {
	t.Parallel()
	const more = "GET /hello HTTP/1.1\r\nHost: shop\r\n\r\n"
	for _, c := range []struct {
		path, body string
		readAhead  int // requests that net/http has read with the first
	}{{"/wait", "hello", 0}, {"/wait", "hello", 50}, {"/stream", "begun and ended", 0}, {"/stream", "begun and ended", 50}} {
		path, body := c.path, c.body
		p := openWorkplace(t, nil)
		v := p.patron()
		v.send("GET " + path + " HTTP/1.1\r\nHost: shop\r\n\r\n" + strings.Repeat(more, c.readAhead))
		<-p.entered
		v.send(strings.Repeat(more, 1000))
		p.tellToStop()
		p.release <- struct{}{}
		served := int64(1)
		v.answer(http.StatusOK, body, path == "/wait")
		if path == "/stream" {
			v.answer(http.StatusOK, "hello", true)
			served++
		}
		if rest, err := io.ReadAll(v.buf); len(rest) > 0 || err != nil {
			t.Errorf("got %q, %v, want a clean end", rest, err) // a reset would have overtaken the answers on a longer way
		}
		p.mustEnd(nil)
		if got := p.Requests(); got != served {
			t.Errorf("%d requests have begun, %d of them behind the last answer", got, got-served)
		}
	}
}

// W1, W3: a request whose head has arrived is in flight before its handler runs.
func TestDrainWaitsForTheHandler(t *testing.T) {
	t.Parallel()
	active, handle := make(chan struct{}), make(chan struct{})
	p := openWorkplace(t, func(p *workplace) {
		p.DrainTimeout = 50 * time.Millisecond
		p.HTTP.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateActive {
				close(active)
				<-handle
			}
		}
	})
	v := p.patron()
	v.get("/hello")
	<-active
	p.stop(nil)
	p.mustEnd(cluster.ErrCut)
	close(handle)
	if p.log.with("cutting", "a request from "+v.LocalAddr().String()) == nil {
		t.Errorf("no log line says what was cut: %s", p.log.with())
	}
}

// W2: the end of a drain that has only idle connections: they go by the kick, and before net/http's Shutdown, which would
// drop requests; what has half arrived is waited for, for half a second, and served.
func TestEndOfADrain(t *testing.T) {
	t.Parallel()
	left := make(chan int, 1)
	p := openWorkplace(t, nil)
	fresh, kept := p.patron(), p.regular()
	until(t, func() bool { return p.Connections() == 2 })
	p.BeforeShutdown(func() { left <- p.Connections() })
	p.stop(nil)
	fresh.gone()
	kept.gone()
	p.mustEnd(nil)
	if n := <-left; n > 0 {
		t.Errorf("%d idle connections were left to Shutdown", n)
	}

	for attempt := range 5 { // half a second may be too short for a busy machine
		p := openWorkplace(t, nil)
		dribbling := p.patron()
		dribbling.send("GET /hello HTTP/1.1\r\nHo")
		until(t, func() bool { return p.Reading() == 1 })
		p.stop(nil)
		until(t, p.LastCalling)
		dribbling.send("st: shop\r\n\r\n")
		if _, err := dribbling.buf.Peek(1); err != nil && attempt < 4 {
			continue
		}
		dribbling.answer(http.StatusOK, "hello", true)
		p.mustEnd(nil)
		break
	}
}

// W3: the end of what a drain waits for ends it at once. All else would be found a second later, when it logs.
func TestDrainIsDrivenByEvents(t *testing.T) {
	t.Parallel()
	for name, begin := range map[string]func(t *testing.T) (p *workplace, finish func()){
		"a handler returns": func(t *testing.T) (*workplace, func()) {
			p := openWorkplace(t, nil)
			p.patron().get("/wait")
			return p, func() { p.release <- struct{}{} }
		},
		"a handler returns after the end of a hijacked connection": func(t *testing.T) (*workplace, func()) {
			p := openWorkplace(t, nil)
			p.patron().get("/hold")
			<-p.entered
			p.release <- struct{}{}
			return p, func() { p.release <- struct{}{} }
		},
		"an answer is sent after its handler has returned": func(t *testing.T) (*workplace, func()) {
			p := openWorkplace(t, nil)
			v := p.patron()
			v.send("POST /careless HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nhal")
			return p, func() { v.send("f a cup") }
		},
		"the same over TLS": func(t *testing.T) (*workplace, func()) {
			p, _ := openOver(t, "http/1.1", time.Hour)
			v := p.patronOver("http/1.1")
			v.send("POST /careless HTTP/1.1\r\nHost: shop\r\nContent-Length: 10\r\n\r\nhal")
			return p, func() {
				v.send("f a cup")
				v.answer(http.StatusOK, "", false) // nobody has told the client to go
				v.Close()
			}
		},
		"a hijacked connection is closed": func(t *testing.T) (*workplace, func()) {
			p := openWorkplace(t, nil)
			p.patron().get("/hijack")
			return p, func() { (<-p.taken).Close() }
		},
		"a handler over TLS returns": func(t *testing.T) (*workplace, func()) {
			p, clients := openOver(t, "http/1.1", time.Hour)
			go func() {
				if resp, err := clients[0].Get("https://" + p.addr + "/wait"); err == nil {
					resp.Body.Close()
				}
			}()
			return p, func() { p.release <- struct{}{} }
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for attempt := range 5 { // a second may be too short for a busy machine
				p, finish := begin(t)
				<-p.entered
				p.stop(nil)
				lines := func() int { return len(p.log.with(`"msg":"draining"`)) }
				until(t, func() bool { return lines() >= 2 }) // the soft phase is over
				before := lines()
				finish()
				p.mustEnd(nil)
				if lines() == before {
					return
				}
				if attempt == 4 {
					t.Error("it took a second look")
				}
			}
		})
	}
}

// handshake is what happens to a connection between accept and net/http's own tracking.
type handshake struct{ net.Listener }

// W2: a connection that was accepted, but is not yet tracked by net/http (golang/go#20239), is served.
func TestAcceptedButNotTracked(t *testing.T) {
	t.Parallel()
	for _, wrap := range []func(net.Listener) net.Listener{
		func(l net.Listener) net.Listener { return l },
		func(l net.Listener) net.Listener { return handshake{l} }, // not a *net.TCPListener
	} {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		accepted, track, over := make(chan struct{}), make(chan struct{}), make(chan struct{})
		p := openWorkplaceOn(t, wrap(listener), func(p *workplace) {
			p.HTTP.ConnContext = func(ctx context.Context, _ net.Conn) context.Context {
				close(accepted)
				<-track
				return ctx
			}
		})
		v := p.patron()
		v.get("/hello")
		<-accepted
		p.BeforeShutdown(func() { close(over) })
		p.tellToStop()
		select {
		case <-over:
			t.Error("the drain went past a connection that was accepted")
		case <-time.After(50 * time.Millisecond): // time to do wrong, not to do right
		}
		close(track)
		v.answer(http.StatusOK, "hello", true)
		p.mustEnd(nil)
	}
}

// The log names ten requests and counts all.
func TestCutNamesTen(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, func(p *workplace) { p.DrainTimeout = 10 * time.Millisecond })
	for range 12 {
		p.patron().get("/wait")
		<-p.entered
	}
	p.stop(nil)
	p.mustEnd(cluster.ErrCut)
	close(p.release)
	lines := p.log.with("cutting", `"in_flight":12`)
	if len(lines) != 1 || strings.Count(lines[0], "GET /wait") != 10 {
		t.Errorf("got %s", p.log.with())
	}
}
