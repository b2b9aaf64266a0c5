package cluster

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// ErrLastCall is the cause with which the contexts of requests end that are at work shortly before the limit of a drain.
var ErrLastCall = errors.New("the worker leaves in a moment")

// ErrCut says that a drain reached its limit and cut requests short.
var ErrCut = errors.New("the drain limit was reached with requests in flight")

// Server serves HTTP the way a worker has to: it counts requests exactly and leaves in order (W1-W3).
//
// It serves once. Its methods are safe for concurrent use, also before Serve and after it.
type Server struct {
	// HTTP has the handler and the time limits; required. Serve takes it over: it puts its own hooks around Handler,
	// ConnState, ConnContext and BaseContext, which go on to work, and nobody else may call Serve, Shutdown or Close on it.
	// The connections that the hooks get are not *net.TCPConn, but have all of its methods.
	HTTP *http.Server
	// ShutdownDelay is how long it serves on, unready, after it was told to stop. Default 0.
	ShutdownDelay time.Duration
	// DrainTimeout is the hard limit of what comes after that. Default 10 s.
	DrainTimeout time.Duration
	// StallTimeout is after how long a worker counts as unhealthy whose handlers are
	// at a standstill: requests are at work all the while, they have written nothing,
	// and no request was finished. Default: the master's heartbeat timeout, and 30 s
	// where it does not tell. Negative: never. A handler that waits on purpose, such
	// as a long poll, is only told from one that hangs by other requests that are
	// finished meanwhile: set more than the longest wait. Not counted are answers that
	// have begun, handlers that wait for their request's body, hijacked connections,
	// and all requests over HTTP/2 and TLS, where nothing tells a stream from a hang
	// ([Worker.Healthy] can). Only a [Worker] asks.
	StallTimeout time.Duration
	// Log takes what a drain has to say. Default slog.Default().
	Log *slog.Logger

	board  *board          // shared with the siblings on the listening socket; nil: this worker is alone
	place  int             // its own entry there
	orphan <-chan struct{} // ends ShutdownDelay: the next master waits for the address

	requests context.Context // what every request's context ends with
	callOff  context.CancelCauseFunc

	served  atomic.Bool
	phase   atomic.Int32 // of serverPhase
	traffic traffic
	stall   stallWatch
	hook    func(net.Conn, http.ConnState) // the caller's ConnState, or nil
}

// serverPhase only ever grows.
type serverPhase = int32

const (
	phaseServing  serverPhase = iota
	phaseUnready              // told to stop, and serving on until load balancers have noticed
	phaseClosing              // nothing more is accepted; every answer closes its connection
	phaseLastCall             // what still arrives is answered 503
)

// drainOrder is the cause of a stop that comes from the master. Its delay replaces ShutdownDelay: a rolling restart has
// none, because the siblings go on accepting from the same socket, and a shutdown has the master's.
type drainOrder struct{ delay time.Duration }

func (o drainOrder) Error() string { return "told to drain" }

// Serve answers requests on a listener, which it closes, until stop ends, and then drains (W2, W3):
//
//  1. It is unready, and everything else goes on for ShutdownDelay.
//  2. DrainTimeout begins. The listener is closed, and what it had accepted is served.
//  3. Idle connections are kept for a second, or a quarter of DrainTimeout if that is less, and every answer to a request
//     that begins now carries Connection: close. A client that keeps connections busy moves on without losing any.
//  4. As long as something is in flight, whatever still arrives is served like that.
//  5. When nothing is, or a second before the limit (a fifth of DrainTimeout if that is less), the last call: what arrives
//     is answered 503, and idle connections are closed. At the limit's approach the contexts of requests that are at work
//     end with [ErrLastCall]: a handler that only waits for its turn can still say so.
//
// It returns nil when every request was answered, and [ErrCut] when DrainTimeout or the end of hurry came first: then the
// log says what was cut, and handlers may still be running, with their contexts cancelled. An error of the listener also
// begins a drain, without delay, and is returned after it.
//
// The exact order, and the pacing of accepts beside siblings, take a *[net.TCPListener] and a Unix system. Over TLS and on
// other listeners steps 1 to 4 are the same, and step 5 is [http.Server.Shutdown], which closes a connection also when
// a request has just begun to arrive on it. Those connections are also lost sight of once they are hijacked.
func (s *Server) Serve(stop, hurry context.Context, listener net.Listener) error {
	wrapped, err := s.prepare(listener)
	if err != nil {
		return err
	}
	return s.serve(stop, hurry, wrapped)
}

// prepare does all of Serve that can fail before the first request.
func (s *Server) prepare(listener net.Listener) (net.Listener, error) {
	if s.served.Swap(true) {
		return nil, errors.New("serve: a Server serves once")
	}
	wrapped, err := s.takeOver(listener)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	return wrapped, nil
}

func (s *Server) serve(stop, hurry context.Context, wrapped net.Listener) error {
	failed := make(chan error, 1)
	ended := make(chan struct{})
	go func() {
		failed <- s.HTTP.Serve(wrapped)
		close(ended)
		s.traffic.signal()
	}()
	var failure error
	select {
	case err := <-failed:
		failure = fmt.Errorf("serve: %w", err)
	case <-stop.Done():
		failure = s.delay(stop, hurry, failed)
	}
	err := s.drain(context.WithoutCancel(stop), hurry, wrapped, ended)
	return errors.Join(failure, err)
}

// delay is the time between being unready and the drain. It ends early when the listener fails.
func (s *Server) delay(stop, hurry context.Context, failed <-chan error) error {
	wait := s.ShutdownDelay
	if order := (drainOrder{}); errors.As(context.Cause(stop), &order) {
		wait = order.delay
	}
	s.phase.Store(phaseUnready)
	s.log().InfoContext(stop, "stopping", "shutdown_delay", wait.String(), "drain_timeout", s.drainTimeout().String())
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-hurry.Done():
	case <-s.orphan:
	case err := <-failed:
		return fmt.Errorf("serve: %w", err)
	}
	return nil
}

// takeOver puts the hooks into the http.Server and the wrapper around the listener.
func (s *Server) takeOver(inner net.Listener) (net.Listener, error) {
	next := s.HTTP.Handler
	if next == nil {
		next = http.DefaultServeMux
	}
	s.HTTP.Handler = &edge{s, next}
	s.hook, s.HTTP.ConnState = s.HTTP.ConnState, s.connState
	s.requests, s.callOff = context.WithCancelCause(context.Background())
	s.HTTP.BaseContext = s.baseContext(s.HTTP.BaseContext)
	connContext := s.HTTP.ConnContext
	s.HTTP.ConnContext = func(ctx context.Context, nc net.Conn) context.Context {
		if connContext != nil {
			ctx = connContext(ctx, nc)
		}
		if c, ok := nc.(*conn); ok { // last, and so the first to be found
			ctx = context.WithValue(ctx, connKey, c)
		}
		return ctx
	}
	s.traffic.init()
	if tcp, ok := inner.(*net.TCPListener); ok {
		return newListener(s, tcp)
	}
	return inner, nil
}

// baseContext makes the contexts of all requests end with s.requests. inner is the caller's hook, or nil.
func (s *Server) baseContext(inner func(net.Listener) context.Context) func(net.Listener) context.Context {
	if inner == nil {
		return func(net.Listener) context.Context { return s.requests }
	}
	return func(l net.Listener) context.Context {
		ctx, cancel := context.WithCancelCause(inner(l))
		context.AfterFunc(s.requests, func() { cancel(context.Cause(s.requests)) })
		return ctx
	}
}

// Unready reports whether the server was told to stop, so that load balancers should look away.
func (s *Server) Unready() bool { return s.phase.Load() >= phaseUnready }

// Draining reports whether answers should carry Connection: close. Serve sees to it for requests that begin while this is
// so; a handler that began before may want to do it itself.
func (s *Server) Draining() bool { return s.phase.Load() >= phaseClosing }

// InFlight is the number of requests whose handlers are at work, streaming ones included, and of hijacked connections
// that are open after their handlers have returned.
func (s *Server) InFlight() int { return int(s.traffic.working.Load()) }

// Requests is the number of requests so far, those in flight included.
func (s *Server) Requests() int64 { return s.traffic.total.Load() }

// Connections is the number of open connections, hijacked ones included.
func (s *Server) Connections() int { return s.traffic.connections() }

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

func (s *Server) drainTimeout() time.Duration { return cmp.Or(s.DrainTimeout, 10*time.Second) }

// connState is the hook that net/http calls when a connection changes its state.
func (s *Server) connState(nc net.Conn, state http.ConnState) {
	if c, ok := nc.(*conn); ok {
		c.changed(state)
	} else {
		s.traffic.foreignChanged(nc, state)
	}
	if s.hook != nil {
		s.hook(nc, state)
	}
}
