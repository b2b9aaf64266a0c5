package cluster

import (
	"errors"
	"net/http"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection that can be kicked: told to go if no request has begun to arrive on it, and not otherwise.
// [http.Server.Shutdown] can't do that. It takes a connection for idle as long as the head of a request is incomplete,
// and drops a request whose head it has just read (net/http/server.go, conn.serve: "if c.server.shuttingDown()").
//
// A kick is a read deadline in the past: the pending Read ends by it, and so takes one last look at the socket. A request
// that has arrived is answered; otherwise the deadline error makes net/http close the connection in silence.
//
// Embedding keeps ReadFrom (sendfile), CloseWrite and SyscallConn. Everything that net/http ever gets from the
// connection between two requests passes through Read, which is why this is also the place from which an idle
// connection could be handed to another process.
type conn struct {
	stream
	tcpOnly
	server *Server
	phase  atomic.Int32 // of connPhase

	// deadlines counts the read deadlines that net/http has set since the connection became idle. It is neverIdle before.
	deadlines atomic.Int32

	// prefaced is how much of HTTP/2's preface has arrived, or noPreface. It belongs to whoever reads.
	prefaced int
	told     atomic.Bool // an answer has carried Connection: close that net/http does not know of
	reading  atomic.Bool // a handler waits for its client
	leaving  atomic.Bool // told to go for the sake of a sibling, and counted as such until Close

	out     outflow
	streams atomic.Int32 // of HTTP/2, whose handlers are at work

	mu       sync.Mutex
	wanted   time.Time // the read deadline that net/http has set last, unless a request was being answered
	since    time.Time // when it became idle, or a head began to arrive; zero: before the drain
	requests int64     // so far
	method   string    // of the last request
	path     string
	busy     bool // HTTP/2, with open streams
	loose    bool // hijacked, the handler has returned, and counted as in flight until it is closed
}

// connPhase is where a connection is in its life. Up to connHead it belongs to the goroutine that reads the next head, and
// the kick.
type connPhase = int32

const (
	connFresh     connPhase = iota // nothing of the next request has been read
	connKicked                     // fresh, and told to go
	connHead                       // a head has begun to arrive
	connActive                     // a head is complete, or malformed
	connServing                    // the handler was called, and no part of its answer was sent
	connAnswering                  // the answer has begun, and is not yet sent to the end
	connHijacked                   // out of net/http's hands
	connHTTP2                      // speaks HTTP/2, and is told to go by net/http: with a GOAWAY
	connClosed
)

// neverIdle stands for any number of deadlines: no request has come before the next one.
const neverIdle = -1 << 30

// headBuffer is the size of the bufio.Reader through which net/http reads heads. Should it change, all connections are
// taken to hold a part of a request, and are closed a little later.
const headBuffer = 4 << 10

// connKey finds the conn of a request in its context.
var connKey = &struct{ name string }{"conn"}

var longAgo = time.Unix(1, 0)

func newConn(s *Server, inner stream) *conn {
	c := &conn{stream: inner, tcpOnly: tcpOf(inner), server: s, prefaced: noPreface}
	if s.h2c {
		c.prefaced = 0
	}
	c.deadlines.Store(neverIdle)
	return c
}

// changed follows the state that net/http reports.
func (c *conn) changed(state http.ConnState) {
	if c.phase.Load() == connHTTP2 {
		c.changedHTTP2(state)
		return
	}
	switch state {
	case http.StateActive:
		if c.phase.Swap(connActive) == connKicked {
			c.restoreDeadline()
		}
	case http.StateIdle:
		c.deadlines.Store(0)
		c.touch()
		c.phase.Store(connFresh)
		if c.server.phase.Load() == phaseLastCall {
			c.kick()
		}
		if t := &c.server.traffic; t.working.Load() == 0 {
			t.signal() // the answer has been sent to the end
		}
	case http.StateHijacked:
		c.phase.Store(connHijacked)
	case http.StateNew, http.StateClosed: // known from the listener, and from Close
	}
}

// touch begins the lame duck of a connection anew: it has become idle, or a head has begun to arrive, during the drain.
func (c *conn) touch() {
	if !c.server.Draining() {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.since = time.Now()
}

// waiting reports whether the connection waits for a request or the rest of a head, and since when: zero for before the
// drain. Nobody has told its client to go.
func (c *conn) waiting() (since time.Time, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch c.phase.Load() {
	case connFresh, connKicked, connHead:
		return c.since, !c.told.Load()
	case connHTTP2:
		return c.since, !c.busy
	}
	return time.Time{}, false
}

// kick tells the connection to go, if it is idle.
func (c *conn) kick() {
	if !canLook {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase.CompareAndSwap(connFresh, connKicked) {
		c.stream.SetReadDeadline(longAgo) //nolint:errcheck // fails when it is closed already
	}
}

// spare ends the freshness of a connection because a request has begun to arrive, and undoes a kick.
func (c *conn) spare() {
	c.touch()
	if !c.phase.CompareAndSwap(connFresh, connHead) && c.phase.CompareAndSwap(connKicked, connHead) {
		c.restoreDeadline()
	}
}

// restoreDeadline gives net/http's own deadline its effect back. The lock makes it wait for the end of the kick.
func (c *conn) restoreDeadline() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stream.SetReadDeadline(c.wanted) //nolint:errcheck // the next Read reports what is wrong
}

// SetReadDeadline keeps a kick above the deadlines that net/http sets between requests.
func (c *conn) SetReadDeadline(t time.Time) error {
	if c.phase.Load() >= connActive {
		return c.stream.SetReadDeadline(t)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.wanted = t
	c.deadlines.Add(1)
	if c.phase.Load() == connKicked {
		return nil
	}
	return c.stream.SetReadDeadline(t)
}

func (c *conn) Read(p []byte) (int, error) {
	phase := c.phase.Load()
	if phase >= connActive {
		if len(p) > 1 { // net/http watches for the end of a connection with 1 byte (connReader.backgroundRead)
			c.reading.Store(true)
			defer c.reading.Store(false)
		}
		return c.stream.Read(p)
	}
	if c.told.Load() {
		return 0, os.ErrDeadlineExceeded // net/http closes in silence
	}
	if phase < connHead && c.leftover(len(p)) {
		c.spare()
	}
	n, err := c.stream.Read(p)
	if phase < connHead {
		if n == 0 && c.phase.Load() == connKicked && errors.Is(err, os.ErrDeadlineExceeded) {
			if seen, lookErr := lastLook(c.stream, p); lookErr == nil {
				n, err = seen, nil
			}
		}
		if n > 0 {
			c.spare()
		}
	}
	if n > 0 && c.prefaced != noPreface {
		c.watch(p[:n])
	}
	return n, err
}

// leftover reports whether net/http may hold bytes of the next request already, at the first Read since the connection
// became idle: it reads ahead. Then it begins with Peek(4), after one SetReadDeadline, into the free part of its buffer. So
// only with exactly one deadline and room for a full buffer it is certain to hold nothing. (With more than 4 bytes
// it reads after a second deadline, and has perhaps moved whole lines out of the buffer, which makes room.)
func (c *conn) leftover(room int) bool {
	n := c.deadlines.Load()
	return n >= 0 && (n != 1 || room != headBuffer)
}

// begin notes that a request goes to the handler. It fails for HTTP/2, which has many requests on a connection.
func (c *conn) begin(r *http.Request) bool {
	if r.ProtoMajor > 1 {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.method, c.path = r.Method, r.URL.Path
	c.requests++
	c.phase.Store(connServing)
	return true
}

// outlivesHandler reports, when a handler has returned, whether its connection is in flight all the same: it was hijacked
// and is open. It counts as such until Close, from this moment on: before, it was counted as a request.
func (c *conn) outlivesHandler() bool {
	if phase := c.phase.Load(); phase == connServing || phase == connAnswering {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.loose = c.phase.Load() == connHijacked
	return c.loose
}

// work says what is being worked on, if anything is: the phase is connFresh otherwise.
func (c *conn) work() (what string, phase connPhase, http2 bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch phase := c.phase.Load(); phase {
	case connServing, connAnswering, connHijacked:
		return c.method + " " + c.path, phase, false
	case connActive:
		return "a request from " + c.RemoteAddr().String(), phase, false
	case connHTTP2:
		if c.busy {
			return "a request from " + c.RemoteAddr().String(), phase, true
		}
	}
	return "", connFresh, false
}

// leave counts the connection as one that is told to go. It reports whether it
// was not before, and is open.
func (c *conn) leave() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.phase.Load() == connClosed || c.leaving.Swap(true) {
		return false
	}
	c.server.reliever.leaving.Add(1)
	return true
}

// Close closes the connection, and ends its being counted.
func (c *conn) Close() error {
	if c.server.Draining() || c.leaving.Load() {
		discardArrived(c.stream)
	}
	err := c.stream.Close()
	c.mu.Lock()
	loose := c.loose
	c.loose = false
	phase := c.phase.Swap(connClosed)
	since := c.since
	if c.leaving.Swap(false) {
		c.server.reliever.leaving.Add(-1)
	}
	c.mu.Unlock()
	if phase == connKicked {
		c.server.traffic.closedUntold(since)
	}
	c.server.traffic.remove(c, phase == connHTTP2, loose)
	return err
}

// discardArrived takes what nobody will read out of the socket: closing a socket with unread bytes resets the connection,
// and the reset may overtake the answer before it. Pipelining clients, whose first answer in a drain is the last, would
// lose it.
func discardArrived(c stream) {
	var buf [4 << 10]byte
	for range 16 {
		if n, err := lastLook(c, buf[:]); n == 0 || err != nil {
			return
		}
	}
}
