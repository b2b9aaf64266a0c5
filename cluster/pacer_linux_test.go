package cluster_test

import (
	"context"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"doorbuster/cluster"
)

// onWatch returns the places of those who wait for connections.
func (c *crew) onWatch() (places []int) {
	for i := range c.procs {
		if c.board.OnWatch(i) {
			places = append(places, i)
		}
	}
	return places
}

// thinOut visits until no more are on watch than should be.
func (c *crew) thinOut(t *testing.T) {
	t.Helper()
	until(t, func() bool {
		visit(t, c.addr)
		return len(c.onWatch()) <= cluster.Watchers
	})
}

// Of many workers a few wait for connections, and the others are not woken.
func TestFewAreOnWatch(t *testing.T) {
	t.Parallel()
	c := startCrew(t, 3*cluster.Watchers)
	c.thinOut(t)
	for range 100 {
		visit(t, c.addr)
	}
	until(t, func() bool { return len(c.onWatch()) == cluster.Watchers })
}

// A connection does not wait behind those on watch, whatever happens to them:
// each way, to as many as the seed says, until one is left.
func TestWatchersThatAreNoMore(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	c := startCrew(t, 3*cluster.Watchers)
	c.thinOut(t)
	out := map[int]bool{} // stopped or dead
	for len(out) < len(c.procs)-1 {
		for _, i := range c.onWatch() {
			if out[i] || len(out) == len(c.procs)-1 {
				continue
			}
			out[i] = true
			p := c.procs[i].Process
			switch random.IntN(3) {
			case 0: // by hand, or a debugger
				stopProcess(t, p.Pid)
			case 1: // before its master has noticed
				p.Kill()
			case 2: // and after
				p.Kill()
				c.procs[i].Wait()
				c.board.Reset(i)
			}
		}
		for range 3 {
			visit(t, c.addr)
		}
	}
}

// Workers that go on after they were stopped take their part again.
func TestWatchersThatGoOn(t *testing.T) {
	t.Parallel()
	c := startCrew(t, 2*cluster.Watchers)
	c.thinOut(t)
	stopped := c.onWatch()
	for _, i := range stopped {
		stopProcess(t, c.procs[i].Process.Pid)
	}
	visit(t, c.addr)
	for _, i := range stopped {
		c.procs[i].Process.Signal(unix.SIGCONT)
	}
	c.thinOut(t)
	burst(t, c.addr, 64*len(c.procs))
	for i, live := range c.live() {
		if live == 0 {
			t.Errorf("worker %d took none: %v", i, c.live())
		}
	}
}

func stopProcess(t *testing.T, pid int) {
	t.Helper()
	if err := unix.Kill(pid, unix.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var ws unix.WaitStatus
	if _, err := unix.Wait4(pid, &ws, unix.WUNTRACED, nil); err != nil || !ws.Stopped() {
		t.Fatal(ws, err)
	}
}

// W2: a worker that leaves lets another one wait for what comes. Nobody looks
// here, as workers do every 100 ms.
func TestWatchersThatLeave(t *testing.T) {
	t.Parallel()
	const servers = 3 * cluster.Watchers
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	b := boardFor(t, servers)
	var leave [servers]func()
	for i := range servers {
		s := &cluster.Server{HTTP: &http.Server{Handler: http.HandlerFunc(greet)}, Log: quietLog, DrainTimeout: time.Hour}
		s.Join(b, i)
		stop, now := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		dup := listenerDup(t, socket)
		wg.Go(func() { s.Serve(stop, context.WithoutCancel(stop), dup) })
		until(t, func() bool { _, _, accepting := b.Entry(i); return accepting })
		leave[i] = func() { now(); wg.Wait() }
	}
	left := map[int]bool{}
	for len(left) < servers-1 {
		visit(t, socket.Addr().String())
		for i := range servers {
			if b.OnWatch(i) && !left[i] && len(left) < servers-1 {
				left[i] = true
				leave[i]()
				break
			}
		}
	}
	visit(t, socket.Addr().String())
	for i := range servers {
		leave[i]()
	}
}
