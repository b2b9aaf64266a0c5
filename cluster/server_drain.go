package cluster

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// lameDuck is the part of a drain in which idle connections are kept so that their next request can be answered, with
// Connection: close. A connection that a client is about to use must not be closed under it.
const lameDuck = time.Second

// lastCall is how long the last call lasts when nothing is in flight: for heads of requests that have begun to arrive, and
// clients that are told to go (HTTP/2). A tenth of DrainTimeout if that is less.
const lastCall = 500 * time.Millisecond

// callOff is how long before the limit the last call comes at the latest, and ends the contexts of requests that are at work:
// long enough to answer thousands that only wait. A fifth of DrainTimeout if that is less.
const callOff = time.Second

const drainLogInterval = time.Second

// mostNamed is how many requests a log line names.
const mostNamed = 10

// drain is the way out of a Server.
type drain struct {
	*Server
	ctx    context.Context // for the log
	limit  context.Context // the end of DrainTimeout, or hurry's
	ticker *time.Ticker
	logger *slog.Logger
}

// drain ends all connections, in the order that Serve describes. ended is closed when the accept loop is over.
func (s *Server) drain(ctx, hurry context.Context, listener net.Listener, ended <-chan struct{}) error {
	if e := s.entry(); e != nil {
		e.accepting.Store(false)
	}
	timeout := s.drainTimeout()
	begun := time.Now()
	limit, cancel := context.WithDeadline(hurry, begun.Add(timeout))
	defer cancel()
	d := &drain{s, ctx, limit, time.NewTicker(drainLogInterval), s.log()}
	defer d.ticker.Stop()
	call := min(lastCall, timeout/10)

	s.traffic.draining.Store(true)
	s.phase.Store(phaseClosing)
	listener.Close() // it may be closed already
	// What was accepted but not yet tracked is on its way to a goroutine of its own until the loop ends (golang/go#20239).
	d.await(begun.Add(timeout), func() bool { return isClosed(ended) })
	d.await(begun.Add(min(lameDuck, timeout/4)), s.traffic.empty) // nobody has to be kept when nobody is there
	late := begun.Add(timeout - min(callOff, timeout/5))
	d.await(late, s.traffic.quiet)

	s.makeLastCall()
	if !time.Now().Before(late) { // or a request that has just begun would be called off for no reason
		s.callOff(ErrLastCall)
	}
	d.await(time.Now().Add(call), s.traffic.withoutOurs)
	d.await(begun.Add(timeout), s.traffic.quiet)
	d.shutdown(limit, call)
	d.await(begun.Add(timeout), s.traffic.quiet) // a head that was complete at the last moment
	return d.end()
}

// await returns when done reports true, or at a moment, or at the limit. It looks whenever something has changed.
func (d *drain) await(until time.Time, done func() bool) {
	timer := time.NewTimer(time.Until(until))
	defer timer.Stop()
	for d.limit.Err() == nil && !done() {
		select {
		case <-d.traffic.changed:
		case <-d.ticker.C:
			n, some, _ := d.traffic.inFlight(mostNamed)
			d.logger.InfoContext(d.ctx, "draining", "in_flight", n, "waiting_for", some)
		case <-timer.C:
			return
		case <-d.limit.Done():
			return
		}
	}
}

// makeLastCall makes idle connections go. Those that become idle later see phaseLastCall, and kick themselves.
func (s *Server) makeLastCall() {
	s.phase.Store(phaseLastCall)
	for _, c := range s.traffic.ours() {
		c.kick()
	}
}

// shutdown ends the connections that are net/http's alone: idle ones over TLS, and HTTP/2, whose clients are told by a
// GOAWAY. It is the only thing here that polls, so the end of the last of them is waited for instead, and not for
// long: a handshake that ends after the GOAWAYs were sent would keep it for ever (golang/go#81153).
func (d *drain) shutdown(limit context.Context, bound time.Duration) {
	if limit.Err() != nil {
		return
	}
	ctx, cancel := context.WithTimeout(limit, bound)
	defer cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.HTTP.Shutdown(ctx) //nolint:errcheck // Close follows
		d.traffic.signal()
	}()
	d.await(time.Now().Add(bound), func() bool { return isClosed(done) || d.traffic.withoutForeign() })
}

// end closes whatever is still open.
func (d *drain) end() error {
	n, some, hijacked := d.traffic.inFlight(mostNamed)
	if n > 0 {
		d.logger.ErrorContext(d.ctx, "drain limit reached, cutting requests", "in_flight", n, "cut", some, "hijacked", hijacked)
	}
	d.HTTP.Close() // the listener's error, if any, is old
	for _, c := range d.traffic.ours() {
		c.Close()
	}
	if n > 0 {
		return ErrCut
	}
	d.logger.InfoContext(d.ctx, "drained")
	return nil
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
