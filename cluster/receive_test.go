//go:build unix

package cluster

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// W6: descriptors that nobody takes are closed: those of a message that does not announce any, those that come in a crowd,
// and those of a message that can't be understood or never comes. Otherwise a connection would seem to be open forever.
func TestWireStrayDescriptor(t *testing.T) {
	announced, _ := json.Marshal(message{Kind: msgServe, Descriptor: true})
	plain, _ := json.Marshal(message{Kind: msgAsk})
	onEachForm(t, func(t *testing.T, a, b *link) {
		for name, c := range map[string]struct {
			packet  []byte
			copies  int
			taken   bool
			refused int
		}{
			"unannounced":    {plain, 1, true, 0},
			"two":            {announced, 2, false, 1},
			"a crowd":        {announced, 5, false, 1},
			"half a message": {announced[:5], 1, false, 1},
		} {
			if a.stream && c.copies == 1 {
				continue // it may belong to the message after this one
			}
			refused := refusalsOf(b)
			read, write, err := os.Pipe()
			if err != nil {
				t.Fatal(err)
			}
			defer read.Close()
			defer write.Close()
			send(t, a, c.packet, slices.Repeat([]int{int(write.Fd())}, c.copies)...)
			write.Close()
			if err := a.send(message{Kind: msgHurry}); err != nil {
				t.Fatal(err)
			}
			if c.taken && next(t, b).Kind != msgAsk {
				t.Errorf("%s: the message was not taken", name)
			}
			if got := next(t, b).Kind; got != msgHurry {
				t.Errorf("%s: got %s after it", name, got)
			}
			if len(*refused) != c.refused {
				t.Errorf("%s: refused %v, want %d", name, *refused, c.refused)
			}
			closed(t, name, read)
		}
	})
}

// A descriptor whose message never comes is closed with the link.
func TestWireDescriptorOfNothing(t *testing.T) {
	t.Parallel()
	a, b := linkedPair(t, unix.SOCK_STREAM)
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if _, _, err := a.conn.WriteMsgUnix([]byte{0, 0, 100, '{'}, unix.UnixRights(int(write.Fd())), nil); err != nil {
		t.Fatal(err)
	}
	write.Close()
	a.conn.Close()
	if m, fd, err := b.receive(); fd >= 0 || !errors.Is(err, io.EOF) {
		t.Errorf("got %v with descriptor %d, error %v", m, fd, err)
	}
	closed(t, "half a message", read)
}

// refusalsOf notes what a link refuses from now on.
func refusalsOf(l *link) *[]string {
	var refused []string
	l.refused = func(r refusal) { refused = append(refused, r.reason.Error()) }
	return &refused
}

// send sends bytes as one message, whatever they are.
func send(t testing.TB, l *link, packet []byte, fds ...int) {
	t.Helper()
	if l.stream {
		packet = append([]byte{byte(len(packet) >> 16), byte(len(packet) >> 8), byte(len(packet))}, packet...)
	}
	raw, err := l.conn.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var sendErr error
	if err := raw.Control(func(fd uintptr) {
		var rights []byte
		if len(fds) > 0 {
			rights = unix.UnixRights(fds...)
		}
		sendErr = unix.Sendmsg(int(fd), packet, rights, nil, unix.MSG_DONTWAIT|noSignal)
	}); err != nil || sendErr != nil {
		t.Fatal(err, sendErr)
	}
}

// closed checks that nobody holds the other end of a pipe.
func closed(t testing.TB, name string, read *os.File) {
	t.Helper()
	read.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := read.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("%s: got %v, want the end of the pipe", name, err)
	}
}

// M16: no message can end a link of packets, and no well-framed one that of a stream: each is refused in words, and
// what comes after it is heard.
func TestWireRefusesOneByOne(t *testing.T) {
	onEachForm(t, func(t *testing.T, a, b *link) {
		for _, c := range []struct{ packet, reason string }{
			{"", "a message of no bytes"},
			{"{", "decode a message"},
			{"\x00\xff", "decode a message"},
			{`[]`, "decode a message"},
			{`{"kind":7}`, "decode a message"},
			{`{"kind":"drain","delay":"soon"}`, "decode a message"},
			{`{"kind":"set","id":1e99}`, "decode a message"},
			{`{"kind":"message","data":"?"}`, "decode a message"},
			{`{"kind":"ready"}{"kind":"ready"}`, "decode a message"},
			{`{"kind":"serve","descriptor":true}`, "the descriptor of serve: none came"},
			{`{"kind":"` + strings.Repeat("x", maxMessage) + `"}`, "a message of more than 65536 bytes"},
		} {
			if a.stream && (c.packet == "" || len(c.packet) > maxMessage) {
				continue // the first one is a message without JSON there, and TestWireTooLarge has the other
			}
			refused := refusalsOf(b)
			send(t, a, []byte(c.packet))
			if err := a.send(message{Kind: msgHurry}); err != nil {
				t.Fatal(err)
			}
			if got := next(t, b).Kind; got != msgHurry {
				t.Errorf("%.40q: got %s after it", c.packet, got)
			}
			if len(*refused) != 1 || !strings.Contains((*refused)[0], c.reason) {
				t.Errorf("%.40q: refused %q, want %q", c.packet, *refused, c.reason)
			}
		}
		refused := refusalsOf(b)
		for _, unknown := range []string{`{}`, `null`, `{"kind":"from the future","drain":{"x":[1]},"protocol":99}`} {
			send(t, a, []byte(unknown))
			next(t, b)
		}
		if len(*refused) > 0 {
			t.Errorf("what is only unknown is refused: %q", *refused)
		}
	})
}

// M14, M16: whatever packets and descriptors come, and in whatever number, receive goes on until the other side is no
// more, and holds none of the descriptors then.
func FuzzReceive(f *testing.F) {
	if pairStream {
		f.Skip("this system has no packets")
	}
	// Each packet of a script is the number of its descriptors, its length, and its bytes.
	script := func(packets ...string) (all []byte) {
		for i, p := range packets {
			all = append(append(all, byte(i), byte(len(p))), p...)
		}
		return all
	}
	f.Add(script(`{"kind":"ask"}`, `{"kind":"serve","descriptor":true}`, "", `{"kind":"serve","descriptor":true}`), true)
	f.Add(script("", "", "", "", "", ""), false)
	f.Add([]byte{0, 255, 1, 255, 5, 255}, true)
	f.Fuzz(func(t *testing.T, script []byte, unread bool) {
		a, b := linkedPair(t, unix.SOCK_SEQPACKET)
		read, write, err := os.Pipe()
		if err != nil {
			t.Skip(err) // too many fuzzers at once
		}
		defer read.Close()
		defer write.Close()
		if unread { // and so the end is told by ECONNRESET first
			b.send(message{Kind: msgAsk})
		} else {
			b.reserve = &reserve{size: 2} // as workers have it
			defer b.reserve.giveUp()
		}
		raw, err := a.conn.SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		for len(script) > 1 {
			copies, size := int(script[0]%8), min(int(script[1]), len(script)-2)
			packet := script[2 : 2+size]
			if script[1] == 255 {
				packet = bytes.Repeat([]byte{' '}, maxMessage+size)
			}
			script = script[2+size:]
			if err := raw.Control(func(fd uintptr) {
				var rights []byte
				if copies > 0 {
					rights = unix.UnixRights(slices.Repeat([]int{int(write.Fd())}, copies)...)
				}
				unix.Sendmsg(int(fd), packet, rights, nil, unix.MSG_DONTWAIT|noSignal) // full, perhaps
			}); err != nil {
				t.Fatal(err)
			}
		}
		a.conn.Close()
		write.Close()
		for {
			_, fd, err := b.receive()
			if fd >= 0 {
				unix.Close(fd)
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		b.conn.Close() // behind an empty packet of who is no more there may be others, which nobody wants
		closed(t, "after the end", read)
	})
}
