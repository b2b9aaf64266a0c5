package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Time limits of connections. There is no WriteTimeout: it would cut long downloads that are doing well.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// lameDuck is the part of a drain in which idle connections are kept so that their next request can be answered, with
// Connection: close. A connection that a client is about to use must not be closed under it.
const lameDuck = time.Second

// drainLogInterval is how often a drain says what it waits for.
const drainLogInterval = time.Second

// ErrCut says that a drain reached its limit and cut requests short.
var ErrCut = errors.New("the drain limit was reached with requests in flight")

// Serve answers requests on a listener, which it closes, until ctx is cancelled, and then drains (W2, W3):
//
//  1. /readyz answers 503, and everything else goes on for ShutdownDelay, so that load balancers can look away;
//  2. nothing more is accepted; requests, also those that still arrive on connections that are open, are answered,
//     and each answer closes its connection;
//  3. idle connections are closed, and what is in flight is waited for, until DrainTimeout after step 2 began.
//
// It returns nil when every request was answered, and [ErrCut] when DrainTimeout or the end of hurry came first. The
// connections to PostgreSQL and Redis stay open until [App.Close].
func (a *App) Serve(ctx context.Context, listener net.Listener, hurry context.Context) error {
	server := &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,
		ErrorLog:          slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // clients' faults: bad TLS, resets
		BaseContext:       func(net.Listener) context.Context { return context.WithoutCancel(ctx) },
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	a.unready.Store(true)
	a.log.InfoContext(ctx, "stopping", "shutdown_delay", a.cfg.ShutdownDelay, "drain_timeout", a.cfg.DrainTimeout)
	pause(hurry, a.cfg.ShutdownDelay)

	a.closing.Store(true)
	limit, cancel := context.WithTimeout(hurry, a.cfg.DrainTimeout)
	defer cancel()
	if err := listener.Close(); err != nil {
		a.log.WarnContext(ctx, "close listener", "error", err)
	}
	if err := <-served; !errors.Is(err, net.ErrClosed) { // the accept loop ends by the closed listener
		a.log.WarnContext(ctx, "accept", "error", err)
	}
	pause(limit, min(lameDuck, a.cfg.DrainTimeout/4))
	return a.finish(limit, server)
}

// finish waits for what is in flight and says what it waits for.
func (a *App) finish(limit context.Context, server *http.Server) error {
	done := make(chan error, 1)
	go func() { done <- server.Shutdown(limit) }()
	ticker := time.NewTicker(drainLogInterval)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			n, some := a.requests.waitingFor()
			a.log.InfoContext(limit, "draining", "in_flight", n, "waiting_for", some)
		case err := <-done:
			if err == nil {
				a.log.InfoContext(limit, "drained")
				return nil
			}
			n, some := a.requests.waitingFor()
			a.log.ErrorContext(limit, "drain limit reached, cutting requests", "in_flight", n, "cut", some)
			server.Close()
			if n == 0 {
				return nil // only idle or half-open connections were left
			}
			return ErrCut
		}
	}
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
