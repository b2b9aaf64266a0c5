package cluster

import (
	"crypto/tls"
	"encoding/json"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// edge is the outermost handler: it counts every request, and tells clients of
// a draining worker to go. It wraps no ResponseWriter of HTTP/1.1, so that
// Flusher, Hijacker and ReaderFrom stay what they are. A panic is left to
// net/http, which kills the request and nothing else (W8).
type edge struct {
	server *Server
	next   http.Handler
}

func (e *edge) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	phase := e.server.phase.Load()
	if phase >= phaseClosing && tooLate(r) {
		panic(http.ErrAbortHandler) // closes the connection
	}
	t := &e.server.traffic
	c := t.begin(r)
	defer t.end(c, r)
	switch {
	case phase < phaseClosing:
		if e.server.reliever.allowance.Load() > 0 {
			e.server.relieve(w, r)
		}
	case e.server.requests.Err() != nil: // called off: the limit is near
		refuse(w, r)
		return
	default:
		w.Header()["Connection"] = closeConnection // over HTTP/2 a GOAWAY
	}
	if r.ProtoMajor > 1 {
		e.server.serveHTTP2(e.next, w, r)
		return
	}
	e.next.ServeHTTP(w, r)
}

var closeConnection = []string{"close"}

// tooLate reports whether a request came behind an answer that was the last of
// its connection, as its head said: by pipelining.
func tooLate(r *http.Request) bool {
	c, ok := r.Context().Value(connKey).(*conn)
	return ok && c.told.Load()
}

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
	http2   int                // of conns
	foreign map[net.Conn]foreign
	others  map[*http.Request]string // "GET /path"
	answers map[*http.Request]*answerHTTP2
	lame    lameDuck
	untold  untold

	carriers carriers
}

// foreign is what is known of a connection that is net/http's alone.
type foreign struct {
	state http.ConnState
	since time.Time // when it became new or idle; zero: before the drain
}

// waits reports whether no request is at work on the connection.
func (f foreign) waits() bool { return f.state == http.StateNew || f.state == http.StateIdle }

// lameDuck is how long connections are kept that have nothing to do. It is set
// when the drain begins.
type lameDuck struct {
	begun time.Time
	time.Duration
}

// end returns when the lame duck of a connection is over that waits since a
// moment; zero: since before the drain.
func (l lameDuck) end(since time.Time) time.Time {
	if since.Before(l.begun) {
		since = l.begun
	}
	return since.Add(l.Duration)
}

// untold counts the connections that a drain has closed though no answer on
// them said that they have to go.
type untold struct {
	inTime int // after their lame duck
	early  int // before its end
}

func (u *untold) add(early bool) {
	if early {
		u.early++
	} else {
		u.inTime++
	}
}

func (t *traffic) init() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.changed = make(chan struct{}, 1)
	t.conns = map[*conn]struct{}{}
	t.foreign = map[net.Conn]foreign{}
	t.others = map[*http.Request]string{}
	t.answers = map[*http.Request]*answerHTTP2{}
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
		what := t.others[r]
		delete(t.others, r)
		t.mu.Unlock()
		if c, ok := r.Context().Value(carrierKey).(*carrier); ok && c.outlivesHandler(what) {
			return
		}
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
	c.server.entry().opened()
}

// remove forgets a connection, once. loose says that it was counted as in flight by itself.
func (t *traffic) remove(c *conn, http2, loose bool) {
	t.mu.Lock()
	if _, ok := t.conns[c]; ok {
		delete(t.conns, c)
		if http2 {
			t.http2--
		}
		c.server.entry().closed()
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
		f := foreign{state: state}
		if t.draining.Load() {
			f.since = time.Now()
		}
		t.foreign[nc] = f
	}
	t.mu.Unlock()
	t.signal()
}

// speaksHTTP2 notes that one of conns does.
func (t *traffic) speaksHTTP2() {
	t.mu.Lock()
	t.http2++
	t.mu.Unlock()
	t.signal()
}

func (t *traffic) connections() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.conns) + max(len(t.foreign), t.carriers.count()) // whatever a carrier has is foreign, unless it is too new or was hijacked
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

// kicked reports that all connections that can be kicked have gone, and all requests.
func (t *traffic) kicked() bool {
	t.mu.Lock()
	n := len(t.conns) - t.http2
	t.mu.Unlock()
	return n == 0 && t.quiet()
}

// left reports that all connections have gone but such on which a handshake or a first request is awaited.
func (t *traffic) left() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, f := range t.foreign {
		if f.state != http.StateNew {
			return false
		}
	}
	return t.http2 == 0
}

// beginLameDuck begins that of all connections that wait for a request.
func (t *traffic) beginLameDuck(l lameDuck) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lame = l
}

// waiting returns for each connection that waits for a request when its lame duck is over.
func (t *traffic) waiting() (ends []time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for c := range t.conns {
		if since, ok := c.waiting(); ok {
			ends = append(ends, t.lame.end(since))
		}
	}
	for _, f := range t.foreign {
		if f.waits() {
			ends = append(ends, t.lame.end(f.since))
		}
	}
	return ends
}

// giveUp counts what waits for a request and is about to be closed. goaway says that those which speak HTTP/2 are told.
func (t *traffic) giveUp(goaway bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	for c := range t.conns {
		since, ok := c.waiting()
		switch phase := c.phase.Load(); {
		case !ok || phase == connKicked: // the latter is counted when it is closed
		case phase == connHTTP2 && goaway:
		default:
			t.untold.add(now.Before(t.lame.end(since)))
		}
	}
	for nc, f := range t.foreign {
		told := goaway && f.state == http.StateIdle && overHTTP2(nc)
		if f.waits() && !told {
			t.untold.add(now.Before(t.lame.end(f.since)))
		}
	}
}

// overHTTP2 reports whether a connection on which a request was answered speaks HTTP/2.
func overHTTP2(nc net.Conn) bool {
	c, ok := nc.(*tls.Conn)
	return ok && c.ConnectionState().NegotiatedProtocol == "h2"
}

func (t *traffic) allUntold() untold {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.untold
}

// closedUntold counts a connection that waited since a moment, and was closed by this side.
func (t *traffic) closedUntold(since time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.untold.add(time.Now().Before(t.lame.end(since)))
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
	for nc, f := range t.foreign {
		if f.state == http.StateActive {
			answers = append(answers, "a request from "+nc.RemoteAddr().String())
		}
	}
	for _, what := range t.others {
		note(what)
	}
	detached := t.carriers.detached()
	for _, what := range detached {
		note(what)
	}
	hijacked += len(detached)
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
