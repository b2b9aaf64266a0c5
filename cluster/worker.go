package cluster

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"time"
)

// Worker is this process as a worker of a master. Make it with [Join]. Its methods may be called from any goroutine.
type Worker struct {
	slot      int
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

	mu     sync.Mutex
	server *Server // what heartbeats tell of
	admin  http.Handler
}

// Slot is this worker's place in the cluster, from 1. Its replacement has the same.
func (w *Worker) Slot() int { return w.slot }

// Release names the executable that this worker runs, as its master knows it.
func (w *Worker) Release() string { return w.release }

// Listeners are the sockets of Config.Listen, in that order. They are shared with all workers: closing one closes it for
// this process only.
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

// Serve says that this worker is ready and serves on the first listener until it is told to leave, as [Server.Serve]
// does.
func (w *Worker) Serve(s *Server) error {
	s.board, s.place, s.orphan = w.board, w.place, w.orphan
	if err := w.checkLimits(s); err != nil {
		return err
	}
	listener, err := s.prepare(w.listeners[0])
	if err != nil {
		return err
	}
	w.mu.Lock()
	w.server = s
	w.mu.Unlock()
	if err := w.Ready(); err != nil {
		return errors.Join(err, listener.Close())
	}
	return s.serve(w.stop, w.hurry, listener)
}

// lagMeter measures how long goroutines wait for a processor: it wants to run every lagInterval, and notes how late it is.
type lagMeter struct {
	mu    sync.Mutex
	worst time.Duration
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
			g.mu.Unlock()
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
