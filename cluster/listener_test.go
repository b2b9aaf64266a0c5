//go:build unix

package cluster_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// socketDup is a second descriptor of a listening socket, as a worker inherits it.
func socketDup(tb testing.TB, l net.Listener) *os.File {
	tb.Helper()
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		tb.Fatal(err)
	}
	var fd int
	if controlErr := raw.Control(func(socket uintptr) { fd, err = unix.FcntlInt(socket, unix.F_DUPFD_CLOEXEC, 0) }); controlErr != nil || err != nil {
		tb.Fatal(controlErr, err)
	}
	return os.NewFile(uintptr(fd), "listener") // and not (*net.TCPListener).File, whose Fd makes the socket blocking
}

func listenerDup(tb testing.TB, l net.Listener) net.Listener {
	tb.Helper()
	f := socketDup(tb, l)
	defer f.Close()
	dup, err := net.FileListener(f)
	if err != nil {
		tb.Fatal(err)
	}
	return dup
}

// burst dials connections all at once, asks for an answer on each, and keeps them open until the test ends.
func burst(tb testing.TB, addr string, n int) {
	tb.Helper()
	conns := make([]net.Conn, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range conns {
		wg.Go(func() {
			<-start
			c, err := net.Dial("tcp", addr)
			if err != nil {
				tb.Error(err)
				return
			}
			conns[i] = c
			fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: shop\r\n\r\n")
			resp, err := http.ReadResponse(bufio.NewReader(c), nil)
			if err != nil {
				tb.Error(err)
				return
			}
			io.Copy(io.Discard, resp.Body)
		})
	}
	close(start)
	wg.Wait()
	tb.Cleanup(func() {
		for _, c := range conns {
			if c != nil {
				c.Close()
			}
		}
	})
}

// unevenness is the ratio of the busiest to the least busy; one without any counts as one with a half.
func unevenness(live []int64) float64 {
	return float64(slices.Max(live)) / max(0.5, float64(slices.Min(live)))
}

// burstOnServers is the spread of a burst over servers in this process that share a socket.
func burstOnServers(tb testing.TB, servers, conns int, paced bool) []int64 {
	tb.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer socket.Close()
	b := boardFor(tb, servers)
	hurry, now := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	all := make([]*cluster.Server, servers)
	for i := range all {
		all[i] = &cluster.Server{HTTP: &http.Server{Handler: http.HandlerFunc(greet)}, Log: quietLog}
		if paced {
			all[i].Join(b, i)
		}
		dup := listenerDup(tb, socket)
		wg.Go(func() { all[i].Serve(hurry, hurry, dup) })
	}
	burst(tb, socket.Addr().String(), conns)
	live := make([]int64, servers)
	for i, s := range all {
		live[i] = int64(s.Connections())
	}
	now()
	wg.Wait()
	return live
}

const (
	pacedProcess = "CLUSTER_TEST_PACED_PROCESS" // the place of a process that TestPacedProcess should be
	unpaced      = "CLUSTER_TEST_UNPACED"
	onWatch      = "CLUSTER_TEST_ON_WATCH" // how many processes are to be on watch
)

// TestPacedProcess is a worker and no test: it serves on the listener and the board it inherited until its standard input
// ends.
func TestPacedProcess(t *testing.T) {
	place, err := strconv.Atoi(os.Getenv(pacedProcess))
	if err != nil {
		t.Skip("a part of TestPacingAcrossProcesses")
	}
	socket := os.NewFile(3, "listener")
	listener, err := net.FileListener(socket)
	if err != nil {
		t.Fatal(err)
	}
	socket.Close() // it is in the poller, too
	memory := os.NewFile(4, "board")
	b, err := cluster.OpenBoard(memory)
	if err != nil {
		t.Fatal(err)
	}
	memory.Close()
	s := &cluster.Server{Log: quietLog}
	s.HTTP = &http.Server{Handler: starving(s)}
	if os.Getenv(unpaced) == "" {
		s.Join(b, place)
	} else {
		s.HTTP.ConnState = func(_ net.Conn, state http.ConnState) {
			if state == http.StateNew {
				live, accepted, _ := b.Entry(place)
				b.Pretend(place, live+1, accepted+1, true)
			}
		}
		b.Pretend(place, 0, 0, true)
	}
	if n, err := strconv.Atoi(os.Getenv(onWatch)); err == nil {
		b.SetWatchers(n)
	}
	hurry, now := context.WithCancel(context.Background())
	go func() {
		io.Copy(io.Discard, os.Stdin)
		now()
	}()
	go func() {
		for range time.Tick(cluster.LookInterval) {
			s.Look()
		}
	}()
	s.Serve(hurry, hurry, listener)
}

// burstOnProcesses is the same with a process for each worker.
func burstOnProcesses(tb testing.TB, processes, conns int, paced bool) []int64 {
	tb.Helper()
	return burstBeside(tb, processes, conns, paced, func([]*os.Process) {})
}

// burstBeside does something to the processes before the burst.
func burstBeside(tb testing.TB, processes, conns int, paced bool, prepare func([]*os.Process)) []int64 {
	tb.Helper()
	var env []string
	if !paced {
		env = []string{unpaced + "=1"}
	}
	c := startCrew(tb, processes, env...)
	defer c.dismiss()
	prepare(c.running())
	burst(tb, c.addr, conns)
	return c.live()
}

// crew are processes that share a socket, as workers do.
type crew struct {
	addr  string
	board *cluster.Board
	procs []*exec.Cmd
	lives []io.Closer
}

func startCrew(tb testing.TB, processes int, env ...string) *crew {
	tb.Helper()
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer socket.Close()
	inherited := socketDup(tb, socket)
	defer inherited.Close()
	c := &crew{addr: socket.Addr().String(), board: boardFor(tb, processes)}
	for i := range processes {
		cmd := exec.Command(os.Args[0], "-test.run=^TestPacedProcess$")
		cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GORACE=atexit_sleep_ms=0", fmt.Sprintf("%s=%d", pacedProcess, i))
		cmd.Env = append(cmd.Env, env...)
		cmd.ExtraFiles = []*os.File{inherited, c.board.File()}
		life, err := cmd.StdinPipe()
		if err != nil {
			tb.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			tb.Fatal(err)
		}
		c.procs, c.lives = append(c.procs, cmd), append(c.lives, life)
	}
	tb.Cleanup(c.dismiss)
	for i := range processes { // starting is the event, and the board tells it
		until(tb, func() bool { _, _, accepting := c.board.Entry(i); return accepting })
	}
	return c
}

func (c *crew) running() (running []*os.Process) {
	for _, p := range c.procs {
		running = append(running, p.Process)
	}
	return running
}

func (c *crew) live() []int64 {
	live := make([]int64, len(c.procs))
	for i := range live {
		live[i], _, _ = c.board.Entry(i)
	}
	return live
}

// dismiss ends all processes, also those that were stopped.
func (c *crew) dismiss() {
	for i, p := range c.procs {
		c.lives[i].Close()
		p.Process.Signal(unix.SIGCONT)
		p.Wait()
	}
	c.procs = nil
}

// visit asks for one answer on a connection of its own.
func visit(tb testing.TB, addr string) {
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		tb.Error(err)
		return
	}
	defer conn.Close()
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")
	if n, err := io.Copy(io.Discard, conn); n == 0 || err != nil {
		tb.Errorf("%d bytes, %v", n, err)
	}
}

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
