package cluster

import (
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// socketListener is what *net.TCPListener and *net.UnixListener have in common.
type socketListener interface {
	net.Listener
	syscall.Conn
	SetDeadline(t time.Time) error
}

// listener hands the connections of a listening socket to net/http. With a
// board it takes no more than its share of them.
type listener struct {
	server  *Server
	addr    net.Addr
	accept  func() (net.Conn, error)
	pacer   *pacer // nil: take what comes
	trouble trouble
	closing sync.Once
	closed  chan struct{}
	inner   socketListener // nil: it is the pacer's
}

// newListener takes inner over, also when it fails.
func newListener(s *Server, inner socketListener) (*listener, error) {
	l := &listener{server: s, addr: inner.Addr(), closed: make(chan struct{})}
	if s.board == nil {
		l.inner, l.accept = inner, inner.Accept
		return l, nil
	}
	var err error
	if l.pacer, err = newPacer(s.board, s.place, inner); err != nil {
		return nil, errors.Join(err, inner.Close())
	}
	l.accept = l.pacer.accept
	return l, nil
}

func (l *listener) Addr() net.Addr { return l.addr }

// Accept returns a connection that is counted. It fails when the listener is
// closed, or its descriptor is no listening socket any more. All other errors
// pass, and are waited out here.
func (l *listener) Accept() (net.Conn, error) {
	for {
		inner, err := l.accept()
		if err == nil {
			l.trouble.over()
			return l.server.track(inner), nil
		}
		if isClosed(l.closed) {
			return nil, net.ErrClosed
		}
		if fatal(err) {
			return nil, err
		}
		if !l.waitOut(err) {
			return nil, net.ErrClosed
		}
	}
}

// waitOut waits before the next try, and leaves what comes meanwhile to the
// siblings. It reports whether the listener is still open.
func (l *listener) waitOut(err error) bool {
	pause := l.trouble.note(l.server, err)
	if l.pacer != nil {
		l.pacer.pause()
		defer l.pacer.resume()
	}
	select {
	case <-time.After(pause):
		return true
	case <-l.closed:
		return false
	}
}

// Close ends Accept. The socket goes on in the siblings and the master.
func (l *listener) Close() (err error) {
	l.closing.Do(func() {
		close(l.closed)
		if l.pacer != nil {
			err = l.pacer.close()
		} else {
			err = l.inner.Close()
		}
	})
	return err
}

// lookForConnections is done every lagInterval while the server shares its
// socket with siblings.
func (s *Server) lookForConnections() {
	if l := s.accepts.Load(); l != nil && l.pacer != nil {
		l.pacer.look()
		s.lookForRelief(l.pacer.burden())
	}
}

// track makes a connection count from its accept to its close.
func (s *Server) track(inner net.Conn) net.Conn {
	socket, ok := inner.(stream)
	if !ok {
		return inner
	}
	if s.tls {
		return s.newCarrier(socket)
	}
	c := newConn(s, socket)
	s.traffic.add(c)
	return c
}
