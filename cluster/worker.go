package cluster

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
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

	killTimeout time.Duration
	orphan      chan struct{} // closed when the master is no more
	beating     sync.Once
	beatNow     chan struct{}
	lag         lagMeter

	mu        sync.Mutex
	server    *Server // what heartbeats tell of
	admin     http.Handler
	onMessage func(from int, data []byte)

	settling  sync.Mutex // held while settings are applied, so that none overtakes a newer one
	onSetting func(key, value string) error
	settings  []message // before there was a handler
}

// Slot is this worker's place in the cluster, from 1. Its replacement has the same.
func (w *Worker) Slot() int { return w.slot }

// Workers is how many workers there should be, as of the start of this one: what they share can be divided by it. It is 0
// under a master of an older version.
func (w *Worker) Workers() int { return w.workers }

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

// OnMessage sets what takes the broadcasts of siblings. It is called with one after the other, and should not block.
func (w *Worker) OnMessage(f func(from int, data []byte)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.onMessage = f
}

// Serve says that this worker is ready and serves on the first listener until it is told to leave, as [Server.Serve]
// does.
func (w *Worker) Serve(s *Server) error {
	s.board, s.place, s.orphan = w.board, w.place, w.orphan
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

// applySetting hands a setting to the handler, or keeps it until there is one.
func (w *Worker) applySetting(m message) error {
	w.settling.Lock()
	defer w.settling.Unlock()
	if w.onSetting == nil {
		w.settings = append(w.settings, m)
		return nil
	}
	return w.onSetting(m.Key, m.Value)
}

// OnSetting sets what applies settings, one after the other. Those that were made before come at once, and the error tells
// which of them it refuses; later ones are reported to whoever makes them.
func (w *Worker) OnSetting(f func(key, value string) error) error {
	w.settling.Lock()
	defer w.settling.Unlock()
	w.onSetting = f
	kept := w.settings
	w.settings = nil
	var refused []error
	for _, m := range kept {
		if err := f(m.Key, m.Value); err != nil {
			refused = append(refused, fmt.Errorf("setting %s=%s: %w", m.Key, m.Value, err))
		}
	}
	return errors.Join(refused...)
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
