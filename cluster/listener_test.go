//go:build unix

package cluster_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// best is the evenest of some bursts: one of them is enough to tell pacing from luck, and a busy machine spoils others.
func best(t *testing.T, spread func(testing.TB, int, int, bool) []int64, workers, conns int) {
	t.Helper()
	const wanted, attempts = 1.5, 10
	var seen [][]int64
	for range attempts {
		live := spread(t, workers, conns, true)
		if unevenness(live) <= wanted {
			return
		}
		seen = append(seen, live)
	}
	t.Errorf("%d connections on %d workers, each time beyond %v: %v", conns, workers, wanted, seen)
}

// Connections that are dialled in one burst spread evenly over workers that share a socket. Without pacing the busiest of
// four has 40 times as many as the least busy, in every attempt.
func TestPacing(t *testing.T) {
	for _, workers := range []int{2, 4} {
		for _, conns := range []int{64, 512} {
			best(t, burstOnServers, workers, conns)
		}
	}
}

// The same for processes, which see each other on the board only. Without pacing: 5 to 120 times.
func TestPacingAcrossProcesses(t *testing.T) {
	best(t, burstOnProcesses, 2, 64)
	best(t, burstOnProcesses, 4, 64)
	best(t, burstOnProcesses, 8, 512) // when all eight are on watch: 1.1 to 1.9
}

// A worker that is stopped keeps nobody from accepting.
func TestPacingBesideStopped(t *testing.T) {
	const stopped, conns = 1, 64
	live := burstBeside(t, 2, conns, true, func(p []*os.Process) {
		if err := p[stopped].Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		var ws unix.WaitStatus
		if _, err := unix.Wait4(p[stopped].Pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() {
			t.Fatal(ws, err)
		}
	})
	if live[1-stopped] != conns {
		t.Errorf("got %v", live)
	}
}

// W2: a worker that drains is no longer waited for.
func TestAcceptingEndsWithTheDrain(t *testing.T) {
	t.Parallel()
	b := boardFor(t, 1)
	p := openWorkplace(t, func(p *workplace) { p.Join(b, 0) })
	v := p.patron()
	v.get("/wait")
	<-p.entered
	if live, accepted, accepting := b.Entry(0); live != 1 || accepted != 1 || !accepting {
		t.Errorf("while serving: %d, %d, %v", live, accepted, accepting)
	}
	p.tellToStop()
	if _, _, accepting := b.Entry(0); accepting {
		t.Error("a worker that drains says that it accepts")
	}
	p.release <- struct{}{}
	v.answer(http.StatusOK, "hello", true)
	p.mustEnd(nil)
	if live, accepted, _ := b.Entry(0); live != 0 || accepted != 1 {
		t.Errorf("after the drain: %d, %d", live, accepted)
	}
}

// Sharing a socket does not make it blocking, for this process or for others.
func TestListenerStaysNonBlocking(t *testing.T) {
	t.Parallel()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	b := boardFor(t, 1)
	p := openWorkplaceOn(t, listenerDup(t, socket), func(p *workplace) { p.Join(b, 0) })
	p.regular()
	p.stop(nil)
	p.mustEnd(nil)
	raw, err := socket.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("flags %x, %v", flags, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// N2, W2: twenty rolling replacements on one socket, without one failed request: neither for clients that come with a new
// connection each time, nor for those that keep one until they are told to go. Nobody repeats a request.
func TestRollingReplacement(t *testing.T) {
	t.Parallel()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	open := func() *workplace {
		return openWorkplaceOn(t, listenerDup(t, socket), func(p *workplace) { p.DrainTimeout = 10 * time.Second; p.ShutdownDelay = time.Hour })
	}
	current := open()
	enough := make(chan struct{})
	var clients sync.WaitGroup
	var served atomic.Int64
	client := func(requests func() int) {
		for {
			conn, err := net.Dial("tcp", socket.Addr().String())
			if err != nil {
				t.Errorf("dial: %v", err)
				return
			}
			buf := bufio.NewReader(conn)
			for range requests() {
				fmt.Fprint(conn, "GET /hello HTTP/1.1\r\nHost: shop\r\n\r\n")
				resp, err := http.ReadResponse(buf, nil)
				if err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("request failed: %v, %v", resp, err)
					conn.Close()
					return
				}
				io.Copy(io.Discard, resp.Body)
				served.Add(1)
				if resp.Close {
					break
				}
				select {
				case <-enough:
					conn.Close()
					return
				default:
				}
			}
			conn.Close()
			select {
			case <-enough:
				return
			default:
			}
		}
	}
	for range 4 {
		clients.Go(func() { client(func() int { return 1 }) })
		clients.Go(func() { client(func() int { return 1 << 30 }) })
	}
	for range 20 {
		next := open()
		until(t, func() bool { return next.Requests() > 5 })
		current.stop(cluster.DrainOrder(0))
		current.mustEnd(nil)
		current = next
	}
	close(enough)
	clients.Wait()
	current.stop(cluster.DrainOrder(0))
	current.mustEnd(nil)
	t.Logf("%d requests", served.Load())
}

// BenchmarkEvenness reports the worst and the median ratio of the busiest to the least busy worker after a burst.
func BenchmarkEvenness(b *testing.B) {
	for _, workers := range []int{2, 4, 8} {
		for _, conns := range []int{64, 512} {
			for _, paced := range []bool{false, true} {
				for kind, spread := range map[string]func(testing.TB, int, int, bool) []int64{"servers": burstOnServers, "processes": burstOnProcesses} {
					b.Run(fmt.Sprintf("%s=%d/conns=%d/paced=%v", kind, workers, conns, paced), func(b *testing.B) {
						var ratios []float64
						for b.Loop() {
							ratios = append(ratios, unevenness(spread(b, workers, conns, paced)))
						}
						slices.Sort(ratios)
						b.ReportMetric(ratios[len(ratios)-1], "worst-ratio")
						b.ReportMetric(ratios[len(ratios)/2], "median-ratio")
						b.Logf("%.2f", ratios)
					})
				}
			}
		}
	}
}
