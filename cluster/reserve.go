//go:build unix

package cluster

import (
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"
)

// reserve holds descriptors that stand for nothing. Whoever must not fail when the
// process has no other left gives them up, does what has to be done at once, and
// fills the reserve again. Others may be faster meanwhile, so that this is no
// guarantee: those who wait for a descriptor in [net.Listener.Accept] sleep between
// two tries, and lose nearly always.
type reserve struct {
	size int

	mu   sync.Mutex
	held []int
}

// fill takes as many as the reserve should have, or as there are.
func (r *reserve) fill() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.held) < r.size {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return
		}
		r.held = append(r.held, fd)
	}
}

// giveUp closes all that the reserve holds.
func (r *reserve) giveUp() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, fd := range r.held {
		unix.Close(fd)
	}
	r.held = nil
}

// reservedListener accepts although no descriptor is free, at the cost of a reserve.
type reservedListener struct {
	*net.UnixListener
	reserve *reserve
}

func (l *reservedListener) Accept() (net.Conn, error) {
	conn, err := l.UnixListener.Accept()
	// The kernel looks for a descriptor first, and for somebody who waits after that.
	if isShortage(err) && l.pending() {
		l.reserve.giveUp()
		conn, err = l.UnixListener.Accept()
	}
	l.reserve.fill()
	return conn, err
}

func (l *reservedListener) pending() (so bool) {
	raw, err := l.SyscallConn()
	if err != nil {
		return false
	}
	err = raw.Control(func(fd uintptr) { so = readable(fd) })
	return so && err == nil
}
