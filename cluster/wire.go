//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// protocol is the version of all that a master and a worker say to each other. A worker of another version refuses to
// join, so that a rolling restart to it fails in words.
const protocol = 1

// maxMessage bounds one message. Larger things go through a descriptor that is passed.
const maxMessage = 64 << 10

// The kinds of messages; doc.go has their table.
const (
	msgReady     = "ready"     // to the master
	msgBeat      = "beat"      // to the master
	msgBroadcast = "broadcast" // to the master, for all siblings
	msgApplied   = "applied"   // to the master: a setting took effect, or why not

	msgDrain   = "drain"   // to a worker
	msgHurry   = "hurry"   // to a worker
	msgAsk     = "ask"     // to a worker: a heartbeat now
	msgSet     = "set"     // to a worker
	msgMessage = "message" // to a worker: a sibling's broadcast
	msgServe   = "serve"   // to a worker, with a connection: answer HTTP on it
)

// message is one packet. Fields that a kind does not use are left out.
type message struct {
	Kind  string        `json:"kind"`
	Beat  *beat         `json:"beat,omitempty"`
	Delay time.Duration `json:"delay,omitempty"` // drain: how long to serve on, unready
	From  int           `json:"from,omitempty"`  // message: the slot it comes from
	Data  []byte        `json:"data,omitempty"`
	Key   string        `json:"key,omitempty"`
	Value string        `json:"value,omitempty"`
	ID    int64         `json:"id,omitempty"` // set, applied
	Error string        `json:"error,omitempty"`

	Descriptor bool `json:"descriptor,omitempty"` // one comes along
}

// beat is what a heartbeat tells.
type beat struct {
	Memory      int64         `json:"memory"`
	Goroutines  int           `json:"goroutines"`
	InFlight    int           `json:"in_flight"`
	Connections int           `json:"connections"`
	Requests    int64         `json:"requests"`
	Lag         time.Duration `json:"lag"`
	// Unhealthy is why the worker is not healthy, by its own word. Empty: it is.
	Unhealthy string `json:"unhealthy,omitempty"`
	// AcceptErrors are counted since the worker began.
	AcceptErrors int64 `json:"accept_errors,omitempty"`
}

// link is one end of the pair between a master and a worker. One goroutine may receive while others send.
type link struct {
	conn   *net.UnixConn
	stream bool   // no SOCK_SEQPACKET on this system: packets are told apart by their length
	buf    []byte // what is read into
	got    []byte // the part of buf that is not taken yet
	fds    []int  // that came with what was got
}

// newPair returns both ends of a connection between a master and a worker: one for this process, and a descriptor for
// the other. The kernel reports the death of either side to the other as the end of the file.
func newPair(kind int) (ours *net.UnixConn, theirs int, err error) {
	syscall.ForkLock.RLock() // no fork may happen between the two steps where there is no SOCK_CLOEXEC
	fds, err := unix.Socketpair(unix.AF_UNIX, kind, 0)
	if err == nil {
		unix.CloseOnExec(fds[0])
		unix.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, -1, fmt.Errorf("make a socket pair: %w", err)
	}
	ours, err = unixConn(fds[0])
	if err != nil {
		unix.Close(fds[1])
		return nil, -1, err
	}
	return ours, fds[1], nil
}

// unixConn makes a connection of a descriptor, which it takes over.
func unixConn(fd int) (*net.UnixConn, error) {
	f := os.NewFile(uintptr(fd), "worker")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("use descriptor %d as a connection: %w", fd, err)
	}
	conn, ok := c.(*net.UnixConn)
	if !ok {
		return nil, errors.Join(fmt.Errorf("descriptor %d is no Unix socket", fd), c.Close())
	}
	return conn, nil
}

// errFull says that the other side does not read.
var errFull = errors.New("the other side does not read its messages")

// send sends a message, and descriptors with it, without ever waiting.
func (l *link) send(m message, fds ...int) error {
	m.Descriptor = len(fds) > 0
	packet, err := json.Marshal(m)
	if err != nil {
		return fmt.Errorf("encode %s: %w", m.Kind, err)
	}
	if len(packet) > maxMessage {
		return fmt.Errorf("a message of %d bytes: the limit is %d", len(packet), maxMessage)
	}
	if l.stream {
		packet = append([]byte{byte(len(packet) >> 16), byte(len(packet) >> 8), byte(len(packet))}, packet...)
	}
	var rights []byte
	if len(fds) > 0 {
		rights = unix.UnixRights(fds...)
	}
	raw, err := l.conn.SyscallConn()
	if err != nil {
		return err
	}
	var n int
	var sendErr error
	if err := raw.Write(func(fd uintptr) bool {
		n, sendErr = unix.SendmsgN(int(fd), packet, rights, nil, unix.MSG_DONTWAIT|noSignal)
		return true
	}); err != nil {
		return err
	}
	switch {
	case errors.Is(sendErr, unix.EAGAIN), errors.Is(sendErr, unix.ENOBUFS):
		return errFull
	case sendErr == nil && n < len(packet): // on a stream only; what follows could not be understood
		return errors.Join(errors.New("half a message was sent"), l.conn.Close())
	}
	return sendErr
}

// receive waits for the next message. The error is io.EOF when the other side is no more. A descriptor that came along
// belongs to the caller; -1 if there is none.
func (l *link) receive() (m message, fd int, err error) {
	defer func() {
		if err != nil {
			l.got = nil
			l.closeDescriptors()
		}
	}()
	rights := make([]byte, unix.CmsgSpace(4))
	for {
		packet, err := l.packet()
		if err != nil {
			return m, -1, err
		}
		if packet != nil {
			if err := json.Unmarshal(packet, &m); err != nil {
				return m, -1, fmt.Errorf("decode a message: %w", err)
			}
			return m, l.descriptorOf(m), nil
		}
		if l.buf == nil { // room for a whole message behind the beginning of one, and one byte to notice what is longer
			l.buf = make([]byte, 2*(maxMessage+3))
		}
		have := copy(l.buf, l.got)
		l.got = nil
		n, rn, flags, _, err := l.conn.ReadMsgUnix(l.buf[have:have+maxMessage+3], rights)
		if err == nil && n == 0 && !l.stream {
			err = io.EOF
		}
		if err != nil {
			return m, -1, err
		}
		l.got = l.buf[:have+n]
		if err := l.takeOver(rights[:rn]); err != nil {
			return m, -1, fmt.Errorf("take over a descriptor: %w", err)
		}
		if !l.stream && n > maxMessage {
			return m, -1, fmt.Errorf("a message of %d bytes: the limit is %d", n, maxMessage)
		}
		if flags&unix.MSG_CTRUNC != 0 {
			return m, -1, errors.New("take over a descriptor: there were more than fit")
		}
	}
}

// packet takes the next whole packet out of what was received; nil if there is none yet. It is valid until the next read.
func (l *link) packet() ([]byte, error) {
	if !l.stream {
		p := l.got
		l.got = nil
		return p, nil
	}
	if len(l.got) < 3 {
		return nil, nil
	}
	n := int(l.got[0])<<16 | int(l.got[1])<<8 | int(l.got[2])
	if n > maxMessage {
		return nil, fmt.Errorf("a message of %d bytes: the limit is %d", n, maxMessage)
	}
	if len(l.got) < 3+n {
		return nil, nil
	}
	p := l.got[3 : 3+n]
	l.got = l.got[3+n:]
	return p, nil
}

// takeOver keeps the descriptors that came with a read for the messages that announce them: on a stream, a read may begin
// with a message before that one.
func (l *link) takeOver(rights []byte) error {
	msgs, err := unix.ParseSocketControlMessage(rights)
	if err != nil {
		return err
	}
	for _, msg := range msgs {
		fds, err := unix.ParseUnixRights(&msg)
		if err != nil {
			return err
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd) // where the kernel was not told to do that by itself
			l.fds = append(l.fds, fd)
		}
	}
	return nil
}

// descriptorOf is what came along with a message, or -1.
func (l *link) descriptorOf(m message) int {
	if !l.stream && !m.Descriptor {
		l.closeDescriptors() // nobody announced them
	}
	if !m.Descriptor || len(l.fds) == 0 {
		return -1
	}
	fd := l.fds[0]
	l.fds = l.fds[1:]
	return fd
}

func (l *link) closeDescriptors() {
	for _, fd := range l.fds {
		unix.Close(fd)
	}
	l.fds = nil
}
