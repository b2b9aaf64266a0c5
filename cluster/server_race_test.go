package cluster_test

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"doorbuster/cluster"
)

// W2: after the last call idle connections are closed in silence, and a head that had begun to arrive is waited for; it is
// answered 503 when the limit is near.
func TestLastCall(t *testing.T) {
	t.Parallel()
	p := openWorkplace(t, func(p *workplace) { p.HTTP.IdleTimeout = time.Minute; p.HTTP.ReadHeaderTimeout = time.Minute })
	fresh, kept, dribbling, busy := p.patron(), p.regular(), p.patron(), p.patron()
	keptDribbling := p.regular()
	states := []*patron{fresh, kept, dribbling, busy, keptDribbling}
	dribbling.send("G")
	keptDribbling.send("GET /hello HTTP/1.1\r\nHost: shop\r\nX-Request")
	busy.get("/wait")
	<-p.entered
	until(t, func() bool { return p.Connections() == len(states) && p.Reading() == 2 })
	p.LastCall()
	p.CallOff()
	fresh.gone()
	kept.gone()
	dribbling.send("ET /hello HTTP/1.1\r\nHost: shop\r\nX-Request-Id: not well formed\r\n\r\n")
	dribbling.refused("")
	keptDribbling.send("-Id: order-1.2_3\r\n\r\n")
	keptDribbling.refused("order-1.2_3")
	p.release <- struct{}{}
	busy.answer(http.StatusOK, "hello", true) // it had begun
	busy.gone()
}

// W2: net/http reads ahead, so that an idle connection may hold a part of the next request: it is not idle then.
func TestLastCallWithReadAhead(t *testing.T) {
	t.Parallel()
	next := "GET /hello HTTP/1.1\r\nHost: shop\r\n\r\n"
	for _, held := range []int{1, 2, 3, 4, 5, 18, 21, 22, len(next) - 1, len(next)} {
		for _, before := range []string{"", "arrived in the same packet"} {
			p := openWorkplace(t, nil)
			v := p.patron()
			head := "GET /stream HTTP/1.1\r\nHost: shop\r\n\r\n" // whose answer is not the last: it has begun
			if before == "" {                                    // the background read takes the first byte, and the rest stays in the socket
				v.send(head)
				<-p.entered
				v.send(next[:held])
			} else {
				v.send(head + next[:held])
				<-p.entered
			}
			p.LastCall()
			p.release <- struct{}{}
			v.answer(http.StatusOK, "begun and ended", false)
			v.send(next[held:])
			v.answer(http.StatusOK, "hello", true)
			v.gone()
			p.close()
		}
	}
}

// What leftover concludes from the order of net/http's calls: exactly one deadline, and a whole buffer to read into.
func TestLeftover(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		deadlines, room int
		want            bool
	}{
		{1, 4096, false},
		{1, 4095, true},
		{2, 4096, true}, // lines have left the buffer
		{0, 4096, true},
		{1, 8192, true}, // some other net/http
	} {
		if got := cluster.Leftover(c.deadlines, c.room); got != c.want {
			t.Errorf("%d deadlines, %d bytes of room: got %v, want %v", c.deadlines, c.room, got, c.want)
		}
	}
}

// W2, N2: no request whose bytes were in the server's kernel before the kick goes unanswered. Clients fire at random moments
// around it; some requests come in two parts.
func TestKickRace(t *testing.T) {
	t.Parallel()
	const rounds, clients = 60, 16
	var answered, closed atomic.Int64
	for range rounds {
		p := openWorkplace(t, nil)
		var kicked atomic.Bool
		var ready, done sync.WaitGroup
		start := make(chan struct{})
		for i := range clients {
			come := p.patron
			if i%2 == 0 {
				come = p.regular
			}
			v := come()
			ready.Add(1)
			done.Go(func() {
				ready.Done()
				<-start
				for range rand.IntN(2000) {
					runtime.Gosched()
				}
				if i%4 == 0 {
					v.Write([]byte("GET /hello HT"))
					for range rand.IntN(100) {
						runtime.Gosched()
					}
				}
				rest := "GET /hello HTTP/1.1\r\nHost: shop\r\n\r\n"
				if i%4 == 0 {
					rest = rest[len("GET /hello HT"):]
				}
				_, err := v.Write([]byte(rest))
				inTime := err == nil && !kicked.Load()
				resp, err := http.ReadResponse(v.buf, nil)
				switch {
				case err == nil && resp.StatusCode == http.StatusOK:
					answered.Add(1)
				case err == nil:
					t.Errorf("got %d, closing %v", resp.StatusCode, resp.Close)
				case inTime:
					t.Errorf("a request that had arrived was not answered: %v", err)
				default:
					closed.Add(1)
				}
			})
		}
		until(t, func() bool { return p.Connections() == clients })
		ready.Wait()
		close(start)
		for range rand.IntN(2000) {
			runtime.Gosched()
		}
		kicked.Store(true)
		p.LastCall()
		done.Wait()
		p.close()
	}
	t.Logf("%d answered, %d closed", answered.Load(), closed.Load())
}

// W2: a kick and a request that arrives are not in each other's way, in whatever order net/http makes its calls around them.
// The request has arrived each time; the kick comes at random moments between its predecessor and it.
func TestKickAfterArrival(t *testing.T) {
	t.Parallel()
	for range 200 {
		p := openWorkplace(t, nil)
		v := p.patron()
		v.get("/hello")
		v.get("/hello") // in the socket, or read ahead
		for range rand.IntN(300) {
			runtime.Gosched()
		}
		p.LastCall()
		for i := range 2 {
			resp, err := http.ReadResponse(v.buf, nil)
			if err != nil {
				t.Fatalf("request %d was not answered: %v", i+1, err)
			}
			io.Copy(io.Discard, resp.Body)
			if resp.Close { // the second was behind the last answer
				break
			}
		}
		p.close()
	}
}

// W2, W3: HTTP/1.1 and HTTP/2 over TLS, and HTTP/2 without, drain like the rest: what is in flight finishes, what arrives on
// open connections meanwhile is served, and idle connections are no obstacle.
func TestDrainTLSAndHTTP2(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"http/1.1", "h2", "http/1.1 by hand", "h2 by hand", "h2c"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			begin := func(timeout time.Duration) (p *workplace, get func(path string, client int) (string, error)) {
				p, clients := openOver(t, proto, timeout)
				return p, func(path string, client int) (string, error) {
					scheme := "https://"
					if proto == "h2c" {
						scheme = "http://"
					}
					resp, err := clients[client].Get(scheme + p.addr + path)
					if err != nil {
						return "", err
					}
					defer resp.Body.Close()
					if want := map[bool]int{true: 1, false: 2}[strings.HasPrefix(proto, "http/1.1")]; resp.ProtoMajor != want {
						t.Errorf("got HTTP/%d, want %d", resp.ProtoMajor, want)
					}
					body, err := io.ReadAll(resp.Body)
					if resp.StatusCode != http.StatusOK {
						return "", fmt.Errorf("status %d", resp.StatusCode)
					}
					return string(body), err
				}
			}
			inFlight := func(p *workplace, get func(string, int) (string, error)) chan error {
				for i := range 2 { // one connection each, kept
					if body, err := get("/hello", i); body != "hello" || err != nil {
						t.Fatal(body, err)
					}
				}
				got := make(chan error, 1)
				go func() {
					body, err := get("/wait", 0)
					if err == nil && body != "hello" {
						err = errors.New("got " + body)
					}
					got <- err
				}()
				<-p.entered
				p.wantInFlight(1)
				return got
			}

			p, get := begin(time.Hour)
			waiting := inFlight(p, get)
			p.tellToStop()
			if body, err := get("/hello", 1); body != "hello" || err != nil {
				t.Error("a kept connection was not served:", body, err)
			}
			p.release <- struct{}{}
			if err := <-waiting; err != nil {
				t.Error("the request in flight:", err)
			}
			p.mustEnd(nil)

			p, get = begin(50 * time.Millisecond)
			waiting = inFlight(p, get)
			streaming := make(chan error, 1)
			go func() {
				_, err := get("/stream", 0) // beside the other on an HTTP/2 connection
				streaming <- err
			}()
			<-p.entered
			p.stop(nil)
			p.mustEnd(cluster.ErrCut)
			if <-waiting == nil || <-streaming == nil {
				t.Error("the requests in flight were not cut")
			}
			if p.log.with("cutting", `"in_flight":2`, "GET /wait", "GET /stream") == nil {
				t.Errorf("no log line says what was cut: %s", p.log.with())
			}
			close(p.release)
			until(t, func() bool { return p.InFlight() == 0 })
		})
	}
}

// W3: a TLS handshake that never ends does not keep a drain.
func TestDrainWithHandshake(t *testing.T) {
	t.Parallel()
	p, _ := openOver(t, "h2", time.Hour)
	p.patron().send("\x16\x03\x01")
	until(t, func() bool { return p.Connections() == 1 })
	p.stop(nil)
	p.mustEnd(nil)
}
