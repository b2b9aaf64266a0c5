//go:build unix

package cluster_test

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"doorbuster/cluster"
)

// shift are servers in this process that share a socket, as workers do. Nobody
// looks but the test.
type shift struct {
	addr    string
	board   *cluster.Board
	socket  net.Listener
	servers []*cluster.Server
	tls     *tls.Config
}

func newShift(t *testing.T, servers int) *shift {
	t.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { socket.Close() })
	return &shift{addr: socket.Addr().String(), board: boardFor(t, servers), socket: socket}
}

// add starts another server.
func (s *shift) add(t *testing.T) {
	t.Helper()
	place := len(s.servers)
	server := &cluster.Server{HTTP: &http.Server{Handler: http.HandlerFunc(greet), TLSConfig: s.tls}, Log: quietLog}
	server.Join(s.board, place)
	hurry, now := context.WithCancel(context.Background())
	dup := listenerDup(t, s.socket)
	var wg sync.WaitGroup
	wg.Go(func() { server.Serve(hurry, hurry, dup) })
	t.Cleanup(func() { now(); wg.Wait() })
	until(t, func() bool { _, _, accepting := s.board.Entry(place); return accepting })
	s.servers = append(s.servers, server)
}

func (s *shift) live() (live []int64) {
	for _, server := range s.servers {
		live = append(live, int64(server.Connections()))
	}
	return live
}

// guest is a client that keeps its connection until it is told to go, and then
// comes back at once.
type guest struct {
	dial   func() (net.Conn, error)
	conn   net.Conn
	buf    *bufio.Reader
	closed int // connections
}

// ask fails the test when the answer does not come.
func (g *guest) ask(t *testing.T) {
	t.Helper()
	if g.conn == nil {
		var err error
		if g.conn, err = g.dial(); err != nil {
			t.Fatal(err)
		}
		g.buf = bufio.NewReader(g.conn)
	}
	if _, err := fmt.Fprint(g.conn, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n"); err != nil {
		t.Fatalf("a request is lost: %v", err)
	}
	resp, err := http.ReadResponse(g.buf, nil)
	if err != nil {
		t.Fatalf("a request is lost: %v", err)
	}
	if _, err := io.Copy(io.Discard, resp.Body); err != nil {
		t.Fatalf("half an answer: %v", err)
	}
	if resp.Close {
		if rest, err := io.ReadAll(g.buf); err != nil || len(rest) > 0 {
			t.Fatalf("after the last answer: %q, %v", rest, err)
		}
		g.conn.Close()
		g.conn = nil
		g.closed++
	}
}

func guests(t *testing.T, n int, dial func() (net.Conn, error)) []*guest {
	t.Helper()
	all := make([]*guest, n)
	for i := range all {
		all[i] = &guest{dial: dial}
		all[i].ask(t)
	}
	t.Cleanup(func() {
		for _, g := range all {
			if g.conn != nil {
				g.conn.Close()
			}
		}
	})
	return all
}

// round is a request of each guest, and then a look of each server.
func (s *shift) round(t *testing.T, guests []*guest) (closed int) {
	t.Helper()
	for _, g := range guests {
		g.ask(t)
		closed += g.closed
	}
	for _, server := range s.servers {
		server.Look()
	}
	return closed
}

// D10: 100 kept connections, and two workers more. After a bounded number of
// requests the busiest has no more than 1.5 times the connections of the least
// busy; no request is lost, and no more connections are closed than it takes.
// After that, none.
func TestRelief(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"HTTP", "TLS"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			s := newShift(t, 4)
			dial := func() (net.Conn, error) { return net.Dial("tcp", s.addr) }
			if proto == "TLS" {
				s.tls = &tls.Config{Certificates: []tls.Certificate{*certificate(t, "shop")}}
				dial = func() (net.Conn, error) {
					return tls.Dial("tcp", s.addr, &tls.Config{InsecureSkipVerify: true})
				}
			}
			s.add(t)
			s.add(t)
			clients := guests(t, 100, dial)
			calm := func(why string) {
				t.Helper()
				before := s.round(t, clients)
				for look := range cluster.ReliefRest + cluster.ReliefPatience {
					if look%10 == 0 {
						s.round(t, clients)
					}
					for _, server := range s.servers {
						server.Look()
					}
				}
				if after := s.round(t, clients); after != before {
					t.Errorf("%s %d connections were closed: %v", why, after-before, s.live())
				}
			}
			calm("while all were even")
			s.add(t)
			s.add(t)
			rounds, closed := 0, 0
			for unevenness(s.live()) > 1.5 {
				rounds++
				if closed = s.round(t, clients); rounds > cluster.ReliefPatience+50 {
					t.Fatalf("after %d rounds: %v", rounds, s.live())
				}
			}
			t.Logf("%v after %d rounds, %d connections were closed", s.live(), rounds, closed)
			if rounds < cluster.ReliefPatience || closed > 60 {
				t.Errorf("%d connections were closed in %d rounds", closed, rounds)
			}
			for range 10 { // an episode goes on to the mean
				s.round(t, clients)
			}
			calm("after that")
			until(t, func() bool {
				var leaving int64
				for _, server := range s.servers {
					leaving += server.Leaving()
				}
				return leaving == 0
			})
		})
	}
}

// Nobody is told who leaves anyhow or turns into something else, and nobody by
// a server that leaves itself and serves on for its ShutdownDelay. Whoever is
// told gets the whole answer, also when it has sent the next request already.
func TestReliefTells(t *testing.T) {
	t.Parallel()
	leaving := openWorkplace(t, func(p *workplace) { p.ShutdownDelay = time.Hour })
	kept := leaving.regular()
	leaving.stop(nil)
	until(t, leaving.Unready)
	leaving.Allow(1)
	kept.get("/hello")
	kept.answer(http.StatusOK, "hello", false)

	p := openWorkplace(t, nil)
	v := p.regular()
	p.Allow(1)
	v.send("GET /hello HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: rest\r\n\r\n")
	v.answer(http.StatusOK, "hello", false)
	last := p.patron()
	last.send("GET /hello HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	last.answer(http.StatusOK, "hello", true)
	if n := p.Leaving(); n != 0 {
		t.Errorf("%d are leaving", n)
	}
	v.send(strings.Repeat("GET /hello HTTP/1.1\r\nHost: shop\r\n\r\n", 100))
	v.answer(http.StatusOK, "hello", true)
	v.gone()
	until(t, func() bool { return p.Leaving() == 0 })
	p.regular() // the allowance is used up
}

// Over HTTP/2 it is a GOAWAY, once, and streams that have begun are finished.
func TestReliefSaysGoAway(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h2c", "h2"} {
		t.Run(proto, func(t *testing.T) {
			t.Parallel()
			p := openWith(t, proto, nil)
			f := p.framerOver(proto)
			f.get("/wait")
			<-p.entered
			p.Allow(2)
			f.get("/hello")
			f.answered()
			if n := p.Leaving(); n != 1 {
				t.Errorf("%d are leaving", n)
			}
			p.release <- struct{}{}
			f.answered()
			f.told()
			until(t, func() bool { return p.Leaving() == 0 })
		})
	}
}

// D10 on the whole: a master with real workers and clients that never pause.
func TestScaleUpRelieves(t *testing.T) {
	t.Parallel()
	z := startDoors(t, nil)
	d := z.doors()[0]
	const clients = 100
	var mu sync.Mutex
	at := map[int]int{} // the pid that each client has
	closed, lost := 0, 0
	enough := make(chan struct{})
	var asking sync.WaitGroup
	for i := range clients {
		asking.Go(func() {
			for !isOver(enough) {
				conn, err := d.dial()
				if err != nil {
					t.Error(err)
					return
				}
				for buf := bufio.NewReader(conn); !isOver(enough); {
					pid, closes, err := askPID(conn, buf)
					mu.Lock()
					at[i] = pid
					if err != nil {
						lost++
					}
					if closes {
						closed++
					}
					mu.Unlock()
					if err != nil || closes {
						break
					}
				}
				conn.Close()
			}
		})
	}
	spread := func() (live []int64) {
		pids := z.pids()
		counts := map[int]int64{}
		mu.Lock()
		defer mu.Unlock()
		for _, pid := range at {
			counts[pid]++
		}
		for _, pid := range pids {
			live = append(live, counts[pid])
		}
		return live
	}
	eventually(t, "a connection of each client", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(at) == clients
	})
	if err := z.client.Scale(t.Context(), 4); err != nil {
		t.Fatal(err)
	}
	z.settle(4)
	eventually(t, "even workers", func() bool {
		live := spread()
		return len(live) == 4 && unevenness(live) <= 1.5
	})
	mu.Lock()
	t.Logf("%d connections were closed", closed)
	if closed > clients || lost > 0 {
		t.Errorf("%d connections were closed, %d requests lost", closed, lost)
	}
	mu.Unlock()
	close(enough)
	asking.Wait()
	z.stop()
}
