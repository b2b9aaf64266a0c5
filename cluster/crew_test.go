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
