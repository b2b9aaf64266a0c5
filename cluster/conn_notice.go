package cluster

import (
	"bytes"
	"slices"
)

// notice tells the client of an HTTP/1.1 answer that no other follows on its
// connection (RFC 9112, 9.6).
const notice = "Connection: close\r\n"

// Write puts the notice into the head of an answer that begins during the
// drain. Answers to requests that began during it have one from the handler
// that wraps all others; this is for the requests that were at work before.
// Nothing else reaches them: their handlers own the header maps, and
// http.Server.SetKeepAlivesEnabled(false), which would do the same, closes all
// idle connections at once, and those whose answers have left without a notice
// right after the answer.
//
// net/http does not know that the connection has to go: Read ends it.
func (c *conn) Write(p []byte) (int, error) {
	// An answer begins with a Write of its own: net/http flushes its buffer
	// after each answer, and after each interim one.
	if c.phase.Load() != connServing || interim(p) || !c.phase.CompareAndSwap(connServing, connAnswering) || !c.server.Draining() {
		return c.out.write(p, c.stream)
	}
	at := noticePlace(p)
	if at == 0 {
		return c.out.write(p, c.stream)
	}
	c.told.Store(true)
	n, err := c.out.write(slices.Concat(p[:at], []byte(notice), p[at:]), c.stream)
	if n > at {
		n = max(at, n-len(notice))
	}
	return n, err
}

// interim reports whether p is an answer that another one follows, such as 100
// Continue. A part of one is none: whatever comes next is left as it is.
func interim(p []byte) bool {
	return bytes.HasPrefix(p, []byte("HTTP/1.1 1")) && bytes.HasSuffix(p, []byte("\r\n\r\n"))
}

// noticePlace returns where in an answer's first bytes the notice goes, right
// behind the status line. It is 0 if there is nothing to add: the handler has
// set the field itself, the client speaks HTTP/1.0, or p is no head.
func noticePlace(p []byte) int {
	const version = "HTTP/1.1 "
	if !bytes.HasPrefix(p, []byte(version)) || bytes.HasPrefix(p[len(version):], []byte("1")) {
		return 0
	}
	head, _, _ := bytes.Cut(p, []byte("\r\n\r\n"))
	if bytes.Contains(head, []byte("\r\nConnection:")) {
		return 0
	}
	line, _, found := bytes.Cut(p, []byte("\r\n"))
	if !found {
		return 0
	}
	return len(line) + len("\r\n")
}
