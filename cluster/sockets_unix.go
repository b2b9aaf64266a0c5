//go:build unix

package cluster

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a listening socket as workers inherit it. It is no net.Listener: that would wake the master up for
// connections that it will never accept (M2).
type socket struct {
	fd   int
	addr string
	file *socketFile // of a Unix socket that the master has bound; nil: there is none
}

func (s *socket) close() {
	s.file.remove()
	unix.Close(s.fd)
}

// Time limits of an address that is taken.
const (
	// startingAnew is how long a master waits for its addresses when the one before it was killed: the workers of that one
	// close them as soon as they notice.
	startingAnew = 2 * time.Second
	// takenPatience is how long any other address is waited for. An outgoing connection may have been given the port.
	takenPatience = time.Second
)

// openSockets opens all that workers listen on: Config.Listen, and then Config.Listeners.
func (m *Master) openSockets(patience time.Duration) error {
	passed, err := passedSockets(environment(os.Environ()))
	if err != nil {
		return err
	}
	for _, addr := range m.cfg.Listen {
		opened, err := m.openAddress(addr, patience, passed)
		m.listeners = append(m.listeners, opened...)
		if err != nil {
			return err
		}
	}
	for i, l := range m.cfg.Listeners {
		s, err := duplicateListener(l)
		if err != nil {
			return fmt.Errorf("listener %d: %w", i, err)
		}
		m.listeners = append(m.listeners, s)
	}
	return nil
}

func (m *Master) openAddress(addr string, patience time.Duration, passed []passedSocket) ([]socket, error) {
	if name, ok := passedName(addr); ok {
		return takePassed(passed, name)
	}
	s, err := bind(addr, patience, m.cfg.Log)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) && len(passed) > 0 {
			err = fmt.Errorf("%w; the service manager has passed sockets on, which the address %q stands for", err, PassedSockets)
		}
		return nil, err
	}
	return []socket{s}, nil
}

// bind listens on an address. While the address is taken it tries again until its patience ends.
func bind(addr string, patience time.Duration, log *slog.Logger) (socket, error) {
	if path, ok := strings.CutPrefix(addr, unixPrefix); ok {
		return bindUnix(path, patience)
	}
	deadline := time.Now().Add(max(patience, takenPatience))
	for told := false; ; {
		l, err := net.Listen("tcp", addr) //nolint:noctx // binding does not wait for anybody
		if errors.Is(err, syscall.EADDRINUSE) && time.Now().Before(deadline) {
			if !told {
				told = true
				log.Warn("address is taken: trying again for a moment", "addr", addr, "for", max(patience, takenPatience).String())
			}
			<-time.After(10 * time.Millisecond) // nothing tells when a socket of another process is closed
			continue
		}
		if err != nil {
			return socket{}, listenError(addr, err)
		}
		defer l.Close()
		return duplicateListener(l)
	}
}

func listenError(addr string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return &takenError{addr}
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("address %s needs more rights than this user has: choose a port above 1023", addr)
	}
	return fmt.Errorf("address %s can't be listened on: %w", addr, err)
}

// takenError says that an address is taken.
type takenError struct{ addr string }

func (e *takenError) Error() string {
	return fmt.Sprintf("address %s is taken by another program, or by a connection that goes out from this port: stop it, "+
		"or choose another address", e.addr)
}

func (*takenError) Unwrap() error { return syscall.EADDRINUSE }

// duplicateListener returns a socket of our own for a listener. It shares the file status flags with the original, and
// O_NONBLOCK stays set: (*net.TCPListener).File would clear it for everybody.
func duplicateListener(l net.Listener) (socket, error) {
	conn, ok := l.(syscall.Conn)
	if !ok {
		return socket{}, fmt.Errorf("a %T has no descriptor that workers could inherit: give the TCP or Unix listener below it", l)
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return socket{}, fmt.Errorf("reach the socket of %s: %w", l.Addr(), err)
	}
	s := socket{fd: -1, addr: l.Addr().String()}
	if l.Addr().Network() == "unix" {
		s.addr = unixPrefix + s.addr
	}
	var dupErr error
	if err := raw.Control(func(fd uintptr) { s.fd, dupErr = dupCloseOnExec(int(fd)) }); err != nil {
		return socket{}, fmt.Errorf("reach the socket of %s: %w", l.Addr(), err)
	}
	return s, dupErr
}

// closeOriginals closes Config.Listeners, of which there are duplicates. The file of a Unix socket stays: it leads to them.
func (m *Master) closeOriginals() {
	for _, l := range m.cfg.Listeners {
		if l, ok := l.(*net.UnixListener); ok {
			l.SetUnlinkOnClose(false)
		}
		if err := l.Close(); err != nil {
			m.cfg.Log.Warn("close a listener that was taken over", "addr", l.Addr().String(), "error", err)
		}
	}
}

// passedSocket is a listening socket that the service manager has passed to this process.
type passedSocket struct {
	fd   int
	name string // FileDescriptorName= of its unit, which is the unit's name if that says nothing
}

const firstPassed = 3 // SD_LISTEN_FDS_START

// passedName reports whether an address stands for sockets of the service manager, and which: all without a name.
func passedName(addr string) (name string, ok bool) {
	if addr == PassedSockets {
		return "", true
	}
	return strings.CutPrefix(addr, PassedSockets+":")
}

// passedSockets reads LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES as sd_listen_fds(3) does: meant for another process, or not
// there, they mean nothing.
func passedSockets(env func(string) string) ([]passedSocket, error) {
	if env("LISTEN_PID") != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(env("LISTEN_FDS"))
	if err != nil || n < 0 || n > maxPassed {
		return nil, fmt.Errorf("LISTEN_FDS=%s is not a number of sockets", env("LISTEN_FDS"))
	}
	var names []string
	if list := env("LISTEN_FDNAMES"); list != "" {
		if names = strings.Split(list, ":"); len(names) != n {
			return nil, fmt.Errorf("LISTEN_FDNAMES=%s has %d names for %d sockets", list, len(names), n)
		}
	}
	sockets := make([]passedSocket, n)
	for i := range sockets {
		sockets[i] = passedSocket{fd: firstPassed + i, name: "unknown"}
		if names != nil {
			sockets[i].name = names[i]
		}
	}
	return sockets, nil
}

const maxPassed = 1024

// takePassed opens those of a name, or all.
func takePassed(passed []passedSocket, name string) (opened []socket, err error) {
	for _, p := range passed {
		if name != "" && p.name != name {
			continue
		}
		s, err := p.open()
		if err != nil {
			return opened, fmt.Errorf("socket %q of the service manager (descriptor %d): %w", p.name, p.fd, err)
		}
		opened = append(opened, s)
	}
	switch {
	case len(passed) == 0:
		return nil, fmt.Errorf("the address %q stands for sockets of the service manager, which has passed none (LISTEN_FDS): start this "+
			"program by its socket unit, or choose an address", PassedSockets)
	case len(opened) == 0:
		names := slices.Collect(func(yield func(string) bool) {
			for _, p := range passed {
				if !yield(p.name) {
					return
				}
			}
		})
		return nil, fmt.Errorf("the service manager has passed no socket named %q: there are %q", name, names)
	}
	return opened, nil
}

func (p passedSocket) open() (socket, error) {
	kind, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return socket{}, fmt.Errorf("it is no socket: %w", err)
	}
	accepts, err := unix.GetsockoptInt(p.fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil || kind != unix.SOCK_STREAM || accepts == 0 {
		return socket{}, errors.New("it is no stream socket that listens: its unit needs ListenStream= and Accept=no")
	}
	unix.CloseOnExec(p.fd)
	fd, err := dupCloseOnExec(p.fd)
	if err != nil {
		return socket{}, err
	}
	file := os.NewFile(uintptr(fd), "socket")
	defer file.Close()
	l, err := net.FileListener(file) // it sets O_NONBLOCK, also for the original
	if err != nil {
		return socket{}, err
	}
	defer l.Close()
	return duplicateListener(l)
}
