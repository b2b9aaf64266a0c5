package app

import (
	"log/slog"
	"net/http"
	"time"
)

// Time limits of connections. There is no WriteTimeout: it would cut long
// downloads that are doing well. The Host ends answers that their clients do
// not take, and body.go bodies that do not arrive. readTimeout is for what has
// neither.
const (
	readHeaderTimeout = 5 * time.Second
	readTimeout       = 30 * time.Second
	idleTimeout       = 2 * time.Minute
	maxHeaderBytes    = 16 << 10
)

// HTTPServer returns the whole shop as a server that waits for its listener. Whoever serves it drains it too, and should
// close the App after that.
func (a *App) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           a.handler,
		ReadHeaderTimeout: readHeaderTimeout,
		ReadTimeout:       readTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeaderBytes,

		DisableGeneralOptionsHandler: true,                                                // "OPTIONS *" is answered like any other method that does not fit
		ErrorLog:                     slog.NewLogLogger(a.log.Handler(), slog.LevelDebug), // clients' faults: bad TLS, resets
	}
}

// Host is the server that an App runs in, as far as the App wants to know. Its methods are called from many goroutines.
type Host interface {
	Unready() bool  // was told to stop: load balancers should look away
	Draining() bool // answers should ask clients to close their connection
	// DrainBegan is closed when Draining begins to be true. nil: nobody tells.
	DrainBegan() <-chan struct{}
	// OnDrain has f called in a goroutine of its own when Draining begins to be
	// true, until stop is called.
	OnDrain(f func()) (stop func() bool)
	InFlight() int   // requests being worked on
	Requests() int64 // since the start
	Memory() int64   // resident, bytes
}

// nowhere is the Host of an App that was given none.
type nowhere struct{}

func (nowhere) Unready() bool               { return false }
func (nowhere) Draining() bool              { return false }
func (nowhere) DrainBegan() <-chan struct{} { return nil }
func (nowhere) OnDrain(func()) func() bool  { return func() bool { return true } }
func (nowhere) InFlight() int               { return 0 }
func (nowhere) Requests() int64             { return 0 }
func (nowhere) Memory() int64               { return 0 }
