package cluster

import (
	"crypto/tls"
	"net"
	"sync"
	"sync/atomic"
)

// carrier is a connection of a socket that carries a TLS connection. To net/http
// that one is a *tls.Conn like any other; the carrier counts it from accept to
// close, and keeps sight of it when it is hijacked.
type carrier struct {
	stream
	server   *Server
	what     string // the request that has hijacked it
	hijacked bool
	loose    bool        // its handler has returned, and it is in flight until it is closed
	leaving  atomic.Bool // told to go for the sake of a sibling, and counted as such until Close
	out      outflow
	streams  atomic.Int32 // of HTTP/2, whose handlers are at work
}

// carriers are those of a server that are open.
type carriers struct {
	mu   sync.Mutex
	open map[*carrier]struct{}
}

// carrierKey finds the carrier of a request in its context.
var carrierKey = &struct{ name string }{"carrier"}

// carrierOf returns what carries a TLS connection, or nil.
func carrierOf(nc net.Conn) *carrier {
	if t, ok := nc.(*tls.Conn); ok {
		if c, ok := t.NetConn().(*carrier); ok {
			return c
		}
	}
	return nil
}

func (s *Server) newCarrier(inner stream) *carrier {
	c := &carrier{stream: inner, server: s}
	cs := &s.traffic.carriers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.open == nil {
		cs.open = map[*carrier]struct{}{}
	}
	cs.open[c] = struct{}{}
	s.entry().opened()
	return c
}

// outlivesHandler reports, when the handler of a request has returned, whether it
// has hijacked the connection, which is open.
func (c *carrier) outlivesHandler(what string) bool {
	cs := &c.server.traffic.carriers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, open := cs.open[c]; !open || !c.hijacked {
		return false
	}
	c.what, c.loose = what, true
	return true
}

// leave counts the connection as one that is told to go. It reports whether it
// was not before, and is open.
func (c *carrier) leave() bool {
	cs := &c.server.traffic.carriers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if _, open := cs.open[c]; !open || c.leaving.Swap(true) {
		return false
	}
	c.server.reliever.leaving.Add(1)
	return true
}

// hijack notes that net/http has given the connection away.
func (c *carrier) hijack() {
	cs := &c.server.traffic.carriers
	cs.mu.Lock()
	defer cs.mu.Unlock()
	c.hijacked = true
}

// Close closes the connection, and ends its being counted.
func (c *carrier) Close() error {
	if c.server.Draining() || c.leaving.Load() {
		discardArrived(c.stream)
	}
	err := c.stream.Close()
	cs := &c.server.traffic.carriers
	cs.mu.Lock()
	_, open := cs.open[c]
	delete(cs.open, c)
	loose := c.loose
	c.loose = false
	if open { // within the lock: Serve, which ends by cut, must not end before, and the board with it
		c.server.entry().closed()
		if c.leaving.Load() {
			c.server.reliever.leaving.Add(-1)
		}
	}
	cs.mu.Unlock()
	if loose {
		c.server.traffic.working.Add(-1)
	}
	c.server.traffic.signal()
	return err
}

func (cs *carriers) count() int {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	return len(cs.open)
}

// detached returns what hijacked connections are in flight for.
func (cs *carriers) detached() (whats []string) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if c.loose {
			whats = append(whats, c.what)
		}
	}
	return whats
}

// cut closes all that are open.
func (cs *carriers) cut() {
	cs.mu.Lock()
	open := make([]*carrier, 0, len(cs.open))
	for c := range cs.open {
		open = append(open, c)
	}
	cs.mu.Unlock()
	for _, c := range open {
		c.Close()
	}
}
