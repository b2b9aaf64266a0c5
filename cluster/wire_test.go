//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// onEachForm runs a test on a pair in each form that this system has. Linux uses packets and macOS the stream.
func onEachForm(t *testing.T, test func(t *testing.T, a, b *link)) {
	t.Parallel()
	forms := map[string]int{"stream": unix.SOCK_STREAM}
	if !pairStream {
		forms["packets"] = unix.SOCK_SEQPACKET
	}
	for name, kind := range forms {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			a, b := linkedPair(t, kind)
			test(t, a, b)
		})
	}
}

func linkedPair(t testing.TB, kind int) (a, b *link) {
	t.Helper()
	ours, fd, err := newPair(kind)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := unixConn(fd)
	if err != nil {
		t.Fatal(err)
	}
	stream := kind == unix.SOCK_STREAM
	a, b = &link{conn: ours, stream: stream}, &link{conn: theirs, stream: stream}
	t.Cleanup(func() {
		a.conn.Close()
		b.conn.Close()
	})
	return a, b
}

// packed is a message as it is on a stream.
func packed(t testing.TB, m message) []byte {
	t.Helper()
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return append([]byte{byte(len(body) >> 16), byte(len(body) >> 8), byte(len(body))}, body...)
}

// next receives a message that has no descriptor.
func next(t *testing.T, l *link) message {
	t.Helper()
	m, fd, err := l.receive()
	if err != nil || fd != -1 {
		t.Fatalf("got descriptor %d, error %v", fd, err)
	}
	return m
}

// M14: what is sent arrives, in order and field by field, up to the largest broadcast.
func TestWireRoundTrip(t *testing.T) {
	onEachForm(t, func(t *testing.T, a, b *link) {
		for _, want := range []message{
			{Kind: msgReady},
			{Kind: msgBeat, Beat: &beat{Memory: 1 << 40, Goroutines: 7, InFlight: 3, Connections: 9, Requests: 1 << 50, Lag: time.Second}},
			{Kind: msgDrain, Delay: 3 * time.Second},
			{Kind: msgSet, ID: 1 << 60, Key: "log-level", Value: "zeile\n\x00\"ü"},
			{Kind: msgApplied, ID: 2, Error: "no"},
			{Kind: msgMessage, From: 1024, Data: []byte(strings.Repeat("\x00\xff", maxBroadcast/2))},
		} {
			if err := a.send(want); err != nil {
				t.Fatalf("%s: %v", want.Kind, err)
			}
			if diff := cmp.Diff(want, next(t, b)); diff != "" {
				t.Errorf("%s: %s", want.Kind, diff)
			}
		}
	})
}

// M14: on a stream, messages are told apart wherever the kernel cuts them, and however many come with one read.
func TestWirePieces(t *testing.T) {
	t.Parallel()
	want := []message{{Kind: msgAsk}, {Kind: msgSet, Key: "k", Value: "v", ID: 7}, {Kind: msgHurry}}
	var all []byte
	for _, m := range want {
		all = append(all, packed(t, m)...)
	}
	for cut := range len(all) + 1 {
		a, b := linkedPair(t, unix.SOCK_STREAM)
		b.got = append(b.got, all[:cut]...) // as if a read had ended here
		if _, err := a.conn.Write(all[cut:]); err != nil {
			t.Fatal(err)
		}
		for _, m := range want {
			if diff := cmp.Diff(m, next(t, b)); diff != "" {
				t.Fatalf("cut after %d bytes: %s", cut, diff)
			}
		}
		a.conn.Close()
		if _, _, err := b.receive(); !errors.Is(err, io.EOF) {
			t.Fatalf("cut after %d bytes: got %v after the last message, want the end", cut, err)
		}
	}
}

// W6, M14: a descriptor arrives with the message that it was sent with, also where one read has messages before and after
// it, and no program that is started inherits it.
func TestWireDescriptor(t *testing.T) {
	onEachForm(t, func(t *testing.T, a, b *link) {
		read, write, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer read.Close()
		defer write.Close()
		if err := errors.Join(a.send(message{Kind: msgAsk}), a.send(message{Kind: msgServe}, int(write.Fd())), a.send(message{Kind: msgHurry})); err != nil {
			t.Fatal(err)
		}
		if got := next(t, b).Kind; got != msgAsk {
			t.Errorf("got %s first", got)
		}
		m, fd, err := b.receive()
		if err != nil || m.Kind != msgServe || fd < 0 {
			t.Fatalf("got %s with descriptor %d, error %v", m.Kind, fd, err)
		}
		passed := os.NewFile(uintptr(fd), "passed")
		defer passed.Close()
		if got := next(t, b).Kind; got != msgHurry {
			t.Errorf("got %s last", got)
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("programs would inherit it: flags %d, error %v", flags, err)
		}
		if _, err := passed.WriteString("x"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(read, make([]byte, 1)); err != nil {
			t.Errorf("it is another descriptor: %v", err)
		}
	})
}

// M14: what is too large is refused by the sender. A stream ends by a length that can't be: where the next message begins
// is not known any more.
func TestWireTooLarge(t *testing.T) {
	onEachForm(t, func(t *testing.T, a, b *link) {
		if err := a.send(message{Kind: msgSet, Value: strings.Repeat("x", maxMessage)}); err == nil || errors.Is(err, errFull) {
			t.Errorf("got %v, want a refusal", err)
		}
		if err := a.send(message{Kind: msgHurry}); err != nil {
			t.Fatal(err)
		}
		if got := next(t, b).Kind; got != msgHurry {
			t.Errorf("got %s: some of what was refused was sent", got)
		}
		if !a.stream {
			return
		}
		if _, err := a.conn.Write([]byte{0xff, 0xff, 0xff, '{'}); err != nil { // and the rest never comes
			t.Fatal(err)
		}
		if m, _, err := b.receive(); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("got %.40v, error %v", m, err)
		}
	})
}

// M16: the death of the other side is the end of the file, in the middle of a message too; and a message to the dead is an
// error and no signal.
func TestWireEnd(t *testing.T) {
	onEachForm(t, func(t *testing.T, a, b *link) {
		if err := a.send(message{Kind: msgHurry}); err != nil {
			t.Fatal(err)
		}
		if a.stream {
			if _, err := a.conn.Write([]byte{0, 0, 9, '{'}); err != nil {
				t.Fatal(err)
			}
		}
		a.conn.Close()
		if got := next(t, b).Kind; got != msgHurry {
			t.Errorf("got %s, want what was said last", got)
		}
		if _, _, err := b.receive(); !errors.Is(err, io.EOF) {
			t.Errorf("got %v, want io.EOF", err)
		}
		if err := b.send(message{Kind: msgBeat}); !errors.Is(err, unix.EPIPE) {
			t.Errorf("got %v, want EPIPE", err)
		}
	})
}

// M11: a worker that does not read can't hold its master up: send says so at once. What was sent before is whole, and when
// it has been read there is room again.
func TestWireFull(t *testing.T) {
	onEachForm(t, func(t *testing.T, a, b *link) {
		const enough = 1 << 20 // no socket buffer takes this many
		m := message{Kind: msgMessage, Data: make([]byte, 1000)}
		sent := 0
		var err error
		for ; err == nil && sent < enough; sent++ {
			m.From = sent
			err = a.send(m)
		}
		if !errors.Is(err, errFull) {
			t.Fatalf("got %v after %d messages, want errFull", err, sent)
		}
		for i := range sent - 1 {
			if got := next(t, b).From; got != i {
				t.Fatalf("got message %d, want %d", got, i)
			}
		}
		if err := a.send(message{Kind: msgHurry}); err != nil {
			t.Fatal(err)
		}
		if got := next(t, b).Kind; got != msgHurry {
			t.Errorf("got %s: the message that was refused has left something behind", got)
		}
	})
}

// M14: many goroutines of a worker may send at the same time.
func TestWireManySenders(t *testing.T) {
	onEachForm(t, func(t *testing.T, a, b *link) {
		const senders, each = 8, 50
		var wg sync.WaitGroup
		defer wg.Wait()
		room := make(chan struct{}, 20) // less than a socket buffer takes
		for sender := range senders {
			wg.Go(func() {
				for i := range each {
					room <- struct{}{}
					if err := a.send(message{Kind: msgBroadcast, From: sender, ID: int64(i), Data: make([]byte, sender*100)}); err != nil {
						t.Errorf("sender %d, message %d: %v", sender, i, err)
					}
				}
			})
		}
		var heard [senders]int64
		for range senders * each {
			m, _, err := b.receive()
			if err != nil || m.From >= senders || m.ID != heard[m.From] || len(m.Data) != m.From*100 {
				t.Errorf("got %.60v, error %v", m, err)
				a.conn.Close() // nobody reads any more
				for range cap(room) {
					select {
					case <-room:
					default:
					}
				}
				t.FailNow()
			}
			heard[m.From]++
			<-room
		}
	})
}

// M14: whatever bytes come from the other side, they end in messages or in an error.
func FuzzWireStream(f *testing.F) {
	f.Add(packed(f, message{Kind: msgServe, Descriptor: true}))
	f.Add([]byte{0, 0, 0})
	f.Add([]byte{0xff, 0xff, 0xff, '{'})
	f.Add(append(packed(f, message{Kind: msgAsk}), 0, 0, 2, '{'))
	ended, peer := linkedPair(f, unix.SOCK_STREAM)
	peer.conn.Close()
	f.Fuzz(func(t *testing.T, data []byte) {
		l := &link{conn: ended.conn, stream: true, got: data}
		for range len(data) + 1 {
			if _, fd, err := l.receive(); fd >= 0 {
				t.Fatalf("got descriptor %d out of nothing", fd)
			} else if err != nil {
				return
			}
		}
		t.Fatalf("%d bytes gave more messages", len(data))
	})
}

// M14: nobody mistakes something else for a connection, and what was given away is closed.
func TestUnixConnRefusesOthers(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tcp, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	file, err := tcp.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	null, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	for name, f := range map[string]*os.File{"TCP": file, "a file": null} {
		fd, err := dupCloseOnExec(int(f.Fd()))
		if err != nil {
			t.Fatal(err)
		}
		if c, err := unixConn(fd); err == nil {
			t.Errorf("%s: got %v", name, c)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("descriptor %d", fd)) {
			t.Errorf("%s: got %q, which does not tell which descriptor", name, err)
		}
	}
}
