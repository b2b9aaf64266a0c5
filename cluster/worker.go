package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Worker is this process as a worker of a master. Make it with [Join]. Its methods may be called from any goroutine.
type Worker struct {
	slot      int
	workers   int
	release   string
	heartbeat time.Duration
	listeners []net.Listener
	board     *board
	place     int
	link      *link

	stop, hurry         context.Context
	cancelStop, hurryUp context.CancelCauseFunc

	killTimeout      time.Duration
	heartbeatTimeout time.Duration // 0: the master does not tell
	master           []string      // abilities
	orphan           chan struct{} // closed when the master is no more
	orphaning        sync.Once
	beating          sync.Once
	beatNow          chan struct{}
	lag              lagMeter
	refusals         complaints

	application application

	mu      sync.Mutex
	servers []*Server // what heartbeats tell of
	admin   http.Handler
}

// Slot is this worker's place in the cluster, from 1. Its replacement has the same.
func (w *Worker) Slot() int { return w.slot }

// Workers is how many workers there should be, as of the start of this one: what they share can be divided by it. While
// a scale adds some it is how many there are going to be. It is 0 under a master of an older version.
func (w *Worker) Workers() int { return w.workers }

// Release names the executable that this worker runs, as its master knows it.
func (w *Worker) Release() string { return w.release }

// Listeners are the sockets of Config.Listen, in that order. They are shared with all workers: closing one closes it for
// this process only. They are for workers that do without [Worker.Serve]: such call Ready and perhaps Report, are woken for
// every connection, and are not paced.
func (w *Worker) Listeners() []net.Listener { return w.listeners }

// Stop ends when this worker should leave: the master, or a SIGTERM to this process, says so, or the master is no more.
func (w *Worker) Stop() context.Context { return w.stop }

// Hurry ends when this worker should cut what it holds.
func (w *Worker) Hurry() context.Context { return w.hurry }

// HandleAdmin sets what answers [Master.Get], such as metrics and profiles. Nobody else can reach it.
func (w *Worker) HandleAdmin(h http.Handler) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.admin = h
}

// Serve says that this worker is ready, and serves until it is told to leave, as
// [Server.Serve] does. There is one server for each address of the master, in the
// order of Config.Listen; another number of them is an error, since nobody would
// ever answer on an address that is left out.
//
// The worker is ready when all servers can begin. They leave together, each
// within its own DrainTimeout from the same moment on. When a listener fails, the
// others drain, too, and Serve returns the error.
func (w *Worker) Serve(servers ...*Server) error {
	listeners, err := w.prepare(servers)
	if err != nil {
		return err
	}
	w.Report(servers...)
	if err := w.Ready(); err != nil {
		for _, l := range listeners {
			l.Close()
		}
		return err
	}
	stop, fail := context.WithCancelCause(w.stop)
	defer fail(nil)
	errs := make([]error, len(servers))
	var serving sync.WaitGroup
	for i, s := range servers {
		serving.Go(func() {
			errs[i] = s.serve(stop, w.hurry, listeners[i])
			fail(drainOrder{}) // which is what all were told, or this one has failed
		})
	}
	serving.Wait()
	return errors.Join(errs...)
}

// prepare gives each server its listener and its place on the board. When it
// fails no listener is left open.
func (w *Worker) prepare(servers []*Server) (listeners []net.Listener, err error) {
	defer func() {
		if err != nil {
			for _, l := range append(listeners, w.listeners...) {
				l.Close() // a second time for some
			}
			listeners = nil
		}
	}()
	if len(servers) != len(w.listeners) {
		return nil, fmt.Errorf("serve: the master listens on %s, and the worker has %s: Worker.Serve takes one for each address",
			counted(len(w.listeners), "address", "addresses"), counted(len(servers), "server", "servers"))
	}
	for i, s := range servers {
		if s == nil {
			return listeners, fmt.Errorf("server %d of %d is nil", i+1, len(servers))
		}
		s.board, s.place, s.orphan = w.board.section(i), w.place, w.orphan
		if err := w.checkLimits(s); err != nil {
			return listeners, err
		}
		l, err := s.prepare(w.listeners[i])
		if err != nil {
			return listeners, fmt.Errorf("server %d of %d: %w", i+1, len(servers), err)
		}
		listeners = append(listeners, l)
		w.lag.also(s.lookForConnections)
	}
	return listeners, nil
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// Report says whose numbers heartbeats tell the master: the sums of those
// servers. [Worker.Serve] does it by itself; a worker that serves on [Worker.Listeners] by
// hand calls it before Ready. Without it status shows none.
func (w *Worker) Report(servers ...*Server) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.servers = slices.Clone(servers)
}

// lagMeter measures how long goroutines wait for a processor: it wants to run every lagInterval, and notes how late it is.
type lagMeter struct {
	mu    sync.Mutex
	worst time.Duration
	// besides is done at each turn: what else has to be looked at now and then
	// needs no timer of its own.
	besides []func()
}

// also has a function called every lagInterval.
func (g *lagMeter) also(f func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.besides = append(g.besides, f)
}

const lagInterval = 100 * time.Millisecond

func (g *lagMeter) run(ctx context.Context) {
	timer := time.NewTimer(lagInterval)
	defer timer.Stop()
	for due := time.Now().Add(lagInterval); ; due = time.Now().Add(lagInterval) {
		timer.Reset(time.Until(due))
		select {
		case <-timer.C:
			g.mu.Lock()
			g.worst = max(g.worst, time.Since(due))
			besides := g.besides
			g.mu.Unlock()
			for _, f := range besides {
				f()
			}
		case <-ctx.Done():
			return
		}
	}
}

// take returns the worst since the last time.
func (g *lagMeter) take() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	worst := g.worst
	g.worst = 0
	return worst
}

// oneListener is a listener that one connection arrives on.
type oneListener struct {
	conns chan net.Conn
	addr  net.Addr
	once  sync.Once
}

func (l *oneListener) Accept() (net.Conn, error) {
	c, ok := <-l.conns
	if !ok {
		return nil, net.ErrClosed
	}
	return c, nil
}

func (l *oneListener) Close() error {
	l.once.Do(func() { close(l.conns) })
	return nil
}

func (l *oneListener) Addr() net.Addr { return l.addr }
