//go:build unix

package cluster

import (
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// pacer knows whose turn it is to accept.
type pacer struct {
	siblings *siblings
	// socket is a second descriptor of the listening socket, only to wait on until a connection is there: a net.Listener
	// can't be asked for that.
	socket *os.File
	raw    syscall.RawConn
}

func newPacer(b *board, place int, l *net.TCPListener) (*pacer, error) {
	raw, err := l.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("look at the listening socket: %w", err)
	}
	var fd int
	controlErr := raw.Control(func(listening uintptr) {
		fd, err = unix.FcntlInt(listening, unix.F_DUPFD_CLOEXEC, 0)
	})
	if err == nil {
		err = controlErr
	}
	if err != nil {
		return nil, fmt.Errorf("duplicate the listening socket: %w", err)
	}
	p := &pacer{siblings: newSiblings(b, place)}
	p.socket = os.NewFile(uintptr(fd), "listener") // waits in the netpoller, since the socket is non-blocking
	if p.raw, err = p.socket.SyscallConn(); err != nil {
		p.socket.Close()
		return nil, fmt.Errorf("wait on the listening socket: %w", err)
	}
	return p, nil
}

// turn returns when there is a connection to be accepted, and nobody else who should. It may be gone when accept is called.
func (p *pacer) turn() error {
	for {
		if err := p.raw.Read(readable); err != nil { // parks until there is one
			return net.ErrClosed
		}
		wait := p.siblings.wait()
		if wait == 0 {
			return nil
		}
		<-time.After(wait) // at most pacingMost, also when the listener is closed
		var still bool
		if err := p.raw.Control(func(fd uintptr) { still = readable(fd) }); err != nil {
			return net.ErrClosed
		}
		if still {
			p.siblings.waitedInVain(wait)
			return nil
		}
	}
}

func (p *pacer) close() { p.socket.Close() }

// readable reports whether a connection waits on a listening socket.
func readable(fd uintptr) bool {
	for {
		n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
		if err != unix.EINTR {
			return n > 0 || err != nil // accept says what is wrong
		}
	}
}
