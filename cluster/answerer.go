//go:build unix

package cluster

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// The answerer is a process that a master runs while none of its workers is ready.
// It accepts what the workers can't, and tells each client at once to come back,
// where there would be silence for as long as a worker takes to start. The master
// itself accepts no connection of the service (M2).
//
// It is the master's own program, started again, and never gets as far as its main:
// the init function below is where it lives and ends. So it works although the
// release, its settings or what it depends on may be what is broken, needs nothing
// installed beside the program, and brings nothing of the service along but what
// packages do when they are initialised, which went well in the master before.

// answererVariable tells a process that it is an answerer, and of how many
// listening sockets.
const answererVariable = "CLUSTER_ANSWERER"

// The descriptors of an answerer beyond standard input, output and error.
const (
	fdMaster           = 3 // a pair: its end is the order to leave, or the end of the master
	fdAnswererListener = 4 // and on
)

// The limits of an answerer.
const (
	maxAnswers     = 512                    // connections at a time; others wait in the kernel
	spareFiles     = 32                     // descriptors that are not for connections
	maxHead        = 16 << 10               // bytes of a request before it is answered
	headLimit      = 2 * time.Second        // to send them
	answerLimit    = time.Second            // to take the answer
	lingerLimit    = time.Second            // to close, once answered
	maxLinger      = 1 << 20                // bytes that are thrown away meanwhile
	leaveLimit     = time.Second            // to answer what was accepted, once told to leave
	acceptInterval = 100 * time.Millisecond // between tries, when accepting fails
)

func init() {
	if n, ok := os.LookupEnv(answererVariable); ok { //nolint:forbidigo // it is no setting: a message from the master
		if err := answerUntilTold(n); err != nil {
			fmt.Fprintln(os.Stderr, "answerer:", err)
			os.Exit(1)
		}
		os.Exit(0)
	}
}

// answerUntilTold is the life of an answerer.
func answerUntilTold(listeners string) error {
	nameProcess(filepath.Base(ownName())) //nolint:errcheck // a name is no reason to die
	n, err := strconv.Atoi(listeners)
	if err != nil {
		return fmt.Errorf("read %s: %w", answererVariable, err)
	}
	a := &answerer{free: make(chan struct{}, answersAtOnce()+n), told: make(chan struct{})}
	var sockets []net.Listener
	for i := range n {
		l, err := inheritListener(fdAnswererListener + i)
		if err != nil {
			return err
		}
		sockets = append(sockets, l)
		a.accepting.Go(func() { a.accept(l) })
	}
	master := os.NewFile(fdMaster, "master")
	master.Read(make([]byte, 1)) //nolint:errcheck // whatever ends it means the same
	close(a.told)
	for _, l := range sockets {
		l.Close()
	}
	a.leave()
	return nil
}

// answersAtOnce is how many connections there may be at a time.
func answersAtOnce() int {
	var files unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &files); err != nil || files.Cur >= maxAnswers+spareFiles {
		return maxAnswers
	}
	return max(1, int(files.Cur)-spareFiles)
}

// answerer answers connections.
type answerer struct {
	free      chan struct{}  // holds one for each connection, and one for each socket
	told      chan struct{}  // closed when it has to leave
	accepting sync.WaitGroup // the sockets that are accepted from
	open      sync.WaitGroup // the connections
}

func (a *answerer) accept(l net.Listener) {
	for {
		select {
		case a.free <- struct{}{}:
		case <-a.told:
			return
		}
		conn, err := l.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil: // of one connection, or for want of descriptors
			<-a.free
			select {
			case <-time.After(acceptInterval):
			case <-a.told:
			}
			continue
		}
		a.open.Go(func() {
			defer func() { <-a.free }()
			answer(conn)
		})
	}
}

// leave answers what was accepted, for a while.
func (a *answerer) leave() {
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.accepting.Wait()
		a.open.Wait()
	}()
	select {
	case <-done:
	case <-time.After(leaveLimit):
	}
}

// answer tells one client to come back, in the protocol that it speaks. It reads
// what the client has to say first, and after the answer until the client closes,
// within limits: a connection that is closed with something unread in it is reset,
// and the answer may be lost with it (RFC 9112, section 9.6).
func answer(conn net.Conn) {
	defer conn.Close()
	conn.SetReadDeadline(time.Now().Add(headLimit)) //nolint:errcheck // then the read fails
	r := bufio.NewReader(conn)
	said := reply(r)
	if said == nil {
		return
	}
	conn.SetWriteDeadline(time.Now().Add(answerLimit)) //nolint:errcheck // then the write fails
	if _, err := conn.Write(said); err != nil {
		return
	}
	if half, ok := conn.(interface{ CloseWrite() error }); ok {
		half.CloseWrite() //nolint:errcheck // the client may be gone
	}
	conn.SetReadDeadline(time.Now().Add(lingerLimit)) //nolint:errcheck // then the read fails
	io.CopyN(io.Discard, r, maxLinger)                //nolint:errcheck // the client may be gone
}

// reply reads the beginning of what a client says, and returns the answer: nil for
// one that says nothing.
func reply(r *bufio.Reader) []byte {
	first, err := r.Peek(1)
	if err != nil {
		return nil
	}
	if first[0] == tlsHandshake {
		if header, err := r.Peek(5); err == nil {
			r.Discard(5 + int(binary.BigEndian.Uint16(header[3:]))) //nolint:errcheck // it says what it does not send
		}
		return tlsInternalError
	}
	head := readHead(r)
	switch {
	case len(head) == 0:
		return nil
	case bytes.HasPrefix(head, []byte("PRI * HTTP/2.0\r\n")):
		return http2GoAway
	}
	return http1Unavailable(head)
}

// readHead reads up to the empty line that ends the head of a request, as far as
// its limits allow.
func readHead(r *bufio.Reader) (head []byte) {
	for len(head) < maxHead {
		line, err := r.ReadSlice('\n')
		if empty := len(bytes.TrimRight(line, "\r\n")) == 0 && err == nil; empty && len(head) > 0 {
			return head
		} else if empty {
			continue // before the request line: RFC 9112, section 2.2
		}
		head = append(head, line...)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return head
		}
	}
	return head
}

// tlsHandshake is the first byte of a TLS connection (RFC 8446, section 5.1).
const tlsHandshake = 0x16

// tlsInternalError is a fatal alert, internal_error, which is the one for what is
// not the client's fault (RFC 8446, section 6).
var tlsInternalError = []byte{21, 3, 3, 0, 2, 2, 80}

// http2GoAway is an empty SETTINGS frame, which has to be first, and a GOAWAY
// without an error after stream 0: the client may send all its requests again, on
// another connection (RFC 9113, section 6.8).
var http2GoAway = []byte{
	0, 0, 0, 4, 0, 0, 0, 0, 0,
	0, 0, 8, 7, 0, 0, 0, 0, 0,
	0, 0, 0, 0, 0, 0, 0, 0,
}

// http1Unavailable is the answer to a request over HTTP/1.
func http1Unavailable(head []byte) []byte {
	var id string
	method := ""
	if req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(append(head, "\r\n"...)))); err == nil {
		method = req.Method
		if id = req.Header.Get("X-Request-Id"); !wellFormedID(id) {
			id = ""
		}
	}
	body, err := json.Marshal(struct {
		Type      string `json:"type"`
		Title     string `json:"title"`
		Status    int    `json:"status"`
		Detail    string `json:"detail"`
		Code      string `json:"code"`
		RequestID string `json:"request_id"`
	}{
		"/problems/unavailable", http.StatusText(http.StatusServiceUnavailable), http.StatusServiceUnavailable,
		"No worker is ready, and the request was not begun: send it again in a second.", "unavailable", id,
	})
	if err != nil {
		panic(err) // strings and a number can be encoded
	}
	var b strings.Builder
	fmt.Fprintf(&b, "HTTP/1.1 %d %s\r\n", http.StatusServiceUnavailable, http.StatusText(http.StatusServiceUnavailable))
	fmt.Fprintf(&b, "Connection: close\r\nRetry-After: 1\r\nCache-Control: no-store\r\n")
	fmt.Fprintf(&b, "Content-Type: application/problem+json\r\nContent-Length: %d\r\n\r\n", len(body))
	if method != http.MethodHead {
		b.Write(body)
	}
	return []byte(b.String())
}
