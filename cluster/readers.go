package cluster

import (
	"cmp"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// A DataRate is how fast a client has to take its answers.
//
// Only the time counts during which an answer waits for its client: a write
// that the kernel, or the flow control of HTTP/2, does not take. What the
// client acknowledges meanwhile pays for that time, at the rate. It may be up
// to Grace in arrears, and it can't pay in advance. So a client that takes
// BytesPerSecond or more, in pieces of at most BytesPerSecond times Grace, is
// never cut, and one that takes nothing is cut after Grace.
//
// The pieces are those of its kernel: one that has closed its window opens it
// again by a segment, or by half its buffer if that is less. On the loopback
// device a segment has 64 KiB.
type DataRate struct {
	BytesPerSecond int           // default: see the field of this type
	Grace          time.Duration // default: see the field of this type; negative: no limit
}

// Defaults of Server.ResponseRate and Server.DrainResponseRate. Both forgive a
// whole segment of 64 KiB.
var (
	defaultResponseRate      = DataRate{BytesPerSecond: 8 << 10, Grace: 10 * time.Second}
	defaultDrainResponseRate = DataRate{BytesPerSecond: 32 << 10, Grace: 2 * time.Second}
)

// or fills in defaults.
func (r DataRate) or(d DataRate) DataRate {
	return DataRate{BytesPerSecond: cmp.Or(r.BytesPerSecond, d.BytesPerSecond), Grace: cmp.Or(r.Grace, d.Grace)}
}

// worth is the time that a number of bytes pays for.
func (r DataRate) worth(bytes int64) time.Duration {
	return time.Duration(float64(bytes) / float64(r.BytesPerSecond) * float64(time.Second))
}

// arrears is how far a client has fallen behind a [DataRate].
type arrears time.Duration

// add notes that time has passed, in which the client took so much. It reports
// whether that was too little.
func (a *arrears) add(passed time.Duration, taken int64, rate DataRate) (tooSlow bool) {
	*a = max(0, *a+arrears(passed)-arrears(rate.worth(taken)))
	return rate.Grace >= 0 && time.Duration(*a) >= rate.Grace
}

// outflow is what the watch of slow readers sees of one who writes. The writes
// pay two atomic operations for it, and no timer.
type outflow struct {
	writing atomic.Bool
	written atomic.Int64 // only where the kernel does not tell what has arrived
}

// outflowPiece bounds a write whose progress is only seen when it returns.
const outflowPiece = 16 << 10

// send writes p, in pieces whose progress is seen.
func (o *outflow) send(p []byte, write func([]byte) (int, error)) (n int, err error) {
	o.writing.Store(true)
	defer o.writing.Store(false)
	for {
		sent, err := write(p[n:min(n+outflowPiece, len(p))])
		n += sent
		o.written.Add(int64(sent))
		if err != nil || n == len(p) {
			return n, err
		}
	}
}

// A recipient is the client's side of an answer: a connection, or a stream of
// HTTP/2.
type recipient interface {
	holdsUp() bool // an answer waits for the client now, and not for us
	taken() int64  // bytes so far; may also fall
	cut()          // ends it
}

// readerInterval is how often the watch looks. The time between two looks counts
// as that at most: when it was more, this process was stopped, or had no
// processor, and that is not the client's fault.
const readerInterval = 250 * time.Millisecond

// readerWatch ends answers that their clients don't take. It belongs to the
// goroutine that watches. A client that reads costs it a look at a flag; only
// for one that has kept a write waiting for a whole interval the kernel is asked.
type readerWatch struct {
	server *Server
	normal DataRate
	drain  DataRate
	last   time.Time
	slow   map[recipient]*slowReader
}

// slowReader is somebody for whom an answer waits. Its arrears are kept by both
// rates, so that a client that has taken nothing for long does not delay a drain.
// One that takes its answer, at whatever rate the server allows, begins a drain
// without any.
type slowReader struct {
	taken         int64
	normal, drain arrears
	moved         bool // it has taken something since its answer waits
	seen          bool
}

func (s *Server) newReaderWatch() *readerWatch {
	return &readerWatch{
		server: s, last: time.Now(), slow: map[recipient]*slowReader{},
		normal: s.ResponseRate.or(defaultResponseRate), drain: s.DrainResponseRate.or(defaultDrainResponseRate),
	}
}

// watchReaders runs the watch until done is closed.
func (s *Server) watchReaders(done <-chan struct{}) {
	w := s.newReaderWatch()
	if w.normal.Grace < 0 && w.drain.Grace < 0 {
		return
	}
	ticker := time.NewTicker(readerInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			w.look(time.Now(), s.traffic.recipients(s.Draining()))
		case <-done:
			return
		}
	}
}

// look judges those whose writes are under way.
func (w *readerWatch) look(now time.Time, writing []recipient) {
	passed := min(now.Sub(w.last), readerInterval)
	w.last = now
	for _, r := range writing {
		known := w.slow[r]
		if known == nil { // since when is not known
			w.slow[r] = &slowReader{taken: r.taken(), seen: true}
			continue
		}
		known.seen = true
		if w.tooSlow(known, r, passed) {
			w.server.slowReaders.Add(1)
			r.cut()
			known.seen = false
		}
	}
	for r, known := range w.slow {
		if !known.seen {
			delete(w.slow, r)
			continue
		}
		known.seen = false
	}
}

func (w *readerWatch) tooSlow(s *slowReader, r recipient, passed time.Duration) bool {
	if !r.holdsUp() {
		s.normal, s.drain, s.taken, s.moved = 0, 0, r.taken(), false
		return false
	}
	more := int64(0)
	if taken := r.taken(); taken > s.taken {
		more, s.taken, s.moved = taken-s.taken, taken, true
	}
	normal := s.normal.add(passed, more, w.normal)
	drain := s.drain.add(passed, more, w.drain)
	if s.moved && !w.server.Draining() {
		s.drain = 0 // who takes something owes nothing to a drain that has not begun
	}
	return normal || drain && w.server.Draining()
}

// recipients returns those whose writes are under way, and in a drain those too
// whose handlers have returned and whose answers over HTTP/2 have not left.
func (t *traffic) recipients(draining bool) (all []recipient) {
	t.mu.Lock()
	for c := range t.conns {
		phase := c.phase.Load()
		if phase != connHijacked && c.out.writing.Load() || draining && phase == connHTTP2 && c.lingers() {
			all = append(all, c)
		}
	}
	var active []*carrier
	for nc, f := range t.foreign {
		if c := carrierOf(nc); draining && c != nil && f.state == http.StateActive && c.streams.Load() == 0 && overHTTP2(nc) {
			active = append(active, c)
		}
	}
	for _, a := range t.answers {
		if a.out.writing.Load() {
			all = append(all, a)
		}
	}
	t.mu.Unlock()
	for _, c := range active {
		all = append(all, (*lingeringCarrier)(c))
	}
	return append(all, t.carriers.writing()...)
}

// lingers reports whether the handlers of an HTTP/2 connection have returned,
// and an answer has not left.
func (c *conn) lingers() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.busy && c.streams.Load() == 0
}

func (c *conn) holdsUp() bool { return !c.out.writing.Load() || !roomToWrite(c.stream) }
func (c *conn) taken() int64  { return takenFrom(c.stream, &c.out) }

// cut resets the connection: the client has a part of an answer, and what waits
// in the kernel's buffers is freed at once.
func (c *conn) cut() {
	reset(c.stream)
	c.Close()
}

// writing returns those to whose clients something is being written.
func (cs *carriers) writing() (all []recipient) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	for c := range cs.open {
		if c.out.writing.Load() && !c.hijacked {
			all = append(all, c)
		}
	}
	return all
}

func (c *carrier) holdsUp() bool { return !roomToWrite(c.stream) }
func (c *carrier) taken() int64  { return takenFrom(c.stream, &c.out) }
func (c *carrier) cut() {
	reset(c.stream)
	c.Close()
}

// Write is the stream's, seen by the watch.
func (c *carrier) Write(p []byte) (int, error) { return c.out.write(p, c.stream) }

// lingeringCarrier carries an HTTP/2 connection whose handlers have returned,
// and an answer on it has not left.
type lingeringCarrier carrier

func (*lingeringCarrier) holdsUp() bool  { return true }
func (c *lingeringCarrier) taken() int64 { return (*carrier)(c).taken() }
func (c *lingeringCarrier) cut()         { (*carrier)(c).cut() }

// write writes to a socket.
func (o *outflow) write(p []byte, to stream) (int, error) {
	if _, ok := to.(*net.TCPConn); !ok || !kernelTells {
		return o.send(p, to.Write)
	}
	o.writing.Store(true)
	defer o.writing.Store(false)
	return to.Write(p)
}

func reset(s stream) {
	if tcp, ok := s.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // it may be closed already
	}
}

// answerHTTP2 is the answer on a stream of HTTP/2. The flow control holds it up
// where the connection does not see it.
type answerHTTP2 struct {
	http.ResponseWriter
	out outflow
	on  *atomic.Bool // whether something is being written to its connection; nil: not known

	mu   sync.Mutex
	over bool // the handler has returned
}

// Write writes in pieces whose progress is seen.
func (a *answerHTTP2) Write(p []byte) (int, error) { return a.out.send(p, a.ResponseWriter.Write) }

// WriteString is Write.
func (a *answerHTTP2) WriteString(s string) (int, error) { return a.Write([]byte(s)) }

// Flush is FlushError.
func (a *answerHTTP2) Flush() { a.FlushError() } //nolint:errcheck // there is nobody to tell

// FlushError waits for the flow control as well.
func (a *answerHTTP2) FlushError() error {
	a.out.writing.Store(true)
	defer a.out.writing.Store(false)
	return http.NewResponseController(a.ResponseWriter).Flush()
}

// Push is that of the answer (http.Pusher).
func (a *answerHTTP2) Push(target string, opts *http.PushOptions) error {
	if p, ok := a.ResponseWriter.(http.Pusher); ok {
		return p.Push(target, opts)
	}
	return http.ErrNotSupported
}

// Unwrap lets http.ResponseController reach the stream.
func (a *answerHTTP2) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// holdsUp reports whether the flow control is what it waits for. A connection
// that waits by itself is judged as such, for all its streams.
func (a *answerHTTP2) holdsUp() bool { return a.on == nil || !a.on.Load() }

func (a *answerHTTP2) taken() int64 { return a.out.written.Load() }

// cut resets the stream.
func (a *answerHTTP2) cut() { a.setDeadline(longAgo) }

func (a *answerHTTP2) setDeadline(t time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.over { // net/http's writer is gone then
		http.NewResponseController(a.ResponseWriter).SetWriteDeadline(t) //nolint:errcheck // then nothing can be done
	}
}

// end notes that the handler has returned. What is left in its buffer has the
// grace to leave.
func (a *answerHTTP2) end(grace time.Duration) {
	if grace >= 0 {
		a.setDeadline(time.Now().Add(grace))
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.over = true
}

// serveHTTP2 calls a handler for a stream of HTTP/2.
func (s *Server) serveHTTP2(next http.Handler, w http.ResponseWriter, r *http.Request) {
	grace := s.ResponseRate.or(defaultResponseRate).Grace
	if s.HTTP.WriteTimeout > 0 { // it ends every stream
		grace = -1
	}
	t := &s.traffic
	streams, writing := streamsOf(r)
	a := &answerHTTP2{ResponseWriter: w, on: writing}
	streams.Add(1)
	t.mu.Lock()
	t.answers[r] = a
	t.mu.Unlock()
	defer func() {
		a.end(grace)
		t.mu.Lock()
		delete(t.answers, r)
		t.mu.Unlock()
		streams.Add(-1)
	}()
	next.ServeHTTP(a, r)
}

// streamsOf returns, for the connection of a request over HTTP/2, the count of
// handlers at work, and whether something is being written to it.
func streamsOf(r *http.Request) (streams *atomic.Int32, writing *atomic.Bool) {
	if c, ok := r.Context().Value(connKey).(*conn); ok {
		return &c.streams, &c.out.writing
	}
	if c, ok := r.Context().Value(carrierKey).(*carrier); ok {
		return &c.streams, &c.out.writing
	}
	return new(atomic.Int32), nil
}

// SlowReaders is the number of answers so far that were cut because their clients
// took them too slowly: see [Server.ResponseRate].
func (s *Server) SlowReaders() int64 { return s.slowReaders.Load() }
