package cluster_test

import (
	"encoding/binary"
	"errors"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"
)

// Frames of HTTP/2 that these tests speak of (RFC 9113, 6).
const (
	frameHeaders      = 1
	frameReset        = 3
	frameSettings     = 4
	framePing         = 6
	frameGoAway       = 7
	frameWindowUpdate = 8
)

// framer is a client that speaks HTTP/2 frame by frame.
type framer struct {
	*patron
	next uint32 // stream
	seen []byte // types of frames
}

// framerOver connects and says hello, without a request.
func (p *workplace) framerOver(proto string) *framer {
	p.t.Helper()
	f := &framer{patron: p.patronOver(proto), next: 1}
	f.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	f.write(frameSettings, 0, 0, "")
	f.until(frameSettings)
	return f
}

func (f *framer) write(kind, flags byte, stream uint32, payload string) {
	f.t.Helper()
	head := []byte{0, byte(len(payload) >> 8), byte(len(payload)), kind, flags, 0, 0, 0, 0}
	binary.BigEndian.PutUint32(head[5:], stream)
	f.send(string(head) + payload)
}

// get sends a request of which the fields are in HPACK's static table, or literal (RFC 7541, 6).
func (f *framer) get(path string) {
	f.t.Helper()
	const get, http, pathIs, authorityIs = "\x82", "\x86", "\x04", "\x01"
	literal := func(s string) string { return string(rune(len(s))) + s }
	const endStream, endHeaders = 1, 4
	f.write(frameHeaders, endStream|endHeaders, f.next, get+http+pathIs+literal(path)+authorityIs+literal("shop"))
	f.next += 2
}

// until reads frames up to one of a type, and returns what that holds. The end of the connection is a failure.
func (f *framer) until(kind byte) string {
	f.t.Helper()
	for {
		got, payload, err := f.read()
		if err != nil {
			f.t.Fatalf("waiting for frame type %d: %v, after %v", kind, err, f.seen)
		}
		if got == kind {
			return payload
		}
	}
}

func (f *framer) read() (kind byte, payload string, err error) {
	var head [9]byte
	if _, err := io.ReadFull(f.buf, head[:]); err != nil {
		return 0, "", err
	}
	body := make([]byte, int(head[0])<<16|int(head[1])<<8|int(head[2]))
	if _, err := io.ReadFull(f.buf, body); err != nil {
		return 0, "", err
	}
	f.seen = append(f.seen, head[3])
	return head[3], string(body), nil
}

// answered reads the head of an answer. Status 200 is one byte in HPACK.
func (f *framer) answered() {
	f.t.Helper()
	if got := f.until(frameHeaders); got[0] != 0x88 {
		f.t.Errorf("got the head %q, want status 200", got)
	}
}

// told reads up to the end of the connection, and wants a GOAWAY without an error before it.
func (f *framer) told() {
	f.t.Helper()
	for {
		kind, payload, err := f.read()
		if err != nil {
			if !errors.Is(err, io.EOF) || !slices.Contains(f.seen, frameGoAway) || slices.Contains(f.seen, frameReset) {
				f.t.Errorf("got %v after the frames %v, want a GOAWAY, and then the end", err, f.seen)
			}
			return
		}
		if kind == frameGoAway && binary.BigEndian.Uint32([]byte(payload[4:8])) != 0 {
			f.t.Errorf("got GOAWAY with error %q", payload)
		}
	}
}

// HTTP/2 is drained by a GOAWAY, whatever is or was on the connection, with TLS and without: nothing is closed before it,
// and nothing is refused.
func TestDrainSaysGoAway(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h2c", "h2"} {
		for name, c := range map[string]struct {
			before func(p *workplace, f *framer)
			during func(p *workplace, f *framer) // while the drain goes on
		}{
			"only the preface": {},
			"idle":             {before: func(_ *workplace, f *framer) { f.get("/hello"); f.answered() }},
			"idle, with traffic": {before: func(_ *workplace, f *framer) {
				f.get("/hello")
				f.answered()
				f.write(frameWindowUpdate, 0, 0, "\x00\x00\x00\x01")
				f.write(framePing, 0, 0, "12345678")
				f.until(framePing)
			}},
			"traffic in the drain": {during: func(_ *workplace, f *framer) {
				f.write(framePing, 0, 0, "12345678")
				f.until(framePing)
			}},
			"a request in the drain": {during: func(_ *workplace, f *framer) { f.get("/hello"); f.answered() }},
			"a request before it": {
				before: func(p *workplace, f *framer) { f.get("/wait"); <-p.entered },
				during: func(p *workplace, f *framer) { p.release <- struct{}{}; f.answered() },
			},
			"a request after the lame duck": {
				before: func(p *workplace, f *framer) { f.get("/wait"); <-p.entered },
				during: func(p *workplace, f *framer) {
					until(p.t, func() bool { return len(p.log.with(`"msg":"draining"`)) > 1 })
					f.get("/hello")
					f.answered()
					p.release <- struct{}{}
				},
			},
		} {
			t.Run(proto+", "+name, func(t *testing.T) {
				t.Parallel()
				p := openWith(t, proto, func(p *workplace) { p.LameDuck = 100 * time.Millisecond })
				f := p.framerOver(proto)
				if c.before != nil {
					c.before(p, f)
				}
				p.tellToStop()
				if c.during != nil {
					c.during(p, f)
				}
				f.told()
				p.mustEnd(nil)
				if p.log.with(`"msg":"drained"`, `"closed_without_notice":0`) == nil {
					t.Errorf("got %s", p.log.with())
				}
			})
		}
	}
}

// HTTP/1.1 and HTTP/2 on one port: the last call to the former does not refuse the latter. A connection is told apart by
// its first bytes, also when they come one by one, and when it begins like the other.
func TestDrainOfBothProtocols(t *testing.T) {
	t.Parallel()
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	for attempt := range 5 { // the last call lasts half a second, which may be too short for a busy machine
		p := openWorkplace(t, func(p *workplace) { p.HTTP.Protocols, p.LameDuck = &both, 10*time.Millisecond })
		dribbling, almost := p.patron(), p.patron()
		almost.send("PRI * HTTP/2.0\r\n\r\nSN\r\n\r\n")
		almost.answer(http.StatusBadRequest, "", true)
		f := &framer{patron: p.patron(), next: 1}
		for _, b := range "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" {
			f.send(string(b))
		}
		f.write(frameSettings, 0, 0, "")
		f.until(frameSettings)
		f.get("/hello")
		f.answered()
		dribbling.send("GET /hello HTTP/1.1\r\n")
		until(t, func() bool { return p.Reading() == 1 })
		p.stop(nil)
		until(t, p.LastCalling)
		f.get("/hello")
		f.answered()
		dribbling.send("Host: shop\r\n\r\n")
		if _, err := dribbling.buf.Peek(1); err != nil && attempt < 4 {
			continue
		}
		dribbling.answer(http.StatusOK, "hello", true)
		f.told()
		p.mustEnd(nil)
		return
	}
}

// An HTTP/2 client that ignores the GOAWAY is closed a second later, and not before.
func TestGoAwayIsNotOvertaken(t *testing.T) {
	t.Parallel()
	for _, proto := range []string{"h2c", "h2"} {
		p := openWith(t, proto, func(p *workplace) { p.LameDuck = time.Millisecond })
		const connections = 50
		var all []*framer
		for range connections {
			all = append(all, p.framerOver(proto))
		}
		p.stop(nil)
		for _, f := range all {
			f.told()
		}
		p.mustEnd(nil)
	}
}

// The GOAWAYs do not wait for somebody else's request until the drain limit, when they would be overtaken.
func TestGoAwayBeforeTheLimit(t *testing.T) {
	t.Parallel()
	var both http.Protocols
	both.SetHTTP1(true)
	both.SetUnencryptedHTTP2(true)
	for attempt := range 5 { // they come half a second before, which may be too short for a busy machine
		p := openWorkplace(t, func(p *workplace) { p.HTTP.Protocols, p.DrainTimeout = &both, 5*time.Second })
		v := p.patron()
		v.get("/wait")
		<-p.entered
		f := p.framerOver("h2c")
		begun := time.Now()
		var after time.Duration
		p.BeforeShutdown(func() { // which sends them
			after = time.Since(begun)
			p.release <- struct{}{}
		})
		p.stop(nil)
		f.told()
		err := <-p.result
		p.result <- err
		if (err != nil || after >= p.DrainTimeout) && attempt < 4 {
			continue
		}
		if after >= p.DrainTimeout {
			t.Errorf("they came after %v, and the limit is %v", after, p.DrainTimeout)
		}
		v.answer(http.StatusOK, "hello", true)
		p.mustEnd(nil)
		return
	}
}
