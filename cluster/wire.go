//go:build unix

package cluster

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// What a master and a worker say to each other is additive: both ignore kinds and
// fields that they do not know, and whatever can be left out is left out. So a
// release may know more than the master that runs it, or less.
const (
	// protocol is the number of what this program speaks. It rises when a worker
	// comes to depend on something that masters before it do not do.
	protocol = 1
	// leastProtocol is the lowest number of a master that this program can be a
	// worker of. Under a lower one it refuses to join, and a rolling restart to it
	// fails in words.
	leastProtocol = 1
)

// The abilities that have come to protocol 1. Each side announces its own: the
// master in the invitation, the worker with ready. Nothing depends on them but what
// is sent in addition.
const (
	abilityHealth  = "health"  // beat{unhealthy}
	abilityRefusal = "refusal" // refused{id, error}
)

// abilities are those of this program.
func abilities() []string { return []string{abilityHealth, abilityRefusal} }

// maxMessage bounds one message. Larger things go through a descriptor that is passed.
const maxMessage = 64 << 10

// The kinds of messages; doc.go has their table.
const (
	msgReady     = "ready"     // to the master
	msgBeat      = "beat"      // to the master
	msgBroadcast = "broadcast" // to the master, for all siblings
	msgApplied   = "applied"   // to the master: a setting took effect, or why not
	msgRefused   = "refused"   // to the master: why a connection of serve is not answered

	msgDrain   = "drain"   // to a worker
	msgHurry   = "hurry"   // to a worker
	msgAsk     = "ask"     // to a worker: a heartbeat now
	msgSet     = "set"     // to a worker
	msgMessage = "message" // to a worker: a sibling's broadcast
	msgServe   = "serve"   // to a worker, with a connection: answer HTTP on it
)

// message is one packet. Fields that a kind does not use are left out.
type message struct {
	Kind   string        `json:"kind"`
	Beat   *beat         `json:"beat,omitempty"`
	Delay  time.Duration `json:"delay,omitempty"`  // drain: how long to serve on, unready
	Reason string        `json:"reason,omitempty"` // drain: who wants that
	From   int           `json:"from,omitempty"`   // message: the slot it comes from
	Data   []byte        `json:"data,omitempty"`
	Key    string        `json:"key,omitempty"`
	Value  string        `json:"value,omitempty"`
	ID     int64         `json:"id,omitempty"` // set, applied, serve, refused
	Error  string        `json:"error,omitempty"`

	Descriptor bool `json:"descriptor,omitempty"` // one comes along

	Protocol  int      `json:"protocol,omitempty"` // ready
	Abilities []string `json:"abilities,omitempty"`
}

// beat is what a heartbeat tells.
type beat struct {
	Memory      int64         `json:"memory"`
	Goroutines  int           `json:"goroutines"`
	InFlight    int           `json:"in_flight"`
	Connections int           `json:"connections"`
	Requests    int64         `json:"requests"`
	Lag         time.Duration `json:"lag"`
	// AcceptErrors are counted since the worker began.
	AcceptErrors int64  `json:"accept_errors,omitempty"`
	Missed       int64  `json:"missed,omitempty"`    // broadcasts that there was no room for
	Unhealthy    string `json:"unhealthy,omitempty"` // why, by the worker's own word
}

// link is one end of the pair between a master and a worker. One goroutine may receive while others send.
type link struct {
	conn   *net.UnixConn
	stream bool // no SOCK_SEQPACKET on this system: packets are told apart by their length

	// refused is told of each message that can't be taken. It runs on the goroutine
	// that receives. nil: nobody is told.
	refused func(refusal)
	// reserve is given up for descriptors that arrive. nil: there is none.
	reserve *reserve

	buf []byte // what is read into
	got []byte // the part of buf that is not taken yet
	fds []int  // that came with what was got
	// bereft is how many bytes at the beginning of got belong to messages whose
	// descriptors were lost. A descriptor comes with the first byte of its message.
	bereft int
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
	case sendErr == nil && n < len(packet): // on a stream only, where nothing after it could be understood
		return errors.Join(errors.New("half a message was sent"), l.conn.Close())
	}
	return sendErr
}
