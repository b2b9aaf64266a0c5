package cluster

import (
	"context"
	"log/slog"
	"net"
	"time"
)

// defaultLameDuck is Server.LameDuck if nobody says otherwise. Clients that
// pause for longer between two requests are few, and a worker that waits costs
// its memory. Half of DrainTimeout if that is less.
const defaultLameDuck = 5 * time.Second

// lastCall is how long the last call lasts: for heads of requests that have begun to arrive. A tenth of DrainTimeout if that
// is less.
const lastCall = 500 * time.Millisecond

// callOff is how long before the limit the last call comes at the latest, and ends the contexts of requests that are at work:
// long enough to answer thousands that only wait. A fifth of DrainTimeout if that is less.
const callOff = time.Second

const drainLogInterval = time.Second

// mostNamed is how many requests a log line names.
const mostNamed = 10

// goodbye is how long HTTP/2 clients have to go after the GOAWAY: net/http
// closes their connections itself a second after it. A fifth of DrainTimeout if
// that is less.
const goodbye = 1500 * time.Millisecond

// drain is the way out of a Server.
type drain struct {
	*Server
	ctx    context.Context // for the log
	limit  context.Context // the end of DrainTimeout, or hurry's
	ticker *time.Ticker
	logger *slog.Logger

	end  time.Time // of DrainTimeout
	late time.Time // the last call at the latest
	duck time.Duration
}

// drain ends all connections, in the order that Serve describes. ended is closed when the accept loop is over.
func (s *Server) drain(ctx, hurry context.Context, listener net.Listener, ended <-chan struct{}) error {
	if e := s.entry(); e != nil {
		e.accepting.Store(false)
	}
	timeout := s.drainTimeout()
	begun := time.Now()
	end := begun.Add(timeout)
	limit, cancel := context.WithDeadline(hurry, end)
	defer cancel()
	d := &drain{
		Server: s, ctx: ctx, limit: limit, ticker: time.NewTicker(drainLogInterval), logger: s.log(),
		end: end, late: end.Add(-min(callOff, timeout/5)), duck: s.lameDuck(),
	}
	defer d.ticker.Stop()

	s.traffic.beginLameDuck(lameDuck{begun, d.duck})
	s.traffic.draining.Store(true)
	s.phase.Store(phaseClosing)
	listener.Close() // it may be closed already
	s.tellOfDrain()
	// What was accepted but not yet tracked is on its way to a goroutine of its own until the loop ends (golang/go#20239).
	d.await(end, func() bool { return isClosed(ended) })
	d.keep()

	// Only the limit turns anybody away. A worker that had no processor for the length of the lame duck wakes up to a last
	// call, with requests in its sockets that came in good time.
	if !time.Now().Before(d.late) {
		s.callOff(ErrLastCall)
	}
	defer time.AfterFunc(time.Until(d.late), func() { s.callOff(ErrLastCall) }).Stop()
	s.makeLastCall()
	d.await(time.Now().Add(min(lastCall, timeout/10)), s.traffic.kicked)
	d.shutdown(min(goodbye, timeout/5))
	return d.finish()
}

// keep serves on until nothing is in flight and every lame duck is over, or the limit is near. Who becomes idle meanwhile
// without having been told to go is kept for as long as all others.
func (d *drain) keep() {
	for {
		d.await(d.late, d.traffic.quiet)
		var over time.Time // if nobody is there, nobody has to be kept
		for _, end := range d.traffic.waiting() {
			over = later(over, end)
		}
		over = earlier(over, d.late)
		if !time.Now().Before(over) || d.limit.Err() != nil {
			return
		}
		d.await(over, d.traffic.empty)
	}
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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
			d.logger.InfoContext(d.ctx, "draining", "in_flight", n, "waiting_for", some, "idle", len(d.traffic.waiting()))
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

// shutdown ends the connections that can't be kicked: idle ones over TLS, and HTTP/2, whose clients are told by a GOAWAY.
// Everything that is still in flight is finished. Then they have a while to go, so that Close does not overtake the GOAWAY;
// not for long, since a handshake that ends after the GOAWAYs were sent would keep its connection for ever
// (golang/go#81153).
func (d *drain) shutdown(patience time.Duration) {
	if d.limit.Err() != nil {
		d.traffic.giveUp(false)
		return
	}
	d.traffic.giveUp(true)
	ctx, cancel := context.WithCancel(d.limit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		d.serving.Shutdown(ctx) //nolint:errcheck // Close follows
	}()
	d.await(d.end, d.traffic.quiet)
	d.await(time.Now().Add(patience), d.traffic.left)
	cancel()
	<-done
}

// finish closes whatever is still open.
func (d *drain) finish() error {
	n, some, hijacked := d.traffic.inFlight(mostNamed)
	if n > 0 {
		d.logger.ErrorContext(d.ctx, "drain limit reached, cutting requests", "in_flight", n, "cut", some, "hijacked", hijacked)
	}
	d.callOff(ErrCut)
	d.serving.Close() // the listener's error, if any, is old
	for _, c := range d.traffic.ours() {
		c.Close()
	}
	untold := d.traffic.allUntold()
	if untold.early > 0 {
		d.logger.WarnContext(d.ctx, "lame duck cut short: idle connections were closed without notice",
			"connections", untold.early, "lame_duck", d.duck.String())
	}
	if n > 0 {
		return ErrCut
	}
	d.logger.InfoContext(d.ctx, "drained", "closed_without_notice", untold.inTime+untold.early)
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
