package cluster

import (
	"net/http"
	"time"
)

// preface is what an HTTP/2 connection without TLS begins with (RFC 9113, 3.4).
// net/http knows no upgrade to HTTP/2.
const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// noPreface says that a connection speaks HTTP/1.
const noPreface = -1

// watch compares the first bytes of a connection with the preface. Its first
// request would tell as well, but too late for a connection that has none yet.
func (c *conn) watch(p []byte) {
	n := min(len(p), len(preface)-c.prefaced)
	if string(p[:n]) != preface[c.prefaced:][:n] {
		c.prefaced = noPreface
		return
	}
	if c.prefaced += n; c.prefaced < len(preface) {
		return
	}
	c.prefaced = noPreface
	c.touch()
	if c.phase.CompareAndSwap(connHead, connHTTP2) {
		c.server.traffic.speaksHTTP2()
	}
}

// changedHTTP2 follows the state that net/http reports: active with streams,
// idle without.
func (c *conn) changedHTTP2(state http.ConnState) {
	if state != http.StateActive && state != http.StateIdle {
		return // known from the listener, and from Close
	}
	c.mu.Lock()
	c.busy = state == http.StateActive
	if !c.busy && c.server.Draining() {
		c.since = time.Now()
	}
	c.mu.Unlock()
	if state == http.StateIdle {
		c.server.traffic.signal()
	}
}
