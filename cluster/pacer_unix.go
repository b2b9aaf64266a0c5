//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pacer accepts the connections that are this process's share.
//
// Either it is on watch: then the listening socket is in the poller of this
// process. Or it stands by, until a sibling that holds more than its share rings
// its bell. EPOLLEXCLUSIVE would not do: it wakes one process only if a thread of
// that blocks in epoll_wait(2) on the very descriptor that the socket was added
// to. Go's poller can't be given the flag, and an epoll descriptor with it inside
// of Go's poller wakes everybody (with 64 workers: 59 context switches for each
// connection, as without it).
type pacer struct {
	descriptor int   // of the listening socket, and in no poller
	bell       *bell // nil: it is always on watch

	mu       sync.Mutex
	siblings *siblings
	watch    *watch // nil: it stands by
	closed   bool
}

// watch is the listening socket in the poller.
type watch struct {
	listener socketListener
	// socket is a second descriptor of the same, only to wait on until
	// a connection is there: a net.Listener can't be asked for that.
	socket *os.File
	raw    syscall.RawConn
}

func newPacer(b *board, place int, l socketListener) (*pacer, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("look at the listening socket: %w", err)
	}
	p := &pacer{siblings: newSiblings(b, place)}
	controlErr := raw.Control(func(fd uintptr) { p.descriptor, err = dupCloseOnExec(int(fd)) })
	if err := errors.Join(controlErr, err); err != nil {
		return nil, fmt.Errorf("duplicate the listening socket: %w", err)
	}
	if p.watch, err = p.newWatch(l); err != nil {
		unix.Close(p.descriptor)
		return nil, err
	}
	e := p.siblings.own()
	e.onWatch.Store(true)
	if p.bell, err = newBell(); err == nil {
		e.bell.Store(p.bell.name)
	} // without one it is always on watch
	b.join(place)
	return p, nil
}

// newWatch puts the listening socket into the poller. The listener is made if it
// is nil.
func (p *pacer) newWatch(l socketListener) (_ *watch, err error) {
	fd, err := dupCloseOnExec(p.descriptor)
	if err != nil {
		return nil, fmt.Errorf("duplicate the listening socket: %w", err)
	}
	w := &watch{listener: l, socket: os.NewFile(uintptr(fd), "listener")} // in the poller, since the socket is non-blocking
	if w.raw, err = w.socket.SyscallConn(); err == nil && l == nil {
		w.listener, err = listenerOf(p.descriptor)
	}
	if err != nil {
		w.socket.Close()
		return nil, fmt.Errorf("wait on the listening socket: %w", err)
	}
	return w, nil
}

// listenerOf makes a listener of a descriptor, which stays open.
func listenerOf(fd int) (socketListener, error) {
	own, err := dupCloseOnExec(fd)
	if err != nil {
		return nil, err
	}
	l, err := inheritListener(own)
	if err != nil {
		return nil, err
	}
	s, ok := l.(socketListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("%s is no TCP or Unix socket", l.Addr()), l.Close())
	}
	return s, nil
}

func (w *watch) close() error {
	return errors.Join(w.socket.Close(), w.listener.Close())
}

// accept returns the next connection that is this process's share.
func (p *pacer) accept() (net.Conn, error) {
	for {
		w, err := p.goOnWatch()
		if err != nil {
			return nil, err
		}
		ours, err := p.awaitConnection(w)
		if err != nil {
			return nil, err
		}
		if !ours {
			continue
		}
		// The connection may have gone to a sibling. Whoever waits in accept takes the next one out of turn.
		if err := w.listener.SetDeadline(time.Now().Add(pacingUnit)); err != nil {
			return nil, err
		}
		c, err := w.listener.Accept()
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return c, err
		}
	}
}

// goOnWatch returns when this process is on watch. Before, it stands by as long
// as it can be spared.
func (p *pacer) goOnWatch() (*watch, error) {
	for {
		w, err := p.stay()
		if w != nil || err != nil {
			return w, err
		}
		if err := p.bell.wait(); err != nil {
			return nil, net.ErrClosed
		}
	}
}

// stay returns the watch, or nil to stand by.
func (p *pacer) stay() (_ *watch, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, net.ErrClosed
	}
	e := p.siblings.own()
	if p.bell != nil && e.onWatch.Load() && p.siblings.spare() {
		e.onWatch.Store(false)
		// Another one may have left in the same moment. Of the two, one sees it.
		if p.siblings.tooFew() {
			e.onWatch.Store(true)
		}
	}
	switch on := e.onWatch.Load(); {
	case on && p.watch == nil:
		p.watch, err = p.newWatch(nil)
	case !on && p.watch != nil:
		p.watch.close()
		p.watch = nil
	}
	return p.watch, err
}

// awaitConnection returns when a connection has arrived, and reports whether it
// is this process's. It may be gone all the same when accept is called.
func (p *pacer) awaitConnection(w *watch) (ours bool, err error) {
	if err := w.raw.Read(readable); err != nil { // parks until there is one
		return false, net.ErrClosed
	}
	wait := p.leave()
	if wait == 0 {
		return true, nil
	}
	<-time.After(wait) // at most pacingMost, also when the listener is closed
	if !readable(uintptr(p.descriptor)) {
		return false, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.siblings.waitedInVain(wait)
	return true, nil
}

// leave is how long to leave a connection to others. It calls one of them.
func (p *pacer) leave() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	wait := p.siblings.wait()
	if wait > 0 {
		p.call(p.siblings.own().live.Load())
	}
	return wait
}

// call puts a sibling on watch that has fewer connections than most.
func (p *pacer) call(most int64) {
	if p.bell == nil {
		return
	}
	if name := p.siblings.next(most); name != 0 {
		p.bell.ring(name)
	}
}

// look goes on watch when those who are do not take what waits, or are too few.
// It is called every lagInterval.
func (p *pacer) look() {
	p.mu.Lock()
	defer p.mu.Unlock()
	e := p.siblings.own()
	if p.bell == nil || p.closed || p.watch != nil || !e.accepting.Load() {
		return
	}
	waiting := readable(uintptr(p.descriptor))
	if waiting {
		p.siblings.giveUpWatchers()
	}
	if waiting || e.onWatch.Load() || p.siblings.tooFew() { // onWatch: the bell was not heard
		e.onWatch.Store(true)
		p.bell.ring(p.bell.name)
	}
}

// burden is how the connections are spread.
func (p *pacer) burden() burden {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.siblings.burden()
}

// pause leaves all connections to the siblings. Their queue still wakes this
// process.
func (p *pacer) pause() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.handOver()
}

func (p *pacer) handOver() {
	e := p.siblings.own()
	e.accepting.Store(false)
	if e.onWatch.Swap(false) {
		p.call(math.MaxInt64)
	}
}

// resume ends a pause.
func (p *pacer) resume() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.siblings.own().onWatch.Store(true)
		p.siblings.own().accepting.Store(true)
	}
}

func (p *pacer) close() (err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.handOver()
	if p.bell != nil {
		p.bell.close()
	}
	if p.watch != nil {
		err = p.watch.close()
	}
	return errors.Join(err, unix.Close(p.descriptor))
}
