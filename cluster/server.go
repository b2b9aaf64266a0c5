package cluster

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"reflect"
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
	// HTTP has the handler and the time limits; required. Serve serves with a copy of its exported fields, around whose
	// Handler, ConnState, ConnContext and BaseContext it puts its own; RegisterOnShutdown works as [Server.OnDrain] does.
	// Other methods of HTTP have no effect, and must not be called: instead of SetKeepAlivesEnabled(false) handlers set
	// Connection: close. The connections that the hooks get are not *net.TCPConn, but have all of its methods. Over TLS
	// they are *tls.Conn. With TLSConfig set it serves TLS.
	HTTP *http.Server
	// ShutdownDelay is how long it serves on, unready, after it was told to stop. Default 0.
	ShutdownDelay time.Duration
	// DrainTimeout is the hard limit of what comes after that. Default 10 s.
	DrainTimeout time.Duration
	// LameDuck is how long a drain keeps each connection that is idle, so that its next request can be answered, with
	// Connection: close. The time counts from the beginning of the drain, or from the moment at which the connection became
	// idle in it. It should be longer than the pauses that clients make between two requests. Default 5 s, or half of
	// DrainTimeout if that is less. Beyond DrainTimeout it is cut short.
	LameDuck time.Duration
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
	// ResponseRate is how fast a client has to take an answer that waits for it.
	// An answer that goes out too slowly is cut, and its connection reset, over
	// HTTP/2 its stream. So a client that does not read holds nothing for longer,
	// and a long download that does well goes on. Default 8 KiB/s, and a Grace of
	// 10 s. Hijacked connections are their owner's, and connections of other
	// listeners than Serve knows are not seen. Away from Linux, and over HTTP/2, a
	// client shows that it takes something only by room for more, which may come
	// in large pieces.
	ResponseRate DataRate
	// DrainResponseRate is the same once the drain has begun. Time that was
	// wasted before counts as well. Default 32 KiB/s, and a Grace of 2 s.
	DrainResponseRate DataRate
	// Log takes what a drain has to say. Default slog.Default().
	Log *slog.Logger

	board  *board          // shared with the siblings on the listening socket; nil: this worker is alone
	place  int             // its own entry there
	orphan <-chan struct{} // ends ShutdownDelay: the next master waits for the address

	requests context.Context // what every request's context ends with
	callOff  context.CancelCauseFunc
	began    drainSignal

	serving *http.Server // the copy of HTTP
	h2c     bool         // it speaks HTTP/2 without TLS

	accepts atomic.Pointer[listener] // nil: another kind of listener

	tls bool // HTTP.TLSConfig is set

	served       atomic.Bool
	phase        atomic.Int32 // of serverPhase
	reliever     reliever
	traffic      traffic
	stall        stallWatch
	acceptErrors atomic.Int64
	slowReaders  atomic.Int64
}

// serverPhase only ever grows.
type serverPhase = int32

const (
	phaseServing  serverPhase = iota
	phaseUnready              // told to stop, and serving on until load balancers have noticed
	phaseClosing              // nothing more is accepted; every answer closes its connection
	phaseLastCall             // idle connections are closed
)

// drainOrder is the cause of a stop that comes from the master. Its delay replaces ShutdownDelay: a rolling restart has
// none, because the siblings go on accepting from the same socket, and a shutdown has the master's.
type drainOrder struct {
	delay  time.Duration
	reason string // who wants that; empty: the master does not tell
}

func (o drainOrder) Error() string {
	if o.reason == "" {
		return "told to drain"
	}
	return "told to drain by the master: " + o.reason
}

// Serve answers requests on a listener, which it closes, until stop ends, and then drains (W2, W3):
//
//  1. It is unready, and everything else goes on for ShutdownDelay.
//  2. DrainTimeout begins. The listener is closed, and what it had accepted is served. [Server.OnDrain] and
//     [Server.DrainBegan] tell of it, so that streams and hijacked connections can say goodbye.
//  3. Every answer whose head is sent from now on carries Connection: close, over HTTP/2 a GOAWAY. A connection that waits
//     for a request is kept for LameDuck: from the beginning of the drain, or from when it became idle since, after an
//     answer whose head had left before. A head that is arriving has as long to do so. As long as something is in flight,
//     or a lame duck is not over, all that arrives is served like that.
//  4. After that, or a second before the limit (a fifth of DrainTimeout if that is less), the last call: idle connections
//     are closed. What has arrived on them by then is served, and heads that are still arriving have half a second. A second
//     before the limit (as above) the contexts of requests end with [ErrLastCall], so that a handler that only waits for its
//     turn can still say so, and what arrives from then on is answered 503. The log says how many idle connections were
//     closed without a notice, and how many of them before their lame duck was over.
//  5. Connections that speak HTTP/2 are not closed by the last call: they get a GOAWAY after it, finish what
//     they have begun before, and have 1.5 s to go (a fifth of DrainTimeout if that is less).
//
// A client that takes its answer too slowly is cut: see ResponseRate and
// DrainResponseRate. One that sends its body slowly is in flight until
// ReadTimeout, or until a deadline that its handler sets, and until the limit
// at the latest. [Server.OnDrain] is where a handler can set an earlier one.
//
// It returns nil when every request was answered, and [ErrCut] when DrainTimeout or the end of hurry came first: then the
// log says what was cut, and handlers may still be running, with their contexts cancelled: the cause is [ErrCut], or
// [ErrLastCall]. An error of the listener also begins a drain, without delay, and is returned after it.
//
// With HTTP.TLSConfig set it serves TLS on the listener, which is a plain one, and never HTTP in plain text. HTTP/2 is
// offered as HTTP.Protocols says. A certificate can be replaced at any time by what TLSConfig.GetCertificate or
// GetConfigForClient returns; a TLSConfig with neither of them nor Certificates is an error.
//
// The exact order, and the pacing of accepts beside siblings, take a *[net.TCPListener] or *[net.UnixListener] and a Unix
// system. Over TLS and on other listeners there are two differences for HTTP/1.1: answers of requests that were at work when
// the drain began have no notice unless their handlers give one, though a lame duck; and idle connections are closed by
// [http.Server.Shutdown], which closes a connection also when a request has just begun to arrive on it. Connections of
// other listeners are also lost sight of once they are hijacked.
//
// Accepts that fail are tried again, whatever the error, unless the listener can't accept any more: see [Server.AcceptErrors].
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
	if s.HTTP == nil {
		return nil, errors.Join(errors.New("serve: Server.HTTP is not set"), listener.Close())
	}
	if s.HTTP.TLSConfig != nil {
		s.tls = true
		if err := checkTLS(s.HTTP.TLSConfig); err != nil {
			return nil, errors.Join(err, listener.Close())
		}
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
	over := make(chan struct{})
	defer close(over)
	go s.watchReaders(over)
	go func() {
		failed <- s.serveHTTP(wrapped)
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
	s.traffic.carriers.cut()
	return errors.Join(failure, err)
}

// serveHTTP serves TLS on the connections of a listener, if that is set, and so
// never plain text.
func (s *Server) serveHTTP(l net.Listener) error {
	if s.tls {
		return s.serving.ServeTLS(l, "", "")
	}
	return s.serving.Serve(l)
}

// checkTLS refuses settings by which every handshake would fail.
func checkTLS(c *tls.Config) error {
	if len(c.Certificates) == 0 && c.GetCertificate == nil && c.GetConfigForClient == nil {
		return errors.New("serve TLS: HTTP.TLSConfig has no certificate: set Certificates, GetCertificate or GetConfigForClient, or no TLSConfig for plain HTTP")
	}
	return nil
}

// delay is the time between being unready and the drain. It ends early when the listener fails.
func (s *Server) delay(stop, hurry context.Context, failed <-chan error) error {
	wait := s.ShutdownDelay
	if order := (drainOrder{}); errors.As(context.Cause(stop), &order) {
		wait = order.delay
	}
	s.phase.Store(phaseUnready)
	s.log().InfoContext(stop, "stopping", "because", fmt.Sprint(context.Cause(stop)), "shutdown_delay", wait.String(), "drain_timeout", s.drainTimeout().String())
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

// takeOver puts the hooks into the http.Server that serves, and the wrapper around the listener.
func (s *Server) takeOver(inner net.Listener) (net.Listener, error) {
	s.serving = copyOf(s.HTTP)
	s.serving.TLSConfig = s.HTTP.TLSConfig.Clone() // net/http adds its protocols: servers may share one
	next := s.HTTP.Handler
	if next == nil {
		next = http.DefaultServeMux
	}
	s.serving.Handler = &edge{s, next}
	s.serving.ConnState = s.connState
	s.requests, s.callOff = context.WithCancelCause(context.WithValue(context.Background(), serverKey, s))
	s.serving.BaseContext = s.baseContext(s.HTTP.BaseContext)
	s.serving.ConnContext = s.connContext
	s.h2c = s.HTTP.Protocols != nil && s.HTTP.Protocols.UnencryptedHTTP2()
	s.traffic.init()
	switch inner := inner.(type) {
	case *net.TCPListener, *net.UnixListener: // and nothing that only has their methods
		l, err := newListener(s, inner.(socketListener)) //nolint:forcetypeassert // both are
		if err != nil {
			return nil, err
		}
		s.accepts.Store(l)
		return l, nil
	}
	return inner, nil
}

// copyOf returns a server with the same exported fields. Serve needs a second one because net/http runs the functions of
// RegisterOnShutdown in Shutdown, which drops the requests that arrive from then on: the original's can be called when
// the drain begins, since it serves nobody.
func copyOf(original *http.Server) *http.Server {
	server := new(http.Server)
	from, to := reflect.ValueOf(original).Elem(), reflect.ValueOf(server).Elem()
	for i := range from.NumField() {
		if from.Type().Field(i).IsExported() {
			to.Field(i).Set(from.Field(i))
		}
	}
	return server
}

// connContext notes whose connection it is. The server that handlers find is the one that they may register with.
func (s *Server) connContext(ctx context.Context, nc net.Conn) context.Context {
	ctx = context.WithValue(ctx, http.ServerContextKey, s.HTTP)
	if s.HTTP.ConnContext != nil {
		ctx = s.HTTP.ConnContext(ctx, nc)
	}
	if c, ok := nc.(*conn); ok { // last, and so the first to be found
		ctx = context.WithValue(ctx, connKey, c)
	}
	if c := carrierOf(nc); c != nil {
		ctx = context.WithValue(ctx, carrierKey, c)
	}
	return ctx
}

// baseContext makes the contexts of all requests end with s.requests. inner is the caller's hook, or nil.
func (s *Server) baseContext(inner func(net.Listener) context.Context) func(net.Listener) context.Context {
	if inner == nil {
		return func(net.Listener) context.Context { return s.requests }
	}
	return func(l net.Listener) context.Context {
		ctx, cancel := context.WithCancelCause(context.WithValue(inner(l), serverKey, s))
		context.AfterFunc(s.requests, func() { cancel(context.Cause(s.requests)) })
		return ctx
	}
}

// Unready reports whether the server was told to stop, so that load balancers should look away.
func (s *Server) Unready() bool { return s.phase.Load() >= phaseUnready }

// Draining reports whether the drain has begun. Answers carry Connection: close then, and Serve sees to it; for a request
// over TLS that began before, only its handler can.
func (s *Server) Draining() bool { return s.phase.Load() >= phaseClosing }

// InFlight is the number of requests whose handlers are at work, streaming ones included, and of hijacked connections
// that are open after their handlers have returned.
func (s *Server) InFlight() int { return int(s.traffic.working.Load()) }

// Requests is the number of requests so far, those in flight included.
func (s *Server) Requests() int64 { return s.traffic.total.Load() }

// Connections is the number of open connections, hijacked ones included.
func (s *Server) Connections() int { return s.traffic.connections() }

// AcceptErrors is the number of accepts that have failed so far, such as for want
// of a file descriptor. They are tried again, while the connections wait in the
// kernel's queue, where siblings find them.
func (s *Server) AcceptErrors() int64 { return s.acceptErrors.Load() }

func (s *Server) log() *slog.Logger {
	if s.Log == nil {
		return slog.Default()
	}
	return s.Log
}

func (s *Server) drainTimeout() time.Duration { return cmp.Or(s.DrainTimeout, 10*time.Second) }

func (s *Server) lameDuck() time.Duration {
	return cmp.Or(s.LameDuck, min(defaultLameDuck, s.drainTimeout()/2))
}

// connState is the hook that net/http calls when a connection changes its state.
func (s *Server) connState(nc net.Conn, state http.ConnState) {
	if c, ok := nc.(*conn); ok {
		c.changed(state)
	} else {
		if c := carrierOf(nc); c != nil && state == http.StateHijacked {
			c.hijack()
		}
		s.traffic.foreignChanged(nc, state)
	}
	if s.HTTP.ConnState != nil {
		s.HTTP.ConnState(nc, state)
	}
}
