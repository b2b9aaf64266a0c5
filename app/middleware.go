package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

const (
	headerRequestID = "X-Request-Id"
	headerWorker    = "X-Worker"
)

// response notes what an answer has come to. One lives for one request; they are pooled.
type response struct {
	http.ResponseWriter
	status int // 0: nothing was sent yet
	host   Host
}

func (w *response) WriteHeader(status int) {
	if w.status < http.StatusOK { // 1xx may be followed by another
		w.begin(status)
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *response) Write(b []byte) (int, error) {
	if w.status < http.StatusOK {
		w.begin(http.StatusOK)
	}
	return w.ResponseWriter.Write(b)
}

// begin is the last moment for headers: a drain may have begun since the request did (W2).
func (w *response) begin(status int) {
	w.status = status
	if w.host.Draining() {
		w.Header()["Connection"] = closeConnection
	}
}

// Unwrap lets http.ResponseController reach the connection.
func (w *response) Unwrap() http.ResponseWriter { return w.ResponseWriter }

var closeConnection = []string{"close"}

var responses = sync.Pool{New: func() any { return new(response) }}

// edge is the outermost handler: it names every request, and answers for what panics in it (W8). It is
// one function and not a stack of middleware because it runs for the reads that are served from memory, where each
// layer would cost a measurable part of the whole.
func (a *App) edge(next http.Handler) http.Handler {
	ids := newRequestIDs()
	worker := []string{strconv.Itoa(pid())}
	nosniff := []string{"nosniff"}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		id := r.Header.Get(headerRequestID)
		if !validRequestID(id) {
			id = ids.next()
		}
		h[headerRequestID] = []string{id}
		if a.cfg.RevealWorkers {
			h[headerWorker] = worker
		}
		h["X-Content-Type-Options"] = nosniff
		rw := responses.Get().(*response) //nolint:forcetypeassert // the pool holds nothing else
		rw.ResponseWriter, rw.status, rw.host = w, 0, a.cfg.Host
		defer func() {
			if cause := recover(); cause != nil {
				a.recovered(rw, r, cause)
			}
			rw.ResponseWriter = nil
			responses.Put(rw)
		}()
		if !a.log.Enabled(r.Context(), slog.LevelDebug) {
			next.ServeHTTP(rw, r)
			return
		}
		start := time.Now()
		next.ServeHTTP(rw, r)
		a.log.DebugContext(r.Context(), "request", "method", r.Method, "path", r.URL.Path, "status", rw.status,
			"duration", time.Since(start), "request_id", id)
	})
}

// recovered answers a request whose handler panicked. When the answer has begun only the connection can be cut, so that
// the client does not take a part for the whole.
func (a *App) recovered(w *response, r *http.Request, cause any) {
	if cause == http.ErrAbortHandler { //nolint:errorlint // net/http compares it so
		panic(cause)
	}
	a.log.ErrorContext(r.Context(), "handler panicked", "panic", cause, "method", r.Method, "path", r.URL.Path,
		"request_id", w.Header().Get(headerRequestID), "stack", string(debug.Stack()))
	if w.status != 0 {
		panic(http.ErrAbortHandler)
	}
	a.writeProblem(w, r, errPanicked)
}

// errPanicked is an error that nobody expected, like any other: 500.
var errPanicked = errors.New("the handler panicked")

// withRequestID lets code below handlers name the request. The catalogue's reads do without: it copies the request.
func withRequestID(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx := context.WithValue(r.Context(), requestIDContextKey{}, w.Header().Get(headerRequestID))
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

type requestIDContextKey struct{}

func requestIDFrom(ctx context.Context) string {
	id, _ := ctx.Value(requestIDContextKey{}).(string)
	return id
}

// requestIDs makes names that are unique to the request: a random part for the process and a number.
type requestIDs struct {
	prefix string
	last   atomic.Uint64
}

func newRequestIDs() *requestIDs {
	var random [8]byte
	rand.Read(random[:]) // never fails
	return &requestIDs{prefix: hex.EncodeToString(random[:]) + "-"}
}

func (g *requestIDs) next() string {
	buf := make([]byte, 0, 40)
	buf = append(buf, g.prefix...)
	return string(strconv.AppendUint(buf, g.last.Add(1), 10))
}

// maxRequestID is the longest name in bytes that a client can give to its request.
const maxRequestID = 128

// validRequestID reports whether a client's name for its request can be taken over: it ends up in logs.
func validRequestID(id string) bool {
	if len(id) == 0 || len(id) > maxRequestID {
		return false
	}
	for i := range len(id) {
		c := id[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && c != '-' && c != '_' && c != '.' {
			return false
		}
	}
	return true
}
