package cluster

import (
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
)

// edge is the outermost handler: it counts every request, and tells clients of a draining worker to go. It wraps no
// ResponseWriter, so that Flusher, Hijacker and ReaderFrom stay what they are. A panic is left to net/http, which kills
// the request and nothing else (W8).
type edge struct {
	server *Server
	next   http.Handler
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	t := &e.server.traffic
	c := t.begin(r)
	defer t.end(c, r)
	switch e.server.phase.Load() {
	case phaseLastCall:
		refuse(w, r)
		return
	case phaseClosing:
		w.Header()["Connection"] = closeConnection
	}
	e.next.ServeHTTP(w, r)
}

var closeConnection = []string{"close"}

// refuse answers a request that came too late. A sibling, or the next worker, is already accepting.
func refuse(w http.ResponseWriter, r *http.Request) {
	id := r.Header.Get("X-Request-Id")
	if !wellFormedID(id) {
		id = ""
	}
	body, err := json.Marshal(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		Code      string `json:"code"`
		RequestID string `json:"request_id"`
	}{
		"/problems/draining", http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable,
		"This worker is shutting down and has not begun the request: send it again on a new connection.", "draining", id,
	})
	if err != nil {
		panic(err) // strings and a number can be encoded
	}
	h := w.Header()
	h["Connection"] = closeConnection
	h["Content-Type"] = []string{"application/problem+json"}
	h["Cache-Control"] = []string{"no-store"}
	h["Retry-After"] = []string{"1"}
	w.WriteHeader(http.StatusServiceUnavailable)
	w.Write(body) //nolint:errcheck // the client may be gone
}

// wellFormedID reports whether a client's name for its request can be repeated.
func wellFormedID(id string) bool {
	if len(id) > 128 {
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

// traffic is what a server has in hand: connections, and requests on them.
//
// A request on a connection of ours is noted in the conn, which costs no lock that others want; all others, which are
// those over TLS and HTTP/2, are in a map.
type traffic struct {
	total   atomic.Int64
	working atomic.Int64 // requests with a handler at work, and hijacked connections without
	// changed gets a token when, in a drain, there may be less to wait for.
	changed  chan struct{}
	draining atomic.Bool

	mu      sync.Mutex
	conns   map[*conn]struct{} // from accept to close, hijacked ones included
	foreign map[net.Conn]http.ConnState
	others  map[*http.Request]string // "GET /path"
}

func (t *traffic) init() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = make(chan struct{}, 1)
	t.conns = map[*conn]struct{}{}
	t.foreign = map[net.Conn]http.ConnState{}
	t.others = map[*http.Request]string{}
}

func (t *traffic) begin(r *http.Request) *conn {
	t.working.Add(1) // first: see traffic.finished
	t.total.Add(1)
	if c, ok := r.Context().Value(connKey).(*conn); ok {
		if c.begin(r) {
			return c
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.others[r] = r.Method + " " + r.URL.Path
	return nil
}

func (t *traffic) end(c *conn, r *http.Request) {
	if c == nil {
		t.mu.Lock()
		delete(t.others, r)
		t.mu.Unlock()
	} else if c.outlivesHandler() {
		return // in flight until it is closed
	}
	if t.working.Add(-1) == 0 {
		t.signal()
	}
}

// signal wakes a drain. It follows the change that it tells of: a drain sets draining first and looks afterwards.
func (t *traffic) signal() {
	if !t.draining.Load() {
		return
	}
	select {
	case t.changed <- struct{}{}:
	default:
	}
}

// add notes a connection between accept and net/http's own tracking.
func (t *traffic) add(c *conn) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.conns[c] = struct{}{}
	if e := c.server.entry(); e != nil {
		e.accepted.Add(1)
		e.live.Add(1)
	}
}

// remove forgets a connection, once. loose says that it was counted as in flight by itself.
func (t *traffic) remove(c *conn, loose bool) {
	t.mu.Lock()
	if _, ok := t.conns[c]; ok {
		delete(t.conns, c)
		if e := c.server.entry(); e != nil {
			e.live.Add(-1)
		}
	}
	t.mu.Unlock()
	if loose {
		t.working.Add(-1)
	}
	t.signal()
}

func (t *traffic) foreignChanged(nc net.Conn, state http.ConnState) {
	t.mu.Lock()
	if state == http.StateClosed || state == http.StateHijacked {
		delete(t.foreign, nc)
	} else {
		t.foreign[nc] = state
	}
	t.mu.Unlock()
	t.signal()
}

func (t *traffic) connections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns) + len(t.foreign)
}

func (t *traffic) empty() bool { return t.connections() == 0 }

// quiet reports that no request is in flight, not even one whose handler has returned while its answer is still on
// its way to a slow client.
func (t *traffic) quiet() bool {
	if t.working.Load() != 0 { // saves looking through the connections in most cases
		return false
	}
	n, _, _ := t.inFlight(0)
	return n == 0
}

// withoutOurs reports that all connections that can be kicked have gone, and all requests.
func (t *traffic) withoutOurs() bool {
	t.mu.Lock()
	n := len(t.conns)
	t.mu.Unlock()
	return n == 0 && t.quiet()
}

func (t *traffic) withoutForeign() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.foreign) == 0
}

// inFlight counts what is in flight, says what some of that is, and how many are hijacked connections.
func (t *traffic) inFlight(most int) (n int, some []string, hijacked int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	note := func(what string) {
		n++
		if len(some) < most {
			some = append(some, what)
		}
	}
	var answers []string // connections with a request that has no handler yet, or no more
	for c := range t.conns {
		what, phase, http2 := c.work()
		switch {
		case phase == connFresh:
		case http2:
			answers = append(answers, what)
		default:
			note(what)
		}
		if phase == connHijacked {
			hijacked++
		}
	}
	for nc, state := range t.foreign {
		if state == http.StateActive {
			answers = append(answers, "a request from "+nc.RemoteAddr().String())
		}
	}
	for _, what := range t.others {
		note(what)
	}
	if len(t.others) == 0 { // or these are the same requests
		for _, what := range answers {
			note(what)
		}
	}
	return n, some, hijacked
}

// ours returns the open connections that are not net/http's alone.
func (t *traffic) ours() []*conn {
	t.mu.Lock()
	defer t.mu.Unlock()
	conns := make([]*conn, 0, len(t.conns))
	for c := range t.conns {
		conns = append(conns, c)
	}
	return conns
}
