package cluster

import (
	"context"
	"sync"
)

// drainSignal tells of the beginning of a drain. Its zero value is ready to use.
type drainSignal struct {
	once  sync.Once
	ctx   context.Context
	begin context.CancelFunc
}

func (d *drainSignal) init() *drainSignal {
	d.once.Do(func() { d.ctx, d.begin = context.WithCancel(context.Background()) })
	return d
}

// OnDrain arranges for f to be called, in a goroutine of its own, when the
// drain begins, or at once if it has: after ShutdownDelay, when nothing more is
// accepted, and before anything is closed. It is the moment to say goodbye to
// connections that are hijacked or carry a stream: whoever comes back meets
// another worker. Serve does not wait for f, but for the connections and the
// requests that f ends.
//
// The function that OnDrain returns takes f back. It reports whether that was
// in time.
func (s *Server) OnDrain(f func()) (stop func() bool) {
	return context.AfterFunc(s.began.init().ctx, f)
}

// DrainBegan returns a channel that is closed when the drain begins: see
// [Server.OnDrain]. The end of [Worker.Stop] comes earlier, at the beginning of
// ShutdownDelay: a stream that ended then would come back to the same worker.
func (s *Server) DrainBegan() <-chan struct{} { return s.began.init().ctx.Done() }

// serverKey finds the Server of a request in its context.
var serverKey = &struct{ name string }{"server"}

// DrainBegan returns the channel of the [Server] that serves a request, given
// the request's context. For other contexts it is nil, which blocks for ever,
// so that handlers work the same in any server.
func DrainBegan(ctx context.Context) <-chan struct{} {
	if s, ok := ctx.Value(serverKey).(*Server); ok {
		return s.DrainBegan()
	}
	return nil
}

// tellOfDrain begins the calls of OnDrain and RegisterOnShutdown.
func (s *Server) tellOfDrain() {
	s.began.init().begin()
	s.HTTP.Shutdown(s.began.ctx) //nolint:errcheck // it has neither listeners nor connections
}
